/*
 * Who is who: the databases, users and pools that exist now, under the
 * configuration in force.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/atom.h"
#include "base/hash.h"
#include "conf/conf.h"
#include "net/deadline.h"
#include "pool/cap.h"
#include "pool/host.h"
#include "pool/in_use.h"
#include "pool/pool.h"

struct database {
	UT_hash_handle hh;               /* by name->text */
	struct atom *name;               /* what clients ask for */
	const struct conf_database *conf; /* of the snapshot in force; the "*" entry for automatic ones */
	struct database_pool *pools;
	bool is_auto, is_disabled, is_paused;
	bool is_dead;                    /* gone from the configuration; kept while anybody uses it */
	struct host **hosts;             /* those of its entry, in that order */
	uint64_t *read_only_until;       /* for each: a login has told that transactions are read-only in this database */
	unsigned nhosts;
	unsigned next_host;              /* where the next server connection goes, in that list */
	struct cap cap;                  /* max_db_connections */
	unsigned nclients;
	struct deadline unused;          /* automatic ones: when nobody has used it for autodb_idle_timeout */
	TAILQ_ENTRY(database) in_disuse; /* among automatic ones without clients and servers */
	bool is_in_disuse;
	bool was_used;                   /* has or has had a pool */
	struct stats_history gone;       /* of pools that have been dropped */
	void *session;                   /* the session layer's part */
};

TAILQ_HEAD(databases, database);

struct user {
	UT_hash_handle hh;
	struct atom *name;
	const struct conf_user *conf;    /* NULL: not in [users] */
	unsigned nclients;
	unsigned nconsoles;              /* of these, on the console */
	struct cap cap;                  /* max_user_connections */
	unsigned npools;
	void *session;                   /* the session layer's part */
};

struct registry;

/* Called when a pool has been made or its settings changed; when it is about to be freed. */
struct registry_hooks {
	bool (*on_pool)(void *arg, struct pool *pool); /* false: out of memory; a new pool is dropped again */
	void (*on_pool_freed)(void *arg, struct pool *pool);
	/* The same for users. */
	bool (*on_user)(void *arg, struct user *user);
	void (*on_user_freed)(void *arg, struct user *user);
	/* What servers of this database were connected with has changed. */
	void (*on_database_changed)(void *arg, struct database *db);
	/* It is dead now: its clients and servers have to go. */
	void (*on_database_removed)(void *arg, struct database *db);
	void (*on_auto_database)(void *arg, struct database *db);
	void *arg;
};

struct registry *registry_new(struct conf *conf, const struct registry_hooks *hooks);
void registry_free(struct registry *r);

/* What a registry begins with: all that others see of it, because each message asks for it. */
struct registry_front {
	struct conf *conf;
};

/* The snapshot in force. */
static inline struct conf *registry_conf(const struct registry *r)
{
	return ((const struct registry_front *)r)->conf;
}

/* All hosts that databases name or servers are connected to. */
struct hosts *registry_hosts(const struct registry *r);

/* Those of its pools that are in use. */
struct pools_in_use *registry_in_use(struct registry *r);

/* Puts another snapshot in force, taking over its reference. */
void registry_reload(struct registry *r, struct conf *conf);

/* A database by the name that a client gave; an automatic one is made if the file has "*". NULL: no such database. */
struct database *registry_database(struct registry *r, struct slice name);

/* The same, but none is made. */
struct database *registry_find_database(const struct registry *r, struct slice name);

/* The same of users. */
struct user *registry_find_user(const struct registry *r, struct slice name);

/* Forgets an automatic database that has neither clients nor servers, and its pools. */
void registry_drop_database(struct registry *r, struct database *db);

/* The user's entry, made at need. NULL when out of memory. */
struct user *registry_user(struct registry *r, struct slice name);

/* The pool for a client user on a database (that of the forced user, if there is one), made at need. */
struct pool *registry_pool(struct registry *r, struct database *db, struct user *user);

/* The pool of these names, its user the forced one if there is one; its database may be gone. NULL: there is none. */
struct pool *registry_pool_named(const struct registry *r, struct slice database, struct slice user);

/* As registry_pool(), but none is made: NULL if there is none. */
struct pool *registry_find_pool(const struct registry *r, struct slice database, struct slice user);

/* Forgets a pool that has neither clients nor servers; what it has counted stays with its database. */
void registry_drop_pool(struct registry *r, struct pool *pool);

/* Forgets a user who has neither clients nor pools. */
void registry_drop_user(struct registry *r, struct user *user);

/* A numeric setting as it holds for a user. */
int64_t registry_user_setting(const struct registry *r, enum setting_id id, const struct user *user);

/* The database's name on the server. */
const char *database_server_name(const struct database *db);

/* Iteration: the first when `previous` is NULL; NULL at the end. Databases include dead ones. */
struct database *registry_next_database(const struct registry *r, struct database *previous);
struct user *registry_next_user(const struct registry *r, struct user *previous);
struct pool *registry_next_pool(const struct registry *r, struct pool *previous);
struct pool *database_next_pool(const struct database *db, struct pool *previous);

unsigned registry_pool_count(const struct registry *r);

/*
 * A period of the statistics has ended, for all that is counted here. For histograms it ends by and by, since they are
 * large: each further call ends it for the next `most` pools; false: for all of them it has ended.
 */
void registry_turn_stats(struct registry *r);
bool registry_turn_latency(struct registry *r, unsigned most);

/* Of databases that have been dropped. */
const struct stats_history *registry_gone_stats(const struct registry *r);
