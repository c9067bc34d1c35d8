/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * journal_commit.c: the running transaction becomes durable (doc/spec/disk.md 8.7).
 *
 * Under the barrier, when no handle is open, every joined block is copied; then the
 * barrier opens again and all the rest works on the copies, so operations wait for a
 * memcpy and not for the device. Checksums, escapes and descriptors are made in the
 * copies. (The check field in the cached block stays behind; nobody reads it there, and
 * every way to the disk computes it anew.)
 *
 * On the disk: super block if it still says the log is empty, and descriptors with
 * their blocks; flush; commit block; flush. So whoever finds the commit block finds
 * all before it, and a start in the super block.
 *
 * Room: if the log has too little, all committed transactions are checkpointed first.
 * They are the only ones in it, so it is empty then, and no transaction is larger than a
 * quarter of it.
 *
 * Commits follow one another under commit_mutex. Whoever needs one makes it himself:
 * those who wait for the mutex meanwhile find theirs done, or make one for all of them.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "fs/volume/check.h"
#include "fs/volume/journal_int.h"

static unsigned tags_in(const struct journal *j)
{
	return jbd_tags(j->v->blocksize, j->file.tag_bytes);
}

/* Blocks in the log: descriptors, images, commit block. */
static uint32_t area_blocks(const struct journal *j, unsigned nbufs)
{
	return nbufs + (nbufs + tags_in(j) - 1) / tags_in(j) + 1;
}

static uint8_t *area_at(const struct journal *j, const struct txn *t, uint32_t block)
{
	return t->area + (size_t)block * j->v->blocksize;
}

/* Copy all blocks; nobody can change them. */
static int take_images(struct journal *j, struct txn *t)
{
	unsigned per = tags_in(j);

	t->area_blocks = area_blocks(j, t->nbufs);
	t->area = blockdev_alloc((size_t)t->area_blocks * j->v->blocksize);
	t->images = calloc(t->nbufs, sizeof(*t->images));
	if (!t->area || !t->images) {
		free(TAKE(t->area));
		free(TAKE(t->images));
		return -ENOMEM;
	}
	for (unsigned i = 0; i < t->nbufs; i++) {
		struct block_image *im = &t->images[i];

		im->b = t->bufs[i];
		im->type = im->b->type;
		im->data = area_at(j, t, i + i / per + 1);
		memcpy(im->data, im->b->data, j->v->blocksize);
	}
	return 0;
}

/* mutex is held: open the barrier, with or without a transaction to run. */
static void open_barrier(struct journal *j)
{
	j->barrier = false;
	pthread_cond_broadcast(&j->cond);
}

/* Take the running transaction out of everybody's hands. *out NULL: there is nothing. */
static int freeze(struct journal *j, struct txn **out)
{
	struct txn *t;
	int err = 0;

	*out = NULL;
	pthread_mutex_lock(&j->mutex);
	t = j->running;
	if (!t || j->error || atomic_load(&j->v->stopped)) {
		err = j->error || atomic_load(&j->v->stopped) ? -EIO : 0;
		pthread_mutex_unlock(&j->mutex);
		return err;
	}
	j->barrier = true;
	while (t->handles)
		pthread_cond_wait(&j->cond, &j->mutex);
	if (j->error || atomic_load(&j->v->stopped) || t->nbufs == 0) {
		err = t->nbufs || j->error ? -EIO : 0;
		open_barrier(j);
		pthread_mutex_unlock(&j->mutex);
		return err;
	}
	pthread_mutex_unlock(&j->mutex);

	err = take_images(j, t);

	pthread_mutex_lock(&j->mutex);
	if (!err) {
		for (unsigned i = 0; i < t->nbufs; i++)
			t->bufs[i]->st->running = NULL;
		j->running = NULL;
		j->frozen = t;
		*out = t;
	}
	open_barrier(j);
	pthread_mutex_unlock(&j->mutex);
	return err;
}

/* ---- the copies become a piece of log ------------------------------------------------ */

static void put_header(void *block, enum jbd_type type, uint32_t seq)
{
	struct jbd_header *h = block;

	h->magic = htobe32(JBD_MAGIC);
	h->type = htobe32(type);
	h->sequence = htobe32(seq);
}

static bool is_magic(const uint8_t *data)
{
	uint32_t first;

	memcpy(&first, data, 4);
	return first == htobe32(JBD_MAGIC);
}

static void put_tag(const struct journal *j, uint8_t *at, blkno_t blkno, uint16_t flags)
{
	uint32_t low = htobe32((uint32_t)blkno), high = htobe32((uint32_t)(blkno >> 32));

	flags = htobe16(flags);
	memcpy(at, &low, 4);
	memcpy(at + 6, &flags, 2);
	if (j->file.tag_bytes == 12)
		memcpy(at + 8, &high, 4);
}

static void seal_image(struct journal *j, struct block_image *im)
{
	int at = blk_check_at(j->v, im->type, im->data);

	if (at >= 0)
		blk_seal(j->v, im->data, (size_t)at);
}

static void build(struct journal *j, struct txn *t)
{
	unsigned per = tags_in(j);
	uint8_t *tag = NULL;

	for (unsigned i = 0; i < t->nbufs; i++) {
		struct block_image *im = &t->images[i];
		uint16_t flags = 0;

		if (i % per == 0) {
			uint8_t *desc = area_at(j, t, i + i / per);

			put_header(desc, JBD_DESCRIPTOR, t->seq);
			tag = desc + sizeof(struct jbd_header);
		} else {
			flags |= JBD_SAME_UUID;
		}
		if (i % per == per - 1 || i == t->nbufs - 1)
			flags |= JBD_LAST;
		if (is_magic(im->data)) {
			flags |= JBD_ESCAPE;
			memset(im->data, 0, 4);
		}
		put_tag(j, tag, im->b->blkno, flags);
		tag += j->file.tag_bytes + (i % per == 0 ? JBD_UUID : 0);
	}
}

/* The images go home from here: what was escaped for the log comes back. */
static void unescape(struct journal *j, struct txn *t)
{
	uint32_t magic = htobe32(JBD_MAGIC);
	unsigned per = tags_in(j);

	for (unsigned i = 0; i < t->nbufs; i++) {
		const uint8_t *tag = area_at(j, t, i / per * (per + 1)) + sizeof(struct jbd_header);
		uint16_t flags;

		tag += i % per * j->file.tag_bytes + (i % per ? JBD_UUID : 0);
		memcpy(&flags, tag + 6, 2);
		if (be16toh(flags) & JBD_ESCAPE)
			memcpy(t->images[i].data, &magic, 4);
	}
}

static void build_commit_block(struct journal *j, struct txn *t)
{
	struct jbd_commit *c = (void *)area_at(j, t, t->area_blocks - 1);
	struct timespec now = vol_now();

	put_header(c, JBD_COMMIT, t->seq);
	c->sec = htobe64((uint64_t)now.tv_sec);
	c->nsec = htobe32((uint32_t)now.tv_nsec);
}

/* ---- to the disk -------------------------------------------------------------------------- */

/* A place in the log. */
static int place(struct journal *j, struct txn *t)
{
	uint32_t room;
	int err;

	pthread_mutex_lock(&j->mutex);
	room = j->log_room - j->log_used;
	pthread_mutex_unlock(&j->mutex);
	if (room < t->area_blocks) {
		err = journal_checkpoint(j);
		if (err)
			return err;
	}
	pthread_mutex_lock(&j->mutex);
	err = j->log_room - j->log_used < t->area_blocks ? -ENOSPC : 0;
	if (!err) {
		t->log_start = j->head;
		t->seq = j->next_seq++;
		j->head = jfile_advance(&j->file, j->head, t->area_blocks);
		j->log_used += t->area_blocks;
	}
	pthread_mutex_unlock(&j->mutex);
	return err;
}

/* The super block must name a start before the commit block is there. */
static int announce(struct journal *j, const struct txn *t)
{
	int err = 0;

	pthread_mutex_lock(&j->super_mutex);
	if (j->super_empty) {
		err = jfile_write_super(&j->file, t->log_start, t->seq);
		if (!err)
			j->super_empty = false;
	}
	pthread_mutex_unlock(&j->super_mutex);
	return err;
}

static int write_log(struct journal *j, struct txn *t)
{
	uint32_t body = t->area_blocks - 1;
	int err;

	err = announce(j, t);
	if (!err)
		err = jfile_write(&j->file, t->log_start, body, t->area);
	if (!err)
		err = blockdev_flush(j->v->dev);
	if (!err)
		err = jfile_write(&j->file, jfile_advance(&j->file, t->log_start, body), 1,
				  area_at(j, t, body));
	return err ? err : blockdev_flush(j->v->dev);
}

/* Durable: it waits for its way home. */
static void done(struct journal *j, struct txn *t)
{
	pthread_mutex_lock(&j->mutex);
	for (unsigned i = 0; i < t->nbufs; i++)
		t->images[i].b->st->newest = &t->images[i];
	j->frozen = NULL;
	*j->committed_end = t;
	j->committed_end = &t->next;
	j->image_bytes += (size_t)t->area_blocks * j->v->blocksize;
	atomic_fetch_sub(&j->nfreed, t->nfreed);
	t->nfreed = 0;
	atomic_store(&j->committed_id, t->id);
	if (j->log_used > j->log_room / 2)
		journal_kick(j);
	pthread_mutex_unlock(&j->mutex);
}

int journal_commit_running(struct journal *j, bool *did)
{
	struct txn *t;
	int err;

	*did = false;
	err = freeze(j, &t);
	if (err || !t)
		return err;
	for (unsigned i = 0; i < t->nbufs; i++)
		seal_image(j, &t->images[i]);
	err = place(j, t);
	if (!err) {
		build(j, t);
		build_commit_block(j, t);
		err = write_log(j, t);
	}
	if (err) /* t stays frozen: its blocks must not be read from their old places */
		return journal_fail(j, err, "a transaction could not be written");
	unescape(j, t);
	done(j, t);
	*did = true;
	return 0;
}
