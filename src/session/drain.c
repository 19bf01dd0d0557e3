#include "session/drain.h"

#include "session/client.h"
#include "session/server.h"
#include "session/shutdown.h"

/* Between two steps of the pace. */
#define STEP_SECONDS 0.02

/* Longer than most clients take to ask for something when they have logged in. */
#define LEAD_SECONDS 1

/* How long one that is to leave may say nothing: longer than most take from an answer to their next question. */
#define LEAVE_SECONDS 0.5

/* ------------------------------------------------------------------ who may go */

static bool is_held(const struct client *c)
{
	return (c->state == CLIENT_WAITING || c->state == CLIENT_AWAIT_WELCOME) && client_pool(c)->is_paused;
}

/* Behind a whole message, where it can be told why. */
static bool is_stream_over(const struct client *c)
{
	return c->hub->drain.phase == DRAIN_REST && c->server->is_streaming && c->server->remain == 0;
}

static bool is_server_done(const struct client *c)
{
	if (c->replication == REPLICATION_NONE)
		return server_is_between_transactions(c->server);
	return replication_is_at_rest(c->server) || is_stream_over(c);
}

/* Between two transactions, and it has all that it was sent. */
static bool may_go(const struct client *c)
{
	if (conn_is_backlogged(&c->conn))
		return false;
	return c->state == CLIENT_IDLE || (c->state == CLIENT_ACTIVE && is_server_done(c)) || is_held(c);
}

/* Has not logged in, and did not make it in all of the time that there was. */
static bool is_late(const struct client *c)
{
	return c->state == CLIENT_STARTUP || c->state == CLIENT_AUTH || c->state == CLIENT_AUTH_WAIT ||
	       c->state == CLIENT_AWAIT_WELCOME;
}

bool drain_admits(struct client *c)
{
	enum drain_phase phase = c->hub->drain.phase;

	c->is_latecomer = phase == DRAIN_PACED;
	return phase < DRAIN_REST;
}

static void on_silence(struct deadline *d)
{
	client_close((struct client *)((char *)d - offsetof(struct client, deadline)), CLOSE_ADMIN_SHUTDOWN);
}

static void let_leave(struct client *c)
{
	c->is_leaving = true;
	deadline_arm(&c->deadline, deadline_list(c->hub->loop, (uint64_t)(LEAVE_SECONDS * CLOCK_SECOND), on_silence));
}

void drain_look(struct client *c)
{
	if (c->hub->drain.phase < DRAIN_PACED || c->is_leaving || !may_go(c))
		return;
	if (c->server != NULL && c->server->is_streaming)
		client_close(c, CLOSE_ADMIN_SHUTDOWN);
	else
		let_leave(c);
}

/* ------------------------------------------------------------------ the pace */

static void set_timer(struct hub *hub, ev_timer *timer, uint64_t us)
{
	ev_timer_stop(hub->loop->ev, timer);
	ev_timer_set(timer, (double)us / CLOCK_SECOND, 0.);
	ev_timer_start(hub->loop->ev, timer);
}

static void send_away_rest(struct hub *hub)
{
	struct client *c;
	uint32_t i = 0;

	hub->drain.phase = DRAIN_REST;
	while ((c = slab_next(hub->clients, &i)) != NULL)
		if (may_go(c) || is_late(c))
			client_close(c, CLOSE_ADMIN_SHUTDOWN);
	log_info("drain: all clients have had their turn, %u are left", hub->nclients);
	hub_note_quiet(hub);
}

/* Nobody has a turn at the very beginning: who came in just before the door was closed is about to ask for something. */
static uint64_t lead_of(uint64_t pace_us)
{
	return pace_us / 4 < LEAD_SECONDS * CLOCK_SECOND ? pace_us / 4 : LEAD_SECONDS * CLOCK_SECOND;
}

/* Behind that, as many have had their turn as the time that has gone by is part of the whole. */
static void take_step(struct hub *hub)
{
	struct drain *d = &hub->drain;
	uint64_t elapsed = clock_us() - d->paced_at, lead = lead_of(d->pace_us);
	struct client *c;

	if (elapsed >= d->pace_us) {
		send_away_rest(hub);
		return;
	}
	while (elapsed > lead && (uint64_t)(d->nvisited + 1) * (d->pace_us - lead) <= (elapsed - lead) * d->nclients &&
	       (c = slab_next(hub->clients, &d->next)) != NULL) {
		d->nvisited++;
		if (may_go(c) && !c->is_latecomer)
			client_close(c, CLOSE_ADMIN_SHUTDOWN);
	}
	set_timer(hub, &d->turn, (uint64_t)(STEP_SECONDS * CLOCK_SECOND));
}

/* What is left until the deadline bounds the pace too: it is better to be sent away early than to be cut off. */
static uint64_t pace_of(const struct hub *hub)
{
	uint64_t pace = (uint64_t)hub_settings(hub)->shutdown_pace;
	uint64_t deadline = (uint64_t)hub_settings(hub)->shutdown_deadline;
	uint64_t elapsed = hub->drain.paced_at - hub->drain.began_at;

	if (deadline == 0)
		return pace;
	if (deadline <= elapsed)
		return 0;
	return pace < deadline - elapsed ? pace : deadline - elapsed;
}

static void begin_pace(struct hub *hub)
{
	struct drain *d = &hub->drain;

	shutdown_close_door(hub);
	d->phase = DRAIN_PACED;
	d->paced_at = clock_us();
	d->pace_us = pace_of(hub);
	d->nclients = slab_used(hub->clients);
	log_info("drain: no new clients any more, %u are sent away within %.6g s", hub->nclients,
		 (double)d->pace_us / CLOCK_SECOND);
	take_step(hub);
	hub_note_quiet(hub);
}

static void on_turn(EV_P_ ev_timer *timer, int events)
{
	struct hub *hub = timer->data;

	(void)loop;
	(void)events;
	if (hub->drain.phase == DRAIN_ANNOUNCED)
		begin_pace(hub);
	else
		take_step(hub);
}

static void on_deadline(EV_P_ ev_timer *timer, int events)
{
	struct hub *hub = timer->data;

	(void)loop;
	(void)events;
	log_warning("drain: shutdown_deadline (%.6g s) is over, %u clients are cut off",
		    (double)hub_settings(hub)->shutdown_deadline / CLOCK_SECOND, hub->nclients);
	hub->drain.phase = DRAIN_OVER;
	hub_note_quiet(hub);
}

/* ------------------------------------------------------------------ beginning and end */

void drain_begin(struct hub *hub, bool is_replaced)
{
	const struct settings *s = hub_settings(hub);
	struct drain *d = &hub->drain;

	d->phase = DRAIN_ANNOUNCED;
	d->began_at = clock_us();
	ev_init(&d->turn, on_turn);
	ev_init(&d->deadline, on_deadline);
	d->turn.data = d->deadline.data = hub;
	if (s->shutdown_deadline > 0)
		set_timer(hub, &d->deadline, (uint64_t)s->shutdown_deadline);
	if (is_replaced || s->shutdown_delay == 0) {
		begin_pace(hub);
		return;
	}
	log_info("drain: not ready any more, the listening sockets are closed in %.6g s",
		 (double)s->shutdown_delay / CLOCK_SECOND);
	set_timer(hub, &d->turn, (uint64_t)s->shutdown_delay);
}

void drain_stop(struct hub *hub)
{
	struct drain *d = &hub->drain;

	if (d->phase == DRAIN_NOT)
		return;
	ev_timer_stop(hub->loop->ev, &d->turn);
	ev_timer_stop(hub->loop->ev, &d->deadline);
	d->phase = DRAIN_NOT;
}
