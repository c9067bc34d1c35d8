/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * clu.c: joining a volume and leaving it (doc/spec/fs-locking.md 6.2, 6.3).
 *
 * Mounting takes a slot under S EX, holds M of its journal EX for as long as the
 * volume is mounted (that tells others that we live), and starts the journal.
 * Unmounting makes the journal clean before it clears the slot (6.3, Deviation), then
 * lets go of everything in the reverse order. What was begun is known from the state
 * itself, so that a mount that fails half way is taken down by the same code.
 */
#include <assert.h>
#include <errno.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>
#include "fs/cluster/clu_int.h"

enum { DOWNCONVERT_WORKERS = 4, FS_PROTO_MAJOR = 1, FS_PROTO_MINOR = 0, SUPER_BLOCK = 2 };

/* ---- small things ----------------------------------------------------------------- */

struct vol *clu_vol(struct clu *clu)
{
	return clu->vol;
}

int clu_slot(const struct clu *clu)
{
	return clu->slot;
}

void clu_kernel_gone(struct clu *clu)
{
	atomic_store_explicit(&clu->kernel_gone, true, memory_order_release);
}

void clu_stop(struct clu *clu)
{
	atomic_store(&clu->stopped, true);
	lc_stop(clu->lc);
}

/* Waiters and later operations fail at once, and nothing is given away any more. */
void clu_cannot_write(struct clu *clu)
{
	bool first = !atomic_exchange(&clu->stopped, true);

	lc_stop(clu->lc);
	if (first && clu->cfg.fence)
		clu->cfg.fence(clu->cfg.fence_ctx,
			       "what other nodes may wait for cannot be written to the volume");
}

int clu_rename_lock(struct clu *clu)
{
	return lc_lock(&clu->r, DLM_MODE_EX, 0);
}

void clu_rename_unlock(struct clu *clu)
{
	lc_unlock(&clu->r, DLM_MODE_EX);
}

int clu_nfs_lock(struct clu *clu, int level)
{
	return lc_lock(&clu->y, level, 0);
}

void clu_nfs_unlock(struct clu *clu, int level)
{
	lc_unlock(&clu->y, level);
}

/* ---- the volume's hooks -------------------------------------------------------------- */

static int hook_lock(void *ctx, struct vol_inode *inode, bool ex)
{
	struct clu *clu = *(struct clu **)ctx;

	return clu ? clu_sys_lock(clu, inode, ex) : 0;
}

static void hook_unlock(void *ctx, struct vol_inode *inode, bool ex)
{
	struct clu *clu = *(struct clu **)ctx;

	if (clu)
		clu_sys_unlock(clu, inode, ex);
}

static void hook_stopped(void *ctx, const char *why, bool panic)
{
	struct clu *clu = *(struct clu **)ctx;

	if (clu && panic)
		clu_stop(clu);
	(void)why;
}

const struct vol_hooks clu_vol_hooks = {
	.sys_lock = hook_lock,
	.sys_unlock = hook_unlock,
	.stopped = hook_stopped,
};

/* ---- domain ------------------------------------------------------------------------------ */

static void evicted(void *ctx, node_t node)
{
	struct clu *clu = ctx;

	clu_recovery_node(clu, node, net_silent_since(clu->net, node));
}

static const struct dlm_domain_ops domain_ops = { .evicted = evicted };

static int join(struct clu *clu, struct reason *why)
{
	struct dlm_domain_config dc = {
		.fs_major = FS_PROTO_MAJOR,
		.fs_minor = FS_PROTO_MINOR,
		.ops = &domain_ops,
		.ctx = clu,
	};
	int err;

	memcpy(dc.name, vol_info(clu->vol)->uuid_str, sizeof(vol_info(clu->vol)->uuid_str));
	err = net_join(clu->net, &dc, &clu->dom, why);
	if (!err)
		dlmlink_set_domain(clu->link, clu->dom);
	return err;
}

static void init_plain(struct clu *clu, struct lc_lock *l, const struct lc_type *type, blkno_t blkno)
{
	uint8_t name[LC_NAME_LEN];

	lockname_text(name, type->letter, blkno, 0);
	lc_init(l, clu->lc, type, name, clu);
}

/* ---- mount ---------------------------------------------------------------------------------- */

struct lc_lock *clu_journal_lock(struct clu *clu, unsigned slot)
{
	return &clu->sys[VOL_SYS_JOURNAL * clu->max_slots + slot].m;
}

static int start_slot(struct clu *clu, bool *replayed, struct reason *why)
{
	int err = clu_slot_choose(clu, why);

	if (err < 0)
		return err;
	clu->slot = err;
	err = clu_slot_write(clu, (unsigned)clu->slot, clu->self);
	if (err)
		return reason_set(why, EXIT_DEVICE, err, "cannot write the slot map: %s; check the device",
				  strerror(-err));
	clu->slot_written = true;
	err = lc_lock(clu_journal_lock(clu, (unsigned)clu->slot), DLM_MODE_EX, LC_IN_RECOVERY);
	if (err)
		return reason_set(why, EXIT_CLUSTER, err,
				  "cannot lock the journal of slot %d: %s; see the messages of the lock "
				  "manager",
				  clu->slot, strerror(-err));
	clu->journal_held = true;
	err = vol_slot_start(clu->vol, (unsigned)clu->slot, replayed, why);
	if (err)
		return reason_set(why, EXIT_JOURNAL, err,
				  "cannot start the journal of slot %d: %s; run fsck.ocfs2", clu->slot,
				  strerror(-err));
	clu->slot_started = true;
	return 0;
}

/* Step 9: a slot's owner that lives holds M of its journal. */
static void find_dead(struct clu *clu)
{
	for (unsigned s = 0; s < clu->max_slots; s++) {
		struct lc_lock *j = clu_journal_lock(clu, s);

		if ((int)s == clu->slot || clu->slots[s] < 0 || clu->slots[s] >= NODE_MAX)
			continue;
		if (lc_lock(j, DLM_MODE_EX, LC_NOQUEUE | LC_IN_RECOVERY))
			continue;
		lc_unlock(j, DLM_MODE_EX);
		clu_recovery_node(clu, (node_t)clu->slots[s], 0);
	}
}

/* Steps 5 to 11, S EX held. */
static int enter(struct clu *clu, struct reason *why)
{
	bool replayed = false;
	int err = start_slot(clu, &replayed, why);

	if (err)
		return err;
	err = clu_recovery_note_generations(clu);
	if (err)
		return reason_set(why, EXIT_JOURNAL, err, "cannot read the journals of all slots: %s; run "
				  "fsck.ocfs2", strerror(-err));
	find_dead(clu);
	for (unsigned s = 0; s < clu->max_slots; s++) {
		if ((int)s == clu->slot)
			clu_house_clean(clu, s, CLU_CLEAN_ORPHANS | CLU_CLEAN_DIO | CLU_CLEAN_LOCAL);
		else if (clu->slots[s] < 0)
			clu_house_clean(clu, s, CLU_CLEAN_ORPHANS);
	}
	if (replayed)
		log_info(clu->log, "mount", "replayed the journal that a crash left slot=%d", clu->slot);
	return 0;
}

static struct clu *alloc(const struct clu_config *cfg)
{
	const struct vol_info *info = vol_info(cfg->vol);
	struct clu *clu = calloc(1, sizeof(*clu));

	if (!clu)
		return NULL;
	clu->cfg = *cfg;
	clu->vol = cfg->vol;
	clu->net = cfg->net;
	clu->log = cfg->log;
	clu->self = net_self(cfg->net);
	clu->slot = -1;
	clu->max_slots = info->max_slots;
	clu->slots = calloc(clu->max_slots, sizeof(*clu->slots));
	clu->recovery_generation = calloc(clu->max_slots, sizeof(*clu->recovery_generation));
	clu->clean_orphans = calloc(clu->max_slots, 1);
	clu->link = dlmlink_new(cfg->net, cfg->log);
	clu->lc = lc_new(&(struct lc_config){ .dlm = &dlmlink_ops,
					      .dlm_ctx = clu->link,
					      .workers = DOWNCONVERT_WORKERS,
					      .resumed = clu_times_served,
					      .resumed_ctx = clu,
					      .log = cfg->log });
	pthread_mutex_init(&clu->mutex, NULL);
	lc_cond_init(&clu->cond);
	clu_itable_init(clu);
	if (clu->slots && clu->recovery_generation && clu->clean_orphans && clu->link && clu->lc) {
		init_plain(clu, &clu->s, &clu_type_s, SUPER_BLOCK);
		init_plain(clu, &clu->r, &clu_type_r, 0);
		init_plain(clu, &clu->y, &clu_type_y, 0);
		init_plain(clu, &clu->p, &clu_type_p, 0);
		if (!clu_sys_init(clu))
			return clu;
	}
	clu->failed_alloc = true;
	return clu;
}

int clu_mount(const struct clu_config *cfg, struct clu **out, struct reason *why)
{
	struct clu *clu = alloc(cfg);
	int err;

	if (!clu || clu->failed_alloc) {
		err = reason_set(why, EXIT_SYSTEM, -ENOMEM, "out of memory while mounting");
		goto take_down;
	}
	err = join(clu, why);
	if (err)
		goto take_down;
	*out = clu; /* the volume's hooks look there */
	err = lc_lock(&clu->s, DLM_MODE_EX, 0);
	if (err) {
		err = reason_set(why, EXIT_CLUSTER, err, "cannot read the slot map: %s; check the device",
				 strerror(-err));
		goto take_down;
	}
	err = enter(clu, why);
	lc_unlock(&clu->s, DLM_MODE_EX);
	if (err)
		goto take_down;
	atomic_store(&clu->mounted, true);
	err = clu_house_start(clu);
	if (!err)
		err = clu_recovery_start(clu);
	if (!err)
		err = clu_scan_start(clu);
	if (!err)
		err = clu_iget(clu, vol_info(clu->vol)->root_blkno, &clu->root);
	if (err) {
		err = reason_set(why, EXIT_CLUSTER, err, "cannot read the root directory: %s; run fsck.ocfs2",
				 strerror(-err));
		goto take_down;
	}
	return 0;
take_down:
	if (clu)
		clu_unmount(clu, false);
	*out = NULL;
	return err;
}

/* ---- unmount ---------------------------------------------------------------------------------- */

static void stop_threads(struct clu *clu)
{
	pthread_mutex_lock(&clu->mutex);
	clu->ending = true;
	pthread_cond_broadcast(&clu->cond);
	pthread_mutex_unlock(&clu->mutex);
	clu_recovery_stop(clu);
	clu_scan_stop(clu);
	clu_house_stop(clu);
}

/* Nobody uses inodes any more, whatever the kernel still counted. */
static void evict_all(struct clu *clu)
{
	struct clu_inode *ci;

	if (clu->slot_started && !atomic_load(&clu->stopped) && vol_checkpoint(clu->vol)) {
		log_err(clu->log, "unmount",
			"the last checkpoint failed; other nodes, or the next mount, replay the journal "
			"slot=%d",
			clu->slot);
		clu_stop(clu);
	}
	while ((ci = clu_itable_take_any(clu)))
		clu_inode_evict(ci);
	clu->root = NULL;
	clu->late = NULL;
}

/* The journal is clean: the slot is free. */
static void leave_slot(struct clu *clu)
{
	int err;

	if (!clu->slot_written || atomic_load(&clu->stopped))
		return;
	err = lc_lock(&clu->s, DLM_MODE_EX, LC_IN_RECOVERY);
	if (!err) {
		err = clu_slot_write(clu, (unsigned)clu->slot, -1);
		lc_unlock(&clu->s, DLM_MODE_EX);
	}
	if (err)
		log_warn(clu->log, "unmount",
			 "slot not given back; the next mount of this node takes it again slot=%d "
			 "errno=%d",
			 clu->slot, -err);
}

/* If the journal cannot be closed, our locks must not be given back: leave like one who
 * died, so that another node replays it before anybody gets them. */
static void stop_slot(struct clu *clu)
{
	bool dirty = atomic_load(&clu->stopped);
	int err = 0;

	if (clu->slot_started)
		err = vol_slot_stop(clu->vol, dirty);
	clu->slot_started = false;
	if (err && !dirty) {
		log_err(clu->log, "unmount",
			"the journal could not be closed; other nodes, or the next mount, replay it "
			"slot=%d errno=%d",
			clu->slot, -err);
		clu_stop(clu);
	}
	if (!err)
		leave_slot(clu);
}

static void drop_locks(struct clu *clu)
{
	struct lc_lock *plain[] = { &clu->s, &clu->r, &clu->y, &clu->p };

	if (clu->journal_held)
		lc_unlock(clu_journal_lock(clu, (unsigned)clu->slot), DLM_MODE_EX);
	clu_sys_drop(clu);
	for (unsigned i = 0; i < sizeof(plain) / sizeof(*plain); i++) {
		if (!plain[i]->lc)
			continue;
		lc_drop(plain[i]);
		lc_destroy(plain[i]);
	}
}

void clu_unmount(struct clu *clu, bool fenced)
{
	clu_kernel_gone(clu);
	if (fenced)
		clu_stop(clu);
	stop_threads(clu);
	if (clu->dom) {
		evict_all(clu);
		stop_slot(clu);
	}
	drop_locks(clu);
	lc_free(clu->lc);
	if (clu->dom && atomic_load(&clu->stopped))
		net_abandon(clu->net);
	else if (clu->dom)
		net_leave(clu->net, clu->dom);
	dlmlink_free(clu->link);
	clu_itable_destroy(clu);
	pthread_mutex_destroy(&clu->mutex);
	pthread_cond_destroy(&clu->cond);
	free(clu->slots);
	free(clu->recovery_generation);
	free(clu->clean_orphans);
	free(clu);
}

/* ---- status ---------------------------------------------------------------------------------------- */

static void add_number(struct json_object *o, const char *key, uint64_t v)
{
	json_object_object_add(o, key, json_object_new_int64((int64_t)v));
}

void clu_status(struct clu *clu, struct json_object *into)
{
	struct json_object *locks = json_object_new_object(), *dead = json_object_new_array();
	struct lc_stats st;

	lc_stats(clu->lc, &st);
	add_number(locks, "total", st.locks);
	add_number(locks, "ex", st.ex);
	add_number(locks, "pr", st.pr);
	add_number(locks, "waited_for_by_others", st.blocked);
	add_number(locks, "local_waiters", st.waiters);
	json_object_object_add(into, "locks", locks);
	pthread_mutex_lock(&clu->mutex);
	for (unsigned n = 0; n < NODE_MAX; n++) {
		if (clu->dead[n])
			json_object_array_add(dead, json_object_new_int((int)n));
	}
	json_object_object_add(into, "recoveries", clu_times_json(clu));
	pthread_mutex_unlock(&clu->mutex);
	json_object_object_add(into, "recovering", dead);
}
