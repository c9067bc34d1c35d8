/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Extended attributes against a model in memory, in every kind of inode and on several
 * shapes of volumes; each ends with fsck.ocfs2, which looks at regions, hashes and the
 * trees of values. What a kernel node makes of them is in tests/lab/features.sh.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "tests/unit/volfix.h"
#include "fs/volume/xattr_int.h"

enum { NAMES = 12, OBJECTS = 6, SIZE_LIMIT = VOL_XATTR_SIZE_MAX };

struct attr {
	bool there;
	size_t size;
	uint8_t seed;
};

struct object {
	const char *name;
	uint16_t mode;
	struct vol_inode *inode;
	struct attr attr[NAMES];
};

static uint8_t *bytes, *got;

static void setup(void)
{
	bytes = malloc(SIZE_LIMIT);
	got = malloc(SIZE_LIMIT);
	cr_assert(bytes && got);
}

static void teardown(void)
{
	free(bytes);
	free(got);
}

TestSuite(xattr, .init = setup, .fini = teardown);

static uint8_t *fill(size_t size, uint8_t seed)
{
	for (size_t i = 0; i < size; i++)
		bytes[i] = (uint8_t)(seed + i * 7 + i / 251);
	return bytes;
}

/* Names of all lengths; bytes from 0x80 on, which the hash takes as signed. */
static const char *name_of(unsigned n)
{
	static _Thread_local char name[256];

	memset(name, n % 3 == 2 ? 0xc3 : 'a' + (int)n, sizeof(name));
	name[0] = (char)('a' + n);
	name[n == NAMES - 1 ? 255 : 1 + n * 5] = 0;
	return name;
}

static uint8_t index_of(unsigned n)
{
	static const uint8_t of[] = { VOL_XATTR_USER, VOL_XATTR_TRUSTED, VOL_XATTR_SECURITY };

	return of[n % 3];
}

static int set(struct vol_inode *inode, unsigned n, size_t size, uint8_t seed)
{
	struct vol_xattr_set w = {
		.index = index_of(n), .name = name_of(n), .value = fill(size, seed), .size = size,
	};

	return vol_setxattr(inode, &w);
}

static int drop(struct vol_inode *inode, unsigned n)
{
	struct vol_xattr_set w = { .index = index_of(n), .name = name_of(n) };

	return vol_setxattr(inode, &w);
}

static void check_attr(const struct object *o, unsigned n)
{
	const struct attr *a = &o->attr[n];
	size_t size = 0;
	int err = vol_getxattr(o->inode, index_of(n), name_of(n), got, SIZE_LIMIT, &size);

	cr_assert_eq(err, a->there ? 0 : -ENODATA, "%s %u: %d", o->name, n, err);
	if (!a->there)
		return;
	cr_assert_eq(size, a->size);
	cr_assert_eq(memcmp(got, fill(a->size, a->seed), a->size), 0, "%s %u", o->name, n);
	if (size)
		cr_assert_eq(vol_getxattr(o->inode, index_of(n), name_of(n), got, size - 1, &size),
			     -ERANGE);
	cr_assert_eq(size, a->size);
}

struct listed {
	const struct object *o;
	unsigned n;
};

static int listed(void *ctx, uint8_t index, const char *name, unsigned len)
{
	struct listed *l = ctx;

	for (unsigned n = 0; n < NAMES; n++)
		if (l->o->attr[n].there && index == index_of(n) && strlen(name_of(n)) == len &&
		    !memcmp(name, name_of(n), len)) {
			l->n++;
			return 0;
		}
	return -EBADMSG;
}

static void check_object(const struct object *o)
{
	struct listed l = { o, 0 };
	unsigned want = 0;

	for (unsigned n = 0; n < NAMES; n++) {
		check_attr(o, n);
		want += o->attr[n].there;
	}
	cr_assert_eq(vol_listxattr(o->inode, listed, &l), 0);
	cr_assert_eq(l.n, want);
}

static size_t some_size(struct rnd *r)
{
	switch (rnd_below(r, 6)) {
	case 0:
		return rnd_below(r, 4);
	case 1:
		return 78 + rnd_below(r, 6);	/* both sides of local */
	case 2:
		return rnd_below(r, SIZE_LIMIT + 1);
	default:
		return rnd_below(r, 60);
	}
}

static void step(struct object *o, struct rnd *r)
{
	unsigned n = rnd_below(r, NAMES);
	struct attr *a = &o->attr[n];
	int err;

	if (rnd_below(r, 4) == 0) {
		err = drop(o->inode, n);
		cr_assert_eq(err, a->there ? 0 : -ENODATA);
		a->there = false;
	} else {
		struct attr next = { true, some_size(r), (uint8_t)rnd_next(r) };

		err = set(o->inode, n, next.size, next.seed);
		cr_assert(err == 0 || err == -ENOSPC, "%d", err);
		if (!err)
			*a = next;
	}
	check_attr(o, n);
}

static void make_objects(struct volfix *f, struct object *o)
{
	static const struct object kinds[OBJECTS] = {
		{ .name = "empty", .mode = S_IFREG | 0644 }, { .name = "inline", .mode = S_IFREG | 0644 },
		{ .name = "extents", .mode = S_IFREG | 0644 }, { .name = "dir", .mode = S_IFDIR | 0755 },
		{ .name = "link", .mode = S_IFLNK | 0777 }, { .name = "fifo", .mode = S_IFIFO | 0600 },
	};

	for (unsigned i = 0; i < OBJECTS; i++) {
		struct vol_new what = { .mode = kinds[i].mode, .target = "where/it/points" };

		o[i] = kinds[i];
		cr_assert_eq(vol_create(vol_root(f->v), o[i].name, strlen(o[i].name), &what,
					&o[i].inode), 0);
	}
}

/* What else the inode holds is not touched by its attributes. */
static void put_content(struct object *o)
{
	size_t done, len = !strcmp(o->name, "inline") ? 90 : 30000;
	uint64_t off = 0;

	memset(bytes, 'x', len);
	cr_assert_eq(vol_write(o->inode, bytes, len, &off, false, false, &done), 0);
	cr_assert_eq(done, len);
}

static void check_content(struct object *o)
{
	size_t n;

	if (S_ISLNK(o->mode)) {
		cr_assert_eq(vol_readlink(o->inode, (char *)got, 100), 15);
		cr_assert_eq(memcmp(got, "where/it/points", 15), 0);
	} else if (S_ISREG(o->mode) && o->name[0] != 'e' ) {
		cr_assert_eq(vol_read(o->inode, got, 90, 0, &n), 0);
		cr_assert_eq(n, 90);
		for (size_t i = 0; i < n; i++)
			cr_assert_eq(got[i], 'x');
	}
}

static void reopen(struct volfix *f, struct object *o, bool crash)
{
	for (unsigned i = 0; i < OBJECTS; i++)
		vol_iput(o[i].inode);
	if (crash) {
		cr_assert_eq(vol_sync(f->v), 0);
		volfix_crash(f);
	} else {
		volfix_umount(f);
		volfix_fsck(f);
	}
	volfix_mount(f);
	for (unsigned i = 0; i < OBJECTS; i++) {
		struct vol_found found;

		cr_assert_eq(vol_lookup(vol_root(f->v), o[i].name, strlen(o[i].name), &found), 0);
		cr_assert_eq(vol_iget(f->v, found.blkno, &o[i].inode), 0);
		cr_assert_eq(vol_inode_refresh(o[i].inode), 0);
		check_object(&o[i]);
		check_content(&o[i]);
	}
}

static void remove_all(struct volfix *f, struct object *o)
{
	for (unsigned i = 0; i < OBJECTS; i++) {
		cr_assert_eq(vol_unlink(vol_root(f->v), o[i].name, strlen(o[i].name), o[i].inode), 0);
		cr_assert_eq(vol_wipe(o[i].inode), 0);
		vol_iput(o[i].inode);
	}
}

static uint64_t free_bytes(struct volfix *f)
{
	struct vol_statfs st;

	cr_assert_eq(vol_tl_flush(f->v), 0);
	cr_assert_eq(vol_statfs(f->v, &st), 0);
	return st.bfree * st.bsize;
}

static void model_on(const struct volfix_form *form)
{
	struct object o[OBJECTS];
	struct rnd r = { rnd_seed() };
	struct volfix f;
	uint64_t before, after;

	volfix_make(&f, form);
	before = free_bytes(&f);
	make_objects(&f, o);
	for (unsigned round = 0; round < 6; round++) {
		for (unsigned i = 0; i < 60; i++)
			step(&o[rnd_below(&r, OBJECTS)], &r);
		if (round == 1) {	/* "inline" may have given its room away by now */
			put_content(&o[1]);
			put_content(&o[2]);
		}
		if (round)
			reopen(&f, o, round & 1);
	}
	remove_all(&f, o);
	volfix_umount(&f);	/* the window of the local allocator is given back */
	volfix_mount(&f);
	/* Allocators of inodes and of metadata keep their groups, 4 MiB each. */
	after = free_bytes(&f);
	cr_assert_leq(before - after, 8u << 20, "%llu of %llu", (unsigned long long)after,
		      (unsigned long long)before);
	volfix_end(&f);
}

Test(xattr, model_with_4K_blocks)
{
	model_on(&(struct volfix_form){ "4K", "4K", "default", NULL, 48, 2, NULL });
}

Test(xattr, model_with_all_features_and_checksums)
{
	model_on(&(struct volfix_form){ "4K", "8K", "max-features", "nousrquota,nogrpquota", 96, 2, NULL });
}

Test(xattr, model_with_1K_blocks)
{
	model_on(&(struct volfix_form){ "1K", "4K", "max-features",
				    "nousrquota,nogrpquota,noindexed-dirs", 96, 2, NULL });
}

/* No room in the inode: everything goes to the external block. */
Test(xattr, model_with_512_byte_blocks)
{
	model_on(&(struct volfix_form){ "512", "4K", "default", "noindexed-dirs", 48, 2, "8" });
}

Test(xattr, the_mode_changes_with_the_attribute)
{
	struct vol_xattr_set w = { .index = VOL_XATTR_ACL_ACCESS, .name = "", .value = "12345678",
				   .size = 8, .set_mode = true, .mode = 0640 };
	struct vol_inode *inode;
	struct volfix f;
	struct timespec ctime;

	volfix_make(&f, &(struct volfix_form){ "4K", "4K", "default", NULL, 48, 2, NULL });
	inode = volfix_file(&f, "a");
	ctime = inode->ctime;
	cr_assert_eq(vol_setxattr(inode, &w), 0);
	cr_assert_eq(inode->mode, S_IFREG | 0640);
	cr_assert(inode->ctime.tv_sec > ctime.tv_sec || inode->ctime.tv_nsec > ctime.tv_nsec);
	vol_iput(inode);
	volfix_end(&f);
}

Test(xattr, create_and_replace_are_told_apart)
{
	struct vol_xattr_set w = { .index = VOL_XATTR_USER, .name = "n", .value = "v", .size = 1,
				   .replace = true };
	struct vol_inode *inode;
	struct volfix f;

	volfix_make(&f, &(struct volfix_form){ "4K", "4K", "default", NULL, 48, 2, NULL });
	inode = volfix_file(&f, "a");
	cr_assert_eq(vol_setxattr(inode, &w), -ENODATA);
	w.replace = false;
	w.create = true;
	cr_assert_eq(vol_setxattr(inode, &w), 0);
	cr_assert_eq(vol_setxattr(inode, &w), -EEXIST);
	w.create = false;
	w.replace = true;
	cr_assert_eq(vol_setxattr(inode, &w), 0);
	w.size = VOL_XATTR_SIZE_MAX + 1;
	cr_assert_eq(vol_setxattr(inode, &w), -E2BIG);
	vol_iput(inode);
	volfix_end(&f);
}

Test(xattr, a_full_block_refuses_and_keeps_what_it_has)
{
	struct volfix f;
	struct object o = { .name = "a" };
	unsigned n = 0;
	char name[16];
	int err = 0;

	volfix_make(&f, &(struct volfix_form){ "4K", "4K", "default", NULL, 48, 2, NULL });
	o.inode = volfix_file(&f, o.name);
	for (; !err; n++) {
		struct vol_xattr_set w = { .index = VOL_XATTR_USER, .name = name,
					   .value = fill(80, (uint8_t)n), .size = 80 };

		snprintf(name, sizeof(name), "n%u", n);
		err = vol_setxattr(o.inode, &w);
	}
	cr_assert_eq(err, -ENOSPC);
	cr_assert_gt(n, 38);	/* 4048 bytes of 100, and two in the inode */
	for (unsigned i = 0; i < n - 1; i++) {
		size_t size;

		snprintf(name, sizeof(name), "n%u", i);
		cr_assert_eq(vol_getxattr(o.inode, VOL_XATTR_USER, name, got, 80, &size), 0);
		cr_assert_eq(memcmp(got, fill(80, (uint8_t)i), 80), 0);
	}
	vol_iput(o.inode);
	volfix_end(&f);
}

/* A file that took its inode's end for attributes keeps less content there. */
Test(xattr, inline_content_grows_only_to_where_attributes_begin)
{
	struct object o = { .name = "a", .mode = S_IFREG };
	struct volfix f;
	uint64_t off = 0;
	size_t done;

	volfix_make(&f, &(struct volfix_form){ "4K", "4K", "default", NULL, 48, 2, NULL });
	o.inode = volfix_file(&f, o.name);
	cr_assert_eq(set(o.inode, 0, 50, 1), 0);
	o.attr[0] = (struct attr){ true, 50, 1 };
	cr_assert(o.inode->dyn_features & OCFS2_INLINE_XATTR_FL);
	memset(got, 'x', 4096);
	cr_assert_eq(vol_write(o.inode, got, 3640, &off, false, false, &done), 0);
	cr_assert(o.inode->dyn_features & OCFS2_INLINE_DATA_FL);
	check_object(&o);
	off = 3640;
	cr_assert_eq(vol_write(o.inode, got, 1, &off, false, false, &done), 0);
	cr_assert_not(o.inode->dyn_features & OCFS2_INLINE_DATA_FL);
	check_object(&o);
	vol_iput(o.inode);
	volfix_end(&f);
}

/* ---- regions ------------------------------------------------------------------------ */

static struct xregion region_of(uint8_t *mem, unsigned len)
{
	memset(mem, 0, len);
	return (struct xregion){ (struct ocfs2_xattr_header *)mem, len };
}

Test(xattr, hash_matches_the_vectors)
{
	uint32_t seed = 0x0c8dde5f;

	cr_assert_eq(xattr_hash(seed, "", 0), 0x0c8dde5f);
	cr_assert_eq(xattr_hash(seed, "foo", 3), 0xef2e13c9);
	cr_assert_eq(xattr_hash(seed, "selinux", 7), 0x689bc43c);
	cr_assert_eq(xattr_hash(seed, "attribute1", 10), 0x2d6b391a);
}

Test(xattr, offsets_descend_and_close_up)
{
	uint64_t mem[32];
	struct xregion g = region_of((uint8_t *)mem, sizeof(mem));
	struct xname a = { 1, "a", 1 }, b = { 1, "bb", 2 }, c = { 4, "a", 1 };
	unsigned i;

	memcpy(xentry_value(&g, xregion_append(&g, &a, 1, 4)), "1111", 4);
	memcpy(xentry_value(&g, xregion_append(&g, &b, 2, 80)), "2222", 4);
	memcpy(xentry_value(&g, xregion_append(&g, &c, 3, 4)), "3333", 4);
	cr_assert_eq(xregion_check(&g), NULL);
	cr_assert_not(xregion_fits(&g, ~0u, 80));
	cr_assert_eq(xregion_find(&g, &b, &i), 0);
	cr_assert(xregion_fits(&g, i, 84));
	xregion_delete(&g, i);
	cr_assert_eq(xregion_check(&g), NULL);
	cr_assert_eq(xregion_find(&g, &b, &i), -ENODATA);
	cr_assert_eq(xregion_find(&g, &c, &i), 0);
	cr_assert_eq(i, 1);
	cr_assert_eq(le16toh(xregion_entry(&g, 1)->xe_name_offset), sizeof(mem) - 16);
	cr_assert_eq(memcmp(xentry_value(&g, xregion_entry(&g, 1)), "3333", 4), 0);
}

/* Whatever the bytes are: refused, or every offset lies within. */
Test(xattr, a_damaged_region_is_never_followed_out_of_its_bounds)
{
	struct xvalue_root root = { .r.xr_list.l_count = htole16(1) };
	struct rnd r = { rnd_seed() };
	unsigned accepted = 0;

	for (unsigned round = 0; round < 200000; round++) {
		uint8_t *mem = aligned_alloc(8, 256);
		struct xregion g = region_of(mem, 256);
		struct xname a = { 1, "abc", 3 }, b = { 1, "d", 1 };
		unsigned i;

		xregion_append(&g, &a, 1, 10);
		memcpy(xentry_value(&g, xregion_append(&g, &b, 2, 100)), &root, sizeof(root));
		for (unsigned k = rnd_below(&r, 3); k > 0; k--)
			mem[rnd_below(&r, 100)] = (uint8_t)(rnd_next(&r) >> rnd_below(&r, 8));
		if (!xregion_check(&g)) {
			accepted++;
			if (!xregion_find(&g, &a, &i) && xregion_fits(&g, i, 4))
				xregion_delete(&g, i);
			for (i = 0; i < xregion_count(&g); i++)
				cr_assert_leq(xentry_value(&g, xregion_entry(&g, i)), mem + 256);
		}
		free(mem);
	}
	cr_assert_gt(accepted, 1000);
}
