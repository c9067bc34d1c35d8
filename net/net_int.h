/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * net_int.h: struct net, shared by the files that assemble it: net.c (open, close,
 * events), net_region.c (heartbeat regions, leases, negotiation), net_domain.c (waiting,
 * join, leave), net_admin.c (netlink, status), net_locks.c (what the DLM holds).
 *
 * Threads: everything belongs to the reactor, except what says otherwise. Mount and
 * unmount wait under `lock` for `cond`, which the reactor signals after each change that
 * somebody could wait for; `lock` is held for moments only.
 */
#ifndef O2FUSE_NET_NET_INT_H
#define O2FUSE_NET_NET_INT_H

#include <pthread.h>
#include "net/conffile.h"
#include "net/conn.h"
#include "net/driver.h"
#include "net/fence.h"
#include "net/hbthread.h"
#include "net/listen.h"
#include "net/loop.h"
#include "net/net.h"
#include "net/netlink.h"
#include "net/nodes.h"
#include "net/quorum.h"
#include "net/rtnl.h"

#define NET_TICK_MS 500

struct net_region {
	struct net *net;
	struct net_region *next;
	struct net_region_config cfg;
	char name[40];
	char device[256];
	struct net_hb *hb;
	bool closing;		/* hb is being taken down by net_region_stop() */
	uint8_t live[32];	/* nodes that live in this region */
	uint32_t nego_key;
	bool armed;		/* steady: the lease counts */
	/* Negotiation (cluster.md 4.7). */
	int64_t renewed_ns;	/* end of the lease when it was looked at last */
	int64_t nego_seen_ns;	/* deadline for which this node has asked or marked itself */
	node_t nego_asked;	/* whom; only its approval counts, and only for that lease */
	uint8_t hanging[32];	/* who told us that its write hangs */
	int64_t nego_check_ns;
	/* Under net->lock: the outcome of the start. */
	bool started;
	int start_err;
	struct reason start_why;
};

struct net_domain {
	struct net *net;
	struct net_domain *next;
	struct dlm_domain_config user; /* ops and ctx of whoever joined */
	struct dlm_domain *dom;
	/* Under net->lock. */
	bool joined, left;
	int err;
	char why[256];
};

struct net {
	struct net_config cfg;
	struct logger *log;
	struct net_ops ops;
	char cluster[NET_CLUSTER_NAME_MAX + 1];
	node_t self;
	char self_name[NET_NODE_NAME_MAX + 1];
	struct net_handshake hs;
	uint32_t threshold;

	struct net_loop *loop;
	struct net_nodes *nodes;
	struct net_links *links;
	struct net_listen *listen;
	struct net_driver *driver; /* NULL after net_abandon */
	struct net_quorum quorum;
	struct net_rtnl *rtnl;
	struct net_poll *rtnl_poll;
	struct net_nl *nl;	/* NULL: no_netlink */
	struct net_poll *nl_poll;
	struct net_timer *nl_timer, *tick;
	struct net_hb_map configured; /* any thread */
	uint16_t live_regions[NODE_MAX];
	uint8_t live[32];
	int64_t silent_ns[NODE_MAX]; /* when the link was lost, CLOCK_MONOTONIC; 0: it is up */
	struct net_region *regions;
	struct net_domain *domains;

	struct net_fence fence;	/* begun on the reactor; net_fence_why() on any thread */
	pthread_mutex_t lock;
	pthread_cond_t cond;
	uint64_t changes;	/* under lock */
};

/* net.c */
void net_changed(struct net *net);
void net_fence(struct net *net, const char *why);
/* A node lives or is gone, as the union of all regions says. */
void net_node_up(struct net *net, node_t node);
void net_node_down(struct net *net, node_t node);
/* Under lock: wait for the next change, at most until deadline (CLOCK_MONOTONIC, ms). */
void net_wait_change(struct net *net, int64_t deadline_ms);
void net_tell(struct net *net, const char *name, node_t node, const char *words);

/* net_region.c: all on the reactor */
void net_regions_tick(struct net *net);
/* A message or an outcome for the key of a region; false: not one of ours. */
bool net_regions_message(struct net *net, node_t from, const struct net_frame *f,
			 const uint8_t *payload, struct net_link_reply *reply);
bool net_regions_own_key(const struct net *net, uint32_t key);

/* net_admin.c */
void net_admin_table_changed(struct net *net);
int net_admin_open(struct net *net, struct reason *why) __must_check;
void net_admin_close(struct net *net);

/* net_locks.c: on the reactor. A new object; net is a struct net *. */
struct json_object *net_locks_json(void *net, const struct net_nl_locks *which);
struct json_object *net_messages_json(const struct dlm_stats *s);

#endif
