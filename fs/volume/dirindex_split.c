/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * dirindex_split.c: the index of a directory changes shape: made, moved out of its root
 * block, a leaf cluster divided, dropped (doc/spec/disk.md 5.8).
 *
 * Each shape change is a transaction of its own, in which the set of entries stays the
 * same, so a crash between it and the insert it was made for does no harm. Old leaves
 * are read and memory is got before the handle, and clusters are claimed first in it:
 * until then nothing was changed and the handle just ends. After that only damage can
 * still be met, and that stops the volume (jh_abort).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/volume/dir_int.h"

/* More rounds than bits of a hash never help: each one halves a leaf or gives up. */
#define MAX_ROUNDS 64

/* Leaf blocks of one cluster. */
struct leaves {
	struct buf **b;
	unsigned n;
};

static int leaves_alloc(const struct vol *v, struct leaves *l)
{
	l->b = calloc(v->bpc, sizeof(*l->b));
	l->n = v->bpc;
	return l->b ? 0 : -ENOMEM;
}

static void leaves_free(struct leaves *l)
{
	for (unsigned i = 0; l->b && i < l->n; i++)
		bc_put(l->b[i]);
	free(l->b);
	l->b = NULL;
}

static int leaves_read(struct vol_inode *dir, blkno_t first, struct leaves *l)
{
	int err = leaves_alloc(dir->vol, l);

	for (unsigned i = 0; !err && i < l->n; i++)
		err = dx_read_leaf(dir, first + i, &l->b[i]);
	if (err)
		leaves_free(l);
	return err;
}

/* Fresh leaves over a just claimed cluster. */
static int leaves_format(struct jhandle *h, struct vol_inode *dir, blkno_t first, struct leaves *l)
{
	struct vol *v = dir->vol;
	int err;

	for (unsigned i = 0; i < l->n; i++) {
		struct ocfs2_dx_leaf *dl;

		err = bc_new(v, first + i, BLK_DX_LEAF, dir, &l->b[i]);
		if (!err)
			err = jh_write(h, l->b[i], dir);
		if (err)
			return err;
		dl = dx_leaf_of(l->b[i]);
		memcpy(dl->dl_signature, OCFS2_DX_LEAF_SIGNATURE, sizeof(OCFS2_DX_LEAF_SIGNATURE));
		dl->dl_blkno = htole64(first + i);
		dl->dl_fs_generation = htole32(v->info.fs_generation);
		dl->dl_list.de_count =
			htole16((uint16_t)ocfs2_dx_entries_per_leaf((int)v->blocksize));
	}
	return 0;
}

static int leaves_put_entry(const struct vol *v, struct leaves *l, struct dx_hash hash,
			    blkno_t dirent_blk)
{
	struct ocfs2_dx_entry_list *list;

	list = &dx_leaf_of(l->b[hash.minor & (v->bpc - 1)])->dl_list;
	if (le16toh(list->de_num_used) >= le16toh(list->de_count))
		return -ENOSPC;
	dx_list_append(list, hash, dirent_blk);
	return 0;
}

/* A claimed cluster becomes leaves for hashes from cpos on. */
static int add_leaf_cluster(struct jhandle *h, struct vol_inode *dir, struct xtree *t,
			    uint32_t cpos, uint32_t cluster, struct reservation *r,
			    struct leaves *l)
{
	struct extent e = {
		.cpos = cpos, .len = 1, .blkno = (blkno_t)cluster * dir->vol->bpc,
	};
	int err = leaves_format(h, dir, e.blkno, l);

	return err ? err : xtree_insert(h, t, &e, r);
}

int jh_end_or_abort(struct jhandle *h, int err, const char *why)
{
	int end;

	if (err)
		jh_abort(h, why);
	end = jh_end(h, false);
	return err ? err : end;
}

int jh_finish(struct jhandle *h, int err, bool undone, const char *why)
{
	int end;

	if (!err || !undone)
		return jh_end_or_abort(h, err, why);
	end = jh_end(h, false);
	return end ? end : err;
}

/* Open a handle and claim the cluster that a change of shape needs. */
static int begin_with_cluster(struct vol *v, unsigned credits, struct reservation *r,
			      struct jhandle **h, uint32_t *cluster)
{
	uint32_t got;
	int err;

	err = jh_begin(v, credits + reservation_credits(r), h);
	if (err)
		return err;
	err = claim_clusters(*h, r, 1, cluster, &got);
	return err ? jh_finish(*h, err, true, NULL) : 0;
}

/* The root's area becomes an empty extent list. */
static void root_init_list(const struct vol *v, struct ocfs2_dx_root_block *dr)
{
	memset(&dr->dr_list, 0, v->blocksize - offsetof(struct ocfs2_dx_root_block, dr_list));
	dr->dr_list.l_count = htole16((uint16_t)ocfs2_extent_recs_per_dx_root((int)v->blocksize));
	dr->dr_flags &= (uint8_t)~OCFS2_DX_FLAG_INLINE;
	dr->dr_clusters = 0;
	dr->dr_last_eb_blk = 0;
}

/* ---- out of the root block ----------------------------------------------------------- */

static int expand_in(struct jhandle *h, struct vol_inode *dir, struct buf *root,
		     const struct ocfs2_dx_entry *e, unsigned n, uint32_t cluster,
		     struct reservation *r, struct leaves *l)
{
	struct xtree t;
	int err;

	err = jh_write(h, root, dir);
	if (err)
		return err;
	root_init_list(dir->vol, dx_root_of(root));
	xtree_dx_root(&t, dir, root);
	err = add_leaf_cluster(h, dir, &t, 0, cluster, r, l);
	for (unsigned i = 0; !err && i < n; i++)
		err = leaves_put_entry(dir->vol, l,
				       (struct dx_hash){ le32toh(e[i].dx_major_hash),
							 le32toh(e[i].dx_minor_hash) },
				       le64toh(e[i].dx_dirent_blk));
	return err;
}

/* The full root block becomes a tree with one cluster of leaves. */
static int expand(struct vol_inode *dir, struct dx_place *p)
{
	struct vol *v = dir->vol;
	unsigned n = le16toh(p->list->de_num_used);
	struct ocfs2_dx_entry *copy;
	struct reservation r = { 0 };
	struct leaves l = { 0 };
	struct jhandle *h;
	uint32_t cluster;
	int err;

	copy = malloc((n + 1) * sizeof(*copy));
	if (!copy)
		return -ENOMEM;
	memcpy(copy, p->list->de_entries, n * sizeof(*copy));
	err = leaves_alloc(v, &l);
	if (err)
		goto out_copy;
	err = reserve_clusters(v, 1, &r);
	if (err)
		goto out_leaves;
	err = begin_with_cluster(v, 2 + v->bpc, &r, &h, &cluster);
	if (!err)
		err = jh_end_or_abort(h, expand_in(h, dir, p->root, copy, n, cluster, &r, &l),
				      "directory index could not be moved out of its root");
	reservation_release(v, &r);
out_leaves:
	leaves_free(&l);
out_copy:
	free(copy);
	return err;
}

/* ---- a leaf divides --------------------------------------------------------------------- */

static bool has_from(const struct ocfs2_dx_entry_list *list, uint32_t s)
{
	for (unsigned i = 0; i < le16toh(list->de_num_used); i++)
		if (le32toh(list->de_entries[i].dx_major_hash) >= s)
			return true;
	return false;
}

/* Entries from s on move to the block of the same index in the new cluster. */
static void move_from(struct ocfs2_dx_entry_list *from, struct ocfs2_dx_entry_list *to, uint32_t s)
{
	unsigned n = le16toh(from->de_num_used), kept = 0, moved = 0;

	for (unsigned i = 0; i < n; i++) {
		struct ocfs2_dx_entry e = from->de_entries[i];

		if (le32toh(e.dx_major_hash) >= s)
			to->de_entries[moved++] = e;
		else
			from->de_entries[kept++] = e;
	}
	memset(&from->de_entries[kept], 0, (n - kept) * sizeof(from->de_entries[0]));
	from->de_num_used = htole16((uint16_t)kept);
	to->de_num_used = htole16((uint16_t)moved);
}

static int split_in(struct jhandle *h, struct vol_inode *dir, struct buf *root, uint32_t s,
		    uint32_t cluster, struct reservation *r, struct leaves *old,
		    struct leaves *fresh)
{
	struct xtree t;
	int err;

	err = jh_write(h, root, dir);
	if (err)
		return err;
	xtree_dx_root(&t, dir, root);
	err = add_leaf_cluster(h, dir, &t, s, cluster, r, fresh);
	for (unsigned i = 0; !err && i < old->n; i++) {
		struct ocfs2_dx_entry_list *from = &dx_leaf_of(old->b[i])->dl_list;

		if (!has_from(from, s))
			continue;
		err = jh_write(h, old->b[i], dir);
		if (!err)
			move_from(from, &dx_leaf_of(fresh->b[i])->dl_list, s);
	}
	return err;
}

static int split_value_of(const struct dx_place *p, uint32_t new_major, uint32_t *s)
{
	unsigned n = le16toh(p->list->de_num_used);
	AUTO_FREE struct ocfs2_dx_entry *copy = malloc((n + 1) * sizeof(*copy));

	if (!copy)
		return -ENOMEM;
	memcpy(copy, p->list->de_entries, n * sizeof(*copy));
	return dx_split_value(copy, n, p->rec.cpos + p->cluster_in_rec, new_major, s);
}

static int split(struct vol_inode *dir, struct dx_place *p, struct dx_hash hash)
{
	struct vol *v = dir->vol;
	struct leaves old = { 0 }, fresh = { 0 };
	struct reservation r = { 0 };
	struct jhandle *h;
	struct xtree t;
	uint32_t s, cluster;
	int err;

	err = split_value_of(p, hash.major, &s);
	if (err)
		return err;
	err = leaves_read(dir, p->rec.blkno + (blkno_t)p->cluster_in_rec * v->bpc, &old);
	if (!err)
		err = leaves_alloc(v, &fresh);
	if (err)
		goto out;
	xtree_dx_root(&t, dir, p->root);
	err = reserve_meta(v, xtree_meta_needed(&t, 1), &r);
	if (!err)
		err = reserve_clusters(v, 1, &r);
	if (!err)
		err = begin_with_cluster(v, 2 + 2 * v->bpc + xtree_credits_from(&t, s, 1), &r, &h,
					 &cluster);
	if (!err)
		err = jh_end_or_abort(h, split_in(h, dir, p->root, s, cluster, &r, &old, &fresh),
				      "directory index leaf could not be divided");
	reservation_release(v, &r);
out:
	leaves_free(&old);
	leaves_free(&fresh);
	return err;
}

int dx_prepare(struct vol_inode *dir, struct dx_hash hash)
{
	struct dx_place p;
	int err;

	for (int round = 0; round < MAX_ROUNDS; round++) {
		bool full;

		err = dx_place(dir, hash, &p);
		if (err)
			return err;
		full = le16toh(p.list->de_num_used) >= le16toh(p.list->de_count);
		if (full)
			err = p.leaf ? split(dir, &p, hash) : expand(dir, &p);
		dx_place_put(&p);
		if (!full || err)
			return err;
	}
	return -ENOSPC;
}

/* ---- made ----------------------------------------------------------------------------------- */

static bool fits_root(const struct vol *v, unsigned entries)
{
	return entries < (unsigned)ocfs2_dx_entries_per_root((int)v->blocksize);
}

struct dx_needs dx_create_needs(struct vol *v, unsigned entries)
{
	/* The tree of a new root has depth 0: root block only. */
	return fits_root(v, entries) ? (struct dx_needs){ 0, 1 } :
				       (struct dx_needs){ 1, 2 + v->bpc };
}

static void root_init(struct vol_inode *dir, struct buf *b, const struct suballoc_pos *pos,
		      unsigned entries)
{
	struct vol *v = dir->vol;
	struct ocfs2_dx_root_block *dr = dx_root_of(b);

	memcpy(dr->dr_signature, OCFS2_DX_ROOT_SIGNATURE, sizeof(OCFS2_DX_ROOT_SIGNATURE));
	dr->dr_suballoc_slot = htole16(pos->slot);
	dr->dr_suballoc_bit = htole16(pos->bit);
	dr->dr_suballoc_loc = htole64(pos->loc);
	dr->dr_fs_generation = htole32(v->info.fs_generation);
	dr->dr_blkno = htole64(pos->blkno);
	dr->dr_dir_blkno = htole64(dir->blkno);
	dr->dr_num_entries = htole32(entries);
	if (fits_root(v, entries)) {
		dr->dr_flags = OCFS2_DX_FLAG_INLINE;
		dr->dr_entries.de_count =
			htole16((uint16_t)ocfs2_dx_entries_per_root((int)v->blocksize));
	} else {
		root_init_list(v, dr);
	}
}

int dx_create(struct jhandle *h, struct vol_inode *dir, struct buf *block,
	      const struct de_area *a, unsigned entries, const struct suballoc_pos *pos,
	      uint32_t cluster, struct reservation *r)
{
	struct vol *v = dir->vol;
	struct leaves l = { 0 };
	struct buf *root = NULL;
	struct xtree t;
	int err;

	err = bc_new(v, pos->blkno, BLK_DX_ROOT, dir, &root);
	if (!err)
		err = jh_write(h, root, dir);
	if (err)
		goto out;
	root_init(dir, root, pos, entries);
	if (!fits_root(v, entries)) {
		err = leaves_alloc(v, &l);
		xtree_dx_root(&t, dir, root);
		if (!err)
			err = add_leaf_cluster(h, dir, &t, 0, cluster, r, &l);
	}
	for (unsigned at = 0; !err && at < a->len; at += le16toh(de_at(a, at)->rec_len)) {
		const struct ocfs2_dir_entry *de = de_at(a, at);
		struct dx_hash hash;

		if (!de->inode)
			continue;
		hash = dx_name_hash(v, de->name, de->name_len, false);
		if (l.b)
			err = leaves_put_entry(v, &l, hash, block->blkno);
		else
			dx_list_append(&dx_root_of(root)->dr_entries, hash, block->blkno);
	}
	dirfree_grown(dir, root, block, a);
out:
	leaves_free(&l);
	bc_put(root);
	return err;
}

/* ---- dropped ---------------------------------------------------------------------------------- */

static void forget_root(struct vol_inode *dir, struct ocfs2_dinode *di)
{
	di->i_dx_root = 0;
	dir->dyn_features &= (uint16_t)~OCFS2_INDEXED_DIR_FL;
}

static int drop_root(struct vol_inode *dir, struct buf *root)
{
	const struct ocfs2_dx_root_block *dr = dx_root_of(root);
	const struct suballoc_pos pos = {
		.blkno = root->blkno,
		.loc = le64toh(dr->dr_suballoc_loc),
		.slot = le16toh(dr->dr_suballoc_slot),
		.bit = le16toh(dr->dr_suballoc_bit),
	};

	return meta_block_drop(dir, &pos, forget_root);
}

int dir_truncate_index(struct vol_inode *dir)
{
	struct vol *v = dir->vol;
	struct dealloc d = { 0 };
	struct buf *root;
	struct xtree t;
	int err, freed;

	if (!dir_is_indexed(dir))
		return 0;
	err = dx_read_root(dir, &root);
	if (err)
		return err;
	if (!(dx_root_of(root)->dr_flags & OCFS2_DX_FLAG_INLINE)) {
		xtree_dx_root(&t, dir, root);
		err = tree_drop(v, &t, &d);
		freed = dealloc_run(v, &d);
		err = err ? err : freed;
	}
	if (!err)
		err = drop_root(dir, root);
	bc_put(root);
	return err;
}
