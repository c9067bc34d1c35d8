/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * inode.c: an inode in use on this node (doc/spec/fs-locking.md 5.1, 12.3 Open lock).
 *
 * Attached: O is held at PR, so no other node can wipe the inode, and the dinode was
 * read under M. The states, changed under clu_inode.mutex:
 *
 *	detached -> attaching -> attached	O PR, M PR, dinode read (attach)
 *	attached -> attaching -> detached	a name was removed elsewhere and no handle
 *						is open (clu_inode_unlinked_elsewhere), or
 *						the last handle of an orphan was closed
 *	any -> dying				last reference; O, N, M, W dropped (evict)
 *
 * One task at a time is "attaching"; the others wait. A handle is counted in only in
 * the attached state, under the mutex, so that detaching and opening exclude each
 * other. An operation may hold, or wait for, M while the inode is detached under it:
 * that is safe, because a node that wipes takes M EX as well as O EX; having M it looks
 * whether it is still attached, and attaches again if not.
 *
 * A block that was freed and used again elsewhere names a new inode while the kernel
 * may still know the old one by the same number. Only clu_iget, which got the number
 * from a directory under its M, may take the step to the new generation (renew);
 * operations on the old one compare generations and get -ESTALE.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include "fs/cluster/clu_int.h"

enum attach_how { SAME, ANY_GENERATION, ORPHAN };

/* ---- O ----------------------------------------------------------------------- */

static void o_init(struct clu_inode *ci)
{
	uint8_t name[LC_NAME_LEN];

	if (ci->o_ready)
		return;
	lockname_text(name, 'O', ci->vi->blkno, 0);
	lc_init(&ci->o, ci->clu->lc, &clu_type_o, name, ci);
	ci->o_ready = true;
}

static int o_take(struct clu_inode *ci, unsigned flags)
{
	int err;

	o_init(ci);
	err = lc_lock(&ci->o, DLM_MODE_PR, flags);
	ci->o_held = !err;
	return err;
}

/* Not just released: a cached PR would refuse the NOQUEUE request of a node that wipes.
 * Only by the one who is attaching, or evicts. */
static void o_give(struct clu_inode *ci)
{
	if (ci->o_held)
		lc_unlock(&ci->o, DLM_MODE_PR);
	ci->o_held = false;
	lc_drop(&ci->o);
	lc_destroy(&ci->o);
}

static void o_drop(struct clu_inode *ci)
{
	if (!ci->o_ready)
		return;
	o_give(ci);
	ci->o_ready = false;
}

int clu_olock_ex(struct clu_inode *ci)
{
	return lc_lock(&ci->o, DLM_MODE_EX, LC_NOQUEUE);
}

void clu_ounlock_ex(struct clu_inode *ci)
{
	lc_unlock(&ci->o, DLM_MODE_EX);
}

void clu_odrop(struct clu_inode *ci)
{
	o_drop(ci);
}

/* ---- attach -------------------------------------------------------------------- */

static void end_attaching(struct clu_inode *ci, bool attached)
{
	pthread_mutex_lock(&ci->mutex);
	ci->attaching = false;
	ci->attached = attached;
	pthread_cond_broadcast(&ci->cond);
	pthread_mutex_unlock(&ci->mutex);
}

/*
 * W carries the generation; its users of the old inode must be gone first. They may be
 * about to attach: they see by the generation that there is nothing for them any more,
 * and leave. No M held.
 */
static void name_w(struct clu_inode *ci, uint32_t generation)
{
	uint8_t name[LC_NAME_LEN];
	bool drop;

	pthread_mutex_lock(&ci->mutex);
	if (ci->w_ready && ci->generation == generation) {
		pthread_mutex_unlock(&ci->mutex);
		return;
	}
	drop = ci->w_ready;
	ci->generation = generation;
	pthread_cond_broadcast(&ci->cond);
	while (ci->w_users)
		pthread_cond_wait(&ci->cond, &ci->mutex);
	pthread_mutex_unlock(&ci->mutex);
	if (drop) {
		lc_drop(&ci->w);
		lc_destroy(&ci->w);
	}
	lockname_text(name, 'W', ci->vi->blkno, generation);
	lc_init(&ci->w, ci->clu->lc, &clu_type_w, name, ci);
	pthread_mutex_lock(&ci->mutex);
	ci->w_ready = true;
	pthread_mutex_unlock(&ci->mutex);
}

/*
 * Coming back: who wiped it dropped M without a checkpoint, since its block belongs to
 * the allocator then (3.8). Only that allocator's lock makes the node bring it home.
 */
static int settle_wipe(struct clu_inode *ci)
{
	struct vol_inode *alloc = NULL;
	int err;

	if (ci->vi->suballoc_slot < ci->clu->max_slots)
		alloc = vol_sys_inode(ci->clu->vol, VOL_SYS_INODE_ALLOC, ci->vi->suballoc_slot);
	if (!alloc)
		return 0;
	err = clu_sys_lock(ci->clu, alloc, false);
	if (!err)
		clu_sys_unlock(ci->clu, alloc, false);
	return err;
}

/* M PR as holder: a first read by the refresh, a second one anew, whatever was cached. */
static int read_again(struct clu_inode *ci, enum attach_how how, bool known)
{
	struct vol_inode *vi = ci->vi;
	int err = lc_lock(&ci->m, DLM_MODE_PR, 0);

	if (!err && known) {
		err = vi->wiped ? -ESTALE : vol_inode_refresh(vi);
		if (err)
			lc_unlock(&ci->m, DLM_MODE_PR);
	}
	if (err != -ESTALE || !known || how != ANY_GENERATION)
		return err;
	/* Freed and used again: a new inode. */
	pthread_mutex_lock(&ci->mutex);
	vi->loaded = vi->wiped = false;
	pthread_mutex_unlock(&ci->mutex);
	err = lc_lock(&ci->m, DLM_MODE_PR, 0);
	if (!err && !vi->loaded) {
		err = vol_inode_refresh(vi);
		if (err)
			lc_unlock(&ci->m, DLM_MODE_PR);
	}
	return err;
}

static int look(struct clu_inode *ci, enum attach_how how, uint32_t *generation)
{
	bool known = ci->vi->loaded;
	int err = known ? settle_wipe(ci) : 0;

	if (!err)
		err = read_again(ci, how, known);
	if (err)
		return err;
	*generation = ci->vi->generation;
	if (ci->vi->nlink == 0 && how != ORPHAN)
		err = -ESTALE;
	lc_unlock(&ci->m, DLM_MODE_PR);
	return err;
}

static int attach_now(struct clu_inode *ci, enum attach_how how)
{
	uint32_t generation = 0;
	int err = o_take(ci, how == ORPHAN ? LC_NOQUEUE : 0);

	if (err) {
		o_drop(ci);
		return err;
	}
	err = look(ci, how, &generation);
	if (!err) {
		name_w(ci, generation);
		pthread_mutex_lock(&ci->mutex);
		ci->maybe_orphaned = false;
		atomic_store(&ci->wiped, false);
		pthread_mutex_unlock(&ci->mutex);
		return 0;
	}
	/*
	 * Without links: whoever unlinked it may have found our O, and left the rest to us.
	 */
	if (err == -ESTALE && ci->vi->loaded && !ci->vi->wiped && ci->vi->nlink == 0)
		clu_orphan_evict(ci);
	o_drop(ci);
	return err;
}

/* generation: of the inode that the caller means, for SAME. */
static int attach(struct clu_inode *ci, enum attach_how how, uint32_t generation)
{
	bool attached;
	int err = 0;

	pthread_mutex_lock(&ci->mutex);
	for (;;) {
		if (how == SAME && ci->generation != generation)
			err = -ESTALE;
		if (err || !ci->attaching)
			break;
		pthread_cond_wait(&ci->cond, &ci->mutex);
	}
	attached = ci->attached;
	if (!err && !attached)
		ci->attaching = true;
	pthread_mutex_unlock(&ci->mutex);
	if (err || attached)
		return err;
	err = attach_now(ci, how);
	end_attaching(ci, !err);
	return err;
}

/* clu_inode.mutex held; released meanwhile. */
static int attach_locked(struct clu_inode *ci)
{
	uint32_t generation = ci->generation;
	int err = 0;

	while (!err && !ci->attached) {
		pthread_mutex_unlock(&ci->mutex);
		err = attach(ci, SAME, generation);
		pthread_mutex_lock(&ci->mutex);
	}
	return err;
}

static int get(struct clu *clu, blkno_t blkno, enum attach_how how, struct clu_inode **out)
{
	struct clu_inode *ci;
	int err = clu_itable_get(clu, blkno, true, &ci);

	if (err)
		return err;
	err = attach(ci, how, 0);
	if (err) {
		clu_iput(ci);
		return err;
	}
	*out = ci;
	return 0;
}

int clu_iget(struct clu *clu, blkno_t blkno, struct clu_inode **out)
{
	return get(clu, blkno, ANY_GENERATION, out);
}

int clu_iget_orphan(struct clu *clu, blkno_t blkno, struct clu_inode **out)
{
	return get(clu, blkno, ORPHAN, out);
}

struct clu_inode *clu_ifind(struct clu *clu, blkno_t blkno)
{
	struct clu_inode *ci;

	return clu_itable_get(clu, blkno, false, &ci) ? NULL : ci;
}

void clu_ihold(struct clu_inode *ci)
{
	pthread_mutex_lock(&ci->mutex);
	assert(ci->refs);
	ci->refs++;
	pthread_mutex_unlock(&ci->mutex);
}

void clu_iput(struct clu_inode *ci)
{
	bool last;

	pthread_mutex_lock(&ci->mutex);
	last = ci->refs == 1;
	if (!last)
		ci->refs--;
	pthread_mutex_unlock(&ci->mutex);
	if (last && clu_itable_put(ci))
		clu_inode_evict(ci);
}

/*
 * For a new inode, whose O was only asked for. Other tasks of this node may have found
 * the name already, so the usual rule: one at a time changes how O is held.
 */
int clu_ohold(struct clu_inode *ci)
{
	bool attached;
	int err;

	pthread_mutex_lock(&ci->mutex);
	while (ci->attaching)
		pthread_cond_wait(&ci->cond, &ci->mutex);
	attached = ci->attached;
	if (attached && ci->o_held) {
		pthread_mutex_unlock(&ci->mutex);
		return 0;
	}
	ci->attaching = attached;
	pthread_mutex_unlock(&ci->mutex);
	if (!attached)
		return attach(ci, ANY_GENERATION, 0);
	err = o_take(ci, 0);
	end_attaching(ci, !err);
	return err;
}

/* ---- a new inode ------------------------------------------------------------------ */

/*
 * The kernel still knows an old inode of that block (it was wiped elsewhere): its M
 * may be at any level, so the ordinary way: ask, and wait.
 */
static int renew(struct clu_inode *ci)
{
	int err;

	pthread_mutex_lock(&ci->mutex);
	while (ci->attaching)
		pthread_cond_wait(&ci->cond, &ci->mutex);
	ci->attaching = true;
	ci->attached = false;
	pthread_mutex_unlock(&ci->mutex);
	name_w(ci, ci->vi->generation);
	err = lc_lock(&ci->m, DLM_MODE_EX, 0);
	if (!err) {
		lc_unlock(&ci->m, DLM_MODE_EX);
		if (!ci->o_held)
			err = o_take(ci, 0);
	}
	if (!err) {
		pthread_mutex_lock(&ci->mutex);
		ci->maybe_orphaned = false;
		atomic_store(&ci->wiped, false);
		pthread_mutex_unlock(&ci->mutex);
	}
	end_attaching(ci, !err);
	return err;
}

int clu_new_inode(struct clu *clu, struct vol_inode *vi, struct clu_inode **out)
{
	struct clu_inode *ci;
	bool fresh;
	int err = clu_itable_get(clu, vi->blkno, true, &ci);

	if (err) {
		vol_iput(vi);
		return err;
	}
	assert(ci->vi == vi);
	vol_iput(vi); /* the table has its own reference */
	pthread_mutex_lock(&ci->mutex);
	fresh = !ci->attaching && !ci->attached && !ci->w_ready;
	if (fresh)
		ci->attaching = true;
	pthread_mutex_unlock(&ci->mutex);
	if (fresh) {
		name_w(ci, vi->generation);
		lc_attach(&ci->w, DLM_MODE_EX, true);
		/* M's name has no generation: other nodes may have locks of that name. */
		lc_attach(&ci->m, DLM_MODE_EX, false);
		o_init(ci);
		lc_attach(&ci->o, DLM_MODE_PR, false);
		end_attaching(ci, true);
	} else {
		err = renew(ci);
	}
	if (err) {
		clu_iput(ci);
		return err;
	}
	*out = ci;
	return 0;
}

/* ---- M and W ------------------------------------------------------------------------ */

static uint32_t generation_of(struct clu_inode *ci)
{
	uint32_t generation;

	pthread_mutex_lock(&ci->mutex);
	generation = ci->generation;
	pthread_mutex_unlock(&ci->mutex);
	return generation;
}

int clu_mlock(struct clu_inode *ci, int level, unsigned flags)
{
	uint32_t generation = generation_of(ci);
	bool attached;
	int rc, err;

	for (;;) {
		rc = lc_lock(&ci->m, level, flags);
		if (rc < 0)
			return rc;
		pthread_mutex_lock(&ci->mutex);
		attached = ci->attached;
		err = ci->generation == generation ? 0 : -ESTALE;
		pthread_mutex_unlock(&ci->mutex);
		if (attached && !err) {
			/* A change writes the whole dinode, a value block is not all of it. */
			err = level == DLM_MODE_EX ? vol_inode_complete(ci->vi) : 0;
			if (!err)
				return rc;
		}
		lc_unlock(&ci->m, level);
		if (!err)
			err = attach(ci, SAME, generation);
		if (err)
			return err;
	}
}

void clu_munlock(struct clu_inode *ci, int level)
{
	lc_unlock(&ci->m, level);
}

int clu_wlock(struct clu_inode *ci, int level, unsigned flags)
{
	int err;

	pthread_mutex_lock(&ci->mutex);
	err = attach_locked(ci);
	ci->w_users += !err;
	pthread_mutex_unlock(&ci->mutex);
	if (err)
		return err;
	err = lc_lock(&ci->w, level, flags);
	if (err >= 0)
		return err;
	pthread_mutex_lock(&ci->mutex);
	if (!--ci->w_users)
		pthread_cond_broadcast(&ci->cond);
	pthread_mutex_unlock(&ci->mutex);
	return err;
}

void clu_wunlock(struct clu_inode *ci, int level)
{
	lc_unlock(&ci->w, level);
	pthread_mutex_lock(&ci->mutex);
	if (!--ci->w_users)
		pthread_cond_broadcast(&ci->cond);
	pthread_mutex_unlock(&ci->mutex);
}

/* ---- handles --------------------------------------------------------------------------- */

static int count_in(struct clu_inode *ci, bool writing)
{
	int err;

	pthread_mutex_lock(&ci->mutex);
	err = attach_locked(ci);
	if (!err) {
		if (ci->opens++ == 0)
			ci->open_lockgen = ci->lockgen;
		ci->writers += writing;
		ci->refs++;
	}
	pthread_mutex_unlock(&ci->mutex);
	return err;
}

/* The first writer changes the page mode: holding W and M at EX (pages.c). */
static int count_writer_in(struct clu_inode *ci)
{
	int err = clu_wlock(ci, DLM_MODE_EX, 0);

	if (err)
		return err;
	err = clu_mlock(ci, DLM_MODE_EX, 0);
	if (!err) {
		err = count_in(ci, true);
		clu_munlock(ci, DLM_MODE_EX);
	}
	clu_wunlock(ci, DLM_MODE_EX);
	return err;
}

int clu_open(struct clu_inode *ci, bool writing)
{
	if (!writing || !atomic_load(&ci->clu->shared_mmap) || clu_pages_exclusive(ci))
		return count_in(ci, writing);
	return count_writer_in(ci);
}

void clu_set_shared_mmap(struct clu *clu)
{
	atomic_store(&clu->shared_mmap, true);
}

/*
 * The last handle of an inode that may have lost its last name elsewhere was closed.
 * The kernel may go on knowing it for long (its name there is not in use, nobody makes
 * it forget), so its end is now: give O back, and wipe it if it has no links.
 */
static void retire(struct clu_inode *ci)
{
	bool dead;

	pthread_mutex_lock(&ci->mutex);
	if (ci->opens || ci->attaching || !ci->attached || ci->dying) {
		pthread_mutex_unlock(&ci->mutex);
		return;
	}
	ci->attaching = true;
	ci->attached = false;
	pthread_mutex_unlock(&ci->mutex);
	dead = !lc_lock(&ci->m, DLM_MODE_PR, 0);
	if (dead) {
		dead = ci->vi->nlink == 0;
		lc_unlock(&ci->m, DLM_MODE_PR);
	}
	if (dead)
		clu_orphan_evict(ci);
	o_drop(ci);
	end_attaching(ci, false);
}

void clu_close(struct clu_inode *ci, bool writing)
{
	bool check;

	pthread_mutex_lock(&ci->mutex);
	assert(ci->opens);
	ci->opens--;
	ci->writers -= writing;
	check = !ci->opens && ci->refs > 1 &&
		(ci->maybe_orphaned || (ci->unnamed && ci->lockgen != ci->open_lockgen));
	pthread_mutex_unlock(&ci->mutex);
	if (check)
		retire(ci);
	clu_iput(ci);
}

/*
 * The kernel forgets what it has no name for, but it may know an older inode of the same
 * block as well (freed and used again), and the lookups of both are one count. So the
 * end is not left to FORGET.
 */
void clu_inode_unlinked_here(struct clu_inode *ci)
{
	pthread_mutex_lock(&ci->mutex);
	ci->maybe_orphaned = true; /* with a handle open the last close looks */
	pthread_mutex_unlock(&ci->mutex);
	retire(ci);
}

/* Worker; nothing held (12.3). The conversion of N follows when this returns. */
void clu_inode_unlinked_elsewhere(struct clu_inode *ci)
{
	bool detach = false;

	pthread_mutex_lock(&ci->mutex);
	ci->maybe_orphaned = true;
	ci->unnamed = true;
	/* An evictor that does not wipe gives O back without waiting for anybody. One that
	 * wipes may wait for M, which the node has that waits for us. */
	while (ci->dying && !ci->wiping && ci->o_ready)
		pthread_cond_wait(&ci->cond, &ci->mutex);
	/* Attaching: it will see the link count when it gets M. Open: the last close looks. */
	if (!ci->dying && !ci->attaching && ci->attached && !ci->opens) {
		ci->attaching = detach = true;
		ci->attached = false;
	}
	pthread_mutex_unlock(&ci->mutex);
	if (detach) {
		o_drop(ci);
		end_attaching(ci, false);
	}
}

/* ---- the end ------------------------------------------------------------------------------ */

/* May it have lost its last link? (Attributes of a detached one are not known.) */
static bool may_be_orphan(struct clu_inode *ci)
{
	return ci->maybe_orphaned || ci->vi->nlink == 0 || ci->unnamed;
}

/* 3.8: O, then M and W; N only after O, so that the node that takes N EX finds O free. */
void clu_inode_evict(struct clu_inode *ci)
{
	struct clu *clu = ci->clu;
	bool attached, wipe, running = !atomic_load(&clu->stopped);

	pthread_mutex_lock(&ci->mutex);
	while (ci->attaching)
		pthread_cond_wait(&ci->cond, &ci->mutex);
	attached = ci->attached;
	wipe = ci->wiping = running && attached && may_be_orphan(ci);
	ci->attached = false;
	pthread_mutex_unlock(&ci->mutex);
	if (wipe)
		clu_orphan_evict(ci);
	/* Before anything that waits: a worker may wait for it. */
	if (ci->o_ready)
		o_give(ci);
	pthread_mutex_lock(&ci->mutex);
	ci->o_ready = false;
	pthread_cond_broadcast(&ci->cond);
	pthread_mutex_unlock(&ci->mutex);
	if (!atomic_load(&ci->wiped) && !vol_inode_checkpointed(ci->vi) && running &&
	    vol_checkpoint(clu->vol))
		clu_cannot_write(clu);
	clu_dentries_drop(ci);
	lc_drop(&ci->m);
	lc_destroy(&ci->m);
	if (ci->w_ready) {
		lc_drop(&ci->w);
		lc_destroy(&ci->w);
	}
	clu_itable_forget(ci);
	vol_iput(ci->vi);
	pthread_mutex_destroy(&ci->mutex);
	pthread_cond_destroy(&ci->cond);
	free(ci);
}
