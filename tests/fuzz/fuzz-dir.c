/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fuzz-dir.c: changed bytes in the blocks of a directory: its inode, its blocks, the
 * root and the leaves of its index. The input is a list of changes, 4 bytes each: block,
 * offset (2), value that is XORed. Listings go forward and end, lookups end, nothing is
 * written.
 */
#include <errno.h>
#include <string.h>
#include "fs/volume/dir_int.h"
#include "tests/fuzz/fuzz.h"
#include "tests/volume/memdev.h"

enum { BS = 1024, NAMES = 90, MAX_BLOCKS = 64, MAX_CHANGES = 256 };

struct target {
	struct memdev *m;
	struct blockdev *bd;
	blkno_t dir;
	blkno_t block[MAX_BLOCKS];
	unsigned blocks;
};

static size_t name_of(unsigned k, char *out)
{
	return (size_t)sprintf(out, k % 9 ? "name-%u" : "n\xc3\xa4me-with-more-bytes-%u", k);
}

static void must(int err, const char *what)
{
	if (err) {
		fprintf(stderr, "fuzz-dir: %s: %s\n", what, strerror(-err));
		abort();
	}
}

static void fill(struct target *t)
{
	struct vol_new what = { .mode = S_IFDIR | 0755 };
	struct vol_opts opts = { .localalloc_mb = 0 };
	struct vol_inode *dir, *inode;
	struct reason why = { 0 };
	bool replayed;
	char name[64];
	struct vol *v;

	must(vol_open(t->bd, &opts, &v, &why), why.text);
	must(vol_slot_start(v, 0, &replayed, &why), why.text);
	must(vol_create(vol_root(v), "d", 1, &what, &dir), "mkdir");
	what.mode = S_IFREG | 0644;
	for (unsigned k = 0; k < NAMES; k++) {
		must(vol_create(dir, name, name_of(k, name), &what, &inode), "create");
		vol_iput(inode);
	}
	t->dir = dir->blkno;
	vol_iput(dir);
	must(vol_slot_stop(v, false), "unmount");
	vol_close(v);
}

static void find_blocks(struct target *t)
{
	const uint8_t *p = t->m->data;

	t->block[t->blocks++] = t->dir;
	for (blkno_t b = 3; b < t->m->size / BS && t->blocks < MAX_BLOCKS; b++) {
		const struct ocfs2_dx_root_block *dr = (const void *)(p + b * BS);
		const struct ocfs2_dir_block_trailer *tr =
			(const void *)(p + (b + 1) * BS - DIR_TRAILER_SIZE);

		if ((!memcmp(dr->dr_signature, OCFS2_DX_ROOT_SIGNATURE, 8) &&
		     le64toh(dr->dr_dir_blkno) == t->dir) ||
		    !memcmp(p + b * BS, OCFS2_DX_LEAF_SIGNATURE, 8) ||
		    (!memcmp(tr->db_signature, OCFS2_DIR_TRAILER_SIGNATURE, 8) &&
		     le64toh(tr->db_parent_dinode) == t->dir))
			t->block[t->blocks++] = b;
	}
	FUZZ_CHECK(t->blocks >= 5);
}

static struct target *target(void)
{
	static struct target t;

	if (t.m)
		return &t;
	t.m = memdev_make("20M -b 1K -C 4K -N 2");
	t.bd = memdev_bd(t.m);
	fill(&t);
	find_blocks(&t);
	memdev_keep(t.m);
	return &t;
}

struct listing {
	uint64_t last;
	unsigned n;
};

static bool entry(void *ctx, const char *name, size_t len, blkno_t blkno, uint8_t type,
		  uint64_t next)
{
	struct listing *l = ctx;

	FUZZ_CHECK(next > l->last);
	FUZZ_CHECK(len >= 1 && len <= 255 && !memchr(name, 0, len) && !memchr(name, '/', len));
	FUZZ_CHECK(blkno != 0 && type < OCFS2_FT_MAX);
	l->last = next;
	return ++l->n < 100000;
}

static void use(struct vol *v, blkno_t blkno)
{
	struct listing l = { 0 };
	struct vol_inode *dir;
	struct vol_found f;
	char name[64];
	bool empty;

	must(vol_iget(v, blkno, &dir), "iget");
	if (!vol_inode_refresh(dir)) {
		(void)!vol_readdir(dir, 0, entry, &l);
		for (unsigned k = 0; k < NAMES + 5; k++) {
			int err = vol_lookup(dir, name, name_of(k, name), &f);

			FUZZ_CHECK(err == 0 || err == -ENOENT || err == -EIO || err == -ENOTDIR);
		}
		(void)!vol_parent(dir, &f.blkno);
		if (S_ISDIR(dir->mode))
			(void)!dir_is_empty(dir, &empty);
	}
	vol_iput(dir);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct vol_opts opts = { .readonly = true, .errors = VOL_ERRORS_CONTINUE };
	struct target *t = target();
	struct reason why = { 0 };
	struct vol *v;

	for (size_t at = 0; at + 4 <= len && at < 4 * MAX_CHANGES; at += 4) {
		uint64_t off = t->block[data[at] % t->blocks] * BS +
			       (data[at + 1] | (unsigned)data[at + 2] << 8) % BS;
		uint8_t byte = t->m->data[off] ^ data[at + 3];

		memdev_poke(t->m, off, &byte, 1);
	}
	must(vol_open(t->bd, &opts, &v, &why), why.text);
	use(v, t->dir);
	vol_close(v);
	FUZZ_CHECK(t->m->writes == 0);
	memdev_reset(t->m);
	return 0;
}
