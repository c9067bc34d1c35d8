/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * blockdev_uring.c: backend with io_uring.
 *
 * A call takes a ring from a pool (making one if all are in use), submits its requests
 * side by side, waits for all, and puts the ring back. So a ring is used by one thread
 * at a time and needs no lock, a call costs one system call, and the pool is as large
 * as the most calls that were ever under way at once.
 */
#include "fs/volume/blockdev_int.h"

#include <errno.h>
#include <liburing.h>
#include <pthread.h>
#include <stdlib.h>

enum { DEPTH = 64 };

struct ring {
	struct io_uring uring;
	struct ring *next;
};

struct pool {
	int fd;
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

static struct ring *get(struct pool *p, int *err)
{
	struct ring *r;

	pthread_mutex_lock(&p->mutex);
	r = p->free;
	if (r)
		p->free = r->next;
	pthread_mutex_unlock(&p->mutex);
	return r ? r : make_ring(err);
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
static int finish(int fd, struct bd_io *io, int res, bool write)
{
	size_t done;

	if (res < 0 && res != -EAGAIN && res != -EINTR)
		return res;
	done = res < 0 ? 0 : (size_t)res;
	while (done < io->len) {
		uint8_t *at = (uint8_t *)io->buf + done;
		off_t off = (off_t)(io->off + done);
		ssize_t n = write ? pwrite(fd, at, io->len - done, off) :
				    pread(fd, at, io->len - done, off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		done += (size_t)n;
	}
	return 0;
}

/* Up to DEPTH requests; all that were submitted are reaped, whatever fails. */
static int batch(struct ring *r, int fd, struct bd_io *io, unsigned n, bool write,
		 bool *broken)
{
	unsigned submitted = 0, reaped = 0;
	int first = 0, rc;

	for (unsigned i = 0; i < n; i++)
		prepare(r, fd, &io[i], write);
	while (submitted < n) {
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
		done->err = finish(fd, done, cqe->res, write);
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
	int first = 0, err = 0;
	struct ring *r = get(p, &err);
	bool broken = false;

	if (!r)
		return err;
	for (unsigned at = 0; at < n && !broken; at += DEPTH) {
		unsigned some = n - at < DEPTH ? n - at : DEPTH;

		err = batch(r, p->fd, io + at, some, write, &broken);
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
	pthread_mutex_init(&p->mutex, NULL);
	bd->ops = &ops;
	bd->priv = p;
	return 0;
}
