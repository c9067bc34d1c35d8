/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * blockdev_uring.c: backend with io_uring.
 *
 * A call with several requests takes a ring from a pool (making one if all are in use), submits its requests
 * side by side, waits for all, and puts the ring back. So a ring is used by one thread
 * at a time and needs no lock, and the pool is as large as the most calls that were ever
 * under way at once. A call with one request is a plain pread or pwrite.
 */
#include "fs/volume/blockdev_int.h"

#include <errno.h>
#include <liburing.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

enum { DEPTH = 64 };

struct ring {
	struct io_uring uring;
	struct ring *next;
};

struct pool {
	int fd;
	pid_t pid;
	pthread_mutex_t mutex;
	struct ring *free;
};

static struct ring *make_ring(int *err)
{
	struct ring *r = calloc(1, sizeof(*r));

	if (!r) {
		*err = -ENOMEM;
		return NULL;
	}
	*err = io_uring_queue_init(DEPTH, &r->uring, 0);
	if (*err) {
		free(r);
		return NULL;
	}
	return r;
}

/*
 * After a fork the parent's rings are in the child's memory, too, and must not be used by
 * both: the child makes its own. (The parent's are not closed here, they are not ours.)
 */
static struct ring *get(struct pool *p)
{
	struct ring *r;
	int err;

	pthread_mutex_lock(&p->mutex);
	if (p->pid != getpid()) {
		while ((r = p->free)) {
			p->free = r->next;
			free(r);
		}
		p->pid = getpid();
	}
	r = p->free;
	if (r)
		p->free = r->next;
	pthread_mutex_unlock(&p->mutex);
	return r ? r : make_ring(&err);
}

static void put(struct pool *p, struct ring *r)
{
	pthread_mutex_lock(&p->mutex);
	r->next = p->free;
	p->free = r;
	pthread_mutex_unlock(&p->mutex);
}

static void prepare(struct ring *r, int fd, struct bd_io *io, bool write)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&r->uring);

	if (write)
		io_uring_prep_write(sqe, fd, io->buf, (unsigned)io->len, io->off);
	else
		io_uring_prep_read(sqe, fd, io->buf, (unsigned)io->len, io->off);
	io_uring_sqe_set_data(sqe, io);
}

/* A short transfer (rare: end of an extent, a signal) is finished with plain calls. */
static int finish(struct blockdev *bd, int fd, struct bd_io *io, int res, bool write)
{
	if (res < 0 && res != -EAGAIN && res != -EINTR)
		return res;
	return blockdev_plain(bd, fd, io, res < 0 ? 0 : (size_t)res, write);
}

/* Up to DEPTH requests; all that were submitted are reaped, whatever fails. */
static int batch(struct blockdev *bd, struct ring *r, int fd, struct bd_io *io, unsigned n,
		 bool write, bool *broken)
{
	unsigned submitted = 0, reaped = 0;
	int first = 0, rc;

	for (unsigned i = 0; i < n; i++)
		prepare(r, fd, &io[i], write);
	while (submitted < n) {
		/* Of what waits for a later submission nothing must go out then. */
		if (write && !blockdev_gate_open(bd)) {
			first = -EIO;
			break;
		}
		rc = io_uring_submit_and_wait(&r->uring, 1);
		if (rc == -EINTR || rc == -EAGAIN || rc == -EBUSY)
			rc = 0;
		if (rc < 0) {
			first = rc;
			break;
		}
		submitted += (unsigned)rc;
	}
	*broken = first != 0; /* requests are left in the ring: it must not be used again */
	while (reaped < submitted) {
		struct io_uring_cqe *cqe;
		struct bd_io *done;

		rc = io_uring_wait_cqe(&r->uring, &cqe);
		if (rc == -EINTR)
			continue;
		if (rc < 0) {
			*broken = true;
			return rc;
		}
		done = io_uring_cqe_get_data(cqe);
		done->err = finish(bd, fd, done, cqe->res, write);
		if (done->err && !first)
			first = done->err;
		io_uring_cqe_seen(&r->uring, cqe);
		reaped++;
	}
	return first;
}

static int uring_rw(struct blockdev *bd, struct bd_io *io, unsigned n, bool write)
{
	struct pool *p = bd->priv;
	bool broken = false;
	int first = 0, err;
	struct ring *r;

	/* one request gains nothing from a ring; no ring: too many files or locked pages */
	r = n > 1 ? get(p) : NULL;
	if (!r)
		return blockdev_plain_many(bd, p->fd, io, n, write);
	for (unsigned i = 0; i < n; i++)
		io[i].err = -EIO; /* until it was done */
	for (unsigned at = 0; at < n && !broken; at += DEPTH) {
		unsigned some = n - at < DEPTH ? n - at : DEPTH;

		err = batch(bd, r, p->fd, io + at, some, write, &broken);
		if (err && !first)
			first = err;
	}
	if (broken) {
		io_uring_queue_exit(&r->uring);
		free(r);
	} else {
		put(p, r);
	}
	return first;
}

static int uring_flush(struct blockdev *bd)
{
	struct pool *p = bd->priv;

	return fdatasync(p->fd) < 0 ? -errno : 0;
}

static void uring_close(struct blockdev *bd)
{
	struct pool *p = bd->priv;
	struct ring *r;

	while ((r = p->free)) {
		p->free = r->next;
		if (p->pid == getpid())
			io_uring_queue_exit(&r->uring);
		free(r);
	}
	close(p->fd);
	pthread_mutex_destroy(&p->mutex);
	free(p);
}

static const struct blockdev_ops ops = {
	.name = "io_uring",
	.rw = uring_rw,
	.flush = uring_flush,
	.close = uring_close,
};

int blockdev_uring_attach(struct blockdev *bd, int fd)
{
	struct pool *p = calloc(1, sizeof(*p));
	int err;

	if (!p)
		return -ENOMEM;
	p->free = make_ring(&err);
	if (!p->free) {
		free(p);
		return err;
	}
	p->fd = fd;
	p->pid = getpid();
	pthread_mutex_init(&p->mutex, NULL);
	bd->ops = &ops;
	bd->priv = p;
	return 0;
}
