/*
 * Why connections are closed: one table. What a client is told, what the log
 * says and what is counted all come from here.
 *
 * X(symbol, SQLSTATE, told, log level, "text", "hint")
 *
 * The text is PgBouncer's, so that people and their tools recognise it; %s
 * stands for the subject that the closer names. `told`: the client gets a
 * FATAL error, of this SQLSTATE, or of 08P01 where sqlstate_compat asks for
 * what PgBouncer sends; otherwise the reason is for the log only.
 */
#pragma once
#include <stdbool.h>

#include "base/log.h"

#define CLOSE_REASONS(X)                                                                                             \
	/* Ends that are nobody's fault. */                                                                          \
	X(CLIENT_QUIT, "", false, LOG, "client close request", NULL)                                                 \
	X(CLIENT_EOF, "", false, LOG, "client unexpected eof", NULL)                                                 \
	X(CANCEL_DONE, "", false, DEBUG, "cancel request done", NULL)                                                \
	X(CANCEL_UNKNOWN, "", false, DEBUG, "failed cancel request", NULL)                                           \
	X(CANCEL_WAIT_TIMEOUT, "", false, WARNING, "cancel_wait_timeout", NULL)                                      \
	X(ADMIN_SHUTDOWN, "57P01", true, LOG, "server shutting down", NULL)                                          \
	X(POOLER_SHUTDOWN, "57P01", true, LOG, "pooler is shutting down", NULL)                                      \
	X(KILL, "57P01", true, LOG, "database removed",                                                              \
	  "An administrator has given KILL; the database is held back until RESUME.")                                \
	X(KILL_CLIENT, "57P01", true, LOG, "admin forced disconnect",                                                \
	  "An administrator has ended this connection with KILL_CLIENT.")                                            \
	X(DATABASE_REMOVED, "57P01", true, LOG, "database removed",                                                  \
	  "The database is no longer in the pooler's configuration.")                                                \
	/* The first packet. */                                                                                      \
	X(BAD_STARTUP, "08P01", true, WARNING, "%s", NULL)                                                           \
	X(OLD_PROTOCOL, "08P01", true, WARNING, "old V2 protocol not supported", NULL)                               \
	X(PLAIN_AFTER_SSL, "08P01", true, WARNING, "received unencrypted data after SSL request", NULL)              \
	X(PLAIN_AFTER_GSS, "08P01", true, WARNING, "received unencrypted data after GSSAPI encryption request",      \
	  NULL)                                                                                                      \
	X(NEEDS_TLS, "28000", true, WARNING, "SSL required",                                                         \
	  "client_tls_sslmode demands TLS: connect with sslmode=require.")                                           \
	X(TLS_FAILED, "", false, WARNING, "TLS handshake failed: %s", NULL)                                          \
	X(NO_ALPN, "", false, WARNING, "direct TLS connection without ALPN protocol postgresql", NULL)               \
	X(NO_USER, "28000", true, WARNING, "no username supplied", NULL)                                             \
	X(NAME_TOO_LONG, "08P01", true, WARNING, "%s too long", NULL)                                                \
	X(BAD_PARAMETER, "0A000", true, WARNING, "unsupported startup parameter: %s",                                \
	  "Name it in ignore_startup_parameters to have it dropped, or in track_extra_parameters if the server "     \
	  "reports it.")                                                                                             \
	X(BAD_REPLICATION, "22023", true, WARNING, "invalid value for parameter \"replication\": \"%s\"",             \
	  "Valid values are: \"false\", 0, \"true\", 1, \"database\".")                                              \
	X(BAD_OPTION, "0A000", true, WARNING, "unsupported startup parameter in options: %s",                        \
	  "Name it in ignore_startup_parameters to have it dropped, or in track_extra_parameters if the server "     \
	  "reports it.")                                                                                             \
	X(BAD_OPTIONS, "0A000", true, WARNING, "%s",                                                                 \
	  "Name options in ignore_startup_parameters to have them dropped.")                                         \
	/* Who may come in. */                                                                                       \
	X(AUTH_PASSWORD, "28P01", true, LOG, "%s", NULL)                                                             \
	X(AUTH_TRUST, "28000", true, LOG, "%s", NULL)                                                                \
	X(AUTH_MALFORMED, "08P01", true, WARNING, "%s", NULL)                                                        \
	X(AUTH_REJECTED, "28000", true, LOG, "%s", NULL)                                                             \
	X(AUTH_PEER, "28000", true, LOG, "%s", NULL)                                                                 \
	X(AUTH_CERTIFICATE, "28000", true, LOG, "%s", NULL)                                                          \
	X(AUTH_PAM, "28000", true, LOG, "%s", NULL)                                                                  \
	X(AUTH_LDAP, "28000", true, LOG, "%s", NULL)                                                                 \
	X(AUTH_QUERY_FAILED, "58000", true, WARNING, "bouncer config error",                                         \
	  "auth_query could not be asked; the pooler's log says why.")                                               \
	X(CONSOLE_DENIED, "42501", true, LOG, "not allowed",                                                         \
	  "The console is for those named in admin_users and stats_users.")                                          \
	X(NO_DATABASE, "3D000", true, LOG, "no such database: %s",                                                   \
	  "Add it to [databases], or an entry * for all that are not named there.")                                  \
	X(DATABASE_DISABLED, "57P03", true, LOG, "database \"%s\" is disabled",                                      \
	  "An administrator has disabled it; ENABLE lets clients in again.")                                         \
	X(MAX_CLIENT_CONN, "53300", true, WARNING, "no more connections allowed (max_client_conn)",                  \
	  "Raise max_client_conn, or close connections that are not needed.")                                        \
	X(MAX_DB_CLIENTS, "53300", true, WARNING, "client connections exceeded (max_db_client_connections)",          \
	  "Raise max_db_client_connections, or close connections that are not needed.")                              \
	X(MAX_USER_CLIENTS, "53300", true, WARNING, "client connections exceeded (max_user_client_connections)",      \
	  "Raise max_user_client_connections, or close connections that are not needed.")                            \
	X(LOGIN_SHED, "53300", true, WARNING, "no more connections allowed (unfinished logins)",                      \
	  "Others came, and this connection took its time to log in.")                                               \
	X(NO_DESCRIPTORS, "53300", true, WARNING, "no more connections allowed (open files)",                        \
	  "Raise the limit of open files for the pooler, or lower max_client_conn.")                                 \
	X(MAX_MEMORY, "53200", true, WARNING, "no more connections allowed (max_memory)",                            \
	  "Raise max_memory, or close connections that are not needed.")                                             \
	X(MEMORY_HELD, "53200", true, WARNING, "too much memory is held for this connection (max_memory)",           \
	  "Read results as they come, close prepared statements that are not needed, send less at a time.")          \
	X(OUT_OF_MEMORY, "53200", true, ERROR, "bouncer resources exhaustion", NULL)                                 \
	/* Waiting. */                                                                                               \
	X(LOGIN_TIMEOUT, "57014", true, WARNING, "client_login_timeout", NULL)                                       \
	X(LOGIN_TIMEOUT_DOWN, "57014", true, WARNING, "client_login_timeout (server down)",                          \
	  "The login waited for a server connection, and none could be made.")                                       \
	X(QUERY_WAIT_TIMEOUT, "57014", true, WARNING, "query_wait_timeout",                                          \
	  "Shorten transactions, or raise the limit that the DETAIL names.")                                         \
	X(SERVER_DOWN, "57P03", true, WARNING,                                                                       \
	  "server login has been failing, cached error: %s (server_login_retry)", NULL)                              \
	X(SERVER_REFUSED, "", true, WARNING, "%s", NULL)                                                             \
	X(CLIENT_IDLE_TIMEOUT, "57P05", true, LOG, "client_idle_timeout",                                            \
	  "The client sent nothing for too long.")                                                                   \
	X(QUERY_TIMEOUT, "57014", true, WARNING, "query_timeout", "The query ran for too long and was cancelled.")   \
	X(IDLE_TRANSACTION_TIMEOUT, "25P03", true, WARNING, "idle transaction timeout",                              \
	  "The client left a transaction open and sent nothing for too long; it was rolled back.")                   \
	X(TRANSACTION_TIMEOUT, "25P04", true, WARNING, "transaction timeout",                                        \
	  "The transaction lasted for too long and was rolled back.")                                                \
	X(SUSPEND_TIMEOUT, "57P01", true, WARNING, "suspend_timeout",                                                \
	  "The connection was in the way of a SUSPEND: its client did not read what it had been sent.")              \
	/* What a client may not do. */                                                                              \
	X(BAD_PACKET, "08P01", true, WARNING, "bad packet header: '%s'", NULL)                                       \
	X(UNKNOWN_PACKET, "08P01", true, WARNING, "unknown pkt", NULL)                                               \
	X(PQEXEC_DISALLOWED, "0A000", true, WARNING, "PQexec disallowed",                                            \
	  "disable_pqexec is set: use the extended query protocol.")                                                 \
	X(STATEMENT_MODE, "0A000", true, WARNING, "transaction blocks not allowed in statement pooling mode",        \
	  "Set pool_mode = transaction for clients that use transactions.")                                          \
	X(STATEMENT_TOO_LONG, "54000", true, WARNING, "prepared statement is too long",                              \
	  "The Parse message of a named statement may be at most 64 MB long.")                                       \
	/* What became of the server. */                                                                             \
	X(SERVER_REPLACED, "57P01", true, LOG, "database configuration changed",                                     \
	  "server_fast_close is set: connect again.")                                                                \
	X(SERVER_CRASHED, "08006", true, WARNING, "server conn crashed?", NULL)                                      \
	X(SERVER_PROTOCOL, "08P01", true, WARNING, "broken packet from the server", NULL)                            \
	X(PARAMETERS_REFUSED, "", true, WARNING, "%s", NULL)

enum close_reason {
#define X(symbol, ...) CLOSE_##symbol,
	CLOSE_REASONS(X)
#undef X
	CLOSE_REASON_COUNT
};

struct close_reason_info {
	const char *symbol, *sqlstate;
	bool is_told;
	enum log_level level;
	const char *text, *hint;
};

extern const struct close_reason_info close_reasons[CLOSE_REASON_COUNT];
