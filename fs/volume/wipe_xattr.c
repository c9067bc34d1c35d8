/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * wipe_xattr.c: free what extended attributes of an orphan hold (doc/spec/disk.md 7.1,
 * 7.2).
 *
 * Values above 80 bytes have clusters of their own, under a small tree whose root lies
 * beside the name, in the inode or in the external block. The external block itself
 * goes back to its allocator; what lies in the inode goes with it. Offsets come from
 * the disk and are checked against the region before they are followed.
 */
#include <errno.h>

#include "fs/volume/dir_int.h"

/* Where entries and values lie. */
struct region {
	struct buf *b;
	struct ocfs2_xattr_header *header;
	unsigned len;
};

static int bad_xattr(struct vol_inode *inode, const struct buf *b, const char *what)
{
	return vol_damaged(inode->vol, "extended attributes: %s inode=%llu block=%llu", what,
			   (unsigned long long)inode->blkno, (unsigned long long)b->blkno);
}

static int value_root(struct vol_inode *inode, const struct region *g,
		      const struct ocfs2_xattr_entry *e, struct ocfs2_xattr_value_root **root)
{
	unsigned at = le16toh(e->xe_name_offset) + OCFS2_XATTR_SIZE(e->xe_name_len);
	const unsigned size = sizeof(**root) + sizeof(struct ocfs2_extent_rec);

	if (at > g->len || g->len - at < size)
		return bad_xattr(inode, g->b, "a value lies outside its region");
	*root = (struct ocfs2_xattr_value_root *)((uint8_t *)g->header + at);
	if (le16toh((*root)->xr_list.l_count) != 1)
		return bad_xattr(inode, g->b, "a value has an impossible extent list");
	return 0;
}

static int drop_values(struct vol_inode *inode, const struct region *g)
{
	unsigned n = le16toh(g->header->xh_count);
	struct dealloc d = { 0 };
	int err = 0, freed;

	if (n > (g->len - sizeof(*g->header)) / sizeof(struct ocfs2_xattr_entry))
		return bad_xattr(inode, g->b, "more entries than room");
	for (unsigned i = 0; !err && i < n; i++) {
		struct ocfs2_xattr_entry *e = &g->header->xh_entries[i];
		struct ocfs2_xattr_value_root *root = NULL;
		struct xtree t;

		if (ocfs2_xattr_is_local(e))
			continue;
		err = value_root(inode, g, e, &root);
		if (err)
			break;
		t = (struct xtree){
			.owner = inode,
			.root = g->b,
			.list = &root->xr_list,
			.last_eb = &root->xr_last_eb_blk,
			.clusters = &root->xr_clusters,
		};
		err = tree_drop(inode->vol, &t, &d);
	}
	freed = dealloc_run(inode->vol, &d);
	return err ? err : freed;
}

static int read_external(struct vol_inode *inode, struct buf **b)
{
	blkno_t blkno;
	struct buf *di;
	int err;

	*b = NULL;
	err = inode_buf(inode, &di);
	if (err)
		return err;
	blkno = le64toh(((struct ocfs2_dinode *)di->data)->i_xattr_loc);
	if (blkno && (blkno <= OCFS2_SUPER_BLOCK_BLKNO || blkno >= inode->vol->info.blocks))
		err = bad_xattr(inode, di, "the external block is outside the volume");
	else if (blkno)
		err = bc_read(inode->vol, blkno, BLK_XATTR, inode, b);
	bc_put(di);
	return err;
}

bool wipe_xattrs_indexed(struct vol_inode *inode)
{
	bool indexed;
	struct buf *b;

	if (read_external(inode, &b) || !b)
		return false;	/* an error is met again, and reported, by wipe_xattrs */
	indexed = le16toh(((struct ocfs2_xattr_block *)b->data)->xb_flags) & OCFS2_XATTR_INDEXED;
	bc_put(b);
	return indexed;
}

static int drop_inline(struct vol_inode *inode)
{
	struct vol *v = inode->vol;
	struct region g;
	unsigned len;
	int err;

	if (!(inode->dyn_features & OCFS2_INLINE_XATTR_FL))
		return 0;
	err = inode_buf(inode, &g.b);
	if (err)
		return err;
	len = le16toh(((struct ocfs2_dinode *)g.b->data)->i_xattr_inline_size);
	if (len < sizeof(*g.header) || len > v->blocksize - offsetof(struct ocfs2_dinode, id2)) {
		err = bad_xattr(inode, g.b, "the region in the inode has an impossible size");
	} else {
		g.header = (struct ocfs2_xattr_header *)(g.b->data + v->blocksize - len);
		g.len = len;
		err = drop_values(inode, &g);
	}
	bc_put(g.b);
	return err;
}

static void forget_external(struct vol_inode *inode, struct ocfs2_dinode *di)
{
	(void)inode;
	di->i_xattr_loc = 0;
}

static int drop_external(struct vol_inode *inode)
{
	struct ocfs2_xattr_block *xb;
	struct suballoc_pos pos;
	struct region g;
	int err;

	err = read_external(inode, &g.b);
	if (err || !g.b)
		return err;
	xb = (struct ocfs2_xattr_block *)g.b->data;
	g.header = &xb->xb_attrs.xb_header;
	g.len = inode->vol->blocksize - (unsigned)offsetof(struct ocfs2_xattr_block, xb_attrs);
	pos = (struct suballoc_pos){
		.blkno = g.b->blkno,
		.loc = le64toh(xb->xb_suballoc_loc),
		.slot = le16toh(xb->xb_suballoc_slot),
		.bit = le16toh(xb->xb_suballoc_bit),
	};
	err = le16toh(xb->xb_flags) & OCFS2_XATTR_INDEXED ? -EOPNOTSUPP : drop_values(inode, &g);
	bc_put(g.b);
	return err ? err : meta_block_drop(inode, &pos, forget_external);
}

int wipe_xattrs(struct vol_inode *inode)
{
	int err = drop_inline(inode);

	return err ? err : drop_external(inode);
}
