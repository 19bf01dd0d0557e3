#include "proto/owed.h"

#include <stdlib.h>
#include <string.h>

/* Entries are the types of the messages sent; CopyDone and CopyFail leave a mark that owes nothing. */
#define COPY_END 'c'

const uint8_t owed_requests[256] = {
	['P'] = OWED_PARSE,
	['B'] = OWED_BIND,
	['C'] = OWED_CLOSE,
	['D'] = OWED_DESCRIBE,
	['E'] = OWED_EXECUTE,
	['Q'] = OWED_QUERY,
	['F'] = OWED_QUERY,
	['S'] = OWED_SYNC,
	[COPY_END] = OWED_UNUSUAL,
};

const uint8_t owed_replies[256] = {
	['1'] = OWED_PARSE,
	['2'] = OWED_BIND,
	['3'] = OWED_CLOSE,
	['T'] = OWED_DESCRIBE,
	['n'] = OWED_DESCRIBE,
	['C'] = OWED_EXECUTE,
	['I'] = OWED_EXECUTE,
	['s'] = OWED_EXECUTE,
	['Z'] = OWED_QUERY | OWED_SYNC,
	['E'] = OWED_UNUSUAL,
	['G'] = OWED_UNUSUAL,
};

void owed_init(struct owed *o)
{
	memset(o, 0, sizeof(*o));
	o->ring = o->room;
	o->cap = sizeof(o->room);
}

void owed_fini(struct owed *o)
{
	if (o->ring != o->room)
		free(o->ring);
	owed_init(o);
}

static uint8_t *entry(struct owed *o, uint32_t i)
{
	return &o->ring[(o->head + i) & (o->cap - 1)];
}

static bool grow(struct owed *o)
{
	/* Zeroed, for owed_reply() reads the entry at the head before it looks whether there is one. */
	uint8_t *larger = calloc(2, o->cap);

	if (larger == NULL)
		return false;
	for (uint32_t i = 0; i < o->n; i++)
		larger[i] = *entry(o, i);
	if (o->ring != o->room)
		free(o->ring);
	o->ring = larger;
	o->head = 0;
	o->cap *= 2;
	return true;
}

static bool push(struct owed *o, uint8_t type)
{
	if (o->n == o->cap && !grow(o))
		return false;
	*entry(o, o->n++) = type;
	return true;
}

static void drop_first(struct owed *o, uint32_t count)
{
	o->head = (o->head + count) & (o->cap - 1);
	o->n -= count;
	o->first += count;
}

/* Marks at the front owe nothing. */
void owed_drop_marks(struct owed *o)
{
	while (o->n > 0 && *entry(o, 0) == COPY_END)
		drop_first(o, 1);
}

/* A message that is answered, unless the server is skipping it. */
static bool sent_request(struct owed *o, char type)
{
	/* A server that still reads COPY data ends the connection at this: else the COPY is over. */
	o->is_copying_in = false;
	if (!o->is_skipping)
		return push(o, (uint8_t)type);
	o->is_lost |= o->is_unsure;
	return true;
}

static bool sent_sync(struct owed *o)
{
	if (o->is_copying_in) {
		o->has_void_syncs = true;
		return true;
	}
	o->is_unsynced = false;
	o->is_skipping = false;
	return push(o, 'S');
}

bool owed_sent_unusual(struct owed *o, char type)
{
	switch (type) {
	case 'Q':
	case 'F':
		return sent_request(o, type);
	case 'P':
	case 'B':
	case 'D':
	case 'E':
	case 'C':
		o->is_unsynced = true;
		return sent_request(o, type);
	case 'S':
		return sent_sync(o);
	case 'c':
	case 'f':
		if (o->is_copying_in || o->n == 0) {
			o->is_copying_in = false;
			return true;
		}
		return push(o, COPY_END);
	default:
		return true;
	}
}

/* Takes `count` entries out from behind the first. */
static void drop_behind_first(struct owed *o, uint32_t count)
{
	*entry(o, count) = *entry(o, 0);
	drop_first(o, count);
}

static bool has_sync(struct owed *o)
{
	uint32_t i = 0;

	while (i < o->n && *entry(o, i) != 'S')
		i++;
	return i < o->n;
}

/* COPY FROM STDIN has begun: the server reads and ignores Syncs up to the end of the data. */
static void begin_copy_in(struct owed *o)
{
	uint8_t first = o->n > 0 ? *entry(o, 0) : 0;
	uint32_t syncs = 0;

	while (syncs + 1 < o->n && *entry(o, syncs + 1) == 'S')
		syncs++;
	if (syncs > 0) {
		drop_behind_first(o, syncs);
		o->has_void_syncs = true;
	}
	/* In the extended protocol one must still come. */
	if (first == 'E' && !has_sync(o))
		o->is_unsynced = true;
	if (o->n <= 1)
		o->is_copying_in = true;
	else if (*entry(o, 1) == COPY_END)
		drop_behind_first(o, 1);
}

/* The void Syncs have become doubtful. */
static void doubt_void_syncs(struct owed *o)
{
	o->is_unsure |= o->has_void_syncs;
	o->has_void_syncs = false;
}

/*
 * An error while the extended protocol is spoken: nothing up to the next Sync
 * will be answered. If that Sync may have been a void one, requests behind it
 * may be answered all the same.
 */
static void skip_to_sync(struct owed *o)
{
	bool has_more = false;

	doubt_void_syncs(o);
	for (uint32_t i = 0; o->n > 0 && *entry(o, 0) != 'S'; i++) {
		has_more |= i > 0 && *entry(o, 0) != COPY_END;
		drop_first(o, 1);
	}
	o->is_lost |= o->is_unsure && has_more;
	o->is_skipping = o->n == 0;
	o->is_copying_in = false;
}

static void on_error(struct owed *o)
{
	uint8_t first = o->n > 0 ? *entry(o, 0) : 0;

	if (first == 'Q' || first == 'F' || first == 'S') {
		/* ReadyForQuery follows; what is left of a COPY is ignored by the server. */
		o->is_copying_in = false;
		return;
	}
	if (o->n > 0 || o->is_unsynced)
		skip_to_sync(o);
}

static bool completes(uint8_t sent, char reply)
{
	return (owed_requests[sent] & OWED_STEPS & owed_replies[(unsigned char)reply]) != 0;
}

/* A reply that only the first entry can have caused: everything sent before it has been answered. */
static bool is_answer(uint8_t first, char reply)
{
	if (first == 'Q' || first == 'F')
		return reply != 'Z';
	return completes(first, reply) || (reply == 'E' && first != 'S');
}

static bool on_ready(struct owed *o)
{
	uint8_t first = o->n > 0 ? *entry(o, 0) : 0;

	if (first == 'S' || ((first == 'Q' || first == 'F') && !o->is_unsure)) {
		drop_first(o, 1);
		doubt_void_syncs(o);
		return true;
	}
	if (o->n == 0)
		o->is_skipping = false;
	return o->is_unsure;
}

bool owed_reply_unusual(struct owed *o, char type)
{
	bool ok = true;

	owed_drop_marks(o);
	if (o->n > 0 && is_answer(*entry(o, 0), type))
		o->is_unsure = o->is_lost;
	switch (type) {
	case 'Z':
		ok = on_ready(o);
		break;
	case 'E':
		on_error(o);
		break;
	case 'G':
		begin_copy_in(o);
		break;
	case 'C':
		/* A COPY that has come to its end has read everything up to there. */
		o->has_void_syncs = false;
		/* fall through */
	default:
		if (o->n > 0 && completes(*entry(o, 0), type))
			drop_first(o, 1);
	}
	owed_drop_marks(o);
	return ok;
}
