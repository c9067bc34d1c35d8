/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * inode_lvb.c: attributes of an inode in 64 bytes.
 *
 * What stands there must equal the dinode on the device (2.1): the caller stuffs
 * under the lock's mutex, after the checkpoint, when nobody can change vi any more.
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include "dlm/util/bytes.h"
#include "fs/cluster/inode_lvb.h"
#include "fs/volume/vol.h"

#define PACKED_SECONDS_MAX 0x3ffffffffLL
enum { PACKED_SHIFT = 30 };

static uint64_t pack_time(const struct timespec *t)
{
	int64_t sec = t->tv_sec;

	if (sec < 0)
		sec = 0;
	if (sec > PACKED_SECONDS_MAX)
		sec = PACKED_SECONDS_MAX;
	return (uint64_t)sec << PACKED_SHIFT | ((uint64_t)t->tv_nsec & ((1u << PACKED_SHIFT) - 1));
}

static struct timespec unpack_time(uint64_t packed)
{
	return (struct timespec){ .tv_sec = (time_t)(packed >> PACKED_SHIFT),
				  .tv_nsec = (long)(packed & ((1u << PACKED_SHIFT) - 1)) };
}

void inode_lvb_encode(const struct inode_lvb *in, uint8_t lvb[DLM_LVB_LEN])
{
	struct bytes_out out = bytes_out(lvb, DLM_LVB_LEN);

	bytes_put_u8(&out, in->version);
	bytes_put_u8(&out, 0);
	bytes_put_be16(&out, in->dyn_features);
	bytes_put_be32(&out, in->clusters);
	bytes_put_be32(&out, in->uid);
	bytes_put_be32(&out, in->gid);
	bytes_put_be64(&out, pack_time(&in->atime));
	bytes_put_be64(&out, pack_time(&in->ctime));
	bytes_put_be64(&out, pack_time(&in->mtime));
	bytes_put_be64(&out, in->size);
	bytes_put_be16(&out, in->mode);
	bytes_put_be16(&out, in->nlink);
	bytes_put_be32(&out, in->attr);
	bytes_put_be32(&out, in->generation);
	bytes_put_be32(&out, 0);
}

void inode_lvb_decode(const uint8_t lvb[DLM_LVB_LEN], struct inode_lvb *out)
{
	struct bytes_in in = bytes_in(lvb, DLM_LVB_LEN);

	out->version = bytes_get_u8(&in);
	bytes_skip(&in, 1);
	out->dyn_features = bytes_get_be16(&in);
	out->clusters = bytes_get_be32(&in);
	out->uid = bytes_get_be32(&in);
	out->gid = bytes_get_be32(&in);
	out->atime = unpack_time(bytes_get_be64(&in));
	out->ctime = unpack_time(bytes_get_be64(&in));
	out->mtime = unpack_time(bytes_get_be64(&in));
	out->size = bytes_get_be64(&in);
	out->mode = bytes_get_be16(&in);
	out->nlink = bytes_get_be16(&in);
	out->attr = bytes_get_be32(&in);
	out->generation = bytes_get_be32(&in);
}

void inode_lvb_stuff(const struct vol_inode *vi, uint8_t lvb[DLM_LVB_LEN])
{
	struct inode_lvb v;

	if (vi->wiped || vi->nlink > INODE_LVB_MAX_LINKS) {
		lvb[0] = 0;
		return;
	}
	v = (struct inode_lvb){
		.version = INODE_LVB_VERSION,
		.dyn_features = vi->dyn_features,
		.clusters = vi->clusters,
		.uid = vi->uid,
		.gid = vi->gid,
		.atime = vi->atime,
		.ctime = vi->ctime,
		.mtime = vi->mtime,
		.size = vi->size,
		.mode = vi->mode,
		.nlink = (uint16_t)vi->nlink,
		.attr = vi->attr,
		.generation = vi->generation,
	};
	inode_lvb_encode(&v, lvb);
}

int inode_lvb_apply(const uint8_t lvb[DLM_LVB_LEN], struct vol_inode *vi)
{
	struct inode_lvb v;

	inode_lvb_decode(lvb, &v);
	if (v.version != INODE_LVB_VERSION || v.generation != vi->generation)
		return -EAGAIN;
	if ((v.mode & S_IFMT) != (vi->mode & S_IFMT))
		return -ESTALE;
	vi->clusters = v.clusters;
	vi->size = v.size;
	vi->attr = v.attr;
	vi->dyn_features = v.dyn_features;
	vi->uid = v.uid;
	vi->gid = v.gid;
	vi->mode = v.mode;
	vi->nlink = v.nlink;
	vi->atime = v.atime;
	vi->ctime = v.ctime;
	vi->mtime = v.mtime;
	return 0;
}
