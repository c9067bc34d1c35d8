/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * clu.h: a mounted volume with its cluster locks, as fs/fuse sees it.
 *
 * Which operation takes which lock is doc/spec/fs-locking.md section 4; the
 * functions here take them, call fs/volume and give them back (the level stays
 * cached). Rooms:
 *
 *	clu.c		mount and unmount (6.2, 6.3)
 *	slotmap.c	which slot is ours
 *	dlmlink.c	lock cache <-> DLM on the reactor
 *	inode.c		clu_inode: M, W, O and their rules for giving away
 *	dentry.c	N locks; names taken back
 *	lockname.c, inode_lvb.c	names and value blocks
 *	names.c, data.c, attr.c	operations
 *	pages.c		the kernel's page cache: served READs, giving away (12.4)
 *	orphan.c	who wipes, when (5.4)
 *
 * Order of locks: doc/spec/fs-locking.md 4.1. No function may be called with a
 * lock of this layer held.
 */
#ifndef O2FUSE_CLUSTER_CLU_H
#define O2FUSE_CLUSTER_CLU_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include "fs/cluster/lockcache.h"
#include "fs/volume/vol.h"
#include "net/net.h"

struct clu;
struct clu_dentry;

/*
 * What the kernel's caches must forget before a lock goes (section 12). Called from
 * downconvert workers with no mutex held; they block until it is done. After
 * clu_kernel_gone() they are not called any more.
 */
struct clu_kernel_ops {
	/* Attributes of an inode only. Covers the race with a first LOOKUP reply (12.3). */
	void (*inval_attr)(void *ctx, blkno_t blkno);
	/* The same, and its pages (or a directory's listing) in [off, off + len); len 0:
	 * to the end. Waits for the folios of unanswered READs: see pages.c. */
	void (*inval_pages)(void *ctx, blkno_t blkno, uint64_t off, uint64_t len);
	/* All names of child in parent (12.3 Names: PRUNE, EXPIRE_ONLY, INC_EPOCH). */
	void (*inval_names)(void *ctx, blkno_t parent, blkno_t child);
	/* Negative entries handed out in that directory. */
	void (*inval_negative)(void *ctx, blkno_t dir);
};

struct clu_config {
	struct vol *vol;
	struct net *net;
	int preferred_slot;	/* -1 = none */
	bool localflocks;
	bool acl, user_xattr;	/* POSIX ACLs, names with "user." (and the volume has them) */
	enum { CLU_ATIME_RELATIME, CLU_ATIME_NONE, CLU_ATIME_STRICT } atime;
	bool nodiratime;
	unsigned orphan_scan_ms; /* 0: as kernel nodes do, 300 s and a little */
	int atime_quantum_s;	/* strict: so long it is not written again */
	/* Recovery thread, S EX held, before the journal of a dead node is replayed: return 0
	 * when it can write no more; else it is tried again. NULL: nothing to do. */
	int (*fence_node)(void *ctx, node_t node);
	/* This node must leave the cluster, see clu_cannot_write. Any thread, no mutex held. */
	void (*fence)(void *ctx, const char *why);
	void *fence_ctx;
	const struct clu_kernel_ops *kernel;
	void *kernel_ctx;
	struct logger *log;
};

/* The hooks to give to vol_open; ctx is the address of a struct clu *, filled in by
 * clu_mount (NULL before: no locks are taken). */
extern const struct vol_hooks clu_vol_hooks;

/*
 * fs-locking.md 6.2 steps 3 to 12. Heartbeat runs and all live nodes are connected
 * already. Joins the domain, takes a slot, starts its journal, cleans up after a
 * crash of our own. Blocks. EXIT_CLUSTER, EXIT_PEER, EXIT_SLOTS, EXIT_JOURNAL.
 */
int clu_mount(const struct clu_config *cfg, struct clu **out, struct reason *why) __must_check;
/* 6.3; the kernel's mount is gone. fenced: send and write nothing. */
void clu_unmount(struct clu *clu, bool fenced);
/* Shut everything: waiters and later operations get -EIO. Any thread, never blocks. */
void clu_stop(struct clu *clu);
/* The FUSE connection is gone: no notifications any more (12.8 Unmount). */
void clu_kernel_gone(struct clu *clu);
struct vol *clu_vol(struct clu *clu);
int clu_slot(const struct clu *clu);
/* "locks, slots, recovery" part of the status; no blocking. */
struct json_object;
void clu_status(struct clu *clu, struct json_object *into);

/* ---- inodes ------------------------------------------------------------------- */

/*
 * attached: O is held as holder, and what vi says was true when M was last held here.
 * Detached (12.3): the kernel still counts lookups, but O was given back because the
 * inode may have been unlinked elsewhere; the next request attaches it again, or
 * finds it dead.
 */
struct clu_inode {
	struct clu *clu;
	struct vol_inode *vi;
	struct lc_lock m, w, o;

	pthread_mutex_t mutex;	/* the fields below */
	pthread_cond_t cond;
	unsigned refs;		/* operations, handles, and one for lookups > 0 */
	unsigned opens;		/* open handles (5.1, 12.3) */
	unsigned writers;	/* of these, open for writing */
	bool attached;
	bool attaching;		/* a task attaches or retires it: wait on cond */
	bool dying;		/* the last reference went: it is being evicted */
	bool wiping;		/* dying, and may wait for cluster locks to wipe it */
	atomic_bool wiped;	/* wiped here: no checkpoint, no value block */
	bool maybe_orphaned;	/* somebody unlinked it (5.2) */
	bool unnamed;		/* no N was held since the last one was given away (5.4) */
	bool o_ready, w_ready;	/* o, w are initialised */
	bool o_held;		/* a holder of O is ours */
	unsigned w_users;	/* in clu_wlock .. clu_wunlock */
	uint32_t generation;	/* of vi, when it was attached */
	bool pages_valid;	/* the kernel may have pages of it (12.4); pages.c */
	uint64_t served_from, served_to; /* READ while giving away; empty: from >= to */
	bool giving;		/* pages are being given away */
	bool attrs_out;		/* attributes with validity were handed out */
	bool negatives_out;	/* directory: negative entries with validity */
	uint64_t lockgen;	/* counted up whenever M was given down to NL */
	uint64_t open_lockgen;	/* lockgen when opens left 0 */
	uint64_t lookups;	/* FUSE lookup count; kept by fs/fuse under mutex */
	uint32_t lookup_generation; /* of the last entry reply */
	bool lookups_mixed;	/* some are of an older inode of the same block */
	struct timespec replied; /* the last entry reply, CLOCK_MONOTONIC */
	struct clu_dentry *names; /* N locks in which it is the child */
	struct clu_inode *hash_next, *late_next; /* the table's, the house's */
};

/* The inode by number, referenced, attached (O PR held, dinode read). -ESTALE: it is
 * not a live inode any more. Takes M PR for a moment if it had to attach. */
int clu_iget(struct clu *clu, blkno_t blkno, struct clu_inode **out) __must_check;
/* In memory only; NULL if not there. */
struct clu_inode *clu_ifind(struct clu *clu, blkno_t blkno);
void clu_ihold(struct clu_inode *ci);
/* Last one: gives the locks back, wipes an orphan (5.4). Not on a worker, no lock held. */
void clu_iput(struct clu_inode *ci);

/*
 * M(x) at DLM_MODE_PR or EX as holder, attaching a detached inode again first.
 * -ESTALE: dead meanwhile. Attributes in ci->vi are current until clu_munlock.
 */
int clu_mlock(struct clu_inode *ci, int level, unsigned flags) __must_check;
void clu_munlock(struct clu_inode *ci, int level);
/* Both return 1 instead of 0 if they were served through LC_PRESENT (pages.c). */
int clu_wlock(struct clu_inode *ci, int level, unsigned flags) __must_check;
void clu_wunlock(struct clu_inode *ci, int level);

/* N(dir, child) attached at PR: to be done while M(dir) is held, for every name that is
 * made known to the kernel (5.2). The lock object lives as long as the child's
 * clu_inode, that is while the kernel knows it (lookups > 0) or an operation uses it. */
int clu_dentry_attach(struct clu_inode *dir, struct clu_inode *child) __must_check;
/* The same for a child just created: also waits for what clu_new_inode asked for. */
int clu_dentry_attach_new(struct clu_inode *dir, struct clu_inode *child) __must_check;
/* N(dir, child) EX taken and dropped: other nodes drop their names. M(dir), M(child)
 * are held EX. */
int clu_dentry_take_ex(struct clu_inode *dir, struct clu_inode *child) __must_check;

/* ---- operations ------------------------------------------------------------------ */

struct clu_attr {
	blkno_t blkno;
	uint16_t mode;
	uint32_t uid, gid, nlink, generation;
	uint64_t size, blocks512, rdev;
	uint32_t blksize;
	struct timespec atime, mtime, ctime;
};

struct clu_cred {
	uint32_t uid, gid;
};

/*
 * Reply while locks are held: attributes and entries with validity must reach the
 * kernel before M (M(dir) for entries) is given back (12.3). So operations that
 * answer with them take a function that sends the reply; it is called exactly once,
 * on success, with the locks held, and must not block on anything but /dev/fuse.
 */
typedef void (*clu_attr_fn)(void *ctx, struct clu_inode *ci, const struct clu_attr *attr);

int clu_lookup(struct clu_inode *dir, const char *name, clu_attr_fn reply, void *ctx) __must_check;
int clu_getattr(struct clu_inode *ci, clu_attr_fn reply, void *ctx) __must_check;
/* valid: VOL_SET_*, plus size. */
struct clu_setattr {
	struct vol_setattr vol;
	bool set_size;
	uint64_t size;
	bool kill_suid;
};
int clu_setattr(struct clu_inode *ci, const struct clu_setattr *what, clu_attr_fn reply,
		void *ctx) __must_check;
/* create, mknod, mkdir, symlink; a setgid directory passes its group on. The directory's
 * default ACL takes the place of umask. */
int clu_create(struct clu_inode *dir, const char *name, const struct vol_new *what,
	       uint16_t umask, clu_attr_fn reply, void *ctx) __must_check;
int clu_link(struct clu_inode *ci, struct clu_inode *dir, const char *name,
	     clu_attr_fn reply, void *ctx) __must_check;
int clu_unlink(struct clu_inode *dir, const char *name, bool rmdir) __must_check;
int clu_rename(struct clu_inode *old_dir, const char *old_name, struct clu_inode *new_dir,
	       const char *new_name, bool noreplace) __must_check;
int clu_readdir(struct clu_inode *dir, uint64_t pos, vol_readdir_fn fn, void *ctx) __must_check;
int clu_readlink(struct clu_inode *ci, char *buf, size_t room) __must_check; /* length */

/* Extended attributes by their full names; ACLs in the form of programs (acl.h). *size is
 * what is needed, also with -ERANGE. -ENODATA; -EOPNOTSUPP: no such kind of name, or it
 * is switched off, or the volume cannot. */
int clu_getxattr(struct clu_inode *ci, const char *name, void *to, size_t room,
		 size_t *size) __must_check;
/* Names, each with its NUL. trusted: those of "trusted." as well. */
int clu_listxattr(struct clu_inode *ci, bool trusted, char *to, size_t room,
		  size_t *size) __must_check;
struct clu_xattr {
	const char *name;
	const void *value;	/* NULL: remove */
	size_t size;
	bool create, replace;
	bool drop_sgid;		/* with an access ACL: the caller is not in the file's group */
};
int clu_setxattr(struct clu_inode *ci, const struct clu_xattr *what) __must_check;

/* An open handle: counts in opens and writers, keeps O. -ESTALE, -ENOENT (wiped). */
int clu_open(struct clu_inode *ci, bool writing) __must_check;
void clu_close(struct clu_inode *ci, bool writing);
/* reply is called with the data while M is held (12.4: before the lock can go). It may
 * stay in the kernel's page cache: a fault through a direct handle looks like a read. */
typedef void (*clu_data_fn)(void *ctx, const void *buf, size_t len);
int clu_read(struct clu_inode *ci, void *buf, size_t len, uint64_t off, clu_data_fn reply,
	     void *ctx) __must_check;
/*
 * vol_seek under M PR. Where pages may be dirty that nobody has sent yet (a store through
 * a mapping into a hole), all up to the end of file is said to be data.
 */
int clu_seek(struct clu_inode *ci, uint64_t off, bool hole, uint64_t *out) __must_check;
/* It was read: write its atime if that is due by the mount's rule (4.3). After the reply,
 * with nothing held: may take M EX. */
void clu_accessed(struct clu_inode *ci);
int clu_write(struct clu_inode *ci, const void *buf, size_t len, uint64_t off, bool append,
	      bool kill_suid, size_t *done) __must_check;
/* vol_fallocate under W EX and M EX. */
int clu_fallocate(struct clu_inode *ci, uint64_t off, uint64_t len, unsigned how) __must_check;
/* Dirty pages of a mapping; what lies behind the end of file is dropped. */
int clu_write_pages(struct clu_inode *ci, const void *buf, size_t len, uint64_t off) __must_check;
int clu_fsync(struct clu_inode *ci, bool datasync) __must_check;
int clu_statfs(struct clu *clu, struct vol_statfs *out) __must_check;

/* ---- pages (pages.c) ----------------------------------------------------------------- */

/* Work before M(ci) goes to NL: every page (and the attributes) the kernel has of it is
 * gone when this returns. Downconvert worker, nothing held. */
void clu_pages_give_away(struct clu_inode *ci);
/* Work before l (W or M of ci) is lowered from EX: in exclusive page mode every page is
 * written and gone; else nothing. */
void clu_pages_give_away_exclusive(struct clu_inode *ci, struct lc_lock *l);
/* The kernel allows shared mappings of files that do direct I/O (12.4 variant A): from
 * now on inodes with writers are in exclusive page mode. Before the first open. */
void clu_set_shared_mmap(struct clu *clu);

/* flock (3.10): one object per open handle. */
struct clu_flock;
/* Wakes one call of clu_flock_set() that waits, from any thread. Destroyed when nobody can
 * call clu_interrupt() with it any more. */
struct lc_lock;
struct clu_interrupt {
	pthread_mutex_t mutex;
	struct lc_lock *waits_for;
	atomic_bool on;
};
void clu_interrupt_init(struct clu_interrupt *i);
void clu_interrupt_destroy(struct clu_interrupt *i);
void clu_interrupt(struct clu_interrupt *i);
/* intr NULL: -EAGAIN instead of waiting. Else waits; -EINTR after clu_interrupt(). */
int clu_flock_set(struct clu_inode *ci, struct clu_flock **fl, int level,
		  struct clu_interrupt *intr) __must_check;
void clu_flock_free(struct clu_flock *fl);

#endif
