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
ok "two runs of a seed are the same, event for event" \
	timeout 500 "$sim" --nodes 5 --seeds 7-8 --steps 5000 --twice
ok "a usage error says so" bash -c "'$sim' --nodes 0; [ \$? = 2 ]"
