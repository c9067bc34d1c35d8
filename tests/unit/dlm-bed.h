/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * dlm-bed.h: a few DLM cores on a table, for tests that decide each message's fate.
 *
 * Messages wait in one queue, in the order in which they were sent; bed_run() carries them
 * one by one to their core and the answer back, and when none is left moves the clock to
 * the next timer. A test can look at each message first (verdict), can be a peer itself
 * (script), and finds everything that was sent in bed.log.
 */
#ifndef O2FUSE_TESTS_DLM_BED_H
#define O2FUSE_TESTS_DLM_BED_H

#include <stdbool.h>
#include <stdint.h>
#include "dlm/dlm_int.h"

#define BED_NODES 8
#define BED_LOG 4096
#define BED_TIMERS 64
#define BED_DOMAIN "45F81E3B6F2B48CCAAD1AE7945AB2001"

struct bed;

struct bed_msg {
	struct bed_msg *next;
	node_t from, to;
	uint64_t token;
	uint32_t key;
	uint16_t type;
	size_t len;
	uint8_t payload[DLM_MAX_PAYLOAD];
};

/* What becomes of a message. */
enum bed_fate {
	BED_DELIVER,
	BED_LOSE,	/* never handled; its sender gets bed.loss (an errno, negative) */
	BED_LOSE_REPLY, /* handled; its sender gets bed.loss all the same */
	BED_KEEP,	/* stays open: bed_release() puts it back */
};

struct bed_logged {
	node_t from, to;
	uint16_t type;
	int32_t status; /* answer; only if delivered */
	uint32_t ms;	/* when */
};

struct bed_timer {
	uint64_t id;
	uint64_t due;
	bool set;
};

struct bed_node {
	struct bed *bed;
	node_t id;
	struct dlm *dlm; /* NULL: a script, or nobody */
	struct dlm_domain *dom;
	bool joined, failed, left;
	int err;
	char why[512];
	int evicted; /* node, -1 */
	struct dlm_map told; /* members, by the events */
	bool key_open;
	char fenced[256];
	struct bed_timer timers[BED_TIMERS];
};

struct bed {
	struct bed_node n[BED_NODES];
	uint64_t now; /* ms */
	struct bed_msg *queue, *kept;
	struct bed_logged log[BED_LOG];
	int logged;
	int loss;
	uint32_t random; /* what transport->random gives, modulo the bound; counts up if counting */
	bool counting;
	enum bed_fate (*verdict)(struct bed *bed, const struct bed_msg *m);
	/* Messages to a node without a core: fill in the answer. */
	struct dlm_reply (*script)(struct bed *bed, const struct bed_msg *m);
	int step; /* for scripts and verdicts */
};

void bed_init(struct bed *bed);
void bed_done(struct bed *bed);
/* A core with this number; everybody sees everybody's heartbeat. */
struct bed_node *bed_core(struct bed *bed, node_t id);
/* A peer that the test plays: alive for all cores. */
void bed_peer(struct bed *bed, node_t id);
/* Node id dies: its core goes, open sends to it fail, all others miss its heartbeat. */
void bed_die(struct bed *bed, node_t id);
void bed_join(struct bed_node *n);
void bed_leave(struct bed_node *n);
/* Until nothing is queued and no timer is due within ms from now. */
void bed_run(struct bed *bed, uint32_t ms);
/* Deliver one queued message. False: none. */
bool bed_step(struct bed *bed);
void bed_release(struct bed *bed);
/* Ask a core something as peer `from`. */
struct dlm_reply bed_ask(struct bed_node *n, node_t from, uint16_t type, const void *payload,
			 size_t len);
/* The k-th (0..) message of this type that `from` sent to `to`; NULL if there is none.
 * 0 as node: any. */
const struct bed_logged *bed_find(const struct bed *bed, uint16_t type, node_t from, node_t to,
				  int k);
int bed_count(const struct bed *bed, uint16_t type, node_t from, node_t to);
bool bed_member(const struct bed_node *n, node_t id);

#endif
