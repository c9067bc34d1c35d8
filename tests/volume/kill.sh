#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# kill -9 in the middle of a random load, 50 times: after each the volume is taken into
# use again (replay), everything that was synced is there, and fsck.ocfs2 finds nothing.
cd "${top_builddir:-.}/tests" || exit 1
. "${top_srcdir:-..}/tests/tap.sh"
. "${top_srcdir:-..}/tests/volume/mkvol.sh"
PATH=$PATH:/usr/sbin:/sbin
tmp=$(mktemp -d ./kill.XXXXXX)
pid=
on_exit "rm -rf '$tmp'"
on_exit '[ -z "$pid" ] || kill -9 $pid 2>/dev/null'
RANDOM=${SEED:-1}

# Seconds of a load before the kill: 0.01 to 0.6.
delay() { printf '0.%03d' $((RANDOM % 590 + 10)); }

one_kill() { # seed
	local before after
	before=$(stat -c %s "$tmp/log" 2>/dev/null || echo 0)
	echo "load $tmp/log $1 1000000" | timeout 60 volume/volsh "$tmp/v" >"$tmp/out" 2>&1 &
	pid=$!
	# Wait until it works, then let it, for a while.
	for _ in $(seq 1000); do
		after=$(stat -c %s "$tmp/log" 2>/dev/null || echo 0)
		[ "$after" -gt "$before" ] && break
		kill -0 $pid 2>/dev/null || break
		sleep 0.01
	done
	sleep "$(delay)"
	victim=$(cat "/proc/$pid/task/$pid/children" 2>/dev/null | tr -d ' ')
	kill -9 ${victim:-$pid} 2>/dev/null || { cat "$tmp/out"; return 1; }
	wait $pid 2>/dev/null
	pid=
	[ "$after" -gt "$before" ] || { echo "the load did not start"; cat "$tmp/out"; return 1; }
}

verify() {
	printf '%s\n' "loadcheck $tmp/log" orphans | timeout 60 volume/volsh "$tmp/v" 2>&1
}

kills=${KILLS:-50} bad=0 replays=0
for features in "-b 4K -C 4K" "-b 4K -C 4K --fs-feature-level=max-features" \
	"-b 1K -C 4K --fs-feature-level=max-compat" "-b 4K -C 1M -J size=16M" "-b 2K -C 32K"; do
	rm -f "$tmp/log"
	# shellcheck disable=SC2086
	mkvol "$tmp/v" 150M -N 2 $features || { tap_result 1 "a volume is made: $features"; continue; }
	for i in $(seq $((kills / 5))); do
		one_kill "$((RANDOM))" || { tap_result 1 "kill $i of $features"; bad=1; break; }
		debugfs.ocfs2 -R 'stat //journal:0000' "$tmp/v" 2>/dev/null |
			grep -q 'Journal Flags: Dirty' && replays=$((replays + 1))
		out=$(verify) || { tap_result 1 "synced is there after kill $i of $features"
			printf '%s\n' "$out" | sed 's/^/# /'; bad=1; break; }
		out=$(fsckvol "$tmp/v") || { tap_result 1 "fsck.ocfs2 after kill $i of $features"
			printf '%s\n' "$out" | sed 's/^/# /'; bad=1; break; }
	done
	[ $bad = 0 ] && tap_result 0 "what was synced is there, fsck.ocfs2 finds nothing: $features"
	bad=0
done
is "every kill left a journal to replay" "$replays" "$((kills / 5 * 5))"
