/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test-net-faults.c: storage that hangs, a network that is cut, a process that stops:
 * who must stop, who must not, and when (doc/spec/cluster.md 3, 4.6, 4.7).
 *
 * The linker puts the functions below in place of pwrite and connect (net.am), so that
 * a test can hang or refuse them. Hosts open the disk under names of their own, by which
 * writes are told apart.
 */
#include <dirent.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include "net/timeouts.h"
#include "unit/net_fixture.h"

TestSuite(faults, .init = setup, .fini = teardown);

static atomic_int hanging[NODES + 1]; /* writes to disk.N wait while set */
static atomic_bool cut;		      /* no connection can be made */

ssize_t __real_pwrite(int fd, const void *buf, size_t n, off_t off);
ssize_t __wrap_pwrite(int fd, const void *buf, size_t n, off_t off);
int __real_connect(int fd, const struct sockaddr *to, socklen_t len);
int __wrap_connect(int fd, const struct sockaddr *to, socklen_t len);

ssize_t __wrap_pwrite(int fd, const void *buf, size_t n, off_t off)
{
	char link[64], path[128];
	ssize_t len;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	len = readlink(link, path, sizeof(path) - 1);
	if (len > 2 && path[len - 2] == '.' && path[len - 1] >= '1' && path[len - 1] <= '0' + NODES) {
		while (atomic_load(&hanging[path[len - 1] - '0']))
			usleep(10000);
	}
	return __real_pwrite(fd, buf, n, off);
}

int __wrap_connect(int fd, const struct sockaddr *to, socklen_t len)
{
	if (atomic_load(&cut) && to->sa_family == AF_INET) {
		errno = ENETUNREACH;
		return -1;
	}
	return __real_connect(fd, to, len);
}

static char names[NODES + 1][128];

static void own_name(struct host *h, unsigned int node)
{
	snprintf(names[node], sizeof(names[node]), "%s.%u", disk, node);
	cr_assert_eq(link(disk, names[node]), 0);
	h->disk = names[node];
}

static void drop_names(void)
{
	for (unsigned int n = 1; n <= NODES; n++) {
		if (names[n][0])
			unlink(names[n]);
	}
}

static void two_hosts(struct host *h, uint32_t threshold)
{
	for (unsigned int i = 0; i < 2; i++) {
		own_name(&h[i], i + 1);
		h[i].cfg.threshold = threshold;
		h[i].cfg.reconnect_ms = 500;
		host_open(&h[i], i + 1);
		cr_assert_eq(h[i].err, 0, "%s", h[i].why.text);
	}
	mount_all(h, 2);
}

static void leave_both(struct host *h)
{
	for (int i = 0; i < 2; i++) {
		net_leave(h[i].net, h[i].dom);
		host_close(&h[i], true);
	}
	drop_names();
}

static void bury(struct host *h)
{
	net_abandon(h->net);
	host_close(h, false);
}

Test(faults, writes_that_hang_on_one_host_stop_that_host_at_its_lease)
{
	struct host h[2] = { 0 };
	int64_t late_ms;

	two_hosts(h, 5);
	atomic_store(&hanging[2], 1);
	wait_for(&h[1].fenced, 1, "the lease runs out");
	late_ms = (net_boottime_ns() - atomic_load(&h[1].lease)) / 1000000;
	cr_assert(late_ms >= 0 && late_ms < 1500, "%d ms after the lease", (int)late_ms);
	cr_assert(strstr(h[1].fence_why, "heartbeat lease ran out"), "%s", h[1].fence_why);
	cr_assert_eq(atomic_load(&h[0].evicted), 0, "declared dead before its gate was shut");
	wait_for(&h[0].evicted, 1, "the other notices");
	cr_assert_eq(atomic_load(&h[0].fenced), 0);
	atomic_store(&hanging[2], 0);
	bury(&h[1]);
	net_leave(h[0].net, h[0].dom);
	host_close(&h[0], true);
	drop_names();
}

static void stand_still(void *arg)
{
	while (!atomic_load((atomic_int *)arg))
		usleep(10000);
}

Test(faults, a_reactor_that_stands_still_keeps_the_fence_from_nobody)
{
	struct host h = { .cfg.threshold = 4 };
	atomic_int go = 0;

	host_open(&h, 2);
	mount_main(&h);
	cr_assert_eq(h.err, 0);
	net_post(h.net, stand_still, &go);
	wait_for(&h.fenced, 1, "the heartbeat thread fences");
	cr_assert(strstr(h.fence_why, "stands still"), "%s", h.fence_why);
	cr_assert_gt(net_boottime_ns(), atomic_load(&h.lease));
	atomic_store(&go, 1);
	wait_for(&h.fenced, 2, "the reactor does the rest");
	net_abandon(h.net);
	host_close(&h, false);
}

Test(faults, writes_that_hang_everywhere_are_waited_for)
{
	struct host h[2] = { 0 };
	struct taking a = { .h = &h[0], .mode = DLM_MODE_EX };
	int64_t first;

	two_hosts(h, 5);
	first = atomic_load(&h[1].lease);
	atomic_store(&hanging[1], 1);
	atomic_store(&hanging[2], 1);
	/* Twice the lease: without the agreement both would have stopped. */
	sleep(2 * net_write_timeout_ms(5) / 1000);
	cr_assert_eq(h[0].fenced + h[1].fenced, 0, "%s%s", h[0].fence_why, h[1].fence_why);
	cr_assert_gt(atomic_load(&h[0].lease), net_boottime_ns());
	cr_assert_gt(atomic_load(&h[1].lease), first);
	atomic_store(&hanging[1], 0);
	atomic_store(&hanging[2], 0);
	net_post(h[0].net, take_run, &a);
	wait_for(&a.granted, 1, "the cluster works on");
	net_post(h[0].net, give_run, &a);
	wait_for(&a.unlocked, 1, "and on");
	cr_assert_eq(h[0].fenced + h[1].fenced + h[0].evicted + h[1].evicted, 0);
	leave_both(h);
}

/* Break every connection of this process. */
static void break_links(void)
{
	DIR *d = opendir("/proc/self/fd");
	struct dirent *e;

	while ((e = readdir(d))) {
		struct sockaddr_in a;
		socklen_t len = sizeof(a);
		int fd = atoi(e->d_name);

		if (getpeername(fd, (struct sockaddr *)&a, &len) == 0 && a.sin_family == AF_INET)
			shutdown(fd, SHUT_RDWR);
	}
	closedir(d);
}

Test(faults, a_cut_network_stops_the_higher_number_of_two)
{
	struct host h[2] = { 0 };
	int64_t t0, took;

	two_hosts(h, 4);
	atomic_store(&cut, true);
	t0 = net_now_ms();
	break_links();
	wait_for(&h[1].fenced, 1, "the vote is taken");
	took = net_now_ms() - t0;
	cr_assert(strstr(h[1].fence_why, "quorum is lost"), "%s", h[1].fence_why);
	cr_assert_geq(took, net_quorum_delay_ms(4) - 100);
	cr_assert_lt(took, net_quorum_delay_ms(4) + 3000);
	wait_for(&h[0].evicted, 1, "the survivor recovers the other");
	cr_assert_eq(atomic_load(&h[0].fenced), 0);
	bury(&h[1]);
	net_leave(h[0].net, h[0].dom);
	host_close(&h[0], true);
	drop_names();
}

/* One lock is held by each host and wanted by the other, so that requests go both ways:
 * the side that dials waits for its link, the other is told that there is none. */
Test(faults, a_short_cut_is_survived_and_requests_go_on)
{
	struct host h[2] = { 0 };
	struct taking held[2] = { { .h = &h[0], .mode = DLM_MODE_EX, .name = "M0123" },
				  { .h = &h[1], .mode = DLM_MODE_EX, .name = "M0456" } };
	struct taking want[2] = { { .h = &h[1], .mode = DLM_MODE_EX, .name = "M0123" },
				  { .h = &h[0], .mode = DLM_MODE_EX, .name = "M0456" } };

	two_hosts(h, 4);
	for (int i = 0; i < 2; i++) {
		net_post(h[i].net, take_run, &held[i]);
		wait_for(&held[i].granted, 1, "granted before the cut");
	}
	atomic_store(&cut, true);
	break_links();
	for (int i = 0; i < 2; i++)
		net_post(h[1 - i].net, take_run, &want[i]);
	sleep(2);
	cr_assert_eq(want[0].granted + want[1].granted, 0);
	atomic_store(&cut, false);
	for (int i = 0; i < 2; i++) {
		wait_for(&held[i].blocked, 1, "the request arrives after the cut");
		net_post(h[i].net, give_run, &held[i]);
		wait_for(&want[i].granted, 1, "and is granted");
		net_post(h[1 - i].net, give_run, &want[i]);
		wait_for(&want[i].unlocked, 1, "and given back");
	}
	/* Past the moment at which the vote of the first loss would have been. */
	sleep(net_quorum_delay_ms(4) / 1000);
	cr_assert_eq(h[0].fenced + h[1].fenced + h[0].evicted + h[1].evicted, 0);
	leave_both(h);
}

static uint64_t slot_seq(unsigned int node)
{
	uint8_t raw[BLOCK];
	struct net_hb_block b;
	int fd = open(disk, O_RDONLY);

	cr_assert_eq(pread(fd, raw, BLOCK, OFFSET + (off_t)node * BLOCK), BLOCK);
	close(fd);
	cr_assert(net_hb_decode(raw, BLOCK, &b));
	return b.seq;
}

static void stopped_host(int tell)
{
	struct host h = { .cfg.threshold = 4 };
	char c;

	host_open(&h, 2);
	mount_main(&h);
	c = h.err ? 'e' : 'm';
	if (write(tell, &c, 1) != 1)
		_exit(1);
	for (int i = 0; i < 500 && !atomic_load(&h.fenced); i++)
		usleep(50000);
	c = atomic_load(&h.fenced) && strstr(h.fence_why, "lease") ? 'f' : 'n';
	if (write(tell, &c, 1) != 1)
		_exit(1);
	_exit(0);
}

Test(faults, a_stopped_process_writes_nothing_when_it_wakes_after_its_lease)
{
	int p[2], st;
	uint64_t seq;
	pid_t pid;
	char c;

	cr_assert_eq(pipe(p), 0);
	pid = fork();
	cr_assert_geq(pid, 0); /* -1 below would stop every process of the machine */
	if (pid == 0)
		stopped_host(p[1]);
	cr_assert_eq(read(p[0], &c, 1), 1);
	cr_assert_eq(c, 'm', "could not mount");
	kill(pid, SIGSTOP);
	cr_assert_eq(waitpid(pid, &st, WUNTRACED), pid);
	seq = slot_seq(2);
	usleep((net_write_timeout_ms(4) + 500) * 1000);
	kill(pid, SIGCONT);
	cr_assert_eq(read(p[0], &c, 1), 1);
	cr_assert_eq(c, 'f', "did not stop");
	waitpid(pid, &st, 0);
	cr_assert_eq(slot_seq(2), seq, "wrote after others may have recovered its locks");
}
