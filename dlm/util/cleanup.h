/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * cleanup.h: scope-bound release for the simple pairs.
 *
 * Four macros on top of __attribute__((cleanup)). A function uses either
 * these or a goto ladder, never both (doc/style/anchors.md 2.6).
 *
 *	AUTO_FREE char *p = malloc(n);		freed when p leaves scope
 *	AUTO_CLOSE int fd = open(...);		closed unless negative
 *	AUTO_UNLOCK pthread_mutex_t *m = ...	only where <pthread.h> is allowed
 *	TAKE(p)					hand p out: value of p, p = NULL
 */
#ifndef O2FUSE_UTIL_CLEANUP_H
#define O2FUSE_UTIL_CLEANUP_H

#include <stdlib.h>
#include <unistd.h>

static inline void cleanup_free(void *pp)
{
	free(*(void **)pp);
}

static inline void cleanup_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

#define AUTO_FREE __attribute__((cleanup(cleanup_free)))
#define AUTO_CLOSE __attribute__((cleanup(cleanup_close)))
#define TAKE(p)                                 \
	({                                      \
		__typeof__(p) take_ = (p);      \
		(p) = NULL;                     \
		take_;                          \
	})

#define __must_check __attribute__((warn_unused_result))

#endif
