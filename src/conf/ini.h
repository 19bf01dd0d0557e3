/*
 * Reading ini files: sections, keys, values, %include.
 *
 * A line is blank, a comment (its first character is ; or #), a [section], a
 * %include FILE, or `key = value`. A key is made of letters, digits and _.*-,
 * or it is "quoted", with "" for a quote. A value is the rest of its line
 * without the blanks around it, whatever it contains and however long it is.
 */
#pragma once
#include <stdbool.h>

#include "base/arena.h"
#include "base/str.h"
#include "conf/problems.h"

/* One entry, or the head of a section. Texts live in the arena and end in NUL. */
struct ini_entry {
	struct conf_place at;
	const char *section;         /* NULL before the first one */
	const char *key;             /* NULL for the head of a section */
	struct slice value;
	struct ini_entry *next;
};

/*
 * All entries of a file and of what it includes, in their order, in the arena;
 * NULL when there is none. What cannot be read goes to `problems`; the rest is
 * returned all the same, so that its errors can be found as well. A file name
 * in %include is taken relative to the working directory.
 */
struct ini_entry *ini_read(const char *file, struct arena *arena, struct conf_problems *problems);
