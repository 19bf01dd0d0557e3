/*
 * What the tables are about: the databases, pools and users in order of their
 * names, the console among them, and what several tables ask of these.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"
#include "pool/pool.h"
#include "pool/registry.h"
#include "session/hub.h"

/* How the console is called as a database, and its pool's user. */
#define CONSOLE_NAME "pgbouncer"

struct subject {
	struct slice name, user;     /* the user: of pools only */
	union {
		const struct database *database; /* NULL: the console */
		const struct pool *pool;         /* NULL: the console */
		struct {                         /* either or both may be NULL: known from auth_file alone */
			const struct user *seen;
			const struct conf_user *conf;
		};
	};
	unsigned count, waiting;     /* for the use of the table */
};

/* Sorted; freed by subjects_free(). */
struct subjects {
	struct subject *items;
	size_t n;
};

/* False when out of memory. Databases that have been removed are left out, and their pools when nobody uses them. */
bool subjects_databases(const struct hub *hub, struct subjects *list);
bool subjects_pools(const struct hub *hub, struct subjects *list);

/* Everybody in auth_file, in [users], or who has been here. */
bool subjects_users(const struct hub *hub, struct subjects *list);
void subjects_free(struct subjects *list);

/* The one with this name; NULL if there is none. */
struct subject *subjects_find(const struct subjects *list, struct slice name);

/* Clients on the console. */
unsigned console_client_count(const struct hub *hub);

/* The servers of all the database's pools. */
unsigned database_server_count(const struct database *db);

/* "used" in PgBouncer's terms: idle for so long that it is checked before it is given out. */
bool server_is_used(const struct pool_server *s, uint64_t now);

/* The word for how a database's hosts are chosen; NULL when there is nothing to choose. */
const char *load_balance_word(const struct conf *conf, const struct conf_database *db);

/* Of all pools that a database has or has had: a total never falls. */
void history_of_database(const struct database *db, struct stats_history *sum);

/* Of all databases, those that are gone too. */
void history_of_all(const struct hub *hub, struct stats_history *sum);
