/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test-lockstress.c: lock cache, downconvert workers, dlmlink and the DLM core of several
 * nodes under random load, each node with its own reactor thread; messages go through
 * memory. Checked all the time: no two nodes hold incompatible levels, and every holder
 * sees the value that the last EX holder of any node left (through the value block).
 *
 * SEED=n repeats the choices, not the interleaving. A plain program that prints TAP:
 * Criterion does not run under TSan, for which this is meant above all.
 */
#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "dlm/util/bytes.h"
#include "fs/cluster/clu_int.h"

enum { NODES_MAX = 4, RESOURCES = 6, TASKS = 3, LIMIT_S = 120, NODE_BASE = 1 };

/* ---- a reactor whose wires are memory --------------------------------------------------- */

enum event_kind { POST, MESSAGE, SENT, WRITTEN };

struct event {
	struct event *next;
	enum event_kind kind;
	void (*fn)(void *arg);
	void *arg;
	node_t from;
	uint32_t key;
	uint16_t type;
	int32_t status;
	int err;
	uint64_t token;
	size_t len;
	uint8_t payload[];
};

struct queue {
	struct event *head, **tail;
};

struct timer {
	struct timer *next;
	uint64_t id;
	struct timespec due;
};

struct net {
	node_t self;
	struct dlm *dlm;
	struct dlm_domain *dom;
	pthread_t thread;
	pthread_mutex_t mutex;
	pthread_cond_t cond;
	struct queue in;
	bool quit;
	/* reactor only */
	bool handling;
	struct held {
		node_t to;
		struct event *e;
		struct held *next;
	} *held, **held_tail;
	struct timer *timers;
	bool joined, left;
	unsigned random;
};

static void must(bool ok, const char *what)
{
	if (ok)
		return;
	printf("# failed: %s\n", what);
	fflush(stdout);
	abort();
}

static struct net *nets[NODES_MAX + NODE_BASE];
static unsigned n_nodes;

static struct event *event(enum event_kind kind, const void *payload, size_t len)
{
	struct event *e = calloc(1, sizeof(*e) + len);

	assert(e);
	e->kind = kind;
	e->len = len;
	if (len)
		memcpy(e->payload, payload, len);
	return e;
}

static void enqueue(struct net *net, struct event *e)
{
	pthread_mutex_lock(&net->mutex);
	*net->in.tail = e;
	net->in.tail = &e->next;
	pthread_cond_broadcast(&net->cond);
	pthread_mutex_unlock(&net->mutex);
}

void net_post(struct net *net, void (*fn)(void *arg), void *arg)
{
	struct event *e = event(POST, NULL, 0);

	e->fn = fn;
	e->arg = arg;
	enqueue(net, e);
}

static void tr_send(void *ctx, uint64_t token, node_t to, uint32_t key, uint16_t type,
		    const void *payload, size_t len)
{
	struct net *net = ctx;
	struct event *e = event(MESSAGE, payload, len);
	struct held *h;

	e->from = net->self;
	e->key = key;
	e->type = type;
	e->token = token;
	if (!net->handling) {
		enqueue(nets[to], e);
		return;
	}
	/* The reply to what is being handled goes first. */
	h = calloc(1, sizeof(*h));
	assert(h);
	h->to = to;
	h->e = e;
	*net->held_tail = h;
	net->held_tail = &h->next;
}

static void handle(struct net *net, struct event *e)
{
	struct event *sent = event(SENT, NULL, 0);
	struct dlm_reply r;

	net->held = NULL;
	net->held_tail = &net->held;
	net->handling = true;
	r = dlm_message(net->dlm, e->from, e->key, e->type, e->payload, e->len);
	net->handling = false;
	sent->token = e->token;
	sent->err = r.sys_status ? -EPROTO : 0;
	sent->status = r.status;
	enqueue(nets[e->from], sent);
	while (net->held) {
		struct held *h = net->held;

		net->held = h->next;
		enqueue(nets[h->to], h->e);
		free(h);
	}
	if (r.written_token)
		dlm_reply_written(net->dlm, r.written_token);
}

static void tr_timer_clear(void *ctx, uint64_t id)
{
	struct net *net = ctx;

	for (struct timer **p = &net->timers; *p; p = &(*p)->next) {
		if ((*p)->id == id) {
			struct timer *t = *p;

			*p = t->next;
			free(t);
			return;
		}
	}
}

static bool later(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec != b->tv_sec ? a->tv_sec > b->tv_sec : a->tv_nsec > b->tv_nsec;
}

static void tr_timer_set(void *ctx, uint64_t id, uint32_t ms)
{
	struct net *net = ctx;
	struct timer *t = calloc(1, sizeof(*t)), **p = &net->timers;

	assert(t);
	tr_timer_clear(net, id);
	t->id = id;
	clock_gettime(CLOCK_REALTIME, &t->due);
	t->due.tv_sec += ms / 1000;
	t->due.tv_nsec += ms % 1000 * 1000000L;
	if (t->due.tv_nsec >= 1000000000L) {
		t->due.tv_nsec -= 1000000000L;
		t->due.tv_sec++;
	}
	while (*p && later(&t->due, &(*p)->due))
		p = &(*p)->next;
	t->next = *p;
	*p = t;
}

static uint32_t tr_random(void *ctx, uint32_t bound)
{
	struct net *net = ctx;

	return (uint32_t)rand_r(&net->random) % bound;
}

static void tr_key(void *ctx, uint32_t key)
{
	(void)ctx;
	(void)key;
}

static void tr_fence(void *ctx, const char *domain, const char *why)
{
	(void)ctx;
	fprintf(stderr, "# the core gave up: %s: %s\n", domain, why);
	abort();
}

static const struct dlm_transport transport = {
	.send = tr_send, .timer_set = tr_timer_set, .timer_clear = tr_timer_clear,
	.random = tr_random, .key_open = tr_key, .key_close = tr_key, .fence = tr_fence,
};

static struct event *next_event(struct net *net)
{
	struct timespec now;
	struct event *e;

	pthread_mutex_lock(&net->mutex);
	for (;;) {
		e = net->in.head;
		if (e || net->quit)
			break;
		if (!net->timers) {
			pthread_cond_wait(&net->cond, &net->mutex);
		} else {
			clock_gettime(CLOCK_REALTIME, &now);
			if (!later(&net->timers->due, &now))
				break;
			pthread_cond_timedwait(&net->cond, &net->mutex, &net->timers->due);
		}
	}
	if (e) {
		net->in.head = e->next;
		if (!e->next)
			net->in.tail = &net->in.head;
	}
	pthread_mutex_unlock(&net->mutex);
	return e;
}

static void *reactor(void *arg)
{
	struct net *net = arg;
	struct event *e;

	for (;;) {
		e = next_event(net);
		if (!e && net->quit && !net->in.head)
			return NULL;
		if (!e) {
			struct timer *t = net->timers;

			if (t) {
				net->timers = t->next;
				dlm_timer(net->dlm, t->id);
				free(t);
			}
			continue;
		}
		switch (e->kind) {
		case POST:
			e->fn(e->arg);
			break;
		case MESSAGE:
			handle(net, e);
			break;
		case SENT:
			dlm_sent(net->dlm, e->token, e->err, e->status);
			break;
		case WRITTEN:
			break;
		}
		free(e);
	}
}

/* ---- nodes ----------------------------------------------------------------------------------- */

static struct timespec limit(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	t.tv_sec += LIMIT_S;
	return t;
}

static void wait_flag(struct net *net, const bool *flag, const char *what)
{
	struct timespec until = limit();

	pthread_mutex_lock(&net->mutex);
	while (!*flag)
		must(!pthread_cond_timedwait(&net->cond, &net->mutex, &until), what);
	pthread_mutex_unlock(&net->mutex);
}

static void raise_flag(struct net *net, bool *flag)
{
	pthread_mutex_lock(&net->mutex);
	*flag = true;
	pthread_cond_broadcast(&net->cond);
	pthread_mutex_unlock(&net->mutex);
}

static void joined(void *ctx, struct dlm_domain *dom, int err, const char *why)
{
	struct net *net = ctx;

	if (err) {
		fprintf(stderr, "# join: %s\n", why);
		abort();
	}
	net->dom = dom;
	raise_flag(net, &net->joined);
}

static void left(void *ctx)
{
	struct net *net = ctx;

	raise_flag(net, &net->left);
}

static void evicted(void *ctx, node_t node)
{
	(void)ctx;
	(void)node;
	abort();
}

static void members(void *ctx, node_t node, bool is)
{
	(void)ctx;
	(void)node;
	(void)is;
}

static const struct dlm_domain_ops domain_ops = { joined, left, evicted, members };

static void see_all(void *arg)
{
	struct net *net = arg;

	for (unsigned n = 0; n < n_nodes; n++) {
		dlm_node_up(net->dlm, (node_t)(n + NODE_BASE));
		if (n + NODE_BASE != net->self)
			dlm_link_up(net->dlm, (node_t)(n + NODE_BASE), 1);
	}
}

static void start_join(void *arg)
{
	struct net *net = arg;
	struct dlm_domain_config dc = { .name = "STRESS", .fs_major = 1, .ops = &domain_ops,
					.ctx = net };
	struct dlm_domain *dom;

	must(!dlm_join(net->dlm, &dc, &dom), "join");
}

static void start_leave(void *arg)
{
	struct net *net = arg;

	dlm_leave(net->dom);
}

static void net_make(unsigned n)
{
	struct net *net = calloc(1, sizeof(*net));
	struct dlm_config cfg = { .self = (node_t)(n + NODE_BASE), .proto_minor = 3,
				  .purge_ms = 20 };

	assert(net);
	net->self = cfg.self;
	net->random = n + 1;
	net->in.tail = &net->in.head;
	pthread_mutex_init(&net->mutex, NULL);
	pthread_cond_init(&net->cond, NULL);
	net->dlm = dlm_new(&cfg, &transport, net);
	assert(net->dlm);
	nets[net->self] = net;
}

static void net_start(struct net *net)
{
	assert(!pthread_create(&net->thread, NULL, reactor, net));
}

static void net_free(struct net *net)
{
	dlm_free(net->dlm);
	while (net->timers) {
		struct timer *t = net->timers;

		net->timers = t->next;
		free(t);
	}
	free(net);
}

/* ---- what the locks protect ------------------------------------------------------------------- */

/* "On the device": touched only under the cluster lock. */
static struct {
	uint64_t value;
	atomic_int ro[NODES_MAX], ex[NODES_MAX]; /* holders, for the check */
} disk[RESOURCES];

struct object {
	unsigned node, res;
	pthread_rwlock_t local;	/* local order, taken before the cluster lock */
	struct lc_lock l;
	uint64_t value;		/* cached */
	atomic_uint refreshes, from_lvb;
};

static struct node {
	struct dlmlink *link;
	struct lockcache *lc;
	struct object obj[RESOURCES];
} nodes[NODES_MAX];

static int refresh(struct lc_lock *l, const uint8_t *lvb)
{
	struct object *o = l->owner;

	atomic_fetch_add(&o->refreshes, 1);
	if (lvb[0] == 5) {
		atomic_fetch_add(&o->from_lvb, 1);
		o->value = bytes_load_be(lvb + 8, 8);
		assert(o->value == disk[o->res].value);
	} else {
		o->value = disk[o->res].value;
	}
	return 0;
}

static void stuff(struct lc_lock *l, uint8_t lvb[DLM_LVB_LEN])
{
	struct object *o = l->owner;

	lvb[0] = 5;
	bytes_store_be(lvb + 8, o->value, 8);
}

static enum lc_work before(struct lc_lock *l, int blocking, int level)
{
	struct object *o = l->owner;

	(void)level;
	if (o->res % 2)
		nanosleep(&(struct timespec){ .tv_nsec = 50000 }, NULL);
	assert(!atomic_load(&disk[o->res].ex[o->node]));
	(void)blocking;
	return LC_WORK_GO;
}

static const struct lc_type type = {
	.letter = 'M', .has_lvb = true, .refreshes = true, .recovery_wait = true,
	.refresh = refresh, .before_downconvert = before, .stuff_lvb = stuff,
};

static void object_init(struct object *o)
{
	uint8_t name[LC_NAME_LEN];

	lockname_text(name, 'M', o->res, 0);
	lc_init(&o->l, nodes[o->node].lc, &type, name, o);
}

static void check_alone(struct object *o, int level)
{
	for (unsigned n = 0; n < n_nodes; n++) {
		if (n == o->node)
			continue;
		assert(!atomic_load(&disk[o->res].ex[n]));
		if (level == DLM_MODE_EX)
			assert(!atomic_load(&disk[o->res].ro[n]));
	}
}

static void as_holder(struct object *o, int level, unsigned *seed)
{
	atomic_int *count = level == DLM_MODE_EX ? &disk[o->res].ex[o->node] :
						   &disk[o->res].ro[o->node];

	atomic_fetch_add(count, 1);
	check_alone(o, level);
	assert(o->value == disk[o->res].value);
	if (level == DLM_MODE_EX) {
		o->value++;
		disk[o->res].value = o->value;
	}
	if (rand_r(seed) % 8 == 0)
		nanosleep(&(struct timespec){ .tv_nsec = rand_r(seed) % 100000 }, NULL);
	check_alone(o, level);
	atomic_fetch_sub(count, 1);
}

struct task {
	pthread_t thread;
	unsigned node, seed, rounds;
	unsigned taken, refused;
};

static void one_round(struct task *t)
{
	struct object *o = &nodes[t->node].obj[rand_r(&t->seed) % RESOURCES];
	int level = rand_r(&t->seed) % 3 ? DLM_MODE_PR : DLM_MODE_EX;
	unsigned what = rand_r(&t->seed) % 40, flags = 0;
	int rc;

	if (what == 0) { /* leaves memory, and comes back */
		pthread_rwlock_wrlock(&o->local);
		lc_drop(&o->l);
		lc_destroy(&o->l);
		object_init(o);
		pthread_rwlock_unlock(&o->local);
		return;
	}
	if (what < 5)
		flags = LC_NOQUEUE;
	else if (what < 10)
		flags = LC_NONBLOCK;
	if (level == DLM_MODE_EX)
		pthread_rwlock_wrlock(&o->local);
	else
		pthread_rwlock_rdlock(&o->local);
	rc = lc_lock(&o->l, level, flags);
	if (!rc) {
		t->taken++;
		as_holder(o, level, &t->seed);
		lc_unlock(&o->l, level);
	} else {
		assert(rc == -EAGAIN && flags);
		t->refused++;
	}
	pthread_rwlock_unlock(&o->local);
}

static void *work(void *arg)
{
	struct task *t = arg;

	for (unsigned i = 0; i < t->rounds; i++)
		one_round(t);
	return NULL;
}

static void node_start(unsigned n, unsigned workers)
{
	struct node *node = &nodes[n];
	struct net *net = nets[n + NODE_BASE];

	net_post(net, start_join, net);
	wait_flag(net, &net->joined, "joining");
	node->link = dlmlink_new(net, NULL);
	dlmlink_set_domain(node->link, net->dom);
	node->lc = lc_new(&(struct lc_config){ .dlm = &dlmlink_ops, .dlm_ctx = node->link,
					       .workers = workers });
	assert(node->lc);
	for (unsigned r = 0; r < RESOURCES; r++) {
		node->obj[r].node = n;
		node->obj[r].res = r;
		pthread_rwlock_init(&node->obj[r].local, NULL);
		object_init(&node->obj[r]);
	}
}

static void node_stop(unsigned n)
{
	struct node *node = &nodes[n];
	struct net *net = nets[n + NODE_BASE];

	for (unsigned r = 0; r < RESOURCES; r++) {
		lc_drop(&node->obj[r].l);
		lc_destroy(&node->obj[r].l);
	}
	lc_free(node->lc);
	net_post(net, start_leave, net);
	wait_flag(net, &net->left, "leaving");
	dlmlink_free(node->link);
}

static void stress(unsigned n, unsigned workers, unsigned rounds)
{
	struct task tasks[NODES_MAX * TASKS];
	struct timespec until;
	const char *env = getenv("SEED");
	unsigned seed = env ? (unsigned)strtoul(env, NULL, 0) : (unsigned)time(NULL);
	unsigned from_lvb = 0, refreshes = 0;

	printf("# SEED=%u\n", seed);
	n_nodes = n;
	for (unsigned i = 0; i < n; i++)
		net_make(i);
	for (unsigned i = 0; i < n; i++)
		net_post(nets[i + NODE_BASE], see_all, nets[i + NODE_BASE]);
	for (unsigned i = 0; i < n; i++)
		net_start(nets[i + NODE_BASE]);
	for (unsigned i = 0; i < n; i++)
		node_start(i, workers);
	until = limit();
	for (unsigned i = 0; i < n * TASKS; i++) {
		tasks[i] = (struct task){ .node = i % n, .seed = seed + i, .rounds = rounds };
		assert(!pthread_create(&tasks[i].thread, NULL, work, &tasks[i]));
	}
	for (unsigned i = 0; i < n * TASKS; i++)
		must(!pthread_timedjoin_np(tasks[i].thread, NULL, &until), "every request ends");
	for (unsigned i = 0; i < n; i++) {
		for (unsigned r = 0; r < RESOURCES; r++) {
			from_lvb += nodes[i].obj[r].from_lvb;
			refreshes += nodes[i].obj[r].refreshes;
		}
	}
	for (unsigned i = 0; i < n; i++)
		node_stop(i);
	for (unsigned i = 0; i < n; i++) {
		struct net *net = nets[i + NODE_BASE];

		pthread_mutex_lock(&net->mutex);
		net->quit = true;
		pthread_cond_broadcast(&net->cond);
		pthread_mutex_unlock(&net->mutex);
		pthread_join(net->thread, NULL);
	}
	for (unsigned i = 0; i < n; i++)
		net_free(nets[i + NODE_BASE]);
	printf("# %u of %u refreshes by value block\n", from_lvb, refreshes);
	must(n == 1 || from_lvb > refreshes / 10, "value blocks are used");
}

/* Each in a process of its own: a failed assertion ends only that. */
static bool run(unsigned number, const char *claim, unsigned n, unsigned workers, unsigned rounds)
{
	pid_t pid;
	int status = -1;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		alarm(LIMIT_S * 2);
		stress(n, workers, rounds);
		exit(0);
	}
	if (pid > 0)
		waitpid(pid, &status, 0);
	printf("%sok %u - %s\n", status ? "not " : "", number, claim);
	return !status;
}

int main(void)
{
	bool ok = true;

	printf("1..3\n");
	ok &= run(1, "one node", 1, 1, 2000);
	ok &= run(2, "two nodes", 2, 1, 1500);
	ok &= run(3, "four nodes with several workers", 4, 3, 800);
	return !ok;
}
