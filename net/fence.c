/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fence.c: what a stop means, and that it happens once.
 *
 * The order is the safety: as long as the gate is open a write may follow, so nothing
 * that others could notice (a missing heartbeat, a closed link) may come before it. The
 * first caller does the work; `done` is stored after `why`, so a reader that sees it also
 * sees the text.
 */
#include "net/fence.h"
#include <stddef.h>
#include <stdio.h>

bool net_fence_now(struct net_fence *f, const struct net_fence_ops *ops, void *ctx,
		   const char *why)
{
	if (atomic_exchange(&f->begun, true))
		return false;
	snprintf(f->why, sizeof(f->why), "%s", why);
	atomic_store(&f->done, true);
	ops->shut_gates(ctx, f->why);
	ops->mute_heartbeat(ctx);
	ops->drop_out(ctx);
	return true;
}

const char *net_fence_why(const struct net_fence *f)
{
	return atomic_load(&f->done) ? f->why : NULL;
}
