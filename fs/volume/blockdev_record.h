/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * blockdev_record.h: a device that remembers every write and flush, for crash tests.
 *
 * What a power cut leaves on a disk with a volatile cache: all writes that a completed
 * flush covers, and of the later ones any subset, each whole or torn at a sector. Any
 * such state can be rebuilt on a copy of the device as it was when recording began.
 */
#ifndef O2FUSE_VOLUME_BLOCKDEV_RECORD_H
#define O2FUSE_VOLUME_BLOCKDEV_RECORD_H

#include "fs/volume/blockdev.h"

/* under becomes part of the new device and is closed with it. */
int blockdev_record(struct blockdev *under, struct blockdev **out) __must_check;
/* Writes and flushes so far. */
size_t blockdev_record_events(struct blockdev *rec);
/* Events before the first flush at or after event `from`: the worst moment of a cut. */
size_t blockdev_record_before_flush(struct blockdev *rec, size_t from);
/* From now on the n-th write or flush (0: the next one) and all after it fail. */
void blockdev_record_fail_at(struct blockdev *rec, size_t n);
/*
 * Put to what holds the state before recording all writes that make it one that a cut after
 * `cut` events can leave; seed chooses which one (0: nothing that was not flushed survived).
 */
void blockdev_record_rebuild(struct blockdev *rec, size_t cut, uint64_t seed,
			     void (*put)(void *ctx, uint64_t off, const void *data, size_t len),
			     void *ctx);

#endif
