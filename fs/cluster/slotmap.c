/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * slotmap.c: which node has which slot (doc/spec/fs-locking.md 6.1, 6.2 step 5).
 *
 * The map is read when S is refreshed and written under S EX, never through a
 * journal. clu->slots is what the last refresh, or our own write, left.
 */
#include <errno.h>
#include "fs/cluster/clu_int.h"

static int s_refresh(struct lc_lock *l, const uint8_t *lvb)
{
	struct clu *clu = l->owner;

	(void)lvb;
	return vol_slotmap_read(clu->vol, clu->slots);
}

const struct lc_type clu_type_s = { .letter = 'S', .refreshes = true, .refresh = s_refresh };

int clu_slot_of(const struct clu *clu, node_t node)
{
	for (unsigned i = 0; i < clu->max_slots; i++) {
		if (clu->slots[i] == node)
			return (int)i;
	}
	return -1;
}

int clu_slot_choose(struct clu *clu, struct reason *why)
{
	int want = clu->cfg.preferred_slot, slot = clu_slot_of(clu, clu->self);

	if (slot >= 0)
		return slot; /* we crashed with it */
	if (want >= 0 && (unsigned)want < clu->max_slots && clu->slots[want] < 0)
		return want;
	for (unsigned i = 0; i < clu->max_slots; i++) {
		if (clu->slots[i] < 0)
			return (int)i;
	}
	return reason_set(why, EXIT_SLOTS, -ENOSPC,
			  "all %u node slots of the volume are taken; unmount it on another node, or "
			  "add slots with tunefs.ocfs2 -N while no node has it mounted",
			  clu->max_slots);
}

int clu_slot_write(struct clu *clu, unsigned slot, int node)
{
	int err = vol_slotmap_write(clu->vol, slot, node);

	if (!err)
		clu->slots[slot] = (int16_t)node;
	return err;
}
