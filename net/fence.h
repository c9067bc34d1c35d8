/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fence.h: this node must stop (doc/spec/cluster.md 3.3). Once, for good, in this order:
 * the write gates, the heartbeat (without a goodbye), the links.
 */
#ifndef O2FUSE_NET_FENCE_H
#define O2FUSE_NET_FENCE_H

#include <stdatomic.h>
#include <stdbool.h>

#define NET_FENCE_WHY_MAX 256

struct net_fence {
	atomic_bool begun;	/* somebody does it, or did */
	atomic_bool done;	/* why is written */
	char why[NET_FENCE_WHY_MAX];
};

struct net_fence_ops {
	/* Shut the write gates; tells the volumes. */
	void (*shut_gates)(void *ctx, const char *why);
	/* No block of this node is written any more. */
	void (*mute_heartbeat)(void *ctx);
	/* Close the links and wake who waits. Must do so later, since a fence may begin
	 * within the DLM core or in the middle of reading from a link. */
	void (*drop_out)(void *ctx);
};

/* Reactor, also from within the DLM core. False: it was done before. */
bool net_fence_now(struct net_fence *f, const struct net_fence_ops *ops, void *ctx,
		   const char *why);
/* Why this node stopped; NULL if it did not. Any thread. */
const char *net_fence_why(const struct net_fence *f);

#endif
