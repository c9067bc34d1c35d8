/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * net_fixture.h: whole hosts in one process: struct net with its reactor, links,
 * heartbeat on a shared file, and the DLM core. Each test process has its own addresses
 * and files.
 */
#ifndef O2FUSE_TESTS_NET_FIXTURE_H
#define O2FUSE_TESTS_NET_FIXTURE_H

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
	bool defaults; /* no time-out is chosen */
};

static char dir[64], conf[96], disk[96];

static inline void on_fence(void *ctx, const char *why)
{
	struct host *h = ctx;

	snprintf(h->fence_why, sizeof(h->fence_why), "%s", why);
	atomic_fetch_add(&h->fenced, 1);
}

static inline void on_lease(void *ctx, int64_t deadline_ns)
{
	atomic_store(&((struct host *)ctx)->lease, deadline_ns);
}

static inline void address(unsigned int node, char *buf, size_t room)
{
	unsigned int pid = (unsigned int)getpid();

	snprintf(buf, room, "127.%u.%u.%u", 1 + (pid >> 7 & 0xfe) % 250, pid & 0xff, node);
}

/* What a killed run left is removed by the next one. */
static inline void setup(void)
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
	cr_assert_eq(ftruncate(fd, 2 << 20), 0);
	close(fd);
}

static inline void teardown(void)
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

static inline void host_open(struct host *h, unsigned int node)
{
	char name[16];

	snprintf(name, sizeof(name), "host%u", node);
	h->ops.fence = on_fence;
	h->cfg.conf_path = conf;
	h->cfg.node = name;
	h->cfg.no_netlink = true;
	h->cfg.ops = &h->ops;
	h->cfg.ops_ctx = h;
	if (!h->cfg.threshold && !h->defaults)
		h->cfg.threshold = 7;
	h->err = net_open(&h->cfg, &h->net, &h->why);
}

static inline int start_region(struct host *h)
{
	struct net_region_config rc = { .device = h->disk ? h->disk : disk, .byte_off = OFFSET,
					.block_bytes = BLOCK, .name = UUID, .lease = on_lease,
					.ctx = h };

	return net_region_start(h->net, &rc, &h->region, &h->why);
}

static inline void on_evicted(void *ctx, node_t node)
{
	(void)node;
	atomic_fetch_add(&((struct host *)ctx)->evicted, 1);
}

static inline void on_members(void *ctx, node_t node, bool joined)
{
	(void)node;
	atomic_fetch_add(&((struct host *)ctx)->members, joined ? 1 : -1);
}

static const struct dlm_domain_ops domain_ops = { .evicted = on_evicted, .members = on_members };

static inline int join(struct host *h)
{
	struct dlm_domain_config dc = { .name = UUID, .fs_major = 1, .ops = &domain_ops, .ctx = h };

	return net_join(h->net, &dc, &h->dom, &h->why);
}

/* All that a mount does. */
static inline void *mount_main(void *arg)
{
	struct host *h = arg;

	h->err = start_region(h);
	if (!h->err)
		h->err = net_wait_connected(h->net, &h->why);
	if (!h->err)
		h->err = join(h);
	return NULL;
}

static inline void mount_all(struct host *h, int n)
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

static inline void host_close(struct host *h, bool goodbye)
{
	if (h->region)
		net_region_stop(h->region, goodbye);
	if (h->net)
		net_close(h->net);
}

static inline void wait_for(atomic_int *what, int value, const char *claim)
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
	const char *name; /* NULL: M0123 */
	struct dlm_lock *lock;
	atomic_int done, granted, blocked, unlocked;
};

static inline void lk_done(void *data, enum dlm_call call, enum dlm_status status)
{
	(void)call;
	if (status == DLM_NORMAL)
		atomic_fetch_add(&((struct taking *)data)->done, 1);
}

static inline void lk_ast(void *data, const uint8_t *lvb)
{
	(void)lvb;
	atomic_fetch_add(&((struct taking *)data)->granted, 1);
}

static inline void lk_bast(void *data, int mode)
{
	(void)mode;
	atomic_fetch_add(&((struct taking *)data)->blocked, 1);
}

static inline void lk_unlocked(void *data, enum dlm_status status)
{
	if (status == DLM_NORMAL)
		atomic_fetch_add(&((struct taking *)data)->unlocked, 1);
}

static const struct dlm_lock_ops lock_ops = { lk_done, lk_ast, lk_bast, lk_unlocked };

static inline void take_run(void *arg)
{
	struct taking *t = arg;

	cr_assert_eq(dlm_lock(t->h->dom, t->name ? t->name : "M0123", 5, t->mode, 0, &lock_ops, t,
			      &t->lock), 0);
}

static inline void give_run(void *arg)
{
	struct taking *t = arg;

	dlm_unlock(t->lock, 0, NULL);
}

#endif
