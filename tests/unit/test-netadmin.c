// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test-netadmin.c: whole hosts in one process with their admin channel: the node table
 * changed while hosts come and go, events, status, a lost address. In a network namespace
 * of its own, where 127.0.0.n are the hosts.
 */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <net/if.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include "net/heartbeat.h"
#include "net/net_int.h"
#include "net/netlink_client.h"

enum { BLOCK = 512, OFFSET = 8192 };
#define UUID "45F81E3B6F2B48CCAAD1AE7945AB2001"

struct host {
	struct logger log;	/* first: lines come with its address */
	struct net *net;
	struct net_region *region;
	struct dlm_domain *dom;
	struct net_config cfg;
	int err;
	struct reason why;
	atomic_int refused_approvals;
};

static char dir[] = "/tmp/o2fuse-netadmin-XXXXXX", disk[64];
static struct net_nlc *c, *events;

static void loopback_up(void)
{
	struct ifreq r = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	cr_assert_eq(ioctl(fd, SIOCSIFFLAGS, &r), 0);
	close(fd);
}

static void write_conf(const char *name, unsigned nodes)
{
	char path[64];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "w");
	cr_assert_not_null(f);
	fprintf(f, "cluster:\n\tnode_count = %u\n\tname = testing\n", nodes);
	for (unsigned n = 1; n <= nodes; n++)
		fprintf(f, "\nnode:\n\tnumber = %u\n\tname = host%u\n\tip_address = 127.0.0.%u\n"
			   "\tip_port = 7777\n\tcluster = testing\n", n, n, n);
	fclose(f);
}

static void setup(void)
{
	struct reason why = { 0 };
	int fd;

	alarm(250);
	if (unshare(CLONE_NEWNET) < 0)
		cr_skip_test("needs a network namespace of its own (root): %s", strerror(errno));
	loopback_up();
	cr_assert_not_null(mkdtemp(dir));
	write_conf("two", 2);
	write_conf("three", 3);
	snprintf(disk, sizeof(disk), "%s/disk", dir);
	fd = open(disk, O_CREAT | O_RDWR, 0600);
	cr_assert_eq(ftruncate(fd, 4 << 20), 0);
	close(fd);
	cr_assert_eq(net_nlc_open(20000, &c, &why), 0, "%s", why.text);
	cr_assert_eq(net_nlc_open(20000, &events, &why), 0, "%s", why.text);
	cr_assert_eq(net_nlc_listen(events, &why), 0, "%s", why.text);
}

static void teardown(void)
{
	char cmd[64];

	net_nlc_close(c);
	net_nlc_close(events);
	snprintf(cmd, sizeof(cmd), "rm -rf '%s'", dir);
	cr_expect_eq(system(cmd), 0);
}

TestSuite(netadmin, .init = setup, .fini = teardown);

static void on_line(struct logger *self, enum log_level level, const char *subsys, const char *line)
{
	struct host *h = (struct host *)self;

	(void)level;
	(void)subsys;
	if (strstr(line, "we did not ask; ignored"))
		atomic_fetch_add(&h->refused_approvals, 1);
}

static void host_open(struct host *h, unsigned node, const char *conf)
{
	static char names[8][16], path[8][64];

	snprintf(names[node], sizeof(names[0]), "host%u", node);
	snprintf(path[node], sizeof(path[0]), "%s/%s", dir, conf);
	h->log = (struct logger){ .emit = on_line, .max = LOG_LVL_DEBUG };
	h->cfg.log = &h->log;
	h->cfg.conf_path = path[node];
	h->cfg.node = names[node];
	h->cfg.threshold = 7;
	h->err = net_open(&h->cfg, &h->net, &h->why);
	cr_assert_eq(h->err, 0, "%s", h->why.text);
}

static void on_lease(void *ctx, int64_t deadline_ns)
{
	(void)ctx;
	(void)deadline_ns;
}

static int start_region(struct host *h)
{
	struct net_region_config rc = { .device = disk, .byte_off = OFFSET, .block_bytes = BLOCK,
					.name = UUID, .lease = on_lease, .ctx = h };

	return net_region_start(h->net, &rc, &h->region, &h->why);
}

static int join(struct host *h)
{
	struct dlm_domain_config dc = { .name = UUID, .fs_major = 1 };

	return net_join(h->net, &dc, &h->dom, &h->why);
}

static void *mount_main(void *arg)
{
	struct host *h = arg;

	h->why.text[0] = '\0';
	h->err = h->region ? 0 : start_region(h);
	if (!h->err)
		h->err = net_wait_connected(h->net, &h->why);
	if (!h->err)
		h->err = join(h);
	return NULL;
}

static void mount_two(struct host *a, struct host *b)
{
	pthread_t t[2];

	pthread_create(&t[0], NULL, mount_main, a);
	pthread_create(&t[1], NULL, mount_main, b);
	pthread_join(t[0], NULL);
	pthread_join(t[1], NULL);
	cr_assert_eq(a->err, 0, "%s", a->why.text);
	cr_assert_eq(b->err, 0, "%s", b->why.text);
}

static void host_close(struct host *h)
{
	if (h->dom)
		net_leave(h->net, h->dom);
	if (h->region)
		net_region_stop(h->region, true);
	net_close(h->net);
}

/* The process (one a host, though all are this one) of that node. */
static struct net_nlc_daemon daemon_of(unsigned node)
{
	struct net_nlc_daemon *all, d = { 0 };
	size_t n, silent;
	struct reason why = { 0 };

	cr_assert_eq(net_nlc_find(c, &all, &n, &silent, &why), 0, "%s", why.text);
	for (size_t i = 0; i < n; i++)
		if (all[i].self == node)
			d = all[i];
	free(all);
	cr_assert_neq(d.port, 0, "node %u does not answer", node);
	return d;
}

/* The next event of that name about that node, from whomever. Others are passed over. */
static void expect_event(const char *name, unsigned node, const char *words)
{
	struct net_nlc_event ev;
	struct reason why = { 0 };

	do
		cr_assert_eq(net_nlc_event_next(events, 30000, &ev, &why), 0, "no %s of node %u: %s",
			     name, node, why.text);
	while (strcmp(ev.name, name) || ev.node != node);
	cr_assert(strstr(ev.words, words), "%s: \"%s\" lacks \"%s\"", name, ev.words, words);
}

struct seen {
	unsigned n, members, connected;
};

static void count(void *ctx, const struct net_nl_node *node)
{
	struct seen *s = ctx;

	s->n++;
	s->members += node->member;
	s->connected += node->connected;
}

static struct seen look(unsigned node)
{
	struct net_nlc_daemon d = daemon_of(node);
	struct seen s = { 0 };

	cr_assert_eq(net_nlc_nodes(c, &d, count, &s, NULL), 0);
	return s;
}

static void change_table(unsigned at, bool add)
{
	struct net_nlc_daemon d = daemon_of(at);
	struct net_node n = { .number = 3, .port = 7777, .addr = 0x7f000003, .name = "host3" };
	struct reason why = { 0 };
	int err = add ? net_nlc_node_add(c, &d, &n, &why) : net_nlc_node_remove(c, &d, 3, &why);

	cr_assert_eq(err, 0, "at node %u: %s", at, why.text);
}

Test(netadmin, a_node_added_while_in_use_can_join_and_one_that_left_can_be_removed)
{
	struct host h[3] = { 0 };
	struct net_nlc_daemon d;
	struct reason why = { 0 };
	struct seen s;

	host_open(&h[0], 1, "two");
	host_open(&h[1], 2, "two");
	mount_two(&h[0], &h[1]);
	s = look(1);
	cr_assert_eq(s.n, 2);
	cr_assert_eq(s.members, 2);
	cr_assert_eq(s.connected, 2);

	/* The third is in its own table only: the others do not let it in. */
	h[2].cfg.connect_wait_ms = 3000;
	host_open(&h[2], 3, "three");
	mount_main(&h[2]);
	cr_assert_eq(h[2].err, -ENOTCONN, "%d %s", h[2].err, h[2].why.text);
	cr_assert(strstr(h[2].why.text, "node tables"), "%s", h[2].why.text);

	change_table(1, true);
	expect_event("node-added", 3, "name=host3 address=127.0.0.3:7777");
	/* Now the tables of 1 and 2 differ. */
	s = look(1);
	cr_assert_eq(s.n, 3);
	s = look(2);
	cr_assert_eq(s.n, 2);
	change_table(2, true);
	net_region_stop(h[2].region, true);
	h[2].region = NULL;
	mount_main(&h[2]);
	cr_assert_eq(h[2].err, 0, "%s", h[2].why.text);
	expect_event("joined", 3, "domain=" UUID);
	s = look(2);
	cr_assert_eq(s.members, 3);

	d = daemon_of(1);
	cr_assert_eq(net_nlc_node_remove(c, &d, 3, &why), -EBUSY);
	cr_assert(strstr(why.text, "live"), "%s", why.text);
	host_close(&h[2]);
	expect_event("left", 3, "domain=" UUID);
	expect_event("node-down", 3, "");
	/* Each sees the goodbye at its own pace. */
	for (unsigned at = 1; at <= 2; at++) {
		int64_t limit = net_now_ms() + 10000;

		d = daemon_of(at);
		while (net_nlc_node_remove(c, &d, 3, NULL) == -EBUSY && net_now_ms() < limit)
			usleep(100000);
		s = look(at);
		cr_assert_eq(s.n, 2);
	}
	expect_event("node-removed", 3, "");
	host_close(&h[0]);
	host_close(&h[1]);
}

static struct json_object *member(struct json_object *o, const char *key)
{
	struct json_object *v;

	cr_assert(json_object_object_get_ex(o, key, &v), "no %s", key);
	return v;
}

Test(netadmin, the_status_tells_table_links_quorum_lease_and_members)
{
	struct host h[2] = { 0 };
	struct json_object *s, *nodes, *q;
	struct net_nlc_daemon d;

	host_open(&h[0], 1, "two");
	host_open(&h[1], 2, "two");
	mount_two(&h[0], &h[1]);
	d = daemon_of(2);
	cr_assert_eq(net_nlc_status(c, &d, &s, NULL), 0);
	cr_assert_str_eq(json_object_get_string(member(s, "cluster")), "testing");
	cr_assert_eq(json_object_get_int(member(s, "node")), 2);
	cr_assert_not(json_object_get_boolean(member(s, "fenced")));
	cr_assert_str_eq(json_object_get_string(member(member(s, "address"), "link")), "lo");
	cr_assert(json_object_get_boolean(member(member(s, "address"), "carrier")));
	nodes = member(s, "nodes");
	cr_assert_eq(json_object_array_length(nodes), 2);
	cr_assert_str_eq(json_object_get_string(member(member(json_object_array_get_idx(nodes, 0),
							      "link"), "state")), "up");
	q = member(s, "quorum");
	cr_assert(json_object_get_boolean(member(q, "quorate")));
	cr_assert_str_eq(json_object_to_json_string_ext(member(q, "heartbeating"), 0), "[1,2]");
	q = json_object_array_get_idx(member(s, "regions"), 0);
	cr_assert_gt(json_object_get_int64(member(q, "lease_left_ms")), 0);
	q = json_object_array_get_idx(member(s, "domains"), 0);
	cr_assert_str_eq(json_object_to_json_string_ext(member(q, "members"), 0), "[1,2]");
	cr_assert_eq(json_object_get_int64(member(member(s, "netlink"), "refused")), 0);
	json_object_put(s);
	host_close(&h[1]);
	host_close(&h[0]);
}

/* ---- negotiation of the lease (doc/spec/cluster.md 4.7) ------------------------------------- */

static void approve(void *arg)
{
	struct net *net = arg;
	uint8_t self = net->self;

	net_links_send(net->links, 0, 1, net->regions->nego_key, NET_HB_NEGO_APPROVE, &self, 1);
}

/*
 * A peer that lets us wait although our writes do not hang would keep our gate open while
 * the others count our silence and take our locks. Only an answer to a question counts.
 */
Test(netadmin, an_approval_that_nobody_asked_for_does_not_prolong_the_lease)
{
	struct host h[2] = { 0 };
	int64_t limit;

	host_open(&h[0], 1, "two");
	host_open(&h[1], 2, "two");
	mount_two(&h[0], &h[1]);
	net_post(h[1].net, approve, h[1].net);
	limit = net_now_ms() + 10000;
	while (!atomic_load(&h[0].refused_approvals) && net_now_ms() < limit)
		usleep(10000);
	cr_assert_eq(atomic_load(&h[0].refused_approvals), 1);
	host_close(&h[1]);
	host_close(&h[0]);
}
