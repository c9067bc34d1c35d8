/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * bcache.c: metadata blocks in memory, by number.
 *
 * What may be used without reading (doc/spec/fs-locking.md 8.4): a block in our log,
 * current by definition, or one that was read under the same grant of its owner's M
 * lock. The second is a number: each block carries the cache_id its owner had when it
 * was read, and a purge (the lock was lost and came back) gives the owner a new one, so
 * dropping all blocks of an inode costs nothing and a freed block that another inode
 * gets is never mistaken.
 *
 * A stripe's mutex guards its chains and the states of its blocks. A block is read with
 * the mutex released and `reading` set; others who want it wait. Content is protected by
 * the owner's sem (vol_int.h). A stale block that somebody still holds is not read over:
 * it leaves the table and lives until it is put.
 */
#include "fs/volume/bcache_int.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "fs/volume/check.h"

enum { STRIPES = 64, BUCKETS = 256, CACHE_BYTES = 64 << 20 };

struct stripe {
	pthread_mutex_t mutex;
	pthread_cond_t cond;		/* a read ended */
	struct buf_state *bucket[BUCKETS];
	struct buf_state *lru_head, *lru_tail; /* oldest first */
	unsigned idle;
};

struct bcache {
	atomic_uint max_idle;		/* per stripe */
	struct stripe stripe[STRIPES];
};

static struct stripe *stripe_of(struct vol *v, blkno_t blkno)
{
	return &v->bcache->stripe[blkno % STRIPES];
}

static struct buf_state **bucket_of(struct stripe *s, blkno_t blkno)
{
	return &s->bucket[(blkno / STRIPES) % BUCKETS];
}

int bcache_new(struct vol *v)
{
	struct bcache *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	for (int i = 0; i < STRIPES; i++) {
		pthread_mutex_init(&c->stripe[i].mutex, NULL);
		pthread_cond_init(&c->stripe[i].cond, NULL);
	}
	v->bcache = c;
	bcache_limit(v, CACHE_BYTES);
	return 0;
}

void bcache_limit(struct vol *v, size_t bytes)
{
	atomic_store(&v->bcache->max_idle, (unsigned)(bytes / v->blocksize / STRIPES) + 1);
}

size_t bcache_idle_bytes(struct vol *v)
{
	size_t n = 0;

	for (int i = 0; i < STRIPES; i++) {
		struct stripe *s = &v->bcache->stripe[i];

		pthread_mutex_lock(&s->mutex);
		n += s->idle;
		pthread_mutex_unlock(&s->mutex);
	}
	return n * v->blocksize;
}

static void free_state(struct buf_state *st)
{
	free(st->buf.data);
	free(st);
}

void bcache_free(struct vol *v)
{
	struct bcache *c = v->bcache;

	if (!c)
		return;
	for (int i = 0; i < STRIPES; i++) {
		struct stripe *s = &c->stripe[i];

		for (int b = 0; b < BUCKETS; b++)
			while (s->bucket[b]) {
				struct buf_state *st = s->bucket[b];

				s->bucket[b] = st->hash_next;
				free_state(st);
			}
		pthread_mutex_destroy(&s->mutex);
		pthread_cond_destroy(&s->cond);
	}
	free(c);
	v->bcache = NULL;
}

/* ---- chains; the stripe's mutex is held --------------------------------------------- */

static void lru_remove(struct stripe *s, struct buf_state *st)
{
	if (!st->on_lru)
		return;
	if (st->lru_prev)
		st->lru_prev->lru_next = st->lru_next;
	else
		s->lru_head = st->lru_next;
	if (st->lru_next)
		st->lru_next->lru_prev = st->lru_prev;
	else
		s->lru_tail = st->lru_prev;
	st->lru_next = st->lru_prev = NULL;
	st->on_lru = false;
	s->idle--;
}

static void unhash(struct stripe *s, struct buf_state *st)
{
	struct buf_state **at = bucket_of(s, st->buf.blkno);

	while (*at != st)
		at = &(*at)->hash_next;
	*at = st->hash_next;
	st->hashed = false;
	lru_remove(s, st);
}

static void hash(struct stripe *s, struct buf_state *st)
{
	struct buf_state **at = bucket_of(s, st->buf.blkno);

	st->hash_next = *at;
	*at = st;
	st->hashed = true;
}

/* Nobody refers to st any more: keep it for a while, or free it. */
static void idle(struct vol *v, struct stripe *s, struct buf_state *st)
{
	if (atomic_load(&st->buf.refs) || atomic_load(&st->in_log) || st->on_lru)
		return;
	if (!st->hashed || !st->cache_id) {
		if (st->hashed)
			unhash(s, st);
		free_state(st);
		return;
	}
	st->on_lru = true;
	st->lru_prev = s->lru_tail;
	st->lru_next = NULL;
	if (s->lru_tail)
		s->lru_tail->lru_next = st;
	else
		s->lru_head = st;
	s->lru_tail = st;
	s->idle++;
	while (s->idle > atomic_load(&v->bcache->max_idle)) {
		struct buf_state *old = s->lru_head;

		unhash(s, old);
		free_state(old);
	}
}

static struct buf_state *find(struct stripe *s, blkno_t blkno)
{
	struct buf_state *st = *bucket_of(s, blkno);

	while (st && st->buf.blkno != blkno)
		st = st->hash_next;
	return st;
}

static struct buf_state *make(struct vol *v, struct stripe *s, blkno_t blkno)
{
	struct buf_state *st = calloc(1, sizeof(*st));

	if (!st)
		return NULL;
	st->buf.data = blockdev_alloc(v->blocksize);
	if (!st->buf.data) {
		free(st);
		return NULL;
	}
	st->buf.blkno = blkno;
	st->buf.st = st;
	st->vol = v;
	hash(s, st);
	return st;
}

static uint64_t id_of(const struct vol_inode *owner)
{
	return owner ? owner->cache_id : 0;
}

/* ---- reading ---------------------------------------------------------------------------- */

static int check_block(struct vol *v, struct buf_state *st, enum blk_type type,
		       struct vol_inode *owner)
{
	int err = blk_check(v, st->buf.blkno, type, owner, st->buf.data);

	if (!err)
		st->buf.type = type;
	return err;
}

/* st is referenced and marked reading. */
static int read_in(struct vol *v, struct buf_state *st, enum blk_type type, struct vol_inode *owner)
{
	int err = blockdev_read(v->dev, st->buf.data, v->blocksize, st->buf.blkno * v->blocksize);

	if (err) {
		log_err(v->log, "volume", "cannot read a block; check the device block=%llu errno=%d",
			(unsigned long long)st->buf.blkno, -err);
		return -EIO;
	}
	return check_block(v, st, type, owner);
}

static void take(struct stripe *s, struct buf_state *st)
{
	lru_remove(s, st);
	atomic_fetch_add(&st->buf.refs, 1);
}

/* A state for blkno that the caller may fill: *fill. The mutex is held. */
static struct buf_state *get(struct vol *v, struct stripe *s, blkno_t blkno,
			     struct vol_inode *owner, bool *fill)
{
	struct buf_state *st;
	uint64_t id = id_of(owner);

	for (;;) {
		st = find(s, blkno);
		if (!st || !st->reading)
			break;
		pthread_cond_wait(&s->cond, &s->mutex);
	}
	*fill = false;
	if (st && (atomic_load(&st->in_log) || (id && st->cache_id == id))) {
		take(s, st);
		st->cache_id = id;
		return st;
	}
	*fill = true;
	if (st && atomic_load(&st->buf.refs)) {
		unhash(s, st);
		st = NULL;
	}
	if (!st)
		st = make(v, s, blkno);
	if (st) {
		take(s, st);
		st->cache_id = id;
	}
	return st;
}

int bc_read(struct vol *v, blkno_t blkno, enum blk_type type, struct vol_inode *owner,
	    struct buf **out)
{
	struct stripe *s = stripe_of(v, blkno);
	struct buf_state *st;
	bool fill;
	int err = 0;

	if (blkno == 0 || blkno >= vol_block_limit(v))
		return vol_damaged(v, "a block number is out of range block=%llu",
				   (unsigned long long)blkno);
	pthread_mutex_lock(&s->mutex);
	st = get(v, s, blkno, owner, &fill);
	if (!st) {
		pthread_mutex_unlock(&s->mutex);
		return -ENOMEM;
	}
	if (fill) {
		st->reading = true;
		pthread_mutex_unlock(&s->mutex);
		err = read_in(v, st, type, owner);
		pthread_mutex_lock(&s->mutex);
		st->reading = false;
		if (err)
			st->cache_id = 0;
		pthread_cond_broadcast(&s->cond);
	}
	pthread_mutex_unlock(&s->mutex);
	if (!err && st->buf.type != type)
		err = check_block(v, st, type, owner);
	if (err) {
		bc_put(&st->buf);
		return err;
	}
	*out = &st->buf;
	return 0;
}

int bc_new(struct vol *v, blkno_t blkno, enum blk_type type, struct vol_inode *owner,
	   struct buf **out)
{
	struct stripe *s = stripe_of(v, blkno);
	struct buf_state *st;
	bool fill;

	if (blkno == 0 || blkno >= vol_block_limit(v))
		return vol_damaged(v, "a new block's number is out of range block=%llu",
				   (unsigned long long)blkno);
	pthread_mutex_lock(&s->mutex);
	st = get(v, s, blkno, owner, &fill);
	pthread_mutex_unlock(&s->mutex);
	if (!st)
		return -ENOMEM;
	memset(st->buf.data, 0, v->blocksize);
	st->buf.type = type;
	*out = &st->buf;
	return 0;
}

struct buf *bc_hold(struct buf *b)
{
	atomic_fetch_add(&b->refs, 1);
	return b;
}

void bc_put(struct buf *b)
{
	struct stripe *s;
	struct vol *v;

	if (!b)
		return;
	v = b->st->vol;
	s = stripe_of(v, b->blkno);
	pthread_mutex_lock(&s->mutex);
	assert(atomic_load(&b->refs) > 0);
	if (atomic_fetch_sub(&b->refs, 1) == 1)
		idle(v, s, b->st);
	pthread_mutex_unlock(&s->mutex);
}

void bc_log_get(struct vol *v, struct buf *b)
{
	(void)v;
	atomic_fetch_add(&b->st->in_log, 1);
}

void bc_log_put(struct vol *v, struct buf *b)
{
	struct stripe *s = stripe_of(v, b->blkno);

	pthread_mutex_lock(&s->mutex);
	if (atomic_fetch_sub(&b->st->in_log, 1) == 1)
		idle(v, s, b->st);
	pthread_mutex_unlock(&s->mutex);
}

void bc_forget(struct vol *v, blkno_t blkno)
{
	struct stripe *s = stripe_of(v, blkno);
	struct buf_state *st;

	pthread_mutex_lock(&s->mutex);
	st = find(s, blkno);
	if (st && !st->reading) {
		st->cache_id = 0;
		if (st->on_lru) {
			unhash(s, st);
			free_state(st);
		}
	}
	pthread_mutex_unlock(&s->mutex);
}

int bc_write_direct(struct vol *v, struct buf *b)
{
	int at = blk_check_at(v, b->type, b->data), err;

	if (at >= 0)
		blk_seal(v, b->data, (size_t)at);
	err = blockdev_write(v->dev, b->data, v->blocksize, b->blkno * v->blocksize);
	return err ? err : blockdev_flush(v->dev);
}
