/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * blockdev.h: the shared device behind an ops table, and the write gate.
 *
 * All device I/O of a volume goes through here, O_DIRECT, so that no copy lies
 * in this host's page cache (it is not coherent between hosts). Offsets, lengths
 * and buffers are multiples of the sector size (buffers: of 4096 in address).
 * Calls block until the device acknowledged; any thread. The default backend is
 * io_uring, with pread/pwrite where io_uring is forbidden.
 *
 * The gate: no write is submitted after the deadline (CLOCK_BOOTTIME, which
 * counts suspend) or once it was shut; such a write returns -EIO. Shutting is
 * for good (doc/spec/cluster.md 3.3). A deadline of 0 means none.
 */
#ifndef O2FUSE_VOLUME_BLOCKDEV_H
#define O2FUSE_VOLUME_BLOCKDEV_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "dlm/util/cleanup.h"
#include "dlm/util/err.h"

struct blockdev;

struct bd_io {
	void *buf;
	size_t len;
	uint64_t off;	/* bytes */
	int err;	/* out: 0 or negative errno */
};

struct blockdev_ops {
	const char *name;
	/* Do all of them, in any order; fill in err; return the first error or 0. */
	int (*rw)(struct blockdev *bd, struct bd_io *io, unsigned n, bool write);
	int (*flush)(struct blockdev *bd);
	void (*close)(struct blockdev *bd);
};

struct blockdev {
	const struct blockdev_ops *ops;
	void *priv;
	char path[256];
	uint64_t size;		/* bytes */
	uint32_t sector;	/* logical sector size, 512..4096 */
	bool readonly;
	atomic_bool shut;
	_Atomic int64_t deadline_ns;
	atomic_uint in_flight;	/* writes submitted and not yet acknowledged */
};

enum blockdev_flags { BLOCKDEV_RO = 1, BLOCKDEV_NO_URING = 2 };

int blockdev_open(const char *path, unsigned flags, struct blockdev **out,
		  struct reason *why) __must_check;
void blockdev_close(struct blockdev *bd);

int blockdev_read(struct blockdev *bd, void *buf, size_t len, uint64_t off) __must_check;
int blockdev_write(struct blockdev *bd, const void *buf, size_t len, uint64_t off) __must_check;
/* n requests side by side; each io->err is filled in. */
int blockdev_read_many(struct blockdev *bd, struct bd_io *io, unsigned n) __must_check;
int blockdev_write_many(struct blockdev *bd, struct bd_io *io, unsigned n) __must_check;
int blockdev_flush(struct blockdev *bd) __must_check;

void blockdev_gate_deadline(struct blockdev *bd, int64_t boottime_ns);
void blockdev_gate_shut(struct blockdev *bd);
bool blockdev_gate_open(const struct blockdev *bd);

/* 4096-aligned memory, zeroed; free() releases it. NULL on lack of memory. */
void *blockdev_alloc(size_t len);

#endif
