/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vol_int.h: what the rooms of fs/volume share. Only included within the folder.
 *
 * Rooms, lowest first; each uses only those above it in this list:
 *
 *	blockdev  device and write gate
 *	ecc	  checksum of metadata blocks
 *	bcache	  metadata blocks by number, validated when read
 *	journal   transactions over bcache blocks; replay
 *	inode	  in-memory inodes: load, store, refresh
 *	chain, suballoc, localalloc, truncate_log   allocators
 *	extent, extent_edit			    extent trees
 *	file, truncate				    content
 *	xattr					    extended attributes
 *	dir, dirindex, name			    directories and names
 *	orphan					    deletion
 *
 * Order of locks: vol_inode.sem of directories and files (ascending block
 * number), then sys_lock of system inodes (orphan_dir, inode_alloc, extent_alloc,
 * truncate log, local alloc, global_bitmap), then a journal handle, then short
 * internal mutexes. Never wait for anything but device I/O with a handle open.
 */
#ifndef O2FUSE_VOLUME_VOL_INT_H
#define O2FUSE_VOLUME_VOL_INT_H

#include "fs/volume/vol.h"
#include "fs/volume/blockdev.h"
#include "fs/volume/ondisk.h"

struct buf;
struct bcache;
struct journal;
struct jhandle;
struct itable;
struct localalloc;
struct trunclog;
struct stealer;

struct vol {
	struct blockdev *dev;
	struct vol_info info;
	struct vol_opts opts;
	struct logger *log;
	unsigned blocksize, clustersize, bpc;	/* bytes, bytes, blocks per cluster */
	blkno_t first_cluster_group;
	uint32_t dx_seed[3], uuid_hash;
	unsigned xattr_inline_size;		/* of regions that are made */
	uint32_t sb_clusters;
	int slot;				/* -1 until vol_slot_start */
	atomic_bool readonly, stopped;
	atomic_uint next_generation;		/* of new inodes */
	_Atomic uint64_t next_cache_id;

	struct bcache *bcache;			/* bcache.c */
	struct journal *journal;		/* journal.c; NULL until vol_slot_start */
	struct itable *itable;			/* inode.c */
	struct vol_inode *root, *sysdir;
	struct vol_inode **sys;			/* [type * max_slots + slot], sysfile.c */
	struct localalloc *localalloc;		/* localalloc.c */
	struct trunclog *trunclog;		/* truncate_log.c */
	struct stealer *stealer;		/* suballoc.c */
};

static inline bool vol_has_incompat(const struct vol *v, uint32_t bit)
{
	return (v->info.incompat & bit) != 0;
}

/* Blocks there can be: a volume may be made larger, by another node, while it is mounted. */
static inline uint64_t vol_block_limit(const struct vol *v)
{
	return v->dev->size >> v->info.blocksize_bits;
}

/* ---- damage ------------------------------------------------------------------ */

/* The disk contradicts itself: log, count, act by errors=. Returns -EIO. */
int vol_damaged(struct vol *v, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Writing cannot go on, whatever errors= says (journal error). Tells hooks once. */
void vol_stop(struct vol *v, const char *why);

/* ---- super.c, sysfile.c ------------------------------------------------------------ */

int super_read(struct vol *v, struct reason *why) __must_check;
/* Open root, system directory and all system inodes. */
int sysfile_open(struct vol *v, struct reason *why) __must_check;
void sysfile_close(struct vol *v);

/* ---- bcache.c ------------------------------------------------------------------ */

/* What a block is; decides how it is validated and where its ECC lies. */
enum blk_type {
	BLK_RAW,	/* no header, no ECC: symlink text */
	BLK_DINODE, BLK_EXTENT, BLK_GROUP, BLK_DIR, BLK_DX_ROOT, BLK_DX_LEAF,
	BLK_XATTR, BLK_REFCOUNT,
};

struct buf {
	blkno_t blkno;
	uint8_t *data;		/* blocksize bytes, disk order */
	enum blk_type type;
	atomic_uint refs;
	/* the rest belongs to bcache.c and journal.c */
	struct buf_state *st;
};

/*
 * The block, referenced; read and validated (signature, own number, generation,
 * ECC with correction of one bit) unless cached for the same owner. Cached for
 * another owner and clean: read again. In the log: current by definition, and
 * re-owned. owner: the inode under whose M lock the block is read; NULL = always
 * read afresh, not kept. BLK_DIR: a trailer is expected if the volume or the inode
 * has one (disk.md 5.3). Content is protected by the owner's sem (system inodes:
 * sys_mutex).
 */
int bc_read(struct vol *v, blkno_t blkno, enum blk_type type, struct vol_inode *owner,
	    struct buf **out) __must_check;
/* A block that is being created: zeroed, not read. Follow with jh_write. */
int bc_new(struct vol *v, blkno_t blkno, enum blk_type type, struct vol_inode *owner,
	   struct buf **out) __must_check;
int bcache_new(struct vol *v) __must_check;
void bcache_free(struct vol *v);
struct buf *bc_hold(struct buf *b);
void bc_put(struct buf *b); /* NULL: nothing */
/* Forget a freed block: later readers go to the device (or the log). */
void bc_forget(struct vol *v, blkno_t blkno);
/* Drop all blocks of owner that are not in the log. */
void bc_purge(struct vol *v, struct vol_inode *owner);
/* Write one block in place now, with ECC, flushed; not journaled ("direct"). */
int bc_write_direct(struct vol *v, struct buf *b) __must_check;

/* For journal_*.c and bcache.c: see bcache_int.h. */

/* ---- journal.c ------------------------------------------------------------------ */

/*
 * Open a handle for at most `credits` blocks. Waits for a commit or checkpoint if
 * there is no room; -ENOSPC if it can never fit (jh_max_credits), -EROFS.
 * On behalf of: set in jh_write.
 */
int jh_begin(struct vol *v, unsigned credits, struct jhandle **out) __must_check;
unsigned jh_max_credits(struct vol *v);
/*
 * Before changing b->data: b joins the transaction (once per handle and block it
 * costs a credit). owner's last_trans and sync_tid are set (NULL: none).
 */
int jh_write(struct jhandle *h, struct buf *b, struct vol_inode *owner) __must_check;
/* More credits in the same transaction; -ENOSPC if there is no room. */
int jh_extend(struct jhandle *h, unsigned more) __must_check;
/* Make transaction tid (vol_inode.sync_tid) and all before it durable. 0: nothing to do. */
int journal_commit(struct vol *v, uint64_t tid) __must_check;
/* Is it durable already, with all data that was on the device when it was joined? */
bool journal_committed(struct vol *v, uint64_t tid);
/* The newest transaction there is; 0: none yet. */
uint64_t journal_last_tid(struct vol *v);
/*
 * Make durable what was written past the log. A device that fails a flush may have dropped
 * what it held, and the next flush would succeed without it: the journal ends.
 */
int journal_flush(struct vol *v) __must_check;
/* End: commits with the others. sync: wait until it is durable. */
int jh_end(struct jhandle *h, bool sync) __must_check;
/* A change could not be completed after blocks were changed: stop the volume. */
void jh_abort(struct jhandle *h, const char *why);
struct vol *jh_vol(struct jhandle *h);
/* Clusters freed by this handle may not be allocated before it is durable. */
int jh_freed(struct jhandle *h, uint32_t cluster, uint32_t count) __must_check;
/* First cluster at or after `from` in [from, end) that is not such, and the length
 * of the run from there (bounded by end). false: none. */
bool jh_reusable(struct vol *v, uint32_t from, uint32_t end, uint32_t *start, uint32_t *len);

/* Replay, get ready; vol_slot_start then starts it. journal_stop: everything home, the
 * log empty, the dirty flag cleared; or (dirty) nothing more written. */
int journal_open(struct vol *v, unsigned slot, bool *replayed, struct reason *why) __must_check;
int journal_stop(struct vol *v, bool dirty) __must_check;
/* Replay slot's log in place (own slot at mount; dead slots later). */
int journal_replay(struct vol *v, unsigned slot, struct reason *why) __must_check;

/* ---- inode.c --------------------------------------------------------------------- */

/* The dinode's block (cached in inode->di); held for the caller. */
int inode_buf(struct vol_inode *inode, struct buf **out) __must_check;
int itable_new(struct vol *v) __must_check;
void itable_free(struct vol *v);
/* Attributes from / into the dinode. store: joins h, sets everything but id2. */
void inode_load(struct vol_inode *inode, const struct ocfs2_dinode *di);
int inode_store(struct jhandle *h, struct vol_inode *inode) __must_check;
/* Fresh in-memory inode for a just claimed block: di points to a zeroed block that
 * was joined to h by the caller. */
struct timespec vol_now(void);

/* Local mutex, then the cluster lock of a system inode; unlock in reverse. */
int sys_lock(struct vol *v, struct vol_inode *inode, bool ex) __must_check;
void sys_unlock(struct vol *v, struct vol_inode *inode, bool ex);

/* ---- chain.c, suballoc.c, localalloc.c, truncate_log.c ----------------------------- */

/*
 * A reservation: allocators locked and known to have room, made before the handle;
 * claim inside it; release after it ended. Zeroed = empty. Reserve metadata and
 * inodes before clusters (lock order).
 */
struct reservation {
	struct alloc_ctx *inode, *meta, *clusters;
};
int reserve_inode(struct vol *v, struct reservation *r) __must_check;
int reserve_meta(struct vol *v, unsigned blocks, struct reservation *r) __must_check;
int reserve_clusters(struct vol *v, uint32_t clusters, struct reservation *r) __must_check;
/* Credits that claims from r may cost. */
unsigned reservation_credits(const struct reservation *r);
void reservation_release(struct vol *v, struct reservation *r);

struct suballoc_pos {
	blkno_t blkno, loc;	/* loc: 0 in a contiguous group */
	uint16_t slot, bit;
};
int claim_inode(struct jhandle *h, struct reservation *r, struct suballoc_pos *out) __must_check;
int claim_meta(struct jhandle *h, struct reservation *r, struct suballoc_pos *out) __must_check;
/* 1..want contiguous clusters. */
int claim_clusters(struct jhandle *h, struct reservation *r, uint32_t want,
		   uint32_t *cluster, uint32_t *got) __must_check;
/* The same in two steps, to write data before the handle is opened: choose 1..want
 * contiguous clusters (nothing changes; at most 64 runs at a time), later claim
 * exactly that run. What was planned and not claimed is forgotten at release. */
int plan_clusters(struct reservation *r, uint32_t want, uint32_t *cluster,
		  uint32_t *got) __must_check;
int claim_planned(struct jhandle *h, struct reservation *r, uint32_t cluster,
		  uint32_t count) __must_check;

/* Free one suballocated block. Its allocator (type: VOL_SYS_INODE_ALLOC or
 * EXTENT_ALLOC, slot) is sys_locked EX by the caller. 2 credits. group: block of the
 * descriptor (loc, or blkno - bit). */
#define FREE_SUBALLOC_CREDITS 2
int free_suballoc(struct jhandle *h, enum vol_sysfile type, unsigned slot, blkno_t group,
		  unsigned bit) __must_check;

/* Clusters go to the truncate log in the transaction that drops them. 1 credit.
 * tl_prepare: lock it and make room for n records (may flush; no handle open). */
#define TL_CREDITS 1
int tl_prepare(struct vol *v, unsigned records) __must_check;
int tl_append(struct jhandle *h, uint32_t cluster, uint32_t count) __must_check;
void tl_done(struct vol *v);

/* In this order after journal_open, before anything is allocated: suballoc_open,
 * trunclog_open, localalloc_open (recovered: the journal was dirty, so a used window is
 * legal; it is not used until localalloc_recover returned it, in vol_slot_cleanup). */
int localalloc_open(struct vol *v, bool recovered, struct reason *why) __must_check;
int localalloc_recover(struct vol *v) __must_check;
int localalloc_stop(struct vol *v) __must_check;  /* return the window (unmount) */
int localalloc_give_back(struct vol *v) __must_check; /* no space: return it, rest a while */
int trunclog_open(struct vol *v, struct reason *why) __must_check;
int suballoc_open(struct vol *v) __must_check;
void alloc_close(struct vol *v);

/* Suballocated blocks that left their owner; freed after the main transaction, one
 * allocator at a time (suballoc.c). */
struct dealloc {
	struct dealloc_item *head;
};
int dealloc_add(struct dealloc *d, enum vol_sysfile type, unsigned slot, blkno_t group,
		unsigned bit, blkno_t blkno) __must_check;
int dealloc_run(struct vol *v, struct dealloc *d) __must_check; /* empties d */

/* ---- extent.c, extent_edit.c -------------------------------------------------------- */

/* One tree of any owner (disk.md 3.1). Points into a root block the caller holds. */
struct xtree {
	struct vol_inode *owner;	/* M lock, sem, last_trans */
	struct buf *root;		/* dinode, dx root or xattr block */
	struct ocfs2_extent_list *list;	/* in root->data */
	__le64 *last_eb;		/* in root->data */
	__le32 *clusters;		/* in root->data */
	bool is_dx;			/* hash keys (no adjacent merge limits differ) */
};
void xtree_dinode(struct xtree *t, struct vol_inode *inode, struct buf *dinode);
void xtree_dx_root(struct xtree *t, struct vol_inode *dir, struct buf *dx_root);

struct extent {
	uint32_t cpos, len;	/* clusters */
	blkno_t blkno;		/* 0: hole */
	uint8_t flags;		/* OCFS2_EXT_UNWRITTEN, OCFS2_EXT_REFCOUNTED */
};
/* What is at cpos: a record (from its own start), or a hole of known length. */
int xtree_lookup(struct xtree *t, uint32_t cpos, struct extent *out) __must_check;
/* Last record with e_cpos <= key, for hash trees. -ENOENT: tree is empty. */
int xtree_floor(struct xtree *t, uint32_t key, struct extent *out) __must_check;
/* Last record of the tree. -ENOENT: empty. */
int xtree_last(struct xtree *t, struct extent *out) __must_check;

/* Metadata blocks to reserve for n inserts/splits, and credits for one edit. */
unsigned xtree_meta_needed(struct xtree *t, unsigned inserts);
unsigned xtree_edit_credits(struct xtree *t);
/* Sharper: n edits, all of them at cpos or right of it. */
unsigned xtree_credits_from(struct xtree *t, uint32_t cpos, unsigned inserts);
/* Removing or shortening up to n records at the right end. */
unsigned xtree_trim_credits(struct xtree *t, unsigned records);
/*
 * Edits. The cluster counter in the root follows, and inode->clusters for a data tree.
 * An error after something changed has aborted the handle (jh_end will say so).
 */
/* Range must be a hole (-EEXIST). */
int xtree_insert(struct jhandle *h, struct xtree *t, const struct extent *e,
		 struct reservation *r) __must_check;
/* [cpos, cpos+len) within one record. Clusters are the caller's business (tl_append in
 * the same handle); extent blocks that became empty are added to d. */
int xtree_remove(struct jhandle *h, struct xtree *t, uint32_t cpos, uint32_t len,
		 struct reservation *r, struct dealloc *d) __must_check;
/* Clear UNWRITTEN on [cpos, cpos+len) within one record. */
int xtree_mark_written(struct jhandle *h, struct xtree *t, uint32_t cpos, uint32_t len,
		       struct reservation *r) __must_check;

/* ---- file.c, truncate.c ---------------------------------------------------------------- */

/* Physical block of logical block lblk of an inode's data tree; 0 = hole. *run: how
 * many blocks go on contiguously. sem held. */
int inode_map(struct vol_inode *inode, uint64_t lblk, blkno_t *blkno, uint64_t *run,
	      bool *unwritten) __must_check;
/* Remove all data of an inode (deletion), in as many transactions as needed. */
int inode_truncate_all(struct vol_inode *inode) __must_check;
/* Remove clusters beyond i_size (a direct write that did not end). sem held. */
int inode_trim_beyond(struct vol_inode *inode) __must_check;

/* ---- dir.c, dirindex.c ------------------------------------------------------------------- */

/* Within a directory whose sem is held for writing. dir_prepare makes room for a name
 * (grows the directory, splits the index) in transactions of its own; then dir_add
 * costs at most DIR_ADD_CREDITS. */
#define DIR_ADD_CREDITS 7
#define DIR_REMOVE_CREDITS 5
int dir_find(struct vol_inode *dir, const char *name, size_t len, struct vol_found *out) __must_check;
int dir_prepare(struct vol_inode *dir, const char *name, size_t len) __must_check;
int dir_add(struct jhandle *h, struct vol_inode *dir, const char *name, size_t len,
	    blkno_t blkno, uint8_t type) __must_check;
int dir_remove(struct jhandle *h, struct vol_inode *dir, const char *name, size_t len,
	       blkno_t blkno) __must_check;
/* Overwrite what a name points to. */
int dir_replace(struct jhandle *h, struct vol_inode *dir, const char *name, size_t len,
		blkno_t blkno, uint8_t type) __must_check;
int dir_set_parent(struct jhandle *h, struct vol_inode *dir, blkno_t parent) __must_check;
int dir_is_empty(struct vol_inode *dir, bool *empty) __must_check;
/* Free the index of a directory that is being deleted. */
int dir_truncate_index(struct vol_inode *dir) __must_check;

#endif
