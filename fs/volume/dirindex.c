/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * dirindex.c: find, insert and remove in the index of a directory (doc/spec/disk.md 5.7,
 * 5.8).
 *
 * The index maps the hash of a name to the directory block that holds its entry. Its
 * entries lie in the root block while they fit, else in leaf blocks: a cluster of them
 * for each range of major hashes, the minor hash choosing the block in the cluster. A
 * name is decided by the directory block alone; the index only says which blocks to
 * look into. What the index says is checked (counts, owners) before it is used.
 */
#include <errno.h>
#include <string.h>

#include "fs/volume/dir_int.h"

struct dx_hash dx_name_hash(const struct vol *v, const char *name, size_t len, bool as_unsigned)
{
	const uint32_t seed[4] = { v->dx_seed[0], v->dx_seed[1], v->dx_seed[2], v->uuid_hash };

	return dir_hash(seed, name, len, as_unsigned);
}

static int bad_index(struct vol_inode *dir, blkno_t blkno, const char *what)
{
	return vol_damaged(dir->vol, "directory index: %s dir=%llu block=%llu", what,
			   (unsigned long long)dir->blkno, (unsigned long long)blkno);
}

int dx_read_root(struct vol_inode *dir, struct buf **root)
{
	struct vol *v = dir->vol;
	struct ocfs2_dx_root_block *dr;
	struct buf *di;
	blkno_t blkno;
	int err;

	err = inode_buf(dir, &di);
	if (err)
		return err;
	blkno = le64toh(((struct ocfs2_dinode *)di->data)->i_dx_root);
	bc_put(di);
	if (blkno <= OCFS2_SUPER_BLOCK_BLKNO || blkno >= v->info.blocks)
		return bad_index(dir, blkno, "root is outside the volume");
	err = bc_read(v, blkno, BLK_DX_ROOT, dir, root);
	if (err)
		return err;
	dr = dx_root_of(*root);
	if (le64toh(dr->dr_dir_blkno) != dir->blkno)
		err = bad_index(dir, blkno, "root belongs to another directory");
	else if ((dr->dr_flags & OCFS2_DX_FLAG_INLINE) &&
		 (le16toh(dr->dr_entries.de_num_used) > le16toh(dr->dr_entries.de_count) ||
		  le16toh(dr->dr_entries.de_count) > ocfs2_dx_entries_per_root((int)v->blocksize)))
		err = bad_index(dir, blkno, "root counts more entries than it can hold");
	if (err)
		bc_put(*root);
	return err;
}

int dx_read_leaf(struct vol_inode *dir, blkno_t blkno, struct buf **leaf)
{
	struct vol *v = dir->vol;
	struct ocfs2_dx_entry_list *l;
	int err;

	if (blkno <= OCFS2_SUPER_BLOCK_BLKNO || blkno >= v->info.blocks)
		return bad_index(dir, blkno, "leaf is outside the volume");
	err = bc_read(v, blkno, BLK_DX_LEAF, dir, leaf);
	if (err)
		return err;
	l = &dx_leaf_of(*leaf)->dl_list;
	if (le16toh(l->de_num_used) > le16toh(l->de_count) ||
	    le16toh(l->de_count) > ocfs2_dx_entries_per_leaf((int)v->blocksize)) {
		bc_put(*leaf);
		return bad_index(dir, blkno, "leaf counts more entries than it can hold");
	}
	return 0;
}

void dx_place_put(struct dx_place *p)
{
	bc_put(p->root);
	bc_put(p->leaf);
	p->root = p->leaf = NULL;
}

int dx_place(struct vol_inode *dir, struct dx_hash hash, struct dx_place *p)
{
	struct vol *v = dir->vol;
	struct xtree t;
	int err;

	*p = (struct dx_place){ 0 };
	err = dx_read_root(dir, &p->root);
	if (err)
		return err;
	if (dx_root_of(p->root)->dr_flags & OCFS2_DX_FLAG_INLINE) {
		p->list = &dx_root_of(p->root)->dr_entries;
		return 0;
	}
	xtree_dx_root(&t, dir, p->root);
	err = xtree_floor(&t, hash.major, &p->rec);
	if (err == -ENOENT || (!err && (p->rec.len == 0 || p->rec.cpos > hash.major)))
		err = bad_index(dir, p->root->blkno, "no leaf for a hash");
	if (!err) {
		p->cluster_in_rec = hash.major - p->rec.cpos;
		if (p->cluster_in_rec >= p->rec.len)
			p->cluster_in_rec = p->rec.len - 1;
		err = dx_read_leaf(dir, p->rec.blkno + (blkno_t)p->cluster_in_rec * v->bpc +
				   (hash.minor & (v->bpc - 1)), &p->leaf);
	}
	if (err)
		dx_place_put(p);
	else
		p->list = &dx_leaf_of(p->leaf)->dl_list;
	return err;
}

/* Entries of equal hash, from *i on; each names a block that may hold the name. */
static int search_place(struct vol_inode *dir, struct dx_hash hash, const char *name, size_t len,
			struct dir_hit *hit)
{
	const struct dx_place *p = &hit->dx;
	int err;

	for (unsigned i = 0; i < le16toh(p->list->de_num_used); i++) {
		const struct ocfs2_dx_entry *e = &p->list->de_entries[i];

		if (le32toh(e->dx_major_hash) != hash.major ||
		    le32toh(e->dx_minor_hash) != hash.minor)
			continue;
		err = dir_read_phys(dir, le64toh(e->dx_dirent_blk), &hit->b, &hit->a);
		if (err)
			return err;
		err = de_find(&hit->a, name, len, &hit->off, &hit->prev);
		if (!err) {
			hit->dx_i = i;
			return 0;
		}
		if (err == -EIO)
			err = dir_bad_entry(dir, hit->b, &hit->a, hit->off);
		bc_put(hit->b);
		hit->b = NULL;
		if (err != -ENOENT)
			return err;
	}
	return -ENOENT;
}

int dx_search(struct vol_inode *dir, const char *name, size_t len, struct dir_hit *hit)
{
	bool variants = dir_hash_has_variants(name, len);
	int err = -ENOENT;

	for (int as_unsigned = 0; as_unsigned <= variants && err == -ENOENT; as_unsigned++) {
		struct dx_hash hash = dx_name_hash(dir->vol, name, len, as_unsigned);

		*hit = (struct dir_hit){ 0 };
		err = dx_place(dir, hash, &hit->dx);
		if (err)
			return err;
		err = search_place(dir, hash, name, len, hit);
		if (err)
			dx_place_put(&hit->dx);
	}
	return err;
}

void dx_list_append(struct ocfs2_dx_entry_list *list, struct dx_hash hash, blkno_t dirent_blk)
{
	unsigned n = le16toh(list->de_num_used);

	list->de_entries[n].dx_major_hash = htole32(hash.major);
	list->de_entries[n].dx_minor_hash = htole32(hash.minor);
	list->de_entries[n].dx_dirent_blk = htole64(dirent_blk);
	list->de_num_used = htole16((uint16_t)(n + 1));
}

int dx_join(struct jhandle *h, struct vol_inode *dir, struct dx_place *p)
{
	int err;

	err = jh_write(h, p->root, dir);
	if (!err && p->leaf)
		err = jh_write(h, p->leaf, dir);
	return err;
}

int dx_insert(struct jhandle *h, struct vol_inode *dir, struct dx_place *p, struct dx_hash hash,
	      blkno_t dirent_blk)
{
	struct ocfs2_dx_root_block *dr = dx_root_of(p->root);
	int err;

	if (le16toh(p->list->de_num_used) >= le16toh(p->list->de_count))
		return -ENOSPC;
	err = dx_join(h, dir, p);
	if (err)
		return err;
	dx_list_append(p->list, hash, dirent_blk);
	dr->dr_num_entries = htole32(le32toh(dr->dr_num_entries) + 1);
	return 0;
}

void dx_remove(struct dx_place *p, unsigned i)
{
	struct ocfs2_dx_root_block *dr = dx_root_of(p->root);
	struct ocfs2_dx_entry *e = p->list->de_entries;
	unsigned last = le16toh(p->list->de_num_used) - 1;

	e[i] = e[last];
	memset(&e[last], 0, sizeof(e[last]));
	p->list->de_num_used = htole16((uint16_t)last);
	if (dr->dr_num_entries)
		dr->dr_num_entries = htole32(le32toh(dr->dr_num_entries) - 1);
}
