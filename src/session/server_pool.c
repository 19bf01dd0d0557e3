/*
 * The session layer's part of a pool: opening what it wants, remembering why
 * servers cannot be had, greeting those who wait for the first one.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/sys.h"
#include "pool/opening.h"
#include "session/secret_renewal.h"
#include "session/server.h"
#include "session/server_host.h"

/* A server that ends within this time of its login was not worth opening, and the next may not be either. */
#define YOUNG_US CLOCK_SECOND

/* After this time without such a loss the one before is forgotten. */
#define YOUNG_LOSS_KEPT_US (60 * CLOCK_SECOND)

/* For so long after a client was sent away because the host is down, it is looked whether it is back. */
#define WANTED_FOR_US (15 * CLOCK_SECOND)

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
	strbuf_init(&ps->greeting);
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

static void drop_deadlines(struct pool_session *ps)
{
	deadline_disarm(&ps->idle_deadline);
	deadline_keep(&ps->pool_idle, NULL);
	deadline_keep(&ps->wait_notify, NULL);
	deadline_keep(&ps->query_wait, NULL);
	deadline_keep(&ps->login_wait, NULL);
	deadline_keep(&ps->server_connect, NULL);
	deadline_keep(&ps->server_idle, NULL);
	deadline_keep(&ps->server_lifetime_again, NULL);
	for (unsigned i = 0; i < LIFETIME_SPREAD; i++)
		deadline_keep(&ps->server_lifetime[i], NULL);
}

void pool_session_free(struct pool *pool)
{
	struct pool_session *ps = pool->session;

	if (ps == NULL)
		return;
	ev_timer_stop(ps->hub->loop->ev, &ps->wake);
	drop_deadlines(ps);
	secret_renewal_free(&ps->renewal);
	pool_secret_forget(&ps->secret);
	failure_clear(&ps->failure);
	strbuf_fini(&ps->welcome);
	pool_session_forget_greeting(ps);
	strbuf_fini(&ps->greeting);
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

/* It waits in the queue of what it waits for, and is looked at again when the time comes. */
static void wait_for(struct pool *pool, const struct opening *o)
{
	struct pool_session *ps = pool_session(pool);

	set_wake(ps, o->recheck_at);
	if (o->cap != NULL) {
		cap_block(o->cap, pool, o->cap_kind, clock_us());
		set_wake(ps, o->again_at);
	} else if (o->host != NULL) {
		pool_block(pool, &o->host->blocked);
		if (!host_awaited(ps->hub, o->host))
			set_wake(ps, clock_us() + CLOCK_SECOND);
	} else if (o->hold == HOLD_NO_HOST) {
		pool_block(pool, hosts_unsuited(registry_hosts(ps->hub->registry)));
	} else {
		set_wake(ps, o->again_at);
	}
}

/* Its pool may be below its minimum then: it waits behind all who have clients waiting. */
static void evict(const struct opening *o)
{
	struct pool *pool = o->victim->pool;

	server_destroy(server_of_slot(o->victim), SERVER_END_EVICTED);
	if (pool->blocked_in == NULL)
		pool_block(pool, &o->victims_cap->blocked);
}

static bool find_opening(struct pool *pool, struct opening *o)
{
	return opening_find(pool, clock_us(), o) ||
	       (o->hold == HOLD_POOL_SIZE && replication_make_room(pool) && opening_find(pool, clock_us(), o));
}

void pool_session_fill(struct pool *pool)
{
	struct pool_session *ps = pool_session(pool);
	struct opening o;

	pool_unblock(pool);
	if (ps->hub->shutdown == SHUTDOWN_WAIT_FOR_SERVERS)
		return;
	while (find_opening(pool, &o)) {
		if (o.victim != NULL) {
			evict(&o);
			continue;
		}
		if (o.is_reserve)
			log_info("taking connection from reserve_pool: %s/%s", pool->database->name->text,
				 pool->user->name->text);
		server_open(pool, o.host_index);
	}
	/* What failed on the spot has had the pool looked at already. */
	if (pool->blocked_in == NULL)
		wait_for(pool, &o);
	if (o.hold == HOLD_BREAKER || o.hold == HOLD_NO_HOST)
		pool_session_refuse_if_down(pool);
}

/* Those who wait under one bound, as long as there is room. */
static void share(struct cap *cap)
{
	unsigned n = 0;
	struct pool *p;

	TAILQ_FOREACH(p, &cap->blocked, blocked_link)
		n++;
	while (n-- > 0 && (p = cap_next(cap, clock_us())) != NULL) {
		pool_session_fill(p);
		if (p->blocked_in == &cap->blocked)
			break;
	}
}

void pool_session_share_bounds(struct pool *pool)
{
	for (size_t i = 0; i < CAP_KINDS; i++)
		if (!TAILQ_EMPTY(&pool->seats[i].cap->blocked))
			share(pool->seats[i].cap);
}

enum pool_hold pool_session_hold(const struct pool *pool, uint64_t now)
{
	struct opening o;

	return opening_find(pool, now, &o) ? HOLD_LOGIN : o.hold;
}

/* ------------------------------------------------------------------ failures */

static bool is_refused(const struct pool *pool)
{
	return pool_session(pool)->is_failing && clock_us() < pool->backoff.retry_at;
}

bool pool_session_looks_down(const struct pool *pool)
{
	struct opening o;

	/* One that is on its way, a probe it may be, will tell. */
	if (pool->is_paused || pool_server_count(pool) > 0)
		return false;
	if (is_refused(pool))
		return true;
	return pool->settings.down_action == SERVER_DOWN_FAIL && opening_is_down(pool, clock_us(), &o);
}

/* The hosts of a database and what each of them is, for one none of which will do. */
static void describe_hosts(const struct pool *pool, struct strbuf *text)
{
	strbuf_addf(text, "target_session_attrs is %s;",
		    setting_choice_word(SETTING_target_session_attrs, (int)pool->settings.attrs));
	for (unsigned i = 0; i < pool->database->nhosts; i++) {
		const struct host *host = pool->database->hosts[i];

		strbuf_addf(text, "%s %s is %s, %s%s", i > 0 ? "," : "", host->key, host_state_text(host),
			    host_role_text(host), host->is_read_only ? " and read-only" : "");
	}
	strbuf_add_char(text, '.');
}

static double seconds_until(uint64_t at)
{
	uint64_t now = clock_us();

	return at > now ? (double)(at - now) / CLOCK_SECOND : 0.;
}

/* Why, and when it will be tried again: for a failure that is not the server's own word. */
static void refuse_with(struct client *c, const struct failure *f, const char *otherwise, const char *detail,
			uint64_t retry_at)
{
	struct strbuf text;

	strbuf_init(&text);
	if (detail != NULL)
		strbuf_addf(&text, "%s ", detail);
	strbuf_addf(&text, "The next attempt is in %.1f s; server_login_retry is %.6gs.", seconds_until(retry_at),
		    (double)hub_settings(c->hub)->server_login_retry / CLOCK_SECOND);
	client_close_hint(c, CLOSE_SERVER_DOWN, f == NULL || f->message == NULL ? otherwise : f->message->text,
			  text.failed ? NULL : text.p, f == NULL ? NULL : failure_text(f->hint));
	strbuf_fini(&text);
}

/* The server's own words, as if it had been asked directly. */
static void pass_on(struct client *c, const struct failure *f)
{
	const struct close_error e = {.sqlstate = failure_text(f->sqlstate),
				      .message = failure_text(f->message),
				      .detail = failure_text(f->detail),
				      .hint = failure_text(f->hint)};

	client_close_error(c, CLOSE_SERVER_REFUSED, &e);
}

static void refuse_for_hosts(struct client *c)
{
	struct pool *pool = client_pool(c);
	struct strbuf hosts;
	struct opening o;

	opening_is_down(pool, clock_us(), &o);
	pool->wanted_until = clock_us() + WANTED_FOR_US;
	strbuf_init(&hosts);
	if (o.host == NULL)
		describe_hosts(pool, &hosts);
	if (o.host != NULL)
		refuse_with(c, &o.host->failure, "host is down", failure_text(o.host->failure.detail),
			    o.host->breaker.backoff.retry_at);
	else
		refuse_with(c, NULL, "no host is what target_session_attrs asks for", hosts.failed ? NULL : hosts.p, 0);
	strbuf_fini(&hosts);
	pool_session_fill(pool);
}

void pool_session_refuse(struct client *c)
{
	const struct pool *pool = client_pool(c);
	const struct failure *f = &pool_session(pool)->failure;

	if (!is_refused(pool))
		refuse_for_hosts(c);
	else if (f->is_servers)
		pass_on(c, f);
	else
		refuse_with(c, f, "unknown", failure_text(f->detail), pool->backoff.retry_at);
}

static void refuse_all(struct pool_clients *list)
{
	struct pool_client *w;

	while ((w = TAILQ_FIRST(list)) != NULL)
		pool_session_refuse((struct client *)((char *)w - offsetof(struct client, waiter)));
}

void pool_session_refuse_if_down(struct pool *pool)
{
	struct pool_session *ps = pool_session(pool);

	/* Each refusal has the pool looked at again. */
	if (ps->is_refusing || pool->nwaiting + pool->nlogins == 0 || !pool_session_is_down(pool))
		return;
	ps->is_refusing = true;
	refuse_all(&pool->waiting);
	refuse_all(&pool->logins);
	ps->is_refusing = false;
}

static void back_off(struct pool *pool, uint64_t began_at)
{
	uint32_t random;

	sys_random(&random, sizeof(random));
	backoff_failed(&pool->backoff, clock_us(), began_at, pool->settings.most_retry_wait_us, random);
}

/* Not let in, or no such database: asking again at once would only cost the server. */
static bool is_for_good(const struct close_error *e)
{
	return strncmp(e->sqlstate, "28", 2) == 0 || strncmp(e->sqlstate, "3D", 2) == 0;
}

void pool_session_refused(struct pool *pool, uint64_t began_at, const struct close_error *e, bool is_servers)
{
	struct pool_session *ps = pool_session(pool);

	failure_set(&ps->failure, e->sqlstate, e->message, e->detail, e->hint, is_servers);
	ps->is_failing = true;
	if (is_for_good(e))
		backoff_refused(&pool->backoff, clock_us(), pool->settings.most_retry_wait_us);
	else
		back_off(pool, began_at);
	pool_session_refuse_if_down(pool);
	pool_session_fill(pool);
}

void pool_session_lost_young(struct pool *pool, uint64_t connected_at)
{
	struct pool_session *ps = pool_session(pool);
	uint64_t now = clock_us();

	if (now - connected_at >= YOUNG_US)
		return;
	if (ps->dies_young && now - pool->backoff.failed_at > YOUNG_LOSS_KEPT_US)
		backoff_reset(&pool->backoff);
	ps->dies_young = true;
	back_off(pool, connected_at);
}

void pool_session_try_again(struct pool *pool)
{
	struct pool_session *ps = pool_session(pool);

	ps->is_failing = false;
	ps->dies_young = false;
	backoff_reset(&pool->backoff);
	failure_clear(&ps->failure);
}

void pool_session_succeeded(struct pool *pool, uint64_t began_at)
{
	struct pool_session *ps = pool_session(pool);

	pool_was_let_in(pool, began_at, clock_us());
	ps->is_renewed = false;
	pool->is_known = true;
	/* That it lets us in is no news then. */
	if (ps->dies_young)
		ps->is_failing = false;
	else
		pool_session_try_again(pool);
}

/* ------------------------------------------------------------------ welcome */

/* Those who want to replicate are greeted by servers of their own. */
static struct pool_client *next_to_greet(const struct pool *pool)
{
	struct pool_client *w;

	TAILQ_FOREACH(w, &pool->logins, link)
		if (((struct client *)((char *)w - offsetof(struct client, waiter)))->replication == REPLICATION_NONE)
			return w;
	return NULL;
}

void pool_session_forget_greeting(struct pool_session *ps)
{
	strbuf_reset(&ps->greeting);
	paramset_unref(ps->hub->params, &ps->greeted);
}

void pool_session_set_welcome(struct pool *pool, struct strbuf *welcome, const struct paramset *params)
{
	struct pool_session *ps = pool_session(pool);
	struct pool_client *w;

	pool_session_forget_greeting(ps);
	strbuf_fini(&ps->welcome);
	ps->welcome = *welcome;
	strbuf_init(welcome);
	paramset_unref(ps->hub->params, &ps->params);
	ps->params = paramset_ref((struct paramset *)params);
	ps->has_welcome = true;
	while ((w = next_to_greet(pool)) != NULL) {
		struct client *c = (struct client *)((char *)w - offsetof(struct client, waiter));

		pool_forget(w);
		client_login_welcome(c);
		if (c->state != CLIENT_CLOSED)
			conn_resume(&c->conn);
	}
}

/* ------------------------------------------------------------------ lifetime */

bool pool_session_may_end_of_age(struct pool *pool)
{
	struct pool_session *ps = pool_session(pool);
	uint64_t now = clock_us();
	unsigned n = pool->settings.size > 0 ? pool->settings.size : pool_server_count(pool);
	uint64_t gap = pool->settings.server_lifetime_us / (n > 0 ? n : 1);

	if (ps->last_lifetime_close_at != 0 && now - ps->last_lifetime_close_at < gap)
		return false;
	ps->last_lifetime_close_at = now;
	return true;
}
