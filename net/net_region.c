/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * net_region.c: heartbeat regions of this node: start, stop, who lives, and the lease.
 *
 * The thread of a region posts what it sees; here it becomes the union over all regions
 * (a node is up with its first region, down with its last). The lease is watched by the
 * tick of the reactor, not by the thread that renews it: a write that hangs must not
 * stop the clock.
 *
 * Negotiation (doc/spec/cluster.md 4.7): when the storage hangs for everybody, nobody
 * should stop. Half-way through the lease a node whose last iteration was clean tells
 * the lowest live node; that one, itself hanging, compares those who told it with the
 * live map, and when all hang it lets all wait once more.
 *
 * A region is freed by whoever stops it, after its thread has ended and after a call on
 * the reactor that unlinks it; so the reactor never sees one that is gone.
 */
#include "net/net_int.h"
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "net/heartbeat.h"

#define NEGO_CHECK_NS 1000000000LL

/* ---- what the heartbeat thread reports ----------------------------------------------------- */

static void on_lease(void *ctx, int64_t deadline_ns)
{
	struct net_region *r = ctx;

	if (r->cfg.lease)
		r->cfg.lease(r->cfg.ctx, deadline_ns);
}

/* Heartbeat thread. The reactor does the rest of the fence when it runs again: the gates
 * are shut, and nothing else of ours can be noticed by others. */
static void on_stuck(void *ctx, const char *why)
{
	struct net_region *r = ctx;
	struct net *net = r->net;

	if (net->ops.fence)
		net->ops.fence(net->cfg.ops_ctx, why);
}

static void on_node(void *ctx, node_t node, bool up)
{
	struct net_region *r = ctx;
	struct net *net = r->net;

	if (up == net_map_test(r->live, node))
		return;
	if (up) {
		net_map_set(r->live, node);
		if (net->live_regions[node]++ == 0)
			net_node_up(net, node);
	} else {
		net_map_clear(r->live, node);
		if (--net->live_regions[node] == 0)
			net_node_down(net, node);
	}
}

static void on_started(void *ctx, int err, const struct reason *why)
{
	struct net_region *r = ctx;

	r->armed = !err;
	pthread_mutex_lock(&r->net->lock);
	r->started = true;
	r->start_err = err;
	if (why)
		r->start_why = *why;
	pthread_mutex_unlock(&r->net->lock);
	net_changed(r->net);
}

static void on_lost(void *ctx, const char *why)
{
	struct net_region *r = ctx;

	net_fence(r->net, why);
}

static const struct net_hb_ops hb_ops = {
	.lease = on_lease,
	.stuck = on_stuck,
	.node = on_node,
	.started = on_started,
	.lost = on_lost,
};

/* ---- start and stop --------------------------------------------------------------------------- */

static void link_region(void *arg)
{
	struct net_region *r = arg;

	r->next = r->net->regions;
	r->net->regions = r;
}

static void begin_close(void *arg)
{
	struct net_region *r = arg;

	r->closing = true;
}

/* No more events come. Who lived in this region only is down for us. */
static void unlink_region(void *arg)
{
	struct net_region *r = arg, **p = &r->net->regions;

	for (unsigned int n = 0; n < NODE_MAX; n++)
		on_node(r, (node_t)n, false);
	while (*p != r)
		p = &(*p)->next;
	*p = r->next;
}

struct opened {
	struct net_region *r;
	struct net_hb *hb;
};

static void show_hb(void *arg)
{
	struct opened *o = arg;

	o->r->hb = o->hb;
}

void net_region_stop(struct net_region *r, bool goodbye)
{
	struct net *net = r->net;
	int err = 0;

	net_loop_call(net->loop, begin_close, r);
	if (r->hb)
		err = net_hb_close(r->hb, goodbye && !net_fence_why(&net->fence));
	net_loop_call(net->loop, unlink_region, r);
	if (!err) /* else its thread hangs in the kernel, and may still store a lease */
		free(r);
}

int net_region_start(struct net *net, const struct net_region_config *cfg,
		     struct net_region **out, struct reason *why)
{
	struct net_region *r = calloc(1, sizeof(*r));
	struct net_hb_config hc = {
		.device = cfg->device, .byte_off = cfg->byte_off, .block_bytes = cfg->block_bytes,
		.self = net->self, .threshold = net->threshold, .configured = &net->configured,
		.loop = net->loop, .log = net->log, .ops = &hb_ops, .ctx = r,
	};
	struct opened o = { .r = r };
	int64_t limit;
	int err;

	if (!r)
		return reason_set(why, EXIT_SYSTEM, -ENOMEM, "heartbeat: out of memory");
	r->net = net;
	r->cfg = *cfg;
	snprintf(r->name, sizeof(r->name), "%s", cfg->name);
	snprintf(r->device, sizeof(r->device), "%s", cfg->device);
	r->nego_asked = NODE_NONE;
	r->cfg.name = r->name;
	r->cfg.device = r->device;
	r->nego_key = net_hb_nego_key(r->name);
	/* Both handlers are there before the first block is written. */
	net_loop_call(net->loop, link_region, r);
	err = net_hb_open(&hc, &o.hb, why);
	if (err)
		goto undo;
	net_loop_call(net->loop, show_hb, &o);

	limit = net_now_ms() + (int64_t)NET_HB_PERIOD_MS * (NET_HB_TRIES + 15);
	pthread_mutex_lock(&net->lock);
	while (!r->started && !net_fence_why(&net->fence) && net_now_ms() < limit)
		net_wait_change(net, limit);
	err = r->started ? r->start_err : -ETIMEDOUT;
	if (r->started && err && why && !why->text[0])
		*why = r->start_why;
	pthread_mutex_unlock(&net->lock);
	if (!err && net_fence_why(&net->fence))
		err = -EIO;
	if (!err) {
		*out = r;
		return 0;
	}
	if (net_fence_why(&net->fence))
		reason_set(why, EXIT_CLUSTER, err, "heartbeat: this node stopped: %s",
			   net_fence_why(&net->fence));
	reason_set(why, EXIT_CLUSTER, err,
		   "heartbeat on %s: the storage does not answer; check it", r->device);
undo:
	net_region_stop(r, false);
	return err;
}

/* ---- negotiation ----------------------------------------------------------------------------- */

bool net_regions_own_key(const struct net *net, uint32_t key)
{
	for (const struct net_region *r = net->regions; r; r = r->next) {
		if (r->nego_key == key)
			return true;
	}
	return false;
}

bool net_regions_message(struct net *net, node_t from, const struct net_frame *f,
			 const uint8_t *payload, struct net_link_reply *reply)
{
	struct net_region *r = net->regions;

	while (r && r->nego_key != f->key)
		r = r->next;
	if (!r || (f->type != NET_HB_NEGO_TIMEOUT && f->type != NET_HB_NEGO_APPROVE))
		return false;
	*reply = (struct net_link_reply){ .sys_status = NET_SYS_OK };
	if (f->len > 1) {
		reply->sys_status = NET_SYS_OVERFLOW;
		return true;
	}
	if (f->len < 1 || payload[0] != from) {
		log_warn(net->log, "heartbeat",
			 "node %u sent a negotiation message in the name of another; ignored", from);
		reply->status = -EINVAL;
		return true;
	}
	if (!r->hb || r->closing)
		return true;
	if (f->type == NET_HB_NEGO_TIMEOUT) {
		log_warn(net->log, "heartbeat", "node %u: its writes to %s hang", from, r->device);
		net_map_set(r->hanging, from);
	} else if (r->nego_asked == from && r->nego_seen_ns == net_hb_deadline(r->hb) &&
		   !net_fence_why(&net->fence)) {
		log_warn(net->log, "heartbeat", "the storage %s hangs for all nodes; waiting on",
			 r->device);
		net_hb_renew(r->hb);
	} else {
		/* Our writes do not hang (any more), so others may see our silence and take
		 * our locks: no agreement of theirs may keep the gate open. */
		log_warn(net->log, "heartbeat",
			 "node %u lets us wait for %s, but we did not ask; ignored", from, r->device);
	}
	return true;
}

static void nego_send(struct net_region *r, node_t to, enum net_hb_nego_msg type)
{
	uint8_t self = r->net->self;

	net_links_send(r->net->links, 0, to, r->nego_key, (uint16_t)type, &self, 1);
}

static void nego_approve(struct net_region *r)
{
	struct net *net = r->net;

	log_warn(net->log, "heartbeat", "the storage %s hangs for all nodes; waiting on", r->device);
	net_hb_renew(r->hb);
	for (unsigned int n = 0; n < NODE_MAX; n++) {
		if (n != net->self && net_map_test(r->live, n))
			nego_send(r, (node_t)n, NET_HB_NEGO_APPROVE);
	}
}

/* Half of the lease has gone by without a renewal. */
static void nego(struct net_region *r, int64_t deadline, int64_t now)
{
	struct net *net = r->net;
	unsigned int lowest = 0;
	bool first = r->nego_seen_ns != deadline;

	while (lowest < net->self && !net_map_test(r->live, lowest))
		lowest++;
	if (first) {
		/* A write that fails is no reason to wait for others: only a hanging one. */
		if (!net_hb_clean(r->hb))
			return;
		r->nego_seen_ns = deadline;
		if (lowest != net->self) {
			log_warn(net->log, "heartbeat", "writing to %s hangs; asking node %u",
				 r->device, lowest);
			r->nego_asked = (node_t)lowest;
			nego_send(r, (node_t)lowest, NET_HB_NEGO_TIMEOUT);
		} else {
			net_map_set(r->hanging, net->self);
		}
	}
	if (lowest != net->self || now - r->nego_check_ns < NEGO_CHECK_NS)
		return;
	r->nego_check_ns = now;
	if (net_map_test(r->hanging, net->self) && !memcmp(r->hanging, r->live, sizeof(r->live)))
		nego_approve(r);
}

static void watch_lease(struct net_region *r)
{
	struct net *net = r->net;
	int64_t deadline = net_hb_deadline(r->hb), now = net_boottime_ns();
	int64_t lease = (int64_t)net_gate_ms(net->threshold) * 1000000;
	char why[NET_FENCE_WHY_MAX];

	if (!r->armed || !deadline)
		return;
	if (deadline != r->renewed_ns) {
		r->renewed_ns = deadline;
		memset(r->hanging, 0, sizeof(r->hanging));
	}
	if (now > deadline) {
		snprintf(why, sizeof(why),
			 "heartbeat lease ran out: no write to %.100s succeeded for %u ms", r->device,
			 net_gate_ms(net->threshold));
		net_fence(net, why);
	} else if (deadline - now < lease / 2) {
		nego(r, deadline, now);
	}
}

void net_regions_tick(struct net *net)
{
	for (struct net_region *r = net->regions; r; r = r->next) {
		if (!r->hb || r->closing)
			continue;
		net_hb_tick(r->hb);
		if (!net_fence_why(&net->fence))
			watch_lease(r);
	}
}
