/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * names.c: requests about names.
 *
 * Replies with an entry are sent by fs/cluster's callback while M(dir) is held, so
 * that the kernel knows a name before anybody else can take it away.
 */
#include "fs/fuse/shell_int.h"

#include <linux/fs.h>
#include <stdlib.h>

void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct clu_inode *dir = shell_get(req, parent);
	struct entry_reply r = { .s = shell_of(req), .req = req, .may_cache_attrs = true };
	int err;

	if (!dir)
		return;
	err = clu_lookup(dir, name, shell_reply_entry, &r);
	clu_iput(dir);
	if (!r.sent)
		shell_reply_err(req, err);
}

void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t nlookup)
{
	shell_forget(shell_of(req), ino, nlookup);
	fuse_reply_none(req);
}

void op_forget_multi(fuse_req_t req, size_t n, struct fuse_forget_data *forgets)
{
	for (size_t i = 0; i < n; i++)
		shell_forget(shell_of(req), forgets[i].ino, forgets[i].nlookup);
	fuse_reply_none(req);
}

static void create(fuse_req_t req, fuse_ino_t parent, const char *name, struct vol_new *what)
{
	struct clu_inode *dir = shell_get(req, parent);
	struct entry_reply r = { .s = shell_of(req), .req = req };
	int err;

	if (!dir)
		return;
	what->uid = fuse_req_ctx(req)->uid;
	what->gid = fuse_req_ctx(req)->gid;
	err = clu_create(dir, name, what, (uint16_t)(fuse_req_ctx(req)->umask & 0777),
			 shell_reply_entry, &r);
	clu_iput(dir);
	if (!r.sent)
		shell_reply_err(req, err);
}

void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
	struct vol_new what = { .mode = (uint16_t)mode };

	if (S_ISCHR(mode) || S_ISBLK(mode))
		what.rdev = rdev;
	create(req, parent, name, &what);
}

void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	struct vol_new what = { .mode = (uint16_t)(S_IFDIR | (mode & 07777)) };

	create(req, parent, name, &what);
}

void op_symlink(fuse_req_t req, const char *link, fuse_ino_t parent, const char *name)
{
	struct vol_new what = { .mode = S_IFLNK | 0777, .target = link };

	create(req, parent, name, &what);
}

void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t newparent, const char *newname)
{
	struct entry_reply r = { .s = shell_of(req), .req = req };
	struct clu_inode *ci = shell_get(req, ino), *dir;
	int err;

	if (!ci)
		return;
	dir = shell_get(req, newparent);
	if (dir) {
		err = clu_link(ci, dir, newname, shell_reply_entry, &r);
		clu_iput(dir);
		if (!r.sent)
			shell_reply_err(req, err);
	}
	clu_iput(ci);
}

static void remove_name(fuse_req_t req, fuse_ino_t parent, const char *name, bool rmdir)
{
	struct clu_inode *dir = shell_get(req, parent);
	int err;

	if (!dir)
		return;
	err = clu_unlink(dir, name, rmdir);
	clu_iput(dir);
	shell_reply_err(req, err);
}

void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	remove_name(req, parent, name, false);
}

void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	remove_name(req, parent, name, true);
}

void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent,
	       const char *newname, unsigned int flags)
{
	struct clu_inode *old_dir, *new_dir;
	int err;

	if (flags & ~(unsigned int)RENAME_NOREPLACE) {
		fuse_reply_err(req, EINVAL);
		return;
	}
	old_dir = shell_get(req, parent);
	if (!old_dir)
		return;
	new_dir = shell_get(req, newparent);
	if (new_dir) {
		err = clu_rename(old_dir, name, new_dir, newname, flags & RENAME_NOREPLACE);
		clu_iput(new_dir);
		shell_reply_err(req, err);
	}
	clu_iput(old_dir);
}

/* ---- CREATE: LOOKUP or MKNOD, and OPEN, in one reply --------------------------- */

struct creation {
	struct entry_reply reply;
	struct clu_inode *open;	/* the inode whose handle is open already, or NULL */
	int open_err;
};

/* A new inode: nobody else can hold its locks, so opening it under M(dir) cannot wait
 * for another node. */
static void reply_new(void *ctx, struct clu_inode *ci, const struct clu_attr *attr)
{
	struct creation *c = ctx;

	c->open_err = shell_open_handle(c->reply.s, ci, c->reply.fi);
	if (!c->open_err)
		shell_reply_entry(&c->reply, ci, attr);
}

static void reply_existing(void *ctx, struct clu_inode *ci, const struct clu_attr *attr)
{
	struct creation *c = ctx;

	if (ci == c->open)
		shell_reply_entry(&c->reply, ci, attr);
}

static void take_inode(void *ctx, struct clu_inode *ci, const struct clu_attr *attr)
{
	struct clu_inode **out = ctx;

	(void)attr;
	clu_ihold(ci);
	*out = ci;
}

static void ignore_attr(void *ctx, struct clu_inode *ci, const struct clu_attr *attr)
{
	(void)ctx;
	(void)ci;
	(void)attr;
}

/*
 * Another host made the name after our kernel's negative answer: open what is there.
 * Opening for writing takes W and M, which come before M(dir) in the order of locks: so
 * it is opened with nothing held, and the reply checks that the name still means it.
 * The kernel takes the file for new and will not truncate it: O_TRUNC is ours to do.
 */
static int open_existing(struct clu_inode *dir, const char *name, struct creation *c)
{
	struct clu_setattr cut = { .set_size = true, .kill_suid = true };
	struct fuse_file_info *fi = c->reply.fi;
	int err = clu_lookup(dir, name, take_inode, &c->open);

	if (err)
		return err;
	err = shell_open_handle(c->reply.s, c->open, fi);
	if (!err) {
		if ((fi->flags & O_TRUNC) && S_ISREG(c->open->vi->mode))
			err = clu_setattr(c->open, &cut, ignore_attr, NULL);
		if (!err)
			err = clu_lookup(dir, name, reply_existing, c);
		if (!c->reply.sent) {
			shell_drop_handle(c->open, fi);
			err = err ? err : -ENOENT; /* it means another inode now */
		}
	}
	clu_iput(c->open);
	return err;
}

void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
	       struct fuse_file_info *fi)
{
	struct creation c = { .reply = { .s = shell_of(req), .req = req, .fi = fi } };
	struct vol_new what = {
		.mode = (uint16_t)(S_IFREG | (mode & 07777)),
		.uid = fuse_req_ctx(req)->uid,
		.gid = fuse_req_ctx(req)->gid,
	};
	struct clu_inode *dir = shell_get(req, parent);
	int err;

	if (!dir)
		return;
	do {
		err = clu_create(dir, name, &what, (uint16_t)(fuse_req_ctx(req)->umask & 0777),
				 reply_new, &c);
		if (err == -EEXIST && !(fi->flags & O_EXCL))
			err = open_existing(dir, name, &c);
	} while (err == -ENOENT && !c.reply.sent && !c.open_err && dir->vi->nlink);
	clu_iput(dir);
	if (!c.reply.sent)
		shell_reply_err(req, c.open_err ? c.open_err : err);
}

/* ---- READDIR ----------------------------------------------------------------------- */

struct listing {
	struct shell *s;
	fuse_req_t req;
	char *buf;
	size_t size, used;
};

static bool add_entry(void *ctx, const char *name, size_t len, blkno_t blkno, uint8_t type,
		      uint64_t next)
{
	static const mode_t modes[] = { 0,	   S_IFREG, S_IFDIR,  S_IFCHR,
					S_IFBLK, S_IFIFO, S_IFSOCK, S_IFLNK };
	struct listing *l = ctx;
	struct stat st = { .st_ino = blkno };
	char z[NAME_MAX + 1];
	size_t need;

	if (len > NAME_MAX)
		return true;
	memcpy(z, name, len);
	z[len] = 0;
	st.st_mode = type < sizeof(modes) / sizeof(modes[0]) ? modes[type] : 0;
	need = fuse_add_direntry(l->req, l->buf + l->used, l->size - l->used, z, &st, (off_t)next);
	if (need > l->size - l->used)
		return false;
	l->used += need;
	return true;
}

void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	struct listing l = { .s = shell_of(req), .req = req, .size = size };
	struct clu_inode *dir = shell_get(req, ino);
	int err;

	(void)fi;
	if (!dir)
		return;
	l.buf = malloc(size);
	err = l.buf ? clu_readdir(dir, (uint64_t)off, add_entry, &l) : -ENOMEM;
	if (err)
		shell_reply_err(req, err);
	else
		fuse_reply_buf(req, l.buf, l.used);
	if (!err && !l.s->cfg.ro)
		clu_accessed(dir);
	clu_iput(dir);
	free(l.buf);
}

void op_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	op_fsync(req, ino, datasync, fi);
}
