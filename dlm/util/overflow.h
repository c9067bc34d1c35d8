/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * overflow.h: arithmetic on numbers that came from outside.
 *
 * Each returns true when the result did not fit; *out is then unspecified.
 */
#ifndef O2FUSE_UTIL_OVERFLOW_H
#define O2FUSE_UTIL_OVERFLOW_H

#define add_overflows(a, b, out) __builtin_add_overflow(a, b, out)
#define sub_overflows(a, b, out) __builtin_sub_overflow(a, b, out)
#define mul_overflows(a, b, out) __builtin_mul_overflow(a, b, out)

#endif
