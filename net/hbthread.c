/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hbthread.c: heartbeat I/O on its own thread: O_DIRECT, exactly one block at our slot.
 *
 * Locking: none that a thread of lower priority could hold. The slots, buffers and
 * counters belong to the thread. It tells the reactor through a ring with one writer
 * (this thread) and one reader (the reactor, woken by a net_note); head and tail are
 * atomics, an entry is complete before head moves past it. Lease, stop flags and figures
 * for the status are single atomics. The deadline only ever grows (compare and swap),
 * since thread and reactor may both renew it.
 *
 * Safety: a block is written only if the slot holds what we wrote last, damage, or an
 * older block of our own generation, and only while the lease has not run out: a process
 * that was stopped for longer must not look alive again, others have recovered its
 * locks. A lease counts from just before its write was submitted.
 *
 * Start (4.6 and trap 12): if the slot is empty or says goodbye, nobody heartbeats with
 * our number, and writing begins at once. Otherwise the owner crashed or lives: two
 * periods are spent only reading, and a slot that changes meanwhile is refused.
 */
#include "net/hbthread.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "net/heartbeat.h"
#include "net/quorum.h"
#include "net/timeouts.h"

#define RING 4096u
#define LISTEN_PERIODS 2
#define CLOSE_WAIT_S 10
#define NS_PER_MS 1000000

enum event_kind { EV_UP, EV_DOWN, EV_STARTED, EV_START_FAILED, EV_LOST, EV_IO, EV_FOREIGN,
		  EV_DEAD_MS };

/* Why the thread ended. */
enum cause { CAUSE_IO = 1, CAUSE_TAKEN, CAUSE_UNSTEADY, CAUSE_LEASE, CAUSE_RING };

struct event {
	enum event_kind kind;
	node_t node;
	enum cause cause;
	int err;
	uint32_t value;
};

struct net_hb {
	struct net_hb_config cfg;
	char device[256];
	int fd;
	uint8_t *slots;		/* NODE_MAX blocks */
	uint8_t *block;		/* ours, while it is written */
	struct net_hb_slot slot[NODE_MAX];
	uint8_t live[32];
	struct net_hb_block own;	/* written last, or read at the start */
	struct net_hb_block before;	/* what own replaced, while it may still be there: */
	bool unsure;			/* the last write failed */
	uint64_t generation;
	unsigned int listen;		/* periods to go before the first write */
	struct net_hb_steady steady;

	pthread_t thread;
	pthread_mutex_t lock;	/* for the conditions only; nobody works under it */
	pthread_cond_t cond;	/* stop or mute */
	pthread_cond_t end_cond;
	bool ended;		/* under lock */
	atomic_bool stop, mute, finished;
	_Atomic int64_t deadline_ns, reactor_ns;
	_Atomic bool clean;
	_Atomic uint64_t iterations, read_errors, write_errors, foreign;
	_Atomic uint32_t last_ms, worst_ms;

	struct net_note note;
	_Atomic uint32_t head, tail;
	bool ring_full;
	struct event ring[RING];
	/* reactor only */
	bool told_started, told_lost, io_logged, foreign_logged;
};

void net_hb_map_store(struct net_hb_map *m, const uint8_t map[32])
{
	for (int i = 0; i < 4; i++) {
		uint64_t w = 0;

		for (int j = 7; j >= 0; j--)
			w = w << 8 | map[8 * i + j];
		atomic_store(&m->word[i], w);
	}
}

static bool configured(const struct net_hb *hb, unsigned int n)
{
	return atomic_load_explicit(&hb->cfg.configured->word[n / 64], memory_order_relaxed) >>
		       (n % 64) & 1;
}

static int64_t clock_ns(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

int64_t net_boottime_ns(void)
{
	return clock_ns(CLOCK_BOOTTIME);
}

static int64_t lease_ns(const struct net_hb *hb)
{
	return (int64_t)net_write_timeout_ms(hb->cfg.threshold) * NS_PER_MS;
}

/* ---- from the thread to the reactor ------------------------------------------------ */

static void tell(struct net_hb *hb, const struct event *ev)
{
	uint32_t head = atomic_load_explicit(&hb->head, memory_order_relaxed);

	if (head - atomic_load_explicit(&hb->tail, memory_order_acquire) == RING) {
		hb->ring_full = true; /* the reactor stands still; see iterate() */
		return;
	}
	hb->ring[head % RING] = *ev;
	atomic_store_explicit(&hb->head, head + 1, memory_order_release);
	net_loop_notify(hb->cfg.loop, &hb->note);
}

static void end_reason(const struct net_hb *hb, const struct event *ev, struct reason *why)
{
	switch (ev->cause) {
	case CAUSE_IO:
		reason_set(why, EXIT_CLUSTER, ev->err, "heartbeat on %s: %s; check the storage",
			   hb->device, strerror(-ev->err));
		break;
	case CAUSE_TAKEN:
		reason_set(why, EXIT_CLUSTER, ev->err,
			   "heartbeat on %s: another host writes to the slot of node %u; give each "
			   "host its own number in cluster.conf, or end the other mount",
			   hb->device, hb->cfg.self);
		break;
	case CAUSE_UNSTEADY:
		reason_set(why, EXIT_CLUSTER, ev->err,
			   "heartbeat on %s did not become steady: nodes come and go, or the storage "
			   "is too slow; look at the other nodes, then try again", hb->device);
		break;
	case CAUSE_LEASE:
		reason_set(why, EXIT_CLUSTER, ev->err,
			   "heartbeat lease ran out: nothing was written to %s for %u ms; the storage "
			   "hung or this process did not run", hb->device,
			   net_write_timeout_ms(hb->cfg.threshold));
		break;
	case CAUSE_RING:
		reason_set(why, EXIT_CLUSTER, ev->err,
			   "heartbeat: the network thread of this process stands still");
		break;
	}
}

static void handle_event(struct net_hb *hb, const struct event *ev)
{
	const struct net_hb_config *cfg = &hb->cfg;
	struct reason why = { 0 };

	switch (ev->kind) {
	case EV_UP:
	case EV_DOWN:
		cfg->ops->node(cfg->ctx, ev->node, ev->kind == EV_UP);
		break;
	case EV_DEAD_MS:
		log_err(cfg->log, "heartbeat",
			"node %u has another dead time: %u ms, ours %u ms; set the same heartbeat "
			"threshold on all nodes", ev->node, ev->value, net_dead_ms(cfg->threshold));
		break;
	case EV_IO:
		if (ev->err == 0)
			log_info(cfg->log, "heartbeat", "I/O on %s works again", hb->device);
		else if (!hb->io_logged)
			log_err(cfg->log, "heartbeat", "I/O on %s: %s; trying again every %d ms",
				hb->device, strerror(-ev->err), NET_HB_PERIOD_MS);
		hb->io_logged = ev->err;
		break;
	case EV_FOREIGN:
		if (!hb->foreign_logged)
			log_err(cfg->log, "heartbeat",
				"the slot of node %u on %s was overwritten; no other program may write "
				"to the heartbeat file", cfg->self, hb->device);
		hb->foreign_logged = true;
		break;
	case EV_STARTED:
		hb->told_started = true;
		cfg->ops->started(cfg->ctx, 0, NULL);
		break;
	case EV_START_FAILED:
	case EV_LOST:
		end_reason(hb, ev, &why);
		if (!hb->told_started) {
			hb->told_started = true;
			hb->told_lost = true;
			cfg->ops->started(cfg->ctx, ev->err, &why);
		} else if (!hb->told_lost) {
			hb->told_lost = true;
			cfg->ops->lost(cfg->ctx, why.text);
		}
		break;
	}
}

static void on_events(void *arg)
{
	struct net_hb *hb = arg;
	uint32_t tail = atomic_load_explicit(&hb->tail, memory_order_relaxed);

	while (tail != atomic_load_explicit(&hb->head, memory_order_acquire)) {
		struct event ev = hb->ring[tail % RING];

		atomic_store_explicit(&hb->tail, ++tail, memory_order_release);
		if (!atomic_load(&hb->finished))
			handle_event(hb, &ev);
	}
}

/* ---- one iteration -------------------------------------------------------------------- */

static void renew(struct net_hb *hb, int64_t t0)
{
	int64_t until = t0 + lease_ns(hb), old = atomic_load(&hb->deadline_ns);

	while (until > old)
		if (atomic_compare_exchange_weak(&hb->deadline_ns, &old, until)) {
			hb->cfg.ops->lease(hb->cfg.ctx, until);
			return;
		}
}

static bool over(struct net_hb *hb)
{
	return atomic_load(&hb->stop) || atomic_load(&hb->mute);
}

static bool lease_over(const struct net_hb *hb)
{
	int64_t deadline = atomic_load(&hb->deadline_ns);

	return hb->steady.steady && deadline && net_boottime_ns() > deadline;
}

static uint8_t *slot_block(struct net_hb *hb, unsigned int n)
{
	return hb->slots + (size_t)n * hb->cfg.block_bytes;
}

static int transfer(int fd, void *buf, size_t len, uint64_t off, bool write)
{
	ssize_t n;

	do
		n = write ? pwrite(fd, buf, len, (off_t)off) : pread(fd, buf, len, (off_t)off);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	return (size_t)n == len ? 0 : -EIO;
}

static bool of_interest(const struct net_hb *hb, unsigned int n)
{
	return n == hb->cfg.self || configured(hb, n) || net_map_test(hb->live, n);
}

static int read_slots(struct net_hb *hb)
{
	unsigned int lo = hb->cfg.self, hi = hb->cfg.self;

	for (unsigned int n = 0; n < NODE_MAX; n++) {
		if (!of_interest(hb, n))
			continue;
		lo = n < lo ? n : lo;
		hi = n > hi ? n : hi;
	}
	return transfer(hb->fd, slot_block(hb, lo), (size_t)(hi - lo + 1) * hb->cfg.block_bytes,
			hb->cfg.byte_off + (uint64_t)lo * hb->cfg.block_bytes, false);
}

static void judge_slot(struct net_hb *hb, unsigned int n, const uint8_t *block,
		       struct net_hb_iteration *it)
{
	struct net_hb_block seen;
	enum net_hb_verdict v = net_hb_judge(&hb->slot[n], block, hb->cfg.block_bytes,
					     hb->cfg.threshold, &seen);
	struct event ev = { .kind = v == NET_HB_UP ? EV_UP : EV_DOWN, .node = (node_t)n };

	if (n != hb->cfg.self) {
		it->changed |= v != NET_HB_SAME;
		it->coming |= !hb->slot[n].live && hb->slot[n].moved;
	}
	if (v == NET_HB_SAME)
		return;
	if (v == NET_HB_UP)
		net_map_set(hb->live, n);
	else
		net_map_clear(hb->live, n);
	tell(hb, &ev);
	if (v == NET_HB_UP && seen.dead_ms && seen.dead_ms != net_dead_ms(hb->cfg.threshold))
		tell(hb, &(struct event){ .kind = EV_DEAD_MS, .node = (node_t)n,
					  .value = seen.dead_ms });
}

/* Our slot as read: may we write, and does this iteration renew the lease? Returns false
 * if somebody else uses our number. */
static bool own_slot(struct net_hb *hb, struct net_hb_iteration *it)
{
	const uint8_t *block = slot_block(hb, hb->cfg.self);
	enum net_hb_own own = net_hb_check_own(block, hb->cfg.block_bytes, &hb->own);
	struct net_hb_block b;

	if (own == NET_HB_OWN_FOREIGN && hb->unsure)
		own = net_hb_check_own(block, hb->cfg.block_bytes, &hb->before);
	it->own_ok = own != NET_HB_OWN_FOREIGN;
	if (it->own_ok)
		return true;
	atomic_fetch_add(&hb->foreign, 1);
	/* Damage, or a stale block of ours put back by a careless copy: write on, but the
	 * lease is not renewed, and runs out if it goes on. */
	if (!net_hb_decode(block, hb->cfg.block_bytes, &b) ||
	    (b.generation == hb->generation && b.node == hb->cfg.self)) {
		tell(hb, &(struct event){ .kind = EV_FOREIGN });
		return hb->listen == 0;
	}
	return false;
}

static int write_own(struct net_hb *hb, int64_t *t0)
{
	const struct net_hb_config *cfg = &hb->cfg;
	int err;

	*t0 = net_boottime_ns();
	/* The last look before the block goes out: a stop in between is noticed here. */
	if (atomic_load(&hb->mute) || lease_over(hb))
		return -ECANCELED;
	err = transfer(hb->fd, hb->block, cfg->block_bytes,
		       cfg->byte_off + (uint64_t)cfg->self * cfg->block_bytes, true);
	if (err)
		atomic_fetch_add(&hb->write_errors, 1);
	return err;
}

/* 0: go on; otherwise the thread ends with this error for this cause. */
static int iterate(struct net_hb *hb, enum cause *cause)
{
	const struct net_hb_config *cfg = &hb->cfg;
	struct net_hb_iteration it = { 0 };
	struct net_hb_block next = hb->own;
	bool write = hb->listen == 0;
	int64_t t0 = 0;
	int err;

	if (lease_over(hb)) {
		*cause = CAUSE_LEASE;
		return -ETIMEDOUT;
	}
	err = read_slots(hb);
	if (over(hb)) /* it hung, and nobody waited: cfg may be gone */
		return 0;
	if (err) {
		atomic_fetch_add(&hb->read_errors, 1);
		it.error = true;
		goto out;
	}
	if (!own_slot(hb, &it)) {
		*cause = CAUSE_TAKEN;
		return -EBUSY;
	}
	if (write) {
		next = (struct net_hb_block){
			.seq = net_hb_next_seq((uint64_t)time(NULL), hb->own.seq),
			.generation = hb->generation,
			.dead_ms = net_dead_ms(cfg->threshold),
			.node = cfg->self,
		};
		net_hb_encode(hb->block, cfg->block_bytes, &next);
	}
	for (unsigned int n = 0; n < NODE_MAX; n++) {
		if (of_interest(hb, n) && (n != cfg->self || write))
			judge_slot(hb, n, n == cfg->self ? hb->block : slot_block(hb, n), &it);
	}
	if (hb->ring_full) {
		*cause = CAUSE_RING;
		return -EIO;
	}
	if (write) {
		/* Whatever comes of the write, the disk may have the new block. */
		hb->before = hb->own;
		hb->own = next;
		err = write_own(hb, &t0);
		hb->unsure = err;
		if (over(hb) && err != -ECANCELED)
			return 0;
		if (err == -ECANCELED) {
			*cause = CAUSE_LEASE;
			return -ETIMEDOUT;
		}
		it.wrote = !err;
		it.error = err;
	} else {
		hb->listen--;
	}
	if (it.wrote && it.own_ok &&
	    net_boottime_ns() - atomic_load(&hb->reactor_ns) < lease_ns(hb))
		renew(hb, t0);
out:
	if (it.error != !atomic_load(&hb->clean) || err)
		tell(hb, &(struct event){ .kind = EV_IO, .err = err });
	atomic_store(&hb->clean, !it.error);
	atomic_fetch_add(&hb->iterations, 1);
	if (hb->steady.steady)
		return 0;
	switch (net_hb_steady_step(&hb->steady, &it)) {
	case NET_HB_STEADY:
		tell(hb, &(struct event){ .kind = EV_STARTED });
		return 0;
	case NET_HB_GIVE_UP:
		*cause = err ? CAUSE_IO : CAUSE_UNSTEADY;
		return err ? err : -EIO;
	case NET_HB_STARTING:
		break;
	}
	return 0;
}

/* Wait until the next iteration is due. False: stop. */
static bool wait_until(struct net_hb *hb, int64_t due_ns)
{
	struct timespec ts = { .tv_sec = due_ns / 1000000000, .tv_nsec = due_ns % 1000000000 };
	int rc = 0;

	pthread_mutex_lock(&hb->lock);
	while (!over(hb) && rc != ETIMEDOUT)
		rc = pthread_cond_timedwait(&hb->cond, &hb->lock, &ts);
	pthread_mutex_unlock(&hb->lock);
	return !over(hb);
}

static void *thread_main(void *arg)
{
	struct net_hb *hb = arg;
	enum cause cause = CAUSE_IO;
	int64_t due = clock_ns(CLOCK_MONOTONIC), start, took;
	int err;

	do {
		start = clock_ns(CLOCK_MONOTONIC);
		err = iterate(hb, &cause);
		took = (clock_ns(CLOCK_MONOTONIC) - start) / NS_PER_MS;
		atomic_store(&hb->last_ms, (uint32_t)took);
		if (took > atomic_load(&hb->worst_ms))
			atomic_store(&hb->worst_ms, (uint32_t)took);
		if (err)
			break;
		due += (int64_t)NET_HB_PERIOD_MS * NS_PER_MS;
		if (due < start + took * NS_PER_MS) /* late: do not try to catch up */
			due = start + took * NS_PER_MS;
	} while (wait_until(hb, due));

	if (err && !over(hb))
		tell(hb, &(struct event){ .kind = hb->steady.steady ? EV_LOST : EV_START_FAILED,
					  .cause = cause, .err = err });
	pthread_mutex_lock(&hb->lock);
	hb->ended = true;
	pthread_cond_signal(&hb->end_cond);
	pthread_mutex_unlock(&hb->lock);
	return NULL;
}

/* ---- lifetime --------------------------------------------------------------------------- */

static int open_device(struct net_hb *hb, struct reason *why)
{
	struct stat st;
	int sector = 0;

	hb->fd = open(hb->device, O_RDWR | O_DIRECT | O_CLOEXEC);
	if (hb->fd < 0)
		return reason_set(why, EXIT_CLUSTER, -errno, "heartbeat: opening %s for direct I/O: %s",
				  hb->device, strerror(errno));
	if (fstat(hb->fd, &st))
		return reason_set(why, EXIT_CLUSTER, -errno, "heartbeat: %s: %s", hb->device,
				  strerror(errno));
	if (S_ISBLK(st.st_mode) && ioctl(hb->fd, BLKSSZGET, &sector) == 0 &&
	    (uint32_t)sector != hb->cfg.block_bytes)
		return reason_set(why, EXIT_CLUSTER, -EINVAL,
				  "heartbeat: %s has sectors of %d bytes, the heartbeat would use %u; "
				  "all hosts must see the same sector size", hb->device, sector,
				  hb->cfg.block_bytes);
	return 0;
}

static int load(struct net_hb *hb, struct reason *why)
{
	const struct net_hb_config *cfg = &hb->cfg;
	uint32_t len = cfg->block_bytes;
	bool sound;
	int err = transfer(hb->fd, hb->slots, (size_t)NODE_MAX * len, cfg->byte_off, false);

	if (err)
		return reason_set(why, EXIT_CLUSTER, err,
				  "heartbeat: reading the %d slots of %s (blocks of %u bytes at byte "
				  "%llu): %s", NODE_MAX, hb->device, len,
				  (unsigned long long)cfg->byte_off, strerror(-err));
	for (unsigned int n = 0; n < NODE_MAX; n++)
		net_hb_slot_load(&hb->slot[n], slot_block(hb, n), len);
	sound = net_hb_decode(slot_block(hb, cfg->self), len, &hb->own);
	hb->listen = sound && hb->own.generation == 0 ? 0 : LISTEN_PERIODS;
	do {
		if (getrandom(&hb->generation, sizeof(hb->generation), 0) !=
		    (ssize_t)sizeof(hb->generation))
			return reason_set(why, EXIT_SYSTEM, -errno, "heartbeat: no random numbers: %s",
					  strerror(errno));
	} while (hb->generation == 0 || hb->generation == hb->own.generation);
	return 0;
}

static int start_thread(struct net_hb *hb)
{
	struct sched_param sp = { .sched_priority = sched_get_priority_min(SCHED_RR) };
	sigset_t all, old;
	int err;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = pthread_create(&hb->thread, NULL, thread_main, hb);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (err)
		return -err;
	pthread_setname_np(hb->thread, "o2fuse-hb");
	/* Where it is not allowed the heartbeat works too, with less margin under load. */
	if (pthread_setschedparam(hb->thread, SCHED_RR, &sp))
		log_debug(hb->cfg.log, "heartbeat", "no real-time priority for the heartbeat thread");
	return 0;
}

static void free_hb(struct net_hb *hb)
{
	if (hb->fd >= 0)
		close(hb->fd);
	pthread_cond_destroy(&hb->end_cond);
	pthread_cond_destroy(&hb->cond);
	pthread_mutex_destroy(&hb->lock);
	free(hb->slots);
	free(hb->block);
	free(hb);
}

int net_hb_open(const struct net_hb_config *cfg, struct net_hb **out, struct reason *why)
{
	struct net_hb *hb;
	pthread_condattr_t attr;
	int err;

	if (cfg->block_bytes < NET_HB_BLOCK_MIN || cfg->block_bytes > NET_HB_BLOCK_MAX ||
	    (cfg->block_bytes & (cfg->block_bytes - 1)))
		return reason_set(why, EXIT_CLUSTER, -EINVAL,
				  "heartbeat: sectors of %u bytes are not supported", cfg->block_bytes);
	hb = calloc(1, sizeof(*hb));
	if (!hb)
		return reason_set(why, EXIT_SYSTEM, -ENOMEM, "heartbeat: out of memory");
	hb->cfg = *cfg;
	snprintf(hb->device, sizeof(hb->device), "%s", cfg->device);
	hb->cfg.device = hb->device;
	hb->fd = -1;
	hb->note = (struct net_note){ .fn = on_events, .arg = hb };
	atomic_store(&hb->clean, true);
	atomic_store(&hb->reactor_ns, net_boottime_ns());
	pthread_mutex_init(&hb->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&hb->cond, &attr);
	pthread_cond_init(&hb->end_cond, &attr);
	pthread_condattr_destroy(&attr);

	hb->slots = aligned_alloc(4096, (size_t)(NODE_MAX + 1) * cfg->block_bytes);
	hb->block = aligned_alloc(4096, 4096);
	if (!hb->slots || !hb->block) {
		err = reason_set(why, EXIT_SYSTEM, -ENOMEM, "heartbeat: out of memory");
		goto undo;
	}
	/* Best effort: without the right to lock memory the heartbeat may wait for paging. */
	(void)mlock(hb, sizeof(*hb));
	(void)mlock(hb->slots, (size_t)NODE_MAX * cfg->block_bytes);
	(void)mlock(hb->block, cfg->block_bytes);
	err = open_device(hb, why);
	if (!err)
		err = load(hb, why);
	if (!err)
		err = start_thread(hb);
	if (err) {
		reason_set(why, EXIT_SYSTEM, err, "heartbeat: starting its thread: %s",
			   strerror(-err));
		goto undo;
	}
	*out = hb;
	return 0;

undo:
	free_hb(hb);
	return err;
}

static void wake(struct net_hb *hb)
{
	pthread_mutex_lock(&hb->lock);
	pthread_cond_signal(&hb->cond);
	pthread_mutex_unlock(&hb->lock);
}

void net_hb_mute(struct net_hb *hb)
{
	atomic_store(&hb->mute, true);
	wake(hb);
}

/* The thread has ended: its fields are ours. */
static void say_goodbye(struct net_hb *hb)
{
	const struct net_hb_config *cfg = &hb->cfg;
	struct net_hb_block bye;
	uint64_t off = cfg->byte_off + (uint64_t)cfg->self * cfg->block_bytes;

	if (atomic_load(&hb->mute) || hb->own.generation != hb->generation || lease_over(hb))
		return;
	if (transfer(hb->fd, hb->block, cfg->block_bytes, off, false) ||
	    net_hb_check_own(hb->block, cfg->block_bytes, &hb->own) != NET_HB_OWN_OK)
		return;
	bye = (struct net_hb_block){ .seq = net_hb_next_seq((uint64_t)time(NULL), hb->own.seq),
				     .dead_ms = net_dead_ms(cfg->threshold),
				     .node = cfg->self };
	net_hb_encode(hb->block, cfg->block_bytes, &bye);
	if (transfer(hb->fd, hb->block, cfg->block_bytes, off, true))
		log_warn(cfg->log, "heartbeat",
			 "no goodbye could be written to %s; the others wait %u ms for us", hb->device,
			 net_dead_ms(cfg->threshold));
}

/* On the reactor: after this no event of ours is delivered, and the note is not queued. */
static void finish(void *arg)
{
	struct net_hb *hb = arg;

	atomic_store(&hb->finished, true);
}

int net_hb_close(struct net_hb *hb, bool goodbye)
{
	struct timespec limit;
	bool ended;
	int rc = 0;

	atomic_store(&hb->stop, true);
	wake(hb);
	clock_gettime(CLOCK_MONOTONIC, &limit);
	limit.tv_sec += CLOSE_WAIT_S;
	pthread_mutex_lock(&hb->lock);
	while (!hb->ended && rc != ETIMEDOUT)
		rc = pthread_cond_timedwait(&hb->end_cond, &hb->lock, &limit);
	ended = hb->ended;
	pthread_mutex_unlock(&hb->lock);
	if (!ended) {
		net_loop_call(hb->cfg.loop, finish, hb);
		log_err(hb->cfg.log, "heartbeat",
			"the storage %s hangs: its heartbeat thread is left behind", hb->device);
		pthread_detach(hb->thread);
		return -ETIMEDOUT;
	}
	pthread_join(hb->thread, NULL);
	if (goodbye)
		say_goodbye(hb);
	net_loop_call(hb->cfg.loop, finish, hb);
	free_hb(hb);
	return 0;
}

/* ---- reactor ------------------------------------------------------------------------- */

void net_hb_tick(struct net_hb *hb)
{
	atomic_store(&hb->reactor_ns, net_boottime_ns());
}

void net_hb_renew(struct net_hb *hb)
{
	renew(hb, net_boottime_ns());
}

int64_t net_hb_deadline(const struct net_hb *hb)
{
	return atomic_load(&hb->deadline_ns);
}

bool net_hb_clean(const struct net_hb *hb)
{
	return atomic_load(&hb->clean);
}

void net_hb_stats(const struct net_hb *hb, struct net_hb_stats *out)
{
	*out = (struct net_hb_stats){
		.iterations = atomic_load(&hb->iterations),
		.read_errors = atomic_load(&hb->read_errors),
		.write_errors = atomic_load(&hb->write_errors),
		.foreign = atomic_load(&hb->foreign),
		.last_ms = atomic_load(&hb->last_ms),
		.worst_ms = atomic_load(&hb->worst_ms),
	};
}
