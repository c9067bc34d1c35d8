#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What cannot be mounted is refused with a message of its own and an exit status of its
# own (man/mount.o2fuse.8), and leaves nothing behind.
: "${top_srcdir:=$(cd "$(dirname "$0")/../.." && pwd)}"
. "$top_srcdir/tests/cluster/lib.sh"
hosts_init
ok "hosts are up" hosts_up 3

# claim, exit status, pattern of the message, host, image, options...
refused() {
	local claim=$1 status=$2 pattern=$3 n=$4 img=$5 out rc before
	shift 5
	before=$(mountpoint -q "$work/m$n" && echo mounted)
	out=$(timeout 120 nsenter --net="/run/netns/$(ns $n)" "$mount_o2fuse" "$img" "$work/m$n" \
		-o "$(mount_opts $n)${1:+,$1}" 2>&1)
	rc=$?
	is "$claim: status" "$rc" "$status"
	if ! grep -qE "$pattern" <<<"$out"; then
		is "$claim: message" "$out" "/$pattern/"
	else
		tap_result 0 "$claim: message"
	fi
	# one line for people, no bare errno
	is "$claim: one line" "$(grep -c . <<<"$out")" 1
	is "$claim: nothing is mounted by it" "$(mountpoint -q "$work/m$n" && echo mounted)" "$before"
	[ -n "$before" ] || wait_until 10 no_daemon $n || is "$claim: no process is left" "$(ip netns pids "$(ns $n)")" ""
}
poke() { # image offset hexbytes
	printf "$(sed 's/../\\x&/g' <<<"$3")" | dd of="$1" bs=1 seek="$2" conv=notrunc 2>/dev/null
}
copy() { cp --sparse=always "$good" "$work/$1" && echo "$work/$1"; }

ok "a volume is made" vol_make good.img 100M
good=$image
# offsets: super block at 8192; ocfs2_super_block at +192: s_feature_incompat +32
sb=$((8192 + 192))

head -c 50M /dev/zero >"$work/zero.img"
refused "not a volume" 33 "OCFS2|super block" 1 "$work/zero.img"
refused "no such device" 32 "cannot (find|open)" 1 "$work/nothing.img"
refused "an unknown option" 1 'unknown option "nosuch"' 1 "$good" nosuch
refused "a value out of range" 1 "port: \"0\" is not a number from 1" 1 "$good" port=0

img=$(copy magic.img)
poke "$img" 8192 58
refused "wrong magic" 33 "OCFS2|super block|signature" 1 "$img"

img=$(copy incompat.img)
poke "$img" $((sb + 32)) 00000040
refused "an unknown incompatible feature" 34 "0x40000000" 1 "$img"

img=$(copy tunefs.img)
debugfs.ocfs2 -R stats "$good" 2>/dev/null >"$work/stats"
v=$(awk '/Feature Incompat:/ {print $3}' "$work/stats")
poke "$img" $((sb + 32)) "$(printf '%02x%02x' $(((v | 0x20) & 255)) $((v >> 8)))"
refused "an unfinished tunefs" 34 "tunefs" 1 "$img"

img=$(copy short.img)
truncate -s 60M "$img"
refused "a truncated device" 32 "short|truncated|smaller" 1 "$img"

image=$work/pcmk.img
truncate -s 100M "$image"
mkfs.ocfs2 -b 4K -C 4K -N 2 -J size=4M --cluster-stack=pcmk --cluster-name=$cluster -F -x -q "$image" \
	</dev/null >/dev/null 2>&1
refused "a volume of another stack" 35 "pcmk" 1 "$image"

image=$work/other.img
truncate -s 100M "$image"
mkfs.ocfs2 -b 4K -C 4K -N 2 -J size=4M --cluster-stack=o2cb --cluster-name=othercluster -F -x -q "$image" \
	</dev/null >/dev/null 2>&1
refused "a volume of another cluster" 36 "othercluster" 1 "$image"
refused "a cluster that is not the volume's" 35 "othercluster.*$cluster|$cluster.*othercluster" 1 "$image" cluster=$cluster

image=$work/local.img
truncate -s 100M "$image"
mkfs.ocfs2 -b 4K -C 4K -M local -J size=4M -F -x -q "$image" </dev/null >/dev/null 2>&1
refused "a local volume" 34 "local" 1 "$image"

refused "no cluster.conf" 36 "nothing.conf" 1 "$good" conf=$work/nothing.conf
printf 'cluster:\n\tname = %s\n\tnode_count = 1\n\nnode:\n\tnumber = 300\n' $cluster >"$work/bad.conf"
refused "a node number out of range" 36 "bad.conf:[0-9]+" 1 "$good" conf=$work/bad.conf
refused "a node that is not in the table" 36 "nobody" 1 "$good" node=nobody
refused "an address that is not local" 37 "10.89.0.2" 1 "$good" node=2
refused "no such address" 37 "10.89.0.77" 1 "$good" ip=10.89.0.77

# port taken
nsenter --net="/run/netns/$(ns 1)" "$top_builddir/tests/cluster/occupy" 10.89.0.1 7777 &
occ=$!
on_exit "kill $occ 2>/dev/null"
wait_until 5 eval 'host 1 ss -ltn | grep -q 7777'
refused "the port is taken" 37 "7777" 1 "$good"
kill $occ
wait $occ 2>/dev/null

# against a mounted peer
image=$good
ok "host 1 mounts" vol_mount 1 || exit 1
refused "a second mount on the same host" 16 "mounted on this host already" 1 "$good"
refused "other time-outs" 38 "idle|time" 2 "$good" idle_ms=31000
refused "another heartbeat threshold" 38 "threshold|heartbeat" 2 "$good" hb_threshold=9
sed 's/10.89.0.3/10.89.0.33/' "$work/cluster.conf" >"$work/differs.conf"
refused "another node table" 38 "node 3|table" 2 "$good" conf=$work/differs.conf
ok "host 2 mounts when all is right" vol_mount 2
ok "a file is still shared" eval 'echo x >$work/m1/x && [ "$(cat $work/m2/x)" = x ]'
ok "both unmount" vol_umount_all 2

# all slots taken
image=$work/slots.img
truncate -s 100M "$image"
mkfs.ocfs2 -b 4K -C 4K -N 1 -J size=4M --cluster-stack=o2cb --cluster-name=$cluster -F -x -q "$image" \
	</dev/null >/dev/null 2>&1
ok "the only slot is taken" vol_mount 1
refused "no free slot" 39 "slot" 2 "$image"
ok "unmount" vol_umount 1
ok "fsck.ocfs2 finds nothing" vol_check
image=$good
ok "fsck.ocfs2 finds nothing on the other" vol_check
