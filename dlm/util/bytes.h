/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * bytes.h: cursors over bytes that another party wrote, or will read.
 *
 * A reader never reads past its end: the first short read makes it fail for
 * good (all later gets return 0) and the caller checks bytes_ok() once at the
 * end. A writer behaves alike when its room is used up. o2net and the DLM are
 * big-endian, the disk and the heartbeat blocks little-endian.
 */
#ifndef O2FUSE_UTIL_BYTES_H
#define O2FUSE_UTIL_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct bytes_in {
	const uint8_t *p;
	size_t left;
	bool failed;
};

struct bytes_out {
	uint8_t *p;
	size_t left;
	size_t written;
	bool failed;
};

static inline struct bytes_in bytes_in(const void *p, size_t len)
{
	return (struct bytes_in){ .p = p, .left = len };
}

static inline struct bytes_out bytes_out(void *p, size_t room)
{
	return (struct bytes_out){ .p = p, .left = room };
}

/* Next n bytes, or NULL (and the cursor fails). */
static inline const uint8_t *bytes_get(struct bytes_in *in, size_t n)
{
	const uint8_t *p = in->p;

	if (in->failed || in->left < n) {
		in->failed = true;
		return NULL;
	}
	in->p += n;
	in->left -= n;
	return p;
}

static inline bool bytes_ok(const struct bytes_in *in)
{
	return !in->failed;
}

/* True if nothing failed and nothing is left. */
static inline bool bytes_done(const struct bytes_in *in)
{
	return !in->failed && in->left == 0;
}

static inline void bytes_get_copy(struct bytes_in *in, void *to, size_t n)
{
	const uint8_t *p = bytes_get(in, n);

	if (p)
		memcpy(to, p, n);
	else
		memset(to, 0, n);
}

static inline void bytes_skip(struct bytes_in *in, size_t n)
{
	(void)bytes_get(in, n);
}

static inline uint64_t bytes_load_be(const uint8_t *p, size_t n)
{
	uint64_t v = 0;

	for (size_t i = 0; i < n; i++)
		v = v << 8 | p[i];
	return v;
}

static inline uint64_t bytes_load_le(const uint8_t *p, size_t n)
{
	uint64_t v = 0;

	for (size_t i = n; i > 0; i--)
		v = v << 8 | p[i - 1];
	return v;
}

static inline void bytes_store_be(uint8_t *p, uint64_t v, size_t n)
{
	for (size_t i = n; i > 0; i--, v >>= 8)
		p[i - 1] = (uint8_t)v;
}

static inline void bytes_store_le(uint8_t *p, uint64_t v, size_t n)
{
	for (size_t i = 0; i < n; i++, v >>= 8)
		p[i] = (uint8_t)v;
}

#define BYTES_DEFINE_GET(name, type, end, n)                            \
	static inline type bytes_get_##name(struct bytes_in *in)        \
	{                                                               \
		const uint8_t *p = bytes_get(in, n);                    \
		return p ? (type)bytes_load_##end(p, n) : 0;            \
	}

BYTES_DEFINE_GET(u8, uint8_t, be, 1)
BYTES_DEFINE_GET(be16, uint16_t, be, 2)
BYTES_DEFINE_GET(be32, uint32_t, be, 4)
BYTES_DEFINE_GET(be64, uint64_t, be, 8)
BYTES_DEFINE_GET(le16, uint16_t, le, 2)
BYTES_DEFINE_GET(le32, uint32_t, le, 4)
BYTES_DEFINE_GET(le64, uint64_t, le, 8)

/* Room for n bytes, or NULL (and the cursor fails). */
static inline uint8_t *bytes_put(struct bytes_out *out, size_t n)
{
	uint8_t *p = out->p;

	if (out->failed || out->left < n) {
		out->failed = true;
		return NULL;
	}
	out->p += n;
	out->left -= n;
	out->written += n;
	return p;
}

static inline void bytes_put_copy(struct bytes_out *out, const void *from, size_t n)
{
	uint8_t *p = bytes_put(out, n);

	if (p)
		memcpy(p, from, n);
}

static inline void bytes_put_zero(struct bytes_out *out, size_t n)
{
	uint8_t *p = bytes_put(out, n);

	if (p)
		memset(p, 0, n);
}

#define BYTES_DEFINE_PUT(name, type, end, n)                                    \
	static inline void bytes_put_##name(struct bytes_out *out, type v)      \
	{                                                                       \
		uint8_t *p = bytes_put(out, n);                                 \
		if (p)                                                          \
			bytes_store_##end(p, v, n);                             \
	}

BYTES_DEFINE_PUT(u8, uint8_t, be, 1)
BYTES_DEFINE_PUT(be16, uint16_t, be, 2)
BYTES_DEFINE_PUT(be32, uint32_t, be, 4)
BYTES_DEFINE_PUT(be64, uint64_t, be, 8)
BYTES_DEFINE_PUT(le16, uint16_t, le, 2)
BYTES_DEFINE_PUT(le32, uint32_t, le, 4)
BYTES_DEFINE_PUT(le64, uint64_t, le, 8)

#endif
