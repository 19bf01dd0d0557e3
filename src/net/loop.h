/*
 * The event loop: libev, the process-wide read buffer, the lent buffers, and
 * the work done once a turn before the loop sleeps.
 */
#pragma once
#include <ev.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/buf.h"
#include "net/pace.h"

struct bio_st;
struct conn;

/* What reads fill; single thread: nobody else is using it. */
#define LOOP_SCRATCH_SIZE PACE_READ_MAX

struct loop {
	struct ev_loop *ev;
	struct bufpool *bufs;
	uint8_t *scratch;
	struct bio_st *tls_socket;       /* OpenSSL's BIO: see net/tls_socket.h */
	struct conn *graves;             /* closed connections, freed before the loop sleeps */
	struct deadline_list *deadlines; /* all lists, by what makes them the same; see net/deadline.h */
	struct pace pace;
	unsigned turn;                   /* which one is under way, or was the last: libev's count */
	unsigned nhandshakes;            /* steps of TLS handshakes in this turn, those of who was called included */
	unsigned max_handshakes;         /* 0: no bound; tls_handshakes_per_turn */
	struct conn *line, **line_end;   /* see loop_may_shake_hands() */
	ev_idle has_line;
};

/* NULL when out of memory or without a backend. */
struct loop *loop_new(void);

/* Everything on it must have been closed. */
void loop_free(struct loop *loop);

void loop_run(struct loop *loop);
void loop_stop(struct loop *loop);

/*
 * Whether one more step of a TLS handshake fits into this turn. Whoever has to
 * wait stands in line, with nothing kept, and is called by an event: libev
 * looks at the latest event first, and in a storm those who came early would
 * not be looked at before it ends. Nor is its socket to be watched meanwhile:
 * the kernel would look at all who wait in each turn.
 */
bool loop_may_shake_hands(struct loop *loop, struct conn *c);

/* One that is in line waits no more. */
void loop_leave_line(struct loop *loop, struct conn *c);

/* Frees what was closed in this turn at once; for the end of the program. */
void loop_bury(struct loop *loop);
