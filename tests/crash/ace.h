/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ace.h: short workloads and what may be seen after a power cut in one of them.
 *
 * A workload is a few operations on a small fixed tree (model.c). After each the model
 * keeps a snapshot. A cut may show the names of exactly one snapshot between the last one
 * that was made durable (fsync, sync) before the cut and the last one that had begun; the
 * bytes of files are those of any snapshot in that range, since data is written in place.
 */
#ifndef O2FUSE_TESTS_ACE_H
#define O2FUSE_TESTS_ACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "fs/volume/vol.h"

enum { PATHS = 10, NODES_MAX = 8, DATA_MAX = 36864, STEPS = 8 };

struct ace_node {
	bool dir;
	unsigned nlink;
	uint32_t size;
	char data[DATA_MAX];
};

struct ace_state {
	int node[PATHS];	/* of each path; -1: not there */
	unsigned nodes;
	struct ace_node n[NODES_MAX];
};

struct ace_path {
	const char *dir;	/* "": the root */
	const char *name;
};
extern const struct ace_path ace_paths[PATHS];

enum ace_kind { A_CREATE, A_MKDIR, A_RMDIR, A_WRITE, A_APPEND, A_TRUNCATE, A_RENAME, A_LINK, A_UNLINK,
		A_FSYNC, A_SYNC };
struct ace_op {
	enum ace_kind kind;
	int path, other;
	uint32_t off, len;
};
extern const struct ace_op ace_ops[];
extern const unsigned ace_ops_n;

/* model.c: the tree as it is before each workload; an operation on it, false: impossible. */
void ace_base(struct ace_state *s);
bool ace_apply(struct ace_state *s, const struct ace_op *op, unsigned step);
/* The operation changes the inode or the folder that path names in s. */
bool ace_touches(const struct ace_op *op, const struct ace_state *before, int path);
const char *ace_text(const struct ace_op *op, char *buf, size_t room);
char ace_byte(uint32_t off, unsigned step);

/* volume.c: the same on a volume, and what a volume shows. */
int ace_make_base(struct vol *v);
int ace_do(struct vol *v, const struct ace_op *op, unsigned step);
/* s->node[] is set by block number; -EUCLEAN: names that the model does not know. */
int ace_observe(struct vol *v, struct ace_state *s);

#endif
