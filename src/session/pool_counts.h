/*
 * What has happened to one pool's servers and clients since the pool was made,
 * by reason. At every moment: created - all of `closed` = servers there are.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "session/close_reasons.h"
#include "session/server_ends.h"

/*
 * Why a server stays with its client at the end of a transaction, though the
 * pool mode would have it go back: looked at once at each such end.
 *
 * X(symbol, text)
 */
#define PINS(X)                                                                                     \
	X(PIPELINE, "the client has asked for more already")                                        \
	X(UNSYNCED, "extended query messages without a Sync behind them")                           \
	X(HALF_MESSAGE, "the client is in the middle of a message")                                 \
	X(BACKLOG, "the server has not read all that was sent to it")                               \
	X(UNSURE, "a COPY has failed, and which Syncs the server has answered is not known yet")    \
	X(CANCEL, "a cancel request for it is under way")

enum pin {
#define X(symbol, text) PIN_##symbol,
	PINS(X)
#undef X
	PIN_COUNT
};

const char *pin_symbol(enum pin pin);
const char *pin_text(enum pin pin);

struct pool_counts {
	uint64_t created;                            /* attempts to connect included */
	uint64_t closed[SERVER_END_COUNT];
	uint64_t client_closes[CLOSE_REASON_COUNT];  /* after their welcome */
	uint64_t login_failures[CLOSE_REASON_COUNT]; /* of logins that were told so */
	uint64_t pins[PIN_COUNT];
};

uint64_t pool_counts_closed(const struct pool_counts *c);
uint64_t pool_counts_client_closes(const struct pool_counts *c);
uint64_t pool_counts_login_failures(const struct pool_counts *c);
uint64_t pool_counts_pins(const struct pool_counts *c);

/* Those of the clients' closes and failed logins that some time ran out for. */
uint64_t pool_counts_timeouts(const struct pool_counts *c);
