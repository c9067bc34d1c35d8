// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * rtnl.c: watch the local node's address and the link that carries it.
 *
 * A notification says only that something changed that may concern us (our address, or
 * the link that has it; or one was lost, ENOBUFS); then all is asked anew, over a second
 * socket. So no order of notifications and answers can leave us with a wrong picture: the
 * last look is later than the last notification that was read. Others are passed over:
 * a host of containers has thousands a minute. The kernel fills in the answer to a dump
 * while it is asked for, so reading it does not wait for anybody.
 *
 * An address counts as ours if a link has it, or if it is in the prefix of an address
 * of the loopback link: the kernel treats all of 127.0.0.0/8 as local although only
 * 127.0.0.1 is configured (net/ipv4/fib_frontend.c, fib_add_ifaddr).
 */
#include <errno.h>
#include <netlink/cache.h>
#include <netlink/attr.h>
#include <netlink/errno.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>
#include <netlink/socket.h>
#include <arpa/inet.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>
#include "net/nodes.h"
#include "net/rtnl.h"

#define STEP "checking the local address"

struct net_rtnl {
	struct nl_sock *watch, *ask;
	uint32_t addr;
	struct net_rtnl_state state;
	uint64_t looks;
	net_rtnl_changed_fn changed;
	void *ctx;
	struct logger *log;
};

struct search {
	struct nl_sock *ask;
	uint32_t addr;
	int err;
	struct net_rtnl_state found;
	char known[160];	/* addresses that there are, for a refusal */
};

static bool in_prefix(uint32_t addr, uint32_t net, unsigned len)
{
	uint32_t mask = len == 0 ? 0 : ~0u << (32 - (len > 32 ? 32 : len));

	return (addr & mask) == (net & mask);
}

static void link_state(struct rtnl_link *link, struct net_rtnl_state *st)
{
	unsigned flags = rtnl_link_get_flags(link);
	const char *name = rtnl_link_get_name(link);

	st->present = true;
	st->ifindex = rtnl_link_get_ifindex(link);
	st->up = flags & IFF_UP;
	st->carrier = st->up && flags & IFF_RUNNING;
	snprintf(st->link, sizeof(st->link), "%s", name ? name : "?");
}

/* One address of this host. */
static void consider(struct nl_object *obj, void *arg)
{
	struct rtnl_addr *a = (struct rtnl_addr *)obj;
	struct nl_addr *local = rtnl_addr_get_local(a);
	struct search *s = arg;
	struct net_rtnl_state st = { 0 };
	struct rtnl_link *link;
	char buf[NET_ADDR_LEN];
	uint32_t addr;
	size_t len;
	int err;

	if (rtnl_addr_get_family(a) != AF_INET || !local || nl_addr_get_len(local) != 4)
		return;
	memcpy(&addr, nl_addr_get_binary_addr(local), 4);
	addr = ntohl(addr);
	len = strlen(s->known);
	snprintf(s->known + len, sizeof(s->known) - len, "%s%s", len ? ", " : "",
		 net_addr_text(addr, buf));
	if (addr != s->addr &&
	    !in_prefix(s->addr, addr, (unsigned)rtnl_addr_get_prefixlen(a)))
		return;
	err = rtnl_link_get_kernel(s->ask, rtnl_addr_get_ifindex(a), NULL, &link);
	if (err < 0) {
		/* Gone since the dump: another notification follows. */
		if (err != -NLE_OBJ_NOTFOUND && err != -NLE_NODEV)
			s->err = err;
		return;
	}
	if (addr == s->addr || rtnl_link_get_flags(link) & IFF_LOOPBACK) {
		link_state(link, &st);
		/* On two links: the better one counts. */
		if (!s->found.present || (st.carrier && !s->found.carrier))
			s->found = st;
	}
	rtnl_link_put(link);
}

static int search_run(struct net_rtnl *r, struct search *s)
{
	struct nl_cache *addrs = NULL;
	int err;

	s->addr = r->addr;
	s->ask = r->ask;
	r->looks++;
	err = rtnl_addr_alloc_cache(r->ask, &addrs);
	if (err >= 0)
		nl_cache_foreach(addrs, consider, s);
	nl_cache_free(addrs);
	return err < 0 ? err : s->err;
}

static int sock_open(struct nl_sock **out)
{
	struct timeval limit = { .tv_sec = 1 };
	struct nl_sock *sk = nl_socket_alloc();
	int err;

	*out = sk;
	if (!sk)
		return -NLE_NOMEM;
	err = nl_connect(sk, NETLINK_ROUTE);
	if (err < 0)
		return err;
	(void)nl_socket_set_buffer_size(sk, 1 << 18, 0);
	/* Never needed: a belt for the reactor. */
	(void)setsockopt(nl_socket_get_fd(sk), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	return 0;
}

static int fail(struct net_rtnl *r, int nle, struct reason *why)
{
	net_rtnl_close(r);
	return reason_set(why, EXIT_SYSTEM, nle == -NLE_NOMEM ? -ENOMEM : -EIO,
			  STEP ": rtnetlink: %s; does the kernel have NETLINK_ROUTE?",
			  nl_geterror(nle));
}

int net_rtnl_open(uint32_t addr, net_rtnl_changed_fn changed, void *ctx, struct logger *log,
		  struct net_rtnl **out, struct reason *why)
{
	struct net_rtnl *r = calloc(1, sizeof(*r));
	struct search s = { 0 };
	char buf[NET_ADDR_LEN];
	int err;

	*out = NULL;
	if (!r)
		return reason_set(why, EXIT_SYSTEM, -ENOMEM,
				  STEP ": out of memory; free some and retry");
	*r = (struct net_rtnl){ .addr = addr, .changed = changed, .ctx = ctx, .log = log };
	err = sock_open(&r->watch);
	if (err >= 0)
		err = sock_open(&r->ask);
	/* Listen first, then look: nothing falls between. */
	if (err >= 0)
		err = nl_socket_add_memberships(r->watch, RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, 0);
	if (err >= 0)
		err = nl_socket_set_nonblocking(r->watch);
	if (err >= 0)
		err = search_run(r, &s);
	if (err < 0)
		return fail(r, err, why);
	if (!s.found.present) {
		net_rtnl_close(r);
		return reason_set(why, EXIT_ADDRESS, -EADDRNOTAVAIL,
				  STEP ": no link of this host has %s (there are: %s); configure it "
				  "(ip addr add), correct cluster.conf on all nodes, or say with "
				  "-o node= which node this host is", net_addr_text(addr, buf),
				  s.known[0] ? s.known : "none");
	}
	if (!s.found.carrier)
		log_warn(log, "rtnl", "the link of the local address has no carrier; check cable and "
			 "switch addr=%s link=%s up=%d", net_addr_text(addr, buf), s.found.link,
			 s.found.up);
	r->state = s.found;
	*out = r;
	return 0;
}

void net_rtnl_close(struct net_rtnl *r)
{
	if (!r)
		return;
	nl_socket_free(r->watch);
	nl_socket_free(r->ask);
	free(r);
}

int net_rtnl_fd(const struct net_rtnl *r)
{
	return nl_socket_get_fd(r->watch);
}

const struct net_rtnl_state *net_rtnl_state(const struct net_rtnl *r)
{
	return &r->state;
}

static bool states_equal(const struct net_rtnl_state *a, const struct net_rtnl_state *b)
{
	return a->present == b->present && a->up == b->up && a->carrier == b->carrier &&
	       a->ifindex == b->ifindex && !strcmp(a->link, b->link);
}

uint64_t net_rtnl_looks(const struct net_rtnl *r)
{
	return r->looks;
}

/* May this change what we know? The message is the kernel's, but its length is checked. */
static bool concerns_us(const struct net_rtnl *r, struct nlmsghdr *h)
{
	struct nlattr *a;
	uint32_t addr;

	switch (h->nlmsg_type) {
	case RTM_NEWLINK:
	case RTM_DELLINK:
		return nlmsg_valid_hdr(h, sizeof(struct ifinfomsg)) && r->state.present &&
		       ((struct ifinfomsg *)nlmsg_data(h))->ifi_index == r->state.ifindex;
	case RTM_NEWADDR:
	case RTM_DELADDR:
		if (!nlmsg_valid_hdr(h, sizeof(struct ifaddrmsg)))
			return false;
		if ((int)((struct ifaddrmsg *)nlmsg_data(h))->ifa_index == r->state.ifindex)
			return true;
		a = nlmsg_find_attr(h, sizeof(struct ifaddrmsg), IFA_LOCAL);
		if (!a || nla_len(a) < 4)
			return false;
		addr = ntohl(nla_get_u32(a));
		/* The second: of the loopback link, whose whole prefix is local. */
		return addr == r->addr ||
		       in_prefix(r->addr, addr,
				 ((struct ifaddrmsg *)nlmsg_data(h))->ifa_prefixlen);
	default:
		return false;
	}
}

void net_rtnl_readable(struct net_rtnl *r)
{
	struct net_rtnl_state was = r->state;
	struct search s = { 0 };
	_Alignas(8) char buf[16384];
	bool look = false;
	ssize_t n;
	int err;

	while ((n = recv(net_rtnl_fd(r), buf, sizeof(buf), MSG_DONTWAIT | MSG_TRUNC)) > 0) {
		int left = n > (ssize_t)sizeof(buf) ? (int)sizeof(buf) : (int)n;

		look |= n > (ssize_t)sizeof(buf);
		for (struct nlmsghdr *h = (void *)buf; nlmsg_ok(h, left); h = nlmsg_next(h, &left))
			look |= concerns_us(r, h);
	}
	if (n < 0 && errno != EAGAIN && errno != EINTR)
		look = true; /* ENOBUFS: some were lost */
	if (!look)
		return;
	err = search_run(r, &s);
	if (err < 0) {
		log_warn(r->log, "rtnl", "cannot read the host's addresses; the shown state is old "
			 "reason=\"%s\"", nl_geterror(err));
		return;
	}
	if (states_equal(&was, &s.found))
		return;
	r->state = s.found;
	r->changed(r->ctx, &was, &r->state);
}
