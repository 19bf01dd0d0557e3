/*
 * The settings that one database, user or peer has of its own. What is given
 * as negative, to inherit, is not set.
 */
#pragma once
#include "conf/settings.h"

struct conf_overrides {
	bool is_set[SETTING_ENTITY_COUNT];
	bool is_from_console[SETTING_ENTITY_COUNT]; /* by SET, not by the file */
	int64_t number[SETTING_ENTITY_COUNT];       /* of the types that are no strings; a choice's enum value */
	const char *string[SETTING_ENTITY_COUNT];
};

/* Reads a value, copying text to the arena; on failure appends to *error what is wrong, but not the value. */
bool overrides_read(struct conf_overrides *o, enum setting_id id, struct slice text, struct arena *arena,
		    struct strbuf *error);

/* One that is set; its text is a reference. */
struct setting_value overrides_value(const struct conf_overrides *o, enum setting_id id);

/* Whether both have the same value of their own, or none. */
bool overrides_equal(const struct conf_overrides *a, const struct conf_overrides *b, enum setting_id id);

/* The name of a setting in an entry: pool_size, not default_pool_size. */
const char *overrides_key(enum setting_id id);
