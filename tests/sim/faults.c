/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * faults.c: links that break, stall and come back; nodes that pause, die and come back.
 *
 * A cut drops what is on the wire in both directions; each end notices in its own time
 * (net.c). It is healed long before quorum would decide. A node dies with all that it
 * holds; the others notice by their heartbeat, each in its own time, and only when all
 * have noticed it may come back, in a new life.
 *
 * With --chaos, one direction of a link may carry nothing for a while, the other all (what
 * was sent first arrives last; often the link breaks then, and it is lost), and a process
 * may stand still. And each seed has a type of message: now and then a fault strikes just
 * before one is handled, after it is handled but before its answer, or just after.
 */
#include "tests/sim/world.h"

#include <stdlib.h>

#define AT_MESSAGE_PERCENT 3

static void next(struct sim_world *w, uint32_t lo_ms, uint32_t hi_ms, enum sim_event_kind kind)
{
	world_at(w, rng_range(&w->rng, lo_ms, hi_ms) * SIM_MS, kind, SIM_WORLD, NULL, 0);
}

static node_t some_node(struct sim_world *w)
{
	return (node_t)rng_range(&w->rng, (uint32_t)w->first, (uint32_t)w->last);
}

static void next_kill(struct sim_world *w)
{
	next(w, w->opt.murder ? 50 : 1000, w->opt.murder ? 3000 : 10000, EV_KILL);
}

/* One of the two ends of a message that recovers, masters, hands over or lets in dies now. */
void faults_message(struct sim_world *w, node_t from, node_t to, uint16_t type)
{
	bool late = type >= DLM_MASTER_REQUERY_MSG && type <= DLM_FINALIZE_RECO_MSG;

	if (!w->opt.murder || w->stage != STAGE_TRAFFIC || dlm_msg_membership(type))
		return;
	if (type == DLM_MIGRATE_REQUEST_MSG || type == DLM_MIG_LOCKRES_MSG)
		late = true;
	if (rng_below(&w->rng, 1000) < (late ? 15u : 1u))
		world_at(w, rng_percent(&w->rng, 50) ? 0 : rng_range(&w->rng, 0, 300), EV_KILL,
			 SIM_WORLD, NULL, rng_percent(&w->rng, 50) ? from : to);
}

/* Somebody must be left to recover: two, so that it is more than a lone end. */
static bool enough(const struct sim_world *w)
{
	int in = 0;

	sim_each_node (i, w)
		in += w->nodes[i].dlm != NULL;
	return in > 2;
}

void faults_start(struct sim_world *w)
{
	if (w->opt.nodes < 2)
		return;
	if (w->opt.cuts)
		next(w, 50, 1500, EV_CUT);
	if (w->opt.kills)
		next_kill(w);
	if (w->opt.chaos)
		next(w, 10, 500, EV_CHAOS);
}

static void cut(struct sim_world *w, node_t a, node_t b)
{
	if (a == b || !w->nodes[a].dlm || !w->nodes[b].dlm || net_is_cut(w, a, b))
		return;
	net_cut(w, a, b);
	w->faults_open++;
	world_at(w, rng_range(&w->rng, 1, 400) * SIM_MS, EV_HEAL, SIM_WORLD, NULL,
		 (uint64_t)a << 8 | b);
}

static bool can_die(const struct sim_node *n)
{
	if (!n->dlm)
		return false;
	if (n->w->opt.murder)
		return enough(n->w);
	return n->w->opt.chaos ? net_seen(n) : net_steady(n);
}

static void kill_one(struct sim_node *n)
{
	struct sim_world *w = n->w;

	w->deaths++;
	w->faults_open++;
	node_kill(n);
	world_at(w, rng_range(&w->rng, 3200, 8000) * SIM_MS, EV_RESTART, SIM_WORLD, NULL, n->id);
}

/* Shorter than any threshold: nobody takes it for dead. */
static void pause_one(struct sim_node *n)
{
	uint64_t us = rng_range(&n->w->rng, 1, 800) * SIM_MS;

	trace(n->w, "n%d stands still for %u ms", n->id, (unsigned int)(us / SIM_MS));
	n->w->pauses++;
	if (n->paused_until < n->w->now + us) /* never earlier: its events keep their order */
		n->paused_until = n->w->now + us;
}

static void chaos(struct sim_world *w)
{
	node_t a = some_node(w), b = some_node(w);
	uint32_t ms = rng_range(&w->rng, 1, 300);

	if (rng_percent(&w->rng, 30)) {
		if (w->nodes[a].dlm)
			pause_one(&w->nodes[a]);
	} else if (a != b) {
		net_stall(w, a, b, ms * SIM_MS);
		if (w->opt.cuts && rng_percent(&w->rng, 40))
			world_at(w, ms * SIM_MS / 2, EV_CUT, SIM_WORLD, NULL,
				 1u << 16 | (uint64_t)a << 8 | b);
	}
}

/* ---- at a message -------------------------------------------------------------------- */

/* 0: nothing. */
enum { STRIKE_CUT = 1, STRIKE_RECEIVER, STRIKE_SENDER };

static int strike(struct sim_node *n, node_t from, uint16_t type)
{
	struct sim_world *w = n->w;
	bool due = w->opt.chaos && type == w->profile.fault_type && w->stage == STAGE_TRAFFIC &&
		   rng_percent(&w->rng, AT_MESSAGE_PERCENT);
	uint32_t dice;

	if (!due || !world_decides(w))
		return 0;
	dice = rng_below(&w->rng, 3);
	if (dice == 0 || !w->opt.kills)
		return w->opt.cuts && !net_is_cut(w, n->id, from) ? STRIKE_CUT : 0;
	if (dice == 1)
		return can_die(n) ? STRIKE_RECEIVER : 0;
	return can_die(&w->nodes[from]) ? STRIKE_SENDER : 0;
}

static bool struck(struct sim_node *n, node_t from, int what)
{
	if (what == STRIKE_CUT)
		cut(n->w, n->id, from);
	else if (what == STRIKE_RECEIVER)
		kill_one(n);
	else if (what == STRIKE_SENDER)
		kill_one(&n->w->nodes[from]);
	return what == STRIKE_CUT || what == STRIKE_RECEIVER;
}

bool faults_before(struct sim_node *n, node_t from, uint16_t type)
{
	return struck(n, from, strike(n, from, type));
}

bool faults_after(struct sim_node *n, node_t from, uint16_t type)
{
	return struck(n, from, strike(n, from, type));
}

/* ---- events ------------------------------------------------------------------------------ */

static void timed(struct sim_world *w, const struct sim_event *ev)
{
	bool planned = ev->arg != 0;

	switch (ev->kind) {
	case EV_CUT:
		if (!planned)
			next(w, 50, 1500, EV_CUT);
		if (!world_decides(w))
			break;
		if (planned)
			cut(w, (node_t)(ev->arg >> 8), (node_t)ev->arg);
		else
			cut(w, some_node(w), some_node(w));
		break;
	case EV_KILL: {
		struct sim_node *n = &w->nodes[planned ? (node_t)ev->arg : some_node(w)];

		if (!planned)
			next_kill(w);
		if (can_die(n) && world_decides(w))
			kill_one(n);
		break;
	}
	default:
		next(w, 10, 500, EV_CHAOS);
		if (world_decides(w))
			chaos(w);
		break;
	}
}

void faults_event(struct sim_world *w, const struct sim_event *ev)
{
	switch (ev->kind) {
	case EV_HEAL:
		net_heal(w, (node_t)(ev->arg >> 8), (node_t)ev->arg);
		w->faults_open--;
		break;
	case EV_RESTART:
		node_start(&w->nodes[ev->arg]);
		w->faults_open--;
		break;
	default:
		if (w->stage == STAGE_TRAFFIC)
			timed(w, ev);
	}
}

bool faults_over(const struct sim_world *w)
{
	return w->faults_open == 0;
}
