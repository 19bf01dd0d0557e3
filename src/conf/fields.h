/*
 * The format that pg_hba.conf and pg_ident.conf share: lines of fields with
 * blanks between them, each field one token or several with commas between.
 *
 * A # begins a comment; a backslash at the end of a line joins the next one to
 * it. "Quotes" around a token or a part of it protect blanks, commas and #, and
 * "" in them is one quote. What cannot be read becomes an error with its place.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/str.h"
#include "conf/problems.h"

/* A file being read, and the line that it stands at. */
struct fields {
	struct conf_place at;            /* of several lines joined, the first */
	struct slice line;               /* what has not been taken of it */
	struct arena *arena;             /* for tokens */
	struct conf_problems *problems;
	/* The rest is private to fields.c. */
	struct slice text;
	int nlines;
};

struct fields_token {
	struct slice text;               /* without its quotes; ends in NUL */
	bool is_quoted;                  /* begins with a quote: no keyword */
	bool has_more;                   /* a comma follows: the next token belongs to the same field */
};

enum fields_step { FIELDS_TOKEN, FIELDS_END, FIELDS_BAD };

/* Reads a file into the arena. On failure false, and *error says why. `file` must outlive *f. */
bool fields_open(struct fields *f, const char *file, struct arena *arena, struct conf_problems *problems,
		 const char **error);

/* Of a file just opened: a number that tells its text, read behind others, from another. `before`: theirs; or 0. */
uint64_t fields_digest(const struct fields *f, uint64_t before);

/* Goes to the next line that is neither empty nor a comment; false at the end of the file. */
bool fields_next_line(struct fields *f);

/* Cuts the next token off the line. END: there is none; BAD: the error has been reported. */
enum fields_step fields_take(struct fields *f, struct fields_token *token);

/* As fields_take(), for a field that is one token and must be there. False when the error has been reported. */
bool fields_take_one(struct fields *f, const char *field, struct fields_token *token);

/* What an error may show of a token that is not understood: it may be an option, out of place, with a password. */
struct slice fields_excerpt(struct slice token);
