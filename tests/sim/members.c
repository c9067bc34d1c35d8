/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * members.c: nodes that join the domain, leave it when their users have given up all they
 * hold, and join again.
 */
#include <errno.h>
#include <string.h>
#include "tests/sim/world.h"

static void on_joined(void *ctx, struct dlm_domain *dom, int err, const char *why)
{
	struct sim_node *n = ctx;
	struct sim_world *w = n->w;

	trace(w, "n%d joined %d %s", n->id, err, why);
	/* They join one at a time: many, or over slow links, take long. */
	if (err == -ETIMEDOUT && (w->opt.nodes > 64 || w->opt.chaos)) {
		n->state = NODE_OUT;
		world_at(w, rng_range(&w->rng, 0, 5000) * SIM_MS, EV_NODE, n->id, NULL, 0);
		return;
	}
	if (err) {
		world_fail(w, "n%d: join failed (%d): %s", n->id, err, why);
		return;
	}
	n->dom = dom;
	n->state = NODE_IN;
	w->joins++;
	for (int i = 0; i < w->opt.users; i++)
		user_act_in(&n->users[i], 0, 20 * SIM_MS);
	world_at(w, rng_range(&w->rng, w->profile.stay_ms / 10, w->profile.stay_ms) * SIM_MS,
		 EV_NODE, n->id, NULL, 0);
	check_joined(n);
}

static void on_left(void *ctx)
{
	struct sim_node *n = ctx;

	trace(n->w, "n%d left", n->id);
	if (n->state != NODE_LEAVING)
		world_fail(n->w, "n%d: left, but it was not leaving", n->id);
	n->state = NODE_OUT;
	n->dom = NULL;
	n->w->leaving--;
	n->w->leaves++;
	check_node_gone(n);
	world_at(n->w, rng_range(&n->w->rng, 0, 1500) * SIM_MS, EV_NODE, n->id, NULL, 0);
}

static void on_evicted(void *ctx, node_t node)
{
	struct sim_node *n = ctx;

	trace(n->w, "n%d evicted %d", n->id, node);
	/* A round that is repeated may come after its return, but not after its join. */
	if (n->w->nodes[node].state != NODE_DEAD && n->w->nodes[node].state != NODE_OUT &&
	    n->w->nodes[node].state != NODE_JOINING)
		world_fail(n->w, "n%d evicted node %d, which lives", n->id, node);
}

static void on_members(void *ctx, node_t node, bool joined)
{
	struct sim_node *n = ctx;

	trace(n->w, "n%d member %d %s", n->id, node, joined ? "joined" : "left");
}

static const struct dlm_domain_ops domain_ops = { .joined = on_joined, .left = on_left,
						  .evicted = on_evicted, .members = on_members };

bool members_idle(const struct sim_node *n)
{
	for (int i = 0; i < n->w->opt.users; i++)
		if (n->users[i].state != USER_IDLE)
			return false;
	return true;
}

static void join(struct sim_node *n)
{
	struct dlm_domain_config cfg = { .fs_major = 1, .ops = &domain_ops, .ctx = n };
	struct dlm_domain *dom;
	int err;

	strcpy(cfg.name, "45F81E3B6F2B48CCAAD1AE7945AB2001");
	trace(n->w, "n%d join", n->id);
	n->state = NODE_JOINING;
	net_input_begin(n);
	err = dlm_join(n->dlm, &cfg, &dom);
	net_input_end(n);
	if (err == -ENOMEM && alloc_failed()) { /* nothing has changed: once more */
		n->state = NODE_OUT;
		world_at(n->w, 10 * SIM_MS, EV_NODE, n->id, NULL, 0);
	} else if (err) {
		world_fail(n->w, "n%d: dlm_join says %d", n->id, err);
	}
}

/* Draining, and all is given up: go. An input, so never from within a callback. */
static void leave_if_idle(struct sim_node *n)
{
	if (n->state != NODE_DRAINING || !members_idle(n))
		return;
	trace(n->w, "n%d leave", n->id);
	n->state = NODE_LEAVING;
	net_input_begin(n);
	dlm_leave(n->dom);
	net_input_end(n);
}

void members_look(struct sim_node *n)
{
	if (n->state == NODE_DRAINING && members_idle(n))
		world_at(n->w, rng_range(&n->w->rng, 0, 2000), EV_NODE, n->id, NULL, 0);
}

static void drain(struct sim_node *n)
{
	struct sim_world *w = n->w;

	trace(w, "n%d drains", n->id);
	n->state = NODE_DRAINING;
	w->leaving++;
	for (int i = 0; i < w->opt.users; i++) {
		struct sim_user *u = &n->users[i];

		if (u->state == USER_GRANTED && user_settled(u)) {
			user_act_in(u, 0, 3000);
		} else if ((u->state == USER_LOCKING || u->state == USER_CONVERTING) &&
			   !u->cancel_done_due && !u->cancel_ast_due && rng_percent(&w->rng, 50)) {
			world_at(w, rng_range(&w->rng, 0, 3000), EV_CANCEL, n->id, u, u->serial);
		}
	}
	members_look(n);
}

void members_turn(struct sim_node *n)
{
	struct sim_world *w = n->w;

	switch (n->state) {
	case NODE_OUT:
		if (w->stage != STAGE_TRAFFIC)
			break;
		if (net_steady(n))
			join(n);
		else
			world_at(w, 10 * SIM_MS, EV_NODE, n->id, NULL, 0);
		break;
	case NODE_IN:
		if (w->stage == STAGE_LEAVE || (w->stage == STAGE_TRAFFIC && !w->opt.no_leave))
			drain(n);
		break;
	case NODE_DRAINING:
		leave_if_idle(n);
		break;
	default:
		break;
	}
}

static bool explain_res(void *ctx, const struct dlm_dump_res *res, const struct dlm_dump_lock *lock)
{
	struct sim_world *w = ctx;
	uint32_t gen = 0;
	int r = -1;

	if (lock) {
		trace(w, "    %c n%d %s %llx%s", lock->queue, lock->node, dlm_mode_name(lock->mode),
		      (unsigned long long)lock->cookie, lock->pending ? " pending" : "");
		return true;
	}
	sim_res_parse(res->name, res->name_len, &r, &gen);
	trace(w, "  r%d.%u owner=%d state=%x refs=%02x%02x", r, gen, res->owner, res->state,
	      res->refmap[0], res->refmap[1]);
	return true;
}

void members_explain(struct sim_world *w)
{
	static const char *const states[] = {"out", "joining", "in", "draining", "leaving", "dead"};
	static const char *const doing[] = {"idle", "locking", "granted", "converting",
					    "unlocking"};

	sim_each_node (i, w) {
		const struct sim_node *n = &w->nodes[i];

		trace(w, "n%d is %s", n->id, states[n->state]);
		if (n->dom)
			dlm_domain_dump(n->dom, explain_res, w);
		for (int j = 0; j < w->opt.users; j++) {
			const struct sim_user *u = &n->users[j];

			if (u->state != USER_IDLE)
				trace(w,
				      "  u%d r%d.%u %s holds %s from %s to %s blocking "
				      "%s%s%s%s%s%s",
				      u->id, u->res, u->gen, doing[u->state],
				      dlm_mode_name(u->view), dlm_mode_name(u->from),
				      dlm_mode_name(u->to), dlm_mode_name(u->blocking),
				      u->done_due ? " done" : "", u->ast_due ? " ast" : "",
				      u->cancel_done_due ? " cancel-done" : "",
				      u->cancel_ast_due ? " cancel-ast" : "",
				      u->cached ? " cached" : "");
		}
	}
}
