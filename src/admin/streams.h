/*
 * Tables that are being told to clients of the console. In a turn of the loop
 * no more than some hundred rows are made, however many clients ask for
 * however many, and none for one that has not read what it got before.
 */
#pragma once
#include <bsd/sys/queue.h>
#include <ev.h>
#include <stdbool.h>

#include "admin/telling.h"
#include "session/client.h"

enum stream_end {
	STREAM_ALL,                      /* the table has been told */
	STREAM_LIMIT,                    /* as many rows as were asked for */
	STREAM_CANCELLED,
	STREAM_OUT_OF_MEMORY,
};

struct stream {
	TAILQ_ENTRY(stream) link;
	struct client *client;
	struct telling *telling;         /* NULL: none under way */
	uint32_t left;                   /* rows that may follow */
	bool is_stalled;                 /* not in the list: the client has to read first */
	bool is_cancelled;
};

struct streams {
	struct hub *hub;
	const struct report *report;
	/* Appends what ends the reply. The stream is none by then. */
	void (*on_end)(struct stream *s, enum stream_end how, struct strbuf *out);
	TAILQ_HEAD(, stream) list;       /* whose turn it is */
	ev_timer turn;
	unsigned turn_number;            /* the loop's, that the budget is of */
	unsigned budget;                 /* sessions that may still be looked at in it */
};

void streams_init(struct streams *ss, struct hub *hub, const struct report *report,
		  void (*on_end)(struct stream *s, enum stream_end how, struct strbuf *out));

/* At the end of the program; all zero is allowed. */
void streams_fini(struct streams *ss);

/*
 * Tells `most` rows at most (0: all) to the client, those for which this turn
 * has room at once, into *out. What follows is written to the connection, and
 * this resumed at the end.
 */
void streams_begin(struct streams *ss, struct stream *s, struct telling *telling, uint32_t most, struct strbuf *out);

static inline bool stream_is_under_way(const struct stream *s)
{
	return s->telling != NULL;
}

/* The client has read what it got; it has asked for the stream's end; it has gone. */
void streams_drained(struct streams *ss, struct stream *s);
void streams_cancel(struct stream *s);
void streams_forget(struct streams *ss, struct stream *s);
