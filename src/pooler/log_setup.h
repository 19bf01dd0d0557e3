/*
 * The log as the settings have it, and the timer that tells what was left out of it.
 */
#pragma once
#include "base/log.h"
#include "pooler/state.h"

/* The loop sleeps until lines that were left out are to be told. Unwatched by one that has no loop too. */
void log_setup_watch(struct pooler *p);
void log_setup_unwatch(struct pooler *p);

/* Each line of a text as a line of the log. */
void log_setup_lines(enum log_level level, struct slice text);
