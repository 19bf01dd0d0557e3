/*
 * What is known about the terminal, before anything is written to it.
 */
#pragma once
#include <stdbool.h>

/* Whether TERM names one whose cursor can be moved. */
bool top_terminal_has_cursor(void);
