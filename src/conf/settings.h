/*
 * The settings: settings.def is the one place where each is written; the
 * struct, the parser, SHOW CONFIG and the manual are made from it.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/log_line.h"
#include "base/str.h"

/* How a value is written, shown and stored. The C type of each is settings_type_<type> below. */
enum setting_type {
	SETTING_TYPE_boolean,   /* 0 1 on off yes no true false */
	SETTING_TYPE_integer,   /* decimal, 0x hex, 0 octal; within the bounds the table gives */
	SETTING_TYPE_octal,     /* file modes: written and shown as 0777 */
	SETTING_TYPE_duration,  /* seconds, or with a unit (us ms s min h d); stored in microseconds */
	SETTING_TYPE_milliseconds, /* milliseconds, or with a unit; stored in milliseconds (tcp_user_timeout) */
	SETTING_TYPE_size,      /* bytes, or with a unit (kB MB GB TB); stored in bytes */
	SETTING_TYPE_string,
	SETTING_TYPE_choice,    /* one of a fixed list of words, case-insensitive; stored as the enum below */
};

typedef bool settings_type_boolean;
typedef int64_t settings_type_integer;
typedef int64_t settings_type_octal;
typedef int64_t settings_type_duration;
typedef int64_t settings_type_milliseconds;
typedef int64_t settings_type_size;
typedef const char *settings_type_string;   /* never NULL: "" when unset */
typedef int settings_type_choice;

/* Where a setting may stand, besides [pgbouncer]. */
enum setting_scope { SCOPE_GLOBAL = 0, SCOPE_DATABASE = 1, SCOPE_USER = 2, SCOPE_PEER = 4 };

/* When a change takes effect. */
enum setting_when { WHEN_START, WHEN_RELOAD };

/* NONE: it exists for the sake of existing files, the pooler needs no such setting. */
enum setting_effect { EFFECT_NOW, EFFECT_NONE };

enum pool_mode { POOL_MODE_SESSION, POOL_MODE_TRANSACTION, POOL_MODE_STATEMENT };
enum pool_size_mode { POOL_SIZE_FIXED, POOL_SIZE_ADAPTIVE };
enum auth_type {
	AUTH_TYPE_ANY, AUTH_TYPE_TRUST, AUTH_TYPE_PLAIN, AUTH_TYPE_MD5, AUTH_TYPE_SCRAM_SHA_256,
	AUTH_TYPE_CERT, AUTH_TYPE_HBA, AUTH_TYPE_LDAP, AUTH_TYPE_PAM,
};
enum sslmode {
	TLS_MODE_DISABLE, TLS_MODE_ALLOW, TLS_MODE_PREFER, TLS_MODE_REQUIRE, TLS_MODE_VERIFY_CA, TLS_MODE_VERIFY_FULL,
};
enum tls_negotiation { TLS_NEGOTIATION_POSTGRES, TLS_NEGOTIATION_DIRECT };
enum load_balance_hosts { LOAD_BALANCE_DISABLE, LOAD_BALANCE_ROUND_ROBIN, LOAD_BALANCE_LEAST_CONNECTIONS };
enum target_session_attrs {
	TARGET_ANY, TARGET_READ_WRITE, TARGET_READ_ONLY, TARGET_PRIMARY, TARGET_STANDBY, TARGET_PREFER_STANDBY,
};
enum server_down_action { SERVER_DOWN_FAIL, SERVER_DOWN_WAIT };
enum server_abandoned { SERVER_ABANDONED_ROLLBACK, SERVER_ABANDONED_CLOSE };
enum result_change { RESULT_CHANGE_RETRY, RESULT_CHANGE_ERROR };
enum shutdown_word { SHUTDOWN_MODE_WAIT_FOR_CLIENTS, SHUTDOWN_MODE_WAIT_FOR_SERVERS, SHUTDOWN_MODE_DRAIN };
enum prepared_unnamed { PREPARED_UNNAMED_OFF, PREPARED_UNNAMED_CACHE };
enum sqlstate_compat { SQLSTATE_COMPAT_POSTGRESQL, SQLSTATE_COMPAT_PGBOUNCER };

/* Every setting as a member; names and C types come from settings.def. */
struct settings {
#define X(name, type, ...) settings_type_##type name;
#include "conf/settings.def"
#undef X
};

/* SETTING_default_pool_size, ...: the row of a setting in settings.def. */
enum setting_id {
#define X(name, ...) SETTING_##name,
#include "conf/settings.def"
#undef X
	SETTING_COUNT
};

/* How many settings a database, user or peer may have of its own: the first ones, with ids below this. */
enum {
	SETTING_ENTITY_COUNT = 0
#define X(name, type, default_text, scope, ...) + ((scope) != SCOPE_GLOBAL)
#include "conf/settings.def"
#undef X
};

/* What the table says of a setting. */
struct setting_info {
	const char *name;
	enum setting_type type;
	unsigned scope;                       /* SCOPE_ bits */
	const char *entity_key;               /* its key in [databases] and [users] ("pool_size"), NULL when the same */
	const char *alias;                    /* one more name for it (service_name, reserve_pool), or NULL */
	enum setting_when when;
	enum setting_effect effect;
	bool secret;                          /* never shown: the value may hold a password */
	const char *default_text;
	int64_t min, max;                     /* numbers, in the unit they are stored in */
	const char *const *words;             /* choices: the word of each enum value, then NULL; supported up to `max` */
	const char *doc;
};
const struct setting_info *setting_info(enum setting_id id);

/* The i-th setting in the order of names, as lists for people have them; i is below SETTING_COUNT. */
enum setting_id setting_by_rank(size_t i);

/* By its name in [pgbouncer], case-sensitive, aliases (job_name/service_name) included; false if there is none. */
bool setting_find(struct slice name, enum setting_id *id);

/* By its key in the section of one scope (`pool_size`, SCOPE_USER); false if that section has no such key. */
bool setting_find_entity(struct slice key, enum setting_scope scope, enum setting_id *id);

/* The names by which the console goes as a database: they are no names of databases. */
bool setting_is_console(struct slice database);

/* A value read but not stored yet: `text` for strings (a reference into the input), `number` for all else. */
struct setting_value {
	int64_t number;
	struct slice text;
};

/* Reads a value; on failure appends to *error what is wrong and what is accepted, but not the value. */
bool setting_parse(enum setting_id id, struct slice value, struct setting_value *parsed, struct strbuf *error);

/* As setting_parse(), without keeping the result. `error` may be NULL. */
bool setting_check(enum setting_id id, struct slice value, struct strbuf *error);

/* What a setting is when nothing is said; text is static. */
struct setting_value setting_default(enum setting_id id);

/* Whether a value is a negative number, which in an entity's entry means to inherit. */
bool setting_is_negative(enum setting_id id, struct slice value);

/* Stores a value; text is copied to the arena. */
void setting_store(struct settings *s, enum setting_id id, const struct setting_value *value, struct arena *arena);

/* All at their defaults. */
void settings_init(struct settings *s, struct arena *arena);

/* A setting that is not a string, as a number. */
int64_t setting_number(const struct settings *s, enum setting_id id);

/* A string setting. */
const char *setting_string(const struct settings *s, enum setting_id id);

/*
 * The value in the form that SHOW CONFIG prints and the parser accepts;
 * asterisks for a secret that is not empty.
 */
void setting_print(const struct settings *s, enum setting_id id, struct strbuf *out);

void setting_print_value(enum setting_id id, const struct setting_value *value, struct strbuf *out);

/* What a setting is now; text is a reference into the settings. */
struct setting_value setting_value(const struct settings *s, enum setting_id id);

bool setting_is_default(const struct settings *s, enum setting_id id);
bool setting_equal(const struct settings *a, const struct settings *b, enum setting_id id);

/* The word of a choice's value ("transaction"); NULL when the value has none. */
const char *setting_choice_word(enum setting_id id, int value);
