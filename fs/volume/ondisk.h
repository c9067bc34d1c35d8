/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ondisk.h: the disk's structures, from the installed OCFS2 headers.
 *
 * Blocks stay in disk order (little-endian) in memory, because log images must be;
 * fields are read with le16toh() and friends. Offsets that our code relies on are
 * pinned here (doc/spec/disk.md section 0).
 */
#ifndef O2FUSE_VOLUME_ONDISK_H
#define O2FUSE_VOLUME_ONDISK_H

#include <endian.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <linux/types.h>

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-variable"
#pragma GCC diagnostic ignored "-Wunused-function"
#include <ocfs2-kernel/ocfs2_fs.h>
#pragma GCC diagnostic pop

_Static_assert(offsetof(struct ocfs2_dinode, id2) == 192, "dinode body");
_Static_assert(offsetof(struct ocfs2_dinode, i_check) == 128, "dinode ecc");
_Static_assert(sizeof(struct ocfs2_extent_rec) == 16, "extent record");

#endif
