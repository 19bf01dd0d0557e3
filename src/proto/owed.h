/*
 * What a server still owes: the replies to everything that was sent to it, in
 * order (PostgreSQL manual, 55.2 Message Flow).
 *
 * A connection may be handed to another client only when nothing is owed. A
 * simple count of ReadyForQuery would be wrong: an error in the extended
 * protocol skips everything up to the next Sync, and Syncs that reach a server
 * in COPY mode are never answered. Whether they did cannot always be told: when
 * an error ends the COPY, they may have come behind it. Then a ReadyForQuery
 * may be one too many, and nothing is clear until the answer to a later message
 * shows that all of them have come.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct owed {
	uint8_t *ring;           /* room, or heap memory when more is under way */
	uint32_t head, n, cap;
	uint64_t first;          /* how many have left the ring: the index of the one at its head among all there were */
	bool is_unsynced;        /* extended messages were sent with no Sync behind them */
	bool is_skipping;        /* an error: the server ignores everything up to a Sync not sent yet */
	bool is_copying_in;      /* the server ignores Sync until the client ends its COPY data */
	bool has_void_syncs;     /* Syncs were sent that the COPY under way makes void */
	bool is_unsure;          /* it failed: they may have been answered after all */
	bool is_lost;            /* and too much else was sent by then ever to be sure again */
	uint8_t room[16];
};

/* More replies owed than this, and the client should be made to wait. */
#define OWED_MANY 65536

void owed_init(struct owed *o);
void owed_fini(struct owed *o);

/* A message of this type goes to the server. False when out of memory. */
bool owed_sent(struct owed *o, char type);

/* A message of this type came from it. False: a ReadyForQuery that nobody asked for. */
bool owed_reply(struct owed *o, char type);

/* Nothing is owed and nothing is half done: behind a ReadyForQuery in state idle the server is free. */
static inline bool owed_is_clear(const struct owed *o)
{
	return o->n == 0 && !o->is_unsynced && !o->is_copying_in && !o->is_unsure;
}

/* The index that the next message gets whose reply is owed. Those below owed->first have been answered or skipped. */
static inline uint64_t owed_next(const struct owed *o)
{
	return o->first + o->n;
}

static inline bool owed_is_many(const struct owed *o)
{
	return o->n > OWED_MANY;
}
