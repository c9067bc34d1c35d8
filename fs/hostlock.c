/* SPDX-License-Identifier: GPL-2.0-or-later */
/* hostlock.c: see hostlock.h. */
#include "fs/hostlock.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* How long a process may take to notice that its mount is gone. */
enum { NOTICE_MS = 3000, POLL_MS = 50 };

static int bind_name(const char *uuid, const char *what, int *out)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	socklen_t len;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), n;

	if (fd < 0)
		return -errno;
	n = snprintf(sa.sun_path + 1, sizeof(sa.sun_path) - 1, "o2fuse/%s/%s", uuid, what);
	len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n);
	if (bind(fd, (struct sockaddr *)&sa, len) < 0) {
		int err = -errno;

		close(fd);
		return err;
	}
	*out = fd;
	return 0;
}

static bool is_mounted(const char *uuid)
{
	int fd;

	if (bind_name(uuid, "mounted", &fd))
		return true;
	close(fd);
	return false;
}

int hostlock_take(struct hostlock *l, const char *uuid, unsigned wait_s, struct reason *why)
{
	const struct timespec pause = { .tv_nsec = POLL_MS * 1000000L };
	unsigned waited_ms = 0, mounted_ms = 0;
	int err;

	l->held = l->mounted = -1;
	snprintf(l->uuid, sizeof(l->uuid), "%s", uuid);
	while ((err = bind_name(uuid, "held", &l->held)) == -EADDRINUSE) {
		mounted_ms = is_mounted(uuid) ? mounted_ms + POLL_MS : 0;
		if (mounted_ms >= NOTICE_MS || waited_ms >= wait_s * 1000)
			return reason_set(why, EXIT_BUSY, -EBUSY,
					  "volume %s is mounted on this host already; a volume can be "
					  "mounted once per host (o2fuse status shows where)",
					  uuid);
		nanosleep(&pause, NULL);
		waited_ms += POLL_MS;
	}
	return err ? reason_set(why, EXIT_SYSTEM, err, "cannot take the host's lock: %s",
				strerror(-err))
		   : 0;
}

int hostlock_mounted(struct hostlock *l)
{
	return bind_name(l->uuid, "mounted", &l->mounted);
}

void hostlock_leaving(struct hostlock *l)
{
	if (l->mounted >= 0)
		close(l->mounted);
	l->mounted = -1;
}

void hostlock_drop(struct hostlock *l)
{
	hostlock_leaving(l);
	if (l->held >= 0)
		close(l->held);
	l->held = -1;
}
