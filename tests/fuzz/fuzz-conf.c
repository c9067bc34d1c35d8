// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * fuzz-conf.c: any bytes as a cluster.conf. What is accepted must be a table within the
 * limits, and each refusal must say something.
 */
#include <stdlib.h>
#include <string.h>
#include "net/conffile.h"
#include "tests/fuzz/fuzz.h"

static void check_cluster(const struct net_conf *conf, const struct net_conf_cluster *c)
{
	const struct net_node *n;
	struct net_conf_pick pick = { .cluster = c->name, .hostname = "a.example" };
	const struct net_conf_cluster *got;
	struct net_nodes *t;

	FUZZ_CHECK(c->name[0] && strlen(c->name) <= NET_CLUSTER_NAME_MAX);
	FUZZ_CHECK(c->n_regions <= NET_REGIONS_MAX);
	for (n = net_nodes_next(c->nodes, 0); n; n = net_nodes_next(c->nodes, n->number + 1u)) {
		FUZZ_CHECK(!net_node_check(n, NULL) && !n->local);
		FUZZ_CHECK(net_nodes_by_name(c->nodes, n->name) == n);
		FUZZ_CHECK(net_nodes_by_addr(c->nodes, n->addr) == n);
	}
	if (!net_conf_pick(conf, &pick, &got, &t, NULL)) {
		FUZZ_CHECK(got == c && net_nodes_local(t));
		net_nodes_free(t);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct net_conf *conf;
	struct reason why = { 0 };
	int err = net_conf_parse("fuzz.conf", (const char *)data, len, NULL, &conf, &why);

	FUZZ_CHECK(!err == !why.text[0]);
	FUZZ_CHECK(!err == !!conf);
	for (size_t i = 0; conf && i < conf->n_clusters; i++)
		check_cluster(conf, &conf->clusters[i]);
	net_conf_free(conf);
	return 0;
}
