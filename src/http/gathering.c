#include "http/gathering.h"

#include <stdlib.h>

#include "base/sys.h"
#include "base/utf8.h"

/* Groups of rows that are counted. In those beyond, the values that clients choose are folded into one. */
#define GROUPS_MAX 200
#define FOLDED "other"

struct group {
	struct hashed hashed;            /* first: groups are found by it */
	size_t row;                      /* which has the labels, and the count as its value */
};

struct gathering_sink {
	struct row_sink sink;            /* first: on_row() casts */
	struct gathering *g;
	unsigned nrows;
};

/* --- columns --- */

static int find_column(const struct table *table, const char *name)
{
	for (size_t i = 0; name != NULL && i < table->ncolumns; i++)
		if (strcmp(table->columns[i].name, name) == 0)
			return (int)i;
	return -1;
}

void gathering_begin(struct gathering *g, const struct metric_source *source)
{
	*g = (struct gathering){.source = source};
	for (size_t i = 0; i < source->nlabels; i++)
		g->label_columns[i] = find_column(source->table, source->labels[i].name);
	for (size_t i = 0; i < source->nmetrics; i++)
		g->value_columns[i] = find_column(source->table, source->metrics[i].column);
	g->key_column = find_column(source->table, source->key);
	g->value_column = find_column(source->table, source->value);
	g->sum_column = find_column(source->table, source->sum);
	if (source->is_count)
		sys_random(g->key, sizeof(g->key));
}

static size_t values_of_row(const struct metric_source *source)
{
	return source->nmetrics + (source->sum == NULL ? 0 : HISTOGRAM_VALUES);
}

/* --- labels --- */

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
static void add_label(struct strbuf *out, const struct metric_label *label, const struct cell *cell, bool is_folding)
{
	char room[CELL_ROOM];

	strbuf_addf(out, "%s=\"", label->name);
	if (is_folding && label->is_folded)
		strbuf_add_str(out, FOLDED);
	else if (cell->kind != CELL_NULL)
		add_label_value(out, cell_print(cell, room));
	strbuf_add_char(out, '"');
}

static void add_labels(const struct gathering *g, const struct cell *cells, bool is_folding, struct strbuf *out)
{
	for (size_t i = 0; i < g->source->nlabels; i++) {
		strbuf_add_char(out, i == 0 ? '{' : ',');
		add_label(out, &g->source->labels[i], &cells[g->label_columns[i]], is_folding);
	}
	if (g->source->nlabels > 0)
		strbuf_add_char(out, '}');
}

/* --- values --- */

static bool is_one_of(const char *const words[2], struct slice text)
{
	return slice_is(text, words[0]) || (words[1] != NULL && slice_is(text, words[1]));
}

static int64_t read_cell(const struct metric *m, const struct cell *cell)
{
	int64_t number = cell->number;

	if (m->reading == READ_WORD)
		return cell->kind == CELL_TEXT && is_one_of(m->words, cell->text);
	if (cell->kind == CELL_NUMBER || cell->kind == CELL_RATIO ||
	    (cell->kind == CELL_TEXT && slice_to_int64(cell->text, &number)))
		return number;
	return GATHERING_NO_VALUE;
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
	return GATHERING_NO_VALUE;
}

static void add_value(struct gathering *g, int64_t value)
{
	strbuf_add(&g->values, &value, sizeof(value));
}

/* The labels are there already. */
static void end_row(struct gathering *g, const struct cell *cells)
{
	strbuf_add(&g->ends, &g->labels.n, sizeof(g->labels.n));
	for (size_t i = 0; i < g->source->nmetrics; i++)
		add_value(g, read_value(g, i, cells));
	for (size_t i = 0; g->source->sum != NULL && i < HISTOGRAM_VALUES; i++)
		add_value(g, cells[(size_t)g->sum_column + i].number);
	g->nrows++;
}

/* --- rows that are counted --- */

static struct group *find_group(const struct gathering *g, uint64_t hash, struct slice labels)
{
	struct hashed *h = hashtable_find(&g->groups, hash);

	while (h != NULL && !slice_eq(gathering_labels(g, ((struct group *)h)->row), labels))
		h = hashtable_find_next(h);
	return (struct group *)h;
}

/* The next row is the first of a group. False: out of memory. */
static bool add_group(struct gathering *g, uint64_t hash)
{
	struct group *new = malloc(sizeof(*new));

	if (new == NULL)
		return false;
	*new = (struct group){.hashed.hash = hash, .row = g->nrows};
	if (hashtable_add(&g->groups, &new->hashed))
		return true;
	free(new);
	return false;
}

static void count_in(struct gathering *g, const struct group *group)
{
	int64_t value = gathering_value(g, group->row, 0) + 1;

	memcpy(g->values.p + group->row * sizeof(value), &value, sizeof(value));
}

/* False: there is no such group, and no room for it. */
static bool count_row_as(struct gathering *g, const struct cell *cells, bool is_folding)
{
	struct strbuf labels;
	struct group *group;
	bool is_counted = true;
	uint64_t hash;

	strbuf_init(&labels);
	add_labels(g, cells, is_folding, &labels);
	hash = siphash(g->key, labels.p, labels.n);
	group = find_group(g, hash, strbuf_slice(&labels));
	if (group != NULL) {
		count_in(g, group);
	} else if (!is_folding && g->groups.n >= GROUPS_MAX) {
		is_counted = false;
	} else {
		g->labels.failed = labels.failed || !add_group(g, hash);
		strbuf_add_slice(&g->labels, strbuf_slice(&labels));
		end_row(g, cells);
	}
	strbuf_fini(&labels);
	return is_counted;
}

static void count_row(struct gathering *g, const struct cell *cells)
{
	if (!g->labels.failed && !count_row_as(g, cells, false))
		count_row_as(g, cells, true);
}

/* --- */

static void on_row(struct row_sink *sink, const struct cell *cells)
{
	struct gathering_sink *s = (struct gathering_sink *)sink;
	struct gathering *g = s->g;

	s->nrows++;
	if (g->source->is_count) {
		count_row(g, cells);
		return;
	}
	add_labels(g, cells, false, &g->labels);
	end_row(g, cells);
}

enum told gathering_go_on(struct gathering *g, const struct report *report, unsigned *left)
{
	struct gathering_sink sink = {.sink.on_row = on_row, .g = g};
	const struct table *table = g->source->table;
	enum told told;

	if (table->piece == NULL)
		told = table_tell(table, report, &sink.sink) ? TOLD_ALL : TOLD_OUT_OF_MEMORY;
	else
		told = table->piece(report, &g->place, *left, &sink.sink);
	*left -= table_looked_at(told, sink.nrows, *left);
	return g->labels.failed || g->ends.failed || g->values.failed ? TOLD_OUT_OF_MEMORY : told;
}

struct slice gathering_labels(const struct gathering *g, size_t row)
{
	size_t begin = 0, end;

	if (g->source->nlabels == 0)
		return SLICE_LIT("");
	if (row > 0)
		memcpy(&begin, g->ends.p + (row - 1) * sizeof(begin), sizeof(begin));
	memcpy(&end, g->ends.p + row * sizeof(end), sizeof(end));
	return (struct slice){g->labels.p + begin, end - begin};
}

int64_t gathering_value(const struct gathering *g, size_t row, size_t i)
{
	int64_t value;

	memcpy(&value, g->values.p + (row * values_of_row(g->source) + i) * sizeof(value), sizeof(value));
	return value;
}

void gathering_end(struct gathering *g)
{
	struct hashed *h;

	while ((h = hashtable_next(&g->groups, NULL)) != NULL) {
		hashtable_remove(&g->groups, h);
		free(h);
	}
	table_leave(&g->place);
	strbuf_fini(&g->labels);
	strbuf_fini(&g->ends);
	strbuf_fini(&g->values);
	*g = (struct gathering){0};
}
