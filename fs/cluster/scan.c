/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * scan.c: the periodic look for orphans that nobody frees (doc/spec/fs-locking.md 5.5).
 *
 * Whoever uses an inode last frees it, but not every node knows that it is the last: one
 * that has a file open and no cached name of it is not told that the name went, and what
 * failed once is left alone. So about once in five minutes some node looks through the
 * orphan directories of all slots. The number in the value block of P says whether
 * another node has just done so: it changed since this node looked, then it is this
 * node's turn next time. Kernel nodes take part in the same way.
 *
 * A thread of its own: it may wait for a node that scans, and whoever does waits for M of
 * what it finds. The numbers are touched by the holder of P EX, and by the worker that
 * lowers it, after the last holder.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "dlm/util/bytes.h"
#include "fs/cluster/clu_int.h"

enum { SCAN_MS = 300000, SPREAD_MS = 5000, LVB_VERSION = 1, LVB_NUMBER = 4 };

static int number_from_lvb(struct lc_lock *l, const uint8_t *lvb)
{
	struct clu *clu = l->owner;
	uint32_t be;

	memcpy(&be, lvb + LVB_NUMBER, sizeof(be));
	clu->scan_number = lvb[0] == LVB_VERSION ? be32toh(be) : clu->scan_seen + 1;
	return 0;
}

static void number_to_lvb(struct lc_lock *l, uint8_t lvb[DLM_LVB_LEN])
{
	struct clu *clu = l->owner;
	uint32_t be = htobe32(clu->scan_number);

	memset(lvb, 0, DLM_LVB_LEN);
	lvb[0] = LVB_VERSION;
	memcpy(lvb + LVB_NUMBER, &be, sizeof(be));
}

const struct lc_type clu_type_p = {
	.letter = 'P',
	.has_lvb = true,
	.refreshes = true,
	.refresh = number_from_lvb,
	.stuff_lvb = number_to_lvb,
};

static bool ending(struct clu *clu)
{
	bool is;

	pthread_mutex_lock(&clu->mutex);
	is = clu->ending;
	pthread_mutex_unlock(&clu->mutex);
	return is;
}

static void scan(struct clu *clu)
{
	int err = 0;

	if (vol_readonly(clu->vol) || lc_lock(&clu->p, DLM_MODE_EX, 0))
		return;
	if (clu->scan_number != clu->scan_seen) {
		clu->scan_seen = clu->scan_number;
	} else {
		for (unsigned slot = 0; !err && slot < clu->max_slots && !ending(clu); slot++)
			err = clu_orphan_scan_slot(clu, slot, false);
		clu->scan_number++;
	}
	lc_unlock(&clu->p, DLM_MODE_EX);
	if (err && !atomic_load(&clu->stopped))
		log_warn(clu->log, "orphan",
			 "could not look for orphans; it is tried again errno=%d", -err);
}

static struct timespec next_time(const struct clu *clu, unsigned *seed)
{
	unsigned ms = clu->cfg.orphan_scan_ms ? clu->cfg.orphan_scan_ms :
					    SCAN_MS + (unsigned)rand_r(seed) % SPREAD_MS;
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	t.tv_nsec += ms % 1000 * 1000000;
	t.tv_sec += ms / 1000 + t.tv_nsec / 1000000000;
	t.tv_nsec %= 1000000000;
	return t;
}

static void *scanner(void *arg)
{
	struct clu *clu = arg;
	unsigned seed = clu->self;
	struct timespec until = next_time(clu, &seed);

	pthread_mutex_lock(&clu->mutex);
	while (!clu->ending) {
		if (pthread_cond_timedwait(&clu->cond, &clu->mutex, &until) != ETIMEDOUT)
			continue;
		pthread_mutex_unlock(&clu->mutex);
		scan(clu);
		until = next_time(clu, &seed);
		pthread_mutex_lock(&clu->mutex);
	}
	pthread_mutex_unlock(&clu->mutex);
	return NULL;
}

int clu_scan_start(struct clu *clu)
{
	int err = pthread_create(&clu->scanner, NULL, scanner, clu);

	clu->scanner_running = !err;
	return -err;
}

/* clu.ending is set. */
void clu_scan_stop(struct clu *clu)
{
	if (clu->scanner_running)
		pthread_join(clu->scanner, NULL);
	clu->scanner_running = false;
}
