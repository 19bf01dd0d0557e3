/*
 * Cancelling a query that still waits for a server. PgBouncer ignores such a
 * request; to whoever asks for it, though, it is a query like any other that
 * takes too long, and here nothing has to be guessed: a client that waits is
 * outside a transaction and owed nothing, and no server has seen the query.
 */
#pragma once
#include <stdbool.h>

struct client;

/*
 * Takes what the client waits with out of the queue and answers it as
 * PostgreSQL answers a cancelled query. False: it does not wait, or what it has
 * sent is not complete (its answer would come before its end). The client may
 * be closed behind this.
 */
bool cancel_waiting(struct client *c);
