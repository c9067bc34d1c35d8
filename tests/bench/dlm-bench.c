/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * dlm-bench: how fast the lock manager is, and how much memory it takes.
 *
 *	dlm-bench [--seconds S] [--resources N] [--core | --tcp] [--check]
 *
 * One "name value unit" a line. With --check, beside each number the project promises:
 * "ok" or "MISSED", and status 1 if any is missed. Measure an optimised build on a quiet
 * machine; whoever wants to profile takes --core alone.
 */
#include "tests/bench/bench.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct options {
	double seconds;
	uint32_t resources;
	bool core, tcp, check;
	int missed;
};

void bench_die(const char *fmt, ...)
{
	va_list ap;

	fflush(stdout);
	fputs("dlm-bench: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	_exit(1);
}

void bench_name(uint32_t i, uint8_t name[BENCH_NAME_LEN])
{
	memset(name, '0', BENCH_NAME_LEN);
	name[0] = 'M';
	for (int at = BENCH_NAME_LEN - 9; i; i /= 16)
		name[at--] = (uint8_t)"0123456789abcdef"[i % 16];
}

static void say(const char *name, double value, const char *unit)
{
	printf("%-34s %14.*f %s\n", name, value < 1000 ? 2 : 0, value, unit);
	fflush(stdout);
}

static void promise(struct options *o, const char *what, double value, bool kept)
{
	if (!o->check)
		return;
	printf("%-34s %14.*f %s\n", what, value < 1000 ? 2 : 0, value, kept ? "ok" : "MISSED");
	o->missed += !kept;
}

static void core(struct options *o)
{
	double few_bytes, bytes, few, many;

	few = bench_local_pairs(1000, o->seconds, &few_bytes);
	say("local lock+unlock, 1000 resources", few, "pairs/s");
	many = bench_local_pairs(o->resources, o->seconds, &bytes);
	printf("%-34s %14.0f pairs/s, %u resources, %.2f of it\n", "local lock+unlock, many", many,
	       o->resources, many / few);
	say("memory of a resource with a lock", bytes, "bytes");
	say("convert NL-PR-EX-NL, 1 resource", bench_convert(1, o->seconds), "conversions/s");
	say("convert NL-PR-EX-NL, many", bench_convert(o->resources, o->seconds),
	    "conversions/s");
	say("simulated remote lock+unlock", bench_simulated_remote(o->seconds), "pairs/s");
	promise(o, "pairs/s of at least 2000000", few, few >= 2e6);
	promise(o, "many: a third of 2000000 at least", many, many >= 2e6 / 3);
	promise(o, "bytes, at most 400", bytes, bytes <= 400);
}

static void tcp(struct options *o)
{
	struct bench_tcp r = { 0 };
	double sync_us;

	bench_tcp(o->seconds, &r);
	sync_us = (r.lock_us + r.unlock_us) / 2;
	say("raw TCP ping-pong", r.raw_us, "us");
	say("remote lock, synchronous", r.lock_us, "us");
	say("remote unlock, synchronous", r.unlock_us, "us");
	say("remote lock+unlock, synchronous", r.sync_ops, "pairs/s");
	printf("%-34s %14.0f pairs/s, %u under way\n", "remote lock+unlock, pipelined",
	       r.pipelined_ops, r.under_way);
	promise(o, "lock in raw round trips, <= 1.5", r.lock_us / r.raw_us,
		r.lock_us <= 1.5 * r.raw_us);
	promise(o, "mean of both in them, <= 1.5", sync_us / r.raw_us, sync_us <= 1.5 * r.raw_us);
	promise(o, "pipelined to synchronous, >= 10", r.pipelined_ops / r.sync_ops,
		r.pipelined_ops >= 10 * r.sync_ops);
}

static void usage(void)
{
	fputs("usage: dlm-bench [--seconds S] [--resources N] [--core | --tcp] [--check]\n", stderr);
	exit(2);
}

static double number(const char *text, double lo, double hi)
{
	char *end = NULL;
	double v = text ? strtod(text, &end) : 0;

	if (!text || *end || v < lo || v > hi)
		usage();
	return v;
}

int main(int argc, char **argv)
{
	struct options o = { .seconds = 2, .resources = 1000000, .core = true, .tcp = true };

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--seconds") == 0)
			o.seconds = number(argv[++i], 0.01, 600);
		else if (strcmp(argv[i], "--resources") == 0)
			o.resources = (uint32_t)number(argv[++i], 1, 1e8);
		else if (strcmp(argv[i], "--core") == 0)
			o.tcp = false;
		else if (strcmp(argv[i], "--tcp") == 0)
			o.core = false;
		else if (strcmp(argv[i], "--check") == 0)
			o.check = true;
		else
			usage();
	}
	if (!o.core && !o.tcp)
		usage();
	if (o.core)
		core(&o);
	if (o.tcp)
		tcp(&o);
	return o.missed ? 1 : 0;
}
