# SPDX-License-Identifier: GPL-2.0-or-later
# Writes, appends, truncates and deletions at random on every feature level, block and
# cluster size; then debugfs.ocfs2, which shares no code with us, reads the same bytes
# that a mirror on the host has, and fsck.ocfs2 finds nothing. SEED=n replays.
. "$top_srcdir/tests/tap.sh"
. "$top_srcdir/tests/volume/mkvol.sh"
PATH=$PATH:/usr/sbin:/sbin
for tool in mkfs.ocfs2 fsck.ocfs2 debugfs.ocfs2; do
	command -v $tool >/dev/null || skip_all "no $tool; install ocfs2-tools"
done
volsh=$top_builddir/tests/volume/volsh
dir=$(mktemp -d ./data-mix.XXXXXX) || exit 1
on_exit "rm -rf '$dir'"
SEED=${SEED:-1}
RANDOM=$SEED

# Bytes without white space; a step takes some of them from somewhere.
words=$(head -c 60000 /dev/urandom | base64 -w0)
declare -A size

# One random step: a line for volsh on standard output, the same done to the mirror.
step() {
	local f=f$((RANDOM % 5)) kind=$((RANDOM % 12)) off len data mirror
	mirror=$dir/m/$f
	if [ -z "${size[$f]}" ]; then
		: >"$mirror"
		size[$f]=0
		echo "create /$f"
		return
	fi
	case $kind in
	0)
		rm "$mirror"
		unset "size[$f]"
		echo "rm /$f"
		return ;;
	1 | 2)
		off=$((RANDOM * 37 % 300000))
		[ $((RANDOM % 3)) = 0 ] && off=$((RANDOM % 3000))
		truncate -s $off "$mirror"
		size[$f]=$off
		echo "truncate /$f $off"
		return ;;
	3 | 4 | 5) len=$((RANDOM % 900 + 1)) ;;
	*) len=$((RANDOM % 30000 + 1)) ;;
	esac
	data=${words:RANDOM % 40000:len}
	off=${size[$f]}
	if [ $((kind % 2)) = 0 ]; then
		printf %s "$data" >>"$mirror"
		size[$f]=$((off + len))
		echo "append /$f $data"
	else
		off=$((RANDOM % 2 ? RANDOM * 11 % (off + 1) : RANDOM * 13 % 400000))
		[ $((off + len)) -gt ${size[$f]} ] && size[$f]=$((off + len))
		printf %s "$data" | dd of="$mirror" bs=65536 seek=$off oflag=seek_bytes conv=notrunc \
			iflag=fullblock status=none
		echo "write /$f $off $data"
	fi
}

same_bytes() {
	local m f
	for m in "$dir"/m/*; do
		f=$(basename "$m")
		rm -f "$dir/out"
		debugfs.ocfs2 -n -R "dump /$f $dir/out" "$dir/v.img" 2>&1
		[ -s "$m" ] || [ -e "$dir/out" ] || : >"$dir/out"
		cmp "$m" "$dir/out" || return 1
	done
}

run_steps() {
	for _ in $(seq 45); do step; done >"$dir/script"
	"$volsh" "$dir/v.img" <"$dir/script"
}

crash_steps() {
	for _ in $(seq 15); do step; done >"$dir/script"
	{ cat "$dir/script"; echo sync; echo crash; } | "$volsh" "$dir/v.img"
	[ $? = 99 ]
}

mix() {
	local what="$*" level=$1 block=$2 cluster=$3 bytes=64M
	shift 3
	[ "$cluster" = 1M ] && bytes=192M && set -- "$@" -J size=9M
	rm -rf "$dir/m" && mkdir "$dir/m"
	size=()
	ok "$what: mkfs" mkvol "$dir/v.img" $bytes --fs-feature-level="$level" -b "$block" -C "$cluster" "$@"
	ok "$what: random steps succeed" run_steps
	ok "$what: debugfs.ocfs2 reads the same bytes" same_bytes
	ok "$what: fsck.ocfs2 finds nothing" fsckvol "$dir/v.img"
	ok "$what: more steps, a sync, a crash" crash_steps
	ok "$what: the next mount replays" "$volsh" "$dir/v.img"
	ok "$what: what was synced is there" same_bytes
	ok "$what: fsck.ocfs2 finds nothing after the crash" fsckvol "$dir/v.img"
}

echo "# SEED=$SEED"
for level in default max-compat; do
	for block in 1K 4K; do
		for cluster in 4K 1M; do
			mix $level $block $cluster
		done
	done
done
mix max-features 4K 4K --fs-features=nousrquota,nogrpquota
mix default 512 32K --fs-features=noinline-data,noindexed-dirs
