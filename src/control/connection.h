/*
 * A connection to PostgreSQL that the pooler makes for itself: libpq driven by
 * the loop, one question at a time, nothing that blocks.
 *
 * libpq owns the socket and may replace it by another while it connects, so
 * this is the one place besides net/conn and net/dns that has an ev_io: it
 * follows PQsocket() and is stopped before libpq can close what it watches.
 * Host names are looked up through net/dns, and libpq is only given addresses.
 *
 * What such a connection says to the server is fixed here: search_path is
 * empty, so that nobody's objects come before those of pg_catalog; the
 * application is called pgsluice; the encoding is UTF8. Neither environment
 * variables nor password and service files have a say: opening a connection
 * takes all variables PG... out of the environment of the process.
 */
#pragma once
#include <ev.h>
#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/deadline.h"
#include "net/dns.h"
#include "net/loop.h"

/* As libpq takes them, and as the server_tls_ settings have them; a file of "" is none. */
struct connection_tls {
	const char *sslmode;             /* NULL: disable */
	const char *ca_file, *cert_file, *key_file;
};

/* Where to and as whom. The texts must live until on_open() or on_lost(). */
struct connection_target {
	const char *host;                /* a name, an address, a "/directory" or "@abstract" */
	int port;
	struct connection_tls tls;
	const char *dbname, *user;       /* neither may be empty: libpq would make up its own */
	const char *password;            /* NULL: none */
	uint64_t statement_timeout_us;   /* for the server; 0: as it has it */
};

/* Why a connection is no more. Lives as long as the call that brings it. */
struct connection_loss {
	const char *text;                /* one line */
	const char *sqlstate;            /* of the server's last word; NULL: it had none */
	bool timed_out;
	bool needs_password;             /* the server asked for one and the target has none */
};

/*
 * All are called from the loop, never from within a call of this module's, and
 * may make the next call or end the connection, its memory included.
 */
struct connection_ops {
	void (*on_open)(void *arg);

	/* The answer to the question, an error of SQL too; wiped and freed when this returns. */
	void (*on_result)(void *arg, const PGresult *result);

	/* It could not be opened, or it broke, or time ran out. It is closed and may be opened again. */
	void (*on_lost)(void *arg, const struct connection_loss *loss);
};

enum connection_state {
	CONNECTION_CLOSED,
	CONNECTION_STARTING,             /* connection_open() has been called in this turn */
	CONNECTION_RESOLVING,
	CONNECTION_CONNECTING,
	CONNECTION_IDLE,
	CONNECTION_ASKING,
};

/* Embedded in what needs it; private but for the state. */
struct connection {
	enum connection_state state;
	struct loop *loop;
	struct dns *dns;
	const struct connection_ops *ops;
	void *arg;
	struct connection_target target;
	struct dns_waiter *waiter;
	PGconn *pq;
	PGresult *result;                /* has come, but not yet all of the answer */
	ev_io io;
	ev_timer soon;
	struct deadline deadline;
};

/* Closed. The loop, the resolver and the ops must outlive it. */
void connection_init(struct connection *c, struct loop *loop, struct dns *dns, const struct connection_ops *ops,
		     void *arg);

/* Begins to open a closed connection. Time 0: no timeout. */
void connection_open(struct connection *c, const struct connection_target *target, uint64_t timeout_us);

/* Asks on one that is IDLE; all parameters are text. */
void connection_ask(struct connection *c, const char *sql, const char *const *params, int nparams,
		    uint64_t timeout_us);

/* In any state; none of the ops is called. */
void connection_close(struct connection *c);
