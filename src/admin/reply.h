/*
 * What the console answers: messages without the ReadyForQuery that ends them.
 */
#pragma once
#include <stdbool.h>

#include "base/str.h"
#include "session/client.h"

#define SYNTAX_ERROR "42601"
#define FEATURE_NOT_SUPPORTED "0A000"
#define INSUFFICIENT_PRIVILEGE "42501"
#define INVALID_PARAMETER_VALUE "22023"
#define CONFIG_FILE_ERROR "F0000"
#define OUT_OF_MEMORY "53200"
#define PROGRAM_LIMIT_EXCEEDED "54000"
#define PROTOCOL_VIOLATION "08P01"
#define INVALID_CATALOG_NAME "3D000"
#define NOT_IN_PREREQUISITE_STATE "55000"
#define QUERY_CANCELED "57014"
#define NO_SUCH_STATEMENT "26000"
#define UNDEFINED_OBJECT "42704"
#define STATEMENT_EXISTS "42P05"
#define NO_SUCH_PORTAL "34000"
#define PORTAL_EXISTS "42P03"

/* An error after which the session goes on. detail may be NULL. */
void reply_error(struct strbuf *out, const char *sqlstate, const char *message, const char *detail);

/* The same as the settings have it: with which SQLSTATE, and whether it is logged. detail and hint may be NULL. */
void reply_failure(const struct client *c, struct strbuf *out, const char *sqlstate, const char *message,
		   const char *detail, const char *hint);

/* detail may be NULL. */
void reply_notice(struct strbuf *out, const char *severity, const char *message, const char *detail);

/* Whether there is an error among the messages from this place on. */
bool reply_has_error(const struct strbuf *out, size_t from);
