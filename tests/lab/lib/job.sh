# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# job.sh: commands and files in a guest.
#
# A job is a folder in the share: cmd, in, out, err, pid, and at last rc. The
# control port, a named pipe here, only says which job to start or to kill.

# submit NAME [STDIN FILE]: reads a command from fd 0, starts it, prints its id.
submit() {
	local dir id fd
	dir=$(vm_dir "$1")
	id=$(now_ms).$$.$RANDOM
	mkdir "$dir/share/jobs/$id" || die "cannot make a job for $1"
	cat >"$dir/share/jobs/$id/cmd"
	if [ -n "${2:-}" ]; then
		cat "$2" >"$dir/share/jobs/$id/in"
	else
		: >"$dir/share/jobs/$id/in"
	fi
	# Opened for reading too, so that opening never waits; one short line is
	# written whole, whoever else writes.
	exec {fd}<>"$dir/ctl.in"
	echo "run $id" >&"$fd"
	exec {fd}>&-
	echo "$id"
}

# exec [-t SECONDS] [-d] [-i FILE] NAME COMMAND
cmd_exec() {
	local limit=${O2LAB_EXEC_TIMEOUT:-120} detach='' input='' name id OPTIND=1 o
	while getopts t:di: o; do
		case $o in
		t) limit=$OPTARG ;;
		d) detach=1 ;;
		i) input=$OPTARG ;;
		*) usage_error "exec [-t SECONDS] [-d] [-i FILE] NAME COMMAND" ;;
		esac
	done
	shift $((OPTIND - 1))
	[ $# -ge 2 ] || usage_error "exec [-t SECONDS] [-d] [-i FILE] NAME COMMAND"
	name=$1
	shift
	vm_alive "$name" || { note "$name is not running"; return 125; }
	id=$(printf '%s\n' "$*" | submit "$name" "$input") || return 1
	if [ -n "$detach" ]; then
		echo "$id"
		return 0
	fi
	cmd_wait -t "$limit" "$name" "$id"
}

# wait [-t SECONDS] NAME JOB: the job's output and exit status.
cmd_wait() {
	local limit=${O2LAB_EXEC_TIMEOUT:-120} name id d end rc fd OPTIND=1 o
	while getopts t: o; do
		case $o in
		t) limit=$OPTARG ;;
		*) usage_error "wait [-t SECONDS] NAME JOB" ;;
		esac
	done
	shift $((OPTIND - 1))
	[ $# -eq 2 ] || usage_error "wait [-t SECONDS] NAME JOB"
	name=$1 id=$2
	d=$(vm_dir "$name")/share/jobs/$id
	[ -d "$d" ] || { note "$name has no job $id"; return 125; }
	end=$(($(now_ms) + limit * 1000))
	rc=
	while :; do
		# Looked at before the result, so that a job which ended just before
		# its guest did is not taken for lost.
		vm_alive "$name" || rc=125
		[ -e "$d/rc" ] && rc=$(cat "$d/rc")
		[ -z "$rc" ] || break
		if [ "$(now_ms)" -ge "$end" ]; then
			rc=124
			exec {fd}<>"$(vm_dir "$name")/ctl.in"
			echo "kill $id" >&"$fd"
			exec {fd}>&-
			break
		fi
		nap 0.02
	done
	[ -e "$d/out" ] && cat "$d/out"
	[ -e "$d/err" ] && cat "$d/err" >&2
	case $rc in
	125) [ -e "$d/rc" ] || note "$name died" ;;
	124) [ -e "$d/rc" ] || note "$name: no end in $limit s: $(head -c 200 "$d/cmd")" ;;
	esac
	# Kept when something went wrong.
	[ "$rc" = 0 ] && rm -rf "$d"
	return "$rc"
}

# put NAME FILE [PATH]: a file into the guest; a program brings its libraries.
cmd_put() {
	local name=${1:?} file=${2:?} path=${3:-/usr/bin/} stage
	vm_running "$name"
	case $path in */) path=$path${file##*/} ;; esac
	stage=$(vm_dir "$name")/share/put
	rm -rf "$stage"
	mkdir -p "$stage"
	install -D "$file" "$stage$path" || die "cannot copy $file"
	ldd "$file" 2>/dev/null | awk '/=> \//{ print $3 } $1 ~ /^\//{ print $1 }' |
		while read -r file; do install -D "$file" "$stage$file"; done
	# Only what the guest lacks, apart from the file itself.
	cmd_exec "$name" "cd /share/put && find . -type f | while read -r f; do
			[ \"\$f\" != '.$path' ] && [ -e \"/\$f\" ] && continue
			mkdir -p \"/\${f%/*}\" && cp -f \"\$f\" \"/\$f\" || exit 1
		done" || die "put into $name failed"
	rm -rf "$stage"
}

cmd_share() { echo "$(vm_dir "${1:?}")/share"; }

# mount NAME [-o OPTIONS] [DEVICE [DIR]]
cmd_mount() {
	local name=${1:?} opts=''
	shift
	if [ "${1:-}" = -o ]; then
		opts="-o $2"
		shift 2
	fi
	cmd_exec -t "${O2LAB_MOUNT_TIMEOUT:-120}" "$name" \
		"mkdir -p ${2:-/mnt} && mount.ocfs2 ${1:-/dev/vda} ${2:-/mnt} $opts"
}

cmd_umount() {
	cmd_exec -t "${O2LAB_MOUNT_TIMEOUT:-120}" "${1:?}" "umount ${2:-/mnt}"
}
