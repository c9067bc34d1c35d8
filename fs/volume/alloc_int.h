/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * alloc_int.h: what the allocators share: chain.c (bits in chains of groups),
 * suballoc.c, clusters.c (reservations), localalloc.c, truncate_log.c.
 */
#ifndef O2FUSE_VOLUME_ALLOC_INT_H
#define O2FUSE_VOLUME_ALLOC_INT_H

#include "fs/volume/vol_int.h"

/* ---- bitmap.c: bit 0 is the lowest of byte 0 (disk.md 2.6) -------------------- */

static inline bool bm_test(const uint8_t *map, uint32_t bit)
{
	return map[bit >> 3] >> (bit & 7) & 1;
}

void bm_set(uint8_t *map, uint32_t bit, uint32_t n);
void bm_clear(uint8_t *map, uint32_t bit, uint32_t n);
/* First bit in [from, end) that is `set`; end if there is none. */
uint32_t bm_next(const uint8_t *map, uint32_t from, uint32_t end, bool set);
/* Are all n bits `set`? */
bool bm_all(const uint8_t *map, uint32_t bit, uint32_t n, bool set);

struct run {
	uint32_t start, len;
};

/* Runs that were planned and not yet claimed: nobody else can see them. */
#define PLAN_MAX 64
struct plan {
	unsigned n;
	struct run run[PLAN_MAX];
};
/* The part of [from, end) from its first bit on that no planned run holds. */
bool plan_free(const struct plan *p, uint32_t from, uint32_t end, uint32_t *start, uint32_t *len);
/* -ENOSPC when the list is full. */
int plan_add(struct plan *p, uint32_t start, uint32_t len) __must_check;
void plan_drop(struct plan *p, uint32_t start, uint32_t len);

/* ---- chain.c ------------------------------------------------------------------- */

/* An allocator whose inode is locked; di is held. */
struct chain {
	struct vol *v;
	struct vol_inode *inode;
	struct buf *bh;
	struct ocfs2_dinode *di;
	bool bitmap;	/* the global bitmap: bits are clusters */
};

int chain_open(struct vol *v, struct vol_inode *inode, struct chain *out) __must_check;
void chain_close(struct chain *c);
uint32_t chain_free_bits(const struct chain *c);
/* Groups there are at most. */
uint32_t chain_groups(const struct chain *c);

struct chain_want {
	uint32_t min, want;	/* contiguous bits */
	blkno_t limit;		/* blocks at or above it are of no use; 0 = none */
	const struct plan *plan; /* global bitmap: clusters that are taken; or NULL */
};
struct chain_hit {
	blkno_t group;
	uint32_t bit, len;
};
/* Clear bits. -ENOSPC: no run of min bits. */
int chain_find(struct chain *c, const struct chain_want *w, struct chain_hit *out) __must_check;
/* Set / clear n bits of a group, with the sums of group, chain and dinode. 2 credits.
 * -EIO before anything changed if the bits are not what they must be. */
int chain_set(struct jhandle *h, struct chain *c, blkno_t group, uint32_t bit,
	      uint32_t n) __must_check;
int chain_clear(struct jhandle *h, struct chain *c, blkno_t group, uint32_t bit,
		uint32_t n) __must_check;
/* Block of a bit of a suballocator group; *loc is the group if it is discontiguous. */
int chain_bit_block(struct chain *c, blkno_t group, uint32_t bit, blkno_t *blkno,
		    blkno_t *loc) __must_check;
/* Link a new group, whose descriptor is filled in but for bg_chain and
 * bg_next_group, into the shortest chain. 1 credit beside the group and its old head. */
int chain_add_group(struct jhandle *h, struct chain *c, struct buf *group) __must_check;

/* Global bitmap. */
blkno_t cluster_group(const struct chain *c, uint32_t cluster, uint32_t *bit);
uint32_t group_cluster(const struct chain *c, blkno_t group, uint32_t bit);
/* [cluster, cluster + n) may span groups: 1 credit + one for each group. */
int clusters_set(struct jhandle *h, struct chain *c, uint32_t cluster, uint32_t n) __must_check;
int clusters_clear(struct jhandle *h, struct chain *c, uint32_t cluster, uint32_t n) __must_check;
unsigned clusters_credits(const struct chain *c, uint32_t cluster, uint32_t n);

/* ---- suballoc.c, clusters.c -------------------------------------------------------- */

struct alloc_ctx {
	bool window;		/* local alloc; else chain */
	struct chain chain;
	struct vol_inode *locked; /* sys_locked EX, or the local alloc's mutex */
	unsigned slot;
	uint32_t left;		/* reserved and neither claimed nor planned */
	unsigned credits;
	blkno_t limit;
	struct plan plan;
};

int alloc_ctx_new(struct vol *v, struct vol_inode *locked, struct alloc_ctx **out) __must_check;
void alloc_ctx_free(struct vol *v, struct alloc_ctx *ac);
/* Room was freed: other slots' suballocators need not be robbed any more. */
void stealer_reset(struct vol *v);

/* ---- localalloc.c -------------------------------------------------------------------- */

/*
 * Lock the window for n clusters, moving it if need be. -ENOSPC: it cannot serve
 * them, go to the global bitmap. 0: *ac holds the lock.
 */
int la_reserve(struct vol *v, uint32_t n, struct alloc_ctx **ac) __must_check;
int la_plan(struct vol *v, struct alloc_ctx *ac, uint32_t want, uint32_t *cluster,
	    uint32_t *got) __must_check;
int la_claim(struct jhandle *h, struct alloc_ctx *ac, uint32_t cluster, uint32_t n) __must_check;
/* Room was freed: a disabled window may be tried again. */
void la_reset(struct vol *v);

/* ---- truncate_log.c -------------------------------------------------------------------- */

/* Clusters were freed for whoever met -ENOSPC; -ENOSPC: the log is empty. */
int tl_flush_for_space(struct vol *v) __must_check;
unsigned tl_capacity(struct vol *v);

void localalloc_close(struct vol *v);
void trunclog_close(struct vol *v);
void suballoc_close(struct vol *v);

#endif
