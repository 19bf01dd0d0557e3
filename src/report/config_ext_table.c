/*
 * CONFIG_EXT: every setting with where its value comes from, and those that
 * databases, users and peers have of their own.
 */
#include "report/tables.h"

struct config_row {
	const char *scope;
	struct slice entry;
	const char *key, *default_text;
	struct slice value;
	bool is_changeable;
	struct conf_place source;    /* file NULL: nowhere */
};

#define CONFIG_EXT_COLUMNS(X)                                            \
	X(scope, TEXT, cell_text(row->scope))                            \
	X(entry, TEXT, cell_slice(row->entry))                           \
	X(key, TEXT, cell_text(row->key))                                \
	X(value, TEXT, cell_slice(row->value))                           \
	X(default, TEXT, cell_text(row->default_text))                   \
	X(changeable, TEXT, cell_text(yes_or_no(row->is_changeable)))    \
	X(source, TEXT, cell_slice(strbuf_slice(&source)))               \
	X(persisted, TEXT, cell_text(yes_or_no(!is_set(row))))

static const char *yes_or_no(bool yes)
{
	return yes ? "yes" : "no";
}

/* By the console: gone with the next reload. */
static bool is_set(const struct config_row *row)
{
	return row->source.file != NULL && strcmp(row->source.file, CONF_SET) == 0;
}

static void print_place(struct conf_place at, struct strbuf *out)
{
	strbuf_add_str(out, at.file != NULL ? at.file : "default");
	if (at.line > 0)
		strbuf_addf(out, ":%d", at.line);
}

/* False: out of memory. */
static bool tell(struct row_sink *sink, const struct config_row *row)
{
	struct strbuf source;
	bool ok;

	strbuf_init(&source);
	print_place(row->source, &source);
	ok = !source.failed;
	if (ok)
		sink->on_row(sink, (const struct cell[]){CONFIG_EXT_COLUMNS(TABLE_CELL)});
	strbuf_fini(&source);
	return ok;
}

/* value NULL: the console has taken away what the file gives the entry. */
static bool tell_value(struct row_sink *sink, struct config_row *row, enum setting_id id,
		       const struct setting_value *value)
{
	const struct setting_info *info = setting_info(id);
	struct strbuf text;
	bool ok;

	strbuf_init(&text);
	if (value != NULL)
		setting_print_value(id, value, &text);
	else
		strbuf_add_str(&text, "inherited");
	row->value = strbuf_slice(&text);
	row->default_text = info->default_text;
	row->is_changeable = info->when == WHEN_RELOAD;
	ok = !text.failed && tell(sink, row);
	strbuf_fini(&text);
	return ok;
}

static bool tell_settings(const struct conf *conf, struct row_sink *sink)
{
	for (size_t i = 0; i < SETTING_COUNT; i++) {
		enum setting_id id = setting_by_rank(i);
		struct config_row row = {.scope = "global", .entry = {"", 0}, .key = setting_info(id)->name,
					 .source = conf->origins[id]};
		struct setting_value value = setting_value(&conf->s, id);

		if (!tell_value(sink, &row, id, &value))
			return false;
	}
	return true;
}

static bool tell_overrides(const char *scope, struct slice entry, const struct conf_overrides *o, struct conf_place at,
			   struct row_sink *sink)
{
	for (int i = 0; i < SETTING_ENTITY_COUNT; i++) {
		enum setting_id id = (enum setting_id)i;
		struct config_row row = {.scope = scope, .entry = entry, .key = overrides_key(id), .source = at};
		struct setting_value value;

		if (!o->is_set[id] && !o->is_from_console[id])
			continue;
		if (o->is_from_console[id])
			row.source = (struct conf_place){CONF_SET, 0};
		if (o->is_set[id])
			value = overrides_value(o, id);
		if (!tell_value(sink, &row, id, o->is_set[id] ? &value : NULL))
			return false;
	}
	return true;
}

static bool tell_peers(const struct conf *conf, struct row_sink *sink)
{
	char room[CELL_ROOM];

	for (const struct conf_peer *peer = conf->peers; peer != NULL; peer = peer->next) {
		const struct cell id = cell_number(peer->id);

		if (!tell_overrides("peer", cell_print(&id, room), &peer->overrides, peer->at, sink))
			return false;
	}
	return true;
}

static bool config_ext_rows(const struct report *r, struct row_sink *sink)
{
	const struct conf *conf = registry_conf(r->hub->registry);

	if (!tell_settings(conf, sink))
		return false;
	for (const struct conf_database *db = conf->databases; db != NULL; db = db->next)
		if (!tell_overrides("database", slice_of(db->name), &db->overrides, db->at, sink))
			return false;
	for (const struct conf_user *user = conf->users; user != NULL; user = user->next)
		if (!tell_overrides("user", slice_of(user->name), &user->overrides, user->at, sink))
			return false;
	return tell_peers(conf, sink);
}

static const struct column config_ext_columns[] = {CONFIG_EXT_COLUMNS(TABLE_COLUMN)};
const struct table table_config_ext = TABLE("CONFIG_EXT", config_ext_columns, config_ext_rows);
