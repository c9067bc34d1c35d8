/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * inode.c: inodes in memory: table, attributes from and to the dinode.
 *
 * One object per block number, found through a striped table, without I/O. Attributes
 * are guarded by inode->sem like the content. inode->di caches the dinode's buffer; it
 * is set by whoever reads it first and dropped by a purge.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include "fs/volume/vol_int.h"

enum { STRIPES = 64, BUCKETS = 128 };

struct itable {
	struct istripe {
		pthread_mutex_t mutex;
		struct vol_inode *bucket[BUCKETS];
	} stripe[STRIPES];
};

int itable_new(struct vol *v)
{
	v->itable = calloc(1, sizeof(*v->itable));
	if (!v->itable)
		return -ENOMEM;
	for (int i = 0; i < STRIPES; i++)
		pthread_mutex_init(&v->itable->stripe[i].mutex, NULL);
	return 0;
}

void itable_free(struct vol *v)
{
	if (!v->itable)
		return;
	for (int i = 0; i < STRIPES; i++) {
		for (int b = 0; b < BUCKETS; b++)
			assert(!v->itable->stripe[i].bucket[b]);
		pthread_mutex_destroy(&v->itable->stripe[i].mutex);
	}
	free(v->itable);
	v->itable = NULL;
}

static struct istripe *stripe_of(struct vol *v, blkno_t blkno)
{
	return &v->itable->stripe[blkno % STRIPES];
}

static struct vol_inode **chain_of(struct istripe *s, blkno_t blkno)
{
	return &s->bucket[(blkno / STRIPES) % BUCKETS];
}

static uint64_t new_cache_id(struct vol *v)
{
	return atomic_fetch_add(&v->next_cache_id, 1) + 1;
}

static struct vol_inode *make(struct vol *v, blkno_t blkno)
{
	struct vol_inode *inode = calloc(1, sizeof(*inode));

	if (!inode)
		return NULL;
	inode->vol = v;
	inode->blkno = blkno;
	inode->cache_id = new_cache_id(v);
	/* an earlier object of this inode may have changed it: fsync waits for that, too */
	inode->sync_tid = inode->datasync_tid = journal_last_tid(v);
	pthread_rwlock_init(&inode->sem, NULL);
	pthread_mutex_init(&inode->sys_mutex, NULL);
	return inode;
}

int vol_iget(struct vol *v, blkno_t blkno, struct vol_inode **out)
{
	struct istripe *s = stripe_of(v, blkno);
	struct vol_inode **chain = chain_of(s, blkno), *inode;

	if (blkno < 2 || blkno >= vol_block_limit(v))
		return vol_damaged(v, "an inode's number is out of range inode=%llu",
				   (unsigned long long)blkno);
	pthread_mutex_lock(&s->mutex);
	for (inode = *chain; inode && inode->blkno != blkno; inode = inode->hash_next)
		;
	if (!inode) {
		inode = make(v, blkno);
		if (inode) {
			inode->hash_next = *chain;
			*chain = inode;
		}
	}
	if (inode)
		atomic_fetch_add(&inode->refs, 1);
	pthread_mutex_unlock(&s->mutex);
	*out = inode;
	return inode ? 0 : -ENOMEM;
}

struct vol_inode *vol_ihold(struct vol_inode *inode)
{
	atomic_fetch_add(&inode->refs, 1);
	return inode;
}

static void drop_di(struct vol_inode *inode)
{
	struct buf *di = __atomic_exchange_n(&inode->di, NULL, __ATOMIC_ACQ_REL);

	if (di)
		bc_put(di);
}

void vol_iput(struct vol_inode *inode)
{
	struct istripe *s = stripe_of(inode->vol, inode->blkno);
	struct vol_inode **at;

	pthread_mutex_lock(&s->mutex);
	if (atomic_fetch_sub(&inode->refs, 1) > 1) {
		pthread_mutex_unlock(&s->mutex);
		return;
	}
	for (at = chain_of(s, inode->blkno); *at != inode; at = (void *)&(*at)->hash_next)
		;
	*at = inode->hash_next;
	pthread_mutex_unlock(&s->mutex);
	drop_di(inode);
	free(inode->ext_cache);
	pthread_rwlock_destroy(&inode->sem);
	pthread_mutex_destroy(&inode->sys_mutex);
	free(inode);
}

/* ---- attributes -------------------------------------------------------------------------- */

struct timespec vol_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return t;
}

static struct timespec time_of(__le64 sec, __le32 nsec)
{
	return (struct timespec){ .tv_sec = (time_t)le64toh(sec), .tv_nsec = (long)le32toh(nsec) };
}

static uint64_t rdev_load(uint64_t disk)
{
	unsigned maj = (unsigned)((disk >> 8) & 0xfff);
	unsigned min = (unsigned)((disk & 0xff) | ((disk >> 12) & 0xfff00));

	return makedev(maj, min);
}

static uint64_t rdev_store(uint64_t dev)
{
	uint64_t min = minor(dev);

	return (min & 0xff) | ((uint64_t)major(dev) << 8) | ((min & ~0xffull) << 12);
}

static bool is_device(uint16_t mode)
{
	return S_ISCHR(mode) || S_ISBLK(mode);
}

void inode_load(struct vol_inode *inode, const struct ocfs2_dinode *di)
{
	inode->mode = le16toh(di->i_mode);
	inode->dyn_features = le16toh(di->i_dyn_features);
	inode->flags = le32toh(di->i_flags);
	inode->attr = le32toh(di->i_attr);
	inode->uid = le32toh(di->i_uid);
	inode->gid = le32toh(di->i_gid);
	inode->nlink = le16toh(di->i_links_count);
	if (inode->dyn_features & OCFS2_INDEXED_DIR_FL)
		inode->nlink |= (uint32_t)le16toh(di->i_links_count_hi) << 16;
	inode->generation = le32toh(di->i_generation);
	inode->clusters = le32toh(di->i_clusters);
	inode->size = le64toh(di->i_size);
	inode->rdev = is_device(inode->mode) ? rdev_load(le64toh(di->id1.dev1.i_rdev)) : 0;
	inode->dtime = le64toh(di->i_dtime);
	inode->orphaned_slot = le16toh(di->i_orphaned_slot);
	inode->suballoc_slot = le16toh(di->i_suballoc_slot);
	inode->atime = time_of(di->i_atime, di->i_atime_nsec);
	inode->mtime = time_of(di->i_mtime, di->i_mtime_nsec);
	inode->ctime = time_of(di->i_ctime, di->i_ctime_nsec);
	inode->loaded = true;
	atomic_store(&inode->partial, false);
}

static void put_time(const struct timespec *t, __le64 *sec, __le32 *nsec)
{
	*sec = htole64((uint64_t)t->tv_sec);
	*nsec = htole32((uint32_t)t->tv_nsec);
}

static void store(const struct vol_inode *inode, struct ocfs2_dinode *di)
{
	di->i_mode = htole16(inode->mode);
	di->i_dyn_features = htole16(inode->dyn_features);
	di->i_flags = htole32(inode->flags);
	di->i_attr = htole32(inode->attr);
	di->i_uid = htole32(inode->uid);
	di->i_gid = htole32(inode->gid);
	di->i_links_count = htole16((uint16_t)inode->nlink);
	if (inode->dyn_features & OCFS2_INDEXED_DIR_FL)
		di->i_links_count_hi = htole16((uint16_t)(inode->nlink >> 16));
	di->i_generation = htole32(inode->generation);
	di->i_clusters = htole32(inode->clusters);
	di->i_size = htole64(inode->size);
	if (is_device(inode->mode))
		di->id1.dev1.i_rdev = htole64(rdev_store(inode->rdev));
	di->i_dtime = htole64(inode->dtime);
	di->i_orphaned_slot = htole16(inode->orphaned_slot);
	di->i_suballoc_slot = htole16(inode->suballoc_slot);
	put_time(&inode->atime, &di->i_atime, &di->i_atime_nsec);
	put_time(&inode->mtime, &di->i_mtime, &di->i_mtime_nsec);
	put_time(&inode->ctime, &di->i_ctime, &di->i_ctime_nsec);
}

int inode_buf(struct vol_inode *inode, struct buf **out)
{
	struct buf *di = __atomic_load_n((struct buf **)&inode->di, __ATOMIC_ACQUIRE), *other = NULL;
	int err;

	if (!di) {
		err = bc_read(inode->vol, inode->blkno, BLK_DINODE, inode, &di);
		if (err)
			return err;
		/* Readers under a shared sem may race; the first one's buffer is kept. */
		if (!__atomic_compare_exchange_n((struct buf **)&inode->di, &other, di, false,
						 __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
			bc_put(di);
			di = other;
		}
	}
	*out = bc_hold(di);
	return 0;
}

int inode_store(struct jhandle *h, struct vol_inode *inode)
{
	struct buf *di;
	int err = inode_buf(inode, &di);

	if (err)
		return err;
	err = jh_write(h, di, inode);
	if (!err)
		store(inode, (void *)di->data);
	bc_put(di);
	return err;
}

/* ---- refresh --------------------------------------------------------------------------------- */

static void purge(struct vol_inode *inode)
{
	drop_di(inode);
	inode->cache_id = new_cache_id(inode->vol);
	free(inode->ext_cache);
	inode->ext_cache = NULL;
	inode->dir_hint = 0;
}

void bc_purge(struct vol *v, struct vol_inode *owner)
{
	owner->cache_id = new_cache_id(v);
}

void vol_inode_purge(struct vol_inode *inode)
{
	pthread_rwlock_wrlock(&inode->sem);
	purge(inode);
	atomic_store(&inode->partial, true);
	pthread_rwlock_unlock(&inode->sem);
}

int vol_inode_complete(struct vol_inode *inode)
{
	const struct ocfs2_dinode *d;
	struct buf *di;
	int err = 0;

	if (!atomic_load(&inode->partial))
		return 0;
	pthread_rwlock_wrlock(&inode->sem);
	if (atomic_load(&inode->partial)) {
		err = inode_buf(inode, &di);
		if (!err) {
			d = (const void *)di->data;
			inode->flags = le32toh(d->i_flags);
			inode->dtime = le64toh(d->i_dtime);
			inode->orphaned_slot = le16toh(d->i_orphaned_slot);
			inode->suballoc_slot = le16toh(d->i_suballoc_slot);
			atomic_store(&inode->partial, false);
			bc_put(di);
		}
	}
	pthread_rwlock_unlock(&inode->sem);
	return err;
}

static int reload(struct vol_inode *inode)
{
	const struct ocfs2_dinode *d;
	struct buf *di;
	int err = inode_buf(inode, &di);

	if (err)
		return err;
	d = (const void *)di->data;
	if (!(le32toh(d->i_flags) & OCFS2_VALID_FL) || d->i_dtime)
		err = -ESTALE;
	else if (inode->loaded && (le32toh(d->i_generation) != inode->generation ||
				   ((le16toh(d->i_mode) ^ inode->mode) & S_IFMT)))
		err = -ESTALE;
	else if (inode->system && !(le32toh(d->i_flags) & OCFS2_SYSTEM_FL))
		err = vol_damaged(inode->vol, "a system file is not marked as one inode=%llu",
				  (unsigned long long)inode->blkno);
	if (!err)
		inode_load(inode, d);
	bc_put(di);
	return err;
}

int vol_inode_refresh(struct vol_inode *inode)
{
	int err;

	pthread_rwlock_wrlock(&inode->sem);
	purge(inode);
	err = reload(inode);
	pthread_rwlock_unlock(&inode->sem);
	return err;
}

int sys_lock(struct vol *v, struct vol_inode *inode, bool ex)
{
	int err = 0;

	pthread_mutex_lock(&inode->sys_mutex);
	if (v->opts.hooks && v->opts.hooks->sys_lock)
		err = v->opts.hooks->sys_lock(v->opts.hooks_ctx, inode, ex);
	else if (!inode->loaded)
		err = vol_inode_refresh(inode);
	if (err)
		pthread_mutex_unlock(&inode->sys_mutex);
	return err;
}

void sys_unlock(struct vol *v, struct vol_inode *inode, bool ex)
{
	if (v->opts.hooks && v->opts.hooks->sys_unlock)
		v->opts.hooks->sys_unlock(v->opts.hooks_ctx, inode, ex);
	pthread_mutex_unlock(&inode->sys_mutex);
}
