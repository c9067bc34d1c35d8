/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test-conversations.c: recorded sessions of kernel nodes, each of whose nodes is played
 * by our DLM core in turn (player.h). What the core says and answers is what the kernel
 * node said and answered, byte for byte, but for the differences listed here one by one;
 * doc/spec/vectors/README.md explains each.
 */
#include <criterion/criterion.h>
#include "tests/wire/player.h"

struct expected {
	const char *trace;
	node_t me;
	uint64_t until_ms;     /* played to this time of the recording; 0: to its end */
	int messages, answers; /* equal ones */
	struct player_diff diffs[6];
};

static void play(const struct expected *want)
{
	struct player *p = malloc(sizeof(*p));
	struct trace t;
	int known = 0;

	cr_assert(p);
	trace_read(&t, want->trace);
	player_run(p, &t, want->me, want->until_ms);
	for (int i = 0; i < p->nr_diffs; i++) {
		int allowed = 0;

		for (size_t k = 0; k < 6; k++) {
			if (!strcmp(want->diffs[k].what, p->diffs[i].what))
				allowed = want->diffs[k].times;
		}
		known += allowed != 0;
		cr_expect_eq(p->diffs[i].times, allowed, "%s as node %d: %d times (%d known): %s",
			     want->trace, want->me, p->diffs[i].times, allowed, p->diffs[i].what);
	}
	for (size_t k = 0; k < 6; k++)
		known -= want->diffs[k].times != 0;
	cr_expect_eq(known, 0, "%s as node %d: a known difference did not come", want->trace,
		     want->me);
	cr_expect_eq(p->same_messages, want->messages, "%s as node %d: %d messages equal",
		     want->trace, want->me, p->same_messages);
	cr_expect_eq(p->same_answers, want->answers, "%s as node %d: %d answers equal",
		     want->trace, want->me, p->same_answers);
	player_free(p);
	free(p);
	trace_free(&t);
}

#define SECOND "only the kernel: MASTER_REQUEST"
#define PARALLEL "only ours: MASTER_REQUEST"
#define SEARCH_OVER "answer to ASSERT_MASTER: 0 for 2"
#define OTHERS_ASKED "answer to ASSERT_MASTER: 3 for 2"
#define DEREF_AT_ONCE "answer to DEREF_LOCKRES: 0 for 1"
#define NO_DONE "only the kernel: DEREF_LOCKRES_DONE"
#define ALL_ASKED "only ours: MASTER_REQUERY"
#define NOBODY_LEFT "only the kernel: PROXY_AST"

Test(conversations, first_of_two_shares_locks_and_sees_the_other_join_and_leave)
{
	play(&(struct expected){ "two-node-join-lock-unlock", 1, 0, 129, 148, { { "", 0 } } });
}

Test(conversations, second_of_two_joins_locks_converts_unlocks_with_values_and_leaves)
{
	play(&(struct expected){ "two-node-join-lock-unlock", 2, 0, 126, 125,
				 { { SECOND, 22 }, { SEARCH_OVER, 4 } } });
}

Test(conversations, survivor_of_two)
{
	play(&(struct expected){ "two-node-death-recovery", 1, 0, 68, 153,
				 { { SECOND, 22 }, { SEARCH_OVER, 2 } } });
}

Test(conversations, second_of_two_until_its_death)
{
	play(&(struct expected){ "two-node-death-recovery", 2, 0, 150, 90, { { SECOND, 5 } } });
}

Test(conversations, first_of_three_takes_over_migrated_locks_and_gives_its_locks_to_a_recovery)
{
	play(&(struct expected){ "three-node-migrate-death-recovery", 1, 0, 424, 587,
				 { { PARALLEL, 20 },
				   { OTHERS_ASKED, 5 },
				   { DEREF_AT_ONCE, 8 },
				   { NO_DONE, 8 } } });
}

Test(conversations, second_of_three_leads_a_recovery_and_leaves_with_migration)
{
	play(&(struct expected){ "three-node-migrate-death-recovery", 2, 0, 397, 463,
				 { { PARALLEL, 26 }, { OTHERS_ASKED, 10 }, { SECOND, 5 } } });
}

Test(conversations, third_of_three_leaves_with_migration_comes_back_and_dies)
{
	play(&(struct expected){ "three-node-migrate-death-recovery", 3, 0, 564, 323,
				 { { PARALLEL, 48 }, { OTHERS_ASKED, 1 } } });
}

/* 25 conversion deadlocks, each ended by a CANCEL; waiting for flocks that is given up. */
Test(conversations, second_of_two_cancels_conversions_and_gives_way)
{
	play(&(struct expected){ "two-node-cancel", 2, 0, 578, 765,
				 { { SECOND, 13 }, { SEARCH_OVER, 2 } } });
}

/* 270 locks on one resource. */
Test(conversations, first_of_three_leaves_and_hands_over_more_locks_than_a_message_holds)
{
	play(&(struct expected){ "three-node-many-locks", 1, 0, 944, 944,
				 { { PARALLEL, 18 }, { OTHERS_ASKED, 12 } } });
}

/* To the time when it and the third leave at once: who is faster decides then who gets what. */
Test(conversations, second_of_three_takes_over_270_locks)
{
	play(&(struct expected){ "three-node-many-locks", 2, 58000, 814, 843,
				 { { PARALLEL, 27 },
				   { OTHERS_ASKED, 7 },
				   { SECOND, 4 },
				   { DEREF_AT_ONCE, 1 },
				   { NO_DONE, 1 } } });
}

Test(conversations, third_of_three_finds_its_locks_at_the_new_owner)
{
	play(&(struct expected){ "three-node-many-locks", 3, 58000, 326, 330,
				 { { PARALLEL, 40 }, { OTHERS_ASKED, 3 } } });
}

/* To the time when several want $RECOVERY: ours does not wait for the next poll. */
Test(conversations, vote_goes_on_without_a_node_that_dies)
{
	play(&(struct expected){ "four-node-slow-deaths", 1, 187400, 97, 175, { { PARALLEL, 7 } } });
}

/* It leads, is asked who owns $RECOVERY by one that is late, and tells both survivors. */
Test(conversations, third_of_four_leads_the_recovery_that_another_wants_to_lead)
{
	play(&(struct expected){ "four-node-slow-deaths", 3, 390000, 290, 348,
				 { { PARALLEL, 59 }, { ALL_ASKED, 1 } } });
}

Test(conversations, fourth_of_four_on_slow_links_until_its_death)
{
	play(&(struct expected){ "four-node-slow-deaths", 4, 0, 266, 81,
				 { { PARALLEL, 12 }, { NOBODY_LEFT, 1 } } });
}

/* The third hands all over to it; the second dies while it is told of one (MIGRATE_REQUEST). */
Test(conversations, target_of_a_migration_goes_on_when_a_third_node_dies)
{
	play(&(struct expected){ "three-node-death-in-migration", 1, 0, 177, 299,
				 { { PARALLEL, 16 }, { DEREF_AT_ONCE, 5 }, { NO_DONE, 5 } } });
}

Test(conversations, third_node_of_migrations_until_its_death)
{
	play(&(struct expected){ "three-node-death-in-migration", 2, 0, 95, 220,
				 { { PARALLEL, 25 }, { SECOND, 5 } } });
}
