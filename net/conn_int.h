/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * conn_int.h: what conn.c (states, sockets, timers of a peer) and conn_io.c (frames,
 * buffers, requests) share. Included by these two only.
 */
#ifndef O2FUSE_NET_CONN_INT_H
#define O2FUSE_NET_CONN_INT_H

#include <arpa/inet.h>
#include "net/conn.h"

/* Room for received bytes: some frames, so that one recv takes what is there. */
#define IN_ROOM 65536
/* More unsent bytes than this: the peer sends requests but does not read replies. */
#define OUT_MAX (64u << 20)

/* A request without a reply, by msg_num. */
struct net_req {
	bool used;
	uint32_t key;
	uint64_t token;
};

/* A send that waits for the link. */
struct net_wait {
	struct net_wait *next;
	uint64_t token;
	uint32_t key;
	uint16_t type;
	uint16_t len;
	uint8_t payload[];
};

/* A reply whose departure somebody waits for: gone once out_sent >= at. */
struct net_mark {
	struct net_mark *next;
	uint64_t at;
	uint64_t token;
};

/* An outcome that may not be delivered yet, since its send() has not returned. */
struct net_done {
	struct net_done *next;
	uint64_t token;
	uint32_t key;
	int err;
};

struct net_peer {
	struct net_links *ls;
	node_t node;
	enum net_link_state state;
	bool timed_out;
	bool refused;
	bool keep_sent;		/* nothing was received since our keepalive request */
	bool tcp_up;		/* connect() is through */
	bool dirty;		/* has frames to write; on ls->dirty */
	struct net_peer *next_dirty;
	int fd;			/* -1: no socket */
	struct net_poll *poll;
	uint64_t socket_no;	/* rises with each socket, so that loops see a close */
	uint32_t epoch;
	int64_t last_attempt_ms, last_rx_ms;
	struct net_timer *connect, *expired, *still_up, *idle, *keepalive;
	char last_error[240];

	uint8_t *in;
	size_t in_len;
	uint8_t *out;
	size_t out_head, out_len, out_room;	/* unsent bytes: out[head, head + len) */
	uint64_t out_sent;			/* on this socket, for marks */
	struct net_mark *marks, **marks_end;
	struct net_req *reqs;
	uint32_t reqs_room, reqs_open, reqs_free; /* no free one below reqs_free */
	struct net_wait *waits, **waits_end;
	uint32_t n_waits;

	uint64_t sent, received, replies, keepalives, bytes_in, bytes_out, errors;
};

struct net_links {
	struct net_links_config cfg;
	struct net_peer *peers[NODE_MAX];
	struct net_peer *dirty, **dirty_end;
	struct net_done *dones, **dones_end;
	struct net_hook hook;
	bool shut;
	uint64_t refused_unknown, refused_other;
	int64_t unknown_logged_ms, other_logged_ms;
};

/* ---- conn.c: called by conn_io.c ---- */

/* The socket failed or the peer broke the protocol: close, complete, go on per 2.9. */
void net_peer_failed(struct net_peer *p, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* The peer's handshake came. False: the socket is gone. */
bool net_peer_handshake(struct net_peer *p, const struct net_handshake *theirs);
/* A whole frame came. */
void net_peer_heard(struct net_peer *p);

/* ---- conn_io.c: called by conn.c ---- */

/* Memory for a few bytes, or the end of this mount: an outcome cannot be lost. */
void *net_peer_alloc(size_t n);
void net_peer_put(struct net_peer *p, const void *bytes, size_t len);
void net_peer_put_frame(struct net_peer *p, const struct net_frame *f, const void *payload);
/* Read what is there and handle it. */
void net_peer_read(struct net_peer *p);
/* Hand unsent bytes to the kernel. */
void net_peer_flush(struct net_peer *p);
/* Queue the waiting sends: the link is up. */
void net_peer_start_waits(struct net_peer *p);
/* End all requests without a reply, and let go of the buffers. */
void net_peer_end_requests(struct net_peer *p, int err);
/* End all sends that wait for the link. */
void net_peer_end_waits(struct net_peer *p, int err);
/* Deliver deferred outcomes; false: there were none. */
bool net_links_run_dones(struct net_links *ls);
/* The hook: outcomes, then writing. */
bool net_links_run(void *arg);

#endif
