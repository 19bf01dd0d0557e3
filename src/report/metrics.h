/*
 * What is told to monitors: each metric once, with the table and the column
 * that its value comes from. How it is written is the business of the layer
 * above.
 *
 * Those that begin with pgbouncer_ have the names, labels and units of
 * pgbouncer_exporter 0.12, so that its dashboards and alerts work unchanged.
 * What it does not have begins with pgsluice_, or is what every program has.
 */
#pragma once
#include <stddef.h>

#include "report/table.h"

enum metric_type { METRIC_GAUGE, METRIC_COUNTER };

/* What a cell means: the number itself; microseconds, told in seconds; 1 if it reads as `word`, else 0. */
enum metric_reading { READ_NUMBER, READ_MICROSECONDS, READ_WORD };

struct metric {
	const char *name;
	enum metric_type type;
	const char *help;
	/* The column; of a table in which each row is a figure, what the row's key is; NULL: 1 in any case. */
	const char *column;
	enum metric_reading reading;
	const char *word;
};

/* No source has more. */
enum { METRIC_LABELS_MAX = 8, METRIC_OF_SOURCE_MAX = 32 };

struct metric_label {
	const char *name, *column;
};

/* A table, and the metrics that are read from it: of each row one sample of each. */
struct metric_source {
	const struct table *table;
	const struct metric_label *labels;
	size_t nlabels;
	const struct metric *metrics;
	size_t nmetrics;
	/* Each row is a figure: the columns that name it and give it. NULL otherwise. */
	const char *key, *value;
};

extern const struct metric_source metric_sources[];
extern const size_t metric_source_count;
