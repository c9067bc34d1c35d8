/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * timeouts.h: every time-out of the cluster base layer, and how they nest.
 *
 * thr = dead threshold (samples). With the default thr = 31, counted from t0, the
 * submission of the last heartbeat write that succeeded (doc/spec/cluster.md 1.3,
 * 3.3, 4.5):
 *
 *	t0		block on the disk
 *	t0 + 29500	half-way: ask the others whether their writes hang too
 *	t0 + 59000	write gate shuts, we fence ourselves: 2000 * (thr - 1) - 1000
 *	t0 + 60000	a kernel node would reset its host now: 2000 * (thr - 1)
 *	t0 + 62000	earliest that anybody declares us dead: 2000 * thr
 *	t0 + 66000	quorum delay after a lost link: 2000 * (thr + 2)
 *
 * So nobody takes our locks before our gate is shut, and the quorum vote counts only
 * those that are really alive. A write that passed the gate just before it shut has
 * 3 s, NET_GATE_MARGIN_MS more than a kernel node's, to come to its end before others
 * may replay our journal.
 *
 * A smaller threshold leaves the same margin, and less time for a late heartbeat: with
 * the smallest, 3, one that is late by more than a second fences.
 *
 * idle is how long a link may be silent. It is independent of thr, except that a link
 * should be given up (idle) before its peer could be dead and replaced (dead), else a
 * request hangs longer than it must; net_open says so in the debug log.
 */
#ifndef O2FUSE_NET_TIMEOUTS_H
#define O2FUSE_NET_TIMEOUTS_H

#include <stdint.h>

enum {
	NET_HB_PERIOD_MS = 2000,
	NET_THRESHOLD_DEFAULT = 31,
	NET_THRESHOLD_MIN = 3,
	NET_GATE_MARGIN_MS = 1000,
	NET_IDLE_MS_DEFAULT = 30000,
	NET_KEEPALIVE_MS_DEFAULT = 2000,
	NET_RECONNECT_MS_DEFAULT = 2000,
	NET_CLUSTER_CHECK_MS = 60000,
};

static inline uint32_t net_write_timeout_ms(uint32_t thr)
{
	return NET_HB_PERIOD_MS * (thr - 1);
}

/* The lease: no write of ours is submitted later than this after t0. */
static inline uint32_t net_gate_ms(uint32_t thr)
{
	return net_write_timeout_ms(thr) - NET_GATE_MARGIN_MS;
}

static inline uint32_t net_dead_ms(uint32_t thr)
{
	return NET_HB_PERIOD_MS * thr;
}

static inline uint32_t net_quorum_delay_ms(uint32_t thr)
{
	return NET_HB_PERIOD_MS * (thr + 2);
}

/* The inequalities, in constant form (the functions above are not). For every thr: */
#define NET_GATE_OF(thr) (NET_HB_PERIOD_MS * ((thr) - 1) - NET_GATE_MARGIN_MS)
#define NET_DEAD_OF(thr) (NET_HB_PERIOD_MS * (thr))
#define NET_QUORUM_OF(thr) (NET_HB_PERIOD_MS * ((thr) + 2))

_Static_assert(NET_GATE_OF(NET_THRESHOLD_MIN) > NET_HB_PERIOD_MS,
	       "a lease outlives the wait for the next heartbeat");
_Static_assert(NET_GATE_OF(NET_THRESHOLD_DEFAULT) + NET_GATE_MARGIN_MS + NET_HB_PERIOD_MS <=
		       NET_DEAD_OF(NET_THRESHOLD_DEFAULT),
	       "the gate shuts a period and the margin before anybody may declare us dead");
_Static_assert(NET_DEAD_OF(NET_THRESHOLD_DEFAULT) + 2 * NET_HB_PERIOD_MS <=
		       NET_QUORUM_OF(NET_THRESHOLD_DEFAULT),
	       "the dead have left the heartbeat map before a vote counts it");
_Static_assert(NET_IDLE_MS_DEFAULT < NET_DEAD_OF(NET_THRESHOLD_DEFAULT),
	       "a silent link is given up before its peer is dead");
_Static_assert(NET_KEEPALIVE_MS_DEFAULT < NET_IDLE_MS_DEFAULT, "keepalive beats idle");

#endif
