/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * lc_int.h: shared by lockcache.c (requests, DLM callbacks, drop) and downconvert.c
 * (giving back). Not for other rooms.
 *
 * Mutexes: lc_lock.mutex, then lockcache.q_mutex; lockcache.all_mutex before both.
 * Nothing is called out (DLM, type callbacks) with one of them held, except
 * may_downconvert and stuff_lvb, which must not block.
 */
#ifndef O2FUSE_CLUSTER_LC_INT_H
#define O2FUSE_CLUSTER_LC_INT_H

#include <stdatomic.h>
#include "fs/cluster/lockcache.h"

/* lc_lock.flags, fs-locking.md 3.2. NOCACHE is the type's. */
enum {
	LCF_ATTACHED = 1,
	LCF_BUSY = 2,
	LCF_PENDING = 4,
	LCF_BLOCKED = 8,
	LCF_QUEUED = 16,
	LCF_LOCAL = 32,
	LCF_NEEDS_REFRESH = 64,
	LCF_REFRESHING = 128,
	LCF_FINISHING = 256,		/* UPCONVERT_FINISHING */
	LCF_NONBLOCK_FINISHED = 512,
	LCF_FREEING = 1024,
};

enum { LC_ACTION_NONE, LC_ACTION_ATTACH, LC_ACTION_CONVERT, LC_ACTION_DOWNCONVERT };
enum { LC_UNLOCK_NONE, LC_UNLOCK_CANCEL, LC_UNLOCK_DROP };

/*
 * lc_lock.place. QUEUED is set in all but NONE.
 *
 *	NONE -> ACTIVE		a BAST needs a downconvert
 *	ACTIVE -> RUNNING	a worker took it
 *	RUNNING -> AGAIN	woken while it is looked at
 *	RUNNING -> PARKED	"requeue": nothing to do until it is woken
 *	PARKED -> ACTIVE	woken
 *	AGAIN -> ACTIVE		"requeue"
 *	RUNNING, AGAIN -> NONE	done (AGAIN and still BLOCKED: -> ACTIVE)
 */
enum { LC_AT_NONE, LC_AT_ACTIVE, LC_AT_RUNNING, LC_AT_AGAIN, LC_AT_PARKED };

struct lc_list {
	struct lc_lock *head, *tail;
	unsigned count;
};

struct lockcache {
	struct lc_config cfg;
	atomic_bool stopped;
	atomic_int recovery;		/* nodes pending */
	atomic_uint recoveries;		/* how often that went to zero */
	atomic_bool tell_resumed;
	pthread_mutex_t recovery_mutex;
	pthread_cond_t recovery_cond;

	pthread_mutex_t all_mutex;
	struct lc_lock *all;

	pthread_mutex_t q_mutex;
	pthread_cond_t q_cond;		/* CLOCK_MONOTONIC */
	struct lc_list active, parked;
	bool quit;
	bool retry;			/* wake everything parked at retry_at */
	struct timespec retry_at;
	unsigned started;
	pthread_t *threads;
};

/* Highest level we may keep while another node has l. */
static inline int lc_compat(int l)
{
	if (l == DLM_MODE_EX)
		return DLM_MODE_NL;
	return l == DLM_MODE_PR ? DLM_MODE_PR : DLM_MODE_EX;
}

static inline bool lc_stopped(struct lockcache *lc)
{
	return atomic_load_explicit(&lc->stopped, memory_order_acquire);
}

struct timespec lc_after_ms(unsigned ms);
bool lc_reached(const struct timespec *t);

/* Lock's mutex held. */
void lc_queue(struct lc_lock *l);	/* BLOCKED: to be looked at (sets QUEUED) */
void lc_wake(struct lc_lock *l);	/* what a parked one waits for may have happened */
void lc_park(struct lc_lock *l);	/* the same, but only after a while */
void lc_retry_later(struct lockcache *lc);
/* Off the list, or, if a worker has it, wait until it has done. Sets FREEING first. */
void lc_unqueue(struct lc_lock *l);

int lc_workers_start(struct lockcache *lc);
void lc_workers_stop(struct lockcache *lc);

#endif
