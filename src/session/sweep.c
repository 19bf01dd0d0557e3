#include "session/sweep.h"

#include <strings.h>

#include "session/cancel_request.h"
#include "session/client.h"
#include "session/server.h"

/* What the servers of before have told, and why they could not be had, says nothing about others. */
static void forget_servers(const struct hub *hub, const struct database *db)
{
	struct pool *pool = NULL;

	while ((pool = registry_next_pool(hub->registry, pool)) != NULL) {
		if (db != NULL && pool->database != db)
			continue;
		pool_session(pool)->has_welcome = false;
		pool_session(pool)->is_renewed = false;
		pool_session_try_again(pool);
	}
}

static bool is_reached_through(const struct server *s, const char *host)
{
	return s->host != NULL && strcasecmp(s->host->name->text, host) == 0;
}

static bool is_at_one_of(const struct server *s, const struct addr_any *addresses, size_t n)
{
	struct addr_any address = s->address;

	addr_any_set_port(&address, 0);
	for (size_t i = 0; i < n; i++)
		if (addr_any_eq(&address, &addresses[i]))
			return true;
	return false;
}

/* Nobody's: idle, or still on its way in, which at an address that is no more may take long. */
static bool is_unused(const struct server *s)
{
	return s->slot.state == POOL_SERVER_IDLE || s->slot.state == POOL_SERVER_NEW;
}

void sweep_close_retired(struct hub *hub)
{
	struct server *s;
	uint32_t i = 0;

	while ((s = slab_next(hub->servers, &i)) != NULL) {
		if (s->phase == SERVER_CLOSED || s->retired_because == SERVER_END_NONE)
			continue;
		if (is_unused(s))
			server_close(s, s->retired_because);
		else if (s->client != NULL)
			server_settle(s);
	}
}

void sweep_retire_servers(struct hub *hub, const struct database *db, enum server_end why)
{
	struct server *s;
	uint32_t i = 0;

	forget_servers(hub, db);
	/* Before the first ends: those that are opened in its place are of the new configuration. */
	while ((s = slab_next(hub->servers, &i)) != NULL) {
		if (s->phase == SERVER_CLOSED || (db != NULL && s->slot.pool->database != db))
			continue;
		s->slot.close_needed = true;
		s->retired_because = why;
	}
	sweep_close_retired(hub);
}

void sweep_retire_vanished(struct hub *hub, const char *host, const struct addr_any *addresses, size_t n)
{
	struct server *s;
	uint32_t i = 0;

	/* Before the first ends: others are opened in its place, which may bring the next change of these addresses. */
	while ((s = slab_next(hub->servers, &i)) != NULL) {
		/* One whose host is still being looked up has no address yet. */
		if (s->phase == SERVER_CLOSED || s->phase == SERVER_RESOLVING || s->slot.close_needed ||
		    !is_reached_through(s, host) || is_at_one_of(s, addresses, n))
			continue;
		s->slot.close_needed = true;
		s->retired_because = SERVER_END_DNS_CHANGED;
	}
	sweep_close_retired(hub);
}

bool sweep_has_retired(const struct hub *hub, const struct database *db)
{
	const struct server *s;
	uint32_t i = 0;

	while ((s = slab_next(hub->servers, &i)) != NULL)
		if (s->phase != SERVER_CLOSED && s->slot.close_needed && (db == NULL || s->slot.pool->database == db))
			return true;
	return false;
}

/* The clients of a database are told, its servers end. NULL: of all. */
static void end_sessions(struct hub *hub, const struct database *db, enum close_reason why)
{
	struct client *c;
	struct server *s;
	uint32_t i = 0;

	while ((c = slab_next(hub->clients, &i)) != NULL)
		if (c->state != CLIENT_CLOSED && c->database != NULL && (db == NULL || c->database == db))
			client_close(c, why);
	i = 0;
	while ((s = slab_next(hub->servers, &i)) != NULL)
		if (s->phase != SERVER_CLOSED && (db == NULL || s->slot.pool->database == db))
			server_close(s, server_end_of(why));
}

void sweep_remove_database(struct hub *hub, const struct database *db)
{
	end_sessions(hub, db, CLOSE_DATABASE_REMOVED);
	forget_servers(hub, db);
}

void sweep_kill(struct hub *hub, const struct database *db)
{
	end_sessions(hub, db, CLOSE_KILL);
	forget_servers(hub, db);
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
			server_close(s, SERVER_END_SHUTDOWN);
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
			server_destroy(s, SERVER_END_SHUTDOWN);
	cancel_request_close_all(hub);
}

static bool is_free(const struct server *s)
{
	enum pool_server_state state = s->slot.state;

	return state == POOL_SERVER_IDLE || state == POOL_SERVER_NEW || state == POOL_SERVER_BEING_CANCELED;
}

void sweep_close_free_servers(struct hub *hub, const struct database *db, enum server_end why)
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

void sweep_close_excess(struct hub *hub)
{
	struct server *s;
	uint32_t i = 0;

	while ((s = slab_next(hub->servers, &i)) != NULL)
		if (s->phase != SERVER_CLOSED && s->slot.state == POOL_SERVER_IDLE &&
		    (cap_is_exceeded(s->slot.pool) || pool_is_over_size(s->slot.pool)))
			server_close(s, SERVER_END_LIMIT_LOWERED);
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
