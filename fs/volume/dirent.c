/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * dirent.c: directory entries within one block or inline area.
 *
 * Pure functions over memory, no I/O (doc/spec/disk.md 5.1, 5.4, 5.5). Everything
 * that walks checks each record before it believes it: after de_check said nothing,
 * the record lies in the area and its length is at least 16, so every walk moves
 * forward and ends, whatever bytes the disk holds.
 */
#include <errno.h>
#include <string.h>

#include "fs/volume/dir_int.h"

const char *de_check(const struct de_area *a, unsigned off)
{
	const struct ocfs2_dir_entry *de;
	unsigned rec_len;

	if (off > a->len || a->len - off < DIR_MIN_HOLE)
		return "record does not fit into its block";
	de = de_at(a, off);
	rec_len = le16toh(de->rec_len);
	if (rec_len < DIR_MIN_HOLE)
		return "record is too short";
	if (rec_len % OCFS2_DIR_PAD)
		return "record length is not a multiple of 4";
	if (rec_len > a->len - off)
		return "record leaves its block";
	if (de->inode) {
		if (de->name_len == 0)
			return "name is empty";
		if (rec_len < de_need(de->name_len))
			return "record is too short for its name";
	}
	return NULL;
}

int de_find(const struct de_area *a, const char *name, size_t len, unsigned *off, unsigned *prev)
{
	unsigned at, last = DE_NONE;

	for (at = 0; at < a->len; at += le16toh(de_at(a, at)->rec_len)) {
		const struct ocfs2_dir_entry *de = de_at(a, at);

		*off = at;
		*prev = last;
		if (de_check(a, at))
			return -EIO;
		if (de->inode && de->name_len == len && memcmp(de->name, name, len) == 0)
			return 0;
		last = at;
	}
	return -ENOENT;
}

/* Bytes of a record that its name does not need. */
static unsigned spare(const struct ocfs2_dir_entry *de)
{
	unsigned rec_len = le16toh(de->rec_len);

	return de->inode ? rec_len - de_need(de->name_len) : rec_len;
}

int de_place(const struct de_area *a, size_t len, unsigned *off)
{
	for (*off = 0; *off < a->len; *off += le16toh(de_at(a, *off)->rec_len)) {
		if (de_check(a, *off))
			return -EIO;
		if (spare(de_at(a, *off)) >= de_need(len))
			return 0;
	}
	return -ENOSPC;
}

void de_put(const struct de_area *a, unsigned off, const char *name, size_t len, blkno_t blkno,
	    uint8_t type)
{
	struct ocfs2_dir_entry *de = de_at(a, off);

	if (de->inode) {
		unsigned own = de_need(de->name_len);
		unsigned rest = le16toh(de->rec_len) - own;

		de->rec_len = htole16((uint16_t)own);
		de = de_at(a, off + own);
		de->rec_len = htole16((uint16_t)rest);
	}
	de->inode = htole64(blkno);
	de->name_len = (uint8_t)len;
	de->file_type = type;
	memcpy(de->name, name, len);
}

void de_del(const struct de_area *a, unsigned off, unsigned prev)
{
	struct ocfs2_dir_entry *de = de_at(a, off);

	if (prev == DE_NONE) {
		de->inode = 0;
	} else {
		struct ocfs2_dir_entry *before = de_at(a, prev);

		before->rec_len = htole16((uint16_t)(le16toh(before->rec_len) +
						     le16toh(de->rec_len)));
	}
}

int de_largest_hole(const struct de_area *a)
{
	unsigned best = 0;

	for (unsigned at = 0; at < a->len; at += le16toh(de_at(a, at)->rec_len)) {
		if (de_check(a, at))
			return -EIO;
		if (spare(de_at(a, at)) > best)
			best = spare(de_at(a, at));
	}
	return (int)best;
}

int de_count(const struct de_area *a)
{
	int n = 0;

	for (unsigned at = 0; at < a->len; at += le16toh(de_at(a, at)->rec_len)) {
		if (de_check(a, at))
			return -EIO;
		n += de_at(a, at)->inode != 0;
	}
	return n;
}

void de_init_empty(const struct de_area *a)
{
	memset(a->base, 0, a->len);
	de_at(a, 0)->rec_len = htole16((uint16_t)a->len);
}

void de_init_dots(const struct de_area *a, blkno_t self, blkno_t parent)
{
	const unsigned dot = de_need(1);

	de_init_empty(a);
	de_at(a, 0)->rec_len = htole16((uint16_t)dot);
	de_at(a, dot)->rec_len = htole16((uint16_t)(a->len - dot));
	de_put(a, 0, ".", 1, self, OCFS2_FT_DIR);
	de_put(a, dot, "..", 2, parent, OCFS2_FT_DIR);
}

int de_extend(struct de_area *a, unsigned more)
{
	unsigned last = DE_NONE;

	for (unsigned at = 0; at < a->len; at += le16toh(de_at(a, at)->rec_len)) {
		if (de_check(a, at))
			return -EIO;
		last = at;
	}
	if (last == DE_NONE)
		return -EIO;
	de_at(a, last)->rec_len = htole16((uint16_t)(le16toh(de_at(a, last)->rec_len) + more));
	a->len += more;
	return 0;
}

bool de_name_ok(const char *name, size_t len)
{
	return len > 0 && !memchr(name, '/', len) && !memchr(name, 0, len);
}
