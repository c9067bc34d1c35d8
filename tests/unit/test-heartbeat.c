/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test-heartbeat.c: blocks and verdicts of the disk heartbeat; vectors of
 * doc/spec/cluster.md section 6, two of them written by a kernel. */
#include <criterion/criterion.h>
#include <string.h>
#include "net/hbscan.h"
#include "net/heartbeat.h"

enum { THR = 5 };

Test(heartbeat, crc_is_the_kernels)
{
	cr_assert_eq(net_crc32raw(0, "123456789", 9), 0x2dfd2d88);
	cr_assert_eq(net_crc32raw(0, "45F81E3B6F2B48CCAAD1AE7945AB2001", 32), 0x10748e61);
	cr_assert_eq(net_hb_nego_key("45F81E3B6F2B48CCAAD1AE7945AB2001"), 0x2ac653b3);
}

static void block_is(const struct net_hb_block *b, size_t size, const uint8_t head[32])
{
	uint8_t raw[NET_HB_BLOCK_MAX];
	struct net_hb_block back;

	memset(raw, 0xff, sizeof(raw));
	net_hb_encode(raw, size, b);
	cr_assert_arr_eq(raw, head, 32);
	for (size_t i = 32; i < size; i++)
		cr_assert_eq(raw[i], 0);
	cr_assert(size == NET_HB_BLOCK_MAX || raw[size] == 0xff, "wrote beyond the block");
	cr_assert(net_hb_decode(raw, size, &back));
	cr_assert_eq(back.seq, b->seq);
	cr_assert_eq(back.generation, b->generation);
	cr_assert_eq(back.dead_ms, b->dead_ms);
	cr_assert_eq(back.node, b->node);
	raw[size - 1] ^= 1;
	cr_assert_not(net_hb_decode(raw, size, &back), "damage at the end was not seen");
}

Test(heartbeat, blocks_of_the_spec_and_of_a_kernel)
{
	struct net_hb_block b = { .seq = 0x6b03a300, .generation = 0x9a3b5c7d1e2f4051,
				  .dead_ms = 62000, .node = 3 };
	uint8_t head[32] = { 0x00, 0xa3, 0x03, 0x6b, 0, 0, 0, 0, 3, 0, 0, 0, 0x1e, 0xc6, 0x38, 0xc5,
			     0x51, 0x40, 0x2f, 0x1e, 0x7d, 0x5c, 0x3b, 0x9a, 0x30, 0xf2 };
	static const uint8_t kernel512[32] = {
		0x42, 0xa2, 0x03, 0x6b, 0, 0, 0, 0, 1, 0, 0, 0, 0x15, 0xf7, 0x23, 0x19,
		0x98, 0x57, 0xf8, 0x47, 0xd6, 0x84, 0x6f, 0x55, 0x30, 0xf2 };
	static const uint8_t kernel4k[32] = {
		0xa5, 0xa7, 0x03, 0x6b, 0, 0, 0, 0, 1, 0, 0, 0, 0xde, 0x09, 0x72, 0xbf,
		0x80, 0xf1, 0x0f, 0xc8, 0xe3, 0x6a, 0xc8, 0xfe, 0x30, 0xf2 };

	block_is(&b, 512, head);
	memcpy(head + 12, "\x0e\x1a\xdf\xba", 4);
	block_is(&b, 4096, head);
	b = (struct net_hb_block){ .seq = 0x6b03a302, .dead_ms = 62000, .node = 3 };
	memset(head, 0, sizeof(head));
	memcpy(head, "\x02\xa3\x03\x6b", 4);
	head[8] = 3;
	head[24] = 0x30;
	head[25] = 0xf2;
	memcpy(head + 12, "\xdc\x78\xf6\x2f", 4);
	block_is(&b, 512, head);
	memcpy(head + 12, "\xbe\x16\x97\xd0", 4);
	block_is(&b, 4096, head);

	b = (struct net_hb_block){ .seq = 0x6b03a242, .generation = 0x556f84d647f85798,
				   .dead_ms = 62000, .node = 1 };
	block_is(&b, 512, kernel512);
	b = (struct net_hb_block){ .seq = 0x6b03a7a5, .generation = 0xfec86ae3c80ff180,
				   .dead_ms = 62000, .node = 1 };
	block_is(&b, 4096, kernel4k);
}

Test(heartbeat, zeros_are_a_valid_block_and_seq_never_repeats)
{
	uint8_t raw[512] = { 0 };
	struct net_hb_block b;

	cr_assert(net_hb_decode(raw, sizeof(raw), &b));
	cr_assert_eq(b.seq, 0);
	cr_assert_eq(net_hb_next_seq(1000, 999), 1000);
	cr_assert_eq(net_hb_next_seq(1000, 1000), 1001);
	cr_assert_eq(net_hb_next_seq(0, 5), 1);
	cr_assert_eq(net_hb_next_seq(900, 1000), 900, "an earlier clock is fine");
}

/* ---- judging: a slot driven by a script ----
 * Each letter is one sample: a new seq (w), the same block (.), a bad checksum (x), a new
 * generation with a new seq (g), a goodbye (0). Verdicts: U up, D down, - same. */
struct driven {
	struct net_hb_slot slot;
	struct net_hb_block b;
};

static void drive(struct driven *d, const char *samples, const char *want)
{
	uint8_t raw[512];
	struct net_hb_block seen;

	cr_assert_eq(strlen(samples), strlen(want));
	for (size_t i = 0; samples[i]; i++) {
		enum net_hb_verdict v;
		char got;

		if (samples[i] == 'w' || samples[i] == 'g' || samples[i] == '0')
			d->b.seq++;
		if (samples[i] == 'g')
			d->b.generation += 0x100;
		if (samples[i] == '0')
			d->b.generation = 0;
		net_hb_encode(raw, sizeof(raw), &d->b);
		if (samples[i] == 'x')
			raw[100] ^= 1;
		v = net_hb_judge(&d->slot, raw, sizeof(raw), THR, &seen);
		got = v == NET_HB_UP ? 'U' : v == NET_HB_DOWN ? 'D' : '-';
		cr_assert_eq(got, want[i], "sample %zu of %s: %c, want %c", i, samples, got, want[i]);
		cr_assert_eq(d->slot.moved, samples[i] != '.' && samples[i] != 'x');
		cr_assert_eq(seen.seq, samples[i] == 'x' ? 0 : d->b.seq);
	}
}

static struct driven slot_at_start(uint64_t generation)
{
	struct driven d = { .b = { .seq = 1000, .generation = generation, .node = 4 } };
	uint8_t raw[512];

	net_hb_encode(raw, sizeof(raw), &d.b);
	net_hb_slot_load(&d.slot, raw, sizeof(raw));
	return d;
}

Test(heartbeat, two_changes_make_a_node_live)
{
	struct driven d = slot_at_start(7);

	drive(&d, "ww", "-U");
	d = slot_at_start(7);
	drive(&d, "w......w", "-------U"); /* equal samples do not reset the count */
}

Test(heartbeat, a_node_that_does_not_write_stays_dead)
{
	struct driven d = slot_at_start(7);

	drive(&d, "....................", "--------------------");
}

Test(heartbeat, threshold_equal_samples_make_it_dead)
{
	struct driven d = slot_at_start(7);

	/* One more right after it turned live: its changes are forgotten at that sample. */
	drive(&d, "ww......", "-U-----D");
	drive(&d, "ww", "-U"); /* and it needs two changes again */
	drive(&d, "....w.....", "---------D"); /* any change starts the count anew */
}

Test(heartbeat, damage_counts_as_silence_when_live_only)
{
	struct driven d = slot_at_start(7);

	drive(&d, "xwxw", "---U");
	drive(&d, "xxxx", "----");
	drive(&d, "wxx.xx", "-----D");
}

Test(heartbeat, another_generation_is_a_death_and_a_return)
{
	struct driven d = slot_at_start(7);

	drive(&d, "wwww", "-U--");
	drive(&d, "gw", "DU");
}

Test(heartbeat, goodbye_is_down_at_once_and_back_at_the_first_block)
{
	struct driven d = slot_at_start(7);

	drive(&d, "www0", "-U-D");
	drive(&d, "....g", "----U");
}

/* ---- the own slot ---- */

Test(heartbeat, own_slot_tells_ours_from_foreign)
{
	struct net_hb_block mine = { .seq = 50, .generation = 9, .node = 2 }, other = mine, never = { 0 };
	uint8_t raw[512] = { 0 };

	cr_assert_eq(net_hb_check_own(raw, sizeof(raw), &never), NET_HB_OWN_FRESH);
	cr_assert_eq(net_hb_check_own(raw, sizeof(raw), &mine), NET_HB_OWN_FOREIGN);
	net_hb_encode(raw, sizeof(raw), &mine);
	cr_assert_eq(net_hb_check_own(raw, sizeof(raw), &mine), NET_HB_OWN_OK);
	cr_assert_eq(net_hb_check_own(raw, sizeof(raw), &never), NET_HB_OWN_FOREIGN);
	other.seq++;
	cr_assert_eq(net_hb_check_own(raw, sizeof(raw), &other), NET_HB_OWN_FOREIGN);
	other = mine;
	other.generation++;
	cr_assert_eq(net_hb_check_own(raw, sizeof(raw), &other), NET_HB_OWN_FOREIGN);
	other = mine;
	other.node++;
	cr_assert_eq(net_hb_check_own(raw, sizeof(raw), &other), NET_HB_OWN_FOREIGN);
}

/* ---- steady: one letter an iteration: o good, e error, f foreign slot, c a node came or
 * went, m somebody is about to come, l listening only; returns the iteration it is at. */
static int steady_after(const char *script, enum net_hb_phase want)
{
	struct net_hb_steady s = { 0 };
	enum net_hb_phase p = NET_HB_STARTING;
	int i;

	for (i = 0; script[i] && p == NET_HB_STARTING; i++) {
		struct net_hb_iteration it = {
			.wrote = script[i] != 'e' && script[i] != 'l',
			.error = script[i] == 'e',
			.own_ok = script[i] != 'f',
			.changed = script[i] == 'c',
			.coming = script[i] == 'm',
		};

		p = net_hb_steady_step(&s, &it);
	}
	cr_assert_eq(p, want, "%s", script);
	return i;
}

Test(heartbeat, steady_after_three_good_iterations_and_three_periods)
{
	cr_assert_eq(steady_after("oooooooooo", NET_HB_STEADY), 4);
	cr_assert_eq(steady_after("oococo", NET_HB_STEADY), 4, "others appeared in time");
	cr_assert_eq(steady_after("ooc", NET_HB_STARTING), 3);
	cr_assert_eq(steady_after("ooomo", NET_HB_STEADY), 5, "one is about to appear");
	cr_assert_eq(steady_after("efoooo", NET_HB_STEADY), 5);
	cr_assert_eq(steady_after("llooo", NET_HB_STEADY), 5, "three blocks of ours");
	cr_assert_eq(steady_after("eeeeeeeeeeeeeeeeeeee", NET_HB_GIVE_UP), NET_HB_TRIES);
	cr_assert_eq(steady_after("cccccccccccccccccccc", NET_HB_GIVE_UP), NET_HB_TRIES);
}

Test(heartbeat, blocks_of_another_size_are_found_when_they_move)
{
	static uint8_t region[NET_HB_SCAN_BYTES];
	struct net_hb_block b = { .seq = 5, .generation = 7, .node = 9 };
	struct net_hb_found mover;
	struct net_hb_scan s;

	for (unsigned int n = 0; n < 6; n++) { /* of our own size, packed */
		b.node = (node_t)n;
		net_hb_encode(region + 512 * n, 512, &b);
	}
	b.node = 9;
	net_hb_encode(region + 9 * 4096, 4096, &b);
	net_hb_scan_first(&s, region, sizeof(region), 512);
	cr_assert(s.any);
	cr_assert_not(net_hb_scan_again(&s, region, sizeof(region), &mover), "it stands still");
	b.seq++;
	net_hb_encode(region + 9 * 4096, 4096, &b);
	cr_assert(net_hb_scan_again(&s, region, sizeof(region), &mover));
	cr_assert_eq(mover.node, 9);
	cr_assert_eq(mover.block_bytes, 4096);
	cr_assert_not(net_hb_scan_again(&s, region, 9 * 4096 + 512, &mover), "beyond the end");
	b.node = 254;
	net_hb_scan_first(&s, region, sizeof(region), 512);
	net_hb_encode(region + 254 * 4096, 4096, &b);
	cr_assert(net_hb_scan_again(&s, region, sizeof(region), &mover), "it came since");
	cr_assert_eq(mover.node, 254);
	memset(region + 254 * 4096, 0, 4096);
	b.node = 9;

	b.generation = 0; /* a goodbye, or another node's number: nobody writes there */
	net_hb_encode(region + 9 * 4096, 4096, &b);
	net_hb_scan_first(&s, region, sizeof(region), 512);
	cr_assert_not(s.any);
	b.generation = 7;
	b.node = 8;
	net_hb_encode(region + 9 * 4096, 4096, &b);
	net_hb_scan_first(&s, region, sizeof(region), 512);
	cr_assert_not(s.any);
}
