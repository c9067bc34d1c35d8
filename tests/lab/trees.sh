#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Extent trees of several levels, made by one and extended by the other: blocks of 512 bytes,
# so that a leaf holds few extents. Then a kernel node that loses its power in the middle of
# direct writes beyond the end of a file: its orphan entries (dio-) are cleaned up by us.
: "${top_srcdir:=$(cd "$(dirname "$0")/../.." && pwd)}"
. "$top_srcdir/tests/lab/lib.sh"
lab_init
ok "the nodes have a network" lab_up u1 k2
# Not indexed: with such blocks mkfs itself leaves the system directory without its index.
ok "a volume with small blocks is made" vol_make v.img 300M -b 512 -C 4K --fs-features=noindexed-dirs
ok "the kernel node boots" kboot 2 || exit 1
ok "it has dd" "$ocfs2_vm" put k2 "$(command -v dd)" /usr/bin/
ok "we mount" vol_mount 1 || exit 1
ok "the kernel mounts" kmount 2 || exit 1
m=$work/m1

# Every second cluster from FIRST on, in a scattered order: N extents.
scatter='f() { i=0; while [ $i -lt N ]; do at=$(((i * 211 % N) * 2 + FIRST)); echo "$1 $at" | dd of=$1 bs=4096 seek=$at conv=notrunc,sync 2>/dev/null || return 1; i=$((i + 1)); done; }; f'
depth() { debugfs.ocfs2 -R "stat $1" "$image" 2>/dev/null | awk '/Tree Depth:/{print $3; exit}'; }
same() { [ "$(md5sum <"$m/$1")" = "$(k 2 "md5sum </mnt/$1")" ]; }
n=600
first=${scatter//N/$n}
first=${first//FIRST/1}
second=${scatter//N/$n}
second=${second//FIRST/0}

ok "we make a file of $n extents" on u1 "$first ours && sync"
ok "the kernel makes one" on k2 "$first theirs && sync"
is "ours is as deep as the kernel's" "$(depth /ours)" "$(depth /theirs)"
ok "which is two levels or more" test "$(depth /ours)" -ge 2
ok "the kernel reads ours as we do" same ours
ok "we read the kernel's as it does" same theirs
ok "the kernel fills the holes of ours" on k2 "$second ours && sync"
ok "we fill the holes of the kernel's" on u1 "$second theirs && sync"
ok "both read the same of ours" same ours
ok "and of the kernel's" same theirs
is "every block of ours is there" "$(tr -d '\0' <"$m/ours" | awk '$2 != NR - 1' | wc -l)" 0
is "and of the kernel's" "$(tr -d '\0' <"$m/theirs" | awk '$2 != NR - 1' | wc -l)" 0
ok "the kernel cuts ours" on k2 'truncate -s 1000001 ours && sync'
ok "we cut the kernel's" on u1 'truncate -s 1000001 theirs && sync'
ok "both go on with what is left" eval 'on u1 "echo more >>ours" && on k2 "echo more >>theirs" && same ours && same theirs'
ok "we remove the kernel's, the kernel ours" eval 'on u1 "rm theirs" && on k2 "rm ours"'

# Direct writes that extend: while one runs the inode is in the orphan directory as dio-.
dio() { for s in 0000 0001 0002 0003; do debugfs.ocfs2 -R "ls //orphan_dir:$s" "$image" 2>/dev/null; done | grep -c dio-; }
ok "the kernel writes directly" eval 'job=$(kbg 2 "cd /mnt && while :; do for i in 1 2 3 4; do /usr/bin/dd if=/dev/zero of=direct\$i bs=1M count=8 oflag=direct,append conv=notrunc 2>/dev/null & done; wait; done")'
seen=0
for _ in $(seq 400); do
	[ "$(dio)" -gt 0 ] && { seen=1; break; }
done
ok "the kernel node loses its power" "$ocfs2_vm" crash k2
echo "# dio- entries seen before: $seen; left by the crash: $(dio)"
served() { (cd "$m" && timeout 60 ls -l direct1 >/dev/null && echo more >>direct1); }
ok "we go on with the file" wait_until 60 served
ok "no dio- entry is left" wait_until 60 eval '[ "$(dio)" = 0 ]'
ok "we leave" vol_umount 1
ok "fsck.ocfs2 finds nothing" vol_check
ok "the kernel node boots again" kboot 2 || exit 1
ok "and mounts what we recovered" kmount 2
ok "it reads and removes all" k 2 'cd /mnt && cat direct* >/dev/null && rm direct*'
ok "it leaves" kumount 2
ok "fsck.ocfs2 finds nothing" vol_check
ok "our log is quiet" logs_clean
KERNEL_MAY_SAY='([Ee]rror|status =) -(107|112)|node down!|link to .* went down'
ok "so is the kernel's" kernels_clean
