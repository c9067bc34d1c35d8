/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hbscan.c: blocks of other sizes in a heartbeat region, and whether they move.
 *
 * A block counts if its checksum is right for that size, it has a seq and a generation,
 * and the node number that belongs to its place. The checksum of a block depends on its
 * size even when the rest is zero, so one of 512 bytes is never taken for one of 4096.
 * What lies behind the heartbeat file (other data of the volume) fails the checksum.
 */
#include "net/hbscan.h"
#include <string.h>
#include "net/heartbeat.h"

static bool block_at(const uint8_t *region, size_t len, unsigned int n, uint32_t size,
		     struct net_hb_block *b)
{
	size_t off = (size_t)n * size;

	if (off + size > len || !net_hb_decode(region + off, size, b))
		return false;
	return b->seq && b->generation && b->node == n;
}

void net_hb_scan_first(struct net_hb_scan *s, const void *region, size_t len, uint32_t ours)
{
	struct net_hb_block b;

	memset(s, 0, sizeof(*s));
	for (uint32_t size = NET_HB_BLOCK_MIN; size <= NET_HB_BLOCK_MAX; size *= 2) {
		if (size == ours)
			continue;
		for (unsigned int n = 0; n < NODE_MAX && s->n < NET_HB_SCAN_MAX; n++) {
			if (block_at(region, len, n, size, &b))
				s->found[s->n++] = (struct net_hb_found){
					.node = (node_t)n, .block_bytes = size, .seq = b.seq };
		}
	}
}

bool net_hb_scan_again(const struct net_hb_scan *s, const void *region, size_t len,
		       struct net_hb_found *mover)
{
	struct net_hb_block b;

	for (unsigned int i = 0; i < s->n; i++) {
		const struct net_hb_found *f = &s->found[i];

		if (block_at(region, len, f->node, f->block_bytes, &b) && b.seq != f->seq) {
			*mover = *f;
			return true;
		}
	}
	return false;
}
