#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Two hosts, random operations on both, every result compared with a model.
# SEED=n replays one seed, OPS=n sets how many operations.
: "${top_srcdir:=$(cd "$(dirname "$0")/../.." && pwd)}"
. "$top_srcdir/tests/cluster/lib.sh"
hosts_init
ok "hosts are up" hosts_up 2
ok "a volume is made" vol_make v.img 300M
ok "both mount" vol_mount_all 2 || exit 1
for seed in ${SEED:-1 2 3}; do
	mkdir "$work/m1/s$seed"
	ok "seed $seed: every result agrees with the model" \
		timeout 400 "$top_builddir/tests/cluster/coherence" "$seed" "${OPS:-2000}" \
		"$work/m1/s$seed" "$work/m2/s$seed"
done
ok "both unmount" vol_umount_all 2
ok "fsck.ocfs2 finds nothing" vol_check
ok "the logs are quiet" logs_clean
