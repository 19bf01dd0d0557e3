/*
 * CONFIG and ALL, VERSION.
 */
#include "report/tables.h"

#define CONFIG_COLUMNS(X)                                                            \
	X(key, TEXT, cell_text(info->name))                                          \
	X(value, TEXT, cell_slice(value))                                            \
	X(default, TEXT, cell_text(info->default_text))                              \
	X(changeable, TEXT, cell_text(info->when == WHEN_RELOAD ? "yes" : "no"))

static void config_row(struct row_sink *sink, const struct setting_info *info, struct slice value)
{
	const struct cell cells[] = {CONFIG_COLUMNS(TABLE_CELL)};

	sink->on_row(sink, cells);
}

typedef void setting_row(struct row_sink *sink, const struct setting_info *info, struct slice value);

static bool tell_settings(const struct report *r, struct row_sink *sink, setting_row *row)
{
	struct strbuf value;
	bool ok;

	strbuf_init(&value);
	for (size_t i = 0; i < SETTING_COUNT && !value.failed; i++) {
		enum setting_id id = setting_by_rank(i);

		strbuf_reset(&value);
		setting_print(hub_settings(r->hub), id, &value);
		row(sink, setting_info(id), strbuf_slice(&value));
	}
	ok = !value.failed;
	strbuf_fini(&value);
	return ok;
}

static bool config_rows(const struct report *r, struct row_sink *sink)
{
	return tell_settings(r, sink, config_row);
}

static const struct column config_columns[] = {CONFIG_COLUMNS(TABLE_COLUMN)};
const struct table table_config = TABLE("CONFIG", config_columns, config_rows);

/* The layout of PostgreSQL's SHOW ALL. */
#define ALL_COLUMNS(X)                                  \
	X(name, TEXT, cell_text(info->name))            \
	X(setting, TEXT, cell_slice(value))             \
	X(description, TEXT, cell_text(info->doc))

static void all_row(struct row_sink *sink, const struct setting_info *info, struct slice value)
{
	sink->on_row(sink, (const struct cell[]){ALL_COLUMNS(TABLE_CELL)});
}

static bool all_rows(const struct report *r, struct row_sink *sink)
{
	return tell_settings(r, sink, all_row);
}

static const struct column all_columns[] = {ALL_COLUMNS(TABLE_COLUMN)};
const struct table table_all = TABLE("ALL", all_columns, all_rows);

#define VERSION_COLUMNS(X) X(version, TEXT, cell_slice(strbuf_slice(&text)))

static bool version_rows(const struct report *r, struct row_sink *sink)
{
	struct strbuf text;
	char room[128];

	strbuf_init_fixed(&text, room, sizeof(room));
	strbuf_addf(&text, "PgBouncer " TABLES_COMPATIBLE " compatible (pgsluice %s)", r->version);
	sink->on_row(sink, (const struct cell[]){VERSION_COLUMNS(TABLE_CELL)});
	return true;
}

static const struct column version_columns[] = {VERSION_COLUMNS(TABLE_COLUMN)};
const struct table table_version = TABLE("VERSION", version_columns, version_rows);
