#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Random traffic of 2 to 8 nodes in the simulator, more than 200,000 steps in all. A failed
# run prints the command that repeats it line by line.
. "${top_srcdir:?}/tests/tap.sh"
sim=${top_builddir:?}/tests/sim/sim

for nodes in 1 2 3 4 6 8; do
	ok "$nodes nodes: every invariant holds after every step" \
		timeout 500 "$sim" --nodes $nodes --seeds 1-3 --steps 15000
done
ok "a node dies now and then, the only other one goes on" \
	timeout 500 "$sim" --nodes 2 --kills --seeds 1-3 --steps 15000
for nodes in 3 5; do
	ok "$nodes nodes, of which one dies now and then: the others recover its locks" \
		timeout 500 "$sim" --nodes $nodes --kills --seeds 1-3 --steps 15000
done
ok "5 nodes, of which several die at once, at messages that matter" \
	timeout 500 "$sim" --nodes 5 --murder --seeds 1-3 --steps 15000
ok "links break and come back" \
	timeout 500 "$sim" --nodes 4 --cuts --seeds 1-3 --steps 15000
ok "one direction stalls, processes stand still, links break at chosen messages" \
	timeout 500 "$sim" --nodes 5 --chaos --cuts --seeds 1-3 --steps 15000
ok "nodes die at chosen messages, with a slow heartbeat" \
	timeout 500 "$sim" --nodes 4 --chaos --kills --seeds 1-3 --steps 15000
ok "any allocation may fail: a core says so and is as it was, or stops" \
	timeout 500 "$sim" --nodes 3 --fail-alloc each --steps 300
skipped() {
	local all few
	all=$("$sim" --nodes 3 --seed 5 --steps 3000) && few=$("$sim" --nodes 3 --seed 5 --steps 3000 --skip 0-100,120-100000) &&
		all=${all#*sections=} && few=${few#*sections=} && echo "$all sections, then $few" && [ "$few" -lt "$((all / 2))" ]
}
ok "decisions can be left out of a run" skipped
ok "two runs of a seed are the same, event for event" \
	timeout 500 "$sim" --nodes 5 --seeds 7-8 --steps 5000 --twice
ok "a usage error says so" bash -c "'$sim' --nodes 0; [ \$? = 2 ]"
