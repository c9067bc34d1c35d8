/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * check.c: validation of metadata blocks at the door.
 *
 * A wrong checksum costs the object it belongs to (EIO); any other contradiction is
 * damage and handled by errors= (vol_damaged).
 */
#include "fs/volume/check.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include "fs/volume/ecc.h"

enum { TRAILER = sizeof(struct ocfs2_dir_block_trailer) };

static const char *type_name(enum blk_type t)
{
	static const char *const names[] = {
		[BLK_RAW] = "raw",	   [BLK_DINODE] = "inode",	 [BLK_EXTENT] = "extent block",
		[BLK_GROUP] = "group",	   [BLK_DIR] = "directory block", [BLK_DX_ROOT] = "index root",
		[BLK_DX_LEAF] = "index leaf", [BLK_XATTR] = "xattr block", [BLK_REFCOUNT] = "refcount block",
	};

	return names[t];
}

static const struct ocfs2_dir_block_trailer *trailer(const struct vol *v, const uint8_t *data)
{
	return (const void *)(data + v->blocksize - TRAILER);
}

static bool has_trailer(const struct vol *v, const uint8_t *data)
{
	return !memcmp(trailer(v, data)->db_signature, OCFS2_DIR_TRAILER_SIGNATURE,
		       sizeof(OCFS2_DIR_TRAILER_SIGNATURE));
}

int blk_check_at(const struct vol *v, enum blk_type type, const uint8_t *data)
{
	if (!vol_has_incompat(v, OCFS2_FEATURE_INCOMPAT_META_ECC))
		return -1;
	switch (type) {
	case BLK_DINODE:
		return offsetof(struct ocfs2_dinode, i_check);
	case BLK_EXTENT:
		return offsetof(struct ocfs2_extent_block, h_check);
	case BLK_GROUP:
		return offsetof(struct ocfs2_group_desc, bg_check);
	case BLK_DX_ROOT:
		return offsetof(struct ocfs2_dx_root_block, dr_check);
	case BLK_DX_LEAF:
		return offsetof(struct ocfs2_dx_leaf, dl_check);
	case BLK_XATTR:
		return offsetof(struct ocfs2_xattr_block, xb_check);
	case BLK_REFCOUNT:
		return offsetof(struct ocfs2_refcount_block, rf_check);
	case BLK_DIR:
		return has_trailer(v, data) ?
			       (int)(v->blocksize - TRAILER +
				     offsetof(struct ocfs2_dir_block_trailer, db_check)) :
			       -1;
	case BLK_RAW:
		break;
	}
	return -1;
}

void blk_seal(const struct vol *v, uint8_t *data, size_t at)
{
	ecc_store(data, v->blocksize, at);
}

/* ---- by type: each names the first thing that is wrong, or NULL ------------------------ */

static const char *check_list(const struct ocfs2_extent_list *l, unsigned capacity)
{
	if (le16toh(l->l_count) == 0 || le16toh(l->l_count) > capacity)
		return "l_count";
	if (le16toh(l->l_next_free_rec) > le16toh(l->l_count))
		return "l_next_free_rec";
	if (le16toh(l->l_tree_depth) > 5)
		return "l_tree_depth";
	return NULL;
}

static const char *check_inline(const struct vol *v, const struct ocfs2_dinode *di)
{
	unsigned max = (unsigned)ocfs2_max_inline_data_with_xattr((int)v->blocksize, NULL);
	uint64_t size = le64toh(di->i_size);

	if (di->i_clusters)
		return "i_clusters of inline data";
	if (le16toh(di->id2.i_data.id_count) > max)
		return "id_count";
	if (size > le16toh(di->id2.i_data.id_count))
		return "i_size of inline data";
	return NULL;
}

static const char *check_chain(const struct vol *v, const struct ocfs2_dinode *di)
{
	const struct ocfs2_chain_list *cl = &di->id2.i_chain;

	if (le16toh(cl->cl_count) != ocfs2_chain_recs_per_inode((int)v->blocksize))
		return "cl_count";
	if (le16toh(cl->cl_next_free_rec) > le16toh(cl->cl_count))
		return "cl_next_free_rec";
	if (!cl->cl_bpc || !cl->cl_cpg)
		return "cl_bpc or cl_cpg";
	return NULL;
}

static const char *check_body(const struct vol *v, const struct ocfs2_dinode *di)
{
	uint32_t flags = le32toh(di->i_flags);
	uint16_t mode = le16toh(di->i_mode);

	if (flags & OCFS2_CHAIN_FL)
		return check_chain(v, di);
	if (flags & OCFS2_LOCAL_ALLOC_FL)
		return le16toh(di->id2.i_lab.la_size) > ocfs2_local_alloc_size((int)v->blocksize) ?
			       "la_size" :
			       NULL;
	if (flags & OCFS2_DEALLOC_FL) {
		const struct ocfs2_truncate_log *tl = &di->id2.i_dealloc;

		if (le16toh(tl->tl_count) > ocfs2_truncate_recs_per_inode((int)v->blocksize))
			return "tl_count";
		return le16toh(tl->tl_used) > le16toh(tl->tl_count) ? "tl_used" : NULL;
	}
	if (le16toh(di->i_dyn_features) & OCFS2_INLINE_DATA_FL)
		return check_inline(v, di);
	if (S_ISLNK(mode) && !di->i_clusters)
		return le64toh(di->i_size) >= v->blocksize - offsetof(struct ocfs2_dinode, id2) ?
			       "i_size of a symlink" :
			       NULL;
	return check_list(&di->id2.i_list, (unsigned)ocfs2_extent_recs_per_inode((int)v->blocksize));
}

static const char *check_dinode(const struct vol *v, blkno_t blkno, const uint8_t *data)
{
	const struct ocfs2_dinode *di = (const void *)data;

	if (memcmp(di->i_signature, OCFS2_INODE_SIGNATURE, sizeof(OCFS2_INODE_SIGNATURE)))
		return "signature";
	if (le64toh(di->i_blkno) != blkno)
		return "i_blkno";
	if (le32toh(di->i_fs_generation) != v->info.fs_generation)
		return "i_fs_generation";
	if (!(le32toh(di->i_flags) & OCFS2_VALID_FL))
		return NULL; /* a free inode: the reader sees the flag */
	return check_body(v, di);
}

static const char *check_extent(const struct vol *v, blkno_t blkno, const uint8_t *data)
{
	const struct ocfs2_extent_block *eb = (const void *)data;

	if (memcmp(eb->h_signature, OCFS2_EXTENT_BLOCK_SIGNATURE, sizeof(OCFS2_EXTENT_BLOCK_SIGNATURE)))
		return "signature";
	if (le64toh(eb->h_blkno) != blkno)
		return "h_blkno";
	if (le32toh(eb->h_fs_generation) != v->info.fs_generation)
		return "h_fs_generation";
	return check_list(&eb->h_list, (unsigned)ocfs2_extent_recs_per_eb((int)v->blocksize));
}

static const char *check_group(const struct vol *v, blkno_t blkno, const struct vol_inode *owner,
			       const uint8_t *data)
{
	const struct ocfs2_group_desc *gd = (const void *)data;
	unsigned room = v->blocksize - offsetof(struct ocfs2_group_desc, bg_bitmap);

	if (memcmp(gd->bg_signature, OCFS2_GROUP_DESC_SIGNATURE, sizeof(OCFS2_GROUP_DESC_SIGNATURE)))
		return "signature";
	if (le64toh(gd->bg_blkno) != blkno)
		return "bg_blkno";
	if (le32toh(gd->bg_generation) != v->info.fs_generation)
		return "bg_generation";
	if (le16toh(gd->bg_size) > room)
		return "bg_size";
	if (le16toh(gd->bg_bits) > 8u * le16toh(gd->bg_size))
		return "bg_bits";
	if (le16toh(gd->bg_free_bits_count) > le16toh(gd->bg_bits))
		return "bg_free_bits_count";
	if (owner && le64toh(gd->bg_parent_dinode) != owner->blkno)
		return "bg_parent_dinode";
	return NULL;
}

static const char *check_dx_root(const struct vol *v, blkno_t blkno, const uint8_t *data)
{
	const struct ocfs2_dx_root_block *dr = (const void *)data;
	unsigned room = (unsigned)ocfs2_dx_entries_per_root((int)v->blocksize);

	if (memcmp(dr->dr_signature, OCFS2_DX_ROOT_SIGNATURE, sizeof(OCFS2_DX_ROOT_SIGNATURE)))
		return "signature";
	if (le64toh(dr->dr_blkno) != blkno)
		return "dr_blkno";
	if (le32toh(dr->dr_fs_generation) != v->info.fs_generation)
		return "dr_fs_generation";
	if (dr->dr_flags & OCFS2_DX_FLAG_INLINE) {
		if (le16toh(dr->dr_entries.de_count) != room)
			return "de_count";
		return le16toh(dr->dr_entries.de_num_used) > room ? "de_num_used" : NULL;
	}
	return check_list(&dr->dr_list, (unsigned)ocfs2_extent_recs_per_dx_root((int)v->blocksize));
}

static const char *check_dx_leaf(const struct vol *v, blkno_t blkno, const uint8_t *data)
{
	const struct ocfs2_dx_leaf *dl = (const void *)data;
	unsigned room = (unsigned)ocfs2_dx_entries_per_leaf((int)v->blocksize);

	if (memcmp(dl->dl_signature, OCFS2_DX_LEAF_SIGNATURE, sizeof(OCFS2_DX_LEAF_SIGNATURE)))
		return "signature";
	if (le64toh(dl->dl_blkno) != blkno)
		return "dl_blkno";
	if (le32toh(dl->dl_fs_generation) != v->info.fs_generation)
		return "dl_fs_generation";
	if (le16toh(dl->dl_list.de_count) != room)
		return "de_count";
	return le16toh(dl->dl_list.de_num_used) > room ? "de_num_used" : NULL;
}

static const char *check_dir(const struct vol *v, blkno_t blkno, const struct vol_inode *owner,
			     const uint8_t *data)
{
	bool expected = vol_has_incompat(v, OCFS2_FEATURE_INCOMPAT_META_ECC) ||
			(owner && (owner->dyn_features & OCFS2_INDEXED_DIR_FL));

	if (!expected)
		return NULL;
	if (!has_trailer(v, data))
		return "trailer";
	if (le64toh(trailer(v, data)->db_blkno) != blkno)
		return "db_blkno";
	if (owner && le64toh(trailer(v, data)->db_parent_dinode) != owner->blkno)
		return "db_parent_dinode";
	return NULL;
}

static const char *check_xattr(const struct vol *v, blkno_t blkno, const uint8_t *data)
{
	const struct ocfs2_xattr_block *xb = (const void *)data;

	if (memcmp(xb->xb_signature, OCFS2_XATTR_BLOCK_SIGNATURE, sizeof(OCFS2_XATTR_BLOCK_SIGNATURE)))
		return "signature";
	if (le64toh(xb->xb_blkno) != blkno)
		return "xb_blkno";
	return le32toh(xb->xb_fs_generation) != v->info.fs_generation ? "xb_fs_generation" : NULL;
}

static const char *check_refcount(const struct vol *v, blkno_t blkno, const uint8_t *data)
{
	const struct ocfs2_refcount_block *rb = (const void *)data;

	if (memcmp(rb->rf_signature, OCFS2_REFCOUNT_BLOCK_SIGNATURE,
		   sizeof(OCFS2_REFCOUNT_BLOCK_SIGNATURE)))
		return "signature";
	if (le64toh(rb->rf_blkno) != blkno)
		return "rf_blkno";
	return le32toh(rb->rf_fs_generation) != v->info.fs_generation ? "rf_fs_generation" : NULL;
}

static const char *wrong(const struct vol *v, blkno_t blkno, enum blk_type type,
			 const struct vol_inode *owner, const uint8_t *data)
{
	switch (type) {
	case BLK_RAW:
		return NULL;
	case BLK_DINODE:
		return check_dinode(v, blkno, data);
	case BLK_EXTENT:
		return check_extent(v, blkno, data);
	case BLK_GROUP:
		return check_group(v, blkno, owner, data);
	case BLK_DIR:
		return check_dir(v, blkno, owner, data);
	case BLK_DX_ROOT:
		return check_dx_root(v, blkno, data);
	case BLK_DX_LEAF:
		return check_dx_leaf(v, blkno, data);
	case BLK_XATTR:
		return check_xattr(v, blkno, data);
	case BLK_REFCOUNT:
		return check_refcount(v, blkno, data);
	}
	return "type";
}

int blk_check(struct vol *v, blkno_t blkno, enum blk_type type, const struct vol_inode *owner,
	      uint8_t *data)
{
	int at = blk_check_at(v, type, data), rc;
	const char *what;

	if (at >= 0) {
		rc = ecc_verify(data, v->blocksize, (size_t)at);
		if (rc < 0) {
			log_err(v->log, "volume",
				"a block is damaged beyond its checksum; unmount everywhere and run "
				"fsck.ocfs2 block=%llu type=\"%s\"",
				(unsigned long long)blkno, type_name(type));
			return -EIO;
		}
		if (rc > 0)
			log_warn(v->log, "volume", "corrected one bit block=%llu type=\"%s\"",
				 (unsigned long long)blkno, type_name(type));
	}
	what = wrong(v, blkno, type, owner, data);
	if (!what)
		return 0;
	return vol_damaged(v, "block=%llu is no good \"%s\": %s is wrong", (unsigned long long)blkno,
			   type_name(type), what);
}
