/*
 * A whole file of text in memory.
 */
#pragma once
#include <stdbool.h>

#include "base/arena.h"
#include "base/str.h"

/* Reads all of a file, a pipe too, into the arena. On failure false, and *error says why. */
bool textfile_read(const char *file, struct arena *arena, struct slice *text, const char **error);

/* Cuts the next line off *text, without its end (LF or CR LF). False when nothing is left. */
bool textfile_line(struct slice *text, struct slice *line);
