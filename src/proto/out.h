/*
 * Writing PostgreSQL messages into a strbuf.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

/* Starts a message; type 0 starts one without a type byte (startup packets). Returns a mark for out_end(). */
size_t out_begin(struct strbuf *b, char type);

/* Writes the length of the message begun at `mark`. */
void out_end(struct strbuf *b, size_t mark);

void out_u8(struct strbuf *b, uint8_t v);
void out_u16(struct strbuf *b, uint16_t v);
void out_u32(struct strbuf *b, uint32_t v);

/* With the terminating NUL. */
void out_string(struct strbuf *b, const char *s);
void out_slice_string(struct strbuf *b, struct slice s);

/* Whole messages. */
void out_simple(struct strbuf *b, char type);                            /* no body */
void out_query(struct strbuf *b, const char *sql);                      /* Q */
void out_ready_for_query(struct strbuf *b, char status);                /* Z */
void out_parameter_status(struct strbuf *b, struct slice name, struct slice value); /* S */
void out_backend_key_data(struct strbuf *b, const void *key, size_t n); /* K, pid and secret as n raw bytes */
void out_command_complete(struct strbuf *b, const char *tag);           /* C */
void out_auth(struct strbuf *b, uint32_t code);                         /* R */
void out_password(struct strbuf *b, struct slice password);             /* p, with a NUL behind the text */

/* E or N. detail and hint may be NULL. Written: S, V, C, M, D, H. */
struct out_error {
	const char *severity;    /* "FATAL", "ERROR", "NOTICE", ... */
	const char *sqlstate;
	const char *message;
	const char *detail, *hint;
};
void out_error_response(struct strbuf *b, char type, const struct out_error *e);

/* T: all columns are of table 0. */
struct out_column {
	const char *name;
	uint32_t type_oid;
	int16_t type_size;
	bool is_binary;
};
void out_row_description(struct strbuf *b, const struct out_column *columns, size_t n);

/* D, field by field: out_row_begin(), then one call a column, then out_end(). */
size_t out_row_begin(struct strbuf *b, size_t ncolumns);
void out_row_text(struct strbuf *b, struct slice value);
void out_row_null(struct strbuf *b);
