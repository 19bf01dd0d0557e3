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

enum metric_type { METRIC_GAUGE, METRIC_COUNTER, METRIC_HISTOGRAM };

/*
 * What a cell means: the number itself; microseconds, told in seconds; a ratio; a percentage, told as a ratio; 1 if it
 * reads as one of `words`, else 0.
 */
enum metric_reading { READ_NUMBER, READ_MICROSECONDS, READ_RATIO, READ_PERCENT, READ_WORD };

struct metric {
	const char *name;
	enum metric_type type;
	const char *help;
	/* The column; of a table whose rows have keys, the row's; NULL: 1 in any case. */
	const char *column;
	enum metric_reading reading;
	const char *words[2];            /* the second may be NULL */
};

/* No source has more. */
enum { METRIC_LABELS_MAX = 8, METRIC_OF_SOURCE_MAX = 32 };

/* The label is called as the column. */
struct metric_label {
	const char *name;
	bool is_folded;                  /* clients choose it: of more than a few hundred, the rest are one */
};

/* A table, and the metrics that are read from it: of each row one sample of each. */
struct metric_source {
	const struct table *table;
	const struct metric_label *labels;
	size_t nlabels;
	const struct metric *metrics;
	size_t nmetrics;
	/* Each row is of one metric: the columns that say which, and give its value. NULL otherwise. */
	const char *key, *value;
	/*
	 * The metrics are histograms: the value is how many there were, and this their sum, in microseconds. The
	 * columns of how many were below each of histogram_bounds follow it.
	 */
	const char *sum;
	bool is_count;                   /* the one metric is how many rows have the same labels */
};

extern const struct metric_source metric_sources[];
extern const size_t metric_source_count;
