/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * op.c: a request of this node, from the call to its end; locks as objects.
 *
 * A request is one object in exactly one state (dlm.md 12.3). It waits on at most one
 * list, has at most one message open, and its timer runs only in BACKOFF. What wakes it
 * puts it on the run list; it then starts again from its first condition, so whatever
 * changed meanwhile (owner, flags, recovery) is seen.
 */
#include "dlm/dlm_int.h"

static void op_timer(void *arg)
{
	dlm_op_wake(arg);
}

struct dlm_op *dlm_op_new(struct dlm_domain *dom, struct dlm_lock *lock, enum dlm_call call)
{
	struct dlm_op *op = dlm_xalloc(dom->dlm, sizeof(*op));

	op->dom = dom;
	op->lock = lock;
	op->call = call;
	op->state = OP_RUN;
	op->to = NODE_NONE;
	CDS_INIT_LIST_HEAD(&op->link);
	dlm_tm_init(&op->timer, op_timer, op);
	cds_list_add_tail(&op->all, &dom->ops);
	if (call == DLM_CALL_LOCK || call == DLM_CALL_CONVERT) {
		assert(!lock->op);
		lock->op = op;
	} else if (lock->uop) {
		assert(!lock->uop->then);
		lock->uop->then = op;
		op->state = OP_WAIT_OP;
	} else {
		lock->uop = op;
	}
	return op;
}

static void drop_inflight(struct dlm_op *op)
{
	struct dlm_res *res = op->lock ? op->lock->res : NULL;

	if (!op->inflight)
		return;
	op->inflight = false;
	assert(res && res->inflight);
	res->inflight--;
	dlm_res_touch(res);
}

static void wake_waiting_uop(struct dlm_lock *lock)
{
	if (lock->uop && lock->uop->state == OP_WAIT_OP)
		dlm_op_wake(lock->uop);
}

void dlm_op_free(struct dlm_op *op)
{
	struct dlm_lock *lock = op->lock;

	drop_inflight(op);
	dlm_send_forget(op->dom->dlm, op->token);
	dlm_tm_clear(op->dom, &op->timer);
	cds_list_del(&op->link);
	cds_list_del(&op->all);
	if (lock->op == op) {
		lock->op = NULL;
		if (lock->uop && lock->uop->target == op)
			lock->uop->target = NULL;
		wake_waiting_uop(lock);
	} else if (lock->uop == op) {
		lock->uop = op->then;
		wake_waiting_uop(lock);
	} else if (lock->uop && lock->uop->then == op) {
		lock->uop->then = NULL;
	}
	free(op);
}

void dlm_op_wake(struct dlm_op *op)
{
	dlm_tm_clear(op->dom, &op->timer);
	op->state = OP_RUN;
	cds_list_del(&op->link);
	cds_list_add_tail(&op->link, &op->dom->run);
}

void dlm_op_wait(struct dlm_op *op, struct cds_list_head *list, enum dlm_op_state state)
{
	op->state = state;
	cds_list_del(&op->link);
	cds_list_add_tail(&op->link, list);
}

void dlm_op_backoff(struct dlm_op *op, uint32_t ms)
{
	op->state = OP_BACKOFF;
	cds_list_del_init(&op->link);
	if (op->lock->res)
		cds_list_add_tail(&op->link, &op->lock->res->waiters);
	dlm_tm_set(op->dom, &op->timer, ms);
}

void dlm_op_run(struct dlm_op *op)
{
	cds_list_del_init(&op->link);
	switch (op->call) {
	case DLM_CALL_LOCK:
		dlm_op_run_lock(op);
		break;
	case DLM_CALL_CONVERT:
		dlm_op_run_convert(op);
		break;
	case DLM_CALL_UNLOCK:
		dlm_op_run_unlock(op);
		break;
	case DLM_CALL_CANCEL:
		dlm_op_run_cancel(op);
		break;
	}
}

void dlm_op_accept(struct dlm_op *op)
{
	struct dlm_lock *lock = op->lock;

	dlm_send_forget(op->dom->dlm, op->token); /* an AST may be before the reply */
	dlm_tm_clear(op->dom, &op->timer);
	cds_list_del_init(&op->link);
	op->token = 0;
	op->state = OP_QUEUED;
	if (!op->accepted) {
		op->accepted = true;
		dlm_fx_done(op->dom->dlm, lock->ops, lock->data, op->call, DLM_NORMAL);
	}
	drop_inflight(op);
	wake_waiting_uop(lock);
}

void dlm_op_refuse(struct dlm_op *op, enum dlm_status status)
{
	struct dlm *dlm = op->dom->dlm;
	struct dlm_lock *lock = op->lock;
	bool gone = op->call == DLM_CALL_LOCK;

	dlm_fx_done(dlm, lock->ops, lock->data, op->call, status);
	dlm_op_free(op);
	if (!gone)
		return;
	if (lock->uop) { /* a cancel that came too late for a lock that never was */
		dlm_fx_done(dlm, lock->ops, lock->data, lock->uop->call, DLM_IVLOCKID);
		dlm_op_free(lock->uop);
	}
	dlm_lock_free(lock);
}

bool dlm_peer_gone(const struct dlm_domain *dom, node_t node, int err)
{
	return err == -ENOPROTOOPT || !dlm_map_test(&dom->members, node);
}

/* ---- locks as objects ----------------------------------------------------------- */

struct dlm_lock *dlm_lock_new(struct dlm *dlm, node_t node, uint64_t cookie, int mode)
{
	struct dlm_lock *lock = dlm_xalloc(dlm, sizeof(*lock));

	CDS_INIT_LIST_HEAD(&lock->q);
	CDS_INIT_LIST_HEAD(&lock->item);
	lock->node = node;
	lock->cookie = cookie;
	lock->mode = (int8_t)mode;
	lock->convert = DLM_MODE_NONE;
	lock->highest_blocked = DLM_MODE_NONE;
	lock->list = DLM_LIST_NONE;
	return lock;
}

/* Off its queue; the resource is remembered. */
void dlm_lock_take_off(struct dlm_lock *lock)
{
	if (lock->list != DLM_LIST_NONE)
		lock->res->dom->stats.locks--;
	cds_list_del_init(&lock->q);
	lock->list = DLM_LIST_NONE;
}

void dlm_lock_free(struct dlm_lock *lock)
{
	struct dlm_res *res = lock->res;

	assert(!lock->op && !lock->uop);
	if (res) {
		dlm_lock_take_off(lock);
		cds_list_del(&lock->item);
		if (res->sending == lock)
			res->sending = NULL;
		dlm_res_usage(res);
	}
	free(lock);
}

static void place(struct dlm_lock *lock, struct dlm_res *res, int list)
{
	cds_list_del(&lock->q);
	if (lock->list == DLM_LIST_NONE)
		res->dom->stats.locks++;
	lock->res = res;
	lock->list = (uint8_t)list;
	lock->since_s = res->dom->dlm->now_s & 0xffffff;
}

void dlm_lock_move(struct dlm_lock *lock, struct dlm_res *res, int list)
{
	place(lock, res, list);
	cds_list_add_tail(&lock->q, &res->queue[list]);
}

void dlm_lock_move_head(struct dlm_lock *lock, struct dlm_res *res, int list)
{
	place(lock, res, list);
	cds_list_add(&lock->q, &res->queue[list]);
}

struct dlm_lock *dlm_lock_find(struct dlm_res *res, node_t node, uint64_t cookie)
{
	struct dlm_lock *lock;

	for (int list = 0; list < 3; list++)
		dlm_res_for_each_lock(lock, res, list)
			if (lock->cookie == cookie && lock->node == node)
				return lock;
	return NULL;
}
