/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * world.h: a cluster of DLM cores in one process, with virtual time.
 *
 * The world owns the clock, the event queue and one random stream; nothing else in the
 * simulator or the core is a source of chance, and no iteration depends on addresses, so
 * a seed replays event for event. One event is one step: it gives at most one input to
 * one core (a delivered message counts its reply), and after each step the checks run.
 *
 *	world.c		clock, event queue, life of a node
 *	net.c		links: order, delay, cut and heal, epochs; heartbeat; transport.h
 *	workload.c	users that lock, convert, cancel, unlock
 *	members.c	nodes that join and leave
 *	monitor.c	every message as it arrives: what would crash a kernel, what is out of order
 *	faults.c	links that break, stall and come back; nodes that pause, die, come back
 *	alloc.c		the n-th allocation of a core fails
 *	shrink.c	a failing run made smaller
 *	check.c		shadow state and invariants across nodes (dlm.md 10.1)
 *	trace.c		one line an event
 *	main.c		seeds, options, verdict
 *	lcload.c	lcsim: the lock cache on the cores, instead of workload.c and check.c
 */
#ifndef O2FUSE_SIM_WORLD_H
#define O2FUSE_SIM_WORLD_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "dlm/dlm.h"
#include "dlm/wire.h"

#define SIM_NODES_MAX 255 /* numbers from 1; of 255, from 0 */
#define SIM_WORLD 255	  /* events that belong to no node */
#define SIM_SKIPS_MAX 64
/* Exit statuses of a run with fail_alloc: a volume was stopped; there are not so many. */
#define SIM_STOPPED 42
#define SIM_UNREACHED 43
#define SIM_USERS_MAX 8
#define SIM_RES_MAX 32
#define SIM_MS 1000u /* virtual time is in microseconds */

/* ---- options ---------------------------------------------------------------- */

struct sim_options {
	int nodes;
	int users;	/* a node */
	int resources;
	uint64_t seed;
	uint64_t steps;	/* with workload; then it drains */
	bool trace;
	bool no_leave;	/* nodes stay: less churn of membership */
	bool no_check;	/* for measuring what checks cost */
	bool cuts;	/* links break and come back */
	bool murder;	/* often, several at once, and just at a message that matters */
	bool kills;	/* nodes die and come back */
	bool chaos;	/* stalls, pauses, slow heartbeats; the other faults at the worst moment */
	uint64_t fail_alloc; /* this allocation of the cores fails; 0: none */
	struct { uint64_t lo, hi; } skip[SIM_SKIPS_MAX]; /* decisions that are not taken */
	int skips;
};

/* ---- random ----------------------------------------------------------------- */

struct sim_rng {
	uint64_t s;
};

static inline uint64_t rng_next(struct sim_rng *r)
{
	uint64_t z = (r->s += 0x9e3779b97f4a7c15u); /* splitmix64 */

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

/* [0, bound) */
static inline uint32_t rng_below(struct sim_rng *r, uint32_t bound)
{
	return (uint32_t)(((rng_next(r) >> 32) * bound) >> 32);
}

/* [lo, hi] */
static inline uint32_t rng_range(struct sim_rng *r, uint32_t lo, uint32_t hi)
{
	return lo + rng_below(r, hi - lo + 1);
}

static inline bool rng_percent(struct sim_rng *r, uint32_t percent)
{
	return rng_below(r, 100) < percent;
}

/* ---- events ----------------------------------------------------------------- */

enum sim_event_kind {
	EV_FRAME,	/* ptr: struct frame */
	EV_SEND_FAILED, /* ptr: struct open_send */
	EV_WRITTEN,	/* arg: written token */
	EV_TIMER,	/* ptr: struct sim_timer, arg: its generation */
	EV_HB_UP,	/* arg: node that is seen */
	EV_HB_DOWN,	/* arg: node that is missed */
	EV_LINK_UP,	/* arg: peer */
	EV_LINK_LOST,	/* arg: peer */
	EV_NODE,	/* the node's next decision: join, leave */
	EV_USER,	/* ptr: struct sim_user, arg: its serial */
	EV_CANCEL,	/* ptr: struct sim_user, arg: its serial */
	EV_YIELD,	/* ptr: struct sim_user, arg: its serial */
	EV_CUT,		/* time to break a link */
	EV_HEAL,	/* arg: the two ends */
	EV_KILL,	/* time for a node to die; arg: which one, 0: any */
	EV_RESTART,	/* arg: node */
	EV_CHAOS,	/* time for a stall or a pause */
};

struct sim_event {
	uint64_t when, seq; /* order: when, then seq */
	enum sim_event_kind kind;
	uint32_t life; /* of the node; an event of an earlier life is dropped */
	node_t node;
	void *ptr;
	uint64_t arg;
};

/* ---- nodes, users, resources -------------------------------------------------- */

enum node_state { NODE_OUT, NODE_JOINING, NODE_IN, NODE_DRAINING, NODE_LEAVING, NODE_DEAD };

struct sim_world;
struct sim_node;

enum user_state {
	USER_IDLE,
	USER_LOCKING,
	USER_GRANTED,
	USER_CONVERTING,
	USER_UNLOCKING,
};

/* What a lock call gives the core as data. Kept long after the lock is gone, so that a
 * callback that comes too late is recognised. */
struct sim_handle {
	struct sim_world *w;
	struct sim_user *u; /* NULL: the lock is gone */
};

/* A thread that holds at most one lock at a time. */
struct sim_user {
	struct sim_world *w;
	struct sim_node *n;
	int id;
	enum user_state state;
	uint32_t serial; /* rises with each request and answer: late events are dropped */
	struct dlm_lock *lock;
	struct sim_handle *h;
	int res;	 /* index; valid unless idle */
	uint32_t gen;	 /* generation of the resource's name */
	int view;	 /* mode that this user may rely on (dlm.md 10.1) */
	bool section;	 /* it has read the block, and nobody else writes it until it is through */
	uint64_t block;
	int from, to;	 /* of the open request */
	bool noqueue, valblk;
	bool done_due;	 /* done() of the open lock, convert or unlock is missing */
	bool ast_due;	 /* its ast() or unlock_ast() is missing */
	bool refused;	 /* by done() */
	bool taken_back; /* by a cancel */
	bool cancel_done_due, cancel_ast_due; /* of an open cancel */
	bool cached;	 /* keep until a BAST asks for it */
	int blocking;	 /* highest mode a BAST asked for, or NONE */
	uint64_t value;	 /* counter read from or written to the LVB */
};

struct sim_node {
	struct sim_world *w;
	node_t id;
	uint32_t life;
	enum node_state state;
	struct dlm *dlm;
	struct dlm_domain *dom;
	bool key_open;
	uint32_t key;
	uint8_t live[32]; /* whom this node sees heartbeating */
	bool kernel_like; /* effects leave before the reply that they belong to */
	uint64_t paused_until; /* its process stands still: nothing happens in it */
	struct logger log;
	struct sim_timer *timers[64];
	struct sim_user users[SIM_USERS_MAX];
};

/* What the cluster should believe of one resource. */
struct sim_res {
	uint32_t gen;	   /* part of the name: a new one is a resource nobody knows */
	bool lvb;	   /* users pass VALBLK in each call, or in none */
	bool local_open;   /* its first, LOCAL, lock call is not over */
	int handles;	   /* locks from call to gone, all nodes */
	int views_pr, views_ex;
	uint64_t count;	   /* last value put */
	uint64_t before;   /* value before that put */
	struct sim_user *put_open; /* its request is not over; NULL: over */
	bool before_ok;	   /* the put may never have arrived: its node died */
	bool zero_ok;	   /* the value may have been forgotten since (dlm.md 5.3) */
	/* From the cores, kept by check.c: nodes that call themselves owner, usable. */
	uint8_t owners[32];
	uint64_t block; /* what is on the disk: how many sections have written it */
};

enum sim_stage {
	STAGE_TRAFFIC,
	STAGE_ANSWER,  /* nothing new; holders only obey BASTs */
	STAGE_RELEASE, /* all give up what they hold */
	STAGE_LEAVE,
};

/* Chosen by the seed: see choose_profile(). */
struct sim_profile {
	uint32_t stay_ms, hold_ms, think_ms;
	uint32_t cached_percent, ex_percent, new_name_percent;
	bool fast_purge, slow_wire;
	/* With chaos. Types of messages, 0: none. */
	bool slow_heartbeat;
	uint16_t hold_type;  /* such a message, and all behind it, comes late */
	uint16_t fault_type; /* a fault just before or just after such a message is handled */
};

struct sim_world {
	struct sim_options opt;
	struct sim_profile profile;
	struct sim_rng rng;
	uint64_t now, seq, step, digest;
	struct sim_event *heap;
	size_t heap_len, heap_room;
	struct sim_node nodes[SIM_NODES_MAX + 1]; /* numbers first..last; SIM_WORLD */
	struct sim_link *links; /* [from][to] */
	struct sim_res res[SIM_RES_MAX];
	int first, last; /* numbers of nodes */
	enum sim_stage stage;
	uint64_t decisions; /* of users and of fate so far; see opt.skip */
	int leaving;		/* nodes between leave and left */
	struct frame *outbox_head, **outbox_tail; /* sends of the running input */
	char failure[512];
	uint64_t frames_under_way, timer_number;
	int faults_open; /* links to heal, nodes to restart */
	struct sim_handle *handles;
	size_t handles_next;
	uint64_t messages, asts, basts, cancels_won, cancels_lost, leaves, joins, zero_reads, puts,
		cuts, deaths, stalls, pauses, sections;
};

#define sim_each_node(i, w) for (int i = (w)->first; i <= (w)->last; i++)

/* world.c */
void world_init(struct sim_world *w, const struct sim_options *opt);
void world_run(struct sim_world *w);
void world_free(struct sim_world *w);
void world_at(struct sim_world *w, uint64_t delay_us, enum sim_event_kind kind, node_t node,
	      void *ptr, uint64_t arg);
/* The first failure ends the run. */
void world_fail(struct sim_world *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void world_mix(struct sim_world *w, uint64_t v);
/* A decision is due: false, it is one of those that this run leaves out. */
bool world_decides(struct sim_world *w);
void node_start(struct sim_node *n);
void node_kill(struct sim_node *n);

static inline bool world_failed(const struct sim_world *w)
{
	return w->failure[0] != '\0';
}

static inline struct sim_node *world_node(struct sim_world *w, uint64_t id)
{
	return &w->nodes[id];
}

/* net.c */
extern const struct dlm_transport sim_transport;
void net_init(struct sim_world *w);
void net_free(struct sim_world *w);
void net_node_started(struct sim_node *n);
void net_node_died(struct sim_node *n);
void net_event(struct sim_world *w, const struct sim_event *ev);
/* Nobody waits for it any more: not a step. */
bool net_event_stale(struct sim_world *w, const struct sim_event *ev);
/* Every live node sees this one, and it sees them (cluster.md 4.8: before a join). */
bool net_steady(const struct sim_node *n);
/* The same among those that live: a death may not be noticed by all yet. */
bool net_seen(const struct sim_node *n);
void net_stall(struct sim_world *w, node_t from, node_t to, uint64_t us);
/* No message and no reply is under way. */
bool net_quiet(const struct sim_world *w);
/* An event that is dropped unseen: give back what it carries. */
void net_event_drop(struct sim_world *w, const struct sim_event *ev);
void net_cut(struct sim_world *w, node_t a, node_t b);
void net_heal(struct sim_world *w, node_t a, node_t b);
/* Is a PROXY_AST of this node for this resource without an outcome? */
bool net_ast_open(struct sim_node *n, const struct dlm_name *name);
bool net_is_cut(struct sim_world *w, node_t a, node_t b);
/* Around every input of a core: what it sends leaves when the input is over. */
void net_input_begin(struct sim_node *n);
void net_input_end(struct sim_node *n);
void net_timers_free(struct sim_node *n);

/* workload.c */
void workload_start(struct sim_world *w);
void workload_free(struct sim_world *w);
void workload_node_started(struct sim_node *n);
void workload_node_died(struct sim_node *n);
void workload_event(struct sim_world *w, const struct sim_event *ev);
/* w->stage changed. */
void workload_stage(struct sim_world *w);
/* Nothing is asked that has not been answered. */
bool workload_answered(const struct sim_world *w);
bool workload_idle(const struct sim_world *w);
bool workload_all_out(const struct sim_world *w);
/* Nothing of its open requests is missing. */
bool user_settled(const struct sim_user *u);
/* Its next turn; what was planned before is void. */
void user_act_in(struct sim_user *u, uint32_t lo_us, uint32_t hi_us);

/* members.c */
/* A node decides: join, start to leave, leave. */
void members_turn(struct sim_node *n);
/* A user is done: a node that wants to leave may be able to now. */
void members_look(struct sim_node *n);
bool members_idle(const struct sim_node *n);
/* Trace who waits for what. */
void members_explain(struct sim_world *w);
size_t sim_res_name(int res, uint32_t gen, uint8_t name[DLM_NAME_MAX]);
bool sim_res_parse(const uint8_t *name, size_t len, int *res, uint32_t *gen);

/* faults.c */
void faults_start(struct sim_world *w);
void faults_event(struct sim_world *w, const struct sim_event *ev);
/* A message has arrived and is handled. */
void faults_message(struct sim_world *w, node_t from, node_t to, uint16_t type);
/* Around the handling of a message. True: its receiver is no more, or the link. */
bool faults_before(struct sim_node *n, node_t from, uint16_t type);
bool faults_after(struct sim_node *n, node_t from, uint16_t type);
/* All links are whole, all nodes that are to come back are there. */
bool faults_over(const struct sim_world *w);

/* monitor.c */
void monitor_send(struct sim_node *n, node_t to, uint32_t key, uint16_t type, const void *payload,
		  size_t len);
void monitor_request(struct sim_node *n, node_t from, uint32_t key, uint16_t type,
		     const void *payload, size_t len);
void monitor_reply(struct sim_node *n, node_t from, uint16_t type, const struct dlm_reply *r);

/* check.c */
void check_step(struct sim_world *w, struct sim_node *n);
/* No message under way, no request open: what each node believes must agree. */
void check_rest(struct sim_world *w);
bool check_all_purged(const struct sim_world *w);
void check_joined(struct sim_node *n);
void check_view(struct sim_user *u, int mode);
void check_ast_lvb(struct sim_user *u, const uint8_t *lvb, bool expected);
void check_put_over(struct sim_user *u);
void check_put_lvb(struct sim_user *u, uint8_t lvb[DLM_LVB_LEN]);
void check_handle(struct sim_user *u, int delta);
void check_node_gone(struct sim_node *n);
void check_node_died(struct sim_node *n);

/* alloc.c: memory of the simulator itself, which never fails on purpose */
void *sim_calloc(size_t n, size_t size);
void *sim_realloc(void *p, size_t size);
void alloc_fail_at(uint64_t number); /* from now on; 0: none */
bool alloc_failed(void);

/* shrink.c: a smaller run that still fails, as the options of a command; printed */
void shrink(const struct sim_options *opt);
void say_command(const struct sim_options *o);

/* trace.c */
#define trace(w, ...)                             \
	do {                                      \
		if ((w)->opt.trace)               \
			trace_line(w, __VA_ARGS__); \
	} while (0)
void trace_line(struct sim_world *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* A message in words: "CREATE_LOCK 3.0 EX flags=40000100 c=1:2a". */
const char *trace_message(uint16_t type, const uint8_t *p, size_t len, char *buf, size_t room);

#endif
