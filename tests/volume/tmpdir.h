/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmpdir.h: a directory for a test's files, under $TMPDIR or /tmp.
 *
 * Its name carries the process's number, and making one removes those of processes that
 * are gone: a test that was killed is cleaned up after by the next.
 */
#ifndef O2FUSE_TESTS_TMPDIR_H
#define O2FUSE_TESTS_TMPDIR_H

#include <stdbool.h>

enum { TMPDIR_MAX = 128 };

bool tmpdir_make(char out[TMPDIR_MAX]);
void tmpdir_free(const char *dir);

#endif
