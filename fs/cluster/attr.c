/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * attr.c: attributes, under M (doc/spec/fs-locking.md 4.3).
 *
 * A reply is sent while M is held, so that validity given to the kernel ends before
 * the lock can go (12.3). A change of size takes W before M, so that no I/O of
 * another node is in the middle of the file.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include "fs/cluster/clu_int.h"

static void fill(struct clu_inode *ci, struct clu_attr *a)
{
	const struct vol_inode *vi = ci->vi;

	*a = (struct clu_attr){
		.blkno = vi->blkno,
		.mode = vi->mode,
		.uid = vi->uid,
		.gid = vi->gid,
		.nlink = vi->nlink,
		.generation = vi->generation,
		.size = vi->size,
		.blocks512 = vol_stat_blocks(vi),
		.rdev = vi->rdev,
		.blksize = 1u << vol_info(vi->vol)->clustersize_bits,
		.atime = vi->atime,
		.mtime = vi->mtime,
		.ctime = vi->ctime,
	};
}

bool clu_is_dir(struct clu_inode *ci)
{
	bool is;

	pthread_rwlock_rdlock(&ci->vi->sem);
	is = S_ISDIR(ci->vi->mode);
	pthread_rwlock_unlock(&ci->vi->sem);
	return is;
}

uint32_t clu_links(struct clu_inode *ci)
{
	uint32_t n;

	pthread_rwlock_rdlock(&ci->vi->sem);
	n = ci->vi->nlink;
	pthread_rwlock_unlock(&ci->vi->sem);
	return n;
}

void clu_attr_reply(struct clu_inode *ci, clu_attr_fn reply, void *ctx)
{
	struct clu_attr a;

	/* M does not keep out other tasks of this node. */
	pthread_rwlock_rdlock(&ci->vi->sem);
	fill(ci, &a);
	pthread_rwlock_unlock(&ci->vi->sem);
	reply(ctx, ci, &a);
}

int clu_getattr(struct clu_inode *ci, clu_attr_fn reply, void *ctx)
{
	int err = clu_mlock(ci, DLM_MODE_PR, 0);

	if (err)
		return err;
	clu_attr_reply(ci, reply, ctx);
	clu_munlock(ci, DLM_MODE_PR);
	return 0;
}

/* Set-id bits go when somebody else may have changed the file: suid always, sgid
 * where the group may execute (without it the bit means mandatory locking). */
static void kill_suid(struct clu_inode *ci, struct vol_setattr *what)
{
	uint16_t mode = what->valid & VOL_SET_MODE ? what->mode : ci->vi->mode;
	uint16_t killed = mode & (uint16_t)~S_ISUID;

	if (!S_ISREG(mode))
		return;
	if (mode & S_IXGRP)
		killed &= (uint16_t)~S_ISGID;
	if (killed != mode) {
		what->valid |= VOL_SET_MODE;
		what->mode = killed;
	}
}

int clu_setattr(struct clu_inode *ci, const struct clu_setattr *what, clu_attr_fn reply, void *ctx)
{
	struct vol_setattr set = what->vol;
	/* While it is unanswered no dirty page is sent, for which M may wait (pages.c). */
	unsigned flags = what->set_size ? LC_PRESENT : 0;
	int err;

	if (what->set_size) {
		err = clu_wlock(ci, DLM_MODE_EX, flags);
		if (err < 0)
			return err;
	}
	err = clu_mlock(ci, DLM_MODE_EX, flags);
	if (err < 0)
		goto drop_w;
	err = 0;
	if (what->kill_suid)
		kill_suid(ci, &set);
	if (set.valid & VOL_SET_MODE)
		set.mode = (uint16_t)((ci->vi->mode & S_IFMT) | (set.mode & 07777));
	if (what->set_size || set.valid & (VOL_SET_UID | VOL_SET_GID))
		err = clu_xattr_written(ci);
	if (!err && what->set_size)
		err = vol_truncate(ci->vi, what->size);
	if (!err && set.valid & VOL_SET_MODE)
		err = clu_acl_chmod(ci, set.mode);
	if (!err && set.valid)
		err = vol_setattr(ci->vi, &set);
	if (!err)
		clu_attr_reply(ci, reply, ctx);
	clu_munlock(ci, DLM_MODE_EX);
drop_w:
	if (what->set_size)
		clu_wunlock(ci, DLM_MODE_EX);
	return err;
}

static bool later(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec > b->tv_sec || (a->tv_sec == b->tv_sec && a->tv_nsec > b->tv_nsec);
}

/* Attributes are looked at without a lock: a wrong answer costs one lock, or is put
 * right by the next access. */
static bool atime_due(const struct clu_inode *ci, const struct timespec *now)
{
	const struct clu_config *cfg = &ci->clu->cfg;
	const struct vol_inode *vi = ci->vi;

	if (cfg->atime == CLU_ATIME_NONE || vol_readonly(vi->vol) ||
	    (cfg->nodiratime && S_ISDIR(vi->mode)))
		return false;
	if (cfg->atime == CLU_ATIME_RELATIME)
		return !later(&vi->atime, &vi->mtime) || !later(&vi->atime, &vi->ctime);
	return now->tv_sec - vi->atime.tv_sec >= cfg->atime_quantum_s;
}

void clu_accessed(struct clu_inode *ci)
{
	struct vol_setattr set = { .valid = VOL_SET_ATIME };

	clock_gettime(CLOCK_REALTIME, &set.atime);
	if (!atime_due(ci, &set.atime) || clu_mlock(ci, DLM_MODE_EX, 0))
		return;
	/* Again: another host may have written it meanwhile. */
	if (atime_due(ci, &set.atime) && ci->vi->nlink && vol_setattr(ci->vi, &set))
		log_debug(ci->clu->log, "attr", "atime not written inode=%llu",
			  (unsigned long long)ci->vi->blkno);
	clu_munlock(ci, DLM_MODE_EX);
}

int clu_readlink(struct clu_inode *ci, char *buf, size_t room)
{
	int err = clu_mlock(ci, DLM_MODE_PR, 0);

	if (err)
		return err;
	err = vol_readlink(ci->vi, buf, room);
	clu_munlock(ci, DLM_MODE_PR);
	return err;
}

int clu_statfs(struct clu *clu, struct vol_statfs *out)
{
	return vol_statfs(clu_vol(clu), out);
}
