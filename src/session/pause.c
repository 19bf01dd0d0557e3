#include "session/pause.h"

#include "control/auth_query.h"
#include "session/server.h"
#include "session/suspend.h"
#include "session/sweep.h"

bool pause_holds(const struct hub *hub, const struct database *db)
{
	return hub->pause != PAUSE_NOT || db->is_paused || hub->shutdown == SHUTDOWN_WAIT_FOR_SERVERS;
}

/* What went wrong before the pause is no reason to send anybody away during it, nor to wait after it. */
static void forget_failure(struct pool *pool)
{
	const struct database *db = pool->database;

	if (pool_session(pool)->renewal == NULL)
		pool_session_try_again(pool);
	for (unsigned i = 0; i < db->nhosts; i++)
		breaker_forgets(&db->hosts[i]->breaker);
}

static void hold(struct hub *hub, struct pool *pool)
{
	(void)hub;
	pool->is_paused = true;
	forget_failure(pool);
}

static void serve(struct hub *hub, struct pool *pool)
{
	pool->is_paused = pause_holds(hub, pool->database);
	if (pool->is_paused)
		return;
	forget_failure(pool);
	server_serve_waiting(pool);
	pool_session_fill(pool);
}

typedef void pool_fn(struct hub *hub, struct pool *pool);

static void each_pool(struct hub *hub, const struct database *db, pool_fn *fn)
{
	struct pool *pool = NULL;

	while ((pool = registry_next_pool(hub->registry, pool)) != NULL)
		if (db == NULL || pool->database == db)
			fn(hub, pool);
}

static void resume_logins(struct hub *hub)
{
	struct client *c;
	uint32_t i = 0;

	while ((c = slab_next(hub->clients, &i)) != NULL)
		if (c->state == CLIENT_AUTH_WAIT)
			client_login_resume(c);
}

void pause_all(struct hub *hub)
{
	hub->pause = PAUSE_ALL;
	each_pool(hub, NULL, hold);
	sweep_close_free_servers(hub, NULL, SERVER_END_PAUSED);
	auth_queries_close_idle(hub->auth_queries);
}

void pause_database(struct hub *hub, struct database *db)
{
	db->is_paused = true;
	each_pool(hub, db, hold);
	sweep_close_free_servers(hub, db, SERVER_END_PAUSED);
}

bool pause_has_database(const struct hub *hub)
{
	struct database *db = NULL;

	while ((db = registry_next_database(hub->registry, db)) != NULL)
		if (db->is_paused && !db->is_dead)
			return true;
	return false;
}

bool pause_is_done(const struct hub *hub, const struct database *db)
{
	return sweep_busy_servers(hub, db) == 0;
}

void pause_resume_all(struct hub *hub)
{
	bool was_suspended = hub->pause == PAUSE_SUSPEND;

	hub->pause = PAUSE_NOT;
	if (was_suspended)
		suspend_end(hub);
	each_pool(hub, NULL, serve);
	resume_logins(hub);
	hub_note_quiet(hub);
}

void pause_resume_database(struct hub *hub, struct database *db)
{
	db->is_paused = false;
	each_pool(hub, db, serve);
	resume_logins(hub);
	hub_note_quiet(hub);
}
