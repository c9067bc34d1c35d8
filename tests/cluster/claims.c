/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * claims.c: a load that writes down what fsync has promised, and a checker for it.
 *
 *	claims run DIR SHARED LEDGER WHO SEED STOP	until STOP exists, or an error
 *	claims check DIR SHARED LEDGER WHO
 *
 * Each change is first announced in the ledger ("I name": whatever was promised about the
 * name is open now) and after its fsync is promised ("S name size seed": it has this
 * content; "R name": it is not there). The ledger lies outside the volume, so it survives
 * whoever is killed. A name has one writer; DIR is the host's own, SHARED is everybody's.
 * Some files are removed while they are open, so that a death leaves orphans.
 *
 * run ends with a line "ops=N longest_ms=N", status 0 when STOP appeared, 3 at an error of
 * the mount (which is named on stderr): a host that is killed or fenced.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { NAMES = 40, KEPT = 4, SIZE_MAX_ = 200000 };

struct name {
	char kind;	/* 0: never promised; 'I', 'S', 'R' */
	unsigned long size;
	unsigned seed;
};

struct claims {
	const char *dir[2];	/* own, shared */
	const char *who;
	int ledger;
	uint64_t random;
	struct name name[NAMES];
	int kept[KEPT];		/* open, without a name */
	unsigned ops;
	long longest_ms, longest_at_ms;
};

static uint64_t rnd(struct claims *c, uint64_t below)
{
	uint64_t z = (c->random += 0x9e3779b97f4a7c15ull);

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return (z ^ z >> 31) % below;
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
	char line[96];

	c->name[i].kind = kind;
	if (kind == 'R')
		snprintf(line, sizeof(line), "R %u\n", i);
	else
		snprintf(line, sizeof(line), "S %u %lu %u\n", i, c->name[i].size, c->name[i].seed);
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

/* 0: the name is as promised. */
static int check_name(const struct claims *c, unsigned i)
{
	const struct name *n = &c->name[i];
	static char buf[SIZE_MAX_];
	unsigned long at = 0, bad = 0;
	char path[512];
	struct stat st;
	ssize_t got;
	int fd;

	path_of(c, i, path);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (n->kind == 'R') {
		if (fd >= 0 || errno != ENOENT)
			fprintf(stderr, "%s was removed, and is there (%s)\n", path,
				fd >= 0 ? "opened" : strerror(errno));
		if (fd >= 0)
			close(fd);
		return fd >= 0 || errno != ENOENT;
	}
	if (fd < 0) {
		fprintf(stderr, "%s is gone: %s\n", path, strerror(errno));
		return 1;
	}
	while (at < n->size && (got = pread(fd, buf, n->size - at, (off_t)at)) > 0) {
		for (ssize_t k = 0; k < got; k++)
			bad += buf[k] != byte_at(at + (unsigned long)k, n->seed);
		at += (unsigned long)got;
	}
	if (fstat(fd, &st) || (unsigned long)st.st_size != n->size || at != n->size || bad)
		fprintf(stderr, "%s: size %lld, promised %lu; %lu read, %lu bytes differ\n", path,
			(long long)st.st_size, n->size, at, bad);
	else
		at = SIZE_MAX;
	close(fd);
	return at != SIZE_MAX;
}

static int op_read(struct claims *c, unsigned i)
{
	if (c->name[i].kind == 'S' || c->name[i].kind == 'R')
		return check_name(c, i) ? -EILSEQ : 0;
	return 0;
}

static int step(struct claims *c)
{
	unsigned i = (unsigned)rnd(c, NAMES), what = (unsigned)rnd(c, 10);

	if (what < 5)
		return op_write(c, i);
	if (what < 7)
		return op_remove(c, i);
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
		c->ops++;
	}
	printf("ops=%u longest_ms=%ld\n", c->ops, c->longest_ms);
	if (err)
		fprintf(stderr, "%s: %s\n", c->who, strerror(-err));
	return err ? 3 : 0;
}

/* What the ledger says, the last word about a name being the one that counts. */
static int take_ledger(struct claims *c, const char *path)
{
	FILE *f = fopen(path, "re");
	char line[128], kind;
	unsigned long size;
	unsigned i, seed;
	int n;

	if (!f)
		return errno == ENOENT ? 0 : -errno;
	while (fgets(line, sizeof(line), f)) {
		size = seed = 0;
		n = sscanf(line, "%c %u %lu %u", &kind, &i, &size, &seed);
		if (n >= 2 && i < NAMES)
			c->name[i] = (struct name){ .kind = kind, .size = size, .seed = seed };
	}
	fclose(f);
	return 0;
}

static int check(struct claims *c)
{
	unsigned promised = 0, bad = 0;

	for (unsigned i = 0; i < NAMES; i++) {
		if (c->name[i].kind != 'S' && c->name[i].kind != 'R')
			continue;
		promised++;
		bad += check_name(c, i) != 0;
	}
	printf("promised=%u bad=%u\n", promised, bad);
	return bad != 0;
}

int main(int argc, char **argv)
{
	struct claims c = { .ledger = -1 };

	if (argc < 6 || take_ledger(&c, argv[4])) {
		fprintf(stderr, "usage: claims run|check DIR SHARED LEDGER WHO [SEED STOP]\n");
		return 2;
	}
	c.dir[0] = argv[2];
	c.dir[1] = argv[3];
	c.who = argv[5];
	if (!strcmp(argv[1], "check"))
		return check(&c);
	if (argc < 8)
		return 2;
	c.random = strtoull(argv[6], NULL, 0);
	for (int i = 0; i < KEPT; i++)
		c.kept[i] = -1;
	c.ledger = open(argv[4], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	if (c.ledger < 0)
		return 2;
	return run(&c, argv[7]);
}
