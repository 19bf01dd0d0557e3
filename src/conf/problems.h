/*
 * What was found wrong in the configuration: collected, so that one run shows
 * all of it.
 */
#pragma once
#include <stddef.h>

#include "base/str.h"

/* One line each, "file:line: key = value: what is wrong; what is accepted". */
struct conf_problems {
	struct strbuf errors;                 /* lines end in '\n' */
	struct strbuf warnings;
	struct strbuf notes;                  /* nothing is wrong, but not all is as one may think */
	size_t nerrors, nwarnings;
};
void conf_problems_init(struct conf_problems *p);
void conf_problems_fini(struct conf_problems *p);

/* Where something was written. line 0: the place is no line of a file, and only `file` is shown. */
struct conf_place {
	const char *file;
	int line;
};

/* One line with the place in front. Bytes that are not printable ASCII or UTF-8 come out as \xNN. */
void conf_error(struct conf_problems *p, struct conf_place at, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
void conf_warning(struct conf_problems *p, struct conf_place at, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
void conf_note(struct conf_problems *p, struct conf_place at, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* For "%.*s": a text of the user's cut to what an error line can bear. */
#define CONF_EXCERPT(slice) (int)((slice).n > 80 ? 80 : (slice).n), (slice).p
