/*
 * The connection to a console, and the readings taken over it.
 *
 * Nothing here waits, but for host names, which libpq looks up by itself, and
 * top_source_read(). The caller polls top_source_fd() and calls
 * top_source_turn(); one reading is under way at a time. A connection that is
 * lost is made anew by the next top_source_begin().
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "top/top_reading.h"
#include "top/top_target.h"

enum top_link { TOP_DOWN, TOP_CONNECTING, TOP_IDLE, TOP_ASKING };

enum top_event {
	TOP_NOTHING,
	TOP_READ,              /* the reading is complete */
	TOP_LOST,              /* `why` says it; there is no connection now */
};

enum top_known { TOP_UNKNOWN, TOP_THERE, TOP_MISSING };

struct top_source {
	const struct top_target *target;
	PGconn *pq;
	enum top_link link;
	enum top_known known[TOP_NQUESTIONS];  /* of this connection's peer */
	enum top_question asking;
	enum top_question view;                /* of the questions for views the one that is asked */
	bool is_sending;                       /* libpq could not write all */
	uint64_t since_us;                     /* of the last step forward */
	struct top_reading reading;
	bool needs_password;
	char why[256];                         /* why it was lost, safe to be shown */
};

void top_source_init(struct top_source *s, const struct top_target *target);
void top_source_fini(struct top_source *s);

/*
 * Begins a reading, with the answer to `view` in it; connects when there is no
 * connection. Does nothing while one is under way.
 */
enum top_event top_source_begin(struct top_source *s, enum top_question view);

/* What to wait for; -1: nothing. The events are those of poll(). */
int top_source_fd(const struct top_source *s, short *events);

/* Goes on as far as it can; is_ready: poll() has found the descriptor so. Call it at least once a second, too. */
enum top_event top_source_turn(struct top_source *s, bool is_ready);

/* The complete reading, the caller's from now on. */
struct top_reading top_source_take(struct top_source *s);

/* Begins a reading and waits for it: true, or false with `why`. */
bool top_source_read(struct top_source *s, enum top_question view);

/* Whether the peer, the last one if there is none now, answers this question. */
bool top_source_has(const struct top_source *s, enum top_question q);

/* The database that is the console. */
const char *top_source_console(const struct top_source *s);
