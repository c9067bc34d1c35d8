/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * join.c: become a member (doc/spec/cluster.md 5.8), as a state machine.
 *
 * An attempt asks every heartbeating node of its snapshot, one at a time, ascending;
 * compares node table and regions with each that said OK; then asserts to each of those.
 * The assert step is the point of no return: from its first message on this node is in
 * the members of others, so it counts them as its own members, too, and takes part in
 * the recovery of one that dies.
 *
 * A node that said OK holds its reservation for us until ASSERT, CANCEL or our death; it
 * has no time-out, so each attempt that ends otherwise cancels. But ASSERT and CANCEL
 * without a reservation crash a kernel node. So when a link broke while QUERY_JOIN,
 * ASSERT or CANCEL was open, NODEINFO is sent first as a question: 0 means that the
 * reservation is there, -EINVAL that it is not (the ASSERT or CANCEL was handled, the
 * QUERY_JOIN was not).
 *
 * Deviations from a kernel joiner, both in cluster.md 5.8: a peer that dies, or whose
 * link breaks, while it is asked makes the attempt start over instead of failing the
 * mount; members are taken over at the assert step, not before the table is compared, so
 * that a death before it leaves nothing behind.
 */
#include "dlm/domain_int.h"

#include <stdarg.h>
#include <stdio.h>

#define RETRY_MS 200
#define BACKOFF_UNIT_MS 200
#define BACKOFF_CHOICES 4
#define BACKOFF_SUM_MS 90000

static void query_next(struct dlm_domain *dom, unsigned int from);
static void compare_next(struct dlm_domain *dom, unsigned int from);
static void assert_next(struct dlm_domain *dom, unsigned int from);
static void cancel_next(struct dlm_domain *dom);
static void outcome(void *arg, node_t node, int err, int32_t status);
static void timer(void *arg);

static bool alive(const struct dlm_domain *dom, node_t node)
{
	return dlm_map_test(&dom->dlm->live, node);
}

/* The cause of this attempt's end: the first one counts. */
__attribute__((format(printf, 3, 4))) static void because(struct dlm_domain *dom, int err,
							  const char *fmt, ...)
{
	struct dlm_membership *ms = dom->ms;
	va_list ap;
	int n;

	if (ms->err)
		return;
	ms->err = err;
	n = snprintf(ms->why, sizeof(ms->why), "join domain %.32s: ", dom->cfg.name);
	va_start(ap, fmt);
	vsnprintf(ms->why + n, sizeof(ms->why) - (size_t)n, fmt, ap);
	va_end(ap);
}

/* ---- messages ------------------------------------------------------------------ */

static void send_query(struct dlm_domain *dom, node_t to)
{
	struct dlm_wire_query_join m = { .node = dom->dlm->self,
					 .dlm_major = DLM_PROTO_MAJOR,
					 .dlm_minor = dom->dlm_minor,
					 .fs_major = dom->cfg.fs_major,
					 .fs_minor = dom->fs_minor,
					 .domain = dlm_domain_wire_name(dom) };
	uint8_t buf[DLM_MAX_PAYLOAD];

	dlm_map_to_bytes(&dom->ms->snapshot, m.node_map);
	dom->ms->cur = to;
	dlm_send(dom, to, DLM_QUERY_JOIN_MSG, buf, dlm_put_query_join(&m, buf, sizeof(buf)),
		 outcome, dom);
}

static void send_join(struct dlm_domain *dom, node_t to, uint16_t type)
{
	struct dlm_wire_join m = { .node = dom->dlm->self, .domain = dlm_domain_wire_name(dom) };
	uint8_t buf[DLM_MAX_PAYLOAD];

	dom->ms->cur = to;
	dlm_send(dom, to, type, buf, dlm_put_join(&m, buf, sizeof(buf)), outcome, dom);
}

static void send_nodeinfo(struct dlm_domain *dom, node_t to)
{
	uint8_t buf[DLM_MAX_PAYLOAD];

	dom->ms->cur = to;
	dlm_send(dom, to, DLM_QUERY_NODEINFO, buf, dlm_domain_put_table(dom, buf, sizeof(buf)),
		 outcome, dom);
}

static void send_region(struct dlm_domain *dom, node_t to)
{
	struct dlm_wire_query_region m = { .node = dom->dlm->self,
					   .domain = dlm_domain_wire_name(dom) };
	uint8_t buf[DLM_MAX_PAYLOAD];

	dom->ms->cur = to;
	dlm_send(dom, to, DLM_QUERY_REGION, buf, dlm_put_query_region(&m, buf, sizeof(buf)),
		 outcome, dom);
}

/* Ask whether the reservation at cur still stands. */
static void probe(struct dlm_domain *dom)
{
	dom->ms->probing = true;
	send_nodeinfo(dom, dom->ms->cur);
}

static void wait_and_retry(struct dlm_domain *dom)
{
	dlm_tm_set(dom, &dom->ms->timer, RETRY_MS);
}

/* ---- an attempt ------------------------------------------------------------------ */

static void attempt(struct dlm_domain *dom)
{
	struct dlm_membership *ms = dom->ms;
	const struct dlm_map none = { 0 };

	ms->attempts++;
	ms->err = 0;
	ms->probing = false;
	ms->table_refused = false;
	ms->yes = ms->doubt = ms->asserted = none;
	dom->live = dom->dlm->live;
	ms->snapshot = dom->live;
	dlm_map_set(&ms->snapshot, dom->dlm->self);
	dom->live = ms->snapshot;
	dom->joining_node = dom->dlm->self;
	ms->step = MS_QUERY;
	query_next(dom, 0);
}

void dlm_join_begin(struct dlm_domain *dom)
{
	dlm_tm_init(&dom->ms->timer, timer, dom);
	attempt(dom);
}

static void failed(struct dlm_domain *dom)
{
	struct dlm_membership *ms = dom->ms;

	ms->step = MS_IDLE;
	log_warn(dom->dlm->log, "dlm", "join failed domain=%s err=%d attempts=%u cause=%s",
		 dom->cfg.name, ms->err, ms->attempts, ms->why);
	dlm_fx_key(dom, false);
	dlm_fx_joined(dom, ms->err, ms->why);
	dom->gone = true;
}

/* All reservations are given back: again, or give up. */
static void attempt_over(struct dlm_domain *dom)
{
	struct dlm_membership *ms = dom->ms;
	uint32_t sleep_ms;

	if (ms->quit) {
		ms->err = 0;
		because(dom, -ECANCELED, "given up on request");
	}
	if (ms->err != -EAGAIN) {
		failed(dom);
		return;
	}
	sleep_ms = dom->dlm->tr->random(dom->dlm->ctx, BACKOFF_CHOICES) * BACKOFF_UNIT_MS;
	ms->slept_ms += sleep_ms;
	if (ms->slept_ms > BACKOFF_SUM_MS) {
		ms->err = -ETIMEDOUT;
		failed(dom);
		return;
	}
	ms->step = MS_BACKOFF;
	dlm_tm_set(dom, &ms->timer, sleep_ms);
}

/* The attempt ends here; because() was told why. */
static void give_back(struct dlm_domain *dom)
{
	dom->joining_node = NODE_NONE;
	dom->ms->step = MS_CANCEL;
	dom->ms->probing = false;
	cancel_next(dom);
}

void dlm_join_quit(struct dlm_domain *dom)
{
	struct dlm_membership *ms = dom->ms;

	ms->quit = true;
	if (ms->step == MS_BACKOFF) {
		dlm_tm_clear(dom, &ms->timer);
		attempt_over(dom);
	} /* else the next outcome sees it */
}

void dlm_join_node_down(struct dlm_domain *dom, node_t node)
{
	/* It has forgotten us: no CANCEL, no ASSERT to what may come back in its place. */
	dlm_map_clear(&dom->ms->yes, node);
	dlm_map_clear(&dom->ms->doubt, node);
}

/* ---- step 2: ask everybody --------------------------------------------------------- */

static void query_next(struct dlm_domain *dom, unsigned int from)
{
	struct dlm_membership *ms = dom->ms;
	node_t n = dlm_map_next(&ms->snapshot, from);

	if (n == dom->dlm->self)
		n = dlm_map_next(&ms->snapshot, n + 1u);
	if (n != NODE_NONE) {
		send_query(dom, n);
		return;
	}
	ms->step = dom->dlm_minor >= 1 ? MS_NODEINFO : MS_ASSERT;
	if (ms->step == MS_NODEINFO)
		compare_next(dom, 0);
	else
		assert_next(dom, 0);
}

static void answered(struct dlm_domain *dom, node_t node, struct dlm_join_answer a)
{
	struct dlm_membership *ms = dom->ms;

	switch (a.code) {
	case DLM_JOIN_OK:
		dlm_map_set(&ms->yes, node);
		if (a.dlm_minor > dom->dlm_minor || a.fs_minor > dom->fs_minor) {
			because(dom, -EPROTO,
				"node %d wants protocol version 1.%d (file system %d.%d), we asked "
				"for 1.%d (%d.%d) at most; use equal software versions",
				node, a.dlm_minor, dom->cfg.fs_major, a.fs_minor, dom->dlm_minor,
				dom->cfg.fs_major, dom->fs_minor);
			break;
		}
		dom->dlm_minor = a.dlm_minor;
		dom->fs_minor = a.fs_minor;
		break;
	case DLM_JOIN_OK_NO_MAP:
		break;
	case DLM_JOIN_DISALLOW:
		because(dom, -EAGAIN,
			"node %d says not now for %d s: another node is joining or being "
			"recovered, "
			"or a member's heartbeat is not seen by all; see 'o2fuse status' there, "
			"then mount again",
			node, BACKOFF_SUM_MS / 1000);
		break;
	case DLM_JOIN_PROTOCOL_MISMATCH:
		because(dom, -EPROTO,
			"node %d refused protocol version %d.%d (file system %d.%d): the domain "
			"runs at another; use equal software versions on all nodes",
			node, DLM_PROTO_MAJOR, dom->dlm_minor, dom->cfg.fs_major, dom->fs_minor);
		break;
	default:
		because(dom, -EINVAL,
			"node %d answered the join question with code %d, which is not known; look "
			"into its log", node, a.code);
	}
}

/* A send that brought no answer: what may be tried again is -EAGAIN. */
static void send_failed(struct dlm_domain *dom, node_t node, const char *step, int err)
{
	because(dom, err == -EOVERFLOW || err == -EINVAL ? err : -EAGAIN,
		"%s: no answer from node %d (%s); check the network to it, and that it is up",
		step, node, alive(dom, node) ? strerror(-err) : "it died");
}

static void query_done(struct dlm_domain *dom, node_t node, int err, int32_t status)
{
	struct dlm_membership *ms = dom->ms;

	if (err && err != -ENOPROTOOPT) {
		if (err != -ENOTCONN && err != -EOVERFLOW && alive(dom, node))
			dlm_map_set(&ms->doubt, node); /* it may have reserved the join */
		send_failed(dom, node, "query join", err);
	} else if (!err) {
		answered(dom, node, dlm_join_answer_unpack(status));
	}
	if (!dlm_map_equal(&dom->live, &ms->snapshot))
		because(dom, -EAGAIN,
			"nodes came up or went down all the time; see 'o2fuse status'");
	if (ms->err || ms->quit)
		give_back(dom);
	else
		query_next(dom, node + 1u);
}

/* ---- step 4: compare node table and regions ------------------------------------------ */

static void compare_next(struct dlm_domain *dom, unsigned int from)
{
	struct dlm_membership *ms = dom->ms;
	node_t n = dlm_map_next(&ms->yes, from);

	if (n == NODE_NONE && ms->step == MS_NODEINFO) {
		ms->step = MS_REGION;
		n = dlm_map_next(&ms->yes, 0);
	}
	if (n == NODE_NONE) {
		ms->step = MS_ASSERT;
		assert_next(dom, 0);
	} else if (ms->step == MS_NODEINFO) {
		send_nodeinfo(dom, n);
	} else {
		send_region(dom, n);
	}
}

static void compare_done(struct dlm_domain *dom, node_t node, int err, int32_t status)
{
	struct dlm_membership *ms = dom->ms;
	bool info = ms->step == MS_NODEINFO;

	if (err) {
		/* With the link its reservation may have gone: ask before cancelling. */
		if (dlm_map_test(&ms->yes, node))
			dlm_map_set(&ms->doubt, node);
		dlm_map_clear(&ms->yes, node);
		send_failed(dom, node, info ? "query node info" : "query region", err);
	} else if (status < 0 && info) {
		ms->table_refused = true;
		because(dom, status,
			"node table differs at node %d (%s): a node's number, address or port is "
			"not the same there and here; make cluster.conf equal on all nodes "
			"(compare 'o2fuse nodes'), then mount again",
			node, strerror(-status));
	} else if (status < 0) {
		because(dom, status,
			"node %d refused our heartbeat regions (%s): it uses global heartbeat, we "
			"use local; set heartbeat_mode = local on all nodes",
			node, strerror(-status));
	}
	if (!dlm_map_equal(&dom->live, &ms->snapshot))
		because(dom, -EAGAIN,
			"nodes came up or went down all the time; see 'o2fuse status'");
	if (ms->err || ms->quit)
		give_back(dom);
	else
		compare_next(dom, node + 1u);
}

/* ---- step 5: assert --------------------------------------------------------------------- */

static void joined(struct dlm_domain *dom)
{
	dom->ms->step = MS_IDLE;
	dom->state = DLM_DOM_JOINED; /* first, so that no QUERY_JOIN takes us for a stranger */
	dom->joining_node = NODE_NONE;
	log_info(dom->dlm->log, "dlm",
		 "joined domain=%s members=%u proto=1.%d fs=%d.%d attempts=%u", dom->cfg.name,
		 dlm_map_count(&dom->members), dom->dlm_minor, dom->cfg.fs_major, dom->fs_minor,
		 dom->ms->attempts);
	dlm_fx_joined(dom, 0, "");
	dlm_map_for_each(n, &dom->members)
		dlm_fx_members(dom, n, true);
	if (!dlm_map_empty(&dom->recovery)) /* of those that died since the first assert */
		dlm_elect_soon(dom);
	dlm_recover_alone(dom);
	if (dom->ms->quit)
		dlm_leave_begin(dom);
}

static void assert_next(struct dlm_domain *dom, unsigned int from)
{
	struct dlm_membership *ms = dom->ms;
	node_t n = dlm_map_next(&ms->yes, from);

	if (from == 0) {
		dom->members = ms->yes;
		dlm_map_set(&dom->members, dom->dlm->self);
		dlm_map_for_each(m, &ms->yes)
			dlm_member_joined(dom, m);
	}
	if (n == NODE_NONE)
		joined(dom);
	else
		send_join(dom, n, DLM_ASSERT_JOINED_MSG);
}

static void asserted(struct dlm_domain *dom, node_t node)
{
	dlm_map_set(&dom->ms->asserted, node);
	assert_next(dom, node + 1u);
}

/*
 * A member that let us in so far says that there is no reservation, on a link that never
 * broke: it must have seen our heartbeat stop. Do not go on as half a member: leave those
 * that took us in, give the others their reservation back.
 */
static void reservation_lost(struct dlm_domain *dom, node_t node, int32_t status)
{
	struct dlm_membership *ms = dom->ms;

	because(dom, -EIO,
		"assert joined: node %d no longer expects us (%d): our heartbeat was interrupted; "
		"check the storage, then mount again",
		node, status);
	dlm_map_clear(&ms->yes, node);
	dlm_map_for_each(n, &ms->asserted)
		dlm_map_clear(&ms->yes, n);
	dlm_map_clear(&dom->members, node);
	give_back(dom);
}

static void assert_done(struct dlm_domain *dom, node_t node, int err, int32_t status)
{
	struct dlm_membership *ms = dom->ms;

	if (!dlm_map_test(&ms->yes, node) || !alive(dom, node)) { /* died: skip */
		ms->probing = false;
		assert_next(dom, node + 1u);
	} else if (err == -ENOPROTOOPT) { /* it has shut its lock manager down */
		ms->probing = false;
		dlm_map_clear(&dom->members, node);
		dlm_member_left(dom, node);
		assert_next(dom, node + 1u);
	} else if (err) {
		/* Handled or not? Only a probe may be repeated. */
		ms->probing = true;
		wait_and_retry(dom);
	} else if (ms->probing) {
		ms->probing = false;
		if (status == 0)
			send_join(dom, node, DLM_ASSERT_JOINED_MSG);
		else
			asserted(dom, node);
	} else if (status == -EAGAIN) { /* a recovery is active there */
		wait_and_retry(dom);
	} else if (status) {
		reservation_lost(dom, node, status);
	} else {
		asserted(dom, node);
	}
}

/* ---- giving reservations back --------------------------------------------------------------- */

/* First those that surely reserved (once each), then those that may have. */
static void cancel_next(struct dlm_domain *dom)
{
	struct dlm_membership *ms = dom->ms;
	node_t n = dlm_map_next(&ms->yes, 0);

	if (n != NODE_NONE) {
		send_join(dom, n, DLM_CANCEL_JOIN_MSG);
		return;
	}
	n = dlm_map_next(&ms->doubt, 0);
	/* Nothing can be asked of a 1.0 domain, nor with a table that it refuses. */
	if (n != NODE_NONE && dom->dlm_minor >= 1 && !ms->table_refused) {
		ms->cur = n;
		probe(dom);
		return;
	}
	if (!dlm_map_empty(&ms->asserted))
		dlm_leave_exit(dom, &ms->asserted);
	else
		attempt_over(dom);
}

static void cancel_done(struct dlm_domain *dom, node_t node, int err, int32_t status)
{
	struct dlm_membership *ms = dom->ms;
	bool was_probe = ms->probing;

	ms->probing = false;
	dlm_map_clear(&ms->yes, node); /* never a second CANCEL without a probe */
	if (!alive(dom, node) || !err || err == -ENOPROTOOPT) {
		dlm_map_clear(&ms->doubt, node);
		if (was_probe && !err && status == 0) {
			send_join(dom, node, DLM_CANCEL_JOIN_MSG);
			return;
		}
	} else {
		dlm_map_set(&ms->doubt, node); /* handled or not: ask when the link is back */
		if (dlm_map_empty(&ms->yes)) {
			wait_and_retry(dom);
			return;
		}
	}
	cancel_next(dom);
}

/* ---- what drives it -----------------------------------------------------------------------------
 */

static void outcome(void *arg, node_t node, int err, int32_t status)
{
	struct dlm_domain *dom = arg;

	assert(node == dom->ms->cur);
	switch (dom->ms->step) {
	case MS_QUERY:
		query_done(dom, node, err, status);
		break;
	case MS_NODEINFO:
	case MS_REGION:
		compare_done(dom, node, err, status);
		break;
	case MS_ASSERT:
		assert_done(dom, node, err, status);
		break;
	case MS_CANCEL:
		cancel_done(dom, node, err, status);
		break;
	default:
		assert(false);
	}
}

static void timer(void *arg)
{
	struct dlm_domain *dom = arg;
	struct dlm_membership *ms = dom->ms;

	switch (ms->step) {
	case MS_BACKOFF:
		attempt(dom);
		break;
	case MS_ASSERT:
		if (!dlm_map_test(&ms->yes, ms->cur)) { /* died meanwhile */
			ms->probing = false;
			assert_next(dom, ms->cur + 1u);
		} else if (ms->probing && dom->dlm_minor >= 1) {
			probe(dom);
		} else if (ms->probing) {
			/* A 1.0 domain cannot be asked. Repeating might crash a kernel; if
			 * it was not handled, that member will answer our requests 26. */
			ms->probing = false;
			asserted(dom, ms->cur);
		} else {
			send_join(dom, ms->cur, DLM_ASSERT_JOINED_MSG);
		}
		break;
	case MS_CANCEL:
		cancel_next(dom);
		break;
	default:
		break;
	}
}
