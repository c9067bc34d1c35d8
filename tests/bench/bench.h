/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * bench.h: what the parts of dlm-bench share.
 *
 *	dlm-bench.c	options, the list of measurements, the verdict
 *	core.c		the core alone: one node, and two in one process
 *	tcp.c		two processes over loopback TCP, through net/, beside a raw ping-pong
 */
#ifndef O2FUSE_BENCH_H
#define O2FUSE_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>
#include "dlm/dlm.h"

#define BENCH_DOMAIN "45F81E3B6F2B48CCAAD1AE7945AB2001"
#define BENCH_NAME_LEN 31 /* as a file system's lock names */

static inline double bench_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Of this thread: what others do to the machine's processors does not count. */
static inline double bench_cpu(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* "M" and 30 digits. */
void bench_name(uint32_t i, uint8_t name[BENCH_NAME_LEN]);
/* Say it and give up. */
void bench_die(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

/* ---- core.c ---- */

struct bench_core; /* one node, alone in its domain, or two joined */

struct bench_core *bench_core_new(int nodes);
void bench_core_free(struct bench_core *b);
/*
 * NL held on n resources: then pairs of lock PR and unlock, spread over all of them.
 * bytes: of memory for each resource with its one lock. Pairs per second.
 */
double bench_local_pairs(uint32_t n, double seconds, double *bytes);
/* NL to PR to EX to NL on held locks: conversions per second. */
double bench_convert(uint32_t n, double seconds);
/* A lock that another core in this process owns: lock and unlock pairs per second. */
double bench_simulated_remote(double seconds);

/* ---- tcp.c ---- */

struct bench_tcp {
	double raw_us;	     /* one ping-pong of a lock message's size */
	double lock_us;	     /* call to AST */
	double unlock_us;    /* call to its end */
	double sync_ops;     /* lock+unlock pairs per second, one after another */
	double pipelined_ops; /* the same with many under way */
	unsigned int under_way;
};

void bench_tcp(double seconds, struct bench_tcp *out);

#endif
