/*
 * What may be written to a terminal, and how wide it is there.
 *
 * Names come from clients: one that holds a control character, a character
 * that turns the direction of writing, or bytes that are none of the locale's
 * characters would say something else than it is. Each such byte is written
 * as \xNN. The locale's LC_CTYPE holds.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"

/* As one field: blanks are escaped too, and "-" stands for the empty text. */
void top_text_put_field(struct strbuf *out, const char *text);

void top_text_put(struct strbuf *out, const char *text);

/* Columns that a text made by the above takes. */
int top_text_width(const char *text);

/* How many bytes of it fit into so many columns. */
size_t top_text_fit(const char *text, int columns);

/* A number as people read it: 1234 as it is, 1.23M; of bytes 1.2K; of microseconds 12ms, 3m05s. */
void top_text_put_count(struct strbuf *out, double value);
void top_text_put_rate(struct strbuf *out, double value);
void top_text_put_bytes(struct strbuf *out, double value);
void top_text_put_time(struct strbuf *out, double us);
