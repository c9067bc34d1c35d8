/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * claims_pool.c: names that belong to nobody. All hosts make, move, link, list and remove
 * the same few files and folders, so each call may lose against another host's: what such a
 * loss answers is no error, anything else is. That the hosts agree about what is left is for
 * the caller to look at when all are quiet.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include "tests/cluster/claims.h"

enum { DIRS = 3, FILES = 6 };

static void some_dir(const char *shared, uint64_t *random, char out[512])
{
	snprintf(out, 512, "%s/pool%u", shared, (unsigned)claims_rnd(random, DIRS));
}

/* A file, or a folder in a folder. */
static void some_name(const char *shared, uint64_t *random, bool folder, char out[512])
{
	char dir[512];

	some_dir(shared, random, dir);
	snprintf(out, 512, "%.480s/%c%u", dir, folder ? 'd' : 'f', (unsigned)claims_rnd(random, FILES));
}

static int make_file(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644), rc;

	if (fd < 0)
		return -1;
	rc = write(fd, path, 8) == 8 ? 0 : -1;
	if (close(fd))
		rc = -1;
	return rc;
}

static int list(const char *path)
{
	DIR *d = opendir(path);
	struct dirent *e;
	struct stat st;
	int rc = 0;

	if (!d)
		return -1;
	while (!rc && (errno = 0, e = readdir(d)))
		if (fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) && errno != ENOENT)
			rc = -1;
	if (errno)
		rc = -1;
	closedir(d);
	return rc;
}

static bool is_loss(int err)
{
	return err == ENOENT || err == EEXIST || err == ENOTEMPTY || err == ENOTDIR || err == EISDIR ||
	       err == EINVAL || err == ESTALE;
}

int claims_pool_step(const char *shared, uint64_t *random)
{
	unsigned what = (unsigned)claims_rnd(random, 12);
	bool folder = claims_rnd(random, 3) == 0;
	char a[512], b[512];
	int rc;

	some_name(shared, random, folder, a);
	some_name(shared, random, folder, b);
	errno = 0;
	if (what == 0) {
		some_dir(shared, random, a);
		rc = rmdir(a);
	} else if (what <= 2) {
		some_dir(shared, random, a);
		rc = mkdir(a, 0755);
	} else if (what <= 5) {
		rc = folder ? mkdir(a, 0755) : make_file(a);
	} else if (what <= 7) {
		rc = folder ? rmdir(a) : unlink(a);
	} else if (what <= 9) {
		rc = rename(a, b);
	} else if (what == 10) {
		rc = folder ? mkdir(a, 0755) : link(a, b);
	} else {
		some_dir(shared, random, a);
		rc = list(a);
	}
	if (!rc || is_loss(errno))
		return 0;
	return -errno;
}
