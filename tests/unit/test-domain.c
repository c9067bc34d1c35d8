/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test-domain.c: being asked (dlm/domain.c), and leaving (dlm/leave.c): cluster.md 5.5 to 5.7,
 * 5.9. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "tests/unit/domain-kit.h"

TestSuite(answer, .init = domain_setup, .fini = domain_teardown);
TestSuite(leave, .init = domain_setup, .fini = domain_teardown);

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

static int warnings;

static void count_warnings(struct logger *self, enum log_level level, const char *subsys,
			   const char *line)
{
	(void)self;
	(void)subsys;
	(void)line;
	warnings += level == LOG_LVL_WARN;
}

/* A peer that is out of its mind cannot fill the log. */
Test(answer, refused_messages_are_counted_and_told_once_for_each_peer_and_kind)
{
	struct logger log = { .emit = count_warnings, .max = LOG_LVL_DEBUG };
	struct bed_node *n = member(1);
	const uint64_t *refused = n->dom->stats.refused;
	uint8_t byte = 0;

	bed_peer(bed, 3);
	bed_peer(bed, 4);
	n->dlm->log = &log;
	warnings = 0;
	for (int i = 0; i < 100; i++) {
		bed_ask(n, 3, DLM_QUERY_JOIN_MSG, &byte, 1);
		bed_ask(n, 3, DLM_EXIT_DOMAIN_MSG, &byte, 1);
		cr_assert_eq(ask_join(n, 3, DLM_ASSERT_JOINED_MSG), -EINVAL);
		bed_ask(n, 3, DLM_ASSERT_JOINED_MSG, &byte, 1);
	}
	cr_assert_eq(warnings, 4);
	cr_assert_eq(refused[DLM_QUERY_JOIN_MSG - DLM_MSG_FIRST], 100);
	cr_assert_eq(refused[DLM_EXIT_DOMAIN_MSG - DLM_MSG_FIRST], 100);
	cr_assert_eq(refused[DLM_ASSERT_JOINED_MSG - DLM_MSG_FIRST], 200);
	bed_ask(n, 4, DLM_QUERY_JOIN_MSG, &byte, 1);
	cr_assert_eq(warnings, 5); /* of another peer */
	n->dlm->log = NULL;
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

/* ---- leaving -----------------------------------------------------------------------------------
 */

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
