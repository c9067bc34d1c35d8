// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * tool_mount.c: o2fuse mount: run mount.o2fuse with the same words.
 *
 * The helper beside this program is taken first, so that a build tree works without
 * being installed, then the one where mount(8) looks.
 */
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>
#include "fs/tool.h"

int tool_mount(int argc, char **argv)
{
	static const char helper[] = "mount.o2fuse", installed[] = MOUNT_HELPER_DIR "/mount.o2fuse";
	char path[PATH_MAX + sizeof(helper)];
	ssize_t n = readlink("/proc/self/exe", path, PATH_MAX - 1);
	char *slash;

	(void)argc;
	path[n > 0 ? n : 0] = '\0';
	slash = strrchr(path, '/');
	if (slash) {
		strcpy(slash + 1, helper);
		argv[0] = path;
		execv(path, argv);
	}
	argv[0] = (char *)installed;
	execv(installed, argv);
	return tool_say(TOOL_SYSTEM, "cannot run %s: %s; is it installed?", installed,
			strerror(errno));
}
