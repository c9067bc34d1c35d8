/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ecc.c: see ecc.h.
 *
 * The parity is the XOR of the code positions of all set bits. Position of data bit i is
 * i + 1, moved past every power of two that is not above it: i + m + 2 for positions
 * between 2^m and 2^(m+1). So the code word, bits at their positions, is the data shifted
 * by an amount that is constant between powers of two, and is looked at 64 positions at a
 * time: bit k < 6 of the parity is whether an odd number of bits is set at places with
 * bit k in all words XORed together; the rest is the XOR of the numbers of those words
 * that have an odd number of bits.
 */
#include "fs/volume/ecc.h"

#include <endian.h>
#include <errno.h>
#include <string.h>
#include <zlib.h>

enum { CHECK_LEN = 8 };

static uint32_t position(uint32_t bit)
{
	uint32_t p = bit + 1;

	for (uint32_t power = 1; power <= p; power <<= 1)
		p++;
	return p;
}

uint32_t ecc_crc(const void *data, size_t len)
{
	/* Without zlib's final inversion; its initial one is what is wanted. */
	return ~(uint32_t)crc32(0, data, (uInt)len);
}

/* 64 bits of data from a bit on; beyond the end there are zeros. */
static uint64_t bits_at(const uint8_t *p, size_t len, size_t bit)
{
	size_t at = bit >> 3, shift = bit & 7, n = at + 8 <= len ? 8 : at < len ? len - at : 0;
	uint64_t word = 0;

	memcpy(&word, p + (n ? at : 0), n);
	word = le64toh(word) >> shift;
	if (shift && at + 8 < len)
		word |= (uint64_t)p[at + 8] << (64 - shift);
	return word;
}

/* Positions 0 to 63: six powers of two among them. */
static uint64_t first_word(const uint8_t *p)
{
	uint64_t word = 0;

	for (uint32_t bit = 0; bit < 57; bit++)
		word |= (uint64_t)(p[bit >> 3] >> (bit & 7) & 1) << position(bit);
	return word;
}

uint16_t ecc_parity(const void *data, size_t len)
{
	static const uint64_t place[6] = {
		0xaaaaaaaaaaaaaaaa, 0xcccccccccccccccc, 0xf0f0f0f0f0f0f0f0,
		0xff00ff00ff00ff00, 0xffff0000ffff0000, 0xffffffff00000000,
	};
	uint64_t all = first_word(data), word;
	uint32_t parity = 0, m = 6;
	size_t from;

	for (uint32_t j = 1; (from = 64u * j - m - 2) < len * 8; j++) {
		word = bits_at(data, len, from);
		if (!(j & (j - 1)))
			word &= ~1ull; /* a power of two: no data bit is there */
		all ^= word;
		if (__builtin_parityll(word))
			parity ^= j;
		if (!((j + 1) & j))
			m++;
	}
	parity <<= 6;
	for (unsigned k = 0; k < 6; k++)
		parity |= (uint32_t)__builtin_parityll(all & place[k]) << k;
	return (uint16_t)parity;
}

static void put_check(uint8_t *field, uint32_t crc, uint16_t parity)
{
	uint32_t c = htole32(crc);
	uint16_t e = htole16(parity);

	memcpy(field, &c, 4);
	memcpy(field + 4, &e, 2);
	memset(field + 6, 0, 2);
}

void ecc_store(void *block, size_t len, size_t at)
{
	uint8_t *field = (uint8_t *)block + at;

	memset(field, 0, CHECK_LEN);
	put_check(field, ecc_crc(block, len), ecc_parity(block, len));
}

static void flip_at_position(uint8_t *block, size_t len, uint32_t pos)
{
	for (uint32_t bit = 0; bit < len * 8; bit++)
		if (position(bit) == pos) {
			block[bit >> 3] ^= (uint8_t)(1u << (bit & 7));
			return;
		}
}

int ecc_verify(void *block, size_t len, size_t at)
{
	uint8_t *field = (uint8_t *)block + at, saved[CHECK_LEN];
	uint32_t crc, fix;
	uint16_t parity;
	int rc = 0;

	memcpy(saved, field, CHECK_LEN);
	memcpy(&crc, field, 4);
	memcpy(&parity, field + 4, 2);
	memset(field, 0, CHECK_LEN);
	if (ecc_crc(block, len) != le32toh(crc)) {
		fix = le16toh(parity) ^ (uint32_t)ecc_parity(block, len);
		if (fix & (fix - 1)) /* a power of two is a wrong parity bit */
			flip_at_position(block, len, fix);
		rc = ecc_crc(block, len) == le32toh(crc) ? 1 : -EIO;
	}
	memcpy(field, saved, CHECK_LEN);
	return rc;
}
