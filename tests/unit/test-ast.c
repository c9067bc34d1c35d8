/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test-ast.c: grants in order and their delivery (doc/spec/dlm.md 6, scenarios B01 to B12). */
#include <criterion/criterion.h>
#include <string.h>
#include "tests/unit/dlm-user.h"

#define NL DLM_MODE_NL
#define PR DLM_MODE_PR
#define EX DLM_MODE_EX

static struct lab lab;
static struct user m, a, b, c, d;

static void three(void)
{
	lab_open(&lab, 4);
	user_hold(&lab, &m, 1, "r", NL, 0); /* node 1 owns it */
}

static void over(void)
{
	lab_close(&lab);
}

TestSuite(ast, .init = three, .fini = over);

Test(ast, grant_reaches_local_and_remote_holders)
{
	user_hold(&lab, &a, 2, "r", PR, 0);
	user_hold(&lab, &b, 1, "r", PR, 0);
	cr_assert_eq(lab_queue(&lab, 1, "r", &a), 'G');
	cr_assert_eq(lab_queue(&lab, 2, "r", &a), 'G');
	cr_assert_eq(lab_count(&lab, DLM_PROXY_AST_MSG, 1, 2), 1);
}

/* B01 */
Test(ast, readers_wait_for_the_writer_and_follow_in_order)
{
	user_hold(&lab, &a, 2, "r", EX, 0);
	user_lock(&lab, &b, 3, "r", PR, 0);
	lab_run(&lab, 50);
	user_lock(&lab, &c, 4, "r", PR, 0);
	lab_run(&lab, 50);
	cr_assert_geq(a.basts, 1);
	cr_assert_eq(a.bast_mode, PR);
	cr_assert_eq(b.asts + c.asts, 0);
	user_convert(&lab, &a, PR, 0, 0);
	lab_run(&lab, 50);
	cr_assert_eq(a.asts, 2);
	cr_assert_lt(a.at_ast, b.at_ast);
	cr_assert_lt(b.at_ast, c.at_ast);
}

/* B01, O3: each AST waits until the previous one is acknowledged. */
Test(ast, next_ast_waits_for_the_acknowledgement)
{
	user_hold(&lab, &a, 2, "r", EX, 0);
	user_lock(&lab, &b, 3, "r", PR, 0);
	user_lock(&lab, &c, 4, "r", PR, 0);
	lab_run(&lab, 50);
	lab_clear(&lab);
	lab_hold(&lab, DLM_PROXY_AST_MSG, 1, 2);
	user_convert(&lab, &a, PR, 0, 0);
	lab_run(&lab, 50);
	cr_assert_eq(a.asts, 1);
	cr_assert_eq(lab_count(&lab, DLM_PROXY_AST_MSG, 1, 0), 0);
	lab_release(&lab);
	lab_run(&lab, 50);
	cr_assert_eq(lab_count(&lab, DLM_PROXY_AST_MSG, 1, 0), 3);
	cr_assert_eq(b.asts + c.asts, 2);
}

/* B02: the holder gives way before the BAST is out; it must not be told then. */
Test(ast, bast_made_pointless_by_a_downconversion_is_dropped)
{
	struct user e;

	user_hold(&lab, &a, 2, "r", EX, 0);
	lab_hold(&lab, DLM_PROXY_AST_MSG, 1, 3);
	user_hold(&lab, &e, 3, "q", NL, 0); /* somebody else's resource */
	user_lock(&lab, &b, 1, "r", PR, 0);
	cr_assert_eq(lab_queue(&lab, 1, "r", &b), 'B');
	lab_release(&lab);
	lab_hold(&lab, DLM_PROXY_AST_MSG, 1, 2); /* the BAST stays on the way */
	user_convert(&lab, &a, PR, 0, 0);
	lab_run(&lab, 50);
	lab_release(&lab);
	lab_run(&lab, 50);
	cr_assert_eq(b.asts, 1);
	cr_assert_eq(a.basts, 1, "sent before the conversion was known: %d", a.basts);
	cr_assert_eq(lab_count(&lab, DLM_PROXY_AST_MSG, 1, 2), 3); /* AST, BAST, AST */
}

/* B02, B03 at the owner alone: what a queued AST does to a queued BAST. */
Test(ast, queued_ast_cancels_a_queued_bast_unless_it_still_blocks)
{
	struct { int mode, blocked, kept; } row[] = {
		{ NL, EX, 0 }, { PR, PR, 0 }, { PR, EX, 1 }, { EX, PR, 1 }, { EX, EX, 1 },
	};

	for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		struct dlm_res *res = lab_res(&lab, 1, "r");
		struct dlm_lock *l = dlm_lock_new(lab.bed.n[1].dlm, 2, 42, row[i].mode);

		dlm_lock_move(l, res, DLM_LIST_GRANTED);
		dlm_queue_bast(l, row[i].blocked);
		dlm_queue_ast(l);
		cr_assert_eq(!!(l->flags & DLM_LOCK_BAST), row[i].kept, "row %zu", i);
		cr_assert(l->flags & DLM_LOCK_AST);
		dlm_lock_free(l);
	}
}

/* B04 */
Test(ast, two_readers_that_both_want_to_write)
{
	user_hold(&lab, &a, 2, "r", PR, 0);
	user_hold(&lab, &b, 3, "r", PR, 0);
	user_convert(&lab, &a, EX, 0, 0);
	lab_run(&lab, 50);
	user_convert(&lab, &b, EX, 0, 0);
	lab_run(&lab, 50);
	cr_assert_eq(a.asts + b.asts, 2);
	cr_assert_geq(b.basts, 1);
	cr_assert_eq(b.bast_mode, EX);
	user_cancel(&lab, &b);
	lab_run(&lab, 50);
	cr_assert_eq(b.unlock_status, DLM_NORMAL);
	user_convert(&lab, &b, NL, 0, 0);
	lab_run(&lab, 50);
	cr_assert_eq(b.asts, 2);
	cr_assert_eq(a.asts, 2);
	cr_assert_eq(lab_mode(&lab, 1, "r", &a), EX);
}

/* B05 */
Test(ast, conversions_go_before_new_locks)
{
	user_hold(&lab, &a, 2, "r", PR, 0);
	user_hold(&lab, &b, 3, "r", PR, 0);
	user_convert(&lab, &a, EX, 0, 0);
	lab_run(&lab, 50);
	lab_clear(&lab);
	user_lock(&lab, &c, 4, "r", PR, 0);
	lab_run(&lab, 50);
	cr_assert_eq(c.asts, 0);
	cr_assert_eq(lab_queue(&lab, 1, "r", &c), 'B');
	user_lock(&lab, &d, 1, "r", NL, 0);
	cr_assert_eq(d.asts, 1); /* in the call */
	user_convert(&lab, &b, NL, 0, 0);
	lab_run(&lab, 50);
	cr_assert_eq(a.asts, 2);
	cr_assert_eq(c.asts, 0);
	user_convert(&lab, &a, NL, 0, 0);
	lab_run(&lab, 50);
	cr_assert_eq(c.asts, 1);
}

/* B06, O1 */
Test(ast, ast_before_the_bast_for_the_same_lock)
{
	lab_hold(&lab, DLM_PROXY_AST_MSG, 1, 2);
	user_lock(&lab, &a, 2, "r", EX, 0);
	lab_run(&lab, 50);
	user_lock(&lab, &b, 1, "r", PR, 0);
	lab_release(&lab);
	lab_run(&lab, 50);
	cr_assert_eq(a.asts, 1);
	cr_assert_eq(a.basts, 1);
	cr_assert_lt(a.at_ast, a.at_bast);
}

/* B07: the AST is handled before the reply to the CREATE. */
Test(ast, ast_before_the_reply_completes_the_request)
{
	struct dlm_wire_ast w = { .node = 1, .type = DLM_WIRE_AST, .name = dlm_name_make("r", 1) };
	uint8_t buf[200];
	size_t len;

	user_hold(&lab, &b, 2, "r", NL, 0);
	lab_hold(&lab, DLM_CREATE_LOCK_MSG, 2, 1);
	user_lock(&lab, &a, 2, "r", PR, 0);
	lab_run(&lab, 10);
	cr_assert_eq(a.done, -1);
	w.cookie = a.lock->cookie;
	len = dlm_put_ast(&w, buf, sizeof(buf));
	cr_assert_eq(bed_ask(&lab.bed.n[2], 1, DLM_PROXY_AST_MSG, buf, len).status, DLM_NORMAL);
	cr_assert_eq(a.done, DLM_NORMAL);
	cr_assert_eq(a.asts, 1);
	lab_release(&lab);
	lab_run(&lab, 50);
	cr_assert_eq(a.dones, 1);
	cr_assert_eq(a.asts, 1);
	cr_assert_eq(lab_queue(&lab, 2, "r", &a), 'G');
}

/* B09 */
Test(ast, slow_peer_holds_up_its_own_resource_only)
{
	user_hold(&lab, &d, 1, "q", NL, 0);
	user_hold(&lab, &b, 3, "q", NL, 0);
	user_hold(&lab, &a, 2, "r", NL, 0);
	user_hold(&lab, &c, 3, "r", NL, 0);
	lab_hold(&lab, DLM_PROXY_AST_MSG, 1, 2);
	user_convert(&lab, &a, PR, 0, 0);
	lab_run(&lab, 50);
	user_convert(&lab, &c, PR, 0, 0);
	user_convert(&lab, &b, EX, 0, 0);
	lab_run(&lab, 50);
	cr_assert_eq(b.asts, 2);
	cr_assert_eq(c.asts, 1);
	lab_release(&lab);
	lab_run(&lab, 50);
	cr_assert_eq(c.asts, 2);
}

/* B11 */
Test(ast, many_dirty_resources_are_all_served)
{
	static struct user hold[600], wait[600];
	char name[16];

	for (int i = 0; i < 600; i++) {
		snprintf(name, sizeof(name), "n%d", i);
		lab.no_check = true;
		user_lock(&lab, &hold[i], 1, name, EX, DLM_LKF_LOCAL);
		user_lock(&lab, &wait[i], 1, name, PR, 0);
		cr_assert_eq(hold[i].asts, 1);
		cr_assert_eq(hold[i].basts, 1);
	}
	for (int i = 0; i < 600; i++)
		user_unlock(&lab, &hold[i], 0, 0);
	lab_run(&lab, 0);
	for (int i = 0; i < 600; i++)
		cr_assert_eq(wait[i].asts, 1);
	lab.no_check = false;
	lab_check(&lab);
}

/* B12 */
Test(ast, conversion_to_the_held_mode_gets_its_ast)
{
	user_hold(&lab, &a, 2, "r", PR, 0);
	user_hold(&lab, &b, 1, "r", PR, 0);
	user_convert(&lab, &a, PR, 0, 0);
	user_convert(&lab, &b, PR, 0, 0);
	lab_run(&lab, 50);
	cr_assert_eq(a.asts, 2);
	cr_assert_eq(b.asts, 2);
}

/* U30 */
Test(ast, no_bast_to_a_lock_that_is_being_given_up)
{
	user_hold(&lab, &a, 2, "r", EX, 0);
	lab_hold(&lab, DLM_UNLOCK_LOCK_MSG, 2, 1);
	user_unlock(&lab, &a, 0, 0);
	user_lock(&lab, &b, 3, "r", PR, 0);
	lab_run(&lab, 20);
	cr_assert_eq(lab_count(&lab, DLM_PROXY_AST_MSG, 1, 2), 2); /* AST, BAST */
	cr_assert_eq(a.basts, 0);
	lab_release(&lab);
	lab_run(&lab, 50);
	cr_assert_eq(b.asts, 1);
	cr_assert_eq(a.unlock_asts, 1);
}

/* An AST whose acknowledgement was lost is sent again and does no harm. */
static enum bed_fate lose_ast_once(struct lab *l, const struct bed_msg *msg)
{
	if (msg->type != DLM_PROXY_AST_MSG || l->arg == 0)
		return BED_DELIVER;
	return l->arg-- % 2 ? BED_LOSE_REPLY : BED_LOSE;
}

Test(ast, lost_ast_is_sent_again)
{
	lab.verdict = lose_ast_once;
	lab.arg = 2;
	user_lock(&lab, &a, 2, "r", EX, 0);
	lab_run(&lab, 1000);
	cr_assert_eq(a.asts, 1);
	cr_assert_eq(lab_count(&lab, DLM_PROXY_AST_MSG, 1, 2), 3);
	cr_assert_eq(lab_queue(&lab, 2, "r", &a), 'G');
}

/* A lost BAST is asked for anew. */
static enum bed_fate lose_bast_once(struct lab *l, const struct bed_msg *msg)
{
	return msg->type == DLM_PROXY_AST_MSG && msg->payload[13] == DLM_WIRE_BAST && l->arg-- > 0 ?
		       BED_LOSE : BED_DELIVER;
}

Test(ast, lost_bast_is_repeated)
{
	user_hold(&lab, &a, 2, "r", EX, 0);
	lab.verdict = lose_bast_once;
	lab.arg = 1;
	user_lock(&lab, &b, 3, "r", PR, 0);
	lab_run(&lab, 1000);
	cr_assert_eq(a.basts, 1);
}

/*
 * The holder has the AST, only its acknowledgement was lost, and converts. The old AST must
 * not be taken for the grant of the new mode.
 */
static enum bed_fate lose_ack_once(struct lab *l, const struct bed_msg *msg)
{
	return msg->type == DLM_PROXY_AST_MSG && l->arg-- > 0 ? BED_LOSE_REPLY : BED_DELIVER;
}

Test(ast, conversion_proves_that_the_ast_arrived)
{
	user_hold(&lab, &b, 3, "r", PR, 0);
	lab.verdict = lose_ack_once;
	lab.arg = 1;
	user_lock(&lab, &a, 2, "r", PR, 0);
	lab_run(&lab, 50);
	cr_assert_eq(a.asts, 1);
	user_convert(&lab, &a, EX, 0, 0);
	lab_run(&lab, 1000);
	cr_assert_eq(a.asts, 1);
	cr_assert_eq(lab_queue(&lab, 1, "r", &a), 'C');
	cr_assert_eq(lab_queue(&lab, 2, "r", &a), 'C');
	user_unlock(&lab, &b, 0, 0);
	lab_run(&lab, 1000);
	cr_assert_eq(a.asts, 2);
}

/* The same when the repetition crosses the conversion on the wire, for every old mode. */
Test(ast, repetition_that_crosses_a_conversion_is_not_its_grant)
{
	const int from[] = { NL, PR };

	for (int i = 0; i < 2; i++) {
		user_hold(&lab, &b, 3, "r", PR, 0);
		user_hold(&lab, &c, 2, "r", NL, 0);
		lab.verdict = lose_ack_once;
		lab.arg = 1;
		user_lock(&lab, &a, 2, "r", from[i], 0);
		lab_run(&lab, 50);
		cr_assert_eq(a.asts, 1);
		lab_hold(&lab, DLM_CONVERT_LOCK_MSG, 2, 1);
		user_convert(&lab, &a, EX, 0, 0);
		lab_clear(&lab);
		lab_run(&lab, 1000);
		cr_assert_eq(lab_count(&lab, DLM_PROXY_AST_MSG, 1, 2), 1);
		cr_assert_eq(a.asts, 1);
		lab_release(&lab);
		lab_run(&lab, 50);
		cr_assert_eq(a.asts, 1);
		cr_assert_eq(lab_queue(&lab, 1, "r", &a), 'C');
		user_unlock(&lab, &b, 0, 0);
		lab_run(&lab, 50);
		cr_assert_eq(a.asts, 2);
		user_unlock(&lab, &a, 0, 0);
		user_unlock(&lab, &c, 0, 0);
		lab_run(&lab, 50);
	}
}

/* The value that the lost one carried is wanted still. */
Test(ast, repeated_ast_brings_the_value_block)
{
	user_hold(&lab, &b, 1, "r", EX, 0);
	user_unlock(&lab, &b, DLM_LKF_VALBLK, 8);
	lab.verdict = lose_ast_once;
	lab.arg = 2; /* the first does not arrive */
	user_lock(&lab, &a, 2, "r", PR, DLM_LKF_VALBLK);
	lab_run(&lab, 1000);
	cr_assert_eq(a.asts, 1);
	cr_assert(a.has_lvb);
	cr_assert_eq(a.lvb[0], 8);
}

/* B03: one that waits to be sent asks for the highest mode that has come to wait behind it. */
Test(ast, queued_bast_asks_for_the_highest_mode)
{
	for (int first = 0; first < 2; first++) {
		struct dlm_lock *l = dlm_lock_new(lab.bed.n[1].dlm, 2, 42, EX);

		dlm_lock_move(l, lab_res(&lab, 1, "r"), DLM_LIST_GRANTED);
		dlm_queue_bast(l, first ? EX : PR);
		dlm_queue_bast(l, first ? PR : EX);
		cr_assert_eq(l->highest_blocked, EX);
		dlm_lock_free(l);
	}
}
