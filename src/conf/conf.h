/*
 * The configuration: one immutable snapshot of everything the files said.
 *
 * A reload loads a new snapshot beside the one in force; only when all of it is
 * valid does the pooler swap them. All text lives in the snapshot's arena and
 * is NUL-terminated. Whoever keeps a pointer into a snapshot past the current
 * loop turn holds a reference to it.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/str.h"
#include "conf/hba.h"
#include "conf/ident.h"
#include "conf/overrides.h"
#include "conf/problems.h"
#include "conf/settings.h"
#include "conf/userlist.h"

/* The longest names, without the NUL. */
enum { CONF_DATABASE_NAME_MAX = 63, CONF_USER_NAME_MAX = 127 };

/* One server address as the file names it. */
struct conf_host {
	const char *host;     /* name, IP, "/dir" or "@abstract" */
	int port;
};

/* A startup parameter that the file fixes for a database. */
struct conf_parameter {
	const char *name, *value;
};

struct conf_database {
	const char *name;                     /* "*" for the template of unknown databases */
	const char *dbname;                   /* NULL: the name the client asked for */
	struct conf_host *hosts;
	size_t nhosts;                        /* at least 1: without host= the Unix socket directory */
	const char *user, *password;          /* forced user; NULL when not given */
	const char *connect_query;            /* NULL when not given */
	struct conf_parameter *parameters;    /* client_encoding, datestyle, timezone, application_name */
	size_t nparameters;
	struct conf_overrides overrides;
	struct conf_place at;                 /* where it was written; nowhere, if the console has made it */
	struct conf_database *next;           /* in the file's order */
};

struct conf_user {
	const char *name;
	struct conf_overrides overrides;
	struct conf_place at;                 /* as above */
	struct conf_user *next;
};

struct conf_peer {
	int id;
	const char *host;
	int port;
	struct conf_overrides overrides;
	struct conf_place at;                 /* as above */
	struct conf_peer *next;
};

struct conf {
	struct settings s;                    /* section [pgbouncer] or [pgsluice] */
	bool is_pgbouncers;                   /* by the first of these names: a file that was made for PgBouncer */
	struct conf_place origins[SETTING_COUNT]; /* where each was said; file NULL: nowhere, it is the default */
	struct conf_database *databases;
	struct conf_user *users;
	struct conf_peer *peers;
	struct userlist *userlist;            /* of auth_file; never NULL, empty when there is none */
	struct hba *hba;                      /* of auth_hba_file; NULL when there is none */
	struct ident *ident;                  /* of auth_ident_file; NULL when there is none */
	/* The rest is private to conf.c. */
	struct arena *arena;
	struct conf *base;                    /* conf_with(): what was loaded, from which this differs; NULL: itself */
	struct conf_changed *changes;         /* conf_with(): in what */
	unsigned refs;
	struct names *database_names, *user_names;
};

/* One `-c name=value` of the command line: stronger than the file, at reload too. */
struct conf_assignment {
	const char *name, *value;
};

/* One SET of the console: holds until the next reload. */
struct conf_change {
	enum setting_scope scope;             /* SCOPE_GLOBAL, SCOPE_DATABASE or SCOPE_USER */
	struct slice entry;                   /* whose, if not global; "*" is the template of databases */
	struct slice key, value;
};

/* What struct conf_place has as the file of what was said elsewhere. */
#define CONF_COMMAND_LINE "command line"
#define CONF_SET "SET"

/*
 * Reads the file, what it includes and the files it names (auth_file,
 * auth_hba_file, auth_ident_file). All errors are collected, not only the
 * first. Returns a snapshot with one reference, or NULL when there was any
 * error.
 */
struct conf *conf_load(const char *file, const struct conf_assignment *assignments, size_t nassignments,
		       struct conf_problems *problems);

/*
 * The same for a program that runs: settings which only a restart can change
 * stay as they are in *running; each that the file has otherwise is a warning.
 */
struct conf *conf_reload(const char *file, const struct conf_assignment *assignments, size_t nassignments,
			 const struct conf *running, struct conf_problems *problems);
struct conf *conf_ref(struct conf *conf);
void conf_unref(struct conf **conf);

/*
 * A snapshot that differs from another in one thing; what else was changed in
 * that stays so. A database that only the template stands for, and a user
 * without an entry, get one. NULL when there is no such thing, the value is not
 * accepted, or only a restart could apply it: *error then says what is.
 */
struct conf *conf_with(struct conf *conf, const struct conf_change *change, struct strbuf *error);

/* Whether settings fit each other, as conf_load() checks it; what does not goes to `problems`. */
void conf_check(const struct conf *conf, struct conf_problems *problems);

/* Where a setting was said, for messages: the file as a whole if nowhere. */
struct conf_place conf_origin(const struct conf *conf, enum setting_id id);

/* An entry by its exact name; NULL if there is none ("*" is not considered). */
const struct conf_database *conf_find_database(const struct conf *conf, struct slice name);
const struct conf_user *conf_find_user(const struct conf *conf, struct slice name);

/*
 * A setting as it holds for a user on a database: user before database before
 * global, for the scopes the setting has. Either may be NULL. All types but
 * strings.
 */
int64_t conf_effective(const struct conf *conf, enum setting_id id, const struct conf_database *database,
		       const struct conf_user *user);

/* The same of a string setting, which users have none of. */
const char *conf_effective_string(const struct conf *conf, enum setting_id id, const struct conf_database *database);

/*
 * What differs between two snapshots: a line "name changed from 'old' to 'new'"
 * for each value, that of an entry with "database name: " in front, each ending
 * in '\n'. Of secrets and of files only that they have changed. (conf_changes.c)
 */
void conf_print_changes(const struct conf *old, const struct conf *new, struct strbuf *lines);

/*
 * Whether two snapshots' entries lead to the same kind of server connection;
 * when they do not, those that are open must be replaced.
 */
bool conf_database_same_server(const struct conf_database *a, const struct conf_database *b);
