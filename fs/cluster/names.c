/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * names.c: lookup, creation, links and removal (doc/spec/fs-locking.md 4.2).
 *
 * Order: M of the directory, then M of the inode in it, then N. What the kernel
 * believes about a name is never trusted: it is looked up again under M(dir) EX. A
 * name is made known to the kernel only while M(dir) is held and N(dir, x) attached,
 * so that the node that removes it finds our N and makes us forget the name.
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include "fs/cluster/clu_int.h"

enum { FIND_TRIES = 8 };

/*
 * The inode behind name, referenced; M(dir) is held. That does not keep out other tasks
 * of this node: one may remove the name, and wipe what it named, between our look into
 * the directory and at the inode. So a dead inode is looked up again.
 */
static int find(struct clu_inode *dir, const char *name, struct clu_inode **out)
{
	struct vol_found f;
	int err = -ESTALE;

	for (unsigned i = 0; i < FIND_TRIES && err == -ESTALE; i++) {
		err = vol_lookup(dir->vi, name, strlen(name), &f);
		if (!err)
			err = clu_iget(dir->clu, f.blkno, out);
	}
	if (err == -ESTALE)
		log_err(dir->clu->log, "names",
			"entry names a dead inode dir=%llu inode=%llu; unmount all nodes and run "
			"fsck.ocfs2",
			(unsigned long long)dir->vi->blkno, (unsigned long long)f.blkno);
	return err == -ESTALE ? -EIO : err;
}

static int lookup_once(struct clu_inode *dir, const char *name, clu_attr_fn reply, void *ctx)
{
	struct clu_inode *ci = NULL;
	int err = clu_mlock(dir, DLM_MODE_PR, 0);

	if (err)
		return err;
	if (!clu_is_dir(dir)) {
		clu_munlock(dir, DLM_MODE_PR);
		return -ENOTDIR;
	}
	err = find(dir, name, &ci);
	if (!err) {
		err = clu_dentry_attach(dir, ci);
		if (!err)
			err = clu_getattr(ci, reply, ctx);
		if (err == -ESTALE)
			err = -EAGAIN; /* it died after it was found */
	}
	clu_munlock(dir, DLM_MODE_PR);
	if (ci)
		clu_iput(ci);
	return err;
}

int clu_lookup(struct clu_inode *dir, const char *name, clu_attr_fn reply, void *ctx)
{
	int err = -EAGAIN;

	for (unsigned i = 0; i < FIND_TRIES && err == -EAGAIN; i++)
		err = lookup_once(dir, name, reply, ctx);
	return err == -EAGAIN ? -ESTALE : err;
}

/* May names be added to dir? M(dir) EX held. */
static int may_add(struct clu_inode *dir, const char *name)
{
	struct vol_found f;
	int err;

	if (!clu_is_dir(dir))
		return -ENOTDIR;
	if (clu_links(dir) == 0)
		return -ENOENT;
	err = vol_lookup(dir->vi, name, strlen(name), &f);
	return err == -ENOENT ? 0 : err ? err : -EEXIST;
}

/* What was just made goes again. M(dir) EX held. */
static void unmake(struct clu_inode *dir, const char *name, struct clu_inode *ci)
{
	int err = clu_mlock(ci, DLM_MODE_EX, 0);

	if (err)
		return;
	err = clu_dentry_take_ex(dir, ci);
	if (!err)
		err = vol_unlink(dir->vi, name, strlen(name), ci->vi);
	clu_munlock(ci, DLM_MODE_EX);
	if (err)
		log_err(dir->clu->log, "names",
			"a file whose ACL could not be written stays, without it dir=%llu inode=%llu errno=%d",
			(unsigned long long)dir->vi->blkno, (unsigned long long)ci->vi->blkno, -err);
}

int clu_create(struct clu_inode *dir, const char *name, const struct vol_new *what,
	       uint16_t umask, clu_attr_fn reply, void *ctx)
{
	struct clu_new_acl acl = { 0 };
	struct vol_new new = *what;
	struct clu_inode *ci = NULL;
	struct vol_inode *vi;
	bool unmade = false;
	int err = clu_mlock(dir, DLM_MODE_EX, 0);

	if (err)
		return err;
	err = may_add(dir, name);
	if (!err)
		err = clu_acl_inherit(dir, umask, &new, &acl);
	if (err)
		goto drop_dir;
	if (dir->vi->mode & S_ISGID) {
		new.gid = dir->vi->gid;
		if (S_ISDIR(new.mode))
			new.mode |= S_ISGID;
	}
	err = vol_create(dir->vi, name, strlen(name), &new, &vi);
	if (err)
		goto drop_dir;
	/* From here on the name exists. Nobody else can see it before M(dir) goes. */
	err = clu_new_inode(dir->clu, vi, &ci);
	if (!err)
		err = clu_dentry_attach_new(dir, ci);
	if (!err) {
		err = clu_acl_new(vi, &acl);
		unmade = err;
		if (unmade)
			unmake(dir, name, ci);
	}
	if (!err)
		clu_attr_reply(ci, reply, ctx);
drop_dir:
	clu_munlock(dir, DLM_MODE_EX);
	clu_acl_new_free(&acl);
	if (unmade)
		clu_inode_unlinked_here(ci);
	if (ci)
		clu_iput(ci);
	return err;
}

int clu_link(struct clu_inode *ci, struct clu_inode *dir, const char *name, clu_attr_fn reply,
	     void *ctx)
{
	int err = clu_mlock(dir, DLM_MODE_EX, 0);

	if (err)
		return err;
	err = may_add(dir, name);
	if (err)
		goto drop_dir;
	err = clu_mlock(ci, DLM_MODE_EX, 0);
	if (err)
		goto drop_dir;
	if (clu_is_dir(ci))
		err = -EPERM;
	else if (clu_links(ci) == 0)
		err = -ENOENT;
	if (!err)
		err = clu_dentry_attach(dir, ci);
	if (!err)
		err = vol_link(dir->vi, name, strlen(name), ci->vi);
	if (!err)
		clu_attr_reply(ci, reply, ctx);
	clu_munlock(ci, DLM_MODE_EX);
drop_dir:
	clu_munlock(dir, DLM_MODE_EX);
	return err;
}

int clu_unlink(struct clu_inode *dir, const char *name, bool rmdir)
{
	struct clu_inode *ci = NULL;
	bool last = false;
	int err = clu_mlock(dir, DLM_MODE_EX, 0);

	if (err)
		return err;
	err = find(dir, name, &ci);
	if (err)
		goto drop_dir;
	if (rmdir != clu_is_dir(ci)) {
		err = rmdir ? -ENOTDIR : -EISDIR;
		goto drop_dir;
	}
	err = clu_mlock(ci, DLM_MODE_EX, 0);
	if (err)
		goto drop_dir;
	err = clu_dentry_take_ex(dir, ci);
	if (!err)
		err = vol_unlink(dir->vi, name, strlen(name), ci->vi);
	last = !err && ci->vi->nlink == 0;
	clu_munlock(ci, DLM_MODE_EX);
drop_dir:
	clu_munlock(dir, DLM_MODE_EX);
	if (last)
		clu_inode_unlinked_here(ci);
	if (ci)
		clu_iput(ci);
	return err;
}

int clu_readdir(struct clu_inode *dir, uint64_t pos, vol_readdir_fn fn, void *ctx)
{
	int err = clu_mlock(dir, DLM_MODE_PR, 0);

	if (err)
		return err;
	/* A directory that was removed while it is open lists as empty. */
	if (!clu_is_dir(dir))
		err = -ENOTDIR;
	else if (clu_links(dir) > 0)
		err = vol_readdir(dir->vi, pos, fn, ctx);
	clu_munlock(dir, DLM_MODE_PR);
	return err;
}
