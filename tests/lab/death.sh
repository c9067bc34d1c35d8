#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Deaths in both directions. A kernel node loses its power while it holds locks and its
# journal is dirty: we recover it. Our process is killed in the same state: the kernel
# node recovers us and replays our journal. What was fsynced is there, what the dead one
# locked is given on, and the dead one comes back.
: "${top_srcdir:=$(cd "$(dirname "$0")/../.." && pwd)}"
. "$top_srcdir/tests/lab/lib.sh"
lab_init
ok "the nodes have a network" lab_up u1 k2
ok "a volume is made" vol_make v.img 300M
ok "the kernel node boots" kboot 2 || exit 1

# Many new names and a file of 1 MB, fsynced; then changes that are not.
dirty='mkdir D && cd D && for i in $(seq 60); do echo $i >f$i; mkdir d$i; done; head -c 1000000 /dev/urandom >big; sync; md5sum <big >sum; for i in 1 2 3 4 5 6 7 8 9; do mv f$i g$i; rm -r d$i; done; sync'
more='cd D && for i in $(seq 20 40); do mv f$i h$i; rmdir d$i; done; echo late >late'

intact() { # node: what was fsynced is there on it
	on $1 'cd '$2' && [ "$(md5sum <big)" = "$(cat sum)" ] && cat g1 g9 f60 && ls | grep -c "^[fgh]" && [ ! -e d9 ] && [ -d d50 ]'
}
served() { # node: a new flock and a change of what the dead one had in hand
	on $1 "flock -x $2/lock true && echo $1 >>$2/g5 && rm -r $2/d50 && mkdir $2/after && ls $2 >/dev/null"
}

ok "the kernel mounts" kmount 2 || exit 1
ok "we join" vol_mount 1 || exit 1
ok "the kernel writes and syncs" on k2 "${dirty//D/kd}"
ok "we look at all of it" on u1 'ls -lR kd >/dev/null && cat kd/f* >/dev/null'
ok "the kernel holds a flock" hold_start k2 kd/lock
ok "it has a dirty journal" on k2 "${more//D/kd}"
wait_start u1 kd/lock
ok "we wait for its lock" wait_until 30 waits u1
ok "the kernel node loses its power" "$ocfs2_vm" crash k2
start=$SECONDS
is "we get the lock" "$(wait_end u1)" "got it"
echo "# $((SECONDS - start)) s after the death"
is "what it had synced is there" "$(intact u1 kd | tr '\n' ' ')" "1 9 60 60 "
ok "we go on" served u1 kd
ok "its slot is free" eval '! debugfs.ocfs2 -R slotmap "$image" 2>/dev/null | grep -qE "^ *[0-9]+ +2 *$"'
ok "the kernel node boots again" kboot 2 || exit 1
ok "it comes back" kmount 2 || exit 1
is "and sees all of it" "$(on k2 'cat kd/g5 | tr "\n" " "; [ -d kd/after ] && [ ! -e kd/d50 ] && echo yes')" "5 u1 yes"

ok "we write and sync" on u1 "${dirty//D/ud}"
ok "the kernel looks at all of it" on k2 'ls -lR ud >/dev/null && cat ud/f* >/dev/null'
ok "we hold a flock" hold_start u1 ud/lock
ok "our journal is dirty" on u1 "${more//D/ud}"
wait_start k2 ud/lock
ok "the kernel waits for our lock" wait_until 30 waits k2
start=$SECONDS
ok "our process is killed" kill_daemon 1
is "the kernel gets it" "$(wait_end k2)" "got it"
echo "# $((SECONDS - start)) s after the death"
is "what we had synced is there" "$(intact k2 ud | tr '\n' ' ')" "1 9 60 60 "
ok "the kernel goes on" served k2 ud
touch "$work/go-u1"
ok "our dead mount is removed" umount -l "$work/m1"
ok "we come back" vol_mount 1 || exit 1
is "and see all of it" "$(on u1 'cat ud/g5 | tr "\n" " "; [ -d ud/after ] && [ ! -e ud/d50 ] && echo yes')" "5 k2 yes"
ok "we leave" vol_umount 1
ok "the kernel leaves" kumount 2
ok "fsck.ocfs2 finds nothing" vol_check
ok "our log is quiet" logs_clean
# What was on its way to the dead one ends with ENOTCONN or EHOSTDOWN, and it says so.
KERNEL_MAY_SAY='([Ee]rror|status =) -(107|112)|node down!|link to .* went down'
ok "so is the kernel's" kernels_clean
