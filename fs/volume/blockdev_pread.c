/* SPDX-License-Identifier: GPL-2.0-or-later */
/* blockdev_pread.c: backend with plain system calls, where io_uring is forbidden. */
#include "fs/volume/blockdev_int.h"

#include <errno.h>
#include <unistd.h>

static int fd_of(const struct blockdev *bd)
{
	return (int)(intptr_t)bd->priv;
}

int blockdev_plain(struct blockdev *bd, int fd, struct bd_io *io, size_t done, bool write)
{
	while (done < io->len) {
		uint8_t *at = (uint8_t *)io->buf + done;
		off_t off = (off_t)(io->off + done);
		ssize_t n;

		if (write && !blockdev_gate_open(bd))
			return -EIO;
		n = write ? pwrite(fd, at, io->len - done, off) :
			    pread(fd, at, io->len - done, off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -EIO; /* shorter than it was */
		done += (size_t)n;
	}
	return 0;
}

int blockdev_plain_many(struct blockdev *bd, int fd, struct bd_io *io, unsigned n, bool write)
{
	int first = 0;

	for (unsigned i = 0; i < n; i++) {
		io[i].err = blockdev_plain(bd, fd, &io[i], 0, write);
		if (io[i].err && !first)
			first = io[i].err;
	}
	return first;
}

static int pread_rw(struct blockdev *bd, struct bd_io *io, unsigned n, bool write)
{
	return blockdev_plain_many(bd, fd_of(bd), io, n, write);
}

static int pread_flush(struct blockdev *bd)
{
	return fdatasync(fd_of(bd)) < 0 ? -errno : 0;
}

static void pread_close(struct blockdev *bd)
{
	close(fd_of(bd));
}

static const struct blockdev_ops ops = {
	.name = "pread",
	.rw = pread_rw,
	.flush = pread_flush,
	.close = pread_close,
};

int blockdev_pread_attach(struct blockdev *bd, int fd)
{
	bd->ops = &ops;
	bd->priv = (void *)(intptr_t)fd;
	return 0;
}
