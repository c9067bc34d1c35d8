/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test-conn.c: links between nodes: who connects, who is refused, what a send ends with,
 * and what happens in silence and after a loss (doc/spec/cluster.md section 2). */
#include "unit/link_fixture.h"

#define KEY 0x1234u

static void send_one(struct end *e, node_t to, uint64_t token, uint16_t type, uint8_t byte)
{
	net_links_send(e->links, token, to, KEY, type, &byte, 1);
}

static void both_up(struct world *w, struct end *a, struct end *b)
{
	ON_LOOP(w, net_links_hb_up(a->links, b->self); net_links_hb_up(b->links, a->self));
	WAIT_UNTIL(w, state_of(a, b->self) == NET_LINK_UP && state_of(b, a->self) == NET_LINK_UP);
}

/* ---- who connects, who may ---- */

Test(conn, higher_number_dials_from_its_own_address)
{
	struct world w;
	struct end *e;
	int lfd = raw_listen(2), fd;
	uint8_t hello[NET_HANDSHAKE_LEN], want[NET_HANDSHAKE_LEN];
	uint32_t from;

	world_init(&w);
	e = end_new(&w, 3);
	ON_LOOP(&w, net_links_hb_up(e->links, 2));
	fd = raw_accept(lfd, &from);
	cr_assert_eq(from, node_addr(3));
	/* It speaks first, without waiting for us. */
	raw_read(fd, hello, sizeof(hello));
	net_handshake_put(want, &w.hs);
	cr_assert_eq(memcmp(hello, want, sizeof(want)), 0);
	ON_LOOP(&w, cr_assert_eq(state_of(e, 2), NET_LINK_OPENING));
	raw_hello(fd, &w.hs);
	WAIT_UNTIL(&w, state_of(e, 2) == NET_LINK_UP);
	close(fd);
	close(lfd);
	world_end(&w);
}

Test(conn, lower_number_waits_and_greets_first_when_called)
{
	struct world w;
	struct end *e;
	int lfd = raw_listen(3), fd;
	struct pollfd p = { .fd = lfd, .events = POLLIN };
	uint8_t hello[NET_HANDSHAKE_LEN];

	world_init(&w);
	e = end_new(&w, 2);
	ON_LOOP(&w, net_links_hb_up(e->links, 3));
	cr_assert_eq(poll(&p, 1, 300), 0, "the lower number connected");
	fd = raw_connect(node_addr(3), 2);
	raw_read(fd, hello, sizeof(hello));
	raw_hello(fd, &w.hs);
	WAIT_UNTIL(&w, state_of(e, 3) == NET_LINK_UP);
	close(fd);
	close(lfd);
	world_end(&w);
}

Test(conn, refused_without_a_byte)
{
	struct world w;
	struct end *e;
	uint64_t unknown, other;
	int first;

	world_init(&w);
	e = end_new(&w, 2);
	raw_closed(raw_connect(node_addr(9), 2));	/* not in the table */
	raw_closed(raw_connect(node_addr(3), 2));	/* does not heartbeat */
	ON_LOOP(&w, net_links_hb_up(e->links, 1); net_links_hb_up(e->links, 3));
	raw_closed(raw_connect(node_addr(1), 2));	/* lower than ours */
	raw_closed(raw_connect(node_addr(2), 2));	/* our own address */
	first = raw_connect(node_addr(3), 2);
	raw_greet(&w, first);
	raw_closed(raw_connect(node_addr(3), 2));	/* there is one already */
	ON_LOOP(&w, net_links_refused(e->links, &unknown, &other));
	cr_assert_eq(unknown, 1);
	cr_assert_eq(other, 4);
	WAIT_UNTIL(&w, state_of(e, 3) == NET_LINK_UP);
	close(first);
	world_end(&w);
}

/* Whoever may connect could otherwise fill the log. */
Test(conn, refusals_are_told_once_in_a_while_and_all_counted)
{
	struct world w;
	struct end *e;
	uint64_t unknown, other;

	world_init(&w);
	e = end_new(&w, 2);
	for (int i = 0; i < 20; i++) {
		raw_closed(raw_connect(node_addr(9), 2));	/* not in the table */
		raw_closed(raw_connect(node_addr(1), 2));	/* lower than ours */
	}
	ON_LOOP(&w, net_links_refused(e->links, &unknown, &other));
	cr_assert_eq(unknown, 20);
	cr_assert_eq(other, 20);
	ON_LOOP(&w, cr_assert_geq(e->refusals, 2); cr_assert_leq(e->refusals, 8));
	world_end(&w);
}

Test(conn, differing_time_outs_are_named_on_both_sides)
{
	struct world w;
	struct end *a, *b;
	struct net_link_info info;

	world_init(&w);
	a = end_new(&w, 1);
	w.hs.keepalive_ms = 4000;
	b = end_new(&w, 2);
	ON_LOOP(&w, net_links_hb_up(a->links, 2); net_links_hb_up(b->links, 1);
		send_one(b, 1, 0, 500, 1));
	WAIT_UNTIL(&w, net_links_info(a->links, 2, &info) && info.refused);
	ON_LOOP(&w, net_links_info(a->links, 2, &info);
		cr_assert_eq(info.state, NET_LINK_LOST);
		cr_assert(strstr(info.last_error, "node 2 refused: keepalive delay differs: "
						  "ours 5000 ms, theirs 4000 ms")));
	WAIT_UNTIL(&w, net_links_info(b->links, 1, &info) && info.refused);
	ON_LOOP(&w, net_links_info(b->links, 1, &info);
		cr_assert(strstr(info.last_error, "keepalive delay differs: ours 4000 ms, "
						  "theirs 5000 ms")));
	/* A recorded error ends what waited. */
	ON_LOOP(&w, cr_assert_eq(b->outcomes[0], 1); cr_assert_eq(b->err[0], -ENOTCONN);
		cr_assert_eq(a->ups + b->ups + a->conn_errs + b->conn_errs, 0));
	world_end(&w);
}

/* ---- requests ---- */

Test(conn, replies_carry_status_and_transport_errors)
{
	struct world w;
	struct end *a, *b;
	static uint8_t big[NET_PAYLOAD_MAX + 1];

	world_init(&w);
	a = end_new(&w, 1);
	b = end_new(&w, 2);
	both_up(&w, a, b);
	ON_LOOP(&w, send_one(a, 2, 0, 500, 5); send_one(a, 2, 1, 777, 1); send_one(a, 2, 2, 778, 1);
		net_links_send(a->links, 3, 2, KEY, 500, NULL, 0);
		net_links_send(a->links, 4, 2, KEY, 500, big, NET_PAYLOAD_MAX);
		net_links_send(a->links, 5, 2, KEY, 500, big, NET_PAYLOAD_MAX + 1);
		send_one(a, 1, 6, 500, 1); send_one(a, 4, 7, 500, 1);
		cr_assert_eq(a->n_outcomes, 0, "an outcome within send()"));
	WAIT_UNTIL(&w, a->n_outcomes == 8);
	ON_LOOP(&w, cr_assert_eq(a->err[0], 0); cr_assert_eq(a->status[0], -5);
		cr_assert_eq(a->err[1], -ENOPROTOOPT); cr_assert_eq(a->err[2], -EOVERFLOW);
		cr_assert_eq(a->status[3], 7); cr_assert_eq(a->err[4], 0);
		cr_assert_eq(a->err[5], -EINVAL); cr_assert_eq(a->err[6], -ELOOP);
		cr_assert_eq(a->err[7], -ENOTCONN); cr_assert_eq(b->last_from, 1);
		cr_assert_eq(b->last_len, NET_PAYLOAD_MAX));
	world_end(&w);
}

Test(conn, sends_wait_for_the_link_and_keep_their_order)
{
	enum { N = 300 };
	struct world w;
	struct end *a, *b;

	world_init(&w);
	a = end_new(&w, 1);
	b = end_new(&w, 2);
	ON_LOOP(&w, net_links_hb_up(a->links, 2);
		for (int i = 0; i < N; i++) send_one(a, 2, (uint64_t)i, 500, (uint8_t)i));
	ON_LOOP(&w, cr_assert_eq(a->n_outcomes, 0); net_links_hb_up(b->links, 1));
	WAIT_UNTIL(&w, a->n_outcomes == N);
	ON_LOOP(&w, for (int i = 0; i < N; i++) {
		cr_assert_eq(b->order[i], (uint8_t)i);
		cr_assert_eq(a->outcomes[i], 1);
		cr_assert_eq(a->err[i], 0);
	});
	world_end(&w);
}

Test(conn, numbers_are_the_lowest_free_and_replies_may_be_reordered)
{
	struct world w;
	struct end *e;
	struct net_frame f[3], r;
	uint8_t byte;
	int fd;

	world_init(&w);
	e = end_new(&w, 1);
	ON_LOOP(&w, net_links_hb_up(e->links, 2));
	fd = raw_connect(node_addr(2), 1);
	raw_greet(&w, fd);
	ON_LOOP(&w, for (int i = 0; i < 3; i++) send_one(e, 2, (uint64_t)i, 500, 1));
	for (int i = 0; i < 3; i++) {
		f[i] = raw_get(fd, &byte);
		cr_assert_eq(f[i].num, i);
		cr_assert_eq(f[i].key, KEY);
	}
	r = net_frame_reply(&f[1], 0, 42);
	r.num = 99; /* unknown: ignored */
	raw_put(fd, &r, NULL);
	r = net_frame_reply(&f[1], 0, 42);
	raw_put(fd, &r, NULL);
	raw_put(fd, &r, NULL); /* twice: ignored */
	WAIT_UNTIL(&w, e->n_outcomes == 1);
	ON_LOOP(&w, cr_assert_eq(e->status[1], 42); send_one(e, 2, 3, 500, 1));
	cr_assert_eq(raw_get(fd, &byte).num, 1);
	r = net_frame_reply(&f[2], 0xdead0000, 1); /* no peer may send that */
	raw_put(fd, &r, NULL);
	WAIT_UNTIL(&w, e->n_outcomes == 2);
	ON_LOOP(&w, cr_assert_eq(e->err[2], -EPROTO); cr_assert_eq(e->status[2], 0));
	close(fd);
	world_end(&w);
}

Test(conn, every_send_ends_once_when_the_link_dies)
{
	struct world w;
	struct end *e;
	int fd;

	world_init(&w);
	e = end_new(&w, 1);
	ON_LOOP(&w, net_links_hb_up(e->links, 2));
	fd = raw_connect(node_addr(2), 1);
	raw_greet(&w, fd);
	WAIT_UNTIL(&w, state_of(e, 2) == NET_LINK_UP);
	ON_LOOP(&w, for (int i = 0; i < 500; i++) send_one(e, 2, (uint64_t)i, 500, 1));
	close(fd);
	WAIT_UNTIL(&w, state_of(e, 2) == NET_LINK_LOST);
	ON_LOOP(&w, send_one(e, 2, 500, 500, 1)); /* lost: fails at once */
	WAIT_UNTIL(&w, e->n_outcomes == 501);
	ON_LOOP(&w, for (int i = 0; i <= 500; i++) {
		cr_assert_eq(e->outcomes[i], 1);
		cr_assert_eq(e->err[i], i < 500 ? -EHOSTDOWN : -ENOTCONN);
	}
		cr_assert_eq(e->conn_errs, 1));
	world_end(&w);
}

Test(conn, heartbeat_down_ends_all_before_it_returns)
{
	struct world w;
	struct end *e;
	int fd;

	world_init(&w);
	e = end_new(&w, 1);
	ON_LOOP(&w, net_links_hb_up(e->links, 2); net_links_hb_up(e->links, 3));
	fd = raw_connect(node_addr(2), 1);
	raw_greet(&w, fd);
	WAIT_UNTIL(&w, state_of(e, 2) == NET_LINK_UP);
	ON_LOOP(&w, for (int i = 0; i < 10; i++) send_one(e, 2, (uint64_t)i, 500, 1);
		for (int i = 10; i < 20; i++) send_one(e, 3, (uint64_t)i, 500, 1);
		send_one(e, 4, 20, 500, 1);
		net_links_hb_down(e->links, 2);
		cr_assert_eq(e->n_outcomes, 11);
		net_links_hb_down(e->links, 3);
		cr_assert_eq(e->n_outcomes, 21);
		send_one(e, 2, 21, 500, 1));
	WAIT_UNTIL(&w, e->n_outcomes == 22);
	ON_LOOP(&w, cr_assert_eq(e->err[9], -EHOSTDOWN); cr_assert_eq(e->err[10], -ENOTCONN);
		cr_assert_eq(e->err[21], -ENOTCONN);
		cr_assert_eq(state_of(e, 2), NET_LINK_DOWN));
	raw_closed(fd);
	world_end(&w);
}

Test(conn, reply_is_queued_before_replied_and_reported_when_written)
{
	struct world w;
	struct end *e;
	struct net_frame f = net_frame_message(500, KEY, 4711, 1), r;
	int fd;

	world_init(&w);
	e = end_new(&w, 1);
	ON_LOOP(&w, net_links_hb_up(e->links, 2); e->written_token = 5);
	fd = raw_connect(node_addr(2), 1);
	raw_greet(&w, fd);
	f.pad = 0x77;
	raw_put(fd, &f, "\x09");
	r = raw_get(fd, NULL);
	cr_assert_eq(r.magic, NET_FRAME_STATUS);
	cr_assert_eq(r.num, 4711);
	cr_assert_eq(r.pad, 0x77);
	cr_assert_eq(r.status, -9);
	WAIT_UNTIL(&w, e->n_log == 3);
	ON_LOOP(&w, cr_assert_arr_eq(e->log, "mrw", 3));
	close(fd);
	world_end(&w);
}

Test(conn, frames_may_come_byte_by_byte)
{
	struct world w;
	struct end *e;
	struct net_frame f = net_frame_message(500, KEY, 1, 3), r;
	uint8_t raw[NET_HANDSHAKE_LEN + NET_FRAME_LEN + 3], hello[NET_HANDSHAKE_LEN];
	int one = 1, fd;

	world_init(&w);
	e = end_new(&w, 1);
	ON_LOOP(&w, net_links_hb_up(e->links, 2));
	fd = raw_connect(node_addr(2), 1);
	setsockopt(fd, IPPROTO_TCP, 1 /* TCP_NODELAY */, &one, sizeof(one));
	net_handshake_put(raw, &w.hs);
	net_frame_put(raw + NET_HANDSHAKE_LEN, &f);
	memcpy(raw + NET_HANDSHAKE_LEN + NET_FRAME_LEN, "\x03xy", 3);
	for (size_t i = 0; i < sizeof(raw); i++)
		cr_assert_eq(write(fd, raw + i, 1), 1);
	raw_read(fd, hello, sizeof(hello));
	r = raw_get(fd, NULL);
	cr_assert_eq(r.status, -3);
	close(fd);
	world_end(&w);
}

Test(conn, a_peer_that_does_not_read_is_waited_for)
{
	enum { N = 4000 };
	static uint8_t big[NET_PAYLOAD_MAX];
	struct world w;
	struct end *e;
	struct net_frame f, r;
	int fd;

	world_init(&w);
	e = end_new(&w, 1);
	ON_LOOP(&w, net_links_hb_up(e->links, 2));
	fd = raw_connect(node_addr(2), 1);
	raw_greet(&w, fd);
	WAIT_UNTIL(&w, state_of(e, 2) == NET_LINK_UP);
	/* 16 MB: more than the sockets take. The loop must go on working. */
	ON_LOOP(&w, for (int i = 0; i < N; i++)
			net_links_send(e->links, (uint64_t)i, 2, KEY, 500, big, sizeof(big)));
	ON_LOOP(&w, cr_assert_eq(e->n_outcomes, 0));
	for (int i = 0; i < N; i++) {
		f = raw_get(fd, big);
		r = net_frame_reply(&f, 0, 1);
		raw_put(fd, &r, NULL);
	}
	WAIT_UNTIL(&w, e->n_outcomes == N);
	close(fd);
	world_end(&w);
}

/* ---- framing errors ---- */

static void breaks_protocol(const struct net_frame *f, const char *why)
{
	struct world w;
	struct end *e;
	int fd;

	world_init(&w);
	e = end_new(&w, 1);
	ON_LOOP(&w, net_links_hb_up(e->links, 2));
	fd = raw_connect(node_addr(2), 1);
	raw_greet(&w, fd);
	raw_put(fd, f, NULL);
	raw_closed(fd);
	WAIT_UNTIL(&w, e->conn_errs == 1);
	ON_LOOP(&w, cr_assert(strstr(e->conn_err_why, why), "%s", e->conn_err_why));
	world_end(&w);
}

Test(conn, too_long_a_frame_closes_the_link)
{
	struct net_frame f = net_frame_message(500, KEY, 0, NET_PAYLOAD_MAX + 1);

	breaks_protocol(&f, "frame too long");
}

Test(conn, unknown_magic_closes_the_link)
{
	struct net_frame f = { .magic = 0xfa59 };

	breaks_protocol(&f, "magic 0xfa59");
}

/* ---- silence ---- */

Test(conn, keepalive_is_answered_and_sent_once_in_silence)
{
	struct world w;
	struct end *e;
	struct net_frame f = net_frame_keepalive(NET_FRAME_KEEP_REQ), r;
	struct pollfd p;
	int64_t t0;
	int fd;

	world_init(&w);
	w.hs.keepalive_ms = 200;
	e = end_new(&w, 1);
	ON_LOOP(&w, net_links_hb_up(e->links, 2));
	fd = raw_connect(node_addr(2), 1);
	raw_greet(&w, fd);
	t0 = net_now_ms();
	raw_put(fd, &f, NULL);
	cr_assert_eq(raw_get(fd, NULL).magic, NET_FRAME_KEEP_RESP);
	r = raw_get(fd, NULL);
	cr_assert_eq(r.magic, NET_FRAME_KEEP_REQ);
	cr_assert_geq(net_now_ms() - t0, 199);
	/* Not repeated until something is heard. */
	p = (struct pollfd){ .fd = fd, .events = POLLIN };
	cr_assert_eq(poll(&p, 1, 700), 0);
	f = net_frame_keepalive(NET_FRAME_KEEP_RESP);
	raw_put(fd, &f, NULL);
	cr_assert_eq(raw_get(fd, NULL).magic, NET_FRAME_KEEP_REQ);
	close(fd);
	world_end(&w);
}

Test(conn, idle_time_out_keeps_the_link_and_reports_it)
{
	struct world w;
	struct end *e;
	struct net_frame f = net_frame_keepalive(NET_FRAME_KEEP_RESP);
	int fd;

	world_init(&w);
	w.hs.keepalive_ms = 100;
	w.hs.idle_ms = 300;
	w.quorum_delay_ms = 400;
	e = end_new(&w, 1);
	ON_LOOP(&w, net_links_hb_up(e->links, 2));
	fd = raw_connect(node_addr(2), 1);
	raw_greet(&w, fd);
	WAIT_UNTIL(&w, e->conn_errs == 1);
	ON_LOOP(&w, cr_assert_eq(state_of(e, 2), NET_LINK_UP); send_one(e, 2, 0, 500, 1);
		cr_assert(strstr(e->conn_err_why, "nothing was heard of node 2 for 300 ms")));
	raw_put(fd, &f, NULL);
	WAIT_UNTIL(&w, e->conn_ups == 2);
	/* Silent again, until the vote. */
	WAIT_UNTIL(&w, e->still_ups == 1);
	ON_LOOP(&w, cr_assert_geq(e->conn_errs, 2); cr_assert_eq(e->outcomes[0], 0);
		cr_assert_eq(e->ups, 1));
	close(fd);
	world_end(&w);
}

/* ---- loss and return ---- */

Test(conn, connector_tries_again_at_reconnect_pace)
{
	struct world w;
	struct end *e;
	int lfd = raw_listen(1), fd;
	uint32_t from;
	int64_t t0 = 0;

	world_init(&w);
	w.hs.reconnect_ms = 250;
	e = end_new(&w, 2);
	ON_LOOP(&w, net_links_hb_up(e->links, 1); send_one(e, 1, 0, 500, 9));
	for (int i = 0; i < 3; i++) { /* accepted and closed: it does not know us yet */
		close(raw_accept(lfd, &from));
		if (i)
			cr_assert_geq(net_now_ms() - t0, 200);
		t0 = net_now_ms();
	}
	fd = raw_accept(lfd, &from);
	raw_greet(&w, fd);
	cr_assert_eq(raw_get(fd, &from).type, 500); /* it waited all the time */
	ON_LOOP(&w, cr_assert_eq(e->conn_errs, 0));
	/* Lost when up: back without waiting for idle_ms. */
	close(fd);
	fd = raw_accept(lfd, &from);
	raw_greet(&w, fd);
	WAIT_UNTIL(&w, state_of(e, 1) == NET_LINK_UP && e->ups == 2);
	ON_LOOP(&w, cr_assert_eq(e->conn_errs, 1); cr_assert_eq(e->err[0], -EHOSTDOWN));
	close(fd);
	close(lfd);
	world_end(&w);
}

Test(conn, a_refused_port_is_tried_until_somebody_listens)
{
	struct world w;
	struct end *e;
	struct net_link_info info;
	uint32_t from;
	int lfd, fd;

	world_init(&w);
	e = end_new(&w, 2);
	ON_LOOP(&w, net_links_hb_up(e->links, 1));
	WAIT_UNTIL(&w, net_links_info(e->links, 1, &info) &&
		   strstr(info.last_error, "Connection refused"));
	lfd = raw_listen(1);
	fd = raw_accept(lfd, &from);
	raw_greet(&w, fd);
	WAIT_UNTIL(&w, state_of(e, 1) == NET_LINK_UP);
	ON_LOOP(&w, net_links_info(e->links, 1, &info); cr_assert_str_empty(info.last_error));
	close(fd);
	close(lfd);
	world_end(&w);
}

Test(conn, silence_while_opening_ends_after_idle_time)
{
	struct world w;
	struct end *e;
	struct net_link_info info;
	uint32_t from;
	int lfd = raw_listen(1), fd, again;

	world_init(&w);
	w.hs.idle_ms = 300;
	w.hs.keepalive_ms = 100;
	e = end_new(&w, 2);
	ON_LOOP(&w, net_links_hb_up(e->links, 1));
	fd = raw_accept(lfd, &from); /* and no handshake */
	again = raw_accept(lfd, &from);
	ON_LOOP(&w, net_links_info(e->links, 1, &info);
		cr_assert(strstr(info.last_error, "no answer from node 1 for 300 ms")));
	close(fd);
	close(again);
	close(lfd);
	world_end(&w);
}

Test(conn, still_up_comes_only_if_the_link_stays_away)
{
	struct world w;
	struct end *e;
	int fd;

	world_init(&w);
	w.quorum_delay_ms = 400;
	e = end_new(&w, 1);
	ON_LOOP(&w, net_links_hb_up(e->links, 2));
	fd = raw_connect(node_addr(2), 1);
	raw_greet(&w, fd);
	WAIT_UNTIL(&w, e->ups == 1);
	close(fd);
	WAIT_UNTIL(&w, e->conn_errs == 1);
	fd = raw_connect(node_addr(2), 1); /* an acceptor takes it back at once */
	raw_greet(&w, fd);
	WAIT_UNTIL(&w, e->ups == 2);
	usleep(600000);
	ON_LOOP(&w, cr_assert_eq(e->still_ups, 0));
	close(fd);
	WAIT_UNTIL(&w, e->still_ups == 1);
	world_end(&w);
}

Test(conn, node_that_comes_back_gets_a_new_link)
{
	struct world w;
	struct end *a, *b;

	world_init(&w);
	a = end_new(&w, 1);
	b = end_new(&w, 2);
	both_up(&w, a, b);
	ON_LOOP(&w, net_links_hb_down(a->links, 2); a->epoch = 1;
		cr_assert_eq(a->conn_errs, 1));
	WAIT_UNTIL(&w, state_of(b, 1) != NET_LINK_UP);
	ON_LOOP(&w, net_links_hb_up(a->links, 2); b->epoch = 1);
	WAIT_UNTIL(&w, state_of(a, 2) == NET_LINK_UP && state_of(b, 1) == NET_LINK_UP);
	ON_LOOP(&w, cr_assert_eq(a->ups, 2));
	world_end(&w);
}

/* Links are cut at random places in heavy traffic of both directions. */
Test(conn, each_send_ends_once_through_many_losses)
{
	enum { ROUNDS = 30, PER = 60 };
	struct world w;
	struct end *a, *b;
	int next = 0;

	world_init(&w);
	w.hs.reconnect_ms = 1;
	a = end_new(&w, 1);
	b = end_new(&w, 2);
	ON_LOOP(&w, net_links_hb_up(a->links, 2); net_links_hb_up(b->links, 1));
	for (int r = 0; r < ROUNDS; r++, next += PER) {
		ON_LOOP(&w, for (int i = next; i < next + PER; i++) {
			send_one(a, 2, (uint64_t)i, 500, 1);
			send_one(b, 1, (uint64_t)i, 500, 1);
		});
		if (r % 3 == 0)
			usleep((useconds_t)(r * 37));
		ON_LOOP(&w, net_links_hb_down(a->links, 2); net_links_hb_up(a->links, 2));
	}
	WAIT_UNTIL(&w, a->n_outcomes == next && b->n_outcomes == next);
	ON_LOOP(&w, for (int i = 0; i < next; i++) {
		cr_assert_eq(a->outcomes[i], 1);
		cr_assert_eq(b->outcomes[i], 1);
	});
	world_end(&w);
}

Test(conn, shut_links_refuse_everything)
{
	struct world w;
	struct end *a, *b;

	world_init(&w);
	a = end_new(&w, 1);
	b = end_new(&w, 2);
	both_up(&w, a, b);
	ON_LOOP(&w, send_one(a, 2, 0, 500, 1); net_links_shut(a->links, "test");
		cr_assert_eq(a->outcomes[0], 1); net_links_hb_up(a->links, 2);
		send_one(a, 2, 1, 500, 1));
	WAIT_UNTIL(&w, a->outcomes[1] == 1);
	ON_LOOP(&w, cr_assert_eq(a->err[1], -ESRCH));
	raw_closed(raw_connect(node_addr(3), 1));
	world_end(&w);
}

Test(conn, port_taken_and_foreign_address_are_explained)
{
	struct world w;
	struct end *e;
	struct net_listen *l;
	struct reason why = { 0 };

	world_init(&w);
	e = end_new(&w, 1);
	ON_LOOP(&w, cr_assert_eq(net_listen_open(w.loop, node_addr(1), PORT, accepted, e, NULL, &l,
						 &why), -EADDRINUSE));
	cr_assert_eq(why.code, EXIT_ADDRESS);
	cr_assert(strstr(why.text, "the port is taken"), "%s", why.text);
	why = (struct reason){ 0 };
	ON_LOOP(&w, cr_assert_eq(net_listen_open(w.loop, 0xc0000201 /* 192.0.2.1 */, PORT, accepted,
						 e, NULL, &l, &why), -EADDRNOTAVAIL));
	cr_assert_eq(why.code, EXIT_ADDRESS);
	cr_assert(strstr(why.text, "192.0.2.1:7777: this host does not have the address"), "%s",
		  why.text);
	world_end(&w);
}
