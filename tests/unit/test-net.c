/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test-net.c: hosts that join, pass locks, leave and die, and what an administrator is
 * told when they cannot. */
#include "unit/net_fixture.h"
#include "dlm/dlm_int.h"
#include "net/driver.h"
#include "net/net_int.h"

TestSuite(net, .init = setup, .fini = teardown);

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

/*
 * What the handshake and QUERY_JOIN say when the administrator chose nothing. The numbers are
 * those of a Linux 6.1 node whose o2cb was not told any (cluster.md 1.3, 2.2, 5.1; tests/lab
 * has both in one cluster, defaults.sh).
 */
Test(net, defaults_are_those_of_a_kernel_node)
{
	static const uint8_t kernel[NET_HANDSHAKE_LEN] = {
		0, 0, 0, 0, 0, 0, 0, 11, 0, 0, 0, 0, 0, 0, 0, 1,
		0, 0, 0xea, 0x60 /* 60 s */, 0, 0, 0x75, 0x30 /* 30 s */, 0, 0, 7, 0xd0, 0, 0, 7, 0xd0,
	};
	struct host h = { .defaults = true };
	uint8_t ours[NET_HANDSHAKE_LEN];

	host_open(&h, 1);
	cr_assert_eq(h.err, 0, "%s", h.why.text);
	net_handshake_put(ours, &h.net->hs);
	cr_assert_arr_eq(ours, kernel, sizeof(kernel));
	cr_assert_eq(h.net->threshold, 31);
	cr_assert_eq(net_dead_ms(h.net->threshold), 62000);
	cr_assert_eq(net_quorum_delay_ms(h.net->threshold), 66000);
	cr_assert_eq(net_driver_dlm(h.net->driver)->cfg.proto_minor, 3);
	cr_assert_eq(net_driver_dlm(h.net->driver)->cfg.purge_ms, 8000);
	net_close(h.net);
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

Test(net, a_start_takes_six_seconds_and_eight_after_a_crash)
{
	struct host h = { 0 };
	int64_t took[3];

	host_open(&h, 2);
	for (int i = 0; i < 3; i++) {
		int64_t t0 = net_now_ms();

		cr_assert_eq(start_region(&h), 0, "%s", h.why.text);
		took[i] = net_now_ms() - t0;
		net_region_stop(h.region, i == 1); /* the second one says goodbye */
	}
	h.region = NULL;
	cr_log_info("start on a fresh slot %d ms, after a crash %d ms, after a goodbye %d ms",
		    (int)took[0], (int)took[1], (int)took[2]);
	cr_assert(took[0] >= 6000 && took[0] < 10000);
	cr_assert(took[1] >= 8000 && took[1] < 12000);
	cr_assert(took[2] >= 6000 && took[2] < 10000);
	host_close(&h, false);
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

/* A host that sees sectors of 4096 bytes, for the same region. */
struct other_size {
	int late_ms;
	atomic_bool stop;
};

static void *other_size_main(void *arg)
{
	struct other_size *s = arg;
	static _Alignas(4096) uint8_t block[4096];
	int fd = open(disk, O_WRONLY | O_DIRECT);

	usleep((useconds_t)s->late_ms * 1000);
	for (uint64_t seq = 1; !atomic_load(&s->stop); seq++) {
		struct net_hb_block b = { .seq = seq, .generation = 99, .dead_ms = 14000, .node = 3 };

		net_hb_encode(block, sizeof(block), &b);
		cr_assert_eq(pwrite(fd, block, sizeof(block), OFFSET + 3 * 4096), 4096);
		usleep(500000);
	}
	close(fd);
	return NULL;
}

static bool slot_written(unsigned int node)
{
	static _Alignas(4096) uint8_t block[BLOCK], zero[BLOCK];
	int fd = open(disk, O_RDONLY | O_DIRECT);

	cr_assert_eq(pread(fd, block, BLOCK, OFFSET + (off_t)node * BLOCK), BLOCK);
	close(fd);
	return memcmp(block, zero, BLOCK) != 0;
}

static void expect_other_size(int late_ms)
{
	struct other_size s = { .late_ms = late_ms };
	struct host h = { 0 };
	pthread_t t;

	pthread_create(&t, NULL, other_size_main, &s);
	if (!late_ms)
		usleep(200000);
	host_open(&h, 2);
	cr_assert_eq(start_region(&h), -EINVAL);
	cr_assert_eq(h.why.code, EXIT_CLUSTER);
	cr_assert(strstr(h.why.text, "node 3 heartbeats there with blocks of 4096 bytes, this host "
				     "would with 512"), "%s", h.why.text);
	host_close(&h, false);
	atomic_store(&s.stop, true);
	pthread_join(t, NULL);
}

Test(net, another_sector_size_in_the_region_is_refused_before_a_block_is_written)
{
	expect_other_size(0);
	cr_assert_not(slot_written(2));
}

/* Both start at once: at the first look there is nothing to be seen. */
Test(net, another_sector_size_that_comes_while_we_start_is_refused)
{
	expect_other_size(2500);
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
