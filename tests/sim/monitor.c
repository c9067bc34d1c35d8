/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * monitor.c: looks at every message as it is sent and as it arrives.
 *
 * Between our own nodes much of what would crash a kernel peer goes unnoticed, because we
 * refuse or ignore it. So the traps of dlm.md 11 are checked here: with neither broken
 * links nor deaths a node of ours never sends, and never answers, what a kernel would not
 * survive. Beside them: the order rules of ASTs and BASTs (10.1, 13 and 14), references
 * before DEREF (7, 8), nothing to strangers (19).
 */
#include "tests/sim/world.h"

#include "dlm/dlm_int.h"

/* What a broken link or a death excuses. */
static bool excused(const struct sim_world *w)
{
	return w->opt.cuts || w->opt.kills;
}

void monitor_send(struct sim_node *n, node_t to, uint32_t key, uint16_t type, const void *payload,
		  size_t len)
{
	struct dlm_domain *dom = dlm_domain_by_key(n->dlm, key);
	struct dlm_wire_ast ast;

	if ((key == DLM_MEMBER_KEY) != dlm_msg_membership(type))
		world_fail(n->w, "n%d sends %s under key %x", n->id, dlm_msg_name(type), key);
	if (dom && dom->state != DLM_DOM_LEAVING && !dlm_map_test(&dom->members, to))
		world_fail(n->w, "n%d sends %s to node %d, which is no member", n->id,
			   dlm_msg_name(type), to);
	if (type != DLM_PROXY_AST_MSG || n->w->opt.no_check)
		return;
	if (dlm_get_ast(payload, len, &ast))
		world_fail(n->w, "n%d sends a PROXY_AST that does not decode", n->id);
	else if (net_ast_open(n, &ast.name))
		world_fail(n->w, "n%d sends a second PROXY_AST before the first is acknowledged",
			   n->id);
}

/* ---- arriving ----------------------------------------------------------------------- */

static void ast_arrives(struct sim_node *n, struct dlm_domain *dom, const struct dlm_wire_ast *m)
{
	struct dlm_res *res = dlm_res_find(dom, &m->name);
	struct dlm_lock *lock;

	if (!res)
		return;
	if (dlm_is_self(dom, res->owner) && !(res->state & DLM_RES_RECOVERING)) {
		world_fail(n->w, "n%d owns the resource for which node %d sends it a PROXY_AST",
			   n->id, m->node);
		return;
	}
	lock = dlm_lock_find(res, n->id, m->cookie);
	if (!lock || (lock->uop && lock->uop->call == DLM_CALL_UNLOCK))
		return;
	if (m->type == DLM_WIRE_BAST) {
		if (lock->list == DLM_LIST_BLOCKED)
			world_fail(n->w, "n%d: a BAST before the AST of its lock", n->id);
		else if (dlm_mode_compatible(lock->mode, m->blocked))
			world_fail(n->w, "n%d: a BAST for %s to a lock at %s", n->id,
				   dlm_mode_name(m->blocked), dlm_mode_name(lock->mode));
		return;
	}
	if (lock->list == DLM_LIST_GRANTED)
		world_fail(n->w, "n%d: an AST for a lock that is granted", n->id);
	if ((m->flags & DLM_LKF_GET_LVB) && !(lock->lksb & DLM_LKSB_GET_LVB))
		world_fail(n->w, "n%d: an AST brings a value block that was not asked for", n->id);
}

static void convert_arrives(struct sim_node *n, struct dlm_domain *dom,
			    const struct dlm_wire_lock *m)
{
	struct dlm_res *res = dlm_res_visible(dom, &m->name);
	struct dlm_lock *lock = res ? dlm_lock_find(res, m->node, m->cookie) : NULL;

	if (!lock || !dlm_is_self(dom, res->owner) || res->state & DLM_RES_LOCAL_WAIT)
		return;
	if (lock->list != DLM_LIST_GRANTED)
		world_fail(n->w, "n%d: node %d converts a lock that is not granted", n->id,
			   m->node);
	else if (lock->flags & DLM_LOCK_AST)
		world_fail(n->w, "n%d: node %d converts a lock whose AST is queued", n->id,
			   m->node);
}

/*
 * A DEREF may be overtaken by a whole migration, and then finds the old owner without the
 * resource, or about to drop its own reference (which a kernel does not survive, dlm.md
 * 3.8): neither end can know. But an owner must have the reference that is given up.
 */
static void deref_arrives(struct sim_node *n, struct dlm_domain *dom, const struct dlm_wire_ref *m)
{
	struct dlm_res *res = dlm_res_find(dom, &m->name);

	if (res && dlm_is_self(dom, res->owner) && !dlm_map_test(dlm_refs(res), m->node))
		world_fail(n->w, "n%d: node %d drops a reference that it has not", n->id, m->node);
}

void monitor_request(struct sim_node *n, node_t from, uint32_t key, uint16_t type,
		     const void *payload, size_t len)
{
	struct dlm_domain *dom = dlm_domain_by_key(n->dlm, key);
	union {
		struct dlm_wire_ast ast;
		struct dlm_wire_lock lock;
		struct dlm_wire_ref ref;
	} m;
	int err = 0;

	(void)from;
	if (!dom || !dlm_domain_up(dom) || excused(n->w))
		return;
	switch (type) {
	case DLM_PROXY_AST_MSG:
		err = dlm_get_ast(payload, len, &m.ast);
		if (!err)
			ast_arrives(n, dom, &m.ast);
		break;
	case DLM_CONVERT_LOCK_MSG:
		err = dlm_get_convert(payload, len, &m.lock);
		if (!err)
			convert_arrives(n, dom, &m.lock);
		break;
	case DLM_DEREF_LOCKRES_MSG:
		err = dlm_get_deref(payload, len, &m.ref);
		if (!err)
			deref_arrives(n, dom, &m.ref);
		break;
	default:
		break;
	}
	if (err)
		world_fail(n->w, "n%d gets a %s that does not decode", n->id, dlm_msg_name(type));
}

/* ---- answers (dlm.md 3.2, 11.1) --------------------------------------------------------- */

static bool one_of(int32_t v, int32_t a, int32_t b, int32_t c, int32_t d, int32_t e)
{
	return v == a || v == b || v == c || v == d || v == e;
}

static bool harmless(uint16_t type, int32_t v)
{
	switch (type) {
	case DLM_MASTER_REQUEST_MSG:
		return v >= DLM_MASTER_NO && v <= DLM_MASTER_ERROR;
	case DLM_ASSERT_MASTER_MSG:
		return v >= 0 && v <= (DLM_ASSERT_REPLY_REASSERT | DLM_ASSERT_REPLY_MASTERY_REF);
	case DLM_CREATE_LOCK_MSG:
	case DLM_CONVERT_LOCK_MSG:
		return one_of(v, DLM_NORMAL, DLM_NOTQUEUED, DLM_FORWARD, DLM_RECOVERING,
			      DLM_MIGRATING);
	case DLM_UNLOCK_LOCK_MSG:
		return one_of(v, DLM_NORMAL, DLM_CANCELGRANT, DLM_FORWARD, DLM_RECOVERING,
			      DLM_MIGRATING);
	case DLM_PROXY_AST_MSG:
		return v == DLM_NORMAL || v == DLM_IVLOCKID;
	case DLM_DEREF_LOCKRES_MSG:
		return v == 0 || v == 1 || v == -EINVAL;
	case DLM_MIGRATE_REQUEST_MSG:
		return v == 0 || v == 1;
	case DLM_MIG_LOCKRES_MSG:
		return v == 0 || v == -EINVAL;
	case DLM_MASTER_REQUERY_MSG:
		return v >= 0 && v <= NODE_NONE;
	case DLM_ASSERT_JOINED_MSG:
		return v == 0 || v == -EAGAIN;
	case DLM_QUERY_JOIN_MSG:
		return dlm_join_answer_unpack(v).code <= DLM_JOIN_PROTOCOL_MISMATCH;
	default:
		return v == 0;
	}
}

void monitor_reply(struct sim_node *n, node_t from, uint16_t type, const struct dlm_reply *r)
{
	if (excused(n->w) || r->sys_status)
		return;
	if (!harmless(type, r->status))
		world_fail(n->w, "n%d answers the %s of node %d with %d", n->id, dlm_msg_name(type),
			   from, r->status);
}
