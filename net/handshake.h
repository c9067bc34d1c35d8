/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * handshake.h: the 32 bytes that open a link, and whether two ends agree
 * (doc/spec/cluster.md 2.2, 2.3).
 */
#ifndef O2FUSE_NET_HANDSHAKE_H
#define O2FUSE_NET_HANDSHAKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NET_HANDSHAKE_LEN 32
#define NET_PROTO_VERSION 11u

struct net_handshake {
	uint64_t version;
	uint64_t connector_id;	/* 1; never checked */
	uint32_t heartbeat_ms;	/* write timeout, 2000 * (thr - 1) */
	uint32_t idle_ms;
	uint32_t keepalive_ms;
	uint32_t reconnect_ms;	/* never checked */
};

void net_handshake_put(uint8_t out[NET_HANDSHAKE_LEN], const struct net_handshake *h);
void net_handshake_get(const uint8_t in[NET_HANDSHAKE_LEN], struct net_handshake *out);

/*
 * True if the link may be used. Otherwise why (room bytes) names the first value that
 * differs, ours and theirs, and where it is set. Checked in the kernel's order: version,
 * idle, keepalive, heartbeat timeout.
 */
bool net_handshake_agree(const struct net_handshake *ours, const struct net_handshake *theirs,
			 char *why, size_t room);

#endif
