/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ondisk.c: compiles the pinned offsets of ondisk.h once with our warnings. */
#include "fs/volume/ondisk.h"

_Static_assert(sizeof(struct ocfs2_dir_block_trailer) == 64, "directory trailer");
