/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * net_locks.c: what the lock manager holds, as JSON for `o2fuse locks`.
 *
 * A domain may have a million resources, and this runs on the reactor: so one answer is a
 * page, and the asker names how many of those that match it has seen. What comes or goes
 * between two pages may be shown twice or not at all; each resource shown is one moment's
 * picture.
 *
 * Names are printed as the kernel's o2dlm does: text, and from the first byte that is none
 * on in hexadecimal (the inode number in the name of a dentry lock).
 */
#include "net/net_int.h"
#include <json-c/json.h>
#include <string.h>
#include "dlm/wire.h"

enum { PAGE_BYTES = 49152, RES_BYTES = 300, LOCK_BYTES = 130, PRINTED_MAX = 2 * 64 + 1 };

struct page {
	const struct net_nl_locks *which;
	const struct net_domain *nd;
	struct json_object *list;
	struct json_object *res;  /* the one whose locks come; NULL: passed over */
	struct json_object *locks;
	uint32_t seen, taken;	  /* that match, in this page and before; in this page */
	size_t bytes;		  /* about, of this page */
	bool waits, full;
};

static void printed(const uint8_t *name, size_t len, char out[static PRINTED_MAX])
{
	size_t i;

	for (i = 0; i < len && name[i] > ' ' && name[i] < 0x7f; i++)
		*out++ = (char)name[i];
	for (; i < len; i++, out += 2)
		snprintf(out, 3, "%02x", name[i]);
	*out = '\0';
}

static struct json_object *state_json(uint16_t state)
{
	struct json_object *a = json_object_new_array();

	for (unsigned int bit = 0; bit < 16; bit++) {
		const char *name = state & 1u << bit ? dlm_state_name(bit) : NULL;

		if (name)
			json_object_array_add(a, json_object_new_string(name));
	}
	return a;
}

static struct json_object *map_json(const uint8_t map[32])
{
	struct json_object *a = json_object_new_array();

	for (int n = 0; n < NODE_MAX; n++)
		if (map[n / 8] & 1u << n % 8)
			json_object_array_add(a, json_object_new_int(n));
	return a;
}

static void add_lvb(struct json_object *o, const uint8_t *lvb)
{
	char hex[2 * DLM_LVB_LEN + 1];
	bool any = false;

	for (unsigned int i = 0; i < DLM_LVB_LEN; i++) {
		any |= lvb[i];
		snprintf(hex + 2 * i, 3, "%02x", lvb[i]);
	}
	if (any) /* all zero: there is no value (doc/spec/dlm.md 5) */
		json_object_object_add(o, "lvb", json_object_new_string(hex));
}

/* All locks of the last resource are known: is it one of those that are wanted? */
static void close_resource(struct page *p)
{
	if (!p->res)
		return;
	if ((!p->which->stuck_s || p->waits) && p->seen++ >= p->which->from) {
		if (p->bytes >= PAGE_BYTES) {
			p->full = true;
		} else {
			json_object_array_add(p->list, p->res);
			p->res = NULL;
			p->taken++;
			p->bytes += RES_BYTES + LOCK_BYTES * json_object_array_length(p->locks);
		}
	}
	json_object_put(p->res);
	p->res = NULL;
}

static void open_resource(struct page *p, const struct dlm_dump_res *r)
{
	char name[PRINTED_MAX];

	printed(r->name, r->name_len < 64 ? r->name_len : 64, name);
	if (p->which->name[0] && !strstr(name, p->which->name))
		return;
	/* Without looking at its locks it is known to match, and to have been shown. */
	if (!p->which->stuck_s && p->seen < p->which->from) {
		p->seen++;
		return;
	}
	p->waits = false;
	p->locks = json_object_new_array();
	p->res = json_object_new_object();
	json_object_object_add(p->res, "domain", json_object_new_string(p->nd->user.name));
	json_object_object_add(p->res, "name", json_object_new_string(name));
	if (r->owner != NODE_NONE)
		json_object_object_add(p->res, "owner", json_object_new_int(r->owner));
	json_object_object_add(p->res, "state", state_json(r->state));
	json_object_object_add(p->res, "refs", map_json(r->refmap));
	add_lvb(p->res, r->lvb);
	json_object_object_add(p->res, "locks", p->locks);
}

static void add_lock(struct page *p, const struct dlm_dump_lock *l)
{
	static const char *const queues[] = { "granted", "converting", "blocked" };
	struct json_object *o = json_object_new_object();
	char cookie[40];

	/* As the kernel prints it: node that made it, number. */
	snprintf(cookie, sizeof(cookie), "%u:%llu", (unsigned int)(l->cookie >> 56),
		 (unsigned long long)(l->cookie & 0xffffffffffffffULL));
	json_object_object_add(o, "node", json_object_new_int(l->node));
	json_object_object_add(o, "queue", json_object_new_string(
						   queues[l->queue == 'C' ? 1 : l->queue == 'B' ? 2 : 0]));
	json_object_object_add(o, "mode", json_object_new_string(dlm_mode_name(l->mode)));
	if (l->queue == 'C')
		json_object_object_add(o, "convert",
				       json_object_new_string(dlm_mode_name(l->convert_mode)));
	json_object_object_add(o, "cookie", json_object_new_string(cookie));
	json_object_object_add(o, "age_s", json_object_new_uint64(l->age_s));
	json_object_object_add(o, "pending", json_object_new_boolean(l->pending));
	json_object_array_add(p->locks, o);
	if ((l->queue != 'G' || l->pending) && l->age_s >= p->which->stuck_s)
		p->waits = true;
}

static bool dump(void *ctx, const struct dlm_dump_res *res, const struct dlm_dump_lock *lock)
{
	struct page *p = ctx;

	if (lock && p->res) {
		add_lock(p, lock);
	} else if (!lock) {
		close_resource(p);
		if (!p->full)
			open_resource(p, res);
	}
	return !p->full;
}

struct json_object *net_locks_json(void *ctx, const struct net_nl_locks *which)
{
	struct net *net = ctx;
	struct page p = { .which = which, .list = json_object_new_array() };
	struct json_object *o = json_object_new_object();

	for (p.nd = net->domains; p.nd && !p.full; p.nd = p.nd->next) {
		if (p.nd->dom && net->driver)
			dlm_domain_dump(p.nd->dom, dump, &p);
		close_resource(&p);
	}
	json_object_object_add(o, "resources", p.list);
	if (p.full)
		json_object_object_add(o, "next", json_object_new_uint64(which->from + p.taken));
	return o;
}

/* Counters of each message type that was ever seen. */
struct json_object *net_messages_json(const struct dlm_stats *s)
{
	struct json_object *all = json_object_new_object();

	for (unsigned int i = 0; i < sizeof(s->sent) / sizeof(s->sent[0]); i++) {
		struct json_object *o;

		if (!s->sent[i] && !s->received[i] && !s->refused[i])
			continue;
		o = json_object_new_object();
		json_object_object_add(o, "sent", json_object_new_uint64(s->sent[i]));
		json_object_object_add(o, "received", json_object_new_uint64(s->received[i]));
		json_object_object_add(o, "refused", json_object_new_uint64(s->refused[i]));
		json_object_object_add(all, dlm_msg_name((uint16_t)(DLM_MSG_FIRST + i)), o);
	}
	return all;
}
