/*
 * Snapshots that differ from a loaded one in what the console has set.
 *
 * Each is made from the loaded one anew, with all changes so far: a setting
 * that is changed a thousand times costs as much as one that is changed once.
 */
#include "base/attempt.h"
#include "conf/conf.h"
#include "conf/names.h"

struct conf_changed {
	struct conf_change change;           /* its texts are in the arena */
	struct conf_changed *next;
};

static bool set_global(struct conf *conf, const struct conf_change *c, struct strbuf *error)
{
	struct setting_value value;
	enum setting_id id;

	if (!setting_find(c->key, &id)) {
		strbuf_addf(error, "unknown parameter \"%.*s\"", CONF_EXCERPT(c->key));
		return false;
	}
	if (setting_info(id)->when == WHEN_START) {
		strbuf_addf(error, "%s can only be changed by a restart", setting_info(id)->name);
		return false;
	}
	if (!setting_parse(id, c->value, &value, error))
		return false;
	setting_store(&conf->s, id, &value, conf->arena);
	conf->origins[id] = (struct conf_place){CONF_SET, 0};
	return true;
}

static bool set_override(struct conf *conf, const struct conf_change *c, struct conf_overrides *o, struct strbuf *error)
{
	enum setting_id id;

	if (!setting_find_entity(c->key, c->scope, &id)) {
		strbuf_addf(error, "a %s has no setting \"%.*s\" that can be changed here",
			    c->scope == SCOPE_USER ? "user" : "database", CONF_EXCERPT(c->key));
		return false;
	}
	o->is_from_console[id] = true;
	return overrides_read(o, id, c->value, conf->arena, error);
}

/* --- entries: those of the loaded snapshot may not be written to --- */

/* A copy of an entry under a name, at the end of the list; the new end. */
static struct conf_database **append_database(struct conf *conf, struct conf_database **end,
					      const struct conf_database *like, const char *name)
{
	struct conf_database *db = arena_alloc(conf->arena, sizeof(*db));

	*db = *like;
	db->name = name;
	db->next = NULL;
	names_add(conf->database_names, name, db);
	*end = db;
	return &db->next;
}

static struct conf_user **append_user(struct conf *conf, struct conf_user **end, const struct conf_user *like,
				      const char *name)
{
	struct conf_user *user = arena_alloc(conf->arena, sizeof(*user));

	*user = *like;
	user->name = name;
	user->next = NULL;
	names_add(conf->user_names, name, user);
	*end = user;
	return &user->next;
}

static void own_databases(struct conf *conf)
{
	struct conf_database **end = &conf->databases;

	if (conf->database_names != conf->base->database_names)
		return;
	conf->database_names = names_new(conf->arena);
	for (const struct conf_database *db = conf->base->databases; db != NULL; db = db->next)
		end = append_database(conf, end, db, db->name);
}

static void own_users(struct conf *conf)
{
	struct conf_user **end = &conf->users;

	if (conf->user_names != conf->base->user_names)
		return;
	conf->user_names = names_new(conf->arena);
	for (const struct conf_user *user = conf->base->users; user != NULL; user = user->next)
		end = append_user(conf, end, user, user->name);
}

static bool fits(struct slice name, size_t longest, struct strbuf *error)
{
	if (name.n <= longest)
		return true;
	strbuf_add_str(error, "the name is too long");
	return false;
}

/* One that was the template's so far gets an entry like it. NULL: there is no such database. */
static struct conf_database *database_to_change(struct conf *conf, struct slice name, struct strbuf *error)
{
	const struct conf_database *template = conf_find_database(conf, SLICE_LIT("*"));
	struct conf_database **end = &conf->databases;

	if (!fits(name, CONF_DATABASE_NAME_MAX, error))
		return NULL;
	own_databases(conf);
	if (conf_find_database(conf, name) == NULL) {
		if (template == NULL || setting_is_console(name)) {
			strbuf_addf(error, "no such database: %.*s", CONF_EXCERPT(name));
			return NULL;
		}
		while (*end != NULL)
			end = &(*end)->next;
		append_database(conf, end, template, arena_copy(conf->arena, name));
	}
	return names_find(conf->database_names, name);
}

/* Users need no entry to exist. */
static struct conf_user *user_to_change(struct conf *conf, struct slice name, struct strbuf *error)
{
	const struct conf_user fresh = {0};
	struct conf_user **end = &conf->users;

	if (!fits(name, CONF_USER_NAME_MAX, error))
		return NULL;
	own_users(conf);
	if (conf_find_user(conf, name) == NULL) {
		while (*end != NULL)
			end = &(*end)->next;
		append_user(conf, end, &fresh, arena_copy(conf->arena, name));
	}
	return names_find(conf->user_names, name);
}

/* --- all together --- */

static bool apply(struct conf *conf, const struct conf_change *c, struct strbuf *error)
{
	struct conf_database *db;
	struct conf_user *user;

	switch (c->scope) {
	case SCOPE_DATABASE:
		db = database_to_change(conf, c->entry, error);
		return db != NULL && set_override(conf, c, &db->overrides, error);
	case SCOPE_USER:
		user = user_to_change(conf, c->entry, error);
		return user != NULL && set_override(conf, c, &user->overrides, error);
	case SCOPE_GLOBAL:
	case SCOPE_PEER:
		break;
	}
	return set_global(conf, c, error);
}

static void note(struct conf *conf, const struct conf_change *c)
{
	struct conf_changed *changed = arena_alloc(conf->arena, sizeof(*changed)), **end = &conf->changes;

	changed->change = (struct conf_change){
		.scope = c->scope,
		.entry = {arena_copy(conf->arena, c->entry), c->entry.n},
		.key = {arena_copy(conf->arena, c->key), c->key.n},
		.value = {arena_copy(conf->arena, c->value), c->value.n},
	};
	while (*end != NULL)
		end = &(*end)->next;
	*end = changed;
}

static bool replaces(const struct conf_change *c, const struct conf_change *former)
{
	return c->scope == former->scope && slice_eq(c->entry, former->entry) && slice_eq(c->key, former->key);
}

static bool apply_all(struct conf *with, const struct conf *former, const struct conf_change *c, struct strbuf *error)
{
	for (const struct conf_changed *f = former->changes; f != NULL; f = f->next) {
		if (replaces(c, &f->change))
			continue;
		/* It was accepted before. */
		if (!apply(with, &f->change, error))
			return false;
		note(with, &f->change);
	}
	note(with, c);
	return apply(with, c, error);
}

struct attempted {
	struct conf *conf;
	const struct conf_change *change;
	struct strbuf *error;
	struct conf *with;                   /* NULL: refused */
};

static void make(void *arg)
{
	struct attempted *a = arg;
	struct conf *loaded = a->conf->base != NULL ? a->conf->base : a->conf;
	struct arena *arena = arena_new();
	struct conf *with = arena_alloc(arena, sizeof(*with));

	*with = *loaded;
	with->arena = arena;
	with->base = loaded;
	with->refs = 1;
	if (!apply_all(with, a->conf, a->change, a->error)) {
		arena_free(arena);
		return;
	}
	conf_ref(loaded);
	a->with = with;
}

struct conf *conf_with(struct conf *conf, const struct conf_change *change, struct strbuf *error)
{
	struct attempted a = {.conf = conf, .change = change, .error = error};

	if (!attempt(make, &a))
		strbuf_add_str(error, "out of memory");
	return a.with;
}
