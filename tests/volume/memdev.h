/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * memdev.h: a volume from mkfs.ocfs2 in memory, as a device.
 *
 * memdev_reset() takes back what was written since it was made, so that hundreds of tries
 * a second start from the same volume. Threads may use it if they do not write to the same
 * sectors, as with a disk.
 */
#ifndef O2FUSE_TESTS_MEMDEV_H
#define O2FUSE_TESTS_MEMDEV_H

#include "fs/volume/blockdev.h"

enum { MEM_DIRTY = 1, MEM_USED = 2 }; /* written since; not a hole of the image */

struct memdev {
	uint64_t size;
	uint8_t *data, *base;
	uint8_t *sectors;	/* a byte for each 512: MEM_DIRTY, MEM_USED */
	atomic_uint writes;
};

/* Ends the process if mkfs.ocfs2 cannot. */
struct memdev *memdev_make(const char *mkfs);
void memdev_reset(struct memdev *m);
/* What is on it now is what later resets go back to. */
void memdev_keep(struct memdev *m);
void memdev_free(struct memdev *m);
/* A device over it, as if just opened; blockdev_close leaves the content. */
struct blockdev *memdev_bd(struct memdev *m);
/* Write the content to a file; take that of a file, which was made so. */
bool memdev_dump(const struct memdev *m, const char *path);
bool memdev_load(struct memdev *m, const char *path);
/* Write bytes past the interface. */
void memdev_poke(struct memdev *m, uint64_t off, const void *from, size_t len);
void memdev_put(void *m, uint64_t off, const void *from, size_t len);

#endif
