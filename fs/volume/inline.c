/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * inline.c: content that lies in the inode itself (disk.md 2.4).
 *
 * Bytes after i_size up to id_count are zero, always, so growth needs no zeroing.
 * One transaction changes bytes and size together: an inline write is atomic.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "fs/volume/file_int.h"

static unsigned body_room(const struct vol *v, const struct ocfs2_dinode *di)
{
	unsigned room = v->blocksize - (unsigned)offsetof(struct ocfs2_dinode, id2);
	unsigned xattr = le16toh(di->i_xattr_inline_size);

	if ((le16toh(di->i_dyn_features) & OCFS2_INLINE_XATTR_FL) && xattr < room)
		room -= xattr;
	return room;
}

static unsigned inline_capacity(const struct vol *v, const struct ocfs2_dinode *di)
{
	return body_room(v, di) - (unsigned)offsetof(struct ocfs2_inline_data, id_data);
}

bool inline_fits(const struct vol_inode *inode, const struct ocfs2_dinode *di, uint64_t end)
{
	unsigned room = inline_capacity(inode->vol, di);

	if (inode->dyn_features & OCFS2_INLINE_DATA_FL) {
		if (le16toh(di->id2.i_data.id_count) < room)
			room = le16toh(di->id2.i_data.id_count);
		return end <= room;
	}
	return vol_has_incompat(inode->vol, OCFS2_FEATURE_INCOMPAT_INLINE_DATA) &&
	       inode->size == 0 && inode->clusters == 0 &&
	       !(inode->dyn_features & OCFS2_HAS_REFCOUNT_FL) && end <= room;
}

static void become_inline(struct vol_inode *inode, struct ocfs2_dinode *di)
{
	memset(&di->id2, 0, body_room(inode->vol, di));
	di->id2.i_data.id_count = htole16((uint16_t)inline_capacity(inode->vol, di));
	inode->dyn_features |= OCFS2_INLINE_DATA_FL;
}

int inline_write(struct vol_inode *inode, const void *buf, size_t len, uint64_t pos, uint16_t mode)
{
	struct ocfs2_dinode *di;
	struct jhandle *h;
	struct buf *b;
	int err;

	err = inode_buf(inode, &b);
	if (err)
		return err;
	di = (struct ocfs2_dinode *)b->data;
	err = jh_begin(inode->vol, 1, &h);
	if (err)
		goto out;
	err = jh_write(h, b, inode);
	if (!err) {
		if (!(inode->dyn_features & OCFS2_INLINE_DATA_FL))
			become_inline(inode, di);
		memcpy(di->id2.i_data.id_data + pos, buf, len);
		if (pos + len > inode->size)
			inode->size = pos + len;
		inode->mode = mode;
		file_touch(inode);
		err = inode_store(h, inode);
		inode->datasync_tid = inode->sync_tid;
		err = file_end(h, err, true, "writing inline data");
	} else {
		err = file_end(h, err, false, NULL);
	}
out:
	bc_put(b);
	return err;
}

int inline_resize(struct vol_inode *inode, uint64_t size)
{
	struct ocfs2_dinode *di;
	struct jhandle *h;
	struct buf *b;
	int err;

	err = inode_buf(inode, &b);
	if (err)
		return err;
	di = (struct ocfs2_dinode *)b->data;
	err = jh_begin(inode->vol, 1, &h);
	if (err)
		goto out;
	err = jh_write(h, b, inode);
	if (!err) {
		if (size < inode->size)
			memset(di->id2.i_data.id_data + size, 0, (size_t)(inode->size - size));
		inode->size = size;
		file_touch(inode);
		err = inode_store(h, inode);
		inode->datasync_tid = inode->sync_tid;
		err = file_end(h, err, true, "resizing inline data");
	} else {
		err = file_end(h, err, false, NULL);
	}
out:
	bc_put(b);
	return err;
}

/* ---- inline to extents ----------------------------------------------------------- */

static int convert_in(struct jhandle *h, struct vol_inode *inode, struct buf *b,
		      struct reservation *r, uint32_t cluster)
{
	struct ocfs2_dinode *di = (struct ocfs2_dinode *)b->data;
	struct extent e = { .len = 1, .blkno = (blkno_t)cluster * inode->vol->bpc };
	struct xtree t;
	int err;

	inode->dyn_features &= (uint16_t)~OCFS2_INLINE_DATA_FL;
	memset(&di->id2, 0, body_room(inode->vol, di));
	di->i_last_eb_blk = 0;
	di->id2.i_list.l_count = htole16((uint16_t)((body_room(inode->vol, di) -
						     offsetof(struct ocfs2_extent_list, l_recs)) /
						    sizeof(struct ocfs2_extent_rec)));
	if (r->clusters) {
		err = claim_planned(h, r, cluster, 1);
		xtree_dinode(&t, inode, b);
		if (!err)
			err = xtree_insert(h, &t, &e, r);
		if (err)
			return err;
	}
	err = inode_store(h, inode);
	inode->datasync_tid = inode->sync_tid;
	return err;
}

/* The old bytes, zero-padded, go to a cluster nobody refers to yet. */
static int convert_data(struct vol_inode *inode, const struct ocfs2_dinode *di, uint32_t cluster)
{
	uint64_t dev = (uint64_t)cluster << inode->vol->info.clustersize_bits;
	uint8_t *copy = blockdev_alloc(DATA_UNIT);
	int err;

	if (!copy)
		return -ENOMEM;
	memcpy(copy, di->id2.i_data.id_data, (size_t)inode->size);
	err = blockdev_write(inode->vol->dev, copy, DATA_UNIT, dev);
	free(copy);
	return err;
}

int inline_convert(struct vol_inode *inode)
{
	struct reservation r = { 0 };
	uint32_t cluster = 0, got;
	struct jhandle *h;
	struct buf *b;
	int err;

	err = inode_buf(inode, &b);
	if (err)
		return err;
	if (!inline_fits(inode, (struct ocfs2_dinode *)b->data, inode->size))
		err = vol_damaged(inode->vol, "inline data larger than its room inode=%llu",
				  (unsigned long long)inode->blkno);
	if (!err && inode->size) {
		err = reserve_clusters(inode->vol, 1, &r);
		if (!err)
			err = plan_clusters(&r, 1, &cluster, &got);
		if (!err)
			err = convert_data(inode, (struct ocfs2_dinode *)b->data, cluster);
	}
	if (!err)
		err = jh_begin(inode->vol, 2 + reservation_credits(&r), &h);
	if (!err) {
		bool changed = false;

		err = jh_write(h, b, inode);
		if (!err) {
			changed = true;
			err = convert_in(h, inode, b, &r, cluster);
		}
		err = file_end(h, err, changed, "converting inline data");
	}
	reservation_release(inode->vol, &r);
	bc_put(b);
	return err;
}
