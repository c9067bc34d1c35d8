/* SPDX-License-Identifier: GPL-2.0-or-later */
/* timeouts.c: compiles the inequalities of timeouts.h once with our warnings. */
#include "net/timeouts.h"

_Static_assert(NET_THRESHOLD_MIN > 2, "smaller thresholds are not honoured (cluster.md 1.3)");
