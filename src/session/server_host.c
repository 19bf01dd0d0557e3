#include "session/server_host.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/sys.h"
#include "pool/opening.h"
#include "session/host_session.h"

/* ------------------------------------------------------------------ those who wait */

static unsigned count(const struct pool_queue *queue)
{
	const struct pool *p;
	unsigned n = 0;

	TAILQ_FOREACH(p, queue, blocked_link)
		n++;
	return n;
}

/* Each of those who wait now gets its turn once; who has to wait on is behind them again. */
static void fill_queue(struct pool_queue *queue)
{
	struct pool *p;

	for (unsigned n = count(queue); n > 0 && (p = TAILQ_FIRST(queue)) != NULL; n--) {
		pool_unblock(p);
		pool_session_fill(p);
		pool_session_refuse_if_down(p);
	}
}

static struct breaker_limits limits_of(const struct hub *hub)
{
	const struct settings *s = hub_settings(hub);

	return (struct breaker_limits){.failures = (unsigned)s->breaker_failures,
				       .attempts = (unsigned)s->host_connect_parallel,
				       .most_wait_us = (uint64_t)s->server_login_retry};
}

/* As many as the host can take now. */
static void serve_queue(struct hub *hub, struct host *host)
{
	const struct breaker_limits limits = limits_of(hub);
	struct pool *p;

	for (unsigned n = count(&host->blocked); n > 0 && (p = TAILQ_FIRST(&host->blocked)) != NULL; n--) {
		if (!breaker_allows(&host->breaker, &limits, clock_us()))
			break;
		pool_unblock(p);
		pool_session_fill(p);
	}
	if (TAILQ_EMPTY(&host->blocked))
		return;
	/* Each that waits still has no place under its bounds for a look: asked again at once it would have none either. */
	breaker_skips_look(&host->breaker, clock_us());
	host_awaited(hub, host);
}

static void on_wake(EV_P_ ev_timer *timer, int events)
{
	struct host_session *hs = timer->data;

	(void)loop;
	(void)events;
	serve_queue(hs->hub, hs->host);
}

struct host_session *host_session(struct hub *hub, struct host *host)
{
	struct host_session *hs = host->session;

	if (hs != NULL)
		return hs;
	hs = calloc(1, sizeof(*hs));
	if (hs == NULL)
		return NULL;
	hs->hub = hub;
	hs->host = host;
	cancel_line_init(&hs->cancels);
	ev_init(&hs->wake, on_wake);
	hs->wake.data = hs;
	host->session = hs;
	return hs;
}

void host_session_free(struct host *host)
{
	struct host_session *hs = host->session;

	if (hs == NULL)
		return;
	ev_timer_stop(hs->hub->loop->ev, &hs->wake);
	host_probe_free(&hs->probe);
	capacity_host_free(&hs->capacity);
	free(hs);
	host->session = NULL;
}

bool host_awaited(struct hub *hub, struct host *host)
{
	struct host_session *hs = host_session(hub, host);
	uint64_t now = clock_us(), at = breaker_wakes_at(&host->breaker);

	if (hs == NULL)
		return false;
	if (at == 0)
		return true;
	ev_timer_stop(hub->loop->ev, &hs->wake);
	ev_now_update(hub->loop->ev);
	ev_timer_set(&hs->wake, at > now ? (double)(at - now) / CLOCK_SECOND : 0, 0.);
	ev_timer_start(hub->loop->ev, &hs->wake);
	return true;
}

/* ------------------------------------------------------------------ attempts */

void server_host_take(struct server *s, struct host *host)
{
	s->host = host_again(host);
	s->attempt_at = clock_us();
	s->is_attempt = true;
	s->is_look = breaker_begins(&host->breaker, s->attempt_at);
}

static bool is_listed(const struct database *db, const struct host *host)
{
	for (unsigned i = 0; i < db->nhosts; i++)
		if (db->hosts[i] == host)
			return true;
	return false;
}

/* Pools in another host's queue that may find this one better now; the others keep their order. */
static void serve_listed(struct pool_queue *queue, const struct host *host)
{
	struct pool *p;

	for (unsigned n = count(queue); n > 0 && (p = TAILQ_FIRST(queue)) != NULL; n--) {
		if (is_listed(p->database, host))
			pool_session_fill(p);
		else
			pool_block(p, queue);
	}
}

static void serve_others(const struct host *host)
{
	for (struct host *h = hosts_next(host->table, NULL); h != NULL; h = hosts_next(host->table, h))
		if (h != host)
			serve_listed(&h->blocked, host);
}

static void note_success(struct hub *hub, struct host *host)
{
	bool had_failed = host->breaker.backoff.retry_at != 0;

	if (breaker_succeeds(&host->breaker))
		log_info("host %s is up again", host->key);
	failure_clear(&host->failure);
	serve_queue(hub, host);
	if (had_failed)
		serve_others(host);
}

void server_host_answered(struct server *s)
{
	if (!s->is_attempt)
		return;
	s->is_attempt = false;
	note_success(s->hub, s->host);
}

void server_host_logged_in(struct server *s)
{
	s->is_counted = true;
	s->host->nservers++;
	server_host_answered(s);
}

static void log_failure(const struct host *host, const struct close_error *e)
{
	uint64_t now = clock_us(), at = host->breaker.backoff.retry_at;

	log_warning("host %s is down after %u failures: %s; next try in %.1f s", host->key, host->breaker.nfailures,
		    e->message, at > now ? (double)(at - now) / CLOCK_SECOND : 0.);
}

static void note_failure(struct hub *hub, struct host *host, enum breaker_stage stage, const struct close_error *e,
			 uint64_t began_at)
{
	const struct breaker_limits limits = limits_of(hub);
	uint32_t random;

	sys_random(&random, sizeof(random));
	failure_set(&host->failure, e->sqlstate, e->message, e->detail, e->hint, stage == BREAKER_NOT_YET);
	if (breaker_fails(&host->breaker, &limits, stage, clock_us(), began_at, random) && host->breaker.is_open)
		log_failure(host, e);
	/* Whatever it is when it comes back, it need not be what it was. */
	if (stage == BREAKER_CONNECT && host->role != HOST_UNKNOWN) {
		host->role = HOST_UNKNOWN;
		fill_queue(hosts_unsuited(host->table));
	}
	fill_queue(&host->blocked);
}

bool server_host_failed(struct server *s, enum breaker_stage stage, const struct close_error *e)
{
	if (!s->is_attempt)
		return true;
	s->is_attempt = false;
	if (s->is_look && stage == BREAKER_CONNECT) {
		breaker_looks_on(&s->host->breaker, clock_us());
		host_awaited(s->hub, s->host);
		return false;
	}
	note_failure(s->hub, s->host, stage, e, s->attempt_at);
	return true;
}

void host_found_up(struct hub *hub, struct host *host)
{
	if (host->breaker.backoff.retry_at == 0)
		return;
	breaker_begins(&host->breaker, clock_us());
	note_success(hub, host);
}

void host_found_down(struct hub *hub, struct host *host, enum breaker_stage stage, const struct close_error *e)
{
	breaker_begins(&host->breaker, clock_us());
	note_failure(hub, host, stage, e, clock_us());
}

void server_host_leave(struct server *s)
{
	struct host *host = s->host;

	if (host == NULL)
		return;
	if (s->is_counted)
		host->nservers--;
	s->is_counted = false;
	if (s->is_attempt) {
		s->is_attempt = false;
		breaker_gives_up(&host->breaker);
		serve_queue(s->hub, host);
	}
	host_unref(&s->host);
}

/* ------------------------------------------------------------------ roles */

/* Not of use any more for those who want a host of another kind. */
static void retire_servers(struct hub *hub, const struct host *host)
{
	struct server *s;
	uint32_t i = 0;

	while ((s = slab_next(hub->servers, &i)) != NULL) {
		if (s->phase == SERVER_CLOSED || s->host != host || host_suits(host, s->slot.pool->settings.attrs))
			continue;
		s->slot.close_needed = true;
		if (s->slot.state == POOL_SERVER_IDLE)
			server_close(s, SERVER_END_HOST_ROLE);
		else if (s->client != NULL)
			server_settle(s);
	}
}

void host_set_role(struct hub *hub, struct host *host, enum host_role_kind role, bool is_read_only)
{
	host->role_at = clock_us();
	if (host->role == role && host->is_read_only == is_read_only)
		return;
	host->role = role;
	host->is_read_only = is_read_only;
	log_info("host %s is a %s%s", host->key, host_role_text(host),
		 role == HOST_PRIMARY && is_read_only ? ", read-only" : "");
	retire_servers(hub, host);
	fill_queue(hosts_unsuited(host->table));
	serve_queue(hub, host);
	serve_others(host);
}

/*
 * It may be the role's or the database's own setting, or what a client has set
 * for itself: it says nothing of the host, and only at login something of the
 * next server there.
 */
static void note_read_only(struct server *s, bool is_read_only)
{
	const struct pool *pool = s->slot.pool;

	if (s->login != NULL && s->host_index < pool->database->nhosts)
		pool->database->read_only_until[s->host_index] =
			is_read_only ? clock_us() + opening_recheck_wait(pool) : 0;
	else if (is_read_only && pool->settings.attrs == TARGET_READ_WRITE)
		s->slot.close_needed = true;
}

void server_host_note_parameter(struct server *s, struct slice name, struct slice value)
{
	bool is_on = slice_is(value, "on");

	if (s->host == NULL)
		return;
	if (slice_is(name, "in_hot_standby"))
		host_set_role(s->hub, s->host, is_on ? HOST_STANDBY : HOST_PRIMARY, s->host->is_read_only);
	else if (slice_is(name, "default_transaction_read_only"))
		note_read_only(s, is_on);
}
