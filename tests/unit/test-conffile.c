// SPDX-License-Identifier: GPL-2.0-or-later
/* test-conffile.c: cluster.conf as o2cb writes it, and each refusal with its line. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include "net/conffile.h"

static struct net_conf *parse(const char *text)
{
	struct net_conf *conf;
	struct reason why = { 0 };

	cr_assert_eq(net_conf_parse("t.conf", text, strlen(text), NULL, &conf, &why), 0, "%s",
		     why.text);
	cr_assert_eq(why.text[0], '\0');
	return conf;
}

/* The text is refused, and the reason names all of where, cause and next step. */
static void refused(const char *text, const char *where, const char *cause, const char *next)
{
	struct net_conf *conf;
	struct reason why = { 0 };

	cr_assert_eq(net_conf_parse("t.conf", text, strlen(text), NULL, &conf, &why), -EINVAL,
		     "accepted: %s", text);
	cr_assert_null(conf);
	cr_assert_eq(why.code, EXIT_CONF);
	cr_assert(strstr(why.text, where), "%s: no \"%s\"", why.text, where);
	cr_assert(strstr(why.text, cause), "%s: no \"%s\"", why.text, cause);
	cr_assert(strstr(why.text, next), "%s: no \"%s\"", why.text, next);
}

#define CLUSTER "cluster:\n\tnode_count = 1\n\tname = web\n\n"
#define NODE(num, nam, addr) \
	"node:\n\tnumber = " num "\n\tcluster = web\n\tip_port = 7777\n\tip_address = " addr \
	"\n\tname = " nam "\n\n"

/* The example of doc/spec/cluster.md 1.2. */
static const char example[] = "cluster:\n\tnode_count = 1\n\theartbeat_mode = local\n"
			      "\tname = webcluster\n\nnode:\n\tnumber = 1\n"
			      "\tcluster = webcluster\n\tip_port = 7777\n"
			      "\tip_address = 10.0.2.15\n\tname = kern1\n";

Test(conffile, reads_what_o2cb_writes)
{
	struct net_conf *conf = parse(example);
	const struct net_conf_cluster *c = &conf->clusters[0];
	const struct net_node *n;

	cr_assert_eq(conf->n_clusters, 1);
	cr_assert_str_eq(c->name, "webcluster");
	cr_assert_not(c->global);
	cr_assert_eq(c->n_regions, 0);
	cr_assert_eq(net_nodes_count(c->nodes), 1);
	n = net_nodes_get(c->nodes, 1);
	cr_assert_str_eq(n->name, "kern1");
	cr_assert_eq(n->addr, 0x0a00020f);
	cr_assert_eq(n->port, 7777);
	cr_assert_not(n->local);
	net_conf_free(conf);
}

Test(conffile, keeps_several_clusters_apart)
{
	struct net_conf *conf = parse(
		"node:\n\tcluster = b\n\tname = x\n\tnumber = 0\n\tip_port = 1\n"
		"\tip_address = 10.0.0.1\n\ncluster:\n\tname = a\n\tnode_count = 1\n"
		"\theartbeat_mode = GLOBAL\ncluster:\n\tname = b\n\tnode_count = 1\n"
		"node:\n\tcluster = a\n\tname = x\n\tnumber = 0\n\tip_port = 2\n"
		"\tip_address = 10.0.0.1\nheartbeat:\n\tcluster = a\n"
		"\tregion = 45F81E3B6F2B48CCAAD1AE7945AB2001\n");

	cr_assert_eq(conf->n_clusters, 2);
	cr_assert_str_eq(conf->clusters[0].name, "a");
	cr_assert(conf->clusters[0].global);
	cr_assert_not(conf->clusters[1].global);
	cr_assert_eq(net_nodes_get(conf->clusters[0].nodes, 0)->port, 2);
	cr_assert_eq(net_nodes_get(conf->clusters[1].nodes, 0)->port, 1);
	cr_assert_eq(conf->clusters[0].n_regions, 1);
	cr_assert_str_eq(conf->clusters[0].regions[0], "45F81E3B6F2B48CCAAD1AE7945AB2001");
	cr_assert_eq(conf->clusters[1].n_regions, 0);
	net_conf_free(conf);
}

Test(conffile, takes_blanks_comments_unknown_words_and_repeats_as_o2cb_does)
{
	struct net_conf *conf = parse(
		"# first \\\ncluster: \t\r\n name=web  \t\r\n#\tname = other\n\tnode_count\t=1\n"
		"\tcolour = blue # no comment\n\ngarden:\n\tcluster = nowhere\n   \t \n"
		"node:\n\tname = a\n\tname = b\n\tnumber = 9\n\tnumber = 3\n\tcluster = web\n"
		"\tip_port=65534\n\tip_address = 10.0.\\\n0.7");
	const struct net_node *n = net_nodes_get(conf->clusters[0].nodes, 3);

	cr_assert_str_eq(conf->clusters[0].name, "web");
	cr_assert_eq(net_nodes_count(conf->clusters[0].nodes), 1);
	cr_assert_str_eq(n->name, "b");
	cr_assert_eq(n->port, 65534);
	cr_assert_eq(n->addr, 0x0a000007);
	net_conf_free(conf);
}

Test(conffile, counts_lines_through_continuations)
{
	refused("cluster:\n\tname = w\\\neb\n\tnode_count = x\n", "t.conf:4:", "\"x\"",
		"decimal number 0..255");
}

Test(conffile, refuses_what_is_no_stanza)
{
	refused("cluster:\nname = web\n", "t.conf:2:5:", "name = web", "start with a tab");
	refused("clus ter:\n", "t.conf:1:5:", "neither a stanza", "node:");
	refused("\n:\n", "t.conf:2:1:", "neither", "node:");
	refused("cluster: web\n", "t.conf:1:10:", "text after \"cluster:\"", "lines of their own");
}

Test(conffile, refuses_an_attribute_without_stanza)
{
	refused("cluster:\n\n\tname = web\n", "t.conf:3:2:", "belongs to no stanza",
		"without an empty line");
}

Test(conffile, refuses_an_attribute_that_is_none)
{
	refused("cluster:\n\tname web\n", "t.conf:2:2:", "\"name web\"", "name = value");
	refused("cluster:\n\t= web\n", "t.conf:2:2:", "not an attribute", "name = value");
	refused("cluster:\n\tna me = web\n", "t.conf:2:4:", "blank", "name = value");
}

Test(conffile, refuses_a_dangling_continuation)
{
	refused("cluster:\n\tname = web\\\n", "t.conf:2:", "continued", "remove the backslash");
}

Test(conffile, refuses_zero_bytes_with_their_line)
{
	struct net_conf *conf = (void *)1;
	struct reason why = { 0 };

	cr_assert_eq(net_conf_parse("t.conf", "#\n\0", 3, NULL, &conf, &why), -EINVAL);
	cr_assert_null(conf, "a caller that frees it would crash (found by fuzz-conf)");
	cr_assert(strstr(why.text, "t.conf:2: a zero byte"), "%s", why.text);
}

Test(conffile, refuses_a_file_without_cluster)
{
	refused("# nothing\n", "t.conf", "no cluster: stanza", "o2fuse-cluster(7)");
	refused("", "t.conf", "no cluster: stanza", "o2fuse-cluster(7)");
}

Test(conffile, names_missing_attributes_at_their_stanza)
{
	refused("\ncluster:\n\tnode_count = 1\n", "t.conf:2:", "cluster has no \"name\"",
		"name = ...");
	refused("cluster:\n\tname = web\n", "t.conf:1:", "no \"node_count\"", "add a line");
	refused(CLUSTER "node:\n\tname = x\n", "t.conf:5:", "node has no \"cluster\"", "add");
	refused(CLUSTER "node:\n\tcluster = web\n", "t.conf:5:", "no \"name\"", "add");
	refused(CLUSTER "node:\n\tcluster = web\n\tname = x\n", "t.conf:5:", "no \"number\"",
		"add");
	refused(CLUSTER "node:\n\tcluster = web\n\tname = x\n\tnumber = 1\n", "t.conf:5:",
		"no \"ip_address\"", "add");
	refused(CLUSTER "node:\n\tcluster = web\n\tname = x\n\tnumber = 1\n"
			"\tip_address = 10.0.0.1\n", "t.conf:5:", "no \"ip_port\"", "add");
	refused(CLUSTER "heartbeat:\n\tcluster = web\n", "t.conf:5:", "no \"region\"", "add");
	refused(CLUSTER "heartbeat:\n\tregion = 45F81E3B6F2B48CCAAD1AE7945AB2001\n", "t.conf:5:",
		"no \"cluster\"", "add");
}

Test(conffile, refuses_values_out_of_range_at_their_line)
{
	refused("cluster:\n\tnode_count = 1\n\tname = web-1\n", "t.conf:3:", "web-1", "0-9, A-Z");
	refused("cluster:\n\tnode_count = 1\n\tname = 12345678901234567\n", "t.conf:3:",
		"not usable", "1 to 16");
	refused("cluster:\n\tnode_count = 1\n\tname =\n", "t.conf:3:", "\"\"", "1 to 16");
	refused("cluster:\n\tname = web\n\tnode_count = 256\n", "t.conf:3:", "256", "0..255");
	refused("cluster:\n\tname = web\n\tnode_count = 1\n\theartbeat_mode = both\n",
		"t.conf:4:", "both", "local or global");
	refused(CLUSTER NODE("255", "x", "10.0.0.1"), "t.conf:6:", "number = \"255\"", "0..254");
	refused(CLUSTER NODE("-1", "x", "10.0.0.1"), "t.conf:6:", "-1", "0..254");
	refused(CLUSTER NODE("1", "x", "10.0.0.300"), "t.conf:9:", "10.0.0.300", "10.0.0.1");
	refused(CLUSTER NODE("1", "x", "0.0.0.0"), "t.conf:9:", "0.0.0.0", "10.0.0.1");
	refused(CLUSTER NODE("1", "x y", "10.0.0.1"), "t.conf:5:", "name", "printable");
	refused(CLUSTER "node:\n\tcluster = web\n\tname = x\n\tnumber = 1\n\tip_port = 65535\n"
			"\tip_address = 10.0.0.1\n", "t.conf:9:", "65535", "1..65534");
}

Test(conffile, refuses_a_node_name_that_is_too_long)
{
	char text[400], name[66];

	memset(name, 'n', 65);
	name[65] = '\0';
	snprintf(text, sizeof(text), CLUSTER "node:\n\tnumber = 1\n\tcluster = web\n"
		 "\tip_port = 7777\n\tip_address = 10.0.0.1\n\tname = %s\n", name);
	refused(text, "t.conf:10:", "longer than 64", "host name without domain");
	name[64] = '\0';
	snprintf(text, sizeof(text), CLUSTER "node:\n\tnumber = 1\n\tcluster = web\n"
		 "\tip_port = 7777\n\tip_address = 10.0.0.1\n\tname = %s\n", name);
	net_conf_free(parse(text));
}

Test(conffile, refuses_duplicates_at_the_second)
{
	refused(CLUSTER CLUSTER, "t.conf:7:", "web already, in line 1", "keep one");
	refused(CLUSTER NODE("1", "x", "10.0.0.1") NODE("1", "y", "10.0.0.2"), "t.conf:12:",
		"number 1 is in use by x", "free number");
	refused(CLUSTER NODE("1", "x", "10.0.0.1") NODE("2", "x", "10.0.0.2"), "t.conf:12:",
		"name x is in use by node 1", "another name");
	refused(CLUSTER NODE("1", "x", "10.0.0.1") NODE("2", "y", "10.0.0.1"), "t.conf:12:",
		"10.0.0.1 is in use by node 1", "each node needs its own");
}

Test(conffile, refuses_an_unknown_cluster_at_its_line)
{
	refused(CLUSTER "node:\n\tname = x\n\tcluster = Web\n", "t.conf:7:", "\"Web\"",
		"add a cluster:");
}

Test(conffile, refuses_regions_that_are_no_volume_uuid)
{
	refused(CLUSTER "heartbeat:\n\tcluster = web\n"
			"\tregion = 45f81e3b6f2b48ccaad1ae7945ab2001\n", "t.conf:7:", "45f8",
		"upper-case");
	refused(CLUSTER "heartbeat:\n\tcluster = web\n\tregion = 45F8\n", "t.conf:7:", "45F8",
		"32");
	refused(CLUSTER "heartbeat:\n\tcluster = web\n"
			"\tregion = 45F81E3B6F2B48CCAAD1AE7945AB2001\n"
			"heartbeat:\n\tcluster = web\n"
			"\tregion = 45F81E3B6F2B48CCAAD1AE7945AB2001\n", "t.conf:10:", "twice",
		"remove one");
}

Test(conffile, takes_32_regions_and_refuses_the_33rd)
{
	char text[6000] = CLUSTER;

	for (unsigned i = 0; i < 32; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text),
			 "heartbeat:\n\tcluster = web\n\tregion = %032X\n", i);
	net_conf_free(parse(text));
	snprintf(text + strlen(text), sizeof(text) - strlen(text),
		 "heartbeat:\n\tcluster = web\n\tregion = %032X\n", 32);
	refused(text, "t.conf:101:", "more than 32", "remove some");
}

static char warned[LOG_LINE_MAX];

static void keep_line(struct logger *self, enum log_level level, const char *subsys,
		      const char *line)
{
	(void)self;
	(void)level;
	(void)subsys;
	snprintf(warned, sizeof(warned), "%s", line);
}

Test(conffile, warns_of_a_wrong_node_count_without_refusing)
{
	static const char text[] = "cluster:\n\tnode_count = 3\n\tname = web\n"
				   NODE("1", "x", "10.0.0.1");
	struct logger log = { .emit = keep_line, .max = LOG_LVL_DEBUG };
	struct net_conf *conf;

	cr_assert_eq(net_conf_parse("t.conf", text, strlen(text), &log, &conf, NULL), 0);
	cr_assert(strstr(warned, "line=1"), "%s", warned);
	cr_assert(strstr(warned, "node_count=3 nodes=1"), "%s", warned);
	net_conf_free(conf);
}

Test(conffile, reads_from_a_file_and_names_what_is_wrong_with_it)
{
	char dir[] = "/tmp/o2fuse-conf-XXXXXX", path[64];
	struct net_conf *conf;
	struct reason why = { 0 };
	FILE *f;

	cr_assert_not_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/cluster.conf", dir);
	cr_assert_eq(net_conf_read(path, NULL, &conf, &why), -ENOENT);
	cr_assert(strstr(why.text, path), "%s", why.text);
	cr_assert(strstr(why.text, "-o conf="), "%s", why.text);
	why.text[0] = '\0';
	cr_assert_eq(net_conf_read(dir, NULL, &conf, &why), -EISDIR);
	cr_assert(strstr(why.text, "directory"), "%s", why.text);
	f = fopen(path, "w");
	cr_assert_not_null(f);
	fputs(example, f);
	fclose(f);
	cr_assert_eq(net_conf_read(path, NULL, &conf, NULL), 0);
	cr_assert_eq(conf->n_clusters, 1);
	net_conf_free(conf);
	why.text[0] = '\0';
	cr_assert_eq(truncate(path, NET_CONF_SIZE_MAX + 1), 0);
	cr_assert_eq(net_conf_read(path, NULL, &conf, &why), -EFBIG);
	cr_assert(strstr(why.text, "larger than"), "%s", why.text);
	unlink(path);
	rmdir(dir);
}

/* ---- picking -------------------------------------------------------------------------- */

static const char three[] = "cluster:\n\tnode_count = 3\n\tname = web\n"
			    NODE("1", "alpha", "10.0.0.1") NODE("2", "beta.lan", "10.0.0.2")
			    NODE("3", "7", "10.0.0.3") NODE("7", "delta", "10.0.0.7");

static node_t picked(const char *text, const struct net_conf_pick *pick, struct reason *why,
		     int want)
{
	struct net_conf *conf = parse(text);
	const struct net_conf_cluster *c;
	struct net_nodes *t;
	struct reason none = { 0 };
	node_t number = NODE_NONE;
	int err = net_conf_pick(conf, pick, &c, &t, why ? why : &none);

	cr_assert_eq(err, want, "%d: %s", err, why ? why->text : none.text);
	if (!err) {
		cr_assert_eq(net_nodes_count(t), net_nodes_count(c->nodes));
		number = net_nodes_local(t)->number;
	} else {
		cr_assert_null(t);
		cr_assert_eq(why->code, EXIT_CONF);
	}
	net_nodes_free(t);
	net_conf_free(conf);
	return number;
}

Test(conffile, local_node_is_the_host_name_with_or_without_domain_ignoring_case)
{
	struct reason why = { 0 };

	cr_assert_eq(picked(three, &(struct net_conf_pick){ .hostname = "Alpha" }, NULL, 0), 1);
	cr_assert_eq(picked(three, &(struct net_conf_pick){ .hostname = "alpha.example.org" },
			    NULL, 0), 1);
	cr_assert_eq(picked(three, &(struct net_conf_pick){ .hostname = "BETA.LAN" }, NULL, 0), 2);
	picked(three, &(struct net_conf_pick){ .hostname = "beta" }, &why, -ENOENT);
	cr_assert(strstr(why.text, "host, beta"), "%s", why.text);
	cr_assert(strstr(why.text, "-o node="), "%s", why.text);
	why.text[0] = '\0';
	picked(three, &(struct net_conf_pick){ .hostname = "alph" }, &why, -ENOENT);
}

Test(conffile, two_matches_of_the_host_name_are_refused)
{
	struct reason why = { 0 };

	picked("cluster:\n\tnode_count = 2\n\tname = web\n" NODE("1", "a", "10.0.0.1")
	       NODE("2", "a.lan", "10.0.0.2"),
	       &(struct net_conf_pick){ .hostname = "a.lan" }, &why, -EINVAL);
	cr_assert(strstr(why.text, "1 (a) and 2 (a.lan)"), "%s", why.text);
}

Test(conffile, local_node_by_option_is_a_name_first_and_then_a_number)
{
	struct reason why = { 0 };

	cr_assert_eq(picked(three, &(struct net_conf_pick){ .node = "delta" }, NULL, 0), 7);
	cr_assert_eq(picked(three, &(struct net_conf_pick){ .node = "2" }, NULL, 0), 2);
	cr_assert_eq(picked(three, &(struct net_conf_pick){ .node = "7" }, NULL, 0), 3);
	picked(three, &(struct net_conf_pick){ .node = "9" }, &why, -ENOENT);
	cr_assert(strstr(why.text, "no node \"9\""), "%s", why.text);
}

Test(conffile, cluster_by_option_or_the_only_one)
{
	static const char two[] = CLUSTER "cluster:\n\tname = db\n\tnode_count = 0\n"
				  NODE("1", "a", "10.0.0.1");
	struct reason why = { 0 };

	cr_assert_eq(picked(two, &(struct net_conf_pick){ .cluster = "web", .node = "1" }, NULL,
			    0), 1);
	picked(two, &(struct net_conf_pick){ .node = "1" }, &why, -EINVAL);
	cr_assert(strstr(why.text, "web, db"), "%s", why.text);
	why.text[0] = '\0';
	picked(two, &(struct net_conf_pick){ .cluster = "WEB", .node = "1" }, &why, -ENOENT);
	cr_assert(strstr(why.text, "no cluster \"WEB\""), "%s", why.text);
}

Test(conffile, overrides_change_the_local_row_only_and_may_not_collide)
{
	struct net_conf *conf = parse(three);
	const struct net_conf_cluster *c;
	struct net_conf_pick pick = { .node = "1", .ip = "127.0.0.9", .port = 17777 };
	struct net_nodes *t;
	struct reason why = { 0 };

	cr_assert_eq(net_conf_pick(conf, &pick, &c, &t, NULL), 0);
	cr_assert_eq(net_nodes_get(t, 1)->addr, 0x7f000009);
	cr_assert_eq(net_nodes_get(t, 1)->port, 17777);
	cr_assert_eq(net_nodes_get(t, 2)->port, 7777);
	cr_assert_eq(net_nodes_get(c->nodes, 1)->addr, 0x0a000001);
	net_nodes_free(t);
	pick.ip = "10.0.0.2";
	cr_assert_eq(net_conf_pick(conf, &pick, &c, &t, &why), -EEXIST);
	cr_assert(strstr(why.text, "10.0.0.2 is in use"), "%s", why.text);
	why.text[0] = '\0';
	pick.ip = "alpha";
	cr_assert_eq(net_conf_pick(conf, &pick, &c, &t, &why), -EINVAL);
	cr_assert(strstr(why.text, "ip=alpha"), "%s", why.text);
	net_conf_free(conf);
}
