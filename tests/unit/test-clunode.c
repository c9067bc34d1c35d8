/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test-clunode.c: two hosts in one process share an image: everything below fs/fuse, with
 * a kernel that only counts what it is told to forget. A plain program that prints TAP,
 * so that it runs under TSan too.
 *
 * The hosts mount once (the heartbeat needs its time), then the claims are checked in
 * turn, then both unmount and fsck.ocfs2 looks at what is left.
 */
#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "fs/cluster/clu_int.h"
#include "fs/volume/blockdev.h"
#include "fs/volume/ondisk.h"
#include "fs/volume/vol_int.h"
#include "tests/unit/clunode-kit.h"

enum { LIMIT_S = 60 };

/* ---- hosts ----------------------------------------------------------------------------- */

static struct host {
	unsigned node;
	struct net *net;
	struct net_region *region;
	struct blockdev *dev;
	struct vol *vol;
	struct clu *clu;
	struct clu_inode *root;
	struct logger log;
	struct reason why;
	pthread_rwlock_t dir;	/* the kernel's: makers and removers of names, one at a time */
	atomic_int attrs, pages, names;
	struct clu_inode *stat;	/* is looked at while its pages are taken back */
} hosts[HOSTS + 1];

static void emit(struct logger *self, enum log_level level, const char *sub, const char *line)
{
	struct host *h = (struct host *)((char *)self - offsetof(struct host, log));

	if (level <= LOG_LVL_WARN || getenv("VERBOSE"))
		printf("# host%u %s: %s\n", h->node, sub, line);
}

static void inval_attr(void *ctx, blkno_t blkno)
{
	(void)blkno;
	atomic_fetch_add(&((struct host *)ctx)->attrs, 1);
}

/* GETATTR answered: the kernel may keep it. */
static void hand_out(void *ctx, struct clu_inode *ci, const struct clu_attr *attr)
{
	(void)ctx, (void)attr;
	pthread_mutex_lock(&ci->mutex);
	ci->attrs_out = true;
	pthread_mutex_unlock(&ci->mutex);
}

static void inval_pages(void *ctx, blkno_t blkno, uint64_t off, uint64_t len)
{
	struct host *h = ctx;

	(void)blkno, (void)off, (void)len;
	atomic_fetch_add(&h->pages, 1);
	if (h->stat)
		EQUAL(clu_getattr(h->stat, hand_out, NULL), 0);
}

static void inval_names(void *ctx, blkno_t parent, blkno_t child)
{
	(void)parent;
	(void)child;
	atomic_fetch_add(&((struct host *)ctx)->names, 1);
}

static void inval_negative(void *ctx, blkno_t d)
{
	(void)ctx;
	(void)d;
}

static const struct clu_kernel_ops kernel = { inval_attr, inval_pages, inval_names, inval_negative };

static void fence(void *ctx, const char *why)
{
	struct host *h = ctx;

	printf("# host%u stops: %s\n", h->node, why);
	blockdev_gate_shut(h->dev);
	if (h->clu)
		clu_stop(h->clu);
}

static void must_leave(void *ctx, const char *why)
{
	struct host *h = ctx;

	blockdev_gate_shut(h->dev);
	net_stop(h->net, why);
}

static void lease(void *ctx, int64_t deadline_ns)
{
	blockdev_gate_deadline(((struct host *)ctx)->dev, deadline_ns);
}

static const struct net_ops net_ops = { .fence = fence };

static void open_host(struct host *h)
{
	struct vol_opts vo = { .localalloc_mb = -1, .log = &h->log, .hooks = &clu_vol_hooks,
			       .hooks_ctx = &h->clu };
	char name[16];
	struct net_config nc = { .conf_path = conf, .node = name, .threshold = 7,
				 .no_netlink = true, .log = &h->log, .ops = &net_ops,
				 .ops_ctx = h };

	h->log = (struct logger){ emit, LOG_LVL_INFO };
	pthread_rwlock_init(&h->dir, NULL);
	memset(&h->why, 0, sizeof(h->why));
	snprintf(name, sizeof(name), "host%u", h->node);
	if (blockdev_open(image, 0, &h->dev, &h->why) ||
	    vol_open(h->dev, &vo, &h->vol, &h->why) || net_open(&nc, &h->net, &h->why))
		bail("opening", &h->why);
}

static void *mount_host(void *arg)
{
	struct host *h = arg;
	struct net_region_config rc = { .device = image, .block_bytes = h->dev->sector,
					.name = vol_info(h->vol)->uuid_str, .lease = lease,
					.ctx = h };
	struct clu_config cc = { .vol = h->vol, .net = h->net, .preferred_slot = -1,
				 .acl = true, .user_xattr = true, .orphan_scan_ms = 700,
				 .kernel = &kernel, .kernel_ctx = h,
				 .fence = must_leave, .fence_ctx = h, .log = &h->log };
	uint64_t len;

	if (vol_sys_extent(h->vol, VOL_SYS_HEARTBEAT, &rc.byte_off, &len) ||
	    net_region_start(h->net, &rc, &h->region, &h->why) ||
	    net_wait_connected(h->net, &h->why) || clu_mount(&cc, &h->clu, &h->why))
		bail("mounting", &h->why);
	if (clu_iget(h->clu, vol_info(h->vol)->root_blkno, &h->root))
		bail("root directory", NULL);
	return NULL;
}

static void *unmount_host(void *arg)
{
	struct host *h = arg;

	clu_iput(h->root);
	clu_unmount(h->clu, false);
	h->clu = NULL;
	net_region_stop(h->region, true);
	net_close(h->net);
	vol_close(h->vol);
	blockdev_close(h->dev);
	return NULL;
}

static void both(void *(*fn)(void *))
{
	pthread_t t[HOSTS];

	for (unsigned i = 0; i < HOSTS; i++)
		pthread_create(&t[i], NULL, fn, &hosts[i + 1]);
	for (unsigned i = 0; i < HOSTS; i++)
		pthread_join(t[i], NULL);
}

/* ---- the kernel's part -------------------------------------------------------------------- */

struct entry {
	struct clu_inode *ci;
	struct clu_attr attr;
};

/* LOOKUP or CREATE answered: the kernel counts one. */
static void count_in(void *ctx, struct clu_inode *ci, const struct clu_attr *attr)
{
	struct entry *e = ctx;
	bool first;

	pthread_mutex_lock(&ci->mutex);
	first = ci->lookups++ == 0;
	ci->attrs_out = true;
	pthread_mutex_unlock(&ci->mutex);
	if (first)
		clu_ihold(ci);
	e->ci = ci;
	e->attr = *attr;
}

/* One lookup of ours is forgotten. */
static void forget(struct clu_inode *ci)
{
	bool last;

	pthread_mutex_lock(&ci->mutex);
	last = ci->lookups && --ci->lookups == 0;
	pthread_mutex_unlock(&ci->mutex);
	if (last)
		clu_iput(ci);
}

static struct entry make(unsigned host, const char *name)
{
	struct vol_new new = { .mode = S_IFREG | 0644 };
	struct entry e = { 0 };

	EQUAL(clu_create(hosts[host].root, name, &new, 0, count_in, &e), 0);
	return e;
}

static int look(unsigned host, const char *name, struct entry *e)
{
	memset(e, 0, sizeof(*e));
	return clu_lookup(hosts[host].root, name, count_in, e);
}

static int unlink_on(unsigned host, const char *name)
{
	return clu_unlink(hosts[host].root, name, false);
}

static void put_text(struct clu_inode *ci, const char *text)
{
	size_t done = 0;

	EQUAL(clu_write(ci, text, strlen(text), 0, true, false, &done), 0);
	EQUAL(done, strlen(text));
}

struct text {
	char buf[4096];
	size_t len;
};

static void got_data(void *ctx, const void *buf, size_t len)
{
	struct text *t = ctx;

	memcpy(t->buf, buf, len);
	t->len = len;
	t->buf[len] = 0;
}

static int get_text(struct clu_inode *ci, struct text *t)
{
	char buf[4000];

	memset(t, 0, sizeof(*t));
	return clu_read(ci, buf, sizeof(buf), 0, got_data, t);
}

static void got_attr(void *ctx, struct clu_inode *ci, const struct clu_attr *attr)
{
	(void)ci;
	*(struct clu_attr *)ctx = *attr;
}

static void count_orphan(void *ctx, blkno_t blkno, bool dio)
{
	(void)blkno;
	(void)dio;
	++*(unsigned *)ctx;
}

static unsigned orphans(unsigned host)
{
	struct host *h = &hosts[host];
	unsigned n = 0;

	for (unsigned s = 0; s < vol_info(h->vol)->max_slots; s++) {
		struct vol_inode *d = vol_sys_inode(h->vol, VOL_SYS_ORPHAN_DIR, s);

		if (clu_sys_lock(h->clu, d, false))
			continue;
		if (vol_orphans_each(h->vol, s, count_orphan, &n))
			claim_failed = true;
		clu_sys_unlock(h->clu, d, false);
	}
	return n;
}

/* ---- claims -------------------------------------------------------------------------------- */

static void slots_differ(void)
{
	CHECK(clu_slot(hosts[1].clu) >= 0);
	CHECK(clu_slot(hosts[2].clu) >= 0);
	CHECK(clu_slot(hosts[1].clu) != clu_slot(hosts[2].clu));
}

static void one_host_makes_and_removes(void)
{
	struct entry a = make(1, "one");

	put_text(a.ci, "hello");
	EQUAL(unlink_on(1, "one"), 0);
	forget(a.ci);
	EQUAL(look(1, "one", &a), -ENOENT);
	EQUAL(orphans(1), 0);
}

static void other_host_reads(void)
{
	struct entry a = make(1, "two"), b;
	struct text t;

	put_text(a.ci, "from host1\n");
	EQUAL(look(2, "two", &b), 0);
	if (!b.ci)
		return;
	EQUAL(b.attr.size, 11);
	EQUAL(get_text(b.ci, &t), 0);
	CHECK(!strcmp(t.buf, "from host1\n"));
	forget(a.ci);
	forget(b.ci);
}

static double now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void they_take_turns(void)
{
	double began = now_ms();
	struct entry e[HOSTS + 1];
	struct clu_attr attr;
	struct text t;
	size_t want = 0;

	e[1] = make(1, "turns");
	EQUAL(look(2, "turns", &e[2]), 0);
	if (!e[2].ci)
		return;
	for (unsigned i = 0; i < 40 && !claim_failed; i++) {
		unsigned writer = 1 + i % 2, reader = 2 - i % 2;

		put_text(e[writer].ci, "line\n");
		want += 5;
		EQUAL(clu_getattr(e[reader].ci, got_attr, &attr), 0);
		EQUAL(attr.size, want);
		EQUAL(get_text(e[reader].ci, &t), 0);
		EQUAL(t.len, want);
	}
	printf("# a turn takes %.2f ms: append, checkpoint, stat and read on the other host\n",
	       (now_ms() - began) / 40);
	forget(e[1].ci);
	forget(e[2].ci);
}

static void kernel_forgets_attributes_and_pages(void)
{
	struct clu_setattr mode = { .vol = { .valid = VOL_SET_MODE, .mode = 0600 } };
	struct entry a = make(1, "caches"), b;
	struct clu_attr attr;
	struct text t;
	int attrs, pages;

	EQUAL(look(2, "caches", &b), 0);
	if (!b.ci)
		return;
	attrs = atomic_load(&hosts[2].attrs);
	pages = atomic_load(&hosts[2].pages);
	EQUAL(clu_setattr(a.ci, &mode, got_attr, &attr), 0);
	EQUAL(atomic_load(&hosts[2].attrs), attrs + 1);
	EQUAL(atomic_load(&hosts[2].pages), pages);
	EQUAL(clu_getattr(b.ci, got_attr, &attr), 0);
	EQUAL(attr.mode, S_IFREG | 0600);
	EQUAL(get_text(b.ci, &t), 0);
	put_text(a.ci, "x");
	EQUAL(atomic_load(&hosts[2].pages), pages + 1);
	forget(a.ci);
	forget(b.ci);
}

static void attributes_handed_out_while_pages_go_are_taken_back(void)
{
	struct entry a = make(1, "mapped"), b;
	struct text text;
	int before;

	clu_set_shared_mmap(hosts[1].clu);
	EQUAL(look(2, "mapped", &b), 0);
	EQUAL(clu_open(a.ci, true), 0);
	EQUAL(get_text(a.ci, &text), 0);
	before = atomic_load(&hosts[1].pages);
	hosts[1].stat = a.ci;
	/* W alone: M stays, so attributes may be handed out in the meantime. */
	EQUAL(clu_wlock(b.ci, DLM_MODE_EX, 0), 0);
	clu_wunlock(b.ci, DLM_MODE_EX);
	hosts[1].stat = NULL;
	EQUAL(atomic_load(&hosts[1].pages), before + 1);
	before = atomic_load(&hosts[1].attrs);
	EQUAL(clu_mlock(b.ci, DLM_MODE_EX, 0), 0);
	clu_munlock(b.ci, DLM_MODE_EX);
	EQUAL(atomic_load(&hosts[1].attrs), before + 1);
	clu_close(a.ci, true);
	atomic_store(&hosts[1].clu->shared_mmap, false);
	forget(a.ci);
	forget(b.ci);
}

/* 12.3: the name is known there, the file not open: O is given back, the remover wipes. */
static void remover_wipes_what_the_other_only_knows(void)
{
	struct entry a = make(1, "known"), b, c;
	struct clu_attr attr;

	EQUAL(look(2, "known", &b), 0);
	if (!b.ci)
		return;
	EQUAL(unlink_on(1, "known"), 0);
	CHECK(!b.ci->attached);
	forget(a.ci);
	EQUAL(orphans(1), 0);
	EQUAL(clu_getattr(b.ci, got_attr, &attr), -ESTALE);
	EQUAL(clu_open(b.ci, false), -ESTALE);
	EQUAL(look(2, "known", &c), -ENOENT);
	forget(b.ci);
}

static void last_user_elsewhere_wipes(void)
{
	struct entry a = make(1, "open"), b;
	struct text t;

	put_text(a.ci, "still here");
	EQUAL(look(2, "open", &b), 0);
	if (!b.ci)
		return;
	EQUAL(clu_open(b.ci, false), 0);
	EQUAL(unlink_on(1, "open"), 0);
	forget(a.ci);
	EQUAL(orphans(1), 1);
	EQUAL(get_text(b.ci, &t), 0);
	CHECK(!strcmp(t.buf, "still here"));
	/* The kernel may know it for long; the close is what counts. */
	clu_close(b.ci, false);
	EQUAL(orphans(1), 0);
	EQUAL(get_text(b.ci, &t), -ESTALE);
	forget(b.ci);
}

/* Another name of it lives on: what was detached comes back. */
/* The ACL that a folder passes on is set after the inode was made; if that fails the new
 * name goes again. Here the volume forgets that it has extended attributes. */
static void a_file_without_its_acl_is_not_made(void)
{
	static const uint8_t acl[] = {
		2, 0, 0, 0,
		1, 0, 7, 0, 255, 255, 255, 255, 2, 0, 7, 0, 232, 3, 0, 0,
		4, 0, 5, 0, 255, 255, 255, 255, 16, 0, 7, 0, 255, 255, 255, 255,
		32, 0, 0, 0, 255, 255, 255, 255,
	};
	struct clu_xattr set = { .name = "system.posix_acl_default", .value = acl, .size = sizeof(acl) };
	struct vol_new new = { .mode = S_IFREG | 0666 };
	struct vol_info *info = (struct vol_info *)vol_info(hosts[1].vol);
	struct entry e = { 0 };
	uint32_t had = info->incompat;
	uint8_t got[64];
	size_t size;

	EQUAL(clu_setxattr(hosts[1].root, &set), 0);
	info->incompat &= ~OCFS2_FEATURE_INCOMPAT_XATTR;
	EQUAL(clu_create(hosts[1].root, "acl", &new, 022, count_in, &e), -EOPNOTSUPP);
	info->incompat = had;
	EQUAL(e.ci, 0);
	EQUAL(look(1, "acl", &e), -ENOENT);
	EQUAL(look(2, "acl", &e), -ENOENT);
	EQUAL(orphans(1), 0);
	EQUAL(clu_create(hosts[2].root, "acl", &new, 022, count_in, &e), 0);
	EQUAL(e.attr.mode, S_IFREG | 0660);
	EQUAL(clu_getxattr(e.ci, "system.posix_acl_access", got, sizeof(got), &size), 0);
	EQUAL(size, sizeof(acl));
	EQUAL(unlink_on(2, "acl"), 0);
	forget(e.ci);
	set.value = NULL;
	EQUAL(clu_setxattr(hosts[2].root, &set), 0);
}

/* Unlinked past the cluster's inodes: as by a node that was never told that it is the last
 * user. Each host looks every other time, unless the other one has just done so. */
static void an_orphan_that_nobody_knows_is_found(void)
{
	struct host *h = &hosts[1];
	struct vol_inode *vi = NULL;
	struct vol_found f;
	struct entry e = make(1, "nobody");

	forget(e.ci);
	EQUAL(clu_mlock(h->root, DLM_MODE_EX, 0), 0);
	EQUAL(vol_lookup(h->root->vi, "nobody", 6, &f), 0);
	EQUAL(vol_iget(h->vol, f.blkno, &vi), 0);
	EQUAL(vol_inode_refresh(vi), 0);
	EQUAL(vol_unlink(h->root->vi, "nobody", 6, vi), 0);
	EQUAL(vol_checkpoint(h->vol), 0);
	vol_iput(vi);
	clu_munlock(h->root, DLM_MODE_EX);
	for (unsigned i = 0; orphans(2) && i < LIMIT_S * 10; i++)
		nanosleep(&(struct timespec){ .tv_nsec = 100000000 }, NULL);
	EQUAL(orphans(2), 0);
}

static void a_hard_link_survives(void)
{
	struct entry a = make(1, "link1"), b;
	struct clu_attr attr;
	struct entry l;

	EQUAL(clu_link(a.ci, hosts[1].root, "link2", count_in, &l), 0);
	EQUAL(look(2, "link1", &b), 0);
	if (!b.ci)
		return;
	EQUAL(unlink_on(1, "link1"), 0);
	CHECK(!b.ci->attached);
	EQUAL(clu_getattr(b.ci, got_attr, &attr), 0);
	EQUAL(attr.nlink, 1);
	CHECK(b.ci->attached);
	EQUAL(clu_open(b.ci, true), 0);
	clu_close(b.ci, true);
	forget(a.ci);
	forget(b.ci);
	EQUAL(orphans(2), 0);
}

/* The block of a removed file is used again while host2's kernel still knows the old. */
static void a_reused_block_is_a_new_inode(void)
{
	struct entry a = make(1, "old"), b, c = { 0 }, d;
	blkno_t blkno = a.attr.blkno;
	struct clu_attr attr;
	struct text t;
	char name[16];

	EQUAL(look(2, "old", &b), 0);
	if (!b.ci)
		return;
	EQUAL(unlink_on(1, "old"), 0);
	forget(a.ci);
	for (unsigned i = 0; i < 2000; i++) {
		snprintf(name, sizeof(name), "new%u", i);
		c = make(1, name);
		if (!c.ci || c.attr.blkno == blkno)
			break;
		forget(c.ci);
	}
	if (!c.ci || c.attr.blkno != blkno) {
		printf("# the block was not used again\n");
		return;
	}
	put_text(c.ci, "new contents");
	EQUAL(clu_getattr(b.ci, got_attr, &attr), -ESTALE);
	EQUAL(look(2, name, &d), 0);
	CHECK(d.ci == b.ci);
	EQUAL(d.attr.generation, c.attr.generation);
	CHECK(d.attr.generation != b.attr.generation);
	EQUAL(get_text(d.ci, &t), 0);
	CHECK(!strcmp(t.buf, "new contents"));
	put_text(d.ci, "!");
	EQUAL(get_text(c.ci, &t), 0);
	CHECK(!strcmp(t.buf, "new contents!"));
	forget(c.ci);
	forget(d.ci);
}

/* The same, used again by the host whose kernel knows the old one. */
static void a_block_reused_by_the_one_who_knew_it(void)
{
	struct entry a = make(2, "mine"), b, c = { 0 };
	blkno_t blkno = a.attr.blkno;
	struct text t;
	char name[16];

	EQUAL(look(1, "mine", &b), 0);
	if (!b.ci)
		return;
	EQUAL(unlink_on(1, "mine"), 0); /* host2's kernel still knows it */
	forget(b.ci);
	EQUAL(orphans(1), 0);
	for (unsigned i = 0; i < 2000; i++) {
		snprintf(name, sizeof(name), "own%u", i);
		c = make(2, name);
		if (!c.ci || c.attr.blkno == blkno)
			break;
		forget(c.ci);
	}
	if (!c.ci || c.attr.blkno != blkno) {
		printf("# the block was not used again\n");
		return;
	}
	CHECK(c.ci == a.ci);
	put_text(c.ci, "again");
	EQUAL(look(1, name, &b), 0);
	EQUAL(get_text(b.ci, &t), 0);
	CHECK(!strcmp(t.buf, "again"));
	forget(b.ci);
	forget(c.ci);
}

struct flock_task {
	pthread_t thread;
	struct clu_inode *ci;
	struct clu_flock **fl;
	struct clu_interrupt intr;
	atomic_bool done;
	int err;
};

static void *take_flock(void *arg)
{
	struct flock_task *t = arg;

	t->err = clu_flock_set(t->ci, t->fl, DLM_MODE_EX, &t->intr);
	atomic_store(&t->done, true);
	return NULL;
}

static void flock_excludes_hosts_and_handles(void)
{
	struct clu_flock *f1 = NULL, *f2 = NULL, *f3 = NULL;
	struct entry a = make(1, "flock"), b;
	struct flock_task t = { 0 };

	EQUAL(look(2, "flock", &b), 0);
	if (!b.ci)
		return;
	EQUAL(clu_flock_set(a.ci, &f1, DLM_MODE_EX, NULL), 0);
	EQUAL(clu_flock_set(b.ci, &f2, DLM_MODE_PR, NULL), -EAGAIN);
	EQUAL(clu_flock_set(a.ci, &f3, DLM_MODE_PR, NULL), -EAGAIN);
	t.ci = b.ci;
	t.fl = &f2;
	clu_interrupt_init(&t.intr);
	pthread_create(&t.thread, NULL, take_flock, &t);
	CHECK(!atomic_load(&t.done));
	clu_interrupt(&t.intr); /* who waits may give up, */
	pthread_join(t.thread, NULL);
	EQUAL(t.err, -EINTR);
	atomic_store(&t.intr.on, false); /* and wait again */
	atomic_store(&t.done, false);
	pthread_create(&t.thread, NULL, take_flock, &t);
	CHECK(!atomic_load(&t.done));
	EQUAL(clu_flock_set(a.ci, &f1, DLM_MODE_NL, NULL), 0);
	pthread_join(t.thread, NULL);
	EQUAL(t.err, 0);
	clu_interrupt_destroy(&t.intr);
	EQUAL(clu_flock_set(a.ci, &f1, DLM_MODE_PR, NULL), -EAGAIN);
	EQUAL(clu_flock_set(b.ci, &f2, DLM_MODE_PR, NULL), 0);
	EQUAL(clu_flock_set(a.ci, &f1, DLM_MODE_PR, NULL), 0);
	EQUAL(clu_flock_set(a.ci, &f3, DLM_MODE_PR, NULL), 0);
	clu_flock_free(f1);
	clu_flock_free(f2);
	clu_flock_free(f3);
	forget(a.ci);
	forget(b.ci);
}

struct storm {
	pthread_t thread;
	unsigned host, number;
	int errors;
};

static void wrong(struct storm *s, const char *what, int err)
{
	printf("# host%u: %s: %d\n", s->host, what, err);
	s->errors = err;
}

/* What the kernel does for a path: lookup, use, forget; errors only where a name is gone.
 * It looks known names up again with nothing held. */
static void *storm(void *arg)
{
	struct storm *s = arg;
	struct host *h = &hosts[s->host];
	struct vol_new new = { .mode = S_IFREG | 0644 };
	unsigned seed = s->number;
	size_t done;

	for (unsigned i = 0; i < 60; i++) {
		struct entry e = { 0 };
		char name[16];
		int err;

		snprintf(name, sizeof(name), "s%u", rand_r(&seed) % 6);
		switch (rand_r(&seed) % 4) {
		case 0:
			pthread_rwlock_wrlock(&h->dir);
			err = clu_create(h->root, name, &new, 0, count_in, &e);
			pthread_rwlock_unlock(&h->dir);
			if (err && err != -EEXIST)
				wrong(s, "create", err);
			break;
		case 1:
			pthread_rwlock_wrlock(&h->dir);
			err = clu_unlink(h->root, name, false);
			pthread_rwlock_unlock(&h->dir);
			if (err && err != -ENOENT)
				wrong(s, "unlink", err);
			break;
		default:
			err = clu_lookup(h->root, name, count_in, &e);
			if (err && err != -ENOENT)
				wrong(s, "lookup", err);
			if (err || !e.ci)
				break;
			clu_ihold(e.ci);
			err = clu_open(e.ci, true);
			if (err && err != -ESTALE)
				wrong(s, "open", err);
			if (!err) {
				err = clu_write(e.ci, "x", 1, 0, true, false, &done);
				if (err)
					wrong(s, "write", err);
				clu_close(e.ci, true);
			}
			clu_iput(e.ci);
		}
		if (e.ci && rand_r(&seed) % 2)
			forget(e.ci);
	}
	return NULL;
}

static void both_hosts_make_and_remove_the_same_names(void)
{
	struct storm s[HOSTS * 3];
	struct entry e;
	char name[16];

	for (unsigned i = 0; i < HOSTS * 3; i++) {
		s[i] = (struct storm){ .host = 1 + i % HOSTS, .number = i };
		pthread_create(&s[i].thread, NULL, storm, &s[i]);
	}
	for (unsigned i = 0; i < HOSTS * 3; i++) {
		pthread_join(s[i].thread, NULL);
		EQUAL(s[i].errors, 0);
	}
	for (unsigned i = 0; i < 6; i++) {
		int first, second;

		snprintf(name, sizeof(name), "s%u", i);
		first = look(1, name, &e);
		if (!first)
			forget(e.ci);
		second = look(2, name, &e);
		if (!second)
			forget(e.ci);
		EQUAL(first, second);
	}
}

/* ---- death -------------------------------------------------------------------------------- */

static void *dies(void *arg)
{
	struct host *h = arg;

	blockdev_gate_shut(h->dev);
	clu_stop(h->clu);
	clu_iput(h->root);
	clu_unmount(h->clu, true);
	h->clu = NULL;
	net_region_stop(h->region, false);
	net_close(h->net);
	vol_close(h->vol);
	blockdev_close(h->dev);
	return NULL;
}

static void a_dead_host_is_recovered(void)
{
	struct entry a = make(1, "both"), b, c, d;
	unsigned slot = (unsigned)clu_slot(hosts[2].clu);
	struct clu_attr attr;
	pthread_t t;
	struct text text;
	uint32_t gen, gen2;
	bool dirty;

	/* Synced, that is in the log of host2, and nowhere else. */
	c = make(2, "synced");
	put_text(c.ci, "must survive");
	EQUAL(look(2, "both", &b), 0);
	if (!b.ci)
		return;
	put_text(b.ci, "written by the dead");
	EQUAL(clu_fsync(b.ci, false), 0);
	EQUAL(clu_fsync(c.ci, false), 0);
	EQUAL(vol_journal_state(hosts[1].vol, slot, &dirty, &gen), 0);
	CHECK(dirty);
	pthread_create(&t, NULL, dies, &hosts[2]);
	pthread_join(t, NULL);
	/* These wait until its death is noticed and its journal replayed. */
	EQUAL(look(1, "synced", &d), 0);
	if (!d.ci)
		return;
	EQUAL(d.attr.size, 12);
	EQUAL(get_text(d.ci, &text), 0);
	CHECK(!strcmp(text.buf, "must survive"));
	EQUAL(clu_getattr(a.ci, got_attr, &attr), 0);
	EQUAL(get_text(a.ci, &text), 0);
	CHECK(!strcmp(text.buf, "written by the dead"));
	EQUAL(vol_journal_state(hosts[1].vol, slot, &dirty, &gen2), 0);
	CHECK(!dirty);
	EQUAL(gen2, gen + 1);
	put_text(a.ci, "!");
	forget(a.ci);
	forget(d.ci);
}

static void the_dead_host_comes_back(void)
{
	struct entry e;
	struct text text;

	open_host(&hosts[2]);
	mount_host(&hosts[2]);
	EQUAL(look(2, "both", &e), 0);
	if (!e.ci)
		return;
	EQUAL(get_text(e.ci, &text), 0);
	CHECK(!strcmp(text.buf, "written by the dead!"));
	EQUAL(unlink_on(2, "both"), 0);
	forget(e.ci);
}

/* Stopped by damage, and its folder's lock is at EX with changes that are only in its log. */
static void who_cannot_write_what_is_wanted_leaves(void)
{
	struct entry a = make(2, "only in the log"), b;
	pthread_t t;

	EQUAL(clu_fsync(a.ci, false), 0);
	(void)vol_damaged(hosts[2].vol, "for a test");
	CHECK(!atomic_load(&hosts[2].clu->stopped));
	EQUAL(look(1, "only in the log", &b), 0);
	CHECK(atomic_load(&hosts[2].clu->stopped));
	if (b.ci)
		forget(b.ci);
	pthread_create(&t, NULL, dies, &hosts[2]);
	pthread_join(t, NULL);
	open_host(&hosts[2]);
	mount_host(&hosts[2]);
	EQUAL(unlink_on(2, "only in the log"), 0);
}

static void status_tells_of_locks(void)
{
	struct json_object *o = json_object_new_object(), *locks, *total;

	clu_status(hosts[1].clu, o);
	CHECK(json_object_object_get_ex(o, "locks", &locks));
	CHECK(json_object_object_get_ex(locks, "total", &total));
	CHECK(json_object_get_int(total) > 4);
	json_object_put(o);
}

/* ---- main ---------------------------------------------------------------------------------------- */

int main(void)
{
	alarm(LIMIT_S * 5);
	setup();
	atexit(cleanup);
	for (unsigned i = 1; i <= HOSTS; i++) {
		hosts[i].node = i;
		open_host(&hosts[i]);
	}
	both(mount_host);
	claim("each host has a slot of its own", slots_differ);
	claim("one host makes a file and removes it", one_host_makes_and_removes);
	claim("what one host wrote the other reads", other_host_reads);
	claim("they append in turn", they_take_turns);
	claim("the kernel forgets attributes, and pages where it had some",
	      kernel_forgets_attributes_and_pages);
	claim("attributes handed out while pages are taken back are taken back, too",
	      attributes_handed_out_while_pages_go_are_taken_back);
	claim("the remover wipes what the other host only knows",
	      remover_wipes_what_the_other_only_knows);
	claim("the last user wipes what was removed elsewhere", last_user_elsewhere_wipes);
	claim("a file without the ACL it should have is not made",
	      a_file_without_its_acl_is_not_made);
	claim("an orphan that nobody knows of is found by a scan",
	      an_orphan_that_nobody_knows_is_found);
	claim("a hard link survives the removal of another name", a_hard_link_survives);
	claim("a block that is used again elsewhere is a new inode", a_reused_block_is_a_new_inode);
	claim("a block that is used again here is a new inode",
	      a_block_reused_by_the_one_who_knew_it);
	claim("flock excludes hosts and handles", flock_excludes_hosts_and_handles);
	claim("both hosts make and remove the same names",
	      both_hosts_make_and_remove_the_same_names);
	claim("status tells of locks", status_tells_of_locks);
	claim("what a dead host synced is replayed, and who waits goes on",
	      a_dead_host_is_recovered);
	claim("the dead host mounts again", the_dead_host_comes_back);
	claim("who cannot write what another one needs leaves",
	      who_cannot_write_what_is_wanted_leaves);
	both(unmount_host);
	claim("after the unmounts all slots are free and clean", slots_are_free_again);
	claim("fsck.ocfs2 finds nothing", fsck_finds_nothing);
	printf("1..%d\n", number);
	return failed != 0;
}
