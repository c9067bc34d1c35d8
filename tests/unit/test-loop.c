/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test-loop.c: posts keep their order and are never lost; timers, descriptors, hooks. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>
#include "net/loop.h"

static struct net_loop *started(void)
{
	struct net_loop *l;

	alarm(60);
	cr_assert_eq(net_loop_new(&l), 0);
	cr_assert_eq(net_loop_start(l, "test-loop"), 0);
	return l;
}

enum { THREADS = 4, POSTS = 20000 };

struct seen {
	struct net_loop *l;
	int next[THREADS];	/* loop's thread only */
	int out_of_order;
};

struct job {
	struct seen *s;
	int thread, i;
};

static void job_run(void *arg)
{
	struct job *j = arg;

	if (j->s->next[j->thread] != j->i)
		j->s->out_of_order++;
	j->s->next[j->thread] = j->i + 1;
	free(j);
}

struct poster {
	struct seen *s;
	int thread;
};

static void *poster_main(void *arg)
{
	struct poster *p = arg;

	for (int i = 0; i < POSTS; i++) {
		struct job *j = malloc(sizeof(*j));

		*j = (struct job){ p->s, p->thread, i };
		net_loop_post(p->s->l, job_run, j);
	}
	return NULL;
}

Test(loop, every_post_runs_once_and_in_order_of_its_thread)
{
	struct seen s = { .l = started() };
	struct poster p[THREADS];
	pthread_t t[THREADS];

	for (int i = 0; i < THREADS; i++) {
		p[i] = (struct poster){ &s, i };
		pthread_create(&t[i], NULL, poster_main, &p[i]);
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	net_loop_stop(s.l); /* runs after all that was posted */
	for (int i = 0; i < THREADS; i++)
		cr_assert_eq(s.next[i], POSTS);
	cr_assert_eq(s.out_of_order, 0);
	net_loop_free(s.l);
}

static void where_run(void *arg)
{
	struct net_loop *l = *(struct net_loop **)arg;

	*(struct net_loop **)arg = net_loop_here(l) ? NULL : l;
}

Test(loop, call_runs_on_the_thread_and_waits)
{
	struct net_loop *l = started(), *arg = l;

	cr_assert_not(net_loop_here(l));
	for (int i = 0; i < 100; i++) {
		arg = l;
		net_loop_call(l, where_run, &arg);
		cr_assert_null(arg, "ran elsewhere");
	}
	net_loop_stop(l);
	cr_assert(net_loop_here(l));
	net_loop_free(l);
}

struct counted {
	atomic_int wanted, seen, runs;
};

static void note_run(void *arg)
{
	struct counted *c = arg;

	atomic_store(&c->seen, atomic_load(&c->wanted));
	atomic_fetch_add(&c->runs, 1);
}

static void *notify_main(void *arg)
{
	void **a = arg;
	struct counted *c = a[1];

	for (int i = 0; i < POSTS; i++) {
		atomic_fetch_add(&c->wanted, 1);
		net_loop_notify(a[0], a[2]);
	}
	return NULL;
}

Test(loop, the_last_notify_is_always_seen)
{
	struct net_loop *l = started();
	struct counted c = { 0 };
	struct net_note note = { .fn = note_run, .arg = &c };
	void *a[3] = { l, &c, &note };
	pthread_t t[2];

	for (int i = 0; i < 2; i++)
		pthread_create(&t[i], NULL, notify_main, a);
	for (int i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	net_loop_stop(l);
	cr_assert_eq(atomic_load(&c.seen), 2 * POSTS);
	cr_assert_geq(atomic_load(&c.runs), 1);
	net_loop_free(l);
}

struct alarm {
	struct net_loop *l;
	struct net_timer *t[2];
	int64_t set_ms, fired_ms;
	atomic_int fired;
	int order[2], n;
};

static void late(void *arg)
{
	struct alarm *a = arg;

	a->order[a->n++] = 2;
	a->fired_ms = net_now_ms();
	atomic_store(&a->fired, 1);
}

static void early(void *arg)
{
	struct alarm *a = arg;

	a->order[a->n++] = 1;
	net_timer_set(a->t[1], 30); /* moved from 10 s */
}

static void alarm_start(void *arg)
{
	struct alarm *a = arg;

	a->t[0] = net_timer_new(a->l, early, a);
	a->t[1] = net_timer_new(a->l, late, a);
	a->set_ms = net_now_ms();
	net_timer_set(a->t[1], 10000);
	net_timer_set(a->t[0], 20);
	cr_assert(net_timer_armed(a->t[0]));
}

static void alarm_end(void *arg)
{
	struct alarm *a = arg;

	cr_assert_not(net_timer_armed(a->t[0]));
	net_timer_free(a->t[0]);
	net_timer_free(a->t[1]);
}

Test(loop, timers_fire_once_not_early_and_can_be_moved)
{
	struct alarm a = { .l = started() };

	net_loop_call(a.l, alarm_start, &a);
	while (!atomic_load(&a.fired))
		usleep(1000);
	net_loop_call(a.l, alarm_end, &a);
	net_loop_stop(a.l);
	cr_assert_eq(a.n, 2);
	cr_assert_eq(a.order[0], 1);
	cr_assert_geq(a.fired_ms - a.set_ms, 49);
	cr_assert_lt(a.fired_ms - a.set_ms, 5000);
	net_loop_free(a.l);
}

struct piped {
	struct net_loop *l;
	struct net_poll *p;
	int fd[2];
	atomic_int got;
	struct net_hook hook;
	int hook_work, hooks_ran;
};

static void pipe_ready(void *arg, unsigned int events)
{
	struct piped *x = arg;
	char c;

	if ((events & NET_POLL_IN) && read(x->fd[0], &c, 1) == 1)
		x->hook_work = 3;
}

/* Has work three times in a row: the loop must not wait before it is done. */
static bool pipe_hook(void *arg)
{
	struct piped *x = arg;

	if (!x->hook_work)
		return false;
	x->hooks_ran++;
	if (--x->hook_work == 0)
		atomic_store(&x->got, 1);
	return true;
}

Test(loop, descriptors_are_watched_and_hooks_run_before_waiting)
{
	struct piped x = { 0 };

	alarm(60);
	cr_assert_eq(pipe(x.fd), 0);
	cr_assert_eq(net_loop_new(&x.l), 0);
	x.hook = (struct net_hook){ .fn = pipe_hook, .arg = &x };
	net_loop_hook(x.l, &x.hook);
	cr_assert_eq(net_poll_new(x.l, x.fd[0], pipe_ready, &x, &x.p), 0);
	net_poll_set(x.p, NET_POLL_IN);
	cr_assert_eq(net_loop_start(x.l, "test-loop"), 0);
	cr_assert_eq(write(x.fd[1], "x", 1), 1);
	while (!atomic_load(&x.got))
		usleep(1000);
	net_loop_stop(x.l);
	cr_assert_eq(x.hooks_ran, 3);
	net_poll_free(x.p);
	net_loop_free(x.l);
	close(x.fd[0]);
	close(x.fd[1]);
}
