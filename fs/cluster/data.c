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
#include <errno.h>
#include "fs/cluster/clu_int.h"

/* Locks of a READ or of dirty pages: M PR, or W EX and M EX in exclusive page mode. The
 * level of M, 0 for an error in *err; *served: through LC_PRESENT. */
static int lock_pages(struct clu_inode *ci, bool exclusive, bool *served)
{
	int w = 0, m;

	if (exclusive) {
		w = clu_wlock(ci, DLM_MODE_EX, LC_PRESENT);
		if (w < 0)
			return w;
	}
	m = clu_mlock(ci, exclusive ? DLM_MODE_EX : DLM_MODE_PR, LC_PRESENT);
	if (m < 0) {
		if (exclusive)
			clu_wunlock(ci, DLM_MODE_EX);
		return m;
	}
	*served = w == 1 || m == 1;
	return 0;
}

static void unlock_pages(struct clu_inode *ci, bool exclusive)
{
	clu_munlock(ci, exclusive ? DLM_MODE_EX : DLM_MODE_PR);
	if (exclusive)
		clu_wunlock(ci, DLM_MODE_EX);
}

static void note_pages(struct clu_inode *ci, bool served, uint64_t off, uint64_t len)
{
	if (served)
		clu_pages_served(ci, off, len);
	else
		clu_pages_note(ci);
}

int clu_read(struct clu_inode *ci, void *buf, size_t len, uint64_t off, clu_data_fn reply,
	     void *ctx)
{
	bool exclusive, served;
	size_t got = 0;
	int err;

	for (;;) {
		exclusive = clu_pages_exclusive(ci);
		err = lock_pages(ci, exclusive, &served);
		if (err)
			return err;
		/* A writer came in while we waited: its mode now. */
		if (exclusive || !clu_pages_exclusive(ci))
			break;
		unlock_pages(ci, exclusive);
	}
	err = vol_read(ci->vi, buf, len, off, &got);
	if (!err)
		reply(ctx, buf, got);
	note_pages(ci, served, off, len);
	unlock_pages(ci, exclusive);
	return err;
}

/*
 * A dirty page was read before it was stored to, in exclusive page mode: without pages, or
 * in shared page mode, nothing is dirty here; what is dirty elsewhere was written before we
 * got M.
 */
int clu_seek(struct clu_inode *ci, uint64_t off, bool hole, uint64_t *out)
{
	bool dirty;
	int err = clu_mlock(ci, DLM_MODE_PR, 0);

	if (err)
		return err;
	pthread_mutex_lock(&ci->mutex);
	dirty = ci->pages_valid || ci->giving; /* pages.c: not valid any more, maybe still there */
	pthread_mutex_unlock(&ci->mutex);
	dirty = dirty && clu_pages_exclusive(ci);
	err = vol_seek(ci->vi, off, hole, out);
	if (dirty && (!err || err == -ENXIO)) {
		pthread_rwlock_rdlock(&ci->vi->sem);
		err = off < ci->vi->size ? 0 : -ENXIO;
		*out = hole ? ci->vi->size : off;
		pthread_rwlock_unlock(&ci->vi->sem);
	}
	clu_munlock(ci, DLM_MODE_PR);
	return err;
}

int clu_write(struct clu_inode *ci, const void *buf, size_t len, uint64_t off, bool append,
	      bool kill_suid, size_t *done)
{
	int err = clu_wlock(ci, DLM_MODE_EX, 0);

	if (err)
		return err;
	err = clu_mlock(ci, DLM_MODE_EX, 0);
	if (!err) {
		err = clu_xattr_written(ci);
		if (!err)
			err = vol_write(ci->vi, buf, len, &off, append, kill_suid, done);
		clu_munlock(ci, DLM_MODE_EX);
	}
	clu_wunlock(ci, DLM_MODE_EX);
	return err;
}

int clu_fallocate(struct clu_inode *ci, uint64_t off, uint64_t len, unsigned how)
{
	int err = clu_wlock(ci, DLM_MODE_EX, 0);

	if (err)
		return err;
	err = clu_mlock(ci, DLM_MODE_EX, 0);
	if (!err) {
		err = vol_fallocate(ci->vi, off, len, how);
		clu_munlock(ci, DLM_MODE_EX);
	}
	clu_wunlock(ci, DLM_MODE_EX);
	return err;
}

int clu_write_pages(struct clu_inode *ci, const void *buf, size_t len, uint64_t off)
{
	bool served;
	size_t done = 0;
	int err = lock_pages(ci, true, &served);

	if (err)
		return err;
	note_pages(ci, served, off, len);
	if (off < ci->vi->size) {
		if (len > ci->vi->size - off)
			len = (size_t)(ci->vi->size - off);
		err = clu_xattr_written(ci);
		if (!err)
			err = vol_write(ci->vi, buf, len, &off, false, true, &done);
		if (!err && done < len)
			err = -EIO;
	}
	unlock_pages(ci, true);
	return err;
}

/* No cluster lock: what this node acknowledged is in its own journal, or, if the lock
 * went away since, already at its place. */
int clu_fsync(struct clu_inode *ci, bool datasync)
{
	return vol_fsync(ci->vi, datasync);
}
