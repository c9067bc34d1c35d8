/* SPDX-License-Identifier: GPL-2.0-or-later */
/* model.c: the tree in memory; see ace.h. */
#include <stdio.h>
#include <string.h>
#include "tests/crash/ace.h"

enum { P_A, P_B, P_E, P_FOO, P_BAR, P_BFOO, P_NEW, P_LNK, P_SUB, P_BSUB };

const struct ace_path ace_paths[PATHS] = {
	{ "", "A" }, { "", "B" }, { "", "E" }, { "A", "foo" }, { "A", "bar" }, { "B", "foo" },
	{ "A", "new" }, { "B", "lnk" }, { "A", "sub" }, { "B", "sub" },
};

const struct ace_op ace_ops[] = {
	{ A_CREATE, P_NEW, -1, 0, 0 }, { A_MKDIR, P_SUB, -1, 0, 0 }, { A_RMDIR, P_E, -1, 0, 0 },
	{ A_RMDIR, P_SUB, -1, 0, 0 }, { A_WRITE, P_FOO, -1, 0, 4096 },
	{ A_WRITE, P_FOO, -1, 30000, 2000 }, { A_WRITE, P_NEW, -1, 0, 100 },
	{ A_APPEND, P_FOO, -1, 0, 5000 }, { A_APPEND, P_BAR, -1, 0, 1500 },
	{ A_TRUNCATE, P_FOO, -1, 0, 1000 }, { A_TRUNCATE, P_FOO, -1, 0, 20000 },
	{ A_TRUNCATE, P_BAR, -1, 0, 0 }, { A_RENAME, P_FOO, P_BFOO, 0, 0 },
	{ A_RENAME, P_FOO, P_BAR, 0, 0 }, { A_RENAME, P_NEW, P_FOO, 0, 0 },
	{ A_RENAME, P_SUB, P_BSUB, 0, 0 }, { A_LINK, P_FOO, P_LNK, 0, 0 },
	{ A_UNLINK, P_BAR, -1, 0, 0 }, { A_UNLINK, P_FOO, -1, 0, 0 }, { A_UNLINK, P_LNK, -1, 0, 0 },
	{ A_FSYNC, P_FOO, -1, 0, 0 }, { A_FSYNC, P_BAR, -1, 0, 0 }, { A_FSYNC, P_A, -1, 0, 0 },
	{ A_FSYNC, P_NEW, -1, 0, 0 }, { A_SYNC, P_A, -1, 0, 0 },
};
const unsigned ace_ops_n = sizeof(ace_ops) / sizeof(ace_ops[0]);

char ace_byte(uint32_t off, unsigned step)
{
	return (char)(off * 2654435761u >> 13 ^ off ^ (step + 1) * 151);
}

static int parent(int path)
{
	return ace_paths[path].dir[0] == 'A' ? P_A : ace_paths[path].dir[0] == 'B' ? P_B : -1;
}

static void add(struct ace_state *s, int path, bool dir)
{
	struct ace_node *n = &s->n[s->nodes];

	memset(n, 0, sizeof(*n));
	n->dir = dir;
	n->nlink = dir ? 2 : 1;
	s->node[path] = (int)s->nodes++;
	if (dir && parent(path) >= 0)
		s->n[s->node[parent(path)]].nlink++;
}

static void fill(struct ace_node *n, uint32_t off, uint32_t len, unsigned step)
{
	for (uint32_t i = off; i < off + len; i++)
		n->data[i] = ace_byte(i, step);
	if (n->size < off + len)
		n->size = off + len;
}

void ace_base(struct ace_state *s)
{
	memset(s, 0, sizeof(*s));
	for (int i = 0; i < PATHS; i++)
		s->node[i] = -1;
	add(s, P_A, true);
	add(s, P_B, true);
	add(s, P_E, true);
	add(s, P_FOO, false);
	fill(&s->n[s->node[P_FOO]], 0, 8192, 0);
	add(s, P_BAR, false);
	fill(&s->n[s->node[P_BAR]], 0, 3000, 0);
}

static void drop(struct ace_state *s, int path)
{
	struct ace_node *n = &s->n[s->node[path]];

	s->node[path] = -1;
	if (n->dir && parent(path) >= 0)
		s->n[s->node[parent(path)]].nlink--;
	n->nlink = n->dir ? 0 : n->nlink - 1;
}

static bool move(struct ace_state *s, int from, int to)
{
	int node = s->node[from];

	if (s->node[to] == node)
		return false; /* two names of one: nothing happens */
	if (s->node[to] >= 0 && (s->n[node].dir || s->n[s->node[to]].dir))
		return false;
	if (s->node[to] >= 0)
		drop(s, to);
	s->node[from] = -1;
	s->node[to] = node;
	if (s->n[node].dir && parent(from) != parent(to)) {
		s->n[s->node[parent(from)]].nlink--;
		s->n[s->node[parent(to)]].nlink++;
	}
	return true;
}

bool ace_apply(struct ace_state *s, const struct ace_op *op, unsigned step)
{
	int at = s->node[op->path];
	struct ace_node *n = at >= 0 ? &s->n[at] : NULL;

	if (op->kind == A_SYNC)
		return true;
	if (op->kind == A_CREATE || op->kind == A_MKDIR) {
		if (n || s->nodes == NODES_MAX)
			return false;
		add(s, op->path, op->kind == A_MKDIR);
		return true;
	}
	if (!n)
		return false;
	switch (op->kind) {
	case A_RMDIR:
		drop(s, op->path);
		return true;
	case A_WRITE:
		fill(n, op->off, op->len, step);
		return true;
	case A_APPEND:
		if (n->size + op->len > DATA_MAX)
			return false;
		fill(n, n->size, op->len, step);
		return true;
	case A_TRUNCATE:
		if (op->len < n->size)
			memset(n->data + op->len, 0, n->size - op->len);
		n->size = op->len;
		return true;
	case A_RENAME:
		return move(s, op->path, op->other);
	case A_LINK:
		if (s->node[op->other] >= 0)
			return false;
		s->node[op->other] = at;
		n->nlink++;
		return true;
	case A_UNLINK:
		drop(s, op->path);
		return true;
	default:
		return true;
	}
}

bool ace_touches(const struct ace_op *op, const struct ace_state *before, int path)
{
	int node = before->node[path];

	if (op->kind == A_FSYNC || op->kind == A_SYNC)
		return false;
	if (op->path == path || op->other == path || parent(op->path) == path ||
	    (op->other >= 0 && parent(op->other) == path))
		return true;
	return node >= 0 && before->node[op->path] == node;
}

const char *ace_text(const struct ace_op *op, char *buf, size_t room)
{
	static const char *const names[] = { "create", "mkdir", "rmdir", "write", "append", "truncate",
					     "rename", "link", "unlink", "fsync", "sync" };
	const struct ace_path *p = &ace_paths[op->path];
	int n = snprintf(buf, room, "%s", names[op->kind]);

	if (op->kind != A_SYNC)
		n += snprintf(buf + n, room - (size_t)n, " %s/%s", p->dir, p->name);
	if (op->other >= 0)
		n += snprintf(buf + n, room - (size_t)n, " %s/%s", ace_paths[op->other].dir,
			      ace_paths[op->other].name);
	if (op->len || op->kind == A_TRUNCATE)
		snprintf(buf + n, room - (size_t)n, " %u+%u", op->off, op->len);
	return buf;
}
