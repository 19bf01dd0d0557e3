/*
 * From files to a snapshot: which section takes what, and what of it makes no
 * sense. Values are read in settings.c, the grammar is that of ini and connstr.
 */
#include "conf/conf.h"

#include "conf/connstr.h"
#include "conf/ini.h"
#include "conf/ldap_options.h"
#include "conf/names.h"

#define DEFAULT_SERVER_PORT 5432
#define DEFAULT_PEER_PORT 6432
#define LONGEST_DATABASE_NAME 63
#define LONGEST_USER_NAME 127
#define LARGEST_PEER_ID 65535

struct loader {
	struct conf *conf;
	struct arena *arena;                 /* the snapshot's */
	struct arena *scratch;               /* for what is gone when loading ends */
	struct conf_problems *problems;
	bool has_main;
	struct conf_database **last_database;
	struct conf_user **last_user;
	struct conf_peer **last_peer;
	const char *file, *file_copy;        /* the file of the entry read last, and its name in the arena */
};

/* One entry of [databases], [users] or [peers] while its pairs are being read. */
struct entity {
	struct loader *l;
	struct conf_place at;
	const char *name;                    /* for messages */
	enum setting_scope scope;
	struct conf_overrides *overrides;
	struct slice host, port;             /* not given: p is NULL */
	struct conf_database *database;      /* of the one that is meant; NULL in the other sections */
};

static bool is_reserved(struct slice name)
{
	return slice_is(name, "pgbouncer") || slice_is(name, "pgsluice");
}

/* What messages call an entry: its key, cut to what they can bear. */
static const char *shown(struct loader *l, const char *key)
{
	return arena_printf(l->scratch, "%.*s", CONF_EXCERPT(slice_of(key)));
}

static const char *keep(struct loader *l, struct slice text)
{
	return arena_copy(l->arena, text);
}

/* --- [pgbouncer] --- */

/* What a value may not be beyond what its type says; NULL when all is well. */
static const char *misfit(enum setting_id id, struct slice value)
{
	if (id == SETTING_auth_dbname && is_reserved(value))
		return "the admin console has no users; accepted: the name of another database";
	return NULL;
}

/* Reads a value and says what is wrong with it, `owner` being "" or "name: " of a database, user or peer. */
static bool read_value(struct loader *l, struct conf_place at, const char *owner, struct slice key, struct slice text,
		       enum setting_id id, struct setting_value *value)
{
	struct strbuf error;
	const char *why;
	bool ok;

	strbuf_init(&error);
	ok = setting_parse(id, text, value, &error);
	why = ok ? misfit(id, text) : error.failed ? "invalid" : error.p;
	if (why != NULL)
		conf_error(l->problems, at, "%s%.*s = %.*s: %s", owner, CONF_EXCERPT(key), CONF_EXCERPT(text), why);
	strbuf_fini(&error);
	return why == NULL;
}

static void set_global(struct loader *l, struct conf_place at, struct slice key, struct slice text)
{
	enum setting_id id;
	struct setting_value value;

	/* Without its value: this may be a database that stands in the wrong section, with a password. */
	if (!setting_find(key, &id))
		conf_error(l->problems, at, "%.*s: unknown setting", CONF_EXCERPT(key));
	else if (read_value(l, at, "", key, text, id, &value))
		setting_store(&l->conf->s, id, &value, l->arena);
}

static void on_global(struct loader *l, const struct ini_entry *e)
{
	set_global(l, e->at, slice_of(e->key), e->value);
}

/* --- pairs of databases, users and peers --- */

static void entity_error(struct entity *e, struct slice key, struct slice value, const char *what)
{
	conf_error(e->l->problems, e->at, "%s: %.*s = %.*s: %s", e->name, CONF_EXCERPT(key), CONF_EXCERPT(value), what);
}

static void store_override(struct entity *e, enum setting_id id, const struct setting_value *value)
{
	const struct setting_info *info = setting_info(id);

	e->overrides->is_set[id] = true;
	e->overrides->number[id] = value->number;
	if (info->type == SETTING_TYPE_string)
		e->overrides->string[id] = keep(e->l, value->text);
}

static void set_override(struct entity *e, struct slice key, struct slice text, enum setting_id id)
{
	const char *owner = arena_printf(e->l->scratch, "%s: ", e->name);
	struct setting_value value;

	if (setting_is_negative(id, text)) {
		e->overrides->is_set[id] = false;
		return;
	}
	if (!read_value(e->l, e->at, owner, key, text, id, &value))
		return;
	/* The one setting whose 0, in an entry of a database, means to inherit. */
	if (id == SETTING_server_lifetime && value.number == 0) {
		e->overrides->is_set[id] = false;
		return;
	}
	store_override(e, id, &value);
}

static void set_parameter(struct entity *e, const char *name, struct slice value)
{
	struct conf_database *db = e->database;
	size_t i = 0;

	while (i < db->nparameters && strcmp(db->parameters[i].name, name) != 0)
		i++;
	db->parameters[i] = (struct conf_parameter){name, keep(e->l, value)};
	if (i == db->nparameters)
		db->nparameters++;
}

static const char *const parameter_names[] = {"client_encoding", "datestyle", "timezone", "application_name"};
#define PARAMETER_COUNT (sizeof(parameter_names) / sizeof(parameter_names[0]))

/* A name that may be neither empty nor too long. */
static const char *keep_name(struct entity *e, struct slice key, struct slice value, size_t longest)
{
	const char *wrong = value.n == 0 ? "empty; accepted: a name" : value.n > longest ? "too long" : NULL;

	if (wrong != NULL)
		entity_error(e, key, value, wrong);
	return keep(e->l, value);
}

/* The keys that only a database has; false when this is none of them. */
static bool set_database_pair(struct entity *e, struct slice key, struct slice value)
{
	struct conf_database *db = e->database;

	for (size_t i = 0; i < PARAMETER_COUNT; i++) {
		if (slice_is(key, parameter_names[i])) {
			set_parameter(e, parameter_names[i], value);
			return true;
		}
	}
	if (slice_is(key, "dbname"))
		db->dbname = keep_name(e, key, value, SIZE_MAX);
	else if (slice_is(key, "user"))
		db->user = keep_name(e, key, value, LONGEST_USER_NAME);
	else if (slice_is(key, "password"))
		db->password = keep(e->l, value);
	else if (slice_is(key, "connect_query"))
		db->connect_query = keep(e->l, value);
	else
		return false;
	return true;
}

static bool set_pair(struct entity *e, struct slice key, struct slice value)
{
	enum setting_id id;

	if (e->scope != SCOPE_USER && slice_is(key, "host"))
		e->host = value;
	else if (e->scope != SCOPE_USER && slice_is(key, "port"))
		e->port = value;
	else if (setting_find_entity(key, e->scope, &id))
		set_override(e, key, value, id);
	else
		return e->database != NULL && set_database_pair(e, key, value);
	return true;
}

/*
 * A password with blanks that lacks its quotes falls apart into words that look
 * like keys: what is unknown right behind a password is therefore not printed.
 */
static void unknown_key(struct entity *e, struct slice key, bool behind_password)
{
	if (behind_password)
		conf_error(e->l->problems, e->at,
			   "%s: unknown key behind the password; accepted: a password with blanks in single quotes",
			   e->name);
	else
		conf_error(e->l->problems, e->at, "%s: %.*s: unknown key", e->name, CONF_EXCERPT(key));
}

static void read_pairs(struct entity *e, struct slice text)
{
	bool behind_password = false;
	struct connstr_pair pair;
	enum connstr_step step;
	const char *error;

	while ((step = connstr_next(&text, e->l->scratch, &pair, &error)) == CONNSTR_PAIR) {
		if (!set_pair(e, pair.key, pair.value))
			unknown_key(e, pair.key, behind_password);
		else
			behind_password = slice_is(pair.key, "password");
	}
	if (step != CONNSTR_BAD)
		return;
	if (behind_password || pair.key.n == 0)
		conf_error(e->l->problems, e->at, "%s: %s", e->name, error);
	else
		conf_error(e->l->problems, e->at, "%s: %.*s: %s", e->name, CONF_EXCERPT(pair.key), error);
}

static int port_of(struct entity *e, int otherwise)
{
	struct slice key = SLICE_LIT("port");
	const char *owner = arena_printf(e->l->scratch, "%s: ", e->name);
	struct setting_value value;

	if (e->port.p == NULL)
		return otherwise;
	if (memchr(e->port.p, ',', e->port.n) != NULL)
		entity_error(e, key, e->port, "one port holds for all hosts; accepted: an integer from 1 to 65535");
	else if (read_value(e->l, e->at, owner, key, e->port, SETTING_listen_port, &value))
		return (int)value.number;
	return otherwise;
}

/* --- [databases] --- */

static void set_hosts(struct entity *e)
{
	struct conf_database *db = e->database;
	int port = port_of(e, DEFAULT_SERVER_PORT);
	struct slice rest = e->host, host;
	size_t n = 0;

	while (slice_split(&rest, ',', &host))
		n++;
	/* Room for one at least: the Unix socket directory, which is not known before all is read. */
	db->hosts = arena_alloc(e->l->arena, (n > 0 ? n : 1) * sizeof(*db->hosts));
	db->hosts[0].port = port;
	rest = e->host;
	while (slice_split(&rest, ',', &host)) {
		if (host.n == 0)
			entity_error(e, SLICE_LIT("host"), e->host,
				     "a host is missing; accepted: a list with commas between");
		db->hosts[db->nhosts++] = (struct conf_host){keep(e->l, host), port};
	}
}

static void check_database_name(struct loader *l, const struct ini_entry *e, struct slice name)
{
	if (name.n == 0)
		conf_error(l->problems, e->at, "the name of a database is empty");
	if (name.n > LONGEST_DATABASE_NAME)
		conf_error(l->problems, e->at, "%.*s: the name of a database is too long; accepted: at most %d bytes",
			   CONF_EXCERPT(name), LONGEST_DATABASE_NAME);
	if (is_reserved(name))
		conf_error(l->problems, e->at, "%s: reserved for the admin console; accepted: another name", e->key);
}

/* An empty entry of that name: a new one, or the former one without its contents, as the later value wins. */
static struct conf_database *open_database(struct loader *l, const char *name)
{
	struct conf_database *db = names_find(l->conf->database_names, slice_of(name)), *next;

	if (db != NULL) {
		next = db->next;
		name = db->name;
		*db = (struct conf_database){.name = name, .next = next};
		return db;
	}
	db = arena_alloc(l->arena, sizeof(*db));
	db->name = keep(l, slice_of(name));
	names_add(l->conf->database_names, db->name, db);
	*l->last_database = db;
	l->last_database = &db->next;
	return db;
}

static const char *keep_file(struct loader *l, const char *file)
{
	if (l->file != file) {
		l->file = file;
		l->file_copy = keep(l, slice_of(file));
	}
	return l->file_copy;
}

static void on_database(struct loader *l, const struct ini_entry *e)
{
	struct conf_database *db = open_database(l, e->key);
	struct entity entity = {.l = l, .at = e->at, .name = shown(l, e->key), .scope = SCOPE_DATABASE, .database = db};

	check_database_name(l, e, slice_of(e->key));
	db->file = keep_file(l, e->at.file);
	db->line = e->at.line;
	db->parameters = arena_alloc(l->arena, PARAMETER_COUNT * sizeof(*db->parameters));
	entity.overrides = &db->overrides;
	read_pairs(&entity, e->value);
	set_hosts(&entity);
}

/* --- [users] --- */

static struct conf_user *open_user(struct loader *l, const char *name)
{
	struct conf_user *user = names_find(l->conf->user_names, slice_of(name));

	if (user != NULL) {
		user->overrides = (struct conf_overrides){0};
		return user;
	}
	user = arena_alloc(l->arena, sizeof(*user));
	user->name = keep(l, slice_of(name));
	names_add(l->conf->user_names, user->name, user);
	*l->last_user = user;
	l->last_user = &user->next;
	return user;
}

static void on_user(struct loader *l, const struct ini_entry *e)
{
	struct conf_user *user = open_user(l, e->key);
	struct entity entity = {.l = l, .at = e->at, .name = shown(l, e->key), .scope = SCOPE_USER};
	struct slice name = slice_of(e->key);

	if (name.n == 0)
		conf_error(l->problems, e->at, "the name of a user is empty");
	if (name.n > LONGEST_USER_NAME)
		conf_error(l->problems, e->at, "%.*s: the name of a user is too long; accepted: at most %d bytes",
			   CONF_EXCERPT(name), LONGEST_USER_NAME);
	entity.overrides = &user->overrides;
	read_pairs(&entity, e->value);
}

/* --- [peers] --- */

static struct conf_peer *open_peer(struct loader *l, int id)
{
	struct conf_peer *peer;

	for (peer = l->conf->peers; peer != NULL; peer = peer->next) {
		if (peer->id == id) {
			*peer = (struct conf_peer){.id = id, .next = peer->next};
			return peer;
		}
	}
	peer = arena_alloc(l->arena, sizeof(*peer));
	peer->id = id;
	*l->last_peer = peer;
	l->last_peer = &peer->next;
	return peer;
}

static void on_peer(struct loader *l, const struct ini_entry *e)
{
	struct entity entity = {.l = l, .at = e->at, .name = shown(l, e->key), .scope = SCOPE_PEER};
	struct conf_peer *peer;
	int64_t id;

	if (!slice_to_int64(slice_of(e->key), &id) || id < 1 || id > LARGEST_PEER_ID) {
		conf_error(l->problems, e->at, "%.*s: no peer's number; accepted: an integer from 1 to %d",
			   CONF_EXCERPT(slice_of(e->key)), LARGEST_PEER_ID);
		return;
	}
	peer = open_peer(l, (int)id);
	entity.overrides = &peer->overrides;
	read_pairs(&entity, e->value);
	if (entity.host.n == 0)
		conf_error(l->problems, e->at, "%s: host is missing", shown(l, e->key));
	peer->host = keep(l, entity.host);
	peer->port = port_of(&entity, DEFAULT_PEER_PORT);
}

/* --- all together --- */

struct section {
	const char *name;
	void (*on_entry)(struct loader *l, const struct ini_entry *e);
};

static const struct section sections[] = {
	{"pgbouncer", on_global}, {"pgsluice", on_global},
	{"databases", on_database}, {"users", on_user}, {"peers", on_peer},
};

static const struct section *find_section(const char *name)
{
	for (size_t i = 0; i < sizeof(sections) / sizeof(sections[0]); i++) {
		if (strcmp(sections[i].name, name) == 0)
			return &sections[i];
	}
	return NULL;
}

/* The entries of an unknown section are passed over: the error at its head says it all. */
static void take_entry(struct loader *l, const struct ini_entry *e)
{
	const struct section *section;

	if (e->section == NULL) {
		conf_error(l->problems, e->at, "%s: stands before the first section", shown(l, e->key));
		return;
	}
	section = find_section(e->section);
	if (e->key != NULL && section != NULL)
		section->on_entry(l, e);
	else if (section == NULL && e->key == NULL)
		conf_error(l->problems, e->at, "[%s]: unknown section; accepted: [pgbouncer], [pgsluice], [databases], [users],"
			   " [peers]", e->section);
	else if (section != NULL && section->on_entry == on_global)
		l->has_main = true;
}

static void take_assignments(struct loader *l, const struct conf_assignment *assignments, size_t n)
{
	struct conf_place at = {"command line", 0};

	for (size_t i = 0; i < n; i++)
		set_global(l, at, slice_of(assignments[i].name), slice_trim(slice_of(assignments[i].value)));
}

static void complete_hosts(struct loader *l)
{
	const char *dir = l->conf->s.unix_socket_dir;

	for (struct conf_database *db = l->conf->databases; db != NULL; db = db->next) {
		if (db->nhosts > 0)
			continue;
		if (dir[0] == '\0')
			conf_error(l->problems, (struct conf_place){db->file, db->line},
				   "%s: host is missing, and unix_socket_dir is empty; accepted: either of them", db->name);
		db->hosts[0].host = dir;
		db->nhosts = 1;
	}
}

static void load_auth_file(struct loader *l)
{
	struct strbuf errors;

	if (l->conf->s.auth_file[0] == '\0')
		return;
	strbuf_init(&errors);
	userlist_read(l->conf->userlist, l->conf->s.auth_file, &errors);
	for (size_t i = 0; i < errors.n; i++)
		l->problems->nerrors += errors.p[i] == '\n';
	strbuf_add_slice(&l->problems->errors, strbuf_slice(&errors));
	strbuf_fini(&errors);
}

static void check_ldap_options(const struct conf *conf, struct conf_place at, struct conf_problems *problems)
{
	struct arena *scratch = arena_new();
	struct ldap_options options;
	struct strbuf error;

	strbuf_init(&error);
	if (!ldap_options_parse(slice_of(conf->s.auth_ldap_options), scratch, &options, &error))
		conf_error(problems, at, "auth_ldap_options: %s", error.failed ? "invalid" : error.p);
	strbuf_fini(&error);
	arena_free(scratch);
}

void conf_check(const struct conf *conf, struct conf_place at, struct conf_problems *problems)
{
	if (conf->s.auth_type == AUTH_TYPE_HBA && conf->hba == NULL)
		conf_error(problems, at, "auth_type = hba: auth_hba_file is missing");
	if (conf->s.auth_ldap_options[0] != '\0' || conf->s.auth_type == AUTH_TYPE_LDAP)
		check_ldap_options(conf, at, problems);
}

static void load_rules(struct loader *l, const char *file)
{
	struct conf *conf = l->conf;

	if (conf->s.auth_hba_file[0] != '\0')
		conf->hba = hba_read(conf->s.auth_hba_file, l->arena, l->problems);
	if (conf->s.auth_ident_file[0] != '\0')
		conf->ident = ident_read(conf->s.auth_ident_file, l->arena, l->problems);
	conf_check(conf, (struct conf_place){file, 0}, l->problems);
}

static struct conf *new_snapshot(struct arena *arena)
{
	struct conf *conf = arena_alloc(arena, sizeof(*conf));

	conf->arena = arena;
	conf->refs = 1;
	conf->database_names = names_new(arena);
	conf->user_names = names_new(arena);
	conf->userlist = userlist_new(arena);
	settings_init(&conf->s, arena);
	return conf;
}

static void load(struct loader *l, const char *file, const struct conf_assignment *assignments, size_t nassignments)
{
	size_t errors_before = l->problems->nerrors;
	struct ini_entry *entries = ini_read(file, l->scratch, l->problems);
	bool is_readable = entries != NULL || l->problems->nerrors == errors_before;

	for (struct ini_entry *e = entries; e != NULL; e = e->next)
		take_entry(l, e);
	if (!l->has_main && is_readable)
		conf_error(l->problems, (struct conf_place){file, 0}, "section [pgbouncer] (or [pgsluice]) is missing");
	take_assignments(l, assignments, nassignments);
	complete_hosts(l);
	load_auth_file(l);
	load_rules(l, file);
	if (l->conf->s.conffile[0] == '\0')
		l->conf->s.conffile = keep(l, slice_of(file));
}

struct conf *conf_load(const char *file, const struct conf_assignment *assignments, size_t nassignments,
		       struct conf_problems *problems)
{
	struct arena *arena = arena_new();
	struct loader l = {.arena = arena, .scratch = arena_new(), .problems = problems};
	size_t errors_before = problems->nerrors;

	l.conf = new_snapshot(arena);
	l.last_database = &l.conf->databases;
	l.last_user = &l.conf->users;
	l.last_peer = &l.conf->peers;
	load(&l, file, assignments, nassignments);
	arena_free(l.scratch);
	if (problems->nerrors > errors_before)
		conf_unref(&l.conf);
	return l.conf;
}
