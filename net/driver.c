/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * driver.c: glue between links and the DLM core; knows nothing of locks.
 *
 * The promises of dlm/transport.h, and where they are kept: order, by TCP and the FIFO
 * buffers of conn_io.c; reply before effects, here: what the core sends while it handles
 * a message is held until the link has queued the reply; one outcome per send, by
 * conn_io.c; death after outcomes, by net_links_hb_down; one thread, since all of it runs
 * on the loop.
 *
 * Timers: the core may have thousands, so they live in a binary heap with a hash from id
 * to place, behind a single timer of the loop. Those that are due run from a hook, at the
 * end of the round, never within an input of the core.
 */
#include "net/driver.h"
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define BUCKETS_MIN 64u

struct timer {
	uint64_t id;
	int64_t due_ms;
	uint64_t order;		/* equal times fire in the order in which they were set */
	size_t place;		/* in the heap */
	struct timer *next;	/* in its bucket */
};

struct held {
	struct held *next;
	uint64_t token;
	uint32_t key;
	uint16_t type, len;
	node_t to;
	uint8_t payload[];
};

struct net_driver {
	struct net_driver_config cfg;
	struct dlm *dlm;
	struct net_hook hook;
	struct net_timer *timer;
	uint64_t rng[4];

	bool in_handler;
	struct held *held, **held_end;

	uint32_t *keys;
	size_t n_keys;

	struct timer **heap, **buckets;
	size_t n_timers, heap_room, n_buckets;
	uint64_t next_order;
};

static void *must(void *p)
{
	/* The core has promised effects to others; they cannot be lost. */
	assert(p);
	return p;
}

/* ---- sends --------------------------------------------------------------------------- */

static void tr_send(void *ctx, uint64_t token, node_t to, uint32_t key, uint16_t type,
		    const void *payload, size_t len)
{
	struct net_driver *d = ctx;
	struct held *h;

	if (!d->in_handler || len > NET_PAYLOAD_MAX) {
		net_links_send(d->cfg.links, token, to, key, type, payload, len);
		return;
	}
	h = must(calloc(1, sizeof(*h) + len));
	h->token = token;
	h->to = to;
	h->key = key;
	h->type = type;
	h->len = (uint16_t)len;
	if (len)
		memcpy(h->payload, payload, len);
	*d->held_end = h;
	d->held_end = &h->next;
}

static bool key_known(const struct net_driver *d, uint32_t key)
{
	if (key == DLM_MEMBER_KEY)
		return true;
	for (size_t i = 0; i < d->n_keys; i++) {
		if (d->keys[i] == key)
			return true;
	}
	return false;
}

struct net_link_reply net_driver_message(struct net_driver *d, node_t from,
					 const struct net_frame *f, const void *payload)
{
	struct dlm_reply r;

	if (!key_known(d, f->key))
		return (struct net_link_reply){ .sys_status = NET_SYS_NO_HANDLER };
	d->in_handler = true;
	r = dlm_message(d->dlm, from, f->key, f->type, payload, f->len);
	d->in_handler = false;
	return (struct net_link_reply){ .sys_status = r.sys_status,
					.status = r.sys_status == NET_SYS_OK ? r.status : 0,
					.written_token = r.written_token };
}

void net_driver_replied(struct net_driver *d)
{
	struct held *h = d->held;

	d->held = NULL;
	d->held_end = &d->held;
	while (h) {
		struct held *next = h->next;

		net_links_send(d->cfg.links, h->token, h->to, h->key, h->type, h->payload, h->len);
		free(h);
		h = next;
	}
}

/* ---- timers ---------------------------------------------------------------------------- */

static bool sooner(const struct timer *a, const struct timer *b)
{
	return a->due_ms != b->due_ms ? a->due_ms < b->due_ms : a->order < b->order;
}

static void heap_put(struct net_driver *d, size_t place, struct timer *t)
{
	d->heap[place] = t;
	t->place = place;
}

static void heap_fix(struct net_driver *d, struct timer *t)
{
	size_t i = t->place;

	while (i > 0 && sooner(t, d->heap[(i - 1) / 2])) {
		heap_put(d, i, d->heap[(i - 1) / 2]);
		i = (i - 1) / 2;
	}
	for (;;) {
		size_t c = 2 * i + 1;

		if (c + 1 < d->n_timers && sooner(d->heap[c + 1], d->heap[c]))
			c++;
		if (c >= d->n_timers || !sooner(d->heap[c], t))
			break;
		heap_put(d, i, d->heap[c]);
		i = c;
	}
	heap_put(d, i, t);
}

static struct timer **bucket(struct net_driver *d, uint64_t id)
{
	uint64_t h = id * 0x9e3779b97f4a7c15u;

	return &d->buckets[(h >> 32) & (d->n_buckets - 1)];
}

static struct timer **find(struct net_driver *d, uint64_t id)
{
	struct timer **p = bucket(d, id);

	while (*p && (*p)->id != id)
		p = &(*p)->next;
	return p;
}

static void grow_buckets(struct net_driver *d)
{
	size_t old = d->n_buckets;
	struct timer **was = d->buckets;

	d->n_buckets = old ? 2 * old : BUCKETS_MIN;
	d->buckets = must(calloc(d->n_buckets, sizeof(struct timer *)));
	for (size_t i = 0; i < old; i++) {
		while (was[i]) {
			struct timer *t = was[i], **p = bucket(d, t->id);

			was[i] = t->next;
			t->next = *p;
			*p = t;
		}
	}
	free(was);
}

static void remove_timer(struct net_driver *d, struct timer **at)
{
	struct timer *t = *at, *last = d->heap[--d->n_timers];

	*at = t->next;
	if (last != t) {
		heap_put(d, t->place, last);
		heap_fix(d, last);
	}
	free(t);
}

/* Point the loop's timer at the earliest of ours. */
static void aim(struct net_driver *d)
{
	int64_t left;

	if (d->n_timers == 0) {
		net_timer_clear(d->timer);
		return;
	}
	left = d->heap[0]->due_ms - net_now_ms();
	net_timer_set(d->timer, left > 0 ? (uint64_t)left : 0);
}

static void tr_timer_set(void *ctx, uint64_t id, uint32_t ms)
{
	struct net_driver *d = ctx;
	struct timer **at, *t;

	if (d->n_timers >= d->n_buckets)
		grow_buckets(d);
	at = find(d, id);
	t = *at;
	if (!t) {
		t = must(calloc(1, sizeof(*t)));
		t->id = id;
		*at = t;
		if (d->n_timers == d->heap_room) {
			d->heap_room = d->heap_room ? 2 * d->heap_room : BUCKETS_MIN;
			d->heap = must(realloc(d->heap, d->heap_room * sizeof(struct timer *)));
		}
		heap_put(d, d->n_timers++, t);
	}
	/* One ms more: the clock is cut to whole ms, and a timer may not be early. */
	t->due_ms = net_now_ms() + (ms ? (int64_t)ms + 1 : 0);
	t->order = d->next_order++;
	heap_fix(d, t);
	if (d->heap[0] == t)
		aim(d);
}

static void tr_timer_clear(void *ctx, uint64_t id)
{
	struct net_driver *d = ctx;
	struct timer **at;

	if (!d->n_buckets)
		return;
	at = find(d, id);
	if (*at)
		remove_timer(d, at);
}

static bool run_due(void *arg)
{
	struct net_driver *d = arg;
	uint64_t newest = d->next_order; /* what is set meanwhile waits for the next round */
	int64_t now;
	bool any = false;

	if (d->n_timers == 0)
		return false;
	now = net_now_ms();
	while (d->n_timers && d->heap[0]->due_ms <= now && d->heap[0]->order < newest) {
		uint64_t id = d->heap[0]->id;

		remove_timer(d, find(d, id));
		any = true;
		dlm_timer(d->dlm, id);
	}
	if (any)
		aim(d);
	return any;
}

static void on_timer(void *arg)
{
	/* The hook does the work at the end of this round. When the clock has not got
	 * there yet, wait for the rest. */
	struct net_driver *d = arg;

	if (d->n_timers && d->heap[0]->due_ms > net_now_ms())
		aim(d);
}

/* ---- the rest of the transport ------------------------------------------------------------- */

static uint64_t rotl(uint64_t x, int k)
{
	return x << k | x >> (64 - k);
}

/* xoshiro256**, seeded from the kernel: for back-off only, not for secrets. */
static uint64_t rng_next(uint64_t s[4])
{
	uint64_t result = rotl(s[1] * 5, 7) * 9, t = s[1] << 17;

	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = rotl(s[3], 45);
	return result;
}

static uint32_t tr_random(void *ctx, uint32_t bound)
{
	struct net_driver *d = ctx;

	assert(bound);
	/* The bias is below 2^-32. */
	return (uint32_t)((unsigned __int128)rng_next(d->rng) * bound >> 64);
}

static void tr_key_open(void *ctx, uint32_t key)
{
	struct net_driver *d = ctx;

	if (key_known(d, key))
		return;
	d->keys = must(realloc(d->keys, (d->n_keys + 1) * sizeof(*d->keys)));
	d->keys[d->n_keys++] = key;
}

static void tr_key_close(void *ctx, uint32_t key)
{
	struct net_driver *d = ctx;

	for (size_t i = 0; i < d->n_keys; i++) {
		if (d->keys[i] == key) {
			d->keys[i] = d->keys[--d->n_keys];
			return;
		}
	}
}

static void tr_fence(void *ctx, const char *domain, const char *why)
{
	struct net_driver *d = ctx;

	d->cfg.fence(d->cfg.ctx, domain, why);
}

int net_driver_new(const struct net_driver_config *cfg, struct net_driver **out)
{
	static const struct dlm_transport transport = {
		.send = tr_send,
		.timer_set = tr_timer_set,
		.timer_clear = tr_timer_clear,
		.random = tr_random,
		.key_open = tr_key_open,
		.key_close = tr_key_close,
		.fence = tr_fence,
	};
	struct net_driver *d = calloc(1, sizeof(*d));
	int err = -ENOMEM;

	if (!d)
		return -ENOMEM;
	d->cfg = *cfg;
	d->held_end = &d->held;
	if (getrandom(d->rng, sizeof(d->rng), 0) != (ssize_t)sizeof(d->rng)) {
		err = -EIO;
		goto undo_alloc;
	}
	d->rng[0] |= 1; /* never all zero */
	d->timer = net_timer_new(cfg->loop, on_timer, d);
	if (!d->timer)
		goto undo_alloc;
	d->dlm = dlm_new(&cfg->dlm, &transport, d);
	if (!d->dlm)
		goto undo_timer;
	d->hook = (struct net_hook){ .fn = run_due, .arg = d };
	net_loop_hook(cfg->loop, &d->hook);
	*out = d;
	return 0;

undo_timer:
	net_timer_free(d->timer);
undo_alloc:
	free(d);
	return err;
}

void net_driver_free(struct net_driver *d)
{
	if (!d)
		return;
	dlm_free(d->dlm);
	net_loop_unhook(d->cfg.loop, &d->hook);
	net_timer_free(d->timer);
	while (d->held) {
		struct held *next = d->held->next;

		free(d->held);
		d->held = next;
	}
	for (size_t i = 0; i < d->n_timers; i++)
		free(d->heap[i]);
	free(d->heap);
	free(d->buckets);
	free(d->keys);
	free(d);
}

void net_driver_set_links(struct net_driver *d, struct net_links *links)
{
	d->cfg.links = links;
}

struct dlm *net_driver_dlm(struct net_driver *d)
{
	return d->dlm;
}
