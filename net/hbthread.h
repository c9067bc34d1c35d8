/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hbthread.h: the thread that heartbeats on one region: reads slots, writes ours, renews
 * the lease (doc/spec/cluster.md 4.4 to 4.6). What it sees goes to the reactor.
 */
#ifndef O2FUSE_NET_HBTHREAD_H
#define O2FUSE_NET_HBTHREAD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include "dlm/transport.h"
#include "dlm/util/err.h"
#include "dlm/util/log.h"
#include "net/loop.h"

struct net_hb;

/* Configured nodes, written by the reactor, read by heartbeat threads. */
struct net_hb_map {
	_Atomic uint64_t word[4];
};
void net_hb_map_store(struct net_hb_map *m, const uint8_t map[32]);

struct net_hb_ops {
	/* Heartbeat thread (and the reactor, from net_hb_renew): no write of this node
	 * after that instant, CLOCK_BOOTTIME ns. Stores an atomic, nothing else. */
	void (*lease)(void *ctx, int64_t deadline_ns);
	/* Heartbeat thread, at most once: the lease has run out and the reactor does not run,
	 * so nobody would be told by lost(). Must not wait for the reactor. May be NULL. */
	void (*stuck)(void *ctx, const char *why);
	/* The rest runs on the reactor. */
	void (*node)(void *ctx, node_t node, bool up);
	/* Once. err 0: steady; else the start failed, and the thread has ended. */
	void (*started)(void *ctx, int err, const struct reason *why);
	/* Once, after started(0): the thread has stopped writing, this node must stop. */
	void (*lost)(void *ctx, const char *why);
};

struct net_hb_config {
	const char *device;	/* opened anew, O_DIRECT; used during open only */
	uint64_t byte_off;	/* of slot 0 */
	uint32_t block_bytes;
	node_t self;
	uint32_t threshold;
	const struct net_hb_map *configured; /* borrowed */
	struct net_loop *loop;
	struct logger *log;	/* used on the reactor and during open */
	const struct net_hb_ops *ops;
	void *ctx;
};

/* Open the device, read all slots once (blocks for that long), start the thread.
 * EXIT_CLUSTER: cannot open or read, or the sector size is another. */
int net_hb_open(const struct net_hb_config *cfg, struct net_hb **out, struct reason *why)
	__must_check;
/*
 * End the thread; no callback after it returns. Not on the reactor. goodbye: then write
 * generation 0, if nobody else took the slot and the lease is good. A thread that hangs
 * in the kernel is left behind after ten seconds (with its memory); -ETIMEDOUT then.
 */
int net_hb_close(struct net_hb *hb, bool goodbye);
/* Stop writing now, without a goodbye; the thread ends soon. Any thread. */
void net_hb_mute(struct net_hb *hb);

/* ---- reactor ---- */

/* The reactor runs: without this for as long as the lease the lease is not renewed. */
void net_hb_tick(struct net_hb *hb);
/* All nodes agreed that the storage hangs for everybody: restart the lease from now. */
void net_hb_renew(struct net_hb *hb);
/* End of the lease, CLOCK_BOOTTIME ns; 0 before the first renewal. */
int64_t net_hb_deadline(const struct net_hb *hb);
/* Did the last iteration that came to its end have no error? */
bool net_hb_clean(const struct net_hb *hb);

struct net_hb_stats {
	uint64_t iterations, read_errors, write_errors, foreign;
	uint32_t last_ms, worst_ms;	/* duration of an iteration */
};
void net_hb_stats(const struct net_hb *hb, struct net_hb_stats *out);

/* CLOCK_BOOTTIME: counts while the machine is suspended. */
int64_t net_boottime_ns(void);

#endif
