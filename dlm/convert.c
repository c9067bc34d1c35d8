/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * convert.c: changes of a granted lock's mode (dlm.md 3.5, 4.3, and 12.6 for CONVERT).
 *
 * Down is granted in place, at once. Up is granted at once if nothing granted or
 * converting is in the way, else it waits on the converting queue and dlm_shuffle()
 * grants it in turn.
 *
 * A CONVERT with an open outcome is cleared up by a CANCEL: 0, it was waiting and is taken
 * back, ask again; 10, it is granted, at the old or the new mode. Then a second is left to
 * its AST, and the conversion is asked for again. Whether the first one was handled is not
 * known. So none is read going up to EX (from EX to EX it would be written), and zeros are
 * put giving EX up (somebody may have written in between).
 */
#include "dlm/dlm_int.h"

#define RETRY_MS 100
#define LINK_MS 200
#define AST_MS 1000

void dlm_convert(struct dlm_lock *lock, int mode, uint32_t flags, const uint8_t *lvb)
{
	const struct dlm_lock_ops *ops = lock->ops;
	struct dlm_domain *dom = lock->res ? lock->res->dom : lock->op->dom;
	struct dlm *dlm = dom->dlm;
	struct dlm_op *op;

	dlm_enter(dlm);
	if (!dlm_mode_valid(mode) || (flags & ~(DLM_LKF_VALBLK | DLM_LKF_NOQUEUE))) {
		dlm_fx_done(dlm, ops, lock->data, DLM_CALL_CONVERT, DLM_BADPARAM);
	} else if (lock->op || lock->list != DLM_LIST_GRANTED ||
		   (lock->uop && (lock->uop->call == DLM_CALL_UNLOCK || lock->uop->then))) {
		dlm_fx_done(dlm, ops, lock->data, DLM_CALL_CONVERT, DLM_DENIED);
	} else {
		op = dlm_op_new(dom, lock, DLM_CALL_CONVERT);
		op->mode = (int8_t)mode;
		op->flags = flags;
		op->name = lock->res->name;
		if ((flags & DLM_LKF_VALBLK) && lock->mode == DLM_MODE_EX && lvb)
			memcpy(op->lvb, lvb, DLM_LVB_LEN);
		dlm_op_run(op);
	}
	dlm_exit(dlm);
}

/* What VALBLK means for this conversion: PUT, GET or nothing (dlm.md 5.1). */
static uint8_t lvb_way(const struct dlm_lock *lock, int mode, uint32_t flags)
{
	if (!(flags & DLM_LKF_VALBLK))
		return 0;
	if (lock->mode == DLM_MODE_EX)
		return DLM_LKSB_PUT_LVB;
	return mode > DLM_MODE_NL ? DLM_LKSB_GET_LVB : 0;
}

/* ---- the owner's decision --------------------------------------------------------- */

enum dlm_status dlm_owner_convert(struct dlm_lock *lock, int mode, uint32_t flags,
				  const uint8_t *lvb)
{
	struct dlm_res *res = lock->res;
	uint8_t way = lvb_way(lock, mode, flags);

	if (lock->list != DLM_LIST_GRANTED || (lock->flags & DLM_LOCK_AST))
		return DLM_DENIED;
	if (mode > lock->mode && !dlm_grantable(res, lock, mode)) {
		if (flags & DLM_LKF_NOQUEUE)
			return DLM_NOTQUEUED;
		lock->convert = (int8_t)mode;
		lock->lksb = way;
		dlm_lock_move(lock, res, DLM_LIST_CONVERTING);
		dlm_res_dirty(res);
		return DLM_NORMAL;
	}
	if (way & DLM_LKSB_PUT_LVB)
		memcpy(res->lvb, lvb, DLM_LVB_LEN);
	lock->mode = (int8_t)mode;
	lock->lksb = way & DLM_LKSB_GET_LVB;
	dlm_lock_move(lock, res, DLM_LIST_GRANTED);
	dlm_queue_ast(lock);
	dlm_res_dirty(res);
	return DLM_NORMAL;
}

/* ---- this node's request ----------------------------------------------------------- */

static void convert_sent(void *arg, node_t node, int err, int32_t status);
static void probe_sent(void *arg, node_t node, int err, int32_t status);

/* To the granted queue, as if the conversion had not been asked for. */
void dlm_convert_revert(struct dlm_lock *lock)
{
	lock->convert = DLM_MODE_NONE;
	lock->lksb = 0;
	dlm_lock_move(lock, lock->res, DLM_LIST_GRANTED);
}

static void send_convert(struct dlm_op *op)
{
	struct dlm_lock *lock = op->lock;
	struct dlm_wire_lock m = {
		.cookie = lock->cookie,
		.flags = DLM_LKF_CONVERT | (op->flags & DLM_LKF_NOQUEUE),
		.node = op->dom->dlm->self,
		.mode = op->mode,
		.name = op->name,
	};
	uint8_t buf[160];

	lock->lksb = lvb_way(lock, op->mode, op->flags);
	if (lock->lksb & DLM_LKSB_PUT_LVB) {
		m.flags |= DLM_LKF_VALBLK | DLM_LKF_PUT_LVB;
		memcpy(m.lvb, op->lvb, DLM_LVB_LEN);
	} else if ((lock->lksb & DLM_LKSB_GET_LVB) && !op->lvb_lost) {
		m.flags |= DLM_LKF_VALBLK | DLM_LKF_GET_LVB;
	}
	lock->convert = op->mode;
	dlm_lock_move(lock, lock->res, DLM_LIST_CONVERTING);
	op->state = OP_OPEN;
	op->to = lock->res->owner;
	op->token = dlm_send(op->dom, op->to, DLM_CONVERT_LOCK_MSG, buf,
			     dlm_put_convert(&m, buf, sizeof(buf)), convert_sent, op);
}

static void send_probe(struct dlm_op *op)
{
	struct dlm_wire_unlock m = { .cookie = op->lock->cookie, .flags = DLM_LKF_CANCEL,
				     .node = op->dom->dlm->self, .name = op->name };
	uint8_t buf[160];

	op->state = OP_PROBE;
	op->to = op->lock->res->owner;
	op->token = dlm_send(op->dom, op->to, DLM_UNLOCK_LOCK_MSG, buf,
			     dlm_put_unlock(&m, buf, sizeof(buf)), probe_sent, op);
}

static void run_local(struct dlm_op *op)
{
	struct dlm_lock *lock = op->lock;
	enum dlm_status status;

	if (lock->list == DLM_LIST_CONVERTING) /* in doubt when the resource moved here */
		dlm_convert_revert(lock);
	op->doubt = false;
	status = dlm_owner_convert(lock, op->mode, op->flags, op->lvb);
	if (status == DLM_NORMAL)
		dlm_op_accept(op);
	else
		dlm_op_refuse(op, status);
}

void dlm_op_run_convert(struct dlm_op *op)
{
	struct dlm_domain *dom = op->dom;
	struct dlm_res *res = op->lock->res;

	if (dom->reco.active)
		dlm_op_wait(op, &dom->wait_reco, OP_WAIT_RECO);
	else if (res->state & DLM_RES_LOCAL_WAIT)
		dlm_op_wait(op, &res->waiters, OP_WAIT_RES);
	else if (dlm_is_self(dom, res->owner))
		run_local(op);
	else if (op->doubt)
		send_probe(op);
	else
		send_convert(op);
}

static void convert_sent(void *arg, node_t node, int err, int32_t status)
{
	struct dlm_op *op = arg;
	struct dlm_lock *lock = op->lock;

	op->token = 0;
	if (err && !dlm_peer_gone(op->dom, node, err)) {
		op->doubt = true; /* stays on converting: its AST may still come */
		dlm_op_backoff(op, LINK_MS);
	} else if (err || dlm_answer_void(op, status)) {
		dlm_convert_revert(lock);
		dlm_op_backoff(op, RETRY_MS);
	} else if (status == DLM_NORMAL) {
		if (lock->lksb & DLM_LKSB_PUT_LVB)
			dlm_lvb_note(lock, op->lvb);
		dlm_op_accept(op);
	} else {
		if (status != DLM_NOTQUEUED)
			log_warn(op->dom->dlm->log, "dlm",
				 "conversion refused owner=%u status=%d mode=%s", node, status,
				 dlm_mode_name(op->mode));
		dlm_convert_revert(lock);
		dlm_op_refuse(op, (enum dlm_status)status);
	}
}

static void probe_sent(void *arg, node_t node, int err, int32_t status)
{
	struct dlm_op *op = arg;

	op->token = 0;
	if (err && dlm_peer_gone(op->dom, node, err)) {
		op->doubt = false;
		dlm_convert_revert(op->lock);
		dlm_op_backoff(op, RETRY_MS);
	} else if (err) {
		dlm_op_backoff(op, LINK_MS);
	} else if (dlm_status_retry(status)) {
		dlm_op_backoff(op, RETRY_MS);
	} else if (status == DLM_NORMAL) {
		op->doubt = false;
		dlm_convert_revert(op->lock);
		dlm_op_wake(op);
	} else if (status == DLM_CANCELGRANT) {
		op->doubt = false;
		op->lvb_lost = op->mode == DLM_MODE_EX;
		memset(op->lvb, 0, DLM_LVB_LEN);
		op->state = OP_BACKOFF; /* not on the resource: the whole second */
		dlm_tm_set(op->dom, &op->timer, AST_MS);
	} else {
		dlm_fx_fence(op->dom, "the owner of a lock does not know it after a link loss");
		dlm_convert_revert(op->lock);
		dlm_op_refuse(op, (enum dlm_status)status);
	}
}

/* ---- CONVERT_LOCK at the owner ---------------------------------------------------------- */

struct dlm_reply dlm_convert_handler(struct dlm_domain *dom, node_t from,
				     const struct dlm_wire_lock *m)
{
	struct dlm_res *res = dlm_res_visible(dom, &m->name);
	enum dlm_status status;
	struct dlm_lock *lock;
	uint32_t flags = m->flags;

	if (!res) /* handed over and purged: a kernel's caller would fail on 11 */
		return dlm_reply_status(DLM_FORWARD);
	status = dlm_res_state_reply(res);
	if (status != DLM_NORMAL)
		return dlm_reply_status((int32_t)status);
	if (!dlm_is_self(dom, res->owner))
		return dlm_reply_status(DLM_FORWARD);
	lock = dlm_lock_find(res, from, m->cookie);
	if (lock && lock->list == DLM_LIST_CONVERTING && lock->convert == m->mode)
		return dlm_reply_status(DLM_NORMAL); /* a repetition */
	if (!lock || lock->list != DLM_LIST_GRANTED)
		return dlm_reply_status(DLM_IVLOCKID);
	dlm_ast_arrived(lock);
	if ((lock->flags & DLM_LOCK_AST) && lock->mode == m->mode)
		return dlm_reply_status(DLM_NORMAL); /* a repetition, whose AST is still to go */
	/* The value block moves only if the message carries, or asks for, it. */
	if (!(flags & (lock->mode == DLM_MODE_EX ? DLM_LKF_PUT_LVB : DLM_LKF_GET_LVB)))
		flags &= ~DLM_LKF_VALBLK;
	status = dlm_owner_convert(lock, m->mode, flags, m->lvb);
	return dlm_reply_status((int32_t)status);
}
