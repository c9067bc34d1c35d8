/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fenceexec.h: the site's own fence program (-o fence_exec=PATH): power or SAN fencing.
 *
 * Run as `PATH VOLUME NODE REASON` (UUID, number, words) before the journal of a dead
 * node is replayed: when it ends with status 0 the node can not write to the volume any
 * more, whatever its own fence did. See man 7 o2fuse-recovery.
 */
#ifndef O2FUSE_FS_FENCEEXEC_H
#define O2FUSE_FS_FENCEEXEC_H

#include <stdatomic.h>
#include "dlm/dlm.h"
#include "dlm/util/err.h"
#include "dlm/util/log.h"

struct fenceexec {
	const char *path, *volume, *device;
	struct logger *log;
	const atomic_bool *give_up;	/* the program is killed then */
};

/* Blocks until it has ended. 0: status 0. -EIO: anything else (logged), -ECANCELED. */
int fenceexec_run(const struct fenceexec *f, node_t node, const char *reason) __must_check;

#endif
