/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * rtnl.h: is the local node's address on this host, on which link, with carrier?
 *
 * Asks the kernel over rtnetlink and follows its notifications. Belongs to one
 * thread (the reactor), which polls the descriptor for reading and calls
 * net_rtnl_readable(); no call waits for anybody but the kernel.
 */
#ifndef O2FUSE_NET_RTNL_H
#define O2FUSE_NET_RTNL_H

#include <stdbool.h>
#include <stdint.h>
#include <net/if.h>
#include "dlm/util/cleanup.h"
#include "dlm/util/err.h"
#include "dlm/util/log.h"

struct net_rtnl;

struct net_rtnl_state {
	bool present;		/* some link of this host has the address */
	bool up;		/* that link is administratively up */
	bool carrier;		/* and its lower layer is up */
	int ifindex;		/* 0: not present */
	char link[IF_NAMESIZE];
};

/* The state is no longer what it was; called from net_rtnl_readable() only. */
typedef void (*net_rtnl_changed_fn)(void *ctx, const struct net_rtnl_state *was,
				    const struct net_rtnl_state *is);

/* addr: IPv4, host order. EXIT_ADDRESS, -EADDRNOTAVAIL: no link has the address; why
 * says which addresses there are. EXIT_SYSTEM: rtnetlink cannot be used. A link
 * without carrier is no error (see net_rtnl_state). */
int net_rtnl_open(uint32_t addr, net_rtnl_changed_fn changed, void *ctx, struct logger *log,
		  struct net_rtnl **out, struct reason *why) __must_check;
void net_rtnl_close(struct net_rtnl *r);
int net_rtnl_fd(const struct net_rtnl *r);
void net_rtnl_readable(struct net_rtnl *r);
const struct net_rtnl_state *net_rtnl_state(const struct net_rtnl *r);
/* How often all addresses were asked for: once at the start, then per news of ours. */
uint64_t net_rtnl_looks(const struct net_rtnl *r);

#endif
