/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * main.c: run seeds, say what failed.
 *
 *	sim --nodes 8 --seeds 1-200 --steps 20000
 *	sim --nodes 8 --seed 17 --steps 20000 --trace	the same run again, line by line
 *
 * Status 0: all seeds are clean; 1: a seed failed (its line gives the command that shows
 * it); 2: usage.
 */
#include "tests/sim/world.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char usage[] =
	"usage: sim [--nodes N] [--seed S | --seeds A-B] [--steps M] [--users U] [--resources R]\n"
	"           [--no-leave] [--cuts] [--kills] [--murder] [--chaos] [--skip A-B,C-D]\n"
	"           [--fail-alloc N | each] [--no-check] [--no-shrink] [--twice] [--trace] [--time]\n";

struct totals {
	uint64_t steps, messages, asts, basts, puts, zero_reads, cancels_won, cancels_lost, joins,
		leaves, cuts, deaths, stalls, pauses, sections, digest;
};

/* For the handler of a failed assertion: which seed it was. */
static const struct sim_options *running;

static bool shrinks;

static void say_repeat(const struct sim_options *o)
{
	printf("repeat: ");
	say_command(o);
	if (shrinks && !o->trace && !o->fail_alloc)
		shrink(o);
}

static void on_abort(int sig)
{
	const struct sim_options *o = running;

	running = NULL;
	signal(sig, SIG_DFL);
	if (o && !alloc_failed()) {
		printf("FAILED seed=%" PRIu64 " nodes=%d: aborted\n", o->seed, o->nodes);
		say_repeat(o);
		fflush(stdout);
	}
	raise(sig);
}

static bool run(const struct sim_options *opt, struct totals *sum)
{
	struct sim_world *w = sim_calloc(1, sizeof(*w));
	bool ok;

	if (!w)
		abort();
	running = opt;
	world_init(w, opt);
	world_run(w);
	ok = !world_failed(w);
	if (!ok) {
		printf("FAILED seed=%" PRIu64 " nodes=%d step=%" PRIu64 " t=%" PRIu64 "us: %s\n",
		       opt->seed, opt->nodes, w->step, w->now, w->failure);
		say_repeat(opt);
	}
	sum->steps += w->step;
	sum->messages += w->messages;
	sum->asts += w->asts;
	sum->basts += w->basts;
	sum->puts += w->puts;
	sum->zero_reads += w->zero_reads;
	sum->cancels_won += w->cancels_won;
	sum->cancels_lost += w->cancels_lost;
	sum->joins += w->joins;
	sum->leaves += w->leaves;
	sum->cuts += w->cuts;
	sum->deaths += w->deaths;
	sum->stalls += w->stalls;
	sum->pauses += w->pauses;
	sum->sections += w->sections;
	sum->digest = w->digest;
	world_free(w);
	running = NULL;
	free(w);
	return ok;
}

static uint64_t number(const char *name, const char *text, uint64_t lo, uint64_t hi)
{
	char *end;
	uint64_t v;

	errno = 0;
	v = text ? strtoull(text, &end, 10) : 0;
	if (!text || errno || *end || end == text || v < lo || v > hi) {
		fprintf(stderr, "sim: %s takes a number from %" PRIu64 " to %" PRIu64 "\n%s", name,
			lo, hi, usage);
		exit(2);
	}
	return v;
}

struct args {
	struct sim_options opt;
	uint64_t first, last;
	bool twice, timing, each_alloc;
};

/* A-B,C-D: decisions from A below B. */
static bool parse_skips(const char *text, struct sim_options *o)
{
	int used;

	for (; text && o->skips < SIM_SKIPS_MAX; text += used + 1) {
		if (sscanf(text, "%" SCNu64 "-%" SCNu64 "%n", &o->skip[o->skips].lo,
			   &o->skip[o->skips].hi, &used) != 2)
			return false;
		o->skips++;
		if (text[used] != ',')
			return text[used] == '\0';
	}
	return false;
}

static void parse(int argc, char **argv, struct args *a)
{
	for (int i = 1; i < argc; i++) {
		const char *o = argv[i], *v = i + 1 < argc ? argv[i + 1] : NULL;

		if (strcmp(o, "--nodes") == 0) {
			a->opt.nodes = (int)number(o, v, 1, SIM_NODES_MAX);
		} else if (strcmp(o, "--users") == 0) {
			a->opt.users = (int)number(o, v, 1, SIM_USERS_MAX);
		} else if (strcmp(o, "--resources") == 0) {
			a->opt.resources = (int)number(o, v, 1, SIM_RES_MAX);
		} else if (strcmp(o, "--steps") == 0) {
			a->opt.steps = number(o, v, 1, UINT64_MAX);
		} else if (strcmp(o, "--skip") == 0) {
			if (!parse_skips(v, &a->opt)) {
				fprintf(stderr, "sim: --skip takes A-B,C-D\n%s", usage);
				exit(2);
			}
		} else if (strcmp(o, "--fail-alloc") == 0) {
			a->each_alloc = v && strcmp(v, "each") == 0;
			if (!a->each_alloc)
				a->opt.fail_alloc = number(o, v, 1, UINT64_MAX);
		} else if (strcmp(o, "--seed") == 0) {
			a->first = a->last = number(o, v, 0, UINT64_MAX);
		} else if (strcmp(o, "--seeds") == 0) {
			char *dash = v ? strchr(v, '-') : NULL;

			a->last = number(o, dash ? dash + 1 : NULL, 0, UINT64_MAX);
			if (dash)
				*dash = '\0';
			a->first = number(o, v, 0, a->last);
		} else {
			i--; /* no value */
			if (strcmp(o, "--trace") == 0) {
				a->opt.trace = true;
			} else if (strcmp(o, "--no-leave") == 0) {
				a->opt.no_leave = true;
			} else if (strcmp(o, "--cuts") == 0) {
				a->opt.cuts = true;
			} else if (strcmp(o, "--kills") == 0) {
				a->opt.kills = true;
			} else if (strcmp(o, "--murder") == 0) {
				a->opt.kills = a->opt.murder = true;
			} else if (strcmp(o, "--chaos") == 0) {
				a->opt.chaos = true;
			} else if (strcmp(o, "--no-shrink") == 0) {
				shrinks = false;
			} else if (strcmp(o, "--no-check") == 0) {
				a->opt.no_check = true;
			} else if (strcmp(o, "--twice") == 0) {
				a->twice = true;
			} else if (strcmp(o, "--time") == 0) {
				a->timing = true;
			} else {
				fprintf(stderr, "sim: unknown option %s\n%s", o, usage);
				exit(2);
			}
		}
		i++;
	}
}

/*
 * One run for each n, in a child: the n-th allocation fails, and the run ends in order, or
 * says that a volume is stopped (SIM_STOPPED). Until an n that no run reaches; beyond 200
 * in steps of a sixteenth.
 */
static uint64_t fail_each(struct sim_options opt, uint64_t *runs)
{
	uint64_t bad = 0;
	bool over = false;

	for (uint64_t n = 1; !over; n += 1 + (n > 200 ? n / 16 : 0)) {
		int status;
		pid_t pid;

		fflush(stdout);
		pid = fork();
		if (pid == 0) {
			struct totals sum = { 0 };
			bool ok;

			opt.fail_alloc = n;
			shrinks = false;
			ok = run(&opt, &sum);
			fflush(stdout);
			_exit(!ok ? 1 : alloc_failed() ? 0 : SIM_UNREACHED);
		}
		if (pid < 0 || waitpid(pid, &status, 0) != pid)
			abort();
		++*runs;
		over = WIFEXITED(status) && WEXITSTATUS(status) == SIM_UNREACHED;
		if (WIFEXITED(status) && (over || WEXITSTATUS(status) == 0 ||
					  WEXITSTATUS(status) == SIM_STOPPED))
			continue;
		printf("FAILED seed=%" PRIu64 ": allocation %" PRIu64 " fails, status %x\n",
		       opt.seed, n, (unsigned int)status);
		bad++;
	}
	return bad;
}

int main(int argc, char **argv)
{
	struct args a = { .opt = { .nodes = 4, .users = 3, .resources = 6, .steps = 20000 },
			  .first = 1, .last = 1 };
	struct totals sum = { 0 };
	struct timespec t0, t1;
	uint64_t bad = 0;

	shrinks = true;
	parse(argc, argv, &a);
	signal(SIGABRT, on_abort);
	clock_gettime(CLOCK_MONOTONIC, &t0);
	for (a.opt.seed = a.first;; a.opt.seed++) {
		uint64_t digest, runs = 0;

		if (a.each_alloc) {
			bad += fail_each(a.opt, &runs);
			printf("seed=%" PRIu64 ": %" PRIu64 " runs, an allocation fails in each\n",
			       a.opt.seed, runs);
			if (a.opt.seed == a.last)
				break;
			continue;
		}
		bad += !run(&a.opt, &sum);
		digest = sum.digest;
		if (a.twice) {
			bad += !run(&a.opt, &sum);
			if (digest != sum.digest) {
				printf("FAILED seed=%" PRIu64 ": two runs differ\n", a.opt.seed);
				bad++;
			}
		}
		if (a.opt.seed == a.last)
			break;
	}
	clock_gettime(CLOCK_MONOTONIC, &t1);
	printf("seeds=%" PRIu64 " failed=%" PRIu64 " nodes=%d steps=%" PRIu64 " messages=%" PRIu64
	       " asts=%" PRIu64 " basts=%" PRIu64 " puts=%" PRIu64 " zero_reads=%" PRIu64
	       " cancels=%" PRIu64 "+%" PRIu64 " joins=%" PRIu64 " leaves=%" PRIu64 " cuts=%" PRIu64
	       " deaths=%" PRIu64 " stalls=%" PRIu64 " pauses=%" PRIu64 " sections=%" PRIu64 "\n",
	       a.last - a.first + 1, bad, a.opt.nodes, sum.steps, sum.messages, sum.asts, sum.basts,
	       sum.puts, sum.zero_reads, sum.cancels_won, sum.cancels_lost, sum.joins, sum.leaves,
	       sum.cuts, sum.deaths, sum.stalls, sum.pauses, sum.sections);
	if (a.timing) {
		double s =
			(double)(t1.tv_sec - t0.tv_sec) + (double)(t1.tv_nsec - t0.tv_nsec) / 1e9;

		printf("seconds=%.2f events_per_s=%.0f\n", s, (double)sum.steps / s);
	}
	return bad ? 1 : 0;
}
