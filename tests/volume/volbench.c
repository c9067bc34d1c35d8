/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * volbench.c: "volbench IMAGE RAW [MIB]": how fast content is written and read, beside
 * the same requests as plain O_DIRECT I/O on a file RAW of the same file system, in one
 * run. IMAGE is a fresh volume with room for three times MIB, RAW is made and removed.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "fs/volume/blockdev.h"
#include "fs/volume/vol.h"

enum { BIG = 1 << 20, SMALL = 4096, SMALLS = 20000 };

struct bench {
	struct vol *v;
	struct vol_inode *file, *other;
	int raw;
	uint8_t *buf;
	unsigned mib;
};

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void check(const char *what, int err)
{
	if (!err)
		return;
	fprintf(stderr, "volbench: %s: %s\n", what, strerror(-err));
	exit(1);
}

static void put(struct vol_inode *inode, const void *buf, size_t len, uint64_t off)
{
	size_t done;

	check("write", vol_write(inode, buf, len, &off, false, false, &done));
	if (done != len)
		check("write", -EIO);
}

static void raw_put(struct bench *b, size_t len, uint64_t off)
{
	if (pwrite(b->raw, b->buf, len, (off_t)off) != (ssize_t)len)
		check("raw write", -EIO);
}

static uint64_t some_block(const struct bench *b, unsigned i)
{
	return (uint64_t)(i * 2654435761u % (b->mib * 256u)) * SMALL;
}

static void report(const char *what, double ours, double raw, double n, const char *unit)
{
	printf("%-34s %9.0f %s, raw %9.0f %s (%.0f%%)\n", what, n / ours, unit, n / raw, unit,
	       100 * raw / ours);
}

static void big_writes(struct bench *b, const char *what)
{
	double t0 = now(), t1, t2;

	for (unsigned i = 0; i < b->mib; i++)
		put(b->file, b->buf, BIG, (uint64_t)i * BIG);
	check("fsync", vol_fsync(b->file, true));
	t1 = now();
	for (unsigned i = 0; i < b->mib; i++)
		raw_put(b, BIG, (uint64_t)i * BIG);
	check("raw fsync", fdatasync(b->raw));
	t2 = now();
	report(what, t1 - t0, t2 - t1, b->mib, "MiB/s");
}

static void big_reads(struct bench *b)
{
	double t0 = now(), t1, t2;
	size_t got;

	for (unsigned i = 0; i < b->mib; i++)
		check("read", vol_read(b->file, b->buf, BIG, (uint64_t)i * BIG, &got));
	t1 = now();
	for (unsigned i = 0; i < b->mib; i++)
		if (pread(b->raw, b->buf, BIG, (off_t)i * BIG) != BIG)
			check("raw read", -EIO);
	t2 = now();
	report("1 MiB reads", t1 - t0, t2 - t1, b->mib, "MiB/s");
}

static void small_overwrites(struct bench *b)
{
	double t0 = now(), t1, t2;

	for (unsigned i = 0; i < SMALLS; i++)
		put(b->file, b->buf, SMALL, some_block(b, i));
	t1 = now();
	for (unsigned i = 0; i < SMALLS; i++)
		raw_put(b, SMALL, some_block(b, i));
	t2 = now();
	report("4 KiB overwrites", t1 - t0, t2 - t1, SMALLS, "/s");
}

static void small_appends(struct bench *b)
{
	double t0 = now(), t1, t2;
	uint64_t off = 0;
	size_t done;

	for (unsigned i = 0; i < SMALLS; i++)
		check("append", vol_write(b->other, b->buf, SMALL, &off, true, false, &done));
	t1 = now();
	check("raw truncate", ftruncate(b->raw, 0));
	for (unsigned i = 0; i < SMALLS; i++)
		raw_put(b, SMALL, (uint64_t)i * SMALL);
	t2 = now();
	report("4 KiB appends", t1 - t0, t2 - t1, SMALLS, "/s");
	t0 = now();
	for (unsigned i = 0; i < SMALLS; i++)
		check("append", vol_write(b->other, b->buf + 100, 100, &off, true, false, &done));
	printf("%-34s %9.0f /s\n", "100-byte appends", SMALLS / (now() - t0));
}

int main(int argc, char **argv)
{
	struct vol_opts opts = { .localalloc_mb = -1 };
	struct vol_new what = { .mode = S_IFREG | 0644 };
	struct bench b = { .mib = argc > 3 ? (unsigned)atoi(argv[3]) : 256 };
	struct reason why = { 0 };
	struct blockdev *dev;
	bool replayed;

	if (argc < 3 || b.mib == 0)
		return 1;
	if (blockdev_open(argv[1], 0, &dev, &why) || vol_open(dev, &opts, &b.v, &why) ||
	    vol_slot_start(b.v, 0, &replayed, &why)) {
		fprintf(stderr, "volbench: %s\n", why.text);
		return 1;
	}
	b.raw = open(argv[2], O_RDWR | O_CREAT | O_TRUNC | O_DIRECT, 0600);
	b.buf = blockdev_alloc(BIG);
	if (b.raw < 0 || !b.buf)
		check("raw file", -EIO);
	unlink(argv[2]);
	memset(b.buf, 'b', BIG);
	check("create", vol_create(vol_root(b.v), "bench", 5, &what, &b.file));
	check("create", vol_create(vol_root(b.v), "other", 5, &what, &b.other));
	big_writes(&b, "1 MiB writes, new");
	big_writes(&b, "1 MiB writes, again");
	big_reads(&b);
	small_overwrites(&b);
	small_appends(&b);
	vol_iput(b.file);
	vol_iput(b.other);
	check("unmount", vol_slot_stop(b.v, false));
	vol_close(b.v);
	blockdev_close(dev);
	free(b.buf);
	close(b.raw);
	return 0;
}
