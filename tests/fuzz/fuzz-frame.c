/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fuzz-frame.c: any bytes as what a peer sends on its link, handshake included, cut into
 * pieces as the first byte says. Whatever comes: handlers see only whole messages
 * within the limits, each of them gets one reply, and each send of ours one outcome.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "net/conn_int.h"
#include "tests/fuzz/fuzz.h"

enum { SENDS = 5, PEER_ADDR = 0x7f000002 };

struct fuzzed {
	int messages, replied, outcomes[SENDS], ups, downs;
};

static struct net_link_reply on_message(void *ctx, node_t from, const struct net_frame *f,
					const void *payload)
{
	struct fuzzed *z = ctx;
	volatile uint8_t sum = 0;

	FUZZ_CHECK(from == 2 && f->magic == NET_FRAME_MESSAGE && f->len <= NET_PAYLOAD_MAX);
	FUZZ_CHECK(z->ups == 1);
	for (size_t i = 0; i < f->len; i++) /* a sanitizer sees what is not there */
		sum = (uint8_t)(sum + ((const uint8_t *)payload)[i]);
	z->messages++;
	return (struct net_link_reply){ .sys_status = f->type % 3, .status = -1,
					.written_token = f->key % 2 };
}

static void on_replied(void *ctx)
{
	((struct fuzzed *)ctx)->replied++;
}

static void on_written(void *ctx, uint64_t token)
{
	(void)ctx;
	FUZZ_CHECK(token == 1);
}

static void on_sent(void *ctx, uint32_t key, uint64_t token, int err, int32_t status)
{
	FUZZ_CHECK(key == 77 && token < SENDS);
	FUZZ_CHECK(err <= 0 && (err == 0 || status == 0));
	((struct fuzzed *)ctx)->outcomes[token]++;
}

static void on_up(void *ctx, node_t node, uint32_t epoch)
{
	FUZZ_CHECK(node == 2 && epoch == 1);
	((struct fuzzed *)ctx)->ups++;
}

static void on_node(void *ctx, node_t node)
{
	(void)ctx;
	FUZZ_CHECK(node == 2);
}

static void on_err(void *ctx, node_t node, const char *why)
{
	FUZZ_CHECK(node == 2 && why[0]);
	((struct fuzzed *)ctx)->downs++;
}

static const struct net_link_ops ops = {
	.message = on_message, .replied = on_replied, .reply_written = on_written,
	.sent = on_sent, .up = on_up, .conn_up = on_node, .conn_err = on_err, .still_up = on_node,
};

static struct net_nodes *two_nodes(void)
{
	struct net_nodes *t;

	FUZZ_CHECK(net_nodes_new(&t) == 0);
	for (unsigned int n = 1; n <= 2; n++) {
		struct net_node row = { .number = (node_t)n, .port = 7777,
					.addr = PEER_ADDR - 2 + n, .local = n == 1 };

		snprintf(row.name, sizeof(row.name), "n%u", n);
		FUZZ_CHECK(net_nodes_add(t, &row, NULL) == 0);
	}
	return t;
}

/* Let the link read what is there; count whole frames that it wrote. */
static void feed(struct net_links *ls, int fd, const uint8_t *data, size_t len)
{
	struct net_peer *p = ls->peers[2];
	uint8_t sink[65536];

	while (len) {
		ssize_t n = send(fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno != EAGAIN)
			return; /* the link was closed */
		if (n > 0) {
			data += n;
			len -= (size_t)n;
		}
		if (p->fd < 0)
			return;
		net_peer_read(p);
		while (net_links_run(ls))
			;
		while (recv(fd, sink, sizeof(sink), MSG_DONTWAIT) > 0)
			;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct fuzzed z = { 0 };
	struct net_nodes *nodes = two_nodes();
	struct net_links_config cfg = {
		.self = 1, .nodes = nodes, .quorum_delay_ms = 1000, .ops = &ops, .ctx = &z,
		.handshake = { .version = 11, .connector_id = 1, .heartbeat_ms = 60000,
			       .idle_ms = 30000, .keepalive_ms = 2000, .reconnect_ms = 2000 },
	};
	struct net_links *ls;
	struct net_loop *loop;
	size_t piece, n;
	int sv[2];

	FUZZ_CHECK(net_loop_new(&loop) == 0);
	cfg.loop = loop;
	FUZZ_CHECK(net_links_new(&cfg, &ls) == 0);
	FUZZ_CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, sv) == 0);
	net_links_hb_up(ls, 2);
	net_links_accept(ls, sv[0], PEER_ADDR);
	for (uint64_t i = 0; i < SENDS; i++)
		net_links_send(ls, i, 2, 77, 500, "abc", 3);
	piece = len && data[0] ? data[0] : 65536;
	for (size_t pos = 1; pos < len; pos += n) {
		n = len - pos < piece ? len - pos : piece;
		feed(ls, sv[1], data + pos, n);
	}
	FUZZ_CHECK(z.messages == z.replied);
	FUZZ_CHECK(z.downs <= z.ups);
	net_links_free(ls);
	for (int i = 0; i < SENDS; i++)
		FUZZ_CHECK(z.outcomes[i] == 1);
	close(sv[1]);
	net_loop_free(loop);
	net_nodes_free(nodes);
	return 0;
}
