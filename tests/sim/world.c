/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * world.c: the clock, the event queue, and a node's life.
 *
 * Events are ordered by (time, number of creation), so equal times have a defined order.
 * Phases of a run: traffic for opt.steps steps; then nobody asks for anything new and all
 * open requests must be answered, by holders that do no more than obey their BASTs; then
 * everything is given up and must be purged everywhere; then every node leaves.
 */
#include "tests/sim/world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REST_US (12000ull * SIM_MS)
#define PHASE_LIMIT_US (900ull * 1000 * SIM_MS) /* a phase that lasts longer hangs */

/* ---- queue ---------------------------------------------------------------------- */

static bool before(const struct sim_event *a, const struct sim_event *b)
{
	return a->when != b->when ? a->when < b->when : a->seq < b->seq;
}

static void push(struct sim_world *w, const struct sim_event *ev);

void world_at(struct sim_world *w, uint64_t delay_us, enum sim_event_kind kind, node_t node,
	      void *ptr, uint64_t arg)
{
	push(w, &(struct sim_event){ .when = w->now + delay_us, .seq = w->seq++, .kind = kind,
				     .life = w->nodes[node].life, .node = node, .ptr = ptr,
				     .arg = arg });
}

static void push(struct sim_world *w, const struct sim_event *ev)
{
	size_t i = w->heap_len++;

	if (w->heap_len > w->heap_room) {
		w->heap_room = w->heap_room ? 2 * w->heap_room : 1024;
		w->heap = sim_realloc(w->heap, w->heap_room * sizeof(*w->heap));
		if (!w->heap)
			abort();
	}
	while (i > 0 && before(ev, &w->heap[(i - 1) / 2])) {
		w->heap[i] = w->heap[(i - 1) / 2];
		i = (i - 1) / 2;
	}
	w->heap[i] = *ev;
}

static bool pop(struct sim_world *w, struct sim_event *out)
{
	struct sim_event last;
	size_t i = 0;

	if (w->heap_len == 0)
		return false;
	*out = w->heap[0];
	last = w->heap[--w->heap_len];
	for (;;) {
		size_t c = 2 * i + 1;

		if (c >= w->heap_len)
			break;
		if (c + 1 < w->heap_len && before(&w->heap[c + 1], &w->heap[c]))
			c++;
		if (!before(&w->heap[c], &last))
			break;
		w->heap[i] = w->heap[c];
		i = c;
	}
	if (w->heap_len)
		w->heap[i] = last;
	return true;
}

bool world_decides(struct sim_world *w)
{
	uint64_t number = w->decisions++;

	for (int i = 0; i < w->opt.skips; i++)
		if (number >= w->opt.skip[i].lo && number < w->opt.skip[i].hi)
			return false;
	return true;
}

void world_mix(struct sim_world *w, uint64_t v)
{
	w->digest = (w->digest ^ v) * 0x100000001b3u;
}

void world_fail(struct sim_world *w, const char *fmt, ...)
{
	va_list ap;

	if (world_failed(w))
		return;
	va_start(ap, fmt);
	vsnprintf(w->failure, sizeof(w->failure), fmt, ap);
	va_end(ap);
	trace(w, "FAILED %s", w->failure);
}

/* ---- nodes ------------------------------------------------------------------------ */

static void node_log(struct logger *self, enum log_level level, const char *subsys,
		     const char *line)
{
	struct sim_node *n = (struct sim_node *)((char *)self - offsetof(struct sim_node, log));

	if (level <= LOG_LVL_DEBUG)
		trace(n->w, "n%d %s: %s", n->id, subsys, line);
}

void node_start(struct sim_node *n)
{
	struct sim_world *w = n->w;
	struct dlm_config cfg = { .self = n->id, .log = &n->log, .proto_minor = 3 };
	struct dlm_table_entry table[NODE_MAX] = { 0 };
	static const uint32_t purge[] = { 8000, 8000, 1000, 50 };

	sim_each_node (i, w)
		table[i] = (struct dlm_table_entry){ .present = true, .port = 7777,
						     .addr = 0x0a000000u + (uint32_t)i };
	n->life++;
	n->log = (struct logger){ .emit = node_log,
				  .max = w->opt.trace ? LOG_LVL_DEBUG : LOG_LVL_ERR };
	cfg.purge_ms = purge[w->profile.fast_purge ? 3 : rng_below(&w->rng, 4)];
	n->kernel_like = rng_percent(&w->rng, 30);
	n->state = NODE_OUT;
	n->dlm = dlm_new(&cfg, &sim_transport, n);
	if (!n->dlm)
		abort();
	dlm_set_table(n->dlm, table);
	trace(w, "n%d starts life %u purge=%u%s", n->id, n->life, cfg.purge_ms,
	      n->kernel_like ? " kernel-like" : "");
	net_node_started(n);
	workload_node_started(n);
}

void node_kill(struct sim_node *n)
{
	trace(n->w, "n%d dies", n->id);
	n->state = NODE_DEAD;
	n->life++; /* its events are dropped from now on */
	check_node_died(n);
	workload_node_died(n);
	dlm_free(n->dlm);
	n->dlm = NULL;
	n->dom = NULL;
	n->key_open = false;
	net_node_died(n);
}

void world_init(struct sim_world *w, const struct sim_options *opt)
{
	memset(w, 0, sizeof(*w));
	w->opt = *opt;
	w->rng.s = opt->seed * 0x9e3779b97f4a7c15u + (uint64_t)opt->nodes;
	w->outbox_tail = &w->outbox_head;
	w->first = opt->nodes == SIM_NODES_MAX ? 0 : 1;
	w->last = w->first + opt->nodes - 1;
	net_init(w);
	workload_start(w);
	sim_each_node (i, w) {
		w->nodes[i].w = w;
		w->nodes[i].id = (node_t)i;
	}
	sim_each_node (i, w)
		node_start(&w->nodes[i]);
	faults_start(w);
	alloc_fail_at(opt->fail_alloc);
}

void world_free(struct sim_world *w)
{
	struct sim_event ev;

	sim_each_node (i, w) {
		if (w->nodes[i].dlm)
			dlm_free(w->nodes[i].dlm);
		net_timers_free(&w->nodes[i]);
	}
	while (pop(w, &ev))
		net_event_drop(w, &ev);
	net_free(w);
	workload_free(w);
	free(w->heap);
}

/* ---- running ---------------------------------------------------------------------- */

/* One event that is not stale. False: nothing is left to happen. */
static bool step(struct sim_world *w)
{
	struct sim_event ev;
	struct sim_node *n;

	do {
		if (!pop(w, &ev))
			return false;
		n = &w->nodes[ev.node];
		w->now = ev.when;
		if (ev.life == n->life && n->state != NODE_DEAD && !net_event_stale(w, &ev)) {
			if (n->paused_until <= w->now)
				break;
			ev.when = n->paused_until; /* the same order as ever, only later */
			push(w, &ev);
		} else {
			net_event_drop(w, &ev);
		}
		n = NULL;
	} while (!n);

	w->step++;
	world_mix(w, ev.when ^ (uint64_t)ev.kind << 56 ^ (uint64_t)ev.node << 48);
	switch (ev.kind) {
	case EV_NODE:
	case EV_USER:
	case EV_CANCEL:
	case EV_YIELD:
		workload_event(w, &ev);
		break;
	case EV_CUT:
	case EV_HEAL:
	case EV_KILL:
	case EV_RESTART:
	case EV_CHAOS:
		faults_event(w, &ev);
		break;
	default:
		net_event(w, &ev);
	}
	if (!w->opt.no_check && !world_failed(w))
		check_step(w, n);
	return true;
}

typedef bool reached_fn(const struct sim_world *w);

/* Run until a condition holds; a phase that takes too long, or dries up, fails. */
static void phase(struct sim_world *w, const char *what, reached_fn *reached)
{
	uint64_t limit = w->now + PHASE_LIMIT_US;

	while (!world_failed(w) && !reached(w)) {
		if (!step(w)) {
			members_explain(w);
			world_fail(w, "nothing is left to happen, but not %s", what);
		}
		if (w->now > limit) {
			members_explain(w);
			world_fail(w, "%u s later still not %s",
				   (unsigned int)(PHASE_LIMIT_US / 1000 / SIM_MS), what);
		}
	}
	trace(w, "phase: %s", what);
}

static bool steps_done(const struct sim_world *w)
{
	return w->step >= w->opt.steps;
}

/* What a broken link left open is taken up again by timers: give them their time. */
static void let_timers_run(struct sim_world *w)
{
	uint64_t until = w->now + REST_US;

	while (!world_failed(w) && (w->now < until || !net_quiet(w)))
		if (!step(w))
			break;
}

void world_run(struct sim_world *w)
{
	while (!world_failed(w) && !steps_done(w)) {
		if (!step(w)) {
			members_explain(w);
			world_fail(w, "the traffic dried up");
		}
	}
	w->stage = STAGE_ANSWER;
	workload_stage(w);
	phase(w, "every link whole and every node back", faults_over);
	phase(w, "every request answered", workload_answered);
	phase(w, "every message answered", net_quiet);
	if (w->opt.cuts)
		let_timers_run(w);
	if (!world_failed(w) && !w->opt.no_check)
		check_rest(w);
	w->stage = STAGE_RELEASE;
	workload_stage(w);
	phase(w, "every lock given up", workload_idle);
	phase(w, "every resource purged", check_all_purged);
	w->stage = STAGE_LEAVE;
	workload_stage(w);
	phase(w, "every node out of the domain", workload_all_out);
}
