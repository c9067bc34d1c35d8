/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * heartbeat.h: blocks of the disk heartbeat: encode, verify, judge who lives
 * (doc/spec/cluster.md section 4). Pure: no device, no clock. hbthread.h does the I/O.
 */
#ifndef O2FUSE_NET_HEARTBEAT_H
#define O2FUSE_NET_HEARTBEAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "dlm/transport.h"

#define NET_HB_BLOCK_MIN 512u
#define NET_HB_BLOCK_MAX 4096u

/* CRC-32 of the reflected polynomial with the register as given and no inversion. */
uint32_t net_crc32raw(uint32_t seed, const void *p, size_t n);

struct net_hb_block {
	uint64_t seq;		/* wall-clock seconds; never 0 in a written block */
	uint64_t generation;	/* 0: goodbye */
	uint32_t dead_ms;
	node_t node;
};

/* Fills all of block_bytes, checksum included. */
void net_hb_encode(void *out, size_t block_bytes, const struct net_hb_block *b);
/* False: bad checksum (*out is filled in all the same, unverified). */
bool net_hb_decode(const void *in, size_t block_bytes, struct net_hb_block *out);
/* The seq to write at `now` (wall-clock seconds), after `last`: differs from it and 0. */
uint64_t net_hb_next_seq(uint64_t now_s, uint64_t last);

/* What is remembered of a node's slot between samples. */
struct net_hb_slot {
	uint64_t last_seq, last_gen;
	uint32_t changed, equal;	/* samples, see 4.5 */
	bool live;
	bool moved;		/* the last sample had another seq than the one before */
};

enum net_hb_verdict { NET_HB_SAME, NET_HB_UP, NET_HB_DOWN };

/* At region start: what the disk has, unverified. */
void net_hb_slot_load(struct net_hb_slot *s, const void *block, size_t block_bytes);
/* One sample of a slot that is configured or live. *seen: the block, if its checksum is
 * good (for dead_ms), else zero. */
enum net_hb_verdict net_hb_judge(struct net_hb_slot *s, const void *block, size_t block_bytes,
				 uint32_t threshold, struct net_hb_block *seen);

/* Whose block is in our slot? */
enum net_hb_own {
	NET_HB_OWN_OK,		/* what we wrote last */
	NET_HB_OWN_FRESH,	/* never used (all zero) */
	NET_HB_OWN_FOREIGN,	/* somebody else's */
};
/* expect: what was written last, or what was read at the start. */
enum net_hb_own net_hb_check_own(const void *block, size_t block_bytes,
				 const struct net_hb_block *expect);

/*
 * Steady state (4.6). An iteration is good if its write went well, our slot was fine and
 * no other node appeared or went. A region is steady after NET_HB_GOOD good ones that
 * reach NET_HB_SPAN iterations or more beyond the start, of which NET_HB_WRITES wrote,
 * and if in the last one nobody is about to appear. It gives up after NET_HB_TRIES.
 */
enum { NET_HB_GOOD = 3, NET_HB_SPAN = 3, NET_HB_WRITES = 3, NET_HB_TRIES = 15 };

struct net_hb_steady {
	unsigned int iterations, good, writes;
	bool steady;
};

struct net_hb_iteration {
	bool wrote;		/* a block of ours was written without error */
	bool error;		/* reading or writing failed */
	bool own_ok;
	bool changed;		/* another node turned live or not live */
	bool coming;		/* a slot that is not live yet has moved */
};

enum net_hb_phase { NET_HB_STARTING, NET_HB_STEADY, NET_HB_GIVE_UP };
enum net_hb_phase net_hb_steady_step(struct net_hb_steady *s, const struct net_hb_iteration *it);

/* Key of the negotiation messages of a region in local mode (4.7). */
uint32_t net_hb_nego_key(const char *region);
enum net_hb_nego_msg { NET_HB_NEGO_TIMEOUT = 1, NET_HB_NEGO_APPROVE = 2 };

#endif
