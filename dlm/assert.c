/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * assert.c: telling others who the owner is (dlm.md 3.3, 7.3).
 *
 * A job tells a set of nodes in one round; jobs of a resource run one after another. While
 * one runs, a DEREF is deferred (the reply that says "I hold a reference" may be on its
 * way) and a migration does not begin. A receiver that answers REASSERT has asked others
 * for the name meanwhile: the whole round is repeated, so that no BLOCK entry stays.
 *
 * When an answer is lost with the link, it may have said that the node holds a reference,
 * and the repetition will not say so again. So the bit is set, and at the end the node is
 * asked (REQUERY): one that does not know the resource holds none.
 */
#include "dlm/dlm_int.h"

#define LINK_MS 200
#define REFUSED_MS 1000

static void run_next(struct dlm_res *res);

static void assert_sent(void *arg, node_t node, int err, int32_t status);

static void tell(struct dlm_assert *job, node_t node)
{
	struct dlm_res *res = job->res;
	struct dlm_wire_master m = { .node = res->dom->dlm->self, .flags = job->flags,
				     .name = res->name };
	uint8_t buf[128];

	dlm_map_clear(&job->retry, node);
	dlm_map_set(&job->open, node);
	dlm_send(res->dom, node, DLM_ASSERT_MASTER_MSG, buf,
		 dlm_put_master(&m, buf, sizeof(buf)), assert_sent, job);
}

static void round_over(struct dlm_assert *job);

static void retry_timer(void *arg)
{
	struct dlm_assert *job = arg;
	struct dlm_map again = job->retry;

	dlm_map_for_each(n, &again)
		tell(job, n);
	round_over(job);
}

static void tell_later(struct dlm_assert *job, node_t node, uint32_t ms)
{
	dlm_map_set(&job->retry, node);
	if (!job->retry_tm.id)
		dlm_tm_set(job->res->dom, &job->retry_tm, ms);
}

/* What peers asked to have dropped meanwhile. */
static void serve_derefs(struct dlm_res *res, const struct dlm_map *derefs)
{
	struct dlm_wire_ref m = { .node = res->dom->dlm->self, .name = res->name };
	uint8_t buf[128];

	dlm_map_for_each(n, derefs) {
		dlm_ref_clear(res, n);
		if (!dlm_map_test(&res->dom->members, n))
			continue;
		dlm_send(res->dom, n, DLM_DEREF_LOCKRES_DONE, buf,
			 dlm_put_deref(&m, buf, sizeof(buf)), NULL, NULL);
	}
}

static void free_job(struct dlm_assert *job)
{
	if (!dlm_map_empty(&job->open))
		dlm_sends_forget(job->res->dom->dlm, job);
	dlm_tm_clear(job->res->dom, &job->retry_tm);
	free(job);
}

static void end(struct dlm_assert *job)
{
	struct dlm_res *res = job->res;
	void (*done)(struct dlm_res *, bool) = job->done;
	bool lost = job->lost;

	res->assert = job->next;
	serve_derefs(res, &job->derefs);
	free_job(job);
	if (done)
		done(res, lost);
	dlm_res_touch(res);
	run_next(res);
}

static void requeried(void *arg, node_t node, int err, int32_t status)
{
	struct dlm_assert *job = arg;
	struct dlm_res *res = job->res;

	dlm_map_clear(&job->open, node);
	if (err && !dlm_peer_gone(res->dom, node, err)) {
		dlm_map_set(&job->doubt, node);
		if (!job->retry_tm.id)
			dlm_tm_set(res->dom, &job->retry_tm, LINK_MS);
		return;
	}
	if (err || status == NODE_NONE)
		dlm_ref_clear(res, node);
	round_over(job);
}

static void clear_doubts(struct dlm_assert *job)
{
	struct dlm_res *res = job->res;
	struct dlm_wire_ref m = { .node = res->dom->dlm->self, .name = res->name };
	struct dlm_map ask = job->doubt;
	uint8_t buf[128];

	job->doubt = (struct dlm_map){ 0 };
	dlm_map_for_each(n, &ask) {
		dlm_map_set(&job->open, n);
		dlm_send(res->dom, n, DLM_MASTER_REQUERY_MSG, buf,
			 dlm_put_requery(&m, buf, sizeof(buf)), requeried, job);
	}
}

static void round_over(struct dlm_assert *job)
{
	struct dlm_map left;

	if (!dlm_map_empty(&job->open) || !dlm_map_empty(&job->retry) || job->retry_tm.id)
		return;
	if (!dlm_map_empty(&job->doubt)) {
		clear_doubts(job);
		return;
	}
	left = job->targets;
	if (!job->again || job->lost || dlm_map_empty(&left)) {
		end(job);
		return;
	}
	job->again = false;
	dlm_map_for_each(n, &left)
		tell(job, n);
}

static void run_next(struct dlm_res *res)
{
	struct dlm_assert *job = res->assert;
	const uint32_t optional = DLM_ASSERT_MLE_CLEANUP | DLM_ASSERT_REQUERY;
	struct dlm_map gone, to;

	if (!job || job->running)
		return;
	job->running = true;
	gone = dlm_map_minus(&job->targets, &res->dom->members);
	job->targets = dlm_map_minus(&job->targets, &gone);
	dlm_map_clear(&job->targets, res->dom->dlm->self);
	if ((job->flags & optional) && (res->state & DLM_RES_MIGRATING))
		job->targets = (struct dlm_map){ 0 }; /* the new owner will tell */
	to = job->targets;
	dlm_map_for_each(n, &to)
		tell(job, n);
	round_over(job);
}

void dlm_assert_start(struct dlm_res *res, const struct dlm_map *targets, uint32_t flags,
		      void (*done)(struct dlm_res *res, bool lost))
{
	struct dlm_assert *job = dlm_xalloc(res->dom->dlm, sizeof(*job));
	struct dlm_assert **tail = &res->assert;

	job->res = res;
	job->targets = *targets;
	job->flags = flags;
	job->done = done;
	dlm_tm_init(&job->retry_tm, retry_timer, job);
	while (*tail)
		tail = &(*tail)->next;
	*tail = job;
	dlm_res_usage(res);
	run_next(res);
}

void dlm_assert_all(struct dlm_res *res, uint32_t flags)
{
	struct dlm_assert *job;

	for (job = res->assert; job; job = job->next) {
		if (!job->running && job->flags == flags) {
			job->targets = res->dom->members;
			return; /* it will tell all */
		}
	}
	dlm_assert_start(res, &res->dom->members, flags, NULL);
}

static void assert_sent(void *arg, node_t node, int err, int32_t status)
{
	struct dlm_assert *job = arg;
	struct dlm_res *res = job->res;

	dlm_map_clear(&job->open, node);
	if (err && !dlm_peer_gone(res->dom, node, err)) {
		/* Its answer may have said that it holds a reference. */
		if (!dlm_map_test(dlm_refs(res), node))
			dlm_map_set(&job->doubt, node);
		dlm_ref_set(res, node);
		tell_later(job, node, LINK_MS);
	} else if (err) {
		dlm_map_clear(&job->targets, node);
	} else if (status < 0) {
		log_warn(res->dom->dlm->log, "dlm", "assert refused node=%u status=%d flags=%u",
			 node, status, job->flags);
		if (!job->flags)
			job->lost = true;
		else
			tell_later(job, node, REFUSED_MS);
	} else {
		if (status & DLM_ASSERT_REPLY_MASTERY_REF) {
			dlm_ref_set(res, node);
			dlm_map_clear(&job->doubt, node);
		}
		if (status & DLM_ASSERT_REPLY_REASSERT)
			job->again = true;
	}
	round_over(job);
}

void dlm_assert_node_gone(struct dlm_res *res, node_t node)
{
	struct dlm_assert *job;

	for (job = res->assert; job; job = job->next) {
		dlm_map_clear(&job->targets, node);
		dlm_map_clear(&job->retry, node);
		dlm_map_clear(&job->derefs, node);
		dlm_map_clear(&job->doubt, node);
	}
	if (res->assert && res->assert->running)
		round_over(res->assert);
}

void dlm_assert_drop(struct dlm_res *res)
{
	struct dlm_assert *job;

	while ((job = res->assert)) {
		res->assert = job->next;
		free_job(job);
	}
}

/* ---- ASSERT_MASTER at a member -------------------------------------------------------- */

static void setref_over(void *arg, node_t node, int err, int32_t status)
{
	struct dlm_res *res = arg;

	(void)node;
	(void)err;
	(void)status;
	res->setref--;
	dlm_deref_resume(res);
}

/* The asserter must hear of our reference before it hears that we drop it. */
static struct dlm_reply reply_with_ref(struct dlm_res *res, node_t from, int32_t bits)
{
	struct dlm_reply r = dlm_reply_status(bits);

	if (res) {
		r.status |= DLM_ASSERT_REPLY_MASTERY_REF;
		res->setref++;
		r.written_token = dlm_reply_token(res->dom, from, setref_over, res);
	}
	return r;
}

/*
 * A death in the middle of a migration left it without an owner, or with the dead one; its
 * owner is found (8.5). That one may have a lock which an unlock, settled by the death,
 * has taken off here: it is told.
 */
static struct dlm_reply owner_found(struct dlm_res *res, node_t from)
{
	struct dlm_op *op;

	dlm_reco_yield(res);
	cds_list_for_each_entry(op, &res->dom->ops, all) {
		if (op->call != DLM_CALL_UNLOCK || op->lock->res != res ||
		    op->lock->list != DLM_LIST_NONE)
			continue;
		op->doubt = true;
		dlm_lock_move(op->lock, res, DLM_LIST_GRANTED);
	}
	dlm_res_set_owner(res, from);
	dlm_res_clear(res, DLM_RES_RECOVERING | DLM_RES_MIGRATING);
	return reply_with_ref(res, from, 0);
}

static struct dlm_reply accept(struct dlm_mle *mle, struct dlm_res *res, node_t from)
{
	struct dlm_map others = mle->responses;
	bool migration = mle->type == DLM_MLE_MIGRATION;
	int32_t bits = 0;

	dlm_map_clear(&others, from);
	dlm_map_clear(&others, mle->dom->dlm->self);
	if (mle->type == DLM_MLE_MASTER && !dlm_map_empty(&others))
		bits = DLM_ASSERT_REPLY_REASSERT;
	if (res)
		dlm_res_set_owner(res, from);
	if (mle->res)
		mle->master = mle->master == from ? from : NODE_NONE; /* what a YES said */
	if (mle->res)
		dlm_mle_conclude(mle, mle->master);
	else
		dlm_mle_free(mle);
	if (res && migration) {
		dlm_res_clear(res, DLM_RES_MIGRATING);
		dlm_migrate_finished(res);
	}
	return reply_with_ref(res, from, bits);
}

static bool contradicts(const struct dlm_mle *mle, const struct dlm_res *res, node_t from)
{
	if (!res)
		return false;
	if (mle->type == DLM_MLE_MIGRATION)
		return from != mle->new_master;
	if (res->owner != NODE_NONE)
		return res->owner != from;
	return !(res->state & DLM_RES_IN_PROGRESS);
}

struct dlm_reply dlm_assert_handler(struct dlm_domain *dom, node_t from,
				    const struct dlm_wire_master *m)
{
	const uint32_t ends_migration = DLM_ASSERT_MLE_CLEANUP | DLM_ASSERT_FINISH_MIGRATION;
	struct dlm_res *res = dlm_res_visible(dom, &m->name);
	struct dlm_mle *mle = dlm_mle_find(dom, &m->name);

	if (mle && mle->type == DLM_MLE_MIGRATION && !(m->flags & ends_migration))
		return dlm_reply_status(0);
	if (res && (res->state & DLM_RES_RECOVERING)) {
		if (m->flags && (res->owner == NODE_NONE || dlm_is_self(dom, res->owner) ||
				 dlm_map_test(&dom->recovery, res->owner)))
			return owner_found(res, from);
		return dlm_reply_status(-EINVAL);
	}
	if (!mle) {
		if (res && res->owner != NODE_NONE && res->owner != from) {
			log_warn(dom->dlm->log, "dlm", "assert contradicts node=%u owner=%u", from,
				 res->owner);
			return dlm_reply_status(-EINVAL);
		}
		return dlm_reply_status(0);
	}
	if (contradicts(mle, res, from))
		return dlm_reply_status(-EINVAL);
	return accept(mle, res, from);
}
