/* SPDX-License-Identifier: GPL-2.0-or-later */
/* domain-kit.c: what the tests of membership share. */
#include "tests/unit/domain-kit.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

struct bed *bed;
int32_t answers[16], table_answer, region_answer;

void domain_setup(void)
{
	bed = malloc(sizeof(*bed));
	bed_init(bed);
}

void domain_teardown(void)
{
	bed_done(bed);
	free(bed);
}

struct bed_node *member(node_t id)
{
	struct bed_node *n = bed_core(bed, id);

	bed_join(n);
	bed_run(bed, 5000);
	cr_assert(n->joined, "node %d: %s", id, n->why);
	return n;
}

void forget_log(void)
{
	bed->logged = 0;
}

const char *sent_by(node_t from)
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

struct dlm_reply scripted(struct bed *b, const struct bed_msg *m)
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

struct bed_node *joiner_with_peer(const int32_t *list, size_t n)
{
	struct bed_node *j = bed_core(bed, 3);

	for (size_t i = 0; i < 16; i++)
		answers[i] = list[i < n ? i : n - 1];
	table_answer = region_answer = 0;
	bed_peer(bed, 1);
	bed->script = scripted;
	return j;
}
enum bed_fate keep_type(struct bed *b, const struct bed_msg *m)
{
	return m->type == b->step ? BED_KEEP : BED_DELIVER;
}

struct bed_node *join_until(uint16_t type)
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
