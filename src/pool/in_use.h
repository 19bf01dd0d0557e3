/*
 * The pools in use: those of which clients hold servers, or did at the last
 * full second. Whoever has to look at pools again and again looks at these,
 * and at none while there are none.
 *
 * How many servers are held is sampled each full second; a pool that is not in
 * use has held none, which is counted when it is asked for.
 */
#pragma once
#include "pool/pool.h"

struct pools_in_use {
	TAILQ_HEAD(, pool) pools;
	/* NULL: nobody cares. There was none before: in_use_sample() is to be called each full second. */
	void (*on_first)(void *arg);
	/* The same. This one has come into use. */
	void (*on_pool)(void *arg, struct pool *pool);
	void *arg;
};

void in_use_init(struct pools_in_use *all);

/* A pool has been made, and goes. */
void in_use_join(struct pools_in_use *all, struct pool *pool, uint64_t now);
void in_use_leave(struct pool *pool);

/* A pool that is not in use is now; called by pool_server_enter(). */
__attribute__((cold))
void in_use_note(struct pool *pool);

/* False: none is in use any more. */
bool in_use_sample(struct pools_in_use *all, uint64_t now);

/* What the samples up to now say of a pool. */
struct concurrency in_use_concurrency(const struct pool *pool, uint64_t now);
