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

struct conn;

/* What reads fill; single thread: nobody else is using it. */
#define LOOP_SCRATCH_SIZE PACE_READ_MAX

struct loop {
	struct ev_loop *ev;
	struct bufpool *bufs;
	uint8_t *scratch;
	struct conn *graves;             /* closed connections, freed before the loop sleeps */
	struct deadline_list *deadlines; /* all lists, by what makes them the same; see net/deadline.h */
	struct pace pace;
	unsigned nhandshakes;            /* steps of TLS handshakes in this turn, those of whose turn it is included */
	unsigned max_handshakes;         /* 0: no bound; tls_handshakes_per_turn */
	uint32_t last_ticket, last_called; /* see loop_may_shake_hands() */
	ev_prepare before_sleep;
	ev_check after_sleep;
};

/* NULL when out of memory or without a backend. */
struct loop *loop_new(void);

/* Everything on it must have been closed. */
void loop_free(struct loop *loop);

void loop_run(struct loop *loop);
void loop_stop(struct loop *loop);

/*
 * Whether one more step of a TLS handshake fits into this turn; the loop comes
 * back for it otherwise. Whoever has to wait gets a ticket, 0 before, and goes
 * on in the order of the tickets: libev looks at the latest event first, and
 * in a storm those who came early would not be looked at before it ends.
 */
bool loop_may_shake_hands(struct loop *loop, uint32_t *ticket);

/* Frees what was closed in this turn at once; for the end of the program. */
void loop_bury(struct loop *loop);
