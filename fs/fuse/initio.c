/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * initio.c: FUSE_DIRECT_IO_ALLOW_MMAP, which libfuse 3.14 does not know.
 *
 * Without that flag every shared mapping of a file that does direct I/O is refused with
 * ENODEV. The flag is bit 36: bit 4 of flags2 in the INIT reply, valid together with
 * FUSE_INIT_EXT. libfuse answers INIT with 64 bytes of body and flags2 = 0, so the reply
 * is completed on its way to the device (doc/spec/fs-locking.md 12.9): the first thing
 * read from the device is the INIT request, which tells whether the kernel offers the
 * flag, and the first thing written is its reply.
 */
#include "fs/fuse/shell_int.h"

#include <sys/uio.h>
#include <unistd.h>

enum {
	OPCODE_INIT = 26,
	IN_HEADER = 40, IN_OPCODE = 4, IN_FLAGS2 = IN_HEADER + 16,
	OUT_HEADER = 16, OUT_BODY = 64, OUT_FLAGS = 12, OUT_FLAGS2 = 32,
	INIT_EXT_BIT = 1 << 30,
	ALLOW_MMAP_BIT = 1 << 4, /* of flags2 */
};

static uint32_t load(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static void set(uint8_t *p, uint32_t bit)
{
	uint32_t v = load(p) | bit;

	memcpy(p, &v, sizeof(v));
}

static ssize_t read_request(int fd, void *buf, size_t len, void *userdata)
{
	struct shell *s = userdata;
	ssize_t n = read(fd, buf, len);
	const uint8_t *p = buf;

	if (!s->init_done && n >= IN_FLAGS2 + 4 && load(p + IN_OPCODE) == OPCODE_INIT)
		s->can_mmap = load(p + IN_FLAGS2) & ALLOW_MMAP_BIT;
	return n;
}

static ssize_t write_reply(int fd, struct iovec *iov, int count, void *userdata)
{
	struct shell *s = userdata;
	uint8_t body[OUT_BODY];

	if (s->init_done)
		return writev(fd, iov, count);
	s->init_done = true;
	if (s->can_mmap && count == 2 && iov[0].iov_len == OUT_HEADER && iov[1].iov_len == OUT_BODY) {
		struct iovec changed[2] = { iov[0], { .iov_base = body, .iov_len = sizeof(body) } };

		memcpy(body, iov[1].iov_base, sizeof(body));
		set(body + OUT_FLAGS, INIT_EXT_BIT);
		set(body + OUT_FLAGS2, ALLOW_MMAP_BIT);
		/* Before any open can come. */
		clu_set_shared_mmap(s->clu);
		return writev(fd, changed, 2);
	}
	log_info(s->log, "fuse", "shared mappings of files open for writing are refused by this kernel");
	return writev(fd, iov, count);
}

int shell_adopt(struct shell *s)
{
	static const struct fuse_custom_io io = { .writev = write_reply, .read = read_request };

	return fuse_session_custom_io(s->se, &io, s->fd);
}
