/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test-wire.c: dlm/wire.c against payloads that a peer should not have sent. Good ones,
 * as recorded, are in tests/wire. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "dlm/wire.h"

static const char name31[] = "M00000000000000000112235f3c9a10";

static struct dlm_name name(void)
{
	return dlm_name_make(name31, 31);
}

/* A copy of exactly len bytes, so that a sanitizer sees a read beyond them. */
static int get_exact(int (*get)(const void *, size_t, void *), const uint8_t *p, size_t len,
		     void *out)
{
	uint8_t *copy = malloc(len ? len : 1);
	int err;

	memcpy(copy, p, len);
	err = get(copy, len, out);
	free(copy);
	return err;
}

#define GETTER(what, type)                                               \
	static int any_##what(const void *p, size_t len, void *out)      \
	{                                                                \
		return dlm_get_##what(p, len, (struct type *)out);       \
	}
GETTER(master, dlm_wire_master)
GETTER(requery, dlm_wire_ref)
GETTER(deref, dlm_wire_ref)
GETTER(migrate, dlm_wire_migrate)
GETTER(create, dlm_wire_lock)
GETTER(convert, dlm_wire_lock)
GETTER(ast, dlm_wire_ast)
GETTER(unlock, dlm_wire_unlock)
GETTER(mig, dlm_wire_mig)
GETTER(reco, dlm_wire_reco)
GETTER(finalize, dlm_wire_reco)
GETTER(reco_done, dlm_wire_reco)
GETTER(query_join, dlm_wire_query_join)
GETTER(join, dlm_wire_join)
GETTER(exit, dlm_wire_exit)
GETTER(query_region, dlm_wire_query_region)
GETTER(query_nodeinfo, dlm_wire_query_nodeinfo)

union any {
	struct dlm_wire_mig mig;
	struct dlm_wire_query_nodeinfo info;
	struct dlm_wire_query_region region;
};

Test(wire, only_the_exact_length_decodes)
{
	static const struct {
		int (*get)(const void *, size_t, void *);
		size_t len, name_len_at;
		uint8_t name_len;
	} t[] = {
		{ any_master, 72, 1, 31 }, { any_requery, 72, 3, 31 }, { any_deref, 72, 7, 31 },
		{ any_migrate, 72, 2, 31 }, { any_create, 80, 15, 31 }, { any_convert, 80, 15, 31 },
		{ any_ast, 80, 15, 31 }, { any_unlock, 80, 15, 31 }, { any_reco, 8, 7, 0 },
		{ any_finalize, 8, 7, 0 }, { any_reco_done, 72, 71, 0 },
		{ any_query_join, 104, 3, 32 }, { any_join, 68, 3, 32 }, { any_exit, 4, 3, 0 },
		{ any_query_region, 1092, 2, 32 }, { any_query_nodeinfo, 2108, 2, 32 },
	};

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		uint8_t p[DLM_MAX_PAYLOAD] = { 0 };
		union any out;

		p[t[i].name_len_at] = t[i].name_len;
		cr_assert_eq(get_exact(t[i].get, p, t[i].len, &out), 0, "layout %zu", i);
		for (size_t len = 0; len < t[i].len + 80; len++)
			if (len != t[i].len)
				cr_assert_eq(get_exact(t[i].get, p, len, &out), -EMSGSIZE,
					     "layout %zu, %zu bytes", i, len);
	}
}

Test(wire, name_length_0_and_33_are_refused)
{
	static const uint8_t lengths[] = { 0, 33, 64, 255 };
	uint8_t p[80] = { 0 };
	struct dlm_wire_master m;
	struct dlm_wire_unlock u;

	for (size_t i = 0; i < sizeof(lengths); i++) {
		p[1] = lengths[i];
		p[15] = lengths[i];
		cr_assert_eq(dlm_get_master(p, 72, &m), -ENAMETOOLONG);
		cr_assert_eq(dlm_get_unlock(p, 80, &u), -ENAMETOOLONG);
	}
}

Test(wire, node_255_is_refused)
{
	uint8_t p[DLM_MAX_PAYLOAD] = { 0 };
	union any out;

	p[0] = 255;
	p[1] = 31;
	cr_assert_eq(any_master(p, 72, &out), -ERANGE);
	p[1] = 0;
	cr_assert_eq(any_exit(p, 4, &out), -ERANGE);
	cr_assert_eq(any_reco(p, 8, &out), -ERANGE);
	p[2] = 32;
	cr_assert_eq(any_query_region(p, 1092, &out), -ERANGE);
	p[0] = 1;
	p[1] = 2;
	p[68 + 8] = 255;
	cr_assert_eq(any_query_nodeinfo(p, 2108, &out), -ERANGE);
}

Test(wire, modes_other_than_nl_pr_ex_are_refused)
{
	struct dlm_wire_lock m = { .node = 2, .name = name(), .mode = DLM_MODE_PR };
	uint8_t buf[DLM_MAX_PAYLOAD];
	size_t len = dlm_put_create(&m, buf, sizeof(buf));

	for (int mode = -2; mode < 8; mode++) {
		buf[14] = (uint8_t)mode;
		cr_assert_eq(dlm_get_create(buf, len, &m), dlm_mode_valid(mode) ? 0 : -ERANGE);
	}
}

Test(wire, announced_lvb_must_be_there_and_nothing_else)
{
	struct dlm_wire_unlock u = { .flags = 0x20000100, .node = 2, .name = name() };
	uint8_t buf[DLM_MAX_PAYLOAD];
	size_t len;

	memset(u.lvb, 7, sizeof(u.lvb));
	len = dlm_put_unlock(&u, buf, sizeof(buf));
	cr_assert_eq(len, 144);
	cr_assert_eq(dlm_get_unlock(buf, 80, &u), -EMSGSIZE);
	cr_assert_eq(dlm_get_unlock(buf, 143, &u), -EMSGSIZE);
	cr_assert_eq(dlm_get_unlock(buf, 145, &u), -EMSGSIZE);
	cr_assert_eq(dlm_get_unlock(buf, 144, &u), 0);
	cr_assert_eq(u.lvb[63], 7);
}

Test(wire, flags_that_exclude_each_other_are_told_apart_from_length)
{
	uint8_t buf[144] = { [15] = 31 };
	struct dlm_wire_unlock u;
	struct dlm_wire_lock c;
	struct dlm_wire_ast a;

	buf[8] = 0x40; /* GET_LVB */
	cr_assert_eq(dlm_get_unlock(buf, 80, &u), -EINVAL);
	buf[8] = 0x60; /* and PUT_LVB */
	cr_assert_eq(dlm_get_convert(buf, 144, &c), -EINVAL);
	cr_assert_eq(dlm_get_ast(buf, 144, &a), -EINVAL);
	buf[8] = 0x20; /* PUT_LVB with CANCEL */
	buf[10] = 0x20;
	cr_assert_eq(dlm_get_unlock(buf, 144, &u), -EINVAL);
}

Test(wire, ast_kind_and_blocked_mode_are_checked)
{
	struct dlm_wire_ast a = { .node = 1, .type = DLM_WIRE_BAST, .blocked = DLM_MODE_PR,
				  .name = name() };
	uint8_t buf[DLM_MAX_PAYLOAD];
	size_t len = dlm_put_ast(&a, buf, sizeof(buf));

	cr_assert_eq(dlm_get_ast(buf, len, &a), 0);
	buf[14] = 0; /* NL is in nobody's way */
	cr_assert_eq(dlm_get_ast(buf, len, &a), -ERANGE);
	buf[14] = 6;
	cr_assert_eq(dlm_get_ast(buf, len, &a), -ERANGE);
	buf[13] = 2; /* unlock AST: local only */
	cr_assert_eq(dlm_get_ast(buf, len, &a), -ERANGE);
}

/* ---- MIG_LOCKRES ----------------------------------------------------------- */

static struct dlm_wire_mig one_lock(void)
{
	struct dlm_wire_mig m = { .master = 1, .num_locks = 1, .total_locks = 1,
				  .flags = DLM_MRES_MIGRATION | DLM_MRES_ALL_DONE, .name = name() };

	m.locks[0] = (struct dlm_wire_mig_lock){ .cookie = 0x020000000000002a,
		.mode = DLM_MODE_EX, .convert_mode = DLM_MODE_NONE, .node = 2 };
	return m;
}

static int mig_with(size_t off, uint8_t value)
{
	struct dlm_wire_mig m = one_lock();
	uint8_t buf[DLM_MAX_PAYLOAD];
	size_t len = dlm_put_mig(&m, buf, sizeof(buf));

	buf[off] = value;
	return get_exact(any_mig, buf, len, &m);
}

Test(wire, mig_lockres_that_would_panic_a_kernel_is_refused)
{
	cr_assert_eq(mig_with(112 + 12, DLM_MODE_EX), 0); /* unchanged */
	cr_assert_eq(mig_with(3, 4), -EINVAL);		  /* neither kind */
	cr_assert_eq(mig_with(3, 7), -EINVAL);		  /* both kinds */
	cr_assert_eq(mig_with(0, 255), -EINVAL);	  /* migration from nobody */
	cr_assert_eq(mig_with(1, 33), -ENAMETOOLONG);
	cr_assert_eq(mig_with(2, 0), -EINVAL);
	cr_assert_eq(mig_with(2, 241), -EINVAL);
	cr_assert_eq(mig_with(2, 2), -EMSGSIZE);
	cr_assert_eq(mig_with(112 + 10, 3), -ERANGE);  /* list */
	cr_assert_eq(mig_with(112 + 10, 1), -EINVAL);  /* converting to nothing */
	cr_assert_eq(mig_with(112 + 12, 4), -ERANGE);  /* mode */
	cr_assert_eq(mig_with(112 + 12, 255), -ERANGE); /* a lock without a mode */
	cr_assert_eq(mig_with(112 + 13, 5), -EINVAL);  /* convert mode on granted */
	cr_assert_eq(mig_with(112 + 14, 5), -EINVAL);  /* highest_blocked */
	cr_assert_eq(mig_with(112 + 15, 255), -ERANGE); /* holder */
}

Test(wire, mig_lockres_dummy_stands_alone)
{
	struct dlm_wire_mig m = one_lock();
	uint8_t buf[DLM_MAX_PAYLOAD];
	size_t len;

	m.locks[0] = dlm_wire_mig_dummy(2);
	m.total_locks = 0;
	len = dlm_put_mig(&m, buf, sizeof(buf));
	cr_assert_eq(dlm_get_mig(buf, len, &m), 0);
	cr_assert(dlm_wire_mig_is_dummy(&m.locks[0]));
	m.total_locks = 1;
	len = dlm_put_mig(&m, buf, sizeof(buf));
	cr_assert_eq(dlm_get_mig(buf, len, &m), -EINVAL);
	m.total_locks = 0;
	m.num_locks = 2;
	m.locks[1] = one_lock().locks[0];
	len = dlm_put_mig(&m, buf, sizeof(buf));
	cr_assert_eq(dlm_get_mig(buf, len, &m), -EINVAL);
}

Test(wire, mig_lockres_of_240_locks_fits)
{
	struct dlm_wire_mig m = one_lock(), back;
	uint8_t buf[DLM_MAX_PAYLOAD];

	m.num_locks = DLM_MIG_LOCKS_MAX;
	m.total_locks = 300;
	m.flags = DLM_MRES_MIGRATION;
	for (int i = 0; i < DLM_MIG_LOCKS_MAX; i++) {
		m.locks[i] = m.locks[0];
		m.locks[i].cookie += (uint64_t)i;
	}
	cr_assert_eq(dlm_put_mig(&m, buf, sizeof(buf)), 3952);
	cr_assert_eq(dlm_msg_max(DLM_MIG_LOCKRES_MSG), 3952);
	cr_assert_eq(dlm_get_mig(buf, 3952, &back), 0);
	cr_assert_eq(back.locks[239].cookie, 0x020000000000002a + 239u);
}

/* The example of dlm.md 3.10: one EX lock of node 2 from old master 1. */
Test(wire, mig_lockres_example_of_the_specification)
{
	struct dlm_wire_mig m = one_lock();
	uint8_t buf[DLM_MAX_PAYLOAD];
	static const uint8_t head[] = { 1, 0x1f, 1, 6, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0 };
	static const uint8_t lock[] = { 2, 0, 0, 0, 0, 0, 0, 0x2a, 0, 0, 0, 0, 5, 255, 255, 2 };

	cr_assert_eq(dlm_put_mig(&m, buf, sizeof(buf)), 128);
	cr_assert_arr_eq(buf, head, sizeof(head));
	cr_assert_arr_eq(buf + 112, lock, sizeof(lock));
}

Test(wire, join_answer_without_ok_carries_no_versions)
{
	struct dlm_join_answer a = { .code = DLM_JOIN_PROTOCOL_MISMATCH, .dlm_minor = 3 };

	cr_assert_eq(dlm_join_answer_pack(a), 0x03000000);
	a.code = DLM_JOIN_OK;
	cr_assert_eq(dlm_join_answer_pack(a), 0x01030000);
	a.code = 200; /* a peer's nonsense survives unpacking */
	cr_assert_eq(dlm_join_answer_unpack(dlm_join_answer_pack(a)).code, 200);
}

Test(wire, unknown_messages_have_no_name_and_no_length)
{
	static const uint16_t types[] = { 0, 499, 501, 523, 65535 };

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		cr_assert_str_eq(dlm_msg_name(types[i]), "?");
		cr_assert_eq(dlm_msg_max(types[i]), 0);
	}
}
