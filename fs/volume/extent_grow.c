/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * extent_grow.c: more or fewer leaves at the right end of a tree (disk.md 3.5, 3.8).
 *
 * A tree grows only at its right edge, so that every leaf but the last stays full,
 * and shrinks only there. New nodes get a record of no length that starts where the
 * tree ends; whoever puts records into the new leaf sets the ranges afterwards
 * (extent_edit.c). Blocks come from the caller's reservation; blocks that are no
 * longer needed go to the caller's dealloc list and are freed after the handle.
 */
#include <errno.h>
#include <string.h>
#include "fs/volume/extent_int.h"

#define XTREE_GROW_DEPTH 4 /* five nodes on a path is what the kernel follows */

static struct ocfs2_extent_block *eb_of(struct buf *b)
{
	return (struct ocfs2_extent_block *)b->data;
}

/* A fresh extent block, joined to h, referenced; its list is empty. */
static int new_block(struct jhandle *h, struct xtree *t, struct reservation *r, unsigned depth,
		     struct buf **out)
{
	struct vol *v = xtree_vol(t);
	struct ocfs2_extent_block *eb;
	struct suballoc_pos pos;
	struct buf *b;
	int err;

	err = claim_meta(h, r, &pos);
	if (err)
		return err;
	err = bc_new(v, pos.blkno, BLK_EXTENT, t->owner, &b);
	if (err)
		return err;
	err = jh_write(h, b, t->owner);
	if (err) {
		bc_put(b);
		return err;
	}
	eb = eb_of(b);
	memset(eb, 0, v->blocksize);
	memcpy(eb->h_signature, OCFS2_EXTENT_BLOCK_SIGNATURE,
	       strlen(OCFS2_EXTENT_BLOCK_SIGNATURE));
	eb->h_suballoc_slot = htole16(pos.slot);
	eb->h_suballoc_bit = htole16(pos.bit);
	eb->h_suballoc_loc = htole64(pos.loc);
	eb->h_fs_generation = htole32(v->info.fs_generation);
	eb->h_blkno = htole64(pos.blkno);
	eb->h_list.l_tree_depth = htole16((uint16_t)depth);
	eb->h_list.l_count = htole16((uint16_t)xblock_capacity(v));
	*out = b;
	return 0;
}

static uint32_t list_end(const struct ocfs2_extent_list *l)
{
	const struct ocfs2_extent_rec *r;

	if (xlist_used(l) == 0)
		return 0;
	r = &l->l_recs[xlist_used(l) - 1];
	return xrec_cpos(r) + (l->l_tree_depth ? le32toh(r->e_int_clusters) : xrec_len(r));
}

int xtree_deepen(struct jhandle *h, struct xtree *t, struct reservation *r)
{
	unsigned depth = xlist_depth(t->list), used = xlist_used(t->list);
	struct ocfs2_extent_list *l;
	struct buf *b;
	int err;

	if (depth >= XTREE_GROW_DEPTH)
		return -ENOSPC;
	err = new_block(h, t, r, depth, &b);
	if (err)
		return err;
	err = jh_write(h, t->root, t->owner);
	if (err) {
		bc_put(b);
		return err;
	}
	l = xblock_list(b);
	memcpy(l->l_recs, t->list->l_recs, used * sizeof(l->l_recs[0]));
	l->l_next_free_rec = htole16((uint16_t)used);
	memset(t->list->l_recs, 0, xlist_count(t->list) * sizeof(t->list->l_recs[0]));
	t->list->l_recs[0].e_int_clusters = htole32(list_end(l));
	t->list->l_recs[0].e_blkno = htole64(b->blkno);
	t->list->l_next_free_rec = htole16(1);
	t->list->l_tree_depth = htole16((uint16_t)(depth + 1));
	if (depth == 0)
		*t->last_eb = htole64(b->blkno);
	bc_put(b);
	return 0;
}

/* Where the tree ends; the last leaf may be new and still empty. */
static uint32_t path_end(struct xpath *p)
{
	const struct ocfs2_extent_rec *r;

	if (xlist_used(xpath_leaf(p)->list) || p->depth == 0)
		return list_end(xpath_leaf(p)->list);
	r = &p->node[p->depth - 1].list->l_recs[p->node[p->depth - 1].idx];
	return xrec_cpos(r) + le32toh(r->e_int_clusters);
}

/* Lowest inner node of the rightmost path with a free record; -1: none. */
static int free_level(const struct xpath *p)
{
	for (int i = (int)p->depth - 1; i >= 0; i--)
		if (xlist_used(p->node[i].list) < xlist_count(p->node[i].list))
			return i;
	return -1;
}

/* Nodes below `level`, from the leaf up, each the only child of the next. */
static int new_branch(struct jhandle *h, struct xtree *t, struct reservation *r,
		      const struct xpath *p, unsigned level, uint32_t end, blkno_t *top,
		      blkno_t *leaf)
{
	*top = 0;
	for (unsigned depth = 0; depth < p->depth - level; depth++) {
		struct ocfs2_extent_list *l;
		struct buf *b;
		int err;

		err = new_block(h, t, r, depth, &b);
		if (err)
			return err;
		l = xblock_list(b);
		if (depth == 0) {
			*leaf = b->blkno;
		} else {
			l->l_recs[0].e_cpos = htole32(end);
			l->l_recs[0].e_blkno = htole64(*top);
			l->l_next_free_rec = htole16(1);
		}
		*top = b->blkno;
		bc_put(b);
	}
	return 0;
}

static int link_branch(struct jhandle *h, struct xtree *t, struct xpath *p, unsigned level,
		       uint32_t end, blkno_t top, blkno_t leaf)
{
	struct ocfs2_extent_list *l = p->node[level].list;
	unsigned used = xlist_used(l);
	int err;

	err = jh_write(h, p->node[level].buf, t->owner);
	if (!err)
		err = jh_write(h, xpath_leaf(p)->buf, t->owner);
	if (!err)
		err = jh_write(h, t->root, t->owner);
	if (err)
		return err;
	l->l_recs[used] = (struct ocfs2_extent_rec){ .e_cpos = htole32(end),
						     .e_blkno = htole64(top) };
	l->l_next_free_rec = htole16((uint16_t)(used + 1));
	eb_of(xpath_leaf(p)->buf)->h_next_leaf_blk = htole64(leaf);
	*t->last_eb = htole64(leaf);
	return 0;
}

int xtree_add_leaf(struct jhandle *h, struct xtree *t, struct reservation *r)
{
	blkno_t top, leaf = 0;
	struct xpath p;
	uint32_t end;
	int level, err;

	err = xpath_last(t, &p);
	if (err)
		return err;
	level = free_level(&p);
	if (level < 0) {
		xpath_release(&p);
		err = xtree_deepen(h, t, r);
		if (!err)
			err = xpath_last(t, &p);
		if (err)
			return err;
		level = free_level(&p);
	}
	end = path_end(&p);
	err = new_branch(h, t, r, &p, (unsigned)level, end, &top, &leaf);
	if (!err)
		err = link_branch(h, t, &p, (unsigned)level, end, top, leaf);
	xpath_release(&p);
	return err;
}

int xtree_growth_blocks(struct xtree *t, unsigned *blocks)
{
	unsigned depth = xlist_depth(t->list);
	struct xpath p;
	int level, err;

	err = xpath_last(t, &p);
	if (err)
		return err;
	level = free_level(&p);
	*blocks = level >= 0 ? depth - (unsigned)level : depth + 1;
	xpath_release(&p);
	return 0;
}

int xtree_fix_edge(struct jhandle *h, struct xtree *t)
{
	struct xpath p;
	uint32_t end;
	int err;

	err = xpath_last(t, &p);
	if (err)
		return err;
	end = path_end(&p);
	for (unsigned i = 0; i < p.depth && !err; i++) {
		struct ocfs2_extent_rec *r = &p.node[i].list->l_recs[p.node[i].idx];
		uint32_t len = end - xrec_cpos(r);

		if (le32toh(r->e_int_clusters) == len)
			continue;
		err = jh_write(h, p.node[i].buf, t->owner);
		if (!err)
			r->e_int_clusters = htole32(len);
	}
	xpath_release(&p);
	return err;
}

/* Blocks of p below `level` have left the tree. */
static int give_blocks(struct xpath *p, unsigned level, struct dealloc *d)
{
	int err = 0;

	for (unsigned i = level + 1; i <= p->depth && !err; i++) {
		const struct ocfs2_extent_block *eb = eb_of(p->node[i].buf);
		blkno_t blkno = p->node[i].buf->blkno, loc = le64toh(eb->h_suballoc_loc);
		unsigned bit = le16toh(eb->h_suballoc_bit);

		err = dealloc_add(d, VOL_SYS_EXTENT_ALLOC, le16toh(eb->h_suballoc_slot),
				  loc ? loc : blkno - bit, bit, blkno);
	}
	return err;
}

static int drop_tree(struct jhandle *h, struct xtree *t, struct xpath *p, struct dealloc *d)
{
	int err = give_blocks(p, 0, d);

	if (!err)
		err = jh_write(h, t->root, t->owner);
	if (err)
		return err;
	t->list->l_tree_depth = 0;
	t->list->l_next_free_rec = 0;
	memset(t->list->l_recs, 0, xlist_count(t->list) * sizeof(t->list->l_recs[0]));
	*t->last_eb = 0;
	return 0;
}

int xtree_drop_leaf(struct jhandle *h, struct xtree *t, struct dealloc *d)
{
	struct ocfs2_extent_list *l;
	struct xpath p, left;
	unsigned split = 0;
	bool found;
	int err;

	err = xpath_last(t, &p);
	if (err)
		return err;
	err = xpath_beside(t, &p, false, &left, &split, &found);
	if (err || !found) {
		if (!err)
			err = drop_tree(h, t, &p, d);
		xpath_release(&p);
		return err;
	}
	err = give_blocks(&p, split, d);
	if (!err)
		err = jh_write(h, p.node[split].buf, t->owner);
	if (!err)
		err = jh_write(h, xpath_leaf(&left)->buf, t->owner);
	if (!err)
		err = jh_write(h, t->root, t->owner);
	if (!err) {
		l = p.node[split].list;
		memset(&l->l_recs[p.node[split].idx], 0, sizeof(l->l_recs[0]));
		l->l_next_free_rec = htole16((uint16_t)p.node[split].idx);
		eb_of(xpath_leaf(&left)->buf)->h_next_leaf_blk = 0;
		*t->last_eb = htole64(xpath_leaf(&left)->buf->blkno);
	}
	xpath_release(&left);
	xpath_release(&p);
	return err;
}
