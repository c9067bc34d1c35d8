/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * lockname.h: names of lock resources on the wire (doc/spec/fs-locking.md section 1).
 *
 * Every name is 31 bytes, binary; two nodes exclude each other only if they spell
 * a lock alike.
 */
#ifndef O2FUSE_CLUSTER_LOCKNAME_H
#define O2FUSE_CLUSTER_LOCKNAME_H

#include <stddef.h>
#include <stdint.h>
#include "fs/cluster/lockcache.h"

/* All types but N: letter, pad, block number and generation as hex digits (1.1). */
void lockname_text(uint8_t name[LC_NAME_LEN], char letter, uint64_t blkno, uint32_t generation);
/* N(dir, child), 1.2. */
void lockname_dentry(uint8_t name[LC_NAME_LEN], uint64_t dir, uint64_t child);

/* For people: "M(0x5,7052a172)", "N(0x1,0x2)", "S". out: at least 48 bytes. */
#define LOCKNAME_PRINT_LEN 48
const char *lockname_print(const uint8_t name[LC_NAME_LEN], char out[LOCKNAME_PRINT_LEN]);

#endif
