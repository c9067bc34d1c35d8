// SPDX-License-Identifier: GPL-2.0-or-later
/* test-rtnl.c: address and carrier of the local node, in a network namespace of its own. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <net/if.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>
#include <netlink/route/link/veth.h>
#include <netlink/socket.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>
#include "net/nodes.h"
#include "net/rtnl.h"

#define ADDR 0x0a090001u /* 10.9.0.1 */

static struct nl_sock *sk;
static struct net_rtnl *r;
static struct net_rtnl_state last_was, last_is;
static unsigned changes;

static void setup(void)
{
	alarm(100);
	if (unshare(CLONE_NEWNET) < 0)
		cr_skip_test("needs a network namespace of its own (root): %s", strerror(errno));
	sk = nl_socket_alloc();
	cr_assert_eq(nl_connect(sk, NETLINK_ROUTE), 0);
	cr_assert_eq(rtnl_link_veth_add(sk, "v0", "v1", getpid()), 0);
}

static void teardown(void)
{
	net_rtnl_close(r);
	nl_socket_free(sk);
}

TestSuite(rtnl, .init = setup, .fini = teardown);

static void link_up(const char *name, bool up)
{
	struct rtnl_link *link, *change = rtnl_link_alloc();

	cr_assert_geq(rtnl_link_get_kernel(sk, 0, name, &link), 0);
	if (up)
		rtnl_link_set_flags(change, IFF_UP);
	else
		rtnl_link_unset_flags(change, IFF_UP);
	cr_assert_geq(rtnl_link_change(sk, link, change, 0), 0);
	rtnl_link_put(link);
	rtnl_link_put(change);
}

static void address(const char *name, uint32_t addr, bool add)
{
	struct rtnl_addr *a = rtnl_addr_alloc();
	uint32_t be = htonl(addr);
	struct nl_addr *local = nl_addr_build(AF_INET, &be, 4);

	nl_addr_set_prefixlen(local, 24);
	rtnl_addr_set_ifindex(a, (int)if_nametoindex(name));
	cr_assert_eq(rtnl_addr_set_local(a, local), 0);
	cr_assert_geq(add ? rtnl_addr_add(sk, a, 0) : rtnl_addr_delete(sk, a, 0), 0);
	nl_addr_put(local);
	rtnl_addr_put(a);
}

static void note(void *ctx, const struct net_rtnl_state *was, const struct net_rtnl_state *is)
{
	cr_assert_eq(ctx, &changes);
	last_was = *was;
	last_is = *is;
	changes++;
}

static int start(uint32_t addr, struct reason *why)
{
	return net_rtnl_open(addr, note, &changes, NULL, &r, why);
}

/* Handle notifications until the state is as wanted. */
static void wait_for(bool present, bool carrier)
{
	struct pollfd p = { .fd = net_rtnl_fd(r), .events = POLLIN };
	const struct net_rtnl_state *st = net_rtnl_state(r);

	while (st->present != present || st->carrier != carrier) {
		cr_assert_eq(poll(&p, 1, 5000), 1, "present=%d carrier=%d", st->present,
			     st->carrier);
		net_rtnl_readable(r);
	}
}

/* Both ends up, and watched. The kernel reports the carrier a moment after that. */
static void start_with_carrier(void)
{
	address("v0", ADDR, true);
	link_up("v0", true);
	link_up("v1", true);
	cr_assert_eq(start(ADDR, NULL), 0);
	wait_for(true, true);
	changes = 0;
}

Test(rtnl, an_absent_address_is_refused_and_the_present_ones_are_named)
{
	struct reason why = { 0 };

	address("v0", 0x0a090002, true);
	cr_assert_eq(start(ADDR, &why), -EADDRNOTAVAIL);
	cr_assert_null(r);
	cr_assert_eq(why.code, EXIT_ADDRESS);
	cr_assert(strstr(why.text, "10.9.0.1"), "%s", why.text);
	cr_assert(strstr(why.text, "there are: 10.9.0.2"), "%s", why.text);
	cr_assert(strstr(why.text, "ip addr add"), "%s", why.text);
}

Test(rtnl, an_address_is_found_with_its_link_and_carrier)
{
	start_with_carrier();
	cr_assert(net_rtnl_state(r)->present);
	cr_assert(net_rtnl_state(r)->up);
	cr_assert(net_rtnl_state(r)->carrier);
	cr_assert_str_eq(net_rtnl_state(r)->link, "v0");
	cr_assert_eq(net_rtnl_state(r)->ifindex, (int)if_nametoindex("v0"));
}

Test(rtnl, a_link_that_is_down_is_no_refusal)
{
	address("v0", ADDR, true);
	cr_assert_eq(start(ADDR, NULL), 0);
	cr_assert(net_rtnl_state(r)->present);
	cr_assert_not(net_rtnl_state(r)->up);
	cr_assert_not(net_rtnl_state(r)->carrier);
}

Test(rtnl, every_loopback_address_is_local)
{
	link_up("lo", true);
	cr_assert_eq(start(0x7f000205, NULL), 0);
	cr_assert_str_eq(net_rtnl_state(r)->link, "lo");
	cr_assert(net_rtnl_state(r)->carrier);
}

Test(rtnl, losing_and_finding_the_carrier_are_changes)
{
	start_with_carrier();
	link_up("v1", false);
	wait_for(true, false);
	cr_assert_eq(changes, 1);
	cr_assert(last_was.carrier);
	cr_assert(last_is.present && last_is.up && !last_is.carrier);
	link_up("v1", true);
	wait_for(true, true);
	cr_assert_eq(changes, 2);
}

Test(rtnl, losing_the_address_and_its_move_to_another_link_are_changes)
{
	start_with_carrier();
	address("v0", ADDR, false);
	wait_for(false, false);
	cr_assert_eq(last_is.ifindex, 0);
	address("v1", ADDR, true);
	wait_for(true, true);
	cr_assert_str_eq(net_rtnl_state(r)->link, "v1");
}

Test(rtnl, deleting_the_link_loses_the_address)
{
	struct rtnl_link *link = rtnl_link_alloc();

	start_with_carrier();
	rtnl_link_set_name(link, "v0");
	cr_assert_geq(rtnl_link_delete(sk, link), 0);
	rtnl_link_put(link);
	wait_for(false, false);
}

/* Read what is there now. */
static void read_news(void)
{
	struct pollfd p = { .fd = net_rtnl_fd(r), .events = POLLIN };

	cr_assert_eq(poll(&p, 1, 5000), 1);
	net_rtnl_readable(r);
}

Test(rtnl, news_of_other_links_and_addresses_are_passed_over)
{
	uint64_t looks;

	start_with_carrier();
	cr_assert_eq(rtnl_link_veth_add(sk, "w0", "w1", getpid()), 0);
	read_news();
	looks = net_rtnl_looks(r);
	for (unsigned i = 0; i < 20; i++) {
		address("w0", 0x0a080001 + i, true);
		link_up("w0", i % 2);
		read_news();
	}
	cr_assert_eq(net_rtnl_looks(r), looks);
	cr_assert_eq(changes, 0);
}

/* What was lost may have been ours. */
Test(rtnl, lost_news_make_it_look)
{
	int small = 2048;

	start_with_carrier();
	cr_assert_eq(setsockopt(net_rtnl_fd(r), SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)), 0);
	cr_assert_eq(rtnl_link_veth_add(sk, "w0", "w1", getpid()), 0);
	for (unsigned i = 0; i < 100; i++)
		address("w0", 0x0a080001 + i, true);
	address("v0", ADDR, false);
	for (unsigned i = 0; net_rtnl_state(r)->present && i < 100; i++)
		net_rtnl_readable(r);
	cr_assert_not(net_rtnl_state(r)->present);
}
