/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ecc.h: check field of metadata blocks: CRC-32 and a Hamming code that corrects one
 * bit (doc/spec/disk.md 2.6).
 */
#ifndef O2FUSE_VOLUME_ECC_H
#define O2FUSE_VOLUME_ECC_H

#include <stddef.h>
#include <stdint.h>
#include "dlm/util/cleanup.h"

/* crc and parity of len bytes, as they are. */
uint32_t ecc_crc(const void *data, size_t len);
uint16_t ecc_parity(const void *data, size_t len);

/* Fill the 8-byte check field at byte `at` of a block of len bytes. */
void ecc_store(void *block, size_t len, size_t at);
/* 0: right. 1: one bit was wrong and is corrected in block. -EIO: damaged. */
int ecc_verify(void *block, size_t len, size_t at) __must_check;

#endif
