#include "session/client.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "proto/out.h"
#include "session/cancel_request.h"
#include "session/client_login.h"
#include "session/idle.h"
#include "session/prepared.h"
#include "session/server.h"
#include "session/timeouts.h"

static void on_deadline(struct deadline *d)
{
	struct client *c = (struct client *)((char *)d - offsetof(struct client, deadline));

	if (c->state == CLIENT_WAITING)
		client_close(c, CLOSE_QUERY_WAIT_TIMEOUT);
	else if (c->state == CLIENT_AWAIT_WELCOME)
		client_close(c, CLOSE_LOGIN_TIMEOUT_DOWN);
	else
		client_close(c, CLOSE_LOGIN_TIMEOUT);
}

static void on_login_wait(struct deadline *d)
{
	client_close((struct client *)((char *)d - offsetof(struct client, deadline)), CLOSE_QUERY_WAIT_TIMEOUT);
}

/* It may be the user's own doing (a forgotten transaction elsewhere), so it is good to know. */
static void on_wait_notify(struct deadline *d)
{
	struct client *c = (struct client *)((char *)d - offsetof(struct client, deadline));
	const struct out_error notice = {
		.severity = "NOTICE",
		.sqlstate = "00000",
		.message = "No server connection available in postgres backend, client being queued",
	};
	struct strbuf out;

	deadline_arm(d, pool_session(client_pool(c))->query_wait);
	strbuf_init(&out);
	out_error_response(&out, 'N', &notice);
	if (!out.failed)
		conn_write(&c->conn, out.p, out.n);
	strbuf_fini(&out);
}

void client_set_up_deadlines(struct pool_session *ps)
{
	uint64_t wait = ps->pool->settings.query_wait_timeout_us;
	uint64_t notify = (uint64_t)hub_settings(ps->hub)->query_wait_notify;

	if (wait != 0 && notify >= wait)
		notify = 0;
	deadline_keep(&ps->wait_notify, deadline_list_unless_0(ps->hub->loop, notify, on_wait_notify));
	deadline_keep(&ps->query_wait,
		      deadline_list_unless_0(ps->hub->loop, wait == 0 ? 0 : wait - notify, on_deadline));
	deadline_keep(&ps->login_wait, deadline_list_unless_0(ps->hub->loop, wait, on_login_wait));
}

void client_bound_login_wait(struct client *c)
{
	const struct pool_session *ps = pool_session(client_pool(c));
	uint64_t end = clock_us() + ps->pool->settings.query_wait_timeout_us;

	if (ps->login_wait != NULL && (!deadline_is_armed(&c->deadline) || end < c->deadline.at_us))
		deadline_arm(&c->deadline, ps->login_wait);
}

static struct deadline_list *wait_list(const struct client *c)
{
	const struct pool_session *ps = pool_session(client_pool(c));

	return ps->wait_notify != NULL ? ps->wait_notify : ps->query_wait;
}

static struct deadline_list *deadline_of_state(const struct client *c)
{
	switch (c->state) {
	case CLIENT_STARTUP:
	case CLIENT_AUTH:
	case CLIENT_AUTH_WAIT:
	case CLIENT_AWAIT_WELCOME:
		return deadline_list_unless_0(c->hub->loop, (uint64_t)hub_settings(c->hub)->client_login_timeout, on_deadline);
	case CLIENT_WAITING:
		return wait_list(c);
	case CLIENT_IDLE:
		return timeouts_of(c->user)->client_idle;
	default:
		return NULL;
	}
}

/* Most clients have no deadline, in the state before or in this one. */
static inline void arm(struct client *c, struct deadline_list *list)
{
	if (list != NULL || deadline_is_armed(&c->deadline))
		deadline_arm(&c->deadline, list);
}

void client_enter(struct client *c, enum client_state state)
{
	c->state = (uint8_t)state;
	/* One span covers the whole login. */
	if (state == CLIENT_AUTH || state == CLIENT_AUTH_WAIT || state == CLIENT_AWAIT_WELCOME) {
		if (state == CLIENT_AUTH)
			admission_ask(c);
		else
			admission_leave(c);
		return;
	}
	arm(c, deadline_of_state(c));
}

void client_renew_deadline(struct client *c)
{
	if (c->is_leaving)
		return;
	/* Whoever has been told that it waits is not told again. */
	if (c->state == CLIENT_WAITING && c->deadline.list == pool_session(client_pool(c))->query_wait)
		return;
	if (c->state == CLIENT_AWAIT_WELCOME && c->deadline.list == pool_session(client_pool(c))->login_wait)
		return;
	deadline_renew(&c->deadline, deadline_of_state(c));
}

static size_t bytes_for_state(struct client *c, const uint8_t *p, size_t n)
{
	switch (c->state) {
	case CLIENT_STARTUP:
	case CLIENT_AUTH:
		return client_login_bytes(c, p, n);
	case CLIENT_IDLE:
	case CLIENT_ACTIVE:
		return client_query_bytes(c, p, n);
	case CLIENT_CONSOLE:
	case CLIENT_CONSOLE_WAIT:
		return client_console_bytes(c, p, n);
	case CLIENT_CANCEL:
		return n;
	default:
		/*
		 * It has said what it wants and waits; if it says more, that
		 * stays in the kernel's buffer, not in our memory.
		 */
		hang_ups_hold_back(c);
		return 0;
	}
}

static size_t on_bytes(struct conn *conn, const uint8_t *p, size_t n)
{
	struct client *c = (struct client *)conn;
	size_t pos = 0, taken;

	/* What follows the end of the login, or of one console command, is for the next. */
	do {
		taken = bytes_for_state(c, p + pos, n - pos);
		if (taken == CONN_CLOSED)
			return CONN_CLOSED;
		pos += taken;
	} while (taken > 0 && pos < n && !client_is_waiting(c));
	return pos;
}

static void on_drained(struct conn *conn)
{
	struct client *c = (struct client *)conn;

	drain_look(c);
	if (c->server != NULL)
		conn_resume(&c->server->conn);
	else if (c->state == CLIENT_CONSOLE && c->hub->console->is_telling(c))
		c->hub->console->on_drained(c);
	else if (c->state == CLIENT_IDLE || c->state == CLIENT_CONSOLE)
		conn_resume(conn);
	hub_note_quiet(c->hub);
}

/* Whatever OpenSSL has to say of the end of a connection; nothing when the peer has just closed. */
static void close_for_tls(struct client *c)
{
	struct strbuf text;

	strbuf_init(&text);
	if (tls_explain(c->conn.tls, -1, &text) && !text.failed)
		client_close_with(c, CLOSE_TLS_FAILED, text.p, NULL);
	else
		client_close(c, CLOSE_CLIENT_EOF);
	strbuf_fini(&text);
}

/*
 * A client that sends a query and Terminate, and waits for nothing, still
 * wants the query run: PostgreSQL would. It comes to that in its turn.
 */
static bool has_left_a_query(const struct client *c)
{
	bool is_served_later = c->state == CLIENT_WAITING || (c->server != NULL && prepared_has_client_wait(c->server));

	return is_served_later && !c->conn.is_broken && client_has_taken_leave(c);
}

static void on_closed(struct conn *conn, int error)
{
	struct client *c = (struct client *)conn;

	if (error == 0 && has_left_a_query(c)) {
		conn_pause(conn);
		return;
	}
	if (error == EPROTO && conn->tls != NULL)
		close_for_tls(c);
	else
		client_close(c, CLOSE_CLIENT_EOF);
}

static void on_client_hello(struct conn *conn)
{
	struct client *c = (struct client *)conn;

	c->is_direct_tls = true;
	client_start_tls(c, SLICE_LIT(""));
}

static void on_secured(struct conn *conn)
{
	client_secured((struct client *)conn);
}

static void on_buried(struct conn *conn)
{
	struct client *c = (struct client *)conn;

	slab_give(c->hub->clients, c);
}

static const struct conn_ops ops = {
	.on_secured = on_secured,
	.on_client_hello = on_client_hello,
	.on_bytes = on_bytes,
	.on_drained = on_drained,
	.on_closed = on_closed,
	.on_buried = on_buried,
};

void client_accept(struct hub *hub, const struct accepted *accepted)
{
	struct client *c = slab_take(hub->clients);

	if (c == NULL) {
		close(accepted->fd);
		return;
	}
	c->hub = hub;
	c->id = ++hub->last_id;
	c->connected_at = c->request_at = clock_us();
	c->is_unix = accepted->is_unix;
	c->params = paramset_ref(hub->no_params);
	c->peer = accepted->peer;
	c->own_end = addrbook_note(&hub->own_ends, &accepted->own_end);
	if (!c->is_unix)
		tcp_apply_accepted(accepted, &hub->tcp);
	hub->nlogins++;
	conn_open(&c->conn, hub->loop, accepted->fd, &ops);
	if (hub->tls.clients != NULL)
		conn_sniff(&c->conn);
	conn_read_soon(&c->conn);
	client_enter(c, CLIENT_STARTUP);
	client_log_line(c, (struct log_line){.level = LOG_LEVEL_DEBUG, .kind = LOG_CONNECTION}, "got connection");
	admission_enter(c);
}

/* Leaves the counts that it is in. */
static void uncount(struct client *c)
{
	struct pool *pool = client_pool(c);

	if (c->login != NULL || c->state == CLIENT_STARTUP || c->state == CLIENT_CANCEL)
		c->hub->nlogins--;
	else if (pool != NULL)
		pool->nclients--;
	if (c->database != NULL && --c->database->nclients == 0)
		timeouts_database_unused(c->hub, c->database);
	if (client_is_on_console(c))
		c->user->nconsoles--;
	if (c->user != NULL && --c->user->nclients == 0)
		idle_user_note(c->user);
	if (pool != NULL)
		idle_pool_note(pool);
	if (c->is_counted)
		c->hub->nclients--;
}

static enum leaving leaving_of(const struct client *c, enum close_reason why)
{
	if (why == CLOSE_POOLER_SHUTDOWN)
		return LEAVING_WITH_POOLER;
	if (c->remain > 0)
		return LEAVING_MID_MESSAGE;
	return why == CLOSE_CLIENT_QUIT ? LEAVING_ORDERLY : LEAVING_VANISHED;
}

/* What becomes of the server of a client that has gone. */
static void dispose_of_server(struct server *s, enum leaving how)
{
	s->client = NULL;
	if (s->replication != REPLICATION_NONE) {
		server_close(s, SERVER_END_REPLICATION_OVER);
		return;
	}
	if (s->phase == SERVER_TASK)
		return; /* goes to the next client when the task is done */
	if (how != LEAVING_MID_MESSAGE && server_is_between_transactions(s))
		server_release(s);
	else
		server_abandon(s, how);
}

static void destroy(struct client *c, enum close_reason why)
{
	struct hub *hub = c->hub;
	struct server *s = c->server;
	bool was_on_console = client_is_on_console(c);

	if (c->state == CLIENT_CANCEL)
		cancel_request_leave(c);
	admission_leave(c);
	pool_forget(&c->waiter);
	uncount(c);
	deadline_disarm(&c->deadline);
	client_login_free(&c->login);
	prepared_client_free(c);
	paramset_unref(hub->params, &c->params);
	c->server = NULL;
	c->state = CLIENT_CLOSED;
	conn_close(&c->conn);
	if (s != NULL)
		dispose_of_server(s, leaving_of(c, why));
	if (was_on_console)
		hub->console->on_gone(c);
	hub_note_quiet(hub);
}

/* An error would be taken for data when the client is in the middle of a message from the server. */
static bool can_be_told(const struct client *c)
{
	return !c->is_mid_message && (c->server == NULL || c->server->remain == 0);
}

static const char *sqlstate_for(const struct client *c, const char *sqlstate, bool is_servers)
{
	if (!is_servers && hub_settings(c->hub)->sqlstate_compat == SQLSTATE_COMPAT_PGBOUNCER)
		return "08P01";
	return sqlstate;
}

static void tell(struct client *c, const struct out_error *e, const char *reason)
{
	const struct log_field fields[] = {
		{.key = "reason", .text = reason}, {.key = "sqlstate", .text = e->sqlstate}, {0}};
	struct strbuf out;

	if (c->login != NULL)
		client_login_send(c);
	strbuf_init(&out);
	out_error_response(&out, 'E', e);
	if (!out.failed)
		conn_write(&c->conn, out.p, out.n);
	strbuf_fini(&out);
	if (hub_settings(c->hub)->log_pooler_errors)
		client_log_line(c,
				(struct log_line){.level = LOG_LEVEL_WARNING, .kind = LOG_CONNECTION, .fields = fields},
				"pooler error: %s", e->message);
}

static void log_closing(const struct client *c, enum close_reason why, const char *text, const char *sqlstate)
{
	enum log_level level = close_reasons[why].level;
	uint64_t age = (clock_us() - c->connected_at) / CLOCK_SECOND;
	const struct log_field fields[] = {{.key = "reason", .text = close_reasons[why].symbol},
					   {.key = "sqlstate", .text = sqlstate},
					   {.key = "age", .number = (int64_t)age},
					   {0}};

	/* A probe that connects and leaves is no event. */
	if (c->state == CLIENT_STARTUP && why == CLOSE_CLIENT_EOF)
		level = LOG_LEVEL_DEBUG;
	if (hub_settings(c->hub)->log_disconnections || level == LOG_LEVEL_ERROR)
		client_log_line(c,
				(struct log_line){.level = level > LOG_LEVEL_LOG ? level : LOG_LEVEL_LOG,
						  .kind = LOG_CONNECTION,
						  .fields = fields},
				"closing because: %s (age=%" PRIu64 "s)", text, age);
}

/* What it was told, and what it was closed for without a word though something was wrong. */
static void note_error(struct client *c, enum close_reason why, const char *text, const char *sqlstate)
{
	const struct error_seen seen = {.reason = close_reasons[why].symbol,
					.sqlstate = sqlstate,
					.database = client_database_name(c),
					.user = client_user_name(c),
					.message = text};

	if (close_reasons[why].is_told || close_reasons[why].level <= LOG_LEVEL_WARNING)
		errors_note(&c->hub->errors, &seen, clock_us());
}

/* Of a login that got no further: the one it asked for, if somebody has made it before. */
static struct pool *pool_asked_for(const struct client *c)
{
	const struct client_login *l = c->login;

	if (client_pool(c) != NULL || l->database == NULL || l->user == NULL)
		return client_pool(c);
	return registry_find_pool(c->hub->registry, atom_slice(l->database), atom_slice(l->user));
}

static void count_close(const struct client *c, enum close_reason why)
{
	const struct pool *pool = c->login != NULL ? pool_asked_for(c) : client_pool(c);

	c->hub->closes[why]++;
	if (pool == NULL)
		return;
	if (c->login == NULL)
		pool_session(pool)->counts.client_closes[why]++;
	else if (close_reasons[why].is_told)
		pool_session(pool)->counts.login_failures[why]++;
}

static void close_with_text(struct client *c, enum close_reason why, const char *text, const struct close_error *e,
			    bool is_servers)
{
	if (c->state == CLIENT_CLOSED)
		return;
	if (close_reasons[why].is_told && can_be_told(c)) {
		const struct out_error error = {.severity = "FATAL",
						.sqlstate = sqlstate_for(c, e->sqlstate, is_servers),
						.message = text,
						.detail = e->detail,
						.hint = e->hint};
		tell(c, &error, close_reasons[why].symbol);
	}
	count_close(c, why);
	note_error(c, why, text, e->sqlstate);
	log_closing(c, why, text, e->sqlstate);
	destroy(c, why);
}

/* The reason's text with the subject in the place of %s, which is the hole. */
static void compose(struct strbuf *text, const char *pattern, const char *hole, const char *subject)
{
	strbuf_add(text, pattern, (size_t)(hole - pattern));
	strbuf_add_str(text, subject == NULL ? "" : subject);
	strbuf_add_str(text, hole + 2);
}

void client_close_hint(struct client *c, enum close_reason why, const char *subject, const char *detail,
		       const char *hint)
{
	const struct close_reason_info *info = &close_reasons[why];
	const struct close_error e = {
		.sqlstate = info->sqlstate, .detail = detail, .hint = hint == NULL ? info->hint : hint};
	const char *hole = strstr(info->text, "%s");
	struct strbuf text;

	if (hole == NULL) {
		close_with_text(c, why, info->text, &e, false);
		return;
	}
	strbuf_init(&text);
	compose(&text, info->text, hole, subject);
	close_with_text(c, why, text.failed ? info->text : text.p, &e, false);
	strbuf_fini(&text);
}

void client_close_with(struct client *c, enum close_reason why, const char *subject, const char *detail)
{
	client_close_hint(c, why, subject, detail, NULL);
}

/* "query_timeout is 5s." */
static const char *span_of(const struct client *c, enum setting_id id, char *room, size_t n)
{
	int64_t span = registry_user_setting(c->hub->registry, id, c->user);

	snprintf(room, n, "%s is %.6gs.", setting_info(id)->name, (double)span / CLOCK_SECOND);
	return room;
}

/* "held by pool_size: all server connections of the pool are in use" */
static const char *held_by(const struct client *c, char *room, size_t n)
{
	enum pool_hold hold = pool_session_hold(client_pool(c), clock_us());

	snprintf(room, n, "held by %s: %s", pool_hold_word(hold), pool_hold_text(hold));
	return room;
}

/* What held the client, and how the pool is. */
static const char *wait_detail(const struct client *c, char *room, size_t n)
{
	const struct pool *pool = client_pool(c);
	char held[160];

	snprintf(room, n,
		 "query_wait_timeout is %.6gs; %s. The pool has %u server connections (pool_size is %u) and %u waiting clients.",
		 (double)pool->settings.query_wait_timeout_us / CLOCK_SECOND, held_by(c, held, sizeof(held)),
		 pool_server_count(pool), pool->settings.size, pool->nwaiting);
	return room;
}

static const char *limit_detail(const struct client *c, enum setting_id id, const struct conf_database *db,
				const struct conf_user *user, char *room, size_t n)
{
	snprintf(room, n, "%s is %" PRId64 ", and as many clients are connected.", setting_info(id)->name,
		 conf_effective(registry_conf(c->hub->registry), id, db, user));
	return room;
}

/* What the setting at fault is set to, for those reasons that a setting is at fault of. */
static const char *detail_of(const struct client *c, enum close_reason why, char *room, size_t n)
{
	const struct settings *s = hub_settings(c->hub);
	char held[160];

	switch (why) {
	case CLOSE_MAX_CLIENT_CONN:
		snprintf(room, n, "max_client_conn is %" PRId64 ", and as many clients are connected.", s->max_client_conn);
		return room;
	case CLOSE_LOGIN_SHED:
		snprintf(room, n, "%u connections had not logged in, this one was the oldest.", c->hub->admission.n);
		return room;
	case CLOSE_NO_DESCRIPTORS:
		snprintf(room, n, "The pooler may have %zu files open.", c->hub->admission.max_descriptors);
		return room;
	case CLOSE_MAX_MEMORY:
	case CLOSE_MEMORY_HELD:
		snprintf(room, n, "max_memory is %" PRId64 " bytes, and %zu are in use.", s->max_memory,
			 c->hub->memory.used);
		return room;
	case CLOSE_LOGIN_TIMEOUT:
		snprintf(room, n, "client_login_timeout is %.6gs.", (double)s->client_login_timeout / CLOCK_SECOND);
		return room;
	case CLOSE_LOGIN_TIMEOUT_DOWN:
		snprintf(room, n, "client_login_timeout is %.6gs; %s.", (double)s->client_login_timeout / CLOCK_SECOND,
			 held_by(c, held, sizeof(held)));
		return room;
	case CLOSE_QUERY_WAIT_TIMEOUT:
		return wait_detail(c, room, n);
	case CLOSE_MAX_DB_CLIENTS:
		return limit_detail(c, SETTING_max_db_client_connections, c->database->conf, NULL, room, n);
	case CLOSE_MAX_USER_CLIENTS:
		return limit_detail(c, SETTING_max_user_client_connections, NULL, c->user->conf, room, n);
	case CLOSE_CLIENT_IDLE_TIMEOUT:
		return span_of(c, SETTING_client_idle_timeout, room, n);
	case CLOSE_QUERY_TIMEOUT:
		return span_of(c, SETTING_query_timeout, room, n);
	case CLOSE_IDLE_TRANSACTION_TIMEOUT:
		return span_of(c, SETTING_idle_transaction_timeout, room, n);
	case CLOSE_TRANSACTION_TIMEOUT:
		return span_of(c, SETTING_transaction_timeout, room, n);
	case CLOSE_BAD_PACKET:
		snprintf(room, n, "A message may be at most max_packet_size = %" PRId64 " bytes long.", s->max_packet_size);
		return room;
	default:
		return NULL;
	}
}

void client_close(struct client *c, enum close_reason why)
{
	char room[384];

	client_close_with(c, why, NULL, detail_of(c, why, room, sizeof(room)));
}

void client_close_error(struct client *c, enum close_reason why, const struct close_error *e)
{
	close_with_text(c, why, e->message, e, true);
}

const char *client_state_text(const struct client *c)
{
	static const char *const texts[] = {
#define X(name, text) [CLIENT_##name] = text,
		CLIENT_STATES(X)
#undef X
	};
	return texts[c->state];
}

__attribute__((format(printf, 3, 0)))
static void log_about(const struct client *c, struct log_line line, const char *format, va_list ap)
{
	const struct log_subject subject = {.side = LOG_SIDE_CLIENT,
					    .object = c,
					    .id = c->id,
					    .database = client_database_name(c),
					    .user = client_user_name(c),
					    .peer = c->peer};

	line.subject = &subject;
	log_writev(&line, format, ap);
}

void client_log(const struct client *c, enum log_level level, const char *format, ...)
{
	va_list ap;

	if (!log_wants(level))
		return;
	va_start(ap, format);
	log_about(c, (struct log_line){.level = level}, format, ap);
	va_end(ap);
}

void client_log_line(const struct client *c, struct log_line line, const char *format, ...)
{
	va_list ap;

	if (!log_wants(line.level))
		return;
	va_start(ap, format);
	log_about(c, line, format, ap);
	va_end(ap);
}
