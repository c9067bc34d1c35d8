/* SPDX-License-Identifier: GPL-2.0-or-later */
/* load.c: see load.h. */
#include "load.h"
#include "tests/volume/orphans.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SLOTS = 400, DIRS = 4, MAX_SIZE = 60000 };

struct slot {
	int dir;		/* -1: there is no file */
	uint32_t version, size;
	bool durable;		/* the last line of the log says so */
};

struct load {
	struct vol *v;
	int log;
	unsigned seed;
	uint32_t next_version;
	struct vol_inode *dir[DIRS];
	struct slot slot[SLOTS];
	bool any_synced;	/* the log says that something is durable */
	char buf[MAX_SIZE];
};

static unsigned rnd(struct load *l, unsigned n)
{
	return (unsigned)rand_r(&l->seed) % n;
}

/* Content is known from slot, version and offset alone. */
static void pattern(char *buf, unsigned slot, uint32_t version, uint32_t size)
{
	uint32_t x = slot * 2654435761u ^ version;

	for (uint32_t i = 0; i < size; i++) {
		if (i % 512 == 0)
			x = x * 1664525u + 1013904223u;
		buf[i] = (char)((x >> (i % 24)) + i);
	}
}

static size_t slot_name(unsigned slot, char *out, size_t room)
{
	int pad = slot % 10 == 0 ? 100 : 0;

	return (size_t)snprintf(out, room, "f%03u%.*s", slot, pad,
				"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
				"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");
}

/* -ENOENT: not in that directory. */
static int find_slot(struct load *l, unsigned slot, int dir, struct vol_inode **out)
{
	struct vol_found f;
	char name[160];
	int err;

	*out = NULL;
	err = vol_lookup(l->dir[dir], name, slot_name(slot, name, sizeof(name)), &f);
	if (!err)
		err = vol_iget(l->v, f.blkno, out);
	if (!err && !(*out)->loaded)
		err = vol_inode_refresh(*out);
	if (err && *out) {
		vol_iput(*out);
		*out = NULL;
	}
	return err;
}

static int open_dirs(struct load *l, bool create)
{
	struct vol_new what = { .mode = S_IFDIR | 0755 };
	struct vol_found f;
	char name[16];
	int err = 0;

	for (int i = 0; !err && i < DIRS; i++) {
		size_t len = (size_t)snprintf(name, sizeof(name), "load%d", i);

		err = vol_lookup(vol_root(l->v), name, len, &f);
		if (err == -ENOENT && create) {
			err = vol_create(vol_root(l->v), name, len, &what, &l->dir[i]);
			continue;
		}
		if (!err)
			err = vol_iget(l->v, f.blkno, &l->dir[i]);
		if (!err && !l->dir[i]->loaded)
			err = vol_inode_refresh(l->dir[i]);
	}
	return err;
}

static void close_dirs(struct load *l)
{
	for (int i = 0; i < DIRS; i++)
		if (l->dir[i])
			vol_iput(l->dir[i]);
}

/* ---- the log ---------------------------------------------------------------------------- */

static int say(struct load *l, const char *line)
{
	size_t len = strlen(line);

	return write(l->log, line, len) == (ssize_t)len ? 0 : -EIO;
}

/* Before slot changes. */
static int touched(struct load *l, unsigned slot)
{
	char line[64];

	if (!l->slot[slot].durable)
		return 0;
	l->slot[slot].durable = false;
	snprintf(line, sizeof(line), "M %u .\n", slot);
	return say(l, line);
}

static int durable(struct load *l, unsigned slot)
{
	const struct slot *s = &l->slot[slot];
	char line[64];

	l->slot[slot].durable = true;
	snprintf(line, sizeof(line), "S %u %d %u %u .\n", slot, s->dir, s->version, s->size);
	return say(l, line);
}

/* The last word on each slot. Lines end in a dot; one that the kill cut short does not. */
static int read_log(struct load *l, const char *path)
{
	FILE *f = fopen(path, "r");
	char line[128], dot[2];

	for (unsigned i = 0; i < SLOTS; i++)
		l->slot[i] = (struct slot){ .dir = -1, .durable = true };
	if (!f)
		return errno == ENOENT ? 0 : -errno;
	while (fgets(line, sizeof(line), f)) {
		unsigned slot, version, size;
		int dir;

		if (sscanf(line, "M %u %1[.]", &slot, dot) == 2 && slot < SLOTS) {
			l->slot[slot].durable = false;
		} else if (sscanf(line, "S %u %d %u %u %1[.]", &slot, &dir, &version, &size,
				  dot) == 5 && slot < SLOTS && dir < DIRS && size <= MAX_SIZE) {
			l->slot[slot] = (struct slot){ dir, version, size, true };
			l->any_synced = true;
			if (version >= l->next_version)
				l->next_version = version + 1;
		}
	}
	fclose(f);
	return 0;
}

/* ---- operations --------------------------------------------------------------------------- */

/* Wherever it is now, whatever the log knows. */
static int locate(struct load *l, unsigned slot)
{
	struct slot *s = &l->slot[slot];
	struct vol_inode *inode;

	s->dir = -1;
	for (int d = 0; d < DIRS; d++) {
		int err = find_slot(l, slot, d, &inode);

		if (!err) {
			s->dir = d;
			s->size = (uint32_t)inode->size;
			vol_iput(inode);
		} else if (err != -ENOENT) {
			return err;
		}
	}
	return 0;
}

static int remove_file(struct load *l, unsigned slot)
{
	struct vol_inode *inode;
	char name[160];
	int err;

	err = find_slot(l, slot, l->slot[slot].dir, &inode);
	if (err)
		return err;
	err = vol_unlink(l->dir[l->slot[slot].dir], name, slot_name(slot, name, sizeof(name)), inode);
	if (!err)
		err = vol_wipe(inode);
	vol_iput(inode);
	l->slot[slot].dir = -1;
	return err;
}

static int write_file(struct load *l, unsigned slot, bool sync)
{
	struct slot *s = &l->slot[slot];
	struct vol_new what = { .mode = S_IFREG | 0644 };
	struct vol_inode *inode;
	uint64_t at = 0;
	char name[160];
	size_t done;
	int err;

	s->version = l->next_version++;
	s->size = rnd(l, 3) ? rnd(l, 3000) + 1 : rnd(l, MAX_SIZE) + 1;
	if (s->dir < 0) {
		s->dir = (int)rnd(l, DIRS);
		err = vol_create(l->dir[s->dir], name, slot_name(slot, name, sizeof(name)), &what,
				 &inode);
		if (err)
			s->dir = -1;
	} else {
		err = find_slot(l, slot, s->dir, &inode);
		if (!err)
			err = vol_truncate(inode, 0);
	}
	if (err)
		return err;
	pattern(l->buf, slot, s->version, s->size);
	err = vol_write(inode, l->buf, s->size, &at, false, false, &done);
	if (!err && done != s->size)
		err = -ENOSPC;
	if (!err && sync)
		err = vol_fsync(inode, false);
	vol_iput(inode);
	return !err && sync ? durable(l, slot) : err;
}

static int move_file(struct load *l, unsigned slot)
{
	struct slot *s = &l->slot[slot];
	int to = (int)rnd(l, DIRS);
	char name[160];
	struct vol_rename r = {
		.old_dir = l->dir[s->dir], .new_dir = l->dir[to], .old_name = name, .new_name = name,
	};
	int err;

	if (to == s->dir)
		return 0;
	r.old_len = r.new_len = slot_name(slot, name, sizeof(name));
	err = find_slot(l, slot, s->dir, &r.inode);
	if (err)
		return err;
	err = vol_rename(&r);
	if (!err) {
		s->dir = to;
		err = vol_fsync(r.inode, false);
	}
	vol_iput(r.inode);
	return err ? err : durable(l, slot);
}

static int sync_all(struct load *l)
{
	int err = vol_sync(l->v);

	for (unsigned i = 0; !err && i < SLOTS; i++)
		if (!l->slot[i].durable)
			err = durable(l, i);
	return err;
}

/* The volume is full, which a fast machine reaches before the kill: no failure of the load. */
static int make_room(struct load *l, unsigned slot)
{
	int err = 0;

	for (unsigned i = 0; i < SLOTS / 4 && !err; i++, slot = (slot + 1) % SLOTS)
		if (l->slot[slot].dir >= 0) {
			err = touched(l, slot);
			if (!err)
				err = remove_file(l, slot);
		}
	return err;
}

static int one_op(struct load *l)
{
	unsigned slot = rnd(l, SLOTS), op = rnd(l, 100);
	int err;

	if (op == 99)
		return sync_all(l);
	err = touched(l, slot);
	if (err)
		return err;
	/* What is not durable has no known version, so it is written anew. */
	if (l->slot[slot].dir < 0 || op < 50)
		err = write_file(l, slot, op % 3 == 0);
	else if (op < 75 && l->slot[slot].version)
		err = move_file(l, slot);
	else
		err = remove_file(l, slot);
	return err == -ENOSPC ? make_room(l, slot) : err;
}

static struct load *load_new(struct vol *v, const char *log_path, bool create, int *err)
{
	struct load *l = calloc(1, sizeof(*l));

	if (!l) {
		*err = -ENOMEM;
		return NULL;
	}
	l->v = v;
	l->next_version = 1;
	l->log = -1;
	*err = read_log(l, log_path);
	if (!*err)
		*err = open_dirs(l, create);
	return l;
}

static void load_free(struct load *l)
{
	close_dirs(l);
	if (l->log >= 0)
		close(l->log);
	free(l);
}

int load_run(struct vol *v, const char *log_path, unsigned seed, unsigned ops)
{
	struct load *l;
	int err;

	l = load_new(v, log_path, true, &err);
	if (!l)
		return err;
	l->seed = seed;
	l->log = open(log_path, O_WRONLY | O_APPEND | O_CREAT, 0600);
	if (!err && l->log < 0)
		err = -errno;
	if (!err)
		err = say(l, "\n"); /* away from a line that the last kill cut short */
	if (!err)
		err = orphans_wipe(l->v);
	for (unsigned i = 0; !err && i < SLOTS; i++) {
		if (l->slot[i].durable)
			continue;
		err = locate(l, i);
		l->slot[i].version = 0;
		if (!err && l->slot[i].dir >= 0)
			err = remove_file(l, i);
	}
	if (!err)
		err = sync_all(l);
	for (unsigned i = 0; !err && i < ops; i++)
		err = one_op(l);
	load_free(l);
	return err;
}

/* ---- verification -------------------------------------------------------------------------- */

static int verify_content(struct load *l, unsigned slot, struct vol_inode *inode)
{
	const struct slot *s = &l->slot[slot];
	char *want = malloc(s->size + 1);
	size_t got = 0;
	int bad;

	if (!want)
		return -ENOMEM;
	pattern(want, slot, s->version, s->size);
	bad = inode->size != s->size || vol_read(inode, l->buf, s->size, 0, &got) ||
	      got != s->size || memcmp(l->buf, want, s->size) != 0;
	if (bad)
		fprintf(stderr, "slot %u version %u: content is not what was synced (size %llu, want "
			"%u)\n", slot, s->version, (unsigned long long)inode->size, s->size);
	free(want);
	return bad;
}

static int verify_slots(struct load *l)
{
	int err, bad = 0, found;

	for (unsigned i = 0; i < SLOTS; i++) {
		const struct slot *s = &l->slot[i];

		found = 0;
		for (int d = 0; d < DIRS; d++) {
			struct vol_inode *inode;

			err = find_slot(l, i, d, &inode);
			found += !err;
			if (err && err != -ENOENT) {
				fprintf(stderr, "slot %u: dir %d errno %d\n", i, d, -err);
				bad++;
			} else if (s->durable && (err == 0) != (d == s->dir)) {
				fprintf(stderr, "slot %u: dir %d errno %d, synced in dir %d\n", i, d,
					-err, s->dir);
				bad++;
			} else if (s->durable && !err) {
				bad += verify_content(l, i, inode) != 0;
			}
			if (inode)
				vol_iput(inode);
		}
		if (found > 1) {
			fprintf(stderr, "slot %u: half a rename: it is in %d directories\n", i,
				found);
			bad++;
		}
	}
	return bad;
}

int load_verify(struct vol *v, const char *log_path)
{
	struct load *l;
	int err;

	l = load_new(v, log_path, false, &err);
	if (!l)
		return err;
	if (err == -ENOENT && !l->any_synced)
		err = 0;	/* killed before the directories were durable */
	else if (!err)
		err = verify_slots(l);
	load_free(l);
	return err;
}
