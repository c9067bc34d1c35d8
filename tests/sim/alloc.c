/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * alloc.c: the n-th allocation of a core fails.
 *
 * The program is linked with --wrap, so that malloc, calloc and realloc of the production
 * objects come in here, and only theirs: the simulator itself uses sim_calloc and
 * sim_realloc. A core without memory either says so and is as it was, or stops its volume
 * (fence) and its process (dlm_int.h, dlm_xalloc): main.c takes both for well, and nothing
 * else. The counter is the one thing here that is not of a world: the C library has no
 * place for it.
 */
#include "tests/sim/world.h"

#include <stdlib.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);

static uint64_t left;
static bool reached;

void alloc_fail_at(uint64_t number)
{
	left = number;
	reached = false;
}

bool alloc_failed(void)
{
	return reached;
}

static bool fails(void)
{
	if (!left || --left)
		return false;
	reached = true;
	return true;
}

void *__wrap_malloc(size_t size)
{
	return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t size)
{
	return fails() ? NULL : __real_realloc(p, size);
}

void *sim_calloc(size_t n, size_t size)
{
	return __real_calloc(n, size);
}

void *sim_realloc(void *p, size_t size)
{
	return __real_realloc(p, size);
}
