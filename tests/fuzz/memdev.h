/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * memdev.h: a volume from mkfs.ocfs2 in memory, as a device, for fuzz entries.
 *
 * Made once per process. memdev_reset() takes back what was written since, so that
 * thousands of inputs a second start from the same volume.
 */
#ifndef O2FUSE_TESTS_MEMDEV_H
#define O2FUSE_TESTS_MEMDEV_H

#include "fs/volume/blockdev.h"

struct memdev {
	struct blockdev bd;
	uint8_t *data, *base;
	uint8_t *dirty;		/* a byte for each 512 */
	unsigned writes;
};

/* Ends the process if mkfs.ocfs2 cannot. */
struct memdev *memdev_make(const char *mkfs);
void memdev_reset(struct memdev *m);
/* Write bytes past the interface. */
void memdev_poke(struct memdev *m, uint64_t off, const void *from, size_t len);

#endif
