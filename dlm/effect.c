/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * effect.c: how things leave the core, and how outcomes find back.
 *
 * An effect is a record in one growing buffer; nothing leaves before the input is over,
 * and no input can begin while effects leave (asserted), so the buffer needs neither lock
 * nor copy. Records hold copies: the lock, op or domain they speak of may be gone already.
 *
 * Tokens and timer ids name a slot and its generation, so that an outcome for something
 * forgotten, or an old timer, meets a newer generation and goes nowhere.
 */
#include "dlm/dlm_int.h"

enum fx_kind {
	FX_SEND,
	FX_TIMER_SET,
	FX_TIMER_CLEAR,
	FX_DONE,
	FX_AST,
	FX_BAST,
	FX_UNLOCK_AST,
	FX_JOINED,
	FX_LEFT,
	FX_EVICTED,
	FX_MEMBERS,
	FX_KEY,
	FX_FENCE,
};

struct fx {
	uint32_t size; /* of the record with its bytes, a multiple of 8 */
	uint32_t len;  /* bytes that follow */
	uint8_t kind, call;
	node_t node;
	bool flag;
	uint16_t type;
	int32_t status; /* status, mode, errno */
	uint32_t word;	/* key, ms */
	uint64_t token;
	const void *ops;
	void *data;
	uint8_t bytes[];
};

/* Without memory no step can be finished: stop the volumes, then the process. */
static void die_of_memory(struct dlm *dlm)
{
	struct dlm_domain *dom;

	if (!dlm->fencing) {
		dlm->fencing = true;
		log_err(dlm->log, "dlm", "out of memory: stopping; free memory and mount again");
		cds_list_for_each_entry(dom, &dlm->domains, link) dlm->tr->fence(
			dlm->ctx, dom->cfg.name, "the lock manager is out of memory");
	}
	abort();
}

void *dlm_xalloc(struct dlm *dlm, size_t bytes)
{
	/* Not calloc: glibc's does not look into the thread's cache of small pieces. */
	void *p = malloc(bytes);

	if (!p)
		die_of_memory(dlm);
	return memset(p, 0, bytes);
}

static struct fx *fx_new(struct dlm *dlm, enum fx_kind kind, const void *bytes, size_t len)
{
	size_t size = (sizeof(struct fx) + len + 7) & ~(size_t)7;
	struct fx *fx;

	assert(dlm->inside);
	if (dlm->fx_room - dlm->fx_len < size) {
		size_t room = dlm->fx_room ? dlm->fx_room * 2 : 8192;
		uint8_t *p;

		while (room - dlm->fx_len < size)
			room *= 2;
		p = realloc(dlm->fx, room);
		if (!p)
			die_of_memory(dlm);
		dlm->fx = p;
		dlm->fx_room = room;
	}
	fx = (struct fx *)(void *)(dlm->fx + dlm->fx_len);
	dlm->fx_len += size;
	*fx = (struct fx){ .size = (uint32_t)size, .len = (uint32_t)len, .kind = (uint8_t)kind };
	if (len)
		memcpy(fx->bytes, bytes, len);
	return fx;
}

static void fx_lock(struct dlm *dlm, const struct fx *fx)
{
	const struct dlm_lock_ops *ops = fx->ops;

	(void)dlm;
	switch (fx->kind) {
	case FX_DONE:
		ops->done(fx->data, (enum dlm_call)fx->call, (enum dlm_status)fx->status);
		break;
	case FX_AST:
		ops->ast(fx->data, fx->len ? fx->bytes : NULL);
		break;
	case FX_BAST:
		ops->bast(fx->data, fx->status);
		break;
	default:
		ops->unlock_ast(fx->data, (enum dlm_status)fx->status);
		break;
	}
}

static void fx_domain(struct dlm *dlm, const struct fx *fx)
{
	const struct dlm_domain_ops *ops = fx->ops;
	struct dlm_domain *dom;

	switch (fx->kind) {
	case FX_JOINED:
		memcpy(&dom, fx->bytes, sizeof(dom));
		ops->joined(fx->data, dom, fx->status,
			    fx->len > sizeof(dom) ? (const char *)fx->bytes + sizeof(dom) : "");
		break;
	case FX_LEFT:
		ops->left(fx->data);
		break;
	case FX_EVICTED:
		ops->evicted(fx->data, fx->node);
		break;
	case FX_MEMBERS:
		ops->members(fx->data, fx->node, fx->flag);
		break;
	case FX_KEY:
		(fx->flag ? dlm->tr->key_open : dlm->tr->key_close)(dlm->ctx, fx->word);
		break;
	default: /* FX_FENCE: two strings */
		dlm->tr->fence(dlm->ctx, (const char *)fx->bytes,
			       (const char *)fx->bytes + DLM_DOMAIN_MAX);
		break;
	}
}

static void fx_run(struct dlm *dlm, const struct fx *fx)
{
	switch (fx->kind) {
	case FX_SEND:
		dlm->tr->send(dlm->ctx, fx->token, fx->node, fx->word, fx->type, fx->bytes,
			      fx->len);
		break;
	case FX_TIMER_SET:
		dlm->tr->timer_set(dlm->ctx, fx->token, fx->word);
		break;
	case FX_TIMER_CLEAR:
		dlm->tr->timer_clear(dlm->ctx, fx->token);
		break;
	case FX_DONE:
	case FX_AST:
	case FX_BAST:
	case FX_UNLOCK_AST:
		fx_lock(dlm, fx);
		break;
	default:
		fx_domain(dlm, fx);
		break;
	}
}

void dlm_enter(struct dlm *dlm)
{
	assert(!dlm->inside); /* an effect called back into the core */
	dlm->inside = true;
}

void dlm_exit(struct dlm *dlm)
{
	struct dlm_domain *dom, *next;

	cds_list_for_each_entry(dom, &dlm->domains, link)
		if (!dom->gone)
			dlm_domain_work(dom);
	cds_list_for_each_entry_safe(dom, next, &dlm->domains, link) {
		if (!dom->gone)
			continue;
		dlm_domain_release(dom);
		dlm_locks_free(dom);
		cds_list_del(&dom->link);
		free(dom);
	}
	for (size_t at = 0; at < dlm->fx_len;) {
		const struct fx *fx = (const struct fx *)(const void *)(dlm->fx + at);

		fx_run(dlm, fx);
		at += fx->size;
	}
	dlm->fx_len = 0;
	dlm->inside = false;
}

/* ---- slots ------------------------------------------------------------------ */

enum { SLOT_FREE, SLOT_SEND, SLOT_TIMER, SLOT_WRITTEN };

static uint64_t slot_new(struct dlm *dlm, int kind, struct dlm_domain *dom)
{
	struct dlm_slot *s;
	uint32_t at;

	if (!dlm->free_slot) {
		uint32_t n = dlm->nr_slots ? dlm->nr_slots * 2 : 64;

		s = realloc(dlm->slots, n * sizeof(*s));
		if (!s)
			die_of_memory(dlm);
		memset(s + dlm->nr_slots, 0, (n - dlm->nr_slots) * sizeof(*s));
		dlm->slots = s;
		for (uint32_t i = n; i > dlm->nr_slots; i--) {
			s[i - 1].next_free = dlm->free_slot;
			dlm->free_slot = i;
		}
		dlm->nr_slots = n;
	}
	at = dlm->free_slot;
	s = &dlm->slots[at - 1];
	dlm->free_slot = s->next_free;
	*s = (struct dlm_slot){ .gen = s->gen + 1, .kind = (uint8_t)kind, .dom = dom };
	return (uint64_t)s->gen << 32 | at;
}

static struct dlm_slot *slot_find(struct dlm *dlm, uint64_t token, int kind)
{
	uint32_t at = (uint32_t)token;
	struct dlm_slot *s;

	if (!at || at > dlm->nr_slots)
		return NULL;
	s = &dlm->slots[at - 1];
	return s->kind == kind && s->gen == (uint32_t)(token >> 32) ? s : NULL;
}

static void slot_free(struct dlm *dlm, struct dlm_slot *s)
{
	s->kind = SLOT_FREE;
	s->next_free = dlm->free_slot;
	dlm->free_slot = (uint32_t)(s - dlm->slots) + 1;
}

uint64_t dlm_send(struct dlm_domain *dom, node_t to, uint16_t type, const void *payload,
		  size_t len, dlm_sent_fn fn, void *arg)
{
	struct dlm *dlm = dom->dlm;
	uint64_t token = slot_new(dlm, SLOT_SEND, dom);
	struct dlm_slot *s = slot_find(dlm, token, SLOT_SEND);
	struct fx *fx;

	assert(to != dlm->self && to < NODE_MAX);
	s->node = to;
	s->type = type;
	s->fn = fn;
	s->arg = arg;
	dom->stats.sent[(type - DLM_MSG_FIRST) & 63]++;
	fx = fx_new(dlm, FX_SEND, payload, len);
	fx->token = token;
	fx->node = to;
	fx->type = type;
	fx->word = dlm_msg_membership(type) ? DLM_MEMBER_KEY : dom->key;
	return token;
}

/* The slot stays taken until the outcome comes. */
void dlm_send_forget(struct dlm *dlm, uint64_t token)
{
	struct dlm_slot *s = slot_find(dlm, token, SLOT_SEND);

	if (s)
		s->fn = NULL;
}

void dlm_sends_forget(struct dlm *dlm, const void *arg)
{
	for (uint32_t i = 0; i < dlm->nr_slots; i++) {
		struct dlm_slot *s = &dlm->slots[i];

		if ((s->kind == SLOT_SEND || s->kind == SLOT_WRITTEN) && s->arg == arg)
			s->fn = NULL;
	}
}

void dlm_sent(struct dlm *dlm, uint64_t token, int err, int32_t status)
{
	struct dlm_slot *s, was;

	dlm_enter(dlm);
	s = slot_find(dlm, token, SLOT_SEND);
	if (s) {
		was = *s;
		slot_free(dlm, s);
		if (was.fn)
			was.fn(was.arg, was.node, err, status);
	}
	dlm_exit(dlm);
}

uint64_t dlm_reply_token(struct dlm_domain *dom, node_t to, dlm_sent_fn fn, void *arg)
{
	uint64_t token = slot_new(dom->dlm, SLOT_WRITTEN, dom);
	struct dlm_slot *s = slot_find(dom->dlm, token, SLOT_WRITTEN);

	s->node = to;
	s->fn = fn;
	s->arg = arg;
	return token;
}

static void written(struct dlm *dlm, struct dlm_slot *s)
{
	struct dlm_slot was = *s;

	slot_free(dlm, s);
	if (was.fn)
		was.fn(was.arg, was.node, 0, 0);
}

void dlm_reply_written(struct dlm *dlm, uint64_t token)
{
	struct dlm_slot *s;

	dlm_enter(dlm);
	s = slot_find(dlm, token, SLOT_WRITTEN);
	if (s)
		written(dlm, s);
	dlm_exit(dlm);
}

/* The link on which replies waited is no more. */
void dlm_replies_lost(struct dlm *dlm, node_t node)
{
	for (uint32_t i = 0; i < dlm->nr_slots; i++)
		if (dlm->slots[i].kind == SLOT_WRITTEN && dlm->slots[i].node == node)
			written(dlm, &dlm->slots[i]);
}

void dlm_tm_set(struct dlm_domain *dom, struct dlm_tm *t, uint32_t ms)
{
	struct dlm *dlm = dom->dlm;
	struct fx *fx;

	if (!t->id) {
		t->id = slot_new(dlm, SLOT_TIMER, dom);
		slot_find(dlm, t->id, SLOT_TIMER)->arg = t;
	}
	fx = fx_new(dlm, FX_TIMER_SET, NULL, 0);
	fx->token = t->id;
	fx->word = ms;
}

void dlm_tm_clear(struct dlm_domain *dom, struct dlm_tm *t)
{
	struct dlm *dlm = dom->dlm;
	struct dlm_slot *s = t->id ? slot_find(dlm, t->id, SLOT_TIMER) : NULL;

	if (!s)
		return;
	if (dlm->inside) /* not while dlm_free drops everything */
		fx_new(dlm, FX_TIMER_CLEAR, NULL, 0)->token = t->id;
	slot_free(dlm, s);
	t->id = 0;
}

void dlm_timer(struct dlm *dlm, uint64_t id)
{
	struct dlm_slot *s;

	dlm_enter(dlm);
	s = slot_find(dlm, id, SLOT_TIMER);
	if (s) {
		struct dlm_tm *t = s->arg;

		slot_free(dlm, s);
		t->id = 0;
		t->fn(t->arg);
	}
	dlm_exit(dlm);
}

bool dlm_sends_open(const struct dlm *dlm, node_t to)
{
	for (uint32_t i = 0; i < dlm->nr_slots; i++)
		if (dlm->slots[i].kind == SLOT_SEND && dlm->slots[i].node == to)
			return true;
	return false;
}

void dlm_slots_drop(struct dlm_domain *dom)
{
	struct dlm *dlm = dom->dlm;

	for (uint32_t i = 0; i < dlm->nr_slots; i++) {
		struct dlm_slot *s = &dlm->slots[i];

		if (s->dom != dom || s->kind == SLOT_FREE)
			continue;
		if (s->kind == SLOT_SEND) {
			s->fn = NULL; /* its outcome still comes */
			s->dom = NULL;
		} else if (s->kind == SLOT_TIMER) {
			dlm_tm_clear(dom, s->arg);
		} else {
			slot_free(dlm, s);
		}
	}
}

/* ---- callbacks ---------------------------------------------------------------- */

void dlm_fx_done(struct dlm *dlm, const struct dlm_lock_ops *ops, void *data,
		 enum dlm_call call, enum dlm_status status)
{
	struct fx *fx;

	if (!ops) { /* the core's own lock, on $RECOVERY */
		dlm_elect_done(data, call, status);
		return;
	}
	fx = fx_new(dlm, FX_DONE, NULL, 0);
	fx->ops = ops;
	fx->data = data;
	fx->call = (uint8_t)call;
	fx->status = (int32_t)status;
}

void dlm_fx_ast(struct dlm *dlm, const struct dlm_lock_ops *ops, void *data, const uint8_t *lvb)
{
	struct fx *fx = fx_new(dlm, FX_AST, lvb, lvb ? DLM_LVB_LEN : 0);

	fx->ops = ops;
	fx->data = data;
}

void dlm_fx_bast(struct dlm *dlm, const struct dlm_lock_ops *ops, void *data, int mode)
{
	struct fx *fx = fx_new(dlm, FX_BAST, NULL, 0);

	fx->ops = ops;
	fx->data = data;
	fx->status = mode;
}

void dlm_fx_unlock_ast(struct dlm *dlm, const struct dlm_lock_ops *ops, void *data,
		       enum dlm_status status)
{
	struct fx *fx;

	if (!ops)
		return;
	fx = fx_new(dlm, FX_UNLOCK_AST, NULL, 0);
	fx->ops = ops;
	fx->data = data;
	fx->status = (int32_t)status;
}

static struct fx *fx_for_domain(struct dlm_domain *dom, enum fx_kind kind, const void *bytes,
				size_t len)
{
	struct fx *fx = fx_new(dom->dlm, kind, bytes, len);

	fx->ops = dom->cfg.ops;
	fx->data = dom->cfg.ctx;
	return fx;
}

void dlm_fx_joined(struct dlm_domain *dom, int err, const char *why)
{
	struct {
		struct dlm_domain *dom;
		char why[LOG_LINE_MAX];
	} rec = { .dom = err ? NULL : dom };
	size_t n = why ? strnlen(why, sizeof(rec.why) - 1) : 0;

	if (n)
		memcpy(rec.why, why, n);
	fx_for_domain(dom, FX_JOINED, &rec, sizeof(rec.dom) + n + 1)->status = err;
}

void dlm_fx_left(struct dlm_domain *dom)
{
	fx_for_domain(dom, FX_LEFT, NULL, 0);
}

void dlm_fx_evicted(struct dlm_domain *dom, node_t node)
{
	fx_for_domain(dom, FX_EVICTED, NULL, 0)->node = node;
}

void dlm_fx_members(struct dlm_domain *dom, node_t node, bool joined)
{
	struct fx *fx = fx_for_domain(dom, FX_MEMBERS, NULL, 0);

	fx->node = node;
	fx->flag = joined;
}

void dlm_fx_key(struct dlm_domain *dom, bool open)
{
	struct fx *fx = fx_for_domain(dom, FX_KEY, NULL, 0);

	fx->word = dom->key;
	fx->flag = open;
}

void dlm_fx_fence(struct dlm_domain *dom, const char *why)
{
	char rec[DLM_DOMAIN_MAX + LOG_LINE_MAX] = { 0 };

	memcpy(rec, dom->cfg.name, strnlen(dom->cfg.name, DLM_DOMAIN_MAX - 1));
	memcpy(rec + DLM_DOMAIN_MAX, why, strnlen(why, LOG_LINE_MAX - 1));
	fx_for_domain(dom, FX_FENCE, rec, sizeof(rec));
	log_err(dom->dlm->log, "dlm", "fence domain=%s: %s", dom->cfg.name, why);
}
