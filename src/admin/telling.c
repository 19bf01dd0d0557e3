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

static enum told tell_piece(struct telling *t, const struct report *r, unsigned *budget, uint32_t *most,
			    struct strbuf *out)
{
	struct message_sink sink = {.sink.on_row = on_row, .telling = t, .out = out};
	unsigned n = *budget < *most ? *budget : *most;
	enum told told = t->table->piece(r, &t->place, n, &sink.sink);

	*budget -= told == TOLD_SOME ? n : sink.nrows;
	*most -= sink.nrows;
	return out->failed ? TOLD_OUT_OF_MEMORY : told;
}

/* The rows that have been made, message by message. */
static enum told hand_out(struct telling *t, uint32_t *most, struct strbuf *out)
{
	const uint8_t *p = (const uint8_t *)t->built.p;
	size_t start = t->taken;
	struct msg m;

	while (*most > 0 && t->taken < t->built.n &&
	       msg_peek(p + t->taken, t->built.n - t->taken, INT32_MAX, &m) == PEEK_OK) {
		t->taken += MSG_HEADER_SIZE + m.len;
		(*most)--;
	}
	strbuf_add(out, t->built.p + start, t->taken - start);
	if (out->failed)
		return TOLD_OUT_OF_MEMORY;
	return t->taken < t->built.n ? TOLD_SOME : TOLD_ALL;
}

static bool build(struct telling *t, const struct report *r)
{
	struct message_sink sink = {.sink.on_row = on_row, .telling = t, .out = &t->built};

	return table_tell(t->table, r, &sink.sink) && !t->built.failed;
}

enum told telling_go_on(struct telling *t, const struct report *r, unsigned *budget, uint32_t *most,
			struct strbuf *out)
{
	enum told told;

	if (t->is_over)
		return TOLD_ALL;
	if (t->table->piece != NULL) {
		told = tell_piece(t, r, budget, most, out);
	} else {
		if (!t->is_begun && !build(t, r))
			return TOLD_OUT_OF_MEMORY;
		told = t->built.n == 0 ? TOLD_ALL : hand_out(t, most, out);
	}
	t->is_begun = true;
	t->is_over = told == TOLD_ALL;
	return told;
}
