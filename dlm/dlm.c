/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * dlm.c: the node object, its inputs, and the work that ends each input.
 *
 * The order inside an input: the handler or call changes state and decides the reply;
 * then requests that were woken go on, in the order they were woken; then dirty resources
 * are shuffled and deliver. A request is never run from within another one's step.
 */
#include "dlm/dlm_int.h"

/* One input serves at most so many; a timer of 0 ms goes on after others had a turn. */
#define OPS_PER_INPUT 4096
#define DIRTY_PER_INPUT 256

struct dlm *dlm_new(const struct dlm_config *cfg, const struct dlm_transport *tr, void *ctx)
{
	struct dlm *dlm = calloc(1, sizeof(*dlm));

	if (!dlm)
		return NULL;
	dlm->cfg = *cfg;
	dlm->log = cfg->log;
	dlm->tr = tr;
	dlm->ctx = ctx;
	dlm->self = cfg->self;
	CDS_INIT_LIST_HEAD(&dlm->domains);
	return dlm;
}

void dlm_free(struct dlm *dlm)
{
	struct dlm_domain *dom, *next;

	if (!dlm)
		return;
	assert(!dlm->inside);
	dlm->inside = true; /* effects are made, and dropped */
	cds_list_for_each_entry_safe(dom, next, &dlm->domains, link) {
		dlm_domain_release(dom);
		dlm_locks_free(dom);
		cds_list_del(&dom->link);
		free(dom);
	}
	free(dlm->slots);
	free(dlm->fx);
	free(dlm);
}

void dlm_clock(struct dlm *dlm, uint32_t now_s)
{
	dlm->now_s = now_s;
}

void dlm_set_table(struct dlm *dlm, const struct dlm_table_entry *table)
{
	memcpy(dlm->table, table, sizeof(dlm->table));
}

/*
 * 56 bits after the node number. Starts at a random point so that a late message of an
 * earlier life of this node cannot match (dlm.md 9.9).
 */
uint64_t dlm_next_cookie(struct dlm *dlm)
{
	const uint64_t mask = (1ull << 56) - 1;

	if (!dlm->cookie_seq)
		dlm->cookie_seq = (uint64_t)dlm->tr->random(dlm->ctx, 1u << 27) << 28 |
				  dlm->tr->random(dlm->ctx, 1u << 28);
	dlm->cookie_seq = (dlm->cookie_seq + 1) & mask;
	if (!dlm->cookie_seq)
		dlm->cookie_seq = 1;
	return (uint64_t)dlm->self << 56 | dlm->cookie_seq;
}

/* ---- nodes -------------------------------------------------------------------- */

void dlm_node_up(struct dlm *dlm, node_t node)
{
	struct dlm_domain *dom;

	if (node >= NODE_MAX)
		return;
	dlm_enter(dlm);
	dlm_map_set(&dlm->live, node);
	cds_list_for_each_entry(dom, &dlm->domains, link)
		if (!dom->gone)
			dlm_domain_node_up(dom, node);
	dlm_exit(dlm);
}

void dlm_node_down(struct dlm *dlm, node_t node)
{
	struct dlm_domain *dom;

	if (node >= NODE_MAX)
		return;
	dlm_enter(dlm);
	dlm_map_clear(&dlm->live, node);
	dlm_replies_lost(dlm, node);
	cds_list_for_each_entry(dom, &dlm->domains, link)
		if (!dom->gone)
			dlm_domain_node_down(dom, node);
	dlm_exit(dlm);
}

void dlm_link_up(struct dlm *dlm, node_t node, uint32_t epoch)
{
	struct dlm_domain *dom;

	(void)epoch;
	if (node >= NODE_MAX)
		return;
	dlm_enter(dlm);
	dlm_replies_lost(dlm, node);
	cds_list_for_each_entry(dom, &dlm->domains, link)
		if (!dom->gone)
			dlm_deliver_again(dom, node);
	dlm_exit(dlm);
}

struct dlm_domain *dlm_domain_by_key(struct dlm *dlm, uint32_t key)
{
	struct dlm_domain *dom;

	cds_list_for_each_entry(dom, &dlm->domains, link)
		if (!dom->gone && dom->key == key)
			return dom;
	return NULL;
}

struct dlm_domain *dlm_domain_by_name(struct dlm *dlm, const char *name, size_t len)
{
	struct dlm_domain *dom;

	cds_list_for_each_entry(dom, &dlm->domains, link)
		if (!dom->gone && strlen(dom->cfg.name) == len &&
		    memcmp(dom->cfg.name, name, len) == 0)
			return dom;
	return NULL;
}

/* ---- a domain's locks ------------------------------------------------------------- */

static void work_timer(void *arg)
{
	(void)arg; /* dlm_exit does the work */
}

static void stall_timer(void *arg)
{
	dlm_deliver_again(arg, NODE_NONE);
}

int dlm_locks_init(struct dlm_domain *dom)
{
	dom->hash_mask = 1023;
	dom->hash = calloc(dom->hash_mask + 1, sizeof(struct dlm_res *));
	dom->mle_hash = calloc(DLM_MLE_BUCKETS, sizeof(struct dlm_mle *));
	if (!dom->hash || !dom->mle_hash) {
		free(dom->hash);
		free(dom->mle_hash);
		return -ENOMEM;
	}
	CDS_INIT_LIST_HEAD(&dom->all);
	CDS_INIT_LIST_HEAD(&dom->mles);
	CDS_INIT_LIST_HEAD(&dom->ops);
	CDS_INIT_LIST_HEAD(&dom->run);
	CDS_INIT_LIST_HEAD(&dom->dirty);
	for (unsigned int i = 0; i < DLM_PURGE_LISTS; i++)
		CDS_INIT_LIST_HEAD(&dom->purge[i]);
	CDS_INIT_LIST_HEAD(&dom->wait_reco);
	dlm_elect_init(dom);
	dlm_tm_init(&dom->work_tm, work_timer, dom);
	dlm_tm_init(&dom->tick_tm, dlm_purge_tick, dom);
	dlm_tm_init(&dom->stall_tm, stall_timer, dom);
	return 0;
}

void dlm_locks_free(struct dlm_domain *dom)
{
	struct dlm_op *op, *next_op;
	struct dlm_res *res, *next_res;
	struct dlm_mle *mle, *next_mle;

	if (!dom->hash)
		return;
	dom->gone = true;
	dlm_reco_lead_drop(dom);
	dlm_reco_send_drop(dom);
	dlm_slots_drop(dom);
	cds_list_for_each_entry_safe(mle, next_mle, &dom->mles, all)
		dlm_mle_free(mle);
	cds_list_for_each_entry_safe(op, next_op, &dom->ops, all) {
		struct dlm_lock *lock = op->lock;

		dlm_op_free(op);
		if (lock->list == DLM_LIST_NONE && !lock->op && !lock->uop)
			dlm_lock_free(lock); /* on no queue: nobody else would */
	}
	cds_list_for_each_entry_safe(res, next_res, &dom->all, all)
		dlm_res_free(res);
	dlm_slots_drop(dom);
	free(dom->hash);
	free(dom->mle_hash);
	dom->hash = NULL;
	dom->mle_hash = NULL;
}

static void serve_dirty(struct dlm_domain *dom)
{
	struct dlm_res *res = cds_list_first_entry(&dom->dirty, struct dlm_res, work);
	bool shuffle = res->state & DLM_RES_SHUFFLE;

	cds_list_del_init(&res->work);
	res->state &= (uint16_t)~(DLM_RES_DIRTY | DLM_RES_SHUFFLE);
	if (shuffle)
		dlm_shuffle(res);
	dlm_deliver(res);
	dlm_migrate_step(res);
	dlm_res_usage(res);
}

void dlm_domain_work(struct dlm_domain *dom)
{
	unsigned int ops = 0, dirty = 0;

	if (!dom->hash)
		return;
	for (;;) {
		if (!cds_list_empty(&dom->run)) {
			if (ops++ == OPS_PER_INPUT)
				break;
			dlm_op_run(cds_list_first_entry(&dom->run, struct dlm_op, link));
		} else if (!cds_list_empty(&dom->dirty)) {
			if (dirty++ == DIRTY_PER_INPUT)
				break;
			serve_dirty(dom);
		} else if (dom->reco.kick) {
			dom->reco.kick = false;
			dlm_reco_look(dom);
		} else if (dom->state == DLM_DOM_IN_SHUTDOWN && dom->kick) {
			dom->kick = false;
			if (dom->leave_begun && dlm_leave_pass(dom))
				dlm_domain_emptied(dom);
		} else {
			return;
		}
	}
	dlm_tm_set(dom, &dom->work_tm, 0);
}

const struct dlm_stats *dlm_domain_stats(const struct dlm_domain *dom)
{
	return &dom->stats;
}
