/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * net.c: the transport of transport.h in memory.
 *
 * Between each ordered pair of nodes there is one stream with random delay: what is sent
 * later arrives later (as TCP), while different streams overtake one another. A message
 * and the replies in the same direction share the stream.
 *
 * Sends of one input are gathered and leave when the input is over: after the reply to the
 * message that caused them, or before it if the node is set to behave like a kernel node
 * (dlm.md 3.1: both orders are seen).
 *
 * A link has a number that rises with each connection. A frame carries the number under
 * which it was sent; a frame of a broken connection vanishes. Each end learns of the break
 * in its own time and then fails its open sends, as o2net does (cluster.md 2.7). Cuts,
 * heals and deaths can be made by whoever drives the world.
 */
#include "tests/sim/world.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum link_state { LINK_DOWN, LINK_WANT, LINK_UP, LINK_LOST };

struct open_send {
	struct open_send *next, **pprev;
	uint64_t token;
	bool failing; /* will be failed by an EV_SEND_FAILED under way */
	struct dlm_name ast_of; /* a PROXY_AST: its resource; else len 0 */
};

struct frame {
	struct frame *next;
	node_t from, to;
	bool reply;
	uint16_t type;
	uint32_t key;
	uint32_t epoch;
	struct open_send *open; /* at the requester; valid while the epoch is */
	uint32_t sys_status;
	int32_t status;
	size_t len;
	uint8_t payload[];
};

/* One direction, kept by the sending end. */
struct sim_link {
	enum link_state state;
	uint32_t epoch; /* this end's connection; the wire's is in wire_epoch */
	uint32_t wire_epoch; /* the same in both directions */
	uint64_t last_arrival;
	uint64_t stalled_until; /* nothing arrives earlier */
	struct sim_rng rng;	/* its own delays, whatever happens elsewhere */
	bool cut;
	struct open_send *opens;
	struct frame *waiting, **waiting_tail; /* in LINK_WANT */
};

struct sim_timer {
	struct sim_timer *next;
	uint64_t id, number; /* number: which setting of it */
};

static struct sim_link *link_of(struct sim_world *w, node_t from, node_t to)
{
	return &w->links[from * (SIM_NODES_MAX + 1) + to];
}

static void *must(void *p)
{
	if (!p)
		abort();
	return p;
}

void net_init(struct sim_world *w)
{
	const size_t n = (SIM_NODES_MAX + 1) * (SIM_NODES_MAX + 1);

	w->links = must(sim_calloc(n, sizeof(*w->links)));
	sim_each_node (a, w)
		sim_each_node (b, w) {
			struct sim_link *l = link_of(w, (node_t)a, (node_t)b);

			l->waiting_tail = &l->waiting;
			l->rng.s = w->opt.seed ^ (uint64_t)(a << 8 | b) * 0xd1342543de82ef95u;
		}
}

/* ---- open sends ------------------------------------------------------------------- */

static struct open_send *open_new(struct sim_link *l, uint64_t token)
{
	struct open_send *o = must(sim_calloc(1, sizeof(*o))), **tail = &l->opens;

	o->token = token;
	while (*tail)
		tail = &(*tail)->next;
	o->pprev = tail;
	*tail = o;
	return o;
}

static uint64_t open_end(struct open_send *o)
{
	uint64_t token = o->token;

	*o->pprev = o->next;
	if (o->next)
		o->next->pprev = o->pprev;
	free(o);
	return token;
}

static void frame_free(struct sim_world *w, struct frame *f)
{
	w->frames_under_way--;
	free(f);
}

bool net_ast_open(struct sim_node *n, const struct dlm_name *name)
{
	sim_each_node (i, n->w)
		for (struct open_send *o = link_of(n->w, n->id, (node_t)i)->opens; o; o = o->next)
			if (dlm_name_equal(&o->ast_of, name))
				return true;
	return false;
}

bool net_is_cut(struct sim_world *w, node_t a, node_t b)
{
	return link_of(w, a, b)->cut;
}

static void drop_waiting(struct sim_world *w, struct sim_link *l)
{
	struct frame *f;

	while ((f = l->waiting)) {
		l->waiting = f->next;
		frame_free(w, f);
	}
	l->waiting_tail = &l->waiting;
}

void net_free(struct sim_world *w)
{
	sim_each_node (a, w)
		sim_each_node (b, w) {
			struct sim_link *l = link_of(w, (node_t)a, (node_t)b);

			drop_waiting(w, l);
			while (l->opens)
				open_end(l->opens);
		}
	while (w->outbox_head) {
		struct frame *f = w->outbox_head;

		w->outbox_head = f->next;
		frame_free(w, f);
	}
	free(w->links);
}

/* ---- sending ---------------------------------------------------------------------- */

static uint64_t delay(const struct sim_world *w, struct sim_rng *rng)
{
	uint32_t kind = rng_below(rng, 100), fast = w->profile.slow_wire ? 40 : 90;

	if (kind < fast)
		return rng_range(rng, 20, 300);
	if (kind < 99)
		return rng_range(rng, 300, 3000);
	return rng_range(rng, 3000, 30000);
}

static void on_wire(struct sim_world *w, struct frame *f)
{
	struct sim_link *l = link_of(w, f->from, f->to);
	uint64_t when = w->now + delay(w, &l->rng);

	if (!f->reply && f->type == w->profile.hold_type && rng_percent(&l->rng, 20))
		net_stall(w, f->from, f->to, rng_range(&l->rng, 1, 200) * SIM_MS);
	if (when <= l->stalled_until)
		when = l->stalled_until + 1;
	if (when <= l->last_arrival)
		when = l->last_arrival + 1;
	l->last_arrival = when;
	f->epoch = l->epoch;
	world_at(w, when - w->now, EV_FRAME, f->to, f, 0);
}

/* Fail this later: the contract says after send() has returned. */
static void fail_later(struct sim_world *w, const struct frame *f)
{
	f->open->failing = true;
	world_at(w, rng_range(&w->rng, 1, 50), EV_SEND_FAILED, f->from, NULL, f->to);
}

static void leave_node(struct sim_world *w, struct frame *f)
{
	struct sim_link *l = link_of(w, f->from, f->to);

	switch (l->state) {
	case LINK_UP:
		on_wire(w, f);
		break;
	case LINK_WANT:
		f->next = NULL;
		*l->waiting_tail = f;
		l->waiting_tail = &f->next;
		break;
	default:
		fail_later(w, f);
		frame_free(w, f);
	}
}

void net_input_begin(struct sim_node *n)
{
	(void)n;
	if (n->w->outbox_head)
		abort(); /* an input inside an input */
}

void net_input_end(struct sim_node *n)
{
	struct sim_world *w = n->w;
	struct frame *f = w->outbox_head, *next;

	w->outbox_head = NULL;
	w->outbox_tail = &w->outbox_head;
	for (; f; f = next) {
		next = f->next;
		leave_node(w, f);
	}
}

static struct frame *frame_new(struct sim_world *w, node_t from, node_t to, const void *payload,
			       size_t len)
{
	struct frame *f = must(sim_calloc(1, sizeof(*f) + len));

	f->from = from;
	f->to = to;
	f->len = len;
	if (len)
		memcpy(f->payload, payload, len);
	w->frames_under_way++;
	return f;
}

static void tr_send(void *ctx, uint64_t token, node_t to, uint32_t key, uint16_t type,
		    const void *payload, size_t len)
{
	struct sim_node *n = ctx;
	struct sim_world *w = n->w;
	struct frame *f;

	if (to == n->id || to < w->first || to > w->last || len > dlm_msg_max(type) || len == 0) {
		world_fail(w, "n%d sends %s of %zu bytes to %d", n->id, dlm_msg_name(type), len,
			   to);
		return;
	}
	monitor_send(n, to, key, type, payload, len);
	f = frame_new(w, n->id, to, payload, len);
	f->type = type;
	f->key = key;
	f->open = open_new(link_of(w, n->id, to), token);
	if (type == DLM_PROXY_AST_MSG) {
		struct dlm_wire_ast m;

		if (dlm_get_ast(payload, len, &m) == 0)
			f->open->ast_of = m.name;
	}
	*w->outbox_tail = f;
	w->outbox_tail = &f->next;
}

/* ---- timers, random, keys ----------------------------------------------------------- */

static struct sim_timer **timer_find(struct sim_node *n, uint64_t id)
{
	struct sim_timer **t = &n->timers[(id ^ id >> 6 ^ id >> 32) % 64];

	while (*t && (*t)->id != id)
		t = &(*t)->next;
	return t;
}

static void timer_remove(struct sim_timer **t)
{
	struct sim_timer *gone = *t;

	*t = gone->next;
	free(gone);
}

static void tr_timer_set(void *ctx, uint64_t id, uint32_t ms)
{
	struct sim_node *n = ctx;
	struct sim_world *w = n->w;
	struct sim_timer **t = timer_find(n, id);
	uint64_t late = ms ? rng_below(&w->rng, 500) : 0;

	if (!*t) {
		*t = must(sim_calloc(1, sizeof(**t)));
		(*t)->id = id;
	}
	(*t)->number = ++w->timer_number;
	world_at(w, (uint64_t)ms * SIM_MS + late, EV_TIMER, n->id, (void *)(uintptr_t)id,
		 (*t)->number);
}

static void tr_timer_clear(void *ctx, uint64_t id)
{
	struct sim_timer **t = timer_find(ctx, id);

	if (*t)
		timer_remove(t);
}

void net_timers_free(struct sim_node *n)
{
	for (int i = 0; i < 64; i++)
		while (n->timers[i])
			timer_remove(&n->timers[i]);
}

static uint32_t tr_random(void *ctx, uint32_t bound)
{
	struct sim_node *n = ctx;

	return rng_below(&n->w->rng, bound);
}

static void tr_key_open(void *ctx, uint32_t key)
{
	struct sim_node *n = ctx;

	n->key = key;
	n->key_open = true;
}

static void tr_key_close(void *ctx, uint32_t key)
{
	struct sim_node *n = ctx;

	if (n->key == key)
		n->key_open = false;
}

static void tr_fence(void *ctx, const char *domain, const char *why)
{
	struct sim_node *n = ctx;

	if (alloc_failed()) { /* it says so, and goes: all that is asked of it */
		trace(n->w, "n%d fences itself (%s): %s", n->id, domain, why);
		_exit(SIM_STOPPED);
	}
	world_fail(n->w, "n%d fences itself (%s): %s", n->id, domain, why);
}

const struct dlm_transport sim_transport = {
	.send = tr_send,
	.timer_set = tr_timer_set,
	.timer_clear = tr_timer_clear,
	.random = tr_random,
	.key_open = tr_key_open,
	.key_close = tr_key_close,
	.fence = tr_fence,
};

/* ---- receiving ---------------------------------------------------------------------- */

/* Its receiver has that connection. */
static bool on_its_link(struct sim_world *w, const struct frame *f)
{
	const struct sim_link *l = link_of(w, f->to, f->from);

	return l->state == LINK_UP && l->epoch == f->epoch;
}

static struct dlm_reply handle(struct sim_node *n, const struct frame *f)
{
	bool known = f->key == DLM_MEMBER_KEY || (n->key_open && f->key == n->key);
	struct dlm_reply r = { .sys_status = 1 };

	if (known && dlm_msg_max(f->type))
		r = dlm_message(n->dlm, f->from, f->key, f->type, f->payload, f->len);
	return r;
}

static void trace_request(struct sim_world *w, const struct frame *f, const struct dlm_reply *r)
{
	char text[160];

	trace_message(f->type, f->payload, f->len, text, sizeof(text));
	if (r->sys_status)
		trace(w, "%d>%d %s = no handler", f->from, f->to, text);
	else
		trace(w, "%d>%d %s = %d", f->from, f->to, text, r->status);
}

static void request_arrived(struct sim_node *n, struct frame *f)
{
	struct sim_world *w = n->w;
	struct dlm_reply r;
	struct frame *back;

	w->messages++;
	if (!on_its_link(w, f))
		world_fail(w, "n%d gets %s of n%d on a link that it does not know", n->id,
			   dlm_msg_name(f->type), f->from);
	faults_message(w, f->from, f->to, f->type);
	if (w->opt.trace)
		trace_request(w, f, &(struct dlm_reply){ .status = -9999 });
	if (!w->opt.no_check)
		monitor_request(n, f->from, f->key, f->type, f->payload, f->len);
	if (faults_before(n, f->from, f->type))
		return;
	net_input_begin(n);
	r = handle(n, f);
	if (!w->opt.no_check)
		monitor_reply(n, f->from, f->type, &r);
	if (w->opt.trace)
		trace_request(w, f, &r);
	world_mix(w, (uint64_t)f->type << 32 ^ (uint32_t)r.status);
	back = frame_new(w, n->id, f->from, NULL, 0);
	back->reply = true;
	back->type = f->type;
	back->open = f->open;
	back->sys_status = r.sys_status;
	back->status = r.status;
	if (n->kernel_like)
		net_input_end(n);
	/* A reply goes out on the connection that the request came on, or not at all. */
	if (on_its_link(w, f))
		on_wire(w, back);
	else
		frame_free(w, back);
	if (!n->kernel_like)
		net_input_end(n);
	if (r.written_token)
		world_at(w, rng_range(&w->rng, 0, 200), EV_WRITTEN, n->id, NULL, r.written_token);
	(void)faults_after(n, f->from, f->type);
}

static void reply_arrived(struct sim_node *n, struct frame *f)
{
	uint64_t token = open_end(f->open);
	int err = f->sys_status == 1 ? -ENOPROTOOPT : f->sys_status == 2 ? -EOVERFLOW : 0;

	trace(n->w, "%d>%d reply %s %d", f->from, f->to, dlm_msg_name(f->type),
	      err ? err : f->status);
	net_input_begin(n);
	dlm_sent(n->dlm, token, err, err ? 0 : f->status);
	net_input_end(n);
}

static bool frame_lost(struct sim_world *w, const struct frame *f)
{
	/* Its sender died before the receiver had accepted the connection: it never does. */
	return f->epoch != link_of(w, f->from, f->to)->wire_epoch ||
	       w->nodes[f->to].state == NODE_DEAD ||
	       (w->nodes[f->from].state == NODE_DEAD && !on_its_link(w, f));
}

/* All sends open to a peer end with this error; only the failing ones if told so. */
static void fail_opens(struct sim_node *n, node_t peer, int err, bool failing_only)
{
	struct sim_link *l = link_of(n->w, n->id, peer);
	struct open_send *o = l->opens;

	/* What the core sends from within lands behind, flagged or not: take a first pass. */
	for (struct open_send *x = o; x; x = x->next)
		x->failing |= !failing_only;
	while (o) {
		uint64_t token;

		if (!o->failing) {
			o = o->next;
			continue;
		}
		token = open_end(o);
		trace(n->w, "n%d send to %d fails %d", n->id, peer, err);
		net_input_begin(n);
		dlm_sent(n->dlm, token, err, 0);
		net_input_end(n);
		o = failing_only ? NULL : l->opens; /* one an event, or all */
	}
}

/* ---- heartbeat and links -------------------------------------------------------------- */

static bool w_dead(const struct sim_world *w, node_t peer)
{
	return w->nodes[peer].state == NODE_DEAD;
}

static bool sees(const struct sim_node *n, node_t peer)
{
	return n->live[peer >> 3] & (1 << (peer & 7));
}

bool net_steady(const struct sim_node *n)
{
	const struct sim_world *w = n->w;

	sim_each_node (i, w) {
		const struct sim_node *o = &w->nodes[i];

		if (sees(n, o->id) != (o->dlm != NULL) || (o->dlm && !sees(o, n->id)))
			return false;
	}
	return true;
}

bool net_seen(const struct sim_node *n)
{
	const struct sim_world *w = n->w;

	sim_each_node (i, w) {
		const struct sim_node *o = &w->nodes[i];

		if (o->dlm && (!sees(n, o->id) || !sees(o, n->id)))
			return false;
	}
	return true;
}

void net_stall(struct sim_world *w, node_t from, node_t to, uint64_t us)
{
	struct sim_link *l = link_of(w, from, to);

	trace(w, "%d>%d stalls for %u ms", from, to, (unsigned int)(us / SIM_MS));
	w->stalls++;
	if (l->stalled_until < w->now + us)
		l->stalled_until = w->now + us;
}

static void connect_later(struct sim_world *w, node_t a, node_t b, uint64_t delay_us)
{
	struct sim_link *ab = link_of(w, a, b), *ba = link_of(w, b, a);
	uint32_t epoch = ++ab->wire_epoch;

	ba->wire_epoch = epoch;
	world_at(w, delay_us, EV_LINK_UP, a, NULL, (uint64_t)epoch << 8 | b);
	world_at(w, delay_us, EV_LINK_UP, b, NULL, (uint64_t)epoch << 8 | a);
}

static void hb_up(struct sim_node *n, node_t peer)
{
	struct sim_world *w = n->w;

	if (w->nodes[peer].state == NODE_DEAD || sees(n, peer))
		return;
	n->live[peer >> 3] |= (uint8_t)(1 << (peer & 7));
	trace(w, "n%d sees %d", n->id, peer);
	if (peer != n->id) {
		link_of(w, n->id, peer)->state = LINK_WANT;
		if (sees(&w->nodes[peer], n->id))
			connect_later(w, n->id, peer, rng_range(&w->rng, 100, 20 * SIM_MS));
	}
	net_input_begin(n);
	dlm_node_up(n->dlm, peer);
	net_input_end(n);
}

static void link_lost(struct sim_node *n, node_t peer)
{
	struct sim_link *l = link_of(n->w, n->id, peer);

	if (l->state != LINK_UP || l->epoch == l->wire_epoch)
		return;
	trace(n->w, "n%d lost the link to %d", n->id, peer);
	l->state = LINK_LOST;
	fail_opens(n, peer, -EHOSTDOWN, false);
}

static void link_up(struct sim_node *n, node_t peer, uint32_t epoch)
{
	struct sim_link *l = link_of(n->w, n->id, peer);
	struct frame *f, *next;

	if (!n->dlm || !sees(n, peer) || epoch != l->wire_epoch || l->cut || w_dead(n->w, peer))
		return;
	link_lost(n, peer); /* if it had not noticed */
	trace(n->w, "n%d link to %d up, epoch %u", n->id, peer, epoch);
	l->state = LINK_UP;
	l->epoch = epoch;
	f = l->waiting;
	l->waiting = NULL;
	l->waiting_tail = &l->waiting;
	for (; f; f = next) {
		next = f->next;
		on_wire(n->w, f);
	}
	net_input_begin(n);
	dlm_link_up(n->dlm, peer, epoch);
	net_input_end(n);
}

static void hb_down(struct sim_node *n, node_t peer)
{
	struct sim_link *l = link_of(n->w, n->id, peer);

	if (!sees(n, peer))
		return;
	trace(n->w, "n%d misses %d", n->id, peer);
	l->state = LINK_DOWN;
	if (l->epoch == l->wire_epoch) { /* closed: what is still on it is lost */
		l->wire_epoch++;
		link_of(n->w, peer, n->id)->wire_epoch = l->wire_epoch;
	}
	drop_waiting(n->w, l);
	fail_opens(n, peer, -EHOSTDOWN, false);
	n->live[peer >> 3] &= (uint8_t)~(1 << (peer & 7));
	net_input_begin(n);
	dlm_node_down(n->dlm, peer);
	net_input_end(n);
}

void net_cut(struct sim_world *w, node_t a, node_t b)
{
	struct sim_link *ab = link_of(w, a, b), *ba = link_of(w, b, a);

	trace(w, "cut %d-%d", a, b);
	w->cuts++;
	ab->cut = ba->cut = true;
	ab->wire_epoch++;
	ba->wire_epoch = ab->wire_epoch;
	world_at(w, rng_range(&w->rng, 0, 2000), EV_LINK_LOST, a, NULL, b);
	world_at(w, rng_range(&w->rng, 0, 2000), EV_LINK_LOST, b, NULL, a);
}

void net_heal(struct sim_world *w, node_t a, node_t b)
{
	trace(w, "heal %d-%d", a, b);
	link_of(w, a, b)->cut = link_of(w, b, a)->cut = false;
	connect_later(w, a, b, rng_range(&w->rng, 2000, 20 * SIM_MS));
}

void net_node_started(struct sim_node *n)
{
	struct sim_world *w = n->w;
	uint32_t seen_us = (w->profile.slow_heartbeat ? 2500 : 50) * SIM_MS;

	memset(n->live, 0, sizeof(n->live));
	world_at(w, rng_range(&w->rng, 0, 2000), EV_HB_UP, n->id, NULL, n->id);
	sim_each_node (i, w) {
		if (i == n->id || !w->nodes[i].dlm)
			continue;
		world_at(w, rng_range(&w->rng, 0, seen_us), EV_HB_UP, n->id, NULL, (uint64_t)i);
		world_at(w, rng_range(&w->rng, 0, seen_us), EV_HB_UP, (node_t)i, NULL, n->id);
	}
}

/* Its frames may still arrive until a peer's end of the link is closed; its own open
 * sends have nobody left to be told. */
void net_node_died(struct sim_node *n)
{
	struct sim_world *w = n->w;

	net_timers_free(n);
	sim_each_node (i, w) {
		struct sim_link *l = link_of(w, n->id, (node_t)i);
		uint64_t noticed = rng_range(&w->rng, 100 * SIM_MS, 3000 * SIM_MS);

		drop_waiting(w, l);
		while (l->opens)
			open_end(l->opens);
		if (i == n->id || !w->nodes[i].dlm)
			continue;
		if (rng_percent(&w->rng, 50)) { /* the process died, its host lives: EOF */
			l->wire_epoch++;
			link_of(w, (node_t)i, n->id)->wire_epoch = l->wire_epoch;
			world_at(w, rng_range(&w->rng, 0, 1000), EV_LINK_LOST, (node_t)i, NULL,
				 n->id);
		}
		world_at(w, noticed, EV_HB_DOWN, (node_t)i, NULL, n->id);
	}
}

/* ---- events --------------------------------------------------------------------------- */

bool net_event_stale(struct sim_world *w, const struct sim_event *ev)
{
	struct sim_timer **t;

	switch (ev->kind) {
	case EV_FRAME:
		return frame_lost(w, ev->ptr);
	case EV_TIMER:
		t = timer_find(&w->nodes[ev->node], (uint64_t)(uintptr_t)ev->ptr);
		return !*t || (*t)->number != ev->arg;
	case EV_USER:
	case EV_CANCEL:
	case EV_YIELD:
		return ((struct sim_user *)ev->ptr)->serial != ev->arg;
	default:
		return false;
	}
}

void net_event_drop(struct sim_world *w, const struct sim_event *ev)
{
	if (ev->kind == EV_FRAME)
		frame_free(w, ev->ptr);
}

bool net_quiet(const struct sim_world *w)
{
	return w->frames_under_way == 0;
}

void net_event(struct sim_world *w, const struct sim_event *ev)
{
	struct sim_node *n = &w->nodes[ev->node];

	switch (ev->kind) {
	case EV_FRAME: {
		struct frame *f = ev->ptr;

		if (f->reply)
			reply_arrived(n, f);
		else
			request_arrived(n, f);
		frame_free(w, f);
		break;
	}
	case EV_SEND_FAILED:
		fail_opens(n, (node_t)ev->arg, -ENOTCONN, true);
		break;
	case EV_WRITTEN:
		net_input_begin(n);
		dlm_reply_written(n->dlm, ev->arg);
		net_input_end(n);
		break;
	case EV_TIMER: {
		uint64_t id = (uint64_t)(uintptr_t)ev->ptr;

		timer_remove(timer_find(n, id));
		trace(w, "n%d timer %llx", n->id, (unsigned long long)id);
		net_input_begin(n);
		dlm_timer(n->dlm, id);
		net_input_end(n);
		break;
	}
	case EV_HB_UP:
		hb_up(n, (node_t)ev->arg);
		break;
	case EV_HB_DOWN:
		hb_down(n, (node_t)ev->arg);
		break;
	case EV_LINK_UP:
		link_up(n, (node_t)(ev->arg & 255), (uint32_t)(ev->arg >> 8));
		break;
	case EV_LINK_LOST:
		link_lost(n, (node_t)ev->arg);
		break;
	default:
		abort();
	}
}
