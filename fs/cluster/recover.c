/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * recover.c: nodes that died (doc/spec/fs-locking.md section 7).
 *
 * The DLM tells of a death before it can grant anything that the dead node was in the
 * way of. In that callback the node is noted and M requests are made to wait
 * (lc_recovery_pending), so nobody reads a block that the dead node's journal still
 * has to bring home. A thread then takes S EX (the DLM grants it after its own
 * recovery), replays the journals of the slots that dead nodes still have in the map,
 * and frees the slots. Every survivor does this; who comes second finds nothing left.
 *
 * A slot is safe to replay because M(journal:slot) EX, which its owner holds as long as
 * he lives, was granted to us, and S EX keeps a mount from taking the slot meanwhile. A
 * node that died and was faster to mount again than we are here has replayed its journal
 * itself: the journal's recovery generation tells, and its lock is not waited for.
 */
#include <errno.h>
#include <stdlib.h>
#include "fs/cluster/clu_int.h"

enum { RETRY_MS = 1000 };

/* Reactor, or mount. */
void clu_recovery_node(struct clu *clu, node_t node, int64_t silent_ns)
{
	bool known;

	pthread_mutex_lock(&clu->mutex);
	known = clu->dead[node];
	if (!known) {
		clu->dead[node] = 1;
		clu->dead_count++;
		clu_times_declared(clu, node, silent_ns);
		lc_recovery_pending(clu->lc, 1);
		pthread_cond_broadcast(&clu->cond);
	}
	pthread_mutex_unlock(&clu->mutex);
	if (!known)
		log_warn(clu->log, "recovery",
			 "a node died with this volume mounted; its journal must be replayed before "
			 "operations go on node=%u",
			 node);
}

int clu_recovery_note_generations(struct clu *clu)
{
	for (unsigned s = 0; s < clu->max_slots; s++) {
		bool dirty;
		int err = vol_journal_state(clu->vol, s, &dirty, &clu->recovery_generation[s]);

		if (err)
			return err;
	}
	return 0;
}

static int first_dead(struct clu *clu)
{
	int node = -1;

	pthread_mutex_lock(&clu->mutex);
	for (unsigned n = 0; n < NODE_MAX && node < 0; n++) {
		if (clu->dead[n])
			node = (int)n;
	}
	pthread_mutex_unlock(&clu->mutex);
	return node;
}

static void recovered(struct clu *clu, int node)
{
	pthread_mutex_lock(&clu->mutex);
	clu->dead[node] = 0;
	clu->dead_count--;
	pthread_mutex_unlock(&clu->mutex);
	clu_times_replayed(clu, (node_t)node);
	lc_recovery_pending(clu->lc, -1);
}

static void keep_salvage(struct clu *clu, struct vol_salvage *what)
{
	struct clu_salvage *s = calloc(1, sizeof(*s));

	if (!s) {
		vol_salvage_free(what);
		return;
	}
	s->what = what;
	pthread_mutex_lock(&clu->mutex);
	s->next = clu->salvage;
	clu->salvage = s;
	pthread_cond_broadcast(&clu->cond);
	pthread_mutex_unlock(&clu->mutex);
}

/* S EX is held. */
static int recover_slot(struct clu *clu, unsigned slot, node_t node, bool *replayed)
{
	struct lc_lock *j = clu_journal_lock(clu, slot);
	struct vol_salvage *salvage = NULL;
	struct reason why = { 0 };
	uint32_t generation;
	bool dirty;
	int err = vol_journal_state(clu->vol, slot, &dirty, &generation);

	if (err)
		return err;
	if (generation != clu->recovery_generation[slot]) {
		clu->recovery_generation[slot] = generation;
		return 0;
	}
	if (clu->cfg.fence_node)
		err = clu->cfg.fence_node(clu->cfg.fence_ctx, node);
	if (!err)
		err = lc_lock(j, DLM_MODE_EX, LC_IN_RECOVERY);
	if (err)
		return err;
	err = vol_recover_slot(clu->vol, slot, replayed, &salvage, &why);
	if (!err)
		err = clu_slot_write(clu, slot, -1);
	lc_unlock(j, DLM_MODE_EX);
	if (err && why.text[0])
		log_err(clu->log, "recovery", "%s", why.text);
	if (err)
		vol_salvage_free(salvage);
	else
		keep_salvage(clu, salvage);
	return err;
}

/* All nodes noted so far; S EX is held. */
static int recover_nodes(struct clu *clu, bool *replayed)
{
	int node, slot, err = 0;

	while (!err && (node = first_dead(clu)) >= 0) {
		bool one = false;

		slot = clu_slot_of(clu, (node_t)node);
		/* None: another survivor has done it. Our own: a mount of this node that crashed
		 * before, and is replayed already. */
		if (slot >= 0 && slot != clu->slot)
			err = recover_slot(clu, (unsigned)slot, (node_t)node, &one);
		*replayed |= one;
		if (!err)
			recovered(clu, node);
	}
	return err;
}

static int recover_once(struct clu *clu)
{
	bool replayed = false;
	int err = lc_lock(&clu->s, DLM_MODE_EX, 0);

	if (err)
		return err;
	clu_times_locks(clu);
	err = recover_nodes(clu, &replayed);
	if (!err)
		err = clu_recovery_note_generations(clu);
	for (unsigned s = 0; replayed && s < clu->max_slots; s++) {
		if (clu->slots[s] < 0)
			clu_house_clean(clu, s, CLU_CLEAN_ORPHANS | CLU_CLEAN_DIO);
	}
	lc_unlock(&clu->s, DLM_MODE_EX);
	if (!err)
		clu_house_clean(clu, (unsigned)clu->slot, CLU_CLEAN_ORPHANS);
	return err;
}

static void pause_before_retry(struct clu *clu)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += RETRY_MS / 1000;
	while (!clu->ending && pthread_cond_timedwait(&clu->cond, &clu->mutex, &until) != ETIMEDOUT)
		;
}

static void *recovery(void *arg)
{
	struct clu *clu = arg;
	int err = 0, last = 0;

	pthread_mutex_lock(&clu->mutex);
	while (!clu->ending || (clu->dead_count && !err)) {
		if (!clu->dead_count) {
			pthread_cond_wait(&clu->cond, &clu->mutex);
			continue;
		}
		pthread_mutex_unlock(&clu->mutex);
		err = recover_once(clu);
		if (err && err != last && !atomic_load(&clu->stopped))
			log_err(clu->log, "recovery",
				"a dead node's slot could not be recovered; trying again, operations "
				"wait errno=%d",
				-err);
		last = err;
		pthread_mutex_lock(&clu->mutex);
		if (err)
			pause_before_retry(clu);
	}
	pthread_mutex_unlock(&clu->mutex);
	return NULL;
}

int clu_recovery_start(struct clu *clu)
{
	int err = pthread_create(&clu->recovery, NULL, recovery, clu);

	clu->recovery_running = !err;
	return -err;
}

/*
 * What is pending is done first: an unmount takes M locks, too. If it cannot be done,
 * nothing may be touched any more; the other nodes have it to do, and us besides.
 */
void clu_recovery_stop(struct clu *clu)
{
	if (clu->recovery_running)
		pthread_join(clu->recovery, NULL);
	clu->recovery_running = false;
	if (clu->dead_count && !atomic_load(&clu->stopped)) {
		log_err(clu->log, "recovery",
			"unmounting while a dead node's journal is not replayed: leaving like one who "
			"crashed; see the messages before");
		clu_stop(clu);
	}
}
