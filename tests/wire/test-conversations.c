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
	player_run(p, &t, want->me);
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

Test(conversations, first_of_two_shares_locks_and_sees_the_other_join_and_leave)
{
	play(&(struct expected){ "two-node-join-lock-unlock", 1, 129, 148, { { "", 0 } } });
}

Test(conversations, second_of_two_joins_locks_converts_unlocks_with_values_and_leaves)
{
	play(&(struct expected){ "two-node-join-lock-unlock", 2, 126, 125,
				 { { SECOND, 22 }, { SEARCH_OVER, 4 } } });
}

Test(conversations, survivor_of_two)
{
	play(&(struct expected){ "two-node-death-recovery", 1, 68, 153,
				 { { SECOND, 22 }, { SEARCH_OVER, 2 } } });
}

Test(conversations, second_of_two_until_its_death)
{
	play(&(struct expected){ "two-node-death-recovery", 2, 150, 90, { { SECOND, 5 } } });
}

Test(conversations, first_of_three_takes_over_migrated_locks_and_gives_its_locks_to_a_recovery)
{
	play(&(struct expected){ "three-node-migrate-death-recovery", 1, 424, 587,
				 { { PARALLEL, 20 },
				   { OTHERS_ASKED, 5 },
				   { DEREF_AT_ONCE, 8 },
				   { NO_DONE, 8 } } });
}

Test(conversations, second_of_three_leads_a_recovery_and_leaves_with_migration)
{
	play(&(struct expected){ "three-node-migrate-death-recovery", 2, 397, 463,
				 { { PARALLEL, 26 }, { OTHERS_ASKED, 10 }, { SECOND, 5 } } });
}

Test(conversations, third_of_three_leaves_with_migration_comes_back_and_dies)
{
	play(&(struct expected){ "three-node-migrate-death-recovery", 3, 564, 323,
				 { { PARALLEL, 48 }, { OTHERS_ASKED, 1 } } });
}
