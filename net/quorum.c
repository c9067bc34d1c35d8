/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * quorum.c: o2quo's rule, exactly: it works only because all nodes apply the same one.
 *
 * hb = who writes to the disk, conn = whom we hear. When both agree on a node its fate
 * is known; when they differ it is held. A vote is called by still_up (the quorum delay
 * after a lost link, longer than the dead time), and is taken when the last hold is gone,
 * so that truly dead nodes have left hb before anybody counts.
 */
#include "net/quorum.h"
#include <stdio.h>
#include <string.h>

unsigned int net_map_count(const uint8_t map[32])
{
	unsigned int n = 0;

	for (int i = 0; i < 32; i++)
		n += (unsigned int)__builtin_popcount(map[i]);
	return n;
}

void net_quorum_init(struct net_quorum *q, node_t self)
{
	memset(q, 0, sizeof(*q));
	q->self = self;
}

enum net_quorum_verdict net_quorum_decide(const struct net_quorum *q, char *why, size_t room)
{
	unsigned int alive = net_map_count(q->hb), lowest = 0, reached = net_map_count(q->conn);
	bool lowest_reached, fence = false;

	if (why && room)
		why[0] = '\0';
	if (!net_map_test(q->hb, q->self) || alive == 1)
		return NET_QUORUM_GO_ON;
	while (!net_map_test(q->hb, lowest))
		lowest++;
	lowest_reached = net_map_test(q->conn, lowest);
	if (alive & 1)
		fence = reached < (alive + 1) / 2;
	else
		fence = reached < alive / 2 || (reached == alive / 2 && !lowest_reached);
	if (fence && why)
		snprintf(why, room,
			 "quorum is lost: of %u nodes that heartbeat this node reaches %u (itself "
			 "included)%s", alive, reached,
			 reached == alive / 2 ? ", and not the lowest one" : "");
	return fence ? NET_QUORUM_FENCE : NET_QUORUM_GO_ON;
}

static void set_hold(struct net_quorum *q, node_t n)
{
	if (!net_map_test(q->hold, n)) {
		net_map_set(q->hold, n);
		q->holds++;
	}
}

static enum net_quorum_verdict drop_hold(struct net_quorum *q, node_t n)
{
	if (!net_map_test(q->hold, n))
		return NET_QUORUM_GO_ON;
	net_map_clear(q->hold, n);
	if (--q->holds || !q->pending)
		return NET_QUORUM_GO_ON;
	q->pending = false;
	return net_quorum_decide(q, NULL, 0);
}

enum net_quorum_verdict net_quorum_hb_up(struct net_quorum *q, node_t n)
{
	net_map_set(q->hb, n);
	if (net_map_test(q->conn, n))
		return drop_hold(q, n);
	set_hold(q, n);
	return NET_QUORUM_GO_ON;
}

enum net_quorum_verdict net_quorum_hb_down(struct net_quorum *q, node_t n)
{
	net_map_clear(q->hb, n);
	return drop_hold(q, n);
}

enum net_quorum_verdict net_quorum_conn_up(struct net_quorum *q, node_t n)
{
	net_map_set(q->conn, n);
	if (net_map_test(q->hb, n))
		return drop_hold(q, n);
	set_hold(q, n);
	return NET_QUORUM_GO_ON;
}

void net_quorum_conn_err(struct net_quorum *q, node_t n)
{
	if (!net_map_test(q->conn, n))
		return;
	net_map_clear(q->conn, n);
	if (net_map_test(q->hb, n))
		set_hold(q, n);
}

enum net_quorum_verdict net_quorum_still_up(struct net_quorum *q, node_t n)
{
	q->pending = true;
	return drop_hold(q, n);
}
