/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * migrate.c: hand a resource over when its owner leaves (dlm.md 3.9, 3.10, 8).
 *
 *	old owner O		target T		another member X
 *	MIGRATING, drain
 *	MIG_LOCKRES ----------> owner = T, MIGRATING
 *				MIGRATE_REQUEST ------> MIGRATING, entry {O, T}
 *				ASSERT FINISH --------> owner = T, go on
 *	owner = T, go on <----- ASSERT FINISH
 *				go on
 *
 * Why it is right: from the moment O sends, no queue of the resource changes anywhere (each
 * of the three answers MIGRATING), and nothing O sent is open. O is told last, so while any
 * request may still reach O, O still answers MIGRATING.
 */
#include "dlm/dlm_int.h"

#define RETRY_MS 200
#define REFUSED_MS 1000
#define AT_ONCE 64

/* ---- the old owner ------------------------------------------------------------------ */

static void mig_free(struct dlm_mig *mig)
{
	struct dlm_domain *dom = mig->res->dom;

	if (mig->phase <= MIG_WAIT)
		dom->migrating--;
	dlm_sends_forget(dom->dlm, mig);
	dlm_tm_clear(dom, &mig->retry_tm);
	mig->res->mig = NULL;
	free(mig);
}

void dlm_migrate_drop(struct dlm_res *res)
{
	if (res->mig)
		mig_free(res->mig);
}

static void drop_entry(struct dlm_res *res)
{
	struct dlm_mle *mle = dlm_mle_find(res->dom, &res->name);

	if (mle && mle->type == DLM_MLE_MIGRATION)
		dlm_mle_free(mle);
}

/* Stays here; the next pass may try again. */
static void undo(struct dlm_res *res)
{
	drop_entry(res);
	mig_free(res->mig);
	dlm_res_clear(res, DLM_RES_MIGRATING);
}

/* A lock of this node keeps it; else where it is wanted most, as the kernel chooses. */
static node_t target_of(struct dlm_res *res)
{
	struct dlm_domain *dom = res->dom;
	struct dlm_map stay = dlm_map_minus(&dom->members, &dom->exiting);
	node_t target = NODE_NONE;
	struct dlm_lock *lock;

	for (int list = 0; list < 3; list++) {
		dlm_res_for_each_lock(lock, res, list) {
			if (dlm_is_self(dom, lock->node))
				return NODE_NONE;
			if (target == NODE_NONE && dlm_map_test(&stay, lock->node))
				target = lock->node;
		}
	}
	if (target != NODE_NONE)
		return target;
	dlm_map_for_each(n, dlm_refs(res))
		if (dlm_map_test(&stay, n) && !dlm_is_self(dom, n))
			return n;
	return NODE_NONE;
}

static void start(struct dlm_res *res)
{
	struct dlm_domain *dom = res->dom;
	node_t target = target_of(res);
	struct dlm_mle *mle = dlm_mle_find(dom, &res->name);
	struct dlm_mig *mig;

	if (target == NODE_NONE || (mle && mle->type == DLM_MLE_MIGRATION))
		return;
	if (mle)
		dlm_mle_conclude(mle, dom->dlm->self);
	mle = dlm_mle_new(dom, &res->name, DLM_MLE_MIGRATION);
	mle->master = dom->dlm->self;
	mle->new_master = target;
	mig = dlm_xalloc(dom->dlm, sizeof(*mig));
	mig->res = res;
	mig->phase = MIG_DRAIN;
	mig->old = dom->dlm->self;
	mig->target = target;
	res->mig = mig;
	dom->migrating++;
	dlm_shuffle(res);
	dlm_res_set(res, DLM_RES_MIGRATING);
	dlm_res_dirty(res); /* deliver, then dlm_migrate_step() */
}

/* In batches: each walks the table from its head. */
static void start_some(struct dlm_domain *dom)
{
	struct dlm_res *res;

	if (dom->migrating > AT_ONCE / 2)
		return;
	cds_list_for_each_entry(res, &dom->all, all) {
		if (dom->migrating == AT_ONCE)
			break;
		if (dlm_is_self(dom, res->owner) && !res->mig &&
		    !(res->state & (DLM_RES_LOCAL_WAIT | DLM_RES_DROPPING_REF)))
			start(res);
	}
}

bool dlm_leave_pass(struct dlm_domain *dom)
{
	dom->leave_begun = true;
	start_some(dom);
	dlm_purge_run(dom);
	if (!cds_list_empty(&dom->all) || dom->reco.active || dom->reco.send || dom->reco.lock)
		return false;
	dom->migrate_done = true;
	return true;
}

static void mig_retry(void *arg);
static void mig_sent(void *arg, node_t node, int err, int32_t status);

static void add_lock(struct dlm_wire_mig *m, const struct dlm_lock *lock)
{
	m->locks[m->num_locks++] = (struct dlm_wire_mig_lock){
		.cookie = lock->cookie,
		.list = lock->list,
		.flags = lock->lksb,
		.mode = lock->mode,
		.convert_mode = lock->convert,
		.node = lock->node,
	};
}

static void send_locks(struct dlm_mig *mig)
{
	struct dlm_res *res = mig->res;
	struct dlm_domain *dom = res->dom;
	struct dlm_wire_mig *m = dlm_xalloc(dom->dlm, sizeof(*m));
	uint8_t buf[DLM_MAX_PAYLOAD];
	struct dlm_lock *lock;
	uint32_t at = 0;

	m->master = dom->dlm->self;
	m->flags = DLM_MRES_MIGRATION;
	m->total_locks = mig->total;
	m->mig_cookie = mig->cookie;
	m->name = res->name;
	for (int list = 0; list < 3; list++) {
		dlm_res_for_each_lock(lock, res, list)
			if (at++ >= mig->sent && m->num_locks < DLM_MIG_LOCKS_MAX)
				add_lock(m, lock);
	}
	mig->batch = m->num_locks;
	dlm_lvb_to_migrate(res, m, m->lvb);
	if (!mig->total)
		m->locks[m->num_locks++] = dlm_wire_mig_dummy(dom->dlm->self);
	if (mig->sent + mig->batch == mig->total)
		m->flags |= DLM_MRES_ALL_DONE;
	mig->phase = MIG_SEND;
	dlm_send(dom, mig->target, DLM_MIG_LOCKRES_MSG, buf, dlm_put_mig(m, buf, sizeof(buf)),
		 mig_sent, mig);
	free(m);
}

void dlm_migrate_step(struct dlm_res *res)
{
	struct dlm_mig *mig = res->mig;

	if (!mig || mig->phase != MIG_DRAIN || res->open || res->assert ||
	    !cds_list_empty(&res->deliver))
		return;
	mig->total = 0;
	for (int list = 0; list < 3; list++) {
		struct dlm_lock *lock;

		dlm_res_for_each_lock(lock, res, list)
			mig->total++;
	}
	mig->sent = 0;
	if (mig->total > DLM_MIG_LOCKS_MAX)
		mig->cookie = ++res->dom->dlm->mig_cookie_seq;
	dlm_tm_init(&mig->retry_tm, mig_retry, mig);
	send_locks(mig);
}

static void mig_sent(void *arg, node_t node, int err, int32_t status)
{
	struct dlm_mig *mig = arg;
	struct dlm_res *res = mig->res;

	if (err && !dlm_peer_gone(res->dom, node, err)) {
		dlm_tm_set(res->dom, &mig->retry_tm, RETRY_MS);
	} else if (err || status < 0) {
		log_debug(res->dom->dlm->log, "dlm", "migration refused node=%u err=%d status=%d",
			  node, err, status);
		undo(res);
	} else {
		mig->sent += mig->batch;
		if (mig->sent < mig->total)
			send_locks(mig);
		else
			mig->phase = MIG_WAIT;
	}
}

/* MIG_LOCKRES must not be sent twice; so ask the target whom it takes for the owner. */
static void mig_asked(void *arg, node_t node, int err, int32_t status)
{
	struct dlm_mig *mig = arg;
	struct dlm_res *res = mig->res;
	bool last = mig->sent + mig->batch == mig->total;

	if (err && dlm_peer_gone(res->dom, node, err)) {
		undo(res);
	} else if (err || status < 0) {
		dlm_tm_set(res->dom, &mig->retry_tm, RETRY_MS);
	} else if (status == mig->target) {
		if (last)
			mig->phase = MIG_WAIT; /* it has all, its ASSERT will come */
		else
			send_locks(mig); /* locks that it knows it ignores */
	} else {
		mig->sent = 0;
		send_locks(mig);
	}
}

static void mig_retry(void *arg)
{
	struct dlm_mig *mig = arg;
	struct dlm_wire_ref m = { .node = mig->old, .name = mig->res->name };
	uint8_t buf[128];

	dlm_send(mig->res->dom, mig->target, DLM_MASTER_REQUERY_MSG, buf,
		 dlm_put_requery(&m, buf, sizeof(buf)), mig_asked, mig);
}

void dlm_res_drop_foreign(struct dlm_res *res)
{
	struct dlm_lock *lock, *next;

	for (int list = 0; list < 3; list++)
		cds_list_for_each_entry_safe(lock, next, &res->queue[list], q)
			if (!dlm_is_self(res->dom, lock->node))
				dlm_lock_free(lock);
}

void dlm_migrate_finished(struct dlm_res *res)
{
	if (!res->mig)
		return; /* we are X */
	mig_free(res->mig);
	dlm_res_drop_foreign(res);
	memset(res->lvb, 0, DLM_LVB_LEN);
	res->dom->stats.migrations++;
	res->dom->kick = true;
	dlm_res_dirty(res);
}

/* ---- the target ------------------------------------------------------------------------- */

static void told_old(struct dlm_res *res, bool lost)
{
	(void)lost;
	mig_free(res->mig);
	res->dom->stats.migrations++;
	dlm_handover_settle(res);
	dlm_res_clear(res, DLM_RES_MIGRATING);
}

static void told_others(struct dlm_res *res, bool lost)
{
	struct dlm_map old = { 0 };

	(void)lost;
	dlm_map_set(&old, res->mig->old);
	res->mig->phase = MIG_LAST;
	dlm_assert_start(res, &old, DLM_ASSERT_FINISH_MIGRATION, told_old);
}

static void tell_over(struct dlm_mig *mig)
{
	if (!dlm_map_empty(&mig->open) || !dlm_map_empty(&mig->retry))
		return;
	mig->phase = MIG_ASSERT;
	dlm_assert_start(mig->res, &mig->reached, DLM_ASSERT_FINISH_MIGRATION, told_others);
}

static void told(void *arg, node_t node, int err, int32_t status);

static void tell(struct dlm_mig *mig, node_t node)
{
	struct dlm_wire_migrate m = { .master = mig->old, .new_master = mig->target,
				      .name = mig->res->name };
	uint8_t buf[128];

	dlm_map_set(&mig->open, node);
	dlm_send(mig->res->dom, node, DLM_MIGRATE_REQUEST_MSG, buf,
		 dlm_put_migrate(&m, buf, sizeof(buf)), told, mig);
}

static void tell_later(struct dlm_mig *mig, node_t node, uint32_t ms)
{
	dlm_map_set(&mig->retry, node);
	if (!mig->retry_tm.id)
		dlm_tm_set(mig->res->dom, &mig->retry_tm, ms);
}

static void told(void *arg, node_t node, int err, int32_t status)
{
	struct dlm_mig *mig = arg;
	struct dlm_res *res = mig->res;

	dlm_map_clear(&mig->open, node);
	if (err && !dlm_peer_gone(res->dom, node, err)) {
		tell_later(mig, node, RETRY_MS);
	} else if (!err) {
		if (status < 0)
			log_warn(res->dom->dlm->log, "dlm",
				 "migrate request refused node=%u status=%d", node, status);
		if (status == 1)
			dlm_ref_set(res, node);
		dlm_map_set(&mig->reached, node);
	}
	tell_over(mig);
}

/*
 * The outcome of a MIGRATE_REQUEST is open, and a kernel node must not get it twice. First
 * ask whom it takes for the owner: if it knows no such resource or the new owner, go on. If
 * the old one, a MASTER_REQUEST tells: ERROR, it is waiting for us; else it has heard of
 * nothing and is told now.
 */
static void probe_request(void *arg, node_t node, int err, int32_t status)
{
	struct dlm_mig *mig = arg;

	dlm_map_clear(&mig->open, node);
	if (err && !dlm_peer_gone(mig->res->dom, node, err))
		tell_later(mig, node, RETRY_MS);
	else if (!err && status == DLM_MASTER_ERROR)
		dlm_map_set(&mig->reached, node);
	else if (!err)
		tell(mig, node);
	tell_over(mig);
}

static void probe_owner(void *arg, node_t node, int err, int32_t status)
{
	struct dlm_mig *mig = arg;
	struct dlm_domain *dom = mig->res->dom;
	struct dlm_wire_master m = { .node = dom->dlm->self, .name = mig->res->name };
	uint8_t buf[128];

	dlm_map_clear(&mig->open, node);
	if (err && !dlm_peer_gone(dom, node, err)) {
		tell_later(mig, node, RETRY_MS);
	} else if (!err && status == mig->old) {
		dlm_map_set(&mig->open, node);
		dlm_send(dom, node, DLM_MASTER_REQUEST_MSG, buf,
			 dlm_put_master(&m, buf, sizeof(buf)), probe_request, mig);
	} else if (!err) {
		dlm_map_set(&mig->reached, node);
	}
	tell_over(mig);
}

static void tell_retry(void *arg)
{
	struct dlm_mig *mig = arg;
	struct dlm_domain *dom = mig->res->dom;
	struct dlm_wire_ref m = { .node = dom->dlm->self, .name = mig->res->name };
	struct dlm_map again = mig->retry;
	uint8_t buf[128];

	mig->retry = (struct dlm_map){ 0 };
	dlm_map_for_each(n, &again) {
		dlm_map_set(&mig->open, n);
		dlm_send(dom, n, DLM_MASTER_REQUERY_MSG, buf,
			 dlm_put_requery(&m, buf, sizeof(buf)), probe_owner, mig);
	}
}

static void tell_all(struct dlm_mig *mig)
{
	struct dlm_domain *dom = mig->res->dom;

	mig->phase = MIG_TELL;
	dlm_ref_set(mig->res, mig->old);
	dlm_tm_init(&mig->retry_tm, tell_retry, mig);
	dlm_map_for_each(n, &dom->members)
		if (n != mig->old && !dlm_is_self(dom, n))
			tell(mig, n);
	tell_over(mig);
}

static void take_lock(struct dlm_res *res, const struct dlm_wire_mig_lock *l, const uint8_t *lvb)
{
	struct dlm_domain *dom = res->dom;
	struct dlm_lock *lock = dlm_lock_find(res, l->node, l->cookie);

	if (dlm_is_self(dom, l->node)) {
		dlm_handover_seen(lock, l->list);
		if (lock->list == l->list) /* the old owner's order; nothing else of it changes */
			dlm_lock_move(lock, res, l->list);
	} else if (!lock) {
		lock = dlm_lock_new(dom->dlm, l->node, l->cookie, l->mode);
		lock->convert = l->convert_mode;
		lock->lksb = l->flags & (DLM_LKSB_PUT_LVB | DLM_LKSB_GET_LVB);
		dlm_lock_move(lock, res, l->list);
		dlm_ref_set(res, l->node);
	}
	dlm_lvb_from_migrate(res, l, lvb);
}

/* Everything that could be wrong with it, before anything changes. */
static int refuse(struct dlm_domain *dom, node_t from, const struct dlm_wire_mig *m,
		  struct dlm_res *res)
{
	if (m->master != from)
		return -EINVAL; /* a false sender */
	if (dom->state != DLM_DOM_JOINED)
		return -EINVAL;
	if (res && (res->state & (DLM_RES_DROPPING_REF | DLM_RES_RECOVERING)))
		return -EINVAL;
	if (res && dlm_is_self(dom, res->owner) && (!res->mig || res->mig->old != from))
		return -EINVAL;
	if (res && res->owner != NODE_NONE && !dlm_is_self(dom, res->owner) && res->owner != from)
		return -EINVAL;
	for (unsigned int i = 0; i < m->num_locks; i++) {
		const struct dlm_wire_mig_lock *l = &m->locks[i];

		if (dlm_wire_mig_is_dummy(l))
			continue;
		if (!dlm_map_test(&dom->members, l->node))
			return -EINVAL;
		if (dlm_is_self(dom, l->node) && (!res || !dlm_lock_find(res, l->node, l->cookie)))
			return -EINVAL;
	}
	return 0;
}

/* First message of a resource: it is ours from now on, and waits. */
static struct dlm_res *receive(struct dlm_domain *dom, node_t from, const struct dlm_name *name,
			       struct dlm_res *res)
{
	struct dlm_mle *mle = res && res->mle ? res->mle : dlm_mle_find(dom, name);
	struct dlm_mig *mig;

	if (!res)
		res = dlm_res_new(dom, name);
	if (!res)
		return NULL;
	mig = dlm_xalloc(dom->dlm, sizeof(*mig));
	mig->res = res;
	mig->phase = MIG_RECV;
	mig->old = from;
	mig->target = dom->dlm->self;
	res->mig = mig;
	dlm_handover_begin(res);
	dlm_res_set(res, DLM_RES_MIGRATING);
	memset(res->lvb, 0, DLM_LVB_LEN);
	dlm_res_set_owner(res, dom->dlm->self);
	if (mle && mle->res)
		dlm_mle_finish(mle); /* we wanted it, and have it */
	else if (mle)
		dlm_mle_free(mle);
	res->state &= (uint16_t)~DLM_RES_IN_PROGRESS;
	dlm_res_usage(res); /* it may have been about to go */
	return res;
}

struct dlm_reply dlm_mig_handler(struct dlm_domain *dom, node_t from,
				 const struct dlm_wire_mig *m)
{
	struct dlm_res *res = dlm_res_find(dom, &m->name);
	int err;

	if (m->flags & DLM_MRES_RECOVERY)
		return dlm_reco_data_handler(dom, from, m);
	err = refuse(dom, from, m, res);
	if (err)
		return dlm_reply_status(err);
	if (!res || !res->mig)
		res = receive(dom, from, &m->name, res);
	if (!res)
		return dlm_reply_status(-EINVAL);
	if (res->mig->phase != MIG_RECV)
		return dlm_reply_status(0); /* we have it already */
	for (unsigned int i = 0; i < m->num_locks; i++) {
		if (dlm_wire_mig_is_dummy(&m->locks[i]))
			dlm_ref_set(res, m->locks[i].node);
		else
			take_lock(res, &m->locks[i], m->lvb);
	}
	dlm_ref_clear(res, dom->dlm->self);
	if (m->flags & DLM_MRES_ALL_DONE) {
		dlm_handover_listed(res);
		tell_all(res->mig);
	}
	return dlm_reply_status(0);
}

/* ---- another member ------------------------------------------------------------------------ */

struct dlm_reply dlm_migrate_handler(struct dlm_domain *dom, node_t from,
				     const struct dlm_wire_migrate *m)
{
	struct dlm_res *res = dlm_res_visible(dom, &m->name);
	struct dlm_mle *mle = dlm_mle_find(dom, &m->name);
	int32_t status = 0;

	if (m->new_master != from || m->master == from)
		return dlm_reply_status(-EINVAL);
	if (mle && mle->type == DLM_MLE_MIGRATION) {
		if (mle->master == m->master && mle->new_master == from &&
		    !dlm_is_self(dom, m->master))
			return dlm_reply_status(0); /* a repetition */
		return dlm_reply_status(dlm_is_self(dom, m->master) ? -EEXIST : -EINVAL);
	}
	if (res && ((res->state & DLM_RES_RECOVERING) || dlm_is_self(dom, res->owner)))
		return dlm_reply_status(-EINVAL);
	if (res)
		res->state |= DLM_RES_MIGRATING;
	if (mle) {
		status = mle->type == DLM_MLE_MASTER;
		dlm_mle_conclude(mle, m->master);
	}
	mle = dlm_mle_new(dom, &m->name, DLM_MLE_MIGRATION);
	mle->master = m->master;
	mle->new_master = from;
	dlm_map_set(&mle->maybe, from);
	if (res)
		dlm_res_usage(res);
	return dlm_reply_status(status);
}

/* ---- deaths (8.5) -------------------------------------------------------------------------- */

bool dlm_migrate_node_gone(struct dlm_res *res, node_t node, bool died)
{
	struct dlm_mig *mig = res->mig;

	if (!mig)
		return true;
	if (mig->phase <= MIG_WAIT) {
		bool told = mig->phase >= MIG_SEND;

		if (mig->target != node)
			return true;
		undo(res);
		/* It may have told others that it is the owner. Who has not noticed its death
		 * refuses, and is told again; a REQUERY would be ignored there. */
		if (told && died)
			dlm_assert_all(res, DLM_ASSERT_MLE_CLEANUP);
		return true;
	}
	if (mig->phase == MIG_RECV && mig->old == node && died) {
		mig_free(mig); /* half of it is worse than none */
		dlm_res_drop_foreign(res);
		memset(res->lvb, 0, DLM_LVB_LEN);
		res->state &= (uint16_t)~DLM_RES_MIGRATING;
		dlm_res_set_owner(res, NODE_NONE);
		return false;
	}
	dlm_map_clear(&mig->reached, node);
	dlm_map_clear(&mig->retry, node);
	if (mig->phase == MIG_TELL)
		tell_over(mig);
	return true;
}
