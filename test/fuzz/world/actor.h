/*
 * A random client that knows what it may hear.
 *
 * Each query names the client and counts: "<c17.42>". The servers echo what
 * they are asked (world/backend.h), so whatever a client hears names that
 * client and no other: its own queries, its own prepared statements, its own
 * session parameters. And each Query and Sync is answered by one
 * ReadyForQuery.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"
#include "world.h"

enum actor_state { ACTOR_GONE, ACTOR_LOGGING_IN, ACTOR_READY };

struct actor {
	int fd;                          /* -1: not connected */
	enum actor_state state;
	const char *database;
	unsigned id;                     /* of this connection */
	unsigned nasked;
	unsigned nheard;                 /* rows of its own */
	unsigned nready;                 /* ReadyForQuery that are owed to it */
	char status;                     /* of the last one */
	bool may_copy;                   /* what it has asked may lead to COPY: nothing else before it is answered */
	bool is_extended_copy;
	bool is_deaf;                    /* reads nothing for the time being */
	bool is_broken;                  /* has said what no client may say: anything may be the answer, but nobody else's */
	bool has_cancelled;
	bool has_left;                   /* has said Terminate */
	bool was_told;                   /* has heard a FATAL error */
	uint8_t key[8];                  /* 0: it has not heard of one yet */
	struct strbuf in, out;
};

/* Not connected yet. */
void actor_init(struct actor *a);

/* Connects, and begins to log in. */
void actor_enter(struct actor *a, const struct world *w, unsigned id, const char *database);

/* Drops everything. */
void actor_leave(struct actor *a);

/* Says something, for which there must be no need to wait: it is logged in, and not in a COPY. */
void actor_ask(struct actor *a);

/* The same, something that no client may say. */
void actor_babble(struct actor *a);

/* "one", and ROLLBACK: what is known to be answered. */
void actor_ask_one(struct actor *a);
void actor_roll_back(struct actor *a);

/* Sends a CancelRequest for what it runs. */
void actor_cancel(struct actor *a, const struct world *w);

/* Sends some of what it has to say, all of it if so wished; reads and checks. Whether something has moved. */
bool actor_turn(struct actor *a, bool is_hasty);

/* Nothing is owed to it, and it has nothing to say. */
static inline bool actor_is_at_rest(const struct actor *a)
{
	return a->state == ACTOR_GONE || (a->state == ACTOR_READY && a->nready == 0 && a->out.n == 0);
}
