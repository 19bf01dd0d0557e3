/*
 * The terminal: what is drawn where. ncurses is behind this and nowhere else but in the names of keys.
 */
#pragma once
#include <stdbool.h>

#include "top/top_table.h"
#include "top/top_ui.h"

struct top_picture {
	const struct top_ui *ui;
	const struct top_table *head;
	const struct top_table *table;
	const char *notice;        /* "": none */
	bool is_stale;
};

/* False: *why says what the terminal cannot do. Colours only where NO_COLOR does not forbid them. */
bool top_screen_open(const char **why);

/* Leaves the terminal as it was. */
void top_screen_close(void);

/* Returns how many rows of the table there is room for. */
size_t top_screen_draw(const struct top_picture *p);

/* The next key that has been pressed, or -1; never waits. */
int top_screen_key(void);

/* Everything is drawn anew the next time, whatever is on the terminal. */
void top_screen_forget(void);
