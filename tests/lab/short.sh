#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# One kernel node and one host of ours on one volume. First the kernel is there and we
# join, as the lower node, which the kernel dials; the kernel leaves first, so that what
# it owned comes to us. Then we are first, as the higher node, which dials; we leave
# first, so that what we owned goes to the kernel.
: "${top_srcdir:=$(cd "$(dirname "$0")/../.." && pwd)}"
: "${THR:=31}"
. "$top_srcdir/tests/lab/lib.sh"
lab_init
ok "the nodes have a network" lab_up u1 k2 u3
ok "a volume is made" vol_make v.img 300M
ok "the kernel node boots" kstart 2

both_ways() { # our host
	local u=$1 m=$work/m$1 d=d$1 job
	ok "a directory and a file made by the kernel" k 2 "mkdir /mnt/$d && echo from the kernel >/mnt/$d/k && sync"
	is "are read by us" "$(cat "$m/$d/k")" "from the kernel"
	ok "we make a file" eval "echo from o2fuse >'$m/$d/u'"
	is "the kernel reads it" "$(k 2 "cat /mnt/$d/u")" "from o2fuse"
	is "the kernel lists both" "$(k 2 "ls /mnt/$d" | tr '\n' ' ')" "k u "
	is "so do we" "$(ls "$m/$d" | tr '\n' ' ')" "k u "
	ok "we change a mode" chmod 640 "$m/$d/k"
	is "the kernel sees it, and the same of all else" \
		"$(k 2 "stat -c '%i %a %s %h %u %g %Y %Z %b' /mnt/$d/k /mnt/$d/u /mnt/$d")" \
		"$(stat -c '%i %a %s %h %u %g %Y %Z %b' "$m/$d/k" "$m/$d/u" "$m/$d")"
	ok "the kernel changes one" k 2 "chmod 604 /mnt/$d/u"
	is "we see it" "$(stat -c %a "$m/$d/u")" 604

	: >"$m/$d/log"
	for i in 1 2 3 4 5; do
		echo "ours $i" >>"$m/$d/log"
		k 2 "echo kernel $i >>/mnt/$d/log"
	done
	want=$(for i in 1 2 3 4 5; do echo "ours $i"; echo "kernel $i"; done)
	is "appended in turn: we read every line" "$(cat "$m/$d/log")" "$want"
	is "and the kernel" "$(k 2 "cat /mnt/$d/log")" "$want"

	head -c 3000000 /dev/urandom >"$m/$d/big"
	is "3 MB written by us reach the kernel" "$(k 2 "md5sum </mnt/$d/big")" "$(md5sum <"$m/$d/big")"
	k 2 "head -c 3000000 /dev/urandom >/mnt/$d/big2"
	is "3 MB written by the kernel reach us" "$(md5sum <"$m/$d/big2")" "$(k 2 "md5sum </mnt/$d/big2")"
	ok "we rename, link and make a symlink" eval "mv '$m/$d/big' '$m/$d/b' && ln '$m/$d/b' '$m/$d/b2' && ln -s b '$m/$d/s'"
	is "the kernel sees that" "$(k 2 "cd /mnt/$d && stat -c %h b b2 && readlink s && ls big 2>&1" | tr '\n' ' ')" \
		"2 2 b ls: big: No such file or directory "
	ok "the kernel does" k 2 "cd /mnt/$d && mv big2 c && ln c c2 && mkdir sub && rm b2 && truncate -s 1000 b"
	is "we see that" "$(cd "$m/$d" && stat -c '%h %s' c b && ls | tr '\n' ' ')" "2 3000000
1 1000
b c c2 k log s sub u "

	# flock, both ways
	exec 9>"$m/$d/lk"
	ok "we hold a flock" flock 9
	ok "the kernel is refused it" k 2 "! flock -n /mnt/$d/lk true"
	job=$(kbg 2 'echo $$ >/share/waits; exec flock /mnt/'$d'/lk echo got it')
	ok "it waits" wait_until 20 k 2 'grep -q "^73 " /proc/$(cat /share/waits)/syscall'
	exec 9>&-
	is "and gets it when we let go" "$(kwait 2 $job)" "got it"
	job=$(kbg 2 "flock /mnt/$d/lk sh -c 'touch /share/held; while [ ! -e /share/go ]; do sleep 0.1; done; rm /share/go'")
	wait_until 20 test -e "$share/held"
	rm -f "$share/held"
	ok "the kernel holds it and we are refused" eval "! flock -n '$m/$d/lk' true"
	flock "$m/$d/lk" touch "$work/got" &
	ok "we wait" wait_until 20 grep -q '^73 ' /proc/$!/syscall
	is "and have not got it" "$(ls "$work/got" 2>&1 | grep -c No)" 1
	touch "$share/go"
	ok "and get it" wait_until 20 test -e "$work/got"
	wait $!
	rm -f "$work/got"
	ok "the kernel's holder ends" kwait 2 $job

	# unlinked while open on the other side
	exec 8<"$m/$d/c"
	sum=$(k 2 "md5sum </mnt/$d/c")
	ok "the kernel removes a file that we have open" k 2 "rm /mnt/$d/c /mnt/$d/c2"
	is "we still read it" "$(md5sum <&8)" "$sum"
	is "it has no links" "$(stat -L -c %h /proc/self/fd/8)" 0
	exec 8<&-
	ok "the kernel opens a file" eval "echo still there >'$m/$d/o'"
	job=$(kbg 2 "exec 8</mnt/$d/o; touch /share/held; while [ ! -e /share/go ]; do sleep 0.1; done; cat <&8")
	wait_until 20 test -e "$share/held"
	rm -f "$share/held"
	ok "that we remove" rm "$m/$d/o"
	touch "$share/go"
	is "and still reads it" "$(kwait 2 $job)" "still there"
	rm -f "$share/go"
}

ok "the kernel node is up" kready 2 || exit 1
share=$("$ocfs2_vm" share k2)
ok "the kernel mounts first" kmount 2 || exit 1
ok "it writes" k 2 'for i in 1 2 3 4 5 6 7 8; do mkdir /mnt/old$i; echo $i >/mnt/old$i/f; done'
ok "we join as the lower node" vol_mount 1 || exit 1
is "what was there is there" "$(cat "$work"/m1/old*/f | tr -d '\n')" 12345678
both_ways 1
ok "the kernel leaves first" kumount 2
is "what it wrote is there" "$(cat "$work"/m1/old*/f | tr -d '\n')" 12345678
ok "we go on alone" eval "echo alone >'$work/m1/alone' && rm -r '$work/m1/old1' && sync"
ok "we leave" vol_umount 1
ok "fsck.ocfs2 finds nothing" vol_check

ok "we mount first" vol_mount 3 || exit 1
ok "we write" eval 'for i in 1 2 3 4 5 6 7 8; do mkdir "$work/m3/new$i"; echo $i >"$work/m3/new$i/f"; done'
ok "the kernel joins" kmount 2 || exit 1
is "what we wrote is there" "$(k 2 'cat /mnt/new*/f' | tr -d '\n')" 12345678
both_ways 3
ok "we leave first" vol_umount 3
is "what we wrote is there" "$(k 2 'cat /mnt/new*/f' | tr -d '\n')" 12345678
ok "the kernel goes on alone" k 2 'echo alone >>/mnt/alone && rm -r /mnt/new1 && sync'
ok "it leaves" kumount 2
ok "fsck.ocfs2 finds nothing" vol_check
ok "our logs are quiet" logs_clean
ok "so is the kernel's" kernels_clean
