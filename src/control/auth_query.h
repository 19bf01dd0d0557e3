/*
 * auth_query: the secrets of users who are not in auth_file, asked for at the
 * server.
 *
 * Who answers is a source: a list of hosts, a database, and the user who runs
 * a query. Each source has one connection, opened when there is something to
 * ask, tried at the next host when one fails, and closed after a time without
 * questions. It asks for one user after the other, in order of arrival;
 * everybody who wants to know about the same user shares one question.
 *
 * Whatever keeps the connection from being opened, and a query that takes too
 * long, is the answer to everybody who waits at that source: nobody waits for
 * the same failure twice. A connection that is lost in the middle of a query
 * is opened anew once for it.
 *
 * Answers are kept for ttl_us, those that let nobody in (no such user, or no
 * secret) for a second at most, errors not at all. Secrets are wiped when they
 * are dropped.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "control/connection.h"
#include "base/str.h"
#include "control/auth_query_source.h"
#include "net/dns.h"
#include "net/loop.h"

struct auth_queries;
struct auth_query_ticket;                /* somebody who has not been answered */

/* Times of 0: no timeout; ttl_us of 0: nothing is kept. */
struct auth_query_options {
	uint64_t connect_timeout_us;     /* to open a connection, for each host */
	uint64_t query_timeout_us;       /* for one question; the server is told it too (statement_timeout) */
	uint64_t idle_timeout_us;        /* an unused connection is closed */
	uint64_t ttl_us;
	struct connection_tls tls;       /* texts outlive the use of these options */
	size_t max_waiting;              /* tickets; one more is answered with an error */
	size_t max_kept;                 /* answers; the one not used for longest makes room */
};

enum auth_query_result {
	AUTH_QUERY_FOUND,
	AUTH_QUERY_NOT_FOUND,
	AUTH_QUERY_ERROR,
};

/* Lives as long as the call that brings it. */
struct auth_query_answer {
	enum auth_query_result result;
	const char *secret;              /* FOUND: NULL when the user has none, then nobody matches */
	const char *sqlstate;            /* ERROR: the server's, or NULL when the error is not the server's */
	const char *why;                 /* ERROR: one line for the log, without a secret; NOT_FOUND: such a line or NULL */
};

/* May ask, cancel and forget, but not free the queries. */
typedef void auth_query_fn(void *arg, const struct auth_query_answer *answer);

/* NULL when out of memory. Opens no connection yet. The resolver must outlive it. */
struct auth_queries *auth_queries_new(struct loop *loop, struct dns *dns, const struct auth_query_options *options);

/* Closes the connections. Nobody is answered any more: tickets are gone. NULL is allowed. */
void auth_queries_free(struct auth_queries *queries);

/* For what happens from now on. A new ttl_us drops the answers that are kept. */
void auth_queries_configure(struct auth_queries *queries, const struct auth_query_options *options);

/*
 * Calls fn once, about a copy of the source and the name: before this returns when the answer is kept or cannot be
 * asked for (then NULL is returned), else later, from the loop; the ticket is
 * gone by then.
 */
struct auth_query_ticket *auth_query_ask(struct auth_queries *queries, const struct auth_query_source *source,
					 struct slice user, auth_query_fn *fn, void *arg);

/* fn will not be called. */
void auth_query_cancel(struct auth_query_ticket *ticket);

/* Closes the connections on which nothing is asked. */
void auth_queries_close_idle(struct auth_queries *queries);

/*
 * Drops the kept answer about a user. Should the question be with the server
 * at this moment, its answer counts for nobody: it is asked again.
 */
void auth_query_forget(struct auth_queries *queries, const struct auth_query_source *source, struct slice user);

/* The same for every user of every source. */
void auth_queries_forget_all(struct auth_queries *queries);
