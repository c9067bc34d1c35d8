/* SPDX-License-Identifier: GPL-2.0-or-later */
/* memdev.c: see memdev.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "tests/fuzz/memdev.h"
#include "tests/volume/tmpdir.h"

void memdev_poke(struct memdev *m, uint64_t off, const void *from, size_t len)
{
	memcpy(m->data + off, from, len);
	for (uint64_t s = off / 512; s <= (off + len - 1) / 512; s++)
		m->dirty[s] = 1;
}

void memdev_reset(struct memdev *m)
{
	for (uint64_t s = 0; s < m->bd.size / 512; s++)
		if (m->dirty[s]) {
			memcpy(m->data + s * 512, m->base + s * 512, 512);
			m->dirty[s] = 0;
		}
	m->writes = 0;
}

static int mem_rw(struct blockdev *bd, struct bd_io *io, unsigned n, bool write)
{
	struct memdev *m = bd->priv;

	for (unsigned i = 0; i < n; i++) {
		if (write)
			memdev_poke(m, io[i].off, io[i].buf, io[i].len);
		else
			memcpy(io[i].buf, m->data + io[i].off, io[i].len);
		io[i].err = 0;
		m->writes += write;
	}
	return 0;
}

static int mem_flush(struct blockdev *bd)
{
	(void)bd;
	return 0;
}

static void mem_close(struct blockdev *bd)
{
	(void)bd;
}

static const struct blockdev_ops ops = {
	.name = "memory", .rw = mem_rw, .flush = mem_flush, .close = mem_close,
};

static void die(const char *what)
{
	fprintf(stderr, "memdev: %s: %s\n", what, strerror(errno));
	exit(1);
}

struct memdev *memdev_make(const char *mkfs)
{
	struct memdev *m = calloc(1, sizeof(*m));
	char dir[TMPDIR_MAX], line[512];
	off_t size;
	int fd;

	if (!m || !tmpdir_make(dir))
		die("temporary directory");
	snprintf(line, sizeof(line), ". " TESTDATA "/volume/mkvol.sh; mkvol %s/v.img %s", dir, mkfs);
	if (system(line))
		die("mkfs.ocfs2");
	snprintf(line, sizeof(line), "%s/v.img", dir);
	fd = open(line, O_RDONLY | O_CLOEXEC);
	size = fd < 0 ? -1 : lseek(fd, 0, SEEK_END);
	if (size <= 0)
		die("image");
	m->data = malloc((size_t)size);
	m->base = malloc((size_t)size);
	m->dirty = calloc(1, (size_t)size / 512);
	if (!m->data || !m->base || !m->dirty)
		die("memory");
	for (off_t at = 0; at < size;) {
		ssize_t n = pread(fd, m->base + at, (size_t)(size - at), at);

		if (n <= 0)
			die("image");
		at += n;
	}
	close(fd);
	tmpdir_free(dir);
	memcpy(m->data, m->base, (size_t)size);
	m->bd.ops = &ops;
	m->bd.priv = m;
	m->bd.size = (uint64_t)size;
	m->bd.sector = 512;
	strcpy(m->bd.path, "memory");
	return m;
}
