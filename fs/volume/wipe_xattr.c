/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * wipe_xattr.c: free what extended attributes of an orphan hold (doc/spec/disk.md 7.1,
 * 7.2).
 *
 * Values above 80 bytes have clusters of their own, under a small tree whose root lies
 * beside the name, in the inode or in the external block. The external block itself
 * goes back to its allocator; what lies in the inode goes with it.
 */
#include <errno.h>
#include <string.h>
#include "fs/volume/dir_int.h"
#include "fs/volume/xattr_int.h"

/* One record of a value: its clusters to the truncate log, one transaction. */
static int drop_record(struct vol_inode *inode, struct buf *b, uint8_t *at, struct dealloc *d,
		       bool *more)
{
	struct vol *v = inode->vol;
	struct xvalue_root root;
	struct jhandle *h;
	struct xvalue x;
	int err = tl_prepare(v, 1);

	if (err)
		return err;
	memcpy(&root, at, sizeof(root));
	xvalue_open(&x, inode, b, &root);
	err = jh_begin(v, 1 + xtree_trim_credits(&x.t, 1) + TL_CREDITS, &h);
	if (!err) {
		err = jh_write(h, b, inode);
		if (err) {
			err = jh_finish(h, err, true, NULL);
		} else {
			err = xvalue_cut(h, &x, 0, d, more);
			memcpy(at, &x.root, sizeof(x.root));
			err = jh_end_or_abort(h, err, "extents could not be freed");
		}
	}
	tl_done(v);
	return err;
}

/* g is in b. */
static int drop_values(struct vol_inode *inode, struct buf *b, const struct xregion *g)
{
	struct dealloc d = { 0 };
	int err = 0, freed;

	for (unsigned i = 0; !err && i < xregion_count(g); i++) {
		struct ocfs2_xattr_entry *e = xregion_entry(g, i);
		bool more = !ocfs2_xattr_is_local(e);

		while (!err && more)
			err = drop_record(inode, b, xentry_value(g, e), &d, &more);
	}
	freed = dealloc_run(inode->vol, &d);
	return err ? err : freed;
}

static int read_external(struct vol_inode *inode, struct buf **b)
{
	struct buf *di;
	int err = inode_buf(inode, &di);

	*b = NULL;
	if (err)
		return err;
	err = xattr_external(inode, di, b);
	bc_put(di);
	return err;
}

bool wipe_xattrs_indexed(struct vol_inode *inode)
{
	bool indexed;
	struct buf *b;

	if (read_external(inode, &b) || !b)
		return false;	/* an error is met again, and reported, by wipe_xattrs */
	indexed = xattr_is_indexed(b);
	bc_put(b);
	return indexed;
}

static int drop_inline(struct vol_inode *inode)
{
	struct xregion g;
	struct buf *di;
	int err = inode_buf(inode, &di);

	if (err)
		return err;
	err = xattr_inline_region(inode, di, &g);
	if (!err && g.header)
		err = drop_values(inode, di, &g);
	bc_put(di);
	return err;
}

static void forget_external(struct vol_inode *inode, struct ocfs2_dinode *di)
{
	(void)inode;
	di->i_xattr_loc = 0;
}

static int drop_external(struct vol_inode *inode)
{
	struct suballoc_pos pos;
	struct xregion g;
	struct buf *b;
	int err = read_external(inode, &b);

	if (err || !b)
		return err;
	pos = xattr_block_pos(b);
	err = xattr_is_indexed(b) ? -EOPNOTSUPP : xattr_block_region(inode, b, &g);
	if (!err)
		err = drop_values(inode, b, &g);
	bc_put(b);
	return err ? err : meta_block_drop(inode, &pos, forget_external);
}

int wipe_xattrs(struct vol_inode *inode)
{
	int err = drop_inline(inode);

	return err ? err : drop_external(inode);
}
