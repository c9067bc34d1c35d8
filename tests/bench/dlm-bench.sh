#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The benchmark runs to its end and says each number. Which numbers: tests/bench/dlm-bench
# --check of an optimised build, on a machine that does nothing else.
. "${top_srcdir:?}/tests/tap.sh"
out=$(mktemp) && on_exit 'rm -f "$out"'

run() { timeout 120 "${top_builddir:?}/tests/bench/dlm-bench" --seconds 0.1 --resources 20000 >"$out"; }
ok "all of it runs" run
for what in 'local lock+unlock, 1000' 'local lock+unlock, many' 'memory of a resource' \
	'convert NL-PR-EX-NL, 1' 'convert NL-PR-EX-NL, many' 'simulated remote' 'raw TCP' \
	'remote lock, synchronous' 'remote unlock, synchronous' 'remote lock+unlock, pipelined'; do
	ok "it says: $what" grep -qF "$what" "$out"
done
