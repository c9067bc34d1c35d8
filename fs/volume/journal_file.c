/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * journal_file.c: the file that holds a slot's log (doc/spec/disk.md 8.1, 8.2, 8.10).
 *
 * Its extents never change while the volume is mounted anywhere, so they are looked up
 * once. The super block is kept as a copy and written whole. What is read here may have
 * been written by anybody: every number is checked before it is used.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "fs/volume/journal_int.h"

enum {
	MIN_BYTES = 4 << 20,
	KNOWN_COMPAT = JBD_COMPAT_CHECKSUM,
	KNOWN_INCOMPAT = JBD_INCOMPAT_REVOKE | JBD_INCOMPAT_64BIT | JBD_INCOMPAT_ASYNC_COMMIT,
	IO_MAX = 1 << 20,
};

static int bad_journal(const struct jfile *f, struct reason *why, const char *what)
{
	return reason_set(why, EXIT_JOURNAL, -EINVAL,
			  "journal: that of slot %u on %s %s; run fsck.ocfs2 with the volume "
			  "unmounted everywhere", f->slot, f->v->dev->path, what);
}

static int add_extent(struct jfile *f, uint32_t first, const struct extent *e, uint32_t skip)
{
	struct jextent *x = realloc(f->extents, (f->n + 1) * sizeof(*x));

	if (!x)
		return -ENOMEM;
	f->extents = x;
	x[f->n++] = (struct jextent){ first, (e->len - skip) * f->v->bpc,
				      e->blkno + (blkno_t)skip * f->v->bpc };
	return 0;
}

static int map_extents(struct jfile *f, uint32_t clusters)
{
	struct xtree t;
	struct extent e;
	struct buf *di;
	int err;

	err = inode_buf(f->inode, &di);
	if (err)
		return err;
	xtree_dinode(&t, f->inode, di);
	for (uint32_t cpos = 0; cpos < clusters && !err; cpos = e.cpos + e.len) {
		err = xtree_lookup(&t, cpos, &e);
		if (!err && (!e.blkno || e.blkno + (blkno_t)e.len * f->v->bpc > f->v->info.blocks))
			err = vol_damaged(f->v, "a journal has a hole, or lies outside the volume "
					  "slot=%u", f->slot);
		if (!err)
			err = add_extent(f, cpos * f->v->bpc, &e, cpos - e.cpos);
	}
	bc_put(di);
	return err;
}

static int check_super(struct jfile *f, uint32_t blocks, struct reason *why)
{
	const struct jbd_super *s = f->super;
	uint32_t type = be32toh(s->h.type), start = be32toh(s->start);
	uint32_t incompat = be32toh(s->incompat), compat = be32toh(s->compat);
	char text[100];

	if (be32toh(s->h.magic) != JBD_MAGIC || (type != JBD_SUPER_V1 && type != JBD_SUPER_V2))
		return bad_journal(f, why, "has no super block");
	if (be32toh(s->blocksize) != f->v->blocksize)
		return bad_journal(f, why, "has another block size than the volume");
	f->maxlen = be32toh(s->maxlen);
	f->first = be32toh(s->first);
	if (f->maxlen > blocks || f->maxlen < MIN_BYTES / f->v->blocksize)
		return bad_journal(f, why, "has an impossible length");
	/* mkfs.ocfs2 leaves start 1 in a fresh log, also where first is 2 (512-byte blocks). */
	if (f->first == 0 || f->first > 8 || start >= f->maxlen)
		return bad_journal(f, why, "starts at an impossible place");
	if (type == JBD_SUPER_V1)
		incompat = compat = 0;
	if ((incompat & ~(uint32_t)KNOWN_INCOMPAT) || (compat & ~(uint32_t)KNOWN_COMPAT) ||
	    (type == JBD_SUPER_V2 && s->ro_compat)) {
		snprintf(text, sizeof(text), "uses features that no OCFS2 node uses "
			 "(compat %#x incompat %#x ro %#x)", compat, incompat, be32toh(s->ro_compat));
		return bad_journal(f, why, text);
	}
	f->tag_bytes = jbd_tag_bytes(incompat);
	return 0;
}

static int open_mapped(struct jfile *f, struct reason *why)
{
	struct vol *v = f->v;
	uint64_t blocks = f->inode->size >> v->info.blocksize_bits;
	uint64_t clusters = (f->inode->size + v->clustersize - 1) >> v->info.clustersize_bits;
	int err;

	if (!(f->inode->flags & OCFS2_JOURNAL_FL))
		return bad_journal(f, why, "is not marked as one");
	if (f->inode->size < MIN_BYTES || blocks > INT32_MAX)
		return bad_journal(f, why, "has an impossible size");
	err = map_extents(f, (uint32_t)clusters);
	if (err)
		return reason_set(why, EXIT_JOURNAL, err, "journal: blocks of that of slot %u: %s",
				  f->slot, strerror(-err));
	f->super_len = v->blocksize < sizeof(*f->super) ? sizeof(*f->super) : v->blocksize;
	f->super = blockdev_alloc(f->super_len);
	if (!f->super)
		return reason_set(why, EXIT_SYSTEM, -ENOMEM, "journal: out of memory");
	f->maxlen = (uint32_t)blocks;
	err = jfile_read(f, 0, (uint32_t)(f->super_len / v->blocksize), f->super);
	if (err)
		return reason_set(why, EXIT_JOURNAL, err,
				  "journal: super block of that of slot %u cannot be read: %s",
				  f->slot, strerror(-err));
	return check_super(f, (uint32_t)blocks, why);
}

int jfile_open(struct vol *v, unsigned slot, struct jfile *out, struct reason *why)
{
	int err;

	*out = (struct jfile){ .v = v, .slot = slot };
	out->inode = vol_sys_inode(v, VOL_SYS_JOURNAL, slot);
	if (!out->inode)
		return bad_journal(out, why, "is missing");
	err = vol_inode_refresh(out->inode);
	if (err)
		return reason_set(why, EXIT_JOURNAL, err, "journal: inode of that of slot %u cannot be "
				  "read: %s; run fsck.ocfs2", slot, strerror(-err));
	err = open_mapped(out, why);
	if (err)
		jfile_close(out);
	return err;
}

void jfile_close(struct jfile *f)
{
	free(TAKE(f->extents));
	free(TAKE(f->super));
}

/* ---- blocks ---------------------------------------------------------------------------- */

uint32_t jfile_advance(const struct jfile *f, uint32_t b, uint32_t n)
{
	uint64_t to = (uint64_t)b + n;

	return (uint32_t)(to >= f->maxlen ? to - f->maxlen + f->first : to);
}

static const struct jextent *extent_of(const struct jfile *f, uint32_t block)
{
	for (unsigned i = 0; i < f->n; i++)
		if (block - f->extents[i].first < f->extents[i].len)
			return &f->extents[i];
	return NULL;
}

static int jfile_io(struct jfile *f, uint32_t block, uint32_t n, uint8_t *buf, bool write)
{
	unsigned bs = f->v->blocksize, k = 0;
	struct bd_io io[64];
	int err = 0;

	while (n > 0 && !err) {
		const struct jextent *x = extent_of(f, block);
		uint32_t part;

		if (!x)
			return -EIO;
		part = x->len - (block - x->first);
		if (part > f->maxlen - block)
			part = f->maxlen - block;
		if (part > n)
			part = n;
		if (part > IO_MAX / bs)
			part = IO_MAX / bs;
		io[k++] = (struct bd_io){ buf, (size_t)part * bs,
					  (x->blkno + (block - x->first)) * bs, 0 };
		buf += (size_t)part * bs;
		block = jfile_advance(f, block, part);
		n -= part;
		if (k == sizeof(io) / sizeof(io[0]) || n == 0) {
			err = write ? blockdev_write_many(f->v->dev, io, k) :
				      blockdev_read_many(f->v->dev, io, k);
			k = 0;
		}
	}
	return err;
}

int jfile_read(struct jfile *f, uint32_t block, uint32_t n, void *buf)
{
	return jfile_io(f, block, n, buf, false);
}

int jfile_write(struct jfile *f, uint32_t block, uint32_t n, const void *buf)
{
	return jfile_io(f, block, n, (uint8_t *)(uintptr_t)buf, true);
}

/*
 * Logs written here have no checksums, and a reader that was told they have would refuse
 * them: a kernel node's asynchronous commits are taken back.
 */
int jfile_write_super(struct jfile *f, uint32_t start, uint32_t sequence)
{
	struct jbd_super *s = f->super;

	s->start = htobe32(start);
	s->sequence = htobe32(sequence);
	s->error = 0;
	if (be32toh(s->h.type) == JBD_SUPER_V2) {
		s->compat &= ~htobe32(JBD_COMPAT_CHECKSUM);
		s->incompat &= ~htobe32(JBD_INCOMPAT_ASYNC_COMMIT);
	}
	return jfile_write(f, 0, (uint32_t)(f->super_len / f->v->blocksize), s);
}

int jfile_mark(struct jfile *f, bool dirty, bool recovered)
{
	struct ocfs2_dinode *di;
	struct buf *b;
	int err;

	err = inode_buf(f->inode, &b);
	if (err)
		return err;
	di = (struct ocfs2_dinode *)b->data;
	if (dirty)
		di->id1.journal1.ij_flags |= htole32(OCFS2_JOURNAL_DIRTY_FL);
	else
		di->id1.journal1.ij_flags &= ~htole32(OCFS2_JOURNAL_DIRTY_FL);
	if (recovered)
		di->id1.journal1.ij_recovery_generation =
			htole32(le32toh(di->id1.journal1.ij_recovery_generation) + 1);
	err = bc_write_direct(f->v, b);
	bc_put(b);
	return err;
}
