#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Random changes of names through volsh, each with the result it must have, on the
# feature matrix; then the listing of every directory by us, by debugfs.ocfs2, and by
# the model agree, and fsck.ocfs2 finds nothing. SEED replays, STEPS sets the length.
cd "${top_builddir:-.}/tests" || exit 1
. "${top_srcdir:-..}/tests/tap.sh"
. "${top_srcdir:-..}/tests/volume/mkvol.sh"
PATH=$PATH:/usr/sbin:/sbin
tmp=$(mktemp -d ./name-mix.XXXXXX)
on_exit "rm -rf '$tmp'"

# Writes commands to $1, and what the directories hold at the end to $2 ("dir name").
model() {
	awk -v seed="${SEED:-7}" -v steps="${STEPS:-2500}" -v model="$2" '
	function rnd(n) { return int(rand() * n) }
	function name(k,  s, i) {
		if (k % 13 == 0) { s = ""; for (i = 0; i < 120; i++) s = s "n"; return s k }
		return "name-" k
	}
	function path() { return dirs[rnd(4)] "/" name(rnd(120)) }
	BEGIN {
		srand(seed)
		for (i = 0; i < 4; i++) { dirs[i] = "/d" i; print "mkdir " dirs[i] }
		for (s = 0; s < steps; s++) {
			p = path(); q = path(); op = rnd(10)
			if (op < 4) {
				kind = rnd(4)
				verb = "create " p
				if (kind == 0) verb = "mkdir " p
				if (kind == 1) verb = "symlink target/of/" s " " p
				if (p in type) { print "!EEXIST " verb; continue }
				print verb; type[p] = kind == 0 ? "d" : kind == 1 ? "l" : "f"
			} else if (op < 7) {
				if (!(p in type)) { print "!ENOENT rm " p; continue }
				print "rm " p; delete type[p]
			} else if (op < 8) {
				if (!(p in type)) { print "!ENOENT ln " p " " q; continue }
				if (type[p] == "d") { print "!EPERM ln " p " " q; continue }
				if (q in type) { print "!EEXIST ln " p " " q; continue }
				print "ln " p " " q; type[q] = type[p]
				# Two names of one file: a rename between them does nothing.
				if (!(p in same)) same[p] = ++groups
				same[q] = same[p]
			} else {
				if (!(p in type)) { print "!ENOENT mv " p " " q; continue }
				twins = (p in same) && (q in same) && (q in type) && same[p] == same[q]
				if (p == q || twins) { print "mv " p " " q; continue }
				if (q in type && type[p] == "d" && type[q] != "d") {
					print "!ENOTDIR mv " p " " q; continue
				}
				if (q in type && type[p] != "d" && type[q] == "d") {
					print "!EISDIR mv " p " " q; continue
				}
				print "mv " p " " q; type[q] = type[p]; delete type[p]
				delete same[q]
				if (p in same) { same[q] = same[p]; delete same[p] }
			}
			if (!(p in type)) delete same[p]
		}
		for (p in type) { split(p, part, "/"); print part[2], part[3] >model }
	}' >"$1"
}

matrix() {
	cat <<-'END'
	100M -b 4K -C 4K
	100M -b 4K -C 4K --fs-feature-level=max-features
	100M -b 4K -C 4K --fs-feature-level=max-compat
	100M -b 1K -C 4K
	100M -b 1K -C 4K --fs-feature-level=max-compat
	200M -b 4K -C 1M -J size=16M
	600M -b 4K -C 1M -J size=16M --fs-feature-level=max-compat
	200M -b 1K -C 1M -J size=16M
	100M -b 4K -C 4K --fs-features=noinline-data
	100M -b 4K -C 4K --fs-features=noindexed-dirs
	100M -b 512 -C 4K
	100M -b 2K -C 32K --fs-features=metaecc
	END
}

model "$tmp/commands" "$tmp/model"
sort -o "$tmp/model" "$tmp/model"
ok "the model holds names at the end" test -s "$tmp/model"
while read -r size features; do
	# shellcheck disable=SC2086
	ok "a volume is made: $features" mkvol "$tmp/v" $size -N 2 $features
	ok "every change has its result: $features" \
		sh -c "timeout 120 volume/volsh '$tmp/v' <'$tmp/commands' 2>&1"
	for d in d0 d1 d2 d3; do
		echo "ls /$d" | timeout 60 volume/volsh "$tmp/v" 2>/dev/null |
			awk -v d=$d '$2 != "." && $2 != ".." { print d, $2 }'
	done | sort >"$tmp/ours"
	is "listings agree with the model: $features" "$(diff "$tmp/ours" "$tmp/model")" ""
	for d in d0 d1 d2 d3; do
		debugfs.ocfs2 -R "ls /$d" "$tmp/v" 2>/dev/null |
			awk -v d=$d 'NF == 5 && $5 != "." && $5 != ".." { print d, $5 }'
	done | sort >"$tmp/theirs"
	is "debugfs.ocfs2 lists the same: $features" "$(diff "$tmp/theirs" "$tmp/model")" ""
	ok "fsck.ocfs2 finds nothing: $features" fsckvol "$tmp/v"
done < <(matrix)
