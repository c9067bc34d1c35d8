/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test-ecc.c: the vectors of doc/spec/disk.md 2.6, and correction of each kind of damage. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include "fs/volume/ecc.h"

Test(ecc, vectors)
{
	static const struct {
		size_t len;
		int kind;
		uint32_t crc;
		uint16_t parity;
	} v[] = {
		{ 512, 0, 0x4d558a87, 0x0000 }, { 4096, 0, 0x38e3ffee, 0x0000 },
		{ 512, 1, 0x5d2751af, 0x0003 }, { 4096, 1, 0x623b56c2, 0x0003 },
		{ 512, 2, 0xa0ed09a7, 0x100d }, { 4096, 2, 0xd55b7cce, 0x8010 },
		{ 512, 3, 0xe39eca89, 0x1f72 }, { 4096, 3, 0x5d6edf7d, 0xbf62 },
	};

	for (size_t i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
		uint8_t b[4096] = { 0 };

		if (v[i].kind == 1)
			b[0] = 1;
		if (v[i].kind == 2)
			b[v[i].len - 1] = 0x80;
		if (v[i].kind == 3)
			for (size_t j = 0; j < v[i].len; j++)
				b[j] = (uint8_t)j;
		cr_expect_eq(ecc_crc(b, v[i].len), v[i].crc, "crc of %zu", i);
		cr_expect_eq(ecc_parity(b, v[i].len), v[i].parity, "parity of %zu", i);
	}
}

static void fill(uint8_t *b)
{
	for (size_t i = 0; i < 4096; i++)
		b[i] = (uint8_t)(i * 7 + (i >> 5));
	ecc_store(b, 4096, 128);
}

Test(ecc, any_single_bit_is_corrected)
{
	uint8_t good[4096], b[4096];

	fill(good);
	for (size_t bit = 0; bit < 4096 * 8; bit += 37) {
		if (bit / 8 >= 128 && bit / 8 < 136)
			continue;
		memcpy(b, good, sizeof(b));
		b[bit / 8] ^= (uint8_t)(1u << (bit % 8));
		cr_assert_eq(ecc_verify(b, 4096, 128), 1, "bit %zu", bit);
		cr_assert(!memcmp(b, good, sizeof(b)), "bit %zu", bit);
	}
}

Test(ecc, two_wrong_bits_are_refused_and_a_good_block_is_left_alone)
{
	uint8_t good[4096], b[4096];

	fill(good);
	memcpy(b, good, sizeof(b));
	cr_expect_eq(ecc_verify(b, 4096, 128), 0);
	cr_expect(!memcmp(b, good, sizeof(b)));
	b[1000] ^= 1;
	b[2000] ^= 4;
	cr_expect_eq(ecc_verify(b, 4096, 128), -EIO);
}

/* The definition, bit by bit (doc/spec/disk.md 2.6, 3). */
static uint16_t slow_parity(const uint8_t *b, size_t len)
{
	uint32_t parity = 0;

	for (uint32_t bit = 0; bit < len * 8; bit++) {
		uint32_t p = bit + 1;

		for (uint32_t power = 1; power <= p; power <<= 1)
			p++;
		if (b[bit >> 3] >> (bit & 7) & 1)
			parity ^= p;
	}
	return (uint16_t)parity;
}

Test(ecc, the_parity_is_that_of_the_definition)
{
	uint64_t state = 88172645463325252ull;
	uint8_t b[4096];

	for (size_t len = 512; len <= 4096; len *= 2)
		for (int round = 0; round < 20; round++) {
			for (size_t i = 0; i < len; i++) {
				state ^= state << 13;
				state ^= state >> 7;
				state ^= state << 17;
				b[i] = (uint8_t)state;
			}
			cr_assert_eq(ecc_parity(b, len), slow_parity(b, len), "%zu %d", len, round);
		}
	memset(b, 0, sizeof(b));
	for (uint32_t bit = 0; bit < sizeof(b) * 8; bit++) {
		uint32_t p = bit + 1;

		for (uint32_t power = 1; power <= p; power <<= 1)
			p++;
		b[bit >> 3] = (uint8_t)(1u << (bit & 7));
		cr_assert_eq(ecc_parity(b, sizeof(b)), (uint16_t)p, "bit %u", bit);
		b[bit >> 3] = 0;
	}
}

Test(ecc, a_wrong_bit_of_the_parity_changes_no_data)
{
	uint8_t good[4096], b[4096];

	fill(good);
	for (unsigned bit = 0; bit < 16; bit++) {
		memcpy(b, good, sizeof(b));
		b[132 + bit / 8] ^= (uint8_t)(1u << bit % 8);
		cr_assert_eq(ecc_verify(b, 4096, 128), 0, "the crc is right, so nobody looks");
		cr_assert(!memcmp(b + 136, good + 136, sizeof(b) - 136));
	}
}
