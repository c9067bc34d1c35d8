/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * name.c: look up, create, link and unlink names (doc/spec/disk.md 6.2, 11.1, 11.4,
 * 11.6, 11.7).
 *
 * Shape of every change: sems of the inodes involved, in order of block number; all
 * checks; room for names and reservations, each in transactions of its own; then one
 * handle. In the handle what may fail comes first (claims, joins), and a failure there
 * is undone or left nothing behind; once memory was altered past undoing, a failure
 * stops the volume, since a transaction cannot be taken back.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "fs/volume/dir_int.h"

#define SYMLINK_MAX_LEN 4095

int name_check(const char *name, size_t len)
{
	if (len > DIR_NAME_MAX)
		return -ENAMETOOLONG;
	if (!de_name_ok(name, len))
		return -EINVAL;
	if ((len == 1 && name[0] == '.') || (len == 2 && name[0] == '.' && name[1] == '.'))
		return -EEXIST;
	return 0;
}

uint8_t mode_to_ft(uint16_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG:
		return OCFS2_FT_REG_FILE;
	case S_IFDIR:
		return OCFS2_FT_DIR;
	case S_IFCHR:
		return OCFS2_FT_CHRDEV;
	case S_IFBLK:
		return OCFS2_FT_BLKDEV;
	case S_IFIFO:
		return OCFS2_FT_FIFO;
	case S_IFSOCK:
		return OCFS2_FT_SOCK;
	case S_IFLNK:
		return OCFS2_FT_SYMLINK;
	default:
		return OCFS2_FT_UNKNOWN;
	}
}

/* The high half of the count is valid in indexed directories only (disk.md 2.1). */
uint32_t link_max(const struct vol_inode *inode)
{
	if (S_ISDIR(inode->mode) && vol_has_incompat(inode->vol, OCFS2_FEATURE_INCOMPAT_INDEXED_DIRS))
		return OCFS2_DX_LINK_MAX;
	return OCFS2_LINK_MAX;
}

void sem_set_lock(struct sem_set *s, struct vol_inode *a, struct vol_inode *b,
		  struct vol_inode *c, struct vol_inode *d)
{
	struct vol_inode *all[4] = { a, b, c, d };

	s->n = 0;
	for (unsigned i = 0; i < 4; i++) {
		unsigned at = s->n;

		for (unsigned j = 0; j < s->n; j++)
			if (s->inode[j] == all[i])
				all[i] = NULL;
		if (!all[i])
			continue;
		for (; at > 0 && s->inode[at - 1]->blkno > all[i]->blkno; at--)
			s->inode[at] = s->inode[at - 1];
		s->inode[at] = all[i];
		s->n++;
	}
	for (unsigned i = 0; i < s->n; i++)
		pthread_rwlock_wrlock(&s->inode[i]->sem);
}

void sem_set_unlock(struct sem_set *s)
{
	while (s->n > 0)
		pthread_rwlock_unlock(&s->inode[--s->n]->sem);
}

int vol_lookup(struct vol_inode *dir, const char *name, size_t len, struct vol_found *out)
{
	int err;

	if (len > DIR_NAME_MAX)
		return -ENAMETOOLONG;
	pthread_rwlock_rdlock(&dir->sem);
	err = S_ISDIR(dir->mode) ? dir_find(dir, name, len, out) : -ENOTDIR;
	pthread_rwlock_unlock(&dir->sem);
	return err;
}

int vol_parent(struct vol_inode *dir, blkno_t *out)
{
	struct vol_found found;
	int err;

	err = vol_lookup(dir, "..", 2, &found);
	if (err == -ENOENT)
		err = vol_damaged(dir->vol, "directory has no '..' dir=%llu",
				  (unsigned long long)dir->blkno);
	if (!err)
		*out = found.blkno;
	return err;
}

/* ---- create ------------------------------------------------------------------------- */

struct creation {
	struct vol_inode *dir;
	const char *name;
	size_t len;
	const struct vol_new *what;
	struct reservation r;
	unsigned body_credits;
	bool needs_cluster;
	uint32_t cluster;
	struct suballoc_pos pos;
	struct vol_inode *inode;
	struct buf *di;
};

static int creation_check(const struct creation *c)
{
	struct vol_inode *dir = c->dir;
	struct vol_found found;
	int err;

	if (!S_ISDIR(dir->mode))
		return -ENOTDIR;
	if (dir->nlink == 0)
		return -ENOENT;
	err = dir_find(dir, c->name, c->len, &found);
	if (err != -ENOENT)
		return err ? err : -EEXIST;
	if (S_ISDIR(c->what->mode) && dir->nlink >= link_max(dir))
		return -EMLINK;
	if (mode_to_ft(c->what->mode) == OCFS2_FT_UNKNOWN)
		return -EINVAL;
	if (S_ISLNK(c->what->mode)) {
		if (!c->what->target || !c->what->target[0])
			return -ENOENT;
		if (strlen(c->what->target) > SYMLINK_MAX_LEN)
			return -ENAMETOOLONG;
	}
	return 0;
}

static int creation_reserve(struct creation *c)
{
	struct vol *v = c->dir->vol;
	int err;

	err = reserve_inode(v, &c->r);
	if (err)
		return err;
	if (S_ISDIR(c->what->mode)) {
		c->needs_cluster = !dir_new_is_inline(v);
		return dir_create_needs(v, &c->r, &c->body_credits);
	}
	if (S_ISLNK(c->what->mode)) {
		c->needs_cluster = !symlink_is_fast(v, c->what->target);
		return symlink_needs(v, c->what->target, &c->r, &c->body_credits);
	}
	return 0;
}

/*
 * In-memory inode and zeroed, joined block of a just claimed bit. The object may be
 * that of a freed inode that somebody still refers to: what it cached goes.
 */
static int inode_new(struct jhandle *h, struct creation *c)
{
	struct vol *v = c->dir->vol;
	int err;

	err = vol_iget(v, c->pos.blkno, &c->inode);
	if (err)
		return err;
	bc_purge(v, c->inode);
	free(c->inode->ext_cache);
	c->inode->ext_cache = NULL;
	err = bc_new(v, c->pos.blkno, BLK_DINODE, c->inode, &c->di);
	if (!err)
		err = jh_write(h, c->di, c->inode);
	if (err)
		return err;
	bc_put(c->inode->di);
	c->inode->di = bc_hold(c->di);
	return 0;
}

static void fill_inode(struct creation *c)
{
	struct vol *v = c->dir->vol;
	const struct vol_new *w = c->what;
	struct vol_inode *inode = c->inode;
	struct ocfs2_dinode *d = (struct ocfs2_dinode *)c->di->data;

	inode->mode = w->mode;
	inode->uid = w->uid;
	inode->gid = w->gid;
	inode->nlink = S_ISDIR(w->mode) ? 2 : 1;
	inode->generation = atomic_fetch_add(&v->next_generation, 1);
	inode->flags = OCFS2_VALID_FL;
	inode->dyn_features = 0;
	inode->attr = 0;
	inode->size = 0;
	inode->clusters = 0;
	inode->dtime = 0;
	inode->rdev = S_ISCHR(w->mode) || S_ISBLK(w->mode) ? w->rdev : 0;
	inode->orphaned_slot = 0;
	inode->suballoc_slot = c->pos.slot;
	inode->dir_hint = 0;
	inode->atime = inode->mtime = inode->ctime = vol_now();
	inode->wiped = false;
	inode->loaded = true;

	memcpy(d->i_signature, OCFS2_INODE_SIGNATURE, sizeof(OCFS2_INODE_SIGNATURE));
	d->i_blkno = htole64(c->pos.blkno);
	d->i_generation = htole32(inode->generation);
	d->i_fs_generation = htole32(v->info.fs_generation);
	d->i_suballoc_slot = htole16(c->pos.slot);
	d->i_suballoc_bit = htole16(c->pos.bit);
	d->i_suballoc_loc = htole64(c->pos.loc);
	inode_init_list(v, d);
}

static int fill_body(struct jhandle *h, struct creation *c)
{
	if (S_ISDIR(c->what->mode))
		return dir_create_body(h, c->inode, c->di, c->dir->blkno, c->cluster, &c->r);
	if (S_ISLNK(c->what->mode))
		return symlink_body(h, c->inode, c->di, c->what->target, c->cluster, &c->r);
	return 0;
}

/*
 * Cluster first, then the inode's block and its name: failures up to there are undone
 * (*undone) and the handle just ends. A claimed cluster cannot be given back here.
 */
static int create_in(struct jhandle *h, struct creation *c, bool *undone)
{
	uint32_t got;
	int err = 0;

	*undone = true;
	if (c->needs_cluster)
		err = claim_clusters(h, &c->r, 1, &c->cluster, &got);
	if (err)
		return err;
	*undone = !c->needs_cluster;
	err = claim_inode(h, &c->r, &c->pos);
	if (err)
		return err;
	err = inode_new(h, c);
	if (!err)
		err = dir_add(h, c->dir, c->name, c->len, c->pos.blkno,
			      mode_to_ft(c->what->mode));
	if (err) {
		if (free_suballoc(h, VOL_SYS_INODE_ALLOC, c->pos.slot,
				  c->pos.loc ? c->pos.loc : c->pos.blkno - c->pos.bit, c->pos.bit))
			*undone = false;
		return err;
	}
	*undone = false;
	fill_inode(c);
	err = fill_body(h, c);
	if (!err)
		err = inode_store(h, c->inode);
	if (!err && S_ISDIR(c->what->mode)) {
		c->dir->nlink++;
		err = inode_store(h, c->dir);
	}
	return err;
}

static int create_locked(struct creation *c)
{
	struct vol *v = c->dir->vol;
	struct jhandle *h;
	bool undone;
	int err;

	err = creation_check(c);
	if (!err)
		err = dir_prepare(c->dir, c->name, c->len);
	if (!err)
		err = creation_reserve(c);
	if (!err)
		err = jh_begin(v, 1 + DIR_ADD_CREDITS + c->body_credits +
			       reservation_credits(&c->r), &h);
	if (err)
		return err;
	err = create_in(h, c, &undone);
	return jh_finish(h, err, undone, "new inode could not be completed");
}

int vol_create(struct vol_inode *dir, const char *name, size_t len, const struct vol_new *what,
	       struct vol_inode **out)
{
	struct creation c = { .dir = dir, .name = name, .len = len, .what = what };
	int err;

	err = name_check(name, len);
	if (err)
		return err;
	pthread_rwlock_wrlock(&dir->sem);
	err = create_locked(&c);
	reservation_release(dir->vol, &c.r);
	pthread_rwlock_unlock(&dir->sem);
	bc_put(c.di);
	if (err && c.inode)
		vol_iput(c.inode);
	if (!err)
		*out = c.inode;
	return err;
}

/* ---- link --------------------------------------------------------------------------- */

static int link_in(struct jhandle *h, struct vol_inode *dir, const char *name, size_t len,
		   struct vol_inode *inode, struct buf *di, bool *undone)
{
	int err;

	*undone = true;
	err = jh_write(h, di, inode);
	if (!err)
		err = dir_add(h, dir, name, len, inode->blkno, mode_to_ft(inode->mode));
	if (err)
		return err;
	*undone = false;
	inode->nlink++;
	inode->ctime = vol_now();
	return inode_store(h, inode);
}

static int link_locked(struct vol_inode *dir, const char *name, size_t len,
		       struct vol_inode *inode)
{
	struct vol_found found;
	struct jhandle *h;
	struct buf *di;
	bool undone;
	int err;

	if (!S_ISDIR(dir->mode))
		return -ENOTDIR;
	if (S_ISDIR(inode->mode))
		return -EPERM;
	if (dir->nlink == 0 || inode->nlink == 0 || (inode->flags & OCFS2_ORPHANED_FL))
		return -ENOENT;
	if (inode->nlink >= link_max(inode))
		return -EMLINK;
	err = dir_find(dir, name, len, &found);
	if (err != -ENOENT)
		return err ? err : -EEXIST;
	err = dir_prepare(dir, name, len);
	if (!err)
		err = inode_buf(inode, &di);
	if (err)
		return err;
	err = jh_begin(dir->vol, 1 + DIR_ADD_CREDITS, &h);
	if (!err) {
		err = link_in(h, dir, name, len, inode, di, &undone);
		err = jh_finish(h, err, undone, "new name could not be completed");
	}
	bc_put(di);
	return err;
}

int vol_link(struct vol_inode *dir, const char *name, size_t len, struct vol_inode *inode)
{
	struct sem_set sems;
	int err;

	err = name_check(name, len);
	if (err)
		return err;
	sem_set_lock(&sems, dir, inode, NULL, NULL);
	err = link_locked(dir, name, len, inode);
	sem_set_unlock(&sems);
	return err;
}

/* ---- unlink, rmdir ------------------------------------------------------------------- */

/* One name less for inode; od is its orphan directory if it was the last. */
int inode_drop_link(struct jhandle *h, struct vol_inode *inode, struct vol_inode *od)
{
	int err;

	inode->nlink = S_ISDIR(inode->mode) ? 0 : inode->nlink - 1;
	inode->ctime = vol_now();
	if (od) {
		err = orphan_add(h, od, inode);
		if (err)
			return err;
	}
	return inode_store(h, inode);
}

/* May this inode lose a name? Last: it becomes an orphan. */
int inode_check_drop(struct vol_inode *inode, bool *last)
{
	bool empty = true;
	int err;

	if (inode->nlink == 0)
		return -ENOENT;
	*last = S_ISDIR(inode->mode) || inode->nlink == 1;
	if (S_ISDIR(inode->mode)) {
		err = dir_is_empty(inode, &empty);
		if (err)
			return err;
		if (!empty || inode->nlink != 2)
			return -ENOTEMPTY;
	}
	return 0;
}

int dir_drop_subdir(struct jhandle *h, struct vol_inode *dir)
{
	if (dir->nlink <= 2)
		return vol_damaged(dir->vol, "directory has a subdirectory but no link for it "
				   "dir=%llu", (unsigned long long)dir->blkno);
	dir->nlink--;
	return inode_store(h, dir);
}

static int unlink_in(struct jhandle *h, struct vol_inode *dir, const char *name, size_t len,
		     struct vol_inode *inode, struct buf *di, struct vol_inode *od, bool *undone)
{
	int err;

	*undone = true;
	err = jh_write(h, di, inode);
	if (!err)
		err = dir_remove(h, dir, name, len, inode->blkno);
	if (err)
		return err;
	*undone = false;
	if (S_ISDIR(inode->mode))
		err = dir_drop_subdir(h, dir);
	return err ? err : inode_drop_link(h, inode, od);
}

static int unlink_locked(struct vol_inode *dir, const char *name, size_t len,
			 struct vol_inode *inode)
{
	struct vol_inode *od = NULL;
	struct vol_found found;
	struct jhandle *h;
	bool undone, last;
	struct buf *di;
	int err;

	if (!S_ISDIR(dir->mode))
		return -ENOTDIR;
	err = dir_find(dir, name, len, &found);
	if (err)
		return err;
	if (found.blkno != inode->blkno)
		return -ENOENT;
	err = inode_check_drop(inode, &last);
	if (!err)
		err = inode_buf(inode, &di);
	if (err)
		return err;
	if (last)
		err = orphan_prepare(dir->vol, inode, &od);
	if (!err)
		err = jh_begin(dir->vol, DIR_REMOVE_CREDITS + 1 + (last ? ORPHAN_CREDITS : 0), &h);
	if (!err) {
		err = unlink_in(h, dir, name, len, inode, di, od, &undone);
		err = jh_finish(h, err, undone, "name could not be removed completely");
	}
	orphan_done(dir->vol, od);
	bc_put(di);
	return err;
}

int vol_unlink(struct vol_inode *dir, const char *name, size_t len, struct vol_inode *inode)
{
	struct sem_set sems;
	int err;

	if (len > DIR_NAME_MAX)
		return -ENAMETOOLONG;
	if (name_check(name, len) || dir == inode)
		return -EINVAL;
	sem_set_lock(&sems, dir, inode, NULL, NULL);
	err = unlink_locked(dir, name, len, inode);
	sem_set_unlock(&sems);
	return err;
}
