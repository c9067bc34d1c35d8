/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * replay.c: put in place what a crash left in a log (doc/spec/disk.md 8.6).
 *
 * The log is walked three times by one walker: to find the last complete transaction, to
 * collect revoked blocks, to write the blocks. A transaction without its commit block
 * never happened. The bytes are a stranger's: positions stay in the log, a walk ends
 * after as many blocks as the log has, and nothing is written outside the volume, nor
 * before the whole log was found good.
 *
 * Speed matters, because other nodes wait for it: the log is read through a window, and
 * blocks go home many at a time. A block that is logged again while its older image waits
 * takes that image's place, so the newest is what the device gets.
 *
 * When all is home and durable the log is made empty, with a sequence that no block in
 * it carries. A crash before that replays again, which is harmless.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "fs/volume/journal_int.h"

struct revoke {
	blkno_t blkno;
	uint32_t seq;
};

enum { WINDOW = 64, BATCH = 64 }; /* blocks */

struct walk {
	struct jfile *f;
	struct reason *why;
	uint8_t *block, *data;
	uint8_t *window;	/* win_n blocks of the log from win_at on */
	uint32_t win_at, win_n;
	uint8_t *batch;		/* images that wait to be written, n_home of them */
	struct bd_io home[BATCH];
	unsigned n_home;
	uint32_t crc_table[256];
	bool checksums;
	uint32_t at, seq, walked;
	uint32_t end;		/* first sequence without a commit; from the scan */
	struct revoke *revoke;
	size_t n_revoke, max_revoke;
	struct replay_stats *stats;
	uint32_t crc;
};

enum pass { SCAN, REVOKE, WRITE };

static int bad_log(struct walk *w, const char *what)
{
	return reason_set(w->why, EXIT_JOURNAL, -EUCLEAN,
			  "journal: the log of slot %u %s (block %u, sequence %u); run fsck.ocfs2 "
			  "with the volume unmounted everywhere", w->f->slot, what, w->at, w->seq);
}

/* Through the window; a range that cannot be read as a whole is read block by block. */
static int read_log(struct walk *w, uint32_t at, void *buf)
{
	uint32_t n = w->f->maxlen > at ? w->f->maxlen - at : 1;

	if (at - w->win_at >= w->win_n) {
		n = n < WINDOW ? n : WINDOW;
		w->win_n = 0;
		if (jfile_read(w->f, at, n, w->window))
			return jfile_read(w->f, at, 1, buf);
		w->win_at = at;
		w->win_n = n;
	}
	memcpy(buf, w->window + (size_t)(at - w->win_at) * w->f->v->blocksize, w->f->v->blocksize);
	return 0;
}

static int read_block(struct walk *w, uint32_t at, void *buf)
{
	int err = read_log(w, at, buf);

	if (err)
		reason_set(w->why, EXIT_JOURNAL, err,
			   "journal: cannot read the log of slot %u: %s; check the device",
			   w->f->slot, strerror(-err));
	return err;
}

static void advance(struct walk *w, uint32_t n)
{
	w->at = jfile_advance(w->f, w->at, n);
	w->walked += n;
}

/* CRC-32, most significant bit first, as jbd2's commit blocks carry it (8.4). */
static void crc_prepare(uint32_t table[256])
{
	for (uint32_t n = 0; n < 256; n++) {
		uint32_t crc = n << 24;

		for (int i = 0; i < 8; i++)
			crc = crc << 1 ^ (crc >> 31 ? 0x04c11db7U : 0);
		table[n] = crc;
	}
}

static uint32_t crc_be(const struct walk *w, uint32_t crc, const uint8_t *p, size_t len)
{
	while (len--)
		crc = crc << 8 ^ w->crc_table[(crc >> 24 ^ *p++) & 0xff];
	return crc;
}

/* ---- tags of a descriptor ------------------------------------------------------------- */

struct tag {
	blkno_t blkno;
	unsigned flags;
};

static bool next_tag(const struct walk *w, unsigned *off, struct tag *out)
{
	unsigned bytes = w->f->tag_bytes;
	const uint8_t *p = w->block + *off;
	uint32_t low, high = 0;
	uint16_t flags;

	if (*off + bytes > w->f->v->blocksize)
		return false;
	memcpy(&low, p, 4);
	memcpy(&flags, p + 6, 2);
	if (bytes == 12)
		memcpy(&high, p + 8, 4);
	*out = (struct tag){ be32toh(low) | (blkno_t)be32toh(high) << 32, be16toh(flags) };
	*off += bytes + (out->flags & JBD_SAME_UUID ? 0 : JBD_UUID);
	return true;
}

static unsigned count_tags(const struct walk *w)
{
	unsigned off = sizeof(struct jbd_header), n = 0;
	struct tag t = { 0 };

	while (!(t.flags & JBD_LAST) && next_tag(w, &off, &t))
		n++;
	return n;
}

static bool revoked(const struct walk *w, blkno_t blkno)
{
	for (size_t i = 0; i < w->n_revoke; i++)
		if (w->revoke[i].blkno == blkno && (int32_t)(w->revoke[i].seq - w->seq) >= 0)
			return true;
	return false;
}

/* All images that wait go to their places. */
static int send_home(struct walk *w)
{
	struct vol *v = w->f->v;
	int err = blockdev_write_many(v->dev, w->home, w->n_home);

	w->n_home = 0;
	if (err)
		return reason_set(w->why, EXIT_JOURNAL, err,
				  "journal: cannot write a block of the log of slot %u to its place: "
				  "%s; check the device", w->f->slot, strerror(-err));
	return 0;
}

/* Where the image of a block is to be put: over an older one that waits, or behind all. */
static uint8_t *place_in_batch(struct walk *w, uint64_t off)
{
	struct bd_io *io = &w->home[w->n_home];

	for (unsigned i = 0; i < w->n_home; i++)
		if (w->home[i].off == off)
			return w->home[i].buf;
	*io = (struct bd_io){
		.buf = w->batch + (size_t)w->n_home * w->f->v->blocksize,
		.len = w->f->v->blocksize,
		.off = off,
	};
	w->n_home++;
	return io->buf;
}

/* One logged block to its place. */
static int put_home(struct walk *w, const struct tag *t, uint32_t at)
{
	struct vol *v = w->f->v;
	uint32_t magic = htobe32(JBD_MAGIC);
	int err;

	if (t->blkno < 2 || t->blkno >= vol_block_limit(v))
		return bad_log(w, "names a block outside the volume");
	if (revoked(w, t->blkno))
		return 0;
	err = read_block(w, at, w->data);
	if (err)
		return err;
	if (t->flags & JBD_ESCAPE)
		memcpy(w->data, &magic, 4);
	memcpy(place_in_batch(w, t->blkno * v->blocksize), w->data, v->blocksize);
	w->stats->blocks++;
	return w->n_home == BATCH ? send_home(w) : 0;
}

/* A block that the log claims to hold must have a place, or nothing is written at all. */
static int check_tags(struct walk *w)
{
	unsigned off = sizeof(struct jbd_header);
	struct tag t = { 0 };

	while (!(t.flags & JBD_LAST) && next_tag(w, &off, &t))
		if (t.blkno < 2 || t.blkno >= vol_block_limit(w->f->v))
			return bad_log(w, "names a block outside the volume");
	return 0;
}

static int checksum_data(struct walk *w, unsigned n)
{
	unsigned bs = w->f->v->blocksize;
	int err;

	w->crc = crc_be(w, w->crc, w->block, bs);
	for (unsigned i = 0; i < n; i++) {
		err = read_block(w, jfile_advance(w->f, w->at, 1 + i), w->data);
		if (err)
			return err;
		w->crc = crc_be(w, w->crc, w->data, bs);
	}
	return 0;
}

static int descriptor(struct walk *w, enum pass pass)
{
	unsigned n = count_tags(w), off = sizeof(struct jbd_header);
	struct tag t;
	int err = 0;

	if (n >= w->f->maxlen)
		return bad_log(w, "has an impossible descriptor");
	if (pass == SCAN && w->checksums)
		err = checksum_data(w, n);
	if (pass == REVOKE)
		err = check_tags(w);
	for (unsigned i = 0; i < n && pass == WRITE && !err; i++)
		if (next_tag(w, &off, &t))
			err = put_home(w, &t, jfile_advance(w->f, w->at, 1 + i));
	if (!err)
		advance(w, 1 + n);
	return err;
}

static int revokes(struct walk *w)
{
	unsigned bytes = w->f->tag_bytes == 12 ? 8 : 4;
	uint32_t used, off = 16;

	memcpy(&used, w->block + 12, 4);
	used = be32toh(used);
	if (used < 16 || used > w->f->v->blocksize)
		return bad_log(w, "has an impossible revoke block");
	for (; off + bytes <= used; off += bytes) {
		blkno_t blkno = 0;

		for (unsigned i = 0; i < bytes; i++)
			blkno = blkno << 8 | w->block[off + i];
		if (w->n_revoke == w->max_revoke) {
			size_t max = w->max_revoke ? 2 * w->max_revoke : 64;
			struct revoke *r = realloc(w->revoke, max * sizeof(*r));

			if (!r)
				return reason_set(w->why, EXIT_SYSTEM, -ENOMEM,
						  "journal: out of memory");
			w->revoke = r;
			w->max_revoke = max;
		}
		w->revoke[w->n_revoke++] = (struct revoke){ blkno, w->seq };
	}
	return 0;
}

/* Of an asynchronous commit: is what lies in the log what was committed? */
static bool commit_matches(const struct walk *w)
{
	const struct jbd_commit *c = (const void *)w->block;

	return !w->checksums || c->checksum_type != 1 || c->checksum_size != 4 ||
	       be32toh(c->checksum[0]) == w->crc;
}

/* A bad checksum is a torn end, but not if the log goes on behind it. */
static int torn_or_bad(struct walk *w)
{
	const struct jbd_header *h = (const void *)w->block;
	int err = read_block(w, jfile_advance(w->f, w->at, 1), w->block);

	if (err)
		return err;
	if (be32toh(h->magic) == JBD_MAGIC && be32toh(h->sequence) == w->seq + 1)
		return bad_log(w, "has a transaction with a wrong checksum before good ones");
	return 0;
}

/* ---- walking ---------------------------------------------------------------------------- */

/* One block of the log; *more false: the log ends before it. */
static int step(struct walk *w, enum pass pass, bool *more)
{
	const struct jbd_header *h = (const void *)w->block;
	int err;

	*more = false;
	if (pass != SCAN && w->seq == w->end)
		return 0;
	if (w->walked >= w->f->maxlen)
		return 0;
	err = read_block(w, w->at, w->block);
	if (err || be32toh(h->magic) != JBD_MAGIC || be32toh(h->sequence) != w->seq)
		return err;
	switch (be32toh(h->type)) {
	case JBD_DESCRIPTOR:
		*more = true;
		return descriptor(w, pass);
	case JBD_REVOKE:
		*more = true;
		if (pass == REVOKE)
			err = revokes(w);
		advance(w, 1);
		return err;
	case JBD_COMMIT:
		if (pass == SCAN && !commit_matches(w))
			return torn_or_bad(w);
		*more = true;
		advance(w, 1);
		w->seq++;
		w->crc = 0xffffffffU;
		return 0;
	default:
		return 0;
	}
}

static int walk(struct walk *w, enum pass pass)
{
	bool more = true;
	int err = 0;

	w->at = be32toh(w->f->super->start);
	w->seq = be32toh(w->f->super->sequence);
	w->walked = 0;
	w->crc = 0xffffffffU;
	while (more && !err)
		err = step(w, pass, &more);
	if (pass == SCAN)
		w->end = w->seq;
	return err;
}

static bool walk_init(struct walk *w, struct jfile *f, struct reason *why,
		      struct replay_stats *stats)
{
	size_t bs = f->v->blocksize;

	w->f = f;
	w->why = why;
	w->stats = stats;
	w->block = blockdev_alloc(bs);
	w->data = blockdev_alloc(bs);
	w->window = blockdev_alloc(WINDOW * bs);
	w->batch = blockdev_alloc(BATCH * bs);
	crc_prepare(w->crc_table);
	return w->block && w->data && w->window && w->batch;
}

static void walk_free(struct walk *w)
{
	free(w->block);
	free(w->data);
	free(w->window);
	free(w->batch);
	free(w->revoke);
	free(w);
}

static int walk_all(struct walk *w)
{
	int err = 0;

	for (int pass = SCAN; pass <= WRITE && !err; pass++)
		err = walk(w, (enum pass)pass);
	return err || !w->n_home ? err : send_home(w);
}

int replay_log(struct jfile *f, struct replay_stats *out, struct reason *why)
{
	uint32_t first = be32toh(f->super->sequence), end;
	struct walk *w;
	int err;

	*out = (struct replay_stats){ .next = first + 1 };
	if (!f->super->start)
		return 0;
	w = calloc(1, sizeof(*w));
	if (!w)
		return reason_set(why, EXIT_SYSTEM, -ENOMEM, "journal: out of memory");
	w->checksums = be32toh(f->super->h.type) == JBD_SUPER_V2 &&
		       (be32toh(f->super->compat) & JBD_COMPAT_CHECKSUM);
	err = walk_init(w, f, why, out) ? walk_all(w) :
		reason_set(why, EXIT_SYSTEM, -ENOMEM, "journal: out of memory");
	end = w->end;
	walk_free(w);
	if (err)
		return err;
	out->transactions = end - first;
	out->next = end + 1;
	err = blockdev_flush(f->v->dev);
	if (!err)
		err = jfile_write_super(f, 0, out->next);
	if (!err)
		err = blockdev_flush(f->v->dev);
	if (err)
		reason_set(why, EXIT_JOURNAL, err, "journal: the log of slot %u cannot be made empty: "
			   "%s; check the device", f->slot, strerror(-err));
	return err;
}

int journal_replay(struct vol *v, unsigned slot, struct reason *why)
{
	struct replay_stats stats;
	struct jfile f;
	int err;

	err = jfile_open(v, slot, &f, why);
	if (err)
		return err;
	err = replay_log(&f, &stats, why);
	if (!err)
		log_info(v->log, "journal", "log replayed slot=%u transactions=%u blocks=%u", slot,
			 stats.transactions, stats.blocks);
	jfile_close(&f);
	return err;
}
