/* SPDX-License-Identifier: GPL-2.0-or-later */
/* dlm-bed.c: a few DLM cores on a table (dlm-bed.h). */
#include "tests/unit/dlm-bed.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void tr_send(void *ctx, uint64_t token, node_t to, uint32_t key, uint16_t type,
		    const void *payload, size_t len)
{
	struct bed_node *n = ctx;
	struct bed_msg *m = calloc(1, sizeof(*m)), **tail = &n->bed->queue;

	cr_assert(to > 0 && to < BED_NODES && to != n->id, "node %d sends to %d", n->id, to);
	cr_assert(len <= dlm_msg_max(type), "%s of %zu bytes", dlm_msg_name(type), len);
	*m = (struct bed_msg){ .from = n->id, .to = to, .token = token, .key = key, .type = type,
			       .len = len };
	memcpy(m->payload, payload, len);
	while (*tail)
		tail = &(*tail)->next;
	*tail = m;
}

static struct bed_timer *timer_of(struct bed_node *n, uint64_t id, bool make)
{
	struct bed_timer *free_one = NULL;

	for (int i = 0; i < BED_TIMERS; i++) {
		if (n->timers[i].set && n->timers[i].id == id)
			return &n->timers[i];
		if (!n->timers[i].set && !free_one)
			free_one = &n->timers[i];
	}
	cr_assert(!make || free_one, "more than %d timers", BED_TIMERS);
	return make ? free_one : NULL;
}

static void tr_timer_set(void *ctx, uint64_t id, uint32_t ms)
{
	struct bed_node *n = ctx;
	struct bed_timer *t = timer_of(n, id, true);

	*t = (struct bed_timer){ .id = id, .due = n->bed->now + ms, .set = true };
}

static void tr_timer_clear(void *ctx, uint64_t id)
{
	struct bed_timer *t = timer_of(ctx, id, false);

	if (t)
		t->set = false;
}

static uint32_t tr_random(void *ctx, uint32_t bound)
{
	struct bed *bed = ((struct bed_node *)ctx)->bed;

	return (bed->counting ? bed->random++ : bed->random) % bound;
}

static void tr_key_open(void *ctx, uint32_t key)
{
	(void)key;
	((struct bed_node *)ctx)->key_open = true;
}

static void tr_key_close(void *ctx, uint32_t key)
{
	(void)key;
	((struct bed_node *)ctx)->key_open = false;
}

static void tr_fence(void *ctx, const char *domain, const char *why)
{
	struct bed_node *n = ctx;

	(void)domain;
	snprintf(n->fenced, sizeof(n->fenced), "%s", why);
}

static const struct dlm_transport transport = {
	.send = tr_send, .timer_set = tr_timer_set, .timer_clear = tr_timer_clear,
	.random = tr_random, .key_open = tr_key_open, .key_close = tr_key_close, .fence = tr_fence
};

static void on_joined(void *ctx, struct dlm_domain *dom, int err, const char *why)
{
	struct bed_node *n = ctx;

	n->joined = !err;
	n->failed = err != 0;
	n->err = err;
	n->dom = dom;
	snprintf(n->why, sizeof(n->why), "%s", why);
}

static void on_left(void *ctx)
{
	struct bed_node *n = ctx;

	n->left = true;
	n->joined = false;
	n->dom = NULL;
}

static void on_evicted(void *ctx, node_t node)
{
	((struct bed_node *)ctx)->evicted = node;
}

static void on_members(void *ctx, node_t node, bool joined)
{
	struct bed_node *n = ctx;

	if (joined)
		dlm_map_set(&n->told, node);
	else
		dlm_map_clear(&n->told, node);
}

static const struct dlm_domain_ops domain_ops = { .joined = on_joined, .left = on_left,
						  .evicted = on_evicted, .members = on_members };

void bed_init(struct bed *bed)
{
	memset(bed, 0, sizeof(*bed));
	bed->loss = -EHOSTDOWN;
	for (int i = 0; i < BED_NODES; i++) {
		bed->n[i].bed = bed;
		bed->n[i].id = (node_t)i;
		bed->n[i].evicted = -1;
	}
}

static void drop(struct bed_msg **list)
{
	while (*list) {
		struct bed_msg *m = *list;

		*list = m->next;
		free(m);
	}
}

void bed_done(struct bed *bed)
{
	for (int i = 0; i < BED_NODES; i++)
		dlm_free(bed->n[i].dlm);
	drop(&bed->queue);
	drop(&bed->kept);
}

struct bed_node *bed_core(struct bed *bed, node_t id)
{
	struct dlm_config cfg = { .self = id, .proto_minor = 3, .purge_ms = 8000 };
	struct dlm_table_entry table[NODE_MAX] = { 0 };
	struct bed_node *n = &bed->n[id];

	n->dlm = dlm_new(&cfg, &transport, n);
	cr_assert(n->dlm);
	for (int i = 1; i < BED_NODES; i++)
		table[i] = (struct dlm_table_entry){ .present = true, .port = 7777,
						     .addr = 0x0a000000u + (uint32_t)i };
	dlm_set_table(n->dlm, table);
	for (int i = 1; i < BED_NODES; i++) {
		if (!bed->n[i].dlm)
			continue;
		dlm_node_up(bed->n[i].dlm, id);
		if (i != id)
			dlm_node_up(n->dlm, (node_t)i);
	}
	return n;
}

void bed_peer(struct bed *bed, node_t id)
{
	for (int i = 1; i < BED_NODES; i++)
		if (bed->n[i].dlm)
			dlm_node_up(bed->n[i].dlm, id);
}

static void fail_sends(struct bed *bed, struct bed_msg **list, node_t to)
{
	while (*list) {
		struct bed_msg *m = *list;

		if (m->to != to && m->from != to) {
			list = &m->next;
			continue;
		}
		*list = m->next;
		m->next = NULL;
		if (m->from != to && bed->n[m->from].dlm)
			dlm_sent(bed->n[m->from].dlm, m->token, -EHOSTDOWN, 0);
		free(m);
	}
}

void bed_die(struct bed *bed, node_t id)
{
	dlm_free(bed->n[id].dlm);
	bed->n[id].dlm = NULL;
	bed->n[id].dom = NULL;
	fail_sends(bed, &bed->kept, id);
	fail_sends(bed, &bed->queue, id); /* also what the failures made the others send */
	for (int i = 1; i < BED_NODES; i++)
		if (bed->n[i].dlm)
			dlm_node_down(bed->n[i].dlm, id);
}

void bed_join(struct bed_node *n)
{
	struct dlm_domain_config cfg = { .name = BED_DOMAIN, .fs_major = 1, .ops = &domain_ops,
					 .ctx = n };

	n->joined = n->failed = n->left = false;
	cr_assert_eq(dlm_join(n->dlm, &cfg, &n->dom), 0);
}

void bed_leave(struct bed_node *n)
{
	dlm_leave(n->dom);
}

struct dlm_reply bed_ask(struct bed_node *n, node_t from, uint16_t type, const void *payload,
			 size_t len)
{
	uint32_t key = dlm_msg_membership(type) ? DLM_MEMBER_KEY : dlm_domain_key(BED_DOMAIN);
	struct dlm_reply r = dlm_message(n->dlm, from, key, type, payload, len);

	if (r.written_token)
		dlm_reply_written(n->dlm, r.written_token);
	return r;
}

static struct dlm_reply carry(struct bed *bed, const struct bed_msg *m)
{
	struct bed_node *to = &bed->n[m->to];
	struct dlm_reply r = { .sys_status = 1 };

	if (!to->dlm)
		return bed->script ? bed->script(bed, m) : r;
	if (m->key != DLM_MEMBER_KEY && !to->key_open)
		return r;
	r = dlm_message(to->dlm, m->from, m->key, m->type, m->payload, m->len);
	if (r.written_token)
		dlm_reply_written(to->dlm, r.written_token);
	return r;
}

bool bed_step(struct bed *bed)
{
	enum bed_fate fate = BED_DELIVER;
	struct bed_msg *m = bed->queue;
	struct dlm_reply r = { 0 };
	int at = bed->logged;

	if (!m)
		return false;
	bed->queue = m->next;
	if (bed->verdict)
		fate = bed->verdict(bed, m);
	if (fate == BED_KEEP) {
		m->next = bed->kept;
		bed->kept = m;
		return true;
	}
	cr_assert_lt(at, BED_LOG);
	bed->log[bed->logged++] = (struct bed_logged){ .from = m->from, .to = m->to,
		.type = m->type, .ms = (uint32_t)bed->now };
	if (fate != BED_LOSE)
		r = carry(bed, m);
	bed->log[at].status = r.status;
	if (bed->n[m->from].dlm && fate == BED_DELIVER)
		dlm_sent(bed->n[m->from].dlm, m->token, r.sys_status ? -ENOPROTOOPT : 0, r.status);
	else if (bed->n[m->from].dlm)
		dlm_sent(bed->n[m->from].dlm, m->token, bed->loss, 0);
	free(m);
	return true;
}

void bed_release(struct bed *bed)
{
	while (bed->kept) {
		struct bed_msg *m = bed->kept;

		bed->kept = m->next;
		m->next = bed->queue;
		bed->queue = m;
	}
}

static bool fire_next(struct bed *bed, uint64_t limit)
{
	struct bed_node *best_node = NULL;
	struct bed_timer *best = NULL;
	uint64_t id;

	for (int i = 1; i < BED_NODES; i++)
		for (int j = 0; j < BED_TIMERS; j++) {
			struct bed_timer *t = &bed->n[i].timers[j];

			if (t->set && bed->n[i].dlm && (!best || t->due < best->due)) {
				best = t;
				best_node = &bed->n[i];
			}
		}
	if (!best || best->due > limit)
		return false;
	if (best->due > bed->now)
		bed->now = best->due;
	best->set = false;
	id = best->id;
	dlm_timer(best_node->dlm, id);
	return true;
}

void bed_run(struct bed *bed, uint32_t ms)
{
	uint64_t limit = bed->now + ms;

	while (bed_step(bed) || fire_next(bed, limit))
		;
	bed->now = limit;
}

const struct bed_logged *bed_find(const struct bed *bed, uint16_t type, node_t from, node_t to,
				  int k)
{
	for (int i = 0; i < bed->logged; i++) {
		const struct bed_logged *l = &bed->log[i];

		if (l->type == type && (!from || l->from == from) && (!to || l->to == to) &&
		    k-- == 0)
			return l;
	}
	return NULL;
}

int bed_count(const struct bed *bed, uint16_t type, node_t from, node_t to)
{
	int n = 0;

	while (bed_find(bed, type, from, to, n))
		n++;
	return n;
}

bool bed_member(const struct bed_node *n, node_t id)
{
	uint8_t map[32];

	dlm_domain_members(n->dom, map);
	return map[id >> 3] & (1 << (id & 7));
}
