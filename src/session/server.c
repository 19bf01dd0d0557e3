#include "session/server.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/sys.h"
#include "proto/out.h"
#include "session/idle.h"
#include "session/prepared.h"
#include "session/server_host.h"
#include "session/slow_log.h"
#include "session/sweep.h"

static struct server *of_deadline(struct deadline *d)
{
	return (struct server *)((char *)d - offsetof(struct server, deadline));
}

__attribute__((format(printf, 3, 0)))
static void log_about(const struct server *s, struct log_line line, const char *format, va_list ap)
{
	const struct pool *pool = s->slot.pool;
	const struct log_subject subject = {.side = LOG_SIDE_SERVER,
					    .object = s,
					    .id = s->id,
					    .database = pool->database->name->text,
					    .user = pool->user->name->text,
					    .peer = s->peer};

	line.subject = &subject;
	log_writev(&line, format, ap);
}

void server_log(const struct server *s, enum log_level level, const char *format, ...)
{
	va_list ap;

	if (!log_wants(level))
		return;
	va_start(ap, format);
	log_about(s, (struct log_line){.level = level}, format, ap);
	va_end(ap);
}

void server_log_line(const struct server *s, struct log_line line, const char *format, ...)
{
	va_list ap;

	if (!log_wants(line.level))
		return;
	va_start(ap, format);
	log_about(s, line, format, ap);
	va_end(ap);
}

/* ------------------------------------------------------------------ what the connection reports */

static void on_connected(struct conn *conn)
{
	server_login_connected((struct server *)conn);
}

static size_t on_bytes(struct conn *conn, const uint8_t *p, size_t n)
{
	struct server *s = (struct server *)conn;
	size_t pos = 0;

	while (pos < n) {
		uint8_t before = s->phase;
		size_t taken;

		if (before == SERVER_LOGIN)
			taken = server_login_bytes(s, p + pos, n - pos);
		else if (before == SERVER_TLS)
			taken = server_login_tls_bytes(s, p + pos, n - pos);
		else if (before == SERVER_TASK)
			taken = server_task_bytes(s, p + pos, n - pos);
		else
			taken = server_query_bytes(s, p + pos, n - pos);
		if (taken == CONN_CLOSED)
			return CONN_CLOSED;
		pos += taken;
		/* What follows the end of one phase belongs to the next. */
		if (s->phase == before)
			break;
	}
	return pos;
}

static void on_drained(struct conn *conn)
{
	struct server *s = (struct server *)conn;

	/* One to whom too much is owed goes on when that has become less. */
	if (s->client != NULL && !owed_is_many(&s->owed))
		conn_resume(&s->client->conn);
	hub_note_quiet(s->hub);
	/* The ReadyForQuery may have overtaken what has only now been sent. */
	if (s->client != NULL)
		server_settle(s);
}

/*
 * The handshake or the login has failed, or the server has gone away instead
 * of an answer. In TLS 1.3 a server that dislikes our certificate says so only
 * when our part of the handshake is done.
 */
static void close_login(struct server *s, const char *what, int error)
{
	struct strbuf why;

	strbuf_init(&why);
	if (s->conn.tls != NULL && error == EPROTO)
		tls_explain(s->conn.tls, -1, &why);
	server_login_broken(s, what, why.n > 0 && !why.failed ? why.p : error ? strerror(error) : NULL);
	strbuf_fini(&why);
}

static void on_secured(struct conn *conn)
{
	server_login_secured((struct server *)conn);
}

/* What the client may make of it depends on how far it had come. */
static const char *detail_of_loss(const struct server *s)
{
	if (s->query_at == 0 && s->xact_at == 0)
		return "The server closed the connection between two queries.";
	if (s->xact_at == s->query_at && !s->has_replied)
		return "The server closed the connection before it had answered anything; the transaction may not have begun.";
	return "The server closed the connection; what became of the transaction is not known.";
}

static void lost(struct server *s)
{
	struct pool *pool = s->slot.pool;
	uint64_t connected_at = s->slot.connected_at;

	/* One that has answered lets in well enough: a client may have made it close, and is to be in nobody else's way. */
	if (!s->has_replied)
		pool_session_lost_young(pool, connected_at);
	if (s->client != NULL)
		server_close_with_client(s, CLOSE_SERVER_CRASHED, detail_of_loss(s));
	else
		server_close(s, SERVER_END_SERVER_CRASHED);
}

static void on_closed(struct conn *conn, int error)
{
	struct server *s = (struct server *)conn;

	if (s->phase == SERVER_CONNECTING)
		server_login_connect_failed(s, error);
	else if (s->phase == SERVER_TLS)
		close_login(s, "TLS handshake failed", error);
	else if (s->phase == SERVER_LOGIN)
		close_login(s, "server closed the connection during login", error);
	else
		lost(s);
}

static void on_buried(struct conn *conn)
{
	struct server *s = (struct server *)conn;

	slab_give(s->hub->servers, s);
}

const struct conn_ops server_conn_ops = {.on_connected = on_connected,
					 .on_secured = on_secured,
					 .on_bytes = on_bytes,
					 .on_drained = on_drained,
					 .on_closed = on_closed,
					 .on_buried = on_buried,
					 /* One that has died is known to be dead before a client is given it. */
					 .priority = 1,
					 .streams_in_pieces = true};

/* ------------------------------------------------------------------ deadlines */

/* Idle for server_idle_timeout; a pool keeps its minimum. */
static void on_idle_too_long(struct deadline *d)
{
	struct server *s = of_deadline(d);
	const struct pool *pool = s->slot.pool;

	if (pool_server_count(pool) > pool->settings.min_size)
		server_close(s, SERVER_END_IDLE_TIMEOUT);
	else
		deadline_arm(&s->deadline, pool_session(pool)->server_idle);
}

static void close_during_switch(struct server *s)
{
	char detail[128];

	snprintf(detail, sizeof(detail),
		 "The server did not take over the session's parameters; server_connect_timeout is %.6gs.",
		 (double)hub_settings(s->hub)->server_connect_timeout / CLOCK_SECOND);
	server_close_with_client(s, CLOSE_SERVER_CRASHED, detail);
}

/* Bounds the login, and statements of our own, which a server that has died in the meantime never answers. */
static void on_connect_too_long(struct deadline *d)
{
	struct server *s = of_deadline(d);

	if (s->slot.state == POOL_SERVER_NEW)
		server_login_timed_out(s);
	else if (s->client != NULL)
		close_during_switch(s);
	else
		server_close(s, s->task == TASK_CHECK ? SERVER_END_CHECK_TIMEOUT : SERVER_END_TASK_TIMEOUT);
}

/* Whether a server whose time is over has to stay until another has come in its place. */
static bool is_replaced_first(struct server *s)
{
	struct pool *pool = s->slot.pool;
	enum pool_hold hold;

	if (pool_server_retire(&s->slot))
		return false;
	pool_session_fill(pool);
	hold = pool_session_hold(pool, clock_us());
	/* Under a bound that is reached there is no place for another but its own. */
	return hold != HOLD_MAX_DB && hold != HOLD_MAX_USER && hold != HOLD_MAX_ALL;
}

/* Whether one that is over age, and nobody has, ends now; else it is looked at again. */
static bool ends_of_age(struct server *s)
{
	if (!pool_session_may_end_of_age(s->slot.pool) || is_replaced_first(s)) {
		deadline_arm(&s->lifetime, pool_session(s->slot.pool)->server_lifetime_again);
		return false;
	}
	return true;
}

static void on_lifetime(struct deadline *d)
{
	struct server *s = (struct server *)((char *)d - offsetof(struct server, lifetime));

	s->is_over_age = true;
	if (s->slot.state == POOL_SERVER_IDLE && ends_of_age(s))
		server_close(s, SERVER_END_LIFETIME);
}

/* Up to a tenth less, so that servers which were opened together do not all end together. */
static void arm_lifetime(struct server *s)
{
	const struct pool_session *ps = pool_session(s->slot.pool);
	uint32_t random;

	sys_random(&random, sizeof(random));
	deadline_arm(&s->lifetime, ps->server_lifetime[random % LIFETIME_SPREAD]);
}

void server_set_up_deadlines(struct pool_session *ps)
{
	struct loop *loop = ps->hub->loop;
	const struct settings *s = hub_settings(ps->hub);
	const struct pool_settings *set = &ps->pool->settings;
	unsigned n = set->size > 0 ? set->size : set->min_size;
	uint64_t lifetime = set->server_lifetime_us, gap = lifetime / (n > 0 ? n : 1);

	deadline_keep(&ps->server_connect,
		      deadline_list_unless_0(loop, (uint64_t)s->server_connect_timeout, on_connect_too_long));
	deadline_keep(&ps->server_idle,
		      deadline_list_unless_0(loop, (uint64_t)s->server_idle_timeout, on_idle_too_long));
	for (unsigned i = 0; i < LIFETIME_SPREAD; i++)
		deadline_keep(&ps->server_lifetime[i],
			      deadline_list_unless_0(loop, lifetime - lifetime / 10 * i / LIFETIME_SPREAD, on_lifetime));
	deadline_keep(&ps->server_lifetime_again, deadline_list_unless_0(loop, gap, on_lifetime));
}

static bool is_armed_for_lifetime(const struct server *s)
{
	const struct pool_session *ps = pool_session(s->slot.pool);

	if (s->lifetime.list == ps->server_lifetime_again)
		return true;
	for (unsigned i = 0; i < LIFETIME_SPREAD; i++)
		if (s->lifetime.list == ps->server_lifetime[i])
			return true;
	return false;
}

void server_renew_deadline(struct server *s)
{
	const struct pool_session *ps = pool_session(s->slot.pool);
	struct deadline_list *list = NULL;

	if (s->slot.state == POOL_SERVER_NEW || s->phase == SERVER_TASK)
		list = ps->server_connect;
	else if (s->slot.state == POOL_SERVER_IDLE)
		list = ps->server_idle;
	deadline_renew(&s->deadline, list);
	if (s->phase >= SERVER_READY && !is_armed_for_lifetime(s))
		arm_lifetime(s);
}

/* ------------------------------------------------------------------ beginning and end */

void server_open(struct pool *pool, unsigned host_index)
{
	struct hub *hub = pool_session(pool)->hub;
	struct server *s = slab_take(hub->servers);

	if (s == NULL) {
		const struct close_error e = {.sqlstate = "53200", .message = "out of memory"};

		pool_session_refused(pool, clock_us(), &e, false);
		return;
	}
	s->hub = hub;
	s->id = ++hub->last_id;
	s->params = paramset_ref(hub->no_params);
	s->host_index = host_index;
	s->slot.connected_at = s->request_at = clock_us();
	owed_init(&s->owed);
	pool_server_join(pool, &s->slot, clock_us());
	pool_session(pool)->counts.created++;
	replication_assign(s);
	deadline_arm(&s->deadline, pool_session(pool)->server_connect);
	server_login_start(s);
}

static void say_goodbye(struct server *s)
{
	static const uint8_t terminate[] = {'X', 0, 0, 0, 4};
	/* In the middle of a client's message this would be taken for the rest of it, and the message be run. */
	bool may_talk = s->phase == SERVER_READY && owed_is_clear(&s->owed);

	if (may_talk && !conn_is_backlogged(&s->conn))
		conn_write(&s->conn, terminate, sizeof(terminate));
}

static void log_closing(const struct server *s, enum server_end why, const char *text)
{
	uint64_t age = (clock_us() - s->slot.connected_at) / CLOCK_SECOND;
	const struct log_field fields[] = {
		{.key = "reason", .text = server_end_symbol(why)}, {.key = "age", .number = (int64_t)age}, {0}};

	server_log_line(s, (struct log_line){.level = LOG_LEVEL_LOG, .kind = LOG_CONNECTION, .fields = fields},
			"closing because: %s (age=%" PRIu64 "s)", text, age);
}

void server_destroy_as(struct server *s, enum server_end why, const char *text)
{
	struct hub *hub = s->hub;
	struct pool *pool = s->slot.pool;

	if (text != NULL && hub_settings(hub)->log_disconnections)
		log_closing(s, why, text);
	say_goodbye(s);
	deadline_disarm(&s->deadline);
	deadline_disarm(&s->lifetime);
	deadline_disarm(&s->query_deadline);
	deadline_disarm(&s->xact_deadline);
	server_login_free(&s->login);
	owed_fini(&s->owed);
	prepared_server_free(s);
	paramset_unref(hub->params, &s->params);
	paramset_unref(hub->params, &s->params_before);
	pool_server_leave(&s->slot, clock_us());
	pool_session(pool)->counts.closed[why]++;
	idle_pool_note(pool);
	s->phase = SERVER_CLOSED;
	server_host_leave(s);
	if (s->conn.is_open)
		conn_close(&s->conn);
	else
		slab_give(hub->servers, s);
}

void server_destroy(struct server *s, enum server_end why)
{
	server_destroy_as(s, why, server_end_text(why));
}

void server_close(struct server *s, enum server_end why)
{
	struct pool *pool = s->slot.pool;
	struct hub *hub = s->hub;

	if (s->phase == SERVER_CLOSED)
		return;
	server_destroy(s, why);
	pool_session_share(pool);
	pool_session_fill(pool);
	hub_note_quiet(hub);
}

void server_close_with_client(struct server *s, enum close_reason why, const char *detail)
{
	struct client *c = s->client;

	/* The rest of a message that was begun will never come: an error in its place would be taken for data. */
	c->is_mid_message = s->phase == SERVER_READY && s->remain > 0;
	s->client = NULL;
	c->server = NULL;
	if (detail == NULL)
		client_close(c, why);
	else
		client_close_with(c, why, NULL, detail);
	server_close(s, server_end_of(why));
}

/* ------------------------------------------------------------------ who has it */

bool server_is_between_transactions(const struct server *s)
{
	return s->phase == SERVER_READY && s->status == 'I' && s->remain == 0 && owed_is_clear(&s->owed) &&
	       !conn_is_backlogged(&s->conn) && (s->client == NULL || s->client->remain == 0);
}

void server_link(struct server *s, struct client *c)
{
	s->client = c;
	c->server = s;
	s->request_at = clock_us();
	slow_log_wait(s);
	client_enter(c, CLIENT_ACTIVE);
	if (deadline_is_armed(&s->deadline))
		deadline_disarm(&s->deadline);
	if (c->params != s->params)
		server_task_start(s, TASK_SWITCH);
}

static bool has_to_shrink(struct pool *pool)
{
	pool->is_shrinking = pool->is_shrinking && pool_is_over_size(pool);
	return pool->is_shrinking;
}

/* For the next: something has happened to the pool, or to the server itself. */
__attribute__((cold))
static enum server_end what_happened(const struct server *s)
{
	if (s->slot.close_needed)
		return s->retired_because != SERVER_END_NONE ? s->retired_because : SERVER_END_SERVER_REPLACED;
	if (s->slot.pool->is_dead)
		return SERVER_END_DATABASE_REMOVED;
	if (s->slot.pool->is_paused && s->hub->pause != PAUSE_SUSPEND)
		return SERVER_END_PAUSED;
	return has_to_shrink(s->slot.pool) ? SERVER_END_LIMIT_LOWERED : SERVER_END_NONE;
}

/* Why nobody may get the server again; NONE: there is nothing against it. */
static inline enum server_end reason_to_close(const struct server *s)
{
	const struct pool *pool = s->slot.pool;
	bool may_have_one = s->slot.close_needed | pool->is_dead | pool->is_paused | pool->is_shrinking;

	return may_have_one ? what_happened(s) : SERVER_END_NONE;
}

/* The same of one that has just done its work for a client, and may have done enough. */
static enum server_end reason_to_go(struct server *s)
{
	const struct pool *pool = s->slot.pool;
	enum server_end why = reason_to_close(s);

	if (why != SERVER_END_NONE)
		return why;
	if ((s->is_over_age || pool->settings.server_lifetime_us == 0) && ends_of_age(s))
		return SERVER_END_LIFETIME;
	if (!pool->is_capped)
		return SERVER_END_NONE;
	if (cap_is_exceeded(pool))
		return SERVER_END_LIMIT_LOWERED;
	return cap_yields(pool, clock_us()) ? SERVER_END_GIVEN_UP : SERVER_END_NONE;
}

static bool needs_reset(const struct server *s)
{
	const struct settings *set = hub_settings(s->hub);

	return set->server_reset_query[0] != '\0' &&
	       (s->slot.pool->settings.mode == POOL_MODE_SESSION || set->server_reset_query_always);
}

/* It would hit the reset query, or the next client's. The server is released once more behind it. */
static void await_cancel(struct server *s)
{
	pool_session(s->slot.pool)->counts.pins[PIN_CANCEL]++;
	pool_server_enter(&s->slot, POOL_SERVER_BEING_CANCELED);
}

/* The program is ending, and a transaction of the client's is over. */
__attribute__((cold))
static void end_for_shutdown(struct client *c)
{
	if (c->hub->shutdown == SHUTDOWN_WAIT_FOR_SERVERS)
		client_close(c, CLOSE_ADMIN_SHUTDOWN);
	else
		drain_look(c);
}

/* The server is a waiting client's now, and what that has sent goes on. */
static void hand_over(struct server *s, struct pool_client *waiter)
{
	struct client *c = client_of_waiter(waiter);

	server_link(s, c);
	if (s->phase == SERVER_READY)
		conn_resume(&c->conn);
}

/* To the client that has waited longest, or it rests. */
static void give(struct server *s)
{
	struct pool_client *waiter = pool_release(&s->slot, clock_us());

	if (waiter != NULL) {
		hand_over(s, waiter);
		return;
	}
	deadline_arm(&s->deadline, pool_session(s->slot.pool)->server_idle);
	pool_session_share(s->slot.pool);
	hub_note_quiet(s->hub);
}

void server_release(struct server *s)
{
	struct client *c = s->client;
	enum server_end why;

	if (c != NULL) {
		s->client = NULL;
		c->server = NULL;
		client_enter(c, CLIENT_IDLE);
		/* It may have been held back while much was owed to it. */
		conn_unpause(&c->conn);
	}
	conn_unpause(&s->conn);
	prepared_release(s, c);
	s->query_at = s->xact_at = 0;
	deadline_disarm(&s->query_deadline);
	deadline_disarm(&s->xact_deadline);
	why = reason_to_go(s);
	if (why != SERVER_END_NONE)
		server_close(s, why);
	else if (s->ncancels > 0)
		await_cancel(s);
	else if (needs_reset(s))
		server_task_start(s, TASK_RESET);
	else
		give(s);
	if (c != NULL && c->hub->shutdown != SHUTDOWN_NOT)
		end_for_shutdown(c);
}

void server_offer(struct server *s)
{
	enum server_end why = reason_to_close(s);

	/* The configuration may have changed while it logged in, was checked, reset or waited for a cancel request. */
	if (why != SERVER_END_NONE)
		server_close(s, why);
	else if (s->ncancels > 0)
		pool_server_enter(&s->slot, POOL_SERVER_BEING_CANCELED);
	else
		give(s);
}

void server_serve_waiting(struct pool *pool)
{
	struct pool_client *waiter;
	struct pool_server *slot;

	while ((waiter = pool_serve(pool, clock_us(), &slot)) != NULL)
		hand_over(server_of_slot(slot), waiter);
}

/* In session mode the client would find its session's state gone: it is sent away too. */
static bool ends_session(const struct server *s)
{
	return s->slot.close_needed && hub_settings(s->hub)->server_fast_close;
}

bool server_settle(struct server *s)
{
	bool is_session = s->slot.pool->settings.mode == POOL_MODE_SESSION;

	/* Nobody else gets the server of a replication connection. */
	if (s->replication != REPLICATION_NONE || !server_is_between_transactions(s))
		return false;
	if (is_session && s->client != NULL && !ends_session(s))
		drain_look(s->client);
	else if (is_session && s->client != NULL)
		server_close_with_client(s, CLOSE_SERVER_REPLACED, server_end_text(s->retired_because));
	else if (!is_session || ends_session(s))
		server_release(s);
	return true;
}

/* The one that was to go when another had come; if a client has it, it goes when that is done. */
static void replace_retiring(struct pool *pool)
{
	struct pool_server *slot;

	if (pool->nretiring == 0)
		return;
	TAILQ_FOREACH(slot, &pool->idle, link) {
		if (!slot->is_retiring || !pool_server_retire(slot))
			continue;
		server_close(server_of_slot(slot), SERVER_END_LIFETIME);
		return;
	}
}

void server_ready(struct server *s)
{
	struct pool *pool = s->slot.pool;

	s->phase = SERVER_READY;
	deadline_disarm(&s->deadline);
	arm_lifetime(s);
	pool_session_succeeded(pool, s->slot.connected_at);
	server_offer(s);
	replace_retiring(pool);
	pool_session_fill(pool);
}
