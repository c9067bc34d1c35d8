/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hbthread.c: the heartbeat thread of one region: O_DIRECT, a descriptor and buffers of
 * its own, every two seconds an iteration (hbiter.c). Who may touch what: hb_int.h.
 *
 * Start (4.6 and trap 12): if the slot is empty or says goodbye, nobody heartbeats with
 * our number, and writing begins at once. Otherwise the owner crashed or lives: two
 * periods are spent only reading, and a slot that changes meanwhile is refused.
 */
#include "net/hb_int.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
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

#define LISTEN_PERIODS 2
#define CLOSE_WAIT_S 10
void net_hb_map_store(struct net_hb_map *m, const uint8_t map[32])
{
	for (int i = 0; i < 4; i++) {
		uint64_t w = 0;

		for (int j = 7; j >= 0; j--)
			w = w << 8 | map[8 * i + j];
		atomic_store(&m->word[i], w);
	}
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


/* Wait until the next iteration is due. False: stop. */
static bool wait_until(struct net_hb *hb, int64_t due_ns)
{
	struct timespec ts = { .tv_sec = due_ns / 1000000000, .tv_nsec = due_ns % 1000000000 };
	int rc = 0;

	pthread_mutex_lock(&hb->lock);
	while (!net_hb_over(hb) && rc != ETIMEDOUT)
		rc = pthread_cond_timedwait(&hb->cond, &hb->lock, &ts);
	pthread_mutex_unlock(&hb->lock);
	return !net_hb_over(hb);
}

static void *thread_main(void *arg)
{
	struct net_hb *hb = arg;
	enum hb_cause cause = CAUSE_IO;
	int64_t due = clock_ns(CLOCK_MONOTONIC), start, took;
	int err;

	do {
		start = clock_ns(CLOCK_MONOTONIC);
		err = net_hb_iterate(hb, &cause);
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

	if (err && !net_hb_over(hb))
		net_hb_tell(hb, &(struct hb_event){ .kind = hb->steady.steady ? EV_LOST : EV_START_FAILED,
					  .cause = cause, .err = err, .node = hb->mover.node,
					  .value = hb->mover.block_bytes });
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
	int err = net_hb_transfer(hb->fd, hb->slots, (size_t)NODE_MAX * len, cfg->byte_off, false);

	if (err)
		return reason_set(why, EXIT_CLUSTER, err,
				  "heartbeat: reading the %d slots of %s (blocks of %u bytes at byte "
				  "%llu): %s", NODE_MAX, hb->device, len,
				  (unsigned long long)cfg->byte_off, strerror(-err));
	for (unsigned int n = 0; n < NODE_MAX; n++)
		net_hb_slot_load(&hb->slot[n], net_hb_slot_block(hb, n), len);
	net_hb_scan_first(&hb->scan, hb->region, net_hb_read_region(hb), len);
	sound = net_hb_decode(net_hb_slot_block(hb, cfg->self), len, &hb->own);
	/* Somebody may be here: only look for two periods. */
	hb->listen = sound && hb->own.generation == 0 && !hb->scan.any ? 0 : LISTEN_PERIODS;
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
	free(hb->region);
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
	hb->note = (struct net_note){ .fn = net_hb_on_events, .arg = hb };
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
	hb->region = aligned_alloc(4096, NET_HB_SCAN_BYTES);
	if (!hb->slots || !hb->block || !hb->region) {
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

	if (atomic_load(&hb->mute) || hb->own.generation != hb->generation || net_hb_lease_over(hb))
		return;
	if (net_hb_transfer(hb->fd, hb->block, cfg->block_bytes, off, false) ||
	    net_hb_check_own(hb->block, cfg->block_bytes, &hb->own) != NET_HB_OWN_OK)
		return;
	bye = (struct net_hb_block){ .seq = net_hb_next_seq((uint64_t)time(NULL), hb->own.seq),
				     .dead_ms = net_dead_ms(cfg->threshold),
				     .node = cfg->self };
	net_hb_encode(hb->block, cfg->block_bytes, &bye);
	if (net_hb_transfer(hb->fd, hb->block, cfg->block_bytes, off, true))
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
	net_hb_renew_from(hb, net_boottime_ns());
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
