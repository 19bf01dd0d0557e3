/*
 * CLIENTS and SERVERS, SOCKETS and ACTIVE_SOCKETS, FDS, CLIENTS_EXT: a row for
 * each connection, told in pieces in the order of the slabs.
 */
#include "report/tables.h"

#include "base/clock.h"
#include "report/subjects.h"
#include "session/client.h"
#include "session/prepared.h"
#include "session/server.h"

struct socket_row {
	const char *type, *user, *database, *state;
	enum replication replication;
	const struct addr *peer, *own_end; /* own_end NULL: the kernel is to be asked */
	int fd, unix_port;           /* the port shown for a Unix socket, part of whose name it is */
	uint64_t connected_at, request_at, waited_us;
	bool close_needed;
	const void *self, *link;
	uint32_t remote_pid;
	const struct paramset *params;
	const struct conn *conn;
	uint32_t message_remain;     /* bytes of a message that are still to come */
	uint64_t id;
	size_t prepared;
};

#define SOCKET_COLUMNS(X)                                                         \
	X(type, TEXT, cell_text(s->type))                                         \
	X(user, TEXT, cell_text(s->user))                                         \
	X(database, TEXT, cell_text(s->database))                                 \
	X(replication, TEXT, cell_text(replication_word(s->replication)))         \
	X(state, TEXT, cell_text(s->state))                                       \
	X(addr, TEXT, host_cell(s->peer, addr))                                   \
	X(port, INT4, port_cell(s->peer, s->unix_port))                           \
	X(local_addr, TEXT, host_cell(own_end, local_addr))                       \
	X(local_port, INT4, port_cell(own_end, s->unix_port))                     \
	X(connect_time, TIME, cell_time(s->connected_at))                         \
	X(request_time, TIME, cell_time(s->request_at))                           \
	X(wait, INT4, cell_number((int64_t)(s->waited_us / CLOCK_SECOND)))        \
	X(wait_us, INT4, cell_number((int64_t)(s->waited_us % CLOCK_SECOND)))     \
	X(close_needed, INT4, cell_number(s->close_needed))                       \
	X(ptr, TEXT, pointer_cell(s->self, ptr))                                  \
	X(link, TEXT, pointer_cell(s->link, link))                                \
	X(remote_pid, INT4, cell_number(s->remote_pid))                           \
	X(tls, TEXT, tls_cell(s->conn->tls, tls))                                 \
	X(application_name, TEXT, parameter_cell(r, s->params, "application_name")) \
	X(prepared_statements, INT4, cell_number((int64_t)s->prepared))           \
	X(id, INT4, cell_number((int64_t)s->id))

/* What more SOCKETS has: PgBouncer's single buffer is two here, of bytes read and not taken, and of bytes not sent yet. */
#define BUFFER_COLUMNS(X)                                                         \
	X(recv_pos, INT4, cell_number(received))                                  \
	X(pkt_pos, INT4, cell_number(0))                                          \
	X(pkt_remain, INT4, cell_number(s->message_remain))                       \
	X(send_pos, INT4, cell_number(0))                                         \
	X(send_remain, INT4, cell_number(unsent))                                 \
	X(pkt_avail, INT4, cell_number(received))                                 \
	X(send_avail, INT4, cell_number(unsent))

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
	if (p != NULL) {
		strbuf_add_str(&text, "0x");
		strbuf_add_hex(&text, (uintptr_t)p);
	}
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

static struct cell parameter_cell(const struct report *r, const struct paramset *set, const char *name)
{
	int i = params_find(r->hub->params, slice_of(name));
	const struct atom *value = set == NULL || i < 0 ? NULL : paramset_value(set, (size_t)i);

	return value == NULL ? cell_text("") : cell_slice(atom_slice(value));
}

/* With the columns of SOCKETS; those of CLIENTS are the first of them. */
static void tell(const struct report *r, struct row_sink *sink, const struct socket_row *s)
{
	char addr[CELL_ROOM], local_addr[CELL_ROOM], ptr[CELL_ROOM], link[CELL_ROOM], tls[CELL_ROOM];
	int64_t received = (int64_t)buf_bytes(s->conn->in), unsent = (int64_t)buf_bytes(s->conn->out);
	const struct addr *own_end = s->own_end;
	struct addr asked;

	if (own_end == NULL) {
		addr_of_self(&asked, s->fd);
		own_end = &asked;
	}
	sink->on_row(sink, (const struct cell[]){SOCKET_COLUMNS(TABLE_CELL) BUFFER_COLUMNS(TABLE_CELL)});
}

static const struct column socket_columns[] = {SOCKET_COLUMNS(TABLE_COLUMN)};
static const struct column debug_columns[] = {SOCKET_COLUMNS(TABLE_COLUMN) BUFFER_COLUMNS(TABLE_COLUMN)};

/* The next rows of the objects in a slab, of which tell_one() has its choice. */
static enum told tell_slab(const struct report *r, struct table_place *place, unsigned most, struct row_sink *sink,
			   const struct slab *slab,
			   void (*tell_one)(const struct report *r, struct row_sink *sink, const void *object))
{
	uint32_t index = (uint32_t)place->at;
	const void *object;

	for (; most > 0 && (object = slab_next(slab, &index)) != NULL; most--)
		tell_one(r, sink, object);
	place->at = index;
	return most == 0 ? TOLD_SOME : TOLD_ALL;
}

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

static struct socket_row row_of_client(const struct report *r, const struct client *c, const char *state)
{
	return (struct socket_row){
		.type = "C",
		.user = client_user_name(c),
		.database = client_database_name(c),
		.state = state,
		.replication = c->replication,
		.peer = &c->peer,
		.own_end = addrbook_at(&r->hub->own_ends, c->own_end),
		.fd = conn_fd(&c->conn),
		.unix_port = r->listen_port,
		.connected_at = c->connected_at,
		.request_at = c->request_at != 0 ? c->request_at : c->connected_at,
		.waited_us = c->waiter.waiting_since == 0 ? 0 : clock_us() - c->waiter.waiting_since,
		.self = c,
		.link = c->server,
		.remote_pid = c->peer.family == AF_UNIX ? c->peer.u.pid : 0,
		.params = c->params,
		.conn = &c->conn,
		.message_remain = c->remain,
		.id = c->id,
		.prepared = prepared_count_of_client(c),
	};
}

static void tell_client(const struct report *r, struct row_sink *sink, const void *object)
{
	const struct client *c = object;
	struct socket_row row;

	if (!is_known(c))
		return;
	row = row_of_client(r, c, client_state_text(c));
	tell(r, sink, &row);
}

static enum told clients_piece(const struct report *r, struct table_place *place, unsigned most, struct row_sink *sink)
{
	return tell_slab(r, place, most, sink, r->hub->clients, tell_client);
}

const struct table table_clients = TABLE_IN_PIECES("CLIENTS", socket_columns, clients_piece);

static const char *server_state_text(const struct pool_server *slot)
{
	static const char *const texts[] = {
#define X(name, text) [POOL_SERVER_##name] = text,
		POOL_SERVER_STATES(X)
#undef X
	};

	return server_is_used(slot, clock_us()) ? "used" : texts[slot->state];
}

/* While its host's address is being looked up a server has no socket yet. */
static bool has_socket(const struct server *s)
{
	return s->phase != SERVER_RESOLVING && s->phase != SERVER_CLOSED;
}

static struct socket_row row_of_server(const struct server *s, const char *state)
{
	const struct pool *pool = s->slot.pool;

	return (struct socket_row){
		.type = "S",
		.user = pool->user->name->text,
		.database = pool->database->name->text,
		.state = state,
		.replication = s->replication,
		.peer = &s->peer,
		.fd = conn_fd(&s->conn),
		.unix_port = (s->host == NULL ? 0 : s->host->port),
		.connected_at = s->slot.connected_at,
		.request_at = s->request_at != 0 ? s->request_at : s->slot.connected_at,
		.close_needed = s->slot.close_needed,
		.self = s,
		.link = s->client,
		.remote_pid = server_backend_pid(s),
		.params = s->params,
		.conn = &s->conn,
		.message_remain = s->remain,
		.id = s->id,
		.prepared = prepared_count_of_server(s),
	};
}

static void tell_server(const struct report *r, struct row_sink *sink, const void *object)
{
	const struct server *s = object;
	struct socket_row row;

	if (!has_socket(s))
		return;
	row = row_of_server(s, server_state_text(&s->slot));
	tell(r, sink, &row);
}

static enum told servers_piece(const struct report *r, struct table_place *place, unsigned most, struct row_sink *sink)
{
	return tell_slab(r, place, most, sink, r->hub->servers, tell_server);
}

const struct table table_servers = TABLE_IN_PIECES("SERVERS", socket_columns, servers_piece);

/* --- SOCKETS, ACTIVE_SOCKETS: clients, then servers --- */

/* Set in the place of a table once it has come to the servers. */
#define AT_SERVERS (UINT64_C(1) << 32)

typedef void tell_object(const struct report *r, struct row_sink *sink, const void *object);

static enum told tell_both(const struct report *r, struct table_place *place, unsigned most, struct row_sink *sink,
			   tell_object *client, tell_object *server)
{
	struct table_place servers = {.at = place->at & ~AT_SERVERS};
	enum told told;

	if (place->at < AT_SERVERS) {
		if (tell_slab(r, place, most, sink, r->hub->clients, client) == TOLD_ALL)
			place->at = AT_SERVERS;
		return TOLD_SOME;
	}
	told = tell_slab(r, &servers, most, sink, r->hub->servers, server);
	place->at = AT_SERVERS | servers.at;
	return told;
}

/* PgBouncer's names of the lists that it keeps its sockets in. */
static const char *client_list(const struct client *c)
{
	if (!is_known(c))
		return "cl_login";
	return c->state == CLIENT_WAITING || c->state == CLIENT_AWAIT_WELCOME ? "cl_waiting" : "cl_active";
}

static const char *server_list(const struct pool_server *slot)
{
	switch (slot->state) {
	case POOL_SERVER_NEW:
		return "sv_login";
	case POOL_SERVER_TESTED:
		return "sv_tested";
	case POOL_SERVER_IDLE:
		return server_is_used(slot, clock_us()) ? "sv_used" : "sv_idle";
	default:
		return "sv_active";
	}
}

static bool has_bytes(const struct conn *c)
{
	return buf_bytes(c->in) + buf_bytes(c->out) > 0;
}

static void tell_client_socket(const struct report *r, struct row_sink *sink, const void *object)
{
	const struct client *c = object;
	struct socket_row row;

	if (c->state == CLIENT_CLOSED)
		return;
	row = row_of_client(r, c, client_list(c));
	tell(r, sink, &row);
}

static void tell_server_socket(const struct report *r, struct row_sink *sink, const void *object)
{
	const struct server *s = object;
	struct socket_row row;

	if (!has_socket(s))
		return;
	row = row_of_server(s, server_list(&s->slot));
	tell(r, sink, &row);
}

static enum told sockets_piece(const struct report *r, struct table_place *place, unsigned most, struct row_sink *sink)
{
	return tell_both(r, place, most, sink, tell_client_socket, tell_server_socket);
}

const struct table table_sockets = TABLE_IN_PIECES("SOCKETS", debug_columns, sockets_piece);

static void tell_active_client(const struct report *r, struct row_sink *sink, const void *object)
{
	if (has_bytes(&((const struct client *)object)->conn))
		tell_client_socket(r, sink, object);
}

static void tell_active_server(const struct report *r, struct row_sink *sink, const void *object)
{
	if (has_bytes(&((const struct server *)object)->conn))
		tell_server_socket(r, sink, object);
}

/* Those with bytes in a buffer. */
static enum told active_sockets_piece(const struct report *r, struct table_place *place, unsigned most,
				      struct row_sink *sink)
{
	return tell_both(r, place, most, sink, tell_active_client, tell_active_server);
}

const struct table table_active_sockets = TABLE_IN_PIECES("ACTIVE_SOCKETS", debug_columns, active_sockets_piece);

/* --- FDS: what we listen on, clients, servers --- */

/* Cancel keys, passwords and SCRAM keys have their columns, and nothing in them. */
#define FDS_COLUMNS(X)                                                                 \
	X(fd, INT4, cell_number(s->fd))                                                \
	X(task, TEXT, cell_text(task))                                                 \
	X(user, TEXT, cell_text(s->user))                                              \
	X(database, TEXT, cell_text(s->database))                                      \
	X(addr, TEXT, host_cell(s->peer, addr))                                        \
	X(port, INT4, port_cell(s->peer, s->unix_port))                                \
	X(cancel, INT8, cell_null())                                                   \
	X(link, INT4, cell_number(link))                                               \
	X(client_encoding, TEXT, kept_cell(r, s->params, "client_encoding"))           \
	X(std_strings, TEXT, kept_cell(r, s->params, "standard_conforming_strings"))   \
	X(datestyle, TEXT, kept_cell(r, s->params, "DateStyle"))                       \
	X(timezone, TEXT, kept_cell(r, s->params, "TimeZone"))                         \
	X(password, TEXT, cell_null())                                                 \
	X(scram_client_key, BYTEA, cell_null())                                        \
	X(scram_server_key, BYTEA, cell_null())

/* What keeps no parameters has none. */
static struct cell kept_cell(const struct report *r, const struct paramset *set, const char *name)
{
	return set == NULL ? cell_null() : parameter_cell(r, set, name);
}

/* link: the descriptor of the other side; 0: there is none. */
static void fds_row(const struct report *r, struct row_sink *sink, const struct socket_row *s, const char *task, int link)
{
	char addr[CELL_ROOM];

	sink->on_row(sink, (const struct cell[]){FDS_COLUMNS(TABLE_CELL)});
}

static void tell_client_fd(const struct report *r, struct row_sink *sink, const void *object)
{
	const struct client *c = object;
	struct socket_row row;

	if (!is_known(c))
		return;
	row = row_of_client(r, c, NULL);
	fds_row(r, sink, &row, "client", c->server == NULL ? 0 : conn_fd(&c->server->conn));
}

static void tell_server_fd(const struct report *r, struct row_sink *sink, const void *object)
{
	const struct server *s = object;
	struct socket_row row;

	if (!has_socket(s))
		return;
	row = row_of_server(s, NULL);
	fds_row(r, sink, &row, "server", s->client == NULL ? 0 : conn_fd(&s->client->conn));
}

/* Set in the place of FDS once it has come to the sessions. */
#define AT_SESSIONS (UINT64_C(1) << 33)

static void tell_listener(const struct report *r, struct row_sink *sink, int fd)
{
	struct addr own_end;
	struct socket_row row = {.fd = fd, .peer = &own_end, .unix_port = r->listen_port};

	addr_of_self(&own_end, fd);
	fds_row(r, sink, &row, "pooler", 0);
}

static enum told tell_listeners(const struct report *r, struct table_place *place, unsigned most,
				struct row_sink *sink)
{
	int fds[INHERITED_MAX];
	size_t n = listeners_descriptors(r->hub->listeners, fds, INHERITED_MAX);

	for (; most > 0 && place->at < n && place->at < INHERITED_MAX; place->at++, most--)
		tell_listener(r, sink, fds[place->at]);
	return most == 0 ? TOLD_SOME : TOLD_ALL;
}

static enum told fds_piece(const struct report *r, struct table_place *place, unsigned most, struct row_sink *sink)
{
	struct table_place sessions = {.at = place->at & ~AT_SESSIONS};
	enum told told;

	if (place->at < AT_SESSIONS) {
		if (tell_listeners(r, place, most, sink) == TOLD_ALL)
			place->at = AT_SESSIONS;
		return TOLD_SOME;
	}
	told = tell_both(r, &sessions, most, sink, tell_client_fd, tell_server_fd);
	place->at = AT_SESSIONS | sessions.at;
	return told;
}

static const struct column fds_columns[] = {FDS_COLUMNS(TABLE_COLUMN)};
const struct table table_fds = {TABLE_HEAD("FDS", fds_columns), .piece = fds_piece, .is_for_admins = true};

/* --- CLIENTS_EXT --- */

/* What CLIENTS has no room for. Ages are in microseconds, null for what is not under way. */
#define EXT_COLUMNS(X)                                                                     \
	X(id, INT8, cell_number((int64_t)c->id))                                           \
	X(database, TEXT, cell_text(client_database_name(c)))                              \
	X(user, TEXT, cell_text(client_user_name(c)))                                      \
	X(addr, TEXT, host_cell(&c->peer, addr))                                           \
	X(port, INT4, port_cell(&c->peer, r->listen_port))                                 \
	X(application_name, TEXT, parameter_cell(r, c->params, "application_name"))        \
	X(state, TEXT, cell_text(client_state_text(c)))                                    \
	X(server_id, INT8, s == NULL ? cell_null() : cell_number((int64_t)s->id))          \
	X(server_pid, INT4, s == NULL ? cell_null() : cell_number(server_backend_pid(s)))         \
	X(wait_for, TEXT, wait_cell(c))                                                    \
	X(wait_reason, TEXT, wait_reason_cell(c, now))                                     \
	X(connection_age, INT8, age_cell(c->connected_at, now))                            \
	X(request_age, INT8, age_cell(c->request_at, now))                                 \
	X(transaction_age, INT8, age_cell(s == NULL ? 0 : s->xact_at, now))                \
	X(query_age, INT8, age_cell(s == NULL ? 0 : s->query_at, now))                     \
	X(wait_age, INT8, age_cell(c->waiter.waiting_since, now))

static struct cell age_cell(uint64_t since, uint64_t now)
{
	return since == 0 ? cell_null() : cell_number((int64_t)(now - since));
}

static struct cell wait_cell(const struct client *c)
{
	if (c->waiter.waiting_since == 0)
		return cell_null();
	return cell_text(c->waiter.is_for_login ? "login" : "query");
}

static struct cell wait_reason_cell(const struct client *c, uint64_t now)
{
	if (c->waiter.waiting_since == 0 || client_pool(c) == NULL)
		return cell_null();
	return cell_text(pool_hold_word(pool_session_hold(client_pool(c), now)));
}

static void tell_client_ext(const struct report *r, struct row_sink *sink, const void *object)
{
	const struct client *c = object;
	const struct server *s = c->server;
	uint64_t now = clock_us();
	char addr[CELL_ROOM];

	if (is_known(c))
		sink->on_row(sink, (const struct cell[]){EXT_COLUMNS(TABLE_CELL)});
}

static enum told clients_ext_piece(const struct report *r, struct table_place *place, unsigned most,
				   struct row_sink *sink)
{
	return tell_slab(r, place, most, sink, r->hub->clients, tell_client_ext);
}

static const struct column ext_columns[] = {EXT_COLUMNS(TABLE_COLUMN)};
const struct table table_clients_ext = TABLE_IN_PIECES("CLIENTS_EXT", ext_columns, clients_ext_piece);
