/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * load.h: a random load on one volume that can be killed at any moment, and the check
 * of what must have survived.
 *
 * The load writes a log beside the volume, each line with one write(2): "M <slot>"
 * before a file whose state was durable is touched, "S <slot> <dir> <version> <size>"
 * (dir -1: gone) after it was made durable again. A slot whose last line is S must be
 * found exactly so.
 */
#ifndef O2FUSE_TESTS_LOAD_H
#define O2FUSE_TESTS_LOAD_H

#include "fs/volume/vol.h"

/* Run until `ops` operations are done. 0, or the first error. */
int load_run(struct vol *v, const char *log_path, unsigned seed, unsigned ops);
/* Number of contradictions, each told on stderr; negative: could not check. */
int load_verify(struct vol *v, const char *log_path);

#endif
