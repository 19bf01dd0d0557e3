#include "session/admission.h"

#include "session/client.h"

void admission_init(struct admission *a)
{
	TAILQ_INIT(&a->awaited);
}

static void join(struct client *c)
{
	TAILQ_INSERT_TAIL(&c->hub->admission.awaited, &c->waiter, link);
	c->hub->admission.n++;
	c->is_awaited = true;
}

void admission_leave(struct client *c)
{
	if (!c->is_awaited)
		return;
	TAILQ_REMOVE(&c->hub->admission.awaited, &c->waiter, link);
	c->hub->admission.n--;
	c->is_awaited = false;
}

void admission_ask(struct client *c)
{
	if (!c->is_awaited)
		join(c);
}

/* NULL: there is none. */
static struct client *oldest(const struct hub *hub)
{
	struct pool_client *waiter = TAILQ_FIRST(&hub->admission.awaited);

	return waiter == NULL ? NULL : client_of_waiter(waiter);
}

/* False: there is nobody. */
static bool shed_oldest(const struct hub *hub)
{
	struct client *c = oldest(hub);

	if (c != NULL)
		client_close(c, CLOSE_LOGIN_SHED);
	return c != NULL;
}

static bool is_full(const struct hub *hub)
{
	int64_t most = hub_settings(hub)->max_client_conn;

	return hub->admission.n >= (most > ADMISSION_LEAST ? most : ADMISSION_LEAST);
}

/*
 * Whatever is open besides clients and servers shows in the new descriptor:
 * the kernel gives the lowest number that is free.
 */
static bool is_short_of_descriptors(const struct client *c)
{
	size_t max = c->hub->admission.max_descriptors;
	size_t reserve = max / 8 < ADMISSION_RESERVE ? max / 8 : ADMISSION_RESERVE;
	size_t ours = slab_used(c->hub->clients) + slab_used(c->hub->servers);

	return max != 0 && (ours >= max - reserve || (size_t)conn_fd(&c->conn) >= max - reserve);
}

void admission_enter(struct client *c)
{
	struct hub *hub = c->hub;
	bool is_short = is_short_of_descriptors(c);
	bool has_room = !is_short;

	if (is_short || hub->memory.is_short || is_full(hub))
		has_room |= shed_oldest(hub);
	/* The console has to be reached by somebody on the machine itself. */
	if (has_room || c->is_unix)
		join(c);
	else
		client_close(c, CLOSE_NO_DESCRIPTORS);
}

bool admission_make_room(struct hub *hub)
{
	uint64_t now = clock_us();
	struct client *c;

	while ((c = oldest(hub)) != NULL && now - c->connected_at > ADMISSION_PATIENCE) {
		bool was_counted = c->is_counted;

		client_close(c, CLOSE_LOGIN_SHED);
		if (was_counted)
			return true;
	}
	return false;
}
