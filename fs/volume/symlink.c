/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * symlink.c: the body of a new symbolic link (doc/spec/disk.md 2.4, 11.7).
 *
 * A target that fits with its NUL lies in the inode; a longer one in one cluster, as
 * blocks that are journaled like metadata but carry no checksum.
 */
#include <string.h>

#include "fs/volume/dir_int.h"

bool symlink_is_fast(const struct vol *v, const char *target)
{
	return strlen(target) + 1 <= (size_t)ocfs2_fast_symlink_chars((int)v->blocksize);
}

static unsigned text_blocks(const struct vol *v, const char *target)
{
	return (unsigned)((strlen(target) + 1 + v->blocksize - 1) / v->blocksize);
}

int symlink_needs(struct vol *v, const char *target, struct reservation *r, unsigned *credits)
{
	*credits = 0;
	if (symlink_is_fast(v, target))
		return 0;
	*credits = text_blocks(v, target);
	return reserve_clusters(v, 1, r);
}

int symlink_body(struct jhandle *h, struct vol_inode *inode, struct buf *di, const char *target,
		 uint32_t cluster, struct reservation *r)
{
	struct ocfs2_dinode *d = (struct ocfs2_dinode *)di->data;
	struct vol *v = inode->vol;
	size_t left = strlen(target) + 1;
	unsigned blocks = text_blocks(v, target);
	int err = 0;

	inode->size = left - 1;
	if (symlink_is_fast(v, target)) {
		memset(&d->id2, 0, inode_body_bytes(v, d));
		memcpy(d->id2.i_symlink, target, left);
		return 0;
	}
	for (unsigned i = 0; !err && i < blocks; i++) {
		size_t n = left < v->blocksize ? left : v->blocksize;
		struct buf *b;

		err = bc_new(v, (blkno_t)cluster * v->bpc + i, BLK_RAW, inode, &b);
		if (err)
			return err;
		err = jh_write(h, b, inode);
		if (!err)
			memcpy(b->data, target, n);
		bc_put(b);
		target += n;
		left -= n;
	}
	return err ? err : inode_first_cluster(h, inode, di, cluster, r);
}
