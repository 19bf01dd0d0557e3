#include "admin/reply.h"

#include "proto/out.h"

void reply_error(struct strbuf *out, const char *sqlstate, const char *message, const char *detail)
{
	const struct out_error e = {.severity = "ERROR", .sqlstate = sqlstate, .message = message, .detail = detail};

	out_error_response(out, 'E', &e);
}

void reply_notice(struct strbuf *out, const char *severity, const char *message, const char *detail)
{
	const struct out_error e = {.severity = severity, .sqlstate = "00000", .message = message, .detail = detail};

	out_error_response(out, 'N', &e);
}

/* More columns than any table has. */
#define COLUMNS_MAX 64

static void out_header(struct strbuf *out, const struct table *table)
{
	struct out_column columns[COLUMNS_MAX];

	for (size_t i = 0; i < table->ncolumns; i++) {
		columns[i] = (struct out_column){
			.name = table->columns[i].name,
			.type_oid = column_oid(table->columns[i].type),
			.type_size = column_size(table->columns[i].type),
		};
	}
	out_row_description(out, columns, table->ncolumns);
}

struct show {
	struct row_sink sink;            /* first: on_row() casts */
	struct strbuf *out;
	size_t ncolumns;
};

static void on_row(struct row_sink *sink, const struct cell *cells)
{
	struct show *show = (struct show *)sink;
	size_t mark = out_row_begin(show->out, show->ncolumns);
	char room[CELL_ROOM];

	for (size_t i = 0; i < show->ncolumns; i++) {
		if (cells[i].kind == CELL_NULL)
			out_row_null(show->out);
		else
			out_row_text(show->out, cell_print(&cells[i], room));
	}
	out_end(show->out, mark);
}

bool reply_table(struct strbuf *out, const struct report *r, const struct table *table)
{
	struct show show = {.sink.on_row = on_row, .out = out, .ncolumns = table->ncolumns};

	out_header(out, table);
	if (!table->rows(r, &show.sink))
		return false;
	out_command_complete(out, "SHOW");
	return true;
}

void reply_text(struct strbuf *out, const char *column, const char *text)
{
	const struct out_column header = {column, column_oid(COLUMN_TEXT), column_size(COLUMN_TEXT)};
	size_t mark;

	out_row_description(out, &header, 1);
	mark = out_row_begin(out, 1);
	out_row_text(out, slice_of(text));
	out_end(out, mark);
	out_command_complete(out, "SHOW");
}
