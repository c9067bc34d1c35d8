/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hbiter.c: one iteration of the heartbeat (doc/spec/cluster.md 4.4): read the slots, look
 * at ours, judge the others, write ours, renew the lease.
 *
 * Safety: a block is written only if the slot holds what we wrote last, damage, or an
 * older block of our own generation, and only while the lease has not run out: a process
 * that was stopped for longer must not look alive again, others have recovered its
 * locks. A lease counts from just before its write was submitted. Verdicts are told
 * before the write, which may hang.
 */
#include "net/hb_int.h"
#include <errno.h>
#include <time.h>
#include <unistd.h>
#include "net/quorum.h"

static bool configured(const struct net_hb *hb, unsigned int n)
{
	return atomic_load_explicit(&hb->cfg.configured->word[n / 64], memory_order_relaxed) >>
		       (n % 64) & 1;
}

void net_hb_renew_from(struct net_hb *hb, int64_t t0_ns)
{
	int64_t until = t0_ns + net_hb_lease_ns(hb), old = atomic_load(&hb->deadline_ns);

	while (until > old)
		if (atomic_compare_exchange_weak(&hb->deadline_ns, &old, until)) {
			hb->cfg.ops->lease(hb->cfg.ctx, until);
			return;
		}
}

bool net_hb_lease_over(const struct net_hb *hb)
{
	int64_t deadline = atomic_load(&hb->deadline_ns);

	return hb->steady.steady && deadline && net_boottime_ns() > deadline;
}

int net_hb_transfer(int fd, void *buf, size_t len, uint64_t off, bool write)
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
	return net_hb_transfer(hb->fd, net_hb_slot_block(hb, lo), (size_t)(hi - lo + 1) * hb->cfg.block_bytes,
			hb->cfg.byte_off + (uint64_t)lo * hb->cfg.block_bytes, false);
}

static void judge_slot(struct net_hb *hb, unsigned int n, const uint8_t *block,
		       struct net_hb_iteration *it)
{
	struct net_hb_block seen;
	enum net_hb_verdict v = net_hb_judge(&hb->slot[n], block, hb->cfg.block_bytes,
					     hb->cfg.threshold, &seen);
	struct hb_event ev = { .kind = v == NET_HB_UP ? EV_UP : EV_DOWN, .node = (node_t)n };

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
	net_hb_tell(hb, &ev);
	if (v == NET_HB_UP && seen.dead_ms && seen.dead_ms != net_dead_ms(hb->cfg.threshold))
		net_hb_tell(hb, &(struct hb_event){ .kind = EV_DEAD_MS, .node = (node_t)n,
					  .value = seen.dead_ms });
}

/* Our slot as read: may we write, and does this iteration renew the lease? Returns false
 * if somebody else uses our number. */
static bool own_slot(struct net_hb *hb, struct net_hb_iteration *it)
{
	const uint8_t *block = net_hb_slot_block(hb, hb->cfg.self);
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
		net_hb_tell(hb, &(struct hb_event){ .kind = EV_FOREIGN });
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
	if (atomic_load(&hb->mute) || net_hb_lease_over(hb))
		return -ECANCELED;
	err = net_hb_transfer(hb->fd, hb->block, cfg->block_bytes,
		       cfg->byte_off + (uint64_t)cfg->self * cfg->block_bytes, true);
	if (err)
		atomic_fetch_add(&hb->write_errors, 1);
	return err;
}

/* As much of the region as there is; a short device is no error here. */
size_t net_hb_read_region(const struct net_hb *hb)
{
	ssize_t n;

	do
		n = pread(hb->fd, hb->region, NET_HB_SCAN_BYTES, (off_t)hb->cfg.byte_off);
	while (n < 0 && errno == EINTR);
	return n < 0 ? 0 : (size_t)n;
}

/* Does somebody heartbeat here with another block size? */
static bool others_size(struct net_hb *hb)
{
	return net_hb_scan_again(&hb->scan, hb->region, net_hb_read_region(hb), &hb->mover);
}

static void judge_all(struct net_hb *hb, bool writing, struct net_hb_iteration *it)
{
	node_t self = hb->cfg.self;

	for (unsigned int n = 0; n < NODE_MAX; n++) {
		if (of_interest(hb, n) && (n != self || writing))
			judge_slot(hb, n, n == self ? hb->block : net_hb_slot_block(hb, n), it);
	}
}

/* Our block for this iteration, into hb->block. */
static struct net_hb_block build_own(struct net_hb *hb)
{
	struct net_hb_block b = {
		.seq = net_hb_next_seq((uint64_t)time(NULL), hb->own.seq),
		.generation = hb->generation,
		.dead_ms = net_dead_ms(hb->cfg.threshold),
		.node = hb->cfg.self,
	};

	net_hb_encode(hb->block, hb->cfg.block_bytes, &b);
	return b;
}

/* The reactor cannot be told, and what waits for it would wait on: tell ourselves. */
static void tell_if_stuck(struct net_hb *hb)
{
	int64_t silent = net_boottime_ns() - atomic_load(&hb->reactor_ns);

	if (hb->steady.steady && hb->cfg.ops->stuck && silent > net_hb_lease_ns(hb) / 2)
		hb->cfg.ops->stuck(hb->cfg.ctx,
				   "heartbeat lease ran out: the network thread of this process stands "
				   "still");
}

/* Read, look, judge, write. *io: what reading or writing failed with. The result is not 0
 * if this node must stop. */
static int sample(struct net_hb *hb, struct net_hb_iteration *it, int *io, enum hb_cause *cause)
{
	bool writing = hb->listen == 0;
	struct net_hb_block next;
	int64_t t0;

	*io = read_slots(hb);
	if (*io) {
		atomic_fetch_add(&hb->read_errors, 1);
		return 0;
	}
	if (net_hb_over(hb)) /* it hung, and nobody waited: cfg may be gone */
		return 0;
	if (!own_slot(hb, it)) {
		*cause = CAUSE_TAKEN;
		return -EBUSY;
	}
	if (writing)
		next = build_own(hb);
	judge_all(hb, writing, it);
	if (hb->ring_full) {
		*cause = CAUSE_RING;
		return -EIO;
	}
	if (!writing) {
		/* A block of ours could fall upon theirs: look before the first. */
		if (--hb->listen == 0 && hb->scan.any && others_size(hb)) {
			*cause = CAUSE_SIZE;
			return -EINVAL;
		}
		return 0;
	}
	/* Whatever comes of the write, the disk may have the new block. */
	hb->before = hb->own;
	hb->own = next;
	*io = write_own(hb, &t0);
	hb->unsure = *io;
	if (*io == -ECANCELED) {
		tell_if_stuck(hb);
		*cause = CAUSE_LEASE;
		return -ETIMEDOUT;
	}
	it->wrote = !*io;
	if (it->wrote && it->own_ok && !net_hb_over(hb) &&
	    net_boottime_ns() - atomic_load(&hb->reactor_ns) < net_hb_lease_ns(hb))
		net_hb_renew_from(hb, t0);
	return 0;
}

/* Not steady yet: is it now? */
static int start_step(struct net_hb *hb, const struct net_hb_iteration *it, int io,
		      enum hb_cause *cause)
{
	switch (net_hb_steady_step(&hb->steady, it)) {
	case NET_HB_STEADY:
		if (others_size(hb)) {
			hb->steady.steady = false;
			*cause = CAUSE_SIZE;
			return -EINVAL;
		}
		net_hb_tell(hb, &(struct hb_event){ .kind = EV_STARTED });
		return 0;
	case NET_HB_GIVE_UP:
		*cause = io ? CAUSE_IO : CAUSE_UNSTEADY;
		return io ? io : -EIO;
	case NET_HB_STARTING:
		break;
	}
	return 0;
}

int net_hb_iterate(struct net_hb *hb, enum hb_cause *cause)
{
	struct net_hb_iteration it = { 0 };
	int err, io = 0;

	if (net_hb_lease_over(hb)) {
		tell_if_stuck(hb);
		*cause = CAUSE_LEASE;
		return -ETIMEDOUT;
	}
	err = sample(hb, &it, &io, cause);
	if (err || net_hb_over(hb))
		return err;
	it.error = io;
	if (io || !atomic_load(&hb->clean))
		net_hb_tell(hb, &(struct hb_event){ .kind = EV_IO, .err = io });
	atomic_store(&hb->clean, !io);
	atomic_fetch_add(&hb->iterations, 1);
	return hb->steady.steady ? 0 : start_step(hb, &it, io, cause);
}
