/* SPDX-License-Identifier: GPL-2.0-or-later */
/* volsh_data.c: commands that look at and change content and attributes. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "tests/volume/volsh.h"

static int do_stat(struct volsh *sh, char **w, unsigned n)
{
	struct vol_inode *i;
	int err = volsh_find(sh, w[0], &i);

	(void)n;
	if (err)
		return err;
	printf("%s mode=%o nlink=%u uid=%u gid=%u size=%llu clusters=%u\n", w[0], i->mode, i->nlink,
	       i->uid, i->gid, (unsigned long long)i->size, i->clusters);
	vol_iput(i);
	return 0;
}

static int do_cat(struct volsh *sh, char **w, unsigned n)
{
	struct vol_inode *i;
	uint64_t off = 0;
	char buf[65536];
	size_t got = 1;
	int err = volsh_find(sh, w[0], &i);

	(void)n;
	while (!err && got) {
		err = vol_read(i, buf, sizeof(buf), off, &got);
		if (!err) {
			fwrite(buf, 1, got, stdout);
			off += got;
		} else {
			vol_iput(i);
			return err;
		}
	}
	if (!err)
		vol_iput(i);
	return err;
}

static int write_all(struct vol_inode *i, const char *data, size_t len, uint64_t off, bool append)
{
	size_t done;
	int err;

	while (len) {
		err = vol_write(i, data, len, &off, append, false, &done);
		if (err)
			return err;
		data += done;
		len -= done;
		off += done;
	}
	return 0;
}

static int put(struct volsh *sh, const char *path, const char *data, size_t len, uint64_t off,
	       bool append)
{
	struct vol_inode *i;
	int err = volsh_find(sh, path, &i);

	if (err)
		return err;
	err = write_all(i, data, len, off, append);
	vol_iput(i);
	return err;
}

static int do_write(struct volsh *sh, char **w, unsigned n)
{
	(void)n;
	return put(sh, w[0], w[2], strlen(w[2]), strtoull(w[1], NULL, 0), false);
}

static int do_append(struct volsh *sh, char **w, unsigned n)
{
	(void)n;
	return put(sh, w[0], w[1], strlen(w[1]), 0, true);
}

/* fill PATH OFFSET LENGTH SEED: bytes that depend on their offset and the seed. */
static int do_fill(struct volsh *sh, char **w, unsigned n)
{
	uint64_t off = strtoull(w[1], NULL, 0), len = strtoull(w[2], NULL, 0);
	unsigned seed = (unsigned)strtoul(w[3], NULL, 0);
	AUTO_FREE char *data = malloc(len ? len : 1);

	(void)n;
	if (!data)
		return -ENOMEM;
	for (uint64_t i = 0; i < len; i++)
		data[i] = (char)((off + i) * 2654435761u >> 13 ^ (off + i) ^ seed);
	return put(sh, w[0], data, len, off, false);
}

/* verify PATH OFFSET LENGTH SEED: is that what fill wrote? */
static int do_verify(struct volsh *sh, char **w, unsigned n)
{
	uint64_t off = strtoull(w[1], NULL, 0), len = strtoull(w[2], NULL, 0);
	unsigned seed = (unsigned)strtoul(w[3], NULL, 0);
	AUTO_FREE char *data = malloc(len ? len : 1);
	struct vol_inode *inode;
	size_t got;
	int err;

	(void)n;
	if (!data)
		return -ENOMEM;
	err = volsh_find(sh, w[0], &inode);
	if (err)
		return err;
	err = vol_read(inode, data, len, off, &got);
	vol_iput(inode);
	if (!err && got != len)
		err = -ENODATA;
	for (uint64_t i = 0; i < len && !err; i++)
		if (data[i] != (char)((off + i) * 2654435761u >> 13 ^ (off + i) ^ seed)) {
			printf("%s: wrong byte at %llu\n", w[0], (unsigned long long)(off + i));
			err = -EILSEQ;
		}
	return err;
}

static int do_truncate(struct volsh *sh, char **w, unsigned n)
{
	struct vol_inode *i;
	int err = volsh_find(sh, w[0], &i);

	(void)n;
	if (err)
		return err;
	err = vol_truncate(i, strtoull(w[1], NULL, 0));
	vol_iput(i);
	return err;
}

static int do_chmod(struct volsh *sh, char **w, unsigned n)
{
	struct vol_setattr s = { .valid = VOL_SET_MODE };
	struct vol_inode *i;
	int err = volsh_find(sh, w[1], &i);

	(void)n;
	if (err)
		return err;
	s.mode = (uint16_t)((i->mode & S_IFMT) | (strtoul(w[0], NULL, 8) & 07777));
	err = vol_setattr(i, &s);
	vol_iput(i);
	return err;
}

static int do_fsync(struct volsh *sh, char **w, unsigned n)
{
	struct vol_inode *i;
	int err = volsh_find(sh, w[0], &i);

	(void)n;
	if (err)
		return err;
	err = vol_fsync(i, false);
	vol_iput(i);
	return err;
}

const struct volsh_command volsh_data[] = {
	{ "stat", "PATH", 1, 1, do_stat },
	{ "cat", "PATH", 1, 1, do_cat },
	{ "write", "PATH OFFSET TEXT", 3, 3, do_write },
	{ "append", "PATH TEXT", 2, 2, do_append },
	{ "fill", "PATH OFFSET LENGTH SEED", 4, 4, do_fill },
	{ "verify", "PATH OFFSET LENGTH SEED", 4, 4, do_verify },
	{ "truncate", "PATH SIZE", 2, 2, do_truncate },
	{ "chmod", "MODE PATH", 2, 2, do_chmod },
	{ "fsync", "PATH", 1, 1, do_fsync },
	{ 0 },
};
