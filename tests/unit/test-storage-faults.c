/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test-storage-faults.c: whichever request of an operation the device fails, the
 * operation says so or was not harmed, and nothing that was acknowledged is lost.
 *
 * Each operation runs with the first, second, ... request of a kind failing, until one
 * run ends without meeting the fault. Then the volume is left as by a crash, the cache of
 * the device lost in every second run, and mounted again: what is there must be all of the
 * operation or nothing of it, and all of it if a sync was acknowledged.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "fs/volume/check.h"
#include "fs/volume/vol_int.h"
#include "tests/volume/faultdev.h"
#include "tests/volume/orphans.h"
#include "tests/volume/tmpdir.h"

enum { LIMIT_SEC = 120, TRIES = 400, LONG = 20000 };

static struct memdev *m;
static struct faultdev f;
static struct blockdev *dev;
static struct vol *v;
static struct vol_opts opts;
static unsigned stops, panics;

static void quiet(struct logger *self, enum log_level level, const char *subsys, const char *line)
{
	(void)self, (void)level, (void)subsys, (void)line;
}

static struct logger logger = { .emit = quiet, .max = LOG_LVL_ERR };

static void on_stopped(void *ctx, const char *why, bool panic)
{
	(void)ctx, (void)why;
	stops++;
	panics += panic;
}

static const struct vol_hooks hooks = { .stopped = on_stopped };

/* ---- mounting ----------------------------------------------------------------------- */

static int mount(void)
{
	struct reason why = { 0 };
	bool replayed;
	int err;

	dev = faultdev_bd(&f);
	stops = panics = 0;
	err = vol_open(dev, &opts, &v, &why);
	if (!err)
		err = vol_slot_start(v, 0, &replayed, &why);
	if (!err)
		err = vol_slot_cleanup(v);
	return err;
}

static int leave(bool dirty)
{
	int err = v ? vol_slot_stop(v, dirty) : 0;

	vol_close(v);
	blockdev_close(dev);
	v = NULL;
	dev = NULL;
	return err;
}

/* ---- operations --------------------------------------------------------------------- */

static int get(const char *name, struct vol_inode **out)
{
	struct vol_found found;
	int err = vol_lookup(vol_root(v), name, strlen(name), &found);

	if (!err)
		err = vol_iget(v, found.blkno, out);
	if (err)
		return err;
	err = (*out)->loaded ? 0 : vol_inode_refresh(*out);
	if (err)
		vol_iput(*out);
	return err;
}

static int make(const char *name, uint16_t mode)
{
	struct vol_new what = { .mode = mode };
	struct vol_inode *inode;
	int err = vol_create(vol_root(v), name, strlen(name), &what, &inode);

	if (!err)
		vol_iput(inode);
	return err;
}

static int put(const char *name, uint64_t off, size_t len, char c, int sync)
{
	char *data = malloc(len);
	struct vol_inode *inode;
	size_t done = 0;
	int err = get(name, &inode);

	memset(data, c, len);
	if (!err) {
		err = vol_write(inode, data, len, &off, false, false, &done);
		if (!err && done < len)
			err = -ENOSPC;
		if (!err && sync)
			err = vol_fsync(inode, sync == 2);
		vol_iput(inode);
	}
	free(data);
	return err;
}

static int op_create(void)
{
	return make("new", S_IFREG | 0644);
}

static int op_mkdir(void)
{
	return make("newdir", S_IFDIR | 0755);
}

static int op_write(void)
{
	return put("small", 8192, LONG, 'w', 0);
}

static int op_append(void)
{
	return put("long", LONG, LONG, 'a', 1);
}

static int op_checkpoint(void)
{
	int err = op_create();

	return err ? err : vol_checkpoint(v);
}

static int op_truncate(void)
{
	struct vol_inode *inode;
	int err = get("long", &inode);

	if (err)
		return err;
	err = vol_truncate(inode, 8192);
	vol_iput(inode);
	return err;
}

static int op_unlink(void)
{
	struct vol_inode *inode;
	int err = get("long", &inode);

	if (err)
		return err;
	err = vol_unlink(vol_root(v), "long", 4, inode);
	vol_iput(inode);
	return err;
}

static int op_rename(void)
{
	struct vol_rename r = { .old_dir = vol_root(v), .new_dir = vol_root(v), .old_name = "small",
				.new_name = "long", .old_len = 5, .new_len = 4 };
	int err = get("small", &r.inode);

	if (err)
		return err;
	err = get("long", &r.target);
	if (!err) {
		err = vol_rename(&r);
		vol_iput(r.target);
	}
	vol_iput(r.inode);
	return err;
}

/* ---- what is there -------------------------------------------------------------------- */

struct sight {
	char text[2000];
	size_t len;
};

static bool note_name(void *ctx, const char *name, size_t len, blkno_t blkno, uint8_t type,
		      uint64_t next)
{
	struct sight *s = ctx;

	(void)blkno, (void)next;
	s->len += (size_t)snprintf(s->text + s->len, sizeof(s->text) - s->len, "%.*s:%u\n", (int)len,
				   name, type);
	return true;
}

static int note_file(struct sight *s, const char *name)
{
	struct vol_inode *inode;
	uint32_t sum = 0;
	char *data;
	size_t got;
	int err = get(name, &inode);

	if (err)
		return err == -ENOENT ? 0 : err;
	data = calloc(1, inode->size + 1);
	err = vol_read(inode, data, inode->size, 0, &got);
	for (size_t i = 0; !err && i < got; i++)
		sum = sum * 31 + (uint8_t)data[i];
	s->len += (size_t)snprintf(s->text + s->len, sizeof(s->text) - s->len, "%s %llu %zu %u %u\n",
				   name, (unsigned long long)inode->size, got, sum, inode->nlink);
	free(data);
	vol_iput(inode);
	return err;
}

static int look(struct sight *s)
{
	static const char *const names[] = { "long", "small", "new", "kept" };
	int err;

	memset(s, 0, sizeof(*s));
	err = vol_readdir(vol_root(v), 0, note_name, s);
	for (unsigned i = 0; i < 4 && !err; i++)
		err = note_file(s, names[i]);
	return err;
}

static void fsck(void)
{
	char dir[TMPDIR_MAX], line[3 * TMPDIR_MAX], path[TMPDIR_MAX + 8];
	int rc;

	cr_assert(tmpdir_make(dir));
	snprintf(path, sizeof(path), "%s/v.img", dir);
	cr_assert(memdev_dump(m, path));
	snprintf(line, sizeof(line), ". " TESTDATA "/volume/mkvol.sh; fsckvol %s >&2", path);
	rc = system(line);
	tmpdir_free(dir);
	cr_assert_eq(rc, 0, "fsck.ocfs2 finds damage");
}

/* ---- the volume that all tries start from ------------------------------------------------ */

static void setup(void)
{
	alarm(LIMIT_SEC); /* a hang fails the test */
	opts = (struct vol_opts){ .localalloc_mb = -1, .commit_ms = 1000 * LIMIT_SEC, .log = &logger,
				  .hooks = &hooks };
	m = memdev_make("64M -b 4K -C 4K --fs-feature-level=max-features");
	faultdev_init(&f, m);
	cr_assert_eq(mount(), 0);
	cr_assert_eq(make("long", S_IFREG | 0644), 0);
	cr_assert_eq(make("small", S_IFREG | 0644), 0);
	cr_assert_eq(make("kept", S_IFREG | 0644), 0);
	cr_assert_eq(put("long", 0, LONG, 'l', 1), 0);
	cr_assert_eq(put("small", 0, 50, 's', 1), 0);
	cr_assert_eq(put("kept", 0, LONG, 'k', 1), 0);
	cr_assert_eq(leave(false), 0);
	faultdev_end(&f, true);
	memdev_keep(m);
}

static void teardown(void)
{
	faultdev_end(&f, false);
	memdev_free(m);
}

TestSuite(faults, .init = setup, .fini = teardown);

/* The operation alone: what it makes of the volume. */
static void without_fault(int (*op)(void), struct sight *before, struct sight *after)
{
	memdev_reset(m);
	cr_assert_eq(mount(), 0);
	cr_assert_eq(look(before), 0);
	cr_assert_eq(op(), 0);
	cr_assert_eq(look(after), 0);
	cr_assert_eq(leave(true), 0);
	faultdev_end(&f, false);
}

/* Stopped: everything that changes is refused, and not a byte leaves. */
static void check_stopped(void)
{
	unsigned writes = f.writes;

	cr_assert_eq(stops, 1, "told %u times", stops);
	cr_assert_eq(panics, opts.errors == VOL_ERRORS_PANIC);
	cr_assert_neq(make("x", S_IFREG | 0644), 0);
	cr_assert_neq(put("kept", 0, 10, 'x', 0), 0);
	cr_assert_eq(vol_sync(v), -EIO);
	cr_assert_eq(vol_checkpoint(v) == 0 && f.writes != writes, false);
	cr_assert_neq(leave(false), 0);
	cr_assert_eq(f.writes, writes, "written after the stop");
}

/* Mount what the crash left; all or nothing of the operation, then a clean end. */
static void check_left(const struct sight *before, const struct sight *after, bool acknowledged,
		       const char *what)
{
	struct sight s;

	cr_assert_eq(mount(), 0, "%s: mount", what);
	cr_assert_eq(look(&s), 0, "%s: reading", what);
	if (strcmp(s.text, after->text))
		cr_assert(!acknowledged && !strcmp(s.text, before->text), "%s (acknowledged: %d)\n%s",
			  what, acknowledged, s.text);
	cr_assert_eq(orphans_wipe(v), 0, "%s: orphans", what);
	cr_assert_eq(leave(false), 0, "%s: unmount", what);
	faultdev_end(&f, true);
}

/* One run. False: the fault was not met. */
static bool try_one(int (*op)(void), enum fault kind, unsigned n, const struct sight *before,
		    const struct sight *after)
{
	bool met, acknowledged;
	char what[60];
	struct sight s;
	int err, sync, again;

	snprintf(what, sizeof(what), "fault %d at %u", kind, n);
	memdev_reset(m);
	cr_assert_eq(mount(), 0);
	faultdev_arm(&f, kind, n);
	err = op();
	sync = vol_sync(v);
	met = f.met;
	if (!met)
		faultdev_arm(&f, FAULT_NONE, 0);
	cr_assert(err <= 0 && sync <= 0);
	cr_assert(met || (!err && !sync), "%s: %d, %d without a fault", what, err, sync);
	if (kind == FAULT_DELAY)
		cr_assert(!err && !sync, "%s: slow is no error", what);
	again = vol_sync(v);
	acknowledged = !err && (!sync || !again);
	if (kind != FAULT_GONE && !vol_is_stopped(v)) {
		cr_assert_eq(look(&s), 0, "%s: reading", what);
		cr_assert_str_eq(s.text, err ? before->text : after->text, "%s: in memory", what);
	}
	if (vol_is_stopped(v))
		check_stopped();
	else
		(void)!leave(true);
	faultdev_end(&f, n % 2);
	check_left(before, after, acknowledged, what);
	if ((kind == FAULT_WRITE && n == 3) || (kind == FAULT_FLUSH && n == 0))
		fsck();
	return met;
}

static void try_all(int (*op)(void))
{
	struct sight before, after;
	unsigned n;

	without_fault(op, &before, &after);
	for (enum fault kind = FAULT_READ; kind < FAULT_KINDS; kind++) {
		opts.errors = (enum vol_errors)(kind % 3);
		for (n = 0; n < TRIES && try_one(op, kind, n, &before, &after); n++)
			;
		cr_assert_lt(n, TRIES);
		cr_assert(n > 0 || kind == FAULT_READ, "fault %d was never met", kind);
	}
}

/* try_one ends each operation with a sync. */
Test(faults, a_create_is_whole_or_refused)
{
	try_all(op_create);
}

Test(faults, a_mkdir_is_whole_or_refused)
{
	try_all(op_mkdir);
}

Test(faults, a_write_is_whole_or_refused)
{
	try_all(op_write);
}

Test(faults, a_truncate_is_whole_or_refused)
{
	try_all(op_truncate);
}

Test(faults, an_unlink_is_whole_or_refused)
{
	try_all(op_unlink);
}

Test(faults, a_rename_is_whole_or_refused)
{
	try_all(op_rename);
}

Test(faults, an_fsync_that_was_acknowledged_holds)
{
	try_all(op_append);
}

Test(faults, a_checkpoint_loses_nothing)
{
	try_all(op_checkpoint);
}

/* The cache of a device that failed a flush is gone: trying again does not bring it back. */
Test(faults, a_failed_fdatasync_is_not_acknowledged_by_the_next)
{
	struct vol_inode *inode;
	struct sight s, after;

	cr_assert_eq(mount(), 0);
	cr_assert_eq(get("long", &inode), 0);
	cr_assert_eq(put("long", 0, LONG, 'n', 1), 0); /* older changes are durable */
	cr_assert_eq(put("long", 0, LONG, 'o', 0), 0);
	cr_assert_eq(look(&after), 0);
	faultdev_arm(&f, FAULT_FLUSH, 0);
	cr_assert_eq(vol_fsync(inode, true), -EIO);
	cr_assert(f.met);
	if (!vol_fsync(inode, true) || !vol_fsync(inode, false) || !vol_sync(v)) {
		vol_iput(inode);
		(void)!leave(true);
		faultdev_end(&f, true);
		cr_assert_eq(mount(), 0);
		cr_assert_eq(look(&s), 0);
		cr_assert_str_eq(s.text, after.text, "acknowledged and lost");
		cr_assert_eq(leave(false), 0);
		return;
	}
	vol_iput(inode);
	check_stopped();
}

/* ---- reading --------------------------------------------------------------------------- */

Test(faults, reading_gives_the_truth_or_an_error_and_never_writes)
{
	static const enum fault kinds[] = { FAULT_READ, FAULT_GONE, FAULT_DELAY };
	struct sight before, s;
	unsigned n, met = 0;

	cr_assert_eq(mount(), 0);
	cr_assert_eq(look(&before), 0);
	cr_assert_eq(leave(false), 0);
	for (unsigned k = 0; k < 3; k++)
		for (n = 0; n < TRIES; n++) {
			int err;

			cr_assert_eq(mount(), 0);
			faultdev_arm(&f, kinds[k], n);
			err = look(&s);
			cr_assert_eq(f.writes, 0, "reading wrote");
			cr_assert(err ? f.met : !strcmp(s.text, before.text));
			cr_assert(!f.met || kinds[k] == FAULT_DELAY || err, "an error was swallowed");
			met += f.met;
			if (f.met && kinds[k] == FAULT_READ) {
				cr_assert(!vol_is_stopped(v), "a read that fails is no damage");
				cr_assert_eq(look(&s), 0);
				cr_assert_str_eq(s.text, before.text);
			}
			(void)!leave(kinds[k] == FAULT_GONE);
			n = f.met ? n : TRIES;
			faultdev_end(&f, false);
		}
	cr_assert_gt(met, 10);
}

/* ---- mounting with a log to replay ---------------------------------------------------------- */

Test(faults, a_replay_that_fails_can_be_done_again)
{
	struct sight after;

	cr_assert_eq(mount(), 0);
	cr_assert_eq(op_append(), 0);
	cr_assert_eq(op_rename(), 0);
	cr_assert_eq(op_mkdir(), 0);
	cr_assert_eq(vol_sync(v), 0);
	cr_assert_eq(look(&after), 0);
	cr_assert_eq(leave(true), 0);
	faultdev_end(&f, true);
	memdev_keep(m);
	for (enum fault kind = FAULT_READ; kind < FAULT_KINDS; kind++)
		for (unsigned n = 0;; n++) {
			char what[60];
			bool met;
			int err;

			cr_assert_lt(n, TRIES);
			snprintf(what, sizeof(what), "mount: fault %d at %u", kind, n);
			memdev_reset(m);
			faultdev_arm(&f, kind, n);
			err = mount();
			met = f.met;
			if (!met)
				faultdev_arm(&f, FAULT_NONE, 0);
			if (!met || kind == FAULT_DELAY)
				cr_assert_eq(err, 0, "%s: %d", what, err);
			else if (kind != FAULT_READ) /* the log is read again, block by block */
				cr_assert_lt(err, 0, "%s: error swallowed", what);
			(void)!leave(true);
			faultdev_end(&f, n % 2);
			check_left(&after, &after, true, what);
			if (!met)
				break;
			if (kind == FAULT_WRITE && n == 3)
				fsck();
		}
}

/* ---- errors= ---------------------------------------------------------------------------------- */

static void check_damage(enum vol_errors errors, bool stop)
{
	uint8_t block[4096];
	blkno_t root;

	memdev_reset(m);
	opts.errors = errors;
	cr_assert_eq(mount(), 0);
	root = vol_info(v)->root_blkno;
	memcpy(block, m->data + root * 4096, 4096);
	block[0] ^= 0xff; /* the signature; the checksum is right */
	blk_seal(v, block, offsetof(struct ocfs2_dinode, i_check));
	memdev_poke(m, root * 4096, block, 4096);
	faultdev_arm(&f, FAULT_NONE, 0);
	cr_assert_eq(vol_inode_refresh(vol_root(v)), -EIO);
	cr_assert_eq(f.writes, 0);
	cr_assert_eq(vol_is_stopped(v), stop);
	cr_assert_eq(stops, stop);
	cr_assert_eq(panics, errors == VOL_ERRORS_PANIC);
	(void)!leave(true);
	cr_assert_eq(f.writes, 0, "written after damage");
}

Test(faults, damage_does_what_errors_says)
{
	check_damage(VOL_ERRORS_RO, true);
	check_damage(VOL_ERRORS_CONTINUE, false);
	check_damage(VOL_ERRORS_PANIC, true);
}
