/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * faultdev.h: a device in memory with a volatile cache, one of whose requests goes wrong.
 *
 * Requests of the fault's kind are counted from faultdev_arm on. What no completed flush
 * covers is lost at a power cut, and when the flush itself fails.
 */
#ifndef O2FUSE_TESTS_FAULTDEV_H
#define O2FUSE_TESTS_FAULTDEV_H

#include <pthread.h>
#include "tests/volume/memdev.h"

enum fault {
	FAULT_NONE,
	FAULT_READ,	/* a read fails with EIO, its buffer full of junk */
	FAULT_WRITE,	/* a write fails with EIO; its first sector arrived */
	FAULT_FULL,	/* a write fails with ENOSPC; nothing arrived */
	FAULT_FLUSH,	/* a flush fails with EIO, and the cache is lost */
	FAULT_GONE,	/* this request and all after it fail with ENODEV */
	FAULT_DELAY,	/* this request takes 5 ms more */
	FAULT_KINDS
};

struct faultdev_undo;

struct faultdev {
	struct memdev *m;
	pthread_mutex_t mutex;
	enum fault kind;
	unsigned at, seen;	/* the at-th request, from 0; requests of the kind so far */
	bool met;
	unsigned writes;	/* that arrived, since faultdev_arm */
	struct faultdev_undo *undo;	/* newest first */
};

void faultdev_init(struct faultdev *f, struct memdev *m);
/* A device over it, as if just opened. */
struct blockdev *faultdev_bd(struct faultdev *f);
void faultdev_arm(struct faultdev *f, enum fault kind, unsigned at);
/* What no flush covered is lost (else: kept). No fault is armed afterwards. */
void faultdev_end(struct faultdev *f, bool lose);

#endif
