/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * netlink_client.h: the other end of netlink.h: find running processes of this network
 * namespace, ask them, change their node table, listen to their events.
 *
 * Only what comes from uid 0 is believed (net/netlink_policy.h says why). Calls block until
 * an answer, or wait_ms without any. One thread per client.
 *
 * Errors of all calls: -ESRCH no process (any more), -EPERM not permitted, -ETIMEDOUT it
 * does not answer, -EAGAIN it is busy, -ENOMEM, -EPROTO an answer that cannot be
 * understood; others come from the process, whose words are in why.
 */
#ifndef O2FUSE_NET_NETLINK_CLIENT_H
#define O2FUSE_NET_NETLINK_CLIENT_H

#include <sys/types.h>
#include "net/conffile.h"
#include "net/netlink.h"

#define NET_NLC_WAIT_MS 5000

struct json_object;
struct net_nlc;

struct net_nlc_daemon {
	uint32_t port;
	pid_t pid;	/* as the kernel says; 0: of another pid namespace */
	node_t self;
	char cluster[NET_CLUSTER_NAME_MAX + 1];
	char node_name[NET_NODE_NAME_MAX + 1];
	char version[32];
};

int net_nlc_open(unsigned wait_ms, struct net_nlc **out, struct reason *why) __must_check;
void net_nlc_close(struct net_nlc *c);

/*
 * All processes that answer, sorted by cluster and number of the node; free *out. *silent
 * is how many are there but did not answer in time. -ESRCH: there is none at all.
 */
int net_nlc_find(struct net_nlc *c, struct net_nlc_daemon **out, size_t *n, size_t *silent,
		 struct reason *why) __must_check;

/* fn may be called for some nodes before an error. node is valid during the call. */
int net_nlc_nodes(struct net_nlc *c, const struct net_nlc_daemon *d,
		  void (*fn)(void *ctx, const struct net_nl_node *node), void *ctx,
		  struct reason *why) __must_check;
/* The caller owns *out (json_object_put). */
int net_nlc_status(struct net_nlc *c, const struct net_nlc_daemon *d, struct json_object **out,
		   struct reason *why) __must_check;
/* One page; "next" in it goes into which->from for the next one. Root only (-EPERM). */
int net_nlc_locks(struct net_nlc *c, const struct net_nlc_daemon *d,
		  const struct net_nl_locks *which, struct json_object **out,
		  struct reason *why) __must_check;
int net_nlc_node_add(struct net_nlc *c, const struct net_nlc_daemon *d,
		     const struct net_node *node, struct reason *why) __must_check;
int net_nlc_node_remove(struct net_nlc *c, const struct net_nlc_daemon *d, node_t number,
			struct reason *why) __must_check;

struct net_nlc_event {
	pid_t pid;
	uint64_t seq, time_ns;
	uint64_t lost;		/* events of that process missed before this one */
	node_t node;		/* NODE_NONE: about no node */
	char cluster[NET_CLUSTER_NAME_MAX + 1];
	char name[32];
	char node_name[NET_NODE_NAME_MAX + 1];
	char words[401];	/* "key=value key=value" */
};

/* Join the group of events. -EPERM without CAP_NET_ADMIN. */
int net_nlc_listen(struct net_nlc *c, struct reason *why) __must_check;
/* Next event. wait_ms -1: for ever. -ETIMEDOUT; -EINTR on a signal. */
int net_nlc_event_next(struct net_nlc *c, int wait_ms, struct net_nlc_event *out,
		       struct reason *why) __must_check;

#endif
