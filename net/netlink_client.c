// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * netlink_client.c: the tool's end of the admin channel.
 *
 * A datagram counts as an answer only if the kernel says that uid 0 sent it, it comes
 * from the port that was asked, and it carries the number of the question. Everything
 * else is passed over, within the same time limit: a local user who floods us can make
 * the tool fail, not believe him.
 *
 * Who is there: HELLO goes to the group of the processes, which only CAP_NET_ADMIN can
 * join. /proc/net/netlink lists the members of that group, so the tool knows at once
 * that there is none, and stops waiting when the last one has answered.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <json-c/json.h>
#include <netlink/errno.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include "net/netlink_client.h"
#include "net/netlink_policy.h"

enum {
	SOCKET_BYTES = 4 << 20,
	STATUS_MAX = 64 << 20,
	EXPECT_MAX = 256,	/* processes in one network namespace */
	TRACKED_MAX = 64,	/* processes whose event numbers are followed */
};

struct net_nlc {
	struct nl_sock *sk;
	uint32_t seq;
	unsigned wait_ms;
	size_t n_tracked;
	struct {
		uint32_t port;
		uint64_t seq;
	} tracked[TRACKED_MAX];
};

struct datagram {
	unsigned char *buf;
	size_t len;
	uint32_t port;
	pid_t pid;
};

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void buffer_grow(int fd)
{
	int bytes = SOCKET_BYTES;

	/* As root beyond net.core.rmem_max; otherwise up to it. */
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)) < 0)
		(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes)) < 0)
		(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
}

int net_nlc_open(unsigned wait_ms, struct net_nlc **out, struct reason *why)
{
	struct timeval limit = { .tv_sec = wait_ms / 1000,
				 .tv_usec = (suseconds_t)(wait_ms % 1000) * 1000 };
	struct net_nlc *c = calloc(1, sizeof(*c));
	int err;

	*out = NULL;
	if (c)
		c->sk = nl_socket_alloc();
	if (!c || !c->sk) {
		free(c);
		return reason_set(why, EXIT_SYSTEM, -ENOMEM, "out of memory; free some and retry");
	}
	err = nl_connect(c->sk, NETLINK_USERSOCK);
	if (err >= 0)
		err = nl_socket_set_passcred(c->sk, 1);
	if (err < 0) {
		reason_set(why, EXIT_SYSTEM, -EIO, "netlink socket: %s; does the kernel have "
			   "netlink, and may this program use it?", nl_geterror(err));
		net_nlc_close(c);
		return -EIO;
	}
	buffer_grow(nl_socket_get_fd(c->sk));
	(void)setsockopt(nl_socket_get_fd(c->sk), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	c->seq = (uint32_t)now_ms();
	c->wait_ms = wait_ms;
	*out = c;
	return 0;
}

void net_nlc_close(struct net_nlc *c)
{
	if (!c)
		return;
	nl_socket_free(c->sk);
	free(c);
}

/* ---- datagrams --------------------------------------------------------------------- */

static int send_msg(struct net_nlc *c, struct nl_msg *msg, uint32_t port, uint32_t groups,
		    struct reason *why)
{
	struct sockaddr_nl to = { .nl_family = AF_NETLINK, .nl_pid = port, .nl_groups = groups };
	struct nlmsghdr *h = nlmsg_hdr(msg);
	ssize_t n;

	do
		n = sendto(nl_socket_get_fd(c->sk), h, h->nlmsg_len, 0, (struct sockaddr *)&to,
			   sizeof(to));
	while (n < 0 && errno == EINTR);
	nlmsg_free(msg);
	/* A multicast is followed by a unicast to port 0, where nobody is. */
	if (n >= 0 || (groups && errno == ECONNREFUSED))
		return 0;
	if (errno == ECONNREFUSED)
		return reason_set(why, EXIT_SYSTEM, -ESRCH,
				  "the process has ended; see its log for the reason");
	if (errno == EAGAIN)
		return reason_set(why, EXIT_SYSTEM, -EAGAIN,
				  "the process is busy: its netlink buffer is full; retry");
	return reason_set(why, EXIT_SYSTEM, -errno, "sending: %s; retry", strerror(errno));
}

/* Next datagram that uid 0 sent. until_ms < 0: wait for ever. */
static int receive(struct net_nlc *c, int64_t until_ms, struct datagram *d, struct reason *why)
{
	for (;;) {
		struct pollfd p = { .fd = nl_socket_get_fd(c->sk), .events = POLLIN };
		struct sockaddr_nl from = { 0 };
		struct ucred *creds = NULL;
		unsigned char *buf = NULL;
		int64_t left = until_ms < 0 ? -1 : until_ms - now_ms();
		int n = left < 0 && until_ms >= 0 ? 0 : poll(&p, 1, (int)left);
		bool trusted;

		if (n < 0)
			return -errno;
		if (n == 0)
			return reason_set(why, EXIT_SYSTEM, -ETIMEDOUT,
					  "no answer in time; is the process stopped? See `ps`, and "
					  "its log");
		n = nl_recv(c->sk, &from, &buf, &creds);
		trusted = creds && creds->uid == 0;
		if (n > 0 && trusted)
			*d = (struct datagram){ .buf = buf, .len = (size_t)n, .port = from.nl_pid,
						.pid = creds->pid };
		else
			free(buf);
		free(creds);
		if (n > 0 && trusted)
			return 0;
		/* NLE_NOMEM: the buffer overran. What is missing shows in the answer, or in the
		 * numbers of the events. */
		if (n <= 0 && n != -NLE_AGAIN && n != -NLE_INTR && n != -NLE_NOMEM)
			return reason_set(why, EXIT_SYSTEM, -EIO, "receiving: %s; retry",
					  nl_geterror(n));
	}
}

/* ---- question and answer ------------------------------------------------------------- */

/* For each message of an answer. -EPROTO: it makes no sense. */
typedef int (*answer_fn)(void *ctx, const struct net_nl_view *v, struct reason *why);

static int odd_answer(struct reason *why)
{
	return reason_set(why, EXIT_SYSTEM, -EPROTO,
			  "an answer that this version does not understand; use a tool of the same "
			  "version as the mount");
}

/* err of NLMSG_ERROR, with the sentence that came along. */
static int error_of(struct nlmsghdr *h, size_t len, struct reason *why)
{
	size_t head = NLMSG_HDRLEN + NLMSG_ALIGN(sizeof(struct nlmsgerr));
	struct nlmsgerr *e = nlmsg_data(h);
	struct nlattr *a;
	int rem, err;

	if (len < head)
		return odd_answer(why);
	err = e->error;
	if (err == 0)
		return 0;
	if (err > 0 || err < -4095)
		return odd_answer(why);
	nla_for_each_attr(a, (struct nlattr *)((char *)h + head), (int)(len - head), rem)
		if (nla_type(a) == NLMSGERR_ATTR_MSG && nla_len(a) > 0)
			return reason_set(why, EXIT_CONF, err, "%.*s",
					  (int)strnlen(nla_data(a), (size_t)nla_len(a)),
					  (const char *)nla_data(a));
	return reason_set(why, EXIT_CONF, err, "%s", strerror(-err));
}

/* Ask one process, and collect what it answers until acknowledgement, error or end. */
static int ask(struct net_nlc *c, const struct net_nlc_daemon *to, struct nl_msg *msg,
	       answer_fn fn, void *ctx, struct reason *why)
{
	uint32_t seq = nlmsg_hdr(msg)->nlmsg_seq;
	int64_t until = now_ms() + c->wait_ms;
	int err = send_msg(c, msg, to->port, 0, why);
	bool done = false;

	while (!err && !done) {
		struct datagram d = { 0 };
		struct net_nl_view v;
		struct nlmsghdr *h;

		err = receive(c, until, &d, why);
		if (err == -EINTR) {
			err = 0;
			continue;
		}
		if (err)
			break;
		h = (void *)d.buf;
		if (d.port != to->port || d.len < NLMSG_HDRLEN || h->nlmsg_len != d.len ||
		    h->nlmsg_seq != seq || h->nlmsg_flags & NLM_F_REQUEST) {
			free(d.buf);
			continue;
		}
		until = now_ms() + c->wait_ms;
		if (h->nlmsg_type == NLMSG_ERROR) {
			err = error_of(h, d.len, why);
			done = true;
		} else if (h->nlmsg_type == NLMSG_DONE) {
			done = true;
		} else if (fn && net_nl_ours(d.buf, d.len)) {
			err = net_nl_view(d.buf, d.len, &v, NULL) ? odd_answer(why) :
								    fn(ctx, &v, why);
		} else {
			err = odd_answer(why);
		}
		free(d.buf);
	}
	return err;
}

static struct nl_msg *question(struct net_nlc *c, enum net_nl_cmd cmd, int flags)
{
	return net_nl_msg_new(nl_socket_get_local_port(c->sk), ++c->seq, cmd, NLM_F_REQUEST | flags,
			      512);
}

static int no_memory(struct nl_msg *msg, struct reason *why)
{
	nlmsg_free(msg);
	return reason_set(why, EXIT_SYSTEM, -ENOMEM, "out of memory; free some and retry");
}

/* ---- who is there ---------------------------------------------------------------------- */

/* Ports in the group of the processes; -1: /proc does not tell. */
static int expected(uint32_t *ports, size_t room)
{
	FILE *f = fopen("/proc/net/netlink", "re");
	char line[256];
	int n = 0;

	if (!f)
		return -1;
	while (fgets(line, sizeof(line), f)) {
		unsigned proto, port, groups;

		if (sscanf(line, "%*x %u %u %x", &proto, &port, &groups) == 3 &&
		    proto == NETLINK_USERSOCK && groups & 1u << (NET_NL_GROUP_DAEMONS - 1) &&
		    (size_t)n < room)
			ports[n++] = port;
	}
	fclose(f);
	return n;
}

static bool hello_take(const struct datagram *d, uint32_t seq, struct net_nlc_daemon *out)
{
	struct net_nl_view v;

	if (!net_nl_ours(d->buf, d->len) || net_nl_view(d->buf, d->len, &v, NULL) ||
	    v.cmd != NET_NL_CMD_HELLO || v.h->nlmsg_seq != seq ||
	    v.h->nlmsg_flags & NLM_F_REQUEST || !v.tb[NET_NL_A_CLUSTER] || !v.tb[NET_NL_A_SELF] ||
	    !v.tb[NET_NL_A_SELF_NAME] || !v.tb[NET_NL_A_VERSION])
		return false;
	*out = (struct net_nlc_daemon){ .port = d->port, .pid = d->pid,
					.self = nla_get_u8(v.tb[NET_NL_A_SELF]) };
	nla_strlcpy(out->cluster, v.tb[NET_NL_A_CLUSTER], sizeof(out->cluster));
	nla_strlcpy(out->node_name, v.tb[NET_NL_A_SELF_NAME], sizeof(out->node_name));
	nla_strlcpy(out->version, v.tb[NET_NL_A_VERSION], sizeof(out->version));
	return true;
}

static int by_cluster(const void *pa, const void *pb)
{
	const struct net_nlc_daemon *a = pa, *b = pb;
	int d = strcmp(a->cluster, b->cluster);

	return d ? d : a->self - b->self;
}

static bool known(const struct net_nlc_daemon *all, size_t n, uint32_t port)
{
	for (size_t i = 0; i < n; i++)
		if (all[i].port == port)
			return true;
	return false;
}

int net_nlc_find(struct net_nlc *c, struct net_nlc_daemon **out, size_t *n, size_t *silent,
		 struct reason *why)
{
	struct net_nlc_daemon *all = calloc(EXPECT_MAX, sizeof(*all));
	struct nl_msg *msg = question(c, NET_NL_CMD_HELLO, 0);
	int64_t until = now_ms() + c->wait_ms;
	uint32_t ports[EXPECT_MAX];
	int want = expected(ports, EXPECT_MAX), err;

	*out = NULL;
	*n = *silent = 0;
	if (!all || !msg) {
		free(all);
		return no_memory(msg, why);
	}
	err = want == 0 ? (nlmsg_free(msg), 0) :
			  send_msg(c, msg, 0, 1u << (NET_NL_GROUP_DAEMONS - 1), why);
	while (!err && *n < EXPECT_MAX && (want < 0 || *n < (size_t)want)) {
		struct datagram d;

		err = receive(c, until, &d, NULL);
		if (err == -EINTR) {
			err = 0;
			continue;
		}
		if (err)
			break;
		if (!known(all, *n, d.port) && hello_take(&d, c->seq, &all[*n]))
			++*n;
		free(d.buf);
	}
	if (err && err != -ETIMEDOUT) {
		free(all);
		return reason_set(why, EXIT_SYSTEM, err, "%s; retry", strerror(-err));
	}
	for (int i = 0; i < want; i++)
		*silent += !known(all, *n, ports[i]);
	if (!*n && !*silent) {
		free(all);
		return reason_set(why, EXIT_SYSTEM, -ESRCH,
				  "no o2fuse is running in this network namespace; mount a volume "
				  "first (mount.o2fuse), or enter the namespace that it was mounted "
				  "in (ip netns exec)");
	}
	qsort(all, *n, sizeof(*all), by_cluster);
	*out = all;
	return 0;
}

/* ---- nodes ------------------------------------------------------------------------------ */

struct nodes_ctx {
	void (*fn)(void *ctx, const struct net_nl_node *node);
	void *ctx;
};

static int nodes_take(void *ctx, const struct net_nl_view *v, struct reason *why)
{
	const struct nodes_ctx *nc = ctx;
	const unsigned all = 1u << NET_NL_N_NUMBER | 1u << NET_NL_N_NAME | 1u << NET_NL_N_ADDR |
			     1u << NET_NL_N_PORT | 1u << NET_NL_N_FLAGS;
	struct net_nl_node node;
	struct nlattr *a;
	unsigned have;
	int rem;

	if (v->cmd != NET_NL_CMD_NODE_GET)
		return odd_answer(why);
	if (!v->tb[NET_NL_A_NODES])
		return 0; /* an empty list */
	nla_for_each_nested(a, v->tb[NET_NL_A_NODES], rem) {
		if (nla_type(a) != NET_NL_A_NODE || net_nl_get_node(a, &node, &have, NULL) ||
		    (have & all) != all)
			return odd_answer(why);
		nc->fn(nc->ctx, &node);
	}
	return 0;
}

int net_nlc_nodes(struct net_nlc *c, const struct net_nlc_daemon *d,
		  void (*fn)(void *ctx, const struct net_nl_node *node), void *ctx,
		  struct reason *why)
{
	struct nodes_ctx nc = { fn, ctx };
	struct nl_msg *msg = question(c, NET_NL_CMD_NODE_GET, NLM_F_DUMP);

	return msg ? ask(c, d, msg, nodes_take, &nc, why) : no_memory(msg, why);
}

static int change(struct net_nlc *c, const struct net_nlc_daemon *d, enum net_nl_cmd cmd,
		  const struct net_node *node, struct reason *why)
{
	struct nl_msg *msg = question(c, cmd, NLM_F_ACK);
	struct nlattr *nest = msg ? nla_nest_start(msg, NET_NL_A_NODE) : NULL;
	bool full = cmd == NET_NL_CMD_NODE_ADD;

	if (!nest || nla_put_u8(msg, NET_NL_N_NUMBER, node->number) < 0 ||
	    (full && (net_nl_put_text(msg, NET_NL_N_NAME, node->name, NET_NODE_NAME_MAX) ||
		      nla_put_u32(msg, NET_NL_N_ADDR, htonl(node->addr)) < 0 ||
		      nla_put_u16(msg, NET_NL_N_PORT, node->port) < 0)))
		return no_memory(msg, why);
	nla_nest_end(msg, nest);
	return ask(c, d, msg, NULL, NULL, why);
}

int net_nlc_node_add(struct net_nlc *c, const struct net_nlc_daemon *d,
		     const struct net_node *node, struct reason *why)
{
	return change(c, d, NET_NL_CMD_NODE_ADD, node, why);
}

int net_nlc_node_remove(struct net_nlc *c, const struct net_nlc_daemon *d, node_t number,
			struct reason *why)
{
	struct net_node node = { .number = number };

	return change(c, d, NET_NL_CMD_NODE_REMOVE, &node, why);
}

/* ---- status ------------------------------------------------------------------------------ */

struct text {
	char *buf;
	size_t len;
};

static int status_take(void *ctx, const struct net_nl_view *v, struct reason *why)
{
	const struct nlattr *a = v->tb[NET_NL_A_STATUS];
	struct text *t = ctx;
	size_t n;
	char *buf;

	if ((v->cmd != NET_NL_CMD_STATUS_GET && v->cmd != NET_NL_CMD_LOCKS_GET) || !a)
		return odd_answer(why);
	n = (size_t)nla_len(a);
	buf = t->len + n <= STATUS_MAX ? realloc(t->buf, t->len + n + 1) : NULL;
	if (!buf)
		return no_memory(NULL, why);
	memcpy(buf + t->len, nla_data(a), n);
	t->buf = buf;
	t->len += n;
	buf[t->len] = '\0';
	return 0;
}

static int ask_text(struct net_nlc *c, const struct net_nlc_daemon *d, struct nl_msg *msg,
		    struct json_object **out, struct reason *why)
{
	struct text t = { 0 };
	int err = msg ? ask(c, d, msg, status_take, &t, why) : no_memory(msg, why);

	*out = NULL;
	if (!err) {
		*out = t.buf ? json_tokener_parse(t.buf) : NULL;
		if (!json_object_is_type(*out, json_type_object)) {
			json_object_put(*out);
			*out = NULL;
			err = odd_answer(why);
		}
	}
	free(t.buf);
	return err;
}

int net_nlc_status(struct net_nlc *c, const struct net_nlc_daemon *d, struct json_object **out,
		   struct reason *why)
{
	return ask_text(c, d, question(c, NET_NL_CMD_STATUS_GET, NLM_F_DUMP), out, why);
}

int net_nlc_locks(struct net_nlc *c, const struct net_nlc_daemon *d,
		  const struct net_nl_locks *which, struct json_object **out, struct reason *why)
{
	struct nl_msg *msg = question(c, NET_NL_CMD_LOCKS_GET, NLM_F_DUMP);

	*out = NULL;
	if (!msg || net_nl_put_locks(msg, which))
		return no_memory(msg, why);
	return ask_text(c, d, msg, out, why);
}

/* ---- events -------------------------------------------------------------------------------- */

int net_nlc_listen(struct net_nlc *c, struct reason *why)
{
	int err = nl_socket_add_membership(c->sk, NET_NL_GROUP_EVENTS);

	if (err == -NLE_PERM || err == -NLE_NOACCESS)
		return reason_set(why, EXIT_SYSTEM, -EPERM,
				  "only root may listen to events (CAP_NET_ADMIN); use sudo");
	if (err < 0)
		return reason_set(why, EXIT_SYSTEM, -EIO, "joining the group of events: %s; retry",
				  nl_geterror(err));
	return 0;
}

/* How many events of that process are missing before this one. */
static uint64_t track(struct net_nlc *c, uint32_t port, uint64_t seq)
{
	uint64_t last;
	size_t i;

	for (i = 0; i < c->n_tracked && c->tracked[i].port != port; i++)
		;
	if (i == c->n_tracked) {
		if (i == TRACKED_MAX)
			return 0;
		c->n_tracked++;
		c->tracked[i].port = port;
		c->tracked[i].seq = seq;
		return 0;
	}
	last = c->tracked[i].seq;
	c->tracked[i].seq = seq;
	/* A lower number: another process got the port of one that ended. */
	return seq > last ? seq - last - 1 : 0;
}

int net_nlc_event_next(struct net_nlc *c, int wait_ms, struct net_nlc_event *out,
		       struct reason *why)
{
	int64_t until = wait_ms < 0 ? -1 : now_ms() + wait_ms;

	for (;;) {
		struct datagram d;
		struct net_nl_view v;
		struct net_nl_event ev;
		bool good;
		int err = receive(c, until, &d, why);

		if (err)
			return err;
		good = net_nl_ours(d.buf, d.len) && !net_nl_view(d.buf, d.len, &v, NULL) &&
		       v.cmd == NET_NL_CMD_EVENT && v.tb[NET_NL_A_CLUSTER] &&
		       v.tb[NET_NL_A_EVENT] && !net_nl_get_event(v.tb[NET_NL_A_EVENT], &ev, NULL);
		if (good) {
			*out = (struct net_nlc_event){ .pid = d.pid, .seq = ev.seq,
						       .time_ns = ev.time_ns, .node = ev.node };
			out->lost = track(c, d.port, ev.seq);
			nla_strlcpy(out->cluster, v.tb[NET_NL_A_CLUSTER], sizeof(out->cluster));
			snprintf(out->name, sizeof(out->name), "%s", ev.name);
			snprintf(out->node_name, sizeof(out->node_name), "%s", ev.node_name);
			snprintf(out->words, sizeof(out->words), "%s", ev.words);
		}
		free(d.buf);
		if (good)
			return 0;
	}
}
