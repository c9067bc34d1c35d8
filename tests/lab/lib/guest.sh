# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# guest.sh: the life of a guest: start, ready, log, crash, stop and the like.

valid_name() {
	[[ $1 =~ ^[a-z][a-z0-9]{0,11}$ ]] ||
		die "name $1: 1 to 12 small letters and digits, a letter first"
}

vm_dir() { echo "$lab/vm/$1"; }
vm_alive() { is_live "$lab/vm/$1/pid"; }
vm_running() { vm_alive "$1" || die "$1 is not running"; }

cmd_start() {
	local name=${1:-} node='' addr='' conf='' wait=1 online=1 prefix=24
	local mem=${O2LAB_MEM:-512} smp=${O2LAB_SMP:-1}
	local dead=7 idle=30000 keepalive=2000 reconnect=2000 delay=
	local disks=() dir mac tap cluster args=() i d nic
	[ -n "$name" ] || usage_error "start NAME ..."
	local again=("$@")
	shift
	while [ $# -gt 0 ]; do
		case $1 in
		--no-wait) wait=; shift; continue ;;
		--no-online) online=; shift; continue ;;
		esac
		[ $# -ge 2 ] || usage_error "start: $1 needs a value"
		case $1 in
		--node) node=$2 ;;
		--ip) addr=$2 ;;
		--disk) disks+=("$2") ;;
		--netns) netns=$2 ;;
		--bridge) bridge=$2 ;;
		--conf) conf=$2 ;;
		--mem) mem=$2 ;;
		--smp) smp=$2 ;;
		--dead) dead=$2 ;;
		--idle) idle=$2 ;;
		--keepalive) keepalive=$2 ;;
		--reconnect) reconnect=$2 ;;
		--delay) delay=$2 ;;
		*) usage_error "start: unknown option $1" ;;
		esac
		shift 2
	done
	need_root
	valid_name "$name"
	case $addr in */*) prefix=${addr#*/} addr=${addr%/*} ;; esac
	[ -n "$addr" ] || usage_error "start: --ip is missing"
	[ -e "$cache/initramfs" ] || die "run '$me prepare' first"
	dir=$(vm_dir "$name")
	vm_alive "$name" && die "$name is already running"
	rm -rf "$dir"
	mkdir -p "$dir/share/jobs" || die "cannot make $dir"
	if [ -n "$conf" ]; then
		check_conf "$conf" "$name" "$node" "$addr"
		cluster=$(awk '/^cluster:/ { c = 1 } /^node:/ { c = 0 }
			c && $1 == "name" { print $3 }' "$conf")
		cp "$conf" "$dir/share/cluster.conf"
		[ "$dead" = kernel ] && idle='' keepalive='' reconnect='' dead=''
		echo "$cluster $dead $idle $keepalive $reconnect" >"$dir/o2cb"
	fi
	cmd_net_up

	# The last two bytes of the address make the interface's own.
	IFS=. read -r _ _ i d <<<"$addr"
	mac=$(printf '52:54:00:77:%02x:%02x' "$i" "$d")
	tap=t.$name
	ip -n "$netns" link del "$tap" 2>/dev/null
	if ! { ip -n "$netns" tuntap add "$tap" mode tap &&
		ip -n "$netns" link set "$tap" master "$bridge" up; }; then
		die "cannot make tap device $tap"
	fi
	echo "$netns $tap" >"$dir/tap"

	i=0
	for d in "${disks[@]}"; do
		[ -e "$d" ] || die "no disk image $d"
		[ -b "$d" ] || check_direct "$d"
		# cache=none: O_DIRECT, so no page cache of this machine lies between
		# the guests. Locks on the file are left off and the disk is marked
		# shared, or only one guest could open it.
		args+=(-drive "file=$(readlink -f "$d"),format=raw,if=none,id=d$i,${O2LAB_DISKMODE:-cache=none,aio=threads},file.locking=off"
			-device "virtio-blk-pci,drive=d$i,share-rw=on")
		i=$((i + 1))
	done
	# No offloads, so that a capture shows whole packets with true checksums.
	nic=csum=off,gso=off,guest_csum=off,guest_tso4=off,guest_tso6=off
	nic+=,guest_ecn=off,guest_ufo=off,host_tso4=off,host_tso6=off
	nic+=,host_ecn=off,host_ufo=off

	# Packets wait, in both directions, until the next multiple of the delay.
	[ -z "$delay" ] || args+=(-object "filter-buffer,id=delay,netdev=net,interval=$((delay * 1000))")

	mkfifo "$dir/ctl.in" "$dir/ctl.out" "$dir/mon.in" "$dir/mon.out" || die "mkfifo failed"
	in_ns qemu-system-x86_64 -name "$name" -nodefaults -no-user-config \
		-machine pc,usb=off,hpet=off -accel "${O2LAB_ACCEL:-tcg,thread=multi}" \
		-cpu max -smp "$smp" -m "$mem" -display none -no-reboot \
		-kernel "$(kernel_image)" -initrd "$cache/initramfs" \
		-append "console=ttyS0 quiet panic=1 oops=panic mitigations=off \
nokaslr tsc=reliable clocksource=tsc no_timer_check random.trust_cpu=on \
net.ifnames=0 ipv6.disable=1 rdinit=/init o2lab.name=$name o2lab.ip=$addr \
o2lab.prefix=$prefix o2lab.life=${O2LAB_LIFE:-7200}" \
		-chardev "file,id=con,path=$dir/console.log" -serial chardev:con \
		-chardev "pipe,id=ctl,path=$dir/ctl" -device virtio-serial-pci \
		-device virtserialport,chardev=ctl,name=o2lab.ctl \
		-chardev "pipe,id=mon,path=$dir/mon" -mon chardev=mon,mode=readline \
		-fsdev "local,id=share,path=$dir/share,security_model=none" \
		-device virtio-9p-pci,fsdev=share,mount_tag=o2lab \
		-object rng-random,id=rng,filename=/dev/urandom \
		-device virtio-rng-pci,rng=rng \
		-netdev "tap,id=net,ifname=$tap,script=no,downscript=no" \
		-device "virtio-net-pci,netdev=net,mac=$mac,$nic,romfile=" \
		"${args[@]}" -daemonize -pidfile "$dir/qemu.pid" \
		</dev/null >"$dir/qemu.log" 2>&1 ||
		die "qemu failed: $(cat "$dir/qemu.log")"
	record_pid "$dir/pid" "$(cat "$dir/qemu.pid")" ||
		die "$name died at once: $(cat "$dir/qemu.log")"
	now_ms >"$dir/started"
	declare -p again >"$dir/again"
	[ -n "$online" ] || rm -f "$dir/o2cb"
	if [ -n "$wait" ]; then
		cmd_ready "$name"
	fi
}

# The node must be in the conf with the number and address it is started with:
# the tools find the local node by its host name, and the kernel connects to
# the addresses given there.
check_conf() {
	awk -v name="$2" -v num="$3" -v addr="$4" '
		function check() {
			if (n == name && (num == "" || m == num) && a == addr)
				found = 1
			n = m = a = ""
		}
		/^[a-z]+:/ { check() }
		$1 == "name" { n = $3 }
		$1 == "number" { m = $3 }
		$1 == "ip_address" { a = $3 }
		END { check(); exit !found }' "$1" ||
		die "$1 has no node $2 with number ${3:-any} and address $4"
}

# clock_ok NAME: the guest's clock goes about as fast as ours. On a machine that is very
# busy while the guest measures its time stamp counter, it may go many times faster: the
# guest's timeouts, its heartbeat's among them, then mean nothing.
clock_ok() {
	local up real
	up=$(cmd_exec -t 60 "$1" 'cut -d" " -f1 /proc/uptime') || return 1
	real=$(($(now_ms) - $(cat "$(vm_dir "$1")/started")))
	up=$((10#${up/./} * 10))
	[ "$up" -lt $((real * 3 / 2 + 2000)) ] && [ $((up * 4 + 8000)) -gt "$real" ]
}

wait_boot() {
	local dir end
	dir=$(vm_dir "$1")
	end=$(($(now_ms) + ${O2LAB_BOOT_TIMEOUT:-120} * 1000))
	until [ -e "$dir/share/ready" ]; do
		vm_alive "$1" || die "$1 died at boot: see '$me log $1'"
		[ "$(now_ms)" -lt "$end" ] || die "$1 is not up in time"
		nap 0.05
	done
}

# ready NAME: waits until the guest is up, and brings its o2cb stack online.
cmd_ready() {
	local name=${1:?} dir tries=1 again
	dir=$(vm_dir "$name")
	wait_boot "$name"
	until clock_ok "$name"; do
		[ $tries -lt 4 ] || die "the clock of $name is wrong at every start"
		tries=$((tries + 1))
		note "the clock of $name is wrong; starting it anew"
		. "$dir/again"
		cmd_crash "$name"
		cmd_start "${again[@]}" --no-wait
		wait_boot "$name"
	done
	if [ -e "$dir/o2cb" ]; then
		cmd_exec "$name" "cp /share/cluster.conf /etc/ocfs2/cluster.conf &&
			lab-o2cb online $(cat "$dir/o2cb")" >"$dir/online.log" 2>&1 ||
			die "o2cb of $name: $(cat "$dir/online.log")"
		mv "$dir/o2cb" "$dir/o2cb.online"
	fi
}

cmd_log() {
	local dir
	dir=$(vm_dir "${1:?}")
	[ -d "$dir" ] || die "no guest $1"
	case ${2:-console} in
	console) cat "$dir/console.log" ;;
	dmesg) cmd_exec "$1" dmesg ;;
	*) usage_error "log NAME [console|dmesg]" ;;
	esac
}

drop_tap() {
	local ns tap
	read -r ns tap 2>/dev/null <"$(vm_dir "$1")/tap" || return 0
	ip -n "$ns" link del "$tap" 2>/dev/null
	rm -f "$(vm_dir "$1")/tap"
}

# crash: the node is gone at once, without a word to anybody. Its console log
# and job output stay until the name is started again.
cmd_crash() {
	vm_running "${1:?}"
	end_pid "$(vm_dir "$1")/pid" KILL 10 || die "$1 does not die"
	drop_tap "$1"
}

# stop: file systems off, then power off; a guest that does not is killed.
cmd_stop() {
	local name=${1:?} end
	[ -d "$(vm_dir "$name")" ] || return 0
	if vm_alive "$name"; then
		# shellcheck disable=SC2016 # for the guest to expand
		cmd_exec -t 60 "$name" 'grep -E "^[^ ]+ [^ ]+ (ocfs2|ext4|fuse)" \
			/proc/mounts | while read -r _ d _; do umount "$d"; done; sync' \
			>/dev/null 2>&1
		cmd_exec -d "$name" 'poweroff -f' >/dev/null
		end=$(($(now_ms) + 15000))
		while vm_alive "$name" && [ "$(now_ms)" -lt "$end" ]; do nap 0.05; done
		end_pid "$(vm_dir "$name")/pid" TERM 5 ||
			end_pid "$(vm_dir "$name")/pid" KILL 10
	fi
	drop_tap "$name"
}

# freeze and thaw: the node stands still, as a hung machine does.
cmd_freeze() { vm_running "${1:?}"; kill -STOP "$live"; }
cmd_thaw() { vm_running "${1:?}"; kill -CONT "$live"; }

# link NAME up|down: pull or plug the network cable of a guest or a host.
cmd_link() {
	local dev=t.${1:?} state=${2:?}
	[ -e "$lab/net/host.$1" ] && dev=v.$1
	ip -n "$netns" link set "$dev" "$state"
}

# storage NAME hang|go: writes to the first disk stay where they are, or go on. Reads are
# served all the time.
cmd_storage() {
	local bps=0 fd
	vm_running "${1:?}"
	[ "${2:?}" = hang ] && bps=1
	exec {fd}<>"$(vm_dir "$1")/mon.in"
	echo "block_set_io_throttle d0 0 0 $bps 0 0 0" >&"$fd"
	exec {fd}>&-
}

cmd_status() {
	local d name
	echo "lab $lab, network namespace $netns, bridge $bridge"
	for d in "$lab"/vm/*/; do
		[ -d "$d" ] || continue
		name=$(basename "$d")
		if vm_alive "$name"; then
			echo "guest $name: running, process $live"
		else
			echo "guest $name: not running"
		fi
	done
	for d in "$lab"/net/host.*; do
		[ -e "$d" ] && echo "host ${d##*/host.}: $(cat "$d")," \
			"network namespace $netns-${d##*/host.}"
	done
	return 0
}

# adopt FOLDER: a start that was broken off may have left a guest whose process
# is not recorded yet. It is ours when its command line names this folder.
adopt() {
	local pid dir=${1%/}
	[ -e "$dir/pid" ] || [ ! -s "$dir/qemu.pid" ] && return
	pid=$(cat "$dir/qemu.pid")
	grep -qaF "path=$dir/ctl" "/proc/$pid/cmdline" 2>/dev/null &&
		record_pid "$dir/pid" "$pid"
}

# cleanup [--all]: every guest killed, network taken down, state removed; the
# cache stays unless --all.
cmd_cleanup() {
	local d
	need_root
	for d in "$lab"/vm/*/; do
		[ -d "$d" ] || continue
		adopt "$d"
		end_pid "$d/pid" KILL 10
		drop_tap "$(basename "$d")"
	done
	cmd_net_down
	rm -rf "$lab/vm"
	[ "${1:-}" = --all ] && rm -rf "$cache"
	rmdir "$lab" 2>/dev/null
	return 0
}
