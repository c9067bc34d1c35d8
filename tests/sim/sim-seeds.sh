#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Many seeds (make check-sim). SEEDS=A-B, STEPS=n, NODES="n n" choose others.
. "${top_srcdir:?}/tests/tap.sh"
sim=${top_builddir:?}/tests/sim/sim

for nodes in ${NODES:-2 3 5 8 16}; do
	ok "$nodes nodes, seeds ${SEEDS:-100-199}, ${STEPS:-20000} steps each" \
		timeout 3600 "$sim" --nodes "$nodes" --seeds "${SEEDS:-100-199}" --steps "${STEPS:-20000}"
	ok "$nodes nodes, links break and come back" \
		timeout 3600 "$sim" --nodes "$nodes" --cuts --seeds "${SEEDS:-100-199}" \
		--steps "${STEPS:-20000}"
	ok "$nodes nodes die and come back" \
		timeout 3600 "$sim" --nodes "$nodes" --kills --seeds "${SEEDS:-100-199}" \
		--steps "${STEPS:-20000}"
	[ "$nodes" = 2 ] || ok "$nodes nodes die at the worst of moments" \
		timeout 3600 "$sim" --nodes "$nodes" --murder --seeds "${SEEDS:-100-199}" \
		--steps "${STEPS:-20000}"
done
ok "two nodes, one of them dies now and then" \
	timeout 3600 "$sim" --nodes 2 --kills --seeds "${SEEDS:-100-199}"
