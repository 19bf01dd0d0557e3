/*
 * A pool: the server connections of one user on one database, and the clients
 * that wait for one.
 *
 * It decides who gets which server and when another is wanted. It knows
 * nothing of sockets or messages: struct pool_server and struct pool_client
 * are embedded in the session layer's objects.
 */
#pragma once
#include <bsd/sys/queue.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conf/settings.h"
#include "pool/adaptive.h"
#include "pool/backoff.h"
#include "pool/concurrency.h"
#include "pool/latency.h"
#include "pool/stats.h"

struct cap;
struct database;
struct pools_in_use;
struct user;
struct pool;

TAILQ_HEAD(pool_queue, pool);

/* Where a server connection stands; the names are those of SHOW SERVERS. */
#define POOL_SERVER_STATES(X)                                                   \
	X(NEW, "new")                       /* connecting or logging in */      \
	X(IDLE, "idle")                     /* free, in the pool's list */      \
	X(TESTED, "tested")                 /* checked or reset, by ourselves */ \
	X(ACTIVE, "active")                 /* a client has it */               \
	X(BEING_CANCELED, "being_canceled") /* free, but a cancel request for it is under way */

enum pool_server_state {
#define X(name, text) POOL_SERVER_##name,
	POOL_SERVER_STATES(X)
#undef X
	POOL_SERVER_STATE_COUNT,
};

struct pool_server {
	TAILQ_ENTRY(pool_server) link;   /* while IDLE */
	struct pool *pool;
	enum pool_server_state state;
	bool close_needed;               /* not to be given to anybody again */
	bool is_retiring;                /* closed as soon as there is another in its place; written by pool_server_retire() */
	uint64_t connected_at, idle_since;
};
TAILQ_HEAD(pool_servers, pool_server);

struct pool_client {
	TAILQ_ENTRY(pool_client) link;   /* while waiting */
	struct pool *pool;
	uint64_t waiting_since;          /* 0: not waiting */
	bool is_for_login;               /* waits for the welcome, not for a server of its own */
};
TAILQ_HEAD(pool_clients, pool_client);

/* What the configuration says for this user on this database. */
struct pool_settings {
	enum pool_mode mode;
	unsigned size;                   /* 0: no bound */
	unsigned min_size, reserve_size;
	bool is_adaptive;                /* pool_size_mode */
	unsigned connect_parallel;       /* see pool_was_let_in() */
	bool round_robin;
	unsigned guaranteed_size;        /* never given up to other pools */
	bool is_forced_user;             /* the pool is kept at min_size even without clients */
	unsigned breaker_failures, host_connect_parallel;
	enum load_balance_hosts load_balance;
	enum target_session_attrs attrs;
	enum server_down_action down_action;
	uint64_t most_retry_wait_us;     /* server_login_retry */
	uint64_t recheck_us;             /* host_check_interval */
	uint64_t reserve_timeout_us, server_lifetime_us, query_wait_timeout_us, check_delay_us;
	bool checks;                     /* server_check_query is not empty */
};

/*
 * What keeps a waiting client from a server.
 *
 * X(name, word in SHOW WAITING, the same for the client)
 */
#define POOL_HOLDS(X)                                                                                       \
	X(NONE, "", "")                                                                                     \
	X(PAUSED, "paused", "the database is paused")                                                       \
	X(CHECK, "server_check", "a server connection is being checked or cleaned")                         \
	X(LOGIN, "login", "a server connection is being made")                                              \
	X(CONNECTS, "server_connect_parallel", "as many server connections are being made as may be at a time") \
	X(POOL_SIZE, "pool_size", "all server connections of the pool are in use")                          \
	X(POOL_SIZE_MODE, "pool_size_mode", "clients hold as many server connections as the pool works with for now") \
	X(MAX_DB, "max_db_connections", "the database has as many server connections as it may")            \
	X(MAX_USER, "max_user_connections", "the user has as many server connections as he may")            \
	X(MAX_ALL, "max_server_connections", "there are as many server connections as there may be")        \
	X(HOST_CONNECTS, "host_connect_parallel", "as many connections to the host are being made as may be at a time") \
	X(RETRY, "server_login_retry", "the last attempt to connect failed, the next one is not due yet")   \
	X(BREAKER, "breaker", "the host is down")                                                           \
	X(NO_HOST, "target_session_attrs", "no host is what target_session_attrs asks for")

enum pool_hold {
#define X(name, word, text) HOLD_##name,
	POOL_HOLDS(X)
#undef X
};

const char *pool_hold_word(enum pool_hold hold);
const char *pool_hold_text(enum pool_hold hold);

/* The bounds that a pool shares with others, see pool/cap.h. */
enum cap_kind { CAP_DATABASE, CAP_USER, CAP_ALL, CAP_KINDS };

struct cap_seat {
	TAILQ_ENTRY(cap_seat) link;      /* in the bound's list */
	struct cap *cap;                 /* NULL: none */
	struct pool *pool;
	uint64_t used_us, since;         /* what it has had: servers times microseconds, up to `since` */
};

struct pool {
	struct database *database;
	struct user *user;
	struct pool_settings settings;
	struct pool_servers idle;        /* the next to be taken first */
	struct pool_clients waiting;     /* in order of arrival */
	unsigned nservers[POOL_SERVER_STATE_COUNT];
	unsigned nwaiting;
	unsigned nclients;               /* logged in, waiting ones included */
	struct pool_clients logins;      /* clients that wait for the first server's welcome */
	unsigned nlogins;
	unsigned nretiring;
	bool is_paused, is_dead;
	bool is_known;                   /* its user has logged in to a server: it is kept at min_size without clients, too */
	bool is_capped;                  /* some bound it shares is set */
	bool is_shrinking;               /* a reload has found it over its size, and it may be so still */
	struct cap_seat seats[CAP_KINDS];
	struct backoff backoff;          /* after logins that the server refused */
	uint64_t let_in_at, failed_at;   /* when a login last proved something, and when an attempt last came to nothing */
	uint64_t wanted_until;           /* clients were sent away for want of a server a moment ago */
	TAILQ_ENTRY(pool) blocked_link;
	struct pool_queue *blocked_in;   /* waits for a bound or a host; NULL: does not */
	struct stats_history stats;
	struct concurrency concurrency;  /* see pool/in_use.h */
	TAILQ_ENTRY(pool) use_link;
	struct pools_in_use *use_of;     /* NULL: nobody wants to know */
	bool is_in_use;
	unsigned working_size;           /* adaptive: so many servers may be held at a time; 0: all there are */
	struct adaptive adaptive;
	struct stats sized_at;           /* when working_size was decided last */
	void *session;                   /* the session layer's part */
	struct histogram_history *latency[LATENCY_KINDS]; /* NULL: nothing of this kind has been recorded */
};

void pool_init(struct pool *pool, struct database *database, struct user *user);

/* Frees what the pool has allocated for itself, and not the pool. */
void pool_fini(struct pool *pool);

unsigned pool_server_count(const struct pool *pool);

/* For pool_record(), of the first time of a kind: most names that clients try never serve anybody. */
__attribute__((cold))
void pool_record_first(struct pool *pool, enum latency_kind kind, uint64_t us);

/* Something took so long. It is not recorded when there is no memory for its kind's first. */
static inline void pool_record(struct pool *pool, enum latency_kind kind, uint64_t us)
{
	if (pool->latency[kind] != NULL)
		histogram_record(pool->latency[kind], us);
	else
		pool_record_first(pool, kind, us);
}

/* A period of the statistics has ended, for the histograms. */
void pool_turn_latency(struct pool *pool);

/* Those that have logged in. */
static inline unsigned pool_open_count(const struct pool *pool)
{
	return pool_server_count(pool) - pool->nservers[POOL_SERVER_NEW];
}

/* Those that clients hold, or that are checked or cleaned for them. */
static inline unsigned pool_held_count(const struct pool *pool)
{
	return pool_open_count(pool) - pool->nservers[POOL_SERVER_IDLE];
}

/* A server joins in state NEW, changes its state, leaves. Only these touch counts and the list. */
void pool_server_join(struct pool *pool, struct pool_server *s, uint64_t now);
void pool_server_enter(struct pool_server *s, enum pool_server_state state);
void pool_server_leave(struct pool_server *s, uint64_t now);

/*
 * A login that began at `began_at` has succeeded. For a second from then on
 * connect_parallel servers may be NEW at a time: what the first one has proved
 * of host, user and database holds for those behind it, and who waits need not
 * go through one login after another. Before that, and after an attempt that
 * has come to nothing, it is POOL_FIRST_CONNECTS, so that neither a server
 * that is in trouble nor one that refuses is asked by many at once.
 */
#define POOL_FIRST_CONNECTS 4
void pool_was_let_in(struct pool *pool, uint64_t began_at, uint64_t now);

/*
 * Its time is over. True: it can go. False: the pool is at its minimum, and
 * another has to be opened first; that is done for one server at a time.
 */
bool pool_server_retire(struct pool_server *s);

/* The pool waits in a queue, or no longer. */
void pool_block(struct pool *pool, struct pool_queue *queue);
void pool_unblock(struct pool *pool);

enum pool_answer {
	POOL_GRANTED,            /* *server is the client's, ACTIVE */
	POOL_QUEUED,             /* the client waits; ask pool_wants_server() */
	POOL_QUEUED_TEST_ONE,    /* the same, and *server, now TESTED, is to be checked and then released */
};
enum pool_answer pool_acquire(struct pool *pool, struct pool_client *c, uint64_t now, struct pool_server **server);

/* The client waits until some server has logged in and told what a welcome holds. */
void pool_await_login(struct pool *pool, struct pool_client *c, uint64_t now);

/* The client waits no longer, for whatever it was; it may not wait at all. */
void pool_forget(struct pool_client *c);

/*
 * The server is free again. Returns the client that has waited longest, which
 * now has the server (ACTIVE); NULL: the server is idle.
 */
struct pool_client *pool_release(struct pool_server *s, uint64_t now);

/*
 * As pool_release() for a pool whose servers were not given out for a while
 * (RESUME): hands an idle server to the longest waiter; NULL when there is no
 * such pair.
 */
struct pool_client *pool_serve(struct pool *pool, uint64_t now, struct pool_server **server);

/*
 * Whether the pool for itself would have a connection opened now; *reserve: it
 * is one of the reserve. What it shares with others may still be against it,
 * see pool/opening.h.
 */
bool pool_wants_server(const struct pool *pool, uint64_t now, bool *reserve);

/*
 * Clients hold as many servers as it may have, and there is no reserve: it is seen at a glance that one more who waits
 * changes nothing.
 */
static inline bool pool_is_busy(const struct pool *pool)
{
	return pool->settings.size != 0 && pool->nservers[POOL_SERVER_ACTIVE] >= pool->settings.size &&
	       pool->settings.reserve_size == 0 && pool->nretiring == 0;
}

/* More servers than it may have, the reserve included: its size has been lowered. */
bool pool_is_over_size(const struct pool *pool);

/* If not: why those who wait have to; NONE when nobody needs one. */
enum pool_hold pool_own_hold(const struct pool *pool, uint64_t now);

/* Clients are waiting that no server is on its way to. */
bool pool_clients_need(const struct pool *pool);

/* The same, or some were sent away lately and will come again: not only the minimum wants a server. */
bool pool_has_need(const struct pool *pool, uint64_t now);

/* When pool_wants_server() may change its mind with nothing else happening (the reserve, a retry); 0 never. */
uint64_t pool_wakes_at(const struct pool *pool, uint64_t now);

/* How long the longest waiter has waited, be it for a server or for its login. */
uint64_t pool_maxwait_us(const struct pool *pool, uint64_t now);
