/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * resource.c: a lock resource, its place in the table, its end (dlm.md 1.2 to 1.7).
 *
 * A resource is used while anything can still come back to it: a lock, a request of this
 * node, an open delivery, an assert or migration job, a mastery entry, a reference of
 * another node. Only an unused one is on the purge list, and only the purge run frees it:
 * at once where this node owns it (nobody else knows it then), else after the owner has
 * been told (DEREF), with DROPPING_REF hiding it meanwhile.
 *
 * There is no clock here. The purge list is stamped with a tick of an eighth of the purge
 * age, and the timer that makes ticks runs while the list is not empty.
 */
#include "dlm/dlm_int.h"

_Static_assert(sizeof(void *) != 8 || sizeof(struct dlm_res) + sizeof(struct dlm_lock) <= 400,
	       "a resource with one lock is the unit of this core's memory");

#define PURGE_TICKS 8
#define STALL_MS 200

static void deref_send(struct dlm_res *res);

/* FNV-1a; local, never on the wire. */
uint32_t dlm_name_hash(const struct dlm_name *name)
{
	uint32_t h = 2166136261u;

	for (unsigned int i = 0; i < name->len; i++)
		h = (h ^ name->bytes[i]) * 16777619u;
	return h ^ h >> 15;
}

struct dlm_res *dlm_res_find(struct dlm_domain *dom, const struct dlm_name *name)
{
	struct dlm_res *res = dom->hash[dlm_name_hash(name) & dom->hash_mask];

	while (res && !dlm_name_equal(&res->name, name))
		res = res->hash_next;
	return res;
}

struct dlm_res *dlm_res_visible(struct dlm_domain *dom, const struct dlm_name *name)
{
	struct dlm_res *res = dlm_res_find(dom, name);

	return res && !(res->state & DLM_RES_DROPPING_REF) ? res : NULL;
}

/* Without memory the table stays as it is, only slower. */
static void grow_table(struct dlm_domain *dom)
{
	size_t mask = dom->hash_mask * 4 + 3;
	struct dlm_res **hash = calloc(mask + 1, sizeof(struct dlm_res *));
	struct dlm_res *res;

	if (!hash)
		return;
	cds_list_for_each_entry(res, &dom->all, all) {
		struct dlm_res **slot = &hash[dlm_name_hash(&res->name) & mask];

		res->hash_next = *slot;
		*slot = res;
	}
	free(dom->hash);
	dom->hash = hash;
	dom->hash_mask = mask;
}

struct dlm_res *dlm_res_new(struct dlm_domain *dom, const struct dlm_name *name)
{
	struct dlm_res *res = calloc(1, sizeof(*res));
	struct dlm_res **slot;

	if (!res)
		return NULL;
	if (dom->stats.resources > dom->hash_mask)
		grow_table(dom);
	res->dom = dom;
	res->name = *name;
	res->owner = NODE_NONE;
	res->state = DLM_RES_IN_PROGRESS;
	for (int i = 0; i < 3; i++)
		CDS_INIT_LIST_HEAD(&res->queue[i]);
	CDS_INIT_LIST_HEAD(&res->deliver);
	CDS_INIT_LIST_HEAD(&res->waiters);
	CDS_INIT_LIST_HEAD(&res->work);
	slot = &dom->hash[dlm_name_hash(name) & dom->hash_mask];
	res->hash_next = *slot;
	*slot = res;
	cds_list_add_tail(&res->all, &dom->all);
	dom->stats.resources++;
	return res;
}

void dlm_res_free(struct dlm_res *res)
{
	struct dlm_domain *dom = res->dom;
	struct dlm_res **slot = &dom->hash[dlm_name_hash(&res->name) & dom->hash_mask];
	struct dlm_lock *lock, *next;

	dlm_res_wake(res);
	for (int i = 0; i < 3; i++)
		cds_list_for_each_entry_safe(lock, next, &res->queue[i], q)
			dlm_lock_free(lock);
	dlm_assert_drop(res);
	dlm_migrate_drop(res);
	if (res->mle)
		dlm_mle_free(res->mle);
	dlm_send_forget(dom->dlm, res->token);
	if (res->setref)
		dlm_sends_forget(dom->dlm, res);
	while (*slot != res)
		slot = &(*slot)->hash_next;
	*slot = res->hash_next;
	cds_list_del(&res->all);
	cds_list_del(&res->work);
	dom->stats.resources--;
	if (cds_list_empty(&dom->all))
		dom->kick = true;
	free(res);
}

void dlm_res_dirty(struct dlm_res *res)
{
	dlm_res_touch(res);
	res->state |= DLM_RES_SHUFFLE;
}

void dlm_res_touch(struct dlm_res *res)
{
	if (res->state & DLM_RES_DIRTY)
		return;
	cds_list_del_init(&res->work);
	res->state = (uint16_t)((res->state & ~DLM_RES_PURGE) | DLM_RES_DIRTY);
	cds_list_add_tail(&res->work, &res->dom->dirty);
}

void dlm_res_wake(struct dlm_res *res)
{
	struct dlm_op *op, *next;

	cds_list_for_each_entry_safe(op, next, &res->waiters, link)
		dlm_op_wake(op);
}

void dlm_res_set_owner(struct dlm_res *res, node_t owner)
{
	if (res->owner == owner)
		return;
	if (dlm_is_self(res->dom, owner))
		res->dom->stats.masters++;
	else
		res->refs = (struct dlm_map){ 0 };
	res->owner = owner;
	dlm_res_wake(res);
}

void dlm_res_set(struct dlm_res *res, uint16_t flags)
{
	res->state |= flags;
	dlm_res_usage(res);
}

/* Whoever waits looks again; a resource of ours is looked over, as nothing was granted
 * while the flag stood. */
void dlm_res_clear(struct dlm_res *res, uint16_t flags)
{
	res->state &= (uint16_t)~flags;
	dlm_res_wake(res);
	dlm_res_dirty(res);
}

enum dlm_status dlm_res_state_reply(const struct dlm_res *res)
{
	if (res->state & (DLM_RES_RECOVERING | DLM_RES_RECOVERY_WAITING))
		return DLM_RECOVERING;
	if (res->state & DLM_RES_MIGRATING)
		return DLM_MIGRATING;
	if (res->state & DLM_RES_IN_PROGRESS)
		return DLM_FORWARD;
	return DLM_NORMAL;
}

bool dlm_res_has_locks(struct dlm_res *res)
{
	return !cds_list_empty(&res->queue[0]) || !cds_list_empty(&res->queue[1]) ||
	       !cds_list_empty(&res->queue[2]);
}

bool dlm_res_unused(struct dlm_res *res)
{
	const uint16_t busy = DLM_RES_DIRTY | DLM_RES_DROPPING_REF | DLM_RES_LOCAL_WAIT;

	return !dlm_res_has_locks(res) && !res->inflight && !(res->state & busy) &&
	       !res->open && !res->assert && !res->mig && !res->mle &&
	       cds_list_empty(&res->waiters) && dlm_map_empty(&res->refs);
}

/* ---- purge -------------------------------------------------------------------- */

void dlm_res_usage(struct dlm_res *res)
{
	struct dlm_domain *dom = res->dom;

	if (dom->gone) /* all is being dropped */
		return;
	if (!dlm_res_unused(res)) {
		if (res->state & DLM_RES_PURGE) {
			res->state &= (uint16_t)~DLM_RES_PURGE;
			cds_list_del_init(&res->work);
		}
		return;
	}
	if (dom->state == DLM_DOM_IN_SHUTDOWN)
		dom->kick = true;
	if (res->state & DLM_RES_PURGE)
		return;
	res->state |= DLM_RES_PURGE;
	res->stamp = dom->tick;
	cds_list_add_tail(&res->work, &dom->purge);
	if (!dom->tick_tm.id)
		dlm_tm_set(dom, &dom->tick_tm, dom->dlm->cfg.purge_ms / PURGE_TICKS);
}

static void purge_one(struct dlm_res *res)
{
	struct dlm_domain *dom = res->dom;

	res->state &= (uint16_t)~DLM_RES_PURGE;
	cds_list_del_init(&res->work);
	dom->stats.purges++;
	if (dlm_is_self(dom, res->owner)) {
		dlm_res_free(res);
		return;
	}
	res->state |= DLM_RES_DROPPING_REF;
	if (!res->setref) /* else when the ASSERT's reply is written: assert.c */
		deref_send(res);
}

void dlm_purge_run(struct dlm_domain *dom)
{
	bool all = dom->state == DLM_DOM_IN_SHUTDOWN;
	struct dlm_res *res, *next;

	cds_list_for_each_entry_safe(res, next, &dom->purge, work) {
		if (!all && dom->tick - res->stamp <= PURGE_TICKS)
			break;
		purge_one(res);
	}
}

void dlm_purge_tick(void *arg)
{
	struct dlm_domain *dom = arg;

	dom->tick++;
	dlm_purge_run(dom);
	if (!cds_list_empty(&dom->purge))
		dlm_tm_set(dom, &dom->tick_tm, dom->dlm->cfg.purge_ms / PURGE_TICKS);
}

/* ---- DEREF, the holder's side --------------------------------------------------- */

void dlm_stall(struct dlm_res *res)
{
	struct dlm_domain *dom = res->dom;

	res->state |= DLM_RES_STALLED;
	dom->stalled = true;
	if (!dom->stall_tm.id)
		dlm_tm_set(dom, &dom->stall_tm, STALL_MS);
}

static void deref_sent(void *arg, node_t node, int err, int32_t status)
{
	struct dlm_res *res = arg;
	struct dlm_domain *dom = res->dom;

	res->token = 0;
	if (err && err != -ENOPROTOOPT && dlm_map_test(&dom->members, node)) {
		dlm_stall(res); /* the owner lives and must know; the handler is idempotent */
		return;
	}
	if (!err && status == 1)
		return; /* DEREF_LOCKRES_DONE follows */
	dlm_res_free(res);
}

static void deref_send(struct dlm_res *res)
{
	struct dlm_wire_ref m = { .node = res->dom->dlm->self, .name = res->name };
	uint8_t buf[128];

	res->token = dlm_send(res->dom, res->owner, DLM_DEREF_LOCKRES_MSG, buf,
				    dlm_put_deref(&m, buf, sizeof(buf)), deref_sent, res);
}

void dlm_deref_resume(struct dlm_res *res)
{
	if ((res->state & DLM_RES_DROPPING_REF) && !res->setref && !res->token)
		deref_send(res);
}

struct dlm_reply dlm_deref_done_handler(struct dlm_domain *dom, node_t from,
					const struct dlm_wire_ref *m)
{
	struct dlm_res *res = dlm_res_find(dom, &m->name);

	if (!res)
		return dlm_reply_status(-EINVAL);
	if ((res->state & DLM_RES_DROPPING_REF) && res->owner == from)
		dlm_res_free(res);
	return dlm_reply_status(0);
}

/* ---- DEREF, the owner's side ------------------------------------------------------ */

struct dlm_reply dlm_deref_handler(struct dlm_domain *dom, node_t from,
				   const struct dlm_wire_ref *m)
{
	struct dlm_res *res = dlm_res_find(dom, &m->name);

	if (!res || !dlm_is_self(dom, res->owner))
		return dlm_reply_status(-EINVAL);
	if (res->assert && res->assert->running) {
		dlm_map_set(&res->assert->derefs, from);
		return dlm_reply_status(1);
	}
	if (!dlm_map_test(&res->refs, from))
		log_debug(dom->dlm->log, "dlm", "deref without a reference node=%u", from);
	dlm_map_clear(&res->refs, from);
	dlm_res_usage(res);
	return dlm_reply_status(0);
}
