/*
 * What the user has chosen to see, and what keys change about it. No terminal here.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "top/top_model.h"
#include "top/top_table.h"

struct top_order {
	char sort[64];             /* title of a column; one that is not there sorts by names */
	bool is_reverse;
};

struct top_ui {
	enum top_view view;
	unsigned available;        /* bits of the views that the peer has */
	struct top_order orders[TOP_NVIEWS];
	double interval;           /* seconds */
	char filter[64];
	size_t first_row, page;    /* the first of the rows shown, and how many there is room for */
	bool is_typing;            /* the filter */
	bool is_paused, is_helping, is_over;
	bool wants_reading;        /* now, whatever the interval says */
	bool wants_redraw;         /* of everything: something else has written to the terminal */
};

void top_ui_init(struct top_ui *ui, double interval);

/* False if there is no such view. */
bool top_ui_choose_view(struct top_ui *ui, const char *title);

/* Of the view that is shown. */
void top_ui_sort_by(struct top_ui *ui, const char *title);

/* The order and the filter, put on the table of the view. */
void top_ui_arrange(const struct top_ui *ui, struct top_table *t);

/* One key, as ncurses calls it; t is the table that is shown. */
void top_ui_key(struct top_ui *ui, int key, const struct top_table *t);

/* What the keys do, line by line; the last one is NULL. */
extern const char *const top_ui_help[];
