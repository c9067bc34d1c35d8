/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * mmap.c: shared mappings of one file on two hosts.
 *
 *	mmap ROUNDS FILE-ON-HOST-1 FILE-ON-HOST-2
 *	mmap hole FILE		a page is stored into its hole at HOLE, and found as data
 *
 * What one host stores through its mapping, without msync, the other host sees next:
 * through its mapping, and with read(2); and the other way round for write(2).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PAGES = 8, PAGE = 4096, LEN = PAGES * PAGE, HOLE = 128 * PAGE };

struct host {
	int fd;
	volatile uint32_t *at;
};

static uint32_t rnd(uint64_t *s, uint32_t bound)
{
	*s = *s * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(*s >> 33) % bound;
}

static int fail(int round, const char *what, uint32_t got, uint32_t want)
{
	fprintf(stderr, "round %d: %s: got %u, want %u (%s)\n", round, what, got, want, strerror(errno));
	return 1;
}

static int open_host(struct host *h, const char *path)
{
	h->fd = open(path, O_RDWR);
	if (h->fd < 0) {
		perror(path);
		return 1;
	}
	h->at = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_SHARED, h->fd, 0);
	if (h->at == MAP_FAILED) {
		perror("mmap");
		return 1;
	}
	return 0;
}

static int one(int round, struct host *a, struct host *b, uint32_t i)
{
	uint32_t value = (uint32_t)round * 2 + 1, got;

	a->at[i] = value;
	if (b->at[i] != value)
		return fail(round, "a store is not seen through the other mapping", b->at[i], value);
	a->at[i] = value + 1;
	if (pread(b->fd, &got, 4, i * 4) != 4 || got != value + 1)
		return fail(round, "a store is not seen by read", got, value + 1);
	value += 100000;
	if (pwrite(b->fd, &value, 4, i * 4) != 4)
		return fail(round, "write", 0, 4);
	if (a->at[i] != value)
		return fail(round, "a write is not seen through the other mapping", a->at[i], value);
	if (b->at[i] != value)
		return fail(round, "a write is not seen through the own mapping", b->at[i], value);
	return 0;
}

static int store_into_hole(const char *path)
{
	int fd = open(path, O_RDWR);
	char *at;

	if (fd < 0) {
		perror(path);
		return 1;
	}
	at = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, HOLE);
	if (at == MAP_FAILED) {
		perror("mmap");
		return 1;
	}
	at[5] = 'x';
	if (lseek(fd, HOLE, SEEK_DATA) != HOLE || lseek(fd, HOLE, SEEK_HOLE) < HOLE + PAGE)
		return fail(0, "a stored page is a hole", 0, 1);
	return 0;
}

int main(int argc, char **argv)
{
	uint64_t s = 1;
	struct host h[2];
	struct stat st;

	if (argc == 3 && strcmp(argv[1], "hole") == 0)
		return store_into_hole(argv[2]);
	if (argc != 4)
		return 2;
	if (open_host(&h[0], argv[2]) || open_host(&h[1], argv[3]))
		return 1;
	for (int r = 1; r <= atoi(argv[1]); r++) {
		uint32_t who = rnd(&s, 2);

		if (one(r, &h[who], &h[1 - who], rnd(&s, LEN / 4)))
			return 1;
	}
	/* Attributes and truncation while both have it mapped. */
	h[0].at[0] = 77;
	if (ftruncate(h[1].fd, PAGE) || fstat(h[0].fd, &st) || st.st_size != PAGE)
		return fail(0, "truncated elsewhere", (uint32_t)st.st_size, PAGE);
	if (h[1].at[0] != 77)
		return fail(0, "what was stored before the truncation", h[1].at[0], 77);
	return 0;
}
