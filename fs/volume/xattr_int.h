/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * xattr_int.h: what the rooms of extended attributes share (doc/spec/disk.md 7).
 *
 *	xattr_region.c	entries of one region (the end of an inode, or an external
 *			block): pure, no I/O
 *	xattr_bucket.c	indexed attributes: buckets, read only
 *	xattr.c		where attributes of an inode are; get and list
 *	xattr_set.c	set and remove
 *	wipe_xattr.c	free what attributes of an orphan hold
 *
 * All of them expect the inode's sem held, for writing if they change something.
 * Offsets and counts come from the disk: xregion_check looks at every one of them before
 * anything in the region is followed.
 */
#ifndef O2FUSE_VOLUME_XATTR_INT_H
#define O2FUSE_VOLUME_XATTR_INT_H

#include "fs/volume/vol_int.h"

#define XATTR_LOCAL_MAX 80u	/* larger values have clusters of their own */
#define XATTR_BUCKET 4096u
#define XATTR_GAP 4u		/* between the entries and the data */

/* A value root with the one record that it has room for. In a region it may lie at any
 * multiple of 4, so it is never used in place: see struct xvalue. */
struct xvalue_root {
	struct ocfs2_xattr_value_root r;
	struct ocfs2_extent_rec rec;
};

/* ---- xattr_region.c ------------------------------------------------------------ */

/* The bytes that hold a header, its entries, and names and values behind them. */
struct xregion {
	struct ocfs2_xattr_header *header;
	unsigned len;
};

struct xname {
	uint8_t index;		/* VOL_XATTR_* */
	const char *name;	/* not terminated */
	unsigned len;
};

uint32_t xattr_hash(uint32_t seed, const char *name, unsigned len);
/* What is wrong with the region; NULL: nothing, and all offsets lie in it. */
const char *xregion_check(const struct xregion *g);
static inline unsigned xregion_count(const struct xregion *g)
{
	return le16toh(g->header->xh_count);
}
static inline struct ocfs2_xattr_entry *xregion_entry(const struct xregion *g, unsigned i)
{
	return &g->header->xh_entries[i];
}
/* Name, and what lies behind it: the value, or its root. */
const char *xentry_name(const struct xregion *g, const struct ocfs2_xattr_entry *e);
uint8_t *xentry_value(const struct xregion *g, const struct ocfs2_xattr_entry *e);
struct xvalue_root xentry_root(const struct xregion *g, const struct ocfs2_xattr_entry *e);
/* -ENODATA: it is not here. */
int xregion_find(const struct xregion *g, const struct xname *n, unsigned *i) __must_check;
/* Bytes that name and value (or root) take in a region. */
unsigned xregion_need(unsigned name_len, uint64_t value_size);
/* Would an attribute that needs so much fit, if entry `without` (or none: ~0u) were gone? */
bool xregion_fits(const struct xregion *g, unsigned without, unsigned need);
void xregion_delete(const struct xregion *g, unsigned i);
/* It fits. Returns the entry, the last one; what is behind its name is zero. */
struct ocfs2_xattr_entry *xregion_append(const struct xregion *g, const struct xname *n,
					 uint32_t hash, uint64_t value_size);

/* ---- xattr.c ----------------------------------------------------------------------- */

/* Region in the inode, or none (header NULL). di: the dinode's block. */
int xattr_inline_region(struct vol_inode *inode, struct buf *di, struct xregion *g) __must_check;
/* *b NULL: there is none. */
int xattr_external(struct vol_inode *inode, struct buf *di, struct buf **b) __must_check;
bool xattr_is_indexed(const struct buf *b);
/* Where it was allocated. */
struct suballoc_pos xattr_block_pos(const struct buf *b);
/* Of an external block that is not indexed. */
int xattr_block_region(struct vol_inode *inode, struct buf *b, struct xregion *g) __must_check;
int xattr_damaged(struct vol_inode *inode, blkno_t where, const char *what);
/* The tree of a value, over a copy of its root. */
struct xvalue {
	struct xvalue_root root;
	struct xtree t;
};
/* b: the block that the root lies in; joined before the tree is edited, and the root is
 * put back into it (memcpy) in the same handle. root may be the one of a new value. */
void xvalue_open(struct xvalue *x, struct vol_inode *inode, struct buf *b,
		 const struct xvalue_root *root);
uint32_t xvalue_clusters(const struct xvalue *x);
/* Remove what lies behind `keep` clusters, at most one record; true in *more if there is
 * more. tl_prepare was for a record. */
int xvalue_cut(struct jhandle *h, struct xvalue *x, uint32_t keep, struct dealloc *d,
	       bool *more) __must_check;
/* Copy a value; g is in b. *size is set in any case; -ERANGE: more than room. */
int xattr_copy_value(struct vol_inode *inode, struct buf *b, const struct xregion *g,
		     const struct ocfs2_xattr_entry *e, void *to, size_t room,
		     size_t *size) __must_check;

/* ---- xattr_bucket.c ------------------------------------------------------------------ */

typedef int (*xbucket_fn)(void *ctx, struct buf *bucket, const struct xregion *g);
/* The bucket that would hold hash; fn's result is returned. -ENODATA: none. */
int xbucket_at(struct vol_inode *inode, struct buf *xb, uint32_t hash, xbucket_fn fn,
	       void *ctx) __must_check;
/* All of them, until fn returns nonzero. */
int xbucket_each(struct vol_inode *inode, struct buf *xb, xbucket_fn fn, void *ctx) __must_check;

#endif
