#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# o2fuse nodes, status, monitor: output, changes, refusals, exit statuses.
# The processes behind it are tests/tool/nlfake, in a network namespace of this test.
if [ "${O2FUSE_TOOL_TEST:-}" != inside ]; then
	O2FUSE_TOOL_TEST=inside
	export O2FUSE_TOOL_TEST
	if [ "$(id -u)" = 0 ]; then map=; else map=--map-root-user; fi
	unshare --net $map true 2>/dev/null || {
		echo "1..0 # SKIP network namespaces cannot be made here (root, or user namespaces)"
		exit 0
	}
	exec unshare --net $map bash "$0"
fi
. "$(dirname "$0")/../tap.sh"
tool=${top_builddir:-.}/fs/o2fuse
fake=${top_builddir:-.}/tests/tool/nlfake
tmp=$(mktemp -d)
on_exit "rm -rf '$tmp'"
fakes=()
end_fakes() {
	local p
	for p in "${fakes[@]}"; do kill "$p" && kill -CONT "$p"; done 2>/dev/null
	wait
}
on_exit end_fakes

start() { # NAME CLUSTER NUMBER: file descriptors in ${NAME}_in, ${NAME}_out
	local ready
	eval "coproc $1 { exec '$fake' $2 $3; }" 2>/dev/null
	eval "exec {$1_in}>&\${$1[1]} {$1_out}<&\${$1[0]}; fakes+=(\$$1_PID); $1_pid=\$$1_PID"
	eval "read -r -t 20 ready <&\$$1_out"
	[ "$ready" = ready ] || { echo "Bail out! nlfake does not start"; exit 1; }
}
tell() { # NAME line
	local answer
	eval "printf '%s\n' \"\$2\" >&\$$1_in; read -r -t 20 answer <&\$$1_out"
	[ "$answer" = ok ]
}
status() { # expected status, expected words in standard error, command...
	local want=$1 words=$2 rc
	shift 2
	"$@" >"$tmp/out" 2>"$tmp/err" </dev/null
	rc=$?
	[ $rc = "$want" ] || { echo "status $rc, not $want"; cat "$tmp/out" "$tmp/err"; return 1; }
	grep -qF -- "$words" "$tmp/err" || { echo "no \"$words\":"; cat "$tmp/err"; return 1; }
}
has() { grep -qE -- "$2" <<<"$1" || { echo "no line like: $2"; echo "$1"; return 1; }; }

ok "without a process: status 3, and what to do" status 3 "mount a volume first" "$tool" status
ok "the same for nodes" status 3 "no o2fuse is running" "$tool" nodes

start web web 3
tell web "node 7 gamma 10.0.0.7 alive"
tell web "node 8 delta 10.0.0.8 down"

out=$("$tool" nodes)
ok "nodes: header with cluster and node" has "$out" '^cluster web, node 3, pid [0-9]+$'
ok "nodes: the local one is marked" has "$out" '^\* +3  node3 +10\.0\.0\.3 +7777  member +this host$'
ok "nodes: a live one" has "$out" '^ +7  gamma +10\.0\.0\.7 +7777  connected  up$'
ok "nodes: one that is down, with the reason" has "$out" '^ +8  delta +10\.0\.0\.8 +7777  down +connection refused$'
is "nodes list is the same as nodes" "$("$tool" nodes list)" "$out"
is "nodes --json: one object a line" "$("$tool" nodes --json | grep -c '^{.*}$')" 3
ok "nodes --json: all fields" has "$("$tool" --help >/dev/null; "$tool" nodes --json)" \
	"^\{\"cluster\":\"web\",\"pid\":$web_pid,\"number\":7,\"name\":\"gamma\",\"address\":\"10.0.0.7\",\"port\":7777,\"local\":false,\"state\":\"connected\",\"alive\":true,\"connected\":true,\"member\":false,\"link\":\"up\"\}$"

out=$("$tool" nodes add 9 new 10.0.0.9:17777)
ok "add: says what was done" has "$out" '^node 9 \(new, 10\.0\.0\.9:17777\) added to cluster web'
ok "add: says what is left to do" has "$out" 'every other host.*cluster\.conf'
ok "add: is in the table" has "$("$tool" nodes)" '^ +9  new +10\.0\.0\.9 +17777  down'
ok "remove by name" has "$("$tool" nodes remove new)" '^node 9 .* removed from'
ok "remove: is gone" status 5 'no node "new"' "$tool" nodes remove new
ok "add --json" has "$("$tool" nodes add --json 9 new 10.0.0.9)" '^\{"added":\{"cluster":"web",.*"number":9,.*"port":7777\}\}$'
ok "remove --json by number" has "$("$tool" nodes remove 9 --json)" '^\{"removed":\{.*"number":9'
ok "a live node is not removed: status 5" status 5 "is live" "$tool" nodes remove 7
ok "the local node is not removed" status 5 "this host" "$tool" nodes remove node3
ok "a number in use is refused by the process" status 5 "in use by gamma" "$tool" nodes add 7 x 10.0.0.99
ok "an address in use is refused by the process" status 5 "in use by node 7" "$tool" nodes add 10 x 10.0.0.7

ok "bad number: status 1" status 1 "0..254" "$tool" nodes add 255 x 10.0.0.9
ok "bad address: status 1" status 1 "IPv4" "$tool" nodes add 9 x host
ok "bad port: status 1" status 1 "1..65534" "$tool" nodes add 9 x 10.0.0.9:0
ok "bad name: status 1" status 1 "printable" "$tool" nodes add 9 'a b' 10.0.0.9
ok "missing words: status 1" status 1 "give number, name and address" "$tool" nodes add 9
ok "unknown command" status 1 "unknown command" "$tool" frobnicate
ok "unknown option" status 1 "--frob" "$tool" nodes --frob
ok "option without value" status 1 "needs a value" "$tool" nodes --cluster
ok "words where there are none" status 1 "takes no words" "$tool" status now
ok "--help goes to standard output, status 0" has "$("$tool" --help && echo rc0)" '^rc0$'
ok "--version" has "$("$tool" --version)" '^o2fuse [0-9.]+$'
ok "mount runs mount.o2fuse" has "$("$tool" mount --help 2>&1)" '^usage: mount\.o2fuse'

out=$("$tool" status --json)
ok "status --json is one object with the pid of the kernel's word" has "$out" "^\{.*\"pid\":$web_pid.*\}$"
ok "status: text" has "$("$tool" status)" "^  cluster    web, node 3 \(node3\), pid $web_pid, o2fuse "

# locks
is "locks: all pages, each resource once" "$("$tool" locks --json | sort -u | wc -l)" 1000
is "locks --stuck asks for what waits" "$("$tool" locks --stuck | grep -c '^r')" 100
is "locks --stuck=8: nothing waits so long" "$("$tool" locks --stuck=8)" ""
is "locks --resource: part of a name" "$("$tool" locks --resource r99 | cut -d' ' -f1 | paste -sd' ')" \
	"r99 r990 r991 r992 r993 r994 r995 r996 r997 r998 r999"
ok "locks --resource: a path that is not there" status 1 "No such file" "$tool" locks --resource ./none
is "a path stands for its inode" "$("$tool" locks --resource "$tmp/out")" ""
ok "locks --stuck=x: status 1" status 1 "no number" "$tool" locks --stuck=x
ok "--stuck elsewhere: status 1" status 1 "for o2fuse locks" "$tool" status --stuck

# other users
if [ "$(id -ru)" = 0 ] && setpriv --reuid 65534 --clear-groups true 2>/dev/null; then
	nobody=(setpriv --reuid 65534 --clear-groups)
	cp "$tool" "$tmp/o2fuse" && chmod 755 "$tmp" "$tmp/o2fuse"
	ok "others may list" "${nobody[@]}" "$tmp/o2fuse" nodes
	ok "others may see the status" "${nobody[@]}" "$tmp/o2fuse" status
	ok "others may not change: status 4" status 4 "only root" "${nobody[@]}" "$tmp/o2fuse" nodes add 9 x 10.0.0.9
	ok "others may not see locks: status 4" status 4 "only root" "${nobody[@]}" "$tmp/o2fuse" locks
	ok "others may not monitor: status 4" status 4 "only root" "${nobody[@]}" "$tmp/o2fuse" monitor
fi

# several processes
start db db 1
is "nodes lists all of them" "$("$tool" nodes | grep -c ^cluster)" 2
ok "--cluster chooses" has "$("$tool" nodes --cluster db | grep ^cluster)" '^cluster db, node 1'
is "--cluster hides the others" "$("$tool" nodes --cluster db | grep -c ^cluster)" 1
is "--pid chooses" "$("$tool" nodes --json --pid "$db_pid" | grep -c '"cluster":"db"')" 1
ok "a change must know where" status 1 "choose one with --cluster" "$tool" nodes add 9 x 10.0.0.9
ok "a change goes where it is told" has "$("$tool" nodes add --cluster db 9 x 10.0.0.9)" 'added to cluster db'
ok "one that is not there is said, with those that are" status 3 "cluster web, node 3" "$tool" nodes --cluster no

# events
listening() { grep -q '^[0-9a-f]* *2 *[0-9]* *08000000' /proc/net/netlink; }
"$tool" monitor --json --count 3 >"$tmp/json" &
monitor=$!
on_exit "kill $monitor 2>/dev/null"
"$tool" monitor --cluster web --count 2 >"$tmp/text" &
monitor2=$!
on_exit "kill $monitor2 2>/dev/null"
for _ in $(seq 200); do
	[ "$(grep -c '^[0-9a-f]* *2 *[0-9]* *08000000' /proc/net/netlink)" = 2 ] && break
	sleep 0.05
done
tell web 'event node-up 7 slot=1'
tell db 'event mounted 255 device=/dev/sdb'
tell web 'event link-down 7 reason="connection refused" tries=2'
wait $monitor
is "monitor --count ends" $? 0
wait $monitor2
is "monitor --json: a line an event" "$(grep -c '^{.*}$' "$tmp/json")" 3
ok "monitor --json: node and name" has "$(cat "$tmp/json")" "\"cluster\":\"web\",\"pid\":$web_pid,\"event\":\"node-up\",\"node\":7,\"name\":\"gamma\",\"details\":\{\"slot\":\"1\"\}"
ok "monitor --json: of no node" has "$(cat "$tmp/json")" '"event":"mounted","details":\{"device":"/dev/sdb"\}'
ok "monitor --json: quoted words" has "$(cat "$tmp/json")" '"details":\{"reason":"connection refused","tries":"2"\}'
ok "monitor: time, cluster, pid, event, words" has "$(cat "$tmp/text")" \
	"^20[0-9-]+T[0-9:]+\.[0-9]{3}[+-][0-9]{2}:[0-9]{2} web\[$web_pid\] node-up node=7 node_name=gamma slot=1$"
is "monitor --cluster hides the others" "$(grep -c 'db\[' "$tmp/text")" 0

# a stopped process
kill -STOP "$db_pid"
out=$("$tool" nodes 2>"$tmp/err")
ok "a stopped process does not hide the others" has "$out" '^cluster web'
ok "and is reported" grep -q "did not answer" "$tmp/err"
kill -CONT "$db_pid"
