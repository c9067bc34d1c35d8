/* SPDX-License-Identifier: GPL-2.0-or-later */
/* volfix.c: see volfix.h. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "tests/unit/volfix.h"

#define LIMIT_SEC 400

static void complain(struct logger *self, enum log_level level, const char *subsys,
		     const char *line)
{
	struct volfix *f = (struct volfix *)((char *)self - offsetof(struct volfix, log));

	fprintf(stderr, "# %s: %s\n", subsys, line);
	if (level <= LOG_LVL_WARN)
		f->complaints++;
}

static int run(const char *cmd, char *out, size_t room)
{
	FILE *p = popen(cmd, "r");
	size_t n;

	cr_assert_not_null(p);
	n = fread(out, 1, room - 1, p);
	out[n] = 0;
	while (fgetc(p) != EOF)
		;
	return pclose(p);
}

/* Old bytes everywhere: what is not zeroed or written shows. */
static void fill_with_junk(int fd, unsigned mb)
{
	char *junk = malloc(1 << 20);

	cr_assert_not_null(junk);
	memset(junk, 0xa5, 1 << 20);
	for (unsigned i = 0; i < mb; i++)
		cr_assert_eq(write(fd, junk, 1 << 20), 1 << 20);
	free(junk);
}

/* A file without a name in memory or, where that cannot do O_DIRECT, in this directory. */
static int image_file(char *path, size_t room)
{
	static const char *const dir[] = { "/dev/shm", "." };

	for (int i = 0; i < 2; i++) {
		int fd = open(dir[i], O_TMPFILE | O_RDWR, 0600), probe;

		if (fd < 0)
			continue;
		snprintf(path, room, "/proc/%d/fd/%d", (int)getpid(), fd);
		probe = open(path, O_RDWR | O_DIRECT);
		if (probe >= 0) {
			close(probe);
			return fd;
		}
		close(fd);
	}
	cr_assert_fail("no place for an image: neither /dev/shm nor . can do O_DIRECT");
	return -1;
}

void volfix_make(struct volfix *f, const struct volfix_form *form)
{
	char cmd[512], out[2048];

	alarm(LIMIT_SEC); /* a hang fails the test (Criterion's own timer leaks) */
	memset(f, 0, sizeof(*f));
	f->form = *form;
	f->log = (struct logger){ .emit = complain, .max = LOG_LVL_WARN };
	f->fd = image_file(f->image, sizeof(f->image));
	fill_with_junk(f->fd, form->mb);
	snprintf(cmd, sizeof(cmd),
		 "PATH=$PATH:/usr/sbin:/sbin mkfs.ocfs2 -b %s -C %s -N %u -J size=%sM "
		 "--fs-feature-level=%s %s%s -F -x -q %s </dev/null 2>&1",
		 form->block, form->cluster, form->slots ? form->slots : 2,
		 form->journal_mb ? form->journal_mb : "4", form->level,
		 form->features ? "--fs-features=" : "", form->features ? form->features : "",
		 f->image);
	cr_assert_eq(run(cmd, out, sizeof(out)), 0, "%s: %s", cmd, out);
	f->opts = (struct vol_opts){ .localalloc_mb = -1, .log = &f->log };
	volfix_mount(f);
}

void volfix_mount(struct volfix *f)
{
	struct reason why = { 0 };
	bool replayed;

	cr_assert_eq(blockdev_open(f->image, 0, &f->dev, &why), 0, "%s", why.text);
	cr_assert_eq(vol_open(f->dev, &f->opts, &f->v, &why), 0, "%s", why.text);
	cr_assert_eq(vol_slot_start(f->v, f->slot, &replayed, &why), 0, "%s", why.text);
	cr_assert_eq(vol_slot_cleanup(f->v), 0);
}

void volfix_umount(struct volfix *f)
{
	cr_assert_eq(vol_slot_stop(f->v, false), 0);
	vol_close(f->v);
	blockdev_close(f->dev);
	f->v = NULL;
	f->dev = NULL;
}

void volfix_crash(struct volfix *f)
{
	blockdev_gate_shut(f->dev);
	(void)!vol_slot_stop(f->v, true);
	vol_close(f->v);
	blockdev_close(f->dev);
	f->v = NULL;
	f->dev = NULL;
	f->complaints = 0;	/* about the gate */
}

void volfix_fsck(struct volfix *f)
{
	char cmd[256], *out = malloc(1 << 16);
	int status;

	cr_assert_not_null(out);
	snprintf(cmd, sizeof(cmd), "PATH=$PATH:/usr/sbin:/sbin fsck.ocfs2 -fn %s </dev/null 2>&1",
		 f->image);
	status = run(cmd, out, 1 << 16);
	cr_assert_eq(status, 0, "%s", out);
	cr_assert_not_null(strstr(out, "All passes succeeded."), "%s", out);
	cr_assert_null(strstr(out, "\n["), "%s", out);
	cr_assert_null(strstr(out, "Bad CRC32"), "%s", out);
	free(out);
}

struct vol_inode *volfix_file(struct volfix *f, const char *name)
{
	struct vol_new what = { .mode = S_IFREG | 0644 };
	struct vol_inode *inode;

	cr_assert_eq(vol_create(vol_root(f->v), name, strlen(name), &what, &inode), 0);
	return inode;
}

void volfix_end(struct volfix *f)
{
	volfix_umount(f);
	volfix_fsck(f);
	cr_assert_eq(f->complaints, 0);
	close(f->fd);
}

uint32_t rnd_next(struct rnd *r)
{
	uint64_t z = (r->s += 0x9e3779b97f4a7c15u);

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return (uint32_t)(z ^ z >> 31);
}

uint32_t rnd_below(struct rnd *r, uint32_t n)
{
	return (uint32_t)((uint64_t)rnd_next(r) * n >> 32);
}

uint64_t rnd_seed(void)
{
	const char *s = getenv("SEED");

	return s ? strtoull(s, NULL, 0) : 1;
}
