/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * heartbeat.c: the block, its checksum, and the counters that make a node live or dead.
 *
 * Right because it is the table of doc/spec/cluster.md 4.5 step by step; the tests run
 * blocks that a kernel wrote and recorded sequences (restart, goodbye, damage, silence).
 * Nodes compare seq for inequality only, so clocks need not agree.
 */
#include "net/heartbeat.h"
#include <string.h>
#include <zlib.h>
#include "dlm/util/bytes.h"

enum { OFF_CKSUM = 12, HEAD_LEN = 28 };

uint32_t net_crc32raw(uint32_t seed, const void *p, size_t n)
{
	return ~(uint32_t)crc32(~seed, p, (uInt)n);
}

void net_hb_encode(void *out, size_t block_bytes, const struct net_hb_block *b)
{
	struct bytes_out o = bytes_out(out, block_bytes);

	bytes_put_le64(&o, b->seq);
	bytes_put_u8(&o, b->node);
	bytes_put_zero(&o, 3);
	bytes_put_le32(&o, 0);
	bytes_put_le64(&o, b->generation);
	bytes_put_le32(&o, b->dead_ms);
	bytes_put_zero(&o, o.left);
	bytes_store_le((uint8_t *)out + OFF_CKSUM, net_crc32raw(0, out, block_bytes), 4);
}

bool net_hb_decode(const void *in, size_t block_bytes, struct net_hb_block *out)
{
	static const uint8_t zero[4];
	struct bytes_in i = bytes_in(in, block_bytes);
	const uint8_t *p = in;
	uint32_t cksum, crc;

	out->seq = bytes_get_le64(&i);
	out->node = bytes_get_u8(&i);
	bytes_skip(&i, 3);
	cksum = bytes_get_le32(&i);
	out->generation = bytes_get_le64(&i);
	out->dead_ms = bytes_get_le32(&i);

	crc = net_crc32raw(0, p, OFF_CKSUM);
	crc = net_crc32raw(crc, zero, sizeof(zero));
	crc = net_crc32raw(crc, p + OFF_CKSUM + 4, block_bytes - OFF_CKSUM - 4);
	return crc == cksum;
}

uint64_t net_hb_next_seq(uint64_t now_s, uint64_t last)
{
	uint64_t seq = now_s == last ? now_s + 1 : now_s;

	return seq ? seq : 1;
}

void net_hb_slot_load(struct net_hb_slot *s, const void *block, size_t block_bytes)
{
	struct net_hb_block b;

	memset(s, 0, sizeof(*s));
	(void)net_hb_decode(block, block_bytes, &b);
	s->last_seq = b.seq;
	s->last_gen = b.generation;
}

enum net_hb_verdict net_hb_judge(struct net_hb_slot *s, const void *block, size_t block_bytes,
				 uint32_t threshold, struct net_hb_block *seen)
{
	struct net_hb_block b;
	bool gen_changed = false;

	memset(seen, 0, sizeof(*seen));
	s->moved = false;
	if (!net_hb_decode(block, block_bytes, &b)) {
		if (!s->live)
			return NET_HB_SAME;
		s->equal++;
		goto judge_live;
	}
	*seen = b;
	if (b.seq != s->last_seq) {
		s->changed++;
		s->moved = true;
	} else {
		s->equal++;
	}
	s->last_seq = b.seq;
	if (b.generation != s->last_gen) {
		gen_changed = true;
		s->equal = 0;
		s->last_gen = b.generation;
	}
	if (!s->live) {
		if (s->changed < 2)
			return NET_HB_SAME;
		s->live = true;
		s->equal = 0;
		return NET_HB_UP;
	}

judge_live:
	if (s->equal >= threshold || gen_changed) {
		s->live = false;
		if (!gen_changed)
			s->changed = 0;
		return NET_HB_DOWN;
	}
	if (s->changed > 0) {
		s->changed = 0;
		s->equal = 0;
	}
	return NET_HB_SAME;
}

enum net_hb_own net_hb_check_own(const void *block, size_t block_bytes,
				 const struct net_hb_block *expect)
{
	struct net_hb_block b;

	(void)net_hb_decode(block, block_bytes, &b);
	if (b.seq == 0 && expect->seq == 0)
		return NET_HB_OWN_FRESH;
	if (b.seq == expect->seq && b.generation == expect->generation && b.node == expect->node)
		return NET_HB_OWN_OK;
	return NET_HB_OWN_FOREIGN;
}

enum net_hb_phase net_hb_steady_step(struct net_hb_steady *s, const struct net_hb_iteration *it)
{
	if (s->steady)
		return NET_HB_STEADY;
	s->iterations++;
	if (it->wrote)
		s->writes++;
	if (!it->error && it->own_ok && !it->changed)
		s->good++;
	/* The first iteration follows the start at once: n of them span n - 1 periods. */
	if (s->good >= NET_HB_GOOD && s->writes >= NET_HB_WRITES &&
	    s->iterations > NET_HB_SPAN && !it->coming && !it->error && it->own_ok) {
		s->steady = true;
		return NET_HB_STEADY;
	}
	return s->iterations >= NET_HB_TRIES ? NET_HB_GIVE_UP : NET_HB_STARTING;
}

uint32_t net_hb_nego_key(const char *region)
{
	return net_crc32raw(32, region, strlen(region));
}
