/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * frame.c: o2net headers to and from bytes. Nothing else in net/ knows the offsets.
 *
 * Right because every field is written and read through the cursors of bytes.h, once,
 * in the order of the table in doc/spec/cluster.md 2.4; tests/wire runs recorded
 * kernel frames through both directions.
 */
#include "net/frame.h"
#include <errno.h>
#include "dlm/util/bytes.h"

void net_frame_put(uint8_t out[NET_FRAME_LEN], const struct net_frame *f)
{
	struct bytes_out b = bytes_out(out, NET_FRAME_LEN);

	bytes_put_be16(&b, f->magic);
	bytes_put_be16(&b, f->len);
	bytes_put_be16(&b, f->type);
	bytes_put_be16(&b, f->pad);
	bytes_put_be32(&b, f->sys_status);
	bytes_put_be32(&b, (uint32_t)f->status);
	bytes_put_be32(&b, f->key);
	bytes_put_be32(&b, f->num);
}

int net_frame_get(const uint8_t in[NET_FRAME_LEN], struct net_frame *out)
{
	struct bytes_in b = bytes_in(in, NET_FRAME_LEN);

	out->magic = bytes_get_be16(&b);
	out->len = bytes_get_be16(&b);
	out->type = bytes_get_be16(&b);
	out->pad = bytes_get_be16(&b);
	out->sys_status = bytes_get_be32(&b);
	out->status = (int32_t)bytes_get_be32(&b);
	out->key = bytes_get_be32(&b);
	out->num = bytes_get_be32(&b);

	if (out->magic < NET_FRAME_MESSAGE || out->magic > NET_FRAME_KEEP_RESP)
		return -EPROTO;
	return out->len > NET_PAYLOAD_MAX ? -EMSGSIZE : 0;
}

struct net_frame net_frame_message(uint16_t type, uint32_t key, uint32_t num, uint16_t len)
{
	return (struct net_frame){
		.magic = NET_FRAME_MESSAGE, .len = len, .type = type, .key = key, .num = num
	};
}

struct net_frame net_frame_reply(const struct net_frame *req, uint32_t sys_status, int32_t status)
{
	struct net_frame f = *req;

	f.magic = NET_FRAME_STATUS;
	f.len = 0;
	f.sys_status = sys_status;
	f.status = status;
	return f;
}

struct net_frame net_frame_keepalive(enum net_frame_kind kind)
{
	return (struct net_frame){ .magic = (uint16_t)kind };
}

int net_frame_sys_error(uint32_t sys_status)
{
	switch (sys_status) {
	case NET_SYS_OK:
		return 0;
	case NET_SYS_NO_HANDLER:
		return -ENOPROTOOPT;
	case NET_SYS_OVERFLOW:
		return -EOVERFLOW;
	case 3:
		return -EHOSTDOWN;
	default:
		return -EPROTO;
	}
}
