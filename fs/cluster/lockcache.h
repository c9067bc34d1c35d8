/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * lockcache.h: cluster locks that this node caches (doc/spec/fs-locking.md section 3).
 *
 * One struct lc_lock per lock that this node has or wants. It counts local holders
 * per level, keeps a granted level cached after the last holder left, and gives it
 * back when another node is blocked by it. It knows nothing of files: types plug in
 * through struct lc_type. It is driven by requests, releases, DLM callbacks and the
 * downconvert workers; the DLM is handed in as struct lc_dlm, so a fake one tests
 * every row of the state table.
 */
#ifndef O2FUSE_CLUSTER_LOCKCACHE_H
#define O2FUSE_CLUSTER_LOCKCACHE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>
#include "dlm/dlm.h"
#include "dlm/util/cleanup.h"
#include "dlm/util/log.h"

#define LC_NAME_LEN 31

struct lockcache;
struct lc_lock;

/* How the cache reaches a DLM. Calls return at once; the outcome comes through the
 * lc_dlm_* functions below, from another thread or (fake) from the same. */
struct lc_dlm {
	/* New lock if handle is NULL, else convert; VALBLK in flags as asked. */
	void (*lock)(void *ctx, struct lc_lock *l, int mode, uint32_t flags, const uint8_t *lvb);
	void (*unlock)(void *ctx, struct lc_lock *l, uint32_t flags, const uint8_t *lvb);
	void (*cancel)(void *ctx, struct lc_lock *l);
	/* The object's memory goes: no callback for it begins after this returns, and none
	 * is running. NULL: not needed. */
	void (*forget)(void *ctx, struct lc_lock *l);
};

enum lc_work { LC_WORK_GO, LC_WORK_STOP };

struct lc_type {
	char letter;		/* 'M', 'W', ... */
	bool has_lvb;
	bool refreshes;		/* NEEDS_REFRESH after NL -> PR/EX */
	bool nocache;		/* BASTs are ignored (F) */
	bool recovery_wait;	/* M: wait while a node's recovery is pending (7.3) */
	/* Refresh cached data; lvb: 64 bytes as granted. Holder counted, no mutex held. */
	int (*refresh)(struct lc_lock *l, const uint8_t *lvb);
	/* Row 10: may the level go down to new_level now? No: start what is needed
	 * (a checkpoint) and return false; the worker asks again. No mutex held by the
	 * callee's view: called with the lock's mutex held, must not block. */
	bool (*may_downconvert)(struct lc_lock *l, int new_level);
	/* What row 10 starts when the answer was no. No mutex held; may block. */
	void (*make_ready)(struct lc_lock *l);
	/* Row 11: work before the level goes down; no mutex held, may block. */
	enum lc_work (*before_downconvert)(struct lc_lock *l, int blocking, int level);
	/* After row 11 said stop, or the convert was sent. No mutex held. */
	void (*after_downconvert)(struct lc_lock *l, enum lc_work what); /* stop: may free l */
	/* Fill the value block, just before EX is lowered or dropped. Mutex held. */
	void (*stuff_lvb)(struct lc_lock *l, uint8_t lvb[DLM_LVB_LEN]);
};

struct lc_lock {
	struct lockcache *lc;
	const struct lc_type *type;
	void *owner;		/* what the type's callbacks work on */
	uint8_t name[LC_NAME_LEN];

	pthread_mutex_t mutex;
	pthread_cond_t cond;	/* any change a waiter may wait for */
	int level, requested, blocking;
	unsigned ro, ex;
	uint8_t action, unlock_action;
	uint16_t flags;
	uint8_t lvb[DLM_LVB_LEN]; /* as granted, or stuffed */
	int error;		/* of the last request */
	uint64_t calls, dones;	/* lock and convert calls made, and returned */
	uint64_t refused;	/* number of the last call that was refused, with error */
	void *dlm_handle;	/* belongs to struct lc_dlm */
	void *dlm_priv;
	unsigned waiters;
	bool serving;		/* lc_serve */
	unsigned served, served_seen;
	struct timespec serve_at; /* CLOCK_MONOTONIC */

	/* under the cache's own mutex (downconvert.c) */
	uint8_t place;		/* on which list it is */
	struct lc_lock *queue_next, *queue_prev;
	struct lc_lock *all_next, *all_prev;
};

struct lc_config {
	const struct lc_dlm *dlm;
	void *dlm_ctx;
	unsigned workers;	/* downconvert threads, at least 1; 0: tests call lc_downconvert_pass */
	/* Once after the count of pending recoveries went to zero: a request that had waited
	 * is served. May be NULL. No mutex held. */
	void (*resumed)(void *ctx);
	void *resumed_ctx;
	struct logger *log;
};
struct lockcache *lc_new(const struct lc_config *cfg);
/* All locks are dropped before. */
void lc_free(struct lockcache *lc);
/* Every waiter and every later request fails with -EIO; nothing is sent any more. */
void lc_stop(struct lockcache *lc);
/* Nodes whose recovery is pending: M requests wait while not zero (7.3). */
void lc_recovery_pending(struct lockcache *lc, int delta);

void lc_init(struct lc_lock *l, struct lockcache *lc, const struct lc_type *type,
	     const uint8_t name[LC_NAME_LEN], void *owner);
void lc_destroy(struct lc_lock *l);	/* memory only, after lc_drop */

enum lc_flags {
	LC_NOQUEUE = 1,		/* -EAGAIN instead of waiting for another node */
	LC_NONBLOCK = 2,	/* -EAGAIN instead of waiting at all (3.3) */
	LC_IN_RECOVERY = 4,	/* do not wait for recovery */
	LC_PRESENT = 16,	/* may be served in spite of BLOCKED, see lc_serve */
};
/* Take the lock at DLM_MODE_PR or EX and count in as holder. Refreshes first if
 * needed. 0, -EAGAIN, -EIO (stopped), or the error of refresh (holder not counted). */
int lc_lock(struct lc_lock *l, int level, unsigned flags) __must_check;
/* The same, given up with -EINTR when *stop has become true and lc_look_again() was called
 * after that, unless it is granted first. What was asked of the DLM is taken back, which
 * takes a conversion: a lock that is not attached yet is waited for to its end. */
int lc_lock_until(struct lc_lock *l, int level, unsigned flags, const atomic_bool *stop) __must_check;
void lc_look_again(struct lc_lock *l);
void lc_unlock(struct lc_lock *l, int level);
/* New object: ask for level, no holder, nobody waits, no refresh (3.3). local: with DLM
 * LOCAL, for names that no other node can have asked for (a generation in it). */
void lc_attach(struct lc_lock *l, int level, bool local);
/* Types that are not cached (flock): convert to NL and wait. Holders must be 0. */
void lc_lower(struct lc_lock *l);
/* 3.8: mark and drop. Blocks until the unlock AST. Holders must be 0. */
void lc_mark_freeing(struct lc_lock *l);
void lc_drop(struct lc_lock *l);
/*
 * Serving while giving away (fs-locking.md 12.4 step 2). A READ that waits for M in
 * row 5 of 3.3 holds folio locks in the kernel, and the page notification that must
 * precede our convert waits for these folios. So: lc_serve() before the notification;
 * from delay_ms later on, requests with LC_PRESENT whose level is satisfied by the
 * present one (waiting ones too) are counted in although BLOCKED; lc_lock then
 * returns 1. lc_serve_end() after the notification: waits until no holder is left
 * that was served so; true = somebody was (what he read may be in the kernel's caches:
 * invalidate that and go again, serving goes on), false = nobody since the last call,
 * and serving has ended. Only called by before_downconvert of that lock.
 */
void lc_serve(struct lc_lock *l, unsigned delay_ms);
bool lc_serve_end(struct lc_lock *l);
/* Serving ends without a look at who was served: for a second lock that was served
 * along, and whose own giving away, if any, starts later. */
void lc_serve_stop(struct lc_lock *l);
/* Level now; for checks. */
int lc_level(struct lc_lock *l);
/* Does another node wait for it? */
bool lc_blocked(struct lc_lock *l);
/* Something that may_downconvert waits for has happened. */
void lc_kick(struct lockcache *lc);

struct lc_stats {
	unsigned locks, ex, pr, blocked, waiters;
};
void lc_stats(struct lockcache *lc, struct lc_stats *out);
/* Condition variable on CLOCK_MONOTONIC. */
void lc_cond_init(pthread_cond_t *cond);

/* ---- from the DLM side ------------------------------------------------------ */
void lc_dlm_done(struct lc_lock *l, enum dlm_call call, enum dlm_status status);
void lc_dlm_ast(struct lc_lock *l, const uint8_t *lvb);
void lc_dlm_bast(struct lc_lock *l, int mode);
void lc_dlm_unlock_ast(struct lc_lock *l, enum dlm_status status);

/* ---- for tests ---------------------------------------------------------------- */
/* One pass of the downconvert worker (workers = 0); how many objects it handled. */
unsigned lc_downconvert_pass(struct lockcache *lc);

#endif
