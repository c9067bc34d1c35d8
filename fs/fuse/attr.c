/* SPDX-License-Identifier: GPL-2.0-or-later */
/* attr.c: requests about attributes; GETATTR may be cached as long as M is (entry.c). */
#include "fs/fuse/shell_int.h"

#include <limits.h>
#include <stdlib.h>
#include <sys/statvfs.h>

#define ATTR_FOREVER 1e9

struct attr_reply {
	struct shell *s;
	fuse_req_t req;
	bool may_cache, sent;
};

static void reply_attr(void *ctx, struct clu_inode *ci, const struct clu_attr *attr)
{
	struct attr_reply *r = ctx;
	struct stat st;
	bool cached = r->may_cache && atomic_load(&r->s->attr_validity);

	shell_stat(attr, &st);
	if (cached) {
		pthread_mutex_lock(&ci->mutex);
		ci->attrs_out = true;
		pthread_mutex_unlock(&ci->mutex);
	}
	r->sent = true;
	fuse_reply_attr(r->req, &st, cached ? ATTR_FOREVER : 0);
}

void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct attr_reply r = { .s = shell_of(req), .req = req, .may_cache = true };
	struct clu_inode *ci = shell_get(req, ino);
	int err;

	(void)fi;
	if (!ci)
		return;
	err = clu_getattr(ci, reply_attr, &r);
	clu_iput(ci);
	if (!r.sent)
		shell_reply_err(req, err);
}

static struct timespec now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return t;
}

static void decode(const struct stat *st, int to_set, struct clu_setattr *out)
{
	struct vol_setattr *v = &out->vol;

	memset(out, 0, sizeof(*out));
	if (to_set & FUSE_SET_ATTR_MODE) {
		v->valid |= VOL_SET_MODE;
		v->mode = (uint16_t)(st->st_mode & 07777);
	}
	if (to_set & FUSE_SET_ATTR_UID) {
		v->valid |= VOL_SET_UID;
		v->uid = st->st_uid;
	}
	if (to_set & FUSE_SET_ATTR_GID) {
		v->valid |= VOL_SET_GID;
		v->gid = st->st_gid;
	}
	if (to_set & (FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_ATIME_NOW)) {
		v->valid |= VOL_SET_ATIME;
		v->atime = to_set & FUSE_SET_ATTR_ATIME_NOW ? now() : st->st_atim;
	}
	if (to_set & (FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_MTIME_NOW)) {
		v->valid |= VOL_SET_MTIME;
		v->mtime = to_set & FUSE_SET_ATTR_MTIME_NOW ? now() : st->st_mtim;
	}
	/* A change of atime alone, too, when somebody asked for it (utimensat). */
	if (v->valid) {
		v->valid |= VOL_SET_CTIME;
		v->ctime = to_set & FUSE_SET_ATTR_CTIME ? st->st_ctim : now();
	}
	if (to_set & FUSE_SET_ATTR_SIZE) {
		out->set_size = true;
		out->size = (uint64_t)st->st_size;
	}
}

void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set,
		struct fuse_file_info *fi)
{
	struct attr_reply r = { .s = shell_of(req), .req = req };
	struct clu_inode *ci = shell_get(req, ino);
	struct clu_setattr what;
	int err;

	(void)fi;
	if (!ci)
		return;
	decode(attr, to_set, &what);
	err = clu_setattr(ci, &what, reply_attr, &r);
	clu_iput(ci);
	if (!r.sent)
		shell_reply_err(req, err);
}

void op_readlink(fuse_req_t req, fuse_ino_t ino)
{
	struct clu_inode *ci = shell_get(req, ino);
	char target[PATH_MAX + 1];
	int n;

	if (!ci)
		return;
	n = clu_readlink(ci, target, PATH_MAX);
	clu_iput(ci);
	if (n < 0) {
		shell_reply_err(req, n);
		return;
	}
	target[n] = 0;
	fuse_reply_readlink(req, target);
}

void op_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct vol_statfs v;
	struct statvfs st = { 0 };
	int err = clu_statfs(shell_of(req)->clu, &v);

	(void)ino;
	if (err) {
		shell_reply_err(req, err);
		return;
	}
	st.f_bsize = st.f_frsize = v.bsize;
	st.f_blocks = v.blocks;
	st.f_bfree = st.f_bavail = v.bfree;
	st.f_files = v.files;
	st.f_ffree = st.f_favail = v.ffree;
	st.f_namemax = 255;
	fuse_reply_statfs(req, &st);
}
