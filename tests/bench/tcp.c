/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tcp.c: a lock that another process owns, over loopback TCP, through all of net/.
 *
 * The child is node 1 and owns every resource; the parent is node 2 and asks. Both run the
 * production loop, links and driver; only the heartbeat is played, by telling each that
 * the other lives. The user of the locks lives in a hook of the loop, so that what is
 * measured ends where the core says it ends. Beside it two processes send one another a
 * message of a lock's size with blocking calls: no lock over TCP can be faster.
 */
#include "tests/bench/bench.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include "net/conn.h"
#include "net/driver.h"
#include "net/listen.h"
#include "net/timeouts.h"

enum { OWNER = 1, ASKER = 2, PORT = 7777, RESOURCES = 256, UNDER_WAY = 64, LIMIT_S = 20 };

/* 127.x.y.n, of this run alone. */
static uint32_t addr_of(pid_t run, unsigned int n)
{
	unsigned int r = (unsigned int)run;

	return 127u << 24 | (1 + (r >> 8) % 250) << 16 | (r & 0xff) << 8 | n;
}

/* ---- the raw ping-pong ---------------------------------------------------------------- */

#define PING_LEN (24 + 104) /* o2net's header and a CREATE_LOCK */

static void all_of(int fd, bool out, void *buf, size_t len)
{
	uint8_t *p = buf;

	while (len) {
		ssize_t n = out ? write(fd, p, len) : read(fd, p, len);

		if (n <= 0)
			bench_die("ping-pong: the connection ends");
		p += n;
		len -= (size_t)n;
	}
}

static void no_delay(int fd)
{
	int one = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

static pid_t child(void)
{
	pid_t parent = getpid(), pid;

	fflush(stdout);
	pid = fork();
	if (pid < 0)
		bench_die("fork: %s", strerror(errno));
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(1);
	}
	return pid;
}

static void reap(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void echo(int lfd)
{
	uint8_t buf[PING_LEN];
	int fd = accept(lfd, NULL, NULL);

	no_delay(fd);
	for (;;) {
		all_of(fd, false, buf, sizeof(buf));
		all_of(fd, true, buf, sizeof(buf));
	}
}

static double raw_pingpong(double seconds)
{
	struct sockaddr_in at = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(addr_of(getpid(), 9)) };
	socklen_t len = sizeof(at);
	int lfd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	uint8_t buf[PING_LEN] = { 0 };
	uint64_t trips = 0;
	double start, took;
	pid_t pid;

	if (bind(lfd, (struct sockaddr *)&at, sizeof(at)) || listen(lfd, 1) ||
	    getsockname(lfd, (struct sockaddr *)&at, &len))
		bench_die("listen: %s", strerror(errno));
	pid = child();
	if (pid == 0)
		echo(lfd);
	if (connect(fd, (struct sockaddr *)&at, sizeof(at)))
		bench_die("connect: %s", strerror(errno));
	no_delay(fd);
	start = bench_now();
	do {
		for (int i = 0; i < 100; i++, trips++) {
			all_of(fd, true, buf, sizeof(buf));
			all_of(fd, false, buf, sizeof(buf));
		}
		took = bench_now() - start;
	} while (took < seconds);
	close(fd);
	close(lfd);
	reap(pid);
	return took / (double)trips * 1e6;
}

/* ---- a node ------------------------------------------------------------------------------ */

struct user {
	struct node *n;
	struct dlm_lock *lock;
	bool ready; /* the last call has ended */
};

struct node {
	node_t self;
	struct net_loop *loop;
	struct net_nodes *nodes;
	struct net_links *links;
	struct net_listen *listen;
	struct net_driver *driver;
	struct dlm_domain *dom;
	bool up, want_join;
	int ready_fd; /* owner: tell the parent */
	struct net_hook hook;
	struct user users[UNDER_WAY];
	struct user *done[UNDER_WAY]; /* ready, in the order in which they became so */
	unsigned int nr_done;
	uint32_t next_res;
	/* Asker: what is measured. */
	enum { SETUP, SYNC, PIPELINED, OVER } phase;
	uint32_t held;
	double seconds, start, t0, lock_s, unlock_s;
	uint64_t pairs;
	struct bench_tcp *out;
	pid_t run;
};

static struct net_link_reply on_message(void *ctx, node_t from, const struct net_frame *f,
					const void *payload)
{
	return net_driver_message(((struct node *)ctx)->driver, from, f, payload);
}

static void on_replied(void *ctx)
{
	net_driver_replied(((struct node *)ctx)->driver);
}

static void on_reply_written(void *ctx, uint64_t token)
{
	dlm_reply_written(net_driver_dlm(((struct node *)ctx)->driver), token);
}

static void on_sent(void *ctx, uint32_t key, uint64_t token, int err, int32_t status)
{
	(void)key;
	dlm_sent(net_driver_dlm(((struct node *)ctx)->driver), token, err, status);
}

static void on_up(void *ctx, node_t node, uint32_t epoch)
{
	struct node *n = ctx;

	dlm_link_up(net_driver_dlm(n->driver), node, epoch);
	n->up = true;
}

static void on_conn(void *ctx, node_t node)
{
	(void)ctx;
	(void)node;
}

static void on_conn_err(void *ctx, node_t node, const char *why)
{
	struct node *n = ctx;

	(void)node;
	if (n->phase == OVER)
		return;
	if (n->self == ASKER)
		bench_die("the link is lost: %s", why);
	_exit(0); /* the parent is through */
}

static const struct net_link_ops link_ops = {
	.message = on_message, .replied = on_replied, .reply_written = on_reply_written,
	.sent = on_sent, .up = on_up, .conn_up = on_conn, .conn_err = on_conn_err,
	.still_up = on_conn,
};

static void on_fence(void *ctx, const char *domain, const char *why)
{
	(void)ctx;
	bench_die("%s is fenced: %s", domain, why);
}

static void on_accepted(void *ctx, int fd, uint32_t addr)
{
	net_links_accept(((struct node *)ctx)->links, fd, addr);
}

static void on_joined(void *ctx, struct dlm_domain *dom, int err, const char *why)
{
	if (err)
		bench_die("join: %s", why);
	((struct node *)ctx)->dom = dom;
}

static void on_left(void *ctx)
{
	(void)ctx;
}

static void on_evicted(void *ctx, node_t node)
{
	(void)ctx;
	(void)node;
}

static void on_members(void *ctx, node_t node, bool joined)
{
	(void)ctx;
	(void)node;
	(void)joined;
}

static const struct dlm_domain_ops domain_ops = { .joined = on_joined, .left = on_left,
						  .evicted = on_evicted, .members = on_members };

static void node_init(struct node *n, node_t self)
{
	struct net_driver_config dc = { .dlm = { .self = self, .proto_minor = 3, .purge_ms = 8000 },
					.fence = on_fence, .ctx = n };
	struct net_links_config lc = {
		.self = self, .ops = &link_ops, .ctx = n,
		.quorum_delay_ms = net_quorum_delay_ms(NET_THRESHOLD_DEFAULT),
		.handshake = { .version = NET_PROTO_VERSION, .connector_id = 1,
			       .heartbeat_ms = net_write_timeout_ms(NET_THRESHOLD_DEFAULT),
			       .idle_ms = NET_IDLE_MS_DEFAULT,
			       .keepalive_ms = NET_KEEPALIVE_MS_DEFAULT,
			       .reconnect_ms = 100 },
	};

	n->self = self;
	if (net_nodes_new(&n->nodes))
		bench_die("no node table");
	for (unsigned int i = OWNER; i <= ASKER; i++) {
		struct net_node row = { .number = (node_t)i, .port = PORT,
					.addr = addr_of(n->run, i), .local = i == self };

		snprintf(row.name, sizeof(row.name), "node%u", i);
		if (net_nodes_add(n->nodes, &row, NULL))
			bench_die("no node table");
	}
	dc.loop = lc.loop = n->loop;
	lc.nodes = n->nodes;
	if (net_driver_new(&dc, &n->driver) || net_links_new(&lc, &n->links) ||
	    net_listen_open(n->loop, addr_of(n->run, self), PORT, on_accepted, n, NULL, &n->listen,
			    NULL))
		bench_die("node %d does not start", self);
	net_driver_set_links(n->driver, n->links);
}

static void table_of(struct node *n)
{
	struct dlm_table_entry table[NODE_MAX];

	net_nodes_dlm_table(n->nodes, table);
	dlm_set_table(net_driver_dlm(n->driver), table);
}

/* On the loop: both live. */
static void node_go(void *arg)
{
	struct node *n = arg;
	node_t other = n->self == OWNER ? ASKER : OWNER;

	table_of(n);
	dlm_node_up(net_driver_dlm(n->driver), n->self);
	net_links_hb_up(n->links, other);
	dlm_node_up(net_driver_dlm(n->driver), other);
}

static void node_may_join(void *arg)
{
	((struct node *)arg)->want_join = true;
}

static void node_join(struct node *n)
{
	struct dlm_domain_config cfg = { .name = BENCH_DOMAIN, .fs_major = 1, .ops = &domain_ops,
					 .ctx = n };
	struct dlm_domain *dom;

	n->want_join = false;
	if (dlm_join(net_driver_dlm(n->driver), &cfg, &dom))
		bench_die("cannot join");
}

/* ---- users ----------------------------------------------------------------------------------- */

static void ready(struct user *u)
{
	u->n->done[u->n->nr_done++] = u;
}

static void on_done(void *data, enum dlm_call call, enum dlm_status status)
{
	(void)data;
	if (status != DLM_NORMAL)
		bench_die("call %d is refused: %d", (int)call, (int)status);
}

static void on_ast(void *data, const uint8_t *lvb)
{
	(void)lvb;
	ready(data);
}

static void on_bast(void *data, int mode)
{
	(void)data;
	bench_die("a BAST for %s", dlm_mode_name(mode));
}

static void on_unlock_ast(void *data, enum dlm_status status)
{
	struct user *u = data;

	(void)status;
	u->lock = NULL;
	ready(u);
}

static const struct dlm_lock_ops lock_ops = { .done = on_done, .ast = on_ast, .bast = on_bast,
					      .unlock_ast = on_unlock_ast };

static void lock(struct user *u, int mode)
{
	uint8_t name[BENCH_NAME_LEN];

	bench_name(u->n->next_res++ % RESOURCES, name);
	if (dlm_lock(u->n->dom, name, sizeof(name), mode, 0, &lock_ops, u, &u->lock))
		bench_die("dlm_lock fails");
}

/* NL on every resource, one after another; what they hold stays. */
static bool hold_next(struct node *n)
{
	if (n->held < RESOURCES) {
		n->held++;
		lock(&n->users[0], DLM_MODE_NL);
		return true;
	}
	return false;
}

static void phase_begin(struct node *n, int phase)
{
	n->phase = phase;
	n->pairs = 0;
	n->start = n->t0 = bench_now();
	for (int i = 0; i < (phase == SYNC ? 1 : UNDER_WAY); i++)
		lock(&n->users[i], DLM_MODE_PR);
}

static void sync_step(struct node *n, struct user *u)
{
	double now = bench_now();

	if (u->lock) {
		n->lock_s += now - n->t0;
		n->t0 = now;
		dlm_unlock(u->lock, 0, NULL);
		return;
	}
	n->unlock_s += now - n->t0;
	n->t0 = now;
	n->pairs++;
	if (now - n->start < n->seconds) {
		lock(u, DLM_MODE_PR);
		return;
	}
	n->out->sync_ops = (double)n->pairs / (now - n->start);
	n->out->lock_us = n->lock_s / (double)n->pairs * 1e6;
	n->out->unlock_us = n->unlock_s / (double)n->pairs * 1e6;
	phase_begin(n, PIPELINED);
}

static void pipelined_step(struct node *n, struct user *u)
{
	double now;

	if (u->lock) {
		dlm_unlock(u->lock, 0, NULL);
		return;
	}
	n->pairs++;
	now = bench_now();
	if (n->phase == OVER || now - n->start < n->seconds) {
		lock(u, DLM_MODE_PR);
		return;
	}
	n->out->pipelined_ops = (double)n->pairs / (now - n->start);
	n->out->under_way = UNDER_WAY;
	n->phase = OVER;
}

/* The end of a round of the loop. */
static bool turn(void *arg)
{
	struct node *n = arg;
	struct user *done[UNDER_WAY];
	unsigned int nr = n->nr_done;

	if (n->want_join && n->up) {
		node_join(n);
		return true;
	}
	if (n->dom && !n->held) {
		hold_next(n);
		return true;
	}
	if (!nr)
		return false;
	memcpy(done, n->done, nr * sizeof(done[0]));
	n->nr_done = 0;
	for (unsigned int i = 0; i < nr; i++) {
		if (n->phase == SYNC) {
			sync_step(n, done[i]);
		} else if (n->phase == PIPELINED) {
			pipelined_step(n, done[i]);
		} else if (n->phase == SETUP && !hold_next(n)) {
			if (n->self == ASKER)
				phase_begin(n, SYNC);
			else if (write(n->ready_fd, "r", 1) != 1)
				exit(1);
		}
	}
	return true;
}

static struct node *node_start(node_t self, pid_t run)
{
	struct node *n = calloc(1, sizeof(*n));

	if (!n)
		bench_die("out of memory");
	n->run = run;
	if (net_loop_new(&n->loop))
		bench_die("no loop");
	/* Before the hooks of net/, so that what a user asks for leaves with the round. */
	n->hook = (struct net_hook){ .fn = turn, .arg = n };
	net_loop_hook(n->loop, &n->hook);
	node_init(n, self);
	for (int i = 0; i < UNDER_WAY; i++)
		n->users[i].n = n;
	if (net_loop_start(n->loop, "bench"))
		bench_die("no thread");
	net_loop_call(n->loop, node_go, n);
	return n;
}

static void node_free(struct node *n)
{
	net_loop_stop(n->loop);
	net_links_free(n->links);
	net_listen_close(n->listen);
	net_nodes_free(n->nodes);
	net_driver_free(n->driver);
	net_loop_unhook(n->loop, &n->hook);
	net_loop_free(n->loop);
	free(n);
}

/*
 * The owner must join and take its locks before the asker is a member, or the asker would
 * own some: the asker joins only when told.
 */
static void owner_main(pid_t run, int ready_fd)
{
	struct node *n = node_start(OWNER, run);

	n->ready_fd = ready_fd;
	net_loop_call(n->loop, node_may_join, n);
	for (;;)
		pause();
}

struct question {
	struct node *n;
	bool over;
};

static void is_over(void *arg)
{
	struct question *q = arg;

	q->over = q->n->phase == OVER;
}

static void asker_main(pid_t run, int ready_fd, double seconds, struct bench_tcp *out)
{
	struct question q = { .n = node_start(ASKER, run) };
	char byte;

	q.n->seconds = seconds;
	q.n->out = out;
	if (read(ready_fd, &byte, 1) != 1)
		bench_die("the owner does not start");
	net_loop_call(q.n->loop, node_may_join, q.n);
	for (int i = 0; i < (LIMIT_S + 3 * (int)seconds) * 100 && !q.over; i++) {
		usleep(10000);
		net_loop_call(q.n->loop, is_over, &q);
	}
	if (!q.over)
		bench_die("locks over TCP: no end in time");
	node_free(q.n);
}

void bench_tcp(double seconds, struct bench_tcp *out)
{
	int pipe_fd[2];
	pid_t run = getpid(), pid;

	out->raw_us = raw_pingpong(seconds);
	if (pipe(pipe_fd))
		bench_die("pipe: %s", strerror(errno));
	pid = child();
	if (pid == 0) {
		close(pipe_fd[0]);
		owner_main(run, pipe_fd[1]);
	}
	close(pipe_fd[1]);
	asker_main(run, pipe_fd[0], seconds, out);
	close(pipe_fd[0]);
	reap(pid);
}
