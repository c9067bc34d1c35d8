/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * blockdev.c: opening a device, the write gate, and the calls in front of a backend.
 *
 * The gate is checked here, and by backends before each further submission of one call,
 * against a clock that counts suspend: a process that was stopped past its lease finds the
 * gate shut at its first attempt. in_flight counts writes that were let through, so that a fence can tell
 * when nothing of ours can reach the device any more.
 */
#include "fs/volume/blockdev.h"
#include "fs/volume/blockdev_int.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>

enum { ALIGN = 4096, FILE_SECTOR = 512 };

void *blockdev_alloc(size_t len)
{
	void *p;

	if (posix_memalign(&p, ALIGN, (len + ALIGN - 1) & ~(size_t)(ALIGN - 1)))
		return NULL;
	memset(p, 0, len);
	return p;
}

/* What a file takes for direct I/O depends on the disk below it: try. */
static int probe_sector(struct blockdev *bd, int fd, struct reason *why)
{
	AUTO_FREE void *buf = blockdev_alloc(ALIGN);

	if (!buf)
		return reason_set(why, EXIT_SYSTEM, -ENOMEM, "out of memory");
	for (bd->sector = FILE_SECTOR; bd->sector <= ALIGN; bd->sector *= 2)
		if (pread(fd, buf, bd->sector, 0) >= 0)
			return 0;
		else if (errno != EINVAL)
			break;
	return reason_set(why, EXIT_DEVICE, -errno, "cannot read %s with direct I/O: %s; use a file "
			  "system that allows it, or a block device", bd->path, strerror(errno));
}

/* Size and sector size of a block device or regular file. */
static int measure(struct blockdev *bd, int fd, struct reason *why)
{
	struct stat st;
	int sector;

	if (fstat(fd, &st) < 0)
		return reason_set(why, EXIT_DEVICE, -errno, "cannot look at %s: %s", bd->path,
				  strerror(errno));
	if (S_ISREG(st.st_mode)) {
		bd->size = (uint64_t)st.st_size;
		return probe_sector(bd, fd, why);
	}
	if (!S_ISBLK(st.st_mode))
		return reason_set(why, EXIT_DEVICE, -ENOTBLK,
				  "%s is neither a block device nor a regular file", bd->path);
	if (ioctl(fd, BLKGETSIZE64, &bd->size) < 0 || ioctl(fd, BLKSSZGET, &sector) < 0)
		return reason_set(why, EXIT_DEVICE, -errno, "cannot get the size of %s: %s", bd->path,
				  strerror(errno));
	if (sector < FILE_SECTOR || sector > ALIGN || (sector & (sector - 1)))
		return reason_set(why, EXIT_DEVICE, -EINVAL,
				  "%s has sectors of %d bytes; 512 to 4096 are supported", bd->path, sector);
	bd->sector = (uint32_t)sector;
	return 0;
}

static int attach(struct blockdev *bd, int fd, unsigned flags)
{
	if (!(flags & BLOCKDEV_NO_URING) && !blockdev_uring_attach(bd, fd))
		return 0;
	return blockdev_pread_attach(bd, fd);
}

int blockdev_open(const char *path, unsigned flags, struct blockdev **out, struct reason *why)
{
	bool ro = flags & BLOCKDEV_RO;
	struct blockdev *bd = calloc(1, sizeof(*bd));
	int fd, err;

	if (!bd)
		return reason_set(why, EXIT_SYSTEM, -ENOMEM, "out of memory");
	snprintf(bd->path, sizeof(bd->path), "%s", path);
	fd = open(path, (ro ? O_RDONLY : O_RDWR) | O_DIRECT | O_CLOEXEC);
	if (fd < 0 && !ro && (errno == EROFS || errno == EACCES)) {
		ro = true;
		fd = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
	}
	if (fd < 0) {
		err = reason_set(why, EXIT_DEVICE, -errno, "cannot open %s for direct I/O: %s", path,
				 strerror(errno));
		goto free_bd;
	}
	bd->readonly = ro;
	err = measure(bd, fd, why);
	if (err)
		goto close_fd;
	err = attach(bd, fd, flags);
	if (err) {
		reason_set(why, EXIT_SYSTEM, err, "cannot prepare I/O on %s: %s", path, strerror(-err));
		goto close_fd;
	}
	*out = bd;
	return 0;
close_fd:
	close(fd);
free_bd:
	free(bd);
	return err;
}

void blockdev_close(struct blockdev *bd)
{
	if (!bd)
		return;
	bd->ops->close(bd);
	free(bd);
}

/* ---- the gate --------------------------------------------------------------------- */

void blockdev_gate_deadline(struct blockdev *bd, int64_t boottime_ns)
{
	atomic_store_explicit(&bd->deadline_ns, boottime_ns, memory_order_release);
}

void blockdev_gate_shut(struct blockdev *bd)
{
	atomic_store_explicit(&bd->shut, true, memory_order_release);
}

bool blockdev_gate_open(const struct blockdev *bd)
{
	int64_t deadline = atomic_load_explicit(&bd->deadline_ns, memory_order_acquire);
	struct timespec now;

	if (atomic_load_explicit(&bd->shut, memory_order_acquire))
		return false;
	if (!deadline)
		return true;
	clock_gettime(CLOCK_BOOTTIME, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec < deadline;
}

/* ---- I/O --------------------------------------------------------------------------- */

static bool in_range(const struct blockdev *bd, const struct bd_io *io)
{
	return io->len <= bd->size && io->off <= bd->size - io->len;
}

static int refuse(struct bd_io *io, unsigned n, int err)
{
	for (unsigned i = 0; i < n; i++)
		io[i].err = err;
	return err;
}

static int rw(struct blockdev *bd, struct bd_io *io, unsigned n, bool write)
{
	int err;

	for (unsigned i = 0; i < n; i++)
		if (!in_range(bd, &io[i]))
			return refuse(io, n, -EIO);
	if (!n)
		return 0;
	if (!write)
		return bd->ops->rw(bd, io, n, false);
	if (bd->readonly)
		return refuse(io, n, -EROFS);
	/* Counted first, looked at second: whoever shuts the gate and then sees a count of
	 * zero knows that nothing more will get out. */
	atomic_fetch_add(&bd->in_flight, 1);
	err = blockdev_gate_open(bd) ? bd->ops->rw(bd, io, n, true) : refuse(io, n, -EIO);
	atomic_fetch_sub(&bd->in_flight, 1);
	return err;
}

int blockdev_read_many(struct blockdev *bd, struct bd_io *io, unsigned n)
{
	return rw(bd, io, n, false);
}

int blockdev_write_many(struct blockdev *bd, struct bd_io *io, unsigned n)
{
	return rw(bd, io, n, true);
}

int blockdev_read(struct blockdev *bd, void *buf, size_t len, uint64_t off)
{
	struct bd_io io = { .buf = buf, .len = len, .off = off };

	return rw(bd, &io, 1, false);
}

int blockdev_write(struct blockdev *bd, const void *buf, size_t len, uint64_t off)
{
	struct bd_io io = { .buf = (void *)(uintptr_t)buf, .len = len, .off = off };

	return rw(bd, &io, 1, true);
}

int blockdev_flush(struct blockdev *bd)
{
	if (bd->readonly)
		return 0;
	/* Not let through after a fence: it could make what others replaced durable. */
	if (!blockdev_gate_open(bd))
		return -EIO;
	return bd->ops->flush(bd);
}
