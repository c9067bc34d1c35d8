/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test-frames.c: every frame that kernel nodes were recorded exchanging
 * (doc/spec/vectors/frames.jsonl) decodes to the values written beside it and encodes
 * to the same bytes again: payloads through dlm/wire.c, headers, replies, keepalives and
 * handshakes through net/frame.c and net/handshake.c.
 */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "dlm/wire.h"
#include "net/frame.h"
#include "net/handshake.h"

#define FRAMES SPECDIR "/vectors/frames.jsonl"
#define FRAMES_TOTAL 249

/* One frame under test: its fields, and how many of them were compared. */
struct frame {
	const char *id;
	const char *name;
	struct json_object *fields;
	int compared;
};

static struct json_object *field(struct frame *f, const char *key)
{
	struct json_object *v = NULL;

	cr_assert(json_object_object_get_ex(f->fields, key, &v), "%s: no field %s", f->id, key);
	f->compared++;
	return v;
}

static void same_int(struct frame *f, const char *key, int64_t got)
{
	int64_t want = json_object_get_int64(field(f, key));

	cr_assert_eq(got, want, "%s %s: %s is %" PRId64 ", want %" PRId64, f->id, f->name, key, got,
		     want);
}

static void same_str(struct frame *f, const char *key, const char *got)
{
	const char *want = json_object_get_string(field(f, key));

	cr_assert_str_eq(got, want, "%s %s: %s", f->id, f->name, key);
}

static void hex_of(const void *bytes, size_t n, char *out)
{
	const uint8_t *p = bytes;

	for (size_t i = 0; i < n; i++)
		sprintf(out + 2 * i, "%02x", p[i]);
	out[2 * n] = '\0';
}

static size_t unhex(const char *hex, uint8_t *out, size_t room)
{
	size_t n = strlen(hex) / 2;

	cr_assert_leq(n, room);
	for (size_t i = 0; i < n; i++) {
		unsigned int v;

		cr_assert_eq(sscanf(hex + 2 * i, "%2x", &v), 1);
		out[i] = (uint8_t)v;
	}
	return n;
}

static void same_flags(struct frame *f, uint32_t got)
{
	char text[16];

	snprintf(text, sizeof(text), "0x%x", got);
	same_str(f, "flags", text);
}

static void same_name(struct frame *f, const struct dlm_name *name)
{
	char hex[2 * DLM_NAME_MAX + 1];

	hex_of(name->bytes, name->len, hex);
	same_str(f, "resource", hex);
	same_int(f, "name_len", name->len);
}

static void same_cookie(struct frame *f, struct json_object *v, uint64_t got)
{
	char text[40];

	snprintf(text, sizeof(text), "%u:%" PRIu64, (unsigned int)(got >> 56),
		 got & 0xffffffffffffffu);
	if (got == 0) /* the dummy */
		strcpy(text, "0");
	cr_assert_str_eq(text, json_object_get_string(v), "%s %s: cookie", f->id, f->name);
}

static void same_lvb(struct frame *f, const uint8_t *lvb)
{
	char hex[2 * DLM_LVB_LEN + 1];
	struct json_object *v;

	hex_of(lvb, DLM_LVB_LEN, hex);
	cr_assert(json_object_object_get_ex(field(f, "lvb"), "hex", &v));
	cr_assert_str_eq(hex, json_object_get_string(v), "%s %s: lvb", f->id, f->name);
}

static void same_mode(struct frame *f, struct json_object *v, int mode)
{
	if (json_object_is_type(v, json_type_string))
		cr_assert_str_eq(dlm_mode_name(mode), json_object_get_string(v), "%s", f->id);
	else
		cr_assert_eq(mode, json_object_get_int(v), "%s", f->id);
}

static void same_domain(struct frame *f, const struct dlm_wire_domain *d)
{
	same_str(f, "domain", d->name);
	same_int(f, "name_len", d->len);
}

/* ---- one function a layout: decode, compare the values, encode --------------- */

static size_t master(struct frame *f, const void *p, size_t len, uint8_t *out)
{
	struct dlm_wire_master m;

	cr_assert_eq(dlm_get_master(p, len, &m), 0, "%s", f->id);
	same_int(f, "node", m.node);
	same_flags(f, m.flags);
	same_name(f, &m.name);
	return dlm_put_master(&m, out, DLM_MAX_PAYLOAD);
}

static size_t requery(struct frame *f, const void *p, size_t len, uint8_t *out)
{
	struct dlm_wire_ref m;

	cr_assert_eq(dlm_get_requery(p, len, &m), 0, "%s", f->id);
	same_int(f, "node", m.node);
	same_name(f, &m.name);
	return dlm_put_requery(&m, out, DLM_MAX_PAYLOAD);
}

static size_t deref(struct frame *f, const void *p, size_t len, uint8_t *out)
{
	struct dlm_wire_ref m;

	cr_assert_eq(dlm_get_deref(p, len, &m), 0, "%s", f->id);
	same_int(f, "node", m.node);
	same_name(f, &m.name);
	return dlm_put_deref(&m, out, DLM_MAX_PAYLOAD);
}

static size_t migrate(struct frame *f, const void *p, size_t len, uint8_t *out)
{
	struct dlm_wire_migrate m;

	cr_assert_eq(dlm_get_migrate(p, len, &m), 0, "%s", f->id);
	same_int(f, "master", m.master);
	same_int(f, "new_master", m.new_master);
	same_name(f, &m.name);
	return dlm_put_migrate(&m, out, DLM_MAX_PAYLOAD);
}

static void same_lock(struct frame *f, const struct dlm_wire_lock *m)
{
	same_cookie(f, field(f, "cookie"), m->cookie);
	same_flags(f, m->flags);
	same_int(f, "node", m->node);
	same_mode(f, field(f, "mode"), m->mode);
	same_name(f, &m->name);
}

static size_t create(struct frame *f, const void *p, size_t len, uint8_t *out)
{
	struct dlm_wire_lock m;

	cr_assert_eq(dlm_get_create(p, len, &m), 0, "%s", f->id);
	same_lock(f, &m);
	return dlm_put_create(&m, out, DLM_MAX_PAYLOAD);
}

static size_t convert(struct frame *f, const void *p, size_t len, uint8_t *out)
{
	struct dlm_wire_lock m;

	cr_assert_eq(dlm_get_convert(p, len, &m), 0, "%s", f->id);
	same_lock(f, &m);
	if (m.flags & DLM_LKF_PUT_LVB)
		same_lvb(f, m.lvb);
	return dlm_put_convert(&m, out, DLM_MAX_PAYLOAD);
}

static size_t ast(struct frame *f, const void *p, size_t len, uint8_t *out)
{
	struct dlm_wire_ast m;

	cr_assert_eq(dlm_get_ast(p, len, &m), 0, "%s", f->id);
	same_cookie(f, field(f, "cookie"), m.cookie);
	same_flags(f, m.flags);
	same_int(f, "node", m.node);
	same_str(f, "type", m.type == DLM_WIRE_AST ? "AST" : "BAST");
	same_mode(f, field(f, "blocked_type"), m.blocked);
	same_name(f, &m.name);
	if (m.flags & DLM_LKF_GET_LVB)
		same_lvb(f, m.lvb);
	return dlm_put_ast(&m, out, DLM_MAX_PAYLOAD);
}

static size_t unlock(struct frame *f, const void *p, size_t len, uint8_t *out)
{
	struct dlm_wire_unlock m;

	cr_assert_eq(dlm_get_unlock(p, len, &m), 0, "%s", f->id);
	same_cookie(f, field(f, "cookie"), m.cookie);
	same_flags(f, m.flags);
	same_int(f, "node", m.node);
	same_name(f, &m.name);
	if (m.flags & DLM_LKF_PUT_LVB)
		same_lvb(f, m.lvb);
	return dlm_put_unlock(&m, out, DLM_MAX_PAYLOAD);
}

static struct json_object *key_of(struct json_object *o, const char *key)
{
	struct json_object *v = NULL;

	cr_assert(json_object_object_get_ex(o, key, &v), "no %s", key);
	return v;
}

static size_t mig(struct frame *f, const void *p, size_t len, uint8_t *out)
{
	static const char *const lists[] = { "granted", "converting", "blocked" };
	struct json_object *locks = field(f, "locks");
	struct dlm_wire_mig m;

	cr_assert_eq(dlm_get_mig(p, len, &m), 0, "%s", f->id);
	same_int(f, "master", m.master);
	same_int(f, "num_locks", m.num_locks);
	same_flags(f, m.flags);
	same_int(f, "total_locks", m.total_locks);
	same_int(f, "mig_cookie", (int64_t)m.mig_cookie);
	same_name(f, &m.name);
	same_lvb(f, m.lvb);
	cr_assert_eq(json_object_array_length(locks), m.num_locks);
	for (int i = 0; i < m.num_locks; i++) {
		struct json_object *l = json_object_array_get_idx(locks, (size_t)i);

		same_cookie(f, key_of(l, "cookie"), m.locks[i].cookie);
		cr_assert_str_eq(lists[m.locks[i].list], json_object_get_string(key_of(l, "list")));
		cr_assert_eq(m.locks[i].flags, json_object_get_int(key_of(l, "flags")));
		same_mode(f, key_of(l, "type"), m.locks[i].mode);
		same_mode(f, key_of(l, "convert_type"), m.locks[i].convert_mode);
		cr_assert_eq(m.locks[i].node, json_object_get_int(key_of(l, "node")));
	}
	return dlm_put_mig(&m, out, DLM_MAX_PAYLOAD);
}

static size_t reco(struct frame *f, const void *p, size_t len, uint8_t *out)
{
	struct dlm_wire_reco m;

	cr_assert_eq(dlm_get_reco(p, len, &m), 0, "%s", f->id);
	same_int(f, "node", m.node);
	same_int(f, "dead_node", m.dead_node);
	return dlm_put_reco(&m, out, DLM_MAX_PAYLOAD);
}

static size_t reco_done(struct frame *f, const void *p, size_t len, uint8_t *out)
{
	struct dlm_wire_reco m;

	cr_assert_eq(dlm_get_reco_done(p, len, &m), 0, "%s", f->id);
	same_int(f, "node", m.node);
	same_int(f, "dead_node", m.dead_node);
	return dlm_put_reco_done(&m, out, DLM_MAX_PAYLOAD);
}

static size_t finalize(struct frame *f, const void *p, size_t len, uint8_t *out)
{
	struct dlm_wire_reco m;

	cr_assert_eq(dlm_get_finalize(p, len, &m), 0, "%s", f->id);
	same_int(f, "node", m.node);
	same_int(f, "dead_node", m.dead_node);
	same_flags(f, m.flags);
	return dlm_put_finalize(&m, out, DLM_MAX_PAYLOAD);
}

static size_t query_join(struct frame *f, const void *p, size_t len, uint8_t *out)
{
	struct json_object *map = field(f, "node_map");
	struct dlm_wire_query_join m;
	uint8_t want[32] = { 0 };
	char version[16];

	cr_assert_eq(dlm_get_query_join(p, len, &m), 0, "%s", f->id);
	same_int(f, "node", m.node);
	same_domain(f, &m.domain);
	snprintf(version, sizeof(version), "%d.%d", m.dlm_major, m.dlm_minor);
	same_str(f, "dlm_proto", version);
	snprintf(version, sizeof(version), "%d.%d", m.fs_major, m.fs_minor);
	same_str(f, "fs_proto", version);
	for (size_t i = 0; i < json_object_array_length(map); i++) {
		int n = json_object_get_int(json_object_array_get_idx(map, i));

		want[n >> 3] |= (uint8_t)(1 << (n & 7));
	}
	cr_assert_arr_eq(m.node_map, want, sizeof(want), "%s", f->id);
	return dlm_put_query_join(&m, out, DLM_MAX_PAYLOAD);
}

static size_t join(struct frame *f, const void *p, size_t len, uint8_t *out)
{
	struct dlm_wire_join m;

	cr_assert_eq(dlm_get_join(p, len, &m), 0, "%s", f->id);
	same_int(f, "node", m.node);
	same_domain(f, &m.domain);
	return dlm_put_join(&m, out, DLM_MAX_PAYLOAD);
}

static size_t leave(struct frame *f, const void *p, size_t len, uint8_t *out)
{
	struct dlm_wire_exit m;

	cr_assert_eq(dlm_get_exit(p, len, &m), 0, "%s", f->id);
	same_int(f, "node", m.node);
	return dlm_put_exit(&m, out, DLM_MAX_PAYLOAD);
}

static size_t query_region(struct frame *f, const void *p, size_t len, uint8_t *out)
{
	struct dlm_wire_query_region m;

	cr_assert_eq(dlm_get_query_region(p, len, &m), 0, "%s", f->id);
	same_int(f, "node", m.node);
	same_int(f, "regions", m.num_regions);
	same_domain(f, &m.domain);
	return dlm_put_query_region(&m, out, DLM_MAX_PAYLOAD);
}

static size_t query_nodeinfo(struct frame *f, const void *p, size_t len, uint8_t *out)
{
	struct json_object *nodes = field(f, "nodes");
	struct dlm_wire_query_nodeinfo m;

	cr_assert_eq(dlm_get_query_nodeinfo(p, len, &m), 0, "%s", f->id);
	same_int(f, "node", m.node);
	same_int(f, "entries", m.num_nodes);
	same_domain(f, &m.domain);
	cr_assert_eq(json_object_array_length(nodes), m.num_nodes);
	for (int i = 0; i < m.num_nodes; i++) {
		struct json_object *n = json_object_array_get_idx(nodes, (size_t)i);
		struct in_addr addr = { .s_addr = htonl(m.nodes[i].addr) };

		cr_assert_eq(m.nodes[i].node, json_object_get_int(key_of(n, "node")));
		cr_assert_eq(m.nodes[i].port, json_object_get_int(key_of(n, "port")));
		cr_assert_str_eq(inet_ntoa(addr), json_object_get_string(key_of(n, "address")));
	}
	return dlm_put_query_nodeinfo(&m, out, DLM_MAX_PAYLOAD);
}

typedef size_t codec_fn(struct frame *f, const void *p, size_t len, uint8_t *out);

static codec_fn *const codecs[] = {
	[DLM_MASTER_REQUEST_MSG] = master,
	[DLM_ASSERT_MASTER_MSG] = master,
	[DLM_CREATE_LOCK_MSG] = create,
	[DLM_CONVERT_LOCK_MSG] = convert,
	[DLM_PROXY_AST_MSG] = ast,
	[DLM_UNLOCK_LOCK_MSG] = unlock,
	[DLM_DEREF_LOCKRES_MSG] = deref,
	[DLM_MIGRATE_REQUEST_MSG] = migrate,
	[DLM_MIG_LOCKRES_MSG] = mig,
	[DLM_QUERY_JOIN_MSG] = query_join,
	[DLM_ASSERT_JOINED_MSG] = join,
	[DLM_CANCEL_JOIN_MSG] = join,
	[DLM_EXIT_DOMAIN_MSG] = leave,
	[DLM_MASTER_REQUERY_MSG] = requery,
	[DLM_LOCK_REQUEST_MSG] = reco,
	[DLM_RECO_DATA_DONE_MSG] = reco_done,
	[DLM_BEGIN_RECO_MSG] = reco,
	[DLM_FINALIZE_RECO_MSG] = finalize,
	[DLM_QUERY_REGION] = query_region,
	[DLM_QUERY_NODEINFO] = query_nodeinfo,
	[DLM_BEGIN_EXIT_DOMAIN_MSG] = leave,
	[DLM_DEREF_LOCKRES_DONE] = deref,
};

/* Names for people; the rest of `fields` must have been compared. */
static int decoration(const char *key)
{
	return strcmp(key, "flag_names") == 0 || strcmp(key, "resource_text") == 0;
}

static void message(struct json_object *o, const char *id)
{
	struct json_object *header = key_of(o, "header");
	struct frame f = { .id = id, .name = json_object_get_string(key_of(o, "name")),
			   .fields = key_of(o, "fields") };
	int type = json_object_get_int(key_of(header, "msg_type"));
	const char *hex = json_object_get_string(key_of(o, "payload"));
	uint8_t in[DLM_MAX_PAYLOAD], out[DLM_MAX_PAYLOAD];
	size_t len = unhex(hex, in, sizeof(in));
	uint8_t *exact = malloc(len); /* so that a sanitizer sees a read beyond the end */
	int fields = 0;

	memcpy(exact, in, len);
	memset(out, 0xee, sizeof(out));
	cr_assert_str_eq(dlm_msg_name((uint16_t)type), f.name);
	cr_assert_leq(len, dlm_msg_max((uint16_t)type));
	cr_assert_eq(dlm_msg_membership((uint16_t)type),
		     strtoul(json_object_get_string(key_of(header, "key")), NULL, 16) ==
			     DLM_MEMBER_KEY);
	cr_assert_eq(codecs[type](&f, exact, len, out), len, "%s: length", id);
	cr_assert_arr_eq(out, in, len, "%s %s: bytes differ", id, f.name);
	free(exact);

	json_object_object_foreach(f.fields, key, value) {
		(void)value;
		fields += !decoration(key);
	}
	cr_assert_eq(f.compared, fields, "%s %s: %d of %d fields compared", id, f.name, f.compared,
		     fields);
}

/* ---- o2net ------------------------------------------------------------------- */

static struct net_frame header_of(const char *hex, const char *id)
{
	uint8_t in[NET_FRAME_LEN], out[NET_FRAME_LEN];
	struct net_frame h;

	cr_assert_eq(unhex(hex, in, sizeof(in)), NET_FRAME_LEN, "%s", id);
	cr_assert_eq(net_frame_get(in, &h), 0, "%s", id);
	net_frame_put(out, &h);
	cr_assert_arr_eq(out, in, NET_FRAME_LEN, "%s: header", id);
	return h;
}

static void header(struct json_object *o, const char *id)
{
	struct json_object *want = key_of(o, "header"), *reply = key_of(o, "reply");
	struct net_frame h = header_of(json_object_get_string(key_of(o, "header_hex")), id), r,
			 made;
	uint8_t a[NET_FRAME_LEN], b[NET_FRAME_LEN];

	cr_assert_eq(h.magic, strtoul(json_object_get_string(key_of(want, "magic")), NULL, 16));
	cr_assert_eq(h.len, json_object_get_int(key_of(want, "data_len")));
	cr_assert_eq(h.type, json_object_get_int(key_of(want, "msg_type")));
	cr_assert_eq(h.sys_status, json_object_get_int(key_of(want, "sys_status")));
	cr_assert_eq(h.status, json_object_get_int(key_of(want, "status")));
	cr_assert_eq(h.key, strtoul(json_object_get_string(key_of(want, "key")), NULL, 16));
	cr_assert_eq(h.num, json_object_get_int(key_of(want, "msg_num")));
	cr_assert_eq(h.len, strlen(json_object_get_string(key_of(o, "payload"))) / 2);
	made = net_frame_message(h.type, h.key, h.num, h.len);
	net_frame_put(a, &h);
	net_frame_put(b, &made);
	cr_assert_arr_eq(a, b, sizeof(a), "%s: request", id);
	if (!reply) /* none came */
		return;
	r = header_of(json_object_get_string(key_of(reply, "header_hex")), id);
	cr_assert_eq(r.sys_status, json_object_get_int(key_of(reply, "sys_status")));
	cr_assert_eq(r.status, json_object_get_int(key_of(reply, "status")));
	made = net_frame_reply(&h, r.sys_status, r.status);
	net_frame_put(a, &r);
	net_frame_put(b, &made);
	cr_assert_arr_eq(a, b, sizeof(a), "%s: reply", id);
}

static void keepalive(struct json_object *o, const char *id)
{
	const char *name = json_object_get_string(key_of(o, "name"));
	struct net_frame h = header_of(json_object_get_string(key_of(o, "hex")), id), made;
	uint8_t a[NET_FRAME_LEN], b[NET_FRAME_LEN];

	cr_assert_eq(h.magic, strcmp(name, "KEEPALIVE_REQUEST") == 0 ? NET_FRAME_KEEP_REQ :
								       NET_FRAME_KEEP_RESP);
	made = net_frame_keepalive(h.magic);
	net_frame_put(a, &h);
	net_frame_put(b, &made);
	cr_assert_arr_eq(a, b, sizeof(a), "%s", id);
}

static void handshake(struct json_object *o, const char *id)
{
	struct frame f = { .id = id, .name = "handshake", .fields = key_of(o, "fields") };
	uint8_t in[NET_HANDSHAKE_LEN], out[NET_HANDSHAKE_LEN];
	struct net_handshake h;

	cr_assert_eq(unhex(json_object_get_string(key_of(o, "hex")), in, sizeof(in)), sizeof(in));
	net_handshake_get(in, &h);
	same_int(&f, "version", (int64_t)h.version);
	same_int(&f, "connector_id", (int64_t)h.connector_id);
	same_int(&f, "heartbeat_timeout", h.heartbeat_ms);
	same_int(&f, "idle_timeout", h.idle_ms);
	same_int(&f, "keepalive_delay", h.keepalive_ms);
	same_int(&f, "reconnect_delay", h.reconnect_ms);
	net_handshake_put(out, &h);
	cr_assert_arr_eq(out, in, sizeof(in), "%s", id);
}

/* Calls fn for each object of a kind; returns how many there were of any kind. */
static int each_frame(const char *kind, void (*fn)(struct json_object *o, const char *id),
		      int *of_kind)
{
	FILE *in = fopen(FRAMES, "r");
	char *line = NULL;
	size_t room = 0;
	int n = 0;

	cr_assert(in, "cannot open %s", FRAMES);
	while (getline(&line, &room, in) > 0) {
		struct json_object *o = json_tokener_parse(line);

		cr_assert(o, "line %d is not JSON", n + 1);
		n++;
		if (strcmp(json_object_get_string(key_of(o, "kind")), kind) == 0) {
			fn(o, json_object_get_string(key_of(o, "id")));
			++*of_kind;
		}
		json_object_put(o);
	}
	free(line);
	fclose(in);
	return n;
}

Test(frames, every_payload_decodes_and_encodes_to_the_same_bytes)
{
	int n = 0;

	cr_assert_eq(each_frame("message", message, &n), FRAMES_TOTAL);
	cr_assert_geq(n, 200);
}

static void join_answer(struct json_object *o, const char *id)
{
	struct json_object *reply = key_of(o, "reply");
	int type = json_object_get_int(key_of(key_of(o, "header"), "msg_type"));
	struct dlm_join_answer a;
	int32_t status;
	char text[16];

	if (type != DLM_QUERY_JOIN_MSG)
		return;
	status = json_object_get_int(key_of(reply, "status"));
	a = dlm_join_answer_unpack(status);
	snprintf(text, sizeof(text), "OK %d/%d", a.dlm_minor, a.fs_minor);
	cr_assert_eq(a.code, DLM_JOIN_OK);
	cr_assert_str_eq(text, json_object_get_string(key_of(reply, "status_name")), "%s", id);
	cr_assert_eq(dlm_join_answer_pack(a), status, "%s", id);
}

Test(frames, query_join_answers_unpack_and_pack)
{
	int n = 0;

	each_frame("message", join_answer, &n);
	cr_assert_gt(n, 0);
}

Test(frames, every_header_and_reply_decodes_and_encodes_to_the_same_bytes)
{
	int n = 0;

	each_frame("message", header, &n);
	cr_assert_geq(n, 200);
}

Test(frames, handshakes_and_keepalives_decode_and_encode_to_the_same_bytes)
{
	int shakes = 0, keeps = 0, messages = 0, total;

	total = each_frame("message", header, &messages);
	each_frame("handshake", handshake, &shakes);
	each_frame("keepalive", keepalive, &keeps);
	cr_assert_eq(shakes + keeps + messages, total, "a kind of frame is not covered");
	cr_assert(shakes && keeps);
}
