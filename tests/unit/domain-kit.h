/* SPDX-License-Identifier: GPL-2.0-or-later */
/* domain-kit.h: what the tests of membership share: one bed, members, a scripted peer. */
#ifndef O2FUSE_TESTS_DOMAIN_KIT_H
#define O2FUSE_TESTS_DOMAIN_KIT_H

#include "tests/unit/dlm-bed.h"

#define OK_1_3 0x01030000
#define DISALLOW 0
#define OK_NO_MAP 0x02000000
#define MISMATCH 0x03000000

extern struct bed *bed;
void domain_setup(void);
void domain_teardown(void);

/* A core that has joined. */
struct bed_node *member(node_t id);
void forget_log(void);
/* What a node sent, as one line: "510:1 520:1 ..." (type:to). */
const char *sent_by(node_t from);

/* Peer 1, played: what it answers to QUERY_JOIN, call by call (the last one stays), to
 * QUERY_NODEINFO and QUERY_REGION. */
extern int32_t answers[16], table_answer, region_answer;
struct dlm_reply scripted(struct bed *b, const struct bed_msg *m);
/* Node 3, about to join where peer 1 is. */
struct bed_node *joiner_with_peer(const int32_t *list, size_t n);
#define JOINER(...) \
	joiner_with_peer((int32_t[]){ __VA_ARGS__ }, sizeof((int32_t[]){ __VA_ARGS__ }) / 4)

/* A verdict: messages of type bed->step stay open. */
enum bed_fate keep_type(struct bed *b, const struct bed_msg *m);
/* Run a join of node 3 until its first message of a type is open. */
struct bed_node *join_until(uint16_t type);

#endif
