/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * watchdog.h: a small process that ends the FUSE connection if the daemon dies.
 *
 * A notification blocked in the kernel keeps the device open beyond the death of the
 * daemon, and everybody who uses the mount hangs unkillably
 * (doc/spec/fs-locking.md 12.5). The watchdog holds nothing but one end of a pipe; when
 * the other end closes without a good-bye it writes to the connection's abort file.
 */
#ifndef O2FUSE_FS_WATCHDOG_H
#define O2FUSE_FS_WATCHDOG_H

#include <sys/types.h>

struct watchdog {
	pid_t pid;
	int fd;
};

/* Forks; call before threads exist. 0 or negative errno. */
int watchdog_start(struct watchdog *w);
/* Which connection to abort. */
void watchdog_arm(struct watchdog *w, unsigned connection);
/* The daemon ends in order. */
void watchdog_stop(struct watchdog *w);

#endif
