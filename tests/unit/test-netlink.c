// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test-netlink.c: the admin channel over real NETLINK_USERSOCK, in a network namespace
 * of its own: server and client, users who may not, forgeries, floods, slow readers.
 */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <linux/netlink.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "net/netlink_client.h"
#include "net/netlink_policy.h"
#include "tests/unit/nlfake.h"

static struct nlfake *f;
static struct net_nlc *c;
static struct net_nlc_daemon d;

static void namespace(void)
{
	alarm(200);
	if (unshare(CLONE_NEWNET) < 0)
		cr_skip_test("needs a network namespace of its own (root): %s", strerror(errno));
}

static void setup(void)
{
	struct net_nlc_daemon *all;
	struct reason why = { 0 };
	size_t n, silent;

	namespace();
	f = nlfake_start("web", 3);
	cr_assert_eq(net_nlc_open(10000, &c, &why), 0, "%s", why.text);
	cr_assert_eq(net_nlc_find(c, &all, &n, &silent, &why), 0, "%s", why.text);
	cr_assert_eq(n, 1);
	cr_assert_eq(silent, 0);
	d = all[0];
	free(all);
}

static void teardown(void)
{
	net_nlc_close(c);
	nlfake_stop(f);
}

TestSuite(netlink, .init = setup, .fini = teardown);
TestSuite(netlink_alone, .init = namespace);

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* Run fn as nobody; its result is the exit status. */
static int as_nobody(int (*fn)(void))
{
	int status;
	pid_t pid = fork();

	cr_assert_geq(pid, 0);
	if (pid == 0) {
		if (setgid(65534) || setuid(65534))
			_exit(99);
		_exit(fn());
	}
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert(WIFEXITED(status), "status %d", status);
	return WEXITSTATUS(status);
}

static uint64_t counter(const char *name)
{
	struct json_object *o, *nl, *v;
	uint64_t value;

	cr_assert_eq(net_nlc_status(c, &d, &o, NULL), 0);
	cr_assert(json_object_object_get_ex(o, "netlink", &nl));
	cr_assert(json_object_object_get_ex(nl, name, &v));
	value = json_object_get_uint64(v);
	json_object_put(o);
	return value;
}

/* ---- finding ------------------------------------------------------------------------- */

Test(netlink_alone, nobody_there_is_said_at_once)
{
	struct net_nlc_daemon *all;
	struct reason why = { 0 };
	size_t n, silent;
	int64_t start = now_ms();

	cr_assert_eq(net_nlc_open(30000, &c, NULL), 0);
	cr_assert_eq(net_nlc_find(c, &all, &n, &silent, &why), -ESRCH);
	cr_assert_null(all);
	cr_assert_lt(now_ms() - start, 10000);
	cr_assert(strstr(why.text, "no o2fuse is running"), "%s", why.text);
	net_nlc_close(c);
}

Test(netlink, a_process_tells_cluster_node_and_version_and_the_kernel_its_pid)
{
	cr_assert_str_eq(d.cluster, "web");
	cr_assert_eq(d.self, 3);
	cr_assert_str_eq(d.node_name, "node3");
	cr_assert_eq(d.pid, getpid());
	cr_assert_gt(strlen(d.version), 0);
}

Test(netlink, several_processes_are_found_sorted_and_without_waiting)
{
	struct nlfake *g = nlfake_start("db", 9), *h = nlfake_start("web", 1);
	struct net_nlc_daemon *all;
	struct net_nlc *patient;
	size_t n, silent;
	int64_t start = now_ms();

	cr_assert_eq(net_nlc_open(30000, &patient, NULL), 0);
	cr_assert_eq(net_nlc_find(patient, &all, &n, &silent, NULL), 0);
	cr_assert_lt(now_ms() - start, 10000);
	cr_assert_eq(n, 3);
	cr_assert_eq(silent, 0);
	cr_assert_str_eq(all[0].cluster, "db");
	cr_assert_str_eq(all[1].cluster, "web");
	cr_assert_eq(all[1].self, 1);
	cr_assert_eq(all[2].self, 3);
	free(all);
	net_nlc_close(patient);
	nlfake_stop(g);
	nlfake_stop(h);
}

static int raw_socket(bool creds)
{
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_USERSOCK), on = creds;
	struct sockaddr_nl me = { .nl_family = AF_NETLINK };

	if (fd < 0 || bind(fd, (struct sockaddr *)&me, sizeof(me)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) < 0)
		_exit(98);
	return fd;
}

static uint32_t raw_port(int fd)
{
	struct sockaddr_nl me;
	socklen_t len = sizeof(me);

	cr_assert_eq(getsockname(fd, (struct sockaddr *)&me, &len), 0);
	return me.nl_pid;
}

Test(netlink, one_that_does_not_answer_is_counted_as_silent)
{
	struct net_nlc_daemon *all;
	struct net_nlc *hasty;
	size_t n, silent;
	int fd = raw_socket(true), group = NET_NL_GROUP_DAEMONS;

	cr_assert_eq(setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)), 0);
	cr_assert_eq(net_nlc_open(200, &hasty, NULL), 0);
	cr_assert_eq(net_nlc_find(hasty, &all, &n, &silent, NULL), 0);
	cr_assert_eq(n, 1);
	cr_assert_eq(silent, 1);
	free(all);
	net_nlc_close(hasty);
	close(fd);
}

/* ---- nodes ----------------------------------------------------------------------------- */

static unsigned listed;
static struct net_nl_node rows[NODE_MAX];
static char links[NODE_MAX][64];

static void take(void *ctx, const struct net_nl_node *node)
{
	cr_assert_eq(ctx, &listed);
	cr_assert_lt(listed, NODE_MAX);
	rows[listed] = *node;
	snprintf(links[listed], sizeof(links[0]), "%s", node->link_state ? node->link_state : "");
	listed++;
}

static void list(void)
{
	struct reason why = { 0 };

	listed = 0;
	cr_assert_eq(net_nlc_nodes(c, &d, take, &listed, &why), 0, "%s", why.text);
}

Test(netlink, nodes_are_listed_with_all_that_is_known)
{
	nlfake_add(f, 7, "gamma", 0x0a000007, true, "up since 12:00");
	list();
	cr_assert_eq(listed, 2);
	cr_assert_eq(rows[0].node.number, 3);
	cr_assert(rows[0].node.local && rows[0].member && rows[0].alive);
	cr_assert_str_eq(links[0], "");
	cr_assert_eq(rows[1].node.number, 7);
	cr_assert_str_eq(rows[1].node.name, "gamma");
	cr_assert_eq(rows[1].node.addr, 0x0a000007);
	cr_assert_eq(rows[1].node.port, 7777);
	cr_assert(rows[1].alive && rows[1].connected && !rows[1].node.local && !rows[1].member);
	cr_assert_str_eq(links[1], "up since 12:00");
}

Test(netlink, all_255_nodes_are_listed_in_order_with_the_longest_names)
{
	char name[NET_NODE_NAME_MAX + 1];

	for (unsigned n = 0; n < NODE_MAX; n++) {
		if (n == 3)
			continue;
		snprintf(name, sizeof(name), "%064u", n);
		nlfake_add(f, n, name, 0x0a010000 + n, false, "waiting for a connection that takes long");
	}
	list();
	cr_assert_eq(listed, NODE_MAX);
	for (unsigned n = 0; n < NODE_MAX; n++)
		cr_assert_eq(rows[n].node.number, n);
	cr_assert_eq(strlen(rows[254].node.name), NET_NODE_NAME_MAX);
}

static struct net_node row(unsigned number, const char *name, uint32_t addr)
{
	struct net_node n = { .number = (node_t)number, .port = 17777, .addr = addr };

	snprintf(n.name, sizeof(n.name), "%s", name);
	return n;
}

Test(netlink, a_node_is_added_and_removed)
{
	struct net_node n = row(9, "new", 0x0a000009);

	cr_assert_eq(net_nlc_node_add(c, &d, &n, NULL), 0);
	list();
	cr_assert_eq(listed, 2);
	cr_assert_eq(rows[1].node.number, 9);
	cr_assert_eq(rows[1].node.port, 17777);
	cr_assert_eq(rows[1].node.addr, 0x0a000009);
	cr_assert_str_eq(rows[1].node.name, "new");
	cr_assert_eq(net_nlc_node_remove(c, &d, 9, NULL), 0);
	list();
	cr_assert_eq(listed, 1);
	cr_assert_eq(counter("changes"), 2);
}

Test(netlink, a_refused_change_comes_back_with_error_and_sentence)
{
	struct net_node n = row(9, "new", 0x0a000003);
	struct reason why = { 0 };

	nlfake_add(f, 7, "gamma", 0x0a000007, true, NULL);
	cr_assert_eq(net_nlc_node_add(c, &d, &n, &why), -EEXIST);
	cr_assert(strstr(why.text, "address 10.0.0.3 is in use by node 3 (node3)"), "%s", why.text);
	why.text[0] = '\0';
	cr_assert_eq(net_nlc_node_remove(c, &d, 7, &why), -EBUSY);
	cr_assert(strstr(why.text, "live"), "%s", why.text);
	why.text[0] = '\0';
	cr_assert_eq(net_nlc_node_remove(c, &d, 3, &why), -EBUSY);
	cr_assert(strstr(why.text, "this host"), "%s", why.text);
	why.text[0] = '\0';
	cr_assert_eq(net_nlc_node_remove(c, &d, 200, &why), -ENOENT);
	cr_assert(strstr(why.text, "no node 200"), "%s", why.text);
	list();
	cr_assert_eq(listed, 2);
}

/* ---- status ------------------------------------------------------------------------------ */

static void expect_status(struct net_nlc *from, size_t bytes)
{
	struct json_object *o, *pad;
	struct reason why = { 0 };

	cr_assert_eq(net_nlc_status(from, &d, &o, &why), 0, "%s", why.text);
	cr_assert(json_object_object_get_ex(o, "pad", &pad));
	cr_assert_eq(json_object_array_length(pad), (bytes + 11) / 12);
	json_object_put(o);
}

Test(netlink, a_status_of_any_length_arrives_whole)
{
	static const size_t bytes[] = { 0, 8000, 8192, 100000, 1000000 };

	for (size_t i = 0; i < sizeof(bytes) / sizeof(bytes[0]); i++) {
		nlfake_status_bytes(f, bytes[i]);
		expect_status(c, bytes[i]);
	}
	nlfake_status_bytes(f, 0);
	cr_assert_eq(counter("dropped"), 0);
}

/* ---- raw messages ------------------------------------------------------------------------- */

struct raw {
	_Alignas(8) unsigned char buf[512];
	size_t len;
};

static struct raw raw_start(unsigned cmd, unsigned flags)
{
	struct raw m = { .len = NLMSG_HDRLEN + GENL_HDRLEN };
	struct nlmsghdr h = { .nlmsg_type = NET_NL_TYPE, .nlmsg_seq = 77,
			      .nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags) };
	struct genlmsghdr g = { .cmd = (uint8_t)cmd, .version = NET_NL_VERSION };

	memcpy(m.buf, &h, sizeof(h));
	memcpy(m.buf + NLMSG_HDRLEN, &g, sizeof(g));
	return m;
}

static size_t raw_attr(struct raw *m, unsigned type, const void *data, size_t len)
{
	struct nlattr a = { .nla_len = (uint16_t)(NLA_HDRLEN + len), .nla_type = (uint16_t)type };
	size_t at = m->len;

	memcpy(m->buf + at, &a, sizeof(a));
	if (len)
		memcpy(m->buf + at + NLA_HDRLEN, data, len);
	m->len += NLA_HDRLEN + NLA_ALIGN(len);
	return at;
}

/* Close a nest that was opened with raw_attr(type, NULL, 0). */
static void raw_close(struct raw *m, size_t at)
{
	struct nlattr a;

	memcpy(&a, m->buf + at, sizeof(a));
	a.nla_len = (uint16_t)(m->len - at);
	memcpy(m->buf + at, &a, sizeof(a));
}

static int raw_send(int fd, struct raw *m, uint32_t port, uint32_t groups)
{
	struct sockaddr_nl to = { .nl_family = AF_NETLINK, .nl_pid = port, .nl_groups = groups };
	uint32_t len = (uint32_t)m->len;

	memcpy(m->buf, &len, sizeof(len));
	return (int)sendto(fd, m->buf, m->len, 0, (struct sockaddr *)&to, sizeof(to));
}

/* The answer is NLMSG_ERROR with this error, and a sentence with this in it. */
static void expect_error(int fd, int err, const char *part)
{
	_Alignas(8) unsigned char buf[2048];
	struct pollfd p = { .fd = fd, .events = POLLIN };
	struct nlmsghdr *h = (void *)buf;
	struct nlmsgerr *e = (void *)(buf + NLMSG_HDRLEN);
	size_t head = NLMSG_HDRLEN + sizeof(*e);
	struct nlattr a;
	ssize_t n;

	cr_assert_eq(poll(&p, 1, 5000), 1, "no answer where \"%s\" is due", part);
	n = recv(fd, buf, sizeof(buf) - 1, 0);
	cr_assert_geq(n, (ssize_t)(head + NLA_HDRLEN));
	buf[n] = '\0';
	memcpy(&a, buf + head, sizeof(a));
	cr_assert_eq(h->nlmsg_type, NLMSG_ERROR);
	cr_assert_eq(h->nlmsg_seq, 77);
	cr_assert(h->nlmsg_flags & NLM_F_ACK_TLVS);
	cr_assert_eq(a.nla_type, NLMSGERR_ATTR_MSG);
	cr_assert(strstr((char *)buf + head + NLA_HDRLEN, part), "\"%s\" lacks \"%s\"",
		  buf + head + NLA_HDRLEN, part);
	cr_assert_eq(e->error, err, "%d: %s", e->error, buf + head + NLA_HDRLEN);
}

static void refused(struct raw m, int err, const char *part)
{
	int fd = raw_socket(false);

	cr_assert_eq(raw_send(fd, &m, d.port, 0), (int)m.len);
	expect_error(fd, err, part);
	close(fd);
}

static const uint8_t nine = 9;
static const uint32_t nine32 = 9, addr9 = 0x0900000a;

/* NODE_ADD of node 9, with one more attribute in NODE, or without one of its own. */
static struct raw add9(unsigned without, unsigned type, const void *data, size_t len)
{
	struct raw m = raw_start(NET_NL_CMD_NODE_ADD, NLM_F_ACK);
	size_t nest = raw_attr(&m, NET_NL_A_NODE, NULL, 0);

	if (without != NET_NL_N_NUMBER)
		raw_attr(&m, NET_NL_N_NUMBER, &nine, 1);
	if (without != NET_NL_N_NAME)
		raw_attr(&m, NET_NL_N_NAME, "nine", 5);
	if (without != NET_NL_N_ADDR)
		raw_attr(&m, NET_NL_N_ADDR, &addr9, 4);
	if (type)
		raw_attr(&m, type, data, len);
	raw_close(&m, nest);
	return m;
}

Test(netlink, attributes_that_are_malformed_missing_or_meaningless_are_refused_by_name)
{
	static const uint16_t port0 = 0, port = 65535;
	char longname[80];
	struct raw m;

	memset(longname, 'x', sizeof(longname));
	longname[79] = '\0';
	refused(add9(NET_NL_N_NUMBER, 0, NULL, 0), -EINVAL, "lacks NUMBER");
	refused(add9(NET_NL_N_NAME, 0, NULL, 0), -EINVAL, "lacks NAME");
	refused(add9(NET_NL_N_ADDR, 0, NULL, 0), -EINVAL, "lacks ADDR");
	refused(add9(NET_NL_N_NUMBER, NET_NL_N_NUMBER, &nine32, 4), -EINVAL, "NODE.NUMBER");
	refused(add9(NET_NL_N_NUMBER, NET_NL_N_NUMBER, NULL, 0), -EINVAL, "NODE.NUMBER");
	refused(add9(NET_NL_N_ADDR, NET_NL_N_ADDR, &addr9, 3), -EINVAL, "NODE.ADDR");
	refused(add9(NET_NL_N_NAME, NET_NL_N_NAME, "nine", 4), -EINVAL, "NODE.NAME");
	refused(add9(NET_NL_N_NAME, NET_NL_N_NAME, "", 0), -EINVAL, "NODE.NAME");
	refused(add9(NET_NL_N_NAME, NET_NL_N_NAME, "", 1), -EINVAL, "name is not usable");
	refused(add9(NET_NL_N_NAME, NET_NL_N_NAME, "a\nb", 4), -EINVAL, "name is not usable");
	refused(add9(NET_NL_N_NAME, NET_NL_N_NAME, longname, 80), -EINVAL, "NODE.NAME");
	refused(add9(0, NET_NL_N_NAME, "again", 6), -EINVAL, "NODE.NAME is repeated");
	refused(add9(0, NET_NL_N_PORT, &port, 2), -EINVAL, "1..65534");
	refused(add9(0, NET_NL_N_PORT, &port0, 2), -EINVAL, "1..65534");
	refused(add9(0, NET_NL_N_FLAGS, &nine32, 4), -EINVAL, "cannot be set");
	refused(add9(0, 99, &nine, 1), -EINVAL, "attribute 99 is not known");
	refused(raw_start(NET_NL_CMD_NODE_ADD, 0), -EINVAL, "NODE is missing");
	refused(raw_start(NET_NL_CMD_NODE_GET, 0), -EINVAL, "NODE is missing");
	m = raw_start(NET_NL_CMD_HELLO, 0);
	raw_attr(&m, 60, NULL, 0);
	refused(m, -EINVAL, "attribute 60 is not known");
	m = raw_start(NET_NL_CMD_HELLO, 0);
	raw_attr(&m, NET_NL_A_SELF, &nine, 1);
	refused(m, -EINVAL, "attribute 2 means nothing to command 1");
	m = add9(0, 0, NULL, 0);
	m.buf[NLMSG_HDRLEN + GENL_HDRLEN] = 3; /* length of NODE: shorter than its header */
	refused(m, -EINVAL, "bytes after the last attribute");
	m = add9(0, 0, NULL, 0);
	m.buf[NLMSG_HDRLEN + GENL_HDRLEN + 1] = 0xff; /* longer than the message */
	refused(m, -EINVAL, "bytes after the last attribute");
	list();
	cr_assert_eq(listed, 1);
	cr_assert_gt(counter("malformed"), 0);
	cr_assert_eq(counter("changes"), 0);
}

Test(netlink, a_request_without_port_gets_the_usual_one)
{
	struct raw m = add9(0, 0, NULL, 0);
	int fd = raw_socket(false);

	cr_assert_eq(raw_send(fd, &m, d.port, 0), (int)m.len);
	cr_assert_eq(recv(fd, m.buf, sizeof(m.buf), 0), NLMSG_HDRLEN + sizeof(struct nlmsgerr));
	list();
	cr_assert_eq(listed, 2);
	cr_assert_eq(rows[1].node.port, 7777);
	close(fd);
}

Test(netlink, versions_commands_and_flags_that_are_unknown_are_refused)
{
	struct raw m = raw_start(NET_NL_CMD_HELLO, 0);

	m.buf[NLMSG_HDRLEN + 1] = NET_NL_VERSION + 1;
	refused(m, -EPROTONOSUPPORT, "version 2");
	refused(raw_start(0, 0), -EOPNOTSUPP, "command 0");
	refused(raw_start(99, 0), -EOPNOTSUPP, "command 99");
	refused(raw_start(NET_NL_CMD_EVENT, 0), -EOPNOTSUPP, "is an event");
	refused(raw_start(NET_NL_CMD_HELLO, 0x8000), -EINVAL, "flags 0x8000");
}

Test(netlink, changes_do_not_go_to_the_group)
{
	struct raw m = add9(0, 0, NULL, 0);
	int fd = raw_socket(false);

	raw_send(fd, &m, 0, 1u << (NET_NL_GROUP_DAEMONS - 1));
	expect_error(fd, -EINVAL, "not to the group");
	close(fd);
	list();
	cr_assert_eq(listed, 1);
}

Test(netlink, what_is_no_request_of_ours_is_counted_and_never_answered)
{
	struct raw m = raw_start(NET_NL_CMD_HELLO, 0), odd;
	int fd = raw_socket(false);
	struct pollfd p = { .fd = fd, .events = POLLIN };
	struct sockaddr_nl to = { .nl_family = AF_NETLINK, .nl_pid = d.port };

	odd = m;
	odd.buf[6] = 0; /* no NLM_F_REQUEST: an answer */
	raw_send(fd, &odd, d.port, 0);
	odd = m;
	odd.buf[4] = 1; /* another type */
	raw_send(fd, &odd, d.port, 0);
	cr_assert_eq(sendto(fd, "x", 1, 0, (struct sockaddr *)&to, sizeof(to)), 1);
	cr_assert_eq(sendto(fd, m.buf, 16, 0, (struct sockaddr *)&to, sizeof(to)), 16);
	odd = m;
	odd.buf[0] = (unsigned char)(m.len + 4); /* longer than the datagram */
	cr_assert_eq(sendto(fd, odd.buf, m.len, 0, (struct sockaddr *)&to, sizeof(to)),
		     (ssize_t)m.len);
	cr_assert_eq(counter("foreign"), 5); /* and what came before it has been handled */
	cr_assert_eq(poll(&p, 1, 0), 0);
	close(fd);
}

/* ---- who may ---------------------------------------------------------------------------------- */

static int nobody_changes(void)
{
	struct net_node n = row(9, "new", 0x0a000009);
	struct reason why = { 0 };
	struct json_object *locks;
	struct net_nlc *mine;

	if (net_nlc_open(10000, &mine, NULL) || net_nlc_nodes(mine, &d, take, &listed, NULL))
		return 1;
	if (net_nlc_node_add(mine, &d, &n, &why) != -EPERM || !strstr(why.text, "only root"))
		return 2;
	if (!strstr(why.text, "uid 65534"))
		return 3;
	if (net_nlc_node_remove(mine, &d, 7, NULL) != -EPERM)
		return 4;
	why = (struct reason){ 0 };
	if (net_nlc_locks(mine, &d, &(struct net_nl_locks){ 0 }, &locks, &why) != -EPERM ||
	    !strstr(why.text, "look into the lock manager"))
		return 6;
	if (net_nlc_listen(mine, &why) != -EPERM)
		return 5;
	expect_status(mine, 0);
	return 0;
}

Test(netlink, others_than_root_may_read_but_not_change_nor_listen)
{
	nlfake_add(f, 7, "gamma", 0x0a000007, false, NULL);
	cr_assert_eq(as_nobody(nobody_changes), 0);
	list();
	cr_assert_eq(listed, 2);
}

/* Says it is uid 0: the kernel refuses to carry that. */
static int nobody_lies(void)
{
	struct raw m = add9(0, 0, NULL, 0);
	struct sockaddr_nl to = { .nl_family = AF_NETLINK, .nl_pid = d.port };
	struct ucred lie = { .pid = getpid(), .uid = 0, .gid = 0 };
	union {
		struct cmsghdr h;
		char buf[CMSG_SPACE(sizeof(lie))];
	} ctl = { .h = { .cmsg_len = CMSG_LEN(sizeof(lie)), .cmsg_level = SOL_SOCKET,
			 .cmsg_type = SCM_CREDENTIALS } };
	struct iovec iov = { m.buf, m.len };
	struct msghdr msg = { .msg_name = &to, .msg_namelen = sizeof(to), .msg_iov = &iov,
			      .msg_iovlen = 1, .msg_control = ctl.buf,
			      .msg_controllen = sizeof(ctl.buf) };
	uint32_t len = (uint32_t)m.len;

	memcpy(m.buf, &len, sizeof(len));
	memcpy(CMSG_DATA(&ctl.h), &lie, sizeof(lie));
	return sendmsg(raw_socket(false), &msg, 0) < 0 && errno == EPERM ? 0 : 1;
}

Test(netlink, credentials_cannot_be_made_up)
{
	cr_assert_eq(as_nobody(nobody_lies), 0);
	list();
	cr_assert_eq(listed, 1);
}

/* ---- forgeries --------------------------------------------------------------------------------- */

static int liar_pipe[2];

/* A process of nobody that answers whatever it is asked with the right number: "done". */
static int liar(void)
{
	int fd = raw_socket(false);
	uint32_t port = raw_port(fd);
	_Alignas(8) unsigned char buf[2048];
	struct sockaddr_nl from;
	socklen_t len = sizeof(from);
	struct pollfd p = { .fd = fd, .events = POLLIN };
	struct {
		struct nlmsghdr h;
		struct nlmsgerr e;
	} ack = { .h = { .nlmsg_len = sizeof(ack), .nlmsg_type = NLMSG_ERROR } };

	if (write(liar_pipe[1], &port, sizeof(port)) != sizeof(port) || poll(&p, 1, 10000) != 1 ||
	    recvfrom(fd, buf, sizeof(buf), 0, (struct sockaddr *)&from, &len) < NLMSG_HDRLEN)
		return 1;
	memcpy(&ack.h.nlmsg_seq, buf + 8, 4);
	if (sendto(fd, &ack, sizeof(ack), 0, (struct sockaddr *)&from, len) != sizeof(ack))
		return 2;
	/* Stay until the other end has decided. */
	return read(liar_pipe[0], buf, 1) == 1 ? 0 : 3;
}

Test(netlink, an_acknowledgement_that_is_not_from_root_is_ignored)
{
	struct net_node n = row(9, "new", 0x0a000009);
	struct net_nlc_daemon fake = d;
	struct net_nlc *hasty;
	struct reason why = { 0 };
	int down[2], up[2], status;
	pid_t pid;

	cr_assert_eq(pipe(down), 0);
	cr_assert_eq(pipe(up), 0);
	liar_pipe[0] = down[0];
	liar_pipe[1] = up[1];
	pid = fork();
	if (pid == 0) {
		close(down[1]); /* so that it ends with us */
		close(up[0]);
		if (setgid(65534) || setuid(65534))
			_exit(99);
		_exit(liar());
	}
	close(down[0]);
	close(up[1]);
	cr_assert_eq(read(up[0], &fake.port, sizeof(fake.port)), sizeof(fake.port));
	cr_assert_eq(net_nlc_open(300, &hasty, NULL), 0);
	cr_assert_eq(net_nlc_node_add(hasty, &fake, &n, &why), -ETIMEDOUT);
	cr_assert(strstr(why.text, "no answer"), "%s", why.text);
	cr_assert_eq(write(down[1], "x", 1), 1);
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert_eq(status, 0, "the forger itself failed");
	net_nlc_close(hasty);
}

static uint32_t victim_port, victim_seq;

/* What would be an answer if root sent it, with all the numbers that it could have. */
static int flood(void)
{
	int fd = raw_socket(false);
	struct raw m = raw_start(NET_NL_CMD_HELLO, 0);

	m.buf[6] = 0;
	raw_attr(&m, NET_NL_A_CLUSTER, "evil", 5);
	raw_attr(&m, NET_NL_A_SELF, &nine, 1);
	raw_attr(&m, NET_NL_A_SELF_NAME, "evil", 5);
	raw_attr(&m, NET_NL_A_VERSION, "1", 2);
	fcntl(fd, F_SETFL, O_NONBLOCK);
	for (uint32_t i = 0; i < 200; i++, victim_seq++) {
		memcpy(m.buf + 8, &victim_seq, 4);
		if (raw_send(fd, &m, victim_port, 0) < 0 && errno != EAGAIN)
			return 1;
	}
	return 0;
}

Test(netlink, forged_answers_to_the_search_are_ignored)
{
	struct net_nlc_daemon *all;
	struct net_nlc *victim;
	size_t n, silent;
	char line[256];
	FILE *p;
	unsigned proto, port;

	/* The victim's is then the only socket beside the server's. */
	net_nlc_close(c);
	c = NULL;
	victim_seq = (uint32_t)now_ms();
	cr_assert_eq(net_nlc_open(5000, &victim, NULL), 0);
	p = fopen("/proc/net/netlink", "r");
	cr_assert_not_null(p);
	while (fgets(line, sizeof(line), p))
		if (sscanf(line, "%*x %u %u", &proto, &port) == 2 && proto == NETLINK_USERSOCK &&
		    port && port != d.port)
			victim_port = port;
	fclose(p);
	cr_assert_neq(victim_port, 0);
	cr_assert_eq(as_nobody(flood), 0);
	cr_assert_eq(net_nlc_find(victim, &all, &n, &silent, NULL), 0);
	cr_assert_eq(n, 1);
	cr_assert_str_eq(all[0].cluster, "web");
	free(all);
	net_nlc_close(victim);
}

/* ---- floods, slow readers ------------------------------------------------------------------------ */

static int ask_much(void)
{
	struct net_nlc *mine;
	struct reason why = { 0 };

	if (net_nlc_open(10000, &mine, NULL))
		return 1;
	for (unsigned i = 0; i < 2000; i++) {
		struct json_object *o;
		int err = net_nlc_status(mine, &d, &o, &why);

		if (err == -EAGAIN)
			return strstr(why.text, "users other than root") ? 0 : 2;
		if (err)
			return 3;
		json_object_put(o);
	}
	return 4;
}

Test(netlink, others_than_root_are_limited_and_root_is_not)
{
	cr_assert_eq(as_nobody(ask_much), 0);
	for (unsigned i = 0; i < 500; i++)
		list();
	cr_assert_geq(counter("limited"), 1);
}

Test(netlink, who_reads_slowly_gets_all_in_order_and_hinders_nobody)
{
	struct raw m = raw_start(NET_NL_CMD_STATUS_GET, NLM_F_DUMP);
	_Alignas(8) static unsigned char buf[65536];
	struct nlmsghdr *h = (void *)buf;
	char *text = calloc(1, 1 << 21);
	struct json_object *o, *pad;
	size_t len = 0, parts = 0;
	int fd = raw_socket(false), small = 4096;

	nlfake_status_bytes(f, 1000000);
	cr_assert_eq(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)), 0);
	raw_send(fd, &m, d.port, 0);
	for (unsigned i = 0; i < 5; i++)
		list();
	for (;; parts++) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		ssize_t n;

		cr_assert_eq(poll(&p, 1, 5000), 1, "after %zu parts", parts);
		n = recv(fd, buf, sizeof(buf), 0);
		cr_assert_gt(n, NLMSG_HDRLEN);
		if (h->nlmsg_type == NLMSG_DONE)
			break;
		n -= NLMSG_HDRLEN + GENL_HDRLEN + NLA_HDRLEN;
		cr_assert_lt(len + (size_t)n, 1 << 21);
		memcpy(text + len, buf + NLMSG_HDRLEN + GENL_HDRLEN + NLA_HDRLEN, (size_t)n);
		len += (size_t)n;
	}
	cr_assert_gt(parts, 100);
	o = json_tokener_parse(text);
	cr_assert(json_object_object_get_ex(o, "pad", &pad));
	cr_assert_eq(json_object_array_length(pad), (1000000 + 11) / 12);
	json_object_put(o);
	free(text);
	close(fd);
}

Test(netlink, answers_to_one_that_left_are_dropped)
{
	struct raw m = raw_start(NET_NL_CMD_STATUS_GET, NLM_F_DUMP);
	int fd = raw_socket(false), small = 4096;
	int64_t until = now_ms() + 4000;

	nlfake_status_bytes(f, 1000000);
	cr_assert_eq(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)), 0);
	raw_send(fd, &m, d.port, 0);
	list(); /* answered in order: the status has been made */
	nlfake_status_bytes(f, 0);
	close(fd);
	while (!counter("dropped"))
		cr_assert_lt(now_ms(), until, "still queued");
	expect_status(c, 0);
}

/* ---- events --------------------------------------------------------------------------------------- */

static void next_event(struct net_nlc_event *ev)
{
	struct reason why = { 0 };

	cr_assert_eq(net_nlc_event_next(c, 5000, ev, &why), 0, "%s", why.text);
}

Test(netlink, events_arrive_with_cluster_process_node_and_words)
{
	struct net_nlc_event ev;
	struct timespec ts;

	nlfake_event(f, "mounted", NODE_NONE, "");
	cr_assert_eq(net_nlc_listen(c, NULL), 0);
	nlfake_add(f, 7, "gamma", 0x0a000007, false, NULL);
	nlfake_event(f, "node-up", 7, "slot=1 why=heartbeat");
	nlfake_event(f, "fenced", NODE_NONE, "why=quorum");
	next_event(&ev);
	cr_assert_str_eq(ev.name, "node-up");
	cr_assert_str_eq(ev.cluster, "web");
	cr_assert_str_eq(ev.node_name, "gamma");
	cr_assert_str_eq(ev.words, "slot=1 why=heartbeat");
	cr_assert_eq(ev.node, 7);
	cr_assert_eq(ev.pid, getpid());
	cr_assert_eq(ev.seq, 2);
	cr_assert_eq(ev.lost, 0, "what was before listening is not lost");
	clock_gettime(CLOCK_REALTIME, &ts);
	cr_assert_lt((uint64_t)ts.tv_sec - ev.time_ns / 1000000000u, 10u);
	next_event(&ev);
	cr_assert_str_eq(ev.name, "fenced");
	cr_assert_eq(ev.node, NODE_NONE);
	cr_assert_str_eq(ev.node_name, "");
	cr_assert_eq(ev.lost, 0);
	cr_assert_eq(net_nlc_event_next(c, 50, &ev, NULL), -ETIMEDOUT);
}

static int forge_event(void)
{
	int fd = raw_socket(false);
	struct raw m = raw_start(NET_NL_CMD_EVENT, 0);
	static const uint64_t one = 1;
	size_t nest;

	m.buf[6] = 0;
	raw_attr(&m, NET_NL_A_CLUSTER, "web", 4);
	nest = raw_attr(&m, NET_NL_A_EVENT, NULL, 0);
	raw_attr(&m, NET_NL_E_NAME, "fenced", 7);
	raw_attr(&m, NET_NL_E_SEQ, &one, 8);
	raw_attr(&m, NET_NL_E_TIME, &one, 8);
	raw_attr(&m, NET_NL_E_WORDS, "forged", 7);
	raw_close(&m, nest);
	raw_send(fd, &m, 0, 1u << (NET_NL_GROUP_EVENTS - 1));
	return 0;
}

Test(netlink, events_that_are_not_from_root_are_ignored)
{
	struct net_nlc_event ev;

	cr_assert_eq(net_nlc_listen(c, NULL), 0);
	cr_assert_eq(as_nobody(forge_event), 0);
	nlfake_event(f, "mounted", NODE_NONE, "");
	next_event(&ev);
	cr_assert_str_eq(ev.name, "mounted");
	forge_event(); /* the same from root is taken: it was well made */
	next_event(&ev);
	cr_assert_str_eq(ev.words, "forged");
}

Test(netlink, lost_events_are_counted)
{
	struct net_nlc_event ev;
	uint64_t seen = 0, lost = 0;

	cr_assert_eq(net_nlc_listen(c, NULL), 0);
	nlfake_event(f, "first", NODE_NONE, "");
	/* More than the buffer of the listener holds. */
	for (unsigned i = 0; i < 20000; i++)
		nlfake_event(f, "many", NODE_NONE, "");
	while (!net_nlc_event_next(c, 200, &ev, NULL)) {
		seen++;
		lost += ev.lost;
	}
	nlfake_event(f, "last", NODE_NONE, "");
	next_event(&ev);
	cr_assert_str_eq(ev.name, "last");
	seen++;
	lost += ev.lost;
	cr_assert_eq(seen + lost, 20002);
	cr_assert_gt(lost, 0);
}
