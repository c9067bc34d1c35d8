/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test-traces.c: every frame of the recorded sessions of kernel nodes (tests/lab/traces)
 * passes through our codecs and comes out as the same bytes: handshakes, messages with
 * their payloads, keepalives, and replies, which must be what we would answer with the
 * same status to the request they belong to.
 *
 * A capture is put together a direction at a time, as it was in order on the bridge; the
 * parser here reads only what the recording writes (Ethernet, IPv4, no fragments).
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "dlm/wire.h"
#include "net/frame.h"
#include "net/handshake.h"

enum { PORT = 7777, FLOWS = 32, ROOM = 1 << 17, REQUESTS = 64 };

/* One direction of a connection. */
struct flow {
	uint8_t key[12];	/* addresses, ports */
	uint32_t next;		/* sequence number */
	bool greeted;
	size_t len;
	uint8_t buf[ROOM];
	struct net_frame asked[REQUESTS]; /* by number, until answered */
	bool open[REQUESTS];
};

struct trace {
	struct flow *flows[FLOWS];
	int n;
	int handshakes, messages, replies, keepalives;
};

static uint32_t be32_at(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static unsigned be16_at(const uint8_t *p)
{
	return (unsigned)p[0] << 8 | p[1];
}

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
	default:
		return 0;
	}
}

/* ---- frames -------------------------------------------------------------------- */

static struct flow *find(struct trace *t, const uint8_t key[12])
{
	for (int i = t->n - 1; i >= 0; i--) {
		if (!memcmp(t->flows[i]->key, key, 12))
			return t->flows[i];
	}
	return NULL;
}

static struct flow *other_way(struct trace *t, const struct flow *f)
{
	uint8_t key[12];

	memcpy(key, f->key + 4, 4);
	memcpy(key + 4, f->key, 4);
	memcpy(key + 8, f->key + 10, 2);
	memcpy(key + 10, f->key + 8, 2);
	return find(t, key);
}

static void same(const struct net_frame *made, const uint8_t *bytes)
{
	uint8_t out[NET_FRAME_LEN];

	net_frame_put(out, made);
	cr_assert_arr_eq(out, bytes, NET_FRAME_LEN);
}

static void message(struct trace *t, struct flow *f, const struct net_frame *h, const uint8_t *p)
{
	uint8_t out[DLM_MAX_PAYLOAD] = { 0 };
	uint8_t *exact = malloc(h->len); /* so that a sanitizer sees a read beyond the end */
	struct net_frame made = net_frame_message(h->type, h->key, h->num, h->len);

	same(&made, p);
	memcpy(exact, p + NET_FRAME_LEN, h->len);
	cr_assert_eq(again(h->type, exact, h->len, out), h->len, "message %d: %s", t->messages,
		     dlm_msg_name(h->type));
	cr_assert_arr_eq(out, p + NET_FRAME_LEN, h->len, "message %d: %s", t->messages,
			 dlm_msg_name(h->type));
	free(exact);
	cr_assert_lt(h->num, REQUESTS);
	cr_assert(!f->open[h->num], "a number is used twice");
	f->open[h->num] = true;
	f->asked[h->num] = *h;
	t->messages++;
}

static void reply(struct trace *t, struct flow *f, const struct net_frame *h, const uint8_t *p)
{
	struct flow *asker = other_way(t, f);
	struct net_frame made;

	cr_assert(asker);
	cr_assert_lt(h->num, REQUESTS);
	cr_assert(asker->open[h->num], "an answer to nothing");
	made = net_frame_reply(&asker->asked[h->num], h->sys_status, h->status);
	same(&made, p);
	asker->open[h->num] = false;
	t->replies++;
}

/* The bytes that one handshake or frame at the front took, 0 if it is not whole. */
static size_t take(struct trace *t, struct flow *f)
{
	uint8_t out[NET_HANDSHAKE_LEN];
	struct net_handshake hs;
	struct net_frame h, made;

	if (!f->greeted) {
		if (f->len < NET_HANDSHAKE_LEN)
			return 0;
		net_handshake_get(f->buf, &hs);
		net_handshake_put(out, &hs);
		cr_assert_arr_eq(out, f->buf, sizeof(out));
		f->greeted = true;
		t->handshakes++;
		return NET_HANDSHAKE_LEN;
	}
	if (f->len < NET_FRAME_LEN)
		return 0;
	cr_assert_eq(net_frame_get(f->buf, &h), 0);
	if (f->len < (size_t)NET_FRAME_LEN + h.len)
		return 0;
	switch (h.magic) {
	case NET_FRAME_KEEP_REQ:
	case NET_FRAME_KEEP_RESP:
		made = net_frame_keepalive(h.magic);
		same(&made, f->buf);
		t->keepalives++;
		break;
	case NET_FRAME_STATUS:
		reply(t, f, &h, f->buf);
		break;
	default:
		message(t, f, &h, f->buf);
		break;
	}
	return (size_t)NET_FRAME_LEN + h.len;
}

/* ---- packets ------------------------------------------------------------------- */

static void packet(struct trace *t, const uint8_t *p, size_t len)
{
	const uint8_t *ip = p + 14, *tcp;
	size_t ihl, thl, total, used;
	uint8_t key[12];
	struct flow *f;
	uint32_t seq;
	int32_t ahead;

	if (len < 54 || be16_at(p + 12) != 0x0800 || ip[9] != 6)
		return;
	ihl = (size_t)(ip[0] & 15) * 4;
	total = be16_at(ip + 2);
	tcp = ip + ihl;
	cr_assert_leq(total, len - 14);
	thl = (size_t)(tcp[12] >> 4) * 4;
	memcpy(key, ip + 12, 8);
	memcpy(key + 8, tcp, 4);
	seq = be32_at(tcp + 4);
	f = find(t, key);
	if (tcp[13] & 2) {
		if (f && f->next == seq + 1)
			return; /* sent again */
		cr_assert_lt(t->n, FLOWS);
		f = calloc(1, sizeof(*f));
		memcpy(f->key, key, sizeof(key));
		f->next = seq + 1;
		t->flows[t->n++] = f;
		return;
	}
	cr_assert(f, "a connection that was open before the recording");
	len = total - ihl - thl;
	ahead = (int32_t)(seq - f->next);
	if (len == 0 || -(int64_t)ahead >= (int64_t)len)
		return;
	cr_assert_leq(ahead, 0, "a gap");
	cr_assert_leq(f->len + len, ROOM);
	memcpy(f->buf + f->len, tcp + thl - ahead, len - (size_t)-ahead);
	f->len += len - (size_t)-ahead;
	f->next += (uint32_t)(len - (size_t)-ahead);
	while ((used = take(t, f))) {
		f->len -= used;
		memmove(f->buf, f->buf + used, f->len);
	}
}

static void whole_trace(struct trace *t, const char *name)
{
	char path[400];
	uint32_t head[6], rec[4];
	uint8_t *buf = malloc(1 << 18);
	FILE *in;

	*t = (struct trace){ 0 };
	snprintf(path, sizeof(path), "%s/lab/traces/%s.pcap", TESTDATA, name);
	in = fopen(path, "rb");
	cr_assert(in, "%s", path);
	cr_assert_eq(fread(head, sizeof(head), 1, in), 1);
	cr_assert(head[0] == 0xa1b2c3d4 && head[5] == 1);
	while (fread(rec, sizeof(rec), 1, in) == 1) {
		cr_assert_leq(rec[2], 1 << 18);
		cr_assert_eq(fread(buf, 1, rec[2], in), rec[2]);
		packet(t, buf, rec[2]);
	}
	fclose(in);
	free(buf);
	for (int i = 0; i < t->n; i++) {
		cr_assert_eq(t->flows[i]->len, 0, "bytes are left over");
		free(t->flows[i]);
	}
}

Test(traces, every_frame_of_every_session_decodes_and_encodes_to_the_same_bytes)
{
	static const char *const names[] = { "two-node-join-lock-unlock", "two-node-death-recovery",
					     "three-node-migrate-death-recovery" };
	int handshakes = 0, messages = 0, replies = 0, keepalives = 0;

	for (int i = 0; i < 3; i++) {
		struct trace t;

		whole_trace(&t, names[i]);
		handshakes += t.handshakes;
		messages += t.messages;
		replies += t.replies;
		keepalives += t.keepalives;
	}
	/* The numbers of doc/spec/vectors/README.md: nothing was left out. */
	cr_assert_eq(handshakes, 14, "%d", handshakes);
	cr_assert_eq(messages, 1920, "%d", messages);
	cr_assert_eq(replies, 1919, "%d", replies);
	cr_assert_eq(keepalives, 79, "%d", keepalives);
}
