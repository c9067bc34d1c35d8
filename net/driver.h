/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * driver.h: the DLM core on the reactor: struct dlm_transport over o2net links and loop
 * timers. Belongs to the loop's thread.
 */
#ifndef O2FUSE_NET_DRIVER_H
#define O2FUSE_NET_DRIVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "dlm/dlm.h"
#include "net/conn.h"
#include "net/loop.h"

struct net_driver;

struct net_driver_config {
	struct net_loop *loop;
	struct net_links *links; /* sends go here; may be set later */
	struct dlm_config dlm;
	/* The core wants this node to stop. Called within an input of the core. */
	void (*fence)(void *ctx, const char *domain, const char *why);
	void *ctx;
};

int net_driver_new(const struct net_driver_config *cfg, struct net_driver **out) __must_check;
/* After the links are gone. */
void net_driver_free(struct net_driver *d);
void net_driver_set_links(struct net_driver *d, struct net_links *links);
struct dlm *net_driver_dlm(struct net_driver *d);

/* What struct net_link_ops wants, for every key that is not the heartbeat's. */
struct net_link_reply net_driver_message(struct net_driver *d, node_t from,
					 const struct net_frame *f, const void *payload);
void net_driver_replied(struct net_driver *d);

#endif
