#include "admin/console.h"

#include <sys/socket.h>
#include <unistd.h>

#include "admin/plan.h"
#include "admin/reply.h"
#include "admin/visitor.h"
#include "proto/out.h"
#include "report/tables.h"

/* Drivers make out from it what a server can do. */
#define SERVER_VERSION TABLES_COMPATIBLE "/bouncer"

static struct console *console_of(const struct client *c)
{
	return (struct console *)c->hub->console;
}

/* The system vouches for who is at the other end; the name only says that this is meant. */
static bool is_owner(struct client *c)
{
	struct slice name = slice_of(client_user_name(c));
	struct ucred peer;
	socklen_t n = sizeof(peer);

	if (!c->is_unix || (!slice_is(name, "pgbouncer") && !slice_is(name, "pgsluice")))
		return false;
	return getsockopt(conn_fd(&c->conn), SOL_SOCKET, SO_PEERCRED, &peer, &n) == 0 && peer.uid == geteuid();
}

static bool may_login(struct client *c)
{
	const struct settings *s = hub_settings(c->hub);
	struct slice name = slice_of(client_user_name(c));

	c->is_admin = slice_in_list(slice_of(s->admin_users), name, false) || is_owner(c);
	return c->is_admin || slice_in_list(slice_of(s->stats_users), name, false);
}

void console_count_query(struct console *console)
{
	console->stats.now.query_count++;
	console->stats.now.xact_count++;
}

/* False: the client has been closed. */
static bool may_go_on(struct client *c, const struct strbuf *out)
{
	/* It has killed itself. */
	if (c->state == CLIENT_CLOSED)
		return false;
	if (!out->failed)
		return true;
	client_close(c, CLOSE_OUT_OF_MEMORY);
	return false;
}

static void show(struct visitor *v, const struct table *table, struct strbuf *out)
{
	telling_header(table, 0, out);
	telling_init(&v->shown, table, 0);
	streams_begin(&v->console->streams, &v->stream, &v->shown, 0, out);
}

/* A simple query's table has been told. */
static void end_show(struct visitor *v, enum stream_end how, struct strbuf *out)
{
	telling_end(&v->shown);
	if (how == STREAM_CANCELLED)
		reply_failure(v->client, out, QUERY_CANCELED, "canceling statement due to user request", NULL, NULL);
	else if (how == STREAM_OUT_OF_MEMORY)
		reply_failure(v->client, out, OUT_OF_MEMORY, "out of memory", NULL, NULL);
	else
		out_command_complete(out, "SHOW");
	visitor_ready(v, out);
}

static void on_told(struct stream *s, enum stream_end how, struct strbuf *out)
{
	struct visitor *v = visitor_find(s->client);

	if (v->extended.telling != NULL)
		extended_told(v, how, out);
	else
		end_show(v, how, out);
}

static void answer(struct visitor *v, struct slice sql, struct strbuf *out)
{
	struct plan plan;

	console_count_query(v->console);
	extended_forget_unnamed(v);
	plan_make(v->client, sql, &plan);
	if (plan.table != NULL)
		show(v, plan.table, out);
	else if (plan_run(v, &plan, sql, out))
		visitor_ready(v, out);
}

static bool on_query(struct client *c, struct slice sql, struct strbuf *out)
{
	struct visitor *v = visitor_get(c);

	if (v == NULL)
		out->failed = true;
	else if (!v->extended.is_skipping)
		answer(v, sql, out);
	return may_go_on(c, out);
}

static bool on_extended(struct client *c, const struct msg *m, struct strbuf *out)
{
	struct visitor *v = visitor_get(c);

	if (v == NULL)
		out->failed = true;
	else
		extended_take(v, m, out);
	return may_go_on(c, out);
}

/* The end of a command that had the client wait. */
static void finish_wait(struct client *c, bool is_good, struct strbuf *out)
{
	struct visitor *v = visitor_find(c);

	if (v->extended.is_executing)
		extended_executed(v, is_good);
	else
		visitor_ready(v, out);
}

static bool is_telling(const struct client *c)
{
	const struct visitor *v = visitor_find(c);

	return v != NULL && stream_is_under_way(&v->stream);
}

static void on_drained(struct client *c)
{
	struct visitor *v = visitor_find(c);

	if (v != NULL)
		streams_drained(&v->console->streams, &v->stream);
}

static void on_cancel(struct client *c)
{
	struct visitor *v = visitor_find(c);

	if (v != NULL)
		streams_cancel(&v->stream);
	waits_cancel(&console_of(c)->waits, c);
}

static void on_gone(struct client *c)
{
	struct visitor *v = visitor_find(c);

	waits_forget(&console_of(c)->waits, c);
	if (v != NULL)
		visitor_forget(v);
}

void console_look(struct console *console)
{
	waits_look(&console->waits);
}

void console_fini(struct console *console)
{
	struct visitor *v;

	if (console->ops.on_query == NULL)
		return;
	while ((v = TAILQ_FIRST(&console->visitors)) != NULL)
		visitor_forget(v);
	streams_fini(&console->streams);
	waits_fini(&console->waits);
}

void console_init(struct console *console, struct hub *hub, const struct admin_actions *actions)
{
	*console = (struct console){
		.ops = {
			.is_owner = is_owner,
			.may_login = may_login,
			.on_query = on_query,
			.on_extended = on_extended,
			.is_telling = is_telling,
			.on_drained = on_drained,
			.on_cancel = on_cancel,
			.on_gone = on_gone,
			.server_version = SERVER_VERSION,
		},
		.actions = actions,
		.report = {
			.hub = hub,
			.console = &console->stats,
			.version = actions->version,
			.listen_port = actions->listen_port,
		},
	};
	waits_init(&console->waits, hub, finish_wait);
	streams_init(&console->streams, hub, &console->report, on_told);
	TAILQ_INIT(&console->visitors);
	hub->console = &console->ops;
}
