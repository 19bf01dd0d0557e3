/*
 * Tables as JSON.
 */
#pragma once
#include "http/pieces.h"
#include "report/table.h"

/*
 * {"name": "pools", "columns": [{"name": "database", "type": "text"}, ...], "rows": [["shop", ...], ...]}
 *
 * A time is RFC 3339 in UTC, with microseconds. NULL when out of memory.
 */
struct pieces *table_json_rows(const struct table *table, const struct report *report);

/* An array with an object for each row, whose keys are the columns. The same otherwise. */
struct pieces *table_json_objects(const struct table *table, const struct report *report);
