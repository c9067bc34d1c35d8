/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tmpdir.c: see tmpdir.h. */
#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "tests/volume/tmpdir.h"

#define PREFIX "o2fuse-volume."

static const char *base(void)
{
	const char *tmp = getenv("TMPDIR");

	return tmp && *tmp ? tmp : "/tmp";
}

static int drop(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st, (void)type, (void)at;
	return remove(path);
}

void tmpdir_free(const char *dir)
{
	(void)nftw(dir, drop, 16, FTW_DEPTH | FTW_PHYS);
}

static void sweep(void)
{
	DIR *d = opendir(base());
	char path[512];
	struct dirent *e;

	while (d && (e = readdir(d))) {
		long pid = 0;

		if (!strncmp(e->d_name, PREFIX, strlen(PREFIX)))
			pid = strtol(e->d_name + strlen(PREFIX), NULL, 10);
		if (pid <= 0 || !kill((pid_t)pid, 0) || errno != ESRCH)
			continue;
		snprintf(path, sizeof(path), "%s/%s", base(), e->d_name);
		tmpdir_free(path);
	}
	if (d)
		closedir(d);
}

bool tmpdir_make(char out[TMPDIR_MAX])
{
	sweep();
	snprintf(out, TMPDIR_MAX, "%s/" PREFIX "%ld.XXXXXX", base(), (long)getpid());
	return mkdtemp(out) != NULL;
}
