/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * file_int.h: content of files, shared by file.c (reading), file_write.c,
 * file_extend.c (gaps, growth without holes), inline.c, truncate.c and falloc.c.
 */
#ifndef O2FUSE_VOLUME_FILE_INT_H
#define O2FUSE_VOLUME_FILE_INT_H

#include "fs/volume/vol_int.h"

/*
 * Data is read and written in whole units, so that buffers and offsets suit O_DIRECT
 * on every sector size. A cluster is a multiple of it; a block is at most one.
 */
#define DATA_UNIT 4096u
/* Bytes that one transaction covers: clusters do not straddle its boundaries. */
#define DATA_CHUNK (1u << 20)

static inline uint64_t unit_down(uint64_t x)
{
	return x & ~(uint64_t)(DATA_UNIT - 1);
}

static inline uint64_t unit_up(uint64_t x)
{
	return unit_down(x + DATA_UNIT - 1);
}

static inline uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static inline uint64_t max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static inline uint32_t bytes_to_clusters_up(const struct vol *v, uint64_t bytes)
{
	return (uint32_t)((bytes + v->clustersize - 1) >> v->info.clustersize_bits);
}

static inline uint64_t cluster_byte(const struct vol *v, uint32_t cpos)
{
	return (uint64_t)cpos << v->info.clustersize_bits;
}

/* Device byte of file byte off, which lies in e. */
static inline uint64_t extent_byte(const struct vol *v, const struct extent *e, uint64_t off)
{
	return (e->blkno << v->info.blocksize_bits) + off - cluster_byte(v, e->cpos);
}

/* No byte of a file lies at or beyond it: cluster offsets have 32 bits. */
static inline uint64_t file_limit(const struct vol *v)
{
	return min_u64((uint64_t)UINT32_MAX << v->info.clustersize_bits, INT64_MAX);
}

static inline bool vol_is_sparse(const struct vol *v)
{
	return vol_has_incompat(v, OCFS2_FEATURE_INCOMPAT_SPARSE_ALLOC);
}

/* May this inode's content be changed at all? */
int file_may_change(struct vol_inode *inode) __must_check;
/* mtime and ctime. */
void file_touch(struct vol_inode *inode);
/* End a handle: aborted if something was changed and then failed. */
int file_end(struct jhandle *h, int err, bool changed, const char *why) __must_check;
/* 4096-aligned memory, not zeroed; free() releases it. */
void *data_alloc(size_t len);

/* What is at byte pos of a data tree: the extent from pos's cluster on (a hole ends at
 * the next record). */
int data_lookup(struct xtree *t, uint64_t pos, struct extent *out) __must_check;
/* Zero device bytes, whole units. */
int data_zero(struct vol *v, uint64_t dev_off, uint64_t len) __must_check;

/* truncate.c; nothing is zeroed. */
int file_set_size(struct vol_inode *inode, uint64_t size) __must_check;
/* Not inline: down to size, what lies beyond is freed. */
int file_shrink(struct vol_inode *inode, uint64_t size) __must_check;

/* file_write.c: vol_write under the sem, set-id bits stay. */
int file_write_locked(struct vol_inode *inode, const void *buf, size_t len, uint64_t pos,
		      size_t *done) __must_check;

/* inline.c */
bool inline_fits(const struct vol_inode *inode, const struct ocfs2_dinode *di, uint64_t end);
int inline_write(struct vol_inode *inode, const void *buf, size_t len, uint64_t pos,
		 uint16_t mode) __must_check;
int inline_resize(struct vol_inode *inode, uint64_t size) __must_check;
/* To an extent list, in a transaction of its own; size and content stay. */
int inline_convert(struct vol_inode *inode) __must_check;

/* file_extend.c */
/* Allocated and written bytes in [from, to) become zero on the device. */
int zero_gap(struct vol_inode *inode, uint64_t from, uint64_t to) __must_check;
/* Volumes without holes: allocate and zero up to byte `to`, i_size follows. */
int extend_dense(struct vol_inode *inode, uint64_t to) __must_check;

#endif
