/* SPDX-License-Identifier: GPL-2.0-or-later */
/* blockdev_int.h: what the backends of the device share. */
#ifndef O2FUSE_VOLUME_BLOCKDEV_INT_H
#define O2FUSE_VOLUME_BLOCKDEV_INT_H

#include "fs/volume/blockdev.h"

/* Each takes over fd (closed by ops->close). */
int blockdev_pread_attach(struct blockdev *bd, int fd) __must_check;
/* -ENOSYS, -EPERM: io_uring is not there or forbidden. */
int blockdev_uring_attach(struct blockdev *bd, int fd) __must_check;

#endif
