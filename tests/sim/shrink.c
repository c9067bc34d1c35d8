/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * shrink.c: a failing run made smaller.
 *
 * First fewer steps, users, resources, nodes; then, by halves and smaller parts, leaving
 * out decisions: each lock that a user asks for, each fault. What is left out shifts what
 * comes later, so this is a search: whatever still fails, in whatever way, is taken. Each
 * try runs in a child, as it may end in a failed assertion.
 */
#include "tests/sim/world.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TRIES 400
#define SECONDS 30

struct search {
	struct sim_options best;
	int tries;
	time_t until;
};

void say_command(const struct sim_options *o)
{
	printf("sim --nodes %d --users %d --resources %d --steps %" PRIu64 " --seed %" PRIu64
	       "%s%s%s%s",
	       o->nodes, o->users, o->resources, o->steps, o->seed, o->no_leave ? " --no-leave" : "",
	       o->cuts ? " --cuts" : "", o->murder ? " --murder" :
	       o->kills ? " --kills" : "", o->chaos ? " --chaos" : "");
	for (int i = 0; i < o->skips; i++)
		printf("%s%" PRIu64 "-%" PRIu64, i ? "," : " --skip ", o->skip[i].lo,
		       o->skip[i].hi);
	if (o->fail_alloc)
		printf(" --fail-alloc %" PRIu64, o->fail_alloc);
	printf(" --trace\n");
}

/* 0, or 1 + the steps that it took until it failed (1: unknown). */
static uint64_t try_it(struct search *s, const struct sim_options *opt)
{
	uint64_t steps = 0;
	int fd[2], status;
	pid_t pid;

	if (++s->tries > TRIES || time(NULL) > s->until || pipe(fd))
		return 0;
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		struct sim_world *w = sim_calloc(1, sizeof(*w));

		close(fd[0]);
		alarm(20);
		if (!w || !freopen("/dev/null", "w", stdout) || !freopen("/dev/null", "w", stderr))
			_exit(0);
		world_init(w, opt);
		world_run(w);
		steps = w->step;
		_exit(!world_failed(w) || write(fd[1], &steps, sizeof(steps)) < 0 ? 0 : 1);
	}
	close(fd[1]);
	if (read(fd[0], &steps, sizeof(steps)) != sizeof(steps))
		steps = 0;
	close(fd[0]);
	if (pid < 0 || waitpid(pid, &status, 0) != pid ||
	    (WIFEXITED(status) && !WEXITSTATUS(status)))
		return 0;
	return 1 + steps;
}

static bool accept(struct search *s, struct sim_options opt)
{
	uint64_t steps = try_it(s, &opt);

	if (!steps)
		return false;
	if (steps > 1 && steps - 1 < opt.steps)
		opt.steps = steps - 1;
	s->best = opt;
	return true;
}

/* The best so far with another number of what, which points into it. */
static bool accept_with(struct search *s, const int *what, int number)
{
	struct sim_options opt = s->best;
	size_t at = (size_t)((const char *)what - (const char *)&s->best);

	memcpy((char *)&opt + at, &number, sizeof(number));
	return accept(s, opt);
}

static void less_of(struct search *s, const int *what, int least)
{
	while (*what > least) {
		if (*what > 2 * least && accept_with(s, what, *what / 2))
			continue;
		if (!accept_with(s, what, *what - 1))
			break;
	}
}

static bool left_out(const struct sim_options *o, uint64_t lo)
{
	for (int i = 0; i < o->skips; i++)
		if (lo >= o->skip[i].lo && lo < o->skip[i].hi)
			return true;
	return false;
}

static void fewer_decisions(struct search *s, uint64_t total)
{
	for (uint64_t part = total / 2; part >= 1; part /= 2) {
		for (uint64_t lo = 0; lo < total; lo += part) {
			struct sim_options opt = s->best;
			int last = opt.skips - 1;

			if (left_out(&opt, lo))
				continue;
			if (last >= 0 && opt.skip[last].hi == lo) {
				opt.skip[last].hi = lo + part;
			} else if (opt.skips < SIM_SKIPS_MAX) {
				opt.skip[opt.skips].lo = lo;
				opt.skip[opt.skips++].hi = lo + part;
			}
			(void)accept(s, opt);
			if (s->tries > TRIES || time(NULL) > s->until)
				return;
		}
	}
}

void shrink(const struct sim_options *opt)
{
	struct search s = { .best = *opt, .until = time(NULL) + SECONDS };

	s.best.trace = false;
	if (!accept(&s, s.best)) {
		printf("shrink: it does not fail again\n");
		return;
	}
	less_of(&s, &s.best.users, 1);
	less_of(&s, &s.best.resources, 1);
	less_of(&s, &s.best.nodes, 2);
	fewer_decisions(&s, s.best.steps / 4 + 2);
	printf("smaller: ");
	say_command(&s.best);
}
