#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Extended attributes and ACLs on two hosts: what one sets the other has, the kernel of
# each checks ACLs as they are now, files in a folder with a default ACL inherit it, chmod
# moves the mask, writing takes capabilities away, noacl and nouser_xattr switch them off.
: "${top_srcdir:=$(cd "$(dirname "$0")/../.." && pwd)}"
. "$top_srcdir/tests/cluster/lib.sh"
for c in getfattr setfattr getfacl setfacl su; do
	command -v $c >/dev/null || skip_all "needs $c"
done
hosts_init
chmod 755 "$work" # the other user comes through here

# Value of a name on a host, or the error.
value() { getfattr --absolute-names --only-values -n "$2" "$work/m$1/$3" 2>&1; }
names() { getfattr --absolute-names -m - "$work/m$1/$2" 2>/dev/null | grep -v '^#' | grep . | sort | tr '\n' ' '; }
acl() { getfacl --absolute-names -c -n "$work/m$1/$2" 2>/dev/null | sed 's/[[:space:]]*#.*//' | grep . | tr '\n' ' '; }
as_user() { su -s /bin/sh daemon -c "$1" >/dev/null 2>&1; }
refused() { # command: it says that this is not supported
	local out
	out=$("$@" 2>&1) && { echo "it was done"; return 1; }
	grep -q 'not supported' <<<"$out" || { echo "$out"; return 1; }
}

ok "hosts are up" hosts_up 2
ok "a volume is made" vol_make v.img 300M || exit 1
ok "both mount" vol_mount_all 2 || exit 1
m1=$work/m1 m2=$work/m2

# Attributes
echo text >"$m1/a"
ok "host 1 sets one" setfattr -n user.color -v red "$m1/a"
is "host 2 has it" "$(value 2 user.color a)" red
ok "host 2 changes it" setfattr -n user.color -v blue "$m2/a"
is "host 1 has that" "$(value 1 user.color a)" blue
big=$(head -c 20000 /dev/urandom | base64 -w0)
ok "a large one" setfattr -n user.big -v "$big" "$m1/a"
is "is whole on host 2" "$(value 2 user.big a | md5sum)" "$(printf %s "$big" | md5sum)"
ok "trusted and security ones" eval 'setfattr -n trusted.t -v 1 "$m2/a" && setfattr -n security.s -v 2 "$m2/a"'
is "are listed for root" "$(names 1 a)" "security.s trusted.t user.big user.color "
is "trusted ones for nobody else" "$(su -s /bin/sh daemon -c "getfattr --absolute-names -m - $m1/a" 2>/dev/null | grep -v '^#' | grep . | sort | tr '\n' ' ')" "security.s user.big user.color "
ok "host 2 removes one" setfattr -x user.big "$m2/a"
is "and host 1 has it no more" "$(names 1 a)" "security.s trusted.t user.color "
is "another file has none" "$(touch "$m1/b"; names 2 b)" ""
ok "a kind that does not exist is refused" refused setfattr -n strange.x -v 1 "$m1/a"
is "content is as it was" "$(cat "$m2/a")" text
is "an attribute of a directory" "$(mkdir "$m1/d" && setfattr -n user.d -v 1 "$m1/d" && value 2 user.d d)" 1

# Writing takes capabilities away, set-id bits as well.
caps=0x0100000200200000000000000000000000000000
ok "a capability is set" setfattr -n security.capability -v $caps "$m1/b"
is "host 2 knows it" "$(names 2 b)" "security.capability "
echo more >>"$m2/b"
is "a write on host 2 takes it away" "$(names 1 b)" ""
setfattr -n security.capability -v $caps "$m1/b"
ok "so does a change of owner" eval 'chown 1 "$m2/b" && [ -z "$(names 1 b)" ]'
setfattr -n security.capability -v $caps "$m2/b"
ok "and of size" eval 'truncate -s 1 "$m1/b" && [ -z "$(names 2 b)" ]'

# ACLs
chmod 640 "$m1/a"
not() { ! "$@"; }
ok "the user may not read" not as_user "cat $m2/a"
ok "host 1 grants it by an ACL" setfacl -m u:daemon:rw "$m1/a"
ok "now he may on host 2" as_user "cat $m2/a"
ok "and write on host 1" as_user "echo his >>$m1/a"
is "the group bits are the mask" "$(stat -c %a "$m2/a")" 660
ok "chmod on host 2 moves the mask" chmod 600 "$m2/a"
is "as host 1 sees" "$(acl 1 a)" "user::rw- user:1:rw- group::r-- mask::--- other::--- "
ok "and the user is out on host 1" not as_user "cat $m1/a"
ok "host 2 removes the ACL" setfacl -b "$m2/a"
is "it is gone on host 1" "$(acl 1 a)" "user::rw- group::--- other::--- "
ok "host 1 gives a folder a default ACL" setfacl -d -m u:daemon:rwx,g::r-x,o::- "$m1/d"
(umask 077 && mkdir "$m2/d/sub" && touch "$m2/d/f")
is "a file made on host 2 inherits it, whatever the umask" "$(acl 1 d/f)" "user::rw- user:1:rwx group::r-x mask::rw- other::--- "
is "so does a folder, with the default" "$(acl 1 d/sub)" "user::rwx user:1:rwx group::r-x mask::rwx other::--- default:user::rwx default:user:1:rwx default:group::r-x default:mask::rwx default:other::--- "
ok "the user may write it" as_user "echo x >$m1/d/f"
is "an umask counts where there is no default" "$(umask 027 && touch "$m2/plain" && stat -c %a "$m1/plain")" 640
ok "an ACL that is a mode is kept as one" setfacl -m u::rw,g::r,o::r "$m2/plain"
is "and is no attribute" "$(names 1 plain)$(stat -c %a "$m1/plain")" 644
ok "a default ACL of a file is refused" not setfacl -d -m u::rw "$m1/plain"
touch "$m1/g" && chown daemon:root "$m1/g" && chmod 2750 "$m1/g" && setfacl -m u:nobody:r "$m1/g"
is "an ACL by root keeps the set-group-ID bit" "$(stat -c %a "$m2/g")" 2750
ok "one by an owner who is not of the group" as_user "setfacl -m u:nobody:x $m2/g"
is "does not" "$(stat -c %a "$m1/g")" 750
ok "links keep none" eval 'ln -s a "$m1/link" && not setfattr -h -n user.x -v 1 "$m1/link"'

# Both at once, and never a torn value.
# getfattr asks for the size first: a value that grows meanwhile does not fit.
whole() {
	local v
	until v=$(value 2 user.both a) && ! grep -q 'out of range' <<<"$v"; do
		grep -q 'out of range' <<<"$v" || { echo "$v"; return 1; }
	done
	grep -qE '^(1+|2+)$' <<<"$v" || { echo "$v"; return 1; }
}
repeated() { head -c "$2" /dev/zero | tr '\0' "$1"; }
sets_and_looks() {
	local i rc=0
	for i in $(seq 40); do setfattr -n user.both -v "$(repeated 1 $((i * 40)))" "$m1/a"; done &
	for i in $(seq 40); do
		setfattr -n user.both -v "$(repeated 2 $((i * 30)))" "$m2/a"
		whole || rc=1
	done
	wait $!
	return $rc
}
ok "both hosts set one name at the same time, and it is never torn" sets_and_looks
is "and agree" "$(value 1 user.both a | md5sum)" "$(value 2 user.both a | md5sum)"
ok "files with attributes are removed" rm -r "$m1/a" "$m2/b" "$m1/d" "$m2/plain" "$m1/link"
ok "both unmount" vol_umount_all 2
ok "fsck.ocfs2 finds nothing" vol_check

ok "host 1 mounts without them" vol_mount 1 noacl,nouser_xattr || exit 1
touch "$m1/c"
ok "user.* is refused" refused setfattr -n user.x -v 1 "$m1/c"
ok "an ACL is refused" refused setfacl -m u:daemon:r "$m1/c"
ok "trusted.* is not" setfattr -n trusted.x -v 1 "$m1/c"
ok "it unmounts" vol_umount 1
ok "a volume without the feature is made" vol_make w.img 300M --fs-features=noxattr || exit 1
ok "it mounts" vol_mount 1 || exit 1
touch "$m1/c"
ok "and refuses all of them" refused setfattr -n user.x -v 1 "$m1/c"
is "and lists none" "$(names 1 c)" ""
ok "it unmounts, too" vol_umount 1
ok "fsck.ocfs2 finds nothing here, either" vol_check
ok "the logs are quiet" logs_clean
