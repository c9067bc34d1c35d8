/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * dirfree.c: the list of an indexed directory's blocks that have holes (doc/spec/disk.md
 * 5.6).
 *
 * The list is a hint that others (libocfs2) do not keep: what it says of a block is
 * verified before use, a wrong length is ignored, and no walk takes more steps than the
 * directory has blocks. A list that loops or leaves the directory is dropped by the
 * next block that is appended (-EUCLEAN), which costs room in old blocks and nothing
 * else.
 */
#include <errno.h>

#include "fs/volume/dir_int.h"

/* The next listed block. -EUCLEAN instead of what bc_read says, short of lack of memory. */
static int read_listed(struct vol_inode *dir, blkno_t blkno, struct buf **b, struct de_area *a)
{
	int err;

	if (blkno <= OCFS2_SUPER_BLOCK_BLKNO || blkno >= dir->vol->info.blocks)
		return -EUCLEAN;
	err = dir_read_phys(dir, blkno, b, a);
	return err == -EIO ? -EUCLEAN : err;
}

int dirfree_find(struct vol_inode *dir, struct buf *root, size_t name_len, struct buf **b,
		 struct buf **prev, struct de_area *a, unsigned *off)
{
	blkno_t blkno = le64toh(dx_root_of(root)->dr_free_blk);
	uint64_t steps;
	int err;

	*b = *prev = NULL;
	err = dir_blocks(dir, &steps);
	while (!err && blkno) {
		struct ocfs2_dir_block_trailer *t;

		if (steps-- == 0) {
			err = -EUCLEAN;
			break;
		}
		err = read_listed(dir, blkno, b, a);
		if (err)
			break;
		t = dir_trailer(dir->vol, *b);
		if (le16toh(t->db_free_rec_len) >= de_need(name_len)) {
			err = de_place(a, name_len, off);
			if (!err)
				return 0;
			if (err == -EIO)
				err = dir_bad_entry(dir, *b, a, *off);
			else
				err = 0;
		}
		blkno = le64toh(t->db_free_next);
		bc_put(*prev);
		*prev = *b;
		*b = NULL;
	}
	bc_put(*b);
	bc_put(*prev);
	*b = *prev = NULL;
	return err ? err : -ENOSPC;
}

void dirfree_shrunk(struct jhandle *h, struct vol_inode *dir, struct buf *root, struct buf *b,
		    struct buf *prev, const struct de_area *a)
{
	struct ocfs2_dir_block_trailer *t = dir_trailer(dir->vol, b);
	int hole = de_largest_hole(a);

	if (hole >= DIR_MIN_HOLE) {
		t->db_free_rec_len = htole16((uint16_t)hole);
		return;
	}
	/* A block that cannot be unlinked stays listed, with a hole that is not there. */
	if (prev && jh_write(h, prev, dir))
		return;
	if (prev)
		dir_trailer(dir->vol, prev)->db_free_next = t->db_free_next;
	else
		dx_root_of(root)->dr_free_blk = t->db_free_next;
	t->db_free_rec_len = 0;
	t->db_free_next = 0;
}

void dirfree_grown(struct vol_inode *dir, struct buf *root, struct buf *b,
		   const struct de_area *a)
{
	struct ocfs2_dir_block_trailer *t = dir_trailer(dir->vol, b);
	int hole = de_largest_hole(a);

	if (hole < DIR_MIN_HOLE)
		return;
	if (!t->db_free_rec_len) {
		t->db_free_next = dx_root_of(root)->dr_free_blk;
		dx_root_of(root)->dr_free_blk = htole64(b->blkno);
	}
	t->db_free_rec_len = htole16((uint16_t)hole);
}
