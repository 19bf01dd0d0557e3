#include "top/top_ui.h"

#include <stdio.h>
#include <string.h>

#include <ncurses.h>

#define ESCAPE 27

const char *const top_ui_help[] = {
	"q          quit",
	"Left Right sort by another column (< >)",
	"d u        by database, user",
	"a w        by cl_active, cl_waiting",
	"m l        by maxwait, load",
	"x y        by xact/s, query/s",
	"r          the other way round",
	"Up Down    scroll (PgUp PgDn Home End)",
	"/          only names with a text in them",
	"Tab v      the next view",
	"Space      pause",
	"+ -        a longer, a shorter interval",
	"h ?        this help",
	"",
	"Rates and means are those of the database:",
	"pools of several users show the same.",
	NULL,
};

static const struct {
	int key;
	const char *column;
} sort_keys[] = {
	{'d', "database"}, {'u', "user"}, {'a', "cl_active"}, {'w', "cl_waiting"},
	{'m', "maxwait"},  {'l', "load"}, {'x', "xact/s"},    {'y', "query/s"},
};

static const double intervals[] = {0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300, 900, 3600};

#define NINTERVALS (sizeof(intervals) / sizeof(intervals[0]))

void top_ui_init(struct top_ui *ui, double interval)
{
	*ui = (struct top_ui){.available = 1u << TOP_VIEW_POOLS, .interval = interval};
	for (int i = 0; i < TOP_NVIEWS; i++)
		snprintf(ui->orders[i].sort, sizeof(ui->orders[i].sort), "%s", top_views[i].sort);
}

bool top_ui_choose_view(struct top_ui *ui, const char *title)
{
	for (unsigned i = 0; i < TOP_NVIEWS; i++) {
		if (strcmp(top_views[i].title, title) != 0)
			continue;
		ui->view = i;
		return true;
	}
	return false;
}

void top_ui_sort_by(struct top_ui *ui, const char *title)
{
	struct top_order *o = &ui->orders[ui->view];

	snprintf(o->sort, sizeof(o->sort), "%s", title);
	o->is_reverse = false;
}

void top_ui_arrange(const struct top_ui *ui, struct top_table *t)
{
	const struct top_order *o = &ui->orders[ui->view];

	top_table_arrange(t, o->sort, o->is_reverse, ui->filter);
}

static void show_view(struct top_ui *ui, int step)
{
	do
		ui->view = (ui->view + TOP_NVIEWS + (unsigned)step) % TOP_NVIEWS;
	while ((ui->available & 1u << ui->view) == 0 && ui->view != TOP_VIEW_POOLS);
	ui->first_row = 0;
	ui->wants_reading = true;
}

static void sort_beside(struct top_ui *ui, const struct top_table *t, int step)
{
	size_t now = top_table_column(t, ui->orders[ui->view].sort);

	if (t->ncolumns == 0)
		return;
	if (now == t->ncolumns)
		now = step > 0 ? t->ncolumns - 1 : 0;
	top_ui_sort_by(ui, t->columns[(now + t->ncolumns + (size_t)step) % t->ncolumns].title);
}

static void sort_by_letter(struct top_ui *ui, int key, const struct top_table *t)
{
	for (size_t i = 0; i < sizeof(sort_keys) / sizeof(sort_keys[0]); i++)
		if (sort_keys[i].key == key && top_table_column(t, sort_keys[i].column) < t->ncolumns)
			top_ui_sort_by(ui, sort_keys[i].column);
}

static void lengthen(struct top_ui *ui)
{
	for (size_t i = 0; i < NINTERVALS; i++) {
		if (intervals[i] <= ui->interval)
			continue;
		ui->interval = intervals[i];
		return;
	}
}

static void shorten(struct top_ui *ui)
{
	for (size_t i = NINTERVALS; i-- > 0;) {
		if (intervals[i] >= ui->interval)
			continue;
		ui->interval = intervals[i];
		return;
	}
}

static void scroll_by(struct top_ui *ui, const struct top_table *t, size_t rows, bool is_up)
{
	size_t last = t->nshown > ui->page ? t->nshown - ui->page : 0;

	if (is_up)
		ui->first_row -= rows < ui->first_row ? rows : ui->first_row;
	else
		ui->first_row += rows < last ? rows : last;
	if (ui->first_row > last)
		ui->first_row = last;
}

/* A character of several bytes goes as one. */
static void rub_out(char *text)
{
	size_t n = strlen(text);

	while (n > 1 && ((unsigned char)text[n - 1] & 0xc0) == 0x80)
		n--;
	if (n > 0)
		text[n - 1] = '\0';
}

static void type_filter(struct top_ui *ui, int key)
{
	size_t n = strlen(ui->filter);

	if (key == '\n' || key == '\r' || key == KEY_ENTER) {
		ui->is_typing = false;
	} else if (key == ESCAPE) {
		ui->is_typing = false;
		ui->filter[0] = '\0';
	} else if (key == KEY_BACKSPACE || key == '\b' || key == 127) {
		rub_out(ui->filter);
	} else if (key >= ' ' && key <= 255 && n + 1 < sizeof(ui->filter)) {
		ui->filter[n] = (char)key;
		ui->filter[n + 1] = '\0';
	}
	ui->first_row = 0;
}

static bool scroll_key(struct top_ui *ui, int key, const struct top_table *t)
{
	switch (key) {
	case KEY_UP:
		scroll_by(ui, t, 1, true);
		return true;
	case KEY_DOWN:
		scroll_by(ui, t, 1, false);
		return true;
	case KEY_PPAGE:
		scroll_by(ui, t, ui->page, true);
		return true;
	case KEY_NPAGE:
		scroll_by(ui, t, ui->page, false);
		return true;
	case KEY_HOME:
		scroll_by(ui, t, t->nshown, true);
		return true;
	case KEY_END:
		scroll_by(ui, t, t->nshown, false);
		return true;
	default:
		return false;
	}
}

static bool table_key(struct top_ui *ui, int key, const struct top_table *t)
{
	switch (key) {
	case KEY_LEFT:
	case '<':
		sort_beside(ui, t, -1);
		return true;
	case KEY_RIGHT:
	case '>':
		sort_beside(ui, t, 1);
		return true;
	case 'r':
		ui->orders[ui->view].is_reverse = !ui->orders[ui->view].is_reverse;
		return true;
	case '/':
		ui->is_typing = true;
		ui->filter[0] = '\0';
		return true;
	case ESCAPE:
		ui->filter[0] = '\0';
		return true;
	default:
		return false;
	}
}

static bool view_key(struct top_ui *ui, int key)
{
	switch (key) {
	case 'q':
		ui->is_over = true;
		return true;
	case '\t':
	case 'v':
		show_view(ui, 1);
		return true;
	case KEY_BTAB:
		show_view(ui, -1);
		return true;
	case ' ':
		ui->is_paused = !ui->is_paused;
		ui->wants_reading = !ui->is_paused;
		return true;
	case '+':
		lengthen(ui);
		return true;
	case '-':
		shorten(ui);
		return true;
	case 'h':
	case '?':
		ui->is_helping = true;
		return true;
	case 'L' - '@':
		ui->wants_redraw = true;
		return true;
	default:
		return false;
	}
}

void top_ui_key(struct top_ui *ui, int key, const struct top_table *t)
{
	if (key == KEY_RESIZE)
		return;
	if (ui->is_typing)
		type_filter(ui, key);
	else if (ui->is_helping && key != 'q')
		ui->is_helping = false;
	else if (!view_key(ui, key) && !table_key(ui, key, t) && !scroll_key(ui, key, t))
		sort_by_letter(ui, key, t);
}
