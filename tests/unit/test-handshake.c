/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test-handshake.c: the opening 32 bytes and who refuses whom (doc/spec/cluster.md 2.2). */
#include <criterion/criterion.h>
#include <string.h>
#include "net/handshake.h"

static struct net_handshake defaults(void)
{
	return (struct net_handshake){ .version = 11, .connector_id = 1, .heartbeat_ms = 60000,
				       .idle_ms = 30000, .keepalive_ms = 2000,
				       .reconnect_ms = 2000 };
}

Test(handshake, bytes_of_the_spec)
{
	static const uint8_t want[NET_HANDSHAKE_LEN] = {
		0, 0, 0, 0, 0, 0, 0, 0x0b, 0, 0, 0, 0, 0, 0, 0, 1,
		0, 0, 0xea, 0x60, 0, 0, 0x75, 0x30, 0, 0, 7, 0xd0, 0, 0, 7, 0xd0,
	};
	struct net_handshake h = defaults(), back;
	uint8_t raw[NET_HANDSHAKE_LEN];

	net_handshake_put(raw, &h);
	cr_assert_eq(memcmp(raw, want, sizeof(raw)), 0);
	net_handshake_get(raw, &back);
	cr_assert_eq(memcmp(&back, &h, sizeof(h)), 0);
}

static void refused_with(const struct net_handshake *theirs, const char *want)
{
	struct net_handshake ours = defaults();
	char why[160] = "";

	cr_assert_not(net_handshake_agree(&ours, theirs, why, sizeof(why)));
	cr_assert_str_eq(why, want);
}

Test(handshake, differing_values_are_named_in_the_kernels_order)
{
	struct net_handshake h = defaults();

	h.heartbeat_ms = 12000;
	refused_with(&h, "heartbeat time-out differs: ours 60000 ms, theirs 12000 ms");
	h.keepalive_ms = 1000;
	refused_with(&h, "keepalive delay differs: ours 2000 ms, theirs 1000 ms");
	h.idle_ms = 5000;
	refused_with(&h, "idle time-out differs: ours 30000 ms, theirs 5000 ms");
	h.version = 12;
	refused_with(&h, "o2net protocol version differs: ours 11, theirs 12");
}

Test(handshake, connector_and_reconnect_delay_may_differ)
{
	struct net_handshake ours = defaults(), theirs = defaults();
	char why[160];

	theirs.connector_id = 99;
	theirs.reconnect_ms = 5;
	cr_assert(net_handshake_agree(&ours, &theirs, why, sizeof(why)));
}
