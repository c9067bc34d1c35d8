/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * rename.c: move a name (doc/spec/disk.md 11.5, doc/spec/fs-locking.md 4.2).
 *
 * One transaction: the new entry is made, or the target's entry gets the moved inode;
 * the old entry is looked up again, since making the new one may have moved it, and
 * removed; '..' and the link counts of a moved directory follow; a target that lost its
 * last name becomes an orphan. That a directory does not move below itself is known to
 * the caller, who can walk up under cluster locks; here only the direct case is
 * refused. The first change is the new entry: a failure up to it leaves nothing behind.
 */
#include <errno.h>
#include <string.h>

#include "fs/volume/dir_int.h"

struct renaming {
	const struct vol_rename *r;
	struct vol_inode *od;	/* orphan directory, if target loses its last name */
	struct buf *di, *target_di;
	bool is_dir, new_parent;
};

static int check_target(const struct vol_rename *r, bool *last)
{
	struct vol_found found;
	int err;

	err = dir_find(r->new_dir, r->new_name, r->new_len, &found);
	if (!r->target)
		return err == -ENOENT ? 0 : err ? err : -EEXIST;
	if (err)
		return err;
	if (found.blkno != r->target->blkno)
		return -ESTALE;
	if (S_ISDIR(r->inode->mode) && !S_ISDIR(r->target->mode))
		return -ENOTDIR;
	if (!S_ISDIR(r->inode->mode) && S_ISDIR(r->target->mode))
		return -EISDIR;
	return inode_check_drop(r->target, last);
}

static int rename_check(const struct renaming *m, bool *last)
{
	const struct vol_rename *r = m->r;
	struct vol_found found;
	int err;

	*last = false;
	if (!S_ISDIR(r->old_dir->mode) || !S_ISDIR(r->new_dir->mode))
		return -ENOTDIR;
	if (r->inode == r->new_dir || r->target == r->old_dir || r->inode == r->old_dir)
		return r->target == r->old_dir ? -ENOTEMPTY : -EINVAL;
	if (r->new_dir->nlink == 0 || r->inode->nlink == 0)
		return -ENOENT;
	err = dir_find(r->old_dir, r->old_name, r->old_len, &found);
	if (err)
		return err;
	if (found.blkno != r->inode->blkno)
		return -ENOENT;
	if (m->new_parent && m->is_dir) {
		err = dir_find(r->inode, "..", 2, &found);
		if (err == -ENOENT || (!err && found.blkno != r->old_dir->blkno))
			err = vol_damaged(r->inode->vol, "'..' of a directory is not its parent "
					  "dir=%llu", (unsigned long long)r->inode->blkno);
		if (err)
			return err;
		if (!r->target && r->new_dir->nlink >= link_max(r->new_dir))
			return -EMLINK;
	}
	return check_target(r, last);
}

/* Up to the new entry. */
static int place_new(struct jhandle *h, const struct renaming *m)
{
	const struct vol_rename *r = m->r;
	uint8_t type = mode_to_ft(r->inode->mode);
	int err;

	err = jh_write(h, m->di, r->inode);
	if (!err && r->target)
		err = jh_write(h, m->target_di, r->target);
	if (err)
		return err;
	if (r->target)
		return dir_replace(h, r->new_dir, r->new_name, r->new_len, r->inode->blkno, type);
	return dir_add(h, r->new_dir, r->new_name, r->new_len, r->inode->blkno, type);
}

static int rename_in(struct jhandle *h, const struct renaming *m, bool *undone)
{
	const struct vol_rename *r = m->r;
	int err;

	*undone = true;
	err = place_new(h, m);
	if (err)
		return err;
	*undone = false;
	err = dir_remove(h, r->old_dir, r->old_name, r->old_len, r->inode->blkno);
	if (!err && m->is_dir && m->new_parent) {
		err = dir_set_parent(h, r->inode, r->new_dir->blkno);
		r->new_dir->nlink++;
		if (!err)
			err = dir_drop_subdir(h, r->old_dir);
	}
	if (!err && r->target && S_ISDIR(r->target->mode))
		err = dir_drop_subdir(h, r->new_dir);
	if (!err && r->target)
		err = inode_drop_link(h, r->target, m->od);
	if (!err)
		err = inode_store(h, r->new_dir);
	r->inode->ctime = vol_now();
	return err ? err : inode_store(h, r->inode);
}

static int rename_prepared(struct renaming *m, bool last)
{
	unsigned credits = DIR_ADD_CREDITS + DIR_REMOVE_CREDITS + 2 + 2 +
			   (last ? ORPHAN_CREDITS : 0);
	const struct vol_rename *r = m->r;
	struct jhandle *h;
	bool undone;
	int err = 0;

	if (!r->target)
		err = dir_prepare(r->new_dir, r->new_name, r->new_len);
	if (!err && last)
		err = orphan_prepare(r->inode->vol, r->target, &m->od);
	if (!err)
		err = jh_begin(r->inode->vol, credits, &h);
	if (!err) {
		err = rename_in(h, m, &undone);
		err = jh_finish(h, err, undone, "rename could not be completed");
	}
	orphan_done(r->inode->vol, m->od);
	return err;
}

static int rename_locked(struct renaming *m)
{
	bool last;
	int err;

	err = rename_check(m, &last);
	if (!err)
		err = inode_buf(m->r->inode, &m->di);
	if (!err && m->r->target)
		err = inode_buf(m->r->target, &m->target_di);
	if (!err)
		err = rename_prepared(m, last);
	bc_put(m->di);
	bc_put(m->target_di);
	return err;
}

int vol_rename(const struct vol_rename *r)
{
	struct renaming m = {
		.r = r,
		.is_dir = S_ISDIR(r->inode->mode),
		.new_parent = r->old_dir != r->new_dir,
	};
	struct sem_set sems;
	int err;

	if (r->old_len > DIR_NAME_MAX || r->new_len > DIR_NAME_MAX)
		return -ENAMETOOLONG;
	if (name_check(r->old_name, r->old_len) || name_check(r->new_name, r->new_len))
		return -EINVAL;
	/* Two names of one file, or one name: nothing to do (POSIX). */
	if (r->target == r->inode)
		return 0;
	sem_set_lock(&sems, r->old_dir, r->new_dir, r->inode, r->target);
	err = rename_locked(&m);
	sem_set_unlock(&sems);
	return err;
}
