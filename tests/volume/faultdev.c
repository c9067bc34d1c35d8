/* SPDX-License-Identifier: GPL-2.0-or-later */
/* faultdev.c: see faultdev.h. One mutex for all of it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "tests/volume/faultdev.h"

struct faultdev_undo {
	struct faultdev_undo *next;
	uint64_t off;
	size_t len;
	uint8_t old[];
};

static void forget(struct faultdev *f, bool restore)
{
	struct faultdev_undo *u;

	while ((u = f->undo)) {
		f->undo = u->next;
		if (restore)
			memdev_poke(f->m, u->off, u->old, u->len);
		free(u);
	}
}

static void put(struct faultdev *f, const struct bd_io *io, size_t len)
{
	struct faultdev_undo *u = malloc(sizeof(*u) + len);

	if (!u)
		abort();
	u->off = io->off;
	u->len = len;
	memcpy(u->old, f->m->data + io->off, len);
	u->next = f->undo;
	f->undo = u;
	memdev_poke(f->m, io->off, io->buf, len);
	f->writes++;
}

/* Is it this request that goes wrong? what: FAULT_READ, FAULT_WRITE or FAULT_FLUSH. */
static bool meets(struct faultdev *f, enum fault what)
{
	enum fault kind = f->kind == FAULT_FULL ? FAULT_WRITE : f->kind;
	unsigned n;

	if (kind != what && kind != FAULT_GONE && kind != FAULT_DELAY)
		return false;
	n = f->seen++;
	if (n == f->at || (n > f->at && kind == FAULT_GONE))
		f->met = true;
	else
		return false;
	if (kind == FAULT_DELAY)
		nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL);
	return kind != FAULT_DELAY;
}

static int one(struct faultdev *f, struct bd_io *io, bool write)
{
	bool bad = meets(f, write ? FAULT_WRITE : FAULT_READ);

	if (!bad && write)
		put(f, io, io->len);
	else if (!bad)
		memcpy(io->buf, f->m->data + io->off, io->len);
	else if (f->kind == FAULT_WRITE)
		put(f, io, 512);
	else if (!write)
		memset(io->buf, 0xee, io->len);
	if (!bad)
		return 0;
	return f->kind == FAULT_GONE ? -ENODEV : f->kind == FAULT_FULL ? -ENOSPC : -EIO;
}

static int fault_rw(struct blockdev *bd, struct bd_io *io, unsigned n, bool write)
{
	struct faultdev *f = bd->priv;
	int err = 0;

	pthread_mutex_lock(&f->mutex);
	for (unsigned i = 0; i < n; i++) {
		io[i].err = one(f, &io[i], write);
		err = err ? err : io[i].err;
	}
	pthread_mutex_unlock(&f->mutex);
	return err;
}

static int fault_flush(struct blockdev *bd)
{
	struct faultdev *f = bd->priv;
	bool bad;

	pthread_mutex_lock(&f->mutex);
	bad = meets(f, FAULT_FLUSH);
	if (!bad || f->kind == FAULT_FLUSH)
		forget(f, bad);
	pthread_mutex_unlock(&f->mutex);
	return !bad ? 0 : f->kind == FAULT_GONE ? -ENODEV : -EIO;
}

static void fault_close(struct blockdev *bd)
{
	(void)bd;
}

static const struct blockdev_ops ops = {
	.name = "fault", .rw = fault_rw, .flush = fault_flush, .close = fault_close,
};

void faultdev_init(struct faultdev *f, struct memdev *m)
{
	memset(f, 0, sizeof(*f));
	f->m = m;
	pthread_mutex_init(&f->mutex, NULL);
}

struct blockdev *faultdev_bd(struct faultdev *f)
{
	struct blockdev *bd = memdev_bd(f->m);

	bd->ops = &ops;
	bd->priv = f;
	return bd;
}

void faultdev_arm(struct faultdev *f, enum fault kind, unsigned at)
{
	pthread_mutex_lock(&f->mutex);
	f->kind = kind;
	f->at = at;
	f->seen = f->writes = 0;
	f->met = false;
	pthread_mutex_unlock(&f->mutex);
}

void faultdev_end(struct faultdev *f, bool lose)
{
	pthread_mutex_lock(&f->mutex);
	forget(f, lose);
	f->kind = FAULT_NONE;
	pthread_mutex_unlock(&f->mutex);
}
