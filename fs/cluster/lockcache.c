/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * lockcache.c: requests, releases, DLM callbacks, drop (doc/spec/fs-locking.md 3.3 to
 * 3.5, 3.7, 3.8, 7.3; the rows named below are theirs).
 *
 * One mutex per lock guards its whole state. The DLM is called with the mutex
 * released; BUSY, which only one request can set, keeps others out meanwhile, and
 * PENDING keeps the downconvert worker from cancelling a request that the DLM has not
 * accepted yet. "The DLM call returned" arrives as lc_dlm_done(), in the order of the
 * calls: the n-th done belongs to the n-th call, so a late one (after its AST, when
 * the next request has begun) does not clear the PENDING of its successor.
 *
 * A waiter looks at the whole table again at every change of the lock. That he only
 * waits does not clear UPCONVERT_FINISHING (3.3, marked there): whoever asked for the
 * grant is on his way and will clear it, so the worker is held up by him alone.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "fs/cluster/lc_int.h"
#include "fs/cluster/lockname.h"

enum row {
	ROW_STOPPED, ROW_REFUSED, ROW_BUSY, ROW_BLOCKED, ROW_TRIED, ROW_ASK, ROW_TAKE, ROW_SERVED,
	ROW_GIVEN_UP,
};

struct timespec lc_after_ms(unsigned ms)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	t.tv_sec += ms / 1000;
	t.tv_nsec += (long)(ms % 1000) * 1000000;
	if (t.tv_nsec >= 1000000000) {
		t.tv_sec++;
		t.tv_nsec -= 1000000000;
	}
	return t;
}

bool lc_reached(const struct timespec *t)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec > t->tv_sec || (now.tv_sec == t->tv_sec && now.tv_nsec >= t->tv_nsec);
}

void lc_cond_init(pthread_cond_t *cond)
{
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(cond, &attr);
	pthread_condattr_destroy(&attr);
}

/* ---- lifetime ------------------------------------------------------------------ */

struct lockcache *lc_new(const struct lc_config *cfg)
{
	struct lockcache *lc = calloc(1, sizeof(*lc));

	if (!lc)
		return NULL;
	lc->cfg = *cfg;
	pthread_mutex_init(&lc->recovery_mutex, NULL);
	pthread_mutex_init(&lc->all_mutex, NULL);
	pthread_mutex_init(&lc->q_mutex, NULL);
	lc_cond_init(&lc->recovery_cond);
	lc_cond_init(&lc->q_cond);
	if (lc_workers_start(lc)) {
		lc_free(lc);
		return NULL;
	}
	return lc;
}

void lc_free(struct lockcache *lc)
{
	if (!lc)
		return;
	assert(!lc->all);
	lc_workers_stop(lc);
	pthread_mutex_destroy(&lc->recovery_mutex);
	pthread_mutex_destroy(&lc->all_mutex);
	pthread_mutex_destroy(&lc->q_mutex);
	pthread_cond_destroy(&lc->recovery_cond);
	pthread_cond_destroy(&lc->q_cond);
	free(lc);
}

void lc_stop(struct lockcache *lc)
{
	atomic_store_explicit(&lc->stopped, true, memory_order_release);
	pthread_mutex_lock(&lc->recovery_mutex);
	pthread_cond_broadcast(&lc->recovery_cond);
	pthread_mutex_unlock(&lc->recovery_mutex);
	pthread_mutex_lock(&lc->all_mutex);
	for (struct lc_lock *l = lc->all; l; l = l->all_next) {
		pthread_mutex_lock(&l->mutex);
		pthread_cond_broadcast(&l->cond);
		pthread_mutex_unlock(&l->mutex);
	}
	pthread_mutex_unlock(&lc->all_mutex);
}

void lc_init(struct lc_lock *l, struct lockcache *lc, const struct lc_type *type,
	     const uint8_t name[LC_NAME_LEN], void *owner)
{
	memset(l, 0, sizeof(*l));
	l->lc = lc;
	l->type = type;
	l->owner = owner;
	memcpy(l->name, name, LC_NAME_LEN);
	l->level = l->requested = l->blocking = DLM_MODE_NONE;
	pthread_mutex_init(&l->mutex, NULL);
	lc_cond_init(&l->cond);
	pthread_mutex_lock(&lc->all_mutex);
	l->all_next = lc->all;
	if (lc->all)
		lc->all->all_prev = l;
	lc->all = l;
	pthread_mutex_unlock(&lc->all_mutex);
}

void lc_destroy(struct lc_lock *l)
{
	struct lockcache *lc = l->lc;

	assert(!(l->flags & (LCF_ATTACHED | LCF_QUEUED)) && !l->waiters);
	pthread_mutex_lock(&lc->all_mutex);
	if (l->all_prev)
		l->all_prev->all_next = l->all_next;
	else
		lc->all = l->all_next;
	if (l->all_next)
		l->all_next->all_prev = l->all_prev;
	pthread_mutex_unlock(&lc->all_mutex);
	if (lc->cfg.dlm->forget)
		lc->cfg.dlm->forget(lc->cfg.dlm_ctx, l);
	pthread_mutex_destroy(&l->mutex);
	pthread_cond_destroy(&l->cond);
}

/* ---- recovery wait (7.3) ----------------------------------------------------------- */

void lc_recovery_pending(struct lockcache *lc, int delta)
{
	int left;

	pthread_mutex_lock(&lc->recovery_mutex);
	left = atomic_fetch_add(&lc->recovery, delta) + delta;
	assert(left >= 0);
	if (!left) {
		atomic_fetch_add(&lc->recoveries, 1);
		atomic_store(&lc->tell_resumed, true);
		pthread_cond_broadcast(&lc->recovery_cond);
	}
	pthread_mutex_unlock(&lc->recovery_mutex);
}

/* *waited is set if it had to. */
static int wait_recovery(struct lc_lock *l, unsigned flags, bool *waited)
{
	struct lockcache *lc = l->lc;
	int rc = 0;

	if (!l->type->recovery_wait || (flags & LC_IN_RECOVERY))
		return 0;
	if (!atomic_load_explicit(&lc->recovery, memory_order_acquire))
		return 0;
	pthread_mutex_lock(&lc->recovery_mutex);
	while (atomic_load(&lc->recovery)) {
		*waited = true;
		rc = lc_stopped(lc) ? -EIO : (flags & LC_NONBLOCK) ? -EAGAIN : 0;
		if (rc)
			break;
		pthread_cond_wait(&lc->recovery_cond, &lc->recovery_mutex);
	}
	pthread_mutex_unlock(&lc->recovery_mutex);
	return rc;
}

/* ---- request (3.3) ------------------------------------------------------------------- */

static int errno_of(struct lc_lock *l, enum dlm_status status)
{
	char text[LOCKNAME_PRINT_LEN];

	if (status == DLM_NOTQUEUED)
		return -EAGAIN;
	log_err(l->lc->cfg.log, "lock", "the lock manager refused a request; see its messages lock=%s status=%d",
		lockname_print(l->name, text), status);
	return -EIO;
}

static void count_in(struct lc_lock *l, int level)
{
	if (level == DLM_MODE_EX)
		l->ex++;
	else
		l->ro++;
}

/* The present level is really ours: it is not on its way down. */
static bool may_be_served(const struct lc_lock *l, int level, unsigned flags)
{
	return (flags & LC_PRESENT) && l->serving && level <= l->level &&
	       !((l->flags & LCF_BUSY) && l->action == LC_ACTION_DOWNCONVERT);
}

/* Which row applies now. call: number of the last request of this task, 0 = none. */
static enum row which_row(struct lc_lock *l, int level, unsigned flags, uint64_t call)
{
	if (lc_stopped(l->lc))
		return ROW_STOPPED;
	if (call && l->refused == call)
		return ROW_REFUSED;
	if ((l->flags & LCF_BUSY) && level > l->level)
		return ROW_BUSY;
	if ((l->flags & LCF_FINISHING) && level <= l->level)
		return ROW_TAKE;
	if ((l->flags & LCF_BLOCKED) && level > lc_compat(l->blocking)) {
		if (may_be_served(l, level, flags) && lc_reached(&l->serve_at))
			return ROW_SERVED;
		return ROW_BLOCKED;
	}
	if (level > l->level)
		return (flags & LC_NOQUEUE) && call ? ROW_TRIED : ROW_ASK;
	return ROW_TAKE;
}

/* Row 7. The mutex is released around the call. */
static uint64_t ask(struct lc_lock *l, int level, uint32_t dlm_flags)
{
	struct lockcache *lc = l->lc;
	uint64_t call = ++l->calls;

	l->action = l->flags & LCF_ATTACHED ? LC_ACTION_CONVERT : LC_ACTION_ATTACH;
	l->requested = level;
	l->flags |= LCF_BUSY | LCF_PENDING;
	if (l->type->has_lvb)
		dlm_flags |= DLM_LKF_VALBLK;
	pthread_mutex_unlock(&l->mutex);
	lc->cfg.dlm->lock(lc->cfg.dlm_ctx, l, level, dlm_flags, NULL);
	pthread_mutex_lock(&l->mutex);
	return call;
}

/* Waits for any change; a reader that may be served also for the time to be served. */
static void wait_change(struct lc_lock *l, int level, unsigned flags, enum row row)
{
	l->waiters++;
	if (row == ROW_BLOCKED && may_be_served(l, level, flags))
		pthread_cond_timedwait(&l->cond, &l->mutex, &l->serve_at);
	else
		pthread_cond_wait(&l->cond, &l->mutex);
	l->waiters--;
}

/*
 * The caller does not want it any more. True: nothing is asked for. Else what is under way
 * is taken back, or has to come to its end first; a cancel that the DLM refused, because
 * the request was on no queue just then, is tried again.
 */
static bool give_up(struct lc_lock *l)
{
	struct lockcache *lc = l->lc;
	struct timespec soon;

	if (!(l->flags & LCF_BUSY))
		return true;
	if (l->action == LC_ACTION_CONVERT && !(l->flags & LCF_PENDING) &&
	    l->unlock_action == LC_UNLOCK_NONE) {
		l->unlock_action = LC_UNLOCK_CANCEL;
		pthread_mutex_unlock(&l->mutex);
		lc->cfg.dlm->cancel(lc->cfg.dlm_ctx, l);
		pthread_mutex_lock(&l->mutex);
	}
	if (l->flags & LCF_BUSY) {
		soon = lc_after_ms(100);
		l->waiters++;
		pthread_cond_timedwait(&l->cond, &l->mutex, &soon);
		l->waiters--;
	}
	return false;
}

static bool wanted(enum row row, const atomic_bool *stop)
{
	return row == ROW_TAKE || row == ROW_STOPPED || row == ROW_REFUSED || !stop ||
	       !atomic_load(stop);
}

/* *waited is set if a recovery went by while it waited (for a lock of the dead node, say). */
static int take(struct lc_lock *l, int level, unsigned flags, const atomic_bool *stop,
		bool *refresh, bool *waited)
{
	unsigned recoveries = atomic_load(&l->lc->recoveries);
	bool waiting = false;
	uint64_t call = 0;
	enum row row;
	int rc;

	pthread_mutex_lock(&l->mutex);
	for (;;) {
		assert(!(l->flags & LCF_FREEING));
		row = which_row(l, level, flags, call);
		if (!wanted(row, stop)) {
			if (!give_up(l))
				continue;
			row = ROW_GIVEN_UP;
			break;
		}
		if (row == ROW_ASK) {
			call = ask(l, level, flags & LC_NOQUEUE ? DLM_LKF_NOQUEUE : 0);
			continue;
		}
		if (row != ROW_BUSY && row != ROW_BLOCKED)
			break;
		if (flags & LC_NONBLOCK) {
			if (row == ROW_BUSY && call && call == l->calls)
				l->flags |= LCF_NONBLOCK_FINISHED;
			break;
		}
		if (!waiting && (l->flags & LCF_BLOCKED))
			lc_wake(l);
		waiting = true;
		wait_change(l, level, flags, row);
	}
	rc = 0;
	if (row == ROW_TAKE || row == ROW_SERVED)
		count_in(l, level);
	if (row == ROW_SERVED) {
		l->served++;
		rc = 1;
	} else if (row == ROW_STOPPED) {
		rc = -EIO;
	} else if (row == ROW_REFUSED) {
		rc = errno_of(l, (enum dlm_status)l->error);
	} else if (row == ROW_GIVEN_UP) {
		rc = -EINTR;
	} else if (row != ROW_TAKE) {
		rc = -EAGAIN;
	}
	if (row == ROW_TAKE || (call && call == l->calls))
		l->flags &= ~LCF_FINISHING;
	if (l->flags & LCF_BLOCKED)
		lc_wake(l);
	*refresh = (l->flags & LCF_NEEDS_REFRESH) != 0;
	pthread_mutex_unlock(&l->mutex);
	if ((waiting || call) && l->type->recovery_wait && recoveries != atomic_load(&l->lc->recoveries))
		*waited = true;
	return rc;
}

/* 3.7, as a holder. */
static int refresh_now(struct lc_lock *l)
{
	uint8_t lvb[DLM_LVB_LEN];
	int rc = 0;

	pthread_mutex_lock(&l->mutex);
	for (;;) {
		if (!(l->flags & LCF_NEEDS_REFRESH))
			break;
		if (lc_stopped(l->lc)) {
			rc = -EIO;
			break;
		}
		if (l->flags & LCF_REFRESHING) {
			l->waiters++;
			pthread_cond_wait(&l->cond, &l->mutex);
			l->waiters--;
			continue;
		}
		l->flags |= LCF_REFRESHING;
		memcpy(lvb, l->lvb, sizeof(lvb));
		pthread_mutex_unlock(&l->mutex);
		rc = l->type->refresh(l, l->type->has_lvb ? lvb : NULL);
		pthread_mutex_lock(&l->mutex);
		l->flags &= ~LCF_REFRESHING;
		if (!rc)
			l->flags &= ~LCF_NEEDS_REFRESH;
		if (l->flags & LCF_BLOCKED)
			lc_wake(l);
		pthread_cond_broadcast(&l->cond);
		break;
	}
	pthread_mutex_unlock(&l->mutex);
	return rc;
}

int lc_lock(struct lc_lock *l, int level, unsigned flags)
{
	return lc_lock_until(l, level, flags, NULL);
}

void lc_look_again(struct lc_lock *l)
{
	pthread_mutex_lock(&l->mutex);
	pthread_cond_broadcast(&l->cond);
	pthread_mutex_unlock(&l->mutex);
}

int lc_lock_until(struct lc_lock *l, int level, unsigned flags, const atomic_bool *stop)
{
	struct lockcache *lc = l->lc;
	bool refresh, waited = false;
	int rc, err;

	assert(level == DLM_MODE_PR || level == DLM_MODE_EX);
	err = wait_recovery(l, flags, &waited);
	if (err)
		return err;
	rc = take(l, level, flags, stop, &refresh, &waited);
	if (rc < 0)
		return rc;
	err = wait_recovery(l, flags, &waited);
	if (!err && refresh)
		err = refresh_now(l);
	if (err) {
		lc_unlock(l, level);
		return err;
	}
	if (waited && lc->cfg.resumed && atomic_exchange(&lc->tell_resumed, false))
		lc->cfg.resumed(lc->cfg.resumed_ctx);
	return rc;
}

/* 3.4 */
void lc_unlock(struct lc_lock *l, int level)
{
	pthread_mutex_lock(&l->mutex);
	if (level == DLM_MODE_EX) {
		assert(l->ex);
		l->ex--;
	} else {
		assert(l->ro);
		l->ro--;
	}
	if ((l->flags & LCF_BLOCKED) && !l->ex && (l->blocking != DLM_MODE_EX || !l->ro)) {
		lc_wake(l);
		if (l->serving)
			pthread_cond_broadcast(&l->cond);
	}
	pthread_mutex_unlock(&l->mutex);
}

void lc_attach(struct lc_lock *l, int level, bool local)
{
	pthread_mutex_lock(&l->mutex);
	assert(!(l->flags & LCF_FREEING));
	if (!(l->flags & (LCF_ATTACHED | LCF_BUSY)) && !lc_stopped(l->lc)) {
		l->flags |= LCF_LOCAL;
		ask(l, level, local ? DLM_LKF_LOCAL : 0);
	}
	pthread_mutex_unlock(&l->mutex);
}

/* ---- serving while giving away (12.4) --------------------------------------------- */

void lc_serve(struct lc_lock *l, unsigned delay_ms)
{
	pthread_mutex_lock(&l->mutex);
	l->serving = true;
	l->serve_at = lc_after_ms(delay_ms);
	pthread_cond_broadcast(&l->cond);
	pthread_mutex_unlock(&l->mutex);
}

bool lc_serve_end(struct lc_lock *l)
{
	bool again;

	pthread_mutex_lock(&l->mutex);
	while (l->ex || (l->blocking == DLM_MODE_EX && l->ro))
		pthread_cond_wait(&l->cond, &l->mutex);
	again = l->served != l->served_seen;
	l->served_seen = l->served;
	l->serving = again;
	pthread_mutex_unlock(&l->mutex);
	return again;
}

void lc_serve_stop(struct lc_lock *l)
{
	pthread_mutex_lock(&l->mutex);
	l->serving = false;
	pthread_mutex_unlock(&l->mutex);
}

int lc_level(struct lc_lock *l)
{
	int level;

	pthread_mutex_lock(&l->mutex);
	level = l->level;
	pthread_mutex_unlock(&l->mutex);
	return level;
}

bool lc_blocked(struct lc_lock *l)
{
	bool blocked;

	pthread_mutex_lock(&l->mutex);
	blocked = (l->flags & LCF_BLOCKED) != 0;
	pthread_mutex_unlock(&l->mutex);
	return blocked;
}

void lc_stats(struct lockcache *lc, struct lc_stats *out)
{
	*out = (struct lc_stats){ 0 };
	pthread_mutex_lock(&lc->all_mutex);
	for (struct lc_lock *l = lc->all; l; l = l->all_next) {
		pthread_mutex_lock(&l->mutex);
		out->locks++;
		out->ex += l->level == DLM_MODE_EX;
		out->pr += l->level == DLM_MODE_PR;
		out->blocked += (l->flags & LCF_BLOCKED) != 0;
		out->waiters += l->waiters;
		pthread_mutex_unlock(&l->mutex);
	}
	pthread_mutex_unlock(&lc->all_mutex);
}

/* ---- DLM callbacks (3.5) ------------------------------------------------------------- */

static void clear_pending(struct lc_lock *l)
{
	l->flags &= ~LCF_PENDING;
	if (l->flags & LCF_BLOCKED)
		lc_wake(l);
}

static void refused(struct lc_lock *l, uint64_t call, enum dlm_status status)
{
	bool down = l->action == LC_ACTION_DOWNCONVERT;
	char text[LOCKNAME_PRINT_LEN];

	if (l->flags & LCF_LOCAL)
		errno_of(l, status); /* nobody waits for it */
	l->refused = call;
	l->error = (int)status;
	l->flags &= ~(LCF_BUSY | LCF_PENDING | LCF_FINISHING | LCF_LOCAL | LCF_NONBLOCK_FINISHED);
	l->action = LC_ACTION_NONE;
	if (l->unlock_action == LC_UNLOCK_CANCEL)
		l->unlock_action = LC_UNLOCK_NONE;
	if (!(l->flags & LCF_BLOCKED) || (l->flags & LCF_FREEING))
		return;
	if (down) {
		/* Another node waits for this: try again until it works. */
		log_warn(l->lc->cfg.log, "lock",
			 "the lock manager refused to lower a lock; trying again lock=%s status=%d",
			 lockname_print(l->name, text), status);
		lc_park(l);
	} else {
		lc_wake(l);
	}
}

void lc_dlm_done(struct lc_lock *l, enum dlm_call call, enum dlm_status status)
{
	uint64_t n;

	pthread_mutex_lock(&l->mutex);
	switch (call) {
	case DLM_CALL_LOCK:
	case DLM_CALL_CONVERT:
		n = ++l->dones;
		if (status != DLM_NORMAL)
			refused(l, n, status);
		else if (n == l->calls)
			clear_pending(l);
		break;
	case DLM_CALL_UNLOCK:
		if (status != DLM_NORMAL) {
			errno_of(l, status);
			l->level = DLM_MODE_NONE;
			l->flags &= ~LCF_BUSY;
			l->unlock_action = LC_UNLOCK_NONE;
		}
		break;
	case DLM_CALL_CANCEL:
		if (status != DLM_NORMAL && l->unlock_action == LC_UNLOCK_CANCEL)
			l->unlock_action = LC_UNLOCK_NONE;
		break;
	}
	pthread_cond_broadcast(&l->cond);
	pthread_mutex_unlock(&l->mutex);
}

static void granted(struct lc_lock *l)
{
	switch (l->action) {
	case LC_ACTION_ATTACH:
		if (l->requested > DLM_MODE_NL && !(l->flags & LCF_LOCAL) && l->type->refreshes)
			l->flags |= LCF_NEEDS_REFRESH;
		l->level = l->requested;
		l->flags |= LCF_ATTACHED;
		l->flags &= ~(LCF_BUSY | LCF_LOCAL | LCF_NONBLOCK_FINISHED);
		break;
	case LC_ACTION_CONVERT:
		if (l->level == DLM_MODE_NL && l->type->refreshes)
			l->flags |= LCF_NEEDS_REFRESH;
		l->level = l->requested;
		if (l->flags & LCF_NONBLOCK_FINISHED)
			l->flags &= ~LCF_NONBLOCK_FINISHED;
		else
			l->flags |= LCF_FINISHING;
		l->flags &= ~LCF_BUSY;
		break;
	case LC_ACTION_DOWNCONVERT:
		l->level = l->requested;
		if (l->level <= lc_compat(l->blocking)) {
			l->blocking = DLM_MODE_NL;
			l->flags &= ~LCF_BLOCKED;
		}
		l->flags &= ~LCF_BUSY;
		break;
	}
}

void lc_dlm_ast(struct lc_lock *l, const uint8_t *lvb)
{
	pthread_mutex_lock(&l->mutex);
	if (l->type->has_lvb && (l->action == LC_ACTION_ATTACH || l->action == LC_ACTION_CONVERT)) {
		if (lvb)
			memcpy(l->lvb, lvb, DLM_LVB_LEN);
		else
			memset(l->lvb, 0, DLM_LVB_LEN);
	}
	granted(l);
	l->action = LC_ACTION_NONE;
	if (l->unlock_action == LC_UNLOCK_CANCEL)
		l->unlock_action = LC_UNLOCK_NONE;
	clear_pending(l);
	pthread_cond_broadcast(&l->cond);
	pthread_mutex_unlock(&l->mutex);
}

void lc_dlm_bast(struct lc_lock *l, int mode)
{
	if (l->type->nocache)
		return;
	pthread_mutex_lock(&l->mutex);
	if (mode > l->blocking) {
		bool need = lc_compat(mode) < lc_compat(l->blocking);

		l->blocking = mode;
		if (l->level <= lc_compat(mode) && !(l->flags & LCF_BUSY)) {
			/* Late: about a level that we have left already. */
			l->blocking = DLM_MODE_NL;
			if (l->flags & LCF_BLOCKED) {
				l->flags &= ~LCF_BLOCKED;
				pthread_cond_broadcast(&l->cond);
			}
		} else if (need) {
			l->flags |= LCF_BLOCKED;
			lc_queue(l);
			if (l->flags & LCF_FREEING)
				pthread_cond_broadcast(&l->cond); /* wait_idle */
		}
	}
	lc_wake(l);
	pthread_mutex_unlock(&l->mutex);
}

void lc_dlm_unlock_ast(struct lc_lock *l, enum dlm_status status)
{
	pthread_mutex_lock(&l->mutex);
	if (l->unlock_action == LC_UNLOCK_DROP) {
		l->level = DLM_MODE_NONE;
		l->flags &= ~LCF_BUSY;
		l->unlock_action = LC_UNLOCK_NONE;
	} else if (status == DLM_NORMAL && l->unlock_action == LC_UNLOCK_CANCEL) {
		l->action = LC_ACTION_NONE;
		l->flags &= ~(LCF_BUSY | LCF_NONBLOCK_FINISHED);
		l->unlock_action = LC_UNLOCK_NONE;
		if (l->flags & LCF_BLOCKED)
			lc_wake(l);
	}
	/* CANCELGRANT: too late, the AST does the work. */
	pthread_cond_broadcast(&l->cond);
	pthread_mutex_unlock(&l->mutex);
}

/* ---- drop (3.8), lower (3.10) ---------------------------------------------------------- */

static void wait_idle(struct lc_lock *l)
{
	struct lockcache *lc = l->lc;

	while ((l->flags & LCF_BUSY) && !lc_stopped(lc)) {
		/*
		 * A request that nobody waits for any more (NONBLOCK), queued behind a node
		 * that waits for us: the worker leaves a lock alone that is being freed, so
		 * take it back here.
		 */
		if ((l->flags & LCF_BLOCKED) && !(l->flags & LCF_PENDING) &&
		    l->action == LC_ACTION_CONVERT && l->unlock_action == LC_UNLOCK_NONE) {
			l->unlock_action = LC_UNLOCK_CANCEL;
			pthread_mutex_unlock(&l->mutex);
			lc->cfg.dlm->cancel(lc->cfg.dlm_ctx, l);
			pthread_mutex_lock(&l->mutex);
			continue;
		}
		l->waiters++;
		pthread_cond_wait(&l->cond, &l->mutex);
		l->waiters--;
	}
}

void lc_lower(struct lc_lock *l)
{
	struct lockcache *lc = l->lc;

	pthread_mutex_lock(&l->mutex);
	assert(!l->ro && !l->ex && l->type->nocache);
	wait_idle(l);
	if (l->level > DLM_MODE_NL && !lc_stopped(lc)) {
		l->calls++;
		l->action = LC_ACTION_DOWNCONVERT;
		l->requested = DLM_MODE_NL;
		l->flags |= LCF_BUSY | LCF_PENDING;
		pthread_mutex_unlock(&l->mutex);
		lc->cfg.dlm->lock(lc->cfg.dlm_ctx, l, DLM_MODE_NL, 0, NULL);
		pthread_mutex_lock(&l->mutex);
		wait_idle(l);
	}
	pthread_mutex_unlock(&l->mutex);
}

void lc_mark_freeing(struct lc_lock *l)
{
	pthread_mutex_lock(&l->mutex);
	if (!(l->flags & LCF_FREEING)) {
		l->flags |= LCF_FREEING;
		lc_unqueue(l);
	}
	pthread_mutex_unlock(&l->mutex);
}

void lc_drop(struct lc_lock *l)
{
	struct lockcache *lc = l->lc;
	uint32_t flags = 0;

	lc_mark_freeing(l);
	pthread_mutex_lock(&l->mutex);
	assert(!l->ro && !l->ex);
	wait_idle(l);
	if ((l->flags & LCF_ATTACHED) && !lc_stopped(lc)) {
		if (l->type->has_lvb && l->level == DLM_MODE_EX) {
			flags = DLM_LKF_VALBLK;
			if (!(l->flags & LCF_NEEDS_REFRESH) && l->type->stuff_lvb)
				l->type->stuff_lvb(l, l->lvb);
		}
		l->flags |= LCF_BUSY;
		l->unlock_action = LC_UNLOCK_DROP;
		pthread_mutex_unlock(&l->mutex);
		lc->cfg.dlm->unlock(lc->cfg.dlm_ctx, l, flags, l->lvb);
		pthread_mutex_lock(&l->mutex);
		wait_idle(l);
	}
	l->flags &= ~(LCF_ATTACHED | LCF_BUSY);
	l->level = DLM_MODE_NONE;
	pthread_mutex_unlock(&l->mutex);
}
