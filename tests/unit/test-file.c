/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Content of files against bytes in memory, on images full of junk, so that a byte
 * that should read as zero and was not zeroed shows. Each ends with fsck.ocfs2.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "tests/unit/volfix.h"

#define FILE_MAX (6u << 20)

struct model {
	struct vol_inode *inode;
	uint8_t *bytes, *io;
	uint64_t size;
};

static void model_new(struct model *m, struct vol_inode *inode)
{
	m->inode = inode;
	m->bytes = calloc(1, FILE_MAX);
	m->io = blockdev_alloc(FILE_MAX + 4096);
	m->size = 0;
	cr_assert(m->bytes && m->io);
}

static void model_free(struct model *m)
{
	vol_iput(m->inode);
	free(m->bytes);
	free(m->io);
}

static void check_range(struct model *m, uint64_t off, size_t len, size_t skew)
{
	size_t got, want = off >= m->size ? 0 : m->size - off < len ? m->size - off : len;

	memset(m->io + skew, 0x5a, len);
	cr_assert_eq(vol_read(m->inode, m->io + skew, len, off, &got), 0);
	cr_assert_eq(got, want);
	for (size_t i = 0; i < got; i++)
		cr_assert_eq(m->io[skew + i], m->bytes[off + i], "byte %llu of %llu is %02x, not %02x",
			     (unsigned long long)(off + i), (unsigned long long)m->size,
			     m->io[skew + i], m->bytes[off + i]);
}

static void check_all(struct model *m)
{
	cr_assert_eq(m->inode->size, m->size);
	check_range(m, 0, FILE_MAX, 0);
}

static void put(struct model *m, uint64_t off, size_t len, size_t skew, bool append, struct rnd *r)
{
	size_t done;

	if (append)
		off = m->size;
	if (off + len > FILE_MAX)
		return;
	for (size_t i = 0; i < len; i++)
		m->io[skew + i] = (uint8_t)rnd_next(r);
	memcpy(m->bytes + off, m->io + skew, len);
	cr_assert_eq(vol_write(m->inode, m->io + skew, len, &(uint64_t){ append ? 0 : off }, append,
			       false, &done), 0);
	cr_assert_eq(done, len);
	if (len && off + len > m->size)
		m->size = off + len;
}

static void cut(struct model *m, uint64_t size)
{
	cr_assert_eq(vol_truncate(m->inode, size), 0);
	if (size < m->size)
		memset(m->bytes + size, 0, m->size - size);
	m->size = size;
}

/* Where the volume has unwritten extents; else it is refused and nothing changes. */
static void fallocate_it(struct model *m, uint64_t off, size_t len, unsigned how)
{
	uint64_t end = off + len;
	int err;

	if (end > FILE_MAX || len == 0)
		return;
	err = vol_fallocate(m->inode, off, len, how);
	if (err == -EOPNOTSUPP)
		return;
	cr_assert_eq(err, 0, "%d", err);
	if (how & VOL_FALLOC_PUNCH)
		memset(m->bytes + off, 0, off < m->size ? (end < m->size ? end : m->size) - off : 0);
	else if (!(how & VOL_FALLOC_KEEP_SIZE) && end > m->size)
		m->size = end;
}

static uint64_t some_offset(struct model *m, struct rnd *r)
{
	uint64_t off = rnd_below(r, 3) ? rnd_below(r, (uint32_t)m->size + 1) : rnd_below(r, FILE_MAX);

	if (rnd_below(r, 10) == 0)
		off = rnd_below(r, 3000); /* inline or just not */
	return rnd_below(r, 3) ? off : off & ~4095ull;
}

static size_t some_length(struct rnd *r)
{
	size_t len = rnd_below(r, 4) ? rnd_below(r, 9000) : rnd_below(r, 1400000);

	return rnd_below(r, 3) ? len : len & ~(size_t)4095;
}

static void remount(struct volfix *f, struct model *m, bool crash)
{
	blkno_t blkno = m->inode->blkno;

	if (crash) {
		cr_assert_eq(vol_fsync(m->inode, rnd_below(&(struct rnd){ m->size }, 2)), 0);
		vol_iput(m->inode);
		volfix_crash(f);
	} else {
		vol_iput(m->inode);
		volfix_umount(f);
		volfix_fsck(f);
	}
	volfix_mount(f);
	cr_assert_eq(vol_iget(f->v, blkno, &m->inode), 0);
	cr_assert_eq(vol_inode_refresh(m->inode), 0);
	check_all(m);
}

static void random_ops(const struct volfix_form *form, unsigned steps)
{
	struct rnd r = { rnd_seed() };
	struct volfix f;
	struct model m;

	volfix_make(&f, form);
	model_new(&m, volfix_file(&f, "f"));
	for (unsigned i = 0; i < steps; i++) {
		size_t skew = rnd_below(&r, 2) ? 0 : rnd_below(&r, 4096);

		switch (rnd_below(&r, 13)) {
		case 0: case 1: case 2: case 3:
			put(&m, some_offset(&m, &r), some_length(&r), skew, false, &r);
			break;
		case 4: case 5:
			put(&m, 0, some_length(&r), skew, true, &r);
			break;
		case 6:
			cut(&m, rnd_below(&r, 4) ? some_offset(&m, &r) : 0);
			break;
		case 7:
			fallocate_it(&m, some_offset(&m, &r), some_length(&r), rnd_below(&r, 2));
			break;
		case 8: case 9:
			fallocate_it(&m, some_offset(&m, &r), some_length(&r),
				     VOL_FALLOC_PUNCH | VOL_FALLOC_KEEP_SIZE);
			break;
		default:
			check_range(&m, some_offset(&m, &r), some_length(&r), skew);
		}
		if (i % 97 == 96)
			remount(&f, &m, i & 1);
	}
	check_all(&m);
	model_free(&m);
	volfix_end(&f);
}

#define RANDOM_OPS(name, ...)                                                            \
	Test(file, random_operations_match_memory_##name)               \
	{                                                                                \
		random_ops(&(struct volfix_form){ __VA_ARGS__ }, 400);    \
	}
RANDOM_OPS(4k_4k, "4K", "4K", "default", NULL, 64, 2, NULL)
RANDOM_OPS(1k_4k, "1K", "4K", "default", "noindexed-dirs", 64, 2, NULL)
RANDOM_OPS(512_32k, "512", "32K", "default", "noindexed-dirs", 64, 2, NULL)
RANDOM_OPS(4k_1m, "4K", "1M", "default", NULL, 128, 2, "9")
RANDOM_OPS(4k_4k_max_features, "4K", "4K", "max-features", "nousrquota,nogrpquota", 64, 2, NULL)
RANDOM_OPS(4k_4k_max_compat, "4K", "4K", "max-compat", NULL, 64, 2, NULL)
RANDOM_OPS(1k_32k_max_compat, "1K", "32K", "max-compat", NULL, 64, 2, NULL)
RANDOM_OPS(2k_8k_noinline, "2K", "8K", "default", "noinline-data,noindexed-dirs", 64, 2, NULL)

/* ---- single claims ------------------------------------------------------------------ */

static const struct volfix_form plain = { "4K", "4K", "default", NULL, 64, 2, NULL };

Test(file, small_content_lies_in_the_inode_and_leaves_it_when_it_grows)
{
	struct rnd r = { 1 };
	struct volfix f;
	struct model m;

	volfix_make(&f, &plain);
	model_new(&m, volfix_file(&f, "f"));
	put(&m, 100, 1000, 0, false, &r);
	cr_assert(m.inode->dyn_features & OCFS2_INLINE_DATA_FL);
	cr_assert_eq(m.inode->clusters, 0);
	cr_assert_eq(vol_stat_blocks(m.inode), 3);
	put(&m, 0, 3896 - 1100, 0, true, &r);
	cr_assert(m.inode->dyn_features & OCFS2_INLINE_DATA_FL);
	cut(&m, 50);
	cut(&m, 3000);
	check_all(&m);
	put(&m, 3000, 1000, 0, false, &r);
	cr_assert_not(m.inode->dyn_features & OCFS2_INLINE_DATA_FL);
	cr_assert_eq(m.inode->clusters, 1);
	cr_assert_eq(vol_stat_blocks(m.inode), 8);
	check_all(&m);
	model_free(&m);
	volfix_end(&f);
}

Test(file, a_hole_takes_no_space_and_reads_as_zeros)
{
	struct rnd r = { 1 };
	struct volfix f;
	struct model m;

	volfix_make(&f, &plain);
	model_new(&m, volfix_file(&f, "f"));
	put(&m, 4 << 20, 10, 0, false, &r);
	cr_assert_eq(m.inode->clusters, 1);
	put(&m, 0, 10, 0, false, &r);
	cr_assert_eq(m.inode->clusters, 2);
	check_all(&m);
	model_free(&m);
	volfix_end(&f);
}

Test(file, without_the_sparse_feature_growth_fills_with_zeroed_clusters)
{
	struct volfix_form form = { "4K", "4K", "max-compat", NULL, 64, 2, NULL };
	struct rnd r = { 1 };
	struct volfix f;
	struct model m;

	volfix_make(&f, &form);
	model_new(&m, volfix_file(&f, "f"));
	put(&m, 2 << 20, 10, 0, false, &r);
	cr_assert_eq(m.inode->clusters, 513);
	cut(&m, 3 << 20);
	cr_assert_eq(m.inode->clusters, 768);
	check_all(&m);
	model_free(&m);
	volfix_end(&f);
}

/* What SEEK_HOLE or SEEK_DATA finds from off on; UINT64_MAX: -ENXIO. */
static uint64_t seek(struct model *m, uint64_t off, bool hole)
{
	uint64_t at = 0;
	int err = vol_seek(m->inode, off, hole, &at);

	cr_assert(err == 0 || err == -ENXIO);
	return err ? UINT64_MAX : at;
}

/* Clusters that another node preallocated. */
static void add_extent(struct vol_inode *inode, uint32_t cpos, uint32_t len, uint8_t flags)
{
	struct vol *v = inode->vol;
	struct reservation r = { 0 };
	uint32_t cluster, got;
	struct jhandle *h;
	struct xtree t;
	struct buf *b;

	cr_assert_eq(inode_buf(inode, &b), 0);
	xtree_dinode(&t, inode, b);
	cr_assert_eq(reserve_clusters(v, len, &r), 0);
	cr_assert_eq(jh_begin(v, xtree_edit_credits(&t) + reservation_credits(&r), &h), 0);
	cr_assert_eq(claim_clusters(h, &r, len, &cluster, &got), 0);
	cr_assert_eq(got, len);
	cr_assert_eq(xtree_insert(h, &t, &(struct extent){ cpos, len, (blkno_t)cluster * v->bpc, flags },
				  &r), 0);
	cr_assert_eq(jh_end(h, false), 0);
	reservation_release(v, &r);
	bc_put(b);
}

Test(file, writing_into_an_unwritten_extent_marks_only_what_was_written)
{
	struct rnd r = { 1 };
	struct extent e;
	struct volfix f;
	struct model m;
	struct xtree t;
	struct buf *b;

	volfix_make(&f, &plain);
	model_new(&m, volfix_file(&f, "f"));
	cut(&m, 16 * 4096);
	add_extent(m.inode, 2, 10, OCFS2_EXT_UNWRITTEN);
	check_all(&m);
	put(&m, 5 * 4096 + 100, 5000, 7, false, &r);
	check_all(&m);
	cr_assert_eq(inode_buf(m.inode, &b), 0);
	xtree_dinode(&t, m.inode, b);
	cr_assert_eq(xtree_lookup(&t, 5, &e), 0);
	cr_assert(e.cpos == 5 && e.len == 2 && e.flags == 0);
	cr_assert_eq(xtree_lookup(&t, 2, &e), 0);
	cr_assert(e.cpos == 2 && e.len == 3 && e.flags == OCFS2_EXT_UNWRITTEN);
	bc_put(b);
	cr_assert_eq(m.inode->clusters, 10);
	model_free(&m);
	volfix_end(&f);
}

Test(file, holes_and_unwritten_extents_are_found)
{
	struct rnd r = { 1 };
	struct volfix f;
	struct model m;

	volfix_make(&f, &plain);
	model_new(&m, volfix_file(&f, "f"));
	cr_assert_eq(seek(&m, 0, true), UINT64_MAX, "an empty file has nothing");
	put(&m, 0, 100, 0, false, &r);
	cr_assert_eq(seek(&m, 7, false), 7, "inline");
	cr_assert_eq(seek(&m, 7, true), 100);
	cr_assert_eq(seek(&m, 100, true), UINT64_MAX);
	put(&m, 8 * 4096 + 5, 4096, 0, false, &r); /* clusters 0, 8 and 9 */
	cut(&m, 30 * 4096 + 1);
	add_extent(m.inode, 20, 4, OCFS2_EXT_UNWRITTEN);
	cr_assert_eq(seek(&m, 0, false), 0);
	cr_assert_eq(seek(&m, 0, true), 4096);
	cr_assert_eq(seek(&m, 4095, true), 4096);
	cr_assert_eq(seek(&m, 5000, true), 5000);
	cr_assert_eq(seek(&m, 5000, false), 8 * 4096);
	cr_assert_eq(seek(&m, 8 * 4096 + 1, false), 8 * 4096 + 1);
	cr_assert_eq(seek(&m, 8 * 4096, true), 10 * 4096);
	cr_assert_eq(seek(&m, 10 * 4096, false), UINT64_MAX, "unwritten is not data");
	cr_assert_eq(seek(&m, 21 * 4096, true), 21 * 4096);
	cr_assert_eq(seek(&m, 30 * 4096, true), 30 * 4096);
	cr_assert_eq(seek(&m, m.size, true), UINT64_MAX);
	put(&m, 30 * 4096, 1, 0, false, &r);
	cr_assert_eq(seek(&m, 10 * 4096, false), 30 * 4096);
	cr_assert_eq(seek(&m, 30 * 4096, true), m.size, "the end is a hole");
	model_free(&m);
	volfix_end(&f);
}

Test(file, fallocate_takes_space_and_a_punched_hole_gives_it_back)
{
	struct rnd r = { 1 };
	struct volfix f;
	struct model m;

	volfix_make(&f, &plain);
	model_new(&m, volfix_file(&f, "f"));
	put(&m, 5 * 4096, 100, 0, false, &r);
	cr_assert_eq(m.inode->clusters, 1);
	fallocate_it(&m, 4097, 9 * 4096, 0);
	cr_assert_eq(m.inode->size, 10 * 4096 + 1);
	cr_assert_eq(m.inode->clusters, 10, "clusters 1 to 10");
	check_all(&m);
	cr_assert_eq(seek(&m, 0, false), 5 * 4096, "what is unwritten is a hole");
	cr_assert_eq(vol_fallocate(m.inode, 0, 4096, VOL_FALLOC_KEEP_SIZE), 0);
	cr_assert_eq(m.inode->clusters, 11);
	cr_assert_eq(vol_fallocate(m.inode, 0, 1 << 20, VOL_FALLOC_KEEP_SIZE), -EOPNOTSUPP,
		     "beyond the size");
	put(&m, 0, 10 * 4096 + 1, 0, false, &r);
	cr_assert_eq(m.inode->clusters, 11);
	fallocate_it(&m, 4095, 3 * 4096, VOL_FALLOC_PUNCH | VOL_FALLOC_KEEP_SIZE);
	cr_assert_eq(m.inode->clusters, 9, "clusters 1 and 2");
	fallocate_it(&m, 10 * 4096, 1 << 20, VOL_FALLOC_PUNCH | VOL_FALLOC_KEEP_SIZE);
	cr_assert_eq(m.inode->clusters, 8, "and the last one, of one byte");
	fallocate_it(&m, 6 * 4096 + 5, 6, VOL_FALLOC_PUNCH | VOL_FALLOC_KEEP_SIZE);
	cr_assert_eq(m.inode->clusters, 8);
	check_all(&m);
	remount(&f, &m, true);
	model_free(&m);
	volfix_end(&f);
}

/* Every second cluster of a file of three leaves: records split, then leaves run empty. */
Test(file, punching_every_second_cluster_and_then_all)
{
	static const struct volfix_form small = { "512", "4K", "default", "noindexed-dirs", 64, 2, NULL };
	struct rnd r = { 1 };
	struct volfix f;
	struct model m;

	volfix_make(&f, &small);
	model_new(&m, volfix_file(&f, "f"));
	put(&m, 0, 160 * 4096, 0, false, &r);
	for (unsigned i = 1; i < 160; i += 2)
		fallocate_it(&m, i * 4096ull, 4096, VOL_FALLOC_PUNCH | VOL_FALLOC_KEEP_SIZE);
	cr_assert_eq(m.inode->clusters, 80);
	remount(&f, &m, false);
	fallocate_it(&m, 30 * 4096 + 1, 100 * 4096, VOL_FALLOC_PUNCH | VOL_FALLOC_KEEP_SIZE);
	remount(&f, &m, true);
	fallocate_it(&m, 0, 160 * 4096, VOL_FALLOC_PUNCH | VOL_FALLOC_KEEP_SIZE);
	cr_assert_eq(m.inode->clusters, 0);
	check_all(&m);
	model_free(&m);
	volfix_end(&f);
}

Test(file, fallocate_that_finds_no_space_leaves_the_size)
{
	struct rnd r = { 1 };
	struct vol_statfs s;
	struct volfix f;
	struct model m;

	volfix_make(&f, &plain);
	model_new(&m, volfix_file(&f, "f"));
	put(&m, 0, 5000, 0, false, &r);
	cr_assert_eq(vol_fallocate(m.inode, 0, 1 << 30, 0), -ENOSPC);
	check_all(&m);
	cr_assert_eq(vol_tl_flush(f.v), 0);
	cr_assert_eq(vol_statfs(f.v, &s), 0);
	cr_assert_gt(s.bfree, 0);
	put(&m, 5000, 100000, 0, false, &r);
	check_all(&m);
	model_free(&m);
	volfix_end(&f);
}

Test(file, shared_clusters_are_not_written)
{
	struct volfix f;
	struct model m;
	size_t done;

	volfix_make(&f, &plain);
	model_new(&m, volfix_file(&f, "f"));
	cut(&m, 4 * 4096);
	add_extent(m.inode, 0, 2, OCFS2_EXT_REFCOUNTED);
	m.inode->dyn_features |= OCFS2_HAS_REFCOUNT_FL;
	cr_assert_eq(vol_write(m.inode, "x", 1, &(uint64_t){ 10 }, false, false, &done), -EOPNOTSUPP);
	cr_assert_eq(vol_truncate(m.inode, 0), -EOPNOTSUPP);
	cr_assert_eq(m.inode->size, m.size);
	cr_assert_eq(m.inode->clusters, 2);
	model_free(&m);
	volfix_umount(&f);
	close(f.fd);
}

Test(file, set_id_bits_go_when_asked)
{
	struct vol_setattr set = { .valid = VOL_SET_MODE, .mode = 06755 };
	struct vol_inode *inode;
	struct volfix f;
	size_t done;

	volfix_make(&f, &plain);
	inode = volfix_file(&f, "f");
	cr_assert_eq(vol_setattr(inode, &set), 0);
	cr_assert_eq(vol_write(inode, "x", 1, &(uint64_t){ 0 }, false, false, &done), 0);
	cr_assert_eq(inode->mode & 07777, 06755);
	cr_assert_eq(vol_write(inode, "x", 1, &(uint64_t){ 0 }, false, true, &done), 0);
	cr_assert_eq(inode->mode & 07777, 0755);
	vol_iput(inode);
	volfix_end(&f);
}

Test(file, a_full_volume_refuses_cleanly_and_has_room_again_after_a_truncate)
{
	struct volfix_form form = { "4K", "4K", "default", NULL, 40, 2, NULL };
	uint8_t *mb = blockdev_alloc(1 << 20);
	struct vol_inode *inode;
	struct vol_statfs st;
	struct volfix f;
	uint64_t off = 0;
	size_t done;
	int err;

	volfix_make(&f, &form);
	inode = volfix_file(&f, "f");
	memset(mb, 'x', 1 << 20);
	for (;;) {
		err = vol_write(inode, mb, 1 << 20, &off, false, false, &done);
		off += done;
		if (err)
			break;
		cr_assert_lt(off, 64u << 20);
	}
	cr_assert_eq(err, -ENOSPC);
	cr_assert_eq(vol_statfs(f.v, &st), 0);
	cr_assert_eq(st.bfree, 0, "every cluster was used, %llu were left",
		     (unsigned long long)st.bfree);
	cr_assert_eq(inode->size, off);
	cr_assert_eq(vol_truncate(inode, 1 << 20), 0);
	/* the space is in the truncate log; nobody but the next write flushes it */
	off = 1 << 20;
	cr_assert_eq(vol_write(inode, mb, 1 << 20, &off, false, false, &done), 0);
	cr_assert_eq(done, 1 << 20);
	vol_iput(inode);
	volfix_end(&f);
	free(mb);
}

Test(file, what_fsync_promised_is_there_after_a_crash)
{
	struct rnd r = { 1 };
	struct volfix f;
	struct model m;

	volfix_make(&f, &plain);
	model_new(&m, volfix_file(&f, "f"));
	for (int i = 0; i < 8; i++) {
		put(&m, 0, 200000, (size_t)i, true, &r);
		remount(&f, &m, true);
		cut(&m, m.size - 100000);
		put(&m, rnd_below(&r, (uint32_t)m.size), 5000, 1, false, &r);
		remount(&f, &m, true);
	}
	model_free(&m);
	volfix_end(&f);
}

/* ---- a device that fails or counts ----------------------------------------------------- */

static const struct blockdev_ops *real_ops;
static struct blockdev_ops test_ops;
static int fail_writes;			/* this many more fail */
static unsigned writes, flushes;

static int test_rw(struct blockdev *bd, struct bd_io *io, unsigned n, bool write)
{
	writes += write;
	if (write && fail_writes > 0) {
		fail_writes--;
		for (unsigned i = 0; i < n; i++)
			io[i].err = -EIO;
		return -EIO;
	}
	return real_ops->rw(bd, io, n, write);
}

static int test_flush(struct blockdev *bd)
{
	flushes++;
	return real_ops->flush(bd);
}

static void watch(struct volfix *f)
{
	real_ops = f->dev->ops;
	test_ops = *real_ops;
	test_ops.rw = test_rw;
	test_ops.flush = test_flush;
	f->dev->ops = &test_ops;
}

Test(file, data_that_could_not_be_written_leaves_the_file_and_the_volume_as_they_were)
{
	struct rnd r = { 1 };
	struct vol_statfs before, after;
	struct volfix f;
	struct model m;
	size_t done;

	volfix_make(&f, &plain);
	model_new(&m, volfix_file(&f, "f"));
	put(&m, 0, 100000, 0, false, &r);
	cr_assert_eq(vol_statfs(f.v, &before), 0);
	cr_assert_eq(vol_sync(f.v), 0);
	watch(&f);
	for (uint64_t off = 50000; off < 3000000; off *= 2) {
		fail_writes = 1;
		cr_assert_eq(vol_write(m.inode, m.io, 70000, &(uint64_t){ off }, false, false, &done),
			     -EIO);
		cr_assert_eq(done, 0);
		cr_assert_eq(fail_writes, 0);
		cr_assert_not(vol_is_stopped(f.v));
		cr_assert_eq(m.inode->size, m.size);
		check_range(&m, 0, 50000, 0);
		check_range(&m, 50000, 200000, 0); /* nothing of it was written */
	}
	cr_assert_eq(vol_statfs(f.v, &after), 0);
	cr_assert_eq(after.bfree, before.bfree);
	put(&m, 40000, 100000, 0, false, &r);
	check_all(&m);
	model_free(&m);
	volfix_end(&f);
}

Test(file, fdatasync_after_overwriting_flushes_and_fsync_commits_once)
{
	struct rnd r = { 1 };
	struct volfix f;
	struct model m;

	volfix_make(&f, &plain);
	model_new(&m, volfix_file(&f, "f"));
	put(&m, 0, 65536, 0, false, &r);
	cr_assert_eq(vol_fsync(m.inode, false), 0);
	put(&m, 4096, 4096, 0, false, &r);
	watch(&f);
	writes = flushes = 0;
	cr_assert_eq(vol_fsync(m.inode, true), 0);
	cr_assert_eq(writes, 0, "no commit for a time stamp");
	cr_assert_eq(flushes, 1);
	cr_assert_eq(vol_fsync(m.inode, false), 0);
	cr_assert_gt(writes, 0);
	writes = flushes = 0;
	cr_assert_eq(vol_fsync(m.inode, false), 0);
	cr_assert_eq(vol_fsync(m.inode, true), 0);
	cr_assert_eq(writes + flushes, 0, "durable already");
	put(&m, 65536, 4096, 0, false, &r);
	writes = flushes = 0;
	cr_assert_eq(vol_fsync(m.inode, true), 0);
	cr_assert_gt(writes, 0, "a new size needs its commit");
	model_free(&m);
	volfix_end(&f);
}

/* ---- side by side -------------------------------------------------------------------- */

struct worker {
	pthread_t thread;
	struct model m;
	uint64_t seed;
};

static void *work(void *arg)
{
	struct worker *w = arg;
	struct rnd r = { w->seed };

	for (int i = 0; i < 120; i++) {
		switch (rnd_below(&r, 6)) {
		case 0:
			cut(&w->m, some_offset(&w->m, &r));
			break;
		case 1:
			check_range(&w->m, some_offset(&w->m, &r), some_length(&r), 0);
			break;
		case 2:
			cr_assert_eq(vol_fsync(w->m.inode, true), 0);
			break;
		case 3:
			if (vol_tl_due(w->m.inode->vol) || rnd_below(&r, 4) == 0)
				cr_assert_eq(vol_tl_flush(w->m.inode->vol), 0);
			break;
		default:
			put(&w->m, some_offset(&w->m, &r), some_length(&r), 0, rnd_below(&r, 2), &r);
		}
	}
	return NULL;
}

Test(file, several_writers_of_several_files_do_not_disturb_each_other)
{
	struct worker w[4];
	struct volfix f;
	char name[8];

	volfix_make(&f, &(struct volfix_form){ "4K", "4K", "default", NULL, 100, 2, NULL });
	for (int i = 0; i < 4; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		model_new(&w[i].m, volfix_file(&f, name));
		w[i].seed = rnd_seed() + (uint64_t)i;
	}
	for (int i = 0; i < 4; i++)
		cr_assert_eq(pthread_create(&w[i].thread, NULL, work, &w[i]), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(w[i].thread, NULL);
	for (int i = 0; i < 4; i++) {
		check_all(&w[i].m);
		model_free(&w[i].m);
	}
	volfix_end(&f);
}
