/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * data.c: requests about content.
 *
 * Handles open for writing do direct I/O (doc/spec/fs-locking.md 12.4 variant A, or B
 * where the kernel does not allow shared mappings of such files): a write is on the
 * device before write(2) returns. What a mapping makes dirty comes as a WRITE of pages.
 * Reading handles are cached. KEEP_CACHE on
 * every open, since every invalidation is explicit (fs/cluster/pages.c); NOFLUSH, as
 * there is nothing to flush at close.
 */
#include "fs/fuse/shell_int.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

struct handle {
	bool writing;
	struct clu_flock *flock;
};

static struct handle *handle_of(const struct fuse_file_info *fi)
{
	return (struct handle *)(uintptr_t)fi->fh;
}

int shell_open_handle(struct shell *s, struct clu_inode *ci, struct fuse_file_info *fi)
{
	struct handle *h = calloc(1, sizeof(*h));
	int err;

	(void)s;
	if (!h)
		return -ENOMEM;
	h->writing = (fi->flags & O_ACCMODE) != O_RDONLY;
	err = clu_open(ci, h->writing);
	if (err) {
		free(h);
		return err;
	}
	fi->fh = (uintptr_t)h;
	fi->keep_cache = 1;
	fi->noflush = 1;
	fi->direct_io = h->writing;
	return 0;
}

void shell_drop_handle(struct clu_inode *ci, struct fuse_file_info *fi)
{
	struct handle *h = handle_of(fi);

	if (h->flock)
		clu_flock_free(h->flock);
	clu_close(ci, h->writing);
	free(h);
	fi->fh = 0;
}

void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct clu_inode *ci = shell_get(req, ino);
	int err;

	if (!ci)
		return;
	err = shell_open_handle(shell_of(req), ci, fi);
	if (err)
		shell_reply_err(req, err);
	else if (fuse_reply_open(req, fi))
		shell_drop_handle(ci, fi);
	clu_iput(ci);
}

void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct clu_inode *ci = shell_get(req, ino);

	if (!ci)
		return;
	shell_drop_handle(ci, fi);
	clu_iput(ci);
	fuse_reply_err(req, 0);
}

struct read_reply {
	fuse_req_t req;
	bool sent;
};

static void reply_data(void *ctx, const void *buf, size_t len)
{
	struct read_reply *r = ctx;

	r->sent = true;
	fuse_reply_buf(r->req, buf, len);
}

void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	struct clu_inode *ci = shell_get(req, ino);
	struct shell *shell = shell_of(req);
	struct read_reply r = { .req = req };
	void *buf = NULL;
	int err;

	(void)fi;
	if (!ci)
		return;
	err = posix_memalign(&buf, 4096, size ? size : 1);
	if (!err)
		err = clu_read(ci, buf, size, (uint64_t)off, reply_data, &r);
	if (!r.sent)
		shell_reply_err(req, err);
	else if (!shell->cfg.ro)
		clu_accessed(ci);
	clu_iput(ci);
	free(buf);
}

void op_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off,
	      struct fuse_file_info *fi)
{
	struct clu_inode *ci = shell_get(req, ino);
	size_t done = 0;
	int err;

	if (!ci)
		return;
	if (fi->writepage) {
		err = clu_write_pages(ci, buf, size, (uint64_t)off);
		done = size;
	} else {
		err = clu_write(ci, buf, size, (uint64_t)off, fi->flags & O_APPEND,
				fuse_req_ctx(req)->uid != 0, &done);
	}
	if (!err && (fi->flags & (O_SYNC | O_DSYNC)))
		err = clu_fsync(ci, !(fi->flags & (O_SYNC & ~O_DSYNC)));
	clu_iput(ci);
	if (err)
		shell_reply_err(req, err);
	else
		fuse_reply_write(req, done);
}

/* Only SEEK_DATA and SEEK_HOLE come. */
void op_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence, struct fuse_file_info *fi)
{
	struct clu_inode *ci = shell_get(req, ino);
	uint64_t found = 0;
	int err;

	(void)fi;
	if (!ci)
		return;
	if (whence != SEEK_DATA && whence != SEEK_HOLE)
		err = -EINVAL;
	else
		err = off < 0 ? -ENXIO : clu_seek(ci, (uint64_t)off, whence == SEEK_HOLE, &found);
	clu_iput(ci);
	if (err)
		shell_reply_err(req, err);
	else
		fuse_reply_lseek(req, (off_t)found);
}

void op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len,
		  struct fuse_file_info *fi)
{
	unsigned how = (mode & FALLOC_FL_KEEP_SIZE ? VOL_FALLOC_KEEP_SIZE : 0u) |
		       (mode & FALLOC_FL_PUNCH_HOLE ? VOL_FALLOC_PUNCH : 0u);
	struct clu_inode *ci = shell_get(req, ino);
	int err;

	(void)fi;
	if (!ci)
		return;
	if (mode & ~(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE))
		err = -EOPNOTSUPP;
	else if (off < 0 || len <= 0)
		err = -EINVAL;
	else
		err = clu_fallocate(ci, (uint64_t)off, (uint64_t)len, how);
	clu_iput(ci);
	shell_reply_err(req, err);
}

void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	struct clu_inode *ci = shell_get(req, ino);
	int err;

	(void)fi;
	if (!ci)
		return;
	err = clu_fsync(ci, datasync != 0);
	clu_iput(ci);
	shell_reply_err(req, err);
}

static void interrupted(fuse_req_t req, void *intr)
{
	(void)req;
	clu_interrupt(intr);
}

void op_flock(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, int op)
{
	struct clu_inode *ci = shell_get(req, ino);
	int level = op & LOCK_EX ? DLM_MODE_EX : op & LOCK_SH ? DLM_MODE_PR : DLM_MODE_NL;
	struct clu_interrupt intr;
	int err;

	if (!ci)
		return;
	clu_interrupt_init(&intr);
	fuse_req_interrupt_func(req, interrupted, &intr);
	err = clu_flock_set(ci, &handle_of(fi)->flock, level, op & LOCK_NB ? NULL : &intr);
	fuse_req_interrupt_func(req, NULL, NULL); /* waits for one that is running */
	clu_interrupt_destroy(&intr);
	clu_iput(ci);
	shell_reply_err(req, err);
}
