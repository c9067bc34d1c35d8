/* SPDX-License-Identifier: GPL-2.0-or-later */
/* trace.c: one compact line an event; two runs of a seed print the same. */
#include "tests/sim/world.h"

#include <inttypes.h>
#include <stdio.h>

void trace_line(struct sim_world *w, const char *fmt, ...)
{
	va_list ap;

	printf("%8" PRIu64 " %4" PRIu64 ".%06" PRIu64 " ", w->step, w->now / 1000000,
	       w->now % 1000000);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
}

static void res_text(const struct dlm_name *name, char *buf, size_t room)
{
	uint32_t gen;
	int res;

	if (sim_res_parse(name->bytes, name->len, &res, &gen))
		snprintf(buf, room, "r%d.%" PRIu32, res, gen);
	else
		snprintf(buf, room, "%.*s", name->len, (const char *)name->bytes);
}

static const char *mig_text(const struct dlm_wire_mig *m, const char *res, char *buf, size_t room)
{
	size_t n = (size_t)snprintf(buf, room, "MIG_LOCKRES %s flags=%x total=%u", res, m->flags,
				    m->total_locks);

	for (int i = 0; i < m->num_locks && n < room; i++)
		n += (size_t)snprintf(buf + n, room - n, " %c:n%d:%s%s%s:%" PRIx64,
				      "GCB"[m->locks[i].list], m->locks[i].node,
				      dlm_mode_name(m->locks[i].mode),
				      m->locks[i].convert_mode == DLM_MODE_NONE ? "" : ">",
				      m->locks[i].convert_mode == DLM_MODE_NONE ? "" :
					      dlm_mode_name(m->locks[i].convert_mode),
				      m->locks[i].cookie & 0xffff);
	return buf;
}

const char *trace_message(uint16_t type, const uint8_t *p, size_t len, char *buf, size_t room)
{
	const char *name = dlm_msg_name(type);
	char res[64];
	union {
		struct dlm_wire_master master;
		struct dlm_wire_ref ref;
		struct dlm_wire_migrate migrate;
		struct dlm_wire_lock lock;
		struct dlm_wire_ast ast;
		struct dlm_wire_unlock unlock;
		struct dlm_wire_mig mig;
		struct dlm_wire_reco reco;
	} m;

	switch (type) {
	case DLM_MASTER_REQUEST_MSG:
	case DLM_ASSERT_MASTER_MSG:
		if (dlm_get_master(p, len, &m.master))
			break;
		res_text(&m.master.name, res, sizeof(res));
		snprintf(buf, room, "%s %s flags=%x", name, res, m.master.flags);
		return buf;
	case DLM_DEREF_LOCKRES_MSG:
	case DLM_DEREF_LOCKRES_DONE:
		if (dlm_get_deref(p, len, &m.ref))
			break;
		res_text(&m.ref.name, res, sizeof(res));
		snprintf(buf, room, "%s %s", name, res);
		return buf;
	case DLM_MIGRATE_REQUEST_MSG:
		if (dlm_get_migrate(p, len, &m.migrate))
			break;
		res_text(&m.migrate.name, res, sizeof(res));
		snprintf(buf, room, "%s %s %d>%d", name, res, m.migrate.master,
			 m.migrate.new_master);
		return buf;
	case DLM_CREATE_LOCK_MSG:
	case DLM_CONVERT_LOCK_MSG:
		if (type == DLM_CREATE_LOCK_MSG ? dlm_get_create(p, len, &m.lock) :
						  dlm_get_convert(p, len, &m.lock))
			break;
		res_text(&m.lock.name, res, sizeof(res));
		snprintf(buf, room, "%s %s %s flags=%x c=%" PRIx64, name, res,
			 dlm_mode_name(m.lock.mode), m.lock.flags, m.lock.cookie & 0xffff);
		return buf;
	case DLM_PROXY_AST_MSG:
		if (dlm_get_ast(p, len, &m.ast))
			break;
		res_text(&m.ast.name, res, sizeof(res));
		snprintf(buf, room, "%s %s %s flags=%x c=%" PRIx64,
			 m.ast.type == DLM_WIRE_AST ? "AST" : "BAST", res,
			 m.ast.type == DLM_WIRE_AST ? "" : dlm_mode_name(m.ast.blocked),
			 m.ast.flags, m.ast.cookie & 0xffff);
		return buf;
	case DLM_UNLOCK_LOCK_MSG:
		if (dlm_get_unlock(p, len, &m.unlock))
			break;
		res_text(&m.unlock.name, res, sizeof(res));
		snprintf(buf, room, "%s %s flags=%x c=%" PRIx64, name, res, m.unlock.flags,
			 m.unlock.cookie & 0xffff);
		return buf;
	case DLM_MIG_LOCKRES_MSG:
		if (dlm_get_mig(p, len, &m.mig))
			break;
		res_text(&m.mig.name, res, sizeof(res));
		return mig_text(&m.mig, res, buf, room);
	default:
		break;
	}
	snprintf(buf, room, "%s", name);
	return buf;
}
