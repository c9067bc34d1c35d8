// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * tool_status.c: o2fuse status: what a mount is doing, for people; --json has it all.
 *
 * The status is one JSON object made by the process (net/net_admin.c, fs/daemon.c). Text
 * shows the part of it that an administrator looks at first; a field that is not there
 * is left out, so that a tool and a mount of different versions still understand each
 * other.
 */
#include <json-c/json.h>
#include <string.h>
#include "fs/tool.h"

static const char *text_of(struct json_object *o, const char *key)
{
	struct json_object *v = tool_member(o, key);

	return v ? json_object_get_string(v) : NULL;
}

static int64_t number_of(struct json_object *o, const char *key)
{
	return json_object_get_int64(tool_member(o, key));
}

static bool is_true(struct json_object *o, const char *key)
{
	return json_object_get_boolean(tool_member(o, key));
}

static void label(const char *name)
{
	printf("  %-10s ", name);
}

static void put_text(const char *before, const char *text, const char *after)
{
	if (!text || !*text)
		return;
	fputs(before, stdout);
	tool_put(stdout, text);
	fputs(after, stdout);
}

static void put_numbers(struct json_object *array)
{
	for (size_t i = 0; i < tool_length(array); i++)
		printf("%s%lld", i ? " " : "",
		       (long long)json_object_get_int64(json_object_array_get_idx(array, i)));
	if (!tool_length(array))
		fputs("none", stdout);
}

static void put_volume(struct json_object *s)
{
	struct json_object *v = tool_member(s, "volume"), *locks = tool_member(v, "locks");

	if (!v)
		return;
	put_text("", text_of(v, "device"), " on ");
	put_text("", text_of(v, "mountpoint"), ": ");
	put_text("", text_of(v, "state"), "");
	if (tool_member(v, "slot"))
		printf(", slot %lld", (long long)number_of(v, "slot"));
	putchar('\n');
	put_text("  fenced     ", text_of(v, "fenced_reason"), "; see man 7 o2fuse-recovery\n");
	label("volume");
	put_text("", text_of(v, "uuid"), "");
	put_text(", label ", text_of(v, "label"), "");
	putchar('\n');
	if (locks) {
		label("locks");
		printf("%lld (%lld EX, %lld PR), %lld wanted by others, %lld waiters here\n",
		       (long long)number_of(locks, "total"), (long long)number_of(locks, "ex"),
		       (long long)number_of(locks, "pr"),
		       (long long)number_of(locks, "waited_for_by_others"),
		       (long long)number_of(locks, "local_waiters"));
	}
	if (tool_length(tool_member(v, "recovering"))) {
		label("recovering");
		put_numbers(tool_member(v, "recovering"));
		putchar('\n');
	}
}

static void put_address(struct json_object *s)
{
	struct json_object *a = tool_member(s, "address");

	if (!a)
		return;
	label("address");
	put_text("", text_of(a, "ip"), "");
	if (!is_true(a, "present"))
		puts(" is GONE from this host; configure it again (ip addr add)");
	else if (!is_true(a, "carrier"))
		put_text(" on ", text_of(a, "link"), ", which has NO CARRIER; check cable and switch\n");
	else
		put_text(" on ", text_of(a, "link"), "\n");
}

static void put_quorum(struct json_object *s)
{
	struct json_object *q = tool_member(s, "quorum");

	if (!q)
		return;
	label("quorum");
	printf("%s; heartbeating: ", is_true(q, "quorate") ? "yes" : "NO");
	put_numbers(tool_member(q, "heartbeating"));
	fputs("; connected: ", stdout);
	put_numbers(tool_member(q, "connected"));
	if (tool_length(tool_member(q, "undecided"))) {
		fputs("; undecided: ", stdout);
		put_numbers(tool_member(q, "undecided"));
	}
	putchar('\n');
}

static void put_regions(struct json_object *s)
{
	struct json_object *all = tool_member(s, "regions");

	for (size_t i = 0; i < tool_length(all); i++) {
		struct json_object *r = json_object_array_get_idx(all, i);

		label("heartbeat");
		put_text("", text_of(r, "device"), ": ");
		if (tool_member(r, "lease_left_ms"))
			printf("%.1f s of the lease left, ",
			       (double)number_of(r, "lease_left_ms") / 1000);
		printf("last took %lld ms, worst %lld ms, %lld errors\n",
		       (long long)number_of(r, "last_ms"), (long long)number_of(r, "worst_ms"),
		       (long long)(number_of(r, "read_errors") + number_of(r, "write_errors")));
	}
}

static void put_domains(struct json_object *s)
{
	struct json_object *all = tool_member(s, "domains");

	for (size_t i = 0; i < tool_length(all); i++) {
		struct json_object *d = json_object_array_get_idx(all, i);

		label("domain");
		put_text("", text_of(d, "state"), "");
		fputs("; members: ", stdout);
		put_numbers(tool_member(d, "members"));
		printf("; %lld resources, %lld locks\n", (long long)number_of(d, "resources"),
		       (long long)number_of(d, "locks"));
	}
}

static void put_nodes(struct json_object *s)
{
	struct json_object *all = tool_member(s, "nodes");

	for (size_t i = 0; i < tool_length(all); i++) {
		struct json_object *n = json_object_array_get_idx(all, i), *link = tool_member(n, "link");
		const char *error = text_of(link, "error");

		label(i ? "" : "nodes");
		printf("%3lld ", (long long)number_of(n, "number"));
		put_text("", text_of(n, "name"), "");
		put_text(" ", text_of(n, "address"), "");
		printf(":%lld ", (long long)number_of(n, "port"));
		if (is_true(n, "local"))
			fputs("this host", stdout);
		else if (!is_true(n, "alive"))
			fputs("down", stdout);
		else if (is_true(n, "connected"))
			fputs(is_true(n, "member") ? "member" : "connected", stdout);
		else
			put_text("alive, link ", text_of(link, "state"), "");
		if (!is_true(n, "connected"))
			put_text(": ", error, "");
		putchar('\n');
	}
}

static void print_text(struct json_object *s, const struct net_nlc_daemon *d)
{
	put_volume(s);
	label("cluster");
	printf("%s, node %u (%s), pid %d, o2fuse ", d->cluster, d->self, d->node_name, (int)d->pid);
	tool_put(stdout, d->version);
	putchar('\n');
	if (is_true(s, "fenced"))
		put_text("  FENCED     ", text_of(s, "fence_reason"), "\n");
	put_address(s);
	put_quorum(s);
	put_regions(s);
	put_domains(s);
	put_nodes(s);
}

int tool_status(struct tool *t)
{
	int status;

	if (t->n_args)
		return tool_say(TOOL_USAGE, "o2fuse status takes no words: \"%s\"; see o2fuse --help",
				t->args[0]);
	status = tool_find(t, false);
	for (size_t i = 0; !status && i < t->n_daemons; i++) {
		struct reason why = { 0 };
		struct json_object *s;
		int err = net_nlc_status(t->client, &t->daemons[i], &s, &why);

		if (err)
			return tool_fail(err, "reading the status", &why);
		if (t->json) {
			/* The kernel's word, not the process's own. */
			json_object_object_add(s, "pid", json_object_new_int((int)t->daemons[i].pid));
			status = tool_print_json(s);
		} else {
			if (i)
				putchar('\n');
			print_text(s, &t->daemons[i]);
		}
		json_object_put(s);
	}
	return status;
}
