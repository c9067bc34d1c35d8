/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * recover.c: the slot of a node that died (doc/spec/fs-locking.md 7.2 b to e, 7.5).
 *
 * First half, before anybody may take the dead node's locks: its log goes home, the
 * journal is marked clean with one more recovery, and its local alloc and truncate log
 * are emptied on the device after a copy was taken. All of it is written in place,
 * flushed, and may be done again after a crash of ours at any point: a log that was
 * replayed is empty, and what was emptied yields an empty copy.
 *
 * Second half, under ordinary locks: what the copies hold is given back. A crash between
 * the halves loses these clusters until fsck.ocfs2, as with a kernel node.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "fs/volume/alloc_int.h"
#include "fs/volume/journal_int.h"

struct vol_salvage {
	unsigned slot;
	uint32_t first, total;	/* window of the local alloc; total 0: none */
	uint8_t *map;		/* its bits: set = used */
	unsigned n;		/* records of the truncate log */
	struct {
		uint32_t start, clusters;
	} *rec;
};

void vol_salvage_free(struct vol_salvage *s)
{
	if (!s)
		return;
	free(s->map);
	free(s->rec);
	free(s);
}

/* ---- first half ------------------------------------------------------------------ */

static int recover_journal(struct vol *v, unsigned slot, bool *replayed, struct reason *why)
{
	struct replay_stats stats;
	const struct ocfs2_dinode *d;
	struct jfile f;
	struct buf *b;
	int err = jfile_open(v, slot, &f, why);

	if (err)
		return err;
	err = inode_buf(f.inode, &b);
	if (!err) {
		d = (const struct ocfs2_dinode *)b->data;
		*replayed = le32toh(d->id1.journal1.ij_flags) & OCFS2_JOURNAL_DIRTY_FL;
		bc_put(b);
	}
	if (!err && *replayed)
		err = replay_log(&f, &stats, why);
	if (!err && *replayed)
		err = jfile_mark(&f, false, true);
	if (!err && *replayed)
		log_info(v->log, "journal",
			 "replayed for a dead node slot=%u transactions=%u blocks=%u", slot,
			 stats.transactions, stats.blocks);
	jfile_close(&f);
	return err;
}

static bool local_alloc_is_sound(struct vol *v, const struct ocfs2_dinode *d)
{
	const struct ocfs2_local_alloc *la = &d->id2.i_lab;
	uint32_t room = v->blocksize - (uint32_t)offsetof(struct ocfs2_dinode, id2.i_lab.la_bitmap);
	uint32_t total = le32toh(d->id1.bitmap1.i_total), first = le32toh(la->la_bm_off);

	return (le32toh(d->i_flags) & OCFS2_LOCAL_ALLOC_FL) && le16toh(la->la_size) <= room &&
	       total <= 8 * (uint32_t)le16toh(la->la_size) && first <= v->info.clusters &&
	       total <= v->info.clusters - first;
}

static int take_local_alloc(struct vol *v, struct ocfs2_dinode *d, struct vol_salvage *s)
{
	struct ocfs2_local_alloc *la = &d->id2.i_lab;
	size_t size = le16toh(la->la_size);

	if (!local_alloc_is_sound(v, d))
		return vol_damaged(v, "local alloc of slot %u contradicts itself", s->slot);
	s->first = le32toh(la->la_bm_off);
	s->total = le32toh(d->id1.bitmap1.i_total);
	s->map = malloc(size + 1);
	if (!s->map)
		return -ENOMEM;
	memcpy(s->map, la->la_bitmap, size);
	d->id1.bitmap1.i_total = 0;
	d->id1.bitmap1.i_used = 0;
	la->la_bm_off = 0;
	memset(la->la_bitmap, 0, size);
	return 0;
}

static int take_truncate_log(struct vol *v, struct ocfs2_dinode *d, struct vol_salvage *s)
{
	struct ocfs2_truncate_log *tl = &d->id2.i_dealloc;
	unsigned room = (v->blocksize - (unsigned)offsetof(struct ocfs2_dinode,
							    id2.i_dealloc.tl_recs)) /
			sizeof(struct ocfs2_truncate_rec);
	unsigned used = le16toh(tl->tl_used);

	if (!(le32toh(d->i_flags) & OCFS2_DEALLOC_FL) || le16toh(tl->tl_count) > room ||
	    used > le16toh(tl->tl_count))
		return vol_damaged(v, "truncate log of slot %u contradicts itself", s->slot);
	s->rec = calloc(used + 1, sizeof(*s->rec));
	if (!s->rec)
		return -ENOMEM;
	for (s->n = 0; s->n < used; s->n++) {
		s->rec[s->n].start = le32toh(tl->tl_recs[s->n].t_start);
		s->rec[s->n].clusters = le32toh(tl->tl_recs[s->n].t_clusters);
	}
	tl->tl_used = 0;
	return 0;
}

/* Read afresh, take what is in it, write it back empty. */
static int empty_file(struct vol *v, enum vol_sysfile type, struct vol_salvage *s,
		      int (*take)(struct vol *v, struct ocfs2_dinode *d, struct vol_salvage *s))
{
	struct vol_inode *inode = vol_sys_inode(v, type, s->slot);
	struct buf *b;
	int err;

	if (!inode)
		return vol_damaged(v, "slot %u lacks a system file", s->slot);
	pthread_mutex_lock(&inode->sys_mutex);
	err = vol_inode_refresh(inode);
	if (!err)
		err = inode_buf(inode, &b);
	if (!err) {
		err = take(v, (struct ocfs2_dinode *)b->data, s);
		if (!err)
			err = bc_write_direct(v, b);
		bc_put(b);
	}
	pthread_mutex_unlock(&inode->sys_mutex);
	return err;
}

int vol_recover_slot(struct vol *v, unsigned slot, bool *replayed, struct vol_salvage **out,
		     struct reason *why)
{
	struct vol_salvage *s;
	int err;

	*replayed = false;
	*out = NULL;
	if (slot >= v->info.max_slots || (int)slot == v->slot)
		return reason_set(why, EXIT_JOURNAL, -EINVAL, "recovery: slot %u is not another node's",
				  slot);
	s = calloc(1, sizeof(*s));
	if (!s)
		return reason_set(why, EXIT_SYSTEM, -ENOMEM, "recovery: out of memory");
	s->slot = slot;
	err = recover_journal(v, slot, replayed, why);
	if (!err)
		err = empty_file(v, VOL_SYS_LOCAL_ALLOC, s, take_local_alloc);
	/* Not worth failing for: the log can wait for fsck.ocfs2. */
	if (!err && empty_file(v, VOL_SYS_TRUNCATE_LOG, s, take_truncate_log)) {
		log_warn(v->log, "vol", "truncate log of a dead node not taken over slot=%u", slot);
		s->n = 0;
	}
	if (err) {
		vol_salvage_free(s);
		return reason_set(why, EXIT_JOURNAL, err, "recovery: slot %u cannot be recovered: %s; "
				  "run fsck.ocfs2", slot, strerror(-err));
	}
	*out = s;
	return 0;
}

/* ---- second half ---------------------------------------------------------------------- */

static int return_window(struct vol *v, struct vol_salvage *s)
{
	uint32_t bit = 0, end;
	struct alloc_ctx *gb;
	struct jhandle *h;
	int err, err2;

	err = alloc_ctx_new(v, vol_sys_inode(v, VOL_SYS_GLOBAL_BITMAP, 0), &gb);
	if (err)
		return err;
	err = jh_begin(v, 1 + clusters_credits(&gb->chain, s->first, s->total), &h);
	if (err)
		goto unlock;
	while (!err && (bit = bm_next(s->map, bit, s->total, false)) < s->total) {
		end = bm_next(s->map, bit, s->total, true);
		err = clusters_clear(h, &gb->chain, s->first + bit, end - bit);
		bit = end;
	}
	if (err)
		jh_abort(h, "giving back the window of a dead node");
	err2 = jh_end(h, true);
	err = err ? err : err2;
unlock:
	alloc_ctx_free(v, gb);
	return err;
}

static int append_record(struct vol *v, uint32_t start, uint32_t clusters)
{
	struct jhandle *h;
	int err, err2;

	if (!start || !clusters)
		return 0;
	if (start >= v->info.clusters || clusters > v->info.clusters - start)
		return vol_damaged(v, "truncate log of a dead node: a record lies outside the volume");
	err = tl_prepare(v, 1);
	if (err)
		return err;
	err = jh_begin(v, TL_CREDITS, &h);
	if (!err) {
		err = tl_append(h, start, clusters);
		err2 = jh_end(h, false);
		err = err ? err : err2;
	}
	tl_done(v);
	return err;
}

int vol_salvage_finish(struct vol *v, struct vol_salvage *s)
{
	int err = s->total ? return_window(v, s) : 0;

	for (unsigned i = 0; i < s->n && !err; i++)
		err = append_record(v, s->rec[i].start, s->rec[i].clusters);
	stealer_reset(v);
	return err;
}
