#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Does anything notice? Each deliberate fault of mutations.txt is put into a scratch copy of
# dlm/, one at a time; the unit tests of the core and short runs of the simulator must catch
# each. Prints which caught it. An optimised build is quickest. Takes minutes, so it is not
# part of make check.
#
#	mutation.sh [WORD]	only faults with this word in their name
#
# JOBS: how many faults at a time, 2.
top_srcdir=${top_srcdir:-$(cd "$(dirname "$0")/.." && pwd)}
. "$top_srcdir/tests/tap.sh"
work=$(mktemp -d) && on_exit 'rm -rf "$work"'
cc=${CC:-gcc}
cflags="-std=gnu11 -D_GNU_SOURCE -O1 -g -pthread -I$work -DSPECDIR=\"$top_srcdir/doc/spec\" \
-DTESTDATA=\"$top_srcdir/tests\""
units="ast convert unlock lvb master migrate handler simfound recovery recovery-deaths \
recovery-members join domain"

# ---- once: everything as objects --------------------------------------------------------

cp -r "$top_srcdir/dlm" "$work/dlm"
mkdir "$work/tests" "$work/obj"
cp -r "$top_srcdir"/tests/{unit,sim} "$work/tests/"
rm "$work/tests/sim/lcload.c" # of another program
pkg-config --exists criterion || skip_all "Criterion is not installed"
criterion=$(pkg-config --cflags --libs criterion)

compile_all() {
	local f
	for f in "$work"/dlm/*.c "$work"/dlm/util/*.c "$work"/tests/sim/*.c \
		"$work"/tests/unit/{dlm-bed,dlm-user,domain-kit}.c \
		$(printf "$work/tests/unit/test-%s.c " $units); do
		[ -e "$f" ] || continue
		echo "$f" "$work/obj/$(echo "${f#"$work/"}" | tr / _ | sed 's/\.c$/.o/')"
	done | xargs -P "${JOBS:-2}" -n 2 sh -c "$cc $cflags -c \"\$1\" -o \"\$2\"" sh
}

link() { # directory of objects that replace others, what
	local dir=$1 what=$2 o objs=()
	for o in "$work"/obj/dlm_*.o; do
		if [ -e "$dir/${o##*/}" ]; then objs+=("$dir/${o##*/}"); else objs+=("$o"); fi
	done
	case $what in
	sim) $cc -pthread -o "$dir/sim" "$work"/obj/tests_sim_*.o "${objs[@]}" \
		-Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc ;;
	*)
		local bed=("$work"/obj/tests_unit_dlm-bed.o)
		case $what in
		join | domain) bed+=("$work"/obj/tests_unit_domain-kit.o) ;;
		*) bed+=("$work"/obj/tests_unit_dlm-user.o) ;;
		esac
		$cc -pthread -o "$dir/$what" "$work/obj/tests_unit_test-$what.o" "${bed[@]}" "${objs[@]}" \
			$criterion ;;
	esac
}

sims=("--nodes 4 --seeds 1-6 --steps 15000" "--nodes 5 --cuts --seeds 1-8 --steps 15000"
	"--nodes 2 --kills --seeds 1-6 --steps 15000" "--nodes 8 --seeds 7-10 --steps 20000"
	"--nodes 3 --cuts --seeds 20-40 --steps 15000" "--nodes 5 --chaos --cuts --seeds 50-70 --steps 15000"
	"--nodes 5 --kills --seeds 50-60 --steps 15000" "--nodes 4 --chaos --kills --seeds 50-70 --steps 15000"
	"--nodes 5 --murder --seeds 50-60 --steps 15000")

# What catches this build of the core; nothing printed: nobody does. First the test named
# like the file, then the simulator, then the others.
who_catches() { # directory, file
	local dir=$1 own=$2 t s out rc
	for t in ${own/reco_*/recovery recovery-deaths recovery-members} sim $units; do
		if [ "$t" = sim ]; then
			link "$dir" sim || { echo "the linker"; return; }
			for s in "${sims[@]}"; do
				out=$(timeout 120 "$dir/sim" --no-shrink $s 2>&1)
				rc=$?
				[ $rc = 0 ] && continue
				[ $rc = 124 ] && echo "simulator, hangs: $s" && return
				echo "simulator: $(grep -m1 -oE 'FAILED.*|.*[Aa]ssertion.*' <<<"$out" | cut -c1-150)"
				return
			done
		elif [ -e "$work/obj/tests_unit_test-$t.o" ]; then
			[ -e "$dir/$t" ] && continue
			link "$dir" "$t" || { echo "the linker"; return; }
			out=$(timeout 120 "$dir/$t" --tap 2>&1)
			rc=$?
			[ $rc = 124 ] && echo "unit/test-$t hangs" && return
			[ $rc != 0 ] && echo "unit/test-$t: $(grep -m1 '^not ok' <<<"$out" | cut -c8-120)" && return
		fi
	done
}

# ---- one fault ------------------------------------------------------------------------------

one() { # number, name, file, from, to
	local dir=$work/m$1 f=$3 o
	mkdir -p "$dir/dlm"
	from=$4 to=$5 perl -0777 -pe '
		BEGIN { for (qw(from to)) { $ENV{$_} =~ s/\\n/\n/g; $ENV{$_} =~ s/\\t/\t/g } }
		$n = () = /\Q$ENV{from}\E/g; $n == 1 or die "there $n times\n";
		s/\Q$ENV{from}\E/$ENV{to}/' "$work/$f" >"$dir/mutant" 2>"$dir/err" ||
		{ echo "DOES NOT APPLY $(cat "$dir/err")"; return; }
	if [ "$f" = dlm/dlm_int.h ]; then
		cp -r "$work/dlm" "$dir/"
		cp "$dir/mutant" "$dir/$f"
		for o in "$dir"/dlm/*.c; do
			$cc $cflags -I"$dir" -iquote "$dir" -w -c "$o" -o "$dir/dlm_$(basename "$o" .c).o" \
				-I"$dir" ${cflags/-I$work/-I$dir} 2>"$dir/err" || { echo "DOES NOT COMPILE"; return; }
		done
	else
		mv "$dir/mutant" "$dir/mutant.c"
		o=$dir/dlm_$(basename "$f" .c).o
		$cc $cflags -w -c "$dir/mutant.c" -o "$o" 2>"$dir/err" || {
			echo "DOES NOT COMPILE $(head -n 3 "$dir/err")"
			return
		}
	fi
	who_catches "$dir" "$(basename "$f" .c)"
	rm -rf "$dir"
}

numbered() {
	awk -v word="$1" '/^#/ { next } /^$/ { n = 0; next } { line[n++] = $0 }
		n == 4 { if (index(line[0], word)) { at++; print at; for (i = 0; i < 4; i++) print line[i] } }' \
		"$top_srcdir/tests/mutations.txt"
}

ok "the faultless core and its tests build" compile_all || exit 1
mkdir "$work/m0"
clean=$(who_catches "$work/m0" none)
is "nothing is caught where nothing is wrong" "$clean" "" || exit 1

pids=() names=()
while read -r n && IFS= read -r name && IFS= read -r f && IFS= read -r from && IFS= read -r to; do
	names[n]=$name
	while [ "$(jobs -rp | wc -l)" -ge "${JOBS:-2}" ]; do wait -n; done
	one "$n" "$name" "$f" "$from" "$to" >"$work/result$n" 2>"$work/noise$n" &
done < <(numbered "$1")
wait
for n in "${!names[@]}"; do
	result=$(cat "$work/result$n")
	case $result in
	"") tap_result 1 "${names[n]}: NOBODY NOTICES" ;;
	DOES*) tap_result 1 "${names[n]}: $result" ;;
	*) tap_result 0 "${names[n]}: $result" ;;
	esac
done
