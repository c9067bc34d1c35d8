/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * journal_checkpoint.c: committed blocks go home, and the log's tail follows
 * (doc/spec/disk.md 8.7 step 7, doc/spec/fs-locking.md 8.2).
 *
 * Of a block that several committed transactions hold only the newest image is written;
 * an image never holds changes of a transaction that is not committed. When all are home
 * and flushed, the super block's start moves past them, durably, and only then is their
 * room in the log used again and are their blocks clean.
 *
 * fs-locking.md asks for an empty log before a lock is given away. It need not be quite
 * empty here: what matters is that no block changed under the lock is left in it, and
 * those lie in transactions up to the inode's last_trans. A younger one, begun while we
 * write, holds other blocks only, since nobody works under a lock that is being given
 * away. So operations under other locks need not stop.
 *
 * Checkpoints follow one another under checkpoint_mutex, so an old image never
 * overtakes a newer one.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "fs/volume/journal_int.h"

#define HOME_BATCH 256

struct home {
	blkno_t blkno;
	uint8_t *data;
};

static int by_blkno(const void *a, const void *b)
{
	const struct home *x = a, *y = b;

	return (x->blkno > y->blkno) - (x->blkno < y->blkno);
}

/* Newest images of the transactions up to `last`; mutex is held. */
static int collect(struct journal *j, struct txn *last, struct home **out, unsigned *n)
{
	struct home *list;
	size_t max = 0;

	for (struct txn *t = j->committed;; t = t->next) {
		max += t->nbufs;
		if (t == last)
			break;
	}
	list = malloc(max * sizeof(*list));
	if (!list)
		return -ENOMEM;
	*n = 0;
	for (struct txn *t = j->committed;; t = t->next) {
		for (unsigned i = 0; i < t->nbufs; i++)
			if (t->images[i].b->st->newest == &t->images[i])
				list[(*n)++] = (struct home){ t->images[i].b->blkno,
							      t->images[i].data };
		if (t == last)
			break;
	}
	*out = list;
	return 0;
}

static int write_home(struct journal *j, struct home *list, unsigned n)
{
	struct bd_io io[HOME_BATCH];
	unsigned k = 0;
	int err = 0;

	qsort(list, n, sizeof(*list), by_blkno);
	for (unsigned i = 0; i < n && !err; i++) {
		io[k++] = (struct bd_io){ list[i].data, j->v->blocksize,
					  list[i].blkno * j->v->blocksize, 0 };
		if (k == HOME_BATCH || i == n - 1) {
			err = blockdev_write_many(j->v->dev, io, k);
			k = 0;
		}
	}
	return err ? err : blockdev_flush(j->v->dev);
}

/* The start on the disk passes all transactions up to `last`. */
static int move_tail(struct journal *j, const struct txn *last)
{
	uint32_t start = 0, seq = last->seq + 1;
	const struct txn *t;
	int err;

	pthread_mutex_lock(&j->super_mutex);
	pthread_mutex_lock(&j->mutex);
	t = last->next;
	if (!t && j->frozen && j->frozen->log_start)
		t = j->frozen; /* has its place, and may be complete at any moment */
	if (t) {
		start = t->log_start;
		seq = t->seq;
	}
	pthread_mutex_unlock(&j->mutex);
	err = jfile_write_super(&j->file, start, seq);
	if (!err)
		err = blockdev_flush(j->v->dev);
	if (!err)
		j->super_empty = start == 0;
	pthread_mutex_unlock(&j->super_mutex);
	return err;
}

/* They are home: blocks clean, log room free. Returns the list of them. */
static struct txn *retire(struct journal *j, struct txn *last)
{
	struct txn *first = j->committed;

	pthread_mutex_lock(&j->mutex);
	for (struct txn *t = first;; t = t->next) {
		for (unsigned i = 0; i < t->nbufs; i++)
			if (t->images[i].b->st->newest == &t->images[i])
				t->images[i].b->st->newest = NULL;
		j->log_used -= t->area_blocks;
		j->image_bytes -= (size_t)t->area_blocks * j->v->blocksize;
		if (t == last)
			break;
	}
	j->committed = last->next;
	if (!j->committed)
		j->committed_end = &j->committed;
	last->next = NULL;
	atomic_store(&j->home_id, last->id);
	pthread_mutex_unlock(&j->mutex);
	return first;
}

static int checkpoint_locked(struct journal *j)
{
	struct txn *last, *t;
	struct home *list;
	unsigned n;
	int err;

	pthread_mutex_lock(&j->mutex);
	for (last = j->committed; last && last->next; last = last->next)
		;
	/* nothing to do is no error, also after the end or a failure */
	err = last && (j->error || atomic_load(&j->v->stopped)) ? -EIO : 0;
	if (err || !last) {
		pthread_mutex_unlock(&j->mutex);
		return err;
	}
	err = collect(j, last, &list, &n);
	pthread_mutex_unlock(&j->mutex);
	if (err)
		return err;
	err = write_home(j, list, n);
	free(list);
	if (!err)
		err = move_tail(j, last);
	if (err)
		return journal_fail(j, err, "logged blocks could not be written to their places");
	t = retire(j, last);
	while (t) {
		struct txn *next = t->next;

		for (unsigned i = 0; i < t->nbufs; i++)
			bc_log_put(j->v, t->images[i].b);
		txn_free(t);
		t = next;
	}
	return 0;
}

int journal_checkpoint(struct journal *j)
{
	int err;

	pthread_mutex_lock(&j->checkpoint_mutex);
	err = checkpoint_locked(j);
	pthread_mutex_unlock(&j->checkpoint_mutex);
	return err;
}
