#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Shared mappings of one file on two hosts are coherent, also beside read and write; and
# a mapping that is only read does not keep the other host from writing.
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
