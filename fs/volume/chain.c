/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * chain.c: chain allocators, bit by bit (disk.md 4.1, 4.2, 4.5).
 *
 * An allocator's dinode heads chains of group descriptors, each a bitmap. A claim
 * or a free changes four sums together (group, chain, dinode used, and the map),
 * in one transaction, so they agree after any crash. A bit that is not what it
 * must be is damage of the disk, found before anything is changed.
 *
 * The caller holds the allocator's lock exclusively (sys_lock): nobody else reads
 * or changes its dinode and groups, here or on another node.
 *
 * Not here: which allocator serves a request (suballoc.c, clusters.c).
 */
#include <errno.h>
#include <string.h>
#include "dlm/util/overflow.h"
#include "fs/volume/alloc_int.h"

static struct ocfs2_group_desc *group_of(const struct buf *b)
{
	return (struct ocfs2_group_desc *)b->data;
}

static int bad_chain(const struct chain *c, blkno_t blkno, const char *what)
{
	return vol_damaged(c->v, "allocator: %s inode=%llu block=%llu", what,
			   (unsigned long long)c->inode->blkno, (unsigned long long)blkno);
}

int chain_open(struct vol *v, struct vol_inode *inode, struct chain *out)
{
	const struct ocfs2_chain_list *cl;
	unsigned room;
	int err;

	*out = (struct chain){ .v = v, .inode = inode };
	err = inode_buf(inode, &out->bh);
	if (err)
		return err;
	out->di = (struct ocfs2_dinode *)out->bh->data;
	out->bitmap = inode == vol_sys_inode(v, VOL_SYS_GLOBAL_BITMAP, 0);
	cl = &out->di->id2.i_chain;
	room = (v->blocksize - offsetof(struct ocfs2_dinode, id2.i_chain.cl_recs)) /
	       sizeof(struct ocfs2_chain_rec);
	if (!(le32toh(out->di->i_flags) & OCFS2_CHAIN_FL) || le16toh(cl->cl_count) != room ||
	    le16toh(cl->cl_next_free_rec) > room || !cl->cl_cpg ||
	    le16toh(cl->cl_bpc) != (out->bitmap ? 1 : v->bpc) ||
	    le32toh(out->di->id1.bitmap1.i_used) > le32toh(out->di->id1.bitmap1.i_total)) {
		err = bad_chain(out, inode->blkno, "dinode contradicts itself");
		chain_close(out);
	}
	return err;
}

void chain_close(struct chain *c)
{
	if (c->bh)
		bc_put(c->bh);
	c->bh = NULL;
}

uint32_t chain_free_bits(const struct chain *c)
{
	return le32toh(c->di->id1.bitmap1.i_total) - le32toh(c->di->id1.bitmap1.i_used);
}

static uint32_t group_bits_max(const struct chain *c)
{
	const struct ocfs2_chain_list *cl = &c->di->id2.i_chain;

	return (uint32_t)le16toh(cl->cl_cpg) * le16toh(cl->cl_bpc);
}

uint32_t chain_groups(const struct chain *c)
{
	return le32toh(c->di->id1.bitmap1.i_total) / group_bits_max(c) + 1;
}

/* Descriptor of a group of this allocator, checked, referenced. */
static int group_read(struct chain *c, blkno_t blkno, struct buf **out)
{
	const struct ocfs2_group_desc *gd;
	size_t room = c->v->blocksize - offsetof(struct ocfs2_group_desc, bg_bitmap);
	int err;

	err = bc_read(c->v, blkno, BLK_GROUP, c->inode, out);
	if (err)
		return err;
	gd = group_of(*out);
	if (le64toh(gd->bg_parent_dinode) == c->inode->blkno &&
	    le16toh(gd->bg_chain) < le16toh(c->di->id2.i_chain.cl_next_free_rec) &&
	    le16toh(gd->bg_size) <= room && le16toh(gd->bg_bits) <= 8 * le16toh(gd->bg_size) &&
	    le16toh(gd->bg_bits) <= group_bits_max(c) &&
	    le16toh(gd->bg_free_bits_count) <= le16toh(gd->bg_bits))
		return 0;
	bc_put(*out);
	return bad_chain(c, blkno, "group descriptor contradicts itself");
}

static bool group_is_discontig(const struct chain *c, const struct ocfs2_group_desc *gd)
{
	return !c->bitmap && vol_has_incompat(c->v, OCFS2_FEATURE_INCOMPAT_DISCONTIG_BG) &&
	       le16toh(gd->bg_size) == OCFS2_MAX_BG_BITMAP_SIZE && gd->bg_list.l_next_free_rec;
}

static int bit_block(struct chain *c, const struct ocfs2_group_desc *gd, uint32_t bit,
		     blkno_t *blkno, blkno_t *loc)
{
	const struct ocfs2_extent_list *l = &gd->bg_list;
	size_t room = (c->v->blocksize - offsetof(struct ocfs2_group_desc, bg_list.l_recs)) /
		      sizeof(struct ocfs2_extent_rec);
	uint32_t cluster = bit / c->v->bpc;

	*loc = 0;
	*blkno = le64toh(gd->bg_blkno) + bit;
	if (!group_is_discontig(c, gd))
		return 0;
	*loc = le64toh(gd->bg_blkno);
	for (unsigned i = 0; i < le16toh(l->l_next_free_rec) && i < room; i++) {
		const struct ocfs2_extent_rec *r = &l->l_recs[i];

		if (cluster - le32toh(r->e_cpos) < le16toh(r->e_leaf_clusters)) {
			*blkno = le64toh(r->e_blkno) + bit - le32toh(r->e_cpos) * c->v->bpc;
			return 0;
		}
	}
	return bad_chain(c, le64toh(gd->bg_blkno), "discontiguous group has no block for a bit");
}

int chain_bit_block(struct chain *c, blkno_t group, uint32_t bit, blkno_t *blkno, blkno_t *loc)
{
	struct buf *b;
	int err;

	err = group_read(c, group, &b);
	if (err)
		return err;
	err = bit_block(c, group_of(b), bit, blkno, loc);
	bc_put(b);
	return err;
}

/* ---- searching ------------------------------------------------------------------ */

/* First part of [from, end), clusters, that is neither planned nor freed just now. */
static bool cluster_usable(const struct chain *c, const struct plan *plan, uint32_t from,
			   uint32_t end, uint32_t *start, uint32_t *len)
{
	uint32_t s = from, n = end - from;

	while (s < end) {
		if (!jh_reusable(c->v, s, end, &s, &n))
			return false;
		if (!plan) {
			*start = s;
			*len = n;
			return true;
		}
		if (plan_free(plan, s, s + n, start, len))
			return true;
		s += n;
	}
	return false;
}

/* Look at the clear run [bit, end) of a group; true: good enough, stop. */
static bool consider(struct chain *c, const struct ocfs2_group_desc *gd,
		     const struct chain_want *w, uint32_t bit, uint32_t end, struct chain_hit *best)
{
	blkno_t group = le64toh(gd->bg_blkno);
	uint32_t base, len;

	if (!c->bitmap) {
		if (end - bit > best->len)
			*best = (struct chain_hit){ group, bit, end - bit };
		return best->len >= w->want;
	}
	base = group_cluster(c, group, 0);
	if (w->limit && ((blkno_t)base + end) * c->v->bpc > w->limit)
		end = w->limit / c->v->bpc > base ? (uint32_t)(w->limit / c->v->bpc) - base : 0;
	while (bit < end && cluster_usable(c, w->plan, base + bit, base + end, &bit, &len)) {
		bit -= base;
		if (len > best->len)
			*best = (struct chain_hit){ group, bit, len };
		if (best->len >= w->want)
			return true;
		bit += len;
	}
	return false;
}

static bool search_group(struct chain *c, const struct ocfs2_group_desc *gd,
			 const struct chain_want *w, struct chain_hit *best)
{
	uint32_t bits = le16toh(gd->bg_bits), bit = 0, end;

	while ((bit = bm_next(gd->bg_bitmap, bit, bits, false)) < bits) {
		end = bm_next(gd->bg_bitmap, bit, bits, true);
		if (consider(c, gd, w, bit, end, best))
			return true;
		bit = end;
	}
	return false;
}

static bool sub_beyond(struct chain *c, const struct ocfs2_group_desc *gd, blkno_t limit)
{
	/* a discontiguous group may lie anywhere; its own block speaks for it here and
	 * suballoc.c makes none that crosses the limit */
	return !c->bitmap && limit && le64toh(gd->bg_blkno) + le16toh(gd->bg_bits) > limit;
}

static int search_chain(struct chain *c, unsigned idx, const struct chain_want *w,
			struct chain_hit *best, bool *done)
{
	blkno_t blkno = le64toh(c->di->id2.i_chain.cl_recs[idx].c_blkno);
	uint32_t bound = chain_groups(c) + 1;
	struct buf *b;
	int err;

	for (; blkno && !*done; bound--) {
		if (bound == 0)
			return bad_chain(c, blkno, "chain of groups has no end");
		err = group_read(c, blkno, &b);
		if (err)
			return err;
		if (le16toh(group_of(b)->bg_free_bits_count) >= w->min &&
		    !sub_beyond(c, group_of(b), w->limit))
			*done = search_group(c, group_of(b), w, best);
		blkno = le64toh(group_of(b)->bg_next_group);
		bc_put(b);
	}
	return 0;
}

int chain_find(struct chain *c, const struct chain_want *w, struct chain_hit *out)
{
	const struct ocfs2_chain_list *cl = &c->di->id2.i_chain;
	unsigned n = le16toh(cl->cl_next_free_rec), first = 0;
	struct chain_hit best = { 0 };
	bool done = false;
	int err;

	for (unsigned i = 1; i < n; i++)
		if (le32toh(cl->cl_recs[i].c_free) > le32toh(cl->cl_recs[first].c_free))
			first = i;
	for (unsigned i = 0; i < n && !done; i++) {
		unsigned idx = (first + i) % n;

		if (le32toh(cl->cl_recs[idx].c_free) < w->min)
			continue;
		err = search_chain(c, idx, w, &best, &done);
		if (err)
			return err;
		if (best.len >= w->min)
			done = true;
	}
	if (best.len < w->min || best.len == 0)
		return -ENOSPC;
	if (best.len > w->want)
		best.len = w->want;
	*out = best;
	return 0;
}

/* ---- changing -------------------------------------------------------------------- */

static int change_bits(struct jhandle *h, struct chain *c, blkno_t group, uint32_t bit,
		       uint32_t n, bool set)
{
	struct ocfs2_chain_rec *rec;
	struct ocfs2_group_desc *gd;
	uint32_t delta = set ? -n : n; /* of free bits, modulo 2^32 */
	struct buf *b;
	int err;

	err = group_read(c, group, &b);
	if (err)
		return err;
	gd = group_of(b);
	rec = &c->di->id2.i_chain.cl_recs[le16toh(gd->bg_chain)];
	if (n > le16toh(gd->bg_bits) || bit > le16toh(gd->bg_bits) - n || n == 0 ||
	    (!set && bit == 0) || /* the descriptor's own */
	    !bm_all(gd->bg_bitmap, bit, n, !set))
		err = bad_chain(c, group, set ? "claimed bits are not free" :
						"freed bits are not in use");
	else if (set && (le16toh(gd->bg_free_bits_count) < n || le32toh(rec->c_free) < n))
		err = bad_chain(c, group, "free counts are too small");
	else if (!set && le32toh(c->di->id1.bitmap1.i_used) < n)
		err = bad_chain(c, group, "used count is too small");
	if (!err)
		err = jh_write(h, c->bh, c->inode);
	if (!err)
		err = jh_write(h, b, c->inode);
	if (!err) {
		if (set)
			bm_set(gd->bg_bitmap, bit, n);
		else
			bm_clear(gd->bg_bitmap, bit, n);
		gd->bg_free_bits_count =
			htole16((uint16_t)(le16toh(gd->bg_free_bits_count) + delta));
		rec->c_free = htole32(le32toh(rec->c_free) + delta);
		c->di->id1.bitmap1.i_used = htole32(le32toh(c->di->id1.bitmap1.i_used) - delta);
	}
	bc_put(b);
	return err;
}

int chain_set(struct jhandle *h, struct chain *c, blkno_t group, uint32_t bit, uint32_t n)
{
	return change_bits(h, c, group, bit, n, true);
}

int chain_clear(struct jhandle *h, struct chain *c, blkno_t group, uint32_t bit, uint32_t n)
{
	return change_bits(h, c, group, bit, n, false);
}

int chain_add_group(struct jhandle *h, struct chain *c, struct buf *group)
{
	struct ocfs2_chain_list *cl = &c->di->id2.i_chain;
	struct ocfs2_group_desc *gd = group_of(group);
	unsigned idx = le16toh(cl->cl_next_free_rec);
	uint32_t bits = le16toh(gd->bg_bits), free_bits = le16toh(gd->bg_free_bits_count);
	uint32_t total = le32toh(c->di->id1.bitmap1.i_total);
	struct ocfs2_chain_rec *rec;
	int err;

	if (add_overflows(total, bits, &total))
		return -ENOSPC;
	err = jh_write(h, c->bh, c->inode);
	if (err)
		return err;
	if (idx < le16toh(cl->cl_count)) {
		cl->cl_next_free_rec = htole16((uint16_t)(idx + 1));
	} else {
		idx = 0;
		for (unsigned i = 1; i < le16toh(cl->cl_count); i++)
			if (le32toh(cl->cl_recs[i].c_total) < le32toh(cl->cl_recs[idx].c_total))
				idx = i;
	}
	rec = &cl->cl_recs[idx];
	gd->bg_chain = htole16((uint16_t)idx);
	gd->bg_next_group = rec->c_blkno;
	rec->c_blkno = gd->bg_blkno;
	rec->c_total = htole32(le32toh(rec->c_total) + bits);
	rec->c_free = htole32(le32toh(rec->c_free) + free_bits);
	c->di->id1.bitmap1.i_total = htole32(total);
	c->di->id1.bitmap1.i_used =
		htole32(le32toh(c->di->id1.bitmap1.i_used) + bits - free_bits);
	c->inode->clusters = total / le16toh(cl->cl_bpc);
	c->inode->size = (uint64_t)c->inode->clusters * c->v->clustersize;
	c->di->i_clusters = htole32(c->inode->clusters);
	c->di->i_size = htole64(c->inode->size);
	return 0;
}

/* ---- clusters ---------------------------------------------------------------------- */

blkno_t cluster_group(const struct chain *c, uint32_t cluster, uint32_t *bit)
{
	uint32_t cpg = le16toh(c->di->id2.i_chain.cl_cpg);

	*bit = cluster % cpg;
	if (cluster < cpg)
		return c->v->first_cluster_group;
	return (blkno_t)(cluster - *bit) * c->v->bpc;
}

uint32_t group_cluster(const struct chain *c, blkno_t group, uint32_t bit)
{
	if (group == c->v->first_cluster_group)
		return bit;
	return (uint32_t)(group / c->v->bpc) + bit;
}

static int clusters_change(struct jhandle *h, struct chain *c, uint32_t cluster, uint32_t n,
			   bool set)
{
	uint32_t cpg = le16toh(c->di->id2.i_chain.cl_cpg);
	uint32_t bit, part;
	blkno_t group;
	int err;

	for (; n > 0; n -= part, cluster += part) {
		group = cluster_group(c, cluster, &bit);
		part = cpg - bit < n ? cpg - bit : n;
		err = change_bits(h, c, group, bit, part, set);
		if (err)
			return err;
	}
	return 0;
}

int clusters_set(struct jhandle *h, struct chain *c, uint32_t cluster, uint32_t n)
{
	return clusters_change(h, c, cluster, n, true);
}

int clusters_clear(struct jhandle *h, struct chain *c, uint32_t cluster, uint32_t n)
{
	return clusters_change(h, c, cluster, n, false);
}

unsigned clusters_credits(const struct chain *c, uint32_t cluster, uint32_t n)
{
	uint32_t cpg = le16toh(c->di->id2.i_chain.cl_cpg);

	return n == 0 ? 1 : 1 + (cluster + n - 1) / cpg - cluster / cpg + 1;
}
