#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# (-i: mount(8) must not run mount.fuse, if that is there: it takes the source of a plain
# "fuse" mount for a program.)
# mount(8) and umount(8): how the mount shows, remount, umount followed by mount, helper
# names, flags.
: "${top_srcdir:=$(cd "$(dirname "$0")/../.." && pwd)}"
. "$top_srcdir/tests/cluster/lib.sh"
hosts_init
ok "hosts are up" hosts_up 1
ok "a volume is made" vol_make v.img 100M
m=$work/m1
shown() { awk -v m="$m" '$2 == m {print $1, $3, $4}' /proc/mounts; }

ok "mounts" vol_mount 1 suid,dev,relatime || exit 1
is "the source is the device, the type is fuse" "$(shown | cut -d' ' -f1,2)" "$image fuse"
is "flags of mount(8) are not nosuid, nodev" "$(shown | grep -cE 'nosuid|nodev')" 0
ok "a file is written" eval 'echo 1 >$m/f && [ "$(cat $m/f)" = 1 ]'
echo new >"$m/read-once" && touch -d 2001-01-01 "$m/read-once"
cat "$m/read-once" >/dev/null
ok "relatime: a read after a change is an access" wait_until 10 \
	eval '[ "$(stat -c %X "$m/read-once")" -gt 1000000000 ]'
ok "remount read-only" mount -i -o remount,ro "$m"
is "it is read-only" "$(touch "$m/g" 2>&1 | grep -c 'Read-only')" 1
ok "and reads" grep -q 1 "$m/f"
ok "remount read-write" mount -i -o remount,rw "$m"
ok "it writes again" touch "$m/g"
ok "a pipe behind mount ends with mount" eval 'umount "$m" && [ -z "$(vol_mount 1 | timeout 60 cat)" ]'
ok "umount followed at once by mount" eval 'umount "$m" && vol_mount 1'
ok "the file is there" grep -q 1 "$m/f"
ok "umount followed at once by a read-only mount" eval 'umount "$m" && vol_mount 1 ro,noatime,nodev,nosuid'
is "flags show" "$(shown | grep -c 'ro,nosuid,nodev.*noatime\|ro,nosuid,nodev,noatime')" 1
at=$(stat -c %X "$m/f")
cat "$m/f" >/dev/null
is "noatime: a read is no access" "$(stat -c %X "$m/f")" "$at"
is "read-only refuses" "$(touch "$m/h" 2>&1 | grep -c 'Read-only')" 1
ok "remount read-write of what was mounted read-only, by the helper" \
	"$mount_o2fuse" "$image" "$m" -o remount,rw
ok "writes" touch "$m/h"
ok "unmounts" vol_umount 1

# through the installed helpers, under another root of /sbin
ok "helpers are installed" make -s -C "$top_builddir" install DESTDIR="$work/root"
for h in mount.o2fuse mount.fuse.o2fuse; do
	ok "/sbin/$h is there" test -x "$work/root/sbin/$h"
done
sbin=$(readlink -f /sbin)
for t in o2fuse fuse.o2fuse; do
	# mount(8) looks in /sbin only: lend it the helper, unless one is installed.
	[ -e "$sbin/mount.$t" ] || { ln -s "$work/root/sbin/mount.$t" "$sbin/mount.$t" &&
		on_exit "rm -f '$sbin/mount.$t'"; }
	ok "mount -t $t" timeout 100 nsenter --net="/run/netns/$(ns 1)" \
		mount -t $t "$image" "$m" -o "$(mount_opts 1)"
	is "$t: type shows as fuse" "$(shown | cut -d' ' -f2)" fuse
	ok "$t: unmounts" vol_umount 1
done
ok "o2fuse mount" timeout 100 nsenter --net="/run/netns/$(ns 1)" env PATH="$top_builddir/fs:$PATH" "$o2fuse" mount "$image" "$m" -o "$(mount_opts 1)"
ok "a signal unmounts" eval 'kill -TERM $(host 1 "$o2fuse" status --json | sed -n "s/.*\"pid\": *\([0-9]*\).*/\1/p" | head -1) && wait_until 30 no_daemon 1'
is "the mount is gone" "$(shown)" ""
ok "fsck.ocfs2 finds nothing" vol_check
