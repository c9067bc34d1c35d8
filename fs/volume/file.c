/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * file.c: reading, and finding the blocks and the holes of a file.
 *
 * Data is never cached here: it is read from the device into the caller's memory,
 * directly where addresses suit O_DIRECT and through a bounce buffer at the edges.
 * Holes and unwritten extents read as zeros. The inode's sem is held shared all the
 * time, so neither size nor extents change under a read, and clusters that are read
 * cannot be freed and reused meanwhile.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "fs/volume/file_int.h"

int file_may_change(struct vol_inode *inode)
{
	if (vol_is_stopped(inode->vol))
		return -EIO;
	if (vol_readonly(inode->vol))
		return -EROFS;
	if (inode->wiped)
		return -ESTALE;
	return 0;
}

void file_touch(struct vol_inode *inode)
{
	inode->mtime = inode->ctime = vol_now();
}

int file_end(struct jhandle *h, int err, bool changed, const char *why)
{
	int err2;

	if (err && changed)
		jh_abort(h, why);
	err2 = jh_end(h, false);
	return err ? err : err2;
}

void *data_alloc(size_t len)
{
	void *p;

	return posix_memalign(&p, DATA_UNIT, len) ? NULL : p;
}

int data_lookup(struct xtree *t, uint64_t pos, struct extent *out)
{
	return xtree_lookup(t, (uint32_t)(pos >> t->owner->vol->info.clustersize_bits), out);
}

int inode_map(struct vol_inode *inode, uint64_t lblk, blkno_t *blkno, uint64_t *run,
	      bool *unwritten)
{
	struct vol *v = inode->vol;
	uint64_t pos, end;
	struct extent e;
	struct xtree t;
	struct buf *b;
	int err;

	if (inode->dyn_features & OCFS2_INLINE_DATA_FL)
		return -EINVAL;
	if (lblk >> (32 + v->info.clustersize_bits - v->info.blocksize_bits))
		return -EFBIG;
	err = inode_buf(inode, &b);
	if (err)
		return err;
	xtree_dinode(&t, inode, b);
	pos = lblk << v->info.blocksize_bits;
	err = data_lookup(&t, pos, &e);
	bc_put(b);
	if (err)
		return err;
	end = cluster_byte(v, e.cpos) + cluster_byte(v, e.len);
	*blkno = e.blkno ? extent_byte(v, &e, pos) >> v->info.blocksize_bits : 0;
	*run = (end - pos) >> v->info.blocksize_bits;
	*unwritten = e.blkno && (e.flags & OCFS2_EXT_UNWRITTEN);
	return 0;
}

/* ---- reading --------------------------------------------------------------------- */

#define READ_PIECES 16

/* One request, and where its bytes go if it does not read into the caller's memory. */
struct piece {
	uint8_t *to;	/* NULL: read in place */
	size_t skip, len;
};

struct reader {
	struct vol *v;
	struct bd_io io[READ_PIECES];
	struct piece piece[READ_PIECES];
	unsigned n;
};

static int reader_flush(struct reader *r)
{
	int err = r->n ? blockdev_read_many(r->v->dev, r->io, r->n) : 0;

	for (unsigned i = 0; i < r->n; i++) {
		if (!r->piece[i].to)
			continue;
		if (!err)
			memcpy(r->piece[i].to, (uint8_t *)r->io[i].buf + r->piece[i].skip,
			       r->piece[i].len);
		free(r->io[i].buf);
	}
	r->n = 0;
	return err;
}

static int reader_add(struct reader *r, uint8_t *to, uint64_t dev, size_t len, bool direct)
{
	uint64_t lo = unit_down(dev), hi = unit_up(dev + len);
	int err;

	if (r->n == READ_PIECES) {
		err = reader_flush(r);
		if (err)
			return err;
	}
	r->piece[r->n] = (struct piece){ direct ? NULL : to, (size_t)(dev - lo), len };
	r->io[r->n] = (struct bd_io){
		.buf = direct ? to : data_alloc((size_t)(hi - lo)),
		.len = (size_t)(hi - lo),
		.off = lo,
	};
	if (!r->io[r->n].buf)
		return -ENOMEM;
	r->n++;
	return 0;
}

/* len bytes at device byte dev into to: whole units in place if addresses allow. */
static int read_run(struct reader *r, uint8_t *to, uint64_t dev, uint64_t len)
{
	uint64_t head = (DATA_UNIT - dev % DATA_UNIT) % DATA_UNIT, part;
	int err = 0;

	if ((uintptr_t)(to + head) % DATA_UNIT || head + DATA_UNIT > len)
		head = len; /* nothing can be read in place */
	for (; head && !err; head -= part, to += part, dev += part, len -= part) {
		part = min_u64(head, DATA_CHUNK);
		err = reader_add(r, to, dev, (size_t)part, false);
	}
	part = unit_down(len);
	if (!err && part)
		err = reader_add(r, to, dev, (size_t)part, true);
	if (!err && len > part)
		err = reader_add(r, to + part, dev + part, (size_t)(len - part), false);
	return err;
}

static int read_extents(struct vol_inode *inode, struct buf *b, uint8_t *to, uint64_t len,
			uint64_t pos)
{
	struct reader r = { .v = inode->vol };
	struct extent e;
	struct xtree t;
	int err = 0, err2;

	xtree_dinode(&t, inode, b);
	while (len > 0 && !err) {
		uint64_t part;

		err = data_lookup(&t, pos, &e);
		if (err)
			break;
		part = cluster_byte(inode->vol, e.cpos) + cluster_byte(inode->vol, e.len) - pos;
		if (part > len)
			part = len;
		if (e.blkno == 0 || (e.flags & OCFS2_EXT_UNWRITTEN))
			memset(to, 0, (size_t)part);
		else
			err = read_run(&r, to, extent_byte(inode->vol, &e, pos), part);
		to += part;
		pos += part;
		len -= part;
	}
	err2 = reader_flush(&r);
	return err ? err : err2;
}

int vol_read(struct vol_inode *inode, void *buf, size_t len, uint64_t off, size_t *got)
{
	const struct ocfs2_dinode *di;
	struct buf *b;
	int err;

	*got = 0;
	pthread_rwlock_rdlock(&inode->sem);
	if (!S_ISREG(inode->mode)) {
		err = S_ISDIR(inode->mode) ? -EISDIR : -EINVAL;
		goto out;
	}
	if (off >= inode->size) {
		err = 0;
		goto out;
	}
	if (len > inode->size - off)
		len = (size_t)(inode->size - off);
	err = off + len > file_limit(inode->vol) ?
	      vol_damaged(inode->vol, "a file is larger than any can be inode=%llu",
			  (unsigned long long)inode->blkno) : inode_buf(inode, &b);
	if (err)
		goto out;
	di = (const struct ocfs2_dinode *)b->data;
	if (inode->dyn_features & OCFS2_INLINE_DATA_FL) {
		if (inode->size > le16toh(di->id2.i_data.id_count) ||
		    inode->size > inode->vol->blocksize -
					 offsetof(struct ocfs2_dinode, id2.i_data.id_data))
			err = vol_damaged(inode->vol, "inline data larger than its room inode=%llu",
					  (unsigned long long)inode->blkno);
		else
			memcpy(buf, di->id2.i_data.id_data + off, len);
	} else {
		err = read_extents(inode, b, buf, len, off);
	}
	bc_put(b);
	if (!err)
		*got = len;
out:
	pthread_rwlock_unlock(&inode->sem);
	return err;
}

/* ---- holes ------------------------------------------------------------------------- */

/* The first byte from pos on that lies in a hole, or in none; beyond the end: i_size. */
static int seek_extents(struct vol_inode *inode, struct buf *b, uint64_t pos, bool hole,
			uint64_t *out)
{
	struct vol *v = inode->vol;
	struct extent e;
	struct xtree t;
	int err;

	xtree_dinode(&t, inode, b);
	while (pos < inode->size) {
		err = data_lookup(&t, pos, &e);
		if (err)
			return err;
		if (hole == (e.blkno == 0 || (e.flags & OCFS2_EXT_UNWRITTEN)))
			break;
		pos = cluster_byte(v, e.cpos) + cluster_byte(v, e.len);
	}
	*out = min_u64(pos, inode->size);
	return 0;
}

int vol_seek(struct vol_inode *inode, uint64_t off, bool hole, uint64_t *out)
{
	struct buf *b;
	int err = 0;

	pthread_rwlock_rdlock(&inode->sem);
	*out = hole ? inode->size : off; /* one piece of data */
	if (!S_ISREG(inode->mode)) {
		err = -EINVAL;
	} else if (off >= inode->size) {
		err = -ENXIO;
	} else if (!(inode->dyn_features & OCFS2_INLINE_DATA_FL)) {
		err = inode->size > file_limit(inode->vol) ?
		      vol_damaged(inode->vol, "a file is larger than any can be inode=%llu",
				  (unsigned long long)inode->blkno) : inode_buf(inode, &b);
		if (!err) {
			err = seek_extents(inode, b, off, hole, out);
			bc_put(b);
		}
		if (!err && !hole && *out == inode->size)
			err = -ENXIO;
	}
	pthread_rwlock_unlock(&inode->sem);
	return err;
}
