/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * domain_int.h: what domain.c, join.c and leave.c share.
 *
 * One attempt to join, then, much later, the way out. The drawing (cluster.md 5.8, 5.9):
 *
 *	QUERY --> NODEINFO --> REGION --> ASSERT --> (JOINED) --> BEGIN_EXIT --> EMPTY
 *	  |           |           |         |                                      |
 *	  +-----------+-----------+---------+--> DOUBT, CANCEL --> BACKOFF       EXIT
 *							|	     |
 *						      failed       QUERY
 *
 * One message is open at a time while joining; its outcome, a timer or a node event makes
 * the next step. While leaving, one message a member may be open.
 */
#ifndef O2FUSE_DLM_DOMAIN_INT_H
#define O2FUSE_DLM_DOMAIN_INT_H

#include "dlm/dlm_int.h"

#define DLM_PROTO_MAJOR 1

enum dlm_ms_step {
	MS_QUERY,
	MS_NODEINFO,
	MS_REGION,
	MS_ASSERT,
	MS_CANCEL,
	MS_BACKOFF,
	MS_IDLE, /* joined, or the end */
	MS_BEGIN_EXIT,
	MS_EMPTY,
	MS_EXIT,
};

struct dlm_membership {
	enum dlm_ms_step step;
	node_t cur;		/* whom the open message went to */
	bool probing;		/* the open message asks what became of another one */
	struct dlm_map snapshot; /* who heartbeats, as told in QUERY_JOIN */
	struct dlm_map yes;	/* who has reserved the join for us */
	struct dlm_map doubt;	/* QUERY_JOIN without outcome: may have reserved it */
	struct dlm_map asserted; /* who has taken us in */
	uint32_t slept_ms;	/* in back-offs */
	unsigned int attempts;
	int err;		/* of the attempt */
	bool table_refused;	/* a probe with our node table proves nothing */
	bool quit;		/* dlm_leave() while joining */
	struct dlm_map open, retry; /* leaving: messages open; to be sent again */
	struct dlm_tm timer, pass_timer;
	char why[320];
};

/* domain.c */
struct dlm_wire_domain dlm_domain_wire_name(const struct dlm_domain *dom);
/* QUERY_NODEINFO with our node table. */
size_t dlm_domain_put_table(const struct dlm_domain *dom, uint8_t *buf, size_t room);

/* join.c */
void dlm_join_begin(struct dlm_domain *dom);
void dlm_join_quit(struct dlm_domain *dom);
void dlm_join_node_down(struct dlm_domain *dom, node_t node);

/* leave.c */
void dlm_leave_begin(struct dlm_domain *dom);
/* Something that leaving may have waited for has changed. Nothing unless IN_SHUTDOWN. */
void dlm_leave_go_on(struct dlm_domain *dom);
/* EXIT_DOMAIN to these, then the domain is gone and `err` (0: left) is reported. */
void dlm_leave_exit(struct dlm_domain *dom, const struct dlm_map *to);

#endif
