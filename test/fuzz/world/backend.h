/*
 * A small PostgreSQL: one server connection that answers what it is asked,
 * by echoing the text of each query as its only row.
 *
 * Of SQL it knows the first word: BEGIN, COMMIT, ROLLBACK, PREPARE name AS,
 * EXECUTE name, DEALLOCATE, DISCARD; "fail" is an error, "copy in" and "copy
 * out" are COPY, "sleep" is answered when backend_wake() says so, "rows n"
 * has n rows. Whatever it says of a text it has from the messages of who
 * sends it: it carries nothing from one client to the next but prepared
 * statements, as a real one would.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

#define BACKEND_NAMES 32

/* A statement by its name, or a portal. */
struct backend_named {
	char name[64];
	char *text;                      /* NULL: there is none of this name */
	char *value;                     /* a portal's second parameter; NULL: it has less */
};

enum backend_state { BACKEND_STARTUP, BACKEND_PASSWORD, BACKEND_READY, BACKEND_GONE };

struct backend {
	int fd;                          /* -1: closed */
	enum backend_state state;
	uint32_t id;
	char status;                     /* of ReadyForQuery */
	char copying;                    /* 'G': in, until its end; 0 */
	bool is_simple;                  /* that COPY, or the query that sleeps, came by a Query */
	bool is_skipping;                /* up to a Sync */
	bool is_sleeping;
	bool asks_password;
	size_t pace;                     /* bytes it sends in a turn at most; 0: all that it can */
	bool has_moved;                  /* in its last turn it has read or written something */
	uint32_t cancels;                /* it was a CancelRequest: whom; 0 otherwise */
	struct strbuf in, out;           /* not looked at, and not taken by the socket yet */
	struct backend_named statements[BACKEND_NAMES], portals[BACKEND_NAMES];
};

/* Takes over an accepted socket. The id, not 0, is its process id in cancel keys. */
void backend_open(struct backend *b, int fd, uint32_t id);

/* Drops what it has to say and closes; also one that is closed already. */
void backend_close(struct backend *b);

/* Reads what has come and answers it. False: the other side has gone, and it is closed. */
bool backend_turn(struct backend *b);

/* A query that sleeps is answered, or fails because it is cancelled. */
void backend_wake(struct backend *b, bool is_cancelled);
