/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * net.c: puts the pieces together: table, address, listener, links, DLM core, reactor;
 * and passes events between them in the order that all of it relies on.
 *
 *	up	quorum, link wanted, DLM
 *	down	quorum, link closed and its requests ended, DLM
 *
 * (doc/spec/cluster.md 2.6, 5.10, section 8). Both functions below run to their end on
 * the reactor, so nothing comes in between, and what was read from a socket before is
 * handled before, or not at all.
 */
#include "net/net_int.h"
#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* ---- changes, fence, events ----------------------------------------------------------- */

void net_changed(struct net *net)
{
	pthread_mutex_lock(&net->lock);
	net->changes++;
	pthread_cond_broadcast(&net->cond);
	pthread_mutex_unlock(&net->lock);
}

void net_wait_change(struct net *net, int64_t deadline_ms)
{
	struct timespec ts = { .tv_sec = deadline_ms / 1000,
			       .tv_nsec = deadline_ms % 1000 * 1000000 };
	uint64_t seen = net->changes;
	int rc = 0;

	while (net->changes == seen && rc != ETIMEDOUT)
		rc = pthread_cond_timedwait(&net->cond, &net->lock, &ts);
}

void net_tell(struct net *net, const char *name, node_t node, const char *words)
{
	if (net->nl)
		net_nl_event(net->nl, name, node, words);
}

static void shut_gates(void *ctx, const char *why)
{
	struct net *net = ctx;

	log_err(net->log, "fence", "this node stops: %s", why);
	if (net->ops.fence)
		net->ops.fence(net->cfg.ops_ctx, why);
}

static void mute_heartbeat(void *ctx)
{
	struct net *net = ctx;

	for (struct net_region *r = net->regions; r; r = r->next) {
		if (r->hb && !r->closing)
			net_hb_mute(r->hb);
	}
}

static void drop_out_run(void *arg)
{
	struct net *net = arg;

	net_listen_close(net->listen);
	net->listen = NULL;
	net_links_shut(net->links, "this node has fenced itself");
	net_changed(net);
}

static void drop_out(void *ctx)
{
	struct net *net = ctx;

	net_loop_post(net->loop, drop_out_run, net);
}

void net_fence(struct net *net, const char *why)
{
	static const struct net_fence_ops ops = {
		.shut_gates = shut_gates,
		.mute_heartbeat = mute_heartbeat,
		.drop_out = drop_out,
	};

	net_fence_now(&net->fence, &ops, net, why);
}

struct stopping {
	struct net *net;
	char why[NET_FENCE_WHY_MAX];
};

static void stop_run(void *arg)
{
	struct stopping *s = arg;

	net_fence(s->net, s->why);
	free(s);
}

/* Without memory the caller's gate is shut all the same, so the lease runs out. */
void net_stop(struct net *net, const char *why)
{
	struct stopping *s = calloc(1, sizeof(*s));

	if (!s)
		return;
	s->net = net;
	snprintf(s->why, sizeof(s->why), "%s", why);
	net_loop_post(net->loop, stop_run, s);
}

static void core_fence(void *ctx, const char *domain, const char *why)
{
	struct net *net = ctx;
	char text[NET_FENCE_WHY_MAX];

	snprintf(text, sizeof(text), "domain %s: %s", domain, why);
	net_fence(net, text);
}

struct event {
	struct net *net;
	char name[32];
	char words[];
};

static void event_run(void *arg)
{
	struct event *ev = arg;

	net_tell(ev->net, ev->name, ev->net->self, ev->words);
	free(ev);
}

void net_event(struct net *net, const char *name, const char *fmt, ...)
{
	enum { ROOM = 512 };
	struct event *ev = calloc(1, sizeof(*ev) + ROOM);
	va_list ap;

	if (!ev)
		return; /* an event is news, nobody relies on it */
	ev->net = net;
	snprintf(ev->name, sizeof(ev->name), "%s", name);
	va_start(ap, fmt);
	vsnprintf(ev->words, ROOM, fmt, ap);
	va_end(ap);
	net_loop_post(net->loop, event_run, ev);
}

/* ---- quorum, nodes ----------------------------------------------------------------------- */

static void obey(struct net *net, enum net_quorum_verdict v)
{
	char why[NET_FENCE_WHY_MAX];

	if (v != NET_QUORUM_FENCE)
		return;
	net_quorum_decide(&net->quorum, why, sizeof(why));
	net_fence(net, why);
}

void net_node_up(struct net *net, node_t node)
{
	net_map_set(net->live, node);
	log_info(net->log, "heartbeat", "node %u is up", node);
	obey(net, net_quorum_hb_up(&net->quorum, node));
	net_links_hb_up(net->links, node);
	if (net->driver)
		dlm_node_up(net_driver_dlm(net->driver), node);
	net_tell(net, "node-up", node, "");
	net_changed(net);
}

void net_node_down(struct net *net, node_t node)
{
	net_map_clear(net->live, node);
	log_info(net->log, "heartbeat", "node %u is down", node);
	obey(net, net_quorum_hb_down(&net->quorum, node));
	net_links_hb_down(net->links, node);
	if (net->driver)
		dlm_node_down(net_driver_dlm(net->driver), node);
	net_tell(net, "node-down", node, "");
	net_changed(net);
}

/* ---- links ------------------------------------------------------------------------------- */

static struct net_link_reply on_message(void *ctx, node_t from, const struct net_frame *f,
					const void *payload)
{
	struct net *net = ctx;
	struct net_link_reply reply = { .sys_status = NET_SYS_NO_HANDLER };

	if (!net_regions_message(net, from, f, payload, &reply) && net->driver)
		reply = net_driver_message(net->driver, from, f, payload);
	return reply;
}

static void on_replied(void *ctx)
{
	struct net *net = ctx;

	if (net->driver)
		net_driver_replied(net->driver);
}

static void on_reply_written(void *ctx, uint64_t token)
{
	struct net *net = ctx;

	if (net->driver)
		dlm_reply_written(net_driver_dlm(net->driver), token);
}

static void on_sent(void *ctx, uint32_t key, uint64_t token, int err, int32_t status)
{
	struct net *net = ctx;

	if (net_regions_own_key(net, key)) {
		if (err)
			log_info(net->log, "heartbeat", "negotiation message failed: %s",
				 strerror(-err));
	} else if (net->driver) {
		dlm_sent(net_driver_dlm(net->driver), token, err, status);
	}
}

static void on_link_up(void *ctx, node_t node, uint32_t epoch)
{
	struct net *net = ctx;

	if (net->driver)
		dlm_link_up(net_driver_dlm(net->driver), node, epoch);
	net_changed(net);
}

static void on_conn_up(void *ctx, node_t node)
{
	struct net *net = ctx;

	net->silent_ns[node] = 0;
	obey(net, net_quorum_conn_up(&net->quorum, node));
	/* Also when a silent link is heard again: it was told as down. */
	net_tell(net, "link-up", node, "");
	net_changed(net);
}

static void on_conn_err(void *ctx, node_t node, const char *why)
{
	struct net *net = ctx;
	char words[300];

	net_quorum_conn_err(&net->quorum, node);
	if (!net->silent_ns[node])
		net->silent_ns[node] = net_now_ms() * 1000000;
	snprintf(words, sizeof(words), "reason=\"%s\"", why);
	net_tell(net, "link-down", node, words);
	net_changed(net);
}

static void on_still_up(void *ctx, node_t node)
{
	struct net *net = ctx;

	obey(net, net_quorum_still_up(&net->quorum, node));
}

static const struct net_link_ops link_ops = {
	.message = on_message,
	.replied = on_replied,
	.reply_written = on_reply_written,
	.sent = on_sent,
	.up = on_link_up,
	.conn_up = on_conn_up,
	.conn_err = on_conn_err,
	.still_up = on_still_up,
};

static void on_accepted(void *ctx, int fd, uint32_t from_addr)
{
	struct net *net = ctx;

	net_links_accept(net->links, fd, from_addr);
}

/* ---- the local address ------------------------------------------------------------------- */

static void address_changed(void *ctx, const struct net_rtnl_state *was,
			    const struct net_rtnl_state *is)
{
	struct net *net = ctx;
	bool was_good = was->present && was->carrier, good = is->present && is->carrier;
	char words[64];

	if (was_good == good)
		return;
	snprintf(words, sizeof(words), "link=%s reason=%s", is->present ? is->link : was->link,
		 !is->present ? "no-address" : !is->carrier ? "no-carrier" : "none");
	net_tell(net, good ? "address-found" : "address-lost", net->self, words);
}

static void on_rtnl(void *arg, unsigned int events)
{
	struct net *net = arg;

	net_rtnl_readable(net->rtnl);
	if (events & NET_POLL_ERR) /* an overrun: watching goes on */
		net_poll_set(net->rtnl_poll, NET_POLL_IN);
}

/* ---- opening ------------------------------------------------------------------------------- */

static void on_tick(void *arg)
{
	struct net *net = arg;

	if (net->driver)
		dlm_clock(net_driver_dlm(net->driver), (uint32_t)(net_boottime_ns() / 1000000000));
	net_regions_tick(net);
	net_timer_set(net->tick, NET_TICK_MS);
}

static int take_timeouts(struct net *net, struct reason *why)
{
	struct net_config *c = &net->cfg;

	net->threshold = c->threshold ? c->threshold : NET_THRESHOLD_DEFAULT;
	net->hs = (struct net_handshake){
		.version = NET_PROTO_VERSION,
		.connector_id = 1,
		.idle_ms = c->idle_ms ? c->idle_ms : NET_IDLE_MS_DEFAULT,
		.keepalive_ms = c->keepalive_ms ? c->keepalive_ms : NET_KEEPALIVE_MS_DEFAULT,
		.reconnect_ms = c->reconnect_ms ? c->reconnect_ms : NET_RECONNECT_MS_DEFAULT,
	};
	if (net->threshold < NET_THRESHOLD_MIN || net->threshold > UINT32_MAX / NET_HB_PERIOD_MS - 2)
		return reason_set(why, EXIT_CONF, -EINVAL,
				  "heartbeat threshold %u is out of range; use %d or more, the same on "
				  "all nodes", net->threshold, NET_THRESHOLD_MIN);
	if (net->hs.keepalive_ms >= net->hs.idle_ms)
		return reason_set(why, EXIT_CONF, -EINVAL,
				  "keepalive delay %u ms must be below the idle time-out %u ms; change "
				  "one of them, the same on all nodes", net->hs.keepalive_ms,
				  net->hs.idle_ms);
	if (net->hs.idle_ms >= net_dead_ms(net->threshold))
		log_debug(net->log, "net",
			  "a link may be silent (idle_ms=%u) for longer than a node may be dead "
			  "(dead_ms=%u): requests to a dead node wait for its heartbeat",
			  net->hs.idle_ms, net_dead_ms(net->threshold));
	net->hs.heartbeat_ms = net_write_timeout_ms(net->threshold);
	return 0;
}

static int take_table(struct net *net, struct reason *why)
{
	struct net_config *c = &net->cfg;
	struct net_conf_pick pick = { .cluster = c->cluster, .node = c->node, .ip = c->ip,
				      .port = c->port };
	const struct net_conf_cluster *cluster;
	const struct net_node *self;
	struct net_conf *conf;
	uint8_t map[32];
	int err = net_conf_read(c->conf_path, net->log, &conf, why);

	if (err)
		return err;
	err = net_conf_pick(conf, &pick, &cluster, &net->nodes, why);
	if (!err) {
		self = net_nodes_local(net->nodes);
		net->self = self->number;
		snprintf(net->cluster, sizeof(net->cluster), "%s", cluster->name);
		snprintf(net->self_name, sizeof(net->self_name), "%s", self->name);
		net_nodes_map(net->nodes, map);
		net_hb_map_store(&net->configured, map);
	}
	net_conf_free(conf);
	return err;
}

static int make_core(struct net *net, struct reason *why)
{
	struct net_links_config lc = {
		.loop = net->loop, .log = net->log, .self = net->self, .nodes = net->nodes,
		.handshake = net->hs, .quorum_delay_ms = net_quorum_delay_ms(net->threshold),
		.ops = &link_ops, .ctx = net,
	};
	struct net_driver_config dc = {
		.loop = net->loop,
		.dlm = { .self = net->self, .log = net->log, .proto_minor = 3, .purge_ms = 8000 },
		.fence = core_fence,
		.ctx = net,
	};
	int err;

	/* The driver's hook runs first, so that its sends are written in the same round. */
	err = net_driver_new(&dc, &net->driver);
	if (!err)
		err = net_links_new(&lc, &net->links);
	if (err)
		return reason_set(why, EXIT_SYSTEM, err, "starting the lock manager: %s",
				  strerror(-err));
	net_driver_set_links(net->driver, net->links);
	net_admin_table_changed(net);
	net_quorum_init(&net->quorum, net->self);
	return 0;
}

static int open_sockets(struct net *net, struct reason *why)
{
	const struct net_node *self = net_nodes_local(net->nodes);
	int err = net_rtnl_open(self->addr, address_changed, net, net->log, &net->rtnl, why);

	if (err)
		return err;
	err = net_poll_new(net->loop, net_rtnl_fd(net->rtnl), on_rtnl, net, &net->rtnl_poll);
	if (err)
		return reason_set(why, EXIT_SYSTEM, err, "watching the local address: %s",
				  strerror(-err));
	net_poll_set(net->rtnl_poll, NET_POLL_IN);
	err = net_listen_open(net->loop, self->addr, self->port, on_accepted, net, net->log,
			      &net->listen, why);
	if (err)
		return err;
	obey(net, net_quorum_conn_up(&net->quorum, net->self));
	return net->cfg.no_netlink ? 0 : net_admin_open(net, why);
}

/* The loop's thread has ended, or never ran. */
static void tear_down(struct net *net)
{
	while (net->domains) {
		struct net_domain *next = net->domains->next;

		free(net->domains);
		net->domains = next;
	}
	net_timer_free(net->tick);
	net_listen_close(net->listen);
	net_links_free(net->links);
	net_driver_free(net->driver);
	net->driver = NULL;
	net_admin_close(net);
	net_poll_free(net->rtnl_poll);
	net_rtnl_close(net->rtnl);
	net_loop_free(net->loop);
	net_nodes_free(net->nodes);
	pthread_cond_destroy(&net->cond);
	pthread_mutex_destroy(&net->lock);
	free(net);
}

int net_open(const struct net_config *cfg, struct net **out, struct reason *why)
{
	struct net *net = calloc(1, sizeof(*net));
	pthread_condattr_t attr;
	int err;

	if (!net)
		return reason_set(why, EXIT_SYSTEM, -ENOMEM, "opening the cluster: out of memory");
	net->cfg = *cfg;
	net->log = cfg->log;
	if (cfg->ops)
		net->ops = *cfg->ops;
	pthread_mutex_init(&net->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&net->cond, &attr);
	pthread_condattr_destroy(&attr);

	err = take_timeouts(net, why);
	if (!err)
		err = take_table(net, why);
	if (!err)
		err = net_loop_new(&net->loop);
	if (!err)
		err = make_core(net, why);
	if (!err)
		err = open_sockets(net, why);
	if (!err) {
		net->tick = net_timer_new(net->loop, on_tick, net);
		err = net->tick ? 0 : -ENOMEM;
	}
	if (!err) {
		net_timer_set(net->tick, NET_TICK_MS);
		err = net_loop_start(net->loop, "o2fuse-net");
	}
	/* Strings of the caller are not needed any more. */
	net->cfg.conf_path = net->cfg.cluster = net->cfg.node = net->cfg.ip = NULL;
	if (err) {
		reason_set(why, EXIT_SYSTEM, err, "starting the network thread: %s", strerror(-err));
		tear_down(net);
		return err;
	}
	*out = net;
	return 0;
}

void net_close(struct net *net)
{
	while (net->regions)
		net_region_stop(net->regions, false);
	net_loop_stop(net->loop);
	tear_down(net);
}

void net_post(struct net *net, void (*fn)(void *arg), void *arg)
{
	net_loop_post(net->loop, fn, arg);
}

struct dlm *net_dlm(struct net *net)
{
	return net->driver ? net_driver_dlm(net->driver) : NULL;
}

int64_t net_silent_since(const struct net *net, node_t node)
{
	return net->silent_ns[node];
}

node_t net_self(const struct net *net)
{
	return net->self;
}

const char *net_cluster_name(const struct net *net)
{
	return net->cluster;
}
