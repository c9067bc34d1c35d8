#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A host that masters locks unmounts while two others work: nobody sees an error.
: "${top_srcdir:=$(cd "$(dirname "$0")/../.." && pwd)}"
. "$top_srcdir/tests/cluster/lib.sh"
hosts_init
ok "hosts are up" hosts_up 3
ok "a volume is made" vol_make v.img 300M
# The first to touch a lock becomes its master: let host 1 make everything.
ok "host 1 mounts" vol_mount 1 || exit 1
mkdir "$work/m1/d"
for i in $(seq 1 200); do echo $i >"$work/m1/d/f$i"; done
ok "hosts 2 and 3 mount" eval 'vol_mount 2 & p=$!; vol_mount 3 && wait $p' || exit 1

work_on() { # host, until the stop file is there
	local i=0
	while [ ! -e "$work/stop" ]; do
		i=$((i + 1))
		echo "host$1 $i" >>"$work/m$1/d/log" || return 1
		echo "$i" >"$work/m$1/d/f$((i % 200 + 1))" || return 1
		cat "$work/m$1/d/f$(((i * 7) % 200 + 1))" >/dev/null || return 1
		echo x >"$work/m$1/d/new$1-$i" && mv "$work/m$1/d/new$1-$i" "$work/m$1/d/moved$1" || return 1
	done
	echo $i >"$work/done$1"
}
work_on 2 2>"$work/err2" &
p2=$!
work_on 3 2>"$work/err3" &
p3=$!
busy() { [ "$(wc -l <"$work/m1/d/log" 2>/dev/null || echo 0)" -ge "$1" ]; }
ok "both work" wait_until 60 busy 20
cat "$work"/m1/d/f* >/dev/null
ok "host 1 unmounts meanwhile" vol_umount 1
at=$(wc -l <"$work/m2/d/log")
more() { [ "$(wc -l <"$work/m2/d/log")" -ge $((at + 20)) ]; }
ok "the others go on" wait_until 60 more
touch "$work/stop"
wait $p2
is "host 2 saw no error" "$? $(cat "$work/err2")" "0 "
wait $p3
is "host 3 saw no error" "$? $(cat "$work/err3")" "0 "
is "no line is lost" "$(wc -l <"$work/m3/d/log")" $(($(cat "$work/done2") + $(cat "$work/done3")))
ok "host 1 mounts again" vol_mount 1
is "and sees what they did" "$(md5sum <"$work/m1/d/log")" "$(md5sum <"$work/m2/d/log")"
ok "all unmount" vol_umount_all 3
ok "fsck.ocfs2 finds nothing" vol_check
ok "the logs are quiet" logs_clean
