/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test-driver.c: the promises of dlm/transport.h, with a stand-in for the DLM core that
 * records its inputs and makes effects when the test says so.
 */
#include "net/driver.h"
#include "unit/link_fixture.h"

#define KEY 0x1234u

/* ---- the stand-in core ---- */

struct dlm {
	const struct dlm_transport *tr;
	void *ctx;
	uint64_t fired[64];
	int64_t fired_ms[64];
	int n_fired;
	int sends_in_handler;	/* how many messages a handler sends back */
	int rearm;		/* a timer that fires sets itself again, so often */
	struct end *e;
};

struct dlm *dlm_new(const struct dlm_config *cfg, const struct dlm_transport *tr, void *ctx)
{
	struct dlm *d = calloc(1, sizeof(*d));

	(void)cfg;
	d->tr = tr;
	d->ctx = ctx;
	return d;
}

void dlm_free(struct dlm *d)
{
	free(d);
}

struct dlm_reply dlm_message(struct dlm *d, node_t from, uint32_t key, uint16_t type,
			     const void *payload, size_t len)
{
	(void)key;
	(void)type;
	(void)payload;
	(void)len;
	for (int i = 0; i < d->sends_in_handler; i++) {
		uint8_t byte = (uint8_t)i;

		d->tr->send(d->ctx, (uint64_t)i, from, KEY, 501, &byte, 1);
	}
	return (struct dlm_reply){ .status = 33 };
}

void dlm_reply_written(struct dlm *d, uint64_t token)
{
	(void)d;
	(void)token;
}

void dlm_sent(struct dlm *d, uint64_t token, int err, int32_t status)
{
	(void)d;
	(void)token;
	(void)err;
	(void)status;
}

void dlm_timer(struct dlm *d, uint64_t id)
{
	d->fired[d->n_fired % 64] = id;
	d->fired_ms[d->n_fired++ % 64] = net_now_ms();
	if (d->rearm-- > 0)
		d->tr->timer_set(d->ctx, id, 0);
}

/* ---- one end whose messages go to the driver ---- */

struct rig {
	struct world w;
	struct end *e;
	struct net_driver *d;
	struct dlm *dlm;
	int fences;
};

static struct net_link_reply rig_message(void *ctx, node_t from, const struct net_frame *f,
					 const void *payload)
{
	struct rig *r = ctx;

	return net_driver_message(r->d, from, f, payload);
}

static void rig_replied(void *ctx)
{
	net_driver_replied(((struct rig *)ctx)->d);
}

static void rig_sent(void *ctx, uint32_t key, uint64_t token, int err, int32_t status)
{
	end_sent(((struct rig *)ctx)->e, key, token, err, status);
}

static void rig_written(void *ctx, uint64_t token)
{
	(void)ctx;
	(void)token;
}

static void rig_up(void *ctx, node_t n, uint32_t epoch)
{
	(void)n;
	(void)epoch;
	((struct rig *)ctx)->e->ups++;
}

static void rig_node(void *ctx, node_t n)
{
	(void)ctx;
	(void)n;
}

static void rig_err(void *ctx, node_t n, const char *why)
{
	(void)ctx;
	(void)n;
	(void)why;
}

static const struct net_link_ops rig_ops = {
	.message = rig_message, .replied = rig_replied, .reply_written = rig_written,
	.sent = rig_sent, .up = rig_up, .conn_up = rig_node, .conn_err = rig_err,
	.still_up = rig_node,
};

static void rig_fence(void *ctx, const char *domain, const char *why)
{
	(void)domain;
	(void)why;
	((struct rig *)ctx)->fences++;
}

static void rig_start(struct rig *r)
{
	struct net_driver_config dc = { .fence = rig_fence, .ctx = r };
	struct net_links_config lc;
	struct end *e;

	memset(r, 0, sizeof(*r));
	world_init(&r->w);
	dc.loop = r->w.loop;
	e = r->e = end_new(&r->w, 1);
	park(&r->w);
	net_links_free(e->links);
	cr_assert_eq(net_driver_new(&dc, &r->d), 0);
	lc = (struct net_links_config){ .loop = r->w.loop, .self = 1, .nodes = e->nodes,
					.handshake = r->w.hs, .quorum_delay_ms = 30000,
					.ops = &rig_ops, .ctx = r };
	cr_assert_eq(net_links_new(&lc, &e->links), 0);
	net_driver_set_links(r->d, e->links);
	r->dlm = net_driver_dlm(r->d);
	net_links_hb_up(e->links, 2);
	unpark(&r->w);
}

static void rig_end(struct rig *r)
{
	park(&r->w);
	net_links_free(r->e->links);
	r->e->links = NULL;
	net_listen_close(r->e->listen);
	net_nodes_free(r->e->nodes);
	net_driver_free(r->d);
	unpark(&r->w);
	world_end(&r->w);
}

Test(driver, reply_leaves_before_what_its_handler_sends)
{
	struct rig r;
	struct net_frame f = net_frame_message(500, KEY, 7, 0), got;
	uint8_t byte;
	int fd;

	rig_start(&r);
	fd = raw_connect(node_addr(2), 1);
	raw_greet(&r.w, fd);
	ON_LOOP(&r.w, r.dlm->tr->key_open(r.dlm->ctx, KEY); r.dlm->sends_in_handler = 3);
	raw_put(fd, &f, NULL);
	raw_put(fd, &f, NULL);
	for (int round = 0; round < 2; round++) {
		got = raw_get(fd, NULL);
		cr_assert_eq(got.magic, NET_FRAME_STATUS, "a send overtook the reply");
		cr_assert_eq(got.status, 33);
		for (int i = 0; i < 3; i++) {
			got = raw_get(fd, &byte);
			cr_assert_eq(got.magic, NET_FRAME_MESSAGE);
			cr_assert_eq(byte, i);
		}
	}
	close(fd);
	rig_end(&r);
}

Test(driver, keys_without_a_handler_get_status_one)
{
	struct rig r;
	struct net_frame f = net_frame_message(500, KEY, 7, 0), got;
	int fd;

	rig_start(&r);
	fd = raw_connect(node_addr(2), 1);
	raw_greet(&r.w, fd);
	raw_put(fd, &f, NULL);
	got = raw_get(fd, NULL);
	cr_assert_eq(got.sys_status, NET_SYS_NO_HANDLER);
	cr_assert_eq(got.status, 0);
	ON_LOOP(&r.w, r.dlm->tr->key_open(r.dlm->ctx, KEY);
		r.dlm->tr->key_open(r.dlm->ctx, KEY + 1));
	raw_put(fd, &f, NULL);
	cr_assert_eq(raw_get(fd, NULL).sys_status, NET_SYS_OK);
	ON_LOOP(&r.w, r.dlm->tr->key_close(r.dlm->ctx, KEY));
	raw_put(fd, &f, NULL);
	cr_assert_eq(raw_get(fd, NULL).sys_status, NET_SYS_NO_HANDLER);
	f.key = KEY + 1;
	raw_put(fd, &f, NULL);
	cr_assert_eq(raw_get(fd, NULL).sys_status, NET_SYS_OK);
	f.key = DLM_MEMBER_KEY; /* there from the first moment */
	raw_put(fd, &f, NULL);
	cr_assert_eq(raw_get(fd, NULL).sys_status, NET_SYS_OK);
	close(fd);
	rig_end(&r);
}

Test(driver, timers_fire_in_order_once_and_can_be_moved_or_cleared)
{
	struct rig r;
	int64_t t0;

	rig_start(&r);
	park(&r.w);
	t0 = net_now_ms();
	for (uint64_t id = 1; id <= 8; id++)
		r.dlm->tr->timer_set(r.dlm->ctx, id, (uint32_t)(90 - 10 * id));
	r.dlm->tr->timer_clear(r.dlm->ctx, 3);
	r.dlm->tr->timer_clear(r.dlm->ctx, 99);
	r.dlm->tr->timer_set(r.dlm->ctx, 8, 120);
	unpark(&r.w);
	WAIT_UNTIL(&r.w, r.dlm->n_fired == 7);
	ON_LOOP(&r.w, cr_assert_eq(r.dlm->n_fired, 7));
	for (int i = 0; i < 6; i++) {
		static const uint64_t want[] = { 7, 6, 5, 4, 2, 1 };

		cr_assert_eq(r.dlm->fired[i], want[i]);
		cr_assert_geq(r.dlm->fired_ms[i] - t0, (int64_t)(90 - 10 * want[i]));
	}
	cr_assert_eq(r.dlm->fired[6], 8);
	cr_assert_geq(r.dlm->fired_ms[6] - t0, 120);
	rig_end(&r);
}

Test(driver, a_timer_of_zero_runs_after_the_input_and_does_not_starve_the_loop)
{
	struct rig r;

	rig_start(&r);
	park(&r.w);
	r.dlm->rearm = 1000;
	r.dlm->tr->timer_set(r.dlm->ctx, 1, 0);
	cr_assert_eq(r.dlm->n_fired, 0, "fired within the input");
	unpark(&r.w);
	WAIT_UNTIL(&r.w, r.dlm->n_fired == 1001);
	rig_end(&r);
}

Test(driver, thousands_of_timers_all_fire)
{
	enum { N = 5000 };
	struct rig r;

	rig_start(&r);
	park(&r.w);
	for (uint64_t i = 0; i < N; i++)
		r.dlm->tr->timer_set(r.dlm->ctx, i * 0x100000001, (uint32_t)(i * 7919 % 50));
	for (uint64_t i = 0; i < N; i += 2)
		r.dlm->tr->timer_clear(r.dlm->ctx, i * 0x100000001);
	unpark(&r.w);
	WAIT_UNTIL(&r.w, r.dlm->n_fired == N / 2);
	rig_end(&r);
}

Test(driver, random_is_in_range_and_spread)
{
	struct rig r;
	int seen[4] = { 0 };

	rig_start(&r);
	for (int i = 0; i < 4000; i++) {
		uint32_t v = r.dlm->tr->random(r.dlm->ctx, 4);

		cr_assert_lt(v, 4);
		seen[v]++;
		cr_assert_eq(r.dlm->tr->random(r.dlm->ctx, 1), 0);
	}
	for (int i = 0; i < 4; i++)
		cr_assert(seen[i] > 800 && seen[i] < 1200, "%d of 4000", seen[i]);
	r.dlm->tr->fence(r.dlm->ctx, "D", "why");
	cr_assert_eq(r.fences, 1);
	rig_end(&r);
}
