/*
 * What the log leaves out, and how it says so.
 *
 * A warning that says what another one has just said is counted, and told as a number when its time is over. The
 * same is the same message about the same client, or about any server connection of the same user to the same host;
 * lines that come or go with a connection are never the same. Those are bounded by a number a second instead. Errors,
 * and lines of level LOG that somebody has caused, all stay.
 *
 * Of fixed size: with more different warnings at a time than there are places, the oldest is told early; a text that
 * is too long for a place is never left out.
 */
#pragma once
#include <stdbool.h>

#include "base/log_line.h"

#define LOG_THIN_PLACES 32
#define LOG_THIN_TEXT_MAX 640

/* Takes the lines that tell what was left out. */
typedef void log_thin_say(const struct log_line *line, const char *message);

struct log_repeat {
	uint64_t since;              /* when the line was written; 0: the place is free */
	unsigned n;                  /* left out since then */
	struct log_line line;
	struct log_subject subject;
	const char *message;
	char texts[LOG_THIN_TEXT_MAX]; /* message, database, user */
};

struct log_thin {
	log_thin_say *say;
	uint64_t fold_us;            /* 0: no line is folded */
	unsigned limit;              /* of lines about connections, a second; 0: none */
	struct log_repeat repeats[LOG_THIN_PLACES];
	uint64_t second_at;          /* when the running second began */
	unsigned nwritten, nleft_out; /* in it */
};

/*
 * Whether a line is to be written; false: it has been counted. The first can be asked before the message is made, the
 * second behind it.
 */
bool log_thin_is_within(struct log_thin *t, const struct log_line *line, uint64_t now);
bool log_thin_is_new(struct log_thin *t, const struct log_line *line, const char *message, uint64_t now);

/* Tells what is due, or all there is. */
void log_thin_tell_due(struct log_thin *t, uint64_t now);
void log_thin_tell_all(struct log_thin *t);

/* When something is due next; 0: nothing has been left out. */
uint64_t log_thin_due_at(const struct log_thin *t);
