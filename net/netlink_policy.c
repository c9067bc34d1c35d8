// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * netlink_policy.c: what an attribute of the admin channel may look like.
 *
 * libnl validates sizes and string ends against the policies below. It passes over
 * what it does not know, which is right towards a newer kernel but wrong for a change
 * that a newer tool asks for: half a request would be carried out. So parse() first
 * walks the attributes itself and refuses unknown and repeated ones and left-over
 * bytes, and then has each validated by itself, to be able to say which is wrong.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include "net/conffile.h"
#include "net/netlink_policy.h"

static const struct nla_policy top_policy[NET_NL_A_MAX + 1] = {
	[NET_NL_A_CLUSTER] = { .type = NLA_STRING, .maxlen = NET_CLUSTER_NAME_MAX + 1 },
	[NET_NL_A_SELF] = { .type = NLA_U8, .maxlen = 1 },
	[NET_NL_A_SELF_NAME] = { .type = NLA_STRING, .maxlen = NET_NODE_NAME_MAX + 1 },
	[NET_NL_A_VERSION] = { .type = NLA_STRING, .maxlen = NET_NL_VERSION_TEXT_MAX + 1 },
	[NET_NL_A_NODE] = { .type = NLA_NESTED },
	[NET_NL_A_NODES] = { .type = NLA_NESTED },
	[NET_NL_A_STATUS] = { .minlen = 1, .maxlen = NET_NL_STATUS_PART },
	[NET_NL_A_EVENT] = { .type = NLA_NESTED },
	[NET_NL_A_LOCKS] = { .type = NLA_NESTED },
};

static const char *const top_names[NET_NL_A_MAX + 1] = {
	[NET_NL_A_CLUSTER] = "CLUSTER", [NET_NL_A_SELF] = "SELF",
	[NET_NL_A_SELF_NAME] = "SELF_NAME", [NET_NL_A_VERSION] = "VERSION",
	[NET_NL_A_NODE] = "NODE", [NET_NL_A_NODES] = "NODES", [NET_NL_A_STATUS] = "STATUS",
	[NET_NL_A_EVENT] = "EVENT", [NET_NL_A_LOCKS] = "LOCKS",
};

static const struct nla_policy node_policy[NET_NL_N_MAX + 1] = {
	[NET_NL_N_NUMBER] = { .type = NLA_U8, .maxlen = 1 },
	[NET_NL_N_NAME] = { .type = NLA_STRING, .maxlen = NET_NODE_NAME_MAX + 1 },
	[NET_NL_N_ADDR] = { .type = NLA_U32, .maxlen = 4 },
	[NET_NL_N_PORT] = { .type = NLA_U16, .maxlen = 2 },
	[NET_NL_N_FLAGS] = { .type = NLA_U32, .maxlen = 4 },
	[NET_NL_N_LINK] = { .type = NLA_STRING, .maxlen = NET_NL_LINK_MAX + 1 },
};

static const char *const node_names[NET_NL_N_MAX + 1] = {
	[NET_NL_N_NUMBER] = "NODE.NUMBER", [NET_NL_N_NAME] = "NODE.NAME",
	[NET_NL_N_ADDR] = "NODE.ADDR",	   [NET_NL_N_PORT] = "NODE.PORT",
	[NET_NL_N_FLAGS] = "NODE.FLAGS",   [NET_NL_N_LINK] = "NODE.LINK",
};

static const struct nla_policy event_policy[NET_NL_E_MAX + 1] = {
	[NET_NL_E_NAME] = { .type = NLA_STRING, .maxlen = NET_NL_EVENT_NAME_MAX + 1 },
	[NET_NL_E_SEQ] = { .type = NLA_U64, .maxlen = 8 },
	[NET_NL_E_TIME] = { .type = NLA_U64, .maxlen = 8 },
	[NET_NL_E_NODE] = { .type = NLA_U8, .maxlen = 1 },
	[NET_NL_E_NODE_NAME] = { .type = NLA_STRING, .maxlen = NET_NODE_NAME_MAX + 1 },
	[NET_NL_E_WORDS] = { .type = NLA_STRING, .maxlen = NET_NL_WORDS_MAX + 1 },
};

static const char *const event_names[NET_NL_E_MAX + 1] = {
	[NET_NL_E_NAME] = "EVENT.NAME", [NET_NL_E_SEQ] = "EVENT.SEQ",
	[NET_NL_E_TIME] = "EVENT.TIME", [NET_NL_E_NODE] = "EVENT.NODE",
	[NET_NL_E_NODE_NAME] = "EVENT.NODE_NAME", [NET_NL_E_WORDS] = "EVENT.WORDS",
};

static int parse(struct nlattr *head, int len, struct nlattr **tb, int max,
		 const struct nla_policy *policy, const char *const *names, struct reason *why)
{
	struct nlattr *a;
	int rem;

	memset(tb, 0, sizeof(*tb) * (size_t)(max + 1));
	nla_for_each_attr(a, head, len, rem) {
		int type = nla_type(a);

		if (type < 1 || type > max)
			return reason_set(why, EXIT_USAGE, -EINVAL,
					  "attribute %d is not known to this version; use a tool of "
					  "the same version as the mount", type);
		if (tb[type])
			return reason_set(why, EXIT_USAGE, -EINVAL,
					  "attribute %s is repeated; send it once", names[type]);
		if (nla_validate(a, (int)a->nla_len, max, policy) < 0)
			return reason_set(why, EXIT_USAGE, -EINVAL,
					  "attribute %s has a wrong size (%d bytes) or no end; see "
					  "net/netlink_policy.h", names[type], nla_len(a));
		tb[type] = a;
	}
	if (rem > 0)
		return reason_set(why, EXIT_USAGE, -EINVAL,
				  "%d bytes after the last attribute are none; send attributes only",
				  rem);
	return 0;
}

bool net_nl_ours(const void *buf, size_t len)
{
	const struct nlmsghdr *h = buf;

	return len >= NLMSG_HDRLEN + GENL_HDRLEN && h->nlmsg_len == len &&
	       h->nlmsg_type == NET_NL_TYPE;
}

int net_nl_view(void *buf, size_t len, struct net_nl_view *out, struct reason *why)
{
	struct nlmsghdr *h = buf;
	struct genlmsghdr *g = (void *)((char *)buf + NLMSG_HDRLEN);
	size_t head = NLMSG_HDRLEN + GENL_HDRLEN;

	memset(out, 0, sizeof(*out));
	out->h = h;
	out->cmd = g->cmd;
	if (g->version != NET_NL_VERSION)
		return reason_set(why, EXIT_USAGE, -EPROTONOSUPPORT,
				  "version %u of the admin channel is not spoken here (%d is); use a "
				  "tool of the same version as the mount", g->version,
				  NET_NL_VERSION);
	if (g->cmd < 1 || g->cmd > NET_NL_CMD_MAX)
		return reason_set(why, EXIT_USAGE, -EOPNOTSUPP,
				  "command %u is not known; use a tool of the same version as the "
				  "mount", g->cmd);
	return parse((struct nlattr *)((char *)buf + head), (int)(len - head), out->tb,
		     NET_NL_A_MAX, top_policy, top_names, why);
}

int net_nl_get_node(struct nlattr *a, struct net_nl_node *out, unsigned *have,
		    struct reason *why)
{
	struct nlattr *tb[NET_NL_N_MAX + 1];
	int err = parse(nla_data(a), nla_len(a), tb, NET_NL_N_MAX, node_policy, node_names, why);
	uint32_t flags;

	memset(out, 0, sizeof(*out));
	*have = 0;
	if (err)
		return err;
	for (unsigned i = 1; i <= NET_NL_N_MAX; i++)
		if (tb[i])
			*have |= 1u << i;
	if (tb[NET_NL_N_NUMBER])
		out->node.number = nla_get_u8(tb[NET_NL_N_NUMBER]);
	if (tb[NET_NL_N_NAME])
		nla_strlcpy(out->node.name, tb[NET_NL_N_NAME], sizeof(out->node.name));
	if (tb[NET_NL_N_ADDR])
		out->node.addr = ntohl(nla_get_u32(tb[NET_NL_N_ADDR]));
	if (tb[NET_NL_N_PORT])
		out->node.port = nla_get_u16(tb[NET_NL_N_PORT]);
	if (tb[NET_NL_N_LINK])
		out->link_state = nla_get_string(tb[NET_NL_N_LINK]);
	flags = tb[NET_NL_N_FLAGS] ? nla_get_u32(tb[NET_NL_N_FLAGS]) : 0;
	out->node.local = flags & NET_NL_NF_LOCAL;
	out->alive = flags & NET_NL_NF_ALIVE;
	out->connected = flags & NET_NL_NF_CONNECTED;
	out->member = flags & NET_NL_NF_MEMBER;
	return 0;
}

int net_nl_get_event(struct nlattr *a, struct net_nl_event *out, struct reason *why)
{
	struct nlattr *tb[NET_NL_E_MAX + 1];
	int err = parse(nla_data(a), nla_len(a), tb, NET_NL_E_MAX, event_policy, event_names, why);

	memset(out, 0, sizeof(*out));
	out->node = NODE_NONE;
	if (err)
		return err;
	if (!tb[NET_NL_E_NAME] || !tb[NET_NL_E_SEQ] || !tb[NET_NL_E_TIME])
		return reason_set(why, EXIT_USAGE, -EINVAL, "an event without name, number or time");
	out->name = nla_get_string(tb[NET_NL_E_NAME]);
	out->seq = nla_get_u64(tb[NET_NL_E_SEQ]);
	out->time_ns = nla_get_u64(tb[NET_NL_E_TIME]);
	if (tb[NET_NL_E_NODE])
		out->node = nla_get_u8(tb[NET_NL_E_NODE]);
	out->node_name = tb[NET_NL_E_NODE_NAME] ? nla_get_string(tb[NET_NL_E_NODE_NAME]) : "";
	out->words = tb[NET_NL_E_WORDS] ? nla_get_string(tb[NET_NL_E_WORDS]) : "";
	return 0;
}

static const struct nla_policy locks_policy[NET_NL_L_MAX + 1] = {
	[NET_NL_L_FROM] = { .type = NLA_U32, .maxlen = 4 },
	[NET_NL_L_STUCK] = { .type = NLA_U32, .maxlen = 4 },
	[NET_NL_L_NAME] = { .type = NLA_STRING, .maxlen = NET_NL_FILTER_MAX + 1 },
};

static const char *const locks_names[NET_NL_L_MAX + 1] = {
	[NET_NL_L_FROM] = "LOCKS.FROM", [NET_NL_L_STUCK] = "LOCKS.STUCK",
	[NET_NL_L_NAME] = "LOCKS.NAME",
};

int net_nl_get_locks(struct nlattr *a, struct net_nl_locks *out, struct reason *why)
{
	struct nlattr *tb[NET_NL_L_MAX + 1];
	int err = parse(nla_data(a), nla_len(a), tb, NET_NL_L_MAX, locks_policy, locks_names, why);

	memset(out, 0, sizeof(*out));
	if (err)
		return err;
	if (tb[NET_NL_L_FROM])
		out->from = nla_get_u32(tb[NET_NL_L_FROM]);
	if (tb[NET_NL_L_STUCK])
		out->stuck_s = nla_get_u32(tb[NET_NL_L_STUCK]);
	if (tb[NET_NL_L_NAME])
		nla_strlcpy(out->name, tb[NET_NL_L_NAME], sizeof(out->name));
	return 0;
}

/* ---- building -------------------------------------------------------------------- */

struct nl_msg *net_nl_msg_new(uint32_t port, uint32_t seq, enum net_nl_cmd cmd, int flags,
			      size_t size)
{
	struct nl_msg *msg = nlmsg_alloc_size(NLMSG_HDRLEN + GENL_HDRLEN + size);
	struct nlmsghdr *h = msg ? nlmsg_put(msg, port, seq, NET_NL_TYPE, GENL_HDRLEN, flags) :
				   NULL;
	struct genlmsghdr *g;

	if (!h) {
		nlmsg_free(msg);
		return NULL;
	}
	g = nlmsg_data(h);
	g->cmd = (uint8_t)cmd;
	g->version = NET_NL_VERSION;
	return msg;
}

int net_nl_put_text(struct nl_msg *msg, int attr, const char *text, size_t max)
{
	size_t len = strnlen(text, max);
	struct nlattr *a = nla_reserve(msg, attr, (int)len + 1);

	if (!a)
		return -ENOSPC;
	memcpy(nla_data(a), text, len);
	((char *)nla_data(a))[len] = '\0';
	return 0;
}

int net_nl_put_node(struct nl_msg *msg, const struct net_nl_node *n)
{
	struct nlattr *nest = nla_nest_start(msg, NET_NL_A_NODE);
	uint32_t flags = (n->node.local ? NET_NL_NF_LOCAL : 0) |
			 (n->alive ? NET_NL_NF_ALIVE : 0) |
			 (n->connected ? NET_NL_NF_CONNECTED : 0) |
			 (n->member ? NET_NL_NF_MEMBER : 0);

	if (!nest)
		return -ENOSPC;
	if (nla_put_u8(msg, NET_NL_N_NUMBER, n->node.number) < 0 ||
	    net_nl_put_text(msg, NET_NL_N_NAME, n->node.name, NET_NODE_NAME_MAX) ||
	    nla_put_u32(msg, NET_NL_N_ADDR, htonl(n->node.addr)) < 0 ||
	    nla_put_u16(msg, NET_NL_N_PORT, n->node.port) < 0 ||
	    nla_put_u32(msg, NET_NL_N_FLAGS, flags) < 0 ||
	    (n->link_state &&
	     net_nl_put_text(msg, NET_NL_N_LINK, n->link_state, NET_NL_LINK_MAX))) {
		nla_nest_cancel(msg, nest);
		return -ENOSPC;
	}
	nla_nest_end(msg, nest);
	return 0;
}

int net_nl_put_event(struct nl_msg *msg, const struct net_nl_event *ev)
{
	struct nlattr *nest = nla_nest_start(msg, NET_NL_A_EVENT);

	if (!nest)
		return -ENOSPC;
	if (net_nl_put_text(msg, NET_NL_E_NAME, ev->name, NET_NL_EVENT_NAME_MAX) ||
	    nla_put_u64(msg, NET_NL_E_SEQ, ev->seq) < 0 ||
	    nla_put_u64(msg, NET_NL_E_TIME, ev->time_ns) < 0 ||
	    (ev->node != NODE_NONE && nla_put_u8(msg, NET_NL_E_NODE, ev->node) < 0) ||
	    (ev->node_name && *ev->node_name &&
	     net_nl_put_text(msg, NET_NL_E_NODE_NAME, ev->node_name, NET_NODE_NAME_MAX)) ||
	    net_nl_put_text(msg, NET_NL_E_WORDS, ev->words, NET_NL_WORDS_MAX)) {
		nla_nest_cancel(msg, nest);
		return -ENOSPC;
	}
	nla_nest_end(msg, nest);
	return 0;
}

int net_nl_put_locks(struct nl_msg *msg, const struct net_nl_locks *q)
{
	struct nlattr *nest = nla_nest_start(msg, NET_NL_A_LOCKS);

	if (!nest)
		return -ENOSPC;
	if (nla_put_u32(msg, NET_NL_L_FROM, q->from) < 0 ||
	    nla_put_u32(msg, NET_NL_L_STUCK, q->stuck_s) < 0 ||
	    (q->name[0] && net_nl_put_text(msg, NET_NL_L_NAME, q->name, NET_NL_FILTER_MAX))) {
		nla_nest_cancel(msg, nest);
		return -ENOSPC;
	}
	nla_nest_end(msg, nest);
	return 0;
}
