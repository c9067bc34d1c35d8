/* SPDX-License-Identifier: GPL-2.0-or-later */
/* volume.c: operations on a volume, and reading all of it; see ace.h. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include "tests/crash/ace.h"

static int open_name(struct vol_inode *dir, const char *name, struct vol_inode **out)
{
	struct vol_found f;
	int err = vol_lookup(dir, name, strlen(name), &f);

	if (!err)
		err = vol_iget(dir->vol, f.blkno, out);
	if (err)
		return err;
	err = (*out)->loaded ? 0 : vol_inode_refresh(*out);
	if (err)
		vol_iput(*out);
	return err;
}

static int open_dir(struct vol *v, const struct ace_path *p, struct vol_inode **out)
{
	if (p->dir[0])
		return open_name(vol_root(v), p->dir, out);
	*out = vol_ihold(vol_root(v));
	return 0;
}

static int open_path(struct vol *v, int path, struct vol_inode **out)
{
	struct vol_inode *dir;
	int err = open_dir(v, &ace_paths[path], &dir);

	if (err)
		return err;
	err = open_name(dir, ace_paths[path].name, out);
	vol_iput(dir);
	return err;
}

static int make(struct vol *v, int path, bool folder)
{
	const struct ace_path *p = &ace_paths[path];
	struct vol_new what = { .mode = folder ? S_IFDIR | 0755 : S_IFREG | 0644 };
	struct vol_inode *dir, *inode;
	int err = open_dir(v, p, &dir);

	if (err)
		return err;
	err = vol_create(dir, p->name, strlen(p->name), &what, &inode);
	vol_iput(dir);
	if (!err)
		vol_iput(inode);
	return err;
}

static int write_at(struct vol_inode *inode, uint64_t off, uint32_t len, unsigned step)
{
	char buf[DATA_MAX];
	size_t done = 0;
	int err;

	for (uint32_t i = 0; i < len; i++)
		buf[i] = ace_byte((uint32_t)off + i, step);
	err = vol_write(inode, buf, len, &off, false, false, &done);
	return err ? err : done == len ? 0 : -EIO;
}

/* An inode that lost its last name ends at once: nobody has it open. */
static int end_of(struct vol_inode *inode)
{
	return inode->nlink ? 0 : vol_wipe(inode);
}

static int do_unlink(struct vol *v, int path)
{
	const struct ace_path *p = &ace_paths[path];
	struct vol_inode *dir, *inode;
	int err = open_dir(v, p, &dir);

	if (err)
		return err;
	err = open_name(dir, p->name, &inode);
	if (!err) {
		err = vol_unlink(dir, p->name, strlen(p->name), inode);
		if (!err)
			err = end_of(inode);
		vol_iput(inode);
	}
	vol_iput(dir);
	return err;
}

static int do_rename(struct vol *v, const struct ace_op *op)
{
	const struct ace_path *p = &ace_paths[op->path], *q = &ace_paths[op->other];
	struct vol_rename r = { .old_name = p->name, .new_name = q->name,
				.old_len = strlen(p->name), .new_len = strlen(q->name) };
	int err = open_dir(v, p, &r.old_dir);

	if (!err)
		err = open_dir(v, q, &r.new_dir);
	if (!err)
		err = open_name(r.old_dir, p->name, &r.inode);
	if (!err && open_name(r.new_dir, q->name, &r.target))
		r.target = NULL;
	if (!err)
		err = vol_rename(&r);
	if (!err && r.target)
		err = end_of(r.target);
	for (struct vol_inode **i = (struct vol_inode *[]){ r.target, r.inode, r.new_dir, r.old_dir },
			      **end = i + 4; i < end; i++)
		if (*i)
			vol_iput(*i);
	return err;
}

static int do_link(struct vol *v, const struct ace_op *op, struct vol_inode *inode)
{
	const struct ace_path *q = &ace_paths[op->other];
	struct vol_inode *dir;
	int err = open_dir(v, q, &dir);

	if (err)
		return err;
	err = vol_link(dir, q->name, strlen(q->name), inode);
	vol_iput(dir);
	return err;
}

int ace_do(struct vol *v, const struct ace_op *op, unsigned step)
{
	struct vol_inode *inode;
	int err;

	switch (op->kind) {
	case A_SYNC:
		return vol_sync(v);
	case A_CREATE:
	case A_MKDIR:
		return make(v, op->path, op->kind == A_MKDIR);
	case A_RMDIR:
	case A_UNLINK:
		return do_unlink(v, op->path);
	case A_RENAME:
		return do_rename(v, op);
	default:
		break;
	}
	err = open_path(v, op->path, &inode);
	if (err)
		return err;
	if (op->kind == A_WRITE)
		err = write_at(inode, op->off, op->len, step);
	else if (op->kind == A_APPEND)
		err = write_at(inode, inode->size, op->len, step);
	else if (op->kind == A_TRUNCATE)
		err = vol_truncate(inode, op->len);
	else if (op->kind == A_LINK)
		err = do_link(v, op, inode);
	else
		err = vol_fsync(inode, false);
	vol_iput(inode);
	return err;
}

int ace_make_base(struct vol *v)
{
	static const struct ace_op base[] = {
		{ A_MKDIR, 0, -1, 0, 0 }, { A_MKDIR, 1, -1, 0, 0 }, { A_MKDIR, 2, -1, 0, 0 },
		{ A_CREATE, 3, -1, 0, 0 }, { A_WRITE, 3, -1, 0, 8192 },
		{ A_CREATE, 4, -1, 0, 0 }, { A_WRITE, 4, -1, 0, 3000 },
	};
	int err = 0;

	for (unsigned i = 0; i < sizeof(base) / sizeof(base[0]) && !err; i++)
		err = ace_do(v, &base[i], 0);
	return err;
}

/* ---- what is there ------------------------------------------------------------------ */

static bool count(void *ctx, const char *name, size_t len, blkno_t blkno, uint8_t type, uint64_t next)
{
	(void)blkno, (void)type, (void)next;
	*(unsigned *)ctx += name[0] != '.' && !(len == 10 && !memcmp(name, "lost+found", 10));
	return true;
}

static int observe_node(struct vol_inode *inode, struct ace_node *n, unsigned *entries)
{
	size_t got = 0;
	int err;

	n->dir = S_ISDIR(inode->mode);
	n->nlink = inode->nlink;
	if (n->dir)
		return vol_readdir(inode, 0, count, entries);
	if (inode->size > DATA_MAX)
		return -EUCLEAN;
	n->size = (uint32_t)inode->size;
	err = vol_read(inode, n->data, n->size, 0, &got);
	return err ? err : got == n->size ? 0 : -EUCLEAN;
}

int ace_observe(struct vol *v, struct ace_state *s)
{
	unsigned entries = 0, names = 0;
	blkno_t at[NODES_MAX];
	int err;

	memset(s, 0, sizeof(*s));
	err = vol_readdir(vol_root(v), 0, count, &entries);
	for (int i = 0; i < PATHS && !err; i++) {
		struct vol_inode *inode;
		unsigned k = 0;

		s->node[i] = -1;
		err = open_path(v, i, &inode);
		if (err == -ENOENT) {
			err = 0;
			continue;
		}
		if (err)
			break;
		names++;
		while (k < s->nodes && at[k] != inode->blkno)
			k++;
		if (k == NODES_MAX) {
			err = -EUCLEAN;
		} else if (k == s->nodes) {
			at[s->nodes++] = inode->blkno;
			err = observe_node(inode, &s->n[k], &entries);
		}
		s->node[i] = (int)k;
		vol_iput(inode);
	}
	return err ? err : entries == names ? 0 : -EUCLEAN;
}
