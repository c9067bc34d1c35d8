/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ace.c: all pairs and sampled triples of operations, a power cut at every flush and
 * between them; each state is mounted (replay) and compared with what may be there.
 *
 *	STATES=n (10000)	so many on the first kind of volume, an eighth on the second
 *	SEED=n			of what is sampled: triples, lost and torn writes
 *	FSCKS=n (24)		so many states are given to fsck.ocfs2 -fn after their replay
 *
 * The last line says how many states were checked.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include "fs/volume/blockdev_record.h"
#include "tests/crash/ace.h"
#include "tests/volume/memdev.h"
#include "tests/volume/orphans.h"
#include "tests/volume/tmpdir.h"

struct workload {
	struct ace_op op[STEPS];
	unsigned n;
	struct ace_state after[STEPS + 1];	/* [0]: before the first */
	size_t begins[STEPS + 1], ends[STEPS + 1]; /* events before and after step i, from 1 */
	unsigned promise[STEPS + 1];		/* when step i has ended this snapshot is durable */
};

struct ace {
	struct memdev *m;
	struct workload *w;
	struct ace_state *seen;
	uint64_t random;
	unsigned workloads, states, failed, fscks, max_fscks;
	char tmp[TMPDIR_MAX];
};

static uint64_t rnd(uint64_t *state, uint64_t below)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15ull);

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return (z ^ z >> 31) % below;
}

static void emit(struct logger *self, enum log_level level, const char *subsys, const char *line)
{
	(void)self, (void)level;
	printf("# %s: %s\n", subsys, line);
}

static struct vol *mount_it(struct blockdev *dev)
{
	static struct logger logger = { .emit = emit, .max = LOG_LVL_ERR };
	struct vol_opts opts = { .localalloc_mb = -1, .log = &logger };
	struct reason why = { 0 };
	struct vol *v = NULL;
	bool replayed;
	int err = vol_open(dev, &opts, &v, &why);

	if (!err)
		err = vol_slot_start(v, 0, &replayed, &why);
	if (!err)
		err = vol_slot_cleanup(v);
	if (!err)
		return v;
	printf("# mounting: %s %s\n", why.text, strerror(-err));
	if (v)
		vol_close(v);
	return NULL;
}

/* ---- a workload -------------------------------------------------------------------- */

static void tell(const struct workload *w)
{
	char buf[200];

	for (unsigned i = 0; i < w->n; i++)
		printf("#   %s\n", ace_text(&w->op[i], buf, sizeof(buf)));
}

/* Add a step if the model can do it, with what it makes durable: everything up to the
 * last change of what was synced, since transactions reach the disk in order. */
static bool add(struct workload *w, const struct ace_op *op)
{
	unsigned step = w->n + 1;

	if (step > STEPS)
		return false;
	w->after[step] = w->after[w->n];
	if (!ace_apply(&w->after[step], op, step))
		return false;
	w->op[w->n] = *op;
	w->promise[step] = w->promise[w->n];
	if (op->kind == A_SYNC)
		w->promise[step] = w->n;
	for (unsigned i = w->n; op->kind == A_FSYNC && i > w->promise[step]; i--)
		if (ace_touches(&w->op[i - 1], &w->after[i - 1], op->path))
			w->promise[step] = i;
	w->n = step;
	return true;
}

static bool run(struct ace *a, struct blockdev *rec)
{
	struct workload *w = a->w;
	struct vol *v = mount_it(rec);
	int err = v ? 0 : -1;

	for (unsigned i = 1; i <= w->n && !err; i++) {
		w->begins[i] = blockdev_record_events(rec);
		err = ace_do(v, &w->op[i - 1], i);
		w->ends[i] = blockdev_record_events(rec);
		if (err)
			printf("# step %u fails: %s\n", i, strerror(-err));
	}
	if (v) {
		if (vol_slot_stop(v, true))
			err = -1;
		vol_close(v);
	}
	return !err;
}

/* ---- a state ------------------------------------------------------------------------ */

/*
 * Each byte is that of a snapshot in the range. Where one of them ends before it, it may be
 * zero: a truncation clears the rest of its last cluster before the new size is durable.
 */
static bool data_matches(const struct workload *w, unsigned lo, unsigned hi, int node,
			 const struct ace_node *seen)
{
	for (uint32_t i = 0; i < seen->size; i++) {
		bool good = false;

		for (unsigned q = lo; q <= hi && !good; q++)
			good = (unsigned)node < w->after[q].nodes &&
			       seen->data[i] == (i < w->after[q].n[node].size ?
						 w->after[q].n[node].data[i] : 0);
		if (!good)
			return false;
	}
	return true;
}

static bool snapshot_matches(const struct workload *w, unsigned lo, unsigned hi, unsigned p,
			     const struct ace_state *seen)
{
	const struct ace_state *s = &w->after[p];

	for (int i = 0; i < PATHS; i++) {
		const struct ace_node *n, *got;

		if ((s->node[i] < 0) != (seen->node[i] < 0))
			return false;
		if (s->node[i] < 0)
			continue;
		for (int k = 0; k < i; k++)
			if (s->node[k] >= 0 && (s->node[k] == s->node[i]) !=
					       (seen->node[k] == seen->node[i]))
				return false;
		n = &s->n[s->node[i]];
		got = &seen->n[seen->node[i]];
		if (n->dir != got->dir || n->nlink != got->nlink || n->size != got->size ||
		    !data_matches(w, lo, hi, s->node[i], got))
			return false;
	}
	return true;
}

static bool fsck(struct ace *a)
{
	char path[TMPDIR_MAX + 16], line[1200];
	int rc;

	snprintf(path, sizeof(path), "%s/cut.img", a->tmp);
	snprintf(line, sizeof(line), ". " TESTDATA "/volume/mkvol.sh; cd %s && fsckvol cut.img >found; "
		 "rc=$?; sed 's/^/# /' found; exit $rc", a->tmp);
	if (!memdev_dump(a->m, path))
		return false;
	rc = system(line);
	return WIFEXITED(rc) && !WEXITSTATUS(rc);
}

/* The device holds the state. lo, hi: the range of snapshots. */
static bool check(struct ace *a, unsigned lo, unsigned hi)
{
	struct blockdev *dev = memdev_bd(a->m);
	struct vol *v = mount_it(dev);
	bool ok = v != NULL;
	int err;

	if (v) {
		unsigned p = lo;

		err = ace_observe(v, a->seen);
		while (!err && p <= hi && !snapshot_matches(a->w, lo, hi, p, a->seen))
			p++;
		if (err)
			printf("# looking: %s\n", strerror(-err));
		else if (p > hi)
			printf("# the tree is that of no snapshot from %u to %u\n", lo, hi);
		ok = !err && p <= hi;
		err = orphans_wipe(v);
		if (vol_slot_stop(v, false) || err)
			ok = false;
		vol_close(v);
	}
	blockdev_close(dev);
	return ok;
}

static bool try_cut(struct ace *a, struct blockdev *rec, size_t cut, uint64_t choice)
{
	const struct workload *w = a->w;
	unsigned lo = 0, hi = 0;
	bool ok, look;

	for (unsigned i = 1; i <= w->n; i++) {
		if (w->ends[i] <= cut)
			lo = w->promise[i];
		if (w->begins[i] < cut)
			hi = i;
	}
	memdev_reset(a->m);
	blockdev_record_rebuild(rec, cut, choice, memdev_put, a->m);
	ok = check(a, lo, hi);
	a->states++;
	look = a->fscks < a->max_fscks && a->states >= a->fscks * 400;
	if (look) {
		a->fscks++;
		ok = fsck(a) && ok;
	}
	if (ok)
		return true;
	printf("# bad: workload %u, cut after %zu of %zu events, choice %llu\n", a->workloads, cut,
	       blockdev_record_events(rec), (unsigned long long)choice);
	tell(w);
	a->failed++;
	return false;
}

/* Every flush: just before it with all, none and some of what it would cover, and after. */
static void try_workload(struct ace *a)
{
	size_t at = 0, end;
	struct blockdev *rec;

	a->workloads++;
	memdev_reset(a->m);
	if (blockdev_record(memdev_bd(a->m), &rec))
		abort();
	if (!run(a, rec)) {
		a->failed++;
		tell(a->w);
	} else {
		end = blockdev_record_events(rec);
		at = a->w->begins[1];
		while (at <= end) {
			size_t flush = blockdev_record_before_flush(rec, at);

			for (int k = 0; k < 2; k++)
				try_cut(a, rec, flush, rnd(&a->random, 1u << 30) + 1);
			if (flush > at + 1)
				try_cut(a, rec, at + rnd(&a->random, flush - at),
					rnd(&a->random, 1u << 30) + 1);
			if (flush < end)
				try_cut(a, rec, flush + 1, 0);
			at = flush + 1;
		}
	}
	blockdev_close(rec);
}

/* ---- which --------------------------------------------------------------------------- */

static void begin(struct workload *w)
{
	w->n = 0;
	w->promise[0] = 0;
	ace_base(&w->after[0]);
}

/* ops, the bits of syncs saying after which a sync comes; the last is always durable. */
static bool build(struct workload *w, const unsigned *ops, unsigned n, unsigned syncs)
{
	static const struct ace_op sync = { A_SYNC, 0, -1, 0, 0 };
	bool ok = true;

	begin(w);
	for (unsigned i = 0; i < n && ok; i++) {
		ok = add(w, &ace_ops[ops[i]]);
		if (ok && i + 1 < n && syncs >> i & 1)
			ok = add(w, &sync);
	}
	return ok && add(w, &sync);
}

static bool enough(const struct ace *a, unsigned states)
{
	return a->states >= states || a->failed >= 5;
}

static void all_pairs(struct ace *a, unsigned states)
{
	for (unsigned i = 0; i < ace_ops_n; i++)
		for (unsigned j = 0; j < ace_ops_n; j++)
			for (unsigned syncs = 0; syncs < 2 && !enough(a, states); syncs++) {
				unsigned ops[] = { i, j };

				if (build(a->w, ops, 2, syncs))
					try_workload(a);
			}
}

static void triples(struct ace *a, unsigned states)
{
	while (!enough(a, states)) {
		unsigned ops[3], syncs = (unsigned)rnd(&a->random, 4);

		for (int i = 0; i < 3; i++)
			ops[i] = (unsigned)rnd(&a->random, ace_ops_n);
		if (build(a->w, ops, 3, syncs))
			try_workload(a);
	}
}

static unsigned number(const char *name, unsigned dflt)
{
	const char *s = getenv(name);

	return s && *s ? (unsigned)strtoul(s, NULL, 0) : dflt;
}

static void prepare(struct ace *a, const char *mkfs)
{
	struct blockdev *dev;
	struct vol *v;

	a->m = memdev_make(mkfs);
	dev = memdev_bd(a->m);
	v = mount_it(dev);
	if (!v || ace_make_base(v) || vol_slot_stop(v, false)) {
		printf("Bail out! the tree cannot be made\n");
		exit(1);
	}
	vol_close(v);
	blockdev_close(dev);
	memdev_keep(a->m);
}

int main(void)
{
	static const char *const kinds[] = {
		"40M -b 4K -C 4K -J size=4M", "40M -b 1K -C 4K -J size=4M --fs-feature-level=max-features",
	};
	unsigned states = number("STATES", 10000), seed = number("SEED", 1), done = 0, bad = 0;
	struct ace a = { .max_fscks = number("FSCKS", 24) / 2 };

	a.w = calloc(1, sizeof(*a.w));
	a.seen = calloc(1, sizeof(*a.seen));
	if (!a.w || !a.seen || !tmpdir_make(a.tmp))
		return 1;
	for (unsigned k = 0; k < 2; k++) {
		a.states = a.failed = a.fscks = 0;
		a.random = seed + k;
		prepare(&a, kinds[k]);
		if (k == 0)
			all_pairs(&a, states);
		triples(&a, k == 0 ? states : states / 8);
		printf("%sok %u - %u states of %s, %u of them seen by fsck.ocfs2\n", a.failed ? "not " : "",
		       k + 1, a.states, kinds[k], a.fscks);
		fflush(stdout);
		done += a.states;
		bad += a.failed;
		memdev_free(a.m);
	}
	tmpdir_free(a.tmp);
	free(a.w);
	free(a.seen);
	printf("1..2\n# seed=%u workloads=%u states=%u failed=%u\n", seed, a.workloads, done, bad);
	return bad != 0;
}
