#include "admin/console.h"

#include <sys/socket.h>
#include <unistd.h>

#include "admin/statement.h"
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

/* False: nothing is to follow. */
static bool answer(const struct request *rq)
{
	switch (rq->statement->kind) {
	case STATEMENT_EMPTY:
		out_simple(rq->out, 'I');
		return true;
	case STATEMENT_COMMAND:
	case STATEMENT_SET:
	case STATEMENT_SET_DATABASE:
	case STATEMENT_SET_USER:
		return command_run(rq);
	case STATEMENT_BAD:
		break;
	}
	command_refuse(rq);
	return true;
}

static bool on_query(struct client *c, struct slice sql, struct strbuf *out)
{
	struct console *console = console_of(c);
	struct statement statement;
	const struct request rq = {
		.client = c,
		.report = &console->report,
		.actions = console->actions,
		.waits = &console->waits,
		.successor = &console->successor,
		.sql = sql,
		.statement = &statement,
		.out = out,
	};

	console->stats.now.query_count++;
	console->stats.now.xact_count++;
	statement_parse(sql, &statement);
	if (answer(&rq))
		out_ready_for_query(out, 'I');
	/* It has killed itself. */
	if (c->state == CLIENT_CLOSED)
		return false;
	if (!out->failed)
		return true;
	client_close(c, CLOSE_OUT_OF_MEMORY);
	return false;
}

static void on_cancel(struct client *c)
{
	waits_cancel(&console_of(c)->waits, c);
}

static void on_gone(struct client *c)
{
	waits_forget(&console_of(c)->waits, c);
}

void console_look(struct console *console)
{
	waits_look(&console->waits);
}

void console_fini(struct console *console)
{
	waits_fini(&console->waits);
}

void console_init(struct console *console, struct hub *hub, const struct admin_actions *actions)
{
	*console = (struct console){
		.ops = {
			.is_owner = is_owner,
			.may_login = may_login,
			.on_query = on_query,
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
	waits_init(&console->waits, hub);
	hub->console = &console->ops;
}
