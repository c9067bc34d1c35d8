#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The production lock cache on the production DLM cores in the simulator: users of 2 to 5
# nodes add to blocks under EX and read them under PR. More seeds in sim-seeds.sh. A failed run
# prints the options that repeat it.
. "${top_srcdir:?}/tests/tap.sh"
sim=${top_builddir:?}/tests/sim/lcsim

for nodes in 2 3 5; do
	ok "$nodes nodes: no lost update, no stale read, all locks drop" \
		timeout 500 "$sim" --nodes $nodes --seeds 1-2 --steps 10000 --no-shrink
done
ok "two runs of a seed are the same, event for event" \
	timeout 500 "$sim" --nodes 3 --seeds 7-8 --steps 4000 --twice --no-shrink
