/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * bitmap.c: bits of groups and windows, and lists of planned runs.
 *
 * Pure functions of their arguments; callers hold the allocator's lock and keep
 * bit numbers inside the map. Little-endian bit order, whatever the host's.
 */
#include <errno.h>
#include <string.h>
#include "fs/volume/alloc_int.h"

void bm_set(uint8_t *map, uint32_t bit, uint32_t n)
{
	for (; n > 0 && bit & 7; n--, bit++)
		map[bit >> 3] |= (uint8_t)(1 << (bit & 7));
	memset(map + (bit >> 3), 0xff, n >> 3);
	for (bit += n & ~7U, n &= 7; n > 0; n--, bit++)
		map[bit >> 3] |= (uint8_t)(1 << (bit & 7));
}

void bm_clear(uint8_t *map, uint32_t bit, uint32_t n)
{
	for (; n > 0 && bit & 7; n--, bit++)
		map[bit >> 3] &= (uint8_t)~(1 << (bit & 7));
	memset(map + (bit >> 3), 0, n >> 3);
	for (bit += n & ~7U, n &= 7; n > 0; n--, bit++)
		map[bit >> 3] &= (uint8_t)~(1 << (bit & 7));
}

uint32_t bm_next(const uint8_t *map, uint32_t from, uint32_t end, bool set)
{
	const uint64_t skip = set ? 0 : UINT64_MAX;
	uint64_t word;

	while (from < end) {
		if (!(from & 63) && end - from >= 64) {
			memcpy(&word, map + (from >> 3), sizeof(word));
			if (word == skip) {
				from += 64;
				continue;
			}
		}
		if (bm_test(map, from) == set)
			return from;
		from++;
	}
	return end;
}

bool bm_all(const uint8_t *map, uint32_t bit, uint32_t n, bool set)
{
	return bm_next(map, bit, bit + n, !set) == bit + n;
}

bool plan_free(const struct plan *p, uint32_t from, uint32_t end, uint32_t *start, uint32_t *len)
{
	uint32_t stop = end;
	bool moved;

	do {
		moved = false;
		for (unsigned i = 0; i < p->n; i++) {
			if (from >= p->run[i].start && from - p->run[i].start < p->run[i].len) {
				from = p->run[i].start + p->run[i].len;
				moved = true;
			}
		}
	} while (moved);
	if (from >= end)
		return false;
	for (unsigned i = 0; i < p->n; i++)
		if (p->run[i].start > from && p->run[i].start < stop)
			stop = p->run[i].start;
	*start = from;
	*len = stop - from;
	return true;
}

int plan_add(struct plan *p, uint32_t start, uint32_t len)
{
	if (p->n == PLAN_MAX)
		return -ENOSPC;
	p->run[p->n++] = (struct run){ start, len };
	return 0;
}

void plan_drop(struct plan *p, uint32_t start, uint32_t len)
{
	for (unsigned i = 0; i < p->n; i++) {
		if (p->run[i].start == start && p->run[i].len == len) {
			p->run[i] = p->run[--p->n];
			return;
		}
	}
}
