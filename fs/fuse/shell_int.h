/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * shell_int.h: what the rooms of fs/fuse share.
 *
 *	shell.c	  session, INIT, mount(2), the loop
 *	entry.c	  node ids, lookup counts, attribute and entry replies
 *	names.c	  LOOKUP, CREATE, MKDIR, ..., RENAME, FORGET
 *	data.c	  OPEN, READ, WRITE, FSYNC, RELEASE, flock
 *	attr.c	  GETATTR, SETATTR, STATFS, READLINK
 *	xattr.c	  GETXATTR, LISTXATTR, SETXATTR, REMOVEXATTR
 *	inval.c	  notifications to the kernel
 *	initio.c  the two bits of INIT that libfuse 3.14 does not know
 */
#ifndef O2FUSE_FUSE_SHELL_INT_H
#define O2FUSE_FUSE_SHELL_INT_H

#define FUSE_USE_VERSION 312
#include <fuse_lowlevel.h>
#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>
#include "fs/fuse/shell.h"

struct shell {
	struct shell_config cfg;
	struct logger *log;
	struct fuse_session *se;
	struct clu *clu;
	blkno_t root;
	int fd;			/* /dev/fuse; owned by se once mounted */
	bool init_done, can_mmap; /* initio.c */
	unsigned minor;
	unsigned proto_minor;	/* of the kernel */
	atomic_bool gone;
	atomic_bool attr_validity; /* the kernel drops an overtaken attribute reply */
};

static inline struct shell *shell_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

static inline fuse_ino_t nodeid(const struct shell *s, blkno_t blkno)
{
	return blkno == s->root ? FUSE_ROOT_ID : (fuse_ino_t)blkno;
}

/* entry.c */
/* The inode of a request, referenced. Replies ESTALE and returns NULL if unknown. */
struct clu_inode *shell_get(fuse_req_t req, fuse_ino_t ino);
void shell_stat(const struct clu_attr *a, struct stat *st);
/* Context of an entry reply; a clu_attr_fn. */
struct entry_reply {
	struct shell *s;
	fuse_req_t req;
	bool may_cache_attrs;	/* LOOKUP: validity allowed (12.3) */
	struct fuse_file_info *fi; /* CREATE: the handle to answer with */
	bool sent;
};
void shell_reply_entry(void *ctx, struct clu_inode *ci, const struct clu_attr *attr);
/* Undo n lookups of the kernel. */
void shell_forget(struct shell *s, fuse_ino_t ino, uint64_t n);
void shell_reply_err(fuse_req_t req, int err);

/* initio.c: adopt s->fd. */
int shell_adopt(struct shell *s);

/* data.c */
/* Allocate a handle and count it in; err < 0 or 0. */
int shell_open_handle(struct shell *s, struct clu_inode *ci, struct fuse_file_info *fi);
void shell_drop_handle(struct clu_inode *ci, struct fuse_file_info *fi);

/* per request, for the ops table */
void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name);
void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t nlookup);
void op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets);
void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev);
void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode);
void op_symlink(fuse_req_t req, const char *link, fuse_ino_t parent, const char *name);
void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t newparent, const char *newname);
void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name);
void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name);
void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent,
	       const char *newname, unsigned int flags);
void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
	       struct fuse_file_info *fi);
void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void op_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);
void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set,
		struct fuse_file_info *fi);
void op_readlink(fuse_req_t req, fuse_ino_t ino);
void op_statfs(fuse_req_t req, fuse_ino_t ino);
void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void op_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off,
	      struct fuse_file_info *fi);
void op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len,
		  struct fuse_file_info *fi);
void op_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence, struct fuse_file_info *fi);
void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);
void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size);
void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size);
void op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size,
		 int flags);
void op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name);
void op_flock(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, int op);

#endif
