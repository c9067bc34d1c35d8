/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * journal_life.c: a slot is taken into use and given back; the background thread
 * (doc/spec/disk.md 8.10, doc/spec/fs-locking.md 6.2, 6.3).
 *
 * Order at the start: replay; look at local alloc and truncate log; set the dirty flag,
 * durably; only then may anything be committed. So a volume that is refused half way is
 * as it was, and a log is never written that nobody would replay. At the end: everything
 * home, the log empty, durably; only then the flag is cleared.
 *
 * The thread commits what is older than the interval, and checkpoints when the log is
 * half full or its copies take much memory, so that operations rarely have to.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "fs/volume/alloc_int.h"
#include "fs/volume/journal_int.h"

enum { COMMIT_MS = 5000, IMAGE_BYTES = 32 << 20, IDLE_HOME_MS = 30000 };

void journal_kick(struct journal *j)
{
	j->kicked = true;
	pthread_cond_signal(&j->thread_cond);
}

/* ---- background thread -------------------------------------------------------------- */

static bool log_is_full(const struct journal *j)
{
	return j->log_used > j->log_room / 2 || j->image_bytes > IMAGE_BYTES;
}

/* Sleep until something may be due. mutex is held. */
static void nap(struct journal *j, int64_t ms)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += ms / 1000;
	until.tv_nsec += ms % 1000 * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_nsec -= 1000000000;
		until.tv_sec++;
	}
	if (!j->kicked && !j->stopping)
		pthread_cond_timedwait(&j->thread_cond, &j->mutex, &until);
	j->kicked = false;
}

static void *background(void *arg)
{
	struct journal *j = arg;
	int64_t interval = j->v->opts.commit_ms ? j->v->opts.commit_ms : COMMIT_MS;
	int64_t home_ms = journal_now_ms();

	pthread_mutex_lock(&j->mutex);
	while (!j->stopping) {
		int64_t now = journal_now_ms();
		struct txn *t = j->running;
		uint64_t id = 0;
		bool home, dead = j->error || atomic_load(&j->v->stopped);

		if (t && t->nbufs &&
		    (now - t->born_ms >= interval || t->nbufs > j->max_bufs / 2))
			id = t->id;
		home = j->committed && (log_is_full(j) || now - home_ms >= IDLE_HOME_MS);
		if (dead || (!id && !home)) {
			nap(j, t && t->nbufs && !dead ? t->born_ms + interval - now : interval);
			continue;
		}
		pthread_mutex_unlock(&j->mutex);
		/* errors were said and stopped the volume */
		if (id && journal_commit(j->v, id))
			log_debug(j->v->log, "journal", "commit failed id=%llu",
				  (unsigned long long)id);
		if (home && journal_checkpoint(j))
			log_debug(j->v->log, "journal", "checkpoint failed");
		if (home)
			home_ms = journal_now_ms();
		pthread_mutex_lock(&j->mutex);
		if (id && atomic_load(&j->committed_id) < id && !j->error)
			nap(j, 100); /* out of memory */
	}
	pthread_mutex_unlock(&j->mutex);
	return NULL;
}

static int start_thread(struct journal *j)
{
	int err = pthread_create(&j->thread, NULL, background, j);

	j->has_thread = err == 0;
	return -err;
}

static void stop_thread(struct journal *j)
{
	if (!j->has_thread)
		return;
	pthread_mutex_lock(&j->mutex);
	j->stopping = true;
	pthread_cond_signal(&j->thread_cond);
	pthread_mutex_unlock(&j->mutex);
	pthread_join(j->thread, NULL);
	j->has_thread = false;
}

/* ---- the journal -------------------------------------------------------------------- */

static void drop_txn(struct journal *j, struct txn *t)
{
	if (!t)
		return;
	for (unsigned i = 0; i < t->nbufs; i++) {
		t->bufs[i]->st->running = NULL;
		t->bufs[i]->st->newest = NULL;
		bc_log_put(j->v, t->bufs[i]);
	}
	txn_free(t);
}

void journal_free(struct vol *v)
{
	struct journal *j = TAKE(v->journal);
	struct txn *t, *next;

	if (!j)
		return;
	stop_thread(j);
	for (t = j->committed; t; t = next) {
		next = t->next;
		drop_txn(j, t);
	}
	drop_txn(j, j->frozen);
	drop_txn(j, j->running);
	jfile_close(&j->file);
	pthread_cond_destroy(&j->cond);
	pthread_cond_destroy(&j->thread_cond);
	pthread_mutex_destroy(&j->mutex);
	pthread_mutex_destroy(&j->super_mutex);
	pthread_mutex_destroy(&j->checkpoint_mutex);
	pthread_mutex_destroy(&j->commit_mutex);
	free(j);
}

static struct journal *journal_new(struct vol *v)
{
	struct journal *j = calloc(1, sizeof(*j));
	pthread_condattr_t attr;

	if (!j)
		return NULL;
	j->v = v;
	atomic_store(&j->next_id, 1);
	j->committed_end = &j->committed;
	pthread_mutex_init(&j->commit_mutex, NULL);
	pthread_mutex_init(&j->checkpoint_mutex, NULL);
	pthread_mutex_init(&j->super_mutex, NULL);
	pthread_mutex_init(&j->mutex, NULL);
	pthread_cond_init(&j->cond, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&j->thread_cond, &attr);
	pthread_condattr_destroy(&attr);
	return j;
}

static int read_flag(struct jfile *f, bool *dirty)
{
	struct buf *b;
	int err = inode_buf(f->inode, &b);

	if (err)
		return err;
	*dirty = le32toh(((const struct ocfs2_dinode *)b->data)->id1.journal1.ij_flags) &
		 OCFS2_JOURNAL_DIRTY_FL;
	bc_put(b);
	return 0;
}

static int replay_own(struct journal *j, struct reason *why)
{
	struct vol *v = j->v;
	struct replay_stats stats;
	int err = replay_log(&j->file, &stats, why);

	if (err)
		return err;
	if (!j->recovered && stats.transactions)
		log_err(v->log, "journal", "the journal was marked clean, but held changes; they were "
			"put in place, as a kernel node would; run fsck.ocfs2 when the volume is "
			"unmounted slot=%u transactions=%u", j->file.slot, stats.transactions);
	else if (j->recovered)
		log_info(v->log, "journal", "replayed after a crash slot=%u transactions=%u blocks=%u",
			 j->file.slot, stats.transactions, stats.blocks);
	j->next_seq = stats.next;
	j->head = j->file.first;
	j->super_empty = true;
	return 0;
}

int journal_open(struct vol *v, unsigned slot, bool *replayed, struct reason *why)
{
	struct journal *j = journal_new(v);
	int err;

	if (!j)
		return reason_set(why, EXIT_SYSTEM, -ENOMEM, "journal: out of memory");
	v->journal = j;
	err = jfile_open(v, slot, &j->file, why);
	if (!err)
		err = read_flag(&j->file, &j->recovered);
	if (!err && v->info.blocks > UINT32_MAX && j->file.tag_bytes != 12)
		err = reason_set(why, EXIT_JOURNAL, -EINVAL, "journal: that of slot %u cannot name all "
				 "blocks of the volume; tunefs.ocfs2 -J block64 changes it", slot);
	if (!err)
		err = replay_own(j, why);
	if (err) {
		journal_free(v);
		return reason_set(why, EXIT_JOURNAL, err, "journal: that of slot %u cannot be opened: "
				  "%s", slot, strerror(-err));
	}
	j->max_bufs = j->file.maxlen / 4;
	j->log_room = j->file.maxlen - j->file.first;
	*replayed = j->recovered;
	return 0;
}

int journal_start(struct journal *j, struct reason *why)
{
	int err = jfile_mark(&j->file, true, j->recovered);

	if (!err)
		err = start_thread(j);
	if (err)
		reason_set(why, EXIT_JOURNAL, err, "journal: that of slot %u cannot be started: %s",
			   j->file.slot, strerror(-err));
	return err;
}

int journal_stop(struct vol *v, bool dirty)
{
	struct journal *j = v->journal;
	int err = 0;

	if (!j)
		return 0;
	if (!dirty)
		err = vol_checkpoint(v);
	stop_thread(j);
	if (!dirty && !err && !j->super_empty) {
		err = jfile_write_super(&j->file, 0, j->next_seq);
		if (!err)
			err = blockdev_flush(v->dev);
	}
	if (!dirty && !err)
		err = jfile_mark(&j->file, false, false);
	/* It stays until vol_close: whoever gives back a lock still asks what is home. */
	pthread_mutex_lock(&j->mutex);
	if (!j->error)
		j->error = -EROFS;
	pthread_mutex_unlock(&j->mutex);
	return err;
}

/* ---- the slot -------------------------------------------------------------------------- */

/*
 * What is read before any cluster lock: the files that are this node's own. Without a
 * cluster the root, too; all other inodes are read when they are locked. What was read
 * before a replay is not true any more.
 */
static int load_own(struct vol *v, bool replayed, struct reason *why)
{
	struct vol_inode *own[] = {
		v->opts.hooks && v->opts.hooks->sys_lock ? NULL : v->root,
		v->journal ? vol_sys_inode(v, VOL_SYS_LOCAL_ALLOC, (unsigned)v->slot) : NULL,
		v->journal ? vol_sys_inode(v, VOL_SYS_TRUNCATE_LOG, (unsigned)v->slot) : NULL,
	};
	int err = 0;

	for (unsigned i = 0; replayed && i < VOL_SYS_MAX * v->info.max_slots; i++)
		if (v->sys[i] && v->sys[i]->loaded) {
			vol_inode_purge(v->sys[i]);
			v->sys[i]->loaded = false;
		}
	for (unsigned i = 0; i < sizeof(own) / sizeof(own[0]) && !err; i++)
		if (own[i])
			err = vol_inode_refresh(own[i]);
	if (err)
		reason_set(why, EXIT_JOURNAL, err, "a system file of slot %d on %s cannot be read: %s; "
			   "run fsck.ocfs2 with the volume unmounted everywhere", v->slot,
			   v->dev->path, strerror(-err));
	return err;
}

/* A volume that is not written at all needs no journal, but must not need a replay. */
static int start_hard_ro(struct vol *v, unsigned slot, struct reason *why)
{
	uint32_t generation;
	bool dirty;
	int err = vol_journal_state(v, slot, &dirty, &generation);

	if (err)
		return reason_set(why, EXIT_JOURNAL, err, "journal: state of slot %u cannot be read: %s",
				  slot, strerror(-err));
	if (dirty)
		return reason_set(why, EXIT_JOURNAL, -EROFS, "journal: that of slot %u must be replayed, "
				  "but the %s allows reading only; mount it where it can be written, or "
				  "run fsck.ocfs2", slot, v->dev->readonly ? "device" : "volume");
	v->slot = (int)slot;
	err = load_own(v, false, why);
	if (err)
		v->slot = -1;
	return err;
}

int vol_slot_start(struct vol *v, unsigned slot, bool *replayed, struct reason *why)
{
	int err;

	*replayed = false;
	if (slot >= v->info.max_slots)
		return reason_set(why, EXIT_JOURNAL, -EINVAL, "journal: there is no slot %u", slot);
	journal_free(v); /* of an earlier start */
	if (v->info.force_ro || v->dev->readonly)
		return start_hard_ro(v, slot, why);
	v->slot = (int)slot;
	err = journal_open(v, slot, replayed, why);
	if (!err)
		err = load_own(v, *replayed, why);
	if (!err && suballoc_open(v))
		err = reason_set(why, EXIT_SYSTEM, -ENOMEM, "out of memory");
	if (!err)
		err = trunclog_open(v, why);
	if (!err)
		err = localalloc_open(v, *replayed, why);
	if (!err)
		err = journal_start(v->journal, why);
	if (err) {
		alloc_close(v);
		journal_free(v);
		v->slot = -1;
	}
	return err;
}

static void maintain(struct journal *j, bool on)
{
	j->maintainer = pthread_self();
	atomic_store(&j->maintained, on);
}

int vol_slot_cleanup(struct vol *v)
{
	int err, err2;

	if (!v->journal)
		return 0;
	maintain(v->journal, true);
	err = localalloc_recover(v);
	err2 = vol_tl_flush(v);
	maintain(v->journal, false);
	return err ? err : err2;
}

int vol_slot_stop(struct vol *v, bool dirty)
{
	int err = 0, err2;

	if (v->slot < 0)
		return 0;
	if (v->journal) {
		if (atomic_load(&v->stopped)) {
			err = dirty ? 0 : -EIO;
			dirty = true;
		}
		if (!dirty) {
			maintain(v->journal, true);
			err = vol_tl_flush(v);
			if (!err)
				err = localalloc_stop(v);
			maintain(v->journal, false);
		}
		alloc_close(v);
		err2 = journal_stop(v, dirty || err);
		err = err ? err : err2;
	}
	v->slot = -1;
	return err;
}
