/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * wire.c: o2dlm payloads, to and from bytes; those of membership are in wire_member.c.
 *
 * Every decoder walks the payload with a cursor that cannot leave it and demands in the
 * end that exactly nothing is left; every encoder starts from zeroed pads. So neither
 * stale bytes nor bytes of another message can get in or out, whatever the length field
 * of the frame said (doc/spec/dlm.md 3.1, cluster.md trap 18).
 */
#include "dlm/wire.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include "dlm/util/bytes.h"

#define NAME_FIELD 64
#define LOCK_FIXED 80
#define MIG_FIXED 112
#define MIG_LOCK 16

/* ---- the table of messages ------------------------------------------------ */

static const struct {
	const char *name;
	uint16_t max;
	bool membership;
} messages[DLM_MSG_LAST - DLM_MSG_FIRST + 1] = {
	[DLM_MASTER_REQUEST_MSG - DLM_MSG_FIRST] = { "MASTER_REQUEST", 72, false },
	[DLM_ASSERT_MASTER_MSG - DLM_MSG_FIRST] = { "ASSERT_MASTER", 72, false },
	[DLM_CREATE_LOCK_MSG - DLM_MSG_FIRST] = { "CREATE_LOCK", LOCK_FIXED, false },
	[DLM_CONVERT_LOCK_MSG - DLM_MSG_FIRST] = { "CONVERT_LOCK", LOCK_FIXED + 64, false },
	[DLM_PROXY_AST_MSG - DLM_MSG_FIRST] = { "PROXY_AST", LOCK_FIXED + 64, false },
	[DLM_UNLOCK_LOCK_MSG - DLM_MSG_FIRST] = { "UNLOCK_LOCK", LOCK_FIXED + 64, false },
	[DLM_DEREF_LOCKRES_MSG - DLM_MSG_FIRST] = { "DEREF_LOCKRES", 72, false },
	[DLM_MIGRATE_REQUEST_MSG - DLM_MSG_FIRST] = { "MIGRATE_REQUEST", 72, false },
	[DLM_MIG_LOCKRES_MSG - DLM_MSG_FIRST] = { "MIG_LOCKRES",
		MIG_FIXED + DLM_MIG_LOCKS_MAX * MIG_LOCK, false },
	[DLM_QUERY_JOIN_MSG - DLM_MSG_FIRST] = { "QUERY_JOIN", 104, true },
	[DLM_ASSERT_JOINED_MSG - DLM_MSG_FIRST] = { "ASSERT_JOINED", 68, true },
	[DLM_CANCEL_JOIN_MSG - DLM_MSG_FIRST] = { "CANCEL_JOIN", 68, true },
	[DLM_EXIT_DOMAIN_MSG - DLM_MSG_FIRST] = { "EXIT_DOMAIN", 4, false },
	[DLM_MASTER_REQUERY_MSG - DLM_MSG_FIRST] = { "MASTER_REQUERY", 72, false },
	[DLM_LOCK_REQUEST_MSG - DLM_MSG_FIRST] = { "LOCK_REQUEST", 8, false },
	[DLM_RECO_DATA_DONE_MSG - DLM_MSG_FIRST] = { "RECO_DATA_DONE", 72, false },
	[DLM_BEGIN_RECO_MSG - DLM_MSG_FIRST] = { "BEGIN_RECO", 8, false },
	[DLM_FINALIZE_RECO_MSG - DLM_MSG_FIRST] = { "FINALIZE_RECO", 8, false },
	[DLM_QUERY_REGION - DLM_MSG_FIRST] = { "QUERY_REGION",
		68 + DLM_WIRE_REGIONS_MAX * DLM_WIRE_REGION_LEN, true },
	[DLM_QUERY_NODEINFO - DLM_MSG_FIRST] = { "QUERY_NODEINFO",
		68 + NODE_MAX * DLM_WIRE_NODE_LEN, true },
	[DLM_BEGIN_EXIT_DOMAIN_MSG - DLM_MSG_FIRST] = { "BEGIN_EXIT_DOMAIN", 4, false },
	[DLM_DEREF_LOCKRES_DONE - DLM_MSG_FIRST] = { "DEREF_LOCKRES_DONE", 72, false },
};

static bool known(uint16_t type)
{
	return type >= DLM_MSG_FIRST && type <= DLM_MSG_LAST && messages[type - DLM_MSG_FIRST].name;
}

const char *dlm_msg_name(uint16_t type)
{
	return known(type) ? messages[type - DLM_MSG_FIRST].name : "?";
}

size_t dlm_msg_max(uint16_t type)
{
	return known(type) ? messages[type - DLM_MSG_FIRST].max : 0;
}

bool dlm_msg_membership(uint16_t type)
{
	return known(type) && messages[type - DLM_MSG_FIRST].membership;
}

/* ---- pieces --------------------------------------------------------------- */

struct dlm_name dlm_name_make(const void *bytes, size_t n)
{
	struct dlm_name name = { .len = (uint8_t)n };

	assert(n >= 1 && n <= DLM_NAME_MAX);
	memcpy(name.bytes, bytes, n);
	return name;
}

/* A name field of `field` bytes, of which len count. */
static int get_name(struct bytes_in *in, uint8_t len, size_t field, struct dlm_name *out)
{
	const uint8_t *p = bytes_get(in, field);

	*out = (struct dlm_name){ 0 };
	if (!p)
		return -EMSGSIZE;
	if (len < 1 || len > DLM_NAME_MAX)
		return -ENAMETOOLONG;
	*out = dlm_name_make(p, len);
	return 0;
}

static void put_name(struct bytes_out *out, const struct dlm_name *name, size_t field)
{
	assert(name->len >= 1 && name->len <= DLM_NAME_MAX);
	bytes_put_copy(out, name->bytes, name->len);
	bytes_put_zero(out, field - name->len);
}

static bool mode_or_none(int8_t mode)
{
	return mode == DLM_MODE_NONE || dlm_mode_valid(mode);
}

static size_t finish(const struct bytes_out *out)
{
	assert(!out->failed);
	return out->written;
}

/* ---- mastery -------------------------------------------------------------- */

int dlm_get_master(const void *p, size_t len, struct dlm_wire_master *m)
{
	struct bytes_in in = bytes_in(p, len);
	uint8_t name_len;
	int err;

	m->node = bytes_get_u8(&in);
	name_len = bytes_get_u8(&in);
	bytes_skip(&in, 2);
	m->flags = bytes_get_be32(&in);
	err = get_name(&in, name_len, NAME_FIELD, &m->name);
	if (!bytes_done(&in))
		return -EMSGSIZE;
	if (err)
		return err;
	return m->node < NODE_MAX ? 0 : -ERANGE;
}

size_t dlm_put_master(const struct dlm_wire_master *m, void *buf, size_t room)
{
	struct bytes_out out = bytes_out(buf, room);

	assert(m->node < NODE_MAX);
	bytes_put_u8(&out, m->node);
	bytes_put_u8(&out, m->name.len);
	bytes_put_zero(&out, 2);
	bytes_put_be32(&out, m->flags);
	put_name(&out, &m->name, NAME_FIELD);
	return finish(&out);
}

/* REQUERY and DEREF differ in the pads around node and name length only. */
static int get_ref(const void *p, size_t len, size_t before, size_t after,
		   struct dlm_wire_ref *m)
{
	struct bytes_in in = bytes_in(p, len);
	uint8_t name_len;
	int err;

	bytes_skip(&in, before);
	m->node = bytes_get_u8(&in);
	name_len = bytes_get_u8(&in);
	bytes_skip(&in, after);
	err = get_name(&in, name_len, NAME_FIELD, &m->name);
	if (!bytes_done(&in))
		return -EMSGSIZE;
	if (err)
		return err;
	return m->node < NODE_MAX ? 0 : -ERANGE;
}

static size_t put_ref(const struct dlm_wire_ref *m, size_t before, size_t after, void *buf,
		      size_t room)
{
	struct bytes_out out = bytes_out(buf, room);

	assert(m->node < NODE_MAX);
	bytes_put_zero(&out, before);
	bytes_put_u8(&out, m->node);
	bytes_put_u8(&out, m->name.len);
	bytes_put_zero(&out, after);
	put_name(&out, &m->name, NAME_FIELD);
	return finish(&out);
}

int dlm_get_requery(const void *p, size_t len, struct dlm_wire_ref *m)
{
	return get_ref(p, len, 2, 4, m);
}

size_t dlm_put_requery(const struct dlm_wire_ref *m, void *buf, size_t room)
{
	return put_ref(m, 2, 4, buf, room);
}

int dlm_get_deref(const void *p, size_t len, struct dlm_wire_ref *m)
{
	return get_ref(p, len, 6, 0, m);
}

size_t dlm_put_deref(const struct dlm_wire_ref *m, void *buf, size_t room)
{
	return put_ref(m, 6, 0, buf, room);
}

int dlm_get_migrate(const void *p, size_t len, struct dlm_wire_migrate *m)
{
	struct bytes_in in = bytes_in(p, len);
	uint8_t name_len;
	int err;

	m->master = bytes_get_u8(&in);
	m->new_master = bytes_get_u8(&in);
	name_len = bytes_get_u8(&in);
	bytes_skip(&in, 5);
	err = get_name(&in, name_len, NAME_FIELD, &m->name);
	if (!bytes_done(&in))
		return -EMSGSIZE;
	if (err)
		return err;
	return m->master < NODE_MAX && m->new_master < NODE_MAX ? 0 : -ERANGE;
}

size_t dlm_put_migrate(const struct dlm_wire_migrate *m, void *buf, size_t room)
{
	struct bytes_out out = bytes_out(buf, room);

	assert(m->master < NODE_MAX && m->new_master < NODE_MAX);
	bytes_put_u8(&out, m->master);
	bytes_put_u8(&out, m->new_master);
	bytes_put_u8(&out, m->name.len);
	bytes_put_zero(&out, 5);
	put_name(&out, &m->name, NAME_FIELD);
	return finish(&out);
}

/* ---- locks ---------------------------------------------------------------- */

/* What is left must be the LVB if the flag announces one, else nothing. */
static int get_lvb(struct bytes_in *in, bool announced, uint8_t lvb[DLM_LVB_LEN])
{
	memset(lvb, 0, DLM_LVB_LEN);
	if (announced)
		bytes_get_copy(in, lvb, DLM_LVB_LEN);
	return bytes_done(in) ? 0 : -EMSGSIZE;
}

static bool both_lvb(uint32_t flags)
{
	return (flags & DLM_LKF_PUT_LVB) && (flags & DLM_LKF_GET_LVB);
}

static int get_lock(const void *p, size_t len, bool convert, struct dlm_wire_lock *m)
{
	struct bytes_in in = bytes_in(p, len);
	uint8_t name_len;
	int err, bad;

	m->cookie = bytes_get_be64(&in);
	m->flags = bytes_get_be32(&in);
	bytes_skip(&in, 1);
	m->node = bytes_get_u8(&in);
	m->mode = (int8_t)bytes_get_u8(&in);
	name_len = bytes_get_u8(&in);
	err = get_name(&in, name_len, NAME_FIELD, &m->name);
	if (!bytes_ok(&in))
		return -EMSGSIZE;
	if (convert && both_lvb(m->flags))
		return -EINVAL;
	bad = get_lvb(&in, convert && (m->flags & DLM_LKF_PUT_LVB), m->lvb);
	if (bad || err)
		return bad ? bad : err;
	return m->node < NODE_MAX && dlm_mode_valid(m->mode) ? 0 : -ERANGE;
}

static size_t put_lock(const struct dlm_wire_lock *m, bool convert, void *buf, size_t room)
{
	struct bytes_out out = bytes_out(buf, room);

	assert(m->node < NODE_MAX && dlm_mode_valid(m->mode));
	assert(!convert || !both_lvb(m->flags));
	bytes_put_be64(&out, m->cookie);
	bytes_put_be32(&out, m->flags);
	bytes_put_zero(&out, 1);
	bytes_put_u8(&out, m->node);
	bytes_put_u8(&out, (uint8_t)m->mode);
	bytes_put_u8(&out, m->name.len);
	put_name(&out, &m->name, NAME_FIELD);
	if (convert && (m->flags & DLM_LKF_PUT_LVB))
		bytes_put_copy(&out, m->lvb, DLM_LVB_LEN);
	return finish(&out);
}

int dlm_get_create(const void *p, size_t len, struct dlm_wire_lock *m)
{
	return get_lock(p, len, false, m);
}

size_t dlm_put_create(const struct dlm_wire_lock *m, void *buf, size_t room)
{
	return put_lock(m, false, buf, room);
}

int dlm_get_convert(const void *p, size_t len, struct dlm_wire_lock *m)
{
	return get_lock(p, len, true, m);
}

size_t dlm_put_convert(const struct dlm_wire_lock *m, void *buf, size_t room)
{
	return put_lock(m, true, buf, room);
}

int dlm_get_ast(const void *p, size_t len, struct dlm_wire_ast *m)
{
	struct bytes_in in = bytes_in(p, len);
	uint8_t name_len;
	int err, bad;

	m->cookie = bytes_get_be64(&in);
	m->flags = bytes_get_be32(&in);
	m->node = bytes_get_u8(&in);
	m->type = bytes_get_u8(&in);
	m->blocked = (int8_t)bytes_get_u8(&in);
	name_len = bytes_get_u8(&in);
	err = get_name(&in, name_len, NAME_FIELD, &m->name);
	if (!bytes_ok(&in))
		return -EMSGSIZE;
	if (both_lvb(m->flags))
		return -EINVAL;
	bad = get_lvb(&in, m->flags & DLM_LKF_GET_LVB, m->lvb);
	if (bad || err)
		return bad ? bad : err;
	if (m->node >= NODE_MAX || m->type > DLM_WIRE_BAST)
		return -ERANGE;
	if (m->type == DLM_WIRE_BAST && m->blocked != DLM_MODE_PR && m->blocked != DLM_MODE_EX)
		return -ERANGE;
	return 0;
}

size_t dlm_put_ast(const struct dlm_wire_ast *m, void *buf, size_t room)
{
	struct bytes_out out = bytes_out(buf, room);

	assert(m->node < NODE_MAX && m->type <= DLM_WIRE_BAST && !both_lvb(m->flags));
	bytes_put_be64(&out, m->cookie);
	bytes_put_be32(&out, m->flags);
	bytes_put_u8(&out, m->node);
	bytes_put_u8(&out, m->type);
	bytes_put_u8(&out, (uint8_t)m->blocked);
	bytes_put_u8(&out, m->name.len);
	put_name(&out, &m->name, NAME_FIELD);
	if (m->flags & DLM_LKF_GET_LVB)
		bytes_put_copy(&out, m->lvb, DLM_LVB_LEN);
	return finish(&out);
}

int dlm_get_unlock(const void *p, size_t len, struct dlm_wire_unlock *m)
{
	struct bytes_in in = bytes_in(p, len);
	uint8_t name_len;
	int err, bad;

	m->cookie = bytes_get_be64(&in);
	m->flags = bytes_get_be32(&in);
	bytes_skip(&in, 2);
	m->node = bytes_get_u8(&in);
	name_len = bytes_get_u8(&in);
	err = get_name(&in, name_len, NAME_FIELD, &m->name);
	if (!bytes_ok(&in))
		return -EMSGSIZE;
	if ((m->flags & DLM_LKF_GET_LVB) ||
	    ((m->flags & DLM_LKF_PUT_LVB) && (m->flags & DLM_LKF_CANCEL)))
		return -EINVAL;
	bad = get_lvb(&in, m->flags & DLM_LKF_PUT_LVB, m->lvb);
	if (bad || err)
		return bad ? bad : err;
	return m->node < NODE_MAX ? 0 : -ERANGE;
}

size_t dlm_put_unlock(const struct dlm_wire_unlock *m, void *buf, size_t room)
{
	struct bytes_out out = bytes_out(buf, room);

	assert(m->node < NODE_MAX && !(m->flags & DLM_LKF_GET_LVB));
	bytes_put_be64(&out, m->cookie);
	bytes_put_be32(&out, m->flags);
	bytes_put_zero(&out, 2);
	bytes_put_u8(&out, m->node);
	bytes_put_u8(&out, m->name.len);
	put_name(&out, &m->name, NAME_FIELD);
	if (m->flags & DLM_LKF_PUT_LVB)
		bytes_put_copy(&out, m->lvb, DLM_LVB_LEN);
	return finish(&out);
}

/* ---- migration and recovery data ------------------------------------------ */

static int get_mig_lock(struct bytes_in *in, struct dlm_wire_mig_lock *l, bool *dummy)
{
	int8_t highest_blocked;

	l->cookie = bytes_get_be64(in);
	bytes_skip(in, 2);
	l->list = bytes_get_u8(in);
	l->flags = bytes_get_u8(in);
	l->mode = (int8_t)bytes_get_u8(in);
	l->convert_mode = (int8_t)bytes_get_u8(in);
	highest_blocked = (int8_t)bytes_get_u8(in);
	l->node = bytes_get_u8(in);
	if (!bytes_ok(in))
		return -EMSGSIZE;
	if (l->list > DLM_LIST_BLOCKED || l->node >= NODE_MAX || !mode_or_none(l->mode) ||
	    !mode_or_none(l->convert_mode))
		return -ERANGE;
	*dummy = dlm_wire_mig_is_dummy(l);
	if (!*dummy && l->mode == DLM_MODE_NONE)
		return -ERANGE;
	if (highest_blocked != DLM_MODE_NONE ||
	    (l->list == DLM_LIST_CONVERTING) != (l->convert_mode != DLM_MODE_NONE))
		return -EINVAL;
	return 0;
}

/* The kind is one of two, and only recovery may say that nobody is owner. */
static bool mig_kind_ok(const struct dlm_wire_mig *m)
{
	uint8_t kind = m->flags & (DLM_MRES_RECOVERY | DLM_MRES_MIGRATION);

	return kind == DLM_MRES_RECOVERY || (kind == DLM_MRES_MIGRATION && m->master != NODE_NONE);
}

int dlm_get_mig(const void *p, size_t len, struct dlm_wire_mig *m)
{
	struct bytes_in in = bytes_in(p, len);
	uint8_t name_len;
	int err, bad;

	m->master = bytes_get_u8(&in);
	name_len = bytes_get_u8(&in);
	m->num_locks = bytes_get_u8(&in);
	m->flags = bytes_get_u8(&in);
	m->total_locks = bytes_get_be32(&in);
	m->mig_cookie = bytes_get_be64(&in);
	err = get_name(&in, name_len, DLM_NAME_MAX, &m->name);
	bytes_get_copy(&in, m->lvb, DLM_LVB_LEN);
	if (!bytes_ok(&in))
		return -EMSGSIZE;
	if (m->num_locks < 1 || m->num_locks > DLM_MIG_LOCKS_MAX || !mig_kind_ok(m))
		return -EINVAL;
	if (in.left != (size_t)m->num_locks * MIG_LOCK)
		return -EMSGSIZE;
	if (err)
		return err;
	for (int i = 0; i < m->num_locks; i++) {
		bool dummy;

		bad = get_mig_lock(&in, &m->locks[i], &dummy);
		if (!bad && dummy && (m->num_locks != 1 || m->total_locks != 0))
			bad = -EINVAL;
		if (bad)
			return bad;
	}
	return 0;
}

size_t dlm_put_mig(const struct dlm_wire_mig *m, void *buf, size_t room)
{
	struct bytes_out out = bytes_out(buf, room);

	assert(m->num_locks >= 1 && m->num_locks <= DLM_MIG_LOCKS_MAX && mig_kind_ok(m));
	bytes_put_u8(&out, m->master);
	bytes_put_u8(&out, m->name.len);
	bytes_put_u8(&out, m->num_locks);
	bytes_put_u8(&out, m->flags);
	bytes_put_be32(&out, m->total_locks);
	bytes_put_be64(&out, m->mig_cookie);
	put_name(&out, &m->name, DLM_NAME_MAX);
	bytes_put_copy(&out, m->lvb, DLM_LVB_LEN);
	for (int i = 0; i < m->num_locks; i++) {
		const struct dlm_wire_mig_lock *l = &m->locks[i];

		assert(l->list <= DLM_LIST_BLOCKED && l->node < NODE_MAX);
		bytes_put_be64(&out, l->cookie);
		bytes_put_zero(&out, 2);
		bytes_put_u8(&out, l->list);
		bytes_put_u8(&out, l->flags);
		bytes_put_u8(&out, (uint8_t)l->mode);
		bytes_put_u8(&out, (uint8_t)l->convert_mode);
		bytes_put_u8(&out, (uint8_t)DLM_MODE_NONE);
		bytes_put_u8(&out, l->node);
	}
	return finish(&out);
}

static int get_reco(const void *p, size_t len, bool flags, size_t rest, struct dlm_wire_reco *m)
{
	struct bytes_in in = bytes_in(p, len);

	m->node = bytes_get_u8(&in);
	m->dead_node = bytes_get_u8(&in);
	m->flags = 0;
	if (flags)
		m->flags = bytes_get_u8(&in);
	bytes_skip(&in, rest);
	if (!bytes_done(&in))
		return -EMSGSIZE;
	return m->node < NODE_MAX && m->dead_node < NODE_MAX ? 0 : -ERANGE;
}

static size_t put_reco(const struct dlm_wire_reco *m, bool flags, size_t rest, void *buf,
		       size_t room)
{
	struct bytes_out out = bytes_out(buf, room);

	assert(m->node < NODE_MAX && m->dead_node < NODE_MAX);
	bytes_put_u8(&out, m->node);
	bytes_put_u8(&out, m->dead_node);
	if (flags)
		bytes_put_u8(&out, m->flags);
	bytes_put_zero(&out, rest);
	return finish(&out);
}

int dlm_get_reco(const void *p, size_t len, struct dlm_wire_reco *m)
{
	return get_reco(p, len, false, 6, m);
}

size_t dlm_put_reco(const struct dlm_wire_reco *m, void *buf, size_t room)
{
	return put_reco(m, false, 6, buf, room);
}

int dlm_get_finalize(const void *p, size_t len, struct dlm_wire_reco *m)
{
	return get_reco(p, len, true, 5, m);
}

size_t dlm_put_finalize(const struct dlm_wire_reco *m, void *buf, size_t room)
{
	return put_reco(m, true, 5, buf, room);
}

int dlm_get_reco_done(const void *p, size_t len, struct dlm_wire_reco *m)
{
	return get_reco(p, len, false, 70, m);
}

size_t dlm_put_reco_done(const struct dlm_wire_reco *m, void *buf, size_t room)
{
	return put_reco(m, false, 70, buf, room);
}
