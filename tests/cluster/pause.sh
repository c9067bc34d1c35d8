#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A host is stopped (SIGSTOP) past the threshold in the middle of its writes, and goes on
# later: not one byte of it reaches the device then, its mount answers EIO and can be
# unmounted, and mounting again works. A pause that is short enough harms nobody.
# ROUNDS=n, SEED=n.
: "${top_srcdir:=$(cd "$(dirname "$0")/../.." && pwd)}"
: "${THR:=5}"
. "$top_srcdir/tests/cluster/lib.sh"
. "$top_srcdir/tests/cluster/faults.sh"
seed=${SEED:-$$}
RANDOM=$seed
# The rule, and what a busy machine may add.
dead_s=$((2 * thr + 20))
hosts_init
ok "hosts are up" hosts_up 2
ok "a volume is made" vol_make v.img 300M

# The site's own fence program; what it was told is kept.
cat >"$work/fence" <<END
#!/bin/bash
echo "\$1 \$2 \$3" >>"$work/fenced"
exit \$(cat "$work/fence.status")
END
chmod +x "$work/fence"
echo 0 >"$work/fence.status"
ok "host 1 mounts" vol_mount 1
ok "host 2 mounts with a fence program" vol_mount 2 "fence_exec=$work/fence" || exit 1
load_dirs 1 2

pause() { # seconds, in which nobody may notice
	local pid
	pid=$(host_pid 1) && kill -STOP "$pid" && sleep "$1" && kill -CONT "$pid"
}
load_start 1
load_start 2
# Two periods of the heartbeat before the fence, for a busy machine.
ok "a pause of 2 s" pause 2
ok "both loads go on" load_works 1 2
is "and host 1 saw no error" "$(load_stop 1)" ""
is "nor did host 2" "$(load_stop 2)" ""

writers() { # plain streams beside the load, so that writes are under way at any moment
	local i
	for i in 1 2 3 4; do
		while dd if=/dev/zero of="$work/m1/own1/stream$i" bs=256K count=40 conv=notrunc \
			oflag=direct 2>/dev/null; do :; done &
	done
}
sum() { md5sum <"$image"; }
is_fenced() { [ "$(status_of 1 .volume.state)" = fenced ]; }
answers_eio() { # command...: at once, with EIO: it waits for no lock and no threshold
	local out start
	start=$(date +%s%N)
	out=$(timeout 20 "$@" 2>&1) && { echo "succeeds"; return 1; }
	[ $((($(date +%s%N) - start) / 1000000)) -lt 5000 ] || { echo "took long"; return 1; }
	grep -q "Input/output error" <<<"$out" || { echo "$out"; return 1; }
}

uuid=$(debugfs.ocfs2 -R stats "$image" 2>/dev/null | awk '/UUID:/ {print $2; exit}')
for i in $(seq "${ROUNDS:-1}"); do
	rm -f "$work/fenced"
	echo $((i % 2)) >"$work/fence.status" # in odd rounds it fails at first
	load_start 1
	load_start 2
	writers
	ok "round $i: both work" load_works 1 2
	sleep 0.$((RANDOM % 10))
	pid=$(host_pid 1)
	kill -STOP "$pid"
	ok "round $i: the fence program is run" wait_until $dead_s test -s "$work/fenced"
	is "round $i: with volume, node and reason" "$(head -n 1 "$work/fenced")" "$uuid 1 its heartbeat stopped"
	if [ $((i % 2)) = 1 ]; then
		sleep 1
		ok "round $i: nothing is recovered while it fails" eval '! recovered_on 2 1'
		echo 0 >"$work/fence.status"
	fi
	ok "round $i: host 2 recovers the stopped host" wait_until $dead_s recovered_on 2 1
	ok "round $i: its load works" load_works 2
	is "round $i: it saw no error" "$(load_stop 2)" ""
	ok "round $i: what host 1 was promised is there" load_check 1 2
	ok "round $i: host 2 unmounts" vol_umount 2
	before=$(sum)
	kill -CONT "$pid"
	ok "round $i: host 1 fences itself" wait_until 30 is_fenced
	ok "round $i: its load ends" wait_until 30 load_ended 1
	ok "round $i: with EIO" eval 'cat "$work/load1.err"; grep -q "Input/output error" "$work/load1.err"'
	sleep 2
	is "round $i: not one byte reached the device" "$(sum)" "$before"
	ok "round $i: reading answers EIO at once" answers_eio ls "$work/m1/own1"
	ok "round $i: writing answers EIO at once" answers_eio touch "$work/m1/own1/x"
	ok "round $i: status says why" test -n "$(status_of 1 '.volume.fenced_reason // empty')"
	ok "round $i: the log says why and what to do" grep -q "this node stops using.*mount it again" "$work/log1"
	ok "round $i: host 1 unmounts" vol_umount 1
	is "round $i: without a byte to the device" "$(sum)" "$before"
	ok "round $i: fsck.ocfs2 finds nothing" vol_check
	ok "round $i: host 1 mounts again" vol_mount 1
	ok "round $i: host 2 mounts again" vol_mount 2 "fence_exec=$work/fence"
	ok "round $i: host 1 sees what it was promised" load_check 1 1
done
ok "both unmount" vol_umount_all 2
ok "fsck.ocfs2 finds nothing" vol_check
echo "# seed=$seed"
