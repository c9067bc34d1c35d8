/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fuzz.h: entry of a fuzzer. With --enable-fuzzing (clang) libFuzzer calls it; without,
 * fuzz-main.c does, with the files of the corpus, as part of make check.
 */
#ifndef O2FUSE_TESTS_FUZZ_H
#define O2FUSE_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define FUZZ_CHECK(claim)                                                             \
	do {                                                                          \
		if (!(claim)) {                                                       \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #claim); \
			abort();                                                      \
		}                                                                     \
	} while (0)

#endif
