/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * conn.c: one peer's link: who dials, who accepts, handshake, silence, loss, retry.
 *
 *   DOWN --hb up--> WANT --connect / accept--> OPENING --handshake good--> UP
 *                    ^  ^------ socket fails -----|                        |
 *                    |                            | handshake bad          | socket fails
 *                    |<-- expired (idle_ms) --- LOST <---------------------|
 *   LOST --connect (reconnect pace) / accept--> OPENING;  any --hb down--> DOWN
 *
 * This is the table of doc/spec/cluster.md 2.9, with its recommended deviation: a
 * connector in LOST dials again at reconnect pace. Only after a refused handshake it
 * waits for `expired`, as kernels do. A second deviation: still_up is cancelled when the
 * link is valid again, so that a later loss gets a whole quorum delay of its own
 * (trap 8); that only makes our own vote later.
 *
 * Nothing here runs inside the DLM core: sockets, timers and heartbeat events are the
 * only callers that close, and the core's sends only append. So outcomes may be
 * delivered directly from a close.
 */
#include "net/conn_int.h"
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define LONG_AGO (INT64_MIN / 2)
/* Refused connections are told at most this often, each kind; all are counted. */
#define REFUSED_LOG_MS 10000

const char *net_link_state_name(enum net_link_state state)
{
	switch (state) {
	case NET_LINK_DOWN:
		return "down";
	case NET_LINK_WANT:
		return "waiting";
	case NET_LINK_OPENING:
		return "opening";
	case NET_LINK_UP:
		return "up";
	case NET_LINK_LOST:
		return "lost";
	}
	return "?";
}

static bool dials(const struct net_peer *p)
{
	return p->ls->cfg.self > p->node;
}

static uint32_t idle_ms(const struct net_peer *p)
{
	return p->ls->cfg.handshake.idle_ms;
}

__attribute__((format(printf, 3, 0))) static void
set_error(struct net_peer *p, enum log_level level, const char *fmt, va_list ap)
{
	char text[sizeof(p->last_error)];

	vsnprintf(text, sizeof(text), fmt, ap);
	/* The same refusal every two seconds is one line for the administrator. */
	if (strcmp(text, p->last_error) == 0)
		level = LOG_LVL_DEBUG;
	strcpy(p->last_error, text);
	log_to(p->ls->cfg.log, level, "o2net", "%s", text);
}

static void dial_later(struct net_peer *p)
{
	int64_t due = p->last_attempt_ms + p->ls->cfg.handshake.reconnect_ms - net_now_ms();

	if (dials(p))
		net_timer_set(p->connect, due > 0 ? (uint64_t)due : 0);
}

/* Close the socket and end what was open on it. The state must be the new one. */
static void drop_socket(struct net_peer *p)
{
	if (p->fd >= 0) {
		net_poll_free(p->poll);
		close(p->fd);
		p->poll = NULL;
		p->fd = -1;
		p->socket_no++;
	}
	p->tcp_up = false;
	net_timer_clear(p->idle);
	net_timer_clear(p->keepalive);
	net_peer_end_requests(p, -EHOSTDOWN);
}

void net_peer_failed(struct net_peer *p, const char *fmt, ...)
{
	const struct net_links_config *cfg = &p->ls->cfg;
	bool was_up = p->state == NET_LINK_UP;
	va_list ap;

	va_start(ap, fmt);
	/* Refused first attempts are normal: both sides notice each other at their own pace.
	 * So is the end of an idle link: a node that leaves closes it before its goodbye. */
	set_error(p, was_up && p->reqs_open ? LOG_LVL_WARN : LOG_LVL_INFO, fmt, ap);
	va_end(ap);

	p->state = was_up ? NET_LINK_LOST : NET_LINK_WANT;
	drop_socket(p);
	dial_later(p);
	if (!was_up)
		return;
	if (!net_timer_armed(p->still_up))
		net_timer_set(p->still_up, cfg->quorum_delay_ms);
	net_timer_set(p->expired, idle_ms(p));
	cfg->ops->conn_err(cfg->ctx, p->node, p->last_error);
}

__attribute__((format(printf, 2, 3))) static void refuse(struct net_peer *p, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	set_error(p, LOG_LVL_ERR, fmt, ap);
	va_end(ap);
	p->refused = true;
	p->state = NET_LINK_LOST;
	drop_socket(p);
	net_peer_end_waits(p, -ENOTCONN);
	net_timer_set(p->expired, idle_ms(p));
}

/* ---- a socket comes up ------------------------------------------------------------ */

static void send_handshake(struct net_peer *p)
{
	uint8_t raw[NET_HANDSHAKE_LEN];

	net_handshake_put(raw, &p->ls->cfg.handshake);
	p->tcp_up = true;
	net_peer_put(p, raw, sizeof(raw));
}

static void connected(struct net_peer *p)
{
	int err = 0;
	socklen_t len = sizeof(err);

	if (getsockopt(p->fd, SOL_SOCKET, SO_ERROR, &err, &len))
		err = errno;
	if (err) {
		const struct net_node *row = net_nodes_get(p->ls->cfg.nodes, p->node);
		char addr[NET_ADDR_LEN];

		net_peer_failed(p, "connecting to node %u at %s:%u: %s", p->node,
				row ? net_addr_text(row->addr, addr) : "?", row ? row->port : 0,
				strerror(err));
		return;
	}
	send_handshake(p);
	net_poll_set(p->poll, NET_POLL_IN | NET_POLL_OUT);
}

static void on_socket(void *arg, unsigned int events)
{
	struct net_peer *p = arg;
	uint64_t socket_no = p->socket_no;

	if (!p->tcp_up) {
		connected(p);
		return;
	}
	if (events & (NET_POLL_IN | NET_POLL_ERR))
		net_peer_read(p);
	if (p->socket_no != socket_no || p->fd < 0)
		return;
	if (events & NET_POLL_ERR)
		net_peer_failed(p, "link to node %u failed", p->node);
	else if (events & NET_POLL_OUT)
		net_peer_flush(p);
}

/* Takes fd. */
static int adopt_socket(struct net_peer *p, int fd)
{
	unsigned int forever = 0x7fffffff;
	int one = 1, err;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &forever, sizeof(forever));
	err = net_poll_new(p->ls->cfg.loop, fd, on_socket, p, &p->poll);
	if (err) {
		close(fd);
		return err;
	}
	p->fd = fd;
	p->socket_no++;
	p->state = NET_LINK_OPENING;
	return 0;
}

/* A socket that is bound to our own address: the acceptor knows us by nothing else. */
static int dial(const struct net_node *self, const struct net_node *peer, int *out)
{
	struct sockaddr_in from = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(self->addr) };
	struct sockaddr_in to = { .sin_family = AF_INET,
				  .sin_port = htons(peer->port),
				  .sin_addr.s_addr = htonl(peer->addr) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int err = 0;

	if (fd < 0)
		return -errno;
	if (bind(fd, (struct sockaddr *)&from, sizeof(from)))
		err = -errno;
	else if (connect(fd, (struct sockaddr *)&to, sizeof(to)) && errno != EINPROGRESS)
		err = -errno;
	if (err) {
		close(fd);
		return err;
	}
	*out = fd;
	return 0;
}

static void on_connect(void *arg)
{
	struct net_peer *p = arg;
	const struct net_node *self = net_nodes_local(p->ls->cfg.nodes);
	const struct net_node *row = net_nodes_get(p->ls->cfg.nodes, p->node);
	char addr[NET_ADDR_LEN];
	int fd, err;

	if (p->fd >= 0 || p->state == NET_LINK_DOWN || p->state == NET_LINK_UP || !row || !self)
		return;
	p->last_attempt_ms = net_now_ms();
	err = dial(self, row, &fd);
	if (!err)
		err = adopt_socket(p, fd);
	if (err) {
		net_peer_failed(p, "connecting to node %u at %s:%u: %s", p->node,
				net_addr_text(row->addr, addr), row->port, strerror(-err));
		return;
	}
	net_poll_set(p->poll, NET_POLL_OUT);
}

static bool may_log(int64_t *logged_ms)
{
	int64_t now = net_now_ms();

	if (now - *logged_ms < REFUSED_LOG_MS)
		return false;
	*logged_ms = now;
	return true;
}

static bool accept_refused(struct net_links *ls, const struct net_node *row, uint32_t addr)
{
	struct net_peer *p;
	char text[NET_ADDR_LEN];

	if (!row) {
		ls->refused_unknown++;
		if (may_log(&ls->unknown_logged_ms))
			log_warn(ls->cfg.log, "o2net",
				 "refused a connection from %s: no node has this address; if it is a "
				 "node, check ip_address on all nodes", net_addr_text(addr, text));
		return true;
	}
	p = row->number < NODE_MAX ? ls->peers[row->number] : NULL;
	if (row->number > ls->cfg.self && p && p->state != NET_LINK_DOWN && p->fd < 0)
		return false;
	ls->refused_other++;
	if (row->number > ls->cfg.self && (!p || p->state == NET_LINK_DOWN))
		log_debug(ls->cfg.log, "o2net",
			  "refused a connection from node %u: it does not heartbeat (yet)", row->number);
	else if (may_log(&ls->other_logged_ms))
		log_info(ls->cfg.log, "o2net", "refused a connection from node %u: %s", row->number,
			 row->number <= ls->cfg.self ? "the higher number connects" :
						       "its earlier one is still open");
	return true;
}

void net_links_accept(struct net_links *ls, int fd, uint32_t addr)
{
	const struct net_node *row = net_nodes_by_addr(ls->cfg.nodes, addr);
	struct net_peer *p;
	int err;

	if (ls->shut || accept_refused(ls, row, addr)) {
		close(fd);
		return;
	}
	p = ls->peers[row->number];
	p->timed_out = false;
	err = adopt_socket(p, fd);
	if (err) {
		log_warn(ls->cfg.log, "o2net", "accepting node %u: %s", p->node, strerror(-err));
		return;
	}
	send_handshake(p);
	net_poll_set(p->poll, NET_POLL_IN);
}

bool net_peer_handshake(struct net_peer *p, const struct net_handshake *theirs)
{
	const struct net_links_config *cfg = &p->ls->cfg;
	uint64_t socket_no = p->socket_no;
	char why[160];

	if (!net_handshake_agree(&cfg->handshake, theirs, why, sizeof(why))) {
		refuse(p, "node %u refused: %s; set the same on all nodes", p->node, why);
		return false;
	}
	p->state = NET_LINK_UP;
	p->timed_out = p->refused = p->keep_sent = false;
	p->last_error[0] = '\0';
	p->epoch++;
	p->last_rx_ms = net_now_ms();
	net_timer_clear(p->expired);
	net_timer_clear(p->connect);
	net_timer_clear(p->still_up);
	net_timer_set(p->idle, idle_ms(p));
	net_timer_set(p->keepalive, cfg->handshake.keepalive_ms);
	log_info(cfg->log, "o2net", "link to node %u is up, connection %u", p->node, p->epoch);
	net_peer_start_waits(p);
	cfg->ops->conn_up(cfg->ctx, p->node);
	if (p->socket_no == socket_no)
		cfg->ops->up(cfg->ctx, p->node, p->epoch);
	return p->socket_no == socket_no;
}

/* ---- silence ----------------------------------------------------------------------- */

void net_peer_heard(struct net_peer *p)
{
	const struct net_links_config *cfg = &p->ls->cfg;

	p->last_rx_ms = net_now_ms();
	if (p->keep_sent) {
		p->keep_sent = false;
		net_timer_set(p->keepalive, cfg->handshake.keepalive_ms);
	}
	if (p->timed_out) {
		p->timed_out = false;
		net_timer_clear(p->still_up);
		p->last_error[0] = '\0';
		log_info(cfg->log, "o2net", "node %u is heard again", p->node);
		cfg->ops->conn_up(cfg->ctx, p->node);
	}
}

/* The timers are not moved with each frame: they look at the time of the last one when
 * they fire. True: not yet, set again. */
static bool too_early(struct net_peer *p, struct net_timer *t, uint32_t delay_ms)
{
	int64_t left = p->last_rx_ms + delay_ms - net_now_ms();

	if (left <= 0)
		return false;
	net_timer_set(t, (uint64_t)left);
	return true;
}

static void on_keepalive(void *arg)
{
	struct net_peer *p = arg;
	struct net_frame f = net_frame_keepalive(NET_FRAME_KEEP_REQ);

	if (p->state != NET_LINK_UP || too_early(p, p->keepalive, p->ls->cfg.handshake.keepalive_ms))
		return;
	p->keep_sent = true;
	net_peer_put_frame(p, &f, NULL);
}

static void on_idle(void *arg)
{
	struct net_peer *p = arg;
	const struct net_links_config *cfg = &p->ls->cfg;

	if (p->state != NET_LINK_UP || too_early(p, p->idle, idle_ms(p)))
		return;
	/* The connection stays: the peer may only be slow, and TCP will not lose anything. */
	p->timed_out = true;
	snprintf(p->last_error, sizeof(p->last_error), "nothing was heard of node %u for %u ms",
		 p->node, idle_ms(p));
	log_warn(cfg->log, "o2net", "%s; waiting for its heartbeat to stop or the link to recover",
		 p->last_error);
	if (!net_timer_armed(p->still_up))
		net_timer_set(p->still_up, cfg->quorum_delay_ms);
	net_timer_set(p->idle, idle_ms(p));
	p->last_rx_ms = net_now_ms();
	p->keep_sent = false;
	net_timer_set(p->keepalive, cfg->handshake.keepalive_ms);
	cfg->ops->conn_err(cfg->ctx, p->node, p->last_error);
}

static void on_expired(void *arg)
{
	struct net_peer *p = arg;

	if (p->state == NET_LINK_UP || p->state == NET_LINK_DOWN)
		return;
	log_warn(p->ls->cfg.log, "o2net", "no link to node %u for %u ms%s%s; still trying", p->node,
		 idle_ms(p), p->last_error[0] ? ": " : "", p->last_error);
	p->state = NET_LINK_WANT;
	if (p->fd >= 0) {
		snprintf(p->last_error, sizeof(p->last_error),
			 "no answer from node %u for %u ms", p->node, idle_ms(p));
		drop_socket(p);
	}
	dial_later(p);
	net_timer_set(p->expired, idle_ms(p));
}

static void on_still_up(void *arg)
{
	struct net_peer *p = arg;

	p->ls->cfg.ops->still_up(p->ls->cfg.ctx, p->node);
}

/* ---- peers --------------------------------------------------------------------------- */

static void free_peer(struct net_peer *p)
{
	net_timer_free(p->connect);
	net_timer_free(p->expired);
	net_timer_free(p->still_up);
	net_timer_free(p->idle);
	net_timer_free(p->keepalive);
	free(p->in);
	free(p->out);
	free(p->reqs);
	free(p);
}

static struct net_peer *new_peer(struct net_links *ls, node_t node)
{
	struct net_peer *p = net_peer_alloc(sizeof(*p));

	p->ls = ls;
	p->node = node;
	p->fd = -1;
	p->marks_end = &p->marks;
	p->waits_end = &p->waits;
	p->in = net_peer_alloc(IN_ROOM);
	p->connect = net_timer_new(ls->cfg.loop, on_connect, p);
	p->expired = net_timer_new(ls->cfg.loop, on_expired, p);
	p->still_up = net_timer_new(ls->cfg.loop, on_still_up, p);
	p->idle = net_timer_new(ls->cfg.loop, on_idle, p);
	p->keepalive = net_timer_new(ls->cfg.loop, on_keepalive, p);
	assert(p->connect && p->expired && p->still_up && p->idle && p->keepalive);
	ls->peers[node] = p;
	return p;
}

void net_links_hb_up(struct net_links *ls, node_t node)
{
	struct net_peer *p;

	if (ls->shut || node >= NODE_MAX || node == ls->cfg.self)
		return;
	p = ls->peers[node] ? ls->peers[node] : new_peer(ls, node);
	if (p->state != NET_LINK_DOWN)
		return;
	p->state = NET_LINK_WANT;
	p->timed_out = p->refused = false;
	p->last_error[0] = '\0';
	p->last_attempt_ms = LONG_AGO;
	dial_later(p);
	net_timer_set(p->expired, idle_ms(p));
}

void net_links_hb_down(struct net_links *ls, node_t node)
{
	struct net_peer *p = node < NODE_MAX ? ls->peers[node] : NULL;
	bool was_up;

	/* Sends that failed at once must have ended before the node is declared down. */
	net_links_run_dones(ls);
	if (!p || p->state == NET_LINK_DOWN)
		return;
	was_up = p->state == NET_LINK_UP;
	p->state = NET_LINK_DOWN;
	p->timed_out = p->refused = false;
	net_timer_clear(p->connect);
	net_timer_clear(p->expired);
	net_timer_clear(p->still_up);
	drop_socket(p);
	net_peer_end_waits(p, -ENOTCONN);
	/* Nobody who is gone may be counted as connected. */
	if (was_up)
		ls->cfg.ops->conn_err(ls->cfg.ctx, node, "its heartbeat stopped");
	net_links_run_dones(ls);
}

void net_links_shut(struct net_links *ls, const char *why)
{
	if (ls->shut)
		return;
	log_info(ls->cfg.log, "o2net", "all links are closed: %s", why);
	for (unsigned int n = 0; n < NODE_MAX; n++)
		net_links_hb_down(ls, (node_t)n);
	ls->shut = true;
}

int net_links_new(const struct net_links_config *cfg, struct net_links **out)
{
	struct net_links *ls = calloc(1, sizeof(*ls));

	if (!ls)
		return -ENOMEM;
	ls->cfg = *cfg;
	ls->dirty_end = &ls->dirty;
	ls->dones_end = &ls->dones;
	ls->unknown_logged_ms = ls->other_logged_ms = LONG_AGO;
	ls->hook = (struct net_hook){ .fn = net_links_run, .arg = ls };
	net_loop_hook(cfg->loop, &ls->hook);
	*out = ls;
	return 0;
}

void net_links_free(struct net_links *ls)
{
	if (!ls)
		return;
	for (unsigned int n = 0; n < NODE_MAX; n++)
		net_links_hb_down(ls, (node_t)n);
	while (net_links_run_dones(ls))
		;
	net_loop_unhook(ls->cfg.loop, &ls->hook);
	for (unsigned int n = 0; n < NODE_MAX; n++) {
		if (ls->peers[n])
			free_peer(ls->peers[n]);
	}
	free(ls);
}

bool net_links_info(const struct net_links *ls, node_t node, struct net_link_info *out)
{
	const struct net_peer *p = node < NODE_MAX ? ls->peers[node] : NULL;

	if (!p)
		return false;
	*out = (struct net_link_info){
		.state = p->state, .timed_out = p->timed_out, .refused = p->refused,
		.epoch = p->epoch, .open = p->reqs_open, .waiting = p->n_waits,
		.sent = p->sent, .received = p->received, .replies = p->replies,
		.keepalives = p->keepalives, .bytes_in = p->bytes_in,
		.bytes_out = p->bytes_out, .errors = p->errors, .last_error = p->last_error,
	};
	return true;
}

void net_links_refused(const struct net_links *ls, uint64_t *unknown, uint64_t *other)
{
	*unknown = ls->refused_unknown;
	*other = ls->refused_other;
}
