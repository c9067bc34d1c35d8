/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * player.h: one node of a recorded session played by our DLM core.
 *
 * The core gets what the kernel node got, in order: link and death of each peer, every
 * message of the others, and their answers to what it sends. What its users did is not in
 * a recording; it is derived from what the kernel node sent (script.c). Each message of the
 * core must be one that the kernel node sent too, with the same bytes, and each answer the
 * same as the kernel's. Cookies of the node's own locks and numbers of o2net messages are
 * the node's own choice: the cookies are mapped one to one, both ways.
 *
 * Where core and kernel differ the difference is counted under a name. The test knows how
 * often each may come in each session, and doc/spec/vectors/README.md says why.
 */
#ifndef O2FUSE_TESTS_WIRE_PLAYER_H
#define O2FUSE_TESTS_WIRE_PLAYER_H

#include "dlm/dlm_int.h"
#include "tests/wire/trace.h"

enum { PLAYER_TIMERS = 64, PLAYER_SENDS = 4096, PLAYER_LOCKS = 1024, PLAYER_DIFFS = 24 };

/* A message of the core. */
struct player_send {
	uint64_t token;
	node_t to;
	uint16_t type;
	size_t len;
	uint8_t *payload; /* with the recorded cookies */
	int frame;	  /* the recorded message that it is, -1: none */
	bool over;	  /* the core has its outcome */
};

/* A lock of the node's users. */
struct player_lock {
	struct player *p;
	struct dlm_lock *lock; /* NULL: gone */
	struct dlm_name name;
	uint64_t recorded, ours; /* cookies; recorded 0: no message ever told of it */
	bool granted, busy;	 /* busy: a request has no AST or end yet */
	int bast;		 /* mode that it is in the way of, -1 */
	bool drop;		 /* being given up for good */
	bool unyielding;		 /* gives way to nobody */
};

struct player_diff {
	char what[64];
	int times;
};

struct player {
	const struct trace *t;
	node_t me;
	int at; /* frame being played */
	struct dlm *dlm;
	struct dlm_domain *dom;
	bool joined;
	uint64_t now;
	struct {
		uint64_t id, due;
		bool set;
	} timers[PLAYER_TIMERS];
	struct dlm_map up;   /* peers with a link */
	uint8_t greeted[NODE_MAX];
	uint32_t epoch;
	struct player_send sends[PLAYER_SENDS];
	int nr_sends, first_open;
	int *claimed; /* by frame: index of the send + 1, 0 */
	struct player_lock locks[PLAYER_LOCKS];
	int nr_locks;
	struct player_diff diffs[PLAYER_DIFFS];
	int nr_diffs;
	/* What was compared and found equal. */
	int same_messages, same_answers;
	bool verbose;
};

/* until_ms: of the recording; 0: to its end. */
void player_run(struct player *p, const struct trace *t, node_t me, uint64_t until_ms);
void player_free(struct player *p);

/* player.c for script.c */
__attribute__((format(printf, 2, 3))) void player_differs(struct player *p, const char *fmt, ...);
/* The name a message of the domain is about, from its bytes; len 0: none. */
struct dlm_name player_name(uint16_t type, const uint8_t *payload);
uint64_t player_cookie(const uint8_t *payload);
/* The next frame after the one being played that me sends (or, from others, gets) of this
 * type and name; -1. */
int player_next(const struct player *p, int from, bool mine, uint16_t type,
		const struct dlm_name *name);
bool player_is(const struct player *p, int i, bool mine, uint16_t type);

/* script.c: what the users do. */
/* Before message i of a peer is handed over. */
void script_before(struct player *p, int i);
/* Message i of the node: the core has not sent it. */
void script_provoke(struct player *p, int i);
/* After each input: what callbacks left to do. */
void script_settle(struct player *p);
struct player_lock *script_by_cookie(struct player *p, uint64_t recorded);

#endif
