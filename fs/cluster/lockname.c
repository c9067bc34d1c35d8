/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * lockname.c: spelling lock names.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "dlm/util/bytes.h"
#include "fs/cluster/lockname.h"

enum { PAD_LEN = 6, BLKNO_DIGITS = 16, DENTRY_INODE_OFF = 18 };

void lockname_text(uint8_t name[LC_NAME_LEN], char letter, uint64_t blkno, uint32_t generation)
{
	char text[LC_NAME_LEN + 1];

	snprintf(text, sizeof(text), "%c000000%016" PRIx64 "%08" PRIx32, letter, blkno, generation);
	memcpy(name, text, LC_NAME_LEN);
}

void lockname_dentry(uint8_t name[LC_NAME_LEN], uint64_t dir, uint64_t child)
{
	char text[1 + BLKNO_DIGITS + 1];

	snprintf(text, sizeof(text), "N%016" PRIx64, dir);
	memset(name, 0, LC_NAME_LEN);
	memcpy(name, text, sizeof(text));
	bytes_store_be(name + DENTRY_INODE_OFF, child, 8);
}

static uint64_t hex(const uint8_t *p, unsigned n)
{
	uint64_t v = 0;

	for (; n; n--, p++)
		v = v << 4 | (uint64_t)(*p <= '9' ? *p - '0' : *p - 'a' + 10);
	return v;
}

const char *lockname_print(const uint8_t name[LC_NAME_LEN], char out[LOCKNAME_PRINT_LEN])
{
	uint64_t blkno;
	uint32_t gen;

	if (name[0] == 'N') {
		snprintf(out, LOCKNAME_PRINT_LEN, "N(0x%" PRIx64 ",0x%" PRIx64 ")", hex(name + 1, 16),
			 bytes_load_be(name + DENTRY_INODE_OFF, 8));
		return out;
	}
	blkno = hex(name + 1 + PAD_LEN, BLKNO_DIGITS);
	gen = (uint32_t)hex(name + 1 + PAD_LEN + BLKNO_DIGITS, 8);
	if (gen)
		snprintf(out, LOCKNAME_PRINT_LEN, "%c(0x%" PRIx64 ",%08" PRIx32 ")", name[0], blkno, gen);
	else if (blkno)
		snprintf(out, LOCKNAME_PRINT_LEN, "%c(0x%" PRIx64 ")", name[0], blkno);
	else
		snprintf(out, LOCKNAME_PRINT_LEN, "%c", name[0]);
	return out;
}
