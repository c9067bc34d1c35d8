/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * file_extend.c: what must read as zero when a file grows (disk.md 3.10, 11.2).
 *
 * Bytes of allocated clusters beyond i_size are undefined on the disk (other nodes
 * leave them as they like, so do we), so whoever raises i_size over them zeroes them
 * first. The writes need no transaction: until the new size commits nobody can see
 * them. On volumes without the sparse feature a file has no holes: growth allocates,
 * zeroes on the device, and then inserts, with i_size following in the same
 * transaction, so that no crash shows a cluster beyond it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "fs/volume/file_int.h"

#define ZERO_BYTES 65536
#define ZERO_IOS 16
#define DENSE_RUNS 16

static const uint8_t zeros[ZERO_BYTES] __attribute__((aligned(4096)));

int data_zero(struct vol *v, uint64_t dev_off, uint64_t len)
{
	struct bd_io io[ZERO_IOS];
	int err = 0;

	while (len > 0 && !err) {
		unsigned n;

		for (n = 0; n < ZERO_IOS && len > 0; n++) {
			size_t part = (size_t)min_u64(len, ZERO_BYTES);

			io[n] = (struct bd_io){
				.buf = (void *)(uintptr_t)zeros,
				.len = part,
				.off = dev_off,
			};
			dev_off += part;
			len -= part;
		}
		err = blockdev_write_many(v->dev, io, n);
	}
	return err;
}

/* Bytes [skip, DATA_UNIT) of the unit at dev; what is before stays. */
static int zero_unit_tail(struct vol *v, uint64_t dev, size_t skip)
{
	uint8_t *unit = blockdev_alloc(DATA_UNIT);
	int err;

	if (!unit)
		return -ENOMEM;
	err = blockdev_read(v->dev, unit, DATA_UNIT, dev);
	if (!err) {
		memset(unit + skip, 0, DATA_UNIT - skip);
		err = blockdev_write(v->dev, unit, DATA_UNIT, dev);
	}
	free(unit);
	return err;
}

int zero_gap(struct vol_inode *inode, uint64_t from, uint64_t to)
{
	struct vol *v = inode->vol;
	struct extent e;
	struct xtree t;
	struct buf *b;
	int err;

	err = inode_buf(inode, &b);
	if (err)
		return err;
	xtree_dinode(&t, inode, b);
	while (from < to && !err) {
		uint64_t end, dev;

		err = data_lookup(&t, from, &e);
		if (err)
			break;
		end = min_u64(to, cluster_byte(v, e.cpos) + cluster_byte(v, e.len));
		if (e.blkno && !(e.flags & OCFS2_EXT_UNWRITTEN)) {
			if (e.flags & OCFS2_EXT_REFCOUNTED) {
				err = -EOPNOTSUPP;
				break;
			}
			dev = extent_byte(v, &e, from);
			if (from % DATA_UNIT) {
				err = zero_unit_tail(v, unit_down(dev), from % DATA_UNIT);
				dev = unit_up(dev);
			}
			/* to the end of to's unit: that is beyond the new size, or is written */
			if (!err && unit_up(end) > unit_up(from))
				err = data_zero(v, dev, unit_up(end) - unit_up(from));
		}
		from = end;
	}
	bc_put(b);
	return err;
}

/* ---- files without holes ------------------------------------------------------------ */

struct dense {
	struct vol_inode *inode;
	struct xtree t;
	struct reservation r;
	struct dense_run {
		uint32_t start, len;
	} run[DENSE_RUNS];
	unsigned n;
	uint32_t cpos, want;
};

/* Plan and zero up to `want` clusters; d->want becomes what was found. */
static int dense_prepare(struct dense *d)
{
	struct vol *v = d->inode->vol;
	uint32_t left = d->want;
	int err;

	err = reserve_meta(v, xtree_meta_needed(&d->t, DENSE_RUNS), &d->r);
	if (!err)
		err = reserve_clusters(v, d->want, &d->r);
	while (!err && left > 0 && d->n < DENSE_RUNS) {
		struct dense_run *run = &d->run[d->n];

		err = plan_clusters(&d->r, left, &run->start, &run->len);
		if (err)
			break;
		left -= run->len;
		d->n++;
		err = data_zero(v, (uint64_t)run->start << v->info.clustersize_bits,
				cluster_byte(v, run->len));
	}
	d->want -= left;
	return err;
}

static int dense_commit(struct dense *d, uint64_t size)
{
	struct vol *v = d->inode->vol;
	uint32_t cpos = d->cpos;
	struct jhandle *h;
	bool changed = false;
	int err;

	err = jh_begin(v, 1 + xtree_credits_from(&d->t, d->cpos, DENSE_RUNS) +
			  reservation_credits(&d->r), &h);
	if (err)
		return err;
	for (unsigned i = 0; i < d->n && !err; i++) {
		struct extent e = { .cpos = cpos, .len = d->run[i].len,
				    .blkno = (blkno_t)d->run[i].start * v->bpc };

		err = claim_planned(h, &d->r, d->run[i].start, d->run[i].len);
		changed |= !err;
		if (!err)
			err = xtree_insert(h, &d->t, &e, &d->r);
		cpos += e.len;
	}
	if (!err) {
		d->inode->size = size;
		file_touch(d->inode);
		err = inode_store(h, d->inode);
		d->inode->datasync_tid = d->inode->sync_tid;
	}
	return file_end(h, err, changed, "extending a file");
}

/* Allocate and zero some clusters from the end of the tree on. */
static int dense_step(struct vol_inode *inode, struct buf *b, uint32_t cpos, uint64_t to)
{
	struct vol *v = inode->vol;
	struct dense d = { .inode = inode, .cpos = cpos };
	uint32_t most = DATA_CHUNK >> v->info.clustersize_bits;
	int err;

	xtree_dinode(&d.t, inode, b);
	d.want = bytes_to_clusters_up(v, to) - cpos;
	if (d.want > most)
		d.want = most;
	err = dense_prepare(&d);
	if (!err)
		err = dense_commit(&d, min_u64(to, cluster_byte(v, cpos + d.want)));
	reservation_release(v, &d.r);
	return err;
}

int extend_dense(struct vol_inode *inode, uint64_t to)
{
	struct vol *v = inode->vol;
	struct extent last;
	struct xtree t;
	struct buf *b;
	uint32_t cpos;
	int err;

	err = zero_gap(inode, inode->size, to);
	if (!err)
		err = inode_buf(inode, &b);
	if (err)
		return err;
	while (!err && inode->size < to) {
		xtree_dinode(&t, inode, b);
		err = xtree_last(&t, &last);
		if (err && err != -ENOENT)
			break;
		cpos = err ? 0 : last.cpos + last.len;
		err = 0;
		if (cluster_byte(v, cpos) >= to) {
			struct jhandle *h;

			err = jh_begin(v, 1, &h);
			if (err)
				break;
			inode->size = to;
			file_touch(inode);
			err = inode_store(h, inode);
			inode->datasync_tid = inode->sync_tid;
			err = file_end(h, err, true, "extending a file");
			break;
		}
		err = dense_step(inode, b, cpos, to);
	}
	bc_put(b);
	return err;
}
