/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * bcache_int.h: the cache's side of a buffer, shared with the journal.
 *
 * in_log counts the transactions that hold the block and are not checkpointed yet
 * (running, committing, committed). While it is not zero the block is current by
 * definition (doc/spec/fs-locking.md 8.4) and stays in memory.
 */
#ifndef O2FUSE_VOLUME_BCACHE_INT_H
#define O2FUSE_VOLUME_BCACHE_INT_H

#include "fs/volume/vol_int.h"

struct txn;
struct block_image;

struct buf_state {
	struct buf buf;
	struct vol *vol;
	struct buf_state *hash_next;
	struct buf_state *lru_next, *lru_prev; /* refs 0 and in_log 0 */
	uint64_t cache_id;	/* of the owner when it was read; 0: of nobody */
	atomic_uint in_log;
	bool reading, hashed, on_lru;
	/* journal, under its mutex */
	struct txn *running;	/* the running transaction, if it is joined */
	struct block_image *newest;	/* newest committed image that is not home */
};

/* How much clean, unused memory is kept (64 MiB), and is kept now. */
void bcache_limit(struct vol *v, size_t bytes);
size_t bcache_idle_bytes(struct vol *v);

/* The journal took the block into / has the last transaction with it checkpointed. */
void bc_log_get(struct vol *v, struct buf *b);
void bc_log_put(struct vol *v, struct buf *b);

#endif
