/*
 * As much of SQL as it takes to see that a text is one PREPARE, EXECUTE or
 * DEALLOCATE statement, or DISCARD ALL, and which name it has (PostgreSQL
 * manual, 4.1 Lexical Structure, and the pages of these commands). A lexer for
 * the first words; the rest is only gone through for where it ends: quotes,
 * dollar quotes, comments (nested) and semicolons.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

enum sql_verb {
	SQL_OTHER,             /* anything else, more than one statement, or one that we are not sure of */
	SQL_PREPARE,           /* PREPARE name [(types)] AS statement; not PREPARE TRANSACTION */
	SQL_EXECUTE,           /* EXECUTE name [(parameters)] */
	SQL_DEALLOCATE,        /* DEALLOCATE [PREPARE] name */
	SQL_DEALLOCATE_ALL,    /* DEALLOCATE [PREPARE] ALL; ALL in double quotes is a name */
	SQL_DISCARD_ALL,
};

/* Identifiers are cut to 63 bytes, not in the middle of a UTF-8 character. */
#define SQL_NAME_MAX 63

/* With SQL_OTHER all is 0, with the ALL statements the name is. */
struct sql {
	enum sql_verb verb;
	char name[SQL_NAME_MAX + 1];   /* as PostgreSQL knows it: without quotes (U&"..." is SQL_OTHER), ASCII folded */
	uint8_t name_len;
	size_t name_at, name_end;      /* where it stands in the text, quotes and all; a word may touch the quotes */
	size_t end;                    /* behind the last word: without semicolon, blanks and comments at the end */
};

/* For sql_is_candidate(). */
bool sql_may_begin_so(const char *p, size_t n);

/*
 * Whether a text, of which the first n bytes are here, may be one of these
 * statements: a look at its first word, for the hot path. False is certain.
 */
static inline bool sql_is_candidate(const char *p, size_t n)
{
	/* The letter that most texts begin with is none of theirs: P, E, D. */
	unsigned letter = n == 0 ? UINT32_MAX : ((unsigned)(unsigned char)*p | 0x20) - 'a';
	const uint32_t theirs = UINT32_C(1) << ('p' - 'a') | UINT32_C(1) << ('e' - 'a') | UINT32_C(1) << ('d' - 'a');

	return (letter > 'z' - 'a' || (theirs >> letter & 1) != 0) && sql_may_begin_so(p, n);
}

/*
 * Reads a whole text. With standard_conforming_strings off, a backslash in
 * '...' escapes; where that would matter the text is SQL_OTHER. So are texts
 * with a NUL byte, and those whose name would have to be in quotes, in whatever
 * version of PostgreSQL. Whether the server takes what stands behind the name
 * is for it to say.
 */
void sql_read(struct slice text, struct sql *sql);
