/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * xattr.c: extended attributes and ACLs, under M (doc/spec/fs-locking.md 4.3).
 *
 * The kernel checks permissions with the ACLs it reads through here, and forgets them
 * with the attributes of the inode, whose validity ends before M goes. An access ACL and
 * the mode change in one transaction. A new inode whose directory has a default ACL is
 * first made with no more rights for its group than the ACL will leave, so that a crash
 * between making it and writing its ACL opens nothing.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "fs/cluster/acl.h"
#include "fs/cluster/clu_int.h"
#include "fs/volume/ondisk.h"

struct kind {
	const char *prefix;
	uint8_t index;
	bool whole;	/* the prefix is all of the name */
};

static const struct kind kinds[] = {
	{ "user.", VOL_XATTR_USER, false },
	{ "system.posix_acl_access", VOL_XATTR_ACL_ACCESS, true },
	{ "system.posix_acl_default", VOL_XATTR_ACL_DEFAULT, true },
	{ "trusted.", VOL_XATTR_TRUSTED, false },
	{ "security.", VOL_XATTR_SECURITY, false },
};

enum { KINDS = sizeof(kinds) / sizeof(kinds[0]) };

static bool allowed(const struct clu *clu, uint8_t index)
{
	if (index == VOL_XATTR_USER)
		return clu->cfg.user_xattr;
	if (index == VOL_XATTR_ACL_ACCESS || index == VOL_XATTR_ACL_DEFAULT)
		return clu->cfg.acl;
	return true;
}

static const struct kind *kind_of_index(uint8_t index)
{
	for (unsigned i = 0; i < KINDS; i++)
		if (kinds[i].index == index)
			return &kinds[i];
	return NULL;
}

/* *rest: the name without its prefix. */
static int split(const struct clu *clu, const char *name, const struct kind **kind,
		 const char **rest)
{
	for (unsigned i = 0; i < KINDS; i++) {
		const struct kind *k = &kinds[i];
		size_t len = strlen(k->prefix);

		if (strncmp(name, k->prefix, len))
			continue;
		*rest = name + len;
		*kind = k;
		if (k->whole != !**rest)
			break;
		return allowed(clu, k->index) ? 0 : -EOPNOTSUPP;
	}
	return -EOPNOTSUPP;
}

static bool is_acl(const struct kind *k)
{
	return k->whole;
}

static bool has_xattrs(const struct clu_inode *ci)
{
	return ci->vi->dyn_features & OCFS2_HAS_XATTR_FL;
}

/* ---- get and list ------------------------------------------------------------------ */

int clu_getxattr(struct clu_inode *ci, const char *name, void *to, size_t room, size_t *size)
{
	const struct kind *k;
	const char *rest;
	size_t prefix;
	int err = split(ci->clu, name, &k, &rest);

	if (!err)
		err = clu_mlock(ci, DLM_MODE_PR, 0);
	if (err)
		return err;
	prefix = is_acl(k) ? ACL_PREFIX : 0;
	err = vol_getxattr(ci->vi, k->index, rest, (uint8_t *)to + prefix,
			   room > prefix ? room - prefix : 0, size);
	clu_munlock(ci, DLM_MODE_PR);
	if (!err && prefix) {
		if (room < prefix)
			err = -ERANGE;
		else
			acl_prefix(to);
	}
	*size += prefix;
	return err;
}

struct names {
	struct clu *clu;
	char *to;
	size_t room, used;
	bool trusted;
};

static int add_name(void *ctx, uint8_t index, const char *name, unsigned len)
{
	const struct kind *k = kind_of_index(index);
	struct names *n = ctx;
	size_t prefix, at = n->used;

	if (!k || !allowed(n->clu, index) || (index == VOL_XATTR_TRUSTED && !n->trusted))
		return 0;
	prefix = strlen(k->prefix);
	n->used += prefix + len + 1;
	if (n->used > n->room)
		return 0; /* only the size is wanted, or will be */
	memcpy(n->to + at, k->prefix, prefix);
	memcpy(n->to + at + prefix, name, len);
	n->to[n->used - 1] = 0;
	return 0;
}

int clu_listxattr(struct clu_inode *ci, bool trusted, char *to, size_t room, size_t *size)
{
	struct names n = { .clu = ci->clu, .to = to, .room = room, .trusted = trusted };
	int err = clu_mlock(ci, DLM_MODE_PR, 0);

	if (err)
		return err;
	err = vol_listxattr(ci->vi, add_name, &n);
	clu_munlock(ci, DLM_MODE_PR);
	*size = n.used;
	return !err && n.used > room ? -ERANGE : err;
}

/* ---- set and remove ------------------------------------------------------------------ */

/* M EX held. */
static int remove_if_there(struct clu_inode *ci, struct vol_xattr_set *set)
{
	int err;

	set->value = NULL;
	set->size = 0;
	err = vol_setxattr(ci->vi, set);
	return err == -ENODATA ? 0 : err;
}

static int set_mode_only(struct clu_inode *ci, uint16_t mode)
{
	struct vol_setattr a = { .valid = VOL_SET_MODE, .mode = mode };

	return vol_setattr(ci->vi, &a);
}

/* An access ACL that says no more than a mode becomes one. M EX held. */
static int set_access(struct clu_inode *ci, struct vol_xattr_set *set, bool drop_sgid)
{
	uint16_t mode = ci->vi->mode;
	int err;

	set->set_mode = true;
	if (acl_to_mode(set->value, set->size, &mode)) {
		set->mode = drop_sgid ? mode & (uint16_t)~S_ISGID : mode;
		return vol_setxattr(ci->vi, set);
	}
	set->mode = drop_sgid ? mode & (uint16_t)~S_ISGID : mode;
	set->create = set->replace = false;
	set->value = NULL;
	set->size = 0;
	err = has_xattrs(ci) ? vol_setxattr(ci->vi, set) : -ENODATA;
	return err == -ENODATA ? set_mode_only(ci, set->mode) : err;
}

static int set_acl(struct clu_inode *ci, struct vol_xattr_set *set, bool drop_sgid)
{
	const void *acl = NULL;
	int err = 0;

	if (S_ISLNK(ci->vi->mode))
		return -EOPNOTSUPP;
	if (set->value)
		err = acl_from_program(set->value, set->size, &acl, &set->size);
	if (err)
		return err;
	set->value = set->size ? acl : NULL;
	if (set->index == VOL_XATTR_ACL_DEFAULT && !S_ISDIR(ci->vi->mode))
		return set->value ? -EACCES : 0;
	if (!set->value)
		return remove_if_there(ci, set);
	if (set->index == VOL_XATTR_ACL_ACCESS)
		return set_access(ci, set, drop_sgid);
	return vol_setxattr(ci->vi, set);
}

int clu_setxattr(struct clu_inode *ci, const struct clu_xattr *what)
{
	struct vol_xattr_set set = {
		.value = what->value,
		.size = what->size,
		.create = what->create,
		.replace = what->replace,
	};
	const struct kind *k;
	int err = split(ci->clu, what->name, &k, &set.name);

	if (err)
		return err;
	set.index = k->index;
	err = clu_mlock(ci, DLM_MODE_EX, 0);
	if (err)
		return err;
	err = is_acl(k) ? set_acl(ci, &set, what->drop_sgid) : vol_setxattr(ci->vi, &set);
	clu_munlock(ci, DLM_MODE_EX);
	return err;
}

/* ---- what other operations do with them ------------------------------------------------ */

int clu_xattr_written(struct clu_inode *ci)
{
	struct vol_xattr_set caps = { .index = VOL_XATTR_SECURITY, .name = "capability" };

	return has_xattrs(ci) ? remove_if_there(ci, &caps) : 0;
}

/* An ACL of vi, in memory of its own. -ENODATA: none, or ACLs are off. */
static int read_acl(struct clu *clu, struct vol_inode *vi, uint8_t index, void **acl, size_t *size)
{
	int err;

	if (!clu->cfg.acl || !(vi->dyn_features & OCFS2_HAS_XATTR_FL))
		return -ENODATA;
	err = vol_getxattr(vi, index, "", NULL, 0, size);
	if (err != -ERANGE)
		return err ? err : -ENODATA;
	*acl = malloc(*size);
	if (!*acl)
		return -ENOMEM;
	err = vol_getxattr(vi, index, "", *acl, *size, size);
	if (!err)
		err = acl_check(*acl, *size);
	if (err)
		free(TAKE(*acl));
	return err == -EINVAL ? -EIO : err;
}

int clu_acl_chmod(struct clu_inode *ci, uint16_t mode)
{
	struct vol_xattr_set set = {
		.index = VOL_XATTR_ACL_ACCESS, .name = "", .set_mode = true, .mode = mode,
	};
	void *acl = NULL;
	int err = read_acl(ci->clu, ci->vi, set.index, &acl, &set.size);

	if (!err) {
		acl_follow_mode(acl, set.size, mode);
		set.value = acl;
		err = vol_setxattr(ci->vi, &set);
	}
	free(acl);
	return err == -ENODATA ? 0 : err;
}

int clu_acl_inherit(struct clu_inode *dir, uint16_t umask, struct vol_new *what,
		    struct clu_new_acl *out)
{
	void *acl = NULL;
	int err;

	*out = (struct clu_new_acl){ 0 };
	if (S_ISLNK(what->mode))
		return 0;
	err = read_acl(dir->clu, dir->vi, VOL_XATTR_ACL_DEFAULT, &acl, &out->size);
	if (err) {
		what->mode &= (uint16_t)~(umask & 0777u);
		return err == -ENODATA ? 0 : err;
	}
	if (S_ISDIR(what->mode)) {
		out->pass_on = malloc(out->size);
		if (!out->pass_on) {
			free(acl);
			return -ENOMEM;
		}
		memcpy(out->pass_on, acl, out->size);
	}
	if (acl_inherit(acl, out->size, &what->mode)) {
		out->mode = what->mode;
		what->mode &= (uint16_t)~(0070u & ~(acl_group_rights(acl, out->size) << 3));
		out->access = TAKE(acl);
	}
	free(acl);
	return 0;
}

int clu_acl_new(struct vol_inode *vi, const struct clu_new_acl *new)
{
	struct vol_xattr_set set = { .index = VOL_XATTR_ACL_DEFAULT, .name = "", .size = new->size };
	int err = 0;

	if (new->pass_on) {
		set.value = new->pass_on;
		err = vol_setxattr(vi, &set);
	}
	if (!err && new->access) {
		set.index = VOL_XATTR_ACL_ACCESS;
		set.value = new->access;
		set.set_mode = true;
		/* the bits that a setgid directory passed on as well */
		set.mode = (uint16_t)((vi->mode & ~0777u) | (new->mode & 0777u));
		err = vol_setxattr(vi, &set);
	}
	return err;
}

void clu_acl_new_free(struct clu_new_acl *new)
{
	free(TAKE(new->access));
	free(TAKE(new->pass_on));
}
