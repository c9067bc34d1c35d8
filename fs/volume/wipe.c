/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * wipe.c: free an orphan for good (doc/spec/disk.md 6.3, doc/spec/fs-locking.md 5.4).
 *
 * Many transactions; the orphan entry is the record of what is intended and goes in the
 * last one, together with the inode's bit. After a crash in between the next attempt
 * finds an inode with less content and goes on. The orphan directory stays locked all
 * the time, so that no other node's scan meets the inode half done. What cannot be
 * freed (shared clusters, indexed attributes) stays an orphan for a kernel node, and
 * is found out before anything was taken apart.
 */
#include <errno.h>

#include "fs/volume/dir_int.h"

int tree_drop(struct vol *v, struct xtree *t, struct dealloc *d)
{
	struct extent e;
	int err;

	while (!(err = xtree_last(t, &e))) {
		struct reservation r = { 0 };
		struct jhandle *h;

		if (e.flags & OCFS2_EXT_REFCOUNTED)
			return -EOPNOTSUPP;
		err = tl_prepare(v, 1);
		if (err)
			return err;
		err = jh_begin(v, xtree_trim_credits(t, 1) + TL_CREDITS, &h);
		if (!err) {
			err = tl_append(h, (uint32_t)(e.blkno / v->bpc), e.len);
			if (err)
				err = jh_finish(h, err, true, NULL);
			else
				err = jh_end_or_abort(h, xtree_remove(h, t, e.cpos, e.len, &r, d),
						      "extents could not be freed");
		}
		tl_done(v);
		reservation_release(v, &r);
		if (err)
			return err;
	}
	return err == -ENOENT ? 0 : err;
}

int meta_block_drop(struct vol_inode *inode, const struct suballoc_pos *pos,
		    void (*forget)(struct vol_inode *inode, struct ocfs2_dinode *di))
{
	blkno_t group = pos->loc ? pos->loc : pos->blkno - pos->bit;
	struct vol *v = inode->vol;
	struct vol_inode *alloc;
	struct jhandle *h;
	struct buf *di;
	int err;

	alloc = pos->slot < v->info.max_slots ?
		vol_sys_inode(v, VOL_SYS_EXTENT_ALLOC, pos->slot) : NULL;
	if (!alloc)
		return vol_damaged(v, "a metadata block names an unknown slot inode=%llu block=%llu "
				   "slot=%u", (unsigned long long)inode->blkno,
				   (unsigned long long)pos->blkno, pos->slot);
	err = inode_buf(inode, &di);
	if (err)
		return err;
	err = sys_lock(v, alloc, true);
	if (err)
		goto out;
	err = jh_begin(v, 1 + FREE_SUBALLOC_CREDITS, &h);
	if (!err) {
		err = free_suballoc(h, VOL_SYS_EXTENT_ALLOC, pos->slot, group, pos->bit);
		if (!err)
			err = jh_write(h, di, inode);
		if (!err) {
			forget(inode, (struct ocfs2_dinode *)di->data);
			err = inode_store(h, inode);
		}
		err = jh_end_or_abort(h, err, "metadata block could not be freed");
	}
	if (!err)
		bc_forget(v, pos->blkno);
	sys_unlock(v, alloc, true);
out:
	bc_put(di);
	return err;
}

/* ---- the steps ------------------------------------------------------------------------ */

static int wipe_allowed(struct vol_inode *inode)
{
	const char *why;

	if (!(inode->flags & OCFS2_VALID_FL) || inode->dtime)
		return -ESTALE;
	if ((inode->flags & (OCFS2_SYSTEM_FL | OCFS2_SUPER_BLOCK_FL)) || inode->nlink != 0 ||
	    !(inode->flags & OCFS2_ORPHANED_FL))
		return -EINVAL;
	if (inode->flags & OCFS2_DIO_ORPHANED_FL)
		return -EBUSY;
	if (inode->dyn_features & OCFS2_HAS_REFCOUNT_FL)
		why = "it shares clusters with others";
	else if (wipe_xattrs_indexed(inode))
		why = "its extended attributes are indexed";
	else
		return 0;
	log_warn(inode->vol->log, "vol", "deleted file keeps its space: %s; a node with the "
		 "kernel's ocfs2 frees it when it mounts the volume inode=%llu", why,
		 (unsigned long long)inode->blkno);
	return -EOPNOTSUPP;
}

static int last_in(struct jhandle *h, struct vol_inode *inode, struct vol_inode *od,
		   struct buf *di, bool *undone)
{
	const struct ocfs2_dinode *d = (const struct ocfs2_dinode *)di->data;
	unsigned bit = le16toh(d->i_suballoc_bit);
	blkno_t group = le64toh(d->i_suballoc_loc);
	char name[ORPHAN_NAME_LEN + 1];
	int err;

	*undone = true;
	orphan_name(name, inode->blkno);
	err = jh_write(h, di, inode);
	if (!err)
		err = dir_remove(h, od, name, ORPHAN_NAME_LEN, inode->blkno);
	if (err)
		return err;
	*undone = false;
	if (S_ISDIR(inode->mode))
		err = dir_drop_subdir(h, od);
	if (!err)
		err = free_suballoc(h, VOL_SYS_INODE_ALLOC, inode->suballoc_slot,
				    group ? group : inode->blkno - bit, bit);
	if (err)
		return err;
	inode->dtime = (uint64_t)vol_now().tv_sec;
	inode->flags &= ~(uint32_t)(OCFS2_VALID_FL | OCFS2_ORPHANED_FL);
	return inode_store(h, inode);
}

static int wipe_last(struct vol_inode *inode, struct vol_inode *od)
{
	struct vol *v = inode->vol;
	struct vol_inode *alloc;
	struct jhandle *h;
	struct buf *di;
	bool undone;
	int err;

	alloc = inode->suballoc_slot < v->info.max_slots ?
		vol_sys_inode(v, VOL_SYS_INODE_ALLOC, inode->suballoc_slot) : NULL;
	if (!alloc)
		return vol_damaged(v, "an inode names an unknown slot inode=%llu slot=%u",
				   (unsigned long long)inode->blkno, inode->suballoc_slot);
	err = inode_buf(inode, &di);
	if (err)
		return err;
	err = sys_lock(v, alloc, true);
	if (err)
		goto out;
	err = jh_begin(v, DIR_REMOVE_CREDITS + 1 + FREE_SUBALLOC_CREDITS, &h);
	if (!err) {
		err = last_in(h, inode, od, di, &undone);
		err = jh_finish(h, err, undone, "inode could not be freed");
	}
	/* Before the allocator is free: from then on its block, and this object, may be
	 * those of a new inode. */
	if (!err)
		inode->wiped = true;
	sys_unlock(v, alloc, true);
out:
	bc_put(di);
	return err;
}

static int wipe_locked(struct vol_inode *inode, struct vol_inode *od)
{
	int err = 0;

	/*
	 * i_size goes down with the clusters, never before them: fsck.ocfs2 takes an orphan of
	 * size 0 for an empty one and forgets what it holds. With the last cluster it is 0, as
	 * kernels want it of a directory (disk.md 6.3, 12.15).
	 */
	if (inode->clusters)
		err = inode_truncate_all(inode);
	if (!err && S_ISDIR(inode->mode))
		err = dir_truncate_index(inode);
	if (!err)
		err = wipe_xattrs(inode);
	return err ? err : wipe_last(inode, od);
}

int vol_wipe(struct vol_inode *inode)
{
	struct vol_inode *od;
	int err;

	pthread_rwlock_wrlock(&inode->sem);
	err = inode->wiped ? -ESTALE : wipe_allowed(inode);
	if (!err)
		err = orphan_dir_lock(inode->vol, inode->orphaned_slot, &od);
	if (!err) {
		err = wipe_locked(inode, od);
		orphan_done(inode->vol, od);
	}
	pthread_rwlock_unlock(&inode->sem);
	return err;
}
