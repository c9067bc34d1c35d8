/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * dirgrow.c: room for a name, and the bodies of new directories (doc/spec/disk.md 5.9,
 * 11.6).
 *
 * dir_prepare runs before the handle of the operation that adds a name. It may take
 * several transactions (inline to block, one more block, index changes); each leaves
 * a complete directory with the same entries. The room stays until the caller uses
 * it, because the directory's sem is held for writing all the time.
 */
#include <errno.h>
#include <string.h>

#include "fs/volume/dir_int.h"

/* Inline to block, then at most one more block: the rest is an index that changes. */
#define MAX_ROUNDS 8

unsigned inode_body_bytes(const struct vol *v, const struct ocfs2_dinode *di)
{
	unsigned room = v->blocksize - (unsigned)offsetof(struct ocfs2_dinode, id2);
	unsigned xattr = le16toh(di->i_xattr_inline_size);

	if ((le16toh(di->i_dyn_features) & OCFS2_INLINE_XATTR_FL) && xattr < room)
		room -= xattr;
	return room;
}

void inode_init_list(const struct vol *v, struct ocfs2_dinode *di)
{
	unsigned room = inode_body_bytes(v, di);

	memset(&di->id2, 0, room);
	di->id2.i_list.l_count = htole16((uint16_t)(
		(room - offsetof(struct ocfs2_extent_list, l_recs)) /
		sizeof(struct ocfs2_extent_rec)));
	di->i_last_eb_blk = 0;
	di->i_clusters = 0;
}

/* A fresh block of dir, joined, with its trailer; *a is what records may tile. */
static int new_block(struct jhandle *h, struct vol_inode *dir, blkno_t blkno, bool trailer,
		     struct buf **b, struct de_area *a)
{
	struct ocfs2_dir_block_trailer *t;
	struct vol *v = dir->vol;
	int err;

	err = bc_new(v, blkno, BLK_DIR, dir, b);
	if (err)
		return err;
	err = jh_write(h, *b, dir);
	if (err) {
		bc_put(*b);
		return err;
	}
	*a = (struct de_area){ (*b)->data, v->blocksize - (trailer ? DIR_TRAILER_SIZE : 0) };
	if (trailer) {
		t = dir_trailer(v, *b);
		t->db_compat_rec_len = htole16(DIR_TRAILER_SIZE);
		memcpy(t->db_signature, OCFS2_DIR_TRAILER_SIGNATURE,
		       sizeof(OCFS2_DIR_TRAILER_SIGNATURE));
		t->db_blkno = htole64(blkno);
		t->db_parent_dinode = htole64(dir->blkno);
	}
	return 0;
}

int inode_first_cluster(struct jhandle *h, struct vol_inode *dir, struct buf *di,
			uint32_t cluster, struct reservation *r)
{
	struct ocfs2_dinode *d = (struct ocfs2_dinode *)di->data;
	struct extent e = { .cpos = 0, .len = 1, .blkno = (blkno_t)cluster * dir->vol->bpc };
	struct xtree t;
	int err;

	dir->dyn_features &= (uint16_t)~OCFS2_INLINE_DATA_FL;
	d->i_dyn_features = htole16(dir->dyn_features);
	inode_init_list(dir->vol, d);
	xtree_dinode(&t, dir, di);
	err = xtree_insert(h, &t, &e, r);
	dir->clusters = le32toh(d->i_clusters);
	return err;
}

static bool wants_index(const struct vol *v)
{
	return vol_has_incompat(v, OCFS2_FEATURE_INCOMPAT_INDEXED_DIRS);
}

/* The index over a directory's only block. di is joined. */
static int set_index(struct jhandle *h, struct vol_inode *dir, struct buf *di, struct buf *b,
		     const struct de_area *a, unsigned entries, uint32_t leaf_cluster,
		     struct reservation *r)
{
	struct suballoc_pos pos;
	int err;

	err = claim_meta(h, r, &pos);
	if (err)
		return err;
	dir->dyn_features |= OCFS2_INDEXED_DIR_FL;
	((struct ocfs2_dinode *)di->data)->i_dyn_features = htole16(dir->dyn_features);
	((struct ocfs2_dinode *)di->data)->i_dx_root = htole64(pos.blkno);
	return dx_create(h, dir, b, a, entries, &pos, leaf_cluster, r);
}

/* ---- inline to block -------------------------------------------------------------------- */

struct conversion {
	struct buf *di;
	uint8_t old[4096];	/* the entries */
	struct de_area area;	/* over old */
	unsigned entries;
	uint32_t cluster, leaf_cluster;
};

static int convert_in(struct jhandle *h, struct vol_inode *dir, struct conversion *c,
		      struct reservation *r)
{
	struct vol *v = dir->vol;
	struct de_area a;
	struct buf *b;
	int err;

	err = jh_write(h, c->di, dir);
	if (err)
		return err;
	err = new_block(h, dir, (blkno_t)c->cluster * v->bpc, dir_new_has_trailer(v), &b, &a);
	if (err)
		return err;
	memcpy(a.base, c->old, c->area.len);
	a.len = c->area.len;
	err = de_extend(&a, v->blocksize - (dir_new_has_trailer(v) ? DIR_TRAILER_SIZE : 0) -
			    c->area.len);
	if (!err)
		err = inode_first_cluster(h, dir, c->di, c->cluster, r);
	dir->size = v->blocksize;
	if (!err && wants_index(v))
		err = set_index(h, dir, c->di, b, &a, c->entries, c->leaf_cluster, r);
	bc_put(b);
	return err ? err : dir_touch(h, dir);
}

static int conversion_read(struct vol_inode *dir, struct conversion *c)
{
	struct de_area a;
	int err, n;

	err = dir_inline_area(dir, &c->di, &a);
	if (err)
		return err;
	n = a.len <= sizeof(c->old) ? de_count(&a) : -EIO;
	if (n < 0) {
		err = vol_damaged(dir->vol, "directory cannot grow: bad entry dir=%llu",
				  (unsigned long long)dir->blkno);
		bc_put(c->di);
		return err;
	}
	memcpy(c->old, a.base, a.len);
	c->area = (struct de_area){ c->old, a.len };
	c->entries = (unsigned)n;
	return 0;
}

static int convert(struct vol_inode *dir)
{
	struct vol *v = dir->vol;
	struct dx_needs dx = { 0 };
	struct reservation r = { 0 };
	struct conversion c;
	struct jhandle *h;
	uint32_t got;
	int err;

	err = conversion_read(dir, &c);
	if (err)
		return err;
	if (wants_index(v)) {
		dx = dx_create_needs(v, c.entries);
		err = reserve_meta(v, 1, &r);
	}
	if (!err)
		err = reserve_clusters(v, 1 + dx.clusters, &r);
	if (!err)
		err = jh_begin(v, 4 + dx.credits + reservation_credits(&r), &h);
	if (err)
		goto out;
	err = claim_clusters(h, &r, 1, &c.cluster, &got);
	if (err) {
		err = jh_finish(h, err, true, NULL);
		goto out;
	}
	if (dx.clusters)
		err = claim_clusters(h, &r, 1, &c.leaf_cluster, &got);
	if (!err)
		err = convert_in(h, dir, &c, &r);
	err = jh_end_or_abort(h, err, "directory could not be moved out of its inode");
out:
	reservation_release(v, &r);
	bc_put(c.di);
	return err;
}

/* ---- one more block ------------------------------------------------------------------------ */

struct append {
	struct buf *di, *root;	/* root: NULL if not indexed */
	uint64_t lblk;
	blkno_t blkno;		/* 0: of a cluster that is still to be claimed */
	bool drop_list;
};

static int append_in(struct jhandle *h, struct vol_inode *dir, struct append *ap,
		     struct reservation *r)
{
	struct vol *v = dir->vol;
	struct de_area a;
	struct xtree t;
	struct buf *b;
	int err;

	err = jh_write(h, ap->di, dir);
	if (!err && ap->root)
		err = jh_write(h, ap->root, dir);
	if (!err && r) {
		struct extent e = { .cpos = dir->clusters, .len = 1, .blkno = ap->blkno };

		xtree_dinode(&t, dir, ap->di);
		err = xtree_insert(h, &t, &e, r);
		dir->clusters = le32toh(((struct ocfs2_dinode *)ap->di->data)->i_clusters);
	}
	if (!err)
		err = new_block(h, dir, ap->blkno, dir_has_trailer(dir), &b, &a);
	if (err)
		return err;
	de_init_empty(&a);
	if (ap->root) {
		if (ap->drop_list)
			dx_root_of(ap->root)->dr_free_blk = 0;
		dirfree_grown(dir, ap->root, b, &a);
	}
	bc_put(b);
	dir->size += v->blocksize;
	dir->dir_hint = ap->lblk;
	return dir_touch(h, dir);
}

/* The next block of a cluster that is there already, or 0. */
static int next_in_cluster(struct vol_inode *dir, uint64_t lblk, blkno_t *blkno)
{
	uint64_t run;
	bool unwritten;

	*blkno = 0;
	if (lblk >= (uint64_t)dir->clusters * dir->vol->bpc)
		return 0;
	return inode_map(dir, lblk, blkno, &run, &unwritten);
}

static int append_with_cluster(struct vol_inode *dir, struct append *ap)
{
	struct vol *v = dir->vol;
	struct reservation r = { 0 };
	struct jhandle *h;
	struct xtree t;
	uint32_t cluster, got;
	int err;

	xtree_dinode(&t, dir, ap->di);
	err = reserve_meta(v, xtree_meta_needed(&t, 1), &r);
	if (!err)
		err = reserve_clusters(v, 1, &r);
	if (!err)
		err = jh_begin(v, 3 + xtree_credits_from(&t, dir->clusters, 1) +
			       reservation_credits(&r), &h);
	if (err)
		goto out;
	err = claim_clusters(h, &r, 1, &cluster, &got);
	if (err) {
		err = jh_finish(h, err, true, NULL);
		goto out;
	}
	ap->blkno = (blkno_t)cluster * v->bpc;
	err = jh_end_or_abort(h, append_in(h, dir, ap, &r), "directory could not grow");
out:
	reservation_release(v, &r);
	return err;
}

static int append_block(struct vol_inode *dir, bool drop_list)
{
	struct append ap = { .drop_list = drop_list };
	struct jhandle *h;
	int err;

	err = dir_blocks(dir, &ap.lblk);
	if (!err)
		err = inode_buf(dir, &ap.di);
	if (err)
		return err;
	if (dir_is_indexed(dir))
		err = dx_read_root(dir, &ap.root);
	if (!err)
		err = next_in_cluster(dir, ap.lblk, &ap.blkno);
	if (!err && !ap.blkno) {
		err = append_with_cluster(dir, &ap);
	} else if (!err) {
		err = jh_begin(dir->vol, 3, &h);
		if (!err)
			err = jh_end_or_abort(h, append_in(h, dir, &ap, NULL),
					      "directory could not grow");
	}
	bc_put(ap.root);
	bc_put(ap.di);
	return err;
}

/* ---- room for a name ------------------------------------------------------------------------- */

static int has_room_inline(struct vol_inode *dir, size_t len)
{
	struct de_area a;
	struct buf *b;
	unsigned off;
	int err;

	err = dir_inline_area(dir, &b, &a);
	if (err)
		return err;
	err = de_place(&a, len, &off);
	if (err == -EIO)
		err = dir_bad_entry(dir, b, &a, off);
	bc_put(b);
	return err;
}

static int has_room_indexed(struct vol_inode *dir, size_t len)
{
	struct buf *root, *b, *prev;
	struct de_area a;
	unsigned off;
	int err;

	err = dx_read_root(dir, &root);
	if (err)
		return err;
	err = dirfree_find(dir, root, len, &b, &prev, &a, &off);
	bc_put(b);
	bc_put(prev);
	bc_put(root);
	return err;
}

int dir_prepare(struct vol_inode *dir, const char *name, size_t len)
{
	int err;

	for (int round = 0; round < MAX_ROUNDS; round++) {
		if (dir_is_inline(dir)) {
			err = has_room_inline(dir, len);
			if (err != -ENOSPC)
				return err;
			err = convert(dir);
		} else if (dir_is_indexed(dir)) {
			err = dx_prepare(dir, dx_name_hash(dir->vol, name, len, false));
			if (err)
				return err;
			err = has_room_indexed(dir, len);
			if (err != -ENOSPC && err != -EUCLEAN)
				return err;
			err = append_block(dir, err == -EUCLEAN);
		} else {
			err = dir_has_room_linear(dir, len);
			if (err != -ENOSPC)
				return err;
			err = append_block(dir, false);
		}
		if (err)
			return err;
	}
	return -ENOSPC;
}

/* ---- bodies of new directories ------------------------------------------------------------------ */

bool dir_new_is_inline(const struct vol *v)
{
	return vol_has_incompat(v, OCFS2_FEATURE_INCOMPAT_INLINE_DATA);
}

int dir_create_needs(struct vol *v, struct reservation *r, unsigned *credits)
{
	int err = 0;

	*credits = 0;
	if (dir_new_is_inline(v))
		return 0;
	*credits = 1;		/* its block */
	if (wants_index(v)) {
		*credits += dx_create_needs(v, 2).credits;
		err = reserve_meta(v, 1, r);
	}
	return err ? err : reserve_clusters(v, 1, r);
}

int dir_create_body(struct jhandle *h, struct vol_inode *inode, struct buf *di, blkno_t parent,
		    uint32_t cluster, struct reservation *r)
{
	struct ocfs2_dinode *d = (struct ocfs2_dinode *)di->data;
	struct vol *v = inode->vol;
	struct de_area a;
	struct buf *b;
	int err;

	if (dir_new_is_inline(v)) {
		a.len = inode_body_bytes(v, d) -
			(unsigned)offsetof(struct ocfs2_inline_data, id_data);
		a.base = d->id2.i_data.id_data;
		d->id2.i_data.id_count = htole16((uint16_t)a.len);
		de_init_dots(&a, inode->blkno, parent);
		inode->dyn_features |= OCFS2_INLINE_DATA_FL;
		inode->size = a.len;
		return 0;
	}
	err = new_block(h, inode, (blkno_t)cluster * v->bpc, dir_new_has_trailer(v), &b, &a);
	if (err)
		return err;
	de_init_dots(&a, inode->blkno, parent);
	inode->size = v->blocksize;
	err = inode_first_cluster(h, inode, di, cluster, r);
	if (!err && wants_index(v))
		err = set_index(h, inode, di, b, &a, 2, 0, r);
	bc_put(b);
	return err;
}
