/* SPDX-License-Identifier: GPL-2.0-or-later */
/* orphans.c: see orphans.h. */
#include "tests/volume/orphans.h"

#include <errno.h>

enum { ROOM = 512 };

struct orphans {
	blkno_t blkno[ROOM];
	unsigned n;
};

static void note(void *ctx, blkno_t blkno, bool dio)
{
	struct orphans *o = ctx;

	if (dio)
		return;
	if (o->n < ROOM)
		o->blkno[o->n] = blkno;
	o->n++;
}

int orphans_wipe(struct vol *v)
{
	struct orphans o = { .n = 0 };
	struct vol_inode *inode;
	int err = vol_orphans_each(v, (unsigned)vol_slot(v), note, &o);

	if (!err && o.n > ROOM)
		err = -EOVERFLOW;
	for (unsigned i = 0; i < o.n && !err; i++) {
		err = vol_iget(v, o.blkno[i], &inode);
		if (err)
			break;
		err = vol_inode_refresh(inode);
		if (!err)
			err = vol_wipe(inode);
		vol_iput(inode);
	}
	return err;
}
