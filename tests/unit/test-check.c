// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test-check.c: the invariants among nodes (dlm/check.h) notice what they are for: each test
 * puts one thing wrong into the books of two nodes at rest.
 */
#include <criterion/criterion.h>
#include <string.h>
#include "dlm/check.h"
#include "tests/unit/dlm-user.h"

#define NL DLM_MODE_NL
#define PR DLM_MODE_PR
#define EX DLM_MODE_EX

static struct lab lab;
static struct user a, b;
static char why[400];

/* Node 1 owns it, node 2 holds PR. */
static void two(void)
{
	lab_open(&lab, 3);
	user_hold(&lab, &b, 1, "r", NL, 0);
	user_hold(&lab, &a, 2, "r", PR, 0);
	lab.no_check = true;
}

static void over(void)
{
	lab_close(&lab);
}

TestSuite(check, .init = two, .fini = over);

static bool says(const char *part)
{
	struct dlm *cores[BED_NODES];

	for (int i = 0; i < BED_NODES; i++)
		cores[i] = lab.bed.n[i].dlm;
	why[0] = '\0';
	if (dlm_check_all(cores, BED_NODES, why, sizeof(why)))
		return part == NULL;
	return part && strstr(why, part) != NULL;
}

/* The lock of a, as node n has it. */
static struct dlm_lock *at(node_t n)
{
	return dlm_lock_find(lab_res(&lab, n, "r"), 2, a.lock->cookie);
}

/* Put on the table of an owner, so that no core's own books are wrong. */
static void drop_at_owner(void)
{
	dlm_enter(lab.bed.n[1].dlm);
	dlm_lock_free(at(1));
	dlm_exit(lab.bed.n[1].dlm);
}

Test(check, lock_that_its_owner_does_not_have)
{
	cr_assert(says(NULL), "%s", why);
	drop_at_owner();
	cr_assert(says("which its owner does not have"), "%s", why);
}

Test(check, lock_that_its_holder_does_not_have)
{
	struct dlm_lock *l;

	dlm_enter(lab.bed.n[1].dlm);
	l = dlm_lock_new(lab.bed.n[1].dlm, 2, a.lock->cookie + 1, NL);
	dlm_lock_move(l, lab_res(&lab, 1, "r"), DLM_LIST_GRANTED);
	dlm_exit(lab.bed.n[1].dlm);
	cr_assert(says("which it has not"), "%s", why);
}

Test(check, lock_with_another_mode_at_its_owner)
{
	at(1)->mode = NL;
	cr_assert(says("at its owner"), "%s", why);
}

Test(check, reference_that_its_owner_does_not_have)
{
	dlm_ref_clear(lab_res(&lab, 1, "r"), 2);
	cr_assert(says("no reference"), "%s", why);
	dlm_ref_set(lab_res(&lab, 1, "r"), 2);
	cr_assert(says(NULL), "%s", why);
}

Test(check, owner_that_names_another)
{
	lab_res(&lab, 2, "r")->owner = 3;
	cr_assert(says("its owner has no such resource"), "%s", why);
	user_hold(&lab, &b, 3, "r", NL, 0);
	cr_assert(says("its owner names another"), "%s", why);
	lab_res(&lab, 2, "r")->owner = 1;
	cr_assert(says(NULL), "%s", why);
}

/* It is the outcome of a message that says which of the two is right. */
Test(check, nothing_is_said_while_a_message_is_under_way)
{
	lab_hold(&lab, DLM_CONVERT_LOCK_MSG, 2, 1);
	user_convert(&lab, &a, NL, 0, 0);
	lab_run(&lab, 10);
	at(1)->mode = EX;
	cr_assert(says(NULL), "%s", why);
	at(1)->mode = PR;
	lab_release(&lab);
	lab_run(&lab, 10);
	cr_assert(says(NULL), "%s", why);
}

Test(check, nothing_is_said_of_a_request_that_waits_for_its_link)
{
	lab.bed.loss = -ENOTCONN;
	lab_hold(&lab, DLM_CONVERT_LOCK_MSG, 2, 1);
	user_convert(&lab, &a, NL, 0, 0);
	lab_run(&lab, 10);
	dlm_sent(lab.bed.n[2].dlm, lab.bed.kept->token, -ENOTCONN, 0);
	cr_assert_eq(lab_queue(&lab, 1, "r", &a), 'G');
	cr_assert_eq(lab_queue(&lab, 2, "r", &a), 'C');
	cr_assert(says(NULL), "%s", why);
	lab_release(&lab);
	lab_run(&lab, 2000);
	cr_assert_eq(a.asts, 2);
	cr_assert(says(NULL), "%s", why);
}

Test(check, nothing_is_said_until_a_death_is_recovered)
{
	drop_at_owner();
	bed_die(&lab.bed, 3);
	cr_assert(says(NULL), "%s", why);
	lab_run(&lab, 3000);
	cr_assert(says("which its owner does not have"), "%s", why);
}
