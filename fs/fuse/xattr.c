/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * xattr.c: requests about extended attributes.
 *
 * A volume without the feature answers ENOSYS: the kernel does not ask again. Whether
 * setting an ACL takes the set-group-ID bit is decided here, since libfuse 3.14 does not
 * pass on what the kernel found out about the caller.
 */
#include "fs/fuse/shell_int.h"

#include <stdlib.h>
#include <sys/xattr.h>

static bool switched_off(fuse_req_t req)
{
	if (shell_of(req)->cfg.xattrs)
		return false;
	fuse_reply_err(req, ENOSYS);
	return true;
}

/* The inode of a request, or NULL: it was answered. */
static struct clu_inode *inode_of(fuse_req_t req, fuse_ino_t ino)
{
	return switched_off(req) ? NULL : shell_get(req, ino);
}

/* Bytes, or with size 0 their number. name: NULL for a list of names. */
static void get_or_list(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	struct clu_inode *ci;
	size_t got = 0;
	void *buf;
	int err;

	ci = inode_of(req, ino);
	if (!ci)
		return;
	buf = malloc(size ? size : 1);
	if (!buf)
		err = -ENOMEM;
	else if (name)
		err = clu_getxattr(ci, name, buf, size, &got);
	else
		err = clu_listxattr(ci, fuse_req_ctx(req)->uid == 0, buf, size, &got);
	clu_iput(ci);
	if (!err && size)
		fuse_reply_buf(req, buf, got);
	else if ((!err || err == -ERANGE) && !size)
		fuse_reply_xattr(req, got);
	else
		shell_reply_err(req, err);
	free(buf);
}

void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	get_or_list(req, ino, name, size);
}

void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	get_or_list(req, ino, NULL, size);
}

enum { GROUPS_MAX = 65536 };

/* Root, or of the file's group. */
static bool may_keep_sgid(fuse_req_t req, gid_t group)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);
	gid_t *groups;
	bool found;
	int n;

	if (ctx->uid == 0 || ctx->gid == group)
		return true;
	groups = calloc(GROUPS_MAX, sizeof(*groups));
	n = groups ? fuse_req_getgroups(req, GROUPS_MAX, groups) : 0;
	found = false;
	for (int i = 0; i < n && i < GROUPS_MAX; i++)
		found |= groups[i] == group;
	free(groups);
	return found;
}

void op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size,
		 int flags)
{
	struct clu_xattr what = {
		.name = name,
		.value = value,
		.size = size,
		.create = flags & XATTR_CREATE,
		.replace = flags & XATTR_REPLACE,
	};
	struct clu_inode *ci;
	int err;

	ci = inode_of(req, ino);
	if (!ci)
		return;
	what.drop_sgid = !strcmp(name, "system.posix_acl_access") &&
			 !may_keep_sgid(req, ci->vi->gid);
	err = clu_setxattr(ci, &what);
	clu_iput(ci);
	shell_reply_err(req, err);
}

void op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	struct clu_xattr what = { .name = name };
	struct clu_inode *ci;
	int err;

	ci = inode_of(req, ino);
	if (!ci)
		return;
	err = clu_setxattr(ci, &what);
	clu_iput(ci);
	shell_reply_err(req, err);
}
