/* SPDX-License-Identifier: GPL-2.0-or-later */
/* volsh_load.c: a load to be killed, and large directories. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "tests/volume/load.h"
#include "tests/volume/volsh.h"

static int do_load(struct volsh *sh, char **w, unsigned n)
{
	(void)n;
	return load_run(sh->v, w[0], (unsigned)atoi(w[1]), (unsigned)atoi(w[2]));
}

static int do_verify(struct volsh *sh, char **w, unsigned n)
{
	int bad = load_verify(sh->v, w[0]);

	(void)n;
	if (bad > 0)
		printf("loadcheck: %d contradictions\n", bad);
	return bad > 0 ? -EUCLEAN : bad;
}

/* ---- large directories ---------------------------------------------------------------- */

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

struct big {
	struct volsh *sh;
	struct vol_inode *dir;
	unsigned count, listed, room;
	uint64_t pos;
};

static size_t big_name(unsigned i, char *out)
{
	return (size_t)sprintf(out, "entry-%08u", i * 2654435761u % 100000000u);
}

static int big_create(struct big *b, unsigned i)
{
	struct vol_new what = { .mode = S_IFREG | 0644 };
	struct vol_inode *inode;
	char name[32];
	size_t len = big_name(i, name);
	int err;

	err = vol_create(b->dir, name, len, &what, &inode);
	if (!err)
		vol_iput(inode);
	return err;
}

static int big_lookup(struct big *b, unsigned i)
{
	struct vol_found f;
	char name[32];

	return vol_lookup(b->dir, name, big_name(i, name), &f);
}

static int big_delete(struct big *b, unsigned i)
{
	struct vol_inode *inode;
	struct vol_found f;
	char name[32];
	size_t len = big_name(i, name);
	int err;

	err = vol_lookup(b->dir, name, len, &f);
	if (!err)
		err = vol_iget(b->sh->v, f.blkno, &inode);
	if (err)
		return err;
	if (!inode->loaded)
		err = vol_inode_refresh(inode);
	if (!err)
		err = vol_unlink(b->dir, name, len, inode);
	if (!err)
		err = vol_wipe(inode);
	vol_iput(inode);
	return err;
}

static bool big_entry(void *ctx, const char *name, size_t len, blkno_t blkno, uint8_t type,
		      uint64_t next)
{
	struct big *b = ctx;

	(void)name, (void)len, (void)blkno, (void)type;
	if (b->room == 0)
		return false;
	b->room--;
	b->listed++;
	b->pos = next;
	return true;
}

static int big_list(struct big *b)
{
	unsigned before;
	int err;

	b->listed = 0;
	b->pos = 0;
	do {
		before = b->listed;
		b->room = 100;
		err = vol_readdir(b->dir, b->pos, big_entry, b);
	} while (!err && b->listed > before);
	if (!err && b->listed != b->count + 2) {
		printf("big: listed %u of %u entries\n", b->listed, b->count + 2);
		err = -EUCLEAN;
	}
	return err;
}

static int each(struct big *b, int (*fn)(struct big *, unsigned), const char *what)
{
	double start = now();
	int err = 0;

	for (unsigned i = 0; !err && i < b->count; i++)
		err = fn(b, i);
	if (!err)
		err = vol_sync(b->sh->v);
	printf("big: %s %u in %.2f s\n", what, b->count, now() - start);
	return err;
}

/* bigdir PATH COUNT: create, look up, list, and with "delete" remove that many. */
static int do_bigdir(struct volsh *sh, char **w, unsigned n)
{
	struct big b = { .sh = sh, .count = (unsigned)atoi(w[1]) };
	double start;
	int err;

	err = volsh_find(sh, w[0], &b.dir);
	if (err)
		return err;
	if (n == 2) {
		err = each(&b, big_create, "create");
		if (!err)
			err = each(&b, big_lookup, "lookup");
		start = now();
		if (!err)
			err = big_list(&b);
		printf("big: readdir %u in %.2f s\n", b.count, now() - start);
	} else {
		err = each(&b, big_delete, "delete");
	}
	vol_iput(b.dir);
	return err;
}

const struct volsh_command volsh_load[] = {
	{ "load", "LOG SEED OPS", 3, 3, do_load },
	{ "loadcheck", "LOG", 1, 1, do_verify },
	{ "bigdir", "PATH COUNT [delete]", 2, 3, do_bigdir },
	{ 0 },
};
