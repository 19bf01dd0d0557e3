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

struct conf_place conf_origin(const struct conf *conf, enum setting_id id)
{
	return conf->origins[id].file != NULL ? conf->origins[id] : (struct conf_place){conf->s.conffile, 0};
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

bool conf_database_same_server(const struct conf_database *a, const struct conf_database *b)
{
	static const enum setting_id settings[] = {SETTING_auth_dbname, SETTING_auth_query, SETTING_load_balance_hosts,
						   SETTING_target_session_attrs};

	for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
		if (!overrides_equal(&a->overrides, &b->overrides, settings[i]))
			return false;
	}
	return same_text(a->dbname, b->dbname) && same_hosts(a, b) && same_text(a->user, b->user) &&
	       same_text(a->connect_query, b->connect_query) && same_parameters(a, b);
}
