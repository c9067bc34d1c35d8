/* SPDX-License-Identifier: GPL-2.0-or-later */
/* orphans.h: what a mount does with files that a crash left between unlink and wipe. */
#ifndef O2FUSE_TESTS_ORPHANS_H
#define O2FUSE_TESTS_ORPHANS_H

#include "fs/volume/vol.h"

/* Wipe all orphans of this volume's own slot but those of direct I/O. -EOVERFLOW: there are
 * more than the tests make. */
int orphans_wipe(struct vol *v);

#endif
