/*
 * CONFIG, VERSION.
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

static bool config_rows(const struct report *r, struct row_sink *sink)
{
	struct strbuf value;
	bool ok;

	strbuf_init(&value);
	for (size_t i = 0; i < SETTING_COUNT && !value.failed; i++) {
		enum setting_id id = setting_by_rank(i);

		strbuf_reset(&value);
		setting_print(hub_settings(r->hub), id, &value);
		config_row(sink, setting_info(id), strbuf_slice(&value));
	}
	ok = !value.failed;
	strbuf_fini(&value);
	return ok;
}

static const struct column config_columns[] = {CONFIG_COLUMNS(TABLE_COLUMN)};
const struct table table_config = TABLE("CONFIG", config_columns, config_rows);

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
