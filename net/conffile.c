// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * conffile.c: cluster.conf (doc/spec/cluster.md 1.2).
 *
 * Two passes. The first cuts the text into stanzas with their attributes and knows
 * nothing of clusters; the second turns stanzas into clusters, then nodes and regions,
 * as a node may precede its cluster in the file. All that is refused here is refused
 * with file, line and what to write instead, as a wrong table on one host keeps that
 * host out of the cluster for reasons that no other message would explain (trap 19).
 *
 * Where the reference tools are stricter or laxer: trailing blanks (and the CR of a
 * CRLF file) are dropped, not kept; lower-case region names are refused, as they would
 * make another heartbeat key (trap 17); so are duplicate numbers, names, addresses.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include "net/conffile.h"

struct attr {
	unsigned line;
	char *name, *value;	/* into the text */
};

struct stanza {
	unsigned line;
	const char *type;
	size_t n_attrs;
	struct attr *attrs;
};

struct parser {
	const char *path;
	struct logger *log;
	struct reason *why;
	char *text;		/* our copy, cut into strings */
	size_t n_stanzas;
	struct stanza *stanzas;
};

#define STEP "reading the node table"

/* Refuse at a line; col 0: the line as a whole. */
__attribute__((format(printf, 4, 5))) static int refuse(const struct parser *p, unsigned line,
							unsigned col, const char *fmt, ...)
{
	char text[300];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (col)
		return reason_set(p->why, EXIT_CONF, -EINVAL, STEP ": %s:%u:%u: %s", p->path, line,
				  col, text);
	return reason_set(p->why, EXIT_CONF, -EINVAL, STEP ": %s:%u: %s", p->path, line, text);
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

static char *skip_blanks(char *s)
{
	while (is_blank(*s))
		s++;
	return s;
}

static void trim_end(char *s)
{
	size_t len = strlen(s);

	while (len > 0 && is_blank(s[len - 1]))
		s[--len] = '\0';
}

/* What the administrator wrote, short and printable, for a message. */
static const char *shown(const char *s, char buf[static 40])
{
	size_t i;

	for (i = 0; i < 36 && s[i]; i++)
		buf[i] = s[i] >= ' ' && s[i] <= '~' ? s[i] : '?';
	buf[i] = '\0';
	if (s[i])
		strcpy(buf + i, "...");
	return buf;
}

/* ---- first pass: stanzas -------------------------------------------------------- */

static int stanza_open(struct parser *p, char *s, unsigned line, struct stanza **open)
{
	char buf[40], *end = s;
	struct stanza *all;

	while (isalnum((unsigned char)*end) || *end == '_')
		end++;
	if (end == s || *end != ':')
		return refuse(p, line, (unsigned)(end - s) + 1,
			      "\"%s\" is neither a stanza nor an attribute; a stanza starts as "
			      "\"node:\", its attributes start with a tab", shown(s, buf));
	if (*skip_blanks(end + 1))
		return refuse(p, line, (unsigned)(skip_blanks(end + 1) - s) + 1,
			      "text after \"%.*s:\"; attributes go to lines of their own",
			      (int)(end - s), s);
	*end = '\0';
	all = reallocarray(p->stanzas, p->n_stanzas + 1, sizeof(*all));
	if (!all)
		return -ENOMEM;
	p->stanzas = all;
	*open = &all[p->n_stanzas++];
	**open = (struct stanza){ .line = line, .type = s };
	return 0;
}

static int attr_add(struct parser *p, char *s, unsigned line, struct stanza *open)
{
	char buf[40], *name = skip_blanks(s), *eq = strchr(name, '='), *value;
	struct attr *attrs;

	if (!open)
		return refuse(p, line, (unsigned)(name - s) + 1,
			      "attribute \"%s\" belongs to no stanza; put it below a line such as "
			      "\"node:\", without an empty line between", shown(name, buf));
	if (!eq || eq == name)
		return refuse(p, line, (unsigned)(name - s) + 1,
			      "\"%s\" is not an attribute; write \"name = value\"",
			      shown(name, buf));
	value = skip_blanks(eq + 1);
	*eq = '\0';
	trim_end(name);
	for (char *c = name; *c; c++)
		if (is_blank(*c))
			return refuse(p, line, (unsigned)(c - s) + 1,
				      "blank in the attribute name \"%s\"; write \"name = value\"",
				      shown(name, buf));
	attrs = reallocarray(open->attrs, open->n_attrs + 1, sizeof(*attrs));
	if (!attrs)
		return -ENOMEM;
	open->attrs = attrs;
	attrs[open->n_attrs++] = (struct attr){ .line = line, .name = name, .value = value };
	return 0;
}

/*
 * Cut the next line off *rest, in place, joining lines that end in a backslash (not
 * comments). *lines: how many lines of the file it took. NULL at the end of the text.
 */
static char *line_cut(char **rest, unsigned *lines, bool *dangling)
{
	char *start = *rest, *from = start, *to = start;

	*lines = 1;
	*dangling = false;
	if (!*start)
		return NULL;
	for (; *from && *from != '\n'; from++) {
		if (*from == '\\' && from[1] == '\n' && *start != '#') {
			from++;
			++*lines;
			*dangling = !from[1];
			continue;
		}
		*to++ = *from;
	}
	*rest = *from ? from + 1 : from;
	*to = '\0';
	return start;
}

static int cut(struct parser *p)
{
	struct stanza *open = NULL;
	char *rest = p->text, *s;
	unsigned line = 1, lines;
	bool dangling;
	int err;

	for (; (s = line_cut(&rest, &lines, &dangling)); line += lines) {
		if (dangling)
			return refuse(p, line, 0, "the file ends in a continued line; remove the "
						  "backslash at its end");
		if (*s == '#')
			continue;
		trim_end(s);
		if (!*skip_blanks(s)) {
			open = NULL;
			continue;
		}
		err = is_blank(*s) ? attr_add(p, s, line, open) : stanza_open(p, s, line, &open);
		if (err)
			return err;
	}
	return 0;
}

/* ---- second pass: clusters, nodes, regions ---------------------------------------- */

/* The last one wins. */
static const struct attr *attr_find(const struct stanza *st, const char *name)
{
	for (size_t i = st->n_attrs; i > 0; i--)
		if (!strcmp(st->attrs[i - 1].name, name))
			return &st->attrs[i - 1];
	return NULL;
}

static int attr_need(const struct parser *p, const struct stanza *st, const char *name,
		     const struct attr **out)
{
	*out = attr_find(st, name);
	if (!*out)
		return refuse(p, st->line, 0, "this %s has no \"%s\"; add a line \"\t%s = ...\"",
			      st->type, name, name);
	return 0;
}

static int attr_number(const struct parser *p, const struct stanza *st, const char *name,
		       unsigned min, unsigned max, unsigned *out)
{
	const struct attr *a;
	char buf[40];
	int err = attr_need(p, st, name, &a);

	if (err)
		return err;
	if (net_number_parse(a->value, min, max, out))
		return refuse(p, a->line, 0, "%s = \"%s\" is out of range; give a decimal number "
					     "%u..%u", name, shown(a->value, buf), min, max);
	return 0;
}

static struct net_conf_cluster *cluster_find(const struct net_conf *conf, const char *name)
{
	for (size_t i = 0; i < conf->n_clusters; i++)
		if (!strcmp(conf->clusters[i].name, name))
			return &conf->clusters[i];
	return NULL;
}

static bool cluster_name_ok(const char *name)
{
	size_t len = strlen(name);

	for (size_t i = 0; i < len; i++)
		if (!isalnum((unsigned char)name[i]))
			return false;
	return len >= 1 && len <= NET_CLUSTER_NAME_MAX;
}

static int cluster_add(const struct parser *p, const struct stanza *st, struct net_conf *conf)
{
	struct net_conf_cluster *all, *c;
	const struct attr *name, *mode = attr_find(st, "heartbeat_mode");
	unsigned node_count;
	char buf[40];
	int err = attr_need(p, st, "name", &name);

	if (!err)
		err = attr_number(p, st, "node_count", 0, NODE_MAX, &node_count);
	if (err)
		return err;
	if (!cluster_name_ok(name->value))
		return refuse(p, name->line, 0, "cluster name \"%s\" is not usable; give 1 to %d "
						"characters of 0-9, A-Z, a-z",
			      shown(name->value, buf), NET_CLUSTER_NAME_MAX);
	c = cluster_find(conf, name->value);
	if (c)
		return refuse(p, name->line, 0, "there is a cluster %s already, in line %u; keep "
						"one of the two", c->name, c->line);
	if (mode && strcasecmp(mode->value, "local") && strcasecmp(mode->value, "global"))
		return refuse(p, mode->line, 0, "heartbeat_mode = \"%s\" is unknown; write local "
						"or global", shown(mode->value, buf));
	all = reallocarray(conf->clusters, conf->n_clusters + 1, sizeof(*all));
	if (!all)
		return -ENOMEM;
	conf->clusters = all;
	c = &all[conf->n_clusters];
	memset(c, 0, sizeof(*c));
	err = net_nodes_new(&c->nodes);
	if (err)
		return err;
	conf->n_clusters++;
	strcpy(c->name, name->value);
	c->line = st->line;
	c->global = mode && !strcasecmp(mode->value, "global");
	return 0;
}

static int stanza_cluster(const struct parser *p, const struct stanza *st,
			  const struct net_conf *conf, struct net_conf_cluster **out)
{
	const struct attr *a;
	char buf[40];
	int err = attr_need(p, st, "cluster", &a);

	if (err)
		return err;
	*out = cluster_find(conf, a->value);
	if (!*out)
		return refuse(p, a->line, 0, "no cluster \"%s\" in this file; correct the name or "
					     "add a cluster: stanza", shown(a->value, buf));
	return 0;
}

static int node_add(const struct parser *p, const struct stanza *st, struct net_conf *conf)
{
	struct net_conf_cluster *c;
	struct net_node node = { 0 };
	const struct attr *name, *addr;
	struct reason why = { 0 };
	unsigned number, port;
	char buf[40];
	int err = stanza_cluster(p, st, conf, &c);

	if (!err)
		err = attr_need(p, st, "name", &name);
	if (!err)
		err = attr_number(p, st, "number", 0, NODE_MAX - 1, &number);
	if (!err)
		err = attr_need(p, st, "ip_address", &addr);
	if (!err)
		err = attr_number(p, st, "ip_port", 1, NET_PORT_MAX, &port);
	if (err)
		return err;
	if (strlen(name->value) > NET_NODE_NAME_MAX)
		return refuse(p, name->line, 0, "node name \"%s\" is longer than %d characters; "
						"use the host name without domain",
			      shown(name->value, buf), NET_NODE_NAME_MAX);
	if (net_addr_parse(addr->value, &node.addr))
		return refuse(p, addr->line, 0, "ip_address = \"%s\" is not the IPv4 address of a "
						"host; write it as 10.0.0.1",
			      shown(addr->value, buf));
	node.number = (node_t)number;
	node.port = (uint16_t)port;
	strcpy(node.name, name->value);
	err = net_nodes_add(c->nodes, &node, &why);
	if (err)
		return refuse(p, st->line, 0, "%s", why.text);
	return 0;
}

static int region_add(const struct parser *p, const struct stanza *st, struct net_conf *conf)
{
	struct net_conf_cluster *c;
	const struct attr *a;
	char buf[40];
	int err = stanza_cluster(p, st, conf, &c);

	if (!err)
		err = attr_need(p, st, "region", &a);
	if (err)
		return err;
	if (strlen(a->value) != NET_REGION_NAME_LEN ||
	    strspn(a->value, "0123456789ABCDEF") != NET_REGION_NAME_LEN)
		return refuse(p, a->line, 0, "region = \"%s\" is not a volume UUID; give the 32 "
					     "upper-case hex digits that `mounted.ocfs2 -d` shows",
			      shown(a->value, buf));
	for (size_t i = 0; i < c->n_regions; i++)
		if (!strcmp(c->regions[i], a->value))
			return refuse(p, a->line, 0, "region %s is listed twice; remove one",
				      a->value);
	if (c->n_regions == NET_REGIONS_MAX)
		return refuse(p, st->line, 0, "cluster %s has more than %d heartbeat regions; "
					      "remove some", c->name, NET_REGIONS_MAX);
	strcpy(c->regions[c->n_regions++], a->value);
	return 0;
}

static void warn_counts(const struct parser *p, const struct net_conf *conf)
{
	for (size_t i = 0; i < p->n_stanzas; i++) {
		const struct stanza *st = &p->stanzas[i];
		const struct net_conf_cluster *c;
		unsigned count;

		if (strcmp(st->type, "cluster"))
			continue;
		c = cluster_find(conf, attr_find(st, "name")->value);
		if (!net_number_parse(attr_find(st, "node_count")->value, 0, NODE_MAX, &count) &&
		    count != net_nodes_count(c->nodes))
			log_warn(p->log, "conf",
				 "node_count differs from the number of nodes; correct it or add "
				 "the missing nodes file=%s line=%u cluster=%s node_count=%u "
				 "nodes=%zu", p->path, st->line, c->name, count,
				 net_nodes_count(c->nodes));
	}
}

static int build(const struct parser *p, struct net_conf *conf)
{
	int err = 0;

	for (size_t i = 0; !err && i < p->n_stanzas; i++)
		if (!strcmp(p->stanzas[i].type, "cluster"))
			err = cluster_add(p, &p->stanzas[i], conf);
	for (size_t i = 0; !err && i < p->n_stanzas; i++) {
		if (!strcmp(p->stanzas[i].type, "node"))
			err = node_add(p, &p->stanzas[i], conf);
		else if (!strcmp(p->stanzas[i].type, "heartbeat"))
			err = region_add(p, &p->stanzas[i], conf);
	}
	if (!err && !conf->n_clusters)
		err = reason_set(p->why, EXIT_CONF, -EINVAL,
				 STEP ": %s: there is no cluster: stanza in this file; write one "
				 "as in o2fuse-cluster(7)", p->path);
	if (!err)
		warn_counts(p, conf);
	return err;
}

/* ---- face ---------------------------------------------------------------------------- */

static int check_text(const struct parser *p, const char *text, size_t len)
{
	unsigned line = 1;

	if (len > NET_CONF_SIZE_MAX)
		return reason_set(p->why, EXIT_CONF, -EFBIG,
				  STEP ": %s: larger than %u bytes; is it a cluster.conf?", p->path,
				  NET_CONF_SIZE_MAX);
	for (size_t i = 0; i < len; i++) {
		if (text[i] == '\n')
			line++;
		if (text[i] == '\0')
			return refuse(p, line, 0, "a zero byte; is it a text file?");
	}
	return 0;
}

int net_conf_parse(const char *path, const char *text, size_t len, struct logger *log,
		   struct net_conf **out, struct reason *why)
{
	struct parser p = { .path = path, .log = log, .why = why };
	struct net_conf *conf = NULL;
	int err = check_text(&p, text, len);

	*out = NULL;
	if (err)
		return err;
	p.text = malloc(len + 1);
	conf = calloc(1, sizeof(*conf));
	if (!p.text || !conf) {
		err = -ENOMEM;
		goto out;
	}
	memcpy(p.text, text, len);
	p.text[len] = '\0';
	conf->path = strdup(path);
	err = conf->path ? cut(&p) : -ENOMEM;
	if (!err)
		err = build(&p, conf);
out:
	if (err == -ENOMEM)
		reason_set(why, EXIT_SYSTEM, err, STEP ": out of memory; free some and retry");
	if (err) {
		net_conf_free(conf);
		conf = NULL;
	}
	for (size_t i = 0; i < p.n_stanzas; i++)
		free(p.stanzas[i].attrs);
	free(p.stanzas);
	free(p.text);
	*out = conf;
	return err;
}

void net_conf_free(struct net_conf *conf)
{
	if (!conf)
		return;
	for (size_t i = 0; i < conf->n_clusters; i++)
		net_nodes_free(conf->clusters[i].nodes);
	free(conf->clusters);
	free(conf->path);
	free(conf);
}

static int slurp(const char *path, char **text, size_t *len, struct reason *why)
{
	AUTO_FREE char *buf = malloc(NET_CONF_SIZE_MAX + 1);
	AUTO_CLOSE int fd = -1;
	struct stat st;
	size_t n = 0;
	ssize_t got;

	if (!buf)
		return reason_set(why, EXIT_SYSTEM, -ENOMEM,
				  STEP ": out of memory; free some and retry");
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 && errno == ENOENT)
		return reason_set(why, EXIT_CONF, -ENOENT,
				  STEP ": there is no %s; write one as in o2fuse-cluster(7), the "
				  "same on every node, or name another with -o conf=", path);
	if (fd < 0 || fstat(fd, &st) < 0)
		return reason_set(why, EXIT_CONF, -errno,
				  STEP ": cannot open %s: %s; check its permissions", path,
				  strerror(errno));
	if (S_ISDIR(st.st_mode))
		return reason_set(why, EXIT_CONF, -EISDIR,
				  STEP ": %s is a directory; name the file in it", path);
	while (n <= NET_CONF_SIZE_MAX) {
		got = read(fd, buf + n, NET_CONF_SIZE_MAX + 1 - n);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return reason_set(why, EXIT_CONF, -errno,
					  STEP ": cannot read %s: %s; check the disk", path,
					  strerror(errno));
		if (got == 0)
			break;
		n += (size_t)got;
	}
	*len = n;
	*text = TAKE(buf);
	return 0;
}

int net_conf_read(const char *path, struct logger *log, struct net_conf **out,
		  struct reason *why)
{
	AUTO_FREE char *text = NULL;
	size_t len = 0;
	int err;

	path = path ? path : NET_CONF_PATH;
	*out = NULL;
	err = slurp(path, &text, &len, why);
	return err ? err : net_conf_parse(path, text, len, log, out, why);
}
