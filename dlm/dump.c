/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * dump.c: every resource and lock as records; text and JSON are made elsewhere.
 */
#include "dlm/dlm_int.h"

const char *dlm_state_name(unsigned int bit)
{
	switch (1u << bit) {
	case DLM_RES_RECOVERING:
		return "recovering";
	case DLM_RES_DIRTY:
		return "dirty";
	case DLM_RES_IN_PROGRESS:
		return "in_progress";
	case DLM_RES_MIGRATING:
		return "migrating";
	case DLM_RES_DROPPING_REF:
		return "dropping_ref";
	case DLM_RES_SETREF_INPROG:
		return "setref_inprog";
	case DLM_RES_RECOVERY_WAITING:
		return "recovery_waiting";
	default:
		return NULL;
	}
}

static bool pending(const struct dlm_lock *lock)
{
	return (lock->op && lock->op->state != OP_QUEUED) || lock->uop;
}

void dlm_domain_dump(struct dlm_domain *dom,
		     bool (*fn)(void *ctx, const struct dlm_dump_res *res,
				const struct dlm_dump_lock *lock),
		     void *ctx)
{
	const uint16_t shown = DLM_RES_DIRTY | DLM_RES_DROPPING_REF | DLM_RES_LOCAL_WAIT;
	struct dlm_lock *lock;
	struct dlm_res *res;
	uint8_t refs[32];

	cds_list_for_each_entry(res, &dom->all, all) {
		struct dlm_dump_res r = { .name = res->name.bytes, .name_len = res->name.len,
					  .owner = res->owner, .lvb = res->lvb, .refmap = refs };

		dlm_map_to_bytes(dlm_refs(res), refs);
		r.state = (uint16_t)(res->state & shown);
		if (res->setref || (res->assert && res->assert->running))
			r.state |= DLM_RES_SETREF_INPROG;
		if (!fn(ctx, &r, NULL))
			return;
		for (int list = 0; list < 3; list++) {
			dlm_res_for_each_lock(lock, res, list) {
				struct dlm_dump_lock l = {.cookie = lock->cookie,
							  .node = lock->node,
							  .mode = lock->mode,
							  .convert_mode = lock->convert,
							  .queue = "GCB"[list],
							  .pending = pending(lock),
							  .age_s = (dom->dlm->now_s -
								    lock->since_s) & 0xffffff};
				if (!fn(ctx, &r, &l))
					return;
			}
		}
	}
}
