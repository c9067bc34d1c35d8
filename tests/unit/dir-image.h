/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * dir-image.h: volumes on image files for tests of names and directories.
 *
 * The file has no name any more once it is made, so a killed test leaves nothing; the
 * tools open it through /proc. image_check is the oracle: fsck.ocfs2 -fn, minus the
 * noise of fresh volumes (doc/spec/disk.md 10.1, 10.2).
 */
#ifndef O2FUSE_TESTS_DIR_IMAGE_H
#define O2FUSE_TESTS_DIR_IMAGE_H

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs/volume/vol.h"
#include "fs/volume/blockdev.h"
#include "fs/volume/ondisk.h"

struct image {
	int fd;
	char path[64];
	struct blockdev *dev;
	struct vol *vol;
	struct logger log;
	int localalloc_mb;	/* 0: what is freed shows at once */
	enum vol_errors errors;
	const struct vol_hooks *hooks;
	void *hooks_ctx;
};

static void image_emit(struct logger *self, enum log_level level, const char *subsys,
		       const char *line)
{
	(void)self;
	fprintf(stderr, "# %d %s: %s\n", level, subsys, line);
}

/* Output of a command, malloced; *status as of system(3). */
__attribute__((format(printf, 2, 3), unused)) static char *
image_command(int *status, const char *fmt, ...)
{
	char cmd[1024], *out = NULL;
	size_t len = 0;
	FILE *p, *m;
	va_list ap;
	int c;

	va_start(ap, fmt);
	vsnprintf(cmd, sizeof(cmd), fmt, ap);
	va_end(ap);
	p = popen(cmd, "r");
	cr_assert(p, "popen: %s", cmd);
	m = open_memstream(&out, &len);
	while ((c = getc(p)) != EOF)
		putc(c, m);
	fclose(m);
	c = pclose(p);
	if (status)
		*status = c;
	return out;
}

__attribute__((unused)) static void image_make(struct image *im, unsigned mb, const char *options)
{
	char name[] = "./image-XXXXXX", *out;
	int status;

	memset(im, 0, sizeof(*im));
	im->fd = mkstemp(name);
	cr_assert(im->fd >= 0);
	unlink(name);
	cr_assert_eq(ftruncate(im->fd, (off_t)mb << 20), 0);
	snprintf(im->path, sizeof(im->path), "/proc/%d/fd/%d", (int)getpid(), im->fd);
	setenv("PATH", "/usr/sbin:/sbin:/usr/bin:/bin", 1);
	out = image_command(&status, "mkfs.ocfs2 --cluster-stack=o2cb --cluster-name=test -F -x -q "
			    "%s %s </dev/null 2>&1", options, im->path);
	cr_assert_eq(status, 0, "mkfs.ocfs2 %s: %s", options, out);
	free(out);
	im->localalloc_mb = -1;
	im->log = (struct logger){ .emit = image_emit, .max = LOG_LVL_WARN };
}

__attribute__((unused)) static void image_open_slot(struct image *im, unsigned slot, bool *replayed)
{
	struct reason why = { 0 };
	struct vol_opts opts = {
		.localalloc_mb = im->localalloc_mb, .log = &im->log, .errors = im->errors,
		.hooks = im->hooks, .hooks_ctx = im->hooks_ctx,
	};
	bool ignored;

	cr_assert_eq(blockdev_open(im->path, 0, &im->dev, &why), 0, "%s", why.text);
	cr_assert_eq(vol_open(im->dev, &opts, &im->vol, &why), 0, "%s", why.text);
	cr_assert_eq(vol_slot_start(im->vol, slot, replayed ? replayed : &ignored, &why), 0, "%s",
		     why.text);
	cr_assert_eq(vol_slot_cleanup(im->vol), 0);
}

__attribute__((unused)) static void image_open(struct image *im)
{
	image_open_slot(im, 0, NULL);
}

/* dirty: as after a crash; what was not committed is lost. */
__attribute__((unused)) static void image_close(struct image *im, bool dirty)
{
	cr_assert_eq(vol_slot_stop(im->vol, dirty), 0);
	vol_close(im->vol);
	blockdev_close(im->dev);
	im->vol = NULL;
	im->dev = NULL;
}

__attribute__((unused)) static void image_free(struct image *im)
{
	close(im->fd);
}

static bool image_noise(const char *line)
{
	return strncmp(line, "[QMAGIC_INVALID]", 16) == 0 ||
	       strncmp(line, "[INODE_SPARSE_SIZE]", 19) == 0 ? strstr(line, "uota") != NULL : false;
}

/* fsck.ocfs2 finds nothing. sysdir: its index is known to be missing (10.1). */
__attribute__((unused)) static void image_check(struct image *im, blkno_t sysdir)
{
	char *out, *line, *save, missing[64];
	int status, bad = 0;

	snprintf(missing, sizeof(missing), "[DX_TREE_MISSING] Directory %llu ",
		 (unsigned long long)sysdir);
	out = image_command(&status, "fsck.ocfs2 -fn %s </dev/null 2>&1", im->path);
	cr_assert_eq(status, 0, "fsck.ocfs2: %s", out);
	cr_assert(strstr(out, "All passes succeeded."), "fsck.ocfs2: %s", out);
	for (line = strtok_r(out, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		bool found = (line[0] == '[' && !image_noise(line) &&
			      strncmp(line, missing, strlen(missing)) != 0) ||
			     strstr(line, "Bad CRC32") || strstr(line, "Internal logic");

		if (found && bad++ < 20)
			fprintf(stderr, "# fsck: %s\n", line);
	}
	cr_assert_eq(bad, 0, "fsck.ocfs2 found %d problems", bad);
	free(out);
}

#endif
