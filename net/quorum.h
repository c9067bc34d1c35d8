/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * quorum.h: go on or stop, when links to live nodes are lost (doc/spec/cluster.md
 * section 3). Pure state: inputs in, decision out; no clock, no I/O.
 */
#ifndef O2FUSE_NET_QUORUM_H
#define O2FUSE_NET_QUORUM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "dlm/transport.h"

/* 256 bits, bit n at map[n / 8] & 1 << n % 8. */
static inline bool net_map_test(const uint8_t map[32], unsigned int n)
{
	return map[n >> 3] >> (n & 7) & 1;
}

static inline void net_map_set(uint8_t map[32], unsigned int n)
{
	map[n >> 3] = (uint8_t)(map[n >> 3] | 1u << (n & 7));
}

static inline void net_map_clear(uint8_t map[32], unsigned int n)
{
	map[n >> 3] = (uint8_t)(map[n >> 3] & ~(1u << (n & 7)));
}

unsigned int net_map_count(const uint8_t map[32]);

struct net_quorum {
	node_t self;
	bool pending;		/* decide once no node's fate is open */
	unsigned int holds;
	uint8_t hb[32];		/* heartbeating, self included */
	uint8_t conn[32];	/* connected, self included while listening */
	uint8_t hold[32];	/* fate is open */
};

enum net_quorum_verdict { NET_QUORUM_GO_ON, NET_QUORUM_FENCE };

void net_quorum_init(struct net_quorum *q, node_t self);

/* Events. A verdict other than GO_ON: this node must stop. */
enum net_quorum_verdict net_quorum_hb_up(struct net_quorum *q, node_t n);
enum net_quorum_verdict net_quorum_hb_down(struct net_quorum *q, node_t n);
enum net_quorum_verdict net_quorum_conn_up(struct net_quorum *q, node_t n);
/* Takes a hold only; decides nothing. */
void net_quorum_conn_err(struct net_quorum *q, node_t n);
enum net_quorum_verdict net_quorum_still_up(struct net_quorum *q, node_t n);

/* The decision as of now (3.2). why (room bytes, may be NULL): the count in words. */
enum net_quorum_verdict net_quorum_decide(const struct net_quorum *q, char *why, size_t room);

#endif
