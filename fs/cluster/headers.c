/* SPDX-License-Identifier: GPL-2.0-or-later */
/* headers.c: compiles the public headers of this layer once with our warnings. */
#include "fs/cluster/clu.h"

_Static_assert(LC_NAME_LEN == 31, "length on the wire of every lock name");
