/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test-handler.c: what comes from outside (doc/spec/dlm.md 3.1, 3.2, 11).
 *
 * Each message type is built right, then spoilt: every length from 0 to one too long, a
 * false sender, a stranger, names, nodes, modes, lists and flags out of range, and last
 * thousands of random bytes. What is refused is counted and changes nothing: the books
 * before and after are compared byte for byte.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include "tests/unit/dlm-user.h"

#define NL DLM_MODE_NL
#define PR DLM_MODE_PR
#define EX DLM_MODE_EX

static struct lab lab;
static struct user m, a, b, w;

/* Node 1 owns r: m NL, a (2) granted PR, b (3) converting to EX behind it; 1 wants q of 2. */
static void busy(void)
{
	lab_open(&lab, 3);
	user_hold(&lab, &m, 1, "r", NL, 0);
	user_hold(&lab, &a, 2, "r", PR, 0);
	user_hold(&lab, &b, 3, "r", NL, 0);
	user_convert(&lab, &b, EX, 0, 0);
	user_hold(&lab, &w, 2, "q", EX, 0);
	lab_run(&lab, 100);
	lab_clear(&lab);
}

static void over(void)
{
	lab_close(&lab);
}

TestSuite(handler, .init = busy, .fini = over);

/* ---- the books ------------------------------------------------------------------------ */

struct books {
	uint8_t bytes[65536];
	size_t len;
};

static bool note(void *ctx, const struct dlm_dump_res *res, const struct dlm_dump_lock *l)
{
	struct books *bk = ctx;

	cr_assert_lt(bk->len + 256, sizeof(bk->bytes));
	bk->len += (size_t)snprintf((char *)bk->bytes + bk->len, 200, "%.*s o%u s%x %02x%02x|",
				    (int)res->name_len, (const char *)res->name, res->owner,
				    res->state, res->lvb[0], res->refmap[0]);
	if (l)
		bk->len +=
			(size_t)snprintf((char *)bk->bytes + bk->len, 200, "%llx n%u %d %d %c %d|",
					 (unsigned long long)l->cookie, l->node, l->mode,
					 l->convert_mode, l->queue, l->pending);
	return true;
}

static void take_books(node_t n, struct books *bk)
{
	memset(bk, 0, sizeof(*bk));
	dlm_domain_dump(lab.bed.n[n].dom, note, bk);
}

static uint64_t refused(uint16_t type)
{
	return lab.bed.n[1].dom->stats.refused[type - DLM_MSG_FIRST];
}

static struct dlm_reply tell(node_t from, uint16_t type, const void *p, size_t len)
{
	return bed_ask(&lab.bed.n[1], from, type, p, len);
}

/* The same, and nothing may have changed or gone out. */
static int32_t tell_in_vain(node_t from, uint16_t type, const void *p, size_t len)
{
	static struct books before, after;
	struct dlm_reply r;
	uint64_t count = refused(type);

	take_books(1, &before);
	r = tell(from, type, p, len);
	take_books(1, &after);
	cr_assert_eq(before.len, after.len, "%s", dlm_msg_name(type));
	cr_assert(memcmp(before.bytes, after.bytes, before.len) == 0, "%s changed the books",
		  dlm_msg_name(type));
	cr_assert_null(lab.bed.queue, "%s made us send %s", dlm_msg_name(type),
		       lab.bed.queue ? dlm_msg_name(lab.bed.queue->type) : "");
	cr_assert(r.sys_status != 0 || refused(type) == count + 1, "%s not counted",
		  dlm_msg_name(type));
	lab_check(&lab);
	return r.status;
}

/* ---- one good message of each type, from node 2 ------------------------------------------ */

static const uint16_t types[] = {
	DLM_MASTER_REQUEST_MSG, DLM_ASSERT_MASTER_MSG, DLM_CREATE_LOCK_MSG, DLM_CONVERT_LOCK_MSG,
	DLM_PROXY_AST_MSG, DLM_UNLOCK_LOCK_MSG, DLM_DEREF_LOCKRES_MSG, DLM_MIGRATE_REQUEST_MSG,
	DLM_MIG_LOCKRES_MSG, DLM_MASTER_REQUERY_MSG, DLM_LOCK_REQUEST_MSG, DLM_RECO_DATA_DONE_MSG,
	DLM_BEGIN_RECO_MSG, DLM_FINALIZE_RECO_MSG, DLM_DEREF_LOCKRES_DONE,
};
#define TYPES (sizeof(types) / sizeof(types[0]))

static size_t good_lock(uint16_t type, uint8_t *buf)
{
	struct dlm_wire_lock l = { .cookie = 0x0200000000000999, .node = 2, .mode = PR,
				   .name = dlm_name_make("r", 1) };
	struct dlm_wire_ast s = { .cookie = 0x0100000000000999, .node = 2,
				  .name = dlm_name_make("r", 1) };
	struct dlm_wire_unlock u = { .cookie = 0x0200000000000999, .node = 2,
				     .flags = DLM_LKF_VALBLK | DLM_LKF_PUT_LVB,
				     .name = dlm_name_make("r", 1) };

	switch (type) {
	case DLM_CREATE_LOCK_MSG:
		return dlm_put_create(&l, buf, DLM_MAX_PAYLOAD);
	case DLM_CONVERT_LOCK_MSG:
		l.flags = DLM_LKF_CONVERT | DLM_LKF_VALBLK | DLM_LKF_PUT_LVB;
		return dlm_put_convert(&l, buf, DLM_MAX_PAYLOAD);
	case DLM_PROXY_AST_MSG:
		return dlm_put_ast(&s, buf, DLM_MAX_PAYLOAD);
	default:
		return dlm_put_unlock(&u, buf, DLM_MAX_PAYLOAD);
	}
}

static size_t good(uint16_t type, uint8_t *buf)
{
	struct dlm_wire_master ms = { .node = 2, .name = dlm_name_make("x", 1) };
	struct dlm_wire_ref rf = { .node = 2, .name = dlm_name_make("x", 1) };
	struct dlm_wire_migrate mg = {.master = 3, .new_master = 2, .name = dlm_name_make("x", 1)};
	struct dlm_wire_reco rc = { .node = 2, .dead_node = 3 };
	static struct dlm_wire_mig mi;

	switch (type) {
	case DLM_MASTER_REQUEST_MSG:
	case DLM_ASSERT_MASTER_MSG:
		return dlm_put_master(&ms, buf, DLM_MAX_PAYLOAD);
	case DLM_DEREF_LOCKRES_MSG:
	case DLM_DEREF_LOCKRES_DONE:
		return dlm_put_deref(&rf, buf, DLM_MAX_PAYLOAD);
	case DLM_MASTER_REQUERY_MSG:
		return dlm_put_requery(&rf, buf, DLM_MAX_PAYLOAD);
	case DLM_MIGRATE_REQUEST_MSG:
		return dlm_put_migrate(&mg, buf, DLM_MAX_PAYLOAD);
	case DLM_MIG_LOCKRES_MSG:
		mi = (struct dlm_wire_mig){ .master = 2, .num_locks = 2, .total_locks = 2,
					    .flags = DLM_MRES_MIGRATION | DLM_MRES_ALL_DONE,
					    .name = dlm_name_make("x", 1) };
		mi.locks[0] = (struct dlm_wire_mig_lock){ .cookie = 0x0200000000000001, .mode = PR,
							  .convert_mode = -1, .node = 2 };
		mi.locks[1] = (struct dlm_wire_mig_lock){.cookie = 0x0300000000000001,
							 .mode = NL,
							 .list = 1,
							 .convert_mode = EX,
							 .node = 3};
		return dlm_put_mig(&mi, buf, DLM_MAX_PAYLOAD);
	case DLM_LOCK_REQUEST_MSG:
	case DLM_BEGIN_RECO_MSG:
		return dlm_put_reco(&rc, buf, DLM_MAX_PAYLOAD);
	case DLM_RECO_DATA_DONE_MSG:
		return dlm_put_reco_done(&rc, buf, DLM_MAX_PAYLOAD);
	case DLM_FINALIZE_RECO_MSG:
		return dlm_put_finalize(&rc, buf, DLM_MAX_PAYLOAD);
	default:
		return good_lock(type, buf);
	}
}

/* Offset of the sender's number. */
static size_t sender_at(uint16_t type)
{
	switch (type) {
	case DLM_CREATE_LOCK_MSG:
	case DLM_CONVERT_LOCK_MSG:
		return 13;
	case DLM_PROXY_AST_MSG:
		return 12;
	case DLM_UNLOCK_LOCK_MSG:
		return 14;
	case DLM_DEREF_LOCKRES_MSG:
	case DLM_DEREF_LOCKRES_DONE:
		return 6;
	case DLM_MASTER_REQUERY_MSG:
		return 2;
	case DLM_MIGRATE_REQUEST_MSG:
		return 1;
	default:
		return 0;
	}
}

/* What a kernel sender survives (11.1). */
static bool harmless(uint16_t type, int32_t s)
{
	switch (type) {
	case DLM_MASTER_REQUEST_MSG:
		return s >= 0 && s <= 3;
	case DLM_CREATE_LOCK_MSG:
	case DLM_CONVERT_LOCK_MSG:
	case DLM_UNLOCK_LOCK_MSG:
	case DLM_PROXY_AST_MSG:
		return s >= 0 && s <= 41;
	case DLM_MASTER_REQUERY_MSG:
		return s >= 0 && s <= 255;
	case DLM_MIG_LOCKRES_MSG:
		return s == 0 || s == -EINVAL;
	case DLM_DEREF_LOCKRES_MSG:
		return s != -ENOMEM;
	default:
		return true;
	}
}

/* ---- tests --------------------------------------------------------------------------------- */

Test(handler, every_wrong_length_is_refused)
{
	static uint8_t buf[DLM_MAX_PAYLOAD + 1];

	for (size_t t = 0; t < TYPES; t++) {
		size_t len = good(types[t], buf), max = dlm_msg_max(types[t]);

		for (size_t n = 0; n <= max + 1; n++) {
			struct dlm_reply r;

			if (n == len || (n > 16 && n + 2 < max && n % 37))
				continue;
			cr_assert(harmless(types[t], tell_in_vain(2, types[t], buf, n)), "%s %zu",
				  dlm_msg_name(types[t]), n);
			if (n > max) {
				r = tell(2, types[t], buf, n);
				cr_assert_eq(r.sys_status, 2);
			}
		}
	}
}

Test(handler, sender_must_be_the_node_of_the_link)
{
	static uint8_t buf[DLM_MAX_PAYLOAD];

	for (size_t t = 0; t < TYPES; t++) {
		size_t len = good(types[t], buf);

		if (types[t] == DLM_MIG_LOCKRES_MSG)
			continue; /* names the old owner, which is checked below */
		cr_assert(harmless(types[t], tell_in_vain(3, types[t], buf, len)));
	}
}

Test(handler, strangers_are_refused)
{
	static uint8_t buf[DLM_MAX_PAYLOAD];
	struct dlm_reply r;

	bed_peer(&lab.bed, 6); /* heartbeats, but is no member */
	for (size_t t = 0; t < TYPES; t++) {
		size_t len = good(types[t], buf);

		buf[sender_at(types[t])] = 6;
		cr_assert(harmless(types[t], tell_in_vain(6, types[t], buf, len)), "%s",
			  dlm_msg_name(types[t]));
	}
	/* dlm.md 9.9: a node that was declared dead hears it. */
	buf[0] = 0;
	r = tell(6, DLM_PROXY_AST_MSG, buf, (good(DLM_PROXY_AST_MSG, buf), buf[12] = 6, 80));
	cr_assert_eq(r.status, DLM_RECOVERING);
}

Test(handler, unknown_types_keys_and_senders_have_no_handler)
{
	uint8_t buf[100] = { 0 };
	uint32_t key = dlm_domain_key(BED_DOMAIN);
	struct dlm *dlm = lab.bed.n[1].dlm;

	cr_assert_eq(dlm_message(dlm, 2, key, 501, buf, 72).sys_status, 1);
	cr_assert_eq(dlm_message(dlm, 2, key, 560, buf, 8).sys_status, 1);
	cr_assert_eq(dlm_message(dlm, 2, key, 0, buf, 8).sys_status, 1);
	cr_assert_eq(dlm_message(dlm, 2, key, 65535, buf, 8).sys_status, 1);
	cr_assert_eq(dlm_message(dlm, 2, key + 1, 500, buf, 72).sys_status, 1);
	cr_assert_eq(dlm_message(dlm, 2, DLM_MEMBER_KEY, 500, buf, 72).sys_status, 1);
	cr_assert_eq(dlm_message(dlm, 2, key, DLM_QUERY_JOIN_MSG, buf, 100).sys_status, 1);
	cr_assert_eq(dlm_message(dlm, 255, key, 500, buf, 72).sys_status, 1);
	cr_assert_eq(dlm_message(dlm, 1, key, 500, buf, 72).sys_status, 1);
}

struct counted {
	struct logger log;
	int warnings;
};

static void count_line(struct logger *self, enum log_level level, const char *subsys,
		       const char *line)
{
	(void)subsys;
	(void)line;
	((struct counted *)(void *)self)->warnings += level <= LOG_LVL_WARN;
}

/* A peer that never stops must not fill the log: one line a node and type of message. */
Test(handler, refusals_are_counted_each_and_logged_once)
{
	struct counted lines = { .log = { .emit = count_line, .max = LOG_LVL_INFO } };
	static uint8_t buf[DLM_MAX_PAYLOAD];
	uint64_t count;

	lab.bed.n[1].dlm->log = &lines.log;
	for (size_t t = 0; t < TYPES; t++) {
		size_t len = good(types[t], buf);

		count = refused(types[t]);
		lines.warnings = 0;
		for (int i = 0; i < 50; i++) {
			(void)tell_in_vain(2, types[t], buf, len - 1);
			(void)tell_in_vain(3, types[t], buf, len - 1);
		}
		cr_assert_eq(refused(types[t]), count + 100, "%s", dlm_msg_name(types[t]));
		cr_assert_eq(lines.warnings, 2, "%s: %d lines", dlm_msg_name(types[t]),
			     lines.warnings);
	}
	lab.bed.n[1].dlm->log = NULL;
	user_unlock(&lab, &a, 0, 0); /* the domain lives */
	lab_run(&lab, 100);
	cr_assert_eq(lab_mode(&lab, 1, "r", &b), EX);
}

/* Each byte of the fixed part in turn, with every value: in range it acts, else in vain;
 * never does it break the books or answer what would kill a kernel sender. */
Test(handler, every_byte_with_every_value)
{
	static uint8_t right[DLM_MAX_PAYLOAD], buf[DLM_MAX_PAYLOAD];

	lab.forged = true;
	for (size_t t = 0; t < TYPES; t++) {
		size_t len = good(types[t], right), fields = len < 20 ? len : 20;

		for (size_t at = 0; at < fields; at++) {
			for (int v = 0; v < 256; v += v < 8 ? 1 : v < 248 ? 31 : 1) {
				struct dlm_reply r;

				memcpy(buf, right, len);
				buf[at] = (uint8_t)v;
				if (types[t] == DLM_BEGIN_RECO_MSG && buf[0] == 2)
					continue; /* evicts, as it should: below */
				r = tell(2, types[t], buf, len);
				cr_assert(r.sys_status == 0 && harmless(types[t], r.status),
					  "%s %zu=%d: %d", dlm_msg_name(types[t]), at, v, r.status);
				if (v % 31 == 8)
					lab_check(&lab);
			}
		}
		lab.nr_sent = 0;
		lab.bed.logged = 0;
		lab.bed.verdict = NULL;
		bed_run(&lab.bed, 50);
		lab.bed.logged = 0;
	}
	cr_assert(lab.bed.n[1].fenced[0] == '\0', "%s", lab.bed.n[1].fenced);
}

Test(handler, random_bytes)
{
	static uint8_t buf[DLM_MAX_PAYLOAD];
	unsigned int seed = 12345;

	lab.forged = true;
	lab.bed.verdict = NULL;
	for (int i = 0; i < 20000; i++) {
		uint16_t type = types[(unsigned int)rand_r(&seed) % TYPES];
		size_t len = good(type, buf);
		int flips = 1 + rand_r(&seed) % 6;
		struct dlm_reply r;

		for (int f = 0; f < flips; f++)
			buf[(size_t)rand_r(&seed) % len] = (uint8_t)rand_r(&seed);
		if (type == DLM_BEGIN_RECO_MSG)
			continue;
		r = tell((node_t)(2 + i % 2), type, buf, len);
		cr_assert(harmless(type, r.status), "%s: %d", dlm_msg_name(type), r.status);
		if (i % 500 == 0) {
			bed_run(&lab.bed, 20);
			lab.bed.logged = 0;
			lab_check(&lab);
		}
		if (i % 500 == 1) /* names with one byte meet what others made */
			cr_assert_lt(lab.bed.n[1].dom->stats.resources, 2000);
	}
}

/* Modes that the protocol does not have must not get on a queue. */
Test(handler, modes_out_of_range)
{
	uint8_t buf[200];

	for (int v = 0; v < 256; v++) {
		size_t len = good(DLM_CREATE_LOCK_MSG, buf);

		buf[14] = (uint8_t)v;
		if (v == NL || v == PR || v == EX)
			continue;
		cr_assert_eq(tell_in_vain(2, DLM_CREATE_LOCK_MSG, buf, len), DLM_BADPARAM);
		len = good(DLM_CONVERT_LOCK_MSG, buf);
		buf[14] = (uint8_t)v;
		cr_assert_eq(tell_in_vain(2, DLM_CONVERT_LOCK_MSG, buf, len), DLM_BADPARAM);
	}
}

Test(handler, names_out_of_range)
{
	uint8_t buf[200];

	for (int v = 0; v < 256; v++) {
		size_t len = good(DLM_CREATE_LOCK_MSG, buf);

		buf[15] = (uint8_t)v;
		if (v >= 1 && v <= 32)
			continue;
		cr_assert_eq(tell_in_vain(2, DLM_CREATE_LOCK_MSG, buf, len), DLM_IVBUFLEN);
		len = good(DLM_ASSERT_MASTER_MSG, buf);
		buf[1] = (uint8_t)v;
		cr_assert_eq(tell_in_vain(2, DLM_ASSERT_MASTER_MSG, buf, len), -EINVAL);
	}
}

/* 11.2: what panics a kernel that gets it. */
Test(handler, migration_data_that_makes_no_sense)
{
	static uint8_t right[DLM_MAX_PAYLOAD], buf[DLM_MAX_PAYLOAD];
	size_t len = good(DLM_MIG_LOCKRES_MSG, right);
	struct { size_t at; uint8_t v; const char *what;
	} row[] = {
		{0, 3, "another old owner than the sender"},
		{0, 255, "nobody's"},
		{3, 0, "neither migration nor recovery"},
		{3, 3, "both"},
		{3, 5, "recovery that nobody asked for"},
		{112 + 10, 3, "list"},
		{112 + 14, 5, "highest_blocked"},
		{112 + 13, 5, "convert mode, granted"},
		{128 + 13, 0xff, "no convert mode, converting"},
		{112 + 12, 4, "mode"},
		{112 + 15, 255, "node"},
		{112 + 15, 7, "node that is no member"},
		{112 + 15, 1, "lock of ours that we do not know"},
		{2, 0, "no lock"},
		{2, 241, "too many"},
		{1, 33, "name"},
	};

	lab.forged = true;
	for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		static struct books before, after;

		memcpy(buf, right, len);
		buf[row[i].at] = row[i].v;
		take_books(1, &before);
		cr_assert_eq(tell(2, DLM_MIG_LOCKRES_MSG, buf, len).status, -EINVAL, "%s",
			     row[i].what);
		take_books(1, &after);
		cr_assert(before.len == after.len && !memcmp(before.bytes, after.bytes, before.len),
			  "%s", row[i].what);
	}
	/* And for a resource that we own, or that another one owns. */
	memcpy(buf, right, len);
	buf[16] = 'r';
	cr_assert_eq(tell(2, DLM_MIG_LOCKRES_MSG, buf, len).status, -EINVAL);
	cr_assert_eq(tell(2, DLM_MIG_LOCKRES_MSG, right, len).status, 0);
	lab_run(&lab, 100);
	cr_assert_eq(lab_res(&lab, 1, "x")->owner, 1);
}

/* An AST or BAST from a node that does not own the resource, for locks of all kinds. */
Test(handler, asts_of_a_false_owner)
{
	struct dlm_wire_ast s = { .node = 3, .name = dlm_name_make("q", 1) };
	uint8_t buf[200];
	struct user x;

	user_lock(&lab, &x, 1, "q", PR, 0);
	lab_run(&lab, 100);
	cr_assert_eq(x.asts, 0);
	s.cookie = x.lock->cookie;
	cr_assert_eq(tell(3, DLM_PROXY_AST_MSG, buf, dlm_put_ast(&s, buf, sizeof(buf))).status,
		     DLM_IVLOCKID);
	s.name = dlm_name_make("r", 1); /* we own that one */
	s.cookie = m.lock->cookie;
	cr_assert_eq(tell(3, DLM_PROXY_AST_MSG, buf, dlm_put_ast(&s, buf, sizeof(buf))).status,
		     DLM_IVLOCKID);
	cr_assert_eq(x.asts, 0);
	user_unlock(&lab, &w, 0, 0);
	lab_run(&lab, 100);
	cr_assert_eq(x.asts, 1);
}

/* Recovery messages: what we cannot do is not answered as if it were done. */
Test(handler, recovery_is_not_feigned)
{
	uint8_t buf[200];

	cr_assert_eq(tell(2, DLM_LOCK_REQUEST_MSG, buf, good(DLM_LOCK_REQUEST_MSG, buf)).status,
		     -ENOMEM);
	cr_assert_eq(tell(2, DLM_RECO_DATA_DONE_MSG, buf, good(DLM_RECO_DATA_DONE_MSG, buf)).status,
		     -EINVAL);
	cr_assert_eq(tell(2, DLM_FINALIZE_RECO_MSG, buf, good(DLM_FINALIZE_RECO_MSG, buf)).status,
		     -EINVAL);
	(void)good(DLM_BEGIN_RECO_MSG, buf);
	buf[1] = 1; /* us */
	cr_assert_eq(tell(2, DLM_BEGIN_RECO_MSG, buf, 8).status, -EINVAL);
	buf[1] = 2; /* itself */
	cr_assert_eq(tell(2, DLM_BEGIN_RECO_MSG, buf, 8).status, -EINVAL);
	/* R03: of a member that we still see: evicted now. */
	buf[1] = 3;
	cr_assert_eq(tell(2, DLM_BEGIN_RECO_MSG, buf, 8).status, 0);
	cr_assert_eq(lab.bed.n[1].evicted, 3);
	cr_assert_eq(lab.bed.n[1].dom->reco.new_master, 2);
	cr_assert_eq(lab.bed.n[1].dom->reco.dead_node, 3);
	cr_assert(!bed_member(&lab.bed.n[1], 3));
	cr_assert(lab_res(&lab, 1, "r")->state & DLM_RES_RECOVERY_WAITING);
}

/* Before the domain is up, and after it is left. */
Test(handler, domain_that_is_not_up)
{
	static uint8_t buf[DLM_MAX_PAYLOAD];

	lab.bed.n[1].dom->state = DLM_DOM_NEW;
	cr_assert_eq(tell(2, DLM_MASTER_REQUEST_MSG, buf, good(DLM_MASTER_REQUEST_MSG, buf)).status,
		     DLM_MASTER_NO);
	cr_assert_eq(tell(2, DLM_CREATE_LOCK_MSG, buf, good(DLM_CREATE_LOCK_MSG, buf)).status,
		     DLM_FORWARD);
	cr_assert_eq(tell(2, DLM_UNLOCK_LOCK_MSG, buf, good(DLM_UNLOCK_LOCK_MSG, buf)).status,
		     DLM_FORWARD);
	cr_assert_eq(tell(2, DLM_MASTER_REQUERY_MSG, buf, good(DLM_MASTER_REQUERY_MSG, buf)).status,
		     255);
	cr_assert_eq(tell(2, DLM_ASSERT_MASTER_MSG, buf, good(DLM_ASSERT_MASTER_MSG, buf)).status,
		     0);
	lab.bed.n[1].dom->state = DLM_DOM_JOINED;
}

/* Outcomes and timers that nobody waits for, or that come twice. */
Test(handler, tokens_and_timers_of_the_past)
{
	struct dlm *dlm = lab.bed.n[1].dlm;

	for (uint64_t i = 0; i < 200; i++) {
		dlm_sent(dlm, i, 0, 1);
		dlm_sent(dlm, i << 32 | 1, -EPIPE, 0);
		dlm_timer(dlm, i);
		dlm_reply_written(dlm, i);
	}
	lab_check(&lab);
	dlm_node_down(dlm, 255);
	dlm_node_up(dlm, 255);
	dlm_link_up(dlm, 255, 1);
	dlm_link_up(dlm, 2, 1);
	lab_run(&lab, 100);
}
