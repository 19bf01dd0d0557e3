/*
 * A source's rows, gathered before they are told: the samples of a metric have
 * to stand together, but the rows of its table each have one of every metric.
 */
#pragma once
#include "base/hashtable.h"
#include "base/histogram.h"
#include "base/siphash.h"
#include "base/str.h"
#include "report/metrics.h"

/* A cell that is null, or no number: no sample. */
#define GATHERING_NO_VALUE INT64_MIN

/* What a row of histograms has behind what all have: its sum, and how many were below each bound. */
enum { HISTOGRAM_SUM, HISTOGRAM_BELOW, HISTOGRAM_VALUES = HISTOGRAM_BELOW + HISTOGRAM_BOUND_COUNT };

struct gathering {
	const struct metric_source *source;
	size_t nrows;
	/* The rest is private to gathering.c. */
	int label_columns[METRIC_LABELS_MAX];
	int value_columns[METRIC_OF_SOURCE_MAX]; /* -1: none */
	int key_column, value_column, sum_column;
	struct strbuf labels;            /* of all rows, one behind the other */
	struct strbuf ends;              /* size_t: where those of each row end */
	struct strbuf values;            /* int64_t: of each row one for each metric, and what is HISTOGRAM_ above */
	struct table_place place;
	struct hashtable groups;         /* of rows that are counted, by their labels, under a key that nobody knows */
	uint8_t key[SIPHASH_KEY_SIZE];
};

void gathering_begin(struct gathering *g, const struct metric_source *source);

/* Reads on, and takes from *left what was looked at. */
enum told gathering_go_on(struct gathering *g, const struct report *report, unsigned *left);

/* {database="shop",user="ann"}, or nothing. */
struct slice gathering_labels(const struct gathering *g, size_t row);

/* Of one metric; of a histogram, what is HISTOGRAM_ above comes behind all metrics. */
int64_t gathering_value(const struct gathering *g, size_t row, size_t i);

/* All zero is allowed. */
void gathering_end(struct gathering *g);
