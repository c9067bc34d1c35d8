/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * reco_peer.c: a survivor's side of a recovery (dlm.md 9.5, 9.7, 9.8).
 *
 * LOCK_REQUEST starts a walk over the table: of each resource that the dead node owned, or
 * that has no owner, all own locks go to the recovery master, several messages at a time in
 * the order of the table, and DATA_DONE when all are answered. A broken link starts the walk
 * again: who has a lock already ignores it.
 *
 * A migration that the death met may have a living new owner. DATA_DONE waits until it has
 * told everybody: then what others have sent of that resource is dropped before the round
 * is over, and no resource gets two owners.
 *
 * The recovery master's own death. Between stage 1 and 2 a node does not know whether all
 * others have had stage 1. If it dies there, then here its round counts as complete. But
 * others may lack it: they insist that the same dead node goes first (reco_elect.c), and in
 * that round we report, with what is left of the dead node, what that stage 1 gave to the
 * dead recovery master (DLM_RES_REDO). Whoever has had stage 2 does the same, so that a
 * round that is repeated finds all of a resource's locks in either order. With the next
 * member that joins the last round is history.
 */
#include "dlm/dlm_int.h"

#define LINK_MS 200
#define TELL_MS 100
#define TELL_TRIES 30
#define AT_ONCE 16

struct dlm_reco_send {
	struct dlm_domain *dom;
	node_t to, dead;
	struct dlm_res *at; /* next one, NULL: all are out */
	unsigned int open;
	unsigned int tries; /* waited for migrations to tell */
	bool again;	    /* a link broke: from the start */
	bool done;	    /* DATA_DONE is out */
	struct dlm_tm tm;
};

static void go_on(struct dlm_reco_send *job);
static void data_sent(void *arg, node_t node, int err, int32_t status);

/* ---- the walk -------------------------------------------------------------------------- */

static struct dlm_res *after(struct dlm_domain *dom, struct dlm_res *res)
{
	struct cds_list_head *next = res ? res->all.next : dom->all.next;

	return next == &dom->all ? NULL : cds_list_entry(next, struct dlm_res, all);
}

void dlm_reco_send_forget(struct dlm_res *res)
{
	struct dlm_reco_send *job = res->dom->reco.send;

	if (job && job->at == res)
		job->at = after(res->dom, res);
}

void dlm_reco_send_drop(struct dlm_domain *dom)
{
	struct dlm_reco_send *job = dom->reco.send;

	if (!job)
		return;
	dom->reco.send = NULL;
	dlm_sends_forget(dom->dlm, job);
	dlm_tm_clear(dom, &job->tm);
	free(job);
	dom->kick = true;
}

static void send_mig(struct dlm_reco_send *job, struct dlm_res *res, struct dlm_wire_mig *m)
{
	uint8_t buf[DLM_MAX_PAYLOAD];

	dlm_lvb_to_recover(res, m, m->lvb);
	job->open++;
	dlm_send(job->dom, job->to, DLM_MIG_LOCKRES_MSG, buf, dlm_put_mig(m, buf, sizeof(buf)),
		 data_sent, job);
	m->num_locks = 0;
}

static void send_res(struct dlm_reco_send *job, struct dlm_res *res)
{
	struct dlm_domain *dom = job->dom;
	struct dlm_wire_mig *m = dlm_xalloc(dom->dlm, sizeof(*m));
	struct dlm_lock *lock;
	uint32_t sent = 0;

	m->master = res->owner == NODE_NONE ? NODE_NONE : job->dead;
	m->name = res->name;
	for (int list = 0; list < 3; list++)
		dlm_res_for_each_lock(lock, res, list)
			m->total_locks++;
	if (m->total_locks > DLM_MIG_LOCKS_MAX)
		m->mig_cookie = ++dom->dlm->mig_cookie_seq;
	m->flags = DLM_MRES_RECOVERY;
	for (int list = 0; list < 3; list++) {
		dlm_res_for_each_lock(lock, res, list) {
			m->locks[m->num_locks++] = (struct dlm_wire_mig_lock){
				.cookie = lock->cookie, .list = lock->list, .flags = lock->lksb,
				.mode = lock->mode, .convert_mode = lock->convert,
				.node = lock->node };
			if (++sent == m->total_locks)
				m->flags |= DLM_MRES_ALL_DONE;
			if (m->num_locks == DLM_MIG_LOCKS_MAX || sent == m->total_locks)
				send_mig(job, res, m);
		}
	}
	if (!m->total_locks) {
		m->locks[m->num_locks++] = dlm_wire_mig_dummy(dom->dlm->self);
		m->flags |= DLM_MRES_ALL_DONE;
		send_mig(job, res, m);
	}
	free(m);
}

static void done_sent(void *arg, node_t node, int err, int32_t status)
{
	struct dlm_reco_send *job = arg;

	(void)status;
	if (err && !dlm_peer_gone(job->dom, node, err)) {
		job->done = false;
		dlm_tm_set(job->dom, &job->tm, LINK_MS);
	} else {
		dlm_reco_send_drop(job->dom);
	}
}

static void send_done(struct dlm_reco_send *job)
{
	struct dlm_domain *dom = job->dom;
	struct dlm_wire_reco m = { .node = dom->dlm->self, .dead_node = job->dead };
	uint8_t buf[128];

	job->done = true;
	dlm_send(dom, job->to, DLM_RECO_DATA_DONE_MSG, buf, dlm_put_reco_done(&m, buf, sizeof(buf)),
		 done_sent, job);
}

static bool to_send(const struct dlm_res *res, node_t dead)
{
	return (res->state & DLM_RES_RECOVERING) && !dlm_is_reco_lock(&res->name) &&
	       (res->owner == NODE_NONE || dlm_reco_concerns(res, dead));
}

static void go_on(struct dlm_reco_send *job)
{
	struct dlm_domain *dom = job->dom;
	struct dlm_res *res;

	while (!job->again && job->at && job->open < AT_ONCE) {
		res = job->at;
		job->at = after(dom, res);
		if (to_send(res, job->dead))
			send_res(job, res);
	}
	if (job->open || job->at || job->done || job->again || job->tm.id)
		return;
	if (dlm_reco_telling(dom) && job->tries++ < TELL_TRIES)
		dlm_tm_set(dom, &job->tm, TELL_MS);
	else
		send_done(job);
}

static void data_sent(void *arg, node_t node, int err, int32_t status)
{
	struct dlm_reco_send *job = arg;
	struct dlm_domain *dom = job->dom;

	job->open--;
	if (err && !dlm_peer_gone(dom, node, err)) {
		job->again = true;
		dlm_tm_set(dom, &job->tm, LINK_MS);
	} else if (err || status < 0) {
		log_warn(dom->dlm->log, "dlm",
			 "recovery data refused node=%u err=%d status=%d, its round is void", node,
			 err, status);
		dlm_reco_send_drop(dom);
		return;
	}
	go_on(job);
}

static void timer(void *arg)
{
	struct dlm_reco_send *job = arg;

	if (job->again && job->open) {
		dlm_tm_set(job->dom, &job->tm, LINK_MS);
		return;
	}
	if (job->again)
		job->at = after(job->dom, NULL);
	job->again = false;
	go_on(job);
}

bool dlm_reco_telling(struct dlm_domain *dom)
{
	struct dlm_res *res;

	cds_list_for_each_entry(res, &dom->all, all) {
		if (!dlm_is_self(dom, res->owner) || (res->state & DLM_RES_RECOVERING))
			continue;
		if (res->mig && res->mig->phase >= MIG_RECV &&
		    !dlm_map_test(&dom->members, res->mig->old))
			return true;
		if (res->assert)
			return true;
	}
	return false;
}

/* ---- LOCK_REQUEST --------------------------------------------------------------------------- */

static bool in_another_round(const struct dlm_domain *dom, node_t from, node_t dead)
{
	if (dom->reco.finalize || dlm_is_self(dom, dead) || dead == from ||
	    dlm_map_test(&dom->members, dead))
		return true;
	if (dom->reco.lead)
		return !dlm_reco_announcing(dom);
	return dom->reco.served && dom->reco.new_master != NODE_NONE &&
	       (dom->reco.new_master != from || dom->reco.dead_node != dead);
}

struct dlm_reply dlm_lock_request_handler(struct dlm_domain *dom, node_t from, node_t dead)
{
	struct dlm_reco_send *job;

	if (in_another_round(dom, from, dead))
		return dlm_reply_status(-ENOMEM); /* "ask again" */
	if (dlm_reco_announcing(dom))
		dlm_reco_lead_drop(dom);
	if (!dlm_map_test(&dom->recovery, dead))
		dlm_reco_notice(dom, dead); /* we were joining when it announced itself */
	dom->reco.new_master = from; /* it has announced itself to all, whoever else did */
	dom->reco.dead_node = dead;
	dom->reco.served = true;
	dom->reco.kick = true;
	dlm_reco_send_drop(dom);
	job = dlm_xalloc(dom->dlm, sizeof(*job));
	job->dom = dom;
	job->to = from;
	job->dead = dead;
	job->at = after(dom, NULL);
	dlm_tm_init(&job->tm, timer, job);
	dom->reco.send = job;
	go_on(job);
	return dlm_reply_status(0);
}

/* ---- FINALIZE_RECO ----------------------------------------------------------------------------- */

struct dlm_reply dlm_finalize_handler(struct dlm_domain *dom, node_t from,
				      const struct dlm_wire_reco *m)
{
	bool ours = dom->reco.new_master == from && dom->reco.dead_node == m->dead_node;

	if (!ours || dom->reco.lead) {
		/* Stage 2 once more: over already. Anything else is out of turn. */
		if (m->flags && !dlm_map_test(&dom->recovery, m->dead_node))
			return dlm_reply_status(0);
		log_warn(dom->dlm->log, "dlm", "end of recovery out of turn node=%u dead=%u", from,
			 m->dead_node);
		return dlm_reply_status(-EINVAL);
	}
	if (!m->flags) {
		if (!dom->reco.finalize)
			dlm_reco_finalize(dom, m->dead_node, from);
		dom->reco.finalize = true;
		dlm_reco_send_drop(dom);
	} else if (dom->reco.finalize) {
		dlm_reco_over(dom, m->dead_node);
	} else {
		return dlm_reply_status(-EINVAL);
	}
	return dlm_reply_status(0);
}
