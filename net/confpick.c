// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * confpick.c: which cluster of cluster.conf, and which of its nodes are we?
 *
 * o2cb takes the node whose name is the host name, or the host name up to its first
 * dot, ignoring case; exactly one must match (doc/spec/cluster.md 1.2). A host that
 * has several namespaces, or a name of another form, says who it is with an option.
 */
#include <errno.h>
#include <string.h>
#include <strings.h>
#include "net/conffile.h"

#define STEP "finding the local node"

static int pick_cluster(const struct net_conf *conf, const char *name,
			const struct net_conf_cluster **out, struct reason *why)
{
	char known[200] = "";
	size_t len = 0;

	for (size_t i = 0; i < conf->n_clusters; i++) {
		const struct net_conf_cluster *c = &conf->clusters[i];

		if (name ? !strcmp(c->name, name) : conf->n_clusters == 1) {
			*out = c;
			return 0;
		}
		if (len < sizeof(known))
			len += (size_t)snprintf(known + len, sizeof(known) - len, "%s%s",
						i ? ", " : "", c->name);
	}
	if (name)
		return reason_set(why, EXIT_CONF, -ENOENT,
				  "choosing the cluster: %s has no cluster \"%s\" (it has: %s); add it "
				  "there or name one of these with -o cluster=", conf->path, name,
				  known);
	return reason_set(why, EXIT_CONF, -EINVAL,
			  "choosing the cluster: %s describes several (%s); name one with "
			  "-o cluster=", conf->path, known);
}

/* name is the host's: whole, or up to its first dot, ignoring case. */
static bool host_matches(const char *host, const char *name)
{
	size_t len = strcspn(host, ".");

	return !strcasecmp(host, name) || (strlen(name) == len && !strncasecmp(host, name, len));
}

static int by_hostname(const struct net_conf *conf, const struct net_conf_cluster *c,
		       const char *host, node_t *out, struct reason *why)
{
	const struct net_node *n, *found = NULL;
	char buf[256];

	if (!host) {
		if (gethostname(buf, sizeof(buf)) < 0)
			return reason_set(why, EXIT_SYSTEM, -errno, STEP ": gethostname: %s; name "
					  "it with -o node=", strerror(errno));
		buf[sizeof(buf) - 1] = '\0';
		host = buf;
	}
	for (n = net_nodes_next(c->nodes, 0); n; n = net_nodes_next(c->nodes, n->number + 1u)) {
		if (!host_matches(host, n->name))
			continue;
		if (found)
			return reason_set(why, EXIT_CONF, -EINVAL,
					  STEP ": nodes %u (%s) and %u (%s) of cluster %s both match "
					  "the host name %s; name one with -o node=", found->number,
					  found->name, n->number, n->name, c->name, host);
		found = n;
	}
	if (!found)
		return reason_set(why, EXIT_CONF, -ENOENT,
				  STEP ": no node of cluster %s in %s is named as this host, %s; "
				  "add it there on all nodes, or name one with -o node=", c->name,
				  conf->path, host);
	*out = found->number;
	return 0;
}

/* A name goes before a number: "7" may be a name. */
static int by_option(const struct net_conf *conf, const struct net_conf_cluster *c,
		     const char *node, node_t *out, struct reason *why)
{
	const struct net_node *n = net_nodes_by_name(c->nodes, node);
	unsigned number;

	if (!n && !net_number_parse(node, 0, NODE_MAX - 1, &number))
		n = net_nodes_get(c->nodes, number);
	if (!n)
		return reason_set(why, EXIT_CONF, -ENOENT,
				  STEP ": cluster %s in %s has no node \"%s\"; give a name or number "
				  "from there", c->name, conf->path, node);
	*out = n->number;
	return 0;
}

static int copy_table(const struct net_nodes *from, const struct net_node *local,
		      struct net_nodes *to, struct reason *why)
{
	const struct net_node *n;
	int err = 0;

	/* The overridden row first: then the row that it collides with is the one refused. */
	err = net_nodes_add(to, local, why);
	for (n = net_nodes_next(from, 0); !err && n; n = net_nodes_next(from, n->number + 1u))
		if (n->number != local->number)
			err = net_nodes_add(to, n, why);
	return err;
}

int net_conf_pick(const struct net_conf *conf, const struct net_conf_pick *pick,
		  const struct net_conf_cluster **cluster, struct net_nodes **out,
		  struct reason *why)
{
	const struct net_conf_cluster *c = NULL;
	struct net_node local;
	struct net_nodes *t;
	node_t self = NODE_NONE;
	int err = pick_cluster(conf, pick->cluster, &c, why);

	*out = NULL;
	if (!err)
		err = pick->node ? by_option(conf, c, pick->node, &self, why) :
				   by_hostname(conf, c, pick->hostname, &self, why);
	if (err)
		return err;
	local = *net_nodes_get(c->nodes, self);
	local.local = true;
	if (pick->ip && net_addr_parse(pick->ip, &local.addr))
		return reason_set(why, EXIT_CONF, -EINVAL,
				  STEP ": ip=%s is not the IPv4 address of a host; write it as "
				  "10.0.0.1", pick->ip);
	if (pick->port)
		local.port = pick->port;
	if (net_nodes_new(&t))
		return reason_set(why, EXIT_SYSTEM, -ENOMEM,
				  STEP ": out of memory; free some and retry");
	err = copy_table(c->nodes, &local, t, why);
	if (err) {
		net_nodes_free(t);
		return err;
	}
	*cluster = c;
	*out = t;
	return 0;
}
