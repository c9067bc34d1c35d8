/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fuzz-dlm.c: any messages, outcomes, timers, deaths and calls, in any order, to one DLM
 * core that is a member with nodes 2 and 3. Whatever comes: no assertion, no byte read
 * that is not there, the invariants of dlm/check.h after each step, and each reply one
 * that o2net knows. A core that stops its volume (fence) is through.
 *
 * Input: records of one byte of what, then
 *	0	a message: from (2, 3; odd: 3), type - 500, length (2, big-endian), payload
 *	1	the reply to the oldest open send: status
 *	2	the oldest open send fails: 0 -ENOTCONN, 1 -EHOSTDOWN, else -ENOPROTOOPT
 *	3	the timer that is due next fires
 *	4	a call on one of four locks: which and what, name and mode
 *	5	node 2 or 3 dies, or its link comes back, or it heartbeats again
 *	6	all replies are written
 */
#include <errno.h>
#include <string.h>
#include "dlm/check.h"
#include "dlm/dlm_int.h"
#include "dlm/util/bytes.h"
#include "tests/fuzz/fuzz.h"

#define DOMAIN "0F20000000000000000000000000000A" /* of the recorded frames */

enum { SENDS = 512, TIMERS = 256, LOCKS = 4, WRITTEN = 64 };

struct fuzzed;

struct held {
	struct fuzzed *z;
	struct dlm_lock *lock; /* NULL: none */
	bool granted;	       /* its lock call has ended */
	enum dlm_call last;    /* of which done() came last */
};

struct fuzzed {
	struct dlm *dlm;
	struct dlm_domain *dom;
	struct {
		uint64_t token;
		node_t to;
	} open[SENDS];
	unsigned int head, tail;
	uint64_t timers[TIMERS];
	unsigned int nr_timers;
	uint64_t written[WRITTEN];
	unsigned int nr_written;
	struct held held[LOCKS];
	uint32_t random;
	bool joined, fenced;
};

static void tr_send(void *ctx, uint64_t token, node_t to, uint32_t key, uint16_t type,
		    const void *payload, size_t len)
{
	struct fuzzed *z = ctx;

	(void)key;
	(void)payload;
	FUZZ_CHECK(to == 2 || to == 3);
	FUZZ_CHECK(len > 0 && len <= dlm_msg_max(type));
	z->open[z->tail % SENDS].token = token;
	z->open[z->tail++ % SENDS].to = to;
	if (z->tail - z->head >= SENDS)
		z->fenced = true; /* enough of it */
}

static void tr_timer_clear(void *ctx, uint64_t id)
{
	struct fuzzed *z = ctx;

	for (unsigned int i = 0; i < z->nr_timers; i++) {
		if (z->timers[i] != id)
			continue;
		z->nr_timers--;
		memmove(&z->timers[i], &z->timers[i + 1],
			(z->nr_timers - i) * sizeof(z->timers[0]));
		return;
	}
}

/* In the order in which they were set: time does not matter to the core. */
static void tr_timer_set(void *ctx, uint64_t id, uint32_t ms)
{
	struct fuzzed *z = ctx;

	(void)ms;
	tr_timer_clear(ctx, id);
	z->timers[z->nr_timers++] = id;
	if (z->nr_timers == TIMERS) {
		z->nr_timers--;
		z->fenced = true;
	}
}

static uint32_t tr_random(void *ctx, uint32_t bound)
{
	return ((struct fuzzed *)ctx)->random++ % bound;
}

static void tr_key(void *ctx, uint32_t key)
{
	(void)ctx;
	(void)key;
}

static void tr_fence(void *ctx, const char *domain, const char *why)
{
	(void)domain;
	(void)why;
	((struct fuzzed *)ctx)->fenced = true;
}

static const struct dlm_transport transport = {
	.send = tr_send, .timer_set = tr_timer_set, .timer_clear = tr_timer_clear,
	.random = tr_random, .key_open = tr_key, .key_close = tr_key, .fence = tr_fence
};

static void on_joined(void *ctx, struct dlm_domain *dom, int err, const char *why)
{
	struct fuzzed *z = ctx;

	(void)why;
	z->dom = err ? NULL : dom;
	z->joined = !err;
}

static void on_left(void *ctx)
{
	((struct fuzzed *)ctx)->dom = NULL;
}

static void on_evicted(void *ctx, node_t node)
{
	(void)ctx;
	FUZZ_CHECK(node != 1 && node < NODE_MAX); /* BEGIN_RECO may speak of any other */
}

static void on_members(void *ctx, node_t node, bool joined)
{
	(void)ctx;
	(void)joined;
	FUZZ_CHECK(node < NODE_MAX);
}

static const struct dlm_domain_ops domain_ops = { .joined = on_joined, .left = on_left,
						  .evicted = on_evicted, .members = on_members };

/* ---- locks ------------------------------------------------------------------------------- */

static void on_done(void *data, enum dlm_call call, enum dlm_status status)
{
	struct held *h = data;

	/* Of a lock call that is refused, a cancel that waited for it is refused after it. */
	FUZZ_CHECK(h->lock || (call == DLM_CALL_CANCEL && status != DLM_NORMAL));
	h->last = call;
	if (call == DLM_CALL_LOCK && status != DLM_NORMAL)
		h->lock = NULL;
}

static void on_ast(void *data, const uint8_t *lvb)
{
	struct held *h = data;
	volatile uint8_t sum = 0;

	FUZZ_CHECK(h->lock);
	h->granted = true;
	for (int i = 0; lvb && i < DLM_LVB_LEN; i++)
		sum = (uint8_t)(sum + lvb[i]);
}

static void on_bast(void *data, int mode)
{
	FUZZ_CHECK(((struct held *)data)->lock);
	FUZZ_CHECK(mode == DLM_MODE_PR || mode == DLM_MODE_EX);
}

/* It comes right after its done(). */
static void on_unlock_ast(void *data, enum dlm_status status)
{
	struct held *h = data;

	FUZZ_CHECK(h->lock && (h->last == DLM_CALL_UNLOCK || h->last == DLM_CALL_CANCEL));
	if (h->last == DLM_CALL_UNLOCK || (status == DLM_NORMAL && !h->granted))
		h->lock = NULL;
}

static const struct dlm_lock_ops lock_ops = { .done = on_done, .ast = on_ast, .bast = on_bast,
					      .unlock_ast = on_unlock_ast };

/* ---- records --------------------------------------------------------------------------------- */

static void message(struct fuzzed *z, struct bytes_in *in)
{
	node_t from = (bytes_get_u8(in) & 1) ? 3 : 2;
	uint16_t type = (uint16_t)(DLM_MSG_FIRST + bytes_get_u8(in)), len = bytes_get_be16(in);
	const uint8_t *p = bytes_get(in, len);
	uint8_t *copy;
	struct dlm_reply r;
	bool live = dlm_map_test(&z->dlm->live, from);

	if (!p || !live)
		return;
	copy = malloc(len ? len : 1); /* of its size, for the sanitizer */
	FUZZ_CHECK(copy);
	memcpy(copy, p, len);
	r = dlm_message(z->dlm, from,
			dlm_msg_membership(type) ? DLM_MEMBER_KEY : dlm_domain_key(DOMAIN), type,
			copy, len);
	free(copy);
	FUZZ_CHECK(r.sys_status <= 2);
	if (r.written_token) {
		if (z->nr_written == WRITTEN)
			dlm_reply_written(z->dlm, z->written[--z->nr_written]);
		z->written[z->nr_written++] = r.written_token;
	}
}

static void outcome(struct fuzzed *z, int err, int32_t status)
{
	if (z->head == z->tail)
		return;
	dlm_sent(z->dlm, z->open[z->head++ % SENDS].token, err, status);
}

static void call(struct fuzzed *z, struct bytes_in *in)
{
	static const int modes[] = { DLM_MODE_NL, DLM_MODE_PR, DLM_MODE_EX, 1 };
	static const uint8_t lvb[DLM_LVB_LEN] = { 1, 2, 3 };
	uint8_t what = bytes_get_u8(in), how = bytes_get_u8(in);
	struct held *h = &z->held[what & 3];
	char name[2] = { (char)('a' + (how & 3)), 0 };
	uint32_t flags = how & 16 ? DLM_LKF_VALBLK : 0;
	int mode = modes[how >> 2 & 3];

	if (!bytes_ok(in) || !z->dom)
		return;
	if (what & 128) {
		dlm_leave(z->dom);
	} else if (!h->lock) {
		struct dlm_lock *lock = NULL;

		h->granted = false;
		h->lock = (struct dlm_lock *)z; /* not NULL: done() may refuse within the call */
		flags |= how & 32 ? DLM_LKF_NOQUEUE : 0;
		FUZZ_CHECK(dlm_lock(z->dom, name, 1, mode, flags, &lock_ops, h, &lock) == 0);
		if (h->lock)
			h->lock = lock;
	} else if ((what >> 2 & 3) == 0) {
		dlm_convert(h->lock, mode, flags, lvb);
	} else if ((what >> 2 & 3) == 1) {
		dlm_unlock(h->lock, flags, lvb);
	} else {
		dlm_cancel(h->lock);
	}
}

static void node_event(struct fuzzed *z, struct bytes_in *in)
{
	uint8_t what = bytes_get_u8(in);
	node_t node = what & 1 ? 3 : 2;

	if (!bytes_ok(in))
		return;
	if (what & 2) {
		if (dlm_map_test(&z->dlm->live, node))
			dlm_link_up(z->dlm, node, 2);
		else
			dlm_node_up(z->dlm, node);
	} else if (dlm_map_test(&z->dlm->live, node)) {
		/* All that is open to it fails first. */
		for (unsigned int i = z->head; i != z->tail; i++) {
			if (z->open[i % SENDS].to == node)
				dlm_sent(z->dlm, z->open[i % SENDS].token, -EHOSTDOWN, 0);
		}
		dlm_node_down(z->dlm, node);
	}
}

static void record(struct fuzzed *z, struct bytes_in *in)
{
	static const int errs[] = { -ENOTCONN, -EHOSTDOWN, -ENOPROTOOPT };
	uint8_t what = bytes_get_u8(in), byte;

	switch (what) {
	case 0:
		message(z, in);
		break;
	case 1:
		outcome(z, 0, bytes_get_u8(in));
		break;
	case 2:
		byte = bytes_get_u8(in);
		outcome(z, errs[byte < 2 ? byte : 2], 0);
		break;
	case 3:
		if (z->nr_timers) {
			uint64_t id = z->timers[0];

			tr_timer_clear(z, id);
			dlm_timer(z->dlm, id);
		}
		break;
	case 4:
		call(z, in);
		break;
	case 5:
		node_event(z, in);
		break;
	default:
		while (z->nr_written)
			dlm_reply_written(z->dlm, z->written[--z->nr_written]);
		break;
	}
}

/* Alone in the domain, then the two others are members, as after their ASSERT_JOINED. */
static void start(struct fuzzed *z)
{
	struct dlm_config cfg = { .self = 1, .proto_minor = 3, .purge_ms = 8000 };
	struct dlm_domain_config dc = { .name = DOMAIN, .fs_major = 1, .ops = &domain_ops,
					.ctx = z };
	struct dlm_domain *dom;

	z->dlm = dlm_new(&cfg, &transport, z);
	FUZZ_CHECK(z->dlm);
	for (int i = 0; i < LOCKS; i++)
		z->held[i].z = z;
	dlm_node_up(z->dlm, 1);
	FUZZ_CHECK(dlm_join(z->dlm, &dc, &dom) == 0);
	while (!z->joined && z->nr_timers) {
		uint64_t id = z->timers[0];

		tr_timer_clear(z, id);
		dlm_timer(z->dlm, id);
	}
	FUZZ_CHECK(z->joined);
	for (node_t n = 2; n <= 3; n++) {
		dlm_node_up(z->dlm, n);
		dlm_enter(z->dlm);
		dlm_map_set(&dom->live, n);
		dlm_map_set(&dom->members, n);
		dlm_member_joined(dom, n);
		dlm_exit(z->dlm);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct fuzzed *z = calloc(1, sizeof(*z));
	struct bytes_in in = bytes_in(data, len);
	char why[400];

	FUZZ_CHECK(z);
	start(z);
	while (bytes_ok(&in) && in.left && !z->fenced) {
		record(z, &in);
		if (!dlm_check(z->dlm, why, sizeof(why))) {
			fprintf(stderr, "%s\n", why);
			FUZZ_CHECK(!"an invariant");
		}
	}
	dlm_free(z->dlm);
	free(z);
	return 0;
}
