# SPDX-License-Identifier: GPL-2.0-or-later
# tap.sh: TAP for shell tests. Source it; plan is printed at the end.
#	ok "claim" command...		passes if the command succeeds
#	is "claim" got want
#	skip_all "reason"		this machine cannot run it
#	on_exit command			runs at the end, last first, also when killed
tap_n=0
tap_failed=0
tap_exit=()
tap_out=

tap_result() {
	tap_n=$((tap_n + 1))
	if [ "$1" = 0 ]; then
		printf 'ok %d - %s\n' "$tap_n" "$2"
	else
		tap_failed=$((tap_failed + 1))
		printf 'not ok %d - %s\n' "$tap_n" "$2"
	fi
}

# In this shell, so that a command may set variables.
ok() {
	local claim=$1 rc
	shift
	[ -n "$tap_out" ] || { tap_out=$(mktemp) && on_exit 'rm -f "$tap_out"'; }
	"$@" >"$tap_out" 2>&1 </dev/null
	rc=$?
	tap_result $rc "$claim"
	[ $rc = 0 ] || { echo "status $rc: $*" && tail -n 60 "$tap_out"; } | sed 's/^/# /'
	return $rc
}

is() {
	if [ "$2" = "$3" ]; then
		tap_result 0 "$1"
	else
		tap_result 1 "$1"
		printf '%s\n' "got:" "$2" "want:" "$3" | sed 's/^/# /'
		return 1
	fi
}

skip_all() {
	printf '1..0 # SKIP %s\n' "$1"
	tap_n=-1
	exit 0
}

on_exit() { tap_exit=("$*" "${tap_exit[@]}"); }

tap_end() {
	local rc=$? c
	trap - EXIT INT TERM HUP
	for c in "${tap_exit[@]}"; do eval "$c"; done
	[ "$tap_n" -lt 0 ] && exit 0
	[ $rc = 0 ] || [ "$tap_failed" != 0 ] || tap_result 1 "ends without an error (status $rc)"
	printf '1..%d\n' "$tap_n"
	[ "$tap_failed" = 0 ]
	exit $?
}
trap tap_end EXIT
trap 'exit 130' INT TERM HUP
