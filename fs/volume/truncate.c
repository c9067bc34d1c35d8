/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * truncate.c: changing a file's size, and removing all content (disk.md 3.10, 11.3).
 *
 * Going down, records are removed from the right end in transactions of bounded size,
 * their clusters entering the truncate log in the same one, and i_size goes down with
 * them: to the start of what was removed, at last to the size asked for. So after a
 * crash there is never a cluster beyond i_size, and what is left is a file that was
 * cut less; most files need one transaction. The truncate log is locked before the
 * handle; extent blocks that ran empty are freed after it, when no lock of the log is
 * held (extent_alloc comes before it).
 */
#include <errno.h>
#include "fs/volume/alloc_int.h"
#include "fs/volume/file_int.h"

#define TRIM_RECORDS 32

struct trim {
	struct vol_inode *inode;
	struct xtree t;
	uint64_t size;		/* wanted */
	uint32_t keep;		/* clusters */
	bool touch, done;
	struct dealloc freed;
};

/* Drop up to n records that lie beyond `keep`. */
static int trim_records(struct jhandle *h, struct trim *tr, unsigned n)
{
	struct vol *v = tr->inode->vol;
	struct extent e;
	int err;

	for (;;) {
		uint32_t cut, len;

		err = xtree_last(&tr->t, &e);
		if (err == -ENOENT || (!err && e.cpos + e.len <= tr->keep)) {
			tr->done = true;
			tr->inode->size = tr->size;
			return 0;
		}
		if (err || n-- == 0)
			return err;
		if (e.flags & OCFS2_EXT_REFCOUNTED)
			return -EOPNOTSUPP;
		cut = e.cpos > tr->keep ? e.cpos : tr->keep;
		len = e.cpos + e.len - cut;
		err = tl_append(h, (uint32_t)(e.blkno / v->bpc) + cut - e.cpos, len);
		if (!err)
			err = xtree_remove(h, &tr->t, cut, len, NULL, &tr->freed);
		if (err)
			return err;
		tr->inode->size = max_u64(tr->size, min_u64(tr->inode->size,
							    cluster_byte(v, cut)));
	}
}

/* One transaction. */
static int trim_step(struct trim *tr)
{
	struct vol *v = tr->inode->vol;
	unsigned n = min_u64(TRIM_RECORDS, tl_capacity(v));
	struct jhandle *h;
	bool changed = false;
	int err;

	err = tl_prepare(v, n);
	if (err)
		return err;
	err = jh_begin(v, 1 + TL_CREDITS + xtree_trim_credits(&tr->t, n), &h);
	if (!err) {
		err = jh_write(h, tr->t.root, tr->inode);
		changed = !err;
		if (!err)
			err = trim_records(h, tr, n);
		if (!err && tr->touch)
			file_touch(tr->inode);
		if (!err)
			err = inode_store(h, tr->inode);
		tr->inode->datasync_tid = tr->inode->sync_tid;
		err = file_end(h, err, changed, "truncating a file");
	}
	tl_done(v);
	return err;
}

/* Refcounted clusters belong to others, too: find them before anything is removed. */
static int trim_check(struct trim *tr)
{
	uint32_t cpos = tr->keep;
	struct extent e;
	int err = 0;

	if (!(tr->inode->dyn_features & OCFS2_HAS_REFCOUNT_FL))
		return 0;
	while (!err && cpos != UINT32_MAX) {
		err = xtree_lookup(&tr->t, cpos, &e);
		if (!err && (e.flags & OCFS2_EXT_REFCOUNTED))
			err = -EOPNOTSUPP;
		cpos = e.cpos + e.len;
	}
	return err;
}

static int trim(struct vol_inode *inode, uint64_t size, bool touch)
{
	struct trim tr = {
		.inode = inode,
		.size = size,
		.keep = bytes_to_clusters_up(inode->vol, size),
		.touch = touch,
	};
	struct buf *b;
	int err, err2;

	err = inode_buf(inode, &b);
	if (err)
		return err;
	xtree_dinode(&tr.t, inode, b);
	err = trim_check(&tr);
	while (!err && !tr.done) {
		err = trim_step(&tr);
		err2 = dealloc_run(inode->vol, &tr.freed);
		if (!err)
			err = err2;
	}
	bc_put(b);
	return err;
}

int inode_truncate_all(struct vol_inode *inode)
{
	if (inode->dyn_features & OCFS2_INLINE_DATA_FL)
		return 0;
	return trim(inode, 0, false);
}

int inode_trim_beyond(struct vol_inode *inode)
{
	if (inode->dyn_features & OCFS2_INLINE_DATA_FL)
		return 0;
	return trim(inode, inode->size, false);
}

int file_set_size(struct vol_inode *inode, uint64_t size)
{
	struct jhandle *h;
	int err;

	err = jh_begin(inode->vol, 1, &h);
	if (err)
		return err;
	inode->size = size;
	file_touch(inode);
	err = inode_store(h, inode);
	inode->datasync_tid = inode->sync_tid;
	return file_end(h, err, true, "changing the size of a file");
}

int file_shrink(struct vol_inode *inode, uint64_t size)
{
	return trim(inode, size, true);
}

static int grow(struct vol_inode *inode, uint64_t size)
{
	int err;

	if (!vol_is_sparse(inode->vol))
		return extend_dense(inode, size);
	err = zero_gap(inode, inode->size, size);
	return err ? err : file_set_size(inode, size);
}

static int shrink(struct vol_inode *inode, uint64_t size)
{
	uint64_t end = cluster_byte(inode->vol, bytes_to_clusters_up(inode->vol, size));
	int err;

	/* other nodes rely on zeros up to the end of the block at least */
	err = zero_gap(inode, size, min_u64(end, unit_up(inode->size)));
	return err ? err : trim(inode, size, true);
}

int vol_truncate(struct vol_inode *inode, uint64_t size)
{
	bool fits = false;
	struct buf *b;
	int err;

	pthread_rwlock_wrlock(&inode->sem);
	err = file_may_change(inode);
	if (!err && !S_ISREG(inode->mode))
		err = S_ISDIR(inode->mode) ? -EISDIR : -EINVAL;
	if (!err && size > file_limit(inode->vol))
		err = -EFBIG;
	if (!err)
		err = inode_buf(inode, &b);
	if (!err) {
		fits = (inode->dyn_features & OCFS2_INLINE_DATA_FL) &&
		       inline_fits(inode, (struct ocfs2_dinode *)b->data, size);
		bc_put(b);
	}
	if (!err && !fits && (inode->dyn_features & OCFS2_INLINE_DATA_FL))
		err = inline_convert(inode);
	if (!err)
		err = fits ? inline_resize(inode, size) :
		      size < inode->size ? shrink(inode, size) :
		      size > inode->size ? grow(inode, size) : file_set_size(inode, size);
	pthread_rwlock_unlock(&inode->sem);
	return err;
}
