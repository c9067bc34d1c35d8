/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hostlock.h: one mount of a volume per host.
 *
 * A host is a network namespace (its address is its identity in the cluster), and so
 * is the name space of abstract sockets: the lock is a bound name, which the kernel
 * gives back however the process ends. A second name says "mounted", so that a mount
 * right after an umount waits for the old process instead of being refused.
 */
#ifndef O2FUSE_FS_HOSTLOCK_H
#define O2FUSE_FS_HOSTLOCK_H

#include <stdbool.h>
#include "dlm/util/err.h"

struct hostlock {
	int held, mounted;	/* sockets, -1 = none */
	char uuid[33];
};

/* Waits up to wait_s for a process that is unmounting. EXIT_BUSY. */
int hostlock_take(struct hostlock *l, const char *uuid, unsigned wait_s,
		  struct reason *why) __must_check;
int hostlock_mounted(struct hostlock *l) __must_check;
/* The kernel's mount is gone, the process still has work. */
void hostlock_leaving(struct hostlock *l);
void hostlock_drop(struct hostlock *l);

#endif
