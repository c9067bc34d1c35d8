/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * link_fixture.h: ends of o2net links for tests: real ones (struct net_links with a
 * listener, all on one loop), and a raw one that writes what the test says.
 *
 * Every test process has addresses of its own in 127/8, so tests run side by side.
 */
#ifndef O2FUSE_TESTS_LINK_FIXTURE_H
#define O2FUSE_TESTS_LINK_FIXTURE_H

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include "net/conn.h"
#include "net/listen.h"

enum { PORT = 7777, ENDS = 5, SENDS_MAX = 4096, LIMIT_MS = 20000 };

static inline uint32_t node_addr(unsigned int node)
{
	uint32_t pid = (uint32_t)getpid();

	/* 127.x.y.node, x.y from the process number, never 127.0.y */
	return 127u << 24 | (1 + (pid >> 7 & 0xfe) % 250) << 16 | (pid & 0xff) << 8 | node;
}

struct end {
	struct world *w;
	node_t self;
	struct net_nodes *nodes;
	struct net_links *links;
	struct net_listen *listen;
	/* Loop's thread only; the test reads them inside call(). */
	int outcomes[SENDS_MAX];	/* how often sent() came, by token */
	int err[SENDS_MAX];
	int32_t status[SENDS_MAX];
	int n_outcomes;
	int messages, last_type, last_len;
	node_t last_from;
	uint8_t order[SENDS_MAX];	/* first payload byte of each message */
	uint8_t log[SENDS_MAX];		/* 'm'essage, 'r'eplied, 'w'ritten */
	int n_log;
	int ups, conn_ups, conn_errs, still_ups;
	uint32_t epoch;
	char conn_err_why[200];
	uint64_t written_token;		/* asked for with the next reply */
	int refusals;			/* lines of the log that tell of one */
	struct logger logger;
};

struct world {
	struct net_loop *loop;
	struct end end[ENDS];
	struct net_handshake hs;
	uint32_t quorum_delay_ms;
	pthread_barrier_t parked, released;
};

static inline struct net_link_reply end_message(void *ctx, node_t from, const struct net_frame *f,
						const void *payload)
{
	struct end *e = ctx;
	const uint8_t *p = payload;
	struct net_link_reply r = { .written_token = e->written_token };

	e->order[e->messages++ % SENDS_MAX] = f->len ? p[0] : 0;
	e->log[e->n_log++ % SENDS_MAX] = 'm';
	e->last_from = from;
	e->last_type = f->type;
	e->last_len = f->len;
	if (f->type == 777)
		r.sys_status = NET_SYS_NO_HANDLER;
	else if (f->type == 778)
		r.sys_status = NET_SYS_OVERFLOW;
	else
		r.status = f->len ? -(int32_t)p[0] : 7;
	return r;
}

static inline void end_replied(void *ctx)
{
	struct end *e = ctx;

	e->log[e->n_log++ % SENDS_MAX] = 'r';
}

static inline void end_written(void *ctx, uint64_t token)
{
	struct end *e = ctx;

	cr_assert_eq(token, e->written_token);
	e->log[e->n_log++ % SENDS_MAX] = 'w';
}

static inline void end_sent(void *ctx, uint32_t key, uint64_t token, int err, int32_t status)
{
	struct end *e = ctx;

	cr_assert_eq(key, 0x1234);
	cr_assert_lt(token, SENDS_MAX);
	e->outcomes[token]++;
	e->err[token] = err;
	e->status[token] = status;
	e->n_outcomes++;
}

static inline void end_up(void *ctx, node_t node, uint32_t epoch)
{
	struct end *e = ctx;

	(void)node;
	cr_assert_gt(epoch, e->epoch);
	e->ups++;
}

static inline void end_conn_up(void *ctx, node_t node)
{
	(void)node;
	((struct end *)ctx)->conn_ups++;
}

static inline void end_conn_err(void *ctx, node_t node, const char *why)
{
	struct end *e = ctx;

	(void)node;
	e->conn_errs++;
	snprintf(e->conn_err_why, sizeof(e->conn_err_why), "%s", why);
}

static inline void end_still_up(void *ctx, node_t node)
{
	(void)node;
	((struct end *)ctx)->still_ups++;
}

static const struct net_link_ops end_ops = {
	.message = end_message, .replied = end_replied, .reply_written = end_written,
	.sent = end_sent, .up = end_up, .conn_up = end_conn_up, .conn_err = end_conn_err,
	.still_up = end_still_up,
};

static inline void world_init(struct world *w)
{
	/* Criterion 2.4's own time limit leaks now and then, and then fails the run. */
	alarm(60);
	memset(w, 0, sizeof(*w));
	w->hs = (struct net_handshake){ .version = 11, .connector_id = 1, .heartbeat_ms = 60000,
					.idle_ms = 10000, .keepalive_ms = 5000, .reconnect_ms = 100 };
	w->quorum_delay_ms = 30000;
	pthread_barrier_init(&w->parked, NULL, 2);
	pthread_barrier_init(&w->released, NULL, 2);
	cr_assert_eq(net_loop_new(&w->loop), 0);
	cr_assert_eq(net_loop_start(w->loop, "test-links"), 0);
}

/* ---- the loop's objects in the test's hands ---- */

static inline void park_run(void *arg)
{
	struct world *w = arg;

	pthread_barrier_wait(&w->parked);
	pthread_barrier_wait(&w->released);
}

/* Hold the loop's thread inside a callback, so that the test may touch what belongs to
 * it; objects it makes or changes are seen by the loop afterwards. */
static inline void park(struct world *w)
{
	net_loop_post(w->loop, park_run, w);
	pthread_barrier_wait(&w->parked);
}

static inline void unpark(struct world *w)
{
	pthread_barrier_wait(&w->released);
}

#define ON_LOOP(w_, ...)             \
	do {                         \
		park(w_);            \
		__VA_ARGS__;         \
		unpark(w_);          \
	} while (0)

/* Wait until a condition, looked at on the loop's thread, holds. */
#define WAIT_UNTIL(w_, cond)                                               \
	do {                                                               \
		int64_t limit_ = net_now_ms() + LIMIT_MS;                  \
		bool ok_ = false;                                          \
		while (!ok_ && net_now_ms() < limit_) {                    \
			ON_LOOP(w_, ok_ = (cond));                         \
			if (!ok_)                                          \
				usleep(1000);                              \
		}                                                          \
		cr_assert(ok_, "never came true: %s", #cond);              \
	} while (0)

static inline void accepted(void *ctx, int fd, uint32_t addr)
{
	net_links_accept(((struct end *)ctx)->links, fd, addr);
}

static inline void end_line(struct logger *self, enum log_level level, const char *subsys,
			    const char *line)
{
	struct end *e = (struct end *)((char *)self - offsetof(struct end, logger));

	(void)level;
	(void)subsys;
	e->refusals += !strncmp(line, "refused a connection", 20);
}

static inline void end_start(struct world *w, struct end *e)
{
	struct net_links_config cfg = {
		.loop = w->loop, .log = &e->logger, .self = e->self, .handshake = w->hs,
		.quorum_delay_ms = w->quorum_delay_ms, .ops = &end_ops, .ctx = e,
	};

	e->logger = (struct logger){ .emit = end_line, .max = LOG_LVL_INFO };
	cr_assert_eq(net_nodes_new(&e->nodes), 0);
	for (unsigned int n = 1; n < ENDS; n++) {
		struct net_node row = { .number = (node_t)n, .port = PORT, .addr = node_addr(n),
					.local = n == e->self };

		snprintf(row.name, sizeof(row.name), "node%u", n);
		cr_assert_eq(net_nodes_add(e->nodes, &row, NULL), 0);
	}
	cfg.nodes = e->nodes;
	cr_assert_eq(net_links_new(&cfg, &e->links), 0);
	cr_assert_eq(net_listen_open(w->loop, node_addr(e->self), PORT, accepted, e, NULL,
				     &e->listen, NULL), 0);
}

static inline struct end *end_new(struct world *w, node_t self)
{
	struct end *e = &w->end[self];

	e->w = w;
	e->self = self;
	ON_LOOP(w, end_start(w, e));
	return e;
}

static inline void world_end(struct world *w)
{
	net_loop_stop(w->loop);
	for (unsigned int n = 0; n < ENDS; n++) {
		struct end *e = &w->end[n];

		if (!e->links)
			continue;
		net_listen_close(e->listen);
		net_links_free(e->links);
		net_nodes_free(e->nodes);
	}
	net_loop_free(w->loop);
	pthread_barrier_destroy(&w->parked);
	pthread_barrier_destroy(&w->released);
}

static inline enum net_link_state state_of(struct end *e, node_t peer)
{
	struct net_link_info info;

	return net_links_info(e->links, peer, &info) ? info.state : NET_LINK_DOWN;
}

/* ---- a raw peer: blocking sockets of the test's own thread ---- */

static inline int raw_listen(unsigned int node)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(PORT),
				  .sin_addr.s_addr = htonl(node_addr(node)) };
	int one = 1, fd = socket(AF_INET, SOCK_STREAM, 0);

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	cr_assert_eq(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	cr_assert_eq(listen(fd, 8), 0);
	return fd;
}

static inline void raw_limit(int fd)
{
	struct timeval tv = { .tv_sec = LIMIT_MS / 1000 };

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
}

static inline int raw_accept(int lfd, uint32_t *from)
{
	struct sockaddr_in a;
	socklen_t len = sizeof(a);
	struct pollfd p = { .fd = lfd, .events = POLLIN };
	int fd;

	cr_assert_eq(poll(&p, 1, LIMIT_MS), 1, "nobody connects");
	fd = accept(lfd, (struct sockaddr *)&a, &len);
	cr_assert_geq(fd, 0);
	*from = ntohl(a.sin_addr.s_addr);
	raw_limit(fd);
	return fd;
}

static inline int raw_connect(uint32_t from, unsigned int to)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(from) };
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	cr_assert_eq(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	a.sin_port = htons(PORT);
	a.sin_addr.s_addr = htonl(node_addr(to));
	cr_assert_eq(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	raw_limit(fd);
	return fd;
}

static inline void raw_read(int fd, void *buf, size_t n)
{
	cr_assert_eq(recv(fd, buf, n, MSG_WAITALL), (ssize_t)n, "connection ended or fell silent");
}

/* The other side closes, without another byte. */
static inline void raw_closed(int fd)
{
	char c;
	ssize_t n = recv(fd, &c, 1, 0);

	cr_assert(n == 0 || (n < 0 && errno == ECONNRESET), "got %zd, errno %d", n, errno);
	close(fd);
}

static inline void raw_hello(int fd, const struct net_handshake *hs)
{
	uint8_t raw[NET_HANDSHAKE_LEN];

	net_handshake_put(raw, hs);
	cr_assert_eq(write(fd, raw, sizeof(raw)), (ssize_t)sizeof(raw));
}

/* Exchange handshakes. */
static inline void raw_greet(struct world *w, int fd)
{
	uint8_t raw[NET_HANDSHAKE_LEN];

	raw_hello(fd, &w->hs);
	raw_read(fd, raw, sizeof(raw));
}

static inline void raw_put(int fd, const struct net_frame *f, const void *payload)
{
	uint8_t raw[NET_FRAME_LEN + NET_PAYLOAD_MAX];
	size_t n = NET_FRAME_LEN + (payload ? f->len : 0);

	net_frame_put(raw, f);
	if (payload)
		memcpy(raw + NET_FRAME_LEN, payload, f->len);
	cr_assert_eq(write(fd, raw, n), (ssize_t)n);
}

static inline struct net_frame raw_get(int fd, void *payload)
{
	uint8_t raw[NET_FRAME_LEN];
	struct net_frame f;

	raw_read(fd, raw, sizeof(raw));
	cr_assert_eq(net_frame_get(raw, &f), 0);
	if (f.len)
		raw_read(fd, payload, f.len);
	return f;
}

#endif
