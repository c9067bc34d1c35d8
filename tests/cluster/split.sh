#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The network is cut while the storage is not: quorum decides who stays. Those who lose it
# get EIO at once, their hosts are unhurt, status and log say why; the others go on, and
# nothing that fsync promised is lost.
# SEED=n; PARTS="two four" chooses.
: "${top_srcdir:=$(cd "$(dirname "$0")/../.." && pwd)}"
: "${THR:=4}"
. "$top_srcdir/tests/cluster/lib.sh"
. "$top_srcdir/tests/cluster/faults.sh"
seed=${SEED:-$$}
RANDOM=$seed
hosts_init
short="idle_ms=3000,keepalive_ms=1000,reconnect_ms=1000"
# Link silent, vote, threshold of the others, and what a busy machine may add.
split_s=$((3 + 2 * (thr + 2) + 2 * thr + 20))

is_fenced() { [ "$(status_of "$1" .volume.state)" = fenced ]; }
why_fenced() { status_of "$1" ".volume.fenced_reason // empty"; }

# One cut: who stays, who goes; made and mended by the commands cut and mend.
round() { # name, "stay...", "go..."
	local name=$1 stay=$2 go=$3 n start
	for n in $stay $go; do load_start "$n"; done
	# shellcheck disable=SC2086
	ok "$name: all work" load_works $stay $go
	cut
	start=$(date +%s)
	for n in $go; do
		ok "$name: host $n fences itself" wait_until $split_s is_fenced "$n"
		ok "$name: host $n names the quorum" eval "why_fenced $n; why_fenced $n | grep -q quorum"
		ok "$name: host $n's load ends" wait_until 30 load_ended "$n"
		ok "$name: host $n answers EIO" eval "timeout 20 ls $work/m$n 2>&1 | grep 'Input/output error'"
		ok "$name: host $n tells its log" grep -q "this node stops using" "$work/log$n"
	done
	for n in $stay; do
		for m in $go; do
			ok "$name: host $n recovers host $m" wait_until $split_s recovered_on "$n" "$m"
		done
		ok "$name: host $n goes on" load_works "$n"
		ok "$name: host $n is not fenced" eval "! is_fenced $n"
	done
	echo "# $name: over after $(($(date +%s) - start)) s"
	for n in $stay; do is "$name: host $n saw no error" "$(load_stop "$n")" ""; done
	for n in $stay; do
		for m in $stay $go; do
			[ "$m" = "$n" ] || ok "$name: host $n has what host $m was promised" load_check "$m" "$n"
		done
	done
	for n in $go; do ok "$name: host $n unmounts" vol_umount "$n"; done
	mend
	for n in $go; do ok "$name: host $n mounts again" vol_mount "$n" "$short"; done
	for n in $go; do ok "$name: host $n has what it was promised" load_check "$n" "$n"; done
}

link() { ip -n "$(ns br)" link set "h$1" "$2"; }

two() {
	ok "two: a volume is made" vol_make v.img 300M || return
	ok "two: both mount" vol_mount_all 2 "$short" || return
	load_dirs 1 2
	cut() { link 2 down; }
	mend() { link 2 up; }
	round "link of host 2 down" 1 2
	cut() { link 1 down; }
	mend() { link 1 up; }
	# Of two the lower number stays, whoever's link it was.
	round "link of host 1 down" 1 2
	ok "two: both unmount" vol_umount_all 2
	ok "two: fsck.ocfs2 finds nothing" vol_check
}

# A second bridge in the same namespace: who is on it sees only who else is.
other_bridge() { local n; for n in "$@"; do ip -n "$(ns br)" link set "h$n" master br1; done; }
first_bridge() { local n; for n in "$@"; do ip -n "$(ns br)" link set "h$n" master br0; done; }
four() {
	ip -n "$(ns br)" link add br1 type bridge && ip -n "$(ns br)" link set br1 up || return
	ok "four: a volume is made" vol_make v4.img 400M || return
	ok "four: all mount" vol_mount_all 4 "$short" || return
	load_dirs 1 2 3 4
	cut() { other_bridge 3 4; }
	mend() { first_bridge 3 4; }
	round "2-2" "1 2" "3 4"
	cut() { other_bridge 1; }
	mend() { first_bridge 1; }
	round "3-1" "2 3 4" "1"
	ok "four: all unmount" vol_umount_all 4
	ok "four: fsck.ocfs2 finds nothing" vol_check
}

ok "hosts are up" hosts_up 4
for part in ${PARTS:-two four}; do $part; done
echo "# seed=$seed"
