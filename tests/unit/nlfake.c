// SPDX-License-Identifier: GPL-2.0-or-later
/* nlfake.c: see nlfake.h. One mutex covers the table and the server. */
#include <json-c/json.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>
#include "tests/unit/nlfake.h"

struct nlfake {
	struct net_nl *nl;
	struct net_nodes *t;
	uint8_t alive[32];
	char link[NODE_MAX][64];
	size_t status_bytes;
	int stop_fd;
	int64_t due_ms;		/* of net_nl_tick; -1 = not set */
	pthread_t thread;
	pthread_mutex_t mutex;
};

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static int node_add(void *ctx, const struct net_node *node, struct reason *why)
{
	struct nlfake *f = ctx;

	return net_nodes_add(f->t, node, why);
}

static int node_remove(void *ctx, node_t number, struct reason *why)
{
	struct nlfake *f = ctx;

	return net_nodes_remove(f->t, number, f->alive, why);
}

static bool node_next(void *ctx, unsigned from, struct net_nl_node *out)
{
	struct nlfake *f = ctx;
	const struct net_node *n = net_nodes_next(f->t, from);

	if (!n)
		return false;
	out->node = *n;
	out->alive = f->alive[n->number / 8] & 1u << n->number % 8;
	out->connected = out->alive;
	out->member = n->local;
	out->link_state = f->link[n->number][0] ? f->link[n->number] : NULL;
	return true;
}

static struct json_object *status(void *ctx)
{
	struct nlfake *f = ctx;
	struct json_object *o = json_object_new_object(), *pad;
	char word[32];

	json_object_object_add(o, "nodes", json_object_new_int((int)net_nodes_count(f->t)));
	net_nl_status(f->nl, o);
	pad = json_object_new_array();
	for (size_t n = 0; n < f->status_bytes; n += 12) {
		snprintf(word, sizeof(word), "%09zu", n);
		json_object_array_add(pad, json_object_new_string(word));
	}
	json_object_object_add(o, "pad", pad);
	return o;
}

/* 1000 resources r0, r1, ...; every tenth waits, for 7 s. Pages of 300. */
static struct json_object *locks(void *ctx, const struct net_nl_locks *which)
{
	struct json_object *o = json_object_new_object(), *list = json_object_new_array();
	uint32_t seen = 0, taken = 0;
	char name[16];

	(void)ctx;
	for (int i = 0; i < 1000; i++) {
		struct json_object *r;

		snprintf(name, sizeof(name), "r%d", i);
		if (!strstr(name, which->name) || (which->stuck_s && (i % 10 || which->stuck_s > 7)))
			continue;
		if (seen++ < which->from)
			continue;
		if (taken == 300) {
			json_object_object_add(o, "next", json_object_new_uint64(which->from + 300));
			break;
		}
		taken++;
		r = json_object_new_object();
		json_object_object_add(r, "name", json_object_new_string(name));
		json_object_object_add(r, "owner", json_object_new_int(3));
		json_object_array_add(list, r);
	}
	json_object_object_add(o, "resources", list);
	return o;
}

static void timer(void *ctx, uint32_t ms)
{
	struct nlfake *f = ctx;

	f->due_ms = now_ms() + ms;
}

static const struct net_nl_ops ops = { node_add, node_remove, node_next, status, locks, timer };

static void *serve(void *arg)
{
	struct nlfake *f = arg;

	for (;;) {
		struct pollfd p[2] = { { .fd = net_nl_fd(f->nl), .events = POLLIN },
				       { .fd = f->stop_fd, .events = POLLIN } };
		int wait = -1;

		pthread_mutex_lock(&f->mutex);
		if (f->due_ms >= 0)
			wait = f->due_ms > now_ms() ? (int)(f->due_ms - now_ms()) : 0;
		pthread_mutex_unlock(&f->mutex);
		poll(p, 2, wait);
		if (p[1].revents)
			return NULL;
		pthread_mutex_lock(&f->mutex);
		if (p[0].revents)
			net_nl_readable(f->nl);
		if (f->due_ms >= 0 && f->due_ms <= now_ms()) {
			f->due_ms = -1;
			net_nl_tick(f->nl);
		}
		pthread_mutex_unlock(&f->mutex);
	}
}

static void die(const char *what, const struct reason *why)
{
	fprintf(stderr, "nlfake: %s %s\n", what, why ? why->text : "");
	_exit(2);
}

struct nlfake *nlfake_start(const char *cluster, node_t self)
{
	struct nlfake *f = calloc(1, sizeof(*f));
	struct net_node local = { .number = self, .port = NET_PORT_DEFAULT,
				  .addr = 0x0a000000u + self, .local = true };
	struct net_nl_config cfg = { .cluster = cluster, .self = self, .node_name = local.name,
				     .ops = &ops, .ctx = f };
	struct reason why = { 0 };

	if (!f || net_nodes_new(&f->t))
		die("memory", NULL);
	snprintf(local.name, sizeof(local.name), "node%u", self);
	f->due_ms = -1;
	f->stop_fd = eventfd(0, EFD_CLOEXEC);
	f->alive[self / 8] |= (uint8_t)(1u << self % 8);
	pthread_mutex_init(&f->mutex, NULL);
	if (net_nodes_add(f->t, &local, &why) || net_nl_open(&cfg, &f->nl, &why))
		die("start", &why);
	if (pthread_create(&f->thread, NULL, serve, f))
		die("thread", NULL);
	return f;
}

void nlfake_stop(struct nlfake *f)
{
	if (!f)
		return;
	if (eventfd_write(f->stop_fd, 1))
		die("stop", NULL);
	pthread_join(f->thread, NULL);
	net_nl_close(f->nl);
	net_nodes_free(f->t);
	close(f->stop_fd);
	free(f);
}

void nlfake_add(struct nlfake *f, unsigned number, const char *name, uint32_t addr, bool alive,
		const char *link_state)
{
	struct net_node n = { .number = (node_t)number, .port = NET_PORT_DEFAULT, .addr = addr };
	struct reason why = { 0 };

	snprintf(n.name, sizeof(n.name), "%s", name);
	pthread_mutex_lock(&f->mutex);
	if (net_nodes_add(f->t, &n, &why))
		die("add", &why);
	if (alive)
		f->alive[number / 8] |= (uint8_t)(1u << number % 8);
	snprintf(f->link[number], sizeof(f->link[number]), "%s", link_state ? link_state : "");
	pthread_mutex_unlock(&f->mutex);
}

void nlfake_status_bytes(struct nlfake *f, size_t bytes)
{
	pthread_mutex_lock(&f->mutex);
	f->status_bytes = bytes;
	pthread_mutex_unlock(&f->mutex);
}

void nlfake_event(struct nlfake *f, const char *name, node_t node, const char *words)
{
	pthread_mutex_lock(&f->mutex);
	net_nl_event(f->nl, name, node, words);
	pthread_mutex_unlock(&f->mutex);
}
