/*
 * A descriptor that lines of the log are written to, and what it has not taken.
 *
 * A log that cannot be written stops nobody: the line is lost, at once and not when somebody reads a pipe again. That
 * lines are lost, and how many were when they are taken again, is worth a line of its own, which other sinks may take.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>

struct log_sink {
	const char *name;
	int fd;                  /* -1: none. The owner's, who closes it */
	int error;               /* why the last line was lost; 0: it was not */
	unsigned nlost;          /* since lines have been lost */
	bool may_wait;           /* for a reader: a pipe or a socket whose descriptor others have, too */
	bool is_cut;             /* the last line that has begun has no end */
};

enum log_sink_news {
	LOG_SINK_AS_BEFORE,
	LOG_SINK_FAILS,          /* this line is the first one lost */
	LOG_SINK_RECOVERS,       /* this line was taken, and `nlost` before it were not */
};

/* Finds out whether it may have to wait. For a descriptor that does not block by itself there is no need to. */
void log_sink_look(struct log_sink *s);

/* A whole line with its newline. One that is taken in part counts as lost, and the next one begins a line all the same. */
enum log_sink_news log_sink_put(struct log_sink *s, const char *line, size_t n);

/* For one that is written to in another way: what has become of a line, 0 or why it was lost. */
enum log_sink_news log_sink_note(struct log_sink *s, int error);
