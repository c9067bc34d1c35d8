/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * party.c: the file operations of party.h, done here or sent to where they are done.
 *
 * A request is a struct req, its path, and its data (the second path, or what is to be
 * written); a reply is a struct rep and its data. Both ends are the same program on
 * the same kind of machine, so the structs travel as they are.
 */
#include "party.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum op { CREATE, WRITE, READ, LSTAT, READLINK, LIST, MKDIR, CHMOD, TRUNCATE, UNLINK, RMDIR, SYMLINK, LINK, RENAME };
enum { ROOM = 1024, PARTIES = 8 };

struct req {
	uint32_t op, path_len, data_len;
	int32_t a, b;
	int64_t c;
};

struct rep {
	int32_t rc;
	uint32_t len;
};

/* ---- here ---------------------------------------------------------------------- */

static int result(int rc)
{
	return rc < 0 ? -errno : rc;
}

static int do_write(const char *path, const struct req *q, const void *data)
{
	int fd = open(path, O_WRONLY | (q->a ? O_APPEND : 0)), rc;
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = q->a ? write(fd, data, q->data_len) : pwrite(fd, data, q->data_len, q->c);
	rc = n < 0 ? -errno : n == (ssize_t)q->data_len ? 0 : -EIO;
	if (!rc && q->b && fsync(fd))
		rc = -errno;
	if (close(fd) && !rc)
		rc = -errno;
	return rc;
}

static int do_read(const char *path, uint8_t *out, size_t room)
{
	int fd = open(path, O_RDONLY), rc;
	size_t got = 0;
	ssize_t n;

	if (fd < 0)
		return -errno;
	while ((n = read(fd, out + got, room - got)) > 0)
		got += (size_t)n;
	rc = n < 0 ? -errno : (int)got;
	close(fd);
	return rc;
}

static int do_list(const char *path, char *out, size_t room)
{
	DIR *d = opendir(path);
	struct dirent *de;
	size_t used = 0;
	int rc = 0;

	if (!d)
		return -errno;
	while (!rc && (errno = 0, de = readdir(d))) {
		size_t len = strlen(de->d_name) + 1;

		if (len > room - used) {
			rc = -ENOBUFS;
		} else {
			memcpy(out + used, de->d_name, len);
			used += len;
		}
	}
	if (!rc && errno)
		rc = -errno;
	closedir(d);
	return rc ? rc : (int)used;
}

static int do_here(const struct req *q, const char *path, const void *data, void *out, size_t room)
{
	int fd;

	switch ((enum op)q->op) {
	case CREATE:
		fd = open(path, O_RDWR | O_CREAT | q->a, (mode_t)q->b);
		return fd < 0 ? -errno : result(close(fd));
	case WRITE:
		return do_write(path, q, data);
	case READ:
		return do_read(path, out, room);
	case LSTAT:
		return room < sizeof(struct stat) ? -ENOBUFS : result(lstat(path, out)) ?: (int)sizeof(struct stat);
	case READLINK:
		return result((int)readlink(path, out, room));
	case LIST:
		return do_list(path, out, room);
	case MKDIR:
		return result(mkdir(path, (mode_t)q->a));
	case CHMOD:
		return result(chmod(path, (mode_t)q->a));
	case TRUNCATE:
		return result(truncate(path, q->c));
	case UNLINK:
		return result(unlink(path));
	case RMDIR:
		return result(rmdir(path));
	case SYMLINK:
		return result(symlink(data, path));
	case LINK:
		return result(link(path, data));
	case RENAME:
		return result(rename(path, data));
	}
	return -ENOSYS;
}

/* ---- there --------------------------------------------------------------------- */

static int all(int fd, void *buf, size_t len, int out)
{
	uint8_t *p = buf;

	while (len) {
		ssize_t n = out ? send(fd, p, len, MSG_NOSIGNAL) : recv(fd, p, len, 0);

		if (n <= 0)
			return n ? -errno : -EPIPE;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

struct link {
	char name[64];
	int fd;
};

static int dial(const char *name)
{
	static struct link links[PARTIES];
	struct sockaddr_in sa = { .sin_family = AF_INET };
	char host[64];
	int one = 1, i;
	char *colon;

	for (i = 0; i < PARTIES && links[i].name[0]; i++)
		if (!strcmp(links[i].name, name))
			return links[i].fd;
	snprintf(host, sizeof(host), "%s", name);
	colon = strchr(host, ':');
	if (i == PARTIES || !colon)
		return -EINVAL;
	*colon = 0;
	sa.sin_port = htons((uint16_t)atoi(colon + 1));
	if (inet_pton(AF_INET, host, &sa.sin_addr) != 1)
		return -EINVAL;
	links[i].fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (links[i].fd < 0 || connect(links[i].fd, (void *)&sa, sizeof(sa)))
		return -errno;
	setsockopt(links[i].fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	snprintf(links[i].name, sizeof(links[i].name), "%s", name);
	return links[i].fd;
}

static int call(struct req q, const char *path, const void *data, void *out, size_t room)
{
	const char *bang = strchr(path, '!');
	struct rep rep;
	char name[64];
	int fd, rc;

	if (!bang)
		return do_here(&q, path, data, out, room);
	if (q.op == LINK || q.op == RENAME) {
		data = strchr(data, '!') + 1;
		q.data_len = (uint32_t)strlen(data) + 1;
	}
	snprintf(name, sizeof(name), "%.*s", (int)(bang - path), path);
	fd = dial(name);
	if (fd < 0) {
		fprintf(stderr, "party %s: %s\n", name, strerror(-fd));
		exit(3);
	}
	q.path_len = (uint32_t)strlen(bang + 1) + 1;
	rc = all(fd, &q, sizeof(q), 1) ?: all(fd, (void *)(uintptr_t)(bang + 1), q.path_len, 1) ?:
		all(fd, (void *)(uintptr_t)data, q.data_len, 1) ?: all(fd, &rep, sizeof(rep), 0);
	if (!rc && rep.len > room)
		rc = -EMSGSIZE;
	rc = rc ?: all(fd, out, rep.len, 0);
	if (rc) {
		fprintf(stderr, "party %s: the connection broke: %s\n", name, strerror(-rc));
		exit(3);
	}
	return rep.rc;
}

static int serve_one(int fd, char *data, char *out)
{
	struct req q;
	struct rep rep;
	char path[ROOM];
	int rc;

	rc = all(fd, &q, sizeof(q), 0);
	if (rc)
		return rc;
	if (!q.path_len || q.path_len > sizeof(path) || q.data_len > PARTY_DATA)
		return -EMSGSIZE;
	rc = all(fd, path, q.path_len, 0) ?: all(fd, data, q.data_len, 0);
	if (rc)
		return rc;
	path[q.path_len - 1] = 0;
	data[q.data_len] = 0;
	rep.rc = do_here(&q, path, data, out, PARTY_DATA);
	rep.len = rep.rc > 0 ? (uint32_t)rep.rc : 0;
	return all(fd, &rep, sizeof(rep), 1) ?: all(fd, out, rep.len, 1);
}

int party_serve(int port)
{
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	char *data = malloc(PARTY_DATA + 1), *out = malloc(PARTY_DATA);
	int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1, fd;

	if (!data || !out || s < 0)
		return 1;
	setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(s, (void *)&sa, sizeof(sa)) || listen(s, 1)) {
		perror("party");
		return 1;
	}
	while ((fd = accept(s, NULL, NULL)) >= 0) {
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		while (!serve_one(fd, data, out))
			;
		close(fd);
	}
	return 1;
}

/* ---- the calls ----------------------------------------------------------------- */

int party_create(const char *path, int flags, int mode)
{
	return call((struct req){ .op = CREATE, .a = flags, .b = mode }, path, NULL, NULL, 0);
}

int party_write(const char *path, int append, int64_t off, const void *buf, size_t len, int sync)
{
	struct req q = { .op = WRITE, .a = append, .b = sync, .c = off, .data_len = (uint32_t)len };

	return call(q, path, buf, NULL, 0);
}

int party_read(const char *path, void *buf, size_t room)
{
	return call((struct req){ .op = READ }, path, NULL, buf, room);
}

int party_lstat(const char *path, struct stat *st)
{
	int rc = call((struct req){ .op = LSTAT }, path, NULL, st, sizeof(*st));

	return rc < 0 ? rc : 0;
}

int party_readlink(const char *path, char *buf, size_t room)
{
	int rc;
	char out[PATH_MAX];

	rc = call((struct req){ .op = READLINK }, path, NULL, out, sizeof(out));
	if (rc >= 0)
		snprintf(buf, room, "%.*s", rc, out);
	return rc;
}

int party_list(const char *path, char *buf, size_t room)
{
	return call((struct req){ .op = LIST }, path, NULL, buf, room);
}

int party_mkdir(const char *path, int mode)
{
	return call((struct req){ .op = MKDIR, .a = mode }, path, NULL, NULL, 0);
}

int party_chmod(const char *path, int mode)
{
	return call((struct req){ .op = CHMOD, .a = mode }, path, NULL, NULL, 0);
}

int party_truncate(const char *path, int64_t size)
{
	return call((struct req){ .op = TRUNCATE, .c = size }, path, NULL, NULL, 0);
}

int party_unlink(const char *path)
{
	return call((struct req){ .op = UNLINK }, path, NULL, NULL, 0);
}

int party_rmdir(const char *path)
{
	return call((struct req){ .op = RMDIR }, path, NULL, NULL, 0);
}

int party_symlink(const char *target, const char *path)
{
	struct req q = { .op = SYMLINK, .data_len = (uint32_t)strlen(target) + 1 };

	return call(q, path, target, NULL, 0);
}

int party_link(const char *from, const char *to)
{
	return call((struct req){ .op = LINK, .data_len = (uint32_t)strlen(to) + 1 }, from, to, NULL, 0);
}

int party_rename(const char *from, const char *to)
{
	return call((struct req){ .op = RENAME, .data_len = (uint32_t)strlen(to) + 1 }, from, to, NULL, 0);
}
