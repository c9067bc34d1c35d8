#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Many seeds (make check-sim): more than 10,000,000 events over 900 seeds, two at a time.
#	SEEDS	runs of each kind, 60
#	FIRST	the first seed, 1000; another, other runs
#	STEPS	of each run, 12000
#	JOBS	kinds at a time, 2
# A failed run prints the command that repeats it, and a smaller one.
. "${top_srcdir:?}/tests/tap.sh"
sim=${top_builddir:?}/tests/sim/sim
out=$(mktemp -d) && on_exit 'rm -rf "$out"'

kinds=("--nodes 2" "--nodes 2 --kills" "--nodes 3 --cuts" "--nodes 3 --kills --chaos"
	"--nodes 3 --murder" "--nodes 5 --chaos" "--nodes 5 --cuts --chaos" "--nodes 5 --kills --chaos"
	"--nodes 5 --murder" "--nodes 8 --chaos --no-leave" "--nodes 8 --cuts --chaos" "--nodes 8 --murder"
	"--nodes 16 --cuts --chaos" "--nodes 16 --kills --chaos"
	"--nodes 64 --chaos --users 1")
first=${FIRST:-1000} each=${SEEDS:-60}

for i in "${!kinds[@]}"; do
	while [ "$(jobs -rp | wc -l)" -ge "${JOBS:-2}" ]; do wait -n; done
	from=$((first + i * each))
	{
		timeout 3600 "$sim" ${kinds[i]} --seeds $from-$((from + each - 1)) \
			--steps "${STEPS:-12000}" --time
		echo $? >"$out/rc$i"
	} >"$out/$i" 2>&1 </dev/null &
done
wait
for i in "${!kinds[@]}"; do
	ok "$each seeds of ${kinds[i]}" bash -c "cat '$out/$i'; exit $(cat "$out/rc$i")"
done
for nodes in 2 3 5; do
	ok "$each seeds of $nodes nodes with the lock cache" timeout 3600 "${top_builddir:?}/tests/sim/lcsim" \
		--nodes $nodes --users 4 --resources 3 --seeds $first-$((first + each - 1)) --steps 6000 --no-shrink
done
sum=$(sed -n 's/.* steps=\([0-9]*\).*/\1/p' "$out"/* | awk "{ s += \$1 } END { print s }")
echo "# $sum events over $((${#kinds[@]} * each)) seeds"
