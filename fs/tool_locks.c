// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * tool_locks.c: o2fuse locks: resources of the lock manager, their queues and owners.
 *
 * Pages are fetched one after another (net/net_locks.c), so that a mount with very many
 * locks goes on working meanwhile. A path stands for all resources of its inode: their
 * names have the inode number in 16 hexadecimal digits (doc/spec/fs-locking.md 1).
 */
#include <errno.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <string.h>
#include <sys/stat.h>
#include "fs/tool.h"

static void put(struct json_object *o, const char *key)
{
	struct json_object *v = tool_member(o, key);

	tool_put(stdout, v ? json_object_get_string(v) : "?");
}

static void put_list(const char *before, struct json_object *array)
{
	size_t n = tool_length(array);

	for (size_t i = 0; i < n; i++) {
		fputs(i ? "," : before, stdout);
		tool_put(stdout, json_object_get_string(json_object_array_get_idx(array, i)));
	}
}

static void put_lock(struct json_object *l)
{
	printf("  %-11s", json_object_get_string(tool_member(l, "queue")));
	fputs("node ", stdout);
	put(l, "node");
	putchar(' ');
	put(l, "mode");
	if (tool_member(l, "convert")) {
		fputs("->", stdout);
		put(l, "convert");
	}
	fputs("  ", stdout);
	put(l, "age_s");
	fputs(" s  ", stdout);
	put(l, "cookie");
	puts(json_object_get_boolean(tool_member(l, "pending")) ? "  request open" : "");
}

static void put_resource(struct json_object *r)
{
	struct json_object *locks = tool_member(r, "locks");

	put(r, "name");
	fputs("  owner ", stdout);
	if (tool_member(r, "owner"))
		put(r, "owner");
	else
		fputs("unknown", stdout);
	put_list("  refs ", tool_member(r, "refs"));
	put_list("  ", tool_member(r, "state"));
	fputs(tool_member(r, "lvb") ? "  value\n" : "\n", stdout);
	for (size_t i = 0; i < tool_length(locks); i++)
		put_lock(json_object_array_get_idx(locks, i));
}

static int show(struct tool *t, const struct net_nlc_daemon *d, struct net_nl_locks which)
{
	struct reason why = { 0 };
	bool more = true;

	while (more) {
		struct json_object *page, *list, *next;
		int status = TOOL_OK, err = net_nlc_locks(t->client, d, &which, &page, &why);

		if (err)
			return tool_fail(err, "reading the locks", &why);
		list = tool_member(page, "resources");
		for (size_t i = 0; i < tool_length(list) && !status; i++) {
			struct json_object *r = json_object_array_get_idx(list, i);

			if (t->json)
				status = tool_print_json(r);
			else
				put_resource(r);
		}
		next = tool_member(page, "next");
		more = next && (uint32_t)json_object_get_uint64(next) > which.from;
		which.from = next ? (uint32_t)json_object_get_uint64(next) : 0;
		json_object_put(page);
		if (status)
			return status;
	}
	return TOOL_OK;
}

int tool_locks(struct tool *t)
{
	struct net_nl_locks which = { .stuck_s = t->stuck };
	struct stat st;
	int status;

	if (t->n_args)
		return tool_say(TOOL_USAGE, "o2fuse locks takes no words: \"%s\"; see o2fuse --help",
				t->args[0]);
	if (t->resource && strchr(t->resource, '/')) {
		if (stat(t->resource, &st))
			return tool_say(TOOL_USAGE, "--resource: %s: %s", t->resource, strerror(errno));
		snprintf(which.name, sizeof(which.name), "%016" PRIx64, (uint64_t)st.st_ino);
	} else if (t->resource) {
		if (strlen(t->resource) > NET_NL_FILTER_MAX)
			return tool_say(TOOL_USAGE, "--resource: a name has at most %d characters",
					NET_NL_FILTER_MAX);
		snprintf(which.name, sizeof(which.name), "%s", t->resource);
	}
	status = tool_find(t, false);
	for (size_t i = 0; !status && i < t->n_daemons; i++) {
		if (!t->json && t->n_daemons > 1)
			printf("%scluster %s, node %u, pid %d\n", i ? "\n" : "", t->daemons[i].cluster,
			       t->daemons[i].self, (int)t->daemons[i].pid);
		status = show(t, &t->daemons[i], which);
	}
	return status;
}
