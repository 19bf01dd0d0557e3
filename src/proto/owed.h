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
	union {
		struct {
			bool is_skipping : 1;    /* an error: the server ignores everything up to a Sync not sent yet */
			bool is_copying_in : 1;  /* the server ignores Sync until the client ends its COPY data */
			bool has_void_syncs : 1; /* Syncs were sent that the COPY under way makes void */
			bool is_unsure : 1;      /* it failed: they may have been answered after all */
			bool is_lost : 1;        /* and too much else was sent by then ever to be sure again */
		};
		uint8_t oddities;        /* all of these at once; 0: a message and its reply are what they seem */
	};
	uint8_t room[16];
};

/* More replies owed than this, and the client should be made to wait. */
#define OWED_MANY 65536

void owed_init(struct owed *o);
void owed_fini(struct owed *o);

/*
 * Which requests a reply completes: those that share a bit with it in these
 * tables. OWED_UNUSUAL: there is more to it.
 */
enum {
	OWED_PARSE = 1,
	OWED_BIND = 2,
	OWED_CLOSE = 4,
	OWED_DESCRIBE = 8,
	OWED_EXECUTE = 16,
	OWED_STEPS = OWED_PARSE | OWED_BIND | OWED_CLOSE | OWED_DESCRIBE | OWED_EXECUTE,
	OWED_QUERY = 32,         /* and FunctionCall: ReadyForQuery is what ends it */
	OWED_SYNC = 64,
	OWED_UNUSUAL = 128,
};

extern const uint8_t owed_requests[256];
extern const uint8_t owed_replies[256];

/* For the two below. */
__attribute__((cold))
bool owed_sent_unusual(struct owed *o, char type);
__attribute__((cold))
bool owed_reply_unusual(struct owed *o, char type);
void owed_drop_marks(struct owed *o);

/* A message of this type goes to the server. False when out of memory. */
static inline bool owed_sent(struct owed *o, char type)
{
	uint8_t request = owed_requests[(unsigned char)type];

	if ((request & (OWED_STEPS | OWED_QUERY | OWED_SYNC)) == 0 || o->oddities != 0 || o->n == o->cap)
		return owed_sent_unusual(o, type);
	if (request != OWED_QUERY)
		o->is_unsynced = request != OWED_SYNC;
	o->ring[(o->head + o->n++) & (o->cap - 1)] = (uint8_t)type;
	return true;
}

/* A message of this type came from it. False: a ReadyForQuery that nobody asked for. */
static inline bool owed_reply(struct owed *o, char type)
{
	uint8_t reply = owed_replies[(unsigned char)type], request = owed_requests[o->ring[o->head]];
	bool completes = (reply & request) != 0;

	if (o->oddities != 0 || o->n == 0 || ((reply | request) & OWED_UNUSUAL) != 0 || (type == 'Z' && !completes))
		return owed_reply_unusual(o, type);
	if (completes) {
		o->head = (o->head + 1) & (o->cap - 1);
		o->n--;
		o->first++;
		if (o->n > 0 && owed_requests[o->ring[o->head]] == OWED_UNUSUAL)
			owed_drop_marks(o);
	}
	return true;
}

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
