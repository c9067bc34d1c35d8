/* SPDX-License-Identifier: GPL-2.0-or-later */
/* mode.c: compiles the table of mode.h once with our warnings. */
#include "dlm/mode.h"

_Static_assert(DLM_MODE_NL == 0 && DLM_MODE_PR == 3 && DLM_MODE_EX == 5, "wire numbers");
