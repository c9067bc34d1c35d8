/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * volfix.h: a volume on an image file for unit tests: made with mkfs.ocfs2, opened
 * with the engine, judged by fsck.ocfs2.
 *
 * The image is a file without a name, reached through /proc, so that nothing is left
 * behind however a test ends.
 */
#ifndef O2FUSE_TESTS_VOLFIX_H
#define O2FUSE_TESTS_VOLFIX_H

#include "fs/volume/vol_int.h"

struct volfix_form {
	const char *block, *cluster;	/* "4K" */
	const char *level;		/* --fs-feature-level */
	const char *features;		/* --fs-features, or NULL */
	unsigned mb, slots;
	const char *journal_mb;
};

struct volfix {
	char image[64];	/* path */
	int fd;
	struct volfix_form form;
	unsigned slot;
	struct logger log;
	unsigned complaints;	/* lines of level warn or worse */
	struct blockdev *dev;
	struct vol_opts opts;
	struct vol *v;
};

/* mkfs and mount on slot 0; a failure fails the test. */
void volfix_make(struct volfix *f, const struct volfix_form *form);
void volfix_mount(struct volfix *f);
void volfix_umount(struct volfix *f);
/* Forget everything that is not in the log, as a crash would. */
void volfix_crash(struct volfix *f);
/* fsck.ocfs2 -fn finds nothing (its exit status alone says little: disk.md 10.2). */
void volfix_fsck(struct volfix *f);
/* A new regular file in the root directory. */
struct vol_inode *volfix_file(struct volfix *f, const char *name);
/* Unmount, fsck, no complaints were logged, image removed. */
void volfix_end(struct volfix *f);

/* A generator with a seed, the same on every machine. */
struct rnd {
	uint64_t s;
};
uint32_t rnd_next(struct rnd *r);
uint32_t rnd_below(struct rnd *r, uint32_t n);
uint64_t rnd_seed(void);	/* SEED of the environment, or 1 */

#endif
