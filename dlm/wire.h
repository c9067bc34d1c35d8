/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * wire.h: o2dlm payloads, to and from bytes (doc/spec/dlm.md 3, cluster.md 5.2 to 5.6).
 *
 * One struct a layout; messages that share a layout share the struct. This is the only
 * place that knows offsets: nothing else reads or writes payload bytes, and nothing
 * here overlays a struct on bytes.
 *
 * Decoding takes an untrusted payload. It demands the exact length of the message (with
 * its 64 bytes of LVB where the flags announce them), a name length in range, node
 * numbers below 255, modes NL, PR or EX. Pads, name tails and the rest of unused tables
 * are ignored. It returns
 *
 *	0
 *	-EMSGSIZE	length is not that of this message
 *	-ENAMETOOLONG	name length is 0 or too large
 *	-EINVAL		flags that exclude each other, or a count that contradicts
 *	-ERANGE		node, mode, list or kind out of range
 *
 * and *out is complete only with 0. Contradicting flags win over the length that they imply.
 * That the sender's number is that of the link it came on is the caller's check.
 *
 * Encoding writes into a buffer of room bytes (DLM_MAX_PAYLOAD always suffices), pads
 * zero, and returns the length. Values out of range are our own mistake: assert.
 */
#ifndef O2FUSE_DLM_WIRE_H
#define O2FUSE_DLM_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include "dlm/dlm.h"

/* Message numbers, with the kernel's names so that a search finds both. */
enum dlm_msg {
	DLM_MASTER_REQUEST_MSG = 500,
	DLM_ASSERT_MASTER_MSG = 502,
	DLM_CREATE_LOCK_MSG = 503,
	DLM_CONVERT_LOCK_MSG = 504,
	DLM_PROXY_AST_MSG = 505,
	DLM_UNLOCK_LOCK_MSG = 506,
	DLM_DEREF_LOCKRES_MSG = 507,
	DLM_MIGRATE_REQUEST_MSG = 508,
	DLM_MIG_LOCKRES_MSG = 509,
	DLM_QUERY_JOIN_MSG = 510,
	DLM_ASSERT_JOINED_MSG = 511,
	DLM_CANCEL_JOIN_MSG = 512,
	DLM_EXIT_DOMAIN_MSG = 513,
	DLM_MASTER_REQUERY_MSG = 514,
	DLM_LOCK_REQUEST_MSG = 515,
	DLM_RECO_DATA_DONE_MSG = 516,
	DLM_BEGIN_RECO_MSG = 517,
	DLM_FINALIZE_RECO_MSG = 518,
	DLM_QUERY_REGION = 519,
	DLM_QUERY_NODEINFO = 520,
	DLM_BEGIN_EXIT_DOMAIN_MSG = 521,
	DLM_DEREF_LOCKRES_DONE = 522,
	DLM_MSG_FIRST = DLM_MASTER_REQUEST_MSG,
	DLM_MSG_LAST = DLM_DEREF_LOCKRES_DONE,
};

/* Name of a message for logs and dumps, "?" if there is none. */
const char *dlm_msg_name(uint16_t type);
/* Longest payload of a message, what o2net checks (sys_status 2 beyond it); 0: none. */
size_t dlm_msg_max(uint16_t type);
/* Does it travel under DLM_MEMBER_KEY instead of the domain key? */
bool dlm_msg_membership(uint16_t type);

/* Flags that exist on the wire only (dlm.md 2.2); the API's are in dlm.h. */
#define DLM_LKF_CONVERT 0x00000400u
#define DLM_LKF_PUT_LVB 0x20000000u
#define DLM_LKF_GET_LVB 0x40000000u
#define DLM_LKF_RECOVERY 0x80000000u

/* A resource name: 1..32 bytes, binary. Bytes after len are zero. */
struct dlm_name {
	uint8_t len;
	uint8_t bytes[DLM_NAME_MAX];
};

/* From n bytes, 1..32 of them (asserted). */
struct dlm_name dlm_name_make(const void *bytes, size_t n);
static inline bool dlm_name_equal(const struct dlm_name *a, const struct dlm_name *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

/* ---- mastery -------------------------------------------------------------- */

#define DLM_ASSERT_MLE_CLEANUP 1u
#define DLM_ASSERT_REQUERY 2u
#define DLM_ASSERT_FINISH_MIGRATION 4u

/* Replies to MASTER_REQUEST. */
enum { DLM_MASTER_NO = 0, DLM_MASTER_YES = 1, DLM_MASTER_MAYBE = 2, DLM_MASTER_ERROR = 3 };
/* Bits of a reply >= 0 to ASSERT_MASTER. */
enum { DLM_ASSERT_REPLY_REASSERT = 1, DLM_ASSERT_REPLY_MASTERY_REF = 2 };

/* MASTER_REQUEST (500), ASSERT_MASTER (502): 72 bytes. */
struct dlm_wire_master {
	node_t node;
	uint32_t flags;
	struct dlm_name name;
};

/* MASTER_REQUERY (514), and in another layout DEREF_LOCKRES (507) and
 * DEREF_LOCKRES_DONE (522): 72 bytes. */
struct dlm_wire_ref {
	node_t node;
	struct dlm_name name;
};

/* MIGRATE_REQUEST (508): 72 bytes. The sender is new_master. */
struct dlm_wire_migrate {
	node_t master;
	node_t new_master;
	struct dlm_name name;
};

/* ---- locks ---------------------------------------------------------------- */

/* CREATE_LOCK (503): 80 bytes; CONVERT_LOCK (504): 80, or 144 with PUT_LVB. */
struct dlm_wire_lock {
	uint64_t cookie;
	uint32_t flags;
	node_t node;
	int8_t mode;
	struct dlm_name name;
	uint8_t lvb[DLM_LVB_LEN]; /* CONVERT with PUT_LVB, else zero */
};

enum { DLM_WIRE_AST = 0, DLM_WIRE_BAST = 1 };

/* PROXY_AST (505): 80, or 144 with GET_LVB (AST only). */
struct dlm_wire_ast {
	uint64_t cookie;
	uint32_t flags;
	node_t node;	/* owner */
	uint8_t type;	/* DLM_WIRE_AST, DLM_WIRE_BAST */
	int8_t blocked; /* BAST: mode that waits; AST: 0 */
	struct dlm_name name;
	uint8_t lvb[DLM_LVB_LEN];
};

/* UNLOCK_LOCK (506): 80, or 144 with PUT_LVB. */
struct dlm_wire_unlock {
	uint64_t cookie;
	uint32_t flags;
	node_t node;
	struct dlm_name name;
	uint8_t lvb[DLM_LVB_LEN];
};

/* ---- migration and recovery data ------------------------------------------ */

#define DLM_MIG_LOCKS_MAX 240
#define DLM_MRES_RECOVERY 1u
#define DLM_MRES_MIGRATION 2u
#define DLM_MRES_ALL_DONE 4u
/* lksb flags inside a lock record. */
#define DLM_LKSB_PUT_LVB 2u
#define DLM_LKSB_GET_LVB 4u

enum { DLM_LIST_GRANTED = 0, DLM_LIST_CONVERTING = 1, DLM_LIST_BLOCKED = 2 };

struct dlm_wire_mig_lock {
	uint64_t cookie;
	uint8_t list;
	uint8_t flags;
	int8_t mode;
	int8_t convert_mode; /* -1 unless converting */
	node_t node;
};

/* MIG_LOCKRES (509): 112 + 16 a lock. Decoding also refuses (-EINVAL) what panics a
 * kernel: neither or both of RECOVERY and MIGRATION, a converting lock without a
 * convert mode or the reverse, a dummy among others, highest_blocked other than -1. */
struct dlm_wire_mig {
	node_t master; /* NODE_NONE: unknown, recovery only */
	uint8_t num_locks;
	uint8_t flags;
	uint32_t total_locks;
	uint64_t mig_cookie;
	struct dlm_name name;
	uint8_t lvb[DLM_LVB_LEN];
	struct dlm_wire_mig_lock locks[DLM_MIG_LOCKS_MAX];
};

/* "I hold a reference and no lock": the only record, cookie 0, blocked, no mode. */
static inline bool dlm_wire_mig_is_dummy(const struct dlm_wire_mig_lock *l)
{
	return l->cookie == 0 && l->list == DLM_LIST_BLOCKED && l->mode == DLM_MODE_NONE;
}
/* The dummy of a node. */
static inline struct dlm_wire_mig_lock dlm_wire_mig_dummy(node_t node)
{
	return (struct dlm_wire_mig_lock){ .list = DLM_LIST_BLOCKED, .mode = DLM_MODE_NONE,
					   .convert_mode = DLM_MODE_NONE, .node = node };
}

/* LOCK_REQUEST (515), BEGIN_RECO (517): 8 bytes; RECO_DATA_DONE (516): 72;
 * FINALIZE_RECO (518): 8, the only one with flags (stage 1: 0, stage 2: 1). */
struct dlm_wire_reco {
	node_t node;
	node_t dead_node;
	uint8_t flags;
};

/* ---- membership ----------------------------------------------------------- */

#define DLM_WIRE_DOMAIN_MAX 64
#define DLM_WIRE_REGIONS_MAX 32
#define DLM_WIRE_REGION_LEN 32
#define DLM_WIRE_NODE_LEN 8 /* bytes of a node entry */

/* name: not terminated on the wire, terminated here. */
struct dlm_wire_domain {
	uint8_t len; /* 1..64 */
	char name[DLM_WIRE_DOMAIN_MAX + 1];
};

/* QUERY_JOIN (510): 104 bytes. */
struct dlm_wire_query_join {
	node_t node;
	uint8_t dlm_major, dlm_minor;
	uint8_t fs_major, fs_minor;
	struct dlm_wire_domain domain;
	uint8_t node_map[32]; /* node n: bit n & 7 of byte n >> 3 */
};

/* ASSERT_JOINED (511), CANCEL_JOIN (512): 68 bytes. */
struct dlm_wire_join {
	node_t node;
	struct dlm_wire_domain domain;
};

/* EXIT_DOMAIN (513), BEGIN_EXIT_DOMAIN (521): 4 bytes. */
struct dlm_wire_exit {
	node_t node;
};

/* QUERY_REGION (519): 1092 bytes. */
struct dlm_wire_query_region {
	node_t node;
	uint8_t num_regions; /* 0 in local mode, at most 32 */
	struct dlm_wire_domain domain;
	char regions[DLM_WIRE_REGIONS_MAX][DLM_WIRE_REGION_LEN]; /* not terminated */
};

struct dlm_wire_node {
	node_t node;
	uint16_t port;
	uint32_t addr;
};

/* QUERY_NODEINFO (520): 2108 bytes. */
struct dlm_wire_query_nodeinfo {
	node_t node;
	uint8_t num_nodes; /* at most 255 */
	struct dlm_wire_domain domain;
	struct dlm_wire_node nodes[NODE_MAX];
};

/* Answer to QUERY_JOIN: the four bytes of the status. */
enum dlm_join_code {
	DLM_JOIN_DISALLOW = 0,
	DLM_JOIN_OK = 1,
	DLM_JOIN_OK_NO_MAP = 2,
	DLM_JOIN_PROTOCOL_MISMATCH = 3,
};
struct dlm_join_answer {
	uint8_t code;
	uint8_t dlm_minor; /* with DLM_JOIN_OK only */
	uint8_t fs_minor;
};
int32_t dlm_join_answer_pack(struct dlm_join_answer a);
struct dlm_join_answer dlm_join_answer_unpack(int32_t status);

/* ---- the codecs ----------------------------------------------------------- */

#define DLM_WIRE_CODEC(what, type)                                                           \
	int dlm_get_##what(const void *p, size_t len, struct type *out) __must_check;        \
	size_t dlm_put_##what(const struct type *m, void *buf, size_t room)

DLM_WIRE_CODEC(master, dlm_wire_master);
DLM_WIRE_CODEC(requery, dlm_wire_ref);
DLM_WIRE_CODEC(deref, dlm_wire_ref);
DLM_WIRE_CODEC(migrate, dlm_wire_migrate);
DLM_WIRE_CODEC(create, dlm_wire_lock);
DLM_WIRE_CODEC(convert, dlm_wire_lock);
DLM_WIRE_CODEC(ast, dlm_wire_ast);
DLM_WIRE_CODEC(unlock, dlm_wire_unlock);
DLM_WIRE_CODEC(mig, dlm_wire_mig);
DLM_WIRE_CODEC(reco, dlm_wire_reco);	 /* LOCK_REQUEST, BEGIN_RECO */
DLM_WIRE_CODEC(finalize, dlm_wire_reco); /* FINALIZE_RECO */
DLM_WIRE_CODEC(reco_done, dlm_wire_reco);
DLM_WIRE_CODEC(query_join, dlm_wire_query_join);
DLM_WIRE_CODEC(join, dlm_wire_join);
DLM_WIRE_CODEC(exit, dlm_wire_exit);
DLM_WIRE_CODEC(query_region, dlm_wire_query_region);
DLM_WIRE_CODEC(query_nodeinfo, dlm_wire_query_nodeinfo);

#endif
