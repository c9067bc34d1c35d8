/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test-master.c: find or become the owner; references; purge (doc/spec/dlm.md 1.7, 3.3, 7,
 * races of 7.7, scenarios S01 to S13).
 */
#include <criterion/criterion.h>
#include <string.h>
#include "tests/unit/dlm-user.h"

#define NL DLM_MODE_NL
#define PR DLM_MODE_PR
#define EX DLM_MODE_EX

static struct lab lab;
static struct user m, a, b, c;

static void four(void)
{
	lab_open(&lab, 4);
}

static void over(void)
{
	lab_close(&lab);
}

TestSuite(master, .init = four, .fini = over);

static int owner(node_t at)
{
	struct dlm_res *res = lab_res(&lab, at, "r");

	return res ? res->owner : -1;
}

static int mles(node_t at)
{
	struct dlm_mle *mle;
	int n = 0;

	cds_list_for_each_entry(mle, &lab.bed.n[at].dom->mles, all)
		n++;
	return n;
}

static struct dlm_reply ask(node_t at, node_t from, uint16_t type, uint32_t flags)
{
	struct dlm_wire_master w = { .node = from, .flags = flags, .name = dlm_name_make("r", 1) };
	uint8_t buf[100];

	return bed_ask(&lab.bed.n[at], from, type, buf, dlm_put_master(&w, buf, sizeof(buf)));
}

static void no_entries(void)
{
	for (int i = 1; i < BED_NODES; i++)
		if (lab.bed.n[i].dlm)
			cr_assert_eq(mles((node_t)i), 0, "node %d", i);
}

Test(master, nobody_else_is_asked_when_alone)
{
	lab_close(&lab);
	lab_open(&lab, 1);
	user_lock(&lab, &a, 1, "r", EX, 0);
	cr_assert_eq(a.asts, 1); /* in the call */
	cr_assert_eq(lab.nr_sent, 0);
}

Test(master, first_come_is_owner_and_leaves_no_entry)
{
	user_hold(&lab, &a, 3, "r", EX, 0);
	cr_assert_eq(owner(3), 3);
	cr_assert_eq(lab_count(&lab, DLM_MASTER_REQUEST_MSG, 3, 0), 3);
	cr_assert_eq(lab_count(&lab, DLM_ASSERT_MASTER_MSG, 3, 0), 3);
	no_entries();
}

Test(master, second_comes_to_the_owner_and_is_referenced)
{
	user_hold(&lab, &a, 3, "r", PR, 0);
	user_hold(&lab, &b, 1, "r", PR, 0);
	cr_assert_eq(owner(1), 3);
	cr_assert_eq(owner(3), 3);
	cr_assert(dlm_map_test(dlm_refs(lab_res(&lab, 3, "r")), 1));
	cr_assert_eq(dlm_map_count(dlm_refs(lab_res(&lab, 3, "r"))), 1);
	no_entries();
}

/* With one other member its YES is enough: no second request. */
Test(master, two_nodes_need_one_request)
{
	lab_close(&lab);
	lab_open(&lab, 2);
	user_hold(&lab, &a, 1, "r", PR, 0);
	lab_clear(&lab);
	user_hold(&lab, &b, 2, "r", PR, 0);
	cr_assert_eq(lab_count(&lab, DLM_MASTER_REQUEST_MSG, 2, 1), 1);
	cr_assert_eq(lab_count(&lab, DLM_CREATE_LOCK_MSG, 2, 1), 1);
	no_entries();
}

/* S01 */
Test(master, two_ask_at_once_the_lower_number_wins)
{
	const struct bed_logged *reply;

	user_lock(&lab, &b, 2, "r", NL, 0);
	user_lock(&lab, &a, 1, "r", NL, 0); /* neither has heard of the other */
	lab_run(&lab, 500);
	cr_assert_eq(owner(1), 1);
	cr_assert_eq(owner(2), 1);
	cr_assert_eq(a.asts + b.asts, 2);
	reply = bed_find(&lab.bed, DLM_ASSERT_MASTER_MSG, 1, 2, 0);
	cr_assert_eq(reply->status, DLM_ASSERT_REPLY_REASSERT | DLM_ASSERT_REPLY_MASTERY_REF);
	cr_assert(dlm_map_test(dlm_refs(lab_res(&lab, 1, "r")), 2));
	no_entries();
}

/* S02: the request of the higher number comes first; the lower one waits for it. */
Test(master, late_one_waits_even_with_a_lower_number)
{
	lab_hold(&lab, DLM_MASTER_REQUEST_MSG, 4, 3);
	user_lock(&lab, &b, 4, "r", NL, 0);
	lab_run(&lab, 20);
	cr_assert_eq(mles(1), 1);
	user_lock(&lab, &a, 1, "r", NL, 0);
	lab_run(&lab, 20);
	cr_assert_eq(a.asts, 0);
	cr_assert_eq(lab_count(&lab, DLM_MASTER_REQUEST_MSG, 1, 0), 0);
	lab_release(&lab);
	lab_run(&lab, 500);
	cr_assert_eq(owner(1), 4);
	cr_assert_eq(a.asts + b.asts, 2);
	no_entries();
}

/* All four at once, every order of first messages that four rotations give. */
Test(master, everybody_at_once)
{
	for (int turn = 0; turn < 4; turn++) {
		static struct user u[4];

		for (int i = 0; i < 4; i++)
			user_lock(&lab, &u[(i + turn) % 4], (node_t)(1 + (i + turn) % 4), "r", EX,
				  DLM_LKF_VALBLK);
		for (int i = 0; i < 4; i++) {
			struct user *holder = NULL;

			lab_run(&lab, 500);
			for (int j = 0; j < 4; j++)
				if (u[j].asts && u[j].lock)
					holder = &u[j];
			cr_assert(holder, "round %d: nobody got it", i);
			user_unlock(&lab, holder, 0, 0);
			lab_run(&lab, 100);
			holder->lock = NULL;
		}
		no_entries();
		for (int i = 2; i <= 4; i++)
			cr_assert_eq(owner((node_t)i), owner(1));
		lab_run(&lab, 30000); /* until all is purged */
		cr_assert_eq(owner(1), -1);
		lab_clear(&lab);
	}
}

static int answers;
static uint16_t answer_type;
static node_t answer_to;

static enum bed_fate answer(struct lab *l, const struct bed_msg *msg)
{
	if (msg->type != answer_type || msg->to != answer_to || answers == 0)
		return BED_DELIVER;
	answers--;
	dlm_sent(l->bed.n[msg->from].dlm, msg->token, 0, l->arg);
	return BED_LOSE;
}

/* S03 */
Test(master, error_is_asked_again_after_50_ms)
{
	answer_type = DLM_MASTER_REQUEST_MSG;
	answer_to = 2;
	answers = 2;
	lab.arg = DLM_MASTER_ERROR;
	lab.verdict = answer;
	user_lock(&lab, &a, 1, "r", NL, 0);
	lab_run(&lab, 95);
	cr_assert_eq(a.asts, 0);
	lab_run(&lab, 20);
	cr_assert_eq(a.asts, 1);
	cr_assert_eq(lab_count(&lab, DLM_MASTER_REQUEST_MSG, 1, 2), 3);
}

/*
 * A call waits for a recovery before it votes, and is told the owner meanwhile; that owner
 * puts its question off. Nobody else has been asked, so nobody's answer is to be waited for.
 */
Test(master, owner_heard_of_before_the_vote_is_asked_until_it_answers)
{
	user_hold(&lab, &m, 2, "r", NL, 0);
	bed_die(&lab.bed, 4);
	lab_clear(&lab);
	user_lock(&lab, &a, 1, "r", NL, 0);
	cr_assert_eq(ask(1, 2, DLM_ASSERT_MASTER_MSG, DLM_ASSERT_REQUERY).status,
		     DLM_ASSERT_REPLY_MASTERY_REF);
	answer_type = DLM_MASTER_REQUEST_MSG;
	answer_to = 2;
	answers = 1;
	lab.arg = DLM_MASTER_ERROR;
	lab.verdict = answer;
	lab_run(&lab, 5000);
	cr_assert_eq(answers, 0);
	cr_assert_eq(a.asts, 1);
	cr_assert_eq(owner(1), 2);
	no_entries();
}

static enum bed_fate lose(struct lab *l, const struct bed_msg *msg)
{
	if (msg->type != answer_type || msg->to != answer_to || answers == 0)
		return BED_DELIVER;
	answers--;
	return l->arg ? BED_LOSE_REPLY : BED_LOSE;
}

/* S12, handled or not; and the same for the ASSERT. */
Test(master, requests_and_asserts_survive_a_link_loss)
{
	const uint16_t types[] = { DLM_MASTER_REQUEST_MSG, DLM_ASSERT_MASTER_MSG };

	for (int i = 0; i < 4; i++) {
		answer_type = types[i / 2];
		answer_to = 2;
		answers = 1;
		lab.arg = i & 1;
		lab.verdict = lose;
		user_lock(&lab, &a, 1, "r", NL, 0);
		lab_run(&lab, 2000);
		cr_assert_eq(a.asts, 1, "%d", i);
		no_entries();
		/* The lost answer may have said that it holds a reference: it was asked again. */
		cr_assert(dlm_map_empty(dlm_refs(lab_res(&lab, 1, "r"))));
		cr_assert_eq(lab_count(&lab, DLM_MASTER_REQUERY_MSG, 1, 2), i / 2);
		lab_close(&lab);
		four();
	}
}

/* ... and a node that does hold one keeps it: here a vote that waits behind ours. */
Test(master, reference_of_a_waiter_survives_a_link_loss)
{
	answer_type = DLM_ASSERT_MASTER_MSG;
	answer_to = 2;
	lab_hold(&lab, DLM_MASTER_REQUEST_MSG, 1, 3);
	user_lock(&lab, &a, 1, "r", NL, 0);
	lab_run(&lab, 20);
	user_lock(&lab, &b, 2, "r", NL, 0);
	lab_release(&lab);
	answers = 1;
	lab.arg = 1;
	lab.verdict = lose;
	lab_run(&lab, 2000);
	cr_assert_eq(a.asts + b.asts, 2);
	cr_assert(dlm_map_test(dlm_refs(lab_res(&lab, 1, "r")), 2));
	no_entries();
}

/* S06 */
Test(master, joiner_during_the_vote_is_asked_too)
{
	lab_hold(&lab, DLM_MASTER_REQUEST_MSG, 1, 2);
	user_lock(&lab, &a, 1, "r", NL, 0);
	lab_run(&lab, 20);
	bed_join(bed_core(&lab.bed, 5));
	lab_run(&lab, 1000);
	cr_assert(lab.bed.n[5].joined);
	cr_assert_eq(a.asts, 0);
	cr_assert_eq(lab_count(&lab, DLM_MASTER_REQUEST_MSG, 1, 5), 1);
	lab_release(&lab);
	lab_run(&lab, 500);
	cr_assert_eq(a.asts, 1);
	user_hold(&lab, &b, 5, "r", NL, 0);
	cr_assert_eq(owner(5), 1);
	no_entries();
}

/* S08 */
Test(master, local_flag_asks_nobody_and_is_found_later)
{
	user_lock(&lab, &m, 2, "r", EX, DLM_LKF_LOCAL);
	cr_assert_eq(m.asts, 1);
	lab_run(&lab, 500);
	cr_assert_eq(lab.nr_sent, 0);
	user_hold(&lab, &a, 1, "r", NL, 0);
	cr_assert_eq(owner(1), 2);
	/* one round for each YES, one more because node 1 answered REASSERT */
	cr_assert_eq(lab_count(&lab, DLM_ASSERT_MASTER_MSG, 2, 3), 3);
	no_entries();
}

/* S13: a request reaches a third node after the owner's ASSERT; no entry may stay there. */
Test(master, entry_made_after_the_assert_is_cleaned)
{
	user_hold(&lab, &m, 1, "r", NL, 0);
	lab_hold(&lab, DLM_MASTER_REQUEST_MSG, 2, 3);
	user_lock(&lab, &a, 2, "r", NL, 0);
	lab_run(&lab, 100);
	cr_assert_eq(a.asts, 0); /* all must have answered */
	lab_release(&lab);
	lab_run(&lab, 500);
	cr_assert_eq(a.asts, 1);
	no_entries();
	user_hold(&lab, &b, 3, "r", NL, 0);
	cr_assert_eq(owner(3), 1);
}

/* The master that was expected dies: S04, S05. With two left that needs a recovery, so
 * here the waiter is alone in the end. */
Test(master, waiter_takes_over_when_the_expected_master_dies)
{
	lab_close(&lab);
	lab_open(&lab, 3);
	lab_hold(&lab, DLM_MASTER_REQUEST_MSG, 3, 2);
	user_lock(&lab, &c, 3, "r", NL, 0);
	lab_run(&lab, 20);
	user_lock(&lab, &a, 1, "r", EX, 0);
	lab_run(&lab, 20);
	lab_hold(&lab, DLM_BEGIN_RECO_MSG, 0, 0);
	bed_die(&lab.bed, 3);
	lab_run(&lab, 1500);
	cr_assert_eq(a.asts, 0); /* nothing is decided before the recovery */
	lab_release(&lab);
	lab_run(&lab, 1000);
	cr_assert_eq(a.asts, 1);
	cr_assert_eq(owner(1), 1);
	no_entries();
}

/* Node 3 asked us, so we wait for it; but it does not want the name any more. Found by the
 * simulator: the ASSERT that should have ended our wait was lost with its dead sender. */
Test(master, waiting_for_a_node_that_gave_up_ends)
{
	struct dlm_wire_master w = { .node = 3, .name = dlm_name_make("r", 1) };
	uint8_t buf[100];
	size_t len = dlm_put_master(&w, buf, sizeof(buf));

	lab_close(&lab);
	lab_open(&lab, 3);
	cr_assert_eq(bed_ask(&lab.bed.n[2], 3, DLM_MASTER_REQUEST_MSG, buf, len).status,
		     DLM_MASTER_NO);
	user_lock(&lab, &a, 2, "r", EX, 0);
	lab_run(&lab, 4000);
	cr_assert_eq(a.asts, 0);
	lab_run(&lab, 7000);
	cr_assert_eq(a.asts, 1);
	no_entries();
}

Test(master, member_dies_during_the_vote)
{
	lab_close(&lab);
	lab_open(&lab, 2);
	lab_hold(&lab, DLM_MASTER_REQUEST_MSG, 1, 2);
	user_lock(&lab, &a, 1, "r", EX, 0);
	lab_run(&lab, 20);
	lab_die(&lab, 2);
	lab_run(&lab, 1000);
	cr_assert_eq(a.asts, 1);
	cr_assert_eq(owner(1), 1);
}

/* The last request is open when the owner dies. */
Test(master, owner_dies_when_it_is_asked_last)
{
	lab_close(&lab);
	lab_open(&lab, 3);
	user_hold(&lab, &m, 3, "r", NL, 0);
	lab_clear(&lab);
	user_lock(&lab, &a, 1, "r", EX, 0);
	while (lab_count(&lab, DLM_MASTER_REQUEST_MSG, 1, 0) < 2)
		lab_one(&lab);
	lab_hold(&lab, DLM_MASTER_REQUEST_MSG, 1, 3);
	lab_run(&lab, 20);
	lab_die(&lab, 3);
	lab_run(&lab, 20);
	cr_assert_eq(a.asts, 0);
	cr_assert(lab_res(&lab, 1, "r")->state & DLM_RES_RECOVERING);
	lab_die(&lab, 2);
	lab_run(&lab, 1000);
	cr_assert_eq(a.asts, 1);
}

/* ---- the handlers' tables (3.3), row by row ------------------------------------------- */

Test(master, request_to_an_owner_is_yes_and_sets_the_reference)
{
	user_hold(&lab, &m, 1, "r", NL, 0);
	lab_clear(&lab);
	cr_assert_eq(ask(1, 2, DLM_MASTER_REQUEST_MSG, 0).status, DLM_MASTER_YES);
	cr_assert(dlm_map_test(dlm_refs(lab_res(&lab, 1, "r")), 2));
	lab_run(&lab, 20);
	cr_assert_eq(lab_count(&lab, DLM_ASSERT_MASTER_MSG, 1, 0), 3);
}

Test(master, request_to_a_holder_is_no)
{
	user_hold(&lab, &m, 1, "r", NL, 0);
	user_hold(&lab, &a, 2, "r", NL, 0);
	cr_assert_eq(ask(2, 3, DLM_MASTER_REQUEST_MSG, 0).status, DLM_MASTER_NO);
	cr_assert_eq(mles(2), 0);
}

Test(master, request_for_an_unknown_name_blocks_it)
{
	cr_assert_eq(ask(2, 3, DLM_MASTER_REQUEST_MSG, 0).status, DLM_MASTER_NO);
	cr_assert_eq(ask(2, 4, DLM_MASTER_REQUEST_MSG, 0).status, DLM_MASTER_NO);
	cr_assert_eq(mles(2), 1);
	cr_assert_eq(ask(2, 4, DLM_ASSERT_MASTER_MSG, 0).status, 0);
	cr_assert_eq(mles(2), 0);
}

Test(master, request_during_the_own_vote_is_maybe)
{
	lab_hold(&lab, DLM_MASTER_REQUEST_MSG, 1, 0);
	user_lock(&lab, &a, 1, "r", NL, 0);
	lab_run(&lab, 20);
	cr_assert_eq(ask(1, 3, DLM_MASTER_REQUEST_MSG, 0).status, DLM_MASTER_MAYBE);
	lab_release(&lab);
	lab_hold(&lab, DLM_ASSERT_MASTER_MSG, 1, 0);
	lab_run(&lab, 20); /* decided for itself, telling */
	cr_assert_eq(ask(1, 4, DLM_MASTER_REQUEST_MSG, 0).status, DLM_MASTER_YES);
	lab_release(&lab);
	lab_run(&lab, 500);
	cr_assert_eq(a.asts, 1);
}

Test(master, request_in_recovery_or_migration_is_error)
{
	struct dlm_res *res;

	user_hold(&lab, &m, 1, "r", NL, 0);
	res = lab_res(&lab, 1, "r");
	lab.no_check = true;
	res->state |= DLM_RES_MIGRATING;
	cr_assert_eq(ask(1, 2, DLM_MASTER_REQUEST_MSG, 0).status, DLM_MASTER_ERROR);
	res->state = (uint16_t)((res->state & ~DLM_RES_MIGRATING) | DLM_RES_RECOVERING);
	cr_assert_eq(ask(1, 2, DLM_MASTER_REQUEST_MSG, 0).status, DLM_MASTER_ERROR);
	res->state &= (uint16_t)~DLM_RES_RECOVERING;
	lab.no_check = false;
}

Test(master, assert_that_contradicts_is_refused)
{
	user_hold(&lab, &m, 1, "r", NL, 0);
	user_hold(&lab, &a, 2, "r", NL, 0);
	cr_assert_eq(ask(2, 3, DLM_ASSERT_MASTER_MSG, 0).status, -EINVAL);
	cr_assert_eq(ask(1, 3, DLM_ASSERT_MASTER_MSG, 0).status, -EINVAL);
	cr_assert_eq(owner(1), 1);
	cr_assert_eq(owner(2), 1);
	cr_assert_eq(ask(2, 1, DLM_ASSERT_MASTER_MSG, 1).status, 0); /* no entry: nothing */
	cr_assert_eq(ask(4, 3, DLM_ASSERT_MASTER_MSG, 0).status, 0);
	cr_assert_eq(owner(4), -1);
}

Test(master, requery_names_the_owner_or_nobody)
{
	struct dlm_wire_ref w = { .node = 3, .name = dlm_name_make("r", 1) };
	uint8_t buf[100];
	size_t len = dlm_put_requery(&w, buf, sizeof(buf));

	user_hold(&lab, &m, 1, "r", NL, 0);
	user_hold(&lab, &a, 2, "r", NL, 0);
	lab_clear(&lab);
	cr_assert_eq(bed_ask(&lab.bed.n[2], 3, DLM_MASTER_REQUERY_MSG, buf, len).status, 1);
	lab_run(&lab, 20);
	cr_assert_eq(lab.nr_sent, 0);
	cr_assert_eq(bed_ask(&lab.bed.n[1], 3, DLM_MASTER_REQUERY_MSG, buf, len).status, 1);
	lab_run(&lab, 20);
	cr_assert_eq(lab_count(&lab, DLM_ASSERT_MASTER_MSG, 1, 0), 3);
	w.node = 1;
	len = dlm_put_requery(&w, buf, sizeof(buf));
	cr_assert_eq(bed_ask(&lab.bed.n[4], 1, DLM_MASTER_REQUERY_MSG, buf, len).status, 255);
}

/* ---- references and purge (1.7) --------------------------------------------------------- */

static struct dlm_reply deref(node_t at, node_t from, uint16_t type)
{
	struct dlm_wire_ref w = { .node = from, .name = dlm_name_make("r", 1) };
	uint8_t buf[100];

	return bed_ask(&lab.bed.n[at], from, type, buf, dlm_put_deref(&w, buf, sizeof(buf)));
}

/* S09 */
Test(master, deref_during_an_assert_is_deferred)
{
	user_hold(&lab, &m, 1, "r", NL, 0);
	user_hold(&lab, &a, 2, "r", NL, 0);
	user_unlock(&lab, &a, 0, 0);
	lab_run(&lab, 20);
	lab_hold(&lab, DLM_ASSERT_MASTER_MSG, 1, 4);
	user_lock(&lab, &b, 3, "r", NL, 0);
	lab_run(&lab, 20);
	lab_clear(&lab);
	lab_run(&lab, 10000);
	cr_assert_eq(bed_find(&lab.bed, DLM_DEREF_LOCKRES_MSG, 2, 1, 0)->status, 1);
	cr_assert(lab_res(&lab, 2, "r")->state & DLM_RES_DROPPING_REF);
	cr_assert(dlm_map_test(dlm_refs(lab_res(&lab, 1, "r")), 2));
	user_lock(&lab, &a, 2, "r", NL, 0); /* waits until it is gone, then finds it anew */
	lab_run(&lab, 100);
	cr_assert_eq(a.asts, 0);
	lab_release(&lab);
	lab_run(&lab, 500);
	cr_assert_eq(lab_count(&lab, DLM_DEREF_LOCKRES_DONE, 1, 2), 1);
	cr_assert_eq(a.asts, 1);
	cr_assert(dlm_map_test(dlm_refs(lab_res(&lab, 1, "r")), 2));
}

Test(master, deferred_deref_is_served_when_the_assert_ends)
{
	user_hold(&lab, &m, 1, "r", NL, 0);
	user_hold(&lab, &a, 2, "r", NL, 0);
	user_unlock(&lab, &a, 0, 0);
	lab_run(&lab, 20);
	lab_hold(&lab, DLM_ASSERT_MASTER_MSG, 1, 4);
	user_lock(&lab, &b, 3, "r", NL, 0);
	lab_run(&lab, 10000);
	cr_assert(dlm_map_test(dlm_refs(lab_res(&lab, 1, "r")), 2));
	lab_release(&lab);
	lab_run(&lab, 500);
	cr_assert(!dlm_map_test(dlm_refs(lab_res(&lab, 1, "r")), 2));
	cr_assert_null(lab_res(&lab, 2, "r"));
}

/* S10: the reply that carries MASTERY_REF is on the wire before the DEREF. */
Test(master, deref_waits_for_the_reply_to_the_assert)
{
	struct dlm_wire_master w = { .node = 1, .flags = 1, .name = dlm_name_make("r", 1) };
	struct dlm_reply r;
	uint8_t buf[100];
	size_t len = dlm_put_master(&w, buf, sizeof(buf));
	struct dlm_mle *mle;

	user_hold(&lab, &m, 1, "r", NL, 0);
	user_hold(&lab, &a, 2, "r", NL, 0);
	user_unlock(&lab, &a, 0, 0);
	lab_run(&lab, 20);
	lab.no_check = true;
	mle = dlm_mle_new(lab.bed.n[2].dom, &w.name, DLM_MLE_BLOCK);
	(void)mle;
	r = dlm_message(lab.bed.n[2].dlm, 1, dlm_domain_key(BED_DOMAIN), DLM_ASSERT_MASTER_MSG, buf,
			len);
	cr_assert_eq(r.status, DLM_ASSERT_REPLY_MASTERY_REF);
	cr_assert_neq(r.written_token, 0);
	lab_clear(&lab);
	lab_run(&lab, 12000);
	cr_assert_eq(lab_count(&lab, DLM_DEREF_LOCKRES_MSG, 2, 1), 0);
	dlm_reply_written(lab.bed.n[2].dlm, r.written_token);
	lab_run(&lab, 100);
	cr_assert_eq(lab_count(&lab, DLM_DEREF_LOCKRES_MSG, 2, 1), 1);
	cr_assert_null(lab_res(&lab, 2, "r"));
	lab.no_check = false;
}

Test(master, deref_of_a_stranger_and_done_for_nothing)
{
	cr_assert_eq(deref(1, 2, DLM_DEREF_LOCKRES_MSG).status, -EINVAL);
	cr_assert_eq(deref(1, 2, DLM_DEREF_LOCKRES_DONE).status, -EINVAL);
	user_hold(&lab, &m, 1, "r", NL, 0);
	user_hold(&lab, &a, 2, "r", NL, 0);
	cr_assert_eq(deref(2, 1, DLM_DEREF_LOCKRES_DONE).status, 0);
	cr_assert(lab_res(&lab, 2, "r"));
	cr_assert_eq(deref(1, 3, DLM_DEREF_LOCKRES_MSG).status, 0);
	cr_assert_eq(deref(2, 3, DLM_DEREF_LOCKRES_MSG).status, -EINVAL);
}

/* DEREF lost with the link: the owner must know, so it is repeated. */
Test(master, lost_deref_is_repeated)
{
	user_hold(&lab, &m, 1, "r", NL, 0);
	user_hold(&lab, &a, 2, "r", NL, 0);
	user_unlock(&lab, &a, 0, 0);
	answer_type = DLM_DEREF_LOCKRES_MSG;
	answer_to = 1;
	answers = 2;
	lab.verdict = lose;
	lab_run(&lab, 12000);
	cr_assert_eq(lab_count(&lab, DLM_DEREF_LOCKRES_MSG, 2, 1), 3);
	cr_assert_null(lab_res(&lab, 2, "r"));
	cr_assert(dlm_map_empty(dlm_refs(lab_res(&lab, 1, "r"))));
}

/* S11 */
Test(master, owner_dies_while_it_is_told)
{
	user_hold(&lab, &m, 1, "r", NL, 0);
	user_hold(&lab, &a, 2, "r", NL, 0);
	user_unlock(&lab, &a, 0, 0);
	lab_hold(&lab, DLM_DEREF_LOCKRES_MSG, 2, 1);
	lab_run(&lab, 12000);
	cr_assert(lab_res(&lab, 2, "r")->state & DLM_RES_DROPPING_REF);
	lab_die(&lab, 1);
	cr_assert_null(lab_res(&lab, 2, "r"));
}

/* A refused lock leaves the copy and its reference until it is purged (sequences.md 9). */
Test(master, refused_lock_leaves_a_copy_that_is_purged)
{
	user_hold(&lab, &m, 1, "r", EX, 0);
	user_lock(&lab, &a, 2, "r", PR, DLM_LKF_NOQUEUE);
	lab_run(&lab, 100);
	cr_assert_eq(a.done, DLM_NOTQUEUED);
	cr_assert(lab_res(&lab, 2, "r"));
	lab_run(&lab, 10000);
	cr_assert_null(lab_res(&lab, 2, "r"));
	cr_assert(dlm_map_empty(dlm_refs(lab_res(&lab, 1, "r"))));
}
