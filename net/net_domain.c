/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * net_domain.c: what mount and unmount wait for: all live nodes connected, joined, left.
 *
 * The waiting thread holds net->lock only while it looks and sleeps; the reactor sets
 * results under it and counts changes, so a change between looking and sleeping is not
 * missed. A fence ends every wait. A struct net_domain lives until net_close unless its
 * join or leave came to an end: after a wait that was given up the core may still call.
 */
#include "net/net_int.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define JOIN_WAIT_MS 180000
#define LEAVE_WAIT_MS 300000

/* ---- all live nodes connected ---------------------------------------------------------------- */

struct check {
	struct net *net;
	node_t missing;		/* first that is not connected; NODE_NONE: none */
	bool alone;		/* our own heartbeat is not seen */
	bool refused;
	struct net_node row;
	char error[240];
};

static void check_run(void *arg)
{
	struct check *c = arg;
	struct net *net = c->net;
	struct net_link_info info;

	c->missing = NODE_NONE;
	c->alone = !net_map_test(net->live, net->self);
	for (unsigned int n = 0; n < NODE_MAX; n++) {
		const struct net_node *row = net_nodes_get(net->nodes, n);

		if (n == net->self || !net_map_test(net->live, n) || !row)
			continue;
		/* All links were shut before this node came: nothing is known of its link. */
		info = (struct net_link_info){ .last_error = "" };
		if (net_links_info(net->links, (node_t)n, &info) &&
		    info.state == NET_LINK_UP && !info.timed_out)
			continue;
		/* A refusal is more telling than one that is still on its way. */
		if (c->missing != NODE_NONE && !info.refused)
			continue;
		c->missing = (node_t)n;
		c->refused = info.refused;
		c->row = *row;
		snprintf(c->error, sizeof(c->error), "%s", info.last_error);
		if (c->refused)
			return;
	}
}

static int fenced_reason(struct net *net, const char *step, struct reason *why)
{
	return reason_set(why, EXIT_CLUSTER, -EIO, "%s: this node stopped: %s", step,
			  net_fence_why(&net->fence));
}

static int missing_reason(const struct check *c, struct reason *why)
{
	char addr[NET_ADDR_LEN];

	net_addr_text(c->row.addr, addr);
	if (c->refused)
		return reason_set(why, EXIT_PEER, -EPROTO, "connecting to node %u (%s, %s:%u): %s",
				  c->missing, c->row.name, addr, c->row.port, c->error);
	if (c->error[0])
		return reason_set(why, EXIT_PEER, -ENOTCONN,
				  "connecting to node %u (%s, %s:%u): %s; check network, firewall and "
				  "the node tables on both hosts", c->missing, c->row.name, addr,
				  c->row.port, c->error);
	return reason_set(why, EXIT_PEER, -ENOTCONN,
			  "connecting to node %u (%s, %s:%u): it heartbeats but did not connect to us "
			  "(the higher number connects); check network, firewall and that its node "
			  "table has our address", c->missing, c->row.name, addr, c->row.port);
}

int net_wait_connected(struct net *net, struct reason *why)
{
	uint32_t wait_ms = net->cfg.connect_wait_ms;
	int64_t limit = net_now_ms() + (wait_ms ? wait_ms : NET_CLUSTER_CHECK_MS);
	struct check c = { .net = net };
	uint64_t seen;

	for (;;) {
		pthread_mutex_lock(&net->lock);
		seen = net->changes;
		pthread_mutex_unlock(&net->lock);
		net_loop_call(net->loop, check_run, &c);
		if (net_fence_why(&net->fence))
			return fenced_reason(net, "connecting", why);
		if (c.missing == NODE_NONE && !c.alone)
			return 0;
		if (c.refused || net_now_ms() >= limit)
			break;
		pthread_mutex_lock(&net->lock);
		if (net->changes == seen)
			/* A refusal is no event; look now and then. */
			net_wait_change(net, net_now_ms() + 500 < limit ? net_now_ms() + 500 : limit);
		pthread_mutex_unlock(&net->lock);
	}
	if (c.missing == NODE_NONE)
		return reason_set(why, EXIT_CLUSTER, -ENOTCONN,
				  "connecting: our own heartbeat is not seen on the disk; check the "
				  "storage");
	return missing_reason(&c, why);
}

/* ---- join and leave ----------------------------------------------------------------------------- */

static void tell_member(const struct net_domain *nd, const char *name, node_t node)
{
	char words[DLM_DOMAIN_MAX + 16];

	snprintf(words, sizeof(words), "domain=%s", nd->user.name);
	net_tell(nd->net, name, node, words);
}

static void on_joined(void *ctx, struct dlm_domain *dom, int err, const char *why)
{
	struct net_domain *nd = ctx;
	struct net *net = nd->net;

	pthread_mutex_lock(&net->lock);
	nd->joined = true;
	nd->err = err;
	nd->dom = err ? NULL : dom;
	snprintf(nd->why, sizeof(nd->why), "%s", why ? why : "");
	pthread_mutex_unlock(&net->lock);
	if (!err)
		tell_member(nd, "joined", net->self);
	net_changed(net);
}

static void on_left(void *ctx)
{
	struct net_domain *nd = ctx;
	struct net *net = nd->net;

	pthread_mutex_lock(&net->lock);
	nd->left = true;
	nd->dom = NULL;
	pthread_mutex_unlock(&net->lock);
	tell_member(nd, "left", net->self);
	net_changed(net);
}

static void on_evicted(void *ctx, node_t node)
{
	struct net_domain *nd = ctx;

	if (nd->user.ops && nd->user.ops->evicted)
		nd->user.ops->evicted(nd->user.ctx, node);
}

static void on_members(void *ctx, node_t node, bool joined)
{
	struct net_domain *nd = ctx;

	if (node != nd->net->self)
		tell_member(nd, joined ? "joined" : "left", node);
	if (nd->user.ops && nd->user.ops->members)
		nd->user.ops->members(nd->user.ctx, node, joined);
	net_changed(nd->net);
}

static const struct dlm_domain_ops domain_ops = {
	.joined = on_joined,
	.left = on_left,
	.evicted = on_evicted,
	.members = on_members,
};

struct joining {
	struct net_domain *nd;
	int err;
};

static void join_run(void *arg)
{
	struct joining *j = arg;
	struct net_domain *nd = j->nd;
	struct net *net = nd->net;
	struct dlm_domain_config cfg = nd->user;
	struct dlm_domain *dom;

	cfg.ops = &domain_ops;
	cfg.ctx = nd;
	nd->next = net->domains;
	net->domains = nd;
	j->err = net->driver ? dlm_join(net_driver_dlm(net->driver), &cfg, &dom) : -EIO;
}

static void forget_run(void *arg)
{
	struct net_domain *nd = arg, **p = &nd->net->domains;

	while (*p != nd)
		p = &(*p)->next;
	*p = nd->next;
}

static void forget(struct net_domain *nd)
{
	net_loop_call(nd->net->loop, forget_run, nd);
	free(nd);
}

/* Under no lock. Wait for *what, at most ms, or for a fence. */
static bool wait_for(struct net *net, const bool *what, int64_t ms)
{
	int64_t limit = net_now_ms() + ms;
	bool got;

	pthread_mutex_lock(&net->lock);
	while (!*what && !net_fence_why(&net->fence) && net_now_ms() < limit)
		net_wait_change(net, limit);
	got = *what;
	pthread_mutex_unlock(&net->lock);
	return got;
}

int net_join(struct net *net, const struct dlm_domain_config *cfg, struct dlm_domain **out,
	     struct reason *why)
{
	struct net_domain *nd = calloc(1, sizeof(*nd));
	struct joining j = { .nd = nd };

	if (!nd)
		return reason_set(why, EXIT_SYSTEM, -ENOMEM, "joining the domain: out of memory");
	nd->net = net;
	nd->user = *cfg;
	net_loop_call(net->loop, join_run, &j);
	if (j.err) {
		forget(nd);
		return reason_set(why, EXIT_CLUSTER, j.err, "joining domain %s: %s", cfg->name,
				  j.err == -EEXIST ? "this host is in it already" : strerror(-j.err));
	}
	if (!wait_for(net, &nd->joined, JOIN_WAIT_MS)) {
		if (net_fence_why(&net->fence))
			return fenced_reason(net, "joining the domain", why);
		return reason_set(why, EXIT_CLUSTER, -ETIMEDOUT,
				  "joining domain %s: not finished after %d s; look at the other nodes "
				  "with o2fuse status", cfg->name, JOIN_WAIT_MS / 1000);
	}
	if (nd->err) {
		int err = nd->err;

		reason_set(why, err == -EPROTO || err == -EINVAL ? EXIT_PEER : EXIT_CLUSTER, err,
			   "joining domain %s: %s", cfg->name, nd->why[0] ? nd->why : strerror(-err));
		forget(nd);
		return err;
	}
	*out = nd->dom;
	return 0;
}

struct leaving {
	struct net *net;
	struct dlm_domain *dom;
	struct net_domain *nd;
};

static void leave_run(void *arg)
{
	struct leaving *l = arg;

	for (l->nd = l->net->domains; l->nd && l->nd->dom != l->dom; l->nd = l->nd->next)
		;
	if (l->nd && l->net->driver)
		dlm_leave(l->dom);
}

void net_leave(struct net *net, struct dlm_domain *dom)
{
	struct leaving l = { .net = net, .dom = dom };

	net_loop_call(net->loop, leave_run, &l);
	if (!l.nd)
		return;
	if (wait_for(net, &l.nd->left, LEAVE_WAIT_MS)) {
		forget(l.nd);
		return;
	}
	if (!net_fence_why(&net->fence))
		log_err(net->log, "dlm",
			"leaving domain %s did not finish in %d s; the others will recover our locks",
			l.nd->user.name, LEAVE_WAIT_MS / 1000);
	net_abandon(net);
}

/* After this no callback of the core comes. */
static void abandon_run(void *arg)
{
	struct net *net = arg;
	struct net_driver *d = net->driver;

	net->driver = NULL;
	for (struct net_domain *nd = net->domains; nd; nd = nd->next)
		nd->dom = NULL;
	net_driver_free(d);
}

void net_abandon(struct net *net)
{
	net_loop_call(net->loop, abandon_run, net);
}
