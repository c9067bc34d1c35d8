/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * faults.c: links that break and come back, nodes that die and come back.
 *
 * A cut drops what is on the wire in both directions; each end notices in its own time
 * (net.c). It is healed long before quorum would decide. A node dies with all that it
 * holds; the others notice by their heartbeat, each in its own time, and only when all
 * have noticed it may come back, in a new life.
 */
#include "tests/sim/world.h"

#include <stdlib.h>

static void next_cut(struct sim_world *w)
{
	world_at(w, rng_range(&w->rng, 50, 1500) * SIM_MS, EV_CUT, 0, NULL, 0);
}

static void next_kill(struct sim_world *w)
{
	uint32_t lo = w->opt.murder ? 50 : 1000, hi = w->opt.murder ? 3000 : 10000;

	world_at(w, rng_range(&w->rng, lo, hi) * SIM_MS, EV_KILL, 0, NULL, 0);
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
		world_at(w, rng_percent(&w->rng, 50) ? 0 : rng_range(&w->rng, 0, 300), EV_KILL, 0,
			 NULL, rng_percent(&w->rng, 50) ? from : to);
}

/* Somebody must be left to recover: two, so that it is more than a lone end. */
static bool enough(const struct sim_world *w)
{
	int in = 0;

	for (int i = 1; i <= w->opt.nodes; i++)
		in += w->nodes[i].dlm != NULL;
	return in > 2;
}

void faults_start(struct sim_world *w)
{
	if (w->opt.cuts && w->opt.nodes > 1)
		next_cut(w);
	if ((w->opt.kills || w->opt.murder) && w->opt.nodes > 1)
		next_kill(w);
}

static void cut(struct sim_world *w)
{
	node_t a = (node_t)rng_range(&w->rng, 1, (uint32_t)w->opt.nodes);
	node_t b = (node_t)rng_range(&w->rng, 1, (uint32_t)w->opt.nodes);

	next_cut(w);
	if (a == b || !w->nodes[a].dlm || !w->nodes[b].dlm || net_is_cut(w, a, b))
		return;
	net_cut(w, a, b);
	w->faults_open++;
	world_at(w, rng_range(&w->rng, 1, 400) * SIM_MS, EV_HEAL, 0, NULL, (uint64_t)a << 8 | b);
}

static void kill_one(struct sim_world *w, node_t chosen)
{
	struct sim_node *n = &w->nodes[chosen ? chosen :
				       rng_range(&w->rng, 1, (uint32_t)w->opt.nodes)];

	if (!chosen)
		next_kill(w);
	if (!n->dlm || (w->opt.murder ? !enough(w) : !net_steady(n)))
		return;
	w->deaths++;
	w->faults_open++;
	node_kill(n);
	world_at(w, rng_range(&w->rng, 3200, 8000) * SIM_MS, EV_RESTART, 0, NULL, n->id);
}

void faults_event(struct sim_world *w, const struct sim_event *ev)
{
	switch (ev->kind) {
	case EV_CUT:
		if (w->stage == STAGE_TRAFFIC)
			cut(w);
		break;
	case EV_HEAL:
		net_heal(w, (node_t)(ev->arg >> 8), (node_t)(ev->arg & 255));
		w->faults_open--;
		break;
	case EV_KILL:
		if (w->stage == STAGE_TRAFFIC)
			kill_one(w, (node_t)ev->arg);
		break;
	case EV_RESTART:
		node_start(&w->nodes[ev->arg]);
		w->faults_open--;
		break;
	default:
		abort();
	}
}

bool faults_over(const struct sim_world *w)
{
	return w->faults_open == 0;
}
