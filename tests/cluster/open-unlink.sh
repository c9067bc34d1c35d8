#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A file that is removed on one host while it is open on another stays readable there;
# its space is free after the last close, without waiting for a scan.
: "${top_srcdir:=$(cd "$(dirname "$0")/../.." && pwd)}"
. "$top_srcdir/tests/cluster/lib.sh"
hosts_init
ok "hosts are up" hosts_up 2
ok "a volume is made" vol_make v.img 300M
ok "both mount" vol_mount_all 2 || exit 1
a=$work/m1 b=$work/m2
used() { stat -f -c '%f' "$b"; }
sync_used() { # free blocks are at least $1
	[ "$(used)" -ge "$1" ]
}
inode_is_free() { # debugfs shows the dinode without the Valid flag, or a link count of 0 and a dtime
	# Each makes the other checkpoint: debugfs does not look into the logs.
	echo a >>"$a/.poke" && cat "$b/.poke" && echo b >>"$b/.poke" && cat "$a/.poke" || return 1
	debugfs.ocfs2 -R "stat <$1>" "$image" 2>/dev/null | grep -q 'dtime: [^0]' ||
		! debugfs.ocfs2 -R "stat <$1>" "$image" 2>/dev/null | grep -q 'Flags:.*Valid'
}

touch "$a/.poke"
# 1. open on the other host while it is removed
dd if=/dev/urandom of="$a/big" bs=1M count=20 2>/dev/null
sum=$(md5sum <"$b/big")
ino=$(stat -c %i "$a/big")
exec 7<"$b/big"
# The owner knows the locks of all: whoever it is shows both hosts' on O of the file.
open_locks() {
	for n in 1 2; do host $n "$o2fuse" locks --resource "$a/big"; done |
		awk '/^[A-Z]/ {o = /^O/} o && /granted +node/ {print $3}' | sort -u | paste -sd' '
}
is "o2fuse locks shows that both hosts know the file" "$(open_locks)" "1 2"
ok "removed on host 1" rm "$a/big"
is "the name is gone on host 2" "$(ls "$b" | grep -c big)" 0
is "the open file reads the same on host 2" "$(md5sum <&7)" "$sum"
is "it shows no links there" "$(stat -L -c %h /proc/self/fd/7)" 0
before=$(used)
exec 7<&-
ok "its inode is freed soon after the last close" wait_until 8 inode_is_free "$ino"
ok "its space is free soon after" wait_until 10 sync_used $((before + 5000))

# 2. known on both hosts, open nowhere
dd if=/dev/zero of="$a/f2" bs=1M count=20 2>/dev/null
cat "$b/f2" >/dev/null
ino=$(stat -c %i "$b/f2")
ok "a file that both know and nobody has open is removed" rm "$b/f2"
ok "its inode is freed at once, without a scan" wait_until 8 inode_is_free "$ino"

# 3. open on the host that removes it
echo local >"$a/f3"
cat "$b/f3" >/dev/null
ino=$(stat -c %i "$a/f3")
exec 7<"$a/f3"
ok "removed where it is open" rm "$a/f3"
is "still readable" "$(cat <&7)" local
exec 7<&-
ok "freed after the close" wait_until 8 inode_is_free "$ino"

# 4. writing goes on after the removal elsewhere
exec 7<>"$b/f4"
echo one >&7
ok "removed on the other host" rm "$a/f4"
ok "writing to it still works" bash -c 'echo two >&7' 
ino=$(stat -L -c %i /proc/self/fd/7)
exec 7<&-
ok "freed after the close there" wait_until 8 inode_is_free "$ino"

# 5. a directory in use as working directory elsewhere
mkdir "$a/dir"
(cd "$b/dir" && rmdir "$a/dir" && ls . >/dev/null 2>&1; true)
is "a removed directory is gone on both" "$(ls "$a" "$b" | grep -c dir)" 0

# 6. open directories
mkdir "$a/d6" "$a/d7" "$b/d8"
exec 7<"$a/d6" 8<"$b/d7"
ino6=$(stat -c %i "$a/d6") ino7=$(stat -c %i "$b/d7")
ok "an open directory is removed where it is open" rmdir "$a/d6"
ok "another is replaced on the other host" mv -T "$a/d8" "$a/d7"
is "both still have attributes, and no links" "$(stat -L -c %h /proc/self/fd/7 /proc/self/fd/8 | paste -sd' ')" "0 0"
is "and list as empty" "$(ls -A /proc/self/fd/7/ /proc/self/fd/8/ | grep -vc '^/\|^$')" 0
exec 7<&- 8<&-
ok "freed after the close" wait_until 8 inode_is_free "$ino6"
ok "and the other one" wait_until 8 inode_is_free "$ino7"

ok "both unmount" vol_umount_all 2
ok "fsck.ocfs2 finds nothing" vol_check
is "no orphan is left" "$(for s in 0 1 2 3; do debugfs.ocfs2 -R "ls //orphan_dir:000$s" "$image" 2>/dev/null; done |
	awk '$NF ~ /^[0-9a-f]{16}$/' | wc -l)" 0
ok "the logs are quiet" logs_clean
