/* SPDX-License-Identifier: GPL-2.0-or-later */
/* player.c: one node of a recorded session played by our DLM core (player.h). */
#include "tests/wire/player.h"

#include <criterion/criterion.h>
#include <stdarg.h>
#include <stdio.h>

/* How far ahead of the kernel the core may say something (it does not wait for a thread
 * that polls every 5 s); a recorded message later than this is another one. */
#define AHEAD_MS 9000

void player_differs(struct player *p, const char *fmt, ...)
{
	char what[sizeof(p->diffs[0].what)];
	va_list ap;
	int i;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	if (p->verbose)
		fprintf(stderr, "node %d, %.3f s, frame %d: %s\n", p->me, (double)p->now / 1000,
			p->at, what);
	for (i = 0; i < p->nr_diffs; i++) {
		if (!strcmp(p->diffs[i].what, what))
			break;
	}
	cr_assert_lt(i, PLAYER_DIFFS);
	if (i == p->nr_diffs) {
		memcpy(p->diffs[i].what, what, sizeof(what));
		p->nr_diffs++;
	}
	p->diffs[i].times++;
}

/* ---- what a message is about ------------------------------------------------------ */

struct dlm_name player_name(uint16_t type, const uint8_t *p)
{
	static const struct {
		uint16_t type;
		uint8_t len, name;
	} at[] = {
		{ DLM_MASTER_REQUEST_MSG, 1, 8 }, { DLM_ASSERT_MASTER_MSG, 1, 8 },
		{ DLM_CREATE_LOCK_MSG, 15, 16 },  { DLM_CONVERT_LOCK_MSG, 15, 16 },
		{ DLM_PROXY_AST_MSG, 15, 16 },	  { DLM_UNLOCK_LOCK_MSG, 15, 16 },
		{ DLM_DEREF_LOCKRES_MSG, 7, 8 },  { DLM_DEREF_LOCKRES_DONE, 7, 8 },
		{ DLM_MIGRATE_REQUEST_MSG, 2, 8 }, { DLM_MIG_LOCKRES_MSG, 1, 16 },
		{ DLM_MASTER_REQUERY_MSG, 3, 8 },
	};

	for (size_t i = 0; i < sizeof(at) / sizeof(*at); i++) {
		if (at[i].type == type && p[at[i].len] > 0 && p[at[i].len] <= DLM_NAME_MAX)
			return dlm_name_make(p + at[i].name, p[at[i].len]);
	}
	return (struct dlm_name){ 0 };
}

uint64_t player_cookie(const uint8_t *p)
{
	uint64_t c = 0;

	for (int i = 0; i < 8; i++)
		c = c << 8 | p[i];
	return c;
}

static void put_cookie(uint8_t *p, uint64_t c)
{
	for (int i = 7; i >= 0; i--, c >>= 8)
		p[i] = (uint8_t)c;
}

static bool has_cookie(uint16_t type)
{
	return type == DLM_CREATE_LOCK_MSG || type == DLM_CONVERT_LOCK_MSG ||
	       type == DLM_PROXY_AST_MSG || type == DLM_UNLOCK_LOCK_MSG;
}

/* The node's own cookies in a payload, to the recorded ones or to ours. */
static void map_cookie(struct player *p, uint8_t *at, bool to_recorded)
{
	uint64_t c = player_cookie(at);

	if (c >> 56 != p->me)
		return;
	for (int i = p->nr_locks - 1; i >= 0; i--) {
		struct player_lock *l = &p->locks[i];

		if (!l->recorded || (to_recorded ? l->ours : l->recorded) != c)
			continue;
		put_cookie(at, to_recorded ? l->recorded : l->ours);
		return;
	}
	if (!to_recorded)
		player_differs(p, "message about a lock that ours has not");
}

static void map_cookies(struct player *p, uint16_t type, uint8_t *payload, bool to_recorded)
{
	if (has_cookie(type))
		map_cookie(p, payload, to_recorded);
	for (int i = 0; type == DLM_MIG_LOCKRES_MSG && i < payload[2]; i++)
		map_cookie(p, payload + 112 + 16 * i, to_recorded);
}

bool player_is(const struct player *p, int i, bool mine, uint16_t type)
{
	const struct trace_frame *f = &p->t->f[i];

	return f->kind == TRACE_MESSAGE && (!type || f->h.type == type) &&
	       (mine ? f->from : f->to) == p->me;
}

int player_next(const struct player *p, int from, bool mine, uint16_t type,
		const struct dlm_name *name)
{
	for (int i = from; i < p->t->n; i++) {
		struct dlm_name n;

		if (!player_is(p, i, mine, type))
			continue;
		n = player_name(p->t->f[i].h.type, p->t->f[i].payload);
		if (!name || dlm_name_equal(&n, name))
			return i;
	}
	return -1;
}

/* ---- transport --------------------------------------------------------------------- */

static void tr_send(void *ctx, uint64_t token, node_t to, uint32_t key, uint16_t type,
		    const void *payload, size_t len)
{
	struct player *p = ctx;
	struct player_send *s;

	(void)key;
	cr_assert_lt(p->nr_sends, PLAYER_SENDS);
	s = &p->sends[p->nr_sends++];
	*s = (struct player_send){ .token = token, .to = to, .type = type, .len = len,
				   .payload = malloc(len), .frame = -1 };
	cr_assert(s->payload);
	memcpy(s->payload, payload, len);
}

static void tr_timer_set(void *ctx, uint64_t id, uint32_t ms)
{
	struct player *p = ctx;
	int use = -1;

	for (int i = 0; i < PLAYER_TIMERS; i++) {
		if (p->timers[i].set && p->timers[i].id == id) {
			use = i;
			break;
		}
		if (!p->timers[i].set && use < 0)
			use = i;
	}
	cr_assert_geq(use, 0);
	p->timers[use].id = id;
	p->timers[use].due = p->now + ms;
	p->timers[use].set = true;
}

static void tr_timer_clear(void *ctx, uint64_t id)
{
	struct player *p = ctx;

	for (int i = 0; i < PLAYER_TIMERS; i++) {
		if (p->timers[i].set && p->timers[i].id == id)
			p->timers[i].set = false;
	}
}

static uint32_t tr_random(void *ctx, uint32_t bound)
{
	(void)ctx;
	return bound - 1; /* the longest delays: the kernel polls */
}

static void tr_key(void *ctx, uint32_t key)
{
	(void)ctx;
	(void)key;
}

static void tr_fence(void *ctx, const char *domain, const char *why)
{
	struct player *p = ctx;

	cr_assert_fail("node %d, frame %d: fence of %s: %s", p->me, p->at, domain, why);
}

static const struct dlm_transport transport = { .send = tr_send, .timer_set = tr_timer_set,
						.timer_clear = tr_timer_clear,
						.random = tr_random, .key_open = tr_key,
						.key_close = tr_key, .fence = tr_fence };

static void on_joined(void *ctx, struct dlm_domain *dom, int err, const char *why)
{
	struct player *p = ctx;

	cr_assert_eq(err, 0, "node %d: %s", p->me, why);
	p->dom = dom;
	p->joined = true;
}

static void on_left(void *ctx)
{
	struct player *p = ctx;

	p->dom = NULL;
	p->joined = false;
}

static void on_evicted(void *ctx, node_t node)
{
	(void)ctx;
	(void)node;
}

static void on_members(void *ctx, node_t node, bool joined)
{
	(void)ctx;
	(void)node;
	(void)joined;
}

static const struct dlm_domain_ops domain_ops = { .joined = on_joined, .left = on_left,
						  .evicted = on_evicted, .members = on_members };

static void join(struct player *p, const struct trace_frame *f)
{
	struct dlm_domain_config cfg = { .fs_major = 1, .ops = &domain_ops, .ctx = p };

	/* QUERY_JOIN: the length of the name at 3, the name at 8. */
	memcpy(cfg.name, f->payload + 8, f->payload[3]);
	cr_assert_eq(dlm_join(p->dlm, &cfg, &p->dom), 0);
}

/* ---- messages of the core ----------------------------------------------------------- */

static bool same_subject(const struct player_send *s, const struct trace_frame *f)
{
	struct dlm_name a = player_name(s->type, s->payload), b = player_name(s->type, f->payload);

	if (f->to != s->to || f->h.type != s->type || !dlm_name_equal(&a, &b))
		return false;
	if (has_cookie(s->type) && memcmp(s->payload, f->payload, 8) != 0)
		return false;
	if (s->type == DLM_PROXY_AST_MSG)
		return s->payload[13] == f->payload[13];
	/* Flags: another round; stage. */
	if (s->type == DLM_ASSERT_MASTER_MSG)
		return !memcmp(s->payload + 4, f->payload + 4, 4);
	if (s->type == DLM_FINALIZE_RECO_MSG)
		return s->payload[2] == f->payload[2];
	return true;
}

static void outcome(struct player *p, struct player_send *s, int err, int32_t status)
{
	s->over = true;
	dlm_sent(p->dlm, s->token, err, status);
}

static void compare(struct player *p, const struct player_send *s, const struct trace_frame *f)
{
	if (s->len == f->h.len && !memcmp(s->payload, f->payload, s->len)) {
		p->same_messages++;
		return;
	}
	player_differs(p, "other bytes: %s", dlm_msg_name(s->type));
	for (size_t i = 0; p->verbose && i < s->len && i < f->h.len; i++) {
		if (s->payload[i] != f->payload[i])
			fprintf(stderr, "  at %zu: ours %02x, kernel %02x\n", i, s->payload[i],
				f->payload[i]);
	}
}

/* The recorded message that this is: the first that nobody claimed. */
static int find_frame(const struct player *p, const struct player_send *s)
{
	for (int i = 0; i < p->t->n; i++) {
		const struct trace_frame *f = &p->t->f[i];

		if (f->ms > p->now + AHEAD_MS)
			break;
		if (player_is(p, i, true, s->type) && !p->claimed[i] && same_subject(s, f))
			return i;
	}
	return -1;
}

/* What a kernel node answers to a message that no kernel node sent. */
static int32_t made_up_answer(struct player *p, const struct player_send *s)
{
	struct dlm_name name = player_name(s->type, s->payload);
	struct dlm_res *res = p->dom ? dlm_res_find(p->dom, &name) : NULL;

	if (s->type == DLM_MASTER_REQUEST_MSG)
		return res && res->owner == s->to ? DLM_MASTER_YES : DLM_MASTER_NO;
	if (s->type == DLM_MASTER_REQUERY_MSG)
		return NODE_NONE;
	return 0;
}

static void claim(struct player *p, struct player_send *s)
{
	const struct trace_frame *f;
	int i;

	map_cookies(p, s->type, s->payload, true);
	i = find_frame(p, s);
	if (i < 0) {
		player_differs(p, "only ours: %s", dlm_msg_name(s->type));
		outcome(p, s, 0, made_up_answer(p, s));
		return;
	}
	f = &p->t->f[i];
	s->frame = i;
	p->claimed[i] = (int)(s - p->sends) + 1;
	compare(p, s, f);
	if (f->other >= 0 && f->other < p->at)
		outcome(p, s, p->t->f[f->other].h.sys_status ? -ENOPROTOOPT : 0,
			p->t->f[f->other].h.status);
}

/* Bring to an end what the last input caused: claim what was sent, let users act. */
static void settle(struct player *p)
{
	int seen;

	do {
		seen = p->nr_sends;
		while (p->first_open < p->nr_sends) {
			claim(p, &p->sends[p->first_open++]);
			seen = -1;
		}
		script_settle(p);
	} while (seen != p->nr_sends);
}

/* ---- the session -------------------------------------------------------------------- */

static void clock_to(struct player *p, uint64_t ms)
{
	for (;;) {
		int best = -1;

		for (int i = 0; i < PLAYER_TIMERS; i++) {
			if (p->timers[i].set &&
			    (best < 0 || p->timers[i].due < p->timers[best].due))
				best = i;
		}
		if (best < 0 || p->timers[best].due > ms)
			break;
		if (p->timers[best].due > p->now)
			p->now = p->timers[best].due;
		p->timers[best].set = false;
		dlm_timer(p->dlm, p->timers[best].id);
		settle(p);
	}
	p->now = ms;
}

static node_t peer_of(const struct player *p, const struct trace_frame *f)
{
	return f->from == p->me ? f->to : f->from;
}

static void greeted(struct player *p, node_t peer)
{
	if (++p->greeted[peer] < 2)
		return;
	dlm_map_set(&p->up, peer);
	dlm_node_up(p->dlm, peer);
	dlm_link_up(p->dlm, peer, ++p->epoch);
	settle(p);
}

static void lost(struct player *p, node_t peer)
{
	p->greeted[peer] = 0;
	if (!dlm_map_test(&p->up, peer))
		return;
	dlm_map_clear(&p->up, peer);
	for (int i = 0; i < p->nr_sends; i++) {
		if (p->sends[i].to == peer && !p->sends[i].over)
			outcome(p, &p->sends[i], -EHOSTDOWN, 0);
	}
	settle(p);
	dlm_node_down(p->dlm, peer);
	settle(p);
}

static void hear(struct player *p, int i)
{
	const struct trace_frame *f = &p->t->f[i];
	const struct net_frame *want = f->other >= 0 ? &p->t->f[f->other].h : NULL;
	uint8_t payload[DLM_MAX_PAYLOAD];
	struct dlm_reply r;

	script_before(p, i);
	settle(p);
	memcpy(payload, f->payload, f->h.len);
	map_cookies(p, f->h.type, payload, false);
	r = dlm_message(p->dlm, f->from, f->h.key, f->h.type, payload, f->h.len);
	if (want && r.sys_status == want->sys_status && r.status == want->status)
		p->same_answers++;
	else if (want)
		player_differs(p, "answer to %s: %d for %d", dlm_msg_name(f->h.type), r.status,
			       want->status);
	settle(p);
	if (r.written_token) {
		dlm_reply_written(p->dlm, r.written_token);
		settle(p);
	}
}

static void say(struct player *p, int i)
{
	if (!p->claimed[i] && p->t->f[i].h.type == DLM_QUERY_JOIN_MSG && !p->dom) {
		join(p, &p->t->f[i]);
		settle(p);
	}
	if (!p->claimed[i] && p->dom) {
		script_provoke(p, i);
		settle(p);
	}
}

static void answered(struct player *p, const struct trace_frame *f)
{
	int s = p->claimed[f->other] - 1;

	if (s < 0 || p->sends[s].over)
		return;
	outcome(p, &p->sends[s], f->h.sys_status ? -ENOPROTOOPT : 0, f->h.status);
	settle(p);
}

static void begin(struct player *p)
{
	struct dlm_config cfg = { .self = p->me, .proto_minor = 3, .purge_ms = 8000 };
	struct dlm_table_entry table[NODE_MAX] = { 0 };
	int first = player_next(p, 0, true, DLM_QUERY_JOIN_MSG, NULL);
	int other = player_next(p, 0, false, DLM_QUERY_JOIN_MSG, NULL);
	int nodes = 0;

	p->dlm = dlm_new(&cfg, &transport, p);
	cr_assert(p->dlm);
	for (int i = 0; i < p->t->n; i++) {
		if (p->t->f[i].from > nodes)
			nodes = p->t->f[i].from;
	}
	for (int i = 1; i <= nodes; i++)
		table[i] = (struct dlm_table_entry){ .present = true, .port = 7777,
						     .addr = 0x0a4d0000u + (uint32_t)i };
	dlm_set_table(p->dlm, table);
	dlm_node_up(p->dlm, p->me);
	/* Who was asked to let somebody in before it asked had joined before the recording. */
	if (first < 0 || (other >= 0 && other < first)) {
		join(p, &p->t->f[other]);
		settle(p);
		cr_assert(p->joined);
	}
}

void player_run(struct player *p, const struct trace *t, node_t me, uint64_t until_ms)
{
	bool verbose = getenv("PLAYER_VERBOSE");
	int last = 0;

	*p = (struct player){ .t = t, .me = me, .verbose = verbose };
	p->claimed = calloc((size_t)t->n, sizeof(*p->claimed));
	cr_assert(p->claimed);
	begin(p);
	for (int i = 0; i < t->n; i++) {
		if (t->f[i].from == me && (!until_ms || t->f[i].ms < until_ms))
			last = i; /* later it is dead */
	}
	for (p->at = 0; p->at <= last; p->at++) {
		const struct trace_frame *f = &t->f[p->at];

		if (f->from != me && f->to != me)
			continue;
		clock_to(p, f->ms);
		switch (f->kind) {
		case TRACE_HANDSHAKE:
			greeted(p, peer_of(p, f));
			break;
		case TRACE_CLOSED:
			lost(p, peer_of(p, f));
			break;
		case TRACE_MESSAGE:
			if (f->to == me)
				hear(p, p->at);
			else
				say(p, p->at);
			break;
		case TRACE_REPLY:
			if (f->to == me)
				answered(p, f);
			break;
		case TRACE_KEEPALIVE:
			break;
		}
	}
	for (int i = 0; i < p->at; i++) {
		if (player_is(p, i, true, 0) && !p->claimed[i]) {
			if (p->verbose)
				fprintf(stderr, "never said: frame %d\n", i);
			player_differs(p, "only the kernel: %s", dlm_msg_name(t->f[i].h.type));
		}
	}
}

void player_free(struct player *p)
{
	dlm_free(p->dlm);
	for (int i = 0; i < p->nr_sends; i++)
		free(p->sends[i].payload);
	free(p->claimed);
}
