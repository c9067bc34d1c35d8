/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The truncate log: appended, merged, flushed when full or due, recovered. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
#include "fs/volume/alloc_int.h"
#include "tests/unit/volfix.h"

static const struct volfix_form plain = { "4K", "4K", "default", NULL, 64, 2, NULL };

static unsigned records(struct vol *v)
{
	unsigned n;
	struct buf *b;

	cr_assert_eq(inode_buf(vol_sys_inode(v, VOL_SYS_TRUNCATE_LOG, vol_slot(v)), &b), 0);
	n = le16toh(((struct ocfs2_dinode *)b->data)->id2.i_dealloc.tl_used);
	bc_put(b);
	return n;
}

static uint64_t free_clusters(struct vol *v)
{
	struct vol_statfs st;

	cr_assert_eq(vol_statfs(v, &st), 0);
	return st.ffree;
}

static void take(struct vol *v, uint32_t want, uint32_t *start)
{
	struct reservation r = { 0 };
	struct jhandle *h;
	uint32_t got;

	cr_assert_eq(reserve_clusters(v, want, &r), 0);
	cr_assert_eq(jh_begin(v, reservation_credits(&r), &h), 0);
	cr_assert_eq(claim_clusters(h, &r, want, start, &got), 0);
	cr_assert_eq(got, want);
	cr_assert_eq(jh_end(h, false), 0);
	reservation_release(v, &r);
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

static void start(struct volfix *f, const struct volfix_form *form)
{
	volfix_make(f, form);
	volfix_umount(f);
	f->opts.localalloc_mb = 0; /* so that the bitmap's count says all */
	volfix_mount(f);
}

Test(trunclog, runs_that_touch_become_one_record)
{
	struct volfix f;
	uint32_t c;

	start(&f, &plain);
	take(f.v, 30, &c);
	give(f.v, c + 10, 5);
	give(f.v, c + 15, 5);
	give(f.v, c + 5, 5);
	cr_assert_eq(records(f.v), 1);
	give(f.v, c + 25, 5);
	give(f.v, c, 5);
	cr_assert_eq(records(f.v), 3);
	give(f.v, c + 20, 5);
	volfix_end(&f);
}

Test(trunclog, a_flush_frees_in_the_bitmap_and_empties_the_log)
{
	uint64_t before, after;
	struct volfix f;
	uint32_t c;

	start(&f, &plain);
	before = free_clusters(f.v);
	take(f.v, 40, &c);
	after = free_clusters(f.v);
	cr_assert_eq(after, before - 40);
	for (uint32_t i = 0; i < 40; i += 2)
		give(f.v, c + i, 1);
	cr_assert_eq(free_clusters(f.v), after, "freed before the flush");
	cr_assert_eq(vol_tl_flush(f.v), 0);
	cr_assert_eq(records(f.v), 0);
	cr_assert_eq(free_clusters(f.v), after + 20);
	for (uint32_t i = 1; i < 40; i += 2)
		give(f.v, c + i, 1);
	volfix_umount(&f); /* flushes */
	volfix_mount(&f);
	cr_assert_eq(records(f.v), 0);
	cr_assert_eq(free_clusters(f.v), before);
	volfix_end(&f);
}

Test(trunclog, a_full_log_is_flushed_for_the_next_record)
{
	struct volfix_form form = { "512", "4K", "default", "noindexed-dirs", 64, 2, NULL };
	uint64_t before;
	struct volfix f;
	uint32_t c;

	start(&f, &form);
	cr_assert_eq(tl_capacity(f.v), 39);
	before = free_clusters(f.v);
	take(f.v, 200, &c);
	for (uint32_t i = 0; i < 200; i += 2)
		give(f.v, c + i, 1);
	cr_assert_leq(records(f.v), 39);
	cr_assert_gt(free_clusters(f.v), before - 200);
	for (uint32_t i = 1; i < 200; i += 2)
		give(f.v, c + i, 1);
	cr_assert_eq(tl_prepare(f.v, 40), -ENOSPC);
	cr_assert_eq(vol_tl_flush(f.v), 0);
	cr_assert_eq(free_clusters(f.v), before);
	volfix_end(&f);
}

Test(trunclog, what_a_crash_left_is_freed_at_the_next_mount_and_only_once)
{
	uint64_t before;
	struct volfix f;
	uint32_t c;

	start(&f, &plain);
	before = free_clusters(f.v);
	take(f.v, 10, &c);
	for (uint32_t i = 0; i < 10; i += 2)
		give(f.v, c + i, 1);
	cr_assert_eq(vol_sync(f.v), 0);
	volfix_crash(&f);
	volfix_mount(&f);
	cr_assert_eq(records(f.v), 0);
	cr_assert_eq(free_clusters(f.v), before - 5);
	/* crash right after a flush */
	for (uint32_t i = 1; i < 10; i += 2)
		give(f.v, c + i, 1);
	cr_assert_eq(vol_tl_flush(f.v), 0);
	volfix_crash(&f);
	volfix_mount(&f);
	cr_assert_eq(records(f.v), 0);
	cr_assert_eq(free_clusters(f.v), before);
	volfix_end(&f);
}

Test(trunclog, a_flush_is_due_some_seconds_after_an_append)
{
	struct volfix f;
	uint32_t c;

	start(&f, &plain);
	cr_assert_not(vol_tl_due(f.v));
	take(f.v, 1, &c);
	give(f.v, c, 1);
	cr_assert_not(vol_tl_due(f.v));
	for (int i = 0; i < 1000 && !vol_tl_due(f.v); i++)
		usleep(10000);
	cr_assert(vol_tl_due(f.v));
	cr_assert_eq(vol_tl_flush(f.v), 0);
	cr_assert_not(vol_tl_due(f.v));
	volfix_end(&f);
}

Test(trunclog, a_record_outside_the_volume_is_damage_and_frees_nothing)
{
	struct vol_inode *inode;
	struct ocfs2_truncate_log *tl;
	struct volfix f;
	struct jhandle *h;
	struct buf *b;

	start(&f, &plain);
	inode = vol_sys_inode(f.v, VOL_SYS_TRUNCATE_LOG, 0);
	cr_assert_eq(inode_buf(inode, &b), 0);
	cr_assert_eq(jh_begin(f.v, 1, &h), 0);
	cr_assert_eq(jh_write(h, b, inode), 0);
	tl = &((struct ocfs2_dinode *)b->data)->id2.i_dealloc;
	tl->tl_recs[0].t_start = htole32(f.v->info.clusters - 1);
	tl->tl_recs[0].t_clusters = htole32(UINT32_MAX);
	tl->tl_used = htole16(1);
	cr_assert_eq(jh_end(h, false), 0);
	bc_put(b);
	cr_assert_eq(vol_tl_flush(f.v), -EIO);
	cr_assert(vol_is_stopped(f.v));
	volfix_crash(&f);
	close(f.fd);
}
