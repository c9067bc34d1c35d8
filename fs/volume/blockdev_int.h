/* SPDX-License-Identifier: GPL-2.0-or-later */
/* blockdev_int.h: what the backends of the device share. */
#ifndef O2FUSE_VOLUME_BLOCKDEV_INT_H
#define O2FUSE_VOLUME_BLOCKDEV_INT_H

#include "fs/volume/blockdev.h"

/* Each takes over fd (closed by ops->close). */
int blockdev_pread_attach(struct blockdev *bd, int fd) __must_check;
/* -ENOSYS, -EPERM: io_uring is not there or forbidden. */
int blockdev_uring_attach(struct blockdev *bd, int fd) __must_check;

/* All bytes of one request with plain calls, from byte `done` of it on; the gate is looked at
 * before each. */
int blockdev_plain(struct blockdev *bd, int fd, struct bd_io *io, size_t done,
		   bool write) __must_check;
/* The same for n requests. */
int blockdev_plain_many(struct blockdev *bd, int fd, struct bd_io *io, unsigned n,
			bool write) __must_check;

#endif
