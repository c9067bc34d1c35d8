/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * workload.c: users that lock, convert, cancel and unlock. Nodes are in members.c.
 *
 * A user holds at most one lock; several users of a node, and of other nodes, meet on the
 * same few resources. A holder either gives its lock up after a while or keeps it until
 * a BAST asks for it (as a file system's lock cache does), so a BAST that gets lost shows
 * as a hang. A BAST to a lock that is itself converting makes the user take the
 * conversion back: the protocol's only way out of a conversion deadlock (dlm.md 6.2).
 *
 * The callback contract of dlm.h is checked here, callback by callback: one done() a
 * call, one ast() or unlock_ast(), nothing after the lock is gone, BASTs only in the way.
 */
#include "tests/sim/world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HANDLES (1u << 14)

static struct sim_res *res_of(const struct sim_user *u)
{
	return &u->w->res[u->res];
}

bool user_settled(const struct sim_user *u)
{
	return !u->done_due && !u->ast_due && !u->cancel_done_due && !u->cancel_ast_due;
}

/* Names look like those of a file system: text, number, and some bytes that are none. */
size_t sim_res_name(int res, uint32_t gen, uint8_t name[DLM_NAME_MAX])
{
	memcpy(name, "N00000000000000000", 18);
	name[18] = (uint8_t)res;
	name[19] = 0;
	for (int i = 0; i < 4; i++)
		name[20 + i] = (uint8_t)(gen >> (24 - 8 * i));
	memset(name + 24, 0xff, 7);
	return 31;
}

bool sim_res_parse(const uint8_t *name, size_t len, int *res, uint32_t *gen)
{
	if (len != 31 || name[0] != 'N')
		return false;
	*res = name[18];
	*gen = (uint32_t)name[20] << 24 | (uint32_t)name[21] << 16 | (uint32_t)name[22] << 8 |
	       name[23];
	return *res < SIM_RES_MAX;
}

/* ---- when a user acts next ------------------------------------------------------- */

void user_act_in(struct sim_user *u, uint32_t lo_us, uint32_t hi_us)
{
	world_at(u->w, rng_range(&u->w->rng, lo_us, hi_us), EV_USER, u->n->id, u, ++u->serial);
}

static void yield_soon(struct sim_user *u)
{
	uint32_t hi = rng_percent(&u->w->rng, 90) ? 3 * SIM_MS : 60 * SIM_MS;

	world_at(u->w, rng_range(&u->w->rng, 0, hi), EV_YIELD, u->n->id, u, u->serial);
}

static bool giving_up(const struct sim_user *u)
{
	return u->n->state != NODE_IN || u->w->stage >= STAGE_RELEASE;
}

static bool in_the_way(const struct sim_user *u)
{
	return u->blocking != DLM_MODE_NONE && !dlm_mode_compatible(u->view, u->blocking);
}

/* ---- the end of a request ----------------------------------------------------------- */

static void lock_gone(struct sim_user *u)
{
	check_view(u, DLM_MODE_NONE);
	check_handle(u, -1);
	u->h->u = NULL;
	u->h = NULL;
	u->lock = NULL;
	u->state = USER_IDLE;
	u->blocking = DLM_MODE_NONE;
	u->cached = false;
	user_act_in(u, 0, u->w->profile.think_ms * SIM_MS);
}

static void granted(struct sim_user *u)
{
	struct sim_world *w = u->w;

	u->state = USER_GRANTED;
	u->serial++; /* a cancel that was planned is late now */
	u->cached = w->stage == STAGE_TRAFFIC && !giving_up(u) &&
		    rng_percent(&w->rng, w->profile.cached_percent);
	if (giving_up(u))
		user_act_in(u, 0, 2000);
	else if (u->cached)
		user_act_in(u, 20 * SIM_MS, 1500 * SIM_MS);
	else
		user_act_in(u, 0, w->profile.hold_ms * SIM_MS);
	if (in_the_way(u))
		yield_soon(u);
	else
		u->blocking = DLM_MODE_NONE;
}

/* All that was due has come: what is the lock now? */
static void settle(struct sim_user *u)
{
	bool undone = u->refused || u->taken_back;

	if (!user_settled(u))
		return;
	check_put_over(u);
	/* Only a death can take a conversion downwards back (dlm.md 9.6). */
	if (u->state == USER_CONVERTING && u->taken_back && u->to < u->from)
		check_view(u, u->from);
	u->refused = u->taken_back = false;
	switch (u->state) {
	case USER_LOCKING:
		if (undone)
			lock_gone(u);
		else
			granted(u);
		break;
	case USER_CONVERTING:
	case USER_GRANTED:
		granted(u);
		break;
	case USER_UNLOCKING:
		lock_gone(u);
		break;
	default:
		world_fail(u->w, "n%d u%d: an answer, but nothing was asked", u->n->id, u->id);
	}
	members_look(u->n);
}

/* ---- callbacks ------------------------------------------------------------------------ */

static struct sim_user *user_of(void *data, const char *what)
{
	struct sim_handle *h = data;

	if (!h->u)
		return NULL;
	trace(h->u->w, "n%d u%d r%d.%u %s", h->u->n->id, h->u->id, h->u->res, h->u->gen, what);
	return h->u;
}

static void late(void *data, const char *what)
{
	struct sim_handle *h = data;

	world_fail(h->w, "%s for a lock that is gone", what);
}

static void on_done(void *data, enum dlm_call call, enum dlm_status status)
{
	static const char *const names[] = { "LOCK", "CONVERT", "UNLOCK", "CANCEL" };
	struct sim_user *u;
	char text[40];

	snprintf(text, sizeof(text), "done %s %d", names[call], (int)status);
	u = user_of(data, text);
	if (!u) {
		late(data, text);
		return;
	}
	if (call == DLM_CALL_CANCEL) {
		if (!u->cancel_done_due)
			world_fail(u->w, "n%d u%d: %s, but no cancel is open", u->n->id, u->id,
				   text);
		u->cancel_done_due = false;
		if (status != DLM_NORMAL) {
			/* The request was refused before the cancel could meet it. */
			if (!u->refused && !u->done_due)
				world_fail(u->w, "n%d u%d: cancel refused, status %d", u->n->id,
					   u->id, (int)status);
			u->cancel_ast_due = false;
		}
		settle(u);
		return;
	}
	if (!u->done_due || (call == DLM_CALL_LOCK) != (u->state == USER_LOCKING) ||
	    (call == DLM_CALL_UNLOCK) != (u->state == USER_UNLOCKING))
		world_fail(u->w, "n%d u%d: %s is not due", u->n->id, u->id, text);
	u->done_due = false;
	if (call == DLM_CALL_LOCK && res_of(u)->gen == u->gen)
		res_of(u)->local_open = false;
	if (status == DLM_NOTQUEUED && u->noqueue && u->ast_due) {
		u->refused = true;
		u->ast_due = false;
	} else if (status != DLM_NORMAL) {
		world_fail(u->w, "n%d u%d: %s", u->n->id, u->id, text);
	}
	settle(u);
}

static void on_ast(void *data, const uint8_t *lvb)
{
	struct sim_user *u = user_of(data, "ast");
	bool get;

	if (!u) {
		late(data, "ast");
		return;
	}
	u->w->asts++;
	if (!u->ast_due || (u->state != USER_LOCKING && u->state != USER_CONVERTING)) {
		world_fail(u->w, "n%d u%d: an ast that is not due", u->n->id, u->id);
		return;
	}
	get = u->valblk && u->to != DLM_MODE_NL && u->from != DLM_MODE_EX;
	u->ast_due = false;
	check_view(u, u->to);
	check_ast_lvb(u, lvb, get);
	settle(u);
}

static void on_bast(void *data, int mode)
{
	struct sim_user *u;
	char text[16];
	int held;

	snprintf(text, sizeof(text), "bast %s", dlm_mode_name(mode));
	u = user_of(data, text);
	if (!u) {
		late(data, text);
		return;
	}
	u->w->basts++;
	if (u->state == USER_UNLOCKING)
		return;
	/* While a conversion downwards is open the core's mode is still the old one. */
	held = u->state == USER_CONVERTING && u->from > u->view ? u->from : u->view;
	if (held == DLM_MODE_NONE || dlm_mode_compatible(held, mode)) {
		world_fail(u->w, "n%d u%d: %s, but it holds %s", u->n->id, u->id, text,
			   dlm_mode_name(held));
		return;
	}
	if (mode > u->blocking)
		u->blocking = mode;
	yield_soon(u);
}

static void on_unlock_ast(void *data, enum dlm_status status)
{
	struct sim_user *u;
	char text[32];

	snprintf(text, sizeof(text), "unlock_ast %d", (int)status);
	u = user_of(data, text);
	if (!u) {
		late(data, text);
		return;
	}
	if (u->cancel_ast_due) {
		u->cancel_ast_due = false;
		if (status == DLM_NORMAL) {
			if (!u->ast_due || u->state == USER_GRANTED)
				world_fail(u->w, "n%d u%d: cancelled, but the AST had come",
					   u->n->id, u->id);
			u->ast_due = false;
			u->taken_back = true;
			u->w->cancels_won++;
		} else if (status == DLM_CANCELGRANT) {
			u->w->cancels_lost++;
		} else {
			world_fail(u->w, "n%d u%d: %s", u->n->id, u->id, text);
		}
	} else if (u->state == USER_UNLOCKING && u->ast_due && status == DLM_NORMAL) {
		u->ast_due = false;
	} else {
		world_fail(u->w, "n%d u%d: %s is not due", u->n->id, u->id, text);
	}
	settle(u);
}

static const struct dlm_lock_ops lock_ops = {
	.done = on_done, .ast = on_ast, .bast = on_bast, .unlock_ast = on_unlock_ast
};

/* ---- requests --------------------------------------------------------------------------- */

static struct sim_handle *handle_new(struct sim_world *w, struct sim_user *u)
{
	struct sim_handle *h;

	do {
		h = &w->handles[w->handles_next++ % HANDLES];
	} while (h->u);
	h->u = u;
	return h;
}

static void plan_cancel(struct sim_user *u, uint32_t percent)
{
	struct sim_world *w = u->w;

	if (rng_percent(&w->rng, percent))
		world_at(w, rng_range(&w->rng, 0, rng_percent(&w->rng, 50) ? 1000 : 15000),
			 EV_CANCEL, u->n->id, u, u->serial);
}

static int wanted_mode(struct sim_world *w)
{
	uint32_t dice = rng_below(&w->rng, 100);

	if (dice < w->profile.ex_percent)
		return DLM_MODE_EX;
	return dice < 90 ? DLM_MODE_PR : DLM_MODE_NL;
}

static void lock(struct sim_user *u)
{
	struct sim_world *w = u->w;
	uint32_t flags = 0;
	uint8_t name[DLM_NAME_MAX];
	struct sim_res *r;
	size_t len;
	int err;

	u->res = (int)rng_below(&w->rng, (uint32_t)w->opt.resources);
	r = res_of(u);
	if (r->local_open) { /* nobody else can know the name yet */
		user_act_in(u, 100, 5000);
		return;
	}
	if (r->handles == 0 &&
	    rng_percent(&w->rng, w->profile.new_name_percent)) { /* a name that nobody knows */
		r->gen++;
		r->count = 0;
		r->zero_ok = true;
		r->block = 0;
		memset(r->owners, 0, sizeof(r->owners));
		if (rng_percent(&w->rng, 50)) {
			flags |= DLM_LKF_LOCAL;
			r->local_open = true;
		}
	}
	u->gen = r->gen;
	u->valblk = r->lvb;
	u->from = DLM_MODE_NONE;
	u->to = wanted_mode(w);
	u->noqueue = rng_percent(&w->rng, 8);
	u->state = USER_LOCKING;
	u->done_due = u->ast_due = true;
	u->serial++;
	u->h = handle_new(w, u);
	check_handle(u, 1);
	if (u->valblk)
		flags |= DLM_LKF_VALBLK;
	if (u->noqueue)
		flags |= DLM_LKF_NOQUEUE;
	trace(w, "n%d u%d r%d.%u lock %s flags=%x", u->n->id, u->id, u->res, u->gen,
	      dlm_mode_name(u->to), flags);
	len = sim_res_name(u->res, u->gen, name);
	net_input_begin(u->n);
	err = dlm_lock(u->n->dom, name, len, u->to, flags, &lock_ops, u->h, &u->lock);
	net_input_end(u->n);
	if (err)
		world_fail(w, "n%d u%d: dlm_lock says %d", u->n->id, u->id, err);
	plan_cancel(u, 12);
}

static void convert(struct sim_user *u, int to)
{
	struct sim_world *w = u->w;
	uint8_t lvb[DLM_LVB_LEN] = { 0 };
	uint32_t flags = 0;

	u->from = u->view;
	u->to = to;
	u->noqueue = rng_percent(&w->rng, 8);
	u->valblk = res_of(u)->lvb;
	if (u->valblk)
		flags |= DLM_LKF_VALBLK;
	if (u->noqueue)
		flags |= DLM_LKF_NOQUEUE;
	trace(w, "n%d u%d r%d.%u convert %s>%s flags=%x", u->n->id, u->id, u->res, u->gen,
	      dlm_mode_name(u->from), dlm_mode_name(to), flags);
	u->state = USER_CONVERTING;
	u->done_due = u->ast_due = true;
	u->serial++;
	if (u->valblk && u->from == DLM_MODE_EX)
		check_put_lvb(u, lvb);
	if (to < u->from)
		check_view(u, to);
	net_input_begin(u->n);
	dlm_convert(u->lock, to, flags, lvb);
	net_input_end(u->n);
	plan_cancel(u, 12);
}

static void unlock(struct sim_user *u)
{
	struct sim_world *w = u->w;
	uint8_t lvb[DLM_LVB_LEN] = { 0 };
	bool valblk = res_of(u)->lvb;
	bool ex = u->view == DLM_MODE_EX;

	trace(w, "n%d u%d r%d.%u unlock %s", u->n->id, u->id, u->res, u->gen,
	      dlm_mode_name(u->view));
	u->state = USER_UNLOCKING;
	u->done_due = u->ast_due = true;
	u->serial++;
	if (valblk && ex)
		check_put_lvb(u, lvb);
	check_view(u, DLM_MODE_NONE);
	net_input_begin(u->n);
	dlm_unlock(u->lock, valblk ? DLM_LKF_VALBLK : 0, lvb);
	net_input_end(u->n);
}

static void cancel(struct sim_user *u)
{
	trace(u->w, "n%d u%d r%d.%u cancel", u->n->id, u->id, u->res, u->gen);
	u->cancel_done_due = u->cancel_ast_due = true;
	net_input_begin(u->n);
	dlm_cancel(u->lock);
	net_input_end(u->n);
}

/* ---- a user's turn ------------------------------------------------------------------------ */

static void act(struct sim_user *u)
{
	struct sim_world *w = u->w;
	uint32_t dice = rng_below(&w->rng, 100);

	if (u->state == USER_IDLE) {
		if (u->n->state != NODE_IN || w->stage != STAGE_TRAFFIC)
			return;
		if (world_decides(w))
			lock(u);
		else
			user_act_in(u, 0, w->profile.think_ms * SIM_MS);
		return;
	}
	if (u->state != USER_GRANTED || !user_settled(u))
		return;
	if (u->cached && w->stage == STAGE_ANSWER && !giving_up(u))
		return; /* it does no more than obey */
	if (giving_up(u) || w->stage >= STAGE_ANSWER || dice < 35) {
		unlock(u);
	} else if (dice < 85) {
		int to = wanted_mode(w);

		if (to == u->view && !rng_percent(&w->rng, 10))
			to = to == DLM_MODE_EX ? DLM_MODE_PR : DLM_MODE_EX;
		convert(u, to);
	} else if (dice < 88) {
		cancel(u); /* of a granted lock: too late by definition */
	} else {
		user_act_in(u, 0, w->profile.hold_ms * SIM_MS);
		if (in_the_way(u))
			yield_soon(u);
	}
}

static void give_way(struct sim_user *u)
{
	struct sim_world *w = u->w;
	bool down = rng_percent(&w->rng, 60);

	if (u->state == USER_CONVERTING && u->ast_due && !u->cancel_done_due &&
	    !u->cancel_ast_due && in_the_way(u)) {
		cancel(u);
		return;
	}
	if (u->state != USER_GRANTED || !user_settled(u) || !in_the_way(u))
		return;
	if (!down)
		unlock(u);
	else if (u->blocking == DLM_MODE_PR && rng_percent(&w->rng, 70))
		convert(u, DLM_MODE_PR);
	else
		convert(u, DLM_MODE_NL);
}

/* ---- from the world ----------------------------------------------------------------------------
 */

void workload_event(struct sim_world *w, const struct sim_event *ev)
{
	struct sim_user *u = ev->ptr;

	switch (ev->kind) {
	case EV_NODE:
		members_turn(&w->nodes[ev->node]);
		break;
	case EV_USER:
		act(u);
		break;
	case EV_CANCEL:
		if ((u->state == USER_LOCKING || u->state == USER_CONVERTING) &&
		    (u->done_due || u->ast_due) && !u->cancel_done_due && !u->cancel_ast_due)
			cancel(u);
		break;
	case EV_YIELD:
		give_way(u);
		break;
	default:
		abort();
	}
}

static uint16_t some_type(struct sim_rng *r)
{
	uint16_t type = (uint16_t)rng_range(r, DLM_MSG_FIRST, DLM_MSG_LAST);

	return dlm_msg_max(type) ? type : 0;
}

/* Each seed has its own habits, so that no balance of them hides a case for good. */
static void choose_profile(struct sim_world *w)
{
	static const uint32_t stay[] = {3000, 10000, 40000}, hold[] = {1, 5, 20},
			      think[] = {1, 5, 30}, cached[] = {10, 50, 80}, ex[] = {10, 35, 70},
			      fresh[] = {0, 25, 60};
	struct sim_rng *r = &w->rng;

	w->profile.stay_ms = stay[rng_below(r, 3)];
	w->profile.hold_ms = hold[rng_below(r, 3)];
	w->profile.think_ms = think[rng_below(r, 3)];
	w->profile.cached_percent = cached[rng_below(r, 3)];
	w->profile.ex_percent = ex[rng_below(r, 3)];
	w->profile.new_name_percent = fresh[rng_below(r, 3)];
	w->profile.fast_purge = rng_percent(r, 30);
	w->profile.slow_wire = rng_percent(r, 30);
	if (w->opt.chaos) {
		w->profile.slow_heartbeat = rng_percent(r, 30);
		w->profile.hold_type = some_type(r);
		w->profile.fault_type = some_type(r);
	}
	trace(w, "profile stay=%u hold=%u think=%u cached=%u ex=%u fresh=%u fast-purge=%d slow=%d",
	      w->profile.stay_ms, w->profile.hold_ms, w->profile.think_ms,
	      w->profile.cached_percent, w->profile.ex_percent, w->profile.new_name_percent,
	      w->profile.fast_purge, w->profile.slow_wire);
}

void workload_start(struct sim_world *w)
{
	choose_profile(w);
	w->handles = sim_calloc(HANDLES, sizeof(*w->handles));
	if (!w->handles)
		abort();
	for (size_t i = 0; i < HANDLES; i++)
		w->handles[i].w = w;
	for (int i = 0; i < w->opt.resources; i++) {
		w->res[i].lvb = i % 3 != 2;
		w->res[i].zero_ok = true;
	}
}

void workload_free(struct sim_world *w)
{
	free(w->handles);
}

void workload_node_started(struct sim_node *n)
{
	memset(n->users, 0, sizeof(n->users));
	for (int i = 0; i < SIM_USERS_MAX; i++) {
		n->users[i].w = n->w;
		n->users[i].n = n;
		n->users[i].id = i;
		n->users[i].view = DLM_MODE_NONE;
		n->users[i].blocking = DLM_MODE_NONE;
	}
	world_at(n->w, rng_range(&n->w->rng, 0, 800) * SIM_MS, EV_NODE, n->id, NULL, 0);
}

void workload_node_died(struct sim_node *n)
{
	for (int i = 0; i < n->w->opt.users; i++) {
		struct sim_user *u = &n->users[i];

		if (u->state == USER_IDLE)
			continue;
		u->section = false; /* nothing was written */
		check_view(u, DLM_MODE_NONE);
		check_handle(u, -1);
		u->h->u = NULL;
		u->state = USER_IDLE;
	}
	if (n->state == NODE_DRAINING || n->state == NODE_LEAVING)
		n->w->leaving--;
	check_node_gone(n);
}

void workload_stage(struct sim_world *w)
{
	sim_each_node (i, w) {
		struct sim_node *n = &w->nodes[i];

		for (int j = 0; j < w->opt.users; j++) {
			struct sim_user *u = &n->users[j];

			if (u->state == USER_GRANTED && user_settled(u) &&
			    (w->stage >= STAGE_RELEASE || !u->cached))
				user_act_in(u, 0, 20 * SIM_MS);
			if (u->state == USER_GRANTED && in_the_way(u))
				yield_soon(u);
		}
		if (w->stage == STAGE_LEAVE && n->state == NODE_IN)
			world_at(w, rng_range(&w->rng, 0, 2000) * SIM_MS, EV_NODE, n->id, NULL, 0);
	}
}

bool workload_answered(const struct sim_world *w)
{
	sim_each_node (i, w) {
		const struct sim_node *n = &w->nodes[i];

		if (n->state == NODE_JOINING || n->state == NODE_DRAINING ||
		    n->state == NODE_LEAVING)
			return false;
		for (int j = 0; j < w->opt.users; j++) {
			const struct sim_user *u = &n->users[j];

			if (!user_settled(u) ||
			    (u->state == USER_GRANTED && (in_the_way(u) || !u->cached)))
				return false;
		}
	}
	return true;
}

bool workload_idle(const struct sim_world *w)
{
	sim_each_node (i, w)
		if (!members_idle(&w->nodes[i]))
			return false;
	return true;
}

bool workload_all_out(const struct sim_world *w)
{
	sim_each_node (i, w)
		if (w->nodes[i].state != NODE_OUT && w->nodes[i].state != NODE_DEAD)
			return false;
	return true;
}
