// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * netlink_request.c: what is asked over the admin channel, and the answers.
 *
 * A datagram passes these doors in this order before anything acts on it: it is ours
 * by its headers; it is a request (answers are never answered, so two processes cannot
 * keep each other busy); the kernel told who sent it; others than uid 0 have not used up
 * their share; version, command and every attribute are valid; the command may be sent
 * that way (to the group or to the port) by that user. What fails at a later door gets an
 * NLMSG_ERROR with a sentence; what fails at the first two is counted only, for it may
 * belong to another program or be an answer.
 */
#include <errno.h>
#include <json-c/json.h>
#include <string.h>
#include "config.h"
#include "net/netlink_int.h"

enum {
	NODES_BYTES = 8192,	/* of a message with nodes */
	ANSWER_FLAGS = NLM_F_MULTI,
	REQUEST_FLAGS = NLM_F_REQUEST | NLM_F_ACK | NLM_F_ECHO | NLM_F_DUMP,
};

struct request {
	struct net_nl *nl;
	const struct net_nl_sender *from;
	struct net_nl_view v;
};

static int answer(struct request *rq, struct nl_msg *msg)
{
	return msg ? net_nl_send(rq->nl, msg, rq->from) : -ENOMEM;
}

/* err 0: acknowledge. */
static void answer_error(struct request *rq, int err, const char *text)
{
	struct nl_msg *msg = nlmsg_alloc_size(NLMSG_HDRLEN + sizeof(struct nlmsgerr) + 512);
	struct nlmsghdr *h;
	struct nlmsgerr *e;

	if (err)
		rq->nl->n.refused++;
	h = msg ? nlmsg_put(msg, rq->from->port, rq->v.h->nlmsg_seq, NLMSG_ERROR, sizeof(*e),
			    NLM_F_CAPPED | NLM_F_ACK_TLVS) : NULL;
	if (!h) {
		nlmsg_free(msg);
		return;
	}
	e = nlmsg_data(h);
	e->error = err;
	e->msg = *rq->v.h;
	if (err && net_nl_put_text(msg, NLMSGERR_ATTR_MSG, text, 480))
		nlmsg_free(msg);
	else
		(void)answer(rq, msg);
}

static struct nl_msg *multi_new(const struct request *rq, size_t size)
{
	return net_nl_msg_new(rq->from->port, rq->v.h->nlmsg_seq, (enum net_nl_cmd)rq->v.cmd,
			      ANSWER_FLAGS, size);
}

static int answer_done(struct request *rq)
{
	struct nl_msg *msg = nlmsg_alloc_size(NLMSG_HDRLEN + sizeof(int));
	struct nlmsghdr *h = msg ? nlmsg_put(msg, rq->from->port, rq->v.h->nlmsg_seq, NLMSG_DONE,
					     sizeof(int), NLM_F_MULTI) : NULL;

	if (!h) {
		nlmsg_free(msg);
		return -ENOMEM;
	}
	memset(nlmsg_data(h), 0, sizeof(int));
	return answer(rq, msg);
}

/* ---- commands: 0 = answered; else the error that is to be answered ------------------ */

static int do_hello(struct request *rq, struct reason *why)
{
	struct net_nl *nl = rq->nl;
	struct nl_msg *msg = net_nl_msg_new(rq->from->port, rq->v.h->nlmsg_seq, NET_NL_CMD_HELLO, 0,
					    256);

	(void)why;
	if (!msg || net_nl_put_text(msg, NET_NL_A_CLUSTER, nl->cluster, NET_CLUSTER_NAME_MAX) ||
	    nla_put_u8(msg, NET_NL_A_SELF, nl->self) < 0 ||
	    net_nl_put_text(msg, NET_NL_A_SELF_NAME, nl->node_name, NET_NODE_NAME_MAX) ||
	    net_nl_put_text(msg, NET_NL_A_VERSION, PACKAGE_VERSION, NET_NL_VERSION_TEXT_MAX)) {
		nlmsg_free(msg);
		return -ENOMEM;
	}
	(void)answer(rq, msg);
	return 0;
}

/* The node that a change is about, with all the fields that it needs. */
static int changed_node(struct request *rq, unsigned need, struct net_nl_node *out,
			struct reason *why)
{
	unsigned have, known = need | 1u << NET_NL_N_PORT;
	int err;

	if (!rq->v.tb[NET_NL_A_NODE])
		return reason_set(why, EXIT_USAGE, -EINVAL,
				  "attribute NODE is missing; say which node");
	err = net_nl_get_node(rq->v.tb[NET_NL_A_NODE], out, &have, why);
	if (err)
		return err;
	if (need & ~have)
		return reason_set(why, EXIT_USAGE, -EINVAL,
				  "attribute NODE lacks %s; give it",
				  need & ~have & 1u << NET_NL_N_NUMBER ? "NUMBER" :
				  need & ~have & 1u << NET_NL_N_NAME   ? "NAME" : "ADDR");
	if (have & ~known)
		return reason_set(why, EXIT_USAGE, -EINVAL,
				  "FLAGS and LINK of a node are told by the cluster and cannot be "
				  "set; leave them out");
	if (!(have & 1u << NET_NL_N_PORT))
		out->node.port = NET_PORT_DEFAULT;
	return 0;
}

static int do_node_add(struct request *rq, struct reason *why)
{
	struct net_nl_node n;
	char buf[NET_ADDR_LEN];
	int err = changed_node(rq, 1u << NET_NL_N_NUMBER | 1u << NET_NL_N_NAME | 1u << NET_NL_N_ADDR,
			       &n, why);

	if (!err)
		err = net_node_check(&n.node, why);
	if (!err)
		err = rq->nl->ops->node_add(rq->nl->ctx, &n.node, why);
	if (err)
		return err;
	rq->nl->n.changes++;
	log_info(rq->nl->log, "netlink", "node added node=%u name=%s addr=%s port=%u by_pid=%d",
		 n.node.number, n.node.name, net_addr_text(n.node.addr, buf), n.node.port,
		 (int)rq->from->pid);
	if (rq->v.h->nlmsg_flags & NLM_F_ACK)
		answer_error(rq, 0, NULL);
	return 0;
}

static int do_node_remove(struct request *rq, struct reason *why)
{
	struct net_nl_node n;
	int err = changed_node(rq, 1u << NET_NL_N_NUMBER, &n, why);

	if (!err)
		err = rq->nl->ops->node_remove(rq->nl->ctx, n.node.number, why);
	if (err)
		return err;
	rq->nl->n.changes++;
	log_info(rq->nl->log, "netlink", "node removed node=%u by_pid=%d", n.node.number,
		 (int)rq->from->pid);
	if (rq->v.h->nlmsg_flags & NLM_F_ACK)
		answer_error(rq, 0, NULL);
	return 0;
}

/* One message with as many nodes as fit; *from goes on to the first that did not. */
static struct nl_msg *nodes_part(struct request *rq, unsigned *from, bool one, bool *more)
{
	struct nl_msg *msg = multi_new(rq, NODES_BYTES);
	struct nlattr *list = msg ? nla_nest_start(msg, NET_NL_A_NODES) : NULL;
	struct net_nl_node n = { 0 };
	bool any = false;

	if (!list)
		goto fail;
	for (*more = false; rq->nl->ops->node_next(rq->nl->ctx, *from, &n);
	     memset(&n, 0, sizeof(n))) {
		if (one && n.node.number != *from)
			break;
		if (net_nl_put_node(msg, &n)) {
			if (!any)
				goto fail; /* a node larger than a message: our mistake */
			*more = true;
			break;
		}
		any = true;
		*from = n.node.number + 1u;
		if (one)
			break;
	}
	nla_nest_end(msg, list);
	return msg;
fail:
	nlmsg_free(msg);
	return NULL;
}

static int do_node_get(struct request *rq, struct reason *why)
{
	bool one = (rq->v.h->nlmsg_flags & NLM_F_DUMP) != NLM_F_DUMP, more = true;
	struct net_nl_node n = { 0 }, want;
	unsigned from = 0, have;
	int err;

	if (one) {
		if (!rq->v.tb[NET_NL_A_NODE])
			return reason_set(why, EXIT_USAGE, -EINVAL,
					  "attribute NODE is missing; say which node, or ask for all "
					  "with NLM_F_DUMP");
		err = net_nl_get_node(rq->v.tb[NET_NL_A_NODE], &want, &have, why);
		if (err)
			return err;
		from = want.node.number;
		if (!(have & 1u << NET_NL_N_NUMBER))
			return reason_set(why, EXIT_USAGE, -EINVAL,
					  "attribute NODE lacks NUMBER; give it");
		if (!rq->nl->ops->node_next(rq->nl->ctx, from, &n) || n.node.number != from)
			return reason_set(why, EXIT_CONF, -ENOENT,
					  "there is no node %u; `o2fuse nodes` lists them", from);
	}
	for (err = 0; !err && more;) {
		more = false;
		err = answer(rq, nodes_part(rq, &from, one, &more));
	}
	if (!err)
		err = answer_done(rq);
	/* What cannot be sent has no one to be told. */
	return err == -ENOMEM ? err : 0;
}

/* A JSON text in parts. The object ends here. */
static int answer_text(struct request *rq, struct json_object *o)
{
	const char *text = o ? json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN) : NULL;
	size_t left = text ? strlen(text) : 0, part;
	int err = text ? 0 : -ENOMEM;

	for (; !err && left; text += part, left -= part) {
		struct nl_msg *msg = multi_new(rq, NET_NL_STATUS_PART + NLA_HDRLEN);

		part = left < NET_NL_STATUS_PART ? left : NET_NL_STATUS_PART;
		if (!msg || nla_put(msg, NET_NL_A_STATUS, (int)part, text) < 0) {
			nlmsg_free(msg);
			err = -ENOMEM;
			break;
		}
		err = answer(rq, msg);
	}
	if (!err)
		err = answer_done(rq);
	json_object_put(o);
	return err == -ENOMEM ? err : 0;
}

static int do_status_get(struct request *rq, struct reason *why)
{
	(void)why;
	return answer_text(rq, rq->nl->ops->status(rq->nl->ctx));
}

static int do_locks_get(struct request *rq, struct reason *why)
{
	struct net_nl_locks which = { 0 };
	int err = rq->v.tb[NET_NL_A_LOCKS] ?
			  net_nl_get_locks(rq->v.tb[NET_NL_A_LOCKS], &which, why) : 0;

	return err ? err : answer_text(rq, rq->nl->ops->locks(rq->nl->ctx, &which));
}

static const struct {
	int (*run)(struct request *rq, struct reason *why);
	bool root, group;	/* for uid 0 only; may be sent to the group */
	unsigned attrs;		/* 1 << NET_NL_A_...: those that mean something */
} commands[NET_NL_CMD_MAX + 1] = {
	[NET_NL_CMD_HELLO] = { do_hello, false, true, 0 },
	[NET_NL_CMD_NODE_ADD] = { do_node_add, true, false, 1u << NET_NL_A_NODE },
	[NET_NL_CMD_NODE_REMOVE] = { do_node_remove, true, false, 1u << NET_NL_A_NODE },
	[NET_NL_CMD_NODE_GET] = { do_node_get, false, false, 1u << NET_NL_A_NODE },
	[NET_NL_CMD_STATUS_GET] = { do_status_get, false, false, 0 },
	/* Value blocks tell sizes and times of files that the asker may not see. */
	[NET_NL_CMD_LOCKS_GET] = { do_locks_get, true, false, 1u << NET_NL_A_LOCKS },
};

/* ---- the doors --------------------------------------------------------------------- */

/* A token bucket for all that are not uid 0. */
static bool within_share(struct net_nl *nl)
{
	int64_t now = net_nl_now_ms(), gained = (now - nl->tokens_ms) * NET_NL_OTHERS_PER_S / 1000;

	if (gained > 0) {
		nl->tokens_ms = now;
		nl->tokens = gained >= NET_NL_OTHERS_BURST || nl->tokens + gained > NET_NL_OTHERS_BURST ?
				     NET_NL_OTHERS_BURST :
				     nl->tokens + (unsigned)gained;
	}
	if (!nl->tokens)
		return false;
	nl->tokens--;
	return true;
}

static int check(struct request *rq, void *buf, size_t len, struct reason *why)
{
	int err = net_nl_view(buf, len, &rq->v, why);

	if (err) {
		rq->nl->n.malformed++;
		return err;
	}
	if (rq->v.h->nlmsg_flags & ~REQUEST_FLAGS) {
		rq->nl->n.malformed++;
		return reason_set(why, EXIT_USAGE, -EINVAL,
				  "flags %#x of the message are not known; use a tool of the same "
				  "version as the mount", rq->v.h->nlmsg_flags & ~REQUEST_FLAGS);
	}
	if (!commands[rq->v.cmd].run)
		return reason_set(why, EXIT_USAGE, -EOPNOTSUPP,
				  "command %u is an event, not a request; listen to it instead",
				  rq->v.cmd);
	for (unsigned i = 1; i <= NET_NL_A_MAX; i++)
		if (rq->v.tb[i] && !(commands[rq->v.cmd].attrs & 1u << i)) {
			rq->nl->n.malformed++;
			return reason_set(why, EXIT_USAGE, -EINVAL,
					  "attribute %u means nothing to command %u; leave it out",
					  i, rq->v.cmd);
		}
	if (rq->from->to_group && !commands[rq->v.cmd].group)
		return reason_set(why, EXIT_USAGE, -EINVAL,
				  "command %u goes to one process, not to the group; send HELLO "
				  "first and take the port that answers", rq->v.cmd);
	if (commands[rq->v.cmd].root && rq->from->uid != 0)
		return reason_set(why, EXIT_USAGE, -EPERM, "only root may %s, and this is uid %u; use sudo",
				  rq->v.cmd == NET_NL_CMD_LOCKS_GET ? "look into the lock manager" :
								      "change the node table",
				  (unsigned)rq->from->uid);
	return 0;
}

void net_nl_request(struct net_nl *nl, void *buf, size_t len, const struct net_nl_sender *from)
{
	struct request rq = { .nl = nl, .from = from, .v.h = buf };
	struct reason why = { 0 };
	int err;

	if (!net_nl_ours(buf, len) || !(rq.v.h->nlmsg_flags & NLM_F_REQUEST) || !from->port) {
		nl->n.foreign++;
		return;
	}
	nl->n.requests++;
	if (!from->known) {
		nl->n.refused++;
		log_warn(nl->log, "netlink", "request without credentials dropped port=%u",
			 from->port);
		return;
	}
	if (from->uid != 0 && !within_share(nl)) {
		nl->n.limited++;
		if (!from->to_group)
			answer_error(&rq, -EAGAIN, "too many requests of users other than root; "
						   "retry in a second");
		return;
	}
	err = check(&rq, buf, len, &why);
	if (!err)
		err = commands[rq.v.cmd].run(&rq, &why);
	if (!err)
		return;
	if (!why.text[0])
		reason_set(&why, EXIT_SYSTEM, err, "%s; retry, and see the log of the mount",
			   strerror(-err));
	log_debug(nl->log, "netlink", "request refused cmd=%u uid=%u pid=%d err=%d reason=\"%s\"",
		  rq.v.cmd, (unsigned)from->uid, (int)from->pid, err, why.text);
	answer_error(&rq, err, why.text);
}
