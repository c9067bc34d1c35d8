/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * xattr.c: where extended attributes of an inode are; get and list (doc/spec/disk.md
 * 7.1).
 *
 * A name is in one place at most: the end of the inode's block, or the external block,
 * or the buckets that the external block has an index of. They are looked at in this
 * order. A large value lies in clusters that are journaled like metadata, so it is read
 * through the cache of blocks.
 */
#include <errno.h>
#include <string.h>
#include "fs/volume/xattr_int.h"

int xattr_damaged(struct vol_inode *inode, blkno_t where, const char *what)
{
	return vol_damaged(inode->vol, "extended attributes: %s inode=%llu block=%llu", what,
			   (unsigned long long)inode->blkno, (unsigned long long)where);
}

int xattr_inline_region(struct vol_inode *inode, struct buf *di, struct xregion *g)
{
	struct vol *v = inode->vol;
	const char *what;
	unsigned len;

	g->header = NULL;
	if (!(inode->dyn_features & OCFS2_INLINE_XATTR_FL))
		return 0;
	len = le16toh(((struct ocfs2_dinode *)di->data)->i_xattr_inline_size);
	if (len < sizeof(*g->header) || len % 8 ||
	    len > v->blocksize - offsetof(struct ocfs2_dinode, id2))
		return xattr_damaged(inode, di->blkno, "the region in the inode has an impossible size");
	g->header = (struct ocfs2_xattr_header *)(di->data + v->blocksize - len);
	g->len = len;
	what = xregion_check(g);
	return what ? xattr_damaged(inode, di->blkno, what) : 0;
}

int xattr_external(struct vol_inode *inode, struct buf *di, struct buf **b)
{
	blkno_t blkno = le64toh(((struct ocfs2_dinode *)di->data)->i_xattr_loc);

	*b = NULL;
	if (!blkno)
		return 0;
	if (blkno <= OCFS2_SUPER_BLOCK_BLKNO || blkno >= vol_block_limit(inode->vol))
		return xattr_damaged(inode, di->blkno, "the external block is outside the volume");
	return bc_read(inode->vol, blkno, BLK_XATTR, inode, b);
}

bool xattr_is_indexed(const struct buf *b)
{
	return le16toh(((const struct ocfs2_xattr_block *)b->data)->xb_flags) & OCFS2_XATTR_INDEXED;
}

struct suballoc_pos xattr_block_pos(const struct buf *b)
{
	const struct ocfs2_xattr_block *xb = (const void *)b->data;

	return (struct suballoc_pos){
		.blkno = b->blkno,
		.loc = le64toh(xb->xb_suballoc_loc),
		.slot = le16toh(xb->xb_suballoc_slot),
		.bit = le16toh(xb->xb_suballoc_bit),
	};
}

int xattr_block_region(struct vol_inode *inode, struct buf *b, struct xregion *g)
{
	const char *what;

	g->header = &((struct ocfs2_xattr_block *)b->data)->xb_attrs.xb_header;
	g->len = inode->vol->blocksize - (unsigned)offsetof(struct ocfs2_xattr_block, xb_attrs);
	what = xregion_check(g);
	return what ? xattr_damaged(inode, b->blkno, what) : 0;
}

/* ---- values ------------------------------------------------------------------------ */

void xvalue_open(struct xvalue *x, struct vol_inode *inode, struct buf *b,
		 const struct xvalue_root *root)
{
	x->root = *root;
	x->t = (struct xtree){
		.owner = inode,
		.root = b,
		.list = &x->root.r.xr_list,
		.last_eb = &x->root.r.xr_last_eb_blk,
		.clusters = &x->root.r.xr_clusters,
	};
}

uint32_t xvalue_clusters(const struct xvalue *x)
{
	return le32toh(x->root.r.xr_clusters);
}

int xvalue_cut(struct jhandle *h, struct xvalue *x, uint32_t keep, struct dealloc *d, bool *more)
{
	struct vol *v = x->t.owner->vol;
	struct extent e;
	uint32_t cut;
	int err = xtree_last(&x->t, &e);

	*more = false;
	if (err)
		return err == -ENOENT && keep == 0 ? 0 : err;
	cut = e.cpos > keep ? e.cpos : keep;
	if (e.cpos + e.len <= cut)
		return 0;
	*more = cut > keep;
	err = tl_append(h, (uint32_t)(e.blkno / v->bpc) + cut - e.cpos, e.cpos + e.len - cut);
	return err ? err : xtree_remove(h, &x->t, cut, e.cpos + e.len - cut, NULL, d);
}

static int copy_clusters(struct vol_inode *inode, struct xtree *t, uint8_t *to, size_t size)
{
	struct vol *v = inode->vol;
	int err;

	for (size_t done = 0; done < size;) {
		size_t in_cluster = done % v->clustersize;
		size_t part = size - done < v->blocksize ? size - done : v->blocksize;
		uint32_t cpos = (uint32_t)(done / v->clustersize);
		struct extent e;
		struct buf *b;

		err = xtree_lookup(t, cpos, &e);
		if (err)
			return err;
		if (e.blkno == 0)
			return xattr_damaged(inode, t->root->blkno, "a value ends before its size");
		err = bc_read(v, e.blkno + (blkno_t)(cpos - e.cpos) * v->bpc + in_cluster / v->blocksize,
			      BLK_RAW, inode, &b);
		if (err)
			return err;
		memcpy(to + done, b->data, part);
		bc_put(b);
		done += part;
	}
	return 0;
}

int xattr_copy_value(struct vol_inode *inode, struct buf *b, const struct xregion *g,
		     const struct ocfs2_xattr_entry *e, void *to, size_t room, size_t *size)
{
	struct xvalue_root root;
	struct xvalue x;

	*size = (size_t)le64toh(e->xe_value_size);
	if (*size > room)
		return -ERANGE;
	if (*size == 0)
		return 0;
	if (*size <= XATTR_LOCAL_MAX) {
		memcpy(to, xentry_value(g, e), *size);
		return 0;
	}
	root = xentry_root(g, e);
	xvalue_open(&x, inode, b, &root);
	return copy_clusters(inode, &x.t, to, *size);
}

/* ---- get ---------------------------------------------------------------------------- */

struct get {
	struct vol_inode *inode;
	struct xname name;
	void *to;
	size_t room, *size;
};

static int get_in(void *ctx, struct buf *b, const struct xregion *g)
{
	struct get *get = ctx;
	unsigned i;
	int err = xregion_find(g, &get->name, &i);

	if (err)
		return err;
	return xattr_copy_value(get->inode, b, g, xregion_entry(g, i), get->to, get->room, get->size);
}

static int get_external(struct vol_inode *inode, struct buf *di, struct get *get)
{
	struct xregion g;
	struct buf *b;
	int err = xattr_external(inode, di, &b);

	if (err)
		return err;
	if (!b)
		return -ENODATA;
	if (xattr_is_indexed(b)) {
		err = xbucket_at(inode, b, xattr_hash(inode->vol->uuid_hash, get->name.name, get->name.len),
				 get_in, get);
	} else {
		err = xattr_block_region(inode, b, &g);
		if (!err)
			err = get_in(get, b, &g);
	}
	bc_put(b);
	return err;
}

int vol_getxattr(struct vol_inode *inode, uint8_t index, const char *name, void *to, size_t room,
		 size_t *size)
{
	struct get get = { inode, { index, name, (unsigned)strlen(name) }, to, room, size };
	struct xregion g;
	struct buf *di;
	int err;

	if (get.name.len > VOL_XATTR_NAME_MAX)
		return -ERANGE;
	pthread_rwlock_rdlock(&inode->sem);
	err = inode->dyn_features & OCFS2_HAS_XATTR_FL ? inode_buf(inode, &di) : -ENODATA;
	if (!err) {
		err = xattr_inline_region(inode, di, &g);
		if (!err)
			err = g.header ? get_in(&get, di, &g) : -ENODATA;
		if (err == -ENODATA)
			err = get_external(inode, di, &get);
		bc_put(di);
	}
	pthread_rwlock_unlock(&inode->sem);
	return err;
}

/* ---- list --------------------------------------------------------------------------- */

struct list {
	vol_xattr_fn fn;
	void *ctx;
};

static int list_in(void *ctx, struct buf *b, const struct xregion *g)
{
	struct list *list = ctx;
	int err = 0;

	(void)b;
	for (unsigned i = 0; !err && i < xregion_count(g); i++) {
		struct ocfs2_xattr_entry *e = xregion_entry(g, i);

		err = list->fn(list->ctx, (uint8_t)ocfs2_xattr_get_type(e), xentry_name(g, e),
			       e->xe_name_len);
	}
	return err;
}

static int list_external(struct vol_inode *inode, struct buf *di, struct list *list)
{
	struct xregion g;
	struct buf *b;
	int err = xattr_external(inode, di, &b);

	if (err || !b)
		return err;
	if (xattr_is_indexed(b)) {
		err = xbucket_each(inode, b, list_in, list);
	} else {
		err = xattr_block_region(inode, b, &g);
		if (!err)
			err = list_in(list, b, &g);
	}
	bc_put(b);
	return err;
}

int vol_listxattr(struct vol_inode *inode, vol_xattr_fn fn, void *ctx)
{
	struct list list = { fn, ctx };
	struct xregion g;
	struct buf *di;
	int err = 0;

	pthread_rwlock_rdlock(&inode->sem);
	if (!(inode->dyn_features & OCFS2_HAS_XATTR_FL))
		goto out;
	err = inode_buf(inode, &di);
	if (err)
		goto out;
	err = xattr_inline_region(inode, di, &g);
	if (!err && g.header)
		err = list_in(&list, di, &g);
	if (!err)
		err = list_external(inode, di, &list);
	bc_put(di);
out:
	pthread_rwlock_unlock(&inode->sem);
	return err;
}
