#include "session/hang_ups.h"

#include <poll.h>
#include <stdlib.h>

#include "session/prepared.h"
#include "session/server.h"

#define LOOK_SECONDS 1.

/* Enough for most; who does not fit in is held back all the same. */
#define FIRST_ROOM 16

/* The object may be another's by the time it is looked at. */
struct held_back {
	uint32_t index;
	uint64_t id;
};

/* The client that was meant, if it still waits and is not read from. */
static struct client *held_client(const struct hub *hub, const struct held_back *h)
{
	struct client *c = slab_at(hub->clients, h->index);

	if (c == NULL || c->id != h->id || c->state == CLIENT_CLOSED)
		return NULL;
	if (c->conn.is_paused && (client_is_waiting(c) || (c->server != NULL && prepared_has_client_wait(c->server))))
		return c;
	c->is_held_back = false;
	return NULL;
}

static bool has_hung_up(const struct client *c)
{
	struct pollfd fd = {.fd = conn_fd(&c->conn), .events = POLLRDHUP};

	return poll(&fd, 1, 0) > 0;
}

static void on_look(EV_P_ ev_timer *timer, int events)
{
	struct hub *hub = timer->data;
	struct hang_ups *all = &hub->hang_ups;
	size_t kept = 0;

	(void)loop;
	(void)events;
	for (size_t i = 0; i < all->n; i++) {
		struct client *c = held_client(hub, &all->clients[i]);

		if (c == NULL)
			continue;
		if (!has_hung_up(c)) {
			all->clients[kept++] = all->clients[i];
			continue;
		}
		c->is_held_back = false;
		c->has_hung_up = true;
		conn_unpause(&c->conn);
	}
	all->n = kept;
	if (kept == 0)
		hang_ups_stop(hub);
}

static bool make_room(struct hang_ups *all)
{
	size_t room = all->room == 0 ? FIRST_ROOM : all->room * 2;
	struct held_back *larger;

	if (all->n < all->room)
		return true;
	larger = realloc(all->clients, room * sizeof(*larger));
	if (larger == NULL)
		return false;
	all->clients = larger;
	all->room = room;
	return true;
}

static void watch(struct client *c)
{
	struct hub *hub = c->hub;
	struct hang_ups *all = &hub->hang_ups;

	if (c->is_held_back || !make_room(all))
		return;
	c->is_held_back = true;
	all->clients[all->n++] = (struct held_back){.index = slab_index(hub->clients, c), .id = c->id};
	if (ev_is_active(&all->timer))
		return;
	ev_timer_init(&all->timer, on_look, LOOK_SECONDS, LOOK_SECONDS);
	all->timer.data = hub;
	ev_timer_start(hub->loop->ev, &all->timer);
}

void hang_ups_hold_back(struct client *c)
{
	if (c->has_hung_up)
		return;
	conn_pause(&c->conn);
	watch(c);
}

void hang_ups_stop(struct hub *hub)
{
	struct hang_ups *all = &hub->hang_ups;

	ev_timer_stop(hub->loop->ev, &all->timer);
	free(all->clients);
	all->clients = NULL;
	all->n = all->room = 0;
}
