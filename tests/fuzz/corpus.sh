#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Every file of the corpus, and its neighbours, through its fuzz entry.
cd "$(dirname "$0")" || exit 1
. ../tap.sh
for dir in corpus/*/; do
	name=$(basename "$dir")
	ok "fuzz-$name: the corpus passes" "${top_builddir:-../..}/tests/fuzz/fuzz-$name" "$dir"*
done
