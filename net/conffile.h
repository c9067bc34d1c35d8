/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * conffile.h: o2cb's cluster.conf, and the table that is made of it.
 *
 * The format is doc/spec/cluster.md 1.2. A file may describe several clusters. Every
 * refusal names file, line, cause and next step, with exit status EXIT_CONF.
 */
#ifndef O2FUSE_NET_CONFFILE_H
#define O2FUSE_NET_CONFFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "dlm/util/log.h"
#include "net/nodes.h"

#define NET_CONF_PATH "/etc/ocfs2/cluster.conf"
#define NET_CLUSTER_NAME_MAX 16
#define NET_REGION_NAME_LEN 32
#define NET_REGIONS_MAX 32
#define NET_CONF_SIZE_MAX (1u << 20)

struct net_conf_cluster {
	char name[NET_CLUSTER_NAME_MAX + 1];
	unsigned line;			/* of its stanza */
	bool global;			/* heartbeat_mode */
	struct net_nodes *nodes;	/* no row is local */
	size_t n_regions;
	char regions[NET_REGIONS_MAX][NET_REGION_NAME_LEN + 1];
};

struct net_conf {
	char *path;
	size_t n_clusters;
	struct net_conf_cluster *clusters; /* in the order of the file */
};

/* path NULL: NET_CONF_PATH. log gets warnings (node_count differs), may be NULL. */
int net_conf_read(const char *path, struct logger *log, struct net_conf **out,
		  struct reason *why) __must_check;
/* The same from memory; path is used in messages only. */
int net_conf_parse(const char *path, const char *text, size_t len, struct logger *log,
		   struct net_conf **out, struct reason *why) __must_check;
void net_conf_free(struct net_conf *conf);

struct net_conf_pick {
	const char *cluster;	/* NULL: the only one in the file */
	const char *node;	/* local node, by name or number; NULL: by host name */
	const char *hostname;	/* NULL: gethostname() */
	const char *ip;		/* the local node's address instead of the file's; NULL */
	uint16_t port;		/* the local node's port instead of the file's; 0 */
};

/*
 * Choose a cluster and the local node. *cluster points into conf. *out is a table of
 * its own, with the local row marked and the overrides applied; free it with
 * net_nodes_free().
 */
int net_conf_pick(const struct net_conf *conf, const struct net_conf_pick *pick,
		  const struct net_conf_cluster **cluster, struct net_nodes **out,
		  struct reason *why) __must_check;

#endif
