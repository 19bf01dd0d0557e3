/*
 * The session layer's part of a pool: opening what it wants, remembering why
 * servers cannot be had, greeting those who wait for the first one.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "session/secret_renewal.h"
#include "session/server.h"

/* After a refusal that passes (the server is starting up) the first retries come quickly. */
#define FIRST_RETRY_US (CLOCK_SECOND / 10)

static void on_wake(EV_P_ ev_timer *timer, int events)
{
	struct pool_session *ps = timer->data;

	(void)loop;
	(void)events;
	ps->wake_at = 0;
	pool_session_fill(ps->pool);
}

static struct pool_session *new_session(struct hub *hub, struct pool *pool)
{
	struct pool_session *ps = calloc(1, sizeof(*ps));

	if (ps == NULL)
		return NULL;
	ps->hub = hub;
	ps->pool = pool;
	ps->params = paramset_ref(hub->no_params);
	strbuf_init(&ps->welcome);
	ev_init(&ps->wake, on_wake);
	ps->wake.data = ps;
	return ps;
}

bool pool_session_set_up(struct hub *hub, struct pool *pool)
{
	if (pool->session == NULL)
		pool->session = new_session(hub, pool);
	else
		pool_session_try_again(pool);
	if (pool->session == NULL)
		return false;
	server_set_up_deadlines(pool->session);
	client_set_up_deadlines(pool->session);
	return true;
}

static void forget_error(struct pool_session *ps)
{
	atom_unref(&ps->last_sqlstate);
	atom_unref(&ps->last_error);
	atom_unref(&ps->last_detail);
	atom_unref(&ps->last_hint);
}

void pool_session_free(struct pool *pool)
{
	struct pool_session *ps = pool->session;

	if (ps == NULL)
		return;
	ev_timer_stop(ps->hub->loop->ev, &ps->wake);
	deadline_disarm(&ps->idle_deadline);
	secret_renewal_free(&ps->renewal);
	pool_secret_forget(&ps->secret);
	forget_error(ps);
	strbuf_fini(&ps->welcome);
	paramset_unref(ps->hub->params, &ps->params);
	free(ps);
	pool->session = NULL;
}

/* ------------------------------------------------------------------ opening */

static void set_wake(struct pool_session *ps, uint64_t at)
{
	uint64_t now = clock_us();

	if (at == 0 || (ps->wake_at != 0 && ps->wake_at <= at))
		return;
	ps->wake_at = at;
	ev_timer_stop(ps->hub->loop->ev, &ps->wake);
	ev_now_update(ps->hub->loop->ev);
	ev_timer_set(&ps->wake, at > now ? (double)(at - now) / CLOCK_SECOND : 0, 0.);
	ev_timer_start(ps->hub->loop->ev, &ps->wake);
}

void pool_session_fill(struct pool *pool)
{
	struct pool_session *ps = pool_session(pool);
	bool reserve;

	if (ps->hub->shutdown == SHUTDOWN_WAIT_FOR_SERVERS)
		return;
	while (pool_wants_server(pool, clock_us(), &reserve)) {
		if (reserve)
			log_info("taking connection from reserve_pool: %s/%s", pool->database->name->text,
				 pool->user->name->text);
		server_open(pool);
	}
	set_wake(ps, pool_wakes_at(pool, clock_us()));
}

/* ------------------------------------------------------------------ failures */

bool pool_session_is_down(const struct pool *pool)
{
	return pool_session(pool)->is_failing && clock_us() < pool->retry_at && pool_server_count(pool) == 0;
}

static const char *text_of(const struct atom *a)
{
	return a == NULL ? NULL : a->text;
}

void pool_session_refuse(struct client *c)
{
	const struct pool *pool = client_pool(c);
	const struct pool_session *ps = pool_session(pool);
	const char *message = ps->last_error == NULL ? "unknown" : ps->last_error->text;
	uint64_t now = clock_us();
	char detail[512];

	if (ps->is_servers_error) {
		/* The server's own words, as if it had been asked directly. */
		const struct close_error e = {.sqlstate = text_of(ps->last_sqlstate),
					      .message = message,
					      .detail = text_of(ps->last_detail),
					      .hint = text_of(ps->last_hint)};

		client_close_error(c, CLOSE_SERVER_REFUSED, &e);
		return;
	}
	snprintf(detail, sizeof(detail), "%s%sThe next attempt is in %.1f s; server_login_retry is %.6gs.",
		 ps->last_detail == NULL ? "" : ps->last_detail->text, ps->last_detail == NULL ? "" : " ",
		 pool->retry_at > now ? (double)(pool->retry_at - now) / CLOCK_SECOND : 0.,
		 (double)hub_settings(c->hub)->server_login_retry / CLOCK_SECOND);
	client_close_hint(c, CLOSE_SERVER_DOWN, message, detail, text_of(ps->last_hint));
}

static void refuse_all(struct pool_clients *list)
{
	struct pool_client *w;

	while ((w = TAILQ_FIRST(list)) != NULL)
		pool_session_refuse((struct client *)((char *)w - offsetof(struct client, waiter)));
}

static struct atom *keep(const char *text)
{
	return text == NULL ? NULL : atom_get(slice_of(text));
}

/* Starting up, or out of connections for the moment: worth waiting for. */
static bool passes_soon(const struct close_error *e, bool is_servers)
{
	return is_servers && strcmp(e->sqlstate, "57P03") == 0;
}

static uint64_t retry_after(const struct pool_session *ps, bool soon)
{
	uint64_t most = (uint64_t)hub_settings(ps->hub)->server_login_retry, wait = FIRST_RETRY_US;

	/* Never at once: after a connect() that fails on the spot the next would follow without an end. */
	if (most < FIRST_RETRY_US)
		most = FIRST_RETRY_US;
	if (!soon)
		return most;
	for (unsigned i = 1; i < ps->nfailures && wait < most; i++)
		wait *= 2;
	return wait < most ? wait : most;
}

void pool_session_failed(struct pool *pool, const struct close_error *e, bool is_servers)
{
	struct pool_session *ps = pool_session(pool);
	bool soon = passes_soon(e, is_servers);

	forget_error(ps);
	ps->last_sqlstate = keep(e->sqlstate);
	ps->last_error = keep(e->message);
	ps->last_detail = keep(e->detail);
	ps->last_hint = keep(e->hint);
	ps->is_servers_error = is_servers;
	ps->is_failing = !soon;
	ps->nfailures++;
	pool->retry_at = clock_us() + retry_after(ps, soon);
	if (!soon && pool_server_count(pool) == 0) {
		refuse_all(&pool->waiting);
		refuse_all(&pool->logins);
	}
	set_wake(ps, pool_wakes_at(pool, clock_us()));
}

void pool_session_try_again(struct pool *pool)
{
	struct pool_session *ps = pool_session(pool);

	ps->is_failing = false;
	ps->nfailures = 0;
	pool->retry_at = 0;
	forget_error(ps);
}

void pool_session_succeeded(struct pool *pool)
{
	pool_session(pool)->is_renewed = false;
	pool_session_try_again(pool);
}

/* ------------------------------------------------------------------ welcome */

void pool_session_set_welcome(struct pool *pool, const struct strbuf *welcome, const struct paramset *params)
{
	struct pool_session *ps = pool_session(pool);
	struct pool_client *w;

	strbuf_reset(&ps->welcome);
	strbuf_add_slice(&ps->welcome, strbuf_slice(welcome));
	paramset_unref(ps->hub->params, &ps->params);
	ps->params = paramset_ref((struct paramset *)params);
	ps->has_welcome = !ps->welcome.failed;
	while (ps->has_welcome && (w = TAILQ_FIRST(&pool->logins)) != NULL) {
		struct client *c = (struct client *)((char *)w - offsetof(struct client, waiter));

		pool_forget(w);
		client_login_welcome(c);
		if (c->state != CLIENT_CLOSED)
			conn_resume(&c->conn);
	}
}

/* ------------------------------------------------------------------ lifetime */

bool pool_session_lifetime_is_over(struct server *s)
{
	struct pool_session *ps = pool_session(s->slot.pool);
	const struct pool_settings *set = &s->slot.pool->settings;
	uint64_t now = clock_us();
	uint64_t gap = set->server_lifetime_us / (set->size > 0 ? set->size : 1);

	if (!pool_lifetime_is_over(&s->slot, now))
		return false;
	/* Servers that were opened together are not all closed together. */
	if (ps->last_lifetime_close_at != 0 && now - ps->last_lifetime_close_at < gap)
		return false;
	ps->last_lifetime_close_at = now;
	return true;
}
