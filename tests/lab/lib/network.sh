# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# network.sh: the bridge, hosts on it, and captures.

# Not ip netns exec: it copies the mount namespace, and what lives in the copy (a virtual
# machine) would keep every FUSE mount of this machine alive past its umount.
in_ns() { nsenter --net="/run/netns/$netns" "$@"; }
ns_exists() { ip netns list 2>/dev/null | awk '{ print $1 }' | grep -qx "$1"; }

cmd_net_up() {
	need_root
	mkdir -p "$lab/net"
	if ! ns_exists "$netns"; then
		if ip netns add "$netns" 2>/dev/null; then
			echo "$netns" >"$lab/net/made"
		else
			# Somebody else was faster, or it cannot be made.
			ns_exists "$netns" || die "cannot make network namespace $netns"
		fi
	fi
	no_ipv6 "$netns"
	ip -n "$netns" link set lo up
	if ! ip -n "$netns" link show "$bridge" >/dev/null 2>&1; then
		ip -n "$netns" link add "$bridge" type bridge stp_state 0 \
			forward_delay 0 mcast_snooping 0 2>/dev/null ||
			ip -n "$netns" link show "$bridge" >/dev/null ||
			die "cannot make bridge $bridge"
	fi
	ip -n "$netns" link set "$bridge" up
}

# Keeps neighbour discovery and the like out of the captures.
no_ipv6() {
	# shellcheck disable=SC2016 # for the other shell to expand
	nsenter --net="/run/netns/$1" sh -c '
		for f in all default; do
			echo 1 >/proc/sys/net/ipv6/conf/$f/disable_ipv6
		done' 2>/dev/null || :
}

cmd_net_down() {
	local f
	need_root
	cmd_capture stop
	for f in "$lab"/net/host.*; do
		[ -e "$f" ] && cmd_host_del "${f##*/host.}"
	done
	if [ -e "$lab/net/made" ]; then
		ip netns del "$(cat "$lab/net/made")"
	elif ns_exists "$netns"; then
		ip -n "$netns" link del "$bridge" 2>/dev/null
	fi
	rm -rf "$lab/net"
}

# A host for processes of this machine: a namespace with one interface, eth0,
# on the bridge.
cmd_host_add() {
	local name=${1:?} addr=${2:?} prefix=24 ns
	need_root
	valid_name "$name"
	case $addr in */*) prefix=${addr#*/} addr=${addr%/*} ;; esac
	ns=$netns-$name
	ns_exists "$ns" && die "there is already a host $name"
	cmd_net_up
	ip netns add "$ns" || die "cannot make network namespace $ns"
	echo "$addr" >"$lab/net/host.$name"
	no_ipv6 "$ns"
	ip -n "$ns" link set lo up
	if ! { ip -n "$netns" link add "v.$name" type veth \
		peer name eth0 netns "$ns" &&
		ip -n "$netns" link set "v.$name" master "$bridge" up &&
		ip -n "$ns" addr add "$addr/$prefix" dev eth0 &&
		ip -n "$ns" link set eth0 up; }; then
		cmd_host_del "$name"
		die "cannot attach host $name"
	fi
}

cmd_host_del() {
	need_root
	rm -f "$lab/net/host.${1:?}"
	ns_exists "$netns-$1" && ip netns del "$netns-$1"
	# The other end of the pair goes with the namespace, but not at once.
	ip -n "$netns" link del "v.$1" 2>/dev/null
	return 0
}

cmd_host_exec() {
	local name=${1:?}
	shift
	[ -e "$lab/net/host.$name" ] || die "no host $name"
	exec nsenter --net="/run/netns/$netns-$name" "$@"
}

cmd_capture() {
	local verb=${1:-} file=${2:-} pid
	case $verb in
	start)
		[ -n "$file" ] || usage_error "capture start FILE [FILTER]"
		shift 2
		command -v tcpdump >/dev/null || die "no tcpdump on this machine"
		is_live "$lab/net/capture.pid" && die "already capturing"
		cmd_net_up
		: >"$file" || die "cannot write $file"
		# Not by in_ns: a function in the background is a shell, which would get the signals.
		nsenter --net="/run/netns/$netns" tcpdump -i "$bridge" -n -U -s 0 -B 8192 -Z root -w "$file" \
			"${@:-arp or tcp}" </dev/null >"$lab/net/capture.log" 2>&1 &
		pid=$!
		# nsenter becomes tcpdump itself: same process id.
		for _ in $(seq 100); do
			grep -q 'listening on' "$lab/net/capture.log" && break
			kill -0 "$pid" 2>/dev/null || break
			nap 0.05
		done
		record_pid "$lab/net/capture.pid" "$pid"
		is_live "$lab/net/capture.pid" ||
			die "tcpdump failed: $(cat "$lab/net/capture.log")"
		disown "$pid"
		;;
	stop)
		[ -e "$lab/net/capture.pid" ] || return 0
		end_pid "$lab/net/capture.pid" INT 10 ||
			end_pid "$lab/net/capture.pid" KILL 5
		rm -f "$lab/net/capture.pid"
		;;
	*) usage_error "capture start|stop" ;;
	esac
}
