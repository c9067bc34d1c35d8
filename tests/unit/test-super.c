/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test-super.c: which volumes are mounted, and what is said of the others.
 *
 * Each test changes one field of a good super block and seals it again where the volume
 * has checksums, so that only the field is wrong.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include "fs/volume/ecc.h"
#include "fs/volume/ondisk.h"
#include "tests/volume/image.h"

enum { BS = 4096 };

static struct image im;
static struct ocfs2_dinode *di;
static uint8_t block[BS];

static void setup(void)
{
	image_make(&im, "64M -b 4K -C 4K --fs-feature-level=max-features");
	image_peek(&im, 2 * BS, block, BS);
	di = (struct ocfs2_dinode *)block;
}

static void teardown(void)
{
	image_free(&im);
}

TestSuite(super, .init = setup, .fini = teardown, .timeout = 120);

static struct ocfs2_super_block *sb(void)
{
	return &di->id2.i_super;
}

/* Write the changed block and try. */
static int try(void)
{
	ecc_store(block, BS, offsetof(struct ocfs2_dinode, i_check));
	image_poke(&im, 2 * BS, block, BS);
	return image_open(&im, 0);
}

static void refused(enum exit_code code, const char *word)
{
	cr_assert_lt(try(), 0);
	cr_assert_eq(im.why.code, code, "%d %s", im.why.code, im.why.text);
	cr_assert(strstr(im.why.text, word), "'%s' not in: %s", word, im.why.text);
}

Test(super, a_good_volume_opens_with_its_facts)
{
	const struct vol_info *i;

	cr_assert_eq(try(), 0, "%s", im.why.text);
	i = vol_info(im.v);
	cr_assert_eq(i->blocksize_bits, 12);
	cr_assert_eq(i->max_slots, 4);
	cr_assert_eq(i->blocks, 64u << 20 >> 12);
	cr_assert_str_eq(i->stack, "o2cb");
	cr_assert_str_eq(i->cluster, "test");
	cr_assert_str_eq(i->label, "test");
	cr_assert_eq(strlen(i->uuid_str), 32);
	cr_assert_not(i->force_ro);
	cr_assert(vol_sys_inode(im.v, VOL_SYS_JOURNAL, 3));
	cr_assert_null(vol_sys_inode(im.v, VOL_SYS_JOURNAL, 4));
}

Test(super, something_else_is_not_ocfs2)
{
	memset(block, 0, 8);
	refused(EXIT_NOT_OCFS2, "no OCFS2 super block");
}

Test(super, an_ocfs1_header_is_named)
{
	char header[BS] = { 0 };

	memcpy(header + 8, "OracleCFS", 9);
	image_poke(&im, 0, header, BS);
	memset(block, 0, 8);
	refused(EXIT_NOT_OCFS2, "version 1");
}

Test(super, one_wrong_bit_is_corrected)
{
	block[300] ^= 4;
	image_poke(&im, 2 * BS, block, BS);
	cr_assert_eq(image_open(&im, 0), 0, "%s", im.why.text);
}

Test(super, damage_beyond_the_checksum_is_refused)
{
	block[300] ^= 4;
	block[900] ^= 64;
	block[901] ^= 1;
	image_poke(&im, 2 * BS, block, BS);
	cr_assert_lt(image_open(&im, 0), 0);
	cr_assert_eq(im.why.code, EXIT_NOT_OCFS2);
	cr_assert(strstr(im.why.text, "fsck.ocfs2"), "%s", im.why.text);
}

Test(super, unknown_incompatible_features_are_refused_by_number)
{
	sb()->s_feature_incompat |= htole32(0x40000000);
	refused(EXIT_FEATURES, "0x40000000");
}

Test(super, unknown_ro_features_allow_reading)
{
	sb()->s_feature_ro_compat |= htole32(0x80);
	cr_assert_eq(try(), 0, "%s", im.why.text);
	cr_assert(vol_info(im.v)->force_ro);
	cr_assert(vol_readonly(im.v));
	cr_assert_eq(vol_set_readonly(im.v, false), -EROFS);
}

Test(super, a_heartbeat_device_is_refused)
{
	sb()->s_feature_incompat |= htole32(OCFS2_FEATURE_INCOMPAT_HEARTBEAT_DEV);
	refused(EXIT_FEATURES, "heartbeat device");
}

Test(super, an_unfinished_resize_is_refused)
{
	sb()->s_feature_incompat |= htole32(OCFS2_FEATURE_INCOMPAT_RESIZE_INPROG);
	refused(EXIT_FEATURES, "resize");
}

Test(super, an_unfinished_tunefs_is_refused)
{
	sb()->s_feature_incompat |= htole32(OCFS2_FEATURE_INCOMPAT_TUNEFS_INPROG);
	refused(EXIT_FEATURES, "tunefs");
}

Test(super, another_stack_is_refused_by_name)
{
	memcpy(sb()->s_cluster_info.ci_stack, "pcmk", 4);
	refused(EXIT_STACK, "\"pcmk\"");
}

Test(super, a_truncated_device_is_refused)
{
	cr_assert_eq(truncate(im.path, 32 << 20), 0);
	cr_assert_lt(image_open(&im, 0), 0);
	cr_assert_eq(im.why.code, EXIT_DEVICE);
	cr_assert(strstr(im.why.text, "truncated"), "%s", im.why.text);
}

Test(super, a_stub_of_a_device_is_refused)
{
	cr_assert_eq(truncate(im.path, 8192), 0);
	cr_assert_lt(image_open(&im, 0), 0);
	cr_assert_eq(im.why.code, EXIT_DEVICE);
}

/* Its dinode is read when the slot is taken: nothing is allocated from it before. */
Test(super, a_system_file_that_is_not_marked_as_one_is_refused)
{
	struct ocfs2_dinode *la = (struct ocfs2_dinode *)block;
	struct reason why = { 0 };
	blkno_t blkno;
	bool replayed;

	cr_assert_eq(image_open(&im, 0), 0, "%s", im.why.text);
	blkno = vol_sys_inode(im.v, VOL_SYS_LOCAL_ALLOC, 0)->blkno;
	vol_close(im.v);
	blockdev_close(im.dev);
	image_peek(&im, blkno * BS, block, BS);
	la->i_flags &= ~htole32(OCFS2_SYSTEM_FL);
	ecc_store(block, BS, offsetof(struct ocfs2_dinode, i_check));
	image_poke(&im, blkno * BS, block, BS);
	cr_assert_eq(image_open(&im, 0), 0, "%s", im.why.text);
	cr_assert_lt(vol_slot_start(im.v, 0, &replayed, &why), 0);
	cr_assert(strstr(why.text, "system file"), "%s", why.text);
}

Test(super, impossible_numbers_are_refused)
{
	sb()->s_max_slots = htole16(256);
	refused(EXIT_NOT_OCFS2, "slots");
	sb()->s_max_slots = htole16(4);
	sb()->s_clustersize_bits = htole32(21);
	refused(EXIT_NOT_OCFS2, "cluster size");
	sb()->s_clustersize_bits = htole32(12);
	sb()->s_root_blkno = 0;
	refused(EXIT_NOT_OCFS2, "root");
	sb()->s_root_blkno = htole64(1ull << 60);
	cr_assert_lt(try(), 0);
	cr_assert_eq(im.why.code, EXIT_NOT_OCFS2);
}

Test(super, quota_is_mounted_with_a_warning)
{
	cr_assert_eq(try(), 0);
	cr_assert(strstr(im.said, "quota"), "%s", im.said);
	cr_assert_not(vol_readonly(im.v));
}

Test(super, a_volume_of_one_node_is_flagged)
{
	sb()->s_feature_incompat |= htole32(OCFS2_FEATURE_INCOMPAT_LOCAL_MOUNT);
	cr_assert_eq(try(), 0);
	cr_assert(vol_info(im.v)->local);
}

Test(super, small_and_large_blocks_are_found, .init = NULL, .fini = NULL)
{
	static const char *const sizes[] = { "512", "1K", "2K", "4K" };
	char mkfs[64];

	for (unsigned i = 0; i < 4; i++) {
		snprintf(mkfs, sizeof(mkfs), "40M -b %s -C 4K -N 2", sizes[i]);
		image_make(&im, mkfs);
		cr_assert_eq(image_open(&im, 0), 0, "%s: %s", sizes[i], im.why.text);
		cr_assert_eq(vol_info(im.v)->blocksize_bits, 9 + i);
		image_free(&im);
	}
}

Test(super, slots_are_written_in_both_forms, .init = NULL, .fini = NULL)
{
	static const char *const levels[] = { "default", "max-compat --fs-features=noclusterinfo" };
	int16_t nodes[4];
	char mkfs[128];

	for (unsigned i = 0; i < 2; i++) {
		snprintf(mkfs, sizeof(mkfs), "40M -b 4K -C 4K --fs-feature-level=%s", levels[i]);
		image_make(&im, mkfs);
		cr_assert_eq(image_open(&im, 0), 0, "%s", im.why.text);
		cr_assert_eq(vol_slotmap_read(im.v, nodes), 0);
		for (int s = 0; s < 4; s++)
			cr_assert_eq(nodes[s], -1);
		cr_assert_eq(vol_slotmap_write(im.v, 1, 7), 0);
		cr_assert_eq(vol_slotmap_write(im.v, 3, 200), 0);
		cr_assert_eq(vol_slotmap_read(im.v, nodes), 0);
		cr_assert_eq(nodes[0], -1);
		cr_assert_eq(nodes[1], 7);
		cr_assert_eq(nodes[3], 200);
		cr_assert_eq(vol_slotmap_write(im.v, 1, -1), 0);
		cr_assert_eq(vol_slotmap_write(im.v, 3, -1), 0);
		cr_assert_eq(vol_slotmap_read(im.v, nodes), 0);
		cr_assert_eq(nodes[1], -1);
		image_free(&im);
	}
}
