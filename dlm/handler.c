/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * handler.c: the door. Every message comes in here (dlm.md 3.1, 3.2).
 *
 * Checked before anything else is looked at: that the type exists and is no longer than it
 * can be (o2net's own refusals, sys_status), that the payload decodes (exact length, ranges;
 * wire.c), that it claims to come from the node whose link it came on, and that this node is
 * a member. Behind it the core can rely on all that. A refusal changes nothing, is counted,
 * and is the answer least harmful to a kernel sender (11.1).
 */
#include "dlm/dlm_int.h"

enum { SYS_OK = 0, SYS_NO_HANDLER = 1, SYS_TOO_LONG = 2 };

/* What a payload that does not decode is answered: err from dlm_get_*(). */
static int32_t bad_payload(uint16_t type, int err)
{
	switch (type) {
	case DLM_MASTER_REQUEST_MSG:
		return DLM_MASTER_ERROR;
	case DLM_CREATE_LOCK_MSG:
	case DLM_CONVERT_LOCK_MSG:
	case DLM_PROXY_AST_MSG:
	case DLM_UNLOCK_LOCK_MSG:
		if (err == -ENAMETOOLONG)
			return DLM_IVBUFLEN;
		return err == -EINVAL ? DLM_BADARGS : DLM_BADPARAM;
	case DLM_MASTER_REQUERY_MSG:
		return NODE_NONE;
	default:
		return -EINVAL;
	}
}

/* What a message of a node that is no member (any more) is answered: dlm.md 9.9. */
static int32_t not_a_member(uint16_t type)
{
	switch (type) {
	case DLM_MASTER_REQUEST_MSG:
		return DLM_MASTER_ERROR;
	case DLM_CREATE_LOCK_MSG:
	case DLM_CONVERT_LOCK_MSG:
	case DLM_PROXY_AST_MSG:
	case DLM_UNLOCK_LOCK_MSG:
		return DLM_RECOVERING;
	case DLM_MASTER_REQUERY_MSG:
		return NODE_NONE;
	default:
		return -EINVAL;
	}
}

/* What a node that has not joined, or is out, answers. */
static int32_t domain_not_up(uint16_t type)
{
	switch (type) {
	case DLM_MASTER_REQUEST_MSG:
		return DLM_MASTER_NO;
	case DLM_PROXY_AST_MSG:
		return DLM_REJECTED;
	case DLM_CREATE_LOCK_MSG: /* a kernel's 26 would be an error to its caller */
	case DLM_CONVERT_LOCK_MSG:
	case DLM_UNLOCK_LOCK_MSG:
		return DLM_FORWARD;
	case DLM_MASTER_REQUERY_MSG:
		return NODE_NONE;
	case DLM_MIG_LOCKRES_MSG:
	case DLM_LOCK_REQUEST_MSG:
		return -EINVAL;
	default:
		return 0;
	}
}

union any {
	struct dlm_wire_master master;
	struct dlm_wire_ref ref;
	struct dlm_wire_migrate migrate;
	struct dlm_wire_lock lock;
	struct dlm_wire_ast ast;
	struct dlm_wire_unlock unlock;
	struct dlm_wire_reco reco;
};

/* Decode all but MIG_LOCKRES; *node is whom it claims to come from. */
static int decode(uint16_t type, const void *p, size_t len, union any *m, node_t *node)
{
	int err = -EINVAL;

	switch (type) {
	case DLM_MASTER_REQUEST_MSG:
	case DLM_ASSERT_MASTER_MSG:
		err = dlm_get_master(p, len, &m->master);
		*node = m->master.node;
		break;
	case DLM_CREATE_LOCK_MSG:
	case DLM_CONVERT_LOCK_MSG:
		err = type == DLM_CREATE_LOCK_MSG ? dlm_get_create(p, len, &m->lock) :
						    dlm_get_convert(p, len, &m->lock);
		*node = m->lock.node;
		break;
	case DLM_PROXY_AST_MSG:
		err = dlm_get_ast(p, len, &m->ast);
		*node = m->ast.node;
		break;
	case DLM_UNLOCK_LOCK_MSG:
		err = dlm_get_unlock(p, len, &m->unlock);
		*node = m->unlock.node;
		break;
	case DLM_DEREF_LOCKRES_MSG:
	case DLM_DEREF_LOCKRES_DONE:
		err = dlm_get_deref(p, len, &m->ref);
		*node = m->ref.node;
		break;
	case DLM_MASTER_REQUERY_MSG:
		err = dlm_get_requery(p, len, &m->ref);
		*node = m->ref.node;
		break;
	case DLM_MIGRATE_REQUEST_MSG:
		err = dlm_get_migrate(p, len, &m->migrate);
		*node = m->migrate.new_master;
		break;
	case DLM_LOCK_REQUEST_MSG:
	case DLM_BEGIN_RECO_MSG:
		err = dlm_get_reco(p, len, &m->reco);
		*node = m->reco.node;
		break;
	case DLM_RECO_DATA_DONE_MSG:
		err = dlm_get_reco_done(p, len, &m->reco);
		*node = m->reco.node;
		break;
	case DLM_FINALIZE_RECO_MSG:
		err = dlm_get_finalize(p, len, &m->reco);
		*node = m->reco.node;
		break;
	default:
		break;
	}
	return err;
}

static struct dlm_reply act(struct dlm_domain *dom, node_t from, uint16_t type, const union any *m)
{
	switch (type) {
	case DLM_MASTER_REQUEST_MSG:
		return dlm_master_request_handler(dom, from, &m->master);
	case DLM_ASSERT_MASTER_MSG:
		return dlm_assert_handler(dom, from, &m->master);
	case DLM_CREATE_LOCK_MSG:
		return dlm_create_handler(dom, from, &m->lock);
	case DLM_CONVERT_LOCK_MSG:
		return dlm_convert_handler(dom, from, &m->lock);
	case DLM_PROXY_AST_MSG:
		return dlm_ast_handler(dom, from, &m->ast);
	case DLM_UNLOCK_LOCK_MSG:
		return dlm_unlock_handler(dom, from, &m->unlock);
	case DLM_DEREF_LOCKRES_MSG:
		return dlm_deref_handler(dom, from, &m->ref);
	case DLM_DEREF_LOCKRES_DONE:
		return dlm_deref_done_handler(dom, from, &m->ref);
	case DLM_MASTER_REQUERY_MSG:
		return dlm_requery_handler(dom, from, &m->ref);
	case DLM_MIGRATE_REQUEST_MSG:
		return dlm_migrate_handler(dom, from, &m->migrate);
	default:
		return dlm_reco_handler(dom, from, type, &m->reco);
	}
}

static struct dlm_reply refuse(struct dlm_domain *dom, node_t from, uint16_t type,
			       const char *why, int32_t status)
{
	struct dlm_map *told = &dom->refusals_told[type - DLM_MSG_FIRST];
	enum log_level level = dlm_map_test(told, from) ? LOG_LVL_DEBUG : LOG_LVL_WARN;

	/* The counter tells how often; a peer must not fill the log. */
	dlm_map_set(told, from);
	dom->stats.refused[type - DLM_MSG_FIRST]++;
	log_to(dom->dlm->log, level, "dlm", "message refused node=%u type=%s: %s", from,
	       dlm_msg_name(type), why);
	return dlm_reply_status(status);
}

/* Who is being let in takes part in the recovery of one of those that do (join.c). */
static bool serves(const struct dlm_domain *dom, node_t from, uint16_t type)
{
	return dlm_domain_up(dom) ||
	       (dom->state == DLM_DOM_NEW && dlm_map_test(&dom->members, from) &&
		(type == DLM_BEGIN_RECO_MSG || type == DLM_LOCK_REQUEST_MSG ||
		 type == DLM_FINALIZE_RECO_MSG));
}

static struct dlm_reply locking(struct dlm_domain *dom, node_t from, uint16_t type,
				const void *payload, size_t len)
{
	struct dlm_wire_mig *mig = NULL;
	node_t node = NODE_NONE;
	struct dlm_reply r;
	union any m = { 0 };
	int err;

	if (!serves(dom, from, type))
		return dlm_reply_status(domain_not_up(type));
	if (type == DLM_MIG_LOCKRES_MSG) {
		mig = dlm_xalloc(dom->dlm, sizeof(*mig));
		err = dlm_get_mig(payload, len, mig);
		node = from; /* names no sender; .master is checked against the migration */
	} else {
		err = decode(type, payload, len, &m, &node);
	}
	if (err)
		r = refuse(dom, from, type, "its bytes make no sense", bad_payload(type, err));
	else if (node != from)
		r = refuse(dom, from, type, "it claims another sender", bad_payload(type, -ERANGE));
	else if (!dlm_map_test(&dom->members, from))
		r = refuse(dom, from, type, "its sender is no member", not_a_member(type));
	else
		r = mig ? dlm_mig_handler(dom, from, mig) : act(dom, from, type, &m);
	free(mig);
	return r;
}

struct dlm_reply dlm_message(struct dlm *dlm, node_t from, uint32_t key, uint16_t type,
			     const void *payload, size_t len)
{
	struct dlm_reply r = { .sys_status = SYS_NO_HANDLER };
	struct dlm_domain *dom = key == DLM_MEMBER_KEY ? NULL : dlm_domain_by_key(dlm, key);
	bool membership = dlm_msg_membership(type);

	if (!dlm_msg_max(type) || from >= NODE_MAX || from == dlm->self ||
	    membership != (key == DLM_MEMBER_KEY) || (!membership && !dom))
		return r;
	if (len > dlm_msg_max(type)) {
		r.sys_status = SYS_TOO_LONG;
		return r;
	}
	dlm_enter(dlm);
	if (dom)
		dom->stats.received[type - DLM_MSG_FIRST]++;
	if (membership || type == DLM_EXIT_DOMAIN_MSG || type == DLM_BEGIN_EXIT_DOMAIN_MSG)
		r = dlm_domain_message(dlm, dom, from, type, payload, len);
	else
		r = locking(dom, from, type, payload, len);
	dlm_exit(dlm);
	return r;
}
