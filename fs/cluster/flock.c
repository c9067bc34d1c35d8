/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * flock.c: flock(2) across nodes (doc/spec/fs-locking.md 3.10).
 *
 * One lock object per open file handle, all of one name, so that handles on one node
 * exclude each other through the DLM just as those on different nodes do. Nothing is
 * cached: an unlocked handle is at NL. It is made at NL, too, and converted from there: a
 * conversion can be taken back when the caller does not want to wait any longer.
 */
#include <errno.h>
#include <stdlib.h>
#include "fs/cluster/clu_int.h"

struct clu_flock {
	pthread_mutex_t mutex;	/* one call at a time on a handle */
	struct lc_lock f;
	int level;		/* held for the caller */
};

static const struct lc_type type_f = { .letter = 'F', .nocache = true };

static int make(struct clu_inode *ci, struct clu_flock **out)
{
	struct clu_flock *fl = calloc(1, sizeof(*fl));
	uint8_t name[LC_NAME_LEN];

	if (!fl)
		return -ENOMEM;
	fl->level = DLM_MODE_NL;
	pthread_mutex_init(&fl->mutex, NULL);
	lockname_text(name, 'F', ci->vi->blkno, ci->generation);
	lc_init(&fl->f, ci->clu->lc, &type_f, name, fl);
	*out = fl;
	return 0;
}

/* To NL: another level is asked for from there, not atomically. */
static void release(struct clu_flock *fl)
{
	if (fl->level == DLM_MODE_NL)
		return;
	lc_unlock(&fl->f, fl->level);
	fl->level = DLM_MODE_NL;
	lc_lower(&fl->f);
}

void clu_interrupt_init(struct clu_interrupt *i)
{
	pthread_mutex_init(&i->mutex, NULL);
	i->waits_for = NULL;
	atomic_init(&i->on, false);
}

void clu_interrupt_destroy(struct clu_interrupt *i)
{
	pthread_mutex_destroy(&i->mutex);
}

void clu_interrupt(struct clu_interrupt *i)
{
	pthread_mutex_lock(&i->mutex);
	atomic_store(&i->on, true);
	if (i->waits_for)
		lc_look_again(i->waits_for);
	pthread_mutex_unlock(&i->mutex);
}

static void waits_for(struct clu_interrupt *i, struct lc_lock *l)
{
	pthread_mutex_lock(&i->mutex);
	i->waits_for = l;
	pthread_mutex_unlock(&i->mutex);
}

static int lock(struct clu_flock *fl, int level, struct clu_interrupt *intr)
{
	int err;

	lc_attach(&fl->f, DLM_MODE_NL, false);
	if (!intr)
		return lc_lock(&fl->f, level, LC_NOQUEUE);
	waits_for(intr, &fl->f);
	err = lc_lock_until(&fl->f, level, 0, &intr->on);
	waits_for(intr, NULL);
	return err;
}

static int set(struct clu_flock *fl, int level, struct clu_interrupt *intr)
{
	int err;

	if (fl->level == level)
		return 0;
	release(fl);
	if (level == DLM_MODE_NL)
		return 0;
	err = lock(fl, level, intr);
	if (!err)
		fl->level = level;
	return err;
}

int clu_flock_set(struct clu_inode *ci, struct clu_flock **fl, int level,
		  struct clu_interrupt *intr)
{
	struct clu_flock *mine;
	int err = 0;

	pthread_mutex_lock(&ci->mutex);
	if (!*fl && level != DLM_MODE_NL)
		err = make(ci, fl);
	mine = *fl;
	pthread_mutex_unlock(&ci->mutex);
	if (err || !mine)
		return err;
	pthread_mutex_lock(&mine->mutex);
	err = set(mine, level, intr);
	pthread_mutex_unlock(&mine->mutex);
	return err;
}

void clu_flock_free(struct clu_flock *fl)
{
	if (!fl)
		return;
	release(fl);
	lc_drop(&fl->f);
	lc_destroy(&fl->f);
	pthread_mutex_destroy(&fl->mutex);
	free(fl);
}
