// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * tool_nodes.c: o2fuse nodes: list, add, remove.
 *
 * A change is one of the running table on this host alone. All members compare their
 * whole table with that of a joiner (doc/spec/cluster.md 1.4), so after a change the
 * administrator is told where else to make it.
 */
#include <errno.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>
#include "fs/tool.h"

struct listing {
	const struct tool *t;
	const struct net_nlc_daemon *d;
	int status;
	/* Looking for one row by name. */
	const char *want;
	bool found;
	struct net_node row;
};

static const char *state_of(const struct net_nl_node *n)
{
	return n->member ? "member" : n->connected && n->alive ? "connected" : n->alive ? "alive" :
										       "down";
}

static struct json_object *row_json(const struct net_nlc_daemon *d, const struct net_node *n)
{
	struct json_object *o = json_object_new_object();
	char addr[NET_ADDR_LEN];

	json_object_object_add(o, "cluster", json_object_new_string(d->cluster));
	json_object_object_add(o, "pid", json_object_new_int((int)d->pid));
	json_object_object_add(o, "number", json_object_new_int(n->number));
	json_object_object_add(o, "name", json_object_new_string(n->name));
	json_object_object_add(o, "address", json_object_new_string(net_addr_text(n->addr, addr)));
	json_object_object_add(o, "port", json_object_new_int(n->port));
	return o;
}

static void print_json(void *ctx, const struct net_nl_node *n)
{
	struct listing *l = ctx;
	struct json_object *o = row_json(l->d, &n->node);

	json_object_object_add(o, "local", json_object_new_boolean(n->node.local));
	json_object_object_add(o, "state", json_object_new_string(state_of(n)));
	json_object_object_add(o, "alive", json_object_new_boolean(n->alive));
	json_object_object_add(o, "connected", json_object_new_boolean(n->connected));
	json_object_object_add(o, "member", json_object_new_boolean(n->member));
	if (n->link_state)
		json_object_object_add(o, "link", json_object_new_string(n->link_state));
	if (tool_print_json(o))
		l->status = TOOL_SYSTEM;
	json_object_put(o);
}

static void print_text(void *ctx, const struct net_nl_node *n)
{
	char addr[NET_ADDR_LEN];

	(void)ctx;
	printf("%c%6u  ", n->node.local ? '*' : ' ', n->node.number);
	tool_put(stdout, n->node.name);
	printf("%*s  %-15s  %5u  %-9s  ", (int)(16 - strnlen(n->node.name, 16)), "",
	       net_addr_text(n->node.addr, addr), n->node.port, state_of(n));
	tool_put(stdout, n->node.local ? "this host" : n->link_state);
	putchar('\n');
}

static int list(struct tool *t)
{
	int status = tool_find(t, false);

	for (size_t i = 0; !status && i < t->n_daemons; i++) {
		struct listing l = { .t = t, .d = &t->daemons[i] };
		struct reason why = { 0 };
		int err;

		if (!t->json) {
			printf("%scluster %s, node %u, pid %d\n", i ? "\n" : "", l.d->cluster,
			       l.d->self, (int)l.d->pid);
			printf(" number  name              address           port  state      link\n");
		}
		err = net_nlc_nodes(t->client, l.d, t->json ? print_json : print_text, &l, &why);
		status = err ? tool_fail(err, "listing the nodes", &why) : l.status;
	}
	return status;
}

/* ---- changes -------------------------------------------------------------------------- */

static int parse_address(char *text, struct net_node *n)
{
	char *colon = strchr(text, ':');
	unsigned port = NET_PORT_DEFAULT;

	if (colon) {
		*colon = '\0';
		if (net_number_parse(colon + 1, 1, NET_PORT_MAX, &port))
			return tool_say(TOOL_USAGE, "port \"%s\" is out of range; give one of 1..%d",
					colon + 1, NET_PORT_MAX);
	}
	if (net_addr_parse(text, &n->addr))
		return tool_say(TOOL_USAGE, "\"%s\" is not the IPv4 address of a host; write it as "
				"10.0.0.1 or 10.0.0.1:7777", text);
	n->port = (uint16_t)port;
	return TOOL_OK;
}

/* Tell what was done, and what is left to do. */
static int done(const struct tool *t, const char *what, const struct net_node *n)
{
	const struct net_nlc_daemon *d = &t->daemons[0];
	struct json_object *o, *outer;
	char addr[NET_ADDR_LEN];
	int status;

	if (!t->json) {
		printf("node %u (%s, %s:%u) %s cluster %s on this host\n", n->number, n->name,
		       net_addr_text(n->addr, addr), n->port, what, d->cluster);
		printf("do the same on every other host of the cluster and in each cluster.conf: "
		       "hosts whose tables differ cannot join\n");
		return TOOL_OK;
	}
	o = row_json(d, n);
	outer = json_object_new_object();
	json_object_object_add(outer, !strcmp(what, "added to") ? "added" : "removed", o);
	status = tool_print_json(outer);
	json_object_put(outer);
	return status;
}

static int add(struct tool *t)
{
	struct net_node n = { 0 };
	struct reason why = { 0 };
	unsigned number;
	int err, status;

	if (t->n_args != 4)
		return tool_say(TOOL_USAGE, "give number, name and address: o2fuse nodes add 4 host4 "
				"10.0.0.4");
	if (net_number_parse(t->args[1], 0, NODE_MAX - 1, &number))
		return tool_say(TOOL_USAGE, "node number \"%s\" is out of range; choose one of 0..%d",
				t->args[1], NODE_MAX - 1);
	if (strlen(t->args[2]) > NET_NODE_NAME_MAX)
		return tool_say(TOOL_USAGE, "node name \"%s\" is longer than %d characters; use the "
				"host name without domain", t->args[2], NET_NODE_NAME_MAX);
	n.number = (node_t)number;
	strcpy(n.name, t->args[2]);
	status = parse_address(t->args[3], &n);
	if (status)
		return status;
	if (net_node_check(&n, &why))
		return tool_say(TOOL_USAGE, "%s", why.text);
	status = tool_find(t, true);
	if (status)
		return status;
	err = net_nlc_node_add(t->client, &t->daemons[0], &n, &why);
	return err ? tool_fail(err, "adding the node", &why) : done(t, "added to", &n);
}

static void search(void *ctx, const struct net_nl_node *n)
{
	struct listing *l = ctx;
	unsigned number;

	/* A name goes before a number, as in cluster.conf's options. */
	if (!strcmp(n->node.name, l->want) ||
	    (!l->found && !net_number_parse(l->want, 0, NODE_MAX - 1, &number) &&
	     number == n->node.number)) {
		l->found = true;
		l->row = n->node;
	}
}

static int take_away(struct tool *t)
{
	struct listing l = { .t = t };
	struct reason why = { 0 };
	int err, status;

	if (t->n_args != 2)
		return tool_say(TOOL_USAGE, "give one number or name: o2fuse nodes remove 4");
	l.want = t->args[1];
	status = tool_find(t, true);
	if (status)
		return status;
	err = net_nlc_nodes(t->client, &t->daemons[0], search, &l, &why);
	if (err)
		return tool_fail(err, "looking for the node", &why);
	if (!l.found)
		return tool_say(TOOL_REFUSED, "removing the node: cluster %s has no node \"%s\"; "
				"o2fuse nodes lists them", t->daemons[0].cluster, l.want);
	err = net_nlc_node_remove(t->client, &t->daemons[0], l.row.number, &why);
	return err ? tool_fail(err, "removing the node", &why) : done(t, "removed from", &l.row);
}

int tool_nodes(struct tool *t)
{
	const char *what = t->n_args ? t->args[0] : "list";

	if (!strcmp(what, "add"))
		return add(t);
	if (!strcmp(what, "remove"))
		return take_away(t);
	if (strcmp(what, "list") || t->n_args > 1)
		return tool_say(TOOL_USAGE, "o2fuse nodes %s: not known; there are list, add and "
				"remove, see o2fuse --help", t->args[t->n_args > 1 ? 1 : 0]);
	return list(t);
}
