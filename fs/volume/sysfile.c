/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sysfile.c: system inodes, the slot map, the place of the heartbeat, journal states
 * (doc/spec/disk.md 1.4, doc/spec/fs-locking.md 6.1).
 *
 * System files never move, so they are looked up once. Their dinodes are not read then: our
 * own journal may still hold newer or whole versions of them (a power cut tears blocks), and
 * other nodes may be writing theirs. They are read under their locks, after the replay; then
 * each must be marked as a system file. Slot map and journal dinodes are read from the device
 * each time and written in place: no journal, no cache.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "fs/volume/vol_int.h"

static const struct {
	int ocfs2_type;
	bool per_slot;
} files[VOL_SYS_MAX] = {
	[VOL_SYS_SLOT_MAP] = { SLOT_MAP_SYSTEM_INODE, false },
	[VOL_SYS_HEARTBEAT] = { HEARTBEAT_SYSTEM_INODE, false },
	[VOL_SYS_GLOBAL_BITMAP] = { GLOBAL_BITMAP_SYSTEM_INODE, false },
	[VOL_SYS_ORPHAN_DIR] = { ORPHAN_DIR_SYSTEM_INODE, true },
	[VOL_SYS_EXTENT_ALLOC] = { EXTENT_ALLOC_SYSTEM_INODE, true },
	[VOL_SYS_INODE_ALLOC] = { INODE_ALLOC_SYSTEM_INODE, true },
	[VOL_SYS_JOURNAL] = { JOURNAL_SYSTEM_INODE, true },
	[VOL_SYS_LOCAL_ALLOC] = { LOCAL_ALLOC_SYSTEM_INODE, true },
	[VOL_SYS_TRUNCATE_LOG] = { TRUNCATE_LOG_SYSTEM_INODE, true },
};

static int open_inode(struct vol *v, blkno_t blkno, const char *what, bool system, bool load,
		      struct vol_inode **out, struct reason *why)
{
	int err = vol_iget(v, blkno, out);

	if (!err)
		(*out)->system = system;
	if (!err && load) {
		err = vol_inode_refresh(*out);
		if (err) {
			vol_iput(*out);
			*out = NULL;
		}
	}
	if (err)
		reason_set(why, EXIT_NOT_OCFS2, err,
			   "%s of %s cannot be read: %s; run fsck.ocfs2 with the volume unmounted", what,
			   v->dev->path, strerror(-err));
	return err;
}

/* Never changed by a mounted node. */
static bool is_constant(enum vol_sysfile type)
{
	return type == VOL_SYS_SLOT_MAP || type == VOL_SYS_HEARTBEAT;
}

static int open_file(struct vol *v, enum vol_sysfile type, unsigned slot, struct reason *why)
{
	char name[64];
	struct vol_found f;
	int n = ocfs2_sprintf_system_inode_name(name, sizeof(name), files[type].ocfs2_type, (int)slot);
	int err = dir_find(v->sysdir, name, (size_t)n, &f);

	if (err)
		return reason_set(why, EXIT_NOT_OCFS2, err == -ENOENT ? -EINVAL : err,
				  "%s has no system file %s; run fsck.ocfs2", v->dev->path, name);
	return open_inode(v, f.blkno, name, true, is_constant(type),
			  &v->sys[type * v->info.max_slots + slot], why);
}

int sysfile_open(struct vol *v, struct reason *why)
{
	int err;

	v->sys = calloc((size_t)VOL_SYS_MAX * v->info.max_slots, sizeof(*v->sys));
	if (!v->sys)
		return reason_set(why, EXIT_SYSTEM, -ENOMEM, "out of memory");
	err = open_inode(v, v->info.root_blkno, "the root directory", false, false, &v->root, why);
	if (!err)
		err = open_inode(v, v->info.sysdir_blkno, "the system directory", false, true,
				 &v->sysdir, why);
	for (int t = 0; !err && t < VOL_SYS_MAX; t++)
		for (unsigned s = 0; !err && s < (files[t].per_slot ? v->info.max_slots : 1u); s++)
			err = open_file(v, (enum vol_sysfile)t, s, why);
	return err;
}

void sysfile_close(struct vol *v)
{
	for (unsigned i = 0; v->sys && i < VOL_SYS_MAX * v->info.max_slots; i++)
		if (v->sys[i])
			vol_iput(v->sys[i]);
	free(v->sys);
	v->sys = NULL;
	if (v->sysdir)
		vol_iput(v->sysdir);
	if (v->root)
		vol_iput(v->root);
	v->sysdir = v->root = NULL;
}

struct vol_inode *vol_sys_inode(struct vol *v, enum vol_sysfile type, unsigned slot)
{
	if ((unsigned)type >= VOL_SYS_MAX || slot >= v->info.max_slots)
		return NULL;
	return v->sys[type * v->info.max_slots + (files[type].per_slot ? slot : 0)];
}

struct vol_inode *vol_root(struct vol *v)
{
	return v->root;
}

/* First extent of a system file. */
static int first_extent(struct vol *v, enum vol_sysfile type, struct extent *e)
{
	struct vol_inode *inode = vol_sys_inode(v, type, 0);
	struct xtree t;
	struct buf *di;
	int err = inode_buf(inode, &di);

	if (err)
		return err;
	xtree_dinode(&t, inode, di);
	err = xtree_lookup(&t, 0, e);
	bc_put(di);
	if (!err && (!e->blkno || e->blkno + (uint64_t)e->len * v->bpc > v->info.blocks))
		err = vol_damaged(v, "a system file has no space inode=%llu",
				  (unsigned long long)inode->blkno);
	return err;
}

int vol_sys_extent(struct vol *v, enum vol_sysfile type, uint64_t *byte_off, uint64_t *len)
{
	struct extent e;
	int err = first_extent(v, type, &e);

	if (err)
		return err;
	*byte_off = e.blkno * v->blocksize;
	*len = (uint64_t)e.len * v->clustersize;
	return 0;
}

int vol_journal_state(struct vol *v, unsigned slot, bool *dirty, uint32_t *recovery_generation)
{
	struct vol_inode *inode = vol_sys_inode(v, VOL_SYS_JOURNAL, slot);
	const struct ocfs2_dinode *di;
	struct buf *b;
	int err;

	if (!inode)
		return -EINVAL;
	err = bc_read(v, inode->blkno, BLK_DINODE, NULL, &b);
	if (err)
		return err;
	di = (const void *)b->data;
	*dirty = le32toh(di->id1.journal1.ij_flags) & OCFS2_JOURNAL_DIRTY_FL;
	*recovery_generation = le32toh(di->id1.journal1.ij_recovery_generation);
	bc_put(b);
	return 0;
}

/* ---- slot map ------------------------------------------------------------------------- */

static bool extended(const struct vol *v)
{
	return vol_has_incompat(v, OCFS2_FEATURE_INCOMPAT_EXTENDED_SLOT_MAP);
}

static unsigned slots_per_block(const struct vol *v)
{
	return v->blocksize / (extended(v) ? sizeof(struct ocfs2_extended_slot) : sizeof(__le16));
}

static int map_block(struct vol *v, unsigned slot, uint64_t *off)
{
	struct extent e;
	int err = first_extent(v, VOL_SYS_SLOT_MAP, &e);
	unsigned block = slot / slots_per_block(v);

	if (err)
		return err;
	if (block >= e.len * v->bpc)
		return vol_damaged(v, "the slot map is too short");
	*off = (e.blkno + block) * v->blocksize;
	return 0;
}

int vol_slotmap_read(struct vol *v, int16_t *nodes)
{
	AUTO_FREE uint8_t *buf = blockdev_alloc(v->blocksize);
	unsigned per = slots_per_block(v);

	if (!buf)
		return -ENOMEM;
	for (unsigned s = 0; s < v->info.max_slots; s++) {
		uint64_t off;
		int err;

		if (s % per == 0) {
			err = map_block(v, s, &off);
			if (!err)
				err = blockdev_read(v->dev, buf, v->blocksize, off);
			if (err)
				return err;
		}
		if (extended(v)) {
			const struct ocfs2_extended_slot *es = (const void *)buf;
			uint32_t node = le32toh(es[s % per].es_node_num);

			nodes[s] = (int16_t)(es[s % per].es_valid && node < 255 ? (int)node : -1);
		} else {
			uint16_t node = le16toh(((const __le16 *)(const void *)buf)[s % per]);

			nodes[s] = (int16_t)(node < 255 ? (int)node : -1);
		}
	}
	return 0;
}

int vol_slotmap_write(struct vol *v, unsigned slot, int node)
{
	AUTO_FREE uint8_t *buf = blockdev_alloc(v->blocksize);
	unsigned at = slot % slots_per_block(v);
	uint64_t off;
	int err;

	if (!buf)
		return -ENOMEM;
	if (slot >= v->info.max_slots)
		return -EINVAL;
	err = map_block(v, slot, &off);
	if (!err)
		err = blockdev_read(v->dev, buf, v->blocksize, off);
	if (err)
		return err;
	if (extended(v)) {
		struct ocfs2_extended_slot *es = (void *)buf;

		es[at].es_valid = node >= 0;
		if (node >= 0)
			es[at].es_node_num = htole32((uint32_t)node);
	} else {
		((__le16 *)(void *)buf)[at] = htole16(node >= 0 ? (uint16_t)node : 0xffff);
	}
	err = blockdev_write(v->dev, buf, v->blocksize, off);
	return err ? err : blockdev_flush(v->dev);
}
