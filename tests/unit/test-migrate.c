/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test-migrate.c: a resource changes hands when its owner leaves (dlm.md 8, G01 to G14). */
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
	user_hold(&lab, &m, 1, "r", NL, 0);
}

static void over(void)
{
	lab_close(&lab);
}

TestSuite(migrate, .init = four, .fini = over);

static int owner(node_t at)
{
	struct dlm_res *res = lab_res(&lab, at, "r");

	return res ? res->owner : -1;
}

static bool has_state(node_t at, uint16_t flag)
{
	struct dlm_res *res = lab_res(&lab, at, "r");

	return res && (res->state & flag);
}

/* Node 1 gives up its own lock and leaves; nothing is carried yet. */
static void leave(void)
{
	user_unlock(&lab, &m, 0, 0);
	lab_clear(&lab);
	bed_leave(&lab.bed.n[1]);
	lab_check(&lab);
}

static void left(void)
{
	lab_run(&lab, 5000);
	cr_assert(lab.bed.n[1].left);
	cr_assert_null(lab.bed.n[1].dom);
}

static void mig(const struct kept *k, struct dlm_wire_mig *w)
{
	cr_assert(k);
	cr_assert_eq(dlm_get_mig(k->payload, k->len, w), 0);
}

/* G01: the locks go over in queue order, everybody is told, the old owner last. */
Test(migrate, sequence_and_locks)
{
	static struct dlm_wire_mig w;
	int tell3 = -1, tell4 = -1, last3 = -1, last4 = -1, old = -1;

	user_hold(&lab, &a, 2, "r", EX, 0);
	user_lock(&lab, &b, 3, "r", PR, 0);
	lab_run(&lab, 100);
	leave();
	left();
	cr_assert_eq(lab_count(&lab, DLM_MIG_LOCKRES_MSG, 1, 0), 1);
	mig(lab_sent(&lab, DLM_MIG_LOCKRES_MSG, 1, 2, 0), &w);
	cr_assert_eq(w.flags, DLM_MRES_MIGRATION | DLM_MRES_ALL_DONE);
	cr_assert_eq(w.total_locks, 2);
	cr_assert_eq(w.mig_cookie, 0);
	cr_assert(w.locks[0].node == 2 && w.locks[0].list == 0 && w.locks[0].mode == EX);
	cr_assert(w.locks[1].node == 3 && w.locks[1].list == 2 && w.locks[1].mode == PR);
	for (int i = 0; i < lab.nr_sent; i++) {
		const struct kept *k = &lab.sent[i];

		if (k->from == 2 && k->type == DLM_MIGRATE_REQUEST_MSG)
			*(k->to == 3 ? &tell3 : &tell4) = i;
		if (k->from == 2 && k->type == DLM_ASSERT_MASTER_MSG) {
			cr_assert_eq(k->payload[7], DLM_ASSERT_FINISH_MIGRATION);
			*(k->to == 1 ? &old : k->to == 3 ? &last3 : &last4) = i;
		}
	}
	cr_assert(tell3 >= 0 && tell4 >= 0);
	cr_assert(last3 > tell3 && last3 > tell4 && last4 > tell3 && last4 > tell4);
	cr_assert(old > last3 && old > last4);
	cr_assert_eq(lab_count(&lab, DLM_DEREF_LOCKRES_MSG, 1, 2), 1);
	cr_assert_eq(owner(2), 2);
	cr_assert_eq(owner(3), 2);
	user_unlock(&lab, &a, 0, 0);
	lab_run(&lab, 100);
	cr_assert_eq(b.asts, 1);
}

/* G02 */
Test(migrate, reference_without_a_lock_goes_as_a_dummy)
{
	static struct dlm_wire_mig w;

	user_lock(&lab, &a, 2, "r", PR, 0);
	lab_run(&lab, 50);
	user_unlock(&lab, &a, 0, 0);
	lab_run(&lab, 50);
	leave();
	left();
	mig(lab_sent(&lab, DLM_MIG_LOCKRES_MSG, 1, 2, 0), &w);
	cr_assert_eq(w.total_locks, 0);
	cr_assert_eq(w.num_locks, 1);
	cr_assert(dlm_wire_mig_is_dummy(&w.locks[0]));
	cr_assert_eq(w.locks[0].node, 1);
}

/* G03, G04 */
Test(migrate, many_locks_take_several_messages)
{
	static struct user u[300];
	const int counts[] = { 240, 241, 300 };

	for (int i = 0; i < 3; i++) {
		static struct dlm_wire_mig w;
		int n = counts[i], want = n > 240 ? 2 : 1;

		lab_close(&lab);
		lab_open(&lab, 2);
		user_hold(&lab, &m, 1, "r", NL, 0);
		lab.no_check = true;
		for (int j = 0; j < n; j++) {
			user_lock(&lab, &u[j], 2, "r", NL, 0);
			lab_run(&lab, 5);
			lab_clear(&lab);
			lab.no_check = true;
		}
		leave();
		left();
		lab.no_check = false;
		cr_assert_eq(lab_count(&lab, DLM_MIG_LOCKRES_MSG, 1, 2), want);
		for (int k = 0; k < want; k++) {
			mig(lab_sent(&lab, DLM_MIG_LOCKRES_MSG, 1, 2, k), &w);
			cr_assert_eq(w.total_locks, n);
			cr_assert_eq(w.mig_cookie != 0, n > 240);
			cr_assert_eq(!!(w.flags & DLM_MRES_ALL_DONE), k == want - 1);
			cr_assert_eq(w.num_locks, k ? n - 240 : 240);
		}
		lab_check(&lab);
		cr_assert_eq(lab.bed.n[2].dom->stats.locks, n);
		cr_assert_eq(owner(2), 2);
	}
}

/* G05 */
Test(migrate, waits_until_its_asts_are_acknowledged)
{
	lab_hold(&lab, DLM_PROXY_AST_MSG, 1, 2);
	user_lock(&lab, &a, 2, "r", PR, 0);
	lab_run(&lab, 50);
	leave();
	lab_run(&lab, 2000);
	cr_assert_eq(lab_count(&lab, DLM_MIG_LOCKRES_MSG, 1, 0), 0);
	lab_release(&lab);
	left();
	cr_assert_eq(a.asts, 1);
	cr_assert_eq(owner(2), 2);
}

/* G06: a request that comes too late is told to come again, and ends at the new owner. */
Test(migrate, request_during_the_migration_is_retried)
{
	user_hold(&lab, &a, 2, "r", NL, 0);
	user_hold(&lab, &b, 3, "r", NL, 0);
	lab_hold(&lab, DLM_MIGRATE_REQUEST_MSG, 2, 3);
	leave();
	lab_run(&lab, 50);
	user_convert(&lab, &b, EX, 0, 0);
	lab_run(&lab, 50);
	cr_assert_eq(bed_find(&lab.bed, DLM_CONVERT_LOCK_MSG, 3, 1, 0)->status, DLM_MIGRATING);
	lab_release(&lab);
	left();
	cr_assert_eq(b.asts, 2);
	cr_assert_eq(lab_mode(&lab, 2, "r", &b), EX);
}

/* G07: the target's own request got 40; it finds itself the owner. */
Test(migrate, request_of_the_target_is_done_locally)
{
	user_hold(&lab, &a, 2, "r", NL, 0);
	lab_hold(&lab, DLM_MIG_LOCKRES_MSG, 1, 2);
	leave();
	lab_run(&lab, 50);
	user_lock(&lab, &b, 2, "r", EX, 0);
	lab_run(&lab, 50);
	cr_assert_eq(b.asts, 0);
	lab_release(&lab);
	left();
	cr_assert_eq(b.asts, 1);
	cr_assert_eq(owner(2), 2);
}

/* A CREATE of a third node and a vote of a fourth meet the migration. */
Test(migrate, newcomers_during_the_migration_find_the_new_owner)
{
	user_hold(&lab, &a, 2, "r", NL, 0);
	lab_hold(&lab, DLM_ASSERT_MASTER_MSG, 2, 3);
	leave();
	lab_run(&lab, 50);
	user_lock(&lab, &b, 3, "r", PR, 0);
	user_lock(&lab, &c, 4, "r", PR, 0);
	lab_run(&lab, 300);
	cr_assert_eq(b.asts + c.asts, 0);
	lab_release(&lab);
	left();
	cr_assert_eq(b.asts + c.asts, 2);
	cr_assert_eq(owner(3), 2);
	cr_assert_eq(owner(4), 2);
	cr_assert(dlm_map_test(dlm_refs(lab_res(&lab, 2, "r")), 3));
	cr_assert(dlm_map_test(dlm_refs(lab_res(&lab, 2, "r")), 4));
}

/* 7.7: MIGRATE_REQUEST during the own vote. */
Test(migrate, vote_that_is_open_when_the_resource_moves)
{
	user_hold(&lab, &a, 2, "r", NL, 0);
	lab_hold(&lab, DLM_MASTER_REQUEST_MSG, 3, 4);
	user_lock(&lab, &b, 3, "r", EX, 0);
	lab_run(&lab, 50);
	leave();
	lab_run(&lab, 500);
	lab_release(&lab);
	left();
	cr_assert_eq(b.asts, 1);
	cr_assert_eq(owner(3), 2);
	cr_assert(dlm_map_test(dlm_refs(lab_res(&lab, 2, "r")), 3));
}

/* 3.9: an own vote is reported, so that the new owner sets the reference; a repetition of
 * the request is taken, another pair of nodes is not. */
Test(migrate, request_that_meets_an_own_vote)
{
	struct dlm_wire_migrate w = { .master = 1, .new_master = 2, .name = dlm_name_make("x", 1) };
	struct dlm_wire_master done = { .node = 2, .flags = DLM_ASSERT_FINISH_MIGRATION,
					.name = dlm_name_make("x", 1) };
	struct bed_node *n3 = &lab.bed.n[3];
	uint8_t buf[100];
	size_t len = dlm_put_migrate(&w, buf, sizeof(buf));

	lab_hold(&lab, DLM_MASTER_REQUEST_MSG, 3, 0);
	user_lock(&lab, &b, 3, "x", NL, 0);
	lab_run(&lab, 20);
	cr_assert_eq(bed_ask(n3, 2, DLM_MIGRATE_REQUEST_MSG, buf, len).status, 1);
	cr_assert_eq(bed_ask(n3, 2, DLM_MIGRATE_REQUEST_MSG, buf, len).status, 0);
	cr_assert(lab_res(&lab, 3, "x")->state & DLM_RES_MIGRATING);
	w.new_master = 4;
	len = dlm_put_migrate(&w, buf, sizeof(buf));
	cr_assert_eq(bed_ask(n3, 4, DLM_MIGRATE_REQUEST_MSG, buf, len).status, -EINVAL);
	len = dlm_put_master(&done, buf, sizeof(buf));
	cr_assert_eq(bed_ask(n3, 2, DLM_ASSERT_MASTER_MSG, buf, len).status,
		     DLM_ASSERT_REPLY_MASTERY_REF);
	cr_assert_eq(lab_res(&lab, 3, "x")->owner, 2);
	cr_assert(!(lab_res(&lab, 3, "x")->state & DLM_RES_MIGRATING));
}

/* G08, G14: nobody who is leaving is chosen; it waits until that one lets go. */
Test(migrate, leaving_node_is_no_target)
{
	user_hold(&lab, &a, 2, "r", NL, 0);
	lab_clear(&lab);
	bed_leave(&lab.bed.n[2]); /* with a lock left: it stays in this state */
	lab_run(&lab, 1000);
	cr_assert(!lab.bed.n[2].left);
	leave();
	lab_run(&lab, 3000);
	cr_assert(!lab.bed.n[1].left);
	cr_assert_eq(lab_count(&lab, DLM_MIG_LOCKRES_MSG, 1, 0), 0);
	user_unlock(&lab, &a, 0, 0);
	left();
	cr_assert(lab.bed.n[2].left);
}

/* G09 */
static int refusals;

static enum bed_fate refuse(struct lab *l, const struct bed_msg *msg)
{
	if (msg->type != DLM_MIG_LOCKRES_MSG || refusals == 0)
		return BED_DELIVER;
	refusals--;
	dlm_sent(l->bed.n[msg->from].dlm, msg->token, 0, -EINVAL);
	return BED_LOSE;
}

Test(migrate, refused_by_the_target_and_tried_again)
{
	user_hold(&lab, &a, 2, "r", NL, 0);
	refusals = 3;
	lab.verdict = refuse;
	leave();
	lab_run(&lab, 600);
	cr_assert(!has_state(1, DLM_RES_MIGRATING) || refusals < 2);
	left();
	cr_assert_eq(owner(2), 2);
	cr_assert_eq(lab_count(&lab, DLM_MIG_LOCKRES_MSG, 1, 2), 4);
}

/* An own lock keeps it here. */
Test(migrate, not_while_this_node_holds_a_lock)
{
	user_hold(&lab, &a, 2, "r", NL, 0);
	bed_leave(&lab.bed.n[1]);
	lab_run(&lab, 2000);
	cr_assert_eq(lab_count(&lab, DLM_MIG_LOCKRES_MSG, 1, 0), 0);
	user_unlock(&lab, &m, 0, 0);
	left();
	cr_assert_eq(owner(2), 2);
}

/* A node in IN_SHUTDOWN takes nothing over, and gives no new lock to its own users. */
Test(migrate, leaver_refuses_to_be_a_target)
{
	static struct dlm_wire_mig w;
	uint8_t buf[DLM_MAX_PAYLOAD];
	size_t len;

	w = (struct dlm_wire_mig){ .master = 2, .num_locks = 1, .name = dlm_name_make("q", 1),
				   .flags = DLM_MRES_MIGRATION | DLM_MRES_ALL_DONE };
	w.locks[0] = dlm_wire_mig_dummy(2);
	len = dlm_put_mig(&w, buf, sizeof(buf));
	user_hold(&lab, &a, 2, "r", NL, 0);
	bed_leave(&lab.bed.n[1]);
	lab_run(&lab, 20);
	cr_assert_eq(bed_ask(&lab.bed.n[1], 2, DLM_MIG_LOCKRES_MSG, buf, len).status, -EINVAL);
	user_lock(&lab, &b, 1, "x", NL, 0);
	cr_assert_eq(b.done, DLM_REJECTED);
	cr_assert_eq(bed_ask(&lab.bed.n[3], 2, DLM_MIG_LOCKRES_MSG, buf, len).status, 0);
	lab_run(&lab, 100);
}

/* ---- links --------------------------------------------------------------------------------- */

static uint16_t lose_type;
static node_t lose_to;

static enum bed_fate lose(struct lab *l, const struct bed_msg *msg)
{
	if (msg->type != lose_type || msg->to != lose_to || refusals == 0)
		return BED_DELIVER;
	refusals--;
	return l->arg ? BED_LOSE_REPLY : BED_LOSE;
}

Test(migrate, link_loss_at_every_step)
{
	struct { uint16_t type; node_t to; } row[] = {
		{ DLM_MIG_LOCKRES_MSG, 2 }, { DLM_MIGRATE_REQUEST_MSG, 3 },
		{ DLM_ASSERT_MASTER_MSG, 3 }, { DLM_ASSERT_MASTER_MSG, 1 },
		{ DLM_DEREF_LOCKRES_MSG, 2 },
	};

	for (int i = 0; i < 10; i++) {
		lab_close(&lab);
		four();
		user_hold(&lab, &a, 2, "r", PR, 0);
		user_hold(&lab, &b, 3, "r", PR, 0);
		lose_type = row[i / 2].type;
		lose_to = row[i / 2].to;
		lab.arg = i & 1;
		refusals = 1;
		lab.verdict = lose;
		leave();
		left();
		cr_assert_eq(refusals, 0, "%d", i);
		for (node_t n = 2; n <= 3; n++)
			cr_assert_eq(owner(n), 2, "%d: node %d says %d", i, n, owner(n));
		user_convert(&lab, &b, EX, 0, 0);
		lab_run(&lab, 100);
		cr_assert_eq(a.basts, 1);
		user_unlock(&lab, &a, 0, 0);
		lab_run(&lab, 100);
		cr_assert_eq(b.asts, 2);
	}
}

/* ---- deaths (8.5) ---------------------------------------------------------------------------- */

/* G10: before it answers, and after. With others left the recovery is for another day, so
 * the old owner is checked, then the rest dies. */
Test(migrate, target_dies)
{
	for (int after = 0; after < 2; after++) {
		lab_close(&lab);
		lab_open(&lab, 2);
		user_hold(&lab, &m, 1, "r", NL, 0);
		user_hold(&lab, &a, 2, "r", PR, 0);
		if (after)
			lab_hold(&lab, DLM_ASSERT_MASTER_MSG, 2, 1);
		else
			lab_hold(&lab, DLM_MIG_LOCKRES_MSG, 1, 2);
		leave();
		lab_run(&lab, 50);
		cr_assert(has_state(1, DLM_RES_MIGRATING));
		lab_die(&lab, 2);
		left();
	}
}

Test(migrate, target_dies_and_a_third_node_waits)
{
	user_hold(&lab, &a, 2, "r", PR, 0);
	user_hold(&lab, &b, 3, "r", PR, 0);
	lab_hold(&lab, DLM_ASSERT_MASTER_MSG, 2, 3);
	leave();
	lab_run(&lab, 50);
	cr_assert(has_state(3, DLM_RES_MIGRATING));
	lab_die(&lab, 2);
	cr_assert_eq(owner(1), 1);
	cr_assert(!has_state(1, DLM_RES_MIGRATING));
	cr_assert_eq(owner(3), 255);
	cr_assert(has_state(3, DLM_RES_RECOVERING));
	/* 8.5: an owner that turns up is accepted. */
	{
		struct dlm_wire_master w = { .node = 1, .flags = DLM_ASSERT_REQUERY,
					     .name = dlm_name_make("r", 1) };
		uint8_t buf[100];
		size_t len = dlm_put_master(&w, buf, sizeof(buf));

		cr_assert_eq(bed_ask(&lab.bed.n[3], 1, DLM_ASSERT_MASTER_MSG, buf, len).status,
			     DLM_ASSERT_REPLY_MASTERY_REF);
	}
	cr_assert_eq(owner(3), 1);
	cr_assert(!has_state(3, DLM_RES_RECOVERING));
}

/* G11 */
Test(migrate, old_owner_dies_after_all_was_sent)
{
	user_hold(&lab, &a, 2, "r", PR, 0);
	user_hold(&lab, &b, 3, "r", PR, 0);
	lab_hold(&lab, DLM_MIGRATE_REQUEST_MSG, 2, 3);
	leave();
	lab_run(&lab, 50);
	lab.hold_type = 0;
	bed_die(&lab.bed, 1);
	bed_release(&lab.bed);
	lab_run(&lab, 3000);
	cr_assert_eq(owner(2), 2);
	cr_assert_eq(owner(3), 2);
	cr_assert(!has_state(2, DLM_RES_MIGRATING));
	cr_assert(!has_state(3, DLM_RES_MIGRATING));
}

/* ... and an unlock that the death has settled must not leave the lock at the target. */
Test(migrate, unlock_settled_by_a_death_reaches_the_target)
{
	user_hold(&lab, &a, 2, "r", PR, 0);
	user_hold(&lab, &b, 3, "r", PR, 0);
	lab_hold(&lab, DLM_MIGRATE_REQUEST_MSG, 2, 3);
	leave();
	lab_run(&lab, 50);
	lab.hold_type = DLM_UNLOCK_LOCK_MSG;
	lab.hold_from = 3;
	lab.hold_to = 1;
	user_unlock(&lab, &b, 0, 0);
	lab_run(&lab, 20);
	lab.hold_type = 0;
	bed_die(&lab.bed, 1);
	cr_assert_eq(b.unlock_asts, 0);
	bed_release(&lab.bed);
	lab_run(&lab, 3000);
	cr_assert_eq(b.unlock_asts, 1);
	cr_assert_eq(lab.bed.n[2].dom->stats.locks, 1);
}

/* G12: half of the locks is worse than none. */
Test(migrate, old_owner_dies_between_two_messages)
{
	static struct user u[250];

	lab_close(&lab);
	lab_open(&lab, 2);
	user_hold(&lab, &m, 1, "r", NL, 0);
	lab.no_check = true;
	for (int j = 0; j < 250; j++) {
		user_lock(&lab, &u[j], 2, "r", j == 0 ? PR : NL, 0);
		lab_run(&lab, 5);
		lab_clear(&lab);
		lab.no_check = true;
	}
	user_unlock(&lab, &m, 0, 0);
	bed_leave(&lab.bed.n[1]);
	while (lab_count(&lab, DLM_MIG_LOCKRES_MSG, 1, 2) < 1)
		cr_assert(bed_step(&lab.bed));
	cr_assert(has_state(2, DLM_RES_MIGRATING));
	lab.no_check = false;
	lab_die(&lab, 1);
	lab_run(&lab, 100);
	cr_assert_eq(owner(2), 2);
	cr_assert_eq(lab.bed.n[2].dom->stats.locks, 250);
	user_unlock(&lab, &u[0], 0, 0);
	cr_assert_eq(u[0].unlock_asts, 1);
}

Test(migrate, half_of_the_locks_is_dropped_when_the_old_owner_dies)
{
	static struct user u[245];

	lab_close(&lab);
	lab_open(&lab, 3);
	user_hold(&lab, &m, 1, "r", NL, 0);
	user_hold(&lab, &a, 2, "r", NL, 0); /* so node 2 is the target */
	lab.no_check = true;
	for (int j = 0; j < 245; j++) {
		user_lock(&lab, &u[j], 3, "r", NL, 0);
		lab_run(&lab, 5);
		lab_clear(&lab);
		lab.no_check = true;
	}
	user_unlock(&lab, &m, 0, 0);
	bed_leave(&lab.bed.n[1]);
	while (lab_count(&lab, DLM_MIG_LOCKRES_MSG, 1, 2) < 1)
		cr_assert(bed_step(&lab.bed));
	cr_assert_eq(lab.bed.n[2].dom->stats.locks, 240);
	lab.no_check = false;
	lab_die(&lab, 1);
	cr_assert_eq(lab.bed.n[2].dom->stats.locks, 1);
	cr_assert_eq(owner(2), 255);
	cr_assert(has_state(2, DLM_RES_RECOVERING));
	lab_die(&lab, 3);
	lab_run(&lab, 20);
	cr_assert_eq(owner(2), 2);
}

/* The target's copy was unused and about to go: it must stay through the migration. */
Test(migrate, copy_that_is_about_to_be_purged_becomes_the_resource)
{
	user_lock(&lab, &a, 2, "r", PR, 0);
	lab_run(&lab, 50);
	user_unlock(&lab, &a, 0, 0);
	lab_run(&lab, 7000);
	cr_assert(lab_res(&lab, 2, "r"));
	lab_hold(&lab, DLM_MIGRATE_REQUEST_MSG, 2, 3);
	leave();
	lab_run(&lab, 5000);
	cr_assert_eq(owner(2), 2);
	cr_assert(has_state(2, DLM_RES_MIGRATING));
	lab_release(&lab);
	left();
}

/* A third member dies while the others tell one another. */
Test(migrate, bystander_dies)
{
	user_hold(&lab, &a, 2, "r", PR, 0);
	user_hold(&lab, &b, 3, "r", NL, 0);
	lab_hold(&lab, DLM_MIGRATE_REQUEST_MSG, 2, 4);
	leave();
	lab_run(&lab, 50);
	lab_die(&lab, 4);
	lab_run(&lab, 100);
	cr_assert_eq(owner(2), 2);
	cr_assert_eq(owner(3), 2);
	cr_assert(!has_state(2, DLM_RES_MIGRATING));
}

/* Many resources at once, with work going on: everything ends, nothing is lost. */
Test(migrate, many_resources_under_load)
{
	static struct user own[150], other[150];
	char name[16];

	lab_close(&lab);
	lab_open(&lab, 3);
	lab.no_check = true;
	for (int i = 0; i < 150; i++) {
		snprintf(name, sizeof(name), "n%d", i);
		user_lock(&lab, &own[i], 1, name, NL, DLM_LKF_LOCAL);
		user_lock(&lab, &other[i], (node_t)(2 + i % 2), name, PR, 0);
		lab_run(&lab, 20);
		lab_clear(&lab);
		cr_assert_eq(other[i].asts, 1);
	}
	for (int i = 0; i < 150; i++)
		user_unlock(&lab, &own[i], 0, 0);
	lab_run(&lab, 20);
	lab_clear(&lab);
	lab.bed.verdict = NULL;
	bed_leave(&lab.bed.n[1]);
	for (int i = 0; i < 150; i++)
		user_convert(&lab, &other[i], i % 2 ? EX : NL, 0, 0);
	bed_run(&lab.bed, 5000);
	cr_assert(lab.bed.n[1].left);
	lab.no_check = false;
	lab_check(&lab);
	for (int i = 0; i < 150; i++)
		cr_assert_eq(other[i].asts, 2, "%d", i);
}

/* A waiting lock that wants the value gets it from the new owner. */
Test(migrate, waiting_locks_keep_their_wish_for_the_value)
{
	static struct dlm_wire_mig w;

	user_hold(&lab, &a, 2, "r", EX, DLM_LKF_VALBLK);
	user_lock(&lab, &b, 3, "r", PR, DLM_LKF_VALBLK);
	lab_run(&lab, 100);
	leave();
	left();
	mig(lab_sent(&lab, DLM_MIG_LOCKRES_MSG, 1, 2, 0), &w);
	cr_assert_eq(w.locks[1].flags, DLM_LKSB_GET_LVB);
	user_unlock(&lab, &a, DLM_LKF_VALBLK, 9);
	lab_run(&lab, 100);
	cr_assert_eq(b.asts, 1);
	cr_assert(b.has_lvb);
	cr_assert_eq(b.lvb[0], 9);
}

/* Nobody has answered an ASSERT yet: who holds a lock holds a reference all the same. */
Test(migrate, target_counts_the_holders_from_the_first)
{
	user_hold(&lab, &a, 2, "r", PR, 0);
	user_hold(&lab, &b, 3, "r", PR, 0);
	user_hold(&lab, &c, 4, "r", NL, 0);
	leave();
	lab_until(&lab, DLM_MIGRATE_REQUEST_MSG);
	cr_assert(dlm_map_test(dlm_refs(lab_res(&lab, 2, "r")), 3));
	cr_assert(dlm_map_test(dlm_refs(lab_res(&lab, 2, "r")), 4));
	left();
}
