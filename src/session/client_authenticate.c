/*
 * Whether a client is who it says: which method holds for it, the exchange,
 * the verdict.
 */
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/sys.h"
#include "proto/msg.h"
#include "proto/out.h"
#include "session/auth_source.h"
#include "session/client_login.h"
#include "session/replication.h"
#include "session/server.h"

/* PgBouncer's name for itself towards PAM: existing service files go by it. */
#define PAM_SERVICE "pgbouncer"

static const struct log_line login_failed = {.level = LOG_LEVEL_WARNING, .kind = LOG_CONNECTION};

void client_login_free(struct client_login **login)
{
	struct client_login *l = *login;

	*login = NULL;
	if (l == NULL)
		return;
	client_auth_free(&l->auth);
	if (l->helper != NULL)
		auth_helper_cancel(l->helper);
	if (l->query != NULL)
		auth_query_cancel(l->query);
	atom_unref(&l->user);
	atom_unref(&l->database);
	sys_wipe_text(&l->target);
	sys_wipe_text(&l->password);
	sys_wipe_text(&l->looked_up);
	strbuf_fini(&l->last_word);
	strbuf_fini(&l->startup);
	free(l);
}

void client_login_send(struct client *c)
{
	struct strbuf *out = &c->login->last_word;

	if (out->n > 0 && !out->failed)
		conn_write(&c->conn, out->p, out->n);
	strbuf_fini(out);
}

/* ------------------------------------------------------------------ verdict */

static void tell_failure(struct client *c)
{
	/* Copied: it goes with the login. */
	const struct login_failure failure = c->login->failure;

	client_close_with(c, failure.why, failure.text, NULL);
}

static void on_failure_delay(struct deadline *d)
{
	tell_failure((struct client *)((char *)d - offsetof(struct client, deadline)));
}

/* Guessing is slowed down: the answer waits, and with it nothing but this connection. */
static void fail(struct client *c, enum close_reason why, const char *text)
{
	uint64_t delay = (uint64_t)hub_settings(c->hub)->auth_failure_delay;
	struct login_failure *failure = &c->login->failure;

	failure->why = why;
	snprintf(failure->text, sizeof(failure->text), "%s", text);
	if (delay == 0) {
		tell_failure(c);
		return;
	}
	client_enter(c, CLIENT_AUTH_WAIT);
	deadline_arm(&c->deadline, deadline_list(c->hub->loop, delay, on_failure_delay));
}

/* Which of the reasons an error of the exchange is. */
static enum close_reason reason_of(const struct auth_error *error)
{
	if (strcmp(error->sqlstate, "28P01") == 0)
		return CLOSE_AUTH_PASSWORD;
	return strcmp(error->sqlstate, "28000") == 0 ? CLOSE_AUTH_TRUST : CLOSE_AUTH_MALFORMED;
}

static void conclude(struct client *c, enum auth_step step)
{
	if (step == AUTH_OK)
		client_authenticated(c);
	else if (step == AUTH_FAILED)
		fail(c, reason_of(client_auth_error(c->login->auth)), client_auth_error(c->login->auth)->text);
}

/* What a step of the exchange has come to, with what there is to say about it, which is taken over. */
static void take_step(struct client *c, enum auth_step step, struct strbuf *out)
{
	bool is_cut = out->failed && step != AUTH_FAILED;

	c->login->last_word = *out;
	if (step != AUTH_OK)
		client_login_send(c);
	if (is_cut)
		client_close(c, CLOSE_OUT_OF_MEMORY);
	else
		conclude(c, step);
}

/* ------------------------------------------------------------------ secrets */

/* An md5 exchange becomes one where a verifier is stored. */
static bool may_speak_scram(const struct client *c)
{
	return c->login->type == AUTH_TYPE_SCRAM_SHA_256 || c->login->type == AUTH_TYPE_MD5;
}

static void ask_for_proof(struct client *c, const struct userlist_entry *entry)
{
	const struct settings *s = hub_settings(c->hub);
	uint8_t end_point[TLS_END_POINT_MAX];
	size_t bound = may_speak_scram(c) && c->conn.tls != NULL ? tls_end_point(c->conn.tls, end_point) : 0;
	const struct client_auth_params params = {
		.type = c->login->type,
		.user = atom_slice(c->login->user),
		.entry = entry,
		/* A stranger is to look like those whom he would be among. */
		.mock_type = c->login->was_looked_up ? c->hub->looked_up_type : c->hub->mock_type,
		.mock_key = c->hub->mock_key,
		.scram_iterations = (int)s->scram_iterations,
		.keys = c->hub->keys,
		.channel_binding = {(const char *)end_point, bound},
	};
	enum auth_step step;
	struct strbuf out;

	c->login->auth = client_auth_new(&params);
	if (c->login->auth == NULL) {
		client_close(c, CLOSE_OUT_OF_MEMORY);
		return;
	}
	if (c->login->type == AUTH_TYPE_PLAIN)
		conn_expect_secret(&c->conn, true);
	strbuf_init(&out);
	step = client_auth_start(c->login->auth, &out);
	take_step(c, step, &out);
}

static void begin_exchange(struct client *c, const struct userlist_entry *entry)
{
	if (client_auth_asks_nothing(c->login->type, entry))
		client_authenticated(c);
	else
		ask_for_proof(c, entry);
}

/* A database that is not there has no users; that it is not there is told to nobody who has not logged in. */
static bool is_no_database(const struct auth_query_answer *answer)
{
	return answer->sqlstate != NULL && strcmp(answer->sqlstate, "3D000") == 0;
}

/* The answer of auth_query, now or later. */
static void on_looked_up(void *arg, const struct auth_query_answer *answer)
{
	struct client *c = arg;
	struct userlist_entry entry = {.name = c->login->user->text};

	c->login->query = NULL;
	c->login->was_looked_up = true;
	client_enter(c, CLIENT_AUTH);
	if (answer->why != NULL)
		client_log_line(c, login_failed,
				answer->result == AUTH_QUERY_ERROR ? "auth_query failed: %s" : "auth_query: %s", answer->why);
	if (answer->result == AUTH_QUERY_ERROR && !is_no_database(answer) && !c->login->is_vouched) {
		client_close(c, CLOSE_AUTH_QUERY_FAILED);
		return;
	}
	if (answer->result == AUTH_QUERY_FOUND && answer->secret != NULL) {
		c->login->looked_up = strdup(answer->secret);
		if (c->login->looked_up == NULL) {
			client_close(c, CLOSE_OUT_OF_MEMORY);
			return;
		}
	}
	if (c->login->looked_up != NULL) {
		entry.secret = c->login->looked_up;
		entry.type = c->hub->looked_up_type = secret_type_of(entry.secret);
	}
	if (c->login->is_vouched)
		client_authenticated(c);
	else
		begin_exchange(c, c->login->looked_up == NULL ? NULL : &entry);
	if (c->state != CLIENT_CLOSED)
		conn_resume(&c->conn);
}

static const struct userlist_entry *entry_of(const struct client *c)
{
	return userlist_find(registry_conf(c->hub->registry)->userlist, atom_slice(c->login->user));
}

/* During a pause there may be no server that could be asked. */
static bool is_paused(const struct client *c)
{
	const struct database *db = registry_find_database(c->hub->registry, atom_slice(c->login->database));

	return !c->login->is_console && (c->hub->pause == PAUSE_ALL || (db != NULL && db->is_paused));
}

/* Asks auth_query for who has no entry in auth_file. False: there is nothing to ask; else on_looked_up() goes on. */
static bool look_up(struct client *c, const struct userlist_entry *entry)
{
	const struct atom *database = c->login->is_console ? NULL : c->login->database;
	struct auth_query_ticket *ticket;
	struct auth_query_source source;

	if (entry != NULL || !auth_source_for(c->hub, database, &source))
		return false;
	client_enter(c, CLIENT_AUTH_WAIT);
	c->login->awaits_resume = is_paused(c);
	if (c->login->awaits_resume)
		return true;
	ticket = auth_query_ask(c->hub->auth_queries, &source, atom_slice(c->login->user), on_looked_up, c);
	/* Answered at once: the login has gone on already, and the client may be gone. */
	if (ticket != NULL)
		c->login->query = ticket;
	return true;
}

/* Checks against what is stored of the user: in auth_file, or where auth_query looks. */
static void begin_stored(struct client *c, enum auth_type type)
{
	const struct userlist_entry *entry = entry_of(c);

	c->login->type = type;
	if (type == AUTH_TYPE_ANY || !look_up(c, entry))
		begin_exchange(c, entry);
}

/* Somebody else has vouched for it; what is stored is still wanted, for logging in to servers. */
static void vouched(struct client *c)
{
	c->login->is_vouched = true;
	if (!look_up(c, entry_of(c)))
		client_authenticated(c);
}

void client_login_resume(struct client *c)
{
	const struct userlist_entry *entry;

	if (!c->login->awaits_resume || is_paused(c))
		return;
	c->login->awaits_resume = false;
	client_enter(c, CLIENT_AUTH);
	entry = entry_of(c);
	if (look_up(c, entry))
		return;
	/* A reload has changed where secrets are. */
	if (c->login->is_vouched)
		client_authenticated(c);
	else
		begin_exchange(c, entry);
	if (c->state != CLIENT_CLOSED)
		conn_resume(&c->conn);
}

/* ------------------------------------------------------------------ others that vouch for the client */

static void fail_external(struct client *c)
{
	if (c->login->kind == EXTERNAL_PAM)
		fail(c, CLOSE_AUTH_PAM, "PAM authentication failed");
	else
		fail(c, CLOSE_AUTH_LDAP, "LDAP authentication failed");
}

static void begin_external(struct client *c, enum external_kind kind, const char *target)
{
	struct strbuf out;

	c->login->is_external = true;
	c->login->kind = kind;
	c->login->target = strdup(target);
	conn_expect_secret(&c->conn, true);
	strbuf_init(&out);
	out_auth(&out, 3);
	take_step(c, AUTH_CONTINUE, &out);
}

static void on_external(void *arg, enum external_verdict verdict, const char *why)
{
	struct client *c = arg;

	c->login->helper = NULL;
	client_enter(c, CLIENT_AUTH);
	if (verdict == EXTERNAL_ACCEPTED) {
		client_authenticated(c);
	} else {
		client_log_line(c, login_failed, "authentication failed: %s", why);
		fail_external(c);
	}
	if (c->state != CLIENT_CLOSED)
		conn_resume(&c->conn);
}

static void ask_external(struct client *c)
{
	struct client_login *l = c->login;
	char room[64];
	struct strbuf host;
	const char *why;
	struct external_login login = {
		.kind = l->kind, .target = l->target, .user = l->user->text, .password = l->password};

	strbuf_init_fixed(&host, room, sizeof(room));
	if (!c->is_unix)
		addr_print_host(&c->peer, &host);
	login.remote_host = host.p;
	client_enter(c, CLIENT_AUTH_WAIT);
	l->helper = auth_helper_ask(c->hub->auth_helper, &login, on_external, c, &why);
	if (l->helper == NULL) {
		client_log_line(c, login_failed, "authentication failed: %s", why);
		fail_external(c);
	}
}

/* The one message of this exchange: the password. */
static void take_external_password(struct client *c, const struct msg *m)
{
	struct cursor cursor = msg_cursor(m);
	struct slice text = cursor_string(&cursor);

	if (cursor.bad || cursor_left(&cursor) != 0) {
		fail(c, CLOSE_AUTH_MALFORMED, "password authentication failed");
	} else if (text.n == 0) {
		fail(c, CLOSE_AUTH_PASSWORD, "empty password returned by client");
	} else {
		c->login->password = strndup(text.p, text.n);
		if (c->login->target == NULL || c->login->password == NULL)
			client_close(c, CLOSE_OUT_OF_MEMORY);
		else
			ask_external(c);
	}
}

/* The system says who is at the other end of a Unix socket. */
static void check_peer(struct client *c, const char *map)
{
	const struct conf *conf = registry_conf(c->hub->registry);
	struct ucred peer;
	socklen_t n = sizeof(peer);
	const struct passwd *pw = NULL;

	if (c->is_unix && getsockopt(conn_fd(&c->conn), SOL_SOCKET, SO_PEERCRED, &peer, &n) == 0)
		pw = getpwuid(peer.uid);
	if (pw != NULL && ident_allows(conf->ident, map, slice_of(pw->pw_name), atom_slice(c->login->user)))
		vouched(c);
	else
		fail(c, CLOSE_AUTH_PEER, "unix socket login rejected");
}

/* The name in the certificate that the client has shown; there is none on a connection without TLS. */
static void check_certificate(struct client *c, const char *map)
{
	const struct conf *conf = registry_conf(c->hub->registry);
	struct strbuf name;
	bool ok;

	strbuf_init(&name);
	ok = c->conn.tls != NULL && tls_peer_common_name(c->conn.tls, &name) && !name.failed &&
	     ident_allows(conf->ident, map, strbuf_slice(&name), atom_slice(c->login->user));
	strbuf_fini(&name);
	if (ok)
		vouched(c);
	else
		fail(c, CLOSE_AUTH_CERTIFICATE, "certificate authentication failed");
}

/* ------------------------------------------------------------------ method */

static void begin_rule(struct client *c)
{
	const struct hba_request request = {.is_unix = c->is_unix,
					    .is_tls = c->conn.tls != NULL,
					    .is_replication = c->replication == REPLICATION_PHYSICAL,
					    .peer = &c->peer,
					    .user = atom_slice(c->login->user),
					    .database = atom_slice(c->login->database)};
	const struct hba_rule *rule = hba_find(registry_conf(c->hub->registry)->hba, &request);

	if (rule == NULL) {
		fail(c, CLOSE_AUTH_REJECTED, "no authentication method is found");
		return;
	}
	switch (rule->method) {
	case HBA_TRUST:
		begin_stored(c, AUTH_TYPE_TRUST);
		break;
	case HBA_REJECT:
		fail(c, CLOSE_AUTH_REJECTED, "login rejected");
		break;
	case HBA_MD5:
		begin_stored(c, AUTH_TYPE_MD5);
		break;
	case HBA_PASSWORD:
		begin_stored(c, AUTH_TYPE_PLAIN);
		break;
	case HBA_SCRAM_SHA_256:
		begin_stored(c, AUTH_TYPE_SCRAM_SHA_256);
		break;
	case HBA_PEER:
		check_peer(c, rule->map);
		break;
	case HBA_CERT:
		check_certificate(c, rule->map);
		break;
	case HBA_LDAP:
		begin_external(c, EXTERNAL_LDAP, rule->ldap_options);
		break;
	case HBA_PAM:
		begin_external(c, EXTERNAL_PAM, rule->pam_service == NULL ? PAM_SERVICE : rule->pam_service);
		break;
	}
}

void client_authenticate(struct client *c)
{
	const struct settings *s = hub_settings(c->hub);
	enum auth_type type = (enum auth_type)s->auth_type;

	client_enter(c, CLIENT_AUTH);
	if (c->login->is_console && c->hub->console->is_owner(c)) {
		client_authenticated(c);
		return;
	}
	switch (type) {
	case AUTH_TYPE_HBA:
		begin_rule(c);
		break;
	case AUTH_TYPE_CERT:
		check_certificate(c, NULL);
		break;
	case AUTH_TYPE_LDAP:
		begin_external(c, EXTERNAL_LDAP, s->auth_ldap_options);
		break;
	case AUTH_TYPE_PAM:
		begin_external(c, EXTERNAL_PAM, PAM_SERVICE);
		break;
	default:
		begin_stored(c, type);
	}
}

/* ------------------------------------------------------------------ messages */

static void take_message(struct client *c, const struct msg *m)
{
	enum auth_step step;
	struct strbuf out;

	if (c->login->is_external) {
		take_external_password(c, m);
		return;
	}
	strbuf_init(&out);
	step = client_auth_step(c->login->auth, m, &out);
	take_step(c, step, &out);
}

size_t client_authenticate_bytes(struct client *c, const uint8_t *p, size_t n)
{
	struct msg m;

	switch (msg_peek(p, n, INT32_MAX, &m)) {
	case PEEK_SHORT:
		return 0;
	case PEEK_BAD:
		client_close_with(c, CLOSE_BAD_PACKET, "password message", NULL);
		return CONN_CLOSED;
	case PEEK_OK:
		break;
	}
	if (m.type != 'p') {
		client_close(c, m.type == 'X' ? CLOSE_CLIENT_QUIT : CLOSE_UNKNOWN_PACKET);
		return CONN_CLOSED;
	}
	if (m.len > AUTH_MESSAGE_MAX) {
		fail(c, CLOSE_AUTH_MALFORMED, "password too long");
		return c->state == CLIENT_CLOSED ? CONN_CLOSED : n;
	}
	if (m.have < m.len)
		return 0;
	/* Asked for once: what follows is no secret, and this still is wiped. */
	conn_expect_secret(&c->conn, false);
	take_message(c, &m);
	return c->state == CLIENT_CLOSED ? CONN_CLOSED : MSG_HEADER_SIZE + m.len;
}
