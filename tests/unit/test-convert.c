/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test-convert.c: new locks and conversions (doc/spec/dlm.md 3.4, 3.5, 4.1 to 4.3, 12.6).
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

static void three(void)
{
	lab_open(&lab, 3);
	user_hold(&lab, &m, 1, "r", NL, 0);
}

static void over(void)
{
	lab_close(&lab);
}

TestSuite(convert, .init = three, .fini = over);

static int32_t send_lock(uint16_t type, node_t from, uint64_t cookie, int mode, uint32_t flags)
{
	struct dlm_wire_lock w = { .cookie = cookie, .flags = flags, .node = from,
				   .mode = (int8_t)mode, .name = dlm_name_make("r", 1) };
	uint8_t buf[200];
	size_t len = type == DLM_CREATE_LOCK_MSG ? dlm_put_create(&w, buf, sizeof(buf)) :
						   dlm_put_convert(&w, buf, sizeof(buf));

	return bed_ask(&lab.bed.n[1], from, type, buf, len).status;
}

/* Every pair of modes, the holder here or there, the one who asks here or there. */
Test(convert, compatibility_of_new_locks)
{
	const int modes[] = { NL, PR, EX };

	for (int i = 0; i < 36; i++) {
		int held = modes[i % 3], asked = modes[i / 3 % 3];
		bool granted = dlm_mode_compatible(held, asked);

		user_hold(&lab, &a, (node_t)(1 + i / 9 % 2), "r", held, 0);
		user_lock(&lab, &b, (node_t)(1 + i / 18 % 2), "r", asked, DLM_LKF_NOQUEUE);
		lab_run(&lab, 20);
		cr_assert_eq(b.done, granted ? DLM_NORMAL : DLM_NOTQUEUED, "%d %d", held, asked);
		cr_assert_eq(b.asts, granted);
		if (granted)
			user_unlock(&lab, &b, 0, 0);
		user_unlock(&lab, &a, 0, 0);
		lab_run(&lab, 20);
	}
}

Test(convert, bad_requests_are_refused_and_leave_nothing)
{
	struct dlm_lock *l;

	user_lock(&lab, &a, 1, "r", 4, 0);
	cr_assert_eq(a.done, DLM_BADPARAM);
	user_lock(&lab, &a, 1, "r", EX, 0x10);
	cr_assert_eq(a.done, DLM_BADPARAM);
	cr_assert_eq(dlm_lock(lab.bed.n[1].dom, "", 0, EX, 0, &user_ops, &a, &l), -EINVAL);
	cr_assert_eq(dlm_lock(lab.bed.n[1].dom, "123456789012345678901234567890123", 33, EX, 0,
			      &user_ops, &a, &l), -EINVAL);
	user_convert(&lab, &m, 1, 0, 0);
	cr_assert_eq(m.done, DLM_BADPARAM);
	user_convert(&lab, &m, PR, DLM_LKF_LOCAL, 0);
	cr_assert_eq(m.done, DLM_BADPARAM);
	cr_assert_eq(lab.bed.n[1].dom->stats.locks, 1);
	cr_assert_eq(lab.bed.n[1].dom->stats.resources, 1);
}

Test(convert, second_conversion_of_a_lock_is_denied)
{
	for (node_t n = 1; n <= 2; n++) {
		user_hold(&lab, &b, 3, "r", PR, 0);
		user_hold(&lab, &a, n, "r", NL, 0);
		user_convert(&lab, &a, EX, 0, 0);
		lab_run(&lab, 20);
		user_convert(&lab, &a, PR, 0, 0);
		cr_assert_eq(a.done, DLM_DENIED);
		user_lock(&lab, &c, n, "r", EX, 0);
		lab_run(&lab, 20);
		user_convert(&lab, &c, PR, 0, 0);
		cr_assert_eq(c.done, DLM_DENIED);
		user_cancel(&lab, &c);
		user_unlock(&lab, &b, 0, 0);
		lab_run(&lab, 20);
		cr_assert_eq(a.asts, 2);
		user_unlock(&lab, &a, 0, 0);
		lab_run(&lab, 20);
	}
}

/* Down is granted in place even while others wait; up waits for everyone in the way. */
Test(convert, down_at_once_up_in_turn)
{
	user_hold(&lab, &a, 2, "r", EX, 0);
	user_lock(&lab, &b, 3, "r", EX, 0);
	lab_run(&lab, 20);
	user_convert(&lab, &a, PR, 0, 0);
	lab_run(&lab, 20);
	cr_assert_eq(a.asts, 2);
	cr_assert_eq(b.asts, 0);
	user_convert(&lab, &a, EX, 0, 0); /* the blocked lock does not matter */
	lab_run(&lab, 20);
	cr_assert_eq(a.asts, 3);
	cr_assert_eq(b.asts, 0);
	user_convert(&lab, &a, NL, 0, 0);
	lab_run(&lab, 20);
	cr_assert_eq(b.asts, 1);
}

Test(convert, ex_waits_for_every_reader)
{
	user_hold(&lab, &a, 2, "r", PR, 0);
	user_hold(&lab, &b, 3, "r", PR, 0);
	user_hold(&lab, &c, 1, "r", PR, 0);
	user_convert(&lab, &c, EX, 0, 0);
	lab_run(&lab, 20);
	cr_assert_eq(a.basts, 1);
	cr_assert_eq(b.basts, 1);
	user_convert(&lab, &a, NL, 0, 0);
	lab_run(&lab, 20);
	cr_assert_eq(c.asts, 1);
	user_unlock(&lab, &b, 0, 0);
	lab_run(&lab, 20);
	cr_assert_eq(c.asts, 2);
}

Test(convert, granted_in_queue_order)
{
	user_hold(&lab, &a, 1, "r", EX, 0);
	user_hold(&lab, &b, 2, "r", NL, 0);
	user_hold(&lab, &c, 3, "r", NL, 0);
	user_convert(&lab, &c, EX, 0, 0);
	lab_run(&lab, 20);
	user_convert(&lab, &b, EX, 0, 0);
	lab_run(&lab, 20);
	user_unlock(&lab, &a, 0, 0);
	lab_run(&lab, 20);
	cr_assert_eq(c.asts, 2);
	cr_assert_eq(b.asts, 1);
	user_convert(&lab, &c, NL, 0, 0);
	lab_run(&lab, 20);
	cr_assert_eq(b.asts, 2);
}

/* 21: nothing changed, nobody was bothered, and a later request works (U37 without LVB). */
Test(convert, noqueue_refused_changes_nothing)
{
	user_hold(&lab, &b, 3, "r", PR, 0);
	for (node_t n = 1; n <= 2; n++) {
		user_hold(&lab, &a, n, "r", NL, 0);
		user_convert(&lab, &a, EX, DLM_LKF_NOQUEUE, 0);
		lab_run(&lab, 20);
		cr_assert_eq(a.done, DLM_NOTQUEUED);
		cr_assert_eq(a.asts, 1);
		cr_assert_eq(b.basts, 0);
		cr_assert_eq(lab_mode(&lab, 1, "r", &a), NL);
		cr_assert_eq(lab_queue(&lab, n, "r", &a), 'G');
		user_convert(&lab, &a, PR, DLM_LKF_NOQUEUE, 0);
		lab_run(&lab, 20);
		cr_assert_eq(a.asts, 2);
	}
}

/* The flags on the wire (3.5). */
Test(convert, flags_on_the_wire)
{
	struct { int from, to; uint32_t flags, wire; size_t len; } row[] = {
		{ NL, EX, VALBLK, 0x40000500, 80 },  { EX, PR, VALBLK, 0x20000500, 144 },
		{ PR, EX, VALBLK, 0x40000500, 80 },  { EX, NL, VALBLK, 0x20000500, 144 },
		{ NL, PR, VALBLK, 0x40000500, 80 },  { PR, NL, VALBLK, 0x400, 80 },
		{ NL, NL, VALBLK, 0x400, 80 },	     { NL, EX, 0, 0x400, 80 },
		{ EX, EX, VALBLK, 0x20000500, 144 }, { EX, NL, 0, 0x400, 80 },
		{ NL, EX, VALBLK | DLM_LKF_NOQUEUE, 0x40000700, 80 },
	};

	user_hold(&lab, &a, 2, "r", NL, 0);
	for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		struct dlm_wire_lock w;
		const struct kept *k;

		cr_assert_eq(lab_mode(&lab, 2, "r", &a), row[i].from);
		lab_clear(&lab);
		user_convert(&lab, &a, row[i].to, row[i].flags, 1);
		lab_run(&lab, 20);
		k = lab_sent(&lab, DLM_CONVERT_LOCK_MSG, 2, 1, 0);
		cr_assert_eq(k->len, row[i].len, "row %zu", i);
		cr_assert_eq(dlm_get_convert(k->payload, k->len, &w), 0);
		cr_assert_eq(w.flags, row[i].wire, "row %zu: %x", i, w.flags);
		cr_assert_eq(lab_count(&lab, DLM_PROXY_AST_MSG, 1, 2), 1);
	}
}

/* What a peer may not do, and what it may repeat. */
Test(convert, requests_of_a_peer_out_of_state)
{
	user_hold(&lab, &b, 3, "r", PR, 0);
	user_hold(&lab, &a, 2, "r", NL, 0);
	cr_assert_eq(send_lock(DLM_CONVERT_LOCK_MSG, 2, a.lock->cookie + 1, EX, 0x400),
		     DLM_IVLOCKID);
	cr_assert_eq(send_lock(DLM_CONVERT_LOCK_MSG, 3, a.lock->cookie, EX, 0x400), DLM_IVLOCKID);
	user_convert(&lab, &a, EX, 0, 0);
	lab_run(&lab, 20);
	/* on converting: to that mode it is a repetition, to another an error */
	cr_assert_eq(send_lock(DLM_CONVERT_LOCK_MSG, 2, a.lock->cookie, EX, 0x400), DLM_NORMAL);
	cr_assert_eq(send_lock(DLM_CONVERT_LOCK_MSG, 2, a.lock->cookie, PR, 0x400), DLM_IVLOCKID);
	cr_assert_eq(lab_queue(&lab, 1, "r", &a), 'C');
	user_lock(&lab, &c, 2, "r", EX, 0);
	lab_run(&lab, 20);
	cr_assert_eq(send_lock(DLM_CONVERT_LOCK_MSG, 2, c.lock->cookie, PR, 0x400), DLM_IVLOCKID);
	/* a CREATE repeated with its cookie is the same lock */
	cr_assert_eq(send_lock(DLM_CREATE_LOCK_MSG, 2, c.lock->cookie, EX, 0), DLM_NORMAL);
	cr_assert_eq(lab.bed.n[1].dom->stats.locks, 4);
	user_cancel(&lab, &c);
	user_cancel(&lab, &a);
	lab_run(&lab, 20);
}

/* A node that is not the owner, or does not know the name. */
Test(convert, requests_to_a_wrong_node)
{
	struct dlm_wire_lock w = { .cookie = 0x0300000000000001, .node = 3, .mode = PR,
				   .name = dlm_name_make("r", 1) };
	uint8_t buf[200];
	size_t len = dlm_put_create(&w, buf, sizeof(buf));

	user_hold(&lab, &a, 2, "r", NL, 0);
	cr_assert_eq(bed_ask(&lab.bed.n[2], 3, DLM_CREATE_LOCK_MSG, buf, len).status, DLM_FORWARD);
	cr_assert_eq(bed_ask(&lab.bed.n[3], 1, DLM_CREATE_LOCK_MSG, buf, len).status, DLM_BADPARAM);
	w.name = dlm_name_make("s", 1);
	len = dlm_put_create(&w, buf, sizeof(buf));
	cr_assert_eq(bed_ask(&lab.bed.n[2], 3, DLM_CREATE_LOCK_MSG, buf, len).status, DLM_FORWARD);
}

/* ---- retries --------------------------------------------------------------------------- */

static int answers;
static uint16_t answer_type;

static enum bed_fate answer_retry(struct lab *l, const struct bed_msg *msg)
{
	if (msg->type != answer_type || answers == 0)
		return BED_DELIVER;
	answers--;
	dlm_sent(l->bed.n[msg->from].dlm, msg->token, 0, l->arg);
	return BED_LOSE;
}

Test(convert, forward_migrating_recovering_are_tried_again_after_100_ms)
{
	const int retry[] = { DLM_FORWARD, DLM_MIGRATING, DLM_RECOVERING };

	user_hold(&lab, &b, 2, "r", NL, 0);
	for (int i = 0; i < 6; i++) {
		uint64_t start = lab.bed.now;

		answer_type = i < 3 ? DLM_CREATE_LOCK_MSG : DLM_CONVERT_LOCK_MSG;
		lab.verdict = answer_retry;
		lab.arg = retry[i % 3];
		answers = 2;
		lab_clear(&lab);
		if (i < 3)
			user_lock(&lab, &a, 2, "r", PR, 0);
		else
			user_convert(&lab, &b, i % 2 ? PR : NL, 0, 0);
		lab_run(&lab, 195);
		cr_assert_eq(i < 3 ? a.done : b.done, -1);
		lab_run(&lab, 20);
		cr_assert_eq(i < 3 ? a.done : b.done, DLM_NORMAL);
		cr_assert_eq(lab_count(&lab, answer_type, 2, 1), 3);
		cr_assert_geq(lab.bed.now - start, 200);
		if (i < 3)
			cr_assert_eq(a.asts, 1);
		lab.verdict = NULL;
	}
}

/* ---- link loss without death (12.6) -------------------------------------------------------- */

static enum bed_fate lose(struct lab *l, const struct bed_msg *msg)
{
	if (msg->type != answer_type || answers == 0)
		return BED_DELIVER;
	answers--;
	return l->arg ? BED_LOSE_REPLY : BED_LOSE;
}

static void losing(uint16_t type, bool handled)
{
	answer_type = type;
	answers = 1;
	lab.arg = handled;
	lab.verdict = lose;
}

/* Before a request is sent again, a CANCEL has asked what became of it. */
static void asked_by_cancel(uint16_t type)
{
	bool asked = false, first = true;

	for (int i = 0; i < lab.nr_sent; i++) {
		const struct kept *k = &lab.sent[i];

		if (k->type == DLM_UNLOCK_LOCK_MSG && k->payload[10] == 0x20)
			asked = true;
		cr_assert(k->type != type || first || asked, "%s sent again unasked",
			  dlm_msg_name(type));
		if (k->type == type)
			first = false;
	}
}

/* One call is one lock, whether the CREATE was handled or not, granted or waiting. */
Test(convert, create_with_an_open_outcome)
{
	for (int i = 0; i < 4; i++) {
		bool handled = i & 1, waits = i & 2;

		if (waits)
			user_hold(&lab, &b, 3, "r", EX, 0);
		user_hold(&lab, &c, 2, "r", NL, 0);
		losing(DLM_CREATE_LOCK_MSG, handled);
		lab_clear(&lab);
		user_lock(&lab, &a, 2, "r", PR, 0);
		lab_run(&lab, 3000);
		asked_by_cancel(DLM_CREATE_LOCK_MSG);
		if (waits) {
			cr_assert_eq(a.asts, 0);
			cr_assert_eq(a.done, DLM_NORMAL);
			user_unlock(&lab, &b, 0, 0);
			lab_run(&lab, 20);
		}
		cr_assert_eq(a.asts, 1, "%d", i);
		cr_assert_eq(a.dones, 1);
		cr_assert_eq(lab_queue(&lab, 1, "r", &a), 'G');
		cr_assert_eq(lab.bed.n[1].dom->stats.locks, 3);
		lab.verdict = NULL;
		user_unlock(&lab, &a, 0, 0);
		user_unlock(&lab, &c, 0, 0);
		lab_run(&lab, 20);
		cr_assert_eq(lab.bed.n[1].dom->stats.locks, 1);
	}
}

/* The same for a conversion, up and waiting, up and granted, down; the value is not believed. */
Test(convert, convert_with_an_open_outcome)
{
	for (int i = 0; i < 6; i++) {
		bool handled = i & 1, waits = i / 2 == 0, down = i / 2 == 2;

		user_hold(&lab, &a, 2, "r", down ? EX : NL, 0);
		if (waits)
			user_hold(&lab, &b, 3, "r", EX, 0);
		losing(DLM_CONVERT_LOCK_MSG, handled);
		lab_clear(&lab);
		user_convert(&lab, &a, down ? NL : PR, VALBLK, 5);
		lab_run(&lab, 3000);
		asked_by_cancel(DLM_CONVERT_LOCK_MSG);
		if (waits) {
			cr_assert_eq(a.asts, 1);
			user_unlock(&lab, &b, 0, 0);
			lab_run(&lab, 20);
		}
		cr_assert_eq(a.asts, 2, "%d", i);
		cr_assert_eq(a.dones, 2);
		cr_assert_eq(lab_mode(&lab, 1, "r", &a), down ? NL : PR);
		cr_assert_eq(lab_mode(&lab, 2, "r", &a), down ? NL : PR);
		lab.verdict = NULL;
		user_unlock(&lab, &a, 0, 0);
		lab_run(&lab, 20);
	}
}

/*
 * CREATE and its AST are both lost, the lock is granted at the owner. The holder gives it
 * back to ask anew; an AST that is repeated meanwhile is for the lock that goes.
 */
static enum bed_fate lose_create_and_ast(struct lab *l, const struct bed_msg *msg)
{
	if (msg->type == DLM_CREATE_LOCK_MSG && l->arg & 1) {
		l->arg &= ~1;
		return BED_LOSE_REPLY;
	}
	if (msg->type == DLM_PROXY_AST_MSG && l->arg & 2) {
		l->arg &= ~2;
		return BED_LOSE;
	}
	if (msg->type == DLM_UNLOCK_LOCK_MSG && msg->payload[10] == 0 && l->arg & 4) {
		l->arg &= ~4;
		return BED_KEEP; /* the plain unlock is under way */
	}
	return BED_DELIVER;
}

Test(convert, ast_repeated_while_the_lock_is_given_back)
{
	user_hold(&lab, &c, 2, "r", NL, 0);
	lab.verdict = lose_create_and_ast;
	lab.arg = 7;
	user_lock(&lab, &a, 2, "r", EX, 0);
	lab_until(&lab, DLM_PROXY_AST_MSG);
	/* The owner repeats the AST after 200 ms; so does the holder its question. Keep the
	 * AST back until the plain unlock is on its way. */
	lab_one(&lab);
	lab_hold(&lab, DLM_PROXY_AST_MSG, 1, 2);
	lab_run(&lab, 300);
	cr_assert_eq(lab.arg, 0);
	cr_assert_eq(a.asts, 0);
	{
		struct bed_msg **q = &lab.bed.kept;

		while (*q && (*q)->type != DLM_PROXY_AST_MSG)
			q = &(*q)->next;
		cr_assert(*q, "no AST was repeated");
		struct bed_msg *ast = *q;

		*q = ast->next; /* the AST overtakes: the unlock stays kept */
		ast->next = lab.bed.queue;
		lab.bed.queue = ast;
		lab.hold_type = 0;
		lab_run(&lab, 20);
	}
	cr_assert_eq(a.asts, 0);
	lab_release(&lab);
	lab_run(&lab, 1000);
	cr_assert_eq(a.asts, 1);
	cr_assert_eq(a.dones, 1);
	cr_assert_eq(lab_queue(&lab, 1, "r", &a), 'G');
	cr_assert_eq(lab_queue(&lab, 2, "r", &a), 'G');
}

/* A question (CANCEL) is no proof that the AST came: it is repeated all the same. */
Test(convert, cancel_does_not_stop_the_repetition_of_an_ast)
{
	uint8_t buf[200];
	struct dlm_wire_unlock w = { .node = 2, .flags = DLM_LKF_CANCEL,
				     .name = dlm_name_make("r", 1) };

	user_hold(&lab, &c, 2, "r", NL, 0);
	lab.verdict = lose_create_and_ast;
	lab.arg = 2;
	user_lock(&lab, &a, 2, "r", EX, 0);
	lab_run(&lab, 20);
	cr_assert_eq(a.asts, 0);
	w.cookie = a.lock->cookie;
	cr_assert_eq(bed_ask(&lab.bed.n[1], 2, DLM_UNLOCK_LOCK_MSG, buf,
			     dlm_put_unlock(&w, buf, sizeof(buf))).status, DLM_CANCELGRANT);
	lab_run(&lab, 500);
	cr_assert_eq(a.asts, 1);
}

/* A conversion to the held mode is no upconversion: it does not wait for those who do. */
Test(convert, held_mode_is_granted_beside_a_waiting_conversion)
{
	user_hold(&lab, &a, 2, "r", PR, 0);
	user_hold(&lab, &b, 3, "r", PR, 0);
	user_convert(&lab, &b, EX, 0, 0);
	lab_run(&lab, 20);
	user_convert(&lab, &a, PR, 0, 0);
	lab_run(&lab, 20);
	cr_assert_eq(a.asts, 2);
	cr_assert_eq(b.asts, 1);
}

/* VALBLK of a peer without the bytes writes nothing. */
Test(convert, value_must_come_along)
{
	user_hold(&lab, &a, 2, "r", EX, 0);
	lab_res(&lab, 1, "r")->lvb[0] = 3;
	cr_assert_eq(send_lock(DLM_CONVERT_LOCK_MSG, 2, a.lock->cookie, PR, 0x400 | VALBLK),
		     DLM_NORMAL);
	cr_assert_eq(lab_res(&lab, 1, "r")->lvb[0], 3);
	lab.no_check = true;
	lab_run(&lab, 20);
	lab.no_check = false;
	user_convert(&lab, &a, PR, 0, 0); /* node 2 agrees again */
	lab_run(&lab, 20);
}

/* ---- the owner dies ------------------------------------------------------------------------- */

static void two(void)
{
	lab_open(&lab, 2);
	user_hold(&lab, &m, 1, "r", NL, 0);
}

TestSuite(convert_death, .init = two, .fini = over);

/* R10 */
Test(convert_death, create_is_repeated_at_the_new_owner)
{
	user_hold(&lab, &b, 2, "r", NL, 0);
	lab_hold(&lab, DLM_CREATE_LOCK_MSG, 2, 1);
	user_lock(&lab, &a, 2, "r", EX, 0);
	lab_run(&lab, 20);
	lab_die(&lab, 1);
	lab_run(&lab, 1000);
	cr_assert_eq(a.done, DLM_NORMAL);
	cr_assert_eq(a.dones, 1);
	cr_assert_eq(a.asts, 1);
	cr_assert_eq(lab.bed.n[2].evicted, 1);
}

/* U44 in small, R11 */
Test(convert_death, conversion_is_reverted_and_repeated)
{
	user_hold(&lab, &a, 2, "r", EX, 0);
	lab_hold(&lab, DLM_CONVERT_LOCK_MSG, 2, 1);
	user_convert(&lab, &a, PR, VALBLK, 8);
	lab_run(&lab, 20);
	lab_die(&lab, 1);
	lab_run(&lab, 1000);
	cr_assert_eq(a.asts, 2);
	cr_assert_eq(a.dones, 2);
	user_hold(&lab, &b, 2, "r", PR, VALBLK);
	cr_assert_eq(b.lvb[0], 8);
}

/* Accepted and waiting when the owner dies: granted by the survivor. */
Test(convert_death, waiting_requests_are_granted_by_the_survivor)
{
	user_convert(&lab, &m, EX, 0, 0);
	user_hold(&lab, &b, 2, "r", NL, 0);
	user_lock(&lab, &a, 2, "r", PR, VALBLK);
	user_convert(&lab, &b, PR, 0, 0);
	lab_run(&lab, 20);
	cr_assert_eq(a.asts, 0);
	lab_die(&lab, 1);
	lab_run(&lab, 1000);
	cr_assert_eq(a.asts, 1);
	cr_assert_eq(b.asts, 2);
	cr_assert(a.has_lvb && a.lvb[0] == 0);
}

/* U40: the owner lives; what the dead node blocked is granted, the value is void. */
Test(convert_death, holder_dies_and_the_waiter_gets_it)
{
	user_hold(&lab, &a, 2, "r", EX, 0);
	user_lock(&lab, &b, 1, "r", PR, VALBLK);
	lab_run(&lab, 20);
	cr_assert_eq(b.asts, 0);
	lab_die(&lab, 2);
	cr_assert_eq(lab.bed.n[1].evicted, 2);
	cr_assert_eq(b.asts, 1);
	cr_assert_eq(lab.bed.n[1].dom->stats.locks, 2);
	cr_assert(dlm_map_empty(dlm_refs(lab_res(&lab, 1, "r"))));
	cr_assert(dlm_map_empty(&lab.bed.n[1].dom->recovery));
}

/* Nothing is granted where the dead node had a lock, until the recovery is over. */
Test(convert, death_among_three_holds_what_the_dead_node_touched)
{
	user_hold(&lab, &a, 3, "r", EX, 0);
	user_lock(&lab, &b, 2, "r", PR, 0);
	lab_run(&lab, 20);
	lab_hold(&lab, DLM_FINALIZE_RECO_MSG, 0, 0);
	bed_die(&lab.bed, 3);
	lab_run(&lab, 2000);
	cr_assert_eq(lab.bed.n[1].evicted, 3);
	cr_assert_eq(lab.bed.n[2].evicted, 3);
	cr_assert_eq(b.asts, 0);
	cr_assert(lab_res(&lab, 1, "r")->state & DLM_RES_RECOVERY_WAITING);
	user_unlock(&lab, &m, 0, 0); /* an unlock goes on */
	cr_assert_eq(m.unlock_asts, 1);
	cr_assert(dlm_map_test(&lab.bed.n[1].dom->recovery, 3));
	lab_release(&lab);
	lab_run(&lab, 1000);
	cr_assert_eq(b.asts, 1);
	cr_assert(dlm_map_empty(&lab.bed.n[1].dom->recovery));
	cr_assert(dlm_map_empty(&lab.bed.n[2].dom->recovery));
}

static enum bed_fate lose_convert_once(struct lab *l, const struct bed_msg *msg)
{
	l->bed.loss = -ENOTCONN;
	return msg->type == DLM_CONVERT_LOCK_MSG && l->arg-- > 0 ? BED_LOSE : BED_DELIVER;
}

/* 12.6: whether the first one was handled is not known. If it was, the lock is at EX over
 * there, and VALBLK would write instead of read: the value counts as zeros. */
Test(convert, to_EX_in_doubt_does_not_ask_for_the_value)
{
	struct dlm_wire_lock w;
	const struct kept *k;

	user_hold(&lab, &b, 1, "r", EX, 0);
	user_unlock(&lab, &b, DLM_LKF_VALBLK, 8);
	user_hold(&lab, &a, 2, "r", PR, DLM_LKF_VALBLK);
	cr_assert_eq(a.lvb[0], 8);
	lab_clear(&lab);
	lab.verdict = lose_convert_once;
	lab.arg = 1;
	user_convert(&lab, &a, EX, DLM_LKF_VALBLK, 0);
	lab_run(&lab, 3000);
	cr_assert_eq(a.asts, 2);
	k = lab_sent(&lab, DLM_CONVERT_LOCK_MSG, 2, 1, 1);
	cr_assert(k);
	cr_assert_eq(dlm_get_convert(k->payload, k->len, &w), 0);
	cr_assert_eq(w.flags & (DLM_LKF_VALBLK | DLM_LKF_GET_LVB), 0);
	cr_assert(dlm_lvb_is_zero(a.lvb));
}

/*
 * The answer to a CONVERT is lost, and its AST has to wait for another one's, for longer than
 * the requester leaves it: the repetition is answered like the first, not refused.
 */
Test(convert, repetition_while_its_ast_waits_is_answered_as_the_first)
{
	lab_close(&lab);
	lab_open(&lab, 3);
	user_hold(&lab, &m, 1, "r", NL, 0);
	user_hold(&lab, &a, 2, "r", PR, 0);
	user_hold(&lab, &b, 3, "r", NL, 0);
	lab_hold(&lab, DLM_PROXY_AST_MSG, 1, 3);
	user_convert(&lab, &b, PR, 0, 0);
	lab_run(&lab, 10);
	losing(DLM_CONVERT_LOCK_MSG, true);
	lab.bed.loss = -ENOTCONN;
	lab_clear(&lab);
	user_convert(&lab, &a, NL, 0, 0);
	lab_run(&lab, 3000);
	cr_assert_eq(lab_count(&lab, DLM_CONVERT_LOCK_MSG, 2, 1), 2);
	cr_assert_eq(a.done, DLM_NORMAL);
	cr_assert_eq(a.asts, 1);
	lab_release(&lab);
	lab_run(&lab, 100);
	cr_assert_eq(b.asts, 2);
	cr_assert_eq(a.asts, 2);
	cr_assert_eq(lab_mode(&lab, 1, "r", &a), NL);
}
