/* SPDX-License-Identifier: GPL-2.0-or-later */
/* dlm-user.c: users of locks on the DLM bed (dlm-user.h). */
#include "tests/unit/dlm-user.h"

#include <criterion/criterion.h>
#include <string.h>
#include "dlm/check.h"

static int clock_of_callbacks;

static void on_done(void *data, enum dlm_call call, enum dlm_status status)
{
	struct user *u = data;

	u->dones++;
	u->done_call = (int)call;
	u->done = (int)status;
	u->at_done = ++clock_of_callbacks;
	if (call == DLM_CALL_LOCK && status != DLM_NORMAL)
		u->lock = NULL;
}

static void on_ast(void *data, const uint8_t *lvb)
{
	struct user *u = data;

	u->asts++;
	u->at_ast = ++clock_of_callbacks;
	u->has_lvb = lvb != NULL;
	if (lvb)
		memcpy(u->lvb, lvb, DLM_LVB_LEN);
}

static void on_bast(void *data, int mode)
{
	struct user *u = data;

	u->basts++;
	u->bast_mode = mode;
	u->at_bast = ++clock_of_callbacks;
}

static void on_unlock_ast(void *data, enum dlm_status status)
{
	struct user *u = data;

	u->unlock_asts++;
	u->unlock_status = (int)status;
	u->at_unlock_ast = ++clock_of_callbacks;
}

const struct dlm_lock_ops user_ops = { .done = on_done, .ast = on_ast, .bast = on_bast,
				       .unlock_ast = on_unlock_ast };

void lab_check(struct lab *lab)
{
	struct dlm *cores[BED_NODES];
	char why[300] = "";

	if (lab->no_check)
		return;
	for (int i = 0; i < BED_NODES; i++)
		cores[i] = lab->bed.n[i].dlm;
	for (int i = 0; lab->forged && i < BED_NODES; i++)
		cr_assert(!cores[i] || dlm_check(cores[i], why, sizeof(why)), "%s", why);
	if (lab->forged)
		return;
	cr_assert(dlm_check_all(cores, BED_NODES, why, sizeof(why)), "%s", why);
}

static enum bed_fate verdict(struct bed *bed, const struct bed_msg *m)
{
	struct lab *lab = (struct lab *)bed;
	enum bed_fate fate = BED_DELIVER;
	struct kept *k;

	lab_check(lab);
	if (lab->hold_type == m->type && (!lab->hold_from || lab->hold_from == m->from) &&
	    (!lab->hold_to || lab->hold_to == m->to))
		return BED_KEEP;
	if (lab->verdict)
		fate = lab->verdict(lab, m);
	if (fate == BED_KEEP)
		return fate;
	if (getenv("LAB_TRACE"))
		fprintf(stderr, "%5llu %d>%d %s\n", (unsigned long long)bed->now, m->from, m->to,
			dlm_msg_name(m->type));
	cr_assert_lt(lab->nr_sent, 512);
	k = &lab->sent[lab->nr_sent++];
	*k = (struct kept){ .from = m->from, .to = m->to, .type = m->type, .len = m->len };
	memcpy(k->payload, m->payload, m->len);
	return fate;
}

void lab_clear(struct lab *lab)
{
	lab->bed.logged = 0;
	lab->nr_sent = 0;
}

void lab_open(struct lab *lab, int nodes)
{
	memset(lab, 0, sizeof(*lab));
	bed_init(&lab->bed);
	lab->bed.loss = -ENOTCONN;
	for (int i = 1; i <= nodes; i++) {
		struct bed_node *n = bed_core(&lab->bed, (node_t)i);

		bed_join(n);
		bed_run(&lab->bed, 1000);
		cr_assert(n->joined, "node %d: %s", i, n->why);
	}
	lab->bed.verdict = verdict;
	lab_clear(lab);
}

void lab_close(struct lab *lab)
{
	lab_check(lab);
	bed_done(&lab->bed);
}

void lab_run(struct lab *lab, uint32_t ms)
{
	bed_run(&lab->bed, ms);
	lab_check(lab);
}

void lab_one(struct lab *lab)
{
	cr_assert(bed_step(&lab->bed), "nothing to carry");
	lab_check(lab);
}

void lab_until(struct lab *lab, uint16_t type)
{
	for (int i = 0; i < 1000; i++) {
		if (lab->bed.queue && lab->bed.queue->type == type)
			return;
		lab_one(lab);
	}
	cr_assert_fail("no %s came", dlm_msg_name(type));
}

void lab_hold(struct lab *lab, uint16_t type, node_t from, node_t to)
{
	lab->hold_type = type;
	lab->hold_from = from;
	lab->hold_to = to;
}

void lab_release(struct lab *lab)
{
	lab->hold_type = 0;
	bed_release(&lab->bed);
}

void lab_die(struct lab *lab, node_t id)
{
	lab->hold_type = 0;
	bed_die(&lab->bed, id);
	lab_check(lab);
}

const struct kept *lab_sent(const struct lab *lab, uint16_t type, node_t from, node_t to, int k)
{
	for (int i = 0; i < lab->nr_sent; i++) {
		const struct kept *m = &lab->sent[i];

		if (m->type == type && (!from || m->from == from) && (!to || m->to == to) &&
		    k-- == 0)
			return m;
	}
	return NULL;
}

int lab_count(const struct lab *lab, uint16_t type, node_t from, node_t to)
{
	int n = 0;

	while (lab_sent(lab, type, from, to, n))
		n++;
	return n;
}

void user_lock(struct lab *lab, struct user *u, node_t n, const char *name, int mode,
	       uint32_t flags)
{
	memset(u, 0, sizeof(*u));
	u->n = &lab->bed.n[n];
	u->done = u->unlock_status = -1;
	cr_assert_eq(dlm_lock(u->n->dom, name, strlen(name), mode, flags, &user_ops, u, &u->lock),
		     0);
	if (u->done > 0)
		u->lock = NULL;
	lab_check(lab);
}

static void fill(uint8_t *buf, uint8_t lvb)
{
	memset(buf, lvb, DLM_LVB_LEN);
}

void user_convert(struct lab *lab, struct user *u, int mode, uint32_t flags, uint8_t lvb)
{
	uint8_t buf[DLM_LVB_LEN];

	fill(buf, lvb);
	u->done = -1;
	dlm_convert(u->lock, mode, flags, buf);
	lab_check(lab);
}

void user_unlock(struct lab *lab, struct user *u, uint32_t flags, uint8_t lvb)
{
	uint8_t buf[DLM_LVB_LEN];

	fill(buf, lvb);
	u->done = u->unlock_status = -1;
	dlm_unlock(u->lock, flags, buf);
	lab_check(lab);
}

void user_cancel(struct lab *lab, struct user *u)
{
	u->done = u->unlock_status = -1;
	dlm_cancel(u->lock);
	lab_check(lab);
}

void user_hold(struct lab *lab, struct user *u, node_t n, const char *name, int mode,
	       uint32_t flags)
{
	user_lock(lab, u, n, name, mode, flags);
	lab_run(lab, 300);
	cr_assert_eq(u->asts, 1, "not granted: done %d", u->done);
	cr_assert_eq(u->done, DLM_NORMAL);
}

struct dlm_res *lab_res(struct lab *lab, node_t n, const char *name)
{
	struct dlm_name nm = dlm_name_make(name, strlen(name));

	return dlm_res_find(lab->bed.n[n].dom, &nm);
}

static struct dlm_lock *find(struct lab *lab, node_t n, const char *name, const struct user *u)
{
	struct dlm_res *res = lab_res(lab, n, name);

	return res && u->lock ? dlm_lock_find(res, u->n->id, u->lock->cookie) : NULL;
}

char lab_queue(struct lab *lab, node_t n, const char *name, const struct user *u)
{
	struct dlm_lock *l = find(lab, n, name, u);

	return l ? "GCB"[l->list] : '-';
}

int lab_mode(struct lab *lab, node_t n, const char *name, const struct user *u)
{
	struct dlm_lock *l = find(lab, n, name, u);

	return l ? l->mode : -2;
}
