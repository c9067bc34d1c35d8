/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fuzz-replay.c: any bytes as a journal. The first 32 are laid over its super block from
 * s_first on (sequence, start, error, features), each further 64 begin one block of the
 * log. Replay ends, writes nothing outside the volume, before its first blocks, or when
 * it refuses; and a log that was accepted is empty afterwards.
 */
#include <string.h>
#include "fs/volume/journal_int.h"
#include "tests/fuzz/fuzz.h"
#include "tests/volume/memdev.h"

enum { BS = 1024, HEAD = 32, PIECE = 64 };

struct target {
	struct memdev *m;
	struct vol *v;
	uint64_t log;	/* byte offset of the journal, which is one extent here */
};

static struct target *target(void)
{
	static const struct vol_opts opts = { .localalloc_mb = -1 };
	static struct target t;
	struct reason why = { 0 };
	struct jfile f;

	if (t.m)
		return &t;
	t.m = memdev_make("20M -b 1K -C 4K -N 2 --fs-feature-level=max-features");
	if (vol_open(memdev_bd(t.m), &opts, &t.v, &why) || jfile_open(t.v, 0, &f, &why)) {
		fprintf(stderr, "fuzz-replay: %s\n", why.text);
		abort();
	}
	FUZZ_CHECK(f.n == 1);
	t.log = f.extents[0].blkno * BS;
	jfile_close(&f);
	return &t;
}

static void lay_out(struct target *t, const uint8_t *data, size_t len)
{
	size_t head = len < HEAD ? len : HEAD;

	if (head)
		memdev_poke(t->m, t->log + offsetof(struct jbd_super, first), data, head);
	for (size_t at = HEAD, block = 1; at < len; at += PIECE, block++)
		memdev_poke(t->m, t->log + block * BS, data + at,
			    len - at < PIECE ? len - at : PIECE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct target *t = target();
	struct reason why = { 0 };
	struct jfile f;
	int err;

	if (len > HEAD + 64 * PIECE)
		len = HEAD + 64 * PIECE;
	lay_out(t, data, len);
	err = journal_replay(t->v, 0, &why);
	FUZZ_CHECK(!err == !why.text[0]);
	FUZZ_CHECK(!err || atomic_load(&t->m->writes) == 0);
	FUZZ_CHECK(!memcmp(t->m->data, t->m->base, 2 * BS));
	if (!err && !jfile_open(t->v, 0, &f, &why)) {
		FUZZ_CHECK(f.super->start == 0);
		jfile_close(&f);
	}
	memdev_reset(t->m);
	return 0;
}
