/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Extent trees on real images against a naive model: every cluster of the file has a
 * physical cluster and a flag. After each step the whole tree is walked: disk.md 3.2,
 * with the rules fsck does not know (every leaf but the last full, ranges, leaf list).
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "fs/volume/extent_int.h"
#include "tests/unit/volfix.h"

#define CPOS_MAX 12000

struct model {
	uint32_t phys[CPOS_MAX];	/* 0: hole */
	bool unwritten[CPOS_MAX];
	uint32_t clusters;
};

struct walk {
	struct xtree *t;
	struct model *m;
	uint32_t pos;			/* all below it was seen */
	uint32_t clusters;
	blkno_t next_leaf;		/* what the last leaf says */
	blkno_t last_leaf;
	unsigned leaves, depth;
	bool open;			/* the last leaf was not full */
};

static void walk_leaf(struct walk *w, const struct ocfs2_extent_list *l)
{
	cr_assert(!w->open, "leaf %u is not full and not the last", w->leaves);
	w->leaves++;
	w->open = xlist_used(l) < xlist_count(l);
	for (unsigned i = 0; i < xlist_used(l); i++) {
		struct extent e = xrec_get(&l->l_recs[i]);
		uint32_t bpc = w->t->owner->vol->bpc;

		cr_assert_gt(e.len, 0);
		cr_assert_geq(e.cpos, w->pos);
		for (; w->pos < e.cpos; w->pos++)
			cr_assert_eq(w->m->phys[w->pos], 0, "cpos %u is missing", w->pos);
		for (uint32_t k = 0; k < e.len; k++, w->pos++) {
			cr_assert_eq(e.blkno / bpc + k, w->m->phys[w->pos], "cpos %u", w->pos);
			cr_assert_eq(e.flags & OCFS2_EXT_UNWRITTEN,
				     w->m->unwritten[w->pos] ? OCFS2_EXT_UNWRITTEN : 0);
		}
		w->clusters += e.len;
	}
	for (unsigned i = xlist_used(l); i < xlist_count(l); i++) {
		static const struct ocfs2_extent_rec none;

		cr_assert_eq(memcmp(&l->l_recs[i], &none, sizeof(none)), 0, "unused slot not zero");
	}
}

/* First record's start in the leftmost leaf below; *end: end of the last record. */
static void walk_node(struct walk *w, const struct ocfs2_extent_list *l, bool leftmost,
		      bool rightmost, uint32_t *first, uint32_t *end)
{
	if (l->l_tree_depth == 0) {
		walk_leaf(w, l);
		if (xlist_used(l)) {
			const struct ocfs2_extent_rec *r = &l->l_recs[xlist_used(l) - 1];

			*first = xrec_cpos(&l->l_recs[0]);
			*end = xrec_cpos(r) + xrec_len(r);
		}
		return;
	}
	cr_assert_gt(xlist_used(l), 0);
	for (unsigned i = 0; i < xlist_used(l); i++) {
		const struct ocfs2_extent_rec *r = &l->l_recs[i];
		uint32_t rec_end = xrec_cpos(r) + le32toh(r->e_int_clusters), f = 0, e = 0;
		bool last = rightmost && i + 1 == xlist_used(l);
		struct ocfs2_extent_block *eb;
		struct buf *b;

		cr_assert_eq(bc_read(w->t->owner->vol, le64toh(r->e_blkno), BLK_EXTENT,
				     w->t->owner, &b), 0);
		eb = (struct ocfs2_extent_block *)b->data;
		cr_assert_eq(xlist_depth(&eb->h_list) + 1, xlist_depth(l));
		cr_assert_gt(xlist_used(&eb->h_list), 0, "empty node");
		if (eb->h_list.l_tree_depth == 0) {
			if (w->last_leaf)
				cr_assert_eq(w->next_leaf, b->blkno);
			w->last_leaf = b->blkno;
			w->next_leaf = le64toh(eb->h_next_leaf_blk);
		} else {
			cr_assert_eq(eb->h_next_leaf_blk, 0);
		}
		walk_node(w, &eb->h_list, leftmost && i == 0, last, &f, &e);
		if (i == 0)
			*first = leftmost ? xrec_cpos(r) : f;
		if (leftmost && i == 0)
			cr_assert_leq(xrec_cpos(r), f);
		else
			cr_assert_eq(xrec_cpos(r), f);
		if (i + 1 < xlist_used(l))
			cr_assert_eq(rec_end, xrec_cpos(&l->l_recs[i + 1]));
		else if (last)
			cr_assert_eq(rec_end, e);
		else
			cr_assert_geq(rec_end, e);
		*end = rec_end;
		bc_put(b);
	}
}

static void check_tree(struct xtree *t, struct model *m, unsigned *depth, unsigned *leaves)
{
	struct walk w = { .t = t, .m = m };
	uint32_t first = 0, end = 0;

	walk_node(&w, t->list, true, true, &first, &end);
	for (; w.pos < CPOS_MAX; w.pos++)
		cr_assert_eq(m->phys[w.pos], 0, "cpos %u is missing", w.pos);
	cr_assert_eq(w.clusters, m->clusters);
	cr_assert_eq(le32toh(*t->clusters), m->clusters);
	cr_assert_eq(t->owner->clusters, m->clusters);
	cr_assert_eq(w.next_leaf, 0);
	cr_assert_eq(le64toh(*t->last_eb), w.last_leaf);
	*depth = xlist_depth(t->list);
	*leaves = w.leaves;
}

static void check_lookup(struct xtree *t, struct model *m, uint32_t c)
{
	struct extent e;

	cr_assert_eq(xtree_lookup(t, c, &e), 0);
	if (m->phys[c]) {
		cr_assert_eq(e.blkno / t->owner->vol->bpc + c - e.cpos, m->phys[c]);
		return;
	}
	cr_assert_eq(e.blkno, 0);
	cr_assert_eq(e.cpos, c);
	for (uint32_t k = 0; k < e.len && c + k < CPOS_MAX; k++)
		cr_assert_eq(m->phys[c + k], 0);
	if (c + e.len < CPOS_MAX)
		cr_assert_neq(m->phys[c + e.len], 0);
}

/* ---- steps -------------------------------------------------------------------------- */

static void do_insert(struct xtree *t, struct model *m, uint32_t c, uint32_t len, uint8_t flags)
{
	struct vol *v = t->owner->vol;
	struct reservation r = { 0 };
	struct jhandle *h;
	uint32_t got, cluster;

	cr_assert_eq(reserve_meta(v, xtree_meta_needed(t, 1), &r), 0);
	cr_assert_eq(reserve_clusters(v, len, &r), 0);
	cr_assert_eq(jh_begin(v, xtree_credits_from(t, c, 1) + reservation_credits(&r), &h), 0);
	cr_assert_eq(claim_clusters(h, &r, len, &cluster, &got), 0);
	cr_assert_eq(xtree_insert(h, t, &(struct extent){ c, got, (blkno_t)cluster * v->bpc, flags },
				  &r), 0);
	cr_assert_eq(inode_store(h, t->owner), 0);
	cr_assert_eq(jh_end(h, false), 0);
	reservation_release(v, &r);
	for (uint32_t k = 0; k < got; k++) {
		m->phys[c + k] = cluster + k;
		m->unwritten[c + k] = flags & OCFS2_EXT_UNWRITTEN;
	}
	m->clusters += got;
}

static void do_remove(struct xtree *t, struct model *m, uint32_t c, uint32_t len)
{
	struct vol *v = t->owner->vol;
	struct reservation r = { 0 };
	struct dealloc d = { 0 };
	struct jhandle *h;

	cr_assert_eq(reserve_meta(v, xtree_meta_needed(t, 2), &r), 0);
	cr_assert_eq(tl_prepare(v, 1), 0);
	cr_assert_eq(jh_begin(v, xtree_credits_from(t, c, 2) + TL_CREDITS + reservation_credits(&r),
			      &h), 0);
	cr_assert_eq(tl_append(h, m->phys[c], len), 0);
	cr_assert_eq(xtree_remove(h, t, c, len, &r, &d), 0);
	cr_assert_eq(inode_store(h, t->owner), 0);
	cr_assert_eq(jh_end(h, false), 0);
	tl_done(v);
	reservation_release(v, &r);
	cr_assert_eq(dealloc_run(v, &d), 0);
	for (uint32_t k = 0; k < len; k++) {
		m->phys[c + k] = 0;
		m->unwritten[c + k] = false;
	}
	m->clusters -= len;
}

static void do_mark(struct xtree *t, struct model *m, uint32_t c, uint32_t len)
{
	struct vol *v = t->owner->vol;
	struct reservation r = { 0 };
	struct jhandle *h;

	cr_assert_eq(reserve_meta(v, xtree_meta_needed(t, 2), &r), 0);
	cr_assert_eq(jh_begin(v, xtree_credits_from(t, c, 2) + reservation_credits(&r), &h), 0);
	cr_assert_eq(xtree_mark_written(h, t, c, len, &r), 0);
	cr_assert_eq(inode_store(h, t->owner), 0);
	cr_assert_eq(jh_end(h, false), 0);
	reservation_release(v, &r);
	for (uint32_t k = 0; k < len; k++)
		m->unwritten[c + k] = false;
}

static uint32_t hole_len(const struct model *m, uint32_t c, uint32_t most)
{
	uint32_t n = 0;

	while (n < most && c + n < CPOS_MAX && !m->phys[c + n])
		n++;
	return n;
}

static void step(struct xtree *t, struct model *m, struct rnd *r, unsigned bias)
{
	uint32_t c = rnd_below(r, CPOS_MAX), len = 1 + rnd_below(r, 3);
	struct extent e;

	if (rnd_below(r, 100) < bias) {
		/* every second cluster keeps records apart */
		if (rnd_below(r, 4))
			c |= 1;
		len = hole_len(m, c, len);
		if (len)
			do_insert(t, m, c, len, rnd_below(r, 3) ? 0 : OCFS2_EXT_UNWRITTEN);
		return;
	}
	while (c < CPOS_MAX && !m->phys[c])
		c++;
	if (c == CPOS_MAX)
		return;
	cr_assert_eq(xtree_lookup(t, c, &e), 0);
	if (len > e.cpos + e.len - c)
		len = e.cpos + e.len - c;
	if (rnd_below(r, 3) == 0) {
		c = e.cpos;
		len = e.len;
	}
	if ((e.flags & OCFS2_EXT_UNWRITTEN) && rnd_below(r, 2))
		do_mark(t, m, c, len);
	else
		do_remove(t, m, c, len);
}

static void random_edits(const struct volfix_form *form, unsigned steps,
			 unsigned want_depth)
{
	struct model *m = calloc(1, sizeof(*m));
	struct rnd r = { rnd_seed() };
	unsigned depth = 0, leaves, deepest = 0;
	struct vol_inode *inode;
	struct volfix f;
	blkno_t blkno;
	struct xtree t;
	struct buf *b;

	volfix_make(&f, form);
	inode = volfix_file(&f, "f");
	blkno = inode->blkno;
	inode->size = (uint64_t)CPOS_MAX * f.v->clustersize;
	cr_assert_eq(inode_buf(inode, &b), 0);
	xtree_dinode(&t, inode, b);
	for (unsigned i = 0; i < steps; i++) {
		step(&t, m, &r, i < steps / 2 ? 80 : i < 3 * steps / 4 ? 50 : 25);
		check_tree(&t, m, &depth, &leaves);
		if (depth > deepest)
			deepest = depth;
		check_lookup(&t, m, rnd_below(&r, CPOS_MAX));
		if (i == steps / 2) { /* judged by fsck while it is large */
			bc_put(b);
			vol_iput(inode);
			volfix_umount(&f);
			volfix_fsck(&f);
			volfix_mount(&f);
			cr_assert_eq(vol_iget(f.v, blkno, &inode), 0);
			cr_assert_eq(vol_inode_refresh(inode), 0);
			cr_assert_eq(inode_buf(inode, &b), 0);
			xtree_dinode(&t, inode, b);
			check_tree(&t, m, &depth, &leaves);
		}
	}
	cr_assert_geq(deepest, want_depth);
	for (uint32_t c = 0; c < CPOS_MAX; c++) {
		struct extent e;

		if (!m->phys[c])
			continue;
		cr_assert_eq(xtree_lookup(&t, c, &e), 0);
		do_remove(&t, m, e.cpos, e.len);
	}
	check_tree(&t, m, &depth, &leaves);
	cr_assert_eq(depth, 0, "an emptied tree is flat again");
	bc_put(b);
	vol_iput(inode);
	volfix_end(&f);
	free(m);
}

Test(extent, random_edits_of_deep_trees_match_the_model)
{
	struct volfix_form form = { "512", "4K", "default", "noindexed-dirs", 100, 2, NULL };

	random_edits(&form, 3000, 2);
}

Test(extent, random_edits_with_large_blocks_match_the_model)
{
	struct volfix_form form = { "4K", "4K", "max-features", "nousrquota,nogrpquota", 100, 2, NULL };

	random_edits(&form, 2000, 1);
}

/* disk.md 3.2, 2: the shape that kernel and libocfs2 trees have, whatever the order. */
static void packed_shape(int order)
{
	struct volfix_form form = { "512", "4K", "default", "noindexed-dirs", 64, 2, NULL };
	static const uint32_t starts[3] = { 0, 56, 112 }, lens[3] = { 56, 56, 27 };
	struct model *m = calloc(1, sizeof(*m));
	struct vol_inode *inode;
	struct volfix f;
	struct xtree t;
	struct buf *b;

	volfix_make(&f, &form);
	inode = volfix_file(&f, "f");
	inode->size = 70ULL * 2 * 4096;
	cr_assert_eq(inode_buf(inode, &b), 0);
	xtree_dinode(&t, inode, b);
	for (uint32_t i = 0; i < 70; i++) {
		uint32_t k = order == 0 ? i : order == 1 ? 69 - i : i * 37 % 70;

		do_insert(&t, m, 2 * k, 1, 0);
	}
	cr_assert_eq(xlist_depth(t.list), 1);
	cr_assert_eq(xlist_used(t.list), 3);
	for (int i = 0; i < 3; i++) {
		cr_assert_eq(xrec_cpos(&t.list->l_recs[i]), starts[i]);
		cr_assert_eq(le32toh(t.list->l_recs[i].e_int_clusters), lens[i]);
	}
	bc_put(b);
	vol_iput(inode);
	volfix_end(&f);
	free(m);
}

Test(extent, forward_insertion_gives_the_packed_shape)
{
	packed_shape(0);
}

Test(extent, backward_insertion_gives_the_packed_shape)
{
	packed_shape(1);
}

Test(extent, random_insertion_gives_the_packed_shape)
{
	packed_shape(2);
}

Test(extent, a_range_that_is_taken_is_refused)
{
	struct volfix_form form = { "4K", "4K", "default", NULL, 64, 2, NULL };
	struct model *m = calloc(1, sizeof(*m));
	struct vol_inode *inode;
	struct jhandle *h;
	struct volfix f;
	struct xtree t;
	struct buf *b;

	volfix_make(&f, &form);
	inode = volfix_file(&f, "f");
	inode->size = 8 * 4096;
	cr_assert_eq(inode_buf(inode, &b), 0);
	xtree_dinode(&t, inode, b);
	do_insert(&t, m, 3, 2, 0);
	cr_assert_eq(jh_begin(f.v, xtree_edit_credits(&t), &h), 0);
	cr_assert_eq(xtree_insert(h, &t, &(struct extent){ 4, 1, 4000, 0 }, NULL), -EEXIST);
	cr_assert_eq(xtree_insert(h, &t, &(struct extent){ 2, 2, 4000, 0 }, NULL), -EEXIST);
	cr_assert_eq(xtree_remove(h, &t, 2, 1, NULL, &(struct dealloc){ 0 }), -ENOENT);
	cr_assert_eq(xtree_mark_written(h, &t, 3, 1, NULL), -EINVAL);
	cr_assert_eq(jh_end(h, false), 0);
	bc_put(b);
	vol_iput(inode);
	volfix_end(&f);
	free(m);
}

/* ---- damage --------------------------------------------------------------------------- */

/* A tree of depth 1 whose leaf and root are changed in memory, as a bad disk would. */
static void with_damage(void (*damage)(struct ocfs2_extent_list *root, struct ocfs2_extent_list *leaf,
				       blkno_t leaf_blkno))
{
	struct volfix_form form = { "512", "4K", "default", "noindexed-dirs", 64, 2, NULL };
	struct model *m = calloc(1, sizeof(*m));
	struct vol_inode *inode;
	struct extent e;
	struct volfix f;
	struct xpath p;
	struct xtree t;
	struct buf *b;

	volfix_make(&f, &form);
	inode = volfix_file(&f, "f");
	inode->size = 120ULL * 4096;
	cr_assert_eq(inode_buf(inode, &b), 0);
	xtree_dinode(&t, inode, b);
	for (uint32_t i = 0; i < 60; i++)
		do_insert(&t, m, 2 * i, 1, 0);
	cr_assert_eq(xpath_find(&t, 70, &p), 0);
	damage(t.list, xpath_leaf(&p)->list, xpath_leaf(&p)->buf->blkno);
	xpath_release(&p);
	cr_assert_eq(xtree_lookup(&t, 70, &e), -EIO);
	cr_assert(vol_is_stopped(f.v));
	bc_put(b);
	vol_iput(inode);
	volfix_crash(&f);
	close(f.fd);
	free(m);
}

static void too_full(struct ocfs2_extent_list *root, struct ocfs2_extent_list *leaf, blkno_t blkno)
{
	(void)root, (void)blkno;
	leaf->l_next_free_rec = htole16(29);
}

static void too_large(struct ocfs2_extent_list *root, struct ocfs2_extent_list *leaf, blkno_t blkno)
{
	(void)root, (void)blkno;
	leaf->l_count = htole16(60000);
	leaf->l_next_free_rec = htole16(50000);
}

static void circle(struct ocfs2_extent_list *root, struct ocfs2_extent_list *leaf, blkno_t blkno)
{
	(void)root;
	leaf->l_tree_depth = htole16(1);
	for (unsigned i = 0; i < xlist_used(leaf); i++)
		leaf->l_recs[i].e_blkno = htole64(blkno);
}

static void deep(struct ocfs2_extent_list *root, struct ocfs2_extent_list *leaf, blkno_t blkno)
{
	(void)leaf, (void)blkno;
	root->l_tree_depth = htole16(200);
}

static void empty_root(struct ocfs2_extent_list *root, struct ocfs2_extent_list *leaf, blkno_t blkno)
{
	(void)leaf, (void)blkno;
	root->l_next_free_rec = 0;
}

static void unaligned(struct ocfs2_extent_list *root, struct ocfs2_extent_list *leaf, blkno_t blkno)
{
	(void)root, (void)blkno;
	for (unsigned i = 0; i < xlist_used(leaf); i++)
		leaf->l_recs[i].e_blkno = htole64(le64toh(leaf->l_recs[i].e_blkno) + 1);
}

static void far_away(struct ocfs2_extent_list *root, struct ocfs2_extent_list *leaf, blkno_t blkno)
{
	(void)root, (void)blkno;
	for (unsigned i = 0; i < xlist_used(leaf); i++)
		leaf->l_recs[i].e_blkno = htole64(UINT64_MAX - 7);
}

Test(extent, a_leaf_fuller_than_its_capacity_is_damage) { with_damage(too_full); }
Test(extent, a_list_larger_than_its_block_is_damage) { with_damage(too_large); }
Test(extent, a_node_that_is_its_own_child_is_damage) { with_damage(circle); }
Test(extent, a_tree_deeper_than_any_is_damage) { with_damage(deep); }
Test(extent, an_empty_inner_node_is_damage) { with_damage(empty_root); }
Test(extent, a_record_inside_a_cluster_is_damage) { with_damage(unaligned); }
Test(extent, a_record_no_device_can_hold_is_damage) { with_damage(far_away); }
