/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * attr.c: attributes, durability of one inode, link targets.
 *
 * Data is written through, so fsync has no data to write: it commits the inode's last
 * transaction, or makes the device flush what it holds in its cache.
 */
#include <errno.h>
#include <string.h>
#include "fs/volume/file_int.h"

int vol_setattr(struct vol_inode *inode, const struct vol_setattr *what)
{
	struct jhandle *h;
	int err;

	pthread_rwlock_wrlock(&inode->sem);
	err = file_may_change(inode);
	if (!err)
		err = jh_begin(inode->vol, 1, &h);
	if (!err) {
		if (what->valid & VOL_SET_MODE)
			inode->mode = (uint16_t)((inode->mode & S_IFMT) | (what->mode & 07777));
		if (what->valid & VOL_SET_UID)
			inode->uid = what->uid;
		if (what->valid & VOL_SET_GID)
			inode->gid = what->gid;
		if (what->valid & VOL_SET_ATIME)
			inode->atime = what->atime;
		if (what->valid & VOL_SET_MTIME)
			inode->mtime = what->mtime;
		/* a change of atime alone may be a mere access: the caller says what it is */
		if (what->valid & VOL_SET_CTIME)
			inode->ctime = what->ctime;
		else if (what->valid & ~(unsigned)VOL_SET_ATIME)
			inode->ctime = vol_now();
		err = inode_store(h, inode);
		err = file_end(h, err, true, "setting attributes");
	}
	pthread_rwlock_unlock(&inode->sem);
	return err;
}

/*
 * Data is on the device before its write's transaction is joined, which flushes the
 * device when it commits. So if the inode's last transaction is durable its data is,
 * too; and if only times changed since the last one that data needs, fdatasync has to
 * flush but not to commit.
 */
int vol_fsync(struct vol_inode *inode, bool datasync)
{
	struct vol *v = inode->vol;
	uint64_t last, data;

	pthread_rwlock_rdlock(&inode->sem);
	last = inode->sync_tid;
	data = inode->datasync_tid;
	pthread_rwlock_unlock(&inode->sem);
	if (vol_is_stopped(v))
		return -EIO;
	if (journal_committed(v, last))
		return 0;
	if (datasync && journal_committed(v, data))
		return journal_flush(v);
	return journal_commit(v, last);
}

uint64_t vol_stat_blocks(const struct vol_inode *inode)
{
	if (inode->dyn_features & OCFS2_INLINE_DATA_FL)
		return (inode->size + 511) / 512;
	return (uint64_t)inode->clusters * (inode->vol->clustersize / 512);
}

/* A long target lies in journaled blocks: through the cache, not from the device. */
static int readlink_blocks(struct vol_inode *inode, char *buf, size_t len)
{
	struct vol *v = inode->vol;
	uint64_t run, lblk = 0;
	bool unwritten;
	blkno_t blkno;
	struct buf *b;
	int err;

	for (size_t done = 0; done < len; lblk++) {
		size_t part = len - done < v->blocksize ? len - done : v->blocksize;

		err = inode_map(inode, lblk, &blkno, &run, &unwritten);
		if (err)
			return err;
		if (blkno == 0 || unwritten)
			return vol_damaged(v, "symbolic link without text inode=%llu",
					   (unsigned long long)inode->blkno);
		err = bc_read(v, blkno, BLK_RAW, inode, &b);
		if (err)
			return err;
		memcpy(buf + done, b->data, part);
		bc_put(b);
		done += part;
	}
	return 0;
}

int vol_readlink(struct vol_inode *inode, char *buf, size_t room)
{
	const struct ocfs2_dinode *di;
	size_t fast, len;
	struct buf *b;
	int err;

	pthread_rwlock_rdlock(&inode->sem);
	err = S_ISLNK(inode->mode) ? inode_buf(inode, &b) : -EINVAL;
	if (err)
		goto out;
	di = (const struct ocfs2_dinode *)b->data;
	fast = inode->vol->blocksize - offsetof(struct ocfs2_dinode, id2.i_symlink);
	if ((inode->clusters == 0 && inode->size >= fast) || inode->size > 65536) {
		err = vol_damaged(inode->vol, "symbolic link longer than its room inode=%llu",
				  (unsigned long long)inode->blkno);
	} else {
		len = inode->size < room ? (size_t)inode->size : room;
		if (inode->clusters == 0)
			memcpy(buf, di->id2.i_symlink, len);
		else
			err = readlink_blocks(inode, buf, len);
		if (!err)
			err = (int)len;
	}
	bc_put(b);
out:
	pthread_rwlock_unlock(&inode->sem);
	return err;
}
