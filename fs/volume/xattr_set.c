/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * xattr_set.c: set and remove extended attributes (doc/spec/disk.md 7.1, 7.2, 11.7).
 *
 * One transaction: a crash shows the old value or the new one. The blocks of a large
 * value are journaled, so a new value is written over the clusters of the old one; only
 * the difference is claimed or goes to the truncate log, never both. The entry moves by
 * being deleted and appended, with its root, whose extent blocks do not point back.
 *
 * Place: where the name is now, else the end of the inode, else the external block;
 * both are made when they are first needed, and stay. Indexed attributes are not
 * changed here.
 */
#include <errno.h>
#include <string.h>
#include "fs/volume/dir_int.h"
#include "fs/volume/file_int.h"
#include "fs/volume/xattr_int.h"

enum { NOWHERE = ~0u, HEADER = sizeof(struct ocfs2_xattr_header) };

struct place {
	struct buf *b;
	struct xregion g;	/* header NULL: not there yet */
	unsigned old;		/* entry of the name, or NOWHERE */
};

struct change {
	struct vol_inode *inode;
	const struct vol_xattr_set *what;
	struct xname name;
	struct place in, ext;	/* inode, external block */
	bool indexed;
	struct place *from, *to;	/* NULL: it is new; it goes */
	struct xvalue_root root;	/* of the value; an empty one if it had none */
	uint32_t had, wants;		/* clusters of the value */
	struct reservation r;
	struct dealloc freed;
};

static struct ocfs2_dinode *dinode(struct change *c)
{
	return (struct ocfs2_dinode *)c->in.b->data;
}

/* ---- where it is ------------------------------------------------------------------ */

static int found_in_bucket(void *ctx, struct buf *b, const struct xregion *g)
{
	unsigned i;

	(void)b;
	return xregion_find(g, ctx, &i);
}

static int look_in(struct place *p, const struct xname *name)
{
	int err;

	p->old = NOWHERE;
	if (!p->g.header)
		return 0;
	err = xregion_find(&p->g, name, &p->old);
	return err == -ENODATA ? 0 : err;
}

static int locate(struct change *c)
{
	struct vol_inode *inode = c->inode;
	int err = inode_buf(inode, &c->in.b);

	if (!err)
		err = xattr_inline_region(inode, c->in.b, &c->in.g);
	if (!err)
		err = look_in(&c->in, &c->name);
	if (!err)
		err = xattr_external(inode, c->in.b, &c->ext.b);
	c->ext.old = NOWHERE;
	if (err || !c->ext.b)
		goto out;
	c->indexed = xattr_is_indexed(c->ext.b);
	if (c->indexed) {
		err = xbucket_at(inode, c->ext.b,
				 xattr_hash(inode->vol->uuid_hash, c->name.name, c->name.len),
				 found_in_bucket, &c->name);
		return err == -ENODATA ? 0 : err ? err : -EOPNOTSUPP;
	}
	err = xattr_block_region(inode, c->ext.b, &c->ext.g);
	if (!err)
		err = look_in(&c->ext, &c->name);
out:
	c->from = c->in.old != NOWHERE ? &c->in : c->ext.old != NOWHERE ? &c->ext : NULL;
	return err;
}

static struct ocfs2_xattr_entry *old_entry(struct change *c)
{
	return xregion_entry(&c->from->g, c->from->old);
}

/* ---- where it goes ---------------------------------------------------------------- */

/* Bytes that the body of an inode could give away at its end. */
static unsigned body_to_spare(struct change *c)
{
	const struct ocfs2_dinode *di = dinode(c);
	struct vol_inode *inode = c->inode;
	unsigned room = inode_body_bytes(inode->vol, di), used;

	if (inode->dyn_features & OCFS2_INLINE_DATA_FL)
		used = (unsigned)offsetof(struct ocfs2_inline_data, id_data) + (unsigned)inode->size;
	else if (S_ISLNK(inode->mode) && inode->clusters == 0)
		used = (unsigned)inode->size + 1;
	else
		used = (unsigned)(offsetof(struct ocfs2_extent_list, l_recs) +
				  le16toh(di->id2.i_list.l_next_free_rec) *
					  sizeof(struct ocfs2_extent_rec));
	return used < room ? room - used : 0;
}

static bool empty_fits(unsigned len, unsigned need)
{
	return HEADER + sizeof(struct ocfs2_xattr_entry) + XATTR_GAP + need <= len;
}

static bool fits_inline(struct change *c, unsigned need)
{
	const struct vol *v = c->inode->vol;

	if (c->in.g.header)
		return xregion_fits(&c->in.g, c->in.old, need);
	return v->blocksize > OCFS2_MIN_BLOCKSIZE && body_to_spare(c) >= v->xattr_inline_size &&
	       empty_fits(v->xattr_inline_size, need);
}

static unsigned block_room(const struct vol *v)
{
	return v->blocksize - (unsigned)offsetof(struct ocfs2_xattr_block, xb_attrs);
}

static bool fits_external(struct change *c, unsigned need)
{
	if (c->indexed)
		return false;
	if (c->ext.g.header)
		return xregion_fits(&c->ext.g, c->ext.old, need);
	return empty_fits(block_room(c->inode->vol), need);
}

static int choose(struct change *c)
{
	const struct vol_xattr_set *w = c->what;
	unsigned need;

	if (c->from && w->create)
		return -EEXIST;
	if (!c->from && (w->replace || !w->value))
		return -ENODATA;
	if (c->from && !ocfs2_xattr_is_local(old_entry(c))) {
		c->root = xentry_root(&c->from->g, old_entry(c));
		c->had = le32toh(c->root.r.xr_clusters);
	}
	/* Its clusters may be those of another file as well. */
	if (c->had && (c->inode->dyn_features & OCFS2_HAS_REFCOUNT_FL))
		return -EOPNOTSUPP;
	if (!w->value)
		return 0;
	if (w->size > XATTR_LOCAL_MAX)
		c->wants = (uint32_t)((w->size + c->inode->vol->clustersize - 1) /
				      c->inode->vol->clustersize);
	need = xregion_need(c->name.len, w->size);
	if (c->from == &c->ext && fits_external(c, need))
		c->to = &c->ext;
	else if (fits_inline(c, need))
		c->to = &c->in;
	else if (fits_external(c, need))
		c->to = &c->ext;
	else
		return c->indexed ? -EOPNOTSUPP : -ENOSPC;
	return 0;
}

/* ---- reservations ------------------------------------------------------------------- */

static unsigned value_blocks(const struct change *c)
{
	unsigned bs = c->inode->vol->blocksize;

	return c->wants ? (unsigned)(c->what->size + bs - 1) / bs : 0;
}

/* Credits in *credits. tl_done is due if *log. */
static int prepare(struct change *c, unsigned *credits, bool *log)
{
	uint32_t more = c->wants > c->had ? c->wants - c->had : 0;
	uint32_t less = c->had > c->wants ? c->had - c->wants : 0;
	struct vol *v = c->inode->vol;
	unsigned meta = c->to == &c->ext && !c->ext.b;
	struct xvalue x;
	int err = 0;

	/* dinode, old and new external block */
	*credits = 2 + meta + value_blocks(c);
	xvalue_open(&x, c->inode, c->from ? c->from->b : c->in.b, &c->root);
	if (more) {
		meta += xtree_meta_needed(&x.t, more);
		*credits += xtree_credits_from(&x.t, c->had, more);
	}
	if (less)
		*credits += xtree_trim_credits(&x.t, less) + TL_CREDITS;
	if (meta)
		err = reserve_meta(v, meta, &c->r);
	if (!err && more)
		err = reserve_clusters(v, more, &c->r);
	if (!err && less) {
		err = tl_prepare(v, less);
		*log = !err;
	}
	*credits += reservation_credits(&c->r);
	return err;
}

/* ---- the change ------------------------------------------------------------------- */

static void make_inline(struct change *c)
{
	struct ocfs2_dinode *di = dinode(c);
	struct vol_inode *inode = c->inode;
	unsigned len = inode->vol->xattr_inline_size;

	if (inode->dyn_features & OCFS2_INLINE_DATA_FL)
		di->id2.i_data.id_count = htole16((uint16_t)(le16toh(di->id2.i_data.id_count) - len));
	else if (!(S_ISLNK(inode->mode) && inode->clusters == 0))
		di->id2.i_list.l_count = htole16((uint16_t)(le16toh(di->id2.i_list.l_count) -
							    len / sizeof(struct ocfs2_extent_rec)));
	di->i_xattr_inline_size = htole16((uint16_t)len);
	inode->dyn_features |= OCFS2_INLINE_XATTR_FL;
	c->in.g = (struct xregion){ (void *)(c->in.b->data + inode->vol->blocksize - len), len };
	memset(c->in.g.header, 0, len);
}

static int make_block(struct jhandle *h, struct change *c)
{
	struct vol *v = c->inode->vol;
	struct ocfs2_xattr_block *xb;
	struct suballoc_pos pos;
	int err;

	err = claim_meta(h, &c->r, &pos);
	if (!err)
		err = bc_new(v, pos.blkno, BLK_XATTR, c->inode, &c->ext.b);
	if (!err)
		err = jh_write(h, c->ext.b, c->inode);
	if (err)
		return err;
	xb = (struct ocfs2_xattr_block *)c->ext.b->data;
	memcpy(xb->xb_signature, OCFS2_XATTR_BLOCK_SIGNATURE, sizeof(OCFS2_XATTR_BLOCK_SIGNATURE));
	xb->xb_suballoc_slot = htole16(pos.slot);
	xb->xb_suballoc_bit = htole16(pos.bit);
	xb->xb_suballoc_loc = htole64(pos.loc);
	xb->xb_fs_generation = htole32(v->info.fs_generation);
	xb->xb_blkno = htole64(pos.blkno);
	dinode(c)->i_xattr_loc = htole64(pos.blkno);
	c->ext.g = (struct xregion){ &xb->xb_attrs.xb_header, block_room(v) };
	return 0;
}

/* Clusters from the end of the old value to the truncate log. */
static int shrink(struct jhandle *h, struct change *c)
{
	struct xvalue x;
	bool more = true;
	int err = 0;

	xvalue_open(&x, c->inode, c->from->b, &c->root);
	while (!err && more)
		err = xvalue_cut(h, &x, c->wants, &c->freed, &more);
	if (!err && xvalue_clusters(&x) != c->wants)
		err = xattr_damaged(c->inode, c->from->b->blkno, "a value counts wrong clusters");
	c->root = x.root;
	return err;
}

static int grow(struct jhandle *h, struct change *c, struct xtree *t)
{
	int err = 0;

	for (uint32_t at = c->had; !err && at < c->wants;) {
		uint32_t cluster, got;
		struct extent e;

		err = claim_clusters(h, &c->r, c->wants - at, &cluster, &got);
		if (err)
			break;
		e = (struct extent){ .cpos = at, .len = got,
				     .blkno = (blkno_t)cluster * c->inode->vol->bpc };
		err = xtree_insert(h, t, &e, &c->r);
		at += got;
	}
	return err;
}

/* Over what the value has had; clusters beyond that have no content yet. */
static int write_blocks(struct jhandle *h, struct change *c, struct xtree *t)
{
	struct vol *v = c->inode->vol;
	const uint8_t *from = c->what->value;
	size_t size = c->what->size;
	int err = 0;

	for (size_t done = 0; !err && done < size; done += v->blocksize) {
		size_t part = size - done < v->blocksize ? size - done : v->blocksize;
		uint32_t cpos = (uint32_t)(done / v->clustersize);
		struct extent e;
		struct buf *b;
		blkno_t blkno;

		err = xtree_lookup(t, cpos, &e);
		if (!err && !e.blkno)
			err = xattr_damaged(c->inode, t->root->blkno, "a value counts wrong clusters");
		if (err)
			return err;
		blkno = e.blkno + (blkno_t)(cpos - e.cpos) * v->bpc +
			done % v->clustersize / v->blocksize;
		err = cpos < c->had ? bc_read(v, blkno, BLK_RAW, c->inode, &b) :
				      bc_new(v, blkno, BLK_RAW, c->inode, &b);
		if (err)
			return err;
		err = jh_write(h, b, c->inode);
		if (!err) {
			memcpy(b->data, from + done, part);
			memset(b->data + part, 0, v->blocksize - part);
		}
		bc_put(b);
	}
	return err;
}

static int put_value(struct jhandle *h, struct change *c)
{
	const struct xregion *g = &c->to->g;
	struct ocfs2_xattr_entry *e;
	struct xvalue x;
	int err;

	e = xregion_append(g, &c->name,
			   xattr_hash(c->inode->vol->uuid_hash, c->name.name, c->name.len),
			   c->what->size);
	if (!c->wants) {
		memcpy(xentry_value(g, e), c->what->value, c->what->size);
		return 0;
	}
	xvalue_open(&x, c->inode, c->to->b, &c->root);
	err = grow(h, c, &x.t);
	if (!err)
		err = write_blocks(h, c, &x.t);
	memcpy(xentry_value(g, e), &x.root, sizeof(x.root));
	return err;
}

static int change_in(struct jhandle *h, struct change *c)
{
	struct vol_inode *inode = c->inode;
	int err = 0;

	if (c->had > c->wants)
		err = shrink(h, c);
	if (!err && c->to == &c->in && !c->in.g.header)
		make_inline(c);
	if (!err && c->to == &c->ext && !c->ext.b)
		err = make_block(h, c);
	if (err)
		return err;
	if (c->from)
		xregion_delete(&c->from->g, c->from->old);
	if (c->to)
		err = put_value(h, c);
	if (err)
		return err;
	inode->dyn_features |= OCFS2_HAS_XATTR_FL;
	if (c->what->set_mode)
		inode->mode = (uint16_t)((inode->mode & S_IFMT) | (c->what->mode & 07777));
	inode->ctime = vol_now();
	return inode_store(h, inode);
}

static int change_locked(struct change *c)
{
	struct vol *v = c->inode->vol;
	unsigned credits;
	struct jhandle *h;
	bool log = false;
	int err, freed;

	err = locate(c);
	if (!err)
		err = choose(c);
	if (!err)
		err = prepare(c, &credits, &log);
	if (!err)
		err = jh_begin(v, credits, &h);
	if (!err) {
		err = jh_write(h, c->in.b, c->inode);
		if (!err && c->ext.b)
			err = jh_write(h, c->ext.b, c->inode);
		if (err)
			err = jh_finish(h, err, true, NULL);
		else
			err = jh_end_or_abort(h, change_in(h, c), "extended attributes could not be changed");
	}
	if (log)
		tl_done(v);
	reservation_release(v, &c->r);
	freed = dealloc_run(v, &c->freed);
	return err ? err : freed;
}

int vol_setxattr(struct vol_inode *inode, const struct vol_xattr_set *what)
{
	struct change c = {
		.inode = inode,
		.what = what,
		.name = { what->index, what->name, (unsigned)strlen(what->name) },
		.root.r.xr_list.l_count = htole16(1),
	};
	int err;

	if (!vol_has_incompat(inode->vol, OCFS2_FEATURE_INCOMPAT_XATTR))
		return -EOPNOTSUPP;
	if (c.name.len > VOL_XATTR_NAME_MAX)
		return -ERANGE;
	if (what->value && what->size > VOL_XATTR_SIZE_MAX)
		return -E2BIG;
	pthread_rwlock_wrlock(&inode->sem);
	err = file_may_change(inode);
	if (!err)
		err = change_locked(&c);
	bc_put(c.in.b);
	bc_put(c.ext.b);
	pthread_rwlock_unlock(&inode->sem);
	return err;
}
