/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * options.h: mount options, one table (name, type, range, default, help).
 *
 * man/mount.o2fuse.8 and `mount.o2fuse --help` show the same table.
 */
#ifndef O2FUSE_FS_OPTIONS_H
#define O2FUSE_FS_OPTIONS_H

#include <stdbool.h>
#include <stdio.h>
#include "dlm/util/err.h"

enum opt_atime { OPT_RELATIME, OPT_NOATIME, OPT_STRICTATIME };
enum opt_errors { OPT_ERRORS_REMOUNT_RO, OPT_ERRORS_CONTINUE, OPT_ERRORS_PANIC };
enum opt_data { OPT_DATA_ORDERED, OPT_DATA_WRITEBACK };

struct mount_options {
	char *conf, *cluster, *node, *ip, *log, *fence_exec; /* owned; NULL = not given */
	int port;				/* 0 = from the table */
	int hb_threshold, idle_ms, keepalive_ms, reconnect_ms; /* 0 = default */
	int errors, data, commit_s, preferred_slot, localalloc_mb;
	bool localflocks, inode64, acl, user_xattr;
	bool ro, remount, allow_other, default_permissions;
	bool dev, suid, exec, sync, dirsync;
	int atime, atime_quantum;		/* OPT_*ATIME; seconds */
	bool nodiratime;
	bool foreground, verbose, fake;
};

void options_default(struct mount_options *o);
/* "a,b=c,..." as after -o. EXIT_USAGE names the option, its range and the next step. */
int options_parse(struct mount_options *o, const char *list, struct reason *why) __must_check;
void options_free(struct mount_options *o);
/* The table as text. */
void options_help(FILE *to);

#endif
