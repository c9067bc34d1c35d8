/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * core.c: the speed of the core alone: no thread, no socket, no system call.
 *
 * Measured in processor time of the one thread there is.
 *
 * Effects land in this file: a message goes into a ring that pump() carries, timers are
 * noted and never run out (nothing here waits for one but the 0 ms ones).
 */
#include "tests/bench/bench.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#define NODES 2
#define RING 64
#define TIMERS 64

struct msg {
	node_t from, to;
	uint64_t token;
	uint32_t key;
	uint16_t type;
	size_t len;
	uint8_t payload[DLM_MAX_PAYLOAD];
};

struct node {
	struct bench_core *b;
	node_t id;
	struct dlm *dlm;
	struct dlm_domain *dom;
	uint64_t due[TIMERS]; /* ids of 0 ms timers */
	int nr_due;
};

struct bench_core {
	int nodes;
	struct node n[NODES + 1];
	struct msg ring[RING];
	unsigned int head, tail;
	uint64_t asts, unlock_asts;
	uint32_t rng;
};

static void tr_send(void *ctx, uint64_t token, node_t to, uint32_t key, uint16_t type,
		    const void *payload, size_t len)
{
	struct node *n = ctx;
	struct bench_core *b = n->b;
	struct msg *m = &b->ring[b->tail++ % RING];

	if (b->tail - b->head > RING)
		bench_die("more than %d messages under way", RING);
	m->from = n->id;
	m->to = to;
	m->token = token;
	m->key = key;
	m->type = type;
	m->len = len;
	memcpy(m->payload, payload, len);
}

static void tr_timer_set(void *ctx, uint64_t id, uint32_t ms)
{
	struct node *n = ctx;

	if (ms > 0)
		return;
	if (n->nr_due == TIMERS)
		bench_die("more than %d timers", TIMERS);
	n->due[n->nr_due++] = id;
}

static void tr_timer_clear(void *ctx, uint64_t id)
{
	(void)ctx;
	(void)id;
}

static uint32_t tr_random(void *ctx, uint32_t bound)
{
	struct bench_core *b = ((struct node *)ctx)->b;

	b->rng = b->rng * 1664525u + 1013904223u;
	return (uint32_t)(((uint64_t)b->rng * bound) >> 32);
}

static void tr_key(void *ctx, uint32_t key)
{
	(void)ctx;
	(void)key;
}

static void tr_fence(void *ctx, const char *domain, const char *why)
{
	(void)ctx;
	bench_die("%s is fenced: %s", domain, why);
}

static const struct dlm_transport transport = {
	.send = tr_send, .timer_set = tr_timer_set, .timer_clear = tr_timer_clear,
	.random = tr_random, .key_open = tr_key, .key_close = tr_key, .fence = tr_fence
};

static void pump(struct bench_core *b)
{
	for (;;) {
		bool any = false;

		while (b->head != b->tail) {
			struct msg *m = &b->ring[b->head++ % RING];
			node_t from = m->from;
			uint64_t token = m->token;
			struct dlm_reply r = dlm_message(b->n[m->to].dlm, from, m->key, m->type,
							 m->payload, m->len);

			dlm_sent(b->n[from].dlm, token, r.sys_status == 1 ? -92 : 0, r.status);
			any = true;
		}
		for (int i = 1; i <= b->nodes; i++) {
			struct node *n = &b->n[i];

			while (n->nr_due) {
				dlm_timer(n->dlm, n->due[--n->nr_due]);
				any = true;
			}
		}
		if (!any)
			return;
	}
}

static void on_joined(void *ctx, struct dlm_domain *dom, int err, const char *why)
{
	if (err)
		bench_die("join: %s", why);
	((struct node *)ctx)->dom = dom;
}

static void on_left(void *ctx)
{
	(void)ctx;
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

struct bench_core *bench_core_new(int nodes)
{
	struct bench_core *b = calloc(1, sizeof(*b));
	struct dlm_domain_config cfg = { .name = BENCH_DOMAIN, .fs_major = 1, .ops = &domain_ops };
	struct dlm_domain *dom;

	if (!b)
		bench_die("out of memory");
	b->nodes = nodes;
	for (int i = 1; i <= nodes; i++) {
		struct dlm_config dc = { .self = (node_t)i, .proto_minor = 3, .purge_ms = 8000 };
		struct node *n = &b->n[i];

		n->b = b;
		n->id = (node_t)i;
		n->dlm = dlm_new(&dc, &transport, n);
		if (!n->dlm)
			bench_die("out of memory");
	}
	for (int i = 1; i <= nodes; i++)
		for (int j = 1; j <= nodes; j++)
			dlm_node_up(b->n[i].dlm, (node_t)j);
	for (int i = 1; i <= nodes; i++) {
		cfg.ctx = &b->n[i];
		if (dlm_join(b->n[i].dlm, &cfg, &dom))
			bench_die("cannot join");
		pump(b);
		if (!b->n[i].dom)
			bench_die("node %d did not join", i);
	}
	return b;
}

void bench_core_free(struct bench_core *b)
{
	for (int i = 1; i <= b->nodes; i++)
		dlm_free(b->n[i].dlm);
	free(b);
}

/* ---- users --------------------------------------------------------------------------- */

static void on_done(void *data, enum dlm_call call, enum dlm_status status)
{
	(void)data;
	if (status != DLM_NORMAL)
		bench_die("call %d is refused: %d", (int)call, (int)status);
}

static void on_ast(void *data, const uint8_t *lvb)
{
	(void)lvb;
	((struct bench_core *)data)->asts++;
}

static void on_bast(void *data, int mode)
{
	(void)data;
	bench_die("a BAST for %s", dlm_mode_name(mode));
}

static void on_unlock_ast(void *data, enum dlm_status status)
{
	(void)status;
	((struct bench_core *)data)->unlock_asts++;
}

static const struct dlm_lock_ops lock_ops = { .done = on_done, .ast = on_ast, .bast = on_bast,
					      .unlock_ast = on_unlock_ast };

static struct dlm_lock *lock(struct bench_core *b, int node, uint32_t res, int mode,
			     uint32_t flags)
{
	uint8_t name[BENCH_NAME_LEN];
	struct dlm_lock *l;

	bench_name(res, name);
	if (dlm_lock(b->n[node].dom, name, sizeof(name), mode, flags, &lock_ops, b, &l))
		bench_die("dlm_lock fails");
	return l;
}

static struct dlm_lock **hold_all(struct bench_core *b, uint32_t n)
{
	struct dlm_lock **held = calloc(n, sizeof(struct dlm_lock *));

	if (!held)
		bench_die("out of memory");
	for (uint32_t i = 0; i < n; i++) {
		held[i] = lock(b, 1, i, DLM_MODE_NL, 0);
		pump(b);
	}
	if (b->asts != n)
		bench_die("%llu of %u locks granted", (unsigned long long)b->asts, n);
	return held;
}

/* Every resource once in n steps, in an order that no cache foresees: i * p mod n with p
 * a prime that does not divide n. */
static uint32_t nth(uint64_t i, uint32_t n)
{
	return (uint32_t)(i * 2654435761u % n);
}

double bench_local_pairs(uint32_t n, double seconds, double *bytes)
{
	struct bench_core *b = bench_core_new(1);
	size_t before = mallinfo2().uordblks + mallinfo2().hblkhd;
	struct dlm_lock **held = hold_all(b, n);
	size_t after = mallinfo2().uordblks + mallinfo2().hblkhd;
	uint64_t pairs = 0;
	double start, took;

	/* hold_all()'s own array is not the core's. */
	*bytes = ((double)after - (double)before) / n - (double)sizeof(struct dlm_lock *);
	b->asts = 0;
	start = bench_cpu();
	do {
		for (int i = 0; i < 1000; i++) {
			struct dlm_lock *l = lock(b, 1, nth(pairs++, n), DLM_MODE_PR, 0);

			dlm_unlock(l, 0, NULL);
		}
		took = bench_cpu() - start;
	} while (took < seconds);
	if (b->asts != pairs || b->unlock_asts != pairs)
		bench_die("%llu pairs, %llu granted", (unsigned long long)pairs,
			  (unsigned long long)b->asts);
	free(held);
	bench_core_free(b);
	return (double)pairs / took;
}

double bench_convert(uint32_t n, double seconds)
{
	static const int to[] = { DLM_MODE_PR, DLM_MODE_EX, DLM_MODE_NL };
	struct bench_core *b = bench_core_new(1);
	struct dlm_lock **held = hold_all(b, n);
	uint64_t rounds = 0;
	double start, took;

	b->asts = 0;
	start = bench_cpu();
	do {
		for (int i = 0; i < 1000; i++) {
			struct dlm_lock *l = held[nth(rounds++, n)];

			for (int k = 0; k < 3; k++)
				dlm_convert(l, to[k], 0, NULL);
		}
		took = bench_cpu() - start;
	} while (took < seconds);
	if (b->asts != 3 * rounds)
		bench_die("%llu conversions, %llu granted", (unsigned long long)(3 * rounds),
			  (unsigned long long)b->asts);
	free(held);
	bench_core_free(b);
	return 3.0 * (double)rounds / took;
}

double bench_simulated_remote(double seconds)
{
	struct bench_core *b = bench_core_new(2);
	uint64_t pairs = 0;
	double start, took;

	/* Node 1 owns them and keeps them by a reference of its own lock. */
	for (uint32_t i = 0; i < 1000; i++) {
		(void)lock(b, 1, i, DLM_MODE_NL, 0);
		pump(b);
		(void)lock(b, 2, i, DLM_MODE_NL, 0);
		pump(b);
	}
	b->asts = 0;
	start = bench_cpu();
	do {
		for (int i = 0; i < 100; i++) {
			struct dlm_lock *l = lock(b, 2, nth(pairs++, 1000), DLM_MODE_PR, 0);

			pump(b);
			dlm_unlock(l, 0, NULL);
			pump(b);
		}
		took = bench_cpu() - start;
	} while (took < seconds);
	if (b->asts != pairs || b->unlock_asts != pairs)
		bench_die("%llu pairs, %llu granted", (unsigned long long)pairs,
			  (unsigned long long)b->asts);
	bench_core_free(b);
	return (double)pairs / took;
}
