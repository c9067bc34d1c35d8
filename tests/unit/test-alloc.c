/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Allocators: claims and frees at random, new groups, groups of several runs, other
 * slots' blocks, no space. The sums of every chain are recomputed from the bits; at the
 * end everything was given back and fsck.ocfs2 agrees.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "fs/volume/alloc_int.h"
#include "tests/unit/volfix.h"

static const struct volfix_form plain = { "4K", "4K", "default", NULL, 64, 2, NULL };

static uint32_t group_bits_set(const struct ocfs2_group_desc *gd)
{
	uint32_t n = 0;

	for (uint32_t b = 0; b < le16toh(gd->bg_bits); b++)
		n += bm_test(gd->bg_bitmap, b);
	return n;
}

/* disk.md 4.1: the five places agree. Returns the number of groups of several runs. */
static unsigned check_sums(struct vol *v, enum vol_sysfile type, unsigned slot)
{
	struct vol_inode *inode = vol_sys_inode(v, type, slot);
	const struct ocfs2_chain_list *cl;
	uint32_t total = 0, used = 0;
	unsigned discontig = 0;
	struct chain c;

	cr_assert_eq(sys_lock(v, inode, true), 0);
	cr_assert_eq(chain_open(v, inode, &c), 0);
	cl = &c.di->id2.i_chain;
	for (unsigned i = 0; i < le16toh(cl->cl_count); i++) {
		uint32_t chain_total = 0, chain_free = 0;
		blkno_t blkno = le64toh(cl->cl_recs[i].c_blkno);

		cr_assert((blkno != 0) == (i < le16toh(cl->cl_next_free_rec)));
		while (blkno) {
			const struct ocfs2_group_desc *gd;
			struct buf *b;

			cr_assert_eq(bc_read(v, blkno, BLK_GROUP, inode, &b), 0);
			gd = (const struct ocfs2_group_desc *)b->data;
			cr_assert_eq(le16toh(gd->bg_chain), i);
			cr_assert_eq(le16toh(gd->bg_free_bits_count),
				     le16toh(gd->bg_bits) - group_bits_set(gd));
			chain_total += le16toh(gd->bg_bits);
			chain_free += le16toh(gd->bg_free_bits_count);
			if (!c.bitmap && le16toh(gd->bg_size) == 256 && gd->bg_list.l_next_free_rec)
				discontig++;
			blkno = le64toh(gd->bg_next_group);
			bc_put(b);
		}
		cr_assert_eq(le32toh(cl->cl_recs[i].c_total), chain_total);
		cr_assert_eq(le32toh(cl->cl_recs[i].c_free), chain_free);
		total += chain_total;
		used += chain_total - chain_free;
	}
	cr_assert_eq(le32toh(c.di->id1.bitmap1.i_total), total);
	cr_assert_eq(le32toh(c.di->id1.bitmap1.i_used), used);
	cr_assert_eq(le32toh(c.di->i_clusters), total / le16toh(cl->cl_bpc));
	cr_assert_eq(le64toh(c.di->i_size), (uint64_t)le32toh(c.di->i_clusters) * v->clustersize);
	chain_close(&c);
	sys_unlock(v, inode, true);
	return discontig;
}

/* ---- blocks -------------------------------------------------------------------------- */

static int take_block(struct vol *v, enum vol_sysfile type, struct suballoc_pos *pos)
{
	struct reservation r = { 0 };
	struct jhandle *h;
	int err;

	err = type == VOL_SYS_INODE_ALLOC ? reserve_inode(v, &r) : reserve_meta(v, 1, &r);
	if (err)
		return err;
	cr_assert_eq(jh_begin(v, reservation_credits(&r), &h), 0);
	err = type == VOL_SYS_INODE_ALLOC ? claim_inode(h, &r, pos) : claim_meta(h, &r, pos);
	cr_assert_eq(err, 0);
	cr_assert_eq(jh_end(h, false), 0);
	reservation_release(v, &r);
	return 0;
}

static void give_block(struct vol *v, enum vol_sysfile type, const struct suballoc_pos *pos)
{
	struct dealloc d = { 0 };
	blkno_t group = pos->loc ? pos->loc : pos->blkno - pos->bit;

	cr_assert_eq(dealloc_add(&d, type, pos->slot, group, pos->bit, pos->blkno), 0);
	cr_assert_eq(dealloc_run(v, &d), 0);
	cr_assert_null(d.head);
}

static int by_blkno(const void *a, const void *b)
{
	const struct suballoc_pos *x = a, *y = b;

	return x->blkno < y->blkno ? -1 : x->blkno > y->blkno;
}

static void random_blocks(const struct volfix_form *form, enum vol_sysfile type,
			  unsigned steps, unsigned most)
{
	struct suballoc_pos *pos = calloc(most, sizeof(*pos));
	struct rnd r = { rnd_seed() };
	unsigned n = 0;
	struct volfix f;

	volfix_make(&f, form);
	for (unsigned i = 0; i < steps; i++) {
		if (n < most && rnd_below(&r, 100) < (i < steps / 2 ? 95 : 30)) {
			cr_assert_eq(take_block(f.v, type, &pos[n]), 0);
			n++;
		} else if (n > 0) {
			unsigned k = rnd_below(&r, n);

			give_block(f.v, type, &pos[k]);
			pos[k] = pos[--n];
		}
		if (i % 256 == 0)
			check_sums(f.v, type, 0);
	}
	qsort(pos, n, sizeof(*pos), by_blkno);
	for (unsigned k = 1; k < n; k++)
		cr_assert_lt(pos[k - 1].blkno, pos[k].blkno, "a block was given twice");
	while (n > 0)
		give_block(f.v, type, &pos[--n]);
	check_sums(f.v, type, 0);
	check_sums(f.v, VOL_SYS_GLOBAL_BITMAP, 0);
	volfix_end(&f);
	free(pos);
}

Test(alloc, inodes_come_from_new_groups_and_go_back_where_they_came_from)
{
	random_blocks(&plain, VOL_SYS_INODE_ALLOC, 5000, 3000);
}

Test(alloc, metadata_blocks_in_small_groups)
{
	struct volfix_form form = { "512", "4K", "max-compat", NULL, 64, 2, NULL };

	random_blocks(&form, VOL_SYS_EXTENT_ALLOC, 8000, 6000);
}

Test(alloc, inode_numbers_stay_below_2_to_the_32_unless_allowed)
{
	struct reservation r = { 0 };
	struct volfix f;

	volfix_make(&f, &plain);
	cr_assert_eq(reserve_inode(f.v, &r), 0);
	cr_assert_eq(r.inode->limit, 1ull << 32);
	reservation_release(f.v, &r);
	f.v->opts.inode64 = true;
	cr_assert_eq(reserve_inode(f.v, &r), 0);
	cr_assert_eq(r.inode->limit, 0);
	reservation_release(f.v, &r);
	volfix_end(&f);
}

/* ---- clusters ------------------------------------------------------------------------- */

struct taken {
	struct run *run;
	unsigned n, room;
	uint32_t clusters;
};

/* Up to `want` clusters in one handle; false: no space. */
static bool take_clusters(struct vol *v, struct taken *t, uint32_t want)
{
	struct reservation r = { 0 };
	struct jhandle *h;
	int err;

	err = reserve_clusters(v, want, &r);
	if (err == -ENOSPC)
		return false;
	cr_assert_eq(err, 0);
	cr_assert_eq(jh_begin(v, reservation_credits(&r), &h), 0);
	while (want > 0) {
		uint32_t start, got;

		cr_assert_eq(claim_clusters(h, &r, want, &start, &got), 0);
		cr_assert(got > 0 && got <= want);
		if (t->n == t->room) {
			t->room = 2 * t->room + 64;
			t->run = realloc(t->run, t->room * sizeof(*t->run));
		}
		t->run[t->n++] = (struct run){ start, got };
		t->clusters += got;
		want -= got;
	}
	cr_assert_eq(jh_end(h, false), 0);
	reservation_release(v, &r);
	return true;
}

static void give_clusters(struct vol *v, uint32_t start, uint32_t len)
{
	struct jhandle *h;

	cr_assert_eq(tl_prepare(v, 1), 0);
	cr_assert_eq(jh_begin(v, TL_CREDITS, &h), 0);
	cr_assert_eq(tl_append(h, start, len), 0);
	cr_assert_eq(jh_end(h, false), 0);
	tl_done(v);
}

static void give_all(struct vol *v, struct taken *t)
{
	for (unsigned i = 0; i < t->n; i++)
		give_clusters(v, t->run[i].start, t->run[i].len);
	cr_assert_eq(vol_tl_flush(v), 0);
	free(t->run);
	*t = (struct taken){ 0 };
}

static void no_overlap(struct vol *v, const struct taken *t)
{
	uint8_t *map = calloc(1, v->info.clusters / 8 + 1);

	for (unsigned i = 0; i < t->n; i++) {
		cr_assert_leq(t->run[i].start + t->run[i].len, v->info.clusters);
		cr_assert(bm_all(map, t->run[i].start, t->run[i].len, false), "given twice");
		bm_set(map, t->run[i].start, t->run[i].len);
	}
	free(map);
}

static uint64_t free_clusters(struct vol *v)
{
	struct vol_statfs st;

	cr_assert_eq(vol_statfs(v, &st), 0);
	return st.ffree;
}

static void random_clusters(const struct volfix_form *form, int localalloc_mb)
{
	struct rnd r = { rnd_seed() };
	struct taken t = { 0 };
	uint64_t before;
	struct volfix f;

	volfix_make(&f, form);
	volfix_umount(&f);
	f.opts.localalloc_mb = localalloc_mb;
	volfix_mount(&f);
	before = free_clusters(f.v);
	for (int i = 0; i < 600; i++) {
		if (rnd_below(&r, 100) < 60) {
			(void)take_clusters(f.v, &t, 1 + rnd_below(&r, 200));
		} else if (t.n) {
			unsigned k = rnd_below(&r, t.n);

			give_clusters(f.v, t.run[k].start, t.run[k].len);
			t.run[k] = t.run[--t.n];
		}
		if (i % 64 == 0) {
			no_overlap(f.v, &t);
			check_sums(f.v, VOL_SYS_GLOBAL_BITMAP, 0);
		}
	}
	give_all(f.v, &t);
	cr_assert_eq(localalloc_give_back(f.v), 0);
	cr_assert_eq(free_clusters(f.v), before);
	check_sums(f.v, VOL_SYS_GLOBAL_BITMAP, 0);
	volfix_end(&f);
}

Test(alloc, random_clusters_with_a_window)
{
	random_clusters(&plain, -1);
}

Test(alloc, random_clusters_straight_from_the_bitmap)
{
	random_clusters(&plain, 0);
}

Test(alloc, random_clusters_of_many_small_groups)
{
	struct volfix_form form = { "512", "4K", "default", "noindexed-dirs", 100, 2, NULL };

	random_clusters(&form, -1);
}

/* What is planned twice before it is claimed is never the same cluster. */
Test(alloc, plans_do_not_overlap_and_change_nothing_until_claimed)
{
	struct reservation r = { 0 };
	uint32_t start[20], len[20];
	struct taken t = { 0 };
	uint64_t before;
	struct jhandle *h;
	struct volfix f;

	volfix_make(&f, &plain);
	volfix_umount(&f);
	f.opts.localalloc_mb = 0; /* the bitmap's count says all */
	volfix_mount(&f);
	before = free_clusters(f.v);
	cr_assert_eq(reserve_clusters(f.v, 60, &r), 0);
	for (int i = 0; i < 20; i++)
		cr_assert_eq(plan_clusters(&r, 3, &start[i], &len[i]), 0);
	reservation_release(f.v, &r);
	cr_assert_eq(free_clusters(f.v), before);
	cr_assert_eq(reserve_clusters(f.v, 60, &r), 0);
	t.run = calloc(20, sizeof(*t.run));
	for (int i = 0; i < 20; i++) {
		cr_assert_eq(plan_clusters(&r, 3, &start[i], &len[i]), 0);
		t.run[t.n++] = (struct run){ start[i], len[i] };
	}
	no_overlap(f.v, &t);
	cr_assert_eq(jh_begin(f.v, reservation_credits(&r), &h), 0);
	for (int i = 19; i >= 0; i--)
		cr_assert_eq(claim_planned(h, &r, start[i], len[i]), 0);
	cr_assert_eq(jh_end(h, false), 0);
	reservation_release(f.v, &r);
	cr_assert_eq(free_clusters(f.v), before - 60);
	give_all(f.v, &t);
	volfix_end(&f);
}

/* ---- a full and scattered volume ----------------------------------------------------- */

static void fill(struct vol *v, struct taken *t)
{
	uint32_t n = 512;

	while (n > 0)
		if (!take_clusters(v, t, n))
			n /= 2;
	cr_assert_eq(free_clusters(v), 0);
}

Test(alloc, a_group_of_several_runs_when_no_long_run_is_left)
{
	struct suballoc_pos pos[2500];
	struct taken t = { 0 };
	unsigned n = 0;
	struct volfix f;

	volfix_make(&f, &plain);
	fill(f.v, &t);
	/* holes of 64 clusters, none long enough for a group (1024) */
	for (uint32_t c = 0; c < f.v->info.clusters; c += 128)
		for (unsigned i = 0; i < t.n; i++) {
			struct run *r = &t.run[i];

			if (r->len >= 128 && c >= r->start && c + 64 <= r->start + r->len) {
				give_clusters(f.v, c, 64);
				/* the run falls into what is left of the hole and right of it */
				if (t.n == t.room)
					t.run = realloc(t.run, (t.room = 2 * t.room) * sizeof(*t.run));
				r = &t.run[i];
				t.run[t.n++] = (struct run){ c + 64, r->start + r->len - c - 64 };
				r->len = c - r->start;
				break;
			}
		}
	cr_assert_eq(vol_tl_flush(f.v), 0);
	cr_assert_gt(free_clusters(f.v), 2100);
	while (n < 2500 && take_block(f.v, VOL_SYS_INODE_ALLOC, &pos[n]) == 0)
		n++;
	cr_assert_geq(n, 1023);
	cr_assert_geq(check_sums(f.v, VOL_SYS_INODE_ALLOC, 0), 1);
	qsort(pos, n, sizeof(pos[0]), by_blkno);
	for (unsigned k = 1; k < n; k++)
		cr_assert_lt(pos[k - 1].blkno, pos[k].blkno, "a block was given twice");
	for (unsigned k = 0; k < n; k++) /* not in what others hold */
		for (unsigned i = 0; i < t.n; i++)
			cr_assert_geq((uint32_t)(pos[k].blkno / f.v->bpc) - t.run[i].start, t.run[i].len);
	while (n > 0)
		give_block(f.v, VOL_SYS_INODE_ALLOC, &pos[--n]);
	for (unsigned i = 0; i < t.n; i++) /* nothing left of some */
		if (t.run[i].len == 0)
			t.run[i--] = t.run[--t.n];
	give_all(f.v, &t);
	check_sums(f.v, VOL_SYS_INODE_ALLOC, 0);
	volfix_end(&f);
}

Test(alloc, on_a_full_volume_other_slots_inodes_are_used_and_given_back_there)
{
	struct suballoc_pos first, mine, own[1200];
	struct taken t = { 0 };
	struct volfix f;
	unsigned n = 0;

	volfix_make(&f, &plain);
	volfix_umount(&f);
	f.slot = 1;
	volfix_mount(&f);
	cr_assert_eq(take_block(f.v, VOL_SYS_INODE_ALLOC, &first), 0);
	cr_assert_eq(first.slot, 1);
	give_block(f.v, VOL_SYS_INODE_ALLOC, &first);
	volfix_umount(&f);
	f.slot = 0;
	volfix_mount(&f);
	fill(f.v, &t);
	do /* the own slot's first */
		cr_assert_eq(take_block(f.v, VOL_SYS_INODE_ALLOC, &own[n]), 0);
	while (own[n++].slot == 0 && n < 1200);
	cr_assert_eq(own[n - 1].slot, 1);
	cr_assert_eq(take_block(f.v, VOL_SYS_EXTENT_ALLOC, &mine), -ENOSPC);
	while (n > 0)
		give_block(f.v, VOL_SYS_INODE_ALLOC, &own[--n]);
	check_sums(f.v, VOL_SYS_INODE_ALLOC, 0);
	check_sums(f.v, VOL_SYS_INODE_ALLOC, 1);
	give_all(f.v, &t);
	/* there is room again */
	cr_assert_eq(take_block(f.v, VOL_SYS_INODE_ALLOC, &mine), 0);
	cr_assert_eq(mine.slot, 0);
	give_block(f.v, VOL_SYS_INODE_ALLOC, &mine);
	volfix_end(&f);
}

Test(alloc, freeing_a_free_bit_is_damage_and_changes_nothing)
{
	struct suballoc_pos pos;
	struct dealloc d = { 0 };
	struct volfix f;

	volfix_make(&f, &plain);
	cr_assert_eq(take_block(f.v, VOL_SYS_INODE_ALLOC, &pos), 0);
	give_block(f.v, VOL_SYS_INODE_ALLOC, &pos);
	cr_assert_eq(vol_sync(f.v), 0);
	cr_assert_eq(dealloc_add(&d, VOL_SYS_INODE_ALLOC, 0, pos.blkno - pos.bit, pos.bit, pos.blkno), 0);
	cr_assert_eq(dealloc_run(f.v, &d), -EIO);
	cr_assert(vol_is_stopped(f.v));
	volfix_crash(&f);
	volfix_mount(&f);
	check_sums(f.v, VOL_SYS_INODE_ALLOC, 0);
	volfix_end(&f);
}

/* ---- bits ------------------------------------------------------------------------------ */

Test(alloc, bit_operations_agree_with_one_bit_at_a_time)
{
	struct rnd r = { rnd_seed() };
	uint8_t map[64] = { 0 };
	bool model[512] = { 0 };

	for (int i = 0; i < 5000; i++) {
		uint32_t bit = rnd_below(&r, 512), n = rnd_below(&r, 513 - bit), end;
		bool set = rnd_below(&r, 2);

		(set ? bm_set : bm_clear)(map, bit, n);
		for (uint32_t k = 0; k < n; k++)
			model[bit + k] = set;
		bit = rnd_below(&r, 512);
		for (end = bit; end < 512 && model[end] != set; end++)
			;
		cr_assert_eq(bm_next(map, bit, 512, set), end);
	}
}
