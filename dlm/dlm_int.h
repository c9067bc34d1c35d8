/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * dlm_int.h: what the files of dlm/ share. Private to this folder and to
 * the tests that look in.
 *
 * Shape. Every input of dlm.h runs between dlm_enter() and dlm_exit(). In between only
 * state changes; effects (sends, timers, callbacks) are appended to one queue.
 * dlm_exit() first brings each domain to rest (dlm_domain_work: ops that may go on,
 * dirty resources), then lets the effects out in order, then frees domains that are
 * gone. So no effect ever sees, or re-enters, a half-done step.
 *
 * Ownership. A domain owns its resources, mles and ops. A resource owns the locks on its
 * queues. A lock of this node is on a queue, or has an op that will put it there. Nothing
 * counts references: an object goes away in one place, which first forgets the sends and
 * timers that would come back to it.
 *
 * Order. Everything iterates by insertion or by node number, never by hash or pointer.
 */
#ifndef O2FUSE_DLM_INT_H
#define O2FUSE_DLM_INT_H

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <urcu/list.h>
#include "dlm/dlm.h"
#include "dlm/wire.h"

/* ---- sets of nodes -------------------------------------------------------- */

struct dlm_map {
	uint64_t w[4];
};

static inline void dlm_map_set(struct dlm_map *m, node_t n)
{
	m->w[n >> 6] |= 1ull << (n & 63);
}
static inline void dlm_map_clear(struct dlm_map *m, node_t n)
{
	m->w[n >> 6] &= ~(1ull << (n & 63));
}
static inline bool dlm_map_test(const struct dlm_map *m, node_t n)
{
	return m->w[n >> 6] >> (n & 63) & 1;
}
static inline bool dlm_map_empty(const struct dlm_map *m)
{
	return !(m->w[0] | m->w[1] | m->w[2] | m->w[3]);
}
static inline bool dlm_map_equal(const struct dlm_map *a, const struct dlm_map *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}
/* a without b */
static inline struct dlm_map dlm_map_minus(const struct dlm_map *a, const struct dlm_map *b)
{
	struct dlm_map m;

	for (int i = 0; i < 4; i++)
		m.w[i] = a->w[i] & ~b->w[i];
	return m;
}
/* Lowest member >= from, NODE_NONE if there is none. */
static inline node_t dlm_map_next(const struct dlm_map *m, unsigned int from)
{
	for (; from < NODE_MAX; from = (from | 63) + 1) {
		uint64_t w = m->w[from >> 6] >> (from & 63);

		if (w)
			return (node_t)(from + (unsigned int)__builtin_ctzll(w));
	}
	return NODE_NONE;
}
static inline unsigned int dlm_map_count(const struct dlm_map *m)
{
	unsigned int n = 0;

	for (int i = 0; i < 4; i++)
		n += (unsigned int)__builtin_popcountll(m->w[i]);
	return n;
}
void dlm_map_to_bytes(const struct dlm_map *m, uint8_t out[32]); /* bit n & 7 of byte n >> 3 */
#define dlm_map_for_each(n, map)                                                          \
	for (node_t n = dlm_map_next(map, 0); n != NODE_NONE; n = dlm_map_next(map, n + 1u))

/* ---- the node, effects, sends, timers (dlm.c, effect.c) --------------------- */

/* Outcome of one send: err 0 and the peer's status, or a negative errno. */
typedef void (*dlm_sent_fn)(void *arg, node_t node, int err, int32_t status);
typedef void (*dlm_timer_fn)(void *arg);

/* A timer, embedded in what it belongs to. id 0: not set. */
struct dlm_tm {
	uint64_t id;
	dlm_timer_fn fn;
	void *arg;
};

/* One open send, set timer, or reply that is not on the wire yet: token = gen << 32 | index + 1. */
struct dlm_slot {
	uint32_t gen;
	uint32_t next_free;
	uint8_t kind; /* SLOT_* */
	node_t node;
	uint16_t type; /* message */
	struct dlm_domain *dom;
	dlm_sent_fn fn; /* NULL: nobody waits any more */
	void *arg;	/* SLOT_TIMER: the struct dlm_tm */
};

/* Why a message about membership was refused (domain.c). */
enum dlm_refusal { DLM_REFUSED_MALFORMED, DLM_REFUSED_OUT_OF_TURN, DLM_REFUSALS };

struct dlm {
	struct dlm_config cfg;
	struct logger *log;
	const struct dlm_transport *tr;
	void *ctx;
	node_t self;

	struct dlm_table_entry table[NODE_MAX]; /* dlm_set_table */
	struct dlm_map live;			/* who heartbeats, self included */

	struct cds_list_head domains; /* struct dlm_domain.link */
	/* By cause and message: of which nodes a refusal was logged. */
	struct dlm_map refusals_told[DLM_REFUSALS][DLM_MSG_LAST - DLM_MSG_FIRST + 1];
	uint64_t cookie_seq;	      /* process-wide, 56 bits, never 0 */
	uint64_t mig_cookie_seq;

	struct dlm_slot *slots;
	uint32_t nr_slots, free_slot; /* free_slot: index + 1, 0 none */

	uint8_t *fx; /* effects of this input, packed records */
	size_t fx_len, fx_room;
	uint32_t now_s; /* dlm_clock */
	bool inside;  /* an input is running */
	bool fencing; /* out of memory: only die */
};

/* Every public function that changes state: enter first, exit last. */
void dlm_enter(struct dlm *dlm);
void dlm_exit(struct dlm *dlm);

uint64_t dlm_next_cookie(struct dlm *dlm);
/* Memory that must be there: without it the volumes are fenced and the process aborts. */
void *dlm_xalloc(struct dlm *dlm, size_t bytes);

/*
 * Send a message; fn(arg, node, err, status) gets its one outcome, never before this
 * input is over. The key follows from the type. The returned token can be forgotten: the
 * outcome then goes nowhere. fn may be NULL.
 */
uint64_t dlm_send(struct dlm_domain *dom, node_t to, uint16_t type, const void *payload,
		  size_t len, dlm_sent_fn fn, void *arg);
void dlm_send_forget(struct dlm *dlm, uint64_t token);
/* All whose outcome goes to arg. Walks every open send: not for the common case. */
void dlm_sends_forget(struct dlm *dlm, const void *arg);
/* Has a message to that node no outcome yet, whoever waits for it? For check.c. */
bool dlm_sends_open(const struct dlm *dlm, node_t to);
/* Forget every send and timer of a domain that goes away. */
void dlm_slots_drop(struct dlm_domain *dom);

static inline void dlm_tm_init(struct dlm_tm *t, dlm_timer_fn fn, void *arg)
{
	*t = (struct dlm_tm){ .fn = fn, .arg = arg };
}
/* Fire once in ms; setting again moves it. */
void dlm_tm_set(struct dlm_domain *dom, struct dlm_tm *t, uint32_t ms);
void dlm_tm_clear(struct dlm_domain *dom, struct dlm_tm *t);

/* fn(arg, node, 0, 0) once the reply of this input is on the wire, or the link is gone. */
uint64_t dlm_reply_token(struct dlm_domain *dom, node_t to, dlm_sent_fn fn, void *arg);

void dlm_replies_lost(struct dlm *dlm, node_t node);

/* Callbacks as effects: everything is copied, the objects may go away at once. */
void dlm_fx_done(struct dlm *dlm, const struct dlm_lock_ops *ops, void *data,
		 enum dlm_call call, enum dlm_status status);
void dlm_fx_ast(struct dlm *dlm, const struct dlm_lock_ops *ops, void *data,
		const uint8_t *lvb);
void dlm_fx_bast(struct dlm *dlm, const struct dlm_lock_ops *ops, void *data, int mode);
void dlm_fx_unlock_ast(struct dlm *dlm, const struct dlm_lock_ops *ops, void *data,
		       enum dlm_status status);
/* joined: out is dom with err 0, else NULL. */
void dlm_fx_joined(struct dlm_domain *dom, int err, const char *why);
void dlm_fx_left(struct dlm_domain *dom);
void dlm_fx_evicted(struct dlm_domain *dom, node_t node);
void dlm_fx_members(struct dlm_domain *dom, node_t node, bool joined);
void dlm_fx_key(struct dlm_domain *dom, bool open);
void dlm_fx_fence(struct dlm_domain *dom, const char *why);

/* ---- a domain ------------------------------------------------------------- */

enum dlm_dom_state {
	DLM_DOM_NEW = 0,
	DLM_DOM_JOINED = 1,
	DLM_DOM_IN_SHUTDOWN = 2, /* migrating away, still serves */
	DLM_DOM_LEAVING = 3,
};

struct dlm_res;
struct dlm_mle;
struct dlm_op;
struct dlm_membership; /* domain.c's own: the attempt to join or leave */
struct dlm_reco;       /* this node's work as recovery master: reco_master.c */
struct dlm_reco_send;  /* its locks on their way to a recovery master: reco_peer.c */

/* A lock that a peer gave up; a repetition of its UNLOCK after a link loss gets 0. */
struct dlm_gone {
	uint64_t cookie;
	node_t node;
};
#define DLM_GONE_MAX 256

/* The purge age in ticks, the running tick, and the one that is served. */
#define DLM_PURGE_TICKS 8
#define DLM_PURGE_LISTS (DLM_PURGE_TICKS + 2)

struct dlm_domain {
	struct cds_list_head link;
	struct dlm *dlm;
	struct dlm_domain_config cfg;
	uint32_t key;
	enum dlm_dom_state state;
	bool gone; /* dlm_exit frees it (and calls dlm_locks_free) */

	/* Membership, written by domain.c (and by dlm_member_died for a death). */
	node_t joining_node; /* 255: nobody */
	struct dlm_map live, members, exiting;
	uint8_t dlm_minor, fs_minor;
	struct dlm_membership *ms;

	/* Recovery (dlm.md 9). */
	struct dlm_map recovery; /* dead members whose locks are not recovered */
	struct {
		node_t dead_node, new_master;
		bool active;   /* lock and convert calls wait */
		bool finalize; /* stage 1 seen, stage 2 not yet */
		bool served;   /* new_master (the last one) has asked for our locks */
		bool kick;     /* dlm_reco_look() at the end of this input */
		bool won;      /* `lock` is granted, and not used yet */
		bool leavers;  /* a dead node was leaving: it may have handed over */
		node_t redo;   /* may have to be recovered again: see reco_peer.c */
		node_t insist; /* goes first: see reco_elect.c */
		uint8_t insisted; /* announcements refused for its sake */
		struct dlm_lock *lock;	/* on $RECOVERY */
		struct dlm_reco *lead;
		struct dlm_reco_send *send;
		struct dlm_tm tm;
	} reco;
	bool migrate_done; /* a leaving node has emptied its table */

	/* Resources: by name, and in order of creation. */
	struct dlm_res **hash;
	size_t hash_mask;
	struct cds_list_head all;
	struct dlm_mle **mle_hash;
	struct cds_list_head mles;

	struct cds_list_head ops; /* every request of this node that has not ended */

	/* Work at the end of an input. */
	struct cds_list_head run;   /* ops that may go on */
	struct cds_list_head dirty; /* resources to shuffle and deliver */
	/* Unused resources: the list of each tick, then in order of time. */
	struct cds_list_head purge[DLM_PURGE_LISTS];
	unsigned int unused;	    /* on these lists */
	struct cds_list_head wait_reco;
	bool stalled; /* some resource has an AST or BAST to repeat */
	bool kick;    /* leaving: look at the table again */
	bool leave_begun; /* dlm_leave_pass was called once */
	unsigned int migrating; /* resources on their way out */
	uint32_t tick; /* purge clock: purge_ms / DLM_PURGE_TICKS each */
	struct dlm_tm tick_tm, work_tm, stall_tm;

	struct dlm_gone gone_locks[DLM_GONE_MAX];
	unsigned int gone_next;

	/* By message: of which nodes a refusal was logged. */
	struct dlm_map refusals_told[DLM_MSG_LAST - DLM_MSG_FIRST + 1];

	struct dlm_stats stats;
};

static inline bool dlm_domain_up(const struct dlm_domain *dom)
{
	return dom->state == DLM_DOM_JOINED || dom->state == DLM_DOM_IN_SHUTDOWN;
}
static inline bool dlm_is_self(const struct dlm_domain *dom, node_t n)
{
	return n == dom->dlm->self;
}
struct dlm_domain *dlm_domain_by_key(struct dlm *dlm, uint32_t key);
struct dlm_domain *dlm_domain_by_name(struct dlm *dlm, const char *name, size_t len);

/* -- domain.c: membership (cluster.md 5) -- */

/* Messages 510 to 513 and 519 to 521. dom: by key for 513 and 521, else NULL. */
struct dlm_reply dlm_domain_message(struct dlm *dlm, struct dlm_domain *dom, node_t from,
				    uint16_t type, const void *payload, size_t len);
/* dlm->live has changed already. Down: calls dlm_member_died() if node is a member. */
void dlm_domain_node_up(struct dlm_domain *dom, node_t node);
void dlm_domain_node_down(struct dlm_domain *dom, node_t node);
/* While leaving: the last resource is gone. Called at the end of an input, often. */
void dlm_domain_emptied(struct dlm_domain *dom);
/* The object goes away: free ms. */
void dlm_domain_release(struct dlm_domain *dom);

/* -- the lock part, for domain.c -- */

/* Init after dlm, cfg, key are set; free forgets sends and timers of the domain too. */
int dlm_locks_init(struct dlm_domain *dom) __must_check;
void dlm_locks_free(struct dlm_domain *dom);
/* A node entered members / left it by EXIT_DOMAIN (call after the maps changed). */
void dlm_member_joined(struct dlm_domain *dom, node_t node);
void dlm_member_left(struct dlm_domain *dom, node_t node);
/*
 * A member died (dlm.md 9.1, one atomic step): evicted() first, then the clean-up of
 * locks, then its bits in live, members, exiting are cleared and recovery is set. If
 * nobody but this node is left the recovery is done here and now.
 */
void dlm_member_died(struct dlm_domain *dom, node_t node);
/*
 * One pass of leaving: start to migrate what can be, purge what is unused. True when the
 * table is empty and no recovery is active. Call it when IN_SHUTDOWN begins, each 500 ms,
 * and from dlm_domain_emptied().
 */
bool dlm_leave_pass(struct dlm_domain *dom);

/* Bring the domain to rest at the end of an input. */
void dlm_domain_work(struct dlm_domain *dom);

/* ---- resources (resource.c) ------------------------------------------------ */

/* dlm.md 1.3 */
#define DLM_RES_RECOVERING 0x0002u
#define DLM_RES_DIRTY 0x0008u
#define DLM_RES_IN_PROGRESS 0x0010u /* mastery not finished */
#define DLM_RES_MIGRATING 0x0020u
#define DLM_RES_DROPPING_REF 0x0040u
#define DLM_RES_SETREF_INPROG 0x2000u
#define DLM_RES_RECOVERY_WAITING 0x4000u
/* ours */
#define DLM_RES_PURGE 0x0100u	/* on the purge list (DIRTY: on the dirty list) */
#define DLM_RES_STALLED 0x0200u /* delivery waits to be repeated */
#define DLM_RES_SHUFFLE 0x0400u /* DIRTY, and somebody may be grantable or in the way */
#define DLM_RES_REDO 0x0800u	/* got its owner in a round that may be repeated */
#define DLM_RES_LOCAL_WAIT                                                              \
	(DLM_RES_RECOVERING | DLM_RES_IN_PROGRESS | DLM_RES_MIGRATING |                 \
	 DLM_RES_RECOVERY_WAITING)

/* What a lock call on a used resource looks at comes first, in that order: with millions of
 * them each line of it is a cache miss. */
struct dlm_res {
	struct dlm_res *hash_next;
	struct dlm_name name;
	node_t owner;
	uint8_t setref; /* ASSERT replies not on the wire yet */
	uint8_t open;	/* SENDING_* */
	uint16_t state;
	uint16_t inflight; /* ops between finding it and placing their lock */
	struct dlm_domain *dom;
	struct cds_list_head queue[3];	 /* DLM_LIST_*: locks by .q */
	struct cds_list_head deliver; /* locks by .item: those with an AST, then BASTs */
	struct cds_list_head waiters;	 /* ops that wait for state or owner */
	struct cds_list_head work; /* dirty list or purge list */
	struct dlm_mle *mle;		 /* the mle that masters it */
	struct dlm_assert *assert;	 /* running assert job, then the queued ones */
	struct dlm_mig *mig;		 /* being migrated, from or to here */
	struct dlm_lock *sending;	 /* whose AST or BAST is open; NULL: it is gone */
	uint64_t token; /* of the open AST or BAST (owner), of the DEREF (else) */
	struct dlm_map *refmap; /* owner: who holds a reference; NULL: nobody. See dlm_refs() */
	struct cds_list_head all;
	/* Owner: authoritative. Else: the value this node's PR or EX locks read or
	 * wrote last, good while one of them has DLM_LOCK_LVB (lvb.c). */
	uint8_t lvb[DLM_LVB_LEN];
};
enum { SENDING_NONE, SENDING_AST, SENDING_AST_GET, SENDING_BAST };

/* References of other nodes. The map comes and goes with the first and the last. */
const struct dlm_map *dlm_refs(const struct dlm_res *res);
void dlm_ref_set(struct dlm_res *res, node_t node);
void dlm_ref_clear(struct dlm_res *res, node_t node);
void dlm_refs_drop(struct dlm_res *res);

/* Look up; also finds DROPPING_REF resources. */
struct dlm_res *dlm_res_find(struct dlm_domain *dom, const struct dlm_name *name);
/* It will be looked up soon. */
void dlm_res_foresee(struct dlm_domain *dom, const struct dlm_name *name);
/* As handlers see it: not while DROPPING_REF. */
struct dlm_res *dlm_res_visible(struct dlm_domain *dom, const struct dlm_name *name);
/* Owner 255, IN_PROGRESS. NULL on lack of memory. */
struct dlm_res *dlm_res_new(struct dlm_domain *dom, const struct dlm_name *name);
void dlm_res_free(struct dlm_res *res);
/* Shuffle and deliver it at the end of this input. */
void dlm_res_dirty(struct dlm_res *res);
/* Only deliver and look what else may go on: no BAST is repeated. */
void dlm_res_touch(struct dlm_res *res);
/* Let the ops that wait on it look again. */
void dlm_res_wake(struct dlm_res *res);
void dlm_res_set_owner(struct dlm_res *res, node_t owner);
void dlm_res_set(struct dlm_res *res, uint16_t flags);
void dlm_res_clear(struct dlm_res *res, uint16_t flags);
/* DLM_NORMAL, or what a request must be answered in this state (dlm.md 1.3). */
enum dlm_status dlm_res_state_reply(const struct dlm_res *res);
/* After any change of queues, references, jobs: put on or take off the purge list. */
void dlm_res_usage(struct dlm_res *res);
bool dlm_res_unused(struct dlm_res *res);
bool dlm_res_has_locks(struct dlm_res *res);
/* Purge what is old enough; everything unused while leaving. */
void dlm_purge_run(struct dlm_domain *dom);
void dlm_purge_tick(void *arg); /* struct dlm_domain */
struct dlm_reply dlm_deref_handler(struct dlm_domain *dom, node_t from,
				   const struct dlm_wire_ref *m);
struct dlm_reply dlm_deref_done_handler(struct dlm_domain *dom, node_t from,
					const struct dlm_wire_ref *m);
/* Send the DEREF that waited for an ASSERT's reply to be written, or was lost. */
void dlm_deref_resume(struct dlm_res *res);
/* A delivery or DEREF met a link loss: repeat it soon. */
void dlm_stall(struct dlm_res *res);
uint32_t dlm_name_hash(const struct dlm_name *name);
#define dlm_res_for_each_lock(l, res, list_)                                             \
	cds_list_for_each_entry(l, &(res)->queue[list_], q)

/* ---- locks ----------------------------------------------------------------- */

#define DLM_LIST_NONE 3

#define DLM_LOCK_AST 0x01u	/* on res->deliver for its AST */
#define DLM_LOCK_BAST 0x02u	/* for its BAST; with both, the AST is first */
#define DLM_LOCK_RESEND 0x04u	/* its AST may have arrived already */
#define DLM_LOCK_LVB 0x08u	/* own PR or EX lock, secondary: res->lvb is its value */
#define DLM_LOCK_AT_OLD 0x10u	/* own lock, resource handed to us: the old owner had it, */
#define DLM_LOCK_AT_OLD_WAITS 0x20u /* and there it was waiting (handover.c) */

struct dlm_lock {
	struct cds_list_head q;	   /* on queue `list` of res */
	struct cds_list_head item; /* on res->deliver */
	struct dlm_res *res;	   /* NULL while its op looks for it */
	const struct dlm_lock_ops *ops; /* this node's locks only */
	void *data;
	struct dlm_op *op;  /* lock or convert request that has not ended */
	struct dlm_op *uop; /* unlock or cancel request that has not ended */
	uint64_t cookie;
	uint32_t since_s : 24; /* on that queue: dlm->now_s of that moment, modulo 194 days */
	node_t node;
	int8_t mode : 4;    /* granted; on blocked: requested */
	int8_t convert : 4; /* on converting: requested, else -1 */
	int8_t highest_blocked : 4;
	uint8_t list : 4; /* DLM_LIST_* */
	uint8_t lksb;  /* DLM_LKSB_* */
	uint8_t flags; /* DLM_LOCK_* */
};

struct dlm_lock *dlm_lock_new(struct dlm *dlm, node_t node, uint64_t cookie, int mode);
/* Off its queue and the delivery lists, freed. Ends no op. */
void dlm_lock_free(struct dlm_lock *lock);
void dlm_lock_take_off(struct dlm_lock *lock); /* its queue; the resource is remembered */
void dlm_lock_move(struct dlm_lock *lock, struct dlm_res *res, int list);
void dlm_lock_move_head(struct dlm_lock *lock, struct dlm_res *res, int list);
struct dlm_lock *dlm_lock_find(struct dlm_res *res, node_t node, uint64_t cookie);

/* ---- requests of this node (op.c, lock.c, convert.c, unlock.c) -------------- */

enum dlm_op_state {
	OP_RUN,	      /* on dom->run */
	OP_WAIT_RECO, /* on dom->wait_reco */
	OP_WAIT_RES,  /* on res->waiters, or on mle->waiters while it has no resource */
	OP_WAIT_OP,   /* cancel: until its target is accepted or ended; unlock: for a cancel */
	OP_OPEN,      /* message sent, no outcome */
	OP_PROBE,     /* message sent that asks what became of the previous one */
	OP_BACKOFF,   /* timer */
	OP_QUEUED,    /* accepted, no AST yet */
};

struct dlm_op {
	struct cds_list_head all;  /* dom->ops */
	struct cds_list_head link; /* what it waits on, or dom->run */
	struct dlm_domain *dom;
	struct dlm_lock *lock;
	struct dlm_op *target; /* cancel: the request it takes back; NULL: that one ended */
	struct dlm_op *then;   /* an unlock that waits for this cancel */
	enum dlm_call call;
	enum dlm_op_state state;
	uint32_t flags; /* API flags that are left */
	int8_t mode;
	node_t to;	/* where the open message went */
	bool accepted;	/* done() was given */
	bool inflight;	/* counted in res->inflight */
	bool doubt;	/* an earlier try has an open outcome */
	bool lvb_lost;	/* the value that came with it cannot be believed */
	uint8_t step;	/* of a probe; cancel: 1 asks which of two cancels worked */
	uint8_t refusals; /* answers that make no sense */
	uint64_t token;
	struct dlm_tm timer;
	struct dlm_name name;
	uint8_t lvb[DLM_LVB_LEN];
};

struct dlm_op *dlm_op_new(struct dlm_domain *dom, struct dlm_lock *lock, enum dlm_call call);
/* Forget sends and timers, free. */
void dlm_op_free(struct dlm_op *op);
/* Go on at the end of this input. */
void dlm_op_wake(struct dlm_op *op);
void dlm_op_wait(struct dlm_op *op, struct cds_list_head *list, enum dlm_op_state state);
/* Run again after ms, or earlier when its resource changes. */
void dlm_op_backoff(struct dlm_op *op, uint32_t ms);
/* done(): accepted (waits for its AST), or refused (a refused lock is gone with its op). */
void dlm_op_accept(struct dlm_op *op);
void dlm_op_refuse(struct dlm_op *op, enum dlm_status status);
/* Answers that mean: look again. */
static inline bool dlm_status_retry(int32_t status)
{
	return status == DLM_FORWARD || status == DLM_RECOVERING || status == DLM_MIGRATING;
}
/* A CREATE or CONVERT reached a node that had handed the resource over, and has purged it
 * (11) or is out (26), before the message came: no answer then. The owner is known by now,
 * as the old one is told last (dlm.md 8.2). */
static inline bool dlm_answer_void(const struct dlm_op *op, int32_t status)
{
	return dlm_status_retry(status) ||
	       ((status == DLM_IVLOCKID || status == DLM_REJECTED) &&
		op->lock->res->owner != op->to);
}
/* A send failed: is the peer out of the domain, so that recovery decides? */
bool dlm_peer_gone(const struct dlm_domain *dom, node_t node, int err);
void dlm_op_run(struct dlm_op *op);
void dlm_op_run_lock(struct dlm_op *op);
void dlm_op_run_convert(struct dlm_op *op);
void dlm_op_run_unlock(struct dlm_op *op);
void dlm_op_run_cancel(struct dlm_op *op);

/* Ends of requests that recovery shares with unlock.c and convert.c. */
void dlm_convert_revert(struct dlm_lock *lock);
void dlm_unlock_end(struct dlm_op *op);
void dlm_cancel_end(struct dlm_op *op);
void dlm_cancel_too_late(struct dlm_op *op);

/* Statuses of an owner's decision; queue and AST are done, the caller answers or reports. */
enum dlm_status dlm_owner_lock(struct dlm_res *res, struct dlm_lock *lock, uint32_t flags);
enum dlm_status dlm_owner_convert(struct dlm_lock *lock, int mode, uint32_t flags,
				  const uint8_t *lvb);
/* May free the lock (unlock, cancel of a blocked one). */
enum dlm_status dlm_owner_unlock(struct dlm_lock *lock, uint32_t flags, const uint8_t *lvb);

struct dlm_reply dlm_create_handler(struct dlm_domain *dom, node_t from,
				    const struct dlm_wire_lock *m);
struct dlm_reply dlm_convert_handler(struct dlm_domain *dom, node_t from,
				     const struct dlm_wire_lock *m);
struct dlm_reply dlm_unlock_handler(struct dlm_domain *dom, node_t from,
				    const struct dlm_wire_unlock *m);

/* ---- ASTs and BASTs (ast.c) ------------------------------------------------- */

bool dlm_grantable(struct dlm_res *res, const struct dlm_lock *lock, int mode);
void dlm_shuffle(struct dlm_res *res);
void dlm_queue_ast(struct dlm_lock *lock);
void dlm_queue_bast(struct dlm_lock *lock, int mode);
/* Let out what may go now: local ones at once, one remote one at a time. */
void dlm_deliver(struct dlm_res *res);
/* Repeat what a link loss left open. up: whose link came back, or NODE_NONE. */
void dlm_deliver_again(struct dlm_domain *dom, node_t up);
/* The holder spoke of the lock as of one granted: an AST of it that may have been lost
 * with a link was not. */
void dlm_ast_arrived(struct dlm_lock *lock);
/* Grant reached this node's lock (from its own queue, or by PROXY_AST). lvb may be NULL. */
void dlm_lock_granted(struct dlm_lock *lock, const uint8_t *lvb);
struct dlm_reply dlm_ast_handler(struct dlm_domain *dom, node_t from,
				 const struct dlm_wire_ast *m);

/* ---- value blocks (lvb.c) ---------------------------------------------------- */

bool dlm_lvb_is_zero(const uint8_t *lvb);
/* This node's lock, remote owner: read or wrote lvb (NULL: lost the right to believe). */
void dlm_lvb_note(struct dlm_lock *lock, const uint8_t *lvb);
/* dlm.md 5.2, before the dead node's locks are removed. */
void dlm_lvb_node_down(struct dlm_res *res, node_t dead);
/* This node becomes the owner after a death: take over the value, or zeros. */
void dlm_lvb_adopt(struct dlm_res *res);
/* What a MIG_LOCKRES with these locks carries (5.4); zero: nothing to tell. */
void dlm_lvb_to_migrate(const struct dlm_res *res, const struct dlm_wire_mig *m,
			uint8_t lvb[DLM_LVB_LEN]);
/* The same, from a survivor to the recovery master. */
void dlm_lvb_to_recover(struct dlm_res *res, const struct dlm_wire_mig *m,
			uint8_t lvb[DLM_LVB_LEN]);
/* Take the value that came with a lock of MIG_LOCKRES. */
void dlm_lvb_from_migrate(struct dlm_res *res, const struct dlm_wire_mig_lock *l,
			  const uint8_t *lvb);

/* ---- mastery (master.c, assert.c) --------------------------------------------- */

#define DLM_MLE_BUCKETS 256

enum dlm_mle_type { DLM_MLE_BLOCK = 0, DLM_MLE_MASTER = 1, DLM_MLE_MIGRATION = 2 };

enum dlm_mle_phase {
	MLE_HOLD,   /* waits until the recovery map is empty */
	MLE_CHECK,  /* $RECOVERY: asks whether a member takes a dead node for its owner */
	MLE_VOTE,   /* requests open, or waiting for who decides */
	MLE_ASSERT, /* this node won and tells */
	MLE_LAST,   /* another node owns it: one more request to it */
};

struct dlm_mle {
	struct dlm_mle *hash_next;
	struct cds_list_head all;
	struct dlm_domain *dom;
	struct dlm_res *res; /* the one it masters here; NULL: nobody here waits */
	enum dlm_mle_type type;
	enum dlm_mle_phase phase;
	bool attached; /* found by name */
	node_t master, new_master;
	node_t last; /* MLE_LAST: who is asked */
	bool stale;  /* MLE_CHECK: some member does */
	struct dlm_map nodes;	  /* members but self, now: whose vote counts */
	struct dlm_map responses; /* who answered */
	struct dlm_map maybe;	  /* who is known to want it */
	struct dlm_map open;	  /* requests without outcome */
	struct dlm_map retry;	  /* to be asked (again) */
	struct dlm_tm retry_tm, decide_tm;
	struct cds_list_head waiters; /* ops that wait until a MIGRATION is over */
	struct dlm_name name;
};

/* Find the resource for a lock call, or make one and begin to master it: 0 and *out (its
 * flags may still say wait), or -EAGAIN: op waits until it can look again. */
int dlm_master_get(struct dlm_op *op, struct dlm_res **out);
struct dlm_mle *dlm_mle_find(struct dlm_domain *dom, const struct dlm_name *name);
struct dlm_mle *dlm_mle_new(struct dlm_domain *dom, const struct dlm_name *name,
			    enum dlm_mle_type type);
/* Out of the table and freed; ops that wait on it look again. */
void dlm_mle_free(struct dlm_mle *mle);
/* Out of the table, its master is known; a resource here that waits on it goes on. */
void dlm_mle_conclude(struct dlm_mle *mle, node_t master);
/* The mastery of its resource is over: owner is what it is, or what the mle knows. */
void dlm_mle_finish(struct dlm_mle *mle);
void dlm_mle_node_joined(struct dlm_domain *dom, node_t node);
/* After members changed (and recovery, for a death). */
void dlm_mle_node_gone(struct dlm_domain *dom, node_t node);
void dlm_mle_recovered(struct dlm_domain *dom); /* the recovery map is empty */
struct dlm_reply dlm_master_request_handler(struct dlm_domain *dom, node_t from,
					    const struct dlm_wire_master *m);
struct dlm_reply dlm_requery_handler(struct dlm_domain *dom, node_t from,
				     const struct dlm_wire_ref *m);

/* One ASSERT_MASTER job (dlm.md 7.3); jobs of a resource run one after another. */
struct dlm_assert {
	struct dlm_assert *next;
	struct dlm_res *res;
	uint32_t flags;
	bool running, again, lost;
	struct dlm_map targets, open, retry, derefs;
	struct dlm_map doubt; /* reference bits that were set because an answer was lost */
	struct dlm_tm retry_tm;
	/* Round over; NULL: nothing to do. */
	void (*done)(struct dlm_res *res, bool lost);
};

void dlm_assert_start(struct dlm_res *res, const struct dlm_map *targets, uint32_t flags,
		      void (*done)(struct dlm_res *res, bool lost));
/* To all members: after a YES (MLE_CLEANUP), after a requery (REQUERY). */
void dlm_assert_all(struct dlm_res *res, uint32_t flags);
void dlm_assert_node_gone(struct dlm_res *res, node_t node);
void dlm_assert_drop(struct dlm_res *res);
struct dlm_reply dlm_assert_handler(struct dlm_domain *dom, node_t from,
				    const struct dlm_wire_master *m);

/* ---- migration (migrate.c) ----------------------------------------------------- */

enum dlm_mig_phase {
	MIG_DRAIN,  /* old owner: until its ASTs, BASTs and asserts are through */
	MIG_SEND,   /* old owner: MIG_LOCKRES open */
	MIG_WAIT,   /* old owner: for the target's ASSERT */
	MIG_RECV,   /* target: more MIG_LOCKRES to come */
	MIG_TELL,   /* target: MIGRATE_REQUESTs open */
	MIG_ASSERT, /* target: asserts to the others */
	MIG_LAST,   /* target: assert to the old owner */
};

struct dlm_mig {
	struct dlm_res *res;
	enum dlm_mig_phase phase;
	node_t old, target;
	uint64_t cookie;
	uint32_t total, sent; /* locks; sent: that the target has */
	uint32_t batch;	      /* locks in the open message */
	struct dlm_map open, reached, retry; /* target: MIGRATE_REQUESTs */
	struct dlm_tm retry_tm;
};

void dlm_migrate_step(struct dlm_res *res); /* re-check MIG_DRAIN */
/* The target's FINISH_MIGRATION assert has been accepted here (old owner). */
void dlm_migrate_finished(struct dlm_res *res);
/* false: the resource is lost to recovery, the caller hands it over. */
bool dlm_migrate_node_gone(struct dlm_res *res, node_t node, bool died);
void dlm_migrate_drop(struct dlm_res *res);
/* Locks of other nodes: gone. */
void dlm_res_drop_foreign(struct dlm_res *res);
struct dlm_reply dlm_migrate_handler(struct dlm_domain *dom, node_t from,
				     const struct dlm_wire_migrate *m);
struct dlm_reply dlm_mig_handler(struct dlm_domain *dom, node_t from,
				 const struct dlm_wire_mig *m);

/* ---- own locks at the target (handover.c) ------------------------------------------ */

void dlm_handover_begin(struct dlm_res *res);
/* The old owner's list has this lock of ours, on that queue. */
void dlm_handover_seen(struct dlm_lock *lock, int list);
/* The list is complete. */
void dlm_handover_listed(struct dlm_res *res);
/* The old owner has confirmed: requests without an outcome are decided here. */
void dlm_handover_settle(struct dlm_res *res);

/* ---- death (recovery.c) ----------------------------------------------------------- */

/* Owner died or is unknown: RECOVERING, requests of this node as dlm.md 9.6 says. */
void dlm_res_to_recovery(struct dlm_res *res);
/* May a resource have been handed over by a node that was leaving, when a node died? */
bool dlm_reco_moved(const struct dlm_domain *dom);
/* Nobody else is left: own everything that has no owner, and end all waiting. */
void dlm_recover_alone(struct dlm_domain *dom);
/* Is it recovered in the round of this dead node? */
bool dlm_reco_concerns(const struct dlm_res *res, node_t dead);
/* The locks of this dead node are recovered: what was its belongs to owner (9.7). */
void dlm_reco_finalize(struct dlm_domain *dom, node_t dead, node_t owner);
/* The round is over, here too. */
void dlm_reco_over(struct dlm_domain *dom, node_t dead);

/* ---- recovery with others (reco_*.c) ------------------------------------------------ */

bool dlm_is_reco_lock(const struct dlm_name *name);

/* -- reco_elect.c: who is the recovery master -- */
void dlm_elect_init(struct dlm_domain *dom);
/* A member died; soon look whether this node should do something about it. */
void dlm_elect_soon(struct dlm_domain *dom);
/* reco.kick was set. */
void dlm_reco_look(struct dlm_domain *dom);
/* done() of the lock on $RECOVERY. */
void dlm_elect_done(struct dlm_domain *dom, enum dlm_call call, enum dlm_status status);
/* $RECOVERY goes, in whatever state, with its dead owner. */
void dlm_elect_drop(struct dlm_res *res);
/* Give the lock on $RECOVERY back. */
void dlm_elect_release(struct dlm_domain *dom);
/* ACTIVE off: lock and convert calls go on. */
void dlm_reco_calm(struct dlm_domain *dom);
/* A recovery master says that this node is dead. */
void dlm_reco_notice(struct dlm_domain *dom, node_t dead);
struct dlm_reply dlm_begin_reco_handler(struct dlm_domain *dom, node_t from, node_t dead);

/* -- reco_master.c: what it does -- */
void dlm_reco_lead(struct dlm_domain *dom);
/* Announced to others at most; give it up. */
void dlm_reco_lead_drop(struct dlm_domain *dom);
bool dlm_reco_announcing(const struct dlm_domain *dom);
void dlm_reco_lead_node_gone(struct dlm_domain *dom, node_t node);
/* May a survivor's data still come? */
bool dlm_reco_collects(const struct dlm_domain *dom, node_t from);
/* Something that the end of collecting waited for has happened. */
void dlm_reco_collected(struct dlm_domain *dom);
struct dlm_reply dlm_reco_done_handler(struct dlm_domain *dom, node_t from, node_t dead);
struct cds_list_head *dlm_reco_asks(struct dlm_domain *dom);

/* -- reco_data.c: the locks that survivors report -- */
/* Owner of a resource of this round, RECOVERING until it is over. */
void dlm_reco_claim(struct dlm_res *res);
/* Start of collecting: this node's own part. */
void dlm_reco_claim_own(struct dlm_domain *dom);
/* The owner has been found after all: foreign locks go. */
void dlm_reco_yield(struct dlm_res *res);
/* The round is over: tell who could not know. Frees the list. */
void dlm_reco_asks_over(struct dlm_domain *dom, struct cds_list_head *asks, bool tell);
void dlm_reco_asks_node_gone(struct dlm_domain *dom, node_t node);
bool dlm_reco_asking(struct cds_list_head *asks);
struct dlm_reply dlm_reco_data_handler(struct dlm_domain *dom, node_t from,
				       const struct dlm_wire_mig *m);

/* -- reco_peer.c: a survivor's side -- */
struct dlm_reply dlm_lock_request_handler(struct dlm_domain *dom, node_t from, node_t dead);
struct dlm_reply dlm_finalize_handler(struct dlm_domain *dom, node_t from,
				      const struct dlm_wire_reco *m);
void dlm_reco_send_drop(struct dlm_domain *dom);
/* A resource goes away: the walk over the table may be at it. */
void dlm_reco_send_forget(struct dlm_res *res);
/* Does a migration that the dead node's death met still tell the new owner's name? */
bool dlm_reco_telling(struct dlm_domain *dom);

struct dlm_reply dlm_reco_handler(struct dlm_domain *dom, node_t from, uint16_t type,
				  const struct dlm_wire_reco *m);

/* ---- the door (handler.c) ----------------------------------------------------------- */

static inline struct dlm_reply dlm_reply_status(int32_t status)
{
	return (struct dlm_reply){ .status = status };
}

#endif
