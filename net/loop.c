/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * loop.c: the libuv loop on its own thread. The only file that includes <uv.h>, and the
 * only place where the reactor waits.
 *
 * Posts: any thread pushes onto an atomic stack; the loop takes the whole stack with one
 * exchange and reverses it. A push happens before or after that exchange, so two posts
 * of one thread keep their order and posts of several threads the order of their
 * pushes. No wake-up is lost: uv_async_send follows every push, and an async that is
 * sent while its callback runs makes it run again. No mutex, so a real-time thread that
 * posts never waits for a thread of lower priority.
 *
 * A note's `queued` is cleared before its fn runs and after it has left the list, so a
 * notify that finds it set happens before fn starts: fn sees what was written before
 * that notify (release on the exchange of queued, acquire when it is cleared).
 */
#include "net/loop.h"
#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#define HOOK_ROUNDS 64

struct net_loop {
	uv_loop_t uv;
	uv_async_t wake;
	uv_check_t check;	/* after I/O callbacks */
	uv_prepare_t prepare;	/* after timers, before waiting */
	_Atomic(struct net_note *) posts; /* newest first */
	struct net_hook *hooks;
	pthread_t thread;
	atomic_int tid;		/* of the thread, once it runs */
	atomic_bool running;
	bool stopping;		/* loop's thread only */
};

struct net_timer {
	uv_timer_t uv;
	void (*fn)(void *arg);
	void *arg;
};

struct net_poll {
	uv_poll_t uv;
	void (*fn)(void *arg, unsigned int events);
	void *arg;
	unsigned int watched;
};

int64_t net_now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* ---- posts ---------------------------------------------------------------- */

static bool run_posts(struct net_loop *l)
{
	struct net_note *n = atomic_exchange_explicit(&l->posts, NULL, memory_order_acquire);
	struct net_note *first = NULL;
	bool any = n;

	while (n) {
		struct net_note *next = n->next;

		n->next = first;
		first = n;
		n = next;
	}
	while (first) {
		void (*fn)(void *arg) = first->fn;
		void *arg = first->arg;

		n = first;
		first = first->next;
		if (n->allocated)
			free(n);
		else
			atomic_exchange(&n->queued, false);
		fn(arg);
	}
	return any;
}

static void push(struct net_loop *l, struct net_note *n)
{
	struct net_note *head = atomic_load_explicit(&l->posts, memory_order_relaxed);

	do
		n->next = head;
	while (!atomic_compare_exchange_weak_explicit(&l->posts, &head, n, memory_order_acq_rel,
						      memory_order_relaxed));
	uv_async_send(&l->wake);
}

void net_loop_post(struct net_loop *l, void (*fn)(void *arg), void *arg)
{
	struct net_note *n = calloc(1, sizeof(*n));

	/* A post cannot be refused: others wait for what it does. Fifty bytes that
	 * are not there end this mount. */
	assert(n);
	n->fn = fn;
	n->arg = arg;
	n->allocated = true;
	push(l, n);
}

void net_loop_notify(struct net_loop *l, struct net_note *note)
{
	if (!atomic_exchange(&note->queued, true))
		push(l, note);
}

struct call {
	void (*fn)(void *arg);
	void *arg;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool done;
};

static void call_run(void *arg)
{
	struct call *c = arg;

	c->fn(c->arg);
	pthread_mutex_lock(&c->lock);
	c->done = true;
	pthread_cond_signal(&c->cond);
	pthread_mutex_unlock(&c->lock);
}

void net_loop_call(struct net_loop *l, void (*fn)(void *arg), void *arg)
{
	struct call c = { .fn = fn, .arg = arg };

	if (!atomic_load(&l->running)) {
		fn(arg);
		return;
	}
	assert(!net_loop_here(l));
	pthread_mutex_init(&c.lock, NULL);
	pthread_cond_init(&c.cond, NULL);
	net_loop_post(l, call_run, &c);
	pthread_mutex_lock(&c.lock);
	while (!c.done)
		pthread_cond_wait(&c.cond, &c.lock);
	pthread_mutex_unlock(&c.lock);
	pthread_cond_destroy(&c.cond);
	pthread_mutex_destroy(&c.lock);
}

/* ---- the loop -------------------------------------------------------------- */

static void run_hooks(struct net_loop *l)
{
	for (int round = 0; round < HOOK_ROUNDS; round++) {
		bool any = false;

		for (struct net_hook *h = l->hooks; h; h = h->next)
			any |= h->fn(h->arg);
		if (!any)
			return;
	}
	/* Let I/O in before going on. */
	uv_async_send(&l->wake);
}

static void on_wake(uv_async_t *a)
{
	struct net_loop *l = a->data;

	run_posts(l);
	if (l->stopping)
		uv_stop(&l->uv);
}

static void on_check(uv_check_t *c)
{
	run_hooks(c->data);
}

static void on_prepare(uv_prepare_t *p)
{
	run_hooks(p->data);
}

int net_loop_new(struct net_loop **out)
{
	struct net_loop *l = calloc(1, sizeof(*l));
	int err;

	if (!l)
		return -ENOMEM;
	err = uv_loop_init(&l->uv);
	if (err)
		goto undo_alloc;
	err = uv_async_init(&l->uv, &l->wake, on_wake);
	if (err)
		goto undo_loop;
	uv_check_init(&l->uv, &l->check);
	uv_prepare_init(&l->uv, &l->prepare);
	l->wake.data = l;
	l->check.data = l;
	l->prepare.data = l;
	uv_check_start(&l->check, on_check);
	uv_prepare_start(&l->prepare, on_prepare);
	*out = l;
	return 0;

undo_loop:
	uv_loop_close(&l->uv);
undo_alloc:
	free(l);
	return err; /* libuv's errors are negative errnos here */
}

static void *thread_main(void *arg)
{
	struct net_loop *l = arg;

	atomic_store(&l->tid, gettid());
	uv_run(&l->uv, UV_RUN_DEFAULT);
	return NULL;
}

int net_loop_start(struct net_loop *l, const char *thread_name)
{
	sigset_t all, old;
	int err;

	assert(!atomic_load(&l->running));
	l->stopping = false;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	atomic_store(&l->tid, 0);
	atomic_store(&l->running, true);
	err = pthread_create(&l->thread, NULL, thread_main, l);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (err) {
		atomic_store(&l->running, false);
		return -err;
	}
	pthread_setname_np(l->thread, thread_name);
	return 0;
}

bool net_loop_here(struct net_loop *l)
{
	return !atomic_load(&l->running) || atomic_load(&l->tid) == gettid();
}

static void stop_run(void *arg)
{
	struct net_loop *l = arg;

	l->stopping = true;
}

void net_loop_stop(struct net_loop *l)
{
	if (!atomic_load(&l->running))
		return;
	assert(!net_loop_here(l));
	net_loop_post(l, stop_run, l);
	pthread_join(l->thread, NULL);
	atomic_store(&l->running, false);
}

void net_loop_free(struct net_loop *l)
{
	int err;

	if (!l)
		return;
	assert(!atomic_load(&l->running));
	while (run_posts(l))
		;
	uv_close((uv_handle_t *)&l->wake, NULL);
	uv_close((uv_handle_t *)&l->check, NULL);
	uv_close((uv_handle_t *)&l->prepare, NULL);
	uv_run(&l->uv, UV_RUN_NOWAIT); /* close callbacks */
	err = uv_loop_close(&l->uv);
	assert(err == 0); /* a timer or poll was left */
	(void)err;
	free(l);
}

void net_loop_hook(struct net_loop *l, struct net_hook *hook)
{
	struct net_hook **p = &l->hooks;

	while (*p)
		p = &(*p)->next;
	hook->next = NULL;
	*p = hook;
}

void net_loop_unhook(struct net_loop *l, struct net_hook *hook)
{
	for (struct net_hook **p = &l->hooks; *p; p = &(*p)->next) {
		if (*p == hook) {
			*p = hook->next;
			return;
		}
	}
}

/* ---- timers and descriptors -------------------------------------------------- */

static void on_timer(uv_timer_t *u)
{
	struct net_timer *t = u->data;

	t->fn(t->arg);
}

static void free_handle(uv_handle_t *h)
{
	free(h->data);
}

struct net_timer *net_timer_new(struct net_loop *l, void (*fn)(void *arg), void *arg)
{
	struct net_timer *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	uv_timer_init(&l->uv, &t->uv);
	t->uv.data = t;
	t->fn = fn;
	t->arg = arg;
	return t;
}

void net_timer_set(struct net_timer *t, uint64_t ms)
{
	/* libuv counts from the start of the round; we promise "from now". */
	uv_update_time(t->uv.loop);
	uv_timer_start(&t->uv, on_timer, ms, 0);
}

void net_timer_clear(struct net_timer *t)
{
	uv_timer_stop(&t->uv);
}

bool net_timer_armed(const struct net_timer *t)
{
	return uv_is_active((const uv_handle_t *)&t->uv);
}

void net_timer_free(struct net_timer *t)
{
	if (t)
		uv_close((uv_handle_t *)&t->uv, free_handle);
}

static void on_poll(uv_poll_t *u, int status, int events)
{
	struct net_poll *p = u->data;
	unsigned int ev = 0;

	if (status < 0) {
		ev = NET_POLL_ERR;
		p->watched = 0; /* libuv stopped watching */
	}
	if (events & UV_READABLE)
		ev |= NET_POLL_IN;
	if (events & UV_WRITABLE)
		ev |= NET_POLL_OUT;
	p->fn(p->arg, ev);
}

int net_poll_new(struct net_loop *l, int fd, void (*fn)(void *arg, unsigned int events),
		 void *arg, struct net_poll **out)
{
	struct net_poll *p = calloc(1, sizeof(*p));
	int err;

	if (!p)
		return -ENOMEM;
	err = uv_poll_init(&l->uv, &p->uv, fd);
	if (err) {
		free(p);
		return err;
	}
	p->uv.data = p;
	p->fn = fn;
	p->arg = arg;
	*out = p;
	return 0;
}

void net_poll_set(struct net_poll *p, unsigned int events)
{
	int ev = 0;

	if (events == p->watched)
		return; /* libuv would take two system calls to change nothing */
	p->watched = events;
	if (events & NET_POLL_IN)
		ev |= UV_READABLE;
	if (events & NET_POLL_OUT)
		ev |= UV_WRITABLE;
	if (ev)
		uv_poll_start(&p->uv, ev, on_poll);
	else
		uv_poll_stop(&p->uv);
}

void net_poll_free(struct net_poll *p)
{
	if (p)
		uv_close((uv_handle_t *)&p->uv, free_handle);
}
