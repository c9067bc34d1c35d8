/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * dir_int.h: what the directory files of fs/volume share.
 *
 *	dirent.c	entries of one block or inline area: pure, no I/O
 *	dirhash.c	hash of a name, where a leaf divides: pure
 *	dir.c		find, add, remove, replace; readdir
 *	dirfree.c	the free-space list of indexed directories
 *	dirgrow.c	room for a name; bodies of new directories
 *	dirindex.c	index: lookup, insert, remove
 *	dirindex_split.c index: create, expand, split, drop
 *	name.c, rename.c, symlink.c, orphan.c, wipe.c, wipe_xattr.c  operations
 *
 * Locking: functions that take a directory expect its sem held (for writing if they
 * change it); for orphan directories, which only sys_lock protects, sys_lock EX.
 */
#ifndef O2FUSE_VOLUME_DIR_INT_H
#define O2FUSE_VOLUME_DIR_INT_H

#include "fs/volume/vol_int.h"

#define DIR_NAME_MAX 255
#define DIR_TRAILER_SIZE 64
#define DIR_MIN_HOLE 16		/* smaller holes are not worth listing (disk.md 5.6) */
#define ORPHAN_NAME_LEN 16
#define DIO_ORPHAN_NAME_LEN 20

/* ---- dirent.c ------------------------------------------------------------------ */

/*
 * The bytes that records tile: a block without its trailer, or an inline area.
 * At most 4096 bytes, whatever the disk says.
 */
struct de_area {
	uint8_t *base;
	unsigned len;
};

#define DE_NONE (~0u)

static inline struct ocfs2_dir_entry *de_at(const struct de_area *a, unsigned off)
{
	return (struct ocfs2_dir_entry *)(a->base + off);
}

/* What is wrong with the record at off; NULL: nothing. After NULL, off + rec_len is
 * within the area and larger than off. */
const char *de_check(const struct de_area *a, unsigned off);
/* -ENOENT; -EIO: a bad record is in the way, *off is its place. prev: record before
 * *off, or DE_NONE. */
int de_find(const struct de_area *a, const char *name, size_t len, unsigned *off,
	    unsigned *prev) __must_check;
/* Record that has room for a name of that length. -ENOSPC, -EIO as above. */
int de_place(const struct de_area *a, size_t len, unsigned *off) __must_check;
/* Store a name at a place that de_place found. */
void de_put(const struct de_area *a, unsigned off, const char *name, size_t len,
	    blkno_t blkno, uint8_t type);
void de_del(const struct de_area *a, unsigned off, unsigned prev);
/* Largest hole as dirs list it: of a used record what it does not need, of an unused
 * one all. -EIO: bad record. */
int de_largest_hole(const struct de_area *a) __must_check;
/* Used records. -EIO: bad record. */
int de_count(const struct de_area *a) __must_check;
/* One unused record. */
void de_init_empty(const struct de_area *a);
/* '.' and '..', as a fresh directory starts. */
void de_init_dots(const struct de_area *a, blkno_t self, blkno_t parent);
/* The area grew by `more` bytes: its last record takes them. -EIO: bad record. */
int de_extend(struct de_area *a, unsigned more) __must_check;
bool de_name_ok(const char *name, size_t len);

static inline unsigned de_need(size_t len)
{
	return (unsigned)OCFS2_DIR_REC_LEN(len);
}

/* ---- dirhash.c ----------------------------------------------------------------- */

struct dx_hash {
	uint32_t major, minor;
};

/*
 * Hash of disk.md 5.7. seed: s_dx_seed[0..2], s_uuid_hash. as_unsigned: bytes from
 * 0x80 on count as kernels from 6.2 on count them.
 */
struct dx_hash dir_hash(const uint32_t seed[4], const char *name, size_t len,
			bool as_unsigned);
/* Do the two variants differ for this name? */
bool dir_hash_has_variants(const char *name, size_t len);

/*
 * Value S at which a full leaf divides: entries with a major hash from S on leave it
 * (disk.md 5.8). Sorts e. leaf_cpos: the lowest hash that belongs to the leaf. -ENOSPC:
 * no value would help the hash that is to be inserted.
 */
int dx_split_value(struct ocfs2_dx_entry *e, unsigned n, uint32_t leaf_cpos,
		   uint32_t new_major, uint32_t *s) __must_check;

/* ---- dir.c --------------------------------------------------------------------- */

static inline bool dir_is_inline(const struct vol_inode *dir)
{
	return (dir->dyn_features & OCFS2_INLINE_DATA_FL) != 0;
}

static inline bool dir_is_indexed(const struct vol_inode *dir)
{
	return !dir_is_inline(dir) && (dir->dyn_features & OCFS2_INDEXED_DIR_FL) != 0;
}

static inline bool dir_has_trailer(const struct vol_inode *dir)
{
	return !dir_is_inline(dir) && (vol_has_incompat(dir->vol, OCFS2_FEATURE_INCOMPAT_META_ECC) ||
				       dir_is_indexed(dir));
}

/* Do blocks of a new directory get a trailer? */
static inline bool dir_new_has_trailer(const struct vol *v)
{
	return vol_has_incompat(v, OCFS2_FEATURE_INCOMPAT_META_ECC) ||
	       vol_has_incompat(v, OCFS2_FEATURE_INCOMPAT_INDEXED_DIRS);
}

static inline struct ocfs2_dir_block_trailer *dir_trailer(const struct vol *v, struct buf *b)
{
	return (struct ocfs2_dir_block_trailer *)(b->data + v->blocksize - DIR_TRAILER_SIZE);
}

/* Blocks that hold entries (not inline). -EIO: size is not a number of blocks. */
int dir_blocks(struct vol_inode *dir, uint64_t *n) __must_check;
/* Entries of the inline area, or of a block. Held. */
int dir_inline_area(struct vol_inode *dir, struct buf **b, struct de_area *a) __must_check;
int dir_read_block(struct vol_inode *dir, uint64_t lblk, struct buf **b,
		   struct de_area *a) __must_check;
int dir_read_phys(struct vol_inode *dir, blkno_t blkno, struct buf **b,
		  struct de_area *a) __must_check;
/* mtime, ctime = now; stored in h. */
int dir_touch(struct jhandle *h, struct vol_inode *dir) __must_check;
/* A block has room for a name of that length (no inline area, no index). -ENOSPC. */
int dir_has_room_linear(struct vol_inode *dir, size_t len) __must_check;
/* vol_readdir without the lock. */
int dir_walk(struct vol_inode *dir, uint64_t pos, vol_readdir_fn fn, void *ctx) __must_check;
/* A bad record: says where. -EIO. */
int dir_bad_entry(struct vol_inode *dir, const struct buf *b, const struct de_area *a,
		  unsigned off);

/* ---- dirfree.c ----------------------------------------------------------------- */

/*
 * First listed block with a hole for `need` bytes, verified. prev: the listed block
 * before it, or NULL. -ENOSPC: none. -EUCLEAN: none, and the list is broken (do not
 * link to it any more).
 */
int dirfree_find(struct vol_inode *dir, struct buf *root, size_t name_len, struct buf **b,
		 struct buf **prev, struct de_area *a, unsigned *off) __must_check;
/* After an entry was put into b, which is joined, as root is. prev is joined here if
 * b leaves the list. */
void dirfree_shrunk(struct jhandle *h, struct vol_inode *dir, struct buf *root, struct buf *b,
		    struct buf *prev, const struct de_area *a);
/* After an entry was removed from b; b and root are joined. */
void dirfree_grown(struct vol_inode *dir, struct buf *root, struct buf *b,
		   const struct de_area *a);

/* ---- dirindex.c ------------------------------------------------------------------ */

/* Where the index keeps a hash: entries of the root, or of one leaf. */
struct dx_place {
	struct buf *root, *leaf;	/* leaf: NULL if the entries are in the root */
	struct ocfs2_dx_entry_list *list;
	struct extent rec;		/* record and cluster of the leaf */
	uint32_t cluster_in_rec;
};

/* A name that was found. */
struct dir_hit {
	struct buf *b;			/* dinode if inline */
	struct de_area a;
	unsigned off, prev;
	struct dx_place dx;		/* indexed: where, and which entry */
	unsigned dx_i;
};

static inline struct ocfs2_dx_root_block *dx_root_of(struct buf *b)
{
	return (struct ocfs2_dx_root_block *)b->data;
}

static inline struct ocfs2_dx_leaf *dx_leaf_of(struct buf *b)
{
	return (struct ocfs2_dx_leaf *)b->data;
}

int dx_read_root(struct vol_inode *dir, struct buf **root) __must_check;
int dx_read_leaf(struct vol_inode *dir, blkno_t blkno, struct buf **leaf) __must_check;
int dx_place(struct vol_inode *dir, struct dx_hash hash, struct dx_place *p) __must_check;
void dx_place_put(struct dx_place *p);
struct dx_hash dx_name_hash(const struct vol *v, const char *name, size_t len, bool as_unsigned);
/* Through the index, under either hash. -ENOENT. */
int dx_search(struct vol_inode *dir, const char *name, size_t len,
	      struct dir_hit *hit) __must_check;
/* p's list has room. Counts in the root. Root and leaf are joined here. */
int dx_insert(struct jhandle *h, struct vol_inode *dir, struct dx_place *p, struct dx_hash hash,
	      blkno_t dirent_blk) __must_check;
int dx_join(struct jhandle *h, struct vol_inode *dir, struct dx_place *p) __must_check;
void dx_remove(struct dx_place *p, unsigned i);
void dx_list_append(struct ocfs2_dx_entry_list *list, struct dx_hash hash, blkno_t dirent_blk);

void dir_hit_put(struct dir_hit *hit);
/* In any of the three forms. -ENOENT. */
int dir_search(struct vol_inode *dir, const char *name, size_t len,
	       struct dir_hit *hit) __must_check;

/* ---- dirindex_split.c ------------------------------------------------------------ */

/* End a handle; if err, a change is half done: the volume is stopped. */
int jh_end_or_abort(struct jhandle *h, int err, const char *why) __must_check;
/* undone: a failure left nothing behind, the handle just ends. */
int jh_finish(struct jhandle *h, int err, bool undone, const char *why) __must_check;
/* Room in the index for one more entry of that hash; own transactions. */
int dx_prepare(struct vol_inode *dir, struct dx_hash hash) __must_check;

/*
 * A new index over the entries of one block, in the caller's transaction, in a block
 * (pos) and, if dx_create_needs says so, a cluster that the caller claimed.
 */
struct dx_needs {
	uint32_t clusters;
	unsigned credits;	/* beside those of the reservation */
};
struct dx_needs dx_create_needs(struct vol *v, unsigned entries);
int dx_create(struct jhandle *h, struct vol_inode *dir, struct buf *block,
	      const struct de_area *a, unsigned entries, const struct suballoc_pos *pos,
	      uint32_t cluster, struct reservation *r) __must_check;

/* ---- dirgrow.c -------------------------------------------------------------------- */

/*
 * Body of a new directory. dir_create_needs reserves for it (after the inode); the
 * cluster is claimed by the caller first of all. di is joined; size, features and
 * clusters of the inode are set, but not stored yet.
 */
bool dir_new_is_inline(const struct vol *v);
int dir_create_needs(struct vol *v, struct reservation *r, unsigned *credits) __must_check;
int dir_create_body(struct jhandle *h, struct vol_inode *inode, struct buf *di, blkno_t parent,
		    uint32_t cluster, struct reservation *r) __must_check;
/* The body becomes a list with one cluster at cpos 0. di is joined, not stored yet. */
int inode_first_cluster(struct jhandle *h, struct vol_inode *inode, struct buf *di,
			uint32_t cluster, struct reservation *r) __must_check;
/* An empty extent list over the body of a dinode. */
void inode_init_list(const struct vol *v, struct ocfs2_dinode *di);
unsigned inode_body_bytes(const struct vol *v, const struct ocfs2_dinode *di);

/* ---- name.c ------------------------------------------------------------------------ */

/* sems of up to four inodes, NULLs allowed, in order of block number, once each. */
struct sem_set {
	struct vol_inode *inode[4];
	unsigned n;
};
void sem_set_lock(struct sem_set *s, struct vol_inode *a, struct vol_inode *b,
		  struct vol_inode *c, struct vol_inode *d);
void sem_set_unlock(struct sem_set *s);
int name_check(const char *name, size_t len) __must_check;
uint8_t mode_to_ft(uint16_t mode);
uint32_t link_max(const struct vol_inode *inode);

/* Parts of unlink that rename needs. last: the inode loses its last name. */
int inode_check_drop(struct vol_inode *inode, bool *last) __must_check;
int inode_drop_link(struct jhandle *h, struct vol_inode *inode, struct vol_inode *od) __must_check;
int dir_drop_subdir(struct jhandle *h, struct vol_inode *dir) __must_check;

/* ---- symlink.c ---------------------------------------------------------------------- */

/* Like dir_create_*: a long target needs a cluster. */
bool symlink_is_fast(const struct vol *v, const char *target);
int symlink_needs(struct vol *v, const char *target, struct reservation *r,
		  unsigned *credits) __must_check;
int symlink_body(struct jhandle *h, struct vol_inode *inode, struct buf *di, const char *target,
		 uint32_t cluster, struct reservation *r) __must_check;

/* ---- orphan.c ------------------------------------------------------------------------ */

/*
 * orphan_prepare before the handle: this slot's orphan directory is locked and has
 * room; orphan_add in it; orphan_done after it. Credits: ORPHAN_CREDITS.
 */
#define ORPHAN_CREDITS (DIR_ADD_CREDITS + 1)
int orphan_prepare(struct vol *v, struct vol_inode *inode, struct vol_inode **od) __must_check;
int orphan_add(struct jhandle *h, struct vol_inode *od, struct vol_inode *inode) __must_check;
void orphan_done(struct vol *v, struct vol_inode *od);
void orphan_name(char out[ORPHAN_NAME_LEN + 1], blkno_t blkno);
/* Locked for a wiper or reader; loaded if it was not. */
int orphan_dir_lock(struct vol *v, unsigned slot, struct vol_inode **od) __must_check;

/* ---- wipe.c, wipe_xattr.c -------------------------------------------------------------- */

/* Free all clusters of a tree, last record first, own transactions; extent blocks go
 * to d. The root keeps an empty list. */
int tree_drop(struct vol *v, struct xtree *t, struct dealloc *d) __must_check;
/* Free a block of extent_alloc that inode refers to; forget takes the reference out of
 * inode and dinode in the same transaction. */
int meta_block_drop(struct vol_inode *inode, const struct suballoc_pos *pos,
		    void (*forget)(struct vol_inode *inode,
				   struct ocfs2_dinode *di)) __must_check;
/* Indexed xattrs cannot be freed. */
bool wipe_xattrs_indexed(struct vol_inode *inode);
int wipe_xattrs(struct vol_inode *inode) __must_check;

#endif
