/*
 * The messages that name prepared statements (PostgreSQL manual, 55.7: Parse,
 * Bind, Describe, Close), read, and written with another name of the
 * statement. And errors that speak of it.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"
#include "proto/msg.h"

/* The names at the head of a message's body. */
struct prepare_head {
	char kind;               /* of Describe and Close: 'S' a statement, 'P' a portal, or whatever else it says */
	struct slice portal;     /* of a Bind, of a Describe or Close of anything but a statement */
	struct slice statement;  /* of a Parse, of a Bind, of a Describe or Close of a statement */
	uint32_t size;           /* of the body, up to the last name's NUL: what follows passes as it is */
};

/*
 * Reads the head of a P, B, D or C. PEEK_SHORT: not all of the names are here
 * (m->have < m->len). PEEK_BAD: they have no end inside the message. *h counts
 * with PEEK_OK only; its slices are parts of m's body, names that the message
 * does not have are empty.
 */
enum peek prepare_read(const struct msg *m, struct prepare_head *h);

/* Whether a Parse is seen to name no statement, or a Bind to bind the unnamed statement to the unnamed portal. */
static inline bool prepare_is_unnamed(const struct msg *m)
{
	if (m->type == 'P')
		return m->have >= 1 && m->body[0] == '\0';
	return m->type == 'B' && m->have >= 2 && m->body[0] == '\0' && m->body[1] == '\0';
}

/* The rest of a whole Parse, from the query on, is a query, a count of types and as many types, and nothing else. */
bool prepare_is_valid_parse(struct slice rest);

/*
 * Writes header and head of a message that names a statement, with another
 * name for it; m->len - h->size bytes of m's body are to follow.
 */
void prepare_out_head(struct strbuf *b, const struct msg *m, const struct prepare_head *h, struct slice statement);

/* Writes header and name of a Parse; `rest` bytes (query, count, types) are to follow. */
void prepare_out_parse_head(struct strbuf *b, struct slice statement, size_t rest);

/* Whole messages. */
void prepare_out_bind(struct strbuf *b, struct slice portal, struct slice statement);      /* no parameters */
void prepare_out_execute(struct strbuf *b, struct slice portal);                           /* all rows */
void prepare_out_close(struct strbuf *b, char kind, struct slice name);
void prepare_out_describe(struct strbuf *b, char kind, struct slice name);

/*
 * Another form of an ErrorResponse that speaks of a statement by a name that
 * the client does not know: in its text fields (M, D, H, W), `from` becomes
 * `to` wherever it stands as a whole word (no letter, digit or underscore on
 * either side; bytes above ASCII are none of these). And its position (P), counted in characters from 1, if it lies
 * behind character `at`, moves by `shift` (not below 1); 0 leaves it.
 * False, and nothing is written: there was nothing to change, or the message
 * is not whole or not sound. All else stays as it is, and where it is.
 */
struct prepare_error {
	struct slice from, to;
	uint32_t at;
	int32_t shift;
};
bool prepare_out_error(struct strbuf *b, const struct msg *m, const struct prepare_error *change);
