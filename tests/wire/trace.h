/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * trace.h: a recorded session of kernel nodes (tests/lab/traces) as a list of what was said,
 * in the order in which it was on the bridge.
 *
 * A capture is put together a direction of a connection at a time; the reader knows only
 * what the recording writes (Ethernet, IPv4, no fragments), and fails the running test on
 * anything else, as on a gap. Nodes are the last bytes of their addresses.
 */
#ifndef O2FUSE_TESTS_WIRE_TRACE_H
#define O2FUSE_TESTS_WIRE_TRACE_H

#include <stdbool.h>
#include <stdint.h>
#include "dlm/transport.h"
#include "net/frame.h"

enum trace_kind {
	TRACE_HANDSHAKE,
	TRACE_MESSAGE,
	TRACE_REPLY,
	TRACE_KEEPALIVE,
	TRACE_CLOSED, /* the first FIN or RST of a connection; no bytes */
};

struct trace_frame {
	enum trace_kind kind;
	uint64_t ms; /* since the first packet */
	node_t from, to;
	struct net_frame h;	/* all but handshakes */
	const uint8_t *bytes;	/* the whole frame, header included */
	const uint8_t *payload; /* messages: h.len bytes */
	size_t len;		/* of bytes */
	int other;		/* message: its reply, reply: its message; -1: none */
};

struct trace {
	struct trace_frame *f;
	int n;
};

/* name: of a file of tests/lab/traces without .pcap. */
void trace_read(struct trace *t, const char *name);
void trace_free(struct trace *t);

#endif
