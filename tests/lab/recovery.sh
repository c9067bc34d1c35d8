#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Three nodes and $RECOVERY: one of ours dies while it holds locks that both others want
# and owns what both use. Who notices first takes $RECOVERY and leads: a pause of a few
# seconds of the other one decides that. Led by us, then by the kernel node; then a kernel
# node dies and ours leads the other kernel node.
: "${top_srcdir:=$(cd "$(dirname "$0")/../.." && pwd)}"
: "${THR:=12}"
. "$top_srcdir/tests/lab/lib.sh"
lab_init
ok "the nodes have a network" lab_up k1 u2 u3 k4
ok "a volume is made" vol_make v.img 300M
ok "a kernel node boots" kboot 1 || exit 1

# Seconds, well below what a heartbeat may be late, and more than the 5 s after which a
# kernel node looks for something to recover.
behind=9
# Whatever else takes time: who stands still goes on in time to keep its own heartbeat.
later() { # command
	(sleep $behind; "$@") &
	later=$!
}
led_by_us() { [ "$(grep -c "recovery begins .*dead=$1" "$work/log2")" -gt "${2:-0}" ]; }
led_by_kernel() { "$ocfs2_vm" log k1 | grep -a "is the Recovery Master for the dead node $1" | grep -aq '(me)'; }
pause_us() {
	local p
	for p in $(ip netns pids "$(ns 2)"); do
		case $(cat "/proc/$p/comm" 2>/dev/null) in
		mount.o2fuse | o2fuse*) kill -"$1" "$p" ;;
		esac
	done
}

# Locks of all kinds on both sides of the one that dies.
prepare() { # dead directory
	ok "$1 makes $2 and holds a flock" on $1 "mkdir $2 && for i in 1 2 3 4 5 6 7 8 9; do echo $1 \$i >$2/f\$i; done; : >$2/lock; sync"
	hold_start $1 $2/lock
	ok "k1 has some of it in hand" on k1 "cat $2/f* >/dev/null; echo k1 >>$2/f1; sync"
	ok "u2 too" on u2 "ls -l $2 >/dev/null; echo u2 >>$2/f2; mkdir $2/u2; sync"
	ok "$1 again" on $1 "cat $2/f1 $2/f2; echo $1 >>$2/f3; sync; echo late >$2/late"
	wait_start u2 $2/lock
	ok "u2 waits for the lock" wait_until 30 waits u2
	wait_u2=$wait_job
	wait_start k1 $2/lock
	ok "k1 waits for the lock" wait_until 30 waits k1
	wait_k1=$wait_job
}
after() { # dead directory
	wait_job=$wait_u2
	is "u2 gets the lock" "$(wait_end u2)" "got it"
	wait_job=$wait_k1
	is "k1 gets the lock" "$(wait_end k1)" "got it"
	for n in u2 k1; do
		is "$n reads what was synced" "$(on $n "cat $2/f[123] | tr '\n' ' '")" "$1 1 k1 $1 2 u2 $1 3 $1 "
		ok "$n makes and removes" on $n "echo $n >$2/after-$n && rm $2/f$((${n#?} + 4)) && ls $2"
	done
	is "both list the same" "$(on u2 "ls $2" | md5sum)" "$(on k1 "ls $2" | md5sum)"
}

for n in k1 u2 u3; do ok "$n mounts" node_mount $n || exit 1; done
prepare u3 a
ok "the kernel node stands still" "$ocfs2_vm" freeze k1
later "$ocfs2_vm" thaw k1
ok "u3 is killed" kill_daemon 3
ok "the kernel node goes on, and counts missed heartbeats later than we" wait $later
ok "we lead" wait_until 40 led_by_us 3
after u3 a
touch "$work/go-u3"
ok "u3's dead mount is removed" umount -l "$work/m3"

ok "u3 comes back" node_mount u3 || exit 1
prepare u3 b
pause_us STOP
later pause_us CONT
ok "u3 is killed again while we stand still" kill_daemon 3
wait $later
ok "the kernel node leads" wait_until 40 led_by_kernel 3
after u3 b
touch "$work/go-u3"
ok "u3's dead mount is removed" umount -l "$work/m3"

ok "another kernel node boots" kboot 4 || exit 1
ok "it mounts" node_mount k4 || exit 1
prepare k4 c
ok "k1 stands still" "$ocfs2_vm" freeze k1
later "$ocfs2_vm" thaw k1
ok "k4 loses its power" "$ocfs2_vm" crash k4
ok "k1 goes on" wait $later
ok "we lead" wait_until 40 led_by_us 4
after k4 c
ok "we leave" node_umount u2
is "the kernel has all" "$(on k1 'ls a b c | wc -l')" "$(on k1 'ls a b c' | wc -l)"
ok "the kernel leaves" node_umount k1
ok "fsck.ocfs2 finds nothing" vol_check
ok "our logs are quiet" logs_clean
KERNEL_MAY_SAY='([Ee]rror|status =) -(107|112)|node down!|link to .* went down'
ok "so is the kernel's" kernels_clean
