/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * falloc.c: clusters before there is data, and holes where it was (disk.md 3.10, 11.2).
 *
 * Allocating puts unwritten extents, which read as zeros, into the holes of a range. i_size
 * follows in the same transactions, so that no crash shows a cluster beyond it; for the
 * same reason nothing is allocated beyond an i_size that is to stay (fsck.ocfs2 calls that
 * INODE_SPARSE_SIZE). What fails half way is cut back to the old size; holes that were
 * filled before it stay filled.
 *
 * Punching writes zeros over the edges and takes the whole clusters between them out, each
 * record in a transaction with its clusters entering the truncate log, as truncation does:
 * a crash leaves a file of which less was punched. Splitting a record may need an extent
 * block: extent_alloc is locked before the truncate log.
 */
#include <errno.h>
#include <stdlib.h>
#include "dlm/util/overflow.h"
#include "fs/volume/file_int.h"

#define STEP_BYTES (16u << 20)
#define STEP_RUNS 16

struct step {
	struct vol_inode *inode;
	struct vol *v;
	struct xtree t;
	struct reservation r;
	struct step_run {
		uint32_t start, len;
	} run[STEP_RUNS];
	unsigned n;
	uint32_t cpos, want;
};

/* Up to `want` clusters are planned, in as many runs as one step may have. */
static int step_plan(struct step *s)
{
	uint32_t left = s->want;
	int err;

	err = reserve_meta(s->v, xtree_meta_needed(&s->t, STEP_RUNS), &s->r);
	if (!err)
		err = reserve_clusters(s->v, s->want, &s->r);
	while (!err && left > 0 && s->n < STEP_RUNS) {
		struct step_run *run = &s->run[s->n];

		err = plan_clusters(&s->r, left, &run->start, &run->len);
		if (err)
			break;
		left -= run->len;
		s->n++;
	}
	s->want -= left;
	return err;
}

static int step_commit(struct step *s, uint64_t size)
{
	uint32_t cpos = s->cpos;
	bool changed = false;
	struct jhandle *h;
	int err;

	err = jh_begin(s->v, 1 + xtree_credits_from(&s->t, s->cpos, STEP_RUNS) +
			     reservation_credits(&s->r), &h);
	if (err)
		return err;
	for (unsigned i = 0; i < s->n && !err; i++) {
		struct extent e = { .cpos = cpos, .len = s->run[i].len,
				    .blkno = (blkno_t)s->run[i].start * s->v->bpc,
				    .flags = OCFS2_EXT_UNWRITTEN };

		err = claim_planned(h, &s->r, s->run[i].start, s->run[i].len);
		changed |= !err;
		if (!err)
			err = xtree_insert(h, &s->t, &e, &s->r);
		cpos += e.len;
	}
	if (!err) {
		s->inode->size = max_u64(s->inode->size, size);
		file_touch(s->inode);
		err = inode_store(h, s->inode);
		s->inode->datasync_tid = s->inode->sync_tid;
	}
	return file_end(h, err, changed, "allocating for a file");
}

/* Some of the len clusters of a hole at cpos; i_size rises to `to` at most. */
static int fill_hole(struct vol_inode *inode, struct buf *b, uint32_t cpos, uint32_t len,
		     uint64_t to, uint32_t *done)
{
	struct vol *v = inode->vol;
	struct step s = { .inode = inode, .v = v, .cpos = cpos,
			  .want = STEP_BYTES >> v->info.clustersize_bits };
	int err;

	xtree_dinode(&s.t, inode, b);
	if (s.want > len)
		s.want = len;
	err = step_plan(&s);
	if (!err)
		err = step_commit(&s, min_u64(to, cluster_byte(v, cpos + s.want)));
	reservation_release(v, &s.r);
	*done = err ? 0 : s.want;
	return err;
}

/* What is at cluster c, from there on and before end. */
static int run_at(struct vol_inode *inode, struct buf *b, uint32_t c, uint32_t end,
		  struct extent *e)
{
	struct xtree t;
	int err;

	xtree_dinode(&t, inode, b);
	err = xtree_lookup(&t, c, e);
	if (err)
		return err;
	if (e->blkno)
		e->blkno += (blkno_t)(c - e->cpos) * inode->vol->bpc;
	e->len -= c - e->cpos;
	e->cpos = c;
	if (e->len > end - c)
		e->len = end - c;
	return 0;
}

static int fill_holes(struct vol_inode *inode, uint64_t from, uint64_t to)
{
	struct vol *v = inode->vol;
	uint32_t c = (uint32_t)(from >> v->info.clustersize_bits);
	uint32_t end = bytes_to_clusters_up(v, to), len;
	struct extent e;
	struct buf *b;
	int err;

	err = inode_buf(inode, &b);
	if (err)
		return err;
	while (c < end && !err) {
		err = run_at(inode, b, c, end, &e);
		if (err)
			break;
		len = e.len;
		if (e.blkno == 0)
			err = fill_hole(inode, b, c, len, to, &len);
		c += len;
	}
	bc_put(b);
	return err;
}

static int allocate(struct vol_inode *inode, uint64_t from, uint64_t to, bool keep_size)
{
	uint64_t old = inode->size;
	int err, err2;

	if (keep_size && bytes_to_clusters_up(inode->vol, to) > bytes_to_clusters_up(inode->vol, old))
		return -EOPNOTSUPP;
	err = zero_gap(inode, old, keep_size ? old : max_u64(old, to));
	if (!err)
		err = fill_holes(inode, from, keep_size ? min_u64(old, to) : to);
	if (!err && !keep_size && inode->size < to)
		err = file_set_size(inode, to);
	if (err && inode->size > old) {
		err2 = file_shrink(inode, old);
		if (err2)
			err = err2;
	}
	return err;
}

/* ---- holes --------------------------------------------------------------------------- */

/* Zeros over bytes of one cluster, if there is anything. */
static int zero_part(struct vol_inode *inode, uint64_t from, uint64_t to)
{
	struct extent e;
	struct xtree t;
	struct buf *b;
	size_t done = 0;
	void *zeros;
	int err;

	if (from >= to)
		return 0;
	err = inode_buf(inode, &b);
	if (err)
		return err;
	xtree_dinode(&t, inode, b);
	err = data_lookup(&t, from, &e);
	bc_put(b);
	if (err || e.blkno == 0 || (e.flags & OCFS2_EXT_UNWRITTEN))
		return err;
	zeros = calloc(1, (size_t)(to - from));
	if (!zeros)
		return -ENOMEM;
	err = file_write_locked(inode, zeros, (size_t)(to - from), from, &done);
	free(zeros);
	return err;
}

static int remove_run(struct vol_inode *inode, struct xtree *t, const struct extent *e,
		      struct reservation *r, struct dealloc *freed)
{
	struct vol *v = inode->vol;
	bool changed = false;
	struct jhandle *h;
	int err;

	err = jh_begin(v, 1 + TL_CREDITS + xtree_credits_from(t, e->cpos, 2) +
			  reservation_credits(r), &h);
	if (err)
		return err;
	err = jh_write(h, t->root, inode);
	if (!err) {
		changed = true;
		err = tl_append(h, (uint32_t)(e->blkno / v->bpc), e->len);
	}
	if (!err)
		err = xtree_remove(h, t, e->cpos, e->len, r, freed);
	if (!err) {
		file_touch(inode);
		err = inode_store(h, inode);
		inode->datasync_tid = inode->sync_tid;
	}
	return file_end(h, err, changed, "punching a hole");
}

/* The part of e, clusters of one record, that is wanted is all of it. */
static int punch_run(struct vol_inode *inode, struct buf *b, const struct extent *e)
{
	struct vol *v = inode->vol;
	struct reservation r = { 0 };
	struct dealloc freed = { 0 };
	struct xtree t;
	int err, err2;

	if (e->flags & OCFS2_EXT_REFCOUNTED)
		return -EOPNOTSUPP;
	xtree_dinode(&t, inode, b);
	err = reserve_meta(v, xtree_meta_needed(&t, 2), &r);
	if (!err)
		err = tl_prepare(v, 1);
	if (!err) {
		err = remove_run(inode, &t, e, &r, &freed);
		tl_done(v);
	}
	reservation_release(v, &r);
	err2 = dealloc_run(v, &freed);
	return err ? err : err2;
}

static int punch_clusters(struct vol_inode *inode, uint32_t c, uint32_t end)
{
	struct extent e;
	struct buf *b;
	int err;

	err = inode_buf(inode, &b);
	if (err)
		return err;
	while (c < end && !err) {
		err = run_at(inode, b, c, end, &e);
		if (err)
			break;
		if (e.blkno)
			err = punch_run(inode, b, &e);
		c += e.len;
	}
	bc_put(b);
	return err;
}

static int punch(struct vol_inode *inode, uint64_t from, uint64_t to)
{
	struct vol *v = inode->vol;
	uint64_t head, tail;
	int err;

	if (to >= inode->size) {
		to = inode->size;
		tail = cluster_byte(v, bytes_to_clusters_up(v, to)); /* nothing is behind it */
	} else {
		tail = to & ~(uint64_t)(v->clustersize - 1);
	}
	if (from >= to)
		return 0;
	head = cluster_byte(v, bytes_to_clusters_up(v, from));
	/* [from, head) and [tail, to); without a whole cluster between them they meet or overlap */
	err = zero_part(inode, from, min_u64(head, to));
	if (!err)
		err = zero_part(inode, max_u64(tail, min_u64(head, to)), to);
	if (!err && head < tail)
		err = punch_clusters(inode, (uint32_t)(head >> v->info.clustersize_bits),
				     (uint32_t)(tail >> v->info.clustersize_bits));
	return err;
}

/* ---- the call ------------------------------------------------------------------------ */

/* Content in the inode is there already; its holes are zeros. 1: not inline any more. */
static int in_inode(struct vol_inode *inode, uint64_t from, uint64_t to, unsigned how)
{
	static const uint8_t zeros[4096];
	struct buf *b;
	bool fits;
	int err;

	if (!(inode->dyn_features & OCFS2_INLINE_DATA_FL))
		return 1;
	if (how & VOL_FALLOC_PUNCH) {
		to = min_u64(to, inode->size);
		return from < to ? inline_write(inode, zeros, (size_t)(to - from), from, inode->mode) : 0;
	}
	if (to <= inode->size)
		return 0;
	err = inode_buf(inode, &b);
	if (err)
		return err;
	fits = inline_fits(inode, (struct ocfs2_dinode *)b->data, to);
	bc_put(b);
	if (fits)
		return how & VOL_FALLOC_KEEP_SIZE ? 0 : inline_resize(inode, to);
	err = inline_convert(inode);
	return err ? err : 1;
}

int vol_fallocate(struct vol_inode *inode, uint64_t off, uint64_t len, unsigned how)
{
	struct vol *v = inode->vol;
	uint64_t end = 0;
	int err;

	if (len == 0)
		return -EINVAL;
	if (!vol_is_sparse(v) || !(v->info.ro_compat & OCFS2_FEATURE_RO_COMPAT_UNWRITTEN))
		return -EOPNOTSUPP;
	pthread_rwlock_wrlock(&inode->sem);
	err = file_may_change(inode);
	if (!err && !S_ISREG(inode->mode))
		err = S_ISDIR(inode->mode) ? -EISDIR : -ENODEV;
	if (!err && (add_overflows(off, len, &end) || end > file_limit(v)))
		err = -EFBIG;
	if (!err)
		err = in_inode(inode, off, end, how);
	if (err == 1)
		err = how & VOL_FALLOC_PUNCH ? punch(inode, off, end) :
		      allocate(inode, off, end, how & VOL_FALLOC_KEEP_SIZE);
	pthread_rwlock_unlock(&inode->sem);
	return err;
}
