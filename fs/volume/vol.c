/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vol.c: opening and closing a volume, its state, and what damage does.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include "fs/volume/journal_int.h"

int vol_open(struct blockdev *dev, const struct vol_opts *opts, struct vol **out, struct reason *why)
{
	struct vol *v = calloc(1, sizeof(*v));
	unsigned generation;
	int err;

	if (!v)
		return reason_set(why, EXIT_SYSTEM, -ENOMEM, "out of memory");
	v->dev = dev;
	v->opts = *opts;
	v->log = opts->log;
	v->slot = -1;
	if (getrandom(&generation, sizeof(generation), 0) != sizeof(generation))
		generation = (unsigned)vol_now().tv_nsec;
	atomic_store(&v->next_generation, generation);
	err = super_read(v, why);
	if (!err && (bcache_new(v) || itable_new(v)))
		err = reason_set(why, EXIT_SYSTEM, -ENOMEM, "out of memory");
	if (!err) {
		atomic_store(&v->readonly, opts->readonly || v->info.force_ro || dev->readonly);
		err = sysfile_open(v, why);
	}
	if (err) {
		vol_close(v);
		return err;
	}
	*out = v;
	return 0;
}

void vol_close(struct vol *v)
{
	if (!v)
		return;
	if (v->slot >= 0 && vol_slot_stop(v, true))
		log_debug(v->log, "volume", "closed after an error");
	journal_free(v);
	sysfile_close(v);
	itable_free(v);
	bcache_free(v);
	free(v);
}

const struct vol_info *vol_info(const struct vol *v)
{
	return &v->info;
}

struct blockdev *vol_dev(const struct vol *v)
{
	return v->dev;
}

unsigned vol_slot(const struct vol *v)
{
	return (unsigned)v->slot;
}

bool vol_is_stopped(const struct vol *v)
{
	return atomic_load(&v->stopped);
}

bool vol_readonly(const struct vol *v)
{
	return atomic_load(&v->readonly) || atomic_load(&v->stopped);
}

int vol_set_readonly(struct vol *v, bool ro)
{
	if (!ro && (v->info.force_ro || v->dev->readonly || atomic_load(&v->stopped)))
		return -EROFS;
	atomic_store(&v->readonly, ro);
	/* what was changed until now; handles that are still open end as they began */
	return ro && v->journal ? vol_sync(v) : 0;
}

static void stop(struct vol *v, const char *why)
{
	if (!atomic_exchange(&v->stopped, true) && v->opts.hooks && v->opts.hooks->stopped)
		v->opts.hooks->stopped(v->opts.hooks_ctx, why, v->opts.errors == VOL_ERRORS_PANIC);
}

int vol_damaged(struct vol *v, const char *fmt, ...)
{
	char text[300];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	log_err(v->log, "volume", "damage: %s; unmount everywhere and run fsck.ocfs2", text);
	if (v->opts.errors != VOL_ERRORS_CONTINUE)
		stop(v, text);
	return -EIO;
}

void vol_stop(struct vol *v, const char *why)
{
	log_err(v->log, "volume", "%s; no more is written; the journal is replayed at the next mount",
		why);
	stop(v, why);
}
