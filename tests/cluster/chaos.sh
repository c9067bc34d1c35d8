#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Four hosts work on one volume, and every few seconds something happens to some of them:
# kill -9, SIGSTOP, a link down, the network cut in two, storage that is slow, fails or
# hangs, an unmount, a death while mounting or unmounting, all hosts dead at once. Those
# that the rules let stay go on in time, the others can unmount and mount again, what fsync
# promised is there, and in the end all hosts see the same and fsck.ocfs2 finds nothing.
# SECONDS_TO_RUN=n, SEED=n; FAULTS="kill pause ..." chooses; THR=n.
# Ends at the first thing that goes wrong.
: "${top_srcdir:=$(cd "$(dirname "$0")/../.." && pwd)}"
: "${THR:=5}"
. "$top_srcdir/tests/cluster/lib.sh"
. "$top_srcdir/tests/cluster/faults.sh"
seed=${SEED:-$$}
RANDOM=$seed
hosts_init
short="idle_ms=3000,keepalive_ms=1000,reconnect_ms=1000"
faults=(${FAULTS:-kill kill kill kill2 killall pause pause shortpause link link split22 split31
	delay delay error error errorwrite hang leave leave killmount killumount killpause})
# From the fault until the others may go on: a silent heartbeat is declared dead; a lost
# link is silent, a vote follows, and the loser's heartbeat is declared dead.
dead_s=$((2 * thr + 4))
split_s=$((3 + 2 * (thr + 2) + dead_s))
up=(0 1 1 1 1)
declare -A count

# ---- hosts -----------------------------------------------------------------------------

disk_mode() { echo "$2" >"$work/d$1/mode"; }
disk_up() {
	mkdir -p "$work/d$1"
	"$top_builddir/tests/cluster/baddisk" "$image" "$work/d$1" 2>>"$work/baddisk.err" &
	wait_until 10 test -e "$work/d$1/disk"
}
mount_host() { image=$work/d$1/disk vol_mount "$1" "$short"; }
ups() { local n; for n in 1 2 3 4; do [ "${up[$n]}" = 1 ] && echo "$n"; done; }
pick() { # variable, words: one of them. (In this shell: a subshell has a RANDOM of its own.)
	local var=$1
	shift
	set -- "$var" "${@:RANDOM % $# + 1:1}"
	printf -v "$1" %s "$2"
}
state() { status_of "$1" .volume.state; }
is_fenced() { [ "$(state "$1")" = fenced ]; }
link() { ip -n "$(ns br)" link set "h$1" "$2"; }
bridge() { local b=$1 n; shift; for n in "$@"; do ip -n "$(ns br)" link set "h$n" master "$b"; done; }
without() { # list, those that are not wanted
	local n
	for n in $1; do [[ " $2 " == *" $n "* ]] || echo -n "$n "; done
}

# What an operation took at the longest since this was last asked, on the given hosts.
slowest() {
	local n all new most=0
	for n in "$@"; do
		all=$(grep -c ^slow "$work/load$n.out")
		new=$(grep ^slow "$work/load$n.out" | tail -n +$((${slow_seen[$n]:-0} + 1)) | cut -d' ' -f2 | sort -n | tail -n 1)
		slow_seen[$n]=$all
		[ "${new:-0}" -gt $most ] && most=$new
	done
	echo $most
}
start_load() { slow_seen[$1]=0; load_start "$1"; }

# It was stopped by the fault, and by nothing else.
load_gave_up() {
	wait_until 30 load_ended "$1" || { echo "the load of host $1 hangs"; return 1; }
	wait "${load_pid[$1]}"
	cat "$work/load$1.err"
	! grep -vE ': (Input/output error|Transport endpoint is not connected|Software caused connection abort|Read-only file system)$' \
		"$work/load$1.err"
}

# Those that stay go on within the seconds given.
ledger_moved() { [ "$(ledger_at "$1")" -gt $(($2 + 6)) ]; }
go_on() { # seconds, hosts
	local limit=$1 n at=() end
	shift
	end=$(($(date +%s) + limit))
	for n in "$@"; do at[$n]=$(ledger_at "$n"); done
	for n in "$@"; do
		wait_until $((end - $(date +%s) > 1 ? end - $(date +%s) : 1)) ledger_moved "$n" "${at[$n]}" ||
			{ echo "host $n:"; cat "$work/load$n.err"; status_of "$n" .volume; return 1; }
	done
}
took_less() { # seconds, hosts
	local limit=$1 most
	shift
	most=$(slowest "$@")
	[ "$most" -lt $((limit * 1000)) ] || { echo "an operation took $most ms"; return 1; }
}

# Host N is out, its mount still there: what it was promised is there for the others, and
# for itself when it is back.
come_back() { # how: dead (mount is gone already) or fenced; hosts
	local how=$1 n m
	shift
	for n in "$@"; do
		up[$n]=0
		[ "$how" = dead ] || { ok "  host $n's load gave up" load_gave_up "$n" &&
			ok "  host $n unmounts" vol_umount "$n" && disk_mode "$n" good; } || return
	done
	for m in $(ups); do
		for n in "$@"; do
			ok "  host $m has what host $n was promised" load_check "$n" "$m" || return
		done
		break
	done
	for n in "$@"; do back "$n" || return; done
}
back() {
	ok "  host $1 mounts again" mount_host "$1" &&
		ok "  host $1 has what it was promised" load_check "$1" "$1" || return
	up[$1]=1
	start_load "$1"
}
stop_load() { is "  host $1 saw no error" "$(load_stop "$1")" ""; }

# Hosts $1 are gone for the others ($2), which go on within $3 seconds and see it.
survive() {
	local gone=$1 stay=$2 limit=$3 n m
	ok "  host(s) $stay go on" go_on $((limit + 10)) $stay || return
	for n in $stay; do
		for m in $gone; do
			ok "  host $n has recovered host $m" wait_until $limit recovered_since "$n" "$m" || return
		done
	done
	ok "  and work" go_on 30 $stay &&
		ok "  no operation took 10 s beyond the threshold" took_less $((limit + 10)) $stay
}
# Since the round began.
recovered_since() {
	[ "$(status_of "$1" "[.volume.recoveries[] | select(.node == $2 and .declared >= \"$round_at\")] |
		last | .replayed_ms != null")" = true ]
}

# ---- faults -----------------------------------------------------------------------------
# Each leaves all hosts that it touched mounted and at work; status: nothing went wrong.

f_kill() {
	local v stay
	pick v $(ups)
	stay=$(without "$(ups | xargs)" "$v")
	[ -n "$stay" ] || return 0
	ok "host $v is killed" host_kill "$v" && survive "$v" "$stay" $dead_s && come_back dead "$v"
}

f_kill2() {
	local v w stay
	pick v $(ups)
	pick w $(without "$(ups | xargs)" "$v")
	stay=$(without "$(ups | xargs)" "$v $w")
	[ -n "$stay" ] || return 0
	ok "host $v is killed" host_kill "$v" || return
	sleep $((RANDOM % (2 * dead_s))).$((RANDOM % 10))
	ok "host $w is killed" host_kill "$w" && survive "$v $w" "$stay" $((2 * dead_s)) && come_back dead "$v" "$w"
}

# All at once, as when the power fails. They come back side by side.
f_killall() {
	local n m pids=() all
	all=$(ups)
	for n in $all; do pids+=("$(host_pid "$n")"); done
	kill -9 "${pids[@]}"
	for n in $all; do
		ok "host $n is dead" wait_until 10 no_daemon "$n" && umount -l "$work/m$n" &&
			ok "  its load gave up" load_gave_up "$n" || return
		up[$n]=0
	done
	pids=()
	for n in $all; do
		mount_host "$n" >"$work/mount$n.out" 2>&1 &
		pids+=($!)
	done
	for n in $all; do
		ok "  host $n mounts again" wait "${pids[0]}" || { cat "$work/mount$n.out"; return 1; }
		pids=("${pids[@]:1}")
		up[$n]=1
	done
	for n in $all; do
		for m in $all; do
			ok "  host $n has what host $m was promised" load_check "$m" "$n" || return
		done
	done
	for n in $all; do start_load "$n"; done
}

# Stopped past the threshold.
f_pause() {
	local v stay pid
	pick v $(ups)
	stay=$(without "$(ups | xargs)" "$v")
	[ -n "$stay" ] || return 0
	pid=$(host_pid "$v")
	kill -STOP "$pid"
	ok "host $v is stopped" true
	survive "$v" "$stay" $dead_s || { kill -CONT "$pid"; return 1; }
	kill -CONT "$pid"
	ok "  host $v fences itself" wait_until 30 is_fenced "$v" && come_back fenced "$v"
}

f_shortpause() {
	local v pid
	pick v $(ups)
	pid=$(host_pid "$v")
	kill -STOP "$pid"
	sleep 2
	kill -CONT "$pid"
	ok "host $v was stopped for 2 s: all go on" go_on 30 $(ups)
}

# A death in the recovery of another one that is only stopped.
f_killpause() {
	local v w stay pid
	pick v $(ups)
	pick w $(without "$(ups | xargs)" "$v")
	stay=$(without "$(ups | xargs)" "$v $w")
	[ -n "$stay" ] || return 0
	pid=$(host_pid "$v")
	kill -STOP "$pid"
	sleep $((RANDOM % dead_s)).$((RANDOM % 10))
	ok "host $v is stopped, host $w is killed" host_kill "$w"
	up[$w]=0
	survive "$v $w" "$stay" $((2 * dead_s)) || { kill -CONT "$pid"; return 1; }
	kill -CONT "$pid"
	ok "  host $v fences itself" wait_until 30 is_fenced "$v" &&
		come_back fenced "$v" && come_back dead "$w"
}

# Hosts $1 cannot reach hosts $2: who stays by the rule of the quorum (o2fuse-recovery(7)).
parted() { # name, side a, side b, command to cut, command to mend
	local name=$1 a=$2 b=$3 na nb stay go n
	na=$(wc -w <<<"$a") nb=$(wc -w <<<"$b")
	if [ "$na" -gt "$nb" ] || { [ "$na" = "$nb" ] && [ "${a%% *}" -lt "${b%% *}" ]; }; then
		stay=$a go=$b
	else
		stay=$b go=$a
	fi
	$4
	for n in $go; do ok "$name: host $n fences itself" wait_until $split_s is_fenced "$n" || { $5; return 1; }; done
	survive "$go" "$stay" $split_s || { $5; return 1; }
	$5
	come_back fenced $go
}
f_link() {
	local v
	pick v $(ups)
	[ "$(ups | wc -l)" -gt 1 ] || return 0
	parted "link of host $v" "$v" "$(without "$(ups | xargs)" "$v" | xargs)" "link $v down" "link $v up"
}
f_split22() {
	local a v
	pick v $(without "$(ups | xargs)" "$(ups | head -n 1)")
	a="$(ups | head -n 1) $v"
	[ "$(ups | wc -l)" = 4 ] || return 0
	parted "2-2 ($a)" "$a" "$(without "1 2 3 4" "$a" | xargs)" "bridge br1 $a" "bridge br0 $a"
}
f_split31() {
	local v
	pick v $(ups)
	[ "$(ups | wc -l)" = 4 ] || return 0
	parted "3-1 ($v)" "$v" "$(without "1 2 3 4" "$v" | xargs)" "bridge br1 $v" "bridge br0 $v"
}

f_delay() {
	local v
	pick v $(ups)
	disk_mode "$v" "delay $((RANDOM % 200 + 20))"
	ok "host $v's storage is slow: all go on" go_on 40 $(ups) &&
		sleep $((RANDOM % (2 * thr))) &&
		ok "  no operation takes long" took_less $((dead_s + 10)) $(ups) || { disk_mode "$v" good; return 1; }
	disk_mode "$v" good
	ok "  all go on" go_on 30 $(ups)
}

# For a while that may be too short or long enough to be fenced for. It answered errors where
# it had to, and goes on; or it has stopped writing, and leaves when another host needs what
# it changed; or it has left.
bad_disk() { # mode
	local v stay
	pick v $(ups)
	stay=$(without "$(ups | xargs)" "$v")
	[ -n "$stay" ] || return 0
	disk_mode "$v" "$1"
	ok "host $v's storage: $1" true
	sleep $((RANDOM % (2 * thr))).$((RANDOM % 10))
	disk_mode "$v" good
	if ! go_on 5 "$v" >/dev/null; then
		ok "  host $v's load gave up" load_gave_up "$v" || return
		start_load "$v"
		go_on 5 "$v" >/dev/null
	fi
	ok "  host(s) $stay go on" go_on $((dead_s + 10)) $stay &&
		ok "  no operation took 10 s beyond the threshold" took_less $((dead_s + 10)) $stay || return
	[ "$(state "$v")" != mounted ] || return 0
	ok "  host $v is $(state "$v")" true
	[ "$(state "$v")" != fenced ] || survive "$v" "$stay" $dead_s || return
	come_back fenced "$v"
}
f_error() { bad_disk bad; }
f_errorwrite() { bad_disk badwrite; }

f_hang() {
	local v stay
	pick v $(ups)
	stay=$(without "$(ups | xargs)" "$v")
	[ -n "$stay" ] || return 0
	disk_mode "$v" hang
	ok "host $v's storage hangs" true
	survive "$v" "$stay" $dead_s || { disk_mode "$v" good; return 1; }
	ok "  host $v fences itself" wait_until 30 is_fenced "$v"
	# Not good yet: writes of before the fence stand in line behind the one that is held, in
	# the kernel, and would be carried out now.
	disk_mode "$v" bad
	come_back fenced "$v"
}

f_leave() {
	local v
	pick v $(ups)
	[ "$(ups | wc -l)" -gt 2 ] || return 0
	stop_load "$v" && ok "host $v unmounts" vol_umount "$v" || return
	up[$v]=0
	ok "  the others go on" go_on 30 $(ups)
}

f_killmount() {
	local v=0 n pid stay
	for n in 1 2 3 4; do [ "${up[$n]}" = 1 ] || v=$n; done
	[ $v = 0 ] && { f_leave && for n in 1 2 3 4; do [ "${up[$n]}" = 1 ] || v=$n; done; }
	[ $v != 0 ] || return 0
	stay=$(ups | xargs)
	mount_host $v >"$work/mount$v.out" 2>&1 &
	pid=$!
	sleep $((RANDOM % 8)).$((RANDOM % 10))
	kill -9 "$(host_pid $v)" 2>/dev/null
	wait $pid
	wait_until 10 no_daemon $v
	umount -l "$work/m$v" 2>/dev/null
	ok "host $v is killed while it mounts: host(s) $stay go on" go_on $((dead_s + 10)) $stay &&
		sleep $dead_s && ok "  and later" go_on 30 $stay && back $v
}

f_killumount() {
	local v pid stay
	pick v $(ups)
	stay=$(without "$(ups | xargs)" "$v")
	[ -n "$stay" ] || return 0
	stop_load "$v" || return
	pid=$(host_pid "$v")
	timeout 60 umount "$work/m$v" &
	sleep 0.$((RANDOM % 4))$((RANDOM % 10))
	kill -9 "$pid" 2>/dev/null
	wait $!
	wait_until 10 no_daemon "$v"
	umount -l "$work/m$v" 2>/dev/null
	up[$v]=0
	ok "host $v is killed while it unmounts: host(s) $stay go on" go_on $((dead_s + 10)) $stay &&
		sleep $dead_s && ok "  and later" go_on 30 $stay && back "$v"
}

# ---- the run ------------------------------------------------------------------------------

tell_all() {
	local n
	for n in 1 2 3 4; do
		echo "# host $n up=${up[$n]}: $(status_of "$n" '.volume | del(.recoveries)')"
		sed "s/^/#   load $n: /" "$work/load$n.err"
		tail -n 12 "$work/log$n" | sed 's/^/#   /'
	done
}
fine() { # since an operation may be under way, each host's load says whether all is well
	local n
	for n in $(ups); do
		! load_ended "$n" || { echo "the load of host $n ended"; cat "$work/load$n.err"; return 1; }
	done
	! grep -hE 'assert|Sanitizer|runtime error|damage|dead inode|is no good' "$work"/log?
}
snapshot() { (cd "$work/m$1" && find . -printf '%P %y %m %n %s %i\n' | sort && find . -type f | sort | xargs md5sum) 2>&1; }
run() {
	local end f n
	end=$((SECONDS + ${SECONDS_TO_RUN:-180}))
	while [ $SECONDS -lt $end ]; do
		pick f "${faults[@]}"
		round_at=$(date -u +%Y-%m-%dT%H:%M:%S)
		echo "# $((SECONDS)) s: $f"
		slowest $(ups) >/dev/null
		f_$f || return
		count[$f]=$((${count[$f]:-0} + 1))
		for n in 1 2 3 4; do
			if [ "${up[$n]}" = 0 ] && [ $((RANDOM % 3)) != 0 ]; then back "$n" || return; fi
		done
		ok "  all is well" fine || return
		sleep $((RANDOM % ${PAUSE_S:-6})).$((RANDOM % 10))
	done
}

image=$work/v.img
ok "hosts are up" hosts_up 4
ip -n "$(ns br)" link add br1 type bridge && ip -n "$(ns br)" link set br1 up || exit 1
ok "a volume is made" vol_make v.img 600M || exit 1
for n in 1 2 3 4; do ok "host $n's disk is there" disk_up $n || exit 1; done
mount_all() { local n pids=() p; for n in 1 2 3 4; do mount_host $n & pids+=($!); done; for p in "${pids[@]}"; do wait $p || return; done; }
ok "all mount" mount_all || exit 1
load_dirs 1 2 3 4
for n in 1 2 3 4; do start_load $n; done
ok "all work" load_works 1 2 3 4
if run; then
	for n in $(ups); do stop_load "$n"; done
	for n in 1 2 3 4; do [ "${up[$n]}" = 1 ] || ok "host $n mounts again" mount_host "$n"; done
	for n in 1 2 3 4; do
		for m in 1 2 3 4; do ok "host $n has what host $m was promised" load_check $m $n; done
	done
	for n in 1 2 3 4; do snapshot $n >"$work/snap$n"; done
	for n in 2 3 4; do ok "host $n sees the same as host 1" diff "$work/snap1" "$work/snap$n"; done
	ok "all unmount" vol_umount_all 4
	ok "fsck.ocfs2 finds nothing" vol_check
	# A wipe that met an error of the storage is tried again at the next mount.
	ok "host 1 mounts" mount_host 1
	ok "no orphan is left" wait_until 60 no_orphans
	ok "host 1 unmounts" vol_umount 1
	ok "fsck.ocfs2 finds nothing" vol_check
else
	tell_all
	if [ -n "${KEEP:-}" ]; then cp "$image" "$KEEP"; fi
fi
is "the disks said nothing" "$(cat "$work/baddisk.err")" ""
total=0 text=
for f in "${!count[@]}"; do text+=" $f=${count[$f]}" total=$((total + count[$f])); done
echo "# seed=$seed seconds=$SECONDS faults=$total$text"
