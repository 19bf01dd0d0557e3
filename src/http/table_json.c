#include "http/table_json.h"

#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/json.h"

struct teller {
	struct pieces pieces;            /* first: next() and free() cast */
	const struct table *table;
	const struct report *report;
	struct table_place place;
	struct json json;
	bool is_of_objects;
	bool is_begun;
};

struct json_sink {
	struct row_sink sink;            /* first: on_row() casts */
	struct json *json;
	const struct table *table;
	unsigned nrows;
};

static const char *type_word(enum column_type type)
{
	static const char *const words[] = {
		[COLUMN_TEXT] = "text",       [COLUMN_INT4] = "integer", [COLUMN_INT8] = "integer",
		[COLUMN_NUMERIC] = "integer", [COLUMN_TIME] = "time",    [COLUMN_BYTEA] = "text",
		[COLUMN_RATIO] = "number",
	};

	return words[type];
}

static void put_time(struct json *j, int64_t us)
{
	time_t seconds = (time_t)(us / (int64_t)CLOCK_SECOND);
	char room[CELL_ROOM];
	struct strbuf text;
	struct tm tm;

	gmtime_r(&seconds, &tm);
	strbuf_init_fixed(&text, room, sizeof(room));
	strbuf_addf(&text, "%04d-%02d-%02dT%02d:%02d:%02d.%06dZ", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday,
		    tm.tm_hour, tm.tm_min, tm.tm_sec, (int)(us % (int64_t)CLOCK_SECOND));
	json_string(j, strbuf_slice(&text));
}

static void put_cell(struct json *j, const struct cell *cell)
{
	char room[CELL_ROOM];

	switch (cell->kind) {
	case CELL_NULL:
		json_null(j);
		break;
	case CELL_NUMBER:
		json_integer(j, cell->number);
		break;
	case CELL_TEXT:
		json_string(j, cell->text);
		break;
	case CELL_RATIO:
		json_verbatim(j, cell_print(cell, room));
		break;
	case CELL_TIME:
		put_time(j, cell->number);
		break;
	}
}

static void put_row(struct row_sink *sink, const struct cell *cells)
{
	struct json_sink *s = (struct json_sink *)sink;

	json_array_begin(s->json);
	for (size_t i = 0; i < s->table->ncolumns; i++)
		put_cell(s->json, &cells[i]);
	json_array_end(s->json);
	s->nrows++;
}

static void put_object(struct row_sink *sink, const struct cell *cells)
{
	struct json_sink *s = (struct json_sink *)sink;

	json_object_begin(s->json);
	for (size_t i = 0; i < s->table->ncolumns; i++) {
		json_key(s->json, s->table->columns[i].name);
		put_cell(s->json, &cells[i]);
	}
	json_object_end(s->json);
	s->nrows++;
}

static void put_head(struct json *j, const struct table *table)
{
	json_object_begin(j);
	json_key(j, "name");
	json_string(j, slice_of(table->name));
	json_key(j, "columns");
	json_array_begin(j);
	for (size_t i = 0; i < table->ncolumns; i++) {
		json_object_begin(j);
		json_key(j, "name");
		json_string(j, slice_of(table->columns[i].name));
		json_key(j, "type");
		json_string(j, slice_of(type_word(table->columns[i].type)));
		json_object_end(j);
	}
	json_array_end(j);
	json_key(j, "rows");
}

/* Of a table that does not grow with the number of sessions, all rows. */
static enum told tell_rows(struct teller *t, unsigned *left)
{
	struct json_sink sink = {.sink.on_row = t->is_of_objects ? put_object : put_row,
				 .json = &t->json,
				 .table = t->table};
	enum told told;

	if (t->table->piece != NULL)
		told = t->table->piece(t->report, &t->place, *left, &sink.sink);
	else
		told = table_tell(t->table, t->report, &sink.sink) ? TOLD_ALL : TOLD_OUT_OF_MEMORY;
	*left -= table_looked_at(told, sink.nrows, *left);
	return told;
}

static enum told tell_next(struct pieces *p, unsigned *left, struct strbuf *out)
{
	struct teller *t = (struct teller *)p;
	enum told told;

	t->json.out = out;
	if (!t->is_begun) {
		if (!t->is_of_objects)
			put_head(&t->json, t->table);
		json_array_begin(&t->json);
	}
	t->is_begun = true;
	told = tell_rows(t, left);
	if (told != TOLD_ALL)
		return told;
	json_array_end(&t->json);
	if (!t->is_of_objects)
		json_object_end(&t->json);
	return TOLD_ALL;
}

static void free_teller(struct pieces *p)
{
	struct teller *t = (struct teller *)p;

	table_leave(&t->place);
	free(t);
}

static struct pieces *new_teller(const struct table *table, const struct report *report, bool is_of_objects)
{
	struct teller *t = calloc(1, sizeof(*t));

	if (t == NULL)
		return NULL;
	t->pieces.next = tell_next;
	t->pieces.free = free_teller;
	t->table = table;
	t->report = report;
	t->is_of_objects = is_of_objects;
	return &t->pieces;
}

struct pieces *table_json_rows(const struct table *table, const struct report *report)
{
	return new_teller(table, report, false);
}

struct pieces *table_json_objects(const struct table *table, const struct report *report)
{
	return new_teller(table, report, true);
}
