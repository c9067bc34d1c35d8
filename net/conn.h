/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * conn.h: o2net links: at most one TCP connection to each peer, and the requests that
 * wait on it (doc/spec/cluster.md section 2).
 *
 * Belongs to the loop's thread. The sending side never blocks: frames go into a buffer
 * of the peer and from there to the kernel at the end of the round. Every send ends with
 * exactly one sent(), never from within net_links_send().
 */
#ifndef O2FUSE_NET_CONN_H
#define O2FUSE_NET_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "dlm/transport.h"
#include "dlm/util/err.h"
#include "dlm/util/log.h"
#include "net/frame.h"
#include "net/handshake.h"
#include "net/loop.h"
#include "net/nodes.h"

struct net_links;

/* cluster.md 2.9. DOWN: not wanted. WANT: no socket, sends wait. OPENING: connecting, or
 * the handshake is missing; sends wait. UP. LOST: no socket, sends fail. */
enum net_link_state {
	NET_LINK_DOWN,
	NET_LINK_WANT,
	NET_LINK_OPENING,
	NET_LINK_UP,
	NET_LINK_LOST,
};

struct net_link_reply {
	uint32_t sys_status;	/* enum net_sys_status */
	int32_t status;
	uint64_t written_token;	/* not 0: reply_written() once the reply has left */
};

struct net_link_ops {
	/* A request of peer `from`: the node of the link, whatever the payload claims.
	 * Must not block. What it sends itself must be held back until replied(). */
	struct net_link_reply (*message)(void *ctx, node_t from, const struct net_frame *f,
					 const void *payload);
	/* The reply to that request is queued in front of everything later. */
	void (*replied)(void *ctx);
	/* The reply is with the kernel, or its link is gone. */
	void (*reply_written)(void *ctx, uint64_t token);
	/* Outcome of net_links_send: err 0 and the peer's status, or what 2.7 says. key is
	 * the message's, so that several users of the links keep tokens of their own. */
	void (*sent)(void *ctx, uint32_t key, uint64_t token, int err, int32_t status);
	/* The link is valid; epoch rises with each connection of that peer. */
	void (*up)(void *ctx, node_t node, uint32_t epoch);
	/* For quorum. conn_up: link valid, or heard again after an idle time-out.
	 * conn_err: a valid link was lost or fell silent (why: for events). still_up: the
	 * quorum delay after that has passed. */
	void (*conn_up)(void *ctx, node_t node);
	void (*conn_err)(void *ctx, node_t node, const char *why);
	void (*still_up)(void *ctx, node_t node);
};

struct net_links_config {
	struct net_loop *loop;
	struct logger *log;
	node_t self;
	const struct net_nodes *nodes; /* borrowed; rows are read when needed */
	struct net_handshake handshake; /* also the time-outs of the links */
	uint32_t quorum_delay_ms;
	const struct net_link_ops *ops;
	void *ctx;
};

int net_links_new(const struct net_links_config *cfg, struct net_links **out) __must_check;
/* Closes all; open sends end with -EHOSTDOWN or -ENOTCONN before it returns. */
void net_links_free(struct net_links *ls);

/* Heartbeat of a peer (not of this node). Down: the link is closed and all sends to it
 * have ended when this returns. */
void net_links_hb_up(struct net_links *ls, node_t node);
void net_links_hb_down(struct net_links *ls, node_t node);
/* Close every link and refuse new ones for good (this node is fenced). */
void net_links_shut(struct net_links *ls, const char *why);

/* A connection came in. Takes fd. addr: its source address, host order. */
void net_links_accept(struct net_links *ls, int fd, uint32_t addr);

/* payload is copied. Ends with sent(token); an error is also delivered that way. */
void net_links_send(struct net_links *ls, uint64_t token, node_t to, uint32_t key,
		    uint16_t type, const void *payload, size_t len);

struct net_link_info {
	enum net_link_state state;
	bool timed_out;		/* silent for longer than the idle time-out */
	bool refused;		/* the last handshake differed: waiting does not help */
	uint32_t epoch;		/* connections so far */
	uint32_t open;		/* requests without a reply */
	uint32_t waiting;	/* requests that wait for the link */
	uint64_t sent, received, replies, keepalives, bytes_in, bytes_out, errors;
	const char *last_error;	/* "" after the link became valid; valid until the next
				 * call into links */
};
/* False: nothing is known of that node (never heartbeated). */
bool net_links_info(const struct net_links *ls, node_t node, struct net_link_info *out);
const char *net_link_state_name(enum net_link_state state);
/* Refused incoming connections: from addresses outside the table, and others. */
void net_links_refused(const struct net_links *ls, uint64_t *unknown, uint64_t *other);

#endif
