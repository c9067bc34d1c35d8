/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * extent.c: finding things in extent trees (disk.md 3.1 to 3.3).
 *
 * A tree's root lies in a block of its owner (dinode, dx root); everything below
 * is read through the block cache under the owner's lock. The disk is not trusted:
 * every list is checked for its depth, capacity and fill before it is used. A
 * child's depth is its parent's less one, so a damaged tree that points back to
 * itself ends after XTREE_MAX_DEPTH steps.
 *
 * Not here: changes (extent_edit.c). Lookups need the owner's sem, shared.
 */
#include <errno.h>
#include "fs/volume/extent_int.h"

void xtree_dinode(struct xtree *t, struct vol_inode *inode, struct buf *dinode)
{
	struct ocfs2_dinode *di = (struct ocfs2_dinode *)dinode->data;

	*t = (struct xtree){
		.owner = inode,
		.root = dinode,
		.list = &di->id2.i_list,
		.last_eb = &di->i_last_eb_blk,
		.clusters = &di->i_clusters,
	};
}

void xtree_dx_root(struct xtree *t, struct vol_inode *dir, struct buf *dx_root)
{
	struct ocfs2_dx_root_block *dr = (struct ocfs2_dx_root_block *)dx_root->data;

	*t = (struct xtree){
		.owner = dir,
		.root = dx_root,
		.list = &dr->dr_list,
		.last_eb = &dr->dr_last_eb_blk,
		.clusters = &dr->dr_clusters,
		.is_dx = true,
	};
}

static int bad_tree(struct xtree *t, const struct buf *b, const char *what)
{
	return vol_damaged(xtree_vol(t), "extent tree: %s inode=%llu block=%llu", what,
			   (unsigned long long)t->owner->blkno, (unsigned long long)b->blkno);
}

static int check_list(struct xtree *t, const struct buf *b, const struct ocfs2_extent_list *l,
		      unsigned depth)
{
	size_t start = (size_t)((const uint8_t *)l->l_recs - b->data);
	size_t room = (xtree_vol(t)->blocksize - start) / sizeof(struct ocfs2_extent_rec);

	if (xlist_depth(l) != depth)
		return bad_tree(t, b, "list has the wrong depth");
	if (xlist_count(l) == 0 || xlist_count(l) > room)
		return bad_tree(t, b, "list has an impossible capacity");
	if (xlist_used(l) > xlist_count(l))
		return bad_tree(t, b, "list is fuller than its capacity");
	if (depth > 0 && xlist_used(l) == 0)
		return bad_tree(t, b, "inner node is empty");
	return 0;
}

void xpath_release(struct xpath *p)
{
	for (unsigned i = 1; i <= p->depth; i++)
		bc_put(p->node[i].buf);
	p->depth = 0;
}

static int path_root(struct xtree *t, struct xpath *p)
{
	unsigned depth = xlist_depth(t->list);

	*p = (struct xpath){ 0 };
	if (depth > XTREE_MAX_DEPTH)
		return bad_tree(t, t->root, "deeper than any tree can be");
	p->node[0] = (struct xnode){ .buf = t->root, .list = t->list };
	return check_list(t, t->root, t->list, depth);
}

/* Go one level down through node[p->depth].idx. On error p is unchanged. */
static int path_down(struct xtree *t, struct xpath *p)
{
	struct xnode *n = &p->node[p->depth];
	unsigned depth = xlist_depth(n->list);
	struct buf *b;
	int err;

	err = bc_read(xtree_vol(t), le64toh(n->list->l_recs[n->idx].e_blkno), BLK_EXTENT,
		      t->owner, &b);
	if (err)
		return err;
	err = check_list(t, b, xblock_list(b), depth - 1);
	if (err) {
		bc_put(b);
		return err;
	}
	p->depth++;
	p->node[p->depth] = (struct xnode){ .buf = b, .list = xblock_list(b) };
	return 0;
}

int xlist_find(const struct ocfs2_extent_list *l, uint32_t key)
{
	int lo = 0, hi = (int)xlist_used(l); /* answer + 1 lies in [lo, hi] */

	while (lo < hi) {
		int mid = (lo + hi) / 2;

		if (xrec_cpos(&l->l_recs[mid]) <= key)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo - 1;
}

/* Keys left of the first record belong to the first child. */
static unsigned child_of(const struct ocfs2_extent_list *l, uint32_t key)
{
	int i = xlist_find(l, key);

	return i < 0 ? 0 : (unsigned)i;
}

int xpath_find(struct xtree *t, uint32_t key, struct xpath *out)
{
	int err = path_root(t, out);

	while (!err && xlist_depth(xpath_leaf(out)->list) > 0) {
		xpath_leaf(out)->idx = child_of(xpath_leaf(out)->list, key);
		err = path_down(t, out);
	}
	if (err)
		xpath_release(out);
	return err;
}

int xpath_last(struct xtree *t, struct xpath *out)
{
	int err = path_root(t, out);

	while (!err && xlist_depth(xpath_leaf(out)->list) > 0) {
		xpath_leaf(out)->idx = xlist_used(xpath_leaf(out)->list) - 1;
		err = path_down(t, out);
	}
	if (err)
		xpath_release(out);
	return err;
}

int xpath_beside(struct xtree *t, const struct xpath *p, bool right, struct xpath *out,
		 unsigned *split, bool *found)
{
	int level = (int)p->depth - 1;
	int err = 0;

	*out = (struct xpath){ 0 };
	for (; level >= 0; level--) {
		const struct xnode *n = &p->node[level];

		if (right ? n->idx + 1 < xlist_used(n->list) : n->idx > 0)
			break;
	}
	*found = level >= 0;
	if (level < 0)
		return 0;
	*split = (unsigned)level;
	for (int i = 0; i <= level; i++) {
		out->node[i] = p->node[i];
		if (i > 0)
			bc_hold(p->node[i].buf);
	}
	out->depth = (unsigned)level;
	out->node[level].idx += right ? 1 : -1U;
	do {
		err = path_down(t, out);
		if (!err && !right)
			xpath_leaf(out)->idx = xlist_used(xpath_leaf(out)->list) - 1;
	} while (!err && xlist_depth(xpath_leaf(out)->list) > 0);
	if (err)
		xpath_release(out);
	return err;
}

/* First record of the leaf right of p's; *cpos unchanged if there is none. */
static int next_start(struct xtree *t, const struct xpath *p, uint32_t *cpos)
{
	struct xpath next;
	unsigned split, first;
	bool found;
	int err;

	err = xpath_beside(t, p, true, &next, &split, &found);
	if (err || !found)
		return err;
	/* an empty record may stand at index 0 (disk.md 3.2, 5) */
	first = xlist_used(xpath_leaf(&next)->list) > 0 &&
		xrec_len(&xpath_leaf(&next)->list->l_recs[0]) == 0;
	if (first < xlist_used(xpath_leaf(&next)->list))
		*cpos = xrec_cpos(&xpath_leaf(&next)->list->l_recs[first]);
	xpath_release(&next);
	return 0;
}

int xtree_lookup(struct xtree *t, uint32_t cpos, struct extent *out)
{
	struct ocfs2_extent_list *l;
	struct xpath p;
	uint32_t end = UINT32_MAX;
	int i, err;

	err = xpath_find(t, cpos, &p);
	if (err)
		return err;
	l = xpath_leaf(&p)->list;
	i = xlist_find(l, cpos);
	if (i >= 0 && cpos - xrec_cpos(&l->l_recs[i]) < xrec_len(&l->l_recs[i])) {
		*out = xrec_get(&l->l_recs[i]);
		/* the volume may have grown since the mount: its end is the device's business */
		if (out->blkno == 0 || out->blkno % xtree_vol(t)->bpc || out->blkno >> 48)
			err = bad_tree(t, xpath_leaf(&p)->buf, "record points to no cluster");
	} else {
		if ((unsigned)(i + 1) < xlist_used(l))
			end = xrec_cpos(&l->l_recs[i + 1]);
		else
			err = next_start(t, &p, &end);
		if (!err && end <= cpos && end != UINT32_MAX)
			err = bad_tree(t, xpath_leaf(&p)->buf, "records are not in order");
		*out = (struct extent){ .cpos = cpos, .len = end > cpos ? end - cpos : 1 };
	}
	xpath_release(&p);
	return err;
}

int xtree_floor(struct xtree *t, uint32_t key, struct extent *out)
{
	struct xpath p, left;
	unsigned split;
	bool found = false;
	int i, err;

	err = xpath_find(t, key, &p);
	if (err)
		return err;
	i = xlist_find(xpath_leaf(&p)->list, key);
	if (i < 0) {
		err = xpath_beside(t, &p, false, &left, &split, &found);
		xpath_release(&p);
		if (err)
			return err;
		if (!found)
			return -ENOENT;
		p = left;
		i = (int)xlist_used(xpath_leaf(&p)->list) - 1;
	}
	if (i < 0 || xrec_len(&xpath_leaf(&p)->list->l_recs[i]) == 0)
		err = -ENOENT;
	else
		*out = xrec_get(&xpath_leaf(&p)->list->l_recs[i]);
	xpath_release(&p);
	return err;
}

int xtree_last(struct xtree *t, struct extent *out)
{
	struct xpath p;
	unsigned used;
	int err;

	err = xpath_last(t, &p);
	if (err)
		return err;
	used = xlist_used(xpath_leaf(&p)->list);
	if (used == 0 || xrec_len(&xpath_leaf(&p)->list->l_recs[used - 1]) == 0)
		err = -ENOENT;
	else
		*out = xrec_get(&xpath_leaf(&p)->list->l_recs[used - 1]);
	xpath_release(&p);
	return err;
}

static int count_below(struct xtree *t, struct xpath *p, unsigned *leaves, unsigned *inner)
{
	struct xnode *n = &p->node[p->depth];
	unsigned depth = xlist_depth(n->list), used = xlist_used(n->list);
	int err;

	if (depth == 1) {
		*leaves += used;
		return 0;
	}
	*inner += used;
	for (n->idx = 0; n->idx < used; n->idx++) {
		err = path_down(t, p);
		if (err)
			return err;
		err = count_below(t, p, leaves, inner);
		bc_put(p->node[p->depth].buf);
		p->depth--;
		if (err)
			return err;
	}
	return 0;
}

int xtree_count(struct xtree *t, unsigned *leaves, unsigned *inner)
{
	struct xpath p;
	int err;

	*leaves = *inner = 0;
	err = path_root(t, &p);
	if (err || xlist_depth(t->list) == 0)
		return err;
	return count_below(t, &p, leaves, inner);
}

int xtree_count_from(struct xtree *t, uint32_t cpos, unsigned *leaves, unsigned *inner)
{
	struct xpath p, q;
	int err;

	*leaves = *inner = 0;
	err = xpath_find(t, cpos, &p);
	if (err)
		return err;
	for (unsigned level = 0; level < p.depth && !err; level++) {
		unsigned used = xlist_used(p.node[level].list), idx = p.node[level].idx;

		if (level == p.depth - 1) {
			*leaves += used - idx;
			break;
		}
		*inner += used - idx;
		/* q borrows the blocks of p down to this level */
		q = p;
		q.depth = level;
		for (unsigned i = idx + 1; i < used && !err; i++) {
			q.node[level].idx = i;
			err = path_down(t, &q);
			if (err)
				break;
			err = count_below(t, &q, leaves, inner);
			bc_put(q.node[q.depth].buf);
			q.depth--;
		}
	}
	xpath_release(&p);
	return err;
}
