/*
 * A circuit breaker: whether it makes sense to connect to a host now.
 *
 *   closed      connect as wanted; after a failure not before the backoff has
 *               passed, and then one at a time until one succeeds
 *   open        `failures` in a row: nobody is let through before the next try
 *   half-open   the time for it has come: one probe, which closes or opens
 *
 * A host that refuses connections on the spot costs nothing to ask. While
 * somebody wants it, whether its port is open again is looked at twice a
 * second ("a look"): a look that fails like the last attempt did not happen,
 * one that gets through is the next attempt.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "pool/backoff.h"

/* X(name, text in SHOW HOSTS) */
#define BREAKER_STATES(X)        \
	X(CLOSED, "up")          \
	X(OPEN, "down")          \
	X(HALF_OPEN, "probing")

enum breaker_state {
#define X(name, text) BREAKER_##name,
	BREAKER_STATES(X)
#undef X
};

/* At which stage an attempt failed. */
enum breaker_stage {
	BREAKER_CONNECT,                 /* there was no connection */
	BREAKER_LOGIN,                   /* there was one, but no login came of it */
	BREAKER_NOT_YET,                 /* the server said that it will be there soon (57P03) */
};

struct breaker {
	struct backoff backoff;
	unsigned nfailures;              /* in a row */
	unsigned nattempts;              /* under way */
	bool is_open;
	bool is_probed;                  /* by the attempt under way; others began before it failed */
	enum breaker_stage stage;        /* of the last failure */
	uint64_t look_at;                /* the next look; 0 none */
};

struct breaker_limits {
	unsigned failures;               /* that open it */
	unsigned attempts;               /* under way at a time while all is well; 0: no bound */
	uint64_t most_wait_us;
};

enum breaker_state breaker_state(const struct breaker *b);

/* Whether an attempt may begin. */
bool breaker_allows(const struct breaker *b, const struct breaker_limits *limits, uint64_t now);

/*
 * When breaker_allows() will say yes with nothing else happening; 0: only when
 * an attempt under way has ended, or at once.
 */
uint64_t breaker_wakes_at(const struct breaker *b);

/* Whether one that begins now is a look only. */
bool breaker_would_look(const struct breaker *b, uint64_t now);

/* An attempt begins. True: it is a look only. */
bool breaker_begins(struct breaker *b, uint64_t now);

/* Each attempt ends in one of these. True: it is open no more, or has been opened by this. */
bool breaker_succeeds(struct breaker *b);
bool breaker_fails(struct breaker *b, const struct breaker_limits *limits, enum breaker_stage stage, uint64_t now,
		   uint64_t began_at, uint32_t random);
void breaker_looks_on(struct breaker *b, uint64_t now);  /* a look that got no connection */
void breaker_gives_up(struct breaker *b);                /* nothing is known of how it would have ended */

/* Nobody who waits can take the look that is due: the next one. Does nothing when none is. */
void breaker_skips_look(struct breaker *b, uint64_t now);

/* Somebody who must know says that all is well. */
void breaker_forgets(struct breaker *b);
