/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * localalloc.c: this slot's private window of clusters (disk.md 4.7, fs-locking 9).
 *
 * The clusters of the window are set in the global bitmap already; a claim sets a
 * bit in the dinode of local_alloc:slot only, so small allocations need no lock
 * that other nodes want. The dinode is private to the node: its sys_mutex is all
 * the locking it needs, no cluster lock. Moving the window gives the unused part
 * back and claims a new run, under the global bitmap's lock, in one transaction;
 * a crash leaves the old window or the new one, never none or both.
 *
 *	OFF ---- localalloc=0, or no room in the block
 *	STALE -- a crash left a window; unusable until localalloc_recover
 *	ON  <--> RESTING: no run long enough was found; tried again after 30 s or
 *		 when clusters were freed
 *	OFF <--- localalloc_stop (unmount)
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "fs/volume/alloc_int.h"

#define LA_MAX_MB 256
#define LA_OLD_DEFAULT_MB 8
#define LA_REST_SEC 30

enum la_state { LA_OFF, LA_STALE, LA_ON, LA_RESTING };

struct localalloc {
	struct vol_inode *inode;
	enum la_state state;	/* under inode->sys_mutex */
	uint32_t bits;		/* wanted size of a window */
	time_t retry;		/* RESTING: monotonic seconds */
};

static struct ocfs2_dinode *la_dinode(const struct buf *b)
{
	return (struct ocfs2_dinode *)b->data;
}

static time_t now_sec(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec;
}

static uint32_t mb_to_clusters(const struct vol *v, uint32_t mb)
{
	return (uint32_t)(((uint64_t)mb << 20) / v->clustersize);
}

static uint32_t clusters_to_mb(const struct vol *v, uint64_t clusters)
{
	return (uint32_t)(clusters * v->clustersize >> 20);
}

static uint32_t block_room(const struct vol *v)
{
	return v->blocksize - (uint32_t)offsetof(struct ocfs2_dinode, id2.i_lab.la_bitmap);
}

/* Size of a window in clusters, as the kernel computes it (fs-locking.md 9). */
static uint32_t window_size(const struct vol *v)
{
	uint32_t group = 8 * (v->blocksize - (uint32_t)offsetof(struct ocfs2_group_desc, bg_bitmap));
	uint32_t mb, per_slot, fits = clusters_to_mb(v, (uint64_t)8 * block_room(v));

	if (v->opts.localalloc_mb == 0)
		return 0;
	if (v->opts.localalloc_mb > 0) {
		mb = (uint32_t)v->opts.localalloc_mb;
	} else if ((v->blocksize == 512 && v->clustersize <= 8192) ||
		   (v->blocksize == 1024 && v->clustersize == 4096)) {
		mb = LA_OLD_DEFAULT_MB;
	} else {
		mb = (clusters_to_mb(v, group) - 16) & ~4U;
		if (mb > 2 * LA_MAX_MB)
			mb = LA_MAX_MB;
		while (mb > LA_MAX_MB)
			mb /= 2;
	}
	per_slot = clusters_to_mb(v, v->info.clusters / v->info.max_slots);
	if (mb > per_slot)
		mb = per_slot;
	if (mb > fits)
		mb = fits;
	return mb_to_clusters(v, mb);
}

static int la_check(struct vol *v, const struct ocfs2_dinode *di, const char **what)
{
	uint32_t total = le32toh(di->id1.bitmap1.i_total), used = le32toh(di->id1.bitmap1.i_used);
	const struct ocfs2_local_alloc *la = &di->id2.i_lab;
	uint32_t bits = 8 * (uint32_t)le16toh(la->la_size);
	const uint8_t *map = la->la_bitmap;
	uint32_t set = 0;

	*what = NULL;
	if (!(le32toh(di->i_flags) & OCFS2_LOCAL_ALLOC_FL))
		*what = "is not a local alloc";
	else if (le16toh(la->la_size) > block_room(v))
		*what = "has a bitmap larger than its block";
	else if (total > bits || used > total)
		*what = "has impossible counts";
	else if (total && (le32toh(la->la_bm_off) == 0 ||
			   (uint64_t)le32toh(la->la_bm_off) + total > UINT32_MAX))
		*what = "has a window outside the volume";
	if (*what)
		return -EIO;
	for (uint32_t b = 0; b < bits; b++)
		set += bm_test(map, b);
	if (set != used || bm_next(map, total, bits, true) != bits) {
		*what = "has a bitmap that disagrees with its counts";
		return -EIO;
	}
	return 0;
}

/* ---- the window -------------------------------------------------------------------- */

static unsigned return_credits(const struct chain *gb, const struct ocfs2_dinode *di)
{
	return clusters_credits(gb, le32toh(di->id2.i_lab.la_bm_off),
				le32toh(di->id1.bitmap1.i_total));
}

/* Give the unused clusters back and make the dinode empty. */
static int return_unused(struct jhandle *h, struct chain *gb, struct vol_inode *inode,
			 struct buf *b)
{
	struct ocfs2_dinode *di = la_dinode(b);
	uint32_t total = le32toh(di->id1.bitmap1.i_total);
	uint32_t first = le32toh(di->id2.i_lab.la_bm_off), bit = 0, end;
	uint8_t *map = di->id2.i_lab.la_bitmap;
	int err;

	err = jh_write(h, b, inode);
	if (err)
		return err;
	while ((bit = bm_next(map, bit, total, false)) < total) {
		end = bm_next(map, bit, total, true);
		err = clusters_clear(h, gb, first + bit, end - bit);
		if (err)
			return err;
		bit = end;
	}
	di->id1.bitmap1.i_total = 0;
	di->id1.bitmap1.i_used = 0;
	di->id2.i_lab.la_bm_off = 0;
	memset(map, 0, le16toh(di->id2.i_lab.la_size));
	return 0;
}

static int claim_window(struct jhandle *h, struct chain *gb, struct vol_inode *inode,
			struct buf *b, uint32_t min, uint32_t want)
{
	struct ocfs2_dinode *di = la_dinode(b);
	struct chain_want w = { min, want, 0, NULL };
	struct chain_hit hit;
	int err;

	err = chain_find(gb, &w, &hit);
	if (err)
		return err;
	err = chain_set(h, gb, hit.group, hit.bit, hit.len);
	if (!err)
		err = jh_write(h, b, inode);
	if (err)
		return err == -ENOSPC ? -EIO : err;
	di->id1.bitmap1.i_total = htole32(hit.len);
	di->id2.i_lab.la_bm_off = htole32(group_cluster(gb, hit.group, hit.bit));
	return 0;
}

/* want = 0: only give back. -ENOSPC: given back, but no new window. */
static int move_window(struct vol *v, struct vol_inode *inode, struct buf *b, uint32_t min,
		       uint32_t want, bool sync)
{
	struct alloc_ctx *gb;
	struct jhandle *h;
	int err, err2;

	err = alloc_ctx_new(v, vol_sys_inode(v, VOL_SYS_GLOBAL_BITMAP, 0), &gb);
	if (err)
		return err;
	err = jh_begin(v, 1 + return_credits(&gb->chain, la_dinode(b)) + (want ? 2 : 0), &h);
	if (err)
		goto unlock;
	err = return_unused(h, &gb->chain, inode, b);
	if (!err && want)
		err = claim_window(h, &gb->chain, inode, b, min, want);
	if (err && err != -ENOSPC)
		jh_abort(h, "moving the local alloc window");
	err2 = jh_end(h, sync);
	err = err2 ? err2 : err;
unlock:
	alloc_ctx_free(v, gb);
	return err;
}

/* Under the mutex: a window with n free clusters, or -ENOSPC. */
static int want_window(struct vol *v, struct localalloc *la, struct buf *b, uint32_t n)
{
	const struct ocfs2_dinode *di = la_dinode(b);
	uint32_t min = mb_to_clusters(v, 1);
	int err;

	if (le32toh(di->id1.bitmap1.i_total) - le32toh(di->id1.bitmap1.i_used) >= n)
		return 0;
	if (min < 2 * n)
		min = 2 * n;
	if (min > la->bits)
		min = la->bits;
	err = move_window(v, la->inode, b, min, la->bits, false);
	if (err == -ENOSPC) {
		la->state = LA_RESTING;
		la->retry = now_sec() + LA_REST_SEC;
		log_debug(v->log, "localalloc", "no run of clusters for a window clusters=%u", min);
	}
	return err;
}

int la_reserve(struct vol *v, uint32_t n, struct alloc_ctx **out)
{
	struct localalloc *la = v->localalloc;
	struct alloc_ctx *ac;
	struct buf *b;
	int err;

	if (!la || n > la->bits / 2)
		return -ENOSPC;
	ac = calloc(1, sizeof(*ac));
	if (!ac)
		return -ENOMEM;
	pthread_mutex_lock(&la->inode->sys_mutex);
	if (la->state == LA_RESTING && now_sec() >= la->retry)
		la->state = LA_ON;
	err = la->state == LA_ON ? inode_buf(la->inode, &b) : -ENOSPC;
	if (!err) {
		err = want_window(v, la, b, n);
		if (err)
			bc_put(b);
	}
	if (err) {
		pthread_mutex_unlock(&la->inode->sys_mutex);
		free(ac);
		return err;
	}
	*ac = (struct alloc_ctx){
		.window = true,
		.locked = la->inode,
		.chain = { .v = v, .inode = la->inode, .bh = b, .di = la_dinode(b) },
		.left = n,
		.credits = 1,
	};
	*out = ac;
	return 0;
}

int la_plan(struct vol *v, struct alloc_ctx *ac, uint32_t want, uint32_t *cluster, uint32_t *got)
{
	const struct ocfs2_dinode *di = ac->chain.di;
	uint32_t total = le32toh(di->id1.bitmap1.i_total), bit = 0, end;
	uint32_t first = le32toh(di->id2.i_lab.la_bm_off), start, len, best = 0;

	while (best < want && (bit = bm_next(di->id2.i_lab.la_bitmap, bit, total, false)) < total) {
		end = bm_next(di->id2.i_lab.la_bitmap, bit, total, true);
		while (best < want && bit < end &&
		       plan_free(&ac->plan, first + bit, first + end, &start, &len)) {
			if (len > best) {
				best = len;
				*cluster = start;
			}
			bit = start + len - first;
		}
		bit = end;
	}
	*got = best < want ? best : want;
	if (best == 0)
		return vol_damaged(v, "local alloc: no free bit, but the counts say so");
	return 0;
}

int la_claim(struct jhandle *h, struct alloc_ctx *ac, uint32_t cluster, uint32_t n)
{
	struct ocfs2_dinode *di = ac->chain.di;
	uint32_t bit = cluster - le32toh(di->id2.i_lab.la_bm_off);
	int err;

	err = jh_write(h, ac->chain.bh, ac->locked);
	if (err)
		return err;
	bm_set(di->id2.i_lab.la_bitmap, bit, n);
	di->id1.bitmap1.i_used = htole32(le32toh(di->id1.bitmap1.i_used) + n);
	return 0;
}

void la_reset(struct vol *v)
{
	struct localalloc *la = v->localalloc;

	if (!la)
		return;
	pthread_mutex_lock(&la->inode->sys_mutex);
	if (la->state == LA_RESTING)
		la->state = LA_ON;
	pthread_mutex_unlock(&la->inode->sys_mutex);
}

/* ---- mount, recovery, unmount ------------------------------------------------------- */

int localalloc_open(struct vol *v, bool recovered, struct reason *why)
{
	struct vol_inode *inode = vol_sys_inode(v, VOL_SYS_LOCAL_ALLOC, vol_slot(v));
	const struct ocfs2_dinode *di;
	struct localalloc *la;
	const char *what;
	struct buf *b;
	int err;

	if (!inode)
		return reason_set(why, EXIT_JOURNAL, -EIO,
				  "local alloc: slot %u has no local_alloc file; run fsck.ocfs2",
				  vol_slot(v));
	err = inode_buf(inode, &b);
	if (err)
		return reason_set(why, EXIT_JOURNAL, err,
				  "local alloc: cannot read local_alloc of slot %u; run fsck.ocfs2",
				  vol_slot(v));
	di = la_dinode(b);
	err = la_check(v, di, &what);
	if (!err && di->id1.bitmap1.i_total && !recovered) {
		what = "is in use although the journal is clean";
		err = -EINVAL;
	}
	la = err ? NULL : calloc(1, sizeof(*la));
	if (la) {
		la->inode = inode;
		la->bits = window_size(v);
		la->state = di->id1.bitmap1.i_total ? LA_STALE : la->bits ? LA_ON : LA_OFF;
	}
	bc_put(b);
	if (err)
		return reason_set(why, EXIT_JOURNAL, err,
				  "local alloc: local_alloc of slot %u %s; run fsck.ocfs2",
				  vol_slot(v), what);
	if (!la)
		return reason_set(why, EXIT_SYSTEM, -ENOMEM, "local alloc: out of memory");
	v->localalloc = la;
	return 0;
}

/* Give the window back, whatever the state; then go to `next`. */
static int give_back(struct vol *v, enum la_state next, bool sync)
{
	struct localalloc *la = v->localalloc;
	struct buf *b;
	int err;

	if (!la)
		return 0;
	pthread_mutex_lock(&la->inode->sys_mutex);
	err = inode_buf(la->inode, &b);
	if (!err) {
		if (la_dinode(b)->id1.bitmap1.i_total)
			err = move_window(v, la->inode, b, 0, 0, sync);
		bc_put(b);
	}
	if (!err) {
		la->state = next == LA_ON && la->bits == 0 ? LA_OFF : next;
		la->retry = now_sec() + LA_REST_SEC;
	}
	pthread_mutex_unlock(&la->inode->sys_mutex);
	return err;
}

int localalloc_recover(struct vol *v)
{
	return give_back(v, LA_ON, true);
}

int localalloc_give_back(struct vol *v)
{
	struct localalloc *la = v->localalloc;
	bool on;

	if (!la)
		return 0;
	pthread_mutex_lock(&la->inode->sys_mutex);
	on = la->state == LA_ON || la->state == LA_RESTING;
	pthread_mutex_unlock(&la->inode->sys_mutex);
	return on ? give_back(v, LA_RESTING, false) : 0;
}

int localalloc_stop(struct vol *v)
{
	return give_back(v, LA_OFF, false);
}

void localalloc_close(struct vol *v)
{
	free(TAKE(v->localalloc));
}
