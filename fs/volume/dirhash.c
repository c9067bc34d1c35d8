/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * dirhash.c: the hash under which a directory index keeps a name, and the hash at
 * which a full leaf divides.
 *
 * Pure. The rule and its vectors are in doc/spec/disk.md 5.7. Which of two values a
 * byte from 0x80 on stands for depends on the kernel that wrote the entry, hence the
 * two variants; we write the signed one and look under both.
 */
#include <errno.h>
#include <stdlib.h>

#include "fs/volume/dir_int.h"

#define TEA_DELTA 0x9E3779B9u
#define TEA_ROUNDS 16

static void tea_mix(uint32_t w[4], const uint32_t m[4])
{
	uint32_t sum = 0, x = w[0], y = w[1];

	for (int i = 0; i < TEA_ROUNDS; i++) {
		sum += TEA_DELTA;
		x += ((y << 4) + m[0]) ^ (y + sum) ^ ((y >> 5) + m[1]);
		y += ((x << 4) + m[2]) ^ (x + sum) ^ ((x >> 5) + m[3]);
	}
	w[0] += x;
	w[1] += y;
}

/* Up to 16 bytes of the `rem` that are left become four words. */
static void fill_message(uint32_t m[4], const char *p, size_t rem, bool as_unsigned)
{
	uint32_t pad = (uint32_t)rem | (uint32_t)rem << 8;
	size_t n = rem < 16 ? rem : 16;

	pad |= pad << 16;
	for (size_t group = 0; group < 4; group++) {
		uint32_t word = pad;

		for (size_t i = group * 4; i < group * 4 + 4 && i < n; i++)
			word = (word << 8) + (as_unsigned ? (uint32_t)(unsigned char)p[i] :
							    (uint32_t)(signed char)p[i]);
		m[group] = word;
	}
}

struct dx_hash dir_hash(const uint32_t seed[4], const char *name, size_t len, bool as_unsigned)
{
	uint32_t w[4] = { seed[0], seed[1], seed[2], seed[3] };
	uint32_t m[4];

	if ((len == 1 && name[0] == '.') || (len == 2 && name[0] == '.' && name[1] == '.'))
		return (struct dx_hash){ 0, 0 };
	for (size_t rem = len; rem > 0;) {
		size_t step = rem < 16 ? rem : 16;

		fill_message(m, name, rem, as_unsigned);
		tea_mix(w, m);
		name += step;
		rem -= step;
	}
	return (struct dx_hash){ w[0], w[1] };
}

bool dir_hash_has_variants(const char *name, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)name[i] >= 0x80)
			return true;
	return false;
}

static int by_hash(const void *a, const void *b)
{
	const struct ocfs2_dx_entry *x = a, *y = b;
	uint32_t m = le32toh(x->dx_major_hash), n = le32toh(y->dx_major_hash);

	if (m == n) {
		m = le32toh(x->dx_minor_hash);
		n = le32toh(y->dx_minor_hash);
	}
	return m < n ? -1 : m > n;
}

int dx_split_value(struct ocfs2_dx_entry *e, unsigned n, uint32_t leaf_cpos, uint32_t new_major,
		   uint32_t *s)
{
	uint32_t low, high;

	if (n == 0)
		return -ENOSPC;
	qsort(e, n, sizeof(*e), by_hash);
	low = le32toh(e[0].dx_major_hash);
	high = le32toh(e[n - 1].dx_major_hash);
	if (low == high) {
		if (low == new_major)
			return -ENOSPC;
		if (low == leaf_cpos)
			*s = leaf_cpos + 1;
		else
			*s = low > new_major ? low : new_major;
		return 0;
	}
	for (unsigned i = n / 2; i < n; i++) {
		*s = le32toh(e[i].dx_major_hash);
		if (*s > leaf_cpos)
			return 0;
	}
	return -ENOSPC;
}
