// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * tool.c: o2fuse, the administrator's command: command line, finding the process.
 *
 * It knows nothing of the cluster itself: all it shows comes from running processes, all
 * it changes is asked of them. So it runs beside any number of mounts, as any user (only
 * changes and events need root), and can do no harm to one.
 */
#include <errno.h>
#include <getopt.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>
#include "config.h"
#include "fs/tool.h"

enum { WAIT_MS = 5000, STUCK_S = 5 };

static const char usage_text[] =
	"usage: o2fuse nodes [list]                     nodes of the cluster, and what they are doing\n"
	"       o2fuse nodes add NUMBER NAME ADDRESS[:PORT]\n"
	"       o2fuse nodes remove NUMBER|NAME\n"
	"       o2fuse status                           volumes, links, quorum, locks\n"
	"       o2fuse locks [--stuck[=S]] [--resource NAME|PATH]\n"
	"                                               resources and locks of the lock manager\n"
	"       o2fuse monitor [--count N]              events, as they happen\n"
	"       o2fuse mount DEVICE DIR [-o OPTION,...]\n"
	"options:\n"
	"  --json           one JSON object a line\n"
	"  --cluster NAME   only the process of this cluster\n"
	"  --pid PID        only this process\n"
	"  --help, --version\n"
	"See o2fuse(8).\n";

int tool_say(enum tool_exit status, const char *fmt, ...)
{
	va_list ap;

	fputs("o2fuse: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	return (int)status;
}

int tool_fail(int err, const char *step, const struct reason *why)
{
	enum tool_exit status = TOOL_REFUSED;

	switch (err) {
	case -ESRCH:
		status = TOOL_NOBODY;
		break;
	case -EPERM:
		status = TOOL_PERMISSION;
		break;
	case -ETIMEDOUT:
		status = TOOL_NO_ANSWER;
		break;
	case -ENOMEM:
	case -EIO:
		status = TOOL_SYSTEM;
		break;
	}
	fprintf(stderr, "o2fuse: %s: ", step);
	tool_put(stderr, why->text[0] ? why->text : strerror(-err));
	fputc('\n', stderr);
	return (int)status;
}

void tool_put(FILE *to, const char *text)
{
	for (const unsigned char *p = (const void *)(text ? text : ""); *p; p++)
		fputc(*p < ' ' || *p == 0x7f ? '?' : *p, to);
}

int tool_print_json(struct json_object *o)
{
	const char *text = json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN |
								     JSON_C_TO_STRING_NOSLASHESCAPE);

	if (!text)
		return tool_say(TOOL_SYSTEM, "printing: out of memory; free some and retry");
	puts(text);
	fflush(stdout);
	return TOOL_OK;
}

struct json_object *tool_member(struct json_object *o, const char *key)
{
	struct json_object *v = NULL;

	return json_object_is_type(o, json_type_object) &&
	       json_object_object_get_ex(o, key, &v) ? v : NULL;
}

size_t tool_length(struct json_object *array)
{
	return json_object_is_type(array, json_type_array) ? json_object_array_length(array) : 0;
}

/* ---- finding the process ---------------------------------------------------------------- */

int tool_open(struct tool *t)
{
	struct reason why = { 0 };
	int err = net_nlc_open(WAIT_MS, &t->client, &why);

	return err ? tool_fail(err, "opening the admin channel", &why) : TOOL_OK;
}

void tool_close(struct tool *t)
{
	free(t->daemons);
	net_nlc_close(t->client);
}

static bool meant(const struct tool *t, const struct net_nlc_daemon *d)
{
	return (!t->cluster || !strcmp(t->cluster, d->cluster)) &&
	       (!t->pid || (unsigned)d->pid == t->pid);
}

static void list_daemons(const struct net_nlc_daemon *d, size_t n)
{
	for (size_t i = 0; i < n; i++)
		fprintf(stderr, "  cluster %s, node %u (%s), pid %d\n", d[i].cluster, d[i].self,
			d[i].node_name, (int)d[i].pid);
}

int tool_find(struct tool *t, bool one)
{
	struct reason why = { 0 };
	size_t n, kept = 0, silent;
	int err = tool_open(t);

	if (err)
		return err;
	err = net_nlc_find(t->client, &t->daemons, &n, &silent, &why);
	if (err)
		return tool_fail(err, "looking for mounts", &why);
	if (silent)
		tool_say(TOOL_OK, "%zu process%s of this network namespace did not answer in %d s; "
			 "stopped, or hung? See their logs", silent, silent > 1 ? "es" : "",
			 WAIT_MS / 1000);
	if (!n)
		return TOOL_NO_ANSWER;
	for (size_t i = 0; i < n; i++)
		if (meant(t, &t->daemons[i])) {
			struct net_nlc_daemon d = t->daemons[kept];

			t->daemons[kept++] = t->daemons[i];
			t->daemons[i] = d;
		}
	if (!kept) {
		tool_say(TOOL_NOBODY, "no running o2fuse is what --cluster and --pid say; there %s:",
			 n > 1 ? "are" : "is");
		list_daemons(t->daemons, n);
		return TOOL_NOBODY;
	}
	if (one && kept > 1) {
		tool_say(TOOL_USAGE, "several run here; choose one with --cluster or --pid:");
		list_daemons(t->daemons, kept);
		return TOOL_USAGE;
	}
	t->n_daemons = kept;
	return TOOL_OK;
}

/* ---- command line ------------------------------------------------------------------------- */

static int take_number(const char *option, const char *text, unsigned *out)
{
	if (net_number_parse(text, 1, 1u << 30, out))
		return tool_say(TOOL_USAGE, "%s: \"%s\" is no number above 0", option, text);
	return TOOL_OK;
}

static int parse(struct tool *t, int argc, char **argv)
{
	static const struct option longs[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "cluster", required_argument, NULL, 'c' },
		{ "pid", required_argument, NULL, 'p' },
		{ "count", required_argument, NULL, 'n' },
		{ "stuck", optional_argument, NULL, 's' },
		{ "resource", required_argument, NULL, 'r' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	int ch, err = TOOL_OK;

	opterr = 0;
	while (!err && (ch = getopt_long(argc, argv, ":h", longs, NULL)) != -1) {
		switch (ch) {
		case 'j':
			t->json = true;
			break;
		case 'c':
			t->cluster = optarg;
			break;
		case 'p':
			err = take_number("--pid", optarg, &t->pid);
			break;
		case 'n':
			err = take_number("--count", optarg, &t->count);
			break;
		case 's':
			t->stuck = STUCK_S;
			if (optarg)
				err = take_number("--stuck", optarg, &t->stuck);
			break;
		case 'r':
			t->resource = optarg;
			break;
		case 'h':
			fputs(usage_text, stdout);
			exit(TOOL_OK);
		case ':':
			err = tool_say(TOOL_USAGE, "%s needs a value; see o2fuse --help",
				       argv[optind - 1]);
			break;
		default:
			err = tool_say(TOOL_USAGE, "unknown option %s; see o2fuse --help",
				       argv[optind - 1]);
		}
	}
	t->n_args = argc - optind;
	t->args = argv + optind;
	return err;
}

static const struct {
	const char *name;
	int (*run)(struct tool *t);
	bool counts, filters;
} commands[] = {
	{ "nodes", tool_nodes, false, false },
	{ "status", tool_status, false, false },
	{ "locks", tool_locks, false, true },
	{ "monitor", tool_monitor, true, false },
};

static int run(const char *name, int argc, char **argv)
{
	struct tool t = { 0 };
	size_t i, n = sizeof(commands) / sizeof(commands[0]);
	int err;

	for (i = 0; i < n && strcmp(commands[i].name, name); i++)
		;
	if (i == n)
		return tool_say(TOOL_USAGE, "unknown command \"%s\"; there are nodes, status, locks, "
				"monitor and mount, see o2fuse --help", name);
	err = parse(&t, argc, argv);
	if (!err && t.count && !commands[i].counts)
		err = tool_say(TOOL_USAGE, "--count is for o2fuse monitor");
	if (!err && (t.stuck || t.resource) && !commands[i].filters)
		err = tool_say(TOOL_USAGE, "--stuck and --resource are for o2fuse locks");
	if (!err)
		err = commands[i].run(&t);
	tool_close(&t);
	if (!err && fflush(stdout) == EOF)
		err = tool_say(TOOL_SYSTEM, "writing the output: %s; is the disk full?",
			       strerror(errno));
	return err;
}

int main(int argc, char **argv)
{
	if (argc < 2) {
		fputs(usage_text, stderr);
		return TOOL_USAGE;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")) {
		fputs(usage_text, stdout);
		return TOOL_OK;
	}
	if (!strcmp(argv[1], "--version") || !strcmp(argv[1], "-V")) {
		puts("o2fuse " PACKAGE_VERSION);
		return TOOL_OK;
	}
	if (!strcmp(argv[1], "mount"))
		return tool_mount(argc - 1, argv + 1);
	return run(argv[1], argc - 1, argv + 1);
}
