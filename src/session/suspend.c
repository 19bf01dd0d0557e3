#include "session/suspend.h"

#include "session/client.h"
#include "session/server.h"

/* The console has to be able to end it. */
static bool stops(const struct client *c)
{
	return c->state != CLIENT_CLOSED && c->state != CLIENT_CONSOLE && c->state != CLIENT_CONSOLE_WAIT;
}

static bool is_unfinished(const struct client *c)
{
	return stops(c) && conn_is_backlogged(&c->conn);
}

/* One that logs in or is set up talks with nobody but us: it goes on until it is ready. */
static bool is_unfinished_server(const struct server *s)
{
	return s->phase == SERVER_READY && conn_is_backlogged(&s->conn);
}

/* Clients first: those of servers go with them. */
static void on_timeout(struct deadline *d)
{
	struct hub *hub = (struct hub *)((char *)d - offsetof(struct hub, suspend_deadline));
	struct client *c;
	struct server *s;
	uint32_t i = 0;

	while ((c = slab_next(hub->clients, &i)) != NULL)
		if (is_unfinished(c))
			client_close(c, CLOSE_SUSPEND_TIMEOUT);
	i = 0;
	while ((s = slab_next(hub->servers, &i)) != NULL) {
		if (!is_unfinished_server(s))
			continue;
		if (s->client != NULL)
			server_close_with_client(s, CLOSE_SUSPEND_TIMEOUT, NULL);
		else
			server_close(s, SERVER_END_SUSPEND_TIMEOUT);
	}
	hub_note_quiet(hub);
}

void suspend_all(struct hub *hub)
{
	uint64_t timeout = (uint64_t)hub_settings(hub)->suspend_timeout;
	struct client *c;
	struct server *s;
	uint32_t i = 0;

	hub->pause = PAUSE_SUSPEND;
	listeners_suspend(hub->listeners);
	for (struct pool *pool = registry_next_pool(hub->registry, NULL); pool != NULL;
	     pool = registry_next_pool(hub->registry, pool))
		pool->is_paused = true;
	while ((c = slab_next(hub->clients, &i)) != NULL)
		if (stops(c))
			conn_suspend(&c->conn);
	i = 0;
	while ((s = slab_next(hub->servers, &i)) != NULL)
		if (s->phase == SERVER_READY)
			conn_suspend(&s->conn);
	deadline_arm(&hub->suspend_deadline, deadline_list_unless_0(hub->loop, timeout, on_timeout));
}

bool suspend_is_done(const struct hub *hub)
{
	const struct client *c;
	const struct server *s;
	uint32_t i = 0;

	while ((c = slab_next(hub->clients, &i)) != NULL)
		if (is_unfinished(c))
			return false;
	i = 0;
	while ((s = slab_next(hub->servers, &i)) != NULL)
		if (is_unfinished_server(s))
			return false;
	return true;
}

void suspend_end(struct hub *hub)
{
	struct client *c;
	struct server *s;
	uint32_t i = 0;

	deadline_disarm(&hub->suspend_deadline);
	listeners_resume(hub->listeners);
	while ((c = slab_next(hub->clients, &i)) != NULL)
		conn_unsuspend(&c->conn);
	i = 0;
	while ((s = slab_next(hub->servers, &i)) != NULL)
		conn_unsuspend(&s->conn);
}
