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

struct bio_st;
struct conn;

/* One read() fills at most this much; single thread: nobody else is using it. */
#define LOOP_SCRATCH_SIZE ((size_t)64 * 1024)

struct loop {
	struct ev_loop *ev;
	struct bufpool *bufs;
	uint8_t *scratch;
	struct bio_st *tls_socket;       /* OpenSSL's BIO: see net/tls_socket.h */
	struct conn *graves;             /* closed connections, freed before the loop sleeps */
	struct deadline_list *deadlines; /* all lists, by what makes them the same; see net/deadline.h */
	unsigned nstreaming, nother;     /* reads of this turn: see loop_note_read() */
	bool is_collecting;
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
 * A stream of data comes in the pieces in which its sender writes, 8 KiB from
 * PostgreSQL, and a fast reader would wake up for each. When a turn has
 * brought nothing but such pieces, the next one is put off by a moment, so
 * that more of them move at once, at a fraction of the system calls. Any
 * other read in a turn ends that: queries never wait for streams.
 */
static inline void loop_note_read(struct loop *loop, bool is_streaming)
{
	if (is_streaming)
		loop->nstreaming++;
	else
		loop->nother++;
}

/*
 * Whether one more step of a TLS handshake fits into this turn; the loop comes
 * back for it otherwise. Whoever has to wait gets a ticket, 0 before, and goes
 * on in the order of the tickets: libev looks at the latest event first, and
 * in a storm those who came early would not be looked at before it ends.
 */
bool loop_may_shake_hands(struct loop *loop, uint32_t *ticket);

/* Frees what was closed in this turn at once; for the end of the program. */
void loop_bury(struct loop *loop);
