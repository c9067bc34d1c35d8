/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test-bcache.c: which blocks are read, which are kept, what is refused. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include "fs/volume/bcache_int.h"
#include "tests/volume/image.h"

enum { BS = 4096 };

static struct image im;
static struct vol *v;

static void setup(void)
{
	image_make(&im, "64M -b 4K -C 4K --fs-feature-level=max-features");
	image_mount(&im);
	v = im.v;
}

static void teardown(void)
{
	image_free(&im);
}

TestSuite(bcache, .init = setup, .fini = teardown, .timeout = 120);

static blkno_t root(void)
{
	return vol_info(v)->root_blkno;
}

static void flip(blkno_t blkno, unsigned byte, uint8_t bits)
{
	uint8_t c;

	image_peek(&im, blkno * BS + byte, &c, 1);
	c ^= bits;
	image_poke(&im, blkno * BS + byte, &c, 1);
}

static struct buf *must_read(blkno_t blkno, struct vol_inode *owner)
{
	struct buf *b;

	cr_assert_eq(bc_read(v, blkno, BLK_DINODE, owner, &b), 0);
	return b;
}

/* Does the next read see what is on the device? */
static bool reads_device(struct vol_inode *owner)
{
	struct ocfs2_dinode *di;
	struct buf *b;
	bool seen;

	flip(root(), offsetof(struct ocfs2_dinode, i_attr), 1); /* one bit: corrected when read */
	b = must_read(root(), owner);
	di = (void *)b->data;
	(void)di;
	seen = strstr(im.said, "corrected one bit") != NULL;
	bc_put(b);
	flip(root(), offsetof(struct ocfs2_dinode, i_attr), 1);
	im.said[0] = 0;
	return seen;
}

Test(bcache, a_block_is_read_once_for_its_owner)
{
	bc_put(must_read(root(), vol_root(v)));
	cr_assert_not(reads_device(vol_root(v)));
}

Test(bcache, a_purge_drops_the_owners_blocks)
{
	bc_put(must_read(root(), vol_root(v)));
	bc_purge(v, vol_root(v));
	cr_assert(reads_device(vol_root(v)));
}

Test(bcache, another_owner_reads_again)
{
	bc_put(must_read(root(), vol_root(v)));
	cr_assert(reads_device(v->sysdir));
	cr_assert(reads_device(NULL));
	cr_assert(reads_device(NULL), "nobody's blocks are not kept");
}

Test(bcache, a_forgotten_block_is_read_again)
{
	bc_put(must_read(root(), vol_root(v)));
	bc_forget(v, root());
	cr_assert(reads_device(vol_root(v)));
}

Test(bcache, a_held_block_is_not_read_over)
{
	struct buf *held = must_read(root(), vol_root(v)), *b;
	uint8_t before = held->data[100];

	bc_purge(v, vol_root(v));
	b = must_read(root(), vol_root(v));
	cr_assert_neq(b, held);
	b->data[100] = (uint8_t)~before;
	cr_assert_eq(held->data[100], before);
	bc_put(held);
	bc_put(b);
}

Test(bcache, a_logged_block_is_current_for_everybody)
{
	struct buf *b = must_read(root(), vol_root(v)), *again;
	struct jhandle *h;

	cr_assert_eq(jh_begin(v, 1, &h), 0);
	cr_assert_eq(jh_write(h, b, vol_root(v)), 0);
	cr_assert_eq(jh_end(h, false), 0);
	bc_purge(v, vol_root(v));
	again = must_read(root(), v->sysdir);
	cr_assert_eq(again, b);
	bc_put(again);
	bc_put(b);
	cr_assert_eq(vol_checkpoint(v), 0);
	cr_assert(reads_device(vol_root(v)), "clean again, and another's");
}

Test(bcache, one_wrong_bit_is_corrected_two_are_not)
{
	struct buf *b;

	flip(root(), 300, 8);
	b = must_read(root(), NULL);
	bc_put(b);
	cr_assert(strstr(im.said, "corrected one bit"), "%s", im.said);
	flip(root(), 301, 3);
	cr_assert_eq(bc_read(v, root(), BLK_DINODE, NULL, &b), -EIO);
	cr_assert_eq(im.stopped, 0, "costs the object, not the volume");
}

Test(bcache, a_block_of_another_kind_is_damage)
{
	struct buf *b;

	cr_assert_eq(bc_read(v, root(), BLK_EXTENT, NULL, &b), -EIO);
	im.stopped = 0;
	cr_assert_eq(bc_read(v, v->first_cluster_group, BLK_DINODE, NULL, &b), -EIO);
}

Test(bcache, numbers_outside_the_volume_are_damage)
{
	struct buf *b;

	cr_assert_eq(bc_read(v, 1ull << 50, BLK_DINODE, NULL, &b), -EIO);
	cr_assert_eq(im.stopped, 1);
	cr_assert_eq(bc_read(v, 0, BLK_DINODE, NULL, &b), -EIO);
	cr_assert_eq(im.stopped, 1, "said once");
}

static void *read_many(void *arg)
{
	for (int i = 0; i < 200; i++) {
		struct buf *b = must_read(root(), arg), *same = must_read(root(), arg);

		cr_assert_eq(b, same);
		bc_put(b);
		bc_put(same);
	}
	return NULL;
}

Test(bcache, readers_share_one_buffer)
{
	pthread_t t[6];

	bc_purge(v, vol_root(v));
	for (int i = 0; i < 6; i++)
		cr_assert_eq(pthread_create(&t[i], NULL, read_many, vol_root(v)), 0);
	for (int i = 0; i < 6; i++)
		pthread_join(t[i], NULL);
}

Test(bcache, idle_blocks_are_bounded)
{
	struct buf *b, *held;

	bcache_limit(v, 1 << 20);
	cr_assert_eq(bc_read(v, 5000, BLK_RAW, v->sysdir, &held), 0);
	for (blkno_t n = 6000; n < 8000; n++) {
		cr_assert_eq(bc_read(v, n, BLK_RAW, v->sysdir, &b), 0);
		bc_put(b);
		cr_assert_leq(bcache_idle_bytes(v), (1 << 20) + 64 * BS);
	}
	cr_assert_gt(bcache_idle_bytes(v), 1 << 19);
	cr_assert_eq(bc_read(v, 5000, BLK_RAW, v->sysdir, &b), 0);
	cr_assert_eq(b, held, "what is held stays");
	bc_put(b);
	bc_put(held);
}

Test(bcache, a_new_block_is_zeroed_and_not_read)
{
	struct jhandle *h;
	struct buf *b;
	uint8_t c = 'x';

	image_poke(&im, 15000ull * BS + 7, &c, 1);
	cr_assert_eq(jh_begin(v, 1, &h), 0);
	cr_assert_eq(bc_new(v, 15000, BLK_RAW, vol_root(v), &b), 0);
	cr_assert_eq(b->data[7], 0);
	cr_assert_eq(jh_write(h, b, NULL), 0);
	bc_put(b);
	cr_assert_eq(jh_end(h, false), 0);
	cr_assert_eq(vol_checkpoint(v), 0);
	image_peek(&im, 15000ull * BS + 7, &c, 1);
	cr_assert_eq(c, 0);
}

Test(bcache, a_direct_write_is_sealed)
{
	struct buf *b = must_read(root(), vol_root(v));

	((struct ocfs2_dinode *)b->data)->i_attr ^= htole32(0x8080);
	cr_assert_eq(bc_write_direct(v, b), 0);
	bc_put(b);
	bc_purge(v, vol_root(v));
	im.said[0] = 0;
	bc_put(must_read(root(), NULL));
	cr_assert_null(strstr(im.said, "bit"), "%s", im.said);
}

Test(bcache, a_stale_inode_is_told_from_damage)
{
	struct vol_new what = { .mode = S_IFREG | 0644 };
	struct vol_inode *inode;
	blkno_t blkno;

	cr_assert_eq(vol_create(vol_root(v), "f", 1, &what, &inode), 0);
	blkno = inode->blkno;
	cr_assert_eq(vol_unlink(vol_root(v), "f", 1, inode), 0);
	cr_assert_eq(vol_wipe(inode), 0);
	vol_iput(inode);
	cr_assert_eq(vol_checkpoint(v), 0);
	cr_assert_eq(vol_iget(v, blkno, &inode), 0);
	cr_assert_eq(vol_inode_refresh(inode), -ESTALE);
	vol_iput(inode);
	cr_assert_eq(im.stopped, 0);
}
