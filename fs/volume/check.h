/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * check.h: is a block that was read what it should be (doc/spec/disk.md 2.5, 2.6)?
 *
 * After blk_check() said yes, overlays of the disk's structures may be used on it: own
 * number, generation, counts and list lengths are in range. Only within fs/volume.
 */
#ifndef O2FUSE_VOLUME_CHECK_H
#define O2FUSE_VOLUME_CHECK_H

#include "fs/volume/vol_int.h"

/* 0; -EIO: damaged (logged). One wrong bit is corrected in data. owner may be NULL. */
int blk_check(struct vol *v, blkno_t blkno, enum blk_type type, const struct vol_inode *owner,
	      uint8_t *data) __must_check;
/* Byte offset of the check field of this content, or -1: it has none. */
int blk_check_at(const struct vol *v, enum blk_type type, const uint8_t *data);
/* Compute the check field at that offset. */
void blk_seal(const struct vol *v, uint8_t *data, size_t at);

#endif
