/*
 * What all sessions share: the loop, the registry, the tables of clients and
 * servers, and how the program is doing. The pooler fills it in and passes it
 * down; nothing in it is global.
 */
#pragma once
#include <bsd/sys/queue.h>
#include <stdbool.h>
#include <stdint.h>

#include "auth/keys.h"
#include "auth/client_auth.h"
#include "auth/helper.h"
#include "base/addrbook.h"
#include "base/slab.h"
#include "conf/conf.h"
#include "net/dns.h"
#include "net/listen.h"
#include "net/loop.h"
#include "pool/registry.h"
#include "pool/stmts.h"
#include "proto/params.h"
#include "session/admission.h"
#include "session/cancel_key.h"
#include "session/capacity.h"
#include "session/close_reasons.h"
#include "session/drain.h"
#include "session/errors.h"
#include "session/hang_ups.h"
#include "session/memory_guard.h"
#include "session/tls_setup.h"

struct applications;
struct auth_queries;
struct cancel_request;
struct client;
struct msg;
struct peer;
struct server;

/* How the program is ending, if it is. */
enum shutdown_mode {
	SHUTDOWN_NOT,
	SHUTDOWN_WAIT_FOR_SERVERS,       /* as soon as no transaction (session mode: no session) is open */
	SHUTDOWN_WAIT_FOR_CLIENTS,       /* as soon as the last client has left */
	SHUTDOWN_DRAIN,                  /* the same, and clients are sent away: see session/drain.h */
};

/* What is held back of all databases; of one, see struct database. */
enum pause_mode {
	PAUSE_NOT,
	PAUSE_ALL,                       /* see session/pause.h */
	PAUSE_SUSPEND,                   /* see session/suspend.h */
};

/* The admin console, a database without servers; the layer above fills it in. */
struct console_ops {
	/* Needs no password: whom the process belongs to, over the Unix socket. Asked before authentication. */
	bool (*is_owner)(struct client *c);
	/* What a user may do on it: everything, look only, nothing. */
	bool (*may_login)(struct client *c);
	/*
	 * A whole simple query: appends the reply, ReadyForQuery included, or closes the client (then false), or has it
	 * wait for its reply (CLIENT_CONSOLE_WAIT) until the console lets it go on.
	 */
	bool (*on_query)(struct client *c, struct slice sql, struct strbuf *out);
	/* The same for a whole message of the extended query protocol, Parse to Sync. */
	bool (*on_extended)(struct client *c, const struct msg *m, struct strbuf *out);
	/*
	 * Rows of a reply are still to follow: nothing more is taken from the client before their end, after which the
	 * console resumes its connection.
	 */
	bool (*is_telling)(const struct client *c);
	/* Such a client has read what it got. */
	void (*on_drained)(struct client *c);
	/* A client has asked, over another connection, to have its command cancelled, if there is one. */
	void (*on_cancel)(struct client *c);
	/* A client of the console has gone. */
	void (*on_gone)(struct client *c);
	const char *server_version;      /* ParameterStatus of that name */
};

struct hub {
	struct loop *loop;
	struct dns *dns;
	struct registry *registry;
	struct slab *clients, *servers;
	struct addrbook own_ends;        /* addresses that clients have connected to */
	struct params *params;
	struct applications *applications; /* what is counted by application_name */
	struct stmts *stmts;             /* prepared statements, of all clients and servers */
	struct paramset *no_params;      /* the empty set */
	struct keycache *keys;
	struct auth_helper *auth_helper; /* PAM and LDAP */
	struct auth_queries *auth_queries;
	uint8_t mock_key[CLIENT_AUTH_MOCK_KEY_SIZE];
	struct cancel_secret cancel_secret;
	enum secret_type mock_type;      /* what most users of auth_file have */
	enum secret_type looked_up_type; /* what auth_query found last */
	const struct console_ops *console;
	struct tcp_options tcp;
	struct tls_cache *tls_cache;
	struct tls_setup tls;
	struct listeners *listeners;
	struct listeners *http_listeners; /* NULL: none; a takeover passes them on too */
	enum shutdown_mode shutdown;     /* written by session/shutdown.c */
	bool is_ready;                   /* new clients are welcome: for those who choose where to connect to */
	bool is_door_closed;             /* nobody is accepted over TCP any more; clients up to this id came in time: */
	uint64_t last_admitted;
	struct drain drain;
	struct capacity_checks capacity;
	ev_timer sizes;                  /* see session/pool_sizes.h */
	enum pause_mode pause;           /* written by session/pause.c and suspend.c */
	struct deadline suspend_deadline;
	TAILQ_HEAD(, cancel_request) cancels; /* all that have been asked for and are not over */
	struct databases in_disuse;      /* automatic ones, the longest unused first: see session/timeouts.c */
	unsigned nin_disuse;
	struct peer *peers;              /* see session/peers.h */
	unsigned nclients;               /* past their startup packet, consoles not counted */
	unsigned nlogins;                /* not logged in yet */
	struct admission admission;
	struct memory_guard memory;
	struct hang_ups hang_ups;
	uint64_t last_id;
	uint64_t last_unnamed;           /* the same for unnamed prepared statements */
	uint64_t closes[CLOSE_REASON_COUNT]; /* of clients, by reason */
	struct errors errors;
	uint64_t started_at;
	unsigned nwaits;                 /* commands of the console that wait for sessions */
	/* See hub_note_quiet(). */
	void (*on_quiet)(void *arg);
	void *on_quiet_arg;
};

/* Tells the root that what a shutdown or a command waits for may have happened (the last client left, say). */
static inline void hub_note_quiet(struct hub *hub)
{
	if (hub->shutdown != SHUTDOWN_NOT || hub->nwaits > 0)
		hub->on_quiet(hub->on_quiet_arg);
}

/* As a database, the console goes by PgBouncer's name for it too. */
static inline bool hub_is_console(struct slice database)
{
	return slice_is(database, "pgbouncer") || slice_is(database, "pgsluice");
}

static inline const struct settings *hub_settings(const struct hub *hub)
{
	return &registry_conf(hub->registry)->s;
}
