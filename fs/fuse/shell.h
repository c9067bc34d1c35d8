/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * shell.h: the FUSE session of a mounted volume.
 *
 * A thin shell: decode a request, call fs/cluster, reply. Node id = block number of
 * the inode, the root is 1; entry generation = i_generation (doc/spec/fs-locking.md
 * 12.3). Worker threads may block on cluster locks; there is no bound on them that a
 * waiting request could use up.
 */
#ifndef O2FUSE_FUSE_SHELL_H
#define O2FUSE_FUSE_SHELL_H

#include "dlm/util/err.h"
#include "fs/cluster/clu.h"

struct shell;

struct shell_config {
	const char *source, *mountpoint;	/* source: as it was named */
	bool ro, allow_other, default_permissions;
	unsigned long ms_flags;			/* MS_* for mount(2) */
	bool localflocks;
	bool xattrs;	/* the volume has extended attributes */
	bool acl;	/* the kernel checks POSIX ACLs; with default_permissions only */
	struct logger *log;
};

/* The kernel_ops to hand to clu_mount, with shell as their context. */
extern const struct clu_kernel_ops shell_kernel_ops;

struct shell *shell_new(const struct shell_config *cfg, struct reason *why);
/* After clu_mount: mounts. Requests are served from shell_run on. */
int shell_mount(struct shell *s, struct clu *clu, struct reason *why) __must_check;
/* Serve until the file system is unmounted or shell_abort was called. */
int shell_run(struct shell *s);
/* End the connection: everything waiting in the kernel fails. Any thread. */
void shell_abort(struct shell *s);
/* Device number's minor: the connection in /sys/fs/fuse/connections. */
unsigned shell_connection(const struct shell *s);
void shell_free(struct shell *s);

#endif
