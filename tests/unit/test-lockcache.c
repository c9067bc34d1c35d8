/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test-lockcache.c: the state table of doc/spec/fs-locking.md section 3, row by row,
 * with a fake DLM that does nothing by itself. Letters are those of its list 3.11.
 *
 * workers = 0: the test runs the downconvert pass. A request that may wait runs in a
 * thread of its own; "it waits" means that the lock counts it as a waiter.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>
#include "fs/cluster/lc_int.h"

enum { NL = DLM_MODE_NL, PR = DLM_MODE_PR, EX = DLM_MODE_EX, LIMIT_S = 20 };
enum { CALLS = 64 };

/* ---- the fake DLM ---------------------------------------------------------------- */

enum kind { LOCK, UNLOCK, CANCEL };

struct call {
	enum kind kind;
	int mode;
	uint32_t flags;
	bool has_lvb;
	uint8_t lvb[DLM_LVB_LEN];
};

static struct fake {
	pthread_mutex_t mutex;
	pthread_cond_t cond;
	struct call call[CALLS];
	unsigned n;
	/* Runs inside the call, on the requester's thread; once. */
	void (*inside)(struct lc_lock *l);
} fake = { .mutex = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER };

static void record(struct lc_lock *l, struct call c, const uint8_t *lvb)
{
	void (*inside)(struct lc_lock *l);

	if (lvb) {
		c.has_lvb = true;
		memcpy(c.lvb, lvb, DLM_LVB_LEN);
	}
	pthread_mutex_lock(&fake.mutex);
	cr_assert_lt(fake.n, CALLS);
	fake.call[fake.n++] = c;
	inside = fake.inside;
	fake.inside = NULL;
	pthread_cond_broadcast(&fake.cond);
	pthread_mutex_unlock(&fake.mutex);
	if (inside)
		inside(l);
}

static void fake_lock(void *ctx, struct lc_lock *l, int mode, uint32_t flags, const uint8_t *lvb)
{
	(void)ctx;
	record(l, (struct call){ .kind = LOCK, .mode = mode, .flags = flags }, lvb);
}

static void fake_unlock(void *ctx, struct lc_lock *l, uint32_t flags, const uint8_t *lvb)
{
	(void)ctx;
	record(l, (struct call){ .kind = UNLOCK, .flags = flags }, lvb);
}

static void fake_cancel(void *ctx, struct lc_lock *l)
{
	(void)ctx;
	record(l, (struct call){ .kind = CANCEL }, NULL);
}

static const struct lc_dlm dlm = { .lock = fake_lock, .unlock = fake_unlock, .cancel = fake_cancel };

static struct timespec limit(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	t.tv_sec += LIMIT_S;
	return t;
}

/* The n-th call, counted from 1; waits for it. */
static struct call nth(unsigned n)
{
	struct timespec until = limit();
	struct call c;

	pthread_mutex_lock(&fake.mutex);
	while (fake.n < n)
		cr_assert_eq(pthread_cond_timedwait(&fake.cond, &fake.mutex, &until), 0,
			     "call %u to the DLM did not come", n);
	c = fake.call[n - 1];
	pthread_mutex_unlock(&fake.mutex);
	return c;
}

static void expect_call(unsigned n, enum kind kind, int mode)
{
	struct call c = nth(n);

	cr_assert_eq(c.kind, kind, "call %u is of kind %d", n, c.kind);
	if (kind == LOCK)
		cr_assert_eq(c.mode, mode, "call %u asks for %d", n, c.mode);
}

static void expect_calls(unsigned n)
{
	pthread_mutex_lock(&fake.mutex);
	cr_assert_eq(fake.n, n, "%u calls were made, not %u", fake.n, n);
	pthread_mutex_unlock(&fake.mutex);
}

static void accept_call(struct lc_lock *l)
{
	lc_dlm_done(l, DLM_CALL_CONVERT, DLM_NORMAL);
}

static void grant(struct lc_lock *l)
{
	accept_call(l);
	lc_dlm_ast(l, NULL);
}

/* ---- a type that keeps count ----------------------------------------------------------- */

static struct {
	atomic_int refreshes, stuffed, ready, worked, after;
	atomic_int refresh_error;
	atomic_bool dirty;
	/* In row 11, once. */
	void (*at_work)(struct lc_lock *l);
	enum lc_work answer;
	uint8_t lvb0; /* of the value block that the last refresh saw */
} seen;

static int m_refresh(struct lc_lock *l, const uint8_t *lvb)
{
	(void)l;
	seen.lvb0 = lvb[0];
	atomic_fetch_add(&seen.refreshes, 1);
	return atomic_load(&seen.refresh_error);
}

static bool m_may(struct lc_lock *l, int new_level)
{
	return l->level != EX || new_level == EX || !atomic_load(&seen.dirty);
}

static void m_ready(struct lc_lock *l)
{
	(void)l;
	atomic_fetch_add(&seen.ready, 1);
	atomic_store(&seen.dirty, false);
}

static enum lc_work m_before(struct lc_lock *l, int blocking, int level)
{
	void (*at_work)(struct lc_lock *l) = seen.at_work;

	(void)blocking;
	(void)level;
	atomic_fetch_add(&seen.worked, 1);
	seen.at_work = NULL;
	if (at_work)
		at_work(l);
	return seen.answer;
}

static void m_after(struct lc_lock *l, enum lc_work what)
{
	(void)l;
	(void)what;
	atomic_fetch_add(&seen.after, 1);
}

static void m_stuff(struct lc_lock *l, uint8_t lvb[DLM_LVB_LEN])
{
	(void)l;
	lvb[0] = 5;
	lvb[1] = (uint8_t)(atomic_fetch_add(&seen.stuffed, 1) + 1);
}

static const struct lc_type type_m = {
	.letter = 'M', .has_lvb = true, .refreshes = true, .recovery_wait = true,
	.refresh = m_refresh, .may_downconvert = m_may, .make_ready = m_ready,
	.before_downconvert = m_before, .after_downconvert = m_after, .stuff_lvb = m_stuff,
};
static const struct lc_type type_w = { .letter = 'W' };
static const struct lc_type type_f = { .letter = 'F', .nocache = true };

static struct lockcache *lc;
static struct lc_lock m;

static void make_lock(struct lc_lock *l, const struct lc_type *type)
{
	uint8_t name[LC_NAME_LEN] = { 0 };

	name[0] = (uint8_t)type->letter;
	lc_init(l, lc, type, name, NULL);
}

static void setup(void)
{
	lc = lc_new(&(struct lc_config){ .dlm = &dlm });
	cr_assert_not_null(lc);
	make_lock(&m, &type_m);
}

static void teardown(void)
{
	lc_stop(lc); /* what a test left held needs no answer */
	m.ro = m.ex = 0;
	lc_drop(&m);
	lc_destroy(&m);
	lc_free(lc);
}

/* ---- requests in threads ------------------------------------------------------------------ */

struct task {
	pthread_t thread;
	struct lc_lock *l;
	int level;
	unsigned flags;
	atomic_bool stop;
	int rc;
};

static void *task_run(void *arg)
{
	struct task *t = arg;

	t->rc = lc_lock_until(t->l, t->level, t->flags, &t->stop);
	return NULL;
}

static void start(struct task *t, struct lc_lock *l, int level, unsigned flags)
{
	*t = (struct task){ .l = l, .level = level, .flags = flags };
	cr_assert_eq(pthread_create(&t->thread, NULL, task_run, t), 0);
}

static int finish(struct task *t)
{
	struct timespec until = limit();

	cr_assert_eq(pthread_timedjoin_np(t->thread, NULL, &until), 0, "the request hangs");
	return t->rc;
}

static void wait_waiters(struct lc_lock *l, unsigned n)
{
	const struct timespec pause = { .tv_nsec = 200000 };
	unsigned now = n + 1;

	for (unsigned i = 0; i < LIMIT_S * 5000; i++) {
		pthread_mutex_lock(&l->mutex);
		now = l->waiters;
		pthread_mutex_unlock(&l->mutex);
		if (now == n)
			return;
		nanosleep(&pause, NULL);
	}
	cr_assert_fail("%u tasks wait, not %u", now, n);
}

static unsigned holders(struct lc_lock *l)
{
	unsigned n;

	pthread_mutex_lock(&l->mutex);
	n = l->ro + l->ex;
	pthread_mutex_unlock(&l->mutex);
	return n;
}

/* Level taken as holder; the DLM grants at once. */
static void take(struct lc_lock *l, int level)
{
	unsigned n = fake.n + 1;
	struct task t;

	start(&t, l, level, 0);
	expect_call(n, LOCK, level);
	grant(l);
	cr_assert_eq(finish(&t), 0);
}

/* The same, and given back: cached. */
static void cache(struct lc_lock *l, int level)
{
	take(l, level);
	lc_unlock(l, level);
}

static void pass(unsigned handled)
{
	cr_assert_eq(lc_downconvert_pass(lc), handled);
}

TestSuite(lockcache, .init = setup, .fini = teardown, .timeout = 60);

/* ---- requests ---------------------------------------------------------------------------- */

Test(lockcache, first_request_makes_the_lock_and_refreshes)
{
	take(&m, PR);
	cr_assert_eq(nth(1).flags, DLM_LKF_VALBLK);
	cr_assert_eq(lc_level(&m), PR);
	cr_assert_eq(seen.refreshes, 1);
	lc_unlock(&m, PR);
}

Test(lockcache, cached_level_asks_nobody)
{
	cache(&m, EX);
	cr_assert_eq(lc_lock(&m, EX, 0), 0);
	cr_assert_eq(lc_lock(&m, EX, 0), 0, "holders are counted, not excluded");
	cr_assert_eq(lc_lock(&m, PR, 0), 0);
	expect_calls(1);
	cr_assert_eq(seen.refreshes, 1);
	cr_assert_eq(holders(&m), 3);
	lc_unlock(&m, EX);
	lc_unlock(&m, PR);
	lc_unlock(&m, EX);
	cr_assert_eq(lc_level(&m), EX);
}

Test(lockcache, upgrade_does_not_refresh)
{
	cache(&m, PR);
	cache(&m, EX);
	cr_assert_eq(seen.refreshes, 1);
}

Test(lockcache, one_request_in_the_dlm_at_a_time)
{
	struct task a, b;

	start(&a, &m, PR, 0);
	expect_call(1, LOCK, PR);
	start(&b, &m, EX, 0);
	wait_waiters(&m, 2);
	expect_calls(1);
	grant(&m);
	cr_assert_eq(finish(&a), 0);
	expect_call(2, LOCK, EX);
	grant(&m);
	cr_assert_eq(finish(&b), 0);
}

Test(lockcache, value_block_of_the_grant_reaches_refresh)
{
	uint8_t lvb[DLM_LVB_LEN] = { 77 };
	struct task t;

	start(&t, &m, PR, 0);
	nth(1);
	accept_call(&m);
	lc_dlm_ast(&m, lvb);
	cr_assert_eq(finish(&t), 0);
	cr_assert_eq(seen.lvb0, 77);
}

/* The other tasks of a refused request find the lock as it was. */
Test(lockcache, refused_request_fails_and_leaves_the_lock_usable)
{
	struct task t;

	start(&t, &m, PR, 0);
	nth(1);
	lc_dlm_done(&m, DLM_CALL_LOCK, DLM_SYSERR);
	cr_assert_eq(finish(&t), -EIO);
	cr_assert_eq(holders(&m), 0);
	take(&m, PR);
}

/* ---- (a) to (n) ----------------------------------------------------------------------------- */

Test(lockcache, a_cached_pr_is_given_back_and_refreshed_at_the_next_request)
{
	cache(&m, PR);
	lc_dlm_bast(&m, EX);
	pass(1);
	expect_call(2, LOCK, NL);
	cr_assert_eq(nth(2).flags, 0, "PR stores no value block");
	grant(&m);
	cr_assert_eq(lc_level(&m), NL);
	pass(0);
	take(&m, PR);
	cr_assert_eq(seen.refreshes, 2);
}

Test(lockcache, b_held_pr_is_given_back_only_after_release)
{
	take(&m, PR);
	lc_dlm_bast(&m, EX);
	pass(1);
	pass(0); /* parked, not polled */
	expect_calls(1);
	lc_unlock(&m, PR);
	pass(1);
	expect_call(2, LOCK, NL);
	grant(&m);
	cr_assert_eq(lc_level(&m), NL);
}

Test(lockcache, b_newcomers_wait_behind_a_blocked_remote_node)
{
	struct task t;

	take(&m, PR);
	lc_dlm_bast(&m, EX);
	start(&t, &m, PR, 0);
	wait_waiters(&m, 1);
	lc_unlock(&m, PR);
	pass(1);
	expect_call(2, LOCK, NL);
	grant(&m);
	expect_call(3, LOCK, PR);
	grant(&m);
	cr_assert_eq(finish(&t), 0);
}

Test(lockcache, c_ex_goes_to_pr_with_the_value_block_and_our_readers_go_on)
{
	struct call c;
	struct task t;

	take(&m, EX);
	lc_dlm_bast(&m, PR);
	cr_assert_eq(lc_lock(&m, PR, 0), 0);
	pass(1);
	expect_calls(1);
	lc_unlock(&m, EX);
	pass(1);
	c = nth(2);
	cr_assert_eq(c.mode, PR);
	cr_assert_eq(c.flags, DLM_LKF_VALBLK);
	cr_assert(c.has_lvb && c.lvb[0] == 5 && c.lvb[1] == 1);
	cr_assert_eq(lc_lock(&m, PR, 0), 0, "while it is on its way");
	grant(&m);
	cr_assert_eq(lc_level(&m), PR);
	cr_assert_eq(lc_lock(&m, PR, 0), 0);
	cr_assert_eq(seen.refreshes, 1);
	start(&t, &m, EX, 0);
	expect_call(3, LOCK, EX);
	grant(&m);
	cr_assert_eq(finish(&t), 0);
	cr_assert_eq(seen.refreshes, 1);
}

Test(lockcache, d_upgrade_steps_back_for_a_remote_ex_and_starts_again)
{
	struct task t;

	cache(&m, PR);
	start(&t, &m, EX, 0);
	expect_call(2, LOCK, EX);
	lc_dlm_bast(&m, EX);
	pass(1);
	expect_calls(2); /* PENDING: no cancel before the call has returned */
	accept_call(&m);
	pass(1);
	expect_call(3, CANCEL, 0);
	pass(0);
	lc_dlm_done(&m, DLM_CALL_CANCEL, DLM_NORMAL);
	lc_dlm_unlock_ast(&m, DLM_NORMAL);
	pass(1);
	expect_call(4, LOCK, NL);
	grant(&m);
	expect_call(5, LOCK, EX);
	cr_assert_eq(nth(5).flags, DLM_LKF_VALBLK);
	grant(&m);
	cr_assert_eq(finish(&t), 0);
	cr_assert_eq(seen.refreshes, 2);
}

Test(lockcache, e_cancel_that_came_too_late_counts_the_requester_in_first)
{
	struct task t;

	cache(&m, PR);
	start(&t, &m, EX, 0);
	expect_call(2, LOCK, EX);
	accept_call(&m);
	lc_dlm_bast(&m, EX);
	pass(1);
	expect_call(3, CANCEL, 0);
	lc_dlm_done(&m, DLM_CALL_CANCEL, DLM_NORMAL);
	lc_dlm_unlock_ast(&m, DLM_CANCELGRANT);
	lc_dlm_ast(&m, NULL);
	cr_assert_eq(finish(&t), 0);
	lc_downconvert_pass(lc);
	expect_calls(3);
	lc_unlock(&m, EX);
	pass(1);
	expect_call(4, LOCK, NL);
	cr_assert_eq(nth(4).flags, DLM_LKF_VALBLK);
	grant(&m);
}

/* The same with the AST first: the late answer must not hit what comes after it. */
Test(lockcache, e_answer_of_a_late_cancel_does_not_touch_the_next_request)
{
	struct task t, u;

	cache(&m, PR);
	start(&t, &m, EX, 0);
	expect_call(2, LOCK, EX);
	accept_call(&m);
	lc_dlm_bast(&m, EX);
	pass(1);
	expect_call(3, CANCEL, 0);
	lc_dlm_ast(&m, NULL);
	cr_assert_eq(finish(&t), 0);
	lc_unlock(&m, EX);
	pass(1);
	expect_call(4, LOCK, NL);
	grant(&m);
	start(&u, &m, PR, 0);
	expect_call(5, LOCK, PR);
	lc_dlm_unlock_ast(&m, DLM_CANCELGRANT);
	wait_waiters(&m, 1);
	grant(&m);
	cr_assert_eq(finish(&u), 0);
}

static void granted_and_wanted_back(struct lc_lock *l)
{
	grant(l);
	lc_dlm_bast(l, EX);
	cr_assert_eq(lc_downconvert_pass(lc), 1);
}

Test(lockcache, f_bast_before_the_requester_ran_waits_until_he_was_counted)
{
	cache(&m, PR);
	fake.inside = granted_and_wanted_back;
	cr_assert_eq(lc_lock(&m, EX, 0), 0);
	expect_calls(2);
	cr_assert_eq(holders(&m), 1);
	lc_unlock(&m, EX);
	pass(1);
	expect_call(3, LOCK, NL);
	grant(&m);
}

Test(lockcache, g_late_return_of_a_call_leaves_the_next_ones_pending_alone)
{
	struct task t;

	cache(&m, PR);
	start(&t, &m, EX, 0);
	expect_call(2, LOCK, EX);
	lc_dlm_ast(&m, NULL); /* before its call has returned */
	cr_assert_eq(finish(&t), 0);
	lc_unlock(&m, EX);
	lc_dlm_bast(&m, PR);
	pass(1);
	expect_call(3, LOCK, PR);
	accept_call(&m); /* the return of call 2 */
	cr_assert(m.flags & LCF_PENDING);
	lc_dlm_bast(&m, EX);
	pass(1);
	expect_calls(3); /* no cancel yet */
	accept_call(&m); /* the return of call 3 */
	cr_assert_not(m.flags & LCF_PENDING);
	pass(1);
	expect_call(4, CANCEL, 0);
}

Test(lockcache, h_bast_ex_while_ex_to_pr_is_on_its_way_cancels_it)
{
	cache(&m, EX);
	lc_dlm_bast(&m, PR);
	pass(1);
	expect_call(2, LOCK, PR);
	lc_dlm_bast(&m, EX);
	pass(1);
	expect_calls(2);
	accept_call(&m);
	pass(1);
	expect_call(3, CANCEL, 0);
	lc_dlm_unlock_ast(&m, DLM_NORMAL);
	cr_assert_eq(lc_level(&m), EX);
	pass(1);
	expect_call(4, LOCK, NL);
	cr_assert_eq(nth(4).flags, DLM_LKF_VALBLK);
	grant(&m);
	cr_assert_eq(lc_level(&m), NL);
	cr_assert_not(lc_blocked(&m));
}

Test(lockcache, h_cancel_too_late_goes_on_from_pr)
{
	cache(&m, EX);
	lc_dlm_bast(&m, PR);
	pass(1);
	accept_call(&m);
	lc_dlm_bast(&m, EX);
	pass(1);
	expect_call(3, CANCEL, 0);
	lc_dlm_unlock_ast(&m, DLM_CANCELGRANT);
	pass(0);
	lc_dlm_ast(&m, NULL);
	cr_assert_eq(lc_level(&m), PR);
	cr_assert(lc_blocked(&m));
	pass(1);
	expect_call(4, LOCK, NL);
	cr_assert_eq(nth(4).flags, 0);
	grant(&m);
	cr_assert_not(lc_blocked(&m));
}

Test(lockcache, h_bast_again_for_the_same_level_leaves_the_running_convert_alone)
{
	cache(&m, EX);
	lc_dlm_bast(&m, EX);
	pass(1);
	expect_call(2, LOCK, NL);
	accept_call(&m);
	lc_dlm_bast(&m, EX);
	lc_dlm_bast(&m, PR);
	lc_downconvert_pass(lc);
	expect_calls(2);
	lc_dlm_ast(&m, NULL);
	cr_assert_eq(lc_level(&m), NL);
	cr_assert_not(lc_blocked(&m));
}

static void refuse(struct lc_lock *l)
{
	lc_dlm_done(l, DLM_CALL_CONVERT, DLM_NOTQUEUED);
}

Test(lockcache, i_noqueue_refused_within_the_call)
{
	fake.inside = refuse;
	cr_assert_eq(lc_lock(&m, EX, LC_NOQUEUE), -EAGAIN);
	cr_assert(nth(1).flags & DLM_LKF_NOQUEUE);
	cr_assert_eq(holders(&m), 0);
	take(&m, PR);
	fake.inside = refuse;
	cr_assert_eq(lc_lock(&m, EX, LC_NOQUEUE), -EAGAIN);
	cr_assert_eq(lc_level(&m), PR);
	cr_assert_eq(holders(&m), 1);
}

Test(lockcache, i_noqueue_refused_later)
{
	struct task t;

	cache(&m, PR);
	start(&t, &m, EX, LC_NOQUEUE);
	nth(2);
	wait_waiters(&m, 1);
	refuse(&m);
	cr_assert_eq(finish(&t), -EAGAIN);
	cr_assert_eq(lc_lock(&m, PR, 0), 0);
}

Test(lockcache, i_noqueue_granted)
{
	struct task t;

	start(&t, &m, EX, LC_NOQUEUE);
	nth(1);
	grant(&m);
	cr_assert_eq(finish(&t), 0);
}

static void give_up(struct task *t)
{
	atomic_store(&t->stop, true);
	lc_look_again(t->l);
}

/* A request for EX that waits, on a lock at NL. */
static void waits(struct task *t)
{
	lc_attach(&m, NL, false);
	grant(&m);
	start(t, &m, EX, 0);
	expect_call(2, LOCK, EX);
	accept_call(&m);
	wait_waiters(&m, 1);
}

Test(lockcache, waiting_is_given_up_and_the_request_taken_back)
{
	struct task t;

	waits(&t);
	give_up(&t);
	expect_call(3, CANCEL, 0);
	lc_dlm_done(&m, DLM_CALL_CANCEL, DLM_NORMAL);
	lc_dlm_unlock_ast(&m, DLM_NORMAL);
	cr_assert_eq(finish(&t), -EINTR);
	cr_assert_eq(holders(&m), 0);
	cr_assert_eq(lc_level(&m), NL);
	expect_calls(3);
	fake.inside = grant;
	cr_assert_eq(lc_lock(&m, EX, 0), 0);
}

Test(lockcache, waiting_is_given_up_too_late)
{
	struct task t;

	waits(&t);
	give_up(&t);
	expect_call(3, CANCEL, 0);
	lc_dlm_done(&m, DLM_CALL_CANCEL, DLM_NORMAL);
	lc_dlm_unlock_ast(&m, DLM_CANCELGRANT);
	lc_dlm_ast(&m, NULL);
	cr_assert_eq(finish(&t), 0);
	cr_assert_eq(holders(&m), 1);
	cr_assert_eq(lc_level(&m), EX);
}

Test(lockcache, giving_up_waits_for_the_request_to_be_accepted)
{
	struct task t;

	lc_attach(&m, NL, false);
	grant(&m);
	start(&t, &m, EX, 0);
	expect_call(2, LOCK, EX);
	wait_waiters(&m, 1);
	give_up(&t);
	wait_waiters(&m, 1);
	expect_calls(2);
	accept_call(&m);
	expect_call(3, CANCEL, 0);
	lc_dlm_unlock_ast(&m, DLM_NORMAL);
	cr_assert_eq(finish(&t), -EINTR);
}

Test(lockcache, giving_up_is_tried_again_when_it_was_refused)
{
	struct task t;

	waits(&t);
	give_up(&t);
	expect_call(3, CANCEL, 0);
	lc_dlm_done(&m, DLM_CALL_CANCEL, DLM_IVLOCKID);
	expect_call(4, CANCEL, 0);
	lc_dlm_unlock_ast(&m, DLM_NORMAL);
	cr_assert_eq(finish(&t), -EINTR);
}

static void *drop_it(void *l)
{
	lc_drop(l);
	return NULL;
}

static pthread_t start_drop(struct lc_lock *l)
{
	pthread_t t;

	cr_assert_eq(pthread_create(&t, NULL, drop_it, l), 0);
	return t;
}

static void finish_drop(pthread_t t)
{
	struct timespec until = limit();

	cr_assert_eq(pthread_timedjoin_np(t, NULL, &until), 0, "drop hangs");
}

Test(lockcache, j_drop_while_queued)
{
	pthread_t t;

	cache(&m, EX);
	lc_dlm_bast(&m, EX);
	t = start_drop(&m);
	expect_call(2, UNLOCK, 0);
	cr_assert_eq(nth(2).flags, DLM_LKF_VALBLK);
	cr_assert_eq(nth(2).lvb[0], 5);
	pass(0);
	lc_dlm_done(&m, DLM_CALL_UNLOCK, DLM_NORMAL);
	lc_dlm_unlock_ast(&m, DLM_NORMAL);
	finish_drop(t);
	cr_assert_eq(lc_level(&m), DLM_MODE_NONE);
}

static pthread_t dropper;

static void drop_meanwhile(struct lc_lock *l)
{
	dropper = start_drop(l);
	wait_waiters(l, 1);
}

Test(lockcache, j_drop_waits_for_the_worker_that_has_it)
{
	cache(&m, EX);
	lc_dlm_bast(&m, EX);
	seen.at_work = drop_meanwhile;
	pass(1);
	expect_call(2, UNLOCK, 0); /* and not a conversion */
	lc_dlm_unlock_ast(&m, DLM_NORMAL);
	finish_drop(dropper);
}

Test(lockcache, j_drop_while_busy)
{
	struct lc_lock w;
	pthread_t t;

	make_lock(&w, &type_w);
	lc_attach(&w, EX, true);
	cr_assert_eq(nth(1).flags, DLM_LKF_LOCAL);
	t = start_drop(&w);
	wait_waiters(&w, 1);
	expect_calls(1);
	grant(&w);
	expect_call(2, UNLOCK, 0);
	cr_assert_eq(nth(2).flags, 0);
	lc_dlm_unlock_ast(&w, DLM_NORMAL);
	finish_drop(t);
	lc_destroy(&w);
}

/* Nobody else would take this request back: the worker leaves a lock alone that goes. */
Test(lockcache, j_drop_takes_back_a_request_that_nobody_waits_for)
{
	struct task a;
	pthread_t t;

	cache(&m, PR);
	start(&a, &m, EX, LC_NONBLOCK);
	cr_assert_eq(finish(&a), -EAGAIN);
	accept_call(&m);
	t = start_drop(&m);
	wait_waiters(&m, 1);
	lc_dlm_bast(&m, EX);
	expect_call(3, CANCEL, 0);
	lc_dlm_unlock_ast(&m, DLM_NORMAL);
	expect_call(4, UNLOCK, 0);
	lc_dlm_unlock_ast(&m, DLM_NORMAL);
	finish_drop(t);
}

Test(lockcache, j_refused_unlock_does_not_hang)
{
	pthread_t t;

	cache(&m, PR);
	t = start_drop(&m);
	nth(2);
	lc_dlm_done(&m, DLM_CALL_UNLOCK, DLM_DENIED);
	finish_drop(t);
}

Test(lockcache, k_nonblocking_request_leaves_and_its_grant_can_be_given_back)
{
	cache(&m, PR);
	cr_assert_eq(lc_lock(&m, EX, LC_NONBLOCK), -EAGAIN);
	expect_call(2, LOCK, EX);
	grant(&m);
	cr_assert_eq(lc_level(&m), EX);
	lc_dlm_bast(&m, EX);
	pass(1); /* nobody is to be counted in first */
	expect_call(3, LOCK, NL);
	grant(&m);
	cr_assert_eq(lc_level(&m), NL);
	take(&m, PR);
}

Test(lockcache, k_nonblocking_request_takes_what_is_cached_and_waits_for_nobody)
{
	cache(&m, PR);
	cr_assert_eq(lc_lock(&m, PR, LC_NONBLOCK), 0);
	lc_dlm_bast(&m, EX);
	cr_assert_eq(lc_lock(&m, PR, LC_NONBLOCK), -EAGAIN);
	expect_calls(1);
	lc_recovery_pending(lc, 1);
	lc_unlock(&m, PR);
	cr_assert_eq(lc_lock(&m, PR, LC_NONBLOCK), -EAGAIN);
	lc_recovery_pending(lc, -1);
}

static void count_resumed(void *ctx)
{
	atomic_fetch_add((atomic_int *)ctx, 1);
}

Test(lockcache, k_the_first_request_served_after_a_recovery_is_told_once)
{
	atomic_int told = 0;
	struct task a, b;

	lc->cfg.resumed = count_resumed;
	lc->cfg.resumed_ctx = &told;
	cache(&m, PR);
	lc_recovery_pending(lc, 1);
	start(&a, &m, PR, 0);
	start(&b, &m, PR, 0);
	nanosleep(&(struct timespec){ .tv_nsec = 20000000 }, NULL);
	cr_assert_eq(told, 0);
	lc_recovery_pending(lc, -1);
	cr_assert_eq(finish(&a), 0);
	cr_assert_eq(finish(&b), 0);
	cr_assert_eq(told, 1);
	lc_unlock(&m, PR);
	lc_unlock(&m, PR);
}

/* Found by kill.sh on a busy machine: who waited for a lock that the dead node had was
 * answered after the journal was home, and was not seen as one who had waited. */
Test(lockcache, k_a_request_that_waited_for_the_dead_nodes_lock_is_told)
{
	atomic_int told = 0;
	struct task a;

	lc->cfg.resumed = count_resumed;
	lc->cfg.resumed_ctx = &told;
	start(&a, &m, PR, 0);
	expect_call(1, LOCK, PR);
	wait_waiters(&m, 1);
	lc_recovery_pending(lc, 1);
	lc_recovery_pending(lc, -1);
	grant(&m);
	cr_assert_eq(finish(&a), 0);
	cr_assert_eq(told, 1);
	lc_unlock(&m, PR);
}

Test(lockcache, l_late_bast_is_ignored)
{
	cache(&m, PR);
	lc_dlm_bast(&m, PR); /* at PR */
	pass(0);
	cr_assert_not(lc_blocked(&m));
	lc_dlm_bast(&m, EX);
	pass(1);
	grant(&m);
	lc_dlm_bast(&m, EX); /* at NL */
	lc_dlm_bast(&m, PR);
	pass(0);
	cr_assert_not(lc_blocked(&m));
	expect_calls(2);
	take(&m, EX);
	expect_calls(3);
}

Test(lockcache, m_failed_refresh_is_due_again_for_the_next_holder)
{
	struct task t;

	seen.refresh_error = -ESTALE;
	start(&t, &m, PR, 0);
	nth(1);
	grant(&m);
	cr_assert_eq(finish(&t), -ESTALE);
	cr_assert_eq(holders(&m), 0);
	cr_assert_eq(lc_lock(&m, PR, 0), -ESTALE);
	cr_assert_eq(seen.refreshes, 2);
	seen.refresh_error = 0;
	cr_assert_eq(lc_lock(&m, PR, 0), 0);
	cr_assert_eq(lc_lock(&m, PR, 0), 0);
	cr_assert_eq(seen.refreshes, 3);
	expect_calls(1);
}

Test(lockcache, n_value_block_of_an_unrefreshed_ex_goes_back_as_it_came)
{
	uint8_t lvb[DLM_LVB_LEN] = { 5, 99 };
	struct task t;
	struct call c;

	seen.refresh_error = -EIO;
	start(&t, &m, EX, 0);
	nth(1);
	accept_call(&m);
	lc_dlm_ast(&m, lvb);
	cr_assert_eq(finish(&t), -EIO);
	lc_dlm_bast(&m, EX);
	pass(1);
	c = nth(2);
	cr_assert_eq(c.flags, DLM_LKF_VALBLK);
	cr_assert_arr_eq(c.lvb, lvb, DLM_LVB_LEN);
	cr_assert_eq(seen.stuffed, 0);
	grant(&m);
}

Test(lockcache, n_value_block_is_not_touched_at_pr)
{
	cache(&m, EX);
	lc_dlm_bast(&m, PR);
	pass(1);
	grant(&m);
	cr_assert_eq(seen.stuffed, 1);
	lc_dlm_bast(&m, EX);
	pass(1);
	cr_assert_eq(nth(3).flags, 0);
	grant(&m);
	cr_assert_eq(seen.stuffed, 1);
}

/* ---- more rows ---------------------------------------------------------------------------------- */

Test(lockcache, dirty_ex_is_made_ready_before_it_goes_down)
{
	cache(&m, EX);
	seen.dirty = true;
	lc_dlm_bast(&m, PR);
	pass(1);
	cr_assert_eq(seen.ready, 1);
	expect_call(2, LOCK, PR);
	grant(&m);
}

static void dirtied(struct lc_lock *l)
{
	(void)l;
	atomic_store(&seen.dirty, true);
}

/* Flushing data of a file writes metadata. */
Test(lockcache, what_the_work_made_dirty_is_made_ready_too)
{
	cache(&m, EX);
	seen.at_work = dirtied;
	lc_dlm_bast(&m, EX);
	pass(1);
	cr_assert_eq(seen.worked, 1);
	cr_assert_eq(seen.ready, 1);
	expect_call(2, LOCK, NL);
	grant(&m);
}

static void more_is_wanted(struct lc_lock *l)
{
	lc_dlm_bast(l, EX);
}

Test(lockcache, work_is_done_again_when_more_is_wanted_meanwhile)
{
	cache(&m, EX);
	seen.at_work = more_is_wanted;
	lc_dlm_bast(&m, PR);
	pass(1);
	cr_assert_eq(seen.worked, 2);
	expect_call(2, LOCK, NL);
	grant(&m);
}

static void reader_comes(struct lc_lock *l)
{
	cr_assert_eq(lc_lock(l, PR, 0), 0);
}

/* EX -> PR may be prepared while our readers come and go; EX -> NL is not done under one. */
Test(lockcache, reader_that_came_during_the_work_is_no_obstacle_to_pr)
{
	cache(&m, EX);
	seen.at_work = reader_comes;
	lc_dlm_bast(&m, PR);
	pass(1);
	expect_call(2, LOCK, PR);
	grant(&m);
	cr_assert_eq(holders(&m), 1);
}

static void reader_comes_and_more_is_wanted(struct lc_lock *l)
{
	reader_comes(l);
	lc_dlm_bast(l, EX);
}

Test(lockcache, reader_that_came_during_the_work_holds_up_nl)
{
	cache(&m, EX);
	seen.at_work = reader_comes_and_more_is_wanted;
	lc_dlm_bast(&m, PR);
	pass(1);
	expect_calls(1);
	lc_unlock(&m, PR);
	lc_downconvert_pass(lc);
	expect_call(2, LOCK, NL);
	grant(&m);
}

Test(lockcache, work_can_stop_the_conversion)
{
	cache(&m, EX);
	seen.answer = LC_WORK_STOP;
	lc_dlm_bast(&m, EX);
	pass(1);
	cr_assert_eq(seen.after, 1);
	expect_calls(1);
	seen.answer = LC_WORK_GO;
}

Test(lockcache, refused_conversion_down_is_tried_again_later)
{
	cache(&m, PR);
	lc_dlm_bast(&m, EX);
	pass(1);
	expect_call(2, LOCK, NL);
	lc_dlm_done(&m, DLM_CALL_CONVERT, DLM_DENIED);
	pass(0);
	lc_kick(lc);
	pass(1);
	expect_call(3, LOCK, NL);
	grant(&m);
	cr_assert_eq(lc_level(&m), NL);
}

Test(lockcache, new_object_is_attached_without_refresh)
{
	lc_attach(&m, EX, false);
	lc_attach(&m, EX, false);
	expect_calls(1);
	cr_assert_eq(nth(1).flags, DLM_LKF_VALBLK);
	grant(&m);
	cr_assert_eq(lc_lock(&m, EX, 0), 0);
	cr_assert_eq(seen.refreshes, 0);
	lc_unlock(&m, EX);
}

Test(lockcache, request_waits_for_an_attach_under_way)
{
	struct task t;

	lc_attach(&m, EX, false);
	start(&t, &m, EX, 0);
	wait_waiters(&m, 1);
	lc_dlm_bast(&m, EX);
	accept_call(&m);
	pass(1); /* an attach is not cancelled */
	expect_calls(1);
	lc_dlm_ast(&m, NULL);
	lc_downconvert_pass(lc);
	/* Somebody else was faster: then the requester asks again. */
	if (fake.n == 2) {
		expect_call(2, LOCK, NL);
		grant(&m);
		expect_call(3, LOCK, EX);
		grant(&m);
	}
	cr_assert_eq(finish(&t), 0);
}

Test(lockcache, flock_type_ignores_basts_and_is_lowered_by_hand)
{
	struct lc_lock f;
	pthread_t t;

	make_lock(&f, &type_f);
	take(&f, EX);
	lc_dlm_bast(&f, EX);
	pass(0);
	lc_unlock(&f, EX);
	fake.inside = grant;
	lc_lower(&f);
	expect_call(2, LOCK, NL);
	cr_assert_eq(lc_level(&f), NL);
	fake.inside = NULL;
	t = start_drop(&f);
	nth(3);
	lc_dlm_unlock_ast(&f, DLM_NORMAL);
	finish_drop(t);
	lc_destroy(&f);
}

/* ---- recovery, stop ------------------------------------------------------------------------------ */

/* Waiting tasks are not counted at a lock then: the DLM is not asked. */
Test(lockcache, m_requests_wait_for_recovery_before_asking)
{
	struct lc_lock w;
	struct task t;

	make_lock(&w, &type_w);
	lc_recovery_pending(lc, 1);
	start(&t, &m, PR, 0);
	take(&w, EX); /* other types do not wait */
	expect_calls(1);
	lc_recovery_pending(lc, -1);
	expect_call(2, LOCK, PR);
	grant(&m);
	cr_assert_eq(finish(&t), 0);
	lc_unlock(&w, EX);
	lc_stop(lc);
	lc_drop(&w);
	lc_destroy(&w);
}

static void granted_by_a_death(struct lc_lock *l)
{
	lc_recovery_pending(lc, 1);
	grant(l);
}

Test(lockcache, m_requests_wait_for_recovery_after_the_grant_before_the_refresh)
{
	struct task t;

	fake.inside = granted_by_a_death;
	start(&t, &m, PR, 0);
	nth(1);
	for (unsigned i = 0; holders(&m) == 0 && i < LIMIT_S * 5000; i++)
		nanosleep(&(struct timespec){ .tv_nsec = 200000 }, NULL);
	cr_assert_eq(holders(&m), 1);
	cr_assert_eq(seen.refreshes, 0);
	lc_recovery_pending(lc, -1);
	cr_assert_eq(finish(&t), 0);
	cr_assert_eq(seen.refreshes, 1);
}

Test(lockcache, recovery_itself_does_not_wait)
{
	lc_recovery_pending(lc, 1);
	fake.inside = grant;
	cr_assert_eq(lc_lock(&m, EX, LC_IN_RECOVERY), 0);
	lc_recovery_pending(lc, -1);
}

Test(lockcache, stop_fails_all_who_wait_and_all_who_come)
{
	struct task a, b, c;
	struct lc_lock w;

	make_lock(&w, &type_w);
	take(&w, PR);
	lc_dlm_bast(&w, EX);
	start(&a, &w, PR, 0); /* row 5 */
	start(&b, &m, PR, 0); /* row 3 */
	wait_waiters(&w, 1);
	wait_waiters(&m, 1);
	lc_stop(lc);
	cr_assert_eq(finish(&a), -EIO);
	cr_assert_eq(finish(&b), -EIO);
	start(&c, &w, PR, 0);
	cr_assert_eq(finish(&c), -EIO);
	lc_unlock(&w, PR);
	lc_drop(&w);
	lc_destroy(&w);
	expect_calls(2);
}

Test(lockcache, stop_fails_who_waits_for_recovery)
{
	struct task t;

	lc_recovery_pending(lc, 1);
	start(&t, &m, PR, 0);
	lc_stop(lc);
	cr_assert_eq(finish(&t), -EIO);
	lc_recovery_pending(lc, -1);
}

/* ---- serving while giving away (12.4) ---------------------------------------------------------------- */

static struct task served;
static int rounds;

static void serve_a_reader(struct lc_lock *l)
{
	start(&served, l, PR, LC_PRESENT);
	wait_waiters(l, 2); /* with the one who is not served */
	lc_serve(l, 0);
	cr_assert_eq(finish(&served), 1, "served although blocked");
	lc_unlock(l, PR);
	while (lc_serve_end(l))
		rounds++;
}

Test(lockcache, reader_is_served_while_the_pages_are_taken_back)
{
	struct task late, plain;

	cache(&m, PR);
	lc_dlm_bast(&m, EX);
	start(&plain, &m, PR, 0);
	wait_waiters(&m, 1);
	seen.at_work = serve_a_reader;
	pass(1);
	cr_assert_eq(rounds, 1, "what was served must be taken back in a second round");
	expect_call(2, LOCK, NL);
	start(&late, &m, PR, LC_PRESENT);
	wait_waiters(&m, 2);
	grant(&m);
	expect_call(3, LOCK, PR);
	grant(&m);
	cr_assert_eq(finish(&late), 0);
	cr_assert_eq(finish(&plain), 0);
}

static void serve_late(struct lc_lock *l)
{
	start(&served, l, PR, LC_PRESENT);
	wait_waiters(l, 1);
	lc_serve(l, 3600 * 1000);
	cr_assert_not(lc_serve_end(l));
}

Test(lockcache, nobody_is_served_before_the_delay_is_over)
{
	cache(&m, PR);
	lc_dlm_bast(&m, EX);
	seen.at_work = serve_late;
	pass(1);
	expect_call(2, LOCK, NL);
	grant(&m);
	expect_call(3, LOCK, PR);
	grant(&m);
	cr_assert_eq(finish(&served), 0);
}

static void writer_is_not_served(struct lc_lock *l)
{
	lc_serve(l, 0);
	start(&served, l, EX, LC_PRESENT);
	wait_waiters(l, 1);
	cr_assert_not(lc_serve_end(l));
}

Test(lockcache, nobody_is_served_above_the_present_level)
{
	cache(&m, PR);
	lc_dlm_bast(&m, EX);
	seen.at_work = writer_is_not_served;
	pass(1);
	expect_call(2, LOCK, NL);
	grant(&m);
	expect_call(3, LOCK, EX);
	grant(&m);
	cr_assert_eq(finish(&served), 0);
}

/* ---- with worker threads --------------------------------------------------------------------------------- */

Test(lockcache, workers_give_back_by_themselves_and_try_again_by_themselves)
{
	struct lockcache *other = lc_new(&(struct lc_config){ .dlm = &dlm, .workers = 2 });
	struct lockcache *was = lc;
	struct lc_lock w;

	cr_assert_not_null(other);
	lc = other;
	make_lock(&w, &type_w);
	lc = was;
	take(&w, EX);
	lc_dlm_bast(&w, PR);
	lc_unlock(&w, EX);
	expect_call(2, LOCK, PR);
	lc_dlm_done(&w, DLM_CALL_CONVERT, DLM_DENIED);
	expect_call(3, LOCK, PR);
	grant(&w);
	cr_assert_eq(lc_level(&w), PR);
	lc_stop(other);
	lc_drop(&w);
	lc_destroy(&w);
	lc_free(other);
}
