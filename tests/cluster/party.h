/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef O2FUSE_TESTS_PARTY_H
#define O2FUSE_TESTS_PARTY_H
/*
 * File operations of one party of a test: on a mount of this machine, or through a
 * connection on a mount of another one, where the same program runs "serve". A path
 * "ADDRESS:PORT!PATH" is PATH over there, any other is a path here. All return 0 or
 * more, or -errno. Not for a network that others can reach.
 */
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

enum { PARTY_DATA = 400000 };	/* bytes that one call may carry */

int party_create(const char *path, int flags, int mode);
int party_write(const char *path, int append, int64_t off, const void *buf, size_t len, int sync);
/* Whole content; returns the bytes read, at most room. */
int party_read(const char *path, void *buf, size_t room);
int party_lstat(const char *path, struct stat *st);
int party_readlink(const char *path, char *buf, size_t room);
/* Names, each ended by a zero byte; returns the bytes used. */
int party_list(const char *path, char *buf, size_t room);
int party_mkdir(const char *path, int mode);
int party_chmod(const char *path, int mode);
int party_truncate(const char *path, int64_t size);
int party_unlink(const char *path);
int party_rmdir(const char *path);
int party_symlink(const char *target, const char *path);
/* Both paths belong to the same party. */
int party_link(const char *from, const char *to);
int party_rename(const char *from, const char *to);

/* Serves connections on the port, one after the other, until it is killed. */
int party_serve(int port);

#endif
