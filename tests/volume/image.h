/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * image.h: volumes made with mkfs.ocfs2 in a temporary directory, for unit tests.
 *
 * Every function ends the test (Criterion) when the tool fails, so that a test reads as
 * its claim. The directory goes with image_free().
 */
#ifndef O2FUSE_TESTS_IMAGE_H
#define O2FUSE_TESTS_IMAGE_H

#include "fs/volume/blockdev.h"
#include "fs/volume/vol.h"
#include "tests/volume/tmpdir.h"

struct image {
	char dir[TMPDIR_MAX], path[TMPDIR_MAX + 16];
	struct logger log;	/* what is said at INFO and above lands in said */
	pthread_mutex_t mutex;
	char said[8192];
	unsigned stopped;	/* calls of the hook */
	struct blockdev *dev;
	struct vol *v;
	struct reason why;
};

/* mkfs: as for mkvol of mkvol.sh, size first: "64M -b 1K". */
void image_make(struct image *im, const char *mkfs);
void image_free(struct image *im);
/* A shell command in the directory, with mkvol.sh sourced; the volume is v.img.
 * Returns the exit status. */
int image_shell(struct image *im, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* fsck.ocfs2 -fn finds nothing (the volume is closed). */
bool image_clean(struct image *im);

/* Open the device and the volume: the error, with im->why. */
int image_open(struct image *im, unsigned flags);
/* ... and slot 0; ends the test if that fails. */
void image_mount(struct image *im);
/* End: cleanly, or as a crash does. */
int image_unmount(struct image *im, bool dirty);

/* Overwrite / read bytes of the image, with or without the volume open. */
void image_poke(struct image *im, uint64_t off, const void *data, size_t len);
void image_peek(struct image *im, uint64_t off, void *data, size_t len);

#endif
