/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test-lockname.c: vectors of doc/spec/fs-locking.md 1.3. */
#include <criterion/criterion.h>
#include <string.h>
#include "fs/cluster/lockname.h"

static void expect_text(char letter, uint64_t blkno, uint32_t gen, const char *want)
{
	uint8_t name[LC_NAME_LEN + 1];

	memset(name, 0x5a, sizeof(name));
	lockname_text(name, letter, blkno, gen);
	cr_assert_eq(name[LC_NAME_LEN], 0x5a, "31 bytes are written, not more");
	cr_assert_arr_eq(name, want, LC_NAME_LEN, "want %s got %.31s", want, (char *)name);
}

Test(lockname, text_vectors)
{
	expect_text('M', 5, 0x7052a172, "M00000000000000000000057052a172");
	expect_text('M', 0x18, 0x7052a172, "M00000000000000000000187052a172");
	expect_text('M', 0x4213, 0, "M000000000000000000421300000000");
	expect_text('O', 0x4213, 0, "O000000000000000000421300000000");
	expect_text('W', 0x4213, 0x7052a172, "W00000000000000000042137052a172");
	expect_text('S', 2, 0, "S000000000000000000000200000000");
	expect_text('R', 0, 0, "R000000000000000000000000000000");
	expect_text('Q', 1, 0, "Q000000000000000000000100000000");
	expect_text('T', 0x5000, 0x12345678, "T000000000000000000500012345678");
	expect_text('P', 0, 0, "P000000000000000000000000000000");
}

Test(lockname, dentry_vector_is_binary)
{
	static const uint8_t want[LC_NAME_LEN] = {
		0x4e, 0x30, 0x30, 0x30, 0x30, 0x30, 0x30, 0x30, 0x30, 0x30, 0x30,
		0x30, 0x30, 0x34, 0x32, 0x31, 0x33, 0x00, 0x00, 0x00, 0x00, 0x00,
		0x01, 0x23, 0x45, 0x67, 0x00, 0x00, 0x00, 0x00, 0x00,
	};
	uint8_t name[LC_NAME_LEN];

	memset(name, 0x5a, sizeof(name));
	lockname_dentry(name, 0x4213, 0x1234567);
	cr_assert_arr_eq(name, want, LC_NAME_LEN);
}

Test(lockname, prints_what_it_names)
{
	char out[LOCKNAME_PRINT_LEN];
	uint8_t name[LC_NAME_LEN];

	lockname_text(name, 'M', 5, 0x7052a172);
	cr_assert_str_eq(lockname_print(name, out), "M(0x5,7052a172)");
	lockname_text(name, 'O', 0x4213, 0);
	cr_assert_str_eq(lockname_print(name, out), "O(0x4213)");
	lockname_text(name, 'R', 0, 0);
	cr_assert_str_eq(lockname_print(name, out), "R");
	lockname_dentry(name, UINT64_MAX, 0x1234567);
	cr_assert_str_eq(lockname_print(name, out), "N(0xffffffffffffffff,0x1234567)");
}
