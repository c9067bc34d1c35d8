/* SPDX-License-Identifier: GPL-2.0-or-later */
/* netlink_int.h: netlink.c (socket, queue) and netlink_request.c (what is asked). */
#ifndef O2FUSE_NET_NETLINK_INT_H
#define O2FUSE_NET_NETLINK_INT_H

#include <sys/types.h>
#include <urcu/list.h>
#include "net/conffile.h"
#include "net/netlink_policy.h"

struct nl_sock;

enum {
	NET_NL_OTHERS_PER_S = 100, /* requests of others than uid 0, together */
	NET_NL_OTHERS_BURST = 200,
};

struct net_nl_counters {
	uint64_t requests, changes, refused, malformed, foreign, limited, overruns;
	uint64_t events, dropped;
};

struct net_nl {
	struct nl_sock *sk;	/* NULL: nothing is sent (fuzzing) */
	struct logger *log;
	const struct net_nl_ops *ops;
	void *ctx;
	node_t self;
	char cluster[NET_CLUSTER_NAME_MAX + 1];
	char node_name[NET_NODE_NAME_MAX + 1];

	struct cds_list_head out;	/* struct receiver: who is full, and what waits */
	size_t out_bytes;
	uint64_t event_seq;
	unsigned tokens;		/* requests that others than uid 0 may still make */
	int64_t tokens_ms;		/* when they were last topped up */
	struct net_nl_counters n;
};

/* Who sent a datagram, from the kernel. */
struct net_nl_sender {
	uint32_t port;
	bool to_group;
	bool known;	/* credentials came along */
	uid_t uid;
	pid_t pid;
};

int64_t net_nl_now_ms(void);
/* Handle one datagram; buf is aligned for a nlmsghdr and may be written to. */
void net_nl_request(struct net_nl *nl, void *buf, size_t len, const struct net_nl_sender *from);
/* Send or queue; takes the message. -ENOBUFS: too much is queued, it was dropped. */
int net_nl_send(struct net_nl *nl, struct nl_msg *msg, const struct net_nl_sender *to);

#endif
