/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * lock.c: new locks (dlm.md 3.4, 4.1, 4.2, and 12.6 for CREATE).
 *
 * The owner decides; here and for a peer alike through dlm_owner_lock(). A holder whose
 * CREATE has an open outcome (the link broke) does not know whether the owner has the
 * lock. It asks with a CANCEL, which no owner minds: 11, not there; 0, it was waiting and
 * is gone; 10, it is granted, then a plain unlock gives it back, unless its AST is still
 * to come (24). Only then is the CREATE sent again, so one call never becomes two locks.
 */
#include "dlm/dlm_int.h"

#define RETRY_MS 100
#define LINK_MS 200

int dlm_lock(struct dlm_domain *dom, const void *name, size_t name_len, int mode,
	     uint32_t flags, const struct dlm_lock_ops *ops, void *data, struct dlm_lock **out)
{
	const uint32_t known = DLM_LKF_LOCAL | DLM_LKF_VALBLK | DLM_LKF_NOQUEUE;
	struct dlm *dlm = dom->dlm;
	struct dlm_lock *lock;
	struct dlm_name wanted;
	struct dlm_op *op;

	if (name_len < 1 || name_len > DLM_NAME_MAX)
		return -EINVAL;
	wanted = dlm_name_make(name, name_len);
	dlm_enter(dlm);
	dlm_res_foresee(dom, &wanted);
	lock = dlm_lock_new(dlm, dlm->self, dlm_next_cookie(dlm), mode);
	lock->ops = ops;
	lock->data = data;
	*out = lock;
	op = dlm_op_new(dom, lock, DLM_CALL_LOCK);
	op->name = wanted;
	op->mode = (int8_t)mode;
	op->flags = flags;
	if (!dlm_mode_valid(mode) || (flags & ~known) || dlm_is_reco_lock(&op->name)) {
		dlm_op_refuse(op, DLM_BADPARAM);
	} else if (dom->state != DLM_DOM_JOINED) {
		dlm_op_refuse(op, DLM_REJECTED);
	} else {
		if (mode == DLM_MODE_NL)
			op->flags &= ~DLM_LKF_VALBLK;
		dlm_op_run(op);
	}
	dlm_exit(dlm);
	return 0;
}

/* ---- the owner's decision --------------------------------------------------------- */

enum dlm_status dlm_owner_lock(struct dlm_res *res, struct dlm_lock *lock, uint32_t flags)
{
	if (dlm_grantable(res, lock, lock->mode)) {
		dlm_lock_move(lock, res, DLM_LIST_GRANTED);
		if (!dlm_is_reco_lock(&res->name)) /* there the answer is all (7.6) */
			dlm_queue_ast(lock);
	} else if (flags & DLM_LKF_NOQUEUE) {
		return DLM_NOTQUEUED;
	} else {
		dlm_lock_move(lock, res, DLM_LIST_BLOCKED);
	}
	dlm_res_dirty(res);
	return DLM_NORMAL;
}

/* ---- this node's request ----------------------------------------------------------- */

static void create_sent(void *arg, node_t node, int err, int32_t status);
static void probe_sent(void *arg, node_t node, int err, int32_t status);

static void send_create(struct dlm_op *op)
{
	struct dlm_lock *lock = op->lock;
	struct dlm_wire_lock m = {
		.cookie = lock->cookie,
		.flags = op->flags & (DLM_LKF_VALBLK | DLM_LKF_NOQUEUE | DLM_LKF_RECOVERY),
		.node = op->dom->dlm->self,
		.mode = op->mode,
		.name = op->name,
	};
	uint8_t buf[128];

	lock->mode = op->mode;
	lock->lksb = 0;
	if (op->flags & DLM_LKF_VALBLK) {
		m.flags |= DLM_LKF_GET_LVB;
		lock->lksb = DLM_LKSB_GET_LVB;
	}
	dlm_lock_move(lock, lock->res, DLM_LIST_BLOCKED);
	op->state = OP_OPEN;
	op->to = lock->res->owner;
	op->token = dlm_send(op->dom, op->to, DLM_CREATE_LOCK_MSG, buf,
			     dlm_put_create(&m, buf, sizeof(buf)), create_sent, op);
}

/* Step 0: cancel as a question. Step 1: give back what was granted and never heard of. */
static void send_probe(struct dlm_op *op)
{
	struct dlm_wire_unlock m = {
		.cookie = op->lock->cookie,
		.flags = op->step ? 0 : DLM_LKF_CANCEL,
		.node = op->dom->dlm->self,
		.name = op->name,
	};
	uint8_t buf[160];

	op->state = OP_PROBE;
	op->to = op->lock->res->owner;
	op->token = dlm_send(op->dom, op->to, DLM_UNLOCK_LOCK_MSG, buf,
			     dlm_put_unlock(&m, buf, sizeof(buf)), probe_sent, op);
}

/* $RECOVERY: no AST follows. */
static void accepted(struct dlm_op *op)
{
	bool over = op->flags & DLM_LKF_RECOVERY;

	if (over && op->lock->list != DLM_LIST_GRANTED)
		dlm_lock_move(op->lock, op->lock->res, DLM_LIST_GRANTED);
	dlm_op_accept(op);
	if (over)
		dlm_op_free(op);
}

static void run_local(struct dlm_op *op)
{
	struct dlm_lock *lock = op->lock;
	enum dlm_status status;

	/* A CREATE in doubt, and its resource moved here: what the old owner had of it
	 * came along, what it had not is decided now. */
	dlm_lock_take_off(lock);
	op->doubt = false;
	lock->mode = op->mode;
	lock->lksb = op->flags & DLM_LKF_VALBLK ? DLM_LKSB_GET_LVB : 0;
	status = dlm_owner_lock(lock->res, lock, op->flags);
	if (status == DLM_NORMAL)
		accepted(op);
	else
		dlm_op_refuse(op, status);
}

void dlm_op_run_lock(struct dlm_op *op)
{
	struct dlm_domain *dom = op->dom;
	struct dlm_lock *lock = op->lock;
	struct dlm_res *res;

	if (dom->reco.active && !(op->flags & DLM_LKF_RECOVERY)) {
		dlm_op_wait(op, &dom->wait_reco, OP_WAIT_RECO);
		return;
	}
	if (!lock->res) {
		if (dlm_master_get(op, &res))
			return; /* op waits */
		lock->res = res;
		op->inflight = true;
		res->inflight++;
		dlm_res_usage(res);
	}
	res = lock->res;
	if (res->state & DLM_RES_LOCAL_WAIT)
		dlm_op_wait(op, &res->waiters, OP_WAIT_RES);
	else if (dlm_is_self(dom, res->owner))
		run_local(op);
	else if (op->doubt)
		send_probe(op);
	else
		send_create(op);
}

static void create_sent(void *arg, node_t node, int err, int32_t status)
{
	struct dlm_op *op = arg;
	struct dlm_lock *lock = op->lock;

	op->token = 0;
	if (err) {
		if (dlm_peer_gone(op->dom, node, err))
			dlm_lock_take_off(lock); /* it went with the peer */
		else
			op->doubt = true;
		dlm_op_backoff(op, op->doubt ? LINK_MS : RETRY_MS);
	} else if (status == DLM_NORMAL) {
		accepted(op);
	} else if (dlm_answer_void(op, status) &&
		   !(status == DLM_RECOVERING && (op->flags & DLM_LKF_RECOVERY))) {
		dlm_lock_take_off(lock);
		dlm_op_backoff(op, RETRY_MS);
	} else {
		dlm_lock_take_off(lock);
		if (status != DLM_NOTQUEUED && status != DLM_RECOVERING)
			log_warn(op->dom->dlm->log, "dlm",
				 "lock refused owner=%u status=%d mode=%s", node, status,
				 dlm_mode_name(op->mode));
		dlm_op_refuse(op, (enum dlm_status)status);
	}
}

static void probe_sent(void *arg, node_t node, int err, int32_t status)
{
	struct dlm_op *op = arg;

	op->token = 0;
	if (err && dlm_peer_gone(op->dom, node, err)) {
		op->doubt = false;
		dlm_lock_take_off(op->lock);
		dlm_op_backoff(op, RETRY_MS);
	} else if (err) {
		op->step = 0;
		dlm_op_backoff(op, LINK_MS);
	} else if (dlm_status_retry(status)) {
		op->step = 0;
		dlm_op_backoff(op, RETRY_MS);
	} else if (!op->step && status == DLM_CANCELGRANT) {
		op->step = 1;
		send_probe(op);
	} else if (op->step && status == DLM_BADPARAM) {
		op->step = 0; /* granted, its AST is still queued over there */
		op->doubt = false;
		dlm_op_accept(op);
	} else {
		op->step = 0; /* the owner has nothing of it now */
		op->doubt = false;
		dlm_lock_take_off(op->lock);
		dlm_op_wake(op);
	}
}

/* ---- CREATE_LOCK at the owner --------------------------------------------------------- */

/* The same lock once more: its reply or its AST was lost with the link. */
static struct dlm_reply create_again(struct dlm_res *res, struct dlm_lock *lock,
				     const struct dlm_wire_lock *m)
{
	if (lock->list == DLM_LIST_CONVERTING || lock->mode != m->mode)
		return dlm_reply_status(DLM_BADPARAM);
	if (lock->list == DLM_LIST_GRANTED && !dlm_is_reco_lock(&res->name) &&
	    !(lock->flags & DLM_LOCK_AST) &&
	    !(res->sending == lock && res->open != SENDING_BAST)) {
		if (m->flags & DLM_LKF_GET_LVB)
			lock->lksb |= DLM_LKSB_GET_LVB;
		dlm_queue_ast(lock);
		dlm_res_dirty(res);
	}
	return dlm_reply_status(DLM_NORMAL);
}

struct dlm_reply dlm_create_handler(struct dlm_domain *dom, node_t from,
				    const struct dlm_wire_lock *m)
{
	struct dlm_res *res = dlm_res_visible(dom, &m->name);
	enum dlm_status status;
	struct dlm_lock *lock;

	if (!res)
		return dlm_reply_status(DLM_FORWARD);
	status = dlm_res_state_reply(res);
	if (status != DLM_NORMAL)
		return dlm_reply_status((int32_t)status);
	if (!dlm_is_self(dom, res->owner))
		return dlm_reply_status(DLM_FORWARD);
	lock = dlm_lock_find(res, from, m->cookie);
	if (lock)
		return create_again(res, lock, m);
	lock = dlm_lock_new(dom->dlm, from, m->cookie, m->mode);
	if (m->flags & DLM_LKF_GET_LVB)
		lock->lksb = DLM_LKSB_GET_LVB;
	status = dlm_owner_lock(res, lock, m->flags);
	if (status != DLM_NORMAL) {
		dlm_lock_free(lock);
		dlm_res_dirty(res);
	}
	return dlm_reply_status((int32_t)status);
}
