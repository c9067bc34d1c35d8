/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * net.h: this host as a member of an o2cb cluster, as fs/ sees it.
 *
 * One struct net per process and cluster: node table, o2net links, netlink
 * socket, quorum, the DLM core, and the reactor thread that owns them all. fs/
 * talks to it by posting functions to the reactor; the calls below that block are
 * for mount and unmount and must not be used from the reactor.
 */
#ifndef O2FUSE_NET_NET_H
#define O2FUSE_NET_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "dlm/dlm.h"
#include "dlm/util/err.h"
#include "dlm/util/log.h"
#include "net/timeouts.h"

struct net;
struct net_region;
struct json_object;

#define NET_NAME_MAX 64

struct net_ops {
	/* This node must stop (lost quorum, heartbeat lease ran out, slot taken by
	 * another host, disagreement with a peer). Shut the write gate first. Reactor,
	 * or the heartbeat thread if the reactor stands still; it may come from both. */
	void (*fence)(void *ctx, const char *why);
	/* Add fields of the mount to a status answer. Reactor thread; must not block. */
	void (*status)(void *ctx, struct json_object *into);
};

struct net_config {
	const char *conf_path;	/* cluster.conf; NULL = /etc/ocfs2/cluster.conf */
	const char *cluster;	/* NULL = the only one in the file, or the volume's */
	const char *node;	/* local node, name or number; NULL = by host name */
	const char *ip;		/* override of the local address; NULL = table's */
	uint16_t port;		/* override; 0 = table's */
	uint32_t idle_ms, keepalive_ms, reconnect_ms, threshold; /* 0 = default */
	uint32_t connect_wait_ms; /* of net_wait_connected; 0 = 60 s */
	bool no_netlink;	/* tests */
	struct logger *log;
	const struct net_ops *ops;
	void *ops_ctx;
};

/*
 * Read the table, find the local node, check its address (rtnetlink), listen, open
 * the netlink socket, start the reactor. EXIT_CONF, EXIT_ADDRESS, EXIT_SYSTEM.
 */
int net_open(const struct net_config *cfg, struct net **out, struct reason *why) __must_check;
/* After regions and domains are gone. */
void net_close(struct net *net);

/* Run fn(arg) on the reactor soon, in the order of the posts. Any thread, never blocks. */
void net_post(struct net *net, void (*fn)(void *arg), void *arg);
/* This node must stop for a reason of the caller's: a fence. Returns at once; any thread. */
void net_stop(struct net *net, const char *why);
/* For functions that run on the reactor. */
struct dlm *net_dlm(struct net *net);
node_t net_self(const struct net *net);
/* Reactor: when the link to a node was lost, CLOCK_MONOTONIC ns; 0: it is not lost, or never was. */
int64_t net_silent_since(const struct net *net, node_t node);
const char *net_cluster_name(const struct net *net);

struct net_region_config {
	const char *device;	/* opened anew, O_DIRECT */
	uint64_t byte_off;	/* of slot 0 */
	uint32_t block_bytes;	/* logical sector size */
	const char *name;	/* volume UUID, 32 hex digits */
	/* The lease was renewed: no write of this node after that instant
	 * (CLOCK_BOOTTIME ns). Heartbeat thread; only stores an atomic. */
	void (*lease)(void *ctx, int64_t deadline_ns);
	void *ctx;
};
/* Start heartbeating; blocks until steady (6 to 10 s). EXIT_CLUSTER: slot in use by
 * another host, I/O errors, not steady. */
int net_region_start(struct net *net, const struct net_region_config *cfg,
		     struct net_region **out, struct reason *why) __must_check;
/* goodbye: write generation 0 (only if no I/O of ours can follow). */
void net_region_stop(struct net_region *r, bool goodbye);

/* Block until every heartbeating node is connected (60 s). EXIT_PEER names the
 * first that is not and why (handshake refused: which value; connection refused). */
int net_wait_connected(struct net *net, struct reason *why) __must_check;
/* Join, leave: blocking wrappers. cfg->ops->joined and left are replaced; evicted and
 * members are called on the reactor. */
int net_join(struct net *net, const struct dlm_domain_config *cfg, struct dlm_domain **out,
	     struct reason *why) __must_check;
void net_leave(struct net *net, struct dlm_domain *dom);
/* Forget a domain without a message (fence). */
void net_abandon(struct net *net);

/* An event for `o2fuse monitor`: name ("fenced", "mounted", ...), key=value words. */
void net_event(struct net *net, const char *name, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#endif
