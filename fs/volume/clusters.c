/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * clusters.c: reservations of clusters, from the window or the global bitmap.
 *
 * A reservation locks the allocator and knows that enough bits are free, so every
 * claim of one cluster or more succeeds. Where data is written before the
 * transaction that refers to it (write-through), the clusters are planned first:
 * a plan changes nothing, and because the allocator stays locked until the
 * reservation is released the planned clusters are still free when the handle
 * claims them. If writing the data fails there is nothing to undo.
 */
#include <errno.h>
#include <stdlib.h>
#include "fs/volume/alloc_int.h"

static int reserve_bitmap(struct vol *v, uint32_t n, struct alloc_ctx **out)
{
	struct alloc_ctx *ac;
	uint32_t groups;
	int err;

	err = alloc_ctx_new(v, vol_sys_inode(v, VOL_SYS_GLOBAL_BITMAP, 0), &ac);
	if (err)
		return err;
	if (chain_free_bits(&ac->chain) < n) {
		alloc_ctx_free(v, ac);
		return -ENOSPC;
	}
	ac->left = n;
	groups = chain_groups(&ac->chain);
	ac->credits = 1 + (n < groups ? n : groups);
	*out = ac;
	return 0;
}

int reserve_clusters(struct vol *v, uint32_t clusters, struct reservation *r)
{
	int err;

	if (clusters == 0)
		return 0;
	err = la_reserve(v, clusters, &r->clusters);
	if (err != -ENOSPC)
		return err;
	err = reserve_bitmap(v, clusters, &r->clusters);
	if (err != -ENOSPC)
		return err;
	/* what was freed lately, and what the window holds for later */
	err = tl_flush_for_space(v);
	if (err && err != -ENOSPC)
		return err;
	err = reserve_bitmap(v, clusters, &r->clusters);
	if (err != -ENOSPC)
		return err;
	err = localalloc_give_back(v);
	return err ? err : reserve_bitmap(v, clusters, &r->clusters);
}

int plan_clusters(struct reservation *r, uint32_t want, uint32_t *cluster, uint32_t *got)
{
	struct alloc_ctx *ac = r->clusters;
	struct chain_want w = { .min = 1 };
	struct chain_hit hit;
	int err;

	if (!ac || ac->left == 0 || want == 0)
		return -ENOSPC;
	w.want = want < ac->left ? want : ac->left;
	if (ac->window) {
		err = la_plan(ac->locked->vol, ac, w.want, cluster, got);
	} else {
		w.plan = &ac->plan;
		err = chain_find(&ac->chain, &w, &hit);
		if (err)
			return err;
		*cluster = group_cluster(&ac->chain, hit.group, hit.bit);
		*got = hit.len;
	}
	if (!err)
		err = plan_add(&ac->plan, *cluster, *got);
	if (!err)
		ac->left -= *got;
	return err;
}

int claim_planned(struct jhandle *h, struct reservation *r, uint32_t cluster, uint32_t count)
{
	struct alloc_ctx *ac = r->clusters;
	int err;

	err = ac->window ? la_claim(h, ac, cluster, count) :
			   clusters_set(h, &ac->chain, cluster, count);
	if (!err)
		plan_drop(&ac->plan, cluster, count);
	return err;
}

int claim_clusters(struct jhandle *h, struct reservation *r, uint32_t want, uint32_t *cluster,
		   uint32_t *got)
{
	int err = plan_clusters(r, want, cluster, got);

	return err ? err : claim_planned(h, r, *cluster, *got);
}

unsigned reservation_credits(const struct reservation *r)
{
	return (r->inode ? r->inode->credits : 0) + (r->meta ? r->meta->credits : 0) +
	       (r->clusters ? r->clusters->credits : 0);
}

void reservation_release(struct vol *v, struct reservation *r)
{
	alloc_ctx_free(v, TAKE(r->clusters));
	alloc_ctx_free(v, TAKE(r->meta));
	alloc_ctx_free(v, TAKE(r->inode));
}

void alloc_close(struct vol *v)
{
	localalloc_close(v);
	trunclog_close(v);
	suballoc_close(v);
}
