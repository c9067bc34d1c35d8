/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * xattr_bucket.c: indexed extended attributes, to read (doc/spec/disk.md 7.3).
 *
 * A tree keyed by the hash of the name leads to runs of buckets; the first bucket of a
 * run says how many of them are in use. A bucket is 4096 bytes whatever the block size
 * is, with one checksum over all its blocks, so it is copied together before it is
 * looked at.
 */
#include <errno.h>
#include <string.h>
#include "fs/volume/ecc.h"
#include "fs/volume/xattr_int.h"

struct bucket {
	struct buf buf;		/* a copy: only ever read */
	uint8_t data[XATTR_BUCKET] __attribute__((aligned(8)));
	struct xregion region;
};

static int bucket_read(struct vol_inode *inode, blkno_t blkno, struct bucket *k)
{
	struct vol *v = inode->vol;
	const char *what;
	int err;

	for (unsigned at = 0; at < XATTR_BUCKET; at += v->blocksize) {
		struct buf *b;

		err = bc_read(v, blkno + at / v->blocksize, BLK_RAW, inode, &b);
		if (err)
			return err;
		memcpy(k->data + at, b->data, v->blocksize);
		bc_put(b);
	}
	if (vol_has_incompat(v, OCFS2_FEATURE_INCOMPAT_META_ECC) &&
	    ecc_verify(k->data, XATTR_BUCKET, offsetof(struct ocfs2_xattr_header, xh_check)) < 0)
		return xattr_damaged(inode, blkno, "a bucket is damaged beyond its checksum");
	k->buf = (struct buf){ .blkno = blkno, .data = k->data, .type = BLK_RAW };
	k->region = (struct xregion){ (struct ocfs2_xattr_header *)k->data, XATTR_BUCKET };
	what = xregion_check(&k->region);
	return what ? xattr_damaged(inode, blkno, what) : 0;
}

static int index_tree(struct vol_inode *inode, struct buf *xb, struct xtree *t)
{
	struct ocfs2_xattr_tree_root *root =
		&((struct ocfs2_xattr_block *)xb->data)->xb_attrs.xb_root;
	unsigned room = inode->vol->blocksize -
			(unsigned)offsetof(struct ocfs2_xattr_block, xb_attrs.xb_root.xt_list.l_recs);

	*t = (struct xtree){
		.owner = inode,
		.root = xb,
		.list = &root->xt_list,
		.last_eb = &root->xt_last_eb_blk,
		.clusters = &root->xt_clusters,
		.is_dx = true,
	};
	if (le16toh(root->xt_list.l_count) > room / sizeof(struct ocfs2_extent_rec) ||
	    le16toh(root->xt_list.l_next_free_rec) > le16toh(root->xt_list.l_count))
		return xattr_damaged(inode, xb->blkno, "the index has an impossible extent list");
	return 0;
}

/* Buckets in use in the run e, whose first one is in k. */
static int buckets_in(struct vol_inode *inode, const struct extent *e, const struct bucket *k,
		      unsigned *n)
{
	*n = le16toh(k->region.header->xh_num_buckets);
	if (*n == 0 || *n > (uint64_t)e->len * inode->vol->clustersize / XATTR_BUCKET)
		return xattr_damaged(inode, e->blkno, "a run of buckets has an impossible number");
	return 0;
}

static blkno_t bucket_block(const struct vol *v, const struct extent *e, unsigned i)
{
	return e->blkno + (blkno_t)i * (XATTR_BUCKET / v->blocksize);
}

static uint32_t first_hash(const struct bucket *k)
{
	return le32toh(xregion_entry(&k->region, 0)->xe_name_hash);
}

/* The last bucket of the run whose first hash is not larger; k holds it then. A run has at
 * most 64 KiB, and buckets that were emptied may lie between others: one by one. */
static int search_run(struct vol_inode *inode, const struct extent *e, uint32_t hash,
		      struct bucket *k)
{
	unsigned found = 0, n;
	int err = bucket_read(inode, e->blkno, k);

	if (!err)
		err = buckets_in(inode, e, k, &n);
	if (err)
		return err;
	for (unsigned i = 1; i < n; i++) {
		err = bucket_read(inode, bucket_block(inode->vol, e, i), k);
		if (err)
			return err;
		if (!xregion_count(&k->region))
			continue;
		if (first_hash(k) > hash)
			break;
		found = i;
	}
	return bucket_read(inode, bucket_block(inode->vol, e, found), k);
}

int xbucket_at(struct vol_inode *inode, struct buf *xb, uint32_t hash, xbucket_fn fn, void *ctx)
{
	struct bucket k;
	struct extent e;
	struct xtree t;
	int err = index_tree(inode, xb, &t);

	if (!err)
		err = xtree_floor(&t, hash, &e);
	if (!err)
		err = search_run(inode, &e, hash, &k);
	if (err)
		return err == -ENOENT ? -ENODATA : err;
	return fn(ctx, &k.buf, &k.region);
}

static int each_in_run(struct vol_inode *inode, const struct extent *e, xbucket_fn fn, void *ctx)
{
	struct bucket k;
	unsigned n = 1;
	int err = 0;

	for (unsigned i = 0; !err && i < n; i++) {
		err = bucket_read(inode, bucket_block(inode->vol, e, i), &k);
		if (!err && i == 0)
			err = buckets_in(inode, e, &k, &n);
		if (!err)
			err = fn(ctx, &k.buf, &k.region);
	}
	return err;
}

int xbucket_each(struct vol_inode *inode, struct buf *xb, xbucket_fn fn, void *ctx)
{
	uint32_t key = UINT32_MAX;
	struct extent e;
	struct xtree t;
	int err = index_tree(inode, xb, &t);

	/* From the last run to the first. */
	while (!err) {
		err = xtree_floor(&t, key, &e);
		if (err == -ENOENT)
			return 0;
		if (!err)
			err = each_in_run(inode, &e, fn, ctx);
		if (err || e.cpos == 0)
			break;
		key = e.cpos - 1;
	}
	return err;
}
