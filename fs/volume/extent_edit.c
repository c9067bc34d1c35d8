/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * extent_edit.c: insert, remove and mark records (disk.md 3.4 to 3.9).
 *
 * Every change of a tree is one edit: in one leaf, n old records are replaced by m
 * new ones. If the leaf is still full afterwards, or is the last one, nothing else
 * moves. Otherwise the records from there to the last leaf are gathered, packed
 * again (every leaf full but the last), and the ranges of the inner records between
 * each pair of touched leaves are set. The packed shape is what the kernel makes,
 * too, whatever the order of insertion (3.9).
 *
 * An edit first reads and computes everything; when it starts to change blocks
 * nothing can fail but the journal itself, or a caller who reserved too little.
 * Then the handle is aborted here: half an edit must never be committed.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "fs/volume/alloc_int.h"
#include "fs/volume/extent_int.h"

#define EDIT_NEW_MAX 3
#define REC_LEN_MAX 65535u

struct edit {
	struct jhandle *h;
	struct xtree *t;
	struct reservation *r;
	struct dealloc *d;	/* NULL: the edit empties no leaf */
	uint32_t key;		/* leads to the leaf */
	unsigned at, nold, nnew;
	struct ocfs2_extent_rec new[EDIT_NEW_MAX];
};

/* The records from a leaf on, with the edit applied, and the leaves they lie in. */
struct gather {
	struct ocfs2_extent_rec *rec;
	unsigned n, room;
	struct buf **leaf;	/* referenced; root: depth 0 */
	unsigned leaves, capacity;
	bool to_end;
	bool root_leaf;
};

static void gather_release(struct gather *g)
{
	if (!g->root_leaf)
		for (unsigned i = 0; i < g->leaves; i++)
			bc_put(g->leaf[i]);
	free(g->leaf);
	free(g->rec);
	*g = (struct gather){ 0 };
}

static int gather_room(struct gather *g, unsigned more)
{
	void *p;

	if (!(g->leaves & 63)) {
		p = realloc(g->leaf, (g->leaves + 64) * sizeof(*g->leaf));
		if (!p)
			return -ENOMEM;
		g->leaf = p;
	}
	if (g->n + more > g->room) {
		g->room = 2 * (g->n + more);
		p = realloc(g->rec, g->room * sizeof(*g->rec));
		if (!p)
			return -ENOMEM;
		g->rec = p;
	}
	return 0;
}

/* Records of no length, as a kernel node may leave one, are dropped on the way. */
static void gather_recs(struct gather *g, const struct ocfs2_extent_rec *r, unsigned n)
{
	for (; n > 0; n--, r++)
		if (xrec_len(r))
			g->rec[g->n++] = *r;
}

static int gather_leaf(struct gather *g, const struct edit *e, const struct xnode *leaf)
{
	unsigned used = xlist_used(leaf->list);
	int err;

	err = gather_room(g, used + EDIT_NEW_MAX);
	if (err)
		return err;
	if (e) {
		gather_recs(g, leaf->list->l_recs, e->at);
		gather_recs(g, e->new, e->nnew);
		gather_recs(g, leaf->list->l_recs + e->at + e->nold, used - e->at - e->nold);
	} else {
		gather_recs(g, leaf->list->l_recs, used);
	}
	g->capacity += xlist_count(leaf->list);
	g->leaf[g->leaves++] = g->root_leaf ? leaf->buf : bc_hold(leaf->buf);
	return 0;
}

static int gather(const struct edit *e, struct gather *g)
{
	struct xpath p, next;
	bool found = true;
	unsigned split;
	int err;

	*g = (struct gather){ 0 };
	err = xpath_find(e->t, e->key, &p);
	if (err)
		return err;
	g->root_leaf = p.depth == 0;
	err = gather_leaf(g, e, xpath_leaf(&p));
	while (!err && found) {
		err = xpath_beside(e->t, &p, true, &next, &split, &found);
		if (err || !found)
			break;
		/* without a dealloc list no leaf may run empty: a foreign tree with
		 * leaves that are not full keeps them */
		if (e->d ? g->n == g->capacity : g->n <= g->capacity) {
			xpath_release(&next);
			break;
		}
		xpath_release(&p);
		p = next;
		err = gather_leaf(g, NULL, xpath_leaf(&p));
	}
	g->to_end = !found;
	xpath_release(&p);
	if (err)
		gather_release(g);
	return err;
}

/* ---- ranges of inner records (3.6) ------------------------------------------------ */

static int set_range(struct edit *e, struct xnode *n, unsigned idx, uint32_t cpos, uint32_t end)
{
	struct ocfs2_extent_rec *r = &n->list->l_recs[idx];
	int err;

	if (xrec_cpos(r) == cpos && le32toh(r->e_int_clusters) == end - cpos)
		return 0;
	err = jh_write(e->h, n->buf, e->t->owner);
	if (err)
		return err;
	r->e_cpos = htole32(cpos);
	r->e_int_clusters = htole32(end - cpos);
	return 0;
}

static int set_start(struct edit *e, struct xnode *n, unsigned idx, uint32_t start)
{
	const struct ocfs2_extent_rec *r = &n->list->l_recs[idx];

	return set_range(e, n, idx, start, xrec_cpos(r) + le32toh(r->e_int_clusters));
}

static int set_end(struct edit *e, struct xnode *n, unsigned idx, uint32_t end)
{
	return set_range(e, n, idx, xrec_cpos(&n->list->l_recs[idx]), end);
}

/* Leaves a and b are neighbours, their paths part at level split. */
static int set_boundary(struct edit *e, struct xpath *a, struct xpath *b, unsigned split)
{
	uint32_t first = xrec_cpos(&xpath_leaf(b)->list->l_recs[0]);
	int err;

	err = set_start(e, &b->node[split], b->node[split].idx, first);
	if (!err)
		err = set_end(e, &a->node[split], a->node[split].idx, first);
	for (unsigned i = split + 1; i < a->depth && !err; i++) {
		err = set_end(e, &a->node[i], a->node[i].idx, first);
		if (!err)
			err = set_start(e, &b->node[i], b->node[i].idx, first);
	}
	return err;
}

/* Nothing lies left of p: its inner records must not start after its first record. */
static int set_left_edge(struct edit *e, struct xpath *p)
{
	uint32_t first = xrec_cpos(&xpath_leaf(p)->list->l_recs[0]);
	int err = 0;

	for (unsigned i = 0; i < p->depth && !err; i++)
		if (xrec_cpos(&p->node[i].list->l_recs[0]) > first)
			err = set_start(e, &p->node[i], 0, first);
	return err;
}

/* The ranges around the `leaves` leaves from e->key on; empty ones end it. */
static int set_ranges(struct edit *e, unsigned leaves)
{
	struct xpath p, q;
	unsigned split;
	bool found;
	int err;

	err = xpath_find(e->t, e->key, &p);
	if (err)
		return err;
	if (p.depth == 0 || xlist_used(xpath_leaf(&p)->list) == 0)
		goto out;
	if (xrec_cpos(&xpath_leaf(&p)->list->l_recs[0]) != e->key) {
		err = xpath_beside(e->t, &p, false, &q, &split, &found);
		if (err)
			goto out;
		err = found ? set_boundary(e, &q, &p, split) : set_left_edge(e, &p);
		if (found)
			xpath_release(&q);
	}
	while (!err && --leaves > 0) {
		err = xpath_beside(e->t, &p, true, &q, &split, &found);
		if (err || !found)
			break;
		if (xlist_used(xpath_leaf(&q)->list) == 0) {
			xpath_release(&q);
			break;
		}
		err = set_boundary(e, &p, &q, split);
		xpath_release(&p);
		p = q;
	}
out:
	xpath_release(&p);
	return err;
}

/* ---- the edit ---------------------------------------------------------------------- */

static struct ocfs2_extent_list *leaf_list(const struct edit *e, const struct gather *g,
					   unsigned i)
{
	return g->root_leaf ? e->t->list : xblock_list(g->leaf[i]);
}

static int write_leaves(struct edit *e, const struct gather *g, unsigned *empty)
{
	unsigned done = 0;

	*empty = 0;
	for (unsigned i = 0; i < g->leaves; i++) {
		struct ocfs2_extent_list *l = leaf_list(e, g, i);
		unsigned count = xlist_count(l), n = g->n - done < count ? g->n - done : count;
		int err;

		if (n == 0)
			(*empty)++;
		if (n != xlist_used(l) || memcmp(l->l_recs, g->rec + done, n * sizeof(*g->rec))) {
			err = jh_write(e->h, g->leaf[i], e->t->owner);
			if (err)
				return err;
			if (n)
				memcpy(l->l_recs, g->rec + done, n * sizeof(*g->rec));
			memset(l->l_recs + n, 0, (count - n) * sizeof(*g->rec));
			l->l_next_free_rec = htole16((uint16_t)n);
		}
		done += n;
	}
	return 0;
}

/* Leaves until the gathered records fit; then gather again. */
static int grow_for(struct edit *e, struct gather *g, bool *changed)
{
	unsigned need, cap = xblock_capacity(xtree_vol(e->t));
	int err = 0;

	err = xtree_growth_blocks(e->t, &need);
	if (err)
		return err;
	if (!e->r || !e->r->meta || e->r->meta->left < need)
		return -ENOSPC;
	*changed = true;
	if (g->root_leaf) {
		err = xtree_deepen(e->h, e->t, e->r);
		g->capacity = cap;
	}
	for (; !err && g->capacity < g->n; g->capacity += cap)
		err = xtree_add_leaf(e->h, e->t, e->r);
	gather_release(g);
	return err ? err : gather(e, g);
}

static int edit_apply(struct edit *e, struct gather *g)
{
	bool to_end = g->to_end, root_leaf = g->root_leaf;
	unsigned empty;
	int err;

	err = write_leaves(e, g, &empty);
	if (err || root_leaf)
		return err;
	err = set_ranges(e, g->leaves);
	for (; !err && empty > 0; empty--)
		err = xtree_drop_leaf(e->h, e->t, e->d);
	if (!err && to_end && xlist_depth(e->t->list))
		err = xtree_fix_edge(e->h, e->t);
	return err;
}

static void add_clusters(struct xtree *t, uint32_t delta)
{
	*t->clusters = htole32(le32toh(*t->clusters) + delta);
	if (t->root->type == BLK_DINODE &&
	    t->clusters == &((struct ocfs2_dinode *)t->root->data)->i_clusters)
		t->owner->clusters = le32toh(*t->clusters);
}

/* Do it; clusters: what the tree's counter gains (modulo 2^32). */
static int edit(struct edit *e, uint32_t clusters)
{
	struct gather g;
	bool changed = false;
	int err;

	err = gather(e, &g);
	if (err)
		return err;
	if (g.n > g.capacity)
		err = grow_for(e, &g, &changed);
	if (!err) {
		err = jh_write(e->h, e->t->root, e->t->owner);
		changed |= !err;
	}
	if (!err)
		err = edit_apply(e, &g);
	if (!err)
		add_clusters(e->t, clusters);
	else if (changed)
		jh_abort(e->h, "an extent tree could not be changed completely");
	gather_release(&g);
	return err;
}

/* ---- what is asked for ---------------------------------------------------------------- */

static struct ocfs2_extent_rec make_rec(uint32_t cpos, uint32_t len, blkno_t blkno, uint8_t flags)
{
	return (struct ocfs2_extent_rec){
		.e_cpos = htole32(cpos),
		.e_leaf_clusters = htole16((uint16_t)len),
		.e_flags = flags,
		.e_blkno = htole64(blkno),
	};
}

/* Does b go on where a ends, so that one record says both? */
static bool contiguous(const struct xtree *t, const struct ocfs2_extent_rec *a,
		       const struct ocfs2_extent_rec *b)
{
	return !t->is_dx && xrec_len(a) && xrec_cpos(a) + xrec_len(a) == xrec_cpos(b) &&
	       le64toh(a->e_blkno) + (uint64_t)xrec_len(a) * xtree_vol(t)->bpc ==
		       le64toh(b->e_blkno) &&
	       a->e_flags == b->e_flags && xrec_len(a) + xrec_len(b) <= REC_LEN_MAX;
}

static void join(struct ocfs2_extent_rec *a, const struct ocfs2_extent_rec *b)
{
	a->e_leaf_clusters = htole16((uint16_t)(xrec_len(a) + xrec_len(b)));
}

/* Path to key's leaf; e->key becomes one that still leads there after growing. */
static int edit_start(struct edit *e, uint32_t key, struct xpath *p, bool *last)
{
	struct xpath next;
	unsigned split;
	bool found;
	int err;

	err = xpath_find(e->t, key, p);
	if (err)
		return err;
	err = xpath_beside(e->t, p, true, &next, &split, &found);
	if (err) {
		xpath_release(p);
		return err;
	}
	if (found)
		xpath_release(&next);
	*last = !found;
	e->key = xlist_used(xpath_leaf(p)->list) ? xrec_cpos(&xpath_leaf(p)->list->l_recs[0]) : key;
	return 0;
}

/*
 * Join the new records with their neighbours in the leaf. A leaf that is not the
 * last must not lose a record without a dealloc list for the leaf that may run empty.
 */
static void edit_join(struct edit *e, const struct ocfs2_extent_list *l, bool last)
{
	unsigned next = e->at + e->nold;

	if (e->at > 0 && (last || e->nnew > e->nold) &&
	    contiguous(e->t, &l->l_recs[e->at - 1], &e->new[0])) {
		struct ocfs2_extent_rec joined = l->l_recs[e->at - 1];

		join(&joined, &e->new[0]);
		e->new[0] = joined;
		e->at--;
		e->nold++;
	}
	if (next < xlist_used(l) && (last || e->nnew > e->nold) &&
	    contiguous(e->t, &e->new[e->nnew - 1], &l->l_recs[next])) {
		join(&e->new[e->nnew - 1], &l->l_recs[next]);
		e->nold++;
	}
}

int xtree_insert(struct jhandle *h, struct xtree *t, const struct extent *x,
		 struct reservation *r)
{
	struct edit e = { .h = h, .t = t, .r = r, .nnew = 1 };
	const struct ocfs2_extent_list *l;
	struct xpath p;
	bool last;
	int i, err;

	if (x->len == 0 || x->len > REC_LEN_MAX || x->blkno == 0 ||
	    (uint64_t)x->cpos + x->len > (uint64_t)UINT32_MAX + 1)
		return -EINVAL;
	err = edit_start(&e, x->cpos, &p, &last);
	if (err)
		return err;
	l = xpath_leaf(&p)->list;
	i = xlist_find(l, x->cpos);
	if (i >= 0 && x->cpos - xrec_cpos(&l->l_recs[i]) < (t->is_dx ? 1 : xrec_len(&l->l_recs[i])))
		err = -EEXIST;
	if (!t->is_dx && (unsigned)(i + 1) < xlist_used(l) &&
	    xrec_cpos(&l->l_recs[i + 1]) - x->cpos < x->len)
		err = -EEXIST;
	e.at = (unsigned)(i + 1);
	e.new[0] = make_rec(x->cpos, x->len, x->blkno, x->flags);
	if (!err)
		edit_join(&e, l, last);
	xpath_release(&p);
	return err ? err : edit(&e, x->len);
}

/* The record that holds all of [cpos, cpos + len), and what is left beside it. */
static int edit_inside(struct edit *e, uint32_t cpos, uint32_t len, struct xpath *p, bool *last,
		       struct ocfs2_extent_rec *left, struct ocfs2_extent_rec *mid,
		       struct ocfs2_extent_rec *right)
{
	const struct ocfs2_extent_list *l;
	uint32_t before, after, bpc = xtree_vol(e->t)->bpc;
	blkno_t blkno;
	int i, err;

	err = edit_start(e, cpos, p, last);
	if (err)
		return err;
	l = xpath_leaf(p)->list;
	i = xlist_find(l, cpos);
	if (i < 0 || len == 0 || cpos - xrec_cpos(&l->l_recs[i]) >= xrec_len(&l->l_recs[i]) ||
	    len > xrec_len(&l->l_recs[i]) - (cpos - xrec_cpos(&l->l_recs[i]))) {
		xpath_release(p);
		return -ENOENT;
	}
	*mid = l->l_recs[i];
	blkno = le64toh(mid->e_blkno);
	before = cpos - xrec_cpos(mid);
	after = xrec_len(mid) - before - len;
	*left = make_rec(xrec_cpos(mid), before, blkno, mid->e_flags);
	*right = make_rec(cpos + len, after, blkno + (uint64_t)(before + len) * bpc, mid->e_flags);
	*mid = make_rec(cpos, len, blkno + (uint64_t)before * bpc, mid->e_flags);
	e->at = (unsigned)i;
	e->nold = 1;
	return 0;
}

int xtree_remove(struct jhandle *h, struct xtree *t, uint32_t cpos, uint32_t len,
		 struct reservation *r, struct dealloc *d)
{
	struct edit e = { .h = h, .t = t, .r = r, .d = d };
	struct ocfs2_extent_rec left, mid, right;
	struct xpath p;
	bool last;
	int err;

	err = edit_inside(&e, cpos, len, &p, &last, &left, &mid, &right);
	if (err)
		return err;
	xpath_release(&p);
	if (xrec_len(&left))
		e.new[e.nnew++] = left;
	if (xrec_len(&right))
		e.new[e.nnew++] = right;
	return edit(&e, -len);
}

int xtree_mark_written(struct jhandle *h, struct xtree *t, uint32_t cpos, uint32_t len,
		       struct reservation *r)
{
	struct edit e = { .h = h, .t = t, .r = r };
	struct ocfs2_extent_rec left, mid, right;
	struct xpath p;
	bool last;
	int err;

	err = edit_inside(&e, cpos, len, &p, &last, &left, &mid, &right);
	if (err)
		return err;
	if (!(mid.e_flags & OCFS2_EXT_UNWRITTEN)) {
		xpath_release(&p);
		return -EINVAL;
	}
	mid.e_flags &= (uint8_t)~OCFS2_EXT_UNWRITTEN;
	if (xrec_len(&left))
		e.new[e.nnew++] = left;
	e.new[e.nnew++] = mid;
	if (xrec_len(&right))
		e.new[e.nnew++] = right;
	edit_join(&e, xpath_leaf(&p)->list, last);
	xpath_release(&p);
	return edit(&e, 0);
}

/* ---- what it costs ------------------------------------------------------------------------ */

/* A tree grows only when its last leaf is full: elsewhere records are passed on. */
static bool last_leaf_has_room(struct xtree *t, unsigned inserts)
{
	struct xpath p;
	bool room;

	if (xpath_last(t, &p))
		return false;
	room = xlist_count(xpath_leaf(&p)->list) - xlist_used(xpath_leaf(&p)->list) >= inserts;
	xpath_release(&p);
	return room;
}

unsigned xtree_meta_needed(struct xtree *t, unsigned inserts)
{
	if (last_leaf_has_room(t, inserts))
		return 0;
	return (xlist_depth(t->list) + 2) * (1 + inserts / xblock_capacity(xtree_vol(t)));
}

static unsigned credits_for(struct xtree *t, unsigned blocks, unsigned inserts)
{
	/* root, the leaf before and its path, new blocks and the old path they hang on */
	return 1 + blocks + 2 * (xlist_depth(t->list) + 1) + xtree_meta_needed(t, inserts);
}

/* If the tree cannot be read the edit will fail at the same block, unchanged. */
unsigned xtree_edit_credits(struct xtree *t)
{
	unsigned leaves, inner;

	if (xtree_count(t, &leaves, &inner))
		leaves = inner = 0;
	return credits_for(t, leaves + inner, 2);
}

unsigned xtree_credits_from(struct xtree *t, uint32_t cpos, unsigned inserts)
{
	unsigned leaves, inner;

	if (xtree_count_from(t, cpos, &leaves, &inner))
		leaves = inner = 0;
	return credits_for(t, leaves + inner, inserts);
}

unsigned xtree_trim_credits(struct xtree *t, unsigned records)
{
	unsigned leaves = 2 + records / xblock_capacity(xtree_vol(t));

	return 1 + (leaves + 1) * (xlist_depth(t->list) + 1);
}
