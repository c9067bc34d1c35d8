/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * daemon.h: the process behind a mount, from start to end.
 *
 * daemon_mount brings everything up in the order of doc/spec/fs-locking.md 6.2 and
 * cluster.md section 8 (configuration, listen, heartbeat, connected, domain, slot,
 * journal, FUSE) and takes it down in reverse if a step fails; daemon_serve runs
 * until the file system is unmounted, then takes it down.
 */
#ifndef O2FUSE_FS_DAEMON_H
#define O2FUSE_FS_DAEMON_H

#include "dlm/util/err.h"
#include "fs/log.h"
#include "fs/options.h"
#include "fs/watchdog.h"

struct daemon;

struct daemon_config {
	const struct mount_options *opts;
	const char *device;	/* as it was named */
	const char *mountpoint;	/* absolute */
	struct log_sink *sink;
	struct watchdog *watchdog;
};

int daemon_mount(const struct daemon_config *cfg, struct daemon **out, struct reason *why) __must_check;
/* Returns 0 after an orderly unmount, -EIO after a fence. Frees d. */
int daemon_serve(struct daemon *d);

#endif
