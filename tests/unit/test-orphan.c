/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test-orphan.c: from the last name to the last block, also over crashes. */
#include "dir-image.h"
#include "fs/volume/dir_int.h"

#define OPTIONS "-b 4K -C 4K -N 2 -J size=4M "

static struct image im;

static void setup(const char *options)
{
	image_make(&im, 200, options);
	im.localalloc_mb = 0;
	image_open(&im);
}

static void finish(void)
{
	blkno_t sysdir = vol_info(im.vol)->sysdir_blkno;

	image_close(&im, false);
	image_check(&im, sysdir);
	image_free(&im);
}

static struct vol_inode *make(struct vol_inode *dir, const char *name, uint16_t mode)
{
	struct vol_new what = { .mode = mode };
	struct vol_inode *inode = NULL;

	cr_assert_eq(vol_create(dir, name, strlen(name), &what, &inode), 0);
	return inode;
}

static void put_text(struct vol_inode *inode, size_t len, uint64_t at)
{
	char *text = malloc(len);
	size_t done;

	memset(text, 'x', len);
	cr_assert_eq(vol_write(inode, text, len, &at, false, false, &done), 0);
	cr_assert_eq(done, len);
	free(text);
}

static void unlink_it(struct vol_inode *dir, const char *name, struct vol_inode *inode)
{
	cr_assert_eq(vol_unlink(dir, name, strlen(name), inode), 0);
}

struct space {
	uint64_t bfree, ffree;
};

/* With everything given back that can be. */
static struct space space(void)
{
	struct vol_statfs s;

	cr_assert_eq(vol_tl_flush(im.vol), 0);
	cr_assert_eq(vol_statfs(im.vol, &s), 0);
	return (struct space){ s.bfree, s.ffree };
}

struct orphans {
	blkno_t blkno[64];
	unsigned n, dio;
};

static void found(void *ctx, blkno_t blkno, bool dio)
{
	struct orphans *o = ctx;

	cr_assert_lt(o->n, 64);
	o->blkno[o->n++] = blkno;
	o->dio += dio;
}

static struct orphans orphans(unsigned slot)
{
	struct orphans o = { .n = 0 };

	cr_assert_eq(vol_orphans_each(im.vol, slot, found, &o), 0);
	return o;
}

static void wipe_all(unsigned slot)
{
	struct orphans o = orphans(slot);

	for (unsigned i = 0; i < o.n; i++) {
		struct vol_inode *inode;

		cr_assert_eq(vol_iget(im.vol, o.blkno[i], &inode), 0);
		if (!inode->loaded)
			cr_assert_eq(vol_inode_refresh(inode), 0);
		cr_assert_eq(vol_wipe(inode), 0);
		vol_iput(inode);
	}
}

Test(orphan, an_unlinked_file_is_readable_until_it_is_wiped)
{
	struct vol_inode *root, *inode;
	struct orphans o;
	char back[4];
	size_t got;

	setup(OPTIONS);
	root = vol_root(im.vol);
	inode = make(root, "open", S_IFREG | 0644);
	put_text(inode, 100000, 0);
	unlink_it(root, "open", inode);
	o = orphans(0);
	cr_assert_eq(o.n, 1);
	cr_assert_eq(o.blkno[0], inode->blkno);
	cr_assert_eq(inode->orphaned_slot, 0);
	cr_assert_eq(vol_read(inode, back, 4, 50000, &got), 0);
	cr_assert_eq(got, 4);
	cr_assert_eq(memcmp(back, "xxxx", 4), 0);
	cr_assert_eq(vol_wipe(inode), 0);
	cr_assert(inode->wiped);
	cr_assert_eq(orphans(0).n, 0);
	cr_assert_eq(vol_wipe(inode), -ESTALE, "a second wipe is refused");
	vol_iput(inode);
	finish();
}

Test(orphan, what_has_a_name_is_never_wiped)
{
	struct vol_inode *root, *inode;

	setup(OPTIONS);
	root = vol_root(im.vol);
	inode = make(root, "named", S_IFREG | 0644);
	cr_assert_eq(vol_wipe(inode), -EINVAL);
	cr_assert_eq(vol_link(root, "again", 5, inode), 0);
	unlink_it(root, "named", inode);
	cr_assert_eq(inode->nlink, 1);
	cr_assert_eq(vol_wipe(inode), -EINVAL);
	cr_assert_eq(vol_wipe(root), -EINVAL);
	vol_iput(inode);
	finish();
}

static void space_comes_back(const char *options)
{
	struct vol_inode *root, *file, *dir, *link, *inode;
	char target[4000], name[200];
	struct vol_new what = { .mode = S_IFLNK | 0777, .target = target };
	struct space before, after;

	memset(target, 't', sizeof(target));
	target[3999] = 0;
	setup(options);
	root = vol_root(im.vol);
	/* Groups of the allocators stay theirs: have them before measuring. */
	inode = make(root, "first", S_IFREG | 0644);
	unlink_it(root, "first", inode);
	cr_assert_eq(vol_wipe(inode), 0);
	vol_iput(inode);
	dir = make(root, "dir", S_IFDIR | 0755);
	for (int i = 0; i < 300; i++) {
		snprintf(name, sizeof(name), "%0150d", i);
		vol_iput(make(dir, name, S_IFREG | 0644));
	}
	for (int i = 0; i < 300; i++) {
		struct vol_found f;

		snprintf(name, sizeof(name), "%0150d", i);
		cr_assert_eq(vol_lookup(dir, name, 150, &f), 0);
		cr_assert_eq(vol_iget(im.vol, f.blkno, &inode), 0);
		if (!inode->loaded)
			cr_assert_eq(vol_inode_refresh(inode), 0);
		unlink_it(dir, name, inode);
		cr_assert_eq(vol_wipe(inode), 0);
		vol_iput(inode);
	}
	unlink_it(root, "dir", dir);
	cr_assert_eq(vol_wipe(dir), 0);
	vol_iput(dir);

	before = space();
	file = make(root, "file", S_IFREG | 0644);
	for (int i = 0; i < 40; i++)	/* every other cluster: many extents */
		put_text(file, 4096, (uint64_t)i * 8192);
	dir = make(root, "dir", S_IFDIR | 0755);
	for (int i = 0; i < 300; i++) {
		snprintf(name, sizeof(name), "%0150d", i);
		cr_assert_eq(vol_link(dir, name, 150, file), 0);
	}
	cr_assert_eq(vol_create(root, "link", 4, &what, &link), 0);
	cr_assert_lt(space().bfree, before.bfree);
	for (int i = 0; i < 300; i++) {
		snprintf(name, sizeof(name), "%0150d", i);
		unlink_it(dir, name, file);
	}
	unlink_it(root, "dir", dir);
	unlink_it(root, "link", link);
	unlink_it(root, "file", file);
	cr_assert_eq(orphans(0).n, 3);
	cr_assert_eq(vol_wipe(dir), 0);
	cr_assert_eq(vol_wipe(link), 0);
	cr_assert_eq(vol_wipe(file), 0);
	vol_iput(dir);
	vol_iput(link);
	vol_iput(file);
	after = space();
	cr_assert_eq(after.bfree, before.bfree, "blocks: %llu before, %llu after",
		     (unsigned long long)before.bfree, (unsigned long long)after.bfree);
	cr_assert_eq(after.ffree, before.ffree);
	finish();
}

Test(orphan, space_comes_back)
{
	space_comes_back(OPTIONS);
}

Test(orphan, space_comes_back_with_all_features)
{
	space_comes_back(OPTIONS "--fs-feature-level=max-features");
}

Test(orphan, space_comes_back_with_no_features)
{
	space_comes_back(OPTIONS "--fs-feature-level=max-compat");
}

Test(orphan, an_orphaned_directory_counts_as_a_link_of_the_orphan_directory)
{
	struct vol_inode *root, *dir, *od;

	setup(OPTIONS);
	root = vol_root(im.vol);
	dir = make(root, "dir", S_IFDIR | 0755);
	cr_assert_eq(root->nlink, 4, "lost+found and dir");
	unlink_it(root, "dir", dir);
	od = vol_sys_inode(im.vol, VOL_SYS_ORPHAN_DIR, 0);
	cr_assert_eq(root->nlink, 3);
	cr_assert_eq(od->nlink, 3);
	cr_assert_eq(vol_wipe(dir), 0);
	cr_assert_eq(od->nlink, 2);
	vol_iput(dir);
	finish();
}

Test(orphan, many_orphans_outgrow_the_inode_of_the_orphan_directory)
{
	struct vol_inode *root, *inode[300];
	char name[16];

	setup(OPTIONS);
	root = vol_root(im.vol);
	for (int i = 0; i < 300; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		inode[i] = make(root, name, S_IFREG | 0644);
	}
	for (int i = 0; i < 300; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		unlink_it(root, name, inode[i]);
	}
	for (int i = 0; i < 300; i++) {
		cr_assert_eq(vol_wipe(inode[i]), 0);
		vol_iput(inode[i]);
	}
	cr_assert_eq(orphans(0).n, 0);
	finish();
}

Test(orphan, a_crash_after_unlink_leaves_an_orphan_that_is_found)
{
	struct vol_inode *root, *inode, *dir;
	struct vol_found f;
	bool replayed = false;
	struct orphans o;
	blkno_t blkno;

	setup(OPTIONS);
	root = vol_root(im.vol);
	inode = make(root, "victim", S_IFREG | 0644);
	put_text(inode, 50000, 0);
	dir = make(root, "dir", S_IFDIR | 0755);
	blkno = inode->blkno;
	unlink_it(root, "victim", inode);
	unlink_it(root, "dir", dir);
	cr_assert_eq(vol_sync(im.vol), 0);
	vol_iput(inode);
	vol_iput(dir);
	image_close(&im, true);

	image_open_slot(&im, 0, &replayed);
	cr_assert(replayed);
	root = vol_root(im.vol);
	cr_assert_eq(vol_lookup(root, "victim", 6, &f), -ENOENT);
	o = orphans(0);
	cr_assert_eq(o.n, 2);
	cr_assert(o.blkno[0] == blkno || o.blkno[1] == blkno);
	wipe_all(0);
	cr_assert_eq(orphans(0).n, 0);
	finish();
}

Test(orphan, another_slot_wipes_what_a_dead_one_left)
{
	struct vol_inode *root, *inode;
	struct orphans o;

	setup(OPTIONS);
	root = vol_root(im.vol);
	inode = make(root, "victim", S_IFREG | 0644);
	put_text(inode, 50000, 0);
	unlink_it(root, "victim", inode);
	vol_iput(inode);
	image_close(&im, false);

	image_open_slot(&im, 1, NULL);
	cr_assert_eq(orphans(1).n, 0);
	o = orphans(0);
	cr_assert_eq(o.n, 1);
	wipe_all(0);
	cr_assert_eq(orphans(0).n, 0);
	finish();
}

Test(orphan, a_crash_in_the_middle_of_wiping_is_taken_up_again)
{
	struct vol_inode *root, *inode;
	bool replayed = false;

	setup(OPTIONS);
	root = vol_root(im.vol);
	inode = make(root, "victim", S_IFREG | 0644);
	for (int i = 0; i < 40; i++)
		put_text(inode, 4096, (uint64_t)i * 8192);
	unlink_it(root, "victim", inode);
	/* The content goes, the inode stays: where a crash may cut a wipe. */
	pthread_rwlock_wrlock(&inode->sem);
	cr_assert_eq(inode_truncate_all(inode), 0);
	pthread_rwlock_unlock(&inode->sem);
	cr_assert_eq(vol_sync(im.vol), 0);
	vol_iput(inode);
	image_close(&im, true);

	image_open_slot(&im, 0, &replayed);
	cr_assert(replayed);
	wipe_all(0);
	finish();
}

/* As a kernel node leaves it that died in the middle of an extending direct write. */
Test(orphan, a_direct_write_of_a_dead_node_is_ended)
{
	struct vol_inode *root, *inode, *od;
	char name[DIO_ORPHAN_NAME_LEN + 1];
	struct orphans o;
	struct jhandle *h;
	struct buf *di;

	setup(OPTIONS);
	root = vol_root(im.vol);
	inode = make(root, "direct", S_IFREG | 0644);
	put_text(inode, 40000, 0);
	snprintf(name, sizeof(name), "dio-%016llx", (unsigned long long)inode->blkno);
	cr_assert_eq(orphan_dir_lock(im.vol, 0, &od), 0);
	cr_assert_eq(dir_prepare(od, name, DIO_ORPHAN_NAME_LEN), 0);
	cr_assert_eq(jh_begin(im.vol, DIR_ADD_CREDITS + 1, &h), 0);
	cr_assert_eq(dir_add(h, od, name, DIO_ORPHAN_NAME_LEN, inode->blkno, OCFS2_FT_REG_FILE), 0);
	cr_assert_eq(inode_buf(inode, &di), 0);
	cr_assert_eq(jh_write(h, di, inode), 0);
	inode->flags |= OCFS2_DIO_ORPHANED_FL;
	inode->size = 5000;	/* two of ten clusters */
	cr_assert_eq(inode_store(h, inode), 0);
	bc_put(di);
	cr_assert_eq(jh_end(h, false), 0);
	orphan_done(im.vol, od);

	o = orphans(0);
	cr_assert_eq(o.n, 1);
	cr_assert_eq(o.dio, 1);
	cr_assert_eq(vol_wipe(inode), -EINVAL, "it has a name");
	cr_assert_eq(vol_dio_orphan_end(inode), 0);
	cr_assert_eq(orphans(0).n, 0);
	cr_assert_eq(inode->clusters, 2);
	cr_assert_eq(inode->size, 5000);
	cr_assert(!(inode->flags & OCFS2_DIO_ORPHANED_FL));
	cr_assert_eq(inode->nlink, 1);
	vol_iput(inode);
	finish();
}

/* ---- extended attributes ------------------------------------------------------------- */

/* An external block with one value in a cluster of its own, as a kernel node makes it. */
static void add_xattr_block(struct vol_inode *inode)
{
	struct vol *v = im.vol;
	struct reservation r = { 0 };
	struct suballoc_pos pos;
	struct jhandle *h;
	struct buf *b, *di, *value;
	uint32_t cluster, got;
	struct ocfs2_xattr_block *xb;
	struct ocfs2_xattr_header *xh;
	struct ocfs2_xattr_value_root *root;
	unsigned at, hash = v->uuid_hash;

	cr_assert_eq(reserve_meta(v, 1, &r), 0);
	cr_assert_eq(reserve_clusters(v, 1, &r), 0);
	cr_assert_eq(jh_begin(v, 4 + reservation_credits(&r), &h), 0);
	cr_assert_eq(claim_clusters(h, &r, 1, &cluster, &got), 0);
	cr_assert_eq(claim_meta(h, &r, &pos), 0);
	cr_assert_eq(bc_new(v, pos.blkno, BLK_XATTR, inode, &b), 0);
	cr_assert_eq(jh_write(h, b, inode), 0);
	cr_assert_eq(bc_new(v, (blkno_t)cluster * v->bpc, BLK_RAW, inode, &value), 0);
	cr_assert_eq(jh_write(h, value, inode), 0);
	memset(value->data, 'v', 100);
	xb = (struct ocfs2_xattr_block *)b->data;
	memcpy(xb->xb_signature, "XATTR01", 8);
	xb->xb_suballoc_slot = htole16(pos.slot);
	xb->xb_suballoc_bit = htole16(pos.bit);
	xb->xb_suballoc_loc = htole64(pos.loc);
	xb->xb_fs_generation = htole32(v->info.fs_generation);
	xb->xb_blkno = htole64(pos.blkno);
	xh = &xb->xb_attrs.xb_header;
	at = v->blocksize - (unsigned)offsetof(struct ocfs2_xattr_block, xb_attrs) - 48 - 4;
	for (const char *c = "foo"; *c; c++)
		hash = (hash << 5) ^ (hash >> 27) ^ (unsigned)*c;
	xh->xh_count = htole16(1);
	xh->xh_entries[0].xe_name_hash = htole32(hash);
	xh->xh_entries[0].xe_name_offset = htole16((uint16_t)at);
	xh->xh_entries[0].xe_name_len = 3;
	xh->xh_entries[0].xe_type = 1;
	xh->xh_entries[0].xe_value_size = htole64(100);
	memcpy((char *)xh + at, "foo", 3);
	root = (struct ocfs2_xattr_value_root *)((char *)xh + at + 4);
	root->xr_clusters = htole32(1);
	root->xr_list.l_count = htole16(1);
	root->xr_list.l_next_free_rec = htole16(1);
	root->xr_list.l_recs[0].e_leaf_clusters = htole16(1);
	root->xr_list.l_recs[0].e_blkno = htole64((uint64_t)cluster * v->bpc);
	cr_assert_eq(inode_buf(inode, &di), 0);
	cr_assert_eq(jh_write(h, di, inode), 0);
	((struct ocfs2_dinode *)di->data)->i_xattr_loc = htole64(pos.blkno);
	inode->dyn_features |= OCFS2_HAS_XATTR_FL;
	cr_assert_eq(inode_store(h, inode), 0);
	cr_assert_eq(jh_end(h, false), 0);
	reservation_release(v, &r);
	bc_put(di);
	bc_put(value);
	bc_put(b);
}

Test(orphan, extended_attributes_go_with_the_inode)
{
	struct vol_inode *root, *inode;
	struct space before, after;
	blkno_t sysdir;

	setup(OPTIONS);
	root = vol_root(im.vol);
	/* So that extent_alloc has its group. */
	inode = make(root, "first", S_IFREG | 0644);
	add_xattr_block(inode);
	unlink_it(root, "first", inode);
	cr_assert_eq(vol_wipe(inode), 0);
	vol_iput(inode);
	before = space();
	inode = make(root, "file", S_IFREG | 0644);
	add_xattr_block(inode);
	sysdir = vol_info(im.vol)->sysdir_blkno;
	vol_iput(inode);
	image_close(&im, false);
	image_check(&im, sysdir);	/* the fixture is right */
	image_open(&im);
	root = vol_root(im.vol);
	{
		struct vol_found f;

		cr_assert_eq(vol_lookup(root, "file", 4, &f), 0);
		cr_assert_eq(vol_iget(im.vol, f.blkno, &inode), 0);
		cr_assert_eq(vol_inode_refresh(inode), 0);
	}
	unlink_it(root, "file", inode);
	cr_assert_eq(vol_wipe(inode), 0);
	vol_iput(inode);
	after = space();
	cr_assert_eq(after.bfree, before.bfree);
	cr_assert_eq(after.ffree, before.ffree);
	finish();
}
