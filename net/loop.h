/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * loop.h: the reactor: one thread, its timers, descriptors, and what others post to it.
 *
 * Everything else in net/ belongs to the loop's thread, unless it says otherwise. While
 * no thread runs (before net_loop_start, after net_loop_stop) the loop belongs to
 * whoever made it, so objects are built before and taken down after without locks.
 */
#ifndef O2FUSE_NET_LOOP_H
#define O2FUSE_NET_LOOP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include "dlm/util/cleanup.h"

struct net_loop;
struct net_timer;
struct net_poll;

/* -ENOMEM, or what libuv says. */
int net_loop_new(struct net_loop **out) __must_check;
/* Run the loop on a thread of its own, with all signals blocked. */
int net_loop_start(struct net_loop *l, const char *thread_name) __must_check;
/* End the thread after what was posted before; waits for it. Not from the thread. */
void net_loop_stop(struct net_loop *l);
/* All timers and polls must be free. Runs posts that are left, so that none is lost. */
void net_loop_free(struct net_loop *l);
/* On the loop's thread, or no thread runs? */
bool net_loop_here(struct net_loop *l);

/* Run fn(arg) on the loop soon, in the order of the posts. Any thread, never blocks. */
void net_loop_post(struct net_loop *l, void (*fn)(void *arg), void *arg);
/* Run fn(arg) on the loop and wait until it has returned. Not from the loop's thread
 * while it runs; without a thread it is called directly. */
void net_loop_call(struct net_loop *l, void (*fn)(void *arg), void *arg);

/* A post that needs no memory: queued at most once; a notify before fn starts does
 * nothing more, one after that makes it run again. Any thread. Must stay valid until
 * the loop's thread has ended. */
struct net_note {
	void (*fn)(void *arg);
	void *arg;
	struct net_note *next;	/* private, and so are the rest */
	atomic_bool queued;
	bool allocated;
};
void net_loop_notify(struct net_loop *l, struct net_note *note);

/*
 * Called after each round of callbacks, before the loop waits: the place to do at once
 * what a round has gathered (write queued frames, deliver deferred completions).
 * Returns true if it did something; all hooks are called again until none does.
 */
struct net_hook {
	bool (*fn)(void *arg);
	void *arg;
	struct net_hook *next;	/* private */
};
/* Hooks run in the order in which they were added. */
void net_loop_hook(struct net_loop *l, struct net_hook *hook);
void net_loop_unhook(struct net_loop *l, struct net_hook *hook);

/* CLOCK_MONOTONIC, ms. */
int64_t net_now_ms(void);

/* One-shot timer; fn may set or free it. NULL: no memory. */
struct net_timer *net_timer_new(struct net_loop *l, void (*fn)(void *arg), void *arg);
/* Fire ms from now; moves one that is set. */
void net_timer_set(struct net_timer *t, uint64_t ms);
void net_timer_clear(struct net_timer *t);
bool net_timer_armed(const struct net_timer *t);
void net_timer_free(struct net_timer *t); /* NULL is fine */

/* Watch a descriptor (socket, netlink, pipe). */
enum { NET_POLL_IN = 1, NET_POLL_OUT = 2, NET_POLL_ERR = 4 };
/* fn gets the events that are there. After NET_POLL_ERR nothing is watched until
 * net_poll_set is called again. fn may free the poll. */
int net_poll_new(struct net_loop *l, int fd, void (*fn)(void *arg, unsigned int events),
		 void *arg, struct net_poll **out) __must_check;
void net_poll_set(struct net_poll *p, unsigned int events);
/* The descriptor may be closed right after. NULL is fine. */
void net_poll_free(struct net_poll *p);

#endif
