/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * script.c: what the users of a played node do, derived from the recording (player.h).
 *
 * Of a resource that another node owns, each call of a user is a message: CREATE, CONVERT,
 * UNLOCK. Of one that the node owns itself a call shows only by its effects, so users there
 * do no more than these need: a lock makes the node the owner of a new name; one is in the
 * way of a request that was refused; one asks for the mode that a BAST names; one changes
 * the value block before an AST that brings a new one. Such a lock gives way when asked.
 */
#include "tests/wire/player.h"

#include <criterion/criterion.h>

static void on_done(void *data, enum dlm_call call, enum dlm_status status)
{
	struct player_lock *l = data;

	(void)call;
	if (status == DLM_NORMAL)
		return;
	l->busy = false;
	if (call == DLM_CALL_LOCK)
		l->lock = NULL;
}

static void on_ast(void *data, const uint8_t *lvb)
{
	struct player_lock *l = data;

	(void)lvb;
	l->granted = true;
	l->busy = false;
}

static void on_bast(void *data, int mode)
{
	struct player_lock *l = data;

	l->bast = mode;
}

static void on_unlock_ast(void *data, enum dlm_status status)
{
	struct player_lock *l = data;

	l->busy = false;
	if (status == DLM_NORMAL && !l->granted)
		l->lock = NULL; /* a cancelled lock call */
	if (l->drop)
		l->lock = NULL;
}

static const struct dlm_lock_ops lock_ops = { .done = on_done, .ast = on_ast, .bast = on_bast,
					      .unlock_ast = on_unlock_ast };

static bool has_value(const struct dlm_name *n)
{
	return n->bytes[0] == 'M';
}

static struct player_lock *new_lock(struct player *p, const struct dlm_name *name, int mode,
				    uint32_t flags, uint64_t recorded)
{
	struct player_lock *l;
	struct dlm_lock *lock = NULL;

	cr_assert_lt(p->nr_locks, PLAYER_LOCKS);
	l = &p->locks[p->nr_locks++];
	*l = (struct player_lock){ .p = p, .name = *name, .recorded = recorded, .busy = true,
				   .bast = -1 };
	/* Cookies are given in order; a lock that is refused at once is gone. */
	l->ours = (uint64_t)p->me << 56 | (p->dlm->cookie_seq & 0xffffffffffffffull);
	cr_assert_eq(dlm_lock(p->dom, name->bytes, name->len, mode, flags, &lock_ops, l, &lock), 0);
	if (l->busy || l->granted)
		l->lock = lock;
	if (l->lock)
		l->ours = l->lock->cookie;
	return l;
}

struct player_lock *script_by_cookie(struct player *p, uint64_t recorded)
{
	for (int i = p->nr_locks - 1; i >= 0; i--) {
		if (p->locks[i].recorded == recorded)
			return &p->locks[i];
	}
	return NULL;
}

/* A lock of no message on this name. */
static struct player_lock *local_lock(struct player *p, const struct dlm_name *name)
{
	for (int i = p->nr_locks - 1; i >= 0; i--) {
		struct player_lock *l = &p->locks[i];

		if (l->lock && !l->drop && !l->busy && l->granted && dlm_name_equal(&l->name, name))
			return l;
	}
	return NULL;
}

static struct dlm_res *own(struct player *p, const struct dlm_name *name)
{
	struct dlm_res *res = p->dom && name->len ? dlm_res_visible(p->dom, name) : NULL;

	return res && res->owner == p->me ? res : NULL;
}

/* ---- value blocks ------------------------------------------------------------------- */

static uint32_t flags_at(const uint8_t *p)
{
	return (uint32_t)p[8] << 24 | (uint32_t)p[9] << 16 | (uint32_t)p[10] << 8 | p[11];
}

/* The value that the node's next AST on this name brings, if no other node writes before. */
static const uint8_t *coming_value(const struct player *p, const struct dlm_name *name, int from)
{
	for (int i = from; i < p->t->n; i++) {
		const struct trace_frame *f = &p->t->f[i];
		struct dlm_name n;

		if (f->kind != TRACE_MESSAGE || (f->from != p->me && f->to != p->me))
			continue;
		n = player_name(f->h.type, f->payload);
		if (!dlm_name_equal(&n, name))
			continue;
		if (f->to == p->me && (f->h.type == DLM_CONVERT_LOCK_MSG ||
				       f->h.type == DLM_UNLOCK_LOCK_MSG) &&
		    flags_at(f->payload) & DLM_LKF_PUT_LVB)
			return NULL;
		if (f->from == p->me && f->h.type == DLM_PROXY_AST_MSG &&
		    flags_at(f->payload) & DLM_LKF_GET_LVB)
			return f->payload + 80;
	}
	return NULL;
}

static void give_way(struct player_lock *l)
{
	struct player *p = l->p;
	const uint8_t *value = coming_value(p, &l->name, p->at);

	l->bast = -1;
	l->busy = true;
	dlm_convert(l->lock, DLM_MODE_NL, value ? DLM_LKF_VALBLK : 0, value);
}

/* A user that writes the value and lets go, if the coming AST has another one. */
static void write_value(struct player *p, struct dlm_res *res, int i)
{
	const uint8_t *value = coming_value(p, &res->name, i);
	struct dlm_name name = res->name;
	struct player_lock *l;

	if (!has_value(&name) || !value || !memcmp(value, res->lvb, DLM_LVB_LEN))
		return;
	l = local_lock(p, &name);
	if (l && l->lock->mode == DLM_MODE_EX)
		return; /* the BAST that comes makes it write */
	if (!l) {
		l = new_lock(p, &name, DLM_MODE_EX, DLM_LKF_VALBLK, 0);
	} else {
		l->busy = true;
		dlm_convert(l->lock, DLM_MODE_EX, DLM_LKF_VALBLK, NULL);
	}
	if (!l->busy)
		give_way(l);
}

/* ---- before a message of a peer ------------------------------------------------------ */

/* The kernel node had the name, without a message to tell of it. */
static void have(struct player *p, const struct dlm_name *name)
{
	if (!dlm_res_find(p->dom, name))
		new_lock(p, name, DLM_MODE_NL, DLM_LKF_LOCAL, 0);
}

/* Does an AST for the lock of this request follow? */
static bool granted_later(const struct player *p, int i)
{
	struct dlm_name name = player_name(p->t->f[i].h.type, p->t->f[i].payload);

	for (int j = i + 1; j < p->t->n; j++) {
		if (player_is(p, j, true, DLM_PROXY_AST_MSG) &&
		    p->t->f[j].payload[13] == DLM_WIRE_AST &&
		    !memcmp(p->t->f[j].payload, p->t->f[i].payload, 8))
			return true;
	}
	/* Or the lock is cancelled, or moves to another owner, who grants it. */
	return player_next(p, i, false, DLM_UNLOCK_LOCK_MSG, &name) >= 0 ||
	       player_next(p, i, true, DLM_MIG_LOCKRES_MSG, &name) >= 0;
}

static void be_in_the_way(struct player *p, struct dlm_res *res, int mode, bool granted_never)
{
	struct player_lock *l;

	for (int k = 0; k < 3; k++) {
		struct dlm_lock *other;

		dlm_res_for_each_lock(other, res, k) {
			if (k != DLM_LIST_BLOCKED && other->mode > (mode == DLM_MODE_EX ? 0 : 3))
				return; /* somebody else is */
		}
	}
	l = new_lock(p, &res->name, DLM_MODE_EX, 0, 0);
	l->unyielding = granted_never;
	cr_assert(!l->busy, "frame %d: nothing can be in the way", p->at);
}

void script_before(struct player *p, int i)
{
	const struct trace_frame *f = &p->t->f[i];
	int32_t answer = f->other >= 0 ? p->t->f[f->other].h.status : 0;
	struct dlm_name name = player_name(f->h.type, f->payload);
	struct dlm_res *res;

	if (!p->joined)
		return;
	if (f->h.type == DLM_MASTER_REQUEST_MSG && answer == DLM_MASTER_YES)
		have(p, &name);
	if (f->h.type != DLM_CREATE_LOCK_MSG && f->h.type != DLM_CONVERT_LOCK_MSG)
		return;
	res = own(p, &name);
	if (!res)
		return;
	if (answer == DLM_NORMAL && !granted_later(p, i))
		be_in_the_way(p, res, f->payload[14], true);
	else if (answer == DLM_NOTQUEUED)
		be_in_the_way(p, res, f->payload[14], false);
	else if (answer == DLM_NORMAL && flags_at(f->payload) & DLM_LKF_GET_LVB)
		write_value(p, res, i);
}

/* ---- what the node said -------------------------------------------------------------- */

/* CREATE of this name that comes of the search for its owner that begins now. */
static int create_of(const struct player *p, int i, const struct dlm_name *name)
{
	int c = player_next(p, i, true, DLM_CREATE_LOCK_MSG, name);
	int done = player_next(p, i, true, DLM_DEREF_LOCKRES_MSG, name);
	int mine = player_next(p, i, true, DLM_ASSERT_MASTER_MSG, name);

	if (c >= 0 && (done < 0 || c < done) && (mine < 0 || c < mine))
		return c;
	return -1;
}

static void want(struct player *p, int c)
{
	const uint8_t *m = p->t->f[c].payload;
	struct dlm_name name = player_name(DLM_CREATE_LOCK_MSG, m);

	if (!script_by_cookie(p, player_cookie(m)))
		new_lock(p, &name, (int8_t)m[14], flags_at(m) & (DLM_LKF_VALBLK | DLM_LKF_NOQUEUE),
			 player_cookie(m));
}

static void search(struct player *p, int i, const struct dlm_name *name)
{
	int c;

	if (name->len == 9 && !memcmp(name->bytes, "$RECOVERY", 9))
		return;
	if (dlm_res_visible(p->dom, name))
		return; /* under way, or known */
	c = create_of(p, i, name);
	if (c >= 0)
		want(p, c);
	else
		new_lock(p, name, DLM_MODE_NL, 0, 0);
}

static void ask_for(struct player *p, const struct dlm_name *name, int mode)
{
	struct player_lock *l = local_lock(p, name);
	uint32_t flags = has_value(name) ? DLM_LKF_VALBLK : 0;

	if (!own(p, name))
		return;
	if (!l) {
		new_lock(p, name, mode, flags, 0);
	} else if (l->lock->mode < mode) {
		l->busy = true;
		dlm_convert(l->lock, mode, flags, NULL);
	}
}

static void leave(struct player *p)
{
	for (int i = 0; i < p->nr_locks; i++) {
		struct player_lock *l = &p->locks[i];

		if (!l->lock || l->busy || !l->granted)
			continue;
		l->drop = true;
		dlm_unlock(l->lock, 0, NULL);
	}
	dlm_leave(p->dom);
}

void script_provoke(struct player *p, int i)
{
	const struct trace_frame *f = &p->t->f[i];
	const uint8_t *m = f->payload;
	struct dlm_name name = player_name(f->h.type, m);
	struct player_lock *l = NULL;
	uint32_t flags;

	if (f->h.type == DLM_CONVERT_LOCK_MSG || f->h.type == DLM_UNLOCK_LOCK_MSG) {
		l = script_by_cookie(p, player_cookie(m));
		if (!l || !l->lock)
			return;
	}
	flags = name.len ? flags_at(m) : 0;
	switch (f->h.type) {
	case DLM_MASTER_REQUEST_MSG:
		search(p, i, &name);
		break;
	case DLM_CREATE_LOCK_MSG:
		want(p, i);
		break;
	case DLM_CONVERT_LOCK_MSG:
		l->busy = true;
		dlm_convert(l->lock, (int8_t)m[14], flags & (DLM_LKF_VALBLK | DLM_LKF_NOQUEUE),
			    flags & DLM_LKF_PUT_LVB ? m + 80 : NULL);
		break;
	case DLM_UNLOCK_LOCK_MSG:
		l->busy = true;
		if (flags & DLM_LKF_CANCEL) {
			dlm_cancel(l->lock);
			break;
		}
		l->drop = true;
		dlm_unlock(l->lock, flags & DLM_LKF_VALBLK, flags & DLM_LKF_PUT_LVB ? m + 80 : NULL);
		break;
	case DLM_PROXY_AST_MSG:
		if (m[13] == DLM_WIRE_BAST)
			ask_for(p, &name, m[14]);
		break;
	case DLM_BEGIN_EXIT_DOMAIN_MSG:
		leave(p);
		break;
	default:
		break;
	}
}

void script_settle(struct player *p)
{
	for (int i = 0; i < p->nr_locks; i++) {
		struct player_lock *l = &p->locks[i];

		if (!l->lock || l->bast < 0 || l->busy || !l->granted)
			continue;
		if (l->unyielding)
			continue;
		if (own(p, &l->name) && l->lock->mode > DLM_MODE_NL)
			give_way(l);
		else
			l->bast = -1;
	}
}
