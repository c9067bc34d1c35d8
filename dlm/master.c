/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * master.c: find the owner of a name, or become it (dlm.md 3.3, 3.11, 7).
 *
 * Whoever wants an unknown name asks every member. YES: that node owns it. MAYBE: it wants
 * it, too; of those the lowest number wins, and tells with an ASSERT. NO: it knows nothing,
 * and from now on holds a BLOCK entry, so that a later wish of its own waits for ours. All
 * must have answered before a winner decides, so two winners would each have had to answer
 * the other: the later answer is a MAYBE, or the name is already decided.
 *
 * Requests go out in parallel. So one may reach a node after the owner's ASSERT did and
 * leave a BLOCK there that nobody takes back. Hence the last step: once all have answered,
 * one more request to the owner, which makes it assert again. With one other member, which
 * said YES, there is no third and the step is left out.
 *
 *	        recovery map empty            all answered, lowest
 *	HOLD ------------------------> VOTE -----------------------> ASSERT ---> owner: self
 *	  ^   a member died              |  owner known (YES, ASSERT)
 *	  +------------------------------+--------------------------> LAST -----> owner: it
 *
 * A BLOCK with a resource here is a vote that waits for the others to end theirs.
 */
#include "dlm/dlm_int.h"

#define ERROR_MS 50
#define LINK_MS 500
#define DECIDE_MS 5000

static void decide(struct dlm_mle *mle);
static void look_again(struct dlm_mle *mle);

/* ---- the table -------------------------------------------------------------------- */

static struct dlm_mle **bucket(struct dlm_domain *dom, const struct dlm_name *name)
{
	return &dom->mle_hash[dlm_name_hash(name) % DLM_MLE_BUCKETS];
}

struct dlm_mle *dlm_mle_find(struct dlm_domain *dom, const struct dlm_name *name)
{
	struct dlm_mle *mle = *bucket(dom, name);

	while (mle && !dlm_name_equal(&mle->name, name))
		mle = mle->hash_next;
	return mle;
}

static void ask_retries(void *arg);
static void decide_timer(void *arg);

struct dlm_mle *dlm_mle_new(struct dlm_domain *dom, const struct dlm_name *name,
			    enum dlm_mle_type type)
{
	struct dlm_mle *mle = dlm_xalloc(dom->dlm, sizeof(*mle));
	struct dlm_mle **slot = bucket(dom, name);

	mle->dom = dom;
	mle->name = *name;
	mle->type = type;
	mle->phase = MLE_VOTE;
	mle->master = NODE_NONE;
	mle->new_master = NODE_NONE;
	mle->last = NODE_NONE;
	mle->nodes = dom->members;
	dlm_map_clear(&mle->nodes, dom->dlm->self);
	CDS_INIT_LIST_HEAD(&mle->waiters);
	dlm_tm_init(&mle->retry_tm, ask_retries, mle);
	dlm_tm_init(&mle->decide_tm, decide_timer, mle);
	mle->attached = true;
	mle->hash_next = *slot;
	*slot = mle;
	cds_list_add_tail(&mle->all, &dom->mles);
	return mle;
}

static void detach(struct dlm_mle *mle)
{
	struct dlm_mle **slot = bucket(mle->dom, &mle->name);

	if (!mle->attached)
		return;
	mle->attached = false;
	while (*slot != mle)
		slot = &(*slot)->hash_next;
	*slot = mle->hash_next;
}

void dlm_mle_free(struct dlm_mle *mle)
{
	struct dlm_domain *dom = mle->dom;
	struct dlm_op *op, *next;

	detach(mle);
	if (mle->res)
		mle->res->mle = NULL;
	if (!dlm_map_empty(&mle->open))
		dlm_sends_forget(dom->dlm, mle);
	dlm_tm_clear(dom, &mle->retry_tm);
	dlm_tm_clear(dom, &mle->decide_tm);
	cds_list_for_each_entry_safe(op, next, &mle->waiters, link)
		dlm_op_wake(op);
	cds_list_del(&mle->all);
	free(mle);
}

void dlm_mle_finish(struct dlm_mle *mle)
{
	struct dlm_res *res = mle->res;
	node_t master = mle->master;

	dlm_mle_free(mle);
	if (res->owner == NODE_NONE && master != NODE_NONE)
		dlm_res_set_owner(res, master);
	dlm_res_clear(res, DLM_RES_IN_PROGRESS);
}

void dlm_mle_conclude(struct dlm_mle *mle, node_t master)
{
	mle->master = master;
	detach(mle);
	if (mle->res)
		decide(mle);
	else
		dlm_mle_free(mle);
}

/* ---- asking ----------------------------------------------------------------------- */

static void request_sent(void *arg, node_t node, int err, int32_t status);
static void ask_block(struct dlm_mle *mle, node_t node);
static void check(struct dlm_mle *mle, node_t node);

static void ask(struct dlm_mle *mle, node_t node)
{
	struct dlm_domain *dom = mle->dom;
	struct dlm_wire_master m = { .node = dom->dlm->self, .name = mle->name };
	uint8_t buf[128];

	if (dlm_map_test(&mle->open, node)) {
		dlm_map_set(&mle->retry, node); /* that answer is not the one we want */
		return;
	}
	dlm_map_clear(&mle->retry, node);
	dlm_map_set(&mle->open, node);
	dlm_send(dom, node, DLM_MASTER_REQUEST_MSG, buf, dlm_put_master(&m, buf, sizeof(buf)),
		 request_sent, mle);
}

static void ask_later(struct dlm_mle *mle, node_t node, uint32_t ms)
{
	dlm_map_set(&mle->retry, node);
	if (!mle->retry_tm.id)
		dlm_tm_set(mle->dom, &mle->retry_tm, ms);
}

static void ask_retries(void *arg)
{
	struct dlm_mle *mle = arg;
	struct dlm_map again = mle->retry;

	if (!mle->res) {
		mle->retry = (struct dlm_map){ 0 };
		dlm_map_for_each(n, &again)
			if (dlm_map_test(&mle->nodes, n))
				ask_block(mle, n);
		return;
	}
	if (mle->phase == MLE_LAST) {
		mle->retry = (struct dlm_map){ 0 };
		look_again(mle);
		return;
	}
	if (mle->phase != MLE_VOTE && mle->phase != MLE_CHECK)
		return;
	dlm_map_for_each(n, &again) {
		if (dlm_map_test(&mle->open, n))
			continue;
		if (mle->phase == MLE_CHECK)
			check(mle, n);
		else
			ask(mle, n);
	}
}

static void begin_vote(struct dlm_mle *mle)
{
	mle->phase = MLE_VOTE;
	dlm_map_for_each(n, &mle->nodes)
		ask(mle, n);
	dlm_tm_set(mle->dom, &mle->decide_tm, DECIDE_MS);
}

/* ---- $RECOVERY: is its owner one whose death a member has not noticed? (7.6) ---------- */

static void checked(void *arg, node_t node, int err, int32_t status);

static void check(struct dlm_mle *mle, node_t node)
{
	struct dlm_wire_ref m = { .node = mle->dom->dlm->self, .name = mle->name };
	uint8_t buf[128];

	if (dlm_map_test(&mle->open, node)) {
		dlm_map_set(&mle->retry, node);
		return;
	}
	dlm_map_clear(&mle->retry, node);
	dlm_map_set(&mle->open, node);
	dlm_send(mle->dom, node, DLM_MASTER_REQUERY_MSG, buf,
		 dlm_put_requery(&m, buf, sizeof(buf)), checked, mle);
}

static void check_over(struct dlm_mle *mle)
{
	struct dlm_map missing = dlm_map_minus(&mle->nodes, &mle->responses);

	if (mle->phase != MLE_CHECK || !dlm_map_empty(&missing))
		return;
	if (mle->stale) {
		mle->stale = false;
		mle->responses = (struct dlm_map){ 0 };
		dlm_map_for_each(n, &mle->nodes)
			ask_later(mle, n, LINK_MS);
		return;
	}
	mle->responses = (struct dlm_map){ 0 };
	begin_vote(mle);
	decide(mle);
}

static void checked(void *arg, node_t node, int err, int32_t status)
{
	struct dlm_mle *mle = arg;
	bool stale = dlm_map_test(&mle->retry, node);

	dlm_map_clear(&mle->open, node);
	if (!dlm_map_test(&mle->nodes, node))
		return;
	if (stale || mle->phase != MLE_CHECK) {
		if (stale && mle->phase == MLE_CHECK)
			check(mle, node);
		else if (stale && mle->phase != MLE_HOLD)
			ask(mle, node);
		return;
	}
	if (err) {
		ask_later(mle, node, LINK_MS);
		return;
	}
	dlm_map_set(&mle->responses, node);
	if (status >= 0 && status < NODE_MAX && dlm_map_test(&mle->dom->recovery, (node_t)status))
		mle->stale = true;
	check_over(mle);
}

/* ---- voting -------------------------------------------------------------------------------- */

/* From the start, with the members of now; after the recovery of the dead. */
static void vote(struct dlm_mle *mle)
{
	struct dlm_domain *dom = mle->dom;

	mle->responses = (struct dlm_map){ 0 };
	mle->retry = (struct dlm_map){ 0 };
	mle->maybe = (struct dlm_map){ 0 };
	mle->master = NODE_NONE;
	mle->type = DLM_MLE_MASTER;
	dlm_map_set(&mle->maybe, dom->dlm->self);
	if (dlm_map_empty(&dom->recovery)) {
		begin_vote(mle);
	} else if (dlm_is_reco_lock(&mle->name)) {
		mle->phase = MLE_CHECK;
		mle->stale = false;
		dlm_map_for_each(n, &mle->nodes)
			check(mle, n);
	} else {
		mle->phase = MLE_HOLD;
	}
}

/* Who was expected to decide has not: its ASSERT may be lost. Whoever owns it says YES. */
static void decide_timer(void *arg)
{
	struct dlm_mle *mle = arg;
	node_t lowest;

	if (mle->phase != MLE_VOTE)
		return;
	dlm_map_for_each(n, &mle->nodes)
		if (mle->type == DLM_MLE_MASTER && !dlm_map_test(&mle->responses, n) &&
		    !dlm_map_test(&mle->open, n))
			ask(mle, n);
	lowest = dlm_map_next(&mle->maybe, 0);
	if (lowest != NODE_NONE && dlm_map_test(&mle->nodes, lowest) &&
	    !dlm_map_test(&mle->open, lowest))
		ask(mle, lowest);
	dlm_tm_set(mle->dom, &mle->decide_tm, DECIDE_MS);
}

/* ---- deciding ----------------------------------------------------------------------- */

static void won(struct dlm_res *res, bool lost)
{
	struct dlm_mle *mle = res->mle;

	if (!mle)
		return;
	if (lost) {
		log_warn(res->dom->dlm->log, "dlm",
			 "mastery was lost to another node, voting again");
		detach(mle);
		mle->master = NODE_NONE;
		mle->phase = MLE_VOTE;
		mle->responses = (struct dlm_map){ 0 };
		dlm_map_for_each(n, &mle->nodes)
			ask_later(mle, n, LINK_MS);
		dlm_tm_set(mle->dom, &mle->decide_tm, DECIDE_MS);
		if (res->owner != NODE_NONE)
			decide(mle);
		return;
	}
	dlm_mle_finish(mle);
}

static void last_request(struct dlm_mle *mle, node_t owner)
{
	bool heard_yes = mle->master == owner;

	if (!dlm_map_test(&mle->nodes, owner) || (mle->res->state & DLM_RES_MIGRATING) ||
	    (heard_yes && dlm_map_count(&mle->nodes) == 1)) {
		dlm_mle_finish(mle);
		return;
	}
	mle->phase = MLE_LAST;
	mle->last = owner;
	ask(mle, owner);
}

/*
 * The owner may be another by now. Nobody is asked what he thinks of it: either all have
 * been, or the owner was heard of before anybody was (HOLD, CHECK), and no BLOCK is ours.
 */
static void look_again(struct dlm_mle *mle)
{
	node_t owner = mle->res->owner != NODE_NONE ? mle->res->owner : mle->master;

	if (owner == NODE_NONE) {
		vote(mle);
		if (mle->phase == MLE_VOTE)
			decide(mle);
	} else if (dlm_is_self(mle->dom, owner)) {
		dlm_mle_finish(mle);
	} else {
		mle->phase = MLE_VOTE;
		last_request(mle, owner);
	}
}

static void last_answer(struct dlm_mle *mle, int err, int32_t status)
{
	struct dlm_res *res = mle->res;
	node_t owner = res->owner != NODE_NONE ? res->owner : mle->master;

	if (owner != mle->last) {
		look_again(mle);
	} else if (err && dlm_map_test(&mle->nodes, owner)) {
		ask_later(mle, owner, LINK_MS);
	} else if (!err && status == DLM_MASTER_ERROR) {
		ask_later(mle, owner, ERROR_MS);
	} else {
		dlm_mle_finish(mle);
	}
}

static void decide(struct dlm_mle *mle)
{
	struct dlm_res *res = mle->res;
	struct dlm_map missing = dlm_map_minus(&mle->nodes, &mle->responses);
	node_t owner = res->owner != NODE_NONE ? res->owner : mle->master;

	if (mle->phase == MLE_ASSERT || mle->phase == MLE_LAST)
		return;
	if (owner != NODE_NONE && dlm_is_self(mle->dom, owner)) {
		dlm_mle_finish(mle);
		return;
	}
	if ((mle->phase == MLE_HOLD || mle->phase == MLE_CHECK) && res->owner == NODE_NONE)
		return;
	if (mle->type != DLM_MLE_BLOCK && mle->phase == MLE_VOTE && !dlm_map_empty(&missing))
		return;
	if (owner != NODE_NONE) {
		last_request(mle, owner);
	} else if (mle->type == DLM_MLE_MASTER &&
		   dlm_map_next(&mle->maybe, 0) >= mle->dom->dlm->self) {
		mle->phase = MLE_ASSERT;
		mle->master = mle->dom->dlm->self;
		dlm_assert_start(res, &mle->nodes, 0, won);
	}
}

static void request_sent(void *arg, node_t node, int err, int32_t status)
{
	struct dlm_mle *mle = arg;
	bool stale = dlm_map_test(&mle->retry, node);

	dlm_map_clear(&mle->open, node);
	if (!dlm_map_test(&mle->nodes, node) && mle->phase != MLE_LAST)
		return;
	if (stale && mle->phase == MLE_CHECK) {
		check(mle, node);
		return;
	}
	if (stale && mle->phase != MLE_HOLD) {
		ask(mle, node);
		return;
	}
	if (mle->phase == MLE_LAST && node == mle->last) {
		last_answer(mle, err, status);
		return;
	}
	if (mle->phase != MLE_VOTE)
		return;
	if (err || status < DLM_MASTER_NO || status >= DLM_MASTER_ERROR) {
		ask_later(mle, node, err ? LINK_MS : ERROR_MS);
		return;
	}
	dlm_map_set(&mle->responses, node);
	if (status == DLM_MASTER_MAYBE)
		dlm_map_set(&mle->maybe, node);
	if (status == DLM_MASTER_YES)
		mle->master = node;
	/* We wait for it, but it does not want the name (any more): nobody would decide. */
	if (status == DLM_MASTER_NO && mle->type == DLM_MLE_BLOCK) {
		dlm_map_clear(&mle->maybe, node);
		if (dlm_map_empty(&mle->maybe) && mle->res->owner == NODE_NONE)
			vote(mle);
	}
	if (mle->phase == MLE_VOTE)
		decide(mle);
}

int dlm_master_get(struct dlm_op *op, struct dlm_res **out)
{
	struct dlm_domain *dom = op->dom;
	struct dlm_res *res = dlm_res_find(dom, &op->name);
	struct dlm_mle *mle;

	if (res && (res->state & DLM_RES_DROPPING_REF)) {
		dlm_op_wait(op, &res->waiters, OP_WAIT_RES);
		return -EAGAIN;
	}
	if (res) {
		*out = res;
		return 0;
	}
	mle = op->flags & DLM_LKF_LOCAL ? NULL : dlm_mle_find(dom, &op->name);
	if (mle && mle->type == DLM_MLE_MIGRATION) {
		dlm_op_wait(op, &mle->waiters, OP_WAIT_RES);
		return -EAGAIN;
	}
	res = dlm_res_new(dom, &op->name);
	if (!res) {
		dlm_fx_fence(dom, "out of memory for a lock resource");
		return -EAGAIN;
	}
	*out = res;
	if (op->flags & DLM_LKF_LOCAL) {
		dlm_res_set_owner(res, dom->dlm->self);
		res->state &= (uint16_t)~DLM_RES_IN_PROGRESS;
		return 0;
	}
	if (mle) {
		mle->res = res;
		res->mle = mle;
		dlm_tm_set(dom, &mle->decide_tm, DECIDE_MS);
		return 0;
	}
	mle = dlm_mle_new(dom, &op->name, DLM_MLE_MASTER);
	mle->res = res;
	res->mle = mle;
	vote(mle);
	if (mle->phase == MLE_VOTE)
		decide(mle);
	return 0;
}

/* ---- a BLOCK that a death may have left behind ------------------------------------------ */

/*
 * Whoever made us keep it was told the owner by an ASSERT that did not reach us, as the owner
 * died. Ask it who owns it now: an owner that is asked tells all.
 */
static void block_asked(void *arg, node_t node, int err, int32_t status);

static void ask_block(struct dlm_mle *mle, node_t node)
{
	struct dlm_wire_ref m = { .node = mle->dom->dlm->self, .name = mle->name };
	uint8_t buf[128];

	if (dlm_map_test(&mle->open, node))
		return;
	dlm_map_set(&mle->open, node);
	dlm_send(mle->dom, node, DLM_MASTER_REQUERY_MSG, buf,
		 dlm_put_requery(&m, buf, sizeof(buf)), block_asked, mle);
}

static void block_asked(void *arg, node_t node, int err, int32_t status)
{
	struct dlm_mle *mle = arg;
	bool member = status >= 0 && status < NODE_MAX &&
		      dlm_map_test(&mle->nodes, (node_t)status);
	node_t next;

	dlm_map_clear(&mle->open, node);
	if (mle->res) { /* it is wanted here meanwhile, and votes */
		if (dlm_map_test(&mle->retry, node) && dlm_map_test(&mle->nodes, node) &&
		    mle->phase != MLE_HOLD)
			ask(mle, node);
	} else if (!err && status == node) {
		return; /* its ASSERT comes */
	} else if (!err && member) {
		ask_block(mle, (node_t)status);
	} else if (err || status != NODE_NONE) {
		ask_later(mle, node, LINK_MS); /* no link, or not recovered there */
	} else {
		dlm_map_clear(&mle->maybe, node);
		next = dlm_map_next(&mle->maybe, 0);
		if (next == NODE_NONE)
			dlm_mle_free(mle);
		else
			ask_block(mle, next);
	}
}

/* ---- members come and go --------------------------------------------------------------- */

void dlm_mle_node_joined(struct dlm_domain *dom, node_t node)
{
	struct dlm_mle *mle;

	cds_list_for_each_entry(mle, &dom->mles, all) {
		dlm_map_set(&mle->nodes, node);
		dlm_map_clear(&mle->responses, node);
		if (mle->res && mle->type == DLM_MLE_MASTER && mle->phase == MLE_VOTE)
			ask(mle, node);
	}
}

/* Whether the mle is still there after this. */
static void node_gone(struct dlm_mle *mle, node_t node)
{
	bool lowest = dlm_map_next(&mle->maybe, 0) == node;

	dlm_map_clear(&mle->nodes, node);
	dlm_map_clear(&mle->responses, node);
	dlm_map_clear(&mle->maybe, node);
	dlm_map_clear(&mle->retry, node);
	if (!mle->res) {
		if (lowest)
			dlm_mle_free(mle);
	} else if (mle->res->owner == node) {
		dlm_mle_finish(mle); /* recovery has the resource */
	} else if (mle->phase == MLE_LAST && mle->last == node) {
		if (mle->res->owner != NODE_NONE)
			dlm_mle_finish(mle);
		else
			vote(mle); /* it said YES, and told nobody what it owns */
	} else if (mle->phase == MLE_ASSERT || mle->phase == MLE_LAST) {
		return;
	} else if (mle->type == DLM_MLE_MASTER || dlm_map_empty(&mle->maybe)) {
		vote(mle);
		if (mle->phase == MLE_VOTE)
			decide(mle);
	}
}

void dlm_mle_node_gone(struct dlm_domain *dom, node_t node)
{
	struct dlm_mle *mle, *next;

	cds_list_for_each_entry_safe(mle, next, &dom->mles, all)
		if (mle->type != DLM_MLE_MIGRATION)
			node_gone(mle, node);
}

void dlm_mle_recovered(struct dlm_domain *dom)
{
	struct dlm_mle *mle, *next;

	cds_list_for_each_entry_safe(mle, next, &dom->mles, all) {
		if (mle->type == DLM_MLE_BLOCK && !mle->res) {
			node_t lowest = dlm_map_next(&mle->maybe, 0);

			if (lowest != NODE_NONE && dlm_map_test(&mle->nodes, lowest))
				ask_block(mle, lowest);
			continue;
		}
		if (mle->phase != MLE_HOLD && mle->phase != MLE_CHECK)
			continue;
		vote(mle);
		decide(mle);
	}
}

/* ---- handlers ---------------------------------------------------------------------------- */

static int32_t yes(struct dlm_res *res, node_t from)
{
	dlm_ref_set(res, from);
	if (res->assert)
		dlm_map_clear(&res->assert->doubt, from);
	dlm_assert_all(res, DLM_ASSERT_MLE_CLEANUP);
	dlm_res_usage(res);
	return DLM_MASTER_YES;
}

static int32_t asked_about(struct dlm_res *res, node_t from)
{
	struct dlm_domain *dom = res->dom;
	struct dlm_mle *mle = res->mle;

	if (res->state & (DLM_RES_RECOVERING | DLM_RES_MIGRATING))
		return DLM_MASTER_ERROR;
	if (res->owner != NODE_NONE)
		return dlm_is_self(dom, res->owner) ? yes(res, from) : DLM_MASTER_NO;
	if (!mle)
		return DLM_MASTER_ERROR;
	if (mle->type == DLM_MLE_MASTER && mle->master != NODE_NONE)
		return dlm_is_self(dom, mle->master) ? yes(res, from) : DLM_MASTER_NO;
	dlm_map_set(&mle->maybe, from);
	return mle->type == DLM_MLE_MASTER ? DLM_MASTER_MAYBE : DLM_MASTER_NO;
}

struct dlm_reply dlm_master_request_handler(struct dlm_domain *dom, node_t from,
					    const struct dlm_wire_master *m)
{
	struct dlm_res *res = dlm_res_visible(dom, &m->name);
	struct dlm_mle *mle;

	if (res)
		return dlm_reply_status(asked_about(res, from));
	mle = dlm_mle_find(dom, &m->name);
	if (!mle)
		mle = dlm_mle_new(dom, &m->name, DLM_MLE_BLOCK);
	dlm_map_set(&mle->maybe, from);
	return dlm_reply_status(DLM_MASTER_NO);
}

struct dlm_reply dlm_requery_handler(struct dlm_domain *dom, node_t from,
				     const struct dlm_wire_ref *m)
{
	struct dlm_res *res = dlm_res_visible(dom, &m->name);

	(void)from;
	if (!res)
		return dlm_reply_status(NODE_NONE);
	if (dlm_is_self(dom, res->owner))
		dlm_assert_all(res, DLM_ASSERT_REQUERY);
	/* A round that is repeated: what stage 1 gave to its dead recovery master is of this
	 * round, not of that one's own. */
	if ((res->state & DLM_RES_RECOVERING) && dom->reco.dead_node != NODE_NONE &&
	    dlm_reco_concerns(res, dom->reco.dead_node))
		return dlm_reply_status(dom->reco.dead_node);
	return dlm_reply_status(res->owner);
}
