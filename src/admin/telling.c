#include "admin/telling.h"

#include "admin/binary.h"
#include "proto/msg.h"
#include "proto/out.h"

void telling_init(struct telling *t, const struct table *table, binary_columns binary)
{
	*t = (struct telling){.table = table, .binary = binary};
	strbuf_init(&t->built);
}

void telling_end(struct telling *t)
{
	table_leave(&t->place);
	strbuf_fini(&t->built);
	*t = (struct telling){0};
}

static bool is_binary(binary_columns binary, size_t column)
{
	return binary >> column & 1;
}

void telling_header(const struct table *table, binary_columns binary, struct strbuf *out)
{
	struct out_column columns[TELLING_COLUMNS_MAX];

	for (size_t i = 0; i < table->ncolumns; i++) {
		columns[i] = (struct out_column){
			.name = table->columns[i].name,
			.type_oid = column_oid(table->columns[i].type),
			.type_size = column_size(table->columns[i].type),
			.is_binary = is_binary(binary, i),
		};
	}
	out_row_description(out, columns, table->ncolumns);
}

struct message_sink {
	struct row_sink sink;            /* first: on_row() casts */
	const struct telling *telling;
	struct strbuf *out;
	uint32_t nrows;
};

static void on_row(struct row_sink *sink, const struct cell *cells)
{
	struct message_sink *s = (struct message_sink *)sink;
	const struct table *table = s->telling->table;
	size_t mark = out_row_begin(s->out, table->ncolumns);
	char room[CELL_ROOM];

	for (size_t i = 0; i < table->ncolumns; i++) {
		if (cells[i].kind == CELL_NULL)
			out_row_null(s->out);
		else if (is_binary(s->telling->binary, i))
			out_row_text(s->out, cell_binary(table->columns[i].type, &cells[i], room));
		else
			out_row_text(s->out, cell_print(&cells[i], room));
	}
	out_end(s->out, mark);
	s->nrows++;
}

/* More rows, or the last, into t->built, which is empty. False: out of memory. */
static bool make_rows(struct telling *t, const struct report *r, unsigned *budget, uint32_t most)
{
	struct message_sink sink = {.sink.on_row = on_row, .telling = t, .out = &t->built};
	unsigned n = *budget < most ? *budget : most;
	enum told told;

	strbuf_reset(&t->built);
	t->taken = 0;
	if (t->table->piece == NULL) {
		t->is_made = table_tell(t->table, r, &sink.sink);
		return t->is_made && !t->built.failed;
	}
	told = t->table->piece(r, &t->place, n, &sink.sink);
	*budget -= table_looked_at(told, sink.nrows, n);
	t->is_made = told == TOLD_ALL;
	return told != TOLD_OUT_OF_MEMORY && !t->built.failed;
}

/* The rows that have been made, message by message. */
static void hand_out(struct telling *t, uint32_t *most, struct strbuf *out)
{
	const uint8_t *p = (const uint8_t *)t->built.p;
	size_t start = t->taken;
	struct msg m;

	while (*most > 0 && t->taken < t->built.n &&
	       msg_peek(p + t->taken, t->built.n - t->taken, INT32_MAX, &m) == PEEK_OK) {
		t->taken += MSG_HEADER_SIZE + m.len;
		(*most)--;
	}
	if (t->taken > start)
		strbuf_add(out, t->built.p + start, t->taken - start);
}

static bool are_all_handed_out(const struct telling *t)
{
	return t->taken == t->built.n;
}

enum told telling_go_on(struct telling *t, const struct report *r, unsigned *budget, uint32_t *most,
			struct strbuf *out)
{
	if (are_all_handed_out(t) && !t->is_made && !make_rows(t, r, budget, *most))
		return TOLD_OUT_OF_MEMORY;
	hand_out(t, most, out);
	if (out->failed)
		return TOLD_OUT_OF_MEMORY;
	return t->is_made && are_all_handed_out(t) ? TOLD_ALL : TOLD_SOME;
}
