/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * coherence.c: random operations, each on a random one of several mounts of one
 * volume, every result compared with a model in memory.
 *
 *	coherence SEED OPS DIR...
 *	coherence serve PORT
 *
 * A DIR of the form ADDRESS:PORT!PATH lies on another machine, where the same program
 * serves; so kernel nodes take part.
 *
 * After each operation another mount than the one that did it must agree at once: the
 * errno of the call, and of what was touched type, mode, size, link count, content,
 * listing, and that times are the same on all. No waiting, no retry: what one host
 * has done is what every other host sees next. The model is a small flat tree: DIRS
 * directories (slot 0 is the root) that hold NAMES names each.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "party.h"

enum { DIRS = 5, NAMES = 12, MAX_HOSTS = 8, MAX_SIZE = 300000, MAX_FILES = DIRS * NAMES };

struct file {
	int links, mode;
	bool symlink;
	size_t size;
	uint8_t *data;		/* MAX_SIZE */
	char target[64];
};

struct name {
	bool dir;
	struct file *file;	/* NULL and !dir: free */
	int subdir;
};

struct model {
	struct name at[DIRS][NAMES];
	bool dir_used[DIRS];
	int dir_parent[DIRS], dir_mode[DIRS];
};

struct run {
	uint64_t rng;
	unsigned seed;
	long op;
	int hosts;
	char **root;
	struct model m;
	char what[300];
};

static uint32_t rnd(struct run *r, uint32_t bound)
{
	r->rng = r->rng * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(r->rng >> 33) % bound;
}

__attribute__((format(printf, 2, 3), noreturn)) static void fail(struct run *r, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "seed=%u op=%ld %s: ", r->seed, r->op, r->what);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(1);
}

/* ---- paths --------------------------------------------------------------------- */

#define ROOM 256

static void dir_path(struct run *r, int host, int dir, char *out, size_t room)
{
	char up[ROOM];

	if (dir == 0) {
		snprintf(out, room, "%s", r->root[host]);
		return;
	}
	dir_path(r, host, r->m.dir_parent[dir], up, sizeof(up));
	for (int n = 0; n < NAMES; n++) {
		struct name *e = &r->m.at[r->m.dir_parent[dir]][n];

		if (e->dir && e->subdir == dir) {
			snprintf(out, room, "%s/n%d", up, n);
			return;
		}
	}
	fail(r, "model lost directory %d", dir);
}

static void path(struct run *r, int host, int dir, int n, char *out, size_t room)
{
	char up[ROOM];

	dir_path(r, host, dir, up, sizeof(up));
	snprintf(out, room, "%s/n%d", up, n);
}

static int any_dir(struct run *r)
{
	int d;

	do
		d = (int)rnd(r, DIRS);
	while (!r->m.dir_used[d]);
	return d;
}

/* ---- comparing ----------------------------------------------------------------- */

static void expect(struct run *r, int rc, int want)
{
	int got = rc < 0 ? -rc : 0;

	if (got != want)
		fail(r, "got errno %d (%s), want %d (%s)", got, strerror(got), want, strerror(want));
}

static bool same_times(const struct stat *a, const struct stat *b)
{
	return a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec &&
	       a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

static int subdirs(struct run *r, int dir)
{
	int n = 0;

	for (int i = 0; i < NAMES; i++)
		n += r->m.at[dir][i].dir;
	return n;
}

static void check_content(struct run *r, const char *p, struct file *f)
{
	static uint8_t buf[MAX_SIZE + 1];
	int got = party_read(p, buf, sizeof(buf));

	if (got < 0)
		fail(r, "cannot read %s: %s", p, strerror(-got));
	if ((size_t)got != f->size)
		fail(r, "%s has %d bytes, want %zu", p, got, f->size);
	for (size_t i = 0; i < f->size; i++)
		if (buf[i] != f->data[i])
			fail(r, "%s differs at byte %zu: %02x, want %02x", p, i, buf[i], f->data[i]);
}

static void check_name(struct run *r, int host, int dir, int n)
{
	struct name *e = &r->m.at[dir][n];
	struct stat st, other;
	char p[ROOM + 16], q[ROOM + 16], target[64];
	int rc, h2 = (host + 1) % r->hosts;

	path(r, host, dir, n, p, sizeof(p));
	rc = party_lstat(p, &st);
	if (!e->dir && !e->file) {
		if (rc != -ENOENT)
			fail(r, "%s should not be there (%s)", p, rc ? strerror(-rc) : "it is");
		return;
	}
	if (rc)
		fail(r, "%s: %s", p, strerror(-rc));
	path(r, h2, dir, n, q, sizeof(q));
	rc = party_lstat(q, &other);
	if (rc)
		fail(r, "%s: %s", q, strerror(-rc));
	if (!same_times(&st, &other) || st.st_size != other.st_size || st.st_mode != other.st_mode ||
	    st.st_nlink != other.st_nlink || st.st_ino != other.st_ino || st.st_blocks != other.st_blocks)
		fail(r, "%s and %s do not agree: size %lld %lld mode %o %o links %lu %lu blocks %lld %lld", p,
		     q, (long long)st.st_size, (long long)other.st_size, st.st_mode, other.st_mode,
		     (unsigned long)st.st_nlink, (unsigned long)other.st_nlink, (long long)st.st_blocks,
		     (long long)other.st_blocks);
	if (e->dir) {
		if (!S_ISDIR(st.st_mode) || (int)(st.st_mode & 07777) != r->m.dir_mode[e->subdir])
			fail(r, "%s has mode %o", p, st.st_mode);
		if ((int)st.st_nlink != 2 + subdirs(r, e->subdir))
			fail(r, "%s has %lu links, want %d", p, (unsigned long)st.st_nlink,
			     2 + subdirs(r, e->subdir));
		return;
	}
	if ((int)st.st_nlink != e->file->links)
		fail(r, "%s has %lu links, want %d", p, (unsigned long)st.st_nlink, e->file->links);
	if (e->file->symlink) {
		rc = party_readlink(p, target, sizeof(target));
		if (rc < 0)
			fail(r, "readlink %s: %s", p, strerror(-rc));
		if (strcmp(target, e->file->target))
			fail(r, "%s points to %s, want %s", p, target, e->file->target);
		return;
	}
	if (!S_ISREG(st.st_mode) || (int)(st.st_mode & 07777) != e->file->mode)
		fail(r, "%s has mode %o, want %o", p, st.st_mode, e->file->mode);
	if ((size_t)st.st_size != e->file->size)
		fail(r, "%s has size %lld, want %zu", p, (long long)st.st_size, e->file->size);
	check_content(r, p, e->file);
}

static void check_dir(struct run *r, int host, int dir)
{
	bool seen[NAMES] = { false };
	char p[ROOM + 16], names[16384];
	int len, n;

	dir_path(r, host, dir, p, sizeof(p));
	len = party_list(p, names, sizeof(names));
	if (len < 0)
		fail(r, "readdir %s: %s", p, strerror(-len));
	for (char *s = names; s < names + len; s += strlen(s) + 1) {
		if (!strcmp(s, ".") || !strcmp(s, "..") || !strcmp(s, "lost+found"))
			continue;
		if (sscanf(s, "n%d", &n) != 1 || n < 0 || n >= NAMES || seen[n])
			fail(r, "%s lists \"%s\"%s", p, s, " (unknown or twice)");
		seen[n] = true;
	}
	for (n = 0; n < NAMES; n++)
		if (seen[n] != (r->m.at[dir][n].dir || r->m.at[dir][n].file))
			fail(r, "%s/n%d is %slisted", p, n, seen[n] ? "" : "not ");
}

/* ---- operations: each does it on host h and in the model -------------------------- */

static void put_file(struct file *f)
{
	if (f && --f->links == 0) {
		free(f->data);
		free(f);
	}
}

static struct file *new_file(int mode)
{
	struct file *f = calloc(1, sizeof(*f));

	f->links = 1;
	f->mode = mode;
	f->data = calloc(1, MAX_SIZE);
	return f;
}

static bool present(const struct name *e)
{
	return e->dir || e->file;
}

static void op_create(struct run *r, int h, int dir, int n)
{
	struct name *e = &r->m.at[dir][n];
	int mode = 0600 | (int)rnd(r, 64), excl = rnd(r, 2) ? O_EXCL : 0;
	char p[ROOM + 16];

	path(r, h, dir, n, p, sizeof(p));
	snprintf(r->what, sizeof(r->what), "create %.120s excl=%d", p, excl != 0);
	if (!excl && present(e) && (e->dir || e->file->symlink))
		return;
	expect(r, party_create(p, excl, mode), excl && present(e) ? EEXIST : 0);
	if (!present(e))
		e->file = new_file(mode);
}

static void op_mkdir(struct run *r, int h, int dir, int n)
{
	struct name *e = &r->m.at[dir][n];
	int mode = 0700 | (int)rnd(r, 64), sub;
	char p[ROOM + 16];

	for (sub = 1; sub < DIRS && r->m.dir_used[sub]; sub++)
		;
	path(r, h, dir, n, p, sizeof(p));
	snprintf(r->what, sizeof(r->what), "mkdir %.120s", p);
	if (sub == DIRS && !present(e))
		return;
	expect(r, party_mkdir(p, mode), present(e) ? EEXIST : 0);
	if (!present(e)) {
		e->dir = true;
		e->subdir = sub;
		r->m.dir_used[sub] = true;
		r->m.dir_parent[sub] = dir;
		r->m.dir_mode[sub] = mode;
	}
}

static void op_symlink(struct run *r, int h, int dir, int n)
{
	struct name *e = &r->m.at[dir][n];
	char p[ROOM + 16], target[64];

	path(r, h, dir, n, p, sizeof(p));
	snprintf(target, sizeof(target), "to-%u", rnd(r, 1000000));
	snprintf(r->what, sizeof(r->what), "symlink %.120s", p);
	expect(r, party_symlink(target, p), present(e) ? EEXIST : 0);
	if (!present(e)) {
		e->file = new_file(0777);
		e->file->symlink = true;
		strcpy(e->file->target, target);
	}
}

static struct file *regular(struct run *r, int dir, int n)
{
	struct name *e = &r->m.at[dir][n];

	return e->file && !e->file->symlink ? e->file : NULL;
}

static void op_write(struct run *r, int h, int dir, int n)
{
	static uint8_t buf[20000];
	struct file *f = regular(r, dir, n);
	bool append = rnd(r, 3) == 0, sync = rnd(r, 8) == 0;
	size_t len = 1 + rnd(r, rnd(r, 2) ? 200 : sizeof(buf) - 1), off;
	char p[ROOM + 16];

	path(r, h, dir, n, p, sizeof(p));
	if (!f)
		return;
	off = append ? f->size : rnd(r, MAX_SIZE - sizeof(buf));
	if (rnd(r, 2) && !append)
		off = f->size ? rnd(r, (uint32_t)f->size) : 0;
	if (off + len > MAX_SIZE)
		return;
	snprintf(r->what, sizeof(r->what), "write %.120s off=%zu len=%zu append=%d", p, off, len, append);
	for (size_t i = 0; i < len; i++)
		buf[i] = (uint8_t)rnd(r, 256);
	expect(r, party_write(p, append, (int64_t)off, buf, len, sync), 0);
	memcpy(f->data + off, buf, len);
	if (off + len > f->size)
		f->size = off + len;
}

static void op_truncate(struct run *r, int h, int dir, int n)
{
	struct file *f = regular(r, dir, n);
	size_t size = rnd(r, 2) ? rnd(r, MAX_SIZE) : rnd(r, 6000);
	char p[ROOM + 16];

	path(r, h, dir, n, p, sizeof(p));
	if (!f)
		return;
	snprintf(r->what, sizeof(r->what), "truncate %.120s %zu (was %zu)", p, size, f->size);
	expect(r, party_truncate(p, (int64_t)size), 0);
	if (size < f->size)
		memset(f->data + size, 0, f->size - size);
	f->size = size;
}

static void op_chmod(struct run *r, int h, int dir, int n)
{
	struct name *e = &r->m.at[dir][n];
	int mode = 0600 | (int)rnd(r, 64);
	char p[ROOM + 16];

	path(r, h, dir, n, p, sizeof(p));
	snprintf(r->what, sizeof(r->what), "chmod %.120s %o", p, mode);
	if (e->file && e->file->symlink)
		return;
	if (e->dir)
		mode |= 0100;
	expect(r, party_chmod(p, mode), present(e) ? 0 : ENOENT);
	if (e->dir)
		r->m.dir_mode[e->subdir] = mode;
	else if (e->file)
		e->file->mode = mode;
}

static void op_unlink(struct run *r, int h, int dir, int n)
{
	struct name *e = &r->m.at[dir][n];
	char p[ROOM + 16];

	path(r, h, dir, n, p, sizeof(p));
	snprintf(r->what, sizeof(r->what), "unlink %.120s", p);
	expect(r, party_unlink(p), e->dir ? EISDIR : e->file ? 0 : ENOENT);
	if (e->file) {
		put_file(e->file);
		e->file = NULL;
	}
}

static bool is_empty(struct run *r, int dir)
{
	for (int i = 0; i < NAMES; i++)
		if (present(&r->m.at[dir][i]))
			return false;
	return true;
}

static void op_rmdir(struct run *r, int h, int dir, int n)
{
	struct name *e = &r->m.at[dir][n];
	char p[ROOM + 16];
	int want = !present(e) ? ENOENT : !e->dir ? ENOTDIR : is_empty(r, e->subdir) ? 0 : ENOTEMPTY;

	path(r, h, dir, n, p, sizeof(p));
	snprintf(r->what, sizeof(r->what), "rmdir %.120s", p);
	expect(r, party_rmdir(p), want);
	if (!want) {
		r->m.dir_used[e->subdir] = false;
		e->dir = false;
	}
}

static void op_link(struct run *r, int h, int dir, int n, int dir2, int n2)
{
	struct name *e = &r->m.at[dir][n], *t = &r->m.at[dir2][n2];
	char p[ROOM + 16], q[ROOM + 16];

	path(r, h, dir, n, p, sizeof(p));
	path(r, h, dir2, n2, q, sizeof(q));
	snprintf(r->what, sizeof(r->what), "link %.120s %.120s", p, q);
	if (e->dir || (e->file && e->file->symlink))
		return;
	expect(r, party_link(p, q), !e->file ? ENOENT : present(t) ? EEXIST : 0);
	if (e->file && !present(t)) {
		t->file = e->file;
		e->file->links++;
	}
}

static bool inside(struct run *r, int dir, int above)
{
	for (; dir; dir = r->m.dir_parent[dir])
		if (dir == above)
			return true;
	return above == 0;
}

static int rename_result(struct run *r, int dir, int n, int dir2, int n2)
{
	struct name *e = &r->m.at[dir][n], *t = &r->m.at[dir2][n2];

	if (!present(e))
		return ENOENT;
	if (e->dir && inside(r, dir2, e->subdir))
		return EINVAL;
	if (t->dir && inside(r, dir, t->subdir) && t != e)
		return ENOTEMPTY;
	if (e == t || (e->file && e->file == t->file))
		return 0;
	if (t->dir && !e->dir)
		return EISDIR;
	if (e->dir && t->file)
		return ENOTDIR;
	return t->dir && !is_empty(r, t->subdir) ? ENOTEMPTY : 0;
}

static void op_rename(struct run *r, int h, int dir, int n, int dir2, int n2)
{
	struct name *e = &r->m.at[dir][n], *t = &r->m.at[dir2][n2];
	char p[ROOM + 16], q[ROOM + 16];
	int want = rename_result(r, dir, n, dir2, n2);

	path(r, h, dir, n, p, sizeof(p));
	path(r, h, dir2, n2, q, sizeof(q));
	snprintf(r->what, sizeof(r->what), "rename %.120s %.120s", p, q);
	expect(r, party_rename(p, q), want);
	if (want || e == t || (e->file && e->file == t->file))
		return;
	if (t->dir)
		r->m.dir_used[t->subdir] = false;
	put_file(t->file);
	*t = *e;
	e->file = NULL;
	e->dir = false;
	if (t->dir)
		r->m.dir_parent[t->subdir] = dir2;
}

/* ---- the run ------------------------------------------------------------------------- */

static void step(struct run *r)
{
	int h = (int)rnd(r, (uint32_t)r->hosts), h2, dir = any_dir(r), dir2 = any_dir(r);
	int n = (int)rnd(r, NAMES), n2 = (int)rnd(r, NAMES);

	switch (rnd(r, 16)) {
	case 0:
	case 1:
	case 2:
		op_create(r, h, dir, n);
		break;
	case 3:
		op_mkdir(r, h, dir, n);
		break;
	case 4:
		op_symlink(r, h, dir, n);
		break;
	case 5:
	case 6:
	case 7:
	case 8:
		op_write(r, h, dir, n);
		break;
	case 9:
		op_truncate(r, h, dir, n);
		break;
	case 10:
		op_chmod(r, h, dir, n);
		break;
	case 11:
		op_unlink(r, h, dir, n);
		break;
	case 12:
		op_rmdir(r, h, dir, n);
		break;
	case 13:
		op_link(r, h, dir, n, dir2, n2);
		break;
	default:
		op_rename(r, h, dir, n, dir2, n2);
		break;
	}
	/* Another host first: it must see it at once. A directory may be gone by now. */
	h2 = (h + 1 + (int)rnd(r, (uint32_t)r->hosts - 1)) % r->hosts;
	if (r->m.dir_used[dir]) {
		check_name(r, h2, dir, n);
		check_dir(r, h2, dir);
	}
	if (r->m.dir_used[dir2])
		check_name(r, h2, dir2, n2);
	if (r->m.dir_used[dir])
		check_name(r, h, dir, n);
}

static void check_all(struct run *r)
{
	for (int h = 0; h < r->hosts; h++)
		for (int d = 0; d < DIRS; d++) {
			if (!r->m.dir_used[d])
				continue;
			check_dir(r, h, d);
			for (int n = 0; n < NAMES; n++)
				check_name(r, h, d, n);
		}
}

int main(int argc, char **argv)
{
	struct run r = { 0 };
	long ops;

	umask(0);
	if (argc == 3 && !strcmp(argv[1], "serve"))
		return party_serve(atoi(argv[2]));
	if (argc < 5 || argc - 3 > MAX_HOSTS) {
		fprintf(stderr, "usage: coherence SEED OPS DIR DIR...\n");
		return 2;
	}
	r.seed = (unsigned)strtoul(argv[1], NULL, 0);
	r.rng = r.seed * 2654435761u + 1;
	ops = strtol(argv[2], NULL, 0);
	r.root = argv + 3;
	r.hosts = argc - 3;
	r.m.dir_used[0] = true;
	for (r.op = 0; r.op < ops; r.op++)
		step(&r);
	snprintf(r.what, sizeof(r.what), "at the end");
	check_all(&r);
	for (int d = 0; d < DIRS; d++)
		for (int n = 0; n < NAMES; n++)
			put_file(r.m.at[d][n].file);
	printf("seed=%u ops=%ld hosts=%d: all agree\n", r.seed, ops, r.hosts);
	return 0;
}
