#include "pool/in_use.h"

#include "base/clock.h"

void in_use_init(struct pools_in_use *all)
{
	*all = (struct pools_in_use){0};
	TAILQ_INIT(&all->pools);
}

void in_use_join(struct pools_in_use *all, struct pool *pool, uint64_t now)
{
	pool->use_of = all;
	concurrency_begin(&pool->concurrency, now);
}

static void end_use(struct pool *pool)
{
	TAILQ_REMOVE(&pool->use_of->pools, pool, use_link);
	pool->is_in_use = false;
}

void in_use_leave(struct pool *pool)
{
	if (pool->is_in_use)
		end_use(pool);
	pool->use_of = NULL;
}

void in_use_note(struct pool *pool)
{
	struct pools_in_use *all = pool->use_of;
	bool is_first;

	if (all == NULL)
		return;
	is_first = TAILQ_EMPTY(&all->pools);
	concurrency_was_idle(&pool->concurrency, clock_us());
	TAILQ_INSERT_TAIL(&all->pools, pool, use_link);
	pool->is_in_use = true;
	if (is_first && all->on_first != NULL)
		all->on_first(all->arg);
	if (all->on_pool != NULL)
		all->on_pool(all->arg, pool);
}

/* Not for a connection that is on its way, a RESUME, or a host that is down: more servers would be of use. */
static bool is_waited_for(const struct pool *pool)
{
	return pool->nwaiting > 0 && !pool->is_paused && pool_open_count(pool) > 0 && pool->nservers[POOL_SERVER_NEW] == 0;
}

bool in_use_sample(struct pools_in_use *all, uint64_t now)
{
	struct pool *pool, *next;

	TAILQ_FOREACH_SAFE(pool, &all->pools, use_link, next) {
		unsigned held = pool_held_count(pool);

		concurrency_sample(&pool->concurrency, now, held, is_waited_for(pool));
		if (held == 0)
			end_use(pool);
	}
	return !TAILQ_EMPTY(&all->pools);
}

struct concurrency in_use_concurrency(const struct pool *pool, uint64_t now)
{
	struct concurrency c = pool->concurrency;

	if (!pool->is_in_use && pool->use_of != NULL)
		concurrency_was_idle(&c, now);
	return c;
}
