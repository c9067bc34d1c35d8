/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * journal.c: handles, and the running transaction that they change blocks in.
 *
 * All handles of all threads share one running transaction. It is frozen only when none
 * of them is open (the barrier), so it holds each operation whole or not at all. While
 * the barrier waits no new handle gets in, so a stream of handles cannot hold up a
 * commit; and a handle waits for nothing but device reads, so the barrier cannot wait
 * for long.
 *
 * Room is counted in credits: what open handles may still join plus what is joined never
 * exceeds max_bufs, so an operation that began can always be completed. Whoever finds no
 * room commits the transaction himself and tries again.
 *
 * Room in the log is not the handles' concern: a commit makes it (journal_commit.c).
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "fs/volume/journal_int.h"

int64_t journal_now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int journal_fail(struct journal *j, int err, const char *what)
{
	char text[200];
	bool first;

	pthread_mutex_lock(&j->mutex);
	first = !j->error;
	if (first)
		j->error = -EIO;
	pthread_cond_broadcast(&j->cond);
	pthread_mutex_unlock(&j->mutex);
	if (first) {
		snprintf(text, sizeof(text), "journal of slot %u: %s: %s", j->file.slot, what,
			 strerror(-err));
		vol_stop(j->v, text);
	}
	return -EIO;
}

void txn_free(struct txn *t)
{
	if (!t)
		return;
	free(t->bufs);
	free(t->freed);
	free(t->area);
	free(t->images);
	free(t);
}

/* mutex is held. */
static int get_running(struct journal *j)
{
	struct txn *t = j->running;

	if (t)
		return 0;
	t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	t->id = atomic_fetch_add(&j->next_id, 1);
	j->running = t;
	return 0;
}

static bool may_write(const struct journal *j)
{
	if (!atomic_load(&j->v->readonly))
		return true;
	return atomic_load(&j->maintained) && pthread_equal(j->maintainer, pthread_self());
}

unsigned jh_max_credits(struct vol *v)
{
	return v->journal ? v->journal->max_bufs : 0;
}

/* Wait until the running transaction has room for the credits; mutex is held. */
static int get_room(struct journal *j, unsigned credits)
{
	uint64_t id;
	int err;

	for (;;) {
		if (j->error || atomic_load(&j->v->stopped))
			return -EIO;
		if (j->barrier) {
			pthread_cond_wait(&j->cond, &j->mutex);
			continue;
		}
		err = get_running(j);
		if (err)
			return err;
		if (j->running->nbufs + j->running->reserved + credits <= j->max_bufs)
			return 0;
		id = j->running->id;
		pthread_mutex_unlock(&j->mutex);
		err = journal_commit(j->v, id);
		pthread_mutex_lock(&j->mutex);
		if (err)
			return err;
	}
}

int jh_begin(struct vol *v, unsigned credits, struct jhandle **out)
{
	struct journal *j = v->journal;
	struct jhandle *h;
	int err;

	if (!j || !may_write(j))
		return -EROFS;
	if (credits > j->max_bufs)
		return -ENOSPC;
	h = malloc(sizeof(*h));
	if (!h)
		return -ENOMEM;
	pthread_mutex_lock(&j->mutex);
	err = get_room(j, credits);
	if (!err) {
		*h = (struct jhandle){ .j = j, .txn = j->running, .left = credits };
		j->running->reserved += credits;
		j->running->handles++;
	}
	pthread_mutex_unlock(&j->mutex);
	if (err) {
		free(h);
		return err;
	}
	*out = h;
	return 0;
}

int jh_extend(struct jhandle *h, unsigned more)
{
	struct journal *j = h->j;
	int err = 0;

	pthread_mutex_lock(&j->mutex);
	if (more > j->max_bufs || h->txn->nbufs + h->txn->reserved > j->max_bufs - more) {
		err = -ENOSPC;
	} else {
		h->txn->reserved += more;
		h->left += more;
	}
	pthread_mutex_unlock(&j->mutex);
	return err;
}

/* mutex is held. */
static int join(struct jhandle *h, struct buf *b)
{
	struct txn *t = h->txn;
	unsigned max = t->max_bufs ? 2 * t->max_bufs : 64;
	struct buf **bufs;

	if (h->left == 0) {
		/* our own miscount; there may be room all the same */
		log_warn(h->j->v->log, "journal", "handle needs more credits than it asked for "
			 "block=%llu type=%d", (unsigned long long)b->blkno, (int)b->type);
		if (t->nbufs + t->reserved >= h->j->max_bufs)
			return -ENOSPC;
		t->reserved++;
		h->left++;
	}
	if (t->nbufs == t->max_bufs) {
		bufs = realloc(t->bufs, max * sizeof(struct buf *));
		if (!bufs)
			return -ENOMEM;
		t->bufs = bufs;
		t->max_bufs = max;
	}
	if (t->nbufs == 0)
		t->born_ms = journal_now_ms();
	t->bufs[t->nbufs++] = b;
	t->reserved--;
	h->left--;
	b->st->running = t;
	bc_log_get(h->j->v, b);
	return 0;
}

int jh_write(struct jhandle *h, struct buf *b, struct vol_inode *owner)
{
	struct journal *j = h->j;
	int err = 0;

	assert(b->st->hashed); /* else a second copy is, and this one would be lost */
	pthread_mutex_lock(&j->mutex);
	if (j->error || atomic_load(&j->v->stopped))
		err = -EIO;
	else if (b->st->running != h->txn)
		err = join(h, b);
	if (!err && owner) {
		atomic_store(&owner->last_trans, h->txn->id);
		atomic_store(&owner->sync_tid, h->txn->id);
	}
	pthread_mutex_unlock(&j->mutex);
	return err;
}

int jh_end(struct jhandle *h, bool sync)
{
	struct journal *j = h->j;
	struct txn *t = h->txn;
	uint64_t id = t->id;
	bool wrote;
	int err;

	pthread_mutex_lock(&j->mutex);
	t->reserved -= h->left;
	t->handles--;
	wrote = t->nbufs > 0;
	if (t->handles == 0 && j->barrier)
		pthread_cond_broadcast(&j->cond);
	else if (t->nbufs > j->max_bufs / 2)
		journal_kick(j);
	err = j->error;
	pthread_mutex_unlock(&j->mutex);
	free(h);
	if (err || atomic_load(&j->v->stopped))
		return -EIO;
	return sync && wrote ? journal_commit(j->v, id) : 0;
}

void jh_abort(struct jhandle *h, const char *why)
{
	(void)journal_fail(h->j, -EIO, why);
}

struct vol *jh_vol(struct jhandle *h)
{
	return h->j->v;
}

/* ---- clusters that wait for their transaction to be durable ------------------------ */

int jh_freed(struct jhandle *h, uint32_t cluster, uint32_t count)
{
	struct journal *j = h->j;
	struct txn *t = h->txn;
	int err = 0;

	pthread_mutex_lock(&j->mutex);
	if (t->nfreed == t->max_freed) {
		unsigned max = t->max_freed ? 2 * t->max_freed : 16;
		struct freed_run *f = realloc(t->freed, max * sizeof(*f));

		if (f) {
			t->freed = f;
			t->max_freed = max;
		} else {
			err = -ENOMEM;
		}
	}
	if (!err) {
		t->freed[t->nfreed++] = (struct freed_run){ cluster, count };
		atomic_fetch_add(&j->nfreed, 1);
	}
	pthread_mutex_unlock(&j->mutex);
	return err;
}

/* Move *pos out of t's runs, *end down to the next of them. True: *pos moved. */
static bool step_out(const struct txn *t, uint32_t *pos, uint32_t *end)
{
	bool moved = false;

	for (unsigned i = 0; t && i < t->nfreed; i++) {
		const struct freed_run *r = &t->freed[i];

		if (*pos - r->cluster < r->count) {
			*pos = r->cluster + r->count;
			moved = true;
		} else if (r->cluster > *pos && r->cluster < *end) {
			*end = r->cluster;
		}
	}
	return moved;
}

bool jh_reusable(struct vol *v, uint32_t from, uint32_t end, uint32_t *start, uint32_t *len)
{
	struct journal *j = v->journal;
	uint32_t pos = from, stop = end;

	if (j && atomic_load(&j->nfreed) && from < end) {
		pthread_mutex_lock(&j->mutex);
		do {
			stop = end;
		} while (step_out(j->running, &pos, &stop) || step_out(j->frozen, &pos, &stop));
		pthread_mutex_unlock(&j->mutex);
	}
	if (pos >= end)
		return false;
	*start = pos;
	*len = stop - pos;
	return true;
}

/* ---- durability ---------------------------------------------------------------------- */

uint64_t journal_last_tid(struct vol *v)
{
	return v->journal ? atomic_load(&v->journal->next_id) - 1 : 0;
}

bool journal_committed(struct vol *v, uint64_t tid)
{
	return !v->journal || atomic_load(&v->journal->committed_id) >= tid;
}

int journal_commit(struct vol *v, uint64_t tid)
{
	struct journal *j = v->journal;
	bool did = true;
	int err = 0;

	if (!j || atomic_load(&j->committed_id) >= tid)
		return 0;
	pthread_mutex_lock(&j->commit_mutex);
	while (!err && did && atomic_load(&j->committed_id) < tid)
		err = journal_commit_running(j, &did);
	pthread_mutex_unlock(&j->commit_mutex);
	return err;
}

int journal_flush(struct vol *v)
{
	int err = blockdev_flush(v->dev);

	return err && v->journal ?
		       journal_fail(v->journal, err, "the device's cache could not be flushed") : err;
}

int vol_sync(struct vol *v)
{
	struct journal *j = v->journal;
	bool did = false;
	int err;

	if (!j)
		return blockdev_flush(v->dev);
	pthread_mutex_lock(&j->commit_mutex);
	err = journal_commit_running(j, &did);
	pthread_mutex_unlock(&j->commit_mutex);
	return err || did ? err : journal_flush(v);
}

int vol_checkpoint(struct vol *v)
{
	struct journal *j = v->journal;
	uint64_t id = 0;
	int err;

	if (!j)
		return 0;
	pthread_mutex_lock(&j->mutex);
	if (j->running && j->running->nbufs)
		id = j->running->id;
	else if (j->frozen)
		id = j->frozen->id;
	pthread_mutex_unlock(&j->mutex);
	err = journal_commit(v, id);
	return err ? err : journal_checkpoint(j);
}

bool vol_inode_checkpointed(struct vol_inode *inode)
{
	struct journal *j = inode->vol->journal;

	return !j || atomic_load(&inode->last_trans) <= atomic_load(&j->home_id);
}
