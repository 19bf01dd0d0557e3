/*
 * Memory that runs out when a test says so. Its program is linked with failing_ldflags (Makefile.am), so that what
 * the pooler's own code allocates passes here; libraries allocate as ever.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);

/* Allocations until the one that fails; below 0: none does. */
static long left_to_failure = -1;

static inline bool is_failing(void)
{
	return left_to_failure >= 0 && left_to_failure-- == 0;
}

void *__wrap_malloc(size_t size)
{
	return is_failing() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return is_failing() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t size)
{
	return is_failing() ? NULL : __real_realloc(p, size);
}

/* From now on the allocation after the next n fails, and only that. */
static inline void fail_after(long n)
{
	left_to_failure = n;
}

/* No more. Whether one has failed. */
static inline bool has_failed(void)
{
	bool failed = left_to_failure < 0;

	left_to_failure = -1;
	return failed;
}
