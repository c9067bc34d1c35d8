/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * reco_elect.c: who is the recovery master (dlm.md 7.6, 9.2, 9.3).
 *
 * Whoever gets the lock on $RECOVERY tells the others (BEGIN_RECO) while it holds it, so two
 * cannot both tell. dlm_reco_look() is the whole decision; it runs at the end of an input
 * when something has changed, and does nothing where another step is still open:
 *
 *	a death --delay--> ACTIVE, ask for the lock --granted--> lead (reco_master.c)
 *	                     ^            |  not queued: another has it and will tell
 *	                     +--- 1 s ----+
 *	BEGIN_RECO: follow; ACTIVE off
 *
 * The lock has no user: its calls come back to dlm_elect_done() within the same input. It
 * dies with its owner in whatever state, so $RECOVERY itself is never recovered; then two
 * may announce themselves after all. Of those the lower number stands: the other one gives
 * up as soon as it is told, and who was told last by the loser learns better from the
 * winner's LOCK_REQUEST.
 */
#include "dlm/dlm_int.h"

#define FIRST_MS 200
#define SPREAD_MS 800 /* so that not every recovery ends on our nodes */
#define ANNOUNCED_MS 1000
#define AGAIN_MS 100
#define INSIST_MAX 30

static const char reco_name[] = "$RECOVERY";

bool dlm_is_reco_lock(const struct dlm_name *name)
{
	return name->len == sizeof(reco_name) - 1 &&
	       memcmp(name->bytes, reco_name, sizeof(reco_name) - 1) == 0;
}

static void timer(void *arg)
{
	struct dlm_domain *dom = arg;

	dom->reco.kick = true;
}

void dlm_elect_init(struct dlm_domain *dom)
{
	dom->reco.dead_node = NODE_NONE;
	dom->reco.new_master = NODE_NONE;
	dom->reco.redo = NODE_NONE;
	dom->reco.insist = NODE_NONE;
	dlm_tm_init(&dom->reco.tm, timer, dom);
}

void dlm_elect_soon(struct dlm_domain *dom)
{
	struct dlm *dlm = dom->dlm;

	dom->reco.kick = true;
	if (!dom->reco.tm.id && !dom->reco.lock && !dom->reco.lead)
		dlm_tm_set(dom, &dom->reco.tm, FIRST_MS + dlm->tr->random(dlm->ctx, SPREAD_MS));
}

void dlm_reco_calm(struct dlm_domain *dom)
{
	struct dlm_op *op, *next;

	if (!dom->reco.active)
		return;
	dom->reco.active = false;
	cds_list_for_each_entry_safe(op, next, &dom->wait_reco, link)
		dlm_op_wake(op);
	dom->kick = true;
}

/* ---- the lock --------------------------------------------------------------------- */

static void ask_for_it(struct dlm_domain *dom)
{
	struct dlm *dlm = dom->dlm;
	struct dlm_lock *lock = dlm_lock_new(dlm, dlm->self, dlm_next_cookie(dlm), DLM_MODE_EX);
	struct dlm_op *op;

	lock->data = dom;
	dom->reco.lock = lock;
	op = dlm_op_new(dom, lock, DLM_CALL_LOCK);
	op->name = dlm_name_make(reco_name, sizeof(reco_name) - 1);
	op->mode = DLM_MODE_EX;
	op->flags = DLM_LKF_NOQUEUE | DLM_LKF_RECOVERY;
	dlm_op_wake(op);
}

void dlm_elect_release(struct dlm_domain *dom)
{
	struct dlm_lock *lock = dom->reco.lock;
	struct dlm_op *op;

	dom->reco.won = false;
	if (!lock || lock->op || lock->uop)
		return;
	op = dlm_op_new(dom, lock, DLM_CALL_UNLOCK);
	op->name = lock->res->name;
	dlm_op_wake(op);
}

void dlm_elect_done(struct dlm_domain *dom, enum dlm_call call, enum dlm_status status)
{
	dom->reco.kick = true;
	if (call == DLM_CALL_LOCK && status == DLM_NORMAL) {
		dom->reco.won = true;
		return;
	}
	dom->reco.lock = NULL; /* freed by whoever says so */
	if (call == DLM_CALL_LOCK)
		dlm_tm_set(dom, &dom->reco.tm,
			   status == DLM_NOTQUEUED ? ANNOUNCED_MS : AGAIN_MS);
}

void dlm_elect_drop(struct dlm_res *res)
{
	struct dlm_domain *dom = res->dom;
	struct dlm_lock *lock = dom->reco.lock;

	if (lock && lock->res == res) {
		if (lock->op)
			dlm_op_free(lock->op);
		if (lock->uop)
			dlm_op_free(lock->uop);
		dlm_lock_free(lock);
		dom->reco.lock = NULL;
		dom->reco.won = false;
		if (dlm_reco_announcing(dom))
			dlm_reco_lead_drop(dom); /* another may have it by now */
		dlm_tm_set(dom, &dom->reco.tm, AGAIN_MS);
	}
	dlm_res_free(res);
}

/* ---- the decision ------------------------------------------------------------------- */

static void use_it(struct dlm_domain *dom)
{
	if (dlm_domain_up(dom) && !dlm_map_empty(&dom->recovery) &&
	    dom->reco.new_master == NODE_NONE && dom->reco.dead_node != NODE_NONE) {
		dom->reco.won = false;
		dlm_reco_lead(dom);
	} else {
		dlm_elect_release(dom);
	}
}

void dlm_reco_look(struct dlm_domain *dom)
{
	if (dom->reco.won)
		use_it(dom);
	if (dom->reco.lead)
		return;
	if (!dlm_domain_up(dom) || dom->migrate_done || dlm_map_empty(&dom->recovery)) {
		dlm_reco_calm(dom);
		return;
	}
	if (dom->reco.new_master != NODE_NONE) {
		dlm_reco_calm(dom);
		return;
	}
	if (dom->reco.tm.id)
		return;
	dom->reco.active = true;
	if (dom->reco.insist != NODE_NONE)
		dom->reco.dead_node = dom->reco.insist;
	if (dom->reco.dead_node == NODE_NONE)
		dom->reco.dead_node = dlm_map_next(&dom->recovery, 0);
	if (!dom->reco.lock)
		ask_for_it(dom);
}

/* ---- BEGIN_RECO ------------------------------------------------------------------------ */

/*
 * The recovery master of an earlier death died when it had this node's locks already. That
 * death goes first: others may have finished its round (reco_peer.c). Not for ever, as a
 * kernel node that announces another one would wait for us.
 */
static bool goes_first(struct dlm_domain *dom, node_t dead)
{
	return dom->reco.insist != NODE_NONE && dom->reco.insist != dead &&
	       dom->reco.insisted++ < INSIST_MAX;
}

static bool refused(struct dlm_domain *dom, node_t from, node_t dead)
{
	node_t self = dom->dlm->self;

	if (dom->reco.finalize || goes_first(dom, dead))
		return true;
	if (dom->reco.lead)
		return !dlm_reco_announcing(dom) || self < from;
	if (dom->reco.new_master == from)
		return dom->reco.served && dom->reco.dead_node != dead;
	return dom->reco.new_master != NODE_NONE && dom->reco.served;
}

/* Others say so, whatever our heartbeat says. */
void dlm_reco_notice(struct dlm_domain *dom, node_t dead)
{
	dlm_map_set(&dom->live, dead);
	dlm_map_set(&dom->members, dead);
	dlm_domain_node_down(dom, dead);
}

struct dlm_reply dlm_begin_reco_handler(struct dlm_domain *dom, node_t from, node_t dead)
{
	bool again = dom->reco.new_master == from && dom->reco.dead_node == dead;

	if (dlm_is_self(dom, dead) || dead == from)
		return dlm_reply_status(-EINVAL);
	if (refused(dom, from, dead))
		return dlm_reply_status(-EAGAIN);
	if (dlm_reco_announcing(dom))
		dlm_reco_lead_drop(dom);
	if (!dlm_map_test(&dom->recovery, dead))
		dlm_reco_notice(dom, dead);
	dom->reco.new_master = from;
	dom->reco.dead_node = dead;
	if (!again)
		dom->reco.served = false;
	dlm_tm_clear(dom, &dom->reco.tm);
	dom->reco.kick = true;
	return dlm_reply_status(0);
}
