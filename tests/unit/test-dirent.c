/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test-dirent.c: entries within one block, on plain memory. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/volume/dir_int.h"

static uint8_t mem[4096];

static struct de_area fresh(unsigned len)
{
	struct de_area a = { mem, len };

	memset(mem, 0xee, sizeof(mem));
	de_init_dots(&a, 100, 50);
	return a;
}

/* Records tile the area; returns how many are used. */
static int tiles(const struct de_area *a)
{
	unsigned at = 0;
	int used = 0;

	while (at < a->len) {
		const char *bad = de_check(a, at);

		cr_assert(!bad, "at %u: %s", at, bad);
		used += de_at(a, at)->inode != 0;
		at += le16toh(de_at(a, at)->rec_len);
	}
	cr_assert_eq(at, a->len);
	return used;
}

static int put(struct de_area *a, const char *name, blkno_t blkno)
{
	unsigned off;
	int err = de_place(a, strlen(name), &off);

	if (!err)
		de_put(a, off, name, strlen(name), blkno, OCFS2_FT_REG_FILE);
	return err;
}

static int del(struct de_area *a, const char *name)
{
	unsigned off, prev;
	int err = de_find(a, name, strlen(name), &off, &prev);

	if (!err)
		de_del(a, off, prev);
	return err;
}

static blkno_t get(struct de_area *a, const char *name)
{
	unsigned off, prev;

	if (de_find(a, name, strlen(name), &off, &prev))
		return 0;
	return le64toh(de_at(a, off)->inode);
}

Test(dirent, fresh_directory_has_dot_of_16_bytes_and_dotdot_over_the_rest)
{
	struct de_area a = fresh(512 - 64);

	cr_expect_eq(tiles(&a), 2);
	cr_expect_eq(le16toh(de_at(&a, 0)->rec_len), 16);
	cr_expect_eq(le16toh(de_at(&a, 16)->rec_len), 448 - 16);
	cr_expect_eq(get(&a, "."), 100);
	cr_expect_eq(get(&a, ".."), 50);
	cr_expect_eq(mem[448], 0xee, "nothing is written behind the area");
}

Test(dirent, names_are_compared_bytewise_and_whole)
{
	struct de_area a = fresh(1024);

	cr_assert_eq(put(&a, "abc", 7), 0);
	cr_expect_eq(get(&a, "abc"), 7);
	cr_expect_eq(get(&a, "ab"), 0);
	cr_expect_eq(get(&a, "abcd"), 0);
	cr_expect_eq(get(&a, "ABC"), 0);
}

Test(dirent, a_removed_record_joins_the_one_before_it)
{
	struct de_area a = fresh(1024);

	cr_assert_eq(put(&a, "one", 1), 0);
	cr_assert_eq(put(&a, "two", 2), 0);
	cr_assert_eq(del(&a, "one"), 0);
	cr_expect_eq(get(&a, "one"), 0);
	cr_expect_eq(get(&a, "two"), 2);
	cr_expect_eq(tiles(&a), 3);
	cr_assert_eq(put(&a, "six", 6), 0);
	cr_expect_eq(tiles(&a), 4);
}

Test(dirent, the_first_record_is_only_marked_unused)
{
	struct de_area a = { mem, 256 };
	unsigned off;

	de_init_empty(&a);
	cr_assert_eq(put(&a, "first", 1), 0);
	cr_assert_eq(put(&a, "second", 2), 0);
	cr_assert_eq(del(&a, "first"), 0);
	cr_expect_eq(tiles(&a), 1);
	cr_expect_eq(get(&a, "second"), 2);
	cr_assert_eq(de_place(&a, 8, &off), 0);
	cr_expect_eq(off, 0, "its room is used again");
}

Test(dirent, largest_hole_counts_what_names_do_not_need)
{
	struct de_area a = fresh(1024);

	cr_expect_eq(de_largest_hole(&a), 1024 - 32);
	cr_assert_eq(put(&a, "abcde", 9), 0);	/* needs 20 */
	cr_expect_eq(de_largest_hole(&a), 1024 - 32 - 20);
	de_init_empty(&a);
	cr_expect_eq(de_largest_hole(&a), 1024);
}

Test(dirent, a_name_of_255_bytes_fits_and_a_full_area_refuses)
{
	struct de_area a = fresh(448);
	char name[256];

	memset(name, 'x', 255);
	name[255] = 0;
	cr_assert_eq(put(&a, name, 3), 0);
	cr_expect_eq(get(&a, name), 3);
	cr_expect_eq(tiles(&a), 3);
	name[0] = 'y';
	cr_expect_eq(put(&a, name, 4), -ENOSPC);
	cr_expect_eq(tiles(&a), 3);
}

Test(dirent, an_area_grows_at_its_last_record)
{
	struct de_area a = fresh(512);

	cr_assert_eq(put(&a, "last", 5), 0);
	cr_assert_eq(de_extend(&a, 256), 0);
	cr_expect_eq(a.len, 768);
	cr_expect_eq(tiles(&a), 3);
	cr_expect_eq(get(&a, "last"), 5);
}

Test(dirent, random_names_agree_with_a_model)
{
	struct de_area a = fresh(4096 - 64);
	bool there[300] = { false };
	unsigned seed = 42;
	char name[32];

	for (int step = 0; step < 20000; step++) {
		unsigned k = (unsigned)rand_r(&seed) % 300;
		int err;

		snprintf(name, sizeof(name), "%.*s%u", (int)(k % 17), "aaaaaaaaaaaaaaaaa", k);
		if (there[k]) {
			cr_assert_eq(get(&a, name), k + 1);
			cr_assert_eq(del(&a, name), 0);
			there[k] = false;
		} else {
			cr_assert_eq(get(&a, name), 0);
			err = put(&a, name, k + 1);
			cr_assert(err == 0 || err == -ENOSPC);
			there[k] = !err;
		}
		if (step % 64 == 0)
			tiles(&a);
	}
}

Test(dirent, damage_ends_every_walk)
{
	unsigned off, prev, seed = 7;

	for (int round = 0; round < 20000; round++) {
		struct de_area a = fresh(512);

		cr_assert_eq(put(&a, "victim", 1), 0);
		cr_assert_eq(put(&a, "another", 2), 0);
		for (int n = 0; n < 3; n++)
			mem[(unsigned)rand_r(&seed) % 128] = (uint8_t)rand_r(&seed);
		(void)!de_find(&a, "absent", 6, &off, &prev);
		(void)!de_place(&a, 200, &off);
		(void)!de_largest_hole(&a);
		(void)!de_count(&a);
		(void)!de_extend(&a, 0);
	}
}

Test(dirent, each_kind_of_bad_record_is_named)
{
	struct de_area a = fresh(512);
	unsigned off, prev;

	de_at(&a, 16)->rec_len = htole16(0);
	cr_expect(de_check(&a, 16));
	cr_expect_eq(de_find(&a, "x", 1, &off, &prev), -EIO);
	cr_expect_eq(off, 16);
	de_at(&a, 16)->rec_len = htole16(18);
	cr_expect(de_check(&a, 16));
	de_at(&a, 16)->rec_len = htole16(512);
	cr_expect(de_check(&a, 16));
	de_at(&a, 16)->rec_len = htole16(16);
	de_at(&a, 16)->name_len = 5;
	cr_expect(de_check(&a, 16));
	de_at(&a, 16)->name_len = 0;
	cr_expect(de_check(&a, 16));
	cr_expect(de_check(&a, 500));
	cr_expect(de_check(&a, 4000));
}

Test(dirent, names_with_slash_or_nul_are_refused)
{
	cr_expect(de_name_ok("abc", 3));
	cr_expect(!de_name_ok("a/c", 3));
	cr_expect(!de_name_ok("a\0c", 3));
	cr_expect(!de_name_ok("", 0));
}
