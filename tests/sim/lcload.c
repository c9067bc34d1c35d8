/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * lcload.c: instead of workload.c and check.c, the production lock cache and dlmlink.c
 * on each node (program lcsim).
 *
 * Each user is a coroutine with its own stack. The program is linked with --wrap, so a
 * wait for a condition releases the mutex, goes back to the world and takes the mutex
 * again when the world has chosen this user; a signal wakes all who wait, each at its
 * own time (the lock cache must stand wakes for nothing). No coroutine sleeps with a
 * mutex held, so no mutex is ever contended and one thread is enough. What is posted to
 * the reactor, and the downconvert worker's pass, are events of the node.
 *
 * Under EX a user adds one to a block in the node's memory, which reaches the disk before
 * the level goes down, and the value block when it does; under PR it reads the block.
 * Checked: no two nodes hold incompatible levels; what is read is what was written last,
 * also after a while; every request ends; all locks can be dropped.
 */
#include "tests/sim/world.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>
#include "dlm/check.h"
#define net_event net_event_of_net_h /* the simulator has one of its own */
#include "fs/cluster/clu_int.h"
#undef net_event
#include "fs/cluster/lc_int.h"

enum { STACK = 256 << 10, POSTER = SIM_USERS_MAX - 2, WORKER = SIM_USERS_MAX - 1 };

struct post {
	struct post *next;
	void (*fn)(void *arg);
	void *arg;
};

struct res {
	struct lc_lock l;
	struct lcnode *node;
	int number;
	unsigned pr, ex;	/* holders */
	bool writing;		/* the node's own exclusion of writers */
	bool clean;		/* on the disk */
	uint64_t block;		/* in memory */
};

struct co {
	ucontext_t uc;
	char *stack;
	struct sim_user *u;
	pthread_cond_t *waits;
	bool started, resting;
};

struct lcnode {
	struct sim_node *n;
	struct lockcache *lc;
	struct dlmlink *link;
	struct post *head, **tail;
	bool worker_due;
	struct res res[SIM_RES_MAX];
	struct co co[SIM_USERS_MAX];
};

struct load {
	struct sim_world *w;
	struct lcnode *nodes[SIM_NODES_MAX + 1];
	uint64_t truth[SIM_RES_MAX], disk[SIM_RES_MAX];
	ucontext_t world;
	struct co *running;
	bool ending;
};

/* As in alloc.c: the C library's functions have no place for it. */
static struct load *load;

/* ---- coroutines ---------------------------------------------------------------------- */

static void to_world(void)
{
	struct co *c = load->running;

	load->running = NULL;
	swapcontext(&c->uc, &load->world);
}

static void doze(uint32_t lo_us, uint32_t hi_us)
{
	user_act_in(load->running->u, lo_us, hi_us);
	to_world();
}

void user_act_in(struct sim_user *u, uint32_t lo_us, uint32_t hi_us)
{
	world_at(u->w, rng_range(&u->w->rng, lo_us, hi_us), EV_USER, u->n->id, u, ++u->serial);
}

int __wrap_pthread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex);
int __wrap_pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex,
				  const struct timespec *until);
int __wrap_pthread_cond_signal(pthread_cond_t *cond);
int __wrap_pthread_cond_broadcast(pthread_cond_t *cond);

int __wrap_pthread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex)
{
	if (!load->running)
		abort(); /* the world would stand still */
	load->running->waits = cond;
	pthread_mutex_unlock(mutex);
	to_world();
	pthread_mutex_lock(mutex);
	return 0;
}

/* Nobody here is served while a level goes down, so nobody waits for a time. */
int __wrap_pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex,
				  const struct timespec *until)
{
	(void)cond;
	(void)mutex;
	(void)until;
	abort();
}

static void wake_node(struct lcnode *k, const pthread_cond_t *cond)
{
	struct sim_world *w = load->w;

	if (k->lc && cond == &k->lc->q_cond && !k->worker_due) {
		k->worker_due = true;
		world_at(w, rng_range(&w->rng, 0, rng_percent(&w->rng, 80) ? 200 : 20000), EV_YIELD,
			 k->n->id, &k->n->users[WORKER], 0);
	}
	for (int i = 0; i < w->opt.users; i++)
		if (k->co[i].waits == cond) {
			k->co[i].waits = NULL;
			user_act_in(k->co[i].u, 0, rng_percent(&w->rng, 80) ? 100 : 10000);
		}
}

int __wrap_pthread_cond_broadcast(pthread_cond_t *cond)
{
	sim_each_node (i, load->w)
		if (load->nodes[i] && !load->ending)
			wake_node(load->nodes[i], cond);
	return 0;
}

int __wrap_pthread_cond_signal(pthread_cond_t *cond)
{
	return __wrap_pthread_cond_broadcast(cond);
}

/* ---- the reactor, for dlmlink.c -------------------------------------------------------- */

void net_post(struct net *net, void (*fn)(void *arg), void *arg)
{
	struct lcnode *k = (struct lcnode *)net;
	struct sim_world *w = load->w;
	struct post *p;

	if (load->ending) {
		fn(arg);
		return;
	}
	p = sim_calloc(1, sizeof(*p));
	if (!p)
		abort();
	p->fn = fn;
	p->arg = arg;
	*k->tail = p;
	k->tail = &p->next;
	world_at(w, rng_range(&w->rng, 0, rng_percent(&w->rng, 90) ? 50 : 5000), EV_YIELD, k->n->id,
		 &k->n->users[POSTER], 0);
}

/* The oldest one: posts run in order. */
static void run_post(struct lcnode *k)
{
	struct post *p = k->head;

	k->head = p->next;
	if (!k->head)
		k->tail = &k->head;
	net_input_begin(k->n);
	p->fn(p->arg);
	net_input_end(k->n);
	free(p);
}

static void run_worker(struct lcnode *k)
{
	k->worker_due = false;
	if (k->lc->retry) {
		k->lc->retry = false;
		lc_kick(k->lc);
	}
	lc_downconvert_pass(k->lc);
}

/* ---- the lock types ---------------------------------------------------------------------- */

static void flush(struct res *r)
{
	load->disk[r->number] = r->block;
	r->clean = true;
}

static void is_last(struct res *r, const char *what)
{
	uint64_t truth = load->truth[r->number];

	if (r->block != truth)
		world_fail(load->w, "r%d: n%d %s version %llu, the last is %llu", r->number,
			   r->node->n->id, what, (unsigned long long)r->block,
			   (unsigned long long)truth);
}

static int refresh(struct lc_lock *l, const uint8_t *lvb)
{
	struct res *r = l->owner;

	if (rng_percent(&load->w->rng, 50))
		doze(0, 2000);
	r->block = load->disk[r->number];
	if (lvb && lvb[0] == 1)
		memcpy(&r->block, lvb + 8, sizeof(r->block));
	r->clean = true;
	trace(load->w, "n%d r%d refresh %llu%s", r->node->n->id, r->number,
	      (unsigned long long)r->block, lvb && lvb[0] == 1 ? " from the value block" : "");
	is_last(r, "refreshes to");
	return 0;
}

static bool may_downconvert(struct lc_lock *l, int new_level)
{
	const struct res *r = l->owner;

	(void)new_level;
	return r->clean;
}

/* Sometimes it takes longer, and is asked again. */
static void make_ready(struct lc_lock *l)
{
	if (rng_percent(&load->w->rng, 70))
		flush(l->owner);
}

static void stuff_lvb(struct lc_lock *l, uint8_t lvb[DLM_LVB_LEN])
{
	const struct res *r = l->owner;

	memset(lvb, 0, DLM_LVB_LEN);
	lvb[0] = 1;
	memcpy(lvb + 8, &r->block, sizeof(r->block));
}

static const struct lc_type with_lvb = { .letter = 'N', .has_lvb = true, .refreshes = true,
					 .refresh = refresh, .may_downconvert = may_downconvert,
					 .make_ready = make_ready, .stuff_lvb = stuff_lvb };
static const struct lc_type without_lvb = { .letter = 'N', .refreshes = true, .refresh = refresh,
					    .may_downconvert = may_downconvert,
					    .make_ready = make_ready };

/* ---- a user -------------------------------------------------------------------------------- */

static void check_holders(struct res *r)
{
	sim_each_node (i, load->w) {
		const struct lcnode *k = load->nodes[i];
		const struct res *o = k ? &k->res[r->number] : NULL;

		if (o && o != r && ((r->ex && (o->ex || o->pr)) || (r->pr && o->ex)))
			world_fail(load->w, "r%d: n%d has %u EX %u PR, n%d has %u EX %u PR",
				   r->number, r->node->n->id, r->ex, r->pr, k->n->id, o->ex, o->pr);
	}
}

static void holder(struct res *r, int level)
{
	struct sim_world *w = load->w;
	bool ex = level == DLM_MODE_EX;

	ex ? r->ex++ : r->pr++;
	check_holders(r);
	is_last(r, "reads");
	if (rng_percent(&w->rng, 70))
		doze(0, w->profile.hold_ms * SIM_MS);
	is_last(r, "still has");
	if (ex) {
		r->clean = false;
		load->truth[r->number] = ++r->block;
		w->puts++;
	}
	w->sections++;
	world_mix(w, r->block);
	ex ? r->ex-- : r->pr--;
}

static void turn(struct lcnode *k, struct co *c)
{
	struct sim_world *w = load->w;
	struct res *r = &k->res[rng_below(&w->rng, (uint32_t)w->opt.resources)];
	bool ex = rng_percent(&w->rng, w->profile.ex_percent);
	int level = ex ? DLM_MODE_EX : DLM_MODE_PR, rc;
	uint32_t dice = rng_below(&w->rng, 100);
	unsigned flags = dice < 8 ? LC_NOQUEUE : dice < 16 ? LC_NONBLOCK : 0;

	while (ex && r->writing)
		doze(0, 1000);
	r->writing |= ex;
	trace(w, "n%d u%d r%d wants %s flags=%x", k->n->id, c->u->id, r->number,
	      dlm_mode_name(level), flags);
	rc = lc_lock(&r->l, level, flags);
	trace(w, "n%d u%d r%d gets %d", k->n->id, c->u->id, r->number, rc);
	if (!rc) {
		holder(r, level);
		lc_unlock(&r->l, level);
	} else if (rc != -EAGAIN || !flags) {
		world_fail(w, "n%d u%d r%d: lc_lock says %d", k->n->id, c->u->id, r->number, rc);
	}
	if (ex)
		r->writing = false;
}

static bool others_over(const struct co *c)
{
	for (int i = 1; i < load->w->opt.users; i++)
		if (c->u->n->users[i].state != USER_IDLE)
			return false;
	return true;
}

static void drop_all(struct lcnode *k)
{
	for (int i = 0; i < load->w->opt.resources; i++) {
		struct res *r = &k->res[i];

		lc_mark_freeing(&r->l);
		if (!r->clean)
			flush(r);
		lc_drop(&r->l);
		lc_destroy(&r->l);
	}
}

static void body(void)
{
	struct sim_world *w = load->w;
	struct co *c = load->running;
	struct lcnode *k = load->nodes[c->u->n->id];

	while (w->stage == STAGE_TRAFFIC) {
		turn(k, c);
		doze(0, w->profile.think_ms * SIM_MS);
	}
	c->resting = true;
	while (w->stage < STAGE_RELEASE || (c->u->id == 0 && !others_over(c)))
		doze(1000, 20 * SIM_MS);
	if (c->u->id == 0)
		drop_all(k);
	c->u->state = USER_IDLE;
	to_world();
}

static struct lcnode *node_new(struct sim_node *n)
{
	struct lcnode *k = sim_calloc(1, sizeof(*k));
	struct lc_config cfg = { .dlm = &dlmlink_ops, .log = &n->log };
	uint8_t name[DLM_NAME_MAX];

	if (!k)
		abort();
	k->n = n;
	k->tail = &k->head;
	k->link = dlmlink_new((struct net *)k, &n->log);
	cfg.dlm_ctx = k->link;
	k->lc = lc_new(&cfg);
	if (!k->link || !k->lc)
		abort();
	dlmlink_set_domain(k->link, n->dom);
	for (int i = 0; i < n->w->opt.resources; i++) {
		struct res *r = &k->res[i];

		r->node = k;
		r->number = i;
		r->clean = true;
		sim_res_name(i, 0, name);
		lc_init(&r->l, k->lc, i % 3 != 2 ? &with_lvb : &without_lvb, name, r);
	}
	return k;
}

static void resume(struct sim_user *u)
{
	struct lcnode **k = &load->nodes[u->n->id];
	struct co *c;

	if (!*k)
		*k = node_new(u->n);
	c = &(*k)->co[u->id];
	if (!c->started) {
		c->started = true;
		c->u = u;
		c->stack = sim_calloc(1, STACK);
		if (!c->stack || getcontext(&c->uc))
			abort();
		c->uc.uc_stack.ss_sp = c->stack;
		c->uc.uc_stack.ss_size = STACK;
		u->state = USER_LOCKING;
		makecontext(&c->uc, body, 0);
	}
	load->running = c;
	swapcontext(&load->world, &c->uc);
}

/* ---- for the world --------------------------------------------------------------------------- */

void workload_event(struct sim_world *w, const struct sim_event *ev)
{
	struct sim_user *u = ev->ptr;

	if (ev->kind == EV_NODE)
		members_turn(&w->nodes[ev->node]);
	else if (ev->kind == EV_USER)
		resume(u);
	else if (ev->kind == EV_YIELD && u->id == POSTER)
		run_post(load->nodes[ev->node]);
	else if (ev->kind == EV_YIELD)
		run_worker(load->nodes[ev->node]);
}

void workload_start(struct sim_world *w)
{
	static const uint32_t hold[] = { 1, 5, 20 }, think[] = { 1, 5, 30 }, ex[] = { 10, 35, 70 };

	if (w->opt.kills || w->opt.users > POSTER)
		exit(2);
	w->opt.no_leave = true;
	w->profile.stay_ms = 1000;
	w->profile.hold_ms = hold[rng_below(&w->rng, 3)];
	w->profile.think_ms = think[rng_below(&w->rng, 3)];
	w->profile.ex_percent = ex[rng_below(&w->rng, 3)];
	w->profile.slow_wire = rng_percent(&w->rng, 30);
	load = sim_calloc(1, sizeof(*load));
	if (!load)
		abort();
	load->w = w;
}

static void node_free(struct lcnode *k)
{
	while (k->head) {
		struct post *p = k->head;

		k->head = p->next;
		free(p);
	}
	if (!world_failed(load->w)) { /* else coroutines are in the middle of it */
		lc_free(k->lc);
		dlmlink_free(k->link);
	}
	for (int i = 0; i < SIM_USERS_MAX; i++)
		free(k->co[i].stack);
	free(k);
}

void workload_free(struct sim_world *w)
{
	load->ending = true;
	sim_each_node (i, w)
		if (load->nodes[i])
			node_free(load->nodes[i]);
	free(load);
	load = NULL;
}

void workload_node_started(struct sim_node *n)
{
	memset(n->users, 0, sizeof(n->users));
	for (int i = 0; i < SIM_USERS_MAX; i++) {
		n->users[i].w = n->w;
		n->users[i].n = n;
		n->users[i].id = i;
	}
	world_at(n->w, rng_range(&n->w->rng, 0, 800) * SIM_MS, EV_NODE, n->id, NULL, 0);
}

void workload_node_died(struct sim_node *n)
{
	(void)n;
	abort();
}

void workload_stage(struct sim_world *w)
{
	sim_each_node (i, w)
		if (w->stage == STAGE_LEAVE && w->nodes[i].state == NODE_IN)
			world_at(w, rng_range(&w->rng, 0, 2000) * SIM_MS, EV_NODE, (node_t)i, NULL, 0);
}

static bool node_answered(const struct sim_world *w, const struct lcnode *k)
{
	for (int i = 0; i < w->opt.users; i++)
		if (!k || !k->co[i].resting)
			return false;
	for (int i = 0; i < w->opt.resources; i++)
		if (k->res[i].l.flags & (LCF_BUSY | LCF_BLOCKED | LCF_QUEUED))
			return false;
	return true;
}

bool workload_answered(const struct sim_world *w)
{
	sim_each_node (i, w)
		if (w->nodes[i].state == NODE_JOINING ||
		    (w->nodes[i].state == NODE_IN && !node_answered(w, load->nodes[i])))
			return false;
	return true;
}

bool workload_idle(const struct sim_world *w)
{
	sim_each_node (i, w)
		if (!members_idle(&w->nodes[i]))
			return false;
	return true;
}

bool workload_all_out(const struct sim_world *w)
{
	sim_each_node (i, w)
		if (w->nodes[i].state != NODE_OUT)
			return false;
	return true;
}

bool user_settled(const struct sim_user *u)
{
	return u->state == USER_IDLE;
}

size_t sim_res_name(int res, uint32_t gen, uint8_t name[DLM_NAME_MAX])
{
	memset(name, 0, DLM_NAME_MAX);
	memcpy(name, "N00000000000000000", 18);
	name[18] = (uint8_t)res;
	name[23] = (uint8_t)gen;
	return LC_NAME_LEN;
}

bool sim_res_parse(const uint8_t *name, size_t len, int *res, uint32_t *gen)
{
	if (len != LC_NAME_LEN || name[0] != 'N')
		return false;
	*res = name[18];
	*gen = name[23];
	return *res < SIM_RES_MAX;
}

/* ---- checks that the world asks for --------------------------------------------------------- */

void check_step(struct sim_world *w, struct sim_node *n)
{
	char why[256];

	if (n->dlm && !dlm_check(n->dlm, why, sizeof(why)))
		world_fail(w, "n%d: %s", n->id, why);
}

void check_rest(struct sim_world *w)
{
	for (int r = 0; r < w->opt.resources; r++) {
		int ex = 0, pr = 0;

		sim_each_node (i, w) {
			int level = load->nodes[i] ? load->nodes[i]->res[r].l.level : DLM_MODE_NONE;

			ex += level == DLM_MODE_EX;
			pr += level == DLM_MODE_PR;
		}
		if (ex > 1 || (ex && pr))
			world_fail(w, "r%d: %d nodes keep EX, %d keep PR", r, ex, pr);
	}
}

bool check_all_purged(const struct sim_world *w)
{
	sim_each_node (i, w)
		if (w->nodes[i].dom && dlm_domain_stats(w->nodes[i].dom)->resources)
			return false;
	return true;
}

void check_joined(struct sim_node *n)
{
	(void)n;
}

void check_node_gone(struct sim_node *n)
{
	(void)n;
}

void check_node_died(struct sim_node *n)
{
	(void)n;
}
