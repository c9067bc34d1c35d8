/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * volsh.h: commands of volsh, the shell over vol_ calls that tests drive.
 *
 * A command gets its words and returns 0 or a negative errno, which is printed as
 * "CMD: text (errno)" and makes volsh end with status 1 at the end of input. A leading
 * "!" says that the command must fail; "!ENOENT cmd ..." says how.
 */
#ifndef O2FUSE_TESTS_VOLSH_H
#define O2FUSE_TESTS_VOLSH_H

#include "fs/volume/blockdev.h"
#include "fs/volume/vol.h"

struct volsh {
	struct blockdev *dev;
	struct vol *v;
	struct logger *log;
	bool readonly, running;
	unsigned slot;
};

struct volsh_command {
	const char *name, *args;
	unsigned min, max;	/* words after the name */
	int (*run)(struct volsh *sh, char **w, unsigned n);
};

/* The inode of a path from the root; the caller puts it. */
int volsh_find(struct volsh *sh, const char *path, struct vol_inode **out);
/* Its directory and last name. */
int volsh_parent(struct volsh *sh, const char *path, struct vol_inode **dir, const char **name);

extern const struct volsh_command volsh_names[], volsh_data[], volsh_load[]; /* end with name NULL */

#endif
