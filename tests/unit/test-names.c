/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test-names.c: names under threads and damage, and the order of locks that a cluster
 * depends on.
 */
#include <pthread.h>

#include "dir-image.h"
#include "fs/volume/dir_int.h"

#define OPTIONS "-b 4K -C 4K -N 2 -J size=4M "

static struct vol_inode *make(struct vol_inode *dir, const char *name, uint16_t mode)
{
	struct vol_new what = { .mode = mode };
	struct vol_inode *inode = NULL;
	int err = vol_create(dir, name, strlen(name), &what, &inode);

	cr_assert_eq(err, 0, "create %s: %d", name, err);
	return inode;
}

static int get(struct vol *v, struct vol_inode *dir, const char *name, struct vol_inode **out)
{
	struct vol_found f;
	int err = vol_lookup(dir, name, strlen(name), &f);

	*out = NULL;
	if (!err)
		err = vol_iget(v, f.blkno, out);
	if (!err && !(*out)->loaded)
		err = vol_inode_refresh(*out);
	if (err && *out) {
		vol_iput(*out);
		*out = NULL;
	}
	return err;
}

/* ---- the order of locks ------------------------------------------------------------------ */

struct order {
	struct image *im;
	unsigned depth, max_depth;
	int held[8];
	unsigned long taken;
};

/* vol_int.h: orphan_dir, inode_alloc, extent_alloc, truncate log, (local alloc), bitmap. */
static int rank_of(struct order *o, struct vol_inode *inode)
{
	static const enum vol_sysfile types[] = {
		VOL_SYS_ORPHAN_DIR, VOL_SYS_INODE_ALLOC, VOL_SYS_EXTENT_ALLOC,
		VOL_SYS_TRUNCATE_LOG, VOL_SYS_LOCAL_ALLOC, VOL_SYS_GLOBAL_BITMAP,
	};

	for (int t = 0; t < 6; t++)
		for (unsigned slot = 0; slot < 2; slot++)
			if (vol_sys_inode(inode->vol, types[t], slot) == inode)
				return t;
	(void)o;
	return -1;
}

static int take(void *ctx, struct vol_inode *inode, bool ex)
{
	struct order *o = ctx;
	int rank = rank_of(o, inode);

	(void)ex;
	cr_assert_geq(rank, 0, "inode %llu", (unsigned long long)inode->blkno);
	for (unsigned i = 0; i < o->depth; i++)
		cr_assert_lt(o->held[i], rank, "%d is taken while %d is held", rank, o->held[i]);
	cr_assert_lt(o->depth, 8);
	o->held[o->depth++] = rank;
	o->taken++;
	if (o->depth > o->max_depth)
		o->max_depth = o->depth;
	return 0;
}

static void give(void *ctx, struct vol_inode *inode, bool ex)
{
	struct order *o = ctx;
	int rank = rank_of(o, inode);
	unsigned i = 0;

	(void)ex;
	while (i < o->depth && o->held[i] != rank)
		i++;
	cr_assert_lt(i, o->depth, "%d is given back but not held", rank);
	for (; i + 1 < o->depth; i++)
		o->held[i] = o->held[i + 1];
	o->depth--;
}

static const struct vol_hooks order_hooks = { .sys_lock = take, .sys_unlock = give };

Test(names, allocators_are_locked_in_one_order_and_given_back)
{
	struct image im;
	struct order o = { .im = &im };
	struct vol_inode *root, *dir, *inode, *other;
	struct vol_rename r;
	char name[200], target[4000];
	struct vol_new what = { .mode = S_IFLNK | 0777, .target = target };
	unsigned long before;

	image_make(&im, 200, OPTIONS "--fs-features=metaecc");
	im.hooks = &order_hooks;
	im.hooks_ctx = &o;
	im.localalloc_mb = 0;	/* the bitmap itself each time */
	image_open(&im);
	memset(target, 't', sizeof(target));
	target[3999] = 0;
	root = vol_root(im.vol);
	cr_assert_eq(vol_inode_refresh(root), 0); /* in a cluster its lock comes first */
	dir = make(root, "dir", S_IFDIR | 0755);
	before = o.taken;
	for (int i = 0; i < 600; i++) {
		snprintf(name, sizeof(name), "%0100d", i);
		if (i % 10 == 0)
			cr_assert_eq(vol_create(dir, name, 100, &what, &inode), 0);
		else
			inode = make(dir, name, i % 10 == 1 ? S_IFDIR | 0755 : S_IFREG | 0644);
		cr_assert_eq(o.depth, 0);
		vol_iput(inode);
	}
	cr_assert_gt(o.taken, before);
	for (int i = 0; i + 10 < 600; i += 20) {
		char to[200];

		snprintf(name, sizeof(name), "%0100d", i + 2);
		snprintf(to, sizeof(to), "%0100d", i + 12);
		cr_assert_eq(get(im.vol, dir, name, &inode), 0);
		cr_assert_eq(get(im.vol, dir, to, &other), 0);
		r = (struct vol_rename){ dir, dir, name, to, 100, 100, inode, other };
		cr_assert_eq(vol_rename(&r), 0);
		cr_assert_eq(o.depth, 0);
		cr_assert_eq(vol_wipe(other), 0);
		cr_assert_eq(o.depth, 0);
		vol_iput(inode);
		vol_iput(other);
	}
	for (int i = 0; i < 600; i++) {
		snprintf(name, sizeof(name), "%0100d", i);
		if (get(im.vol, dir, name, &inode))
			continue;
		cr_assert_eq(vol_unlink(dir, name, 100, inode), 0);
		cr_assert_eq(vol_wipe(inode), 0);
		cr_assert_eq(o.depth, 0);
		vol_iput(inode);
	}
	cr_assert_eq(vol_unlink(root, "dir", 3, dir), 0);
	cr_assert_eq(vol_wipe(dir), 0);
	cr_assert_eq(o.depth, 0);
	cr_assert_gt(o.max_depth, 1, "nothing was nested: the test proves nothing");
	vol_iput(dir);
	image_close(&im, false);
	image_free(&im);
}

/* ---- threads ------------------------------------------------------------------------------- */

#define THREADS 4

struct worker {
	struct vol *v;
	struct vol_inode *dir[3];
	unsigned id, seed, steps;
	int balance;		/* names made minus names removed by this thread */
	int err;
};

static bool count_entry(void *ctx, const char *name, size_t len, blkno_t blkno, uint8_t type,
			uint64_t next)
{
	(void)name, (void)len, (void)blkno, (void)type, (void)next;
	++*(unsigned *)ctx;
	return true;
}

/* Each works on names of its own in directories of all: the blocks are shared. */
static int work_step(struct worker *w)
{
	unsigned k = (unsigned)rand_r(&w->seed) % 60, op = (unsigned)rand_r(&w->seed) % 10;
	struct vol_inode *dir = w->dir[k % 3], *inode = NULL, *to = w->dir[(k + 1) % 3];
	struct vol_new what = { .mode = op == 0 ? S_IFDIR | 0755 : S_IFREG | 0644 };
	char name[64], other[64];
	unsigned n = 0;
	int err;

	snprintf(name, sizeof(name), "worker-%u-name-%u", w->id, k);
	snprintf(other, sizeof(other), "worker-%u-moved-%u", w->id, k);
	err = get(w->v, dir, name, &inode);
	if (err == -ENOENT) {
		err = vol_create(dir, name, strlen(name), &what, &inode);
		w->balance += !err;
	} else if (!err && op < 4) {
		err = vol_unlink(dir, name, strlen(name), inode);
		w->balance -= !err;
		if (!err)
			err = vol_wipe(inode);
	} else if (!err && op < 7) {
		struct vol_inode *target = NULL;
		struct vol_rename r;

		if (get(w->v, to, other, &target))
			target = NULL;
		r = (struct vol_rename){ dir, to, name, other, strlen(name), strlen(other), inode,
					 target };
		err = vol_rename(&r);
		if (err == -ENOTDIR || err == -EISDIR)
			err = 0;
		else if (!err && target) {
			w->balance--;
			err = vol_wipe(target);
		}
		if (target)
			vol_iput(target);
	} else if (!err) {
		err = vol_readdir(dir, 0, count_entry, &n);
	}
	if (inode)
		vol_iput(inode);
	return err;
}

static void *work(void *arg)
{
	struct worker *w = arg;

	for (unsigned i = 0; !w->err && i < w->steps; i++)
		w->err = work_step(w);
	return NULL;
}

Test(names, threads_share_directories)
{
	struct worker w[THREADS];
	pthread_t t[THREADS];
	struct image im;
	unsigned listed = 0;
	int balance = 0;
	blkno_t sysdir;

	image_make(&im, 200, OPTIONS);
	image_open(&im);
	sysdir = vol_info(im.vol)->sysdir_blkno;
	for (unsigned i = 0; i < THREADS; i++) {
		w[i] = (struct worker){ .v = im.vol, .id = i, .seed = i + 1, .steps = 600 };
		for (int d = 0; d < 3; d++) {
			char name[8];

			snprintf(name, sizeof(name), "d%d", d);
			if (i == 0)
				w[i].dir[d] = make(vol_root(im.vol), name, S_IFDIR | 0755);
			else
				w[i].dir[d] = w[0].dir[d];
		}
	}
	for (int i = 0; i < THREADS; i++)
		cr_assert_eq(pthread_create(&t[i], NULL, work, &w[i]), 0);
	for (int i = 0; i < THREADS; i++) {
		pthread_join(t[i], NULL);
		cr_expect_eq(w[i].err, 0, "worker %d: %d", i, w[i].err);
		balance += w[i].balance;
	}
	for (int d = 0; d < 3; d++) {
		cr_assert_eq(vol_readdir(w[0].dir[d], 0, count_entry, &listed), 0);
		vol_iput(w[0].dir[d]);
	}
	cr_assert_eq((int)listed - 6, balance);
	image_close(&im, false);
	image_check(&im, sysdir);
	image_free(&im);
}

/* ---- damage -------------------------------------------------------------------------------- */

struct blocks {
	blkno_t at[2000];
	unsigned n;
};

static bool touch_entry(void *ctx, const char *name, size_t len, blkno_t blkno, uint8_t type,
			uint64_t next)
{
	uint64_t *last = ctx;

	(void)blkno, (void)type;
	cr_assert_gt(next, *last, "a listing goes forward");
	cr_assert(memchr(name, '/', len) == NULL);
	*last = next;
	return true;
}

/* Nothing here may crash, hang, or write outside its buffers; errors are right. */
static void use_damaged(struct image *im, unsigned *seed)
{
	struct vol_inode *dir, *inode;
	char name[64];
	uint64_t last = 0;
	bool replayed;
	struct reason why = { 0 };
	struct vol_opts opts = { .localalloc_mb = 0, .errors = im->errors };

	cr_assert_eq(blockdev_open(im->path, 0, &im->dev, &why), 0);
	if (vol_open(im->dev, &opts, &im->vol, &why) != 0) {
		blockdev_close(im->dev);
		return;
	}
	if (vol_slot_start(im->vol, 0, &replayed, &why) != 0) {
		vol_close(im->vol);
		blockdev_close(im->dev);
		return;
	}
	if (get(im->vol, vol_root(im->vol), "dir", &dir) == 0) {
		(void)!vol_readdir(dir, 0, touch_entry, &last);
		for (int i = 0; i < 40; i++) {
			unsigned k = (unsigned)rand_r(seed) % 700;
			struct vol_new what = { .mode = S_IFREG | 0644 };

			snprintf(name, sizeof(name), "name-%u", k);
			if (get(im->vol, dir, name, &inode) == 0) {
				if (i % 3 == 0 && vol_unlink(dir, name, strlen(name), inode) == 0)
					(void)!vol_wipe(inode);
				vol_iput(inode);
			} else if (vol_create(dir, name, strlen(name), &what, &inode) == 0) {
				vol_iput(inode);
			}
		}
		vol_iput(dir);
	}
	(void)!vol_slot_stop(im->vol, true);
	vol_close(im->vol);
	blockdev_close(im->dev);
}

/* Blocks that hold the directory, by what their bytes say. */
static void find_blocks(const uint8_t *all, size_t len, struct blocks *b)
{
	for (size_t at = 0; at + 4096 <= len; at += 4096) {
		const uint8_t *p = all + at;

		if ((memcmp(p, "DXDIR01", 8) == 0 || memcmp(p, "DXLEAF1", 8) == 0 ||
		     memcmp(p + 4096 - 64 + 16, "DIRTRL1", 8) == 0) && b->n < 2000)
			b->at[b->n++] = at / 4096;
	}
}

static void damage(const char *options, unsigned names, unsigned rounds)
{
	struct blocks *b = calloc(1, sizeof(*b));
	size_t len = (size_t)40 << 20;
	uint8_t *all = malloc(len);
	struct vol_inode *dir;
	struct image im;
	unsigned seed = getenv("SEED") ? (unsigned)atoi(getenv("SEED")) : 3;
	char name[64];

	image_make(&im, 40, options);
	im.errors = VOL_ERRORS_CONTINUE;
	image_open(&im);
	dir = make(vol_root(im.vol), "dir", S_IFDIR | 0755);
	for (unsigned i = 0; i < names; i++) {
		snprintf(name, sizeof(name), "name-%u", i);
		vol_iput(make(dir, name, S_IFREG | 0644));
	}
	vol_iput(dir);
	image_close(&im, false);
	cr_assert_eq(pread(im.fd, all, len, 0), (ssize_t)len);
	find_blocks(all, len, b);
	cr_assert_gt(b->n, 3);
	if (getenv("ROUNDS"))
		rounds = (unsigned)atoi(getenv("ROUNDS"));
	for (unsigned r = 0; r < rounds; r++) {
		unsigned flips = 1 + (unsigned)rand_r(&seed) % 4;

		for (unsigned f = 0; f < flips; f++) {
			off_t at = (off_t)b->at[(unsigned)rand_r(&seed) % b->n] * 4096;
			uint8_t byte = (uint8_t)rand_r(&seed);

			/* Headers more often than the middle of a block. */
			at += rand_r(&seed) % 2 ? rand_r(&seed) % 4096 : rand_r(&seed) % 160;
			cr_assert_eq(pwrite(im.fd, &byte, 1, at), 1);
		}
		use_damaged(&im, &seed);
		cr_assert_eq(pwrite(im.fd, all, len, 0), (ssize_t)len);
	}
	image_free(&im);
	free(all);
	free(b);
}

Test(names, a_damaged_indexed_directory_gives_errors_and_nothing_worse)
{
	damage("-b 4K -C 4K -N 1 -J size=4M", 700, 120);
}

Test(names, a_damaged_index_in_one_block_gives_errors_and_nothing_worse)
{
	damage("-b 4K -C 4K -N 1 -J size=4M --fs-features=noinline-data", 60, 60);
}

/* ---- limits ---------------------------------------------------------------------------------- */

Test(names, lengths_and_bytes_of_names)
{
	struct vol_new what = { .mode = S_IFREG | 0644 };
	struct vol_inode *root, *inode;
	struct vol_found f;
	char name[300];
	struct image im;
	blkno_t sysdir;

	image_make(&im, 100, OPTIONS);
	image_open(&im);
	sysdir = vol_info(im.vol)->sysdir_blkno;
	root = vol_root(im.vol);
	memset(name, 'n', sizeof(name));
	cr_assert_eq(vol_create(root, name, 256, &what, &inode), -ENAMETOOLONG);
	cr_assert_eq(vol_lookup(root, name, 256, &f), -ENAMETOOLONG);
	cr_assert_eq(vol_create(root, name, 0, &what, &inode), -EINVAL);
	cr_assert_eq(vol_create(root, ".", 1, &what, &inode), -EEXIST);
	cr_assert_eq(vol_create(root, "..", 2, &what, &inode), -EEXIST);
	cr_assert_eq(vol_create(root, "a/b", 3, &what, &inode), -EINVAL);
	cr_assert_eq(vol_create(root, "a\0b", 3, &what, &inode), -EINVAL);
	cr_assert_eq(vol_create(root, name, 255, &what, &inode), 0);
	vol_iput(inode);
	cr_assert_eq(vol_lookup(root, name, 255, &f), 0);
	cr_assert_eq(vol_lookup(root, name, 254, &f), -ENOENT);
	cr_assert_eq(vol_create(root, "x", 1, &what, &inode), 0);
	cr_assert_eq(vol_lookup(inode, "y", 1, &f), -ENOTDIR);
	cr_assert_eq(vol_create(inode, "y", 1, &what, &inode), -ENOTDIR);
	vol_iput(inode);
	what = (struct vol_new){ .mode = S_IFLNK | 0777, .target = "" };
	cr_assert_eq(vol_create(root, "l", 1, &what, &inode), -ENOENT);
	image_close(&im, false);
	image_check(&im, sysdir);
	image_free(&im);
}

Test(names, link_counts_have_a_limit)
{
	struct vol_inode *root, *file, *dir;
	struct image im;

	image_make(&im, 100, OPTIONS "--fs-features=noindexed-dirs");
	image_open(&im);
	root = vol_root(im.vol);
	file = make(root, "file", S_IFREG | 0644);
	dir = make(root, "dir", S_IFDIR | 0755);
	file->nlink = 31999;
	cr_assert_eq(vol_link(root, "last", 4, file), 0);
	cr_assert_eq(vol_link(root, "more", 4, file), -EMLINK);
	dir->nlink = 32000;
	{
		struct vol_new what = { .mode = S_IFDIR | 0755 };
		struct vol_inode *inode;

		cr_assert_eq(vol_create(dir, "sub", 3, &what, &inode), -EMLINK);
	}
	vol_iput(file);
	vol_iput(dir);
	image_close(&im, false);
	image_free(&im);
}

Test(names, a_removed_directory_takes_no_names)
{
	struct vol_new what = { .mode = S_IFREG | 0644 };
	struct vol_inode *root, *dir, *file, *inode;
	struct vol_rename r;
	struct image im;
	blkno_t sysdir;

	image_make(&im, 100, OPTIONS);
	image_open(&im);
	sysdir = vol_info(im.vol)->sysdir_blkno;
	root = vol_root(im.vol);
	dir = make(root, "dir", S_IFDIR | 0755);
	file = make(root, "file", S_IFREG | 0644);
	cr_assert_eq(vol_unlink(root, "dir", 3, dir), 0);
	cr_assert_eq(vol_create(dir, "x", 1, &what, &inode), -ENOENT);
	cr_assert_eq(vol_link(dir, "x", 1, file), -ENOENT);
	r = (struct vol_rename){ root, dir, "file", "x", 4, 1, file, NULL };
	cr_assert_eq(vol_rename(&r), -ENOENT);
	cr_assert_eq(vol_unlink(root, "dir", 3, dir), -ENOENT);
	cr_assert_eq(vol_wipe(dir), 0);
	vol_iput(dir);
	vol_iput(file);
	image_close(&im, false);
	image_check(&im, sysdir);
	image_free(&im);
}

Test(names, a_read_only_volume_refuses_and_stays_as_it_is)
{
	struct vol_new what = { .mode = S_IFREG | 0644 };
	struct vol_inode *root, *file, *inode;
	struct vol_found f;
	struct image im;
	blkno_t sysdir;

	image_make(&im, 100, OPTIONS);
	image_open(&im);
	sysdir = vol_info(im.vol)->sysdir_blkno;
	root = vol_root(im.vol);
	file = make(root, "file", S_IFREG | 0644);
	cr_assert_eq(vol_set_readonly(im.vol, true), 0);
	cr_assert_eq(vol_create(root, "x", 1, &what, &inode), -EROFS);
	cr_assert_eq(vol_unlink(root, "file", 4, file), -EROFS);
	cr_assert_eq(vol_link(root, "again", 5, file), -EROFS);
	cr_assert_eq(vol_lookup(root, "file", 4, &f), 0);
	cr_assert_eq(file->nlink, 1);
	cr_assert_eq(vol_set_readonly(im.vol, false), 0);
	cr_assert_eq(vol_unlink(root, "file", 4, file), 0);
	cr_assert_eq(vol_wipe(file), 0);
	vol_iput(file);
	image_close(&im, false);
	image_check(&im, sysdir);
	image_free(&im);
}

/* Create until there is no room, remove half, go on. */
static void fill_up(const char *options, uint16_t mode)
{
	struct vol_new what = { .mode = mode, .target = NULL };
	struct vol_inode *root, *inode;
	char name[300], target[4000];
	unsigned n = 0, full = 0;
	struct image im;
	blkno_t sysdir;
	int err;

	memset(target, 't', sizeof(target));
	target[3999] = 0;
	what.target = target;
	image_make(&im, 40, options);
	image_open(&im);
	sysdir = vol_info(im.vol)->sysdir_blkno;
	root = vol_root(im.vol);
	for (int round = 0; round < 3; round++) {
		for (err = 0; !err; n += !err) {
			snprintf(name, sizeof(name), "%0200u", n);
			err = vol_create(root, name, 200, &what, &inode);
			if (!err)
				vol_iput(inode);
		}
		cr_assert_eq(err, -ENOSPC, "create %u: %d", n, err);
		cr_assert(!vol_is_stopped(im.vol));
		full = n;
		for (unsigned k = 0; k < full; k += 2) {
			snprintf(name, sizeof(name), "%0200u", k);
			if (get(im.vol, root, name, &inode))
				continue;
			err = vol_unlink(root, name, 200, inode);
			cr_assert(err == 0 || err == -ENOSPC, "unlink %d", err);
			if (!err)
				cr_assert_eq(vol_wipe(inode), 0);
			vol_iput(inode);
		}
		cr_assert_eq(vol_tl_flush(im.vol), 0);
	}
	cr_assert(!vol_is_stopped(im.vol));
	image_close(&im, false);
	image_check(&im, sysdir);
	image_free(&im);
}

Test(names, a_full_volume_refuses_files_and_stays_whole)
{
	fill_up("-b 4K -C 4K -N 1 -J size=4M", S_IFREG | 0644);
}

Test(names, a_full_volume_refuses_directories_and_stays_whole)
{
	fill_up("-b 4K -C 4K -N 1 -J size=4M --fs-features=noinline-data", S_IFDIR | 0755);
}

Test(names, a_full_volume_refuses_links_and_stays_whole)
{
	fill_up("-b 1K -C 4K -N 1 -J size=4M --fs-features=nodiscontig-bg", S_IFLNK | 0777);
}

/* ---- the other hash -------------------------------------------------------------------------- */

Test(names, names_indexed_by_unsigned_bytes_are_found_and_removed)
{
	static const char name[] = "caf\xc3\xa9";
	struct dx_hash as_signed, as_unsigned;
	struct vol_inode *root, *dir, *file;
	struct vol_new what = { .mode = S_IFREG | 0644 };
	struct dx_place place;
	struct jhandle *h;
	struct vol_found f;
	struct image im;
	blkno_t sysdir;
	unsigned moved = 0;

	image_make(&im, 100, OPTIONS "--fs-features=noinline-data");
	image_open(&im);
	sysdir = vol_info(im.vol)->sysdir_blkno;
	root = vol_root(im.vol);
	dir = make(root, "dir", S_IFDIR | 0755);
	file = make(dir, name, S_IFREG | 0644);
	as_signed = dx_name_hash(im.vol, name, strlen(name), false);
	as_unsigned = dx_name_hash(im.vol, name, strlen(name), true);
	/* As a kernel from 6.2 on writes it. */
	cr_assert_eq(dx_place(dir, as_signed, &place), 0);
	cr_assert_eq(jh_begin(im.vol, 2, &h), 0);
	cr_assert_eq(dx_join(h, dir, &place), 0);
	for (unsigned i = 0; i < le16toh(place.list->de_num_used); i++) {
		struct ocfs2_dx_entry *e = &place.list->de_entries[i];

		if (le32toh(e->dx_major_hash) != as_signed.major)
			continue;
		e->dx_major_hash = htole32(as_unsigned.major);
		e->dx_minor_hash = htole32(as_unsigned.minor);
		moved++;
	}
	cr_assert_eq(jh_end(h, false), 0);
	dx_place_put(&place);
	cr_assert_eq(moved, 1);
	cr_assert_eq(vol_lookup(dir, name, strlen(name), &f), 0);
	cr_assert_eq(f.blkno, file->blkno);
	{
		struct vol_inode *inode;

		cr_assert_eq(vol_create(dir, name, strlen(name), &what, &inode), -EEXIST);
	}
	cr_assert_eq(vol_unlink(dir, name, strlen(name), file), 0);
	cr_assert_eq(vol_wipe(file), 0);
	cr_assert_eq(vol_lookup(dir, name, strlen(name), &f), -ENOENT);
	vol_iput(file);
	vol_iput(dir);
	image_close(&im, false);
	image_check(&im, sysdir);
	image_free(&im);
}
