/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * conn_io.c: bytes of a link: frames in, frames out, requests and their outcomes.
 *
 * Exactly one outcome per send: a send is in one place at a time. It waits (waits), is
 * open under a number (reqs), or has failed at once (dones); each outcome takes it out
 * of its place before sent() is called, so that whatever sent() starts finds a consistent
 * peer. A number is reused only after its outcome.
 *
 * Replies come before what their handler caused: the handler runs before the reply can
 * be built, so its own sends are held back by whoever implements message() until
 * replied(); here the reply is queued in between. Peers are written in the order in
 * which they got something to write, hence the reply's link first.
 */
#include "net/conn_int.h"
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

void *net_peer_alloc(size_t n)
{
	void *p = calloc(1, n);

	assert(p);
	return p;
}

/* ---- out --------------------------------------------------------------------- */

static void mark_dirty(struct net_peer *p)
{
	struct net_links *ls = p->ls;

	if (p->dirty)
		return;
	p->dirty = true;
	p->next_dirty = NULL;
	*ls->dirty_end = p;
	ls->dirty_end = &p->next_dirty;
}

static void make_room(struct net_peer *p, size_t n)
{
	size_t room = p->out_room ? p->out_room : 8192;

	if (p->out_head + p->out_len + n <= p->out_room)
		return;
	if (p->out_len)
		memmove(p->out, p->out + p->out_head, p->out_len);
	p->out_head = 0;
	while (p->out_len + n > room)
		room *= 2;
	if (room != p->out_room) {
		p->out = realloc(p->out, room);
		assert(p->out);
		p->out_room = room;
	}
}

void net_peer_put(struct net_peer *p, const void *bytes, size_t len)
{
	if (len == 0)
		return;
	make_room(p, len);
	memcpy(p->out + p->out_head + p->out_len, bytes, len);
	p->out_len += len;
	mark_dirty(p);
}

void net_peer_put_frame(struct net_peer *p, const struct net_frame *f, const void *payload)
{
	uint8_t head[NET_FRAME_LEN];

	net_frame_put(head, f);
	net_peer_put(p, head, sizeof(head));
	net_peer_put(p, payload, f->len);
}

/* Replies that are with the kernel, or never will be (all). */
static void end_marks(struct net_peer *p, bool all)
{
	while (p->marks && (all || p->marks->at <= p->out_sent)) {
		struct net_mark *m = p->marks;
		uint64_t token = m->token;

		p->marks = m->next;
		if (!p->marks)
			p->marks_end = &p->marks;
		free(m);
		p->ls->cfg.ops->reply_written(p->ls->cfg.ctx, token);
	}
}

void net_peer_flush(struct net_peer *p)
{
	uint64_t socket_no = p->socket_no;

	if (p->fd < 0 || !p->tcp_up)
		return;
	while (p->out_len) {
		ssize_t n = send(p->fd, p->out + p->out_head, p->out_len, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0) {
			net_peer_failed(p, "sending to node %u: %s", p->node, strerror(errno));
			return;
		}
		p->out_head += (size_t)n;
		p->out_len -= (size_t)n;
		p->out_sent += (size_t)n;
		p->bytes_out += (size_t)n;
	}
	if (p->out_len == 0)
		p->out_head = 0;
	if (p->out_len > OUT_MAX) {
		net_peer_failed(p, "node %u sends but does not read: %zu bytes wait for it", p->node,
				p->out_len);
		return;
	}
	net_poll_set(p->poll, NET_POLL_IN | (p->out_len ? NET_POLL_OUT : 0));
	if (p->socket_no == socket_no)
		end_marks(p, false);
}

/* ---- requests ------------------------------------------------------------------ */

static uint32_t req_new(struct net_peer *p, uint32_t key, uint64_t token)
{
	uint32_t num = p->reqs_free;

	while (num < p->reqs_room && p->reqs[num].used)
		num++;
	if (num == p->reqs_room) {
		uint32_t room = p->reqs_room ? 2 * p->reqs_room : 64;

		assert(room <= NET_NUM_MAX);
		p->reqs = realloc(p->reqs, room * sizeof(*p->reqs));
		assert(p->reqs);
		memset(p->reqs + p->reqs_room, 0, (room - p->reqs_room) * sizeof(*p->reqs));
		p->reqs_room = room;
	}
	p->reqs[num] = (struct net_req){ .used = true, .key = key, .token = token };
	p->reqs_free = num + 1;
	p->reqs_open++;
	return num;
}

static bool req_take(struct net_peer *p, uint32_t num, struct net_req *out)
{
	if (num >= p->reqs_room || !p->reqs[num].used)
		return false;
	*out = p->reqs[num];
	p->reqs[num].used = false;
	p->reqs_open--;
	if (num < p->reqs_free)
		p->reqs_free = num;
	return true;
}

static void start_request(struct net_peer *p, uint64_t token, uint32_t key, uint16_t type,
			  const void *payload, uint16_t len)
{
	struct net_frame f = net_frame_message(type, key, req_new(p, key, token), len);

	net_peer_put_frame(p, &f, payload);
	p->sent++;
}

void net_peer_start_waits(struct net_peer *p)
{
	struct net_wait *w;

	while ((w = p->waits)) {
		p->waits = w->next;
		p->n_waits--;
		start_request(p, w->token, w->key, w->type, w->payload, w->len);
		free(w);
	}
	p->waits_end = &p->waits;
}

static void outcome(struct net_peer *p, uint32_t key, uint64_t token, int err, int32_t status)
{
	if (err)
		p->errors++;
	p->ls->cfg.ops->sent(p->ls->cfg.ctx, key, token, err, status);
}

void net_peer_end_requests(struct net_peer *p, int err)
{
	struct net_req *reqs = p->reqs;
	uint32_t room = p->reqs_room;

	p->reqs = NULL;
	p->reqs_room = p->reqs_open = p->reqs_free = 0;
	free(p->out);
	p->out = NULL;
	p->out_head = p->out_len = p->out_room = 0;
	p->out_sent = 0;
	p->in_len = 0;
	end_marks(p, true);
	for (uint32_t num = 0; num < room; num++) {
		if (reqs[num].used)
			outcome(p, reqs[num].key, reqs[num].token, err, 0);
	}
	free(reqs);
}

void net_peer_end_waits(struct net_peer *p, int err)
{
	struct net_wait *w = p->waits;

	p->waits = NULL;
	p->waits_end = &p->waits;
	p->n_waits = 0;
	while (w) {
		struct net_wait *next = w->next;
		uint64_t token = w->token;
		uint32_t key = w->key;

		free(w);
		outcome(p, key, token, err, 0);
		w = next;
	}
}

static void fail_later(struct net_links *ls, uint32_t key, uint64_t token, int err)
{
	struct net_done *d = net_peer_alloc(sizeof(*d));

	d->token = token;
	d->key = key;
	d->err = err;
	*ls->dones_end = d;
	ls->dones_end = &d->next;
}

void net_links_send(struct net_links *ls, uint64_t token, node_t to, uint32_t key,
		    uint16_t type, const void *payload, size_t len)
{
	struct net_peer *p = to < NODE_MAX ? ls->peers[to] : NULL;
	struct net_wait *w;

	if (ls->shut)
		fail_later(ls, key, token, -ESRCH);
	else if (to == ls->cfg.self)
		fail_later(ls, key, token, -ELOOP);
	else if (len > NET_PAYLOAD_MAX || (len && !payload))
		fail_later(ls, key, token, -EINVAL);
	else if (!p || p->state == NET_LINK_DOWN || p->state == NET_LINK_LOST)
		fail_later(ls, key, token, -ENOTCONN);
	else if (p->state == NET_LINK_UP)
		start_request(p, token, key, type, payload, (uint16_t)len);
	else {
		w = net_peer_alloc(sizeof(*w) + len);
		w->token = token;
		w->key = key;
		w->type = type;
		w->len = (uint16_t)len;
		if (len)
			memcpy(w->payload, payload, len);
		*p->waits_end = w;
		p->waits_end = &w->next;
		p->n_waits++;
	}
}

bool net_links_run_dones(struct net_links *ls)
{
	struct net_done *d = ls->dones;
	bool any = d;

	ls->dones = NULL;
	ls->dones_end = &ls->dones;
	while (d) {
		struct net_done *next = d->next;
		struct net_done was = *d;

		free(d);
		ls->cfg.ops->sent(ls->cfg.ctx, was.key, was.token, was.err, 0);
		d = next;
	}
	return any;
}

bool net_links_run(void *arg)
{
	struct net_links *ls = arg;
	struct net_peer *p = ls->dirty;
	bool any = net_links_run_dones(ls) || p;

	ls->dirty = NULL;
	ls->dirty_end = &ls->dirty;
	while (p) {
		struct net_peer *next = p->next_dirty;

		p->dirty = false;
		net_peer_flush(p);
		p = next;
	}
	return any;
}

/* ---- in ---------------------------------------------------------------------- */

static void handle_message(struct net_peer *p, const struct net_frame *f, const uint8_t *payload)
{
	const struct net_link_ops *ops = p->ls->cfg.ops;
	void *ctx = p->ls->cfg.ctx;
	struct net_link_reply r = ops->message(ctx, p->node, f, payload);
	struct net_frame reply = net_frame_reply(f, r.sys_status, r.status);
	struct net_mark *m;

	assert(r.sys_status <= NET_SYS_OVERFLOW); /* more would crash a kernel peer */
	p->received++;
	net_peer_put_frame(p, &reply, NULL);
	if (r.written_token) {
		m = net_peer_alloc(sizeof(*m));
		m->at = p->out_sent + p->out_len;
		m->token = r.written_token;
		*p->marks_end = m;
		p->marks_end = &m->next;
	}
	ops->replied(ctx);
}

static void handle_status(struct net_peer *p, const struct net_frame *f)
{
	struct net_req req;

	p->replies++;
	/* A reply that nobody waits for is ignored, as kernels do. */
	if (req_take(p, f->num, &req))
		outcome(p, req.key, req.token, net_frame_sys_error(f->sys_status),
			f->sys_status == NET_SYS_OK ? f->status : 0);
}

static void handle_frame(struct net_peer *p, const struct net_frame *f, const uint8_t *payload)
{
	struct net_frame resp;

	net_peer_heard(p);
	switch (f->magic) {
	case NET_FRAME_MESSAGE:
		handle_message(p, f, payload);
		break;
	case NET_FRAME_STATUS:
		handle_status(p, f);
		break;
	case NET_FRAME_KEEP_REQ:
		p->keepalives++;
		resp = net_frame_keepalive(NET_FRAME_KEEP_RESP);
		net_peer_put_frame(p, &resp, NULL);
		break;
	default: /* a response has been heard, which is all it is for */
		break;
	}
}

/* Bytes taken from the front of buf, 0: need more, -1: the socket is gone. */
static ssize_t take_one(struct net_peer *p, const uint8_t *buf, size_t len)
{
	struct net_handshake theirs;
	struct net_frame f;
	uint64_t socket_no = p->socket_no;
	int err;

	if (p->state != NET_LINK_UP) {
		if (len < NET_HANDSHAKE_LEN)
			return 0;
		net_handshake_get(buf, &theirs);
		return net_peer_handshake(p, &theirs) ? NET_HANDSHAKE_LEN : -1;
	}
	if (len < NET_FRAME_LEN)
		return 0;
	err = net_frame_get(buf, &f);
	if (err) {
		net_peer_failed(p, err == -EPROTO ?
				"node %u broke the protocol: magic 0x%04x, length %u" :
				"node %u broke the protocol: frame too long, magic 0x%04x, length %u",
				p->node, f.magic, f.len);
		return -1;
	}
	if (len < NET_FRAME_LEN + (size_t)f.len)
		return 0;
	handle_frame(p, &f, buf + NET_FRAME_LEN);
	return p->socket_no == socket_no && p->fd >= 0 ? (ssize_t)(NET_FRAME_LEN + f.len) : -1;
}

void net_peer_read(struct net_peer *p)
{
	ssize_t n, took;
	size_t pos = 0;

	do
		n = recv(p->fd, p->in + p->in_len, IN_ROOM - p->in_len, 0);
	while (n < 0 && errno == EINTR);
	if (n < 0 && errno == EAGAIN)
		return;
	if (n < 0) {
		net_peer_failed(p, "reading from node %u: %s", p->node, strerror(errno));
		return;
	}
	if (n == 0) {
		net_peer_failed(p, p->state == NET_LINK_UP ?
				"node %u closed the connection" :
				"node %u closed the connection before its handshake: it does not see "
				"our heartbeat yet, or its node table has another address for us",
				p->node);
		return;
	}
	p->bytes_in += (size_t)n;
	p->in_len += (size_t)n;
	while ((took = take_one(p, p->in + pos, p->in_len - pos)) > 0)
		pos += (size_t)took;
	if (took < 0)
		return;
	p->in_len -= pos;
	memmove(p->in, p->in + pos, p->in_len);
}
