/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hbscan.h: does somebody heartbeat in this region with another block size?
 *
 * Slots lie at sector-size distance. A host that sees another sector size for the same
 * volume writes elsewhere: neither sees the other, both mount, and the volume is lost
 * (doc/spec/cluster.md trap 10). Blocks carry their node number and a checksum over
 * their size, so those of other sizes can be told apart.
 */
#ifndef O2FUSE_NET_HBSCAN_H
#define O2FUSE_NET_HBSCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "dlm/transport.h"

#define NET_HB_SCAN_BYTES ((size_t)NODE_MAX * 4096)
#define NET_HB_SCAN_SIZES 4 /* 512, 1024, 2048, 4096 */

struct net_hb_found {
	node_t node;
	uint32_t block_bytes;
};

struct net_hb_scan {
	uint32_t ours;
	bool any;
	uint64_t seq[NET_HB_SCAN_SIZES][NODE_MAX]; /* 0: no block there */
};

/* First look: the region's bytes, up to NET_HB_SCAN_BYTES of them. ours: our block size. */
void net_hb_scan_first(struct net_hb_scan *s, const void *region, size_t len, uint32_t ours);
/* A later look, two periods on or more: true, and whose block it is, if one has moved or
 * has come since. */
bool net_hb_scan_again(const struct net_hb_scan *s, const void *region, size_t len,
		       struct net_hb_found *mover);

#endif
