/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * timeline.c: when what happened in a recovery, for the log and the status.
 *
 *	silent		the node's last link to us was lost (0: it was not connected)
 *	declared	the DLM told us; M requests wait from here on
 *	locks		S EX is ours: the DLM has recovered the dead node's locks
 *	replayed	its journal is home and its slot free (or somebody else did it)
 *	served		the first request that had waited was answered
 *
 * The last CLU_TIMES recoveries are kept. Everything is under clu.mutex; the moments are
 * CLOCK_MONOTONIC in ns. `served` comes from the lock cache, which tells once after its
 * count of pending recoveries has gone to zero, and belongs to every entry that is over
 * and lacks it.
 */
#include <json-c/json.h>
#include <stdio.h>
#include <time.h>
#include "fs/cluster/clu_int.h"

enum { NS_PER_MS = 1000000 };

static int64_t now_ns(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

void clu_times_declared(struct clu *clu, node_t node, int64_t silent_ns)
{
	struct clu_times *t = &clu->times[clu->times_n++ % CLU_TIMES];

	*t = (struct clu_times){
		.node = node,
		.wall_ns = now_ns(CLOCK_REALTIME),
		.silent_ns = silent_ns,
		.declared_ns = now_ns(CLOCK_MONOTONIC),
	};
}

void clu_times_locks(struct clu *clu)
{
	int64_t now = now_ns(CLOCK_MONOTONIC);

	pthread_mutex_lock(&clu->mutex);
	for (unsigned i = 0; i < CLU_TIMES; i++) {
		struct clu_times *t = &clu->times[i];

		if (t->declared_ns && !t->locks_ns)
			t->locks_ns = now;
	}
	pthread_mutex_unlock(&clu->mutex);
}

static long ms(int64_t from, int64_t to)
{
	return (long)((to - from) / NS_PER_MS);
}

void clu_times_replayed(struct clu *clu, node_t node)
{
	struct clu_times seen = { 0 };

	pthread_mutex_lock(&clu->mutex);
	for (unsigned i = 0; i < CLU_TIMES; i++) {
		struct clu_times *t = &clu->times[i];

		if (t->declared_ns && t->node == node && !t->replayed_ns) {
			t->replayed_ns = now_ns(CLOCK_MONOTONIC);
			if (!t->locks_ns) /* declared after S was ours */
				t->locks_ns = t->declared_ns;
			seen = *t;
		}
	}
	pthread_mutex_unlock(&clu->mutex);
	if (!seen.replayed_ns)
		return;
	log_info(clu->log, "recovery",
		 "recovery of a dead node is over node=%u silent_before_declared_ms=%ld locks_ms=%ld "
		 "replayed_ms=%ld",
		 node, seen.silent_ns ? ms(seen.silent_ns, seen.declared_ns) : -1L,
		 ms(seen.declared_ns, seen.locks_ns), ms(seen.declared_ns, seen.replayed_ns));
}

void clu_times_served(void *ctx)
{
	struct clu *clu = ctx;
	long after = -1;

	pthread_mutex_lock(&clu->mutex);
	for (unsigned i = 0; i < CLU_TIMES; i++) {
		struct clu_times *t = &clu->times[i];

		if (!t->replayed_ns || t->served_ns)
			continue;
		t->served_ns = now_ns(CLOCK_MONOTONIC);
		if (ms(t->declared_ns, t->served_ns) > after)
			after = ms(t->declared_ns, t->served_ns);
	}
	pthread_mutex_unlock(&clu->mutex);
	if (after >= 0)
		log_info(clu->log, "recovery",
			 "the first request that waited for a recovery is served served_ms=%ld", after);
}

/* ---- status ------------------------------------------------------------------------ */

static void add_wall(struct json_object *o, int64_t wall_ns)
{
	time_t s = (time_t)(wall_ns / 1000000000);
	char day[32], text[48];
	struct tm tm;

	if (!gmtime_r(&s, &tm) || !strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &tm))
		return;
	snprintf(text, sizeof(text), "%s.%03dZ", day, (int)(wall_ns % 1000000000 / NS_PER_MS));
	json_object_object_add(o, "declared", json_object_new_string(text));
}

static void add_ms(struct json_object *o, const char *key, int64_t from, int64_t to)
{
	if (from && to)
		json_object_object_add(o, key, json_object_new_int64(ms(from, to)));
}

struct json_object *clu_times_json(struct clu *clu)
{
	struct json_object *a = json_object_new_array();
	unsigned n = clu->times_n < CLU_TIMES ? clu->times_n : CLU_TIMES;

	for (unsigned i = clu->times_n - n; i < clu->times_n; i++) {
		const struct clu_times *t = &clu->times[i % CLU_TIMES];
		struct json_object *o = json_object_new_object();

		json_object_object_add(o, "node", json_object_new_int(t->node));
		add_wall(o, t->wall_ns);
		add_ms(o, "silent_before_declared_ms", t->silent_ns, t->declared_ns);
		add_ms(o, "locks_ms", t->declared_ns, t->locks_ns);
		add_ms(o, "replayed_ms", t->declared_ns, t->replayed_ns);
		add_ms(o, "served_ms", t->declared_ns, t->served_ns);
		json_object_array_add(a, o);
	}
	return a;
}
