#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Lock traffic between a kernel node and one of ours: the same inode and the same directory
# on both without a pause, appends and names that must not be lost, flocks in turn.
: "${top_srcdir:=$(cd "$(dirname "$0")/../.." && pwd)}"
: "${THR:=31}"
. "$top_srcdir/tests/lab/lib.sh"
lab_init
ok "the nodes have a network" lab_up u1 k2
ok "a volume is made" vol_make v.img 300M
ok "the kernel node boots" kboot 2 || exit 1
ok "we mount" vol_mount 1 || exit 1
ok "the kernel mounts" kmount 2 || exit 1
m=$work/m1
n=${N:-300}

both() { # shell text, run on both at once with $me and $n set
	local job rc=0
	job=$(kbg 2 "cd /mnt && me=k n=$n && $1")
	(cd "$m" && timeout 300 bash -c "me=u n=$n; $1") || rc=1
	kwait 2 $job 300 || rc=1
	return $rc
}
lines() { # file: each party's lines are whole, in order and all there
	awk -v n=$n '{if (NF != 2 || $2 != ++c[$1]) {print "line " NR ": " $0; exit 1}}
		END {if (c["u"] != n || c["k"] != n) {print c["u"], c["k"]; exit 1}}' "$1"
}

# A kernel node takes the end of the file from before it has the lock (fs-locking.md 4.3), so
# it loses appends of others, ours and other kernel nodes', unless a flock is around them.
: >"$m/applock"
n=100
ok "both append to one file" both 'for i in $(seq $n); do flock applock sh -c "echo $me $i >>log" || exit 1; done'
ok "no line is lost or torn, as we read it" lines "$m/log"
is "nor as the kernel does" "$(k 2 'md5sum </mnt/log')" "$(md5sum <"$m/log")"

n=${N:-300}
ok "both make and remove names in one directory" eval 'mkdir "$m/d" && both "for i in \$(seq \$n); do echo \$i >d/\$me\$i && mv d/\$me\$i d/\$me-\$i || exit 1; [ \$((i % 3)) != 0 ] || rm d/\$me-\$i || exit 1; done"'
is "both see the same names" "$(k 2 'ls /mnt/d' | md5sum)" "$(ls "$m/d" | md5sum)"
is "all of them" "$(ls "$m/d" | wc -l)" $((2 * (n - n / 3)))

: >"$m/x"
ok "both change one inode" both 'for i in $(seq $n); do chmod 6$((i % 8))4 x && [ -e x ] || exit 1; done'
is "both see the same of it" "$(k 2 'stat -c "%a %s %Z %Y" /mnt/x')" "$(stat -c '%a %s %Z %Y' "$m/x")"

echo 0 >"$m/count"
: >"$m/lock"
n=60
ok "both count under a flock" both 'for i in $(seq $n); do flock lock sh -c "c=\$(cat count); echo \$((c + 1)) >count" || exit 1; done'
is "no count is lost" "$(cat "$m/count")" 120
is "nor on the kernel" "$(k 2 'cat /mnt/count')" 120

ok "both write their halves of one file" both 'i=0; while [ $i -lt 60 ]; do [ $me = u ] && at=$((2 * i)) || at=$((2 * i + 1)); yes $me | tr -d "\n" | head -c 4096 | dd of=halves bs=4096 seek=$at conv=notrunc 2>/dev/null || exit 1; i=$((i + 1)); done'
is "every block is its writer's" "$(for i in $(seq 0 119); do dd if="$m/halves" bs=4096 skip=$i count=1 2>/dev/null | tr -s uk; done)" \
	"$(for i in $(seq 60); do printf uk; done)"
is "the kernel reads the same" "$(k 2 'md5sum </mnt/halves')" "$(md5sum <"$m/halves")"
ok "we leave while the kernel goes on" eval 'job=$(kbg 2 "cd /mnt; for i in \$(seq 200); do echo \$i >late\$i && cat log >/dev/null || exit 1; done"); vol_umount 1 && kwait 2 $job 120'
ok "we come back" vol_mount 1 || exit 1
is "what it wrote is there" "$(cat "$m"/late* | wc -l)" 200
ok "the kernel leaves while we go on" eval '(for i in $(seq 200); do echo $i >>"$m/late$i" && cat "$m/log" >/dev/null || exit 1; done) & kumount 2; wait $!'
is "what we wrote is there" "$(cat "$m"/late* | wc -l)" 400
ok "we leave" vol_umount 1
ok "fsck.ocfs2 finds nothing" vol_check
ok "our log is quiet" logs_clean
ok "so is the kernel's" kernels_clean
