/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * reco_master.c: the recovery master's work (dlm.md 9.2, 9.4, 9.8).
 *
 *	ANNOUNCE	BEGIN_RECO to all, while $RECOVERY is held
 *	COLLECT		LOCK_REQUEST to all; their locks come (reco_data.c), then DATA_DONE
 *	FINAL1		FINALIZE stage 1 to all at once: the owner is known
 *	FINAL2		stage 2: everybody knows that everybody knows
 *
 * One round, one dead node. A member has at most one message of ours open. What goes wrong
 * with it: its node is gone, it is skipped, and a death gives its record up; it refuses, it
 * is asked again; the link broke, it is sent again. Only FINALIZE must not reach a kernel
 * node twice. So BEGIN_RECO is sent first, as a question: -11, stage 1 was handled and
 * stage 2 not; 0, the node waits for stage 1 (for the first time, or anew: then its round
 * was over, and it simply gets both stages again).
 *
 * Stage 1 goes out in parallel, and nothing is granted here before stage 2 has reached all:
 * a death in between leaves the least to repair.
 */
#include "dlm/dlm_int.h"

#define LINK_MS 200
#define AGAIN_MS 100
#define ROTATE 3
#define TELL_TRIES 30

enum phase { RECO_ANNOUNCE, RECO_COLLECT, RECO_FINAL1, RECO_FINAL2 };

struct dlm_reco {
	struct dlm_domain *dom;
	enum phase phase;
	struct dlm_map nodes; /* who takes part */
	struct dlm_map open;  /* has a message without outcome */
	struct dlm_map retry; /* gets one when the timer fires */
	struct dlm_map doubt; /* FINAL: is asked first */
	struct dlm_map first; /* FINAL2: gets stage 1 first */
	struct dlm_map want;  /* COLLECT: its locks are not complete */
	struct dlm_map given_up; /* COLLECT: its locks are not taken any more */
	unsigned int refusals; /* of the announcement */
	unsigned int waits;    /* for migrations to tell */
	struct cds_list_head asks; /* reco_data.c */
	struct dlm_tm tm;
};

static void step(struct dlm_reco *job);
static void tell(struct dlm_reco *job, node_t node);
static void timer(void *arg);

/* ---- what others ask ----------------------------------------------------------------- */

bool dlm_reco_announcing(const struct dlm_domain *dom)
{
	return dom->reco.lead && dom->reco.lead->phase == RECO_ANNOUNCE;
}

bool dlm_reco_collects(const struct dlm_domain *dom, node_t from)
{
	const struct dlm_reco *job = dom->reco.lead;

	return job && job->phase == RECO_COLLECT && dlm_map_test(&job->nodes, from) &&
	       !dlm_map_test(&job->given_up, from);
}

struct cds_list_head *dlm_reco_asks(struct dlm_domain *dom)
{
	return &dom->reco.lead->asks;
}

void dlm_reco_collected(struct dlm_domain *dom)
{
	if (dom->reco.lead)
		step(dom->reco.lead);
}

/* ---- begin and end ------------------------------------------------------------------- */

void dlm_reco_lead_drop(struct dlm_domain *dom)
{
	struct dlm_reco *job = dom->reco.lead;

	if (!job)
		return;
	dom->reco.lead = NULL;
	dlm_sends_forget(dom->dlm, job);
	dlm_tm_clear(dom, &job->tm);
	dlm_reco_asks_over(dom, &job->asks, false);
	free(job);
	if (!dom->gone)
		dlm_elect_release(dom);
}

static void begin(struct dlm_reco *job, enum phase phase)
{
	struct dlm_map to = job->nodes;

	job->phase = phase;
	dlm_map_for_each(n, &to)
		tell(job, n);
}

void dlm_reco_lead(struct dlm_domain *dom)
{
	struct dlm_reco *job = dlm_xalloc(dom->dlm, sizeof(*job));

	job->dom = dom;
	job->nodes = dom->members;
	dlm_map_clear(&job->nodes, dom->dlm->self);
	CDS_INIT_LIST_HEAD(&job->asks);
	dlm_tm_init(&job->tm, timer, job);
	dom->reco.lead = job;
	begin(job, RECO_ANNOUNCE);
	step(job);
}

static void finish(struct dlm_reco *job)
{
	struct dlm_domain *dom = job->dom;
	struct cds_list_head asks;
	node_t dead = dom->reco.dead_node;

	CDS_INIT_LIST_HEAD(&asks);
	cds_list_splice(&job->asks, &asks);
	CDS_INIT_LIST_HEAD(&job->asks);
	dom->reco.lead = NULL;
	dlm_sends_forget(dom->dlm, job); /* to nodes that left meanwhile */
	dlm_tm_clear(dom, &job->tm);
	free(job);
	dlm_reco_finalize(dom, dead, dom->dlm->self);
	dlm_reco_asks_over(dom, &asks, true);
	log_info(dom->dlm->log, "dlm", "recovered domain=%s dead=%u", dom->cfg.name, dead);
	dlm_reco_over(dom, dead);
}

/* ---- from phase to phase ---------------------------------------------------------------- */

/* Everybody who did not refuse has been told. */
static void announced(struct dlm_reco *job)
{
	struct dlm_domain *dom = job->dom;

	dom->reco.new_master = dom->dlm->self;
	dlm_map_set(&dom->recovery, dom->reco.dead_node); /* unless it was, see `redo` */
	dlm_elect_release(dom);
	log_info(dom->dlm->log, "dlm", "recovery begins domain=%s dead=%u", dom->cfg.name,
		 dom->reco.dead_node);
	job->nodes = dom->members;
	dlm_map_clear(&job->nodes, dom->dlm->self);
	job->want = job->nodes;
	dom->reco.served = true; /* the own locks are in */
	begin(job, RECO_COLLECT);
	dlm_reco_claim_own(dom);
}

/* All data is in, and no owner that survived in a migration is still to be heard of. */
static bool collected(struct dlm_reco *job)
{
	struct dlm_domain *dom = job->dom;

	if (!dlm_map_empty(&job->want) || dlm_reco_asking(&job->asks))
		return false;
	if (dlm_reco_telling(dom) && job->waits < TELL_TRIES) {
		if (!job->tm.id)
			dlm_tm_set(dom, &job->tm, AGAIN_MS);
		return false;
	}
	return true;
}

/* What is complete leads to the next phase. May free the job. */
static void step(struct dlm_reco *job)
{
	struct dlm_domain *dom = job->dom;

	if (!dlm_map_empty(&job->open) || !dlm_map_empty(&job->retry))
		return;
	switch (job->phase) {
	case RECO_ANNOUNCE:
		announced(job);
		step(job);
		break;
	case RECO_COLLECT:
		if (!collected(job))
			return;
		dom->reco.finalize = true;
		begin(job, RECO_FINAL1);
		step(job);
		break;
	case RECO_FINAL1:
		begin(job, RECO_FINAL2);
		step(job);
		break;
	case RECO_FINAL2:
		finish(job);
		break;
	}
}

/* ---- messages ------------------------------------------------------------------------- */

static void sent(void *arg, node_t node, int err, int32_t status);

static void send_reco(struct dlm_reco *job, node_t node, uint16_t type, uint8_t flags)
{
	struct dlm_domain *dom = job->dom;
	struct dlm_wire_reco m = { .node = dom->dlm->self, .dead_node = dom->reco.dead_node,
				   .flags = flags };
	uint8_t buf[16];
	size_t len = type == DLM_FINALIZE_RECO_MSG ? dlm_put_finalize(&m, buf, sizeof(buf)) :
						     dlm_put_reco(&m, buf, sizeof(buf));

	dlm_send(dom, node, type, buf, len, sent, job);
}

static void tell(struct dlm_reco *job, node_t node)
{
	dlm_map_clear(&job->retry, node);
	dlm_map_set(&job->open, node);
	if (job->phase == RECO_ANNOUNCE || dlm_map_test(&job->doubt, node))
		send_reco(job, node, DLM_BEGIN_RECO_MSG, 0);
	else if (job->phase == RECO_COLLECT)
		send_reco(job, node, DLM_LOCK_REQUEST_MSG, 0);
	else
		send_reco(job, node, DLM_FINALIZE_RECO_MSG,
			  job->phase == RECO_FINAL2 && !dlm_map_test(&job->first, node));
}

static void tell_later(struct dlm_reco *job, node_t node, uint32_t ms)
{
	dlm_map_set(&job->retry, node);
	if (!job->tm.id)
		dlm_tm_set(job->dom, &job->tm, ms);
}

static void give_up(struct dlm_reco *job, node_t node)
{
	dlm_map_set(&job->given_up, node);
	dlm_map_clear(&job->want, node);
}

/* It finishes another round, or insists on another dead node: try that one in turn. */
static void announce_refused(struct dlm_reco *job, node_t node)
{
	struct dlm_domain *dom = job->dom;
	struct dlm_map dead = dom->recovery;
	node_t next;

	tell_later(job, node, AGAIN_MS);
	if (++job->refusals % ROTATE || dom->reco.insist != NODE_NONE)
		return;
	if (dom->reco.redo != NODE_NONE)
		dlm_map_set(&dead, dom->reco.redo);
	next = dlm_map_next(&dead, dom->reco.dead_node + 1u);
	if (next == NODE_NONE)
		next = dlm_map_next(&dead, 0);
	if (next == NODE_NONE || next == dom->reco.dead_node || dlm_map_test(&dom->members, next))
		return;
	dom->reco.dead_node = next;
	dlm_map_for_each(n, &job->nodes)
		if (!dlm_map_test(&job->open, n))
			tell_later(job, n, AGAIN_MS);
}

static void final_answer(struct dlm_reco *job, node_t node, int32_t status)
{
	if (dlm_map_test(&job->doubt, node)) {
		dlm_map_clear(&job->doubt, node);
		if (status == 0)
			dlm_map_set(&job->first, node);
		else if (status == -EAGAIN && job->phase == RECO_FINAL1)
			return;
		tell(job, node);
	} else if (dlm_map_test(&job->first, node)) {
		dlm_map_clear(&job->first, node);
		if (job->phase == RECO_FINAL2)
			tell(job, node);
	} else if (status) {
		log_warn(job->dom->dlm->log, "dlm", "end of recovery refused node=%u status=%d",
			 node, status);
	}
}

static void sent(void *arg, node_t node, int err, int32_t status)
{
	struct dlm_reco *job = arg;
	struct dlm_domain *dom = job->dom;

	if (!dlm_map_test(&job->open, node))
		return; /* it died */
	dlm_map_clear(&job->open, node);
	if (err && !dlm_peer_gone(dom, node, err)) {
		if (job->phase >= RECO_FINAL1)
			dlm_map_set(&job->doubt, node);
		tell_later(job, node, LINK_MS);
	} else if (err || (status == -EINVAL && job->phase <= RECO_COLLECT)) {
		give_up(job, node);
		dlm_map_clear(&job->doubt, node);
	} else if (job->phase >= RECO_FINAL1) {
		final_answer(job, node, status);
	} else if (job->phase == RECO_ANNOUNCE && status) {
		announce_refused(job, node);
	} else if (status < 0 && dlm_map_test(&job->want, node)) {
		tell_later(job, node, AGAIN_MS);
	}
	step(job);
}

static void timer(void *arg)
{
	struct dlm_reco *job = arg;
	struct dlm_map again = job->retry;

	job->waits += job->phase == RECO_COLLECT && dlm_map_empty(&again);
	dlm_map_for_each(n, &again)
		tell(job, n);
	step(job);
}

void dlm_reco_lead_node_gone(struct dlm_domain *dom, node_t node)
{
	struct dlm_reco *job = dom->reco.lead;

	if (!job)
		return;
	give_up(job, node);
	dlm_map_clear(&job->nodes, node);
	dlm_map_clear(&job->open, node);
	dlm_map_clear(&job->retry, node);
	dlm_map_clear(&job->doubt, node);
	dlm_map_clear(&job->first, node);
	dlm_reco_asks_node_gone(dom, node);
	dlm_reco_collected(dom);
}

struct dlm_reply dlm_reco_done_handler(struct dlm_domain *dom, node_t from, node_t dead)
{
	struct dlm_reco *job = dom->reco.lead;

	if (!job || job->phase == RECO_ANNOUNCE || dom->reco.dead_node != dead ||
	    !dlm_map_test(&job->nodes, from) || dlm_map_test(&job->given_up, from))
		return dlm_reply_status(-EINVAL);
	dlm_map_clear(&job->want, from);
	step(job);
	return dlm_reply_status(0);
}
