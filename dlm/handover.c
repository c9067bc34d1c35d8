/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * handover.c: this node's own locks on a resource that was handed to it.
 *
 * The old owner's list of locks says, for each of ours, what it had handled before it
 * stopped. With a link that never broke that adds nothing: the replies, which are on the
 * same link before the end of the migration, say the same. But a request whose outcome was
 * lost with a link has no reply, and its owner, whom it would have asked (dlm.md 12.6), is
 * this node now. So the list decides:
 *
 *	unlock in doubt		not on the list: it was handled, with its value block, and
 *				others may have written since: nothing more to do. On the
 *				list: it was not; done here as by any owner.
 *	cancel in doubt		the lock waits there still: not handled. Else: it was.
 *	lock, convert in doubt	whatever of it was there is taken back, and decided anew.
 *
 * An unlock that was handled is ended as soon as the list is complete, because from then on
 * others may hold, by the same list, what it gave up. The rest when the old owner has
 * confirmed (told_old in migrate.c): until then nothing is granted here, and every reply
 * that could still come has come.
 */
#include "dlm/dlm_int.h"

#define AT_OLD (DLM_LOCK_AT_OLD | DLM_LOCK_AT_OLD_WAITS)

void dlm_handover_begin(struct dlm_res *res)
{
	struct dlm_lock *lock;

	for (int list = 0; list < 3; list++)
		dlm_res_for_each_lock(lock, res, list)
			lock->flags &= (uint8_t)~AT_OLD;
}

void dlm_handover_seen(struct dlm_lock *lock, int list)
{
	lock->flags |= DLM_LOCK_AT_OLD;
	if (list != DLM_LIST_GRANTED)
		lock->flags |= DLM_LOCK_AT_OLD_WAITS;
}

static void forget(struct dlm_op *op)
{
	dlm_send_forget(op->dom->dlm, op->token);
	op->token = 0;
}

/* Calls fn for each own lock; fn may free that one. */
static void each_own(struct dlm_res *res, void (*fn)(struct dlm_lock *lock))
{
	struct dlm_lock *lock, *next;

	for (int list = 0; list < 3; list++)
		cds_list_for_each_entry_safe(lock, next, &res->queue[list], q)
			if (dlm_is_self(res->dom, lock->node))
				fn(lock);
}

static void end_handled_unlock(struct dlm_lock *lock)
{
	struct dlm_op *uop = lock->uop;

	if (!uop || uop->call != DLM_CALL_UNLOCK || !uop->doubt || (lock->flags & DLM_LOCK_AT_OLD))
		return;
	forget(uop);
	dlm_lock_take_off(lock); /* dlm_op_run_unlock() takes that as done */
	dlm_op_wake(uop);
}

void dlm_handover_listed(struct dlm_res *res)
{
	each_own(res, end_handled_unlock);
}

static void settle_cancel(struct dlm_lock *lock)
{
	struct dlm_op *uop = lock->uop;
	bool waits_there = lock->flags & DLM_LOCK_AT_OLD_WAITS;

	forget(uop);
	uop->step = 0;
	if (uop->target && uop->target->accepted && uop->doubt && !waits_there)
		dlm_cancel_end(uop);
	else
		dlm_op_wake(uop);
}

static void settle_request(struct dlm_lock *lock)
{
	struct dlm_op *op = lock->op;

	forget(op);
	op->doubt = false;
	op->step = 0;
	if (op->call == DLM_CALL_CONVERT && lock->list == DLM_LIST_CONVERTING)
		dlm_convert_revert(lock);
	else if (op->call == DLM_CALL_LOCK)
		dlm_lock_take_off(lock);
	dlm_op_wake(op);
}

static void settle(struct dlm_lock *lock)
{
	struct dlm_op *op = lock->op, *uop = lock->uop;

	if (op && !op->accepted && lock->list != DLM_LIST_GRANTED) {
		settle_request(lock);
	} else if (uop && uop->call == DLM_CALL_CANCEL && (uop->doubt || uop->state == OP_OPEN)) {
		settle_cancel(lock);
	} else if (uop && uop->call == DLM_CALL_UNLOCK && (uop->doubt || uop->state == OP_OPEN)) {
		forget(uop);
		dlm_op_wake(uop);
	}
}

void dlm_handover_settle(struct dlm_res *res)
{
	each_own(res, settle);
}
