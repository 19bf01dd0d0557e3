/*
 * One look at a pooler: what it has answered to each of our questions.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include <libpq-fe.h>

/*
 * X(symbol, NEED): what is asked, in this order. ALWAYS: a pooler without it is
 * none; IF_THERE: asked as long as the peer knows it; FOR_VIEW: for its view
 * only; PROBED: that too, and once to know whether there is such a view.
 */
#define TOP_QUESTIONS(X)          \
	X(VERSION, IF_THERE)      \
	X(STATE, IF_THERE)        \
	X(LISTS, IF_THERE)        \
	X(DATABASES, IF_THERE)    \
	X(POOLS, ALWAYS)          \
	X(STATS, ALWAYS)          \
	X(CLIENTS, FOR_VIEW)      \
	X(SERVERS, FOR_VIEW)      \
	X(HOSTS, PROBED)          \
	X(LATENCY, PROBED)        \
	X(POOL_STATS, PROBED)

#define X(symbol, need) TOP_##symbol,
enum top_question { TOP_QUESTIONS(X) TOP_NQUESTIONS };
#undef X

struct top_reading {
	PGresult *answers[TOP_NQUESTIONS];   /* NULL: not asked, or there is no such table */
	uint64_t at_us;                      /* when STATS were answered */
};

static inline void top_reading_clear(struct top_reading *r)
{
	for (int i = 0; i < TOP_NQUESTIONS; i++)
		PQclear(r->answers[i]);
	*r = (struct top_reading){.at_us = 0};
}
