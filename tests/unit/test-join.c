/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test-join.c: becoming a member (dlm/join.c), each step by hand: cluster.md 5.8. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "tests/unit/domain-kit.h"

TestSuite(join, .init = domain_setup, .fini = domain_teardown);
TestSuite(doubt, .init = domain_setup, .fini = domain_teardown);

/* ---- joining ---------------------------------------------------------------------- */

Test(join, key_is_the_kernels)
{
	cr_assert_eq(dlm_domain_key(BED_DOMAIN), 0x10748e61);
}

Test(join, first_node_is_alone)
{
	struct bed_node *n = member(1);

	cr_assert(bed_member(n, 1));
	cr_assert(n->key_open);
	cr_assert_eq(bed->logged, 0);
}

Test(join, each_step_goes_to_all_members_before_the_next_begins)
{
	struct bed_node *a = member(1), *b = member(2), *c;

	forget_log();
	c = member(3);
	cr_assert_str_eq(sent_by(3), "510:1 510:2 520:1 520:2 519:1 519:2 511:1 511:2");
	for (node_t i = 1; i <= 3; i++)
		cr_assert(bed_member(a, i) && bed_member(b, i) && bed_member(c, i));
	cr_assert(dlm_map_equal(&a->told, &a->dom->members));
	cr_assert(dlm_map_equal(&c->told, &c->dom->members));
}

Test(join, a_name_twice_is_refused)
{
	struct dlm_domain_config cfg = { .name = BED_DOMAIN, .ops = NULL };
	struct bed_node *n = member(1);
	struct dlm_domain *dom;

	cr_assert_eq(dlm_join(n->dlm, &cfg, &dom), -EINVAL);
	cfg.ops = n->dom->cfg.ops;
	cr_assert_eq(dlm_join(n->dlm, &cfg, &dom), -EEXIST);
	cfg.name[0] = '\0';
	cr_assert_eq(dlm_join(n->dlm, &cfg, &dom), -EINVAL);
	memset(cfg.name, 'x', sizeof(cfg.name));
	cr_assert_eq(dlm_join(n->dlm, &cfg, &dom), -EINVAL);
}

Test(join, two_racing_joiners_without_a_member_form_one_domain)
{
	struct bed_node *a = bed_core(bed, 1), *b = bed_core(bed, 2);

	bed->counting = true;
	bed_join(a);
	bed_join(b);
	bed_run(bed, 20000);
	cr_assert(a->joined && b->joined);
	cr_assert(bed_member(a, 1) && bed_member(a, 2) && bed_member(b, 1) && bed_member(b, 2));
	/* At least one of them was told "not now" by the other. */
	cr_assert_eq(bed_find(bed, DLM_QUERY_JOIN_MSG, 0, 0, 0)->status, DISALLOW);
}

Test(join, two_racing_joiners_are_taken_by_a_member_one_after_the_other)
{
	struct bed_node *m = member(1), *a = bed_core(bed, 2), *b = bed_core(bed, 3);

	bed->counting = true;
	bed_join(a);
	bed_join(b);
	bed_run(bed, 20000);
	cr_assert(a->joined && b->joined);
	for (node_t i = 1; i <= 3; i++)
		cr_assert(bed_member(m, i) && bed_member(a, i) && bed_member(b, i));
	cr_assert_eq(bed_count(bed, DLM_ASSERT_JOINED_MSG, 0, 1), 2);
}

Test(join, disallowed_n_times_then_taken)
{
	struct bed_node *j = JOINER(DISALLOW, DISALLOW, DISALLOW, OK_1_3);

	bed->random = 3; /* 600 ms */
	bed_join(j);
	bed_run(bed, 10000);
	cr_assert(j->joined);
	cr_assert_eq(bed_count(bed, DLM_QUERY_JOIN_MSG, 3, 1), 4);
	cr_assert_eq(bed_find(bed, DLM_QUERY_JOIN_MSG, 3, 1, 3)->ms, 1800);
	/* It never reserved anything: a CANCEL would crash a kernel. */
	cr_assert_eq(bed_count(bed, DLM_CANCEL_JOIN_MSG, 3, 1), 0);
}

Test(join, gives_up_when_the_back_offs_exceed_90_s)
{
	struct bed_node *j = JOINER(DISALLOW);

	bed->random = 3;
	bed_join(j);
	bed_run(bed, 89900);
	cr_assert(!j->failed);
	bed_run(bed, 200);
	cr_assert(j->failed);
	cr_assert_eq(j->err, -ETIMEDOUT);
	cr_assert(strstr(j->why, "node 1") && strstr(j->why, "not now"), "%s", j->why);
	cr_assert(!j->key_open);
}

Test(join, disallowed_by_the_second_the_first_is_cancelled_once)
{
	struct bed_node *j = JOINER(OK_1_3, DISALLOW, OK_1_3, OK_1_3);

	bed_peer(bed, 2);
	bed_join(j);
	bed_run(bed, 5000);
	cr_assert(j->joined);
	cr_assert_str_eq(sent_by(3), "510:1 510:2 512:1 510:1 510:2 520:1 520:2 519:1 519:2 "
				     "511:1 511:2");
}

Test(join, peers_that_are_no_members_or_have_no_dlm_are_skipped)
{
	struct bed_node *j = JOINER(OK_NO_MAP);

	bed_peer(bed, 2);
	bed_join(j);
	bed_run(bed, 1000);
	cr_assert(j->joined);
	cr_assert_str_eq(sent_by(3), "510:1 510:2");
	bed_leave(j);
	bed_run(bed, 1000);
	bed->script = NULL; /* sys_status 1 to all */
	bed_join(j);
	bed_run(bed, 1000);
	cr_assert(j->joined && !bed_member(j, 1));
}

Test(join, runs_at_the_version_of_the_domain)
{
	struct bed_node *j = JOINER(0x01020000);

	bed_join(j);
	bed_run(bed, 1000);
	cr_assert(j->joined);
	cr_assert_str_eq(sent_by(3), "510:1 520:1 519:1 511:1");
	cr_assert_eq(j->dom->dlm_minor, 2);
}

Test(join, a_1_0_domain_is_not_asked_for_table_and_regions)
{
	struct bed_node *j = JOINER(0x01000000);

	bed_join(j);
	bed_run(bed, 1000);
	cr_assert(j->joined);
	cr_assert_str_eq(sent_by(3), "510:1 511:1");
}

Test(join, version_mismatch_fails_at_once_and_names_the_peer)
{
	struct bed_node *j = JOINER(MISMATCH);

	bed_join(j);
	bed_run(bed, 1000);
	cr_assert_eq(j->err, -EPROTO);
	cr_assert(strstr(j->why, "node 1 refused protocol version 1.3"), "%s", j->why);
	cr_assert_str_eq(sent_by(3), "510:1");
}

Test(join, a_version_above_what_was_asked_is_refused_and_cancelled)
{
	struct bed_node *j = JOINER(0x01090000);

	bed_join(j);
	bed_run(bed, 1000);
	cr_assert_eq(j->err, -EPROTO);
	cr_assert_str_eq(sent_by(3), "510:1 512:1");
}

Test(join, an_unknown_answer_fails)
{
	struct bed_node *j = JOINER(0x07000000);

	bed_join(j);
	bed_run(bed, 1000);
	cr_assert_eq(j->err, -EINVAL);
	cr_assert(strstr(j->why, "code 7"), "%s", j->why);
}

Test(join, node_table_mismatch_names_the_peer_and_the_next_step)
{
	struct bed_node *m = member(1), *j = bed_core(bed, 3);
	struct dlm_table_entry table[NODE_MAX];

	memcpy(table, j->dlm->table, sizeof(table));
	table[2].port = 7778;
	dlm_set_table(j->dlm, table);
	bed_join(j);
	bed_run(bed, 1000);
	cr_assert_eq(j->err, -EINVAL);
	cr_assert(strstr(j->why, "node table differs at node 1"), "%s", j->why);
	cr_assert(strstr(j->why, "port") && strstr(j->why, "cluster.conf"), "%s", j->why);
	cr_assert_str_eq(sent_by(3), "510:1 520:1 512:1");
	cr_assert_eq(m->dom->joining_node, NODE_NONE);
	table[2].port = 7777;
	dlm_set_table(j->dlm, table);
	bed_join(j);
	bed_run(bed, 1000);
	cr_assert(j->joined);
}

Test(join, refused_regions_say_global_heartbeat)
{
	struct bed_node *j = JOINER(OK_1_3);

	region_answer = -EINVAL;
	bed_join(j);
	bed_run(bed, 1000);
	cr_assert_eq(j->err, -EINVAL);
	cr_assert(strstr(j->why, "node 1") && strstr(j->why, "global heartbeat"), "%s", j->why);
	cr_assert_str_eq(sent_by(3), "510:1 520:1 519:1 512:1");
}

static enum bed_fate node_up_at_answer(struct bed *b, const struct bed_msg *m)
{
	if (m->type == DLM_QUERY_JOIN_MSG && !b->step++)
		dlm_node_up(b->n[3].dlm, 2);
	return BED_DELIVER;
}

Test(join, a_node_that_comes_up_meanwhile_is_asked_too)
{
	struct bed_node *j;

	member(1);
	forget_log();
	j = bed_core(bed, 3);
	bed->verdict = node_up_at_answer;
	bed_join(j);
	bed_run(bed, 5000);
	cr_assert(j->joined);
	cr_assert_str_eq(sent_by(3), "510:1 512:1 510:1 510:2 520:1 519:1 511:1");
}

Test(join, a_peer_that_dies_at_each_step_does_not_fail_the_join)
{
	static const uint16_t types[] = { DLM_QUERY_JOIN_MSG, DLM_QUERY_NODEINFO, DLM_QUERY_REGION,
					  DLM_ASSERT_JOINED_MSG };

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		struct bed_node *j, *a;

		bed_done(bed);
		bed_init(bed);
		member(1);
		a = member(2);
		j = join_until(types[i]); /* open to node 1 */
		bed_die(bed, 1);
		bed_run(bed, 10000);
		cr_assert(j->joined, "step %d: %s", types[i], j->why);
		cr_assert(bed_member(j, 2) && bed_member(a, 3), "step %d", types[i]);
		cr_assert(!bed_member(j, 1) && !bed_member(a, 1), "step %d", types[i]);
		cr_assert_eq(a->dom->joining_node, NODE_NONE);
		/* At the assert step it was a member already. */
		cr_assert_eq(j->evicted, types[i] == DLM_ASSERT_JOINED_MSG ? 1 : -1);
	}
}

Test(join, a_member_that_dies_after_it_was_asked_gets_no_cancel_when_it_is_back)
{
	struct bed_node *j;

	member(1);
	member(2);
	j = join_until(DLM_QUERY_NODEINFO);
	bed_die(bed, 1);
	bed_core(bed, 1); /* back at once, in no domain */
	bed_run(bed, 10000);
	cr_assert(j->joined);
	cr_assert_eq(bed_count(bed, DLM_CANCEL_JOIN_MSG, 3, 1), 0);
}

Test(join, a_joiner_that_dies_before_its_assert_is_forgotten)
{
	struct bed_node *a = member(1), *b = member(2), *d;

	join_until(DLM_ASSERT_JOINED_MSG);
	cr_assert_eq(a->dom->joining_node, 3);
	bed_die(bed, 3);
	cr_assert_eq(a->dom->joining_node, NODE_NONE);
	cr_assert_eq(b->dom->joining_node, NODE_NONE);
	cr_assert_eq(a->evicted, -1);
	d = member(4);
	cr_assert(bed_member(d, 1) && bed_member(d, 2) && !bed_member(d, 3));
}

static enum bed_fate keep_second_assert(struct bed *b, const struct bed_msg *m)
{
	(void)b;
	return m->type == DLM_ASSERT_JOINED_MSG && m->to == 2 ? BED_KEEP : BED_DELIVER;
}

Test(join, a_joiner_that_dies_between_its_asserts_is_recovered_where_it_is_a_member)
{
	struct bed_node *a = member(1), *b = member(2);

	bed->verdict = keep_second_assert;
	bed_join(bed_core(bed, 3));
	while (!bed->kept)
		cr_assert(bed_step(bed));
	bed->verdict = NULL;
	cr_assert(bed_member(a, 3) && !bed_member(b, 3));
	bed_die(bed, 3);
	cr_assert_eq(a->evicted, 3);
	cr_assert_eq(b->evicted, -1);
	cr_assert_eq(b->dom->joining_node, NODE_NONE);
}

/* ---- lost answers (5.8, "Resending in step 5") ------------------------------------------ */

static uint16_t lost_type;
static enum bed_fate lost_fate;

static enum bed_fate lose_first(struct bed *b, const struct bed_msg *m)
{
	if (m->type == lost_type && m->from == 3 && !b->step++)
		return lost_fate;
	return BED_DELIVER;
}

static struct bed_node *join_losing(uint16_t type, enum bed_fate fate)
{
	struct bed_node *j;

	member(1);
	forget_log();
	j = bed_core(bed, 3);
	lost_type = type;
	lost_fate = fate;
	bed->verdict = lose_first;
	bed_join(j);
	bed_run(bed, 10000);
	return j;
}

Test(doubt, assert_whose_reply_is_lost_is_not_repeated)
{
	struct bed_node *j = join_losing(DLM_ASSERT_JOINED_MSG, BED_LOSE_REPLY);

	cr_assert(j->joined);
	cr_assert_str_eq(sent_by(3), "510:1 520:1 519:1 511:1 520:1");
	cr_assert(bed_member(&bed->n[1], 3));
}

Test(doubt, assert_that_was_lost_is_sent_again_after_a_probe)
{
	struct bed_node *j = join_losing(DLM_ASSERT_JOINED_MSG, BED_LOSE);

	cr_assert(j->joined);
	cr_assert_str_eq(sent_by(3), "510:1 520:1 519:1 511:1 520:1 511:1");
	cr_assert_eq(bed_find(bed, DLM_QUERY_NODEINFO, 3, 1, 1)->ms,
		     bed_find(bed, DLM_ASSERT_JOINED_MSG, 3, 1, 0)->ms + 200);
	cr_assert(bed_member(&bed->n[1], 3));
}

Test(doubt, query_whose_reply_is_lost_is_cancelled_after_a_probe)
{
	struct bed_node *j = join_losing(DLM_QUERY_JOIN_MSG, BED_LOSE_REPLY);

	cr_assert(j->joined, "%s", j->why);
	cr_assert_str_eq(sent_by(3), "510:1 520:1 512:1 510:1 520:1 519:1 511:1");
}

Test(doubt, query_that_was_lost_is_not_cancelled)
{
	struct bed_node *j = join_losing(DLM_QUERY_JOIN_MSG, BED_LOSE);

	cr_assert(j->joined, "%s", j->why);
	cr_assert_str_eq(sent_by(3), "510:1 520:1 510:1 520:1 519:1 511:1");
}

Test(doubt, query_that_never_left_needs_no_probe)
{
	struct bed_node *j;

	bed->loss = -ENOTCONN;
	j = join_losing(DLM_QUERY_JOIN_MSG, BED_LOSE);
	cr_assert(j->joined, "%s", j->why);
	cr_assert_str_eq(sent_by(3), "510:1 510:1 520:1 519:1 511:1");
}

static enum bed_fate lose_cancel(struct bed *b, const struct bed_msg *m)
{
	if (m->type == DLM_QUERY_REGION && m->from == 3 && !(b->step & 1)) {
		b->step |= 1;
		return BED_LOSE; /* makes the attempt end with a cancel */
	}
	if (m->type == DLM_CANCEL_JOIN_MSG && !(b->step & 2)) {
		b->step |= 2;
		return lost_fate;
	}
	return BED_DELIVER;
}

Test(doubt, cancel_is_repeated_only_if_the_probe_says_so)
{
	struct bed_node *j;

	member(1);
	forget_log();
	j = bed_core(bed, 3);
	bed->verdict = lose_cancel;
	lost_fate = BED_LOSE_REPLY;
	bed_join(j);
	bed_run(bed, 10000);
	cr_assert(j->joined);
	cr_assert_str_eq(sent_by(3), "510:1 520:1 519:1 520:1 512:1 520:1 510:1 520:1 519:1 511:1");
	bed_leave(j);
	bed_run(bed, 10000);
	forget_log();
	bed->step = 0;
	lost_fate = BED_LOSE;
	bed_join(j);
	bed_run(bed, 10000);
	cr_assert(j->joined);
	cr_assert_str_eq(sent_by(3), "510:1 520:1 519:1 520:1 512:1 520:1 512:1 510:1 520:1 519:1 "
				     "511:1");
}

static struct dlm_reply busy_then_ok(struct bed *b, const struct bed_msg *m)
{
	struct dlm_reply r = { 0 };

	if (m->type == DLM_QUERY_JOIN_MSG)
		r.status = OK_1_3;
	else if (m->type == DLM_ASSERT_JOINED_MSG && b->step++ < 3)
		r.status = -EAGAIN;
	return r;
}

Test(doubt, assert_answered_eagain_is_repeated_every_200_ms)
{
	struct bed_node *j = JOINER(OK_1_3);

	bed->script = busy_then_ok;
	bed_join(j);
	bed_run(bed, 10000);
	cr_assert(j->joined);
	cr_assert_eq(bed_count(bed, DLM_ASSERT_JOINED_MSG, 3, 1), 4);
	cr_assert_eq(bed_find(bed, DLM_ASSERT_JOINED_MSG, 3, 1, 3)->ms, 600);
	cr_assert_eq(bed_count(bed, DLM_QUERY_NODEINFO, 3, 1), 1);
}

static struct dlm_reply second_forgot_us(struct bed *b, const struct bed_msg *m)
{
	struct dlm_reply r = { 0 };

	(void)b;
	if (m->type == DLM_QUERY_JOIN_MSG)
		r.status = OK_1_3;
	else if (m->type == DLM_ASSERT_JOINED_MSG && m->to == 2)
		r.status = -EINVAL;
	return r;
}

Test(doubt, assert_refused_leaves_those_that_took_us_in)
{
	struct bed_node *j = JOINER(OK_1_3);

	bed_peer(bed, 2);
	bed_peer(bed, 4);
	bed->script = second_forgot_us;
	bed_join(j);
	bed_run(bed, 10000);
	cr_assert_eq(j->err, -EIO);
	cr_assert(strstr(j->why, "node 2"), "%s", j->why);
	cr_assert(strstr(sent_by(3), "511:1 511:2 512:4 513:1"), "%s", sent_by(3));
	cr_assert_eq(bed_count(bed, DLM_CANCEL_JOIN_MSG, 3, 2), 0);
	cr_assert(!j->key_open);
}
