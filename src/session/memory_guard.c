#include "session/memory_guard.h"

#include <inttypes.h>
#include <malloc.h>

#include "base/clock.h"
#include "base/sys.h"
#include "session/prepared.h"
#include "session/server.h"

/* Between two looks: what comes in meanwhile is beyond the bound. */
#define LOOK_SECONDS 0.1

/* Giving memory back goes through all that is free. */
#define TRIM_EVERY CLOCK_SECOND

#define LOG_EVERY (60 * CLOCK_SECOND)

/* Closing a client for whom less is kept would help nobody. */
#define LEAST_HELD ((size_t)64 * 1024)

/* ------------------------------------------------------------------ who holds what */

/* Of the console's clients nothing: somebody has to look at what goes on. */
static size_t held_for(const struct client *c)
{
	size_t n = conn_kept_memory(&c->conn) + prepared_memory_of_client(c);

	if (c->state == CLIENT_CLOSED || client_is_on_console(c))
		return 0;
	if (c->server != NULL)
		n += conn_kept_memory(&c->server->conn);
	return n;
}

static size_t most_held(const struct hub *hub)
{
	const struct client *c;
	size_t most = 0;
	uint32_t i = 0;

	while ((c = slab_next(hub->clients, &i)) != NULL)
		if (held_for(c) > most)
			most = held_for(c);
	return most;
}

/* Those with about as much as the one that has most, until enough is free. */
static void close_holders(const struct hub *hub, size_t excess)
{
	size_t most = most_held(hub);
	struct client *c;
	uint32_t i = 0;

	if (most < LEAST_HELD)
		return;
	while (excess > 0 && (c = slab_next(hub->clients, &i)) != NULL) {
		size_t held = held_for(c);

		if (held < most / 2)
			continue;
		client_close(c, CLOSE_MEMORY_HELD);
		excess -= held < excess ? held : excess;
	}
}

/* ------------------------------------------------------------------ looking */

static void trim(struct hub *hub, uint64_t now)
{
	if (now - hub->memory.trimmed_at < TRIM_EVERY)
		return;
	hub->memory.trimmed_at = now;
	bufpool_trim(hub->loop->bufs);
	malloc_trim(0);
}

static void tell(struct hub *hub, size_t max, uint64_t now)
{
	struct memory_guard *g = &hub->memory;

	if (g->logged_at != 0 && now - g->logged_at < LOG_EVERY)
		return;
	g->logged_at = now;
	log_warning("%zu bytes of memory are in use, max_memory is %zu: no more clients are let in", g->used, max);
}

/* False: it cannot be known, as when the process is out of descriptors; then all stays as it was. */
static bool measure(struct memory_guard *g)
{
	size_t resident = sys_memory().resident;

	if (resident != 0)
		g->used = resident;
	return resident != 0;
}

static void look(struct hub *hub)
{
	struct memory_guard *g = &hub->memory;
	size_t max = (size_t)hub_settings(hub)->max_memory;
	uint64_t now = clock_us();

	if (!measure(g))
		return;
	if (g->used > max) {
		trim(hub, now);
		measure(g);
	}
	g->is_short = g->used > max;
	if (!g->is_short)
		return;
	tell(hub, max, now);
	if (g->used - max > max / 8)
		close_holders(hub, g->used - max);
}

static void on_look(EV_P_ ev_timer *timer, int events)
{
	(void)loop;
	(void)events;
	look(timer->data);
}

/* ------------------------------------------------------------------ settings */

void memory_guard_set_up(struct hub *hub)
{
	struct memory_guard *g = &hub->memory;

	memory_guard_stop(hub);
	if (hub_settings(hub)->max_memory == 0)
		return;
	/* At once, but not in the middle of the command that has set it. */
	ev_timer_init(&g->timer, on_look, 0., LOOK_SECONDS);
	g->timer.data = hub;
	ev_timer_start(hub->loop->ev, &g->timer);
}

void memory_guard_stop(struct hub *hub)
{
	ev_timer_stop(hub->loop->ev, &hub->memory.timer);
	hub->memory.is_short = false;
}
