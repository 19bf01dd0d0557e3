/*
 * What is to be seen, from two readings: pure, no connection and no terminal.
 */
#pragma once
#include <stdbool.h>

#include "top/top_reading.h"
#include "top/top_table.h"

/* X(symbol, title, the question it stands on, column it is sorted by at first). Pools are always there. */
#define TOP_VIEWS(X)                                           \
	X(POOLS, "pools", TOP_POOLS, "cl_waiting")             \
	X(CLIENTS, "clients", TOP_CLIENTS, "clients")          \
	X(SERVERS, "servers", TOP_SERVERS, "servers")          \
	X(HOSTS, "hosts", TOP_HOSTS, "")                       \
	X(LATENCY, "latency", TOP_LATENCY, "")                 \
	X(POOL_STATS, "pool_stats", TOP_POOL_STATS, "")

#define X(symbol, title, question, sort) TOP_VIEW_##symbol,
enum top_view { TOP_VIEWS(X) TOP_NVIEWS };
#undef X

struct top_view_info {
	const char *title;
	enum top_question question;
	const char *sort;
};

extern const struct top_view_info top_views[TOP_NVIEWS];

struct top_model {
	struct top_reading before, now;
	uint64_t span_us;          /* the least there is to be between the two */
	bool is_plain;             /* what top_table.h says */
	bool is_broken;
	char console[128];         /* its own sessions, ours among them, are no load */
};

void top_model_fini(struct top_model *m);

/*
 * The next reading becomes the model's. One that follows too soon takes the
 * place of the last: rates over a moment jump.
 */
void top_model_take(struct top_model *m, struct top_reading reading, const char *console);

/* The connection was lost: what there is stays to be shown, and is not compared with what comes next. */
void top_model_break(struct top_model *m);

/* Whether the last reading has what the view shows. */
bool top_model_has(const struct top_model *m, enum top_view view);

/* One row with what is true of the pooler as a whole. The table is made here; top_table_fini() is the caller's. */
void top_model_head(const struct top_model *m, struct top_table *t);

/* The same for what a view shows; without rows when top_model_has() says no. */
void top_model_table(const struct top_model *m, enum top_view view, struct top_table *t);
