/* SPDX-License-Identifier: GPL-2.0-or-later */
/* trace.c: a recorded session as a list of what was said (trace.h). */
#include "tests/wire/trace.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "net/handshake.h"

enum { FLOWS = 64, ROOM = 1 << 17, REQUESTS = 64, PACKET_MAX = 1 << 18 };

/* One direction of a connection. */
struct flow {
	uint8_t key[12]; /* addresses, ports */
	uint32_t next;	 /* sequence number */
	bool greeted, closed;
	size_t len;
	uint8_t buf[ROOM];
	int asked[REQUESTS]; /* frame + 1, by message number, until answered */
};

struct reader {
	struct trace *t;
	struct flow *flows[FLOWS];
	int n, room;
	uint64_t ms;
};

static uint32_t be32_at(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static unsigned be16_at(const uint8_t *p)
{
	return (unsigned)p[0] << 8 | p[1];
}

static struct flow *find(struct reader *r, const uint8_t key[12])
{
	for (int i = r->n - 1; i >= 0; i--) {
		if (!memcmp(r->flows[i]->key, key, 12))
			return r->flows[i];
	}
	return NULL;
}

static struct flow *other_way(struct reader *r, const struct flow *f)
{
	uint8_t key[12];

	memcpy(key, f->key + 4, 4);
	memcpy(key + 4, f->key, 4);
	memcpy(key + 8, f->key + 10, 2);
	memcpy(key + 10, f->key + 8, 2);
	return find(r, key);
}

static struct trace_frame *add(struct reader *r, const struct flow *f, enum trace_kind kind,
			       size_t len)
{
	struct trace *t = r->t;
	struct trace_frame *e;
	uint8_t *copy = NULL;

	if (t->n == r->room) {
		r->room = r->room ? 2 * r->room : 1024;
		t->f = realloc(t->f, (size_t)r->room * sizeof(*t->f));
		cr_assert(t->f);
	}
	if (len > 0) {
		copy = malloc(len); /* exact, so that a sanitizer sees a read beyond the end */
		cr_assert(copy);
		memcpy(copy, f->buf, len);
	}
	e = &t->f[t->n++];
	*e = (struct trace_frame){ .kind = kind, .ms = r->ms, .from = f->key[3], .to = f->key[7],
				   .bytes = copy, .len = len, .other = -1 };
	return e;
}

/* The bytes that one handshake or frame at the front took, 0 if it is not whole. */
static size_t take(struct reader *r, struct flow *f)
{
	struct trace_frame *e;
	struct flow *asker;
	struct net_frame h;
	size_t len;

	if (!f->greeted) {
		if (f->len < NET_HANDSHAKE_LEN)
			return 0;
		f->greeted = true;
		add(r, f, TRACE_HANDSHAKE, NET_HANDSHAKE_LEN);
		return NET_HANDSHAKE_LEN;
	}
	if (f->len < NET_FRAME_LEN)
		return 0;
	cr_assert_eq(net_frame_get(f->buf, &h), 0);
	len = (size_t)NET_FRAME_LEN + h.len;
	if (f->len < len)
		return 0;
	if (h.magic == NET_FRAME_MESSAGE) {
		e = add(r, f, TRACE_MESSAGE, len);
		e->payload = e->bytes + NET_FRAME_LEN;
		cr_assert_lt(h.num, REQUESTS);
		cr_assert(!f->asked[h.num], "a number is used twice");
		f->asked[h.num] = r->t->n;
	} else if (h.magic == NET_FRAME_STATUS) {
		e = add(r, f, TRACE_REPLY, len);
		asker = other_way(r, f);
		cr_assert(asker && h.num < REQUESTS && asker->asked[h.num], "an answer to nothing");
		e->other = asker->asked[h.num] - 1;
		r->t->f[e->other].other = r->t->n - 1;
		asker->asked[h.num] = 0;
	} else {
		e = add(r, f, TRACE_KEEPALIVE, len);
	}
	e->h = h;
	return len;
}

static void opened(struct reader *r, struct flow *f, const uint8_t key[12], uint32_t next)
{
	if (f && f->next == next)
		return; /* sent again */
	cr_assert_lt(r->n, FLOWS);
	f = calloc(1, sizeof(*f));
	cr_assert(f);
	memcpy(f->key, key, sizeof(f->key));
	f->next = next;
	r->flows[r->n++] = f;
}

static void closed(struct reader *r, struct flow *f)
{
	struct flow *back = other_way(r, f);

	if (!f->closed && f->greeted && !(back && back->closed))
		add(r, f, TRACE_CLOSED, 0);
	f->closed = true;
}

static void packet(struct reader *r, const uint8_t *p, size_t len)
{
	const uint8_t *ip = p + 14, *tcp;
	size_t ihl, thl, total, used;
	uint8_t key[12];
	struct flow *f;
	uint32_t seq;
	int32_t ahead;

	if (len < 54 || be16_at(p + 12) != 0x0800 || ip[9] != 6)
		return;
	ihl = (size_t)(ip[0] & 15) * 4;
	total = be16_at(ip + 2);
	tcp = ip + ihl;
	cr_assert_leq(total, len - 14);
	thl = (size_t)(tcp[12] >> 4) * 4;
	memcpy(key, ip + 12, 8);
	memcpy(key + 8, tcp, 4);
	seq = be32_at(tcp + 4);
	f = find(r, key);
	if (tcp[13] & 2) {
		opened(r, f, key, seq + 1);
		return;
	}
	if (!f && tcp[13] & 4)
		return; /* a connection that was refused */
	cr_assert(f, "a connection that was open before the recording");
	len = total - ihl - thl;
	ahead = (int32_t)(seq - f->next);
	if (len > 0 && -(int64_t)ahead < (int64_t)len) {
		cr_assert_leq(ahead, 0, "a gap");
		cr_assert_leq(f->len + len, ROOM);
		memcpy(f->buf + f->len, tcp + thl - ahead, len - (size_t)-ahead);
		f->len += len - (size_t)-ahead;
		f->next += (uint32_t)(len - (size_t)-ahead);
		while ((used = take(r, f))) {
			f->len -= used;
			memmove(f->buf, f->buf + used, f->len);
		}
	}
	if (tcp[13] & 5)
		closed(r, f);
}

void trace_read(struct trace *t, const char *name)
{
	struct reader r = { .t = t };
	uint32_t head[6], rec[4];
	uint64_t us, first = 0;
	char path[400];
	uint8_t *buf = malloc(PACKET_MAX);
	FILE *in;

	*t = (struct trace){ 0 };
	snprintf(path, sizeof(path), "%s/lab/traces/%s.pcap", TESTDATA, name);
	in = fopen(path, "rb");
	cr_assert(in && buf, "%s", path);
	cr_assert_eq(fread(head, sizeof(head), 1, in), 1);
	cr_assert(head[0] == 0xa1b2c3d4 && head[5] == 1);
	while (fread(rec, sizeof(rec), 1, in) == 1) {
		cr_assert_leq(rec[2], PACKET_MAX);
		cr_assert_eq(fread(buf, 1, rec[2], in), rec[2]);
		us = (uint64_t)rec[0] * 1000000 + rec[1];
		if (!first)
			first = us;
		r.ms = (us - first) / 1000;
		packet(&r, buf, rec[2]);
	}
	fclose(in);
	free(buf);
	for (int i = 0; i < r.n; i++) {
		cr_assert_eq(r.flows[i]->len, 0, "bytes are left over");
		free(r.flows[i]);
	}
}

void trace_free(struct trace *t)
{
	for (int i = 0; i < t->n; i++)
		free((void *)t->f[i].bytes);
	free(t->f);
}
