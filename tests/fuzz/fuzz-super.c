/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fuzz-super.c: any change of the super block of a good volume: the input is what is
 * XORed into it, and the checksum is made right. What opens must be
 * within the limits, nothing is ever written, and each refusal says why.
 */
#include <string.h>
#include "fs/volume/ecc.h"
#include "fs/volume/vol_int.h"
#include "tests/fuzz/fuzz.h"
#include "tests/volume/memdev.h"

enum { BS = 1024 };

static struct memdev *memory(void)
{
	static struct memdev *m;

	if (!m)
		m = memdev_make("20M -b 1K -C 4K -N 2 --fs-feature-level=max-features");
	return m;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct vol_opts opts = { .localalloc_mb = -1 };
	static struct blockdev *bd;
	struct memdev *m = memory();
	struct reason why = { 0 };
	uint8_t block[BS];
	struct vol *v;
	int err;

	if (len > BS)
		len = BS;
	memcpy(block, m->base + 2 * BS, BS);
	for (size_t i = 0; i < len; i++)
		block[i] ^= data[i];
	ecc_store(block, BS, offsetof(struct ocfs2_dinode, i_check));
	memdev_poke(m, 2 * BS, block, BS);
	if (!bd)
		bd = memdev_bd(m);
	err = vol_open(bd, &opts, &v, &why);
	FUZZ_CHECK(!err == !why.text[0]);
	if (!err) {
		const struct vol_info *i = vol_info(v);

		FUZZ_CHECK(i->blocks << i->blocksize_bits <= m->size);
		FUZZ_CHECK(i->max_slots >= 1 && i->max_slots <= 255);
		FUZZ_CHECK(v->bpc >= 1 && vol_root(v) && vol_sys_inode(v, VOL_SYS_GLOBAL_BITMAP, 0));
		vol_close(v);
	}
	FUZZ_CHECK(atomic_load(&m->writes) == 0);
	memdev_reset(m);
	return 0;
}
