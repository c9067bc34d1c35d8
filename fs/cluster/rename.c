/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * rename.c: moving a name (doc/spec/fs-locking.md 4.1, 4.2).
 *
 * Two directories are locked ancestor first, unrelated ones by ascending block
 * number. Who is an ancestor is found by walking '..' without holding anything, so
 * the answer can be overtaken, but only by somebody who moves a directory to another
 * parent, and he holds R EX; so a directory that changes parents is moved under R EX,
 * which makes the answer final for all who could build a cycle. A wrong order while
 * somebody else holds R can at worst meet his order; he does not wait for us with
 * locks that we want, as he takes R before any M.
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include "fs/cluster/clu_int.h"

enum { ANCESTOR_STEPS = 32, FT_DIR = 2 /* OCFS2_FT_DIR */ };

/* Is a an ancestor of b (or b itself)? Nothing held. */
static int is_ancestor(struct clu_inode *a, struct clu_inode *b, bool *yes)
{
	blkno_t at = b->vi->blkno, root = vol_info(a->vi->vol)->root_blkno;

	*yes = false;
	for (int i = 0; i <= ANCESTOR_STEPS; i++) {
		struct clu_inode *ci;
		blkno_t up;
		int err;

		if (at == a->vi->blkno) {
			*yes = true;
			return 0;
		}
		if (at == root)
			return 0;
		err = clu_iget(a->clu, at, &ci);
		if (err)
			return err;
		err = clu_mlock(ci, DLM_MODE_PR, 0);
		if (!err) {
			err = vol_parent(ci->vi, &up);
			clu_munlock(ci, DLM_MODE_PR);
		}
		clu_iput(ci);
		if (err)
			return err;
		at = up;
	}
	return 0;
}

/* M EX of both directories in the global order. */
static int lock_dirs(struct clu_inode *a, struct clu_inode *b)
{
	struct clu_inode *first = a, *second = b;
	bool yes;
	int err;

	if (a == b)
		return clu_mlock(a, DLM_MODE_EX, 0);
	err = is_ancestor(a, b, &yes);
	if (err)
		return err;
	if (!yes) {
		err = is_ancestor(b, a, &yes);
		if (err)
			return err;
		if (yes || b->vi->blkno < a->vi->blkno) {
			first = b;
			second = a;
		}
	}
	err = clu_mlock(first, DLM_MODE_EX, 0);
	if (err)
		return err;
	err = clu_mlock(second, DLM_MODE_EX, 0);
	if (err)
		clu_munlock(first, DLM_MODE_EX);
	return err;
}

static void unlock_dirs(struct clu_inode *a, struct clu_inode *b)
{
	clu_munlock(a, DLM_MODE_EX);
	if (a != b)
		clu_munlock(b, DLM_MODE_EX);
}

struct move {
	struct vol_rename vr;
	struct clu_inode *old_dir, *new_dir, *ci, *target;
	blkno_t moved_dir;	/* the directory for which R is held, or 0 */
	bool noreplace, ci_locked, target_locked, target_gone;
};

static int find_here(struct clu_inode *dir, const char *name, struct clu_inode **out)
{
	struct vol_found f;
	int err = vol_lookup(dir->vi, name, strlen(name), &f);

	return err ? err : clu_iget(dir->clu, f.blkno, out);
}

/* What may replace what (rename(2)). */
static int check_target(const struct move *m)
{
	bool dir = clu_is_dir(m->ci), target_dir = clu_is_dir(m->target);

	if (m->noreplace)
		return -EEXIST;
	if (dir && !target_dir)
		return -ENOTDIR;
	if (!dir && target_dir)
		return -EISDIR;
	return 0;
}

/* M EX of what is moved and of what is replaced: ascending, as for two files; a
 * directory and its replacement are never in one line of descent here. */
static int lock_inodes(struct move *m)
{
	struct clu_inode *first = m->ci, *second = m->target;
	int err;

	if (second && second->vi->blkno < first->vi->blkno) {
		first = m->target;
		second = m->ci;
	}
	err = clu_mlock(first, DLM_MODE_EX, 0);
	if (err || !second)
		goto out;
	err = clu_mlock(second, DLM_MODE_EX, 0);
	if (err)
		clu_munlock(first, DLM_MODE_EX);
out:
	m->ci_locked = !err;
	m->target_locked = !err && m->target;
	return err;
}

/* Both M(dir) EX are held. */
static int move_locked(struct move *m, const char *old_name, const char *new_name)
{
	int err = find_here(m->old_dir, old_name, &m->ci);

	if (err)
		return err;
	if (clu_links(m->new_dir) == 0)
		return -ENOENT;
	if (m->old_dir != m->new_dir && clu_is_dir(m->ci) &&
	    m->moved_dir != m->ci->vi->blkno)
		return -ERESTART;
	err = find_here(m->new_dir, new_name, &m->target);
	if (err && err != -ENOENT)
		return err;
	if (m->target == m->ci)
		return m->noreplace ? -EEXIST : 1; /* two names of one inode: nothing to do */
	if (m->ci == m->new_dir)
		return -EINVAL;
	if (m->target == m->old_dir)
		return -ENOTEMPTY; /* and M(old_dir) is held already */
	if (m->target) {
		err = check_target(m);
		if (err)
			return err;
	}
	err = lock_inodes(m);
	if (err)
		return err;
	if (m->target && clu_links(m->target) == 0)
		return -ENOENT;
	err = clu_dentry_take_ex(m->old_dir, m->ci);
	if (!err && m->target)
		err = clu_dentry_take_ex(m->new_dir, m->target);
	/* The kernel moves its own entry with its validity: it counts as handed out
	 * under N(new_dir, ci) from now on (12.3). */
	if (!err)
		err = clu_dentry_attach(m->new_dir, m->ci);
	if (err)
		return err;
	m->vr = (struct vol_rename){
		.old_dir = m->old_dir->vi,
		.new_dir = m->new_dir->vi,
		.old_name = old_name,
		.new_name = new_name,
		.old_len = strlen(old_name),
		.new_len = strlen(new_name),
		.inode = m->ci->vi,
		.target = m->target ? m->target->vi : NULL,
	};
	err = vol_rename(&m->vr);
	m->target_gone = !err && m->target && m->target->vi->nlink == 0;
	return err;
}

/* What old_name is at the moment: decides whether R is needed. */
static int look(struct clu_inode *dir, const char *name, struct vol_found *out)
{
	int err = clu_mlock(dir, DLM_MODE_PR, 0);

	if (err)
		return err;
	err = vol_lookup(dir->vi, name, strlen(name), out);
	clu_munlock(dir, DLM_MODE_PR);
	return err;
}

static int check_cycle(struct clu_inode *new_dir, blkno_t moved)
{
	struct clu_inode *ci;
	bool inside;
	int err = clu_iget(new_dir->clu, moved, &ci);

	if (err)
		return err;
	err = is_ancestor(ci, new_dir, &inside);
	clu_iput(ci);
	return err ? err : inside ? -EINVAL : 0;
}

static int move_once(struct move *m, const char *old_name, const char *new_name)
{
	int err = lock_dirs(m->old_dir, m->new_dir);

	if (err)
		return err;
	err = move_locked(m, old_name, new_name);
	if (m->ci_locked)
		clu_munlock(m->ci, DLM_MODE_EX);
	if (m->target_locked)
		clu_munlock(m->target, DLM_MODE_EX);
	unlock_dirs(m->old_dir, m->new_dir);
	if (m->target_gone)
		clu_inode_unlinked_here(m->target);
	if (m->ci)
		clu_iput(m->ci);
	if (m->target)
		clu_iput(m->target);
	return err > 0 ? 0 : err;
}

int clu_rename(struct clu_inode *old_dir, const char *old_name, struct clu_inode *new_dir,
	       const char *new_name, bool noreplace)
{
	int err;

	do {
		struct move m = { .old_dir = old_dir, .new_dir = new_dir, .noreplace = noreplace };
		bool r = false;
		struct vol_found f;

		if (old_dir != new_dir) {
			err = look(old_dir, old_name, &f);
			if (err)
				return err;
			if (f.type == FT_DIR) {
				r = true;
				m.moved_dir = f.blkno;
			}
		}
		err = r ? clu_rename_lock(old_dir->clu) : 0;
		if (err)
			return err;
		if (r)
			err = check_cycle(new_dir, f.blkno);
		if (!err)
			err = move_once(&m, old_name, new_name);
		if (r)
			clu_rename_unlock(old_dir->clu);
	} while (err == -ERESTART); /* the name changed between look and lock */
	return err;
}
