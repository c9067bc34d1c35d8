/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * super.c: finding and checking the super block (doc/spec/disk.md 1.1 to 1.3).
 *
 * What this node does not know it must not touch: unknown incompatible features are
 * refused, unknown read-only-compatible ones allow reading only. Every refusal names
 * the feature and what to do.
 */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "fs/volume/ecc.h"
#include "fs/volume/vol_int.h"

enum {
	SUPER_BLKNO = 2,
	KNOWN_INCOMPAT = OCFS2_FEATURE_INCOMPAT_LOCAL_MOUNT | OCFS2_FEATURE_INCOMPAT_SPARSE_ALLOC |
			 OCFS2_FEATURE_INCOMPAT_INLINE_DATA | OCFS2_FEATURE_INCOMPAT_USERSPACE_STACK |
			 OCFS2_FEATURE_INCOMPAT_EXTENDED_SLOT_MAP | OCFS2_FEATURE_INCOMPAT_XATTR |
			 OCFS2_FEATURE_INCOMPAT_INDEXED_DIRS | OCFS2_FEATURE_INCOMPAT_META_ECC |
			 OCFS2_FEATURE_INCOMPAT_REFCOUNT_TREE | OCFS2_FEATURE_INCOMPAT_DISCONTIG_BG |
			 OCFS2_FEATURE_INCOMPAT_CLUSTERINFO | OCFS2_FEATURE_INCOMPAT_APPEND_DIO,
	KNOWN_RO_COMPAT = OCFS2_FEATURE_RO_COMPAT_UNWRITTEN | OCFS2_FEATURE_RO_COMPAT_USRQUOTA |
			  OCFS2_FEATURE_RO_COMPAT_GRPQUOTA,
};

static bool is_super(const struct ocfs2_dinode *di, unsigned bits)
{
	return !memcmp(di->i_signature, OCFS2_SUPER_BLOCK_SIGNATURE,
		       sizeof(OCFS2_SUPER_BLOCK_SIGNATURE)) &&
	       le32toh(di->id2.i_super.s_blocksize_bits) == bits &&
	       le64toh(di->i_blkno) == SUPER_BLKNO;
}

/* Read the block where a super block of that block size would be. */
static int read_at(struct vol *v, void *buf, unsigned bits)
{
	unsigned size = 1u << bits;
	unsigned len = size < v->dev->sector ? v->dev->sector : size;

	return blockdev_read(v->dev, buf, len, (uint64_t)SUPER_BLKNO * size / len * len);
}

static int find_super(struct vol *v, uint8_t *buf, unsigned *bits, struct reason *why)
{
	bool ocfs1, any = false;
	int err;

	if (v->dev->size < 4 * 4096)
		return reason_set(why, EXIT_DEVICE, -EINVAL, "%s is too short for a volume (%llu bytes)",
				  v->dev->path, (unsigned long long)v->dev->size);
	for (*bits = 9; *bits <= 12; ++*bits) {
		if ((1u << *bits) < v->dev->sector)
			continue;
		err = read_at(v, buf, *bits);
		if (err)
			return reason_set(why, EXIT_DEVICE, err, "cannot read the super block of %s: %s",
					  v->dev->path, strerror(-err));
		if (is_super((void *)buf, *bits))
			return 0;
		any |= !memcmp(buf, OCFS2_SUPER_BLOCK_SIGNATURE, 6);
	}
	err = blockdev_read(v->dev, buf, 4096, 0);
	ocfs1 = !err && !memcmp(buf + 8, "OracleCFS", 9);
	return reason_set(why, EXIT_NOT_OCFS2, -EINVAL,
			  "%s has no OCFS2 super block%s; is it the right device? fsck.ocfs2 -r 1 can "
			  "bring back a lost one",
			  v->dev->path,
			  any	? " that fits its block size" :
			  ocfs1 ? " (it has a header of OCFS version 1)" :
				  "");
}

struct feature {
	uint32_t bit;
	const char *text;
};

static int check_features(struct vol *v, struct reason *why)
{
	static const struct feature refused[] = {
		{ OCFS2_FEATURE_INCOMPAT_HEARTBEAT_DEV,
		  "it is a heartbeat device, which holds no files; mount a volume" },
		{ OCFS2_FEATURE_INCOMPAT_RESIZE_INPROG,
		  "an offline resize was not finished; run fsck.ocfs2" },
		{ OCFS2_FEATURE_INCOMPAT_TUNEFS_INPROG,
		  "a run of tunefs.ocfs2 was not finished; run fsck.ocfs2" },
	};
	struct vol_info *i = &v->info;
	uint32_t unknown = i->incompat & ~(uint32_t)KNOWN_INCOMPAT;

	for (size_t n = 0; n < sizeof(refused) / sizeof(refused[0]); n++)
		if (i->incompat & refused[n].bit)
			return reason_set(why, EXIT_FEATURES, -EINVAL, "cannot mount %s: %s",
					  v->dev->path, refused[n].text);
	if (unknown)
		return reason_set(why, EXIT_FEATURES, -EINVAL,
				  "%s uses features this version does not know (incompat 0x%08x); a newer "
				  "o2fuse may, or tunefs.ocfs2 can switch them off",
				  v->dev->path, unknown);
	unknown = i->ro_compat & ~(uint32_t)KNOWN_RO_COMPAT;
	if (unknown) {
		i->force_ro = true;
		log_warn(v->log, "volume",
			 "mounting read-only: unknown read-only features ro_compat=0x%08x", unknown);
	}
	if (i->ro_compat & (OCFS2_FEATURE_RO_COMPAT_USRQUOTA | OCFS2_FEATURE_RO_COMPAT_GRPQUOTA))
		log_warn(v->log, "volume",
			 "quota is neither enforced nor accounted by this node; fsck.ocfs2 -f "
			 "recomputes the usage");
	return 0;
}

static void copy_text(char *to, const uint8_t *from, size_t len)
{
	memcpy(to, from, len);
	to[len] = 0;
}

static int check_stack(struct vol *v, const struct ocfs2_super_block *sb, struct reason *why)
{
	const struct ocfs2_cluster_info *ci = &sb->s_cluster_info;
	struct vol_info *i = &v->info;

	if (i->incompat &
	    (OCFS2_FEATURE_INCOMPAT_USERSPACE_STACK | OCFS2_FEATURE_INCOMPAT_CLUSTERINFO)) {
		copy_text(i->stack, ci->ci_stack, 4);
		copy_text(i->cluster, ci->ci_cluster, OCFS2_CLUSTER_NAME_LEN);
		i->global_heartbeat = ci->ci_stackflags & OCFS2_CLUSTER_O2CB_GLOBAL_HEARTBEAT;
	}
	for (const char *p = i->stack; *p; p++)
		if (!isprint((unsigned char)*p))
			return reason_set(why, EXIT_NOT_OCFS2, -EINVAL,
					  "the cluster stack in the super block of %s is damaged; run "
					  "fsck.ocfs2",
					  v->dev->path);
	if (i->stack[0] && strcmp(i->stack, "o2cb"))
		return reason_set(why, EXIT_STACK, -EINVAL,
				  "%s belongs to the cluster stack \"%s\", o2fuse speaks o2cb; "
				  "tunefs.ocfs2 --update-cluster-stack changes it",
				  v->dev->path, i->stack);
	return 0;
}

static int check_geometry(struct vol *v, const struct ocfs2_super_block *sb, struct reason *why)
{
	struct vol_info *i = &v->info;
	const char *wrong = NULL;

	if (le16toh(sb->s_major_rev_level) != OCFS2_MAJOR_REV_LEVEL ||
	    le16toh(sb->s_minor_rev_level) != OCFS2_MINOR_REV_LEVEL)
		wrong = "revision";
	else if (i->clustersize_bits < 12 || i->clustersize_bits > 20)
		wrong = "cluster size";
	else if (i->max_slots < 1 || i->max_slots > 255)
		wrong = "number of slots";
	else if (!i->root_blkno || !i->sysdir_blkno || !v->first_cluster_group)
		wrong = "place of the root or system directory";
	else if (!i->clusters)
		wrong = "size";
	if (wrong)
		return reason_set(why, EXIT_NOT_OCFS2, -EINVAL,
				  "the super block of %s is damaged (%s); fsck.ocfs2 -r 1 takes a backup "
				  "of it",
				  v->dev->path, wrong);
	i->blocks = (uint64_t)i->clusters << (i->clustersize_bits - i->blocksize_bits);
	if (i->blocks > v->dev->size >> i->blocksize_bits)
		return reason_set(why, EXIT_DEVICE, -EINVAL,
				  "%s is too short: the volume has %llu bytes, the device %llu; was it "
				  "truncated?",
				  v->dev->path, (unsigned long long)(i->blocks << i->blocksize_bits),
				  (unsigned long long)v->dev->size);
	return 0;
}

static void take_over(struct vol *v, const struct ocfs2_dinode *di)
{
	const struct ocfs2_super_block *sb = &di->id2.i_super;
	struct vol_info *i = &v->info;

	i->blocksize_bits = le32toh(sb->s_blocksize_bits);
	i->clustersize_bits = le32toh(sb->s_clustersize_bits);
	i->max_slots = le16toh(sb->s_max_slots);
	i->clusters = v->sb_clusters = le32toh(di->i_clusters);
	i->fs_generation = le32toh(di->i_fs_generation);
	i->compat = le32toh(sb->s_feature_compat);
	i->incompat = le32toh(sb->s_feature_incompat);
	i->ro_compat = le32toh(sb->s_feature_ro_compat);
	i->local = i->incompat & OCFS2_FEATURE_INCOMPAT_LOCAL_MOUNT;
	i->xattrs = i->incompat & OCFS2_FEATURE_INCOMPAT_XATTR;
	i->root_blkno = le64toh(sb->s_root_blkno);
	i->sysdir_blkno = le64toh(sb->s_system_dir_blkno);
	memcpy(i->uuid, sb->s_uuid, sizeof(i->uuid));
	for (int n = 0; n < 16; n++)
		snprintf(i->uuid_str + 2 * n, 3, "%02X", i->uuid[n]);
	copy_text(i->label, sb->s_label, OCFS2_MAX_VOL_LABEL_LEN);
	v->first_cluster_group = le64toh(sb->s_first_cluster_group);
	v->uuid_hash = le32toh(sb->s_uuid_hash);
	for (int n = 0; n < 3; n++)
		v->dx_seed[n] = le32toh(sb->s_dx_seed[n]);
}

int super_read(struct vol *v, struct reason *why)
{
	AUTO_FREE uint8_t *buf = blockdev_alloc(4096);
	const struct ocfs2_dinode *di = (const void *)buf;
	unsigned bits = 0;
	int err;

	if (!buf)
		return reason_set(why, EXIT_SYSTEM, -ENOMEM, "out of memory");
	err = find_super(v, buf, &bits, why);
	if (err)
		return err;
	if ((le32toh(di->id2.i_super.s_feature_incompat) & OCFS2_FEATURE_INCOMPAT_META_ECC) &&
	    ecc_verify(buf, 1u << bits, offsetof(struct ocfs2_dinode, i_check)) < 0)
		return reason_set(why, EXIT_NOT_OCFS2, -EIO,
				  "the super block of %s is damaged (checksum); fsck.ocfs2 -r 1 takes a "
				  "backup of it",
				  v->dev->path);
	take_over(v, di);
	err = check_features(v, why);
	if (!err)
		err = check_geometry(v, &di->id2.i_super, why);
	if (!err)
		err = check_stack(v, &di->id2.i_super, why);
	if (err)
		return err;
	v->blocksize = 1u << v->info.blocksize_bits;
	v->clustersize = 1u << v->info.clustersize_bits;
	v->bpc = v->clustersize / v->blocksize;
	/* Volumes from before the feature have 0 there. */
	v->xattr_inline_size = le16toh(di->id2.i_super.s_xattr_inline_size);
	if (v->xattr_inline_size < OCFS2_MIN_XATTR_INLINE_SIZE ||
	    v->xattr_inline_size > v->blocksize / 4 || v->xattr_inline_size % 16)
		v->xattr_inline_size = OCFS2_MIN_XATTR_INLINE_SIZE;
	return 0;
}
