/*
 * The end of a login: the client's pool, and the messages that greet it.
 */
#include "base/clock.h"
#include "proto/out.h"
#include "session/client_login.h"
#include "session/replication.h"
#include "session/server.h"
#include "session/shutdown.h"
#include "session/timeouts.h"

static void out_welcome_end(struct client *c, struct strbuf *out)
{
	const char *notice = hub_settings(c->hub)->login_notify_message;
	uint8_t key[CANCEL_KEY_LONG];

	cancel_key_make(c);
	out_backend_key_data(out, key, cancel_key_print(c, key));
	if (notice[0] != '\0') {
		const struct out_error e = {.severity = "NOTICE", .sqlstate = "00000", .message = notice};

		out_error_response(out, 'N', &e);
	}
	out_ready_for_query(out, 'I');
}

static void out_console_parameters(const struct client *c, struct strbuf *out)
{
	out_parameter_status(out, SLICE_LIT("server_version"), slice_of(c->hub->console->server_version));
	out_parameter_status(out, SLICE_LIT("client_encoding"), SLICE_LIT("UTF8"));
	out_parameter_status(out, SLICE_LIT("server_encoding"), SLICE_LIT("UTF8"));
	out_parameter_status(out, SLICE_LIT("DateStyle"), SLICE_LIT("ISO"));
	out_parameter_status(out, SLICE_LIT("TimeZone"), SLICE_LIT("GMT"));
	out_parameter_status(out, SLICE_LIT("standard_conforming_strings"), SLICE_LIT("on"));
	out_parameter_status(out, SLICE_LIT("is_superuser"), SLICE_LIT("on"));
}

/* The client is in: what only the login needed goes. */
static void finish(struct client *c, struct strbuf *out, enum client_state state)
{
	if (out->failed) {
		strbuf_fini(out);
		client_close(c, CLOSE_OUT_OF_MEMORY);
		return;
	}
	client_login_free(&c->login);
	c->hub->nlogins--;
	if (client_pool(c) != NULL) {
		client_pool(c)->nclients++;
		pool_record(client_pool(c), LATENCY_LOGIN, clock_us() - c->connected_at);
	}
	client_enter(c, state);
	conn_write(&c->conn, out->p, out->n);
	strbuf_fini(out);
}

/* Begins with what the client is still to be told of its login. */
static struct strbuf begin_welcome(struct client *c)
{
	struct strbuf out = c->login->last_word;

	strbuf_init(&c->login->last_word);
	return out;
}

static void welcome_to_console(struct client *c)
{
	struct strbuf out = begin_welcome(c);

	out_auth(&out, 0);
	out_console_parameters(c, &out);
	out_welcome_end(c, &out);
	finish(c, &out, CLIENT_CONSOLE);
}

static void out_greeting(const struct hub *hub, const struct strbuf *welcome, const struct paramset *params,
			 struct strbuf *out)
{
	out_auth(out, 0);
	strbuf_add_slice(out, strbuf_slice(welcome));
	params_out_status(hub->params, params, out);
	out->failed = out->failed || welcome->failed;
}

/* What comes behind a greeting in most cases. */
#define WELCOME_END_SIZE 64

/* Takes over the reference to its parameters. */
static void greet(struct client *c, const struct strbuf *greeting, struct paramset *params)
{
	struct strbuf out = begin_welcome(c);

	paramset_unref(c->hub->params, &c->params);
	c->params = params;
	strbuf_reserve(&out, greeting->n + WELCOME_END_SIZE);
	strbuf_add_slice(&out, strbuf_slice(greeting));
	out_welcome_end(c, &out);
	out.failed = out.failed || greeting->failed;
	finish(c, &out, CLIENT_IDLE);
}

void client_login_greet(struct client *c, const struct strbuf *welcome, struct paramset *params)
{
	struct strbuf greeting;

	strbuf_init(&greeting);
	out_greeting(c->hub, welcome, params, &greeting);
	greet(c, &greeting, paramset_ref(params));
	strbuf_fini(&greeting);
}

/* The greeting of a pool's clients with these parameters: most have the same, being the same program. */
static const struct strbuf *greeting_with(struct pool_session *ps, struct paramset *params)
{
	if (ps->greeted == params)
		return &ps->greeting;
	pool_session_forget_greeting(ps);
	out_greeting(ps->hub, &ps->welcome, params, &ps->greeting);
	if (!ps->greeting.failed)
		ps->greeted = paramset_ref(params);
	return &ps->greeting;
}

void client_login_welcome(struct client *c)
{
	struct pool_session *ps = pool_session(client_pool(c));
	struct paramset *params = paramset_ref(ps->params);

	if (paramset_overlay(c->hub->params, &params, c->params)) {
		greet(c, greeting_with(ps, params), params);
	} else {
		paramset_unref(c->hub->params, &params);
		client_close(c, CLOSE_OUT_OF_MEMORY);
	}
}

static void enter_console(struct client *c)
{
	if (!c->hub->console->may_login(c)) {
		client_close(c, CLOSE_CONSOLE_DENIED);
		return;
	}
	welcome_to_console(c);
	if (c->state == CLIENT_CONSOLE)
		c->user->nconsoles++;
}

/* What the login has taught about how to log in to servers. */
static void teach(const struct client *c)
{
	const struct client_login *l = c->login;
	struct pool_lesson lesson = {.looked_up = l->looked_up, .password = l->password};

	if (l->auth != NULL) {
		struct slice password = client_auth_password(l->auth);

		if (password.n > 0)
			lesson.password = password.p;
		lesson.keys = client_auth_keys(l->auth);
	}
	pool_secret_learn(client_pool(c), &lesson);
}

static bool exceeds(const struct client *c, enum setting_id id, const struct conf_database *db, const struct conf_user *user,
		    unsigned n)
{
	int64_t max = conf_effective(registry_conf(c->hub->registry), id, db, user);

	return max != 0 && n > max;
}

/* The client is counted already. False: it is one too many, and closed. */
static bool is_within_limits(struct client *c, const struct database *db)
{
	if (exceeds(c, SETTING_max_db_client_connections, db->conf, NULL, db->nclients)) {
		client_close(c, CLOSE_MAX_DB_CLIENTS);
		return false;
	}
	if (exceeds(c, SETTING_max_user_client_connections, NULL, c->user->conf,
		    c->user->nclients - c->user->nconsoles)) {
		client_close(c, CLOSE_MAX_USER_CLIENTS);
		return false;
	}
	return true;
}

static bool find_pool(struct client *c)
{
	struct registry *r = c->hub->registry;
	struct database *db = registry_database(r, atom_slice(c->login->database));
	struct pool *pool;

	if (db == NULL) {
		client_close_with(c, CLOSE_NO_DATABASE, c->login->database->text, NULL);
		return false;
	}
	if (db->is_disabled) {
		client_close_with(c, CLOSE_DATABASE_DISABLED, c->login->database->text, NULL);
		return false;
	}
	c->database = db;
	db->nclients++;
	timeouts_database_used(c->hub, db);
	if (!is_within_limits(c, db))
		return false;
	pool = registry_pool(r, db, c->user);
	if (pool == NULL) {
		client_close(c, CLOSE_OUT_OF_MEMORY);
		return false;
	}
	c->waiter.pool = pool;
	teach(c);
	return true;
}

static void enter_pool(struct client *c)
{
	struct pool *pool;

	if (!shutdown_admits(c)) {
		client_close(c, CLOSE_POOLER_SHUTDOWN);
		return;
	}
	if (!find_pool(c))
		return;
	pool = client_pool(c);
	/* One that replicates is greeted by its own server. */
	if (c->replication == REPLICATION_NONE && pool_session(pool)->has_welcome) {
		client_login_welcome(c);
		pool_session_fill(pool);
		return;
	}
	if (pool_session_is_down(pool)) {
		pool_session_refuse(c);
		return;
	}
	client_login_send(c);
	client_enter(c, CLIENT_AWAIT_WELCOME);
	client_bound_login_wait(c);
	pool_await_login(pool, &c->waiter, clock_us());
	pool_session_fill(pool);
}

void client_authenticated(struct client *c)
{
	admission_leave(c);
	c->user = registry_user(c->hub->registry, atom_slice(c->login->user));
	if (c->user == NULL) {
		client_close(c, CLOSE_OUT_OF_MEMORY);
		return;
	}
	c->user->nclients++;
	if (c->login->is_console)
		enter_console(c);
	else
		enter_pool(c);
}

