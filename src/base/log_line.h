/*
 * One line of the log, and the two ways to write it.
 *
 * Text is PgBouncer's format, which its tools read:
 *
 *   2026-03-01 10:00:07.142 UTC [812] LOG C-0x55d0: shop/ann@10.0.0.7:5121 closing because: ... (age=3s)
 *
 * JSON is one object a line, in valid UTF-8 whatever clients have sent. Its keys, in this order:
 *
 *   time, pid, level               always; the time in ISO 8601, with milliseconds and the zone's offset
 *   side, id, database, user,      of a line about a connection: "client" or "server", and the rest as
 *   addr, port                     SHOW CLIENTS and SHOW SERVERS have it
 *   reason, sqlstate, age, ...     what the line's fields say (see struct log_field); times by the key's end:
 *                                  _us microseconds, otherwise seconds
 *   message                        always, the same words as in text
 */
#pragma once
#include <stdint.h>

#include "base/addr.h"
#include "base/str.h"

enum log_level { LOG_LEVEL_FATAL, LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_LOG, LOG_LEVEL_DEBUG, LOG_LEVEL_NOISE };

enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };

enum log_side { LOG_SIDE_CLIENT, LOG_SIDE_SERVER };

/* The connection that a line is about. */
struct log_subject {
	enum log_side side;
	const void *object;          /* what text knows it by */
	uint64_t id;                 /* what JSON knows it by */
	const char *database, *user;
	struct addr peer;
};

/* What a line says besides its message, for a format that has keys: a text, or a number where that is NULL. */
struct log_field {
	const char *key;             /* NULL: behind the last one */
	const char *text;
	int64_t number;
};

/* What a line is, as far as leaving some out goes (base/log_thin.h). */
enum log_kind {
	LOG_ORDINARY,
	LOG_CONNECTION,              /* comes or goes with a connection */
};

struct log_line {
	enum log_level level;
	enum log_kind kind;
	const struct log_subject *subject; /* NULL: the process itself */
	const struct log_field *fields;    /* NULL: none */
};

/* Text's beginning, up to the level, and the rest. Control characters become \xNN. What does not fit is cut. */
void log_line_head(const struct log_line *line, int64_t wall_us, struct strbuf *out);
void log_line_body(const struct log_line *line, const char *message, struct strbuf *out);

/* The message takes up to six bytes for each of its own; names and fields are cut to LOG_LINE_TEXT_MAX bytes. */
#define LOG_LINE_TEXT_MAX 256
void log_line_json(const struct log_line *line, int64_t wall_us, const char *message, struct strbuf *out);
