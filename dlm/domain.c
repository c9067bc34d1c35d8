/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * domain.c: be asked about membership (doc/spec/cluster.md 5.4 to 5.7, 5.10), and the
 * public calls. Joining is in join.c, leaving in leave.c.
 *
 * Why two nodes never form two domains on one volume: a joiner asks every heartbeating
 * node, one at a time, and becomes a member only if each said OK or "I am not a member".
 * A node that is joining itself says "not now" (joining_node is its own number from the
 * first question to the last answer), and becomes JOINED before it stops being the
 * joining node, so there is no instant at which a new member looks like a stranger.
 * Members let one joiner in at a time: who has said OK to one disallows all others until
 * that one asserts, cancels or dies.
 *
 * A kernel node crashes on an ASSERT or CANCEL out of turn; we refuse and log, and never
 * send one unless the receiver's reservation for us is proven (join.c).
 */
#include "dlm/domain_int.h"

#include <stdio.h>

/* ---- helpers shared with join.c and leave.c ---------------------------------- */

void dlm_map_to_bytes(const struct dlm_map *map, uint8_t bytes[32])
{
	for (unsigned int i = 0; i < 32; i++)
		bytes[i] = (uint8_t)(map->w[i / 8] >> (i % 8 * 8));
}

static struct dlm_map map_from_bytes(const uint8_t bytes[32])
{
	struct dlm_map map = { 0 };

	for (unsigned int i = 0; i < 32; i++)
		map.w[i / 8] |= (uint64_t)bytes[i] << (i % 8 * 8);
	return map;
}

struct dlm_wire_domain dlm_domain_wire_name(const struct dlm_domain *dom)
{
	struct dlm_wire_domain d = { .len = (uint8_t)strlen(dom->cfg.name) };

	memcpy(d.name, dom->cfg.name, d.len);
	return d;
}

size_t dlm_domain_put_table(const struct dlm_domain *dom, uint8_t *buf, size_t room)
{
	struct dlm_wire_query_nodeinfo m = { .node = dom->dlm->self,
					     .domain = dlm_domain_wire_name(dom) };

	for (unsigned int i = 0; i < NODE_MAX; i++) {
		const struct dlm_table_entry *e = &dom->dlm->table[i];

		if (e->present)
			m.nodes[m.num_nodes++] = (struct dlm_wire_node){
				.node = (node_t)i, .port = e->port, .addr = e->addr };
	}
	return dlm_put_query_nodeinfo(&m, buf, room);
}

uint32_t dlm_domain_key(const char *name)
{
	uint32_t crc = 0; /* not inverted, at neither end: cluster.md 4.3 */

	for (; *name; name++) {
		crc ^= (uint8_t)*name;
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
	}
	return crc;
}

void dlm_domain_members(const struct dlm_domain *dom, uint8_t map[32])
{
	dlm_map_to_bytes(&dom->members, map);
}

/* ---- the public calls --------------------------------------------------------- */

int dlm_join(struct dlm *dlm, const struct dlm_domain_config *cfg, struct dlm_domain **out)
{
	size_t len = strnlen(cfg->name, sizeof(cfg->name));
	struct dlm_domain *dom;
	int err;

	*out = NULL;
	if (len == 0 || len >= DLM_DOMAIN_MAX || !cfg->ops)
		return -EINVAL;
	if (dlm_domain_by_name(dlm, cfg->name, len))
		return -EEXIST;
	dom = calloc(1, sizeof(*dom));
	if (!dom)
		return -ENOMEM;
	dom->dlm = dlm;
	dom->cfg = *cfg;
	dom->key = dlm_domain_key(cfg->name);
	dom->joining_node = NODE_NONE;
	dom->dlm_minor = dlm->cfg.proto_minor;
	dom->fs_minor = cfg->fs_minor;
	dom->ms = calloc(1, sizeof(*dom->ms));
	err = dom->ms ? dlm_locks_init(dom) : -ENOMEM;
	if (err) {
		free(dom->ms);
		free(dom);
		return err;
	}
	cds_list_add_tail(&dom->link, &dlm->domains);
	dlm_enter(dlm);
	dlm_fx_key(dom, true);
	dlm_join_begin(dom);
	dlm_exit(dlm);
	*out = dom;
	return 0;
}

void dlm_leave(struct dlm_domain *dom)
{
	struct dlm *dlm = dom->dlm;

	dlm_enter(dlm);
	dlm_leave_begin(dom);
	dlm_exit(dlm);
}

void dlm_domain_release(struct dlm_domain *dom)
{
	if (dom->ms) {
		dlm_tm_clear(dom, &dom->ms->timer);
		dlm_tm_clear(dom, &dom->ms->pass_timer);
	}
	free(dom->ms);
	dom->ms = NULL;
}

void dlm_domain_emptied(struct dlm_domain *dom)
{
	if (dom->state == DLM_DOM_IN_SHUTDOWN)
		dlm_leave_go_on(dom);
}

/* ---- QUERY_JOIN (5.5) ----------------------------------------------------------- */

/* The version the domain runs at, against the one that is asked for. */
static bool compatible(uint8_t major, uint8_t minor, uint8_t asked_major, uint8_t asked_minor)
{
	return major == asked_major && minor <= asked_minor;
}

/* First match wins. *why is for our log. */
static struct dlm_join_answer judge(struct dlm *dlm, struct dlm_domain *dom,
				    const struct dlm_wire_query_join *m, const char **why)
{
	struct dlm_map seen = map_from_bytes(m->node_map), unseen;
	struct dlm_join_answer a = { .code = DLM_JOIN_DISALLOW };

	if (!dlm_map_test(&dlm->live, m->node)) {
		*why = "its heartbeat is not seen here yet";
		return a;
	}
	a.code = DLM_JOIN_OK_NO_MAP;
	*why = "not a member";
	if (!dom)
		return a;
	unseen = dlm_map_minus(&dom->members, &seen);
	if (!dlm_map_empty(&unseen)) {
		*why = "it does not see the heartbeat of every member";
		a.code = DLM_JOIN_DISALLOW;
		return a;
	}
	if (dom->state == DLM_DOM_LEAVING ||
	    (dom->state == DLM_DOM_NEW && dom->joining_node == NODE_NONE))
		return a;
	a.code = DLM_JOIN_DISALLOW;
	*why = "another join is under way";
	if (dom->joining_node != NODE_NONE)
		return a;
	*why = "a recovery is under way";
	if (dom->reco.active || !dlm_map_empty(&dom->recovery))
		return a;
	*why = "its former life is still a member";
	if (dlm_map_test(&dom->members, m->node))
		return a;
	a.code = DLM_JOIN_PROTOCOL_MISMATCH;
	*why = "protocol version";
	if (!compatible(DLM_PROTO_MAJOR, dom->dlm_minor, m->dlm_major, m->dlm_minor) ||
	    !compatible(dom->cfg.fs_major, dom->fs_minor, m->fs_major, m->fs_minor))
		return a;
	*why = NULL;
	return (struct dlm_join_answer){ .code = DLM_JOIN_OK, .dlm_minor = dom->dlm_minor,
					 .fs_minor = dom->fs_minor };
}

/*
 * Refused: counted in each domain (it need not name one), told once for each peer, message
 * and cause, as a peer must not fill the log.
 */
static struct dlm_reply refused(struct dlm *dlm, node_t from, uint16_t type,
				enum dlm_refusal cause, const char *what)
{
	struct dlm_map *told = &dlm->refusals_told[cause][type - DLM_MSG_FIRST];
	enum log_level level = dlm_map_test(told, from) ? LOG_LVL_DEBUG : LOG_LVL_WARN;
	struct dlm_domain *dom;

	dlm_map_set(told, from);
	cds_list_for_each_entry(dom, &dlm->domains, link)
		dom->stats.refused[type - DLM_MSG_FIRST]++;
	log_to(dlm->log, level, "dlm", "message refused peer=%d type=%s cause=%s", from,
	       dlm_msg_name(type), what);
	return dlm_reply_status(-EINVAL);
}

/* The sender of a malformed or forged message; its join should fail at once. */
static struct dlm_reply malformed(struct dlm *dlm, node_t from, uint16_t type, const char *what)
{
	return refused(dlm, from, type, DLM_REFUSED_MALFORMED, what);
}

static struct dlm_reply query_join(struct dlm *dlm, node_t from, const void *p, size_t len)
{
	struct dlm_wire_query_join m;
	struct dlm_join_answer a;
	struct dlm_domain *dom;
	const char *why;

	if (dlm_get_query_join(p, len, &m))
		return malformed(dlm, from, DLM_QUERY_JOIN_MSG, "payload");
	if (m.node != from)
		return malformed(dlm, from, DLM_QUERY_JOIN_MSG, "node number of another");
	dom = dlm_domain_by_name(dlm, m.domain.name, m.domain.len);
	a = judge(dlm, dom, &m, &why);
	if (a.code == DLM_JOIN_OK) {
		dom->joining_node = from;
		log_debug(dlm->log, "dlm", "join reserved domain=%s node=%d proto=1.%d fs=%d.%d",
			  dom->cfg.name, from, a.dlm_minor, dom->cfg.fs_major, a.fs_minor);
	} else if (a.code == DLM_JOIN_PROTOCOL_MISMATCH) {
		log_warn(dlm->log, "dlm",
			 "join refused domain=%s node=%d offers dlm=%d.%d fs=%d.%d, we run "
			 "dlm=%d.%d "
			 "fs=%d.%d; use equal software versions on both",
			 dom->cfg.name, from, m.dlm_major, m.dlm_minor, m.fs_major, m.fs_minor,
			 DLM_PROTO_MAJOR, dom->dlm_minor, dom->cfg.fs_major, dom->fs_minor);
	} else {
		log_debug(dlm->log, "dlm", "join question node=%d answer=%d cause=%s", from,
			  a.code, why);
	}
	return dlm_reply_status(dlm_join_answer_pack(a));
}

/* ---- QUERY_NODEINFO, QUERY_REGION (5.6) ------------------------------------------- */

/* The domain that has reserved a join for this node, or NULL. */
static struct dlm_domain *reserved(struct dlm *dlm, node_t from, const struct dlm_wire_domain *name,
				   bool *unknown)
{
	struct dlm_domain *dom = dlm_domain_by_name(dlm, name->name, name->len);

	*unknown = !dom;
	return dom && dom->joining_node == from ? dom : NULL;
}

/* First node number in which the tables differ, NODE_NONE if they agree. */
static node_t tables_differ(const struct dlm *dlm, const struct dlm_wire_query_nodeinfo *m)
{
	struct dlm_map theirs = { 0 };

	for (unsigned int i = 0; i < m->num_nodes; i++) {
		const struct dlm_wire_node *n = &m->nodes[i];
		const struct dlm_table_entry *e = &dlm->table[n->node];

		if (!e->present || e->port != n->port || e->addr != n->addr ||
		    dlm_map_test(&theirs, n->node))
			return n->node;
		dlm_map_set(&theirs, n->node);
	}
	for (unsigned int i = 0; i < NODE_MAX; i++)
		if (dlm->table[i].present && !dlm_map_test(&theirs, (node_t)i))
			return (node_t)i;
	return NODE_NONE;
}

static struct dlm_reply query_nodeinfo(struct dlm *dlm, node_t from, const void *p, size_t len)
{
	struct dlm_wire_query_nodeinfo m;
	struct dlm_domain *dom;
	bool unknown;
	node_t differs;

	if (dlm_get_query_nodeinfo(p, len, &m) || m.node != from)
		return malformed(dlm, from, DLM_QUERY_NODEINFO, "payload or node number");
	dom = reserved(dlm, from, &m.domain, &unknown);
	if (!dom || dom->dlm_minor < 1)
		return dlm_reply_status(-EINVAL);
	differs = tables_differ(dlm, &m);
	if (differs == NODE_NONE)
		return dlm_reply_status(0);
	log_warn(dlm->log, "dlm",
		 "join refused domain=%s node=%d: its node table differs from ours at node %d; "
		 "make cluster.conf equal on all nodes",
		 dom->cfg.name, from, differs);
	return dlm_reply_status(-EINVAL);
}

static struct dlm_reply query_region(struct dlm *dlm, node_t from, const void *p, size_t len)
{
	struct dlm_wire_query_region m;
	struct dlm_domain *dom;
	bool unknown;

	if (dlm_get_query_region(p, len, &m) || m.node != from)
		return malformed(dlm, from, DLM_QUERY_REGION, "payload or node number");
	dom = reserved(dlm, from, &m.domain, &unknown);
	if (!dom || dom->dlm_minor < 1)
		return dlm_reply_status(-EINVAL);
	if (m.num_regions == 0)
		return dlm_reply_status(0);
	log_warn(dlm->log, "dlm",
		 "join refused domain=%s node=%d: it uses global heartbeat, we use local; set "
		 "heartbeat_mode = local in its cluster.conf",
		 dom->cfg.name, from);
	return dlm_reply_status(-EINVAL);
}

/* ---- ASSERT_JOINED, CANCEL_JOIN (5.7) ------------------------------------------------ */

static struct dlm_reply out_of_turn(struct dlm *dlm, node_t from, uint16_t type)
{
	return refused(dlm, from, type, DLM_REFUSED_OUT_OF_TURN, "no join of it is open");
}

static struct dlm_reply assert_joined(struct dlm *dlm, node_t from, const void *p, size_t len)
{
	struct dlm_wire_join m;
	struct dlm_domain *dom;
	bool unknown;

	if (dlm_get_join(p, len, &m) || m.node != from)
		return malformed(dlm, from, DLM_ASSERT_JOINED_MSG, "payload or node number");
	dom = reserved(dlm, from, &m.domain, &unknown);
	if (unknown)
		return dlm_reply_status(0);
	if (!dom)
		return out_of_turn(dlm, from, DLM_ASSERT_JOINED_MSG);
	if (dom->reco.active)
		return dlm_reply_status(-EAGAIN);
	dlm_map_set(&dom->live, from);
	dlm_map_set(&dom->members, from);
	dlm_map_clear(&dom->exiting, from);
	dom->joining_node = NODE_NONE;
	log_info(dlm->log, "dlm", "joined domain=%s node=%d members=%u", dom->cfg.name, from,
		 dlm_map_count(&dom->members));
	dlm_member_joined(dom, from);
	dlm_fx_members(dom, from, true);
	dlm_leave_go_on(dom);
	return dlm_reply_status(0);
}

static struct dlm_reply cancel_join(struct dlm *dlm, node_t from, const void *p, size_t len)
{
	struct dlm_wire_join m;
	struct dlm_domain *dom;
	bool unknown;

	if (dlm_get_join(p, len, &m) || m.node != from)
		return malformed(dlm, from, DLM_CANCEL_JOIN_MSG, "payload or node number");
	dom = reserved(dlm, from, &m.domain, &unknown);
	if (unknown)
		return dlm_reply_status(0);
	if (!dom)
		return out_of_turn(dlm, from, DLM_CANCEL_JOIN_MSG);
	dom->joining_node = NODE_NONE;
	dlm_leave_go_on(dom);
	return dlm_reply_status(0);
}

/* ---- EXIT_DOMAIN, BEGIN_EXIT_DOMAIN (5.9) --------------------------------------------- */

static struct dlm_reply exit_domain(struct dlm_domain *dom, node_t from, uint16_t type,
				    const void *p, size_t len)
{
	struct dlm_wire_exit m;

	if (!dom)
		return (struct dlm_reply){ .sys_status = 1 };
	if (dlm_get_exit(p, len, &m) || m.node != from)
		return malformed(dom->dlm, from, type, "payload or node number");
	if (!dlm_map_test(&dom->members, from))
		return dlm_reply_status(0);
	if (type == DLM_BEGIN_EXIT_DOMAIN_MSG) {
		dlm_map_set(&dom->exiting, from);
		return dlm_reply_status(0);
	}
	dlm_map_clear(&dom->members, from);
	dlm_map_clear(&dom->exiting, from);
	log_info(dom->dlm->log, "dlm", "left domain=%s node=%d members=%u", dom->cfg.name, from,
		 dlm_map_count(&dom->members));
	dlm_member_left(dom, from);
	dlm_fx_members(dom, from, false);
	dlm_leave_go_on(dom);
	return dlm_reply_status(0);
}

struct dlm_reply dlm_domain_message(struct dlm *dlm, struct dlm_domain *dom, node_t from,
				    uint16_t type, const void *payload, size_t len)
{
	switch (type) {
	case DLM_QUERY_JOIN_MSG:
		return query_join(dlm, from, payload, len);
	case DLM_ASSERT_JOINED_MSG:
		return assert_joined(dlm, from, payload, len);
	case DLM_CANCEL_JOIN_MSG:
		return cancel_join(dlm, from, payload, len);
	case DLM_QUERY_REGION:
		return query_region(dlm, from, payload, len);
	case DLM_QUERY_NODEINFO:
		return query_nodeinfo(dlm, from, payload, len);
	case DLM_EXIT_DOMAIN_MSG:
	case DLM_BEGIN_EXIT_DOMAIN_MSG:
		return exit_domain(dom, from, type, payload, len);
	default:
		return (struct dlm_reply){ .sys_status = 1 };
	}
}

/* ---- heartbeat (5.10) ------------------------------------------------------------------ */

void dlm_domain_node_up(struct dlm_domain *dom, node_t node)
{
	dlm_map_set(&dom->live, node); /* a running attempt sees it and starts over */
}

void dlm_domain_node_down(struct dlm_domain *dom, node_t node)
{
	bool member = dlm_map_test(&dom->members, node);

	if (member)
		dlm_member_died(dom, node);
	if (dom->joining_node == node)
		dom->joining_node = NODE_NONE;
	dlm_map_clear(&dom->live, node);
	if (member) {
		log_warn(dom->dlm->log, "dlm", "member died domain=%s node=%d members=%u",
			 dom->cfg.name, node, dlm_map_count(&dom->members));
		dlm_fx_members(dom, node, false);
	}
	dlm_join_node_down(dom, node);
	dlm_leave_go_on(dom);
}
