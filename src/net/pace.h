/*
 * How large reads are and how far turns of the loop are apart, while nothing
 * moves but streams of data.
 *
 * A stream comes in the pieces in which its sender writes, 8 KiB from
 * PostgreSQL, and a fast reader would wake up for each; to sleep and wake up
 * costs more than to move 64 KiB. When a turn has brought nothing but small
 * pieces of streams, the next one is put off, so that more of them move at
 * once, up to what the sender can have on its way. And reads are larger, for
 * with them go fewer system calls and acknowledgements. Any other read in a
 * turn ends both: of what is no stream, only the first to come may have
 * waited, and for no longer than PACE_INTERVAL_MAX. What clients stream is not
 * waited for: it comes as fast as it is taken, and TLS in records.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>

/* What one read brings at most: of queries, and of one stream that has a turn to itself. */
#define PACE_READ_SIZE ((size_t)64 * 1024)
#define PACE_READ_MAX ((size_t)256 * 1024)

/* So much further apart, in microseconds, turns go in one step, and so far at most. */
#define PACE_INTERVAL_STEP 100
#define PACE_INTERVAL_MAX 400

struct pace {
	unsigned nstreams, nother; /* reads of this turn, of streams and all others */
	unsigned nflowing;         /* of those of streams, such as do not come in pieces that are worth waiting for */
	size_t streamed;           /* bytes that those of streams have brought */
	size_t read_size;          /* no read of this turn brings more */
	unsigned interval;         /* so long after this turn's beginning the next begins, in microseconds; 0: at once */
};

void pace_init(struct pace *p);

/* A read has brought n bytes of a stream, or something else. */
static inline void pace_note_stream(struct pace *p, size_t n, bool comes_in_pieces)
{
	p->nstreams++;
	p->nflowing += !comes_in_pieces;
	p->streamed += n;
}

static inline void pace_note_other(struct pace *p)
{
	p->nother++;
}

/* A turn is over: what holds for the next one. */
void pace_next_turn(struct pace *p);
