/*
 * A client connection.
 *
 * The struct is all that an idle client costs; what only the login needs is a
 * separate object that goes when it is done.
 */
#pragma once
#include "net/conn.h"
#include "net/deadline.h"
#include "pool/pool.h"
#include "session/cancel_key.h"
#include "session/close_reasons.h"
#include "session/hub.h"

/* X(name, text in SHOW CLIENTS) */
#define CLIENT_STATES(X)                                                  \
	X(STARTUP, "login")       /* nothing or half a first packet so far */ \
	X(AUTH, "login")          /* proving who it is */                 \
	X(AUTH_WAIT, "login")     /* for what others say of who it is */  \
	X(AWAIT_WELCOME, "waiting") /* until a server tells its parameters */ \
	X(IDLE, "idle")           /* has no server and wants none */      \
	X(WAITING, "waiting")     /* for a server */                      \
	X(ACTIVE, "active")       /* has a server */                      \
	X(CONSOLE, "active")      /* on the admin console */              \
	X(CONSOLE_WAIT, "active") /* there, until its command is done */  \
	X(CANCEL, "active_cancel_req") /* asked to cancel another client's query */ \
	X(CLOSED, "closed")

enum client_state {
#define X(name, text) CLIENT_##name,
	CLIENT_STATES(X)
#undef X
};

struct client_login;

/* What each query looks at comes first, so that it is in few lines of the cache, of which clients have many. */
struct client {
	struct conn conn;                /* first: a conn's callbacks cast */
	struct pool_client waiter;
	struct hub *hub;
	struct server *server;           /* while ACTIVE */
	struct user *user;               /* who logged in, not a forced user */
	struct deadline deadline;        /* login, later waiting for a server */
	struct paramset *params;
	struct prepared_client *prepared; /* NULL: it has prepared nothing that follows it (session/prepared.h) */
	uint64_t unnamed;                /* which its unnamed statement is, among those of all clients; 0: it has none */
	uint64_t request_at;
	uint32_t remain;                 /* bytes of the current message that are still to come */
	uint8_t state;                   /* enum client_state; written by client_enter() alone */
	uint8_t replication;             /* enum replication: what it asked for */
	uint8_t nrequests;               /* for encryption, so far */
	bool is_admin : 1;               /* on the console: may do everything */
	bool is_unix : 1;
	bool is_direct_tls : 1;          /* began with the handshake, without SSLRequest */
	bool is_counted : 1;             /* in hub->nclients */
	bool is_awaited : 1;             /* to say who it is: see session/admission.h */
	bool has_long_key : 1;           /* speaks protocol 3.2: the cancel key goes on behind the bytes kept here */
	bool is_mid_message : 1;         /* its server was lost in the middle of a message to it */
	bool is_latecomer : 1;           /* has logged in during a drain */
	bool is_leaving : 1;             /* a drain: what it asks for next is answered with the end */
	bool is_held_back : 1;           /* one of hub->hang_ups */
	bool has_hung_up : 1;            /* though it is not read to its end yet */
	uint8_t own_end;                 /* the address it has connected to, in hub->own_ends; 0: it is not there */
	struct addr peer;
	struct database *database;       /* NULL on the console and before login */
	struct client_login *login;      /* until logged in */
	uint64_t id;
	uint64_t connected_at;
	union {
		uint8_t cancel_key[CANCEL_KEY_SHORT]; /* see session/cancel_key.h; 0 until it has one */
		struct cancel_request *asked; /* CANCEL: what it waits for */
	};
};

/* Takes over an accepted socket. */
void client_accept(struct hub *hub, const struct accepted *accepted);

void client_enter(struct client *c, enum client_state state);

/* After a reload: the deadline is that of the new settings; counted from now if it differs. */
void client_renew_deadline(struct client *c);

static inline struct pool *client_pool(const struct client *c)
{
	return c->waiter.pool;
}

static inline struct client *client_of_waiter(struct pool_client *waiter)
{
	return (struct client *)((char *)waiter - offsetof(struct client, waiter));
}

/* It has said what it wants, and waits for others. */
static inline bool client_is_waiting(const struct client *c)
{
	return c->state == CLIENT_WAITING || c->state == CLIENT_AUTH_WAIT || c->state == CLIENT_AWAIT_WELCOME;
}

static inline bool client_is_on_console(const struct client *c)
{
	return c->state == CLIENT_CONSOLE || c->state == CLIENT_CONSOLE_WAIT;
}

/*
 * Ends a client: tells it why if the reason is one to be told, gives back or
 * closes its server, logs. The object is freed before the loop sleeps.
 */
__attribute__((cold))
void client_close(struct client *c, enum close_reason why);

/* The same with the subject that stands for %s in the reason's text (NULL if it has none) and a DETAIL (NULL: none). */
__attribute__((cold))
void client_close_with(struct client *c, enum close_reason why, const char *subject, const char *detail);

/* The same with a HINT in the place of the reason's own (NULL: that one). */
__attribute__((cold))
void client_close_hint(struct client *c, enum close_reason why, const char *subject, const char *detail,
		       const char *hint);

/* The same with an error of a server's, whose SQLSTATE, DETAIL and HINT the client gets. */
struct close_error {
	const char *sqlstate, *message, *detail, *hint;
};
__attribute__((cold))
void client_close_error(struct client *c, enum close_reason why, const struct close_error *error);

/* A login waits for a server: no longer than a query may, if that comes before the end of client_login_timeout. */
void client_bound_login_wait(struct client *c);

/* Sets up the lists that client_enter(WAITING) arms. */
struct pool_session;
void client_set_up_deadlines(struct pool_session *ps);

/*
 * A connection that is about to begin a TLS handshake, with what it has to be answered in the clear, or "", and one whose
 * handshake is done. (client_startup.c)
 */
void client_start_tls(struct client *c, struct slice answer);
void client_secured(struct client *c);

/* How the connection is encrypted: "no", or version/cipher/curve. */
void client_describe_tls(const struct client *c, struct strbuf *text);

/* A log line of this client's: "C-0x...: db/user@host:port text". */
void client_log(const struct client *c, enum log_level level, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* The same with more to say of it (base/log_line.h); the line's subject is filled in here. */
void client_log_line(const struct client *c, struct log_line line, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

const char *client_database_name(const struct client *c);
const char *client_user_name(const struct client *c);
const char *client_state_text(const struct client *c);

/* Bytes arrived during the login; returns what was taken, or CONN_CLOSED. (client_login.c) */
size_t client_login_bytes(struct client *c, const uint8_t *p, size_t n);

/* A pause is over: if the login waits for that, it goes on. For clients that are logging in. */
void client_login_resume(struct client *c);

/* The first server of its pool has logged in, or the pool is known: greets the client. */
void client_login_welcome(struct client *c);
void client_login_free(struct client_login **login);

/* Bytes arrived from a logged-in client. (client_query.c) */
size_t client_query_bytes(struct client *c, const uint8_t *p, size_t n);
/* What it has said and nobody has looked at yet ends in a Terminate. */
bool client_has_taken_leave(const struct client *c);
size_t client_console_bytes(struct client *c, const uint8_t *p, size_t n);
