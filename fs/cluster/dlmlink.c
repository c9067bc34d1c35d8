/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * dlmlink.c: the lock cache's requests on their way to the DLM core, and back.
 *
 * The core lives on the reactor thread. Each lock of the cache has a struct entry here,
 * allocated once, which holds the one request and the one cancellation that can be on
 * the way; posting to the reactor allocates nothing of ours. Callbacks of the core run
 * on the reactor and go straight into the lock cache, which only takes the lock's
 * mutex.
 *
 * Order: what is asked of one lock reaches the core in that order, and nothing is asked
 * while the core has not answered what was asked before: its done(), and for a
 * cancellation the unlock_ast() that says how it ended. So a late cancellation cannot
 * hit the next request.
 *
 * Lifetime: an entry is referenced by its lock, by each post under way, and by the
 * core's handle. When the lock's memory goes (forget), its pointer is cleared under
 * the entry's mutex, which callbacks hold while they are in the lock cache; so none
 * is running then, and none begins. Entries whose handles the core threw away without
 * a word (fence) are freed with the link.
 */
#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include "fs/cluster/clu_int.h"

struct request {
	bool unlock;
	bool has_lvb;
	int mode;
	uint32_t flags;
	uint8_t lvb[DLM_LVB_LEN];
};

struct entry {
	struct dlmlink *link;
	atomic_uint refs;
	struct entry *next, *prev;	/* dlmlink.all */
	uint8_t name[LC_NAME_LEN];

	pthread_mutex_t mutex;		/* down to the blank line */
	struct lc_lock *l;		/* NULL: forgotten */
	bool posted;
	bool wanted;			/* req is to be asked for */
	bool cancel;
	struct request req;

	/* reactor only */
	struct dlm_lock *handle;
	bool running;			/* in run(), which looks again by itself */
	bool open;			/* a call whose done() has not come */
	bool asked;			/* a lock or convert whose ast() is to come */
	bool cancelling;		/* a cancel that has not ended */
	bool refused;			/* dlm_lock: before it returned */
};

struct dlmlink {
	struct net *net;
	struct logger *log;
	struct dlm_domain *dom;
	pthread_mutex_t mutex;
	struct entry *all;
};

static void run(void *arg);

/* ---- entries -------------------------------------------------------------------- */

static void unlink_entry(struct entry *e)
{
	struct dlmlink *k = e->link;

	pthread_mutex_lock(&k->mutex);
	if (e->prev)
		e->prev->next = e->next;
	else
		k->all = e->next;
	if (e->next)
		e->next->prev = e->prev;
	pthread_mutex_unlock(&k->mutex);
}

static void entry_free(struct entry *e)
{
	unlink_entry(e);
	pthread_mutex_destroy(&e->mutex);
	free(e);
}

static void put(struct entry *e)
{
	if (atomic_fetch_sub_explicit(&e->refs, 1, memory_order_acq_rel) == 1)
		entry_free(e);
}

static void hold(struct entry *e)
{
	atomic_fetch_add_explicit(&e->refs, 1, memory_order_relaxed);
}

static struct entry *entry_of(struct dlmlink *k, struct lc_lock *l)
{
	struct entry *e = l->dlm_priv;

	if (e)
		return e;
	e = calloc(1, sizeof(*e));
	if (!e)
		return NULL;
	e->link = k;
	e->l = l;
	atomic_init(&e->refs, 1);
	memcpy(e->name, l->name, LC_NAME_LEN);
	pthread_mutex_init(&e->mutex, NULL);
	pthread_mutex_lock(&k->mutex);
	e->next = k->all;
	if (k->all)
		k->all->prev = e;
	k->all = e;
	pthread_mutex_unlock(&k->mutex);
	l->dlm_priv = e;
	return e;
}

/* e->mutex held. */
static void post(struct entry *e)
{
	if (e->posted)
		return;
	e->posted = true;
	hold(e);
	net_post(e->link->net, run, e);
}

/* ---- from the lock cache ------------------------------------------------------------ */

static void want(struct entry *e, const struct request *req, const uint8_t *lvb)
{
	pthread_mutex_lock(&e->mutex);
	assert(!e->wanted);
	e->wanted = true;
	e->req = *req;
	e->req.has_lvb = lvb != NULL;
	if (lvb)
		memcpy(e->req.lvb, lvb, DLM_LVB_LEN);
	post(e);
	pthread_mutex_unlock(&e->mutex);
}

static void link_lock(void *ctx, struct lc_lock *l, int mode, uint32_t flags, const uint8_t *lvb)
{
	struct entry *e = entry_of(ctx, l);
	struct request req = { .mode = mode, .flags = flags };

	if (e)
		want(e, &req, lvb);
	else
		lc_dlm_done(l, DLM_CALL_LOCK, DLM_SYSERR);
}

static void link_unlock(void *ctx, struct lc_lock *l, uint32_t flags, const uint8_t *lvb)
{
	struct entry *e = entry_of(ctx, l);
	struct request req = { .unlock = true, .flags = flags };

	assert(e); /* it was locked */
	want(e, &req, lvb);
}

static void link_cancel(void *ctx, struct lc_lock *l)
{
	struct entry *e = entry_of(ctx, l);

	assert(e);
	pthread_mutex_lock(&e->mutex);
	e->cancel = true;
	post(e);
	pthread_mutex_unlock(&e->mutex);
}

static void link_forget(void *ctx, struct lc_lock *l)
{
	struct entry *e = l->dlm_priv;

	(void)ctx;
	if (!e)
		return;
	pthread_mutex_lock(&e->mutex);
	e->l = NULL;
	pthread_mutex_unlock(&e->mutex);
	l->dlm_priv = NULL;
	put(e);
}

const struct lc_dlm dlmlink_ops = {
	.lock = link_lock,
	.unlock = link_unlock,
	.cancel = link_cancel,
	.forget = link_forget,
};

/* ---- from the core (reactor) ----------------------------------------------------------- */

/* The core may be asked again: not from within its callback. */
static void go_on(struct entry *e)
{
	if (e->running)
		return;
	pthread_mutex_lock(&e->mutex);
	if (e->wanted || e->cancel)
		post(e);
	pthread_mutex_unlock(&e->mutex);
}

static void handle_gone(struct entry *e)
{
	e->handle = NULL;
	e->refused = true;
	put(e);
}

static void cb_done(void *data, enum dlm_call call, enum dlm_status status)
{
	struct entry *e = data;
	bool refused = status != DLM_NORMAL;

	e->open = false;
	if (refused && (call == DLM_CALL_LOCK || call == DLM_CALL_CONVERT))
		e->asked = false;
	if (refused && call == DLM_CALL_CANCEL)
		e->cancelling = false;
	pthread_mutex_lock(&e->mutex);
	if (e->l)
		lc_dlm_done(e->l, call, status);
	pthread_mutex_unlock(&e->mutex);
	go_on(e);
	if (refused && call == DLM_CALL_LOCK)
		handle_gone(e);
}

static void cb_ast(void *data, const uint8_t *lvb)
{
	struct entry *e = data;

	e->asked = false;
	pthread_mutex_lock(&e->mutex);
	if (e->l)
		lc_dlm_ast(e->l, lvb);
	pthread_mutex_unlock(&e->mutex);
	go_on(e);
}

static void cb_bast(void *data, int mode)
{
	struct entry *e = data;

	pthread_mutex_lock(&e->mutex);
	if (e->l)
		lc_dlm_bast(e->l, mode);
	pthread_mutex_unlock(&e->mutex);
}

static void cb_unlock_ast(void *data, enum dlm_status status)
{
	struct entry *e = data;
	bool cancel = e->cancelling;

	e->cancelling = false;
	if (cancel && status == DLM_NORMAL)
		e->asked = false;
	pthread_mutex_lock(&e->mutex);
	if (e->l)
		lc_dlm_unlock_ast(e->l, status);
	pthread_mutex_unlock(&e->mutex);
	go_on(e);
	if (!cancel)
		handle_gone(e);
}

static const struct dlm_lock_ops lock_ops = {
	.done = cb_done,
	.ast = cb_ast,
	.bast = cb_bast,
	.unlock_ast = cb_unlock_ast,
};

/* ---- to the core (reactor) ------------------------------------------------------------- */

static void ask_lock(struct entry *e, int mode, uint32_t flags)
{
	struct dlm_lock *handle = NULL;
	int err;

	hold(e); /* the handle's */
	e->refused = false;
	err = dlm_lock(e->link->dom, e->name, LC_NAME_LEN, mode, flags, &lock_ops, e, &handle);
	if (err) {
		log_err(e->link->log, "lock", "the lock manager cannot make a lock errno=%d", -err);
		cb_done(e, DLM_CALL_LOCK, DLM_SYSERR);
	} else if (!e->refused) {
		e->handle = handle;
	}
}

static void ask(struct entry *e, const struct request *req)
{
	const uint8_t *lvb = req->has_lvb ? req->lvb : NULL;

	e->open = true;
	e->asked = !req->unlock;
	if (req->unlock)
		dlm_unlock(e->handle, req->flags, lvb);
	else if (e->handle)
		dlm_convert(e->handle, req->mode, req->flags, lvb);
	else
		ask_lock(e, req->mode, req->flags);
}

/* One thing for the core, if it may be asked now. false: nothing more to do. */
static bool step(struct entry *e)
{
	struct request req;
	bool cancel = false, request = false;

	pthread_mutex_lock(&e->mutex);
	if (!e->open && !e->cancelling && e->l) {
		/* A cancellation came before the request that may wait behind it; if what
		 * it was about has ended, there is nothing to cancel. */
		cancel = e->cancel && e->asked;
		e->cancel = false;
		if (!cancel && e->wanted) {
			request = true;
			e->wanted = false;
			req = e->req;
		}
	}
	pthread_mutex_unlock(&e->mutex);
	if (cancel) {
		e->open = e->cancelling = true;
		dlm_cancel(e->handle);
	} else if (request) {
		ask(e, &req);
	}
	return cancel || request;
}

static void run(void *arg)
{
	struct entry *e = arg;

	pthread_mutex_lock(&e->mutex);
	e->posted = false;
	pthread_mutex_unlock(&e->mutex);
	e->running = true;
	while (step(e))
		;
	e->running = false;
	put(e);
}

/* ---- the link ------------------------------------------------------------------------------ */

struct dlmlink *dlmlink_new(struct net *net, struct logger *log)
{
	struct dlmlink *k = calloc(1, sizeof(*k));

	if (!k)
		return NULL;
	k->net = net;
	k->log = log;
	pthread_mutex_init(&k->mutex, NULL);
	return k;
}

void dlmlink_set_domain(struct dlmlink *k, struct dlm_domain *dom)
{
	k->dom = dom;
}

struct barrier {
	pthread_mutex_t mutex;
	pthread_cond_t cond;
	bool passed;
};

static void pass(void *arg)
{
	struct barrier *b = arg;

	pthread_mutex_lock(&b->mutex);
	b->passed = true;
	pthread_cond_signal(&b->cond);
	pthread_mutex_unlock(&b->mutex);
}

void dlmlink_free(struct dlmlink *k)
{
	struct barrier b = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false };

	if (!k)
		return;
	/* Posts run in order: after this one, none of ours is left. */
	net_post(k->net, pass, &b);
	pthread_mutex_lock(&b.mutex);
	while (!b.passed)
		pthread_cond_wait(&b.cond, &b.mutex);
	pthread_mutex_unlock(&b.mutex);
	while (k->all)
		entry_free(k->all);
	pthread_mutex_destroy(&k->mutex);
	free(k);
}
