/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ast.c: grants in order, and their news (dlm.md 3.6, 6).
 *
 * dlm_shuffle() is the owner's decision over one resource: converting before blocked, each
 * first come first served, the head only. Whoever is in the head's way gets a BAST.
 *
 * Delivery. Each resource has a queue of ASTs, then one of BASTs, and at most one message
 * open. That gives the orders that correctness needs (6.4): an AST is acknowledged before
 * the next grant's AST is sent (O3) and before a BAST for the same lock (O1); a BAST that
 * a queued AST makes pointless is dropped (O2); nothing is open when a migration begins
 * (O4). A slow peer holds up its own resources only.
 *
 * Link loss. An AST whose acknowledgement was lost is sent again; a holder that has it
 * ignores it. If the holder meanwhile converts or unlocks that lock it has it, and the
 * repetition is dropped (dlm_ast_arrived). If the two cross, the holder must not take the
 * repetition for the answer to its new request: a repetition names the mode that it grants
 * (in blocked_type, which a kernel does not look at in an AST), and since this owner sends
 * a reply before the AST that it caused, it is never about a request without reply.
 * A lost BAST is asked for anew by a shuffle.
 */
#include "dlm/dlm_int.h"

/* blocked_type of a repeated AST: the granted mode, with NL as 1 (0: not repeated). */
static int8_t repeat_mark(int mode)
{
	return (int8_t)(mode | 1);
}

/* ---- grants --------------------------------------------------------------------- */

bool dlm_grantable(struct dlm_res *res, const struct dlm_lock *lock, int mode)
{
	struct dlm_lock *l;

	dlm_res_for_each_lock(l, res, DLM_LIST_GRANTED)
		if (l != lock && !dlm_mode_compatible(l->mode, mode))
			return false;
	dlm_res_for_each_lock(l, res, DLM_LIST_CONVERTING)
		if (l != lock && (!dlm_mode_compatible(l->mode, mode) ||
				  !dlm_mode_compatible(l->convert, mode)))
			return false;
	return true;
}

/* BASTs for whoever holds against mode. True: nobody. */
static bool way_is_free(struct dlm_res *res, const struct dlm_lock *t, int mode)
{
	bool is_free = true;
	struct dlm_lock *l;

	for (int list = DLM_LIST_GRANTED; list <= DLM_LIST_CONVERTING; list++) {
		dlm_res_for_each_lock(l, res, list) {
			if (l == t || dlm_mode_compatible(l->mode, mode))
				continue;
			is_free = false;
			dlm_queue_bast(l, mode);
		}
	}
	return is_free;
}

static struct dlm_lock *head(struct dlm_res *res, int list)
{
	return cds_list_empty(&res->queue[list]) ? NULL :
		cds_list_first_entry(&res->queue[list], struct dlm_lock, q);
}

void dlm_shuffle(struct dlm_res *res)
{
	struct dlm_lock *t;

	if (!dlm_is_self(res->dom, res->owner) || (res->state & DLM_RES_LOCAL_WAIT))
		return;
	while ((t = head(res, DLM_LIST_CONVERTING))) {
		if (!way_is_free(res, t, t->convert))
			break;
		if (t->lksb & DLM_LKSB_PUT_LVB) /* downconversion brought by recovery */
			t->lksb = 0;
		t->mode = t->convert;
		t->convert = DLM_MODE_NONE;
		dlm_lock_move(t, res, DLM_LIST_GRANTED);
		dlm_queue_ast(t);
	}
	while ((t = head(res, DLM_LIST_BLOCKED))) {
		if (!way_is_free(res, t, t->mode) || head(res, DLM_LIST_CONVERTING))
			break;
		dlm_lock_move(t, res, DLM_LIST_GRANTED);
		dlm_queue_ast(t);
	}
}

/* ---- queueing ---------------------------------------------------------------------- */

static void forget_bast(struct dlm_lock *lock)
{
	lock->flags &= (uint8_t)~DLM_LOCK_BAST;
	lock->highest_blocked = DLM_MODE_NONE;
	cds_list_del_init(&lock->item);
}

/* Behind the other ASTs, before all BASTs. */
static void item_add_ast(struct dlm_lock *lock)
{
	struct cds_list_head *at = &lock->res->deliver, *prev = at->prev;

	while (prev != at &&
	       !(cds_list_entry(prev, struct dlm_lock, item)->flags & DLM_LOCK_AST))
		prev = prev->prev;
	cds_list_add(&lock->item, prev);
	lock->flags |= DLM_LOCK_AST;
}

/* Its AST is out, or will never be: what is left of the item. */
static void item_ast_over(struct dlm_lock *lock)
{
	cds_list_del_init(&lock->item);
	lock->flags &= (uint8_t)~DLM_LOCK_AST;
	if (lock->flags & DLM_LOCK_BAST)
		cds_list_add_tail(&lock->item, &lock->res->deliver);
}

void dlm_queue_ast(struct dlm_lock *lock)
{
	if (lock->flags & DLM_LOCK_AST)
		return;
	if ((lock->flags & DLM_LOCK_BAST) &&
	    dlm_mode_compatible(lock->mode, lock->highest_blocked))
		forget_bast(lock);
	cds_list_del(&lock->item);
	item_add_ast(lock);
}

void dlm_queue_bast(struct dlm_lock *lock, int mode)
{
	if (lock->highest_blocked < mode)
		lock->highest_blocked = (int8_t)mode;
	if (lock->flags & DLM_LOCK_BAST)
		return;
	lock->flags |= DLM_LOCK_BAST;
	if (!(lock->flags & DLM_LOCK_AST)) /* else once its AST is out */
		cds_list_add_tail(&lock->item, &lock->res->deliver);
}

/* ---- delivery ------------------------------------------------------------------------ */

/* It has not been handled, or may not have been: first, as it was. */
static void deliver_first(struct dlm_lock *lock, uint8_t kind, uint8_t flags)
{
	if (!lock || kind == SENDING_BAST || (lock->flags & DLM_LOCK_AST))
		return;
	if (kind == SENDING_AST_GET)
		lock->lksb |= DLM_LKSB_GET_LVB;
	lock->flags |= DLM_LOCK_AST | flags;
	cds_list_del(&lock->item);
	cds_list_add(&lock->item, &lock->res->deliver);
}

static void delivered(void *arg, node_t node, int err, int32_t status)
{
	struct dlm_res *res = arg;
	struct dlm_domain *dom = res->dom;
	struct dlm_lock *lock = res->sending;
	uint8_t kind = res->open;

	res->open = SENDING_NONE;
	res->token = 0;
	res->sending = NULL;
	if (err && !dlm_peer_gone(dom, node, err)) {
		dlm_stall(res);
		deliver_first(lock, kind, DLM_LOCK_RESEND);
	} else if (!err && res->assert &&
		   (status == DLM_RECOVERING || status == DLM_MIGRATING)) {
		/* A migration from here failed by a death; it is being told (8.5). */
		dlm_stall(res);
		deliver_first(lock, kind, 0);
	} else if (!err && (status == DLM_RECOVERING || status == DLM_MIGRATING)) {
		char why[120];

		snprintf(why, sizeof(why), "node %u does not take this node for the owner any more",
			 node);
		dlm_fx_fence(dom, why);
	} else if (lock && kind != SENDING_BAST) {
		lock->flags &= (uint8_t)~DLM_LOCK_RESEND;
	}
	dlm_res_touch(res);
}

static void send_proxy(struct dlm_lock *lock, int type, int blocked)
{
	struct dlm_res *res = lock->res;
	struct dlm_wire_ast m = { .cookie = lock->cookie, .node = res->dom->dlm->self,
				  .type = (uint8_t)type, .blocked = (int8_t)blocked,
				  .name = res->name };
	uint8_t buf[160];

	res->open = type == DLM_WIRE_BAST ? SENDING_BAST : SENDING_AST;
	if (type == DLM_WIRE_AST && (lock->lksb & DLM_LKSB_GET_LVB)) {
		res->open = SENDING_AST_GET;
		m.flags = DLM_LKF_GET_LVB;
		memcpy(m.lvb, res->lvb, DLM_LVB_LEN);
	}
	if (type == DLM_WIRE_AST)
		lock->lksb = 0;
	res->sending = lock;
	res->token = dlm_send(res->dom, lock->node, DLM_PROXY_AST_MSG, buf,
				   dlm_put_ast(&m, buf, sizeof(buf)), delivered, res);
}

static void deliver_ast(struct dlm_lock *lock)
{
	struct dlm_res *res = lock->res;

	item_ast_over(lock);
	res->dom->stats.asts++;
	if (dlm_is_self(res->dom, lock->node))
		dlm_lock_granted(lock, lock->lksb & DLM_LKSB_GET_LVB ? res->lvb : NULL);
	else
		send_proxy(lock, DLM_WIRE_AST,
			   lock->flags & DLM_LOCK_RESEND ? repeat_mark(lock->mode) : 0);
}

static void deliver_bast(struct dlm_lock *lock)
{
	struct dlm_res *res = lock->res;
	int mode = lock->highest_blocked;

	forget_bast(lock);
	if (dlm_mode_compatible(lock->mode, mode))
		return;
	res->dom->stats.basts++;
	if (!dlm_is_self(res->dom, lock->node))
		send_proxy(lock, DLM_WIRE_BAST, mode);
	else if (!lock->uop || lock->uop->call != DLM_CALL_UNLOCK)
		dlm_fx_bast(res->dom->dlm, lock->ops, lock->data, mode);
}

void dlm_deliver(struct dlm_res *res)
{
	struct dlm_lock *lock;

	if (!dlm_is_self(res->dom, res->owner))
		return;
	while (!res->open && !(res->state & DLM_RES_STALLED) && !cds_list_empty(&res->deliver)) {
		lock = cds_list_first_entry(&res->deliver, struct dlm_lock, item);
		if (lock->flags & DLM_LOCK_AST)
			deliver_ast(lock);
		else
			deliver_bast(lock);
	}
}

void dlm_deliver_again(struct dlm_domain *dom, node_t up)
{
	struct dlm_res *res;

	if (!dom->stalled && up == NODE_NONE)
		return;
	dom->stalled = false;
	cds_list_for_each_entry(res, &dom->all, all) {
		bool stalled = res->state & DLM_RES_STALLED;
		/* A DEREF_LOCKRES_DONE may have been lost with the link. */
		bool dropping = (res->state & DLM_RES_DROPPING_REF) && res->owner == up;

		res->state &= (uint16_t)~DLM_RES_STALLED;
		if ((res->state & DLM_RES_DROPPING_REF) && (stalled || dropping))
			dlm_deref_resume(res);
		else if (stalled)
			dlm_res_dirty(res);
	}
}

void dlm_ast_arrived(struct dlm_lock *lock)
{
	struct dlm_res *res = lock->res;

	if (res->sending == lock && res->open != SENDING_BAST)
		res->sending = NULL; /* its outcome does not matter any more */
	if (!(lock->flags & DLM_LOCK_RESEND))
		return;
	lock->flags &= (uint8_t)~DLM_LOCK_RESEND;
	lock->lksb = 0;
	item_ast_over(lock);
}

/* ---- the holder's side ------------------------------------------------------------------ */

void dlm_lock_granted(struct dlm_lock *lock, const uint8_t *lvb)
{
	static const uint8_t zero[DLM_LVB_LEN];
	struct dlm_op *op = lock->op;
	struct dlm *dlm = op->dom->dlm;
	uint8_t lksb = lock->lksb;

	if (lock->list == DLM_LIST_CONVERTING) {
		lock->mode = lock->convert;
		lock->convert = DLM_MODE_NONE;
	}
	if (lock->list != DLM_LIST_GRANTED)
		dlm_lock_move(lock, lock->res, DLM_LIST_GRANTED);
	lock->lksb = 0;
	if (lksb & DLM_LKSB_GET_LVB)
		dlm_lvb_note(lock, lvb);
	else if (lksb & DLM_LKSB_PUT_LVB)
		dlm_lvb_note(lock, op->lvb);
	if (lock->mode == DLM_MODE_NL)
		dlm_lvb_note(lock, NULL);
	dlm_op_accept(op); /* an AST that is before the reply says it, too */
	dlm_fx_ast(dlm, lock->ops, lock->data, lksb & DLM_LKSB_GET_LVB ? (lvb ? lvb : zero) : NULL);
	dlm_op_free(op);
}

/* The lock that the AST or BAST is for, NULL if it is to be ignored. */
static struct dlm_lock *addressee(struct dlm_res *res, const struct dlm_wire_ast *m)
{
	struct dlm_lock *lock = dlm_lock_find(res, res->dom->dlm->self, m->cookie);

	if (!lock)
		return NULL;
	if (m->type == DLM_WIRE_AST) {
		if (lock->list == DLM_LIST_GRANTED || !lock->op)
			return NULL;
		if (m->blocked && (lock->op->state == OP_OPEN ||
				   m->blocked != repeat_mark(lock->op->mode)))
			return NULL;
		/* It is just being given back because this AST was thought lost. */
		return lock->op->state == OP_PROBE && lock->op->step ? NULL : lock;
	}
	if (lock->list == DLM_LIST_BLOCKED || (lock->uop && lock->uop->call == DLM_CALL_UNLOCK))
		return NULL;
	return dlm_mode_compatible(lock->mode, m->blocked) ? NULL : lock;
}

struct dlm_reply dlm_ast_handler(struct dlm_domain *dom, node_t from,
				 const struct dlm_wire_ast *m)
{
	struct dlm_res *res = dlm_res_visible(dom, &m->name);
	struct dlm_lock *lock;

	if (!res)
		return dlm_reply_status(DLM_IVLOCKID);
	if (res->state & DLM_RES_RECOVERING)
		return dlm_reply_status(DLM_RECOVERING);
	if (res->owner != from)
		return dlm_reply_status(DLM_IVLOCKID);
	if (res->state & DLM_RES_MIGRATING)
		return dlm_reply_status(DLM_MIGRATING);
	lock = addressee(res, m);
	if (!lock)
		return dlm_reply_status(DLM_NORMAL);
	if (m->type == DLM_WIRE_AST)
		dlm_lock_granted(lock, m->flags & DLM_LKF_GET_LVB ? m->lvb : NULL);
	else
		dlm_fx_bast(dom->dlm, lock->ops, lock->data, m->blocked);
	return dlm_reply_status(DLM_NORMAL);
}
