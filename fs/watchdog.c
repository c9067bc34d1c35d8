/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * watchdog.c: see watchdog.h. Protocol on the pipe: a 32-bit connection number arms,
 * 0xffffffff says good-bye, end of file without it means that the daemon died.
 */
#include "fs/watchdog.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { GOODBYE = 0xffffffff };

static void abort_connection(uint32_t connection)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/sys/fs/fuse/connections/%u/abort", connection);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, "1", 1) != 1)
		_exit(1);
	_exit(0);
}

static void watch(int fd)
{
	uint32_t word, connection = 0;
	ssize_t n;

	prctl(PR_SET_NAME, "o2fuse-watchdog");
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	for (;;) {
		n = read(fd, &word, sizeof(word));
		if (n < 0 && errno == EINTR)
			continue;
		if (n != sizeof(word))
			break;
		if (word == GOODBYE)
			_exit(0);
		connection = word;
	}
	if (connection)
		abort_connection(connection);
	_exit(0);
}

int watchdog_start(struct watchdog *w)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	w->pid = fork();
	if (w->pid < 0) {
		int err = -errno;

		close(fds[0]);
		close(fds[1]);
		return err;
	}
	if (w->pid == 0) {
		/* What the daemon has open must not live on with us, nor a pipe of whoever
		 * called mount and waits for its end. */
		int null = open("/dev/null", O_RDWR);

		if (null >= 0) {
			dup2(null, STDIN_FILENO);
			dup2(null, STDOUT_FILENO);
			dup2(null, STDERR_FILENO);
		}
		if (fds[0] != 3)
			dup2(fds[0], 3);
		close_range(4, ~0u, 0);
		watch(3);
	}
	close(fds[0]);
	w->fd = fds[1];
	return 0;
}

static void say(struct watchdog *w, uint32_t word)
{
	ssize_t n;

	do
		n = write(w->fd, &word, sizeof(word));
	while (n < 0 && errno == EINTR);
}

void watchdog_arm(struct watchdog *w, unsigned connection)
{
	say(w, connection);
}

void watchdog_stop(struct watchdog *w)
{
	if (w->pid <= 0)
		return;
	say(w, GOODBYE);
	close(w->fd);
	waitpid(w->pid, NULL, 0);
	w->pid = 0;
}
