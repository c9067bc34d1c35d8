// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * fuzz-netlink.c: any datagram to the admin server, and to the tool's side.
 *
 * The first byte says who sends it: bit 0 uid 0, bit 1 to the group, bit 2 leave length,
 * type and request flag as they are (else they are made right, or hardly anything would
 * get past the first door).
 */
#include <json-c/json.h>
#include <string.h>
#include "net/netlink_int.h"
#include "tests/fuzz/fuzz.h"

static int node_add(void *ctx, const struct net_node *node, struct reason *why)
{
	FUZZ_CHECK(!net_node_check(node, NULL));
	return net_nodes_add(ctx, node, why);
}

static int node_remove(void *ctx, node_t number, struct reason *why)
{
	return net_nodes_remove(ctx, number, NULL, why);
}

static bool node_next(void *ctx, unsigned from, struct net_nl_node *out)
{
	const struct net_node *n = net_nodes_next(ctx, from);

	if (n)
		*out = (struct net_nl_node){ .node = *n, .link_state = "up" };
	return n;
}

static struct json_object *status(void *ctx)
{
	(void)ctx;
	return json_object_new_object();
}

static struct json_object *locks(void *ctx, const struct net_nl_locks *which)
{
	FUZZ_CHECK(strnlen(which->name, sizeof(which->name)) < sizeof(which->name));
	return status(ctx);
}

static void timer(void *ctx, uint32_t ms)
{
	(void)ctx;
	(void)ms;
	FUZZ_CHECK(!"nothing is sent, so nothing can wait");
}

static void as_client(void *buf, size_t len)
{
	struct net_nl_view v;
	struct net_nl_node node;
	struct net_nl_event ev;
	struct nlattr *a;
	unsigned have;
	int rem;

	if (!net_nl_ours(buf, len) || net_nl_view(buf, len, &v, NULL))
		return;
	if (v.tb[NET_NL_A_EVENT] && !net_nl_get_event(v.tb[NET_NL_A_EVENT], &ev, NULL)) {
		FUZZ_CHECK(strlen(ev.name) <= NET_NL_EVENT_NAME_MAX);
		FUZZ_CHECK(strlen(ev.words) <= NET_NL_WORDS_MAX);
	}
	if (v.tb[NET_NL_A_NODES])
		nla_for_each_nested(a, v.tb[NET_NL_A_NODES], rem)
			if (nla_type(a) == NET_NL_A_NODE &&
			    !net_nl_get_node(a, &node, &have, NULL) && node.link_state)
				FUZZ_CHECK(strlen(node.link_state) <= NET_NL_LINK_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const struct net_nl_ops ops = { node_add, node_remove, node_next, status, locks, timer };
	struct net_node local = { .number = 3, .port = 7777, .addr = 0x0a000003, .local = true,
				  .name = "local" };
	struct net_nl nl = { .ops = &ops, .self = 3, .cluster = "web", .node_name = "local",
			     .tokens = NET_NL_OTHERS_BURST };
	struct net_nl_sender who = { .port = 1, .known = true };
	struct net_nodes *t;
	uint8_t *buf;

	if (!len || net_nodes_new(&t))
		return 0;
	who.uid = data[0] & 1 ? 0 : 65534;
	who.to_group = data[0] & 2;
	buf = malloc(len);
	FUZZ_CHECK(buf && !net_nodes_add(t, &local, NULL));
	memcpy(buf, data + 1, --len);
	if (!(data[0] & 4) && len >= NLMSG_HDRLEN) {
		struct nlmsghdr *h = (void *)buf;

		h->nlmsg_len = (uint32_t)len;
		h->nlmsg_type = NET_NL_TYPE;
		h->nlmsg_flags |= NLM_F_REQUEST;
	}
	nl.ctx = t;
	CDS_INIT_LIST_HEAD(&nl.out);
	as_client(buf, len);
	net_nl_request(&nl, buf, len, &who);
	FUZZ_CHECK(nl.n.requests + nl.n.foreign == 1);
	FUZZ_CHECK(nl.n.changes == 0 || who.uid == 0);
	FUZZ_CHECK(net_nodes_local(t) && net_nodes_count(t) <= 2);
	net_nodes_free(t);
	free(buf);
	return 0;
}
