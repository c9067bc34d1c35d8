/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * data.c: reading and writing, under W and M (doc/spec/fs-locking.md 4.3).
 *
 * Writes go through to the device before they return (the engine keeps no dirty
 * data), so giving a lock back needs no flush of data. A write takes W EX, so that it
 * is atomic against reads and writes of other nodes that respect W, and then M EX
 * for size, allocation and times; the offset of an append is the true end of file
 * under both. Reads take M PR only, as buffered reads of a kernel node do.
 */
#include "fs/cluster/clu_int.h"

int clu_read(struct clu_inode *ci, void *buf, size_t len, uint64_t off, clu_data_fn reply,
	     void *ctx)
{
	size_t got = 0;
	int err = clu_mlock(ci, DLM_MODE_PR, LC_PRESENT);
	bool served = err == 1;

	if (err < 0)
		return err;
	if (served)
		clu_pages_served(ci, off, len);
	else
		clu_pages_note(ci);
	err = vol_read(ci->vi, buf, len, off, &got);
	if (!err)
		reply(ctx, buf, got);
	clu_munlock(ci, DLM_MODE_PR);
	return err;
}

int clu_write(struct clu_inode *ci, const void *buf, size_t len, uint64_t off, bool append,
	      bool kill_suid, size_t *done)
{
	int err = clu_wlock(ci, DLM_MODE_EX);

	if (err)
		return err;
	err = clu_mlock(ci, DLM_MODE_EX, 0);
	if (!err) {
		err = vol_write(ci->vi, buf, len, &off, append, kill_suid, done);
		clu_munlock(ci, DLM_MODE_EX);
	}
	clu_wunlock(ci, DLM_MODE_EX);
	return err;
}

/* No cluster lock: what this node acknowledged is in its own journal, or, if the lock
 * went away since, already at its place. */
int clu_fsync(struct clu_inode *ci, bool datasync)
{
	return vol_fsync(ci->vi, datasync);
}
