/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test-inode-lvb.c: value blocks of M locks (doc/spec/fs-locking.md 2.1), with its
 * vector and those that kernel nodes sent (doc/spec/vectors/frames.jsonl).
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>
#include "dlm/util/cleanup.h"
#include "fs/cluster/inode_lvb.h"
#include "fs/volume/vol.h"

static void unhex(const char *text, uint8_t out[DLM_LVB_LEN])
{
	cr_assert_eq(strlen(text), 2 * DLM_LVB_LEN);
	for (unsigned i = 0; i < DLM_LVB_LEN; i++)
		cr_assert_eq(sscanf(text + 2 * i, "%2hhx", &out[i]), 1);
}

static const char vector[] = "0500000100000001000003e8000000641954fc40075bcd151954fc4080000000"
			     "1954fc407b9ac9ff000000000000303981a40001000000000badcafe00000000";

static struct vol_inode vector_inode(void)
{
	return (struct vol_inode){
		.loaded = true, .mode = 0100644, .dyn_features = 1, .uid = 1000, .gid = 100,
		.nlink = 1, .generation = 0x0badcafe, .clusters = 1, .size = 12345,
		.atime = { 1700000000, 123456789 },
		.mtime = { 1700000001, 999999999 },
		.ctime = { 1700000002, 0 },
	};
}

Test(inode_lvb, stuffs_the_vector)
{
	struct vol_inode vi = vector_inode();
	uint8_t want[DLM_LVB_LEN], got[DLM_LVB_LEN];

	unhex(vector, want);
	memset(got, 0xff, sizeof(got));
	inode_lvb_stuff(&vi, got);
	cr_assert_arr_eq(got, want, DLM_LVB_LEN);
}

Test(inode_lvb, applies_the_vector)
{
	struct vol_inode vi = { .loaded = true, .mode = 0100600, .generation = 0x0badcafe };
	struct vol_inode want = vector_inode();
	uint8_t lvb[DLM_LVB_LEN];

	unhex(vector, lvb);
	cr_assert_eq(inode_lvb_apply(lvb, &vi), 0);
	cr_assert_arr_eq(&vi, &want, sizeof(vi));
}

Test(inode_lvb, not_trusted_with_another_version_or_generation)
{
	struct vol_inode vi = { .loaded = true, .mode = 0100600, .generation = 0x0badcafe };
	struct vol_inode before = vi;
	uint8_t lvb[DLM_LVB_LEN];

	unhex(vector, lvb);
	for (unsigned version = 0; version < 256; version++) {
		if (version == INODE_LVB_VERSION)
			continue;
		lvb[0] = (uint8_t)version;
		cr_assert_eq(inode_lvb_apply(lvb, &vi), -EAGAIN);
	}
	lvb[0] = INODE_LVB_VERSION;
	vi.generation = before.generation = 0x0badcaff;
	cr_assert_eq(inode_lvb_apply(lvb, &vi), -EAGAIN);
	memset(lvb, 0, sizeof(lvb));
	vi.generation = before.generation = 0;
	cr_assert_eq(inode_lvb_apply(lvb, &vi), -EAGAIN, "lost contents read as zeros");
	cr_assert_arr_eq(&vi, &before, sizeof(vi));
}

Test(inode_lvb, another_file_type_is_stale)
{
	struct vol_inode vi = { .loaded = true, .mode = 0040755, .generation = 0x0badcafe };
	uint8_t lvb[DLM_LVB_LEN];

	unhex(vector, lvb);
	cr_assert_eq(inode_lvb_apply(lvb, &vi), -ESTALE);
	cr_assert_eq(vi.mode, 0040755);
}

Test(inode_lvb, wiped_changes_only_the_version)
{
	struct vol_inode vi = vector_inode();
	uint8_t want[DLM_LVB_LEN], got[DLM_LVB_LEN];

	unhex(vector, want);
	unhex(vector, got);
	want[0] = 0;
	vi.wiped = true;
	vi.size = 0;
	inode_lvb_stuff(&vi, got);
	cr_assert_arr_eq(got, want, DLM_LVB_LEN);
}

/* The field has 16 bits: 65536 links would read as 0. */
Test(inode_lvb, more_links_than_fit_send_readers_to_the_disk)
{
	struct vol_inode vi = vector_inode();
	uint8_t lvb[DLM_LVB_LEN];

	unhex(vector, lvb);
	vi.nlink = 65536;
	inode_lvb_stuff(&vi, lvb);
	cr_assert_eq(lvb[0], 0);
	vi.nlink = 65535;
	inode_lvb_stuff(&vi, lvb);
	cr_assert_eq(lvb[0], INODE_LVB_VERSION);
	cr_assert_eq(inode_lvb_apply(lvb, &vi), 0);
	cr_assert_eq(vi.nlink, 65535);
}

Test(inode_lvb, seconds_are_clamped_to_34_bits)
{
	struct inode_lvb v = { .version = 5,
			       .atime = { -1, 5 },
			       .mtime = { 0x400000000LL, 6 },
			       .ctime = { 0x3ffffffffLL, 999999999 } };
	uint8_t lvb[DLM_LVB_LEN];

	inode_lvb_encode(&v, lvb);
	inode_lvb_decode(lvb, &v);
	cr_assert_eq(v.atime.tv_sec, 0);
	cr_assert_eq(v.atime.tv_nsec, 5);
	cr_assert_eq(v.mtime.tv_sec, 0x3ffffffffLL);
	cr_assert_eq(v.mtime.tv_nsec, 6);
	cr_assert_eq(v.ctime.tv_sec, 0x3ffffffffLL);
	cr_assert_eq(v.ctime.tv_nsec, 999999999);
}

/* ---- what kernel nodes sent ---- */

static uint64_t number(struct json_object *o, const char *key)
{
	struct json_object *v;

	cr_assert(json_object_object_get_ex(o, key, &v), "no %s", key);
	return (uint64_t)json_object_get_int64(v);
}

static const char *text(struct json_object *o, const char *key)
{
	struct json_object *v;

	cr_assert(json_object_object_get_ex(o, key, &v), "no %s", key);
	return json_object_get_string(v);
}

static void expect_time(const struct timespec *t, const char *want)
{
	char got[40];

	snprintf(got, sizeof(got), "%lld.%09ld", (long long)t->tv_sec, t->tv_nsec);
	cr_assert_str_eq(got, want);
}

static unsigned check_lvb(struct json_object *o)
{
	uint8_t lvb[DLM_LVB_LEN], again[DLM_LVB_LEN];
	struct inode_lvb v;

	unhex(text(o, "hex"), lvb);
	inode_lvb_decode(lvb, &v);
	cr_assert_eq(v.version, number(o, "version"));
	cr_assert_eq(v.dyn_features, number(o, "dyn_features"));
	cr_assert_eq(v.clusters, number(o, "clusters"));
	cr_assert_eq(v.uid, number(o, "uid"));
	cr_assert_eq(v.gid, number(o, "gid"));
	cr_assert_eq(v.size, number(o, "size"));
	cr_assert_eq(v.nlink, number(o, "nlink"));
	cr_assert_eq(v.attr, number(o, "attr"));
	cr_assert_eq(v.mode, strtoul(text(o, "mode"), NULL, 8));
	cr_assert_eq(v.generation, strtoul(text(o, "generation"), NULL, 16));
	expect_time(&v.atime, text(o, "atime"));
	expect_time(&v.mtime, text(o, "mtime"));
	expect_time(&v.ctime, text(o, "ctime"));
	memset(again, 0xff, sizeof(again));
	inode_lvb_encode(&v, again);
	cr_assert_arr_eq(again, lvb, DLM_LVB_LEN, "%s", text(o, "hex"));
	return 1;
}

/* Every object below o that has a class and a version is a value block taken apart. */
static unsigned walk(struct json_object *o)
{
	struct json_object *v;
	unsigned n = 0;

	if (json_object_is_type(o, json_type_array)) {
		for (size_t i = 0; i < json_object_array_length(o); i++)
			n += walk(json_object_array_get_idx(o, i));
	} else if (json_object_is_type(o, json_type_object)) {
		if (json_object_object_get_ex(o, "class", &v) &&
		    json_object_object_get_ex(o, "generation", &v))
			return check_lvb(o);
		json_object_object_foreach(o, key, val) {
			(void)key;
			n += walk(val);
		}
	}
	return n;
}

Test(inode_lvb, frames_of_kernel_nodes_decode_and_encode_again)
{
	FILE *f = fopen(SPECDIR "/vectors/frames.jsonl", "r");
	AUTO_FREE char *line = NULL;
	size_t room = 0;
	unsigned n = 0;

	cr_assert_not_null(f);
	while (getline(&line, &room, f) > 0) {
		struct json_object *o = json_tokener_parse(line);

		cr_assert_not_null(o);
		n += walk(o);
		json_object_put(o);
	}
	fclose(f);
	cr_assert_geq(n, 14, "only %u value blocks found", n);
}
