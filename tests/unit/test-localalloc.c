/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The local alloc window: opened, moved, returned at unmount and after a crash. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "fs/volume/alloc_int.h"
#include "tests/unit/volfix.h"

static const struct volfix_form plain = { "4K", "4K", "default", NULL, 64, 2, NULL };

static void window(struct vol *v, uint32_t *first, uint32_t *total, uint32_t *used)
{
	const struct ocfs2_dinode *di;
	struct buf *b;

	cr_assert_eq(inode_buf(vol_sys_inode(v, VOL_SYS_LOCAL_ALLOC, vol_slot(v)), &b), 0);
	di = (const struct ocfs2_dinode *)b->data;
	*first = le32toh(di->id2.i_lab.la_bm_off);
	*total = le32toh(di->id1.bitmap1.i_total);
	*used = le32toh(di->id1.bitmap1.i_used);
	bc_put(b);
}

static uint64_t free_clusters(struct vol *v)
{
	struct vol_statfs st;

	cr_assert_eq(vol_statfs(v, &st), 0);
	return st.ffree;
}

static uint32_t take(struct vol *v, uint32_t want)
{
	struct reservation r = { 0 };
	uint32_t start, got;
	struct jhandle *h;

	cr_assert_eq(reserve_clusters(v, want, &r), 0);
	cr_assert_eq(jh_begin(v, reservation_credits(&r), &h), 0);
	cr_assert_eq(claim_clusters(h, &r, want, &start, &got), 0);
	cr_assert_eq(got, want);
	cr_assert_eq(jh_end(h, false), 0);
	reservation_release(v, &r);
	return start;
}

static void give(struct vol *v, uint32_t start, uint32_t len)
{
	struct jhandle *h;

	cr_assert_eq(tl_prepare(v, 1), 0);
	cr_assert_eq(jh_begin(v, TL_CREDITS, &h), 0);
	cr_assert_eq(tl_append(h, start, len), 0);
	cr_assert_eq(jh_end(h, false), 0);
	tl_done(v);
}

Test(localalloc, small_claims_come_from_one_run_and_leave_the_bitmap_alone)
{
	uint32_t first, total, used, start, next;
	uint64_t before;
	struct volfix f;

	volfix_make(&f, &plain);
	window(f.v, &first, &total, &used);
	cr_assert_eq(total, 0);
	start = take(f.v, 3);
	window(f.v, &first, &total, &used);
	/* 64 MiB, 2 slots: 32 MiB a slot (fs-locking.md 9) */
	cr_assert_leq(total, 32 * 256);
	cr_assert_geq(total, 256);
	cr_assert_eq(used, 3);
	cr_assert_eq(start, first);
	before = free_clusters(f.v);
	next = take(f.v, 5);
	cr_assert_eq(next, start + 3);
	cr_assert_eq(free_clusters(f.v), before);
	give(f.v, start, 8);
	volfix_end(&f);
}

Test(localalloc, the_window_moves_when_it_is_used_up)
{
	uint32_t first, total, used, other, start[64];
	uint64_t before;
	struct volfix f;
	unsigned n = 0;

	volfix_make(&f, &plain);
	before = free_clusters(f.v);
	start[n++] = take(f.v, 300);
	window(f.v, &first, &total, &used);
	do {
		start[n++] = take(f.v, 300);
		window(f.v, &other, &total, &used);
	} while (other == first && n < 40);
	cr_assert_neq(other, first);
	cr_assert_eq(used, 300);
	cr_assert_eq(before - free_clusters(f.v), (n - 1) * 300 + total);
	for (unsigned i = 0; i < n; i++)
		give(f.v, start[i], 300);
	cr_assert_eq(vol_tl_flush(f.v), 0);
	cr_assert_eq(localalloc_give_back(f.v), 0);
	cr_assert_eq(free_clusters(f.v), before);
	volfix_end(&f);
}

Test(localalloc, a_clean_unmount_leaves_no_window)
{
	uint32_t first, total, used;
	uint64_t before;
	struct volfix f;

	volfix_make(&f, &plain);
	before = free_clusters(f.v);
	give(f.v, take(f.v, 10), 10);
	volfix_umount(&f);
	volfix_fsck(&f);
	volfix_mount(&f);
	window(f.v, &first, &total, &used);
	cr_assert(first == 0 && total == 0 && used == 0);
	cr_assert_eq(free_clusters(f.v), before);
	volfix_end(&f);
}

Test(localalloc, the_window_of_a_crash_is_returned_at_the_next_mount)
{
	uint32_t first, total, used;
	uint64_t before;
	struct volfix f;

	volfix_make(&f, &plain);
	before = free_clusters(f.v);
	give(f.v, take(f.v, 10), 10);
	cr_assert_eq(vol_sync(f.v), 0);
	cr_assert_lt(free_clusters(f.v), before);
	volfix_crash(&f);
	volfix_mount(&f);
	window(f.v, &first, &total, &used);
	cr_assert_eq(total, 0);
	cr_assert_eq(vol_tl_flush(f.v), 0);
	cr_assert_eq(free_clusters(f.v), before);
	volfix_end(&f);
}

Test(localalloc, a_used_window_with_a_clean_journal_is_refused)
{
	__le32 total = htole32(100), off = htole32(5000);
	struct reason why = { 0 };
	bool replayed;
	struct volfix f;
	blkno_t blkno;
	int fd;

	volfix_make(&f, &plain);
	blkno = vol_sys_inode(f.v, VOL_SYS_LOCAL_ALLOC, 0)->blkno;
	volfix_umount(&f);
	fd = open(f.image, O_RDWR);
	cr_assert_geq(fd, 0);
	cr_assert_eq(pwrite(fd, &total, 4, (off_t)(blkno * 4096 +
		     offsetof(struct ocfs2_dinode, id1.bitmap1.i_total))), 4);
	cr_assert_eq(pwrite(fd, &off, 4, (off_t)(blkno * 4096 +
		     offsetof(struct ocfs2_dinode, id2.i_lab.la_bm_off))), 4);
	close(fd);
	cr_assert_eq(blockdev_open(f.image, 0, &f.dev, &why), 0);
	cr_assert_eq(vol_open(f.dev, &f.opts, &f.v, &why), 0);
	cr_assert_lt(vol_slot_start(f.v, 0, &replayed, &why), 0);
	cr_assert_eq(why.code, EXIT_JOURNAL);
	cr_assert_not_null(strstr(why.text, "local_alloc"), "%s", why.text);
	vol_close(f.v);
	blockdev_close(f.dev);
	close(f.fd);
}

Test(localalloc, when_no_run_is_long_enough_the_bitmap_serves)
{
	struct volfix f;
	uint32_t n = 0, first, total, used;
	uint32_t *start = malloc(20000 * sizeof(*start));

	volfix_make(&f, &plain);
	volfix_umount(&f);
	f.opts.localalloc_mb = 0;
	volfix_mount(&f);
	while (free_clusters(f.v))
		start[n++] = take(f.v, 1);
	for (uint32_t i = 0; i < n; i += 2) {
		give(f.v, start[i], 1);
		start[i] = 0;
	}
	volfix_umount(&f);
	f.opts.localalloc_mb = -1;
	volfix_mount(&f);
	cr_assert_gt(free_clusters(f.v), n / 2 - 2);
	start[0] = take(f.v, 1);
	window(f.v, &first, &total, &used);
	cr_assert_eq(total, 0);
	for (uint32_t i = 0; i < n; i++)
		if (start[i])
			give(f.v, start[i], 1);
	volfix_end(&f);
	free(start);
}
