/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * transport.h: what the DLM core needs from the outside, and what it relies on.
 *
 * The core is sans-IO (doc/spec/dlm.md section 12): every input of dlm.h is one
 * call that runs to its end; its effects are queued and leave through this
 * table, in order, before the input returns. An implementation must not call
 * back into the core from one of these functions; it answers later with a new
 * input. net/driver.c implements it with o2net and libuv, tests/sim in memory.
 *
 * What the core relies on:
 *  - Order: messages sent to one node on one link (one epoch) are handled there
 *    in that order. The reply to a message is sent before anything that its
 *    handler caused.
 *  - Outcome: each send ends exactly once, with dlm_sent(token, ...), after
 *    send() has returned: a reply (err 0) or a negative errno. While a peer
 *    heartbeats and its link is being made, the send waits instead of failing
 *    (doc/spec/cluster.md 2.7).
 *  - Death: dlm_node_down(n) comes after the outcome (-EHOSTDOWN) of all sends
 *    that were open to n, and no message of n comes after it.
 *  - One thread: all inputs come from one thread.
 */
#ifndef O2FUSE_DLM_TRANSPORT_H
#define O2FUSE_DLM_TRANSPORT_H

#include <stddef.h>
#include <stdint.h>

/* o2net's limit on a payload (4096 less the 24 byte header). */
#define DLM_MAX_PAYLOAD 4072

/* Numbers of nodes; 255 is "no node". */
typedef uint8_t node_t;
#define NODE_MAX 255
#define NODE_NONE 255

struct dlm_transport {
	/*
	 * Send one message. payload is copied before send() returns. key is the
	 * domain key or DLM_MEMBER_KEY, type one of enum dlm_msg. Ends with
	 * dlm_sent(token).
	 */
	void (*send)(void *ctx, uint64_t token, node_t to, uint32_t key, uint16_t type,
		     const void *payload, size_t len);
	/* Call dlm_timer(id) once, ms from now (0: as soon as this input is over).
	 * Setting an id that is set moves it. */
	void (*timer_set)(void *ctx, uint64_t id, uint32_t ms);
	void (*timer_clear)(void *ctx, uint64_t id);
	/* Evenly distributed in [0, bound), bound > 0. */
	uint32_t (*random)(void *ctx, uint32_t bound);
	/* A handler exists for this key from now on / no longer: others get
	 * sys_status 1. Called before the first QUERY_JOIN of a domain. */
	void (*key_open)(void *ctx, uint32_t key);
	void (*key_close)(void *ctx, uint32_t key);
	/* The core cannot go on without risking damage (disagreement with a peer,
	 * out of memory): stop the volumes of this domain. why: one line. */
	void (*fence)(void *ctx, const char *domain, const char *why);
};

#endif
