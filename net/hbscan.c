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
	s->ours = ours;
	for (unsigned int i = 0; i < NET_HB_SCAN_SIZES; i++) {
		uint32_t size = NET_HB_BLOCK_MIN << i;

		for (unsigned int n = 0; size != ours && n < NODE_MAX; n++) {
			if (!block_at(region, len, n, size, &b))
				continue;
			s->seq[i][n] = b.seq;
			s->any = true;
		}
	}
}

bool net_hb_scan_again(const struct net_hb_scan *s, const void *region, size_t len,
		       struct net_hb_found *mover)
{
	struct net_hb_block b;

	for (unsigned int i = 0; i < NET_HB_SCAN_SIZES; i++) {
		uint32_t size = NET_HB_BLOCK_MIN << i;

		for (unsigned int n = 0; size != s->ours && n < NODE_MAX; n++) {
			if (!block_at(region, len, n, size, &b) || b.seq == s->seq[i][n])
				continue;
			*mover = (struct net_hb_found){ .node = (node_t)n, .block_bytes = size };
			return true;
		}
	}
	return false;
}
