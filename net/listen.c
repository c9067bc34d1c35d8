/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * listen.c: bind, listen, accept. Who may stay connected is decided in conn.c.
 *
 * When no descriptor is left, a connection cannot be accepted and the socket stays
 * readable for ever; watching is then suspended for a second, so that the loop does not
 * spin. Nothing is lost: the peer waits in the backlog.
 */
#include "net/listen.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "net/nodes.h"

#define BACKLOG 64
#define RETRY_MS 1000
#define ACCEPTS_PER_ROUND 64

struct net_listen {
	int fd;
	uint16_t port;
	struct net_poll *poll;
	struct net_timer *retry;
	struct logger *log;
	void (*accepted)(void *ctx, int fd, uint32_t from_addr);
	void *ctx;
};

static void on_retry(void *arg)
{
	struct net_listen *l = arg;

	net_poll_set(l->poll, NET_POLL_IN);
}

static void on_ready(void *arg, unsigned int events)
{
	struct net_listen *l = arg;

	(void)events;
	for (int i = 0; i < ACCEPTS_PER_ROUND; i++) {
		struct sockaddr_in from = { 0 };
		socklen_t len = sizeof(from);
		int fd = accept4(l->fd, (struct sockaddr *)&from, &len,
				 SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0) {
			l->accepted(l->ctx, fd, ntohl(from.sin_addr.s_addr));
			continue;
		}
		if (errno == EAGAIN)
			return;
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
			log_warn(l->log, "o2net", "cannot accept a connection: %s; trying again in %d ms",
				 strerror(errno), RETRY_MS);
			net_poll_set(l->poll, 0);
			net_timer_set(l->retry, RETRY_MS);
			return;
		}
		/* ECONNABORTED, EINTR and network errors of that one connection. */
	}
}

static int bind_reason(struct reason *why, int err, uint32_t addr, uint16_t port)
{
	char text[NET_ADDR_LEN];

	net_addr_text(addr, text);
	if (err == EADDRINUSE)
		return reason_set(why, EXIT_ADDRESS, -err,
				  "listen on %s:%u: the port is taken; end the other program (ss -ltnp "
				  "'sport = :%u'), or choose another ip_port for this node on all nodes",
				  text, port, port);
	if (err == EADDRNOTAVAIL)
		return reason_set(why, EXIT_ADDRESS, -err,
				  "listen on %s:%u: this host does not have the address; set it up, or "
				  "correct ip_address of this node in cluster.conf on all nodes",
				  text, port);
	if (err == EACCES)
		return reason_set(why, EXIT_ADDRESS, -err,
				  "listen on %s:%u: no permission for this port; choose an ip_port above "
				  "1023, or mount as root", text, port);
	return reason_set(why, EXIT_SYSTEM, -err, "listen on %s:%u: %s", text, port, strerror(err));
}

static int open_socket(uint32_t addr, uint16_t port, int *out)
{
	struct sockaddr_in at = { .sin_family = AF_INET,
				  .sin_port = htons(port),
				  .sin_addr.s_addr = htonl(addr) };
	int one = 1;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&at, sizeof(at)) || listen(fd, BACKLOG)) {
		int err = -errno;

		close(fd);
		return err;
	}
	*out = fd;
	return 0;
}

int net_listen_open(struct net_loop *loop, uint32_t addr, uint16_t port,
		    void (*accepted)(void *ctx, int fd, uint32_t from_addr), void *ctx,
		    struct logger *log, struct net_listen **out, struct reason *why)
{
	struct sockaddr_in at;
	socklen_t len = sizeof(at);
	struct net_listen *l = calloc(1, sizeof(*l));
	int err;

	if (!l)
		return reason_set(why, EXIT_SYSTEM, -ENOMEM, "listen: out of memory");
	l->accepted = accepted;
	l->ctx = ctx;
	l->log = log;
	err = open_socket(addr, port, &l->fd);
	if (err) {
		bind_reason(why, -err, addr, port);
		goto undo_alloc;
	}
	if (getsockname(l->fd, (struct sockaddr *)&at, &len) == 0)
		l->port = ntohs(at.sin_port);
	err = net_poll_new(loop, l->fd, on_ready, l, &l->poll);
	if (err)
		goto undo_socket;
	l->retry = net_timer_new(loop, on_retry, l);
	if (!l->retry) {
		err = -ENOMEM;
		goto undo_poll;
	}
	net_poll_set(l->poll, NET_POLL_IN);
	*out = l;
	return 0;

undo_poll:
	net_poll_free(l->poll);
undo_socket:
	close(l->fd);
	reason_set(why, EXIT_SYSTEM, err, "listen: %s", strerror(-err));
undo_alloc:
	free(l);
	return err;
}

void net_listen_close(struct net_listen *l)
{
	if (!l)
		return;
	net_timer_free(l->retry);
	net_poll_free(l->poll);
	close(l->fd);
	free(l);
}

uint16_t net_listen_port(const struct net_listen *l)
{
	return l->port;
}
