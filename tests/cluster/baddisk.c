/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * baddisk.c: one host's path to the shared image, which can be made slow or bad.
 *
 *	baddisk IMAGE DIR	in the foreground until DIR is unmounted
 *
 * DIR has two files: "disk", which is the image, and "mode", to which is written:
 *
 *	good		requests are carried out
 *	delay MS	each is carried out that much later
 *	bad		each fails with EIO
 *	badwrite	writes and flushes fail with EIO
 *	hang		each waits for the next mode and fails with EIO then, unread and unwritten
 *
 * A held write fails and is not carried out late: that is what storage must keep to that
 * lets a host be declared dead (o2fuse-recovery(7), What fencing guarantees). Behind it
 * others of the same inode wait in the kernel: after "hang" comes "bad", until whoever
 * wrote has closed the disk, and only then "good".
 */
#define FUSE_USE_VERSION 314
#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* Each look for "disk" finds an inode of its own, since the kernel lets only one write at a
 * time into one: a heartbeat need not queue behind the data. */
enum { MODE = 2, DISK = 3 };
enum mode { GOOD, BAD, BADWRITE, HANG };

struct disk {
	int fd;
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	enum mode mode;
	unsigned delay_ms;
	unsigned long changes;
	fuse_ino_t last;
};

static struct disk *disk_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

/* What becomes of a request: 0 or an errno. */
static int fate(struct disk *d, bool write)
{
	struct timespec ts;
	unsigned long seen;
	enum mode mode;

	pthread_mutex_lock(&d->mutex);
	mode = d->mode;
	seen = d->changes;
	ts = (struct timespec){ d->delay_ms / 1000, (long)(d->delay_ms % 1000) * 1000000 };
	while (mode == HANG && d->changes == seen)
		pthread_cond_wait(&d->changed, &d->mutex);
	pthread_mutex_unlock(&d->mutex);
	if (ts.tv_sec || ts.tv_nsec)
		nanosleep(&ts, NULL);
	return mode == GOOD || (mode == BADWRITE && !write) ? 0 : EIO;
}

static int set_mode(struct disk *d, const char *text)
{
	enum mode mode = GOOD;
	unsigned ms = 0;

	if (!strcmp(text, "bad"))
		mode = BAD;
	else if (!strcmp(text, "badwrite"))
		mode = BADWRITE;
	else if (!strcmp(text, "hang"))
		mode = HANG;
	else if (strcmp(text, "good") && sscanf(text, "delay %u", &ms) != 1)
		return EINVAL;
	pthread_mutex_lock(&d->mutex);
	d->mode = mode;
	d->delay_ms = ms;
	d->changes++;
	pthread_cond_broadcast(&d->changed);
	pthread_mutex_unlock(&d->mutex);
	return 0;
}

static void attr(const struct disk *d, fuse_ino_t ino, struct stat *st)
{
	*st = (struct stat){ .st_ino = ino, .st_nlink = 1, .st_mode = S_IFREG | 0600 };
	if (ino == FUSE_ROOT_ID) {
		st->st_mode = S_IFDIR | 0700;
		st->st_nlink = 2;
	} else if (ino >= DISK) {
		struct stat image;

		if (!fstat(d->fd, &image))
			st->st_size = image.st_size;
	}
}

static void do_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param e = { .attr_timeout = 1 };
	struct disk *d = disk_of(req);

	if (parent != FUSE_ROOT_ID || (strcmp(name, "disk") && strcmp(name, "mode"))) {
		fuse_reply_err(req, ENOENT);
		return;
	}
	e.ino = MODE;
	if (*name == 'd') {
		pthread_mutex_lock(&d->mutex);
		e.ino = DISK + d->last++;
		pthread_mutex_unlock(&d->mutex);
	}
	attr(d, e.ino, &e.attr);
	fuse_reply_entry(req, &e);
}

static void do_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct stat st;

	(void)fi;
	attr(disk_of(req), ino, &st);
	fuse_reply_attr(req, &st, 1);
}

/* Truncation of "mode" by the shell. */
static void do_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *to, int what,
		       struct fuse_file_info *fi)
{
	(void)to, (void)what;
	do_getattr(req, ino, fi);
}

static void do_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	fi->direct_io = 1;
	fuse_reply_open(req, fi);
}

static void do_read(fuse_req_t req, fuse_ino_t ino, size_t len, off_t off,
		    struct fuse_file_info *fi)
{
	struct disk *d = disk_of(req);
	char *buf = ino >= DISK ? malloc(len) : NULL;
	int err = !buf ? EINVAL : fate(d, false);
	ssize_t n = err ? -1 : pread(d->fd, buf, len, off);

	(void)fi;
	if (n < 0)
		fuse_reply_err(req, err ? err : errno);
	else
		fuse_reply_buf(req, buf, (size_t)n);
	free(buf);
}

static void do_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t len, off_t off,
		     struct fuse_file_info *fi)
{
	struct disk *d = disk_of(req);
	char text[32];
	ssize_t n;
	int err;

	(void)fi;
	if (ino == MODE) {
		snprintf(text, sizeof(text), "%.*s", (int)len, buf);
		text[strcspn(text, "\n")] = 0;
		err = set_mode(d, text);
		n = (ssize_t)len;
	} else {
		err = fate(d, true);
		n = err ? -1 : pwrite(d->fd, buf, len, off);
	}
	if (err || n < 0)
		fuse_reply_err(req, err ? err : errno);
	else
		fuse_reply_write(req, (size_t)n);
}

/* The machine stays up: nothing needs to be flushed further than the image's pages. */
static void do_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	(void)datasync, (void)fi;
	fuse_reply_err(req, ino >= DISK ? fate(disk_of(req), true) : 0);
}

static const struct fuse_lowlevel_ops ops = {
	.lookup = do_lookup, .getattr = do_getattr, .setattr = do_setattr, .open = do_open,
	.read = do_read, .write = do_write, .fsync = do_fsync,
};

int main(int argc, char **argv)
{
	struct disk d = { .mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };
	char *args[] = { argv[0], "-ofsname=baddisk" };
	struct fuse_args fa = FUSE_ARGS_INIT(2, args);
	struct fuse_loop_config *lc = fuse_loop_cfg_create();
	struct fuse_session *se;
	int rc = 1;

	if (argc != 3 || (d.fd = open(argv[1], O_RDWR | O_CLOEXEC)) < 0 || !lc) {
		fprintf(stderr, "usage: baddisk IMAGE DIR\n");
		return 2;
	}
	fuse_loop_cfg_set_max_threads(lc, 64);
	se = fuse_session_new(&fa, &ops, sizeof(ops), &d);
	if (!se)
		return 1;
	if (!fuse_session_mount(se, argv[2])) {
		rc = fuse_session_loop_mt(se, lc);
		fuse_session_unmount(se);
	}
	fuse_session_destroy(se);
	fuse_loop_cfg_destroy(lc);
	fuse_opt_free_args(&fa);
	return rc != 0;
}
