/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * timeouts.h: every time-out of the cluster base layer, and how they nest.
 *
 * thr = dead threshold (samples). With the default thr = 31, counted from t0, the
 * submission of the last heartbeat write that succeeded (doc/spec/cluster.md 1.3,
 * 3.3, 4.5):
 *
 *	t0		block on the disk
 *	t0 + 30000	half-way: ask the others whether their writes hang too
 *	t0 + 60000	write gate shuts: 2000 * (thr - 1)
 *	t0 + 62000	earliest that anybody declares us dead: 2000 * thr
 *	t0 + 66000	quorum delay after a lost link: 2000 * (thr + 2)
 *
 * So nobody takes our locks before our gate is shut, and the quorum vote counts
 * only those that are really alive.
 */
#ifndef O2FUSE_NET_TIMEOUTS_H
#define O2FUSE_NET_TIMEOUTS_H

#include <stdint.h>

enum {
	NET_HB_PERIOD_MS = 2000,
	NET_THRESHOLD_DEFAULT = 31,
	NET_THRESHOLD_MIN = 3,
	NET_IDLE_MS_DEFAULT = 30000,
	NET_KEEPALIVE_MS_DEFAULT = 2000,
	NET_RECONNECT_MS_DEFAULT = 2000,
	NET_CLUSTER_CHECK_MS = 60000,
};

static inline uint32_t net_write_timeout_ms(uint32_t thr)
{
	return NET_HB_PERIOD_MS * (thr - 1);
}

static inline uint32_t net_dead_ms(uint32_t thr)
{
	return NET_HB_PERIOD_MS * thr;
}

static inline uint32_t net_quorum_delay_ms(uint32_t thr)
{
	return NET_HB_PERIOD_MS * (thr + 2);
}

_Static_assert(NET_HB_PERIOD_MS * (NET_THRESHOLD_DEFAULT - 1) <
		       NET_HB_PERIOD_MS * NET_THRESHOLD_DEFAULT,
	       "the gate shuts before anybody may declare us dead");
_Static_assert(NET_KEEPALIVE_MS_DEFAULT < NET_IDLE_MS_DEFAULT, "keepalive beats idle");

#endif
