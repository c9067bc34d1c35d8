/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * dir.c: entries of a directory in its three forms: inline, blocks, blocks with an
 * index (doc/spec/disk.md 5).
 *
 * All changes come in two steps. Outside a handle dir_prepare (dirgrow.c) makes room
 * for a name; within the handle dir_add only finds that room again, which it can
 * because the directory's sem was held all the time. Each change first gets and joins
 * every block it needs and then alters memory, so that a failure leaves the directory
 * as it was and the caller may simply end the handle.
 *
 * Bytes from the disk are checked by de_check, record by record, and an index or free
 * list only ever names blocks that are verified again to belong to the directory. A
 * contradiction goes to vol_damaged.
 */
#include <errno.h>
#include <string.h>

#include "fs/volume/dir_int.h"

int dir_bad_entry(struct vol_inode *dir, const struct buf *b, const struct de_area *a,
		  unsigned off)
{
	const char *what = de_check(a, off);

	return vol_damaged(dir->vol, "directory entry: %s dir=%llu block=%llu offset=%u",
			   what ? what : "bad record", (unsigned long long)dir->blkno,
			   (unsigned long long)b->blkno, (unsigned)(a->base - b->data) + off);
}

int dir_blocks(struct vol_inode *dir, uint64_t *n)
{
	const struct vol *v = dir->vol;

	*n = dir->size >> v->info.blocksize_bits;
	if (dir->size & (v->blocksize - 1))
		return vol_damaged(dir->vol, "directory size is not a number of blocks dir=%llu "
				   "size=%llu", (unsigned long long)dir->blkno,
				   (unsigned long long)dir->size);
	return 0;
}

int dir_inline_area(struct vol_inode *dir, struct buf **b, struct de_area *a)
{
	struct ocfs2_dinode *di;
	unsigned room;
	int err;

	err = inode_buf(dir, b);
	if (err)
		return err;
	di = (struct ocfs2_dinode *)(*b)->data;
	room = inode_body_bytes(dir->vol, di) - offsetof(struct ocfs2_inline_data, id_data);
	if (dir->size > room || dir->size < 2 * DIR_MIN_HOLE) {
		bc_put(*b);
		return vol_damaged(dir->vol, "inline directory has a size it cannot have dir=%llu "
				   "size=%llu", (unsigned long long)dir->blkno,
				   (unsigned long long)dir->size);
	}
	a->base = di->id2.i_data.id_data;
	a->len = (unsigned)dir->size;
	return 0;
}

int dir_read_phys(struct vol_inode *dir, blkno_t blkno, struct buf **b, struct de_area *a)
{
	struct vol *v = dir->vol;
	int err;

	if (blkno <= OCFS2_SUPER_BLOCK_BLKNO || blkno >= v->info.blocks)
		return vol_damaged(v, "directory block is outside the volume dir=%llu block=%llu",
				   (unsigned long long)dir->blkno, (unsigned long long)blkno);
	err = bc_read(v, blkno, BLK_DIR, dir, b);
	if (err)
		return err;
	a->base = (*b)->data;
	a->len = v->blocksize;
	if (dir_has_trailer(dir)) {
		a->len -= DIR_TRAILER_SIZE;
		if (le64toh(dir_trailer(v, *b)->db_parent_dinode) != dir->blkno) {
			bc_put(*b);
			return vol_damaged(v, "directory block belongs to another directory "
					   "dir=%llu block=%llu", (unsigned long long)dir->blkno,
					   (unsigned long long)blkno);
		}
	}
	return 0;
}

int dir_read_block(struct vol_inode *dir, uint64_t lblk, struct buf **b, struct de_area *a)
{
	bool unwritten = false;
	uint64_t run = 0;
	blkno_t blkno = 0;
	int err;

	err = inode_map(dir, lblk, &blkno, &run, &unwritten);
	if (err)
		return err;
	if (!blkno)
		return vol_damaged(dir->vol, "directory has a hole dir=%llu at=%llu",
				   (unsigned long long)dir->blkno, (unsigned long long)lblk);
	return dir_read_phys(dir, blkno, b, a);
}

int dir_touch(struct jhandle *h, struct vol_inode *dir)
{
	dir->mtime = dir->ctime = vol_now();
	return inode_store(h, dir);
}

void dir_hit_put(struct dir_hit *hit)
{
	bc_put(hit->b);
	dx_place_put(&hit->dx);
	hit->b = NULL;
}

/* name in one block that the caller got: hit, or what de_find says. b is consumed. */
static int search_area(struct vol_inode *dir, struct buf *b, const struct de_area *a,
		       const char *name, size_t len, struct dir_hit *hit)
{
	int err;

	*hit = (struct dir_hit){ .b = b, .a = *a };
	err = de_find(a, name, len, &hit->off, &hit->prev);
	if (err == -EIO)
		err = dir_bad_entry(dir, b, a, hit->off);
	if (err)
		dir_hit_put(hit);
	return err;
}

static int search_linear(struct vol_inode *dir, const char *name, size_t len,
			 struct dir_hit *hit)
{
	struct de_area a;
	struct buf *b;
	uint64_t n;
	int err;

	err = dir_blocks(dir, &n);
	for (uint64_t i = 0; !err && i < n; i++) {
		err = dir_read_block(dir, i, &b, &a);
		if (err)
			return err;
		err = search_area(dir, b, &a, name, len, hit);
		if (err != -ENOENT)
			return err;
		err = 0;
	}
	return err ? err : -ENOENT;
}

int dir_search(struct vol_inode *dir, const char *name, size_t len, struct dir_hit *hit)
{
	struct de_area a;
	struct buf *b;
	int err;

	if (dir_is_inline(dir)) {
		err = dir_inline_area(dir, &b, &a);
		return err ? err : search_area(dir, b, &a, name, len, hit);
	}
	if (dir_is_indexed(dir))
		return dx_search(dir, name, len, hit);
	return search_linear(dir, name, len, hit);
}

int dir_find(struct vol_inode *dir, const char *name, size_t len, struct vol_found *out)
{
	const struct ocfs2_dir_entry *de;
	struct dir_hit hit;
	int err;

	if (len == 0 || len > DIR_NAME_MAX)
		return -ENOENT;
	err = dir_search(dir, name, len, &hit);
	if (err)
		return err;
	de = de_at(&hit.a, hit.off);
	out->blkno = le64toh(de->inode);
	out->type = de->file_type < OCFS2_FT_MAX ? de->file_type : OCFS2_FT_UNKNOWN;
	dir_hit_put(&hit);
	return 0;
}

/* ---- changes ---------------------------------------------------------------------- */

static int add_inline(struct jhandle *h, struct vol_inode *dir, const char *name, size_t len,
		      blkno_t blkno, uint8_t type)
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
	if (!err)
		err = jh_write(h, b, dir);
	if (!err)
		de_put(&a, off, name, len, blkno, type);
	bc_put(b);
	return err;
}

/* First block from dir_hint on that has room, going round once. */
static int find_room_linear(struct vol_inode *dir, size_t len, struct buf **b,
			    struct de_area *a, unsigned *off)
{
	uint64_t n, lblk;
	int err;

	err = dir_blocks(dir, &n);
	if (err)
		return err;
	for (uint64_t i = 0; i < n; i++) {
		lblk = (dir->dir_hint + i) % n;
		err = dir_read_block(dir, lblk, b, a);
		if (err)
			return err;
		err = de_place(a, len, off);
		if (err == -EIO)
			err = dir_bad_entry(dir, *b, a, *off);
		if (!err) {
			dir->dir_hint = lblk;
			return 0;
		}
		bc_put(*b);
		if (err != -ENOSPC)
			return err;
	}
	return -ENOSPC;
}

int dir_has_room_linear(struct vol_inode *dir, size_t len)
{
	struct de_area a;
	struct buf *b;
	unsigned off;
	int err;

	err = find_room_linear(dir, len, &b, &a, &off);
	if (!err)
		bc_put(b);
	return err;
}

static int add_linear(struct jhandle *h, struct vol_inode *dir, const char *name, size_t len,
		      blkno_t blkno, uint8_t type)
{
	struct de_area a;
	struct buf *b;
	unsigned off;
	int err;

	err = find_room_linear(dir, len, &b, &a, &off);
	if (err)
		return err;
	err = jh_write(h, b, dir);
	if (!err)
		de_put(&a, off, name, len, blkno, type);
	bc_put(b);
	return err;
}

static int add_indexed(struct jhandle *h, struct vol_inode *dir, const char *name, size_t len,
		       blkno_t blkno, uint8_t type)
{
	struct dx_hash hash = dx_name_hash(dir->vol, name, len, false);
	struct buf *b = NULL, *prev = NULL;
	struct dx_place place;
	struct de_area a;
	unsigned off;
	int err;

	err = dx_place(dir, hash, &place);
	if (err)
		return err;
	err = dirfree_find(dir, place.root, len, &b, &prev, &a, &off);
	if (err) {
		dx_place_put(&place);
		return err == -EUCLEAN ? -ENOSPC : err;
	}
	err = jh_write(h, b, dir);
	if (!err)
		err = dx_insert(h, dir, &place, hash, b->blkno);
	if (!err) {
		de_put(&a, off, name, len, blkno, type);
		dirfree_shrunk(h, dir, place.root, b, prev, &a);
	}
	bc_put(b);
	bc_put(prev);
	dx_place_put(&place);
	return err;
}

int dir_add(struct jhandle *h, struct vol_inode *dir, const char *name, size_t len,
	    blkno_t blkno, uint8_t type)
{
	struct buf *di;
	int err;

	err = inode_buf(dir, &di);
	if (err)
		return err;
	err = jh_write(h, di, dir);
	bc_put(di);
	if (err)
		return err;
	if (dir_is_inline(dir))
		err = add_inline(h, dir, name, len, blkno, type);
	else if (dir_is_indexed(dir))
		err = add_indexed(h, dir, name, len, blkno, type);
	else
		err = add_linear(h, dir, name, len, blkno, type);
	return err ? err : dir_touch(h, dir);
}

/* The entry must be `blkno`'s; all its blocks are joined. */
static int hit_join(struct jhandle *h, struct vol_inode *dir, const char *name, size_t len,
		    struct dir_hit *hit)
{
	struct buf *di;
	int err;

	err = inode_buf(dir, &di);
	if (err)
		return err;
	err = jh_write(h, di, dir);
	bc_put(di);
	if (err)
		return err;
	err = dir_search(dir, name, len, hit);
	if (err)
		return err;
	err = jh_write(h, hit->b, dir);
	if (err)
		dir_hit_put(hit);
	return err;
}

int dir_remove(struct jhandle *h, struct vol_inode *dir, const char *name, size_t len,
	       blkno_t blkno)
{
	struct dir_hit hit;
	int err;

	err = hit_join(h, dir, name, len, &hit);
	if (err)
		return err;
	if (le64toh(de_at(&hit.a, hit.off)->inode) != blkno)
		err = -ENOENT;
	if (!err && dir_is_indexed(dir))
		err = dx_join(h, dir, &hit.dx);
	if (!err) {
		de_del(&hit.a, hit.off, hit.prev);
		if (dir_is_indexed(dir)) {
			dx_remove(&hit.dx, hit.dx_i);
			dirfree_grown(dir, hit.dx.root, hit.b, &hit.a);
		}
		err = dir_touch(h, dir);
	}
	dir_hit_put(&hit);
	return err;
}

int dir_replace(struct jhandle *h, struct vol_inode *dir, const char *name, size_t len,
		blkno_t blkno, uint8_t type)
{
	struct ocfs2_dir_entry *de;
	struct dir_hit hit;
	int err;

	err = hit_join(h, dir, name, len, &hit);
	if (err)
		return err;
	de = de_at(&hit.a, hit.off);
	de->inode = htole64(blkno);
	de->file_type = type;
	dir_hit_put(&hit);
	return dir_touch(h, dir);
}

int dir_set_parent(struct jhandle *h, struct vol_inode *dir, blkno_t parent)
{
	struct dir_hit hit;
	int err;

	err = dir_search(dir, "..", 2, &hit);
	if (err)
		return err;
	err = jh_write(h, hit.b, dir);
	if (!err)
		de_at(&hit.a, hit.off)->inode = htole64(parent);
	dir_hit_put(&hit);
	return err;
}

/* ---- reading all ------------------------------------------------------------------- */

struct walk {
	uint64_t from;		/* position of the area's first byte */
	uint64_t pos;		/* give nothing before it */
	vol_readdir_fn fn;
	void *ctx;
	bool full, damaged;
};

/*
 * Entries of one area. Always walked from its start, because pos may have been an
 * entry boundary of an older state: the first boundary at or after it goes on. A bad
 * record ends the area (the rest cannot be found), not the directory.
 */
static void walk_area(struct vol_inode *dir, const struct buf *b, const struct de_area *a,
		      struct walk *w)
{
	unsigned at, rec_len;

	for (at = 0; at < a->len && !w->full; at += rec_len) {
		const struct ocfs2_dir_entry *de = de_at(a, at);

		if (de_check(a, at)) {
			(void)dir_bad_entry(dir, b, a, at);
			w->damaged = true;
			return;
		}
		rec_len = le16toh(de->rec_len);
		if (w->from + at < w->pos || !de->inode)
			continue;
		if (!de_name_ok(de->name, de->name_len)) {
			(void)vol_damaged(dir->vol, "directory entry: name has a slash or NUL "
					  "dir=%llu block=%llu offset=%u",
					  (unsigned long long)dir->blkno,
					  (unsigned long long)b->blkno, at);
			w->damaged = true;
			continue;
		}
		w->full = !w->fn(w->ctx, de->name, de->name_len, le64toh(de->inode),
				 de->file_type < OCFS2_FT_MAX ? de->file_type : OCFS2_FT_UNKNOWN,
				 w->from + at + rec_len);
	}
}

static int walk_all(struct vol_inode *dir, struct walk *w)
{
	struct de_area a;
	struct buf *b;
	uint64_t n;
	int err;

	if (dir_is_inline(dir)) {
		err = dir_inline_area(dir, &b, &a);
		if (err)
			return err;
		walk_area(dir, b, &a, w);
		bc_put(b);
		return 0;
	}
	err = dir_blocks(dir, &n);
	for (uint64_t i = w->pos >> dir->vol->info.blocksize_bits; !err && i < n && !w->full; i++) {
		err = dir_read_block(dir, i, &b, &a);
		if (err)
			return err;
		w->from = i << dir->vol->info.blocksize_bits;
		walk_area(dir, b, &a, w);
		bc_put(b);
	}
	return err;
}

/* Names behind damage are missing, which the log says; a listing goes on without. */
int dir_walk(struct vol_inode *dir, uint64_t pos, vol_readdir_fn fn, void *ctx)
{
	struct walk w = { .pos = pos, .fn = fn, .ctx = ctx };

	return walk_all(dir, &w);
}

static bool is_dot(void *ctx, const char *name, size_t len, blkno_t blkno, uint8_t type,
		   uint64_t next)
{
	bool *empty = ctx;

	(void)blkno, (void)type, (void)next;
	if ((len == 1 || len == 2) && memcmp(name, "..", len) == 0)
		return true;
	*empty = false;
	return false;
}

/* By the entries themselves, not by the index's counter (disk.md 5.10). */
int dir_is_empty(struct vol_inode *dir, bool *empty)
{
	struct walk w = { .fn = is_dot, .ctx = empty };
	int err;

	*empty = true;
	err = walk_all(dir, &w);
	return !err && w.damaged ? -EIO : err;
}

int vol_readdir(struct vol_inode *dir, uint64_t pos, vol_readdir_fn fn, void *ctx)
{
	int err;

	pthread_rwlock_rdlock(&dir->sem);
	err = S_ISDIR(dir->mode) ? dir_walk(dir, pos, fn, ctx) : -ENOTDIR;
	pthread_rwlock_unlock(&dir->sem);
	return err;
}
