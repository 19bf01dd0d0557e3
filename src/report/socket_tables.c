/*
 * CLIENTS and SERVERS: the same columns for both.
 */
#include "report/tables.h"

#include "base/clock.h"
#include "report/subjects.h"
#include "session/client.h"
#include "session/prepared.h"
#include "session/server.h"

struct socket_row {
	const char *type, *user, *database, *state;
	const struct addr *peer;
	int fd, unix_port;           /* the port shown for a Unix socket, part of whose name it is */
	uint64_t connected_at, request_at, waited_us;
	bool close_needed;
	const void *self, *link;
	uint32_t remote_pid;
	const struct paramset *params;
	SSL *tls;
	uint64_t id;
	size_t prepared;
};

#define SOCKET_COLUMNS(X)                                                         \
	X(type, TEXT, cell_text(s->type))                                         \
	X(user, TEXT, cell_text(s->user))                                         \
	X(database, TEXT, cell_text(s->database))                                 \
	X(replication, TEXT, cell_text("none"))                                   \
	X(state, TEXT, cell_text(s->state))                                       \
	X(addr, TEXT, host_cell(s->peer, addr))                                   \
	X(port, INT4, port_cell(s->peer, s->unix_port))                           \
	X(local_addr, TEXT, host_cell(&self, local_addr))                         \
	X(local_port, INT4, port_cell(&self, s->unix_port))                       \
	X(connect_time, TIME, cell_time(s->connected_at))                         \
	X(request_time, TIME, cell_time(s->request_at))                           \
	X(wait, INT4, cell_number((int64_t)(s->waited_us / CLOCK_SECOND)))        \
	X(wait_us, INT4, cell_number((int64_t)(s->waited_us % CLOCK_SECOND)))     \
	X(close_needed, INT4, cell_number(s->close_needed))                       \
	X(ptr, TEXT, pointer_cell(s->self, ptr))                                  \
	X(link, TEXT, pointer_cell(s->link, link))                                \
	X(remote_pid, INT4, cell_number(s->remote_pid))                           \
	X(tls, TEXT, tls_cell(s->tls, tls))                                       \
	X(application_name, TEXT, application_name(r->hub->params, s->params))    \
	X(prepared_statements, INT4, cell_number((int64_t)s->prepared))           \
	X(id, INT4, cell_number((int64_t)s->id))

static struct cell host_cell(const struct addr *a, char room[CELL_ROOM])
{
	struct strbuf text;

	strbuf_init_fixed(&text, room, CELL_ROOM);
	addr_print_host(a, &text);
	return cell_slice(strbuf_slice(&text));
}

static struct cell port_cell(const struct addr *a, int unix_port)
{
	return cell_number(a->family == AF_UNIX ? unix_port : a->port);
}

/* Empty when there is none. */
static struct cell pointer_cell(const void *p, char room[CELL_ROOM])
{
	struct strbuf text;

	strbuf_init_fixed(&text, room, CELL_ROOM);
	if (p != NULL)
		strbuf_addf(&text, "%p", p);
	return cell_slice(strbuf_slice(&text));
}

/* Empty when the connection is plain. */
static struct cell tls_cell(SSL *ssl, char room[CELL_ROOM])
{
	struct strbuf text;

	strbuf_init_fixed(&text, room, CELL_ROOM);
	if (ssl != NULL)
		tls_describe(ssl, &text);
	return cell_slice(strbuf_slice(&text));
}

static struct cell application_name(const struct params *params, const struct paramset *set)
{
	int i = params_find(params, SLICE_LIT("application_name"));
	const struct atom *value = set == NULL || i < 0 ? NULL : paramset_value(set, (size_t)i);

	return value == NULL ? cell_text("") : cell_slice(atom_slice(value));
}

static void tell(const struct report *r, struct row_sink *sink, const struct socket_row *s)
{
	char addr[CELL_ROOM], local_addr[CELL_ROOM], ptr[CELL_ROOM], link[CELL_ROOM], tls[CELL_ROOM];
	struct addr self;

	addr_of_self(&self, s->fd);
	sink->on_row(sink, (const struct cell[]){SOCKET_COLUMNS(TABLE_CELL)});
}

static const struct column socket_columns[] = {SOCKET_COLUMNS(TABLE_COLUMN)};

/* Before it has logged in nobody has vouched for who a client says it is, and a cancel request is nobody's. */
static bool is_known(const struct client *c)
{
	switch ((enum client_state)c->state) {
	case CLIENT_AWAIT_WELCOME:
	case CLIENT_IDLE:
	case CLIENT_WAITING:
	case CLIENT_ACTIVE:
	case CLIENT_CONSOLE:
	case CLIENT_CONSOLE_WAIT:
		return true;
	case CLIENT_STARTUP:
	case CLIENT_AUTH:
	case CLIENT_AUTH_WAIT:
	case CLIENT_CANCEL:
	case CLIENT_CLOSED:
		break;
	}
	return false;
}

static void tell_client(const struct report *r, struct row_sink *sink, const struct client *c)
{
	struct socket_row row = {
		.type = "C",
		.user = client_user_name(c),
		.database = client_database_name(c),
		.state = client_state_text(c),
		.peer = &c->peer,
		.fd = conn_fd(&c->conn),
		.unix_port = r->listen_port,
		.connected_at = c->connected_at,
		.request_at = c->request_at != 0 ? c->request_at : c->connected_at,
		.waited_us = c->waiter.waiting_since == 0 ? 0 : clock_us() - c->waiter.waiting_since,
		.self = c,
		.link = c->server,
		.remote_pid = c->peer.family == AF_UNIX ? c->peer.u.pid : 0,
		.params = c->params,
		.tls = c->conn.tls,
		.id = c->id,
		.prepared = prepared_count_of_client(c),
	};

	tell(r, sink, &row);
}

static bool clients_rows(const struct report *r, struct row_sink *sink)
{
	const struct client *c;
	uint32_t i = 0;

	while ((c = slab_next(r->hub->clients, &i)) != NULL) {
		if (is_known(c))
			tell_client(r, sink, c);
	}
	return true;
}

const struct table table_clients = TABLE("CLIENTS", socket_columns, clients_rows);

static const char *server_state_text(const struct pool_server *slot)
{
	static const char *const texts[] = {
#define X(name, text) [POOL_SERVER_##name] = text,
		POOL_SERVER_STATES(X)
#undef X
	};

	return server_is_used(slot, clock_us()) ? "used" : texts[slot->state];
}

/* A cancel key begins with it; 0 when the server has not told one yet. */
static uint32_t backend_pid(const struct server *s)
{
	const uint8_t *k = s->cancel_key;

	if (s->cancel_key_size < 4)
		return 0;
	return (uint32_t)k[0] << 24 | (uint32_t)k[1] << 16 | (uint32_t)k[2] << 8 | k[3];
}

static void tell_server(const struct report *r, struct row_sink *sink, const struct server *s)
{
	const struct pool *pool = s->slot.pool;
	struct socket_row row = {
		.type = "S",
		.user = pool->user->name->text,
		.database = pool->database->name->text,
		.state = server_state_text(&s->slot),
		.peer = &s->peer,
		.fd = conn_fd(&s->conn),
		.unix_port = (s->host == NULL ? 0 : s->host->port),
		.connected_at = s->slot.connected_at,
		.request_at = s->request_at != 0 ? s->request_at : s->slot.connected_at,
		.close_needed = s->slot.close_needed,
		.self = s,
		.link = s->client,
		.remote_pid = backend_pid(s),
		.params = s->params,
		.tls = s->conn.tls,
		.id = s->id,
		.prepared = prepared_count_of_server(s),
	};

	tell(r, sink, &row);
}

static bool servers_rows(const struct report *r, struct row_sink *sink)
{
	const struct server *s;
	uint32_t i = 0;

	/* While its host's address is being looked up a server has no socket yet. */
	while ((s = slab_next(r->hub->servers, &i)) != NULL) {
		if (s->phase != SERVER_RESOLVING && s->phase != SERVER_CLOSED)
			tell_server(r, sink, s);
	}
	return true;
}

const struct table table_servers = TABLE("SERVERS", socket_columns, servers_rows);
