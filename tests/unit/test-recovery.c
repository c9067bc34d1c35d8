// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test-recovery.c: a member dies among several (dlm.md 9, 10.3 R01 to R17, 9.8).
 *
 * Names: node 3 is the one that dies and owns "r", unless said; 1 and 2 survive, and 1 is
 * the recovery master where the test decides (the delay of node 1 is shortest).
 */
#include <criterion/criterion.h>
#include <string.h>
#include "tests/unit/dlm-user.h"

#define NL DLM_MODE_NL
#define PR DLM_MODE_PR
#define EX DLM_MODE_EX
#define VALBLK DLM_LKF_VALBLK

static struct lab lab;
static struct user a, b, c, m;

static void open_with(int nodes)
{
	lab_open(&lab, nodes);
	lab.bed.counting = true; /* delays differ: node after node */
}

static void three(void)
{
	open_with(3);
}

static void four(void)
{
	lab_close(&lab);
	open_with(4);
}

static void over(void)
{
	lab_close(&lab);
}

TestSuite(recovery, .init = three, .fini = over);

static struct dlm_domain *dom(node_t n)
{
	return lab.bed.n[n].dom;
}

static node_t owner(node_t n, const char *name)
{
	struct dlm_res *res = lab_res(&lab, n, name);

	return res ? res->owner : NODE_NONE;
}

/* Every survivor is at rest again. */
static void recovered(void)
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

static void settle(void)
{
	lab_run(&lab, 3000);
	recovered();
}

/* Node n owns it, without a lock of its own. */
static void own(node_t n, const char *name)
{
	struct user u;

	user_hold(&lab, &u, n, name, NL, 0);
	user_unlock(&lab, &u, 0, 0);
	lab_run(&lab, 10);
	cr_assert_eq(owner(n, name), n);
}

static struct dlm_wire_mig mig(const struct kept *k)
{
	static struct dlm_wire_mig w;

	cr_assert(k);
	cr_assert_eq(dlm_get_mig(k->payload, k->len, &w), 0);
	return w;
}

/* ---- the plain case ------------------------------------------------------------------- */

/* R01 */
Test(recovery, locks_survive_and_who_waits_is_served)
{
	four();
	own(4, "r");
	user_hold(&lab, &a, 1, "r", PR, 0);
	user_hold(&lab, &b, 2, "r", PR, 0);
	user_lock(&lab, &c, 3, "r", EX, 0);
	lab_run(&lab, 20);
	cr_assert_eq(c.done, DLM_NORMAL);
	lab_clear(&lab);
	lab_die(&lab, 4);
	settle();
	cr_assert_eq(owner(1, "r"), owner(2, "r"));
	cr_assert_eq(owner(1, "r"), owner(3, "r"));
	cr_assert_eq(c.asts, 0);
	cr_assert(a.basts && b.basts);
	user_unlock(&lab, &a, 0, 0);
	lab_run(&lab, 20);
	cr_assert_eq(c.asts, 0);
	user_unlock(&lab, &b, 0, 0);
	lab_run(&lab, 20);
	cr_assert_eq(c.asts, 1);
	cr_assert_eq(a.unlock_asts, 1);
}

/* 9.4, 9.5: what goes over the wire, and in which order. */
Test(recovery, messages_of_a_round)
{
	static const uint8_t begin[8] = { 1, 3 }, stage1[8] = { 1, 3 }, stage2[8] = { 1, 3, 1 };
	struct dlm_wire_mig w;

	own(3, "r");
	user_hold(&lab, &a, 2, "r", PR, 0);
	lab_clear(&lab);
	lab_die(&lab, 3);
	settle();
	cr_assert_eq(owner(2, "r"), 1);
	cr_assert_eq(lab_count(&lab, DLM_BEGIN_RECO_MSG, 1, 2), 1);
	cr_assert_arr_eq(lab_sent(&lab, DLM_BEGIN_RECO_MSG, 1, 2, 0)->payload, begin, 8);
	cr_assert_eq(lab_count(&lab, DLM_LOCK_REQUEST_MSG, 1, 2), 1);
	cr_assert_arr_eq(lab_sent(&lab, DLM_LOCK_REQUEST_MSG, 1, 2, 0)->payload, begin, 8);
	w = mig(lab_sent(&lab, DLM_MIG_LOCKRES_MSG, 2, 1, 0));
	cr_assert_eq(w.master, 3);
	cr_assert_eq(w.flags, DLM_MRES_RECOVERY | DLM_MRES_ALL_DONE);
	cr_assert_eq(w.total_locks, 1);
	cr_assert_eq(w.num_locks, 1);
	cr_assert_eq(w.locks[0].node, 2);
	cr_assert_eq(w.locks[0].list, DLM_LIST_GRANTED);
	cr_assert_eq(w.locks[0].mode, PR);
	cr_assert_eq(w.locks[0].cookie, a.lock->cookie);
	cr_assert_eq(lab_count(&lab, DLM_RECO_DATA_DONE_MSG, 2, 1), 1);
	cr_assert_eq(lab_count(&lab, DLM_FINALIZE_RECO_MSG, 1, 2), 2);
	cr_assert_arr_eq(lab_sent(&lab, DLM_FINALIZE_RECO_MSG, 1, 2, 0)->payload, stage1, 8);
	cr_assert_arr_eq(lab_sent(&lab, DLM_FINALIZE_RECO_MSG, 1, 2, 1)->payload, stage2, 8);
	cr_assert(lab_sent(&lab, DLM_BEGIN_RECO_MSG, 1, 2, 0) <
		  lab_sent(&lab, DLM_LOCK_REQUEST_MSG, 1, 2, 0));
	cr_assert(lab_sent(&lab, DLM_MIG_LOCKRES_MSG, 2, 1, 0) <
		  lab_sent(&lab, DLM_RECO_DATA_DONE_MSG, 2, 1, 0));
	cr_assert(lab_sent(&lab, DLM_RECO_DATA_DONE_MSG, 2, 1, 0) <
		  lab_sent(&lab, DLM_FINALIZE_RECO_MSG, 1, 2, 0));
}

/* R15 */
Test(recovery, reference_without_a_lock_is_reported_as_a_dummy)
{
	struct dlm_wire_mig w;

	own(3, "r");
	user_hold(&lab, &a, 2, "r", PR, 0);
	user_unlock(&lab, &a, 0, 0);
	lab_run(&lab, 20);
	lab_clear(&lab);
	lab_die(&lab, 3);
	settle();
	w = mig(lab_sent(&lab, DLM_MIG_LOCKRES_MSG, 2, 1, 0));
	cr_assert(dlm_wire_mig_is_dummy(&w.locks[0]));
	cr_assert_eq(w.total_locks, 0);
	cr_assert_eq(w.locks[0].node, 2);
	cr_assert(dlm_map_test(dlm_refs(lab_res(&lab, 1, "r")), 2));
	lab_run(&lab, 20000);
	cr_assert_null(lab_res(&lab, 2, "r")); /* DEREF */
	cr_assert_null(lab_res(&lab, 1, "r"));
}

Test(recovery, new_calls_wait_while_it_is_active_and_unlocks_do_not)
{
	own(3, "r");
	user_hold(&lab, &m, 1, "x", PR, 0);
	lab_hold(&lab, DLM_LOCK_REQUEST_MSG, 0, 0);
	bed_die(&lab.bed, 3);
	lab_run(&lab, 2000);
	cr_assert(dom(1)->reco.active);
	user_lock(&lab, &a, 1, "y", EX, 0);
	user_unlock(&lab, &m, 0, 0);
	lab_run(&lab, 1000);
	cr_assert_eq(a.done, -1);
	cr_assert_eq(m.unlock_asts, 1);
	lab_release(&lab);
	settle();
	cr_assert_eq(a.asts, 1);
}

/* ---- who leads ---------------------------------------------------------------------------- */

/* R02 */
Test(recovery, of_two_candidates_one_leads)
{
	lab.bed.counting = false; /* equal delays */
	own(3, "r");
	user_hold(&lab, &a, 2, "r", PR, 0);
	lab_clear(&lab);
	lab_die(&lab, 3);
	settle();
	cr_assert_eq(lab_count(&lab, DLM_BEGIN_RECO_MSG, 0, 0), 1);
	cr_assert_eq(lab_count(&lab, DLM_FINALIZE_RECO_MSG, 0, 0), 2);
}

/* R03: node 2 has not noticed. */
Test(recovery, announcement_is_a_death_notice)
{
	own(3, "r");
	user_hold(&lab, &a, 2, "r", PR, 0);
	dlm_node_down(lab.bed.n[1].dlm, 3);
	lab_run(&lab, 2000);
	cr_assert_eq(lab.bed.n[2].evicted, 3);
	cr_assert(!bed_member(&lab.bed.n[2], 3));
	cr_assert_eq(owner(2, "r"), 1);
	lab.bed.n[2].evicted = -1;
	lab_die(&lab, 3);
	settle();
	cr_assert_eq(lab.bed.n[2].evicted, -1); /* once is enough */
}

/* R13 */
Test(recovery, election_lock_of_the_dead_is_gone)
{
	four();
	lab_die(&lab, 4);
	settle();
	cr_assert_eq(owner(1, "$RECOVERY"), 1);
	cr_assert_eq(bed_count(&lab.bed, DLM_PROXY_AST_MSG, 0, 0), 0);
	own(1, "r");
	user_hold(&lab, &b, 2, "r", PR, 0);
	lab_die(&lab, 1);
	settle();
	cr_assert_neq(owner(2, "r"), 1);
	cr_assert_eq(owner(2, "r"), owner(3, "r") == NODE_NONE ? 2 : owner(3, "r"));
}
