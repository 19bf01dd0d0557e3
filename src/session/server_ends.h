/*
 * Why server connections end: one table. What the log says and what is
 * counted for each pool come from here.
 *
 * A server that ends together with its client, or for the same reason, has
 * the reason of session/close_reasons.h, its name and its text.
 */
#pragma once
#include "session/close_reasons.h"

/* X(symbol, text in the log: PgBouncer's where it has one) */
#define SERVER_ENDS(X)                                                                             \
	/* On the way in. The log says more precisely what has failed. */                         \
	X(DNS_FAILED, "server DNS lookup failed")                                                  \
	X(CONNECT_FAILED, "connect failed")                                                        \
	X(TLS_FAILED, "TLS handshake failed")                                                      \
	X(LOGIN_FAILED, "login failed")                                                            \
	X(CONNECT_QUERY_FAILED, "connect_query failed")                                            \
	X(WRONG_HOST, "host is not what target_session_attrs asks for")                            \
	/* Of age, or not needed. */                                                               \
	X(LIFETIME, "server lifetime over")                                                        \
	X(IDLE_TIMEOUT, "server idle timeout")                                                     \
	X(POOL_IDLE, "pool idle timeout")                                                          \
	X(EVICTED, "evicted: another pool needs the connection")                                   \
	X(EVICTED_FOR_REPLICATION, "evicted: a replication connection needs its place")            \
	X(GIVEN_UP, "given up: another pool needs the connection")                                 \
	X(LIMIT_LOWERED, "a limit on server connections was lowered")                              \
	/* The operator's or the configuration's will. */                                          \
	X(RECONNECT, "RECONNECT command")                                                          \
	X(PAUSED, "pause mode")                                                                    \
	X(SHUTDOWN, "pooler is shutting down")                                                     \
	/* What its host or its address has become. */                                             \
	X(DNS_CHANGED, "DNS changed, the server's address is not among its host's any more")       \
	X(HOST_ROLE, "host has changed its role")                                                  \
	X(HOST_UNREACHABLE, "host cannot be reached")                                              \
	/* Statements of our own between two clients. */                                           \
	X(CHECK_FAILED, "test query failed")                                                       \
	X(CHECK_TIMEOUT, "test query timeout")                                                     \
	X(RESET_FAILED, "reset query failed")                                                      \
	X(ROLLBACK_FAILED, "rollback failed")                                                      \
	X(SWITCH_FAILED, "switch of session parameters failed")                                    \
	X(TASK_TIMEOUT, "server_connect_timeout")                                                  \
	/* Its client has left it in a state that nothing is known of. */                          \
	X(NOT_READY, "client disconnect while server was not ready")                               \
	X(ABANDONED, "abandoned by its client, and not clean in time")                             \
	X(REPLICATION_OVER, "replication client has gone")                                         \
	X(UNEXPECTED, "error or unexpected message from an idle server")

/* X(symbol in CLOSE_REASONS) */
#define SERVER_ENDS_AS_CLIENTS(X)   \
	X(SERVER_REPLACED)          \
	X(SERVER_CRASHED)           \
	X(SERVER_PROTOCOL)          \
	X(OUT_OF_MEMORY)            \
	X(STATEMENT_MODE)           \
	X(QUERY_TIMEOUT)            \
	X(TRANSACTION_TIMEOUT)      \
	X(IDLE_TRANSACTION_TIMEOUT) \
	X(SUSPEND_TIMEOUT)          \
	X(CANCEL_WAIT_TIMEOUT)      \
	X(KILL)                     \
	X(DATABASE_REMOVED)

enum server_end {
	SERVER_END_NONE,
#define X(symbol, ...) SERVER_END_##symbol,
	SERVER_ENDS(X)
	SERVER_ENDS_AS_CLIENTS(X)
#undef X
	SERVER_END_COUNT
};

/* As in the table, and what the log says; NULL for NONE. */
const char *server_end_symbol(enum server_end why);
const char *server_end_text(enum server_end why);

/* That of a server whose client ends for this reason; one of SERVER_ENDS_AS_CLIENTS. */
enum server_end server_end_of(enum close_reason why);
