/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test-traps.c: what we answer to a kernel node never panics or hangs it (doc/spec/dlm.md
 * 11.1). Each message that a correct peer sends is put to a node in every state of its
 * domain and of the resource: unknown, owned by it, owned by another; mastery, migration,
 * recovery under way; a reference being dropped; leaving, and left but for the last word.
 * dlm.md 11.5 lists which test shows each of the other traps.
 */
#include <criterion/criterion.h>
#include "tests/unit/dlm-user.h"

static struct lab lab;
static struct user holder, own_user, sec_user, sec_owner;

static const enum dlm_dom_state dom_states[] = { DLM_DOM_JOINED, DLM_DOM_IN_SHUTDOWN,
						 DLM_DOM_LEAVING };
static const uint16_t res_states[] = { 0, DLM_RES_IN_PROGRESS, DLM_RES_MIGRATING,
				       DLM_RES_RECOVERING, DLM_RES_RECOVERY_WAITING,
				       DLM_RES_RECOVERING | DLM_RES_RECOVERY_WAITING,
				       DLM_RES_DROPPING_REF, DLM_RES_SETREF_INPROG };
static const char *const names[] = { "own", "sec", "none" };
#define EACH(i, table) (size_t i = 0; i < sizeof(table) / sizeof(*(table)); i++)

/* Node 1 owns "own", which 2 holds in PR; 2 owns "sec", which 1 holds in PR. */
static void begin(const char *name, enum dlm_dom_state ds, uint16_t rs)
{
	struct dlm_res *res;

	memset(&holder, 0, sizeof(holder));
	memset(&own_user, 0, sizeof(own_user));
	memset(&sec_user, 0, sizeof(sec_user));
	memset(&sec_owner, 0, sizeof(sec_owner));
	lab_open(&lab, 3);
	lab.no_check = true;
	user_hold(&lab, &own_user, 1, "own", DLM_MODE_PR, DLM_LKF_VALBLK);
	user_hold(&lab, &holder, 2, "own", DLM_MODE_PR, DLM_LKF_VALBLK);
	user_hold(&lab, &sec_owner, 2, "sec", DLM_MODE_PR, DLM_LKF_VALBLK);
	user_hold(&lab, &sec_user, 1, "sec", DLM_MODE_PR, DLM_LKF_VALBLK);
	lab_run(&lab, 100);
	res = lab_res(&lab, 1, name);
	if (res)
		res->state |= rs;
	lab.bed.n[1].dom->state = ds;
}

static int32_t ask(node_t from, uint16_t type, const void *payload, size_t len)
{
	struct dlm_reply r = dlm_message(lab.bed.n[1].dlm, from, dlm_domain_key(BED_DOMAIN), type,
					 payload, len);

	cr_assert_eq(r.sys_status, 0);
	return r.status;
}

static bool among(int32_t v, const int32_t *set)
{
	for (; *set != INT32_MIN; set++)
		if (v == *set)
			return true;
	return false;
}
#define AMONG(v, ...) among(v, (const int32_t[]){ __VA_ARGS__, INT32_MIN })

static const char *what(const char *name, enum dlm_dom_state ds, uint16_t rs, int32_t v)
{
	static char text[100];

	snprintf(text, sizeof(text), "%s, domain %d, resource %x: %d", name, ds, rs, v);
	return text;
}

/* One message in every state: send() asks and judges. */
static void everywhere(bool (*send)(const char *name, uint16_t rs, int32_t *answer))
{
	for EACH(n, names)
		for EACH(d, dom_states)
			for EACH(r, res_states) {
				int32_t v = 0;

				begin(names[n], dom_states[d], res_states[r]);
				cr_expect(send(names[n], res_states[r], &v), "%s",
					  what(names[n], dom_states[d], res_states[r], v));
				lab.bed.n[1].dom->state = DLM_DOM_JOINED;
				lab_close(&lab);
			}
}

static struct dlm_name name_of(const char *name)
{
	return dlm_name_make(name, strlen(name));
}

static bool master_request(const char *name, uint16_t rs, int32_t *v)
{
	struct dlm_wire_master m = { .node = 3, .name = name_of(name) };
	uint8_t buf[128];

	(void)rs;
	*v = ask(3, DLM_MASTER_REQUEST_MSG, buf, dlm_put_master(&m, buf, sizeof(buf)));
	return *v >= DLM_MASTER_NO && *v <= DLM_MASTER_ERROR;
}

Test(traps, master_request_gets_no_yes_maybe_or_error)
{
	everywhere(master_request);
}

static bool assert_master(const char *name, uint16_t rs, int32_t *v)
{
	struct dlm_wire_master m = { .node = 2, .flags = DLM_ASSERT_MLE_CLEANUP,
				     .name = name_of(name) };
	uint8_t buf[128];

	if (!strcmp(name, "own"))
		return true; /* 2 is not its owner: a true contradiction */
	*v = ask(2, DLM_ASSERT_MASTER_MSG, buf, dlm_put_master(&m, buf, sizeof(buf)));
	return (*v >= 0 && *v <= 3) || (rs & DLM_RES_RECOVERING && *v == -EINVAL);
}

Test(traps, assert_of_the_owner_is_refused_in_its_recovery_only)
{
	everywhere(assert_master);
}

static bool create(const char *name, uint16_t rs, int32_t *v)
{
	struct dlm_wire_lock m = { .cookie = 0x0300000000000007, .node = 3, .mode = DLM_MODE_EX,
				   .flags = DLM_LKF_VALBLK | DLM_LKF_GET_LVB,
				   .name = name_of(name) };
	uint8_t buf[160];

	(void)rs;
	*v = ask(3, DLM_CREATE_LOCK_MSG, buf, dlm_put_create(&m, buf, sizeof(buf)));
	return AMONG(*v, DLM_NORMAL, DLM_FORWARD, DLM_RECOVERING, DLM_MIGRATING);
}

Test(traps, create_is_done_or_to_be_repeated_never_refused)
{
	everywhere(create);
}

static bool recovery_lock(const char *name, uint16_t rs, int32_t *v)
{
	struct dlm_wire_lock m = { .cookie = 0x0300000000000007, .node = 3, .mode = DLM_MODE_EX,
				   .flags = DLM_LKF_RECOVERY | DLM_LKF_NOQUEUE,
				   .name = name_of("$RECOVERY") };
	uint8_t buf[160];

	(void)name;
	(void)rs;
	*v = ask(3, DLM_CREATE_LOCK_MSG, buf, dlm_put_create(&m, buf, sizeof(buf)));
	return AMONG(*v, DLM_NORMAL, DLM_NOTQUEUED, DLM_FORWARD, DLM_RECOVERING, DLM_MIGRATING);
}

Test(traps, create_of_the_election_lock_never_gets_11_or_26)
{
	everywhere(recovery_lock);
}

static bool convert(const char *name, uint16_t rs, int32_t *v)
{
	struct dlm_wire_lock m = { .node = 2, .mode = DLM_MODE_NL, .flags = DLM_LKF_CONVERT,
				   .name = name_of(name) };
	uint8_t buf[160];

	(void)rs;
	m.cookie = holder.lock->cookie;
	*v = ask(2, DLM_CONVERT_LOCK_MSG, buf, dlm_put_convert(&m, buf, sizeof(buf)));
	return AMONG(*v, DLM_NORMAL, DLM_FORWARD, DLM_RECOVERING, DLM_MIGRATING);
}

Test(traps, convert_of_a_granted_lock_is_done_or_to_be_repeated)
{
	everywhere(convert);
}

static bool unlock(const char *name, uint16_t rs, int32_t *v)
{
	struct dlm_wire_unlock m = { .node = 2, .name = name_of(name) };
	int32_t again;
	uint8_t buf[160];
	size_t len;

	(void)rs;
	m.cookie = holder.lock->cookie;
	len = dlm_put_unlock(&m, buf, sizeof(buf));
	*v = ask(2, DLM_UNLOCK_LOCK_MSG, buf, len);
	if (!AMONG(*v, DLM_NORMAL, DLM_FORWARD, DLM_RECOVERING, DLM_MIGRATING))
		return false;
	/* Its reply is lost with the link: the kernel sends it again, and 11 panics it. */
	again = ask(2, DLM_UNLOCK_LOCK_MSG, buf, len);
	if (*v == DLM_NORMAL)
		*v = again;
	return AMONG(*v, DLM_NORMAL, DLM_FORWARD, DLM_RECOVERING, DLM_MIGRATING);
}

Test(traps, unlock_and_its_repetition_never_get_11)
{
	everywhere(unlock);
}

static bool cancel(const char *name, uint16_t rs, int32_t *v)
{
	struct dlm_wire_unlock m = { .node = 2, .flags = DLM_LKF_CANCEL, .name = name_of(name) };
	uint8_t buf[160];

	(void)rs;
	m.cookie = holder.lock->cookie;
	*v = ask(2, DLM_UNLOCK_LOCK_MSG, buf, dlm_put_unlock(&m, buf, sizeof(buf)));
	return AMONG(*v, DLM_CANCELGRANT, DLM_FORWARD, DLM_RECOVERING, DLM_MIGRATING);
}

Test(traps, cancel_of_a_granted_lock_comes_too_late)
{
	everywhere(cancel);
}

static bool proxy_ast(const char *name, uint16_t rs, int32_t *v)
{
	struct dlm_wire_ast m = { .node = 2, .type = DLM_WIRE_BAST, .blocked = DLM_MODE_EX,
				  .name = name_of(name) };
	uint8_t buf[160];

	m.cookie = sec_user.lock->cookie;
	*v = ask(2, DLM_PROXY_AST_MSG, buf, dlm_put_ast(&m, buf, sizeof(buf)));
	if (rs & DLM_RES_RECOVERING && *v == DLM_RECOVERING)
		return true; /* it counts as dead */
	if (rs & DLM_RES_MIGRATING && *v == DLM_MIGRATING)
		return true; /* it has sent the resource away itself */
	return AMONG(*v, DLM_NORMAL, DLM_IVLOCKID, DLM_REJECTED);
}

Test(traps, ast_of_the_owner_is_taken)
{
	everywhere(proxy_ast);
}

static bool deref(const char *name, uint16_t rs, int32_t *v)
{
	struct dlm_wire_ref m = { .node = 2, .name = name_of(name) };
	uint8_t buf[128];

	(void)rs;
	*v = ask(2, DLM_DEREF_LOCKRES_MSG, buf, dlm_put_deref(&m, buf, sizeof(buf)));
	return AMONG(*v, 0, 1, -EINVAL);
}

Test(traps, deref_never_gets_no_memory)
{
	everywhere(deref);
}

static bool migrate_request(const char *name, uint16_t rs, int32_t *v)
{
	struct dlm_wire_migrate m = { .master = 2, .new_master = 3, .name = name_of(name) };
	uint8_t buf[128];

	if (!strcmp(name, "own"))
		return true; /* nobody else can hand it over */
	*v = ask(3, DLM_MIGRATE_REQUEST_MSG, buf, dlm_put_migrate(&m, buf, sizeof(buf)));
	return AMONG(*v, 0, 1) || (rs & DLM_RES_RECOVERING && *v == -EINVAL);
}

Test(traps, migrate_request_is_refused_in_recovery_only)
{
	everywhere(migrate_request);
}

static bool migrated(const char *name, uint16_t rs, int32_t *v)
{
	static struct dlm_wire_mig m;
	static uint8_t buf[DLM_MAX_PAYLOAD];

	(void)rs;
	m = (struct dlm_wire_mig){ .master = 2, .num_locks = 1,
				   .flags = DLM_MRES_MIGRATION | DLM_MRES_ALL_DONE,
				   .name = name_of(name), .locks = { dlm_wire_mig_dummy(2) } };
	*v = ask(2, DLM_MIG_LOCKRES_MSG, buf, dlm_put_mig(&m, buf, sizeof(buf)));
	return AMONG(*v, 0, -EINVAL);
}

Test(traps, migrated_resource_is_taken_or_refused_with_22_only)
{
	everywhere(migrated);
}

static bool requery(const char *name, uint16_t rs, int32_t *v)
{
	struct dlm_wire_ref m = { .node = 3, .name = name_of(name) };
	uint8_t buf[128];

	(void)rs;
	*v = ask(3, DLM_MASTER_REQUERY_MSG, buf, dlm_put_requery(&m, buf, sizeof(buf)));
	return *v >= 0 && *v <= NODE_NONE;
}

Test(traps, requery_names_a_node_or_nobody)
{
	everywhere(requery);
}
