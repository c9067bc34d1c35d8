/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * dlm-user.h: users of locks on the DLM bed. A user keeps what it was told and in which
 * order; after each message and each call of a user the invariants of dlm/check.h are
 * checked on every core.
 */
#ifndef O2FUSE_TESTS_DLM_USER_H
#define O2FUSE_TESTS_DLM_USER_H

#include "tests/unit/dlm-bed.h"

struct user {
	struct bed_node *n;
	struct dlm_lock *lock; /* NULL: none, or gone */
	int dones, done_call;
	int done; /* status of the last done(), -1: none yet since the call */
	int asts, basts, unlock_asts;
	int unlock_status; /* of the last unlock_ast(), -1 */
	int bast_mode;
	bool has_lvb;
	uint8_t lvb[DLM_LVB_LEN];
	/* When it came, on one counter for all users. */
	int at_done, at_ast, at_bast, at_unlock_ast;
};

/* One message as it was sent, kept by the verdict below. */
struct kept {
	node_t from, to;
	uint16_t type;
	size_t len;
	uint8_t payload[DLM_MAX_PAYLOAD];
};

/* A bed with cores 1..n, all joined. lab.verdict sees every message before it goes. */
struct lab {
	struct bed bed;
	enum bed_fate (*verdict)(struct lab *lab, const struct bed_msg *m);
	struct kept sent[512];
	int nr_sent;
	int arg;	      /* for verdicts */
	uint16_t hold_type;   /* messages of this type stay open */
	node_t hold_from, hold_to; /* 0: any */
	bool no_check;
	bool forged; /* peers' messages are made up: each core's books by themselves only */
};

extern const struct dlm_lock_ops user_ops;

void lab_open(struct lab *lab, int nodes);
void lab_close(struct lab *lab);
/* Until quiet, timers within ms included. */
void lab_run(struct lab *lab, uint32_t ms);
/* Forget what was logged and kept so far. */
void lab_clear(struct lab *lab);
/* Carry messages until one of this type is next (it stays queued). */
void lab_until(struct lab *lab, uint16_t type);
/* Exactly one message. */
void lab_one(struct lab *lab);
void lab_hold(struct lab *lab, uint16_t type, node_t from, node_t to);
void lab_release(struct lab *lab);
/* A core that dies. */
void lab_die(struct lab *lab, node_t id);
void lab_check(struct lab *lab);
/* The k-th kept message of this type, NULL if there is none. */
const struct kept *lab_sent(const struct lab *lab, uint16_t type, node_t from, node_t to, int k);
int lab_count(const struct lab *lab, uint16_t type, node_t from, node_t to);

/* Calls of users; they return after the call, nothing carried. */
void user_lock(struct lab *lab, struct user *u, node_t n, const char *name, int mode,
	       uint32_t flags);
void user_convert(struct lab *lab, struct user *u, int mode, uint32_t flags, uint8_t lvb);
void user_unlock(struct lab *lab, struct user *u, uint32_t flags, uint8_t lvb);
void user_cancel(struct lab *lab, struct user *u);
/* Lock and carry until granted. */
void user_hold(struct lab *lab, struct user *u, node_t n, const char *name, int mode,
	       uint32_t flags);

/* Where a core has the resource, and the lock of u's node on it. */
struct dlm_res *lab_res(struct lab *lab, node_t n, const char *name);
/* 'G', 'C', 'B', '-' (no such lock), of u's lock as core n sees it. */
char lab_queue(struct lab *lab, node_t n, const char *name, const struct user *u);
int lab_mode(struct lab *lab, node_t n, const char *name, const struct user *u);

#endif
