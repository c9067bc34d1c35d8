# SPDX-License-Identifier: GPL-2.0-or-later
# faults.sh: hosts that die, stop and lose their links, under a load that knows what it was
# promised (claims.c). Sourced after lib.sh.
#
#	load_dirs HOST...	folders for the load on a new volume, made through the first
#	load_start HOST		in the background; load_stop HOST prints its complaint
#	load_works HOST...	each has made progress since it was asked
#	load_check WHO HOST	what WHO was promised is there, as HOST sees it
#	host_kill HOST		kill -9, and the dead mount is taken away
#	host_pid HOST
#	recovered_on HOST DEAD	HOST's status says that the last recovery of DEAD is over
#	status_of HOST FILTER	jq over the status of HOST

command -v jq >/dev/null || skip_all "needs jq"
claims=$top_builddir/tests/cluster/claims

load_dirs() {
	local n
	rm -f "$work"/ledger* # what an earlier volume of this test had promised
	mkdir -p "$work/m$1/shared"
	for n in "$@"; do mkdir -p "$work/m$1/own$n"; done
}

load_start() {
	rm -f "$work/stop$1"
	"$claims" run "$work/m$1/own$1" "$work/m$1/shared" "$work/ledger$1" "h$1" $RANDOM "$work/stop$1" \
		>"$work/load$1.out" 2>"$work/load$1.err" &
	load_pid[$1]=$!
}

ledger_at() { wc -l <"$work/ledger$1" 2>/dev/null || echo 0; }
ledger_past() { [ "$(ledger_at "$1")" -gt "$2" ]; }
load_works() {
	local n at
	for n in "$@"; do
		at=$(ledger_at "$n")
		wait_until 60 ledger_past "$n" $((at + 6)) || { cat "$work/load$n.err"; return 1; }
	done
}

load_stop() {
	local rc
	touch "$work/stop$1"
	wait_until 60 load_ended "$1" || { echo "the load of host $1 hangs"; return 1; }
	wait "${load_pid[$1]}"
	rc=$?
	cat "$work/load$1.err"
	return $rc
}
load_ended() { ! kill -0 "${load_pid[$1]}" 2>/dev/null; }

load_check() {
	timeout 60 "$claims" check "$work/m$2/own$1" "$work/m$2/shared" "$work/ledger$1" "h$1"
}

host_pid() {
	local p
	for p in $(ip netns pids "$(ns "$1")" 2>/dev/null); do
		[ "$(cat "/proc/$p/comm" 2>/dev/null)" = mount.o2fuse ] && echo "$p" && return
	done
	return 1
}

host_kill() {
	local pid
	pid=$(host_pid "$1") || return 1
	kill -9 "$pid"
	wait_until 10 no_daemon "$1"
	[ -z "${load_pid[$1]}" ] || wait_until 20 load_ended "$1" || { echo "its load hangs"; return 1; }
	umount -l "$work/m$1"
}

status_of() {
	host "$1" timeout 30 "$o2fuse" status --json 2>/dev/null | jq -rc "$2"
}

recovery_of() { status_of "$1" "[.volume.recoveries[] | select(.node == $2)] | last"; }

recovered_on() {
	[ "$(status_of "$1" "[.volume.recoveries[] | select(.node == $2)] | last | .replayed_ms != null")" = true ]
}

# Nobody waited: then whoever had come would have been served when the journal was home.
served_quickly() {
	recovery_of "$1" "$2"
	[ "$(status_of "$1" "[.volume.recoveries[] | select(.node == $2)] | last |
		.replayed_ms != null and (.served_ms // .replayed_ms) < $quick_ms")" = true ]
}

slot_is_free() {
	! debugfs.ocfs2 -R slotmap "$image" 2>/dev/null | awk -v n="$1" '$1 ~ /^[0-9]+$/ && $2 == n {found = 1} END {exit !found}'
}

no_orphans() {
	local s
	for s in 0 1 2 3; do
		! debugfs.ocfs2 -R "ls //orphan_dir:000$s" "$image" 2>/dev/null |
			awk '$NF != "." && $NF != ".." && NF {found = 1; print} END {exit !found}' || return 1
	done
}
