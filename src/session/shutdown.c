#include "session/shutdown.h"

#include "session/client.h"
#include "session/pause.h"
#include "session/sweep.h"

static void on_listeners_closed(void *arg)
{
	hub_note_quiet(arg);
}

void shutdown_close_door(struct hub *hub)
{
	if (hub->is_door_closed)
		return;
	listeners_close_tcp(hub->listeners, on_listeners_closed);
	hub->is_door_closed = true;
	hub->last_admitted = hub->last_id;
}

/* Only those who have a server may still be busy. */
static void wait_for_servers(struct hub *hub)
{
	for (struct pool *p = registry_next_pool(hub->registry, NULL); p != NULL; p = registry_next_pool(hub->registry, p))
		p->is_paused = true;
	sweep_close_idle_clients(hub);
	sweep_close_idle_servers(hub);
}

/* How soon a mode is over, compared with the others. */
static int haste(enum shutdown_mode mode)
{
	switch (mode) {
	case SHUTDOWN_NOT:
		return 0;
	case SHUTDOWN_WAIT_FOR_CLIENTS:
		return 1;
	case SHUTDOWN_DRAIN:
		return 2;
	case SHUTDOWN_WAIT_FOR_SERVERS:
		break;
	}
	return 3;
}

void shutdown_begin(struct hub *hub, enum shutdown_mode mode, bool is_replaced)
{
	if (haste(mode) <= haste(hub->shutdown))
		return;
	/* What is suspended would never end. */
	if (hub->pause == PAUSE_SUSPEND)
		pause_resume_all(hub);
	drain_stop(hub);
	hub->shutdown = mode;
	hub->is_ready = false;
	if (mode == SHUTDOWN_DRAIN) {
		drain_begin(hub, is_replaced);
		return;
	}
	shutdown_close_door(hub);
	if (mode == SHUTDOWN_WAIT_FOR_SERVERS)
		wait_for_servers(hub);
	hub_note_quiet(hub);
}

/* Those who are still logging in came before the door was closed, and count. */
static bool has_clients(const struct hub *hub)
{
	return hub->nclients > 0 || hub->nlogins > 0;
}

bool shutdown_is_complete(const struct hub *hub)
{
	if (hub->drain.phase == DRAIN_OVER)
		return true;
	if (hub->shutdown == SHUTDOWN_NOT || hub->drain.phase == DRAIN_ANNOUNCED || listeners_are_closing(hub->listeners))
		return false;
	return hub->shutdown == SHUTDOWN_WAIT_FOR_SERVERS ? sweep_busy_servers(hub, NULL) == 0 : !has_clients(hub);
}

/* Over TCP nobody comes any more once the door is closed; the Unix socket stays open for the console. */
static bool came_in_time(const struct client *c)
{
	return !c->is_unix || !c->hub->is_door_closed || c->id <= c->hub->last_admitted;
}

bool shutdown_admits(struct client *c)
{
	switch (c->hub->shutdown) {
	case SHUTDOWN_NOT:
		return true;
	case SHUTDOWN_WAIT_FOR_CLIENTS:
		return came_in_time(c);
	case SHUTDOWN_DRAIN:
		return came_in_time(c) && drain_admits(c);
	case SHUTDOWN_WAIT_FOR_SERVERS:
		break;
	}
	return false;
}
