/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tool.h: what the commands of o2fuse(8) share.
 *
 * A command finds the processes of this network namespace over the admin channel
 * (net/netlink_client.h), asks, prints text or one JSON object a line, and returns one
 * of enum tool_exit. Errors go to standard error as "o2fuse: step: cause; next step".
 */
#ifndef O2FUSE_FS_TOOL_H
#define O2FUSE_FS_TOOL_H

#include <stdio.h>
#include "net/netlink_client.h"

/* Exit statuses; man/o2fuse.8 lists them. */
enum tool_exit {
	TOOL_OK = 0,
	TOOL_USAGE = 1,		/* bad command line */
	TOOL_SYSTEM = 2,	/* out of memory, no netlink */
	TOOL_NOBODY = 3,	/* no o2fuse runs here, or not the one that was named */
	TOOL_PERMISSION = 4,	/* only root may do this */
	TOOL_REFUSED = 5,	/* the process refused, and says why */
	TOOL_NO_ANSWER = 6,	/* it does not answer */
};

struct tool {
	bool json;
	const char *cluster;	/* --cluster, or NULL */
	unsigned pid;		/* --pid, or 0 */
	unsigned count;		/* --count, or 0 */
	unsigned stuck;		/* --stuck: seconds, or 0 */
	const char *resource;	/* --resource, or NULL */
	int n_args;		/* words that are no options */
	char **args;

	struct net_nlc *client;
	struct net_nlc_daemon *daemons;	/* those that were meant */
	size_t n_daemons;
};

/* Commands; t holds the parsed command line. */
int tool_nodes(struct tool *t);
int tool_status(struct tool *t);
int tool_monitor(struct tool *t);
int tool_locks(struct tool *t);
/* Replaces the process by mount.o2fuse; argv[0] is "mount". */
int tool_mount(int argc, char **argv);

/* Print "o2fuse: ..." and return status. */
__attribute__((format(printf, 2, 3))) int tool_say(enum tool_exit status, const char *fmt, ...);
/* Print step and reason, and the status that err stands for. */
int tool_fail(int err, const char *step, const struct reason *why);
int tool_open(struct tool *t);
/* Open and fill in t->daemons with those that --cluster and --pid mean; says what is
 * wrong. one: there must be exactly one. */
int tool_find(struct tool *t, bool one);
void tool_close(struct tool *t);

/* A string of another process, without control characters; "" for NULL. Not for JSON. */
void tool_put(FILE *to, const char *text);
struct json_object;
/* One line. */
int tool_print_json(struct json_object *o);
/* NULL: it has no such member, or is no object. */
struct json_object *tool_member(struct json_object *o, const char *key);
/* 0 for what is no array. */
size_t tool_length(struct json_object *array);

#endif
