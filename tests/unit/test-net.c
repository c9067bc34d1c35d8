/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test-net.c: whole hosts in one process: struct net with its reactor, links, heartbeat
 * on a shared file, and the DLM core. Each test process has its own addresses and file.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "net/heartbeat.h"
#include "net/hbthread.h"
#include "net/loop.h"
#include "net/net.h"

enum { NODES = 3, BLOCK = 512, OFFSET = 8192 };
#define UUID "45F81E3B6F2B48CCAAD1AE7945AB2001"

struct host {
	struct net *net;
	struct net_region *region;
	struct dlm_domain *dom;
	atomic_int fenced, evicted, members;
	_Atomic int64_t lease;
	char fence_why[256];
	struct net_config cfg;
	struct net_ops ops;
	int err;
	struct reason why;
	const char *disk;
};

static char dir[64], conf[96], disk[96];

static void on_fence(void *ctx, const char *why)
{
	struct host *h = ctx;

	snprintf(h->fence_why, sizeof(h->fence_why), "%s", why);
	atomic_fetch_add(&h->fenced, 1);
}

static void on_lease(void *ctx, int64_t deadline_ns)
{
	atomic_store(&((struct host *)ctx)->lease, deadline_ns);
}

static void address(unsigned int node, char *buf, size_t room)
{
	unsigned int pid = (unsigned int)getpid();

	snprintf(buf, room, "127.%u.%u.%u", 1 + (pid >> 7 & 0xfe) % 250, pid & 0xff, node);
}

/* The files go with the last test process, also when it is killed: they are unlinked
 * as soon as everybody has them open, or by the next run. */
static void setup(void)
{
	char addr[32];
	FILE *f;
	int fd;

	alarm(120);
	snprintf(dir, sizeof(dir), "/var/tmp/o2fuse-test-net-%d", (int)getpid());
	if (system("for d in /var/tmp/o2fuse-test-net-*; do [ -d \"$d\" ] && "
		   "! kill -0 \"${d##*-}\" 2>/dev/null && rm -rf \"$d\"; done; true"))
		return;
	mkdir(dir, 0700);
	snprintf(conf, sizeof(conf), "%s/cluster.conf", dir);
	snprintf(disk, sizeof(disk), "%s/disk", dir);
	f = fopen(conf, "w");
	fprintf(f, "cluster:\n\tnode_count = %d\n\tname = testing\n", NODES);
	for (unsigned int n = 1; n <= NODES; n++) {
		address(n, addr, sizeof(addr));
		fprintf(f, "\nnode:\n\tnumber = %u\n\tname = host%u\n\tip_address = %s\n"
			   "\tip_port = 7777\n\tcluster = testing\n", n, n, addr);
	}
	fclose(f);
	fd = open(disk, O_CREAT | O_RDWR | O_TRUNC, 0600);
	cr_assert_eq(ftruncate(fd, 1 << 20), 0);
	close(fd);
}

static void teardown(void)
{
	unlink(conf);
	unlink(disk);
	rmdir(dir);
}

/* These tests wait for the heartbeat, whose pace is fixed, rather than work. */
__attribute__((constructor)) static void side_by_side(void)
{
	setenv("CRITERION_JOBS", "16", 0);
}

TestSuite(net, .init = setup, .fini = teardown);

static void host_open(struct host *h, unsigned int node)
{
	char name[16];

	snprintf(name, sizeof(name), "host%u", node);
	h->ops.fence = on_fence;
	h->cfg.conf_path = conf;
	h->cfg.node = name;
	h->cfg.no_netlink = true;
	h->cfg.ops = &h->ops;
	h->cfg.ops_ctx = h;
	if (!h->cfg.threshold)
		h->cfg.threshold = 7;
	h->err = net_open(&h->cfg, &h->net, &h->why);
}

static int start_region(struct host *h)
{
	struct net_region_config rc = { .device = h->disk ? h->disk : disk, .byte_off = OFFSET,
					.block_bytes = BLOCK, .name = UUID, .lease = on_lease,
					.ctx = h };

	return net_region_start(h->net, &rc, &h->region, &h->why);
}

static void on_evicted(void *ctx, node_t node)
{
	(void)node;
	atomic_fetch_add(&((struct host *)ctx)->evicted, 1);
}

static void on_members(void *ctx, node_t node, bool joined)
{
	(void)node;
	atomic_fetch_add(&((struct host *)ctx)->members, joined ? 1 : -1);
}

static const struct dlm_domain_ops domain_ops = { .evicted = on_evicted, .members = on_members };

static int join(struct host *h)
{
	struct dlm_domain_config dc = { .name = UUID, .fs_major = 1, .ops = &domain_ops, .ctx = h };

	return net_join(h->net, &dc, &h->dom, &h->why);
}

/* All that a mount does. */
static void *mount_main(void *arg)
{
	struct host *h = arg;

	h->err = start_region(h);
	if (!h->err)
		h->err = net_wait_connected(h->net, &h->why);
	if (!h->err)
		h->err = join(h);
	return NULL;
}

static void mount_all(struct host *h, int n)
{
	pthread_t t[NODES];

	for (int i = 0; i < n; i++)
		pthread_create(&t[i], NULL, mount_main, &h[i]);
	for (int i = 0; i < n; i++) {
		pthread_join(t[i], NULL);
		cr_assert_eq(h[i].err, 0, "host %d: %s (%s)", i + 1, h[i].why.text,
			     strerror(-h[i].err));
	}
}

static void host_close(struct host *h, bool goodbye)
{
	if (h->region)
		net_region_stop(h->region, goodbye);
	if (h->net)
		net_close(h->net);
}

static void wait_for(atomic_int *what, int value, const char *claim)
{
	int64_t limit = net_now_ms() + 60000;

	while (atomic_load(what) != value && net_now_ms() < limit)
		usleep(10000);
	cr_assert_eq(atomic_load(what), value, "%s", claim);
}

/* ---- a lock, from another thread as fs/ does ---- */

struct taking {
	struct host *h;
	int mode;
	struct dlm_lock *lock;
	atomic_int done, granted, blocked, unlocked;
};

static void lk_done(void *data, enum dlm_call call, enum dlm_status status)
{
	(void)call;
	if (status == DLM_NORMAL)
		atomic_fetch_add(&((struct taking *)data)->done, 1);
}

static void lk_ast(void *data, const uint8_t *lvb)
{
	(void)lvb;
	atomic_fetch_add(&((struct taking *)data)->granted, 1);
}

static void lk_bast(void *data, int mode)
{
	(void)mode;
	atomic_fetch_add(&((struct taking *)data)->blocked, 1);
}

static void lk_unlocked(void *data, enum dlm_status status)
{
	if (status == DLM_NORMAL)
		atomic_fetch_add(&((struct taking *)data)->unlocked, 1);
}

static const struct dlm_lock_ops lock_ops = { lk_done, lk_ast, lk_bast, lk_unlocked };

static void take_run(void *arg)
{
	struct taking *t = arg;

	cr_assert_eq(dlm_lock(t->h->dom, "M0123", 5, t->mode, 0, &lock_ops, t, &t->lock), 0);
}

static void give_run(void *arg)
{
	struct taking *t = arg;

	dlm_unlock(t->lock, 0, NULL);
}

Test(net, two_hosts_join_one_domain_and_pass_a_lock)
{
	struct host h[2] = { 0 };
	struct taking a = { .h = &h[0], .mode = DLM_MODE_EX }, b = { .h = &h[1], .mode = DLM_MODE_PR };
	int64_t t0 = net_now_ms();

	for (unsigned int i = 0; i < 2; i++) {
		host_open(&h[i], i + 1);
		cr_assert_eq(h[i].err, 0, "%s", h[i].why.text);
	}
	mount_all(h, 2);
	cr_log_info("two hosts were ready after %d ms", (int)(net_now_ms() - t0));
	cr_assert_lt(net_now_ms() - t0, 15000);
	cr_assert_gt(atomic_load(&h[0].lease), net_boottime_ns());

	net_post(h[0].net, take_run, &a);
	wait_for(&a.granted, 1, "the first lock is granted");
	net_post(h[1].net, take_run, &b);
	wait_for(&a.blocked, 1, "the holder is asked");
	cr_assert_eq(atomic_load(&b.granted), 0);
	net_post(h[0].net, give_run, &a);
	wait_for(&b.granted, 1, "the waiter gets it");
	net_post(h[1].net, give_run, &b);
	wait_for(&b.unlocked, 1, "and gives it back");

	net_leave(h[0].net, h[0].dom);
	net_leave(h[1].net, h[1].dom);
	host_close(&h[0], true);
	host_close(&h[1], true);
	cr_assert_eq(h[0].fenced + h[1].fenced, 0);
	cr_assert_eq(h[0].evicted + h[1].evicted, 0);
}

/* A host that stops heartbeating and answering is declared dead by the others. */
Test(net, a_member_that_falls_silent_is_evicted)
{
	struct host h[3] = { 0 };

	for (unsigned int i = 0; i < 3; i++) {
		h[i].cfg.threshold = 5;
		host_open(&h[i], i + 1);
	}
	mount_all(h, 3);
	net_abandon(h[2].net); /* as after a fence: no message, no goodbye */
	host_close(&h[2], false);
	wait_for(&h[0].evicted, 1, "node 1 notices");
	wait_for(&h[1].evicted, 1, "node 2 notices");
	cr_assert_eq(h[0].fenced + h[1].fenced, 0);
	net_leave(h[1].net, h[1].dom);
	net_leave(h[0].net, h[0].dom);
	host_close(&h[0], true);
	host_close(&h[1], true);
}

Test(net, a_goodbye_is_seen_within_two_samples)
{
	struct host h[2] = { 0 };
	struct reason why = { 0 };
	int64_t t0;

	for (unsigned int i = 0; i < 2; i++)
		host_open(&h[i], i + 1);
	mount_all(h, 2);
	net_leave(h[1].net, h[1].dom);
	t0 = net_now_ms();
	host_close(&h[1], true);
	/* With a live node that is not connected this waits; so its end is the node's. */
	cr_assert_eq(net_wait_connected(h[0].net, &why), 0, "%s", why.text);
	cr_assert_lt(net_now_ms() - t0, 6000);
	net_leave(h[0].net, h[0].dom);
	host_close(&h[0], true);
}

Test(net, other_time_outs_are_refused_by_name)
{
	struct host h[2] = { 0 };
	int64_t t0;

	h[1].cfg.keepalive_ms = 1500;
	for (unsigned int i = 0; i < 2; i++)
		host_open(&h[i], i + 1);
	cr_assert_eq(start_region(&h[0]), 0, "%s", h[0].why.text);
	cr_assert_eq(net_wait_connected(h[0].net, &h[0].why), 0);
	cr_assert_eq(start_region(&h[1]), 0, "%s", h[1].why.text);
	t0 = net_now_ms();
	cr_assert_eq(net_wait_connected(h[1].net, &h[1].why), -EPROTO);
	cr_assert_lt(net_now_ms() - t0, 20000, "no need to wait for a minute");
	cr_assert_eq(h[1].why.code, EXIT_PEER);
	cr_assert(strstr(h[1].why.text, "connecting to node 1 (host1, 127."), "%s", h[1].why.text);
	cr_assert(strstr(h[1].why.text, "keepalive delay differs: ours 1500 ms, theirs 2000 ms"), "%s",
		  h[1].why.text);
	host_close(&h[1], true);
	host_close(&h[0], true);
}

/* Another host has the same number: it wrote a block, and goes on writing. */
Test(net, a_number_in_use_by_another_host_is_refused)
{
	struct host h[2] = { 0 };

	host_open(&h[0], 1);
	cr_assert_eq(start_region(&h[0]), 0, "%s", h[0].why.text);
	/* The same number from other cluster.conf: another address, so that it can listen. */
	h[1].cfg.ip = "127.0.0.1";
	host_open(&h[1], 1);
	cr_assert_eq(h[1].err, 0, "%s", h[1].why.text);
	cr_assert_eq(start_region(&h[1]), -EBUSY);
	cr_assert_eq(h[1].why.code, EXIT_CLUSTER);
	cr_assert(strstr(h[1].why.text, "another host writes to the slot of node 1"), "%s",
		  h[1].why.text);
	cr_assert_eq(atomic_load(&h[0].fenced), 0, "the first one was disturbed");
	host_close(&h[1], false);
	host_close(&h[0], true);
}

static void overwrite_slot(unsigned int node)
{
	struct net_hb_block b = { .seq = 12345, .generation = 0x1122334455667788, .dead_ms = 14000,
				  .node = (node_t)node };
	static _Alignas(4096) uint8_t block[BLOCK];
	int fd = open(disk, O_WRONLY | O_DIRECT);

	net_hb_encode(block, BLOCK, &b);
	cr_assert_eq(pwrite(fd, block, BLOCK, OFFSET + (off_t)node * BLOCK), BLOCK);
	close(fd);
}

Test(net, an_overwritten_slot_fences_and_says_so)
{
	struct host h = { 0 };

	host_open(&h, 2);
	mount_main(&h);
	cr_assert_eq(h.err, 0, "%s", h.why.text);
	overwrite_slot(2);
	wait_for(&h.fenced, 1, "it notices");
	cr_assert(strstr(h.fence_why, "another host writes to the slot of node 2"), "%s", h.fence_why);
	net_abandon(h.net);
	host_close(&h, false);
	cr_assert_eq(atomic_load(&h.fenced), 1);
}

/* The heartbeat thread cannot write any more: the lease runs out, nobody renews it. */
Test(net, a_lease_that_is_not_renewed_fences)
{
	struct host h = { .cfg.threshold = 4 };
	int64_t lease;

	host_open(&h, 2);
	mount_main(&h);
	cr_assert_eq(h.err, 0, "%s", h.why.text);
	/* Reads beyond the end fail from now on. */
	cr_assert_eq(truncate(disk, OFFSET), 0);
	wait_for(&h.fenced, 1, "it stops");
	cr_assert(strstr(h.fence_why, "heartbeat lease ran out"), "%s", h.fence_why);
	lease = atomic_load(&h.lease);
	cr_assert_lt(lease, net_boottime_ns());
	cr_assert_gt(lease, net_boottime_ns() - 3000000000, "stopped long after the lease");
	net_abandon(h.net);
	host_close(&h, false);
}

Test(net, refusals_of_the_device_are_explained)
{
	struct host h = { .disk = "/nonexistent/disk" };
	char small[128];

	host_open(&h, 2);
	cr_assert_eq(start_region(&h), -ENOENT);
	cr_assert_eq(h.why.code, EXIT_CLUSTER);
	cr_assert(strstr(h.why.text, "/nonexistent/disk"), "%s", h.why.text);
	h.why = (struct reason){ 0 };
	h.disk = small;
	snprintf(small, sizeof(small), "%s", disk);
	cr_assert_eq(truncate(disk, OFFSET + 10 * BLOCK), 0);
	cr_assert_lt(start_region(&h), 0);
	cr_assert(strstr(h.why.text, "reading the 255 slots"), "%s", h.why.text);
	host_close(&h, false);
}

Test(net, a_taken_port_is_explained)
{
	struct host h[2] = { 0 };

	host_open(&h[0], 1);
	cr_assert_eq(h[0].err, 0);
	host_open(&h[1], 1);
	cr_assert_eq(h[1].err, -EADDRINUSE);
	cr_assert_eq(h[1].why.code, EXIT_ADDRESS);
	cr_assert(strstr(h[1].why.text, "the port is taken"), "%s", h[1].why.text);
	host_close(&h[0], false);
}

Test(net, unreachable_live_node_is_named_after_the_wait)
{
	struct host h[2] = { 0 };
	char addr[32];
	int64_t t0;

	/* Node 1 listens elsewhere than node 2's table says: it heartbeats, unreachable. */
	h[0].cfg.port = 7778;
	h[1].cfg.connect_wait_ms = 3000;
	host_open(&h[0], 1);
	host_open(&h[1], 2);
	cr_assert_eq(start_region(&h[0]), 0);
	cr_assert_eq(start_region(&h[1]), 0);
	t0 = net_now_ms();
	cr_assert_eq(net_wait_connected(h[1].net, &h[1].why), -ENOTCONN);
	cr_assert_geq(net_now_ms() - t0, 3000);
	address(1, addr, sizeof(addr));
	cr_assert_eq(h[1].why.code, EXIT_PEER);
	cr_assert(strstr(h[1].why.text, "connecting to node 1 (host1, "));
	cr_assert(strstr(h[1].why.text, addr));
	cr_assert(strstr(h[1].why.text, "Connection refused"), "%s", h[1].why.text);
	host_close(&h[0], true);
	host_close(&h[1], true);
}
