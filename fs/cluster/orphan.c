/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * orphan.c: who frees an inode without names, and when (doc/spec/fs-locking.md 5.4).
 *
 * At the end of an inode's life in this node's memory it is looked at again under
 * M EX; if it has no name, O EX without waiting tells whether anybody else still uses
 * it. If so, that node's own end of life comes here later; M EX serialises them, and
 * a wiped inode is not valid any more for the second. Never on a downconvert worker:
 * a remote node is waiting for it.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include "fs/cluster/clu_int.h"
#include "fs/volume/ondisk.h"

static void note(struct clu_inode *ci)
{
	pthread_mutex_lock(&ci->mutex);
	ci->maybe_orphaned = true;
	pthread_mutex_unlock(&ci->mutex);
}

/* Conditions 3 and 4; M(x) EX is held, the dinode fresh. */
static bool is_wipeable(const struct clu_inode *ci)
{
	const struct vol_inode *vi = ci->vi;

	if (vi->wiped || vi->nlink != 0 || vi->dtime != 0 || !(vi->flags & OCFS2_VALID_FL))
		return false;
	if (vi->flags & (OCFS2_SYSTEM_FL | OCFS2_DIO_ORPHANED_FL))
		return false;
	if (vi->flags & OCFS2_ORPHANED_FL)
		return true;
	if (!(vi->dyn_features & OCFS2_HAS_REFCOUNT_FL))
		log_err(ci->clu->log, "orphan",
			"inode without links is in no orphan directory inode=%llu; run fsck.ocfs2 when "
			"the volume is unmounted everywhere",
			(unsigned long long)vi->blkno);
	return false;
}

/* M(x) EX is held through all of it. O stays ours if we wipe; if another node uses the
 * inode, ours is given up before M, so that the last one finds O free. */
static void wipe_unless_used(struct clu_inode *ci)
{
	int err = clu_olock_ex(ci);

	if (err == -EAGAIN) {
		log_debug(ci->clu->log, "orphan", "left to its last user inode=%llu slot=%u",
			  (unsigned long long)ci->vi->blkno, ci->vi->orphaned_slot);
		clu_odrop(ci);
		return;
	}
	if (err)
		return;
	err = vol_wipe(ci->vi);
	/* Not asked of vi: its block may be a new inode's already. */
	if (!err) {
		atomic_store(&ci->wiped, true);
		log_debug(ci->clu->log, "orphan", "freed inode=%llu slot=%u",
			  (unsigned long long)ci->vi->blkno, ci->vi->orphaned_slot);
	}
	clu_ounlock_ex(ci);
	if (err)
		log_warn(ci->clu->log, "orphan",
			 "could not free an orphan inode=%llu errno=%d; it stays in the orphan directory "
			 "and is tried again within minutes, or at the next mount",
			 (unsigned long long)ci->vi->blkno, -err);
}

void clu_orphan_evict(struct clu_inode *ci)
{
	int err;

	if (vol_readonly(ci->clu->vol) || clu_nfs_lock(ci->clu, DLM_MODE_PR))
		return;
	err = lc_lock(&ci->m, DLM_MODE_EX, 0);
	if (!err) {
		/* Afresh: a value block does not carry the flags and the orphan slot. */
		if (!ci->vi->wiped && !vol_inode_refresh(ci->vi) && is_wipeable(ci))
			wipe_unless_used(ci);
		lc_unlock(&ci->m, DLM_MODE_EX);
	}
	clu_nfs_unlock(ci->clu, DLM_MODE_PR);
}

struct found {
	struct {
		blkno_t blkno;
		bool dio;
	} *at;
	size_t n, room;
	bool failed;
};

static void remember(void *ctx, blkno_t blkno, bool dio)
{
	struct found *f = ctx;

	if (f->n == f->room) {
		size_t room = f->room ? f->room * 2 : 64;
		void *p = reallocarray(f->at, room, sizeof(*f->at));

		if (!p) {
			f->failed = true;
			return;
		}
		f->at = p;
		f->room = room;
	}
	f->at[f->n].blkno = blkno;
	f->at[f->n++].dio = dio;
}

static void end_dio(struct clu_inode *ci)
{
	if (clu_wlock(ci, DLM_MODE_EX, 0))
		return;
	if (!clu_mlock(ci, DLM_MODE_EX, 0)) {
		if ((ci->vi->flags & OCFS2_DIO_ORPHANED_FL) && vol_dio_orphan_end(ci->vi))
			log_warn(ci->clu->log, "orphan",
				 "could not end a direct write of a dead node inode=%llu",
				 (unsigned long long)ci->vi->blkno);
		clu_munlock(ci, DLM_MODE_EX);
	}
	clu_wunlock(ci, DLM_MODE_EX);
}

/*
 * Entries of slot's orphan directory: each inode is brought into memory and put, which
 * ends its life by the rule above. An entry that was freed and reused meanwhile names
 * an inode with links, or a dead one: both are left alone.
 */
int clu_orphan_scan_slot(struct clu *clu, unsigned slot, bool dio)
{
	struct vol_inode *dir = vol_sys_inode(clu->vol, VOL_SYS_ORPHAN_DIR, slot);
	struct found f = { 0 };
	int err;

	if (!dir)
		return -ENOENT;
	err = clu_sys_lock(clu, dir, false);
	if (err)
		return err;
	err = vol_orphans_each(clu->vol, slot, remember, &f);
	clu_sys_unlock(clu, dir, false);
	for (size_t i = 0; !err && i < f.n; i++) {
		struct clu_inode *ci;

		if (f.at[i].dio && !dio)
			continue;
		if (clu_iget_orphan(clu, f.at[i].blkno, &ci))
			continue;
		if (f.at[i].dio)
			end_dio(ci);
		else
			note(ci);
		clu_iput(ci);
	}
	free(f.at);
	return err ? err : f.failed ? -ENOMEM : 0;
}
