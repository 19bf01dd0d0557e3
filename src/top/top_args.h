/*
 * The command line of `pgsluice top`.
 */
#pragma once
#include <stdbool.h>

#include "top/top_target.h"

#define TOP_INTERVAL_MIN 0.1
#define TOP_INTERVAL_MAX 3600.0

struct top_args {
	struct top_target target;
	double interval;           /* seconds */
	const char *sort;          /* title of a column; NULL: as the view has it */
	const char *view;          /* NULL: pools */
	bool batch;
	unsigned count;            /* pictures in batch mode; 0: without end */
	bool never_asks, asks_first;
};

/* --help. */
extern const char top_usage_text[];

enum top_way { TOP_RUN, TOP_DONE, TOP_WRONG };

/* What is wrong is told on standard error. The texts stay argv's. */
enum top_way top_args_take(struct top_args *args, int argc, char **argv, const char *version);
