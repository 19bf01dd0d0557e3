#include "conf/conf.h"

#include "conf/names.h"

struct conf *conf_ref(struct conf *conf)
{
	conf->refs++;
	return conf;
}

void conf_unref(struct conf **conf)
{
	struct conf *c = *conf;

	*conf = NULL;
	if (c == NULL || --c->refs > 0)
		return;
	/* With a base, they are the base's. */
	if (c->base == NULL) {
		hba_free(c->hba);
		ident_free(c->ident);
	}
	conf_unref(&c->base);
	/* The snapshot itself is part of its arena. */
	arena_free(c->arena);
}

struct conf *conf_with(struct conf *conf, struct slice name, struct slice value, struct strbuf *error)
{
	struct setting_value parsed;
	enum setting_id id;
	struct arena *arena;
	struct conf *with;

	if (!setting_find(name, &id)) {
		strbuf_addf(error, "unknown parameter \"%.*s\"", CONF_EXCERPT(name));
		return NULL;
	}
	if (setting_info(id)->when == WHEN_START) {
		strbuf_addf(error, "%s can only be changed by a restart", setting_info(id)->name);
		return NULL;
	}
	if (!setting_parse(id, value, &parsed, error))
		return NULL;
	arena = arena_new();
	with = arena_alloc(arena, sizeof(*with));
	*with = *conf;
	with->arena = arena;
	with->base = conf_ref(conf);
	with->refs = 1;
	setting_store(&with->s, id, &parsed, arena);
	return with;
}

const struct conf_database *conf_find_database(const struct conf *conf, struct slice name)
{
	return names_find(conf->database_names, name);
}

const struct conf_user *conf_find_user(const struct conf *conf, struct slice name)
{
	return names_find(conf->user_names, name);
}

int64_t conf_effective(const struct conf *conf, enum setting_id id, const struct conf_database *database,
		       const struct conf_user *user)
{
	if ((int)id < (int)SETTING_ENTITY_COUNT) {
		if (user != NULL && user->overrides.is_set[id])
			return user->overrides.number[id];
		if (database != NULL && database->overrides.is_set[id])
			return database->overrides.number[id];
	}
	return setting_number(&conf->s, id);
}

const char *conf_effective_string(const struct conf *conf, enum setting_id id, const struct conf_database *database)
{
	if ((int)id < (int)SETTING_ENTITY_COUNT && database != NULL && database->overrides.is_set[id])
		return database->overrides.string[id];
	return setting_string(&conf->s, id);
}

void conf_print_changes(const struct conf *old, const struct conf *new, struct strbuf *lines)
{
	for (size_t i = 0; i < SETTING_COUNT; i++) {
		enum setting_id id = setting_by_rank(i);

		if (setting_equal(&old->s, &new->s, id))
			continue;
		strbuf_addf(lines, "%s changed from '", setting_info(id)->name);
		setting_print(&old->s, id, lines);
		strbuf_add_str(lines, "' to '");
		setting_print(&new->s, id, lines);
		strbuf_add_str(lines, "'\n");
	}
}

/* Both may be NULL. */
static bool same_text(const char *a, const char *b)
{
	return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static bool same_hosts(const struct conf_database *a, const struct conf_database *b)
{
	if (a->nhosts != b->nhosts)
		return false;
	for (size_t i = 0; i < a->nhosts; i++) {
		if (!same_text(a->hosts[i].host, b->hosts[i].host) || a->hosts[i].port != b->hosts[i].port)
			return false;
	}
	return true;
}

static bool same_parameters(const struct conf_database *a, const struct conf_database *b)
{
	if (a->nparameters != b->nparameters)
		return false;
	for (size_t i = 0; i < a->nparameters; i++) {
		if (!same_text(a->parameters[i].name, b->parameters[i].name) ||
		    !same_text(a->parameters[i].value, b->parameters[i].value))
			return false;
	}
	return true;
}

static bool same_override(const struct conf_database *a, const struct conf_database *b, enum setting_id id)
{
	return a->overrides.is_set[id] == b->overrides.is_set[id] &&
	       a->overrides.number[id] == b->overrides.number[id] &&
	       same_text(a->overrides.string[id], b->overrides.string[id]);
}

bool conf_database_same_server(const struct conf_database *a, const struct conf_database *b)
{
	return same_text(a->dbname, b->dbname) && same_hosts(a, b) && same_text(a->user, b->user) &&
	       same_text(a->connect_query, b->connect_query) && same_parameters(a, b) &&
	       same_override(a, b, SETTING_auth_dbname) && same_override(a, b, SETTING_auth_query) &&
	       same_override(a, b, SETTING_load_balance_hosts) &&
	       same_override(a, b, SETTING_target_session_attrs);
}
