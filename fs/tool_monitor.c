// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * tool_monitor.c: o2fuse monitor: events, as they happen, without polling.
 *
 * Events come by multicast from every o2fuse of this network namespace; a process that
 * starts later is heard as well. They are numbered, so a loss (this program was too slow)
 * is shown and not passed over.
 */
#include <errno.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "fs/tool.h"

/* Local time with ms and zone: 2026-01-31T12:00:00.000+01:00. */
static void time_text(uint64_t ns, char buf[static 40])
{
	time_t s = (time_t)(ns / 1000000000u);
	struct tm tm;
	char zone[8] = "";
	size_t n;

	if (!localtime_r(&s, &tm)) {
		strcpy(buf, "?");
		return;
	}
	n = strftime(buf, 24, "%Y-%m-%dT%H:%M:%S", &tm);
	strftime(zone, sizeof(zone), "%z", &tm);
	snprintf(buf + n, 40 - n, ".%03u%.3s:%s", (unsigned)(ns / 1000000u % 1000u), zone,
		 zone[0] ? zone + 3 : "");
}

/* Cut the next key=value or key="value" off *rest. */
static bool next_word(char **rest, char **key, char **value)
{
	char *p = *rest + strspn(*rest, " "), *end;

	*key = p;
	p = strpbrk(p, "= ");
	if (!p || *p != '=')
		return false;
	*p++ = '\0';
	*value = p;
	if (*p == '"') {
		*value = ++p;
		end = strchr(p, '"');
	} else {
		end = strchr(p, ' ');
	}
	if (end)
		*end = '\0';
	*rest = end ? end + 1 : p + strlen(p);
	return true;
}

static int print_json(struct net_nlc_event *ev)
{
	struct json_object *o = json_object_new_object(), *more = json_object_new_object();
	char when[40], *rest = ev->words, *key, *value;
	int status;

	time_text(ev->time_ns, when);
	json_object_object_add(o, "time", json_object_new_string(when));
	json_object_object_add(o, "cluster", json_object_new_string(ev->cluster));
	json_object_object_add(o, "pid", json_object_new_int((int)ev->pid));
	json_object_object_add(o, "event", json_object_new_string(ev->name));
	if (ev->node != NODE_NONE)
		json_object_object_add(o, "node", json_object_new_int(ev->node));
	if (ev->node_name[0])
		json_object_object_add(o, "name", json_object_new_string(ev->node_name));
	if (ev->lost)
		json_object_object_add(o, "lost_before", json_object_new_uint64(ev->lost));
	while (next_word(&rest, &key, &value))
		json_object_object_add(more, key, json_object_new_string(value));
	json_object_object_add(o, "details", more);
	status = tool_print_json(o);
	json_object_put(o);
	return status;
}

static void print_text(const struct net_nlc_event *ev)
{
	char when[40];

	time_text(ev->time_ns, when);
	if (ev->lost)
		printf("%s %s[%d] %" PRIu64 " events are missing here\n", when, ev->cluster,
		       (int)ev->pid, ev->lost);
	printf("%s %s[%d] ", when, ev->cluster, (int)ev->pid);
	tool_put(stdout, ev->name);
	if (ev->node != NODE_NONE)
		printf(" node=%u", ev->node);
	if (ev->node_name[0]) {
		fputs(" node_name=", stdout);
		tool_put(stdout, ev->node_name);
	}
	if (ev->words[0]) {
		putchar(' ');
		tool_put(stdout, ev->words);
	}
	putchar('\n');
	fflush(stdout);
}

int tool_monitor(struct tool *t)
{
	struct reason why = { 0 };
	struct net_nlc_event ev;
	int status, err;

	if (t->n_args)
		return tool_say(TOOL_USAGE, "o2fuse monitor takes no words: \"%s\"; see o2fuse --help",
				t->args[0]);
	status = tool_open(t);
	if (status)
		return status;
	err = net_nlc_listen(t->client, &why);
	if (err)
		return tool_fail(err, "listening", &why);
	for (unsigned seen = 0; !status && (!t->count || seen < t->count);) {
		err = net_nlc_event_next(t->client, -1, &ev, &why);
		if (err == -EINTR)
			continue;
		if (err)
			return tool_fail(err, "listening", &why);
		if ((t->cluster && strcmp(t->cluster, ev.cluster)) ||
		    (t->pid && t->pid != (unsigned)ev.pid))
			continue;
		if (t->json)
			status = print_json(&ev);
		else
			print_text(&ev);
		seen++;
		if (ferror(stdout))
			return tool_say(TOOL_SYSTEM, "writing the output: %s; is the disk full?",
					strerror(errno));
	}
	return status;
}
