# SPDX-License-Identifier: GPL-2.0-or-later
# mkvol.sh: volumes for shell tests; source it after tests/tap.sh.
#
# mkvol FILE SIZE [mkfs.ocfs2 option ...]	a cluster volume, 4 slots unless -N
# fsckvol FILE					fsck.ocfs2 -fn finds nothing; else its words, status 1
# replayvol FILE				fsck.ocfs2 replays journals and cleans up

mkvol()
{
	_file=$1 _size=$2
	shift 2
	rm -f "$_file"
	truncate -s "$_size" "$_file" &&
	mkfs.ocfs2 -N 4 -J size=4M --cluster-stack=o2cb --cluster-name=test -L test \
		-F -x -q "$@" "$_file" </dev/null >/dev/null 2>&1
}

# Known noise of a fresh volume (doc/spec/disk.md 10.1): the system directory has no
# index, which only counts when it does not fit into its inode.
fsckvol()
{
	_sys=$(debugfs.ocfs2 -n -R stats "$1" 2>/dev/null | sed -n 's/.*System Dir Blknum: \([0-9]*\).*/\1/p')
	_out=$(fsck.ocfs2 -fn "$1" 2>&1 </dev/null) || { printf '%s\n' "$_out"; return 1; }
	case $_out in
	*"All passes succeeded."*) ;;
	*) printf '%s\n' "$_out"; return 1 ;;
	esac
	_bad=$(printf '%s\n' "$_out" | grep -E '^\[|Bad CRC32' |
		grep -v "^\[DX_TREE_MISSING\] Directory $_sys ") || return 0
	printf '%s\n' "$_bad"
	return 1
}

# The first run replays and ends with 8 for want of a cluster, the second cleans up.
replayvol()
{
	echo y | fsck.ocfs2 -yF "$1" >/dev/null 2>&1
	echo y | fsck.ocfs2 -yF "$1" >/dev/null 2>&1
}
