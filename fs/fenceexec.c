/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fenceexec.c: see fenceexec.h.
 *
 * The program gets no descriptor of ours (all are O_CLOEXEC, and the standard three are
 * /dev/null), a session of its own, and default signals. It has no time limit: ending it
 * early would tell nothing about the node, and recovery has to wait for that knowledge.
 */
#include "fs/fenceexec.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LOOK_MS = 20, SAY_AFTER = 10000 / LOOK_MS };

static int spawn(const struct fenceexec *f, char *const argv[], pid_t *pid)
{
	char device[300];
	char *env[] = { (char *)(uintptr_t)"PATH=/usr/sbin:/usr/bin:/sbin:/bin", device, NULL };
	posix_spawn_file_actions_t fa;
	posix_spawnattr_t attr;
	sigset_t none, all;
	int err;

	snprintf(device, sizeof(device), "O2FUSE_DEVICE=%s", f->device);
	sigemptyset(&none);
	sigfillset(&all);
	posix_spawn_file_actions_init(&fa);
	posix_spawnattr_init(&attr);
	posix_spawn_file_actions_addopen(&fa, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&fa, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
	posix_spawn_file_actions_addopen(&fa, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &all);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
					POSIX_SPAWN_SETSID);
	err = posix_spawn(pid, f->path, &fa, &attr, argv, env);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&fa);
	return -err;
}

int fenceexec_run(const struct fenceexec *f, node_t node, const char *reason)
{
	char number[16];
	char *argv[] = { (char *)(uintptr_t)f->path, (char *)(uintptr_t)f->volume, number,
			 (char *)(uintptr_t)reason, NULL };
	int err, st = 0;
	pid_t pid, got;

	snprintf(number, sizeof(number), "%u", node);
	err = spawn(f, argv, &pid);
	if (err) {
		log_err(f->log, "fence", "the fence program %s cannot be run: %s; recovery waits "
			"node=%u", f->path, strerror(-err), node);
		return -EIO;
	}
	for (unsigned n = 1; (got = waitpid(pid, &st, WNOHANG)) == 0; n++) {
		if (atomic_load(f->give_up)) {
			kill(-pid, SIGKILL);
			waitpid(pid, &st, 0);
			return -ECANCELED;
		}
		if (n % SAY_AFTER == 0)
			log_warn(f->log, "fence", "the fence program %s still runs; recovery waits "
				 "node=%u", f->path, node);
		usleep(LOOK_MS * 1000);
	}
	if (got < 0 || !WIFEXITED(st) || WEXITSTATUS(st)) {
		log_err(f->log, "fence",
			"the fence program %s failed (%s %d); recovery waits and it is run again node=%u",
			f->path, WIFEXITED(st) ? "status" : "signal",
			WIFEXITED(st) ? WEXITSTATUS(st) : WTERMSIG(st), node);
		return -EIO;
	}
	log_info(f->log, "fence", "the fence program has fenced a dead node node=%u", node);
	return 0;
}
