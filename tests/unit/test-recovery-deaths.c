// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test-recovery-deaths.c: more deaths during a recovery, and links that break (doc/spec/dlm.md
 * 9.8, 12.6, scenarios R06 to R09, R12, R16).
 */
#include "tests/unit/reco-kit.h"

TestSuite(recovery_deaths, .init = three, .fini = over);

/* ---- more deaths (9.8) ----------------------------------------------------------------------------- */

/* R07, and during data transfer: at each message of the round. */
Test(recovery_deaths, recovery_master_dies_before_it_finalizes)
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
Test(recovery_deaths, recovery_master_dies_while_it_finalizes)
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
Test(recovery_deaths, survivor_dies_before_its_locks_are_complete)
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
Test(recovery_deaths, two_that_die_together_are_recovered_lowest_first)
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

Test(recovery_deaths, all_but_one_die)
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
Test(recovery_deaths, data_of_a_node_that_was_given_up_is_refused)
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

Test(recovery_deaths, link_loss_at_every_message)
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
Test(recovery_deaths, locks_lost_with_the_link_are_reported_again)
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
Test(recovery_deaths, end_of_a_round_is_not_said_twice)
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
