#include "conf/differences.h"

static const struct difference differences[] = {
#define WHERE_SET(name, text) {SETTING_##name, NULL, text},
#define WHERE_NOT_SET(name, as_there, text) {SETTING_##name, as_there, text},
#include "conf/differences.def"
#undef WHERE_SET
#undef WHERE_NOT_SET
};
#define DIFFERENCE_COUNT (sizeof(differences) / sizeof(differences[0]))

const struct difference *difference_at(size_t i)
{
	return i < DIFFERENCE_COUNT ? &differences[i] : NULL;
}

/* What there is to say of a setting that is set; NULL: nothing. */
static const char *text_where_set(enum setting_id id)
{
	if (setting_info(id)->effect == EFFECT_NONE)
		return setting_info(id)->doc;
	for (size_t i = 0; i < DIFFERENCE_COUNT; i++) {
		if (differences[i].id == id && differences[i].as_there == NULL)
			return differences[i].text;
	}
	return NULL;
}

static bool is_set(const struct conf *conf, enum setting_id id)
{
	return conf->origins[id].file != NULL;
}

static void tell_main_section(const struct conf *conf, struct conf_problems *problems)
{
	for (size_t i = 0; i < SETTING_COUNT; i++) {
		enum setting_id id = setting_by_rank(i);
		const char *text = text_where_set(id);

		if (text != NULL && is_set(conf, id))
			conf_note(problems, conf->origins[id], "%s: %s", setting_info(id)->name, text);
	}
}

static void tell_entry(const char *name, const struct conf_overrides *o, struct conf_place at,
		       struct conf_problems *problems)
{
	for (int i = 0; i < SETTING_ENTITY_COUNT; i++) {
		enum setting_id id = (enum setting_id)i;
		const char *text = o->is_set[i] ? text_where_set(id) : NULL;

		if (text != NULL)
			conf_note(problems, at, "%.*s: %s: %s", CONF_EXCERPT(slice_of(name)), overrides_key(id), text);
	}
}

/* None of them can stand in an entry instead. */
static void tell_defaults(const struct conf *conf, const char *file, struct conf_problems *problems)
{
	const struct conf_place at = {file, 0};

	for (size_t i = 0; i < DIFFERENCE_COUNT; i++) {
		const struct difference *d = &differences[i];
		const char *name = setting_info(d->id)->name;

		if (d->as_there != NULL && !is_set(conf, d->id))
			conf_note(problems, at, "%s is not set: %s As in PgBouncer: %s = %s", name, d->text, name,
				  d->as_there);
	}
}

void differences_tell(const struct conf *conf, const char *file, struct conf_problems *problems)
{
	if (!conf->is_pgbouncers)
		return;
	tell_main_section(conf, problems);
	for (const struct conf_database *db = conf->databases; db != NULL; db = db->next)
		tell_entry(db->name, &db->overrides, db->at, problems);
	for (const struct conf_user *user = conf->users; user != NULL; user = user->next)
		tell_entry(user->name, &user->overrides, user->at, problems);
	tell_defaults(conf, file, problems);
}
