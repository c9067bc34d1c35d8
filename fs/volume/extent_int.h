/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * extent_int.h: paths through extent trees, shared by extent.c (lookup),
 * extent_edit.c (one edit) and extent_grow.c (more or fewer leaves).
 */
#ifndef O2FUSE_VOLUME_EXTENT_INT_H
#define O2FUSE_VOLUME_EXTENT_INT_H

#include "fs/volume/vol_int.h"

#define XTREE_MAX_DEPTH 5 /* the kernel's path arrays (disk.md 3.1) */

/*
 * From the root (node[0]) to a leaf (node[depth]); idx is the record gone through,
 * in the leaf whatever the user put there. Blocks below the root are referenced.
 */
struct xnode {
	struct buf *buf;
	struct ocfs2_extent_list *list;
	unsigned idx;
};

struct xpath {
	unsigned depth;
	struct xnode node[XTREE_MAX_DEPTH + 1];
};

static inline struct xnode *xpath_leaf(struct xpath *p)
{
	return &p->node[p->depth];
}

static inline struct vol *xtree_vol(const struct xtree *t)
{
	return t->owner->vol;
}

static inline unsigned xlist_used(const struct ocfs2_extent_list *l)
{
	return le16toh(l->l_next_free_rec);
}

static inline unsigned xlist_count(const struct ocfs2_extent_list *l)
{
	return le16toh(l->l_count);
}

static inline unsigned xlist_depth(const struct ocfs2_extent_list *l)
{
	return le16toh(l->l_tree_depth);
}

static inline uint32_t xrec_cpos(const struct ocfs2_extent_rec *r)
{
	return le32toh(r->e_cpos);
}

/* Of a leaf record. */
static inline uint32_t xrec_len(const struct ocfs2_extent_rec *r)
{
	return le16toh(r->e_leaf_clusters);
}

static inline struct ocfs2_extent_list *xblock_list(struct buf *b)
{
	return &((struct ocfs2_extent_block *)b->data)->h_list;
}

/* Records an extent block holds. */
static inline unsigned xblock_capacity(const struct vol *v)
{
	return (v->blocksize - offsetof(struct ocfs2_extent_block, h_list.l_recs)) /
	       sizeof(struct ocfs2_extent_rec);
}

static inline struct extent xrec_get(const struct ocfs2_extent_rec *r)
{
	return (struct extent){
		.cpos = xrec_cpos(r),
		.len = xrec_len(r),
		.blkno = le64toh(r->e_blkno),
		.flags = r->e_flags,
	};
}

/* To the leaf that holds key, or would hold it. */
int xpath_find(struct xtree *t, uint32_t key, struct xpath *out) __must_check;
/* To the rightmost leaf. */
int xpath_last(struct xtree *t, struct xpath *out) __must_check;
/*
 * To the leaf right (or left) of p's; *split is the level of the lowest node that
 * both paths share. *found false: there is none.
 */
int xpath_beside(struct xtree *t, const struct xpath *p, bool right, struct xpath *out,
		 unsigned *split, bool *found) __must_check;
void xpath_release(struct xpath *p);
/* Index in a leaf of the last record with e_cpos <= key; -1: none. */
int xlist_find(const struct ocfs2_extent_list *l, uint32_t key);
/* Blocks of the tree: leaves and inner ones, root not counted. */
int xtree_count(struct xtree *t, unsigned *leaves, unsigned *inner) __must_check;
/* The same from the leaf of cpos on to the right, with the nodes above them. */
int xtree_count_from(struct xtree *t, uint32_t cpos, unsigned *leaves,
		     unsigned *inner) __must_check;

/* extent_grow.c: one more empty leaf at the right end. */
int xtree_add_leaf(struct jhandle *h, struct xtree *t, struct reservation *r) __must_check;
/* The root is a full leaf: its records move into a block of their own. */
int xtree_deepen(struct jhandle *h, struct xtree *t, struct reservation *r) __must_check;
/* Take away the rightmost leaf, which is empty, and what becomes empty above it. */
int xtree_drop_leaf(struct jhandle *h, struct xtree *t, struct dealloc *d) __must_check;
/* Metadata blocks the next xtree_deepen or xtree_add_leaf takes. */
int xtree_growth_blocks(struct xtree *t, unsigned *blocks) __must_check;
/* Set the ranges on the right edge: they end where the last record ends. */
int xtree_fix_edge(struct jhandle *h, struct xtree *t) __must_check;

#endif
