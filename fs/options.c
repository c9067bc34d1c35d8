/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * options.c: the table of mount options and its parser.
 *
 * Every option is one row; flags come as name and "noname" where that makes sense.
 * What mount(8) and fstab add for their own use is taken and ignored by name, any
 * other word is refused by name: a misspelt option that is silently ignored would be
 * found out when it is too late.
 */
#include "fs/options.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum opt_type {
	OPT_STRING,
	OPT_INT,	/* min..max */
	OPT_ENUM,	/* words, separated by '|', value = index */
	OPT_SET,	/* flag without value: stores min into an int */
	OPT_ON,		/* flag without value: stores min into a bool */
	OPT_IGNORED,
};

struct opt {
	const char *name;
	enum opt_type type;
	size_t at;		/* offset in struct mount_options */
	long min, max;
	const char *words, *dflt, *help;
};

#define AT(field) offsetof(struct mount_options, field)
#define ON(opt_name, field, value, text) \
	{ opt_name, OPT_ON, AT(field), value, 0, NULL, NULL, text }

static const struct opt table[] = {
	{ "conf", OPT_STRING, AT(conf), 0, 0, NULL, "/etc/ocfs2/cluster.conf",
	  "node table to start from" },
	{ "cluster", OPT_STRING, AT(cluster), 0, 0, NULL, "the volume's",
	  "which cluster of the file" },
	{ "node", OPT_STRING, AT(node), 0, 0, NULL, "by host name", "this node, by name or number" },
	{ "ip", OPT_STRING, AT(ip), 0, 0, NULL, "from the table", "address of this node (IPv4)" },
	{ "port", OPT_INT, AT(port), 1, 65534, NULL, "from the table", "TCP port of this node" },
	{ "hb_threshold", OPT_INT, AT(hb_threshold), 3, 1000, NULL, "31",
	  "missed 2 s heartbeats until a node is dead; equal on all nodes" },
	{ "idle_ms", OPT_INT, AT(idle_ms), 1000, 600000, NULL, "30000",
	  "silence until a link counts as lost; equal on all nodes" },
	{ "keepalive_ms", OPT_INT, AT(keepalive_ms), 100, 60000, NULL, "2000",
	  "silence until a keepalive is sent; equal on all nodes" },
	{ "reconnect_ms", OPT_INT, AT(reconnect_ms), 100, 60000, NULL, "2000",
	  "time between two connection attempts" },
	{ "errors", OPT_ENUM, AT(errors), 0, 0, "remount-ro|continue|panic", "remount-ro",
	  "what damage does; panic leaves the cluster" },
	{ "data", OPT_ENUM, AT(data), 0, 0, "ordered|writeback", "ordered",
	  "data before the metadata that refers to it (writeback is taken, and is as strict)" },
	{ "commit", OPT_INT, AT(commit_s), 0, 300, NULL, "5", "seconds between commits; 0 = default" },
	{ "preferred_slot", OPT_INT, AT(preferred_slot), 0, 254, NULL, "none",
	  "slot to take if it is free" },
	{ "localalloc", OPT_INT, AT(localalloc_mb), 0, 256, NULL, "computed",
	  "MiB of the local allocation window; 0 = none" },
	ON("localflocks", localflocks, 1, "flock is local to this node"),
	ON("acl", acl, 1, "POSIX access control lists (default)"),
	ON("noacl", acl, 0, "none"),
	ON("user_xattr", user_xattr, 1, "extended attributes named user.* (default)"),
	ON("nouser_xattr", user_xattr, 0, "none of these"),
	ON("inode64", inode64, 1, "inode numbers above 2^32"),
	{ "fence_exec", OPT_STRING, AT(fence_exec), 0, 0, NULL, "none",
	  "program that fences a dead node before its journal is replayed" },
	{ "log", OPT_STRING, AT(log), 0, 0, NULL, "syslog", "file for log lines" },
	ON("verbose", verbose, 1, "debug lines too"),
	ON("ro", ro, 1, "read-only for this mount; still a full member of the cluster"),
	ON("rw", ro, 0, "read-write"),
	ON("remount", remount, 1, "change ro/rw and the flags below of a mount"),
	ON("allow_other", allow_other, 1, "everybody may use the mount (default)"),
	ON("noallow_other", allow_other, 0, "only root may"),
	ON("default_permissions", default_permissions, 1, "the kernel checks modes (default)"),
	ON("nodefault_permissions", default_permissions, 0, "nobody does"),
	ON("dev", dev, 1, "device nodes work (default)"),
	ON("nodev", dev, 0, "device nodes do not work"),
	ON("suid", suid, 1, "set-id bits work (default)"),
	ON("nosuid", suid, 0, "set-id bits do not work"),
	ON("exec", exec, 1, "programs can be run (default)"),
	ON("noexec", exec, 0, "programs cannot be run"),
	ON("sync", sync, 1, "writes are synchronous"),
	ON("async", sync, 0, "writes are not synchronous (default)"),
	ON("dirsync", dirsync, 1, "changes of directories are synchronous"),
	{ "relatime", OPT_SET, AT(atime), OPT_RELATIME, 0, NULL, NULL, "atime as relatime (default)" },
	{ "norelatime", OPT_SET, AT(atime), OPT_STRICTATIME, 0, NULL, NULL, "as strictatime" },
	{ "atime", OPT_SET, AT(atime), OPT_RELATIME, 0, NULL, NULL, "as relatime" },
	{ "noatime", OPT_SET, AT(atime), OPT_NOATIME, 0, NULL, NULL, "atime is not written" },
	{ "strictatime", OPT_SET, AT(atime), OPT_STRICTATIME, 0, NULL, NULL,
	  "atime at each read, see atime_quantum" },
	{ "atime_quantum", OPT_INT, AT(atime_quantum), 0, 86400, NULL, "60",
	  "with strictatime: seconds that pass before it is written again" },
	ON("nodiratime", nodiratime, 1, "no atime of directories"),
	ON("diratime", nodiratime, 0, "atime of directories (default)"),
	/* of the kernel's ocfs2: what they ask for is always so, or a hint */
	{ "coherency", OPT_IGNORED, 0, 0, 0, NULL, NULL, NULL },
	{ "barrier", OPT_IGNORED, 0, 0, 0, NULL, NULL, NULL },
	{ "intr", OPT_IGNORED, 0, 0, 0, NULL, NULL, NULL },
	{ "nointr", OPT_IGNORED, 0, 0, 0, NULL, NULL, NULL },
	{ "resv_level", OPT_IGNORED, 0, 0, 0, NULL, NULL, NULL },
	{ "dir_resv_level", OPT_IGNORED, 0, 0, 0, NULL, NULL, NULL },
	/* for mount(8), fstab and systemd */
	{ "defaults", OPT_IGNORED, 0, 0, 0, NULL, NULL, NULL },
	{ "auto", OPT_IGNORED, 0, 0, 0, NULL, NULL, NULL },
	{ "noauto", OPT_IGNORED, 0, 0, 0, NULL, NULL, NULL },
	{ "nofail", OPT_IGNORED, 0, 0, 0, NULL, NULL, NULL },
	{ "user", OPT_IGNORED, 0, 0, 0, NULL, NULL, NULL },
	{ "nouser", OPT_IGNORED, 0, 0, 0, NULL, NULL, NULL },
	{ "users", OPT_IGNORED, 0, 0, 0, NULL, NULL, NULL },
	{ "owner", OPT_IGNORED, 0, 0, 0, NULL, NULL, NULL },
	{ "group", OPT_IGNORED, 0, 0, 0, NULL, NULL, NULL },
	{ "silent", OPT_IGNORED, 0, 0, 0, NULL, NULL, NULL },
	{ "loud", OPT_IGNORED, 0, 0, 0, NULL, NULL, NULL },
	{ "_netdev", OPT_IGNORED, 0, 0, 0, NULL, NULL, NULL },
	{ "heartbeat", OPT_IGNORED, 0, 0, 0, NULL, NULL, NULL },
	{ "cluster_stack", OPT_IGNORED, 0, 0, 0, NULL, NULL, NULL },
};

enum { TABLE_LEN = sizeof(table) / sizeof(table[0]) };

void options_default(struct mount_options *o)
{
	*o = (struct mount_options){
		.preferred_slot = -1,
		.localalloc_mb = -1,
		.allow_other = true,
		.default_permissions = true,
		.atime_quantum = 60,
		.acl = true,
		.user_xattr = true,
		.dev = true,
		.suid = true,
		.exec = true,
	};
}

void options_free(struct mount_options *o)
{
	free(o->conf);
	free(o->cluster);
	free(o->node);
	free(o->ip);
	free(o->log);
	free(o->fence_exec);
	o->conf = o->cluster = o->node = o->ip = o->log = o->fence_exec = NULL;
}

static const struct opt *find(const char *name, size_t len)
{
	for (int i = 0; i < TABLE_LEN; i++)
		if (strlen(table[i].name) == len && !memcmp(table[i].name, name, len))
			return &table[i];
	return NULL;
}

static int set_int(const struct opt *t, int *to, const char *value, struct reason *why)
{
	char *end;
	long v;

	errno = 0;
	v = strtol(value, &end, 10);
	if (errno || end == value || *end || v < t->min || v > t->max)
		return reason_set(why, EXIT_USAGE, -EINVAL,
				  "option %s: \"%s\" is not a number from %ld to %ld", t->name, value,
				  t->min, t->max);
	*to = (int)v;
	return 0;
}

static int set_enum(const struct opt *t, int *to, const char *value, struct reason *why)
{
	const char *p = t->words;
	size_t len = strlen(value);

	for (int i = 0; p; i++) {
		const char *bar = strchr(p, '|');
		size_t n = bar ? (size_t)(bar - p) : strlen(p);

		if (n == len && !memcmp(p, value, n)) {
			*to = i;
			return 0;
		}
		p = bar ? bar + 1 : NULL;
	}
	return reason_set(why, EXIT_USAGE, -EINVAL, "option %s: \"%s\" is not one of %s", t->name,
			  value, t->words);
}

static int set_string(char **to, const char *value, struct reason *why)
{
	char *copy = strdup(value);

	if (!copy)
		return reason_set(why, EXIT_SYSTEM, -ENOMEM, "out of memory");
	free(*to);
	*to = copy;
	return 0;
}

static int apply(struct mount_options *o, const struct opt *t, const char *value, struct reason *why)
{
	void *at = (char *)o + t->at;
	bool wants = t->type == OPT_STRING || t->type == OPT_INT || t->type == OPT_ENUM;

	if (wants && (!value || !*value))
		return reason_set(why, EXIT_USAGE, -EINVAL, "option %s needs a value: %s=%s", t->name,
				  t->name, t->words ? t->words : t->type == OPT_INT ? "N" : "TEXT");
	if (!wants && value && t->type != OPT_IGNORED)
		return reason_set(why, EXIT_USAGE, -EINVAL, "option %s takes no value (\"=%s\")",
				  t->name, value);
	switch (t->type) {
	case OPT_STRING:
		return set_string(at, value, why);
	case OPT_INT:
		return set_int(t, at, value, why);
	case OPT_ENUM:
		return set_enum(t, at, value, why);
	case OPT_SET:
		*(int *)at = (int)t->min;
		return 0;
	case OPT_ON:
		*(bool *)at = t->min != 0;
		return 0;
	case OPT_IGNORED:
		return 0;
	}
	return 0;
}

int options_parse(struct mount_options *o, const char *list, struct reason *why)
{
	AUTO_FREE char *copy = strdup(list);
	char *rest = copy, *word;

	if (!copy)
		return reason_set(why, EXIT_SYSTEM, -ENOMEM, "out of memory");
	while ((word = strsep(&rest, ","))) {
		char *value = strchr(word, '=');
		const struct opt *t;
		int err;

		if (!*word)
			continue;
		if (value)
			*value++ = 0;
		if (!strncmp(word, "x-", 2) || !strncmp(word, "X-", 2) || !strncmp(word, "comment", 7))
			continue;
		t = find(word, strlen(word));
		if (!t)
			return reason_set(why, EXIT_USAGE, -EINVAL,
					  "unknown option \"%s\"; mount.o2fuse --help lists what there is",
					  word);
		err = apply(o, t, value, why);
		if (err)
			return err;
	}
	return 0;
}

void options_help(FILE *to)
{
	for (int i = 0; i < TABLE_LEN; i++) {
		const struct opt *t = &table[i];
		char left[64];

		if (t->type == OPT_IGNORED)
			continue;
		if (t->type == OPT_INT)
			snprintf(left, sizeof(left), "%s=%ld..%ld", t->name, t->min, t->max);
		else if (t->type == OPT_ENUM)
			snprintf(left, sizeof(left), "%s=%s", t->name, t->words);
		else
			snprintf(left, sizeof(left), "%s%s", t->name,
				 t->type == OPT_STRING ? "=TEXT" : "");
		fprintf(to, "  %-34s %s", left, t->help);
		if (t->dflt)
			fprintf(to, " [%s]", t->dflt);
		fputc('\n', to);
	}
}
