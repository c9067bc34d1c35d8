/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test-blockdev.c: requests, the gate, fallbacks, recording. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include "fs/volume/blockdev_record.h"

enum { BLK = 4096, BLOCKS = 512, MANY = 300 };

static char path[64];
static const unsigned backends[] = { 0, BLOCKDEV_NO_URING };

static void setup(void)
{
	int fd;

	strcpy(path, "/tmp/o2fuse-blockdev.XXXXXX");
	fd = mkstemp(path);
	cr_assert_geq(fd, 0);
	cr_assert_eq(ftruncate(fd, BLK * BLOCKS), 0);
	close(fd);
}

static void teardown(void)
{
	unlink(path);
}

TestSuite(blockdev, .init = setup, .fini = teardown);

static struct blockdev *must_open(unsigned flags)
{
	struct reason why = { 0 };
	struct blockdev *bd;

	cr_assert_eq(blockdev_open(path, flags, &bd, &why), 0, "%s", why.text);
	return bd;
}

static int64_t boottime(void)
{
	struct timespec t;

	clock_gettime(CLOCK_BOOTTIME, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* A batch larger than a ring: every block gets its number. */
static void write_numbers(struct blockdev *bd, unsigned first, unsigned n)
{
	char *buf = blockdev_alloc((size_t)n * BLK);
	struct bd_io *io = calloc(n, sizeof(*io));

	for (unsigned i = 0; i < n; i++) {
		memset(buf + (size_t)i * BLK, (int)(first + i) & 0xff, BLK);
		io[i] = (struct bd_io){ buf + (size_t)i * BLK, BLK, (uint64_t)(first + i) * BLK, 0 };
	}
	cr_assert_eq(blockdev_write_many(bd, io, n), 0);
	free(io);
	free(buf);
}

static void check_numbers(struct blockdev *bd, unsigned first, unsigned n)
{
	char *buf = blockdev_alloc((size_t)n * BLK);
	struct bd_io *io = calloc(n, sizeof(*io));

	for (unsigned i = 0; i < n; i++)
		io[i] = (struct bd_io){ buf + (size_t)i * BLK, BLK, (uint64_t)(first + i) * BLK, 0 };
	cr_assert_eq(blockdev_read_many(bd, io, n), 0);
	for (unsigned i = 0; i < n; i++)
		cr_assert_eq((unsigned char)buf[(size_t)i * BLK + 7], (first + i) & 0xff, "block %u", i);
	free(io);
	free(buf);
}

Test(blockdev, many_requests_go_to_their_places)
{
	for (unsigned b = 0; b < 2; b++) {
		struct blockdev *bd = must_open(backends[b]);

		write_numbers(bd, 3 * b, MANY);
		check_numbers(bd, 3 * b, MANY);
		cr_assert_eq(blockdev_flush(bd), 0);
		blockdev_close(bd);
	}
}

Test(blockdev, plain_calls_are_used_when_asked_for)
{
	struct blockdev *bd = must_open(BLOCKDEV_NO_URING);

	cr_assert_str_eq(bd->ops->name, "pread");
	blockdev_close(bd);
}

struct hammer {
	struct blockdev *bd;
	unsigned first;
};

static void *hammer(void *arg)
{
	struct hammer *h = arg;

	for (int i = 0; i < 20; i++) {
		write_numbers(h->bd, h->first, 50);
		check_numbers(h->bd, h->first, 50);
	}
	return NULL;
}

Test(blockdev, threads_do_not_meet)
{
	struct blockdev *bd = must_open(0);
	struct hammer h[8];
	pthread_t t[8];

	for (unsigned i = 0; i < 8; i++) {
		h[i] = (struct hammer){ bd, i * 60 };
		cr_assert_eq(pthread_create(&t[i], NULL, hammer, &h[i]), 0);
	}
	for (unsigned i = 0; i < 8; i++)
		pthread_join(t[i], NULL);
	blockdev_close(bd);
}

Test(blockdev, a_child_makes_rings_of_its_own)
{
	struct blockdev *bd = must_open(0);
	int status;
	pid_t pid;

	write_numbers(bd, 0, 100);
	pid = fork();
	cr_assert_geq(pid, 0);
	if (pid == 0) {
		write_numbers(bd, 100, 100);
		check_numbers(bd, 0, 200);
		_exit(0);
	}
	write_numbers(bd, 200, 100);
	check_numbers(bd, 200, 100);
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	check_numbers(bd, 0, 300);
	blockdev_close(bd);
}

Test(blockdev, a_shut_gate_stops_writes_and_flushes_not_reads)
{
	for (unsigned b = 0; b < 2; b++) {
		struct blockdev *bd = must_open(backends[b]);
		char *buf = blockdev_alloc(BLK);
		struct bd_io io[2] = { { buf, BLK, 0, 0 }, { buf, BLK, BLK, 0 } };

		write_numbers(bd, 0, 4);
		blockdev_gate_shut(bd);
		memset(buf, 0xee, BLK);
		cr_assert_eq(blockdev_write(bd, buf, BLK, 0), -EIO);
		cr_assert_eq(blockdev_write_many(bd, io, 2), -EIO);
		cr_assert_eq(io[0].err, -EIO);
		cr_assert_eq(io[1].err, -EIO);
		cr_assert_eq(blockdev_flush(bd), -EIO);
		cr_assert_eq(atomic_load(&bd->in_flight), 0);
		check_numbers(bd, 0, 4);
		free(buf);
		blockdev_close(bd);
	}
}

Test(blockdev, a_deadline_shuts_the_gate_and_a_later_one_opens_it)
{
	struct blockdev *bd = must_open(0);
	char *buf = blockdev_alloc(BLK);

	blockdev_gate_deadline(bd, boottime() + 60000000000);
	cr_assert_eq(blockdev_write(bd, buf, BLK, 0), 0);
	blockdev_gate_deadline(bd, boottime() - 1);
	cr_assert_eq(blockdev_write(bd, buf, BLK, 0), -EIO);
	cr_assert_not(blockdev_gate_open(bd));
	blockdev_gate_deadline(bd, boottime() + 60000000000);
	cr_assert_eq(blockdev_write(bd, buf, BLK, 0), 0);
	blockdev_gate_shut(bd);
	blockdev_gate_deadline(bd, 0);
	cr_assert_eq(blockdev_write(bd, buf, BLK, 0), -EIO, "shut is for good");
	free(buf);
	blockdev_close(bd);
}

Test(blockdev, nothing_beyond_the_end_is_asked_for)
{
	struct blockdev *bd = must_open(0);
	char *buf = blockdev_alloc(BLK);

	cr_assert_eq(blockdev_read(bd, buf, BLK, (uint64_t)BLK * BLOCKS), -EIO);
	cr_assert_eq(blockdev_write(bd, buf, BLK, UINT64_MAX - 100), -EIO);
	free(buf);
	blockdev_close(bd);
}

Test(blockdev, a_device_that_shrank_is_an_error)
{
	for (unsigned b = 0; b < 2; b++) {
		struct blockdev *bd = must_open(backends[b]);
		char *buf = blockdev_alloc(2 * BLK);
		struct bd_io io[2] = { { buf, BLK, BLK * 2, 0 }, { buf + BLK, BLK, BLK * 400, 0 } };

		cr_assert_eq(truncate(path, BLK * 100), 0);
		cr_assert_eq(blockdev_read_many(bd, io, 2), -EIO);
		cr_assert_eq(io[0].err, 0);
		cr_assert_eq(io[1].err, -EIO);
		cr_assert_eq(truncate(path, BLK * BLOCKS), 0);
		free(buf);
		blockdev_close(bd);
	}
}

Test(blockdev, read_only_devices_are_not_written)
{
	struct blockdev *bd = must_open(BLOCKDEV_RO);
	char *buf = blockdev_alloc(BLK);

	cr_assert_eq(blockdev_write(bd, buf, BLK, 0), -EROFS);
	cr_assert_eq(blockdev_read(bd, buf, BLK, 0), 0);
	free(buf);
	blockdev_close(bd);
}

Test(blockdev, what_is_no_device_is_named)
{
	struct reason why = { 0 };
	struct blockdev *bd;

	cr_assert_lt(blockdev_open("/nonexistent/device", 0, &bd, &why), 0);
	cr_assert_eq(why.code, EXIT_DEVICE);
	cr_assert(strstr(why.text, "/nonexistent/device"), "%s", why.text);
	why = (struct reason){ 0 };
	cr_assert_lt(blockdev_open("/tmp", 0, &bd, &why), 0);
	cr_assert_eq(why.code, EXIT_DEVICE);
	why = (struct reason){ 0 };
	cr_assert_lt(blockdev_open("/dev/null", 0, &bd, &why), 0);
	cr_assert_eq(why.code, EXIT_DEVICE);
}

/* ---- recording ----------------------------------------------------------------------- */

static void put(struct blockdev *bd, unsigned block, char c)
{
	char *buf = blockdev_alloc(BLK);

	memset(buf, c, BLK);
	cr_assert_eq(blockdev_write(bd, buf, BLK, (uint64_t)block * BLK), 0);
	free(buf);
}

static char first_byte(int fd, unsigned block)
{
	char c;

	cr_assert_eq(pread(fd, &c, 1, (off_t)block * BLK), 1);
	return c;
}

static void to_file(void *fd, uint64_t off, const void *data, size_t len)
{
	cr_assert_eq(pwrite(*(int *)fd, data, len, (off_t)off), (ssize_t)len);
}

Test(blockdev, a_cut_keeps_what_was_flushed)
{
	struct blockdev *rec;
	int fd;

	cr_assert_eq(blockdev_record(must_open(0), &rec), 0);
	put(rec, 1, 'a');
	cr_assert_eq(blockdev_flush(rec), 0);
	put(rec, 1, 'b');
	put(rec, 2, 'c');
	cr_assert_eq(blockdev_record_events(rec), 4);

	cr_assert_eq(truncate(path, 0), 0);
	cr_assert_eq(truncate(path, BLK * BLOCKS), 0);
	fd = open(path, O_RDWR | O_CLOEXEC);
	cr_assert_geq(fd, 0);
	blockdev_record_rebuild(rec, 1, 0, to_file, &fd);
	cr_assert_eq(first_byte(fd, 1), 0, "not flushed before the cut");
	blockdev_record_rebuild(rec, 4, 0, to_file, &fd);
	cr_assert_eq(first_byte(fd, 1), 'a');
	cr_assert_eq(first_byte(fd, 2), 0);
	close(fd);
	blockdev_close(rec);
}

Test(blockdev, a_cut_may_keep_any_part_of_the_rest)
{
	unsigned seen_old = 0, seen_new = 0, seen_torn = 0;
	struct blockdev *rec;
	int fd;

	cr_assert_eq(blockdev_record(must_open(0), &rec), 0);
	put(rec, 1, 'n');
	for (uint64_t seed = 1; seed < 64; seed++) {
		char start, end;

		cr_assert_eq(truncate(path, 0), 0);
		cr_assert_eq(truncate(path, BLK * BLOCKS), 0);
		fd = open(path, O_RDWR | O_CLOEXEC);
		blockdev_record_rebuild(rec, 1, seed, to_file, &fd);
		start = first_byte(fd, 1);
		cr_assert_eq(pread(fd, &end, 1, 2 * BLK - 1), 1);
		close(fd);
		seen_new += start && end;
		seen_old += !start && !end;
		seen_torn += !start != !end;
	}
	cr_assert(seen_old && seen_new && seen_torn, "%u %u %u", seen_old, seen_new, seen_torn);
	blockdev_close(rec);
}

Test(blockdev, a_recorded_device_fails_when_told_to)
{
	char *buf = blockdev_alloc(BLK);
	struct blockdev *rec;

	cr_assert_eq(blockdev_record(must_open(0), &rec), 0);
	blockdev_record_fail_at(rec, 1);
	cr_assert_eq(blockdev_write(rec, buf, BLK, 0), 0);
	cr_assert_eq(blockdev_write(rec, buf, BLK, 0), -EIO);
	cr_assert_eq(blockdev_flush(rec), -EIO);
	free(buf);
	blockdev_close(rec);
}
