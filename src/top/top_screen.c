#include "top/top_screen.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <ncurses.h>

#include "top/top_terminal.h"
#include "top/top_text.h"

/* From how many columns on a share is drawn as a bar too, and how long that is. */
#define BAR_FROM 100
#define BAR 10

#define LAST_FULL 0.9

enum colour { COLOUR_WAITING = 1, COLOUR_NOTICE };

static SCREEN *screen;

static bool may_colour(void)
{
	const char *forbidden = getenv("NO_COLOR");

	return has_colors() && (forbidden == NULL || forbidden[0] == '\0');
}

static attr_t attribute(enum colour colour)
{
	return may_colour() ? (attr_t)COLOR_PAIR(colour) | A_BOLD : A_BOLD;
}

static void choose_colours(void)
{
	if (!may_colour())
		return;
	start_color();
	use_default_colors();
	init_pair(COLOUR_WAITING, COLOR_YELLOW, -1);
	init_pair(COLOUR_NOTICE, COLOR_RED, -1);
}

bool top_screen_open(const char **why)
{
	*why = "standard input and output are no terminal: try --batch";
	if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))
		return false;
	*why = "this terminal cannot show a live view: try --batch";
	if (!top_terminal_has_cursor())
		return false;
	screen = newterm(NULL, stdout, stdin);
	if (screen == NULL)
		return false;
	cbreak();
	noecho();
	nonl();
	keypad(stdscr, TRUE);
	nodelay(stdscr, TRUE);
	set_escdelay(25);
	curs_set(0);
	choose_colours();
	return true;
}

void top_screen_close(void)
{
	if (screen == NULL)
		return;
	curs_set(1);
	endwin();
	delscreen(screen);
	screen = NULL;
}

int top_screen_key(void)
{
	int key = getch();

	return key == ERR ? -1 : key;
}

void top_screen_forget(void)
{
	clearok(stdscr, TRUE);
}

/* --- Text at a place, never beyond the edge --- */

static void put_at(int y, int x, int width, const char *text)
{
	if (y < LINES && x < COLS && width > 0)
		mvaddnstr(y, x, text, (int)top_text_fit(text, width < COLS - x ? width : COLS - x));
}

static void put_bar(int y, const char *text)
{
	attron(A_REVERSE);
	mvhline(y, 0, ' ', COLS);
	put_at(y, 0, COLS, text);
	attroff(A_REVERSE);
}

/* --- The lines above the table --- */

static void draw_title(const struct top_ui *ui)
{
	const struct top_order *o = &ui->orders[ui->view];
	char text[256];

	snprintf(text, sizeof(text), "%s%s  by %s%s  every %gs  h: help", top_views[ui->view].title,
		 ui->is_paused ? " PAUSED" : "", o->sort[0] != '\0' ? o->sort : "name",
		 o->is_reverse ? " reversed" : "", ui->interval);
	put_bar(0, text);
}

/* Items flow from line to line as the terminal's width has it. Returns the line after the last. */
static int draw_head(const struct top_table *head, int y)
{
	const struct top_cell *cells = top_table_shown(head, 0);
	int x = 0;

	for (size_t i = 0; i < head->ncolumns && y < LINES; i++) {
		char text[256];
		struct strbuf item;

		strbuf_init_fixed(&item, text, sizeof(text));
		strbuf_addf(&item, "%s ", head->columns[i].title);
		top_table_put(head, &cells[i], i, &item);
		if (x > 0 && x + top_text_width(text) > COLS) {
			x = 0;
			y++;
		}
		put_at(y, x, COLS, text);
		x += top_text_width(text) + 2;
	}
	return y + 1;
}

static int draw_notice(const struct top_picture *p, int y)
{
	char text[sizeof(p->ui->filter) * 4 + 32], safe[sizeof(p->ui->filter) * 4];
	struct strbuf filter;

	if (p->notice[0] != '\0') {
		attron(attribute(COLOUR_NOTICE));
		put_at(y++, 0, COLS, p->notice);
		attroff(attribute(COLOUR_NOTICE));
	}
	if (p->ui->is_typing || p->ui->filter[0] != '\0') {
		strbuf_init_fixed(&filter, safe, sizeof(safe));
		strbuf_add_str(&filter, "");
		top_text_put(&filter, p->ui->filter);
		snprintf(text, sizeof(text), "/%s%s", safe, p->ui->is_typing ? "_" : "");
		put_at(y++, 0, COLS, text);
	}
	return y;
}

/* --- The table --- */

struct layout {
	int widths[TOP_MAX_COLUMNS];
	size_t from;               /* the column beside the first, which stays */
	size_t sort;
	bool has_bars;
};

static int width_of(const struct top_table *t, size_t column, size_t first, size_t n)
{
	int width = top_table_width(t, column, first, n), most = COLS / 3 > 8 ? COLS / 3 : 8;

	if (t->columns[column].kind == TOP_SHARE && COLS >= BAR_FROM)
		return BAR + 5;
	return t->columns[column].kind == TOP_TEXT && width > most ? most : width;
}

static bool shows_sort(const struct layout *l)
{
	int x = l->widths[0];

	if (l->sort == 0)
		return true;
	for (size_t i = l->from; i <= l->sort; i++)
		x += 1 + l->widths[i];
	return x <= COLS;
}

/* Columns beside the first leave at the left until the one sorted by is to be seen. */
static void lay_out(struct layout *l, const struct top_table *t, const struct top_picture *p, size_t page)
{
	l->sort = top_table_column(t, p->ui->orders[p->ui->view].sort);
	if (l->sort == t->ncolumns)
		l->sort = 0;
	for (size_t i = 0; i < t->ncolumns; i++)
		l->widths[i] = width_of(t, i, p->ui->first_row, page);
	l->from = 1;
	while (l->from < l->sort && !shows_sort(l))
		l->from++;
}

static void put_share(double share, int width, struct strbuf *out)
{
	int full = share >= 1 ? BAR : (int)(share * BAR + 0.5);

	if (width >= BAR + 5 && !isnan(share))
		strbuf_addf(out, "%.*s%.*s", full, "##########", BAR - full, "..........");
}

static void put_cell(const struct top_table *t, const struct top_cell *cell, size_t column, int width,
		     struct strbuf *out)
{
	struct strbuf value;
	char text[512];
	int blanks;

	strbuf_init_fixed(&value, text, sizeof(text));
	strbuf_add_str(&value, "");
	if (cell == NULL)
		strbuf_add_str(&value, t->columns[column].title);
	else
		top_table_put(t, cell, column, &value);
	if (cell != NULL && t->columns[column].kind == TOP_SHARE)
		put_share(cell->number, width, out);
	blanks = width - top_text_width(text) - (out->n > 0 ? BAR : 0);
	if (t->columns[column].kind != TOP_TEXT && blanks > 0)
		strbuf_addf(out, "%*s", blanks, "");
	strbuf_add_str(out, text);
}

static attr_t attribute_of(const struct top_table *t, const struct top_cell *cell, size_t column)
{
	const char *title = t->columns[column].title;

	if (cell == NULL)
		return A_REVERSE;
	if ((strcmp(title, "cl_waiting") == 0 || strcmp(title, "waiting") == 0) && cell->number > 0)
		return attribute(COLOUR_WAITING);
	return t->columns[column].kind == TOP_SHARE && cell->number >= LAST_FULL ? attribute(COLOUR_WAITING) : A_NORMAL;
}

/*
 * Of the titles (cells is NULL) the one that is sorted by is underlined and
 * not turned. A column that has no room is left out: half a number is another.
 */
static void draw_row(const struct top_table *t, const struct top_cell *cells, const struct layout *l, int y)
{
	int x = 0;

	for (size_t i = 0; i < t->ncolumns && (i == 0 || x + l->widths[i] <= COLS); i = i == 0 ? l->from : i + 1) {
		const struct top_cell *cell = cells != NULL ? &cells[i] : NULL;
		attr_t attr = cell == NULL && i == l->sort ? A_BOLD | A_UNDERLINE : attribute_of(t, cell, i);
		char text[640];
		struct strbuf out;

		strbuf_init_fixed(&out, text, sizeof(text));
		put_cell(t, cell, i, l->widths[i], &out);
		attron(attr);
		put_at(y, x, l->widths[i], text);
		attroff(attr);
		x += l->widths[i] + 1;
	}
}

static void draw_table(const struct top_picture *p, int y, size_t page)
{
	const struct top_table *t = p->table;
	struct layout l = {0};

	if (t->ncolumns == 0)
		return;
	lay_out(&l, t, p, page);
	attron(A_REVERSE);
	mvhline(y, 0, ' ', COLS);
	attroff(A_REVERSE);
	draw_row(t, NULL, &l, y);
	for (size_t i = 0; i < page && p->ui->first_row + i < t->nshown; i++)
		draw_row(t, top_table_shown(t, p->ui->first_row + i), &l, y + 1 + (int)i);
}

static void draw_help(int y)
{
	for (int i = 0; top_ui_help[i] != NULL; i++)
		put_at(y + i, 0, COLS, top_ui_help[i]);
}

size_t top_screen_draw(const struct top_picture *p)
{
	size_t page;
	int y;

	erase();
	draw_title(p->ui);
	attrset(p->is_stale ? A_DIM : A_NORMAL);
	y = draw_head(p->head, 1);
	attrset(A_NORMAL);
	y = draw_notice(p, y);
	page = LINES > y + 1 ? (size_t)(LINES - y - 1) : 0;
	bkgdset(p->is_stale ? A_DIM : A_NORMAL);
	if (p->ui->is_helping)
		draw_help(y);
	else if (y < LINES)
		draw_table(p, y, page);
	bkgdset(A_NORMAL);
	refresh();
	return page;
}
