/*
 * How many connections this pooler may come to open at one server: what its
 * pools may have, under the bounds that they share.
 *
 * A database counts at each of its hosts with all that its pools may have: when
 * the others are down or in another role, that is where all goes. Pools are
 * made for each user who comes; those that are there count, and of a database
 * that has none yet one, of its forced user or of anybody. So the number is
 * what is known to come, and the most that can come only where something
 * bounds the pools together.
 *
 * Of bounds of databases and of users at once the sum is taken either way, and
 * the lesser counts: it is never too small, and in rare cases too large.
 */
#pragma once
#include <stdint.h>

#include "pool/host.h"
#include "pool/registry.h"

/* Some pool has no bound (pool_size = 0), and nothing else has one. */
#define CAPACITY_UNBOUNDED UINT64_MAX

struct capacity_demand {
	uint64_t limit;
	unsigned npools;
	uint64_t need;                   /* what was measured, for the pools of which something was */
	unsigned nmeasured;
	unsigned max_need;               /* the greatest of them */
	const struct database *per_user; /* the first that gets a pool for each user and has no bound over them; NULL: none */
};

/* Whether connections of the database go to this host. */
bool capacity_is_listed(const struct database *db, const struct host *host);

/* The most servers that a pool of these settings may have, reserve included. */
uint64_t capacity_pool_limit(const struct pool_settings *set);

/* What one pool needs by what was measured; 0: not known. */
unsigned capacity_pool_need(const struct pool *pool);

void capacity_demand_find(const struct registry *r, const struct host *host, struct capacity_demand *d);
