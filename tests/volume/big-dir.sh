#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A directory of 100,000 entries: create, look up, list, delete; times are printed.
cd "${top_builddir:-.}/tests" || exit 1
. "${top_srcdir:-..}/tests/tap.sh"
. "${top_srcdir:-..}/tests/volume/mkvol.sh"
PATH=$PATH:/usr/sbin:/sbin
tmp=$(mktemp -d ./big-dir.XXXXXX)
on_exit "rm -rf '$tmp'"
count=${COUNT:-100000}

ok "a volume is made" mkvol "$tmp/v" 700M -b 4K -C 4K -J size=32M
printf '%s\n' "mkdir /big" "bigdir /big $count" >"$tmp/make"
printf '%s\n' "bigdir /big $count delete" "rm /big" >"$tmp/drop"

ok "$count entries are created, found and listed" \
	sh -c "timeout 300 volume/volsh '$tmp/v' <'$tmp/make' >'$tmp/out' 2>&1 || { cat '$tmp/out'; exit 1; }"
sed 's/^/# /' "$tmp/out"
ok "fsck.ocfs2 finds nothing" fsckvol "$tmp/v"
is "debugfs.ocfs2 lists all of them" \
	"$(debugfs.ocfs2 -R 'ls /big' "$tmp/v" 2>/dev/null | grep -c entry-)" "$count"
ok "they are deleted, and the directory with them" \
	sh -c "timeout 300 volume/volsh '$tmp/v' <'$tmp/drop' >'$tmp/out' 2>&1 || { cat '$tmp/out'; exit 1; }"
sed 's/^/# /' "$tmp/out"
ok "fsck.ocfs2 finds nothing" fsckvol "$tmp/v"
