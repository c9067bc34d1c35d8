/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * inode_lvb.h: the value block of M locks (doc/spec/fs-locking.md 2.1).
 */
#ifndef O2FUSE_CLUSTER_INODE_LVB_H
#define O2FUSE_CLUSTER_INODE_LVB_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>
#include "dlm/dlm.h"

#define INODE_LVB_VERSION 5
#define INODE_LVB_MAX_LINKS 65535u

/* The 64 bytes taken apart; times in seconds and nanoseconds. */
struct inode_lvb {
	uint8_t version;
	uint16_t dyn_features;
	uint32_t clusters, uid, gid;
	struct timespec atime, ctime, mtime;
	uint64_t size;
	uint16_t mode, nlink;
	uint32_t attr, generation;
};

/* Reserved bytes become 0; seconds are clamped to 0..0x3ffffffff (34 bits). */
void inode_lvb_encode(const struct inode_lvb *in, uint8_t lvb[DLM_LVB_LEN]);
void inode_lvb_decode(const uint8_t lvb[DLM_LVB_LEN], struct inode_lvb *out);

/* A cached copy of the dinode's attributes, in and out of a value block. */
struct vol_inode;
/*
 * Wiped by this node: only the version becomes 0. More links than fit: version 0 too
 * (readers go to the disk). Else everything from vi.
 */
void inode_lvb_stuff(const struct vol_inode *vi, uint8_t lvb[DLM_LVB_LEN]);
/*
 * May vi, loaded before, take its attributes from lvb? Then they are set.
 * 0; -EAGAIN: not to be trusted, read the dinode; -ESTALE: another file type.
 */
int inode_lvb_apply(const uint8_t lvb[DLM_LVB_LEN], struct vol_inode *vi);

#endif
