/*
 * A server has refused the secret that auth_query found: the password may have
 * been changed since. It is forgotten and asked for again, once; the clients
 * that wait go on waiting meanwhile.
 */
#pragma once
#include "session/server.h"

struct secret_renewal;

/*
 * Begins to ask, and keeps the error for the case that it is of no use. False:
 * there is nothing to ask for (the secret is not auth_query's) or it was asked
 * for already; the error stands.
 */
bool secret_renewal_begin(struct pool *pool, const struct close_error *error);

/* The pool goes. NULL inside is allowed. */
void secret_renewal_free(struct secret_renewal **renewal);
