/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * inval.c: taking back what the kernel caches (doc/spec/fs-locking.md 12.1, 12.3).
 *
 * Called by downconvert workers that hold nothing. A notification may wait for folio
 * locks or for a directory's i_rwsem; none is ever sent from a thread that answers
 * requests.
 *
 * ENOENT means that the kernel does not have that inode. While a first LOOKUP (or
 * CREATE) reply is on its way that is not the end: the reply installs attributes
 * afterwards. So it is repeated while the lookup count says that the kernel has, or
 * is about to have, the inode; the waiting task needs nothing from us to go on.
 */
#include "fs/fuse/shell_int.h"

#include <time.h>

enum { RETRY_NS = 1000000, FRESH_S = 1 };

static bool kernel_counts(struct shell *s, blkno_t blkno)
{
	struct timespec now;
	struct clu_inode *ci;
	bool counts;

	if (blkno == s->root)
		return false;
	ci = clu_ifind(s->clu, blkno);
	if (!ci)
		return false;
	clock_gettime(CLOCK_MONOTONIC, &now);
	pthread_mutex_lock(&ci->mutex);
	counts = ci->lookups > 0 &&
		 (!ci->lookups_mixed || now.tv_sec - ci->replied.tv_sec <= FRESH_S);
	pthread_mutex_unlock(&ci->mutex);
	clu_iput(ci);
	return counts;
}

static void inval(struct shell *s, blkno_t blkno, off_t off, off_t len)
{
	const struct timespec pause = { .tv_nsec = RETRY_NS };

	for (;;) {
		int err;

		if (atomic_load(&s->gone))
			return;
		err = fuse_lowlevel_notify_inval_inode(s->se, nodeid(s, blkno), off, len);
		if (err != -ENOENT || !kernel_counts(s, blkno)) {
			if (err && err != -ENOENT && err != -ENOTCONN && err != -ENODEV)
				log_warn(s->log, "fuse",
					 "kernel refused an invalidation inode=%llu errno=%d",
					 (unsigned long long)blkno, -err);
			return;
		}
		nanosleep(&pause, NULL);
	}
}

static void inval_attr(void *ctx, blkno_t blkno)
{
	inval(ctx, blkno, -1, 0);
}

static void inval_pages(void *ctx, blkno_t blkno, uint64_t off, uint64_t len)
{
	inval(ctx, blkno, (off_t)off, (off_t)len);
}

/* Entries are given out without validity: the next use asks us again. */
static void inval_names(void *ctx, blkno_t parent, blkno_t child)
{
	(void)ctx;
	(void)parent;
	(void)child;
}

/* "Not found" is answered with the error, which is not cached. */
static void inval_negative(void *ctx, blkno_t dir)
{
	(void)ctx;
	(void)dir;
}

const struct clu_kernel_ops shell_kernel_ops = {
	.inval_attr = inval_attr,
	.inval_pages = inval_pages,
	.inval_names = inval_names,
	.inval_negative = inval_negative,
};
