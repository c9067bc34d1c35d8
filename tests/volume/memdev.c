/* SPDX-License-Identifier: GPL-2.0-or-later */
/* memdev.c: see memdev.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "tests/volume/memdev.h"
#include "tests/volume/tmpdir.h"

void memdev_poke(struct memdev *m, uint64_t off, const void *from, size_t len)
{
	memcpy(m->data + off, from, len);
	for (uint64_t s = off / 512; s <= (off + len - 1) / 512; s++)
		m->sectors[s] |= MEM_DIRTY;
}

void memdev_reset(struct memdev *m)
{
	for (uint64_t s = 0; s < m->size / 512; s++)
		if (m->sectors[s] & MEM_DIRTY) {
			memcpy(m->data + s * 512, m->base + s * 512, 512);
			m->sectors[s] &= ~MEM_DIRTY;
		}
	atomic_store(&m->writes, 0);
}

void memdev_keep(struct memdev *m)
{
	for (uint64_t s = 0; s < m->size / 512; s++)
		if (m->sectors[s] & MEM_DIRTY) {
			memcpy(m->base + s * 512, m->data + s * 512, 512);
			m->sectors[s] = MEM_USED;
		}
	atomic_store(&m->writes, 0);
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
		atomic_fetch_add(&m->writes, write);
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

void memdev_put(void *m, uint64_t off, const void *from, size_t len)
{
	memdev_poke(m, off, from, len);
}

struct blockdev *memdev_bd(struct memdev *m)
{
	struct blockdev *bd = calloc(1, sizeof(*bd));

	if (!bd)
		abort();
	bd->ops = &ops;
	bd->priv = m;
	bd->size = m->size;
	bd->sector = 512;
	strcpy(bd->path, "memory");
	return bd;
}

void memdev_free(struct memdev *m)
{
	if (!m)
		return;
	munmap(m->data, m->size);
	munmap(m->base, m->size);
	free(m->sectors);
	free(m);
}

bool memdev_dump(const struct memdev *m, const char *path)
{
	int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
	bool ok = fd >= 0 && !ftruncate(fd, (off_t)m->size);

	for (uint64_t s = 0, n; ok && s < m->size / 512; s += n ? n : 1) {
		for (n = 0; s + n < m->size / 512 && m->sectors[s + n]; n++)
			;
		ok = !n || pwrite(fd, m->data + s * 512, n * 512, (off_t)(s * 512)) ==
			     (ssize_t)(n * 512);
	}
	if (fd >= 0)
		close(fd);
	return ok;
}

/* Call each for every range of the file that is no hole. */
static bool each_range(int fd, void (*each)(struct memdev *m, int fd, off_t at, off_t end),
		       struct memdev *m)
{
	off_t at = 0, end;

	while ((at = lseek(fd, at, SEEK_DATA)) >= 0) {
		end = lseek(fd, at, SEEK_HOLE);
		if (end < 0)
			return false;
		each(m, fd, at, end);
		at = end;
	}
	return errno == ENXIO;
}

static void mark_used(struct memdev *m, int fd, off_t at, off_t end)
{
	(void)fd;
	memset(m->sectors + at / 512, MEM_USED, (size_t)(end - at + 511) / 512);
}

static void take(struct memdev *m, int fd, off_t at, off_t end)
{
	char buf[512];

	for (; at < end; at += 512)
		if (pread(fd, buf, 512, at) == 512 && memcmp(m->data + at, buf, 512))
			memdev_poke(m, (uint64_t)at, buf, 512);
}

bool memdev_load(struct memdev *m, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	bool ok = fd >= 0 && lseek(fd, 0, SEEK_END) == (off_t)m->size && each_range(fd, take, m);

	if (fd >= 0)
		close(fd);
	return ok;
}

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
	m->size = (uint64_t)size;
	m->base = mmap(NULL, m->size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	m->data = mmap(NULL, m->size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	m->sectors = calloc(1, m->size / 512);
	if (m->base == MAP_FAILED || m->data == MAP_FAILED || !m->sectors)
		die("memory");
	if (!each_range(fd, mark_used, m))
		die("image");
	close(fd);
	tmpdir_free(dir); /* what is mapped stays */
	return m;
}
