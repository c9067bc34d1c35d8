/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test-unlock.c: giving up and taking back (doc/spec/dlm.md 3.7, 4.4, scenarios U01 to U46).
 *
 * The table of 4.4 is a table here, too: each row puts a lock on a queue, calls, and compares
 * what the caller was told, what went over the wire, and where the lock is afterwards, once
 * with the owner on this node and once on another.
 */
#include <criterion/criterion.h>
#include <string.h>
#include "tests/unit/dlm-user.h"

#define NL DLM_MODE_NL
#define PR DLM_MODE_PR
#define EX DLM_MODE_EX
#define VALBLK DLM_LKF_VALBLK

static struct lab lab;
static struct user m, a, b, c;

static void over(void)
{
	lab_close(&lab);
}

static void three(void)
{
	lab_open(&lab, 3);
}

TestSuite(unlock, .init = three, .fini = over);

/* The value that the resource has, as its owner 1 sees it. */
static uint8_t value(void)
{
	struct dlm_res *res = lab_res(&lab, 1, "r");

	cr_assert(res);
	return res->lvb[0];
}

/* ---- the table ------------------------------------------------------------------ */

enum queue { NONE, BLOCKED, CONVERTING, GRANTED };

struct row {
	const char *what;
	bool cancel;
	enum queue queue;
	int done, unlock_ast; /* -1: none */
	int messages;	      /* UNLOCK_LOCK, remote owner */
	char after;	      /* queue at the owner */
	int mode;	      /* there; -2: gone */
};

static const struct row table[] = {
	{ "unlock granted", false, GRANTED, DLM_NORMAL, DLM_NORMAL, 1, '-', -2 },
	{ "unlock converting", false, CONVERTING, DLM_DENIED, -1, 0, 'C', PR },
	{ "unlock blocked", false, BLOCKED, DLM_DENIED, -1, 0, 'B', EX },
	{ "unlock none", false, NONE, DLM_DENIED, -1, 0, '-', -2 },
	{ "cancel granted", true, GRANTED, DLM_NORMAL, DLM_CANCELGRANT, 0, 'G', PR },
	{ "cancel converting", true, CONVERTING, DLM_NORMAL, DLM_NORMAL, 1, 'G', PR },
	{ "cancel blocked", true, BLOCKED, DLM_NORMAL, DLM_NORMAL, 1, '-', -2 },
	{ "cancel none", true, NONE, DLM_IVLOCKID, -1, 0, '-', -2 },
};

/* Put a's lock where the row wants it; owner is node 1. */
static void put(const struct row *r, node_t where)
{
	user_hold(&lab, &m, 1, "r", NL, 0);
	if (where != 1) /* it knows the owner already */
		user_hold(&lab, &c, where, "r", NL, 0);
	switch (r->queue) {
	case GRANTED:
		user_hold(&lab, &a, where, "r", PR, 0);
		break;
	case CONVERTING:
		user_hold(&lab, &b, 3, "r", PR, 0);
		user_hold(&lab, &a, where, "r", PR, 0);
		user_convert(&lab, &a, EX, 0, 0);
		break;
	case BLOCKED:
		user_hold(&lab, &b, 3, "r", PR, 0);
		user_lock(&lab, &a, where, "r", EX, 0);
		break;
	case NONE: /* nobody has answered yet who owns it */
		lab_hold(&lab, DLM_MASTER_REQUEST_MSG, where, 0);
		user_lock(&lab, &a, where, "other", EX, 0);
		break;
	}
	lab_run(&lab, 50);
}

static void try_row(const struct row *r, node_t where)
{
	const char *name = r->queue == NONE ? "other" : "r";
	int asts, dones;

	lab_open(&lab, 3);
	put(r, where);
	asts = a.asts;
	dones = a.dones;
	lab_clear(&lab);
	if (r->cancel)
		user_cancel(&lab, &a);
	else
		user_unlock(&lab, &a, 0, 0);
	lab_run(&lab, 50);
	cr_expect_eq(a.done, r->done, "%s, %s owner: done %d", r->what,
		     where == 1 ? "local" : "remote", a.done);
	cr_expect_eq(a.dones, dones + 1, "%s: done() %d times", r->what, a.dones - dones);
	cr_expect_eq(a.unlock_status, r->unlock_ast, "%s: unlock_ast %d", r->what,
		     a.unlock_status);
	cr_expect_eq(a.unlock_asts, r->unlock_ast >= 0, "%s: unlock_ast %d times", r->what,
		     a.unlock_asts);
	cr_expect_eq(a.asts, asts, "%s: an AST came", r->what);
	cr_expect_eq(lab_count(&lab, DLM_UNLOCK_LOCK_MSG, 0, 0), where == 1 ? 0 : r->messages,
		     "%s: messages", r->what);
	if (r->mode == -2 && r->queue != NONE)
		a.lock = NULL;
	if (r->queue != NONE) {
		cr_expect_eq(lab_queue(&lab, 1, name, &a), r->after, "%s at the owner", r->what);
		cr_expect_eq(lab_queue(&lab, where, name, &a), r->after, "%s at home", r->what);
		cr_expect_eq(lab_mode(&lab, 1, name, &a), r->mode, "%s: mode", r->what);
		cr_expect_eq(lab_mode(&lab, where, name, &a), r->mode, "%s: mode at home", r->what);
	}
	lab_release(&lab);
	lab_run(&lab, 300);
	if (r->queue == NONE)
		cr_expect_eq(a.asts, 1, "%s: the request itself goes on", r->what);
	lab_close(&lab);
}

Test(unlock_table, local_owner)
{
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		try_row(&table[i], 1);
}

Test(unlock_table, remote_owner)
{
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		try_row(&table[i], 2);
}

/* ---- value blocks --------------------------------------------------------------- */

/* U01, U02 and their remote twins: written from EX only, and only where asked. */
Test(unlock, value_is_written_from_EX_with_VALBLK_only)
{
	struct { node_t where; int mode; uint32_t flags; bool written; } row[] = {
		{ 1, EX, VALBLK, true },  { 2, EX, VALBLK, true },
		{ 1, EX, 0, false },	  { 2, EX, 0, false },
		{ 1, PR, VALBLK, false }, { 2, PR, VALBLK, false },
		{ 1, NL, VALBLK, false }, { 2, NL, VALBLK, false },
		{ 1, EX, DLM_LKF_INVVALBLK, false }, { 2, EX, DLM_LKF_INVVALBLK, false },
		{ 1, EX, VALBLK | DLM_LKF_INVVALBLK, true },
		{ 2, EX, VALBLK | DLM_LKF_INVVALBLK, true },
	};

	user_hold(&lab, &m, 1, "r", NL, 0);
	for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		uint8_t before = value(), new = (uint8_t)(100 + i);
		const struct kept *k;

		user_hold(&lab, &a, row[i].where, "r", row[i].mode, VALBLK);
		lab_clear(&lab);
		user_unlock(&lab, &a, row[i].flags, new);
		lab_run(&lab, 50);
		cr_assert_eq(a.done, DLM_NORMAL);
		cr_assert_eq(a.unlock_asts, 1);
		cr_assert_eq(value(), row[i].written ? new : before, "row %zu", i);
		k = lab_sent(&lab, DLM_UNLOCK_LOCK_MSG, 0, 0, 0);
		cr_assert_eq(!!k, row[i].where != 1);
		if (k)
			cr_assert_eq(k->len, row[i].written ? 144 : 80, "row %zu", i);
	}
}

/* U03 */
Test(unlock, value_goes_to_the_next_reader)
{
	struct dlm_wire_unlock w;
	const struct kept *k;

	user_hold(&lab, &m, 1, "r", NL, 0);
	user_hold(&lab, &a, 2, "r", EX, 0);
	user_lock(&lab, &b, 3, "r", PR, VALBLK);
	lab_run(&lab, 50);
	lab_clear(&lab);
	user_unlock(&lab, &a, VALBLK, 2);
	lab_run(&lab, 50);
	k = lab_sent(&lab, DLM_UNLOCK_LOCK_MSG, 2, 1, 0);
	cr_assert(k && k->len == 144);
	cr_assert_eq(dlm_get_unlock(k->payload, k->len, &w), 0);
	cr_assert_eq(w.flags, 0x20000100u);
	cr_assert_eq(b.asts, 1);
	cr_assert(b.has_lvb && b.lvb[0] == 2 && b.lvb[63] == 2);
	cr_assert_eq(lab_sent(&lab, DLM_PROXY_AST_MSG, 1, 3, 0)->len, 144);
}

/* A write happens once: unlock, then others write, nothing of the old one comes back. */
Test(unlock, value_is_written_once)
{
	user_hold(&lab, &m, 1, "r", NL, 0);
	for (int i = 1; i < 60; i++) {
		user_hold(&lab, &a, (node_t)(1 + i % 3), "r", EX, VALBLK);
		cr_assert_eq(a.lvb[0], i - 1);
		user_unlock(&lab, &a, VALBLK, (uint8_t)i);
		lab_run(&lab, 20);
	}
}

/* U10: dlm_cancel() has no flags; on the wire it is CANCEL and nothing else, 80 bytes. */
Test(unlock, cancel_carries_no_value)
{
	struct dlm_wire_unlock w;
	const struct kept *k;

	user_hold(&lab, &m, 1, "r", NL, 0);
	user_hold(&lab, &b, 3, "r", PR, 0);
	user_hold(&lab, &a, 2, "r", PR, VALBLK);
	user_convert(&lab, &a, EX, VALBLK, 0);
	lab_run(&lab, 50);
	lab_clear(&lab);
	user_cancel(&lab, &a);
	lab_run(&lab, 50);
	k = lab_sent(&lab, DLM_UNLOCK_LOCK_MSG, 2, 1, 0);
	cr_assert(k && k->len == 80);
	cr_assert_eq(dlm_get_unlock(k->payload, k->len, &w), 0);
	cr_assert_eq(w.flags, DLM_LKF_CANCEL);
	cr_assert_eq(a.unlock_status, DLM_NORMAL);
	cr_assert_eq(value(), 0);
}

/* U11 */
Test(unlock, unknown_flags_are_refused)
{
	user_hold(&lab, &m, 1, "r", NL, 0);
	user_hold(&lab, &a, 2, "r", PR, 0);
	lab_clear(&lab);
	user_unlock(&lab, &a, DLM_LKF_NOQUEUE, 0);
	lab_run(&lab, 50);
	cr_assert_eq(a.done, DLM_BADPARAM);
	cr_assert_eq(a.unlock_asts, 0);
	cr_assert_eq(lab.nr_sent, 0);
	cr_assert_eq(lab_queue(&lab, 1, "r", &a), 'G');
}

/* ---- what a peer may send (U32, U33, U17) -------------------------------------------- */

static int32_t send_unlock(node_t from, uint64_t cookie, uint32_t flags, uint8_t lvb, size_t cut)
{
	uint8_t buf[200] = { 0 };
	size_t len = flags & DLM_LKF_PUT_LVB ? 144 : 80;

	for (int i = 0; i < 8; i++)
		buf[i] = (uint8_t)(cookie >> (8 * (7 - i)));
	for (int i = 0; i < 4; i++)
		buf[8 + i] = (uint8_t)(flags >> (8 * (3 - i)));
	buf[14] = from;
	buf[15] = 1;
	buf[16] = 'r';
	memset(buf + 80, lvb, 64);
	return bed_ask(&lab.bed.n[1], from, DLM_UNLOCK_LOCK_MSG, buf, len - cut).status;
}

Test(unlock, flags_of_a_peer_that_make_no_sense)
{
	user_hold(&lab, &m, 1, "r", NL, 0);
	user_hold(&lab, &a, 2, "r", EX, 0);
	cr_assert_eq(send_unlock(2, a.lock->cookie, DLM_LKF_GET_LVB, 9, 0), DLM_BADARGS);
	cr_assert_eq(send_unlock(2, a.lock->cookie, DLM_LKF_PUT_LVB | DLM_LKF_CANCEL, 9, 0),
		     DLM_BADARGS);
	cr_assert_neq(send_unlock(2, a.lock->cookie, DLM_LKF_PUT_LVB | VALBLK, 9, 64), 0);
	cr_assert_eq(value(), 0);
	cr_assert_eq(lab_queue(&lab, 1, "r", &a), 'G');
	lab.no_check = true; /* node 2 still thinks it has what is given up in its name */
	/* U33: PUT_LVB without VALBLK */
	cr_assert_eq(send_unlock(2, a.lock->cookie, DLM_LKF_PUT_LVB, 9, 0), DLM_NORMAL);
	cr_assert_eq(value(), 0);
	/* VALBLK without the bytes; bytes from PR */
	user_hold(&lab, &a, 2, "r", EX, 0);
	lab_res(&lab, 1, "r")->lvb[0] = 3;
	cr_assert_eq(send_unlock(2, a.lock->cookie, VALBLK, 9, 0), DLM_NORMAL);
	cr_assert_eq(value(), 3);
	user_hold(&lab, &a, 3, "r", PR, 0);
	cr_assert_eq(send_unlock(3, a.lock->cookie, DLM_LKF_PUT_LVB | VALBLK, 9, 0), DLM_NORMAL);
	cr_assert_eq(value(), 3);
}

/* U17, U46: the AST is queued behind a slow peer's. */
Test(unlock, refused_while_its_ast_is_queued)
{
	user_hold(&lab, &m, 1, "r", NL, 0);
	user_hold(&lab, &c, 3, "r", NL, 0);
	user_hold(&lab, &b, 2, "r", NL, 0);
	lab_hold(&lab, DLM_PROXY_AST_MSG, 1, 3);
	user_convert(&lab, &c, PR, 0, 0);
	lab_run(&lab, 20);
	user_lock(&lab, &a, 2, "r", PR, 0);
	lab_run(&lab, 20);
	cr_assert_eq(a.asts, 0);
	cr_assert_eq(lab_queue(&lab, 1, "r", &a), 'G');
	cr_assert_eq(send_unlock(2, a.lock->cookie, DLM_LKF_CANCEL, 0, 0), DLM_CANCELGRANT);
	cr_assert_eq(send_unlock(2, a.lock->cookie, 0, 0, 0), DLM_BADPARAM);
	lab_release(&lab);
	lab_run(&lab, 20);
	cr_assert_eq(a.asts, 1);
	user_unlock(&lab, &a, 0, 0);
	lab_run(&lab, 20);
	cr_assert_eq(a.unlock_status, DLM_NORMAL);
}

/* The same at home: the owner's own lock whose AST waits its turn. */
Test(unlock, refused_while_the_own_ast_is_queued)
{
	user_hold(&lab, &m, 1, "r", NL, 0);
	user_hold(&lab, &b, 2, "r", NL, 0);
	lab_hold(&lab, DLM_PROXY_AST_MSG, 1, 2);
	user_convert(&lab, &b, PR, 0, 0);
	lab_run(&lab, 20);
	user_lock(&lab, &a, 1, "r", PR, 0);
	cr_assert_eq(a.done, DLM_NORMAL);
	cr_assert_eq(a.asts, 0);
	user_unlock(&lab, &a, 0, 0);
	cr_assert_eq(a.done, DLM_BADPARAM);
	user_cancel(&lab, &a);
	cr_assert_eq(a.unlock_status, DLM_CANCELGRANT);
	cr_assert_eq(a.asts, 0);
	lab_release(&lab);
	lab_run(&lab, 20);
	cr_assert_eq(a.asts, 1);
}

/* U45: the reply of an unlock was lost with the link, the peer repeats it. */
Test(unlock, repetition_is_taken_and_writes_nothing)
{
	uint64_t cookie;

	user_hold(&lab, &m, 1, "r", NL, 0);
	user_hold(&lab, &a, 2, "r", EX, 0);
	cookie = a.lock->cookie;
	user_unlock(&lab, &a, VALBLK, 3);
	lab_run(&lab, 20);
	user_hold(&lab, &b, 3, "r", EX, VALBLK);
	user_unlock(&lab, &b, VALBLK, 4);
	lab_run(&lab, 20);
	user_hold(&lab, &c, 2, "r", EX, 0);
	cr_assert_eq(send_unlock(2, cookie, DLM_LKF_PUT_LVB | VALBLK, 3, 0), DLM_NORMAL);
	cr_assert_eq(value(), 4);
	cr_assert_eq(lab_queue(&lab, 1, "r", &c), 'G');
	cr_assert_eq(send_unlock(2, cookie, DLM_LKF_CANCEL, 0, 0), DLM_IVLOCKID);
	cr_assert_eq(send_unlock(3, cookie, 0, 0, 0), DLM_IVLOCKID); /* not that node's */
	cr_assert_eq(send_unlock(2, cookie + 77, 0, 0, 0), DLM_IVLOCKID);
}

/* ---- the race of a cancel with the grant (U12 to U16) ---------------------------------- */

static void converting_behind_b(uint32_t flags)
{
	user_hold(&lab, &m, 1, "r", NL, 0);
	user_hold(&lab, &b, 3, "r", PR, 0);
	user_hold(&lab, &a, 2, "r", NL, 0);
	user_convert(&lab, &a, EX, flags, 0);
	lab_run(&lab, 20);
	cr_assert_eq(lab_queue(&lab, 1, "r", &a), 'C');
}

Test(unlock, cancel_before_the_grant_takes_it_back)
{
	converting_behind_b(0);
	lab_hold(&lab, DLM_UNLOCK_LOCK_MSG, 3, 1);
	user_unlock(&lab, &b, 0, 0);
	user_cancel(&lab, &a);
	lab_run(&lab, 20); /* the cancel is handled */
	lab_release(&lab);
	lab_run(&lab, 20);
	cr_assert_eq(a.unlock_status, DLM_NORMAL);
	cr_assert_eq(a.asts, 1);
	cr_assert_eq(lab_mode(&lab, 2, "r", &a), NL);
	cr_assert_eq(lab_mode(&lab, 1, "r", &a), NL);
}

/* U13 */
Test(unlock, grant_before_the_cancel_and_ast_before_its_reply)
{
	converting_behind_b(0);
	lab_hold(&lab, DLM_UNLOCK_LOCK_MSG, 2, 1);
	user_cancel(&lab, &a);
	user_unlock(&lab, &b, 0, 0);
	lab_run(&lab, 20);
	cr_assert_eq(a.asts, 2);
	cr_assert_eq(a.unlock_asts, 0);
	lab_release(&lab);
	lab_run(&lab, 20);
	cr_assert_eq(a.asts, 2);
	cr_assert_eq(a.unlock_asts, 1);
	cr_assert_eq(a.unlock_status, DLM_CANCELGRANT);
	cr_assert_lt(a.at_ast, a.at_unlock_ast);
	cr_assert_eq(lab_mode(&lab, 2, "r", &a), EX);
}

/* The AST overtook the answer to the cancel, and the caller gives the lock up at once. */
Test(unlock, unlock_behind_a_cancel_follows_it)
{
	converting_behind_b(0);
	lab_hold(&lab, DLM_UNLOCK_LOCK_MSG, 2, 1);
	user_cancel(&lab, &a);
	user_unlock(&lab, &b, 0, 0);
	lab_run(&lab, 20);
	cr_assert_eq(a.asts, 2);
	user_unlock(&lab, &a, 0, 0);
	lab_run(&lab, 20);
	cr_assert_eq(a.unlock_asts, 0);
	cr_assert_eq(lab_queue(&lab, 1, "r", &a), 'G');
	lab_release(&lab);
	lab_run(&lab, 20);
	cr_assert_eq(a.unlock_asts, 2);
	cr_assert_eq(a.done_call, DLM_CALL_UNLOCK);
	cr_assert_eq(a.done, DLM_NORMAL);
	cr_assert_eq(a.unlock_status, DLM_NORMAL);
	user_hold(&lab, &c, 3, "r", EX, 0); /* it is free at the owner as well */
}

/* U14: the value must still come with the AST that follows the 10. */
Test(unlock, cancel_too_late_keeps_the_wish_for_the_value)
{
	user_hold(&lab, &m, 1, "r", EX, 0);
	user_convert(&lab, &m, NL, VALBLK, 7);
	converting_behind_b(VALBLK);
	lab_hold(&lab, DLM_PROXY_AST_MSG, 1, 2);
	user_unlock(&lab, &b, 0, 0);
	lab_run(&lab, 20);
	cr_assert_eq(a.asts, 1);
	user_cancel(&lab, &a);
	lab_run(&lab, 20);
	cr_assert_eq(a.unlock_status, DLM_CANCELGRANT);
	cr_assert_eq(a.asts, 1);
	lab_release(&lab);
	lab_run(&lab, 20);
	cr_assert_eq(a.asts, 2);
	cr_assert_lt(a.at_unlock_ast, a.at_ast);
	cr_assert(a.has_lvb && a.lvb[0] == 7);
}

/* U15 */
Test(unlock, cancel_waits_for_the_answer_to_the_request)
{
	user_hold(&lab, &m, 1, "r", NL, 0);
	user_hold(&lab, &b, 3, "r", PR, 0);
	user_hold(&lab, &a, 2, "r", NL, 0);
	lab_hold(&lab, DLM_CONVERT_LOCK_MSG, 2, 1);
	user_convert(&lab, &a, EX, 0, 0);
	lab_run(&lab, 20);
	user_cancel(&lab, &a);
	lab_clear(&lab);
	lab_run(&lab, 20);
	cr_assert_eq(lab_count(&lab, DLM_UNLOCK_LOCK_MSG, 0, 0), 0);
	lab_release(&lab);
	lab_run(&lab, 20);
	cr_assert_eq(a.unlock_asts, 1);
	cr_assert_eq(a.unlock_status, DLM_NORMAL);
	cr_assert_eq(a.asts, 1);
	cr_assert_eq(a.dones, 3);
}

/* U16 */
Test(unlock, cancel_of_a_refused_conversion)
{
	user_hold(&lab, &m, 1, "r", NL, 0);
	user_hold(&lab, &b, 3, "r", PR, 0);
	user_hold(&lab, &a, 2, "r", NL, 0);
	lab_hold(&lab, DLM_CONVERT_LOCK_MSG, 2, 1);
	user_convert(&lab, &a, EX, DLM_LKF_NOQUEUE, 0);
	lab_run(&lab, 20);
	user_cancel(&lab, &a);
	lab_clear(&lab);
	lab_release(&lab);
	lab_run(&lab, 20);
	cr_assert_eq(lab_count(&lab, DLM_UNLOCK_LOCK_MSG, 0, 0), 0);
	cr_assert_eq(a.unlock_status, DLM_CANCELGRANT);
	cr_assert_eq(a.asts, 1);
}

/* U09: who waits behind a conversion that is taken back is looked at. */
Test(unlock, cancel_lets_the_next_one_in)
{
	user_hold(&lab, &m, 1, "r", NL, 0);
	user_hold(&lab, &b, 3, "r", PR, 0);
	user_hold(&lab, &a, 2, "r", PR, 0);
	user_convert(&lab, &a, EX, 0, 0);
	lab_run(&lab, 20);
	user_lock(&lab, &c, 1, "r", PR, 0);
	cr_assert_eq(c.asts, 0);
	user_cancel(&lab, &a);
	lab_run(&lab, 20);
	cr_assert_eq(c.asts, 1);
}

/* U08 */
Test(unlock, cancel_of_a_waiting_lock_leaves_room_for_a_new_one)
{
	user_hold(&lab, &m, 1, "r", NL, 0);
	user_hold(&lab, &b, 2, "r", EX, 0);
	user_lock(&lab, &a, 1, "r", PR, 0);
	user_cancel(&lab, &a);
	cr_assert_eq(a.unlock_status, DLM_NORMAL);
	cr_assert_eq(lab.bed.n[1].dom->stats.locks, 2);
	user_lock(&lab, &a, 1, "r", PR, 0);
	user_unlock(&lab, &b, 0, 0);
	lab_run(&lab, 20);
	cr_assert_eq(a.asts, 1);
}

/* ---- answers that mean: again (U18 to U21) ------------------------------------------------- */

static int answers; /* how often the owner still answers lab.arg */

static enum bed_fate answer_retry(struct lab *l, const struct bed_msg *msg)
{
	if (msg->type != DLM_UNLOCK_LOCK_MSG || answers == 0)
		return BED_DELIVER;
	answers--;
	dlm_sent(l->bed.n[msg->from].dlm, msg->token, 0, l->arg);
	return BED_LOSE; /* its second outcome meets an old token */
}

Test(unlock, forward_migrating_recovering_are_tried_again_after_50_ms)
{
	const int retry[] = { DLM_FORWARD, DLM_MIGRATING, DLM_RECOVERING };

	user_hold(&lab, &m, 1, "r", NL, 0);
	for (int i = 0; i < 3; i++) {
		uint64_t start;

		user_hold(&lab, &a, 2, "r", EX, 0);
		lab_clear(&lab);
		lab.verdict = answer_retry;
		lab.arg = retry[i];
		answers = 3;
		start = lab.bed.now;
		user_unlock(&lab, &a, VALBLK, (uint8_t)(i + 1));
		while (a.unlock_asts == 0 && lab.bed.now < start + 1000)
			lab_run(&lab, 1);
		cr_assert_eq(a.unlock_asts, 1);
		cr_assert_eq(a.unlock_status, DLM_NORMAL);
		cr_assert_eq(a.done, DLM_NORMAL);
		cr_assert_geq(lab.bed.now - start, 150);
		cr_assert_leq(lab.bed.now - start, 160);
		cr_assert_eq(lab_count(&lab, DLM_UNLOCK_LOCK_MSG, 2, 1), 4);
		cr_assert_eq(value(), i + 1);
		lab.verdict = NULL;
	}
}

/* U18, U20: the owner leaves while the unlock is on its way; it ends at the new owner. */
Test(unlock, follows_the_resource_to_its_new_owner)
{
	user_hold(&lab, &b, 3, "r", NL, 0);
	user_unlock(&lab, &b, 0, 0);
	lab_run(&lab, 20);
	user_hold(&lab, &c, 1, "r", NL, 0); /* the target: first foreign lock */
	user_hold(&lab, &a, 2, "r", EX, 0);
	lab_clear(&lab);
	lab_hold(&lab, DLM_ASSERT_MASTER_MSG, 1, 3);
	bed_leave(&lab.bed.n[3]);
	lab_run(&lab, 20);
	user_unlock(&lab, &a, VALBLK, 5);
	lab_run(&lab, 200);
	cr_assert_eq(a.unlock_asts, 0);
	lab_release(&lab);
	lab_run(&lab, 200);
	cr_assert_eq(a.unlock_asts, 1);
	cr_assert_eq(a.unlock_status, DLM_NORMAL);
	cr_assert_eq(value(), 5);
	lab_run(&lab, 2000);
	cr_assert(lab.bed.n[3].left);
}

static int kept_unlocks;

static enum bed_fate keep_unlock_to_1(struct lab *l, const struct bed_msg *msg)
{
	(void)l;
	if (msg->type != DLM_UNLOCK_LOCK_MSG || msg->to != 1)
		return BED_DELIVER;
	kept_unlocks++;
	return BED_KEEP;
}

/* The new owner is known before the 50 ms after a MIGRATING are over: it is asked then, and
 * not once more when they are. */
Test(unlock, asked_early_is_not_asked_again_when_the_time_comes)
{
	user_hold(&lab, &b, 3, "r", NL, 0);
	user_unlock(&lab, &b, 0, 0);
	lab_run(&lab, 20);
	user_hold(&lab, &c, 1, "r", NL, 0); /* the target */
	user_hold(&lab, &a, 2, "r", EX, 0);
	lab_hold(&lab, DLM_MIG_LOCKRES_MSG, 3, 1);
	bed_leave(&lab.bed.n[3]);
	lab_run(&lab, 1);
	lab_clear(&lab);
	kept_unlocks = 0;
	lab.verdict = keep_unlock_to_1;
	user_unlock(&lab, &a, VALBLK, 5);
	lab_run(&lab, 10);
	cr_assert_eq(lab_count(&lab, DLM_UNLOCK_LOCK_MSG, 2, 3), 1);
	lab_release(&lab);
	lab_run(&lab, 10);
	cr_assert_eq(kept_unlocks, 1);
	lab_run(&lab, 500);
	cr_assert_eq(kept_unlocks, 1);
	lab.verdict = NULL;
	lab_release(&lab);
	lab_run(&lab, 200);
	cr_assert_eq(a.unlock_asts, 1);
	cr_assert_eq(a.unlock_status, DLM_NORMAL);
	cr_assert_eq(value(), 5);
}

/* U19: this node becomes the owner meanwhile; then it is done here, value included. */
Test(unlock, done_here_if_this_node_is_the_owner_by_then)
{
	user_hold(&lab, &b, 3, "r", NL, 0);
	user_unlock(&lab, &b, 0, 0);
	lab_run(&lab, 20);
	user_hold(&lab, &a, 1, "r", EX, 0);
	lab_hold(&lab, DLM_ASSERT_MASTER_MSG, 1, 3);
	bed_leave(&lab.bed.n[3]);
	lab_run(&lab, 20);
	lab_clear(&lab);
	user_unlock(&lab, &a, VALBLK, 6);
	lab_run(&lab, 100);
	cr_assert_eq(a.unlock_asts, 0); /* no queue changes while it moves */
	cr_assert_eq(lab_queue(&lab, 1, "r", &a), 'G');
	lab_release(&lab);
	lab_run(&lab, 200);
	cr_assert_eq(lab_count(&lab, DLM_UNLOCK_LOCK_MSG, 0, 0), 0);
	cr_assert_eq(a.unlock_asts, 1);
	cr_assert_eq(value(), 6);
}

/* ---- links and deaths (U22 to U28) ------------------------------------------------------------
 */

static enum bed_fate lose_unlock(struct lab *l, const struct bed_msg *msg)
{
	if (msg->type != DLM_UNLOCK_LOCK_MSG || answers == 0)
		return BED_DELIVER;
	answers--;
	return l->arg ? BED_LOSE_REPLY : BED_LOSE;
}

/* U26, U27 */
Test(unlock, link_loss_before_and_after_it_was_handled)
{
	user_hold(&lab, &m, 1, "r", NL, 0);
	for (int handled = 0; handled < 2; handled++) {
		user_hold(&lab, &a, 2, "r", EX, 0);
		lab.verdict = lose_unlock;
		lab.arg = handled;
		answers = 1;
		lab_clear(&lab);
		user_unlock(&lab, &a, VALBLK, (uint8_t)(8 + handled));
		lab_run(&lab, 1000);
		cr_assert_eq(a.unlock_asts, 1);
		cr_assert_eq(a.done, DLM_NORMAL);
		cr_assert_eq(lab_count(&lab, DLM_UNLOCK_LOCK_MSG, 2, 1), 2);
		cr_assert_eq(value(), 8 + handled);
		cr_assert_eq(lab.bed.n[1].dom->stats.locks, 1);
	}
	lab.verdict = NULL;
}

/* A kernel owner remembers nothing: 11 to the repetition is success. */
Test(unlock, repetition_answered_11_is_done)
{
	user_hold(&lab, &m, 1, "r", NL, 0);
	user_hold(&lab, &a, 2, "r", EX, 0);
	lab.verdict = lose_unlock;
	lab.arg = 1;
	answers = 1;
	user_unlock(&lab, &a, 0, 0);
	lab_run(&lab, 20);
	memset(lab.bed.n[1].dom->gone_locks, 0, sizeof(lab.bed.n[1].dom->gone_locks));
	lab_run(&lab, 1000);
	cr_assert_eq(a.unlock_status, DLM_NORMAL);
	cr_assert_eq(a.unlock_asts, 1);
}

/* A cancel whose outcome is open: of a waiting lock, and of a conversion, handled or not. */
Test(unlock, link_loss_during_a_cancel)
{
	for (int handled = 0; handled < 2; handled++) {
		user_hold(&lab, &m, 1, "r", NL, 0);
		user_hold(&lab, &b, 3, "r", PR, 0);
		user_lock(&lab, &a, 2, "r", EX, 0);
		lab_run(&lab, 20);
		lab.verdict = lose_unlock;
		lab.arg = handled;
		answers = 1;
		user_cancel(&lab, &a);
		lab_run(&lab, 2000);
		cr_assert_eq(a.unlock_status, DLM_NORMAL, "handled %d: %d", handled,
			     a.unlock_status);
		cr_assert_eq(a.asts, 0);
		user_hold(&lab, &a, 2, "r", PR, 0);
		user_convert(&lab, &a, EX, 0, 0);
		lab_run(&lab, 20);
		answers = 1;
		user_cancel(&lab, &a);
		lab_run(&lab, 2000);
		cr_assert_eq(a.unlock_status, DLM_NORMAL);
		cr_assert_eq(a.unlock_asts, 1);
		cr_assert_eq(a.asts, 1);
		cr_assert_eq(lab_mode(&lab, 1, "r", &a), PR);
		lab.verdict = NULL;
		user_unlock(&lab, &a, 0, 0);
		user_unlock(&lab, &b, 0, 0);
		user_unlock(&lab, &m, 0, 0);
		lab_run(&lab, 20);
	}
}

/* Two nodes: the owner dies, the survivor is alone and recovers. */
static void two(void)
{
	lab_open(&lab, 2);
	user_hold(&lab, &m, 1, "r", NL, 0);
}

TestSuite(unlock_death, .init = two, .fini = over);

/* U22 */
Test(unlock_death, owner_dies_during_an_unlock)
{
	user_hold(&lab, &a, 2, "r", EX, 0);
	lab_hold(&lab, DLM_UNLOCK_LOCK_MSG, 2, 1);
	user_unlock(&lab, &a, VALBLK, 7);
	lab_run(&lab, 20);
	cr_assert_eq(a.unlock_asts, 0);
	lab_die(&lab, 1);
	lab_run(&lab, 1000);
	cr_assert_eq(a.done, DLM_NORMAL);
	cr_assert_eq(a.unlock_asts, 1);
	cr_assert_eq(a.unlock_status, DLM_NORMAL);
	user_hold(&lab, &b, 2, "r", PR, VALBLK);
	cr_assert(b.has_lvb && b.lvb[0] == 0);
}

/* U23 */
Test(unlock_death, owner_dies_during_a_cancel_of_a_conversion)
{
	user_convert(&lab, &m, PR, 0, 0);
	user_hold(&lab, &a, 2, "r", PR, 0);
	user_convert(&lab, &a, EX, 0, 0);
	lab_run(&lab, 20);
	lab_hold(&lab, DLM_UNLOCK_LOCK_MSG, 2, 1);
	user_cancel(&lab, &a);
	lab_run(&lab, 20);
	lab_die(&lab, 1);
	lab_run(&lab, 1000);
	cr_assert_eq(a.unlock_asts, 1);
	cr_assert_eq(a.unlock_status, DLM_NORMAL);
	cr_assert_eq(a.asts, 1);
	cr_assert_eq(lab_mode(&lab, 2, "r", &a), PR);
}

/* U24 */
Test(unlock_death, owner_dies_during_a_cancel_of_a_waiting_lock)
{
	user_convert(&lab, &m, PR, 0, 0);
	user_lock(&lab, &a, 2, "r", EX, 0);
	lab_run(&lab, 20);
	lab_hold(&lab, DLM_UNLOCK_LOCK_MSG, 2, 1);
	user_cancel(&lab, &a);
	lab_run(&lab, 20);
	lab_die(&lab, 1);
	lab_run(&lab, 1000);
	cr_assert_eq(a.unlock_asts, 1);
	cr_assert_eq(a.unlock_status, DLM_NORMAL);
	cr_assert_eq(a.asts, 0);
	cr_assert_eq(lab.bed.n[2].dom->stats.locks, 0);
}

/* U25 */
Test(unlock_death, ast_came_during_the_cancel_then_the_owner_dies)
{
	user_convert(&lab, &m, PR, 0, 0);
	user_hold(&lab, &a, 2, "r", PR, 0);
	user_convert(&lab, &a, EX, 0, 0);
	lab_run(&lab, 20);
	lab_hold(&lab, DLM_UNLOCK_LOCK_MSG, 2, 1);
	user_cancel(&lab, &a);
	user_unlock(&lab, &m, 0, 0);
	lab_run(&lab, 20);
	cr_assert_eq(a.asts, 2);
	lab_die(&lab, 1);
	lab_run(&lab, 1000);
	cr_assert_eq(a.unlock_asts, 1);
	cr_assert_eq(a.unlock_status, DLM_CANCELGRANT);
	cr_assert_eq(lab_mode(&lab, 2, "r", &a), EX);
}

/* U28 */
Test(unlock_death, link_breaks_and_then_the_owner_dies)
{
	user_hold(&lab, &a, 2, "r", EX, 0);
	lab.verdict = lose_unlock;
	lab.arg = 1;
	answers = 1;
	user_unlock(&lab, &a, 0, 0);
	lab_run(&lab, 20);
	lab_die(&lab, 1);
	lab_run(&lab, 1000);
	cr_assert_eq(a.unlock_asts, 1);
	cr_assert_eq(lab.bed.n[2].dom->stats.locks, 0);
}

/* ---- what is left behind -----------------------------------------------------------------------
 */

/* U29: a BAST of a lock comes before its unlock AST, or never. */
Test(unlock, no_bast_after_the_unlock_ast)
{
	user_hold(&lab, &m, 1, "r", EX, 0);
	user_hold(&lab, &c, 2, "q", NL, 0);
	lab_hold(&lab, DLM_PROXY_AST_MSG, 1, 2);
	user_lock(&lab, &b, 2, "r", NL, 0); /* its AST keeps the resource's deliveries busy */
	lab_run(&lab, 20);
	user_lock(&lab, &a, 3, "r", PR, 0);
	lab_run(&lab, 20);
	cr_assert_eq(m.basts, 0); /* queued */
	user_unlock(&lab, &m, 0, 0);
	cr_assert_eq(m.unlock_asts, 1);
	lab_release(&lab);
	lab_run(&lab, 20);
	cr_assert_eq(m.basts, 0);
	cr_assert_eq(a.asts, 1);
}

/* U31: a late BAST for a lock, then for a resource, that is gone. */
Test(unlock, late_bast_is_harmless)
{
	struct dlm_wire_ast w = { .node = 1, .type = DLM_WIRE_BAST, .blocked = EX,
				  .name = dlm_name_make("r", 1) };
	uint8_t buf[200];
	size_t len;

	user_hold(&lab, &m, 1, "r", NL, 0);
	user_hold(&lab, &b, 2, "r", NL, 0);
	user_hold(&lab, &a, 2, "r", EX, 0);
	w.cookie = a.lock->cookie;
	len = dlm_put_ast(&w, buf, sizeof(buf));
	user_unlock(&lab, &a, 0, 0);
	lab_run(&lab, 20);
	cr_assert_eq(bed_ask(&lab.bed.n[2], 1, DLM_PROXY_AST_MSG, buf, len).status, DLM_NORMAL);
	user_unlock(&lab, &b, 0, 0);
	lab_run(&lab, 20000);
	cr_assert_null(lab_res(&lab, 2, "r"));
	cr_assert_eq(bed_ask(&lab.bed.n[2], 1, DLM_PROXY_AST_MSG, buf, len).status, DLM_IVLOCKID);
	cr_assert_eq(a.basts, 0);
}

/* U01: unused resources go, everywhere, after the purge age and not before. */
Test(unlock, unused_resources_are_purged)
{
	user_hold(&lab, &m, 1, "r", EX, 0);
	user_hold(&lab, &a, 2, "q", NL, 0);
	user_unlock(&lab, &m, 0, 0);
	user_hold(&lab, &b, 3, "q", NL, 0);
	user_unlock(&lab, &b, 0, 0);
	lab_run(&lab, 7500);
	cr_assert(lab_res(&lab, 1, "r"));
	cr_assert(lab_res(&lab, 3, "q"));
	lab_run(&lab, 2500);
	cr_assert_null(lab_res(&lab, 1, "r"));
	cr_assert_null(lab_res(&lab, 3, "q"));
	cr_assert(lab_res(&lab, 2, "q"));
	cr_assert_eq(lab_count(&lab, DLM_DEREF_LOCKRES_MSG, 3, 2), 1);
	user_unlock(&lab, &a, 0, 0);
	lab_run(&lab, 10000);
	cr_assert_null(lab_res(&lab, 2, "q"));
	for (int i = 1; i <= 3; i++)
		cr_assert_eq(lab.bed.n[i].dom->stats.resources, 0);
}

/* U39: two locks of one node on one resource do not mix up. */
Test(unlock, beside_an_open_create_of_the_same_node)
{
	user_hold(&lab, &m, 1, "r", NL, 0);
	user_hold(&lab, &a, 2, "r", PR, 0);
	lab_hold(&lab, DLM_CREATE_LOCK_MSG, 2, 1);
	user_lock(&lab, &b, 2, "r", PR, 0);
	lab_run(&lab, 20);
	user_unlock(&lab, &a, 0, 0);
	lab_run(&lab, 20);
	cr_assert_eq(a.unlock_asts, 1);
	lab_release(&lab);
	lab_run(&lab, 20);
	cr_assert_eq(b.asts, 1);
	cr_assert_eq(lab_queue(&lab, 1, "r", &b), 'G');
}
