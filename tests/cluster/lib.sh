# SPDX-License-Identifier: GPL-2.0-or-later
# lib.sh: several hosts on one machine, each a network namespace on a common bridge.
#
#	hosts_init			folder, leftovers of killed runs removed, clean-up set
#	hosts_up N [CONFLINES]		hosts 1..N at 10.89.0.1.., and cluster.conf
#	vol_make IMAGE SIZE [MKFS OPTIONS]
#	host N COMMAND...		run in host N's network
#	vol_mount N [OPTIONS]		IMAGE of vol_make at $work/mN on host N
#	vol_umount N			waits until the daemon is gone
#	vol_check			fsck.ocfs2 -fn finds nothing
#
# A host shares the machine's mount namespace (nsenter, not ip netns exec), so every
# mount is seen from everywhere; only the network is its own. The bridge lies in a
# namespace too; nothing of it can reach another network.
. "${top_srcdir:?}/tests/tap.sh"

: "${top_builddir:=$top_srcdir}"
mount_o2fuse=${MOUNT_O2FUSE:-$top_builddir/fs/mount.o2fuse}
o2fuse=${O2FUSE:-$top_builddir/fs/o2fuse}
cluster=o2fusetest
thr=${THR:-7}
hosts_n=0

need_root() {
	[ "$(id -u)" = 0 ] || skip_all "needs root"
	[ -e /dev/fuse ] || modprobe fuse 2>/dev/null || skip_all "no /dev/fuse"
	local c
	for c in mkfs.ocfs2 fsck.ocfs2 debugfs.ocfs2 ip nsenter; do
		command -v $c >/dev/null || skip_all "needs $c"
	done
}

# Remove what belongs to run PID ($1).
hosts_remove() {
	local ns p m
	for m in $(awk -v d="/o2fuse-test-$1." 'index($5, d) {print $5}' /proc/self/mountinfo); do
		umount -l "$m" 2>/dev/null
	done
	for ns in $(ip netns list | awk -v b="o2f$1-" 'index($1, b) == 1 {print $1}'); do
		for p in $(ip netns pids "$ns" 2>/dev/null); do
			kill -9 "$p" 2>/dev/null
		done
		ip netns del "$ns" 2>/dev/null
	done
	rm -rf "${TMPDIR:-/tmp}/o2fuse-test-$1."*
}

hosts_init() {
	local d p
	need_root
	# A run that was killed leaves namespaces and folders named after its pid.
	for d in "${TMPDIR:-/tmp}"/o2fuse-test-*.*; do
		[ -d "$d" ] || continue
		p=${d##*/o2fuse-test-}
		p=${p%%.*}
		[ -d "/proc/$p" ] || hosts_remove "$p"
	done
	work=$(mktemp -d "${TMPDIR:-/tmp}/o2fuse-test-$$.XXXXXX")
	on_exit hosts_down
}

hosts_down() {
	local n
	if [ "${tap_failed:-0}" != 0 ]; then
		mkdir -p "$top_builddir/tests/failed"
		for n in "$work"/log*; do
			[ -e "$n" ] && cp "$n" "$top_builddir/tests/failed/${0##*/}-${n##*/}"
		done
	fi
	for n in $(seq 1 $hosts_n); do
		mountpoint -q "$work/m$n" && timeout 20 umount "$work/m$n" 2>/dev/null
	done
	# Give orderly ends a moment before the rest is killed.
	for n in $(seq 1 $hosts_n); do
		wait_until 10 no_daemon $n
	done
	hosts_remove $$
}

wait_until() { # seconds, command...
	local end=$(($(date +%s%N) + $1 * 1000000000))
	shift
	until "$@" >/dev/null 2>&1; do
		[ "$(date +%s%N)" -lt $end ] || return 1
		sleep 0.05
	done
}

ns() { echo "o2f$$-$1"; }
addr() { echo "10.89.0.$1"; }
host() {
	local n=$1
	shift
	nsenter --net="/run/netns/$(ns $n)" "$@"
}
no_daemon() {
	local p
	for p in $(ip netns pids "$(ns $1)" 2>/dev/null); do
		case $(cat "/proc/$p/comm" 2>/dev/null) in
		mount.o2fuse | o2fuse*) return 1 ;;
		esac
	done
}

hosts_up() {
	local n
	ip netns add "$(ns br)" &&
		ip -n "$(ns br)" link add br0 type bridge &&
		ip -n "$(ns br)" link set br0 up || return 1
	{
		printf 'cluster:\n\tnode_count = %d\n\tname = %s\n\n' "$1" $cluster
		for n in $(seq 1 "$1"); do
			printf 'node:\n\tip_port = 7777\n\tip_address = %s\n\tnumber = %d\n' "$(addr $n)" $n
			printf '\tname = host%d\n\tcluster = %s\n\n' $n $cluster
		done
	} >"$work/cluster.conf"
	for n in $(seq 1 "$1"); do
		host_up $n || return 1
	done
}

# Host N's network and mount point.
host_up() {
	ip netns add "$(ns $1)" &&
		ip -n "$(ns $1)" link add eth0 type veth peer name "h$1" netns "$(ns br)" &&
		ip -n "$(ns br)" link set "h$1" master br0 up &&
		ip -n "$(ns $1)" addr add "$(addr $1)/24" dev eth0 &&
		ip -n "$(ns $1)" link set eth0 up &&
		ip -n "$(ns $1)" link set lo up || return 1
	mkdir -p "$work/m$1"
	[ "$hosts_n" -ge "$1" ] || hosts_n=$1
}

vol_make() { # image size options...
	image=$work/$1
	truncate -s "$2" "$image" || return 1
	shift 2
	mkfs.ocfs2 -b 4K -C 4K -N 4 -J size=8M --cluster-stack=o2cb --cluster-name=$cluster \
		-F -x -q "$@" "$image" </dev/null >"$work/mkfs.out" 2>&1
}

mount_opts() { echo "conf=$work/cluster.conf,node=$1,hb_threshold=$thr,log=$work/log$1,verbose"; }

vol_mount() { # host [options]
	timeout 120 nsenter --net="/run/netns/$(ns $1)" "$mount_o2fuse" "$image" "$work/m$1" \
		-o "$(mount_opts $1)${2:+,$2}"
}

# Mount on hosts 1..N side by side.
vol_mount_all() {
	local n pids=() rc=0
	for n in $(seq 1 "$1"); do
		vol_mount $n "${2:-}" &
		pids+=($!)
	done
	for n in "${pids[@]}"; do wait $n || rc=1; done
	return $rc
}

vol_umount() {
	timeout 60 umount "$work/m$1" && wait_until 60 no_daemon $1
}

vol_umount_all() {
	local n pids=() rc=0
	for n in $(seq 1 "$1"); do
		vol_umount $n &
		pids+=($!)
	done
	for n in "${pids[@]}"; do wait $n || rc=1; done
	return $rc
}

# fsck's exit status says only that it ran; findings are lines with a [CODE].
vol_check() {
	local out
	out=$(fsck.ocfs2 -fn "$image" 2>&1 </dev/null) || { echo "$out"; return 1; }
	grep -q "All passes succeeded" <<<"$out" || { echo "$out"; return 1; }
	if grep -E '^\[[A-Z_]+\]|Bad CRC|FAILED CHECKSUM' <<<"$out"; then return 1; fi
	# An inode's checksum is not among what fsck looks at; the dirty flag is not either.
	[ -z "$(debugfs.ocfs2 -R slotmap "$image" 2>/dev/null | awk '$1 ~ /^[0-9]+$/')" ] ||
		{ echo "slots are still taken:"; debugfs.ocfs2 -R slotmap "$image"; return 1; }
}

# Nothing in the daemons' logs may read like our own mistake.
logs_clean() {
	! grep -hE 'assert|Sanitizer|runtime error| err ' "$work"/log* 2>/dev/null
}
