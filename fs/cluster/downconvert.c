/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * downconvert.c: workers that give locks back (doc/spec/fs-locking.md 3.6; the rows
 * named below are its).
 *
 * A lock that another node waits for is on one of two lists: active, to be looked at,
 * or parked, "requeued" until something about it changes. Every change wakes just that
 * lock (lc_wake) or, after a checkpoint, all (lc_kick), so nobody polls. A lock is
 * looked at by one worker at a time: taken off the list it is RUNNING, and who wakes it
 * then marks it AGAIN instead of putting it on a list. QUEUED stays set from the BAST
 * until the worker has finished with it, and lc_unqueue waits for that: so the object
 * cannot go away under a worker.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include "fs/cluster/lc_int.h"

enum { RETRY_MS = 20 };

static void list_append(struct lc_list *list, struct lc_lock *l)
{
	l->queue_next = NULL;
	l->queue_prev = list->tail;
	if (list->tail)
		list->tail->queue_next = l;
	else
		list->head = l;
	list->tail = l;
	list->count++;
}

static void list_remove(struct lc_list *list, struct lc_lock *l)
{
	if (l->queue_prev)
		l->queue_prev->queue_next = l->queue_next;
	else
		list->head = l->queue_next;
	if (l->queue_next)
		l->queue_next->queue_prev = l->queue_prev;
	else
		list->tail = l->queue_prev;
	l->queue_next = l->queue_prev = NULL;
	list->count--;
}

/* q_mutex held. */
static void to_active(struct lockcache *lc, struct lc_lock *l)
{
	l->place = LC_AT_ACTIVE;
	list_append(&lc->active, l);
	pthread_cond_signal(&lc->q_cond);
}

static void wake_locked(struct lockcache *lc, struct lc_lock *l)
{
	if (l->place == LC_AT_PARKED) {
		list_remove(&lc->parked, l);
		to_active(lc, l);
	} else if (l->place == LC_AT_RUNNING) {
		l->place = LC_AT_AGAIN;
	}
}

void lc_wake(struct lc_lock *l)
{
	if (!(l->flags & LCF_QUEUED))
		return;
	pthread_mutex_lock(&l->lc->q_mutex);
	wake_locked(l->lc, l);
	pthread_mutex_unlock(&l->lc->q_mutex);
}

void lc_queue(struct lc_lock *l)
{
	struct lockcache *lc = l->lc;

	if (l->flags & LCF_FREEING)
		return;
	l->flags |= LCF_QUEUED;
	pthread_mutex_lock(&lc->q_mutex);
	if (l->place == LC_AT_NONE)
		to_active(lc, l);
	else
		wake_locked(lc, l);
	pthread_mutex_unlock(&lc->q_mutex);
}

void lc_park(struct lc_lock *l)
{
	struct lockcache *lc = l->lc;

	l->flags |= LCF_QUEUED;
	pthread_mutex_lock(&lc->q_mutex);
	if (l->place == LC_AT_NONE) {
		l->place = LC_AT_PARKED;
		list_append(&lc->parked, l);
	} else {
		wake_locked(lc, l);
	}
	pthread_mutex_unlock(&lc->q_mutex);
	lc_retry_later(lc);
}

static void wake_all(struct lockcache *lc)
{
	while (lc->parked.head)
		wake_locked(lc, lc->parked.head);
}

void lc_kick(struct lockcache *lc)
{
	pthread_mutex_lock(&lc->q_mutex);
	wake_all(lc);
	pthread_mutex_unlock(&lc->q_mutex);
}

void lc_retry_later(struct lockcache *lc)
{
	pthread_mutex_lock(&lc->q_mutex);
	if (!lc->retry) {
		lc->retry = true;
		lc->retry_at = lc_after_ms(RETRY_MS);
		pthread_cond_broadcast(&lc->q_cond);
	}
	pthread_mutex_unlock(&lc->q_mutex);
}

void lc_unqueue(struct lc_lock *l)
{
	struct lockcache *lc = l->lc;

	pthread_mutex_lock(&lc->q_mutex);
	if (l->place == LC_AT_ACTIVE || l->place == LC_AT_PARKED) {
		list_remove(l->place == LC_AT_ACTIVE ? &lc->active : &lc->parked, l);
		l->place = LC_AT_NONE;
		l->flags &= ~LCF_QUEUED;
	}
	pthread_mutex_unlock(&lc->q_mutex);
	while (l->flags & LCF_QUEUED) {
		l->waiters++;
		pthread_cond_wait(&l->cond, &l->mutex);
		l->waiters--;
	}
}

/* ---- one lock ------------------------------------------------------------------ */

enum verdict { DONE, SENT, REQUEUE, RETRY, STOP };

/* Rows 1 to 10. true: go on with row 11; else *v is the answer. */
static bool may_go_down(struct lc_lock *l, enum verdict *v, bool *cancel, bool *not_ready)
{
	*v = REQUEUE;
	if ((l->flags & LCF_FREEING) || !(l->flags & LCF_BLOCKED) || lc_stopped(l->lc)) {
		*v = DONE;
		return false;
	}
	if (l->flags & LCF_BUSY) {
		if ((l->flags & LCF_PENDING) || l->unlock_action == LC_UNLOCK_CANCEL ||
		    l->action == LC_ACTION_ATTACH)
			return false;
		if (l->action == LC_ACTION_DOWNCONVERT && l->requested <= lc_compat(l->blocking))
			*v = DONE; /* on its way, and low enough: the AST clears BLOCKED */
		else
			*cancel = true;
		return false;
	}
	if (l->flags & LCF_FINISHING)
		return false;
	if (l->level <= lc_compat(l->blocking)) {
		l->blocking = DLM_MODE_NL;
		l->flags &= ~LCF_BLOCKED;
		pthread_cond_broadcast(&l->cond);
		*v = DONE;
		return false;
	}
	if (l->ex || (l->blocking == DLM_MODE_EX && l->ro))
		return false;
	if (l->type->refreshes && (l->flags & LCF_REFRESHING))
		return false;
	if (l->type->may_downconvert && !l->type->may_downconvert(l, lc_compat(l->blocking))) {
		*not_ready = true;
		return false;
	}
	return true;
}

/* Row 12. The mutex is released around the call. */
static void go_down(struct lc_lock *l)
{
	struct lockcache *lc = l->lc;
	uint32_t flags = 0;
	int level = lc_compat(l->blocking);

	if (l->type->has_lvb && l->level == DLM_MODE_EX) {
		flags = DLM_LKF_VALBLK;
		if (!(l->flags & LCF_NEEDS_REFRESH) && l->type->stuff_lvb)
			l->type->stuff_lvb(l, l->lvb);
	}
	l->calls++;
	l->action = LC_ACTION_DOWNCONVERT;
	l->requested = level;
	l->flags |= LCF_BUSY | LCF_PENDING;
	pthread_mutex_unlock(&l->mutex);
	lc->cfg.dlm->lock(lc->cfg.dlm_ctx, l, level, flags, l->lvb);
	pthread_mutex_lock(&l->mutex);
}

static enum verdict look(struct lc_lock *l)
{
	int blocking = DLM_MODE_NONE, level = DLM_MODE_NONE; /* row 11 was done for these */
	bool cancel = false, not_ready = false, tried = false;
	enum verdict v;

	for (;;) {
		if (!may_go_down(l, &v, &cancel, &not_ready)) {
			if (cancel) {
				l->unlock_action = LC_UNLOCK_CANCEL;
				pthread_mutex_unlock(&l->mutex);
				l->lc->cfg.dlm->cancel(l->lc->cfg.dlm_ctx, l);
				pthread_mutex_lock(&l->mutex);
			}
			if (!not_ready)
				return v;
			if (tried || !l->type->make_ready)
				return RETRY;
			tried = true;
			not_ready = false;
			pthread_mutex_unlock(&l->mutex);
			l->type->make_ready(l);
			pthread_mutex_lock(&l->mutex);
			continue;
		}
		if (!l->type->before_downconvert || (blocking == l->blocking && level == l->level))
			break;
		blocking = l->blocking;
		level = l->level;
		tried = false;
		pthread_mutex_unlock(&l->mutex);
		if (l->type->before_downconvert(l, blocking, level) == LC_WORK_STOP) {
			pthread_mutex_lock(&l->mutex);
			return STOP;
		}
		pthread_mutex_lock(&l->mutex);
	}
	go_down(l);
	return SENT;
}

/* Where l goes after it was looked at. true: it is off the lists. */
static bool place_after(struct lockcache *lc, struct lc_lock *l, enum verdict v)
{
	bool again, off = true;

	pthread_mutex_lock(&lc->q_mutex);
	again = l->place == LC_AT_AGAIN;
	l->place = LC_AT_NONE;
	if (!(l->flags & LCF_FREEING) && !lc_stopped(lc) && v != STOP) {
		if (again && (l->flags & LCF_BLOCKED)) {
			to_active(lc, l);
			off = false;
		} else if (v == REQUEUE || v == RETRY) {
			l->place = LC_AT_PARKED;
			list_append(&lc->parked, l);
			off = false;
		}
	}
	pthread_mutex_unlock(&lc->q_mutex);
	return off;
}

/* l is RUNNING; it may be gone when this returns. */
static void process(struct lockcache *lc, struct lc_lock *l)
{
	const struct lc_type *type = l->type;
	enum verdict v;

	pthread_mutex_lock(&l->mutex);
	v = look(l);
	if (v == SENT && type->after_downconvert) {
		pthread_mutex_unlock(&l->mutex);
		type->after_downconvert(l, LC_WORK_GO);
		pthread_mutex_lock(&l->mutex);
	}
	if (place_after(lc, l, v)) {
		l->flags &= ~LCF_QUEUED;
		pthread_cond_broadcast(&l->cond);
	}
	pthread_mutex_unlock(&l->mutex);
	if (v == RETRY)
		lc_retry_later(lc);
	if (v == STOP && type->after_downconvert)
		type->after_downconvert(l, LC_WORK_STOP);
}

static struct lc_lock *take_active(struct lockcache *lc)
{
	struct lc_lock *l = lc->active.head;

	if (l) {
		list_remove(&lc->active, l);
		l->place = LC_AT_RUNNING;
	}
	return l;
}

unsigned lc_downconvert_pass(struct lockcache *lc)
{
	struct lc_lock *l;
	unsigned n, todo;

	pthread_mutex_lock(&lc->q_mutex);
	todo = lc->active.count;
	for (n = 0; n < todo && (l = take_active(lc)); n++) {
		pthread_mutex_unlock(&lc->q_mutex);
		process(lc, l);
		pthread_mutex_lock(&lc->q_mutex);
	}
	pthread_mutex_unlock(&lc->q_mutex);
	return n;
}

/* ---- threads -------------------------------------------------------------------- */

static void *worker(void *arg)
{
	struct lockcache *lc = arg;
	struct lc_lock *l;

	pthread_mutex_lock(&lc->q_mutex);
	while (!lc->quit) {
		l = take_active(lc);
		if (l) {
			pthread_mutex_unlock(&lc->q_mutex);
			process(lc, l);
			pthread_mutex_lock(&lc->q_mutex);
		} else if (!lc->retry) {
			pthread_cond_wait(&lc->q_cond, &lc->q_mutex);
		} else if (pthread_cond_timedwait(&lc->q_cond, &lc->q_mutex, &lc->retry_at) ==
			   ETIMEDOUT) {
			lc->retry = false;
			wake_all(lc);
		}
	}
	pthread_mutex_unlock(&lc->q_mutex);
	return NULL;
}

int lc_workers_start(struct lockcache *lc)
{
	if (!lc->cfg.workers)
		return 0;
	lc->threads = calloc(lc->cfg.workers, sizeof(*lc->threads));
	if (!lc->threads)
		return -ENOMEM;
	for (; lc->started < lc->cfg.workers; lc->started++) {
		int err = pthread_create(&lc->threads[lc->started], NULL, worker, lc);

		if (err)
			return -err;
	}
	return 0;
}

void lc_workers_stop(struct lockcache *lc)
{
	pthread_mutex_lock(&lc->q_mutex);
	lc->quit = true;
	pthread_cond_broadcast(&lc->q_cond);
	pthread_mutex_unlock(&lc->q_mutex);
	for (unsigned i = 0; i < lc->started; i++)
		pthread_join(lc->threads[i], NULL);
	free(lc->threads);
}
