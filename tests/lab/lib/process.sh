# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# process.sh: waiting, and processes of this lab.
#
# A process is known by its id and its start time, both in a file, so that an
# id which the kernel gave to another process later is never signalled.

# Sleep for a fraction of a second without starting a process: read from a pipe
# that nobody writes.
nap_fd=
nap() {
	[ -n "$nap_fd" ] || exec {nap_fd}<> <(:)
	read -r -t "$1" -u "$nap_fd" _ || :
}

now_ms() { local t=${EPOCHREALTIME/./}; echo $((t / 1000)); }

# start_time PID: puts the start time of a process that still runs into
# started. A dead one that its parent has not waited for does not count.
started=
start_time() {
	local stat
	started=
	{ read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 1
	# The name, in brackets, may hold spaces; the state follows it.
	stat=${stat##*) }
	# shellcheck disable=SC2086 # split into fields on purpose
	set -- $stat
	[ "$1" != Z ] && [ "$1" != X ] && started=${20}
}

record_pid() { # FILE PID
	start_time "$2" && echo "$2 $started" >"$1"
}

# is_live FILE: whether the recorded process runs; puts its id into live.
live=
is_live() {
	local pid start
	live=
	{ read -r pid start <"$1"; } 2>/dev/null || return 1
	start_time "$pid" && [ "$started" = "$start" ] && live=$pid
}

# end_pid FILE SIGNAL SECONDS: signal it and wait until it is gone.
end_pid() {
	local end
	is_live "$1" || return 0
	kill "-$2" "$live" 2>/dev/null
	end=$(($(now_ms) + $3 * 1000))
	while is_live "$1"; do
		[ "$(now_ms)" -lt "$end" ] || return 1
		nap 0.02
	done
}
