/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * shell.c: the FUSE session: mount(2), INIT, the loop.
 *
 * mount(2) is called here rather than by libfuse, so that the source shows as it was
 * named, the type is plain "fuse" (a subtype would make mount(8) look for a helper at
 * remount), and all flags of mount(8) are taken. libfuse adopts the descriptor.
 *
 * INIT (doc/spec/fs-locking.md 12.7): max_background is raised to the limit, since at
 * the default twelve parked READs would hold up every other asynchronous request;
 * no writeback cache, no automatic invalidation by mtime, no readdirplus.
 */
#include "fs/fuse/shell_int.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <unistd.h>

enum { MAX_BACKGROUND = 65535, IDLE_THREADS = 16, MAX_THREADS = 65536 };

static void want(struct fuse_conn_info *conn, unsigned cap, bool on)
{
	if (on)
		conn->want |= conn->capable & cap;
	else
		conn->want &= ~cap;
}

static void op_init(void *userdata, struct fuse_conn_info *conn)
{
	struct shell *s = userdata;

	s->proto_minor = conn->proto_minor;
	want(conn, FUSE_CAP_ASYNC_READ | FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_EXPLICIT_INVAL_DATA |
		    FUSE_CAP_CACHE_SYMLINKS, true);
	want(conn, FUSE_CAP_AUTO_INVAL_DATA | FUSE_CAP_WRITEBACK_CACHE | FUSE_CAP_READDIRPLUS |
		    FUSE_CAP_READDIRPLUS_AUTO | FUSE_CAP_ATOMIC_O_TRUNC | FUSE_CAP_POSIX_LOCKS |
		    FUSE_CAP_HANDLE_KILLPRIV | FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE |
		    FUSE_CAP_SPLICE_MOVE, false);
	/* A default ACL takes the place of the umask: clu_create knows. */
	want(conn, FUSE_CAP_DONT_MASK, true);
	want(conn, FUSE_CAP_POSIX_ACL, s->cfg.acl);
	want(conn, FUSE_CAP_FLOCK_LOCKS, !s->cfg.localflocks);
	conn->max_background = MAX_BACKGROUND;
	conn->congestion_threshold = MAX_BACKGROUND;
	conn->time_gran = 1;
	log_debug(s->log, "fuse", "session starts protocol=%u.%u", conn->proto_major,
		  conn->proto_minor);
}

static const struct fuse_lowlevel_ops ops = {
	.init = op_init,
	.lookup = op_lookup,
	.forget = op_forget,
	.forget_multi = op_forget_multi,
	.getattr = op_getattr,
	.setattr = op_setattr,
	.readlink = op_readlink,
	.mknod = op_mknod,
	.mkdir = op_mkdir,
	.unlink = op_unlink,
	.rmdir = op_rmdir,
	.symlink = op_symlink,
	.rename = op_rename,
	.link = op_link,
	.open = op_open,
	.read = op_read,
	.write = op_write,
	.fallocate = op_fallocate,
	.lseek = op_lseek,
	.release = op_release,
	.fsync = op_fsync,
	/* An open directory is kept when it is removed. */
	.opendir = op_open,
	.releasedir = op_release,
	.readdir = op_readdir,
	.fsyncdir = op_fsyncdir,
	.statfs = op_statfs,
	.create = op_create,
	.flock = op_flock,
	.setxattr = op_setxattr,
	.getxattr = op_getxattr,
	.listxattr = op_listxattr,
	.removexattr = op_removexattr,
};

struct shell *shell_new(const struct shell_config *cfg, struct reason *why)
{
	struct shell *s = calloc(1, sizeof(*s));
	char *argv[] = { (char *)"o2fuse", NULL };
	struct fuse_args args = FUSE_ARGS_INIT(1, argv);

	if (!s) {
		reason_set(why, EXIT_SYSTEM, -ENOMEM, "out of memory");
		return NULL;
	}
	s->cfg = *cfg;
	s->log = cfg->log;
	s->fd = -1;
	atomic_store(&s->attr_validity, true);
	s->se = fuse_session_new(&args, &ops, sizeof(ops), s);
	if (!s->se) {
		reason_set(why, EXIT_SYSTEM, -ENOMEM, "cannot make a FUSE session");
		free(s);
		return NULL;
	}
	return s;
}

static int mount_fuse(struct shell *s, struct reason *why)
{
	char data[160];
	struct statx st;

	s->fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	if (s->fd < 0)
		return reason_set(why, EXIT_SYSTEM, -errno,
				  "cannot open /dev/fuse: %s; load the fuse module (modprobe fuse)",
				  strerror(errno));
	snprintf(data, sizeof(data), "fd=%d,rootmode=40000,user_id=0,group_id=0%s%s", s->fd,
		 s->cfg.allow_other ? ",allow_other" : "",
		 s->cfg.default_permissions ? ",default_permissions" : "");
	if (mount(s->cfg.source, s->cfg.mountpoint, "fuse",
		  s->cfg.ms_flags | (s->cfg.ro ? MS_RDONLY : 0), data) < 0)
		return reason_set(why, EXIT_SYSTEM, -errno, "cannot mount on %s: %s",
				  s->cfg.mountpoint, strerror(errno));
	if (shell_adopt(s)) {
		umount2(s->cfg.mountpoint, MNT_DETACH);
		return reason_set(why, EXIT_SYSTEM, -EIO, "libfuse does not take the connection");
	}
	/* DONT_SYNC asks the kernel only; nobody serves requests yet. */
	if (!statx(AT_FDCWD, s->cfg.mountpoint, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, STATX_INO, &st))
		s->minor = st.stx_dev_minor;
	return 0;
}

int shell_mount(struct shell *s, struct clu *clu, struct reason *why)
{
	s->clu = clu;
	s->root = vol_info(clu_vol(clu))->root_blkno;
	return mount_fuse(s, why);
}

int shell_run(struct shell *s)
{
	struct fuse_loop_config *cfg = fuse_loop_cfg_create();
	int err;

	if (!cfg)
		return -ENOMEM;
	fuse_loop_cfg_set_idle_threads(cfg, IDLE_THREADS);
	fuse_loop_cfg_set_max_threads(cfg, MAX_THREADS);
	fuse_loop_cfg_set_clone_fd(cfg, 0);
	err = fuse_session_loop_mt(s->se, cfg);
	fuse_loop_cfg_destroy(cfg);
	atomic_store(&s->gone, true);
	return err;
}

unsigned shell_connection(const struct shell *s)
{
	return s->minor;
}

void shell_abort(struct shell *s)
{
	char path[64];
	int fd;

	atomic_store(&s->gone, true);
	snprintf(path, sizeof(path), "/sys/fs/fuse/connections/%u/abort", s->minor);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd >= 0) {
		if (write(fd, "1", 1) != 1)
			log_warn(s->log, "fuse", "cannot abort connection=%u errno=%d", s->minor, errno);
		close(fd);
	}
	fuse_session_exit(s->se);
}

void shell_free(struct shell *s)
{
	if (!s)
		return;
	fuse_session_destroy(s->se);
	free(s);
}
