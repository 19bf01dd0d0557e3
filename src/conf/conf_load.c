/*
 * From files to a snapshot: which section takes what, and what of it makes no
 * sense. Values are read in settings.c, the grammar is that of ini and connstr.
 */
#include "conf/conf.h"

#include "base/attempt.h"
#include "conf/connstr.h"
#include "conf/file_modes.h"
#include "conf/ini.h"
#include "conf/ldap_options.h"
#include "conf/names.h"

#define DEFAULT_SERVER_PORT 5432
#define DEFAULT_PEER_PORT 6432
#define LARGEST_PEER_ID 65535

struct loader {
	struct conf *conf;
	struct arena *arena;                 /* the snapshot's */
	struct arena *scratch;               /* for what is gone when loading ends */
	struct conf_problems *problems;
	const char *main_file;
	const struct conf_assignment *assignments;
	size_t nassignments;
	const struct conf *running;          /* what only a restart changes is as here; NULL: the program starts */
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

/* Reads a value and says what is wrong with it, `owner` being "" or "name: " of a database, user or peer. */
static bool read_value(struct loader *l, struct conf_place at, const char *owner, struct slice key, struct slice text,
		       enum setting_id id, struct setting_value *value)
{
	struct strbuf error;
	bool ok;

	strbuf_init(&error);
	ok = setting_parse(id, text, value, &error);
	if (!ok)
		conf_error(l->problems, at, "%s%.*s = %.*s: %s", owner, CONF_EXCERPT(key), CONF_EXCERPT(text),
			   error.failed ? "invalid" : error.p);
	strbuf_fini(&error);
	return ok;
}

static const char *keep_file(struct loader *l, const char *file)
{
	if (l->file != file) {
		l->file = file;
		l->file_copy = keep(l, slice_of(file));
	}
	return l->file_copy;
}

static struct conf_place keep_place(struct loader *l, struct conf_place at)
{
	return at.file == NULL ? at : (struct conf_place){keep_file(l, at.file), at.line};
}

static void set_global(struct loader *l, struct conf_place at, struct slice key, struct slice text)
{
	enum setting_id id;
	struct setting_value value;

	/* Without its value: this may be a database that stands in the wrong section, with a password. */
	if (!setting_find(key, &id))
		conf_error(l->problems, at, "%.*s: unknown setting", CONF_EXCERPT(key));
	else if (read_value(l, at, "", key, text, id, &value)) {
		setting_store(&l->conf->s, id, &value, l->arena);
		l->conf->origins[id] = keep_place(l, at);
	}
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

static void set_override(struct entity *e, struct slice key, struct slice text, enum setting_id id)
{
	struct strbuf error;

	strbuf_init(&error);
	if (!overrides_read(e->overrides, id, text, e->l->arena, &error))
		entity_error(e, key, text, error.failed ? "invalid" : error.p);
	strbuf_fini(&error);
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
		db->user = keep_name(e, key, value, CONF_USER_NAME_MAX);
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
	if (name.n > CONF_DATABASE_NAME_MAX)
		conf_error(l->problems, e->at, "%.*s: the name of a database is too long; accepted: at most %d bytes",
			   CONF_EXCERPT(name), CONF_DATABASE_NAME_MAX);
	if (setting_is_console(name))
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

static void on_database(struct loader *l, const struct ini_entry *e)
{
	struct conf_database *db = open_database(l, e->key);
	struct entity entity = {.l = l, .at = e->at, .name = shown(l, e->key), .scope = SCOPE_DATABASE, .database = db};

	check_database_name(l, e, slice_of(e->key));
	db->at = keep_place(l, e->at);
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
	if (name.n > CONF_USER_NAME_MAX)
		conf_error(l->problems, e->at, "%.*s: the name of a user is too long; accepted: at most %d bytes",
			   CONF_EXCERPT(name), CONF_USER_NAME_MAX);
	user->at = keep_place(l, e->at);
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
	peer->at = keep_place(l, e->at);
	entity.overrides = &peer->overrides;
	read_pairs(&entity, e->value);
	if (entity.host.n == 0)
		conf_error(l->problems, e->at, "%s: host is missing", shown(l, e->key));
	peer->host = keep(l, entity.host);
	peer->port = port_of(&entity, DEFAULT_PEER_PORT);
}

/* --- all together --- */

#define PGBOUNCERS_SECTION "pgbouncer"

struct section {
	const char *name;
	void (*on_entry)(struct loader *l, const struct ini_entry *e);
};

static const struct section sections[] = {
	{PGBOUNCERS_SECTION, on_global}, {"pgsluice", on_global},
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

static void note_main(struct loader *l, const struct section *section)
{
	l->has_main = true;
	if (strcmp(section->name, PGBOUNCERS_SECTION) == 0)
		l->conf->is_pgbouncers = true;
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
		note_main(l, section);
}

static void take_assignments(struct loader *l)
{
	struct conf_place at = {CONF_COMMAND_LINE, 0};

	for (size_t i = 0; i < l->nassignments; i++)
		set_global(l, at, slice_of(l->assignments[i].name), slice_trim(slice_of(l->assignments[i].value)));
}

/* Unless it names another one to be read from now on. */
static void name_file(struct loader *l, const char *file)
{
	if (l->conf->s.conffile[0] != '\0')
		return;
	l->conf->s.conffile = keep(l, slice_of(file));
	l->conf->origins[SETTING_conffile] = (struct conf_place){CONF_COMMAND_LINE, 0};
}

/* What a restart would change is told, and not done: what SHOW CONFIG shows is what holds. */
static void keep_what_runs(struct loader *l)
{
	const struct conf *running = l->running;
	struct setting_value value;
	struct strbuf change;
	struct guard guard;

	strbuf_init(&change);
	guard_strbuf(&guard, &change);
	for (size_t i = 0; running != NULL && i < SETTING_COUNT; i++) {
		enum setting_id id = setting_by_rank(i);

		if (setting_info(id)->when != WHEN_START || setting_equal(&running->s, &l->conf->s, id))
			continue;
		strbuf_reset(&change);
		setting_print(&l->conf->s, id, &change);
		strbuf_add_str(&change, "' needs a restart; until then it is '");
		setting_print(&running->s, id, &change);
		conf_warning(l->problems, conf_origin(l->conf, id), "%s: '%s'", setting_info(id)->name,
			     change.failed ? "" : change.p);
		value = setting_value(&running->s, id);
		setting_store(&l->conf->s, id, &value, l->arena);
		l->conf->origins[id] = keep_place(l, running->origins[id]);
	}
	guard_lift(&guard);
	strbuf_fini(&change);
}

static void complete_hosts(struct loader *l)
{
	const char *dir = l->conf->s.unix_socket_dir;

	for (struct conf_database *db = l->conf->databases; db != NULL; db = db->next) {
		if (db->nhosts > 0)
			continue;
		if (dir[0] == '\0')
			conf_error(l->problems, db->at,
				   "%s: host is missing, and unix_socket_dir is empty; accepted: either of them", db->name);
		db->hosts[0].host = dir;
		db->nhosts = 1;
	}
}

/* A file that a setting names is not as it has to be: says which setting that is, and where. */
static void blame(struct loader *l, enum setting_id id, size_t nerrors_before)
{
	if (l->problems->nerrors > nerrors_before)
		conf_error(l->problems, conf_origin(l->conf, id), "%s = %s: the file cannot be used",
			   setting_info(id)->name, setting_string(&l->conf->s, id));
}

static void load_auth_file(struct loader *l)
{
	size_t before = l->problems->nerrors;

	if (l->conf->s.auth_file[0] == '\0')
		return;
	userlist_read(l->conf->userlist, l->conf->s.auth_file, l->problems);
	blame(l, SETTING_auth_file, before);
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

void conf_check(const struct conf *conf, struct conf_problems *problems)
{
	bool has_options = conf->s.auth_ldap_options[0] != '\0';

	if (conf->s.auth_type == AUTH_TYPE_HBA && conf->hba == NULL)
		conf_error(problems, conf_origin(conf, SETTING_auth_type), "auth_type = hba: auth_hba_file is missing");
	if (has_options || conf->s.auth_type == AUTH_TYPE_LDAP)
		check_ldap_options(conf, conf_origin(conf, has_options ? SETTING_auth_ldap_options : SETTING_auth_type),
				   problems);
}

static void load_rules(struct loader *l)
{
	struct conf *conf = l->conf;
	size_t before = l->problems->nerrors;

	if (conf->s.auth_hba_file[0] != '\0')
		conf->hba = hba_read(conf->s.auth_hba_file, l->arena, l->problems);
	blame(l, SETTING_auth_hba_file, before);
	before = l->problems->nerrors;
	if (conf->s.auth_ident_file[0] != '\0')
		conf->ident = ident_read(conf->s.auth_ident_file, l->arena, l->problems);
	blame(l, SETTING_auth_ident_file, before);
	conf_check(conf, l->problems);
}

static void new_snapshot(struct loader *l)
{
	struct arena *arena = arena_new();
	struct conf *conf = arena_alloc(arena, sizeof(*conf));

	conf->arena = arena;
	conf->refs = 1;
	conf->database_names = names_new(arena);
	conf->user_names = names_new(arena);
	conf->userlist = userlist_new(arena);
	settings_init(&conf->s, arena);
	l->arena = arena;
	l->conf = conf;
	l->last_database = &conf->databases;
	l->last_user = &conf->users;
	l->last_peer = &conf->peers;
}

static void load(void *loader)
{
	struct loader *l = loader;
	const char *file = l->main_file;
	size_t errors_before = l->problems->nerrors;
	struct ini_entry *entries;
	bool is_readable;

	l->scratch = arena_new();
	new_snapshot(l);
	entries = ini_read(file, l->scratch, l->problems);
	is_readable = entries != NULL || l->problems->nerrors == errors_before;
	for (struct ini_entry *e = entries; e != NULL; e = e->next)
		take_entry(l, e);
	if (!l->has_main && is_readable)
		conf_error(l->problems, (struct conf_place){file, 0}, "section [pgbouncer] (or [pgsluice]) is missing");
	take_assignments(l);
	name_file(l, file);
	keep_what_runs(l);
	complete_hosts(l);
	load_auth_file(l);
	load_rules(l);
	file_modes_check(l->conf, l->problems);
	arena_free(l->scratch);
}

struct conf *conf_load(const char *file, const struct conf_assignment *assignments, size_t nassignments,
		       struct conf_problems *problems)
{
	return conf_reload(file, assignments, nassignments, NULL, problems);
}

struct conf *conf_reload(const char *file, const struct conf_assignment *assignments, size_t nassignments,
			 const struct conf *running, struct conf_problems *problems)
{
	struct loader l = {.problems = problems, .running = running, .main_file = file, .assignments = assignments,
			   .nassignments = nassignments};
	size_t errors_before = problems->nerrors;

	if (!attempt(load, &l)) {
		conf_error(problems, (struct conf_place){file, 0}, "out of memory");
		return NULL;
	}
	if (problems->nerrors > errors_before)
		conf_unref(&l.conf);
	return l.conf;
}
