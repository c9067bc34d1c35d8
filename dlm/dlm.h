/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * dlm.h: the distributed lock manager, public face.
 *
 * struct dlm is this node as a member of the cluster: its number, the node
 * table, who heartbeats, and the domains it is in (one a volume). It speaks
 * o2dlm 1.3 (doc/spec/dlm.md, doc/spec/cluster.md section 5), owns no thread,
 * socket or clock, and is driven by the inputs below from one thread. Effects
 * leave through struct dlm_transport; see transport.h for the contract.
 *
 * Callbacks (struct dlm_lock_ops, join and leave completions, eviction) are
 * effects too: they run on the caller's thread after the core's state is
 * complete, may take short mutexes, must not block, and must not call the core:
 * they hand work to others, who come back with new inputs.
 */
#ifndef O2FUSE_DLM_DLM_H
#define O2FUSE_DLM_DLM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "dlm/mode.h"
#include "dlm/transport.h"
#include "dlm/util/cleanup.h"
#include "dlm/util/log.h"

#define DLM_LVB_LEN 64
#define DLM_NAME_MAX 32
#define DLM_DOMAIN_MAX 64
#define DLM_MEMBER_KEY 0x666c6172u /* messages that precede membership */

/* Statuses, the wire's own numbers (dlm.md 2.3). The others exist on the wire only. */
enum dlm_status {
	DLM_NORMAL = 0,
	DLM_DENIED = 2,
	DLM_SYSERR = 8,
	DLM_CANCELGRANT = 10,
	DLM_IVLOCKID = 11,
	DLM_NOLOCKMGR = 17,
	DLM_BADARGS = 19,
	DLM_NOTQUEUED = 21,
	DLM_IVBUFLEN = 22,
	DLM_BADPARAM = 24,
	DLM_REJECTED = 26,
	DLM_FORWARD = 32,
	DLM_RECOVERING = 39,
	DLM_MIGRATING = 40,
};

/* Request flags, the wire's own bits (dlm.md 2.2). */
#define DLM_LKF_LOCAL 0x00000080u
#define DLM_LKF_VALBLK 0x00000100u
#define DLM_LKF_NOQUEUE 0x00000200u
#define DLM_LKF_CANCEL 0x00002000u
#define DLM_LKF_INVVALBLK 0x00008000u

struct dlm;
struct dlm_domain;
struct dlm_lock; /* handle of one lock that this node holds or wants */

/* ---- the node ------------------------------------------------------------ */

/* One row of the node table; only present rows are compared with a joiner's. */
struct dlm_table_entry {
	bool present;
	uint16_t port;	/* host order */
	uint32_t addr;	/* IPv4, host order */
};

struct dlm_config {
	node_t self;
	struct logger *log;	  /* borrowed, may be NULL */
	uint8_t proto_minor;	  /* highest DLM minor offered; 3 */
	uint32_t purge_ms;	  /* age at which an unused resource goes; 8000 */
};

/* tr and ctx are borrowed until dlm_free. NULL on lack of memory. */
struct dlm *dlm_new(const struct dlm_config *cfg, const struct dlm_transport *tr, void *ctx);
/* Drops everything without a message: after the last leave, or after a fence. */
void dlm_free(struct dlm *dlm);

/* Replace the node table used for QUERY_NODEINFO: NODE_MAX entries, copied. */
void dlm_set_table(struct dlm *dlm, const struct dlm_table_entry *table);
/* What time it is, in seconds from anywhere. For the ages in dumps only; nothing is decided
 * by it, so it may be told as rarely as ages may be wrong. */
void dlm_clock(struct dlm *dlm, uint32_t now_s);

/* ---- inputs from the transport ------------------------------------------- */

/* What to answer to a message. */
struct dlm_reply {
	uint32_t sys_status;	/* 0 handled, 1 no handler, 2 too long */
	int32_t status;		/* handler's result */
	/* Not 0: call dlm_reply_written once it is on the wire. Not needed if it never gets
	 * there: dlm_link_up and dlm_node_down of that peer stand for it. */
	uint64_t written_token;
};

/* A message from peer `from` (the link's node, not what the payload claims). */
struct dlm_reply dlm_message(struct dlm *dlm, node_t from, uint32_t key, uint16_t type,
			     const void *payload, size_t len);
void dlm_reply_written(struct dlm *dlm, uint64_t written_token);
/* Outcome of a send: err 0 and the peer's status, or a negative errno. */
void dlm_sent(struct dlm *dlm, uint64_t token, int err, int32_t status);
void dlm_timer(struct dlm *dlm, uint64_t id);
/* Heartbeat (the local node's own up comes too). For down see transport.h. */
void dlm_node_up(struct dlm *dlm, node_t node);
void dlm_node_down(struct dlm *dlm, node_t node);
/* The link to a live node became valid; epoch rises with each connection. */
void dlm_link_up(struct dlm *dlm, node_t node, uint32_t epoch);

/* ---- domains -------------------------------------------------------------- */

struct dlm_domain_ops {
	/* Join ended: err 0 (the domain can be used) or negative errno; why is one
	 * line for the administrator (peer, step, reason). After an error the
	 * domain object is gone. */
	void (*joined)(void *ctx, struct dlm_domain *dom, int err, const char *why);
	/* Leave ended; the object is gone. */
	void (*left)(void *ctx);
	/* A member died without saying goodbye. Emitted before any lock that the
	 * dead node blocked can be granted (fs-locking.md 7.1). */
	void (*evicted)(void *ctx, node_t node);
	/* Membership changed (join, clean leave, death), for events and status. */
	void (*members)(void *ctx, node_t node, bool joined);
};

struct dlm_domain_config {
	char name[DLM_DOMAIN_MAX];	/* NUL terminated, 1..63 characters */
	uint8_t fs_major, fs_minor;	/* file system locking protocol, 1.0 */
	const struct dlm_domain_ops *ops;
	void *ctx;
};

/* Start joining. -EEXIST if in that domain already, -ENOMEM, -EINVAL. */
int dlm_join(struct dlm *dlm, const struct dlm_domain_config *cfg,
	     struct dlm_domain **out) __must_check;
/* Give up all own locks first. Migrates what this node masters, then leaves. */
void dlm_leave(struct dlm_domain *dom);
/* Key of a domain: crc32 (seed 0, not inverted) of its name (cluster.md 5.1). */
uint32_t dlm_domain_key(const char *name);

/* ---- locks ---------------------------------------------------------------- */

/*
 * Every request call (lock, convert, unlock, cancel) is followed by exactly one
 * done(), which says whether the request was accepted. Then
 *
 *   lock, convert	accepted: exactly one ast(), unless it is cancelled first.
 *			Refused (NOTQUEUED, BADPARAM, ...): none; after a refused
 *			lock the handle is gone.
 *   unlock		accepted: exactly one unlock_ast(NORMAL), the handle is
 *			gone then. Refused (DENIED, BADPARAM): none.
 *   cancel		accepted: exactly one unlock_ast(): NORMAL, the request was
 *			taken back (a lock call: the handle is gone; a conversion:
 *			the old mode is kept) and no ast() comes; or CANCELGRANT,
 *			too late, the ast() came or will come.
 *
 * Callbacks are effects: they come when the core's state is complete, some of them before
 * the call that caused them has returned. So a lock that is refused at once is gone when
 * dlm_lock() returns, *out included: believe done().
 * A cancel waits until its request is accepted or refused; of one that is on no queue yet
 * it is refused with IVLOCKID. An unlock may be called while the answer to a cancel is
 * open, and waits for it; a second cancel or unlock is refused.
 * ast() may come before done(). bast(mode): this lock is in the way of mode; it
 * may be repeated, and may come while a conversion is under way.
 * lvb in ast(): the 64 bytes fetched with VALBLK, else NULL. All-zero = invalid.
 */
enum dlm_call { DLM_CALL_LOCK, DLM_CALL_CONVERT, DLM_CALL_UNLOCK, DLM_CALL_CANCEL };

struct dlm_lock_ops {
	void (*done)(void *data, enum dlm_call call, enum dlm_status status);
	void (*ast)(void *data, const uint8_t *lvb);
	void (*bast)(void *data, int mode);
	void (*unlock_ast)(void *data, enum dlm_status status);
};

/*
 * New lock on a resource of name_len bytes (binary). flags: LOCAL, VALBLK,
 * NOQUEUE. *out is valid at once and until the lock is gone (see above).
 * -ENOMEM or -EINVAL (name length) without any callback.
 */
int dlm_lock(struct dlm_domain *dom, const void *name, size_t name_len, int mode,
	     uint32_t flags, const struct dlm_lock_ops *ops, void *data,
	     struct dlm_lock **out) __must_check;
/*
 * Change the mode of a granted lock. flags: VALBLK, NOQUEUE. With VALBLK: from EX
 * the 64 bytes of lvb (copied) become the resource's value when the conversion is
 * granted; from NL or PR upwards the value comes with the AST; else ignored.
 */
void dlm_convert(struct dlm_lock *lock, int mode, uint32_t flags, const uint8_t *lvb);
/* Give a granted lock up. flags: VALBLK (lvb stored if held EX), INVVALBLK. */
void dlm_unlock(struct dlm_lock *lock, uint32_t flags, const uint8_t *lvb);
/* Take a pending lock or conversion back. */
void dlm_cancel(struct dlm_lock *lock);

/* ---- looking -------------------------------------------------------------- */

struct dlm_stats {
	uint64_t sent[64], received[64], refused[64]; /* by message number - 500 */
	uint64_t asts, basts, masters, migrations, purges;
	size_t resources, locks;
};

const struct dlm_stats *dlm_domain_stats(const struct dlm_domain *dom);
/* Members now: bit n of a 256 bit map. */
void dlm_domain_members(const struct dlm_domain *dom, uint8_t map[32]);

/* Walk over resources and locks, for dumps: one call per resource (lock NULL),
 * then one per lock of it. Records are valid during the call only. false ends it. */
struct dlm_dump_res {
	const uint8_t *name;
	size_t name_len;
	node_t owner;
	uint16_t state;		/* flags of dlm.md 1.3; dlm_state_name */
	const uint8_t *lvb;
	const uint8_t *refmap;	/* 32 bytes */
};
struct dlm_dump_lock {
	uint64_t cookie;
	node_t node;
	int mode, convert_mode;
	char queue;		/* 'G', 'C', 'B' */
	bool pending;		/* a request for it is open */
	uint32_t age_s;		/* on that queue, by dlm_clock */
};
/* The name of one flag of a resource's state, by its bit number; NULL: not shown. */
const char *dlm_state_name(unsigned int bit);
void dlm_domain_dump(struct dlm_domain *dom,
		     bool (*fn)(void *ctx, const struct dlm_dump_res *res,
				const struct dlm_dump_lock *lock),
		     void *ctx);

#endif
