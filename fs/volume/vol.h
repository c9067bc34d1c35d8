/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vol.h: an OCFS2 volume, as fs/cluster and fs/fuse see it.
 *
 * The engine reads and changes the volume with a journal (doc/spec/disk.md). It
 * knows no cluster: whoever calls it holds the cluster locks that an operation
 * needs (doc/spec/fs-locking.md section 4), and hands it hooks with which it
 * takes the locks of allocators and orphan directories, always before it opens a
 * journal handle. Operations may be called from any thread; each is atomic
 * against others of this process (struct vol_inode.sem, taken inside).
 *
 * What a caller may rely on when an operation returns 0: the change is in the
 * running transaction (a crash shows all of it or none), data of a write is on
 * the device, vol_inode's attributes are current. It is durable after vol_fsync
 * or vol_sync, and visible at its place on the device, with an empty log, after
 * vol_checkpoint.
 */
#ifndef O2FUSE_VOLUME_VOL_H
#define O2FUSE_VOLUME_VOL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>
#include <sys/types.h>
#include "dlm/util/cleanup.h"
#include "dlm/util/err.h"
#include "dlm/util/log.h"

struct vol;
struct vol_inode;
struct blockdev;

typedef uint64_t blkno_t;   /* block number on the volume; an inode's identity */

/* ---- the volume ----------------------------------------------------------- */

enum vol_errors { VOL_ERRORS_RO, VOL_ERRORS_CONTINUE, VOL_ERRORS_PANIC };

struct vol_hooks {
	/*
	 * M lock of a system inode (allocator, orphan directory, global bitmap) for
	 * this task, shared or exclusive. If the lock was not held on this node
	 * before, the implementation calls vol_inode_refresh() on it first. May
	 * block; never called with a journal handle open. NULL hooks: no cluster.
	 */
	int (*sys_lock)(void *ctx, struct vol_inode *inode, bool ex);
	void (*sys_unlock)(void *ctx, struct vol_inode *inode, bool ex);
	/* Damage or a journal error was found and errors= says to stop writing
	 * (panic: leave the cluster). Called once; any thread. */
	void (*stopped)(void *ctx, const char *why, bool panic);
};

struct vol_opts {
	bool readonly;
	enum vol_errors errors;
	unsigned commit_ms;	/* commit interval; 0 = 5000 */
	int localalloc_mb;	/* -1 = computed; 0 = none */
	bool inode64;
	struct logger *log;	/* borrowed */
	const struct vol_hooks *hooks;
	void *hooks_ctx;
};

struct vol_info {
	unsigned blocksize_bits, clustersize_bits, max_slots;
	uint64_t blocks;
	uint32_t clusters, fs_generation;
	uint32_t compat, incompat, ro_compat;
	uint8_t uuid[16];
	char uuid_str[33];	/* 32 upper-case hex digits: domain and region name */
	char label[65];
	char stack[5];		/* "o2cb", or empty: classic o2cb */
	char cluster[17];	/* empty with classic o2cb */
	bool global_heartbeat, local;
	bool xattrs;		/* extended attributes can be stored */
	bool force_ro;		/* features that allow reading only */
	blkno_t root_blkno, sysdir_blkno;
};

/*
 * Read and check super block and features, find the system inodes. Writes
 * nothing. dev stays the caller's and must outlive the volume. EXIT_* codes in
 * why: NOT_OCFS2, FEATURES (named), DEVICE (truncated), SYSTEM.
 */
int vol_open(struct blockdev *dev, const struct vol_opts *opts, struct vol **out,
	     struct reason *why) __must_check;
void vol_close(struct vol *v);
const struct vol_info *vol_info(const struct vol *v);
struct blockdev *vol_dev(const struct vol *v);

/*
 * Take slot's journal into use (disk.md 8.10, fs-locking.md 6.2 steps 6 to 8):
 * replay if dirty, set dirty, start commit and checkpoint, load local alloc and
 * truncate log. The caller holds M(journal:slot) EX until vol_slot_stop.
 * *replayed: the journal was dirty.
 */
int vol_slot_start(struct vol *v, unsigned slot, bool *replayed, struct reason *why) __must_check;
/* After all locks can be taken: give back the window a crash left, flush the
 * truncate log a crash left. Orphans are found with vol_orphans_each. */
int vol_slot_cleanup(struct vol *v) __must_check;
/*
 * Clean end (fs-locking.md 6.3): truncate log flushed, local alloc returned,
 * everything committed and checkpointed, s_start 0, dirty flag cleared. After an
 * error or a fence (dirty = true) only stops the threads, writing nothing.
 */
int vol_slot_stop(struct vol *v, bool dirty) __must_check;
unsigned vol_slot(const struct vol *v);

/* Has a write or journal error, or damage, made this volume read-only? */
bool vol_is_stopped(const struct vol *v);
/* Soft change between read-only and read-write (remount). */
int vol_set_readonly(struct vol *v, bool ro);
bool vol_readonly(const struct vol *v);

/* ---- commit and checkpoint ------------------------------------------------ */

/* Everything so far is durable: commit the running transaction, flush. */
int vol_sync(struct vol *v) __must_check;
/*
 * fs-locking.md 8.2: commit, write all logged blocks home, flush, empty the log
 * durably. Waits for open handles of this node; holds no lock afterwards.
 */
int vol_checkpoint(struct vol *v) __must_check;

/* ---- inodes ---------------------------------------------------------------- */

/*
 * Attributes are those of the dinode and are current while the caller holds M(x).
 * They are changed only by operations below, or by fs/cluster from the LVB.
 */
struct vol_inode {
	struct vol *vol;
	blkno_t blkno;
	atomic_uint refs;
	void *cluster;		/* belongs to fs/cluster */

	pthread_rwlock_t sem;	/* content: taken inside vol_ operations */
	pthread_mutex_t sys_mutex; /* system inodes: users on this node */

	bool loaded;		/* attributes were read at least once */
	bool wiped;		/* vol_wipe freed it on this node */
	bool system;		/* found as a system file: it must be marked as one */
	atomic_bool partial;	/* purged: what an LVB does not carry is not current */
	uint16_t mode;
	uint16_t dyn_features;	/* OCFS2_*_FL of i_dyn_features */
	uint32_t flags;		/* OCFS2_VALID_FL, OCFS2_SYSTEM_FL, ... */
	uint32_t attr;
	uint32_t uid, gid, nlink;
	uint32_t generation;
	uint32_t clusters;
	uint64_t size;
	uint64_t rdev;
	uint64_t dtime;
	uint16_t orphaned_slot;
	uint16_t suballoc_slot;
	struct timespec atime, mtime, ctime;

	/* belongs to fs/volume */
	void *di;		/* cached dinode buffer, or NULL */
	_Atomic uint64_t last_trans; /* last transaction with a block of its own; 0: none */
	_Atomic uint64_t sync_tid, datasync_tid; /* those that fsync, fdatasync wait for */
	uint64_t dir_hint;	/* directory: block to try first */
	void *ext_cache;
	void *hash_next;	/* inode table */
	uint64_t cache_id;	/* its cached blocks carry it; a new one drops them all */
};

/* In-memory inode of that block, without I/O; a new object has loaded = false. */
int vol_iget(struct vol *v, blkno_t blkno, struct vol_inode **out) __must_check;
struct vol_inode *vol_ihold(struct vol_inode *inode);
/* Last reference: the object and its cached blocks go (they must be checkpointed
 * or wiped). */
void vol_iput(struct vol_inode *inode);

/*
 * Drop all cached blocks and the extent cache, read the dinode from the device
 * and load the attributes. -ESTALE: not the same live inode any more (type or
 * generation changed, not valid, dtime set); a not yet loaded inode must only be
 * valid. -EIO: damage.
 */
int vol_inode_refresh(struct vol_inode *inode) __must_check;
/* Drop cached blocks and extent cache only: attributes come from an LVB, which does not
 * carry flags, orphan slot and dtime. Before a change vol_inode_complete reads these. */
void vol_inode_purge(struct vol_inode *inode);
int vol_inode_complete(struct vol_inode *inode) __must_check;
/* No block changed on behalf of this inode is still in the log (8.2). */
bool vol_inode_checkpointed(struct vol_inode *inode);

enum vol_sysfile {
	VOL_SYS_SLOT_MAP, VOL_SYS_HEARTBEAT, VOL_SYS_GLOBAL_BITMAP,
	VOL_SYS_ORPHAN_DIR, VOL_SYS_EXTENT_ALLOC, VOL_SYS_INODE_ALLOC,
	VOL_SYS_JOURNAL, VOL_SYS_LOCAL_ALLOC, VOL_SYS_TRUNCATE_LOG, VOL_SYS_MAX
};
/* Borrowed, valid until vol_close; slot is ignored for global files. NULL: none. */
struct vol_inode *vol_sys_inode(struct vol *v, enum vol_sysfile type, unsigned slot);
struct vol_inode *vol_root(struct vol *v);
/* First physical byte and length of a system file that is one extent (heartbeat). */
int vol_sys_extent(struct vol *v, enum vol_sysfile type, uint64_t *byte_off,
		   uint64_t *len) __must_check;

/* Journal state of any slot, read from the device now (fs-locking.md 6.2, 7.2). */
int vol_journal_state(struct vol *v, unsigned slot, bool *dirty,
		      uint32_t *recovery_generation) __must_check;
/* Slot map: max_slots entries; -1 = free, else node number. Caller holds S. */
int vol_slotmap_read(struct vol *v, int16_t *nodes) __must_check;
int vol_slotmap_write(struct vol *v, unsigned slot, int node) __must_check; /* -1: free */

/* ---- names (caller holds M(dir) PR to look, EX to change) ------------------ */

struct vol_found {
	blkno_t blkno;
	uint8_t type;	/* OCFS2_FT_* */
};
int vol_lookup(struct vol_inode *dir, const char *name, size_t len,
	       struct vol_found *out) __must_check; /* -ENOENT */
/* '..' of a directory. */
int vol_parent(struct vol_inode *dir, blkno_t *out) __must_check;

/*
 * Entries from position *pos on (0 first; '.' and '..' are entries). fn returns
 * false when its buffer is full: the entry is not consumed. next is the position
 * after that entry, stable while the directory does not change, and re-synchronised
 * to an entry boundary when it did.
 */
typedef bool (*vol_readdir_fn)(void *ctx, const char *name, size_t len, blkno_t blkno,
			       uint8_t type, uint64_t next);
int vol_readdir(struct vol_inode *dir, uint64_t pos, vol_readdir_fn fn, void *ctx) __must_check;

struct vol_new {
	uint16_t mode;		/* type and permission bits, final */
	uint32_t uid, gid;
	uint64_t rdev;		/* dev_t of device nodes (makedev) */
	const char *target;	/* symlinks: NUL terminated */
};
/*
 * create, mknod, mkdir, symlink. -EEXIST, -ENOSPC, -ENAMETOOLONG, -EMLINK,
 * -ENOENT (dir has no links). *out is loaded and referenced for the caller, who
 * attaches its cluster locks before he drops M(dir).
 */
int vol_create(struct vol_inode *dir, const char *name, size_t len,
	       const struct vol_new *what, struct vol_inode **out) __must_check;
/* Also holds M(inode) EX. */
int vol_link(struct vol_inode *dir, const char *name, size_t len,
	     struct vol_inode *inode) __must_check;
/*
 * unlink and rmdir (by the inode's type; the caller checked what was asked for).
 * Holds M(dir), M(inode) EX. -ENOENT if name is not inode any more, -ENOTEMPTY.
 * The last link moves the inode into this slot's orphan directory; vol_wipe frees it.
 */
int vol_unlink(struct vol_inode *dir, const char *name, size_t len,
	       struct vol_inode *inode) __must_check;

struct vol_rename {
	struct vol_inode *old_dir, *new_dir; /* M EX each; may be the same */
	const char *old_name, *new_name;
	size_t old_len, new_len;
	struct vol_inode *inode;	/* M EX */
	struct vol_inode *target;	/* M EX; NULL: new_name must not exist */
};
int vol_rename(const struct vol_rename *r) __must_check;

/* ---- content ---------------------------------------------------------------- */

/* M PR. Short only at end of file; holes and unwritten extents read as zeros. */
int vol_read(struct vol_inode *inode, void *buf, size_t len, uint64_t off,
	     size_t *got) __must_check;
/*
 * M PR. SEEK_HOLE (hole) or SEEK_DATA from off on: the first byte of a hole, or of data;
 * the end of file is a hole, an unwritten extent is one, too. -ENXIO: off is not in the
 * file, or no data follows.
 */
int vol_seek(struct vol_inode *inode, uint64_t off, bool hole, uint64_t *out) __must_check;
/*
 * W EX and M EX. With append the true end of file is the offset, returned in *off.
 * *done < len only with an error after some bytes (then 0 is returned).
 * kill_suid: clear set-id bits.
 */
int vol_write(struct vol_inode *inode, const void *buf, size_t len, uint64_t *off,
	      bool append, bool kill_suid, size_t *done) __must_check;
/* W EX and M EX. Also grows. Zeroes what must read as zero. */
int vol_truncate(struct vol_inode *inode, uint64_t size) __must_check;
/*
 * W EX and M EX. Allocates (what was a hole reads as zeros still), i_size rises to off + len
 * if need be; or, PUNCH, makes a hole. -EOPNOTSUPP: the volume has no unwritten extents, or
 * KEEP_SIZE would leave clusters beyond i_size. After an error part of it may be done.
 */
enum { VOL_FALLOC_KEEP_SIZE = 1, VOL_FALLOC_PUNCH = 2 };
int vol_fallocate(struct vol_inode *inode, uint64_t off, uint64_t len, unsigned how) __must_check;
int vol_readlink(struct vol_inode *inode, char *buf, size_t room) __must_check; /* length */

enum { VOL_SET_MODE = 1, VOL_SET_UID = 2, VOL_SET_GID = 4, VOL_SET_ATIME = 8,
       VOL_SET_MTIME = 16, VOL_SET_CTIME = 32 };
struct vol_setattr {
	unsigned valid;
	uint16_t mode;
	uint32_t uid, gid;
	struct timespec atime, mtime, ctime;
};
int vol_setattr(struct vol_inode *inode, const struct vol_setattr *what) __must_check; /* M EX */
/* All of this inode (datasync: what is needed to read its data) is durable. */
int vol_fsync(struct vol_inode *inode, bool datasync) __must_check;

struct vol_statfs {
	uint64_t blocks, bfree, files, ffree;
	uint32_t bsize;
};
int vol_statfs(struct vol *v, struct vol_statfs *out) __must_check; /* takes the bitmap's lock */
/* st_blocks in units of 512 bytes (disk.md 2.1). */
uint64_t vol_stat_blocks(const struct vol_inode *inode);

/* ---- extended attributes (doc/spec/disk.md 7) ------------------------------------- */

/* xe_type on disk. The name that follows is without its prefix; those of the ACLs are
 * empty. */
enum { VOL_XATTR_USER = 1, VOL_XATTR_ACL_ACCESS = 2, VOL_XATTR_ACL_DEFAULT = 3,
       VOL_XATTR_TRUSTED = 4, VOL_XATTR_SECURITY = 5 };
#define VOL_XATTR_NAME_MAX 255u
#define VOL_XATTR_SIZE_MAX 65536u

/* M PR. *size is the value's size, also with -ERANGE (it does not fit into room).
 * -ENODATA. */
int vol_getxattr(struct vol_inode *inode, uint8_t index, const char *name, void *to, size_t room,
		 size_t *size) __must_check;
/* M PR. name is not terminated. What fn returns ends the list if it is not 0. */
typedef int (*vol_xattr_fn)(void *ctx, uint8_t index, const char *name, unsigned len);
int vol_listxattr(struct vol_inode *inode, vol_xattr_fn fn, void *ctx) __must_check;

struct vol_xattr_set {
	uint8_t index;
	const char *name;
	const void *value;	/* NULL: remove */
	size_t size;
	bool create, replace;	/* -EEXIST, -ENODATA */
	bool set_mode;		/* in the same transaction (ACLs) */
	uint16_t mode;
};
/*
 * M EX. -ENODATA: nothing to remove. -ENOSPC, also when neither the inode nor its
 * external block have room. -EOPNOTSUPP: the volume has no extended attributes, or this
 * inode's are indexed.
 */
int vol_setxattr(struct vol_inode *inode, const struct vol_xattr_set *what) __must_check;

/* ---- deletion ----------------------------------------------------------------- */

/*
 * Free an orphan (fs-locking.md 5.4 steps 7 to 10): caller holds M EX and O EX and
 * checked steps 3 and 4. inode->wiped is set.
 */
int vol_wipe(struct vol_inode *inode) __must_check;
/* Names in slot's orphan directory; caller holds M(orphan_dir:slot) PR. dio: a
 * "dio-" entry. fn must not call back into the volume. */
int vol_orphans_each(struct vol *v, unsigned slot,
		     void (*fn)(void *ctx, blkno_t blkno, bool dio), void *ctx) __must_check;
/* A dio- orphan (disk.md 6.4): W EX, M EX held. Truncates to size, removes the entry. */
int vol_dio_orphan_end(struct vol_inode *inode) __must_check;

/* The truncate log holds something and its flush is due. */
bool vol_tl_due(struct vol *v);
/* Free what the truncate log holds (takes the bitmap's lock, checkpoints). */
int vol_tl_flush(struct vol *v) __must_check;

/* ---- a dead node's slot ---------------------------------------------------------- */

struct vol_salvage;
/*
 * fs-locking.md 7.2 b to e: replay the log if it is dirty and mark the journal clean,
 * empty local alloc and truncate log. Caller holds S EX and M(journal:slot) EX; takes no
 * locks by the hooks. *out: what the two held, for vol_salvage_finish.
 */
int vol_recover_slot(struct vol *v, unsigned slot, bool *replayed, struct vol_salvage **out,
		     struct reason *why) __must_check;
/* 7.5: give it back, under ordinary locks. */
int vol_salvage_finish(struct vol *v, struct vol_salvage *s) __must_check;
void vol_salvage_free(struct vol_salvage *s);

#endif
