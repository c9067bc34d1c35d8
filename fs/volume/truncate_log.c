/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * truncate_log.c: clusters that wait to be freed (disk.md 4.6, 8.9).
 *
 * A run is appended in the transaction that drops it from its tree; later it is
 * freed in the global bitmap. Between the two everything is committed and
 * checkpointed, for two reasons: a log that still held the append could be
 * replayed beside the flush and free the run twice, and an old image of a block in
 * those clusters could be replayed over the data of their next owner.
 *
 * The flush commits before it lets go of the bitmap, so whoever claims bits next
 * never meets a free that a crash could take back. (jh_freed tells the journal all
 * the same: a reader of chain.c need not know of this file.)
 *
 * The dinode is private to the node: its sys_mutex is the lock (held from
 * tl_prepare to tl_done), no cluster lock. The holder may need the log flushed for
 * space: `holder` tells him from others.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "fs/volume/alloc_int.h"

#define TL_DUE_MS 2000

struct trunclog {
	struct vol_inode *inode;
	struct buf *bh;
	_Atomic pthread_t holder;
	atomic_bool held;
	_Atomic int64_t since_ms;	/* oldest unflushed append; 0: the log is empty */
};

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000 + 1;
}

static struct ocfs2_truncate_log *tl_of(const struct trunclog *t)
{
	return &((struct ocfs2_dinode *)t->bh->data)->id2.i_dealloc;
}

static unsigned tl_used(const struct trunclog *t)
{
	return le16toh(tl_of(t)->tl_used);
}

static void tl_lock(struct trunclog *t)
{
	pthread_mutex_lock(&t->inode->sys_mutex);
	atomic_store(&t->holder, pthread_self());
	atomic_store(&t->held, true);
}

static void tl_unlock(struct trunclog *t)
{
	atomic_store(&t->held, false);
	pthread_mutex_unlock(&t->inode->sys_mutex);
}

/* Only this thread can have set what makes it true for itself. */
static bool tl_mine(struct trunclog *t)
{
	return atomic_load(&t->held) && pthread_equal(atomic_load(&t->holder), pthread_self());
}

unsigned tl_capacity(struct vol *v)
{
	return le16toh(tl_of(v->trunclog)->tl_count);
}

int trunclog_open(struct vol *v, struct reason *why)
{
	struct vol_inode *inode = vol_sys_inode(v, VOL_SYS_TRUNCATE_LOG, vol_slot(v));
	unsigned room = (v->blocksize - (unsigned)offsetof(struct ocfs2_dinode,
							    id2.i_dealloc.tl_recs)) /
			sizeof(struct ocfs2_truncate_rec);
	struct trunclog *t;
	struct buf *b;
	int err;

	if (!inode)
		return reason_set(why, EXIT_JOURNAL, -EIO,
				  "truncate log: slot %u has no truncate_log file; run fsck.ocfs2",
				  vol_slot(v));
	err = inode_buf(inode, &b);
	if (err)
		return reason_set(why, EXIT_JOURNAL, err,
				  "truncate log: cannot read that of slot %u; run fsck.ocfs2",
				  vol_slot(v));
	t = calloc(1, sizeof(*t));
	if (!t) {
		bc_put(b);
		return reason_set(why, EXIT_SYSTEM, -ENOMEM, "truncate log: out of memory");
	}
	t->inode = inode;
	t->bh = b;
	if (!(inode->flags & OCFS2_DEALLOC_FL) || le16toh(tl_of(t)->tl_count) == 0 ||
	    le16toh(tl_of(t)->tl_count) > room || tl_used(t) > le16toh(tl_of(t)->tl_count)) {
		bc_put(b);
		free(t);
		return reason_set(why, EXIT_JOURNAL, -EIO,
				  "truncate log: that of slot %u contradicts itself; run fsck.ocfs2",
				  vol_slot(v));
	}
	if (tl_used(t))
		atomic_store(&t->since_ms, now_ms());
	v->trunclog = t;
	return 0;
}

void trunclog_close(struct vol *v)
{
	struct trunclog *t = TAKE(v->trunclog);

	if (!t)
		return;
	bc_put(t->bh);
	free(t);
}

/* ---- append -------------------------------------------------------------------------- */

int tl_append(struct jhandle *h, uint32_t cluster, uint32_t count)
{
	struct trunclog *t = jh_vol(h)->trunclog;
	struct ocfs2_truncate_log *tl = tl_of(t);
	unsigned used = tl_used(t);
	struct ocfs2_truncate_rec *last = used ? &tl->tl_recs[used - 1] : NULL;
	uint32_t start = last ? le32toh(last->t_start) : 0;
	uint32_t len = last ? le32toh(last->t_clusters) : 0;
	int err;

	err = jh_write(h, t->bh, t->inode);
	if (err)
		return err;
	if (start && start + len == cluster && len + count > len) {
		last->t_clusters = htole32(len + count);
	} else if (start && cluster + count == start && len + count > len) {
		last->t_start = htole32(cluster);
		last->t_clusters = htole32(len + count);
	} else {
		if (used >= le16toh(tl->tl_count))
			return -ENOSPC; /* tl_prepare was for fewer records */
		tl->tl_recs[used].t_start = htole32(cluster);
		tl->tl_recs[used].t_clusters = htole32(count);
		tl->tl_used = htole16((uint16_t)(used + 1));
	}
	if (atomic_load(&t->since_ms) == 0)
		atomic_store(&t->since_ms, now_ms());
	return 0;
}

/* ---- flush ----------------------------------------------------------------------------- */

/* Free the records [from, used), which fit into one transaction. */
static int flush_batch(struct trunclog *t, struct chain *gb, unsigned from, unsigned credits)
{
	struct ocfs2_truncate_log *tl = tl_of(t);
	struct jhandle *h;
	int err, err2;

	err = jh_begin(gb->v, credits, &h);
	if (err)
		return err;
	err = jh_write(h, t->bh, t->inode);
	for (unsigned i = tl_used(t); i > from && !err; i--) {
		struct ocfs2_truncate_rec *r = &tl->tl_recs[i - 1];
		uint32_t start = le32toh(r->t_start), n = le32toh(r->t_clusters);

		if (start && n) {
			err = clusters_clear(h, gb, start, n);
			if (!err)
				err = jh_freed(h, start, n);
		}
		if (!err) {
			memset(r, 0, sizeof(*r));
			tl->tl_used = htole16((uint16_t)(i - 1));
		}
	}
	if (err)
		jh_abort(h, "freeing the clusters of the truncate log");
	err2 = jh_end(h, from == 0);
	return err ? err : err2;
}

static int flush_into(struct vol *v, struct trunclog *t, struct chain *gb)
{
	const struct ocfs2_truncate_log *tl = tl_of(t);
	uint32_t clusters = le32toh(gb->di->id1.bitmap1.i_total);
	unsigned max = jh_max_credits(v);
	int err = 0;

	for (unsigned i = 0; i < tl_used(t); i++) {
		uint32_t start = le32toh(tl->tl_recs[i].t_start);
		uint32_t n = le32toh(tl->tl_recs[i].t_clusters);

		if (start >= clusters || n > clusters - start)
			return vol_damaged(v, "truncate log: record %u lies outside the volume", i);
	}
	while (tl_used(t) && !err) {
		unsigned credits = 2, from = tl_used(t);

		while (from > 0) {
			const struct ocfs2_truncate_rec *r = &tl->tl_recs[from - 1];
			unsigned more = clusters_credits(gb, le32toh(r->t_start),
							 le32toh(r->t_clusters));

			/* half: others want to work, too */
			if (from < tl_used(t) && credits + more > max / 2)
				break;
			credits += more;
			from--;
		}
		err = flush_batch(t, gb, from, credits);
	}
	return err;
}

/* Under the mutex, no handle open. */
static int flush_locked(struct vol *v, struct trunclog *t)
{
	struct alloc_ctx *gb;
	int err;

	if (tl_used(t) == 0) {
		atomic_store(&t->since_ms, 0);
		return 0;
	}
	err = vol_checkpoint(v);
	if (err)
		return err;
	err = alloc_ctx_new(v, vol_sys_inode(v, VOL_SYS_GLOBAL_BITMAP, 0), &gb);
	if (err)
		return err;
	err = flush_into(v, t, &gb->chain);
	alloc_ctx_free(v, gb);
	if (!err) {
		atomic_store(&t->since_ms, 0);
		stealer_reset(v);
	}
	return err;
}

int vol_tl_flush(struct vol *v)
{
	struct trunclog *t = v->trunclog;
	int err;

	if (!t)
		return 0;
	tl_lock(t);
	err = flush_locked(v, t);
	tl_unlock(t);
	if (!err)
		la_reset(v);
	return err;
}

int tl_flush_for_space(struct vol *v)
{
	struct trunclog *t = v->trunclog;
	bool mine;
	int err;

	if (!t)
		return -ENOSPC;
	mine = tl_mine(t);
	if (!mine)
		tl_lock(t);
	err = tl_used(t) ? flush_locked(v, t) : -ENOSPC;
	if (!mine)
		tl_unlock(t);
	if (!err)
		la_reset(v);
	return err;
}

bool vol_tl_due(struct vol *v)
{
	int64_t since = v->trunclog ? atomic_load(&v->trunclog->since_ms) : 0;

	return since && now_ms() - since >= TL_DUE_MS;
}

int tl_prepare(struct vol *v, unsigned records)
{
	struct trunclog *t = v->trunclog;
	int err = 0;

	if (!t)
		return -EROFS;
	tl_lock(t);
	if (records > tl_capacity(v))
		err = -ENOSPC;
	else if (tl_capacity(v) - tl_used(t) < records)
		err = flush_locked(v, t);
	if (err)
		tl_unlock(t);
	return err;
}

void tl_done(struct vol *v)
{
	tl_unlock(v->trunclog);
}
