/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test-lvb.c: who may write the 64 bytes, and who may believe them (doc/spec/dlm.md 5). */
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

static void two(void)
{
	lab_open(&lab, 2);
	user_hold(&lab, &m, 1, "r", NL, 0);
}

static void over(void)
{
	lab_close(&lab);
}

TestSuite(lvb, .init = three, .fini = over);
TestSuite(lvb_death, .init = two, .fini = over);

static uint8_t value(void)
{
	return lab_res(&lab, 1, "r")->lvb[0];
}

static void set_value(uint8_t v)
{
	struct user w;

	user_hold(&lab, &w, 1, "r", EX, 0);
	user_unlock(&lab, &w, VALBLK, v);
	cr_assert_eq(value(), v);
}

/* 5.1, row by row, at a local and at a remote owner. */
Test(lvb, conversions_get_and_put_as_the_table_says)
{
	struct { int from, to; uint32_t flags; bool get, put; } row[] = {
		{ NL, PR, VALBLK, true, false },  { NL, EX, VALBLK, true, false },
		{ PR, PR, VALBLK, true, false },  { PR, EX, VALBLK, true, false },
		{ NL, NL, VALBLK, false, false }, { PR, NL, VALBLK, false, false },
		{ EX, NL, VALBLK, false, true },  { EX, PR, VALBLK, false, true },
		{ EX, EX, VALBLK, false, true },  { EX, NL, 0, false, false },
		{ EX, PR, 0, false, false },	  { NL, EX, 0, false, false },
	};

	for (node_t n = 1; n <= 2; n++) {
		for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
			set_value(7);
			user_hold(&lab, &a, n, "r", row[i].from, 0);
			user_convert(&lab, &a, row[i].to, row[i].flags, 9);
			lab_run(&lab, 20);
			cr_assert_eq(a.asts, 2);
			cr_assert_eq(a.has_lvb, row[i].get, "node %d row %zu", n, i);
			if (row[i].get)
				cr_assert_eq(a.lvb[0], 7);
			cr_assert_eq(value(), row[i].put ? 9 : 7, "node %d row %zu", n, i);
			user_unlock(&lab, &a, 0, 0);
			lab_run(&lab, 20);
		}
	}
}

Test(lvb, new_locks_get_it_unless_NL)
{
	set_value(4);
	for (node_t n = 1; n <= 3; n++) {
		const int modes[] = { NL, PR, EX };

		for (int i = 0; i < 3; i++) {
			user_hold(&lab, &a, n, "r", modes[i], VALBLK);
			cr_assert_eq(a.has_lvb, modes[i] != NL);
			if (a.has_lvb)
				cr_assert(a.lvb[0] == 4 && a.lvb[63] == 4);
			user_unlock(&lab, &a, 0, 0);
			lab_run(&lab, 20);
		}
	}
}

/* U34, U35, U36 */
Test(lvb, put_by_a_downconversion_reaches_the_reader)
{
	user_hold(&lab, &a, 2, "r", EX, VALBLK);
	user_lock(&lab, &b, 3, "r", PR, VALBLK);
	lab_run(&lab, 20);
	lab_clear(&lab);
	user_convert(&lab, &a, PR, VALBLK, 3);
	lab_run(&lab, 20);
	cr_assert_eq(lab_sent(&lab, DLM_CONVERT_LOCK_MSG, 2, 1, 0)->len, 144);
	cr_assert_eq(lab_sent(&lab, DLM_PROXY_AST_MSG, 1, 2, 0)->len, 80);
	cr_assert_eq(lab_sent(&lab, DLM_PROXY_AST_MSG, 1, 3, 0)->len, 144);
	cr_assert(b.has_lvb && b.lvb[0] == 3);
}

/* U37 */
Test(lvb, refused_conversion_leaves_no_wish_behind)
{
	set_value(5);
	user_hold(&lab, &b, 3, "r", PR, 0);
	user_hold(&lab, &a, 2, "r", NL, 0);
	user_convert(&lab, &a, EX, DLM_LKF_NOQUEUE | VALBLK, 0);
	lab_run(&lab, 20);
	cr_assert_eq(a.done, DLM_NOTQUEUED);
	cr_assert_eq(a.lock->lksb, 0);
	user_convert(&lab, &a, PR, VALBLK, 0);
	lab_run(&lab, 20);
	cr_assert(a.has_lvb && a.lvb[0] == 5);
}

/* U38 */
Test(lvb, thousand_rounds_of_EX_lose_no_write)
{
	static struct user u[3];
	unsigned int count = 0;

	lab.no_check = true; /* after each message it would take a minute */
	for (int i = 0; i < 3; i++)
		user_hold(&lab, &u[i], (node_t)(i + 1), "r", NL, 0);
	for (int i = 0; i < 1000; i++) {
		struct user *w = &u[i % 3];
		uint8_t buf[DLM_LVB_LEN] = { 0 };
		unsigned int got;

		w->asts = 0;
		user_convert(&lab, w, EX, VALBLK, 0);
		bed_run(&lab.bed, 5);
		cr_assert_eq(w->asts, 1);
		memcpy(&got, w->lvb, sizeof(got));
		cr_assert_eq(got, count);
		count++;
		memcpy(buf, &count, sizeof(count));
		dlm_convert(w->lock, NL, VALBLK, buf);
		bed_run(&lab.bed, 5);
		lab_clear(&lab);
	}
}

/* U40, U41, U02 of a death: EX voids the value, PR and NL keep it. */
Test(lvb_death, holder_dies)
{
	struct { int mode; uint8_t after; } row[] = { { PR, 6 }, { NL, 6 }, { EX, 0 } };

	for (int i = 0; i < 3; i++) {
		lab_close(&lab);
		two();
		set_value(6);
		user_hold(&lab, &a, 2, "r", row[i].mode, VALBLK);
		lab_die(&lab, 2);
		lab_run(&lab, 20);
		cr_assert_eq(value(), row[i].after, "mode %d", row[i].mode);
		user_hold(&lab, &b, 1, "r", PR, VALBLK);
		cr_assert_eq(b.lvb[0], row[i].after);
	}
}

/* The owner dies: the survivor's PR or EX vouches for what it read or wrote; NL for nothing. */
Test(lvb_death, owner_dies)
{
	struct { int mode; uint32_t flags; uint8_t after; } row[] = {
		{ PR, VALBLK, 6 }, { EX, VALBLK, 6 }, { NL, VALBLK, 0 }, { PR, 0, 0 }, { EX, 0, 0 },
	};

	for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		lab_close(&lab);
		two();
		set_value(6);
		user_hold(&lab, &a, 2, "r", row[i].mode, row[i].flags);
		lab_die(&lab, 1);
		lab_run(&lab, 20);
		if (row[i].mode == EX) {
			user_convert(&lab, &a, PR, 0, 0);
			lab_run(&lab, 20);
		}
		user_hold(&lab, &b, 2, "r", PR, VALBLK);
		cr_assert_eq(b.lvb[0], row[i].after, "row %zu", i);
	}
}

/* U43: the new value was accepted, its AST did not come any more. */
Test(lvb_death, accepted_put_survives_the_owner)
{
	set_value(5);
	user_hold(&lab, &a, 2, "r", EX, VALBLK);
	lab_hold(&lab, DLM_PROXY_AST_MSG, 1, 2);
	user_convert(&lab, &a, NL, VALBLK, 6);
	lab_run(&lab, 20);
	cr_assert_eq(a.done, DLM_NORMAL);
	cr_assert_eq(a.asts, 1);
	lab_die(&lab, 1);
	lab_run(&lab, 20);
	cr_assert_eq(a.asts, 2);
	user_hold(&lab, &b, 2, "r", PR, VALBLK);
	cr_assert_eq(b.lvb[0], 6);
}

/* A value that was given up is not believed, even if this node wrote it. */
Test(lvb_death, value_from_before_is_not_brought_back)
{
	user_hold(&lab, &a, 2, "r", EX, VALBLK);
	user_convert(&lab, &a, NL, VALBLK, 6);
	lab_run(&lab, 20);
	set_value(7);
	lab_die(&lab, 1);
	lab_run(&lab, 20);
	user_hold(&lab, &b, 2, "r", PR, VALBLK);
	cr_assert_eq(b.lvb[0], 0);
}

/* 5.3, migration: G13 and its kin. The target holds, or another, or nobody above NL. */
Test(lvb, migration_keeps_the_value_while_somebody_reads)
{
	struct { int holder2, holder3; uint8_t after; } row[] = {
		{ PR, NL, 8 }, { NL, PR, 8 }, { EX, NL, 8 }, { PR, PR, 8 }, { NL, NL, 0 },
	};

	for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		lab_close(&lab);
		three();
		set_value(8);
		user_hold(&lab, &a, 2, "r", row[i].holder2, VALBLK);
		user_hold(&lab, &b, 3, "r", row[i].holder3, VALBLK);
		user_unlock(&lab, &m, 0, 0);
		bed_leave(&lab.bed.n[1]);
		lab_run(&lab, 2000);
		cr_assert(lab.bed.n[1].left);
		/* Byte 48 on: the value, or zeros if no lock proves it (5.4). */
		cr_assert_eq(lab_sent(&lab, DLM_MIG_LOCKRES_MSG, 1, 2, 0)->payload[48],
			     row[i].after);
		cr_assert_eq(lab_res(&lab, 2, "r")->owner, 2);
		cr_assert_eq(lab_res(&lab, 2, "r")->lvb[0], row[i].after, "row %zu", i);
		if (row[i].holder2 == EX) {
			user_unlock(&lab, &a, 0, 0);
			lab_run(&lab, 20);
		}
		user_hold(&lab, &c, 3, "r", PR, VALBLK);
		cr_assert_eq(c.lvb[0], row[i].after, "row %zu", i);
	}
}

/* What comes with a lock of MIG_LOCKRES (5.4), conflict included: then nothing is believed. */
Test(lvb, contradicting_values_void_each_other)
{
	struct dlm_res *res = lab_res(&lab, 1, "r");
	struct dlm_wire_mig_lock l = { .list = DLM_LIST_GRANTED, .mode = PR, .convert_mode = -1,
				       .node = 2 };
	uint8_t one[DLM_LVB_LEN], two_[DLM_LVB_LEN], none[DLM_LVB_LEN] = { 0 };

	memset(one, 1, sizeof(one));
	memset(two_, 2, sizeof(two_));
	dlm_lvb_from_migrate(res, &l, none);
	cr_assert(dlm_lvb_is_zero(res->lvb));
	dlm_lvb_from_migrate(res, &l, one);
	cr_assert_eq(res->lvb[5], 1);
	dlm_lvb_from_migrate(res, &l, one);
	cr_assert_eq(res->lvb[5], 1);
	dlm_lvb_from_migrate(res, &l, none);
	cr_assert_eq(res->lvb[5], 1);
	dlm_lvb_from_migrate(res, &l, two_);
	cr_assert(dlm_lvb_is_zero(res->lvb));
	l.mode = NL;
	dlm_lvb_from_migrate(res, &l, two_);
	cr_assert(dlm_lvb_is_zero(res->lvb));
	l.mode = EX;
	l.convert_mode = NL;
	l.list = DLM_LIST_CONVERTING;
	l.flags = DLM_LKSB_PUT_LVB;
	memcpy(res->lvb, one, sizeof(one));
	dlm_lvb_from_migrate(res, &l, two_);
	cr_assert_eq(res->lvb[0], 2);
}
