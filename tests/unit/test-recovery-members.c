// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test-recovery-members.c: recoveries that meet joins, leaves and migrations; strangers; size
 * (doc/spec/dlm.md 8.5, 9.9, scenarios R14, R17, G10, G11).
 */
#include "tests/unit/reco-kit.h"

TestSuite(recovery_members, .init = three, .fini = over);

/* ---- size, membership, strangers --------------------------------------------------------------------- */

Test(recovery_members, many_locks_take_several_messages)
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
Test(recovery_members, dead_node_is_let_in_when_it_is_recovered)
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
Test(recovery_members, node_taken_for_dead_is_answered_as_such)
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

Test(recovery_members, nobody_else_locks_the_election_lock)
{
	user_lock(&lab, &a, 1, "$RECOVERY", EX, 0);
	cr_assert_eq(a.done, DLM_BADPARAM);
}

/* A leaving node that leads ends the round first. */
Test(recovery_members, recovery_master_leaves_after_its_round)
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
Test(recovery_members, survivor_leaves_while_it_is_told_the_end)
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

/*
 * Node 1 is being let in, and sees the death of the owner (3) before those that let it in do.
 * It must not take what they still name the dead one for as free: node 4, which asks as well,
 * would believe it, node 2 not.
 */
Test(recovery_members, joiner_leaves_what_a_dead_member_owned_to_its_recovery)
{
	struct bed_node *n;

	four();
	own(3, "r");
	user_hold(&lab, &a, 2, "r", EX, 0);
	lab_die(&lab, 1);
	settle();
	memset(lab.bed.n[1].timers, 0, sizeof(lab.bed.n[1].timers));
	n = bed_core(&lab.bed, 1);
	lab_hold(&lab, DLM_ASSERT_JOINED_MSG, 1, 4);
	bed_join(n);
	lab_run(&lab, 2000);
	dlm_node_down(n->dlm, 3);
	lab_release(&lab);
	lab_run(&lab, 5);
	cr_assert(n->joined, "%s", n->why);
	lab_hold(&lab, DLM_MASTER_REQUEST_MSG, 4, 3);
	user_lock(&lab, &c, 4, "r", PR, 0);
	user_lock(&lab, &b, 1, "r", EX, 0);
	lab_run(&lab, 50);
	cr_assert_eq(b.asts + c.asts, 0);
	cr_assert_eq(owner(4, "r"), NODE_NONE);
	cr_assert_eq(owner(1, "r"), NODE_NONE);
	lab_die(&lab, 3);
	settle();
	one_owner("r");
	cr_assert_eq(b.asts + c.asts, 0);
	user_unlock(&lab, &a, 0, 0);
	lab_run(&lab, 100);
	cr_assert_eq(b.asts + c.asts, 1);
}

/* And it takes part in that recovery, so that it need not lead another one. */
Test(recovery_members, joiner_is_served_by_the_recovery_of_a_member)
{
	struct bed_node *n;

	own(3, "r");
	user_hold(&lab, &a, 1, "r", EX, 0);
	n = bed_core(&lab.bed, 4);
	lab_hold(&lab, DLM_ASSERT_JOINED_MSG, 4, 2);
	bed_join(n);
	lab_run(&lab, 50);
	bed_die(&lab.bed, 3);
	lab_run(&lab, 3000);
	cr_assert(!n->joined);
	cr_assert_eq(bed_find(&lab.bed, DLM_LOCK_REQUEST_MSG, 1, 4, 0)->status, 0);
	cr_assert_eq(bed_find(&lab.bed, DLM_FINALIZE_RECO_MSG, 1, 4, 1)->status, 0);
	lab_release(&lab);
	settle();
	cr_assert(n->joined, "%s", n->why);
	cr_assert_eq(bed_count(&lab.bed, DLM_BEGIN_RECO_MSG, 4, 0), 0);
	user_lock(&lab, &b, 4, "r", PR, 0);
	lab_run(&lab, 100);
	cr_assert_eq(b.asts, 0);
	user_unlock(&lab, &a, 0, 0);
	lab_run(&lab, 100);
	cr_assert_eq(b.asts, 1);
}

Test(recovery_members, joiner_whose_members_all_die_goes_on_alone)
{
	struct bed_node *n;

	own(3, "r");
	n = bed_core(&lab.bed, 4);
	lab_hold(&lab, DLM_ASSERT_JOINED_MSG, 4, 3);
	bed_join(n);
	lab_run(&lab, 50);
	for (node_t i = 1; i <= 3; i++)
		bed_die(&lab.bed, i);
	lab_run(&lab, 1000);
	cr_assert(n->joined, "%s", n->why);
	recovered();
	user_hold(&lab, &b, 4, "r", EX, 0);
	cr_assert_eq(owner(4, "r"), 4);
}

/*
 * A migration's target died, its old owner tells that it still is; the recovery master heard
 * it first, and gives its reference back, while a survivor that has not heard reports the
 * resource. A refusal would void that survivor's whole report, and the round never ended.
 */
Test(recovery_members, data_of_a_resource_that_is_being_given_back_is_no_refusal)
{
	static struct dlm_wire_mig w;
	struct dlm_res *res;
	uint8_t buf[DLM_MAX_PAYLOAD];
	size_t len;

	own(2, "x");
	user_hold(&lab, &a, 1, "x", PR, 0);
	user_unlock(&lab, &a, 0, 0);
	lab_hold(&lab, DLM_DEREF_LOCKRES_MSG, 1, 2);
	lab_run(&lab, 12000);
	res = lab_res(&lab, 1, "x");
	cr_assert(res->state & DLM_RES_DROPPING_REF);
	lab.hold_type = DLM_RECO_DATA_DONE_MSG;
	lab.hold_from = 2;
	lab.hold_to = 1;
	bed_die(&lab.bed, 3);
	lab_run(&lab, 1500);
	cr_assert(dom(1)->reco.lead);
	w = (struct dlm_wire_mig){ .master = NODE_NONE, .num_locks = 1, .name = res->name,
				   .flags = DLM_MRES_RECOVERY | DLM_MRES_ALL_DONE };
	w.locks[0] = dlm_wire_mig_dummy(2);
	len = dlm_put_mig(&w, buf, sizeof(buf));
	cr_assert_eq(bed_ask(&lab.bed.n[1], 2, DLM_MIG_LOCKRES_MSG, buf, len).status, 0);
	lab_release(&lab);
	settle();
	lab_run(&lab, 5000);
	cr_assert_null(lab_res(&lab, 1, "x"));
}

/* ---- migrations that a death met (8.5) ------------------------------------------------------------------ */

/* The target told node 2 that it owns, then died; the old owner (1) still is. */
Test(recovery_members, old_owner_tells_again_when_its_target_dies)
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
Test(recovery_members, target_that_has_all_stays_owner)
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
Test(recovery_members, naming_the_dead_owner_is_not_owning)
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

/*
 * The owner (4) was leaving when it died, so the recovery master asks about what it has no
 * copy of. The round is the second one: the recovery master of the first (1) died when node 2
 * had had stage 1, and 3 not. Node 2 must not name node 1 then, as if that one had owned it:
 * the resource would be put off to the round of 1, where nobody reports it.
 */
Test(recovery_members, repeated_round_of_a_leaving_node_keeps_what_was_given_away)
{
	four();
	own(4, "r");
	user_hold(&lab, &a, 2, "r", PR, 0);
	lab_hold(&lab, DLM_MIG_LOCKRES_MSG, 4, 2);
	bed_leave(&lab.bed.n[4]);
	lab_run(&lab, 20);
	stage = 0;
	lab.arg = 3;
	lab.verdict = hold_stage;
	bed_die(&lab.bed, 4);
	lab.hold_type = 0;
	lab_run(&lab, 1500);
	cr_assert_eq(owner(2, "r"), 1);
	cr_assert(dom(2)->reco.leavers);
	dlm_node_down(lab.bed.n[3].dlm, 1); /* it shall lead */
	lab_die(&lab, 1);
	lab.verdict = NULL;
	settle();
	one_owner("r");
	cr_assert_eq(lab_queue(&lab, owner(2, "r"), "r", &a), 'G');
	user_convert(&lab, &a, EX, 0, 0);
	lab_run(&lab, 500);
	cr_assert_eq(a.asts, 2);
}

/* ---- recorded traffic ------------------------------------------------------------------------------------ */

/* T2558 of doc/spec/vectors: a kernel survivor (1) of owner 3, its flock on converting. */
Test(recovery_members, survivor_says_what_a_kernel_says)
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
