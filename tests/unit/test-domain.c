/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test-domain.c: membership (dlm/domain.c, join.c, leave.c) against cluster.md section 5.
 */
#include "tests/unit/dlm-bed.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

static struct bed *bed;

static void setup(void)
{
	bed = malloc(sizeof(*bed));
	bed_init(bed);
}

static void teardown(void)
{
	bed_done(bed);
	free(bed);
}

TestSuite(join, .init = setup, .fini = teardown);
TestSuite(answer, .init = setup, .fini = teardown);
TestSuite(leave, .init = setup, .fini = teardown);
TestSuite(doubt, .init = setup, .fini = teardown);

static struct bed_node *member(node_t id)
{
	struct bed_node *n = bed_core(bed, id);

	bed_join(n);
	bed_run(bed, 5000);
	cr_assert(n->joined, "node %d: %s", id, n->why);
	return n;
}

static void forget_log(void)
{
	bed->logged = 0;
}

/* What was sent, as one line: "510:1 520:1 ..." (type:to). */
static const char *sent_by(node_t from)
{
	static char line[512];
	size_t n = 0;

	line[0] = '\0';
	for (int i = 0; i < bed->logged; i++)
		if (bed->log[i].from == from)
			n += (size_t)snprintf(line + n, sizeof(line) - n, "%s%d:%d", n ? " " : "",
					      bed->log[i].type, bed->log[i].to);
	return line;
}

/* ---- raw messages, as a peer sends them ---------------------------------------- */

static struct dlm_wire_domain domain_name(const char *name)
{
	struct dlm_wire_domain d = { .len = (uint8_t)strlen(name) };

	memcpy(d.name, name, d.len);
	return d;
}

static struct dlm_wire_query_join query_of(node_t node)
{
	struct dlm_wire_query_join m = { .node = node, .dlm_major = 1, .dlm_minor = 3,
					 .fs_major = 1, .domain = domain_name(BED_DOMAIN) };

	memset(m.node_map, 0xff, sizeof(m.node_map));
	return m;
}

static int32_t ask_query(struct bed_node *n, const struct dlm_wire_query_join *m)
{
	uint8_t buf[DLM_MAX_PAYLOAD];
	size_t len = dlm_put_query_join(m, buf, sizeof(buf));
	struct dlm_reply r = bed_ask(n, m->node, DLM_QUERY_JOIN_MSG, buf, len);

	cr_assert_eq(r.sys_status, 0);
	return r.status;
}

static int32_t ask_join(struct bed_node *n, node_t from, uint16_t type)
{
	struct dlm_wire_join m = { .node = from, .domain = domain_name(BED_DOMAIN) };
	uint8_t buf[DLM_MAX_PAYLOAD];

	return bed_ask(n, from, type, buf, dlm_put_join(&m, buf, sizeof(buf))).status;
}

static struct dlm_wire_query_nodeinfo table_of(node_t from)
{
	struct dlm_wire_query_nodeinfo m = { .node = from, .num_nodes = BED_NODES - 1,
					     .domain = domain_name(BED_DOMAIN) };

	for (int i = 1; i < BED_NODES; i++)
		m.nodes[i - 1] = (struct dlm_wire_node){ .node = (node_t)i, .port = 7777,
							 .addr = 0x0a000000u + (uint32_t)i };
	return m;
}

static int32_t ask_table(struct bed_node *n, const struct dlm_wire_query_nodeinfo *m)
{
	uint8_t buf[DLM_MAX_PAYLOAD];

	return bed_ask(n, m->node, DLM_QUERY_NODEINFO, buf,
		       dlm_put_query_nodeinfo(m, buf, sizeof(buf))).status;
}

static int32_t ask_exit(struct bed_node *n, node_t from, uint16_t type)
{
	struct dlm_wire_exit m = { .node = from };
	uint8_t buf[8];

	return bed_ask(n, from, type, buf, dlm_put_exit(&m, buf, sizeof(buf))).status;
}

#define OK_1_3 0x01030000
#define DISALLOW 0
#define OK_NO_MAP 0x02000000
#define MISMATCH 0x03000000

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

/* A scripted peer: what it answers to QUERY_JOIN, call by call; the last one stays. */
static int32_t answers[16];
static int32_t table_answer, region_answer;

static struct dlm_reply scripted(struct bed *b, const struct bed_msg *m)
{
	struct dlm_reply r = { 0 };

	if (m->type == DLM_QUERY_JOIN_MSG) {
		r.status = answers[b->step];
		if (b->step < 15)
			b->step++;
	} else if (m->type == DLM_QUERY_NODEINFO) {
		r.status = table_answer;
	} else if (m->type == DLM_QUERY_REGION) {
		r.status = region_answer;
	}
	return r;
}

static struct bed_node *joiner_with_peer(const int32_t *list, size_t n)
{
	struct bed_node *j = bed_core(bed, 3);

	for (size_t i = 0; i < 16; i++)
		answers[i] = list[i < n ? i : n - 1];
	table_answer = region_answer = 0;
	bed_peer(bed, 1);
	bed->script = scripted;
	return j;
}
#define JOINER(...) \
	joiner_with_peer((int32_t[]){ __VA_ARGS__ }, sizeof((int32_t[]){ __VA_ARGS__ }) / 4)

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

static enum bed_fate keep_type(struct bed *b, const struct bed_msg *m)
{
	return m->type == b->step ? BED_KEEP : BED_DELIVER;
}

/* Run a join of node 3 until its first message of a type is open. */
static struct bed_node *join_until(uint16_t type)
{
	struct bed_node *j = bed_core(bed, 3);

	forget_log();
	bed->verdict = keep_type;
	bed->step = type;
	bed_join(j);
	while (!bed->kept)
		cr_assert(bed_step(bed));
	bed->verdict = NULL;
	return j;
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

/* ---- being asked: the order of 5.5 -------------------------------------------------------- */

Test(answer, row_1_a_sender_that_does_not_heartbeat)
{
	struct bed_node *n = bed_core(bed, 1); /* not even in the domain */
	struct dlm_wire_query_join m = query_of(2);

	cr_assert_eq(ask_query(n, &m), DISALLOW);
}

Test(answer, rows_2_to_5_strangers_say_no_map)
{
	struct bed_node *n = bed_core(bed, 1);
	struct dlm_wire_query_join m = query_of(2);

	bed_peer(bed, 2);
	cr_assert_eq(ask_query(n, &m), OK_NO_MAP);
	bed_join(n); /* asks node 2: joining itself from here */
	cr_assert_eq(ask_query(n, &m), DISALLOW);
	memset(answers, 0, sizeof(answers));
	bed->script = scripted;
	bed->random = 3;
	while (bed_step(bed))
		;
	/* Between two attempts: the other one may win. */
	cr_assert_eq(n->dom->joining_node, NODE_NONE);
	cr_assert_eq(ask_query(n, &m), OK_NO_MAP);
	cr_assert_eq(n->dom->joining_node, NODE_NONE);
}

Test(answer, row_3_a_member_that_the_sender_does_not_see)
{
	struct bed_node *n = member(1);
	struct dlm_wire_query_join m = query_of(3);

	member(2);
	bed_peer(bed, 3);
	m.node_map[0] = 1 << 1 | 1 << 3;
	cr_assert_eq(ask_query(n, &m), DISALLOW);
	m.node_map[0] |= 1 << 2;
	cr_assert_eq(ask_query(n, &m), OK_1_3);
}

Test(answer, row_6_one_join_at_a_time)
{
	struct bed_node *n = member(1);
	struct dlm_wire_query_join m3 = query_of(3), m4 = query_of(4);

	bed_peer(bed, 3);
	bed_peer(bed, 4);
	cr_assert_eq(ask_query(n, &m3), OK_1_3);
	cr_assert_eq(ask_query(n, &m4), DISALLOW);
	cr_assert_eq(ask_query(n, &m3), DISALLOW);
	cr_assert_eq(ask_join(n, 3, DLM_CANCEL_JOIN_MSG), 0);
	cr_assert_eq(ask_query(n, &m4), OK_1_3);
	cr_assert_eq(ask_join(n, 4, DLM_ASSERT_JOINED_MSG), 0);
	cr_assert(bed_member(n, 4) && !bed_member(n, 3));
}

Test(answer, rows_7_to_9_recovery_and_former_lives)
{
	struct bed_node *n = member(1);
	struct dlm_wire_query_join m = query_of(3);

	bed_peer(bed, 3);
	n->dom->reco.active = true;
	cr_assert_eq(ask_query(n, &m), DISALLOW);
	n->dom->reco.active = false;
	dlm_map_set(&n->dom->recovery, 3);
	cr_assert_eq(ask_query(n, &m), DISALLOW);
	dlm_map_clear(&n->dom->recovery, 3);
	cr_assert_eq(ask_query(n, &m), OK_1_3);
	cr_assert_eq(ask_join(n, 3, DLM_ASSERT_JOINED_MSG), 0);
	cr_assert_eq(ask_query(n, &m), DISALLOW);
}

Test(answer, row_10_versions)
{
	static const struct {
		uint8_t dlm_major, dlm_minor, fs_major, fs_minor;
		int32_t answer;
	} t[] = {
		{ 1, 9, 1, 4, OK_1_3 },	  { 1, 2, 1, 0, MISMATCH }, { 2, 3, 1, 0, MISMATCH },
		{ 0, 3, 1, 0, MISMATCH }, { 1, 3, 2, 0, MISMATCH }, { 1, 3, 0, 0, MISMATCH },
	};
	struct bed_node *n = member(1);

	bed_peer(bed, 3);
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct dlm_wire_query_join m = query_of(3);

		m.dlm_major = t[i].dlm_major;
		m.dlm_minor = t[i].dlm_minor;
		m.fs_major = t[i].fs_major;
		m.fs_minor = t[i].fs_minor;
		cr_assert_eq(ask_query(n, &m), t[i].answer, "case %zu", i);
		if (t[i].answer == OK_1_3)
			cr_assert_eq(ask_join(n, 3, DLM_CANCEL_JOIN_MSG), 0);
	}
	cr_assert_eq(n->dom->joining_node, NODE_NONE);
}

Test(answer, table_is_compared_in_both_directions)
{
	struct bed_node *n = member(1);
	struct dlm_wire_query_nodeinfo info = table_of(3);
	struct dlm_wire_query_join m = query_of(3);

	bed_peer(bed, 3);
	cr_assert_eq(ask_table(n, &info), -EINVAL); /* nothing reserved */
	cr_assert_eq(ask_query(n, &m), OK_1_3);
	cr_assert_eq(ask_table(n, &info), 0);
	info.nodes[1].port = 7778;
	cr_assert_eq(ask_table(n, &info), -EINVAL);
	info = table_of(3);
	info.nodes[1].addr++;
	cr_assert_eq(ask_table(n, &info), -EINVAL);
	info = table_of(3);
	info.num_nodes--; /* we have one more */
	cr_assert_eq(ask_table(n, &info), -EINVAL);
	info = table_of(3);
	info.nodes[info.num_nodes++] = (struct dlm_wire_node){ .node = 200, .port = 1, .addr = 1 };
	cr_assert_eq(ask_table(n, &info), -EINVAL);
	info = table_of(3);
	info.nodes[1] = info.nodes[0]; /* one twice, one missing */
	cr_assert_eq(ask_table(n, &info), -EINVAL);
	info = table_of(3);
	cr_assert_eq(ask_table(n, &info), 0); /* and it is still reserved */
}

Test(answer, regions_must_be_none)
{
	struct bed_node *n = member(1);
	struct dlm_wire_query_region m = { .node = 3, .domain = domain_name(BED_DOMAIN) };
	struct dlm_wire_query_join q = query_of(3);
	uint8_t buf[DLM_MAX_PAYLOAD];

	bed_peer(bed, 3);
	cr_assert_eq(ask_query(n, &q), OK_1_3);
	cr_assert_eq(bed_ask(n, 3, DLM_QUERY_REGION, buf,
			     dlm_put_query_region(&m, buf, sizeof(buf))).status, 0);
	m.num_regions = 1;
	memset(m.regions[0], 'A', sizeof(m.regions[0]));
	cr_assert_eq(bed_ask(n, 3, DLM_QUERY_REGION, buf,
			     dlm_put_query_region(&m, buf, sizeof(buf))).status, -EINVAL);
}

Test(answer, assert_and_cancel_out_of_turn_are_refused)
{
	struct bed_node *n = member(1);
	struct dlm_wire_query_join m = query_of(3);

	bed_peer(bed, 3);
	bed_peer(bed, 4);
	cr_assert_eq(ask_join(n, 3, DLM_ASSERT_JOINED_MSG), -EINVAL);
	cr_assert_eq(ask_join(n, 3, DLM_CANCEL_JOIN_MSG), -EINVAL);
	cr_assert_eq(ask_query(n, &m), OK_1_3);
	cr_assert_eq(ask_join(n, 4, DLM_ASSERT_JOINED_MSG), -EINVAL);
	cr_assert_eq(ask_join(n, 4, DLM_CANCEL_JOIN_MSG), -EINVAL);
	cr_assert_eq(n->dom->joining_node, 3);
	cr_assert_eq(ask_join(n, 3, DLM_ASSERT_JOINED_MSG), 0);
	cr_assert_eq(ask_join(n, 3, DLM_ASSERT_JOINED_MSG), -EINVAL); /* repeated */
	cr_assert_eq(ask_join(n, 3, DLM_CANCEL_JOIN_MSG), -EINVAL);
	cr_assert(bed_member(n, 3));
}

Test(answer, assert_and_cancel_for_a_domain_unknown_here_are_harmless)
{
	struct bed_node *n = bed_core(bed, 1);

	bed_peer(bed, 3);
	cr_assert_eq(ask_join(n, 3, DLM_ASSERT_JOINED_MSG), 0);
	cr_assert_eq(ask_join(n, 3, DLM_CANCEL_JOIN_MSG), 0);
}

Test(answer, assert_during_a_recovery_is_told_to_wait)
{
	struct bed_node *n = member(1);
	struct dlm_wire_query_join m = query_of(3);

	bed_peer(bed, 3);
	cr_assert_eq(ask_query(n, &m), OK_1_3);
	n->dom->reco.active = true;
	cr_assert_eq(ask_join(n, 3, DLM_ASSERT_JOINED_MSG), -EAGAIN);
	cr_assert_eq(n->dom->joining_node, 3);
	cr_assert(!bed_member(n, 3));
	n->dom->reco.active = false;
	cr_assert_eq(ask_join(n, 3, DLM_ASSERT_JOINED_MSG), 0);
}

/* The link says who sends; a payload that says another is refused, whatever it asks. */
Test(answer, forged_and_malformed_messages_change_nothing)
{
	struct bed_node *n = member(1);
	struct dlm_wire_query_join m = query_of(3);
	struct dlm_wire_join j = { .node = 3, .domain = domain_name(BED_DOMAIN) };
	struct dlm_wire_exit e = { .node = 3 };
	uint8_t buf[DLM_MAX_PAYLOAD];
	size_t len;

	bed_peer(bed, 3);
	bed_peer(bed, 4);
	len = dlm_put_query_join(&m, buf, sizeof(buf));
	cr_assert_eq(bed_ask(n, 4, DLM_QUERY_JOIN_MSG, buf, len).status, -EINVAL);
	for (size_t cut = 0; cut < len; cut++)
		cr_assert_eq(bed_ask(n, 3, DLM_QUERY_JOIN_MSG, buf, cut).status, -EINVAL);
	buf[3] = 65; /* name longer than its field */
	cr_assert_eq(bed_ask(n, 3, DLM_QUERY_JOIN_MSG, buf, len).status, -EINVAL);
	cr_assert_eq(n->dom->joining_node, NODE_NONE);
	cr_assert_eq(ask_query(n, &m), OK_1_3);
	len = dlm_put_join(&j, buf, sizeof(buf));
	cr_assert_eq(bed_ask(n, 4, DLM_ASSERT_JOINED_MSG, buf, len).status, -EINVAL);
	cr_assert_eq(bed_ask(n, 4, DLM_CANCEL_JOIN_MSG, buf, len).status, -EINVAL);
	cr_assert_eq(n->dom->joining_node, 3);
	cr_assert_eq(bed_ask(n, 3, DLM_ASSERT_JOINED_MSG, buf, len).status, 0);
	len = dlm_put_exit(&e, buf, sizeof(buf));
	cr_assert_eq(bed_ask(n, 4, DLM_EXIT_DOMAIN_MSG, buf, len).status, -EINVAL);
	cr_assert_eq(bed_ask(n, 4, DLM_BEGIN_EXIT_DOMAIN_MSG, buf, len).status, -EINVAL);
	cr_assert(bed_member(n, 3) && !dlm_map_test(&n->dom->exiting, 3));
}

Test(answer, begin_exit_and_exit_take_a_member_out_without_recovery)
{
	struct bed_node *n = member(1);
	struct dlm_wire_query_join m = query_of(3);

	bed_peer(bed, 3);
	ask_query(n, &m);
	ask_join(n, 3, DLM_ASSERT_JOINED_MSG);
	cr_assert_eq(ask_exit(n, 3, DLM_BEGIN_EXIT_DOMAIN_MSG), 0);
	cr_assert(dlm_map_test(&n->dom->exiting, 3) && bed_member(n, 3));
	cr_assert_eq(ask_exit(n, 3, DLM_EXIT_DOMAIN_MSG), 0);
	cr_assert(!dlm_map_test(&n->dom->exiting, 3) && !bed_member(n, 3));
	cr_assert_eq(ask_exit(n, 3, DLM_EXIT_DOMAIN_MSG), 0); /* repeated */
	cr_assert_eq(n->evicted, -1);
	cr_assert(dlm_map_empty(&n->dom->recovery));
	cr_assert_eq(ask_query(n, &m), OK_1_3); /* and may come back */
}

/* ---- leaving ----------------------------------------------------------------------------------- */

Test(leave, tells_everybody_twice_and_goes)
{
	struct bed_node *a = member(1), *b = member(2), *c = member(3);
	struct dlm_wire_query_join m = query_of(4);

	forget_log();
	bed_leave(c);
	cr_assert_eq(c->dom->state, DLM_DOM_IN_SHUTDOWN);
	bed_run(bed, 5000);
	cr_assert(c->left && !c->key_open);
	cr_assert_str_eq(sent_by(3), "521:1 521:2 513:1 513:2");
	cr_assert(!bed_member(a, 3) && !bed_member(b, 3));
	cr_assert_eq(a->evicted, -1);
	bed_peer(bed, 4);
	cr_assert_eq(ask_query(c, &m), OK_NO_MAP);
	bed_join(c);
	bed_run(bed, 5000);
	cr_assert(c->joined && bed_member(a, 3));
}

Test(leave, the_last_one_sends_nothing)
{
	struct bed_node *a = member(1);

	bed_leave(a);
	bed_run(bed, 1000);
	cr_assert(a->left);
	cr_assert_eq(bed->logged, 0);
}

Test(leave, a_1_1_domain_knows_no_begin_exit)
{
	struct bed_node *j = JOINER(0x01010000);

	bed_join(j);
	bed_run(bed, 1000);
	forget_log();
	bed_leave(j);
	bed_run(bed, 1000);
	cr_assert(j->left);
	cr_assert_str_eq(sent_by(3), "513:1");
}

Test(leave, waits_for_a_join_that_it_has_reserved)
{
	struct bed_node *a = member(1), *j;
	struct dlm_wire_query_join m = query_of(4);

	bed_peer(bed, 4);
	cr_assert_eq(ask_query(a, &m), OK_1_3);
	bed_leave(a);
	bed_run(bed, 10000);
	cr_assert(!a->left);
	cr_assert_eq(ask_join(a, 4, DLM_ASSERT_JOINED_MSG), 0);
	cr_assert(!a->left);
	bed->script = scripted;
	bed_run(bed, 1000);
	cr_assert(a->left);
	cr_assert_eq(bed_count(bed, DLM_EXIT_DOMAIN_MSG, 1, 4), 1);
	j = &bed->n[1];
	cr_assert_eq(ask_query(j, &m), OK_NO_MAP);
}

Test(leave, goes_when_the_joiner_it_waits_for_dies)
{
	struct bed_node *a = member(1);
	struct dlm_wire_query_join m = query_of(4);

	bed_peer(bed, 4);
	cr_assert_eq(ask_query(a, &m), OK_1_3);
	bed_leave(a);
	bed_run(bed, 1000);
	cr_assert(!a->left);
	dlm_node_down(a->dlm, 4);
	bed_run(bed, 1000);
	cr_assert(a->left);
}

static enum bed_fate lose_exit(struct bed *b, const struct bed_msg *m)
{
	return m->type == DLM_EXIT_DOMAIN_MSG && b->step++ < 2 ? BED_LOSE : BED_DELIVER;
}

Test(leave, exit_is_sent_again_until_it_was_handled)
{
	struct bed_node *a = member(1), *b = member(2);

	forget_log();
	bed->verdict = lose_exit;
	bed_leave(b);
	bed_run(bed, 5000);
	cr_assert(b->left);
	cr_assert_eq(bed_count(bed, DLM_EXIT_DOMAIN_MSG, 2, 1), 3);
	cr_assert_eq(bed_find(bed, DLM_EXIT_DOMAIN_MSG, 2, 1, 2)->ms -
			     bed_find(bed, DLM_EXIT_DOMAIN_MSG, 2, 1, 0)->ms, 400);
	cr_assert(!bed_member(a, 2));
}

/* A link that is down when we leave: found by the simulator, "its former life is still a
 * member" was the answer to every later join. */
Test(leave, exit_that_could_not_be_sent_is_sent_when_the_link_is_back)
{
	struct bed_node *a = member(1), *b = member(2);

	bed->verdict = lose_exit;
	bed->loss = -ENOTCONN;
	bed_leave(b);
	bed_run(bed, 5000);
	cr_assert(b->left && !bed_member(a, 2));
	bed_join(b);
	bed_run(bed, 5000);
	cr_assert(b->joined);
}

Test(leave, a_member_that_dies_need_not_be_told)
{
	struct bed_node *b;

	member(1);
	b = member(2);
	bed->verdict = keep_type;
	bed->step = DLM_EXIT_DOMAIN_MSG;
	bed_leave(b);
	bed_run(bed, 5000);
	cr_assert(!b->left && bed->kept);
	bed_die(bed, 1);
	bed_run(bed, 5000);
	cr_assert(b->left);
}

Test(leave, two_at_once_both_get_out)
{
	struct bed_node *a = member(1), *b = member(2);

	bed_leave(a);
	bed_leave(b);
	bed_run(bed, 20000);
	cr_assert(a->left && b->left);
}

Test(leave, while_joining_gives_up_and_cancels)
{
	struct bed_node *a = member(1), *j = join_until(DLM_QUERY_REGION);

	bed_leave(j);
	bed_release(bed);
	bed_run(bed, 5000);
	cr_assert_eq(j->err, -ECANCELED);
	cr_assert_eq(a->dom->joining_node, NODE_NONE);
	cr_assert_eq(bed_count(bed, DLM_CANCEL_JOIN_MSG, 3, 1), 1);
}
