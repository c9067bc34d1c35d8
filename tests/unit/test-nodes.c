// SPDX-License-Identifier: GPL-2.0-or-later
/* test-nodes.c: the node table's keys, limits and changes. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "dlm/dlm.h"
#include "net/nodes.h"

static struct net_nodes *t;

static void setup(void)
{
	cr_assert_eq(net_nodes_new(&t), 0);
}

static void teardown(void)
{
	net_nodes_free(t);
}

TestSuite(nodes, .init = setup, .fini = teardown);

static struct net_node row(unsigned number, const char *name, const char *addr)
{
	struct net_node n = { .number = (node_t)number, .port = 7777 };

	snprintf(n.name, sizeof(n.name), "%s", name);
	cr_assert_eq(net_addr_parse(addr, &n.addr), 0, "%s", addr);
	return n;
}

static int add(unsigned number, const char *name, const char *addr, struct reason *why)
{
	struct net_node n = row(number, name, addr);

	return net_nodes_add(t, &n, why);
}

static void expect_text(const struct reason *why, const char *part)
{
	cr_assert(strstr(why->text, part), "\"%s\" does not name \"%s\"", why->text, part);
}

Test(nodes, are_found_by_number_name_and_address)
{
	uint8_t map[32];

	cr_assert_eq(add(254, "last", "10.0.0.254", NULL), 0);
	cr_assert_eq(add(0, "first", "10.0.0.1", NULL), 0);
	cr_assert_eq(net_nodes_count(t), 2);
	cr_assert_str_eq(net_nodes_get(t, 254)->name, "last");
	cr_assert_null(net_nodes_get(t, 1));
	cr_assert_null(net_nodes_get(t, 255));
	cr_assert_null(net_nodes_get(t, 70000));
	cr_assert_eq(net_nodes_by_addr(t, 0x0a000001)->number, 0);
	cr_assert_null(net_nodes_by_addr(t, 0x0a000002));
	cr_assert_eq(net_nodes_by_name(t, "last")->number, 254);
	cr_assert_null(net_nodes_by_name(t, "LAST"));
	cr_assert_eq(net_nodes_next(t, 0)->number, 0);
	cr_assert_eq(net_nodes_next(t, 1)->number, 254);
	cr_assert_null(net_nodes_next(t, 255));
	net_nodes_map(t, map);
	cr_assert_eq(map[0], 1);
	cr_assert_eq(map[31], 1 << 6);
}

Test(nodes, refuse_a_number_in_use_and_name_its_owner)
{
	struct reason why = { 0 };

	cr_assert_eq(add(3, "one", "10.0.0.1", NULL), 0);
	cr_assert_eq(add(3, "two", "10.0.0.2", &why), -EEXIST);
	expect_text(&why, "number 3");
	expect_text(&why, "one (10.0.0.1)");
	cr_assert_eq(net_nodes_count(t), 1);
}

Test(nodes, refuse_a_name_in_use)
{
	struct reason why = { 0 };

	cr_assert_eq(add(3, "one", "10.0.0.1", NULL), 0);
	cr_assert_eq(add(4, "one", "10.0.0.2", &why), -EEXIST);
	expect_text(&why, "name one is in use by node 3");
}

Test(nodes, refuse_an_address_in_use_whatever_the_port)
{
	struct net_node n = row(4, "two", "10.0.0.1");
	struct reason why = { 0 };

	n.port = 7778;
	cr_assert_eq(add(3, "one", "10.0.0.1", NULL), 0);
	cr_assert_eq(net_nodes_add(t, &n, &why), -EEXIST);
	expect_text(&why, "10.0.0.1 is in use by node 3 (one)");
}

Test(nodes, refuse_rows_that_are_out_of_range)
{
	struct net_node n = row(255, "x", "10.0.0.1");
	struct reason why = { 0 };

	cr_assert_eq(net_nodes_add(t, &n, &why), -EINVAL);
	expect_text(&why, "0..254");
	n = row(1, "x", "10.0.0.1");
	n.port = 65535;
	why.text[0] = '\0';
	cr_assert_eq(net_nodes_add(t, &n, &why), -EINVAL);
	expect_text(&why, "1..65534");
	n.port = 0;
	cr_assert_eq(net_nodes_add(t, &n, NULL), -EINVAL);
	n = row(1, "x", "10.0.0.1");
	n.addr = 0xe0000001;
	why.text[0] = '\0';
	cr_assert_eq(net_nodes_add(t, &n, &why), -EINVAL);
	expect_text(&why, "224.0.0.1");
	n = row(1, "", "10.0.0.1");
	cr_assert_eq(net_nodes_add(t, &n, NULL), -EINVAL);
	n = row(1, "a b", "10.0.0.1");
	cr_assert_eq(net_nodes_add(t, &n, NULL), -EINVAL);
	n = row(1, "a/b", "10.0.0.1");
	cr_assert_eq(net_nodes_add(t, &n, NULL), -EINVAL);
	n = row(1, "..", "10.0.0.1");
	cr_assert_eq(net_nodes_add(t, &n, NULL), -EINVAL);
	cr_assert_eq(net_nodes_count(t), 0);
}

Test(nodes, a_name_without_its_end_is_refused)
{
	struct net_node n = row(1, "x", "10.0.0.1");

	memset(n.name, 'a', sizeof(n.name));
	cr_assert_eq(net_nodes_add(t, &n, NULL), -EINVAL);
}

Test(nodes, have_one_local_row)
{
	struct net_node n = row(1, "x", "10.0.0.1"), m = row(2, "y", "10.0.0.2");
	struct reason why = { 0 };

	cr_assert_null(net_nodes_local(t));
	n.local = m.local = true;
	cr_assert_eq(net_nodes_add(t, &n, NULL), 0);
	cr_assert_eq(net_nodes_add(t, &m, &why), -EEXIST);
	expect_text(&why, "local");
	cr_assert_eq(net_nodes_local(t)->number, 1);
}

Test(nodes, are_not_removed_while_live_local_or_absent)
{
	uint8_t live[32] = { [31] = 1 << 6 };
	struct net_node n = row(1, "me", "10.0.0.1");
	struct reason why = { 0 };

	n.local = true;
	cr_assert_eq(net_nodes_add(t, &n, NULL), 0);
	cr_assert_eq(add(254, "peer", "10.0.0.2", NULL), 0);
	cr_assert_eq(net_nodes_remove(t, 254, live, &why), -EBUSY);
	expect_text(&why, "254 (peer) is live");
	why.text[0] = '\0';
	cr_assert_eq(net_nodes_remove(t, 1, NULL, &why), -EBUSY);
	expect_text(&why, "this host");
	why.text[0] = '\0';
	cr_assert_eq(net_nodes_remove(t, 9, live, &why), -ENOENT);
	expect_text(&why, "no node 9");
	cr_assert_eq(net_nodes_remove(t, 300, live, NULL), -ENOENT);
	live[31] = 0;
	cr_assert_eq(net_nodes_remove(t, 254, live, NULL), 0);
	cr_assert_eq(net_nodes_count(t), 1);
	cr_assert_null(net_nodes_by_addr(t, 0x0a000002));
	cr_assert_eq(add(253, "peer", "10.0.0.2", NULL), 0);
}

Test(nodes, go_to_the_dlm_with_number_address_and_port)
{
	static struct dlm_table_entry table[NODE_MAX];

	table[7].present = true;
	cr_assert_eq(add(5, "x", "10.0.2.15", NULL), 0);
	net_nodes_dlm_table(t, table);
	cr_assert(table[5].present);
	cr_assert_eq(table[5].addr, 0x0a00020f);
	cr_assert_eq(table[5].port, 7777);
	cr_assert_not(table[7].present);
}

static char trail[200];

static void note(void *ctx, enum net_nodes_change what, const struct net_node *node)
{
	size_t len = strlen(trail);

	(void)ctx;
	snprintf(trail + len, sizeof(trail) - len, "%c%u:%u ", "-~+"[what], node->number,
		 node->port);
}

Test(nodes, differ_by_rows_gone_changed_and_new)
{
	struct net_nodes *u;
	struct net_node n;

	cr_assert_eq(net_nodes_new(&u), 0);
	cr_assert_eq(add(1, "a", "10.0.0.1", NULL), 0);
	cr_assert_eq(add(2, "b", "10.0.0.2", NULL), 0);
	cr_assert_eq(add(3, "c", "10.0.0.3", NULL), 0);
	n = row(2, "b", "10.0.0.2");
	n.port = 7778;
	cr_assert_eq(net_nodes_add(u, &n, NULL), 0);
	n = row(3, "c", "10.0.0.3");
	cr_assert_eq(net_nodes_add(u, &n, NULL), 0);
	n = row(9, "d", "10.0.0.1");
	cr_assert_eq(net_nodes_add(u, &n, NULL), 0);
	net_nodes_diff(t, u, note, NULL);
	cr_assert_str_eq(trail, "-1:7777 ~2:7778 +9:7777 ");
	net_nodes_free(u);
}

Test(nodes, addresses_are_dotted_quads_of_one_host)
{
	static const char *const bad[] = { "", "10.0.0", "10.0.0.256", "10.0.0.1 ", "host",
					   "0.0.0.0", "255.255.255.255", "239.1.1.1", "::1",
					   "010.0.0.1", "10.0.0.1/24" };
	char buf[NET_ADDR_LEN];
	uint32_t addr;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_assert_eq(net_addr_parse(bad[i], &addr), -EINVAL, "%s", bad[i]);
	cr_assert_eq(net_addr_parse("192.168.100.200", &addr), 0);
	cr_assert_eq(addr, 0xc0a864c8);
	cr_assert_str_eq(net_addr_text(addr, buf), "192.168.100.200");
}

Test(nodes, numbers_are_decimal_digits_in_range)
{
	unsigned v = 77;

	cr_assert_eq(net_number_parse("0", 0, 254, &v), 0);
	cr_assert_eq(v, 0);
	cr_assert_eq(net_number_parse("0254", 0, 254, &v), 0);
	cr_assert_eq(v, 254);
	cr_assert_eq(net_number_parse("255", 0, 254, &v), -ERANGE);
	cr_assert_eq(net_number_parse("0", 1, 254, &v), -ERANGE);
	cr_assert_eq(net_number_parse("99999999999999999999999999999999", 0, 254, &v), -ERANGE);
	cr_assert_eq(net_number_parse("18446744073709551617", 0, 254, &v), -ERANGE);
	cr_assert_eq(net_number_parse("", 0, 254, &v), -EINVAL);
	cr_assert_eq(net_number_parse("-1", 0, 254, &v), -EINVAL);
	cr_assert_eq(net_number_parse("+1", 0, 254, &v), -EINVAL);
	cr_assert_eq(net_number_parse(" 1", 0, 254, &v), -EINVAL);
	cr_assert_eq(net_number_parse("0x1", 0, 254, &v), -EINVAL);
	cr_assert_eq(v, 254);
}
