/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * journal_int.h: what the parts of the journal share (doc/spec/disk.md section 8).
 *
 *	journal.c	     handles: the running transaction
 *	journal_commit.c     freeze it, write it to the log
 *	journal_checkpoint.c write committed blocks home, move the log's tail
 *	journal_file.c	     the journal file: its blocks, its super block
 *	journal_life.c	     opening, background thread, closing
 *	replay.c	     what a crash left in the log
 *
 * A transaction's life, and who may touch it:
 *
 *	running	   handles change blocks; list under mutex
 *	frozen	   no handle can see it; images of its blocks are taken, and go to the
 *		   log; belongs to the holder of commit_mutex
 *	committed  durable in the log; images wait to go home; list under mutex, images
 *		   read-only
 *	gone	   home, and the tail on the disk has passed it
 *
 * Order of mutexes: commit_mutex, checkpoint_mutex, super_mutex, mutex, those of
 * bcache.c. Only the first three are held across I/O, never by a thread that has a
 * handle open.
 */
#ifndef O2FUSE_VOLUME_JOURNAL_INT_H
#define O2FUSE_VOLUME_JOURNAL_INT_H

#include "fs/volume/bcache_int.h"

/* ---- on the disk: all big-endian ------------------------------------------------ */

#define JBD_MAGIC 0xc03b3998U

enum jbd_type { JBD_DESCRIPTOR = 1, JBD_COMMIT = 2, JBD_SUPER_V1 = 3, JBD_SUPER_V2 = 4, JBD_REVOKE = 5 };
enum jbd_flag { JBD_ESCAPE = 1, JBD_SAME_UUID = 2, JBD_DELETED = 4, JBD_LAST = 8 };
enum jbd_feature {
	JBD_COMPAT_CHECKSUM = 1,
	JBD_INCOMPAT_REVOKE = 1, JBD_INCOMPAT_64BIT = 2, JBD_INCOMPAT_ASYNC_COMMIT = 4,
};

struct jbd_header {
	uint32_t magic, type, sequence;
};

struct jbd_super {
	struct jbd_header h;
	uint32_t blocksize, maxlen, first;
	uint32_t sequence, start;
	int32_t error;
	uint32_t compat, incompat, ro_compat;
	uint8_t uuid[16];
	uint32_t users;
	uint8_t rest[1024 - 68];
};
_Static_assert(sizeof(struct jbd_super) == 1024, "journal super block");

struct jbd_commit {
	struct jbd_header h;
	uint8_t checksum_type, checksum_size, pad[2];
	uint32_t checksum[8];
	uint64_t sec;
	uint32_t nsec;
} __attribute__((packed));
_Static_assert(offsetof(struct jbd_commit, sec) == 48, "commit block");

#define JBD_UUID 16 /* bytes after the first tag of a descriptor */

static inline unsigned jbd_tag_bytes(uint32_t incompat)
{
	return incompat & JBD_INCOMPAT_64BIT ? 12 : 8;
}

/* Tags in a descriptor: it is full when less than a tag and a UUID are left. */
static inline unsigned jbd_tags(unsigned blocksize, unsigned tag_bytes)
{
	return (blocksize - (unsigned)sizeof(struct jbd_header) - 2 * JBD_UUID) / tag_bytes;
}

/* ---- the file -------------------------------------------------------------------- */

struct jfile {
	struct vol *v;
	unsigned slot;
	struct vol_inode *inode;
	struct jextent {
		uint32_t first, len;	/* blocks of the log */
		blkno_t blkno;
	} *extents;
	unsigned n;
	struct jbd_super *super;	/* a copy, whole blocks, disk order */
	size_t super_len;
	uint32_t maxlen, first;
	unsigned tag_bytes;
};

/* The caller holds M(journal:slot). Reads afresh; checks all of it. */
int jfile_open(struct vol *v, unsigned slot, struct jfile *out, struct reason *why) __must_check;
void jfile_close(struct jfile *f);
/* n blocks from log block `block` on; the range may pass the end of the log once. */
int jfile_read(struct jfile *f, uint32_t block, uint32_t n, void *buf) __must_check;
int jfile_write(struct jfile *f, uint32_t block, uint32_t n, const void *buf) __must_check;
/* n blocks after b, going round at the end of the log. */
uint32_t jfile_advance(const struct jfile *f, uint32_t b, uint32_t n);
/* Not flushed. start 0: the log is empty. */
int jfile_write_super(struct jfile *f, uint32_t start, uint32_t sequence) __must_check;
/* Change the dinode in place, flushed: dirty flag; one more recovery. */
int jfile_mark(struct jfile *f, bool dirty, bool recovered) __must_check;

/* ---- replay.c ---------------------------------------------------------------------- */

struct replay_stats {
	unsigned transactions, blocks;
	uint32_t next; /* sequence to go on with */
};
/* Put what is complete in the log in place, make the log empty, both durable. */
int replay_log(struct jfile *f, struct replay_stats *out, struct reason *why) __must_check;

/* ---- transactions ------------------------------------------------------------------ */

struct block_image {
	struct buf *b;		/* pinned by in_log */
	enum blk_type type;	/* at the freeze; b may become something else */
	uint8_t *data;		/* in txn->area */
};

struct freed_run {
	uint32_t cluster, count;
};

struct txn {
	struct txn *next;
	uint64_t id;		/* of this mount, from 1; the log's sequence is seq */
	int64_t born_ms;	/* first block joined */
	unsigned handles;	/* open */
	unsigned reserved;	/* credits of open handles, not used yet */
	struct buf **bufs;
	unsigned nbufs, max_bufs;
	struct freed_run *freed;
	unsigned nfreed, max_freed;
	/* from the freeze on */
	uint8_t *area;		/* the transaction as it lies in the log */
	uint32_t area_blocks;
	struct block_image *images;	/* nbufs */
	uint32_t seq, log_start;
};

struct jhandle {
	struct journal *j;
	struct txn *txn;
	unsigned left;		/* credits */
};

struct journal {
	struct vol *v;
	struct jfile file;
	bool recovered;		/* the dirty flag was set when it was opened */
	unsigned max_bufs;	/* of a transaction */
	uint32_t log_room;	/* blocks of the log but its super block */

	pthread_mutex_t commit_mutex;
	pthread_mutex_t checkpoint_mutex;
	pthread_mutex_t super_mutex;
	bool super_empty;	/* the disk says s_start = 0; under super_mutex */

	pthread_mutex_t mutex;
	pthread_cond_t cond;	/* barrier opened, last handle closed */
	bool barrier;		/* no new handles */
	int error;		/* nothing will be written any more */
	_Atomic uint64_t next_id; /* changed under mutex */
	struct txn *running;
	struct txn *frozen;	/* being committed */
	struct txn *committed, **committed_end;
	uint32_t next_seq, head, log_used;
	size_t image_bytes;	/* of committed transactions */
	atomic_uint nfreed;	/* runs in running and frozen */
	_Atomic uint64_t committed_id, home_id; /* all up to these are durable / checkpointed */

	pthread_t maintainer;	/* may write to a volume that is read-only for users */
	atomic_bool maintained;

	pthread_t thread;
	bool has_thread, stopping, kicked;
	pthread_cond_t thread_cond;
};

int64_t journal_now_ms(void);
/* Stop everything: an error of the journal. Returns err. */
int journal_fail(struct journal *j, int err, const char *what);
/* Commit the running transaction; commit_mutex is held. *did: something was. */
int journal_commit_running(struct journal *j, bool *did) __must_check;
/* All committed transactions go home and the tail passes them. No mutex but
 * commit_mutex may be held. */
int journal_checkpoint(struct journal *j) __must_check;
void txn_free(struct txn *t);
/* The background thread should look. mutex is held. */
void journal_kick(struct journal *j);
int journal_start(struct journal *j, struct reason *why) __must_check;
void journal_free(struct vol *v);

#endif
