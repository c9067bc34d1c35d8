#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Four hosts at once: each appends numbered lines to one file and makes files in one
# directory. Every line and every file is there exactly once.
: "${top_srcdir:=$(cd "$(dirname "$0")/../.." && pwd)}"
. "$top_srcdir/tests/cluster/lib.sh"
hosts=4
lines=${LINES_PER_HOST:-500}
hosts_init
ok "hosts are up" hosts_up $hosts
ok "a volume is made" vol_make v.img 300M
ok "all mount" vol_mount_all $hosts || exit 1
mkdir "$work/m1/d"

append() { # host: one write(2) a line, O_APPEND
	local i
	for i in $(seq 1 "$lines"); do
		echo "host$1 line $i" >>"$work/m$1/log" || return 1
	done
}
create() {
	local i
	for i in $(seq 1 "$lines"); do
		echo "$1 $i" >"$work/m$1/d/host$1-$i" || return 1
	done
}
pids=()
for n in $(seq 1 $hosts); do
	append $n &
	pids+=($!)
	create $n &
	pids+=($!)
done
bad=0
for p in "${pids[@]}"; do wait $p || bad=$((bad + 1)); done
is "no writer saw an error" $bad 0
for n in $(seq 1 $hosts); do
	is "host $n: every line is there once" \
		"$(sort "$work/m$n/log" | uniq -c | awk '$1 == 1' | wc -l) $(wc -l <"$work/m$n/log")" \
		"$((hosts * lines)) $((hosts * lines))"
	is "host $n: every file is there once" "$(ls -f "$work/m$n/d" | grep -c ^host | sort -u)" \
		$((hosts * lines))
	is "host $n: every host's lines are in order" \
		"$(for h in $(seq 1 $hosts); do grep "^host$h " "$work/m$n/log" | sort -c -k3n 2>&1; done)" ""
done
is "the last file reads back" "$(cat "$work/m1/d/host$hosts-$lines")" "$hosts $lines"
ok "all unmount" vol_umount_all $hosts
ok "fsck.ocfs2 finds nothing" vol_check
is "debugfs.ocfs2 reads the same lines" \
	"$(debugfs.ocfs2 -R 'cat /log' "$image" 2>/dev/null | sort -u | wc -l)" $((hosts * lines))
ok "the logs are quiet" logs_clean
