#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Three nodes: two of the kernel and one of ours, then one of the kernel and two of ours.
# Every node writes, every node reads what each wrote; each holds a flock while the
# others wait in line; nodes leave while the others hold locks that the leaving one owned.
: "${top_srcdir:=$(cd "$(dirname "$0")/../.." && pwd)}"
: "${THR:=31}"
. "$top_srcdir/tests/lab/lib.sh"
lab_init
ok "the nodes have a network" lab_up k1 u2 k3 u4
ok "a volume is made" vol_make v.img 300M
ok "two kernel nodes boot" kboot 1 3 || exit 1

all_see() { # nodes
	local a b
	for a; do
		ok "$a writes a directory of files" on $a "mkdir from-$a && for i in 1 2 3 4 5 6 7 8 9 10; do echo $a \$i >from-$a/\$i; done"
	done
	for a; do
		for b; do
			is "$b reads what $a wrote" "$(on $b "cat from-$a/*" | sort)" "$(for i in 1 2 3 4 5 6 7 8 9 10; do echo $a $i; done | sort)"
		done
	done
	for a; do
		ok "$a appends to a common file" on $a "echo $a >>common-$1"
		for b; do
			ok "$b changes a mode in $a's directory" on $b "chmod 6${b#?}4 from-$a/1"
			is "all see it" "$(for c; do on $c "stat -c '%a %i %Z' from-$a/1"; done | sort -u | wc -l)" 1
		done
	done
	for b; do
		is "$b reads the common file" "$(on $b "cat common-$1" | tr '\n' ' ')" "$(printf '%s ' "$@")"
	done
}

three() { # nodes in the order of joining; they leave in the same order
	local n
	for n; do
		ok "$n mounts" node_mount $n || exit 1
		ok "$n makes a file for later" on $n "mkdir own-$n && echo $n >own-$n/f && sync"
	done
	all_see "$@"
	# The second holds a flock on a file that the first made, the third waits: the owner leaves.
	exec 9>&-
	ok "$2 holds a lock of $1's" hold_start $2 own-$1/f
	wait_start $3 own-$1/f
	ok "$3 waits for it" wait_until 30 waits $3
	ok "$1 leaves" node_umount $1
	ok "$3 still waits" waits $3
	hold_end $2
	is "$3 gets it" "$(wait_end $3)" "got it"
	ok "$2 writes where $1 wrote" on $2 "echo $2 >>own-$1/f"
	is "$3 reads it" "$(on $3 "cat own-$1/f" | tr '\n' ' ')" "$1 $2 "
	ok "$2 leaves" node_umount $2
	is "$3 reads all" "$(on $3 "cat own-$1/f own-$2/f own-$3/f" | tr '\n' ' ')" "$1 $2 $2 $3 "
	ok "$3 removes all" on $3 "rm -r own-* from-* common-*"
	ok "$3 leaves" node_umount $3
	ok "fsck.ocfs2 finds nothing" vol_check
}

three k1 u2 k3
three u2 k3 k1
ok "a kernel node is stopped" "$ocfs2_vm" stop k3
three k1 u4 u2
three u2 u4 k1
ok "our logs are quiet" logs_clean
ok "so are the kernels'" kernels_clean
