#include "session/sweep.h"

#include "session/client.h"
#include "session/server.h"

/* What the servers of before have told, and why they could not be had, says nothing about others. */
static void forget_servers(const struct database *db)
{
	for (struct pool *pool = database_next_pool(db, NULL); pool != NULL; pool = database_next_pool(db, pool)) {
		pool_session(pool)->has_welcome = false;
		pool_session_succeeded(pool);
	}
}

void sweep_retire_servers(struct hub *hub, const struct database *db)
{
	struct server *s;
	uint32_t i = 0;

	forget_servers(db);
	while ((s = slab_next(hub->servers, &i)) != NULL) {
		if (s->phase == SERVER_CLOSED || s->slot.pool->database != db)
			continue;
		s->slot.close_needed = true;
		if (s->slot.state == POOL_SERVER_IDLE)
			server_close(s, "database configuration changed");
	}
}

void sweep_remove_database(struct hub *hub, const struct database *db)
{
	struct client *c;
	struct server *s;
	uint32_t i = 0;

	while ((c = slab_next(hub->clients, &i)) != NULL)
		if (c->state != CLIENT_CLOSED && c->database == db)
			client_close(c, CLOSE_DATABASE_REMOVED);
	i = 0;
	while ((s = slab_next(hub->servers, &i)) != NULL)
		if (s->phase != SERVER_CLOSED && s->slot.pool->database == db)
			server_close(s, "database removed");
	forget_servers(db);
}

void sweep_close_idle_clients(struct hub *hub)
{
	struct client *c;
	uint32_t i = 0;

	while ((c = slab_next(hub->clients, &i)) != NULL)
		if (c->state == CLIENT_IDLE || c->state == CLIENT_WAITING || c->state == CLIENT_AWAIT_WELCOME)
			client_close(c, CLOSE_ADMIN_SHUTDOWN);
}

void sweep_close_idle_servers(struct hub *hub)
{
	struct server *s;
	uint32_t i = 0;

	while ((s = slab_next(hub->servers, &i)) != NULL)
		if (s->phase != SERVER_CLOSED && s->slot.state == POOL_SERVER_IDLE)
			server_close(s, "pooler is shutting down");
}

void sweep_close_all(struct hub *hub)
{
	struct client *c;
	struct server *s;
	uint32_t i = 0;

	while ((c = slab_next(hub->clients, &i)) != NULL)
		client_close(c, CLOSE_POOLER_SHUTDOWN);
	i = 0;
	while ((s = slab_next(hub->servers, &i)) != NULL)
		if (s->phase != SERVER_CLOSED)
			server_destroy(s, "pooler is shutting down");
	cancel_request_close_all(hub);
}

static bool is_free(const struct server *s)
{
	enum pool_server_state state = s->slot.state;

	return state == POOL_SERVER_IDLE || state == POOL_SERVER_NEW || state == POOL_SERVER_BEING_CANCELED;
}

void sweep_close_free_servers(struct hub *hub, const struct database *db, const char *why)
{
	struct server *s;
	uint32_t i = 0;

	while ((s = slab_next(hub->servers, &i)) != NULL)
		if (s->phase != SERVER_CLOSED && (db == NULL || s->slot.pool->database == db) && is_free(s))
			server_close(s, why);
}

unsigned sweep_busy_servers(const struct hub *hub, const struct database *db)
{
	unsigned n = 0;

	for (struct pool *p = registry_next_pool(hub->registry, NULL); p != NULL; p = registry_next_pool(hub->registry, p))
		if (db == NULL || p->database == db)
			n += p->nservers[POOL_SERVER_ACTIVE] + p->nservers[POOL_SERVER_TESTED];
	return n;
}

static bool wants_servers_without_clients(const struct hub *hub, const struct database *db)
{
	return !db->is_dead && db->conf->user != NULL &&
	       conf_effective(registry_conf(hub->registry), SETTING_min_pool_size, db->conf, NULL) > 0;
}

void sweep_fill_pools(struct hub *hub)
{
	struct registry *r = hub->registry;

	for (struct database *db = registry_next_database(r, NULL); db != NULL; db = registry_next_database(r, db))
		if (wants_servers_without_clients(hub, db))
			registry_pool(r, db, NULL);
	for (struct pool *p = registry_next_pool(r, NULL); p != NULL; p = registry_next_pool(r, p))
		pool_session_fill(p);
}
