/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * dentry.c: N locks, by which a node that removes a name makes the others forget it
 * (doc/spec/fs-locking.md 5.2, 12.3).
 *
 * One N(d, x) for all names of x in directory d. It is attached at PR under M(d)
 * whenever such a name is made known to the kernel, and stays as long as x is in this
 * node's memory: while the kernel counts lookups, or an operation is under way. So
 * nothing is counted here, and nothing races with FORGET.
 *
 * The node that removes a name holds M(d) and M(x) EX while it asks for N EX: none of
 * our tasks is in the middle of a lookup in d then, and the kernel's lookup count says
 * whether it may know a name. O is given back before N, so that the remover finds it
 * free if nobody has the file open.
 */
#include <errno.h>
#include <stdlib.h>
#include "fs/cluster/clu_int.h"

static enum lc_work n_before(struct lc_lock *l, int blocking, int level)
{
	struct clu_dentry *d = l->owner;
	struct clu_inode *ci = d->child;
	struct clu *clu = ci->clu;
	bool known;

	(void)level;
	if (blocking != DLM_MODE_EX)
		return LC_WORK_GO; /* somebody makes a name there: EX -> PR */
	pthread_mutex_lock(&ci->mutex);
	known = ci->lookups > 0;
	pthread_mutex_unlock(&ci->mutex);
	if (known && clu_kernel_there(clu) && clu_itable_hold(ci)) {
		clu->cfg.kernel->inval_names(clu->cfg.kernel_ctx, d->dir, ci->vi->blkno);
		clu_itable_put_worker(ci);
	}
	clu_inode_unlinked_elsewhere(ci);
	return LC_WORK_GO;
}

static const struct lc_type type_n = { .letter = 'N', .before_downconvert = n_before };

/* N(dir, child); made if it is not there. The child is referenced by the caller. */
static struct clu_dentry *get(struct clu_inode *dir, struct clu_inode *child)
{
	uint8_t name[LC_NAME_LEN];
	struct clu_dentry *d;

	pthread_mutex_lock(&child->mutex);
	for (d = child->names; d; d = d->next) {
		if (d->dir == dir->vi->blkno)
			break;
	}
	if (!d) {
		d = calloc(1, sizeof(*d));
		if (d) {
			d->child = child;
			d->dir = dir->vi->blkno;
			lockname_dentry(name, d->dir, child->vi->blkno);
			lc_init(&d->n, child->clu->lc, &type_n, name, d);
			d->next = child->names;
			child->names = d;
		}
	}
	pthread_mutex_unlock(&child->mutex);
	return d;
}

static void named(struct clu_inode *child)
{
	pthread_mutex_lock(&child->mutex);
	child->unnamed = false;
	pthread_mutex_unlock(&child->mutex);
}

int clu_dentry_attach(struct clu_inode *dir, struct clu_inode *child)
{
	struct clu_dentry *d = get(dir, child);
	int err = d ? lc_lock(&d->n, DLM_MODE_PR, 0) : -ENOMEM;

	if (err)
		return err;
	named(child);
	lc_unlock(&d->n, DLM_MODE_PR);
	return 0;
}

int clu_dentry_attach_new(struct clu_inode *dir, struct clu_inode *child)
{
	int err = clu_dentry_attach(dir, child);

	return err ? err : clu_ohold(child);
}

int clu_dentry_take_ex(struct clu_inode *dir, struct clu_inode *child)
{
	struct clu_dentry *d = get(dir, child);
	int err = d ? lc_lock(&d->n, DLM_MODE_EX, 0) : -ENOMEM;

	if (!err)
		lc_unlock(&d->n, DLM_MODE_EX);
	return err;
}

void clu_dentries_drop(struct clu_inode *ci)
{
	struct clu_dentry *d;

	/* Nobody adds any more: it is dying. */
	while ((d = ci->names)) {
		ci->names = d->next;
		lc_drop(&d->n);
		lc_destroy(&d->n);
		free(d);
	}
}
