/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * check.h: the invariants of the core, for tests to call after every input
 * (doc/spec/dlm.md 10.1). They walk everything: not for production.
 */
#ifndef O2FUSE_DLM_CHECK_H
#define O2FUSE_DLM_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include "dlm/dlm.h"

/* One node's books agree with themselves. False: why says what does not. */
bool dlm_check(struct dlm *dlm, char *why, size_t room);
/* The same for each of n nodes (NULL entries are skipped), and what must hold among them
 * at any moment: no two locks of live nodes exclude each other, one owner for each name. */
bool dlm_check_all(struct dlm *const *nodes, size_t n, char *why, size_t room);

#endif
