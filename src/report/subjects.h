/*
 * What the tables are about: the databases, pools, users and hosts in order of
 * their names, the console among them, and what several tables ask of these.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"
#include "pool/host.h"
#include "pool/pool.h"
#include "pool/registry.h"
#include "report/table.h"
#include "session/hub.h"

/* How the console is called as a database, and its pool's user. */
#define CONSOLE_NAME "pgbouncer"

struct subject {
	struct slice name, user;     /* the user: of pools only */
	union {
		const struct database *database; /* NULL: the console */
		const struct pool *pool;         /* NULL: the console */
		const struct host *host;
		struct {                         /* either or both may be NULL: known from auth_file alone */
			const struct user *seen;
			const struct conf_user *conf;
		};
	};
};

struct subject_kind;

/* Databases that have been removed are left out, and their pools when nobody uses them. */
extern const struct subject_kind subject_databases, subject_pools;

/* Everybody in auth_file, in [users], or who has been here. */
extern const struct subject_kind subject_users;
extern const struct subject_kind subject_hosts;

/* Tells the row of one, if it has any; false when out of memory. */
typedef bool subject_row(const struct report *r, struct row_sink *sink, const struct subject *s);

/* The `piece` of a table of those that there are at the beginning, and still are when their turn comes. */
enum told subjects_piece(const struct subject_kind *kind, const struct report *r, struct table_place *place,
			 unsigned most, struct row_sink *sink, subject_row *row);

size_t subjects_count(const struct subject_kind *kind, const struct hub *hub);

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
