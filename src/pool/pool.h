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
#include "pool/stats.h"

struct database;
struct user;
struct pool;

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
	unsigned connect_parallel;
	bool round_robin;
	bool is_forced_user;             /* the pool is kept at min_size even without clients */
	uint64_t reserve_timeout_us, server_lifetime_us, query_wait_timeout_us, check_delay_us;
	bool checks;                     /* server_check_query is not empty */
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
	bool is_paused, is_dead;
	uint64_t retry_at;               /* no new server before this; 0 none */
	struct stats_history stats;
	void *session;                   /* the session layer's part */
};

void pool_init(struct pool *pool, struct database *database, struct user *user);

unsigned pool_server_count(const struct pool *pool);

/* A server joins in state NEW, changes its state, leaves. Only these touch counts and the list. */
void pool_server_join(struct pool *pool, struct pool_server *s);
void pool_server_enter(struct pool_server *s, enum pool_server_state state);
void pool_server_leave(struct pool_server *s);

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

/* Whether a connection should be opened now; *reserve: it is one of the reserve. Called until it says no. */
bool pool_wants_server(const struct pool *pool, uint64_t now, bool *reserve);

/* When pool_wants_server() may change its mind with nothing else happening (the reserve, a retry); 0 never. */
uint64_t pool_wakes_at(const struct pool *pool, uint64_t now);

/* How long the longest waiter has waited, be it for a server or for its login. */
uint64_t pool_maxwait_us(const struct pool *pool, uint64_t now);

/* An idle server whose age asks for its end may go now: not too many at a time. */
bool pool_lifetime_is_over(const struct pool_server *s, uint64_t now);
