/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * check.c: the invariants, as questions about the books (dlm.md 10.1).
 *
 * Between two inputs every domain is at rest: no request is on the run list, and what is
 * dirty waits for the timer that goes on (a long list is served in parts). So beyond shape,
 * one can also ask what is missing: a head that could be granted, an AST that could leave.
 */
#include "dlm/check.h"

#include <stdio.h>
#include "dlm/dlm_int.h"

struct finding {
	char *why;
	size_t room;
	bool bad;
};

__attribute__((format(printf, 3, 4))) static void
find(struct finding *f, const struct dlm_res *res, const char *fmt, ...)
{
	char name[2 * DLM_NAME_MAX + 1] = "";
	size_t at;
	va_list ap;

	if (f->bad)
		return;
	f->bad = true;
	for (unsigned int i = 0; res && i < res->name.len; i++)
		snprintf(name + 2 * (size_t)i, 3, "%02x", res->name.bytes[i]);
	at = (size_t)snprintf(f->why, f->room, "node=%d res=%s owner=%d state=%x: ",
			      res ? res->dom->dlm->self : -1, name, res ? res->owner : -1,
			      res ? res->state : 0);
	if (at >= f->room)
		return;
	va_start(ap, fmt);
	vsnprintf(f->why + at, f->room - at, fmt, ap);
	va_end(ap);
}

static void check_lock(struct finding *f, struct dlm_res *res, struct dlm_lock *l, int list)
{
	bool own = dlm_is_self(res->dom, l->node), owner = dlm_is_self(res->dom, res->owner);

	if (l->list != list || l->res != res)
		find(f, res, "lock on queue %d says %d", list, l->list);
	if ((list == DLM_LIST_CONVERTING) != (l->convert != DLM_MODE_NONE))
		find(f, res, "queue %d with convert mode %d", list, l->convert);
	if (!dlm_mode_valid(l->mode) ||
	    (l->convert != DLM_MODE_NONE && !dlm_mode_valid(l->convert)))
		find(f, res, "modes %d, %d", l->mode, l->convert);
	if (!own && !owner && !(res->state & DLM_RES_RECOVERING))
		find(f, res, "lock of node %d where neither owns nor holds", l->node);
	if (!own && (l->op || l->uop))
		find(f, res, "request of this node on a lock of node %d", l->node);
	if (own && list != DLM_LIST_GRANTED && !l->op)
		find(f, res, "own lock waits on queue %d without a request", list);
	if (!owner && (l->flags & (DLM_LOCK_AST | DLM_LOCK_BAST)))
		find(f, res, "delivery queued by a node that does not own");
	if ((l->flags & DLM_LOCK_AST) && list != DLM_LIST_GRANTED)
		find(f, res, "AST queued for a lock on queue %d", list);
	if (!!(l->flags & DLM_LOCK_BAST) != (l->highest_blocked != DLM_MODE_NONE))
		find(f, res, "BAST flag and highest_blocked %d", l->highest_blocked);
	if (!!(l->flags & (DLM_LOCK_AST | DLM_LOCK_BAST)) == !!cds_list_empty(&l->item))
		find(f, res, "delivery flags %x and list differ", l->flags);
	if (l->op && l->op->lock != l)
		find(f, res, "request of another lock");
}

/* ASTs first, so that no BAST overtakes the grant it is about. */
static void check_deliver(struct finding *f, struct dlm_res *res)
{
	bool basts = false;
	struct dlm_lock *l;

	cds_list_for_each_entry(l, &res->deliver, item) {
		if (!(l->flags & DLM_LOCK_AST))
			basts = true;
		else if (basts)
			find(f, res, "AST queued behind a BAST");
	}
}

static void check_twice(struct finding *f, struct dlm_res *res)
{
	struct dlm_lock *a, *b;

	for (int i = 0; i < 3; i++) {
		dlm_res_for_each_lock(a, res, i) {
			for (int j = 0; j < 3; j++)
				dlm_res_for_each_lock(b, res, j)
					if (a != b && a->cookie == b->cookie && a->node == b->node)
						find(f, res, "a lock is there twice");
		}
	}
}

/* What an owner has granted does not exclude itself, and no head could go on. */
static void check_owner(struct finding *f, struct dlm_res *res)
{
	struct dlm_lock *a, *b;

	dlm_res_for_each_lock(a, res, DLM_LIST_GRANTED) {
		dlm_res_for_each_lock(b, res,
				      DLM_LIST_GRANTED) if (a != b &&
							    !dlm_mode_compatible(a->mode, b->mode))
			find(f, res, "granted: node %d mode %d and node %d mode %d", a->node,
			     a->mode, b->node, b->mode);
		dlm_res_for_each_lock(b, res, DLM_LIST_CONVERTING)
			if (!dlm_mode_compatible(a->mode, b->mode))
				find(f, res, "granted %d and converting from %d", a->mode, b->mode);
	}
	if (res->state & (DLM_RES_LOCAL_WAIT | DLM_RES_DIRTY))
		return;
	if (!cds_list_empty(&res->queue[DLM_LIST_CONVERTING])) {
		a = cds_list_first_entry(&res->queue[DLM_LIST_CONVERTING], struct dlm_lock, q);
		if (dlm_grantable(res, a, a->convert))
			find(f, res, "head of converting could be granted");
	} else if (!cds_list_empty(&res->queue[DLM_LIST_BLOCKED])) {
		a = cds_list_first_entry(&res->queue[DLM_LIST_BLOCKED], struct dlm_lock, q);
		if (dlm_grantable(res, a, a->mode))
			find(f, res, "head of blocked could be granted");
	}
	if (!cds_list_empty(&res->deliver) && !res->open && !(res->state & DLM_RES_STALLED))
		find(f, res, "a delivery waits for nothing");
}

static void check_res(struct finding *f, struct dlm_res *res, unsigned int *locks)
{
	struct dlm_domain *dom = res->dom;
	const uint16_t unowned = DLM_RES_IN_PROGRESS | DLM_RES_RECOVERING;
	unsigned int inflight = 0;
	struct dlm_lock *l;
	struct dlm_op *op;

	for (int list = 0; list < 3; list++) {
		dlm_res_for_each_lock(l, res, list) {
			check_lock(f, res, l, list);
			(*locks)++;
		}
	}
	check_twice(f, res);
	check_deliver(f, res);
	cds_list_for_each_entry(op, &dom->ops, all)
		inflight += op->inflight && op->lock->res == res;
	if (inflight != res->inflight)
		find(f, res, "inflight %u, requests %u", res->inflight, inflight);
	if (res->owner == NODE_NONE && !(res->state & unowned))
		find(f, res, "no owner, and nobody looks for one");
	if ((res->state & DLM_RES_IN_PROGRESS) && !res->mle)
		find(f, res, "mastery in progress without an entry");
	if (res->mle && res->mle->res != res)
		find(f, res, "entry of another resource");
	if (res->owner != NODE_NONE && !dlm_is_self(dom, res->owner) &&
	    !dlm_map_empty(dlm_refs(res)) && !(res->state & DLM_RES_RECOVERING))
		find(f, res, "references kept by a node that does not own");
	if (dlm_map_test(dlm_refs(res), dom->dlm->self))
		find(f, res, "reference to itself");
	if (!(res->state & DLM_RES_DIRTY) && !(res->state & DLM_RES_PURGE) && dlm_res_unused(res))
		find(f, res, "unused and forgotten");
	if ((res->state & DLM_RES_PURGE) && !dlm_res_unused(res))
		find(f, res, "used and to be purged");
	if (dlm_is_self(dom, res->owner))
		check_owner(f, res);
}

static void check_op(struct finding *f, const struct dlm_op *op)
{
	const struct dlm_lock *lock = op->lock;
	bool request = op->call == DLM_CALL_LOCK || op->call == DLM_CALL_CONVERT;

	if (request ? lock->op != op :
		      lock->uop != op && !(lock->uop && lock->uop->then == op))
		find(f, lock->res, "request %d that its lock does not know", op->call);
	if (op->state == OP_RUN && cds_list_empty((struct cds_list_head *)&op->link))
		find(f, lock->res, "request %d waits for nothing", op->call);
	if ((op->state == OP_OPEN || op->state == OP_PROBE) != (op->token != 0))
		find(f, lock->res, "request %d state %d token %d", op->call, op->state,
		     op->token != 0);
	if (op->state == OP_QUEUED && !op->accepted)
		find(f, lock->res, "request %d waits for an AST, not accepted", op->call);
}

static void check_domain(struct finding *f, struct dlm_domain *dom)
{
	unsigned int resources = 0, locks = 0;
	struct dlm_res *res;
	struct dlm_op *op;

	if (!dom->hash)
		return;
	cds_list_for_each_entry(res, &dom->all, all) {
		check_res(f, res, &locks);
		resources++;
		if (dlm_res_find(dom, &res->name) != res)
			find(f, res, "not found by its name");
	}
	cds_list_for_each_entry(op, &dom->ops, all)
		check_op(f, op);
	if (resources != dom->stats.resources || locks != dom->stats.locks)
		find(f, NULL, "counted %u resources, %u locks; the books say %zu, %zu", resources,
		     locks, dom->stats.resources, dom->stats.locks);
}

bool dlm_check(struct dlm *dlm, char *why, size_t room)
{
	struct finding f = { .why = why, .room = room };
	struct dlm_domain *dom;

	cds_list_for_each_entry(dom, &dlm->domains, link)
		if (!dom->gone)
			check_domain(&f, dom);
	return !f.bad;
}

/* ---- among nodes ------------------------------------------------------------------------ */

/* What the holder may rely on: the granted mode, lowered from the moment it asks for less. */
static int view(const struct dlm_lock *l)
{
	int mode = l->mode;

	if (l->list == DLM_LIST_BLOCKED || (l->uop && l->uop->call == DLM_CALL_UNLOCK))
		return DLM_MODE_NL;
	if (l->list == DLM_LIST_GRANTED && l->op) /* the AST is still to come */
		return l->op->call == DLM_CALL_LOCK ? DLM_MODE_NL : DLM_MODE_NONE;
	return l->convert != DLM_MODE_NONE && l->convert < mode ? l->convert : mode;
}

static bool serves(const struct dlm_res *res)
{
	return dlm_is_self(res->dom, res->owner) &&
	       !(res->state & (DLM_RES_IN_PROGRESS | DLM_RES_MIGRATING | DLM_RES_RECOVERING));
}

static void check_pair(struct finding *f, struct dlm_res *a, struct dlm_res *b)
{
	struct dlm_lock *l, *m;

	if (serves(a) && serves(b))
		find(f, a, "owned by node %d as well", b->dom->dlm->self);
	for (int i = 0; i < 2; i++) {
		dlm_res_for_each_lock(l, a, i) {
			if (!dlm_is_self(a->dom, l->node))
				continue;
			for (int j = 0; j < 2; j++)
				dlm_res_for_each_lock(m, b,
						      j) if (dlm_is_self(b->dom, m->node) &&
							     !dlm_mode_compatible(view(l), view(m)))
					find(f, a, "mode %d here, mode %d on node %d", view(l),
					     view(m), m->node);
		}
	}
}

/* ---- two nodes with nothing under way between them ------------------------------------------ */

static bool recovers(const struct dlm_domain *dom)
{
	return !dlm_map_empty(&dom->recovery) || dom->reco.active || dom->reco.lead ||
	       dom->reco.send || dom->reco.new_master != NODE_NONE;
}

/* Each counts the other, no message has an open outcome, no death is open. */
static bool at_rest(const struct dlm_domain *a, const struct dlm_domain *b)
{
	node_t na = a->dlm->self, nb = b->dlm->self;

	return dlm_domain_up(a) && dlm_domain_up(b) && dlm_map_test(&a->members, nb) &&
	       dlm_map_test(&b->members, na) && !recovers(a) && !recovers(b) &&
	       !dlm_sends_open(a->dlm, nb) && !dlm_sends_open(b->dlm, na);
}

/* Its request is about to be sent, or (again) after a time: the owner need not know it. */
static bool moves(const struct dlm_lock *lock)
{
	return lock->uop || (lock->op && (lock->op->state != OP_QUEUED || lock->op->doubt));
}

static bool moves_cookie(const struct dlm_domain *dom, uint64_t cookie)
{
	struct dlm_op *op;

	cds_list_for_each_entry(op, &dom->ops, all)
		if (op->lock->cookie == cookie && moves(op->lock))
			return true;
	return false;
}

/* The holder's lock l, and what its owner has of it. */
static void check_known(struct finding *f, const struct dlm_lock *l, struct dlm_res *there)
{
	const struct dlm_lock *m = dlm_lock_find(there, l->node, l->cookie);

	if (moves(l))
		return;
	if (!m)
		find(f, l->res, "lock on queue %d, mode %d, which its owner does not have", l->list,
		     l->mode);
	else if (!(m->flags & DLM_LOCK_AST) &&
		 (m->list != l->list || m->mode != l->mode || m->convert != l->convert))
		find(f, l->res, "lock on queue %d, mode %d to %d; at its owner %d, %d to %d", l->list,
		     l->mode, l->convert, m->list, m->mode, m->convert);
}

/* A resource of a holder, and its owner's books. */
static void check_holder(struct finding *f, struct dlm_res *res, struct dlm_domain *owner)
{
	struct dlm_res *there = dlm_res_find(owner, &res->name);
	struct dlm_lock *l;

	if (dlm_is_reco_lock(&res->name) ||
	    (res->state & (DLM_RES_LOCAL_WAIT | DLM_RES_DROPPING_REF)))
		return;
	if (there && (there->state & (DLM_RES_LOCAL_WAIT | DLM_RES_STALLED)))
		return; /* it just becomes the owner, or another does; or an AST was lost */
	if (!there || !dlm_is_self(owner, there->owner)) {
		find(f, res, "its owner %s", there ? "names another" : "has no such resource");
		return;
	}
	if (!dlm_map_test(dlm_refs(there), res->dom->dlm->self))
		find(f, res, "its owner has no reference of it");
	for (int i = 0; i < 3; i++)
		dlm_res_for_each_lock(l, res, i)
			check_known(f, l, there);
}

/* A resource of an owner: each lock of that holder is one that it has. */
static void check_owned(struct finding *f, struct dlm_res *res, struct dlm_domain *holder)
{
	struct dlm_res *there = dlm_res_find(holder, &res->name);
	node_t node = holder->dlm->self;
	struct dlm_lock *m;

	if (dlm_is_reco_lock(&res->name) || (res->state & DLM_RES_LOCAL_WAIT) ||
	    (there && (there->state & DLM_RES_LOCAL_WAIT)))
		return;
	for (int i = 0; i < 3; i++)
		dlm_res_for_each_lock(m, res, i)
			if (m->node == node && !(there && dlm_lock_find(there, node, m->cookie)) &&
			    !moves_cookie(holder, m->cookie))
				find(f, res, "lock of node %d on queue %d, mode %d, which it has not",
				     node, i, m->mode);
}

static void check_mirror(struct finding *f, struct dlm_domain *a, struct dlm_domain *b)
{
	struct dlm_res *res;

	cds_list_for_each_entry(res, &a->all, all) {
		if (res->owner == b->dlm->self)
			check_holder(f, res, b);
		else if (dlm_is_self(a, res->owner))
			check_owned(f, res, b);
	}
}

bool dlm_check_all(struct dlm *const *nodes, size_t n, char *why, size_t room)
{
	struct finding f = { .why = why, .room = room };
	struct dlm_domain *a, *b;
	struct dlm_res *res, *other;

	for (size_t i = 0; i < n; i++)
		if (nodes[i] && !dlm_check(nodes[i], why, room))
			return false;
	for (size_t i = 0; i < n; i++) {
		for (size_t j = i + 1; nodes[i] && j < n; j++) {
			if (!nodes[j])
				continue;
			cds_list_for_each_entry(a, &nodes[i]->domains, link) {
				b = dlm_domain_by_key(nodes[j], a->key);
				if (!b || !dlm_map_test(&a->members, nodes[j]->self))
					continue;
				cds_list_for_each_entry(res, &a->all, all) {
					other = dlm_res_find(b, &res->name);
					if (other)
						check_pair(&f, res, other);
				}
				if (at_rest(a, b)) {
					check_mirror(&f, a, b);
					check_mirror(&f, b, a);
				}
			}
		}
	}
	return !f.bad;
}
