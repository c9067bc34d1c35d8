/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * reco_data.c: at the recovery master, the locks that survivors report (dlm.md 9.4, 9.5).
 *
 * Each survivor sends its own locks on every resource of the dead node, and "I hold a
 * reference" where it has none. The first one makes this node the owner; until the round
 * is over the resource is RECOVERING, so what comes in any order is only collected.
 *
 * Some have lost the owner in the middle of a migration (owner 255). It may live: the
 * members are asked (MASTER_REQUERY). If one says "I am", it also tells everybody, and what
 * was collected is dropped; a survivor of a migration always wins over collected data. If
 * none does, this node is the owner, and tells at the end, as those who sent it cannot know.
 */
#include "dlm/dlm_int.h"

#define LINK_MS 200

struct ask {
	struct cds_list_head link;
	struct dlm_domain *dom;
	struct dlm_name name;
	struct dlm_map open, retry;
	struct dlm_map named; /* whom members take for the owner */
	bool claimed; /* a living node owns it, or one whose round is still to come */
	bool over;
	bool tell; /* who sent it without an owner cannot know who gets it */
	struct dlm_tm tm;
};

/* ---- becoming the owner ------------------------------------------------------------------ */

/* An accepted downconversion whose AST was lost is before whatever it makes possible. */
static void place_converting(struct dlm_lock *lock, struct dlm_res *res)
{
	if (lock->mode > lock->convert)
		dlm_lock_move_head(lock, res, DLM_LIST_CONVERTING);
	else
		dlm_lock_move(lock, res, DLM_LIST_CONVERTING);
}

static struct ask *asked_for(struct dlm_domain *dom, const struct dlm_name *name)
{
	struct ask *ask;

	if (!dom->reco.lead)
		return NULL;
	cds_list_for_each_entry(ask, dlm_reco_asks(dom), link)
		if (dlm_name_equal(&ask->name, name))
			return ask;
	return NULL;
}

void dlm_reco_claim(struct dlm_res *res)
{
	struct dlm_domain *dom = res->dom;
	struct dlm_mle *mle = res->mle ? res->mle : dlm_mle_find(dom, &res->name);
	struct dlm_lock *lock, *next;

	res->state |= DLM_RES_RECOVERING;
	if (dlm_is_self(dom, res->owner))
		return;
	if (!asked_for(dom, &res->name)) { /* else its value has been looked at, and locks have come */
		dlm_lvb_adopt(res);
		dlm_refs_drop(res);
	}
	dlm_res_set_owner(res, dom->dlm->self);
	if (mle && mle->res)
		dlm_mle_finish(mle);
	else if (mle)
		dlm_mle_free(mle);
	res->state &= (uint16_t)~DLM_RES_IN_PROGRESS;
	cds_list_for_each_entry_safe(lock, next, &res->queue[DLM_LIST_CONVERTING], q)
		if (lock->mode > lock->convert)
			dlm_lock_move_head(lock, res, DLM_LIST_CONVERTING);
	dlm_res_usage(res);
}

void dlm_reco_yield(struct dlm_res *res)
{
	if (!dlm_is_self(res->dom, res->owner) && res->owner != NODE_NONE)
		return;
	dlm_res_drop_foreign(res);
	dlm_refs_drop(res);
	dlm_lvb_adopt(res); /* the value may be another's by now: */
	memset(res->lvb, 0, DLM_LVB_LEN);
}

/* ---- who owns it? -------------------------------------------------------------------------- */

/* The migration was nearly over, and the other one died as well: in that one's round. */
static bool owned_by_other_dead(const struct ask *ask)
{
	dlm_map_for_each(n, &ask->named)
		if (n != ask->dom->reco.dead_node && dlm_map_test(&ask->dom->recovery, n))
			return true;
	return false;
}

static void ask_over(struct ask *ask)
{
	struct dlm_domain *dom = ask->dom;
	struct dlm_res *res;

	if (ask->over || !dlm_map_empty(&ask->open) || !dlm_map_empty(&ask->retry))
		return;
	ask->over = true;
	ask->claimed |= owned_by_other_dead(ask);
	res = dlm_res_find(dom, &ask->name);
	if (res && (res->state & DLM_RES_RECOVERING) && res->owner == NODE_NONE) {
		if (!ask->claimed) {
			dlm_reco_claim(res);
		} else {
			dlm_res_drop_foreign(res);
			dlm_refs_drop(res);
			if (!dlm_res_has_locks(res) && !res->inflight && !res->mle &&
			    cds_list_empty(&res->waiters))
				dlm_res_free(res); /* here only for what others sent */
		}
	}
	dlm_reco_collected(dom);
}

static void asked(void *arg, node_t node, int err, int32_t status)
{
	struct ask *ask = arg;

	if (!dlm_map_test(&ask->open, node))
		return;
	dlm_map_clear(&ask->open, node);
	if (err && !dlm_peer_gone(ask->dom, node, err)) {
		dlm_map_set(&ask->retry, node);
		if (!ask->tm.id)
			dlm_tm_set(ask->dom, &ask->tm, LINK_MS);
	} else if (!err && status == node) {
		ask->claimed = true;
	} else if (!err && status >= 0 && status < NODE_MAX) {
		dlm_map_set(&ask->named, (node_t)status);
	}
	ask_over(ask);
}

static void ask_one(struct ask *ask, node_t node)
{
	struct dlm_wire_ref m = { .node = ask->dom->dlm->self, .name = ask->name };
	uint8_t buf[128];

	dlm_map_set(&ask->open, node);
	dlm_send(ask->dom, node, DLM_MASTER_REQUERY_MSG, buf,
		 dlm_put_requery(&m, buf, sizeof(buf)), asked, ask);
}

static void ask_again(void *arg)
{
	struct ask *ask = arg;
	struct dlm_map again = ask->retry;

	ask->retry = (struct dlm_map){ 0 };
	dlm_map_for_each(n, &again)
		ask_one(ask, n);
	ask_over(ask);
}

static struct ask *ask_new(struct dlm_res *res)
{
	struct dlm_domain *dom = res->dom;
	struct ask *ask = dlm_xalloc(dom->dlm, sizeof(*ask));

	ask->dom = dom;
	ask->name = res->name;
	dlm_tm_init(&ask->tm, ask_again, ask);
	cds_list_add_tail(&ask->link, dlm_reco_asks(dom));
	return ask;
}

static struct ask *ask_all(struct dlm_res *res)
{
	struct dlm_domain *dom = res->dom;
	struct ask *ask;

	dlm_lvb_adopt(res);
	dlm_refs_drop(res);
	ask = ask_new(res);
	dlm_map_for_each(n, &dom->members)
		if (!dlm_is_self(dom, n))
			ask_one(ask, n);
	return ask;
}

bool dlm_reco_asking(struct cds_list_head *asks)
{
	struct ask *ask;

	cds_list_for_each_entry(ask, asks, link)
		if (!ask->over)
			return true;
	return false;
}

void dlm_reco_asks_node_gone(struct dlm_domain *dom, node_t node)
{
	struct ask *ask, *next;

	cds_list_for_each_entry_safe(ask, next, dlm_reco_asks(dom), link) {
		dlm_map_clear(&ask->open, node);
		dlm_map_clear(&ask->retry, node);
		if (ask->over || !dlm_map_empty(&ask->open) || !dlm_map_empty(&ask->retry))
			continue;
		ask_over(ask); /* may end the round, and with it the list */
		if (!dom->reco.lead)
			return;
	}
}

void dlm_reco_asks_over(struct dlm_domain *dom, struct cds_list_head *asks, bool tell)
{
	struct ask *ask, *next;
	struct dlm_res *res;

	cds_list_for_each_entry_safe(ask, next, asks, link) {
		res = tell && ask->tell && !ask->claimed ? dlm_res_visible(dom, &ask->name) : NULL;
		if (res && dlm_is_self(dom, res->owner))
			dlm_assert_all(res, DLM_ASSERT_REQUERY);
		dlm_sends_forget(dom->dlm, ask);
		dlm_tm_clear(dom, &ask->tm);
		cds_list_del(&ask->link);
		free(ask);
	}
}

void dlm_reco_claim_own(struct dlm_domain *dom)
{
	struct dlm_res *res;

	cds_list_for_each_entry(res, &dom->all, all) {
		if (!(res->state & DLM_RES_RECOVERING))
			continue;
		if (res->owner == NODE_NONE)
			ask_all(res)->tell = true;
		else if (dlm_reco_concerns(res, dom->reco.dead_node))
			dlm_reco_claim(res);
	}
}

/* ---- MIG_LOCKRES with RECOVERY ------------------------------------------------------------------ */

static int refuse(struct dlm_domain *dom, node_t from, const struct dlm_wire_mig *m)
{
	if (!dlm_reco_collects(dom, from) || dlm_is_reco_lock(&m->name))
		return -EINVAL;
	if (m->master != dom->reco.dead_node && m->master != NODE_NONE)
		return -EINVAL;
	for (unsigned int i = 0; i < m->num_locks; i++)
		if (m->locks[i].node != from)
			return -EINVAL;
	return 0;
}

static void take(struct dlm_res *res, const struct dlm_wire_mig_lock *l, const uint8_t *lvb)
{
	struct dlm *dlm = res->dom->dlm;
	struct dlm_lock *lock;

	dlm_ref_set(res, l->node);
	if (dlm_wire_mig_is_dummy(l) || dlm_lock_find(res, l->node, l->cookie))
		return;
	lock = dlm_lock_new(dlm, l->node, l->cookie, l->mode);
	lock->convert = l->convert_mode;
	lock->lksb = l->flags & (DLM_LKSB_PUT_LVB | DLM_LKSB_GET_LVB);
	if (l->list == DLM_LIST_CONVERTING)
		place_converting(lock, res);
	else
		dlm_lock_move(lock, res, l->list);
	dlm_lvb_from_migrate(res, l, lvb);
}

/*
 * The resource that takes what m says; NULL: nothing is to be taken. One that this node has
 * no copy of hears nothing from an owner that lives, be it the old one of a migration whose
 * target died, or the target: so the members are asked about it, too.
 */
static struct dlm_res *taker(struct dlm_domain *dom, const struct dlm_wire_mig *m,
			     struct dlm_res *res)
{
	struct ask *ask = asked_for(dom, &m->name);
	bool stranger = !res;

	if (ask && ask->claimed && (!res || res->owner == NODE_NONE))
		return NULL;
	if (!res) {
		res = dlm_res_new(dom, &m->name);
		if (!res)
			return NULL;
		res->state = DLM_RES_RECOVERING;
	}
	res->state |= DLM_RES_RECOVERING;
	if (!ask && (m->master == NODE_NONE || (stranger && dlm_reco_moved(dom)))) {
		bool known = dlm_is_self(dom, res->owner);

		ask = known ? ask_new(res) : ask_all(res);
		ask->over = known;
	}
	if (ask)
		ask->tell |= m->master == NODE_NONE;
	if (!ask || ask->over)
		dlm_reco_claim(res);
	return res;
}

struct dlm_reply dlm_reco_data_handler(struct dlm_domain *dom, node_t from,
				       const struct dlm_wire_mig *m)
{
	struct dlm_res *res = dlm_res_find(dom, &m->name);
	int err = refuse(dom, from, m);

	if (err)
		return dlm_reply_status(err);
	/* Also while our reference to it is given back: with a dead owner it would be gone. */
	if (res && res->owner != NODE_NONE && !(res->state & DLM_RES_RECOVERING)) {
		if (dlm_is_self(dom, res->owner))
			dlm_assert_all(res, DLM_ASSERT_REQUERY);
		return dlm_reply_status(0); /* it lives: its owner tells, or is told of */
	}
	res = taker(dom, m, res);
	if (!res)
		return dlm_reply_status(0);
	for (unsigned int i = 0; i < m->num_locks; i++)
		take(res, &m->locks[i], m->lvb);
	dlm_res_usage(res);
	return dlm_reply_status(0);
}
