/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * mode.h: lock modes and their compatibility (doc/spec/dlm.md 2.1).
 *
 * The numbers are the wire's. NL is compatible with everything, PR with NL and
 * PR, EX with NL only.
 */
#ifndef O2FUSE_DLM_MODE_H
#define O2FUSE_DLM_MODE_H

#include <stdbool.h>

enum dlm_mode {
	DLM_MODE_NONE = -1, /* "IV": no lock, or no conversion wanted */
	DLM_MODE_NL = 0,
	DLM_MODE_PR = 3,
	DLM_MODE_EX = 5,
};

static inline bool dlm_mode_valid(int mode)
{
	return mode == DLM_MODE_NL || mode == DLM_MODE_PR || mode == DLM_MODE_EX;
}

static inline bool dlm_mode_compatible(int a, int b)
{
	if (a == DLM_MODE_NONE || b == DLM_MODE_NONE || a == DLM_MODE_NL || b == DLM_MODE_NL)
		return true;
	return a == DLM_MODE_PR && b == DLM_MODE_PR;
}

static inline const char *dlm_mode_name(int mode)
{
	switch (mode) {
	case DLM_MODE_NL:
		return "NL";
	case DLM_MODE_PR:
		return "PR";
	case DLM_MODE_EX:
		return "EX";
	default:
		return "IV";
	}
}

#endif
