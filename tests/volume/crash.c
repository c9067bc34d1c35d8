/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * crash.c: whatever the moment of a power cut, the volume comes back whole.
 *
 * Threads work on a volume in memory on the recording device: names, data, space, fsync,
 * checkpoints, frees. Then disk states that cuts at random moments can leave are rebuilt;
 * each is mounted again (own replay), and what fsync had acknowledged before the cut must
 * be there with its content. Some are given to fsck.ocfs2 before (its replay), and to
 * fsck.ocfs2 -fn after, which must find nothing.
 *
 * KEEP=1 leaves the files. SEED=n replays a run's choices (not the order of its threads),
 * CUTS=n says how many states of each kind of volume are tried.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "fs/volume/blockdev_record.h"
#include "fs/volume/vol.h"
#include "tests/volume/memdev.h"
#include "tests/volume/orphans.h"
#include "tests/volume/tmpdir.h"

enum { THREADS = 3, FILES = 24, OPS = 250, CLAIMS = 4096, CUTS = 120, FSCKS = 3,
       WIPE_CUTS = 6 };

/* From event `from` on, until `until`, the file has this content. */
struct claim {
	char path[64];
	size_t from, until;
	uint64_t size;
	unsigned seed;
};

struct file {
	bool exists;
	uint64_t size;
	unsigned seed;		/* of its content, 0 .. size */
	struct claim *claim;
};

struct worker {
	pthread_t thread;
	struct vol *v;
	struct blockdev *rec;
	struct vol_inode *dir;
	unsigned n;
	uint64_t random;
	struct file file[FILES];
	struct claim claim[CLAIMS];
	unsigned claims;
	const char *failed;
	int err;
};

static unsigned tests, failures;

static void result(bool ok, const char *what, const char *detail)
{
	printf("%sok %u - %s%s%s\n", ok ? "" : "not ", ++tests, what, ok ? "" : ": ", ok ? "" : detail);
	fflush(stdout);
	failures += !ok;
}

static uint64_t rnd(uint64_t *state, uint64_t below)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15ull);

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return (z ^ z >> 31) % below;
}

static char byte_at(uint64_t off, unsigned seed)
{
	return (char)(off * 2654435761u >> 11 ^ off ^ seed * 131);
}

/* ---- work ---------------------------------------------------------------------------- */

static void name_of(char out[16], unsigned i)
{
	snprintf(out, 16, "f%u", i);
}

/* What was promised for file i ends with the change that starts now. */
static void forget_claim(struct worker *w, unsigned i)
{
	if (w->file[i].claim)
		w->file[i].claim->until = blockdev_record_events(w->rec);
	w->file[i].claim = NULL;
}

static int get(struct worker *w, unsigned i, struct vol_inode **out)
{
	struct vol_found f;
	char name[16];
	int err;

	name_of(name, i);
	err = vol_lookup(w->dir, name, strlen(name), &f);
	if (!err)
		err = vol_iget(w->v, f.blkno, out);
	if (err)
		return err;
	if (!(*out)->loaded)
		err = vol_inode_refresh(*out);
	if (err)
		vol_iput(*out);
	return err;
}

static int op_create(struct worker *w, unsigned i)
{
	struct vol_new what = { .mode = S_IFREG | 0644 };
	struct vol_inode *inode;
	char name[16];
	int err;

	name_of(name, i);
	err = vol_create(w->dir, name, strlen(name), &what, &inode);
	if (err)
		return err;
	vol_iput(inode);
	w->file[i] = (struct file){ .exists = true };
	return 0;
}

static int op_write(struct worker *w, unsigned i)
{
	struct file *f = &w->file[i];
	size_t len = 1 + rnd(&w->random, 60000), done;
	uint64_t off = 0;
	struct vol_inode *inode;
	char *data;
	int err;

	forget_claim(w, i);
	err = get(w, i, &inode);
	if (err)
		return err;
	/* whole content anew, so that a seed describes it */
	if (len < f->size)
		len = f->size;
	f->seed = (unsigned)rnd(&w->random, 1 << 20);
	data = malloc(len);
	for (size_t k = 0; data && k < len; k++)
		data[k] = byte_at(k, f->seed);
	while (data && off < len && !err) {
		uint64_t at = off;

		err = vol_write(inode, data + off, len - off, &at, false, false, &done);
		off += done;
	}
	f->size = len;
	free(data);
	vol_iput(inode);
	return err;
}

static int op_truncate(struct worker *w, unsigned i)
{
	struct file *f = &w->file[i];
	struct vol_inode *inode;
	int err;

	forget_claim(w, i);
	err = get(w, i, &inode);
	if (err)
		return err;
	f->size = f->size ? rnd(&w->random, f->size) : 0;
	err = vol_truncate(inode, f->size);
	vol_iput(inode);
	return err;
}

/* Space at the end and back, or a hole somewhere that is filled again. */
static int op_space(struct worker *w, unsigned i, bool hole)
{
	struct file *f = &w->file[i];
	uint64_t from = hole && f->size ? rnd(&w->random, f->size) : f->size;
	struct vol_inode *inode;
	int err;

	forget_claim(w, i);
	err = get(w, i, &inode);
	if (err)
		return err;
	err = vol_fallocate(inode, from, 1 + rnd(&w->random, 300000),
			    hole ? VOL_FALLOC_PUNCH | VOL_FALLOC_KEEP_SIZE : 0);
	if (!err && !hole)
		err = vol_truncate(inode, f->size);
	vol_iput(inode);
	if (err == -EOPNOTSUPP) /* max-compat */
		err = 0;
	return err || !hole ? err : op_write(w, i);
}

static int op_remove(struct worker *w, unsigned i)
{
	struct vol_inode *inode;
	char name[16];
	int err;

	forget_claim(w, i);
	name_of(name, i);
	err = get(w, i, &inode);
	if (err)
		return err;
	err = vol_unlink(w->dir, name, strlen(name), inode);
	if (!err && rnd(&w->random, 4))
		err = vol_wipe(inode);
	vol_iput(inode);
	w->file[i].exists = false;
	return err;
}

static int op_fsync(struct worker *w, unsigned i)
{
	struct file *f = &w->file[i];
	struct vol_inode *inode;
	int err;

	err = get(w, i, &inode);
	if (err)
		return err;
	err = vol_fsync(inode, rnd(&w->random, 2));
	vol_iput(inode);
	if (!err)
		err = vol_fsync(w->dir, false);
	if (err || f->claim || w->claims == CLAIMS)
		return err;
	f->claim = &w->claim[w->claims++];
	*f->claim = (struct claim){ .from = blockdev_record_events(w->rec), .until = SIZE_MAX,
				    .size = f->size, .seed = f->seed };
	snprintf(f->claim->path, sizeof(f->claim->path), "t%u/f%u", w->n, i);
	return 0;
}

static int op_mkdir(struct worker *w)
{
	struct vol_new what = { .mode = S_IFDIR | 0755 };
	struct vol_inode *dir;
	int err;

	err = vol_create(w->dir, "sub", 3, &what, &dir);
	if (err)
		return err;
	err = vol_unlink(w->dir, "sub", 3, dir);
	if (!err)
		err = vol_wipe(dir);
	vol_iput(dir);
	return err;
}

static int op_global(struct worker *w)
{
	switch (rnd(&w->random, 3)) {
	case 0:
		return vol_checkpoint(w->v);
	case 1:
		return vol_tl_flush(w->v);
	default:
		return vol_sync(w->v);
	}
}

static void *work(void *arg)
{
	struct worker *w = arg;

	for (unsigned k = 0; k < OPS && !w->err; k++) {
		unsigned i = (unsigned)rnd(&w->random, FILES), what = (unsigned)rnd(&w->random, 23);

		w->failed = "create";
		if (!w->file[i].exists)
			w->err = op_create(w, i);
		else if (what < 9)
			w->failed = "write", w->err = op_write(w, i);
		else if (what < 11)
			w->failed = "truncate", w->err = op_truncate(w, i);
		else if (what < 13)
			w->failed = "remove", w->err = op_remove(w, i);
		else if (what < 18)
			w->failed = "fsync", w->err = op_fsync(w, i);
		else if (what < 19)
			w->failed = "mkdir", w->err = op_mkdir(w);
		else if (what < 22)
			w->failed = "fallocate", w->err = op_space(w, i, what != 19);
		else
			w->failed = "sync", w->err = op_global(w);
	}
	return NULL;
}

/* ---- a volume --------------------------------------------------------------------------- */

struct kind {
	const char *name, *mkfs;
};

static const struct kind kinds[] = {
	{ "4K blocks, default features", "64M -b 4K -C 4K" },
	{ "1K blocks, max-features", "64M -b 1K -C 4K --fs-feature-level=max-features" },
	{ "4K blocks, 1M clusters, max-compat",
	  "400M -b 4K -C 1M -J size=9M --fs-feature-level=max-compat" },
};

static char tmp[TMPDIR_MAX];

static int shell(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static int shell(const char *fmt, ...)
{
	char line[1024];
	va_list ap;
	int n, rc;

	n = snprintf(line, sizeof(line), ". " TESTDATA "/volume/mkvol.sh; cd %s && ", tmp);
	va_start(ap, fmt);
	vsnprintf(line + n, sizeof(line) - (size_t)n, fmt, ap);
	va_end(ap);
	rc = system(line);
	return WIFEXITED(rc) ? WEXITSTATUS(rc) : 255;
}

static void emit(struct logger *self, enum log_level level, const char *subsys, const char *line)
{
	(void)self, (void)level;
	printf("# %s: %s\n", subsys, line);
}

static struct logger logger = { .emit = emit, .max = LOG_LVL_ERR };

static int open_volume(struct blockdev *dev, struct vol **v, struct reason *why)
{
	struct vol_opts opts = { .localalloc_mb = -1, .commit_ms = 15, .log = &logger };
	bool replayed;
	int err;

	err = vol_open(dev, &opts, v, why);
	if (err)
		return err;
	err = vol_slot_start(*v, 0, &replayed, why);
	if (!err)
		err = vol_slot_cleanup(*v);
	if (err) {
		vol_close(*v);
		*v = NULL;
	}
	return err;
}

static int make_dir(struct worker *w)
{
	struct vol_new what = { .mode = S_IFDIR | 0755 };
	char name[16];

	snprintf(name, sizeof(name), "t%u", w->n);
	return vol_create(vol_root(w->v), name, strlen(name), &what, &w->dir);
}

/* Run the threads; the volume is left as it is. */
static bool load(struct blockdev *rec, struct worker *w, uint64_t seed)
{
	struct reason why = { 0 };
	bool ok = true;
	struct vol *v;

	if (open_volume(rec, &v, &why)) {
		result(false, "volume opens", why.text);
		return false;
	}
	for (unsigned n = 0; n < THREADS; n++) {
		w[n].v = v;
		w[n].rec = rec;
		w[n].n = n;
		w[n].random = seed + n;
		w[n].err = make_dir(&w[n]);
	}
	for (unsigned n = 0; n < THREADS; n++)
		if (pthread_create(&w[n].thread, NULL, work, &w[n]))
			abort();
	for (unsigned n = 0; n < THREADS; n++) {
		pthread_join(w[n].thread, NULL);
		if (w[n].err) {
			printf("# thread %u: %s: %s\n", n, w[n].failed, strerror(-w[n].err));
			ok = false;
		}
		if (w[n].dir)
			vol_iput(w[n].dir);
	}
	if (vol_slot_stop(v, true))
		ok = false;
	vol_close(v);
	result(ok, "operations succeed", "see above");
	return ok;
}

/* ---- a state -------------------------------------------------------------------------------- */

static int lookup_path(struct vol *v, const char *path, struct vol_inode **out)
{
	struct vol_inode *dir;
	struct vol_found f;
	int err;

	err = vol_lookup(vol_root(v), path, 2, &f);
	if (!err)
		err = vol_iget(v, f.blkno, &dir);
	if (err)
		return err;
	err = dir->loaded ? 0 : vol_inode_refresh(dir);
	if (!err)
		err = vol_lookup(dir, path + 3, strlen(path + 3), &f);
	vol_iput(dir);
	if (!err)
		err = vol_iget(v, f.blkno, out);
	if (err)
		return err;
	err = (*out)->loaded ? 0 : vol_inode_refresh(*out);
	if (err)
		vol_iput(*out);
	return err;
}

static bool check_claim(struct vol *v, const struct claim *c)
{
	struct vol_inode *inode;
	size_t got = 0;
	char *data;
	bool ok;
	int err;

	err = lookup_path(v, c->path, &inode);
	if (err) {
		printf("# %s is gone: %s\n", c->path, strerror(-err));
		return false;
	}
	data = malloc(c->size + 1);
	ok = data && inode->size == c->size && !vol_read(inode, data, c->size, 0, &got) &&
	     got == c->size;
	for (size_t i = 0; ok && i < got; i++)
		ok = data[i] == byte_at(i, c->seed);
	if (!ok)
		printf("# %s: size %llu, %llu were synced, or other bytes\n", c->path,
		       (unsigned long long)inode->size, (unsigned long long)c->size);
	free(data);
	vol_iput(inode);
	return ok;
}

/* Mount the state, see what must be there, unmount cleanly. */
static bool check_state(struct memdev *m, struct worker *w, size_t cut)
{
	struct blockdev *dev = memdev_bd(m);
	struct reason why = { 0 };
	struct vol *v;
	bool ok = true;
	int err;

	err = open_volume(dev, &v, &why);
	if (err) {
		printf("# mounting: %s %s\n", why.text, strerror(-err));
		blockdev_close(dev);
		return false;
	}
	for (unsigned n = 0; n < THREADS; n++)
		for (unsigned i = 0; i < w[n].claims; i++)
			if (w[n].claim[i].from <= cut && w[n].claim[i].until > cut)
				ok &= check_claim(v, &w[n].claim[i]);
	err = orphans_wipe(v);
	if (err)
		printf("# orphans: %s\n", strerror(-err));
	ok &= !err;
	err = vol_slot_stop(v, false);
	if (err)
		printf("# ending: %s\n", strerror(-err));
	vol_close(v);
	blockdev_close(dev);
	return ok && !err;
}

static bool dump(struct memdev *m)
{
	char path[TMPDIR_MAX + 16];

	snprintf(path, sizeof(path), "%s/cut.img", tmp);
	return memdev_dump(m, path);
}

/* Let fsck.ocfs2 replay it. */
static bool replay_by_fsck(struct memdev *m)
{
	char path[TMPDIR_MAX + 16];

	snprintf(path, sizeof(path), "%s/cut.img", tmp);
	return dump(m) && !shell("replayvol cut.img") && memdev_load(m, path);
}

/* fsck.ocfs2 finds nothing in cut.img. */
static bool fsck_content(void)
{
	return !shell("fsckvol cut.img >found; sed 's/^/# /;5q' found; ! grep -q . found");
}

static bool try_cut(struct memdev *m, struct blockdev *rec, struct worker *w, size_t cut,
		    uint64_t seed, bool fsck, bool by_fsck)
{
	bool ok = true;

	memdev_reset(m);
	blockdev_record_rebuild(rec, cut, seed, memdev_put, m);
	if (by_fsck)
		ok = replay_by_fsck(m) && fsck_content();
	ok = check_state(m, w, cut) && ok;
	if (fsck)
		ok = dump(m) && fsck_content() && ok;
	return ok;
}

/* All states of one kind are one result; the first bad one is told, and kept with KEEP. */
static void try_cuts(const struct kind *k, struct memdev *m, struct blockdev *rec,
		     struct worker *w, uint64_t random, unsigned cuts)
{
	size_t events = blockdev_record_events(rec);
	char what[200], detail[120] = "";
	unsigned bad = 0;

	for (unsigned i = 0; i < cuts + 2 * FSCKS; i++) {
		bool fsck = i < 2 * FSCKS, by_fsck = i < FSCKS;
		size_t cut = i == 0 ? events : rnd(&random, events) + 1;
		uint64_t choice = i % 8 == 1 ? 0 : rnd(&random, 1u << 30) + 1;

		if (i % 2)
			cut = blockdev_record_before_flush(rec, cut);
		if (try_cut(m, rec, w, cut, choice, fsck, by_fsck))
			continue;
		printf("# bad: event %zu of %zu, choice %llu%s\n", cut, events,
		       (unsigned long long)choice, by_fsck ? ", replayed by fsck.ocfs2" : "");
		if (!bad++)
			snprintf(detail, sizeof(detail), "first at event %zu of %zu, choice %llu", cut,
				 events, (unsigned long long)choice);
	}
	snprintf(what, sizeof(what), "%s: %u power cuts, %u by fsck.ocfs2's replay", k->name,
		 cuts + 2 * FSCKS, FSCKS);
	result(!bad, what, detail);
}

/* ---- the middle of a wipe ------------------------------------------------------------------ */

/* Two files that take clusters in turn, so that neither has two beside each other. */
static int make_pair(struct vol *v, struct vol_inode *inode[2], unsigned extents)
{
	struct vol_new what = { .mode = S_IFREG | 0644 };
	const char *names[2] = { "left", "right" };
	size_t done;
	int err = 0;

	for (unsigned i = 0; i < 2 && !err; i++)
		err = vol_create(vol_root(v), names[i], strlen(names[i]), &what, &inode[i]);
	for (unsigned i = 0; i < 2 * extents && !err; i++) {
		uint64_t at = i / 2 * 4096ull;

		err = vol_write(inode[i % 2], names[i % 2], 4, &at, false, false, &done);
		if (!err)
			err = vol_fsync(inode[i % 2], false);
	}
	return err;
}

static int wipe(struct vol *v, const char *name, struct vol_inode *inode)
{
	int err = vol_unlink(vol_root(v), name, strlen(name), inode);

	return err ? err : vol_wipe(inode);
}

/*
 * fsck.ocfs2 frees nothing of an orphan whose size is 0, whatever clusters it has, and
 * clears the record that they were to be freed. So between the transactions of a wipe the
 * size must tell that there is more. The truncate log of 512-byte blocks holds 39 records:
 * with 30 in it the wipe of 100 extents has to flush it, and so to commit, before its first
 * step and between all others.
 */
static void try_wipe(struct memdev *m, struct blockdev *rec)
{
	struct vol_inode *inode[2] = { NULL };
	struct reason why = { 0 };
	size_t from = 0, to;
	struct vol *v = NULL;
	unsigned bad = 0;
	int err;

	err = open_volume(rec, &v, &why);
	if (!err)
		err = make_pair(v, inode, 100);
	if (!err)
		err = vol_truncate(inode[0], 70 * 4096);
	if (!err) {
		from = blockdev_record_events(rec);
		err = wipe(v, "right", inode[1]);
	}
	if (!err)
		err = vol_sync(v);
	for (unsigned i = 0; i < 2; i++)
		if (inode[i])
			vol_iput(inode[i]);
	if (v && vol_slot_stop(v, true) && !err)
		err = -EIO;
	if (v)
		vol_close(v);
	to = blockdev_record_events(rec);
	for (unsigned i = 0; i < WIPE_CUTS && !err; i++) {
		size_t cut = from + (to - from) * i / WIPE_CUTS;

		memdev_reset(m);
		blockdev_record_rebuild(rec, blockdev_record_before_flush(rec, cut), 0, memdev_put,
					m);
		bad += !(replay_by_fsck(m) && fsck_content());
	}
	result(!err && !bad, "fsck.ocfs2 ends a wipe that a power cut stopped",
	       err ? strerror(-err) : "see above");
}

static void try_wipes(void)
{
	struct memdev *m = memdev_make("32M -b 512 -C 4K --fs-feature-level=max-features");
	struct blockdev *rec = NULL;

	if (!m || blockdev_record(memdev_bd(m), &rec))
		result(false, "there is memory", "for the wipe");
	else
		try_wipe(m, rec);
	blockdev_close(rec);
	memdev_free(m);
}

static void try_kind(const struct kind *k, uint64_t seed, unsigned cuts)
{
	struct worker *w = calloc(THREADS, sizeof(*w));
	struct memdev *m = memdev_make(k->mkfs);
	struct blockdev *rec = NULL;

	if (!w || blockdev_record(memdev_bd(m), &rec)) {
		result(false, "there is memory", k->name);
	} else {
		load(rec, w, seed);
		try_cuts(k, m, rec, w, seed, cuts);
	}
	blockdev_close(rec);
	memdev_free(m);
	free(w);
}

int main(void)
{
	const char *seed = getenv("SEED"), *cuts = getenv("CUTS"), *keep = getenv("KEEP");
	uint64_t start = seed ? strtoull(seed, NULL, 0) : (uint64_t)getpid();

	if (!tmpdir_make(tmp)) {
		printf("Bail out! no temporary directory\n");
		return 1;
	}
	printf("# SEED=%llu\n", (unsigned long long)start);
	for (unsigned k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++)
		try_kind(&kinds[k], start + k * 1000, cuts ? (unsigned)atoi(cuts) : CUTS);
	try_wipes();
	printf("1..%u\n", tests);
	if (!keep)
		tmpdir_free(tmp);
	return failures != 0;
}
