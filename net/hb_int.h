/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hb_int.h: struct net_hb, shared by hbthread.c (lifetime, the thread), hbiter.c (one
 * iteration on the thread) and hbevent.c (what the reactor makes of it).
 *
 * Locking: none that a thread of lower priority could hold while it works. The slots,
 * buffers and counters belong to the thread. It tells the reactor through a ring with one
 * writer (the thread) and one reader (the reactor, woken by a net_note): head and tail
 * are atomics, an entry is complete before head moves past it. Lease, stop flags and
 * figures for the status are single atomics. The deadline only ever grows (compare and
 * swap), since thread and reactor may both renew it.
 */
#ifndef O2FUSE_NET_HB_INT_H
#define O2FUSE_NET_HB_INT_H

#include <pthread.h>
#include "net/hbscan.h"
#include "net/hbthread.h"
#include "net/heartbeat.h"
#include "net/timeouts.h"

#define HB_RING 4096u
#define NS_PER_MS 1000000

enum hb_event_kind { EV_UP, EV_DOWN, EV_STARTED, EV_START_FAILED, EV_LOST, EV_IO, EV_FOREIGN,
		  EV_DEAD_MS };

/* Why the thread ended. */
enum hb_cause { CAUSE_IO = 1, CAUSE_TAKEN, CAUSE_UNSTEADY, CAUSE_LEASE, CAUSE_RING, CAUSE_SIZE };

struct hb_event {
	enum hb_event_kind kind;
	node_t node;
	enum hb_cause cause;
	int err;
	uint32_t value;
};

struct net_hb {
	struct net_hb_config cfg;
	char device[256];
	int fd;
	uint8_t *slots;		/* NODE_MAX blocks */
	uint8_t *block;		/* ours, while it is written */
	uint8_t *region;	/* NET_HB_SCAN_BYTES, during the start */
	struct net_hb_slot slot[NODE_MAX];
	uint8_t live[32];
	struct net_hb_block own;	/* written last, or read at the start */
	struct net_hb_block before;	/* what own replaced, while it may still be there: */
	bool unsure;			/* the last write failed */
	uint64_t generation;
	unsigned int listen;		/* periods to go before the first write */
	struct net_hb_steady steady;
	struct net_hb_scan scan;	/* blocks of other sizes, at the start */
	struct net_hb_found mover;

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
	struct hb_event ring[HB_RING];
	/* reactor only */
	bool told_started, told_lost, io_logged, foreign_logged;
};

static inline int64_t net_hb_lease_ns(const struct net_hb *hb)
{
	return (int64_t)net_gate_ms(hb->cfg.threshold) * NS_PER_MS;
}

static inline bool net_hb_over(const struct net_hb *hb)
{
	return atomic_load(&hb->stop) || atomic_load(&hb->mute);
}

static inline uint8_t *net_hb_slot_block(struct net_hb *hb, unsigned int n)
{
	return hb->slots + (size_t)n * hb->cfg.block_bytes;
}

/* hbevent.c: tell on the heartbeat thread, on_events(hb) on the reactor. */
void net_hb_tell(struct net_hb *hb, const struct hb_event *ev);
void net_hb_on_events(void *arg);

/* hbiter.c, heartbeat thread. 0: go on; otherwise the thread ends with this error. */
int net_hb_iterate(struct net_hb *hb, enum hb_cause *cause);
/* Read or write all of it. */
int net_hb_transfer(int fd, void *buf, size_t len, uint64_t off, bool write);
/* As much of the region as there is, into hb->region. */
size_t net_hb_read_region(const struct net_hb *hb);
/* The lease counts and has run out. */
bool net_hb_lease_over(const struct net_hb *hb);
/* Any thread: lease from t0 (CLOCK_BOOTTIME) on, if that is later than it is now. */
void net_hb_renew_from(struct net_hb *hb, int64_t t0_ns);

#endif
