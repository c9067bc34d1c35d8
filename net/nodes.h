/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * nodes.h: the node table: who may be a member, under which number and address.
 *
 * Numbers, names and IPv4 addresses are each unique; one row may be the local node
 * (doc/spec/cluster.md 1.1, 1.4). A peer is identified by its source address alone,
 * so the table is also the list of who may connect at all. The table belongs to the
 * reactor: nothing here locks.
 */
#ifndef O2FUSE_NET_NODES_H
#define O2FUSE_NET_NODES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "dlm/transport.h"
#include "dlm/util/cleanup.h"
#include "dlm/util/err.h"

#define NET_NODE_NAME_MAX 64
#define NET_PORT_DEFAULT 7777
#define NET_PORT_MAX 65534

struct dlm_table_entry;

struct net_node {
	node_t number;
	uint16_t port;	/* host order, 1..65534 */
	uint32_t addr;	/* IPv4, host order */
	bool local;
	char name[NET_NODE_NAME_MAX + 1];
};

struct net_nodes;

/* Empty table. -ENOMEM. */
int net_nodes_new(struct net_nodes **out) __must_check;
void net_nodes_free(struct net_nodes *t);

/* NULL: there is none. Valid until the row is removed or the table is freed. */
const struct net_node *net_nodes_get(const struct net_nodes *t, unsigned number);
const struct net_node *net_nodes_by_addr(const struct net_nodes *t, uint32_t addr);
/* Exact spelling. */
const struct net_node *net_nodes_by_name(const struct net_nodes *t, const char *name);
const struct net_node *net_nodes_local(const struct net_nodes *t);
/* The row with the lowest number >= from; NULL at the end. For walks:
 *	for (n = net_nodes_next(t, 0); n; n = net_nodes_next(t, n->number + 1u)) */
const struct net_node *net_nodes_next(const struct net_nodes *t, unsigned from);
size_t net_nodes_count(const struct net_nodes *t);
/* Bit n of 256 is set for each configured node n. */
void net_nodes_map(const struct net_nodes *t, uint8_t map[32]);
/* Rows as dlm_set_table() wants them: NODE_MAX entries. */
void net_nodes_dlm_table(const struct net_nodes *t, struct dlm_table_entry *table);

/* Are the fields of a row within the limits? -EINVAL, with which and why. */
int net_node_check(const struct net_node *node, struct reason *why) __must_check;
/*
 * Add a row (copied). -EINVAL: a field is out of range. -EEXIST: number, name or
 * address is taken; why says by whom. A row with local set: -EEXIST if there is a
 * local node already.
 */
int net_nodes_add(struct net_nodes *t, const struct net_node *node, struct reason *why)
	__must_check;
/*
 * Remove a row. live: bit n of 256 is set for nodes that heartbeat now; NULL: none.
 * -ENOENT: no such node. -EBUSY: it is the local node, or it is live.
 */
int net_nodes_remove(struct net_nodes *t, unsigned number, const uint8_t *live,
		     struct reason *why) __must_check;

enum net_nodes_change { NET_NODE_GONE, NET_NODE_CHANGED, NET_NODE_NEW };
/* What leads from one table to the other, by number: first all that are gone, then
 * changed (address, port or name; the new row is handed over), then new ones. */
void net_nodes_diff(const struct net_nodes *from, const struct net_nodes *to,
		    void (*fn)(void *ctx, enum net_nodes_change what, const struct net_node *node),
		    void *ctx);

/* "10.0.0.1" <-> host order number. The whole string must be a dotted quad that can be
 * one host's address (not 0.x, multicast, broadcast). -EINVAL. */
int net_addr_parse(const char *text, uint32_t *out) __must_check;
#define NET_ADDR_LEN 16
const char *net_addr_text(uint32_t addr, char buf[static NET_ADDR_LEN]);
/* Decimal digits only, within [min, max]. -EINVAL, -ERANGE. */
int net_number_parse(const char *text, unsigned min, unsigned max, unsigned *out) __must_check;

#endif
