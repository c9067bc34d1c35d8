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

/* R04, R05: a node that is in the middle of a round. */
static int stage;

static enum bed_fate hold_stage(struct lab *l, const struct bed_msg *msg)
{
	struct dlm_wire_reco w;

	if (msg->type != DLM_FINALIZE_RECO_MSG || dlm_get_finalize(msg->payload, msg->len, &w))
		return BED_DELIVER;
	return w.flags == stage && (!l->arg || l->arg == msg->to) ? BED_KEEP : BED_DELIVER;
}

static int32_t ask_reco(node_t at, node_t from, uint16_t type, node_t dead)
{
	struct dlm_wire_reco w = { .node = from, .dead_node = dead };
	uint8_t buf[80];
	size_t len = type == DLM_RECO_DATA_DONE_MSG ? dlm_put_reco_done(&w, buf, sizeof(buf)) :
		     type == DLM_FINALIZE_RECO_MSG  ? dlm_put_finalize(&w, buf, sizeof(buf)) :
						      dlm_put_reco(&w, buf, sizeof(buf));

	return bed_ask(&lab.bed.n[at], from, type, buf, len).status;
}

Test(recovery, next_round_waits_for_the_end_of_this_one)
{
	four();
	own(4, "r");
	user_hold(&lab, &a, 2, "r", PR, 0);
	stage = 1;
	lab.verdict = hold_stage;
	bed_die(&lab.bed, 4);
	lab_run(&lab, 2000);
	cr_assert(dom(2)->reco.finalize);
	cr_assert_eq(owner(2, "r"), 1); /* usable since stage 1 */
	cr_assert_eq(ask_reco(2, 3, DLM_BEGIN_RECO_MSG, 4), -EAGAIN);
	cr_assert_eq(ask_reco(2, 3, DLM_LOCK_REQUEST_MSG, 4), -ENOMEM);
	cr_assert_eq(ask_reco(1, 3, DLM_BEGIN_RECO_MSG, 4), -EAGAIN);
	lab.verdict = NULL;
	lab_release(&lab);
	settle();
}

Test(recovery, recovery_messages_out_of_turn_change_nothing)
{
	user_hold(&lab, &a, 2, "r", PR, 0);
	cr_assert_eq(ask_reco(1, 2, DLM_LOCK_REQUEST_MSG, 3), -ENOMEM);
	cr_assert_eq(ask_reco(1, 2, DLM_RECO_DATA_DONE_MSG, 3), -EINVAL);
	cr_assert_eq(ask_reco(1, 2, DLM_FINALIZE_RECO_MSG, 3), -EINVAL);
	cr_assert_eq(ask_reco(1, 2, DLM_BEGIN_RECO_MSG, 1), -EINVAL);
	cr_assert_eq(ask_reco(1, 2, DLM_BEGIN_RECO_MSG, 2), -EINVAL);
	cr_assert_eq(lab.bed.n[1].evicted, -1);
	recovered();
}

/* ---- requests that were open at the owner (9.6) ---------------------------------------------- */

/* R10 */
Test(recovery, lock_call_without_reply_is_repeated)
{
	own(3, "r");
	user_hold(&lab, &b, 1, "r", NL, 0);
	user_hold(&lab, &c, 2, "r", NL, 0);
	lab_hold(&lab, DLM_CREATE_LOCK_MSG, 2, 3);
	user_lock(&lab, &a, 2, "r", EX, VALBLK);
	lab_run(&lab, 20);
	lab_die(&lab, 3);
	settle();
	cr_assert_eq(a.dones, 1);
	cr_assert_eq(a.done, DLM_NORMAL);
	cr_assert_eq(a.asts, 1);
	cr_assert(a.has_lvb);
	cr_assert(lab_count(&lab, DLM_CREATE_LOCK_MSG, 2, 1) >= 1); /* 39 until the end */
}

Test(recovery, conversion_without_reply_is_repeated_with_its_value)
{
	own(3, "r");
	user_hold(&lab, &b, 1, "r", NL, VALBLK);
	user_hold(&lab, &a, 2, "r", EX, VALBLK);
	lab_hold(&lab, DLM_CONVERT_LOCK_MSG, 2, 3);
	user_convert(&lab, &a, PR, VALBLK, 8); /* U44 */
	lab_run(&lab, 20);
	lab_die(&lab, 3);
	cr_assert_eq(lab_queue(&lab, 2, "r", &a), 'G');
	settle();
	cr_assert_eq(a.asts, 2);
	cr_assert_eq(lab_mode(&lab, 1, "r", &a), PR);
	user_convert(&lab, &b, PR, VALBLK, 0);
	lab_run(&lab, 20);
	cr_assert_eq(b.lvb[0], 8);
}

/* R11, B08: the AST was before the reply, which never came. */
Test(recovery, ast_before_the_reply_is_the_grant)
{
	struct dlm_wire_ast w = { .node = 3, .type = DLM_WIRE_AST,
				  .name = dlm_name_make("r", 1) };
	uint8_t buf[200];
	size_t len;

	own(3, "r");
	user_hold(&lab, &b, 1, "r", NL, 0);
	lab_hold(&lab, DLM_CREATE_LOCK_MSG, 2, 3);
	user_lock(&lab, &a, 2, "r", EX, 0);
	lab_run(&lab, 20);
	w.cookie = a.lock->cookie;
	len = dlm_put_ast(&w, buf, sizeof(buf));
	cr_assert_eq(bed_ask(&lab.bed.n[2], 3, DLM_PROXY_AST_MSG, buf, len).status, DLM_NORMAL);
	cr_assert_eq(a.asts, 1);
	lab_die(&lab, 3);
	settle();
	cr_assert_eq(a.asts, 1);
	cr_assert_eq(a.done, DLM_NORMAL);
	cr_assert_eq(lab_queue(&lab, 1, "r", &a), 'G');
	cr_assert_eq(lab_mode(&lab, 1, "r", &a), EX);
}

/* U22, U21: unlocked with a value that nobody got. */
Test(recovery, unlock_without_reply_succeeds_and_loses_the_value)
{
	own(3, "r");
	user_hold(&lab, &b, 1, "r", NL, VALBLK);
	user_hold(&lab, &a, 2, "r", EX, VALBLK);
	lab_hold(&lab, DLM_UNLOCK_LOCK_MSG, 2, 3);
	user_unlock(&lab, &a, VALBLK, 7);
	lab_run(&lab, 20);
	lab_clear(&lab);
	lab_hold(&lab, DLM_FINALIZE_RECO_MSG, 0, 0);
	bed_die(&lab.bed, 3);
	lab_run(&lab, 2000);
	cr_assert_eq(a.unlock_asts, 0); /* not before the resource has an owner */
	lab_release(&lab);
	settle();
	cr_assert_eq(a.unlock_asts, 1);
	cr_assert_eq(a.unlock_status, DLM_NORMAL);
	cr_assert_eq(lab_count(&lab, DLM_UNLOCK_LOCK_MSG, 2, 1), 0);
	user_convert(&lab, &b, PR, VALBLK, 0);
	lab_run(&lab, 20);
	cr_assert(b.has_lvb);
	cr_assert_eq(b.lvb[0], 0);
}

/* U23, U24 */
Test(recovery, cancel_without_reply_succeeds)
{
	own(3, "r");
	user_hold(&lab, &b, 1, "r", PR, 0);
	user_hold(&lab, &a, 2, "r", PR, 0);
	user_convert(&lab, &a, EX, 0, 0);
	user_lock(&lab, &c, 2, "r", EX, 0);
	lab_run(&lab, 20);
	cr_assert_eq(c.done, DLM_NORMAL);
	lab_hold(&lab, DLM_UNLOCK_LOCK_MSG, 2, 3);
	user_cancel(&lab, &a);
	user_cancel(&lab, &c);
	lab_run(&lab, 20);
	lab_die(&lab, 3);
	settle();
	cr_assert_eq(a.unlock_asts, 1);
	cr_assert_eq(a.unlock_status, DLM_NORMAL);
	cr_assert_eq(a.asts, 1);
	cr_assert_eq(lab_mode(&lab, 1, "r", &a), PR);
	cr_assert_eq(lab_queue(&lab, 1, "r", &a), 'G');
	cr_assert_eq(c.unlock_asts, 1);
	cr_assert_eq(c.unlock_status, DLM_NORMAL);
	cr_assert_eq(c.asts, 0);
	cr_assert(cds_list_empty(&lab_res(&lab, 1, "r")->queue[DLM_LIST_BLOCKED]));
}

/* U25: the AST came while the cancel was open. */
Test(recovery, cancel_that_the_ast_overtook_came_too_late)
{
	struct dlm_wire_ast w = { .node = 3, .type = DLM_WIRE_AST,
				  .name = dlm_name_make("r", 1) };
	uint8_t buf[200];
	size_t len;

	own(3, "r");
	user_hold(&lab, &b, 1, "r", NL, 0);
	user_hold(&lab, &m, 3, "r", PR, 0);
	user_lock(&lab, &a, 2, "r", EX, 0);
	lab_run(&lab, 20);
	lab_hold(&lab, DLM_UNLOCK_LOCK_MSG, 2, 3);
	user_cancel(&lab, &a);
	lab_run(&lab, 20);
	w.cookie = a.lock->cookie;
	len = dlm_put_ast(&w, buf, sizeof(buf));
	lab.no_check = true; /* node 3 has not granted it */
	cr_assert_eq(bed_ask(&lab.bed.n[2], 3, DLM_PROXY_AST_MSG, buf, len).status, DLM_NORMAL);
	lab_die(&lab, 3);
	lab.no_check = false;
	settle();
	cr_assert_eq(a.asts, 1);
	cr_assert_eq(a.unlock_asts, 1);
	cr_assert_eq(a.unlock_status, DLM_CANCELGRANT);
	cr_assert_eq(lab_mode(&lab, 1, "r", &a), EX);
}

Test(recovery, accepted_requests_are_granted_by_the_new_owner)
{
	own(3, "r");
	user_hold(&lab, &b, 1, "r", PR, VALBLK);
	user_hold(&lab, &a, 2, "r", PR, VALBLK);
	user_convert(&lab, &a, EX, VALBLK, 0);
	user_lock(&lab, &c, 2, "r", PR, VALBLK);
	lab_run(&lab, 20);
	lab_clear(&lab);
	lab_die(&lab, 3);
	settle();
	cr_assert_eq(lab_queue(&lab, 1, "r", &a), 'C');
	cr_assert(b.basts >= 2); /* the old owner's, and the new one's */
	user_unlock(&lab, &b, VALBLK, 0);
	lab_run(&lab, 20);
	cr_assert_eq(a.asts, 2);
	cr_assert(a.has_lvb); /* it was told that the value is still owed */
	user_convert(&lab, &a, NL, VALBLK, 3);
	lab_run(&lab, 20);
	cr_assert_eq(c.asts, 1);
	cr_assert_eq(c.lvb[0], 3);
}

/* ---- values ------------------------------------------------------------------------------------ */

/* U42, and 5.3: only the recovery master's own lock vouches for it. */
Test(recovery, value_survives_with_whoever_read_it)
{
	for (node_t reader = 1; reader <= 2; reader++) {
		lab_close(&lab);
		open_with(3);
		own(3, "r");
		user_hold(&lab, &m, 3, "r", EX, VALBLK);
		user_convert(&lab, &m, NL, VALBLK, 5);
		lab_run(&lab, 20);
		user_hold(&lab, &a, reader, "r", PR, VALBLK);
		user_hold(&lab, &b, 3 - reader, "r", NL, VALBLK);
		cr_assert_eq(a.lvb[0], 5);
		lab_die(&lab, 3);
		settle();
		user_convert(&lab, &b, PR, VALBLK, 0);
		lab_run(&lab, 20);
		cr_assert_eq(b.lvb[0], 5, "%d", reader);
	}
}

Test(recovery, value_is_void_if_only_nl_is_left)
{
	own(3, "r");
	user_hold(&lab, &a, 2, "r", EX, VALBLK);
	user_convert(&lab, &a, NL, VALBLK, 5);
	lab_run(&lab, 20);
	user_hold(&lab, &b, 1, "r", NL, VALBLK);
	lab_die(&lab, 3);
	settle();
	user_convert(&lab, &b, PR, VALBLK, 0);
	lab_run(&lab, 20);
	cr_assert(b.has_lvb);
	cr_assert_eq(b.lvb[0], 0);
}

/* U43 */
Test(recovery, accepted_downconversion_goes_first_and_its_value_wins)
{
	own(3, "r");
	user_hold(&lab, &b, 1, "r", NL, VALBLK);
	user_hold(&lab, &a, 2, "r", EX, VALBLK);
	user_lock(&lab, &c, 1, "r", PR, VALBLK);
	lab_run(&lab, 20);
	lab_hold(&lab, DLM_PROXY_AST_MSG, 3, 2);
	user_convert(&lab, &a, NL, VALBLK, 6);
	lab_run(&lab, 20);
	cr_assert_eq(a.done, DLM_NORMAL);
	cr_assert_eq(a.asts, 1);
	lab_die(&lab, 3);
	settle();
	cr_assert_eq(a.asts, 2);
	cr_assert_eq(c.asts, 1);
	cr_assert(a.at_ast < c.at_ast);
	cr_assert_eq(c.lvb[0], 6);
}

/* U40, U41: the holder dies, the owner lives. */
Test(recovery, owner_grants_nothing_until_the_holder_is_recovered)
{
	own(1, "r");
	user_hold(&lab, &a, 3, "r", EX, VALBLK);
	user_lock(&lab, &b, 2, "r", PR, VALBLK);
	lab_run(&lab, 20);
	lab_hold(&lab, DLM_BEGIN_RECO_MSG, 0, 0);
	bed_die(&lab.bed, 3);
	lab_run(&lab, 2000);
	cr_assert_eq(b.asts, 0);
	lab_release(&lab);
	settle();
	cr_assert_eq(b.asts, 1);
	cr_assert_eq(b.lvb[0], 0);
}

/* ---- more deaths (9.8) ----------------------------------------------------------------------------- */

static void one_owner(const char *name)
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
static struct user p, q;

static void five(void)
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
static void all_is_well(void)
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

/* R07, and during data transfer: at each message of the round. */
Test(recovery, recovery_master_dies_before_it_finalizes)
{
	struct { uint16_t type; node_t from, to; } at[] = {
		{ DLM_BEGIN_RECO_MSG, 1, 0 }, { DLM_BEGIN_RECO_MSG, 1, 3 },
		{ DLM_LOCK_REQUEST_MSG, 1, 0 }, { DLM_LOCK_REQUEST_MSG, 1, 2 },
		{ DLM_MIG_LOCKRES_MSG, 0, 1 }, { DLM_MIG_LOCKRES_MSG, 3, 1 },
		{ DLM_RECO_DATA_DONE_MSG, 0, 1 }, { DLM_RECO_DATA_DONE_MSG, 4, 1 },
	};

	for (unsigned int i = 0; i < sizeof(at) / sizeof(at[0]); i++) {
		five();
		lab_hold(&lab, at[i].type, at[i].from, at[i].to);
		bed_die(&lab.bed, 5);
		lab_run(&lab, 1500);
		cr_assert(dlm_map_test(&dom(2)->recovery, 5), "%u", i);
		lab_die(&lab, 1);
		all_is_well();
	}
}

/* R08, R09: stage 1 to all, to none, to some; stage 2 likewise. */
Test(recovery, recovery_master_dies_while_it_finalizes)
{
	for (stage = 0; stage <= 1; stage++) {
		for (node_t to = 0; to <= 4; to++) {
			if (to == 1)
				continue;
			five();
			lab.arg = to;
			lab.verdict = hold_stage;
			bed_die(&lab.bed, 5);
			lab_run(&lab, 1500);
			lab_die(&lab, 1);
			lab.verdict = NULL;
			all_is_well();
		}
	}
}

/* R06 */
Test(recovery, survivor_dies_before_its_locks_are_complete)
{
	struct { uint16_t type; node_t from, to; } at[] = {
		{ DLM_BEGIN_RECO_MSG, 1, 4 }, { DLM_LOCK_REQUEST_MSG, 1, 4 },
		{ DLM_MIG_LOCKRES_MSG, 4, 1 }, { DLM_RECO_DATA_DONE_MSG, 4, 1 },
		{ DLM_FINALIZE_RECO_MSG, 1, 4 },
	};

	for (unsigned int i = 0; i < sizeof(at) / sizeof(at[0]); i++) {
		five();
		lab_hold(&lab, at[i].type, at[i].from, at[i].to);
		bed_die(&lab.bed, 5);
		lab_run(&lab, 1500);
		cr_assert(dom(1)->reco.active);
		lab_die(&lab, 4);
		settle();
		one_owner("r");
		user_convert(&lab, &p, EX, 0, 0);
		lab_run(&lab, 100);
		cr_assert_eq(p.asts, 1);
		user_unlock(&lab, &q, 0, 0);
		lab_run(&lab, 100);
		cr_assert_eq(p.asts, 2);
	}
}

/* R12 */
Test(recovery, two_that_die_together_are_recovered_lowest_first)
{
	struct dlm_wire_reco w;

	five();
	own(4, "y");
	user_hold(&lab, &m, 3, "y", EX, 0);
	lab_clear(&lab);
	bed_die(&lab.bed, 5);
	lab_die(&lab, 4);
	settle();
	one_owner("y");
	one_owner("r");
	cr_assert_eq(dlm_get_reco(lab_sent(&lab, DLM_BEGIN_RECO_MSG, 1, 2, 0)->payload, 8, &w), 0);
	cr_assert_eq(w.dead_node, 4);
	cr_assert_eq(dlm_get_reco(lab_sent(&lab, DLM_BEGIN_RECO_MSG, 1, 2, 1)->payload, 8, &w), 0);
	cr_assert_eq(w.dead_node, 5);
	user_convert(&lab, &m, NL, 0, 0);
	lab_run(&lab, 100);
	cr_assert_eq(m.asts, 2);
}

Test(recovery, all_but_one_die)
{
	for (int i = 0; i < 3; i++) {
		uint16_t at[] = { DLM_BEGIN_RECO_MSG, DLM_RECO_DATA_DONE_MSG,
				  DLM_FINALIZE_RECO_MSG };

		five();
		lab_hold(&lab, at[i], 0, 0);
		bed_die(&lab.bed, 5);
		lab_run(&lab, 1500);
		bed_die(&lab.bed, 1);
		bed_die(&lab.bed, 3);
		lab_die(&lab, 4);
		settle();
		cr_assert_eq(owner(2, "r"), 2);
		user_convert(&lab, &p, EX, 0, 0);
		lab_run(&lab, 100);
		cr_assert_eq(p.asts, 2);
	}
}

/* R16 */
Test(recovery, data_of_a_node_that_was_given_up_is_refused)
{
	five();
	lab_hold(&lab, DLM_RECO_DATA_DONE_MSG, 3, 1);
	bed_die(&lab.bed, 5);
	lab_run(&lab, 1500);
	dlm_node_down(lab.bed.n[1].dlm, 4);
	cr_assert_eq(ask_reco(1, 4, DLM_RECO_DATA_DONE_MSG, 5), -EINVAL);
	cr_assert_eq(ask_reco(1, 3, DLM_RECO_DATA_DONE_MSG, 2), -EINVAL);
	lab_die(&lab, 4);
	lab_release(&lab);
	settle();
}

/* ---- links ----------------------------------------------------------------------------------------- */

static uint16_t lose_type;
static bool lose_reply, lost;

static enum bed_fate lose(struct lab *l, const struct bed_msg *msg)
{
	(void)l;
	if (msg->type != lose_type || lost)
		return BED_DELIVER;
	lost = true;
	return lose_reply ? BED_LOSE_REPLY : BED_LOSE;
}

static enum bed_fate lose_stage2(struct lab *l, const struct bed_msg *msg)
{
	struct dlm_wire_reco w;

	(void)l;
	if (msg->type != DLM_FINALIZE_RECO_MSG || lost ||
	    dlm_get_finalize(msg->payload, msg->len, &w) || !w.flags)
		return BED_DELIVER;
	lost = true;
	return lose_reply ? BED_LOSE_REPLY : BED_LOSE;
}

Test(recovery, link_loss_at_every_message)
{
	static const uint16_t types[] = {
		DLM_MASTER_REQUERY_MSG, DLM_MASTER_REQUEST_MSG, DLM_ASSERT_MASTER_MSG,
		DLM_BEGIN_RECO_MSG, DLM_LOCK_REQUEST_MSG, DLM_MIG_LOCKRES_MSG,
		DLM_RECO_DATA_DONE_MSG, DLM_FINALIZE_RECO_MSG, 0 /* its stage 2 */
	};

	for (unsigned int i = 0; i < 2 * sizeof(types) / sizeof(types[0]); i++) {
		five();
		lose_type = types[i / 2];
		lose_reply = i & 1;
		lost = false;
		lab.verdict = lose_type ? lose : lose_stage2;
		lab_die(&lab, 5);
		lab_run(&lab, 5000);
		cr_assert(lost, "%u", i);
		lab.verdict = NULL;
		all_is_well();
	}
}

/* Else the new owner would give to others what a survivor still holds. */
Test(recovery, locks_lost_with_the_link_are_reported_again)
{
	own(3, "r");
	own(3, "s");
	user_hold(&lab, &a, 2, "r", EX, 0);
	user_hold(&lab, &b, 2, "s", EX, 0);
	lose_type = DLM_MIG_LOCKRES_MSG;
	lose_reply = lost = false;
	lab.verdict = lose;
	lab_clear(&lab);
	lab_die(&lab, 3);
	settle();
	cr_assert(lost);
	lab.verdict = NULL;
	cr_assert_eq(lab_count(&lab, DLM_RECO_DATA_DONE_MSG, 2, 1), 1);
	cr_assert_eq(lab_queue(&lab, 1, "r", &a), 'G');
	cr_assert_eq(lab_queue(&lab, 1, "s", &b), 'G');
	user_lock(&lab, &c, 1, "r", PR, 0);
	lab_run(&lab, 100);
	cr_assert_eq(c.asts, 0);
	cr_assert(a.basts);
	user_unlock(&lab, &a, 0, 0);
	lab_run(&lab, 100);
	cr_assert_eq(c.asts, 1);
}

/* A kernel node would not survive FINALIZE twice. */
Test(recovery, end_of_a_round_is_not_said_twice)
{
	for (int i = 0; i < 2; i++) {
		lab_close(&lab);
		open_with(3);
		own(3, "r");
		user_hold(&lab, &a, 2, "r", PR, 0);
		lose_type = DLM_FINALIZE_RECO_MSG;
		lose_reply = true;
		lost = false;
		lab.verdict = i ? lose_stage2 : lose;
		lab_clear(&lab);
		lab_die(&lab, 3);
		lab_run(&lab, 3000);
		lab.verdict = NULL;
		recovered();
		/* Stage 1 is not repeated; after stage 2 BEGIN_RECO opens a new round first. */
		cr_assert_eq(lab_count(&lab, DLM_FINALIZE_RECO_MSG, 1, 2), i ? 4 : 2);
		cr_assert_eq(lab_count(&lab, DLM_BEGIN_RECO_MSG, 1, 2), 2);
	}
}

/* ---- size, membership, strangers --------------------------------------------------------------------- */

Test(recovery, many_locks_take_several_messages)
{
	static struct user many[241];
	struct dlm_wire_mig w;

	own(3, "r");
	lab.no_check = true;
	for (int i = 0; i < 241; i++) {
		user_lock(&lab, &many[i], 2, "r", PR, 0);
		lab_run(&lab, 5);
		lab_clear(&lab);
	}
	lab.no_check = false;
	lab_die(&lab, 3);
	settle();
	cr_assert_eq(lab_count(&lab, DLM_MIG_LOCKRES_MSG, 2, 1), 2);
	w = mig(lab_sent(&lab, DLM_MIG_LOCKRES_MSG, 2, 1, 0));
	cr_assert_eq(w.num_locks, 240);
	cr_assert_eq(w.total_locks, 241);
	cr_assert_eq(w.flags, DLM_MRES_RECOVERY);
	w = mig(lab_sent(&lab, DLM_MIG_LOCKRES_MSG, 2, 1, 1));
	cr_assert_eq(w.num_locks, 1);
	cr_assert_eq(w.flags, DLM_MRES_RECOVERY | DLM_MRES_ALL_DONE);
	for (int i = 0; i < 241; i++)
		cr_assert_eq(lab_queue(&lab, 1, "r", &many[i]), 'G');
}

/* R14 */
Test(recovery, dead_node_is_let_in_when_it_is_recovered)
{
	struct bed_node *n;

	own(3, "r");
	user_hold(&lab, &a, 2, "r", PR, 0);
	lab_hold(&lab, DLM_RECO_DATA_DONE_MSG, 0, 0);
	bed_die(&lab.bed, 3);
	memset(lab.bed.n[3].timers, 0, sizeof(lab.bed.n[3].timers));
	n = bed_core(&lab.bed, 3);
	bed_join(n);
	lab_run(&lab, 3000);
	cr_assert(!n->joined);
	cr_assert(!n->failed);
	lab_release(&lab);
	lab_run(&lab, 3000);
	cr_assert(n->joined, "%s", n->why);
	recovered();
	user_hold(&lab, &b, 3, "r", PR, 0);
	cr_assert_eq(owner(3, "r"), 1);
}

/* R17 */
Test(recovery, node_taken_for_dead_is_answered_as_such)
{
	struct dlm_wire_ast w = { .node = 3, .type = DLM_WIRE_AST, .cookie = 77,
				  .name = dlm_name_make("r", 1) };
	struct dlm_wire_master s = { .node = 3, .name = dlm_name_make("r", 1) };
	uint8_t buf[200];
	size_t len;

	own(3, "r");
	user_hold(&lab, &a, 2, "r", PR, 0);
	dlm_node_down(lab.bed.n[2].dlm, 3);
	len = dlm_put_ast(&w, buf, sizeof(buf));
	cr_assert_eq(bed_ask(&lab.bed.n[2], 3, DLM_PROXY_AST_MSG, buf, len).status, DLM_RECOVERING);
	len = dlm_put_master(&s, buf, sizeof(buf));
	cr_assert_eq(bed_ask(&lab.bed.n[2], 3, DLM_ASSERT_MASTER_MSG, buf, len).status, -EINVAL);
	lab_die(&lab, 3);
	settle();
}

Test(recovery, nobody_else_locks_the_election_lock)
{
	user_lock(&lab, &a, 1, "$RECOVERY", EX, 0);
	cr_assert_eq(a.done, DLM_BADPARAM);
}

/* A leaving node that leads ends the round first. */
Test(recovery, recovery_master_leaves_after_its_round)
{
	own(3, "r");
	user_hold(&lab, &a, 2, "r", PR, 0);
	lab_hold(&lab, DLM_RECO_DATA_DONE_MSG, 0, 0);
	bed_die(&lab.bed, 3);
	lab_run(&lab, 1500);
	bed_leave(&lab.bed.n[1]);
	lab_run(&lab, 2000);
	cr_assert(!lab.bed.n[1].left);
	lab_release(&lab);
	lab_run(&lab, 10000);
	cr_assert(lab.bed.n[1].left);
	cr_assert_eq(owner(2, "r"), 2);
	recovered();
}

/* The outcome of the last message comes when the round is over. */
Test(recovery, survivor_leaves_while_it_is_told_the_end)
{
	struct dlm_wire_exit w = { .node = 2 };
	uint8_t buf[8];

	own(3, "r");
	stage = 1;
	lab.verdict = hold_stage;
	bed_die(&lab.bed, 3);
	lab_run(&lab, 1500);
	cr_assert(dom(1)->reco.active);
	cr_assert_eq(bed_ask(&lab.bed.n[1], 2, DLM_EXIT_DOMAIN_MSG, buf,
			     dlm_put_exit(&w, buf, sizeof(buf))).status, 0);
	cr_assert(!dom(1)->reco.active);
	lab.verdict = NULL;
	lab_release(&lab);
	lab_run(&lab, 100);
	cr_assert(dlm_map_empty(&dom(1)->recovery));
}

/* ---- migrations that a death met (8.5) ------------------------------------------------------------------ */

/* The target told node 2 that it owns, then died; the old owner (1) still is. */
Test(recovery, old_owner_tells_again_when_its_target_dies)
{
	struct user t;

	four();
	user_hold(&lab, &m, 1, "r", NL, 0);
	user_hold(&lab, &t, 4, "r", PR, 0);
	user_hold(&lab, &a, 2, "r", PR, 0);
	user_hold(&lab, &b, 3, "r", PR, 0);
	user_unlock(&lab, &m, 0, 0);
	lab_hold(&lab, DLM_ASSERT_MASTER_MSG, 4, 3);
	bed_leave(&lab.bed.n[1]);
	lab_run(&lab, 20);
	cr_assert_eq(owner(2, "r"), 4);
	lab_die(&lab, 4);
	lab_run(&lab, 10000);
	cr_assert(lab.bed.n[1].left);
	one_owner("r");
	user_convert(&lab, &a, EX, 0, 0);
	lab_run(&lab, 100);
	cr_assert_eq(a.asts, 1);
	user_unlock(&lab, &b, 0, 0);
	lab_run(&lab, 100);
	cr_assert_eq(a.asts, 2);
	recovered();
}

/* The old owner died; the target (2) has all, and node 3 has not been told. */
Test(recovery, target_that_has_all_stays_owner)
{
	four();
	user_hold(&lab, &m, 4, "r", NL, 0);
	user_hold(&lab, &a, 2, "r", PR, 0);
	user_hold(&lab, &b, 3, "r", PR, 0);
	user_unlock(&lab, &m, 0, 0);
	lab_hold(&lab, DLM_MIGRATE_REQUEST_MSG, 2, 3);
	bed_leave(&lab.bed.n[4]);
	lab_run(&lab, 20);
	cr_assert_eq(owner(2, "r"), 2);
	lab.hold_type = 0;
	bed_die(&lab.bed, 4);
	lab_run(&lab, 1500);
	lab_release(&lab);
	settle();
	one_owner("r");
	user_convert(&lab, &a, EX, 0, 0);
	lab_run(&lab, 100);
	cr_assert_eq(a.asts, 1);
	user_unlock(&lab, &b, 0, 0);
	lab_run(&lab, 100);
	cr_assert_eq(a.asts, 2);
}

/*
 * Old owner (3) and target (4) die together. Node 1 had heard of the migration and now knows
 * no owner; node 2 had not and names the dead one: that is nobody who has it.
 */
Test(recovery, naming_the_dead_owner_is_not_owning)
{
	four();
	own(3, "r");
	user_hold(&lab, &c, 4, "r", NL, 0); /* the target */
	user_hold(&lab, &a, 1, "r", PR, 0);
	user_hold(&lab, &b, 2, "r", PR, 0);
	lab_hold(&lab, DLM_MIGRATE_REQUEST_MSG, 4, 2);
	bed_leave(&lab.bed.n[3]);
	lab_run(&lab, 20);
	cr_assert_eq(owner(2, "r"), 3);
	lab_clear(&lab);
	bed_die(&lab.bed, 4);
	cr_assert_eq(owner(1, "r"), NODE_NONE);
	lab_die(&lab, 3);
	lab_run(&lab, 3000);
	/* The first one is about the election lock. */
	cr_assert(bed_find(&lab.bed, DLM_MASTER_REQUERY_MSG, 1, 2, 1));
	cr_assert_eq(bed_find(&lab.bed, DLM_MASTER_REQUERY_MSG, 1, 2, 1)->status, 3);
	settle();
	cr_assert_eq(owner(1, "r"), 1);
	cr_assert_eq(owner(2, "r"), 1);
	user_convert(&lab, &b, EX, 0, 0);
	lab_run(&lab, 100);
	cr_assert_eq(b.asts, 1);
	user_unlock(&lab, &a, 0, 0);
	lab_run(&lab, 100);
	cr_assert_eq(b.asts, 2);
}

/* ---- recorded traffic ------------------------------------------------------------------------------------ */

/* T2558 of doc/spec/vectors: a kernel survivor (1) of owner 3, its flock on converting. */
Test(recovery, survivor_says_what_a_kernel_says)
{
	static const uint8_t head[16] = { 3, 31, 1, 5, 0, 0, 0, 1 };
	static const uint8_t lock[8] = { 0, 0, 1, 0, 0, 5, 0xff, 1 };
	static const char name[] = "F000000000000000002a19d1a7b9c4";
	const struct kept *k;

	lab.bed.counting = false;
	lab.bed.random = 0;
	own(3, name);
	user_hold(&lab, &m, 3, name, EX, 0);
	user_hold(&lab, &a, 1, name, NL, 0);
	user_convert(&lab, &a, EX, 0, 0);
	lab_run(&lab, 20);
	dlm_node_down(lab.bed.n[2].dlm, 3); /* first to notice, it leads */
	lab_clear(&lab);
	lab_run(&lab, 1500);
	k = lab_sent(&lab, DLM_MIG_LOCKRES_MSG, 1, 2, 0);
	cr_assert(k);
	cr_assert_eq(k->len, 128);
	cr_assert_eq(k->payload[1], strlen(name));
	cr_assert_eq(k->payload[0], head[0]);
	cr_assert_arr_eq(k->payload + 2, head + 2, 14);
	cr_assert_arr_eq(k->payload + 16, name, strlen(name));
	cr_assert_arr_eq(k->payload + 120, lock, 8);
	lab_die(&lab, 3);
	settle();
}
