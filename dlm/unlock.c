/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * unlock.c: giving a lock up, taking a request back (dlm.md 3.7, 4.4, 12.6).
 *
 * One table says what happens, by the queue the lock is on: dlm_owner_unlock() where it is
 * decided, and the same on a holder's own queues once the owner has answered 0. A cancel
 * first waits until the request it takes back is accepted or has ended. The owner decides
 * its race with the grant: 10 means the AST came or will come, so the holder changes
 * nothing on 10. Answers 32, 39, 40 start again with the owner re-read, which may be this
 * node by then. An unlock whose outcome is open is repeated; 11 then means it was done.
 */
#include "dlm/dlm_int.h"

#define RETRY_MS 50
#define LINK_MS 200
#define AST_MS 1000

static struct dlm_domain *domain_of(const struct dlm_lock *lock)
{
	return lock->res ? lock->res->dom : lock->op->dom;
}

static void refuse_now(struct dlm_lock *lock, enum dlm_call call, enum dlm_status status)
{
	dlm_fx_done(domain_of(lock)->dlm, lock->ops, lock->data, call, status);
}

void dlm_unlock(struct dlm_lock *lock, uint32_t flags, const uint8_t *lvb)
{
	struct dlm_domain *dom = domain_of(lock);
	struct dlm_op *op;

	dlm_enter(dom->dlm);
	if (flags & ~(DLM_LKF_VALBLK | DLM_LKF_INVVALBLK)) {
		refuse_now(lock, DLM_CALL_UNLOCK, DLM_BADPARAM);
	} else if (lock->list != DLM_LIST_GRANTED) {
		refuse_now(lock, DLM_CALL_UNLOCK, DLM_DENIED);
	} else if (lock->flags & DLM_LOCK_AST) { /* granted, its AST is to come */
		refuse_now(lock, DLM_CALL_UNLOCK, DLM_BADPARAM);
	} else if (lock->op) { /* about to convert */
		refuse_now(lock, DLM_CALL_UNLOCK, DLM_DENIED);
	} else if (lock->uop && (lock->uop->call == DLM_CALL_UNLOCK || lock->uop->then)) {
		refuse_now(lock, DLM_CALL_UNLOCK, DLM_DENIED);
	} else {
		op = dlm_op_new(dom, lock, DLM_CALL_UNLOCK);
		op->flags = flags;
		op->name = lock->res->name;
		if ((flags & DLM_LKF_VALBLK) && lvb)
			memcpy(op->lvb, lvb, DLM_LVB_LEN);
		if (op->state == OP_RUN)
			dlm_op_run(op);
	}
	dlm_exit(dom->dlm);
}

void dlm_cancel(struct dlm_lock *lock)
{
	struct dlm_domain *dom = domain_of(lock);
	struct dlm_op *op;

	dlm_enter(dom->dlm);
	if (lock->uop) {
		refuse_now(lock, DLM_CALL_CANCEL, DLM_DENIED);
	} else {
		op = dlm_op_new(dom, lock, DLM_CALL_CANCEL);
		op->target = lock->op;
		dlm_op_run(op);
	}
	dlm_exit(dom->dlm);
}

/* ---- the table ------------------------------------------------------------------------ */

static enum dlm_status owner_cancel(struct dlm_lock *lock)
{
	switch (lock->list) {
	case DLM_LIST_GRANTED:
		return DLM_CANCELGRANT;
	case DLM_LIST_CONVERTING:
		dlm_convert_revert(lock);
		return DLM_NORMAL;
	case DLM_LIST_BLOCKED:
		dlm_lock_free(lock);
		return DLM_NORMAL;
	default:
		return DLM_IVLOCKID;
	}
}

enum dlm_status dlm_owner_unlock(struct dlm_lock *lock, uint32_t flags, const uint8_t *lvb)
{
	struct dlm_res *res = lock->res;
	enum dlm_status status = DLM_NORMAL;

	if (flags & DLM_LKF_CANCEL) {
		status = owner_cancel(lock);
	} else if (lock->list != DLM_LIST_GRANTED) {
		status = DLM_DENIED;
	} else {
		if ((flags & DLM_LKF_VALBLK) && lock->mode == DLM_MODE_EX)
			memcpy(res->lvb, lvb, DLM_LVB_LEN);
		dlm_lock_free(lock);
	}
	dlm_res_dirty(res);
	return status;
}

/* ---- ends of this node's requests --------------------------------------------------------- */

/* Accepted: done(), then the one unlock_ast(). The lock stays. */
static void end_uop(struct dlm_op *op, enum dlm_status status)
{
	struct dlm *dlm = op->dom->dlm;
	struct dlm_lock *lock = op->lock;

	dlm_fx_done(dlm, lock->ops, lock->data, op->call, DLM_NORMAL);
	dlm_fx_unlock_ast(dlm, lock->ops, lock->data, status);
	dlm_op_free(op);
}

static void refuse_uop(struct dlm_op *op, enum dlm_status status)
{
	dlm_fx_done(op->dom->dlm, op->lock->ops, op->lock->data, op->call, status);
	dlm_op_free(op);
}

/* The lock is given up: nothing of it is left but its resource, which may go. */
void dlm_unlock_end(struct dlm_op *op)
{
	struct dlm_lock *lock = op->lock;
	struct dlm_res *res = lock->res;

	end_uop(op, DLM_NORMAL);
	dlm_lock_free(lock);
	dlm_res_dirty(res);
}

/* The request is taken back: of a conversion the old mode stays, of a lock nothing. */
void dlm_cancel_end(struct dlm_op *op)
{
	struct dlm_lock *lock = op->lock;
	struct dlm_res *res = lock->res;
	bool blocked = lock->list == DLM_LIST_BLOCKED;
	struct dlm_op *then = op->then;

	if (op->target)
		dlm_op_free(op->target);
	if (lock->list == DLM_LIST_CONVERTING)
		dlm_convert_revert(lock);
	end_uop(op, DLM_NORMAL);
	if (blocked) {
		assert(!then); /* an unlock is accepted on a granted lock only */
		dlm_lock_free(lock);
	}
	dlm_res_dirty(res);
}

void dlm_cancel_too_late(struct dlm_op *op)
{
	end_uop(op, DLM_CANCELGRANT);
}

/* ---- unlock ---------------------------------------------------------------------------- */

static void unlock_sent(void *arg, node_t node, int err, int32_t status);

static void send_unlock(struct dlm_op *op, uint32_t flags)
{
	struct dlm_lock *lock = op->lock;
	struct dlm_wire_unlock m = { .cookie = lock->cookie, .flags = flags,
				     .node = op->dom->dlm->self, .name = lock->res->name };
	uint8_t buf[160];

	if ((op->flags & DLM_LKF_VALBLK) && lock->mode == DLM_MODE_EX &&
	    op->call == DLM_CALL_UNLOCK) {
		m.flags |= DLM_LKF_VALBLK | DLM_LKF_PUT_LVB;
		memcpy(m.lvb, op->lvb, DLM_LVB_LEN);
	}
	op->state = OP_OPEN;
	op->to = lock->res->owner;
	op->token = dlm_send(op->dom, op->to, DLM_UNLOCK_LOCK_MSG, buf,
			     dlm_put_unlock(&m, buf, sizeof(buf)), unlock_sent, op);
}

void dlm_op_run_unlock(struct dlm_op *op)
{
	const uint16_t wait = DLM_RES_IN_PROGRESS | DLM_RES_RECOVERING | DLM_RES_MIGRATING;
	struct dlm_lock *lock = op->lock;
	struct dlm_res *res = lock->res;

	if (lock->uop != op) {
		op->state = OP_WAIT_OP; /* a cancel is before it */
	} else if (res->state & wait) {
		dlm_op_wait(op, &res->waiters, OP_WAIT_RES);
	} else if (lock->list == DLM_LIST_NONE) {
		dlm_unlock_end(op); /* recovery took it off: it is done (dlm.md 9.6) */
	} else if (lock->op || lock->list != DLM_LIST_GRANTED) {
		refuse_uop(op, DLM_DENIED);
	} else if (!dlm_is_self(op->dom, res->owner)) {
		send_unlock(op, op->flags & DLM_LKF_INVVALBLK);
	} else {
		if ((op->flags & DLM_LKF_VALBLK) && lock->mode == DLM_MODE_EX)
			memcpy(res->lvb, op->lvb, DLM_LVB_LEN);
		dlm_unlock_end(op);
	}
}

/* 2 or 24: the owner's picture differs from ours. Once that can be its AST list; twice we
 * would leave a lock that nobody can free. */
static void unlock_disagrees(struct dlm_op *op, node_t node, int32_t status)
{
	char why[160];

	log_warn(op->dom->dlm->log, "dlm", "unlock refused owner=%u status=%d try=%u", node,
		 status, op->refusals);
	if (!op->refusals++) {
		dlm_op_backoff(op, AST_MS);
		return;
	}
	snprintf(why, sizeof(why), "node %u refuses to take a lock back (status %d)", node, status);
	dlm_fx_fence(op->dom, why);
	refuse_uop(op, (enum dlm_status)status);
}

static void unlock_outcome(struct dlm_op *op, node_t node, int32_t status)
{
	if (status != DLM_NORMAL && status != DLM_IVLOCKID) {
		unlock_disagrees(op, node, status);
		return;
	}
	if (status == DLM_IVLOCKID && !op->doubt)
		log_warn(op->dom->dlm->log, "dlm", "unlock of a lock unknown to owner=%u", node);
	dlm_unlock_end(op); /* it does not exist there */
}

/* ---- a cancel of which two were sent (dlm.md 12.6) ------------------------------------------ */

static void settle_sent(void *arg, node_t node, int err, int32_t status)
{
	struct dlm_op *op = arg;

	(void)node;
	op->token = 0;
	if (err || dlm_answer_void(op, status))
		dlm_op_backoff(op, err ? LINK_MS : RETRY_MS);
	else if (!op->target || status == DLM_NORMAL)
		dlm_cancel_too_late(op); /* it was granted, or is now: the AST comes */
	else
		dlm_cancel_end(op); /* 21: the first cancel worked */
}

/*
 * The lock is granted at the owner: by the conversion, or at the old mode because the first
 * cancel worked. Ask for the new mode without waiting: refused, it was the cancel; else the
 * new mode is ours either way. No value block: it would be the wrong one.
 */
static void settle_ask(struct dlm_op *op)
{
	struct dlm_lock *lock = op->lock;
	struct dlm_wire_lock m = { .cookie = lock->cookie,
				   .flags = DLM_LKF_CONVERT | DLM_LKF_NOQUEUE,
				   .node = op->dom->dlm->self,
				   .mode = lock->convert,
				   .name = lock->res->name };
	uint8_t buf[160];

	op->target->lvb_lost = true;
	op->state = OP_OPEN;
	op->to = lock->res->owner;
	op->token = dlm_send(op->dom, op->to, DLM_CONVERT_LOCK_MSG, buf,
			     dlm_put_convert(&m, buf, sizeof(buf)), settle_sent, op);
}

/* First leave its AST a second. */
static void cancel_settle(struct dlm_op *op)
{
	op->step = 1;
	op->state = OP_BACKOFF;
	dlm_tm_set(op->dom, &op->timer, AST_MS);
}

/* ---- cancel ------------------------------------------------------------------------------ */

void dlm_op_run_cancel(struct dlm_op *op)
{
	struct dlm_lock *lock = op->lock;
	struct dlm_op *target = op->target;
	struct dlm_res *res = lock->res;

	if (lock->list == DLM_LIST_NONE) {
		refuse_uop(op, DLM_IVLOCKID); /* nothing is asked for yet, or not now */
	} else if (target && target->state != OP_QUEUED) {
		op->state = OP_WAIT_OP;
	} else if (!target || lock->list == DLM_LIST_GRANTED) {
		dlm_cancel_too_late(op);
	} else if (res->state & DLM_RES_LOCAL_WAIT & ~DLM_RES_RECOVERY_WAITING) {
		dlm_op_wait(op, &res->waiters, OP_WAIT_RES);
	} else if (dlm_is_self(op->dom, res->owner)) {
		dlm_cancel_end(op);
	} else if (op->step && lock->list == DLM_LIST_CONVERTING) {
		settle_ask(op);
	} else {
		send_unlock(op, DLM_LKF_CANCEL);
	}
}

static void cancel_outcome(struct dlm_op *op, node_t node, int32_t status)
{
	if (!op->target) {
		dlm_cancel_too_late(op); /* its AST came meanwhile */
	} else if (status == DLM_CANCELGRANT) {
		/* Asked twice, a 10 may be about the lock that the first one put back. */
		if (op->doubt)
			cancel_settle(op);
		else
			dlm_cancel_too_late(op);
	} else if (status == DLM_NORMAL || status == DLM_IVLOCKID) {
		dlm_cancel_end(op);
	} else {
		unlock_disagrees(op, node, status);
	}
}

static void unlock_sent(void *arg, node_t node, int err, int32_t status)
{
	struct dlm_op *op = arg;

	op->token = 0;
	if (err && !dlm_peer_gone(op->dom, node, err)) {
		op->doubt = true;
		dlm_op_backoff(op, LINK_MS);
	} else if (err || dlm_status_retry(status)) {
		dlm_op_backoff(op, RETRY_MS);
	} else if (op->call == DLM_CALL_UNLOCK) {
		unlock_outcome(op, node, status);
	} else {
		cancel_outcome(op, node, status);
	}
}

/* ---- UNLOCK_LOCK at the owner ------------------------------------------------------------- */

static void remember_gone(struct dlm_domain *dom, const struct dlm_lock *lock)
{
	dom->gone_locks[dom->gone_next++ % DLM_GONE_MAX] =
		(struct dlm_gone){ .cookie = lock->cookie, .node = lock->node };
}

static bool was_unlocked(const struct dlm_domain *dom, node_t node, uint64_t cookie)
{
	for (unsigned int i = 0; i < DLM_GONE_MAX; i++)
		if (dom->gone_locks[i].cookie == cookie && dom->gone_locks[i].node == node)
			return true;
	return false;
}

static struct dlm_reply unlock_found(struct dlm_domain *dom, struct dlm_lock *lock,
				     const struct dlm_wire_unlock *m)
{
	struct dlm_res *res = lock->res;
	bool cancel = m->flags & DLM_LKF_CANCEL;
	uint32_t flags = m->flags & (DLM_LKF_CANCEL | DLM_LKF_VALBLK);

	if (!cancel)
		dlm_ast_arrived(lock);
	if (!cancel && (lock->flags & DLM_LOCK_AST))
		return dlm_reply_status(DLM_BADPARAM);
	if (!cancel && (res->state & DLM_RES_IN_PROGRESS))
		return dlm_reply_status(DLM_FORWARD);
	if (!(m->flags & DLM_LKF_PUT_LVB)) /* the value must have come along */
		flags &= ~DLM_LKF_VALBLK;
	if (!cancel && lock->list == DLM_LIST_GRANTED)
		remember_gone(dom, lock);
	return dlm_reply_status((int32_t)dlm_owner_unlock(lock, flags, m->lvb));
}

struct dlm_reply dlm_unlock_handler(struct dlm_domain *dom, node_t from,
				    const struct dlm_wire_unlock *m)
{
	struct dlm_res *res = dlm_res_visible(dom, &m->name);
	struct dlm_lock *lock;

	if (res && (res->state & DLM_RES_RECOVERING))
		return dlm_reply_status(DLM_RECOVERING);
	if (res && (res->state & DLM_RES_MIGRATING))
		return dlm_reply_status(DLM_MIGRATING);
	if (res && dlm_is_self(dom, res->owner)) {
		lock = dlm_lock_find(res, from, m->cookie);
		if (lock)
			return unlock_found(dom, lock, m);
		dlm_res_dirty(res);
	}
	if (!(m->flags & DLM_LKF_CANCEL) && was_unlocked(dom, from, m->cookie))
		return dlm_reply_status(DLM_NORMAL);
	if (!res || !dlm_is_self(dom, res->owner))
		return dlm_reply_status(DLM_FORWARD);
	return dlm_reply_status(DLM_IVLOCKID);
}
