/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test-dirhash.c: vectors of doc/spec/disk.md 5.7 and the split rule of 5.8. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "fs/volume/dir_int.h"

static const uint32_t seed[4] = { 0x11111111, 0x22222222, 0x33333333, 0x01234567 };

static void is_hash(const char *name, bool as_unsigned, uint32_t major, uint32_t minor)
{
	struct dx_hash h = dir_hash(seed, name, strlen(name), as_unsigned);

	cr_expect(h.major == major && h.minor == minor, "%s: got %08x/%08x want %08x/%08x", name,
		  h.major, h.minor, major, minor);
}

Test(dirhash, vectors_of_the_spec)
{
	is_hash("a", false, 0x1495f16a, 0x7c18b786);
	is_hash("abc", false, 0xe87eac01, 0x9ddb3ef2);
	is_hash("abcd", false, 0x6efccb43, 0x844e5b6c);
	is_hash("hello world.txt", false, 0x7d0a55fa, 0xb0f2d0fa);
	is_hash("0123456789abcdef", false, 0xa59ab06e, 0x633a4e9e);
	is_hash("0123456789abcdefg", false, 0x0dc133db, 0x883c5175);
	is_hash("lost+found", false, 0x5e05eba5, 0x510923e3);
}

Test(dirhash, bytes_from_0x80_are_signed_or_unsigned)
{
	is_hash("\xc3\xa9t\xc3\xa9", false, 0x00df2e03, 0x38e21b29);
	is_hash("\xc3\xa9t\xc3\xa9", true, 0xbb2d6326, 0x3426b134);
	cr_expect(dir_hash_has_variants("\xc3\xa9t", 3));
	cr_expect(!dir_hash_has_variants("abc", 3));
	cr_expect(!dir_hash_has_variants("abc\x80", 3));
}

Test(dirhash, dots_are_zero_and_other_names_with_dots_are_not)
{
	is_hash(".", false, 0, 0);
	is_hash("..", false, 0, 0);
	struct dx_hash h = dir_hash(seed, "...", 3, false);

	cr_expect(h.major != 0 || h.minor != 0);
}

static struct ocfs2_dx_entry entry(uint32_t major, uint32_t minor)
{
	return (struct ocfs2_dx_entry){ htole32(major), htole32(minor), htole64(7) };
}

Test(dx_split, median_divides_a_leaf_of_many_hashes)
{
	struct ocfs2_dx_entry e[] = { entry(50, 1), entry(10, 2), entry(40, 3), entry(20, 4) };
	uint32_t s = 0;

	cr_assert_eq(dx_split_value(e, 4, 0, 25, &s), 0);
	cr_expect_eq(s, 40);
	cr_expect_eq(le32toh(e[0].dx_major_hash), 10);
	cr_expect_eq(le32toh(e[3].dx_major_hash), 50);
}

Test(dx_split, lowest_hash_of_the_leaf_never_divides_it)
{
	struct ocfs2_dx_entry e[] = { entry(10, 1), entry(10, 2), entry(10, 3), entry(11, 4) };
	uint32_t s = 0;

	cr_assert_eq(dx_split_value(e, 4, 10, 10, &s), 0);
	cr_expect_eq(s, 11);
}

Test(dx_split, one_hash_in_the_whole_leaf)
{
	struct ocfs2_dx_entry e[] = { entry(30, 1), entry(30, 2) };
	uint32_t s = 0;

	cr_expect_eq(dx_split_value(e, 2, 10, 30, &s), -ENOSPC, "the same hash once more");
	cr_assert_eq(dx_split_value(e, 2, 10, 20, &s), 0);
	cr_expect_eq(s, 30, "the old ones leave");
	cr_assert_eq(dx_split_value(e, 2, 10, 40, &s), 0);
	cr_expect_eq(s, 40, "the new one goes elsewhere");
	cr_assert_eq(dx_split_value(e, 2, 30, 40, &s), 0);
	cr_expect_eq(s, 31, "nothing lower than the leaf's own start");
}
