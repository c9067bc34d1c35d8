/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * file_write.c: writing, through to the device (disk.md 11.2).
 *
 * A write is done in chunks of at most 1 MiB, each: look at the extents, reserve and
 * plan clusters for the holes, write the data (with what must be zero around it) to
 * the device, then one transaction that claims the planned clusters, inserts them,
 * marks unwritten ranges written and sets size and times. So data is on the device
 * before any commit refers to it, and a failed write of data leaves nothing to undo.
 * Allocated and written ranges are overwritten in place; then the transaction is the
 * dinode alone.
 *
 * The inode's sem is held for writing from start to end: what was looked up stays
 * true, partial units are read, changed and written without another writer in
 * between, and the end of the file for an append is the true one.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "dlm/util/overflow.h"
#include "fs/volume/file_int.h"

#define WRITE_AREAS 16	/* extents and holes looked at for one chunk */
#define WRITE_SEGS 32	/* after holes became runs of clusters */

enum seg_kind { SEG_OVER, SEG_UNWRITTEN, SEG_NEW };

/* Clusters that one request covers; [start, end) are the file bytes written, in units. */
struct wseg {
	enum seg_kind kind;
	struct extent e;
	uint64_t start, end;
};

struct wchunk {
	struct vol_inode *inode;
	struct vol *v;
	struct xtree t;
	const uint8_t *buf;	/* byte pos of the file */
	uint64_t pos, end;	/* the caller's bytes */
	uint16_t mode;
	struct wseg seg[WRITE_SEGS];
	unsigned nsegs, edits;
	struct reservation r;
	uint8_t *bounce;	/* file byte seg[0].start */
};

/* ---- where to write -------------------------------------------------------------- */

/* Areas of the chunk; the chunk becomes shorter if there are too many. */
static int chunk_scan(struct wchunk *w, struct wseg *area, unsigned *n, uint32_t *holes)
{
	uint32_t c = (uint32_t)(w->pos >> w->v->info.clustersize_bits);
	uint32_t end = bytes_to_clusters_up(w->v, w->end);
	int err;

	for (*n = 0, *holes = 0; c < end && *n < WRITE_AREAS; (*n)++) {
		struct extent e;

		err = xtree_lookup(&w->t, c, &e);
		if (err)
			return err;
		if (e.flags & OCFS2_EXT_REFCOUNTED) {
			if (*n == 0)
				return -EOPNOTSUPP;
			break;
		}
		if (e.blkno)
			e.blkno += (blkno_t)(c - e.cpos) * w->v->bpc;
		e.len -= c - e.cpos;
		e.cpos = c;
		if (e.len > end - c)
			e.len = end - c;
		area[*n] = (struct wseg){ .e = e };
		if (e.blkno == 0) {
			area[*n].kind = SEG_NEW;
			*holes += e.len;
		} else if (e.flags & OCFS2_EXT_UNWRITTEN) {
			area[*n].kind = SEG_UNWRITTEN;
		}
		c += e.len;
	}
	w->end = min_u64(w->end, cluster_byte(w->v, c));
	return 0;
}

/* Clusters for a hole. The chunk becomes shorter if it takes too many runs. */
static int plan_hole(struct wchunk *w, const struct wseg *area)
{
	uint32_t cpos = area->e.cpos, left = area->e.len;

	while (left > 0 && w->nsegs < WRITE_SEGS) {
		struct wseg *s = &w->seg[w->nsegs];
		uint32_t cluster, got;
		int err;

		err = plan_clusters(&w->r, left, &cluster, &got);
		if (err)
			return err;
		*s = (struct wseg){ .kind = SEG_NEW,
				    .e = { .cpos = cpos, .len = got,
					   .blkno = (blkno_t)cluster * w->v->bpc } };
		w->nsegs++;
		cpos += got;
		left -= got;
	}
	return 0;
}

static void seg_bounds(const struct wchunk *w, struct wseg *s)
{
	uint64_t start = cluster_byte(w->v, s->e.cpos);
	uint64_t end = start + cluster_byte(w->v, s->e.len);

	if (s->kind == SEG_OVER) {
		s->start = max_u64(start, unit_down(w->pos));
		s->end = min_u64(end, unit_up(w->end));
	} else {
		/* what lies beyond both ends need not be zero (file_extend.c) */
		s->start = start;
		s->end = min_u64(end, unit_up(max_u64(w->end, min_u64(end, w->inode->size))));
	}
}

static int chunk_plan(struct wchunk *w)
{
	struct wseg area[WRITE_AREAS];
	uint32_t holes, covered;
	unsigned n, unwritten = 0;
	int err;

	err = chunk_scan(w, area, &n, &holes);
	if (err)
		return err;
	for (unsigned i = 0; i < n; i++)
		unwritten += area[i].kind == SEG_UNWRITTEN;
	w->edits = 2 * unwritten + (holes ? WRITE_SEGS : 0);
	if (w->edits)
		err = reserve_meta(w->v, xtree_meta_needed(&w->t, w->edits), &w->r);
	if (!err)
		err = reserve_clusters(w->v, holes, &w->r);
	for (unsigned i = 0; i < n && !err && w->nsegs < WRITE_SEGS; i++) {
		if (area[i].kind == SEG_NEW)
			err = plan_hole(w, &area[i]);
		else
			w->seg[w->nsegs++] = area[i];
	}
	if (err)
		return err;
	covered = w->seg[w->nsegs - 1].e.cpos + w->seg[w->nsegs - 1].e.len;
	w->end = min_u64(w->end, cluster_byte(w->v, covered));
	for (unsigned i = 0; i < w->nsegs; i++)
		seg_bounds(w, &w->seg[i]);
	return 0;
}

/* ---- the data --------------------------------------------------------------------- */

static uint8_t *bounce_at(const struct wchunk *w, uint64_t off)
{
	return w->bounce + (off - w->seg[0].start);
}

static int read_unit(const struct wchunk *w, const struct wseg *s, uint64_t off)
{
	return blockdev_read(w->v->dev, bounce_at(w, off), DATA_UNIT,
			     extent_byte(w->v, &s->e, off));
}

/* File bytes [from, to) of s, whole units, into the bounce buffer. */
static int fill_bounce(const struct wchunk *w, const struct wseg *s, uint64_t from, uint64_t to)
{
	uint64_t us = max_u64(from, w->pos), ue = min_u64(to, w->end);
	uint64_t keep = max_u64(w->end, w->inode->size); /* from here on: zeros */
	int err = 0;

	if (s->kind == SEG_OVER) {
		if (us % DATA_UNIT)
			err = read_unit(w, s, unit_down(us));
		/* the last unit: nothing of it is needed if all of it was beyond the end */
		if (!err && ue % DATA_UNIT && unit_down(ue) < w->inode->size &&
		    (unit_down(ue) != unit_down(us) || !(us % DATA_UNIT)))
			err = read_unit(w, s, unit_down(ue));
		if (err)
			return err;
		if (keep < to)
			memset(bounce_at(w, max_u64(keep, from)), 0,
			       (size_t)(to - max_u64(keep, from)));
	} else {
		memset(bounce_at(w, from), 0, (size_t)(min_u64(max_u64(us, from), to) - from));
		if (ue < to)
			memset(bounce_at(w, max_u64(ue, from)), 0,
			       (size_t)(to - max_u64(ue, from)));
	}
	if (us < ue)
		memcpy(bounce_at(w, us), w->buf + (us - w->pos), (size_t)(ue - us));
	return 0;
}

static int add_io(const struct wchunk *w, const struct wseg *s, uint64_t from, uint64_t to,
		  bool direct, struct bd_io *io, unsigned *n)
{
	int err;

	if (from >= to)
		return 0;
	if (!direct) {
		err = fill_bounce(w, s, from, to);
		if (err)
			return err;
	}
	io[(*n)++] = (struct bd_io){
		.buf = direct ? (void *)(uintptr_t)(w->buf + (from - w->pos)) : bounce_at(w, from),
		.len = (size_t)(to - from),
		.off = extent_byte(w->v, &s->e, from),
	};
	return 0;
}

/* Whole units straight from the caller's memory if its address allows, edges bounced. */
static int seg_ios(const struct wchunk *w, const struct wseg *s, bool aligned, struct bd_io *io,
		   unsigned *n)
{
	uint64_t a = unit_up(max_u64(s->start, w->pos)), b = unit_down(min_u64(s->end, w->end));
	int err;

	if (!aligned || a >= b)
		return add_io(w, s, s->start, s->end, false, io, n);
	err = add_io(w, s, s->start, a, false, io, n);
	if (!err)
		err = add_io(w, s, a, b, true, io, n);
	if (!err)
		err = add_io(w, s, b, s->end, false, io, n);
	return err;
}

static int chunk_data(struct wchunk *w)
{
	struct bd_io io[3 * WRITE_SEGS];
	bool aligned = ((uintptr_t)w->buf - w->pos) % DATA_UNIT == 0;
	unsigned n = 0;
	int err = 0;

	if (!aligned || w->pos % DATA_UNIT || w->end % DATA_UNIT || w->edits) {
		w->bounce = data_alloc((size_t)(w->seg[w->nsegs - 1].end - w->seg[0].start));
		if (!w->bounce)
			return -ENOMEM;
	}
	for (unsigned i = 0; i < w->nsegs && !err; i++)
		err = seg_ios(w, &w->seg[i], aligned, io, &n);
	return err ? err : blockdev_write_many(w->v->dev, io, n);
}

/* ---- the transaction --------------------------------------------------------------- */

static int seg_commit(struct jhandle *h, struct wchunk *w, const struct wseg *s)
{
	int err;

	if (s->kind == SEG_OVER)
		return 0;
	if (s->kind == SEG_UNWRITTEN)
		return xtree_mark_written(h, &w->t, s->e.cpos, s->e.len, &w->r);
	err = claim_planned(h, &w->r, (uint32_t)(s->e.blkno / w->v->bpc), s->e.len);
	return err ? err : xtree_insert(h, &w->t, &s->e, &w->r);
}

static int chunk_commit(struct wchunk *w)
{
	struct vol_inode *inode = w->inode;
	bool grows = w->end > inode->size;
	unsigned credits = 1;
	struct jhandle *h;
	int err;

	if (w->edits)
		credits += xtree_credits_from(&w->t, w->seg[0].e.cpos, w->edits) +
			   reservation_credits(&w->r);
	err = jh_begin(w->v, credits, &h);
	if (err)
		return err;
	err = jh_write(h, w->t.root, inode);
	if (err)
		return file_end(h, err, false, NULL);
	for (unsigned i = 0; i < w->nsegs && !err; i++)
		err = seg_commit(h, w, &w->seg[i]);
	if (!err) {
		if (grows)
			inode->size = w->end;
		inode->mode = w->mode;
		file_touch(inode);
		err = inode_store(h, inode);
		if (grows || w->edits)
			inode->datasync_tid = inode->sync_tid;
	}
	return file_end(h, err, true, "writing a file");
}

/* Write what fits into one transaction; *done bytes of the caller's. */
static int write_chunk(struct vol_inode *inode, struct buf *b, const uint8_t *buf, uint64_t pos,
		       uint64_t end, uint64_t chunk, uint16_t mode, size_t *done)
{
	struct wchunk w = { .inode = inode, .v = inode->vol, .buf = buf, .pos = pos, .mode = mode };
	int err;

	w.end = min_u64(end, (pos / chunk + 1) * chunk);
	xtree_dinode(&w.t, inode, b);
	err = chunk_plan(&w);
	if (!err)
		err = chunk_data(&w);
	if (!err)
		err = chunk_commit(&w);
	reservation_release(w.v, &w.r);
	free(w.bounce);
	*done = err ? 0 : (size_t)(w.end - pos);
	return err;
}

/* ---- the call ------------------------------------------------------------------------ */

static uint16_t mode_after(const struct vol_inode *inode, bool kill_suid)
{
	uint16_t mode = inode->mode;

	if (!kill_suid)
		return mode;
	mode &= (uint16_t)~S_ISUID;
	if (mode & S_IXGRP)
		mode &= (uint16_t)~S_ISGID;
	return mode;
}

static int write_extents(struct vol_inode *inode, const uint8_t *buf, size_t len, uint64_t pos,
			 uint16_t mode, size_t *done)
{
	uint64_t chunk = DATA_CHUNK;
	struct buf *b;
	size_t part;
	int err = 0;

	if (inode->dyn_features & OCFS2_INLINE_DATA_FL)
		err = inline_convert(inode);
	if (!err && pos > inode->size)
		err = vol_is_sparse(inode->vol) ? zero_gap(inode, inode->size, pos) :
						  extend_dense(inode, pos);
	if (!err)
		err = inode_buf(inode, &b);
	if (err)
		return err;
	while (*done < len && !err) {
		err = write_chunk(inode, b, buf + *done, pos + *done, pos + len, chunk, mode,
				  &part);
		*done += part;
		if (err == -ENOSPC && chunk > inode->vol->clustersize) {
			chunk = inode->vol->clustersize; /* as much as fits */
			err = 0;
		}
	}
	bc_put(b);
	return err;
}

static int write_locked(struct vol_inode *inode, const uint8_t *buf, size_t len, uint64_t pos,
			bool kill_suid, size_t *done)
{
	uint16_t mode = mode_after(inode, kill_suid);
	bool fits;
	struct buf *b;
	int err;

	err = inode_buf(inode, &b);
	if (err)
		return err;
	fits = inline_fits(inode, (struct ocfs2_dinode *)b->data, pos + len);
	bc_put(b);
	if (!fits)
		return write_extents(inode, buf, len, pos, mode, done);
	err = inline_write(inode, buf, len, pos, mode);
	if (!err)
		*done = len;
	return err;
}

int file_write_locked(struct vol_inode *inode, const void *buf, size_t len, uint64_t pos,
		      size_t *done)
{
	return write_locked(inode, buf, len, pos, false, done);
}

int vol_write(struct vol_inode *inode, const void *buf, size_t len, uint64_t *off, bool append,
	      bool kill_suid, size_t *done)
{
	uint64_t end;
	int err;

	*done = 0;
	if (len == 0)
		return 0;
	pthread_rwlock_wrlock(&inode->sem);
	err = file_may_change(inode);
	if (!err && !S_ISREG(inode->mode))
		err = S_ISDIR(inode->mode) ? -EISDIR : -EINVAL;
	if (!err && append)
		*off = inode->size;
	if (!err && (add_overflows(*off, (uint64_t)len, &end) || end > file_limit(inode->vol)))
		err = -EFBIG;
	if (!err)
		err = write_locked(inode, buf, len, *off, kill_suid, done);
	pthread_rwlock_unlock(&inode->sem);
	return *done ? 0 : err;
}
