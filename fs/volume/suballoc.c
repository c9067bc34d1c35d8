/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * suballoc.c: inodes and metadata blocks (disk.md 4.4, 4.5; fs-locking.md 9).
 *
 * Each slot has an inode_alloc and an extent_alloc, chains of block groups that
 * grow by claiming clusters from the global bitmap and never shrink. A node uses
 * its own slot's; when they are full and cannot grow it borrows free bits of other
 * slots'. A block remembers where it came from, and is freed there.
 *
 * Locks: the allocator's, taken by reserve_* before a handle is opened and held
 * until reservation_release, so what was found free stays free. Growing takes the
 * global bitmap's lock inside it (inode_alloc, extent_alloc, truncate log, local
 * alloc, global_bitmap is the order) and is a transaction of its own.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "fs/volume/alloc_int.h"

#define STEAL_MAX 1024 /* then the own slot is tried again */

struct stealer {
	pthread_mutex_t lock;
	struct {
		int slot;	/* -1: use the own */
		unsigned left;
	} kind[2];		/* inode_alloc, extent_alloc */
};

int alloc_ctx_new(struct vol *v, struct vol_inode *locked, struct alloc_ctx **out)
{
	struct alloc_ctx *ac = calloc(1, sizeof(*ac));
	int err;

	if (!ac)
		return -ENOMEM;
	err = sys_lock(v, locked, true);
	if (err) {
		free(ac);
		return err;
	}
	ac->locked = locked;
	err = chain_open(v, locked, &ac->chain);
	if (err) {
		alloc_ctx_free(v, ac);
		return err;
	}
	*out = ac;
	return 0;
}

void alloc_ctx_free(struct vol *v, struct alloc_ctx *ac)
{
	if (!ac)
		return;
	chain_close(&ac->chain);
	if (ac->window)
		pthread_mutex_unlock(&ac->locked->sys_mutex);
	else
		sys_unlock(v, ac->locked, true);
	free(ac);
}

/* ---- growing ---------------------------------------------------------------------- */

/* Clusters for a new group: one run, or several where the volume allows it. */
static int find_group_runs(struct chain *gb, uint32_t clusters, blkno_t limit, struct plan *runs)
{
	const struct vol *v = gb->v;
	unsigned room = (v->blocksize - offsetof(struct ocfs2_group_desc, bg_list.l_recs)) /
			sizeof(struct ocfs2_extent_rec);
	struct chain_want w = { clusters, clusters, limit, runs };
	struct chain_hit hit;
	uint32_t left = clusters;
	int err;

	runs->n = 0;
	if (chain_free_bits(gb) < clusters)
		return -ENOSPC;
	err = chain_find(gb, &w, &hit);
	if (!err)
		return plan_add(runs, group_cluster(gb, hit.group, hit.bit), hit.len);
	if (err != -ENOSPC || !vol_has_incompat(v, OCFS2_FEATURE_INCOMPAT_DISCONTIG_BG))
		return err;
	if (room > PLAN_MAX)
		room = PLAN_MAX;
	for (w.min = 1; left > 0; left -= hit.len) {
		if (runs->n == room)
			return -ENOSPC;
		w.want = left;
		err = chain_find(gb, &w, &hit);
		if (!err)
			err = plan_add(runs, group_cluster(gb, hit.group, hit.bit), hit.len);
		if (err)
			return err;
	}
	return 0;
}

static void fill_group(struct chain *c, struct buf *b, const struct plan *runs)
{
	struct ocfs2_group_desc *gd = (struct ocfs2_group_desc *)b->data;
	const struct ocfs2_chain_list *cl = &c->di->id2.i_chain;
	bool short_map = vol_has_incompat(c->v, OCFS2_FEATURE_INCOMPAT_DISCONTIG_BG);
	uint32_t bits = (uint32_t)le16toh(cl->cl_cpg) * le16toh(cl->cl_bpc), cpos = 0;

	memcpy(gd->bg_signature, OCFS2_GROUP_DESC_SIGNATURE, strlen(OCFS2_GROUP_DESC_SIGNATURE));
	gd->bg_size = htole16(short_map ? OCFS2_MAX_BG_BITMAP_SIZE :
			      (uint16_t)(c->v->blocksize -
					 offsetof(struct ocfs2_group_desc, bg_bitmap)));
	gd->bg_bits = htole16((uint16_t)bits);
	gd->bg_free_bits_count = htole16((uint16_t)(bits - 1));
	gd->bg_generation = htole32(c->v->info.fs_generation);
	gd->bg_parent_dinode = htole64(c->inode->blkno);
	gd->bg_blkno = htole64(b->blkno);
	bm_set(gd->bg_bitmap, 0, 1);
	if (runs->n == 1)
		return;
	gd->bg_list.l_count = htole16((uint16_t)((c->v->blocksize -
						  offsetof(struct ocfs2_group_desc,
							   bg_list.l_recs)) /
						 sizeof(struct ocfs2_extent_rec)));
	gd->bg_list.l_next_free_rec = htole16((uint16_t)runs->n);
	for (unsigned i = 0; i < runs->n; i++) {
		gd->bg_list.l_recs[i].e_cpos = htole32(cpos);
		gd->bg_list.l_recs[i].e_leaf_clusters = htole16((uint16_t)runs->run[i].len);
		gd->bg_list.l_recs[i].e_blkno =
			htole64((blkno_t)runs->run[i].start * c->v->bpc);
		cpos += runs->run[i].len;
	}
}

static int grow_in_handle(struct jhandle *h, struct chain *c, struct chain *gb,
			  const struct plan *runs)
{
	struct buf *b;
	int err = 0;

	for (unsigned i = 0; i < runs->n && !err; i++)
		err = clusters_set(h, gb, runs->run[i].start, runs->run[i].len);
	if (!err)
		err = bc_new(c->v, (blkno_t)runs->run[0].start * c->v->bpc, BLK_GROUP, c->inode,
			     &b);
	if (err)
		return err;
	err = jh_write(h, b, c->inode);
	if (!err) {
		fill_group(c, b, runs);
		err = chain_add_group(h, c, b);
	}
	bc_put(b);
	return err;
}

/* c is locked; takes and drops the global bitmap. */
static int grow(struct chain *c, blkno_t limit)
{
	struct vol *v = c->v;
	struct vol_inode *gbi = vol_sys_inode(v, VOL_SYS_GLOBAL_BITMAP, 0);
	uint32_t cpg = le16toh(c->di->id2.i_chain.cl_cpg);
	struct alloc_ctx *gb = NULL;
	struct plan *runs = NULL;
	struct jhandle *h;
	unsigned credits = 4; /* allocator, new group, bitmap, its group */
	int err, err2;

	if (cpg * v->bpc > 8 * (unsigned)OCFS2_MAX_BG_BITMAP_SIZE &&
	    vol_has_incompat(v, OCFS2_FEATURE_INCOMPAT_DISCONTIG_BG))
		return vol_damaged(v, "allocator: groups too large inode=%llu",
				   (unsigned long long)c->inode->blkno);
	runs = malloc(sizeof(*runs));
	if (!runs)
		return -ENOMEM;
	err = alloc_ctx_new(v, gbi, &gb);
	if (err)
		goto out;
	err = find_group_runs(&gb->chain, cpg, limit, runs);
	if (err)
		goto out;
	for (unsigned i = 0; i < runs->n; i++)
		credits += clusters_credits(&gb->chain, runs->run[i].start, runs->run[i].len);
	err = jh_begin(v, credits, &h);
	if (err)
		goto out;
	err = grow_in_handle(h, c, &gb->chain, runs);
	if (err)
		jh_abort(h, "adding a group to an allocator");
	err2 = jh_end(h, false);
	err = err ? err : err2;
	if (!err)
		log_debug(v->log, "alloc", "group added inode=%llu block=%llu runs=%u",
			  (unsigned long long)c->inode->blkno,
			  (unsigned long long)runs->run[0].start * v->bpc, runs->n);
out:
	alloc_ctx_free(v, gb);
	free(runs);
	return err;
}

/* ---- reserving --------------------------------------------------------------------- */

static int has_room(struct alloc_ctx *ac, uint32_t n, bool *room)
{
	struct chain_want w = { 1, 1, ac->limit, NULL };
	struct chain_hit hit;
	int err;

	*room = chain_free_bits(&ac->chain) >= n;
	if (!*room || !ac->limit)
		return 0;
	err = chain_find(&ac->chain, &w, &hit);
	*room = !err;
	return err == -ENOSPC ? 0 : err;
}

/* Lock slot's allocator if it has n free bits, or can get them (may_grow). */
static int try_slot(struct vol *v, enum vol_sysfile type, unsigned slot, uint32_t n,
		    blkno_t limit, bool may_grow, struct alloc_ctx **out)
{
	struct vol_inode *inode = vol_sys_inode(v, type, slot);
	bool flushed = false, room;
	struct alloc_ctx *ac;
	uint32_t groups;
	int err;

	if (!inode)
		return -ENOSPC;
	err = alloc_ctx_new(v, inode, &ac);
	if (err)
		return err;
	ac->slot = slot;
	ac->limit = limit;
	ac->left = n;
	for (;;) {
		err = has_room(ac, n, &room);
		if (err || room)
			break;
		err = may_grow ? grow(&ac->chain, limit) : -ENOSPC;
		if (err == -ENOSPC && may_grow && !flushed) {
			flushed = true;
			err = tl_flush_for_space(v);
		}
		if (err)
			break;
	}
	if (err) {
		alloc_ctx_free(v, ac);
		return err;
	}
	groups = chain_groups(&ac->chain);
	ac->credits = 1 + (n < groups ? n : groups);
	*out = ac;
	return 0;
}

static int first_choice(struct vol *v, unsigned kind)
{
	struct stealer *s = v->stealer;
	int slot = -1;

	pthread_mutex_lock(&s->lock);
	if (s->kind[kind].slot >= 0 && s->kind[kind].left > 0) {
		s->kind[kind].left--;
		slot = s->kind[kind].slot;
	} else {
		s->kind[kind].slot = -1;
	}
	pthread_mutex_unlock(&s->lock);
	return slot;
}

static void remember(struct vol *v, unsigned kind, int slot)
{
	pthread_mutex_lock(&v->stealer->lock);
	v->stealer->kind[kind].slot = slot;
	v->stealer->kind[kind].left = STEAL_MAX;
	pthread_mutex_unlock(&v->stealer->lock);
}

void stealer_reset(struct vol *v)
{
	if (!v->stealer)
		return;
	remember(v, 0, -1);
	remember(v, 1, -1);
}

static int reserve_sub(struct vol *v, enum vol_sysfile type, uint32_t n, blkno_t limit,
		       struct alloc_ctx **out)
{
	unsigned kind = type == VOL_SYS_EXTENT_ALLOC, own = vol_slot(v);
	int slot, err;

	slot = first_choice(v, kind);
	if (slot >= 0) {
		err = try_slot(v, type, (unsigned)slot, n, limit, false, out);
		if (err != -ENOSPC)
			return err;
	}
	err = try_slot(v, type, own, n, limit, true, out);
	if (err != -ENOSPC) {
		if (!err && slot >= 0)
			remember(v, kind, -1);
		return err;
	}
	for (unsigned i = 1; i < v->info.max_slots; i++) {
		unsigned s = (own + i) % v->info.max_slots;

		err = try_slot(v, type, s, n, limit, false, out);
		if (!err)
			remember(v, kind, (int)s);
		if (err != -ENOSPC)
			return err;
	}
	return -ENOSPC;
}

int reserve_inode(struct vol *v, struct reservation *r)
{
	return reserve_sub(v, VOL_SYS_INODE_ALLOC, 1,
			   v->opts.inode64 ? 0 : (blkno_t)UINT32_MAX + 1, &r->inode);
}

int reserve_meta(struct vol *v, unsigned blocks, struct reservation *r)
{
	if (blocks == 0)
		return 0;
	return reserve_sub(v, VOL_SYS_EXTENT_ALLOC, blocks, 0, &r->meta);
}

/* ---- claiming and freeing ---------------------------------------------------------- */

static int claim_sub(struct jhandle *h, struct alloc_ctx *ac, struct suballoc_pos *out)
{
	struct chain_want w = { 1, 1, 0, NULL };
	struct chain_hit hit;
	int err;

	if (!ac || ac->left == 0)
		return -ENOSPC;
	w.limit = ac->limit;
	err = chain_find(&ac->chain, &w, &hit);
	if (err)
		return err;
	err = chain_bit_block(&ac->chain, hit.group, hit.bit, &out->blkno, &out->loc);
	if (!err)
		err = chain_set(h, &ac->chain, hit.group, hit.bit, 1);
	if (err)
		return err;
	ac->left--;
	out->slot = (uint16_t)ac->slot;
	out->bit = (uint16_t)hit.bit;
	return 0;
}

int claim_inode(struct jhandle *h, struct reservation *r, struct suballoc_pos *out)
{
	return claim_sub(h, r->inode, out);
}

int claim_meta(struct jhandle *h, struct reservation *r, struct suballoc_pos *out)
{
	return claim_sub(h, r ? r->meta : NULL, out);
}

int free_suballoc(struct jhandle *h, enum vol_sysfile type, unsigned slot, blkno_t group,
		  unsigned bit)
{
	struct vol *v = jh_vol(h);
	struct vol_inode *inode = slot < v->info.max_slots ? vol_sys_inode(v, type, slot) : NULL;
	struct chain c;
	int err;

	if (!inode)
		return vol_damaged(v, "block freed into slot %u that does not exist", slot);
	err = chain_open(v, inode, &c);
	if (err)
		return err;
	err = chain_clear(h, &c, group, bit, 1);
	chain_close(&c);
	return err;
}

/* ---- blocks that left their owner ---------------------------------------------------- */

struct dealloc_item {
	struct dealloc_item *next;
	enum vol_sysfile type;
	unsigned slot, bit;
	blkno_t group, blkno;
};

int dealloc_add(struct dealloc *d, enum vol_sysfile type, unsigned slot, blkno_t group,
		unsigned bit, blkno_t blkno)
{
	struct dealloc_item *it = malloc(sizeof(*it));

	if (!it)
		return -ENOMEM;
	*it = (struct dealloc_item){ d->head, type, slot, bit, group, blkno };
	d->head = it;
	return 0;
}

#define DEALLOC_BATCH 16

/* Free a batch of one allocator's blocks, which leave the list. */
static int dealloc_batch(struct vol *v, struct dealloc *d)
{
	enum vol_sysfile type = d->head->type;
	unsigned slot = d->head->slot, n = 0;
	struct vol_inode *inode = slot < v->info.max_slots ? vol_sys_inode(v, type, slot) : NULL;
	struct dealloc_item **pp, *it;
	struct jhandle *h;
	int err, err2;

	if (!inode)
		return vol_damaged(v, "block freed into slot %u that does not exist", slot);
	err = sys_lock(v, inode, true);
	if (err)
		return err;
	err = jh_begin(v, 1 + DEALLOC_BATCH, &h);
	if (err)
		goto unlock;
	for (pp = &d->head; *pp && n < DEALLOC_BATCH && !err;) {
		it = *pp;
		if (it->type != type || it->slot != slot) {
			pp = &it->next;
			continue;
		}
		err = free_suballoc(h, type, slot, it->group, it->bit);
		if (!err)
			bc_forget(v, it->blkno);
		*pp = it->next;
		free(it);
		n++;
	}
	if (err)
		jh_abort(h, "freeing metadata blocks");
	err2 = jh_end(h, false);
	err = err ? err : err2;
unlock:
	sys_unlock(v, inode, true);
	return err;
}

int dealloc_run(struct vol *v, struct dealloc *d)
{
	struct dealloc_item *it;
	int err = 0;

	while (d->head && !err)
		err = dealloc_batch(v, d);
	while ((it = d->head)) { /* they leak; fsck finds them */
		d->head = it->next;
		free(it);
	}
	return err;
}

/* ---- lifetime -------------------------------------------------------------------------- */

int suballoc_open(struct vol *v)
{
	v->stealer = calloc(1, sizeof(*v->stealer));
	if (!v->stealer)
		return -ENOMEM;
	pthread_mutex_init(&v->stealer->lock, NULL);
	stealer_reset(v);
	return 0;
}

void suballoc_close(struct vol *v)
{
	if (!v->stealer)
		return;
	pthread_mutex_destroy(&v->stealer->lock);
	free(v->stealer);
	v->stealer = NULL;
}
