/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test-frame.c: o2net headers, byte for byte (vectors: doc/spec/cluster.md section 6). */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "net/frame.h"

static void encodes_to(const struct net_frame *f, const char *want)
{
	uint8_t raw[NET_FRAME_LEN];
	char hex[2 * NET_FRAME_LEN + 1];
	struct net_frame back;

	net_frame_put(raw, f);
	for (size_t i = 0; i < sizeof(raw); i++)
		snprintf(hex + 2 * i, 3, "%02x", raw[i]);
	cr_assert_str_eq(hex, want);
	cr_assert_eq(net_frame_get(raw, &back), 0);
	cr_assert_eq(memcmp(&back, f, sizeof(back)), 0);
}

Test(frame, message_headers_of_the_spec)
{
	struct net_frame join = net_frame_message(510, 0x666c6172, 0, 104);
	struct net_frame begin_exit = net_frame_message(521, 0x10748e61, 4, 4);
	struct net_frame nego = net_frame_message(1, 0x2ac653b3, 6, 1);

	encodes_to(&join, "fa55006801fe00000000000000000000666c617200000000");
	encodes_to(&begin_exit, "fa5500040209000000000000000000001074" "8e6100000004");
	encodes_to(&nego, "fa5500010001000000000000000000002ac653b300000006");
}

Test(frame, reply_echoes_the_request)
{
	struct net_frame req = net_frame_message(510, 0x666c6172, 0, 104);
	struct net_frame ok = net_frame_reply(&req, NET_SYS_OK, 0x01030000);
	struct net_frame info = net_frame_message(520, 0x666c6172, 7, 2108);
	struct net_frame refused = net_frame_reply(&info, NET_SYS_OK, -EINVAL);
	struct net_frame odd = { .magic = NET_FRAME_MESSAGE, .type = 500, .pad = 0x1234,
				 .key = 0x10748e61, .num = 1 };
	struct net_frame none = net_frame_reply(&odd, NET_SYS_NO_HANDLER, 0);

	encodes_to(&ok, "fa56000001fe00000000000001030000666c617200000000");
	encodes_to(&refused, "fa5600000208000000000000ffffffea666c617200000007");
	encodes_to(&none, "fa56000001f4123400000001000000001074" "8e6100000001");
}

Test(frame, keepalives_are_zero_but_for_the_magic)
{
	struct net_frame req = net_frame_keepalive(NET_FRAME_KEEP_REQ);
	struct net_frame resp = net_frame_keepalive(NET_FRAME_KEEP_RESP);

	encodes_to(&req, "fa5700000000000000000000000000000000000000000000");
	encodes_to(&resp, "fa5800000000000000000000000000000000000000000000");
}

Test(frame, bad_magic_and_too_much_payload_end_the_link)
{
	uint8_t raw[NET_FRAME_LEN];
	struct net_frame f = net_frame_message(510, 1, 2, NET_PAYLOAD_MAX);

	net_frame_put(raw, &f);
	cr_assert_eq(net_frame_get(raw, &f), 0);
	raw[3]++;
	cr_assert_eq(net_frame_get(raw, &f), -EMSGSIZE);
	raw[3]--;
	raw[1] = 0x54;
	cr_assert_eq(net_frame_get(raw, &f), -EPROTO);
	raw[1] = 0x59;
	cr_assert_eq(net_frame_get(raw, &f), -EPROTO);
	raw[0] = 0x55;
	raw[1] = 0xfa;
	cr_assert_eq(net_frame_get(raw, &f), -EPROTO);
	/* Too long counts for every magic. */
	f = net_frame_keepalive(NET_FRAME_KEEP_REQ);
	f.len = NET_PAYLOAD_MAX + 1;
	net_frame_put(raw, &f);
	cr_assert_eq(net_frame_get(raw, &f), -EMSGSIZE);
}

Test(frame, sys_status_becomes_the_senders_error)
{
	cr_assert_eq(net_frame_sys_error(0), 0);
	cr_assert_eq(net_frame_sys_error(1), -ENOPROTOOPT);
	cr_assert_eq(net_frame_sys_error(2), -EOVERFLOW);
	cr_assert_eq(net_frame_sys_error(3), -EHOSTDOWN);
	cr_assert_eq(net_frame_sys_error(4), -EPROTO);
	cr_assert_eq(net_frame_sys_error(0x01000000), -EPROTO);
}
