/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test-quorum.c: who goes on after a split, and when a vote is taken
 * (doc/spec/cluster.md section 3). */
#include <criterion/criterion.h>
#include <string.h>
#include "net/quorum.h"

/* Node numbers with gaps, so that "lowest" is not 0. */
static const node_t numbers[] = { 3, 4, 9, 64, 200, 254 };

/* A node that sees `alive` nodes heartbeat and is connected to those in `group`. */
static bool goes_on(node_t self, unsigned int alive, unsigned int group)
{
	struct net_quorum q;

	net_quorum_init(&q, self);
	for (unsigned int i = 0; i < 6; i++) {
		if (alive >> i & 1)
			net_map_set(q.hb, numbers[i]);
		if (group >> i & 1)
			net_map_set(q.conn, numbers[i]);
	}
	return net_quorum_decide(&q, NULL, 0) == NET_QUORUM_GO_ON;
}

static bool group_goes_on(unsigned int alive, unsigned int group)
{
	bool first = true, on = false;

	for (unsigned int i = 0; i < 6; i++) {
		if (!(group >> i & 1))
			continue;
		if (first)
			on = goes_on(numbers[i], alive, group);
		cr_assert_eq(on, goes_on(numbers[i], alive, group), "members of one side disagree");
		first = false;
	}
	return on;
}

Test(quorum, of_two_sides_exactly_one_goes_on)
{
	for (unsigned int h = 2; h <= 6; h++) {
		unsigned int all = (1u << h) - 1;

		for (unsigned int side = 1; side < all; side++)
			cr_assert_eq(group_goes_on(all, side) + group_goes_on(all, all & ~side), 1,
				     "H=%u side=%x", h, side);
	}
}

Test(quorum, of_three_sides_at_most_one_goes_on)
{
	for (unsigned int h = 3; h <= 6; h++) {
		unsigned int all = (1u << h) - 1;

		for (unsigned int a = 1; a < all; a++) {
			for (unsigned int b = 1; b < all; b++) {
				unsigned int c = all & ~a & ~b;

				if ((a & b) || !c)
					continue;
				cr_assert_leq(group_goes_on(all, a) + group_goes_on(all, b) +
					      group_goes_on(all, c), 1);
			}
		}
	}
}

Test(quorum, larger_half_or_the_half_with_the_lowest)
{
	for (unsigned int h = 2; h <= 6; h++) {
		unsigned int all = (1u << h) - 1;

		for (unsigned int side = 1; side <= all; side++) {
			unsigned int c = (unsigned int)__builtin_popcount(side);
			bool want = 2 * c > h || (2 * c == h && (side & 1));

			cr_assert_eq(group_goes_on(all, side), want, "H=%u side=%x", h, side);
		}
	}
}

Test(quorum, alone_or_not_heartbeating_goes_on)
{
	struct net_quorum q;

	net_quorum_init(&q, 5);
	cr_assert_eq(net_quorum_decide(&q, NULL, 0), NET_QUORUM_GO_ON);
	net_map_set(q.hb, 1);
	net_map_set(q.hb, 2);
	cr_assert_eq(net_quorum_decide(&q, NULL, 0), NET_QUORUM_GO_ON, "self does not heartbeat");
	net_quorum_init(&q, 5);
	net_map_set(q.hb, 5);
	cr_assert_eq(net_quorum_decide(&q, NULL, 0), NET_QUORUM_GO_ON, "alone");
}

/* A node counts everybody it is connected to, as o2quo does, heartbeating or not. */
static void two_up(struct net_quorum *q, node_t self, node_t peer)
{
	net_quorum_init(q, self);
	cr_assert_eq(net_quorum_conn_up(q, self), NET_QUORUM_GO_ON);
	cr_assert_eq(net_quorum_hb_up(q, self), NET_QUORUM_GO_ON);
	cr_assert_eq(net_quorum_hb_up(q, peer), NET_QUORUM_GO_ON);
	cr_assert_eq(q->holds, 1);
	cr_assert_eq(net_quorum_conn_up(q, peer), NET_QUORUM_GO_ON);
	cr_assert_eq(q->holds, 0);
}

Test(quorum, of_two_the_lower_survives_one_delay_after_the_loss)
{
	struct net_quorum q;
	char why[200];

	two_up(&q, 7, 2);
	net_quorum_conn_err(&q, 2);
	cr_assert_eq(q.holds, 1);
	cr_assert_eq(net_quorum_still_up(&q, 2), NET_QUORUM_FENCE);
	cr_assert_eq(net_quorum_decide(&q, why, sizeof(why)), NET_QUORUM_FENCE);
	cr_assert_str_eq(why, "quorum is lost: of 2 nodes that heartbeat this node reaches 1 (itself "
			      "included), and not the lowest one");

	two_up(&q, 2, 7);
	net_quorum_conn_err(&q, 7);
	cr_assert_eq(net_quorum_still_up(&q, 7), NET_QUORUM_GO_ON);
	cr_assert_not(q.pending, "the vote was taken");
}

Test(quorum, a_peer_that_dies_before_the_delay_is_not_counted)
{
	struct net_quorum q;

	two_up(&q, 7, 2);
	net_quorum_conn_err(&q, 2);
	cr_assert_eq(net_quorum_hb_down(&q, 2), NET_QUORUM_GO_ON);
	cr_assert_eq(q.holds, 0);
	cr_assert_eq(net_quorum_still_up(&q, 2), NET_QUORUM_GO_ON);
}

Test(quorum, a_peer_that_reconnects_drops_its_hold)
{
	struct net_quorum q;

	two_up(&q, 7, 2);
	net_quorum_conn_err(&q, 2);
	cr_assert_eq(net_quorum_conn_up(&q, 2), NET_QUORUM_GO_ON);
	cr_assert_eq(q.holds, 0);
	/* A late still_up sets pending, which waits for the next hold to drop (3.1). */
	cr_assert_eq(net_quorum_still_up(&q, 2), NET_QUORUM_GO_ON);
	cr_assert(q.pending);
	net_quorum_conn_err(&q, 2);
	cr_assert_eq(net_quorum_conn_up(&q, 2), NET_QUORUM_GO_ON, "voted while connected");
	cr_assert_not(q.pending);
}

Test(quorum, the_vote_waits_for_the_last_hold)
{
	struct net_quorum q;

	two_up(&q, 7, 2);
	net_quorum_hb_up(&q, 3);
	net_quorum_conn_up(&q, 3);
	net_quorum_conn_err(&q, 2);
	net_quorum_conn_err(&q, 3);
	cr_assert_eq(q.holds, 2);
	cr_assert_eq(net_quorum_still_up(&q, 2), NET_QUORUM_GO_ON, "one is still open");
	cr_assert(q.pending);
	cr_assert_eq(net_quorum_still_up(&q, 3), NET_QUORUM_FENCE, "1 of 3");

	/* The same, but the second one turns out to be dead: 1 of 2, lowest not reached. */
	two_up(&q, 7, 2);
	net_quorum_hb_up(&q, 3);
	net_quorum_conn_up(&q, 3);
	net_quorum_conn_err(&q, 2);
	net_quorum_conn_err(&q, 3);
	net_quorum_still_up(&q, 2);
	cr_assert_eq(net_quorum_hb_down(&q, 3), NET_QUORUM_FENCE);

	/* Or comes back: 2 of 3. */
	two_up(&q, 7, 2);
	net_quorum_hb_up(&q, 3);
	net_quorum_conn_up(&q, 3);
	net_quorum_conn_err(&q, 2);
	net_quorum_conn_err(&q, 3);
	net_quorum_still_up(&q, 2);
	cr_assert_eq(net_quorum_conn_up(&q, 3), NET_QUORUM_GO_ON);
	cr_assert_not(q.pending);
}

Test(quorum, a_loss_that_was_reported_twice_holds_once)
{
	struct net_quorum q;

	two_up(&q, 2, 7);
	net_quorum_conn_err(&q, 7); /* silent */
	net_quorum_conn_err(&q, 7); /* closed */
	cr_assert_eq(q.holds, 1);
	net_quorum_conn_err(&q, 9); /* never connected */
	cr_assert_eq(q.holds, 1);
}
