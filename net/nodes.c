// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * nodes.c: the node table.
 *
 * 255 rows indexed by number. A cluster has a handful of nodes and the table changes
 * only when an administrator says so, therefore the other look-ups walk the rows:
 * there is no second index that could disagree with the first.
 *
 * Not thread-safe: the reactor owns it (doc/design.md section 2).
 */
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include "dlm/dlm.h"
#include "net/nodes.h"

struct net_nodes {
	size_t count;
	bool used[NODE_MAX];
	struct net_node row[NODE_MAX];
};

int net_nodes_new(struct net_nodes **out)
{
	*out = calloc(1, sizeof(**out));
	return *out ? 0 : -ENOMEM;
}

void net_nodes_free(struct net_nodes *t)
{
	free(t);
}

const struct net_node *net_nodes_get(const struct net_nodes *t, unsigned number)
{
	return number < NODE_MAX && t->used[number] ? &t->row[number] : NULL;
}

const struct net_node *net_nodes_next(const struct net_nodes *t, unsigned from)
{
	for (unsigned n = from; n < NODE_MAX; n++)
		if (t->used[n])
			return &t->row[n];
	return NULL;
}

const struct net_node *net_nodes_by_addr(const struct net_nodes *t, uint32_t addr)
{
	const struct net_node *n;

	for (n = net_nodes_next(t, 0); n; n = net_nodes_next(t, n->number + 1u))
		if (n->addr == addr)
			return n;
	return NULL;
}

const struct net_node *net_nodes_by_name(const struct net_nodes *t, const char *name)
{
	const struct net_node *n;

	for (n = net_nodes_next(t, 0); n; n = net_nodes_next(t, n->number + 1u))
		if (!strcmp(n->name, name))
			return n;
	return NULL;
}

const struct net_node *net_nodes_local(const struct net_nodes *t)
{
	const struct net_node *n;

	for (n = net_nodes_next(t, 0); n; n = net_nodes_next(t, n->number + 1u))
		if (n->local)
			return n;
	return NULL;
}

size_t net_nodes_count(const struct net_nodes *t)
{
	return t->count;
}

void net_nodes_map(const struct net_nodes *t, uint8_t map[32])
{
	memset(map, 0, 32);
	for (unsigned n = 0; n < NODE_MAX; n++)
		if (t->used[n])
			map[n / 8] |= (uint8_t)(1u << n % 8);
}

void net_nodes_dlm_table(const struct net_nodes *t, struct dlm_table_entry *table)
{
	for (unsigned n = 0; n < NODE_MAX; n++) {
		table[n].present = t->used[n];
		table[n].port = t->used[n] ? t->row[n].port : 0;
		table[n].addr = t->used[n] ? t->row[n].addr : 0;
	}
}

/* An address that one host can have, and that can be the source of a connection. */
static bool addr_usable(uint32_t addr)
{
	uint32_t net = addr >> 24;

	return net != 0 && net < 224;
}

/* Letters and signs that survive as a word in logs, and as a name in configfs. */
static bool name_usable(const char *name)
{
	size_t len = strnlen(name, NET_NODE_NAME_MAX + 1);

	if (len == 0 || len > NET_NODE_NAME_MAX || !strcmp(name, ".") || !strcmp(name, ".."))
		return false;
	for (size_t i = 0; i < len; i++)
		if (name[i] <= ' ' || name[i] > '~' || name[i] == '/')
			return false;
	return true;
}

int net_node_check(const struct net_node *node, struct reason *why)
{
	char buf[NET_ADDR_LEN];

	if (node->number >= NODE_MAX)
		return reason_set(why, EXIT_CONF, -EINVAL,
				  "node number %u is out of range; choose one of 0..%d",
				  node->number, NODE_MAX - 1);
	if (!name_usable(node->name))
		return reason_set(why, EXIT_CONF, -EINVAL,
				  "node %u: the name is not usable; give 1 to %d printable ASCII "
				  "characters without blank and '/'",
				  node->number, NET_NODE_NAME_MAX);
	if (!addr_usable(node->addr))
		return reason_set(why, EXIT_CONF, -EINVAL,
				  "node %u (%s): %s is not the address of one host; give the IPv4 "
				  "address that it binds",
				  node->number, node->name, net_addr_text(node->addr, buf));
	if (node->port == 0 || node->port > NET_PORT_MAX)
		return reason_set(why, EXIT_CONF, -EINVAL,
				  "node %u (%s): port %u is out of range; choose one of 1..%d",
				  node->number, node->name, node->port, NET_PORT_MAX);
	return 0;
}

int net_nodes_add(struct net_nodes *t, const struct net_node *node, struct reason *why)
{
	const struct net_node *n;
	char buf[NET_ADDR_LEN];
	int err = net_node_check(node, why);

	if (err)
		return err;
	n = net_nodes_get(t, node->number);
	if (n)
		return reason_set(why, EXIT_CONF, -EEXIST,
				  "node number %u is in use by %s (%s); choose a free number",
				  node->number, n->name, net_addr_text(n->addr, buf));
	n = net_nodes_by_name(t, node->name);
	if (n)
		return reason_set(why, EXIT_CONF, -EEXIST,
				  "node name %s is in use by node %u (%s); choose another name",
				  node->name, n->number, net_addr_text(n->addr, buf));
	n = net_nodes_by_addr(t, node->addr);
	if (n)
		return reason_set(why, EXIT_CONF, -EEXIST,
				  "address %s is in use by node %u (%s); a peer is known by its "
				  "address, so each node needs its own",
				  net_addr_text(node->addr, buf), n->number, n->name);
	n = net_nodes_local(t);
	if (node->local && n)
		return reason_set(why, EXIT_CONF, -EEXIST,
				  "node %u (%s) is the local node already; only one can be",
				  n->number, n->name);
	t->row[node->number] = *node;
	t->used[node->number] = true;
	t->count++;
	return 0;
}

int net_nodes_remove(struct net_nodes *t, unsigned number, const uint8_t *live,
		     struct reason *why)
{
	const struct net_node *n = net_nodes_get(t, number);

	if (!n)
		return reason_set(why, EXIT_CONF, -ENOENT,
				  "there is no node %u; `o2fuse nodes` lists them", number);
	if (n->local)
		return reason_set(why, EXIT_CONF, -EBUSY,
				  "node %u (%s) is this host; unmount here and remove it on the "
				  "others", number, n->name);
	if (live && live[number / 8] & 1u << number % 8)
		return reason_set(why, EXIT_CONF, -EBUSY,
				  "node %u (%s) is live: it heartbeats; unmount there first",
				  number, n->name);
	t->used[number] = false;
	memset(&t->row[number], 0, sizeof(t->row[number]));
	t->count--;
	return 0;
}

static bool rows_equal(const struct net_node *a, const struct net_node *b)
{
	return a->addr == b->addr && a->port == b->port && !strcmp(a->name, b->name);
}

void net_nodes_diff(const struct net_nodes *from, const struct net_nodes *to,
		    void (*fn)(void *ctx, enum net_nodes_change what, const struct net_node *node),
		    void *ctx)
{
	for (unsigned n = 0; n < NODE_MAX; n++)
		if (from->used[n] && !to->used[n])
			fn(ctx, NET_NODE_GONE, &from->row[n]);
	for (unsigned n = 0; n < NODE_MAX; n++)
		if (from->used[n] && to->used[n] && !rows_equal(&from->row[n], &to->row[n]))
			fn(ctx, NET_NODE_CHANGED, &to->row[n]);
	for (unsigned n = 0; n < NODE_MAX; n++)
		if (!from->used[n] && to->used[n])
			fn(ctx, NET_NODE_NEW, &to->row[n]);
}

int net_addr_parse(const char *text, uint32_t *out)
{
	struct in_addr in;

	if (inet_pton(AF_INET, text, &in) != 1 || !addr_usable(ntohl(in.s_addr)))
		return -EINVAL;
	*out = ntohl(in.s_addr);
	return 0;
}

const char *net_addr_text(uint32_t addr, char buf[static NET_ADDR_LEN])
{
	snprintf(buf, NET_ADDR_LEN, "%u.%u.%u.%u", addr >> 24, addr >> 16 & 255, addr >> 8 & 255,
		 addr & 255);
	return buf;
}

int net_number_parse(const char *text, unsigned min, unsigned max, unsigned *out)
{
	unsigned long v = 0;

	if (!*text)
		return -EINVAL;
	for (const char *p = text; *p; p++) {
		if (*p < '0' || *p > '9')
			return -EINVAL;
		if (v <= max)
			v = v * 10 + (unsigned long)(*p - '0');
	}
	if (v < min || v > max)
		return -ERANGE;
	*out = (unsigned)v;
	return 0;
}
