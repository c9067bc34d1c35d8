/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test-simfound.c: what the simulator found in the lock core, played by hand. Each test's
 * comment tells the story: what was seen, why, how it would show today.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include "tests/unit/dlm-user.h"

#define NL DLM_MODE_NL
#define PR DLM_MODE_PR
#define EX DLM_MODE_EX

static struct lab lab;
static struct user m, a, b, c;

static void three(void)
{
	lab_open(&lab, 3);
	user_hold(&lab, &m, 1, "r", NL, 0); /* node 1 owns it */
}

static void over(void)
{
	lab_close(&lab);
}

TestSuite(simfound, .init = three, .fini = over);

/*
 * A convert failed with status 11. The owner left while a holder's CONVERT was under way:
 * it handed the resource to a third node, told everybody, purged its copy, and then got the
 * CONVERT, for which it had no resource any more. 32 is the answer that makes a requester
 * look again; as a requester, 11 of a node that is not the owner any more means the same.
 */
static void overtaken(bool leaving)
{
	user_hold(&lab, &c, leaving ? 3 : 1, "other", NL, 0);
	user_hold(&lab, &b, 3, "r", NL, 0);
	user_hold(&lab, &a, 2, "r", PR, 0);
	lab_hold(&lab, DLM_CONVERT_LOCK_MSG, 2, 1);
	user_convert(&lab, &a, NL, 0, 0);
	user_unlock(&lab, &m, 0, 0);
	lab_run(&lab, 50);
	bed_leave(&lab.bed.n[1]);
	while (lab_res(&lab, 1, "r"))
		cr_assert(bed_step(&lab.bed), "node 1 keeps the resource");
	cr_assert_eq(lab.bed.n[1].dom->state, leaving ? DLM_DOM_LEAVING : DLM_DOM_IN_SHUTDOWN);
	cr_assert_eq(lab_res(&lab, 2, "r")->owner, 3);
	lab_release(&lab);
	lab_run(&lab, 5000);
	cr_assert_eq(bed_find(&lab.bed, DLM_CONVERT_LOCK_MSG, 2, 1, 0)->status, DLM_FORWARD);
	cr_assert_eq(a.done, DLM_NORMAL);
	cr_assert_eq(a.asts, 2);
	cr_assert_eq(lab_mode(&lab, 3, "r", &a), NL);
}

Test(simfound, convert_overtaken_by_a_whole_migration_is_asked_again)
{
	overtaken(true);
}

/* As before, but the old owner still has to do. */
Test(simfound, convert_overtaken_by_a_migration_from_a_node_that_stays_a_while)
{
	overtaken(false);
}

static enum bed_fate answer_11(struct lab *l, const struct bed_msg *msg)
{
	(void)l;
	if (msg->type == DLM_CONVERT_LOCK_MSG && msg->to == 1)
		return BED_KEEP;
	return BED_DELIVER;
}

/* The same with a kernel as old owner, which does answer 11. */
Test(simfound, status_11_of_a_former_owner_is_no_refusal)
{
	user_hold(&lab, &b, 3, "r", NL, 0);
	user_hold(&lab, &a, 2, "r", PR, 0);
	lab.verdict = answer_11;
	user_convert(&lab, &a, NL, 0, 0);
	user_unlock(&lab, &m, 0, 0);
	lab_run(&lab, 50);
	bed_leave(&lab.bed.n[1]);
	lab_run(&lab, 50);
	cr_assert_eq(lab_res(&lab, 2, "r")->owner, 3);
	cr_assert(lab.bed.kept);
	dlm_sent(lab.bed.n[2].dlm, lab.bed.kept->token, 0, DLM_IVLOCKID);
	free(lab.bed.kept);
	lab.bed.kept = NULL;
	lab_run(&lab, 5000);
	cr_assert_eq(a.done, DLM_NORMAL);
	cr_assert_eq(lab_mode(&lab, 3, "r", &a), NL);
}

/*
 * dlm_check: "used and to be purged". A node had the resource unused on its purge list when
 * it was handed to it; the entry stayed there, and the purge of a leaving or slow node would
 * have freed a resource half received.
 */
Test(simfound, unused_resource_that_is_migrated_here_is_not_purged)
{
	user_hold(&lab, &a, 2, "r", NL, 0);
	user_unlock(&lab, &a, 0, 0);
	user_unlock(&lab, &m, 0, 0);
	lab_run(&lab, 50);
	cr_assert(lab_res(&lab, 2, "r")->state & DLM_RES_PURGE);
	bed_leave(&lab.bed.n[1]); /* only node 2's reference is left: it gets it */
	lab_until(&lab, DLM_MIG_LOCKRES_MSG);
	lab_one(&lab);
	cr_assert(lab_res(&lab, 2, "r")->state & DLM_RES_MIGRATING);
	cr_assert(!(lab_res(&lab, 2, "r")->state & DLM_RES_PURGE));
	lab_run(&lab, 1000);
	cr_assert_eq(lab_res(&lab, 2, "r")->owner, 2);
}

/* An assertion failed when a node with locks was dropped, as after a fence: freeing its
 * locks made the resource unused, which armed the purge timer outside of any input. */
Test(simfound, a_node_with_locks_and_open_requests_can_be_dropped)
{
	user_hold(&lab, &a, 2, "r", EX, 0);
	user_lock(&lab, &b, 3, "r", EX, 0);
	lab_run(&lab, 5);
	user_lock(&lab, &m, 1, "s", PR, 0);
	for (int i = 1; i <= 3; i++) {
		dlm_free(lab.bed.n[i].dlm);
		lab.bed.n[i].dlm = NULL;
	}
}

/* ---- with links that break (sim --cuts) ------------------------------------------------- */

static uint16_t lost_type;
static enum bed_fate lost_first, lost_later;

static enum bed_fate lose(struct lab *l, const struct bed_msg *msg)
{
	if (msg->type != lost_type || msg->from != 2)
		return BED_DELIVER;
	return l->arg++ ? lost_later : lost_first;
}

/*
 * Readers saw an old value. A CONVERT that gave up EX with a value was lost with its link;
 * the question what became of it was answered "granted", a second later it would have been
 * asked for again, with zeros. In that second the resource was handed to the asking node.
 * As the new owner it granted the conversion from its queue, without any value, so the one
 * from before stayed.
 */
Test(simfound, lost_convert_of_a_node_that_becomes_owner_voids_the_value)
{
	user_hold(&lab, &b, 1, "v", NL, 0);
	user_hold(&lab, &a, 2, "v", EX, DLM_LKF_VALBLK);
	user_convert(&lab, &a, EX, DLM_LKF_VALBLK, 5);
	lab_run(&lab, 20);
	cr_assert_eq(lab_res(&lab, 1, "v")->owner, 1);
	cr_assert_eq(lab_res(&lab, 1, "v")->lvb[0], 5);
	lost_type = DLM_CONVERT_LOCK_MSG;
	lost_first = lost_later = BED_LOSE;
	lab.arg = 0;
	lab.verdict = lose;
	user_convert(&lab, &a, PR, DLM_LKF_VALBLK, 7);
	lab_run(&lab, 500);
	cr_assert_eq(bed_find(&lab.bed, DLM_UNLOCK_LOCK_MSG, 2, 1, 0)->status, DLM_CANCELGRANT);
	user_unlock(&lab, &b, 0, 0);
	user_unlock(&lab, &m, 0, 0);
	bed_leave(&lab.bed.n[1]);
	lab_run(&lab, 3000);
	cr_assert_eq(lab_res(&lab, 2, "v")->owner, 2);
	cr_assert_eq(a.done, DLM_NORMAL);
	cr_assert_eq(lab_mode(&lab, 2, "v", &a), PR);
	cr_assert(dlm_lvb_is_zero(lab_res(&lab, 2, "v")->lvb));
}

/*
 * Two holders of EX on one node's books, and a value put twice. The answer to an UNLOCK was
 * lost, others took the lock and wrote, then the resource was handed to the unlocking node:
 * it had its old EX still on its queue, and as owner it unlocked it again, with its value.
 */
Test(simfound, handled_unlock_of_a_node_that_becomes_owner_is_not_done_again)
{
	struct dlm_res *res;

	user_hold(&lab, &m, 1, "v", NL, 0);
	user_hold(&lab, &b, 2, "v", NL, 0); /* first on the queue: node 2 gets the resource */
	user_hold(&lab, &a, 2, "v", EX, DLM_LKF_VALBLK);
	lost_type = DLM_UNLOCK_LOCK_MSG;
	lost_first = BED_LOSE_REPLY;
	lost_later = BED_LOSE;
	lab.arg = 0;
	lab.verdict = lose;
	user_unlock(&lab, &a, DLM_LKF_VALBLK, 5);
	user_hold(&lab, &c, 3, "v", EX, DLM_LKF_VALBLK);
	cr_assert_eq(c.lvb[0], 5);
	user_convert(&lab, &c, EX, DLM_LKF_VALBLK, 9);
	user_unlock(&lab, &m, 0, 0);
	lab_run(&lab, 20);
	bed_leave(&lab.bed.n[1]);
	lab_run(&lab, 3000);
	res = lab_res(&lab, 2, "v");
	cr_assert_eq(res->owner, 2);
	cr_assert_eq(a.unlock_asts, 1);
	cr_assert_eq(lab_mode(&lab, 2, "v", &c), EX);
	user_unlock(&lab, &c, 0, 0);
	lab_run(&lab, 50);
	cr_assert_eq(res->lvb[0], 9);
}

static enum bed_fate lose_derefs(struct lab *l, const struct bed_msg *msg)
{
	l->bed.loss = -ENOTCONN;
	return msg->type == DLM_DEREF_LOCKRES_MSG && msg->from == 1 ? BED_LOSE : BED_DELIVER;
}

/*
 * A DEREF to a node that had left. It was lost with the link again and again, meanwhile the
 * resource was handed to a third node and its owner left: the copy waited for ever for an
 * owner that nobody could be told.
 */
Test(simfound, deref_that_was_lost_ends_when_its_owner_leaves)
{
	int before;

	user_hold(&lab, &m, 2, "v", NL, 0);
	user_hold(&lab, &c, 3, "v", NL, 0);
	user_hold(&lab, &a, 1, "v", NL, 0);
	cr_assert_eq(lab_res(&lab, 1, "v")->owner, 2);
	lab.verdict = lose_derefs;
	user_unlock(&lab, &a, 0, 0);
	user_unlock(&lab, &m, 0, 0);
	lab_run(&lab, 12000);
	cr_assert(lab_res(&lab, 1, "v")->state & DLM_RES_DROPPING_REF);
	bed_leave(&lab.bed.n[2]);
	while (!lab.bed.n[2].left && bed_step(&lab.bed))
		;
	lab_run(&lab, 50);
	cr_assert(lab.bed.n[2].left);
	cr_assert_eq(lab_res(&lab, 3, "v")->owner, 3);
	before = lab_count(&lab, DLM_DEREF_LOCKRES_MSG, 1, 2);
	cr_assert_gt(before, 1);
	lab_run(&lab, 3000);
	cr_assert_null(lab_res(&lab, 1, "v"));
	cr_assert_eq(lab_count(&lab, DLM_DEREF_LOCKRES_MSG, 1, 2), before);
}
