#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Shared mappings of one file on two hosts are coherent, also beside read and write; and
# a mapping that is only read does not keep the other host from writing. Holes, and space
# that was allocated before it is written, are the same on both.
: "${top_srcdir:=$(cd "$(dirname "$0")/../.." && pwd)}"
. "$top_srcdir/tests/cluster/lib.sh"
hosts_init
ok "hosts are up" hosts_up 2
ok "a volume is made" vol_make v.img 100M
ok "both mount" vol_mount_all 2 || exit 1
a=$work/m1 b=$work/m2
head -c 32768 /dev/zero >"$a/f"
if grep -q "shared mappings of files open for writing are refused" "$work/log1"; then
	is "the kernel is older than 6.6" "$(uname -r | awk -F. '$1 > 6 || ($1 == 6 && $2 >= 6)')" ""
else
	ok "two hosts store to the same pages in turn" timeout 200 \
		"$top_builddir/tests/cluster/mmap" "${ROUNDS:-100}" "$a/f" "$b/f"
	is "both read the same afterwards" "$(md5sum <"$a/f")" "$(md5sum <"$b/f")"
fi
# Holes: as the volume has them, also on the other host; but a store through a mapping is
# data before anybody has written it.
map() { # FILE: its pieces, "data" or "hole" and where each begins
	perl -e 'use strict; open(my $f, "<", $ARGV[0]) or die; my $size = -s $f; my ($at, $data) = (0, 0);
		while ($at < $size) {
			my $d = sysseek($f, $at, 3); $d = $d ? $d + 0 : $size;
			if ($d > $at) { print "hole $at\n"; $at = $d; next; }
			print "data $at\n"; $at = sysseek($f, $at, 4) + 0;
		}' "$1" | paste -sd,
}
dd if=/dev/urandom of="$a/sparse" bs=4k count=4 seek=64 2>/dev/null
truncate -s 1M "$a/sparse"
is "holes are found" "$(map "$a/sparse")" "hole 0,data 262144,hole 278528"
is "and on the other host" "$(map "$b/sparse")" "hole 0,data 262144,hole 278528"
cp --sparse=auto "$b/sparse" "$b/copy"
is "a copy has them, too" "$(map "$a/copy")" "hole 0,data 262144,hole 278528"
ok "and the same content" cmp "$a/sparse" "$a/copy"
if ! grep -q "shared mappings of files open for writing are refused" "$work/log1"; then
	ok "a store through a mapping into a hole is data at once" \
		"$top_builddir/tests/cluster/mmap" hole "$a/sparse"
	is "on the other host it is what was stored" \
		"$(map "$b/sparse")" "hole 0,data 262144,hole 278528,data 524288,hole 528384"
fi
# Space before there is data, and taken back.
ok "fallocate allocates" fallocate -l 512K "$a/pre"
is "size and blocks" "$(stat -c '%s %b' "$a/pre") $(stat -c '%s %b' "$b/pre")" \
	"524288 1024 524288 1024"
is "it reads as zeros" "$(tr -d '\0' <"$b/pre" | wc -c)" 0
head -c 512K /dev/urandom >"$work/want"
dd if="$work/want" of="$b/pre" bs=64k conv=notrunc 2>/dev/null
ok "what is written there is read" cmp "$work/want" "$a/pre"
is "in the same space" "$(stat -c %b "$a/pre")" 1024
ok "a hole is punched" fallocate -p -o 10000 -l 100000 "$a/pre"
dd if=/dev/zero of="$work/want" bs=10000 seek=1 count=10 conv=notrunc 2>/dev/null
ok "it reads as zeros on the other host" cmp "$work/want" "$b/pre"
ok "and here" cmp "$work/want" "$a/pre"
is "its whole clusters are free" "$(stat -c %b "$b/pre")" 840
# Readers with read-ahead beside a writer on the other host: the folios that a READ holds
# while it waits are those that the invalidation waits for.
head -c 4M /dev/urandom >"$a/big"
stop() { [ -e "$work/stop" ]; }
reader() { while ! stop; do cat "$b/big" >/dev/null || return 1; done; }
reader &
r1=$!
reader &
r2=$!
for i in $(seq 1 40); do
	dd if=/dev/urandom of="$a/big" bs=64k count=1 seek=$((i % 64)) conv=notrunc 2>/dev/null || break
done
is "a writer gets through beside readers on the other host" "$i" 40
touch "$work/stop"
ok "the readers end" wait_until 20 eval "! kill -0 $r1 2>/dev/null && ! kill -0 $r2 2>/dev/null"
is "the last content is the same" "$(md5sum <"$a/big")" "$(md5sum <"$b/big")"
ok "both unmount" vol_umount_all 2
ok "fsck.ocfs2 finds nothing" vol_check
ok "the logs are quiet" logs_clean
