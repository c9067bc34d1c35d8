/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * leave.c: stop being a member (doc/spec/cluster.md 5.9).
 *
 *	BEGIN_EXIT	everybody is told not to migrate to us; once
 *	EMPTY		passes over the table until nothing is left (dlm_leave_pass), and
 *			until no join that we have reserved is open
 *	EXIT		from here on QUERY_JOIN is told that we are no member; everybody
 *			gets EXIT_DOMAIN, again until it is sure to have been handled
 *
 * The step from EMPTY to EXIT is one input: no join can be reserved between the look at
 * joining_node and the change of state.
 */
#include "dlm/domain_int.h"

#define PASS_MS 500
#define RETRY_MS 200

static void exit_domain(struct dlm_domain *dom, node_t to);

static void send_exit(struct dlm_domain *dom, node_t to, uint16_t type, dlm_sent_fn fn)
{
	struct dlm_wire_exit m = { .node = dom->dlm->self };
	uint8_t buf[8];

	dlm_map_set(&dom->ms->open, to);
	dlm_send(dom, to, type, buf, dlm_put_exit(&m, buf, sizeof(buf)), fn, dom);
}

static struct dlm_map others(const struct dlm_domain *dom)
{
	struct dlm_map m = dom->members;

	dlm_map_clear(&m, dom->dlm->self);
	return m;
}

/* ---- BEGIN_EXIT ------------------------------------------------------------------ */

static void empty(struct dlm_domain *dom)
{
	dom->ms->step = MS_EMPTY;
	dlm_leave_go_on(dom);
}

/* Errors are ignored: who did not hear of it may choose us as target and is refused. */
static void begin_exit_sent(void *arg, node_t node, int err, int32_t status)
{
	struct dlm_domain *dom = arg;

	(void)err;
	(void)status;
	dlm_map_clear(&dom->ms->open, node);
	if (dlm_map_empty(&dom->ms->open) && dom->ms->step == MS_BEGIN_EXIT)
		empty(dom);
}

static void pass_timer(void *arg)
{
	dlm_leave_go_on(arg);
}

void dlm_leave_begin(struct dlm_domain *dom)
{
	struct dlm_membership *ms = dom->ms;
	struct dlm_map to = others(dom);

	if (dom->state == DLM_DOM_NEW) {
		dlm_join_quit(dom);
		return;
	}
	if (dom->state != DLM_DOM_JOINED)
		return; /* under way */
	dom->state = DLM_DOM_IN_SHUTDOWN;
	dlm_tm_init(&ms->pass_timer, pass_timer, dom);
	ms->open = (struct dlm_map){ 0 };
	ms->step = MS_BEGIN_EXIT;
	if (dom->dlm_minor >= 2)
		dlm_map_for_each(n, &to)
			send_exit(dom, n, DLM_BEGIN_EXIT_DOMAIN_MSG, begin_exit_sent);
	if (dlm_map_empty(&ms->open))
		empty(dom);
}

/* ---- EMPTY ------------------------------------------------------------------------- */

void dlm_leave_go_on(struct dlm_domain *dom)
{
	struct dlm_membership *ms = dom->ms;
	struct dlm_map to;

	if (dom->state == DLM_DOM_LEAVING && ms->step == MS_EXIT) {
		dlm_leave_exit(dom, NULL);
		return;
	}
	if (dom->state != DLM_DOM_IN_SHUTDOWN || ms->step != MS_EMPTY)
		return;
	if (!dlm_leave_pass(dom) || dom->joining_node != NODE_NONE) {
		dlm_tm_set(dom, &ms->pass_timer, PASS_MS);
		return;
	}
	dlm_tm_clear(dom, &ms->pass_timer);
	dom->migrate_done = true;
	dom->state = DLM_DOM_LEAVING;
	dlm_map_clear(&dom->members, dom->dlm->self);
	to = dom->members;
	dlm_leave_exit(dom, &to);
}

/* ---- EXIT ---------------------------------------------------------------------------- */

static void gone(struct dlm_domain *dom)
{
	struct dlm_membership *ms = dom->ms;

	ms->step = MS_IDLE;
	log_info(dom->dlm->log, "dlm", "left domain=%s", dom->cfg.name);
	dlm_fx_key(dom, false);
	if (ms->err)
		dlm_fx_joined(dom, ms->err, ms->why);
	else
		dlm_fx_left(dom);
	dom->gone = true;
}

static void exit_sent(void *arg, node_t node, int err, int32_t status)
{
	struct dlm_domain *dom = arg;
	struct dlm_membership *ms = dom->ms;

	(void)status;
	dlm_map_clear(&ms->open, node);
	/* A kernel takes -ENOTCONN for done. But while that node heartbeats it would count us
	 * as a member on and on, and disallow our next join: again when the link is back. */
	if (err && err != -ENOPROTOOPT && dlm_map_test(&dom->dlm->live, node)) {
		dlm_map_set(&ms->retry, node);
		dlm_tm_set(dom, &ms->pass_timer, RETRY_MS);
	}
	dlm_leave_exit(dom, NULL);
}

static void exit_timer(void *arg)
{
	struct dlm_domain *dom = arg;
	struct dlm_map again = dom->ms->retry;

	dom->ms->retry = (struct dlm_map){ 0 };
	dlm_map_for_each(n, &again)
		if (dlm_map_test(&dom->dlm->live, n))
			exit_domain(dom, n);
	dlm_leave_exit(dom, NULL);
}

static void exit_domain(struct dlm_domain *dom, node_t to)
{
	send_exit(dom, to, DLM_EXIT_DOMAIN_MSG, exit_sent);
}

void dlm_leave_exit(struct dlm_domain *dom, const struct dlm_map *to)
{
	struct dlm_membership *ms = dom->ms;

	if (to) {
		struct dlm_map targets = *to;

		ms->step = MS_EXIT;
		dlm_tm_init(&ms->pass_timer, exit_timer, dom);
		ms->open = ms->retry = (struct dlm_map){ 0 };
		dlm_map_for_each(n, &targets)
			exit_domain(dom, n);
	}
	/* Who died or left meanwhile need not be told. */
	for (node_t n = dlm_map_next(&ms->retry, 0); n != NODE_NONE;
	     n = dlm_map_next(&ms->retry, n + 1u))
		if (!dlm_map_test(&dom->dlm->live, n))
			dlm_map_clear(&ms->retry, n);
	if (!dom->gone && dlm_map_empty(&ms->open) && dlm_map_empty(&ms->retry))
		gone(dom);
}
