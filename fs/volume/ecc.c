/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ecc.c: see ecc.h.
 *
 * The code position of data bit i is i + 1, moved past every power of two that is not
 * above it: i + k with k constant between two powers. So a 64-bit word whose bits share
 * one k costs one addition and XOR per set bit, and only the few words in which k
 * changes are done bit by bit.
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

uint16_t ecc_parity(const void *data, size_t len)
{
	const uint8_t *p = data;
	uint32_t parity = 0;

	for (size_t at = 0; at < len; at += 8) {
		uint32_t first = (uint32_t)at * 8, k;
		uint64_t word;

		memcpy(&word, p + at, 8);
		word = le64toh(word);
		if (!word)
			continue;
		k = position(first) - first;
		if (position(first + 63) - (first + 63) == k) {
			for (; word; word &= word - 1)
				parity ^= first + k + (uint32_t)__builtin_ctzll(word);
		} else {
			for (; word; word &= word - 1)
				parity ^= position(first + (uint32_t)__builtin_ctzll(word));
		}
	}
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
