#include "session/pool_sizes.h"

#include <limits.h>

#include "base/clock.h"
#include "session/capacity.h"
#include "session/server.h"

/* ------------------------------------------------------------------ bounds */

/* What is left for the pool of one host; UINT_MAX: nobody knows. Servers of its own elsewhere count as if they were here. */
static unsigned room_at(const struct pool *pool, const struct host *host)
{
	unsigned own = pool_server_count(pool), all = host->nservers + host->breaker.nattempts;
	unsigned others = all > own ? all - own : 0, share = capacity_share(host);

	if (share == UINT_MAX)
		return share;
	return share > others ? share - others : 0;
}

static unsigned most_of(const struct pool *pool)
{
	const struct database *db = pool->database;
	unsigned most = pool->settings.size == 0 ? UINT_MAX : pool->settings.size;

	for (unsigned i = 0; i < db->nhosts; i++) {
		unsigned room = room_at(pool, db->hosts[i]);

		if (room < most)
			most = room;
	}
	return most;
}

/* ------------------------------------------------------------------ ticks */

static struct adaptive_sample take_sample(struct pool *pool)
{
	const struct stats *now = &pool->stats.now, *last = &pool->sized_at;
	const struct adaptive_sample s = {
		.held = pool_held_count(pool),
		.waiting = pool->is_paused ? 0 : pool->nwaiting,
		.finished = now->xact_count - last->xact_count,
		.busy_us = now->xact_time - last->xact_time,
		.waited_us = now->wait_time - last->wait_time,
	};

	pool->sized_at = *now;
	return s;
}

/* More may be held: there may be idle ones. */
static void serve(struct pool *pool)
{
	if (pool->nwaiting == 0)
		return;
	server_serve_waiting(pool);
	pool_session_fill(pool);
}

static unsigned least_of(const struct pool *pool)
{
	return pool->settings.min_size > 0 ? pool->settings.min_size : 1;
}

static void tick(struct pool *pool)
{
	const struct adaptive_sample s = take_sample(pool);
	unsigned least = least_of(pool), most = most_of(pool);
	unsigned before = pool->working_size;

	/* The bound from outside is the stronger one, but without a server nobody is served. */
	if (most < least)
		least = most > 0 ? most : 1;
	if (most < 1)
		most = 1;
	pool->working_size = adaptive_tick(&pool->adaptive, &s, least, most);
	if (pool->working_size > before)
		serve(pool);
}

/* It is fixed since the last tick. */
static void release(struct pool *pool)
{
	pool->working_size = 0;
	serve(pool);
}

/* Until it comes into use again. */
static bool may_rest(const struct pool *pool)
{
	return !pool->is_in_use && pool->nwaiting == 0 && adaptive_is_at_rest(&pool->adaptive, least_of(pool));
}

static void on_tick(EV_P_ ev_timer *timer, int events)
{
	struct hub *hub = timer->data;
	bool is_any = false;

	(void)events;
	for (struct pool *p = registry_next_pool(hub->registry, NULL); p != NULL; p = registry_next_pool(hub->registry, p)) {
		if (p->is_dead)
			continue;
		if (p->settings.is_adaptive && !may_rest(p)) {
			is_any = true;
			tick(p);
		} else if (!p->settings.is_adaptive && p->working_size != 0) {
			release(p);
		}
	}
	if (!is_any)
		ev_timer_stop(EV_A_ timer);
}

static void start(struct hub *hub)
{
	ev_timer *timer = &hub->sizes;

	if (ev_is_active(timer))
		return;
	ev_init(timer, on_tick);
	timer->data = hub;
	timer->repeat = (double)ADAPTIVE_TICK_US / CLOCK_SECOND;
	ev_timer_again(hub->loop->ev, timer);
}

static void on_in_use(void *arg, struct pool *pool)
{
	if (pool->settings.is_adaptive)
		start(arg);
}

void pool_sizes_note(struct hub *hub, struct pool *pool)
{
	if (!pool->settings.is_adaptive)
		return;
	if (pool->working_size == 0) {
		pool->adaptive = (struct adaptive){0};
		pool->sized_at = pool->stats.now;
		pool->working_size = least_of(pool);
	}
	registry_in_use(hub->registry)->on_pool = on_in_use;
	registry_in_use(hub->registry)->arg = hub;
	start(hub);
}

void pool_sizes_stop(struct hub *hub)
{
	registry_in_use(hub->registry)->on_pool = NULL;
	ev_timer_stop(hub->loop->ev, &hub->sizes);
}
