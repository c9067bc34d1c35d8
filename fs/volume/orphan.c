/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * orphan.c: inodes without names (doc/spec/disk.md 6.1, doc/spec/fs-locking.md 5.3).
 *
 * Each slot has a directory of inodes that lost their last name and are not freed yet;
 * the entry is made in the transaction that takes the name, so no crash loses an inode.
 * We insert into our own slot's directory only; whoever frees the inode removes the
 * entry from the directory that the inode names. Orphan directories are system inodes:
 * sys_lock protects their content, they are locked after all directories and files and
 * before all allocators.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "fs/volume/dir_int.h"

void orphan_name(char out[ORPHAN_NAME_LEN + 1], blkno_t blkno)
{
	snprintf(out, ORPHAN_NAME_LEN + 1, "%016llx", (unsigned long long)blkno);
}

int orphan_dir_lock(struct vol *v, unsigned slot, struct vol_inode **od)
{
	int err;

	*od = slot < v->info.max_slots ? vol_sys_inode(v, VOL_SYS_ORPHAN_DIR, slot) : NULL;
	if (!*od)
		return vol_damaged(v, "an inode names an orphan directory that is not there slot=%u",
				   slot);
	err = sys_lock(v, *od, true);
	if (err) {
		*od = NULL;
		return err;
	}
	if (!(*od)->loaded)
		err = vol_inode_refresh(*od);
	if (!err && !S_ISDIR((*od)->mode))
		err = vol_damaged(v, "orphan directory is not a directory slot=%u", slot);
	if (err) {
		sys_unlock(v, *od, true);
		*od = NULL;
	}
	return err;
}

int orphan_prepare(struct vol *v, struct vol_inode *inode, struct vol_inode **od)
{
	char name[ORPHAN_NAME_LEN + 1];
	int err;

	if (v->slot < 0)
		return -EROFS;
	err = orphan_dir_lock(v, (unsigned)v->slot, od);
	if (err)
		return err;
	orphan_name(name, inode->blkno);
	err = dir_prepare(*od, name, ORPHAN_NAME_LEN);
	if (err) {
		orphan_done(v, *od);
		*od = NULL;
	}
	return err;
}

int orphan_add(struct jhandle *h, struct vol_inode *od, struct vol_inode *inode)
{
	char name[ORPHAN_NAME_LEN + 1];
	int err;

	orphan_name(name, inode->blkno);
	err = dir_add(h, od, name, ORPHAN_NAME_LEN, inode->blkno, mode_to_ft(inode->mode));
	if (err)
		return err;
	inode->flags |= OCFS2_ORPHANED_FL;
	inode->orphaned_slot = (uint16_t)inode->vol->slot;
	if (S_ISDIR(inode->mode)) {
		od->nlink++;
		err = inode_store(h, od);
	}
	return err;
}

void orphan_done(struct vol *v, struct vol_inode *od)
{
	if (od)
		sys_unlock(v, od, true);
}

/* ---- listing -------------------------------------------------------------------------- */

struct listing {
	void (*fn)(void *ctx, blkno_t blkno, bool dio);
	void *ctx;
};

static bool list_one(void *ctx, const char *name, size_t len, blkno_t blkno, uint8_t type,
		     uint64_t next)
{
	struct listing *l = ctx;
	char want[ORPHAN_NAME_LEN + 1];
	bool dio = len == DIO_ORPHAN_NAME_LEN && memcmp(name, "dio-", 4) == 0;

	(void)type, (void)next;
	orphan_name(want, blkno);
	if ((dio || len == ORPHAN_NAME_LEN) &&
	    memcmp(name + (dio ? 4 : 0), want, ORPHAN_NAME_LEN) == 0)
		l->fn(l->ctx, blkno, dio);
	return true;
}

/* The caller holds the cluster lock, so only the local mutex is taken here. */
int vol_orphans_each(struct vol *v, unsigned slot, void (*fn)(void *ctx, blkno_t blkno, bool dio),
		     void *ctx)
{
	struct listing l = { fn, ctx };
	struct vol_inode *od;
	int err = 0;

	od = slot < v->info.max_slots ? vol_sys_inode(v, VOL_SYS_ORPHAN_DIR, slot) : NULL;
	if (!od)
		return -EINVAL;
	pthread_mutex_lock(&od->sys_mutex);
	if (!od->loaded)
		err = vol_inode_refresh(od);
	if (!err)
		err = S_ISDIR(od->mode) ? dir_walk(od, 0, list_one, &l) : -ENOTDIR;
	pthread_mutex_unlock(&od->sys_mutex);
	return err;
}

/* ---- direct-I/O orphans ------------------------------------------------------------------ */

static int dio_end_in(struct jhandle *h, struct vol_inode *inode, struct vol_inode *od,
		      const char *name, struct buf *di, bool *undone)
{
	int err;

	*undone = true;
	err = jh_write(h, di, inode);
	if (!err)
		err = dir_remove(h, od, name, DIO_ORPHAN_NAME_LEN, inode->blkno);
	/* Without an entry only the flag is left over. */
	if (err && err != -ENOENT)
		return err;
	*undone = false;
	inode->flags &= ~(uint32_t)OCFS2_DIO_ORPHANED_FL;
	((struct ocfs2_dinode *)di->data)->i_dio_orphaned_slot = 0;
	return inode_store(h, inode);
}

static int dio_end_locked(struct vol_inode *inode)
{
	char name[DIO_ORPHAN_NAME_LEN + 1];
	struct vol *v = inode->vol;
	struct vol_inode *od;
	struct jhandle *h;
	unsigned slot;
	struct buf *di;
	bool undone;
	int err;

	err = inode_buf(inode, &di);
	if (err)
		return err;
	slot = le16toh(((struct ocfs2_dinode *)di->data)->i_dio_orphaned_slot);
	snprintf(name, sizeof(name), "dio-%016llx", (unsigned long long)inode->blkno);
	err = orphan_dir_lock(v, slot, &od);
	if (err)
		goto out;
	err = jh_begin(v, DIR_REMOVE_CREDITS + 1, &h);
	if (!err) {
		err = dio_end_in(h, inode, od, name, di, &undone);
		err = jh_finish(h, err, undone, "direct-I/O orphan could not be ended");
	}
	orphan_done(v, od);
out:
	bc_put(di);
	return err;
}

int vol_dio_orphan_end(struct vol_inode *inode)
{
	int err;

	if (!(inode->flags & OCFS2_DIO_ORPHANED_FL))
		return 0;
	pthread_rwlock_wrlock(&inode->sem);
	err = inode_trim_beyond(inode);
	if (!err)
		err = dio_end_locked(inode);
	pthread_rwlock_unlock(&inode->sem);
	return err;
}
