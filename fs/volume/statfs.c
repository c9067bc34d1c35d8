/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * statfs.c: how full the volume is, from the global bitmap's dinode (disk.md 4.3).
 *
 * Nothing is added for what a node's window still holds: all nodes answer alike.
 */
#include "fs/volume/vol_int.h"

int vol_statfs(struct vol *v, struct vol_statfs *out)
{
	struct vol_inode *gb = vol_sys_inode(v, VOL_SYS_GLOBAL_BITMAP, 0);
	const struct ocfs2_dinode *di;
	uint32_t total, used;
	struct buf *b;
	int err;

	err = sys_lock(v, gb, false);
	if (err)
		return err;
	err = inode_buf(gb, &b);
	if (!err) {
		di = (const struct ocfs2_dinode *)b->data;
		total = le32toh(di->id1.bitmap1.i_total);
		used = le32toh(di->id1.bitmap1.i_used);
		if (used > total)
			used = total;
		*out = (struct vol_statfs){
			.blocks = (uint64_t)total * v->bpc,
			.bfree = (uint64_t)(total - used) * v->bpc,
			.files = total,
			.ffree = total - used,
			.bsize = v->blocksize,
		};
		bc_put(b);
	}
	sys_unlock(v, gb, false);
	return err;
}
