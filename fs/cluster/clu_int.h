/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * clu_int.h: what the rooms of fs/cluster share (see clu.h for who lives where).
 *
 * Order of the mutexes, outer first: a stripe of the inode table, clu_inode.mutex,
 * clu.mutex. None of them is held across a lock-cache call that may wait, across a
 * kernel notification, or across I/O. The lock cache's own mutexes come after all.
 */
#ifndef O2FUSE_CLUSTER_CLU_INT_H
#define O2FUSE_CLUSTER_CLU_INT_H

#include <stdatomic.h>
#include "fs/cluster/clu.h"
#include "fs/cluster/inode_lvb.h"
#include "fs/cluster/lockname.h"

struct dlmlink;

enum { CLU_ITABLE_STRIPES = 64, CLU_ITABLE_BUCKETS = 64, CLU_TIMES = 16 };

/* When what happened in a recovery (timeline.c); 0: not yet, or not known. */
struct clu_times {
	node_t node;
	int64_t wall_ns;	/* CLOCK_REALTIME at declared_ns */
	int64_t silent_ns, declared_ns, locks_ns, replayed_ns, served_ns;
};

struct clu_itable {
	struct clu_istripe {
		pthread_mutex_t mutex;	/* the chains, and refs going to 0 */
		pthread_cond_t gone;	/* an inode left the table */
		struct clu_inode *bucket[CLU_ITABLE_BUCKETS];
	} stripe[CLU_ITABLE_STRIPES];
};

/* M lock of a system inode that is not the root (vol_inode.cluster points here). */
struct clu_sys {
	struct clu *clu;
	struct vol_inode *vi;
	enum vol_sysfile type;
	unsigned slot;
	bool used;		/* m is initialised */
	struct lc_lock m;
};

/* N(dir, child); lives as long as the child (dentry.c). */
struct clu_dentry {
	struct clu_inode *child;
	blkno_t dir;
	struct lc_lock n;
	struct clu_dentry *next; /* clu_inode.names */
};

struct clu {
	struct clu_config cfg;
	struct vol *vol;
	struct net *net;
	struct logger *log;
	struct lockcache *lc;
	struct dlmlink *link;
	struct dlm_domain *dom;
	node_t self;
	int slot;		/* -1: none yet */
	unsigned max_slots;
	int16_t *slots;		/* the slot map as of the last refresh of S; -1 = free */
	struct lc_lock s, r, y, p;
	struct clu_itable itable;
	struct clu_sys *sys;	/* [type * max_slots + slot] */

	struct clu_inode *root;	/* referenced while mounted */
	bool failed_alloc, slot_written, journal_held, slot_started; /* how far clu_mount came */

	atomic_bool stopped, kernel_gone;
	atomic_bool shared_mmap;	/* exclusive page mode where there are writers */
	atomic_bool mounted;	/* M requests may wait for recovery */

	pthread_mutex_t mutex;	/* the fields below */
	pthread_cond_t cond;	/* CLOCK_MONOTONIC */
	bool ending;		/* threads must end */
	uint8_t dead[NODE_MAX];	/* nodes whose recovery is pending */
	unsigned dead_count;
	struct clu_times times[CLU_TIMES]; /* a ring */
	unsigned times_n;
	uint32_t *recovery_generation; /* of each slot's journal, as last seen */
	uint8_t *clean_orphans;	/* per slot: CLU_CLEAN_* wanted */
	struct clu_salvage {
		struct vol_salvage *what;
		struct clu_salvage *next;
	} *salvage;		/* of dead nodes' slots, for the house */
	bool recovery_running;
	pthread_t recovery;
	struct clu_inode *late;	/* whose last reference a worker had: for the house */
	bool house_running;
	pthread_t house;
	bool scanner_running;
	pthread_t scanner;
	uint32_t scan_number, scan_seen; /* scan.c: of the holder of P EX */
};

/* clu->clean_orphans: what the housekeeping thread does to a slot's orphan directory. */
enum { CLU_CLEAN_ORPHANS = 1, CLU_CLEAN_DIO = 2, CLU_CLEAN_LOCAL = 4 };

/* ---- clu.c, house.c ---------------------------------------------------------------- */

/* What was changed under a lock cannot be brought home, and the lock is to be given away:
 * nobody may have it before this node's journal was replayed. So leave like one who died. */
void clu_cannot_write(struct clu *clu);

static inline bool clu_kernel_there(struct clu *clu)
{
	return !atomic_load_explicit(&clu->kernel_gone, memory_order_acquire);
}

/* R (directories moved to another parent), and Y (deletion, NFS handles): plain locks. */
int clu_rename_lock(struct clu *clu) __must_check;
void clu_rename_unlock(struct clu *clu);
int clu_nfs_lock(struct clu *clu, int level) __must_check;
void clu_nfs_unlock(struct clu *clu, int level);

/* M of a system inode, as the volume's hooks take it (orphan directories of any slot). */
int clu_sys_lock(struct clu *clu, struct vol_inode *vi, bool ex) __must_check;
void clu_sys_unlock(struct clu *clu, struct vol_inode *vi, bool ex);

/* ---- mlock.c: M locks of inodes and system inodes, with their rules ------------------- */

extern const struct lc_type clu_type_m, clu_type_m_sys;
extern const struct lc_type clu_type_w, clu_type_o, clu_type_r, clu_type_y, clu_type_p;

/* M name of an inode: system inodes, and only they, carry the fs generation (1.1). */
void clu_m_name(struct clu *clu, uint8_t name[LC_NAME_LEN], blkno_t blkno);
/* M locks of all system files that have one; vol_inode.cluster points to them. */
int clu_sys_init(struct clu *clu) __must_check;
void clu_sys_drop(struct clu *clu);

/* ---- inode.c, itable.c ------------------------------------------------------------------ */

/*
 * An inode that vol_create has just made; takes over the reference to vi. Asks for W EX,
 * M EX and O PR without waiting (3.3), so that they are on their way together with the N
 * that clu_dentry_attach_new asks for next. Before M(dir) is given back.
 */
int clu_new_inode(struct clu *clu, struct vol_inode *vi, struct clu_inode **out) __must_check;
/* clu_iget for orphans (7.5): O PR with NOQUEUE; -EAGAIN: somebody is wiping it. */
int clu_iget_orphan(struct clu *clu, blkno_t blkno, struct clu_inode **out) __must_check;
/* A holder of O PR for good; for a new inode, whose O was only asked for. */
int clu_ohold(struct clu_inode *ci) __must_check;
/* O(x) EX, NOQUEUE (5.4 step 5), as a second holder beside our PR. -EAGAIN: in use
 * elsewhere. Only within clu_orphan_evict, with M(x) held EX. */
int clu_olock_ex(struct clu_inode *ci) __must_check;
void clu_ounlock_ex(struct clu_inode *ci);
/*
 * Within clu_orphan_evict, when x lives on because O EX was refused: give O back while
 * M(x) is still held EX, so that whoever takes M(x) next and is the last finds it free.
 */
void clu_odrop(struct clu_inode *ci);

/* Referenced if it is in the table and not dying. create: made if it is not there
 * (detached), waiting for a dying one to go. */
int clu_itable_get(struct clu *clu, blkno_t blkno, bool create, struct clu_inode **out)
	__must_check;
/* true: that was the last reference; ci is dying, the caller evicts it, then forgets it. */
bool clu_itable_put(struct clu_inode *ci);
void clu_itable_forget(struct clu_inode *ci);
/* Every inode, dying now whatever its references, until there is none (unmount). */
struct clu_inode *clu_itable_take_any(struct clu *clu);
void clu_itable_init(struct clu *clu);
void clu_itable_destroy(struct clu *clu);
/* End of a dying inode: wipe if it must be, give back all locks, free. */
void clu_inode_evict(struct clu_inode *ci);
/* A reference for a worker, who may not evict: false if it is dying. The last one is
 * left to the housekeeping thread. */
bool clu_itable_hold(struct clu_inode *ci);
void clu_itable_put_worker(struct clu_inode *ci);

/* ---- dentry.c -------------------------------------------------------------------------- */

/* Drop all N locks of an inode that leaves memory. */
void clu_dentries_drop(struct clu_inode *ci);
/* BAST(EX) on a name of it: maybe orphaned; detached if no handle is open (12.3). */
void clu_inode_unlinked_elsewhere(struct clu_inode *ci);
/* This node took the last name of it: if no handle is open here, its end is now. Nothing
 * held; ci is referenced. */
void clu_inode_unlinked_here(struct clu_inode *ci);

/* ---- orphan.c ---------------------------------------------------------------------------- */

/*
 * The last reference of ci went and its link count is 0 or it may be orphaned: decide
 * and wipe (5.4 steps 1 to 10). Nothing held; ci stays valid; no worker thread. ci can
 * not be found by others meanwhile: use lc_lock(&ci->m, ...) directly, not clu_mlock.
 */
void clu_orphan_evict(struct clu_inode *ci);
/* Entries of slot's orphan directory (7.5); dio: also the dio- ones. */
int clu_orphan_scan_slot(struct clu *clu, unsigned slot, bool dio);

/* ---- attr.c ------------------------------------------------------------------------------- */

/* Within M: other tasks of this node may hold it too, so not without vi's sem. */
bool clu_is_dir(struct clu_inode *ci);
uint32_t clu_links(struct clu_inode *ci);
/* Send the attributes; M(ci) is held. */
void clu_attr_reply(struct clu_inode *ci, clu_attr_fn reply, void *ctx);

/* ---- pages.c ----------------------------------------------------------------------------- */

bool clu_pages_exclusive(struct clu_inode *ci);
void clu_pages_note(struct clu_inode *ci);
void clu_pages_served(struct clu_inode *ci, uint64_t off, uint64_t len);

/* ---- slotmap.c --------------------------------------------------------------------------- */

extern const struct lc_type clu_type_s;
/* Under S EX. */
int clu_slot_choose(struct clu *clu, struct reason *why) __must_check;
int clu_slot_write(struct clu *clu, unsigned slot, int node) __must_check;
int clu_slot_of(const struct clu *clu, node_t node); /* -1: none */

/* ---- recover.c ----------------------------------------------------------------------------- */

/* A member died (reactor): pending before this returns (7.1). silent_ns: when its link was
 * lost, CLOCK_MONOTONIC; 0 = not known. */
void clu_recovery_node(struct clu *clu, node_t node, int64_t silent_ns);
int clu_recovery_start(struct clu *clu) __must_check;
void clu_recovery_stop(struct clu *clu); /* clu.ending is set */
/* Remember every journal's recovery generation (6.2 step 9, 7.2 step 4). */
int clu_recovery_note_generations(struct clu *clu) __must_check;

/* ---- timeline.c ------------------------------------------------------------------------------ */

void clu_times_declared(struct clu *clu, node_t node, int64_t silent_ns); /* clu.mutex held */
void clu_times_locks(struct clu *clu);
/* Also tells the log. */
void clu_times_replayed(struct clu *clu, node_t node);
void clu_times_served(void *clu);
struct json_object *clu_times_json(struct clu *clu); /* clu.mutex held */

/* M of a slot's journal: held EX by the slot's owner while he lives. */
struct lc_lock *clu_journal_lock(struct clu *clu, unsigned slot);

/* ---- house.c: housekeeping thread: truncate log, orphans of slots, late puts ------------------- */

int clu_house_start(struct clu *clu) __must_check;
void clu_house_stop(struct clu *clu);

/* ---- scan.c: orphans that nobody frees --------------------------------------------- */
int clu_scan_start(struct clu *clu) __must_check;
void clu_scan_stop(struct clu *clu);
void clu_house_clean(struct clu *clu, unsigned slot, unsigned what);
/* Takes over the reference. */
void clu_house_put(struct clu *clu, struct clu_inode *ci);

/* ---- dlmlink.c ------------------------------------------------------------------------------- */

/* For struct lc_config; ctx is the link. The domain is set once it is joined. */
extern const struct lc_dlm dlmlink_ops;
struct dlmlink *dlmlink_new(struct net *net, struct logger *log);
void dlmlink_set_domain(struct dlmlink *k, struct dlm_domain *dom);
/* After the domain is gone (left or abandoned); waits until the reactor is done. */
void dlmlink_free(struct dlmlink *k);

/* ---- xattr.c: under M of the inode, EX if something changes ------------------------ */

/* Content or owner changes: capabilities of the file go. */
int clu_xattr_written(struct clu_inode *ci) __must_check;
/* chmod: an access ACL follows; 0 also if there is none. */
int clu_acl_chmod(struct clu_inode *ci, uint16_t mode) __must_check;
/* ACLs of an inode that is being made. */
struct clu_new_acl {
	void *access, *pass_on;	/* NULL: none; both of size */
	size_t size;
	uint16_t mode;		/* with access: permissions that belong to it */
};
/* M(dir) held. what->mode becomes that of the new inode, until clu_acl_new. */
int clu_acl_inherit(struct clu_inode *dir, uint16_t umask, struct vol_new *what,
		    struct clu_new_acl *out) __must_check;
int clu_acl_new(struct vol_inode *vi, const struct clu_new_acl *new) __must_check;
void clu_acl_new_free(struct clu_new_acl *new);

#endif
