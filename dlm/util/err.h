/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * err.h: a refusal that an administrator can act on.
 *
 * Functions that fail towards the user fill a struct reason beside the
 * negative errno they return: what failed (step), why (cause), what to do
 * (next). Printed as "step: cause; next". reason may be NULL.
 */
#ifndef O2FUSE_UTIL_ERR_H
#define O2FUSE_UTIL_ERR_H

#include <stdarg.h>
#include <stdio.h>
#include "dlm/util/cleanup.h"

/* Exit statuses of mount.o2fuse; man/mount.o2fuse.8 lists them. */
enum exit_code {
	EXIT_OK = 0,
	EXIT_USAGE = 1,		/* bad command line or option */
	EXIT_SYSTEM = 2,	/* out of memory, fork, /dev/fuse */
	EXIT_BUSY = 16,		/* already mounted on this host */
	EXIT_DEVICE = 32,	/* cannot open or read the device, truncated */
	EXIT_NOT_OCFS2 = 33,	/* wrong magic or damaged super block */
	EXIT_FEATURES = 34,	/* features that are not supported */
	EXIT_STACK = 35,	/* volume belongs to another cluster stack or cluster */
	EXIT_CONF = 36,		/* cluster.conf or node table */
	EXIT_ADDRESS = 37,	/* local address missing, port taken */
	EXIT_PEER = 38,		/* a peer refused: time-outs, protocol version, table */
	EXIT_SLOTS = 39,	/* all slots are taken */
	EXIT_CLUSTER = 40,	/* heartbeat, connection or domain join failed */
	EXIT_JOURNAL = 41,	/* journal, local alloc or recovery failed */
};

struct reason {
	enum exit_code code;
	char text[400];
};

/* Fill in the first reason only: the cause nearest to the fault wins. Returns err. */
__attribute__((format(printf, 4, 5))) static inline int
reason_set(struct reason *r, enum exit_code code, int err, const char *fmt, ...)
{
	va_list ap;

	if (r && !r->text[0]) {
		r->code = code;
		va_start(ap, fmt);
		vsnprintf(r->text, sizeof(r->text), fmt, ap);
		va_end(ap);
	}
	return err;
}

#endif
