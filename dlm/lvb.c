/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * lvb.c: the 64 bytes: who may write, when they are valid, when a death voids them
 * (dlm.md 5).
 *
 * The owner's copy is the value. It changes when the owner handles a conversion or unlock
 * out of EX that brings one (convert.c, unlock.c) and is read when an AST that wants it is
 * sent (ast.c). All zeros mean: not known, read the disk. In doubt it is zeroed; an old
 * value is never brought back.
 *
 * A node that is not the owner keeps in the resource what its own PR or EX locks read or
 * wrote last; the flag DLM_LOCK_LVB of such a lock says that it is still the value, since
 * nobody can have written while the lock was held. That is what a survivor can tell after
 * the owner's death.
 */
#include "dlm/dlm_int.h"

static const uint8_t zero[DLM_LVB_LEN];

bool dlm_lvb_is_zero(const uint8_t *lvb)
{
	return memcmp(lvb, zero, DLM_LVB_LEN) == 0;
}

void dlm_lvb_note(struct dlm_lock *lock, const uint8_t *lvb)
{
	struct dlm_res *res = lock->res;

	if (dlm_is_self(res->dom, res->owner))
		return;
	lock->flags &= (uint8_t)~DLM_LOCK_LVB;
	if (!lvb)
		return;
	memcpy(res->lvb, lvb, DLM_LVB_LEN);
	lock->flags |= DLM_LOCK_LVB;
}

void dlm_lvb_node_down(struct dlm_res *res, node_t dead)
{
	struct dlm_lock *lock;

	if (!dlm_is_self(res->dom, res->owner) && res->owner != NODE_NONE)
		return;
	for (int list = DLM_LIST_GRANTED; list <= DLM_LIST_CONVERTING; list++)
		dlm_res_for_each_lock(lock, res, list)
			if (lock->node == dead && lock->mode == DLM_MODE_EX)
				memset(res->lvb, 0, DLM_LVB_LEN);
}

/* The new owner after a death: what this node's own locks vouch for, else zeros. */
void dlm_lvb_adopt(struct dlm_res *res)
{
	bool good = false;
	struct dlm_lock *lock;

	for (int list = DLM_LIST_GRANTED; list <= DLM_LIST_CONVERTING; list++) {
		dlm_res_for_each_lock(lock, res, list) {
			if (lock->mode >= DLM_MODE_PR && (lock->flags & DLM_LOCK_LVB))
				good = true;
			lock->flags &= (uint8_t)~DLM_LOCK_LVB;
		}
	}
	if (!good)
		memset(res->lvb, 0, DLM_LVB_LEN);
}

/* The old owner sends its value with any lock that proves it is still good. */
void dlm_lvb_to_migrate(const struct dlm_res *res, const struct dlm_wire_mig *m,
			uint8_t lvb[DLM_LVB_LEN])
{
	memset(lvb, 0, DLM_LVB_LEN);
	for (unsigned int i = 0; i < m->num_locks; i++)
		if (m->locks[i].list != DLM_LIST_BLOCKED && m->locks[i].mode >= DLM_MODE_PR)
			memcpy(lvb, res->lvb, DLM_LVB_LEN);
}

/* A survivor's value, if one of these locks vouches for it. */
void dlm_lvb_to_recover(struct dlm_res *res, const struct dlm_wire_mig *m,
			uint8_t lvb[DLM_LVB_LEN])
{
	struct dlm_lock *lock;

	memset(lvb, 0, DLM_LVB_LEN);
	for (unsigned int i = 0; i < m->num_locks; i++) {
		lock = dlm_lock_find(res, m->locks[i].node, m->locks[i].cookie);
		if (lock && lock->list != DLM_LIST_BLOCKED && lock->mode >= DLM_MODE_PR &&
		    (lock->flags & DLM_LOCK_LVB))
			memcpy(lvb, res->lvb, DLM_LVB_LEN);
	}
}

void dlm_lvb_from_migrate(struct dlm_res *res, const struct dlm_wire_mig_lock *l,
			  const uint8_t *lvb)
{
	if (l->list == DLM_LIST_BLOCKED || dlm_lvb_is_zero(lvb))
		return;
	if (l->flags & DLM_LKSB_PUT_LVB) {
		memcpy(res->lvb, lvb, DLM_LVB_LEN);
		return;
	}
	if (l->mode < DLM_MODE_PR)
		return;
	if (!dlm_lvb_is_zero(res->lvb) && memcmp(res->lvb, lvb, DLM_LVB_LEN)) {
		log_warn(res->dom->dlm->log, "dlm",
			 "value blocks contradict, void now: from node=%u", l->node);
		memset(res->lvb, 0, DLM_LVB_LEN);
		return;
	}
	memcpy(res->lvb, lvb, DLM_LVB_LEN);
}
