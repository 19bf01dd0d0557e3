/*
 * What the console answers: messages without the ReadyForQuery that ends them.
 */
#pragma once
#include <stdbool.h>

#include "base/str.h"
#include "report/table.h"

/* An error after which the session goes on. detail may be NULL. */
void reply_error(struct strbuf *out, const char *sqlstate, const char *message, const char *detail);

/* detail may be NULL. */
void reply_notice(struct strbuf *out, const char *severity, const char *message, const char *detail);

/* Header, rows and the tag SHOW. False: out of memory, and an error has to follow. */
bool reply_table(struct strbuf *out, const struct report *r, const struct table *table);

/* The same for a single text. */
void reply_text(struct strbuf *out, const char *column, const char *text);
