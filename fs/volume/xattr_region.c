/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * xattr_region.c: entries of one region of extended attributes (doc/spec/disk.md 7.2).
 *
 * Entries grow from the front, names with their values (or the roots of their values)
 * from the end downwards, without a gap between them: what is removed is closed up, and
 * a new attribute lies lowest and is entered last. So the last entry has the lowest
 * offset, which kernel nodes count on when they turn a block into buckets.
 */
#include <errno.h>
#include <string.h>
#include "fs/volume/xattr_int.h"

enum { ENTRY = sizeof(struct ocfs2_xattr_entry), HEADER = sizeof(struct ocfs2_xattr_header) };

static unsigned round4(unsigned n)
{
	return (n + 3) & ~3u;
}

/* Bytes count as signed, as on every kernel for x86 (disk.md 7.2). */
uint32_t xattr_hash(uint32_t seed, const char *name, unsigned len)
{
	uint32_t h = seed;

	for (unsigned i = 0; i < len; i++)
		h = (h << 5) ^ (h >> 27) ^ (uint32_t)(int32_t)(signed char)name[i];
	return h;
}

unsigned xregion_need(unsigned name_len, uint64_t value_size)
{
	return round4(name_len) + (value_size <= XATTR_LOCAL_MAX ? round4((unsigned)value_size) :
								   (unsigned)sizeof(struct xvalue_root));
}

static unsigned entry_need(const struct ocfs2_xattr_entry *e)
{
	return xregion_need(e->xe_name_len, le64toh(e->xe_value_size));
}

static const char *check_entry(const struct xregion *g, const struct ocfs2_xattr_entry *e)
{
	unsigned at = le16toh(e->xe_name_offset);
	bool local = e->xe_type & OCFS2_XATTR_ENTRY_LOCAL;

	if (local != (le64toh(e->xe_value_size) <= XATTR_LOCAL_MAX))
		return "a value is of the wrong kind for its size";
	if (le64toh(e->xe_value_size) > VOL_XATTR_SIZE_MAX)
		return "a value is too large";
	if (at % 4 || at < HEADER + xregion_count(g) * ENTRY || at > g->len ||
	    g->len - at < entry_need(e))
		return "a name or value lies outside its region";
	if (!local && le16toh(xentry_root(g, e).r.xr_list.l_count) != 1)
		return "a value has an impossible extent list";
	return NULL;
}

const char *xregion_check(const struct xregion *g)
{
	const char *what = NULL;

	if (g->len < HEADER || xregion_count(g) > (g->len - HEADER) / ENTRY)
		return "more entries than room";
	for (unsigned i = 0; !what && i < xregion_count(g); i++)
		what = check_entry(g, xregion_entry(g, i));
	return what;
}

const char *xentry_name(const struct xregion *g, const struct ocfs2_xattr_entry *e)
{
	return (const char *)g->header + le16toh(e->xe_name_offset);
}

uint8_t *xentry_value(const struct xregion *g, const struct ocfs2_xattr_entry *e)
{
	return (uint8_t *)g->header + le16toh(e->xe_name_offset) + round4(e->xe_name_len);
}

struct xvalue_root xentry_root(const struct xregion *g, const struct ocfs2_xattr_entry *e)
{
	struct xvalue_root root;

	memcpy(&root, xentry_value(g, e), sizeof(root));
	return root;
}

int xregion_find(const struct xregion *g, const struct xname *n, unsigned *at)
{
	for (unsigned i = 0; i < xregion_count(g); i++) {
		struct ocfs2_xattr_entry *e = xregion_entry(g, i);

		if (ocfs2_xattr_get_type(e) == n->index && e->xe_name_len == n->len &&
		    !memcmp(xentry_name(g, e), n->name, n->len)) {
			*at = i;
			return 0;
		}
	}
	return -ENODATA;
}

static unsigned lowest(const struct xregion *g)
{
	unsigned low = g->len;

	for (unsigned i = 0; i < xregion_count(g); i++) {
		unsigned at = le16toh(xregion_entry(g, i)->xe_name_offset);

		if (at < low)
			low = at;
	}
	return low;
}

bool xregion_fits(const struct xregion *g, unsigned without, unsigned need)
{
	unsigned taken = HEADER + (xregion_count(g) + 1) * ENTRY + XATTR_GAP;
	unsigned low = lowest(g);

	if (without != ~0u) {
		taken -= ENTRY;
		low += entry_need(xregion_entry(g, without));
	}
	return low >= taken && low - taken >= need;
}

void xregion_delete(const struct xregion *g, unsigned i)
{
	struct ocfs2_xattr_entry *e = xregion_entry(g, i);
	unsigned at = le16toh(e->xe_name_offset), len = entry_need(e), low = lowest(g);
	unsigned n = xregion_count(g);
	uint8_t *base = (uint8_t *)g->header;

	memmove(base + low + len, base + low, at - low);
	memset(base + low, 0, len);
	memmove(e, e + 1, (n - i - 1) * ENTRY);
	memset(xregion_entry(g, n - 1), 0, ENTRY);
	g->header->xh_count = htole16((uint16_t)(n - 1));
	for (unsigned k = 0; k < n - 1; k++) {
		struct ocfs2_xattr_entry *o = xregion_entry(g, k);

		if (le16toh(o->xe_name_offset) < at)
			o->xe_name_offset = htole16((uint16_t)(le16toh(o->xe_name_offset) + len));
	}
}

struct ocfs2_xattr_entry *xregion_append(const struct xregion *g, const struct xname *n,
					 uint32_t hash, uint64_t value_size)
{
	unsigned need = xregion_need(n->len, value_size), at = lowest(g) - need;
	unsigned count = xregion_count(g);
	struct ocfs2_xattr_entry *e = xregion_entry(g, count);
	uint8_t *base = (uint8_t *)g->header;

	memset(base + at, 0, need);
	memcpy(base + at, n->name, n->len);
	*e = (struct ocfs2_xattr_entry){
		.xe_name_hash = htole32(hash),
		.xe_name_offset = htole16((uint16_t)at),
		.xe_name_len = (uint8_t)n->len,
		.xe_value_size = htole64(value_size),
	};
	ocfs2_xattr_set_type(e, n->index);
	ocfs2_xattr_set_local(e, value_size <= XATTR_LOCAL_MAX);
	g->header->xh_count = htole16((uint16_t)(count + 1));
	return e;
}
