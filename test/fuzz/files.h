/*
 * Inputs as files in memory, for code that reads files.
 *
 * While a program has this linked in, no other file opens for the code under
 * test: an input that includes /dev/stdin is to be read to its end, too.
 */
#pragma once
#include <stddef.h>

#define FILES_MAX 4

/* A file with these bytes in place of the former one of that number; returns its name. */
const char *files_put(unsigned number, const void *p, size_t n);
