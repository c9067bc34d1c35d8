/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * mlock.c: what a lock type of this layer does when its level changes
 * (doc/spec/fs-locking.md 3.1, 4.5, 12.8).
 *
 * M of an inode: before EX is lowered its blocks are at their places and out of the
 * log (may_downconvert, make_ready), before NL the kernel has forgotten pages and
 * attributes (before_downconvert), and the value block says what is on the device
 * (stuff_lvb; nobody can change the inode then: no holder, and newcomers wait).
 * After NL -> PR or EX cached blocks are dropped and the attributes come from the value
 * block, or from the dinode if that cannot be trusted.
 *
 * M of a system inode: the same without kernel caches. Its value block always says "do
 * not trust": what matters of it, bitmaps and chains, is in its blocks anyway.
 */
#include <errno.h>
#include <stdlib.h>
#include "fs/cluster/clu_int.h"

void clu_m_name(struct clu *clu, uint8_t name[LC_NAME_LEN], blkno_t blkno)
{
	const struct vol_info *info = vol_info(clu->vol);
	bool sys = blkno == info->root_blkno || blkno == info->sysdir_blkno;

	lockname_text(name, 'M', blkno, sys ? info->fs_generation : 0);
}

/* ---- inodes ------------------------------------------------------------------------- */

static int m_refresh(struct lc_lock *l, const uint8_t *lvb)
{
	struct clu_inode *ci = l->owner;
	bool known;
	int err;

	pthread_mutex_lock(&ci->mutex);
	known = ci->attached && ci->vi->loaded;
	pthread_mutex_unlock(&ci->mutex);
	/* First read, or back from being detached: from the dinode. */
	if (!known)
		return vol_inode_refresh(ci->vi);
	vol_inode_purge(ci->vi);
	err = inode_lvb_apply(lvb, ci->vi);
	return err == -EAGAIN ? vol_inode_refresh(ci->vi) : err;
}

static bool m_may_downconvert(struct lc_lock *l, int new_level)
{
	struct clu_inode *ci = l->owner;

	(void)new_level;
	return l->level != DLM_MODE_EX || vol_inode_checkpointed(ci->vi);
}

static void checkpoint(struct clu *clu)
{
	if (!vol_checkpoint(clu->vol))
		lc_kick(clu->lc);
	else if (vol_is_stopped(clu->vol)) /* else tried again: memory was short */
		clu_cannot_write(clu);
}

static void m_make_ready(struct lc_lock *l)
{
	struct clu_inode *ci = l->owner;

	checkpoint(ci->clu);
}

static void give_away_exclusive(struct clu_inode *ci, struct lc_lock *l)
{
	if (clu_itable_hold(ci)) {
		clu_pages_give_away_exclusive(ci, l);
		clu_itable_put_worker(ci);
	}
}

static enum lc_work m_before(struct lc_lock *l, int blocking, int level)
{
	struct clu_inode *ci = l->owner;
	struct clu *clu = ci->clu;
	bool negatives;

	if (blocking != DLM_MODE_EX) {
		/* EX -> PR: pages may stay, unless they can become dirty without us. */
		if (level == DLM_MODE_EX)
			give_away_exclusive(ci, l);
		return LC_WORK_GO;
	}
	if (clu_itable_hold(ci)) {
		pthread_mutex_lock(&ci->mutex);
		negatives = ci->negatives_out;
		ci->negatives_out = false;
		pthread_mutex_unlock(&ci->mutex);
		clu_pages_give_away(ci);
		if (negatives && clu_kernel_there(clu))
			clu->cfg.kernel->inval_negative(clu->cfg.kernel_ctx, ci->vi->blkno);
		clu_itable_put_worker(ci);
	}
	/* A dying one: the kernel has forgotten it. */
	pthread_mutex_lock(&ci->mutex);
	ci->lockgen++;
	pthread_mutex_unlock(&ci->mutex);
	return LC_WORK_GO;
}

static void m_stuff(struct lc_lock *l, uint8_t lvb[DLM_LVB_LEN])
{
	struct clu_inode *ci = l->owner;

	if (ci->wiped)
		lvb[0] = 0;
	else
		inode_lvb_stuff(ci->vi, lvb);
}

const struct lc_type clu_type_m = {
	.letter = 'M',
	.has_lvb = true,
	.refreshes = true,
	.recovery_wait = true,
	.refresh = m_refresh,
	.may_downconvert = m_may_downconvert,
	.make_ready = m_make_ready,
	.before_downconvert = m_before,
	.stuff_lvb = m_stuff,
};

static enum lc_work w_before(struct lc_lock *l, int blocking, int level)
{
	(void)blocking;
	if (level == DLM_MODE_EX)
		give_away_exclusive(l->owner, l);
	return LC_WORK_GO;
}

const struct lc_type clu_type_w = { .letter = 'W', .before_downconvert = w_before };

/* ---- system inodes ---------------------------------------------------------------------- */

static int sys_refresh(struct lc_lock *l, const uint8_t *lvb)
{
	struct clu_sys *s = l->owner;

	(void)lvb;
	return vol_inode_refresh(s->vi);
}

static bool sys_may_downconvert(struct lc_lock *l, int new_level)
{
	struct clu_sys *s = l->owner;

	(void)new_level;
	return l->level != DLM_MODE_EX || vol_inode_checkpointed(s->vi);
}

static void sys_make_ready(struct lc_lock *l)
{
	struct clu_sys *s = l->owner;

	checkpoint(s->clu);
}

static void sys_stuff(struct lc_lock *l, uint8_t lvb[DLM_LVB_LEN])
{
	(void)l;
	lvb[0] = 0;
}

const struct lc_type clu_type_m_sys = {
	.letter = 'M',
	.has_lvb = true,
	.refreshes = true,
	.recovery_wait = true,
	.refresh = sys_refresh,
	.may_downconvert = sys_may_downconvert,
	.make_ready = sys_make_ready,
	.stuff_lvb = sys_stuff,
};

static bool has_lock(enum vol_sysfile type)
{
	switch (type) {
	case VOL_SYS_GLOBAL_BITMAP:
	case VOL_SYS_ORPHAN_DIR:
	case VOL_SYS_EXTENT_ALLOC:
	case VOL_SYS_INODE_ALLOC:
	case VOL_SYS_JOURNAL:
		return true;
	default: /* slot map: S; heartbeat: none; local alloc, truncate log: this node's own */
		return false;
	}
}

int clu_sys_init(struct clu *clu)
{
	uint32_t generation = vol_info(clu->vol)->fs_generation;
	uint8_t name[LC_NAME_LEN];

	clu->sys = calloc((size_t)VOL_SYS_MAX * clu->max_slots, sizeof(*clu->sys));
	if (!clu->sys)
		return -ENOMEM;
	for (unsigned type = 0; type < VOL_SYS_MAX; type++) {
		for (unsigned slot = 0; slot < clu->max_slots; slot++) {
			struct clu_sys *s = &clu->sys[type * clu->max_slots + slot];
			struct vol_inode *vi = vol_sys_inode(clu->vol, (enum vol_sysfile)type, slot);

			if (!vi || vi->cluster || !has_lock((enum vol_sysfile)type))
				continue;
			s->clu = clu;
			s->vi = vi;
			s->used = true;
			lockname_text(name, 'M', vi->blkno, generation);
			lc_init(&s->m, clu->lc, &clu_type_m_sys, name, s);
			vi->cluster = s;
		}
	}
	return 0;
}

void clu_sys_drop(struct clu *clu)
{
	for (unsigned i = 0; clu->sys && i < VOL_SYS_MAX * clu->max_slots; i++) {
		struct clu_sys *s = &clu->sys[i];

		if (!s->used)
			continue;
		lc_drop(&s->m);
		lc_destroy(&s->m);
		s->vi->cluster = NULL;
	}
	free(clu->sys);
	clu->sys = NULL;
}

int clu_sys_lock(struct clu *clu, struct vol_inode *vi, bool ex)
{
	struct clu_sys *s = vi->cluster;
	unsigned flags = atomic_load(&clu->mounted) ? 0 : LC_IN_RECOVERY;

	return s ? lc_lock(&s->m, ex ? DLM_MODE_EX : DLM_MODE_PR, flags) : 0;
}

void clu_sys_unlock(struct clu *clu, struct vol_inode *vi, bool ex)
{
	struct clu_sys *s = vi->cluster;

	(void)clu;
	if (s)
		lc_unlock(&s->m, ex ? DLM_MODE_EX : DLM_MODE_PR);
}

/* ---- locks without rules -------------------------------------------------------------- */


const struct lc_type clu_type_o = { .letter = 'O' };
const struct lc_type clu_type_r = { .letter = 'R' };
const struct lc_type clu_type_y = { .letter = 'Y' };
