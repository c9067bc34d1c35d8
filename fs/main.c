/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * main.c: mount.o2fuse, the mount helper.
 *
 *	mount.o2fuse DEVICE DIR [-o OPTIONS] [-sfnvrw] [-t TYPE] [--foreground]
 *
 * It returns when the mount is usable; the daemon goes on in the background. On
 * failure it prints what failed, why, and what to do, and ends with a status of
 * enum exit_code.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <syslog.h>
#include <unistd.h>
#include "config.h"
#include "fs/daemon.h"

#ifndef PR_SET_IO_FLUSHER
#define PR_SET_IO_FLUSHER 57
#endif

struct command {
	struct mount_options opts;
	const char *device, *dir;
	char device_path[PATH_MAX], mountpoint[PATH_MAX];
	bool help, version;
};

static void usage(FILE *to)
{
	fprintf(to, "usage: mount.o2fuse DEVICE DIR [-o OPTION,...] [--foreground]\n"
		    "Mounts the OCFS2 volume on DEVICE at DIR, shared with the other hosts of its "
		    "cluster.\n\noptions [default]:\n");
	options_help(to);
}

static int parse(struct command *c, int argc, char **argv, struct reason *why)
{
	static const struct option longs[] = {
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ "foreground", no_argument, NULL, 'F' },
		{ "options", required_argument, NULL, 'o' },
		{ 0 },
	};
	int ch, err = 0;

	opterr = 0;
	while (!err && (ch = getopt_long(argc, argv, "o:t:N:sfnvrwhV", longs, NULL)) != -1) {
		switch (ch) {
		case 'o':
			err = options_parse(&c->opts, optarg, why);
			break;
		case 'f':
			c->opts.fake = true;
			break;
		case 'F':
			c->opts.foreground = true;
			break;
		case 'r':
			c->opts.ro = true;
			break;
		case 'w':
			c->opts.ro = false;
			break;
		case 'v':
		case 's':
		case 'n':
		case 't':
		case 'N':
			break; /* from mount(8); nothing to do */
		case 'h':
			c->help = true;
			return 0;
		case 'V':
			c->version = true;
			return 0;
		default:
			return reason_set(why, EXIT_USAGE, -EINVAL,
					  "unknown argument \"%s\"; see mount.o2fuse --help",
					  argv[optind - 1]);
		}
	}
	if (err)
		return err;
	if (argc - optind != 2)
		return reason_set(why, EXIT_USAGE, -EINVAL,
				  "DEVICE and DIR are needed; see mount.o2fuse --help");
	c->device = argv[optind];
	c->dir = argv[optind + 1];
	return 0;
}

static int check_paths(struct command *c, struct reason *why)
{
	struct stat st;

	if (!realpath(c->device, c->device_path))
		return reason_set(why, EXIT_DEVICE, -errno, "cannot find the device %s: %s", c->device,
				  strerror(errno));
	if (!realpath(c->dir, c->mountpoint) || stat(c->mountpoint, &st))
		return reason_set(why, EXIT_USAGE, -errno, "cannot mount on %s: %s; make the directory",
				  c->dir, strerror(errno));
	if (!S_ISDIR(st.st_mode))
		return reason_set(why, EXIT_USAGE, -ENOTDIR, "%s is not a directory", c->dir);
	return 0;
}

/* The daemon need not be told: it is a full member whether the mount is ro or not. */
static int remount(const struct command *c, struct reason *why)
{
	const struct mount_options *o = &c->opts;
	unsigned long f = MS_REMOUNT | (o->ro ? MS_RDONLY : 0);

	f |= (o->dev ? 0 : MS_NODEV) | (o->suid ? 0 : MS_NOSUID) | (o->exec ? 0 : MS_NOEXEC) |
	     (o->sync ? MS_SYNCHRONOUS : 0) | (o->dirsync ? MS_DIRSYNC : 0) |
	     (o->nodiratime ? MS_NODIRATIME : 0) | (o->atime == OPT_NOATIME ? MS_NOATIME : 0) |
	     (o->atime == OPT_STRICTATIME ? MS_STRICTATIME : MS_RELATIME);
	if (mount(c->device, c->mountpoint, "fuse", f, NULL) < 0)
		return reason_set(why, EXIT_SYSTEM, -errno, "cannot remount %s: %s", c->mountpoint,
				  strerror(errno));
	return 0;
}

/* What the parent is told when the mount is usable, or why it is not. */
struct verdict {
	int err;
	struct reason why;
};

static void tell(int fd, int err, const struct reason *why)
{
	struct verdict v = { .err = err, .why = *why };

	if (fd >= 0 && write(fd, &v, sizeof(v)) != sizeof(v))
		return; /* the parent is gone; the log has it */
}

static void detach(void)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (chdir("/"))
		return;
	if (null >= 0) {
		dup2(null, STDIN_FILENO);
		dup2(null, STDOUT_FILENO);
		dup2(null, STDERR_FILENO);
		if (null > STDERR_FILENO)
			close(null);
	}
}

static void prepare_process(void)
{
	struct rlimit files = { .rlim_cur = 65536, .rlim_max = 65536 };
	sigset_t set;

	/* Threads inherit: signals go to the one that waits for them. */
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	setrlimit(RLIMIT_NOFILE, &files);
	/* Memory reclaim must not wait for a mount that waits for us. */
	prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0);
}

/* The daemon: result of the mount to fd (-1: none), then serve. */
static int run(const struct command *c, int fd)
{
	struct watchdog wd = { .fd = -1 };
	struct daemon_config cfg = {
		.opts = &c->opts,
		.device = c->device_path,
		.mountpoint = c->mountpoint,
		.watchdog = &wd,
	};
	struct reason why = { 0 };
	enum log_to to = c->opts.log ? LOG_TO_FILE : c->opts.foreground ? LOG_TO_STDERR :
									  LOG_TO_SYSLOG;
	struct daemon *d;
	int err;

	prepare_process();
	err = watchdog_start(&wd);
	if (err) {
		reason_set(&why, EXIT_SYSTEM, err, "cannot start the watchdog: %s", strerror(-err));
		tell(fd, err, &why);
		return err;
	}
	cfg.sink = log_sink_new(to, c->opts.log, c->device, c->opts.verbose);
	if (!cfg.sink)
		err = reason_set(&why, EXIT_USAGE, -errno, "cannot open the log file %s: %s",
				 c->opts.log ? c->opts.log : "", strerror(errno));
	if (!err)
		err = daemon_mount(&cfg, &d, &why);
	if (err)
		log_err(log_sink_logger(cfg.sink), "mount", "failed device=%s: %s", c->device, why.text);
	tell(fd, err, &why);
	if (!err) {
		if (fd >= 0) {
			close(fd);
			detach();
		}
		err = daemon_serve(d);
	}
	watchdog_stop(&wd);
	log_sink_free(cfg.sink);
	if (err && fd < 0 && why.text[0])
		fprintf(stderr, "mount.o2fuse: %s\n", why.text);
	return err ? (why.text[0] ? -(int)why.code : -EXIT_SYSTEM) : 0;
}

static int mount_in_background(const struct command *c, struct reason *why)
{
	struct verdict v = { 0 };
	int fds[2], status;
	pid_t pid;
	ssize_t n;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return reason_set(why, EXIT_SYSTEM, -errno, "cannot make a pipe: %s", strerror(errno));
	pid = fork();
	if (pid < 0)
		return reason_set(why, EXIT_SYSTEM, -errno, "cannot fork: %s", strerror(errno));
	if (pid == 0) {
		close(fds[0]);
		setsid();
		_exit(run(c, fds[1]) ? 1 : 0);
	}
	close(fds[1]);
	do
		n = read(fds[0], &v, sizeof(v));
	while (n < 0 && errno == EINTR);
	close(fds[0]);
	if (n == sizeof(v)) {
		if (v.err) {
			*why = v.why;
			waitpid(pid, &status, 0);
		}
		return v.err;
	}
	waitpid(pid, &status, 0);
	return reason_set(why, EXIT_SYSTEM, -EIO,
			  "the daemon ended (%s %d) before the mount was usable; the log says more",
			  WIFSIGNALED(status) ? "signal" : "status",
			  WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
}

int main(int argc, char **argv)
{
	struct command c = { 0 };
	struct reason why = { 0 };
	int err, code = 0;

	options_default(&c.opts);
	err = parse(&c, argc, argv, &why);
	if (!err && c.help) {
		usage(stdout);
		goto out;
	}
	if (!err && c.version) {
		printf("mount.o2fuse %s\n", PACKAGE_VERSION);
		goto out;
	}
	if (!err && geteuid() != 0)
		err = reason_set(&why, EXIT_USAGE, -EPERM, "only root can mount; use sudo");
	if (!err)
		err = check_paths(&c, &why);
	if (!err && c.opts.remount)
		err = remount(&c, &why);
	else if (!err && c.opts.foreground)
		code = -run(&c, -1);
	else if (!err && !c.opts.fake)
		err = mount_in_background(&c, &why);
	if (err) {
		fprintf(stderr, "mount.o2fuse: %s\n", why.text[0] ? why.text : strerror(-err));
		code = why.code ? (int)why.code : EXIT_SYSTEM;
	}
out:
	options_free(&c.opts);
	return code;
}
