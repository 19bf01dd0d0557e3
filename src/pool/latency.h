/*
 * Which times a pool keeps histograms of. None of them is a part of another
 * but a query's of its transaction's: above all, what a client has waited for
 * its server is in neither.
 */
#pragma once
#include "base/histogram.h"

/* X(symbol, name) */
#define LATENCIES(X)                                                                           \
	X(WAIT, "wait")               /* a client's for its server; most get one at once: 0 */ \
	X(QUERY, "query")             /* from when it is sent to its ReadyForQuery */          \
	X(TRANSACTION, "transaction") /* from its first query's sending to its end */          \
	X(CONNECT, "connect")         /* of a server connection, until it has logged in */     \
	X(LOGIN, "login")             /* of a client, from accept to its welcome */

enum latency_kind {
#define X(symbol, name) LATENCY_##symbol,
	LATENCIES(X)
#undef X
	LATENCY_KINDS
};

const char *latency_name(enum latency_kind kind);
