#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A kernel node whose o2cb nobody told a time-out, and a host of ours that was not told any
# either: the defaults of both agree, or their links would refuse each other.
: "${top_srcdir:=$(cd "$(dirname "$0")/../.." && pwd)}"
. "$top_srcdir/tests/lab/lib.sh"
lab_init
thr=kernel
ok "the nodes have a network" lab_up u1 k2
ok "a volume is made" vol_make v.img 300M
ok "the kernel node boots" kboot 2 || exit 1
is "its time-outs are the kernel's own" \
	"$(k 2 "cd /sys/kernel/config/cluster/$cluster && cat heartbeat/dead_threshold idle_timeout_ms keepalive_delay_ms reconnect_delay_ms" | tr '\n' ' ')" \
	"31 30000 2000 2000 "
mount_opts() { echo "conf=$work/cluster.conf,node=$1,log=$work/log$1,verbose"; }
ok "the kernel mounts" kmount 2 || exit 1
ok "we join" vol_mount 1 || exit 1
ok "we write" eval 'echo ours >"$work/m1/f"'
is "the kernel reads it" "$(k 2 'cat /mnt/f')" ours
ok "the kernel appends" k 2 'echo theirs >>/mnt/f'
is "we read it" "$(tr '\n' ' ' <"$work/m1/f")" "ours theirs "
ok "the kernel leaves" kumount 2
ok "we leave" vol_umount 1
ok "fsck.ocfs2 finds nothing" vol_check
ok "our log is quiet" logs_clean
ok "so is the kernel's" kernels_clean
