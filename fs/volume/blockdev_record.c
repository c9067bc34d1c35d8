/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * blockdev_record.c: see blockdev_record.h.
 *
 * A write is noted when the device below acknowledged it, a flush too, with the number of
 * writes that were acknowledged before it was asked for: only these it made durable.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include "fs/volume/blockdev_record.h"

struct event {
	void *data;		/* NULL: a flush */
	size_t len;
	uint64_t off;
	size_t covers;		/* flush: events before this one are durable */
};

struct record {
	struct blockdev *under;
	pthread_mutex_t mutex;
	struct event *event;
	size_t n, max;
	size_t fail_at, calls;
};

/* Takes data. mutex is held. */
static int add(struct record *r, const struct event *e)
{
	if (r->n == r->max) {
		size_t max = r->max ? 2 * r->max : 1024;
		struct event *more = realloc(r->event, max * sizeof(*more));

		if (!more)
			return -ENOMEM;
		r->event = more;
		r->max = max;
	}
	r->event[r->n++] = *e;
	return 0;
}

static bool must_fail(struct record *r)
{
	bool fail;

	pthread_mutex_lock(&r->mutex);
	fail = r->calls >= r->fail_at;
	r->calls++;
	pthread_mutex_unlock(&r->mutex);
	return fail;
}

static int record_rw(struct blockdev *bd, struct bd_io *io, unsigned n, bool write)
{
	struct record *r = bd->priv;
	int err;

	if (!write)
		return blockdev_read_many(r->under, io, n);
	if (must_fail(r)) {
		for (unsigned i = 0; i < n; i++)
			io[i].err = -EIO;
		return -EIO;
	}
	err = blockdev_write_many(r->under, io, n);
	pthread_mutex_lock(&r->mutex);
	for (unsigned i = 0; i < n && !err; i++) {
		struct event e = { .len = io[i].len, .off = io[i].off };

		e.data = malloc(io[i].len);
		if (!e.data) {
			err = -ENOMEM;
			break;
		}
		memcpy(e.data, io[i].buf, io[i].len);
		err = add(r, &e);
		if (err)
			free(e.data);
	}
	pthread_mutex_unlock(&r->mutex);
	return err;
}

static int record_flush(struct blockdev *bd)
{
	struct record *r = bd->priv;
	struct event e = { 0 };
	int err;

	if (must_fail(r))
		return -EIO;
	pthread_mutex_lock(&r->mutex);
	e.covers = r->n;
	pthread_mutex_unlock(&r->mutex);
	err = blockdev_flush(r->under);
	if (err)
		return err;
	pthread_mutex_lock(&r->mutex);
	err = add(r, &e);
	pthread_mutex_unlock(&r->mutex);
	return err;
}

static void record_close(struct blockdev *bd)
{
	struct record *r = bd->priv;

	blockdev_close(r->under);
	for (size_t i = 0; i < r->n; i++)
		free(r->event[i].data);
	free(r->event);
	pthread_mutex_destroy(&r->mutex);
	free(r);
}

static const struct blockdev_ops ops = {
	.name = "record",
	.rw = record_rw,
	.flush = record_flush,
	.close = record_close,
};

int blockdev_record(struct blockdev *under, struct blockdev **out)
{
	struct blockdev *bd = calloc(1, sizeof(*bd));
	struct record *r = calloc(1, sizeof(*r));

	if (!bd || !r) {
		free(bd);
		free(r);
		return -ENOMEM;
	}
	r->under = under;
	r->fail_at = SIZE_MAX;
	pthread_mutex_init(&r->mutex, NULL);
	bd->ops = &ops;
	bd->priv = r;
	bd->size = under->size;
	bd->sector = under->sector;
	memcpy(bd->path, under->path, sizeof(bd->path));
	*out = bd;
	return 0;
}

size_t blockdev_record_events(struct blockdev *rec)
{
	struct record *r = rec->priv;
	size_t n;

	pthread_mutex_lock(&r->mutex);
	n = r->n;
	pthread_mutex_unlock(&r->mutex);
	return n;
}

size_t blockdev_record_before_flush(struct blockdev *rec, size_t from)
{
	struct record *r = rec->priv;

	pthread_mutex_lock(&r->mutex);
	while (from < r->n && r->event[from].data)
		from++;
	pthread_mutex_unlock(&r->mutex);
	return from;
}

void blockdev_record_fail_at(struct blockdev *rec, size_t n)
{
	struct record *r = rec->priv;

	pthread_mutex_lock(&r->mutex);
	r->fail_at = n == SIZE_MAX ? n : r->calls + n;
	pthread_mutex_unlock(&r->mutex);
}

/* ---- rebuilding -------------------------------------------------------------------- */

static uint64_t next_random(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15ull);

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

struct out {
	void (*put)(void *ctx, uint64_t off, const void *data, size_t len);
	void *ctx;
};

static void apply(const struct out *o, const struct event *e, size_t from, size_t to)
{
	if (from < to)
		o->put(o->ctx, e->off + from, (const char *)e->data + from, to - from);
}

/* A write that no flush covers: lost, whole, or torn at a sector. */
static void maybe_apply(const struct out *o, const struct event *e, uint32_t sector,
			uint64_t *state)
{
	uint64_t what = next_random(state) % 8, at;

	if (what < 2)
		return;
	at = next_random(state) % (e->len / sector + 1) * sector;
	if (what < 4)
		apply(o, e, 0, e->len);
	else if (what < 6)
		apply(o, e, 0, at);
	else
		apply(o, e, at, e->len);
}

void blockdev_record_rebuild(struct blockdev *rec, size_t cut, uint64_t seed,
			     void (*put)(void *ctx, uint64_t off, const void *data, size_t len),
			     void *ctx)
{
	const struct out o = { put, ctx };
	struct record *r = rec->priv;
	size_t durable = 0;

	pthread_mutex_lock(&r->mutex);
	if (cut > r->n)
		cut = r->n;
	for (size_t i = 0; i < cut; i++)
		if (!r->event[i].data && r->event[i].covers > durable)
			durable = r->event[i].covers;
	for (size_t i = 0; i < cut; i++) {
		const struct event *e = &r->event[i];

		if (e->data && i < durable)
			apply(&o, e, 0, e->len);
		else if (e->data && seed)
			maybe_apply(&o, e, rec->sector, &seed);
	}
	pthread_mutex_unlock(&r->mutex);
}
