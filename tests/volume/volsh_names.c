/* SPDX-License-Identifier: GPL-2.0-or-later */
/* volsh_names.c: commands that look at and change names. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include "tests/volume/volsh.h"

static int make(struct volsh *sh, const char *path, mode_t mode, const char *target)
{
	struct vol_new what = { .mode = (uint16_t)mode, .target = target };
	struct vol_inode *dir, *inode;
	const char *name;
	int err;

	err = volsh_parent(sh, path, &dir, &name);
	if (err)
		return err;
	err = vol_create(dir, name, strlen(name), &what, &inode);
	if (!err)
		vol_iput(inode);
	vol_iput(dir);
	return err;
}

static int do_create(struct volsh *sh, char **w, unsigned n)
{
	(void)n;
	return make(sh, w[0], S_IFREG | 0644, NULL);
}

static int do_mkdir(struct volsh *sh, char **w, unsigned n)
{
	(void)n;
	return make(sh, w[0], S_IFDIR | 0755, NULL);
}

/* mknod PATH b|c|p|s [MAJOR MINOR] */
static int do_mknod(struct volsh *sh, char **w, unsigned n)
{
	mode_t type = w[1][0] == 'b' ? S_IFBLK : w[1][0] == 'c' ? S_IFCHR :
		      w[1][0] == 'p' ? S_IFIFO : S_IFSOCK;
	struct vol_new what = { .mode = (uint16_t)(type | 0644) };
	struct vol_inode *dir, *inode;
	const char *name;
	int err;

	if (n == 4)
		what.rdev = makedev((unsigned)atoi(w[2]), (unsigned)atoi(w[3]));
	err = volsh_parent(sh, w[0], &dir, &name);
	if (err)
		return err;
	err = vol_create(dir, name, strlen(name), &what, &inode);
	if (!err)
		vol_iput(inode);
	vol_iput(dir);
	return err;
}

static int do_symlink(struct volsh *sh, char **w, unsigned n)
{
	(void)n;
	return make(sh, w[1], S_IFLNK | 0777, w[0]);
}

static int do_readlink(struct volsh *sh, char **w, unsigned n)
{
	char buf[4097];
	struct vol_inode *inode;
	int len = volsh_find(sh, w[0], &inode);

	(void)n;
	if (len)
		return len;
	len = vol_readlink(inode, buf, sizeof(buf) - 1);
	vol_iput(inode);
	if (len < 0)
		return len;
	buf[len] = 0;
	puts(buf);
	return 0;
}

static bool print_entry(void *ctx, const char *name, size_t len, blkno_t blkno, uint8_t type,
			uint64_t next)
{
	(void)ctx, (void)next, (void)blkno;
	printf("%u %.*s\n", type, (int)len, name);
	return true;
}

static int do_ls(struct volsh *sh, char **w, unsigned n)
{
	struct vol_inode *dir;
	int err = volsh_find(sh, n ? w[0] : "/", &dir);

	if (err)
		return err;
	err = vol_readdir(dir, 0, print_entry, NULL);
	vol_iput(dir);
	return err;
}

/* unlink or rmdir; wipe: free what has no name left. */
static int drop(struct volsh *sh, const char *path, bool wipe)
{
	struct vol_inode *dir, *inode;
	const char *name;
	int err;

	err = volsh_parent(sh, path, &dir, &name);
	if (err)
		return err;
	err = volsh_find(sh, path, &inode);
	if (!err) {
		err = vol_unlink(dir, name, strlen(name), inode);
		if (!err && wipe && inode->nlink == 0)
			err = vol_wipe(inode);
		vol_iput(inode);
	}
	vol_iput(dir);
	return err;
}

static int do_rm(struct volsh *sh, char **w, unsigned n)
{
	(void)n;
	return drop(sh, w[0], true);
}

static int do_unlink(struct volsh *sh, char **w, unsigned n)
{
	(void)n;
	return drop(sh, w[0], false);
}

struct orphans {
	blkno_t blkno[1024];
	unsigned n;
};

static void note(void *ctx, blkno_t blkno, bool dio)
{
	struct orphans *o = ctx;

	if (!dio && o->n < 1024)
		o->blkno[o->n++] = blkno;
}

/* Free what "unlink" or a crash left. */
static int do_orphans(struct volsh *sh, char **w, unsigned n)
{
	AUTO_FREE struct orphans *o = calloc(1, sizeof(*o));
	int err;

	(void)w, (void)n;
	if (!o)
		return -ENOMEM;
	err = vol_orphans_each(sh->v, sh->slot, note, o);
	for (unsigned i = 0; i < o->n && !err; i++) {
		struct vol_inode *inode;

		err = vol_iget(sh->v, o->blkno[i], &inode);
		if (err)
			break;
		err = vol_inode_refresh(inode);
		if (!err)
			err = vol_wipe(inode);
		vol_iput(inode);
	}
	printf("orphans %u\n", o->n);
	return err;
}

static int do_ln(struct volsh *sh, char **w, unsigned n)
{
	struct vol_inode *dir, *inode;
	const char *name;
	int err;

	(void)n;
	err = volsh_find(sh, w[0], &inode);
	if (err)
		return err;
	err = volsh_parent(sh, w[1], &dir, &name);
	if (!err) {
		err = vol_link(dir, name, strlen(name), inode);
		vol_iput(dir);
	}
	vol_iput(inode);
	return err;
}

static int do_mv(struct volsh *sh, char **w, unsigned n)
{
	struct vol_rename r = { 0 };
	int err;

	(void)n;
	err = volsh_parent(sh, w[0], &r.old_dir, &r.old_name);
	if (!err)
		err = volsh_parent(sh, w[1], &r.new_dir, &r.new_name);
	if (!err)
		err = volsh_find(sh, w[0], &r.inode);
	if (!err) {
		r.old_len = strlen(r.old_name);
		r.new_len = strlen(r.new_name);
		if (volsh_find(sh, w[1], &r.target))
			r.target = NULL;
		err = vol_rename(&r);
	}
	if (!err && r.target && r.target->nlink == 0)
		err = vol_wipe(r.target);
	if (r.target)
		vol_iput(r.target);
	if (r.inode)
		vol_iput(r.inode);
	if (r.new_dir)
		vol_iput(r.new_dir);
	if (r.old_dir)
		vol_iput(r.old_dir);
	return err;
}

/* many COUNT PREFIX: that many empty files PREFIX0, PREFIX1, ... */
static int many(struct volsh *sh, char **w, int (*one)(struct volsh *, char **, unsigned))
{
	char path[4096], *arg = path;
	int err = 0;

	for (long i = 0; i < atol(w[0]) && !err; i++) {
		snprintf(path, sizeof(path), "%s%ld", w[1], i);
		err = one(sh, &arg, 1);
	}
	return err;
}

static int do_many(struct volsh *sh, char **w, unsigned n)
{
	(void)n;
	return many(sh, w, do_create);
}

static int do_rmmany(struct volsh *sh, char **w, unsigned n)
{
	(void)n;
	return many(sh, w, do_rm);
}

const struct volsh_command volsh_names[] = {
	{ "ls", "[PATH]", 0, 1, do_ls },
	{ "create", "PATH", 1, 1, do_create },
	{ "many", "COUNT PREFIX", 2, 2, do_many },
	{ "rmmany", "COUNT PREFIX", 2, 2, do_rmmany },
	{ "mkdir", "PATH", 1, 1, do_mkdir },
	{ "mknod", "PATH b|c|p|s [MAJOR MINOR]", 2, 4, do_mknod },
	{ "symlink", "TARGET PATH", 2, 2, do_symlink },
	{ "readlink", "PATH", 1, 1, do_readlink },
	{ "rm", "PATH", 1, 1, do_rm },
	{ "unlink", "PATH", 1, 1, do_unlink },
	{ "orphans", "", 0, 0, do_orphans },
	{ "ln", "PATH NEW", 2, 2, do_ln },
	{ "mv", "PATH NEW", 2, 2, do_mv },
	{ 0 },
};
