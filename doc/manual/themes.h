/*
 * The settings by theme, in the order in which the manual and the example
 * configuration have them.
 */
#pragma once
#include "conf/settings.h"

struct theme {
	const char *title;
	const enum setting_id *settings;     /* ends with SETTING_COUNT */
};

/* The i-th; NULL behind the last. */
const struct theme *theme_at(size_t i);

/* Whether each setting is in one theme; if not, says on standard error which one is not. */
bool themes_are_complete(void);
