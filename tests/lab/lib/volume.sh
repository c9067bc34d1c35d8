# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# volume.sh: disk images, volumes on them, and cluster.conf.

# disk IMAGE MIB [CLUSTER [mkfs.ocfs2 options]]: a new image with a volume for
# the o2cb cluster, made without that cluster being up.
cmd_disk() {
	local image=${1:?} mib=${2:?} cluster=${3:-o2lab}
	shift $(($# >= 3 ? 3 : 2))
	# Without modprobe libo2cb of ocfs2-tools 1.8.7 goes on in the child whose
	# exec failed, and several mkfs then write the image at once.
	[ -x /sbin/modprobe ] || die "mkfs.ocfs2 needs /sbin/modprobe (package kmod)"
	rm -f "$image"
	fallocate -l "${mib}M" "$image" 2>/dev/null ||
		truncate -s "${mib}M" "$image" || die "cannot make $image"
	check_direct "$image"
	mkfs.ocfs2 -x -q -F -b 4K -C 4K -N 4 -J size=8M -L o2lab \
		--cluster-stack=o2cb --cluster-name="$cluster" "$@" "$image" \
		</dev/null >"$image.mkfs.log" 2>&1 ||
		{ cat "$image.mkfs.log" >&2; die "mkfs.ocfs2 failed"; }
	rm -f "$image.mkfs.log"
}

# Heartbeat blocks and journals must not be read and written in bigger units
# than the guests ask for: O_DIRECT in units of 512 bytes has to work here.
check_direct() {
	dd if="$1" of=/dev/null bs=512 count=1 iflag=direct 2>/dev/null ||
		die "no O_DIRECT in 512-byte units at $1: use another file system"
}

# conf [-g UUID] CLUSTER NAME:NUMBER:IP...: prints a cluster.conf.
cmd_conf() {
	local cluster node name num addr region=
	if [ "${1:-}" = -g ]; then
		region=${2:?}
		shift 2
	fi
	cluster=${1:?}
	shift
	[ $# -gt 0 ] || usage_error "conf [-g UUID] CLUSTER NAME:NUMBER:IP..."
	for node; do
		IFS=: read -r name num addr <<<"$node"
		[ -n "$addr" ] || usage_error "conf: $node is not NAME:NUMBER:IP"
		printf 'node:\n\tip_port = %s\n\tip_address = %s\n' \
			"${O2LAB_PORT:-7777}" "$addr"
		printf '\tnumber = %s\n\tname = %s\n\tcluster = %s\n\n' \
			"$num" "$name" "$cluster"
	done
	printf 'cluster:\n\tnode_count = %s\n\theartbeat_mode = %s\n' \
		$# "$([ -n "$region" ] && echo global || echo local)"
	printf '\tname = %s\n' "$cluster"
	[ -z "$region" ] ||
		printf '\nheartbeat:\n\tregion = %s\n\tcluster = %s\n' \
			"$region" "$cluster"
}
