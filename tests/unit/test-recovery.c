// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test-recovery.c: a member dies among several: one round (doc/spec/dlm.md 9.1 to 9.7,
 * scenarios R01 to R05, R10, R11, R13, R15). Deaths on top of it are in
 * test-recovery-deaths.c, joins, leaves and migrations in test-recovery-members.c.
 */
#include "tests/unit/reco-kit.h"

TestSuite(recovery, .init = three, .fini = over);

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
