#include "top/top_table.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "top/top_text.h"

void top_table_init(struct top_table *t, bool is_plain)
{
	*t = (struct top_table){.arena = arena_new(), .is_plain = is_plain};
}

void top_table_fini(struct top_table *t)
{
	arena_free(t->arena);
	*t = (struct top_table){.arena = NULL};
}

void top_table_add_column(struct top_table *t, const char *title, enum top_kind kind)
{
	if (t->ncolumns < TOP_MAX_COLUMNS)
		t->columns[t->ncolumns++] = (struct top_column){top_table_text(t, title).text, kind};
}

void top_table_reserve(struct top_table *t, size_t nrows)
{
	t->cells = arena_alloc(t->arena, (nrows * t->ncolumns + 1) * sizeof(t->cells[0]));
	t->order = arena_alloc(t->arena, (nrows + 1) * sizeof(t->order[0]));
	t->room = nrows;
}

struct top_cell *top_table_add_row(struct top_table *t)
{
	assert(t->nrows < t->room);
	return &t->cells[t->nrows++ * t->ncolumns];
}

struct top_cell top_table_text(struct top_table *t, const char *text)
{
	struct strbuf safe;
	struct top_cell cell = {.number = NAN};

	strbuf_init(&safe);
	if (t->is_plain)
		top_text_put_field(&safe, text);
	else
		top_text_put(&safe, text);
	strbuf_add_char(&safe, '\0');
	cell.text = arena_copy(t->arena, safe.failed ? SLICE_LIT("?") : slice_of(safe.p));
	strbuf_fini(&safe);
	return cell;
}

size_t top_table_column(const struct top_table *t, const char *title)
{
	size_t i = 0;

	while (i < t->ncolumns && strcmp(t->columns[i].title, title) != 0)
		i++;
	return i;
}

static bool passes(const struct top_table *t, size_t row, const char *filter)
{
	if (filter[0] == '\0')
		return true;
	for (size_t i = 0; i < t->ncolumns; i++)
		if (t->columns[i].kind == TOP_TEXT && strcasestr(t->cells[row * t->ncolumns + i].text, filter) != NULL)
			return true;
	return false;
}

struct sorting {
	const struct top_table *t;
	size_t column;             /* ncolumns: none */
	bool is_reverse;
};

static int compare_numbers(double a, double b, bool is_reverse)
{
	if (isnan(a) || isnan(b))
		return isnan(a) - isnan(b);
	return is_reverse ? (a > b) - (a < b) : (a < b) - (a > b);
}

static int compare_cells(const struct sorting *s, const struct top_cell *a, const struct top_cell *b)
{
	int order;

	if (s->t->columns[s->column].kind != TOP_TEXT)
		return compare_numbers(a->number, b->number, s->is_reverse);
	order = strcmp(a->text, b->text);
	return s->is_reverse ? -order : order;
}

static int compare_rows(const void *pa, const void *pb, void *arg)
{
	const struct sorting *s = arg;
	const struct top_table *t = s->t;
	size_t ra = *(const size_t *)pa, rb = *(const size_t *)pb;
	const struct top_cell *a = &t->cells[ra * t->ncolumns], *b = &t->cells[rb * t->ncolumns];
	int order = s->column < t->ncolumns ? compare_cells(s, &a[s->column], &b[s->column]) : 0;

	for (size_t i = 0; order == 0 && i < t->ncolumns; i++)
		if (t->columns[i].kind == TOP_TEXT)
			order = strcmp(a[i].text, b[i].text);
	return order != 0 ? order : (ra > rb) - (ra < rb);
}

void top_table_arrange(struct top_table *t, const char *sort, bool is_reverse, const char *filter)
{
	struct sorting s = {t, top_table_column(t, sort), is_reverse};

	t->nshown = 0;
	for (size_t row = 0; row < t->nrows; row++)
		if (passes(t, row, filter))
			t->order[t->nshown++] = row;
	if (t->nshown > 1)
		qsort_r(t->order, t->nshown, sizeof(t->order[0]), compare_rows, &s);
}

const struct top_cell *top_table_shown(const struct top_table *t, size_t n)
{
	return &t->cells[t->order[n] * t->ncolumns];
}

static void put_plain(enum top_kind kind, double number, struct strbuf *out)
{
	if (kind == TOP_TIME)
		strbuf_addf(out, "%.3f", number / 1e3);
	else
		strbuf_addf(out, "%.*f", kind == TOP_RATE ? 1 : kind == TOP_SHARE ? 2 : 0, number);
}

static void put_readable(enum top_kind kind, double number, struct strbuf *out)
{
	switch (kind) {
	case TOP_RATE:
		top_text_put_rate(out, number);
		break;
	case TOP_BYTES:
		top_text_put_bytes(out, number);
		break;
	case TOP_TIME:
		top_text_put_time(out, number);
		break;
	case TOP_SHARE:
		strbuf_addf(out, "%.0f%%", number * 100);
		break;
	default:
		top_text_put_count(out, number);
	}
}

void top_table_put(const struct top_table *t, const struct top_cell *cell, size_t column, struct strbuf *out)
{
	enum top_kind kind = t->columns[column].kind;

	if (kind == TOP_TEXT || kind == TOP_VALUE)
		strbuf_add_str(out, cell->text);
	else if (isnan(cell->number))
		strbuf_add_str(out, "-");
	else if (t->is_plain)
		put_plain(kind, cell->number, out);
	else
		put_readable(kind, cell->number, out);
}

int top_table_width(const struct top_table *t, size_t column, size_t first, size_t n)
{
	int widest = top_text_width(t->columns[column].title);
	struct strbuf text;

	strbuf_init(&text);
	for (size_t i = first; i < first + n && i < t->nshown; i++) {
		int width;

		strbuf_reset(&text);
		top_table_put(t, &top_table_shown(t, i)[column], column, &text);
		width = text.n > 0 && !text.failed ? top_text_width(text.p) : 0;
		if (width > widest)
			widest = width;
	}
	strbuf_fini(&text);
	return widest;
}
