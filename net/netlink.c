// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * netlink.c: the server's socket: receive, answer without blocking, tell events.
 *
 * The reactor must never wait for a client: a starved reactor misses keepalives and
 * makes peers vote us out (doc/spec/cluster.md trap 7). So
 *  - answers go out with MSG_DONTWAIT; when the receiver's buffer is full they wait in
 *    a queue, in order per receiver, and are tried again by a timer; a receiver that takes
 *    nothing for 5 s loses them, and so do all beyond a limit (the client times out);
 *  - one call of net_nl_readable() handles a few datagrams only; the poll reports the
 *    rest, after everything else has had its turn;
 *  - others than uid 0 get a limited number of requests a second together.
 *
 * A multicast to a group answers ECONNREFUSED although it was delivered: the kernel
 * then also tries the unicast to port 0, where NETLINK_USERSOCK has nobody (seen on
 * 6.18; net/netlink/af_netlink.c, netlink_sendmsg).
 */
#include <errno.h>
#include <json-c/json.h>
#include <netlink/errno.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include "net/netlink_int.h"

enum {
	RETRY_MS = 20,
	KEEP_MS = 5000,		/* how long an answer waits for its receiver */
	BATCH = 16,		/* datagrams a call */
	QUEUE_OTHERS = 4 << 20,	/* bytes that others than uid 0 may have queued */
	QUEUE_ROOT = 16 << 20,
	SOCKET_BYTES = 1 << 20,
};

/* An answer that waits, and whom it waits for. */
struct waiting {
	struct cds_list_head link;
	struct nl_msg *msg;
};

struct receiver {
	struct cds_list_head link;	/* net_nl.out */
	struct cds_list_head answers;	/* struct waiting, in order; never empty */
	uint32_t port;
	int64_t until_ms;		/* give up then; moved on by each answer taken */
};

int64_t net_nl_now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static int sock_open(struct net_nl *nl, struct reason *why)
{
	int err;

	nl->sk = nl_socket_alloc();
	if (!nl->sk)
		return reason_set(why, EXIT_SYSTEM, -ENOMEM,
				  "opening the admin channel: out of memory; free some and retry");
	nl_socket_disable_auto_ack(nl->sk);
	nl_socket_disable_seq_check(nl->sk);
	err = nl_connect(nl->sk, NETLINK_USERSOCK);
	if (err < 0)
		return reason_set(why, EXIT_SYSTEM, -EIO,
				  "opening the admin channel: netlink socket: %s; does the kernel "
				  "have netlink?", nl_geterror(err));
	/* More than net.core.rmem_max allows is cut silently; that is fine. */
	(void)nl_socket_set_buffer_size(nl->sk, SOCKET_BYTES, SOCKET_BYTES);
	if (nl_socket_set_nonblocking(nl->sk) < 0 || nl_socket_set_passcred(nl->sk, 1) < 0)
		return reason_set(why, EXIT_SYSTEM, -EIO,
				  "opening the admin channel: cannot ask for credentials; report "
				  "this with the kernel's version");
	err = nl_socket_add_membership(nl->sk, NET_NL_GROUP_DAEMONS);
	if (err < 0)
		return reason_set(why, EXIT_SYSTEM, -EPERM,
				  "opening the admin channel: joining group %d: %s; mount as root "
				  "(CAP_NET_ADMIN)", NET_NL_GROUP_DAEMONS, nl_geterror(err));
	return 0;
}

int net_nl_open(const struct net_nl_config *cfg, struct net_nl **out, struct reason *why)
{
	struct net_nl *nl = calloc(1, sizeof(*nl));
	int err;

	*out = NULL;
	if (!nl)
		return reason_set(why, EXIT_SYSTEM, -ENOMEM,
				  "opening the admin channel: out of memory; free some and retry");
	CDS_INIT_LIST_HEAD(&nl->out);
	nl->log = cfg->log;
	nl->ops = cfg->ops;
	nl->ctx = cfg->ctx;
	nl->self = cfg->self;
	snprintf(nl->cluster, sizeof(nl->cluster), "%s", cfg->cluster);
	snprintf(nl->node_name, sizeof(nl->node_name), "%s", cfg->node_name);
	nl->tokens = NET_NL_OTHERS_BURST;
	nl->tokens_ms = net_nl_now_ms();
	err = sock_open(nl, why);
	if (err) {
		net_nl_close(nl);
		return err;
	}
	*out = nl;
	return 0;
}

static void waiting_free(struct net_nl *nl, struct waiting *w)
{
	cds_list_del(&w->link);
	nl->out_bytes -= nlmsg_hdr(w->msg)->nlmsg_len;
	nlmsg_free(w->msg);
	free(w);
}

static void receiver_drop(struct net_nl *nl, struct receiver *r)
{
	struct waiting *w, *next;

	cds_list_for_each_entry_safe(w, next, &r->answers, link) {
		nl->n.dropped++;
		waiting_free(nl, w);
	}
	cds_list_del(&r->link);
	free(r);
}

void net_nl_close(struct net_nl *nl)
{
	struct receiver *r, *next;

	if (!nl)
		return;
	cds_list_for_each_entry_safe(r, next, &nl->out, link)
		receiver_drop(nl, r);
	nl_socket_free(nl->sk);
	free(nl);
}

int net_nl_fd(const struct net_nl *nl)
{
	return nl_socket_get_fd(nl->sk);
}

/* ---- sending ---------------------------------------------------------------------- */

static int send_to(const struct net_nl *nl, struct nl_msg *msg, uint32_t port, uint32_t groups)
{
	struct sockaddr_nl to = { .nl_family = AF_NETLINK, .nl_pid = port, .nl_groups = groups };
	struct nlmsghdr *h = nlmsg_hdr(msg);
	ssize_t n;

	if (!nl->sk)
		return 0;
	do
		n = sendto(nl_socket_get_fd(nl->sk), h, h->nlmsg_len, MSG_DONTWAIT,
			   (struct sockaddr *)&to, sizeof(to));
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

static bool full(int err)
{
	return err == -EAGAIN || err == -ENOBUFS;
}

static struct receiver *receiver_find(const struct net_nl *nl, uint32_t port)
{
	struct receiver *r;

	cds_list_for_each_entry(r, &nl->out, link)
		if (r->port == port)
			return r;
	return NULL;
}

static struct receiver *receiver_new(struct net_nl *nl, uint32_t port)
{
	struct receiver *r = malloc(sizeof(*r));

	if (!r)
		return NULL;
	*r = (struct receiver){ .port = port, .until_ms = net_nl_now_ms() + KEEP_MS };
	CDS_INIT_LIST_HEAD(&r->answers);
	if (cds_list_empty(&nl->out))
		nl->ops->timer(nl->ctx, RETRY_MS);
	cds_list_add_tail(&r->link, &nl->out);
	return r;
}

int net_nl_send(struct net_nl *nl, struct nl_msg *msg, const struct net_nl_sender *to)
{
	size_t len = nlmsg_hdr(msg)->nlmsg_len;
	size_t room = to->known && to->uid == 0 ? QUEUE_ROOT : QUEUE_OTHERS;
	struct receiver *r = receiver_find(nl, to->port);
	int err = r ? -EAGAIN : send_to(nl, msg, to->port, 0);
	struct waiting *w = NULL;

	if (!full(err)) {
		nl->n.dropped += err != 0; /* it is not there any more */
		nlmsg_free(msg);
		return err;
	}
	if (nl->out_bytes + len <= room)
		w = malloc(sizeof(*w));
	if (w && !r)
		r = receiver_new(nl, to->port);
	if (!w || !r) {
		free(w);
		nl->n.dropped++;
		nlmsg_free(msg);
		return -ENOBUFS;
	}
	w->msg = msg;
	cds_list_add_tail(&w->link, &r->answers);
	nl->out_bytes += len;
	return 0;
}

/* All that is taken goes out. Half an answer is none: what cannot be sent takes the rest
 * with it. */
static void receiver_tick(struct net_nl *nl, struct receiver *r, int64_t now)
{
	struct waiting *w, *next;

	cds_list_for_each_entry_safe(w, next, &r->answers, link) {
		int err = send_to(nl, w->msg, r->port, 0);

		if (full(err) && now < r->until_ms)
			return;
		if (err)
			break;
		r->until_ms = now + KEEP_MS;
		waiting_free(nl, w);
	}
	receiver_drop(nl, r);
}

void net_nl_tick(struct net_nl *nl)
{
	int64_t now = net_nl_now_ms();
	struct receiver *r, *next;

	cds_list_for_each_entry_safe(r, next, &nl->out, link)
		receiver_tick(nl, r, now);
	if (!cds_list_empty(&nl->out))
		nl->ops->timer(nl->ctx, RETRY_MS);
}

void net_nl_event(struct net_nl *nl, const char *name, node_t node, const char *words)
{
	struct nl_msg *msg = net_nl_msg_new(nl_socket_get_local_port(nl->sk), 0, NET_NL_CMD_EVENT, 0,
					    1024);
	struct net_nl_event ev = { .name = name, .node = node, .words = words };
	struct net_nl_node row = { 0 };
	struct timespec ts;
	int err;

	clock_gettime(CLOCK_REALTIME, &ts);
	ev.time_ns = (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
	ev.seq = ++nl->event_seq;
	nl->n.events++;
	if (node != NODE_NONE && nl->ops->node_next(nl->ctx, node, &row) &&
	    row.node.number == node)
		ev.node_name = row.node.name;
	if (!msg || net_nl_put_text(msg, NET_NL_A_CLUSTER, nl->cluster, NET_CLUSTER_NAME_MAX) ||
	    net_nl_put_event(msg, &ev)) {
		nl->n.dropped++;
		nlmsg_free(msg);
		return;
	}
	err = send_to(nl, msg, 0, 1u << (NET_NL_GROUP_EVENTS - 1));
	if (err && err != -ECONNREFUSED)
		nl->n.dropped++;
	nlmsg_free(msg);
}

/* ---- receiving -------------------------------------------------------------------- */

void net_nl_readable(struct net_nl *nl)
{
	for (int i = 0; i < BATCH; i++) {
		struct sockaddr_nl from = { 0 };
		struct ucred *creds = NULL;
		unsigned char *buf = NULL;
		int n = nl_recv(nl->sk, &from, &buf, &creds);
		struct net_nl_sender who = {
			.port = from.nl_pid, .to_group = from.nl_groups != 0, .known = creds,
			.uid = creds ? creds->uid : (uid_t)-1, .pid = creds ? creds->pid : 0,
		};

		if (n > 0)
			net_nl_request(nl, buf, (size_t)n, &who);
		free(buf);
		free(creds);
		if (n == -NLE_NOMEM)
			nl->n.overruns++; /* others overran the buffer; what came is lost */
		else if (n <= 0)
			return;
	}
}

void net_nl_status(const struct net_nl *nl, struct json_object *into)
{
	struct json_object *o = json_object_new_object();
	const struct {
		const char *name;
		uint64_t value;
	} all[] = {
		{ "requests", nl->n.requests },	  { "changes", nl->n.changes },
		{ "refused", nl->n.refused },	  { "malformed", nl->n.malformed },
		{ "foreign", nl->n.foreign },	  { "limited", nl->n.limited },
		{ "overruns", nl->n.overruns },	  { "events", nl->n.events },
		{ "dropped", nl->n.dropped },
	};

	if (!o)
		return;
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		json_object_object_add(o, all[i].name, json_object_new_uint64(all[i].value));
	json_object_object_add(into, "netlink", o);
}
