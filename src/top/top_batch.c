#include "top/top_batch.h"

#include <time.h>

#include "top/top_text.h"

static void print_time(FILE *out)
{
	char text[64];
	time_t now = time(NULL);
	struct tm tm;

	if (localtime_r(&now, &tm) == NULL || strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &tm) == 0)
		text[0] = '\0';
	fputs(text, out);
}

static void print_head(const struct top_model *m, FILE *out)
{
	struct top_table head;
	struct strbuf line;

	strbuf_init(&line);
	top_model_head(m, &head);
	for (size_t i = 0; i < head.ncolumns; i++) {
		strbuf_addf(&line, " %s=", head.columns[i].title);
		top_table_put(&head, &top_table_shown(&head, 0)[i], i, &line);
	}
	print_time(out);
	fprintf(out, "%s\n", line.failed ? "" : line.p);
	top_table_fini(&head);
	strbuf_fini(&line);
}

/* One field, with blanks so that it is as wide as its column; none after the last. */
static void put_field(const struct top_table *t, size_t column, const char *text, int width, struct strbuf *line)
{
	int blanks = width - top_text_width(text);
	bool is_left = t->columns[column].kind == TOP_TEXT, is_last = column + 1 == t->ncolumns;

	if (column > 0)
		strbuf_add_char(line, ' ');
	if (!is_left)
		strbuf_addf(line, "%*s", blanks, "");
	strbuf_add_str(line, text);
	if (is_left && !is_last)
		strbuf_addf(line, "%*s", blanks, "");
}

static void print_line(const struct top_table *t, const struct top_cell *cells, const int *widths, FILE *out)
{
	struct strbuf line, text;

	strbuf_init(&line);
	strbuf_init(&text);
	for (size_t i = 0; i < t->ncolumns; i++) {
		strbuf_reset(&text);
		if (cells == NULL)
			strbuf_add_str(&text, t->columns[i].title);
		else
			top_table_put(t, &cells[i], i, &text);
		put_field(t, i, text.failed || text.n == 0 ? "?" : text.p, widths[i], &line);
	}
	fprintf(out, "%s\n", line.failed || line.n == 0 ? "" : line.p);
	strbuf_fini(&line);
	strbuf_fini(&text);
}

void top_batch_print(const struct top_model *m, const struct top_ui *ui, FILE *out)
{
	int widths[TOP_MAX_COLUMNS];
	struct top_table t;

	print_head(m, out);
	top_model_table(m, ui->view, &t);
	top_ui_arrange(ui, &t);
	for (size_t i = 0; i < t.ncolumns; i++)
		widths[i] = top_table_width(&t, i, 0, t.nshown);
	print_line(&t, NULL, widths, out);
	for (size_t row = 0; row < t.nshown; row++)
		print_line(&t, top_table_shown(&t, row), widths, out);
	fputc('\n', out);
	fflush(out);
	top_table_fini(&t);
}
