/*
 * What each target defines: one input, taken apart by the code under test.
 * libFuzzer calls it millions of times, replay.c once for each file of the
 * corpus. It leaves nothing behind, and what must hold it asserts by must().
 */
#pragma once
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/str.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Not assert(): it holds in every build. The last error of a system call may be what it was about. */
#define must(condition)                                                                                      \
	do {                                                                                                 \
		if (!(condition)) {                                                                          \
			fprintf(stderr, "%s:%d: not so: %s (errno: %s)\n", __FILE__, __LINE__, #condition, \
				strerror(errno));                                                            \
			abort();                                                                             \
		}                                                                                            \
	} while (0)

/* Nobody reads the log of a fuzzer. */
static inline void fuzz_quietly(void)
{
	static bool is_quiet;
	const char *error;

	if (!is_quiet)
		is_quiet = log_configure(&(struct log_options){.quiet = true, .verbose = 2}, &error);
}
