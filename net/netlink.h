/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * netlink.h: the administrator's channel into a running process.
 *
 * A server on NETLINK_USERSOCK in the network namespace of the mount; the messages
 * are those of netlink_policy.h, the other end is netlink_client.h. Reading is
 * allowed to everybody, changes to uid 0 only, as the kernel tells who the sender
 * is. What is read and changed is given as a table of functions, so that the server
 * knows no more of struct net than a test does.
 *
 * It belongs to one thread (the reactor), which polls the descriptor for reading,
 * and calls net_nl_readable(). Nothing here blocks: a client that does not read its
 * answers loses them.
 */
#ifndef O2FUSE_NET_NETLINK_H
#define O2FUSE_NET_NETLINK_H

#include <stdbool.h>
#include <stdint.h>
#include "dlm/util/log.h"
#include "net/nodes.h"

struct json_object;
struct net_nl;

/* A row of the table and what is known of that node now. */
struct net_nl_node {
	struct net_node node;
	bool alive;		/* heartbeats */
	bool connected;		/* its link is valid (the local node: true) */
	bool member;		/* of a domain that this node is in */
	const char *link_state;	/* a word or a sentence on the link; may be NULL */
};

enum { NET_NL_FILTER_MAX = 80 };

/* Which resources of the lock manager somebody wants to see; net_locks.c. */
struct net_nl_locks {
	uint32_t from;		/* pass over that many of those that match */
	uint32_t stuck_s;	/* only where something waits for so long; 0: all */
	char name[NET_NL_FILTER_MAX + 1]; /* only names with this in them; "": all */
};

/* All run on the reactor and must not block; reasons go to the administrator. */
struct net_nl_ops {
	int (*node_add)(void *ctx, const struct net_node *node, struct reason *why);
	int (*node_remove)(void *ctx, node_t number, struct reason *why);
	/* Fill in the node with the lowest number >= from; false at the end. */
	bool (*node_next)(void *ctx, unsigned from, struct net_nl_node *out);
	/* A new object, owned by the caller; NULL on lack of memory. */
	struct json_object *(*status)(void *ctx);
	/* One page of resources and their locks, the same way: "resources", and "next" if
	 * there are more. */
	struct json_object *(*locks)(void *ctx, const struct net_nl_locks *which);
	/* Call net_nl_tick() once in ms; an earlier request is moved. 0 ms is not used. */
	void (*timer)(void *ctx, uint32_t ms);
};

struct net_nl_config {
	const char *cluster;	/* copied */
	node_t self;
	const char *node_name;	/* of the local node; copied */
	struct logger *log;
	const struct net_nl_ops *ops;
	void *ctx;
};

/* EXIT_SYSTEM: no netlink, or no right to join the group (CAP_NET_ADMIN). */
int net_nl_open(const struct net_nl_config *cfg, struct net_nl **out, struct reason *why)
	__must_check;
void net_nl_close(struct net_nl *nl);
int net_nl_fd(const struct net_nl *nl);
void net_nl_readable(struct net_nl *nl);
void net_nl_tick(struct net_nl *nl);

/*
 * Tell whoever listens (`o2fuse monitor`). name: one word ("node-up"); node: whom it
 * is about, NODE_NONE if nobody; words: "key=value key=value", may be "".
 * Names in use: node-up node-down link-up link-down joined left node-added
 * node-removed address-lost address-found mounted unmounted fenced.
 */
void net_nl_event(struct net_nl *nl, const char *name, node_t node, const char *words);
/* Add "netlink": counters of requests, refusals, malformed messages. */
void net_nl_status(const struct net_nl *nl, struct json_object *into);

#endif
