/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * recovery.c: a node died: the step of that moment (dlm.md 9.1, 9.6), and the step that ends
 * its recovery (9.7). What is between them, among several survivors, is in reco_*.c.
 *
 * dlm_member_died() is one step: the file system is told first (so that it marks the node
 * for journal recovery before any lock that the node blocked can be granted), then every
 * resource is cleaned: what the dead node owned is RECOVERING, and requests of this node
 * that were open there are settled; what this node owns loses the dead node's locks and
 * grants nothing (RECOVERY_WAITING) until the recovery is over.
 *
 * With nobody else left the recovery needs no message: this node holds all there is to
 * know, and becomes the owner of what has none.
 */
#include "dlm/dlm_int.h"

/* ---- requests of this node that the dead owner had (9.6) ------------------------------- */

bool dlm_reco_moved(const struct dlm_domain *dom)
{
	return dom->reco.leavers || !dlm_map_empty(&dom->exiting);
}

static void settle_unlock(struct dlm_lock *lock)
{
	struct dlm_op *uop = lock->uop;

	if (uop->state != OP_OPEN && !uop->doubt)
		return; /* nothing open: it goes to the new owner */
	dlm_send_forget(uop->dom->dlm, uop->token);
	uop->token = 0;
	dlm_lock_take_off(lock); /* done; said once the resource has an owner again */
	dlm_op_wake(uop);
}

static void settle_cancel(struct dlm_lock *lock)
{
	struct dlm_op *uop = lock->uop;

	if (uop->state != OP_OPEN && !uop->doubt)
		return;
	dlm_send_forget(uop->dom->dlm, uop->token);
	uop->token = 0;
	if (uop->target && dlm_reco_moved(uop->dom)) {
		uop->step = 0; /* a living owner may turn up, with the request: ask that one */
		dlm_op_wake(uop);
	} else if (uop->target) {
		dlm_cancel_end(uop);
	} else {
		dlm_cancel_too_late(uop);
	}
}

static void settle_request(struct dlm_lock *lock)
{
	struct dlm_op *op = lock->op;

	if (op->accepted)
		return; /* stays on its queue, and is reported as it is */
	dlm_send_forget(op->dom->dlm, op->token);
	op->token = 0;
	op->doubt = false;
	op->step = 0;
	if (op->call == DLM_CALL_LOCK)
		dlm_lock_take_off(lock);
	else
		dlm_convert_revert(lock);
	dlm_op_wake(op);
}

void dlm_res_to_recovery(struct dlm_res *res)
{
	struct dlm_domain *dom = res->dom;
	struct dlm_lock *lock, *next;

	res->state |= DLM_RES_RECOVERING;
	for (int list = 0; list < 3; list++) {
		cds_list_for_each_entry_safe(lock, next, &res->queue[list], q) {
			if (!dlm_is_self(dom, lock->node))
				continue;
			if (lock->uop && lock->uop->call == DLM_CALL_CANCEL &&
			    (lock->uop->state == OP_OPEN || lock->uop->doubt)) {
				settle_cancel(lock); /* may be the end of the lock */
				continue;
			}
			if (lock->op && list != DLM_LIST_GRANTED)
				settle_request(lock);
			if (lock->uop && lock->uop->call == DLM_CALL_UNLOCK)
				settle_unlock(lock);
		}
	}
	dlm_res_wake(res);
	dlm_res_usage(res);
}

/* ---- a death ---------------------------------------------------------------------------- */

static void drop_dead_locks(struct dlm_res *res, node_t dead)
{
	struct dlm_lock *lock, *next;
	bool any = false;

	dlm_lvb_node_down(res, dead);
	for (int list = 0; list < 3; list++) {
		cds_list_for_each_entry_safe(lock, next, &res->queue[list], q) {
			if (lock->node != dead)
				continue;
			dlm_lock_free(lock);
			any = true;
		}
	}
	if (any)
		res->state |= DLM_RES_RECOVERY_WAITING;
}

/* $RECOVERY: nothing waits for it, and with its owner it is gone (7.6). */
static void clean_reco_lock(struct dlm_res *res, node_t dead)
{
	struct dlm_lock *lock, *next;

	dlm_assert_node_gone(res, dead);
	if (!dlm_migrate_node_gone(res, dead, true) || res->owner == dead) {
		dlm_elect_drop(res);
		return;
	}
	cds_list_for_each_entry_safe(lock, next, &res->queue[DLM_LIST_GRANTED], q)
		if (lock->node == dead)
			dlm_lock_free(lock);
	dlm_ref_clear(res, dead);
	dlm_res_touch(res);
}

static void clean_resource(struct dlm_res *res, node_t dead)
{
	struct dlm_domain *dom = res->dom;

	if (dlm_is_reco_lock(&res->name)) {
		clean_reco_lock(res, dead);
		return;
	}
	dlm_assert_node_gone(res, dead);
	if (!dlm_migrate_node_gone(res, dead, true)) {
		dlm_res_to_recovery(res);
		return;
	}
	if (res->owner == dead && (res->state & DLM_RES_DROPPING_REF)) {
		dlm_res_free(res);
		return;
	}
	if (res->owner == dead) {
		res->state &= (uint16_t)~DLM_RES_MIGRATING;
		dlm_res_to_recovery(res);
		return;
	}
	/* Without an owner: what survivors have reported of it so far (reco_data.c). */
	if (dlm_is_self(dom, res->owner) || res->owner == NODE_NONE)
		drop_dead_locks(res, dead);
	dlm_ref_clear(res, dead);
	dlm_res_dirty(res);
}

/* A third node's migration whose old or new owner is gone: nobody knows the owner now. */
static void clean_migrations(struct dlm_domain *dom, node_t dead)
{
	struct dlm_mle *mle, *next;
	struct dlm_res *res;

	cds_list_for_each_entry_safe(mle, next, &dom->mles, all) {
		if (mle->type != DLM_MLE_MIGRATION ||
		    (mle->master != dead && mle->new_master != dead))
			continue;
		res = dlm_res_visible(dom, &mle->name);
		if (res && dlm_is_self(dom, res->owner))
			continue; /* we are the old owner: undone with the resource */
		dlm_mle_free(mle);
		if (!res)
			continue;
		if (dlm_is_reco_lock(&res->name)) {
			dlm_elect_drop(res);
			continue;
		}
		res->state &= (uint16_t)~DLM_RES_MIGRATING;
		if (res->mle)
			dlm_mle_finish(res->mle);
		dlm_res_set_owner(res, NODE_NONE);
		dlm_res_to_recovery(res);
	}
}

/* ---- the end of a recovery (9.7) ------------------------------------------------------------ */

bool dlm_reco_concerns(const struct dlm_res *res, node_t dead)
{
	return res->owner == dead ||
	       ((res->state & DLM_RES_REDO) && res->dom->reco.redo == dead);
}

void dlm_reco_finalize(struct dlm_domain *dom, node_t dead, node_t owner)
{
	struct dlm_res *res;

	cds_list_for_each_entry(res, &dom->all, all) {
		bool recovered = (res->state & DLM_RES_RECOVERING) &&
				 (dlm_reco_concerns(res, dead) || dlm_is_self(dom, res->owner));

		res->state &= (uint16_t)~DLM_RES_REDO;
		if (recovered) {
			dlm_res_set_owner(res, owner);
			dlm_res_clear(res, DLM_RES_RECOVERING | DLM_RES_RECOVERY_WAITING);
			if (!dlm_is_self(dom, owner))
				res->state |= DLM_RES_REDO;
		} else if (res->state & DLM_RES_RECOVERY_WAITING) {
			dlm_res_clear(res, DLM_RES_RECOVERY_WAITING);
		}
	}
}

void dlm_reco_over(struct dlm_domain *dom, node_t dead)
{
	dlm_map_clear(&dom->recovery, dead);
	dom->reco.dead_node = NODE_NONE;
	dom->reco.new_master = NODE_NONE;
	dom->reco.finalize = false;
	dom->reco.served = false;
	dom->reco.redo = dead;
	if (dead == dom->reco.insist || dead == NODE_NONE) {
		dom->reco.insist = NODE_NONE;
		dom->reco.insisted = 0;
	}
	dom->reco.kick = true;
	dlm_reco_send_drop(dom);
	if (dlm_map_empty(&dom->recovery)) {
		dom->reco.leavers = false;
		dlm_reco_calm(dom);
		dlm_mle_recovered(dom);
	}
}

void dlm_recover_alone(struct dlm_domain *dom)
{
	struct dlm_map others = dom->members;
	struct dlm_res *res;

	dlm_map_clear(&others, dom->dlm->self);
	if (!dlm_domain_up(dom) || !dlm_map_empty(&others) || dlm_map_empty(&dom->recovery))
		return;
	dlm_reco_lead_drop(dom);
	cds_list_for_each_entry(res, &dom->all, all)
		if (res->state & DLM_RES_RECOVERING)
			dlm_reco_claim(res);
	dlm_reco_finalize(dom, NODE_NONE, dom->dlm->self);
	log_info(dom->dlm->log, "dlm", "recovered domain=%s alone", dom->cfg.name);
	dom->recovery = (struct dlm_map){ 0 };
	dlm_tm_clear(dom, &dom->reco.tm);
	dlm_reco_over(dom, NODE_NONE);
}

/* ---- a death ---------------------------------------------------------------------------- */

/* The recovery master of a round that this node takes part in is gone (9.8). */
static void master_gone(struct dlm_domain *dom)
{
	node_t dead = dom->reco.dead_node;

	dlm_reco_send_drop(dom);
	if (dom->reco.finalize) { /* its round counts as complete */
		dlm_reco_over(dom, dead);
	} else {
		dom->reco.new_master = NODE_NONE; /* dead_node stays */
		if (dom->reco.served)
			dom->reco.insist = dead;
	}
}

void dlm_member_died(struct dlm_domain *dom, node_t node)
{
	struct dlm_res *res, *next;

	dlm_fx_evicted(dom, node);
	dlm_map_clear(&dom->live, node);
	dlm_map_clear(&dom->members, node);
	dom->reco.leavers |= dlm_map_test(&dom->exiting, node);
	dlm_map_clear(&dom->exiting, node);
	/* Also while this node is just being let in: it has nothing of the dead one's, but must
	 * not take what that one owned for free. Those who let it in recover, with it or before. */
	if (dlm_domain_up(dom) || dom->state == DLM_DOM_NEW)
		dlm_map_set(&dom->recovery, node);
	if (dom->reco.new_master == node)
		master_gone(dom);
	cds_list_for_each_entry_safe(res, next, &dom->all, all)
		clean_resource(res, node);
	clean_migrations(dom, node);
	dlm_mle_node_gone(dom, node);
	dom->kick = true;
	dlm_reco_lead_node_gone(dom, node);
	dlm_elect_soon(dom);
	dlm_recover_alone(dom);
}

/* ---- clean changes ------------------------------------------------------------------------ */

void dlm_member_joined(struct dlm_domain *dom, node_t node)
{
	dom->reco.redo = NODE_NONE; /* no round is open: all had the end of the last one */
	dlm_mle_node_joined(dom, node);
}

void dlm_member_left(struct dlm_domain *dom, node_t node)
{
	struct dlm_res *res, *next;

	cds_list_for_each_entry_safe(res, next, &dom->all, all) {
		dlm_assert_node_gone(res, node);
		if (res->owner == node && (res->state & DLM_RES_DROPPING_REF)) {
			dlm_res_free(res); /* a DEREF was lost, and what it had went to another */
			continue;
		}
		(void)dlm_migrate_node_gone(res, node, false);
		dlm_ref_clear(res, node);
		dlm_res_usage(res);
	}
	dlm_mle_node_gone(dom, node);
	dom->kick = true;
	dom->reco.kick = true;
	if (dom->reco.new_master == node)
		master_gone(dom);
	dlm_reco_lead_node_gone(dom, node);
	dlm_recover_alone(dom);
}

/* ---- messages ------------------------------------------------------------------------------ */

struct dlm_reply dlm_reco_handler(struct dlm_domain *dom, node_t from, uint16_t type,
				  const struct dlm_wire_reco *m)
{
	switch (type) {
	case DLM_BEGIN_RECO_MSG:
		return dlm_begin_reco_handler(dom, from, m->dead_node);
	case DLM_LOCK_REQUEST_MSG:
		return dlm_lock_request_handler(dom, from, m->dead_node);
	case DLM_RECO_DATA_DONE_MSG:
		return dlm_reco_done_handler(dom, from, m->dead_node);
	default:
		return dlm_finalize_handler(dom, from, m);
	}
}
