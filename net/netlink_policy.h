/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * netlink_policy.h: the messages of the admin channel, for both ends.
 *
 * NETLINK_USERSOCK, one message a datagram: nlmsghdr (type NET_NL_TYPE), genlmsghdr
 * (command, version), attributes. Numbers are in host order, addresses in network
 * order, as everywhere in netlink.
 *
 *	HELLO		to the group: who is there?	CLUSTER SELF SELF_NAME VERSION
 *	NODE_ADD	NODE {NUMBER NAME ADDR [PORT]}	ack (uid 0 only)
 *	NODE_REMOVE	NODE {NUMBER}			ack (uid 0 only)
 *	NODE_GET	NODE {NUMBER}, or NLM_F_DUMP	NODES {NODE {...} ...}, multipart
 *	STATUS_GET	NLM_F_DUMP			STATUS (a part of a JSON text), multipart
 *	LOCKS_GET	NLM_F_DUMP LOCKS {...}		the same, one page (uid 0 only)
 *	EVENT		from a process to the group	CLUSTER EVENT {...}
 *
 * Errors are NLMSG_ERROR with NLMSGERR_ATTR_MSG, a sentence for the administrator.
 *
 * Any local user can send to any port and group, and can hold any port, therefore
 * neither says anything about the sender: only the SCM_CREDENTIALS that the kernel adds
 * do. It fills in the real uid, so a set-uid program that is made to write to such a
 * socket still counts as its caller. Joining a group needs CAP_NET_ADMIN.
 */
#ifndef O2FUSE_NET_NETLINK_POLICY_H
#define O2FUSE_NET_NETLINK_POLICY_H

#include <netlink/attr.h>
#include <netlink/msg.h>
#include <linux/genetlink.h>
#include "net/netlink.h"

enum {
	NET_NL_TYPE = 0x6f32,	/* "o2"; USERSOCK is shared with other programs */
	NET_NL_VERSION = 1,
	NET_NL_GROUP_DAEMONS = 27,
	NET_NL_GROUP_EVENTS = 28,
	NET_NL_STATUS_PART = 8192, /* bytes of JSON in one message */
	NET_NL_WORDS_MAX = 400,
	NET_NL_EVENT_NAME_MAX = 31,
	NET_NL_LINK_MAX = 200,
	NET_NL_VERSION_TEXT_MAX = 31,
};

enum net_nl_cmd {
	NET_NL_CMD_HELLO = 1,
	NET_NL_CMD_NODE_ADD,
	NET_NL_CMD_NODE_REMOVE,
	NET_NL_CMD_NODE_GET,
	NET_NL_CMD_STATUS_GET,
	NET_NL_CMD_EVENT,
	NET_NL_CMD_LOCKS_GET,
	NET_NL_CMD_MAX = NET_NL_CMD_LOCKS_GET
};

enum net_nl_attr {
	NET_NL_A_CLUSTER = 1,	/* string */
	NET_NL_A_SELF,		/* u8: number of the local node */
	NET_NL_A_SELF_NAME,	/* string */
	NET_NL_A_VERSION,	/* string: of the program */
	NET_NL_A_NODE,		/* nested, enum net_nl_node_attr */
	NET_NL_A_NODES,		/* nested list of NET_NL_A_NODE */
	NET_NL_A_STATUS,	/* binary, a part of the text */
	NET_NL_A_EVENT,		/* nested, enum net_nl_event_attr */
	NET_NL_A_LOCKS,		/* nested, enum net_nl_locks_attr */
	NET_NL_A_MAX = NET_NL_A_LOCKS
};

enum net_nl_node_attr {
	NET_NL_N_NUMBER = 1,	/* u8 */
	NET_NL_N_NAME,		/* string */
	NET_NL_N_ADDR,		/* u32, network order */
	NET_NL_N_PORT,		/* u16 */
	NET_NL_N_FLAGS,		/* u32, NET_NL_NF_... */
	NET_NL_N_LINK,		/* string */
	NET_NL_N_MAX = NET_NL_N_LINK
};

enum {
	NET_NL_NF_LOCAL = 1,
	NET_NL_NF_ALIVE = 2,
	NET_NL_NF_CONNECTED = 4,
	NET_NL_NF_MEMBER = 8,
};

enum net_nl_event_attr {
	NET_NL_E_NAME = 1,	/* string */
	NET_NL_E_SEQ,		/* u64: 1, 2, ... of this process; a gap is a loss */
	NET_NL_E_TIME,		/* u64: CLOCK_REALTIME, ns */
	NET_NL_E_NODE,		/* u8; absent: about no node */
	NET_NL_E_NODE_NAME,	/* string */
	NET_NL_E_WORDS,		/* string: key=value key=value */
	NET_NL_E_MAX = NET_NL_E_WORDS
};

enum net_nl_locks_attr {
	NET_NL_L_FROM = 1,	/* u32: how many resources to pass over; "next" of the last page */
	NET_NL_L_STUCK,		/* u32: only what has waited that many seconds; 0: all */
	NET_NL_L_NAME,		/* string: only names with this in them, as they are printed */
	NET_NL_L_MAX = NET_NL_L_NAME
};

/* A message whose header and attributes have been checked. Points into the datagram. */
struct net_nl_view {
	struct nlmsghdr *h;
	uint8_t cmd;
	struct nlattr *tb[NET_NL_A_MAX + 1];
};

/* Is this datagram one whole message of ours, as far as the headers say? */
bool net_nl_ours(const void *buf, size_t len);
/*
 * Check attributes against the policy and fill in out. buf as net_nl_ours() accepted
 * it. -EPROTONOSUPPORT, -EOPNOTSUPP, -EINVAL, with a sentence in why: unknown or
 * repeated attributes, wrong sizes, bytes left over are all refused.
 */
int net_nl_view(void *buf, size_t len, struct net_nl_view *out, struct reason *why) __must_check;

/* *out->link_state points into the attribute. Which fields were there: bits of
 * 1 << enum net_nl_node_attr in *have. */
int net_nl_get_node(struct nlattr *a, struct net_nl_node *out, unsigned *have,
		    struct reason *why) __must_check;

struct net_nl_event {
	const char *name, *node_name, *words;
	uint64_t seq, time_ns;
	node_t node;
};
int net_nl_get_event(struct nlattr *a, struct net_nl_event *out, struct reason *why)
	__must_check;
int net_nl_get_locks(struct nlattr *a, struct net_nl_locks *out, struct reason *why) __must_check;

/* A message with headers only, with room for size bytes of attributes. NULL: no memory.
 * port: of the receiver of an answer or the sender of a request, as nlmsg_pid has it. */
struct nl_msg *net_nl_msg_new(uint32_t port, uint32_t seq, enum net_nl_cmd cmd, int flags,
			      size_t size);
/* -ENOSPC: the message is full; it is then as before. */
int net_nl_put_node(struct nl_msg *msg, const struct net_nl_node *node) __must_check;
int net_nl_put_event(struct nl_msg *msg, const struct net_nl_event *ev) __must_check;
int net_nl_put_locks(struct nl_msg *msg, const struct net_nl_locks *q) __must_check;
int net_nl_put_text(struct nl_msg *msg, int attr, const char *text, size_t max) __must_check;

#endif
