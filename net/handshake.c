/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * handshake.c: opening bytes of a link, and the comparison of both ends.
 *
 * Both ends apply the same comparison to the same two structures, so either both refuse
 * or none does, and both name the same value.
 */
#include "net/handshake.h"
#include <inttypes.h>
#include <stdio.h>
#include "dlm/util/bytes.h"

void net_handshake_put(uint8_t out[NET_HANDSHAKE_LEN], const struct net_handshake *h)
{
	struct bytes_out b = bytes_out(out, NET_HANDSHAKE_LEN);

	bytes_put_be64(&b, h->version);
	bytes_put_be64(&b, h->connector_id);
	bytes_put_be32(&b, h->heartbeat_ms);
	bytes_put_be32(&b, h->idle_ms);
	bytes_put_be32(&b, h->keepalive_ms);
	bytes_put_be32(&b, h->reconnect_ms);
}

void net_handshake_get(const uint8_t in[NET_HANDSHAKE_LEN], struct net_handshake *out)
{
	struct bytes_in b = bytes_in(in, NET_HANDSHAKE_LEN);

	out->version = bytes_get_be64(&b);
	out->connector_id = bytes_get_be64(&b);
	out->heartbeat_ms = bytes_get_be32(&b);
	out->idle_ms = bytes_get_be32(&b);
	out->keepalive_ms = bytes_get_be32(&b);
	out->reconnect_ms = bytes_get_be32(&b);
}

bool net_handshake_agree(const struct net_handshake *ours, const struct net_handshake *theirs,
			 char *why, size_t room)
{
	const struct {
		const char *what;
		uint64_t ours, theirs;
		const char *unit;
	} rows[] = {
		{ "o2net protocol version", ours->version, theirs->version, "" },
		{ "idle time-out", ours->idle_ms, theirs->idle_ms, " ms" },
		{ "keepalive delay", ours->keepalive_ms, theirs->keepalive_ms, " ms" },
		{ "heartbeat time-out", ours->heartbeat_ms, theirs->heartbeat_ms, " ms" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (rows[i].ours == rows[i].theirs)
			continue;
		snprintf(why, room, "%s differs: ours %" PRIu64 "%s, theirs %" PRIu64 "%s",
			 rows[i].what, rows[i].ours, rows[i].unit, rows[i].theirs, rows[i].unit);
		return false;
	}
	return true;
}
