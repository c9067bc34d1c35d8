# SPDX-License-Identifier: GPL-2.0-or-later
# lib.sh: kernel nodes in virtual machines beside our hosts, one cluster, one volume.
#
#	lab_init			what cluster/lib.sh's hosts_init does, and the guests' kernel
#	lab_up k1 u2 ...		the nodes: k = kernel, u = ours; the number is the node's
#	kmount N, kumount N		a kernel node's mount of the volume on /mnt
#	k N COMMAND			runs in the guest of kernel node N
#	kbg N COMMAND			the same, in the background: prints a job for kwait
#	kwait N JOB [SECONDS]
#	kernels_clean			nothing in the guests' kernel logs reads like a mistake
#
# and of cluster/lib.sh vol_make, vol_mount, vol_umount, vol_check, logs_clean, host.
# The bridge's namespace holds the guests as well, so that what removes a killed run's
# namespaces ends its guests.
. "${top_srcdir:?}/tests/cluster/lib.sh"
ocfs2_vm=$top_srcdir/tests/lab/ocfs2-vm
lab_kernel=
lab_ours=

lab_init() {
	local c
	hosts_init
	for c in qemu-system-x86_64 busybox depmod xz; do
		command -v $c >/dev/null || skip_all "needs $c"
	done
	export O2LAB_DIR=$work/lab O2LAB_CACHE=${O2LAB_CACHE:-/var/cache/o2fuse-lab}
	export O2LAB_NETNS O2LAB_LIFE=${O2LAB_LIFE:-1800} O2LAB_APT=0
	O2LAB_NETNS=$(ns br)
	on_exit lab_down
	flock_cache "$ocfs2_vm" prepare >"$work/prepare.out" 2>&1 ||
		skip_all "no kernel for the guests: $(tail -n 1 "$work/prepare.out")"
}

# Several tests may prepare at once.
flock_cache() {
	mkdir -p "$O2LAB_CACHE" && flock "$O2LAB_CACHE" "$@"
}

lab_down() {
	local n
	if [ "${tap_failed:-0}" != 0 ]; then
		mkdir -p "$top_builddir/tests/failed"
		for n in $lab_kernel; do
			cp "$work/lab/vm/k$n/console.log" "$top_builddir/tests/failed/console$n" 2>/dev/null
			"$ocfs2_vm" exec -t 10 k$n 'cat /sys/kernel/debug/o2dlm/*/dlm_state \
				/sys/kernel/debug/o2dlm/*/locking_state /sys/kernel/debug/o2dlm/*/mle_state' \
				>"$top_builddir/tests/failed/o2dlm$n" 2>/dev/null
		done
	fi
	for n in $lab_kernel; do
		"$ocfs2_vm" crash k$n 2>/dev/null
	done
}

lab_up() {
	local n node
	ip netns add "$(ns br)" &&
		ip -n "$(ns br)" link add br0 type bridge &&
		ip -n "$(ns br)" link set br0 up || return 1
	{
		printf 'cluster:\n\tnode_count = %d\n\theartbeat_mode = local\n\tname = %s\n\n' $# $cluster
		for node; do
			n=${node#?}
			printf 'node:\n\tip_port = 7777\n\tip_address = %s\n\tnumber = %d\n' "$(addr $n)" $n
			printf '\tname = %s\n\tcluster = %s\n\n' "$node" $cluster
		done
	} >"$work/cluster.conf"
	for node; do
		n=${node#?}
		case $node in
		u*) host_up $n && lab_ours="$lab_ours $n" ;;
		k*) lab_kernel="$lab_kernel $n" ;;
		esac || return 1
	done
}

kstart() { # node: starts to boot
	"$ocfs2_vm" start k$1 --node $1 --ip "$(addr $1)" --disk "$image" --conf "$work/cluster.conf" \
		--dead $thr --no-wait
}
kready() { "$ocfs2_vm" ready k$1; }
k() {
	local n=$1
	shift
	"$ocfs2_vm" exec k$n "$@"
}
kbg() {
	local n=$1
	shift
	"$ocfs2_vm" exec -d k$n "$@"
}
kwait() { "$ocfs2_vm" wait -t "${3:-60}" k$1 "$2"; }
kmount() { "$ocfs2_vm" mount k$1; }
kumount() { "$ocfs2_vm" umount k$1; }

# Lines of OCFS2 and its DLM that only a mistake writes, ours or the kernel's. Not one: a
# node that is just dropping its reference refuses a resource that is handed over to it,
# which the leaving node tries again (dlm.md 8.2). Two kernel nodes write the same line
# then (record-traces two-node-leave-while-dropping, traces/ has its notes).
kernels_clean() {
	local n bad=0 may='dlm_mig_lockres_handler:[0-9]* ERROR: status = -22'
	for n in $lab_kernel; do
		if grep -aE 'BUG|WARNING|Oops|Call Trace|blocked for more than|[^a-z]ERROR|o2(dlm|net|cb|hb).*(rror|fail|inval|refus)|ocfs2.*(rror|corrupt)' \
			"$work/lab/vm/k$n/console.log" | grep -avE "$may${KERNEL_MAY_SAY:+|$KERNEL_MAY_SAY}" | sed "s/^/k$n: /" | grep .; then
			bad=1
		fi
	done
	return $bad
}

# Boot nodes side by side; mount them one after the other (kernel nodes by themselves
# wait for a steady heartbeat).
kboot() {
	local n
	for n; do kstart $n || return 1; done
	for n; do kready $n || return 1; done
}

# Mount on node: k2, u1.
node_mount() {
	case $1 in
	k*) kmount ${1#k} ;;
	u*) vol_mount ${1#u} ;;
	esac
}
node_umount() {
	case $1 in
	k*) kumount ${1#k} ;;
	u*) vol_umount ${1#u} ;;
	esac
}
# Shell command on a node, in the root of the volume.
on() {
	local n=${1#?} node=$1
	shift
	case $node in
	k*) k $n "cd /mnt && $*" ;;
	u*) (cd "$work/m$n" && timeout 120 sh -c "$*") ;;
	esac
}

# hold_start NODE FILE: the node holds a flock on the file until hold_end NODE.
# wait_start NODE FILE: asks for it; waits NODE: is it asking; wait_end: its words.
hold_start() {
	local go=$work/go-$1 job
	rm -f "$go"
	case $1 in
	k*)
		rm -f "$work/lab/vm/$1/share/go" "$work/lab/vm/$1/share/held"
		hold_job=$(kbg ${1#k} "flock /mnt/$2 sh -c 'touch /share/held; while [ ! -e /share/go ]; do sleep 0.1; done'")
		wait_until 30 test -e "$work/lab/vm/$1/share/held"
		;;
	u*)
		(cd "$work/m${1#u}" && exec flock "$2" bash -c "touch '$work/held-$1'; while [ ! -e '$go' ]; do sleep 0.1; done") \
			>/dev/null 2>&1 &
		hold_job=$!
		wait_until 30 test -e "$work/held-$1"
		rm -f "$work/held-$1"
		;;
	esac
}
hold_end() {
	case $1 in
	k*) touch "$work/lab/vm/$1/share/go" && kwait ${1#k} $hold_job ;;
	u*) touch "$work/go-$1" && wait $hold_job ;;
	esac
}
wait_start() {
	case $1 in
	k*) wait_job=$(kbg ${1#k} 'echo $$ >/share/waits; exec flock /mnt/'$2' echo got it') ;;
	u*)
		rm -f "$work/got-$1"
		(cd "$work/m${1#u}" && exec timeout 120 flock "$2" echo got it) >"$work/got-$1" 2>&1 &
		wait_job=$!
		;;
	esac
}
waits() {
	case $1 in
	k*) k ${1#k} 'grep -q "^73 " /proc/$(cat /share/waits)/syscall' ;;
	u*) grep -q '^73 ' /proc/$(pgrep -P $wait_job || echo $wait_job)/syscall ;;
	esac
}
wait_end() {
	case $1 in
	k*) kwait ${1#k} $wait_job ;;
	u*) wait_until 60 test -s "$work/got-$1" && cat "$work/got-$1" ;;
	esac
}

# kill -9 to the processes of our host that are daemons of the mount.
kill_daemon() {
	local p
	for p in $(ip netns pids "$(ns $1)"); do
		case $(cat "/proc/$p/comm" 2>/dev/null) in
		mount.o2fuse | o2fuse*) kill -9 "$p" ;;
		esac
	done
	wait_until 20 no_daemon $1
}
