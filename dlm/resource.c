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
 * There is no clock here. A tick is an eighth of the purge age; each tick has a purge list,
 * in a ring long enough for those that are not due, and the timer that makes ticks runs
 * while anything is on them.
 *
 * Memory: there may be millions. What most resources never have (references of other
 * nodes) lies outside, and no field is there that a place in a list can tell.
 */
#include "dlm/dlm_int.h"

/* With 8 bytes of malloc's, in steps of 16, and up to 16 of the table: 400 together. */
_Static_assert(sizeof(void *) != 8 || (sizeof(struct dlm_res) <= 280 &&
				       sizeof(struct dlm_lock) <= 88),
	       "a resource with one lock is the unit of this core's memory");

#define STALL_MS 200

static void deref_send(struct dlm_res *res);

/* Eight bytes at a time; local, never on the wire. */
uint32_t dlm_name_hash(const struct dlm_name *name)
{
	uint64_t h = name->len, w;

	for (unsigned int i = 0; i < DLM_NAME_MAX; i += sizeof(w)) {
		memcpy(&w, name->bytes + i, sizeof(w)); /* the tail is zero */
		h = (h ^ w) * 0x9e3779b97f4a7c15u;
		h ^= h >> 32;
	}
	return (uint32_t)h;
}

struct dlm_res *dlm_res_find(struct dlm_domain *dom, const struct dlm_name *name)
{
	struct dlm_res *res = dom->hash[dlm_name_hash(name) & dom->hash_mask];

	for (; res; res = res->hash_next) {
		/* The lines of its queues come while the name is compared. */
		__builtin_prefetch(&res->queue[DLM_LIST_GRANTED]);
		__builtin_prefetch(&res->work);
		if (dlm_name_equal(&res->name, name))
			break;
	}
	return res;
}

void dlm_res_foresee(struct dlm_domain *dom, const struct dlm_name *name)
{
	__builtin_prefetch(&dom->hash[dlm_name_hash(name) & dom->hash_mask]);
}

struct dlm_res *dlm_res_visible(struct dlm_domain *dom, const struct dlm_name *name)
{
	struct dlm_res *res = dlm_res_find(dom, name);

	return res && !(res->state & DLM_RES_DROPPING_REF) ? res : NULL;
}

/* ---- references of other nodes --------------------------------------------------- */

const struct dlm_map *dlm_refs(const struct dlm_res *res)
{
	static const struct dlm_map nobody;

	return res->refmap ? res->refmap : &nobody;
}

void dlm_ref_set(struct dlm_res *res, node_t node)
{
	if (!res->refmap)
		res->refmap = dlm_xalloc(res->dom->dlm, sizeof(*res->refmap));
	dlm_map_set(res->refmap, node);
}

void dlm_ref_clear(struct dlm_res *res, node_t node)
{
	if (!res->refmap)
		return;
	dlm_map_clear(res->refmap, node);
	if (dlm_map_empty(res->refmap))
		dlm_refs_drop(res);
}

void dlm_refs_drop(struct dlm_res *res)
{
	free(res->refmap);
	res->refmap = NULL;
}

/* ---- the table -------------------------------------------------------------------- */

/* Without memory the table stays as it is, only slower. */
static void grow_table(struct dlm_domain *dom)
{
	size_t mask = dom->hash_mask * 2 + 1;
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

static void purge_list_leave(struct dlm_res *res)
{
	if (!(res->state & DLM_RES_PURGE))
		return;
	res->state &= (uint16_t)~DLM_RES_PURGE;
	res->dom->unused--;
	cds_list_del_init(&res->work);
}

void dlm_res_free(struct dlm_res *res)
{
	struct dlm_domain *dom = res->dom;
	struct dlm_res **slot = &dom->hash[dlm_name_hash(&res->name) & dom->hash_mask];
	struct dlm_lock *lock, *next;

	dlm_reco_send_forget(res);
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
	purge_list_leave(res);
	cds_list_del(&res->work);
	dlm_refs_drop(res);
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
	purge_list_leave(res);
	res->state |= DLM_RES_DIRTY;
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
	res->state &= (uint16_t)~DLM_RES_REDO;
	if (dlm_is_self(res->dom, owner))
		res->dom->stats.masters++;
	else
		dlm_refs_drop(res);
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
	       cds_list_empty(&res->waiters) && dlm_map_empty(dlm_refs(res));
}

/* ---- purge -------------------------------------------------------------------- */

void dlm_res_usage(struct dlm_res *res)
{
	struct dlm_domain *dom = res->dom;

	if (dom->gone) /* all is being dropped */
		return;
	if (!dlm_res_unused(res)) {
		purge_list_leave(res);
		return;
	}
	if (dom->state == DLM_DOM_IN_SHUTDOWN)
		dom->kick = true;
	if (res->state & DLM_RES_PURGE)
		return;
	res->state |= DLM_RES_PURGE;
	dom->unused++;
	cds_list_add_tail(&res->work, &dom->purge[dom->tick % DLM_PURGE_LISTS]);
	if (!dom->tick_tm.id)
		dlm_tm_set(dom, &dom->tick_tm, dom->dlm->cfg.purge_ms / DLM_PURGE_TICKS);
}

static void purge_one(struct dlm_res *res)
{
	struct dlm_domain *dom = res->dom;

	purge_list_leave(res);
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

	/* The oldest list is the one that the next tick fills. */
	for (uint32_t i = 1; i <= (all ? DLM_PURGE_LISTS : 1u); i++)
		cds_list_for_each_entry_safe(
			res, next, &dom->purge[(dom->tick + i) % DLM_PURGE_LISTS], work)
			purge_one(res);
}

void dlm_purge_tick(void *arg)
{
	struct dlm_domain *dom = arg;

	dom->tick++;
	dlm_purge_run(dom);
	if (dom->unused)
		dlm_tm_set(dom, &dom->tick_tm, dom->dlm->cfg.purge_ms / DLM_PURGE_TICKS);
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
	if (!dlm_map_test(dlm_refs(res), from))
		log_debug(dom->dlm->log, "dlm", "deref without a reference node=%u", from);
	dlm_ref_clear(res, from);
	dlm_res_usage(res);
	return dlm_reply_status(0);
}
