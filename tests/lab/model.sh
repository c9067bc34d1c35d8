#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Random operations on a kernel node and two hosts of ours, each result compared with a
# model on another node at once. SEED=n replays one seed, OPS=n sets how many operations.
: "${top_srcdir:=$(cd "$(dirname "$0")/../.." && pwd)}"
: "${THR:=31}"
. "$top_srcdir/tests/lab/lib.sh"
prog=$top_builddir/tests/cluster/coherence
lab_init
ok "the nodes have a network" lab_up u1 k2 u3
ok "a volume is made" vol_make v.img 300M
ok "the kernel node boots" kboot 2 || exit 1
ok "the program is brought there" "$ocfs2_vm" put k2 "$prog" /bin/coherence
ok "we mount" vol_mount 1 || exit 1
ok "the kernel mounts" kmount 2 || exit 1
kbg 2 'ASAN_OPTIONS=detect_leaks=0 coherence serve 5000' >/dev/null
ok "the program serves there" wait_until 60 host 1 bash -c "exec 3<>/dev/tcp/$(addr 2)/5000"
model() { # seed operations roots...
	local seed=$1 ops=$2
	shift 2
	mkdir "$work/m1/s$seed" || return 1
	host 1 timeout 500 "$prog" "$seed" "$ops" "${@/%//s$seed}"
}
for seed in ${SEED:-1 2}; do
	ok "seed $seed: one of ours and a kernel node agree with the model" \
		model $seed "${OPS:-500}" "$work/m1" "$(addr 2):5000!/mnt"
done
ok "a third joins" vol_mount 3 || exit 1
ok "seed 11: three nodes agree with the model" \
	model 11 "${OPS:-500}" "$work/m1" "$work/m3" "$(addr 2):5000!/mnt"
k 2 'killall coherence'
ok "a kernel node leaves" kumount 2
ok "we leave" vol_umount 1 && ok "both of us" vol_umount 3
ok "fsck.ocfs2 finds nothing" vol_check
ok "our logs are quiet" logs_clean
ok "so is the kernel's" kernels_clean
