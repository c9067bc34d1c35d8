/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test-traces.c: every frame of the recorded sessions of kernel nodes (tests/lab/traces)
 * passes through our codecs and comes out as the same bytes: handshakes, messages with
 * their payloads, keepalives, and replies, which must be what we would answer with the
 * same status to the request they belong to.
 */
#include <criterion/criterion.h>
#include <string.h>
#include "dlm/wire.h"
#include "net/frame.h"
#include "net/handshake.h"
#include "tests/wire/trace.h"

/* ---- payloads ------------------------------------------------------------------ */

#define SAME(what, type)                                                     \
	{                                                                    \
		struct type m;                                               \
		return dlm_get_##what(p, len, &m) ? 0 : dlm_put_##what(&m, out, DLM_MAX_PAYLOAD); \
	}

static size_t again(uint16_t type, const uint8_t *p, size_t len, uint8_t *out)
{
	switch (type) {
	case DLM_MASTER_REQUEST_MSG:
	case DLM_ASSERT_MASTER_MSG:
		SAME(master, dlm_wire_master)
	case DLM_CREATE_LOCK_MSG:
		SAME(create, dlm_wire_lock)
	case DLM_CONVERT_LOCK_MSG:
		SAME(convert, dlm_wire_lock)
	case DLM_PROXY_AST_MSG:
		SAME(ast, dlm_wire_ast)
	case DLM_UNLOCK_LOCK_MSG:
		SAME(unlock, dlm_wire_unlock)
	case DLM_DEREF_LOCKRES_MSG:
	case DLM_DEREF_LOCKRES_DONE:
		SAME(deref, dlm_wire_ref)
	case DLM_MIGRATE_REQUEST_MSG:
		SAME(migrate, dlm_wire_migrate)
	case DLM_MIG_LOCKRES_MSG:
		SAME(mig, dlm_wire_mig)
	case DLM_QUERY_JOIN_MSG:
		SAME(query_join, dlm_wire_query_join)
	case DLM_ASSERT_JOINED_MSG:
	case DLM_CANCEL_JOIN_MSG:
		SAME(join, dlm_wire_join)
	case DLM_EXIT_DOMAIN_MSG:
	case DLM_BEGIN_EXIT_DOMAIN_MSG:
		SAME(exit, dlm_wire_exit)
	case DLM_MASTER_REQUERY_MSG:
		SAME(requery, dlm_wire_ref)
	case DLM_LOCK_REQUEST_MSG:
	case DLM_BEGIN_RECO_MSG:
		SAME(reco, dlm_wire_reco)
	case DLM_RECO_DATA_DONE_MSG:
		SAME(reco_done, dlm_wire_reco)
	case DLM_FINALIZE_RECO_MSG:
		SAME(finalize, dlm_wire_reco)
	case DLM_QUERY_REGION:
		SAME(query_region, dlm_wire_query_region)
	case DLM_QUERY_NODEINFO:
		SAME(query_nodeinfo, dlm_wire_query_nodeinfo)
	case 1: /* the heartbeat's NEGO_TIMEOUT and NEGO_APPROVE: the sender */
	case 2:
		out[0] = p[0];
		return len == 1 && p[0] < NODE_MAX ? 1 : 0;
	default:
		return 0;
	}
}

/* ---- frames -------------------------------------------------------------------- */

static void same(const struct net_frame *made, const uint8_t *bytes)
{
	uint8_t out[NET_FRAME_LEN];

	net_frame_put(out, made);
	cr_assert_arr_eq(out, bytes, NET_FRAME_LEN);
}

static void handshake(const struct trace_frame *f)
{
	uint8_t out[NET_HANDSHAKE_LEN];
	struct net_handshake hs;

	net_handshake_get(f->bytes, &hs);
	net_handshake_put(out, &hs);
	cr_assert_arr_eq(out, f->bytes, sizeof(out));
}

static void message(const struct trace_frame *f)
{
	uint8_t out[DLM_MAX_PAYLOAD] = { 0 };
	struct net_frame made = net_frame_message(f->h.type, f->h.key, f->h.num, f->h.len);

	same(&made, f->bytes);
	cr_assert_eq(again(f->h.type, f->payload, f->h.len, out), f->h.len, "%s",
		     dlm_msg_name(f->h.type));
	cr_assert_arr_eq(out, f->payload, f->h.len, "%s", dlm_msg_name(f->h.type));
}

static void whole_trace(const char *name, int count[TRACE_CLOSED + 1])
{
	struct net_frame made;
	struct trace t;

	trace_read(&t, name);
	for (int i = 0; i < t.n; i++) {
		const struct trace_frame *f = &t.f[i];

		count[f->kind]++;
		switch (f->kind) {
		case TRACE_HANDSHAKE:
			handshake(f);
			break;
		case TRACE_MESSAGE:
			message(f);
			break;
		case TRACE_REPLY:
			made = net_frame_reply(&t.f[f->other].h, f->h.sys_status, f->h.status);
			same(&made, f->bytes);
			break;
		case TRACE_KEEPALIVE:
			made = net_frame_keepalive(f->h.magic);
			same(&made, f->bytes);
			break;
		case TRACE_CLOSED:
			break;
		}
	}
	trace_free(&t);
}

Test(traces, every_frame_of_every_session_decodes_and_encodes_to_the_same_bytes)
{
	static const char *const names[] = {
		"two-node-join-lock-unlock",	     "two-node-death-recovery",
		"three-node-migrate-death-recovery", "two-node-cancel",
		"three-node-many-locks",	     "three-node-blocked-migrate",
		"four-node-slow-deaths",	     "two-node-storage-hang",
		"three-node-death-in-migration",
	};
	int count[TRACE_CLOSED + 1] = { 0 };

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		whole_trace(names[i], count);
	/* Those of o2net-dump for the same captures: nothing was left out. */
	cr_expect_eq(count[TRACE_HANDSHAKE], 56, "%d", count[TRACE_HANDSHAKE]);
	cr_expect_eq(count[TRACE_MESSAGE], 7891, "%d", count[TRACE_MESSAGE]);
	cr_expect_eq(count[TRACE_REPLY], 7887, "%d", count[TRACE_REPLY]);
	cr_expect_eq(count[TRACE_KEEPALIVE], 1479, "%d", count[TRACE_KEEPALIVE]);
}
