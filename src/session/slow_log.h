/*
 * Slow transactions and long waits in the log: log_min_duration and log_min_wait.
 *
 * Never with the text of a query. That may hold passwords (ALTER ROLE) and people's data, and the pooler, which looks
 * at headers only, could not tell. The line has the process id of the server's backend: its own log knows the text.
 */
#pragma once
#include "session/server.h"

/* For the two below. */
__attribute__((cold))
void slow_log_tell_wait(const struct server *s);
__attribute__((cold))
void slow_log_tell_transaction(const struct server *s, uint64_t took_us);

/* Its client has got a server: what it has waited is told if that was long, and kept until its transaction ends. */
static inline void slow_log_wait(struct server *s)
{
	int64_t least = hub_settings(s->hub)->log_min_wait;

	/* One that replicates has asked for no server but its own. */
	s->waited_us = s->replication == REPLICATION_NONE ? s->request_at - s->client->request_at : 0;
	s->xact_queries = 0;
	if (least != 0 && s->waited_us >= (uint64_t)least)
		slow_log_tell_wait(s);
}

/* A transaction has ended; those that the pooler has run for itself have no beginning (xact_at). */
static inline void slow_log_transaction(struct server *s, uint64_t now)
{
	int64_t least = hub_settings(s->hub)->log_min_duration;

	if (least != 0 && s->xact_at != 0 && now - s->xact_at >= (uint64_t)least)
		slow_log_tell_transaction(s, now - s->xact_at);
	s->waited_us = 0;
	s->xact_queries = 0;
}
