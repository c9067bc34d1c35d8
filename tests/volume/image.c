/* SPDX-License-Identifier: GPL-2.0-or-later */
/* image.c: see image.h. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/wait.h>
#include "tests/volume/image.h"

static void emit(struct logger *self, enum log_level level, const char *subsys, const char *line)
{
	struct image *im = (struct image *)((char *)self - offsetof(struct image, log));
	size_t at;

	(void)level;
	pthread_mutex_lock(&im->mutex);
	at = strlen(im->said);
	snprintf(im->said + at, sizeof(im->said) - at, "%s: %s\n", subsys, line);
	pthread_mutex_unlock(&im->mutex);
}

static void on_stop(void *ctx, const char *why, bool panic)
{
	struct image *im = ctx;

	(void)why, (void)panic;
	im->stopped++;
}

int image_shell(struct image *im, const char *fmt, ...)
{
	char line[1024];
	va_list ap;
	int n, rc;

	n = snprintf(line, sizeof(line), "exec 2>&1; . " TESTDATA "/volume/mkvol.sh; cd %s && ", im->dir);
	va_start(ap, fmt);
	vsnprintf(line + n, sizeof(line) - (size_t)n, fmt, ap);
	va_end(ap);
	rc = system(line);
	return WIFEXITED(rc) ? WEXITSTATUS(rc) : 255;
}

void image_make(struct image *im, const char *mkfs)
{
	memset(im, 0, sizeof(*im));
	pthread_mutex_init(&im->mutex, NULL);
	im->log = (struct logger){ .emit = emit, .max = LOG_LVL_INFO };
	cr_assert(tmpdir_make(im->dir), "a directory under /tmp");
	snprintf(im->path, sizeof(im->path), "%s/v.img", im->dir);
	cr_assert_eq(image_shell(im, "mkvol v.img %s", mkfs), 0, "mkfs.ocfs2 %s", mkfs);
}

void image_free(struct image *im)
{
	vol_close(im->v);
	blockdev_close(im->dev);
	tmpdir_free(im->dir);
	pthread_mutex_destroy(&im->mutex);
}

bool image_clean(struct image *im)
{
	return image_shell(im, "fsckvol v.img") == 0;
}

int image_open(struct image *im, unsigned flags)
{
	static const struct vol_hooks hooks = { .stopped = on_stop };
	struct vol_opts opts = { .localalloc_mb = -1, .commit_ms = 60000, .log = &im->log,
				 .hooks = &hooks, .hooks_ctx = im };
	int err;

	im->why = (struct reason){ 0 };
	err = blockdev_open(im->path, flags, &im->dev, &im->why);
	if (!err) {
		err = vol_open(im->dev, &opts, &im->v, &im->why);
		if (err) {
			blockdev_close(im->dev);
			im->dev = NULL;
		}
	}
	return err;
}

void image_mount(struct image *im)
{
	bool replayed;
	int err = image_open(im, 0);

	if (!err)
		err = vol_slot_start(im->v, 0, &replayed, &im->why);
	cr_assert_eq(err, 0, "%s", im->why.text);
	cr_assert_eq(vol_slot_cleanup(im->v), 0);
}

int image_unmount(struct image *im, bool dirty)
{
	int err = vol_slot_stop(im->v, dirty);

	vol_close(im->v);
	blockdev_close(im->dev);
	im->v = NULL;
	im->dev = NULL;
	return err;
}

static int image_fd(struct image *im)
{
	int fd = open(im->path, O_RDWR | O_CLOEXEC);

	cr_assert_geq(fd, 0);
	return fd;
}

void image_poke(struct image *im, uint64_t off, const void *data, size_t len)
{
	AUTO_CLOSE int fd = image_fd(im);

	cr_assert_eq(pwrite(fd, data, len, (off_t)off), (ssize_t)len);
	cr_assert_eq(fsync(fd), 0);
}

void image_peek(struct image *im, uint64_t off, void *data, size_t len)
{
	AUTO_CLOSE int fd = image_fd(im);

	cr_assert_eq(pread(fd, data, len, (off_t)off), (ssize_t)len);
}
