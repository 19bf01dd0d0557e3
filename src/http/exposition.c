#include "http/exposition.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/utf8.h"
#include "report/metrics.h"

/* A cell that is null, or no number: no sample. */
#define NO_VALUE INT64_MIN

/*
 * The samples of a metric stand together, but the rows of its table each have
 * one of every metric. So a source's rows are gathered before they are told.
 */
struct gathering {
	const struct metric_source *source;
	int label_columns[METRIC_LABELS_MAX];
	int value_columns[METRIC_OF_SOURCE_MAX];  /* -1: none */
	int key_column, value_column;
	struct strbuf labels;            /* of all rows, one behind the other */
	struct strbuf ends;              /* size_t: where those of each row end */
	struct strbuf values;            /* int64_t: of each row as many as there are metrics */
	size_t nrows;
	struct table_place place;
};

struct exposition {
	struct pieces pieces;            /* first: next() and free() cast */
	const struct report *report;
	size_t source;                   /* which one is being gathered or told */
	struct gathering g;
	bool is_gathered;
	size_t metric, row;              /* what is to be told next */
};

struct gathering_sink {
	struct row_sink sink;            /* first: on_row() casts */
	struct gathering *g;
	unsigned nrows;
};

/* ------------------------------------------------------------------ gathering */

static int find_column(const struct table *table, const char *name)
{
	for (size_t i = 0; name != NULL && i < table->ncolumns; i++)
		if (strcmp(table->columns[i].name, name) == 0)
			return (int)i;
	return -1;
}

static void begin_gathering(struct gathering *g, const struct metric_source *source)
{
	*g = (struct gathering){.source = source};
	for (size_t i = 0; i < source->nlabels; i++)
		g->label_columns[i] = find_column(source->table, source->labels[i].column);
	for (size_t i = 0; i < source->nmetrics; i++)
		g->value_columns[i] = find_column(source->table, source->metrics[i].column);
	g->key_column = find_column(source->table, source->key);
	g->value_column = find_column(source->table, source->value);
}

static void end_gathering(struct gathering *g)
{
	table_leave(&g->place);
	strbuf_fini(&g->labels);
	strbuf_fini(&g->ends);
	strbuf_fini(&g->values);
}

/* What stands between the quotes. */
static void add_label_value(struct strbuf *out, struct slice text)
{
	size_t n;

	for (size_t i = 0; i < text.n; i += n == 0 ? 1 : n) {
		n = utf8_character((struct slice){text.p + i, text.n - i});
		if (n == 0)
			strbuf_add_str(out, UTF8_REPLACEMENT);
		else if (text.p[i] == '\n')
			strbuf_add_str(out, "\\n");
		else if (text.p[i] == '"' || text.p[i] == '\\')
			strbuf_addf(out, "\\%c", text.p[i]);
		else
			strbuf_add(out, text.p + i, n);
	}
}

/* A null reads as nothing. */
static void add_labels(struct gathering *g, const struct cell *cells)
{
	char room[CELL_ROOM];

	for (size_t i = 0; i < g->source->nlabels; i++) {
		const struct cell *cell = &cells[g->label_columns[i]];

		strbuf_addf(&g->labels, "%c%s=\"", i == 0 ? '{' : ',', g->source->labels[i].name);
		if (cell->kind != CELL_NULL)
			add_label_value(&g->labels, cell_print(cell, room));
		strbuf_add_char(&g->labels, '"');
	}
	if (g->source->nlabels > 0)
		strbuf_add_char(&g->labels, '}');
	strbuf_add(&g->ends, &g->labels.n, sizeof(g->labels.n));
}

static int64_t read_cell(const struct metric *m, const struct cell *cell)
{
	int64_t number = cell->number;

	if (m->reading == READ_WORD)
		return cell->kind == CELL_TEXT && slice_is(cell->text, m->word);
	if (cell->kind == CELL_NUMBER || (cell->kind == CELL_TEXT && slice_to_int64(cell->text, &number)))
		return number;
	return NO_VALUE;
}

/* The row's value for one metric. */
static int64_t read_value(const struct gathering *g, size_t metric, const struct cell *cells)
{
	const struct metric *m = &g->source->metrics[metric];

	if (m->column == NULL)
		return 1;
	if (g->source->key == NULL)
		return read_cell(m, &cells[g->value_columns[metric]]);
	if (slice_is(cells[g->key_column].text, m->column))
		return read_cell(m, &cells[g->value_column]);
	return NO_VALUE;
}

static void on_row(struct row_sink *sink, const struct cell *cells)
{
	struct gathering_sink *s = (struct gathering_sink *)sink;
	struct gathering *g = s->g;

	add_labels(g, cells);
	for (size_t i = 0; i < g->source->nmetrics; i++) {
		int64_t value = read_value(g, i, cells);

		strbuf_add(&g->values, &value, sizeof(value));
	}
	g->nrows++;
	s->nrows++;
}

static enum told gather(struct exposition *e, unsigned *left)
{
	struct gathering *g = &e->g;
	struct gathering_sink sink = {.sink.on_row = on_row, .g = g};
	const struct table *table = g->source->table;
	unsigned most = *left;
	enum told told;

	if (table->piece == NULL)
		told = table_tell(table, e->report, &sink.sink) ? TOLD_ALL : TOLD_OUT_OF_MEMORY;
	else
		told = table->piece(e->report, &g->place, most, &sink.sink);
	*left -= told == TOLD_SOME || sink.nrows > most ? most : sink.nrows;
	return g->labels.failed || g->ends.failed || g->values.failed ? TOLD_OUT_OF_MEMORY : told;
}

/* ------------------------------------------------------------------ telling */

static void add_head(struct strbuf *out, const struct metric *m)
{
	static const char *const types[] = {[METRIC_GAUGE] = "gauge", [METRIC_COUNTER] = "counter"};

	strbuf_addf(out, "# HELP %s %s\n# TYPE %s %s\n", m->name, m->help, m->name, types[m->type]);
}

static struct slice labels_of(const struct gathering *g, size_t row)
{
	size_t begin = 0, end;

	if (row > 0)
		memcpy(&begin, g->ends.p + (row - 1) * sizeof(begin), sizeof(begin));
	memcpy(&end, g->ends.p + row * sizeof(end), sizeof(end));
	return (struct slice){g->labels.p + begin, end - begin};
}

static int64_t value_of(const struct gathering *g, size_t row, size_t metric)
{
	int64_t value;

	memcpy(&value, g->values.p + (row * g->source->nmetrics + metric) * sizeof(value), sizeof(value));
	return value;
}

static void add_sample(struct strbuf *out, const struct gathering *g, size_t row, size_t metric)
{
	const struct metric *m = &g->source->metrics[metric];
	int64_t value = value_of(g, row, metric);

	if (value == NO_VALUE)
		return;
	strbuf_add_str(out, m->name);
	if (g->labels.n > 0)
		strbuf_add_slice(out, labels_of(g, row));
	if (m->reading == READ_MICROSECONDS)
		strbuf_addf(out, " %lld.%06lld\n", (long long)(value / (int64_t)CLOCK_SECOND),
			    (long long)(value % (int64_t)CLOCK_SECOND));
	else
		strbuf_addf(out, " %lld\n", (long long)value);
}

/* Moves on; false: all of the source has been told. */
static bool tell_samples(struct exposition *e, unsigned *left, struct strbuf *out)
{
	const struct gathering *g = &e->g;

	for (; e->metric < g->source->nmetrics; e->metric++, e->row = 0) {
		for (; e->row < g->nrows; e->row++, (*left)--) {
			if (*left == 0)
				return true;
			if (e->row == 0)
				add_head(out, &g->source->metrics[e->metric]);
			add_sample(out, g, e->row, e->metric);
		}
	}
	return false;
}

static enum told step(struct exposition *e, unsigned *left, struct strbuf *out)
{
	if (!e->is_gathered) {
		enum told told = gather(e, left);

		e->is_gathered = told == TOLD_ALL;
		return told == TOLD_OUT_OF_MEMORY ? told : TOLD_SOME;
	}
	if (tell_samples(e, left, out))
		return TOLD_SOME;
	end_gathering(&e->g);
	e->source++;
	e->is_gathered = false;
	e->metric = e->row = 0;
	if (e->source == metric_source_count) {
		e->g = (struct gathering){0};
		return TOLD_ALL;
	}
	begin_gathering(&e->g, &metric_sources[e->source]);
	return TOLD_SOME;
}

static enum told tell_next(struct pieces *p, unsigned *left, struct strbuf *out)
{
	struct exposition *e = (struct exposition *)p;
	enum told told = TOLD_SOME;

	while (told == TOLD_SOME && *left > 0)
		told = step(e, left, out);
	return told;
}

static void free_exposition(struct pieces *p)
{
	struct exposition *e = (struct exposition *)p;

	end_gathering(&e->g);
	free(e);
}

struct pieces *exposition_new(const struct report *report)
{
	struct exposition *e = calloc(1, sizeof(*e));

	if (e == NULL)
		return NULL;
	e->pieces.next = tell_next;
	e->pieces.free = free_exposition;
	e->report = report;
	begin_gathering(&e->g, &metric_sources[0]);
	return &e->pieces;
}
