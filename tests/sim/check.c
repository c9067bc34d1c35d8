/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * check.c: what must hold across nodes (doc/spec/dlm.md 10.1).
 *
 * Two sources are compared. The shadow is kept from what users asked and were told:
 * modes that they may rely on, and the last value put into each LVB. The cores' own
 * books are read with dlm_domain_dump, and the core looks into itself with dlm_check.
 *
 *  after every step	exclusion (1) and LVB (9), from the shadow, for the resource that
 *			changed; the stepped node's resources: one owner (2), queues of an
 *			owner without incompatible grants, shape (6); dlm_check on its core
 *  every 64 steps	mirror (5): each settled lock is known to its owner, once;
 *			dlm_check_all
 *  at rest		mirror with equal modes and queues, agreement (3), references (7),
 *			no grantable head (22), nobody but members anywhere
 */
#include "tests/sim/world.h"

#include <stdlib.h>
#include <string.h>
#include "dlm/check.h"
#include "dlm/dlm_int.h"
#include "dlm/check.h"

#define MIRROR_EVERY 64
#define UNUSABLE (DLM_RES_RECOVERING | DLM_RES_IN_PROGRESS | DLM_RES_MIGRATING)

/* ---- exclusion ------------------------------------------------------------------- */

/*
 * What a lock is for: whoever holds PR or EX has read a block, and it stays what it was
 * read as; whoever gives EX up has written it. So each write is of what the one before
 * has left: the history is serial, and no update is lost. A section that its node's death
 * ends has written nothing.
 */
static void section(struct sim_user *u, struct sim_res *r, int mode)
{
	if (u->section && u->block != r->block)
		world_fail(u->w, "r%d.%u: n%d u%d read block version %llu under %s, it is %llu now",
			   u->res, u->gen, u->n->id, u->id, (unsigned long long)u->block,
			   dlm_mode_name(u->view), (unsigned long long)r->block);
	if (u->section && u->view == DLM_MODE_EX && mode != DLM_MODE_EX) {
		r->block++;
		u->w->sections++;
	}
	u->section = mode == DLM_MODE_PR || mode == DLM_MODE_EX;
	u->block = r->block;
}

void check_view(struct sim_user *u, int mode)
{
	struct sim_res *r = &u->w->res[u->res];

	if (u->gen == r->gen) {
		section(u, r, mode);
		r->views_pr += (mode == DLM_MODE_PR) - (u->view == DLM_MODE_PR);
		r->views_ex += (mode == DLM_MODE_EX) - (u->view == DLM_MODE_EX);
		if (r->views_ex > 1 || (r->views_ex && r->views_pr))
			world_fail(u->w, "r%d.%u: %d EX and %d PR at once, the last one n%d u%d",
				   u->res, u->gen, r->views_ex, r->views_pr, u->n->id, u->id);
	}
	u->view = mode;
}

/* A lock that its owner has answered for, or may have. */
static bool known(const struct sim_user *u, int res, uint32_t gen)
{
	return u->state != USER_IDLE && u->res == res && u->gen == gen &&
	       !(u->state == USER_LOCKING && u->done_due);
}

/* From the last known lock on, every copy may be purged; a request that has not reached
 * anybody does not keep it. */
static bool may_be_purged(const struct sim_user *gone)
{
	sim_each_node (i, gone->w)
		for (int j = 0; j < gone->w->opt.users; j++) {
			const struct sim_user *u = &gone->w->nodes[i].users[j];

			if (u != gone && known(u, gone->res, gone->gen))
				return false;
		}
	return true;
}

void check_handle(struct sim_user *u, int delta)
{
	struct sim_res *r = &u->w->res[u->res];

	r->handles += delta;
	if (delta < 0 && may_be_purged(u))
		r->zero_ok = true;
}

/* ---- value blocks ------------------------------------------------------------------- */

/* The value as bytes: version, counter, and the counter's digits all over the rest. */
static void lvb_of(uint64_t count, uint8_t lvb[DLM_LVB_LEN])
{
	memset(lvb, 0, DLM_LVB_LEN);
	if (!count)
		return;
	lvb[0] = 1;
	for (int i = 1; i < DLM_LVB_LEN; i++)
		lvb[i] = (uint8_t)(count >> (8 * (i % 8)));
}

static uint64_t lvb_count(const uint8_t *lvb)
{
	uint64_t v = 0;

	for (int i = 8; i > 0; i--)
		v |= (uint64_t)lvb[i] << (8 * (i % 8));
	return v;
}

void check_put_lvb(struct sim_user *u, uint8_t lvb[DLM_LVB_LEN])
{
	struct sim_res *r = &u->w->res[u->res];

	/* What was read under this EX must still be the last value: no update is lost. */
	if (u->value != r->count)
		world_fail(u->w, "r%d.%u: n%d u%d read %llu, meanwhile it is %llu", u->res, u->gen,
			   u->n->id, u->id, (unsigned long long)u->value,
			   (unsigned long long)r->count);
	r->before = r->count;
	r->before_ok = false;
	r->put_open = u;
	u->value = ++r->count;
	r->zero_ok = false;
	u->w->puts++;
	lvb_of(r->count, lvb);
}

/* The request that carried a put has ended, so the owner has handled it. */
void check_put_over(struct sim_user *u)
{
	struct sim_res *r = &u->w->res[u->res];

	if (r->put_open == u)
		r->put_open = NULL;
}

/*
 * May be read although it is not the last value put? Zeros say nothing: the reader looks on
 * the disk, as a file system does, and finds the last value. What was put before the last
 * may come back only if that last one died with its node.
 */
static bool excused(struct sim_user *u, struct sim_res *r, const uint8_t *lvb)
{
	uint8_t other[DLM_LVB_LEN];

	lvb_of(0, other);
	if (memcmp(lvb, other, DLM_LVB_LEN) == 0) {
		u->w->zero_reads++;
		return r->zero_ok || u->w->opt.cuts; /* in doubt, after a broken link: 12.6 */
	}
	lvb_of(r->before, other);
	if (!r->before_ok || memcmp(lvb, other, DLM_LVB_LEN) != 0)
		return false;
	r->count = r->before;
	r->before_ok = r->zero_ok = false;
	return true;
}

void check_ast_lvb(struct sim_user *u, const uint8_t *lvb, bool expected)
{
	struct sim_res *r = &u->w->res[u->res];
	uint8_t want[DLM_LVB_LEN];

	if (!lvb != !expected) {
		world_fail(u->w, "r%d.%u n%d u%d: ast %s a value block", u->res, u->gen, u->n->id,
			   u->id, lvb ? "with" : "without");
		return;
	}
	if (!lvb)
		return;
	lvb_of(r->count, want);
	if (memcmp(lvb, want, DLM_LVB_LEN) == 0)
		r->before_ok = r->zero_ok = false;
	else if (!excused(u, r, lvb))
		world_fail(u->w, "r%d.%u n%d u%d: value block %02x.. %llu, last put %llu", u->res,
			   u->gen, u->n->id, u->id, lvb[0], (unsigned long long)lvb_count(lvb),
			   (unsigned long long)r->count);
	u->value = r->count;
}

/* When a value dies (dlm.md 5.3): with a node leaving, if only NL locks are handed over; with
 * a node dead and not yet mourned by all, whenever. */
static void values_at_risk(struct sim_world *w)
{
	bool death = w->opt.kills && w->faults_open;

	if (!death && !w->leaving)
		return;
	for (int i = 0; i < w->opt.resources; i++)
		if (death || (!w->res[i].views_pr && !w->res[i].views_ex))
			w->res[i].zero_ok = true;
}

/* ---- membership ---------------------------------------------------------------------- */

static bool has(const uint8_t *map, node_t n)
{
	return map[n >> 3] & (1 << (n & 7));
}

/* A node that is in, and every other that is in, count one another as members. */
void check_joined(struct sim_node *n)
{
	struct sim_world *w = n->w;
	uint8_t mine[32], theirs[32];

	dlm_domain_members(n->dom, mine);
	sim_each_node (i, w) {
		struct sim_node *o = &w->nodes[i];

		if (o == n || (o->state != NODE_IN && o->state != NODE_DRAINING))
			continue;
		dlm_domain_members(o->dom, theirs);
		if (!has(mine, o->id) || !has(theirs, n->id))
			world_fail(w, "n%d and n%d are both in, but not each other's members",
				   n->id, o->id);
	}
}

void check_node_gone(struct sim_node *n)
{
	for (int i = 0; i < n->w->opt.resources; i++)
		n->w->res[i].owners[n->id >> 3] &= (uint8_t)~(1u << (n->id & 7));
}

/* What it put and nobody acknowledged may have been lost with it; the rest may be void. */
void check_node_died(struct sim_node *n)
{
	for (int i = 0; i < n->w->opt.resources; i++) {
		struct sim_res *r = &n->w->res[i];

		r->zero_ok = true;
		if (r->put_open && r->put_open->n == n) {
			r->before_ok = true;
			r->put_open = NULL;
		}
	}
}

/* ---- a node's books --------------------------------------------------------------------- */

struct walk {
	struct sim_world *w;
	struct sim_node *n;
	int res; /* of the resource being walked; -1: an old name */
	uint32_t gen;
	bool owner, foreign; /* usable owner; neither owner nor in between */
	int granted_pr, granted_ex;
	char queue; /* last one seen: G, C, B in this order */
	size_t resources;
};

static void walk_lock(struct walk *k, const struct dlm_dump_lock *l)
{
	static const char order[] = "GCB";
	bool granted = l->queue != 'B';

	if (strchr(order, l->queue) < strchr(order, k->queue))
		world_fail(k->w, "n%d r%d.%u: queues out of order", k->n->id, k->res, k->gen);
	k->queue = l->queue;
	if ((l->queue == 'C') != (l->convert_mode != DLM_MODE_NONE))
		world_fail(k->w, "n%d r%d.%u: queue %c, converting to %s", k->n->id, k->res, k->gen,
			   l->queue, dlm_mode_name(l->convert_mode));
	if (k->foreign && l->node != k->n->id)
		world_fail(k->w, "n%d r%d.%u: a lock of node %d, but it is not the owner", k->n->id,
			   k->res, k->gen, l->node);
	if (!k->owner || !granted)
		return;
	k->granted_pr += l->mode == DLM_MODE_PR;
	k->granted_ex += l->mode == DLM_MODE_EX;
	if (k->granted_ex > 1 || (k->granted_ex && k->granted_pr))
		world_fail(k->w, "n%d r%d.%u: owner has granted %d EX and %d PR", k->n->id, k->res,
			   k->gen, k->granted_ex, k->granted_pr);
}

static bool walk(void *ctx, const struct dlm_dump_res *res, const struct dlm_dump_lock *lock)
{
	struct walk *k = ctx;
	struct sim_res *r;

	if (lock) {
		walk_lock(k, lock);
		return true;
	}
	k->resources++;
	k->queue = 'G';
	k->granted_pr = k->granted_ex = 0;
	k->owner = res->owner == k->n->id && !(res->state & UNUSABLE);
	k->foreign = res->owner != k->n->id && !(res->state & UNUSABLE);
	if (!sim_res_parse(res->name, res->name_len, &k->res, &k->gen)) {
		k->res = -1;
		return true;
	}
	r = &k->w->res[k->res];
	if (!k->owner || r->gen != k->gen)
		return true;
	r->owners[k->n->id >> 3] |= (uint8_t)(1u << (k->n->id & 7));
	sim_each_node (i, k->w)
		if (i != k->n->id && has(r->owners, (node_t)i))
			world_fail(k->w, "r%d.%u has two owners: n%d and n%d", k->res, k->gen,
				   k->n->id, i);
	return true;
}

static size_t read_books(struct sim_node *n)
{
	struct walk k = { .w = n->w, .n = n };

	check_node_gone(n);
	dlm_domain_dump(n->dom, walk, &k);
	return k.resources;
}

bool check_all_purged(const struct sim_world *w)
{
	sim_each_node (i, w)
		if (w->nodes[i].dom && dlm_domain_stats(w->nodes[i].dom)->resources)
			return false;
	return true;
}

/* ---- the mirror -------------------------------------------------------------------------- */

/* One lock record of one node's books. */
struct copy {
	uint64_t cookie;
	uint32_t gen;
	int16_t res;
	int16_t place; /* within its queue */
	node_t at;     /* whose books */
	node_t owner;  /* as they say */
	node_t node;   /* holder */
	uint16_t state;
	int8_t mode, convert;
	char queue;
	bool pending;
	bool is_res; /* the resource itself */
	uint8_t refs[32];
};

struct copies {
	struct copy *c;
	size_t len, room;
	struct copy cur;
};

static bool collect(void *ctx, const struct dlm_dump_res *res, const struct dlm_dump_lock *lock)
{
	struct copies *all = ctx;
	struct copy *c = &all->cur;

	if (!lock) {
		int r = -1;

		c->gen = 0;
		sim_res_parse(res->name, res->name_len, &r, &c->gen);
		c->res = (int16_t)r;
		c->owner = res->owner;
		c->state = res->state;
		c->place = 0;
		c->is_res = true;
		memcpy(c->refs, res->refmap, sizeof(c->refs));
	} else {
		c->is_res = false;
		c->cookie = lock->cookie;
		c->node = lock->node;
		c->mode = (int8_t)lock->mode;
		c->convert = (int8_t)lock->convert_mode;
		c->place = (int16_t)(c->queue == lock->queue ? c->place + 1 : 0);
		c->queue = lock->queue;
		c->pending = lock->pending;
	}
	if (c->res < 0)
		return true;
	if (all->len == all->room) {
		all->room = all->room ? 2 * all->room : 256;
		all->c = sim_realloc(all->c, all->room * sizeof(*all->c));
		if (!all->c)
			abort();
	}
	all->c[all->len++] = *c;
	return true;
}

/* Resource, then the records of the resource itself, then locks by cookie and node. */
static int by_lock(const void *pa, const void *pb)
{
	const struct copy *a = pa, *b = pb;

	if (a->res != b->res)
		return a->res < b->res ? -1 : 1;
	if (a->gen != b->gen)
		return a->gen < b->gen ? -1 : 1;
	if (a->is_res != b->is_res)
		return a->is_res ? -1 : 1;
	if (!a->is_res && a->cookie != b->cookie)
		return a->cookie < b->cookie ? -1 : 1;
	return a->at < b->at ? -1 : a->at > b->at;
}

static const struct copy *find_res(const struct copies *all, const struct copy *like, node_t at)
{
	for (size_t i = 0; i < all->len; i++) {
		const struct copy *c = &all->c[i];

		if (c->is_res && c->at == at && c->res == like->res && c->gen == like->gen)
			return c;
	}
	return NULL;
}

/* Is that node the owner in its own books, and at work? */
static const struct copy *usable_owner(const struct copies *all, const struct copy *c)
{
	const struct copy *o = find_res(all, c, c->owner);

	return o && o->owner == o->at && !(o->state & UNUSABLE) ? o : NULL;
}

static const struct copy *copy_at(const struct copies *all, const struct copy *lock, node_t at)
{
	for (size_t i = 0; i < all->len; i++) {
		const struct copy *c = &all->c[i];

		if (!c->is_res && c->at == at && c->cookie == lock->cookie && c->res == lock->res &&
		    c->gen == lock->gen)
			return c;
	}
	return NULL;
}

static void compare_lock(struct sim_world *w, const struct copies *all, const struct copy *c,
			 bool rest)
{
	const struct copy *there;

	if (c->at == c->owner || c->pending || (c->state & UNUSABLE) || !usable_owner(all, c))
		return;
	there = copy_at(all, c, c->owner);
	if (!there)
		world_fail(w, "r%d.%u: lock %llx of n%d is not known to its owner n%d", c->res,
			   c->gen, (unsigned long long)c->cookie, c->node, c->owner);
	else if (rest && (there->mode != c->mode || there->convert != c->convert ||
			  there->queue != c->queue))
		world_fail(w, "r%d.%u: lock %llx of n%d is %c %s there, %c %s at owner n%d", c->res,
			   c->gen, (unsigned long long)c->cookie, c->node, c->queue,
			   dlm_mode_name(c->mode), there->queue, dlm_mode_name(there->mode),
			   c->owner);
}

static void compare_res(struct sim_world *w, const struct copies *all, const struct copy *c)
{
	const struct copy *o;

	if (c->owner == c->at)
		return;
	if (c->state & (UNUSABLE | DLM_RES_DROPPING_REF)) {
		world_fail(w, "r%d.%u at rest: state %x at n%d", c->res, c->gen, c->state, c->at);
		return;
	}
	o = usable_owner(all, c);
	if (!o)
		world_fail(w, "r%d.%u at rest: n%d says its owner is n%d, which says no", c->res,
			   c->gen, c->at, c->owner);
	else if (!has(o->refs, c->at))
		world_fail(w, "r%d.%u at rest: owner n%d has no reference of n%d", c->res, c->gen,
			   c->owner, c->at);
}

/* Each lock at an owner is a lock of the node that holds it. */
static void compare_owned(struct sim_world *w, const struct copies *all, const struct copy *c)
{
	if (c->at == c->owner && c->node != c->at && !copy_at(all, c, c->node))
		world_fail(w, "r%d.%u at rest: owner n%d has a lock %llx of n%d that n%d has not",
			   c->res, c->gen, c->at, (unsigned long long)c->cookie, c->node, c->node);
	if (c->queue != 'G')
		world_fail(w, "r%d.%u at rest: a lock of n%d waits at n%d, on %c", c->res, c->gen,
			   c->node, c->at, c->queue);
}

static void compare_books(struct sim_world *w, bool rest)
{
	struct copies all = { 0 };

	sim_each_node (i, w) {
		if (!w->nodes[i].dom)
			continue;
		all.cur = (struct copy){ .at = (node_t)i };
		dlm_domain_dump(w->nodes[i].dom, collect, &all);
	}
	if (all.len)
		qsort(all.c, all.len, sizeof(*all.c), by_lock);
	for (size_t i = 0; i < all.len && !world_failed(w); i++) {
		const struct copy *c = &all.c[i];

		if (i && !c->is_res && !all.c[i - 1].is_res && by_lock(c, c - 1) == 0)
			world_fail(w, "r%d.%u: lock %llx is twice at n%d", c->res, c->gen,
				   (unsigned long long)c->cookie, c->at);
		if (!c->is_res)
			compare_lock(w, &all, c, rest);
		if (rest && c->is_res)
			compare_res(w, &all, c);
		if (rest && !c->is_res)
			compare_owned(w, &all, c);
	}
	free(all.c);
}

/* ---- from the world ------------------------------------------------------------------------- */

static void check_cores(struct sim_world *w)
{
	struct dlm *cores[SIM_NODES_MAX];
	char why[400];

	for (int i = 0; i < w->opt.nodes; i++)
		cores[i] = w->nodes[w->first + i].dlm;
	if (!dlm_check_all(cores, (size_t)w->opt.nodes, why, sizeof(why)))
		world_fail(w, "%s", why);
}

void check_step(struct sim_world *w, struct sim_node *n)
{
	char why[400];

	values_at_risk(w);
	if (n->dlm && !dlm_check(n->dlm, why, sizeof(why)))
		world_fail(w, "%s", why);
	if (n->dom)
		read_books(n);
	if (n->dlm && !dlm_check(n->dlm, why, sizeof(why)))
		world_fail(w, "%s", why);
	if (w->step % MIRROR_EVERY == 0) {
		compare_books(w, false);
		check_cores(w);
	}
}

/* A mastery entry that stays blocks every later call for its name at a kernel node. */
static void check_no_votes(struct sim_world *w)
{
	sim_each_node (i, w) {
		struct dlm_domain *dom = w->nodes[i].dom;

		if (dom && !cds_list_empty(&dom->mles))
			world_fail(w, "at rest: n%d keeps a mastery entry of type %d", i,
				   cds_list_first_entry(&dom->mles, struct dlm_mle, all)->type);
	}
}

void check_rest(struct sim_world *w)
{
	uint8_t map[32];

	compare_books(w, true);
	check_cores(w);
	check_no_votes(w);
	sim_each_node (i, w) {
		struct sim_node *n = &w->nodes[i];

		if (!n->dom)
			continue;
		dlm_domain_members(n->dom, map);
		sim_each_node (j, w)
			if (has(map, (node_t)j) != (w->nodes[j].state == NODE_IN))
				world_fail(w, "at rest: n%d %s n%d as a member", i,
					   has(map, (node_t)j) ? "counts" : "misses", j);
	}
}
