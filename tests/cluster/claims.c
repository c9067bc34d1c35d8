/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * claims.c: a load that writes down what fsync has promised, and a checker for it.
 *
 *	claims run DIR SHARED LEDGER WHO SEED STOP	until STOP exists, or an error
 *	claims check DIR SHARED LEDGER WHO
 *
 * Each change is first announced in the ledger ("I name": whatever was promised about the
 * name is open now) and after its fsync is promised ("S name size seed filled": it has this
 * size, and this content up to filled, zeroes behind; "R name": it is not there). The ledger
 * lies outside the volume, so it survives whoever is killed. A name has one writer; DIR is
 * the host's own, SHARED is everybody's. Some files are removed while they are open, so that
 * a death leaves orphans.
 *
 * Besides, all hosts append records to SHARED/log under flock ("B n" is announced, "A n"
 * promised), each looking at the last one before, and make, move and remove names that
 * belong to nobody in folders that belong to nobody (claims_pool.c).
 *
 * run prints "slow MS" for each operation that succeeds after more than SLOW_MS, and ends
 * with a line "ops=N longest_ms=N", status 0 when STOP appeared, 3 at an error of
 * the mount (which is named on stderr): a host that is killed or fenced; 4 when something
 * was not as promised.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "tests/cluster/claims.h"

enum { NAMES = 40, KEPT = 4, SIZE_MAX_ = 200000, RECORD = 48, RECORDS_MAX = 1 << 22,
       SLOW_MS = 5000 };

struct name {
	char kind;	/* 0: never promised; 'I', 'S', 'R' */
	unsigned long size, filled;
	unsigned seed;
};

struct claims {
	const char *dir[2];	/* own, shared */
	const char *who;
	int ledger;
	uint64_t random;
	struct name name[NAMES];
	int kept[KEPT];		/* open, without a name */
	unsigned long record;	/* number of the last one announced */
	uint8_t *promised;	/* records; for check */
	unsigned ops;
	long longest_ms, longest_at_ms;
};

static uint64_t rnd(struct claims *c, uint64_t below)
{
	return claims_rnd(&c->random, below);
}

static char byte_at(uint64_t off, unsigned seed)
{
	return (char)(off * 2654435761u >> 11 ^ off ^ seed * 131);
}

static long now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* Even names in the own folder, odd ones in the shared one. */
static const char *path_of(const struct claims *c, unsigned i, char out[512])
{
	snprintf(out, 512, "%s/%s-%u", c->dir[i & 1], c->who, i);
	return out;
}

static int say(struct claims *c, const char *line)
{
	size_t len = strlen(line);

	return write(c->ledger, line, len) == (ssize_t)len ? 0 : -EIO;
}

static int intend(struct claims *c, unsigned i)
{
	char line[64];

	c->name[i].kind = 'I';
	snprintf(line, sizeof(line), "I %u\n", i);
	return say(c, line);
}

static int promise(struct claims *c, unsigned i, char kind)
{
	char line[128];

	c->name[i].kind = kind;
	if (kind == 'R')
		snprintf(line, sizeof(line), "R %u\n", i);
	else
		snprintf(line, sizeof(line), "S %u %lu %u %lu\n", i, c->name[i].size,
			 c->name[i].seed, c->name[i].filled);
	return say(c, line);
}

static int sync_dir(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int err = fd < 0 || fsync(fd) ? -errno : 0;

	if (fd >= 0)
		close(fd);
	return err;
}

static int write_all(int fd, unsigned long size, unsigned seed)
{
	static char buf[SIZE_MAX_];
	unsigned long done = 0;

	for (unsigned long i = 0; i < size; i++)
		buf[i] = byte_at(i, seed);
	while (done < size) {
		ssize_t n = pwrite(fd, buf + done, size - done, (off_t)done);

		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		done += (unsigned long)n;
	}
	return 0;
}

/* Whole content anew, in place or under a new name that is renamed over it. */
static int op_write(struct claims *c, unsigned i)
{
	char path[512], other[600];
	bool by_rename = rnd(c, 3) == 0;
	struct name *n = &c->name[i];
	int fd, err = intend(c, i);

	n->size = rnd(c, 4) ? rnd(c, 9000) : rnd(c, SIZE_MAX_);
	n->filled = n->size;
	n->seed = (unsigned)rnd(c, 1 << 20);
	path_of(c, i, path);
	snprintf(other, sizeof(other), "%s%s", path, by_rename ? ".new" : "");
	fd = open(other, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)(rnd(c, 2) ? 0 : n->size)))
		err = -errno;
	if (!err)
		err = write_all(fd, n->size, n->seed);
	if (!err && (rnd(c, 2) ? fsync(fd) : fdatasync(fd)))
		err = -errno;
	close(fd);
	if (!err && by_rename && rename(other, path))
		err = -errno;
	if (!err)
		err = sync_dir(c->dir[i & 1]);
	return err ? err : promise(c, i, 'S');
}

static int op_remove(struct claims *c, unsigned i)
{
	char path[512];
	int err = intend(c, i), *kept = &c->kept[rnd(c, KEPT)];

	path_of(c, i, path);
	if (*kept >= 0)
		close(*kept);
	*kept = open(path, O_RDONLY | O_CLOEXEC);
	if (unlink(path) && errno != ENOENT)
		err = -errno;
	if (!err)
		err = sync_dir(c->dir[i & 1]);
	return err ? err : promise(c, i, 'R');
}

static int op_truncate(struct claims *c, unsigned i)
{
	struct name *n = &c->name[i];
	char path[512];
	int fd, err;

	if (n->kind != 'S')
		return 0;
	err = intend(c, i);
	n->size = rnd(c, n->size * 2 + 10000);
	if (n->size > SIZE_MAX_)
		n->size = SIZE_MAX_;
	if (n->filled > n->size)
		n->filled = n->size;
	fd = open(path_of(c, i, path), O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)n->size) || fsync(fd))
		err = -errno;
	close(fd);
	return err ? err : promise(c, i, 'S');
}

/* From the one name to the other, both ours, perhaps in the other folder; by rename or by
 * a second link. */
static int op_move(struct claims *c, unsigned i, unsigned j)
{
	bool by_link = rnd(c, 4) == 0;
	char from[512], to[512];
	int err;

	if (i == j || c->name[i].kind != 'S')
		return 0;
	path_of(c, i, from);
	path_of(c, j, to);
	err = intend(c, i);
	if (!err)
		err = intend(c, j);
	if (err)
		return err;
	if (by_link && unlink(to) && errno != ENOENT)
		return -errno;
	if (by_link ? link(from, to) || unlink(from) : rename(from, to))
		return -errno;
	err = sync_dir(c->dir[i & 1]);
	if (!err)
		err = sync_dir(c->dir[j & 1]);
	c->name[j] = c->name[i];
	if (!err)
		err = promise(c, i, 'R');
	return err ? err : promise(c, j, 'S');
}

/* ---- records of all hosts in one file ---------------------------------------------- */

struct record {
	char who[16];
	unsigned long n, index;
};

static bool parse_record(const char *at, struct record *r)
{
	char line[RECORD + 1];
	int len = 0;

	memcpy(line, at, RECORD);
	line[RECORD] = 0;
	return sscanf(line, "%15s %12lu %12lu%n", r->who, &r->n, &r->index, &len) == 3 &&
	       line[RECORD - 1] == '\n' && strspn(line + len, ".") == (size_t)(RECORD - 1 - len);
}

static void put_record(char *at, const char *who, unsigned long n, unsigned long index)
{
	int len = snprintf(at, RECORD, "%s %012lu %012lu", who, n, index);

	memset(at + len, '.', (size_t)(RECORD - 1 - len));
	at[RECORD - 1] = '\n';
}

/* The lock is held: the file ends with a whole record, which says its place. */
static int look_at_end(int fd, const char *path, off_t *size)
{
	char last[RECORD + 1] = "", before[2 * RECORD + 1] = "";
	struct record r;
	struct stat st;

	if (fstat(fd, &st))
		return -errno;
	*size = st.st_size;
	if (!st.st_size)
		return 0;
	if (st.st_size % RECORD == 0) {
		if (pread(fd, last, RECORD, st.st_size - RECORD) < 0)
			return -errno;
		if (parse_record(last, &r) && r.index == (unsigned long)st.st_size / RECORD - 1)
			return 0;
	}
	if (pread(fd, before, 2 * RECORD, st.st_size - 3 * RECORD) < 0)
		return -errno;
	fprintf(stderr, "%s: its end is no record: size %lld, \"%s%s\"\n", path, (long long)st.st_size,
		before, last);
	return -EILSEQ;
}

static int append_locked(struct claims *c, int fd, const char *path)
{
	char line[RECORD], text[64];
	off_t size, after;
	int err = look_at_end(fd, path, &size);

	if (err)
		return err;
	c->record++;
	snprintf(text, sizeof(text), "B %lu\n", c->record);
	err = say(c, text);
	if (err)
		return err;
	put_record(line, c->who, c->record, (unsigned long)size / RECORD);
	if (write(fd, line, RECORD) != RECORD || fsync(fd))
		return errno ? -errno : -EIO;
	err = look_at_end(fd, path, &after);
	if (!err && after != size + RECORD) {
		fprintf(stderr, "%s: grew from %lld to %lld under the lock\n", path, (long long)size,
			(long long)after);
		err = -EILSEQ;
	}
	text[0] = 'A';
	return err ? err : say(c, text);
}

static int op_append(struct claims *c)
{
	char path[512];
	int fd, err = 0;

	snprintf(path, sizeof(path), "%s/log", c->dir[1]);
	fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	if (fd < 0)
		return -errno;
	if (flock(fd, LOCK_EX))
		err = -errno;
	if (!err)
		err = append_locked(c, fd, path);
	close(fd);
	return err;
}

/* All records are whole and in their places; ours in order, the promised ones among them. */
static int check_log(struct claims *c, unsigned *promised)
{
	unsigned long last = 0, index = 0, bad = 0;
	char path[512], line[RECORD];
	struct record r;
	FILE *f;

	snprintf(path, sizeof(path), "%s/log", c->dir[1]);
	f = fopen(path, "re");
	while (f && fread(line, RECORD, 1, f) == 1 && bad < 5) {
		if (!parse_record(line, &r) || r.index != index) {
			fprintf(stderr, "%s: record %lu is \"%.*s\"\n", path, index, RECORD, line);
			bad++;
		} else if (!strcmp(r.who, c->who)) {
			if (r.n <= last || r.n > c->record) {
				fprintf(stderr, "%s: record %lu of %s comes after %lu of %lu\n", path,
					r.n, c->who, last, c->record);
				bad++;
			} else {
				c->promised[r.n] &= 2;
			}
			last = r.n;
		}
		index++;
	}
	if (f)
		fclose(f);
	for (unsigned long n = 1; n <= c->record; n++) {
		*promised += c->promised[n] != 0;
		if (c->promised[n] & 1 && bad++ < 5)
			fprintf(stderr, "%s: record %lu of %s was promised, and is not there\n", path, n,
				c->who);
	}
	return bad != 0;
}

/* ---- names ---------------------------------------------------------------------------- */

static int check_data(const struct name *n, int fd, const char *path)
{
	static char buf[SIZE_MAX_];
	unsigned long at = 0, bad = 0;
	struct stat st;
	ssize_t got = 0;

	while (at < n->size && (got = pread(fd, buf, n->size - at, (off_t)at)) > 0) {
		for (ssize_t k = 0; k < got; k++, at++)
			bad += buf[k] != (at < n->filled ? byte_at(at, n->seed) : 0);
	}
	if (got < 0 || fstat(fd, &st))
		return -errno;
	if ((unsigned long)st.st_size == n->size && at == n->size && !bad)
		return 0;
	fprintf(stderr, "%s: size %lld, promised %lu; %lu read, %lu bytes differ\n", path,
		(long long)st.st_size, n->size, at, bad);
	return -EILSEQ;
}

/* 0: the name is as promised. -EILSEQ: it is not. */
static int check_name(const struct claims *c, unsigned i)
{
	const struct name *n = &c->name[i];
	char path[512];
	int fd, err;

	path_of(c, i, path);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	err = fd < 0 ? -errno : 0;
	if (err && err != -ENOENT)
		return err;
	if (n->kind == 'R' ? !err : err) {
		fprintf(stderr, "%s was %s\n", path, err ? "promised, and is gone" : "removed, and is there");
		err = -EILSEQ;
	} else {
		err = n->kind == 'R' ? 0 : check_data(n, fd, path);
	}
	if (fd >= 0)
		close(fd);
	return err;
}

static int op_read(struct claims *c, unsigned i)
{
	return c->name[i].kind == 'S' || c->name[i].kind == 'R' ? check_name(c, i) : 0;
}

static int step(struct claims *c)
{
	unsigned i = (unsigned)rnd(c, NAMES), what = (unsigned)rnd(c, 20);

	if (what < 6)
		return op_write(c, i);
	if (what < 9)
		return op_remove(c, i);
	if (what < 11)
		return op_truncate(c, i);
	if (what < 13)
		return op_move(c, i, (unsigned)rnd(c, NAMES));
	if (what < 15)
		return op_append(c);
	if (what < 17)
		return claims_pool_step(c->dir[1], &c->random);
	return op_read(c, i);
}

static int run(struct claims *c, const char *stop)
{
	int err = 0;

	while (!err && access(stop, F_OK)) {
		long start = now_ms(), took;

		err = step(c);
		took = now_ms() - start;
		if (took > c->longest_ms) {
			c->longest_ms = took;
			c->longest_at_ms = start;
		}
		if (took > SLOW_MS && !err) {
			printf("slow %ld\n", took);
			fflush(stdout);
		}
		c->ops++;
	}
	printf("ops=%u longest_ms=%ld\n", c->ops, c->longest_ms);
	if (err)
		fprintf(stderr, "%s: %s\n", c->who, strerror(-err));
	return !err ? 0 : err == -EILSEQ ? 4 : 3;
}

/* What the ledger says, the last word about a name being the one that counts. */
static int take_ledger(struct claims *c, const char *path)
{
	FILE *f = fopen(path, "re");
	unsigned long number, size, filled;
	char line[128], kind;
	unsigned seed;
	int n;

	if (!f)
		return errno == ENOENT ? 0 : -errno;
	while (fgets(line, sizeof(line), f)) {
		size = filled = seed = 0;
		n = sscanf(line, "%c %lu %lu %u %lu", &kind, &number, &size, &seed, &filled);
		if (n == 2 && (kind == 'A' || kind == 'B') && number < RECORDS_MAX) {
			c->record = number;
			c->promised[number] |= kind == 'A' ? 3 : 0;
		} else if (n >= 2 && number < NAMES) {
			c->name[number] = (struct name){ kind, size, filled, seed };
		}
	}
	fclose(f);
	return 0;
}

static int check(struct claims *c)
{
	unsigned promised = 0, bad = 0;
	int err;

	for (unsigned i = 0; i < NAMES; i++) {
		if (c->name[i].kind != 'S' && c->name[i].kind != 'R')
			continue;
		promised++;
		err = check_name(c, i);
		if (err && err != -EILSEQ)
			fprintf(stderr, "%u: %s\n", i, strerror(-err));
		bad += err != 0;
	}
	bad += check_log(c, &promised) != 0;
	printf("promised=%u bad=%u\n", promised, bad);
	return bad != 0;
}

int main(int argc, char **argv)
{
	struct claims c = { .ledger = -1, .promised = calloc(RECORDS_MAX, 1) };
	int rc = 2;

	if (!c.promised || argc < 6 || take_ledger(&c, argv[4])) {
		fprintf(stderr, "usage: claims run|check DIR SHARED LEDGER WHO [SEED STOP]\n");
		free(c.promised);
		return rc;
	}
	c.dir[0] = argv[2];
	c.dir[1] = argv[3];
	c.who = argv[5];
	for (int i = 0; i < KEPT; i++)
		c.kept[i] = -1;
	if (!strcmp(argv[1], "check")) {
		rc = check(&c);
	} else if (argc >= 8) {
		c.random = strtoull(argv[6], NULL, 0);
		c.ledger = open(argv[4], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
		if (c.ledger >= 0)
			rc = run(&c, argv[7]);
	}
	free(c.promised);
	return rc;
}
