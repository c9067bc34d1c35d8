/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * nlfake.h: an admin server over a node table without a cluster, run by a thread.
 *
 * Used by the tests of the server, of its client and of the tool. Only that thread
 * touches the server and the table while it runs.
 */
#ifndef O2FUSE_TESTS_NLFAKE_H
#define O2FUSE_TESTS_NLFAKE_H

#include "net/netlink.h"

struct nlfake;

/* In the network namespace of the caller. Exits the program on failure. */
struct nlfake *nlfake_start(const char *cluster, node_t self);
void nlfake_stop(struct nlfake *f);
/* Before others use it: rows that nlfake_start did not make, and the padding of the
 * status to that many bytes. */
void nlfake_add(struct nlfake *f, unsigned number, const char *name, uint32_t addr, bool alive,
		const char *link_state);
void nlfake_status_bytes(struct nlfake *f, size_t bytes);
/* Runs on the server's thread; returns when it is sent. */
void nlfake_event(struct nlfake *f, const char *name, node_t node, const char *words);

#endif
