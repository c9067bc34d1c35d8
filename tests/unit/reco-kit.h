/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * reco-kit.h: what the tests of recovery share: a cluster to let nodes die in, and what must
 * hold when it is over. Included by one source file each; the state is that file's own.
 *
 * Names: node 3 is the one that dies and owns "r", unless said; 1 and 2 survive, and 1 is
 * the recovery master where the test decides (the delay of node 1 is shortest).
 */
#ifndef O2FUSE_TESTS_RECO_KIT_H
#define O2FUSE_TESTS_RECO_KIT_H

#include <criterion/criterion.h>
#include <string.h>
#include "tests/unit/dlm-user.h"

#define NL DLM_MODE_NL
#define PR DLM_MODE_PR
#define EX DLM_MODE_EX
#define VALBLK DLM_LKF_VALBLK

static struct lab lab;
static struct user a, c, p, q;
static struct user b __attribute__((unused)), m __attribute__((unused));

static inline void open_with(int nodes)
{
	lab_open(&lab, nodes);
	lab.bed.counting = true; /* delays differ: node after node */
}

static inline void three(void)
{
	open_with(3);
}

static inline void four(void)
{
	lab_close(&lab);
	open_with(4);
}

static inline void over(void)
{
	lab_close(&lab);
}

static inline struct dlm_domain *dom(node_t n)
{
	return lab.bed.n[n].dom;
}

static inline node_t owner(node_t n, const char *name)
{
	struct dlm_res *res = lab_res(&lab, n, name);

	return res ? res->owner : NODE_NONE;
}

/* Every survivor is at rest again. */
static inline void recovered(void)
{
	for (int i = 1; i < BED_NODES; i++) {
		struct dlm_domain *dm = lab.bed.n[i].dom;

		if (!dm)
			continue;
		cr_assert(dlm_map_empty(&dm->recovery), "node %d", i);
		cr_assert(!dm->reco.active && !dm->reco.finalize, "node %d", i);
		cr_assert_eq(dm->reco.dead_node, NODE_NONE, "node %d", i);
		cr_assert_eq(dm->reco.new_master, NODE_NONE, "node %d", i);
		cr_assert(!dm->reco.lead && !dm->reco.send && !dm->reco.lock, "node %d", i);
		cr_assert(cds_list_empty(&dm->mles), "node %d", i);
		cr_assert(!lab.bed.n[i].fenced[0], "%s", lab.bed.n[i].fenced);
	}
}

static inline void settle(void)
{
	lab_run(&lab, 3000);
	recovered();
}

/* Node n owns it, without a lock of its own. */
static inline void own(node_t n, const char *name)
{
	struct user u;

	user_hold(&lab, &u, n, name, NL, 0);
	user_unlock(&lab, &u, 0, 0);
	lab_run(&lab, 10);
	cr_assert_eq(owner(n, name), n);
}

static inline struct dlm_wire_mig mig(const struct kept *k)
{
	static struct dlm_wire_mig w;

	cr_assert(k);
	cr_assert_eq(dlm_get_mig(k->payload, k->len, &w), 0);
	return w;
}

/* A verdict: stage `stage` of the end of a round is kept, to lab.arg or to all. */
static int stage;

static inline enum bed_fate hold_stage(struct lab *l, const struct bed_msg *msg)
{
	struct dlm_wire_reco w;

	if (msg->type != DLM_FINALIZE_RECO_MSG || dlm_get_finalize(msg->payload, msg->len, &w))
		return BED_DELIVER;
	return w.flags == stage && (!l->arg || l->arg == msg->to) ? BED_KEEP : BED_DELIVER;
}

static inline int32_t ask_reco(node_t at, node_t from, uint16_t type, node_t dead)
{
	struct dlm_wire_reco w = { .node = from, .dead_node = dead };
	uint8_t buf[80];
	size_t len = type == DLM_RECO_DATA_DONE_MSG ? dlm_put_reco_done(&w, buf, sizeof(buf)) :
		     type == DLM_FINALIZE_RECO_MSG  ? dlm_put_finalize(&w, buf, sizeof(buf)) :
						      dlm_put_reco(&w, buf, sizeof(buf));

	return bed_ask(&lab.bed.n[at], from, type, buf, len).status;
}

static inline void one_owner(const char *name)
{
	node_t who = NODE_NONE;

	for (int i = 1; i < BED_NODES; i++) {
		if (!lab.bed.n[i].dom || owner((node_t)i, name) == NODE_NONE)
			continue;
		if (who == NODE_NONE)
			who = owner((node_t)i, name);
		cr_assert_eq(owner((node_t)i, name), who, "node %d", i);
	}
	cr_assert_neq(who, NODE_NONE);
	cr_assert_not_null(lab.bed.n[who].dom);
}

/* Five: 5 owns, 1 will lead; 2, 3 and 4 hold PR, and 4 also waits for EX. */
static inline void five(void)
{
	lab_close(&lab);
	open_with(5);
	lab.verdict = NULL;
	lab.arg = 0;
	own(5, "r");
	user_hold(&lab, &p, 2, "r", PR, 0);
	user_hold(&lab, &q, 3, "r", PR, 0);
	user_lock(&lab, &c, 4, "r", EX, 0);
	own(1, "x");
	user_hold(&lab, &a, 2, "x", PR, 0);
	lab_clear(&lab);
}

/* Whatever happened: the two hold, the third gets it after them. */
static inline void all_is_well(void)
{
	settle();
	one_owner("r");
	one_owner("x");
	cr_assert_eq(lab_queue(&lab, owner(2, "r"), "r", &p), 'G');
	cr_assert_eq(lab_queue(&lab, owner(2, "r"), "r", &q), 'G');
	cr_assert_eq(lab_queue(&lab, owner(2, "r"), "r", &c), 'B');
	cr_assert_eq(c.asts, 0);
	user_unlock(&lab, &p, 0, 0);
	user_unlock(&lab, &q, 0, 0);
	lab_run(&lab, 500);
	cr_assert_eq(p.unlock_asts, 1);
	cr_assert_eq(q.unlock_asts, 1);
	cr_assert_eq(c.asts, 1);
	user_unlock(&lab, &c, 0, 0);
	lab_run(&lab, 500);
	cr_assert_eq(c.unlock_asts, 1);
}

#endif
