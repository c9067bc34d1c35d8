/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test-journal.c: handles, commits, checkpoints on a small real volume.
 *
 * Blocks that are changed are clusters at the end of the volume that nothing uses, of a
 * type without a header (BLK_RAW), on behalf of the root directory.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include "fs/volume/blockdev_record.h"
#include "fs/volume/journal_int.h"
#include "tests/volume/image.h"

enum { BS = 4096, TARGET = 15000, LIMIT_MS = 20000 };

static struct image im;
static struct journal *j;

static void setup(void)
{
	image_make(&im, "64M -b 4K -C 4K");
	image_mount(&im);
	j = im.v->journal;
}

static void teardown(void)
{
	image_free(&im);
}

TestSuite(journal, .init = setup, .fini = teardown, .timeout = 180);

static struct jhandle *begin(unsigned credits)
{
	struct jhandle *h;

	cr_assert_eq(jh_begin(im.v, credits, &h), 0);
	return h;
}

static void put(struct jhandle *h, blkno_t blkno, char c)
{
	struct buf *b;

	cr_assert_eq(bc_new(im.v, blkno, BLK_RAW, vol_root(im.v), &b), 0);
	cr_assert_eq(jh_write(h, b, vol_root(im.v)), 0);
	memset(b->data, c, BS);
	bc_put(b);
}

/* One transaction's worth of change. */
static void change(blkno_t blkno, char c)
{
	struct jhandle *h = begin(1);

	put(h, blkno, c);
	cr_assert_eq(jh_end(h, false), 0);
}

static char at_home(blkno_t blkno)
{
	char block[BS];

	image_peek(&im, blkno * BS, block, BS);
	return block[BS / 2];
}

static char cached(blkno_t blkno)
{
	struct buf *b;
	char c;

	cr_assert_eq(bc_read(im.v, blkno, BLK_RAW, vol_root(im.v), &b), 0);
	c = (char)b->data[BS / 2];
	bc_put(b);
	return c;
}

static uint32_t log_start(void)
{
	struct jfile f;
	uint32_t start;

	cr_assert_eq(jfile_open(im.v, 0, &f, &im.why), 0);
	start = be32toh(f.super->start);
	jfile_close(&f);
	return start;
}

static void crash_and_mount(void)
{
	cr_assert_eq(image_unmount(&im, true), 0);
	image_mount(&im);
	j = im.v->journal;
}

Test(journal, a_change_is_home_after_a_checkpoint_only)
{
	change(TARGET, 'a');
	cr_assert_eq(vol_sync(im.v), 0);
	cr_assert_eq(at_home(TARGET), 0);
	cr_assert_neq(log_start(), 0);
	cr_assert_not(vol_inode_checkpointed(vol_root(im.v)));
	cr_assert_eq(vol_checkpoint(im.v), 0);
	cr_assert_eq(at_home(TARGET), 'a');
	cr_assert_eq(log_start(), 0);
	cr_assert(vol_inode_checkpointed(vol_root(im.v)));
}

Test(journal, what_was_committed_survives_a_crash)
{
	change(TARGET, 'a');
	change(TARGET + 1, 'b');
	cr_assert_eq(vol_sync(im.v), 0);
	change(TARGET, 'c');
	crash_and_mount();
	cr_assert_eq(at_home(TARGET), 'a');
	cr_assert_eq(at_home(TARGET + 1), 'b');
}

Test(journal, fsck_replays_our_log)
{
	char magic[BS] = { (char)0xc0, 0x3b, 0x39, (char)0x98, 'm' };
	struct jhandle *h;
	struct buf *b;

	change(TARGET, 'a');
	h = begin(1);
	cr_assert_eq(bc_new(im.v, TARGET + 1, BLK_RAW, vol_root(im.v), &b), 0);
	cr_assert_eq(jh_write(h, b, NULL), 0);
	memcpy(b->data, magic, BS);
	bc_put(b);
	cr_assert_eq(jh_end(h, true), 0);
	cr_assert_eq(image_unmount(&im, true), 0);
	(void)image_shell(&im, "replayvol v.img");
	cr_assert(image_clean(&im));
	cr_assert_eq(at_home(TARGET), 'a');
	image_peek(&im, (TARGET + 1) * (uint64_t)BS, magic, 8);
	cr_assert_eq((uint8_t)magic[0], 0xc0, "unescaped");
	cr_assert_eq(magic[4], 'm');
}

Test(journal, blocks_that_look_like_log_blocks_are_escaped)
{
	uint32_t magic = htobe32(JBD_MAGIC), first;
	struct jhandle *h = begin(1);
	struct buf *b;

	cr_assert_eq(bc_new(im.v, TARGET, BLK_RAW, vol_root(im.v), &b), 0);
	cr_assert_eq(jh_write(h, b, NULL), 0);
	memcpy(b->data, &magic, 4);
	b->data[BS / 2] = 'e';
	bc_put(b);
	cr_assert_eq(jh_end(h, true), 0);
	crash_and_mount();
	cr_assert_eq(at_home(TARGET), 'e');
	image_peek(&im, (uint64_t)TARGET * BS, &first, 4);
	cr_assert_eq(first, magic);

	h = begin(1);
	cr_assert_eq(bc_read(im.v, TARGET, BLK_RAW, vol_root(im.v), &b), 0);
	cr_assert_eq(jh_write(h, b, NULL), 0);
	b->data[BS / 2] = 'f';
	bc_put(b);
	cr_assert_eq(jh_end(h, false), 0);
	cr_assert_eq(vol_checkpoint(im.v), 0);
	image_peek(&im, (uint64_t)TARGET * BS, &first, 4);
	cr_assert_eq(first, magic, "a checkpoint writes the block, not its escaped copy");
	cr_assert_eq(at_home(TARGET), 'f');
}

Test(journal, the_next_transaction_does_not_change_the_last_ones_image)
{
	change(TARGET, 'a');
	cr_assert_eq(vol_sync(im.v), 0);
	change(TARGET, 'b');
	cr_assert_eq(journal_checkpoint(j), 0);
	cr_assert_eq(at_home(TARGET), 'a', "committed, not current");
	cr_assert_eq(cached(TARGET), 'b');
	cr_assert_eq(vol_checkpoint(im.v), 0);
	cr_assert_eq(at_home(TARGET), 'b');
}

Test(journal, the_newest_of_several_images_goes_home)
{
	for (char c = 'a'; c <= 'e'; c++) {
		change(TARGET, c);
		cr_assert_eq(vol_sync(im.v), 0);
	}
	cr_assert_eq(vol_checkpoint(im.v), 0);
	cr_assert_eq(at_home(TARGET), 'e');
}

Test(journal, many_transactions_go_round_the_log)
{
	unsigned blocks = j->log_room, rounds = 0;

	for (unsigned used = 0; used < 3 * blocks; used += 200 + 2, rounds++) {
		struct jhandle *h = begin(200);

		for (unsigned i = 0; i < 200; i++)
			put(h, TARGET + i, (char)('a' + rounds % 26));
		cr_assert_eq(jh_end(h, true), 0);
	}
	crash_and_mount();
	for (unsigned i = 0; i < 200; i++)
		cr_assert_eq(at_home(TARGET + i), (char)('a' + (rounds - 1) % 26), "block %u", i);
}

Test(journal, a_transaction_of_many_descriptors_is_replayed)
{
	unsigned n = jh_max_credits(im.v);
	struct jhandle *h;

	cr_assert_eq(image_unmount(&im, false), 0);
	image_free(&im);
	image_make(&im, "64M -b 1K -C 4K --fs-feature-level=max-features");
	image_mount(&im);
	n = jh_max_credits(im.v);
	cr_assert_gt(n, 2 * jbd_tags(1024, 8));
	h = begin(n);
	for (unsigned i = 0; i < n; i++) {
		struct buf *b;

		cr_assert_eq(bc_new(im.v, 60000 + i, BLK_RAW, NULL, &b), 0);
		cr_assert_eq(jh_write(h, b, NULL), 0);
		memset(b->data, (int)(i & 0x7f) + 1, 1024);
		bc_put(b);
	}
	cr_assert_eq(jh_end(h, true), 0);
	cr_assert_eq(image_unmount(&im, true), 0);
	image_mount(&im);
	for (unsigned i = 0; i < n; i++) {
		char c;

		image_peek(&im, (60000ull + i) * 1024 + 5, &c, 1);
		cr_assert_eq(c, (char)((i & 0x7f) + 1), "block %u", i);
	}
}

Test(journal, a_handle_larger_than_any_transaction_is_refused)
{
	struct jhandle *h;

	cr_assert_eq(jh_begin(im.v, jh_max_credits(im.v) + 1, &h), -ENOSPC);
	h = begin(jh_max_credits(im.v));
	cr_assert_eq(jh_extend(h, 1), -ENOSPC);
	cr_assert_eq(jh_end(h, false), 0);
}

Test(journal, a_full_transaction_is_committed_for_the_next_handle)
{
	struct jhandle *h = begin(jh_max_credits(im.v));

	put(h, TARGET, 'a');
	cr_assert_eq(jh_extend(h, 0), 0);
	cr_assert_eq(jh_end(h, false), 0);
	for (unsigned i = 1; i < jh_max_credits(im.v); i++)
		change(TARGET + i, 'b');
	h = begin(jh_max_credits(im.v)); /* there is no room for it beside the others */
	cr_assert_geq(atomic_load(&j->committed_id), 1);
	put(h, TARGET, 'c');
	cr_assert_eq(j->running->nbufs, 1);
	cr_assert_eq(jh_end(h, false), 0);
}

Test(journal, a_block_costs_a_handle_one_credit)
{
	struct jhandle *h = begin(2);

	for (int i = 0; i < 10; i++) {
		put(h, TARGET, 'a');
		put(h, TARGET + 1, 'a');
	}
	cr_assert_eq(h->left, 0);
	cr_assert_eq(j->running->nbufs, 2);
	cr_assert_eq(jh_end(h, false), 0);
	cr_assert_eq(j->running->reserved, 0);
	cr_assert_null(strstr(im.said, "needs more credits"));
}

/* ---- the barrier ------------------------------------------------------------------------ */

static void *sync_it(void *arg)
{
	(void)arg;
	return (void *)(intptr_t)vol_sync(im.v);
}

static void *begin_and_end(void *arg)
{
	(void)arg;
	change(TARGET + 9, 'z');
	return NULL;
}

static bool barrier_up(void)
{
	bool up;

	pthread_mutex_lock(&j->mutex);
	up = j->barrier;
	pthread_mutex_unlock(&j->mutex);
	return up;
}

static bool wait_until(bool (*is)(void))
{
	for (int ms = 0; ms < LIMIT_MS; ms++) {
		if (is())
			return true;
		usleep(1000);
	}
	return false;
}

Test(journal, a_commit_waits_for_open_handles_and_is_not_passed_by_new_ones)
{
	struct jhandle *h = begin(2);
	pthread_t syncer, other;
	void *rc;

	put(h, TARGET, 'a');
	cr_assert_eq(pthread_create(&syncer, NULL, sync_it, NULL), 0);
	cr_assert(wait_until(barrier_up));
	cr_assert_eq(pthread_create(&other, NULL, begin_and_end, NULL), 0);
	put(h, TARGET + 1, 'b');
	cr_assert_eq(jh_end(h, false), 0);
	pthread_join(syncer, &rc);
	cr_assert_eq((intptr_t)rc, 0);
	pthread_join(other, NULL);
	crash_and_mount();
	cr_assert_eq(at_home(TARGET), 'a');
	cr_assert_eq(at_home(TARGET + 1), 'b', "joined before the freeze");
	cr_assert_eq(at_home(TARGET + 9), 0, "began after the freeze");
}

static atomic_bool halt;

static void *stream(void *arg)
{
	blkno_t blkno = TARGET + (blkno_t)(intptr_t)arg;

	while (!atomic_load(&halt))
		change(blkno, 's');
	return NULL;
}

Test(journal, a_stream_of_handles_does_not_hold_up_commits)
{
	pthread_t t[4];

	for (intptr_t i = 0; i < 4; i++)
		cr_assert_eq(pthread_create(&t[i], NULL, stream, (void *)i), 0);
	for (int i = 0; i < 50; i++) {
		cr_assert_eq(vol_sync(im.v), 0);
		cr_assert_eq(vol_checkpoint(im.v), 0);
	}
	atomic_store(&halt, true);
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
}

Test(journal, the_thread_commits_after_the_interval)
{
	struct vol_opts opts = { .localalloc_mb = -1, .commit_ms = 20, .log = &im.log };
	bool replayed;

	cr_assert_eq(vol_slot_stop(im.v, false), 0);
	vol_close(im.v);
	cr_assert_eq(vol_open(im.dev, &opts, &im.v, &im.why), 0);
	cr_assert_eq(vol_slot_start(im.v, 0, &replayed, &im.why), 0);
	j = im.v->journal;
	change(TARGET, 'a');
	for (int ms = 0; ms < LIMIT_MS && atomic_load(&j->committed_id) == 0; ms++)
		usleep(1000);
	cr_assert_neq(atomic_load(&j->committed_id), 0);
}

/* ---- freed clusters ----------------------------------------------------------------------- */

Test(journal, freed_clusters_wait_until_they_are_durable)
{
	struct jhandle *h = begin(1);
	uint32_t start, len;

	put(h, TARGET, 'a');
	cr_assert_eq(jh_freed(h, 100, 10), 0);
	cr_assert_eq(jh_freed(h, 110, 5), 0);
	cr_assert_eq(jh_freed(h, 200, 1), 0);
	cr_assert_eq(jh_end(h, false), 0);

	cr_assert(jh_reusable(im.v, 90, 300, &start, &len));
	cr_assert_eq(start, 90);
	cr_assert_eq(len, 10);
	cr_assert(jh_reusable(im.v, 100, 300, &start, &len));
	cr_assert_eq(start, 115);
	cr_assert_eq(len, 85);
	cr_assert(jh_reusable(im.v, 200, 300, &start, &len));
	cr_assert_eq(start, 201);
	cr_assert_eq(len, 99);
	cr_assert_not(jh_reusable(im.v, 100, 115, &start, &len));

	cr_assert_eq(vol_sync(im.v), 0);
	cr_assert(jh_reusable(im.v, 100, 300, &start, &len));
	cr_assert_eq(start, 100);
	cr_assert_eq(len, 200);
}

/* ---- errors --------------------------------------------------------------------------------- */

Test(journal, an_aborted_handle_stops_the_volume_and_is_never_written)
{
	struct jhandle *h;

	change(TARGET, 'a');
	cr_assert_eq(vol_sync(im.v), 0);
	h = begin(1);
	put(h, TARGET, 'x');
	jh_abort(h, "half done");
	cr_assert_eq(jh_end(h, false), -EIO);
	cr_assert_eq(im.stopped, 1);
	cr_assert(vol_is_stopped(im.v));
	cr_assert_eq(jh_begin(im.v, 1, &h), -EIO);
	cr_assert_eq(vol_sync(im.v), -EIO);
	cr_assert_eq(vol_checkpoint(im.v), -EIO);
	cr_assert_eq(image_unmount(&im, false), -EIO, "it cannot end cleanly");
	image_mount(&im);
	cr_assert_eq(at_home(TARGET), 'a');
}

Test(journal, damage_stops_writing_as_well)
{
	struct jhandle *h;

	change(TARGET, 'a');
	(void)vol_damaged(im.v, "for a test");
	(void)vol_damaged(im.v, "and again");
	cr_assert_eq(im.stopped, 1);
	cr_assert_eq(jh_begin(im.v, 1, &h), -EIO);
	cr_assert_eq(vol_sync(im.v), -EIO);
}

/* The device fails at the n-th write or flush: afterwards all or nothing is there. */
Test(journal, an_error_at_any_write_leaves_a_log_that_can_be_replayed)
{
	for (unsigned n = 0; n < 14; n++) {
		struct vol_opts opts = { .localalloc_mb = -1, .commit_ms = 60000, .log = &im.log };
		struct blockdev *rec;
		bool replayed, synced, failed;
		char a, b;

		cr_assert_eq(image_unmount(&im, false), 0);
		image_poke(&im, (uint64_t)TARGET * BS, (char[BS]){ 0 }, BS);
		image_poke(&im, (uint64_t)(TARGET + 1) * BS, (char[BS]){ 0 }, BS);
		cr_assert_eq(blockdev_open(im.path, 0, &im.dev, &im.why), 0);
		cr_assert_eq(blockdev_record(im.dev, &rec), 0);
		im.dev = rec;
		cr_assert_eq(vol_open(rec, &opts, &im.v, &im.why), 0);
		cr_assert_eq(vol_slot_start(im.v, 0, &replayed, &im.why), 0);
		change(TARGET, 'a');
		change(TARGET + 1, 'b');
		blockdev_record_fail_at(rec, n);
		synced = !vol_sync(im.v);
		failed = vol_checkpoint(im.v) != 0;
		cr_assert_eq(vol_is_stopped(im.v), failed, "n=%u", n);
		cr_assert_eq(image_unmount(&im, true), 0);
		image_mount(&im);
		cr_assert_eq(vol_checkpoint(im.v), 0);
		a = at_home(TARGET);
		b = at_home(TARGET + 1);
		cr_assert(a == 0 || a == 'a');
		cr_assert_eq(a != 0, b != 0, "n=%u: all or nothing", n);
		cr_assert(!synced || a == 'a', "n=%u: synced is there", n);
	}
}

/* ---- read-only ------------------------------------------------------------------------------- */

Test(journal, a_read_only_volume_opens_no_handles_but_ends_cleanly)
{
	struct jhandle *h;

	change(TARGET, 'a');
	cr_assert_eq(vol_set_readonly(im.v, true), 0);
	cr_assert_eq(jh_begin(im.v, 1, &h), -EROFS);
	cr_assert_eq(vol_set_readonly(im.v, false), 0);
	change(TARGET, 'b');
	cr_assert_eq(vol_set_readonly(im.v, true), 0);
	cr_assert_eq(image_unmount(&im, false), 0);
	cr_assert(image_clean(&im));
	cr_assert_eq(at_home(TARGET), 'b');
}

/* ---- fsync ------------------------------------------------------------------------------------ */

Test(journal, fsync_waits_for_what_an_earlier_object_of_the_inode_changed)
{
	struct vol_new what = { .mode = S_IFREG | 0644 };
	struct vol_inode *inode;
	blkno_t blkno;

	cr_assert_eq(vol_create(vol_root(im.v), "f", 1, &what, &inode), 0);
	blkno = inode->blkno;
	vol_iput(inode);
	cr_assert_eq(vol_iget(im.v, blkno, &inode), 0);
	cr_assert_eq(vol_inode_refresh(inode), 0);
	cr_assert_eq(vol_fsync(inode, true), 0);
	vol_iput(inode);
	cr_assert_neq(atomic_load(&j->committed_id), 0);
}
