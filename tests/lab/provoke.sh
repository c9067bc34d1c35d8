#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What ordinary use of a volume seldom brings about, between kernel nodes and ours: two
# that read and both want to write one inode, waiting that is given up, hundreds of locks
# on one resource that move with it, links that break and come back, nodes that leave at
# once. doc/spec/vectors/README.md has what kernel nodes among themselves say to each.
: "${top_srcdir:=$(cd "$(dirname "$0")/../.." && pwd)}"
: "${THR:=31}"
. "$top_srcdir/tests/lab/lib.sh"
lab_init
prog=$top_builddir/tests/lab/guest-many-flocks
ok "the nodes have a network" lab_up u1 k2 k3
ok "a volume is made" vol_make v.img 300M
ok "two kernel nodes boot" kboot 2 3 || exit 1
for n in 2 3; do ok "k$n gets the program" "$ocfs2_vm" put k$n "$prog" /bin/many-flocks; done
ok "k2 mounts" kmount 2 || exit 1
ok "we mount" vol_mount 1 || exit 1
ok "k3 mounts" kmount 3 || exit 1
m=$work/m1

all() { # shell text, run on all three at once with $me set
	local a b rc=0
	a=$(kbg 2 "cd /mnt && me=2 && $1")
	b=$(kbg 3 "cd /mnt && me=3 && $1")
	(cd "$m" && timeout 200 bash -c "me=1; $1") || rc=1
	kwait 2 $a 200 || rc=1
	kwait 3 $b 200 || rc=1
	return $rc
}

# Conversion deadlocks: each has PR of the last stat when it asks for EX.
: >"$m/x"
ok "all read and change one inode" all 'for i in $(seq 100); do stat x >/dev/null && chmod 6${me}0 x || exit 1; done'
is "all see the same of it" "$(for n in k2 k3 u1; do on $n 'stat -c "%a %Z" x'; done | sort -u | wc -l)" 1

# Waiting that is given up: our CANCEL at a kernel owner, and the kernel's at ours.
for owner in k2 u1; do
	f=cancel-$owner
	ok "$owner makes $f" on $owner ": >$f; flock $f true"
	ok "$owner holds it" hold_start $owner $f
	for n in u1 k2 k3; do
		[ $n = $owner ] && continue
		ok "$n gives up waiting for it" on $n "! timeout 1 flock $f true; ! flock -s -w 1 $f true"
	done
	hold_end $owner
	for n in u1 k2 k3; do ok "$n gets it" on $n "flock $f true"; done
done
: >"$m/race"
ok "all wait, and give up about when they are served" all 'for i in $(seq 12); do timeout 0.$((2 + (i + me) % 3)) flock race sleep 0.2; done; true'
for n in u1 k2 k3; do ok "$n gets that, too" on $n "flock -w 60 race true"; done

# Links that break: requests, answers, grants on their way are lost.
: >"$m/lock"
echo 0 >"$m/count"
cut_links() {
	local i
	for i in 1 2 3 4; do
		sleep 4
		host 1 ss -K dst "$(addr 2)" >/dev/null 2>&1
		sleep 0.$((RANDOM % 10))
		host 1 ss -K dst "$(addr 3)" >/dev/null 2>&1
	done
}
if host 1 ss -K dst "$(addr 2)" 2>&1 | grep -q 7777; then
	cut_links &
	cutter=$!
	ok "all count under a flock while our links break" all 'for i in $(seq 60); do flock lock sh -c "c=\$(cat count); echo \$((c + 1)) >count; chmod 6\$((i % 8))0 lock" || exit 1; done'
	wait $cutter
	for n in u1 k2 k3; do is "$n reads all counts" "$(on $n 'cat count')" 180; done
else
	echo "# this kernel cannot break connections (ss -K): left out"
fi

# More locks than one MIG_LOCKRES holds, from the kernel to us and from us to the kernel.
held() { wait_until 60 test -e "$1"; }
many() { # who owns and leaves, who holds 250, who waits
	local go2=$work/lab/vm/k2/share/held go3=$work/lab/vm/k3/share/held a
	case $2 in
	u1)
		(cd "$m" && exec "$prog" many-$1 250 "$work/held-many") &
		a=$!
		held "$work/held-many"
		;;
	*)
		a=$(kbg ${2#k} "cd /mnt && many-flocks many-$1 250 /share/held")
		held "$work/lab/vm/$2/share/held"
		;;
	esac || return 1
	wait_start $3 many-$1
	wait_until 30 waits $3 || return 1
	node_umount $1 || return 1
	waits $3 || { echo "$3 does not wait any more"; return 1; }
	rm -f "$go2" "$go3" "$work/held-many"
	case $2 in
	u1) wait $a ;;
	*) kwait ${2#k} $a ;;
	esac || return 1
	[ "$(wait_end $3)" = "got it" ]
}
for n in k2 u1; do on $n ": >many-$n; flock many-$n true; sync"; done
ok "k2 leaves, 250 locks of ours and k3's waiting one move" many k2 u1 k3
ok "k2 comes back" kmount 2
ok "we leave, 250 locks of k2's and k3's waiting one move" many u1 k2 k3
ok "we come back" vol_mount 1 || exit 1

# All have a part in everything, then two leave at once.
together() { # who stays, who leave
	local n a rc=0
	for n; do on $n "mkdir -p t-$1 && for i in 1 2 3 4 5 6; do echo $n >t-$1/$n-\$i; done; sync" || return 1; done
	for n; do on $n "cat t-$1/* | wc -l" || return 1; done
	node_umount $2 &
	a=$!
	node_umount $3 || rc=1
	wait $a || rc=1
	[ $rc = 0 ] && [ "$(on $1 "cat t-$1/* | wc -l")" = 18 ]
}
ok "we and k3 leave at once, k2 has all" together k2 u1 k3
ok "we come back" vol_mount 1 || exit 1
ok "k3 comes back" kmount 3 || exit 1
ok "k2 and k3 leave at once, we have all" together u1 k2 k3
ok "k2 comes back" kmount 2 || exit 1
on k2 'cat t-u1/* >/dev/null'
kumount 2 &
last=$!
ok "the last two leave at once: we" vol_umount 1
ok "and k2" wait $last
ok "fsck.ocfs2 finds nothing" vol_check
ok "our log is quiet" logs_clean
KERNEL_MAY_SAY='([Ee]rror|status =) -(107|112)|link to .* went down'
ok "so are the kernels'" kernels_clean
