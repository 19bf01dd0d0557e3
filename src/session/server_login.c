/*
 * A server connection's way in: address, connect, authentication, the
 * parameters it reports (PostgreSQL manual, 55.2.1 Start-up).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "auth/server_auth.h"
#include "base/clock.h"
#include "proto/msg.h"
#include "proto/out.h"
#include "proto/startup.h"
#include "pool/opening.h"
#include "session/secret_renewal.h"
#include "session/server.h"
#include "session/server_host.h"

#define MAX_ADDRESSES 16

struct server_login {
	struct server_auth *auth;
	struct dns_waiter *dns;
	struct strbuf welcome;           /* ParameterStatus of parameters that are not tracked, for clients */
	struct addr_any addresses[MAX_ADDRESSES];
	size_t naddresses, next_address;
	unsigned first_host, hosts_tried;
};

void server_login_free(struct server_login **login)
{
	struct server_login *l = *login;

	*login = NULL;
	if (l == NULL)
		return;
	dns_cancel(&l->dns);
	server_auth_free(&l->auth);
	strbuf_fini(&l->welcome);
	free(l);
}

static const struct conf_database *conf_of(const struct server *s)
{
	return s->slot.pool->database->conf;
}

static bool balances(const struct server *s)
{
	return s->slot.pool->settings.load_balance != LOAD_BALANCE_DISABLE;
}

/* ------------------------------------------------------------------ failure */

static void try_next_address(struct server *s);
static void try_host(struct server *s);

/* How far it had come says what has failed. */
static enum server_end end_of_login(const struct server *s)
{
	switch (s->phase) {
	case SERVER_RESOLVING:
		return SERVER_END_DNS_FAILED;
	case SERVER_CONNECTING:
		return SERVER_END_CONNECT_FAILED;
	case SERVER_TLS:
		return SERVER_END_TLS_FAILED;
	case SERVER_TASK:
		return SERVER_END_CONNECT_QUERY_FAILED;
	default:
		return SERVER_END_LOGIN_FAILED;
	}
}

/* For SHOW ERRORS. */
static void note_error(struct server *s, const char *reason, const struct close_error *e)
{
	const struct pool *pool = s->slot.pool;
	char room[sizeof(struct error_group)];
	struct error_seen seen = {.reason = reason,
				  .sqlstate = e->sqlstate,
				  .database = pool->database->name->text,
				  .user = pool->user->name->text,
				  .message = e->message};

	if (e->detail != NULL) {
		snprintf(room, sizeof(room), "%s: %s", e->message, e->detail);
		seen.message = room;
	}
	errors_note(&s->hub->errors, &seen, clock_us());
}

/* That it does not let somebody replicate says nothing of the pool's other clients. */
static void refuse_replication(struct server *s, const struct close_error *e, bool is_servers)
{
	struct client *c = replication_client(s);
	struct pool *pool = s->slot.pool;

	server_destroy_as(s, end_of_login(s), e->message);
	if (c != NULL && is_servers)
		client_close_error(c, CLOSE_SERVER_REFUSED, e);
	else if (c != NULL)
		client_close_with(c, CLOSE_SERVER_DOWN, e->message, e->detail);
	pool_session_share(pool);
	pool_session_fill(pool);
}

/* The server is there and does not let us in, or what we know does not suffice for it. */
static void refuse(struct server *s, const struct close_error *e, bool is_servers)
{
	struct pool *pool = s->slot.pool;
	uint64_t began_at = s->slot.connected_at;

	server_host_answered(s);
	if (s->replication != REPLICATION_NONE) {
		refuse_replication(s, e, is_servers);
		return;
	}
	server_destroy_as(s, end_of_login(s), is_servers ? server_end_text(SERVER_END_LOGIN_FAILED) : e->message);
	pool_session_refused(pool, began_at, e, is_servers);
	pool_session_share(pool);
}

void server_login_refused(struct server *s, const char *what)
{
	const struct close_error e = {.sqlstate = "08001", .message = what};

	server_log(s, LOG_LEVEL_WARNING, "%s", what);
	note_error(s, ERROR_SERVER_LOGIN, &e);
	refuse(s, &e, false);
}

/* The host has failed: its breaker hears of it, and the pool is looked at for what may be left to try. */
static void fail_host(struct server *s, enum breaker_stage stage, const struct close_error *e)
{
	struct pool *pool = s->slot.pool;

	server_host_failed(s, stage, e);
	server_destroy_as(s, end_of_login(s), e->message);
	pool_session_refuse_if_down(pool);
	pool_session_share(pool);
	pool_session_fill(pool);
}

/* The error as clients get to see it; the text of its DETAIL is written into the room. */
static struct close_error host_error(const struct server *s, const char *what, const char *why, char *room, size_t n)
{
	snprintf(room, n, "Host \"%s\", port %d%s%s.", s->host->name->text, s->host->port, why == NULL ? "" : ": ",
		 why == NULL ? "" : why);
	return (struct close_error){.sqlstate = "08001", .message = what, .detail = room};
}

/* Its pool opens another in its place, not at once if this one has ended soon. */
static void try_again(struct server *s, const char *what)
{
	struct pool *pool = s->slot.pool;

	pool_session_lost_young(pool, s->slot.connected_at);
	server_destroy_as(s, end_of_login(s), what);
	pool_session_share(pool);
	pool_session_fill(pool);
}

void server_login_broken(struct server *s, const char *what, const char *why)
{
	char room[384];
	struct close_error e = host_error(s, what, why, room, sizeof(room));

	server_log(s, LOG_LEVEL_WARNING, "%s: %s", what, e.detail);
	note_error(s, s->phase < SERVER_TLS ? ERROR_SERVER_CONNECT : ERROR_SERVER_LOGIN, &e);
	/* Behind a good login it is no fault of the host, nor has the server said anything: whoever may wait for it does. */
	if (s->is_attempt)
		fail_host(s, BREAKER_LOGIN, &e);
	else if (s->slot.pool->settings.down_action == SERVER_DOWN_WAIT && s->replication == REPLICATION_NONE)
		try_again(s, what);
	else
		refuse(s, &e, false);
}

/* ------------------------------------------------------------------ address */

static void take_host(struct server *s, unsigned index)
{
	s->host_index = index;
	server_host_take(s, s->slot.pool->database->hosts[index]);
}

/* What was begun at this host is forgotten. */
static void abandon_host(struct server *s)
{
	server_auth_free(&s->login->auth);
	strbuf_reset(&s->login->welcome);
	conn_abandon(&s->conn);
}

/* Ends the attempt at this host quietly: another is left. */
static void go_to_next_host(struct server *s, unsigned index)
{
	struct server_login *l = s->login;

	l->hosts_tried = (index + s->slot.pool->database->nhosts - l->first_host) % s->slot.pool->database->nhosts;
	server_host_leave(s);
	take_host(s, index);
	try_host(s);
}

/* No address of this host works: the next host of the list, once around. */
static void try_next_host(struct server *s, enum breaker_stage stage, const char *what, const char *why)
{
	char room[384];
	struct close_error e = host_error(s, what, why, room, sizeof(room));
	struct pool *pool = s->slot.pool;
	bool is_news = server_host_failed(s, stage, &e);
	unsigned index;

	if (is_news) {
		server_log(s, LOG_LEVEL_WARNING, "%s: %s", what, e.detail);
		note_error(s, stage == BREAKER_CONNECT ? ERROR_SERVER_CONNECT : ERROR_SERVER_LOGIN, &e);
	}
	if (opening_next_host(pool, clock_us(), s->login->first_host, s->login->hosts_tried + 1, &index)) {
		go_to_next_host(s, index);
		return;
	}
	server_destroy_as(s, end_of_login(s), is_news ? what : NULL);
	pool_session_refuse_if_down(pool);
	pool_session_share(pool);
	pool_session_fill(pool);
}

static void on_resolved(void *arg, const struct addr_any *addresses, size_t n, const char *error)
{
	struct server *s = arg;
	struct server_login *l = s->login;

	l->dns = NULL;
	l->next_address = 0;
	l->naddresses = n < MAX_ADDRESSES ? n : MAX_ADDRESSES;
	for (size_t i = 0; i < l->naddresses; i++) {
		l->addresses[i] = addresses[i];
		addr_any_set_port(&l->addresses[i], s->host->port);
	}
	if (n == 0)
		try_next_host(s, BREAKER_CONNECT, "server DNS lookup failed", error);
	else
		try_next_address(s);
}

static void try_host(struct server *s)
{
	const char *name = s->host->name->text;
	struct server_login *l = s->login;
	struct dns_waiter *waiter;

	s->phase = SERVER_RESOLVING;
	if (name[0] == '/' || name[0] == '@') {
		l->next_address = 0;
		l->naddresses = 1;
		if (!addr_any_from_unix(&l->addresses[0], name, s->host->port))
			try_next_host(s, BREAKER_CONNECT, "connect failed", "the path is too long for a socket address");
		else
			try_next_address(s);
		return;
	}
	waiter = dns_resolve(s->hub->dns, name, on_resolved, s);
	/* Answered at once: on_resolved() has gone on already, and the server may be gone. */
	if (waiter != NULL)
		l->dns = waiter;
}

/* A socket on which connect() has begun or is done; -1 and errno. */
static int start_connect(const struct addr_any *a, const struct tcp_options *tcp, bool *is_connected)
{
	int fd = socket(a->u.sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -1;
	if (a->u.sa.sa_family != AF_UNIX)
		tcp_apply(fd, tcp);
	*is_connected = connect(fd, &a->u.sa, a->len) == 0;
	if (!*is_connected && errno != EINPROGRESS) {
		int error = errno;

		close(fd);
		errno = error;
		return -1;
	}
	return fd;
}

static void try_next_address(struct server *s)
{
	struct server_login *l = s->login;
	bool is_connected = false;
	int fd = -1, error = 0;

	while (fd < 0 && l->next_address < l->naddresses) {
		s->address = l->addresses[l->next_address++];
		addr_from_sockaddr(&s->peer, &s->address.u.sa);
		fd = start_connect(&s->address, &s->hub->tcp, &is_connected);
		error = errno;
	}
	if (fd < 0) {
		try_next_host(s, BREAKER_CONNECT, "connect failed", strerror(error));
		return;
	}
	s->phase = SERVER_CONNECTING;
	if (is_connected) {
		conn_open(&s->conn, s->hub->loop, fd, &server_conn_ops);
		server_login_connected(s);
	} else {
		conn_open_connecting(&s->conn, s->hub->loop, fd, &server_conn_ops);
	}
}

void server_login_start(struct server *s)
{
	struct database *db = s->slot.pool->database;

	s->login = calloc(1, sizeof(*s->login));
	if (s->login == NULL) {
		const struct close_error e = {.sqlstate = "53200", .message = "out of memory"};

		refuse(s, &e, false);
		return;
	}
	strbuf_init(&s->login->welcome);
	s->login->first_host = s->host_index;
	take_host(s, s->host_index);
	if (balances(s))
		db->next_host = (s->host_index + 1) % db->nhosts;
	try_host(s);
}

/* Each host has the whole time: one that hangs must not hide the next. */
void server_login_timed_out(struct server *s)
{
	const struct server_login *l = s->login;
	enum breaker_stage stage;
	char setting[64];
	unsigned index;

	snprintf(setting, sizeof(setting), "server_connect_timeout is %.6gs",
		 (double)hub_settings(s->hub)->server_connect_timeout / CLOCK_SECOND);
	if (l == NULL || !s->conn.is_open ||
	    !opening_next_host(s->slot.pool, clock_us(), l->first_host, l->hosts_tried + 1, &index)) {
		server_login_broken(s, "connect timeout", setting);
		return;
	}
	stage = s->phase == SERVER_CONNECTING ? BREAKER_CONNECT : BREAKER_LOGIN;
	abandon_host(s);
	deadline_arm(&s->deadline, pool_session(s->slot.pool)->server_connect);
	try_next_host(s, stage, "connect timeout", setting);
}

void server_login_connect_failed(struct server *s, int error)
{
	conn_abandon(&s->conn);
	if (s->login->next_address < s->login->naddresses)
		try_next_address(s);
	else
		try_next_host(s, BREAKER_CONNECT, "connect failed", strerror(error));
}

/* ------------------------------------------------------------------ start-up */

/* False: out of memory. */
static bool send_startup(struct server *s)
{
	const struct conf_database *db = conf_of(s);
	struct strbuf out;
	size_t mark;
	bool ok;

	strbuf_init(&out);
	mark = startup_begin(&out);
	startup_add_param(&out, SLICE_LIT("user"), atom_slice(s->slot.pool->user->name));
	startup_add_param(&out, SLICE_LIT("database"), slice_of(database_server_name(s->slot.pool->database)));
	for (size_t i = 0; i < db->nparameters; i++)
		startup_add_param(&out, slice_of(db->parameters[i].name), slice_of(db->parameters[i].value));
	if (s->replication != REPLICATION_NONE)
		replication_add_params(s, &out);
	startup_end(&out, mark);
	ok = !out.failed;
	if (ok)
		conn_write(&s->conn, out.p, out.n);
	strbuf_fini(&out);
	return ok;
}

/* What the server is to see: the secrets, bound to its certificate over TLS. */
static struct server_auth *new_auth(const struct server *s)
{
	struct credentials credentials = pool_secret_credentials(s->slot.pool);
	uint8_t end_point[TLS_END_POINT_MAX];

	if (s->conn.tls != NULL)
		credentials.channel_binding = (struct slice){(const char *)end_point, tls_end_point(s->conn.tls, end_point)};
	return server_auth_new(&credentials, s->hub->keys);
}

static void begin_login(struct server *s)
{
	s->phase = SERVER_LOGIN;
	s->login->auth = new_auth(s);
	if (s->login->auth == NULL || !send_startup(s))
		server_login_broken(s, "out of memory", NULL);
}

/* ------------------------------------------------------------------ TLS */

static void start_tls(struct server *s)
{
	SSL *tls = tls_connect_new(s->hub->tls.servers, conn_fd(&s->conn), s->host->name->text);

	if (tls == NULL || (s->hub->tls.is_server_direct && !tls_offer_alpn(tls))) {
		SSL_free(tls);
		server_login_broken(s, "out of memory", NULL);
		return;
	}
	conn_start_tls(&s->conn, tls);
}

static void ask_for_tls(struct server *s)
{
	s->phase = SERVER_TLS;
	if (s->hub->tls.is_server_direct)
		start_tls(s);
	else
		conn_write(&s->conn, startup_ssl_request, sizeof(startup_ssl_request));
}

/*
 * One byte answers the request. Whatever comes along with it came in the clear
 * and was not asked for; an error's text could be anybody's, and is not passed on.
 */
size_t server_login_tls_bytes(struct server *s, const uint8_t *p, size_t n)
{
	if (n == 1 && p[0] == 'S') {
		start_tls(s);
	} else if (n == 1 && p[0] == 'N' && s->hub->tls.server_mode < TLS_REQUIRE) {
		begin_login(s);
	} else if (n == 1 && p[0] == 'N') {
		server_login_broken(s, "server does not support TLS", "server_tls_sslmode demands it");
	} else {
		server_login_broken(s, "broken answer to the request for TLS", NULL);
	}
	return s->phase == SERVER_CLOSED ? CONN_CLOSED : 1;
}

void server_login_secured(struct server *s)
{
	/* Without SSLRequest nothing else says that this is PostgreSQL's protocol. */
	if (s->hub->tls.is_server_direct && !tls_has_alpn(s->conn.tls))
		server_login_broken(s, "server does not speak direct TLS", "it did not agree on ALPN protocol postgresql");
	else
		begin_login(s);
}

void server_login_connected(struct server *s)
{
	struct strbuf from;
	struct addr self;
	char room[64];

	addr_of_peer(&s->peer, conn_fd(&s->conn));
	addr_of_self(&self, conn_fd(&s->conn));
	strbuf_init_fixed(&from, room, sizeof(room));
	addr_print(&self, &from);
	if (hub_settings(s->hub)->log_connections)
		server_log_line(s, (struct log_line){.level = LOG_LEVEL_LOG, .kind = LOG_CONNECTION},
				"new connection to server (from %s)", from.p);
	if (s->hub->tls.servers != NULL && s->address.u.sa.sa_family != AF_UNIX)
		ask_for_tls(s);
	else
		begin_login(s);
}

/* ------------------------------------------------------------------ the server's messages */

static char *copy_text(struct slice s)
{
	return s.n == 0 ? NULL : strndup(s.p, s.n);
}

/* It is starting up or shutting down: another host may be further, and this one is worth waiting for. */
static void not_ready_yet(struct server *s, const struct close_error *e)
{
	const struct server_login *l = s->login;
	unsigned index;

	if (!opening_next_host(s->slot.pool, clock_us(), l->first_host, l->hosts_tried + 1, &index)) {
		fail_host(s, BREAKER_NOT_YET, e);
		return;
	}
	server_host_failed(s, BREAKER_NOT_YET, e);
	abandon_host(s);
	go_to_next_host(s, index);
}

/* Another attempt will be made with another secret. */
static void forsake(struct server *s)
{
	server_host_answered(s);
	server_destroy(s, SERVER_END_LOGIN_FAILED);
}

/* The server's own error: kept word for word, for whoever waits and whoever comes. */
static void refused_by_server(struct server *s, const struct msg *m)
{
	struct error_fields f;
	struct close_error e;
	char *sqlstate, *message, *detail, *hint;

	msg_error_fields(m, &f);
	sqlstate = copy_text(f.sqlstate);
	message = copy_text(f.message);
	detail = copy_text(f.detail);
	hint = copy_text(f.hint);
	e = (struct close_error){.sqlstate = sqlstate != NULL && f.sqlstate.n == 5 ? sqlstate : "08P01",
				 .message = message != NULL ? message : "the server refused the login without a reason",
				 .detail = detail,
				 .hint = hint};
	server_log(s, LOG_LEVEL_WARNING, "server login failed: %.*s %s", (int)f.severity.n,
		   f.severity.n > 0 ? f.severity.p : "", e.message);
	note_error(s, ERROR_SERVER_LOGIN, &e);
	if (strcmp(e.sqlstate, "57P03") == 0)
		not_ready_yet(s, &e);
	else if (strcmp(e.sqlstate, "28P01") == 0 && secret_renewal_begin(s->slot.pool, &e))
		forsake(s);
	else
		refuse(s, &e, true);
	free(sqlstate);
	free(message);
	free(detail);
	free(hint);
}

static bool authenticate(struct server *s, const struct msg *m)
{
	enum auth_step step;
	struct strbuf out;
	bool is_cut;

	strbuf_init(&out);
	step = server_auth_step(s->login->auth, m, &out);
	is_cut = out.failed && step != AUTH_FAILED;
	if (out.n > 0 && !out.failed)
		conn_write(&s->conn, out.p, out.n);
	strbuf_fini(&out);
	if (is_cut) {
		server_login_broken(s, "out of memory", NULL);
		return false;
	}
	if (step == AUTH_FAILED) {
		/* Copied: it goes with the login. */
		const struct auth_error error = *server_auth_error(s->login->auth);
		const struct close_error e = {
			.sqlstate = error.sqlstate, .message = error.text, .detail = error.detail, .hint = error.hint};

		server_log(s, LOG_LEVEL_WARNING, "server login failed: %s", error.text);
		note_error(s, ERROR_SERVER_LOGIN, &e);
		refuse(s, &e, false);
		return false;
	}
	return true;
}

static bool take_parameter(struct server *s, const struct msg *m)
{
	struct cursor c = msg_cursor(m);
	struct slice name = cursor_string(&c), value = cursor_string(&c);

	if (c.bad || !server_note_parameter(s, m))
		return false;
	if (params_find(s->hub->params, name) < 0)
		out_parameter_status(&s->login->welcome, name, value);
	return !s->login->welcome.failed;
}

static bool take_key(struct server *s, const struct msg *m)
{
	if (m->len < STARTUP_CANCEL_KEY_MIN || m->len > STARTUP_CANCEL_KEY_MAX)
		return false;
	memcpy(s->cancel_key, m->body, m->len);
	s->cancel_key_size = (uint16_t)m->len;
	return true;
}

static void begin_replication(struct server *s)
{
	struct strbuf welcome = s->login->welcome;

	strbuf_init(&s->login->welcome);
	server_login_free(&s->login);
	replication_begin(s, &welcome);
	strbuf_fini(&welcome);
}

static void logged_in(struct server *s)
{
	struct pool *pool = s->slot.pool;

	server_host_logged_in(s);
	pool_record(pool, LATENCY_CONNECT, clock_us() - s->slot.connected_at);
	if (s->host_index < pool->database->nhosts && !opening_keeps(pool, clock_us(), s->host_index)) {
		server_close(s, SERVER_END_WRONG_HOST);
		return;
	}
	s->status = 'I';
	if (s->replication != REPLICATION_NONE) {
		begin_replication(s);
		return;
	}
	s->phase = SERVER_READY;
	/* Without load balancing this is the host to stay with; with it, the next one is on already. */
	if (!balances(s))
		pool->database->next_host = s->host_index;
	/* One that is to be replaced is of the old configuration, and so is what it says. */
	if (!s->slot.close_needed)
		pool_session_set_welcome(pool, &s->login->welcome, s->params);
	server_login_free(&s->login);
	if (conf_of(s)->connect_query != NULL)
		server_task_start(s, TASK_CONNECT_QUERY);
	else
		server_ready(s);
}

/* One whole message. False: the server was closed, or the message has no place here. */
static bool take_message(struct server *s, const struct msg *m)
{
	switch (m->type) {
	case 'R':
		return authenticate(s, m);
	case 'S':
		return take_parameter(s, m);
	case 'K':
		return take_key(s, m);
	case 'E':
		refused_by_server(s, m);
		return false;
	case 'Z':
		if (!server_auth_is_ok(s->login->auth) || m->len != 1 || m->body[0] != 'I')
			return false;
		logged_in(s);
		return true;
	case 'N':
	case 'v':
		return true;
	default:
		return false;
	}
}

/* The login is over, and nobody has asked for anything: the first client would take it for its answer. */
static bool says_more(const struct server *s, const struct msg *m, size_t left)
{
	return m->type == 'Z' && s->replication == REPLICATION_NONE && left > MSG_HEADER_SIZE + m->len;
}

size_t server_login_bytes(struct server *s, const uint8_t *p, size_t n)
{
	size_t pos = 0;

	while (s->phase == SERVER_LOGIN) {
		unsigned index;
		struct msg m;
		enum peek peek = msg_peek(p + pos, n - pos, SERVER_WHOLE_MAX, &m);

		if (peek == PEEK_SHORT || (peek == PEEK_OK && m.have < m.len))
			return pos;
		index = s->host_index;
		if (peek == PEEK_BAD || says_more(s, &m, n - pos) || !take_message(s, &m)) {
			/* It may be at another host by now. */
			if (s->phase != SERVER_CLOSED && s->host_index == index)
				server_login_broken(s, "login failed", "broken packet from the server");
			return CONN_CLOSED;
		}
		pos += MSG_HEADER_SIZE + m.len;
	}
	return s->phase == SERVER_CLOSED ? CONN_CLOSED : pos;
}
