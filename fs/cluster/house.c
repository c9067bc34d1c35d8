/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * house.c: the housekeeping thread of a mount.
 *
 * What must happen some time, under ordinary cluster locks, in a task that nobody
 * waits for: freeing what the truncate log holds, orphans of slots that a crash left
 * (doc/spec/fs-locking.md 6.2 step 11, 7.5), and the last references of downconvert
 * workers, who may not wait for other nodes.
 */
#include <errno.h>
#include <stdlib.h>
#include "fs/cluster/clu_int.h"

enum { TICK_MS = 500 };

/* clu.mutex held. */
static int next_slot(struct clu *clu, unsigned *slot)
{
	for (unsigned i = 0; i < clu->max_slots; i++) {
		if (clu->clean_orphans[i]) {
			int what = clu->clean_orphans[i];

			clu->clean_orphans[i] = 0;
			*slot = i;
			return what;
		}
	}
	return 0;
}

static void clean(struct clu *clu, unsigned slot, unsigned what)
{
	int err = 0;

	if (vol_readonly(clu->vol))
		return;
	if (what & CLU_CLEAN_LOCAL)
		err = vol_slot_cleanup(clu->vol);
	if (!err && (what & (CLU_CLEAN_ORPHANS | CLU_CLEAN_DIO)))
		err = clu_orphan_scan_slot(clu, slot, (what & CLU_CLEAN_DIO) != 0);
	if (err && !atomic_load(&clu->stopped))
		log_warn(clu->log, "house",
			 "could not clean up what a crash left; space stays in use until the next "
			 "mount slot=%u errno=%d",
			 slot, -err);
}

static void flush_truncate_log(struct clu *clu)
{
	int err;

	if (atomic_load(&clu->stopped) || vol_readonly(clu->vol) || !vol_tl_due(clu->vol))
		return;
	err = vol_tl_flush(clu->vol);
	if (err && !atomic_load(&clu->stopped))
		log_debug(clu->log, "house", "truncate log not flushed errno=%d", -err);
}

static void put_all(struct clu_inode *ci)
{
	while (ci) {
		struct clu_inode *next = ci->late_next;

		clu_iput(ci);
		ci = next;
	}
}

/* What dead nodes' local allocs and truncate logs held (7.5). */
static void finish_salvage(struct clu *clu)
{
	struct clu_salvage *s;
	int err;

	for (;;) {
		pthread_mutex_lock(&clu->mutex);
		s = clu->salvage;
		if (s)
			clu->salvage = s->next;
		pthread_mutex_unlock(&clu->mutex);
		if (!s)
			return;
		err = atomic_load(&clu->stopped) ? 0 : vol_salvage_finish(clu->vol, s->what);
		if (err && !atomic_load(&clu->stopped))
			log_warn(clu->log, "house",
				 "space that a dead node had set aside stays in use until fsck.ocfs2 "
				 "errno=%d",
				 -err);
		vol_salvage_free(s->what);
		free(s);
	}
}

static void *house(void *arg)
{
	struct clu *clu = arg;
	struct clu_inode *late;
	struct timespec until;
	unsigned slot = 0;
	int what;

	pthread_mutex_lock(&clu->mutex);
	for (;;) {
		late = clu->late;
		clu->late = NULL;
		what = clu->ending ? 0 : next_slot(clu, &slot);
		if (!late && !what && !clu->salvage) {
			if (clu->ending)
				break;
			clock_gettime(CLOCK_MONOTONIC, &until);
			until.tv_nsec += TICK_MS * 1000000L;
			until.tv_sec += until.tv_nsec / 1000000000L;
			until.tv_nsec %= 1000000000L;
			if (pthread_cond_timedwait(&clu->cond, &clu->mutex, &until) != ETIMEDOUT)
				continue;
		}
		pthread_mutex_unlock(&clu->mutex);
		put_all(late);
		finish_salvage(clu);
		if (what)
			clean(clu, slot, (unsigned)what);
		flush_truncate_log(clu);
		pthread_mutex_lock(&clu->mutex);
	}
	pthread_mutex_unlock(&clu->mutex);
	return NULL;
}

void clu_house_put(struct clu *clu, struct clu_inode *ci)
{
	pthread_mutex_lock(&clu->mutex);
	ci->late_next = clu->late;
	clu->late = ci;
	pthread_cond_broadcast(&clu->cond);
	pthread_mutex_unlock(&clu->mutex);
}

void clu_house_clean(struct clu *clu, unsigned slot, unsigned what)
{
	pthread_mutex_lock(&clu->mutex);
	clu->clean_orphans[slot] |= (uint8_t)what;
	pthread_cond_broadcast(&clu->cond);
	pthread_mutex_unlock(&clu->mutex);
}

int clu_house_start(struct clu *clu)
{
	int err = pthread_create(&clu->house, NULL, house, clu);

	clu->house_running = !err;
	return -err;
}

/* clu.ending is set. */
void clu_house_stop(struct clu *clu)
{
	if (clu->house_running)
		pthread_join(clu->house, NULL);
	clu->house_running = false;
	put_all(clu->late);
	clu->late = NULL;
	finish_salvage(clu);
}
