#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The harness runs files that end in .sh.
exec "${top_srcdir:-.}/tests/crash/run"
