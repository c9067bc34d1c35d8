/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * entry.c: node ids, lookup counts, and replies that carry attributes.
 *
 * The kernel's lookup count of an inode is kept in clu_inode.lookups under its mutex;
 * while it is not zero it stands for one reference. It is counted before the reply is
 * written, since a FORGET may follow at once, and taken back if the kernel did not
 * take the reply.
 *
 * Attributes get validity only in GETATTR and LOOKUP replies: for these the kernel
 * compares the attribute version, so an invalidation that overtakes the reply wins.
 * Entries get none: every path component is asked again and answered from memory
 * under cached locks, which is strict on every kernel (doc/spec/fs-locking.md 12.3).
 */
#include "fs/fuse/shell_int.h"

#include <time.h>

#define ATTR_FOREVER 1e9

void shell_reply_err(fuse_req_t req, int err)
{
	/* The kernel takes 1..511 only; our own -ERESTART and the like never get here. */
	int e = err < 0 ? -err : err;

	fuse_reply_err(req, e > 511 ? EIO : e);
}

struct clu_inode *shell_get(fuse_req_t req, fuse_ino_t ino)
{
	struct shell *s = shell_of(req);
	struct clu_inode *ci = clu_ifind(s->clu, ino == FUSE_ROOT_ID ? s->root : (blkno_t)ino);

	if (!ci)
		fuse_reply_err(req, ESTALE);
	return ci;
}

void shell_stat(const struct clu_attr *a, struct stat *st)
{
	memset(st, 0, sizeof(*st));
	st->st_ino = a->blkno;
	st->st_mode = a->mode;
	st->st_nlink = a->nlink;
	st->st_uid = a->uid;
	st->st_gid = a->gid;
	st->st_rdev = a->rdev;
	st->st_size = (off_t)a->size;
	st->st_blocks = (blkcnt_t)a->blocks512;
	st->st_blksize = (blksize_t)a->blksize;
	st->st_atim = a->atime;
	st->st_mtim = a->mtime;
	st->st_ctim = a->ctime;
}

/* Count one lookup in. */
static void count(struct clu_inode *ci, uint32_t generation)
{
	bool first;

	pthread_mutex_lock(&ci->mutex);
	if (ci->lookups && ci->lookup_generation != generation)
		ci->lookups_mixed = true;
	ci->lookup_generation = generation;
	clock_gettime(CLOCK_MONOTONIC, &ci->replied);
	first = ci->lookups++ == 0;
	pthread_mutex_unlock(&ci->mutex);
	if (first)
		clu_ihold(ci);
}

static void uncount(struct clu_inode *ci, uint64_t n)
{
	bool last;

	pthread_mutex_lock(&ci->mutex);
	last = ci->lookups > 0 && ci->lookups <= n;
	if (last)
		ci->lookups_mixed = false;
	ci->lookups -= last ? ci->lookups : n < ci->lookups ? n : 0;
	pthread_mutex_unlock(&ci->mutex);
	if (last)
		clu_iput(ci);
}

void shell_forget(struct shell *s, fuse_ino_t ino, uint64_t n)
{
	struct clu_inode *ci;

	if (ino == FUSE_ROOT_ID)
		return; /* lives as long as the mount */
	ci = clu_ifind(s->clu, (blkno_t)ino);
	if (!ci)
		return;
	uncount(ci, n);
	clu_iput(ci);
}

void shell_reply_entry(void *ctx, struct clu_inode *ci, const struct clu_attr *attr)
{
	struct entry_reply *r = ctx;
	struct fuse_entry_param e = {
		.ino = nodeid(r->s, attr->blkno),
		.generation = attr->generation,
	};
	bool cached = r->may_cache_attrs && atomic_load(&r->s->attr_validity);
	int err;

	shell_stat(attr, &e.attr);
	if (e.ino != FUSE_ROOT_ID)
		count(ci, attr->generation);
	if (cached) {
		e.attr_timeout = ATTR_FOREVER;
		pthread_mutex_lock(&ci->mutex);
		ci->attrs_out = true;
		pthread_mutex_unlock(&ci->mutex);
	}
	r->sent = true;
	err = r->fi ? fuse_reply_create(r->req, &e, r->fi) : fuse_reply_entry(r->req, &e);
	if (!err)
		return;
	/* Interrupted, or the connection is gone: the kernel counted nothing. */
	if (r->fi)
		shell_drop_handle(ci, r->fi);
	if (e.ino != FUSE_ROOT_ID)
		uncount(ci, 1);
}
