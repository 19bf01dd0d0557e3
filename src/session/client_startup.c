/*
 * A client's first packet (PostgreSQL manual, 55.2.1 Start-up).
 */
#include <string.h>

#include "base/sys.h"
#include "proto/out.h"
#include "proto/startup.h"
#include "session/cancel_request.h"
#include "session/client_login.h"
#include "session/replication.h"
#include "session/server.h"

/* PgBouncer's limits, without the NUL. */
#define DATABASE_NAME_MAX 63
#define USER_NAME_MAX 127

/* PostgreSQL cuts application_name here. */
#define APPLICATION_NAME_MAX 63

const char *client_database_name(const struct client *c)
{
	if (c->database != NULL)
		return c->database->name->text;
	if (client_is_on_console(c))
		return "pgbouncer";
	return c->login != NULL && c->login->database != NULL ? c->login->database->text : "(nodb)";
}

const char *client_user_name(const struct client *c)
{
	if (c->user != NULL)
		return c->user->name->text;
	return c->login != NULL && c->login->user != NULL ? c->login->user->text : "(nouser)";
}

/* ignore_startup_parameters names it. */
static bool is_ignored(const struct client *c, struct slice name)
{
	return slice_in_list(slice_of(hub_settings(c->hub)->ignore_startup_parameters), name, true);
}

/* A parameter that is not the protocol's own. False: the client was closed. */
static bool take_setting(struct client *c, struct slice name, struct slice value, enum close_reason otherwise)
{
	const struct hub *hub = c->hub;
	int i = params_find(hub->params, name);

	if (i >= 0) {
		if (paramset_change(hub->params, &c->params, (size_t)i, value))
			return true;
		client_close(c, CLOSE_OUT_OF_MEMORY);
		return false;
	}
	if (is_ignored(c, name) || c->login->is_console)
		return true;
	client_close_with(c, otherwise, name.p, NULL);
	return false;
}

static bool take_options(struct client *c, struct slice options)
{
	enum startup_option result;
	struct slice name, value;
	struct strbuf scratch;
	bool ok = true;

	if (is_ignored(c, SLICE_LIT("options")) || c->login->is_console)
		return true;
	strbuf_init(&scratch);
	while ((result = startup_next_option(&options, &scratch, &name, &value)) == STARTUP_OPTION_OK && ok)
		ok = take_setting(c, name, value, CLOSE_BAD_OPTION);
	strbuf_fini(&scratch);
	if (ok && result == STARTUP_OPTION_BAD) {
		client_close_with(c, CLOSE_BAD_OPTIONS, STARTUP_OPTIONS_ERROR, NULL);
		return false;
	}
	return ok;
}

static bool take_replication(struct client *c, struct slice value)
{
	enum replication kind;

	if (!replication_parse(value, &kind)) {
		client_close_with(c, CLOSE_BAD_REPLICATION, value.p, NULL);
		return false;
	}
	c->replication = (uint8_t)kind;
	return true;
}

static bool take_param(struct client *c, struct slice name, struct slice value)
{
	if (slice_is(name, "user") || slice_is(name, "database"))
		return true;
	if (name.n > 5 && memcmp(name.p, "_pq_.", 5) == 0)
		return true;
	if (slice_is(name, "options"))
		return take_options(c, value);
	if (slice_is(name, "replication"))
		return take_replication(c, value);
	return take_setting(c, name, value, CLOSE_BAD_PARAMETER);
}

static bool take_params(struct client *c, const struct startup *s)
{
	struct cursor cursor = startup_params(s);
	struct slice name, value;

	while (startup_next_param(&cursor, &name, &value))
		if (!take_param(c, name, value))
			return false;
	return true;
}

/* What decides how the other parameters are taken; of each the last one counts, and p of those that are not there is NULL. */
struct first_params {
	struct slice user, database, replication;
};

static struct first_params find_first(const struct startup *s)
{
	struct cursor cursor = startup_params(s);
	struct first_params found = {0};
	struct slice name, value;

	while (startup_next_param(&cursor, &name, &value)) {
		if (slice_is(name, "user"))
			found.user = value;
		else if (slice_is(name, "database"))
			found.database = value;
		else if (slice_is(name, "replication"))
			found.replication = value;
	}
	return found;
}

/* With a server of its own a client may say all that it could say to PostgreSQL: it is passed on as it is. */
static bool take_params_for_replication(struct client *c, const struct startup *s, struct slice replication)
{
	if (!take_replication(c, replication))
		return false;
	if (c->replication == REPLICATION_NONE)
		return take_params(c, s);
	strbuf_add_slice(&c->login->startup, s->params);
	if (!c->login->startup.failed)
		return true;
	client_close(c, CLOSE_OUT_OF_MEMORY);
	return false;
}

static bool take_all_params(struct client *c, const struct startup *s, struct slice replication)
{
	bool asks = replication.p != NULL && !c->login->is_console;

	return asks ? take_params_for_replication(c, s, replication) : take_params(c, s);
}

static bool take_names(struct client *c, struct slice user, struct slice database)
{
	if (user.n == 0) {
		client_close(c, CLOSE_NO_USER);
		return false;
	}
	if (database.n == 0)
		database = user;
	if (user.n > USER_NAME_MAX || database.n > DATABASE_NAME_MAX) {
		client_close_with(c, CLOSE_NAME_TOO_LONG, user.n > USER_NAME_MAX ? "username" : "database name", NULL);
		return false;
	}
	c->login->user = atom_get(user);
	c->login->database = atom_get(database);
	c->login->is_console = hub_is_console(database);
	if (c->login->user == NULL || c->login->database == NULL) {
		client_close(c, CLOSE_OUT_OF_MEMORY);
		return false;
	}
	return true;
}

static bool add_host_to_application_name(struct client *c)
{
	int i = params_find(c->hub->params, SLICE_LIT("application_name"));
	const struct atom *now = paramset_value(c->params, (size_t)i);
	char room[512];
	struct strbuf name;

	strbuf_init_fixed(&name, room, sizeof(room));
	strbuf_add_str(&name, now == NULL || now->len == 0 ? "app" : now->text);
	strbuf_add_str(&name, " - ");
	addr_print(&c->peer, &name);
	if (name.n > APPLICATION_NAME_MAX)
		name.n = APPLICATION_NAME_MAX;
	return paramset_change(c->hub->params, &c->params, (size_t)i, strbuf_slice(&name));
}

/*
 * As PostgreSQL 18: only a newer minor version than ours, or unknown protocol options, are answered with what we do
 * speak. False: out of memory.
 */
static bool negotiate(struct client *c, const struct startup *s)
{
	unsigned minor = s->minor < STARTUP_NEWEST_MINOR ? s->minor : STARTUP_NEWEST_MINOR;
	struct cursor cursor = startup_params(s);
	struct slice name, value, unknown[16];
	struct strbuf out;
	size_t n = 0;
	bool ok;

	while (startup_next_param(&cursor, &name, &value))
		if (name.n > 5 && memcmp(name.p, "_pq_.", 5) == 0 && n < sizeof(unknown) / sizeof(unknown[0]))
			unknown[n++] = name;
	c->has_long_key = minor >= 2;
	if (s->minor == minor && n == 0)
		return true;
	strbuf_init(&out);
	startup_out_negotiate(&out, minor, unknown, n);
	ok = !out.failed;
	if (ok)
		conn_write(&c->conn, out.p, out.n);
	strbuf_fini(&out);
	return ok;
}

/* Consoles are let in beyond the limit: somebody has to look at what goes on. */
static bool count_in(struct client *c)
{
	if (c->login->is_console)
		return true;
	if (c->hub->memory.is_short) {
		client_close(c, CLOSE_MAX_MEMORY);
		return false;
	}
	if (c->hub->nclients >= (uint64_t)hub_settings(c->hub)->max_client_conn && !admission_make_room(c->hub)) {
		client_close(c, CLOSE_MAX_CLIENT_CONN);
		return false;
	}
	c->hub->nclients++;
	c->is_counted = true;
	return true;
}

static void log_attempt(const struct client *c)
{
	char room[128];
	const struct log_field fields[] = {{.key = "tls", .text = room}, {0}};
	struct strbuf tls;

	strbuf_init_fixed(&tls, room, sizeof(room));
	client_describe_tls(c, &tls);
	client_log_line(c, (struct log_line){.level = LOG_LEVEL_LOG, .kind = LOG_CONNECTION, .fields = fields},
			"login attempt: db=%s user=%s tls=%s%s%s", c->login->database->text, c->login->user->text, tls.p,
			c->replication == REPLICATION_NONE ? "" : " replication=",
			c->replication == REPLICATION_NONE ? "" : replication_word(c->replication));
}

static void start(struct client *c, const struct startup *s)
{
	const struct first_params first = find_first(s);

	c->login = sys_zeroed(sizeof(*c->login));
	if (c->login == NULL) {
		client_close(c, CLOSE_OUT_OF_MEMORY);
		return;
	}
	if (!take_names(c, first.user, first.database) || !take_all_params(c, s, first.replication) || !count_in(c))
		return;
	if (hub_settings(c->hub)->application_name_add_host && !add_host_to_application_name(c)) {
		client_close(c, CLOSE_OUT_OF_MEMORY);
		return;
	}
	if (hub_settings(c->hub)->log_connections)
		log_attempt(c);
	if (negotiate(c, s))
		client_authenticate(c);
	else
		client_close(c, CLOSE_OUT_OF_MEMORY);
}

void client_describe_tls(const struct client *c, struct strbuf *text)
{
	if (c->conn.tls == NULL)
		strbuf_add_str(text, "no");
	else
		tls_describe(c->conn.tls, text);
}

void client_start_tls(struct client *c, struct slice answer)
{
	SSL *tls = tls_accept_new(c->hub->tls.clients, conn_fd(&c->conn));

	if (tls == NULL) {
		client_close(c, CLOSE_OUT_OF_MEMORY);
		return;
	}
	conn_write(&c->conn, answer.p, answer.n);
	conn_start_tls(&c->conn, tls);
}

void client_secured(struct client *c)
{
	if (c->is_direct_tls && !tls_has_alpn(c->conn.tls))
		client_close(c, CLOSE_NO_ALPN);
}

/*
 * A request for encryption. Bytes that came along in the clear must not be
 * taken for encrypted ones, nor for anything else.
 */
static size_t answer_request(struct client *c, const struct startup *s, size_t n, bool accept, enum close_reason if_more)
{
	if (n > s->size) {
		client_close(c, if_more);
		return CONN_CLOSED;
	}
	/* One of each kind is all that a client can have to ask. */
	if (++c->nrequests > 2) {
		client_close_with(c, CLOSE_BAD_STARTUP, "too many requests for encryption", NULL);
		return CONN_CLOSED;
	}
	if (accept)
		client_start_tls(c, SLICE_LIT("S"));
	else
		conn_write(&c->conn, "N", 1);
	return c->state == CLIENT_CLOSED ? CONN_CLOSED : s->size;
}

/* TLS is on offer, and not there yet. */
static bool can_start_tls(const struct client *c)
{
	return c->hub->tls.clients != NULL && c->conn.tls == NULL;
}

/* A Unix socket is as safe as it can be. */
static bool lacks_tls(const struct client *c)
{
	return c->hub->tls.client_mode >= TLS_REQUIRE && c->conn.tls == NULL && !c->is_unix;
}

static size_t startup_bytes(struct client *c, const uint8_t *p, size_t n)
{
	struct startup s;

	switch (startup_parse(p, n, &s)) {
	case STARTUP_SHORT:
		return 0;
	case STARTUP_BAD:
		client_close_with(c, CLOSE_BAD_STARTUP, s.error, NULL);
		return CONN_CLOSED;
	case STARTUP_OLD_PROTOCOL:
		client_close(c, CLOSE_OLD_PROTOCOL);
		return CONN_CLOSED;
	case STARTUP_SSL_REQUEST:
		if (c->conn.tls != NULL) {
			client_close_with(c, CLOSE_BAD_STARTUP, "SSL request inside TLS", NULL);
			return CONN_CLOSED;
		}
		return answer_request(c, &s, n, can_start_tls(c), CLOSE_PLAIN_AFTER_SSL);
	case STARTUP_GSSENC_REQUEST:
		return answer_request(c, &s, n, false, CLOSE_PLAIN_AFTER_GSS);
	case STARTUP_CANCEL:
		admission_leave(c);
		cancel_request_start(c, s.cancel_key);
		break;
	case STARTUP_MESSAGE:
		if (lacks_tls(c))
			client_close(c, CLOSE_NEEDS_TLS);
		else
			start(c, &s);
		break;
	}
	return c->state == CLIENT_CLOSED ? CONN_CLOSED : s.size;
}

size_t client_login_bytes(struct client *c, const uint8_t *p, size_t n)
{
	return c->state == CLIENT_STARTUP ? startup_bytes(c, p, n) : client_authenticate_bytes(c, p, n);
}
