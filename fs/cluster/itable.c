/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * itable.c: inodes in this node's memory, by block number.
 *
 * The table has stripes, each with its own mutex, so that requests for different
 * inodes do not meet. A reference is counted up under the stripe and the inode's
 * mutex, and the step from 1 to 0 is made under both, together with "dying": so a
 * dying inode is never handed out, and whoever wants that block number waits until it
 * has left the table (its locks must be gone before they are made anew).
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include "fs/cluster/clu_int.h"

static struct clu_istripe *stripe_of(struct clu *clu, blkno_t blkno)
{
	return &clu->itable.stripe[blkno % CLU_ITABLE_STRIPES];
}

static struct clu_inode **bucket_of(struct clu *clu, blkno_t blkno)
{
	return &stripe_of(clu, blkno)->bucket[blkno / CLU_ITABLE_STRIPES % CLU_ITABLE_BUCKETS];
}

void clu_itable_init(struct clu *clu)
{
	for (unsigned i = 0; i < CLU_ITABLE_STRIPES; i++) {
		pthread_mutex_init(&clu->itable.stripe[i].mutex, NULL);
		pthread_cond_init(&clu->itable.stripe[i].gone, NULL);
	}
}

void clu_itable_destroy(struct clu *clu)
{
	for (unsigned i = 0; i < CLU_ITABLE_STRIPES; i++) {
		for (unsigned b = 0; b < CLU_ITABLE_BUCKETS; b++)
			assert(!clu->itable.stripe[i].bucket[b]);
		pthread_mutex_destroy(&clu->itable.stripe[i].mutex);
		pthread_cond_destroy(&clu->itable.stripe[i].gone);
	}
}

/* In the table already, referenced; stripe's mutex held. Dying: -EBUSY. */
static int find(struct clu *clu, blkno_t blkno, struct clu_inode **out)
{
	for (struct clu_inode *ci = *bucket_of(clu, blkno); ci; ci = ci->hash_next) {
		if (ci->vi->blkno != blkno)
			continue;
		pthread_mutex_lock(&ci->mutex);
		if (ci->dying) {
			pthread_mutex_unlock(&ci->mutex);
			return -EBUSY;
		}
		ci->refs++;
		pthread_mutex_unlock(&ci->mutex);
		*out = ci;
		return 0;
	}
	return -ENOENT;
}

/* A new one, detached, with one reference; stripe's mutex held. */
static int make(struct clu *clu, blkno_t blkno, struct clu_inode **out)
{
	struct clu_inode *ci = calloc(1, sizeof(*ci));
	uint8_t name[LC_NAME_LEN];
	int err;

	if (!ci)
		return -ENOMEM;
	err = vol_iget(clu->vol, blkno, &ci->vi);
	if (err) {
		free(ci);
		return err;
	}
	ci->clu = clu;
	ci->refs = 1;
	pthread_mutex_init(&ci->mutex, NULL);
	pthread_cond_init(&ci->cond, NULL);
	clu_m_name(clu, name, blkno);
	lc_init(&ci->m, clu->lc, &clu_type_m, name, ci);
	ci->hash_next = *bucket_of(clu, blkno);
	*bucket_of(clu, blkno) = ci;
	*out = ci;
	return 0;
}

int clu_itable_get(struct clu *clu, blkno_t blkno, bool create, struct clu_inode **out)
{
	struct clu_istripe *st = stripe_of(clu, blkno);
	int err;

	pthread_mutex_lock(&st->mutex);
	for (;;) {
		err = find(clu, blkno, out);
		if (err != -EBUSY || !create)
			break;
		pthread_cond_wait(&st->gone, &st->mutex);
	}
	if (err == -ENOENT && create)
		err = make(clu, blkno, out);
	pthread_mutex_unlock(&st->mutex);
	return err == -EBUSY ? -ENOENT : err;
}

bool clu_itable_put(struct clu_inode *ci)
{
	struct clu_istripe *st = stripe_of(ci->clu, ci->vi->blkno);
	bool last;

	pthread_mutex_lock(&st->mutex);
	pthread_mutex_lock(&ci->mutex);
	assert(ci->refs);
	last = --ci->refs == 0 && !ci->dying;
	if (last)
		ci->dying = true;
	pthread_mutex_unlock(&ci->mutex);
	pthread_mutex_unlock(&st->mutex);
	return last;
}

bool clu_itable_hold(struct clu_inode *ci)
{
	bool alive;

	pthread_mutex_lock(&ci->mutex);
	alive = !ci->dying;
	if (alive)
		ci->refs++;
	pthread_mutex_unlock(&ci->mutex);
	return alive;
}

void clu_itable_put_worker(struct clu_inode *ci)
{
	bool last;

	pthread_mutex_lock(&ci->mutex);
	last = ci->refs == 1;
	if (!last)
		ci->refs--;
	pthread_mutex_unlock(&ci->mutex);
	if (last)
		clu_house_put(ci->clu, ci);
}

void clu_itable_forget(struct clu_inode *ci)
{
	struct clu *clu = ci->clu;
	struct clu_istripe *st = stripe_of(clu, ci->vi->blkno);
	struct clu_inode **at;

	pthread_mutex_lock(&st->mutex);
	for (at = bucket_of(clu, ci->vi->blkno); *at != ci; at = &(*at)->hash_next)
		;
	*at = ci->hash_next;
	pthread_cond_broadcast(&st->gone);
	pthread_mutex_unlock(&st->mutex);
}

struct clu_inode *clu_itable_take_any(struct clu *clu)
{
	struct clu_inode *ci = NULL;

	for (unsigned i = 0; i < CLU_ITABLE_STRIPES && !ci; i++) {
		struct clu_istripe *st = &clu->itable.stripe[i];

		pthread_mutex_lock(&st->mutex);
		for (unsigned b = 0; b < CLU_ITABLE_BUCKETS && !ci; b++)
			ci = st->bucket[b];
		if (ci) {
			pthread_mutex_lock(&ci->mutex);
			assert(!ci->dying);
			ci->dying = true;
			pthread_mutex_unlock(&ci->mutex);
		}
		pthread_mutex_unlock(&st->mutex);
	}
	return ci;
}
