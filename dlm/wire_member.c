/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * wire_member.c: payloads of the messages about membership (cluster.md 5.4 to 5.6), to and
 * from bytes, by the rules of wire.c.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>
#include "dlm/util/bytes.h"
#include "dlm/wire.h"

static int get_domain(struct bytes_in *in, uint8_t len, struct dlm_wire_domain *out)
{
	const uint8_t *p = bytes_get(in, DLM_WIRE_DOMAIN_MAX);

	*out = (struct dlm_wire_domain){ 0 };
	if (!p)
		return -EMSGSIZE;
	if (len < 1 || len > DLM_WIRE_DOMAIN_MAX)
		return -ENAMETOOLONG;
	out->len = len;
	memcpy(out->name, p, len);
	return 0;
}

static void put_domain(struct bytes_out *out, const struct dlm_wire_domain *d)
{
	assert(d->len >= 1 && d->len <= DLM_WIRE_DOMAIN_MAX);
	bytes_put_copy(out, d->name, d->len);
	bytes_put_zero(out, DLM_WIRE_DOMAIN_MAX - d->len);
}

static size_t finish(const struct bytes_out *out)
{
	assert(!out->failed);
	return out->written;
}

int32_t dlm_join_answer_pack(struct dlm_join_answer a)
{
	uint32_t v = (uint32_t)a.code << 24;

	if (a.code == DLM_JOIN_OK)
		v |= (uint32_t)a.dlm_minor << 16 | (uint32_t)a.fs_minor << 8;
	return (int32_t)v;
}

struct dlm_join_answer dlm_join_answer_unpack(int32_t status)
{
	uint32_t v = (uint32_t)status;

	return (struct dlm_join_answer){ .code = (uint8_t)(v >> 24),
					 .dlm_minor = (uint8_t)(v >> 16),
					 .fs_minor = (uint8_t)(v >> 8) };
}

int dlm_get_query_join(const void *p, size_t len, struct dlm_wire_query_join *m)
{
	struct bytes_in in = bytes_in(p, len);
	uint8_t name_len;
	int err;

	m->node = bytes_get_u8(&in);
	bytes_skip(&in, 2);
	name_len = bytes_get_u8(&in);
	m->dlm_major = bytes_get_u8(&in);
	m->dlm_minor = bytes_get_u8(&in);
	m->fs_major = bytes_get_u8(&in);
	m->fs_minor = bytes_get_u8(&in);
	err = get_domain(&in, name_len, &m->domain);
	bytes_get_copy(&in, m->node_map, sizeof(m->node_map));
	if (!bytes_done(&in))
		return -EMSGSIZE;
	if (err)
		return err;
	return m->node < NODE_MAX ? 0 : -ERANGE;
}

size_t dlm_put_query_join(const struct dlm_wire_query_join *m, void *buf, size_t room)
{
	struct bytes_out out = bytes_out(buf, room);

	assert(m->node < NODE_MAX);
	bytes_put_u8(&out, m->node);
	bytes_put_zero(&out, 2);
	bytes_put_u8(&out, m->domain.len);
	bytes_put_u8(&out, m->dlm_major);
	bytes_put_u8(&out, m->dlm_minor);
	bytes_put_u8(&out, m->fs_major);
	bytes_put_u8(&out, m->fs_minor);
	put_domain(&out, &m->domain);
	bytes_put_copy(&out, m->node_map, sizeof(m->node_map));
	return finish(&out);
}

int dlm_get_join(const void *p, size_t len, struct dlm_wire_join *m)
{
	struct bytes_in in = bytes_in(p, len);
	uint8_t name_len;
	int err;

	m->node = bytes_get_u8(&in);
	bytes_skip(&in, 2);
	name_len = bytes_get_u8(&in);
	err = get_domain(&in, name_len, &m->domain);
	if (!bytes_done(&in))
		return -EMSGSIZE;
	if (err)
		return err;
	return m->node < NODE_MAX ? 0 : -ERANGE;
}

size_t dlm_put_join(const struct dlm_wire_join *m, void *buf, size_t room)
{
	struct bytes_out out = bytes_out(buf, room);

	assert(m->node < NODE_MAX);
	bytes_put_u8(&out, m->node);
	bytes_put_zero(&out, 2);
	bytes_put_u8(&out, m->domain.len);
	put_domain(&out, &m->domain);
	return finish(&out);
}

int dlm_get_exit(const void *p, size_t len, struct dlm_wire_exit *m)
{
	struct bytes_in in = bytes_in(p, len);

	m->node = bytes_get_u8(&in);
	bytes_skip(&in, 3);
	if (!bytes_done(&in))
		return -EMSGSIZE;
	return m->node < NODE_MAX ? 0 : -ERANGE;
}

size_t dlm_put_exit(const struct dlm_wire_exit *m, void *buf, size_t room)
{
	struct bytes_out out = bytes_out(buf, room);

	assert(m->node < NODE_MAX);
	bytes_put_u8(&out, m->node);
	bytes_put_zero(&out, 3);
	return finish(&out);
}

/* QUERY_REGION and QUERY_NODEINFO: node, count, name length (offset 2), pad, domain. */
static int get_query_head(struct bytes_in *in, node_t *node, uint8_t *count,
			  struct dlm_wire_domain *domain)
{
	uint8_t name_len;

	*node = bytes_get_u8(in);
	*count = bytes_get_u8(in);
	name_len = bytes_get_u8(in);
	bytes_skip(in, 1);
	return get_domain(in, name_len, domain);
}

static void put_query_head(struct bytes_out *out, node_t node, uint8_t count,
			   const struct dlm_wire_domain *domain)
{
	assert(node < NODE_MAX);
	bytes_put_u8(out, node);
	bytes_put_u8(out, count);
	bytes_put_u8(out, domain->len);
	bytes_put_zero(out, 1);
	put_domain(out, domain);
}

int dlm_get_query_region(const void *p, size_t len, struct dlm_wire_query_region *m)
{
	struct bytes_in in = bytes_in(p, len);
	int err = get_query_head(&in, &m->node, &m->num_regions, &m->domain);

	bytes_get_copy(&in, m->regions, sizeof(m->regions));
	if (!bytes_done(&in))
		return -EMSGSIZE;
	if (err)
		return err;
	if (m->num_regions > DLM_WIRE_REGIONS_MAX)
		return -EINVAL;
	return m->node < NODE_MAX ? 0 : -ERANGE;
}

size_t dlm_put_query_region(const struct dlm_wire_query_region *m, void *buf, size_t room)
{
	struct bytes_out out = bytes_out(buf, room);

	assert(m->num_regions <= DLM_WIRE_REGIONS_MAX);
	put_query_head(&out, m->node, m->num_regions, &m->domain);
	for (int i = 0; i < m->num_regions; i++)
		bytes_put_copy(&out, m->regions[i], DLM_WIRE_REGION_LEN);
	bytes_put_zero(&out, (size_t)(DLM_WIRE_REGIONS_MAX - m->num_regions) * DLM_WIRE_REGION_LEN);
	return finish(&out);
}

int dlm_get_query_nodeinfo(const void *p, size_t len, struct dlm_wire_query_nodeinfo *m)
{
	struct bytes_in in = bytes_in(p, len);
	int err = get_query_head(&in, &m->node, &m->num_nodes, &m->domain);
	bool in_range = true;

	for (int i = 0; i < NODE_MAX; i++) {
		struct dlm_wire_node *n = &m->nodes[i];

		n->node = bytes_get_u8(&in);
		bytes_skip(&in, 1);
		n->port = bytes_get_be16(&in);
		n->addr = bytes_get_be32(&in);
		if (i < m->num_nodes && n->node >= NODE_MAX)
			in_range = false;
	}
	if (!bytes_done(&in))
		return -EMSGSIZE;
	if (err)
		return err;
	return m->node < NODE_MAX && in_range ? 0 : -ERANGE;
}

size_t dlm_put_query_nodeinfo(const struct dlm_wire_query_nodeinfo *m, void *buf, size_t room)
{
	struct bytes_out out = bytes_out(buf, room);

	put_query_head(&out, m->node, m->num_nodes, &m->domain);
	for (int i = 0; i < m->num_nodes; i++) {
		assert(m->nodes[i].node < NODE_MAX);
		bytes_put_u8(&out, m->nodes[i].node);
		bytes_put_zero(&out, 1);
		bytes_put_be16(&out, m->nodes[i].port);
		bytes_put_be32(&out, m->nodes[i].addr);
	}
	bytes_put_zero(&out, (size_t)(NODE_MAX - m->num_nodes) * DLM_WIRE_NODE_LEN);
	return finish(&out);
}
