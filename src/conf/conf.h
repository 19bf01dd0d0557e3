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
#include "conf/problems.h"
#include "conf/settings.h"
#include "conf/userlist.h"

/*
 * The settings that one database, user or peer has of its own. What the file
 * gives as negative, to inherit, is not set.
 */
struct conf_overrides {
	bool is_set[SETTING_ENTITY_COUNT];
	int64_t number[SETTING_ENTITY_COUNT]; /* of the types that are no strings; a choice's enum value */
	const char *string[SETTING_ENTITY_COUNT];
};

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
	const char *file;                     /* where it was written, for messages */
	int line;
	struct conf_database *next;           /* in the file's order */
};

struct conf_user {
	const char *name;
	struct conf_overrides overrides;
	struct conf_user *next;
};

struct conf_peer {
	int id;
	const char *host;
	int port;
	struct conf_overrides overrides;
	struct conf_peer *next;
};

struct conf {
	struct settings s;                    /* section [pgbouncer] or [pgsluice] */
	struct conf_database *databases;
	struct conf_user *users;
	struct conf_peer *peers;
	struct userlist *userlist;            /* of auth_file; never NULL, empty when there is none */
	struct hba *hba;                      /* of auth_hba_file; NULL when there is none */
	struct ident *ident;                  /* of auth_ident_file; NULL when there is none */
	/* The rest is private to conf.c. */
	struct arena *arena;
	struct conf *base;                    /* conf_with(): whose entries these are; NULL: its own */
	unsigned refs;
	struct names *database_names, *user_names;
};

/* One `-c name=value` of the command line, or one SET of the console: stronger than the file, at reload too. */
struct conf_assignment {
	const char *name, *value;
};

/*
 * Reads the file, what it includes and the files it names (auth_file,
 * auth_hba_file, auth_ident_file). All errors are collected, not only the
 * first. Returns a snapshot with one reference, or NULL when there was any
 * error.
 */
struct conf *conf_load(const char *file, const struct conf_assignment *assignments, size_t nassignments,
		       struct conf_problems *problems);
struct conf *conf_ref(struct conf *conf);
void conf_unref(struct conf **conf);

/*
 * A snapshot that differs from another in one setting of [pgbouncer]; the rest
 * is shared. NULL when the value is not accepted or only a restart could apply
 * it: *error then says what is.
 */
struct conf *conf_with(struct conf *conf, struct slice name, struct slice value, struct strbuf *error);

/* Whether settings fit each other, as conf_load() checks it; what does not goes to `problems`. */
void conf_check(const struct conf *conf, struct conf_place place, struct conf_problems *problems);

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
 * What a reload changed in section [pgbouncer]: a line "name changed from 'old'
 * to 'new'" for each setting, ending in '\n'.
 */
void conf_print_changes(const struct conf *old, const struct conf *new, struct strbuf *lines);

/*
 * Whether two snapshots' entries lead to the same kind of server connection;
 * when they do not, those that are open must be replaced.
 */
bool conf_database_same_server(const struct conf_database *a, const struct conf_database *b);
