/*
 * A server connection of a pool.
 */
#pragma once
#include "auth/server_auth.h"
#include "base/addr.h"
#include "net/conn.h"
#include "net/deadline.h"
#include "pool/pool.h"
#include "proto/owed.h"
#include "proto/startup.h"
#include "session/client.h"
#include "session/hub.h"
#include "session/pool_counts.h"
#include "session/pool_secret.h"
#include "session/replication.h"
#include "session/server_ends.h"

/* What the bytes of a server are for: the state proper is the pool's (slot.state). */
enum server_phase {
	SERVER_RESOLVING,        /* the host's address is being looked up */
	SERVER_CONNECTING,
	SERVER_TLS,              /* asked for TLS, or shaking hands */
	SERVER_LOGIN,
	SERVER_READY,            /* idle, or a client's */
	SERVER_TASK,             /* a statement of our own runs */
	SERVER_CLOSED,
};

/* Statements that we run ourselves. */
enum server_task {
	TASK_CONNECT_QUERY,
	TASK_CHECK,              /* server_check_query */
	TASK_RESET,              /* server_reset_query */
	TASK_SWITCH,             /* the client's session parameters */
	TASK_DRAIN,              /* none: what a client that has gone had asked for, up to its last reply */
	TASK_ROLLBACK,           /* the end of its transaction */
};

struct secret_renewal;
struct server_login;

struct server {
	struct conn conn;                /* first: a conn's callbacks cast */
	struct pool_server slot;
	struct deadline deadline;        /* connecting, logging in, statements of our own; later idle */
	struct deadline lifetime;
	struct deadline query_deadline;  /* see session/timeouts.h; and server_abandon.c once the client has left */
	struct deadline xact_deadline;
	struct hub *hub;
	struct client *client;           /* whose it is */
	struct paramset *params;
	struct paramset *params_before;  /* TASK_SWITCH: what they are again if it fails */
	struct server_login *login;      /* until logged in */
	struct prepared_server *prepared; /* NULL: no client whose statements follow it has used one here */
	struct owed owed;
	uint64_t id;
	uint64_t query_at, xact_at;      /* when the running ones began; 0 none */
	uint64_t request_at;             /* when it last got a client */
	uint64_t waited_us;              /* for it, by that client; 0 behind the first transaction */
	unsigned xact_queries;           /* answered in the running transaction */
	uint64_t dropped;                /* TASK_DRAIN: bytes of replies that nobody wants */
	uint32_t remain;                 /* bytes of the current message that are still to come */
	char status;                     /* of the last ReadyForQuery: I, T or E */
	uint8_t phase;                   /* enum server_phase */
	uint8_t task;                    /* enum server_task */
	bool is_failed_task;             /* the running task met an error */
	bool has_replied;                /* something has come since the transaction began */
	uint64_t reported;               /* bit i: it reports tracked parameter i */
	uint8_t nswitch, iswitch;        /* TASK_SWITCH: rows expected, rows seen */
	uint8_t switch_index[PARAMS_MAX];
	unsigned ncancels;               /* cancel requests for it under way: it may not change hands */
	struct cancel_request *cancel;   /* one that has not been sent yet; NULL: none */
	uint8_t cancel_key[STARTUP_CANCEL_KEY_MAX]; /* some servers' are longer than protocol 3.0 has them */
	uint16_t cancel_key_size;
	uint8_t replication;             /* enum replication; the client that it was opened for by index and id */
	uint32_t replica_index;
	uint64_t replica_id;
	uint32_t nreplica_owed;          /* replication: messages sent that a ReadyForQuery answers, less those */
	bool is_streaming;               /* replication: between CopyBothResponse and ReadyForQuery */
	enum server_end retired_because; /* slot.close_needed: why; NONE: the configuration has changed */
	struct addr_any address;         /* where cancel requests for it go */
	struct addr peer;
	struct host *host;               /* where it goes; NULL: nowhere yet */
	unsigned host_index;             /* in the database's list */
	uint64_t attempt_at;             /* when the attempt at this host began */
	bool is_attempt;                 /* no answer yet */
	bool is_look;                    /* see pool/breaker.h */
	bool is_counted;                 /* in host->nservers */
	bool is_over_age;                /* server_lifetime is over */
};

/* The spans over which the ends of servers that were opened together are spread. */
#define LIFETIME_SPREAD 8

/* The session layer's part of a pool. */
struct pool_session {
	struct hub *hub;
	struct pool *pool;
	bool has_welcome;
	struct strbuf welcome;           /* ParameterStatus messages of parameters that are not tracked */
	struct paramset *params;         /* the tracked ones, as a fresh server has them */
	struct strbuf greeting;          /* what the last client was greeted with, without its key; the next may have the same */
	struct paramset *greeted;        /* the parameters that are in it; NULL: it is out of date */
	bool is_failing;                 /* the last login was refused, or could not be made with what is known */
	struct failure failure;          /* how */
	bool dies_young;                 /* servers are closed as soon as they have been opened */
	bool is_refusing;                /* those who wait are being sent away */
	struct pool_counts counts;
	struct pool_secret secret;       /* what clients have taught */
	struct secret_renewal *renewal;  /* under way; NULL: none */
	bool is_renewed;                 /* since the last good login */
	ev_timer wake;                   /* when pool_wakes_at() says */
	uint64_t wake_at;
	/* Of waiting clients: until they are told, then (or at once, with no telling) until they are closed. */
	struct deadline_list *wait_notify, *query_wait; /* NULL: no bound, as with the others */
	struct deadline_list *login_wait;               /* the same for those who wait to be welcomed, and cannot be told */
	struct deadline_list *server_connect, *server_idle, *server_lifetime_again;
	struct deadline_list *server_lifetime[LIFETIME_SPREAD];
	uint64_t last_lifetime_close_at;
	struct deadline_list *pool_idle;
	struct deadline idle_deadline;   /* see session/idle.h */
};

static inline struct pool_session *pool_session(const struct pool *pool)
{
	return pool->session;
}

/* A cancel key begins with it; 0 when the server has not told one yet. */
static inline uint32_t server_backend_pid(const struct server *s)
{
	const uint8_t *k = s->cancel_key;

	if (s->cancel_key_size < 4)
		return 0;
	return (uint32_t)k[0] << 24 | (uint32_t)k[1] << 16 | (uint32_t)k[2] << 8 | k[3];
}

/* The callbacks of a server's connection. */
extern const struct conn_ops server_conn_ops;

/* The deadlines that follow from the settings of the pool. */
void server_set_up_deadlines(struct pool_session *ps);

/* After that: what the server is at (logging in, a task, resting) has the new bound; counted from now if it differs. */
void server_renew_deadline(struct server *s);

/* Sets up and drops the session part of a pool. (server_pool.c) */
bool pool_session_set_up(struct hub *hub, struct pool *pool);
void pool_session_free(struct pool *pool);

/*
 * Opens what the pool wants now, and sets a timer for what it may want later.
 * To be called whenever that may have changed.
 */
void pool_session_fill(struct pool *pool);

/* For the next: of any pool. */
bool pool_session_looks_down(const struct pool *pool);

/*
 * No server is open, and none can be had now: the last login was refused and
 * the next is not due yet, or the hosts are down and server_down_action is fail.
 */
static inline bool pool_session_is_down(const struct pool *pool)
{
	return pool->nservers[POOL_SERVER_ACTIVE] + pool->nservers[POOL_SERVER_IDLE] == 0 &&
	       pool_session_looks_down(pool);
}

/* Closes a client with what is known of why no server can be had. */
void pool_session_refuse(struct client *c);

/* The same for all that wait, if it is so. */
void pool_session_refuse_if_down(struct pool *pool);

/*
 * A login was refused (by the server itself: its words), or one succeeded; a
 * server was lost that had only just been opened. The texts are copied; detail
 * and hint may be NULL.
 */
void pool_session_refused(struct pool *pool, uint64_t began_at, const struct close_error *error, bool is_servers);
void pool_session_succeeded(struct pool *pool, uint64_t began_at);
void pool_session_lost_young(struct pool *pool, uint64_t connected_at);

/* For the next: of a pool under bounds. */
void pool_session_share_bounds(struct pool *pool);

/* Servers that were under a bound with this pool's, or idle ones of it, may have room to give. */
static inline void pool_session_share(struct pool *pool)
{
	if (pool->is_capped)
		pool_session_share_bounds(pool);
}

/* Why the pool's waiting clients wait. */
enum pool_hold pool_session_hold(const struct pool *pool, uint64_t now);

/* What was wrong may be right now (another secret, another configuration): the pause after a failure is over. */
void pool_session_try_again(struct pool *pool);

/* The next client's greeting is made anew. */
void pool_session_forget_greeting(struct pool_session *ps);

/* A server has told its parameters: those who wait to be welcomed are. What `welcome` holds is taken over. */
void pool_session_set_welcome(struct pool *pool, struct strbuf *welcome, const struct paramset *params);

/* No other server of the pool was closed for its age just before: those that were opened together do not all end at once. */
bool pool_session_may_end_of_age(struct pool *pool);

static inline struct server *server_of_slot(struct pool_server *slot)
{
	return (struct server *)((char *)slot - offsetof(struct server, slot));
}

/*
 * Starts a connection for a pool to a host of its database; whatever comes of
 * it is told to the host, and to pool_session_refused() or _succeeded().
 */
void server_open(struct pool *pool, unsigned host_index);

/* The steps of a login; each ends in the next or in server_login_broken(). (server_login.c) */
void server_login_start(struct server *s);
void server_login_connected(struct server *s);
size_t server_login_tls_bytes(struct server *s, const uint8_t *p, size_t n);
void server_login_secured(struct server *s);
size_t server_login_bytes(struct server *s, const uint8_t *p, size_t n);

/* The connect() under way has failed: the next address or host is tried. */
void server_login_connect_failed(struct server *s, int error);

/* server_connect_timeout is over: the next host is tried, if there is one. */
void server_login_timed_out(struct server *s);

/* The login is over, for a reason that is the host's unless it had let us in: ends the server. `why` may be NULL. */
void server_login_broken(struct server *s, const char *what, const char *why);

/* The same for one that is the pool's: its connect_query, say. */
void server_login_refused(struct server *s, const char *what);
void server_login_free(struct server_login **login);

/* Connected, logged in, set up: it joins the servers that can be had. */
void server_ready(struct server *s);

/* Ends a server connection; politely if nothing is under way. The reason goes to the log. */
__attribute__((cold))
void server_close(struct server *s, enum server_end why);

/*
 * As server_close(), without a look at what pools want now: for a caller that
 * knows better when to look.
 */
void server_destroy(struct server *s, enum server_end why);

/* The same with another text in the log; NULL: nobody need hear of it. */
void server_destroy_as(struct server *s, enum server_end why, const char *text);

/* The same for one whose client is to be told: both end. */
__attribute__((cold))
void server_close_with_client(struct server *s, enum close_reason why, const char *detail);

/* Gives a granted server to its client; it may have to be set up first (then phase is SERVER_TASK). */
void server_link(struct server *s, struct client *c);

/* The server's client is done with it: clean it if need be, then the next client's or idle. */
void server_release(struct server *s);

/* Runs a statement of our own on a free server; what follows is server_task's business. */
void server_task_start(struct server *s, enum server_task task);
size_t server_task_bytes(struct server *s, const uint8_t *p, size_t n);

/* How a client has left a server in the middle of something. */
enum leaving {
	LEAVING_ORDERLY,         /* by Terminate: what it has sent before is to be run */
	LEAVING_VANISHED,        /* nobody waits for an answer any more */
	LEAVING_MID_MESSAGE,     /* nor can anything be said behind what it has sent */
	LEAVING_WITH_POOLER,     /* the servers are about to be closed, and PostgreSQL rolls back by itself */
};

/*
 * Brings a server whose client has left back to its pool, or closes it, as
 * server_abandoned says. It has no client any more. (server_abandon.c)
 */
void server_abandon(struct server *s, enum leaving how);

/* One message of TASK_DRAIN has come, and owed_reply() knows of it. The server may be closed or another's behind this. */
void server_abandon_note(struct server *s, const struct msg *m);

/* No cancel request is under way any more: TASK_DRAIN may be over. TASK_ROLLBACK is. */
void server_abandon_go_on(struct server *s);
void server_abandon_rolled_back(struct server *s);

/* After a task, or when nothing had to be done: gives the server to whoever waits. */
void server_offer(struct server *s);

/* Servers of this pool may be handed out again: those who wait get the idle ones. */
void server_serve_waiting(struct pool *pool);

/* Bytes from a server that is idle or a client's. (server_query.c) */
size_t server_query_bytes(struct server *s, const uint8_t *p, size_t n);

/* Counts a query that has been answered, and the transaction if that is over; nothing owed any more: the clocks stop. */
void server_count_query(struct server *s);

/* The same for the end of a transaction that comes otherwise. */
void server_count_transaction(struct server *s);

/* A whole ParameterStatus of this server's; false: out of memory or malformed. */
bool server_note_parameter(struct server *s, const struct msg *m);

/* Messages that have to be seen whole are not let grow beyond this. */
#define SERVER_WHOLE_MAX ((uint32_t)1024 * 1024)

/*
 * After a ReadyForQuery or the end of what a client sent, or when the server is to be replaced: releases it if the pool
 * mode says so, or ends it if server_fast_close does. The client may be closed behind this. False: nothing of this,
 * because it is in the middle of something.
 */
bool server_settle(struct server *s);

/* Whether the server could go back to its pool now. */
bool server_is_between_transactions(const struct server *s);

/* A log line of this server's, and one with more to say (base/log_line.h); the line's subject is filled in here. */
void server_log(const struct server *s, enum log_level level, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
void server_log_line(const struct server *s, struct log_line line, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
