/* SPDX-License-Identifier: GPL-2.0-or-later */
/* claims.h: parts of the load "claims" (claims.c) in files of their own. */
#ifndef O2FUSE_TESTS_CLAIMS_H
#define O2FUSE_TESTS_CLAIMS_H

#include <stdint.h>

static inline uint64_t claims_rnd(uint64_t *state, uint64_t below)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15ull);

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return (z ^ z >> 31) % below;
}

/* One operation on names that belong to nobody, below SHARED. 0 or a negative errno that no
 * other host's doings explain. */
int claims_pool_step(const char *shared, uint64_t *random);

#endif
