/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * net_admin.c: what an administrator sees and changes while the cluster runs: the node
 * table, and the status of this node as one JSON object.
 *
 * All of it runs on the reactor, so a status is one moment's picture.
 */
#include "net/net_int.h"
#include <errno.h>
#include <json-c/json.h>
#include <string.h>

/* ---- the node table ------------------------------------------------------------------------- */

void net_admin_table_changed(struct net *net)
{
	struct dlm_table_entry table[NODE_MAX];
	uint8_t map[32];

	memset(table, 0, sizeof(table));
	net_nodes_dlm_table(net->nodes, table);
	if (net->driver)
		dlm_set_table(net_driver_dlm(net->driver), table);
	net_nodes_map(net->nodes, map);
	net_hb_map_store(&net->configured, map);
}

static int node_add(void *ctx, const struct net_node *node, struct reason *why)
{
	struct net *net = ctx;
	char words[160], addr[NET_ADDR_LEN];
	struct net_node row = *node;
	int err;

	row.local = false;
	err = net_nodes_add(net->nodes, &row, why);
	if (err)
		return err;
	net_admin_table_changed(net);
	snprintf(words, sizeof(words), "name=%s address=%s:%u", row.name,
		 net_addr_text(row.addr, addr), row.port);
	net_tell(net, "node-added", row.number, words);
	return 0;
}

static int node_remove(void *ctx, node_t number, struct reason *why)
{
	struct net *net = ctx;
	int err = net_nodes_remove(net->nodes, number, net->live, why);

	if (err)
		return err;
	net_admin_table_changed(net);
	net_tell(net, "node-removed", number, "");
	return 0;
}

static bool is_member(const struct net *net, node_t node)
{
	uint8_t map[32];

	for (const struct net_domain *nd = net->domains; nd; nd = nd->next) {
		if (!nd->dom || !net->driver)
			continue;
		dlm_domain_members(nd->dom, map);
		if (net_map_test(map, node))
			return true;
	}
	return false;
}

static bool node_next(void *ctx, unsigned int from, struct net_nl_node *out)
{
	const struct net *net = ctx;
	const struct net_node *row = net_nodes_next(net->nodes, from);
	struct net_link_info info;

	if (!row)
		return false;
	*out = (struct net_nl_node){
		.node = *row,
		.alive = net_map_test(net->live, row->number),
		.connected = row->number == net->self,
		.member = is_member(net, row->number),
	};
	if (row->number != net->self && net_links_info(net->links, row->number, &info)) {
		out->connected = info.state == NET_LINK_UP && !info.timed_out;
		out->link_state = info.last_error[0] && !out->connected ?
				  info.last_error : net_link_state_name(info.state);
	}
	return true;
}

/* ---- status ---------------------------------------------------------------------------------- */

static void add_str(struct json_object *o, const char *key, const char *value)
{
	json_object_object_add(o, key, json_object_new_string(value));
}

static void add_num(struct json_object *o, const char *key, uint64_t value)
{
	json_object_object_add(o, key, json_object_new_uint64(value));
}

static void add_bool(struct json_object *o, const char *key, bool value)
{
	json_object_object_add(o, key, json_object_new_boolean(value));
}

static struct json_object *numbers(const uint8_t map[32])
{
	struct json_object *a = json_object_new_array();

	for (unsigned int n = 0; n < NODE_MAX; n++) {
		if (net_map_test(map, n))
			json_object_array_add(a, json_object_new_int((int)n));
	}
	return a;
}

static struct json_object *link_json(const struct net_link_info *i)
{
	struct json_object *o = json_object_new_object();

	add_str(o, "state", net_link_state_name(i->state));
	add_bool(o, "silent", i->timed_out);
	if (i->last_error[0])
		add_str(o, "error", i->last_error);
	add_num(o, "connections", i->epoch);
	add_num(o, "open_requests", i->open);
	add_num(o, "waiting_requests", i->waiting);
	add_num(o, "requests_sent", i->sent);
	add_num(o, "requests_failed", i->errors);
	add_num(o, "requests_received", i->received);
	add_num(o, "replies_received", i->replies);
	add_num(o, "keepalives_answered", i->keepalives);
	add_num(o, "bytes_in", i->bytes_in);
	add_num(o, "bytes_out", i->bytes_out);
	return o;
}

static struct json_object *nodes_json(struct net *net)
{
	struct json_object *a = json_object_new_array();
	struct net_link_info info;
	struct net_nl_node n;
	char addr[NET_ADDR_LEN];

	for (unsigned int from = 0; node_next(net, from, &n); from = n.node.number + 1u) {
		struct json_object *o = json_object_new_object();

		add_num(o, "number", n.node.number);
		add_str(o, "name", n.node.name);
		add_str(o, "address", net_addr_text(n.node.addr, addr));
		add_num(o, "port", n.node.port);
		add_bool(o, "local", n.node.local);
		add_bool(o, "alive", n.alive);
		add_bool(o, "connected", n.connected);
		add_bool(o, "member", n.member);
		if (net_links_info(net->links, n.node.number, &info))
			json_object_object_add(o, "link", link_json(&info));
		json_object_array_add(a, o);
	}
	return a;
}

/* Is the local node's address on this host, and can anything be sent from it? */
static struct json_object *address_json(const struct net *net)
{
	const struct net_rtnl_state *st = net_rtnl_state(net->rtnl);
	struct json_object *o = json_object_new_object();
	char addr[NET_ADDR_LEN];

	add_str(o, "ip", net_addr_text(net_nodes_local(net->nodes)->addr, addr));
	add_bool(o, "present", st->present);
	add_bool(o, "carrier", st->carrier);
	if (st->present)
		add_str(o, "link", st->link);
	return o;
}

static struct json_object *timeouts_json(const struct net *net)
{
	struct json_object *o = json_object_new_object();

	add_num(o, "heartbeat_threshold", net->threshold);
	add_num(o, "heartbeat_period_ms", NET_HB_PERIOD_MS);
	add_num(o, "write_timeout_ms", net->hs.heartbeat_ms);
	add_num(o, "gate_ms", net_gate_ms(net->threshold));
	add_num(o, "dead_ms", net_dead_ms(net->threshold));
	add_num(o, "quorum_delay_ms", net_quorum_delay_ms(net->threshold));
	add_num(o, "idle_ms", net->hs.idle_ms);
	add_num(o, "keepalive_ms", net->hs.keepalive_ms);
	add_num(o, "reconnect_ms", net->hs.reconnect_ms);
	return o;
}

static struct json_object *quorum_json(const struct net *net)
{
	struct json_object *o = json_object_new_object();
	char why[NET_FENCE_WHY_MAX];

	json_object_object_add(o, "heartbeating", numbers(net->quorum.hb));
	json_object_object_add(o, "connected", numbers(net->quorum.conn));
	json_object_object_add(o, "undecided", numbers(net->quorum.hold));
	add_bool(o, "vote_pending", net->quorum.pending);
	add_bool(o, "quorate",
		 net_quorum_decide(&net->quorum, why, sizeof(why)) == NET_QUORUM_GO_ON);
	return o;
}

static struct json_object *regions_json(const struct net *net)
{
	struct json_object *a = json_object_new_array();

	for (const struct net_region *r = net->regions; r; r = r->next) {
		struct json_object *o = json_object_new_object();
		struct net_hb_stats s;
		int64_t left;

		add_str(o, "name", r->name);
		add_str(o, "device", r->device);
		json_object_object_add(o, "live", numbers(r->live));
		add_bool(o, "steady", r->armed);
		if (r->hb && !r->closing) {
			net_hb_stats(r->hb, &s);
			left = net_hb_deadline(r->hb) - net_boottime_ns();
			json_object_object_add(o, "lease_left_ms", json_object_new_int64(left / 1000000));
			add_num(o, "iterations", s.iterations);
			add_num(o, "read_errors", s.read_errors);
			add_num(o, "write_errors", s.write_errors);
			add_num(o, "slot_overwritten", s.foreign);
			add_num(o, "last_ms", s.last_ms);
			add_num(o, "worst_ms", s.worst_ms);
		}
		json_object_array_add(a, o);
	}
	return a;
}

static struct json_object *domains_json(const struct net *net)
{
	struct json_object *a = json_object_new_array();

	for (const struct net_domain *nd = net->domains; nd; nd = nd->next) {
		struct json_object *o = json_object_new_object();
		uint8_t map[32];

		add_str(o, "name", nd->user.name);
		add_str(o, "state", nd->left ? "left" : nd->dom ? "joined" : "joining");
		if (nd->dom && net->driver) {
			const struct dlm_stats *s = dlm_domain_stats(nd->dom);

			dlm_domain_members(nd->dom, map);
			json_object_object_add(o, "members", numbers(map));
			add_num(o, "resources", s->resources);
			add_num(o, "locks", s->locks);
			add_num(o, "asts", s->asts);
			add_num(o, "basts", s->basts);
			add_num(o, "migrations", s->migrations);
			json_object_object_add(o, "messages", net_messages_json(s));
		}
		json_object_array_add(a, o);
	}
	return a;
}

static struct json_object *status(void *ctx)
{
	struct net *net = ctx;
	struct json_object *o = json_object_new_object();
	const char *fenced = net_fence_why(&net->fence);
	uint64_t unknown, other;

	add_str(o, "cluster", net->cluster);
	add_num(o, "node", net->self);
	add_str(o, "name", net->self_name);
	add_bool(o, "fenced", fenced);
	if (fenced)
		add_str(o, "fence_reason", fenced);
	json_object_object_add(o, "address", address_json(net));
	json_object_object_add(o, "nodes", nodes_json(net));
	json_object_object_add(o, "regions", regions_json(net));
	json_object_object_add(o, "quorum", quorum_json(net));
	json_object_object_add(o, "domains", domains_json(net));
	json_object_object_add(o, "timeouts", timeouts_json(net));
	net_links_refused(net->links, &unknown, &other);
	add_num(o, "refused_unknown_address", unknown);
	add_num(o, "refused_connections", other);
	if (net->nl)
		net_nl_status(net->nl, o);
	if (net->ops.status)
		net->ops.status(net->cfg.ops_ctx, o);
	return o;
}

/* ---- the channel ------------------------------------------------------------------------------ */

static void set_timer(void *ctx, uint32_t ms)
{
	struct net *net = ctx;

	net_timer_set(net->nl_timer, ms);
}

static void on_timer(void *arg)
{
	struct net *net = arg;

	net_nl_tick(net->nl);
}

static void on_readable(void *arg, unsigned int events)
{
	struct net *net = arg;

	net_nl_readable(net->nl);
	if (events & NET_POLL_ERR) /* an overrun is reported as an error; go on watching */
		net_poll_set(net->nl_poll, NET_POLL_IN);
}

int net_admin_open(struct net *net, struct reason *why)
{
	static const struct net_nl_ops ops = {
		.node_add = node_add,
		.node_remove = node_remove,
		.node_next = node_next,
		.status = status,
		.locks = net_locks_json,
		.timer = set_timer,
	};
	struct net_nl_config cfg = {
		.cluster = net->cluster, .self = net->self, .node_name = net->self_name,
		.log = net->log, .ops = &ops, .ctx = net,
	};
	int err;

	net->nl_timer = net_timer_new(net->loop, on_timer, net);
	if (!net->nl_timer)
		return reason_set(why, EXIT_SYSTEM, -ENOMEM, "opening the admin channel: out of memory");
	err = net_nl_open(&cfg, &net->nl, why);
	if (err)
		return err;
	err = net_poll_new(net->loop, net_nl_fd(net->nl), on_readable, net, &net->nl_poll);
	if (err)
		return reason_set(why, EXIT_SYSTEM, err, "opening the admin channel: %s",
				  strerror(-err));
	net_poll_set(net->nl_poll, NET_POLL_IN);
	return 0;
}

void net_admin_close(struct net *net)
{
	net_timer_free(net->nl_timer);
	net_poll_free(net->nl_poll);
	if (net->nl)
		net_nl_close(net->nl);
	net->nl = NULL;
}
