/*
 * Whether new clients should be sent here: what a load balancer asks.
 */
#pragma once
#include <stdbool.h>

#include "session/hub.h"

/*
 * False: the program is starting or ending, paused or suspended, or a database with `required` is disabled, paused, or
 * has no host that is up. *why (NULL: nobody asks) says which, in one line; names of databases only `in_detail`.
 *
 * A host that has failed is down until it may be tried again. Then it is not known to be, and if nobody was sent here,
 * nobody would try.
 */
bool readiness(const struct hub *hub, bool in_detail, struct strbuf *why);
