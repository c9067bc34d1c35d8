/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test-replay.c: logs written by hand (doc/spec/disk.md 8.6), replayed when slot 0 is
 * taken into use.
 *
 * Home blocks are clusters at the end of the volume that nothing uses; what arrives
 * there is compared.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include "fs/volume/journal_int.h"
#include "tests/volume/image.h"

enum { BS = 4096, TARGET = 16000 };

static struct image im;
static struct jfile f;
static uint32_t log_at;		/* where the next block of the log goes */

static void open_log(void)
{
	cr_assert_eq(image_open(&im, 0), 0, "%s", im.why.text);
	cr_assert_eq(jfile_open(im.v, 0, &f, &im.why), 0, "%s", im.why.text);
	log_at = f.first;
}

static void setup(void)
{
	image_make(&im, "64M -b 4K -C 4K --fs-feature-level=max-features");
	open_log();
}

static void teardown(void)
{
	jfile_close(&f);
	image_free(&im);
}

TestSuite(replay, .init = setup, .fini = teardown, .timeout = 120);

static void put_block(const void *data)
{
	char *buf = blockdev_alloc(BS);

	memcpy(buf, data, BS);
	cr_assert_eq(jfile_write(&f, log_at, 1, buf), 0);
	log_at = jfile_advance(&f, log_at, 1);
	free(buf);
}

static void put_header(uint8_t *block, enum jbd_type type, uint32_t seq)
{
	struct jbd_header h = { htobe32(JBD_MAGIC), htobe32(type), htobe32(seq) };

	memset(block, 0, BS);
	memcpy(block, &h, sizeof(h));
}

static void fill(uint8_t *block, char c)
{
	memset(block, c, BS);
}

struct entry {
	blkno_t home;
	char content;
	bool escaped;	/* starts with the magic */
};

/* Descriptor and blocks, without a commit. crc: of what is written, or NULL. */
static void put_body(uint32_t seq, const struct entry *e, unsigned n)
{
	uint8_t block[BS];
	unsigned off = 12;

	put_header(block, JBD_DESCRIPTOR, seq);
	for (unsigned i = 0; i < n; i++) {
		uint16_t flags = htobe16((uint16_t)((i ? JBD_SAME_UUID : 0) | (i == n - 1 ? JBD_LAST : 0) |
						    (e[i].escaped ? JBD_ESCAPE : 0)));
		uint32_t low = htobe32((uint32_t)e[i].home), high = htobe32((uint32_t)(e[i].home >> 32));

		memcpy(block + off, &low, 4);
		memcpy(block + off + 6, &flags, 2);
		if (f.tag_bytes == 12)
			memcpy(block + off + 8, &high, 4);
		off += f.tag_bytes + (i ? 0 : JBD_UUID);
	}
	put_block(block);
	for (unsigned i = 0; i < n; i++) {
		fill(block, e[i].content);
		if (e[i].escaped)
			memset(block, 0, 4);
		put_block(block);
	}
}

static void put_commit(uint32_t seq)
{
	uint8_t block[BS];

	put_header(block, JBD_COMMIT, seq);
	put_block(block);
}

static void put_txn(uint32_t seq, const struct entry *e, unsigned n)
{
	put_body(seq, e, n);
	put_commit(seq);
}

static void put_revoke(uint32_t seq, blkno_t blkno)
{
	uint32_t used = htobe32(f.tag_bytes == 12 ? 24 : 20), low = htobe32((uint32_t)blkno);
	uint8_t block[BS];

	put_header(block, JBD_REVOKE, seq);
	memcpy(block + 12, &used, 4);
	memcpy(block + (f.tag_bytes == 12 ? 20 : 16), &low, 4);
	put_block(block);
}

/* The log begins there; dirty as after a crash. */
static void start_at(uint32_t start, uint32_t seq)
{
	cr_assert_eq(jfile_write_super(&f, start, seq), 0);
	cr_assert_eq(jfile_mark(&f, true, false), 0);
}

static int take_slot(void)
{
	bool replayed;
	int err;

	jfile_close(&f);
	vol_close(im.v);
	blockdev_close(im.dev);
	im.v = NULL;
	im.dev = NULL;
	err = image_open(&im, 0);
	if (!err)
		err = vol_slot_start(im.v, 0, &replayed, &im.why);
	return err;
}

static char home(blkno_t blkno)
{
	char block[BS];

	image_peek(&im, blkno * BS, block, BS);
	return block[BS / 2];
}

static uint32_t journal_sequence(void)
{
	cr_assert_eq(jfile_open(im.v, 0, &f, &im.why), 0);
	cr_assert_eq(f.super->start, 0, "the log is empty");
	return be32toh(f.super->sequence);
}

Test(replay, complete_transactions_arrive_in_order)
{
	start_at(log_at, 10);
	put_txn(10, (struct entry[]){ { TARGET, 'a', false }, { TARGET + 1, 'b', false } }, 2);
	put_txn(11, (struct entry[]){ { TARGET, 'c', false } }, 1);
	cr_assert_eq(take_slot(), 0, "%s", im.why.text);
	cr_assert_eq(home(TARGET), 'c');
	cr_assert_eq(home(TARGET + 1), 'b');
	cr_assert_eq(journal_sequence(), 13, "last committed + 2");
}

Test(replay, a_transaction_without_its_commit_never_was)
{
	start_at(log_at, 77);
	put_txn(77, (struct entry[]){ { TARGET, 'a', false } }, 1);
	put_body(78, (struct entry[]){ { TARGET, 'x', false } }, 1);
	cr_assert_eq(take_slot(), 0);
	cr_assert_eq(home(TARGET), 'a');
	cr_assert_eq(journal_sequence(), 79);
}

Test(replay, a_stale_commit_is_none)
{
	start_at(log_at, 77);
	put_txn(77, (struct entry[]){ { TARGET, 'a', false } }, 1);
	put_body(78, (struct entry[]){ { TARGET, 'x', false } }, 1);
	put_commit(70);
	cr_assert_eq(take_slot(), 0);
	cr_assert_eq(home(TARGET), 'a');
}

Test(replay, nothing_behind_a_gap_in_the_sequence_counts)
{
	start_at(log_at, 77);
	put_txn(77, (struct entry[]){ { TARGET, 'a', false } }, 1);
	put_txn(79, (struct entry[]){ { TARGET, 'x', false } }, 1);
	cr_assert_eq(take_slot(), 0);
	cr_assert_eq(home(TARGET), 'a');
}

Test(replay, the_log_goes_round_its_end)
{
	log_at = f.maxlen - 2;
	start_at(log_at, 5);
	put_txn(5, (struct entry[]){ { TARGET, 'a', false }, { TARGET + 1, 'b', false },
				     { TARGET + 2, 'c', false } }, 3);
	put_txn(6, (struct entry[]){ { TARGET + 1, 'd', false } }, 1);
	cr_assert_eq(take_slot(), 0);
	cr_assert_eq(home(TARGET), 'a');
	cr_assert_eq(home(TARGET + 1), 'd');
	cr_assert_eq(home(TARGET + 2), 'c');
}

Test(replay, the_sequence_goes_round_its_end)
{
	start_at(log_at, UINT32_MAX);
	put_txn(UINT32_MAX, (struct entry[]){ { TARGET, 'a', false } }, 1);
	put_txn(0, (struct entry[]){ { TARGET, 'b', false } }, 1);
	cr_assert_eq(take_slot(), 0);
	cr_assert_eq(home(TARGET), 'b');
	cr_assert_eq(journal_sequence(), 2);
}

Test(replay, an_escaped_block_gets_its_magic_back)
{
	uint32_t first;

	start_at(log_at, 5);
	put_txn(5, (struct entry[]){ { TARGET, 'a', true } }, 1);
	cr_assert_eq(take_slot(), 0);
	image_peek(&im, (uint64_t)TARGET * BS, &first, 4);
	cr_assert_eq(be32toh(first), JBD_MAGIC);
	cr_assert_eq(home(TARGET), 'a');
}

Test(replay, revoked_copies_stay_out)
{
	start_at(log_at, 5);
	put_txn(5, (struct entry[]){ { TARGET, 'a', false }, { TARGET + 1, 'b', false } }, 2);
	put_revoke(6, TARGET);
	put_txn(6, (struct entry[]){ { TARGET + 2, 'c', false } }, 1);
	put_txn(7, (struct entry[]){ { TARGET + 3, 'd', false } }, 1);
	cr_assert_eq(take_slot(), 0);
	cr_assert_eq(home(TARGET), 0);
	cr_assert_eq(home(TARGET + 1), 'b');
	cr_assert_eq(home(TARGET + 3), 'd');
}

Test(replay, copies_newer_than_their_revoke_arrive)
{
	start_at(log_at, 5);
	put_revoke(5, TARGET);
	put_commit(5);
	put_txn(6, (struct entry[]){ { TARGET, 'a', false } }, 1);
	cr_assert_eq(take_slot(), 0);
	cr_assert_eq(home(TARGET), 'a');
}

Test(replay, sixty_four_bit_tags_are_read)
{
	f.super->incompat = htobe32(JBD_INCOMPAT_64BIT | JBD_INCOMPAT_REVOKE);
	f.tag_bytes = 12;
	start_at(log_at, 5);
	put_txn(5, (struct entry[]){ { TARGET, 'a', false }, { TARGET + 1, 'b', false } }, 2);
	put_revoke(6, TARGET + 1);
	put_txn(6, (struct entry[]){ { TARGET, 'c', false } }, 1);
	cr_assert_eq(take_slot(), 0, "%s", im.why.text);
	cr_assert_eq(home(TARGET), 'c');
	cr_assert_eq(home(TARGET + 1), 0);
	(void)journal_sequence();
	cr_assert_eq(f.tag_bytes, 12, "the feature stays");
}

Test(replay, a_block_outside_the_volume_stops_all)
{
	start_at(log_at, 5);
	put_txn(5, (struct entry[]){ { TARGET, 'a', false } }, 1);
	put_txn(6, (struct entry[]){ { 1u << 30, 'b', false } }, 1);
	cr_assert_lt(take_slot(), 0);
	cr_assert_eq(im.why.code, EXIT_JOURNAL);
	cr_assert(strstr(im.why.text, "outside the volume"), "%s", im.why.text);
	cr_assert_eq(home(TARGET), 0, "nothing was written");
}

Test(replay, unknown_features_are_refused)
{
	f.super->incompat = htobe32(0x20);
	start_at(log_at, 5);
	cr_assert_lt(take_slot(), 0);
	cr_assert_eq(im.why.code, EXIT_JOURNAL);
	cr_assert(strstr(im.why.text, "0x20"), "%s", im.why.text);
}

Test(replay, a_start_outside_the_log_is_refused)
{
	start_at(1 << 20, 5);
	cr_assert_lt(take_slot(), 0);
	cr_assert_eq(im.why.code, EXIT_JOURNAL);
}

Test(replay, a_descriptor_that_fills_the_log_ends_the_scan)
{
	uint8_t block[BS];

	start_at(log_at, 5);
	memset(block, 0, BS);
	put_header(block, JBD_DESCRIPTOR, 5);
	for (unsigned off = 12; off + 8 <= BS; off += 8) {
		uint16_t same = htobe16(JBD_SAME_UUID);

		memcpy(block + off + 6, &same, 2);
	}
	put_block(block);
	cr_assert_eq(take_slot(), 0, "%s", im.why.text);
	cr_assert_eq(journal_sequence(), 6);
}

static uint32_t crc_be(uint32_t crc, const uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		for (int b = 7; b >= 0; b--) {
			uint32_t bit = (crc >> 31) ^ (p[i] >> b & 1);

			crc = crc << 1 ^ (bit ? 0x04c11db7u : 0);
		}
	return crc;
}

/* A transaction of an asynchronous commit; wrong: its checksum. */
static void put_async(uint32_t seq, const struct entry *e, unsigned n, bool wrong)
{
	uint32_t from = log_at, crc = 0xffffffffu;
	uint8_t *block = blockdev_alloc(BS);
	struct jbd_commit *c = (void *)block;

	put_body(seq, e, n);
	for (uint32_t i = 0; i < n + 1; i++) {
		cr_assert_eq(jfile_read(&f, jfile_advance(&f, from, i), 1, block), 0);
		crc = crc_be(crc, block, BS);
	}
	put_header(block, JBD_COMMIT, seq);
	c->checksum_type = 1;
	c->checksum_size = 4;
	c->checksum[0] = htobe32(crc ^ wrong);
	put_block(block);
	free(block);
}

static void async_features(uint32_t start, uint32_t seq)
{
	start_at(start, seq);
	f.super->compat = htobe32(JBD_COMPAT_CHECKSUM);
	f.super->incompat = htobe32(JBD_INCOMPAT_ASYNC_COMMIT);
	cr_assert_eq(jfile_write(&f, 0, 1, f.super), 0);
}

Test(replay, a_last_transaction_with_a_wrong_checksum_never_was)
{
	async_features(log_at, 5);
	put_async(5, (struct entry[]){ { TARGET, 'a', false } }, 1, false);
	put_async(6, (struct entry[]){ { TARGET, 'x', false } }, 1, true);
	cr_assert_eq(take_slot(), 0, "%s", im.why.text);
	cr_assert_eq(home(TARGET), 'a');
	(void)journal_sequence();
	cr_assert_eq(f.super->compat, 0, "we write no checksums");
	cr_assert_eq(f.super->incompat, 0);
}

Test(replay, a_wrong_checksum_before_good_transactions_is_damage)
{
	async_features(log_at, 5);
	put_async(5, (struct entry[]){ { TARGET, 'a', false } }, 1, true);
	put_async(6, (struct entry[]){ { TARGET, 'b', false } }, 1, false);
	cr_assert_lt(take_slot(), 0);
	cr_assert(strstr(im.why.text, "checksum"), "%s", im.why.text);
	cr_assert_eq(home(TARGET), 0);
}

Test(replay, the_recovery_generation_counts)
{
	uint32_t before, after;
	bool dirty;

	cr_assert_eq(vol_journal_state(im.v, 0, &dirty, &before), 0);
	cr_assert_not(dirty);
	start_at(log_at, 5);
	put_txn(5, (struct entry[]){ { TARGET, 'a', false } }, 1);
	cr_assert_eq(take_slot(), 0);
	cr_assert_eq(vol_journal_state(im.v, 0, &dirty, &after), 0);
	cr_assert(dirty, "the slot is in use");
	cr_assert_eq(after, before + 1);
	cr_assert_eq(vol_slot_stop(im.v, false), 0);
	cr_assert_eq(vol_journal_state(im.v, 0, &dirty, &after), 0);
	cr_assert_not(dirty);
	cr_assert_eq(after, before + 1);
}

Test(replay, a_clean_journal_with_changes_is_replayed_with_a_word)
{
	start_at(log_at, 5);
	put_txn(5, (struct entry[]){ { TARGET, 'a', false } }, 1);
	cr_assert_eq(jfile_mark(&f, false, false), 0);
	cr_assert_eq(take_slot(), 0);
	cr_assert_eq(home(TARGET), 'a');
	cr_assert(strstr(im.said, "marked clean"), "%s", im.said);
}

Test(replay, a_device_that_cannot_be_written_with_a_dirty_journal_is_refused)
{
	bool replayed;

	start_at(log_at, 5);
	jfile_close(&f);
	vol_close(im.v);
	blockdev_close(im.dev);
	im.v = NULL;
	cr_assert_eq(image_open(&im, BLOCKDEV_RO), 0);
	cr_assert_eq(vol_slot_start(im.v, 0, &replayed, &im.why), -EROFS);
	cr_assert_eq(im.why.code, EXIT_JOURNAL);
	cr_assert_eq(vol_slot_start(im.v, 1, &replayed, &im.why), 0, "that one is clean");
}

/* One transaction with a block as it is in the image. */
static void put_copy(uint32_t seq, blkno_t blkno)
{
	uint32_t home_be = htobe32((uint32_t)blkno);
	uint16_t last = htobe16(JBD_LAST);
	uint8_t block[BS];

	put_header(block, JBD_DESCRIPTOR, seq);
	memcpy(block + 12, &home_be, 4);
	memcpy(block + 12 + 6, &last, 2);
	put_block(block);
	image_peek(&im, blkno * BS, block, BS);
	put_block(block);
	put_commit(seq);
}

/*
 * A power cut tore a block on its way home: its checksum is wrong, the log holds it whole.
 * Found with the recording device: the volume could not be opened for the replay.
 */
Test(replay, blocks_torn_on_their_way_home_are_not_needed_before)
{
	blkno_t torn[] = {
		vol_info(im.v)->root_blkno,
		vol_sys_inode(im.v, VOL_SYS_GLOBAL_BITMAP, 0)->blkno,
		vol_sys_inode(im.v, VOL_SYS_TRUNCATE_LOG, 0)->blkno,
		vol_sys_inode(im.v, VOL_SYS_LOCAL_ALLOC, 0)->blkno,
		vol_sys_inode(im.v, VOL_SYS_ORPHAN_DIR, 0)->blkno,
	};
	uint8_t half[BS / 2];

	start_at(log_at, 5);
	for (uint32_t i = 0; i < sizeof(torn) / sizeof(torn[0]); i++) {
		put_copy(5 + i, torn[i]);
		memset(half, 0x5a, sizeof(half));
		image_poke(&im, torn[i] * BS + BS / 2, half, sizeof(half));
	}
	cr_assert_eq(take_slot(), 0, "%s", im.why.text);
	cr_assert_null(strstr(im.said, "damage"), "%s", im.said);
	cr_assert_eq(vol_slot_stop(im.v, false), 0);
	cr_assert(image_clean(&im));
}
