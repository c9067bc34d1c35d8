/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * frame.h: the 24 byte header of o2net, to and from bytes (doc/spec/cluster.md 2.4,
 * 2.5).
 *
 * Four kinds of frames follow the handshake on a link. Only a message has a payload;
 * payload that a peer puts behind another kind is consumed and dropped.
 */
#ifndef O2FUSE_NET_FRAME_H
#define O2FUSE_NET_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "dlm/util/cleanup.h"

#define NET_FRAME_LEN 24
#define NET_PAYLOAD_MAX 4072
/* Request numbers that a kernel peer can match are 0..NET_NUM_MAX. */
#define NET_NUM_MAX 0x7fffffffu

enum net_frame_kind {
	NET_FRAME_MESSAGE = 0xfa55,
	NET_FRAME_STATUS = 0xfa56,
	NET_FRAME_KEEP_REQ = 0xfa57,
	NET_FRAME_KEEP_RESP = 0xfa58,
};

/* sys_status. A value of 4 or more crashes a kernel peer: never send one. */
enum net_sys_status {
	NET_SYS_OK = 0,
	NET_SYS_NO_HANDLER = 1,
	NET_SYS_OVERFLOW = 2,
};

struct net_frame {
	uint16_t magic;		/* enum net_frame_kind */
	uint16_t len;		/* payload bytes that follow */
	uint16_t type;
	uint16_t pad;		/* echoed in a reply; sent as 0 */
	uint32_t sys_status;
	int32_t status;
	uint32_t key;
	uint32_t num;
};

void net_frame_put(uint8_t out[NET_FRAME_LEN], const struct net_frame *f);
/*
 * Decode a header. -EPROTO: unknown magic, -EMSGSIZE: more payload than allowed; both
 * end the connection. *out is filled in either case, for the log.
 */
int net_frame_get(const uint8_t in[NET_FRAME_LEN], struct net_frame *out) __must_check;

/* A request of ours. */
struct net_frame net_frame_message(uint16_t type, uint32_t key, uint32_t num, uint16_t len);
/* The answer to req: its own header with another magic, no payload and the result. */
struct net_frame net_frame_reply(const struct net_frame *req, uint32_t sys_status, int32_t status);
/* kind: NET_FRAME_KEEP_REQ or NET_FRAME_KEEP_RESP; all else is zero. */
struct net_frame net_frame_keepalive(enum net_frame_kind kind);

/* What the sender of a request gets for a reply: 0, -ENOPROTOOPT, -EOVERFLOW, -EHOSTDOWN;
 * -EPROTO for a value that no peer may send. */
int net_frame_sys_error(uint32_t sys_status);

#endif
