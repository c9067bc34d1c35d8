/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * listen.h: the listening socket of this node (doc/spec/cluster.md 2.1): bound to the
 * configured address and port, never to the wildcard.
 */
#ifndef O2FUSE_NET_LISTEN_H
#define O2FUSE_NET_LISTEN_H

#include <stdint.h>
#include "dlm/util/err.h"
#include "dlm/util/log.h"
#include "net/loop.h"

struct net_listen;

/* accepted() takes the descriptor (non-blocking, close-on-exec). addr and port in host
 * order. EXIT_ADDRESS: port taken, address not local; EXIT_SYSTEM. */
int net_listen_open(struct net_loop *loop, uint32_t addr, uint16_t port,
		    void (*accepted)(void *ctx, int fd, uint32_t from_addr), void *ctx,
		    struct logger *log, struct net_listen **out, struct reason *why) __must_check;
void net_listen_close(struct net_listen *l); /* NULL is fine */
/* The port that is listened on (tests: port 0 asks for any). */
uint16_t net_listen_port(const struct net_listen *l);

#endif
